"""Streaming kernels over rows of float32 logits: reduce to classes, condition, draw.

Each reads the logits once or twice from the processor's cache and releases the interpreter's
lock, so that rows are spread over threads. ``reference.py`` says the same in plain torch.
"""

import numpy as np
from numba import njit

BLOCK = 2048
_BANKS = 8
_FAST = {"contract", "reassoc", "nsz", "arcp"}
"""Liberties of the compiler that keep infinities and NaN as they are."""
_LOG2_E = np.float32(1.4426950408889634)
_LEAST_POWER = np.float32(-126.0)
LEAST_LOG = -1e9
"""A finite logit further than this below its row's greatest, in nats, counts as this far: sums over a
canvas then keep their precision, whatever stands for "impossible" in the logits."""


@njit(nogil=True, cache=True, fastmath=_FAST)
def _exponentials(scaled, n, out, bits, powers):
    """``out[:n] = exp(scaled[:n])`` for values <= 0; ``powers`` is ``bits`` seen as float32.

    2 ** f for f in (0, 1] by a polynomial (relative error 2e-7), times a power of two made from
    its exponent bits. Below 2 ** -126 the result is 0.
    """
    for k in range(n):
        y = scaled[k] * _LOG2_E
        is_tiny = y < _LEAST_POWER
        y = _LEAST_POWER if is_tiny else y
        whole = np.int32(y) - np.int32(1)
        f = y - np.float32(whole)
        p = np.float32(1.8775767e-3)
        p = p * f + np.float32(8.9893397e-3)
        p = p * f + np.float32(5.5826318e-2)
        p = p * f + np.float32(2.4015361e-1)
        p = p * f + np.float32(6.9315308e-1)
        p = p * f + np.float32(9.9999994e-1)
        bits[k] = np.int32(0) if is_tiny else (whole + np.int32(127)) << np.int32(23)
        out[k] = p
    for k in range(n):
        out[k] = out[k] * powers[k]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _reduce_row(row, scale, class_of, top, best, total, moment, shifted, exps, bits, powers):
    """Per class: greatest logit, its token, and in banks the sums of e and of e * shifted logit."""
    for c in range(len(top)):
        top[c] = -np.inf
        best[c] = -1
        for j in range(_BANKS):
            total[c, j] = 0.0
            moment[c, j] = 0.0
    width = len(row)
    for t in range(width):
        c = class_of[t]
        if row[t] > top[c]:
            top[c] = row[t]
            best[c] = t
    for begin in range(0, width, BLOCK):
        n = min(BLOCK, width - begin)
        for k in range(n):
            shift = top[class_of[begin + k]]
            shift = np.float32(0.0) if shift == -np.inf else shift
            shifted[k] = (row[begin + k] - shift) * scale
        _exponentials(shifted, n, exps, bits, powers)
        for k in range(n):
            shifted[k] = exps[k] * shifted[k] if exps[k] > 0 else np.float32(0.0)
        whole = n - n % _BANKS
        for k in range(0, whole, _BANKS):
            for j in range(_BANKS):
                c = class_of[begin + k + j]
                total[c, j] += exps[k + j]
                moment[c, j] += shifted[k + j]
        for k in range(whole, n):
            c = class_of[begin + k]
            total[c, 0] += exps[k]
            moment[c, 0] += shifted[k]


@njit(nogil=True, cache=True)
def reduce_rows(logits, scale, class_of, first, last, log_sum, log_max, class_top, best, entropy, row_norm):
    """Reduces rows ``first`` to ``last`` of ``logits * scale`` to token classes.

    Fills per row ``log_sum`` and ``log_max`` [rows, C], the class's total and greatest log
    probability; ``class_top`` and ``best`` [rows, C], its greatest logit (0 where it has none) and
    that one's token; ``entropy`` [rows, C] in nats, that of the distribution within the class; and
    ``row_norm`` [rows], the logsumexp relative to the row's greatest logit. A row with NaN, +inf
    or without any finite logit has a ``row_norm`` that is not finite.
    """
    n_classes = log_sum.shape[1]
    top = np.empty(n_classes, np.float32)
    total = np.empty((n_classes, _BANKS))
    moment = np.empty((n_classes, _BANKS))
    shifted = np.empty(BLOCK, np.float32)
    exps = np.empty(BLOCK, np.float32)
    bits = np.empty(BLOCK, np.int32)
    powers = bits.view(np.float32)
    for i in range(first, last):
        _reduce_row(logits[i], scale, class_of, top, best[i], total, moment, shifted, exps, bits, powers)
        greatest = np.float64(np.max(top))
        norm = 0.0
        for c in range(n_classes):
            mass = np.sum(total[c])
            class_top[i, c] = top[c] if top[c] > -np.inf else np.float32(0.0)
            log_max[i, c] = max((np.float64(top[c]) - greatest) * scale, LEAST_LOG) if top[c] > -np.inf else -np.inf
            log_sum[i, c] = log_max[i, c] + np.log(mass) if mass != 0 else -np.inf
            entropy[i, c] = max(np.log(mass) - np.sum(moment[c]) / mass, 0.0) if mass > 0 else 0.0
            norm += np.exp(log_sum[i, c]) if log_sum[i, c] != -np.inf else 0.0
        row_norm[i] = np.log(norm) if greatest < np.inf else np.nan
        for c in range(n_classes):
            log_sum[i, c] -= row_norm[i]
            log_max[i, c] -= row_norm[i]


@njit(nogil=True, cache=True)
def entropies(log_sum, log_factor, within, first, last, out):
    """Fills float64 [rows] from ``first`` to ``last``: entropies over tokens in nats; 0 for a row without any token.

    The weight of a class is the exponential of ``log_sum + log_factor`` [rows, C]; ``within`` [rows, C] is the entropy
    of the distribution within it.
    """
    n_classes = log_sum.shape[1]
    weights = np.empty(n_classes)
    for i in range(first, last):
        top = -np.inf
        for c in range(n_classes):
            weights[c] = log_sum[i, c] + log_factor[i, c]
            if weights[c] > top:
                top = weights[c]
        total, surprise = 0.0, 0.0
        for c in range(n_classes):
            if weights[c] > -np.inf:
                share = np.exp(weights[c] - top)
                total += share
                surprise += share * (within[i, c] - (weights[c] - top))
        out[i] = max(surprise / total + np.log(total), 0.0) if total > 0.0 else 0.0


@njit(nogil=True, cache=True, fastmath=_FAST)
def condition_rows(logits, scale, class_of, first, last, class_top, log_factor, out):
    """``out = (logits - class_top[row, class]) * scale + log_factor[row, class]`` for rows ``first`` to ``last``."""
    for i in range(first, last):
        row, top, factor, target = logits[i], class_top[i], log_factor[i], out[i]
        for t in range(len(row)):
            c = class_of[t]
            target[t] = (row[t] - top[c]) * scale + factor[c]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _draw(row, scale, members, best, mass, uniform, shifted, exps, bits, powers):
    """One of the ``members`` in proportion to its probability; ``mass`` is their sum relative to the ``best`` one's.

    The best one comes first, so that a certain draw reads nothing else.
    """
    goal = uniform * mass - 1.0
    if goal < 0:
        return best
    for begin in range(0, len(members), BLOCK):
        n = min(BLOCK, len(members) - begin)
        for k in range(n):
            shifted[k] = (row[members[begin + k]] - row[best]) * scale
        _exponentials(shifted, n, exps, bits, powers)
        share = 0.0
        for k in range(n):
            exps[k] = np.float32(0.0) if members[begin + k] == best else exps[k]
            share += exps[k]
        if goal >= share:
            goal -= share
            continue
        for k in range(n):
            goal -= exps[k]
            if goal < 0 and exps[k] > 0:
                return members[begin + k]
    return best


@njit(nogil=True, cache=True)
def _choose_class(log_sum, uniform):
    """A class in proportion to its probability, and what is left of the uniform number."""
    chosen, chosen_mass = -1, 1.0
    for c in range(len(log_sum)):
        mass = np.exp(log_sum[c])
        if mass > 0.0:
            chosen, chosen_mass = c, mass
            if uniform < mass:
                break
            uniform -= mass
    return chosen, min(uniform / chosen_mass, 1.0)


@njit(nogil=True, cache=True)
def draw_rows(logits, scale, class_begin, class_tokens, first, last, wanted, log_sum, log_max, best, uniforms, out):
    """Draws one token per row, from class ``wanted[row]`` or, where that is -1, from the whole row."""
    shifted = np.empty(BLOCK, np.float32)
    exps = np.empty(BLOCK, np.float32)
    bits = np.empty(BLOCK, np.int32)
    powers = bits.view(np.float32)
    for i in range(first, last):
        c, uniform = wanted[i], uniforms[i]
        if c < 0:
            c, uniform = _choose_class(log_sum[i], uniform)
        members = class_tokens[class_begin[c] : class_begin[c + 1]]
        mass = np.exp(log_sum[i, c] - log_max[i, c])
        out[i] = _draw(logits[i], scale, members, best[i, c], mass, uniform, shifted, exps, bits, powers)
