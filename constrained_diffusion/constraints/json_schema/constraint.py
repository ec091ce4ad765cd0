"""The constraint that a JSON Schema, or a Python type, describes."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from decimal import Decimal
from typing import Any, Final, Literal, final, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from referencing import Registry

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.checking import instance_of, shortened, whole_number
from constrained_diffusion.constraints.base import RegularConstraint
from constrained_diffusion.constraints.json_schema.compiler import (
    AdditionalProperties,
    Compiler,
    Style,
)
from constrained_diffusion.constraints.json_schema.document import Document
from constrained_diffusion.constraints.json_schema.layout import Escapes, Whitespace
from constrained_diffusion.constraints.json_schema.objects import PropertyOrder
from constrained_diffusion.constraints.json_schema.reading import Exhausted
from constrained_diffusion.constraints.json_schema.unique import FEWER_GROUPS
from constrained_diffusion.errors import (
    ConstrainedDiffusionError,
    ConstraintError,
    InvalidConstraint,
    LimitExceeded,
    UnsupportedConstraint,
)
from constrained_diffusion.limits import Limits

Formats = Literal["enforce", "annotate"]

_BOUNDED_DEPTH: Final = 2
"""What recursion to any depth gives way to if it branches too much."""
_MOST_DIGITS: Final = 28
"""Digits of a ``Decimal`` before its point: as many as it is calculated with by default."""
_SMALL: Final = Limits(max_work=2_000_000, max_places=256, max_states=20_000)
"""What may be spent to find out whether only the order of members is wrong."""
_MOST_SIZE: Final = 100_000
"""Arrays whose items must differ are divided less finely where the whole becomes larger than this."""
_MOST_FLEXIBLE_SIZE: Final = 40_000
"""Objects leave the order of their members less far where the whole becomes larger than this."""
DEFAULT_MAX_COUNT: Final = 128


@final
class JsonSchema(RegularConstraint):
    """The texts of JSON values that a schema describes; made by ``json_schema``.

    Attributes:
        schema: the schema, a copy.
        warnings: annotations of format, unknown keywords, and whatever ``lenient`` let pass.
        bounds: where less is accepted than the schema allows, because a finite automaton must stop somewhere, or
            because a listed value has no UTF-8.
    """

    def __init__(
        self,
        document: Document,
        style: Style,
        limits: Limits,
        adapter: TypeAdapter[Any] | None = None,
    ) -> None:
        self.schema: dict[str, Any] | bool = document.root
        self._adapter = adapter
        self._document, self._style = document, style
        compiler, self._expression = _compiled(document, style, limits)
        self.warnings = tuple(document.warnings)
        self.bounds = tuple(compiler.bounds)

    @property
    def expression(self) -> ex.Expression:
        return self._expression

    @property
    def why_empty(self) -> str:
        return "".join([super().why_empty, *(f"; {bound}" for bound in self.bounds)])

    def parse(self, text: str) -> Any:
        """The value that a text of the language stands for: of the Python type, if one was given.

        Raises:
            ConstraintError: the text is not JSON, or a validator of the type that no schema can express rejects it.
        """
        if self._adapter is None:
            try:
                return json.loads(text)
            except ValueError as error:
                raise ConstraintError(f"expected JSON, met {text!r}: {error}") from error
        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            raise ConstraintError(f"the type's own validation rejects {text!r}: {error}") from error

    def explain(self, text: str | bytes) -> str | None:
        explained = super().explain(text)
        if explained is None or not self.suits_in_any_order(text):
            return explained
        return f'{explained}\nonly the order of its members is wrong: property_order="any" would take it'

    def suits_in_any_order(self, text: str | bytes) -> bool:
        """Whether a text would be in the language if members could stand in any order; not if that takes too much."""
        if self._style.property_order == "any":
            return False
        try:
            style = replace(self._style, property_order="any")
            twin = JsonSchema(self._document.unheard, style, _SMALL)
            return twin.automaton(_SMALL).matches(
                text.encode(errors="surrogatepass") if isinstance(text, str) else text
            )
        except ConstrainedDiffusionError:
            return False

    def __repr__(self) -> str:
        return f"json_schema({shortened(json.dumps(self.schema))})"


def _compiled(document: Document, style: Style, limits: Limits) -> tuple[Compiler, ex.Expression]:
    """The expression; recursion is followed less far where it branches too much."""
    for depth in itertools.chain([style.any_depth], range(_deepest(style), -1, -1)):
        compiler = Compiler(document, replace(style, any_depth=depth), limits)
        try:
            expression = compiler.root()
        except Exhausted:
            if compiler.has_unlisted_arrays and style.unique_groups in FEWER_GROUPS:
                return _compiled(document, replace(style, unique_groups=FEWER_GROUPS[style.unique_groups]), limits)
            continue
        except RecursionError as error:
            raise InvalidConstraint("the schema describes values that nest too deep to be written out") from error
        smaller = _smaller(compiler, compiler.sizes(expression))
        return (compiler, expression) if smaller is None else _compiled(document, smaller, limits)
    raise LimitExceeded("max_schema_work", limits.max_schema_work, "the work to read the schema")


def _smaller(compiler: Compiler, size: int) -> Style | None:
    """The style with which to try again, None if the size will do."""
    style = compiler.style
    if compiler.has_unlisted_arrays and style.unique_groups in FEWER_GROUPS and size > _MOST_SIZE:
        return replace(style, unique_groups=FEWER_GROUPS[style.unique_groups])
    is_flexible = style.property_order == "flexible"
    is_limited = is_flexible and (compiler.has_fixed_orders or size > _MOST_FLEXIBLE_SIZE)
    if style.any_depth is None and not style.calls_values and is_limited:
        return replace(style, calls_values=True)
    if is_flexible and style.flexible_size and size > _MOST_FLEXIBLE_SIZE:
        return replace(style, flexible_size=style.flexible_size // 4)
    return None


def _deepest(style: Style) -> int:
    """The depth that is tried where the one asked for branches too much."""
    return _BOUNDED_DEPTH if style.any_depth is None else style.any_depth - 1


def json_schema(
    schema_or_type: Any,
    *,
    whitespace: Whitespace = "flexible",
    property_order: PropertyOrder = "declared",
    formats: Formats = "enforce",
    escapes: Escapes = "allow",
    lenient: bool = False,
    any_depth: int | None = None,
    max_count: int = DEFAULT_MAX_COUNT,
    additional_properties: AdditionalProperties = "spec",
    registry: Registry[Any] | None = None,
    limits: Limits = Limits(),
) -> JsonSchema:
    """JSON that satisfies a schema, or that a Python type can be read from.

    Every text accepted is valid under the schema. Which spellings of a valid value are accepted, and which
    keywords are enforced, stands in the docstring of ``constrained_diffusion.constraints.json_schema``.

    Args:
        schema_or_type: a JSON Schema (a mapping or a boolean; drafts 4 to 2020-12), or whatever pydantic's
            ``TypeAdapter`` takes: a model, dataclass, TypedDict, Literal, Enum, ``list[int]`` ...
        whitespace: ``"flexible"``: between two tokens nothing, one space, or a line break with any
            indentation; ``"compact"``: none; ``"spaced"``: as ``json.dumps`` writes by default;
            ``"indented"``: a line break with any indentation wherever ``json.dumps(indent=...)`` has one.
        property_order: ``"declared"``: members stand in the order of ``properties``, additional ones behind them;
            ``"any"``: in every order, which takes a state for each set of members seen (at most 1,024); ``"flexible"``:
            in every order where that stays small, as for objects of up to five or six simple members, in larger ones
            each behind a few of those declared after it, or as declared, additional ones anywhere; ``bounds`` says
            where. It compiles more slowly than ``"declared"``, and may take a pushdown automaton where that does not.
        formats: ``"enforce"``: strings are of their ``format``; ``"annotate"``: it is only noted among the warnings.
        escapes: ``"forbid"``: strings have no backslash, and so neither quotes nor line breaks in them.
        lenient: note what cannot be enforced among the warnings instead of refusing it.
        any_depth: how deep a value may nest where the schema allows any JSON, and how often a schema that refers to
            itself is followed. None is to any depth, which takes a pushdown automaton; with a number a finite one does,
            so that the constraint can be complemented, intersected with another such and, if it refers to itself, put
            beside grammars.
        max_count: how far ``maxLength`` and ``maxItems`` are counted; beyond it less is accepted than they allow.
        additional_properties: ``"spec"``: objects are open unless their schema closes them; ``"forbid"``: an
            object with ``properties`` but without ``additionalProperties`` is closed. Types always forbid.
        registry: other documents that references may lead to.
        limits: bounds the reading of the schema; the automaton's own bounds are given where it is compiled.

    Raises:
        InvalidConstraint: the schema is malformed; the message has the path.
        LimitExceeded: the schema branches beyond ``limits.max_schema_work``.
        UnsupportedConstraint: a keyword cannot be enforced; ``construct`` names it, ``path`` says where it is.

    >>> person = json_schema({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]})
    >>> person.matches('{"age": 36}'), person.matches('{"age": "old"}')
    (True, False)
    """
    _check_option("whitespace", whitespace, get_args(Whitespace))
    _check_option("property_order", property_order, get_args(PropertyOrder))
    _check_option("formats", formats, get_args(Formats))
    _check_option("escapes", escapes, get_args(Escapes))
    _check_option("additional_properties", additional_properties, get_args(AdditionalProperties))
    enforces_formats = formats == "enforce"
    if any_depth is not None:
        whole_number(any_depth, "any_depth", InvalidConstraint, least=0)
    whole_number(max_count, "max_count", InvalidConstraint, least=1)
    instance_of(limits, Limits, "limits", InvalidConstraint)
    if registry is not None:
        instance_of(registry, Registry, "registry", InvalidConstraint)
    if isinstance(schema_or_type, Mapping | bool):
        document = Document(schema_or_type, is_lenient=lenient, enforces_formats=enforces_formats, registry=registry)
        style = Style(
            whitespace, escapes, property_order, any_depth, max_count, additional_properties, document.float_forms
        )
        return JsonSchema(document, style, limits)
    adapter = type_adapter(schema_or_type)
    document = Document(schema_of(adapter), is_lenient=lenient, enforces_formats=enforces_formats)
    style = Style(whitespace, escapes, property_order, any_depth, max_count, "forbid", float_forms=False)
    return JsonSchema(document, style, limits, adapter)


def _check_option(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidConstraint(f"met {name}={value!r}, expected one of {', '.join(map(repr, allowed))}")


class _Schemas(GenerateJsonSchema):
    """Leaves out defaults that have no JSON, and branches of a union that have no schema, without a warning.

    A ``Decimal`` is a number: of the strings that its validation takes, the schema of the base does not say what is in
    them. It is finite and has no more digits than allowed.
    """

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as its base has it

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        digits, places = schema.get("max_digits"), schema.get("decimal_places")
        whole_digits = _MOST_DIGITS if digits is None else min(max(digits - (places or 0), 0), _MOST_DIGITS)
        size = {"type": "number", "exclusiveMinimum": -(10**whole_digits), "exclusiveMaximum": 10**whole_digits}
        if places is not None:
            size["multipleOf"] = float(Decimal(1).scaleb(-places))
        said = (("ge", "minimum"), ("gt", "exclusiveMinimum"), ("le", "maximum"), ("lt", "exclusiveMaximum"))
        limits = (*said, ("multiple_of", "multipleOf"))
        given = {keyword: float(str(value)) for name, keyword in limits if (value := schema.get(name)) is not None}
        return {"allOf": [size, given]} if given else size


def type_adapter(type_: Any) -> TypeAdapter[Any]:
    """Pydantic's view of a type.

    Raises:
        InvalidConstraint: it is no type.
    """
    if is_dataclass(type_) and not isinstance(type_, type):
        raise InvalidConstraint(f"met {type_!r:.60}, expected a schema or a type; this is an instance of one")
    if isinstance(type_, str | bytes):
        raise InvalidConstraint(f"met text, expected a schema or a type; parse it first: json.loads({type_[:40]!r})")
    try:
        return TypeAdapter(type_)
    except PydanticUserError as error:
        raise InvalidConstraint(f"{type_!r} is neither a JSON Schema nor a type: {_first_line(error)}") from error


def schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """The JSON Schema of a type.

    Raises:
        UnsupportedConstraint: it has none.
    """
    try:
        return adapter.json_schema(schema_generator=_Schemas)
    except PydanticUserError as error:
        raise UnsupportedConstraint(f"the type has no JSON Schema: {_first_line(error)}", construct="type") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
