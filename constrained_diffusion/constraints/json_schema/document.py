"""A schema document: its well-formedness, its parts and where they lie, its references."""

import json
import re
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, final
from urllib.parse import urldefrag

from jsonschema_specifications import REGISTRY as SPECIFICATIONS
from referencing import Registry, exceptions
from referencing.jsonschema import DRAFT4, DRAFT6, DRAFT7, DRAFT201909, DRAFT202012, lookup_recursive_ref

from constrained_diffusion.constraints.json_schema.contents import Content
from constrained_diffusion.constraints.json_schema.metaschema import DRAFTS, LATEST, fault
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
_SPECIFICATIONS: Final[Mapping[str, Any]] = dict(
    zip(DRAFTS, (DRAFT4, DRAFT6, DRAFT7, DRAFT201909, DRAFT202012), strict=True)
)
_DIALECT: Final = re.compile(r"https?://json-schema\.org/(draft-0\d|draft/\d{4}-\d\d)/schema#?")


@final
@dataclass(frozen=True, eq=False)
class Node:
    """A schema inside a document, as the claim that it holds or does not hold.

    Attributes:
        pointer: where it lies, as a JSON pointer; in another document behind its URI and ``#``.
        draft: the draft that it is read as.
        resolver: what its references are looked up with.
        scope: the resources that led here, the outermost first; empty where no reference is dynamic.
        trail: the schemas, this one included, that led here without going down into the instance.
        is_negated: whether the claim is that it does not hold.
        observers: the schemas around it that want to know which members and items it looks at.
    """

    schema: Schema
    pointer: str
    draft: str
    resolver: Any
    scope: tuple[str, ...]
    trail: frozenset[str]
    is_negated: bool = False
    observers: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells two claims apart."""
        return (self.pointer, self.is_negated, self.scope)

    @property
    def keywords(self) -> dict[str, Any]:
        """The keywords of the schema, none for a boolean."""
        return self.schema if isinstance(self.schema, dict) else {}

    @property
    def negated(self) -> "Node":
        """The opposite claim; a schema that must fail looks at nothing."""
        return replace(self, is_negated=not self.is_negated, observers=())

    @property
    def unobserved(self) -> "Node":
        """The same claim, when nobody asks what it looks at."""
        return replace(self, observers=()) if self.observers else self

    @property
    def observing(self) -> "Node":
        """The same claim, when the schema itself asks what its keywords look at."""
        return replace(self, observers=(*self.observers, self.pointer))

    @property
    def has_item_lists(self) -> bool:
        """Whether ``items`` may be a list, and ``prefixItems`` does not bear on it."""
        return self.draft != LATEST

    def at(self, *steps: str | int) -> str:
        """The pointer to a part of this schema."""
        return self.pointer + "".join(f"/{escaped(str(step))}" for step in steps)

    def below(self, schema: Schema, *steps: str | int) -> "Node":
        """A schema in a part of this one, for a part of the instance."""
        return self._part(schema, frozenset(), (), steps)

    def beside(self, schema: Schema, *steps: str | int) -> "Node":
        """A schema in a part of this one, for the same instance."""
        return self._part(schema, self.trail, self.observers, steps)

    def _part(
        self, schema: Schema, trail: frozenset[str], observers: tuple[str, ...], steps: tuple[str | int, ...]
    ) -> "Node":
        pointer = self.at(*steps)
        resolver = self.resolver
        if isinstance(schema, dict) and ("$id" in schema or "id" in schema):
            resolver = resolver.in_subresource(_specification(self.draft).create_resource(schema))
        return Node(schema, pointer, self.draft, resolver, self.scope, trail | {pointer}, False, observers)


def _specification(draft: str) -> Any:
    return _SPECIFICATIONS[draft]


def escaped(step: str) -> str:
    """A step of a JSON pointer (RFC 6901)."""
    return step.replace("~", "~0").replace("/", "~1")


@final
class Document:
    """A well-formed schema of a known draft, independent of the object that it was made from.

    Attributes:
        is_lenient: whether what cannot be enforced is noted among the warnings, not refused.
        formats: whether ``format`` is enforced.
        warnings: the notes, in order, each once.
    """

    def __init__(
        self,
        schema: Mapping[str, Any] | bool,
        *,
        is_lenient: bool,
        enforces_formats: bool = True,
        registry: Registry[Any] | None = None,
    ) -> None:
        self.is_lenient = is_lenient
        self.enforces_formats = enforces_formats
        self.warnings: dict[str, None] = {}
        self.root: Schema = _copied(schema)
        self.draft = self._declared_draft(self.root, "")
        self._checked: set[str] = set()
        _check(self.root, self.draft, "")
        self._given = registry
        self._pointers: dict[int, str] = {}
        self._others: list[Any] = []
        self._names: set[str] = set()
        self._is_dynamic = _is_dynamic(self.root)

    @property
    def float_forms(self) -> bool:
        """Whether ``1.0`` is an integer."""
        return self.draft != "draft-04"

    @cached_property
    def root_node(self) -> Node:
        registry: Registry[Any] = SPECIFICATIONS if self._given is None else SPECIFICATIONS.combine(self._given)
        resource = _specification(self.draft).create_resource(self.root)
        self._index(self.root, "")
        return Node(self.root, "", self.draft, registry.resolver_with_root(resource), (), frozenset([""]))

    def _index(self, schema: Any, pointer: str) -> None:
        """Remembers where each object of a document lies."""
        parts = [(schema, pointer)]
        while parts:
            part, at = parts.pop()
            if isinstance(part, dict):
                self._pointers.setdefault(id(part), at)
                parts.extend((value, f"{at}/{escaped(name)}") for name, value in part.items())
            elif isinstance(part, list):
                parts.extend((value, f"{at}/{i}") for i, value in enumerate(part))

    @cached_property
    def unheard(self) -> "Document":
        """The same document, but what is refused or noted there goes nowhere else."""
        twin = copy(self)
        twin.is_lenient, twin.warnings = False, {}
        return twin

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
            Content("pattern", pattern).expression  # noqa: B018 - read for its errors
        except InvalidConstraint as error:
            raise InvalidConstraint(str(error), path=path) from error
        except UnsupportedConstraint as error:
            self.refuse(error.construct, path, f"the pattern {pattern!r} uses it")
            return False
        return True

    def follow(self, node: Node, keyword: str, reference: str) -> Node | None:
        """The schema that a reference in ``node`` names; None if it is out of reach and only noted.

        Raises:
            InvalidConstraint: there is no such schema.
            UnsupportedConstraint: it lies in a document that is not in the registry.
        """
        here = node.at(keyword)
        try:
            resolved = node.resolver.lookup(reference)
        except (exceptions.PointerToNowhere, exceptions.NoSuchAnchor, exceptions.InvalidAnchor) as error:
            raise InvalidConstraint(f"{reference!r} names nothing in its document", path=here) from error
        except exceptions.Unresolvable:
            self.refuse(keyword, here, f"{reference!r} leaves the document, and no registry that was given has it")
            return None
        except ValueError as error:
            raise InvalidConstraint(f"malformed URI {reference!r}: {error}", path=here) from error
        return self._resolved(node, resolved, here, reference)

    def follow_recursive(self, node: Node) -> Node | None:
        """The schema that the ``$recursiveRef`` in ``node`` names (2019-09, core, section 8.2.4.2)."""
        return self._resolved(node, lookup_recursive_ref(node.resolver), node.at("$recursiveRef"), "#")

    def _resolved(self, node: Node, resolved: Any, here: str, reference: str) -> Node:
        schema, resolver = resolved.contents, resolved.resolver
        if not isinstance(schema, dict | bool):
            raise InvalidConstraint(f"{reference!r} names {_kind(schema)}, expected a schema", path=here)
        pointer = self._pointer(schema, resolver, here, reference)
        draft = self._draft_of(resolver, node.draft)
        scope = tuple(dict.fromkeys(reversed([uri for uri, _ in resolver.dynamic_scope()]))) if self._is_dynamic else ()
        target = Node(schema, pointer, draft, resolver, scope, node.trail | {pointer}, node.is_negated, node.observers)
        self.check_part(target)
        return target

    def _pointer(self, schema: Schema, resolver: Any, here: str, reference: str) -> str:
        """Where a schema lies; the other document that it is in is remembered."""
        if isinstance(schema, bool):
            return f"{here} -> {reference}"
        if id(schema) not in self._pointers:
            whole = resolver.lookup("#").contents
            self._is_dynamic = self._is_dynamic or _is_dynamic(whole)
            self._others.append(whole)
            name = whole.get("$id", urldefrag(reference)[0]) if isinstance(whole, dict) else reference
            self._index(whole, f"{name}#" if name not in self._names else f"{name}#{len(self._others)}#")
            self._names.add(name)
        return self._pointers.get(id(schema), f"{here} -> {reference}")

    def _draft_of(self, resolver: Any, default: str) -> str:
        """The draft of the document that a resolver is in."""
        try:
            whole = resolver.lookup("#").contents
        except exceptions.Unresolvable:
            return default
        return self._declared_draft(whole, default) if isinstance(whole, dict) and "$schema" in whole else default

    def check_part(self, node: Node) -> None:
        """Checks a schema that lies where the metaschema expects none.

        Raises:
            InvalidConstraint: it is malformed.
        """
        if node.pointer not in self._checked:
            self._checked.add(node.pointer)
            if not _USUAL_PLACE.fullmatch(node.pointer) or (node.has_item_lists and _RECENT_PLACE.search(node.pointer)):
                _check(node.schema, node.draft, node.pointer)

    def _declared_draft(self, schema: Schema, default: str) -> str:
        declared = schema.get("$schema") if isinstance(schema, dict) else None
        if declared is None:
            return default or LATEST
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


def _is_dynamic(schema: Any) -> bool:
    """Whether a reference in a document depends on the way that led to it."""
    parts = [schema]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            if "$dynamicRef" in part or "$recursiveRef" in part:
                return True
            parts.extend(part.values())
        elif isinstance(part, list):
            parts.extend(part)
    return False


def _kind(value: object) -> str:
    kinds = ((bool, "a boolean"), (dict, "an object"), (list, "an array"), (str, "a string"), (type(None), "null"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "a number")


def _copied(schema: object) -> Schema:
    """The schema, copied by way of its JSON text."""
    try:
        copied = json.loads(json.dumps(dict(schema) if isinstance(schema, Mapping) else schema, allow_nan=False))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidConstraint(f"the schema is not JSON: {error}") from error
    except RecursionError as error:
        raise _too_deep() from error
    if not isinstance(copied, dict | bool):
        raise InvalidConstraint(f"met {_kind(copied)}, expected a schema: an object or a boolean")
    if any(depth > MAX_NESTING for depth in _depths(copied)):
        raise _too_deep()
    return copied


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
