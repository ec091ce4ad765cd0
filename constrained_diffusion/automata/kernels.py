"""Compiled kernels on finite automata: subset construction, minimisation, products.

All take and give plain arrays. A count of -1 where a number of states is expected says that
a limit was reached.
"""

import numpy as np
from numba import njit

PLAIN, TEXT_START, TEXT_END = 0, 1, 2
"""Kinds of empty transitions: always passable, only before the first byte, only after the last."""

OK, TOO_MANY_STATES, TOO_MUCH_WORK = 0, 1, 2
"""How a bounded construction ended."""


@njit(cache=True, nogil=True)
def _grown(array, size):
    bigger = np.empty(size, array.dtype)
    bigger[: len(array)] = array
    return bigger


@njit(cache=True, nogil=True)
def mix(value):
    value = np.uint64(value)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True)
def _close(seeds, n_seeds, eps_indptr, eps_dst, eps_kind, allowed, stamp, seen, stack, out):
    """All states reachable over the allowed empty transitions; returns their number in ``out``."""
    top = 0
    count = 0
    for i in range(n_seeds):
        if seen[seeds[i]] != stamp:
            seen[seeds[i]] = stamp
            stack[top] = seeds[i]
            top += 1
    while top > 0:
        top -= 1
        state = stack[top]
        out[count] = state
        count += 1
        for j in range(eps_indptr[state], eps_indptr[state + 1]):
            target = eps_dst[j]
            if allowed[eps_kind[j]] and seen[target] != stamp:
                seen[target] = stamp
                stack[top] = target
                top += 1
    return count


@njit(cache=True, nogil=True)
def determinize(
    indptr,
    set_of,
    dst,
    set_indptr,
    set_classes,
    n_classes,
    eps_indptr,
    eps_dst,
    eps_kind,
    start,
    accept,
    max_states,
    max_work,
):
    """Subset construction over byte classes.

    Returns (status, table int32 [N, K], accepting bool [N]). A step whose bytes lead to one
    state only, the common case, is looked up instead of being closed and hashed again.
    """
    n = len(indptr) - 1
    keeps = np.zeros(n, np.bool_)
    for q in range(n):
        keeps[q] = indptr[q + 1] > indptr[q] or q == accept
        for j in range(eps_indptr[q], eps_indptr[q + 1]):
            keeps[q] = keeps[q] or eps_kind[j] == TEXT_END
    has_text_end = np.any(eps_kind == TEXT_END)

    seen = np.zeros(n, np.int64)
    seen_end = np.zeros(n, np.int64)
    stack = np.empty(n + 1, np.int32)
    closed = np.empty(n + 1, np.int32)
    stamp = 0
    single = np.full(n, -1, np.int32)

    pool = np.empty(4096, np.int32)
    ptr = np.zeros(1025, np.int64)
    hashes = np.empty(1024, np.uint64)
    table = np.empty((1024, n_classes), np.int32)
    accepting = np.zeros(1024, np.bool_)
    slots = np.full(4096, -1, np.int32)
    count = 0

    head = np.full(n_classes, -1, np.int32)
    used = np.empty(n_classes, np.int32)
    link_next = np.empty(4096, np.int32)
    link_dst = np.empty(4096, np.int32)
    seeds = np.empty(n + 1, np.int32)
    work = 0

    current = -1
    while current < count:
        n_used = 0
        n_links = 0
        if current < 0:
            used[0] = 0
            n_used = 1
        else:
            for i in range(ptr[current], ptr[current + 1]):
                q = pool[i]
                for t in range(indptr[q], indptr[q + 1]):
                    for c in range(set_indptr[set_of[t]], set_indptr[set_of[t] + 1]):
                        k = set_classes[c]
                        if n_links == len(link_next):
                            link_next = _grown(link_next, 2 * n_links)
                            link_dst = _grown(link_dst, 2 * n_links)
                        if head[k] < 0:
                            used[n_used] = k
                            n_used += 1
                        link_dst[n_links] = dst[t]
                        link_next[n_links] = head[k]
                        head[k] = n_links
                        n_links += 1
            work += n_links
            for k in range(n_classes):
                table[current, k] = -1
        for u in range(n_used):
            k = used[u]
            n_seeds = 0
            if current < 0:
                seeds[0] = start
                n_seeds = 1
            else:
                first = link_dst[head[k]]
                if link_next[head[k]] < 0 and single[first] >= 0:
                    table[current, k] = single[first]
                    head[k] = -1
                    continue
                stamp += 1
                link = head[k]
                while link >= 0:
                    if seen[link_dst[link]] != stamp:
                        seen[link_dst[link]] = stamp
                        seeds[n_seeds] = link_dst[link]
                        n_seeds += 1
                    link = link_next[link]
                head[k] = -1
            stamp += 1
            allowed = np.array([True, current < 0, False])
            n_closed = _close(seeds, n_seeds, eps_indptr, eps_dst, eps_kind, allowed, stamp, seen, stack, closed)
            work += n_closed
            if work > max_work:
                return TOO_MUCH_WORK, table[:0], accepting[:0]
            size = 0
            is_accepting = False
            for i in range(n_closed):
                if keeps[closed[i]]:
                    is_accepting = is_accepting or closed[i] == accept
                    closed[size] = closed[i]
                    size += 1
            members = np.sort(closed[:size])
            if has_text_end and not is_accepting:
                allowed = np.array([True, current < 0, True])
                n_end = _close(members, size, eps_indptr, eps_dst, eps_kind, allowed, stamp, seen_end, stack, closed)
                for i in range(n_end):
                    is_accepting = is_accepting or closed[i] == accept
            h = np.uint64(size) + np.uint64(is_accepting)
            for i in range(size):
                h = mix(h ^ np.uint64(members[i])) + np.uint64(0x9E3779B97F4A7C15)
            slot = np.int64(h & np.uint64(len(slots) - 1))
            found = -1
            while slots[slot] >= 0:
                other = slots[slot]
                if hashes[other] == h and ptr[other + 1] - ptr[other] == size and accepting[other] == is_accepting:
                    same = True
                    for i in range(size):
                        if pool[ptr[other] + i] != members[i]:
                            same = False
                            break
                    if same:
                        found = other
                        break
                slot = (slot + 1) & (len(slots) - 1)
            if found < 0:
                if count >= max_states:
                    return TOO_MANY_STATES, table[:0], accepting[:0]
                if count == len(hashes):
                    ptr = _grown(ptr, 2 * count + 1)
                    hashes = _grown(hashes, 2 * count)
                    grown = np.zeros(2 * count, np.bool_)
                    grown[:count] = accepting
                    accepting = grown
                    bigger = np.empty((2 * count, n_classes), np.int32)
                    bigger[:count] = table
                    table = bigger
                    slots = np.full(8 * count, -1, np.int32)
                    for d in range(count):
                        s = np.int64(hashes[d] & np.uint64(len(slots) - 1))
                        while slots[s] >= 0:
                            s = (s + 1) & (len(slots) - 1)
                        slots[s] = d
                    slot = np.int64(h & np.uint64(len(slots) - 1))
                    while slots[slot] >= 0:
                        slot = (slot + 1) & (len(slots) - 1)
                while ptr[count] + size > len(pool):
                    pool = _grown(pool, 2 * len(pool))
                for i in range(size):
                    pool[ptr[count] + i] = members[i]
                ptr[count + 1] = ptr[count] + size
                hashes[count] = h
                accepting[count] = is_accepting
                slots[slot] = count
                found = count
                count += 1
            if current >= 0:
                table[current, k] = found
                if n_seeds == 1:
                    single[seeds[0]] = found
        current += 1
    return OK, table[:count], accepting[:count]


@njit(cache=True, nogil=True)
def product(table_a, acc_a, table_b, acc_b, class_a, class_b, is_difference, max_states):
    """Reachable pairs of two automata, for the intersection or for the difference a \\ b.

    ``class_a`` and ``class_b`` int32 [K] give the byte class of each factor for each joint class.
    Returns (status, table, accepting).
    """
    n_b = len(table_b) + 1
    n_classes = len(class_a)
    index = dict()  # noqa: C408  # numba types an empty dict by its first use only when it is written so
    pairs = np.empty(1024, np.int64)
    table = np.empty((1024, n_classes), np.int32)
    index[np.int64(0)] = np.int32(0)
    pairs[0] = 0
    if len(table_b) == 0:
        index[np.int64(n_b - 1)] = np.int32(0)
        pairs[0] = n_b - 1
    count = 1
    current = 0
    while current < count:
        a, b = pairs[current] // n_b, pairs[current] % n_b
        for k in range(n_classes):
            next_a = table_a[a, class_a[k]]
            next_b = np.int64(-1) if b == n_b - 1 else np.int64(table_b[b, class_b[k]])
            if next_a < 0 or (next_b < 0 and not is_difference):
                table[current, k] = -1
                continue
            key = np.int64(next_a) * n_b + (next_b if next_b >= 0 else n_b - 1)
            if key not in index:
                if count >= max_states:
                    return TOO_MANY_STATES, table[:0], np.zeros(0, np.bool_)
                if count == len(pairs):
                    pairs = _grown(pairs, 2 * count)
                    bigger = np.empty((2 * count, n_classes), np.int32)
                    bigger[:count] = table
                    table = bigger
                index[key] = np.int32(count)
                pairs[count] = key
                count += 1
            table[current, k] = index[key]
        current += 1
    accepting = np.zeros(count, np.bool_)
    for i in range(count):
        a, b = pairs[i] // n_b, pairs[i] % n_b
        in_b = b < n_b - 1 and acc_b[b]
        accepting[i] = acc_a[a] and (not in_b if is_difference else in_b)
    return OK, table[:count], accepting


@njit(cache=True, nogil=True)
def live_states(table, accepting):
    """bool [N]: reachable from state 0, and able to reach acceptance."""
    n, n_classes = table.shape
    reached = np.zeros(n, np.bool_)
    queue = np.empty(n, np.int32)
    count = 0
    if n:
        reached[0] = True
        queue[0] = 0
        count = 1
    i = 0
    degree = np.zeros(n + 1, np.int64)
    while i < count:
        for k in range(n_classes):
            target = table[queue[i], k]
            if target >= 0:
                degree[target + 1] += 1
                if not reached[target]:
                    reached[target] = True
                    queue[count] = target
                    count += 1
        i += 1
    indptr = np.cumsum(degree)
    sources = np.empty(indptr[-1], np.int32)
    fill = indptr[:-1].copy()
    for i in range(count):
        for k in range(n_classes):
            target = table[queue[i], k]
            if target >= 0:
                sources[fill[target]] = queue[i]
                fill[target] += 1
    live = np.zeros(n, np.bool_)
    top = 0
    stack = np.empty(n, np.int32)
    for q in range(n):
        if accepting[q] and reached[q]:
            live[q] = True
            stack[top] = q
            top += 1
    while top > 0:
        top -= 1
        state = stack[top]
        for j in range(indptr[state], indptr[state + 1]):
            if not live[sources[j]]:
                live[sources[j]] = True
                stack[top] = sources[j]
                top += 1
    return live


@njit(cache=True, nogil=True)
def _mark(element, elements, location, set_of, first, marked, touched, n_touched):
    s = set_of[element]
    i = location[element]
    j = first[s] + marked[s]
    elements[i] = elements[j]
    location[elements[i]] = i
    elements[j] = element
    location[element] = j
    if marked[s] == 0:
        touched[n_touched] = s
        n_touched += 1
    marked[s] += 1
    return n_touched


@njit(cache=True, nogil=True)
def _split(elements, set_of, first, past, marked, touched, n_touched, n_sets):
    while n_touched > 0:
        n_touched -= 1
        s = touched[n_touched]
        j = first[s] + marked[s]
        if j == past[s]:
            marked[s] = 0
            continue
        if marked[s] <= past[s] - j:
            first[n_sets] = first[s]
            past[n_sets] = j
            first[s] = j
        else:
            past[n_sets] = past[s]
            first[n_sets] = j
            past[s] = j
        for i in range(first[n_sets], past[n_sets]):
            set_of[elements[i]] = n_sets
        marked[s] = 0
        marked[n_sets] = 0
        n_sets += 1
    return n_sets


@njit(cache=True, nogil=True)
def equivalent_states(tails, labels, heads, n, accepting, n_labels):
    """The coarsest partition of the states of a trimmed partial automaton; int64 [N] of block numbers.

    A. Valmari, "Fast brief practical DFA minimization", Information Processing Letters 112 (2012):
    states and transitions are refined in turn, O(M log N) for M transitions.
    """
    m = len(tails)
    size = max(n, m) + 1
    b_elem, b_loc, b_set = np.arange(n), np.arange(n), np.zeros(n, np.int64)
    b_first, b_past = np.zeros(size, np.int64), np.zeros(size, np.int64)
    b_past[0] = n
    b_sets = 1
    marked = np.zeros(size, np.int64)
    touched = np.empty(size, np.int64)
    n_touched = 0
    for q in range(n):
        if accepting[q]:
            n_touched = _mark(q, b_elem, b_loc, b_set, b_first, marked, touched, n_touched)
    b_sets = _split(b_elem, b_set, b_first, b_past, marked, touched, n_touched, b_sets)

    c_elem = np.argsort(labels, kind="mergesort")
    c_loc, c_set = np.empty(m, np.int64), np.empty(m, np.int64)
    c_first, c_past = np.zeros(size, np.int64), np.zeros(size, np.int64)
    c_sets = 0
    for i in range(m):
        if i > 0 and labels[c_elem[i]] != labels[c_elem[i - 1]]:
            c_past[c_sets] = i
            c_sets += 1
            c_first[c_sets] = i
        c_set[c_elem[i]] = c_sets
        c_loc[c_elem[i]] = i
    if m:
        c_past[c_sets] = m
        c_sets += 1

    into_ptr = np.zeros(n + 1, np.int64)
    for t in range(m):
        into_ptr[heads[t] + 1] += 1
    into_ptr = np.cumsum(into_ptr)
    into = np.empty(m, np.int64)
    fill = into_ptr[:-1].copy()
    for t in range(m):
        into[fill[heads[t]]] = t
        fill[heads[t]] += 1

    marked_c = np.zeros(size, np.int64)
    b, c = 1, 0
    while c < c_sets:
        n_touched = 0
        for i in range(c_first[c], c_past[c]):
            n_touched = _mark(tails[c_elem[i]], b_elem, b_loc, b_set, b_first, marked, touched, n_touched)
        b_sets = _split(b_elem, b_set, b_first, b_past, marked, touched, n_touched, b_sets)
        c += 1
        while b < b_sets:
            n_touched = 0
            for i in range(b_first[b], b_past[b]):
                for j in range(into_ptr[b_elem[i]], into_ptr[b_elem[i] + 1]):
                    n_touched = _mark(into[j], c_elem, c_loc, c_set, c_first, marked_c, touched, n_touched)
            c_sets = _split(c_elem, c_set, c_first, c_past, marked_c, touched, n_touched, c_sets)
            b += 1
    return b_set


@njit(cache=True, nogil=True)
def breadth_first(table):
    """int32 [N]: the rank of each state in a breadth-first walk from state 0 (all are reachable)."""
    n, n_classes = table.shape
    rank = np.full(n, -1, np.int32)
    queue = np.empty(n, np.int32)
    rank[0] = 0
    queue[0] = 0
    count = 1
    i = 0
    while i < count:
        for k in range(n_classes):
            target = table[queue[i], k]
            if target >= 0 and rank[target] < 0:
                rank[target] = count
                queue[count] = target
                count += 1
        i += 1
    return rank
