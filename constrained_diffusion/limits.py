"""How large a compiled constraint may grow."""

from dataclasses import dataclass
from typing import final

from constrained_diffusion.checking import whole_number
from constrained_diffusion.errors import InvalidConstraint


@final
@dataclass(frozen=True)
class Limits:
    """Bounds on compilation; reaching one raises ``LimitExceeded`` with its name.

    The defaults stop a hostile constraint within seconds and a few hundred megabytes.
    """

    max_nfa_transitions: int = 3_000_000
    """Transitions of the automaton before it is made deterministic."""
    max_schema_work: int = 10_000
    """Steps of reading one JSON Schema; recursion is followed less far before this is given up."""
    max_places: int = 1024
    """Items, or sets of members, that one array or object of a JSON Schema may keep apart."""
    max_states: int = 200_000
    """States of a byte automaton, before and after minimisation."""
    max_entries: int = 100_000_000
    """Transitions of all automata made on the way, in their tables."""
    max_work: int = 20_000_000
    """Elementary steps of one subset construction or product."""
    max_edges: int = 20_000_000
    """Pairs of a state and a token class in the token automaton."""
    max_configurations: int = 4_000_000
    """Stacks and states of a recursive constraint that are kept."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            whole_number(value, f"Limits.{name}", InvalidConstraint, least=1)
