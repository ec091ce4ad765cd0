"""Fixed texts, and choices among them."""

from collections.abc import Iterable, Sequence
from typing import final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.marks import mark
from constrained_diffusion.checking import elements, shortened
from constrained_diffusion.constraints.base import Constraint, RegularConstraint, coerced
from constrained_diffusion.constraints.parts import Part
from constrained_diffusion.errors import InvalidConstraint


def utf8(text: str | bytes) -> bytes:
    """The text as valid UTF-8.

    Raises:
        InvalidConstraint: the bytes are not UTF-8, or the string holds half a surrogate pair.
    """
    try:
        return text.encode() if isinstance(text, str) else text.decode().encode()
    except UnicodeError as error:
        raise InvalidConstraint(f"{text!r} is not valid UTF-8 text: {error}") from error


@final
class Literal(RegularConstraint):
    """Exactly one text."""

    def __init__(self, text: str | bytes) -> None:
        if not isinstance(text, str | bytes):
            raise InvalidConstraint(f"literal() takes a string, met {type(text).__name__}: {text!r}")
        self.text = utf8(text)

    @property
    def expression(self) -> ex.Expression:
        return ex.literal(self.text)

    @property
    def has_fixed_parts(self) -> bool:
        return True

    def fixed_spans(self, text: bytes) -> list[tuple[int, int]]:
        return [(0, len(text))]

    def __repr__(self) -> str:
        return f"literal({shortened(self.text.decode())!r})"


@final
class Special(RegularConstraint):
    """One special token."""

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidConstraint(f"special() takes the name of a token, met {name!r}")
        self.name = utf8(name).decode()

    @property
    def expression(self) -> ex.Expression:
        return ex.literal(mark(self.name))

    def __repr__(self) -> str:
        return f"special({self.name!r})"


@final
class Choice(RegularConstraint):
    """One of several texts or constraints."""

    def __init__(self, options: Iterable[Constraint | str]) -> None:
        if isinstance(options, str | bytes):
            raise InvalidConstraint(
                f"choice() takes several options, met one string; did you mean choice([{options!r}])?"
            )
        self.options: Sequence[Constraint | str] = elements(options, "options", "a list of them", InvalidConstraint)
        if not self.options:
            raise InvalidConstraint("choice() of no options can never be met; give at least one")
        self._parts = [coerced(option) for option in self.options]
        self.warnings = tuple(dict.fromkeys(warning for part in self._parts for warning in part.warnings))

    @property
    def expression(self) -> ex.Expression:
        texts = [part.text for part in self._parts if isinstance(part, Literal)]
        others = [part.expression for part in self._parts if not isinstance(part, Literal)]
        return ex.union(ex.literals(texts), *others)

    @property
    def has_slots(self) -> bool:
        return any(part.has_slots for part in self._parts)

    def parts(self, text: bytes) -> tuple[Part, ...]:
        return next((part.parts(text) for part in self._parts if part.matches(text)), ())

    def __repr__(self) -> str:
        return f"choice({shortened(repr(self.options))})"


def literal(text: str | bytes) -> Literal:
    """Exactly this text.

    >>> literal("yes").matches("yes")
    True
    """
    return Literal(text)


def special(name: str) -> Special:
    """The special token of this name, such as ``<|channel>``; a token, not its letters, and no part of the text.

    An end token cannot be asked for.
    """
    return Special(name)


def choice(options: Iterable[Constraint | str]) -> Choice:
    """One of the options, each a text or a constraint.

    >>> choice(["Mon", "Tue"]).matches("Tue")
    True
    """
    return Choice(options)
