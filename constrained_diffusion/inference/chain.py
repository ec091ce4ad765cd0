"""Inference on a chain: recursions over the edges of an automaton, for sums and for maxima of products.

Weights come as logarithms, -inf is a true zero. Sums run on extended floats, a mantissa times a power of two with a
64-bit exponent: they can neither overflow nor underflow, and cost no exponential per edge. Where all values of a
position lie so close together that no product of two can underflow, plain floats in units of one power of two do the
same in a quarter of the time. Maxima need no sum and stay in logarithms. What states share of their edges, and labels
of their classes, is added once (see ``automata.sharing``). Shapes: L positions, C token classes, J labels, N + 1 states
(the last is the tail behind the end of the text), B bundles of edges.
"""

import numpy as np
from numba import njit

from constrained_diffusion.inference.sum_kernels import (
    ZERO,
    extended_down,
    extended_products,
    extended_sum,
    extended_up,
    greatest_up,
    least_down,
    plain_down,
    plain_products,
    plain_up,
    split,
)

_LEAST = -float(2**50)
"""Exponents stop here, so that sums of a canvas stay within 64 bits."""
_WIDEST = 960
"""Products of two numbers up to 2 are normal floats if neither is smaller than 2 to the minus this, in all."""
_SHIFTS = 2.0 ** -np.arange(_WIDEST + 1.0)
"""2 ** -k."""


@njit(cache=True, nogil=True)
def _extended(log_weight):
    """A logarithm as an extended float, its mantissa in [1, 2)."""
    if log_weight == -np.inf:
        return 0.0, np.int64(ZERO)
    binary = max(log_weight / np.log(2.0), _LEAST)
    whole = np.floor(binary)
    return np.exp((binary - whole) * np.log(2.0)), np.int64(whole)


@njit(cache=True, nogil=True)
def log_of(mantissa, exponent):
    """The logarithm of an extended float."""
    return np.log(mantissa) + exponent * np.log(2.0) if mantissa > 0.0 else -np.inf


@njit(cache=True, nogil=True)
def label_weights(first, last, class_weight, sums, mantissa, exponent):
    """Fills extended floats [L, J] for some positions: the sum of the class weights of each label.

    Label 0 stands for any token. ``class_weight`` [L, C] are logarithms, ``sums`` those of the classes of each label.
    """
    n_labels = mantissa.shape[1]
    bundles = len(sums.item_begin) - 1
    size = len(sums.user_begin) - 1
    plain = np.empty(size)
    wide_m, wide_e = np.empty(size), np.empty(size, np.int64)
    class_m, class_e = np.empty(class_weight.shape[1]), np.empty(class_weight.shape[1], np.int64)
    for i in range(first, last):
        top, least = -np.inf, np.inf
        for weight in class_weight[i]:
            if weight > -np.inf:
                top, least = max(top, weight), min(least, weight)
        if top - least <= _WIDEST * np.log(2.0):
            for b in range(bundles):
                plain[b] = 0.0
                for k in range(sums.item_begin[b], sums.item_begin[b + 1]):
                    if class_weight[i, sums.item[k]] > -np.inf:
                        plain[b] += np.exp(class_weight[i, sums.item[k]] - top)
            plain_up(sums, plain)
            unit, places = _extended(top)
            for j in range(n_labels):
                mantissa[i, j], exponent[i, j] = split(plain[size - n_labels + j] * unit, places)
        else:
            for c in range(len(class_m)):
                class_m[c], class_e[c] = _extended(class_weight[i, c])
            for b in range(bundles):
                wide_m[b], wide_e[b] = extended_sum(
                    class_m, class_e, sums.item, sums.item_begin[b], sums.item_begin[b + 1]
                )
            extended_up(sums, wide_m, wide_e)
            mantissa[i], exponent[i] = wide_m[size - n_labels :], wide_e[size - n_labels :]
        mantissa[i, 0], exponent[i, 0] = 1.0, 0


@njit(cache=True, nogil=True)
def best_labels(first, last, class_weight, sums, out):
    """Fills float64 [L, J] for some positions: the greatest class weight of each label; as ``label_weights``."""
    n_labels = out.shape[1]
    size = len(sums.user_begin) - 1
    values = np.empty(size)
    for i in range(first, last):
        for b in range(len(sums.item_begin) - 1):
            greatest = -np.inf
            for k in range(sums.item_begin[b], sums.item_begin[b + 1]):
                if class_weight[i, sums.item[k]] > greatest:
                    greatest = class_weight[i, sums.item[k]]
            values[b] = greatest
        greatest_up(sums, values)
        out[i] = values[size - n_labels :]
        out[i, 0] = 0.0


@njit(cache=True, nogil=True)
def _spread(mantissa, exponent):
    """The greatest exponent of any but zero, and how far the least is below it."""
    top, least = np.int64(ZERO), np.int64(-ZERO)
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
def _nearest(distance):
    """The distances from the end, that of the tail such that it counts everywhere."""
    nearest = distance.astype(np.int64)
    nearest[len(distance) - 1] = ZERO
    return nearest


@njit(cache=True, nogil=True)
def messages(label_m, label_e, sums, begin, target, label, distance, earliest, budget):
    """Extended floats [L + 1, N + 1]: the weight of all ways from each position and state to the end.

    A state counts at position i only if the start reaches it in i tokens, and if its shortest completion fits into what
    is left of the canvas and of the budget behind it.

    Args:
        sums: the sums over what leads on from each state; begin, target, label: what that is, in bundles.
    """
    length, n = len(label_m), len(distance)
    bundles, size = len(begin) - 1, len(sums.user_begin) - 1
    mantissa, exponent = np.zeros((length + 1, n)), np.full((length + 1, n), ZERO, np.int64)
    nearest = _nearest(distance)
    since, near = least_down(sums, earliest), least_down(sums, nearest)
    for s in range(n):
        if nearest[s] <= budget:
            mantissa[length, s], exponent[length, s] = 1.0, 0
    plain_labels, plain_states, plain = np.empty(label_m.shape[1]), np.empty(n), np.empty(size)
    wide_m, wide_e = np.empty(size), np.empty(size, np.int64)
    for i in range(length - 1, -1, -1):
        left = length + budget - i
        state_m, state_e = mantissa[i + 1], exponent[i + 1]
        top_label, spread_label = _spread(label_m[i], label_e[i])
        top_state, spread_state = _spread(state_m, state_e)
        is_plain = spread_label + spread_state <= _WIDEST
        if is_plain:
            _scaled(label_m[i], label_e[i], top_label, plain_labels)
            _scaled(state_m, state_e, top_state, plain_states)
            for b in range(bundles):
                plain[b] = 0.0
                if since[b] <= i and near[b] <= left:
                    plain[b] = plain_products(plain_labels, label, plain_states, target, begin[b], begin[b + 1])
            plain_up(sums, plain)
        else:
            for b in range(bundles):
                wide_m[b], wide_e[b] = extended_products(
                    label_m[i], label_e[i], label, state_m, state_e, target, begin[b], begin[b + 1]
                )
            extended_up(sums, wide_m, wide_e)
        for s in range(n):
            if earliest[s] > i or nearest[s] > left:
                continue
            v = size - n + s
            if is_plain:
                mantissa[i, s], exponent[i, s] = split(plain[v], top_label + top_state)
            else:
                mantissa[i, s], exponent[i, s] = wide_m[v], wide_e[v]
    return mantissa, exponent


@njit(cache=True, nogil=True)
def forward_messages(label_m, label_e, sums, begin, bundle, label, distance, earliest, budget, start):
    """Extended floats [L, B]: the weight of all ways from the start to each position and bundle.

    Counts the same states as ``messages``.

    Args:
        sums: the sums over what leads on from each state; begin, bundle, label: what leads to each state.
    """
    length, n = len(label_m), len(distance)
    bundles, size = len(sums.item_begin) - 1, len(sums.user_begin) - 1
    mantissa, exponent = np.zeros((length, bundles)), np.full((length, bundles), ZERO, np.int64)
    nearest = _nearest(distance)
    state_m, state_e = np.zeros(n), np.full(n, ZERO, np.int64)
    state_m[start], state_e[start] = 1.0, 0
    plain_labels, plain = np.empty(label_m.shape[1]), np.empty(size)
    wide_m, wide_e = np.empty(size), np.empty(size, np.int64)
    for i in range(length):
        left = length + budget - i - 1
        top_label, spread_label = _spread(label_m[i], label_e[i])
        top_state, spread_state = _spread(state_m, state_e)
        is_plain = spread_label + spread_state <= _WIDEST
        if is_plain:
            _scaled(label_m[i], label_e[i], top_label, plain_labels)
            _scaled(state_m, state_e, top_state, plain[size - n :])
            plain_down(sums, plain, n)
            for b in range(bundles):
                mantissa[i, b], exponent[i, b] = split(plain[b], top_state)
        else:
            wide_m[size - n :], wide_e[size - n :] = state_m, state_e
            extended_down(sums, wide_m, wide_e, n)
            mantissa[i], exponent[i] = wide_m[:bundles], wide_e[:bundles]
        for s in range(n):
            state_m[s], state_e[s] = 0.0, ZERO
            if earliest[s] > i + 1 or nearest[s] > left:
                continue
            if is_plain:
                total = plain_products(plain_labels, label, plain, bundle, begin[s], begin[s + 1])
                state_m[s], state_e[s] = split(total, top_label + top_state)
            else:
                state_m[s], state_e[s] = extended_products(
                    label_m[i], label_e[i], label, wide_m, wide_e, bundle, begin[s], begin[s + 1]
                )
    return mantissa, exponent


@njit(cache=True, nogil=True)
def best_messages(label_weight, sums, begin, target, label, distance, earliest, budget):
    """float64 [L + 1, N + 1]: log of the greatest weight of any way from each position and state to the end.

    ``label_weight`` [L, J] are logarithms. Counts the same states as ``messages``, of the same arguments.
    """
    length, n = len(label_weight), len(distance)
    bundles, size = len(begin) - 1, len(sums.user_begin) - 1
    out = np.full((length + 1, n), -np.inf)
    nearest = _nearest(distance)
    since, near = least_down(sums, earliest), least_down(sums, nearest)
    out[length, nearest <= budget] = 0.0
    values = np.empty(size)
    for i in range(length - 1, -1, -1):
        left = length + budget - i
        for b in range(bundles):
            best = -np.inf
            if since[b] <= i and near[b] <= left:
                for k in range(begin[b], begin[b + 1]):
                    value = label_weight[i, label[k]] + out[i + 1, target[k]]
                    if value > best:
                        best = value
            values[b] = best
        greatest_up(sums, values)
        for s in range(n):
            if earliest[s] <= i and nearest[s] <= left:
                out[i, s] = values[size - n + s]
    return out


@njit(cache=True, nogil=True)
def class_factors(
    first, last, sums, begin, bundle, target, forward_m, forward_e, backward_m, backward_e, log_z, out
):  # fmt: skip
    """Fills float64 [L, C] for some positions: log of what the constraint multiplies each class's weight by.

    Args:
        sums: the sums over the classes of each label; begin, bundle, target: what bears each label.
        forward_m, forward_e: extended floats [L, B], of ``forward_messages``.
        backward_m, backward_e: extended floats [L + 1, N + 1], of ``messages``.
        log_z: log of the weight of all ways.
    """
    n_labels = len(begin) - 1
    size = len(sums.user_begin) - 1
    ahead, behind, plain = np.empty(forward_m.shape[1]), np.empty(backward_m.shape[1]), np.empty(size)
    wide_m, wide_e = np.empty(size), np.empty(size, np.int64)
    for i in range(first, last):
        behind_m, behind_e = backward_m[i + 1], backward_e[i + 1]
        top_ahead, spread_ahead = _spread(forward_m[i], forward_e[i])
        top_behind, spread_behind = _spread(behind_m, behind_e)
        if spread_ahead + spread_behind <= _WIDEST:
            _scaled(forward_m[i], forward_e[i], top_ahead, ahead)
            _scaled(behind_m, behind_e, top_behind, behind)
            for j in range(n_labels):
                plain[size - n_labels + j] = plain_products(ahead, bundle, behind, target, begin[j], begin[j + 1])
            plain_down(sums, plain, n_labels)
            for b in range(len(sums.item_begin) - 1):
                value = log_of(plain[b] + plain[size - n_labels], top_ahead + top_behind) - log_z
                for k in range(sums.item_begin[b], sums.item_begin[b + 1]):
                    out[i, sums.item[k]] = value
            continue
        for j in range(n_labels):
            v = size - n_labels + j
            wide_m[v], wide_e[v] = extended_products(
                forward_m[i], forward_e[i], bundle, behind_m, behind_e, target, begin[j], begin[j + 1]
            )
        extended_down(sums, wide_m, wide_e, n_labels)
        two = np.empty(2, np.int64)
        two[1] = size - n_labels
        for b in range(len(sums.item_begin) - 1):
            two[0] = b
            value = log_of(*extended_sum(wide_m, wide_e, two, 0, 2)) - log_z
            for k in range(sums.item_begin[b], sums.item_begin[b + 1]):
                out[i, sums.item[k]] = value


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
    label_m,
    label_e,
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

    Class weights are logarithms, label weights and the messages to the end extended floats; ``uniforms`` [L, 2].
    """
    length = len(label_m)
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
            values[e - begin] = log_of(label_m[i, edge_label[e]], label_e[i, edge_label[e]]) + ahead
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
