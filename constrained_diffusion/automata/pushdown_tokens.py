"""A pushdown automaton on tokens: exact states, the finite relaxation that guides, and ways to the end."""

import heapq
import itertools
import threading
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import pushdown_kernels as kernels
from constrained_diffusion.automata.byte_automaton import DEAD, ByteDFA
from constrained_diffusion.automata.classes import END_CLASS
from constrained_diffusion.automata.lifting import UNREACHABLE, Lifted
from constrained_diffusion.automata.pushdown import TAIL, PushdownAutomaton
from constrained_diffusion.automata.relaxation import Relaxation
from constrained_diffusion.automata.vocabulary import Vocabulary

_MOST_EXPANSIONS: Final = 2000
"""States that are looked at on the way to an end before it is given up."""
_BRANCHES: Final = 8
"""States behind one state that are kept on the way to an end."""


@final
class Successors(NamedTuple):
    """What may follow a state: int32 [n] each.

    Attributes:
        classes: token classes; the end of the text is among them if it may come.
        targets: the exact states behind them.
        relaxed: the states of the relaxation that stand for these.
    """

    classes: NDArray[np.int32]
    targets: NDArray[np.int32]
    relaxed: NDArray[np.int32]


def refined(lifted: Lifted, automaton: PushdownAutomaton, vocabulary: Vocabulary) -> Lifted:
    """The same edges on finer token classes: tokens of one class do the same to every exact state.

    Tokens that the relaxation cannot tell apart may still open or close different numbers of brackets.
    """
    tokens = np.flatnonzero(lifted.class_of_token > END_CLASS)
    effects = _effects(automaton, [vocabulary.tokens[token] or b"" for token in tokens.tolist()])
    keys = np.stack([lifted.class_of_token[tokens].astype(np.uint64), effects[:, 0], effects[:, 1]], axis=1)
    unique, number = np.unique(keys, axis=0, return_inverse=True)
    class_of_token = lifted.class_of_token.copy()
    class_of_token[tokens] = number.reshape(-1) + END_CLASS + 1
    parent = np.concatenate([[0, END_CLASS], unique[:, 0].astype(np.int64)])
    begin = np.searchsorted(parent, np.arange(lifted.num_classes + 1))
    counts = np.diff(begin)[lifted.label_class]
    first = begin[lifted.label_class]
    ends = np.concatenate([[0], np.cumsum(counts)])
    label_class = np.repeat(first - ends[:-1], counts) + np.arange(ends[-1])
    return Lifted(
        class_of_token,
        len(parent),
        lifted.edge_begin,
        lifted.edge_target,
        lifted.edge_label,
        ends[lifted.label_begin].astype(np.int64),
        label_class.astype(np.int32),
        lifted.distance,
    )


def _effects(automaton: PushdownAutomaton, texts: list[bytes]) -> NDArray[np.uint64]:
    """What each text does to the lexers, as two random numbers, uint64 [n, 2]."""
    grammar, tables = automaton.grammar, automaton.tables
    follows = np.zeros((len(grammar.terminals), len(grammar.scanners)), np.bool_)
    for terminal in range(len(grammar.terminals)):
        shifted = grammar.action[:, terminal]
        states = np.arange(grammar.num_states) if grammar.ignored[terminal] else shifted[shifted >= 0]
        follows[terminal, grammar.scanner_of_state[states]] = True
    # Bytes that the scanners treat alike make texts that do the same.
    to_class = bytes(tables.byte_class)
    numbers: dict[bytes, int] = {}
    place = [numbers.setdefault(text.translate(to_class), len(numbers)) for text in texts]
    begins, buffer = _joined(list(numbers))
    block = _equivalent(tables.scan, tables.match)
    _, first = np.unique(block, return_index=True)
    scan = np.where(tables.scan[first] >= 0, block[tables.scan[first]], DEAD).astype(np.int32)
    starts = block[grammar.scanner_begin[:-1]].astype(np.int32)
    found = kernels.effects(scan, tables.match[first], tables.is_closed[first], starts, follows, begins, buffer)
    return np.asarray(found, np.uint64)[place]


def _equivalent(scan: NDArray[np.int32], match: NDArray[np.int32]) -> NDArray[np.int64]:
    """The block of each scanner state in the coarsest partition into states that behave alike, int64 [S]."""
    block = np.unique(match, return_inverse=True)[1].reshape(-1)
    while True:
        behind = np.append(block, -1)[scan]
        finer = np.unique(np.column_stack([block, behind]), axis=0, return_inverse=True)[1].reshape(-1)
        if finer.max() == block.max():
            return np.asarray(finer, np.int64)
        block = finer


def _joined(texts: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    lengths = np.array([len(text) for text in texts], np.int64)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.frombuffer(b"".join(texts), np.uint8)


@final
class ExactStates:
    """The exact states of a grammar on tokens. What was found out about a state is kept; threads may share it.

    A state is an integer of the pushdown automaton, or ``TAIL`` behind the end token.
    """

    def __init__(
        self, automaton: PushdownAutomaton, relaxation: Relaxation, lifted: Lifted, vocabulary: Vocabulary
    ) -> None:
        self.automaton = automaton
        self.dfa: ByteDFA = relaxation.dfa
        self.distance = lifted.distance
        self.tail_relaxed = relaxation.dfa.num_states
        self._guide = _guide(automaton, relaxation, lifted, vocabulary)
        self._shortest = automaton.grammar.shortest
        self._relaxed: dict[int, int] = {TAIL: self.tail_relaxed}
        self._successors: dict[int, Successors] = {
            TAIL: Successors(*(np.empty(0, np.int32) for _ in range(3))),
        }
        self._completion: dict[int, int] = {TAIL: 0}
        self._lock = threading.RLock()

    def step(self, state: int, spelling: bytes) -> int:
        """The state behind a token's bytes, or ``DEAD``."""
        target = self.automaton.run(spelling, state)
        if target == DEAD:
            return DEAD
        relaxed = self.relaxed(state)
        otherwise = DEAD if relaxed == DEAD else self.dfa.run(spelling, relaxed)
        reached = int(self.automaton.call(kernels.relaxed, self._guide, target, otherwise))
        if reached == DEAD:
            return DEAD
        with self._lock:
            self._relaxed.setdefault(target, reached)
        return target

    def relaxed(self, state: int) -> int:
        """The state of the relaxation that stands for an exact one, or ``DEAD`` where nothing can follow."""
        known = self._relaxed.get(state)
        if known is None:
            known = int(self.automaton.call(kernels.relaxed, self._guide, state, DEAD))
            self._relaxed[state] = known
        return known

    def is_known(self, state: int) -> bool:
        """Whether the number is that of a state met so far."""
        return 0 <= state < self.automaton.num_states

    def successors(self, state: int) -> Successors:
        """What may follow a state."""
        known = self._successors.get(state)
        if known is not None:
            return known
        relaxed = self.relaxed(state)
        found = [np.empty(0, np.int32)] * 3
        if relaxed != DEAD:
            found = list(self.automaton.call(kernels.expand, self._guide, state, relaxed))
        with self._lock:
            for target, reached in zip(found[1].tolist(), found[2].tolist(), strict=True):
                self._relaxed.setdefault(target, reached)
        if self.automaton.accepts(state):
            end = (END_CLASS, TAIL, self.tail_relaxed)
            found = [np.append(part, np.int32(value)) for part, value in zip(found, end, strict=True)]
        self._successors[state] = Successors(*found)
        return self._successors[state]

    def completion(self, state: int) -> int:
        """Tokens, end token included, of some way to complete the text from a state; ``UNREACHABLE`` if none is found.

        An upper bound on the least number, reached by a best-first search for the shortest closing text.
        """
        with self._lock:
            if state not in self._completion:
                self._complete(state)
            return self._completion[state]

    def _complete(self, state: int) -> None:
        order = itertools.count()
        before: dict[int, int] = {state: state}
        queue: list[tuple[int, int, int, int]] = [(0, 0, next(order), state)]
        for _ in range(_MOST_EXPANSIONS):
            if not queue:
                break
            _, depth, _, current = heapq.heappop(queue)
            ahead = self._completion.get(current)
            if ahead is not None and ahead < UNREACHABLE:
                self._note_way(state, current, before, ahead)
                return
            successors = self.successors(current)
            if len(successors.classes) and successors.classes[-1] == END_CLASS:
                self._note_way(state, current, before, 1)
                return
            targets = np.array([t for t in np.unique(successors.targets).tolist() if t not in before], np.int32)
            closing = self.automaton.call(kernels.closings, targets, self._shortest)
            for place in np.argsort(closing, kind="stable")[:_BRANCHES].tolist():
                if closing[place] < kernels.FAR:
                    before[int(targets[place])] = current
                    heapq.heappush(queue, (int(closing[place]), depth + 1, next(order), int(targets[place])))
        self._completion[state] = int(UNREACHABLE)

    def _note_way(self, first: int, last: int, before: dict[int, int], ahead: int) -> None:
        """Keeps the number of tokens from each state on the way."""
        while True:
            self._completion[last] = min(ahead, self._completion.get(last, int(UNREACHABLE)))
            if last == first:
                return
            last, ahead = before[last], self._completion[last] + 1


def _guide(
    automaton: PushdownAutomaton, relaxation: Relaxation, lifted: Lifted, vocabulary: Vocabulary
) -> kernels.Guide:
    scanner_begin = automaton.grammar.scanner_begin
    scan_base = np.arange(scanner_begin[-1]) - np.repeat(scanner_begin[:-1], np.diff(scanner_begin))
    tail = relaxation.dfa.num_states
    edges = lifted.edges()
    is_text = edges.target != tail
    source, target, label = edges.source[is_text], edges.target[is_text], edges.label[is_text]
    counts = lifted.label_begin[label + 1] - lifted.label_begin[label]
    ends = np.concatenate([[0], np.cumsum(counts)])
    places = np.repeat(lifted.label_begin[label] - ends[:-1], counts) + np.arange(ends[-1])
    sizes = np.bincount(source, weights=counts, minlength=tail + 1).astype(np.int64)
    first_token = np.full(lifted.num_classes, -1, np.int64)
    tokens = np.arange(len(vocabulary))[::-1]
    first_token[lifted.class_of_token[tokens]] = tokens
    begins, buffer = _joined([(vocabulary.tokens[t] or b"") if t >= 0 else b"" for t in first_token.tolist()])
    return kernels.Guide(
        entry_begin=relaxation.entry_begin,
        scan_base=scan_base.astype(np.int32),
        entry=relaxation.entry,
        class_begin=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        classes=lifted.label_class[places].astype(np.int32),
        class_target=np.repeat(target, counts).astype(np.int32),
        text_begin=begins,
        text=buffer,
    )
