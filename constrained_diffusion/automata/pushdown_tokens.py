"""A pushdown automaton on tokens: exact states, the finite relaxation that guides, and ways to the end."""

import heapq
import itertools
import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import pushdown_kernels as kernels
from constrained_diffusion.automata.byte_automaton import DEAD, ByteDFA
from constrained_diffusion.automata.classes import END_CLASS
from constrained_diffusion.automata.lexicon import lexicon_of
from constrained_diffusion.automata.lifting import UNREACHABLE, Lifted, token_classes
from constrained_diffusion.automata.network import Network
from constrained_diffusion.automata.pushdown import TAIL, PushdownAutomaton
from constrained_diffusion.automata.relaxation import Relaxation
from constrained_diffusion.automata.vocabulary import Vocabulary

_MOST_EXPANSIONS: Final = 2000
"""States that are looked at on the way to an end before it is given up."""
_MOST_THOROUGH_EXPANSIONS: Final = 100
"""The same, where a way is known and a shorter one is looked for."""
_BYTES_PER_TOKEN: Final = 2
"""What a token on the way counts where a shorter one is looked for."""
_LOOKED_AT: Final = 32
"""States behind one state that are looked at for the shortest closing text."""
_BRANCHES: Final = 8
"""States behind one state that are kept on the way to an end."""


@final
class Expansion(NamedTuple):
    """What may follow a state, the best of it, and a bound on the rest.

    Attributes:
        classes, targets, relaxed: int32 [n] each, token classes, the exact states behind them, and the states of the
            relaxation that stand for these. The end of the text leads to ``TAIL``.
        bounds: float64 [n], no text that goes on there weighs more.
        left_out: nor does any text that goes on otherwise.
    """

    classes: NDArray[np.int32]
    targets: NDArray[np.int32]
    relaxed: NDArray[np.int32]
    bounds: NDArray[np.float64]
    left_out: float


def refined(lifted: Lifted, automaton: PushdownAutomaton, vocabulary: Vocabulary) -> Lifted:
    """The same edges on finer token classes: tokens of one class do the same to every exact state.

    Tokens that the relaxation cannot tell apart may still open or close different numbers of brackets.
    """
    tokens = np.flatnonzero(lifted.class_of_token > END_CLASS)
    texts = [vocabulary.tokens[token] or b"" for token in tokens.tolist()]
    network = automaton.grammar.network
    if network is None:
        effects = _effects(automaton, texts)
    else:
        alone, _ = token_classes(network.without_stack, vocabulary, lexicon_of(vocabulary))
        effects = np.column_stack([_network_effects(network, texts), alone[tokens].astype(np.uint64)])
    first, number = _ranked([lifted.class_of_token[tokens], *effects.T])
    class_of_token = lifted.class_of_token.copy()
    class_of_token[tokens] = number + END_CLASS + 1
    parent = np.concatenate([[0, END_CLASS], lifted.class_of_token[tokens[first]]])
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


def _ranked(columns: Sequence[NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that differ, each by its first place, in the order of the first column; and the number of each row."""
    number = np.zeros(len(columns[0]), np.int64)
    first = number
    for column in columns:
        values, inverse = np.unique(column, return_inverse=True)
        _, first, number = np.unique(number * len(values) + inverse, return_index=True, return_inverse=True)
    return first, number


def _effects(automaton: PushdownAutomaton, texts: list[bytes]) -> NDArray[np.uint64]:
    """What each text does to the lexers, as two random numbers, uint64 [n, 2]."""
    grammar, tables = automaton.grammar, automaton.tables
    follows = np.zeros((len(grammar.terminals), len(grammar.scanners)), np.bool_)
    for terminal in range(len(grammar.terminals)):
        shifted = grammar.action[:, terminal]
        states = np.arange(grammar.num_states) if grammar.ignored[terminal] else shifted[shifted >= 0]
        follows[terminal, grammar.scanner_of_state[states]] = True
    place, begins, buffer = _by_classes(texts, tables.byte_class)
    block = _equivalent(tables.scan, tables.match)
    _, first = np.unique(block, return_index=True)
    scan = np.where(tables.scan[first] >= 0, block[tables.scan[first]], DEAD).astype(np.int32)
    starts = block[grammar.scanner_begin[:-1]].astype(np.int32)
    found = kernels.effects(scan, tables.match[first], tables.is_closed[first], starts, follows, begins, buffer)
    return np.asarray(found, np.uint64)[place]


def _by_classes(
    texts: list[bytes], byte_class: NDArray[np.uint8]
) -> tuple[list[int], NDArray[np.int64], NDArray[np.uint8]]:
    """The texts spelled in byte classes: the number of each, and the different ones, joined."""
    to_class = bytes(byte_class)
    numbers: dict[bytes, int] = {}
    place = [numbers.setdefault(text.translate(to_class), len(numbers)) for text in texts]
    return place, *_joined(list(numbers))


def _network_effects(network: Network, texts: list[bytes]) -> NDArray[np.uint64]:
    """What each text does to the stack of a network, as two random numbers, uint64 [n, 2]."""
    callers = np.argsort(network.callee, kind="stable").astype(np.int32)
    counts = np.bincount(network.callee, minlength=len(network.begin) - 1)
    ends_again = np.unique(network.back[network.back != DEAD])
    ends_again = ends_again[network.tag[ends_again] != DEAD]
    moves = kernels.Moves(
        scan=network.table,
        call=network.call,
        tag=network.tag,
        back=network.back,
        start=network.begin[network.callee].astype(np.int32),
        owner=np.repeat(np.arange(len(counts)), np.diff(network.begin)).astype(np.int32),
        caller_begin=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        callers=callers,
        states=np.arange(network.num_states, dtype=np.int32),
        changing=np.flatnonzero(network.is_changing).astype(np.int32),
        may_change=network.may_change,
        may_end=np.any(network.taken_behind_calls, axis=(0, 1)),
        may_end_again=np.any((network.table[ends_again] == DEAD) & (network.call[ends_again] == DEAD), axis=0),
    )
    place, begins, buffer = _by_classes(texts, network.byte_class)
    return np.asarray(kernels.network_effects(moves, begins, buffer), np.uint64)[place]


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
        begun = self.dfa.run(automaton.beginning)
        at_start = (
            DEAD if automaton.start == DEAD else automaton.call(kernels.relaxed, self._guide, automaton.start, begun)
        )
        self._relaxed: dict[int, int] = {TAIL: self.tail_relaxed, automaton.start: int(at_start)}
        self._no_weight = np.zeros(lifted.num_classes)
        self._nearness = -np.minimum(lifted.distance, kernels.FAR).astype(np.float64)
        self._completion: dict[int, int] = {TAIL: 0}
        self._is_thorough: set[int] = set()
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

    def expand(self, state: int, weight: NDArray[np.float64], bound: NDArray[np.float64], width: int) -> Expansion:
        """The ``width`` best ways to go on from a state, by the weights of token classes and the bounds behind them."""
        relaxed = self.relaxed(state)
        if state == TAIL or relaxed == DEAD:
            nothing = np.empty(0, np.int32)
            return Expansion(nothing, nothing, nothing, np.empty(0), -np.inf)
        found = self.automaton.call(kernels.expand, self._guide, state, relaxed, weight, bound, width)
        classes, targets, reached, bounds, left_out = found
        targets[targets == DEAD] = TAIL
        self._relaxed.update(zip(targets.tolist(), reached.tolist(), strict=True))
        return Expansion(classes, targets, reached, bounds, left_out)

    def choices(self, state: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Token classes that the relaxation lets follow a state, and where they lead in it; the end comes last."""
        relaxed = self.relaxed(state)
        part = slice(self._guide.class_begin[relaxed], self._guide.class_begin[relaxed + 1])
        classes, targets = self._guide.classes[part], self._guide.class_target[part]
        if self.dfa.accepting[relaxed]:
            classes, targets = np.append(classes, END_CLASS), np.append(targets, self.tail_relaxed)
        return classes, targets

    def follow(self, state: int, choice: int) -> int:
        """The exact state behind a choice of ``choices``, or ``DEAD``."""
        place = self._guide.class_begin[self.relaxed(state)] + choice
        if place == self._guide.class_begin[self.relaxed(state) + 1]:
            return TAIL if self.automaton.accepts(state) else DEAD
        target, reached = self.automaton.call(kernels.follow, self._guide, state, place)
        if target != DEAD:
            self._relaxed[target] = reached
        return int(target)

    def completion(self, state: int) -> int:
        """Tokens, end token included, of some way to complete the text from a state; ``UNREACHABLE`` if none is found.

        An upper bound on the least number, reached by a best-first search for the shortest closing text.
        """
        with self._lock:
            if state not in self._completion:
                self._complete(state, 0)
            return self._completion[state]

    def completes_within(self, state: int, tokens: int) -> bool:
        """Whether a way to complete the text is known that takes no more than so many tokens, end token included."""
        if self.completion(state) <= tokens:
            return True
        if self.distance[self.relaxed(state)] > tokens:
            return False
        with self._lock:
            if state not in self._is_thorough:
                self._is_thorough.add(state)
                self._complete(state, _BYTES_PER_TOKEN)
            return self._completion[state] <= tokens

    def _complete(self, state: int, bytes_per_token: int) -> None:
        """Looks for a way to the end: the least bytes first, each token on the way counted as some."""
        order = itertools.count()
        before: dict[int, int] = {state: state}
        queue: list[tuple[int, int, int, int]] = [(0, 0, next(order), state)]
        known = self._completion.setdefault(state, int(UNREACHABLE))
        for _ in range(_MOST_EXPANSIONS if bytes_per_token == 0 else _MOST_THOROUGH_EXPANSIONS):
            if not queue:
                break
            _, depth, _, current = heapq.heappop(queue)
            ahead = self._completion.get(current, int(UNREACHABLE))
            if ahead < UNREACHABLE and (bytes_per_token == 0 or depth + ahead < known):
                self._note_way(state, current, before, ahead)
                return
            found = self.expand(current, self._no_weight, self._nearness, _LOOKED_AT)
            if TAIL in found.targets:
                self._note_way(state, current, before, 1)
                return
            targets = np.array([t for t in found.targets.tolist() if t not in before], np.int32)
            # The stack's closing knows the depth, the relaxation knows what else the text still has to hold.
            away = np.array(
                [self.distance[relaxed] if relaxed != DEAD else 0 for relaxed in map(self.relaxed, targets.tolist())]
            )
            closing = self.automaton.call(kernels.closings, targets, self._shortest) + np.minimum(away, kernels.FAR)
            for place in np.argsort(closing, kind="stable")[:_BRANCHES].tolist():
                if closing[place] < kernels.FAR:
                    before[int(targets[place])] = current
                    rank = int(closing[place]) + bytes_per_token * (depth + 1)
                    heapq.heappush(queue, (rank, depth + 1, next(order), int(targets[place])))

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
