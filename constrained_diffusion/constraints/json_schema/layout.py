"""How values are put together in JSON: the space between tokens, arrays, objects, constants, any value."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.json_schema.spelling import NUMBER, any_string, number_spellings, spelled
from constrained_diffusion.limits import Limits

Whitespace = Literal["flexible", "compact", "spaced", "indented"]


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

    def constant(self, value: Any, *, float_forms: bool) -> ex.Expression:
        """The spellings of one JSON value, its members in their order.

        Args:
            float_forms: whether ``1`` may also be written ``1.0``.
        """
        if isinstance(value, str):
            return spelled(value)
        if isinstance(value, list):
            parts = [self.constant(item, float_forms=float_forms) for item in value]
            return self.array(self._listed(parts)) if parts else EMPTY_ARRAY
        if isinstance(value, dict):
            parts = [
                self.member(spelled(name), self.constant(item, float_forms=float_forms)) for name, item in value.items()
            ]
            return self.object(self._listed(parts)) if parts else EMPTY_OBJECT
        if value is None or isinstance(value, bool):
            return ex.literal({None: b"null", True: b"true", False: b"false"}[value])
        return ex.literals(text.encode() for text in number_spellings(value, int_form=True, float_form=float_forms))

    def _listed(self, parts: list[ex.Expression]) -> ex.Expression:
        separated = [piece for part in parts for piece in (self.comma, part)]
        return ex.Concatenation(tuple(separated[1:]))


EMPTY_ARRAY: Final = ex.literal(b"[]")
EMPTY_OBJECT: Final = ex.literal(b"{}")


def _layouts() -> dict[str, Layout]:
    space, line_break = ex.literal(b" "), ex.literal(b"\n")
    indented = ex.Concatenation((line_break, ex.Repetition(ex.Bytes(ex.byte_mask(b" \t")))))
    flexible = ex.Union((ex.EPSILON, space, indented))
    comma, colon = ex.literal(b","), ex.literal(b":")
    return {
        "flexible": Layout(
            flexible, flexible, ex.Concatenation((comma, flexible)), ex.Concatenation((colon, flexible))
        ),
        "compact": Layout(ex.EPSILON, ex.EPSILON, comma, colon),
        "spaced": Layout(ex.EPSILON, ex.EPSILON, ex.literal(b", "), ex.literal(b": ")),
        "indented": Layout(indented, indented, ex.Concatenation((comma, indented)), ex.literal(b": ")),
    }


LAYOUTS: Final = _layouts()


@final
@dataclass(frozen=True)
class Separated(ex.Expression):
    """``body`` once or more, with separators between; the one automaton of ``body`` serves every round."""

    body: ex.Expression
    separator: ex.Expression

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        before, behind = nfa.new_state(), nfa.new_state()
        nfa.add_empty(enter, before)
        self.body.add_to(nfa, before, behind)
        self.separator.add_to(nfa, behind, before)
        nfa.add_empty(behind, leave)


@final
@dataclass(frozen=True)
class Members(ex.Expression):
    """At least one of the members, in their order and separated; each stands for itself or, if not required, is absent.

    Attributes:
        members: the members, and whether each is required.
        extra: what may follow them any number of times.
    """

    members: tuple[tuple[ex.Expression, bool], ...]
    extra: ex.Expression | None
    separator: ex.Expression

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        fresh: int | None = enter
        used = nfa.new_state()
        for member, is_required in self.members:
            before, behind = self._before(nfa, fresh, used), nfa.new_state()
            member.add_to(nfa, before, behind)
            if is_required:
                fresh = None
            else:
                nfa.add_empty(used, behind)
            used = behind
        if self.extra is not None:
            self.extra.add_to(nfa, self._before(nfa, fresh, used), used)
        nfa.add_empty(used, leave)

    def _before(self, nfa: ex.NFA, fresh: int | None, used: int) -> int:
        """Where a member begins: at once if none came before it, else behind a separator."""
        before = nfa.new_state()
        if fresh is not None:
            nfa.add_empty(fresh, before)
        self.separator.add_to(nfa, used, before)
        return before


@final
@dataclass(frozen=True)
class Items(ex.Expression):
    """At least one item: the first ones each in its own way, then ``rest``; ``least`` to ``most`` in all, separated.

    ``most`` None is any number; else it is not below ``least`` or 1.
    """

    first: tuple[ex.Expression, ...]
    rest: ex.Expression
    least: int
    most: int | None
    separator: ex.Expression

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        first = self.first[: self.most]
        if not first and self.least <= 1 and self.most is None:
            Separated(self.rest, self.separator).add_to(nfa, enter, leave)
            return
        here = enter
        for count, item in enumerate(first or (self.rest,), start=1):
            before, behind = nfa.new_state(), nfa.new_state()
            (self.separator if count > 1 else ex.EPSILON).add_to(nfa, here, before)
            item.add_to(nfa, before, behind)
            if count >= self.least:
                nfa.add_empty(behind, leave)
            here = behind
        count = len(first) or 1
        if self.most is None or self.most > count:
            again = ex.Concatenation((self.separator, self.rest))
            more = ex.Repetition(again, max(self.least - count, 0), None if self.most is None else self.most - count)
            more.add_to(nfa, here, leave)


KEYWORD_VALUES: Final = ex.Union((ex.literal(b"null"), ex.literal(b"true"), ex.literal(b"false")))


@lru_cache(maxsize=32)
def any_value(depth: int, whitespace: Whitespace) -> ex.Expression:
    """Every JSON value that nests at most ``depth`` deep; a scalar or an empty container has depth 0."""
    scalar = ex.Union((any_string(), NUMBER, KEYWORD_VALUES, EMPTY_ARRAY, EMPTY_OBJECT))
    if depth == 0:
        return ex.Embedded(ex.compile_expression(scalar, Limits()))
    layout, inner = LAYOUTS[whitespace], any_value(depth - 1, whitespace)
    items = Separated(inner, layout.comma)
    members = Separated(layout.member(any_string(), inner), layout.comma)
    nested = ex.Union((scalar, layout.array(items), layout.object(members)))
    return ex.Embedded(ex.compile_expression(nested, Limits()))
