"""Compiled kernels: sums of products over shared sums (see ``automata.sharing``), upwards from the items to the sets,
and downwards from the sets to the items.

In plain floats; in extended floats, a mantissa times a power of two with a 64-bit exponent, which can neither overflow
nor underflow; and with maxima of logarithms in place of sums.
"""

import numpy as np
from numba import njit

ZERO = -(2**60)
"""The exponent of zero."""
_POWERS = np.append(2.0 ** -np.arange(63.0), 0.0)
"""2 ** -k; what is 63 binary places below the greatest term of a sum is lost in double precision."""
_FRACTION, _ONE = np.int64((1 << 52) - 1), np.int64(1023 << 52)
"""The bits of a float's fraction, and those of 1.0."""


@njit(cache=True, nogil=True, inline="always")
def split(value, places):
    """A plain float in units of 2 ** ``places``, normal or zero, as an extended one with its mantissa in [1, 2)."""
    bits = np.float64(value).view(np.int64)
    mantissa, exponent = np.int64((bits & _FRACTION) | _ONE).view(np.float64), (bits >> 52) - 1023 + places
    return (mantissa, exponent) if value > 0.0 else (0.0, np.int64(ZERO))


@njit(cache=True, nogil=True, inline="always")
def _added(total, top, term, place):
    """The sum of two extended floats; one mantissa need not be below 2."""
    is_least = place <= top
    power = _POWERS[min(abs(top - place), 63)]
    return (total + term * power, top) if is_least else (total * power + term, place)


@njit(cache=True, nogil=True, inline="always")
def plain_products(first, first_of, second, second_of, begin, end):
    """The sum of ``first[first_of[k]] * second[second_of[k]]`` for k from ``begin`` to ``end``."""
    total = 0.0
    for k in range(begin, end):
        total += first[first_of[k]] * second[second_of[k]]
    return total


@njit(cache=True, nogil=True, inline="always")
def extended_products(first_m, first_e, first_of, second_m, second_e, second_of, begin, end):
    """The same of extended floats."""
    total, top = 0.0, np.int64(ZERO)
    for k in range(begin, end):
        term = first_m[first_of[k]] * second_m[second_of[k]]
        if term > 0.0:
            total, top = _added(total, top, term, first_e[first_of[k]] + second_e[second_of[k]])
    return split(total, top)


@njit(cache=True, nogil=True, inline="always")
def extended_sum(mantissa, exponent, index, begin, end):
    """The sum of the extended floats at ``index[k]`` for k from ``begin`` to ``end``."""
    total, top = 0.0, np.int64(ZERO)
    for k in range(begin, end):
        if mantissa[index[k]] > 0.0:
            total, top = _added(total, top, mantissa[index[k]], exponent[index[k]])
    return split(total, top)


@njit(cache=True, nogil=True)
def plain_up(sums, values):
    """Fills in what follows the bundles of the plain values [B + K]."""
    place = len(sums.item_begin) - 1
    for k in range(len(sums.part_begin) - 1):
        total = 0.0
        for p in range(sums.part_begin[k], sums.part_begin[k + 1]):
            total += values[sums.part[p]]
        values[place + k] = total


@njit(cache=True, nogil=True)
def extended_up(sums, mantissa, exponent):
    """The same of extended floats."""
    place = len(sums.item_begin) - 1
    for k in range(len(sums.part_begin) - 1):
        mantissa[place + k], exponent[place + k] = extended_sum(
            mantissa, exponent, sums.part, sums.part_begin[k], sums.part_begin[k + 1]
        )


@njit(cache=True, nogil=True)
def greatest_up(sums, values):
    """The same with maxima in place of sums."""
    place = len(sums.item_begin) - 1
    for k in range(len(sums.part_begin) - 1):
        greatest = -np.inf
        for p in range(sums.part_begin[k], sums.part_begin[k + 1]):
            if values[sums.part[p]] > greatest:
                greatest = values[sums.part[p]]
        values[place + k] = greatest


@njit(cache=True, nogil=True)
def plain_down(sums, values, sets):
    """Fills in what stands before the values of the sets, the last ones of the plain values [B + K]."""
    for v in range(len(values) - sets - 1, -1, -1):
        total = 0.0
        for u in range(sums.user_begin[v], sums.user_begin[v + 1]):
            total += values[sums.user[u]]
        values[v] = total


@njit(cache=True, nogil=True)
def extended_down(sums, mantissa, exponent, sets):
    """The same of extended floats."""
    for v in range(len(mantissa) - sets - 1, -1, -1):
        mantissa[v], exponent[v] = extended_sum(
            mantissa, exponent, sums.user, sums.user_begin[v], sums.user_begin[v + 1]
        )


@njit(cache=True, nogil=True)
def least_down(sums, of_sets):
    """int64 [B + K]: the least of the values of the sets to which each value is added, theirs the given ones."""
    size = len(sums.user_begin) - 1
    out = np.empty(size, np.int64)
    out[size - len(of_sets) :] = of_sets
    for v in range(size - len(of_sets) - 1, -1, -1):
        out[v] = -ZERO
        for u in range(sums.user_begin[v], sums.user_begin[v + 1]):
            out[v] = min(out[v], out[sums.user[u]])
    return out
