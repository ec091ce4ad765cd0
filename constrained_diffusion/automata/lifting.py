"""From bytes to tokens: which tokens behave alike, and where they lead.

1. Every state walks the tree of spellings; each (state, target) pair that a spelling takes part
   in adds a random number to the spelling's signature. Equal signatures, equal columns: a class.
2. One representative of each class walks from every state; per pair of states the classes that
   connect them become a label, and equal labels are shared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import token_kernels
from constrained_diffusion.automata.byte_automaton import ByteDFA
from constrained_diffusion.automata.classes import DEAD_CLASS, END_CLASS
from constrained_diffusion.automata.guessing import GuessingAutomaton
from constrained_diffusion.automata.lexicon import Lexicon
from constrained_diffusion.automata.trie import Trie
from constrained_diffusion.automata.vocabulary import Vocabulary
from constrained_diffusion.errors import LimitExceeded
from constrained_diffusion.limits import Limits
from constrained_diffusion.threads import run_all, thread_count

ANYTHING_LABEL: Final = 0
"""The label of the loop behind the end of the text: every token, with weight 1."""
UNREACHABLE: Final = np.int32(2**30)
"""The distance of a state from which no sequence of tokens completes the text."""
_STATES_PER_THREAD: Final = 100
"""A thread of its own pays off from this many states on."""


@final
@dataclass(frozen=True, eq=False)
class GroupedEdges:
    """Edges in groups: those of group g are ``begin[g]`` to ``begin[g + 1]``, int64; the other fields int32 [E]."""

    begin: NDArray[np.int64]
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    label: NDArray[np.int32]

    def by(self, keys: NDArray[np.int32], groups: int) -> "GroupedEdges":
        """The same edges in groups by one of their fields."""
        order = np.argsort(keys, kind="stable")
        begin = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=groups))])
        return GroupedEdges(begin, self.source[order], self.target[order], self.label[order])


@final
@dataclass(frozen=True, eq=False)
class Lifted:
    """A byte automaton on tokens. State N, behind the N byte states, is the tail after the end token.

    Attributes:
        class_of_token: int32 [V].
        num_classes: C.
        edge_begin: int64 [N + 2], where the edges of each state begin.
        edge_target, edge_label: int32 [E].
        label_begin: int64 [labels + 1]; label_class: int32, the classes of each label.
        distance: int32 [N + 1], least number of tokens, end token included, to complete the text.
    """

    class_of_token: NDArray[np.int32]
    num_classes: int
    edge_begin: NDArray[np.int64]
    edge_target: NDArray[np.int32]
    edge_label: NDArray[np.int32]
    label_begin: NDArray[np.int64]
    label_class: NDArray[np.int32]
    distance: NDArray[np.int32]

    def arrays(self) -> dict[str, Any]:
        """The fields by name, for saving."""
        return dict(vars(self))

    def edges(self) -> GroupedEdges:
        """The edges grouped by source."""
        source = np.repeat(np.arange(len(self.edge_begin) - 1, dtype=np.int32), np.diff(self.edge_begin))
        return GroupedEdges(self.edge_begin, source, self.edge_target, self.edge_label)


def lift(dfa: ByteDFA, vocabulary: Vocabulary, lexicon: Lexicon, limits: Limits) -> Lifted:
    """Lifts the automaton onto the vocabulary.

    Raises:
        LimitExceeded: there are more than ``limits.max_edges`` pairs of a state and a class.
    """
    class_of_token, representatives = token_classes(dfa, vocabulary, lexicon)
    spellings = [_spelling(vocabulary, lexicon, i) for i in representatives]
    sources, targets, classes = _class_steps(dfa, Trie.of(spellings), limits)
    return _with_labels(dfa, class_of_token, len(representatives) + 2, sources, targets, classes)


def lift_guessing(
    automaton: GuessingAutomaton,
    vocabulary: Vocabulary,
    class_of_token: NDArray[np.int32],
    representatives: Sequence[int],
    limits: Limits,
) -> Lifted:
    """Lifts a relaxation that guesses onto token classes; a token may lead to several states.

    Args:
        class_of_token: int32 [V], tokens of one class doing the same to every configuration.
        representatives: a token of each class behind the first two.

    Raises:
        LimitExceeded: there are more than ``limits.max_edges`` triples of two states and a class.
    """
    tree = Trie.of([vocabulary.spellings[token] or b"" for token in representatives])

    def some_steps(first: int, stride: int) -> NDArray[np.int32]:
        arrays = automaton.table, automaton.begin, automaton.target, automaton.byte_class
        return np.asarray(
            token_kernels.all_guessed_steps(*arrays, *_walkable(tree), tree.max_depth, limits.max_edges, first, stride)
        )

    steps = _all_steps(some_steps, automaton.certain, limits)
    return _with_labels(automaton.certain, class_of_token, len(representatives) + 2, *steps)


def token_classes(
    dfa: ByteDFA, vocabulary: Vocabulary, lexicon: Lexicon
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The class of each token, int32 [V], tokens of one class leading from every state to the same one, and a spelling
    for each class behind the first two."""
    class_of_spelling, representatives = _spelling_classes(dfa, lexicon)
    class_of_token = np.full(len(vocabulary), DEAD_CLASS, np.int32)
    is_text = lexicon.spelling_of_token >= 0
    class_of_token[is_text] = class_of_spelling[lexicon.spelling_of_token[is_text]]
    class_of_token[list(vocabulary.end_ids)] = END_CLASS
    return class_of_token, representatives


def _spelling(vocabulary: Vocabulary, lexicon: Lexicon, number: int) -> bytes:
    return vocabulary.spellings[lexicon.token_of_spelling[number]] or b""


def _spelling_classes(dfa: ByteDFA, lexicon: Lexicon) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The class of each spelling, int32 [S], and a spelling for each class behind the first two."""
    ranges = _class_ranges(dfa.byte_class)

    def signatures(first: int, stride: int) -> NDArray[np.uint64]:
        return np.asarray(
            token_kernels.signatures(
                dfa.table,
                dfa.byte_class,
                _PLAIN_ASCII,
                *ranges,
                lexicon.plain_length,
                lexicon.first_byte,
                lexicon.max_plain_length,
                *_walkable(lexicon.all),
                *_walkable(lexicon.others),
                first,
                stride,
            )
        )

    parts = _over_states(signatures, dfa)
    classes, representatives = token_kernels.number_signatures(sum(parts[1:], start=parts[0]))
    return classes, representatives


def _over_states(work: Callable[[int, int], NDArray[Any]], dfa: ByteDFA) -> list[NDArray[Any]]:
    """What ``work`` gives for every n-th state from the first, from the second ...: neighbours cost alike."""
    stride = max(1, min(thread_count(), dfa.num_states // _STATES_PER_THREAD))
    return run_all([partial(work, first, stride) for first in range(stride)])


def _walkable(tree: Trie) -> Sequence[NDArray[Any]]:
    return tree.byte, tree.depth, tree.end, tree.string


def _class_steps(
    dfa: ByteDFA, tree: Trie, limits: Limits
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """All (state, target, class) that tokens allow."""

    def some_steps(first: int, stride: int) -> NDArray[np.int32]:
        return np.asarray(
            token_kernels.all_steps(
                dfa.table, dfa.byte_class, *_walkable(tree), tree.max_depth, limits.max_edges, first, stride
            )
        )

    return _all_steps(some_steps, dfa, limits)


def _all_steps(
    some_steps: Callable[[int, int], NDArray[np.int32]], dfa: ByteDFA, limits: Limits
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """All (state, target, class) from what ``some_steps`` gives for some of the states."""
    steps = np.concatenate(_over_states(some_steps, dfa))
    if len(steps) > limits.max_edges:
        raise LimitExceeded("max_edges", limits.max_edges, "the number of token transitions of the constraint")
    return steps[:, 0], steps[:, 1], steps[:, 2] + 2


def _with_labels(
    dfa: ByteDFA,
    class_of_token: NDArray[np.int32],
    num_classes: int,
    sources: NDArray[np.int32],
    targets: NDArray[np.int32],
    classes: NDArray[np.int32],
) -> Lifted:
    """Gathers the classes between two states into labels, adds the end of the text, measures distances."""
    n = dfa.num_states
    ends = np.flatnonzero(dfa.accepting).astype(np.int32)
    sources = np.concatenate([sources, ends])
    targets = np.concatenate([targets, np.full(len(ends), n, np.int32)])
    classes = np.concatenate([classes, np.full(len(ends), END_CLASS, np.int32)])
    keys = (sources.astype(np.int64) * (n + 1) + targets) * num_classes + classes
    keys.sort()
    pairs, ordered_classes = np.divmod(keys, num_classes)
    begins = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1]))
    edge_source, edge_target = np.divmod(pairs[begins], n + 1)
    edge_label, label_begin, label_class = _shared_labels(ordered_classes, begins)
    edge_source = np.append(edge_source, n)
    edge_target = np.append(edge_target, n).astype(np.int32)
    edge_begin = np.searchsorted(edge_source, np.arange(n + 2)).astype(np.int64)
    distance = token_kernels.distances(edge_begin, edge_target, n)
    return Lifted(
        class_of_token,
        num_classes,
        edge_begin,
        edge_target,
        np.append(edge_label, ANYTHING_LABEL).astype(np.int32),
        label_begin,
        label_class,
        distance,
    )


def _shared_labels(
    classes: NDArray[np.int64], begins: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """The label of each edge; labels with the same classes are one. Label 0 stands for any token.

    Edges are compared by two 64-bit sums of random numbers, one per class.
    """
    ends = np.append(begins[1:], len(classes))
    numbers = np.random.default_rng(0).integers(0, 2**64, (2, int(classes.max()) + 1), np.uint64)
    sums = np.add.reduceat(numbers[:, classes], begins, axis=1)
    order = np.lexsort(sums)
    is_new = np.append(True, np.any(sums[:, order[1:]] != sums[:, order[:-1]], axis=0))
    edge_label = np.empty(len(begins), np.int64)
    edge_label[order] = np.cumsum(is_new)
    pieces = [classes[begins[edge] : ends[edge]] for edge in order[is_new]]
    sizes = [0, *(len(piece) for piece in pieces)]
    return edge_label, np.concatenate([[0], np.cumsum(sizes)]), np.concatenate(pieces).astype(np.int32)


# --- characters that behave alike -----------------------------------------------------------------

_PLAIN_ASCII: Final = np.array([b for b in range(0x20, 0x80) if b not in (0x22, 0x5C)])
_CONTINUATION: Final = range(0x80, 0xC0)
_LEADS: Final = (
    (range(0xC2, 0xE0), None, 0),
    (range(0xE0, 0xE1), range(0xA0, 0xC0), 1),
    ((*range(0xE1, 0xED), 0xEE, 0xEF), _CONTINUATION, 1),
    (range(0xED, 0xEE), range(0x80, 0xA0), 1),
    (range(0xF0, 0xF1), range(0x90, 0xC0), 2),
    (range(0xF1, 0xF4), _CONTINUATION, 2),
    (range(0xF4, 0xF5), range(0x80, 0x90), 2),
)
"""Lead bytes of RFC 3629, what may follow directly, and how many full continuation bytes after that."""


def _class_ranges(byte_class: NDArray[np.uint8]) -> tuple[Any, ...]:
    """The byte classes that occur in each range of bytes that UTF-8 distinguishes, as padded rows."""
    ranges: list[Any] = [_CONTINUATION]
    for lead, following, _ in _LEADS:
        ranges += [lead, following or []]
    rows = np.full((len(ranges), 257), -1, np.int64)
    for row, values in zip(rows, ranges, strict=True):
        found = np.unique(byte_class[list(values)]) if len(values) else np.empty(0, np.int64)
        row[: len(found)] = found
    return rows, np.array([trailing for _, _, trailing in _LEADS])
