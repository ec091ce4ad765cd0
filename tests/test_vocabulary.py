"""Vocabularies, and reading them off tokenizers. The oracle is the tokenizers' own encoding and decoding."""

import base64
import dataclasses
import hashlib
import importlib.util
import json
import pickle
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import GemmaTokenizer, LlamaTokenizer, PreTrainedTokenizerFast

from constrained_diffusion.automata.vocabulary import DEFAULT_SAMPLE, Vocabulary
from constrained_diffusion.errors import ModelError

LINES = [
    '{"name": "Ada Lovelace", "age": 36, "city": "London", "tags": []}',
    "def area(r):\n    return 3.14 * r ** 2",
    "naïve café Straße 日本語 🙂 the quick brown fox",
]
BYTE_PIECES = [f"<0x{byte:02X}>" for byte in range(256)]

# --- tokenizers ----------------------------------------------------------------------------------


def byte_level(*, add_prefix_space: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<eos>", "<bos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return tokenizer


def marked_vocabulary(first: Iterable[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The given pieces, one for each byte, then letters and some longer pieces with their merges."""
    pieces = list(
        dict.fromkeys([*first, *BYTE_PIECES, *"▁abcdefghijklmnopqrstuvwxyzABC0123456789.,:{}[]\"'<>/()*#|\n\té日"])
    )
    merges = []
    for word in ["▁▁▁▁", "\n\n", "▁the", "▁quick", "name", '"},', "▁日é"]:
        for end in range(2, len(word) + 1):
            merges.append((word[: end - 1], word[end - 1]))
            pieces.append(word[:end])
    pieces = list(dict.fromkeys(pieces))
    return {piece: id for id, piece in enumerate(pieces)}, list(dict.fromkeys(merges))


def added(content: str, *, special: bool = False, normalized: bool = False) -> AddedToken:
    return AddedToken(content, special=special, normalized=normalized)


def gemma_like() -> Tokenizer:
    """Gemma's layout: what looks like a special token is one only by its flag; runs of spaces are added tokens."""
    start = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "[multimodal]"]
    start += [f"<unused{i}>" for i in range(44)] + ["<|tool_response>"]
    start += [f"<unused{i}>" for i in range(44, 98)] + ["<|turn>", "<turn|>"]
    vocab, merges = marked_vocabulary([*start, "\n", "\n\n", "▁▁", "▁▁▁", "▁▁▁▁", "<table>", "</b>"])
    tokenizer = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|tool_response>", "<|turn>", "<turn|>"]
    tokenizer.add_special_tokens([added(content, special=True) for content in special])
    tokenizer.add_tokens(
        [
            added(content)
            for content in ["<unused0>", "<unused7>", "\n", "\n\n", "▁▁", "▁▁▁", "<table>", "</b>", "<new>"]
        ]
    )
    tokenizer.add_special_tokens([added("<image>", special=True)])
    return tokenizer


def llama_like() -> Tokenizer:
    """Llama 2's layout: a space is put in front of each text, and taken away by the decoder."""
    vocab, merges = marked_vocabulary(["<unk>", "<s>", "</s>"])
    tokenizer = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def unigram(decoder: Any, *, prepend_scheme: str = "always", byte_fallback: bool = True) -> Tokenizer:
    vocab, _ = marked_vocabulary(["<unk>", "</s>"])
    scored = [(piece, -1.0 / len(piece) - 10 * (piece in BYTE_PIECES)) for piece in vocab]
    tokenizer = Tokenizer(models.Unigram(scored, 0, byte_fallback))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme)
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    return tokenizer


def metaspace_bpe(prepend_scheme: str) -> Tokenizer:
    vocab, merges = marked_vocabulary(["<unk>", "</s>"])
    tokenizer = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=prepend_scheme)])
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    return tokenizer


def wrapped(tokenizer: Tokenizer, **options: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)


def spelled(vocabulary: Vocabulary, ids: Iterable[int]) -> bytes:
    """Joins the bytes; every token must have some."""
    pieces = [vocabulary.tokens[id] for id in ids]
    assert None not in pieces
    return b"".join(piece for piece in pieces if piece)


BYTE_LEVEL = byte_level()
GEMMA = gemma_like()
LLAMA = llama_like()
UNIGRAM = unigram(decoders.Metaspace())
METASPACE = metaspace_bpe("never")
texts = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(' \n\té日"{}:,the')), max_size=40)
roundtrip = settings(deadline=None, max_examples=150)

# --- the type ------------------------------------------------------------------------------------


def test_fields() -> None:
    vocabulary = Vocabulary([b"a", b"b", None, b"</s>", b"<pad>", b"a"], end_ids=[3, 2, 3], pad_id=4)
    assert vocabulary.tokens == (b"a", b"b", None, None, None, b"a")
    assert vocabulary.end_ids == (2, 3)
    assert vocabulary.pad_id == 4
    assert len(vocabulary) == 6
    assert repr(vocabulary) == "Vocabulary(6 tokens, end_ids=(2, 3), pad_id=4)"


def test_one_end_id_and_no_padding() -> None:
    vocabulary = Vocabulary([b"a", None], end_ids=np.int64(1))
    assert (vocabulary.end_ids, vocabulary.pad_id) == ((1,), None)


def test_padding_may_be_an_end_token() -> None:
    assert Vocabulary([b"a", b"</s>"], end_ids=1, pad_id=1).tokens == (b"a", None)


def test_tokens_of_no_bytes_are_special() -> None:
    assert Vocabulary([b"", b"a", None], end_ids=2).tokens == (None, b"a", None)


def test_is_immutable() -> None:
    tokens = [b"a", None]
    vocabulary = Vocabulary(tokens, end_ids=1)
    tokens[0] = b"b"
    assert vocabulary.tokens == (b"a", None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        vocabulary.tokens = ()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("tokens", "end_ids", "pad_id", "message"),
    [
        ([b"a", None], [], None, "no end id"),
        ([b"a", None], 2, None, "the end id 2 is not in the vocabulary of 2 tokens"),
        ([b"a", None], [-1], None, "the end id -1 is not in"),
        ([b"a", None], ["</s>"], None, "the end id is '</s>'; expected a whole number"),
        ([b"a", None], [1.0], None, "the end id is 1.0; expected a whole number"),
        ([b"a", None], 1, 7, "the padding id 7 is not in"),
        ([b"a", "b", None], 2, None, "token 1 is 'b', expected bytes"),
        ([b"a", "", None], 2, None, "token 1 is '', expected bytes"),
        ([b"a", 0, None], 2, None, "token 1 is 0, expected bytes"),
        (["a", "b"], 1, None, "token 0 is 'a', expected bytes"),
        (b"ab", 1, None, "tokens is bytes b'ab'; expected bytes for each token"),
        ([], 0, None, "vocabulary of 0 tokens"),
    ],
)
def test_refused_arguments(tokens: Any, end_ids: Any, pad_id: int | None, message: str) -> None:
    with pytest.raises(ModelError, match=message.replace("(", r"\(")):
        Vocabulary(tokens, end_ids, pad_id)


def test_decode_stops_at_the_first_end_token() -> None:
    vocabulary = Vocabulary([b"a", b"\xc3", b"\xa9", None, None, None], end_ids=[4, 5], pad_id=3)
    assert vocabulary.decode([0, 1, 2, 3, 0, 5, 0, 4]) == "aéa".encode()
    assert vocabulary.decode([4, 0]) == b""
    assert vocabulary.decode([]) == b""


@pytest.mark.parametrize("container", [list, tuple, np.array, torch.tensor])
def test_decode_takes_any_sequence_of_integers(container: Callable[[list[int]], Any]) -> None:
    assert Vocabulary([b"a", b"b", None], end_ids=2).decode(container([1, 0, 2, 1])) == b"ba"


@pytest.mark.parametrize("id", [3, -1])
def test_decode_refuses_ids_beyond_the_vocabulary(id: int) -> None:
    with pytest.raises(ModelError, match=f"id {id} at position 1 is not in the vocabulary of 3 tokens"):
        Vocabulary([b"a", b"b", None], end_ids=2).decode([0, id])


def test_what_stands_behind_the_end() -> None:
    assert Vocabulary([b"a", None, None], end_ids=1, pad_id=2).filler_id == 2
    assert Vocabulary([b"a", None, None], end_ids=[2, 1]).filler_id == 1


def test_describe() -> None:
    vocabulary = Vocabulary([b"a", None, None], end_ids=1)
    assert [vocabulary.describe(id) for id in (0, 1, 2, 3)] == [
        "b'a'",
        "an end token",
        "a special token",
        "a special token",
    ]


# --- fingerprints --------------------------------------------------------------------------------


def test_fingerprint_is_the_same_on_every_machine() -> None:
    vocabulary = Vocabulary([b"a", b"\xff", None, None], end_ids=2, pad_id=3)
    content = struct.pack("<4q", 4, 1, 2, 3) + struct.pack("<4q", 1, 1, -1, -1) + b"a\xff"
    assert vocabulary.fingerprint == hashlib.sha256(b"vocabulary-1" + content).hexdigest()
    assert vocabulary.fingerprint == "84178c18b8477d3cb08a1ed01b4dea21b454142010d594528b58ffbc85fe075a"


def test_fingerprint_tells_contents_apart() -> None:
    contents: list[tuple[list[bytes | None], list[int], int | None]] = [
        ([b"a", b"b", None, None], [3], None),
        ([b"ab", None, None, None], [3], None),
        ([None, b"ab", None, None], [3], None),
        ([b"b", b"a", None, None], [3], None),
        ([b"a", b"b", None, None], [2], None),
        ([b"a", b"b", None, None], [2, 3], None),
        ([b"a", b"b", None, None], [3], 2),
        ([b"a", b"b", None, None], [3], 3),
        ([b"a", b"b", None, None, None], [3], None),
    ]
    vocabularies = [Vocabulary(*content) for content in contents]
    assert len({vocabulary.fingerprint for vocabulary in vocabularies}) == len(contents)
    assert len(set(vocabularies)) == len(contents)


def test_equal_contents_are_equal() -> None:
    one = Vocabulary([b"a", b"x", None], end_ids=[1, 2], pad_id=1)
    other = Vocabulary((b"a", b"", None), end_ids=(2, 1), pad_id=1)
    assert one == other
    assert hash(one) == hash(other)
    assert one.fingerprint == other.fingerprint
    assert one != Vocabulary([b"a", None, None], end_ids=[2])
    assert one != "a vocabulary"
    assert pickle.loads(pickle.dumps(one)) == one


# --- check ---------------------------------------------------------------------------------------


def test_check_passes_with_the_right_encoder() -> None:
    vocabulary = Vocabulary([bytes([byte]) for byte in range(256)] + [None], end_ids=256)
    vocabulary.check(lambda text: list(text.encode()))
    vocabulary.check(lambda text: [256, *text.encode(), 256], ["special tokens around it"])


def test_check_names_the_text_and_what_came_back() -> None:
    vocabulary = Vocabulary([bytes([byte ^ 1]) for byte in range(256)] + [None], end_ids=256)
    with pytest.raises(ModelError, match=r"'abc' is encoded as \[97, 98, 99\], whose bytes are b'`cb'"):
        vocabulary.check(lambda text: list(text.encode()), ["abc"])
    with pytest.raises(ModelError, match=r"\[97, 97, .*97, \.\.\.\]"):
        vocabulary.check(lambda text: list(text.encode()), "a" * 40)
    with pytest.raises(ModelError, match="id 300 at position 0"):
        vocabulary.check(lambda text: [300], ["a"])


# --- byte-level tokenizers -----------------------------------------------------------------------


def test_byte_level() -> None:
    tokenizer = wrapped(byte_level(), eos_token="<eos>", pad_token="<pad>", bos_token="<bos>")
    tokenizer.add_tokens(["<table>", " two words"])
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert len(vocabulary) == len(tokenizer)
    assert (vocabulary.end_ids, vocabulary.pad_id) == ((1,), 0)
    assert vocabulary.tokens[:3] == (None, None, None)
    assert vocabulary.tokens[-2:] == (b"<table>", b" two words")
    assert {bytes([byte]) for byte in range(256)} <= set(vocabulary.tokens)
    vocabulary.check(tokenizer.encode)


@roundtrip
@given(text=texts)
def test_byte_level_round_trip(text: str) -> None:
    vocabulary = Vocabulary.from_tokenizer(BYTE_LEVEL)
    assert spelled(vocabulary, BYTE_LEVEL.encode(text, add_special_tokens=False).ids) == text.encode()


@roundtrip
@given(data=st.data())
def test_byte_level_decodes_like_the_tokenizer(data: st.DataObject) -> None:
    vocabulary = Vocabulary.from_tokenizer(BYTE_LEVEL)
    ids = data.draw(st.lists(st.integers(0, len(vocabulary) - 1).filter(lambda token: token not in vocabulary.end_ids)))
    assert vocabulary.decode(ids).decode(errors="replace") == BYTE_LEVEL.decode(ids)


def test_byte_level_in_a_sequence() -> None:
    tokenizer = byte_level()
    expected = Vocabulary.from_tokenizer(tokenizer)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Fuse()])
    assert Vocabulary.from_tokenizer(tokenizer) == expected


def test_byte_level_with_a_space_in_front() -> None:
    tokenizer = byte_level(add_prefix_space=True)
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert spelled(vocabulary, tokenizer.encode("fox", add_special_tokens=False).ids) == b" fox"


def test_added_text_is_literal_where_the_decoder_garbles_it() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens([added("café")])
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    ids = tokenizer.encode("a café", add_special_tokens=False).ids
    assert tokenizer.decode(ids) != "a café"
    assert spelled(vocabulary, ids) == "a café".encode()


def test_a_lossy_normalizer_does_not_matter() -> None:
    tokenizer = byte_level()
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    assert Vocabulary.from_tokenizer(tokenizer) == Vocabulary.from_tokenizer(BYTE_LEVEL)


def test_missing_characters_do_not_matter() -> None:
    alphabet = sorted(set(pre_tokenizers.ByteLevel.alphabet()) & {chr(code) for code in range(0x7F)})
    tokenizer = Tokenizer(
        models.BPE({piece: id for id, piece in enumerate([*alphabet, "<unk>"])}, [], unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    vocabulary = Vocabulary.from_tokenizer(tokenizer, end_ids=0)
    assert alphabet[0] == "!"
    assert vocabulary.tokens == (None, *(piece.encode() for piece in alphabet[1:]), None)


def test_padding_and_truncation_left_on_by_others_do_not_matter() -> None:
    tokenizer = byte_level()
    tokenizer.enable_padding(direction="left", pad_id=1, pad_token="<eos>", length=64)
    tokenizer.enable_truncation(8)
    assert Vocabulary.from_tokenizer(tokenizer) == Vocabulary.from_tokenizer(BYTE_LEVEL)


# --- SentencePiece tokenizers --------------------------------------------------------------------


def test_gemma() -> None:
    tokenizer = wrapped(gemma_like(), eos_token="<eos>", pad_token="<pad>", bos_token="<bos>", unk_token="<unk>")
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    id_of = tokenizer.get_vocab()
    assert (vocabulary.end_ids, vocabulary.pad_id) == ((1, 50, 106), 0)
    for special in ["<unk>", "<mask>", "<|turn>", "<unused0>", "<unused7>", "<unused97>", "<image>"]:
        assert vocabulary.tokens[id_of[special]] is None
    expected = {
        "▁": b" ",
        "▁▁▁": b"   ",
        "▁the": b" the",
        "\n\n": b"\n\n",
        "<0x0A>": b"\n",
        "<0xE6>": b"\xe6",
        "<table>": b"<table>",
        "</b>": b"</b>",
        "<new>": b"<new>",
        "[multimodal]": b"[multimodal]",
        "▁日é": " 日é".encode(),
    }
    assert {piece: vocabulary.tokens[id_of[piece]] for piece in expected} == expected
    vocabulary.check(tokenizer.encode)


@roundtrip
@given(text=texts)
def test_gemma_round_trip(text: str) -> None:
    text = text.replace("▁", "")  # the tokenizer itself takes it for a space
    vocabulary = Vocabulary.from_tokenizer(GEMMA)
    assert spelled(vocabulary, GEMMA.encode(text).ids) == text.encode()


@roundtrip
@given(data=st.data())
def test_gemma_decodes_like_the_tokenizer(data: st.DataObject) -> None:
    """Any ids, as a canvas may hold them, not only those that the encoder would choose."""
    vocabulary = Vocabulary.from_tokenizer(GEMMA)
    text_ids = [id for id, token in enumerate(vocabulary.tokens) if token is not None]
    ids = data.draw(st.lists(st.sampled_from(text_ids)))
    try:
        expected = vocabulary.decode(ids).decode()
    except UnicodeDecodeError:
        assert "\ufffd" in GEMMA.decode(ids)
    else:
        assert GEMMA.decode(ids) == expected


def test_classes_of_transformers() -> None:
    vocab, merges = marked_vocabulary(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"])
    gemma = Vocabulary.from_tokenizer(GemmaTokenizer(vocab=vocab, merges=merges))
    assert gemma.tokens[vocab["▁the"]] == b" the"
    assert (gemma.end_ids, gemma.pad_id) == ((1,), 0)
    vocab, merges = marked_vocabulary(["<unk>", "<s>", "</s>"])
    llama = Vocabulary.from_tokenizer(LlamaTokenizer(vocab=vocab, merges=merges))
    assert llama.tokens[vocab["▁the"]] == b" the"
    assert (llama.end_ids, llama.pad_id) == ((2,), None)


@pytest.mark.parametrize(
    "tokenizer",
    [
        LLAMA,
        UNIGRAM,
        METASPACE,
        metaspace_bpe("first"),
        unigram(decoders.Metaspace(prepend_scheme="never"), prepend_scheme="never"),
        unigram(decoders.Sequence([decoders.Metaspace(), decoders.ByteFallback(), decoders.Fuse()])),
    ],
)
def test_the_space_at_the_start_is_kept(tokenizer: Tokenizer) -> None:
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert vocabulary.tokens[tokenizer.token_to_id("▁the")] == b" the"
    assert vocabulary.tokens[tokenizer.token_to_id("<0x0A>")] == b"\n"
    assert vocabulary.tokens[tokenizer.token_to_id("<unk>")] is None
    assert spelled(vocabulary, tokenizer.encode(" the", add_special_tokens=False).ids).endswith(b" the")


@roundtrip
@given(text=texts, tokenizer=st.sampled_from([LLAMA, UNIGRAM, METASPACE]))
def test_space_marks_round_trip(text: str, tokenizer: Tokenizer) -> None:
    text = text.replace("▁", "")
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    spaced = {text.encode(), b" " + text.encode()}
    assert spelled(vocabulary, tokenizer.encode(text, add_special_tokens=False).ids) in spaced


def test_texts_behind_others_get_no_space() -> None:
    """The bytes of a continuation are literal: cut anywhere, the encoding spells the rest of the text."""
    ids = LLAMA.encode("the quick the", add_special_tokens=False).ids
    vocabulary = Vocabulary.from_tokenizer(LLAMA)
    for cut in range(1, len(ids)):
        assert spelled(vocabulary, ids[:cut]) + spelled(vocabulary, ids[cut:]) == b" the quick the"


def test_unigram_that_cannot_encode_everything() -> None:
    tokenizer = Tokenizer(
        models.Unigram([(piece, -1.0) for piece in ["▁", *"adnltorswiefhqukbcxjmpvzygT."]], None, False)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["</s>"])
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert vocabulary.tokens[:3] == (b" ", b"a", b"d")


# --- special tokens and ids ----------------------------------------------------------------------


def with_added(special: Iterable[str] = (), ordinary: Iterable[str] = ()) -> Tokenizer:
    tokenizer = byte_level()
    tokenizer.add_special_tokens(list(special))
    tokenizer.add_tokens([added(content) for content in ordinary])
    return tokenizer


@pytest.mark.parametrize(
    "placeholder",
    [
        "<unused12>",
        "[unused12]",
        "<unused_12>",
        "<|unused_12|>",
        "<reserved_106>",
        "<|reserved_special_token_5|>",
        "<|reserved_token_7|>",
        "<|placeholder3|>",
        "<extra_id_0>",
        "<SPECIAL_20>",
        "[control_8]",
        "<|mask|>",
        "<|mdm_mask|>",
        "[MASK]",
    ],
)
def test_placeholders_are_no_text_whatever_their_flags(placeholder: str) -> None:
    tokenizer = with_added(ordinary=[placeholder, "<p>"])
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert vocabulary.tokens[tokenizer.token_to_id(placeholder)] is None
    assert vocabulary.tokens[tokenizer.token_to_id("<p>")] == b"<p>"


@pytest.mark.parametrize("text", ["<table>", "<b1>", "[12]", "<think>", "<tool_call>", "unused12", "<unused>"])
def test_other_added_tokens_are_text(text: str) -> None:
    vocabulary = Vocabulary.from_tokenizer(with_added(ordinary=[text]))
    assert vocabulary.tokens[-1] == text.encode()


def test_ends_of_a_turn_count() -> None:
    special = ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<end_of_turn>", "<turn|>", "<other>"]
    tokenizer = with_added(special=special)
    ids = [tokenizer.token_to_id(content) for content in special]
    assert Vocabulary.from_tokenizer(tokenizer).end_ids == (1, *ids[:-1])
    assert Vocabulary.from_tokenizer(wrapped(tokenizer, eos_token="<other>")).end_ids == (1, *ids)
    assert Vocabulary.from_tokenizer(tokenizer, end_ids=[ids[2]]).end_ids == (ids[2],)


def test_closing_tags_are_not_ends() -> None:
    tokenizer = with_added(ordinary=["</s>"])
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert vocabulary.end_ids == (1,)
    assert vocabulary.tokens[-1] == b"</s>"


def test_end_ids_may_be_ordinary_tokens() -> None:
    newline = BYTE_LEVEL.token_to_id("Ċ")
    vocabulary = Vocabulary.from_tokenizer(BYTE_LEVEL, end_ids=newline, pad_id=0)
    assert vocabulary.end_ids == (newline,)
    assert vocabulary.tokens[newline] is None
    assert vocabulary.pad_id == 0


def test_special_tokens_of_the_wrapper() -> None:
    tokenizer = wrapped(byte_level(), eos_token="<eos>", pad_token="!", bos_token="<bos>")
    assert Vocabulary.from_tokenizer(tokenizer).tokens[tokenizer.convert_tokens_to_ids("!")] is None
    marks = {mark: BYTE_LEVEL.token_to_id(mark) for mark in "!?."}
    stub = SimpleNamespace(
        backend_tokenizer=BYTE_LEVEL,
        all_special_ids=[marks["?"], None],
        eos_token_id=[1, 2],
        pad_token_id=marks["!"],
    )
    vocabulary = Vocabulary.from_tokenizer(stub)
    assert (vocabulary.end_ids, vocabulary.pad_id) == ((1, 2), marks["!"])
    assert [vocabulary.tokens[id] for id in marks.values()] == [None, None, b"."]


def test_added_tokens_of_the_models_vocabulary_are_spelled_like_it() -> None:
    tokenizer = byte_level()
    piece = next(p for p in sorted(tokenizer.get_vocab()) if p.startswith("Ġ") and len(p) > 2 and p[1:].isascii())
    tokenizer.add_tokens([added(piece)])
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert vocabulary.tokens[tokenizer.token_to_id(piece)] == b" " + piece[1:].encode()


def test_ids_without_a_token() -> None:
    description = json.loads(byte_level().to_str())
    size = len(description["model"]["vocab"])
    description["model"]["vocab"]["▂"] = size + 10
    description["added_tokens"].append(
        {**description["added_tokens"][0], "id": size + 20, "content": "<tail>", "special": False}
    )
    backend = SimpleNamespace(
        to_str=lambda: json.dumps(description), encode=BYTE_LEVEL.encode, decode=BYTE_LEVEL.decode
    )
    vocabulary = Vocabulary.from_tokenizer(backend)
    assert len(vocabulary) == size + 21
    assert [id - size for id in range(size, len(vocabulary)) if vocabulary.tokens[id] is not None] == [10, 20]
    assert vocabulary.tokens[size + 10 :: 10] == ("▂".encode(), b"<tail>")


def test_processors() -> None:
    tokenizer = wrapped(byte_level(), eos_token="<eos>", pad_token="<pad>")
    processor = SimpleNamespace(tokenizer=tokenizer, image_processor=None)
    assert Vocabulary.from_tokenizer(processor) == Vocabulary.from_tokenizer(tokenizer)


# --- refusals ------------------------------------------------------------------------------------


def wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "play": 1, "##ing": 2}, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def with_decoder(decoder: Any) -> Tokenizer:
    tokenizer = byte_level()
    tokenizer.decoder = decoder
    return tokenizer


def with_suffix() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE({"a</w>": 0, "a": 1}, [], end_of_word_suffix="</w>"))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def fused(*steps: Any) -> Any:
    return decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), *steps])


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (wordpiece(), "model WordPiece.*start of a word and inside one"),
        (with_decoder(decoders.WordPiece()), "decoder WordPiece.*start of a word and inside one"),
        (with_decoder(decoders.BPEDecoder()), "decoder BPEDecoder.*end of a word"),
        (with_decoder(decoders.CTC()), "decoder CTC.*repeated"),
        (with_decoder(decoders.Fuse()), "model BPE with decoder Fuse"),
        (
            with_decoder(decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])),
            "Strip.* beside ByteLevel",
        ),
        (with_decoder(fused(decoders.Strip(" ", 1, 1))), "Strip.*stop=1.* behind Fuse"),
        (with_decoder(fused(decoders.Strip("_", 1, 0))), "Strip.*'_'.* behind Fuse"),
        (with_decoder(fused(decoders.Replace("a", "b"))), "Replace.* behind Fuse"),
        (with_decoder(decoders.Sequence([decoders.Strip(" ", 1, 0)])), r"decoder Strip\(content=' '"),
        (with_decoder(decoders.Replace("a", " ")), "decoder Replace"),
        (with_decoder(decoders.Replace("▁", "_")), "decoder Replace"),
        (with_decoder(decoders.Replace(Regex("▁+"), " ")), "decoder Replace.*Regex"),
        (with_suffix(), "end_of_word_suffix '</w>'"),
        (unigram(decoders.Fuse(), byte_fallback=False), "model Unigram with decoder Fuse"),
    ],
)
def test_refused_decoders(tokenizer: Tokenizer, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        Vocabulary.from_tokenizer(tokenizer, end_ids=0)
    assert "Supported are byte-level tokenizers" in str(caught.value)
    with pytest.raises(ModelError, match=r"PreTrainedTokenizerFast|TokenizersBackend"):
        Vocabulary.from_tokenizer(wrapped(tokenizer), end_ids=0)


@pytest.mark.parametrize(
    "model",
    [
        models.BPE({"a": 0}, []),
        models.BPE({"a": 0}, [], byte_fallback=True),
        models.Unigram([("a", 0.0)], None, False),
        models.WordLevel({"a": 0}, unk_token="a"),
    ],
)
def test_tokenizers_without_a_decoder_are_refused(model: Any) -> None:
    with pytest.raises(ModelError, match="with decoder none"):
        Vocabulary.from_tokenizer(Tokenizer(model), end_ids=0)


def test_slow_tokenizers_are_refused_by_name() -> None:
    class SlowTokenizer:
        tokenizer = object()

    for tokenizer in (SlowTokenizer(), SimpleNamespace(), None):
        with pytest.raises(ModelError, match=f"{type(tokenizer).__name__} is not a fast tokenizer"):
            Vocabulary.from_tokenizer(tokenizer)


def test_a_tokenizer_that_names_no_end_is_refused() -> None:
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    with pytest.raises(ModelError, match="names no end-of-text token; pass end_ids"):
        Vocabulary.from_tokenizer(tokenizer)
    with pytest.raises(ModelError, match="the end id 256 is not in the vocabulary of 256"):
        Vocabulary.from_tokenizer(tokenizer, end_ids=256)


def test_a_tokenizer_that_encodes_no_sample_is_refused() -> None:
    tokenizer = Tokenizer(models.BPE({"▁☃": 0, "☂": 1}, []))
    tokenizer.decoder = decoders.Metaspace()
    with pytest.raises(ModelError, match=f"gives back none of {len(DEFAULT_SAMPLE)} sample texts"):
        Vocabulary.from_tokenizer(tokenizer, end_ids=1)


def test_a_tokenizer_whose_tokens_were_read_wrongly_is_refused() -> None:
    """Where the encoder and the description disagree, the sample tells."""
    description = json.loads(BYTE_LEVEL.to_str())
    vocab = description["model"]["vocab"]
    vocab["e"], vocab["k"] = vocab["k"], vocab["e"]
    backend = SimpleNamespace(
        to_str=lambda: json.dumps(description), encode=BYTE_LEVEL.encode, decode=BYTE_LEVEL.decode
    )
    with pytest.raises(ModelError, match=r"encodes ' leading .*b' lkading .* but decodes it to ' leading "):
        Vocabulary.from_tokenizer(backend)


# --- real vocabularies ---------------------------------------------------------------------------


def benchmark_vocabularies() -> ModuleType:
    pytest.importorskip("mistral_common", reason="mistral-common, which carries a real vocabulary, is not installed")
    path = Path(__file__).parents[1] / "benchmarks" / "vocabularies.py"
    spec = importlib.util.spec_from_file_location("benchmark_vocabularies", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tekken() -> None:
    module = benchmark_vocabularies()
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    vocabulary = module.tekken()
    folder = importlib.util.find_spec("mistral_common").submodule_search_locations[0]  # type: ignore[union-attr,index]
    tokenizer = Tekkenizer.from_file(Path(folder) / "data" / module.TEKKEN)
    assert len(vocabulary) == tokenizer.n_words == 131_072
    assert vocabulary.end_ids == (tokenizer.eos_id,)
    assert vocabulary.pad_id == tokenizer.pad_id
    assert vocabulary.tokens[:1000] == (None,) * 1000
    assert {bytes([byte]) for byte in range(256)} <= set(vocabulary.tokens)
    vocabulary.check(lambda text: tokenizer.encode(text, bos=True, eos=True))
    ids = np.random.default_rng(0).integers(1000, len(vocabulary), 500)
    assert [vocabulary.tokens[id] for id in ids] == [tokenizer.id_to_byte_piece(int(id)) for id in ids]
    assert vocabulary.fingerprint == module.tekken().fingerprint


def test_a_large_vocabulary_is_read_quickly() -> None:
    """As large as Gemma's; the bound leaves room for a slow machine."""
    rng = np.random.default_rng(0)
    words = [base64.b32encode(word.tobytes()).decode().rstrip("=") for word in rng.integers(2**40, size=262_000)]
    pieces = dict.fromkeys(["</s>", *BYTE_PIECES, "▁", *(f"▁{word}" for word in words)])
    tokenizer = Tokenizer(models.BPE({piece: id for id, piece in enumerate(pieces)}, [], byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["</s>"])
    start = time.perf_counter()
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert len(vocabulary.fingerprint) == 64
    assert time.perf_counter() - start < 8
    assert len(vocabulary) == len(pieces)
    assert vocabulary.tokens[-1] == b" " + words[-1].encode()
