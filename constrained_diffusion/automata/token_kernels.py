"""Compiled kernels that lift automata onto the tree of a vocabulary's spellings."""

import numpy as np
from numba import njit

from constrained_diffusion.automata.kernels import mix
from constrained_diffusion.automata.network_kernels import guess


@njit(cache=True, nogil=True)
def flatten(buffer, begins, order):
    """Nodes of sorted strings: each adds a node for every byte behind the prefix shared with the one before."""
    n = len(order)
    total = len(buffer)
    byte = np.empty(total, np.uint8)
    depth = np.empty(total, np.int32)
    end = np.empty(total, np.int32)
    string = np.full(total, -1, np.int32)
    longest = 0
    for i in range(n):
        longest = max(longest, begins[i + 1] - begins[i])
    open_nodes = np.empty(longest + 1, np.int64)
    open_depth = 0
    count = 0
    for i in range(n):
        length = begins[i + 1] - begins[i]
        shared = 0
        if i > 0:
            limit = min(length, begins[i] - begins[i - 1])
            while shared < limit and buffer[begins[i] + shared] == buffer[begins[i - 1] + shared]:
                shared += 1
        while open_depth > shared:
            open_depth -= 1
            end[open_nodes[open_depth]] = count
        for d in range(shared, length):
            byte[count] = buffer[begins[i] + d]
            depth[count] = d + 1
            open_nodes[d] = count
            count += 1
        open_depth = length
        string[count - 1] = order[i]
    while open_depth > 0:
        open_depth -= 1
        end[open_nodes[open_depth]] = count
    return byte[:count].copy(), depth[:count].copy(), end[:count].copy(), string[:count].copy()


@njit(cache=True, nogil=True)
def _common_target(table, state, classes):
    """The one state that all byte classes of a row lead to from ``state``, or ``_MIXED``."""
    if state < 0:
        return -1
    target = table[state, classes[0]]
    i = 1
    while classes[i] >= 0:
        if table[state, classes[i]] != target:
            return -2
        i += 1
    return target


@njit(cache=True, nogil=True)
def _after_wide(table, rows, trailing):
    """int32 [N]: the state after any one character of several bytes, dead included, or -2 if that depends on it."""
    n = len(table)
    continued = np.empty((3, n + 1), np.int32)
    for q in range(n + 1):
        continued[0, q] = q if q < n else -1
    for step in range(1, 3):
        for q in range(n):
            target = _common_target(table, q, rows[0])
            continued[step, q] = continued[step - 1, target] if target != -2 else -2
        continued[step, n] = -1
    after = np.empty(n, np.int32)
    for q in range(n):
        target = np.int32(-3)
        for lead in range(len(trailing)):
            i = 0
            while rows[1 + 2 * lead, i] >= 0 and target != -2:
                reached = table[q, rows[1 + 2 * lead, i]]
                steps = 1
                if rows[2 + 2 * lead, 0] >= 0:
                    reached = _common_target(table, reached, rows[2 + 2 * lead])
                    steps = trailing[lead]
                if reached != -2:
                    reached = continued[steps, reached]
                target = reached if target in (-3, reached) else np.int32(-2)
                i += 1
        after[q] = target
    return after


@njit(cache=True, nogil=True)
def usual_targets(table, byte_class, plain_ascii, rows, trailing, max_plain):
    """Where most plain characters lead from each state.

    Gives ``usual`` int32 [N], the state that most plain ASCII characters lead to (dead included);
    ``after_wide`` int32 [N]; and ``is_even`` bool [N + 1], whether from a state, behind every number of
    plain characters, one state is reached whatever they are. Entry N stands for the dead state.
    """
    n = len(table)
    after_wide = _after_wide(table, rows, trailing)
    usual = np.empty(n, np.int32)
    after = np.empty(n, np.int32)
    for q in range(n):
        votes = 0
        candidate = np.int32(-1)
        for byte in plain_ascii:
            target = table[q, byte_class[byte]]
            if votes == 0:
                candidate = target
            votes += 1 if target == candidate else -1
        usual[q] = candidate
        after[q] = candidate if after_wide[q] == candidate else np.int32(-2)
        for byte in plain_ascii:
            if table[q, byte_class[byte]] != candidate:
                after[q] = -2
    is_even = np.ones(n + 1, np.bool_)
    for q in range(n):
        reached = np.int32(q)
        for _ in range(max_plain):
            if reached < 0 or after[reached] == reached:
                break
            reached = after[reached]
            if reached == -2:
                is_even[q] = False
                break
    return usual, after_wide, after, is_even


@njit(cache=True, nogil=True)
def _add_walk(table, byte_class, state, path, byte, depth, end, string, first, last, signatures):
    """Adds to the signature of every spelling of a subtree that leads from ``state`` to a living state."""
    path[0] = state
    node = first
    while node < last:
        target = table[path[depth[node] - 1], byte_class[byte[node]]]
        if target < 0:
            node = end[node]
            continue
        path[depth[node]] = target
        if string[node] >= 0:
            pair = (np.uint64(state) << np.uint64(32)) | np.uint64(target + 1)
            signatures[string[node], 0] += mix(pair)
            signatures[string[node], 1] += mix(pair ^ np.uint64(0x5851F42D4C957F2D))
        node += 1


@njit(cache=True, nogil=True)
def _roots(byte, end):
    """int64 [257]: the node of each first byte, or the end of the tree."""
    roots = np.full(257, len(byte), np.int64)
    node = 0
    while node < len(byte):
        roots[byte[node]] = node
        node = end[node]
    return roots


@njit(cache=True, nogil=True)
def signatures(
    table,
    byte_class,
    plain_ascii,
    rows,
    trailing,
    plain_length,
    first_byte,
    max_plain,
    a_byte,
    a_depth,
    a_end,
    a_string,
    o_byte,
    o_depth,
    o_end,
    o_string,
    first_state,
    stride,
):
    """uint64 [S, 2]: per spelling the sum over every ``stride``-th state of a random number for (state, target).

    Where most plain characters lead to one state, plain spellings are counted by their length
    alone, and only those that begin with an exception are walked one by one.
    """
    usual, after_wide, after, is_even = usual_targets(table, byte_class, plain_ascii, rows, trailing, max_plain)
    n_spellings = len(plain_length)
    out = np.zeros((n_spellings, 2), np.uint64)
    of_length = np.zeros((max_plain + 1, 2), np.uint64)
    excepted = np.zeros((256, max_plain + 1, 2), np.uint64)
    deepest = 0
    for i in range(len(a_depth)):
        deepest = max(deepest, a_depth[i])
    path = np.empty(deepest + 1, np.int32)
    a_roots, o_roots = _roots(a_byte, a_end), _roots(o_byte, o_end)
    is_exception = np.zeros(256, np.bool_)
    exceptions = np.empty(256, np.int64)
    for state in range(first_state, len(table), stride):
        if not is_even[usual[state]]:
            _add_walk(table, byte_class, state, path, a_byte, a_depth, a_end, a_string, 0, len(a_byte), out)
            continue
        n_exceptions = 0
        is_exception[:] = False
        for byte in plain_ascii:
            if table[state, byte_class[byte]] != usual[state]:
                is_exception[byte] = True
        if after_wide[state] != usual[state]:
            is_exception[0xC2:0xF5] = True
        for byte in range(256):
            if is_exception[byte]:
                exceptions[n_exceptions] = byte
                n_exceptions += 1
            elif o_roots[byte] < len(o_byte):
                first, last = o_roots[byte], o_end[o_roots[byte]]
                _add_walk(table, byte_class, state, path, o_byte, o_depth, o_end, o_string, first, last, out)
        for k in range(n_exceptions):
            first = a_roots[exceptions[k]]
            if first < len(a_byte):
                _add_walk(table, byte_class, state, path, a_byte, a_depth, a_end, a_string, first, a_end[first], out)
        reached = usual[state]
        for length in range(1, max_plain + 1):
            if reached < 0:
                break
            pair = (np.uint64(state) << np.uint64(32)) | np.uint64(reached + 1)
            first_number, second_number = mix(pair), mix(pair ^ np.uint64(0x5851F42D4C957F2D))
            of_length[length, 0] += first_number
            of_length[length, 1] += second_number
            for k in range(n_exceptions):
                excepted[exceptions[k], length, 0] += first_number
                excepted[exceptions[k], length, 1] += second_number
            reached = after[reached]
    for i in range(n_spellings):
        if plain_length[i] > 0:
            for half in range(2):
                out[i, half] += of_length[plain_length[i], half] - excepted[first_byte[i], plain_length[i], half]
    return out


@njit(cache=True, nogil=True)
def number_signatures(signatures):
    """int32 [S]: class 0 for the zero signature, else 2, 3 ... in order of appearance; and one spelling of each."""
    n = len(signatures)
    size = 16
    while size < 4 * n:
        size *= 2
    slots = np.full(size, -1, np.int32)
    classes = np.zeros(n, np.int32)
    representatives = np.empty(n, np.int64)
    count = 0
    for i in range(n):
        if signatures[i, 0] == 0 and signatures[i, 1] == 0:
            continue
        slot = np.int64(signatures[i, 0] & np.uint64(size - 1))
        while slots[slot] >= 0:
            other = representatives[slots[slot]]
            if signatures[other, 0] == signatures[i, 0] and signatures[other, 1] == signatures[i, 1]:
                break
            slot = (slot + 1) & (size - 1)
        if slots[slot] < 0:
            slots[slot] = count
            representatives[count] = i
            count += 1
        classes[i] = slots[slot] + 2
    return classes, representatives[:count].copy()


@njit(cache=True, nogil=True)
def all_steps(table, byte_class, byte, depth, end, string, deepest, limit, first_state, stride):
    """int32 [steps, 3] of (state, target, spelling) for every ``stride``-th state; stops behind ``limit`` of them."""
    steps = np.empty((1024, 3), np.int32)
    path = np.empty(deepest + 1, np.int32)
    count = 0
    for state in range(first_state, len(table), stride):
        path[0] = state
        node = 0
        while node < len(byte):
            target = table[path[depth[node] - 1], byte_class[byte[node]]]
            if target < 0:
                node = end[node]
                continue
            path[depth[node]] = target
            if string[node] >= 0:
                if count == len(steps):
                    grown = np.empty((2 * count, 3), np.int32)
                    grown[:count] = steps
                    steps = grown
                steps[count, 0] = state
                steps[count, 1] = target
                steps[count, 2] = string[node]
                count += 1
            node += 1
        if count > limit:
            break
    return steps[:count].copy()


@njit(cache=True, nogil=True)
def all_guessed_steps(
    table, begin, target, byte_class, byte, depth, end, string, deepest, limit, first_state, stride
):  # fmt: skip
    """As ``all_steps`` for an automaton that guesses (see ``guessing``), each target once."""
    n = len(table)
    steps = np.empty((1024, 3), np.int32)
    path, widths = np.empty((deepest + 1, n), np.int32), np.zeros(deepest + 1, np.int64)
    seen = np.zeros(n, np.int64)
    tried, count = 0, 0
    for state in range(first_state, n, stride):
        path[0, 0], widths[0] = state, 1
        node = 0
        while node < len(byte):
            level, letter = depth[node], byte_class[byte[node]]
            tried += 1
            width = 0
            for i in range(widths[level - 1]):
                step = table[path[level - 1, i], letter]
                first, last = guess(table, begin, path[level - 1, i], letter)
                for j in range(first, max(last, first + 1)):
                    reached = step if step >= -1 else target[j]
                    if reached >= 0 and seen[reached] != tried:
                        seen[reached], path[level, width] = tried, reached
                        width += 1
            widths[level] = width
            if width == 0:
                node = end[node]
                continue
            if string[node] >= 0:
                while count + width > len(steps):
                    grown = np.empty((2 * len(steps), 3), np.int32)
                    grown[:count] = steps[:count]
                    steps = grown
                for i in range(width):
                    steps[count, 0], steps[count, 1], steps[count, 2] = state, path[level, i], string[node]
                    count += 1
            node += 1
        if count > limit:
            break
    return steps[:count].copy()


@njit(cache=True, nogil=True)
def distances(edge_begin, edge_target, tail):
    """int32 [N + 1]: least number of edges to the tail."""
    n = tail + 1
    into = np.zeros(n + 1, np.int64)
    for e in range(len(edge_target)):
        into[edge_target[e] + 1] += 1
    into = np.cumsum(into)
    sources = np.empty(len(edge_target), np.int32)
    fill = into[:-1].copy()
    for state in range(n):
        for e in range(edge_begin[state], edge_begin[state + 1]):
            sources[fill[edge_target[e]]] = state
            fill[edge_target[e]] += 1
    distance = np.full(n, 2**30, np.int32)
    queue = np.empty(n, np.int32)
    distance[tail] = 0
    queue[0] = tail
    count = 1
    i = 0
    while i < count:
        state = queue[i]
        for j in range(into[state], into[state + 1]):
            if distance[sources[j]] == 2**30:
                distance[sources[j]] = distance[state] + 1
                queue[count] = sources[j]
                count += 1
        i += 1
    return distance
