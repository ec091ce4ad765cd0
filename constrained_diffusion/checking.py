"""Checks of arguments, so that a mistake gets an error that names it."""

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from constrained_diffusion.errors import ConstrainedDiffusionError


def shortened(text: str, most: int = 80) -> str:
    """The text for a message or a ``repr``; of a longer one the beginning and the end.

    >>> shortened("abcdefghijklmnopqrstuvwxyz", 15)
    'abcdefgh...wxyz'
    """
    return text if len(text) <= most else f"{text[: most * 2 // 3 - 2]}...{text[len(text) - most // 3 + 1 :]}"


def whole_number(
    value: Any, name: str, error: type[ConstrainedDiffusionError], *, least: int | None = None, most: int | None = None
) -> int:
    """The value as an int; numpy's and torch's integers count, booleans and floats do not.

    Raises:
        error: it is no whole number, or out of range.
    """
    expected = "a whole number"
    if least is not None and most is not None:
        expected += f" from {least} to {most}"
    elif least is not None:
        expected += f" of at least {least}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise error(f"{name} is {value!r}; expected {expected}")
    if (least is not None and number < least) or (most is not None and number > most):
        raise error(f"{name} is {number}; expected {expected}")
    return number


def real_number(value: Any, name: str, error: type[ConstrainedDiffusionError], *, least: float, most: float) -> float:
    """The value as a float within the range.

    Raises:
        error: it is no number, or out of range.
    """
    try:
        number = float(value) if not isinstance(value, str | bytes | bool) else None
    except (TypeError, ValueError):
        number = None
    if number is None or not least <= number <= most:
        raise error(f"{name} is {value!r}; expected a number from {least:g} to {most:g}")
    return number


def elements(value: Any, name: str, expected: str, error: type[ConstrainedDiffusionError]) -> list[Any]:
    """The elements of a list, or of anything else that has some; a string or a mapping is one thing.

    Raises:
        error: there are none to speak of.
    """
    try:
        found = None if isinstance(value, str | bytes | Mapping) else list(value)
    except TypeError:
        found = None
    if found is None:
        raise error(f"{name} is {type(value).__name__} {value!r:.60}; expected {expected}")
    return found


def path_of(value: Any, name: str, error: type[ConstrainedDiffusionError]) -> Path:
    """
    Raises:
        error: the value is no path.
    """
    instance_of(value, (str, Path), name, error)
    return Path(value)


def instance_of(value: Any, kind: type | tuple[type, ...], name: str, error: type[ConstrainedDiffusionError]) -> None:
    """
    Raises:
        error: the value is of another type.
    """
    if not isinstance(value, kind):
        names = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise error(f"{name} is {type(value).__name__} {value!r:.100}; expected {names}")
