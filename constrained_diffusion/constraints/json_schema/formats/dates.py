"""Dates, times and durations (RFC 3339)."""

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.json_schema.formats.rules import at_most_once, language, one_of

_MINUTES_OF_DAY = 24 * 60

# --- dates (section 5.6; the lengths of months are those of section 5.7) ---------------------------

_DATE_FULLYEAR = "[0-9]{4}"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_MONTH_OF_31 = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
_MONTH_OF_30 = "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
_FEBRUARY = "02-(?:0[1-9]|1[0-9]|2[0-8])"
_FULL_DATE = f"(?:{_DATE_FULLYEAR}-(?:{_MONTH_OF_31}|{_MONTH_OF_30}|{_FEBRUARY})|{_LEAP_YEAR}-02-29)"
_END_OF_HALF_YEAR = f"{_DATE_FULLYEAR}-(?:06-30|12-31)"

# --- times (section 5.6) -----------------------------------------------------------------------------

_TIME_HOUR = "(?:[01][0-9]|2[0-3])"
_TIME_MINUTE = _TIME_SECOND = "[0-5][0-9]"
_TIME_SECFRAC = r"\.[0-9]+"
_PARTIAL_TIME = f"{_TIME_HOUR}:{_TIME_MINUTE}:{_TIME_SECOND}(?:{_TIME_SECFRAC})?"
_FULL_TIME = f"{_PARTIAL_TIME}(?:[Zz]|[+-]{_TIME_HOUR}:{_TIME_MINUTE})"


def _leap_second(offset: int) -> str:
    """The time 23:59:60 of UTC where clocks are ``offset`` minutes ahead of it (section 5.7 and appendix D)."""
    hour, minute = divmod((_MINUTES_OF_DAY - 1 + offset) % _MINUTES_OF_DAY, 60)
    sign = "+" if offset > 0 else "-"
    numoffset = f"[{sign}]{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    return f"{hour:02}:{minute:02}:60(?:{_TIME_SECFRAC})?{numoffset if offset else '(?:[Zz]|[+-]00:00)'}"


def date() -> ex.Expression:
    """``full-date``."""
    return language(_FULL_DATE)


def time() -> ex.Expression:
    """``full-time``; a leap second only where the offset is a multiple of half an hour."""
    offsets = range(30 - _MINUTES_OF_DAY, _MINUTES_OF_DAY, 30)
    return language(one_of([_FULL_TIME, *map(_leap_second, offsets)]))


def date_time() -> ex.Expression:
    """``date-time``; a leap second only at the end of June or December, and where the offset is that of
    UTC or of whole hours to the west.

    East of UTC, and with other offsets, leap seconds would take three times as many states.
    """
    leap_seconds = one_of(map(_leap_second, range(-12 * 60, 1, 60)))
    return language(f"(?:{_FULL_DATE}[Tt]{_FULL_TIME}|{_END_OF_HALF_YEAR}[Tt]{leap_seconds})")


# --- durations (appendix A) ----------------------------------------------------------------------------


def duration() -> ex.Expression:
    """``duration``, in capitals as ISO 8601 has it; as ABNF, the rule would allow small letters."""
    dur_second = "[0-9]+S"
    dur_minute = f"[0-9]+M{at_most_once(dur_second)}"
    dur_hour = f"[0-9]+H{at_most_once(dur_minute)}"
    dur_time = f"T{one_of([dur_hour, dur_minute, dur_second])}"
    dur_day = "[0-9]+D"
    dur_week = "[0-9]+W"
    dur_month = f"[0-9]+M{at_most_once(dur_day)}"
    dur_year = f"[0-9]+Y{at_most_once(dur_month)}"
    dur_date = f"{one_of([dur_day, dur_month, dur_year])}{at_most_once(dur_time)}"
    return language(f"P{one_of([dur_date, dur_time, dur_week])}")
