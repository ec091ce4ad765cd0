"""What the keywords of some schemas, taken together, say about one value."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final, final

from constrained_diffusion.constraints.json_schema.contents import Content
from constrained_diffusion.constraints.json_schema.document import Node
from constrained_diffusion.constraints.json_schema.ranges import Bound, exact

TYPES: Final = ("null", "boolean", "integer", "fraction", "string", "array", "object")
"""The types of JSON, numbers split into integers and all others."""
TYPES_OF: Final = {
    **{name: frozenset([name]) for name in TYPES if name != "fraction"},
    "number": frozenset(["integer", "fraction"]),
}
ALL_TYPES: Final = frozenset(TYPES)


# --- claims: statements that are still to be read ------------------------------------------------


@final
@dataclass(frozen=True, eq=False)
class Failure:
    """One keyword of a schema does not hold."""

    node: Node
    keyword: str

    @property
    def key(self) -> tuple[Any, ...]:
        return (*self.node.key, self.keyword)


@final
@dataclass(frozen=True, eq=False)
class Either:
    """All claims of at least one branch hold."""

    branches: tuple[tuple["Claim", ...], ...]

    @property
    def key(self) -> tuple[Any, ...]:
        return tuple(tuple(claim.key for claim in branch) for branch in self.branches)


@final
@dataclass(frozen=True)
class Presence:
    """An object has, or lacks, a member of this name."""

    name: str
    is_present: bool = True

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.name, self.is_present)


@final
@dataclass(frozen=True, eq=False)
class Member:
    """An object has a member of this name, and its value satisfies the claim."""

    name: str
    value: "Claim"

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.name, self.value.key)


@final
@dataclass(frozen=True, eq=False)
class Property:
    """If a value is an object with a member of this name, the member's value satisfies the claim."""

    name: str
    value: "Claim"

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.name, self.value.key, "if present")


@final
@dataclass(frozen=True, eq=False)
class Count:
    """An array: so many of its items from ``start`` to before ``stop`` (None: the end) satisfy the claim."""

    claim: "Claim"
    least: int
    most: int | None = None
    start: int = 0
    stop: int | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.claim.key, self.least, self.most, self.start, self.stop)


@final
@dataclass(frozen=True, eq=False)
class Witness:
    """An object has a member whose name meets all conditions, is none of ``others`` and satisfies the claim ``name``.

    Its value satisfies the claim ``value``.
    """

    contents: tuple[Content, ...] = ()
    others: frozenset[str] = frozenset()
    name: "Claim | None" = None
    value: "Claim | None" = None

    @property
    def key(self) -> tuple[Any, ...]:
        parts = (None if claim is None else claim.key for claim in (self.name, self.value))
        return (self.contents, self.others, *parts)


Claim = Node | Failure | Either | Presence | Member | Property | Count | Witness
"""A node claims that its schema holds, or, if it is negated, that it does not."""


def negation(claim: Claim) -> Claim:
    """The opposite of a claim about a value."""
    if isinstance(claim, Node):
        return claim.negated
    raise TypeError(f"expected a schema, met {claim!r}")


def key_of(claims: Iterable[Claim]) -> frozenset[Any]:
    """What tells two conjunctions of claims apart."""
    return frozenset(claim.key for claim in claims)


def distinct(claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """The claims, each once."""
    return tuple({claim.key: claim for claim in claims}.values())


# --- simple statements ---------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class ArrayLayer:
    """What one schema says about the items of an array; None says nothing."""

    prefix: tuple[Claim | None, ...]
    rest: Claim | None


@final
@dataclass(frozen=True)
class ObjectLayer:
    """What one schema says about the members of an object; None says nothing.

    A member is under the claim for its name and those of all patterns that its name holds a match of; if there
    is none of either, under ``rest``.
    """

    properties: Mapping[str, Claim | None]
    patterns: tuple[tuple[Content, Claim | None], ...] = ()
    rest: Claim | None = None


@final
@dataclass(frozen=True)
class Evaluated:
    """The members and items that some schemas have looked at (2020-12, core, section 7.7)."""

    names: frozenset[str] = frozenset()
    patterns: tuple[Content, ...] = ()
    has_all_names: bool = False
    items: int = 0
    has_all_items: bool = False
    contained: tuple[Claim, ...] = ()


@final
@dataclass(frozen=True)
class Unevaluated:
    """The rest of the members or items, as seen from the schema ``observer``, satisfies the claim."""

    observer: str
    keyword: str
    claim: Claim


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
        excluded: numbers that the value must not be.
        multiples: the value is (True) or is not (False) a multiple of the number.
        clauses: of each, at least one name is present or absent as said.
        names: claims that the name of every member satisfies.
        choices: groups of branches of which at least one must hold, still to be decided.
        pending: claims that must hold, still to be read.
        evaluated: by observer, what its keywords have looked at.
    """

    types: frozenset[str] = ALL_TYPES
    constants: tuple[Any, ...] | None = None
    lower: Bound | None = None
    upper: Bound | None = None
    excluded: tuple[Fraction, ...] = ()
    multiples: tuple[tuple[Fraction, bool], ...] = ()
    least_length: int = 0
    most_length: int | None = None
    contents: tuple[Content, ...] = ()
    least_items: int = 0
    most_items: int | None = None
    arrays: tuple[ArrayLayer, ...] = ()
    counts: tuple[Count, ...] = ()
    is_unique: str | None = None
    least_members: int = 0
    most_members: int | None = None
    objects: tuple[ObjectLayer, ...] = ()
    required: tuple[str, ...] = ()
    absent: frozenset[str] = frozenset()
    clauses: tuple[tuple[tuple[str, bool], ...], ...] = ()
    names: tuple[Claim, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    unevaluated: tuple[Unevaluated, ...] = ()
    refused: tuple[Refusal, ...] = ()
    choices: tuple[tuple[tuple[Claim, ...], ...], ...] = ()
    pending: tuple[Claim, ...] = ()
    seen: frozenset[Any] = field(default=frozenset())
    evaluated: Mapping[str, Evaluated] = field(default_factory=dict)

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
        return not (
            self.lower
            or self.upper
            or self.excluded
            or self.multiples
            or self.least_length
            or self.most_length is not None
            or self.contents
            or self.least_items
            or self.most_items is not None
            or self.arrays
            or self.counts
            or self.is_unique
            or self.least_members
            or self.most_members is not None
            or self.objects
            or self.required
            or self.absent
            or self.clauses
            or self.names
            or self.witnesses
            or self.refused
        )

    @property
    def declared_names(self) -> tuple[str, ...]:
        """Names of their own, in order: those with a schema, those required, and those that are spoken of."""
        named = (
            *(name for layer in self.objects for name in layer.properties),
            *self.required,
            *(name for clause in self.clauses for name, _ in clause),
            *sorted(self.absent),
            *(name for witness in self.witnesses for name in sorted(witness.others)),
        )
        return tuple(dict.fromkeys(named))

    def unplaced_names(self, most: int) -> frozenset[str]:
        """Required names that have no place among those with a schema, if they are at most so many."""
        placed = {name for layer in self.objects for name in layer.properties}
        unplaced = frozenset(name for name in self.required if name not in placed)
        return unplaced if len(unplaced) <= most else frozenset()

    def item_claims(self, index: int) -> tuple[Claim, ...]:
        """The claims for one item."""
        claims = (layer.prefix[index] if index < len(layer.prefix) else layer.rest for layer in self.arrays)
        return tuple(claim for claim in claims if claim is not None)

    def member_claims(self, name: str) -> tuple[Claim, ...]:
        """The claims for the value of a member of this name."""
        return self._claims(name, lambda content: content.holds(name))

    def other_claims(self, holding: frozenset[Content]) -> tuple[Claim, ...]:
        """The claims for the value of a member that is not declared, whose name meets just these conditions."""
        return self._claims(None, lambda content: content in holding)

    def _claims(self, name: str | None, holds: Callable[[Content], bool]) -> tuple[Claim, ...]:
        claims: list[Claim | None] = []
        for layer in self.objects:
            found = [layer.properties[name]] if name is not None and name in layer.properties else []
            found += [claim for content, claim in layer.patterns if holds(content)]
            claims += found or [layer.rest]
        return tuple(claim for claim in claims if claim is not None)

    def observe(self, observers: tuple[str, ...], **seen: Any) -> None:
        """Notes for some observers what a keyword has looked at; ``seen`` has fields of ``Evaluated``."""
        for observer in observers:
            before = self.evaluated.get(observer, Evaluated())
            after = replace(
                before,
                names=before.names | seen.get("names", frozenset()),
                patterns=before.patterns + seen.get("patterns", ()),
                has_all_names=before.has_all_names or seen.get("has_all_names", False),
                items=max(before.items, seen.get("items", 0)),
                has_all_items=before.has_all_items or seen.get("has_all_items", False),
                contained=before.contained + seen.get("contained", ()),
            )
            self.evaluated = {**self.evaluated, observer: after}


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
