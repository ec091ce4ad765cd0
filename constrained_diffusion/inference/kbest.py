"""The most probable texts of a canvas, one after the other: best-first search.

What is best from each position and state to the end is known exactly, so the search goes straight to each text:
it expands at most k L nodes for k texts.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Step = tuple[float, int, int]
"""The log weight of the best text by way of a token, from its position on; the token; the state behind it."""


@final
@dataclass(frozen=True, eq=False)
class Graph:
    """Where the texts of a canvas run.

    Attributes:
        start, tail: the state before the canvas, and the one behind the end of the text.
        ahead: float64 [L + 1, states], log of the greatest weight from each position and state to the end.
        ways: the token classes that lead on from a position and state, and where each leads.
    """

    start: int
    tail: int
    ahead: NDArray[np.float64]
    ways: Callable[[int, int], tuple[NDArray[np.int64], NDArray[np.int64]]]


@final
@dataclass(frozen=True)
class _Prefix:
    """The first tokens of a text, linked."""

    token: int
    before: "_Prefix | None"

    def tokens(self) -> list[int]:
        found, prefix = [], self
        while True:
            found.append(prefix.token)
            if prefix.before is None:
                return found[::-1]
            prefix = prefix.before


def best_texts(graph: Graph, steps: Callable[[int, int], list[Step]]) -> Iterator[tuple[float, list[int]]]:
    """Texts and their log weights, in descending order.

    Args:
        steps: the best steps from a position and state, in descending order.
    """
    length, tail = len(graph.ahead) - 1, graph.tail
    total = float(graph.ahead[0, graph.start])
    if total == -np.inf:
        return
    serial = 0
    heap: list[tuple[float, int, int, int, _Prefix | None]] = [(-total, serial, 0, graph.start, None)]
    while heap:
        negative, _, position, state, prefix = heapq.heappop(heap)
        if state == tail or position == length:
            yield -negative, prefix.tokens() if prefix is not None else []
            continue
        options = steps(position, state)
        best = options[0][0] if options else 0.0
        for value, token, target in options:
            serial += 1
            heapq.heappush(heap, (negative + best - value, serial, position + 1, target, _Prefix(token, prefix)))
