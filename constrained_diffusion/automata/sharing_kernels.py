"""Compiled kernels that find what sets have in common; a set is a row of bits."""

import numpy as np
from numba import njit

_WORD = 64


@njit(cache=True, nogil=True)
def _ones(word):
    """How many bits of a word are set."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(cache=True, nogil=True)
def _num_common(first, second):
    """How many members two sets have in common."""
    total = np.uint64(0)
    for k in range(len(first)):
        total += _ones(first[k] & second[k])
    return np.int64(total)


@njit(cache=True, nogil=True)
def _most_alike(bits, row, count):
    """Which of the first ``count`` other sets has the most members in common with one, and how many."""
    most, which = 0, -1
    for other in range(count):
        if other != row:
            common = _num_common(bits[row], bits[other])
            if common > most:
                most, which = common, other
    return most, which


@njit(cache=True, nogil=True)
def _total_size(bits, size):
    """The sum of the sizes of a set's members."""
    total = 0
    for k in range(len(bits)):
        word = bits[k]
        while word != 0:
            lowest = word & (~word + np.uint64(1))
            total += size[k * _WORD + np.int64(_ones(lowest - np.uint64(1)))]
            word ^= lowest
    return total


@njit(cache=True, nogil=True)
def _holds(bits, part):
    """Whether one set holds all of another."""
    for k in range(len(part)):  # noqa: SIM110
        if part[k] & ~bits[k] != 0:
            return False
    return True


@njit(cache=True, nogil=True)
def common_parts(row, member, rows, members, least):
    """Makes what sets have in common a set of its own, and that a member of these sets, the largest first.

    Args:
        row, member: int64 [n], the members of each of the ``rows`` sets, which are below ``members``.
        least: what is common to sets becomes a set if it has so many members.

    Gives uint64 [rows + k, words], the sets as bits, the new ones behind the others; that with number ``rows + i`` is
    the member ``members + i``. And int64 [k], of how many of the original members each new one consists.
    """
    bits = np.zeros((2 * rows, (members + rows + _WORD - 1) // _WORD), np.uint64)
    for i in range(len(row)):
        bits[row[i], member[i] // _WORD] |= np.uint64(1) << np.uint64(member[i] % _WORD)
    size = np.ones(members + rows, np.int64)
    # Replacing only makes common parts smaller, so what was found earlier bounds them from above.
    most, alike = np.zeros(2 * rows, np.int64), np.zeros(2 * rows, np.int64)
    for r in range(rows):
        most[r], alike[r] = _most_alike(bits, r, r)
    count = rows
    while count < 2 * rows:
        r = np.argmax(most[:count])
        if most[r] < least:
            break
        if _num_common(bits[r], bits[alike[r]]) < most[r]:
            most[r], alike[r] = _most_alike(bits, r, count)
            continue
        new = members + count - rows
        bits[count] = bits[r] & bits[alike[r]]
        size[new] = _total_size(bits[count], size)
        for other in range(count):
            if _holds(bits[other], bits[count]):
                bits[other] &= ~bits[count]
                bits[other, new // _WORD] |= np.uint64(1) << np.uint64(new % _WORD)
        most[count], alike[count] = _most_alike(bits, count, count)
        count += 1
    return bits[:count].copy(), size[members : members + count - rows].copy()
