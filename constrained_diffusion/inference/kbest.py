"""The most probable texts of a canvas, one after the other: best-first search.

What is best from each position and state to the end is known exactly, so the search goes straight to each text:
it expands at most k L nodes for k texts.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

Step = tuple[float, int, int]
"""The log weight of the best text by way of a token, from its position on; the token; the state behind it."""


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


def best_texts(
    start: int, tail: int, length: int, total: float, steps: Callable[[int, int], list[Step]]
) -> Iterator[tuple[float, list[int]]]:
    """Texts and their log weights, in descending order.

    Args:
        total: the log weight of the best text.
        steps: the best steps from a position and state, in descending order.
    """
    serial = 0
    heap: list[tuple[float, int, int, int, _Prefix | None]] = [(-total, serial, 0, start, None)]
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
