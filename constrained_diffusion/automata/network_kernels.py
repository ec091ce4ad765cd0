"""Compiled kernels of networks: ways to the end of each automaton, and what texts do to the stack."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from constrained_diffusion.automata.kernels import mix
from constrained_diffusion.automata.pushdown_kernels import FAR


@njit(cache=True, nogil=True)
def network_distances(steps, calls, start, back, tag):
    """int32 [S, tags]: the least bytes from each state of a network to an end of its automaton as each tag, or ``FAR``.

    Args:
        steps, calls: int64 [n, 2], the states that some byte connects; states, and the places that their calls come
            back to.
        start, back: where the call of each place begins, int64 [Q], and where it comes back, int32 [Q, tags].
        tag: int32 [S].
    """
    tags = back.shape[1]
    distance = np.full((len(tag), tags), FAR, np.int32)
    for state in range(len(tag)):
        if tag[state] >= 0:
            distance[state, tag[state]] = 0
    changed = True
    while changed:
        changed = False
        for i in range(len(steps) - 1, -1, -1):
            changed |= _shortened(distance, steps[i, 0], 1, steps[i, 1])
        for i in range(len(calls) - 1, -1, -1):
            for ended in range(tags):
                inside = distance[start[calls[i, 1]], ended]
                if inside < FAR and back[calls[i, 1], ended] >= 0:
                    changed |= _shortened(distance, calls[i, 0], inside, back[calls[i, 1], ended])
    return distance


@njit(cache=True, nogil=True)
def _shortened(distance, source, step, target):
    """Takes the way from a state over another one, so many bytes away, where it is shorter; whether it is."""
    is_shorter = False
    for tag in range(distance.shape[1]):
        if distance[target, tag] + step < distance[source, tag]:
            distance[source, tag] = distance[target, tag] + step
            is_shorter = True
    return is_shorter


@njit(cache=True, nogil=True)
def guessed_steps(
    scan, call, tag, back, start, push, undo_begin, undo_window, undo_place, window_of, state_of, entry, limit
):
    """The steps of a network of whose stack a window is known (see ``guessing``): its table, where the states of each
    guess begin and what they are, which states accept, and whether there are more than ``limit`` of them.

    Args:
        scan, call, tag, back, start: the network.
        push, undo_begin, undo_window, undo_place: int32 [W, Q], the window behind a push; int64 [W + 1] and int32, the
            windows and symbols from which a push leads to each.
        window_of, state_of: int32 [N]; entry: int32 [W, S], the number of each window and state.
    """
    n, classes = len(window_of), scan.shape[1]
    table = np.full((n, classes), -1, np.int32)
    accepting = np.zeros(n, np.bool_)
    begin, targets = np.zeros(1025, np.int64), np.empty(1024, np.int32)
    guesses, size = 0, 0
    pending, found = np.empty(n, np.int32), np.empty(n, np.int32)
    seen, is_found = np.zeros(n, np.int64), np.zeros(n, np.int64)
    tried = 0
    for node in range(n):
        for byte in range(classes + 1):
            tried += 1
            pending[0], seen[node] = node, tried
            count, n_found, i = 1, 0, 0
            while i < count:
                window, state = window_of[pending[i]], state_of[pending[i]]
                i += 1
                if byte < classes and scan[state, byte] >= 0:
                    target = entry[window, scan[state, byte]]
                    if is_found[target] != tried:
                        is_found[target] = tried
                        found[n_found] = target
                        n_found += 1
                    continue
                if byte < classes and call[state, byte] >= 0:
                    place = call[state, byte]
                    target = entry[push[window, place], start[place]]
                    if seen[target] != tried:
                        seen[target], pending[count] = tried, target
                        count += 1
                    continue
                if tag[state] < 0:
                    continue
                if window == 0 and byte == classes:
                    accepting[node] = True
                for j in range(undo_begin[window], undo_begin[window + 1]):
                    behind = back[undo_place[j], tag[state]]
                    if behind >= 0 and seen[entry[undo_window[j], behind]] != tried:
                        target = entry[undo_window[j], behind]
                        seen[target], pending[count] = tried, target
                        count += 1
            if n_found == 1:
                table[node, byte] = found[0]
            elif n_found > 1:
                targets, begin = _with_room(targets, size + n_found), _with_room(begin, guesses + 2)
                targets[size : size + n_found] = found[:n_found]
                size += n_found
                table[node, byte] = -2 - guesses
                guesses += 1
                begin[guesses] = size
        if size > limit:
            break
    return table, begin[: guesses + 1].copy(), targets[:size].copy(), accepting, size > limit


@njit(cache=True, nogil=True)
def _with_room(array, size):
    """The array, twice as long where it has less room."""
    while len(array) < size:
        grown = np.zeros(2 * len(array), array.dtype)
        grown[: len(array)] = array
        array = grown
    return array


@njit(cache=True, nogil=True, inline="always")
def guess(table, begin, state, byte):
    """Where the states of the guess behind a byte begin and end, if it is one."""
    step = table[state, byte]
    return (begin[-2 - step], begin[-1 - step]) if step < -1 else (np.int64(0), np.int64(0))


@njit(cache=True, nogil=True)
def pairs_met(table, begin, target, side, column, side_column, limit):
    """int32 [N, M]: numbers of the pairs of states that some text leads to, that of the starts first, else -1; and how
    many there are, more than ``limit`` where it was given up.

    Args:
        table, begin, target: a guessing automaton. side: int32 [M, K], the table of another automaton.
        column, side_column: int64 [classes], the columns of both for each class of bytes.
    """
    number = np.full((len(table), len(side)), -1, np.int32)
    number[0, 0] = 0
    pending = [(np.int64(0), np.int64(0))]
    count = 1
    while len(pending) > 0 and count <= limit:
        state, beside = pending.pop()
        for byte in range(len(column)):
            following = np.int64(side[beside, side_column[byte]])
            step = np.int64(table[state, column[byte]])
            if following < 0 or step == -1:
                continue
            first, last = guess(table, begin, state, column[byte])
            for i in range(first, max(last, first + 1)):
                reached = step if step >= 0 else np.int64(target[i])
                if number[reached, following] < 0:
                    number[reached, following] = count
                    count += 1
                    pending.append((reached, following))
    return number, count


@njit(cache=True, nogil=True)
def steps_of_pairs(table, begin, target, side, column, side_column, number, count):
    """The table of the numbered pairs (see ``pairs_met``), where their guesses begin, and their states."""
    out = np.full((count, len(column)), -1, np.int32)
    begins, targets = np.zeros(1025, np.int64), np.empty(1024, np.int32)
    guesses, size = 0, 0
    for state in range(len(table)):
        for beside in range(len(side)):
            if number[state, beside] < 0:
                continue
            for byte in range(len(column)):
                following = side[beside, side_column[byte]]
                step = table[state, column[byte]]
                if following < 0 or step == -1:
                    continue
                if step >= 0:
                    out[number[state, beside], byte] = number[step, following]
                    continue
                first, last = guess(table, begin, state, column[byte])
                targets, begins = _with_room(targets, size + last - first), _with_room(begins, guesses + 2)
                for i in range(first, last):
                    targets[size + i - first] = number[target[i], following]
                size += last - first
                out[number[state, beside], byte] = -2 - guesses
                guesses += 1
                begins[guesses] = size
    return out, begins[: guesses + 1].copy(), targets[:size].copy()


@njit(cache=True, nogil=True)
def token_kinds(begins, text, byte_class, may_change, inside):
    """int64 [V]: a number for all that a network can tell of each token, -1 for one without bytes; and int64, the first
    token of each number.

    Args:
        begins, text: int64 [V + 1] and uint8, the spellings.
        may_change: bool [K, K], behind such a byte, such another one may change the stack.
        inside: int32 [V], classes of tokens that do the same where the stack stays.
    """
    n = len(begins) - 1
    kind, first = np.full(n, -1, np.int64), np.empty(n, np.int64)
    size = 16
    while size < 2 * n:
        size *= 2
    slots, hashes = np.full(size, -1, np.int32), np.empty((n, 2), np.uint64)
    count = 0
    for token in range(n):
        begin, end = begins[token], begins[token + 1]
        if begin == end:
            continue
        is_plain = True
        one = two = np.uint64(0)
        for p in range(begin, end):
            letter = np.uint64(byte_class[text[p]] + 1)
            one, two = mix(one ^ letter), mix(two + letter * np.uint64(0x9E3779B97F4A7C15))
            is_plain = is_plain and (p == begin or not may_change[byte_class[text[p - 1]], byte_class[text[p]]])
        if is_plain:
            letter = np.uint64(byte_class[text[begin]] + 1)
            one, two = mix(letter << np.uint64(32) ^ np.uint64(inside[token])), letter
        slot = np.int64(one & np.uint64(size - 1))
        while slots[slot] >= 0 and (hashes[slots[slot], 0] != one or hashes[slots[slot], 1] != two):
            slot = (slot + 1) & (size - 1)
        if slots[slot] < 0:
            slots[slot], first[count] = count, token
            hashes[count, 0], hashes[count, 1] = one, two
            count += 1
        kind[token] = slots[slot]
    return kind, first[:count].copy()


class Moves(NamedTuple):
    """What ``network_effects`` needs of a network, see ``network``.

    Attributes:
        start: int32 [Q], the state in which a call begins that comes back to a place.
        owner: int32 [S], the automaton of each state.
        caller_begin, callers: int64 [B + 1] and int32, the places that each automaton comes back to.
        into: int32 [K, S], all states, in the order of those that a byte leads to; into_begin: int64 [K, S + 1], where
            those begin from which it leads to each state.
        changing_begin, changing: int64 [K + 1] and int32, the states in which each byte may change the stack.
        may_change: bool [K, K], behind such a byte, such another one may change the stack.
        may_end, may_end_again: bool [K], an automaton may have ended where such a byte comes; the one behind it, too.
    """

    scan: NDArray[np.int32]
    call: NDArray[np.int32]
    tag: NDArray[np.int32]
    back: NDArray[np.int32]
    start: NDArray[np.int32]
    owner: NDArray[np.int32]
    caller_begin: NDArray[np.int64]
    callers: NDArray[np.int32]
    into: NDArray[np.int32]
    into_begin: NDArray[np.int64]
    changing_begin: NDArray[np.int64]
    changing: NDArray[np.int32]
    may_change: NDArray[np.bool_]
    may_end: NDArray[np.bool_]
    may_end_again: NDArray[np.bool_]


@njit(cache=True, nogil=True)
def network_effects(moves, begins, buffer):
    """uint64 [tokens, 2]: what each text does to the stack of a network, as a random number; 0 if it does nothing.

    Texts of equal numbers lead from every configuration to the same one, if they do so where the stack stays.

    Args:
        begins, buffer: int64 [tokens + 1] and uint8, the texts in byte classes of the network.
    """
    out = np.zeros((len(begins) - 1, 2), np.uint64)
    longest = 1
    for k in range(len(out)):
        longest = max(longest, begins[k + 1] - begins[k])
    behind = np.zeros((longest, (len(moves.caller_begin) - 1) * moves.back.shape[1]), np.uint64)
    is_known = np.zeros(longest, np.bool_)
    stack = np.empty(longest + len(moves.scan) + 1, np.int32)
    sources, earlier = np.empty(len(moves.scan), np.int32), np.empty(len(moves.scan), np.int32)
    for k in range(len(out)):
        text = buffer[begins[k] : begins[k + 1]]
        for p in range(len(text) - 1, -1, -1):
            is_changing = p == 0 or moves.may_change[text[p - 1], text[p]]
            is_known[p] = is_changing and moves.may_end[text[p]]
            if is_known[p]:
                _measure_behind(moves, behind, is_known, stack, text, p)
            if not is_changing:
                continue
            for i in range(moves.changing_begin[text[p]], moves.changing_begin[text[p] + 1]):
                state = moves.changing[i]
                if moves.call[state, text[p]] < 0 and not is_known[p]:
                    continue
                number = _network_effect(moves, behind, is_known, stack, text, p, state)
                if number != 0:
                    count = _sources(moves, text, p, state, sources, earlier)
                    _add_effect(out[k], sources[:count], number)
    return out


@njit(cache=True, nogil=True)
def _sources(moves, text, end, state, sources, earlier):
    """Fills in the states from which ``text[:end]`` leads to a state by steps alone; gives how many these are."""
    sources[0] = state
    count = 1
    for p in range(end - 1, -1, -1):
        earlier[:count] = sources[:count]
        n, count = count, 0
        for i in range(n):
            first, last = moves.into_begin[text[p], earlier[i]], moves.into_begin[text[p], earlier[i] + 1]
            sources[count : count + last - first] = moves.into[text[p], first:last]
            count += last - first
    return count


@njit(cache=True, nogil=True)
def _add_effect(out, states, number):
    """Adds the effect on some states to that on all."""
    for state in states:
        place = (np.uint64(state + 1) * np.uint64(0x9E3779B97F4A7C15)) ^ number
        out[0] += mix(place)
        out[1] += mix(place ^ np.uint64(0x5851F42D4C957F2D))


@njit(cache=True, nogil=True)
def _measure_behind(moves, behind, is_known, stack, text, p):
    """Fills ``behind[p]``: what ``text[p:]`` does where each automaton ends as each tag and comes back to any place."""
    tags = moves.back.shape[1]
    behind[p] = 0
    # An end may lead to another end: as often as can matter.
    for _ in range(behind.shape[1] + 1 if moves.may_end_again[text[p]] else 1):
        is_new = False
        for body in range(len(moves.caller_begin) - 1):
            for tag in range(tags):
                total = np.uint64(0)
                for j in range(moves.caller_begin[body], moves.caller_begin[body + 1]):
                    target = moves.back[moves.callers[j], tag]
                    number = np.uint64(0)
                    if target >= 0:
                        number = _network_effect(moves, behind, is_known, stack, text, p, target)
                    if number != 0:
                        total += mix(number ^ np.uint64(moves.callers[j] + 1) * np.uint64(0x9E3779B97F4A7C15))
                number = mix(total + np.uint64(tag + 1)) if total != 0 else np.uint64(0)
                is_new = is_new or number != behind[p, body * tags + tag]
                behind[p, body * tags + tag] = number
        if not is_new:
            break


@njit(cache=True, nogil=True)
def _network_effect(moves, behind, is_known, stack, text, begin, state):
    """A number for what ``text[begin:]`` does from a state on a stack of which nothing is known; 0 if it is stuck."""
    depth = 0
    for p in range(begin, len(text)):
        while moves.scan[state, text[p]] < 0:
            place = moves.call[state, text[p]]
            tag = moves.tag[state]
            if place >= 0:
                stack[depth] = place
                depth += 1
                state = moves.start[place]
            elif tag < 0:
                return np.uint64(0)
            elif depth > 0:
                depth -= 1
                state = moves.back[stack[depth], tag]
            else:
                return behind[p, moves.owner[state] * moves.back.shape[1] + tag] if is_known[p] else np.uint64(0)
        state = moves.scan[state, text[p]]
    number = mix(np.uint64(state + 1))
    for i in range(depth):
        number = mix(number ^ np.uint64(stack[i] + 1) * np.uint64(0x9E3779B97F4A7C15))
    return number
