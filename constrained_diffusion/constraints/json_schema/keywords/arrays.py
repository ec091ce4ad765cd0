"""Keywords for arrays."""

from collections.abc import Iterator
from typing import Any, Final

from constrained_diffusion.constraints.json_schema.document import Document, Node
from constrained_diffusion.constraints.json_schema.facts import (
    TYPES_OF,
    ArrayLayer,
    Count,
    Facts,
    Refusal,
    Unevaluated,
)
from constrained_diffusion.constraints.json_schema.keywords.base import Keyword, choose, least, passed, refused
from constrained_diffusion.errors import InvalidConstraint

_ARRAYS: Final = TYPES_OF["array"]


def _min_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.least_items = max(facts.least_items, int(value))


def _max_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.most_items = least(facts.most_items, int(value))


def _not_min_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if value == 0:
        facts.types = frozenset()
    else:
        _max_items(facts, value - 1, node, document)


def _not_max_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.least_items = max(facts.least_items, int(value) + 1)


def _items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    prefix, rest = _item_schemas(node)
    facts.arrays += (ArrayLayer(prefix, rest),)
    facts.observe(node.observers, items=len(prefix), has_all_items=rest is not None)


def _not_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    """An item that ``items`` bears on fails: one of its list, or one behind the prefix."""
    prefix, rest = _item_schemas(node)
    if isinstance(value, list):
        choose(facts, _some_item_fails(prefix))
    elif rest is not None:
        facts.counts += (Count(rest.negated, 1, None, len(prefix)),)


def _some_item_fails(prefix: tuple[Node, ...]) -> Iterator[tuple[Count]]:
    return ((Count(item.negated, 1, None, i, i + 1),) for i, item in enumerate(prefix))


def _prefix_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if not isinstance(value, list):
        raise InvalidConstraint("expected a list of schemas", path=node.at("prefixItems"))
    prefix = _below_each(node, "prefixItems")
    for part in prefix:
        document.check_part(part)
    if "items" not in node.keywords or node.has_item_lists:
        facts.arrays += (ArrayLayer(prefix, None),)
        facts.observe(node.observers, items=len(prefix))


def _not_prefix_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    choose(facts, _some_item_fails(_below_each(node, "prefixItems")))


def _item_schemas(node: Node) -> tuple[tuple[Node, ...], Node | None]:
    """The claims for the first items, and that for all behind."""
    schema = node.keywords
    if isinstance(schema.get("items"), list):
        prefix, keyword = _below_each(node, "items"), "additionalItems"
    else:
        prefix, keyword = () if node.has_item_lists else _below_each(node, "prefixItems"), "items"
    return prefix, node.below(schema[keyword], keyword) if keyword in schema else None


def _below_each(node: Node, keyword: str) -> tuple[Node, ...]:
    return tuple(node.below(schema, keyword, i) for i, schema in enumerate(node.keywords.get(keyword, ())))


def _not_additional_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    prefix, rest = _item_schemas(node)
    if isinstance(node.keywords.get("items"), list) and rest is not None:
        facts.counts += (Count(rest.negated, 1, None, len(prefix)),)
    else:
        facts.types = frozenset()


def _contains(facts: Facts, value: Any, node: Node, document: Document) -> None:
    item = node.below(value, "contains")
    least, most = _contained(node)
    if least > 0 or most is not None:
        facts.counts += (Count(item, least, most),)
    if not node.has_item_lists:
        facts.observe(node.observers, contained=(item,))


def _not_contains(facts: Facts, value: Any, node: Node, document: Document) -> None:
    item = node.below(value, "contains")
    least, most = _contained(node)
    fewer = [(Count(item, 0, least - 1),)] if least > 0 else []
    more = [(Count(item, most + 1),)] if most is not None else []
    choose(facts, fewer + more)


def _contained(node: Node) -> tuple[int, int | None]:
    if node.draft not in ("draft/2019-09", "draft/2020-12"):
        return 1, None
    most = node.keywords.get("maxContains")
    return int(node.keywords.get("minContains", 1)), None if most is None else int(most)


def _unique_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if value:
        facts.is_unique = node.at("uniqueItems")


def _not_unique_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if value:
        reason = "that two items are equal cannot be told exactly"
        facts.refused += (Refusal("uniqueItems", node.at("uniqueItems"), _ARRAYS, reason),)
    else:
        facts.types = frozenset()


def _unevaluated_items(facts: Facts, value: Any, node: Node, document: Document) -> None:
    claim = node.below(value, "unevaluatedItems")
    facts.unevaluated += (Unevaluated(node.pointer, "unevaluatedItems", claim),)
    facts.observe(node.observers[:-1], has_all_items=True)


_NO_REST: Final = "what is left over cannot be told to fail"

KEYWORDS: Final = {
    "minItems": Keyword("exact", _min_items, _not_min_items, _ARRAYS),
    "maxItems": Keyword("exact", _max_items, _not_max_items, _ARRAYS),
    "items": Keyword("exact", _items, _not_items, _ARRAYS),
    "prefixItems": Keyword("exact", _prefix_items, _not_prefix_items, _ARRAYS),
    "additionalItems": Keyword("exact", passed, _not_additional_items, _ARRAYS),
    "contains": Keyword("exact", _contains, _not_contains, _ARRAYS),
    "minContains": Keyword("exact", passed),
    "maxContains": Keyword("exact", passed),
    "uniqueItems": Keyword("partial", _unique_items, _not_unique_items, _ARRAYS),
    "unevaluatedItems": Keyword("partial", _unevaluated_items, refused("unevaluatedItems", _ARRAYS, _NO_REST), _ARRAYS),
}
