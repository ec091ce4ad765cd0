"""What the keywords of some schemas, taken together, say about one value."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, final

from constrained_diffusion.constraints.json_schema.document import Node
from constrained_diffusion.constraints.json_schema.ranges import Bound, exact

TYPES: Final = ("null", "boolean", "integer", "fraction", "string", "array", "object")
"""The types of JSON, numbers split into integers and all others."""
TYPES_OF: Final = {
    **{name: frozenset([name]) for name in TYPES if name != "fraction"},
    "number": frozenset(["integer", "fraction"]),
}
ALL_TYPES: Final = frozenset(TYPES)


@final
@dataclass(frozen=True)
class ArrayLayer:
    """What one schema says about the items of an array."""

    prefix: tuple[Node, ...]
    rest: Node | None


@final
@dataclass(frozen=True)
class ObjectLayer:
    """What one schema says about the members of an object; ``rest`` is None if it is silent on other names."""

    properties: dict[str, Node]
    rest: Node | None


@final
@dataclass(frozen=True)
class Refusal:
    """A keyword that is not enforced, and the types of value that it constrains."""

    keyword: str
    path: str
    types: frozenset[str]
    reason: str = "this keyword is not supported yet"


@final
@dataclass(slots=True)
class Facts:
    """A conjunction of simple statements. Mutable while the keywords are read.

    Attributes:
        types: the types that remain.
        constants: the values that remain, None if they were not listed.
        choices: groups of schemas of which at least one must hold, still to be decided.
        pending: schemas that must hold, still to be read.
        references: where the references lie that were followed.
    """

    types: frozenset[str] = ALL_TYPES
    constants: tuple[Any, ...] | None = None
    lower: Bound | None = None
    upper: Bound | None = None
    least_length: int = 0
    most_length: int | None = None
    patterns: tuple[str, ...] = ()
    least_items: int = 0
    most_items: int | None = None
    arrays: tuple[ArrayLayer, ...] = ()
    objects: tuple[ObjectLayer, ...] = ()
    required: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
    choices: tuple[tuple[Node, ...], ...] = ()
    pending: tuple[Node, ...] = ()
    references: tuple[str, ...] = ()
    seen: frozenset[str] = field(default=frozenset())

    @property
    def is_impossible(self) -> bool:
        return not self.types or self.constants == ()

    @property
    def is_free(self) -> bool:
        """Whether every value will do."""
        return self.types == ALL_TYPES and self.constants is None and self.is_silent

    @property
    def is_silent(self) -> bool:
        """Whether nothing is said about values but their type."""
        return (
            self.lower is None
            and self.upper is None
            and self.least_length == 0
            and self.most_length is None
            and not self.patterns
            and self.least_items == 0
            and self.most_items is None
            and not (self.arrays or self.objects or self.required or self.refused)
        )


def identity(value: Any) -> Any:
    """A hashable key that two JSON values share exactly if they are equal as JSON."""
    if isinstance(value, dict):
        return ("object", frozenset((name, identity(item)) for name, item in value.items()))
    if isinstance(value, list):
        return ("array", tuple(identity(item) for item in value))
    if value is None or isinstance(value, bool | str):
        return (type(value).__name__, value)
    return ("number", exact(value))


def type_of(value: Any) -> str:
    """The type among ``TYPES``; a number with a zero fraction is an integer."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if Fraction(value).denominator == 1 else "fraction"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"
