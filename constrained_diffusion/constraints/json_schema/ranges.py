"""Ranges of numbers in decimal notation."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor
from typing import Final, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.json_schema.spelling import EXPONENT, FRACTION, NUMBER, SIGN, WHOLE, optional
from constrained_diffusion.limits import Limits

MINUS: Final = ex.literal(b"-")
_ANY_DIGIT: Final = ex.range_mask(0x30, 0x39)
ZEROS: Final = ex.Repetition(ex.literal(b"0"))
ZERO_FRACTION: Final = optional(ex.Concatenation((ex.literal(b".0"), ZEROS)))


@final
@dataclass(frozen=True)
class Bound:
    """An end of a range; ``strict`` excludes the value itself."""

    value: Fraction
    strict: bool = False

    def __neg__(self) -> "Bound":
        return Bound(-self.value, self.strict)


_ZERO: Final = Bound(Fraction(0))


def exact(value: int | float) -> Fraction:
    """The number that a JSON literal stands for; a float counts as its shortest spelling."""
    return Fraction(value) if isinstance(value, int) else Fraction(Decimal(repr(value)))


def stricter(first: Bound | None, second: Bound, *, is_lower: bool) -> Bound:
    """The narrower of two bounds on one side."""
    if first is None:
        return second
    if first.value == second.value:
        return Bound(first.value, first.strict or second.strict)
    return first if (first.value > second.value) == is_lower else second


def contains(lower: Bound | None, upper: Bound | None, value: Fraction) -> bool:
    """Whether the value lies in the range."""
    above = lower is None or lower.value < value or (lower.value == value and not lower.strict)
    below = upper is None or value < upper.value or (upper.value == value and not upper.strict)
    return above and below


def is_empty(lower: Bound | None, upper: Bound | None) -> bool:
    """Whether no number lies in the range."""
    if lower is None or upper is None:
        return False
    return lower.value > upper.value or (lower.value == upper.value and (lower.strict or upper.strict))


# --- digits --------------------------------------------------------------------------------------


def _digits(low: str | int, high: str | int) -> ex.Expression:
    return ex.Bytes(ex.range_mask(0x30 + int(low), 0x30 + int(high)))


def _any_digits(count: int) -> ex.Expression:
    return ex.Repetition(_digits(0, 9), count, count) if count else ex.EPSILON


def _beyond(digit: str, is_lower: bool) -> int:
    """The digits, as a mask of bytes, that lie above a lower end or below an upper one; 0 if there is none."""
    low, high = (int(digit) + 1, 9) if is_lower else (0, int(digit) - 1)
    return ex.range_mask(0x30 + low, 0x30 + high) if low <= high else 0


@final
@dataclass(frozen=True)
class _SameLength(ex.Expression):
    """As many digits as in ``digits``, whose value is at least, or at most, that of ``digits``."""

    digits: str
    is_lower: bool

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        tight, free = enter, nfa.new_state()
        for digit in self.digits:
            next_tight, next_free = nfa.new_state(), nfa.new_state()
            nfa.add(tight, 1 << ord(digit), next_tight)
            nfa.add(free, _ANY_DIGIT, next_free)
            if beyond := _beyond(digit, self.is_lower):
                nfa.add(tight, beyond, next_free)
            tight, free = next_tight, next_free
        nfa.add_empty(tight, leave)
        nfa.add_empty(free, leave)


def _same_length(low: str, high: str) -> ex.Expression:
    """The numbers from ``low`` to ``high``, which have as many digits."""
    shared = next((i for i, (a, b) in enumerate(zip(low, high, strict=True)) if a != b), len(low))
    prefix, rest = ex.literal(low[:shared].encode()), len(low) - shared - 1
    if shared == len(low):
        return prefix
    options = [
        ex.Concatenation((_digits(low[shared], low[shared]), _SameLength(low[shared + 1 :], True))),
        ex.Concatenation((_digits(high[shared], high[shared]), _SameLength(high[shared + 1 :], False))),
    ]
    if int(low[shared]) + 1 < int(high[shared]):
        options.append(ex.Concatenation((_digits(int(low[shared]) + 1, int(high[shared]) - 1), _any_digits(rest))))
    return ex.Concatenation((prefix, ex.Union(tuple(options))))


def naturals(low: int, high: int | None) -> ex.Expression:
    """The natural numbers from ``low`` to ``high`` (None: no end), without leading zeros."""
    if high is not None and low > high:
        return ex.NOTHING
    if low == 0:
        return ex.Union((ex.literal(b"0"), naturals(1, high)))
    shortest = len(str(low))
    longest = None if high is None else len(str(high))
    if longest == shortest:
        return _same_length(str(low), str(high))
    options = [_same_length(str(low), "9" * shortest)]
    if longest is None or longest > shortest + 1:
        most = None if longest is None else longest - 2
        options.append(ex.Concatenation((_digits(1, 9), ex.Repetition(_digits(0, 9), shortest, most))))
    if longest is not None:
        options.append(_same_length("1" + "0" * (longest - 1), str(high)))
    return ex.Union(tuple(options))


# --- fractions -----------------------------------------------------------------------------------


def whole_and_digits(value: Fraction) -> tuple[int, str]:
    """The whole part and the digits of the fraction, for a decimal that ends."""
    whole = floor(value)
    rest, digits = value - whole, ""
    while rest:
        rest *= 10
        digits += str(floor(rest))
        rest -= floor(rest)
    return whole, digits


_ANY_DIGITS: Final = ex.Repetition(_digits(0, 9))
_NONZERO_DIGITS: Final = ex.Concatenation((ZEROS, _digits(1, 9), _ANY_DIGITS))


@final
@dataclass(frozen=True)
class _FractionDigits(ex.Expression):
    """Digits behind a point whose value is at least, or at most, that of ``digits``, which do not end in 0."""

    digits: str
    is_lower: bool
    strict: bool

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        tight, free = enter, nfa.new_state()
        for i, digit in enumerate(self.digits):
            if beyond := _beyond(digit, self.is_lower):
                nfa.add(tight, beyond, free)
            if i and not self.is_lower:
                nfa.add_empty(tight, leave)
            following = nfa.new_state()
            nfa.add(tight, 1 << ord(digit), following)
            tight = following
        _ANY_DIGITS.add_to(nfa, free, leave)
        if self.is_lower:
            (_NONZERO_DIGITS if self.strict else _ANY_DIGITS).add_to(nfa, tight, leave)
        elif not self.strict:
            ZEROS.add_to(nfa, tight, leave)


def _fraction(digits: str, *, is_lower: bool, strict: bool) -> ex.Expression:
    """A point and digits, or nothing, on one side of ``digits`` behind a point."""
    behind_point = ex.Concatenation((ex.literal(b"."), _FractionDigits(digits, is_lower, strict)))
    if is_lower:
        return behind_point if digits or strict else optional(FRACTION)
    if not digits:
        return ex.NOTHING if strict else ZERO_FRACTION
    return optional(behind_point)


def _at_least(bound: Bound) -> ex.Expression:
    whole, digits = whole_and_digits(bound.value)
    beyond = ex.Concatenation((naturals(whole + 1, None), optional(FRACTION)))
    edge = ex.Concatenation((ex.literal(str(whole).encode()), _fraction(digits, is_lower=True, strict=bound.strict)))
    return ex.Union((beyond, edge))


def _at_most(bound: Bound) -> ex.Expression:
    whole, digits = whole_and_digits(bound.value)
    below = ex.Concatenation((naturals(0, whole - 1), optional(FRACTION)))
    edge = ex.Concatenation((ex.literal(str(whole).encode()), _fraction(digits, is_lower=False, strict=bound.strict)))
    return ex.Union((below, edge))


def _magnitude(lower: Bound, upper: Bound | None) -> ex.Expression:
    """Decimals without a sign in a range whose lower end is not negative."""
    if upper is None:
        with_exponent = ex.Concatenation((WHOLE, optional(FRACTION), optional(EXPONENT)))
        return with_exponent if lower == _ZERO else _at_least(lower)
    if lower == _ZERO:
        return _at_most(upper)
    return ex.Intersection((_at_least(lower), _at_most(upper)))


# --- the languages -------------------------------------------------------------------------------


def _magnitudes(lower: Bound | None, upper: Bound | None) -> tuple[Bound, Bound | None] | None:
    """The part of a range from zero upwards; None if there is none."""
    if upper is not None and (upper.value < 0 or (upper.value == 0 and upper.strict)):
        return None
    return (lower if lower is not None and lower.value >= 0 else _ZERO), upper


@lru_cache(maxsize=512)
def number(lower: Bound | None, upper: Bound | None) -> ex.Expression:
    """Numbers in a range. An exponent is written only where the sign alone decides."""
    if lower is None and upper is None:
        return NUMBER
    above = _magnitudes(lower, upper)
    below = _magnitudes(None if upper is None else -upper, None if lower is None else -lower)
    options: list[ex.Expression] = []
    if above is not None:
        options.append(_magnitude(*above))
    if below is not None:
        options.append(ex.Concatenation((MINUS, _magnitude(*below))))
    return ex.Embedded(ex.compile_expression(ex.Union(tuple(options)), Limits()))


def _whole_ends(lower: Bound, upper: Bound | None) -> tuple[int, int | None]:
    low = floor(lower.value) + 1 if lower.strict else ceil(lower.value)
    if upper is None:
        return low, None
    return low, ceil(upper.value) - 1 if upper.strict else floor(upper.value)


@lru_cache(maxsize=512)
def integer(lower: Bound | None, upper: Bound | None, *, float_forms: bool) -> ex.Expression:
    """Integers in a range, without exponents; with ``float_forms`` also written as ``1.0``."""
    end = ZERO_FRACTION if float_forms else ex.EPSILON
    if lower is None and upper is None:
        return ex.Concatenation((SIGN, WHOLE, end))
    above = _magnitudes(lower, upper)
    below = _magnitudes(None if upper is None else -upper, None if lower is None else -lower)
    options: list[ex.Expression] = []
    if above is not None:
        options.append(naturals(*_whole_ends(*above)))
    if below is not None:
        options.append(ex.Concatenation((MINUS, naturals(*_whole_ends(*below)))))
    return ex.Concatenation((ex.Union(tuple(options)), end))
