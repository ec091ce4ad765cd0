"""Whether a schema is well-formed, as the metaschema of its draft has it.

The jsonschema library decides, and its words are the error. Since that takes longer than everything
else that is done with an ordinary schema, one walk over the document with a predicate per keyword comes first:
what passes it is certainly well-formed. A predicate may be stricter than the metaschema, never
laxer, and what it does not let pass is not at fault yet: only then is the library asked.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import jsonschema
from jsonschema.exceptions import ValidationError, best_match

LATEST: Final = "draft/2020-12"
_VALIDATORS: Final[dict[str, Any]] = {
    "draft-04": jsonschema.Draft4Validator,
    "draft-06": jsonschema.Draft6Validator,
    "draft-07": jsonschema.Draft7Validator,
    "draft/2019-09": jsonschema.Draft201909Validator,
    LATEST: jsonschema.Draft202012Validator,
}
DRAFTS: Final = tuple(_VALIDATORS)
"""The drafts that have a metaschema here, by the part of its address that names them."""


def fault(schema: object, draft: str) -> ValidationError | None:
    """What is malformed in a schema, None if nothing is.

    Args:
        schema: a JSON value.
        draft: one of ``DRAFTS``.

    Raises:
        RecursionError: it nests too deep for the library.
    """
    if is_surely_well_formed(schema, draft):
        return None
    found: ValidationError | None = best_match(_validator(draft).iter_errors(schema))
    return found


@lru_cache(maxsize=len(_VALIDATORS))
def _validator(draft: str) -> Any:
    cls = _VALIDATORS[draft]
    return cls(cls.META_SCHEMA)


def is_surely_well_formed(schema: object, draft: str) -> bool:
    """Whether the predicates settle that a JSON value is a well-formed schema; False leaves it open."""
    predicates = _PREDICATES[draft]
    pending = [schema]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            for keyword, value in part.items():
                predicate = predicates.get(keyword)
                if predicate is not None and not predicate(value, pending):
                    return False
        elif not isinstance(part, bool) or draft == "draft-04":
            return False
    return True


# --- predicates: each is given a value, and a list to which it adds the schemas inside ------------


_Predicate = Callable[[Any, list[Any]], bool]


def _is_string(value: Any, pending: list[Any]) -> bool:
    return isinstance(value, str)


def _is_uri_without_fragment(value: Any, pending: list[Any]) -> bool:
    return isinstance(value, str) and "#" not in value


def _is_boolean(value: Any, pending: list[Any]) -> bool:
    return isinstance(value, bool)


def _is_list(value: Any, pending: list[Any]) -> bool:
    return isinstance(value, list)


def _is_list_of_distinct_values(value: Any, pending: list[Any]) -> bool:
    """A list of at least one value; all are texts, integers or null, and different."""
    if not isinstance(value, list) or not value:
        return False
    return all(item is None or type(item) in (str, int) for item in value) and len(set(value)) == len(value)


def _is_number(value: Any, pending: list[Any]) -> bool:
    return type(value) in (int, float)


def _is_positive(value: Any, pending: list[Any]) -> bool:
    return type(value) in (int, float) and value > 0


def _is_count(value: Any, pending: list[Any]) -> bool:
    return type(value) is int and value >= 0


def _are_names(value: Any, pending: list[Any]) -> bool:
    """A list of strings, all different."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value) and len(set(value)) == len(value)


def _are_some_names(value: Any, pending: list[Any]) -> bool:
    return bool(value) and _are_names(value, pending)


_TYPES: Final = frozenset(["array", "boolean", "integer", "null", "number", "object", "string"])


def _is_type(value: Any, pending: list[Any]) -> bool:
    return value in _TYPES if isinstance(value, str) else _are_some_names(value, pending) and _TYPES.issuperset(value)


def _is_schema(value: Any, pending: list[Any]) -> bool:
    pending.append(value)
    return True


def _are_schemas(value: Any, pending: list[Any]) -> bool:
    """A list of at least one schema."""
    if not isinstance(value, list) or not value:
        return False
    pending.extend(value)
    return True


def _is_schema_or_list(value: Any, pending: list[Any]) -> bool:
    return _are_schemas(value, pending) if isinstance(value, list) else _is_schema(value, pending)


def _is_schema_or_boolean(value: Any, pending: list[Any]) -> bool:
    return isinstance(value, bool) or _is_schema(value, pending)


def _has_schemas(value: Any, pending: list[Any]) -> bool:
    """An object of schemas."""
    if not isinstance(value, dict):
        return False
    pending.extend(value.values())
    return True


def _has_schemas_or_names(value: Any, pending: list[Any]) -> bool:
    """An object of schemas and of lists of names."""
    if not isinstance(value, dict):
        return False
    pending.extend(part for part in value.values() if not isinstance(part, list))
    return all(_are_some_names(part, pending) for part in value.values() if isinstance(part, list))


def _is_open(value: Any, pending: list[Any]) -> bool:
    """A value that is left to the library."""
    return False


_COMMON: Final[dict[str, _Predicate]] = {
    **dict.fromkeys(["$schema", "$ref", "$comment", "title", "description"], _is_string),
    **dict.fromkeys(["pattern", "format", "contentEncoding", "contentMediaType"], _is_string),
    **dict.fromkeys(["uniqueItems", "readOnly", "writeOnly", "deprecated"], _is_boolean),
    **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], _is_number),
    **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"], _is_count),
    **dict.fromkeys(["minContains", "maxContains"], _is_count),
    **dict.fromkeys(["properties", "patternProperties", "definitions", "$defs", "dependentSchemas"], _has_schemas),
    **dict.fromkeys(["allOf", "anyOf", "oneOf", "prefixItems"], _are_schemas),
    **dict.fromkeys(["not", "if", "then", "else", "contains", "propertyNames", "contentSchema"], _is_schema),
    **dict.fromkeys(["items", "additionalItems", "unevaluatedItems"], _is_schema),
    **dict.fromkeys(["additionalProperties", "unevaluatedProperties"], _is_schema),
    **dict.fromkeys(["$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary"], _is_open),
    **dict.fromkeys(["$dynamicRef", "$recursiveRef", "dependentRequired"], _is_open),
    "$id": _is_uri_without_fragment,
    "dependencies": _has_schemas_or_names,
    "type": _is_type,
    "enum": _is_list,
    "examples": _is_list,
    "required": _are_names,
    "multipleOf": _is_positive,
}
_WITH_ITEM_LISTS: Final[dict[str, _Predicate]] = {**_COMMON, "id": _is_string, "items": _is_schema_or_list}
_PREDICATES: Final[dict[str, dict[str, _Predicate]]] = {
    "draft-04": {
        **_WITH_ITEM_LISTS,
        **dict.fromkeys(["exclusiveMinimum", "exclusiveMaximum"], _is_open),
        **dict.fromkeys(["additionalItems", "additionalProperties"], _is_schema_or_boolean),
        "enum": _is_list_of_distinct_values,
        "required": _are_some_names,
    },
    "draft-06": {**_WITH_ITEM_LISTS, "$id": _is_string, "enum": _is_list_of_distinct_values},
    "draft-07": {**_WITH_ITEM_LISTS, "$id": _is_string},
    "draft/2019-09": _WITH_ITEM_LISTS,
    LATEST: _COMMON,
}
