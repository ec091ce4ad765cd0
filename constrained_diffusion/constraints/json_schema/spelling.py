"""How strings and numbers are written in JSON (RFC 8259)."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import ByteDFA
from constrained_diffusion.automata.utf8 import ALL_CODE_POINTS, CodePoints, normalized
from constrained_diffusion.limits import Limits

SHORT_ESCAPES: Final = {0x22: '"', 0x5C: "\\", 0x2F: "/", 8: "b", 9: "t", 10: "n", 12: "f", 13: "r"}
"""Code points that a backslash and one letter spell."""
_RAW: Final = normalized([(0x20, 0x21), (0x23, 0x5B), (0x5D, 0x10FFFF)])
CONTROLS_AND_NON_ASCII: Final = normalized([(0, 0x1F), (0x7F, 0x10FFFF)])
"""What ``json.dumps`` writes with an escape if ``ensure_ascii`` is set, besides the short ones."""
BACKSLASH: Final = ex.Bytes(ex.byte_mask(b"\\"))
_ASTRAL: Final = 0x10000
QUOTE: Final = ex.Bytes(ex.byte_mask(b'"'))


# --- characters ----------------------------------------------------------------------------------


def _hex_ranges(low: int, high: int, digits: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Sequences of ranges of hexadecimal digits that spell ``low`` to ``high`` in ``digits`` digits."""
    if digits == 0:
        yield ()
        return
    shift = 4 * (digits - 1)
    tail = (1 << shift) - 1
    first, last = low >> shift, high >> shift
    if first == last:
        for rest in _hex_ranges(low & tail, high & tail, digits - 1):
            yield ((first, first), *rest)
        return
    if low & tail:
        yield from _hex_ranges(low, low | tail, digits)
        first += 1
    if high & tail != tail:
        yield from _hex_ranges(high & ~tail, high, digits)
        last -= 1
    if first <= last:
        yield ((first, last), *[(0, 15)] * (digits - 1))


def _hex_digits(low: int, high: int) -> ex.Expression:
    spelled = "".join(f"{digit:x}{digit:X}" for digit in range(low, high + 1))
    return ex.Bytes(ex.byte_mask(spelled.encode()))


def _four_digits(low: int, high: int) -> ex.Expression:
    options = (ex.Concatenation(tuple(_hex_digits(*r) for r in ranges)) for ranges in _hex_ranges(low, high, 4))
    return ex.Concatenation((ex.literal(b"u"), ex.Union(tuple(options))))


def _pairs(low: int, high: int) -> Iterator[ex.Expression]:
    """Surrogate pairs that spell the code points beyond the basic plane."""
    (first, first_low), (last, last_low) = divmod(low - _ASTRAL, 0x400), divmod(high - _ASTRAL, 0x400)
    if first == last:
        yield _pair(first, last, first_low, last_low)
        return
    yield _pair(first, first, first_low, 0x3FF)
    if first + 1 < last:
        yield _pair(first + 1, last - 1, 0, 0x3FF)
    yield _pair(last, last, 0, last_low)


def _pair(first: int, last: int, first_low: int, last_low: int) -> ex.Expression:
    leading = _four_digits(0xD800 + first, 0xD800 + last)
    return ex.Concatenation((leading, BACKSLASH, _four_digits(0xDC00 + first_low, 0xDC00 + last_low)))


@lru_cache(maxsize=1024)
def hex_escapes(points: CodePoints) -> ex.Expression:
    """What may follow the backslash where one of the characters is written ``\\uXXXX``, in either case."""
    options: list[ex.Expression] = []
    for low, high in points:
        if low < _ASTRAL:
            options.append(_four_digits(low, min(high, _ASTRAL - 1)))
        if high >= _ASTRAL:
            options.extend(_pairs(max(low, _ASTRAL), high))
    return ex.Embedded(ex.compile_expression(ex.Union(tuple(options)), Limits()))


def _any_of(escaped: CodePoints) -> ex.Expression:
    letters = ex.Bytes(ex.byte_mask("".join(SHORT_ESCAPES.values()).encode()))
    escapes = ex.Concatenation((BACKSLASH, ex.Union((letters, hex_escapes(escaped)))))
    return ex.Embedded(ex.compile_expression(ex.Union((ex.characters(_RAW), escapes)), Limits()))


@lru_cache(maxsize=1)
def any_character() -> ex.Expression:
    """One character of a string, in every spelling; a lone surrogate is none."""
    return _any_of(ALL_CODE_POINTS)


@lru_cache(maxsize=1)
def plain_character() -> ex.Expression:
    """One character, raw or as a backslash and one letter."""
    return _any_of(())


@lru_cache(maxsize=1)
def _name_character() -> ex.Expression:
    """One character, where those of ASCII that need no escape have none (see ``spelled``)."""
    return _any_of(CONTROLS_AND_NON_ASCII)


# --- strings -------------------------------------------------------------------------------------


def quoted(body: ex.Expression) -> ex.Expression:
    """A string with this between its quotes."""
    return ex.Concatenation((QUOTE, body, QUOTE))


@lru_cache(maxsize=1)
def any_string() -> ex.Expression:
    """Every JSON string."""
    return ex.Embedded(ex.compile_expression(quoted(ex.Repetition(any_character())), Limits()))


@lru_cache(maxsize=1)
def _any_name() -> ByteDFA:
    return ex.compile_expression(quoted(ex.Repetition(_name_character())), Limits())


@lru_cache(maxsize=4096)
def _spellings(character: str) -> ex.Expression:
    point = ord(character)
    options: list[ex.Expression] = []
    if any(low <= point <= high for low, high in _RAW):
        options.append(ex.literal(character.encode()))
    escapes: list[ex.Expression] = []
    if point in SHORT_ESCAPES:
        escapes.append(ex.literal(SHORT_ESCAPES[point].encode()))
    if any(low <= point <= high for low, high in CONTROLS_AND_NON_ASCII):
        escapes.append(hex_escapes(((point, point),)))
    if escapes:
        options.append(ex.Concatenation((BACKSLASH, ex.union(*escapes))))
    return ex.union(*options) if options else ex.NOTHING


@lru_cache(maxsize=4096)
def spelled(text: str) -> ex.Expression:
    """One string in quotes: as ``json.dumps`` writes it with or without ``ensure_ascii``, and with escapes
    for what needs one in all their spellings. A letter of ASCII is only ever itself.

    A text with half a surrogate pair has no spelling.
    """
    return ex.Concatenation((QUOTE, *(_spellings(character) for character in text), QUOTE))


@lru_cache(maxsize=256)
def _other_names(names: frozenset[str], limits: Limits) -> ex.Expression:
    excluded = ex.compile_expression(ex.Union(tuple(spelled(name) for name in sorted(names))), limits)
    return ex.Embedded(ex.combine(_any_name(), excluded, is_difference=True, limits=limits))


@final
@dataclass(frozen=True)
class OtherName(ex.Expression):
    """Every string, in the spellings of ``spelled``, but these."""

    names: frozenset[str]

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        name = _other_names(self.names, nfa.limits) if self.names else any_string()
        name.add_to(nfa, enter, leave)


# --- numbers ---------------------------------------------------------------------------------------

_DIGIT: Final = ex.Bytes(ex.range_mask(0x30, 0x39))
SIGN: Final = ex.Union((ex.EPSILON, ex.literal(b"-")))
DIGITS: Final = ex.Repetition(_DIGIT, 1)
WHOLE: Final = ex.Union(
    (ex.literal(b"0"), ex.Concatenation((ex.Bytes(ex.range_mask(0x31, 0x39)), ex.Repetition(_DIGIT))))
)
FRACTION: Final = ex.Concatenation((ex.literal(b"."), DIGITS))
EXPONENT: Final = ex.Concatenation(
    (ex.Bytes(ex.byte_mask(b"eE")), ex.Union((ex.EPSILON, ex.Bytes(ex.byte_mask(b"+-")))), DIGITS)
)


def optional(expression: ex.Expression) -> ex.Expression:
    """The language, or nothing."""
    return ex.Union((ex.EPSILON, expression))


NUMBER: Final = ex.Concatenation((SIGN, WHOLE, optional(FRACTION), optional(EXPONENT)))


def number_spellings(value: int | float, *, int_form: bool, float_form: bool) -> set[str]:
    """Spellings of one number: that of ``json.dumps`` and plain decimals, both ``1`` and ``1.0`` if allowed."""
    if isinstance(value, float) and not value.is_integer():
        return {repr(value), format(Decimal(repr(value)), "f")}
    digits = str(int(Decimal(repr(value))))
    forms = [digits] if int_form else []
    if float_form:
        forms += [digits + ".0"] + ([repr(value)] if isinstance(value, float) else [])
    return {*forms, *(f"-{form}" for form in forms if value == 0 and not form.startswith("-"))}
