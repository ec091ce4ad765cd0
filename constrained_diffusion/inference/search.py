"""Search over the exact states of a grammar, guided by the messages of its finite relaxation.

The relaxation accepts every text of the grammar and some others, so its message at an exact state
bounds from above what any continuation of that state weighs. Forward search keeps the exact states of
greatest bound per position; paths that meet in one state are one, so this is Viterbi's recursion on the
part of an infinite graph that matters. What was left out bounds what was missed: if no bound left out
exceeds the text found, that text is the best.

A state is kept if some way to complete it is known to fit what is left, or if it may end in time for all
that is known; at least one state of the first kind is kept, so that without pins and forbidden tokens the
search cannot be stranded.
"""

from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata.classes import END_CLASS
from constrained_diffusion.automata.lifting import UNREACHABLE
from constrained_diffusion.automata.pushdown import TAIL
from constrained_diffusion.automata.pushdown_tokens import ExactStates

_WIDTHS: Final = (1, 16)
"""Exact states kept per position, until the best text is proved."""
_RESCUE_WIDTHS: Final = (128, 1024)
"""Wider searches, where none has found a text at all."""
_EXACT_DRAWS: Final = 12
"""Draws from the relaxation before the sample follows the bounds without being accepted or rejected."""
_BACKTRACKS: Final = 200
"""Positions taken back before a sample gives way to the best text."""


@final
@dataclass(frozen=True)
class Found:
    """The result of a search for the best text.

    Attributes:
        classes: the token class at each position up to the end token or the end of the canvas; None if
            no text was found.
        is_best: whether no text is better; where none was found, whether there is none.
    """

    classes: list[int] | None
    is_best: bool


@final
@dataclass(frozen=True, eq=False)
class Chain:
    """One canvas as the search sees it.

    Attributes:
        states: the exact states.
        weight: float64 [L, C], log of the greatest (or total) weight of each token class.
        bound: float64 [L + 1, N + 1], the messages of the relaxation to the end, as logarithms.
        start: the exact state before the canvas.
        budget: tokens that may still follow it.
    """

    states: ExactStates
    weight: NDArray[np.float64]
    bound: NDArray[np.float64]
    start: int
    budget: int

    @property
    def length(self) -> int:
        return len(self.weight)

    def scored(self, position: int, state: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """Classes, targets and bounds of what may stand at a position behind a state."""
        successors = self.states.successors(state)
        bound = self.weight[position, successors.classes] + self.bound[position + 1, successors.relaxed]
        return successors.classes, successors.targets, bound

    def fits(self, state: int, position: int) -> bool:
        """Whether a way is known to complete a state before ``position`` within the canvas and its budget."""
        return self.states.completion(state) <= self.length + self.budget - position


@final
@dataclass(eq=False)
class _Level:
    """The states kept before one position, and how they were reached."""

    states: NDArray[np.int32]
    scores: NDArray[np.float64]
    parents: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    classes: NDArray[np.int32] = field(default_factory=lambda: np.zeros(1, np.int32))


def best_text(chain: Chain) -> Found:
    """The best text that is found, and whether it is proved to be the best."""
    if chain.start == TAIL:
        return Found([], True)
    found = Found(None, False)
    best_score = -np.inf
    for width in (*_WIDTHS, *_RESCUE_WIDTHS):
        if width in _RESCUE_WIDTHS and found.classes is not None:
            break
        beam = _Beam(chain, width)
        result = beam.run()
        if result.classes is not None and beam.best_score > best_score:
            found, best_score = result, beam.best_score
        if result.is_best:
            return result
    return found


@final
class _Beam:
    """One forward search that keeps at most ``width`` states per position."""

    def __init__(self, chain: Chain, width: int) -> None:
        self.chain = chain
        self.width = width
        self.left_out = -np.inf
        self.best_score = -np.inf
        self.levels: list[_Level] = []
        self.best_end: tuple[int, int] | None = None
        """Level and rank of the state from which the best text goes into the tail, or the canvas ends."""

    def run(self) -> Found:
        chain = self.chain
        level = _Level(np.array([chain.start], np.int32), np.zeros(1))
        self.levels.append(level)
        for position in range(chain.length):
            following = self._next(position, level)
            if following is None:
                return self._result()
            level = following
            self.levels.append(level)
        for rank, (state, score) in enumerate(zip(level.states.tolist(), level.scores.tolist(), strict=True)):
            if score <= self.best_score:
                continue
            if chain.fits(state, chain.length):
                self.best_score, self.best_end = score, (chain.length, rank)
            else:  # it may fit all the same: what is known of its completions is an upper bound
                self.left_out = max(self.left_out, score)
        return self._result()

    def _result(self) -> Found:
        if self.best_end is None:
            return Found(None, self.left_out == -np.inf)
        return Found(self._classes(*self.best_end), self.left_out <= self.best_score + 1e-9)

    def _classes(self, length: int, rank: int) -> list[int]:
        classes = [] if length == self.chain.length else [END_CLASS]
        for level in self.levels[length:0:-1]:
            classes.append(int(level.classes[rank]))
            rank = int(level.parents[rank])
        return classes[::-1]

    def _next(self, position: int, level: _Level) -> _Level | None:
        """The states kept behind one more token, or None if the search is over."""
        parts = [self.chain.scored(position, state) for state in level.states.tolist()]
        parents = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
        classes = np.concatenate([part[0] for part in parts])
        targets = np.concatenate([part[1] for part in parts])
        bounds = np.concatenate([part[2] for part in parts]) + level.scores[parents]
        self._note_ends(position, parents, targets, bounds)
        order = np.argsort(-bounds, kind="stable")
        order = order[(bounds[order] > self.best_score) & (targets[order] != TAIL)]
        _, first = np.unique(targets[order], return_index=True)
        kept = self._kept(order[np.sort(first)], position + 1, targets, bounds)
        if not kept:
            return None
        rows = parents[kept]
        scores = level.scores[rows] + self.chain.weight[position, classes[kept]]
        return _Level(targets[kept], scores, rows, classes[kept])

    def _note_ends(
        self, position: int, parents: NDArray[np.int64], targets: NDArray[np.int32], bounds: NDArray[np.float64]
    ) -> None:
        for place in np.flatnonzero(targets == TAIL).tolist():
            if bounds[place] > self.best_score:
                self.best_score, self.best_end = float(bounds[place]), (position, int(parents[place]))

    def _kept(
        self, order: NDArray[np.int64], position: int, targets: NDArray[np.int32], bounds: NDArray[np.float64]
    ) -> list[int]:
        """The first states in order: any that may end in time, and among them enough that surely do."""
        chain = self.chain
        kept: list[int] = []
        safe = 0
        for place in order.tolist():
            is_full = len(kept) >= self.width
            if is_full and safe:
                self.left_out = max(self.left_out, float(bounds[place]))
                break
            state = int(targets[place])
            is_safe = chain.fits(state, position)
            if is_safe or (not is_full and chain.states.completion(state) < UNREACHABLE):
                kept.append(place)
                safe += is_safe
            elif chain.states.completion(state) < UNREACHABLE:
                self.left_out = max(self.left_out, float(bounds[place]))
        return kept


def drawn_text(chain: Chain, best: list[int], rng: np.random.Generator) -> list[int]:
    """The token classes of a text drawn at random; ``best`` is a text that is known to fit.

    Draws from the relaxation, each taken with the probability that makes those taken draws from the exact posterior. If
    none is taken, the draw follows the relaxation's messages among the states that can be completed.
    """
    for _ in range(_EXACT_DRAWS):
        drawn = _accepted_draw(chain, rng)
        if drawn is not None:
            return drawn
    return _guided_draw(chain, rng) or best


def _accepted_draw(chain: Chain, rng: np.random.Generator) -> list[int] | None:
    state = chain.start
    drawn: list[int] = []
    for position in range(chain.length):
        if state == TAIL:
            return drawn
        classes, targets, log_mass = chain.scored(position, state)
        top = log_mass.max(initial=-np.inf)
        if top == -np.inf:
            return None
        mass = np.exp(log_mass - top)
        total = mass.sum()
        expected = chain.bound[position, chain.states.relaxed(state)]
        if np.log(rng.random()) > top + np.log(total) - expected:
            return None
        place = min(int(np.searchsorted(np.cumsum(mass), rng.random() * total, side="right")), len(mass) - 1)
        drawn.append(int(classes[place]))
        state = int(targets[place])
    return drawn if state == TAIL or chain.fits(state, chain.length) else None


@final
@dataclass(eq=False)
class _Choice:
    """What is left to choose from at one position."""

    classes: NDArray[np.int32]
    targets: NDArray[np.int32]
    mass: NDArray[np.float64]

    def drawn(self, rng: np.random.Generator) -> int | None:
        """An index in proportion to the mass, which is then spent; None if nothing is left."""
        total = self.mass.sum()
        if not total > 0.0:
            return None
        place = int(np.searchsorted(np.cumsum(self.mass), rng.random() * total, side="right"))
        place = min(place, int(np.flatnonzero(self.mass)[-1]))
        self.mass[place] = 0.0
        return place


def _guided_draw(chain: Chain, rng: np.random.Generator) -> list[int] | None:
    """Depth first, at each position in proportion to the bounds; None if it was taken back too often."""
    choices = [_choice(chain, 0, chain.start)]
    drawn: list[int] = []
    backtracks = 0
    while choices:
        place = choices[-1].drawn(rng)
        if place is None:
            choices.pop()
            drawn = drawn[: len(choices) - 1]
            backtracks += 1
            if backtracks > _BACKTRACKS:
                return None
            continue
        state, position = int(choices[-1].targets[place]), len(choices)
        if state != TAIL and not chain.fits(state, position):
            continue
        drawn = [*drawn[: position - 1], int(choices[-1].classes[place])]
        if state == TAIL or position == chain.length:
            return drawn
        choices.append(_choice(chain, position, state))
    return None


def _choice(chain: Chain, position: int, state: int) -> _Choice:
    classes, targets, log_mass = chain.scored(position, state)
    top = log_mass.max(initial=-np.inf)
    mass = np.exp(log_mass - top) if top > -np.inf else np.zeros(len(log_mass))
    return _Choice(classes, targets, mass)
