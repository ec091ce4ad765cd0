"""Tool calls: free text with calls of known functions, their arguments of the functions' schemas."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Final, Literal, final, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.marks import shown
from constrained_diffusion.checking import elements, instance_of, shortened, whole_number
from constrained_diffusion.constraints.base import Constraint, RegularConstraint, coerced
from constrained_diffusion.constraints.choice import Special
from constrained_diffusion.constraints.free_text import text
from constrained_diffusion.constraints.gemma_syntax import GemmaValue
from constrained_diffusion.constraints.json_schema import JsonSchema, json_schema
from constrained_diffusion.constraints.template import Slot, Template
from constrained_diffusion.errors import ConstraintError, InvalidConstraint

Syntax = Literal["json", "gemma"]
_TAGS: Final[Mapping[str, tuple[str | Special, str | Special]]] = {
    "json": ("<tool_call>", "</tool_call>"),
    "gemma": (Special("<|tool_call>"), Special("<tool_call|>")),
}


@final
@dataclass(frozen=True)
class Call:
    """A call that a text asks for; ``arguments`` are values of the function's types, as far as the text names them."""

    name: str
    arguments: Mapping[str, Any]


@final
@dataclass(frozen=True)
class Tool:
    """A function that may be called, and the object of its arguments."""

    name: str
    arguments: JsonSchema
    syntax: Syntax

    @property
    def call(self) -> Template:
        """A call, with a slot for the arguments."""
        if self.syntax == "gemma":
            return Template([b"call:" + self.name.encode(), Slot(self.name, GemmaValue(self.arguments))])
        begin = f'{{"name": {json.dumps(self.name)}, "arguments": '
        return Template([begin.encode(), Slot(self.name, self.arguments), b"}"])


@final
class Tools(RegularConstraint):
    """Free text and calls between tags; made by ``tools``. The value of a text is the list of its calls."""

    def __init__(
        self, tools: Sequence[Tool], at_least: int, at_most: int | None, begin: str | Special, end: str | Special
    ) -> None:
        self.tools = {tool.name: tool for tool in tools}
        self.warnings = tuple(dict.fromkeys(w for tool in tools for w in tool.arguments.warnings))
        self._free: Constraint = text(until=begin) if isinstance(begin, str) else text()
        self._before_call = self._free + begin
        calls: list[Constraint] = [tool.call for tool in tools]
        self._call = reduce(or_, calls) + end
        self._whole = coerced((self._before_call + self._call).repeat(at_least, at_most) + self._free)

    @property
    def expression(self) -> ex.Expression:
        return self._whole.expression

    def parse(self, text: str) -> list[Call]:
        """The calls of a text whose tags are text.

        Raises:
            ConstraintError: the text is not in the language, or a validator of a type rejects an argument.
        """
        return self.value(text.encode())

    def value(self, content: bytes) -> list[Call]:
        if not self.matches(content):
            raise ConstraintError(f"{shown(content)!r} is not a text with calls of {', '.join(self.tools)}")
        calls: list[Call] = []
        while not self._free.matches(content):
            begin = self._before_call.default_automaton.ends(content)[0]
            end = self._call.default_automaton.ends(content, begin)[0]
            calls.append(self._read(content[begin:end]))
            content = content[end:]
        return calls

    def _read(self, call: bytes) -> Call:
        (part,) = self._call.parts(call)
        arguments = part.constraint.value(call[part.begin : part.end])
        fields = arguments.model_fields_set if isinstance(arguments, BaseModel) else arguments
        values = dict(arguments)
        return Call(part.name, {name: values[name] for name in values if name in fields})

    def __repr__(self) -> str:
        return f"tools([{shortened(', '.join(self.tools))}])"


def tools(
    tools: Sequence[Callable[..., Any] | Mapping[str, Any]],
    *,
    choice: str = "auto",
    at_most: int | None = None,
    syntax: Syntax = "json",
    begin: str | Special | None = None,
    end: str | Special | None = None,
) -> Tools:
    """Free text with calls of functions, each between tags.

    The value of a text is the list of its ``Call``s, their arguments validated.

    Args:
        tools: functions with annotated parameters, or mappings with ``name`` and ``parameters`` (a JSON Schema), as
            such or under ``function``.
        choice: ``"auto"``: any number of calls; ``"required"``: at least one; ``"none"``: none; or the name of a
            tool, which is then called exactly once.
        at_most: calls at most.
        syntax: ``"json"``: ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``; ``"gemma"``:
            ``call:name{key:...}`` between the special tokens ``<|tool_call>`` and ``<tool_call|>``, strings between the
            token ``<|"|>``, as Gemma 4 and DiffusionGemma write calls.
        begin, end: other tags: texts, or special tokens (``cd.special``).

    Raises:
        InvalidConstraint: a tool is malformed, two have one name, or ``choice`` names none.
        UnsupportedConstraint: a schema cannot be enforced.

    >>> def weather(city: str, days: int = 1) -> str: ...
    >>> calls = tools([weather], choice="required")
    >>> calls.parse('Let me look. <tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>')
    [Call(name='weather', arguments={'city': 'Rome'})]
    """
    if not isinstance(syntax, str) or syntax not in _TAGS:
        raise InvalidConstraint(f"met syntax={syntax!r}; expected one of {', '.join(_TAGS)}")
    known = [_tool(tool, syntax) for tool in elements(tools, "tools", "a list of tools", InvalidConstraint)]
    tags = _TAGS[syntax]
    begin, end = _tag("begin", begin, tags[0]), _tag("end", end, tags[1])
    names = [tool.name for tool in known]
    if not known or len(set(names)) < len(names):
        raise InvalidConstraint(f"met tools called {names}; expected at least one, and each name once")
    if at_most is not None:
        whole_number(at_most, "at_most", InvalidConstraint, least=0)
    if at_most is not None and (choice not in ("auto", "required") or at_most < (choice == "required")):
        raise InvalidConstraint(f"at_most={at_most!r} does not go with choice={choice!r}")
    if choice in names:
        return Tools([known[names.index(choice)]], 1, 1, begin, end)
    if choice not in ("auto", "required", "none"):
        raise InvalidConstraint(f"met choice={choice!r}; expected auto, required, none, or one of {', '.join(names)}")
    return Tools(known, int(choice == "required"), 0 if choice == "none" else at_most, begin, end)


def _tag(name: str, given: str | Special | None, usual: str | Special) -> str | Special:
    if given is not None:
        instance_of(given, (str, Special), name, InvalidConstraint)
        if not given:
            raise InvalidConstraint(f"{name} is empty; expected the text or the special token that a call {name}s with")
    return usual if given is None else given


def _tool(tool: Callable[..., Any] | Mapping[str, Any], syntax: Syntax) -> Tool:
    if isinstance(tool, Mapping):
        described = tool.get("function", tool)
        if not isinstance(described, Mapping) or not isinstance(described.get("name"), str):
            raise InvalidConstraint(f"met the tool {tool!r}; expected a mapping with name and parameters")
        if not described["name"]:
            raise InvalidConstraint(f"met the tool {tool!r}, whose name is empty")
        return Tool(described["name"], _arguments(_object_schema(described), syntax), syntax)
    if not callable(tool) or not hasattr(tool, "__name__"):
        raise InvalidConstraint(f"met the tool {tool!r}; expected a function, or a mapping with name and parameters")
    return Tool(tool.__name__, _arguments(_parameters(tool), syntax), syntax)


def _arguments(schema_or_type: Any, syntax: Syntax) -> JsonSchema:
    return json_schema(schema_or_type, whitespace="compact" if syntax == "gemma" else "flexible")


def _object_schema(described: Mapping[str, Any]) -> Any:
    """The schema of a tool's arguments: they are an object, whether it says so or not."""
    parameters = described.get("parameters", _NO_PARAMETERS)
    if isinstance(parameters, type) and issubclass(parameters, BaseModel):
        return parameters
    if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
        raise InvalidConstraint(
            f"the tool {described['name']!r} has the parameters {parameters!r:.100}; expected a JSON Schema of an "
            f"object, such as {{'type': 'object', 'properties': {{...}}}}"
        )
    return {**parameters, "type": "object"}


_NO_PARAMETERS: Final[dict[str, Any]] = {"type": "object", "properties": {}, "additionalProperties": False}


def _parameters(function: Callable[..., Any]) -> type[BaseModel]:
    """A model of a function's parameters."""
    try:
        hints, parameters = get_type_hints(function), inspect.signature(function).parameters
    except (NameError, TypeError, ValueError) as error:
        raise InvalidConstraint(f"the types of {function.__name__}() cannot be resolved: {error}") from error
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise InvalidConstraint(f"{function.__name__}() has the parameter {parameter}; expected named ones only")
        if name not in hints:
            raise InvalidConstraint(f"the parameter {name} of {function.__name__}() has no type; annotate it")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints[name], default)
    unfit = [name for name in fields if name.startswith(("_", "model_")) or hasattr(BaseModel, name)]
    if unfit:
        raise InvalidConstraint(
            f"{function.__name__}() has a parameter called {unfit[0]}, which pydantic keeps for itself; rename it, or "
            f"describe the function by a mapping"
        )
    return create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)
