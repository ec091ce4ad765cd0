"""Keywords for numbers and strings."""

from typing import Any, Final

from constrained_diffusion.constraints.json_schema.contents import Content
from constrained_diffusion.constraints.json_schema.document import Document, Node
from constrained_diffusion.constraints.json_schema.facts import TYPES_OF, Facts, Refusal
from constrained_diffusion.constraints.json_schema.formats import FORMATS
from constrained_diffusion.constraints.json_schema.keywords.base import Keyword, least
from constrained_diffusion.constraints.json_schema.multiples import MAX_REMAINDERS, remainders
from constrained_diffusion.constraints.json_schema.ranges import Bound, exact, stricter

_NUMBERS: Final = TYPES_OF["number"]
_STRINGS: Final = TYPES_OF["string"]

# --- numbers -------------------------------------------------------------------------------------


def _minimum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _raise_lower(facts, Bound(exact(value), _is_set(node, "exclusiveMinimum")))


def _maximum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _reduce_upper(facts, Bound(exact(value), _is_set(node, "exclusiveMaximum")))


def _not_minimum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _reduce_upper(facts, Bound(exact(value), not _is_set(node, "exclusiveMinimum")))


def _not_maximum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _raise_lower(facts, Bound(exact(value), not _is_set(node, "exclusiveMaximum")))


def _is_set(node: Node, keyword: str) -> bool:
    """Whether a keyword is ``true``, as draft 4 has it."""
    return node.keywords.get(keyword) is True


def _exclusive_minimum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if not isinstance(value, bool):
        _raise_lower(facts, Bound(exact(value), True))


def _exclusive_maximum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if not isinstance(value, bool):
        _reduce_upper(facts, Bound(exact(value), True))


def _not_exclusive_minimum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _reduce_upper(facts, Bound(exact(value)))


def _not_exclusive_maximum(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _raise_lower(facts, Bound(exact(value)))


def _raise_lower(facts: Facts, bound: Bound) -> None:
    facts.lower = stricter(facts.lower, bound, is_lower=True)


def _reduce_upper(facts: Facts, bound: Bound) -> None:
    facts.upper = stricter(facts.upper, bound, is_lower=False)


def _multiple_of(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _divide(facts, value, node, is_multiple=True)


def _not_multiple_of(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _divide(facts, value, node, is_multiple=False)


def _divide(facts: Facts, value: Any, node: Node, *, is_multiple: bool) -> None:
    if remainders(exact(value)) <= MAX_REMAINDERS:
        facts.multiples += ((exact(value), is_multiple),)
    else:
        reason = f"{value} has too many remainders to be told apart"
        facts.refused += (Refusal("multipleOf", node.at("multipleOf"), _NUMBERS, reason),)


# --- strings -------------------------------------------------------------------------------------


def _min_length(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.least_length = max(facts.least_length, int(value))


def _max_length(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.most_length = least(facts.most_length, int(value))


def _not_min_length(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if value == 0:
        facts.types = frozenset()
    else:
        _max_length(facts, value - 1, node, document)


def _not_max_length(facts: Facts, value: Any, node: Node, document: Document) -> None:
    facts.least_length = max(facts.least_length, int(value) + 1)


def _pattern(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _add_content(facts, Content("pattern", value), node, document)


def _not_pattern(facts: Facts, value: Any, node: Node, document: Document) -> None:
    _add_content(facts, Content("pattern", value, is_negated=True), node, document)


def _add_content(facts: Facts, content: Content, node: Node, document: Document) -> None:
    if document.check_pattern(content.text, node.at("pattern")) and content not in facts.contents:
        facts.contents += (content,)


def _format(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if value not in FORMATS:
        document.warn(f"format {value!r} is not known and has no effect (at {node.at('format')})")
    elif not document.enforces_formats:
        document.warn(f"format {value!r} is not enforced (at {node.at('format')})")
    else:
        facts.contents += (Content("format", value),)


def _not_format(facts: Facts, value: Any, node: Node, document: Document) -> None:
    if value not in FORMATS or not document.enforces_formats:
        facts.types = frozenset()
    elif FORMATS[value].is_exact:
        facts.contents += (Content("format", value, is_negated=True),)
    else:
        reason = f"what is no {value} cannot be told exactly"
        facts.refused += (Refusal("format", node.at("format"), frozenset(["string"]), reason),)


KEYWORDS: Final = {
    "minimum": Keyword("exact", _minimum, _not_minimum, _NUMBERS),
    "maximum": Keyword("exact", _maximum, _not_maximum, _NUMBERS),
    "exclusiveMinimum": Keyword("exact", _exclusive_minimum, _not_exclusive_minimum, _NUMBERS),
    "exclusiveMaximum": Keyword("exact", _exclusive_maximum, _not_exclusive_maximum, _NUMBERS),
    "multipleOf": Keyword("exact", _multiple_of, _not_multiple_of, _NUMBERS),
    "minLength": Keyword("exact", _min_length, _not_min_length, _STRINGS),
    "maxLength": Keyword("exact", _max_length, _not_max_length, _STRINGS),
    "pattern": Keyword("exact", _pattern, _not_pattern, _STRINGS),
    "format": Keyword("partial", _format, _not_format, _STRINGS),
}
