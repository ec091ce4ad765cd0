"""Multiples of a number, and single numbers, in decimal notation without an exponent."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.json_schema.ranges import ZERO_FRACTION, ZEROS, whole_and_digits
from constrained_diffusion.constraints.json_schema.spelling import FRACTION, SIGN, WHOLE, optional
from constrained_diffusion.limits import Limits

PLAIN: Final = ex.Concatenation((SIGN, WHOLE, optional(FRACTION)))
"""Every number that is written without an exponent."""

MAX_REMAINDERS: Final = 20_000
"""How many remainders, times the decimals at which they are told apart, one divisor may have."""

_POINT: Final = 1 << ord(".")


def remainders(divisor: Fraction) -> int:
    """How many states it takes to recognise the multiples."""
    scaled, decimals = _scaled(divisor)
    return scaled * (decimals + 2)


def _scaled(divisor: Fraction) -> tuple[int, int]:
    """The divisor as ``a / 10 ** k`` with the least k."""
    decimals = 0
    while (divisor * 10**decimals).denominator != 1:
        decimals += 1
    return int(divisor * 10**decimals), decimals


@lru_cache(maxsize=128)
def multiples_of(divisor: Fraction) -> ex.Expression:
    """The multiples of a positive decimal, in all spellings of ``PLAIN``."""
    return ex.Embedded(ex.compile_expression(ex.Intersection((PLAIN, _Multiples(*_scaled(divisor)))), Limits()))


@final
@dataclass(frozen=True)
class _Multiples(ex.Expression):
    """Digits, perhaps signed and with a point, whose value times ``10 ** decimals`` is a multiple of ``divisor``."""

    divisor: int
    decimals: int

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        a, k = self.divisor, self.decimals
        wholes = [nfa.new_state() for _ in range(a)]
        behind_point = [[nfa.new_state() for _ in range(a)] for _ in range(k + 1)]
        SIGN.add_to(nfa, enter, wholes[0])
        for r in range(a):
            nfa.add(wholes[r], _POINT, behind_point[0][r])
            self._add_digits(nfa, wholes[r], wholes, r)
            for j in range(k):
                self._add_digits(nfa, behind_point[j][r], behind_point[j + 1], r)
            for j, state in enumerate([wholes[r], *(row[r] for row in behind_point[1:])]):
                if r * 10 ** (k - j) % a == 0:
                    nfa.add_empty(state, leave)
        ZEROS.add_to(nfa, behind_point[k][0], leave)

    def _add_digits(self, nfa: ex.NFA, source: int, targets: list[int], remainder: int) -> None:
        masks: dict[int, int] = {}
        for digit in range(10):
            following = (10 * remainder + digit) % self.divisor
            masks[following] = masks.get(following, 0) | 1 << (0x30 + digit)
        for following, mask in masks.items():
            nfa.add(source, mask, targets[following])


def exactly(value: Fraction) -> ex.Expression:
    """One number, in all spellings of ``PLAIN``."""
    whole, digits = whole_and_digits(abs(value))
    sign = SIGN if value == 0 else ex.literal(b"-") if value < 0 else ex.EPSILON
    if not digits:
        return ex.Concatenation((sign, ex.literal(str(whole).encode()), ZERO_FRACTION))
    return ex.Concatenation((sign, ex.literal(f"{whole}.{digits}".encode()), ZEROS))
