"""What a Hugging Face fast tokenizer says of its own tokens.

Everything is read off the tokenizer's description (the content of ``tokenizer.json``); single
ids are never decoded, since half a character or the first word of a text would come out wrong.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NoReturn, Protocol, final

from constrained_diffusion.errors import ModelError

END_OF_TURN: Final = frozenset(
    {
        "<turn|>",
        "<|tool_response>",
        "<end_of_turn>",
        "<|end_of_turn|>",
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|endoftext|>",
        "<|end_of_text|>",
    }
)
"""Added tokens at which models hand over; each of them counts as an end of text."""

END_OF_TEXT: Final = frozenset({"<eos>", "</s>"})
"""The same, but only where the tokenizer marks them as special: ``</s>`` is also an HTML tag."""

PLACEHOLDER: Final = re.compile(
    r"<\|?(?:unused|placeholder|dummy|special|extra|control)(?:_[a-z]+)*_?\d+\|?>"
    r"|<\|?reserved[^<>]*>"
    r"|\[(?:unused|control)_?\d+\]"
    r"|<\|?(?:[a-z]+_)?mask\|?>|\[mask\]",
    re.IGNORECASE,
)
"""Tokens kept free by whoever trained the vocabulary, such as ``<unused12>``, and masks: never text, whatever their
flags say."""

_SUPPORTED: Final = (
    "Supported are byte-level tokenizers (decoder ByteLevel) and SentencePiece ones (decoder Metaspace, "
    'or a sequence of Replace "▁" by " ", ByteFallback, Fuse and Strip of leading spaces)'
)
_WHY_NOT: Final[Mapping[str, str]] = {
    "WordPiece": "a token spells different bytes at the start of a word and inside one",
    "BPEDecoder": "a token at the end of a word spells different bytes at the end of the text",
    "CTC": "it merges repeated tokens",
}
_SHOWN_IDS: Final = 20
_BYTE_PIECE: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Spelling(Protocol):
    """How tokens are written as strings."""

    @property
    def strips_leading_space(self) -> bool:
        """Whether the tokenizer may add a space in front of a text, which its own decoding takes away."""

    def bytes_of(self, piece: str) -> bytes:
        """The bytes of an entry of the model's vocabulary."""

    def bytes_of_added(self, content: str) -> bytes:
        """The bytes of a token that was added to the model's vocabulary."""


def byte_level_alphabet() -> dict[str, int]:
    """GPT-2's character for each byte: printable Latin-1 stands for itself, the others follow from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(0x100)) - set(printable))
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


@final
class ByteLevel:
    """One character for each byte. What is written in other characters, or was added, is literal text.

    An added token such as ``é`` is the text that is encoded with it, although the tokenizer's own decoder takes it
    for the byte E9.
    """

    strips_leading_space = False

    def __init__(self) -> None:
        self._byte = byte_level_alphabet()

    def bytes_of(self, piece: str) -> bytes:
        try:
            return bytes(map(self._byte.__getitem__, piece))
        except KeyError:
            return piece.encode()

    def bytes_of_added(self, content: str) -> bytes:
        return content.encode()


@final
@dataclass(frozen=True)
class SpaceMarks:
    """Text with a mark for each space, and perhaps pieces like ``<0x0A>`` for single bytes."""

    marks: tuple[str, ...]
    has_byte_pieces: bool
    strips_leading_space: bool

    def bytes_of(self, piece: str) -> bytes:
        if self.has_byte_pieces and (byte := _BYTE_PIECE.fullmatch(piece)):
            return bytes([int(byte[1], 16)])
        for mark in self.marks:
            piece = piece.replace(mark, " ")
        return piece.encode()

    def bytes_of_added(self, content: str) -> bytes:
        return self.bytes_of(content)


@final
@dataclass(frozen=True, eq=False)
class FastTokenizer:
    """A fast tokenizer and its description.

    Attributes:
        backend: the ``tokenizers.Tokenizer``.
        wrapper: the object of ``transformers`` around it, or the backend itself.
    """

    backend: Any
    wrapper: Any

    @classmethod
    def of(cls, tokenizer: object) -> "FastTokenizer":
        """Finds the fast tokenizer in a tokenizer or a processor.

        Raises:
            ModelError: there is none.
        """
        inner = tokenizer
        if not _is_fast(inner) and hasattr(inner, "tokenizer"):
            inner = inner.tokenizer
        if not _is_fast(inner):
            raise ModelError(
                f"{type(tokenizer).__name__} is not a fast tokenizer: expected one with a backend_tokenizer, or a "
                "tokenizers.Tokenizer. Load the fast version (a tokenizer.json), or list the bytes of its "
                "tokens yourself: cd.Vocabulary(tokens, end_ids)"
            )
        return cls(getattr(inner, "backend_tokenizer", inner), inner)

    @property
    def name(self) -> str:
        """The class, and where it was loaded from if that is known."""
        source = getattr(self.wrapper, "name_or_path", "")
        return f"{type(self.wrapper).__name__} {source!r}" if source else type(self.wrapper).__name__

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """The content of ``tokenizer.json``."""
        parsed: Mapping[str, Any] = json.loads(self.backend.to_str())
        return parsed

    @cached_property
    def spelling(self) -> Spelling:
        """How tokens are written.

        Raises:
            ModelError: in a way that gives single tokens no bytes of their own; the message names it.
        """
        model = self.description["model"]
        steps = list(_flattened(self.description["decoder"]))
        if model["type"] == "WordPiece":
            self._refuse("model WordPiece", _WHY_NOT["WordPiece"])
        for affix in ("continuing_subword_prefix", "end_of_word_suffix"):
            if model.get(affix):
                self._refuse(f"{affix} {model[affix]!r}", "a token spells different bytes at the edge of a word")
        if any(step["type"] == "ByteLevel" for step in steps):
            return self._byte_level(steps)
        return self._space_marks(steps)

    def _byte_level(self, steps: Sequence[Mapping[str, Any]]) -> Spelling:
        for step in steps:
            if step["type"] not in ("ByteLevel", "Fuse"):
                self._refuse(f"decoder {_shown(step)} beside ByteLevel")
        return ByteLevel()

    def _space_marks(self, steps: Sequence[Mapping[str, Any]]) -> Spelling:
        marks = []
        has_byte_pieces = bool(self.description["model"].get("byte_fallback"))
        is_fused = strips = False
        for step in steps:
            kind = step["type"]
            if kind == "Fuse":
                is_fused = True
            elif kind == "Strip" and is_fused and step["content"] == " " and step["stop"] == 0:
                strips = True
            elif is_fused:
                self._refuse(f"decoder {_shown(step)} behind Fuse")
            elif kind == "ByteFallback":
                has_byte_pieces = True
            elif kind == "Metaspace":
                marks.append(step["replacement"])
                strips |= step.get("prepend_scheme") != "never"
            elif _marks_a_space(step):
                marks.append(step["pattern"]["String"])
            else:
                self._refuse(f"decoder {_shown(step)}", _WHY_NOT.get(kind))
        if not steps or not (marks or has_byte_pieces):
            decoder = ", ".join(_shown(step) for step in steps) or "none"
            self._refuse(f"model {self.description['model']['type']} with decoder {decoder}")
        return SpaceMarks(tuple(marks), has_byte_pieces, strips)

    def _refuse(self, construct: str, reason: str | None = None) -> NoReturn:
        because = f": {reason}" if reason else ""
        raise ModelError(f"{self.name} has {construct}, whose tokens have no bytes of their own{because}. {_SUPPORTED}")

    @cached_property
    def added(self) -> Mapping[int, Mapping[str, Any]]:
        """The table of added tokens by id."""
        return {entry["id"]: entry for entry in self.description["added_tokens"]}

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids marked as special, by the description or by the wrapper, and the unknown token."""
        model = self.description["model"]
        marked = {id for id, entry in self.added.items() if entry["special"]}
        unknown = model.get("unk_id")
        if isinstance(model["vocab"], Mapping):
            unknown = model["vocab"].get(model.get("unk_token"))
        return frozenset({*marked, unknown, *getattr(self.wrapper, "all_special_ids", ())} - {None})

    @cached_property
    def _pieces(self) -> list[str | None]:
        """The model's own entry for each id, added tokens not counted unless they are there, too."""
        vocab = self.description["model"]["vocab"]
        ids = ((piece, id) for id, (piece, _) in enumerate(vocab)) if isinstance(vocab, list) else vocab.items()
        pieces = {id: piece for piece, id in ids}
        return [pieces.get(id) for id in range(1 + max([*pieces, *self.added], default=-1))]

    def tokens(self) -> list[bytes | None]:
        """The bytes of each id; None for special tokens, placeholders and ids without a token."""
        spelling, pieces = self.spelling, self._pieces
        tokens = [None if piece is None else spelling.bytes_of(piece) for piece in pieces]
        for id, entry in self.added.items():
            if pieces[id] != entry["content"]:
                tokens[id] = spelling.bytes_of_added(entry["content"])
            if PLACEHOLDER.fullmatch(entry["content"]):
                tokens[id] = None
        for id, piece in enumerate(pieces):
            if piece is not None and piece[:1] in ("<", "[") and PLACEHOLDER.fullmatch(piece):
                tokens[id] = None
        for id in self.special_ids:
            if 0 <= id < len(tokens):
                tokens[id] = None
        return tokens

    def named_specials(self) -> dict[str, int]:
        """The special tokens by name, placeholders not counted."""
        special = {id: entry["content"] for id, entry in self.added.items() if id in self.special_ids}
        return {content: id for id, content in special.items() if not PLACEHOLDER.fullmatch(content)}

    def confirm(self, tokens: Sequence[bytes | None], sample: Sequence[str]) -> None:
        """Checks the tokens' bytes on encoded texts.

        Raises:
            ModelError: a text comes back neither as it was nor as the tokenizer itself reads it, or no text says
                anything.
        """
        if not sum([self._confirms(tokens, text) for text in sample]):
            raise ModelError(
                f"{self.name} gives back none of {len(sample)} sample texts, not even by its own decoding, so the "
                "bytes of its tokens cannot be confirmed"
            )

    def _confirms(self, tokens: Sequence[bytes | None], text: str) -> bool:
        """False if the text says nothing, since the tokenizer has no tokens for its characters.

        What the tokenizer itself loses, for instance by lower-casing, may be missing here, too.
        """
        ids = self.encode(text)
        kept = [id for id in ids if tokens[id] is not None]
        own = self.decode(kept)
        spelled = b"".join(tokens[id] or b"" for id in kept)
        expected = {own} if len(kept) < len(ids) else {own, text}
        if self.spelling.strips_leading_space:
            expected |= {" " + reading for reading in expected}
        if spelled in {reading.encode() for reading in expected}:
            return bool(spelled)
        if "\ufffd" in own:
            return False
        raise ModelError(
            f"{self.name} encodes {text!r} as {shown_ids(ids)}, whose bytes were read as {spelled!r}, but decodes it "
            f"to {own!r}. It writes its tokens in a way that is not understood; list their bytes yourself: "
            "cd.Vocabulary(tokens, end_ids)"
        )

    def end_ids(self) -> set[int]:
        """The wrapper's end-of-text ids, and the known ends of a turn.

        Raises:
            ModelError: there are none.
        """
        named = getattr(self.wrapper, "eos_token_id", None)
        ids = set() if named is None else {named} if isinstance(named, int) else set(named)
        for id, entry in self.added.items():
            if entry["content"] in END_OF_TURN or (entry["special"] and entry["content"] in END_OF_TEXT):
                ids.add(id)
        if not ids:
            raise ModelError(
                f"{self.name} names no end-of-text token; pass end_ids=..., for instance the eos_token_id of the "
                "model's generation config"
            )
        return ids

    def pad_id(self) -> int | None:
        """The wrapper's padding id."""
        id: int | None = getattr(self.wrapper, "pad_token_id", None)
        return id

    def encode(self, text: str) -> list[int]:
        """The ids of a text without special tokens; none if the tokenizer refuses the text."""
        try:
            ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        except Exception:  # what the library raises, with no class of its own, for a character it has no token for
            return []
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The tokenizer's own reading."""
        text: str = self.backend.decode(ids, skip_special_tokens=True)
        return text


def shown_ids(ids: Sequence[int]) -> str:
    """The ids for a message, cut short."""
    listed = ", ".join(str(id) for id in ids[:_SHOWN_IDS])
    return f"[{listed}{', ...' if len(ids) > _SHOWN_IDS else ''}]"


def _is_fast(tokenizer: object) -> bool:
    return hasattr(getattr(tokenizer, "backend_tokenizer", tokenizer), "to_str")


def _flattened(decoder: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if decoder is None:
        return
    if decoder["type"] != "Sequence":
        yield decoder
        return
    for step in decoder["decoders"]:
        yield from _flattened(step)


def _marks_a_space(step: Mapping[str, Any]) -> bool:
    """Whether the step replaces one character that is no ASCII, so no part of a byte piece, by a space."""
    mark = step.get("pattern", {}).get("String", "")
    return step["type"] == "Replace" and len(mark) == 1 and not mark.isascii() and step["content"] == " "


def _shown(step: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key}={value!r}" for key, value in step.items() if key != "type")
    return f"{step['type']}({options})"
