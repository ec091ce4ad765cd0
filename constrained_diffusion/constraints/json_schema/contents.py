"""Conditions on the characters of a string, before they are spelled in JSON."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import ByteDFA
from constrained_diffusion.automata.utf8 import ALL_CODE_POINTS
from constrained_diffusion.constraints.json_schema.formats import FORMATS, format_expression
from constrained_diffusion.constraints.regex import pattern_expression
from constrained_diffusion.limits import Limits


@final
@dataclass(frozen=True)
class Content:
    """One condition.

    Attributes:
        kind: ``"pattern"``: the string holds a match of the ECMA-262 pattern ``text``; ``"format"``: it is of the
            format ``text``; ``"literal"``: it is ``text``.
        is_negated: whether the opposite is meant.
    """

    kind: Literal["pattern", "format", "literal"]
    text: str
    is_negated: bool = False

    @property
    def negated(self) -> "Content":
        return replace(self, is_negated=not self.is_negated)

    @property
    def is_exact(self) -> bool:
        """Whether ``expression`` has every string that meets the condition."""
        return self.kind != "format" or self.text not in FORMATS or FORMATS[self.text].is_exact

    @property
    def expression(self) -> ex.Expression:
        """The strings that meet the condition, over UTF-8."""
        return _expression(self)

    def holds(self, string: str) -> bool:
        """Whether a string meets the condition; one with half a surrogate pair meets none."""
        try:
            return _automaton(self).matches(string.encode())
        except UnicodeEncodeError:
            return False


@lru_cache(maxsize=1024)
def _expression(content: Content) -> ex.Expression:
    if content.is_negated:
        return ex.Difference(ex.any_text(), content.negated.expression)
    if content.kind == "pattern":
        return pattern_expression(content.text, dialect="ecma", search=True)
    if content.kind == "literal":
        return ex.NOTHING if _has_lone_surrogate(content.text) else ex.literal(content.text.encode())
    expression = format_expression(content.text)
    return ex.any_text() if expression is None else expression


@lru_cache(maxsize=1024)
def _automaton(content: Content) -> ByteDFA:
    return ex.compile_expression(content.expression, Limits())


def _has_lone_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def conjunction(contents: Iterable[Content], least: int, most: int | None) -> ex.Expression:
    """The strings of ``least`` to ``most`` characters (None: no end) that meet all conditions, over UTF-8."""
    parts = [content.expression for content in contents]
    if least > 0 or most is not None or not parts:
        parts.append(ex.Repetition(ex.characters(ALL_CODE_POINTS), least, most))
    return parts[0] if len(parts) == 1 else ex.Intersection(tuple(parts))
