"""The most probable texts of a grammar: those of a lattice of exact states that a beam has kept.

The bounds that guide the search for the best text decide which edges between exact states are kept; the best texts on
these are listed exactly. What was left out bounds every other text: a text that weighs no less is proved to
stand at its rank.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata.pushdown import TAIL
from constrained_diffusion.inference import lattice_kernels
from constrained_diffusion.inference.kbest import Graph
from constrained_diffusion.inference.search import ROUNDING, Chain

_LEAST_WIDTH, _MOST_WIDTH = 32, 1024
"""Edges kept behind each position by the first lattice."""
_LATTICES: Final = ((1, 300_000), (4, 1_000_000))
"""How many times as many edges are kept, and steps that may be taken, until all texts are proved."""
_MARGIN: Final = 1e-6
"""A second lattice keeps what may be better than this below the least of the texts that are known."""

Text = tuple[int, ...]
"""The tokens of a text, up to its end token or the end of the canvas."""


@final
@dataclass(frozen=True)
class Listing:
    """Texts in descending order.

    Attributes:
        texts: each with its log weight.
        left_out: the greatest log weight that any other text may have.
    """

    texts: list[tuple[float, Text]]
    left_out: float

    def certified(self, k: int) -> NDArray[np.bool_]:
        """Whether each of the first ``k`` texts stands at its rank, and each that is missing is missing, bool [k]."""
        weights = np.full(k, -np.inf)
        weights[: len(self.texts)] = [weight for weight, _ in self.texts]
        return np.asarray(weights + ROUNDING >= self.left_out)


def best_listing(
    chain: Chain, best: tuple[float, Text], k: int, listed: Callable[[Graph], Iterator[tuple[float, list[int]]]]
) -> Listing:
    """The ``k`` best texts that are found, fewer if fewer are.

    Args:
        best: the text that the search for the best one has found; it comes first unless there is a better one.
        listed: the texts of a graph, best first.
    """
    if chain.start == TAIL:
        return Listing([best], -np.inf)
    found = {best[1]: best[0]}
    width = min(max(2 * k, _LEAST_WIDTH), _MOST_WIDTH)
    lowest, left_out = -np.inf, np.inf
    texts: list[tuple[float, Text]] = []
    for times, most in _LATTICES:
        graph, rest = _lattice(chain, width * times, lowest, most)
        for weight, tokens in islice(listed(graph), k):
            found.setdefault(tuple(tokens), weight)
        texts = [(weight, tokens) for tokens, weight in found.items()]
        texts = sorted(texts, key=lambda text: -text[0] - (ROUNDING if text[1] == best[1] else 0.0))[:k]
        least = texts[-1][0] if len(texts) == k else -np.inf
        left_out = min(left_out, max(rest, lowest))
        if left_out <= least + ROUNDING:
            break
        lowest = least - _MARGIN
    return Listing(texts, left_out)


def _lattice(chain: Chain, width: int, lowest: float, most: int) -> tuple[Graph, float]:
    """The edges that a beam keeps, and the greatest bound of what it left out."""
    begin, edges, may_end, left_out = chain.states.search(lattice_kernels.lattice, *chain.parts, width, lowest, most)
    ahead = lattice_kernels.best_ahead(begin, edges, may_end, chain.weight)

    def ways(position: int, state: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        sources, classes, targets = edges[:, begin[position] : begin[position + 1]]
        return classes[sources == state], targets[sources == state]

    return Graph(0, len(may_end) - 1, ahead, ways), left_out
