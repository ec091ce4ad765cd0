"""Arrays whose items differ: a finite automaton must remember which items it has met.

The values of the items are divided into groups, and no group is met twice. Where the items come from a short list,
each value is a group of its own, and nothing is lost. Where they come from a longer list, each value may follow
only those listed before it. Where there is no list, groups are made by type, by size of a number and by the first
character of a string: then two items of one group are not accepted although they might differ.
"""

from dataclasses import dataclass
from typing import Any, Final, final

from constrained_diffusion.constraints.json_schema.document import Document
from constrained_diffusion.constraints.json_schema.facts import Claim, Facts, identity
from constrained_diffusion.constraints.json_schema.reading import Reader

MAX_GROUPS: Final = 9
"""The sets of groups met are told apart, 2 to the power of this many."""
FEWER_GROUPS: Final = 7
"""So many where a schema has more than ``MANY_ARRAYS`` arrays whose items are not listed."""
MANY_ARRAYS: Final = 4
MAX_LISTED: Final = 300
"""A longer list is no list."""

_LETTERS: Final = "etaoinsrhldcumfpgwybvkxjqzETAOINSRHLDCUMFPGWYBVKXJQZ1203456789_-./@#$ "


@final
@dataclass(frozen=True)
class Groups:
    """A division of the values that the items of an array may have.

    Attributes:
        claims: of each group, what its values satisfy.
        is_ordered: whether groups may only be met in their order.
        bound: what is lost, empty if nothing is.
    """

    claims: tuple[tuple[Claim, ...], ...]
    is_ordered: bool = False
    bound: str = ""


NO_GROUPS: Final = Groups(())


def groups_of(facts: Facts, reader: Reader, document: Document, most_unlisted: int) -> Groups:
    """The groups for arrays that satisfy the facts, whose items must differ.

    Args:
        most_unlisted: how many groups there may be where the items are not listed.
    """
    most = facts.most_items
    if most is not None and most <= 1:
        return NO_GROUPS
    prefix = max((len(layer.prefix) for layer in facts.arrays), default=0)
    places = range(min(prefix + 1, most or prefix + 1))
    options = [alternative for i in places for alternative in reader.alternatives(facts.item_claims(i))]
    listed = _listed(options)
    if listed is not None:
        claims = tuple(_claim(document, {"const": value}) for value in listed)
        is_ordered = len(listed) > MAX_GROUPS
        return Groups(claims, is_ordered, "in the order in which their values are listed" if is_ordered else "")
    types = frozenset(name for option in options for name in option.types)
    claims = tuple(_claim(document, schema) for schema in _divisions(types, most_unlisted))
    return Groups(claims, False, "no two of one type, first character or size")


def _claim(document: Document, schema: Any) -> tuple[Claim, ...]:
    """A schema that stands in no document."""
    return (document.root_node.below(schema, "uniqueItems", str(schema)),)


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


def _divisions(types: frozenset[str], most: int) -> list[dict[str, Any]]:
    """Schemas no two of which share a value."""
    schemas: list[dict[str, Any]] = [{"type": name} for name in ("array", "object") if name in types]
    schemas += [{"const": value} for value in (None, False, True) if ("null" if value is None else "boolean") in types]
    left = most - len(schemas)
    has_numbers = bool(types & {"integer", "fraction"})
    if "string" in types:
        schemas += _strings(left // 2 if has_numbers else left)
    if has_numbers:
        schemas += _numbers(most - len(schemas))
    return schemas


def _strings(count: int) -> list[dict[str, Any]]:
    """By first character; the last group holds what begins with none of the usual ones, and the empty string."""
    sets = [_LETTERS[i :: count - 1].replace("-", "\\-") for i in range(count - 1)]
    some = [{"type": "string", "pattern": f"^[{letters}]"} for letters in sets]
    return [*some, {"type": "string", "not": {"pattern": f"^[{''.join(sets)}]"}}]


def _numbers(count: int) -> list[dict[str, Any]]:
    """By size: below 1, one up to each small number, and all above."""
    ends = range(1, count)
    between = [{"type": "number", "minimum": low, "exclusiveMaximum": low + 1} for low in ends[:-1]]
    return [{"type": "number", "exclusiveMaximum": 1}, *between, {"type": "number", "minimum": ends[-1]}]
