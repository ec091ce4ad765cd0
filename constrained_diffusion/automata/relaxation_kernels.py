"""Compiled kernels of relaxations."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def meetings(begin, label, target, class_begin, classes, empty_begin, empty_target, side, start):
    """bool [N, M]: whether some text leads to a node and, beside it, to a state of the side automaton.

    Args:
        begin: int64 [N + 1]; label, target: int64, the steps of each node.
        class_begin: int64 [labels + 1]; classes: int64, the classes of bytes of each label.
        empty_begin: int64 [N + 1]; empty_target: int64, the steps without a byte.
        side: int32 [M, K].
        start: the first node; beside it stands state 0.
    """
    met = np.zeros((len(begin) - 1, len(side)), np.bool_)
    met[start, 0] = True
    pending = [(np.int64(start), np.int64(0))]
    while len(pending) > 0:
        node, state = pending.pop()
        for i in range(empty_begin[node], empty_begin[node + 1]):
            if not met[empty_target[i], state]:
                met[empty_target[i], state] = True
                pending.append((empty_target[i], state))
        for i in range(begin[node], begin[node + 1]):
            for j in range(class_begin[label[i]], class_begin[label[i] + 1]):
                following = np.int64(side[state, classes[j]])
                if following >= 0 and not met[target[i], following]:
                    met[target[i], following] = True
                    pending.append((target[i], following))
    return met
