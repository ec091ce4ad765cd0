"""What follows a given beginning: fixed texts and holes, such that the whole is in a language."""

from collections.abc import Mapping, Sequence
from typing import Any, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import DEAD
from constrained_diffusion.constraints.base import Constraint, RegularConstraint, coerced
from constrained_diffusion.constraints.explaining import explanation
from constrained_diffusion.constraints.free_text import text as free_text
from constrained_diffusion.constraints.parts import Part
from constrained_diffusion.constraints.template import Slot, Template
from constrained_diffusion.errors import InfeasibleError


@final
class Infilling(RegularConstraint):
    """The texts that can follow ``beginning``; the holes among ``pieces`` (None) are slots called "0", "1", ...

    Raises:
        InfeasibleError: no text of ``whole`` begins with ``beginning``.
    """

    def __init__(
        self, beginning: bytes, pieces: Sequence[bytes | None], whole: RegularConstraint | None = None
    ) -> None:
        self.beginning = beginning
        self.pieces = tuple(pieces)
        self.whole = whole
        self._fixed: dict[tuple[tuple[str, str], ...], Infilling] = {}
        self.warnings = () if whole is None else whole.warnings
        holes = iter(range(len(pieces)))
        self.template = Template([Slot(str(next(holes)), free_text()) if piece is None else piece for piece in pieces])
        given = beginning + (pieces[0] or b"" if pieces else b"")
        if whole is not None and whole.default_automaton.run(given) == DEAD:
            raise InfeasibleError(
                f"no text of {whole!r} begins with what is given: {explanation(whole.default_automaton, given)}\n"
                f"The constraint is of the whole text, what is given included: prefix + constraint + suffix"
            )

    @property
    def expression(self) -> ex.Expression:
        if self.whole is None:
            return self.template.expression
        return ex.Intersection((ex.Continuation(self.whole.expression, self.beginning), self.template.expression))

    @property
    def has_slots(self) -> bool:
        return True

    def parts(self, text: bytes) -> tuple[Part, ...]:
        """The holes, and the slots of the whole, whose places count from behind the beginning."""
        slots = () if self.whole is None else self.whole.parts(self.beginning + text)
        return (*self.template.parts(text), *(part.moved(-len(self.beginning)) for part in slots))

    @property
    def slot_names(self) -> tuple[str, ...]:
        return () if self.whole is None else self.whole.slot_names

    def slot_texts(self, name: str, limit: int) -> list[bytes] | None:
        if self.whole is None:
            raise KeyError(name)
        return self.whole.slot_texts(name, limit)

    def fixed(self, values: Mapping[str, str]) -> Constraint:
        if self.whole is None:
            return self
        key = tuple(sorted(values.items()))
        if key not in self._fixed:
            self._fixed[key] = Infilling(self.beginning, self.pieces, coerced(self.whole.fixed(values)))
        return self._fixed[key]

    @property
    def why_empty(self) -> str:
        return "what is given does not go together with the constraint"

    @property
    def has_fixed_parts(self) -> bool:
        return True

    def fixed_spans(self, text: bytes) -> list[tuple[int, int]]:
        return self.template.fixed_spans(text)

    def parse(self, text: str) -> Any:
        """The value of the whole text, its beginning included; the text itself unless it is in a language."""
        return text if self.whole is None else self.whole.parse(text)

    def __repr__(self) -> str:
        inside = "" if self.whole is None else f" in {self.whole!r}"
        return f"{self.template!r} behind {self.beginning[-40:].decode(errors='replace')!r}{inside}"
