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

from constrained_diffusion.automata.byte_automaton import DEAD
from constrained_diffusion.automata.classes import END_CLASS
from constrained_diffusion.automata.lifting import UNREACHABLE
from constrained_diffusion.automata.pushdown import TAIL
from constrained_diffusion.automata.pushdown_tokens import ExactStates, Expansion

_WIDTHS: Final = (1, 16)
"""Exact states kept per position, until the best text is proved."""
_LEAST_EXPANSION: Final = 4
"""States looked at behind each, at least."""
_RESCUE_WIDTHS: Final = (128, 1024)
"""Wider searches, where none has found a text at all."""
_EXACT_DRAWS: Final = 12
"""Draws from the relaxation before the sample follows the bounds without being accepted or rejected."""
_MOST_REFUSALS: Final = 200
"""Choices that turn out to lead nowhere before a sample is closed on the shortest way that is known."""
_ROOM: Final = 64
"""With more tokens left than these it is looked only now and then whether a sample can still be completed."""
_STRIDE: Final = 16


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

    def expand(self, position: int, state: int, width: int) -> Expansion:
        """The best of what may stand at a position behind a state."""
        return self.states.expand(state, self.weight[position], self.bound[position + 1], width)

    def kept_share(self, position: int, target: int, choice: "_Choice", place: int) -> float:
        """The bound behind an exact state as a share of what the relaxation has promised for the choice of it."""
        gain = self.bound[position + 1, self.states.relaxed(target)] - choice.promised[place]
        return float(np.exp(min(gain, 0.0)))

    def way(self, position: int, state: int) -> tuple[list[int], float] | None:
        """The classes of the known way to complete a state that fits, as far as the canvas goes, and their weight."""
        classes = self.states.way(state)
        if classes is None or len(classes) > self.length + self.budget - position:
            return None
        classes = classes[: self.length - position]
        return classes, float(self.weight[np.arange(position, position + len(classes)), classes].sum())

    def fits(self, state: int, position: int) -> bool:
        """Whether a way is known to complete a state before ``position`` within the canvas and its budget."""
        return self.states.completes_within(state, self.length + self.budget - position)


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
        self.best_end: tuple[int, int, list[int]] | None = None
        """Level and rank of a state of the best text, and the token classes behind it."""

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
            self._note_closed(position + 1, level)
        for rank, (state, score) in enumerate(zip(level.states.tolist(), level.scores.tolist(), strict=True)):
            if score <= self.best_score:
                continue
            if chain.fits(state, chain.length):
                self.best_score, self.best_end = score, (chain.length, rank, [])
            else:  # it may fit all the same: what is known of its completions is an upper bound
                self.left_out = max(self.left_out, score)
        return self._result()

    def _result(self) -> Found:
        if self.best_end is None:
            return Found(None, self.left_out == -np.inf)
        return Found(self._classes(*self.best_end), self.left_out <= self.best_score + 1e-9)

    def _classes(self, length: int, rank: int, behind: list[int]) -> list[int]:
        classes = behind[::-1]
        for level in self.levels[length:0:-1]:
            classes.append(int(level.classes[rank]))
            rank = int(level.parents[rank])
        return classes[::-1]

    def _next(self, position: int, level: _Level) -> _Level | None:
        """The states kept behind one more token, or None if the search is over."""
        width = max(self.width, _LEAST_EXPANSION)
        while True:
            parts = [self.chain.expand(position, state, width) for state in level.states.tolist()]
            left_out = max(part.left_out + score for part, score in zip(parts, level.scores.tolist(), strict=True))
            parents = np.repeat(np.arange(len(parts)), [len(part.classes) for part in parts])
            classes = np.concatenate([part.classes for part in parts])
            targets = np.concatenate([part.targets for part in parts])
            bounds = np.concatenate([part.bounds for part in parts]) + level.scores[parents]
            self._note_ends(position, parents, targets, bounds)
            order = np.argsort(-bounds, kind="stable")
            order = order[(bounds[order] > self.best_score) & (targets[order] != TAIL)]
            _, first = np.unique(targets[order], return_index=True)
            kept, is_safe, dropped = self._kept(order[np.sort(first)], position + 1, targets, bounds)
            if is_safe or left_out <= self.best_score:
                break
            width *= 8
        self.left_out = max(self.left_out, left_out, dropped)
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
                self.best_score, self.best_end = float(bounds[place]), (position, int(parents[place]), [END_CLASS])

    def _note_closed(self, position: int, level: _Level) -> None:
        """Looks at the texts that close what is open right here: what cannot be better than these is left alone."""
        for rank, (state, score) in enumerate(zip(level.states.tolist(), level.scores.tolist(), strict=True)):
            way = self.chain.way(position, state)
            if way is not None and score + way[1] > self.best_score:
                self.best_score, self.best_end = score + way[1], (position, rank, way[0])

    def _kept(
        self, order: NDArray[np.int64], position: int, targets: NDArray[np.int32], bounds: NDArray[np.float64]
    ) -> tuple[list[int], bool, float]:
        """The first states in order: any that may end in time, and among them one that surely does, if there is one.

        Gives the places kept, whether one surely ends in time, and the greatest bound among the others.
        """
        kept: list[int] = []
        has_safe = False
        dropped = -np.inf
        for place in order.tolist():
            is_full = len(kept) >= self.width
            if is_full and has_safe:
                dropped = max(dropped, float(bounds[place]))
                break
            state = int(targets[place])
            is_safe = self.chain.fits(state, position)
            if is_safe or (not is_full and self.chain.states.completion(state) < UNREACHABLE):
                kept.append(place)
                has_safe = has_safe or is_safe
            else:
                dropped = max(dropped, float(bounds[place]))
        return kept, has_safe, dropped


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
        choice = _choice(chain, position, state)
        place = choice.drawn(rng)
        target = DEAD if place is None else chain.states.follow(state, place)
        if place is None or target == DEAD or rng.random() >= chain.kept_share(position, target, choice, place):
            return None
        drawn.append(int(choice.classes[place]))
        state = target
    return drawn if state == TAIL or chain.fits(state, chain.length) else None


@final
@dataclass(eq=False)
class _Choice:
    """What is left to choose from at one position.

    Attributes:
        state: the exact state before it.
        classes: token classes.
        promised: what the relaxation says of the text behind each.
        mass: in proportion to the probability of each.
        is_exact: whether the mass of each is that of the exact state behind it.
    """

    state: int
    classes: NDArray[np.int32]
    promised: NDArray[np.float64]
    mass: NDArray[np.float64]
    is_exact: NDArray[np.bool_]

    def drawn(self, rng: np.random.Generator) -> int | None:
        """An index in proportion to the mass; None if nothing is left."""
        total = self.mass.sum()
        if not total > 0.0:
            return None
        place = int(np.searchsorted(np.cumsum(self.mass), rng.random() * total, side="right"))
        return min(place, int(np.flatnonzero(self.mass)[-1]))


def _choice(chain: Chain, position: int, state: int) -> _Choice:
    classes, relaxed = chain.states.choices(state)
    promised = chain.bound[position + 1, relaxed]
    log_mass = chain.weight[position, classes] + promised
    top = log_mass.max(initial=-np.inf)
    mass = np.exp(log_mass - top) if top > -np.inf else np.zeros(len(log_mass))
    return _Choice(state, classes, promised, mass, np.zeros(len(classes), np.bool_))


def _guided_draw(chain: Chain, rng: np.random.Generator) -> list[int] | None:
    """Depth first, at each position in proportion to the bounds; closed early if it was refused too often."""
    choices = [_choice(chain, 0, chain.start)]
    drawn: list[int] = []
    refusals = 0
    while choices:
        position = len(choices)
        taken, refused = _taken(chain, choices[-1], position, rng, _MOST_REFUSALS - refusals)
        refusals += refused + (taken is None)
        if refusals > _MOST_REFUSALS:
            return _closed(chain, choices, drawn)
        if taken is None:
            choices.pop()
            drawn = drawn[: position - 2]
            continue
        place, state = taken
        drawn = [*drawn[: position - 1], int(choices[-1].classes[place])]
        if state == TAIL or position == chain.length:
            return drawn
        choices.append(_choice(chain, position, state))
    return None


def _closed(chain: Chain, choices: list[_Choice], drawn: list[int]) -> list[int] | None:
    """The longest part of a draw that can be closed on the way that is known, so closed; None if there is none."""
    for position in range(len(choices) - 1, -1, -1):
        state = choices[position].state
        if chain.states.completion(state) > chain.length + chain.budget - position:
            continue
        way = chain.way(position, state)
        if way is not None and way[1] > -np.inf:
            return drawn[:position] + way[0]
    return None


def _taken(
    chain: Chain, choice: _Choice, position: int, rng: np.random.Generator, most: int
) -> tuple[tuple[int, int] | None, int]:
    """A choice that can be completed and the exact state behind it, None if none is left or ``most`` were refused.

    Gives also how many were refused. What is given or refused is not taken again.
    """
    left = chain.length + chain.budget - position
    is_checked = left <= _ROOM or position % _STRIDE == 0 or position == chain.length
    refused = 0
    while refused <= most:
        place = choice.drawn(rng)
        if place is None:
            return None, refused
        target = chain.states.follow(choice.state, place)
        if target == DEAD or (target != TAIL and is_checked and chain.states.completion(target) > left):
            choice.mass[place] = 0.0
            refused += 1
            continue
        share = 1.0 if choice.is_exact[place] else chain.kept_share(position - 1, target, choice, place)
        if rng.random() < share:
            choice.mass[place] = 0.0
            return (place, target), refused
        choice.mass[place] *= share
        choice.is_exact[place] = True
    return None, refused
