"""What a Python type is written as in running text: strings bare, everything else as JSON."""

from collections.abc import Mapping
from typing import Any, Final, final

from pydantic import ValidationError

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.base import RegularConstraint
from constrained_diffusion.constraints.choice import choice
from constrained_diffusion.constraints.json_schema.constraint import json_schema, schema_of, type_adapter
from constrained_diffusion.constraints.json_schema.formats import format_expression
from constrained_diffusion.constraints.regex import Regex, pattern_expression, regex
from constrained_diffusion.errors import ConstraintError, UnsupportedConstraint

_ANNOTATIONS: Final = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}


def line() -> Regex:
    """One line of text: at least one character, no line breaks or other controls.

    >>> line().matches("Ada Lovelace"), line().matches("a\\nb")
    (True, False)
    """
    return regex(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@final
class Plain(RegularConstraint):
    """The strings that a type can be read from, without quotes around them."""

    def __init__(self, type_: Any, expression: ex.Expression) -> None:
        self._type = type_
        self._adapter = type_adapter(type_)
        self._expression = expression

    @property
    def expression(self) -> ex.Expression:
        return self._expression

    def parse(self, text: str) -> Any:
        """The value of the type.

        Raises:
            ConstraintError: a validator of the type that no schema can express rejects the text.
        """
        try:
            return self._adapter.validate_python(text)
        except ValidationError as error:
            raise ConstraintError(f"the type's own validation rejects {text!r}: {error}") from error

    def __repr__(self) -> str:
        return f"plain({getattr(self._type, '__name__', self._type)})"


def plain(type_: Any) -> RegularConstraint:
    """A constraint for a type in running text.

    Raises:
        InvalidConstraint: it is no type.
        UnsupportedConstraint: it is a string with limits that are only enforced within JSON.
    """
    schema = schema_of(type_adapter(type_))
    resolved = _resolved(schema)
    if not _is_string(resolved):
        return json_schema(type_)
    return Plain(type_, _bare(resolved))


def _resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        found: Mapping[str, Any] = schema["$defs"][reference.removeprefix("#/$defs/")]
        return found
    return schema


def _is_string(schema: Mapping[str, Any]) -> bool:
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    return schema.get("type") == "string" and (listed is None or all(isinstance(value, str) for value in listed))


def _bare(schema: Mapping[str, Any]) -> ex.Expression:
    """The language of a string schema's values."""
    said = {key: value for key, value in schema.items() if key not in _ANNOTATIONS | {"type", "$defs"}}
    if "const" in said or "enum" in said:
        return choice([said["const"]] if "const" in said else said["enum"]).expression
    if set(said) == {"format"} and (expression := format_expression(said["format"])) is not None:
        return expression
    if set(said) == {"pattern"}:
        return pattern_expression(said["pattern"], dialect="ecma", search=True)
    if said:
        raise UnsupportedConstraint(
            f"{', '.join(sorted(said))} of a string is only enforced within JSON; give the slot a regular expression",
            construct=min(said),
        )
    return line().expression
