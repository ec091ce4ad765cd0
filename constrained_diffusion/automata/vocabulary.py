"""The bytes of each token id."""

import hashlib
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final, SupportsIndex, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata.marks import has_mark_bytes, mark
from constrained_diffusion.automata.tokenizers import FastTokenizer, shown_ids
from constrained_diffusion.checking import elements, whole_number
from constrained_diffusion.errors import ModelError

DEFAULT_SAMPLE: Final = (
    "The quick brown fox jumps over the lazy dog.",
    " leading and trailing ",
    "naïve café, Ærøskøbing, Straße, ¿qué?",
    "Привет, мир! Как дела?",
    "日本語のテキスト。中文文本。한국어",
    "שלום مرحبا नमस्ते",
    "emoji 🙂 👩\u200d👩\u200d👧 🇫🇷 ❤\ufe0f",
    "one\ntwo\n\nthree\r\nfour",
    "\ttabs\t\tand  two   three    four     spaces",
    '{"name": "Ada Lovelace", "age": 36, "tags": ["a", "b\\n"], "pi": -3.14e-2, "ok": true, "none": null}',
    "def area(r):\n    return 3.14 * r ** 2  # <table> & </b>\n",
    "∀x: x² ≥ 0 — “quoted” … €5",
)
"""Texts whose encodings confirm that a vocabulary was read correctly."""

_FORMAT: Final = b"vocabulary-1"


def joined(texts: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Where each text begins among all, int64 [texts + 1], and all of them, uint8."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.frombuffer(b"".join(texts), np.uint8)


@final
@dataclass(frozen=True, init=False, eq=False, repr=False)
class Vocabulary:
    """The bytes of each token id, and which ids end a text. Knows nothing of constraints.

    Special tokens have no bytes (None) and never occur inside text. End tokens and the padding
    token are special whatever was given for them, and so are tokens of no bytes: a text could
    hold any number of them. Several ids may spell the same bytes.

    >>> vocabulary = Vocabulary([b"a", b"b", b"ab", None], end_ids=3)
    >>> vocabulary.decode([2, 0, 3, 1])
    b'aba'

    Args:
        tokens: the bytes of each token id, None for special tokens.
        end_ids: the ids that end a text, at least one; all of them count.
        pad_id: the id that fills unused positions.
        specials: the names of special tokens that a constraint may ask for (``cd.special``), and their ids.

    Attributes:
        tokens: the index is the token id.
        end_ids: ascending.

    Raises:
        ModelError: a token is neither bytes nor None, there is no end id, or an id is out of range.
    """

    tokens: tuple[bytes | None, ...]
    end_ids: tuple[int, ...]
    pad_id: int | None
    specials: Mapping[str, int]

    def __init__(
        self,
        tokens: Sequence[bytes | None],
        end_ids: Iterable[int] | int,
        pad_id: int | None = None,
        specials: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        tokens = elements(tokens, "tokens", "bytes for each token, or None for a special one", ModelError)
        ends = sorted({_checked_id(id, "end", len(tokens)) for id in _listed(end_ids)})
        if not ends:
            raise ModelError("met no end id, expected at least one: without it a text could never end")
        pad = None if pad_id is None else _checked_id(pad_id, "padding", len(tokens))
        for id, token in enumerate(tokens):
            if token is not None and not isinstance(token, bytes):
                raise ModelError(f"token {id} is {token!r}, expected bytes, or None for a special token")
        kept = [token or None for token in tokens]
        for id in [*ends, *([] if pad is None else [pad])]:
            kept[id] = None
        object.__setattr__(self, "tokens", tuple(kept))
        object.__setattr__(self, "end_ids", tuple(ends))
        object.__setattr__(self, "pad_id", pad)
        named = {name: _checked_id(id, f"special {name!r}", len(tokens)) for name, id in specials.items()}
        own = {name: id for name, id in named.items() if kept[id] is None and id not in {*ends, pad}}
        object.__setattr__(self, "specials", own)

    def __len__(self) -> int:
        """The number of ids, special ones included."""
        return len(self.tokens)

    @cached_property
    def spellings(self) -> tuple[bytes | None, ...]:
        """The bytes of each id in automata: special tokens that have a name are written as marks (``marks.py``)."""
        spelled = [None if token is None or has_mark_bytes(token) else token for token in self.tokens]
        for name, id in self.specials.items():
            spelled[id] = mark(name)
        return tuple(spelled)

    @cached_property
    def joined_spellings(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Where the spelling of each id begins among all, int64 [V + 1], and all of them, uint8; special tokens without
        a name have none."""
        return joined([spelling or b"" for spelling in self.spellings])

    def spell(self, ids: Iterable[SupportsIndex]) -> bytes:
        """As ``decode``, with the marks of special tokens that have a name."""
        ended = itertools.takewhile(lambda token: token not in self.end_ids, map(operator.index, ids))
        return b"".join(self.spellings[id] or b"" for id in ended)

    @property
    def filler_id(self) -> int:
        """What stands behind the end of a text: the padding token, or an end token where there is none."""
        return self.end_ids[0] if self.pad_id is None else self.pad_id

    def describe(self, id: int) -> str:
        """The bytes of a token for a message, or what kind of token it is."""
        if id in self.end_ids:
            return "an end token"
        spelling = self.tokens[id] if 0 <= id < len(self.tokens) else None
        return "a special token" if spelling is None else repr(spelling)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} tokens, end_ids={self.end_ids}, pad_id={self.pad_id})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the exact content, in hexadecimal; the same on every machine."""
        lengths = np.fromiter((-1 if token is None else len(token) for token in self.tokens), "<i8", len(self))
        ids = np.array([len(self), len(self.end_ids), *self.end_ids, -1 if self.pad_id is None else self.pad_id], "<i8")
        digest = hashlib.sha256(_FORMAT + ids.tobytes() + lengths.tobytes())
        digest.update(b"".join(filter(None, self.tokens)))
        digest.update(repr(sorted(self.specials.items())).encode() if self.specials else b"")
        return digest.hexdigest()

    @cached_property
    def _id_of(self) -> dict[bytes, int]:
        """The least id of each spelling."""
        return {spelling: id for id, spelling in reversed([*enumerate(self.tokens)]) if spelling is not None}

    def encode(self, text: bytes) -> list[int]:
        """The fewest tokens that spell the text, the longest first where there is a choice.

        Raises:
            ModelError: no tokens spell it.
        """
        longest = max((len(spelling) for spelling in self._id_of), default=0)
        fewest: list[int] = [0]  # tokens from each offset to the end, the last offset first
        first: list[bytes] = [b""]
        for begin in range(len(text) - 1, -1, -1):
            options = [
                (fewest[len(text) - end], begin - end, text[begin:end])
                for end in range(begin + 1, min(begin + longest, len(text)) + 1)
                if text[begin:end] in self._id_of
            ]
            count, _, spelling = min(options, default=(len(text), 0, b""))
            fewest.append(count + 1)
            first.append(spelling)
        ids, offset = [], 0
        while offset < len(text):
            spelling = first[len(text) - offset]
            if not spelling:
                raise ModelError(f"the vocabulary cannot spell {text[offset : offset + 20]!r}")
            ids.append(self._id_of[spelling])
            offset += len(spelling)
        return ids

    def decode(self, ids: Iterable[SupportsIndex]) -> bytes:
        """The bytes of the tokens up to the first end token, in order; special tokens have none.

        Args:
            ids: a list, or an int array or tensor [L].

        Raises:
            ModelError: an id is not in the vocabulary.
        """
        return self._spelled(itertools.takewhile(lambda token: token not in self.end_ids, token_ids(ids)))

    def _spelled(self, ids: Iterable[int]) -> bytes:
        spelled = []
        for position, id in enumerate(ids):
            if not 0 <= id < len(self.tokens):
                raise ModelError(f"id {id} at position {position} is not in the vocabulary of {len(self):,} tokens")
            spelled.append(self.tokens[id] or b"")
        return b"".join(spelled)

    def check(self, encode: Callable[[str], Sequence[int]], texts: Iterable[str] = DEFAULT_SAMPLE) -> None:
        """Confirms that this is the vocabulary of an encoder: the bytes of each encoded text are the text.

        Args:
            encode: the ids of a text, without a space added in front. Special tokens around it do no harm.
            texts: the sample.

        Raises:
            ModelError: a text does not come back; the message names it, and what came back.
        """
        for text in [texts] if isinstance(texts, str) else texts:
            ids = encode(text)
            spelled = self._spelled(ids)
            if spelled != text.encode():
                raise ModelError(
                    f"{text!r} is encoded as {shown_ids(ids)}, whose bytes are {spelled!r}; expected the text back. "
                    "The vocabulary is not that of this encoder"
                )

    @classmethod
    def from_tokenizer(
        cls, tokenizer: object, *, end_ids: Iterable[int] | int | None = None, pad_id: int | None = None
    ) -> "Vocabulary":
        """Reads the vocabulary of a Hugging Face fast tokenizer.

        Two ways of writing tokens are understood, and confirmed on ``DEFAULT_SAMPLE``:

        - byte-level (decoder ``ByteLevel``: GPT-2, Llama 3, Qwen, ...);
        - SentencePiece (``▁`` for a space, ``<0x0A>`` for a byte: Gemma, Llama 2, ...). The bytes are those of
          text behind other text: the space in ``▁the`` is kept, although some tokenizers drop it at the
          start of a text.

        Others are refused: a WordPiece token spells different bytes at the start of a word and inside one,
        and so does a token with a suffix for the end of a word.

        Special tokens are those marked so by the tokenizer, the unknown token, ids without a token, and, whatever
        their flags, masks and placeholders such as ``<unused12>``, ``[unused12]`` or
        ``<|reserved_special_token_5|>``. Other added tokens (runs of spaces, HTML tags) are ordinary text.

        Args:
            tokenizer: a ``PreTrainedTokenizerFast``, a ``tokenizers.Tokenizer``, or a processor that has one.
            end_ids: by default the tokenizer's ``eos_token_id`` and the ends of a turn that it knows, such as
                ``<turn|>``, ``<|im_end|>`` or ``<|eot_id|>``. Where a model's generation config lists end ids, pass
                those.
            pad_id: by default the tokenizer's ``pad_token_id``.

        Raises:
            ModelError: the tokenizer is not a fast one, writes its tokens in another way, or names no end token; or a
                sample text comes back neither as it was nor as the tokenizer itself decodes it.
        """
        fast = FastTokenizer.of(tokenizer)
        tokens = fast.tokens()
        fast.confirm(tokens, DEFAULT_SAMPLE)
        return cls(
            tokens,
            fast.end_ids() if end_ids is None else end_ids,
            fast.pad_id() if pad_id is None else pad_id,
            fast.named_specials(),
        )


def token_ids(ids: object) -> list[int]:
    """Token ids from a list, an array or a tensor.

    Raises:
        ModelError: there is something else among them.
    """
    listed = ids.tolist() if hasattr(ids, "tolist") else ids
    return [
        whole_number(id, f"the id at position {position}", ModelError)
        for position, id in enumerate(elements(listed, "ids", "a list of token ids", ModelError))
    ]


def _listed(ids: Iterable[int] | int) -> Iterable[int]:
    return [ids] if isinstance(ids, SupportsIndex) else elements(ids, "end_ids", "a token id or several", ModelError)


def _checked_id(id: object, role: str, size: int) -> int:
    index = whole_number(id, f"the {role} id", ModelError)
    if not 0 <= index < size:
        raise ModelError(f"the {role} id {index} is not in the vocabulary of {size:,} tokens")
    return index
