"""Named parts of a text: where each stands, once the text is written."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from constrained_diffusion.automata.byte_automaton import DEAD, ByteAutomaton

if TYPE_CHECKING:
    from constrained_diffusion.constraints.base import Constraint


@final
@dataclass(frozen=True)
class Part:
    """A slot's part of a text, bytes ``begin`` to ``end``, and what stands in it."""

    name: str
    begin: int
    end: int
    constraint: "Constraint"
    parts: tuple["Part", ...] = ()

    def moved(self, offset: int) -> "Part":
        """The same part of a longer text, in which this one begins at ``offset``."""
        inner = tuple(part.moved(offset) for part in self.parts)
        return Part(self.name, self.begin + offset, self.end + offset, self.constraint, inner)


Place = tuple[int, int]
"""A part's number and a state of its automaton."""


def split(text: bytes, automata: Sequence[ByteAutomaton]) -> list[tuple[int, int]] | None:
    """Where each of the languages, one behind the other, has its part of the text; None if they do not fit.

    Where there is a choice, an earlier part is as short as it can be.
    """
    if not automata:
        return None if text else []
    reached = [_entered({(0, automata[0].start)}, automata)]
    for byte in text:
        steps = {(k, automata[k].step(state, byte)) for k, state in reached[-1]}
        reached.append(_entered({(k, state) for k, state in steps if state != DEAD}, automata))
    useful = _useful(text, automata, reached)
    if (0, automata[0].start) not in useful[0]:
        return None
    begins, place = [0], (0, automata[0].start)
    for offset in range(len(text) + 1):
        while (following := _next_part(place, automata)) is not None and following in useful[offset]:
            begins.append(offset)
            place = following
        if offset < len(text):
            place = (place[0], automata[place[0]].step(place[1], text[offset]))
    return list(itertools.pairwise([*begins, len(text)]))


def _next_part(place: Place, automata: Sequence[ByteAutomaton]) -> Place | None:
    """The start of the part behind, if this one may end here."""
    k, state = place
    return (k + 1, automata[k + 1].start) if k + 1 < len(automata) and automata[k].accepts(state) else None


def _entered(places: set[Place], automata: Sequence[ByteAutomaton]) -> set[Place]:
    """The places, and the starts of the parts that may begin there."""
    open_places = [place for place in places if place[1] != DEAD]
    found = set(open_places)
    while open_places:
        following = _next_part(open_places.pop(), automata)
        if following is not None and following[1] != DEAD and following not in found:
            found.add(following)
            open_places.append(following)
    return found


def _useful(text: bytes, automata: Sequence[ByteAutomaton], reached: Sequence[set[Place]]) -> list[set[Place]]:
    """The places at each offset from which the rest of the text fits."""
    useful: list[set[Place]] = [set() for _ in reached]
    for offset in range(len(text), -1, -1):
        for place in sorted(reached[offset], reverse=True):  # later parts first: earlier ones go on to them
            k, state = place
            is_end = offset == len(text) and k == len(automata) - 1 and automata[k].accepts(state)
            goes_on = offset < len(text) and (k, automata[k].step(state, text[offset])) in useful[offset + 1]
            if is_end or goes_on or _next_part(place, automata) in useful[offset]:
                useful[offset].add(place)
    return useful


def split_repeated(text: bytes, automaton: ByteAutomaton, least: int, most: int | None) -> list[tuple[int, int]] | None:
    """Where each of ``least`` to ``most`` texts of one language, in a row, has its part of the text; None if they do
    not fit.

    Where there is a choice, an earlier part is as short as it can be, and empty only if there are too few without it.
    """
    spans = _shortest_parts(text, automaton)
    if spans is None:
        return None
    missing = max(least - len(spans), 0)
    if missing and automaton.accepts(automaton.start):
        return [(0, 0)] * missing + spans
    if not missing and (most is None or len(spans) <= most):
        return spans
    counts = range(least, min(len(text), len(text) if most is None else most) + 1)
    found = (split(text, [automaton] * count) for count in counts)
    return next((spans for spans in found if spans is not None), None)


def _shortest_parts(text: bytes, automaton: ByteAutomaton) -> list[tuple[int, int]] | None:
    """Parts of one language, however many, none empty and each as short as it can be; None if they do not fit."""
    begins = _beginnings(text, automaton)
    if not begins[0]:
        return None
    places, state = [0], automaton.start
    for offset, byte in enumerate(text):
        if offset > places[-1] and automaton.accepts(state) and begins[offset]:
            places.append(offset)
            state = automaton.start
        state = automaton.step(state, byte)
    return list(itertools.pairwise([*places, len(text)])) if text else []


def _beginnings(text: bytes, automaton: ByteAutomaton) -> list[bool]:
    """Whether the text from each offset on is a row of parts, none of them empty."""
    if automaton.is_empty:
        return [not text] * (len(text) + 1)
    begins = [True] * (len(text) + 1)
    within = _within(text, automaton)
    useful = {state for state in within[-1] if automaton.accepts(state)}
    for offset in range(len(text) - 1, -1, -1):
        byte = text[offset]
        begins[offset] = automaton.step(automaton.start, byte) in useful
        goes_on = {state for state in within[offset] if automaton.step(state, byte) in useful}
        ends = {state for state in within[offset] if automaton.accepts(state)} if begins[offset] else set()
        useful = goes_on | ends
    return begins


def _within(text: bytes, automaton: ByteAutomaton) -> list[set[int]]:
    """The states at each offset behind the first byte of a part, where a part may begin wherever one may end."""
    within: list[set[int]] = [set()]
    for offset, byte in enumerate(text):
        may_begin = offset == 0 or any(automaton.accepts(state) for state in within[-1])
        sources = within[-1] | {automaton.start} if may_begin else within[-1]
        within.append({automaton.step(state, byte) for state in sources} - {DEAD})
    return within
