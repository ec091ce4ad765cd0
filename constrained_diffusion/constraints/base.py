"""The type of every constraint, and the algebra on regular ones."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import ByteAutomaton, ByteDFA
from constrained_diffusion.checking import whole_number
from constrained_diffusion.errors import InvalidConstraint, UnsupportedConstraint
from constrained_diffusion.limits import Limits


class Constraint(ABC):
    """A description of a language of UTF-8 texts. Knows nothing of tokens or models.

    Constraints combine: ``a + b`` is a text of one behind a text of the other, ``a | b``
    either, ``a & b`` both at once, ``~a`` any valid UTF-8 text that is not in ``a``. A plain
    string stands for itself.
    """

    warnings: tuple[str, ...] = ()
    """What is accepted but not enforced."""

    @abstractmethod
    def automaton(self, limits: Limits = Limits()) -> ByteAutomaton:
        """The acceptor of the language.

        Raises:
            LimitExceeded: it would grow beyond ``limits``.
        """

    def parse(self, text: str) -> Any:
        """The value that a text of the language stands for; the text itself unless a subclass knows better."""
        return text

    def matches(self, text: str | bytes) -> bool:
        """Whether the whole text is in the language."""
        if not isinstance(text, str | bytes):
            raise InvalidConstraint(f"matches() takes a string or bytes, met {type(text).__name__}: {text!r}")
        # Half a surrogate pair has no UTF-8, and its bytes are in no language.
        spelled = text.encode(errors="surrogatepass") if isinstance(text, str) else text
        return self._default_automaton.matches(spelled)

    @cached_property
    def _default_automaton(self) -> ByteAutomaton:
        return self.automaton()

    def __add__(self, other: "Constraint | str") -> "Constraint":
        return _combined("+", ex.concatenation, self, other)

    def __radd__(self, other: str) -> "Constraint":
        return _combined("+", ex.concatenation, other, self)

    def __or__(self, other: "Constraint | str") -> "Constraint":
        return _combined("|", ex.union, self, other)

    def __ror__(self, other: str) -> "Constraint":
        return _combined("|", ex.union, other, self)

    def __and__(self, other: "Constraint | str") -> "Constraint":
        return _combined("&", lambda *parts: ex.Intersection(parts), self, other)

    def __rand__(self, other: str) -> "Constraint":
        return _combined("&", lambda *parts: ex.Intersection(parts), other, self)

    def __invert__(self) -> "Constraint":
        return _combined("~", lambda part: ex.Difference(ex.any_text(), part), self)

    def repeat(self, min: int = 0, max: int | None = None) -> "Constraint":
        """``min`` to ``max`` texts of this language in a row; ``max`` None is any number.

        >>> import constrained_diffusion as cd
        >>> cd.regex("[ab]").repeat(2, 3).matches("aba")
        True
        """
        least = whole_number(min, "min", InvalidConstraint, least=0)
        if max is not None and whole_number(max, "max", InvalidConstraint) < least:
            raise InvalidConstraint(f"repeat({min}, {max}): expected 0 <= min <= max; pass max=None for any number")
        return _combined(f"repeat({min}, {max})", lambda part: ex.Repetition(part, min, max), self)

    def optional(self) -> "Constraint":
        """A text of this language, or nothing."""
        return self.repeat(0, 1)


class RegularConstraint(Constraint):
    """A constraint whose language is regular: it compiles to a minimal finite automaton."""

    @property
    @abstractmethod
    def expression(self) -> ex.Expression:
        """The language as a regular expression over bytes."""

    def automaton(self, limits: Limits = Limits()) -> ByteDFA:
        return ex.compile_expression(self.expression, limits)


class RecursiveConstraint(Constraint):
    """A constraint whose language is context-free: it compiles to a pushdown automaton."""

    @abstractmethod
    def intersected(self, other: RegularConstraint) -> "RecursiveConstraint":
        """The texts of this language that are also in a regular one."""


@final
class Combined(RegularConstraint):
    """The result of the algebra."""

    def __init__(self, expression: ex.Expression, description: str, warnings: tuple[str, ...]) -> None:
        self._expression = expression
        self._description = description
        self.warnings = warnings

    @property
    def expression(self) -> ex.Expression:
        return self._expression

    def __repr__(self) -> str:
        return self._description


def coerced(value: object) -> RegularConstraint:
    """The value as a regular constraint; a string stands for itself.

    Raises:
        InvalidConstraint: it is neither a string nor a constraint.
        UnsupportedConstraint: it is a constraint, but not a regular one.
    """
    from constrained_diffusion.constraints.choice import literal

    if isinstance(value, RegularConstraint):
        return value
    if isinstance(value, str | bytes):
        return literal(value)
    if isinstance(value, Constraint):
        raise UnsupportedConstraint(
            f"{value!r} is not regular; only regular constraints can be combined", construct=type(value).__name__
        )
    raise InvalidConstraint(f"met {type(value).__name__}, expected a constraint or a string: {value!r}")


def _combined_with_recursive(
    symbol: str, recursive: "list[RecursiveConstraint]", operands: "tuple[Constraint | str, ...]"
) -> Constraint:
    """A grammar combined with regular constraints.

    Raises:
        UnsupportedConstraint: the result cannot be enforced, such as the intersection of two grammars.
    """
    if symbol == "&" and len(recursive) == 1:
        others = [coerced(operand) for operand in operands if operand is not recursive[0]]
        return recursive[0].intersected(others[0])
    names = f" {symbol} ".join(repr(operand) for operand in operands)
    raise UnsupportedConstraint(
        f"{names}: {recursive[0]!r} is not regular, and can only be combined by & with a regular constraint; write the "
        f"other parts into the grammar",
        construct=f"{type(recursive[0]).__name__} {symbol}",
    )


def _combined(symbol: str, build: Any, *operands: "Constraint | str") -> Constraint:
    recursive = [operand for operand in operands if isinstance(operand, RecursiveConstraint)]
    if recursive:
        return _combined_with_recursive(symbol, recursive, operands)
    parts = [coerced(operand) for operand in operands]
    names = [repr(part) for part in parts]
    description = f"({f' {symbol} '.join(names)})" if len(names) > 1 else f"{names[0]}.{symbol}"
    if symbol == "~":
        description = f"~{names[0]}"
    warnings = tuple(dict.fromkeys(warning for part in parts for warning in part.warnings))
    return Combined(build(*(part.expression for part in parts)), description, warnings)
