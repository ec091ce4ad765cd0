"""A pushdown automaton on tokens: exact states, the finite relaxation that guides, and ways to the end."""

import heapq
import itertools
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import pushdown_kernels as kernels
from constrained_diffusion.automata.byte_automaton import DEAD, ByteDFA
from constrained_diffusion.automata.classes import END_CLASS
from constrained_diffusion.automata.lexicon import lexicon_of
from constrained_diffusion.automata.lifting import UNREACHABLE, Lifted, token_classes
from constrained_diffusion.automata.pushdown import TAIL, PushdownAutomaton
from constrained_diffusion.automata.relaxation import Relaxation
from constrained_diffusion.automata.seams import seam_effects
from constrained_diffusion.automata.token_effects import effects, joined, network_effects
from constrained_diffusion.automata.vocabulary import Vocabulary

_MOST_CLOSING_BYTES: Final = 1000
"""Byte by byte, states that are looked at for a closing text before it is looked for token by token."""
_MOST_EXPANSIONS: Final = 2000
"""States that are looked at on the way to an end before it is given up."""
_MOST_THOROUGH_EXPANSIONS: Final = 16
"""The same, where a way is known and a shorter one is looked for."""
_LEAST_GAIN: Final = 2
"""Tokens by which a way may be too long for a shorter one to be looked for."""
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
    texts = [vocabulary.spellings[token] or b"" for token in tokens.tolist()]
    grammar = automaton.grammar
    told_apart: list[NDArray[Any]] = []
    if grammar.network is None:
        told_apart += [effects(grammar, texts)]
    else:
        inside, _ = token_classes(grammar.network.without_stack, vocabulary, lexicon_of(vocabulary))
        told_apart += [*network_effects(grammar.network, texts).T, inside[tokens]]
    if grammar.frame is not None:
        outside, _ = token_classes(grammar.frame.automaton(grammar.byte_class), vocabulary, lexicon_of(vocabulary))
        told_apart += [outside[tokens], *seam_effects(automaton, grammar.frame, texts).T]
    first, number = _ranked([lifted.class_of_token[tokens], *told_apart])
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


@final
class ExactStates:
    """The exact states of a grammar on tokens. What was found out about a state is kept; threads may share it.

    A state is an integer of the pushdown automaton, or ``TAIL`` behind the end token.
    """

    def __init__(
        self, automaton: PushdownAutomaton, relaxation: Relaxation, lifted: Lifted, vocabulary: Vocabulary
    ) -> None:
        self.automaton = automaton
        self.relaxation = relaxation
        self.dfa: ByteDFA = relaxation.dfa
        self.distance = lifted.distance
        self.tail_relaxed = relaxation.dfa.num_states
        self._guide = _guide(automaton, relaxation, lifted, vocabulary)
        begun = self.dfa.run(automaton.beginning)
        at_start = (
            DEAD if automaton.start == DEAD else automaton.call(kernels.relaxed, self._guide, automaton.start, begun)
        )
        self._relaxed: dict[int, int] = {TAIL: self.tail_relaxed, automaton.start: int(at_start)}
        self._no_weight = np.zeros(lifted.num_classes)
        self._nearness = -np.minimum(lifted.distance, kernels.FAR).astype(np.float64)
        self._completion: dict[int, int] = {TAIL: 0}
        self._way: dict[int, tuple[int, int]] = {}
        """Of a state that can be completed the first token class on the way, and the state behind it."""
        self._class_of_token = lifted.class_of_token
        self._is_thorough: set[int] = set()
        self._spellings = _Spellings(vocabulary)
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

        An upper bound on the least number: that of the tokens that spell a short closing text.
        """
        with self._lock:
            if state not in self._completion:
                text = self.automaton.closing_text(state, _MOST_CLOSING_BYTES)
                spelled = None if text is None else self._spellings.fewest(text)
                if spelled is not None:
                    self._note_spelled(state, spelled)
                if state not in self._completion:
                    self._complete(state, 0)
            return self._completion[state]

    def completes_within(self, state: int, tokens: int) -> bool:
        """Whether a way to complete the text is known that takes no more than so many tokens, end token included."""
        if self.completion(state) <= tokens:
            return True
        is_far = self.completion(state) > tokens + _LEAST_GAIN
        if is_far or self.distance[self.relaxed(state)] > tokens:
            return False
        with self._lock:
            if state not in self._is_thorough:
                self._is_thorough.add(state)
                self._complete(state, _BYTES_PER_TOKEN)
            return self._completion[state] <= tokens

    def _complete(self, state: int, bytes_per_token: int) -> None:
        """Looks for a way to the end: the least bytes first, each token on the way counted as some."""
        order = itertools.count()
        before: dict[int, tuple[int, int]] = {state: (state, END_CLASS)}
        queue: list[tuple[int, int, int, int]] = [(0, 0, next(order), state)]
        known = self._completion.setdefault(state, int(UNREACHABLE))
        for _ in range(_MOST_EXPANSIONS if bytes_per_token == 0 else _MOST_THOROUGH_EXPANSIONS):
            if not queue:
                break
            _, depth, _, current = heapq.heappop(queue)
            ahead = self._completion.get(current, int(UNREACHABLE))
            if ahead < UNREACHABLE and (bytes_per_token == 0 or depth + ahead < known):
                self._note_way([current], [], before)
                return
            found = self.expand(current, self._no_weight, self._nearness, _LOOKED_AT)
            if TAIL in found.targets:
                self._note_way([current, TAIL], [END_CLASS], before)
                return
            is_new = np.array([t not in before for t in found.targets.tolist()], np.bool_)
            targets, classes = found.targets[is_new], found.classes[is_new]
            # The stack's closing knows the depth, the relaxation knows what else the text still has to hold.
            away = np.array(
                [self.distance[relaxed] if relaxed != DEAD else 0 for relaxed in map(self.relaxed, targets.tolist())]
            )
            closing = self.automaton.call(kernels.closings, targets) + np.minimum(away, kernels.FAR)
            for place in np.argsort(closing, kind="stable")[:_BRANCHES].tolist():
                if closing[place] < kernels.FAR:
                    before[int(targets[place])] = current, int(classes[place])
                    rank = int(closing[place]) + bytes_per_token * (depth + 1)
                    heapq.heappush(queue, (rank, depth + 1, next(order), int(targets[place])))

    def _note_way(self, states: list[int], classes: list[int], before: dict[int, tuple[int, int]]) -> None:
        """Keeps the way that leads to the states by those before them."""
        while before[states[0]][0] != states[0]:
            state, label = before[states[0]]
            states, classes = [state, *states], [label, *classes]
        self._note_states(states, classes)

    def way(self, state: int) -> list[int] | None:
        """The token classes of the way that ``completion`` counts, the end token's last; None if none is known."""
        classes: list[int] = []
        with self._lock:
            while state != TAIL:
                step = self._way.get(state)
                if step is None:
                    return None
                classes.append(step[0])
                state = step[1]
        return classes

    def _note_spelled(self, state: int, tokens: list[int]) -> None:
        """Keeps the way from a state that is spelled by tokens."""
        states, classes = [state], []
        for token in tokens:
            state = self.step(state, self._spellings.of_token(token))
            if state == DEAD:
                return
            states.append(state)
            classes.append(int(self._class_of_token[token]))
        self._note_states([*states, TAIL], [*classes, END_CLASS])

    def _note_states(self, states: list[int], classes: list[int]) -> None:
        """Keeps the way through the states, the last of which can be completed; where it is the shortest known."""
        ahead = self._completion[states[-1]]
        for state, label, behind in zip(states[-2::-1], classes[::-1], states[:0:-1], strict=True):
            ahead = min(ahead, self._completion[behind]) + 1
            if ahead < self._completion.get(state, int(UNREACHABLE)):
                self._completion[state] = ahead
                self._way[state] = label, behind
            ahead = self._completion[state]


@final
class _Spellings:
    """The tokens of a vocabulary by their texts."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    @cached_property
    def _tokens(self) -> dict[bytes, int]:
        ends = set(self._vocabulary.end_ids)
        spelled = enumerate(self._vocabulary.spellings)
        return {spelling: token for token, spelling in spelled if spelling and token not in ends}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._tokens), default=0)

    def of_token(self, token: int) -> bytes:
        return self._vocabulary.spellings[token] or b""

    def fewest(self, text: bytes) -> list[int] | None:
        """The least tokens that spell a text, None if none do."""
        best: list[list[int] | None] = [[]]
        for end in range(1, len(text) + 1):
            ways = [
                [*before, self._tokens[text[begin:end]]]
                for begin in range(max(end - self._longest, 0), end)
                if (before := best[begin]) is not None and text[begin:end] in self._tokens
            ]
            best.append(min(ways, key=len, default=None))
        return best[-1]


def _guide(
    automaton: PushdownAutomaton, relaxation: Relaxation, lifted: Lifted, vocabulary: Vocabulary
) -> kernels.Guide:
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
    begins, buffer = joined([(vocabulary.spellings[t] or b"") if t >= 0 else b"" for t in first_token.tolist()])
    return kernels.Guide(
        place=relaxation.place,
        outside=relaxation.outside,
        entry=relaxation.entry,
        class_begin=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        classes=lifted.label_class[places].astype(np.int32),
        class_target=np.repeat(target, counts).astype(np.int32),
        text_begin=begins,
        text=buffer,
    )
