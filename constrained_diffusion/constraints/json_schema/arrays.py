"""From what is said about an array to the sequences of its items."""

from collections.abc import Callable, Hashable, Iterator
from itertools import product
from typing import Any, NamedTuple, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.json_schema.facts import Claim, Count, Facts, negation
from constrained_diffusion.constraints.json_schema.sequences import Sequence, Step
from constrained_diffusion.constraints.json_schema.unique import Division

Values = Callable[[tuple[Claim, ...], str], ex.Expression]
"""The expression for the values that satisfy some claims, at a place of the instance."""


class _Place(NamedTuple):
    """Behind so many items, as far as it matters; so many were counted, and this was met that must not be repeated."""

    reached: int
    counted: tuple[int, ...]
    met: Hashable


@final
class Items:
    """The arrays that satisfy some facts, as an automaton over whole items.

    Args:
        most: the greatest number of items, None if there is no end.
        division: how items are told apart that must differ.
    """

    def __init__(self, facts: Facts, most: int | None, division: Division, values: Values, place: str) -> None:
        self.facts, self.most, self.division = facts, most, division
        self.values, self.place = values, place
        self.counts = facts.counts
        self._known: dict[tuple[Any, ...], tuple[tuple[Claim, ...], ex.Expression]] = {}
        self._prefix = max((len(layer.prefix) for layer in facts.arrays), default=0)
        self._last = self._last_that_matters()

    def _last_that_matters(self) -> int:
        """Behind so many items, one more makes no difference but for what is counted."""
        ends = [max(count.start, count.stop or 0) for count in self.counts]
        return max([1, self.facts.least_items, self.most or 0, self._prefix, *ends])

    def sequence(self, separator: ex.Expression, max_places: int) -> Sequence[Any]:
        start = _Place(0, (0,) * len(self.counts), None)
        return Sequence(start, self._steps, self._accepts, separator, max_places=max_places)

    def _accepts(self, place: _Place) -> bool:
        is_counted = all(n >= count.least for n, count in zip(place.counted, self.counts, strict=True))
        return place.reached >= self.facts.least_items and is_counted

    def _steps(self, place: _Place) -> Iterator[Step[_Place]]:
        if self.most is not None and place.reached >= self.most:
            return
        index = min(place.reached + 1, self._last)
        for counted, more in self._countings(place):
            claims = (*self.facts.item_claims(place.reached), *more)
            for met, group in self.division.following(place.met):
                at = f"{self.place}/{place.reached if place.reached < self._prefix else '*'}"
                yield self._value((*claims, *group), at), _Place(index, counted, met)

    def _value(self, claims: tuple[Claim, ...], at: str) -> ex.Expression:
        """The values that satisfy some claims, which are the same objects again and again."""
        key = (at, *map(id, claims))
        if key not in self._known:
            self._known[key] = (claims, self.values(claims, at))
        return self._known[key][1]

    def _countings(self, place: _Place) -> Iterator[tuple[tuple[int, ...], tuple[Claim, ...]]]:
        """In which ways the next item may be counted, and what it must satisfy for that."""
        ways = [_ways(count, n, place.reached) for count, n in zip(self.counts, place.counted, strict=True)]
        for combination in product(*ways):
            yield tuple(n for n, _ in combination), tuple(claim for _, claims in combination for claim in claims)


def _ways(count: Count, n: int, index: int) -> list[tuple[int, tuple[Claim, ...]]]:
    """How many are counted behind the item, and what that takes; where only a least number matters, not all must be."""
    if index < count.start or (count.stop is not None and index >= count.stop):
        return [(n, ())]
    if count.most is None:
        return [(n, ())] if n >= count.least else [(n, ()), (n + 1, (count.claim,))]
    with_one_more = [(n + 1, (count.claim,))] if n < count.most else []
    return [(n, (negation(count.claim),)), *with_one_more]
