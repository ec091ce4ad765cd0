"""Keywords for any value: types, listed values, and how schemas combine."""

from itertools import combinations, product
from typing import Any, Final

from constrained_diffusion.constraints.json_schema.contents import Content
from constrained_diffusion.constraints.json_schema.document import Document, Node
from constrained_diffusion.constraints.json_schema.facts import (
    ALL_TYPES,
    TYPES_OF,
    Either,
    Facts,
    Refusal,
    identity,
    type_of,
)
from constrained_diffusion.constraints.json_schema.keywords.base import Keyword, KeywordFunction, choose, passed
from constrained_diffusion.constraints.json_schema.ranges import exact

MAX_OBSERVED_BRANCHES: Final = 6
"""How many branches an ``anyOf`` may have if a schema around it asks what they look at."""


def _types_named(value: Any) -> frozenset[str]:
    names = [value] if isinstance(value, str) else value
    return frozenset().union(*(TYPES_OF[name] for name in names))


def _type(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.types &= _types_named(value)


def _not_type(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.types -= _types_named(value)


def _enum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    distinct = {identity(constant): constant for constant in value}
    if facts.constants is not None:
        kept = {identity(constant) for constant in facts.constants}
        distinct = {key: constant for key, constant in distinct.items() if key in kept}
    facts.constants = tuple(distinct.values())


def _const(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _enum(facts, [value], node, document)


def _not_enum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    for i, constant in enumerate(value):
        _exclude(facts, constant, node, "enum", i)


def _not_const(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _exclude(facts, value, node, "const", 0)


def _exclude(facts: Facts, constant: Any, node: Node, keyword: str, number: int) -> None:
    """The value is not this one."""
    kind = type_of(constant)
    if kind == "null":
        facts.types -= {"null"}
    elif kind in ("integer", "fraction"):
        facts.excluded += (exact(constant),)
    elif kind == "string":
        facts.contents += (Content("literal", constant, is_negated=True),)
    elif kind == "boolean":
        others, other = ({"type": "boolean"}, keyword, number), ({"enum": [not constant]}, keyword, number, "opposite")
        facts.pending += (Either(((node.beside(*others).negated,), (node.beside(*other),))),)
    else:
        facts.pending += (node.beside(_schema_of(constant), keyword, number).negated,)


def _schema_of(constant: Any) -> dict[str, Any]:
    """A schema without ``const`` of one array or object."""
    if isinstance(constant, list):
        size = len(constant)
        items = [{"const": item} for item in constant]
        return {"type": "array", "minItems": size, "maxItems": size, **({"prefixItems": items} if items else {})}
    members = {name: {"const": item} for name, item in constant.items()}
    return {"type": "object", "required": list(members), "properties": members, "additionalProperties": False}


def _all_of(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.pending += _branches(node, "allOf", value)


def _not_all_of(facts: Facts, value: Any, node: Node, document: Document) -> None:
    choose(facts, ((branch.negated,) for branch in _branches(node, "allOf", value)))


def _branches(node: Node, keyword: str, schemas: list[Any]) -> tuple[Node, ...]:
    return tuple(node.beside(schema, keyword, i) for i, schema in enumerate(schemas))


def _any_of(facts: Facts, value: Any, node: Node, document: Document) -> None:
    branches = _branches(node, "anyOf", value)
    if not node.observers:
        choose(facts, ((branch,) for branch in branches))
    elif len(branches) <= MAX_OBSERVED_BRANCHES:
        *some, _ = product(*((branch, branch.negated) for branch in branches))
        choose(facts, some)
    else:
        reason = f"what more than {MAX_OBSERVED_BRANCHES} branches leave unevaluated is not followed"
        facts.refused += (Refusal("anyOf", node.at("anyOf"), ALL_TYPES, reason),)


def _not_any_of(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.pending += tuple(branch.negated for branch in _branches(node, "anyOf", value))


def _one_of(facts: Facts, value: Any, node: Node, document: Document) -> None:
    branches = _branches(node, "oneOf", value)
    choose(
        facts,
        ((branch, *(other.negated for other in branches if other is not branch)) for branch in branches),
    )


def _not_one_of(facts: Facts, value: Any, node: Node, document: Document) -> None:
    branches = _branches(node, "oneOf", value)
    none = tuple(branch.negated for branch in branches)
    choose(facts, (none, *combinations((branch.unobserved for branch in branches), 2)))


def _not(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.pending += (node.beside(value, "not").negated,)


def _not_not(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.pending += (node.beside(value, "not").unobserved,)


def _if(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if not (node.observers or "then" in node.keywords or "else" in node.keywords):
        return
    condition = node.beside(value, "if")
    choose(facts, ((condition, *_part(node, "then")), (condition.negated, *_part(node, "else"))))


def _not_if(facts: Facts, value: Any, node: Node, document: Document) -> None:
    condition = node.beside(value, "if").unobserved
    failing = (
        (claim, *(part.negated for part in _part(node, keyword)))
        for claim, keyword in ((condition, "then"), (condition.negated, "else"))
        if keyword in node.keywords
    )
    choose(facts, failing)


def _part(node: Node, keyword: str) -> tuple[Node, ...]:
    return (node.beside(node.keywords[keyword], keyword),) if keyword in node.keywords else ()


def _ref(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _refer(facts, "$ref", document.follow(node, "$ref", value), node)


def _dynamic_ref(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _refer(facts, "$dynamicRef", document.follow(node, "$dynamicRef", value), node)


def _recursive_ref(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _refer(facts, "$recursiveRef", document.follow_recursive(node), node)


def _refer(facts: Facts, keyword: str, target: Node | None, node: Node) -> None:
    if target is None:
        return
    if target.pointer in node.trail:
        facts.refused += (Refusal(keyword, node.at(keyword), ALL_TYPES, "it leads back to itself"),)
        return
    facts.pending += (target,)


def _fails_like(function: KeywordFunction) -> KeywordFunction:
    """What a reference says if it does not hold: its target does not."""

    def fails(facts: Facts, value: Any, node: Node, document: Document) -> None:
        function(facts, value, node.negated, document)

    return fails


KEYWORDS: Final = {
    "type": Keyword("exact", _type, _not_type),
    "enum": Keyword("exact", _enum, _not_enum),
    "const": Keyword("exact", _const, _not_const),
    "allOf": Keyword("exact", _all_of, _not_all_of),
    "anyOf": Keyword("exact", _any_of, _not_any_of),
    "oneOf": Keyword("exact", _one_of, _not_one_of),
    "not": Keyword("exact", _not, _not_not),
    "if": Keyword("exact", _if, _not_if),
    "then": Keyword("exact", passed),
    "else": Keyword("exact", passed),
    "$ref": Keyword("exact", _ref, _fails_like(_ref)),
    "$dynamicRef": Keyword("exact", _dynamic_ref, _fails_like(_dynamic_ref)),
    "$recursiveRef": Keyword("exact", _recursive_ref, _fails_like(_recursive_ref)),
}
