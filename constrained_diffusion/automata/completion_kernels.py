"""Compiled kernels that find ways to complete a configuration, byte by byte and spelled in tokens.

What is found is kept in the store with every configuration on the way, so that a search ends where it meets a
configuration whose way is known: behind one more open bracket it reads on only until that bracket is closed.
"""

import heapq
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from constrained_diffusion.automata import pushdown_kernels as kernels
from constrained_diffusion.automata.kernels import mix
from constrained_diffusion.automata.pushdown_kernels import END_CLASS, FAR, FULL

_TAIL = 0
_MOST_CLOSING_BYTES = 1000
"""Byte by byte, configurations that are looked at for a way to the end before it is looked for token by token."""
_MOST_EXPANSIONS = 2000
"""Configurations that are looked at on the way to an end before it is given up."""
_MOST_THOROUGH_EXPANSIONS = 16
"""The same, where a way is known and a shorter one is looked for."""
_LEAST_GAIN = 2
"""Tokens by which a way may be too long for a shorter one to be looked for."""
_BYTES_PER_TOKEN = 2
"""What a token on the way counts where a shorter one is looked for."""
_STEPS_PER_BYTE = 4
"""What a configuration that is looked at on the way counts among the steps of a search."""
_LOOKED_AT = 32
"""Configurations behind one that are looked at for the shortest closing text."""
_BRANCHES = 8
"""Configurations behind one that are kept on the way to an end."""


class Book(NamedTuple):
    """The tokens by their spellings, and what else a search for the end needs.

    Attributes:
        slots: int32, an open hash table of spellings.
        begin, text: int64 [spellings + 1] and uint8, the spellings.
        token_class: int32 [spellings], the token class of each, -1 where it stands nowhere.
        longest: the most bytes of a spelling.
        representatives: uint8, a byte of each class that grammar and side automaton treat alike.
        nearness: float64 [N + 1], minus the distance of each state of the relaxation from its end.
        no_weight: float64 [C], zeros.
    """

    slots: NDArray[np.int32]
    begin: NDArray[np.int64]
    text: NDArray[np.uint8]
    token_class: NDArray[np.int32]
    longest: int
    representatives: NDArray[np.uint8]
    nearness: NDArray[np.float64]
    no_weight: NDArray[np.float64]


@njit(cache=True, nogil=True, inline="always")
def _hashed(number, byte):
    return mix(number ^ np.uint64(byte + 1)) * np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def spelling_slots(begin, text, size):
    """An open hash table of the spellings; ``size`` is a power of two."""
    slots = np.full(size, -1, np.int32)
    for i in range(len(begin) - 1):
        number = np.uint64(0)
        for k in range(begin[i], begin[i + 1]):
            number = _hashed(number, text[k])
        slot = np.int64(number & np.uint64(size - 1))
        while slots[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        slots[slot] = i
    return slots


@njit(cache=True, nogil=True)
def _class_of_spelling(book, number, spelled):
    """The token class of some bytes whose hash is ``number``, or -1."""
    size = len(book.slots)
    slot = np.int64(number & np.uint64(size - 1))
    while book.slots[slot] >= 0:
        i = book.slots[slot]
        begin = book.begin[i]
        if book.begin[i + 1] - begin == len(spelled):
            k = 0
            while k < len(spelled) and book.text[begin + k] == spelled[k]:
                k += 1
            if k == len(spelled):
                return book.token_class[i]
        slot = (slot + 1) & (size - 1)
    return -1


@njit(cache=True, nogil=True)
def relaxed_state(tables, store, guide, config):
    """The state of the relaxation that stands for a configuration, or ``DEAD`` where nothing can follow."""
    if store.relaxed[config] < 0:
        store.relaxed[config] = kernels.relaxed(tables, store, guide, config, kernels.DEAD)
    return np.int64(store.relaxed[config])


@njit(cache=True, nogil=True)
def completion(tables, store, guide, book, config, work):
    """Tokens of some way to complete a configuration, end token included; ``FAR`` if none is found.

    ``work`` [1] is what may still be spent on searches; it is counted down.
    """
    if store.tokens[config] >= 0 or work[0] <= 0:
        return store.tokens[config] if store.tokens[config] >= 0 else FAR
    text, path = kernels.straight_way(tables, store, config, book.representatives)
    looked = len(path)
    for is_narrow in (True, False):
        if len(path) == 0:
            text, path, looked = kernels.closing_way(
                tables, store, config, book.representatives, _MOST_CLOSING_BYTES, is_narrow
            )
        if store.counts[FULL]:
            return FAR
        work[0] -= _STEPS_PER_BYTE * looked
        if len(path):
            _note_spelled(store, book, text, path)
            break
    if store.tokens[config] < 0:
        _search(tables, store, guide, book, config, 0, _MOST_EXPANSIONS, work)
    if store.counts[FULL]:
        return FAR
    if store.tokens[config] < 0 and work[0] > 0:
        store.tokens[config] = FAR
    return store.tokens[config] if store.tokens[config] >= 0 else FAR


@njit(cache=True, nogil=True)
def completes_within(tables, store, guide, book, config, tokens, work):
    """Whether a way to complete a configuration is known that takes no more than so many tokens."""
    known = completion(tables, store, guide, book, config, work)
    if known <= tokens:
        return True
    if known > tokens + _LEAST_GAIN or guide.distance[relaxed_state(tables, store, guide, config)] > tokens:
        return False
    if store.effort[config] < 0:
        store.effort[config] = 1
        _search(tables, store, guide, book, config, _BYTES_PER_TOKEN, _MOST_THOROUGH_EXPANSIONS, work)
    return store.tokens[config] <= tokens


@njit(cache=True, nogil=True)
def _note(store, config, label, behind):
    """Keeps the way by a token class if it is the shortest known."""
    tokens = store.tokens[behind] + 1
    if store.tokens[config] < 0 or tokens < store.tokens[config]:
        store.tokens[config] = tokens
        store.way_class[config] = label
        store.way_next[config] = behind


@njit(cache=True, nogil=True)
def _note_spelled(store, book, text, path):
    """Keeps a way, uint8 [n], by way of the configurations int64 [n + 1], with the fewest tokens that spell it.

    The last configuration may be the end of the text; else its own way is known.
    """
    n = len(text)
    configs = np.empty(n + 1 + book.longest, np.int64)
    spelled = np.empty(n + book.longest, np.uint8)
    configs[: n + 1], spelled[:n] = path, text
    last, total = path[n], n
    if store.next_config[last] < 0:
        _note(store, last, END_CLASS, _TAIL)
    while total < n + book.longest and store.next_config[configs[total]] >= 0:
        spelled[total] = store.next_byte[configs[total]]
        configs[total + 1] = store.next_config[configs[total]]
        total += 1
    for i in range(n - 1, -1, -1):
        number = np.uint64(0)
        for k in range(i, min(i + book.longest, total)):
            number = _hashed(number, spelled[k])
            ahead = store.tokens[configs[k + 1]]
            if 0 <= ahead < FAR:
                label = np.int64(_class_of_spelling(book, number, spelled[i : k + 1]))
                if label >= 0:
                    _note(store, configs[i], label, configs[k + 1])
        # The way of a configuration never changes, so ways cannot run in a circle.
        if store.next_config[configs[i]] < 0:
            store.next_byte[configs[i]] = spelled[i]
            store.next_config[configs[i]] = configs[i + 1]


@njit(cache=True, nogil=True)
def _search(tables, store, guide, book, config, bytes_per_token, most, work):
    """Looks for a way token by token: the least bytes first, each token on the way counted as some."""
    parents = {np.int64(config): np.int64(config)}
    labels = {np.int64(config): np.int64(END_CLASS)}
    queue = [(np.int64(0), np.int64(0), np.int64(0), np.int64(config))]
    pushed = np.int64(0)
    known = store.tokens[config] if store.tokens[config] >= 0 else FAR
    for _ in range(most):
        if len(queue) == 0 or work[0] <= 0 or store.counts[FULL]:
            return
        _, depth, _, current = heapq.heappop(queue)
        ahead = store.tokens[current]
        if 0 <= ahead < FAR and (bytes_per_token == 0 or depth + ahead < known):
            _note_way(store, parents, labels, current)
            return
        state = relaxed_state(tables, store, guide, current)
        if current == _TAIL or state < 0:
            continue
        work[0] -= _LOOKED_AT
        classes, targets, reached, _, _ = kernels.expand(
            tables, store, guide, current, state, book.no_weight, book.nearness, _LOOKED_AT
        )
        if store.counts[FULL]:
            return
        away = np.empty(len(targets), np.int64)
        for i in range(len(targets)):
            target = np.int64(targets[i])
            if target < 0:
                _note(store, current, END_CLASS, _TAIL)
                _note_way(store, parents, labels, current)
                return
            store.relaxed[target] = reached[i]
            # The stack's closing knows the depth, the relaxation knows what else the text still has to hold.
            away[i] = kernels.closing(tables, store, target) + min(guide.distance[reached[i]], FAR)
            if target in parents:
                away[i] = FAR
        for i in np.argsort(away, kind="mergesort")[:_BRANCHES]:
            if away[i] < FAR:
                parents[np.int64(targets[i])] = current
                labels[np.int64(targets[i])] = np.int64(classes[i])
                pushed += 1
                rank = away[i] + bytes_per_token * (depth + 1)
                heapq.heappush(queue, (rank, depth + 1, pushed, np.int64(targets[i])))


@njit(cache=True, nogil=True)
def _note_way(store, parents, labels, config):
    """Keeps the way that leads to a configuration by those before it."""
    while parents[config] != config:
        _note(store, parents[config], labels[config], config)
        config = parents[config]
