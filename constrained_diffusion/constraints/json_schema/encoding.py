"""From the characters of a string to its spelling in JSON."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import DEAD, ByteDFA
from constrained_diffusion.automata.utf8 import CodePoints, normalized
from constrained_diffusion.constraints.json_schema.contents import Content, conjunction
from constrained_diffusion.constraints.json_schema.spelling import (
    BACKSLASH,
    CONTROLS_AND_NON_ASCII,
    SHORT_ESCAPES,
    any_character,
    any_string,
    hex_escapes,
    plain_character,
    quoted,
)
from constrained_diffusion.limits import Limits

MAX_HEX_PLACES: Final = 16
"""Where a string has more places than these that are told apart, ``\\uXXXX`` is not among its spellings:
it takes a dozen states at each place."""


@final
@dataclass(frozen=True)
class StringOf(ex.Expression):
    """The strings of ``least`` to ``most`` characters (None: no end) that meet every condition."""

    contents: tuple[Content, ...]
    least: int
    most: int | None

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        _string_of(self, nfa.limits).add_to(nfa, enter, leave)

    def num_states(self, limits: Limits) -> int:
        """The states of its automaton.

        Raises:
            LimitExceeded: they are beyond ``limits``.
        """
        return ex.compile_expression(_string_of(self, limits), limits).num_states


@lru_cache(maxsize=512)
def _string_of(wanted: StringOf, limits: Limits) -> ex.Expression:
    least, most = wanted.least, wanted.most
    is_counted = least > 0 or most is not None
    if wanted.contents:
        content = ex.compile_expression(conjunction(wanted.contents, least, most), limits)
        return ex.Embedded(ex.compile_expression(quoted(encoded(content)), limits))
    if not is_counted:
        return any_string()
    character = any_character() if (most or least) <= MAX_HEX_PLACES else plain_character()
    return ex.Embedded(ex.compile_expression(quoted(ex.Repetition(character, least, most)), limits))


def encoded(content: ByteDFA) -> ex.Expression:
    """The spellings, between the quotes of a JSON string, of the texts of an automaton over UTF-8.

    A character is raw where that is allowed, or a backslash and a letter where there is one; control
    characters and what is not ASCII also are ``\\uXXXX``, within ``MAX_HEX_PLACES``.
    """
    return _Encoded(content)


@final
@dataclass(frozen=True, eq=False)
class _Encoded(ex.Expression):
    content: ByteDFA

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        if self.content.is_empty:
            return
        first = nfa.num_states
        nfa.add_dfa(_raw_part(self.content), enter, leave)
        behind = self._add_short_escapes(nfa, first)
        if len(behind) <= MAX_HEX_PLACES:
            points_by_target = _PointsByTarget(self.content)
            for state, escape in behind.items():
                for target, points in points_by_target(state).items():
                    long = normalized(_clipped(points))
                    if long:
                        hex_escapes(long).add_to(nfa, escape, first + target)

    def _add_short_escapes(self, nfa: ex.NFA, first: int) -> dict[int, int]:
        """Adds them; gives the state behind the backslash for each state that an escape may follow."""
        letters = [ord(letter) for letter in SHORT_ESCAPES.values()]
        targets = self.content.table[:, self.content.byte_class[list(SHORT_ESCAPES)]]
        behind: dict[int, int] = {}
        for state in np.flatnonzero(_before_escapes(self.content)).tolist():
            behind[state] = nfa.new_state()
            nfa.add(first + state, BACKSLASH.mask, behind[state])
            masks: dict[int, int] = {}
            for letter, target in zip(letters, targets[state].tolist(), strict=True):
                if target != DEAD:
                    masks[target] = masks.get(target, 0) | 1 << letter
            for target, mask in masks.items():
                nfa.add(behind[state], mask, first + target)
        return behind


def _before_escapes(content: ByteDFA) -> NDArray[np.bool_]:
    """bool [N]: whether a character that has an escape may follow."""
    escapable = [*SHORT_ESCAPES, *range(0x20), 0x7F, *range(0xC2, 0xF5)]
    return np.asarray((content.table[:, np.unique(content.byte_class[escapable])] != DEAD).any(axis=1))


def _raw_part(content: ByteDFA) -> ByteDFA:
    """The automaton without the characters that must be escaped."""
    dead = content.table.shape[1]
    byte_class = content.byte_class.astype(np.int64)
    byte_class[[*range(0x20), ord('"'), ord("\\")]] = dead
    used, byte_class = np.unique(byte_class, return_inverse=True)
    columns = np.pad(content.table, ((0, 0), (0, 1)), constant_values=DEAD)
    return ByteDFA(columns[:, used], byte_class.astype(np.uint8), content.accepting)


def _clipped(points: CodePoints) -> Iterator[tuple[int, int]]:
    """Control characters and what is not ASCII."""
    for low, high in points:
        for least, most in CONTROLS_AND_NON_ASCII:
            if max(low, least) <= min(high, most):
                yield max(low, least), min(high, most)


class _PointsByTarget:
    """For a state of an automaton over UTF-8: which characters lead where."""

    _LEADS: Final = ((0, 0x80, 0, 0), (0xC2, 0xE0, 1, 0xC0), (0xE0, 0xF0, 2, 0xE0), (0xF0, 0xF5, 3, 0xF0))
    """First lead byte, the one past the last, continuation bytes, the bits that mark the lead."""

    def __init__(self, dfa: ByteDFA) -> None:
        self._next: list[list[int]] = dfa.table[:, dfa.byte_class].tolist()
        self._tails: dict[tuple[int, int], list[tuple[int, int, int]]] = {}

    def __call__(self, state: int) -> dict[int, CodePoints]:
        found: dict[int, list[tuple[int, int]]] = {}
        following = self._next[state]
        for first, past, count, marker in self._LEADS:
            for lead in range(first, past):
                if following[lead] != DEAD:
                    offset = (lead ^ marker) << 6 * count
                    for low, high, target in self._tail(following[lead], count):
                        found.setdefault(target, []).append((offset + low, offset + high))
        return {target: normalized(ranges) for target, ranges in found.items()}

    def _tail(self, state: int, count: int) -> list[tuple[int, int, int]]:
        """Where ``count`` continuation bytes lead, as ranges of the bits that they carry."""
        if count == 0:
            return [(0, 0, state)]
        known = self._tails.get((state, count))
        if known is None:
            known = self._tails[state, count] = _merged(self._steps(state, count))
        return known

    def _steps(self, state: int, count: int) -> Iterator[tuple[int, int, int]]:
        following = self._next[state]
        for bits in range(64):
            target = following[0x80 + bits]
            if target != DEAD:
                offset = bits << 6 * (count - 1)
                for low, high, end in self._tail(target, count - 1):
                    yield offset + low, offset + high, end


def _merged(ranges: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    merged: list[tuple[int, int, int]] = []
    for low, high, target in ranges:
        if merged and merged[-1][1] + 1 == low and merged[-1][2] == target:
            merged[-1] = (merged[-1][0], high, target)
        else:
            merged.append((low, high, target))
    return merged
