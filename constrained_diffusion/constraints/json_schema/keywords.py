"""One small function per keyword of JSON Schema, grouped by the type of value that it constrains.

A function adds to ``Facts`` what its keyword says. To enforce one more keyword, write its
function and move its name from the refused ones to the table of its group.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from constrained_diffusion.constraints.json_schema.document import Document, Node
from constrained_diffusion.constraints.json_schema.facts import (
    ALL_TYPES,
    TYPES_OF,
    ArrayLayer,
    Facts,
    ObjectLayer,
    Refusal,
    identity,
)
from constrained_diffusion.constraints.json_schema.ranges import Bound, exact, stricter
from constrained_diffusion.errors import InvalidConstraint

KeywordFunction = Callable[[Facts, Any, Node, Document], None]


# --- any value -----------------------------------------------------------------------------------


def _type(facts: Facts, value: Any, node: Node, document: Document) -> None:
    names = [value] if isinstance(value, str) else value
    facts.types &= frozenset().union(*(TYPES_OF[name] for name in names))


def _enum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    distinct = {identity(constant): constant for constant in value}
    if facts.constants is not None:
        kept = {identity(constant) for constant in facts.constants}
        distinct = {key: constant for key, constant in distinct.items() if key in kept}
    facts.constants = tuple(distinct.values())


def _const(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _enum(facts, [value], node, document)


def _all_of(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.pending += tuple(node.beside(schema, "allOf", i) for i, schema in enumerate(value))


def _any_of(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.choices += (tuple(node.beside(schema, "anyOf", i) for i, schema in enumerate(value)),)


def _ref(facts: Facts, value: Any, node: Node, document: Document) -> None:
    target = document.follow(node, value)
    if target is None:
        return
    if target.pointer in node.trail:
        facts.refused += (Refusal("$ref", node.at("$ref"), ALL_TYPES, "it is recursive"),)
        return
    facts.references += (node.at("$ref"),)
    facts.pending += (target,)


# --- numbers -------------------------------------------------------------------------------------


def _minimum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.lower = stricter(facts.lower, Bound(exact(value), _is_set(node, "exclusiveMinimum")), is_lower=True)


def _maximum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.upper = stricter(facts.upper, Bound(exact(value), _is_set(node, "exclusiveMaximum")), is_lower=False)


def _is_set(node: Node, keyword: str) -> bool:
    """Whether a keyword is ``true``, as draft 4 has it."""
    return isinstance(node.schema, dict) and node.schema.get(keyword) is True


def _exclusive_minimum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if not isinstance(value, bool):
        facts.lower = stricter(facts.lower, Bound(exact(value), True), is_lower=True)


def _exclusive_maximum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if not isinstance(value, bool):
        facts.upper = stricter(facts.upper, Bound(exact(value), True), is_lower=False)


# --- strings -------------------------------------------------------------------------------------


def _min_length(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.least_length = max(facts.least_length, int(value))


def _max_length(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.most_length = _least(facts.most_length, int(value))


def _least(first: int | None, second: int) -> int:
    return second if first is None else min(first, second)


def _pattern(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if document.check_pattern(value, node.at("pattern")) and value not in facts.patterns:
        facts.patterns += (value,)


def _format(facts: Facts, value: Any, node: Node, document: Document) -> None:
    document.warn(f"format {value!r} is not enforced (at {node.at('format')})")


# --- arrays --------------------------------------------------------------------------------------


def _min_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.least_items = max(facts.least_items, int(value))


def _max_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.most_items = _least(facts.most_items, int(value))


def _items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    schema = _members_of(node)
    if isinstance(value, list):
        others = node.below(schema["additionalItems"], "additionalItems") if "additionalItems" in schema else None
        facts.arrays += (ArrayLayer(_prefix(node, "items", value), others),)
    elif "prefixItems" not in schema or document.has_item_lists:
        facts.arrays += (ArrayLayer((), node.below(value, "items")),)


def _prefix_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    schema = _members_of(node)
    bears_on_items = "items" in schema and not document.has_item_lists
    rest = node.below(schema["items"], "items") if bears_on_items else None
    if not isinstance(value, list):
        raise InvalidConstraint("expected a list of schemas", path=node.at("prefixItems"))
    prefix = _prefix(node, "prefixItems", value)
    for part in prefix:
        document.check_part(part)
    facts.arrays += (ArrayLayer(prefix, rest),)


def _prefix(node: Node, keyword: str, schemas: list[Any]) -> tuple[Node, ...]:
    return tuple(node.below(schema, keyword, i) for i, schema in enumerate(schemas))


def _members_of(node: Node) -> dict[str, Any]:
    return node.schema if isinstance(node.schema, dict) else {}


# --- objects -------------------------------------------------------------------------------------


def _properties(facts: Facts, value: Any, node: Node, document: Document) -> None:
    declared = {name: node.below(schema, "properties", name) for name, schema in value.items()}
    facts.objects += (ObjectLayer(declared, _other_properties(node)),)


def _additional_properties(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if "properties" not in _members_of(node):
        facts.objects += (ObjectLayer({}, _other_properties(node)),)


def _other_properties(node: Node) -> Node | None:
    schema = _members_of(node)
    if "additionalProperties" not in schema:
        return None
    return node.below(schema["additionalProperties"], "additionalProperties")


def _required(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.required = tuple(dict.fromkeys((*facts.required, *value)))


# --- keywords that are not enforced --------------------------------------------------------------


_NEEDS: Final = {
    "if": ("then", "else"),
    "then": ("if",),
    "else": ("if",),
    "minContains": ("contains",),
    "maxContains": ("contains",),
}
"""Keywords that have an effect only beside one of others."""
_WITHOUT_EFFECT: Final[dict[str, tuple[Any, ...]]] = {
    "not": (False,),
    "disallow": ([],),
    "uniqueItems": (False,),
    "minProperties": (0,),
    "propertyNames": (True, {}),
    "unevaluatedItems": (True, {}),
    "unevaluatedProperties": (True, {}),
    **dict.fromkeys(["patternProperties", "dependencies", "dependentRequired", "dependentSchemas", "extends"], ({},)),
}
"""The values with which a keyword allows everything."""


def _says_nothing(keyword: str, value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a keyword that is not enforced has no effect, so that there is nothing to refuse."""
    if keyword in _NEEDS and not any(other in schema for other in _NEEDS[keyword]):
        return True
    return identity(value) in [identity(nothing) for nothing in _WITHOUT_EFFECT.get(keyword, ())]


def _refused(keyword: str, types: frozenset[str]) -> KeywordFunction:
    def refuse(facts: Facts, value: Any, node: Node, document: Document) -> None:
        if not _says_nothing(keyword, value, _members_of(node)):
            facts.refused += (Refusal(keyword, node.at(keyword), types),)

    return refuse


def _one_of(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if len(value) == 1:
        facts.pending += (node.beside(value[0], "oneOf", 0),)
    else:
        facts.refused += (Refusal("oneOf", node.at("oneOf"), ALL_TYPES),)


def _passed(facts: Facts, value: Any, node: Node, document: Document) -> None:
    """An annotation, a definition, or a keyword that another one takes care of."""


_ARRAYS: Final = frozenset(["array"])
_OBJECTS: Final = frozenset(["object"])
_NUMBERS: Final = TYPES_OF["number"]

_EXACT: Final[dict[str, KeywordFunction]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "allOf": _all_of,
    "anyOf": _any_of,
    "$ref": _ref,
    "minimum": _minimum,
    "maximum": _maximum,
    "exclusiveMinimum": _exclusive_minimum,
    "exclusiveMaximum": _exclusive_maximum,
    "minLength": _min_length,
    "maxLength": _max_length,
    "pattern": _pattern,
    "minItems": _min_items,
    "maxItems": _max_items,
    "items": _items,
    "prefixItems": _prefix_items,
    "additionalItems": _passed,
    "properties": _properties,
    "additionalProperties": _additional_properties,
    "required": _required,
}
_REFUSED: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(["not", "if", "then", "else", "$dynamicRef", "$recursiveRef", "extends", "disallow"], ALL_TYPES),
    **dict.fromkeys(["multipleOf", "divisibleBy"], _NUMBERS),
    **dict.fromkeys(["uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems"], _ARRAYS),
    **dict.fromkeys(["patternProperties", "propertyNames", "minProperties", "maxProperties"], _OBJECTS),
    **dict.fromkeys(["dependencies", "dependentRequired", "dependentSchemas", "unevaluatedProperties"], _OBJECTS),
}
_ANNOTATIONS: Final = (
    *("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "$comment"),
    *("$defs", "definitions", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"),
    *("contentEncoding", "contentMediaType", "contentSchema"),
)

TABLE: Final[Mapping[str, KeywordFunction]] = MappingProxyType(
    {
        **_EXACT,
        **{keyword: _refused(keyword, types) for keyword, types in _REFUSED.items()},
        "oneOf": _one_of,
        "format": _format,
        **dict.fromkeys(_ANNOTATIONS, _passed),
    }
)
"""The function of each keyword that any draft knows."""

KEYWORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(_EXACT, "exact"),
        **dict.fromkeys([*_REFUSED, "oneOf"], "refused"),
        **dict.fromkeys([*_ANNOTATIONS, "format"], "annotation"),
    }
)
"""What becomes of each keyword: ``exact``, ``annotation`` (read past) or ``refused``."""
