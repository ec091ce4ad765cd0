"""How values are put together in JSON: the space between tokens, arrays, objects, constants, any value."""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, Literal, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.pushdown import Grammar
from constrained_diffusion.constraints.grammar.reading import Source, read_grammar
from constrained_diffusion.constraints.json_schema.sequences import permutations
from constrained_diffusion.constraints.json_schema.spelling import NUMBER, any_string, number_spellings, spelled
from constrained_diffusion.constraints.regex import pattern_expression
from constrained_diffusion.limits import Limits

Whitespace = Literal["flexible", "compact", "spaced", "indented"]
Escapes = Literal["allow", "forbid"]


@final
@dataclass(frozen=True)
class Layout:
    """What stands between the tokens of JSON; before a comma or a colon, nothing ever does."""

    opened: ex.Expression
    """Behind the bracket that opens a container which is not empty."""
    closing: ex.Expression
    """Before the bracket that closes it."""
    comma: ex.Expression
    """A comma, and what stands behind it."""
    colon: ex.Expression
    """A colon, and what stands behind it."""

    def array(self, items: ex.Expression) -> ex.Expression:
        """A list of at least one item in brackets."""
        return ex.Concatenation((ex.literal(b"["), self.opened, items, self.closing, ex.literal(b"]")))

    def object(self, members: ex.Expression) -> ex.Expression:
        """A list of at least one member in braces."""
        return ex.Concatenation((ex.literal(b"{"), self.opened, members, self.closing, ex.literal(b"}")))

    def member(self, name: ex.Expression, value: ex.Expression) -> ex.Expression:
        return ex.Concatenation((name, self.colon, value))

    def constant(self, value: Any, *, float_forms: bool, max_places: int | None) -> ex.Expression:
        """The spellings of one JSON value.

        Args:
            float_forms: whether ``1`` may also be written ``1.0``.
            max_places: with a number, members may stand in any order, if that takes at most so many states.

        Raises:
            LimitExceeded: it takes more.
        """
        if isinstance(value, str):
            return spelled(value)
        if isinstance(value, list):
            parts = [self.constant(item, float_forms=float_forms, max_places=max_places) for item in value]
            return self.array(self._listed(parts)) if parts else EMPTY_ARRAY
        if isinstance(value, dict):
            parts = [
                self.member(spelled(name), self.constant(item, float_forms=float_forms, max_places=max_places))
                for name, item in value.items()
            ]
            if not parts:
                return EMPTY_OBJECT
            return self.object(
                self._listed(parts) if max_places is None else permutations(parts, self.comma, max_places)
            )
        if value is None or isinstance(value, bool):
            return ex.literal({None: b"null", True: b"true", False: b"false"}[value])
        return ex.literals(text.encode() for text in number_spellings(value, int_form=True, float_form=float_forms))

    def _listed(self, parts: list[ex.Expression]) -> ex.Expression:
        separated = [piece for part in parts for piece in (self.comma, part)]
        return ex.Concatenation(tuple(separated[1:]))


EMPTY_ARRAY: Final = ex.literal(b"[]")
EMPTY_OBJECT: Final = ex.literal(b"{}")


_FLEXIBLE, _INDENTED = r"(?: |\n[ \t]*)?", r"\n[ \t]*"
_SPACES: Final[dict[Whitespace, tuple[str, str, str]]] = {
    "flexible": (_FLEXIBLE, _FLEXIBLE, _FLEXIBLE),
    "compact": ("", "", ""),
    "spaced": ("", " ", " "),
    "indented": (_INDENTED, _INDENTED, " "),
}
"""Patterns of the space inside brackets, behind a comma and behind a colon."""


def _layout(inside: str, comma: str, colon: str) -> Layout:
    enclosed, comma_space, colon_space = (
        pattern_expression(pattern, dialect="python", search=False) for pattern in (inside, comma, colon)
    )
    return Layout(
        enclosed,
        enclosed,
        ex.Concatenation((ex.literal(b","), comma_space)),
        ex.Concatenation((ex.literal(b":"), colon_space)),
    )


LAYOUTS: Final = {whitespace: _layout(*patterns) for whitespace, patterns in _SPACES.items()}


@final
@dataclass(frozen=True)
class Separated(ex.Expression):
    """``body`` once or more, with separators between; the one automaton of ``body`` serves every round."""

    body: ex.Expression
    separator: ex.Expression

    @property
    def inner(self) -> tuple[ex.Expression, ...]:
        return (self.body, self.separator)

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        before, behind = nfa.new_state(), nfa.new_state()
        nfa.add_empty(enter, before)
        self.body.add_to(nfa, before, behind)
        self.separator.add_to(nfa, behind, before)
        nfa.add_empty(behind, leave)


KEYWORD_VALUES: Final = ex.Union((ex.literal(b"null"), ex.literal(b"true"), ex.literal(b"false")))


_SCALAR: Final = ex.Union((any_string(), NUMBER, KEYWORD_VALUES, EMPTY_ARRAY, EMPTY_OBJECT))


def _any_with(inner: ex.Expression, layout: Layout) -> ex.Expression:
    """Scalars, empty containers, and arrays and objects of what is inside."""
    items = Separated(inner, layout.comma)
    members = Separated(layout.member(any_string(), inner), layout.comma)
    return ex.Union((_SCALAR, layout.array(items), layout.object(members)))


@lru_cache(maxsize=32)
def any_value(depth: int, whitespace: Whitespace) -> ex.Expression:
    """Every JSON value that nests at most ``depth`` deep; a scalar or an empty container has depth 0."""
    nested = _any_with(any_value(depth - 1, whitespace), LAYOUTS[whitespace]) if depth else _SCALAR
    return ex.Embedded(ex.compile_expression(nested, Limits()))


@lru_cache(maxsize=8)
def any_definition(whitespace: Whitespace, escapes: Escapes) -> ex.Definition:
    """Every JSON value."""
    definition = ex.Definition("any JSON")
    definition.body = with_escapes(escapes, _any_with(ex.Call(definition), LAYOUTS[whitespace]))
    definition.as_grammar = lru_cache(partial(_any_grammar, whitespace, escapes))
    return definition


def with_escapes(escapes: Escapes, expression: ex.Expression) -> ex.Expression:
    """The texts without a backslash, unless escapes are allowed: it stands nowhere in JSON but in strings."""
    return expression if escapes == "allow" else ex.Without(expression, 1 << 0x5C)


_NO_SURROGATE: Final = "(?:[0-9a-cA-CefEF][0-9a-fA-F]|[dD][0-7])[0-9a-fA-F]{2}"
_PAIR: Final = r"[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE: Final = r"|\\(?:[\"\\\/bfnrt]|u(?:" + _NO_SURROGATE + "|" + _PAIR + "))"
_ANY: Final = r"""
start: value
value: STRING | NUMBER | "null" | "true" | "false" | EMPTY | array | object
array: LIST value (COMMA value)* LIST_END
object: OBJECT member (COMMA member)* OBJECT_END
member: STRING COLON value
EMPTY.2: "[]" | "{{}}"
LIST: /\[{inside}/
LIST_END: /{inside}\]/
OBJECT: /\{{{inside}/
OBJECT_END: /{inside}\}}/
COMMA: /,{comma}/
COLON: /:{colon}/
STRING: /"(?:[^"\\\x00-\x1f]{escape})*"/
NUMBER: /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/
"""


def _any_grammar(whitespace: Whitespace, escapes: Escapes) -> Grammar:
    """The parser of every JSON value."""
    inside, comma, colon = _SPACES[whitespace]
    escape = _ESCAPE if escapes == "allow" else ""
    source = _ANY.format(inside=inside, comma=comma, colon=colon, escape=escape)
    return read_grammar(Source(source, None), "start", Limits())
