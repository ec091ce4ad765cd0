"""Inference on a chain: recursions over the edges of an automaton, for sums and for maxima of products.

Weights come as logarithms, -inf is a true zero. Sums run on extended floats, a mantissa times a power of two with a
64-bit exponent: they can neither overflow nor underflow, and cost no exponential per edge. Where all values of a
position lie so close together that no product of two can underflow, plain floats in units of one power of two do the
same in a quarter of the time. Maxima need no sum and stay in logarithms. Shapes: L positions, C token classes, N + 1
states (the last is the tail behind the end of the text), E edges.
"""

import math

import numpy as np
from numba import njit

LOG, MAX = 0, 1
"""Semirings: sums of products, and greatest products."""

_SAFE = 1e-280
"""A sum of exponentials above this has lost nothing to underflow."""


_ZERO = -(2**60)
"""The exponent of zero."""
_LEAST = -float(2**50)
"""Exponents stop here, so that sums of a canvas stay within 64 bits."""
_POWERS = np.append(2.0 ** -np.arange(63.0), 0.0)
"""2 ** -k; what is 63 binary places below the greatest term of a sum is lost in double precision."""
_WIDEST = 960
"""Products of two numbers up to 2 are normal floats if neither is smaller than 2 to the minus this, in all."""
_SHIFTS = 2.0 ** -np.arange(_WIDEST + 1.0)
"""2 ** -k."""


@njit(cache=True, nogil=True)
def log_sum(values, n, semiring):
    """The semiring's sum of logarithms ``values[:n]``."""
    top = -np.inf
    for i in range(n):
        if values[i] > top:
            top = values[i]
    if semiring == MAX or top == -np.inf or n == 1:
        return top
    total = 0.0
    for i in range(n):
        total += np.exp(values[i] - top)
    return top + np.log(total)


@njit(cache=True, nogil=True)
def extended(log_weights):
    """Logarithms as extended floats: mantissa in [1, 2), and exponent int64; the same shape."""
    rows, columns = log_weights.shape
    mantissa = np.zeros((rows, columns))
    exponent = np.full((rows, columns), _ZERO, np.int64)
    for i in range(rows):
        for j in range(columns):
            if log_weights[i, j] > -np.inf:
                binary = max(log_weights[i, j] / np.log(2.0), _LEAST)
                whole = np.floor(binary)
                exponent[i, j] = np.int64(whole)
                mantissa[i, j] = np.exp((binary - whole) * np.log(2.0))
    return mantissa, exponent


@njit(cache=True, nogil=True)
def log_of(mantissa, exponent):
    """The logarithm of an extended float."""
    return np.log(mantissa) + exponent * np.log(2.0) if mantissa > 0.0 else -np.inf


@njit(cache=True, nogil=True)
def label_weights(class_weight, label_begin, label_class, semiring):
    """float64 [L, labels]: the sum of the class weights of each label; label 0 stands for any token."""
    length, n_classes = class_weight.shape
    n_labels = len(label_begin) - 1
    out = np.empty((length, n_labels))
    linear = np.empty(n_classes)
    largest = 0
    for j in range(n_labels):
        largest = max(largest, label_begin[j + 1] - label_begin[j])
    values = np.empty(largest)
    for i in range(length):
        top = np.max(class_weight[i])
        for c in range(n_classes):
            linear[c] = np.exp(class_weight[i, c] - top) if top > -np.inf else 0.0
        out[i, 0] = 0.0
        for j in range(1, n_labels):
            begin, end = label_begin[j], label_begin[j + 1]
            if semiring == MAX:
                greatest = -np.inf
                for k in range(begin, end):
                    greatest = max(greatest, class_weight[i, label_class[k]])
                out[i, j] = greatest
                continue
            total = 0.0
            for k in range(begin, end):
                total += linear[label_class[k]]
            if total > _SAFE:
                out[i, j] = top + np.log(total)
            else:
                for k in range(begin, end):
                    values[k - begin] = class_weight[i, label_class[k]]
                out[i, j] = log_sum(values, end - begin, semiring)
    return out


@njit(cache=True, nogil=True)
def _spread(mantissa, exponent):
    """The greatest exponent of any but zero, and how far the least is below it."""
    top, least = np.int64(_ZERO), np.int64(-_ZERO)
    for k in range(len(mantissa)):
        if mantissa[k] > 0.0:
            top = max(top, exponent[k])
            least = min(least, exponent[k])
    return top, max(top - least, 0)


@njit(cache=True, nogil=True)
def _scaled(mantissa, exponent, top, out):
    """Fills ``out`` with plain floats, in units of 2 ** ``top``; the spread must be at most ``_WIDEST``."""
    for k in range(len(mantissa)):
        out[k] = mantissa[k] * _SHIFTS[top - exponent[k]] if mantissa[k] > 0.0 else 0.0


@njit(cache=True, nogil=True)
def earliest_positions(edge_begin, edge_target, start):
    """int32 [N + 1]: the least number of tokens from ``start`` to each state."""
    n = len(edge_begin) - 1
    earliest = np.full(n, 2**30, np.int32)
    queue = np.empty(n, np.int32)
    earliest[start] = 0
    queue[0] = start
    count = 1
    i = 0
    while i < count:
        state = queue[i]
        for e in range(edge_begin[state], edge_begin[state + 1]):
            if earliest[edge_target[e]] == 2**30:
                earliest[edge_target[e]] = earliest[state] + 1
                queue[count] = edge_target[e]
                count += 1
        i += 1
    return earliest


@njit(cache=True, nogil=True)
def messages(label_m, label_e, begin, neighbour, label, distance, earliest, budget, start, is_forward):
    """Extended floats [L + 1, N + 1]: the weight of all ways from the start to, or from there to the end of,
    each position and state.

    Edges are grouped by the state whose message they make: by target forwards, by source backwards.
    A state counts at position i only if the start reaches it in i tokens, and if its shortest
    completion fits into what is left of the canvas and of the budget behind it.
    """
    length = len(label_m)
    n = len(distance)
    tail = n - 1
    mantissa = np.zeros((length + 1, n))
    exponent = np.full((length + 1, n), _ZERO, np.int64)
    most = 0
    for s in range(n):
        most = max(most, begin[s + 1] - begin[s])
        if not is_forward and (s == tail or distance[s] <= budget):
            mantissa[length, s] = 1.0
            exponent[length, s] = 0
    if is_forward:
        mantissa[0, start] = 1.0
        exponent[0, start] = 0
    terms = np.empty(most)
    places = np.empty(most, np.int64)
    plain_labels, plain_states = np.empty(label_m.shape[1]), np.empty(n)
    for step in range(length):
        # The token at ``i`` leads from the messages at ``before`` to those at ``here``.
        i = step if is_forward else length - 1 - step
        here, before = (i + 1, i) if is_forward else (i, i + 1)
        top_label, spread_label = _spread(label_m[i], label_e[i])
        top_state, spread_state = _spread(mantissa[before], exponent[before])
        is_plain = spread_label + spread_state <= _WIDEST
        if is_plain:
            _scaled(label_m[i], label_e[i], top_label, plain_labels)
            _scaled(mantissa[before], exponent[before], top_state, plain_states)
        for s in range(n):
            if earliest[s] > here or (s != tail and distance[s] > length + budget - here):
                continue
            if is_plain:
                total = 0.0
                for e in range(begin[s], begin[s + 1]):
                    total += plain_labels[label[e]] * plain_states[neighbour[e]]
                if total > 0.0:
                    fraction, places_up = math.frexp(total)
                    mantissa[here, s], exponent[here, s] = 2.0 * fraction, places_up - 1 + top_label + top_state
                continue
            count = 0
            top = np.int64(_ZERO)
            for e in range(begin[s], begin[s + 1]):
                term = label_m[i, label[e]] * mantissa[before, neighbour[e]]
                if term > 0.0:
                    terms[count] = term
                    places[count] = label_e[i, label[e]] + exponent[before, neighbour[e]]
                    top = max(top, places[count])
                    count += 1
            if count:
                mantissa[here, s], exponent[here, s] = _combined(terms, places, count, top)
    return mantissa, exponent


@njit(cache=True, nogil=True)
def best_messages(label_weight, begin, target, label, distance, earliest, budget):
    """float64 [L + 1, N + 1]: log of the greatest weight of any way from each position and state to the end.

    Counts the same states as ``messages``.
    """
    length = len(label_weight)
    n = len(distance)
    tail = n - 1
    out = np.full((length + 1, n), -np.inf)
    for s in range(n):
        if s == tail or distance[s] <= budget:
            out[length, s] = 0.0
    for i in range(length - 1, -1, -1):
        for s in range(n):
            if earliest[s] > i or (s != tail and distance[s] > length + budget - i):
                continue
            best = -np.inf
            for e in range(begin[s], begin[s + 1]):
                best = max(best, label_weight[i, label[e]] + out[i + 1, target[e]])
            out[i, s] = best
    return out


@njit(cache=True, nogil=True, inline="always")
def _combined(terms, places, count, top):
    """The sum of extended floats whose greatest exponent is ``top``, mantissa in [1, 2)."""
    total = 0.0
    for k in range(count):
        total += terms[k] * _POWERS[min(top - places[k], 63)]
    while total >= 2.0:
        total *= 0.5
        top += 1
    return total, top


@njit(cache=True, nogil=True)
def label_marginals(first, last, label_begin, source, target, forward_m, forward_e, backward_m, backward_e, log_z, out):
    """Fills float64 [L, labels] for some positions: log of the posterior of a label per unit of its weight.

    ``source`` and ``target`` are those of the edges, grouped by label.
    """
    n_labels = len(label_begin) - 1
    terms = np.empty(len(source))
    places = np.empty(len(source), np.int64)
    n = forward_m.shape[1]
    ahead, behind = np.empty(n), np.empty(n)
    for i in range(first, last):
        top_ahead, spread_ahead = _spread(forward_m[i], forward_e[i])
        top_behind, spread_behind = _spread(backward_m[i + 1], backward_e[i + 1])
        is_plain = spread_ahead + spread_behind <= _WIDEST
        if is_plain:
            _scaled(forward_m[i], forward_e[i], top_ahead, ahead)
            _scaled(backward_m[i + 1], backward_e[i + 1], top_behind, behind)
        for j in range(n_labels):
            if is_plain:
                plain = 0.0
                for e in range(label_begin[j], label_begin[j + 1]):
                    plain += ahead[source[e]] * behind[target[e]]
                out[i, j] = log_of(plain, top_ahead + top_behind) - log_z
                continue
            count = 0
            top = np.int64(_ZERO)
            for e in range(label_begin[j], label_begin[j + 1]):
                term = forward_m[i, source[e]] * backward_m[i + 1, target[e]]
                if term > 0.0:
                    terms[count] = term
                    places[count] = forward_e[i, source[e]] + backward_e[i + 1, target[e]]
                    top = max(top, places[count])
                    count += 1
            out[i, j] = -np.inf
            if count:
                total, top = _combined(terms, places, count, top)
                out[i, j] = log_of(total, top) - log_z


@njit(cache=True, nogil=True)
def class_marginals(passed, label_begin, label_class, n_classes):
    """float64 [L, C]: what each class's weight is multiplied by; label 0 multiplies every class."""
    length, n_labels = passed.shape
    out = np.empty((length, n_classes))
    linear = np.empty(n_classes)
    tops = np.empty(n_classes)
    for i in range(length):
        top = np.max(passed[i])
        linear[:] = np.exp(passed[i, 0] - top) if passed[i, 0] > -np.inf else 0.0
        for j in range(1, n_labels):
            if passed[i, j] > -np.inf:
                share = np.exp(passed[i, j] - top)
                for k in range(label_begin[j], label_begin[j + 1]):
                    linear[label_class[k]] += share
        is_exact = True
        for c in range(n_classes):
            is_exact = is_exact and linear[c] > _SAFE
            out[i, c] = top + np.log(linear[c]) if linear[c] > 0 else -np.inf
        if is_exact:
            continue
        tops[:] = passed[i, 0]
        for j in range(1, n_labels):
            for k in range(label_begin[j], label_begin[j + 1]):
                tops[label_class[k]] = max(tops[label_class[k]], passed[i, j])
        for c in range(n_classes):
            if linear[c] <= _SAFE:
                linear[c] = np.exp(passed[i, 0] - tops[c]) if passed[i, 0] > -np.inf else 0.0
            else:
                linear[c] = np.nan
        for j in range(1, n_labels):
            if passed[i, j] > -np.inf:
                for k in range(label_begin[j], label_begin[j + 1]):
                    linear[label_class[k]] += np.exp(passed[i, j] - tops[label_class[k]])
        for c in range(n_classes):
            if linear[c] > 0:
                out[i, c] = tops[c] + np.log(linear[c])
    return out


@njit(cache=True, nogil=True)
def _choose(values, n, uniform):
    """An index drawn in proportion to ``exp(values[:n])``."""
    top = np.max(values[:n])
    total = 0.0
    for k in range(n):
        total += np.exp(values[k] - top)
    goal = uniform * total
    last = -1
    for k in range(n):
        share = np.exp(values[k] - top)
        if share > 0.0:
            last = k
            goal -= share
            if goal < 0.0:
                break
    return last


@njit(cache=True, nogil=True)
def sampled_path(
    label_weight,
    class_weight,
    edge_begin,
    edge_target,
    edge_label,
    label_begin,
    label_class,
    start,
    message_m,
    message_e,
    uniforms,
):
    """int32 [L]: the class at each position of one path drawn from the posterior, or -1 in the tail.

    Label and class weights are logarithms, the messages those to the end; ``uniforms`` [L, 2].
    """
    length = len(label_weight)
    tail = message_m.shape[1] - 1
    values = np.empty(max(_largest_group(edge_begin), _largest_group(label_begin)))
    out = np.full(length, -1, np.int32)
    state = start
    for i in range(length):
        if state == tail:
            break
        begin, end = edge_begin[state], edge_begin[state + 1]
        for e in range(begin, end):
            ahead = log_of(message_m[i + 1, edge_target[e]], message_e[i + 1, edge_target[e]])
            values[e - begin] = label_weight[i, edge_label[e]] + ahead
        edge = begin + _choose(values, end - begin, uniforms[i, 0])
        state = edge_target[edge]
        begin, end = label_begin[edge_label[edge]], label_begin[edge_label[edge] + 1]
        for k in range(begin, end):
            values[k - begin] = class_weight[i, label_class[k]]
        out[i] = label_class[begin + _choose(values, end - begin, uniforms[i, 1])]
    return out


@njit(cache=True, nogil=True)
def best_path(
    label_weight, class_weight, edge_begin, edge_target, edge_label, label_begin, label_class, start, message
):
    """int32 [L]: the class at each position of the best path, or -1 in the tail; ties go to the first edge and class.

    Label and class weights and the messages to the end are logarithms.
    """
    length = len(label_weight)
    tail = message.shape[1] - 1
    out = np.full(length, -1, np.int32)
    state = start
    for i in range(length):
        if state == tail:
            break
        edge, best = -1, -np.inf
        for e in range(edge_begin[state], edge_begin[state + 1]):
            value = label_weight[i, edge_label[e]] + message[i + 1, edge_target[e]]
            if value > best:
                edge, best = e, value
        state = edge_target[edge]
        best = -np.inf
        for k in range(label_begin[edge_label[edge]], label_begin[edge_label[edge] + 1]):
            if class_weight[i, label_class[k]] > best:
                out[i], best = label_class[k], class_weight[i, label_class[k]]
    return out


@njit(cache=True, nogil=True)
def _largest_group(begin):
    most = 0
    for k in range(len(begin) - 1):
        most = max(most, begin[k + 1] - begin[k])
    return most
