"""Compiled kernels for what tokens do where grammars begin and end."""

import numpy as np
from numba import njit

from constrained_diffusion.automata.kernels import mix
from constrained_diffusion.automata.pushdown_kernels import DEAD, FULL, run

_ENTERS = -2


@njit(cache=True, nogil=True)
def followed(tables, store, configs, least, begins, buffer):
    """uint64 [texts, 2]: where each text leads from all configurations, as a random number; 0 where it is stuck.

    Args:
        configs: int32 [n].
        least: int64 [n], texts of no more bytes are left out.
        begins, buffer: int64 [texts + 1] and uint8, the texts.
    """
    out = np.zeros((len(begins) - 1, 2), np.uint64)
    for k in range(len(out)):
        text = buffer[begins[k] : begins[k + 1]]
        for i in range(len(configs)):
            if len(text) <= least[i]:
                continue
            target = _followed_outside(tables, np.int64(store.scanner[configs[i]]), text)
            kind = 1
            if target == _ENTERS:
                target = run(tables, store, np.int64(configs[i]), text)
                kind = 2
            if target >= 0:
                pair = (np.uint64(2 * i + kind) << np.uint64(32)) | np.uint64(target)
                out[k, 0] += mix(pair)
                out[k, 1] += mix(pair ^ np.uint64(0x5851F42D4C957F2D))
        if store.counts[FULL]:
            break
    return out


@njit(cache=True, nogil=True)
def _followed_outside(tables, state, text):
    """The state of the frame behind a text, or ``DEAD``; ``_ENTERS`` if a grammar may begin before its end."""
    for byte in text:
        if tables.frame_call_begin[state] < tables.frame_call_begin[state + 1]:
            return _ENTERS
        state = np.int64(tables.frame[state, tables.byte_class[byte]])
        if state < 0:
            return DEAD
    return state


@njit(cache=True, nogil=True)
def set_numbers(owner, first, second, count):
    """uint64 [count, 2]: of each owner a random number for the set of its pairs; 0 if it has none.

    Args:
        owner, first, second: int64 [n], in any order, but equal rows once.
    """
    out = np.zeros((count, 2), np.uint64)
    for i in range(len(owner)):
        number = mix(mix(np.uint64(first[i])) ^ (np.uint64(second[i]) + np.uint64(0x9E3779B97F4A7C15)))
        out[owner[i], 0] += number
        out[owner[i], 1] += mix(number ^ np.uint64(0x5851F42D4C957F2D))
    return out
