"""What every keyword of JSON Schema has: a function for when it holds, and one for when it does not."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, final

from constrained_diffusion.constraints.json_schema.document import Document, Node
from constrained_diffusion.constraints.json_schema.facts import ALL_TYPES, Claim, Facts, Refusal

KeywordFunction = Callable[[Facts, Any, Node, Document], None]
"""Adds to the facts what a keyword of a node with that value says, or what is true if it does not hold."""

Fate = Literal["exact", "partial", "refused", "annotation"]


@final
@dataclass(frozen=True)
class Keyword:
    """What becomes of a keyword.

    Attributes:
        fate: ``exact``; ``partial``: enforced, but for cases that are refused or narrowed; ``refused``;
            ``annotation``: read past.
        holds: adds what it says.
        fails: adds what is true if it does not hold; None if it says nothing by itself.
        types: the types of value that it constrains: where it fails, the value is one of them.
    """

    fate: Fate
    holds: KeywordFunction
    fails: KeywordFunction | None = None
    types: frozenset[str] = ALL_TYPES


def choose(facts: Facts, branches: Iterable[tuple[Claim, ...]]) -> None:
    """All claims of at least one branch hold."""
    facts.choices += (tuple(branches),)


def passed(facts: Facts, value: Any, node: Node, document: Document) -> None:
    """An annotation, a definition, or a keyword that another one takes care of."""


def refused(keyword: str, types: frozenset[str], reason: str) -> KeywordFunction:
    """A function that refuses a keyword for values of some types."""

    def refuse(facts: Facts, value: Any, node: Node, document: Document) -> None:
        facts.refused += (Refusal(keyword, node.at(keyword), types, reason),)

    return refuse


def least(first: int | None, second: int) -> int:
    """The smaller of two upper ends; None is none."""
    return second if first is None else min(first, second)
