"""A schema document: its well-formedness, its parts and where they lie, its references."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, final
from urllib.parse import unquote, urldefrag

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.json_schema.metaschema import DRAFTS, LATEST, fault
from constrained_diffusion.constraints.regex import pattern_expression
from constrained_diffusion.errors import InvalidConstraint, UnsupportedConstraint

Schema = dict[str, Any] | bool

MAX_NESTING: Final = 100
"""How deep the containers of a schema document may nest."""

_USUAL_PLACE: Final = re.compile(
    r"(/(\$defs|definitions|properties|patternProperties)/[^/]*"
    r"|/(allOf|anyOf|oneOf|prefixItems)/\d+|/(items|additionalProperties|not))*"
)
"""Where every metaschema expects a schema, but for the keywords that came late."""
_RECENT_PLACE: Final = re.compile(r"/(\$defs|prefixItems)/")
_DIALECT: Final = re.compile(r"https?://json-schema\.org/(draft-0\d|draft/\d{4}-\d\d)/schema#?")


@final
@dataclass(frozen=True, eq=False)
class Node:
    """A schema inside a document.

    Attributes:
        pointer: where it lies, as a JSON pointer.
        base: the pointer of the schema that its references start from.
        id_keyword: the keyword that gives a schema a base of its own.
        trail: the schemas, this one included, that led here without going down into the instance.
    """

    schema: Schema
    pointer: str
    base: str
    id_keyword: str
    trail: frozenset[str]

    def at(self, *steps: str | int) -> str:
        """The pointer to a part of this schema."""
        return self.pointer + "".join(f"/{escaped(str(step))}" for step in steps)

    def below(self, schema: Schema, *steps: str | int) -> "Node":
        """A schema in a part of this one, for a part of the instance."""
        return self._part(schema, frozenset(), steps)

    def beside(self, schema: Schema, *steps: str | int) -> "Node":
        """A schema in a part of this one, for the same instance."""
        return self._part(schema, self.trail, steps)

    def _part(self, schema: Schema, trail: frozenset[str], steps: tuple[str | int, ...]) -> "Node":
        pointer = self.at(*steps)
        own_id = schema.get(self.id_keyword) if isinstance(schema, dict) else None
        has_base = isinstance(own_id, str) and not own_id.startswith("#")
        return Node(schema, pointer, pointer if has_base else self.base, self.id_keyword, trail | {pointer})


def escaped(step: str) -> str:
    """A step of a JSON pointer (RFC 6901)."""
    return step.replace("~", "~0").replace("/", "~1")


@final
class Document:
    """A well-formed schema of a known draft, independent of the object that it was made from.

    Attributes:
        is_lenient: whether what cannot be enforced is noted among the warnings, not refused.
        warnings: the notes, in order, each once.
    """

    def __init__(self, schema: Mapping[str, Any] | bool, *, is_lenient: bool) -> None:
        self.is_lenient = is_lenient
        self.warnings: dict[str, None] = {}
        self.root: Schema = _copied(schema)
        self.draft = self._draft()
        self._checked: set[str] = set()
        _check(self.root, self.draft, "")

    @property
    def has_item_lists(self) -> bool:
        """Whether ``items`` may be a list, and ``prefixItems`` does not bear on it."""
        return self.draft != LATEST

    @property
    def float_forms(self) -> bool:
        """Whether ``1.0`` is an integer."""
        return self.draft != "draft-04"

    @property
    def root_node(self) -> Node:
        return Node(self.root, "", "", "id" if self.draft == "draft-04" else "$id", frozenset([""]))

    def warn(self, message: str) -> None:
        self.warnings[message] = None

    def refuse(self, construct: str, path: str, reason: str) -> None:
        """Raises ``UnsupportedConstraint``, or notes that the construct at ``path`` is not enforced."""
        if not self.is_lenient:
            message = f"{construct} cannot be enforced: {reason}; change the schema, or pass lenient=True to do without"
            raise UnsupportedConstraint(message, construct=construct, path=path)
        self.warn(f"{construct} is not enforced: {reason} (at {path or 'the root'})")

    def check_pattern(self, pattern: str, path: str) -> bool:
        """Whether a pattern can be enforced; if not, that is refused or noted.

        Raises:
            InvalidConstraint: it is malformed.
        """
        try:
            pattern_content(pattern)
        except InvalidConstraint as error:
            raise InvalidConstraint(str(error), path=path) from error
        except UnsupportedConstraint as error:
            self.refuse(error.construct, path, f"the pattern {pattern!r} uses it")
            return False
        return True

    def follow(self, node: Node, reference: str) -> Node | None:
        """The schema that a ``$ref`` in ``node`` names; None if it is out of reach and only noted.

        Raises:
            InvalidConstraint: there is no such schema.
            UnsupportedConstraint: the reference leaves the document or names an anchor.
        """
        here = node.at("$ref")
        uri, fragment = _uri_and_fragment(reference, here)
        if uri and uri != self._own_id():
            self.refuse("$ref", here, f"{reference!r} leaves the document")
            return None
        if fragment and not fragment.startswith("/"):
            self.refuse("$ref", here, f"{reference!r} names an anchor, not a JSON pointer")
            return None
        target = self.root_node
        for step in f"{'' if uri else node.base}{fragment}".split("/")[1:]:
            target = _step(target, step.replace("~1", "/").replace("~0", "~"), here, reference)
        if not isinstance(target.schema, dict | bool):
            raise InvalidConstraint(f"{reference!r} names {_kind(target.schema)}, expected a schema", path=here)
        self.check_part(target)
        return replace(target, trail=node.trail | {target.pointer})

    def check_part(self, node: Node) -> None:
        """Checks a schema that lies where the metaschema expects none.

        Raises:
            InvalidConstraint: it is malformed.
        """
        if node.pointer not in self._checked:
            self._checked.add(node.pointer)
            if not _USUAL_PLACE.fullmatch(node.pointer) or (self.has_item_lists and _RECENT_PLACE.search(node.pointer)):
                _check(node.schema, self.draft, node.pointer)

    def _own_id(self) -> str | None:
        own = self.root.get(self.root_node.id_keyword) if isinstance(self.root, dict) else None
        return urldefrag(own)[0] if isinstance(own, str) else None

    def _draft(self) -> str:
        declared = self.root.get("$schema") if isinstance(self.root, dict) else None
        if declared is None:
            return LATEST
        if not isinstance(declared, str):
            raise InvalidConstraint(f"expected a URI as $schema, met {_kind(declared)}", path="/$schema")
        found = _DIALECT.fullmatch(declared)
        if found is None:
            self.warn(f"$schema {declared!r} is not known; the schema is read as draft 2020-12")
            return LATEST
        if found[1] not in DRAFTS:
            self.refuse("$schema", "/$schema", f"{declared!r} is not among draft-04, -06, -07, 2019-09 and 2020-12")
            return LATEST
        return found[1]


@lru_cache(maxsize=1024)
def pattern_content(pattern: str) -> ex.Expression:
    """The strings that hold a match of an ECMA-262 pattern, over UTF-8."""
    return pattern_expression(pattern, dialect="ecma", search=True)


def _uri_and_fragment(reference: object, here: str) -> tuple[str, str]:
    if not isinstance(reference, str):
        raise InvalidConstraint(f"expected a URI as $ref, met {_kind(reference)}", path=here)
    try:
        uri, fragment = urldefrag(reference)
    except ValueError as error:
        raise InvalidConstraint(f"malformed URI {reference!r}: {error}", path=here) from error
    return uri, unquote(fragment)


def _step(node: Node, step: str, here: str, reference: str) -> Node:
    value: Any = node.schema
    if isinstance(value, dict) and step in value:
        return node.beside(value[step], step)
    if isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,8}", step) and int(step) < len(value):
        return node.beside(value[int(step)], step)
    raise InvalidConstraint(
        f"{reference!r} names nothing: there is no {step!r} in {node.pointer or 'the root'}", path=here
    )


def _kind(value: object) -> str:
    kinds = ((bool, "a boolean"), (dict, "an object"), (list, "an array"), (str, "a string"), (type(None), "null"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "a number")


def _copied(schema: object) -> Schema:
    """The schema, copied by way of its JSON text."""
    try:
        copy = json.loads(json.dumps(dict(schema) if isinstance(schema, Mapping) else schema, allow_nan=False))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidConstraint(f"the schema is not JSON: {error}") from error
    except RecursionError as error:
        raise _too_deep() from error
    if not isinstance(copy, dict | bool):
        raise InvalidConstraint(f"met {_kind(copy)}, expected a schema: an object or a boolean")
    if any(depth > MAX_NESTING for depth in _depths(copy)):
        raise _too_deep()
    return copy


def _too_deep() -> InvalidConstraint:
    return InvalidConstraint(f"the schema nests more than {MAX_NESTING} deep; use $ref and $defs to flatten it")


def _depths(value: object) -> Iterator[int]:
    """The depths of the values inside, each once."""
    level: list[object] = [value]
    depth = 0
    while level:
        yield depth
        containers = [
            item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)
        ]
        level = [item for items in containers for item in items]
        depth += 1


def _check(schema: Schema, draft: str, pointer: str) -> None:
    try:
        error = fault(schema, draft)
    except RecursionError as deep:
        raise _too_deep() from deep
    if error is not None:
        path = pointer + "".join(f"/{escaped(str(step))}" for step in error.absolute_path)
        message = error.message if len(error.message) <= 300 else error.message[:300] + "..."
        raise InvalidConstraint(f"malformed schema ({draft.replace('/', ' ')}): {message}", path=path)
