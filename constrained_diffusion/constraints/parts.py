"""Named parts of a text: where each stands, once the text is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from constrained_diffusion.automata.byte_automaton import ByteAutomaton

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


def split(text: bytes, automata: Sequence[ByteAutomaton]) -> list[tuple[int, int]] | None:
    """Where each of the languages, one behind the other, has its part of the text; None if they do not fit.

    Where there is a choice, an earlier part is as short as it can be.
    """
    reached = [{0}]
    ends: list[dict[int, list[int]]] = []
    for automaton in automata:
        ends.append({begin: automaton.ends(text, begin) for begin in reached[-1]})
        reached.append({end for found in ends[-1].values() for end in found})
    if len(text) not in reached[-1]:
        return None
    useful = {len(text)}
    for found in reversed(ends):
        for begin in found:
            found[begin] = [end for end in found[begin] if end in useful]
        useful = {begin for begin, options in found.items() if options}
    spans, begin = [], 0
    for found in ends:
        end = found[begin][0]
        spans.append((begin, end))
        begin = end
    return spans
