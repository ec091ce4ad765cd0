"""The spellings of a vocabulary, arranged for lifting automata onto it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final, Self, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata.storage import kept_on_disk, read_arrays, write_arrays
from constrained_diffusion.automata.trie import Trie
from constrained_diffusion.automata.vocabulary import Vocabulary

_FORMAT: Final = "constrained-diffusion lexicon 1"
_OWN_ARRAYS: Final = ("spelling_of_token", "token_of_spelling", "plain_length", "first_byte")
_QUOTE, _BACKSLASH, _FIRST_PRINTABLE = 0x22, 0x5C, 0x20


@final
@dataclass(frozen=True, eq=False)
class Lexicon:
    """The different spellings of a vocabulary's tokens, as prefix trees.

    A spelling is *plain* if it consists of whole characters without quotes, backslashes and
    controls. Inside free text every plain spelling of the same length behaves alike, so an
    automaton's states there need only walk the tree of the others.

    Attributes:
        spelling_of_token: int32 [V], or -1 for special tokens without a name.
        token_of_spelling: int32 [S], the least token id with that spelling.
        plain_length: int32 [S], the number of characters of a plain spelling, else 0.
        first_byte: uint8 [S].
        all: the tree of all spellings.
        others: the tree of those that are not plain.
    """

    spelling_of_token: NDArray[np.int32]
    token_of_spelling: NDArray[np.int32]
    plain_length: NDArray[np.int32]
    first_byte: NDArray[np.uint8]
    all: Trie
    others: Trie

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Self:
        """Builds the lexicon from scratch."""
        number: dict[bytes, int] = {}
        token_of_spelling: list[int] = []
        spelling_of_token = np.full(len(vocabulary.tokens), -1, np.int32)
        for token, spelling in enumerate(vocabulary.spellings):
            if spelling is None:
                continue
            index = number.setdefault(spelling, len(token_of_spelling))
            if index == len(token_of_spelling):
                token_of_spelling.append(token)
            spelling_of_token[token] = index
        spellings = list(number)
        plain_length = np.fromiter((_plain_length(spelling) for spelling in spellings), np.int32, len(spellings))
        return cls(
            spelling_of_token,
            np.array(token_of_spelling, np.int32),
            plain_length,
            np.fromiter((spelling[0] for spelling in spellings), np.uint8, len(spellings)),
            Trie.of(spellings),
            _subtree(spellings, np.flatnonzero(plain_length == 0)),
        )

    @cached_property
    def max_plain_length(self) -> int:
        return int(self.plain_length.max(initial=0))

    def save(self, path: Path) -> None:
        """Writes the lexicon to a file."""
        trees = {
            f"{name}_{part}": array
            for name, tree in (("all", self.all), ("others", self.others))
            for part, array in tree.arrays().items()
        }
        own = {name: getattr(self, name) for name in _OWN_ARRAYS}
        write_arrays(path, {"format": np.array(_FORMAT), **own, **trees})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what ``save`` wrote.

        Raises:
            ModelError: the file is damaged or of another version.
        """
        arrays = read_arrays(path, _FORMAT)
        trees = {
            name: Trie(**{part: arrays.pop(f"{name}_{part}") for part in ("byte", "depth", "end", "string")})
            for name in ("all", "others")
        }
        return cls(**arrays, all=trees["all"], others=trees["others"])


def _subtree(spellings: Sequence[bytes], numbers: NDArray[np.int64]) -> Trie:
    """The tree of some spellings, under their own numbers."""
    tree = Trie.of([spellings[i] for i in numbers])
    string = np.where(tree.string >= 0, numbers[tree.string] if len(numbers) else -1, -1).astype(np.int32)
    return Trie(tree.byte, tree.depth, tree.end, string)


def _plain_length(spelling: bytes) -> int:
    if _QUOTE in spelling or _BACKSLASH in spelling or min(spelling) < _FIRST_PRINTABLE:
        return 0
    try:
        return len(spelling.decode())
    except UnicodeDecodeError:
        return 0


_kept: dict[str, Lexicon] = {}
_lock: Final = threading.Lock()


def lexicon_of(vocabulary: Vocabulary) -> Lexicon:
    """The vocabulary's lexicon: from memory, else from disk, else built and kept in both."""
    key = vocabulary.fingerprint
    with _lock:
        if key not in _kept:
            _kept[key] = kept_on_disk(
                "lexicon-1",
                key,
                partial(Lexicon.of, vocabulary),
                lambda lexicon, path: lexicon.save(path),
                Lexicon.load,
            )
        return _kept[key]
