"""Arrays whose items differ: a finite automaton must remember which items it has met.

The values of the items are divided into groups, and no group is met twice. Where the items come from a short list,
each value is a group of its own, and nothing is lost. Where they come from a longer list, each value may follow
only those listed before it. Where there is no list, groups are made by type, by size of a number, by the first
character of a string, or of a string in an object: then two items of one group are not accepted although they might
differ. But if the first two items are strings of one group, all are told apart by their last digits, which must grow
from each to the next: as in ``item_1``, ``item_2``, ``item_3``.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple, final

from constrained_diffusion.constraints.json_schema.document import Document
from constrained_diffusion.constraints.json_schema.facts import Claim, Facts, identity
from constrained_diffusion.constraints.json_schema.reading import Reader

MAX_GROUPS: Final = 9
"""The sets of groups met are told apart, 2 to the power of this many."""
FEWER_GROUPS: Final = {MAX_GROUPS: 6, 6: 4}
"""To what the groups are reduced, step by step, where a schema becomes too large with them."""
_OBJECTS: Final = 4
"""The groups of objects."""
MAX_LISTED: Final = 300
"""A longer list is no list."""

_LETTERS: Final = "etaoinsrhldcumfpgwybvkxjqzETAOINSRHLDCUMFPGWYBVKXJQZ1203456789_-./@#$ "

Conjunction = tuple[Claim, ...]


class Division(ABC):
    """A division of the values that the items of an array may have.

    Attributes:
        bound: what is lost by it, empty if nothing is.
    """

    bound: ClassVar[str] = ""

    @abstractmethod
    def following(self, met: Any) -> Iterator[tuple[Hashable, Conjunction]]:
        """What is remembered behind the next item, and what it satisfies for that.

        Args:
            met: what is remembered of the items before it; None if there are none.
        """


@final
class Undivided(Division):
    """Items need not differ."""

    def following(self, met: None) -> Iterator[tuple[Hashable, Conjunction]]:
        yield met, ()


@final
@dataclass(frozen=True)
class Listed(Division):
    """Each group at most once, in any order."""

    groups: tuple[Conjunction, ...]

    def following(self, met: frozenset[int] | None) -> Iterator[tuple[Hashable, Conjunction]]:
        used = met or frozenset()
        yield from ((used | {i}, group) for i, group in enumerate(self.groups) if i not in used)


@final
@dataclass(frozen=True)
class Ordered(Division):
    """Each group at most once, in order."""

    groups: tuple[Conjunction, ...]
    bound: ClassVar[str] = "in the order in which their values are listed"

    def following(self, met: int | None) -> Iterator[tuple[Hashable, Conjunction]]:
        first = 0 if met is None else met + 1
        yield from enumerate(self.groups[first:], start=first)


class _Met(NamedTuple):
    """The groups met, or ``ending``: the class of the last item by its last digit; of the first item both."""

    groups: frozenset[int] = frozenset()
    ending: int | None = None


@final
@dataclass(frozen=True)
class Unlisted(Division):
    """Each group at most once; or strings that grow by their last digit, if the first two are of one group.

    Attributes:
        groups: those of strings first.
        texts: how many groups are of strings.
        endings: the classes of strings by their last digit, as they may grow.
    """

    groups: tuple[Conjunction, ...]
    texts: int
    endings: tuple[Conjunction, ...]
    bound: ClassVar[str] = "no two of one type, first character or size, but for strings with growing last digits"

    def following(self, met: _Met | None) -> Iterator[tuple[Hashable, Conjunction]]:
        if met is None:
            yield from self._first()
            return
        if met.groups:
            for i, group in enumerate(self.groups):
                if i not in met.groups:
                    yield _Met(met.groups | {i}), group
        if met.ending is not None:
            yield from self._growing(met.groups, met.ending)

    def _first(self) -> Iterator[tuple[Hashable, Conjunction]]:
        for i, group in enumerate(self.groups):
            if i >= self.texts:
                yield _Met(frozenset([i])), group
            else:
                yield from ((_Met(frozenset([i]), j), (*group, *ending)) for j, ending in enumerate(self.endings))

    def _growing(self, groups: frozenset[int], last: int) -> Iterator[tuple[Hashable, Conjunction]]:
        group = tuple(claim for i in groups for claim in self.groups[i])
        for j, ending in enumerate(self.endings[last + 1 :], start=last + 1):
            yield _Met(ending=j), (*group, *ending)


def division_of(facts: Facts, reader: Reader, document: Document, most_unlisted: int) -> Division:
    """The division for arrays that satisfy the facts.

    Args:
        most_unlisted: how many groups there may be where the items are not listed.
    """
    most = facts.most_items
    if facts.is_unique is None or (most is not None and most <= 1):
        return Undivided()
    prefix = max((len(layer.prefix) for layer in facts.arrays), default=0)
    places = range(min(prefix + 1, most or prefix + 1))
    options = [alternative for i in places for alternative in reader.alternatives(facts.item_claims(i))]
    listed = _listed(options)
    if listed is not None:
        claims = _claims(document, [{"const": value} for value in listed])
        return Ordered(claims) if len(listed) > MAX_GROUPS else Listed(claims)
    types = frozenset(name for option in options for name in option.types)
    texts, others = _divisions(types, _telling_name(options), most_unlisted)
    endings = _claims(document, _by_last_digit())
    return Unlisted(_claims(document, [*texts, *others]), len(texts), endings)


def _claims(document: Document, schemas: list[Any]) -> tuple[Conjunction, ...]:
    """Schemas that stand in no document, each as a conjunction."""
    return tuple((document.root_node.below(schema, "uniqueItems", str(schema)),) for schema in schemas)


def _listed(options: list[Facts]) -> list[Any] | None:
    """The values of some facts, each once; None if they are too many or not listed."""
    values: dict[Any, Any] = {}
    for option in options:
        listed = _values(option)
        if listed is None:
            return None
        values.update((identity(value), value) for value in listed)
    return list(values.values()) if len(values) <= MAX_LISTED else None


def _values(facts: Facts) -> list[Any] | None:
    if facts.constants is not None:
        return list(facts.constants)
    if facts.types <= {"null", "boolean"}:
        return [value for value, name in ((None, "null"), (False, "boolean"), (True, "boolean")) if name in facts.types]
    if facts.types == {"integer"} and facts.lower is not None and facts.upper is not None:
        first, last = int(facts.lower.value) - 1, int(facts.upper.value) + 1
        return list(range(first, last + 1)) if last - first <= MAX_LISTED else None
    return None


def _telling_name(options: list[Facts]) -> str | None:
    """A name of a member that may tell objects apart: the first that is declared, rather one that is required."""
    declared = [
        (name not in facts.required, i, name) for facts in options for i, name in enumerate(facts.declared_names)
    ]
    return min(declared)[2] if declared else None


def _divisions(types: frozenset[str], name: str | None, most: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Schemas no two of which share a value: those of strings, and others."""
    others: list[dict[str, Any]] = [{"type": "array"}] if "array" in types else []
    others += _by_member(name if types <= {"object", "null"} else None) if "object" in types else []
    others += [{"const": value} for value in (None, False, True) if ("null" if value is None else "boolean") in types]
    left = most - len(others)
    has_numbers = bool(types & {"integer", "fraction"})
    texts = _by_first_character(max(left // 2 if has_numbers else left, 2)) if "string" in types else []
    if has_numbers:
        others += _by_size(max(most - len(others) - len(texts), 2))
    return texts, others


def _by_member(name: str | None) -> list[dict[str, Any]]:
    """Objects, by the first character of one member; the last group holds those where that is no string."""
    if name is None:
        return [{"type": "object"}]
    members = [{"required": [name], "properties": {name: schema}} for schema in _by_first_character(_OBJECTS)]
    *some, _ = ({"type": "object", **member} for member in members)
    return [*some, {"type": "object", "not": {"anyOf": some}}]


def _by_first_character(count: int) -> list[dict[str, Any]]:
    """The last group holds what begins with none of the usual ones, and the empty string."""
    return _divided([f"^[{_LETTERS[i :: count - 1]}]".replace("-", "\\-") for i in range(count - 1)])


def _by_last_digit() -> list[dict[str, Any]]:
    """First what ends with no digit."""
    *digits, rest = _divided([f"{digit}$" for digit in range(10)])
    return [rest, *digits]


def _divided(patterns: list[str]) -> list[dict[str, Any]]:
    """Strings that match one of the patterns, which exclude each other, and those that match none."""
    return [
        *({"type": "string", "pattern": p} for p in patterns),
        {"type": "string", "not": {"pattern": "|".join(patterns)}},
    ]


def _by_size(count: int) -> list[dict[str, Any]]:
    """Numbers below 1, one up to each small number, and all above."""
    ends = range(1, count)
    between = [{"type": "number", "minimum": low, "exclusiveMaximum": low + 1} for low in ends[:-1]]
    return [{"type": "number", "exclusiveMaximum": 1}, *between, {"type": "number", "minimum": ends[-1]}]
