"""How large an expression will be when it is written out, roughly: what stands in many places counts in each."""

from typing import Final, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.json_schema.encoding import StringOf
from constrained_diffusion.errors import LimitExceeded
from constrained_diffusion.limits import Limits

_PER_CHARACTER: Final = 9
_ANY_STRING: Final = 25


@final
class Sizes:
    """Estimates of the states of expressions, which it keeps."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: dict[int, tuple[int, ex.Expression]] = {}

    def __call__(self, expression: ex.Expression) -> int:
        known = self._known.get(id(expression))
        if known is None:
            known = self._known[id(expression)] = (self._size(expression), expression)
        return known[0]

    def _size(self, expression: ex.Expression) -> int:
        match expression:
            case ex.Embedded():
                return expression.dfa.num_states
            case ex.Bytes() | ex.Call():
                return 1
            case StringOf():
                return self._size_of_string(expression)
            case ex.Repetition():
                return self(expression.body) * (expression.most or max(expression.least, 1)) + 1
        return 1 + sum(map(self, expression.inner)) if expression.inner else self._written(expression)

    def _written(self, expression: ex.Expression) -> int:
        nfa = ex.NFA(self._limits, ex.Meter(self._limits))
        expression.add_to(nfa, nfa.new_state(), nfa.new_state())
        return nfa.num_states

    def _size_of_string(self, string: StringOf) -> int:
        counted = string.least if string.most is None else string.most
        if string.contents:
            try:
                return string.num_states(self._limits)
            except LimitExceeded:
                return self._limits.max_states
        return _ANY_STRING + _PER_CHARACTER * counted
