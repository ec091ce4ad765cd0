"""Search over the exact states of a grammar, guided by the messages of its finite relaxation.

The relaxation accepts every text of the grammar and some others, so its message at an exact state
bounds from above what any continuation of that state weighs. Forward search keeps the exact states of
greatest bound per position; paths that meet in one state are one, so this is Viterbi's recursion on the
part of an infinite graph that matters. What was left out bounds what was missed: if no bound left out
exceeds the text found, that text is the best.

A state is kept if some way to complete it is known to fit what is left, or if it may end in time for all
that is known; at least one state of the first kind is kept, so that without pins and forbidden tokens the
search cannot be stranded. All searches of a pass together take a bounded number of steps.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata.pushdown import TAIL
from constrained_diffusion.automata.pushdown_tokens import ExactStates
from constrained_diffusion.inference import search_kernels

_SEARCHES: Final = ((1, 200_000), (16, 100_000))
"""Exact states kept per position, and steps that the search may take, until the best text is proved."""
_RESCUES: Final = ((1, 600_000), (128, 600_000), (1024, 1_200_000))
"""Longer and wider searches, where none has found a text at all."""
_DRAW_WORK: Final = 200_000
"""Steps that may be taken for a draw."""
_EXACT_DRAWS: Final = 12
"""Draws from the relaxation before the sample follows the bounds without being accepted or rejected."""
_GUIDED_CHOICES: Final = 8
"""Random choices that such a draw may take, in canvas lengths."""
ROUNDING: Final = 1e-9
"""Weights that differ by less are equal."""


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
    def parts(self) -> tuple[NDArray[np.float64], NDArray[np.float64], int, int]:
        """The arguments of the kernels."""
        return self.weight, self.bound, self.start, self.budget


def best_text(chain: Chain) -> Found:
    """The best text that is found, and whether it is proved to be the best."""
    if chain.start == TAIL:
        return Found([], True)
    found, score = None, -np.inf
    for width, most in (*_SEARCHES, *_RESCUES):
        if found is not None and (width, most) in _RESCUES:
            break
        work = np.full(1, most)
        classes, reached, left_out = chain.states.search(search_kernels.best_classes, *chain.parts, width, score, work)
        if len(classes):
            found, score = classes.tolist(), reached
        if left_out == -np.inf or left_out <= score + ROUNDING:
            return Found(found, True)
    return Found(found, False)


def drawn_text(chain: Chain, best: list[int], rng: np.random.Generator) -> list[int]:
    """The token classes of a text drawn at random; ``best`` is a text that is known to fit.

    Draws from the relaxation, each taken with the probability that makes those taken draws from the exact posterior. If
    none is taken, the draw follows the relaxation's messages among the states that can be completed.
    """
    if chain.start == TAIL:
        return []
    length, search = len(chain.weight), chain.states.search
    work = np.full(1, _DRAW_WORK)
    uniforms = rng.random((_EXACT_DRAWS, length, 2))
    drawn, is_drawn = search(search_kernels.accepted_draw, *chain.parts, uniforms, work)
    if not is_drawn:
        uniforms = rng.random((_GUIDED_CHOICES * length, 2))
        drawn, is_drawn = search(search_kernels.guided_draw, *chain.parts, uniforms, work)
    return drawn.tolist() if is_drawn else best
