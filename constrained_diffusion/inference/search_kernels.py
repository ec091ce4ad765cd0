"""Compiled kernels of the search over exact states: a beam for the best text, and draws.

Shapes: L positions, C token classes, N + 1 states of the relaxation. Weights and bounds are logarithms.
"""

import numpy as np
from numba import njit

from constrained_diffusion.automata import pushdown_kernels as kernels
from constrained_diffusion.automata.completion_kernels import completes_within, completion, relaxed_state
from constrained_diffusion.automata.pushdown_kernels import END_CLASS, FAR, FULL

_TAIL = 0
_LEAST_EXPANSION = 4
"""States looked at behind each position, at least."""
_WIDENING = 8
_MOST_REFUSALS = 200
"""Choices that turn out to lead nowhere before a sample is closed on the shortest way that is known."""
_ROOM = 64
"""With more tokens left than these it is looked only now and then whether a sample can still be completed."""
_STRIDE = 16


@njit(cache=True, nogil=True, inline="always")
def sift(scores, places, at, size):
    """Restores the order of a heap whose greatest score comes first, from one place downwards."""
    score, place = scores[at], places[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and scores[child + 1] > scores[child]:
            child += 1
        if scores[child] <= score:
            break
        scores[at], places[at] = scores[child], places[child]
        at = child
    scores[at], places[at] = score, place


@njit(cache=True, nogil=True, inline="always")
def heapify(scores, places, size):
    """Makes a heap of the first ``size`` scores, whose greatest comes first."""
    for at in range(size // 2 - 1, -1, -1):
        sift(scores, places, at, size)


@njit(cache=True, nogil=True, inline="always")
def pop(scores, places, size):
    """Takes the greatest off a heap of that size; gives its place."""
    place = places[0]
    scores[0], places[0] = scores[size - 1], places[size - 1]
    sift(scores, places, 0, size - 1)
    return place


@njit(cache=True, nogil=True)
def _expand(tables, store, guide, position, rank, level, weight, bound, wanted, lowest, best, found, tries, heap, work):
    """Adds what may follow one state of a level to the candidates; gives the greatest bound that was not looked at.

    ``level`` is (states, relaxed, scores) of the level, ``found`` the candidates (see ``_candidates``), ``best`` the
    greatest bounds among these, in descending order, ``tries`` the number of this search for candidates. Nothing that
    cannot exceed ``lowest`` is looked at.
    """
    states, relaxed, scores = level
    counts, stamp, rank_of, parents, classes, targets, reached_states, bounds = found
    heap_scores, heap_places = heap
    state, score = states[rank], scores[rank]
    size = 0
    for place in range(guide.class_begin[relaxed[rank]], guide.class_begin[relaxed[rank] + 1]):
        value = score + weight[position, guide.classes[place]] + bound[position + 1, guide.class_target[place]]
        if value > lowest:
            heap_scores[size], heap_places[size] = value, place
            size += 1
    heapify(heap_scores, heap_places, size)
    added = 0
    while size > 0:
        if heap_scores[0] <= best[wanted - 1] or added >= wanted or work[0] <= 0 or store.counts[FULL]:
            return heap_scores[0]
        place = pop(heap_scores, heap_places, size)
        size -= 1
        work[0] -= 1
        target, reached = kernels.follow(tables, store, guide, state, place)
        if target < 0:
            continue
        value = score + weight[position, guide.classes[place]] + bound[position + 1, reached]
        if value <= lowest:
            continue
        is_new = stamp[target] != tries
        if is_new:
            stamp[target], rank_of[target] = tries, counts[0]
            counts[0] += 1
            added += 1
            kernels.insert(best[:wanted], value)
        at = rank_of[target]
        if is_new or value > bounds[at]:
            parents[at], classes[at], targets[at] = rank, guide.classes[place], target
            reached_states[at], bounds[at] = reached, value
    return -np.inf


@njit(cache=True, nogil=True)
def best_classes(tables, store, guide, book, weight, bound, start, budget, width, lowest, work):
    """A forward search that keeps at most ``width`` states per position, and one more that surely can be completed.

    Args:
        weight: float64 [L, C]; bound: float64 [L + 1, N + 1], what no continuation exceeds.
        lowest: only texts of a greater weight are looked for.
        work: int64 [1], steps that may still be taken; counted down.

    Gives the token classes, int32 [n], the weight of the text, ``lowest`` where none is found, and the greatest bound
    among what was left out.
    """
    length = len(weight)
    room = width + 1
    states = np.empty((length + 1, room), np.int64)
    relaxed = np.empty((length + 1, room), np.int64)
    scores = np.empty((length + 1, room))
    parents = np.empty((length + 1, room), np.int64)
    classes = np.empty((length + 1, room), np.int64)
    widths = np.zeros(length + 1, np.int64)
    most = np.max(np.diff(guide.class_begin)) + 1
    heap = np.empty(most), np.empty(most, np.int64)
    stamp, rank_of = np.zeros(len(store.stack), np.int32), np.zeros(len(store.stack), np.int32)
    states[0, 0], relaxed[0, 0], scores[0, 0] = start, relaxed_state(tables, store, guide, start), 0.0
    widths[0] = 1
    left_out = -np.inf
    best_score = lowest
    end_level, end_rank = -1, 0
    behind, ahead = np.empty(length + 1, np.int32), np.empty(length + 1, np.int32)
    n_behind, tries = 0, 0
    for position in range(length):
        count = widths[position]
        level = states[position], relaxed[position], scores[position]
        for rank in range(count):
            score = scores[position, rank] + weight[position, END_CLASS]
            if score > best_score and kernels.accepts(tables, store, states[position, rank]):
                best_score, end_level, end_rank, n_behind = score, position, rank, 1
                behind[0] = END_CLASS
        wanted = max(width, _LEAST_EXPANSION)
        has_safe = False
        while True:
            tries += 1
            found = _candidates(count * min(wanted, most) + count, stamp, rank_of)
            best = np.full(wanted, -np.inf)
            not_seen = -np.inf
            for rank in range(count):
                rest = _expand(
                    tables, store, guide, position, rank, level, weight, bound, wanted, best_score, best, found, tries,
                    heap, work,
                )  # fmt: skip
                not_seen = max(not_seen, rest)
            if store.counts[FULL]:
                return np.empty(0, np.int32), lowest, np.inf
            dropped, has_safe = _keep(
                tables, store, guide, book, found, best_score, width, length + budget - position - 1, position,
                level[2], weight, states, relaxed, scores, parents, classes, widths, work,
            )  # fmt: skip
            if has_safe or not_seen <= best_score:
                break
            if wanted > _WIDENING or work[0] <= 0:
                has_safe = keep_way(
                    tables, store, guide, book, position, count, length + budget - position, weight, bound, states,
                    relaxed, scores, parents, classes, widths, work,
                )  # fmt: skip
                if has_safe or work[0] <= 0:
                    break
            wanted *= _WIDENING
        left_out = max(left_out, not_seen, dropped)
        if widths[position + 1] == 0:
            break
        for rank in range(widths[position + 1]):
            state = states[position + 1, rank]
            n_ahead, gain = _closing(store, weight, state, position + 1, budget, ahead)
            if n_ahead >= 0 and scores[position + 1, rank] + gain > best_score:
                best_score, end_level, end_rank = scores[position + 1, rank] + gain, position + 1, rank
                behind[:], n_behind = ahead, n_ahead
    for rank in range(widths[length]):
        if scores[length, rank] <= best_score:
            continue
        if completes_within(tables, store, guide, book, states[length, rank], budget, work):
            best_score, end_level, end_rank, n_behind = scores[length, rank], length, rank, 0
        else:  # it may fit all the same: what is known of its completions is an upper bound
            left_out = max(left_out, scores[length, rank])
    if end_level < 0:
        return np.empty(0, np.int32), lowest, left_out
    out = np.empty(end_level + n_behind, np.int32)
    out[end_level:] = behind[:n_behind]
    for position in range(end_level, 0, -1):
        out[position - 1] = classes[position, end_rank]
        end_rank = parents[position, end_rank]
    return out, best_score, left_out


@njit(cache=True, nogil=True)
def _candidates(most, stamp, rank_of):
    """Room for what may follow a level: how many there are, where each configuration is among them, and of each its
    parent's rank, token class, configuration, state of the relaxation and bound."""
    return (
        np.zeros(1, np.int64),
        stamp,
        rank_of,
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most),
    )


@njit(cache=True, nogil=True)
def _keep(
    tables, store, guide, book, found, best_score, width, left, position, level_scores, weight, states, relaxed, scores,
    parents, classes, widths, work,
):  # fmt: skip
    """Keeps the best candidates: any that may end in time, and among them one that surely does, if there is one.

    Gives the greatest bound among the others, and whether one surely ends in time.
    """
    counts, _, _, from_ranks, labels, targets, reached, bounds = found
    count = counts[0]
    kept = 0
    has_safe = False
    dropped = -np.inf
    for at in np.argsort(-bounds[:count], kind="mergesort"):
        if bounds[at] <= best_score:
            break
        is_full = kept >= width
        if is_full and has_safe:
            dropped = max(dropped, bounds[at])
            break
        target = targets[at]
        store.relaxed[target] = reached[at]
        is_safe = completes_within(tables, store, guide, book, target, left, work)
        if is_safe or (not is_full and completion(tables, store, guide, book, target, work) < FAR):
            states[position + 1, kept], relaxed[position + 1, kept] = target, reached[at]
            scores[position + 1, kept] = level_scores[from_ranks[at]] + weight[position, labels[at]]
            parents[position + 1, kept], classes[position + 1, kept] = from_ranks[at], labels[at]
            kept += 1
            has_safe = has_safe or is_safe
        else:
            dropped = max(dropped, bounds[at])
    widths[position + 1] = kept
    return dropped, has_safe


@njit(cache=True, nogil=True)
def keep_way(
    tables, store, guide, book, position, count, left, weight, bound, states, relaxed, scores, parents, classes, widths,
    work,
):  # fmt: skip
    """Keeps one step on the way that is known to complete a state, in addition; whether there is one."""
    for rank in range(count):
        state = states[position, rank]
        if not completes_within(tables, store, guide, book, state, left, work):
            continue
        label, target = np.int64(store.way_class[state]), np.int64(store.way_next[state])
        if target == _TAIL or weight[position, label] == -np.inf:
            continue
        for place in range(guide.class_begin[relaxed[position, rank]], guide.class_begin[relaxed[position, rank] + 1]):
            if guide.classes[place] != label:
                continue
            reached = kernels.relaxed(tables, store, guide, target, np.int64(guide.class_target[place]))
            if reached < 0 or bound[position + 1, reached] == -np.inf:
                continue
            at = widths[position + 1]
            store.relaxed[target] = reached
            states[position + 1, at], relaxed[position + 1, at] = target, reached
            scores[position + 1, at] = scores[position, rank] + weight[position, label]
            parents[position + 1, at], classes[position + 1, at] = rank, label
            widths[position + 1] += 1
            return True
    return False


@njit(cache=True, nogil=True)
def _closing(store, weight, state, position, budget, out):
    """Fills in the classes of the known way from a state that fits, as far as the canvas goes.

    Gives how many these are, -1 if no way fits, and their weight.
    """
    length = len(weight)
    if not 0 <= store.tokens[state] <= length + budget - position:
        return -1, -np.inf
    n, total = 0, 0.0
    while state != _TAIL and position + n < length:
        out[n] = store.way_class[state]
        total += weight[position + n, out[n]]
        state = np.int64(store.way_next[state])
        n += 1
    return (n, total) if total > -np.inf else (-1, -np.inf)


# --- draws ------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _masses(guide, relaxed, weight, bound, out):
    """Fills in what is in proportion to the relaxation's probability of each choice, the end of the text last.

    Gives how many choices there are.
    """
    begin, end = guide.class_begin[relaxed], guide.class_begin[relaxed + 1]
    n = end - begin
    top = -np.inf
    for k in range(n):
        out[k] = weight[guide.classes[begin + k]] + bound[guide.class_target[begin + k]]
        top = max(top, out[k])
    if guide.accepting[relaxed]:
        out[n] = weight[END_CLASS] + bound[len(guide.accepting)]
        top = max(top, out[n])
        n += 1
    for k in range(n):
        out[k] = np.exp(out[k] - top) if out[k] > -np.inf else 0.0
    return n


@njit(cache=True, nogil=True)
def _drawn(mass, n, uniform):
    """An index in proportion to the mass, -1 if there is none."""
    goal, last = 0.0, -1
    for k in range(n):
        goal += mass[k]
    goal *= uniform
    for k in range(n):
        if mass[k] > 0.0:
            last = k
            goal -= mass[k]
            if goal < 0.0:
                break
    return last


@njit(cache=True, nogil=True)
def _followed(tables, store, guide, state, relaxed, choice, bound):
    """The configuration behind a choice, its state in the relaxation, its class, and the share of the relaxation's
    promise that its own bound keeps; ``DEAD`` where the grammar does not go on so."""
    place = guide.class_begin[relaxed] + choice
    if place == guide.class_begin[relaxed + 1]:
        target = _TAIL if kernels.accepts(tables, store, state) else kernels.DEAD
        return target, len(guide.accepting), END_CLASS, 1.0
    target, reached = kernels.follow(tables, store, guide, state, place)
    if target < 0:
        return target, reached, END_CLASS, 0.0
    store.relaxed[target] = reached
    gain = bound[reached] - bound[guide.class_target[place]]
    return target, reached, np.int64(guide.classes[place]), np.exp(min(gain, 0.0))


@njit(cache=True, nogil=True)
def accepted_draw(tables, store, guide, book, weight, bound, start, budget, uniforms, work):
    """The classes of a draw from the relaxation that is accepted with the probability that makes it one from the exact
    posterior, int32 [n], and whether one was accepted; ``uniforms`` [draws, L, 2]."""
    length = len(weight)
    mass = np.empty(np.max(np.diff(guide.class_begin)) + 1)
    out = np.empty(length, np.int32)
    first = relaxed_state(tables, store, guide, start)
    for draw in range(len(uniforms)):
        state, relaxed, n = start, first, 0
        while n < length and state != _TAIL and not store.counts[FULL]:
            choices = _masses(guide, relaxed, weight[n], bound[n + 1], mass)
            choice = _drawn(mass, choices, uniforms[draw, n, 0])
            state, relaxed, label, share = _followed(tables, store, guide, state, relaxed, choice, bound[n + 1])
            if state < 0 or uniforms[draw, n, 1] >= share:
                break
            out[n] = label
            n += 1
        else:
            if state == _TAIL or completes_within(tables, store, guide, book, state, budget, work):
                return out[:n], True
    return out[:0], False


@njit(cache=True, nogil=True)
def guided_draw(tables, store, guide, book, weight, bound, start, budget, uniforms, work):
    """Depth first, at each position in proportion to the bounds; closed early if it was refused too often.

    ``uniforms`` [draws, 2] are used up one after the other. Gives the classes, int32 [n], and whether there are any.
    """
    length = len(weight)
    most = np.max(np.diff(guide.class_begin)) + 1
    mass = np.empty((length, most))
    is_exact = np.zeros((length, most), np.bool_)
    choices = np.empty(length, np.int64)
    states, relaxed = np.empty(length + 1, np.int64), np.empty(length + 1, np.int64)
    out = np.empty(length, np.int32)
    states[0], relaxed[0] = start, relaxed_state(tables, store, guide, start)
    choices[0] = _masses(guide, relaxed[0], weight[0], bound[1], mass[0])
    n, used, refusals = 0, 0, 0
    while refusals <= _MOST_REFUSALS and used < len(uniforms) and work[0] > 0 and not store.counts[FULL]:
        choice = _drawn(mass[n], choices[n], uniforms[used, 0])
        if choice < 0:
            refusals += 1
            n -= 1
            if n < 0:
                return out[:0], False
            continue
        target, reached, label, share = _followed(tables, store, guide, states[n], relaxed[n], choice, bound[n + 1])
        left = length + budget - n - 1
        is_checked = left <= _ROOM or (n + 1) % _STRIDE == 0 or n + 1 == length
        work[0] -= 1
        used += 1
        if target < 0 or (
            target != _TAIL and is_checked and not completes_within(tables, store, guide, book, target, left, work)
        ):
            mass[n, choice] = 0.0
            refusals += 1
            continue
        if not is_exact[n, choice] and uniforms[used - 1, 1] >= share:
            mass[n, choice] *= share
            is_exact[n, choice] = True
            continue
        mass[n, choice] = 0.0
        out[n] = label
        n += 1
        if target == _TAIL or n == length:
            return out[:n], True
        states[n], relaxed[n] = target, reached
        choices[n] = _masses(guide, reached, weight[n], bound[n + 1], mass[n])
        is_exact[n] = False
    for position in range(n, -1, -1):
        completion(tables, store, guide, book, states[position], work)
        behind = np.empty(length + 1, np.int32)
        count, _ = _closing(store, weight, states[position], position, budget, behind)
        if count >= 0:
            out[position : position + count] = behind[:count]
            return out[: position + count], True
    return out[:0], False
