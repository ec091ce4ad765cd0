"""Compiled kernels of the search for many texts: a beam over exact states that keeps every edge between them.

Shapes: L positions, C token classes, N + 1 states of the relaxation, E edges. Weights and bounds are logarithms.
"""

import numpy as np
from numba import njit

from constrained_diffusion.automata import pushdown_kernels as kernels
from constrained_diffusion.automata.completion_kernels import completes_within, completion, relaxed_state
from constrained_diffusion.automata.pushdown_kernels import END_CLASS, FAR, FULL
from constrained_diffusion.inference.search_kernels import heapify, keep_way, pop, sift

_DROPPED = -1


@njit(cache=True, nogil=True)
def lattice(tables, store, guide, book, weight, bound, start, budget, width, lowest, most):
    """The ``width`` edges of greatest bound behind each position, and one more that surely leads to an end.

    Args:
        weight: float64 [L, C]; bound: float64 [L + 1, N + 1], what no continuation exceeds.
        lowest: only edges on texts of a greater weight are looked for.
        most: steps that may be taken.

    Gives where the edges of each position begin, int64 [L + 1]; of each edge, int64 [3, E], the rank of its source
    among the states of its position, its token class, and the rank of its target, ``width + 1`` for the end of the
    text; whether the canvas may end in each of the last states, bool [width + 2]; and the greatest bound among what
    was left out.
    """
    length, room = len(weight), width + 1
    states, relaxed = np.empty((length + 1, room), np.int64), np.empty((length + 1, room), np.int64)
    scores = np.empty((length + 1, room))
    parents, labels = np.empty((length + 1, room), np.int64), np.empty((length + 1, room), np.int64)
    widths = np.zeros(length + 1, np.int64)
    begin = np.zeros(length + 1, np.int64)
    edges = np.empty((3, length * 2 * (room + 1)), np.int64)
    marks = np.zeros(len(store.stack), np.int32), np.zeros(len(store.stack), np.int32)
    best = np.empty(width), np.empty(width, np.int64), np.empty(width), np.empty((4, width), np.int64)
    widest = np.max(np.diff(guide.class_begin)) + 1
    heap = np.empty(widest), np.empty(widest, np.int64)
    work = np.full(1, most)
    states[0, 0], relaxed[0, 0], scores[0, 0] = start, relaxed_state(tables, store, guide, start), 0.0
    widths[0] = 1
    left_out, n = -np.inf, 0
    for position in range(length):
        count = 0
        for rank in range(widths[position]):
            state, score = states[position, rank], scores[position, rank]
            if score + weight[position, END_CLASS] > lowest and kernels.accepts(tables, store, state):
                edges[0, n], edges[1, n], edges[2, n] = rank, END_CLASS, room
                n += 1
            count, rest = _expand(
                tables, store, guide, state, relaxed[position, rank], rank, score, weight[position],
                bound[position + 1], lowest, best, count, heap, work,
            )  # fmt: skip
            left_out = max(left_out, rest)
        left = length + budget - position
        n, dropped, has_safe = _keep(
            tables, store, guide, book, best, count, left - 1, position, weight, states, relaxed, scores, widths, edges,
            n, marks, work,
        )  # fmt: skip
        left_out = max(left_out, dropped)
        if not has_safe and keep_way(
            tables, store, guide, book, position, widths[position], left, weight, bound, states, relaxed, scores,
            parents, labels, widths, work,
        ):  # fmt: skip
            at = widths[position + 1] - 1
            edges[0, n], edges[1, n], edges[2, n] = parents[position + 1, at], labels[position + 1, at], at
            n += 1
        begin[position + 1] = n
        if store.counts[FULL]:
            break
    may_end = np.zeros(room + 1, np.bool_)
    may_end[room] = True
    for rank in range(widths[length]):
        may_end[rank] = completes_within(tables, store, guide, book, states[length, rank], budget, work)
        if not may_end[rank]:  # it may fit all the same: what is known of its completions is an upper bound
            left_out = max(left_out, scores[length, rank])
    return begin, edges[:, :n].copy(), may_end, left_out


@njit(cache=True, nogil=True)
def _expand(tables, store, guide, state, relaxed, rank, score, weight, bound, lowest, best, count, heap, work):
    """Puts the edges out of one state among the best of its position, ``count`` so far, in the place of worse ones.

    Gives how many these are now, and the greatest bound of those that are not there.
    """
    worst = best[0]
    values, at = heap
    left_out, size = -np.inf, 0
    for place in range(guide.class_begin[relaxed], guide.class_begin[relaxed + 1]):
        value = score + weight[guide.classes[place]] + bound[guide.class_target[place]]
        if value > lowest:
            values[size], at[size] = value, place
            size += 1
    heapify(values, at, size)
    while size > 0:
        if (count == len(worst) and values[0] <= -worst[0]) or work[0] <= 0 or store.counts[FULL]:
            return count, max(left_out, values[0])
        place = pop(values, at, size)
        size -= 1
        work[0] -= 1
        target, reached = kernels.follow(tables, store, guide, state, place)
        if target < 0:
            continue
        label = np.int64(guide.classes[place])
        value = score + weight[label] + bound[reached]
        if value > lowest:
            count, rest = _put(best, count, value, rank, label, target, reached)
            left_out = max(left_out, rest)
    return count, left_out


@njit(cache=True, nogil=True)
def _put(best, count, value, rank, label, target, reached):
    """Puts an edge among the best, in the place of the worst if there is no room.

    ``best`` is (minus the bounds, as a heap, the slot of each of these, the bounds by slot, and by slot int64
    [4, width] the rank of the source, the token class, the target and its state in the relaxation).

    Gives how many edges these are now, and the bound of the one that has no place, if there is one.
    """
    worst, slots, bounds, edges = best
    width = len(worst)
    rest = -np.inf
    if count < width:
        slot = count
        worst[slot], slots[slot] = -value, slot
        count += 1
        if count == width:
            heapify(worst, slots, width)
    elif value <= -worst[0]:
        return count, value
    else:
        slot, rest = slots[0], -worst[0]
        worst[0] = -value
        sift(worst, slots, 0, width)
    bounds[slot] = value
    edges[0, slot], edges[1, slot], edges[2, slot], edges[3, slot] = rank, label, target, reached
    return count, rest


@njit(cache=True, nogil=True)
def _keep(
    tables, store, guide, book, best, count, left, position, weight, states, relaxed, scores, widths, edges, n, marks,
    work,
):  # fmt: skip
    """Adds the best edges whose targets may end in time, and these targets as the states of the next position.

    Gives how many edges there are now, the greatest bound among the others, and whether a state surely ends in time.
    """
    _, _, bounds, found = best
    stamp, rank_of = marks
    dropped, has_safe, kept = -np.inf, False, 0
    for slot in np.argsort(-bounds[:count], kind="mergesort"):
        rank, label, target = found[0, slot], found[1, slot], found[2, slot]
        score = scores[position, rank] + weight[position, label]
        if stamp[target] != position + 1:
            stamp[target], rank_of[target] = position + 1, _DROPPED
            store.relaxed[target] = found[3, slot]
            is_safe = completes_within(tables, store, guide, book, target, left, work)
            if is_safe or completion(tables, store, guide, book, target, work) < FAR:
                rank_of[target] = kept
                states[position + 1, kept], relaxed[position + 1, kept] = target, found[3, slot]
                scores[position + 1, kept] = score
                has_safe = has_safe or is_safe
                kept += 1
        at = rank_of[target]
        if at == _DROPPED:
            dropped = max(dropped, bounds[slot])
            continue
        scores[position + 1, at] = max(scores[position + 1, at], score)
        edges[0, n], edges[1, n], edges[2, n] = rank, label, at
        n += 1
    widths[position + 1] = kept
    return n, dropped, has_safe


@njit(cache=True, nogil=True)
def best_ahead(begin, edges, may_end, weight):
    """float64 [L + 1, width + 2]: log of the greatest weight from each position and state to the end."""
    length = len(weight)
    out = np.full((length + 1, len(may_end)), -np.inf)
    out[:, -1] = 0.0
    out[length, may_end] = 0.0
    for position in range(length - 1, -1, -1):
        for e in range(begin[position], begin[position + 1]):
            source, target = edges[0, e], edges[2, e]
            value = weight[position, edges[1, e]] + out[position + 1, target]
            out[position, source] = max(out[position, source], value)
    return out
