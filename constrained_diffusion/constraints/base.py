"""The type of every constraint, and the algebra on regular ones."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeGuard, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.acceptors import acceptor
from constrained_diffusion.automata.byte_automaton import ByteAutomaton
from constrained_diffusion.automata.marks import marked_names, shown, without_marks
from constrained_diffusion.checking import instance_of, whole_number
from constrained_diffusion.constraints.explaining import explanation
from constrained_diffusion.constraints.parts import Part, split, split_repeated
from constrained_diffusion.constraints.repairing import nearest
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

    def value(self, content: bytes) -> Any:
        """As ``parse``, from bytes in which special tokens are marked."""
        return self.parse(without_marks(content).decode())

    def parts(self, text: bytes) -> tuple[Part, ...]:
        """The slots of a text of the language, in order; none unless a part of the constraint is a template."""
        return ()

    @property
    def has_slots(self) -> bool:
        """Whether ``parts`` can find any."""
        return False

    def fixed_spans(self, text: bytes) -> list[tuple[int, int]]:
        """Which bytes of a text of the language are the same in all of its texts, as (begin, end)."""
        return []

    @property
    def has_fixed_parts(self) -> bool:
        """Whether ``fixed_spans`` can find any."""
        return False

    @property
    def why_empty(self) -> str:
        """For a message about a language without texts: what is at fault."""
        return "its parts contradict each other"

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The names of the slots whose texts can be given by ``fixed``."""
        return ()

    def slot_texts(self, name: str, limit: int) -> list[bytes] | None:
        """All texts of a slot in byte order; None if there are more than ``limit``."""
        raise KeyError(name)

    def fixed(self, values: Mapping[str, str]) -> "Constraint":
        """The constraint with the texts of some slots given; the same object for the same texts."""
        return self

    def matches(self, text: str | bytes) -> bool:
        """Whether the whole text is in the language."""
        if not isinstance(text, str | bytes):
            raise InvalidConstraint(f"matches() takes a string or bytes, met {type(text).__name__}: {text!r}")
        # Half a surrogate pair has no UTF-8, and its bytes are in no language.
        spelled = text.encode(errors="surrogatepass") if isinstance(text, str) else text
        return self.default_automaton.matches(spelled)

    def explain(self, text: str | bytes) -> str | None:
        """Where a text leaves the language, what was expected there, and the nearest text that does not; None if it
        is in the language.

        >>> import constrained_diffusion as cd
        >>> print(cd.regex("[0-9]{3}-[a-z]+").explain("12-abc"))
        1:3: met '-', expected '0' to '9'
          12-abc
            ^
        one edit makes it '120-abc'
        """
        content = text.encode(errors="surrogatepass") if isinstance(text, str) else text
        if self.matches(content):
            return None
        found = nearest(self.default_automaton, content)
        described = explanation(self.default_automaton, content)
        if found is None:
            return described
        edits = "one edit makes" if found[0] == 1 else f"{found[0]} edits make"
        names = marked_names(found[1])
        tokens = f", where {', '.join(names)} stands for a special token, not for its letters" if names else ""
        return f"{described}\n{edits} it {shown(found[1])!r}{tokens}"

    @cached_property
    def default_automaton(self) -> ByteAutomaton:
        """The acceptor under the default limits."""
        return self.automaton()

    def __add__(self, other: "Constraint | str") -> "Constraint":
        return _combined(_ROW, self, other)

    def __radd__(self, other: str) -> "Constraint":
        return _combined(_ROW, other, self)

    def __or__(self, other: "Constraint | str") -> "Constraint":
        return _combined(_EITHER, self, other)

    def __ror__(self, other: str) -> "Constraint":
        return _combined(_EITHER, other, self)

    def __and__(self, other: "Constraint | str") -> "Constraint":
        return _combined(_BOTH, self, other)

    def __rand__(self, other: str) -> "Constraint":
        return _combined(_BOTH, other, self)

    def __invert__(self) -> "Constraint":
        return _combined(_NOT, self)

    def repeat(self, min: int = 0, max: int | None = None) -> "Constraint":
        """``min`` to ``max`` texts of this language in a row; ``max`` None is any number.

        >>> import constrained_diffusion as cd
        >>> cd.regex("[ab]").repeat(2, 3).matches("aba")
        True
        """
        least = whole_number(min, "min", InvalidConstraint, least=0)
        if max is not None and whole_number(max, "max", InvalidConstraint) < least:
            raise InvalidConstraint(f"repeat({min}, {max}): expected 0 <= min <= max; pass max=None for any number")
        return _combined(
            Operation(f".repeat({min}, {max})", lambda part: ex.Repetition(part, min, max), _repeated(min, max)), self
        )

    def optional(self) -> "Constraint":
        """A text of this language, or nothing."""
        return self.repeat(0, 1)


class RegularConstraint(Constraint):
    """A constraint given by a regular expression over bytes: it compiles to a minimal finite automaton.

    One whose expression calls definitions, as that of a grammar or of a JSON Schema that refers to itself does,
    compiles to a pushdown automaton; it combines like the others, but for ``~``, and ``&`` with another such one.
    """

    @property
    @abstractmethod
    def expression(self) -> ex.Expression:
        """The language as a regular expression over bytes, and over definitions that it calls."""

    @cached_property
    def is_recursive(self) -> bool:
        """Whether its texts may nest to any depth."""
        return ex.may_call(self.expression)

    def automaton(self, limits: Limits = Limits()) -> ByteAutomaton:
        instance_of(limits, Limits, "limits", InvalidConstraint)
        try:
            return acceptor(self.expression, limits)
        except RecursionError as error:
            raise InvalidConstraint(
                f"{self!r} is nested too deep to be compiled; combine it of fewer levels: a + b + c and a | b | c are "
                f"one level, however many there are"
            ) from error


Places = Callable[[bytes, Sequence[RegularConstraint]], list[tuple[RegularConstraint, int, int]]]
"""Tells which operands have a say in which bytes of a text."""


@final
@dataclass(frozen=True)
class Operation:
    """An operation of the algebra: its symbol, the language that it makes, and where its operands stand in a text."""

    symbol: str
    build: Callable[..., ex.Expression]
    place: Places


@final
class Combined(RegularConstraint):
    """The result of the algebra. What one operation makes in a row is one constraint, however long the row."""

    def __init__(self, operation: Operation, operands: Sequence[RegularConstraint]) -> None:
        self.operation = operation
        self.operands: tuple[RegularConstraint, ...] = tuple(
            part for operand in operands for part in (operand.operands if _continues(operand, operation) else [operand])
        )
        self._fixed: dict[tuple[tuple[str, str], ...], Combined] = {}
        self.warnings = tuple(dict.fromkeys(warning for part in operands for warning in part.warnings))
        # Known from the operands: a row that grows by one operand at a time is not looked through anew each time.
        self.is_recursive = any(operand.is_recursive for operand in operands)

    @property
    def why_empty(self) -> str:
        empty = next((operand for operand in self.operands if operand.default_automaton.is_empty), None)
        if empty is None or not self._has_places:
            return super().why_empty
        return f"{empty!r} has none, since {empty.why_empty}"

    @property
    def has_fixed_parts(self) -> bool:
        return self._has_places and any(operand.has_fixed_parts for operand in self.operands)

    @property
    def _has_places(self) -> bool:
        """Whether every operand stands somewhere in every text."""
        return self.operation.place in (_in_a_row, _all_of)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Those that stand in one operand of a row or an intersection: only there is the answer one event."""
        names = [name for operand in self.operands for name in operand.slot_names] if self._has_places else []
        return tuple(name for name in dict.fromkeys(names) if names.count(name) == 1)

    def slot_texts(self, name: str, limit: int) -> list[bytes] | None:
        owner = next(operand for operand in self.operands if name in operand.slot_names)
        return owner.slot_texts(name, limit)

    def fixed(self, values: Mapping[str, str]) -> Constraint:
        key = tuple(sorted(values.items()))
        if key not in self._fixed:
            operands = [coerced(operand.fixed(values)) for operand in self.operands]
            self._fixed[key] = Combined(self.operation, operands)
        return self._fixed[key]

    @property
    def has_slots(self) -> bool:
        return any(operand.has_slots for operand in self.operands)

    def parts(self, text: bytes) -> tuple[Part, ...]:
        if not self.has_slots:
            return ()
        return tuple(
            part.moved(begin)
            for operand, begin, end in self.operation.place(text, self.operands)
            for part in operand.parts(text[begin:end])
        )

    def fixed_spans(self, text: bytes) -> list[tuple[int, int]]:
        if not self.has_fixed_parts:
            return []
        return [
            (begin + a, begin + b)
            for operand, begin, end in self.operation.place(text, self.operands)
            for a, b in operand.fixed_spans(text[begin:end])
        ]

    @cached_property
    def expression(self) -> ex.Expression:
        return self.operation.build(*(operand.expression for operand in self.operands))

    def __repr__(self) -> str:
        return self._described(depth=0)

    def _described(self, depth: int) -> str:
        if depth == _DEEPEST_SHOWN:
            return "(...)"
        names = [
            operand._described(depth + 1) if isinstance(operand, Combined) else repr(operand)
            for operand in self._outer_operands
        ]
        if len(names) < len(self.operands):
            names.insert(-1, "...")
        symbol = self.operation.symbol
        if len(names) == 1:
            return f"~{names[0]}" if self.operation == _NOT else f"{names[0]}{symbol}"
        return f"({f' {symbol} '.join(names)})"

    @property
    def _outer_operands(self) -> tuple[RegularConstraint, ...]:
        """The operands, those in the middle of a long row left out."""
        is_long = len(self.operands) > _MOST_SHOWN
        return (*self.operands[: _MOST_SHOWN - 1], self.operands[-1]) if is_long else self.operands


_MOST_SHOWN: Final = 8
"""Operands in the ``repr`` of a row."""
_DEEPEST_SHOWN: Final = 8
"""Operations within each other in a ``repr``."""


def _continues(operand: RegularConstraint, operation: Operation) -> TypeGuard[Combined]:
    """Whether the operand is of a row of the same operation."""
    return isinstance(operand, Combined) and operand.operation is operation and operation in (_ROW, _EITHER, _BOTH)


def excluding(constraint: Constraint, contents: Sequence[bytes]) -> Constraint:
    """The constraint without some texts, special tokens marked in them."""

    def build(expression: ex.Expression) -> ex.Expression:
        others = ex.Difference(ex.Repetition(ex.Bytes(ex.range_mask(0, 255))), ex.literals(contents))
        return ex.Intersection((expression, others))

    return Combined(Operation(f" without {len(contents)} texts", build, _all_of), [coerced(constraint)])


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


def _nowhere(text: bytes, operands: Sequence[RegularConstraint]) -> list[tuple[RegularConstraint, int, int]]:
    return []


def _in_a_row(text: bytes, operands: Sequence[RegularConstraint]) -> list[tuple[RegularConstraint, int, int]]:
    spans = split(text, [operand.default_automaton for operand in operands]) or []
    return [(operand, *span) for operand, span in zip(operands, spans, strict=False)]


def _repeated(least: int, most: int | None) -> Places:
    """Each of the texts in a row is one of the only operand."""

    def places(text: bytes, operands: Sequence[RegularConstraint]) -> list[tuple[RegularConstraint, int, int]]:
        spans = split_repeated(text, operands[0].default_automaton, least, most) or []
        return [(operands[0], *span) for span in spans]

    return places


def _first_of(text: bytes, operands: Sequence[RegularConstraint]) -> list[tuple[RegularConstraint, int, int]]:
    return _all_of(text, [operand for operand in operands if operand.matches(text)][:1])


def _all_of(text: bytes, operands: Sequence[RegularConstraint]) -> list[tuple[RegularConstraint, int, int]]:
    return [(operand, 0, len(text)) for operand in operands]


def _check_combination(symbol: str, parts: list[RegularConstraint]) -> None:
    """
    Raises:
        UnsupportedConstraint: parts that nest to any depth are combined in a way that only regular ones can be.
    """
    recursive = [part for part in parts if part.is_recursive]
    if symbol == "~" and recursive:
        raise UnsupportedConstraint(
            f"~{recursive[0]!r}: the complement of a language that nests to any depth cannot be enforced; bound the "
            f"depth of a schema (any_depth=2)",
            construct="complement of a recursive constraint",
        )
    if symbol != "&":
        for part in recursive:
            check_nestable(part, symbol)
    elif len(recursive) > 1:
        raise _two_recursive(*recursive[:2])


def _two_recursive(first: Constraint, second: Constraint) -> UnsupportedConstraint:
    return UnsupportedConstraint(
        f"{first!r} & {second!r}: both nest to any depth, and two such languages cannot hold for one text; bound the "
        f"depth of a schema (any_depth=2)",
        construct="intersection of recursive constraints",
    )


def check_nestable(part: RegularConstraint, place: str) -> None:
    """
    Raises:
        UnsupportedConstraint: the constraint nests to any depth and is intersected with another one, so that it can
            only be the whole constraint.
    """
    if part.is_recursive and isinstance(part.expression, ex.Intersection | ex.Continuation):
        raise UnsupportedConstraint(
            f"{part!r} nests to any depth and is intersected with a regular constraint, so it cannot be a part of "
            f"another one (met in {place}); intersect the whole instead, or bound the depth of a schema (any_depth=2)",
            construct="intersection of a recursive part",
        )


_ROW: Final = Operation("+", ex.concatenation, _in_a_row)
_EITHER: Final = Operation("|", ex.union, _first_of)
_BOTH: Final = Operation("&", lambda *parts: ex.Intersection(parts), _all_of)
_NOT: Final = Operation("~", lambda part: ex.Difference(ex.any_text(), part), _nowhere)


def _combined(operation: Operation, *operands: "Constraint | str") -> Constraint:
    parts = [coerced(operand) for operand in operands]
    _check_combination(operation.symbol, parts)
    return Combined(operation, parts)
