"""Keywords for objects."""

from collections.abc import Mapping
from typing import Any, Final

from constrained_diffusion.constraints.json_schema.contents import Content
from constrained_diffusion.constraints.json_schema.document import Document, Node
from constrained_diffusion.constraints.json_schema.facts import (
    TYPES_OF,
    Claim,
    Facts,
    Member,
    ObjectLayer,
    Presence,
    Unevaluated,
    Witness,
)
from constrained_diffusion.constraints.json_schema.keywords.base import (
    Keyword,
    KeywordFunction,
    choose,
    least,
    refused,
)

_OBJECTS: Final = TYPES_OF["object"]


_MEMBER_KEYWORDS: Final = ("properties", "patternProperties", "additionalProperties")


def _members(keyword: str) -> KeywordFunction:
    """The three keywords for members speak together: the function of the first of them that a schema has."""

    def holds(facts: Facts, value: Any, node: Node, document: Document) -> None:
        if keyword != next(name for name in _MEMBER_KEYWORDS if name in node.keywords):
            return
        declared = {name: node.below(schema, "properties", name) for name, schema in _declared(node).items()}
        patterns, rest = _patterns(node, document), _other_members(node)
        facts.objects += (ObjectLayer(declared, patterns, rest),)
        contents = tuple(content for content, _ in patterns)
        facts.observe(node.observers, names=frozenset(declared), patterns=contents, has_all_names=rest is not None)

    return holds


def _declared(node: Node) -> Mapping[str, Any]:
    declared: Mapping[str, Any] = node.keywords.get("properties", {})
    return declared


def _patterns(node: Node, document: Document) -> tuple[tuple[Content, Node], ...]:
    return tuple(
        (Content("pattern", pattern), node.below(schema, "patternProperties", pattern))
        for pattern, schema in node.keywords.get("patternProperties", {}).items()
        if document.check_pattern(pattern, node.at("patternProperties", pattern))
    )


def _other_members(node: Node) -> Node | None:
    keyword = "additionalProperties"
    return node.below(node.keywords[keyword], keyword) if keyword in node.keywords else None


def _not_properties(facts: Facts, value: Any, node: Node, document: Document) -> None:
    failing = (Member(name, node.below(schema, "properties", name).negated) for name, schema in value.items())
    choose(facts, ((member,) for member in failing))


def _not_pattern_properties(facts: Facts, value: Any, node: Node, document: Document) -> None:
    choose(facts, ((Witness((content,), value=claim.negated),) for content, claim in _patterns(node, document)))


def _not_additional_properties(facts: Facts, value: Any, node: Node, document: Document) -> None:
    contents = tuple(content.negated for content, _ in _patterns(node, document))
    claim = node.below(value, "additionalProperties").negated
    facts.witnesses += (Witness(contents, frozenset(_declared(node)), value=claim),)


def _required(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.required = tuple(dict.fromkeys((*facts.required, *value)))


def _not_required(facts: Facts, value: Any, node: Node, document: Document) -> None:
    choose(facts, ((Presence(name, is_present=False),) for name in value))


def _property_names(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.names += (node.below(value, "propertyNames"),)


def _not_property_names(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.witnesses += (Witness(name=node.below(value, "propertyNames").negated),)


def _min_properties(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.least_members = max(facts.least_members, int(value))


def _max_properties(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.most_members = least(facts.most_members, int(value))


def _not_min_properties(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if value == 0:
        facts.types = frozenset()
    else:
        _max_properties(facts, value - 1, node, document)


def _not_max_properties(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.least_members = max(facts.least_members, int(value) + 1)


def _dependent_required(facts: Facts, value: Any, node: Node, document: Document) -> None:
    for name, needed in value.items():
        facts.clauses += tuple(((name, False), (other, True)) for other in needed)


def _not_dependent_required(facts: Facts, value: Any, node: Node, document: Document) -> None:
    pairs = ((name, other) for name, needed in value.items() for other in needed)
    choose(facts, ((Presence(name), Presence(other, is_present=False)) for name, other in pairs))


def _dependent_schemas(facts: Facts, value: Any, node: Node, document: Document) -> None:
    for name, schema in value.items():
        branch = node.beside(schema, "dependentSchemas", name)
        choose(facts, ((Presence(name, is_present=False),), (Presence(name), branch)))


def _not_dependent_schemas(facts: Facts, value: Any, node: Node, document: Document) -> None:
    choose(
        facts,
        ((Presence(name), node.beside(schema, "dependentSchemas", name).negated) for name, schema in value.items()),
    )


def _dependencies(facts: Facts, value: Any, node: Node, document: Document) -> None:
    """Names or schemas, as drafts before 2019-09 have it."""
    names = {name: needed for name, needed in value.items() if isinstance(needed, list)}
    _dependent_required(facts, names, node, document)
    for name, schema in value.items():
        if name not in names and schema not in (True, {}):
            branch = node.beside(schema, "dependencies", name)
            choose(facts, ((Presence(name, is_present=False),), (Presence(name), branch)))


def _not_dependencies(facts: Facts, value: Any, node: Node, document: Document) -> None:
    branches: list[tuple[Claim, ...]] = []
    for name, needed in value.items():
        if isinstance(needed, list):
            branches += [(Presence(name), Presence(other, is_present=False)) for other in needed]
        else:
            branches.append((Presence(name), node.beside(needed, "dependencies", name).negated))
    choose(facts, branches)


def _unevaluated_properties(facts: Facts, value: Any, node: Node, document: Document) -> None:
    claim = node.below(value, "unevaluatedProperties")
    facts.unevaluated += (Unevaluated(node.pointer, "unevaluatedProperties", claim),)
    facts.observe(node.observers[:-1], has_all_names=True)


_NO_REST: Final = "what is left over cannot be told to fail"

KEYWORDS: Final = {
    "properties": Keyword("exact", _members("properties"), _not_properties, _OBJECTS),
    "patternProperties": Keyword("exact", _members("patternProperties"), _not_pattern_properties, _OBJECTS),
    "additionalProperties": Keyword("exact", _members("additionalProperties"), _not_additional_properties, _OBJECTS),
    "required": Keyword("exact", _required, _not_required, _OBJECTS),
    "propertyNames": Keyword("exact", _property_names, _not_property_names, _OBJECTS),
    "minProperties": Keyword("partial", _min_properties, _not_min_properties, _OBJECTS),
    "maxProperties": Keyword("exact", _max_properties, _not_max_properties, _OBJECTS),
    "dependentRequired": Keyword("exact", _dependent_required, _not_dependent_required, _OBJECTS),
    "dependentSchemas": Keyword("exact", _dependent_schemas, _not_dependent_schemas, _OBJECTS),
    "dependencies": Keyword("exact", _dependencies, _not_dependencies, _OBJECTS),
    "unevaluatedProperties": Keyword(
        "partial", _unevaluated_properties, refused("unevaluatedProperties", _OBJECTS, _NO_REST), _OBJECTS
    ),
}
