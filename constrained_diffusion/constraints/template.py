"""Fixed text with slots: the fixed parts stay byte for byte, their positions float with what fills the slots."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.acceptors import acceptor
from constrained_diffusion.automata.byte_automaton import ByteAutomaton, ByteDFA
from constrained_diffusion.automata.marks import has_mark_bytes, shown
from constrained_diffusion.checking import instance_of, shortened
from constrained_diffusion.constraints.base import Constraint, RegularConstraint, check_nestable
from constrained_diffusion.constraints.choice import literal
from constrained_diffusion.constraints.parts import Part, split
from constrained_diffusion.constraints.plain import line, plain
from constrained_diffusion.constraints.regex import regex
from constrained_diffusion.errors import ConstraintError, InvalidConstraint, UnsupportedConstraint
from constrained_diffusion.limits import Limits

MOST_VALUES: Final = 1000
"""A slot that stands in several places may have at most this many values."""


@final
@dataclass(frozen=True)
class Slot:
    """A place in a template and what may stand there."""

    name: str
    constraint: RegularConstraint


@final
class Template(RegularConstraint):
    """Fixed texts and slots in a row; made by ``template``.

    Attributes:
        pieces: the fixed texts (bytes, none empty) and the slots, in order.
        slots: the constraint of each slot by its name.
    """

    def __init__(self, pieces: Sequence[bytes | Slot]) -> None:
        self.pieces = tuple(piece for piece in pieces if piece)
        self.slots = {piece.name: piece.constraint for piece in self.pieces if isinstance(piece, Slot)}
        self.warnings = tuple(dict.fromkeys(w for constraint in self.slots.values() for w in constraint.warnings))
        self._fixed: dict[tuple[tuple[str, str], ...], Template] = {}
        for name, constraint in self.slots.items():
            check_nestable(constraint, f"the slot {{{name}}}")
        self._expression = self._built()

    @property
    def expression(self) -> ex.Expression:
        return self._expression

    def _built(self) -> ex.Expression:
        """The pieces in a row; from the first to the last place of a repeated slot, one row for each of its values."""
        places: dict[str, list[int]] = {}
        for place, piece in enumerate(self.pieces):
            if isinstance(piece, Slot):
                places.setdefault(piece.name, []).append(place)
        repeated = [name for name, found in places.items() if len(found) > 1]
        if not repeated:
            return ex.concatenation(*(_expression(piece) for piece in self.pieces))
        first, last = places[repeated[0]][0], places[repeated[0]][-1] + 1
        for name in repeated:  # ordered by their first place, so that overlapping ones follow each other
            if places[name][0] < last:
                last = max(last, places[name][-1] + 1)
        combinations = math.prod(len(self._values(name)) for name in repeated if places[name][0] < last)
        if combinations > MOST_VALUES:
            raise UnsupportedConstraint(
                f"the repeated slots {', '.join(repeated)} have {combinations:,} combinations of texts; at most "
                f"{MOST_VALUES:,} can be followed. Give them fewer values, or other names",
                construct="repeated slot",
            )
        rows = [
            Template([text if _is_slot(piece, repeated[0]) else piece for piece in self.pieces[first:last]]).expression
            for text in self._values(repeated[0])
        ]
        before = Template(self.pieces[:first]).expression
        behind = Template(self.pieces[last:]).expression
        return ex.concatenation(before, ex.union(*rows), behind)

    def _values(self, name: str) -> list[bytes]:
        values = self.slot_texts(name, MOST_VALUES)
        if values is None:
            raise UnsupportedConstraint(
                f"the slot {{{name}}} stands in several places, so it must have at most {MOST_VALUES} texts, none with "
                f"special tokens; {self.slots[name]!r} has others. Give it other names, or fewer values",
                construct="repeated slot",
            )
        return values

    @property
    def why_empty(self) -> str:
        empty = next((name for name, filling in self.slots.items() if filling.default_automaton.is_empty), None)
        if empty is None:
            return super().why_empty
        return f"the slot {{{empty}}} has none, since of {self.slots[empty]!r} {self.slots[empty].why_empty}"

    @property
    def slot_names(self) -> tuple[str, ...]:
        return tuple(self.slots)

    def slot_texts(self, name: str, limit: int) -> list[bytes] | None:
        automaton = self.slots[name].default_automaton
        texts = automaton.texts(limit) if isinstance(automaton, ByteDFA) else None
        return None if texts is None or any(map(has_mark_bytes, texts)) else texts

    def fixed(self, values: Mapping[str, str]) -> "Template":
        for name, text in values.items():
            instance_of(text, str, f"the text of slot {{{name}}}", InvalidConstraint)
        key = tuple(sorted((name, text) for name, text in values.items() if name in self.slots))
        if key not in self._fixed:
            slots = {name: Slot(name, literal(text)) for name, text in key}
            self._fixed[key] = Template([slots.get(p.name, p) if isinstance(p, Slot) else p for p in self.pieces])
        return self._fixed[key]

    @property
    def has_slots(self) -> bool:
        return bool(self.slots)

    def parts(self, text: bytes) -> tuple[Part, ...]:
        spans = self._spans(text)
        if spans is None:
            return ()
        return tuple(
            Part(
                piece.name,
                *span,
                piece.constraint,
                tuple(part.moved(span[0]) for part in piece.constraint.parts(text[slice(*span)])),
            )
            for piece, span in zip(self.pieces, spans, strict=True)
            if isinstance(piece, Slot)
        )

    @property
    def has_fixed_parts(self) -> bool:
        return True

    def fixed_spans(self, text: bytes) -> list[tuple[int, int]]:
        spans = self._spans(text) or []
        found: list[tuple[int, int]] = []
        for piece, (begin, end) in zip(self.pieces, spans, strict=False):
            if isinstance(piece, bytes):
                found.append((begin, end))
            else:
                found += [(begin + a, begin + b) for a, b in piece.constraint.fixed_spans(text[begin:end])]
        return found

    def _spans(self, text: bytes) -> list[tuple[int, int]] | None:
        """Where each piece stands, a repeated slot with the same text at all of its places; None if they do not fit."""
        return self._spans_with(text, self._automata, [name for name, count in self._counts.items() if count > 1])

    def _spans_with(
        self, text: bytes, automata: Sequence[ByteAutomaton], repeated: Sequence[str]
    ) -> list[tuple[int, int]] | None:
        """The same, with the acceptor of each piece; the names ``repeated`` are not settled by these alone."""
        spans = split(text, automata)
        if spans is None or all(len(self._standing(name, text, spans)) == 1 for name in repeated):
            return spans
        name, *others = repeated
        candidates = [value for value in self._values(name) if text.count(value) >= self._counts[name]]
        found = [self._spans_with(text, self._settled(name, value, automata), others) for value in candidates]
        return min((spans for spans in found if spans is not None), default=None)

    def _standing(self, name: str, text: bytes, spans: Sequence[tuple[int, int]]) -> set[bytes]:
        """The different texts in a slot's places."""
        places = zip(self.pieces, spans, strict=True)
        return {text[begin:end] for piece, (begin, end) in places if _is_slot(piece, name)}

    def _settled(self, name: str, value: bytes, automata: Sequence[ByteAutomaton]) -> list[ByteAutomaton]:
        """The acceptors of the pieces, with one text in all places of a slot."""
        fixed = acceptor(ex.literal(value), Limits())
        return [fixed if _is_slot(p, name) else other for p, other in zip(self.pieces, automata, strict=True)]

    @cached_property
    def _counts(self) -> Counter[str]:
        """How many places each slot has."""
        return Counter(piece.name for piece in self.pieces if isinstance(piece, Slot))

    @cached_property
    def _automata(self) -> list[ByteAutomaton]:
        return [acceptor(_expression(piece), Limits()) for piece in self.pieces]

    def parse(self, text: str) -> dict[str, Any]:
        """The value of each slot.

        Raises:
            ConstraintError: the text is not of the template, or a slot's text has no value.
        """
        return self.value(text.encode())

    def value(self, content: bytes) -> dict[str, Any]:
        if not self.matches(content):
            raise ConstraintError(f"{shown(content)!r} is not a text of {self!r}")
        parts = self.parts(content)
        return {part.name: part.constraint.value(content[part.begin : part.end]) for part in parts}

    def __repr__(self) -> str:
        text = "".join(
            f"{{{piece.name}}}"
            if isinstance(piece, Slot)
            else piece.decode(errors="replace").replace("{", "{{").replace("}", "}}")
            for piece in self.pieces
        )
        return f"template({shortened(text)!r})"


def _expression(piece: bytes | Slot) -> ex.Expression:
    return ex.literal(piece) if isinstance(piece, bytes) else piece.constraint.expression


def _is_slot(piece: bytes | Slot, name: str) -> bool:
    return isinstance(piece, Slot) and piece.name == name


def template(text: str, /, **slots: Any) -> Template:
    """Fixed text with slots in braces: ``{name}``, or ``{name:pattern}`` with a regular expression.

    A slot is filled by what its keyword says: a constraint, a string that stands for itself, or a type (``int``,
    ``date``, ``Literal[...]``, an Enum, a pydantic model: text bare, times with an offset as RFC 3339 wants them,
    everything else as JSON); without a keyword and a pattern by one line of text. ``{{`` and ``}}`` stand for braces;
    within a pattern braces come in pairs, but for escaped ones (``\\{``) and those in a set (``[^}]``). A name that
    occurs several times has the same text everywhere; its language must then be finite. Templates may fill slots.

    Raises:
        InvalidConstraint: the braces do not match, a keyword names no slot, or a slot is given twice over.
        UnsupportedConstraint: a slot's constraint is not regular, or a repeated one has too many texts.

    >>> note = template("Order {id:[0-9]{6}} ships on {day}.", day=regex("Mon|Tue"))
    >>> note.matches("Order 004711 ships on Tue."), note.matches("Order 4711 ships on Tue.")
    (True, False)
    >>> note.parse("Order 004711 ships on Tue.")
    {'id': '004711', 'day': 'Tue'}
    """
    if not isinstance(text, str):
        raise InvalidConstraint(f"template() takes a string, met {type(text).__name__}: {text!r}")
    pieces = _pieces(text)
    constraints = _constraints(pieces, slots)
    return Template([literal(p).text if isinstance(p, str) else Slot(p[0], constraints[p[0]]) for p in pieces])


def _constraints(
    pieces: Sequence[str | tuple[str, str | None]], given: Mapping[str, Any]
) -> dict[str, RegularConstraint]:
    """The constraint of each slot."""
    found: dict[str, RegularConstraint] = {}
    patterns: dict[str, str | None] = {}
    for piece in pieces:
        if isinstance(piece, str):
            continue
        name, pattern = piece
        if pattern is not None and (name in given or patterns.get(name, pattern) != pattern):
            raise InvalidConstraint(f"the slot {{{name}}} is described twice; say once what may stand there")
        patterns[name] = patterns.get(name) or pattern
    for name, pattern in patterns.items():
        try:
            found[name] = _slot_constraint(name, given, pattern)
        except ConstraintError as error:
            error.args = (f"the slot {{{name}}}: {error}",)
            raise
    unknown = [name for name in given if name not in found]
    if unknown:
        raise InvalidConstraint(f"the template has no slot {{{unknown[0]}}}; it has {', '.join(found) or 'none'}")
    return found


def _slot_constraint(name: str, given: Mapping[str, Any], pattern: str | None) -> RegularConstraint:
    if name not in given:
        return line() if pattern is None else regex(pattern)
    value = given[name]
    if isinstance(value, RegularConstraint):
        return value
    if isinstance(value, Constraint):
        raise UnsupportedConstraint(
            f"{value!r} is not regular; only regular constraints fill slots",
            construct=type(value).__name__,
        )
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes):
        raise InvalidConstraint(
            f"met {type(value).__name__} {value!r:.60}; expected a constraint, a string or a type. For one of several "
            f"texts write cd.choice([...]), for JSON cd.json_schema({{...}})"
        )
    return literal(value) if isinstance(value, str | bytes) else plain(value)


_NAME: Final = re.compile(r"[^\W\d]\w*")
_SET: Final = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]", re.DOTALL)
"""A set of characters in a pattern."""


def _pieces(text: str) -> list[str | tuple[str, str | None]]:
    """Fixed texts, and (name, pattern) of the slots."""
    pieces: list[str | tuple[str, str | None]] = []
    fixed, place = "", 0
    while place < len(text):
        if text[place : place + 2] in ("{{", "}}"):
            fixed, place = fixed + text[place], place + 2
        elif text[place] == "}":
            raise InvalidConstraint(f"a single }} at {_position(text, place)}; write }}}} for a brace")
        elif text[place] != "{":
            fixed, place = fixed + text[place], place + 1
        else:
            end = _closing(text, place)
            pieces += [fixed, _slot_of(text[place + 1 : end], _position(text, place))]
            fixed, place = "", end + 1
    return [piece for piece in [*pieces, fixed] if piece]


def _closing(text: str, place: int) -> int:
    """Where the brace at ``place`` is closed; within a pattern braces come in pairs, but for escaped ones and those in
    a set of characters."""
    depth, i = 0, place
    while i < len(text):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return i
        named = _SET.match(text, i) if text[i] == "[" else None
        i = named.end() if named else i + (2 if text[i] == "\\" else 1)
    raise InvalidConstraint(
        f"the {{ at {_position(text, place)} is never closed; write {{{{ for a brace, and \\{{ within a pattern"
    )


def _slot_of(inside: str, position: str) -> tuple[str, str | None]:
    name, colon, pattern = inside.partition(":")
    if not _NAME.fullmatch(name):
        raise InvalidConstraint(
            f"the slot at {position} is called {name!r}; expected a name, as {{name}} or {{name:regex}}"
        )
    return name, pattern if colon else None


def _position(text: str, place: int) -> str:
    before = text[:place]
    return f"line {before.count(chr(10)) + 1}, column {place - before.rfind(chr(10))}"
