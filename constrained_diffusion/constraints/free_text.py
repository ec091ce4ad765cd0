"""Free text, up to a marker, and constrained parts between free ones."""

from typing import final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.checking import whole_number
from constrained_diffusion.constraints.base import Constraint, RegularConstraint
from constrained_diffusion.constraints.choice import Special, utf8
from constrained_diffusion.errors import InvalidConstraint


@final
class FreeText(RegularConstraint):
    """Any text in which a marker does not occur; nor, if it is to follow, occurs too early once it is put behind."""

    def __init__(self, until: bytes, *, is_followed: bool = True) -> None:
        self.until = until
        self.is_followed = is_followed

    @property
    def expression(self) -> ex.Expression:
        anything = ex.any_text()
        if not self.until:
            return anything
        marker = ex.literal(self.until)
        expression: ex.Expression = ex.Difference(anything, ex.Concatenation((anything, marker, anything)))
        for k in range(1, len(self.until)) if self.is_followed else ():
            overlap = self.until[:k]
            if (overlap + self.until).startswith(self.until):
                expression = ex.Difference(expression, ex.Concatenation((anything, ex.literal(overlap))))
        return expression

    def __repr__(self) -> str:
        return f"text(until={self.until.decode()!r})" if self.until else "text()"


def text(*, until: str | None = None) -> FreeText:
    """Any text; with ``until`` any text up to where the marker begins, without the marker.

    >>> before = text(until="<end>")
    >>> before.matches("all < well"), before.matches("to the <end>"), (before + "<end>").matches("to the <end>")
    (True, False, True)
    """
    if until is None:
        return FreeText(b"")
    if not isinstance(until, str) or not until:
        raise InvalidConstraint(f"until is {type(until).__name__} {until!r}; expected the text that ends the free one")
    return FreeText(utf8(until))


def tagged(
    begin: str | Special,
    content: Constraint | str,
    end: str | Special = "",
    *,
    at_least: int = 0,
    at_most: int | None = None,
) -> Constraint:
    """Free text in which every ``begin`` is followed by ``content`` and ``end``, so many times; free text behind.

    ``begin`` and ``end`` are texts, or special tokens (``cd.special``), which free text never holds. A text is read
    from the left: what begins within a tagged part, where its last letters are the first ones of ``begin``, is no other
    ``begin``. Where that would mislead a reader, choose an ``end`` whose last letters are others.

    Raises:
        InvalidConstraint: there is no ``begin``, or the numbers are out of range.

    >>> calls = tagged("<call>", "f(1)", "</call>", at_least=1)
    >>> calls.matches("Let me see. <call>f(1)</call> Done."), calls.matches("<call>f(2)</call>"), calls.matches("No.")
    (True, False, False)
    """
    if not isinstance(begin, str | Special) or not begin:
        raise InvalidConstraint(f"begin is {begin!r:.60}; expected the text that a tagged part begins with")
    whole_number(at_least, "at_least", InvalidConstraint, least=0)
    if at_most is not None:
        whole_number(at_most, "at_most", InvalidConstraint, least=at_least)
    if not isinstance(end, str | Special):
        raise InvalidConstraint(f"end is {end!r:.60}; expected the text that a tagged part ends with")
    before = text(until=begin) if isinstance(begin, str) else text()
    behind = FreeText(utf8(begin), is_followed=False) if isinstance(begin, str) else text()
    return (before + begin + content + end).repeat(at_least, at_most) + behind
