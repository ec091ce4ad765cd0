"""Compiled kernels of the pushdown automaton: stacks and configurations as interned integers.

A store only ever grows; where it is full, a kernel sets ``counts[FULL]`` and gives up with ``DEAD``, and
the caller repeats the call on a larger store.
"""

import heapq
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from constrained_diffusion.automata.kernels import mix

DEAD = -1
ERROR = -1
"""No action of the parser. Actions >= 0 shift to that state, actions a <= -2 reduce by rule -2 - a."""
STACKS, CONFIGS, FULL = 0, 1, 2
"""Positions in ``counts``."""
UNMATCHED = -2
"""The last match of the scanner does not stand."""
FAR = 2**30
"""No way to the end is known."""
END_CLASS = 1
"""The token class of the end tokens, see ``lifting``."""
SEVERAL = -2
"""In place of a stack: the configuration is a set of threads. Its scanner is the first one, its fallback the rest."""
_MOST_THREADS = 64
"""Threads of one configuration that are followed; texts that only further ones would read are given up."""
_MOST_FALLBACKS = 32
"""Lexing that must back up over more pending matches than these at once is not followed."""
_MOST_REDUCTIONS = 100_000


class Tables(NamedTuple):
    """The grammar: Q parser states, T terminals (the last column of ``action`` is the end), S scanner states.

    Of a network (see ``network``) the places to come back to are the parser states and its states are the scanner's; it
    has neither terminals nor actions.

    Attributes:
        action: int32 [Q, T + 1].
        goto: int32 [Q, NT], the parser state behind a nonterminal.
        rule_length, rule_origin: int32 [R].
        is_end: bool [Q], whether a text is complete in a parser state.
        shortest: int32 [P], the least bytes of a text at each place.
        ignored: bool [T].
        scan_start: int32 [Q], where the scanner of each parser state begins.
        scan: int32 [S, K], the next scanner state for each byte class; byte_class: uint8 [256].
        match: int32 [S], the terminal that has matched when the state is reached, -1, or ``UNMATCHED``.
        is_start, is_closed: bool [S], nothing has been read; nothing more can be read.
        match_distance: int32 [S, T], bytes until the terminal can match, or ``FAR``.
        item_begin: int64 [Q + 1]; item_origin, item_dot, item_rest: int32, the kernel items of each parser
            state: the rule's origin (-1 for the root), the place of the dot, the least bytes behind it.
        successor: int32 [Q, Q], the rank of a parser state among those that can stand on another, or -1;
            successor_begin: int64 [Q + 1]; successors: int32, those of each parser state in order of rank.
        window_push: int32 [W, Q], the window of a stack from that of the stack below and the symbol on top.
        is_network: whether it is a network; then ``call``, ``tag``, ``back`` and ``least`` are its.
        has_frame: whether grammars stand in a frame (see ``frame``); then ``frame``, its table, ``frame_accepting``,
            ``frame_call_begin``, ``frame_calls``, ``frame_back`` and ``frame_least`` are its.
        frame_takes: bool [F, K + 1], whether a byte of each class may come in its states, or in the last column the
            end of the text; in doubt it may.
        side: int32 [M, 256], a finite automaton that must accept the same text; side_accepting: bool [M]; side_least:
            int32 [M], the least bytes from each of its states to its end.
    """

    action: NDArray[np.int32]
    goto: NDArray[np.int32]
    rule_length: NDArray[np.int32]
    rule_origin: NDArray[np.int32]
    is_end: NDArray[np.bool_]
    shortest: NDArray[np.int32]
    ignored: NDArray[np.bool_]
    scan_start: NDArray[np.int32]
    scan: NDArray[np.int32]
    byte_class: NDArray[np.uint8]
    match: NDArray[np.int32]
    is_start: NDArray[np.bool_]
    is_closed: NDArray[np.bool_]
    match_distance: NDArray[np.int32]
    item_begin: NDArray[np.int64]
    item_origin: NDArray[np.int32]
    item_dot: NDArray[np.int32]
    item_rest: NDArray[np.int32]
    successor: NDArray[np.int32]
    successor_begin: NDArray[np.int64]
    successors: NDArray[np.int32]
    window_push: NDArray[np.int32]
    is_network: bool
    call: NDArray[np.int32]
    tag: NDArray[np.int32]
    back: NDArray[np.int32]
    least: NDArray[np.int32]
    has_frame: bool
    frame: NDArray[np.int32]
    frame_accepting: NDArray[np.bool_]
    frame_takes: NDArray[np.bool_]
    frame_call_begin: NDArray[np.int64]
    frame_calls: NDArray[np.int32]
    frame_back: NDArray[np.int32]
    frame_least: NDArray[np.int32]
    side: NDArray[np.int32]
    side_accepting: NDArray[np.bool_]
    side_least: NDArray[np.int32]


class Store(NamedTuple):
    """Interned stacks (linked lists) and configurations (stack, scanner state, fallback, side state).

    The fallback of a configuration is the one that takes over when the terminal under way matches no
    more: behind the last match, with the bytes since then read again.

    Attributes:
        symbol, below: int32 [stacks], the parser state on top and the rest, -1 at the bottom.
        place: int32 [stacks], the place of the bottom.
        window: int32 [stacks], what is known of the top of the stack.
        closing: int32 [stacks, successors], the least bytes that close a stack with each successor on top; of a
            network [stacks, tags], those behind what the top was called for, if that ended as each tag.
        is_measured: bool [stacks], whether ``closing`` is filled in.
        stack, scanner, fallback, side: int32 [configs].
        relaxed: int32 [configs], the state of the relaxation that stands for each, -1 where it is not known.
        tokens: int32 [configs], the tokens of a way to the end, end token included; -1 where none was looked for,
            ``FAR`` where none was found. way_class, way_next: int32 [configs], its first token class and what follows.
        next_byte, next_config: int32 [configs], the first byte of that way and what is behind it, or -1.
        effort: int32 [configs], 1 where a shorter way was looked for, else -1.
        stack_slots, config_slots: int32 hash tables.
        counts: int64 [3].
    """

    symbol: NDArray[np.int32]
    below: NDArray[np.int32]
    place: NDArray[np.int32]
    window: NDArray[np.int32]
    closing: NDArray[np.int32]
    is_measured: NDArray[np.bool_]
    stack: NDArray[np.int32]
    scanner: NDArray[np.int32]
    fallback: NDArray[np.int32]
    side: NDArray[np.int32]
    relaxed: NDArray[np.int32]
    tokens: NDArray[np.int32]
    way_class: NDArray[np.int32]
    way_next: NDArray[np.int32]
    next_byte: NDArray[np.int32]
    next_config: NDArray[np.int32]
    effort: NDArray[np.int32]
    stack_slots: NDArray[np.int32]
    config_slots: NDArray[np.int32]
    counts: NDArray[np.int64]


@njit(cache=True, nogil=True)
def hash_slots(first, second, third, fourth, count, size):
    """An open hash table over the first ``count`` entries."""
    slots = np.full(size, -1, np.int32)
    for i in range(count):
        slot = _slot(first[i], second[i], third[i], fourth[i], size)
        while slots[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        slots[slot] = i
    return slots


@njit(cache=True, nogil=True, inline="always")
def _slot(first, second, third, fourth, size):
    key = mix((np.uint64(first + 2) << np.uint64(32)) ^ np.uint64(second + 2))
    key ^= (np.uint64(third + 2) << np.uint64(32)) ^ np.uint64(fourth + 2)
    return np.int64(mix(key) & np.uint64(size - 1))


@njit(cache=True, nogil=True)
def match_distances(steps, match, terminals):
    """int32 [S, T]: the least bytes, at least one, from each scanner state to a match of each terminal, or ``FAR``.

    Args:
        steps: int64 [steps, 2], the pairs of states that some byte connects.
        match: int32 [S].
    """
    distance = np.full((len(match), terminals), FAR, np.int32)
    changed = True
    while changed:
        changed = False
        for i in range(len(steps) - 1, -1, -1):
            source, target = steps[i]
            for terminal in range(terminals):
                behind = 1 if match[target] == terminal else distance[target, terminal] + 1
                if behind < distance[source, terminal]:
                    distance[source, terminal] = behind
                    changed = True
    return distance


@njit(cache=True, nogil=True)
def push(tables, store, stack, symbol):
    """The stack with one more symbol, or ``DEAD`` where the store is full; stack -1 is the empty one."""
    size = len(store.stack_slots)
    slot = _slot(symbol, stack, 0, 0, size)
    while store.stack_slots[slot] >= 0:
        found = store.stack_slots[slot]
        if store.symbol[found] == symbol and store.below[found] == stack:
            return found
        slot = (slot + 1) & (size - 1)
    new = store.counts[STACKS]
    if new >= len(store.symbol):
        store.counts[FULL] = 1
        return DEAD
    store.counts[STACKS] = new + 1
    store.stack_slots[slot] = new
    store.symbol[new] = symbol
    store.below[new] = stack
    # The first stacks and windows are the bottoms, one for each place.
    store.place[new] = store.place[stack] if stack >= 0 else new
    store.window[new] = tables.window_push[store.window[stack], symbol] if stack >= 0 else new
    return new


@njit(cache=True, nogil=True)
def _ensure_measured(tables, store, stack):
    """Fills ``closing`` of a stack where that was not needed before: most stacks only answer what may follow."""
    while not store.is_measured[stack]:
        lowest = stack
        while store.below[lowest] >= 0 and not store.is_measured[store.below[lowest]]:
            lowest = np.int64(store.below[lowest])
        _measure(tables, store, lowest)
        store.is_measured[lowest] = True


@njit(cache=True, nogil=True)
def _measure(tables, store, stack):
    """Fills ``closing`` of a stack, those below it being known: shortest ways over the items of successors."""
    top = store.symbol[stack]
    row = store.closing[stack]
    if tables.is_network:
        below = np.int64(store.below[stack])
        for tag in range(len(row)):
            row[tag] = 0 if below < 0 else _least_of(tables, np.int64(tables.back[top, tag]), store.closing[below])
        return
    row[:] = FAR
    changed = True
    while changed:
        changed = False
        for rank in range(tables.successor_begin[top + 1] - tables.successor_begin[top]):
            symbol = tables.successors[tables.successor_begin[top] + rank]
            best = row[rank]
            for i in range(tables.item_begin[symbol], tables.item_begin[symbol + 1]):
                best = min(best, _behind_item(tables, store, stack, i))
            if best < row[rank]:
                row[rank] = best
                changed = True


@njit(cache=True, nogil=True)
def _least_behind(tables, store, state, stack):
    """The least bytes that complete a text of a network from a state on a stack; ``FAR`` from no state."""
    if state < 0:
        return np.int64(FAR)
    _ensure_measured(tables, store, stack)
    return _least_of(tables, state, store.closing[stack])


@njit(cache=True, nogil=True)
def _least_of(tables, state, closing):
    """The same from the ``closing`` of the stack."""
    best = np.int64(FAR)
    if state >= 0:
        for tag in range(tables.least.shape[1]):
            best = min(best, np.int64(tables.least[state, tag]) + closing[tag])
    return best


@njit(cache=True, nogil=True)
def _behind_item(tables, store, stack, item):
    """The least bytes that complete an item on top of ``stack`` and close what is left."""
    rest = tables.item_rest[item]
    origin = tables.item_origin[item]
    if origin < 0 or rest >= FAR:
        return rest
    for _ in range(tables.item_dot[item] - 1):
        stack = store.below[stack]
    top = store.symbol[stack]
    rank = tables.successor[top, tables.goto[top, origin]]
    return min(rest + store.closing[stack, rank], FAR)


@njit(cache=True, nogil=True)
def closing_of_stack(tables, store, stack):
    """The least bytes that close a stack, an estimate."""
    below = np.int64(store.below[stack])
    if below < 0:
        return tables.shortest[store.place[stack]]
    _ensure_measured(tables, store, below)
    return store.closing[below, tables.successor[store.symbol[below], store.symbol[stack]]]


@njit(cache=True, nogil=True)
def feed(tables, store, stack, terminal):
    """The stack behind one more terminal, or ``DEAD``."""
    if tables.ignored[terminal]:
        return stack
    below, symbol = _shifted(tables, store, stack, terminal)
    return push(tables, store, below, symbol) if below >= 0 else np.int64(DEAD)


@njit(cache=True, nogil=True)
def _closing_behind(tables, store, stack, terminal):
    """``closing_of_stack`` behind one more terminal, without making it; ``FAR`` if the terminal may not come."""
    if tables.ignored[terminal]:
        return np.int64(closing_of_stack(tables, store, stack))
    below, symbol = _shifted(tables, store, stack, terminal)
    if below < 0:
        return np.int64(FAR)
    _ensure_measured(tables, store, below)
    return np.int64(store.closing[below, tables.successor[store.symbol[below], symbol]])


@njit(cache=True, nogil=True)
def _shifted(tables, store, stack, terminal):
    """What a terminal that is not ignored is put on, and the symbol that it becomes; ``DEAD`` if it may not come."""
    for _ in range(_MOST_REDUCTIONS):
        action = np.int64(tables.action[store.symbol[stack], terminal])
        if action >= 0:
            return stack, action
        if action == ERROR:
            break
        stack = np.int64(_reduced(tables, store, stack, -2 - action))
        if stack < 0:
            break
    return np.int64(DEAD), np.int64(DEAD)


@njit(cache=True, nogil=True)
def _reduced(tables, store, stack, rule):
    for _ in range(tables.rule_length[rule]):
        stack = np.int64(store.below[stack])
    return push(tables, store, stack, np.int64(tables.goto[store.symbol[stack], tables.rule_origin[rule]]))


@njit(cache=True, nogil=True)
def is_complete(tables, store, stack):
    """Whether the text may end with this stack."""
    end = len(tables.ignored)
    for _ in range(_MOST_REDUCTIONS):
        action = np.int64(tables.action[store.symbol[stack], end])
        if action >= -1:
            return False
        stack = _reduced(tables, store, stack, -2 - action)
        if stack < 0:
            return False
        if tables.is_end[store.symbol[stack]]:
            return True
    return False


@njit(cache=True, nogil=True)
def intern(store, stack, scanner, fallback, side):
    """The configuration, or ``DEAD`` where the store is full."""
    size = len(store.config_slots)
    slot = _slot(stack, scanner, fallback, side, size)
    while store.config_slots[slot] >= 0:
        found = store.config_slots[slot]
        is_same = store.stack[found] == stack and store.scanner[found] == scanner
        if is_same and store.fallback[found] == fallback and store.side[found] == side:
            return found
        slot = (slot + 1) & (size - 1)
    new = store.counts[CONFIGS]
    if new >= len(store.stack):
        store.counts[FULL] = 1
        return DEAD
    store.counts[CONFIGS] = new + 1
    store.config_slots[slot] = new
    store.stack[new] = stack
    store.scanner[new] = scanner
    store.fallback[new] = fallback
    store.side[new] = side
    return new


@njit(cache=True, nogil=True)
def intern_tail(tables, store):
    """The configuration that stands for the tail behind the text: the first one, on no stack."""
    return intern(store, DEAD, DEAD, DEAD, DEAD)


@njit(cache=True, nogil=True)
def fresh(tables, store, stack, side):
    """The configuration at the start of a terminal."""
    return intern(store, stack, np.int64(tables.scan_start[store.symbol[stack]]), DEAD, side)


@njit(cache=True, nogil=True)
def intern_outside(tables, store, state):
    """The configuration outside of grammars in a state of the frame, at the start of the side automaton."""
    return intern(store, DEAD, np.int64(state), DEAD, 0)


@njit(cache=True, nogil=True)
def start(tables, store):
    """The configuration before the text."""
    if tables.has_frame:
        return intern_outside(tables, store, 0)
    return fresh(tables, store, np.int64(0), 0)


@njit(cache=True, nogil=True)
def _is_useful(tables, store, stack, scanner):
    """Whether a terminal that the scanner can still match is one that the parser takes."""
    for terminal in range(len(tables.ignored)):
        if 0 < tables.match_distance[scanner, terminal] < FAR and (
            tables.ignored[terminal] or _shifted(tables, store, stack, terminal)[0] >= 0
        ):
            return True
    return False


@njit(cache=True, nogil=True)
def _step_alone(tables, store, config, byte_class, fallback, side):
    """One byte; ``fallback`` is where the configuration's own fallback is behind it."""
    scanner = np.int64(tables.scan[store.scanner[config], byte_class])
    if scanner < 0:
        return fallback
    stack = np.int64(store.stack[config])
    if tables.match[scanner] >= 0:
        fed = feed(tables, store, stack, np.int64(tables.match[scanner]))
        fallback = fresh(tables, store, fed, side) if fed >= 0 else DEAD
    elif tables.match[scanner] == UNMATCHED:
        fallback = DEAD
    if tables.is_closed[scanner]:
        return fallback
    if fallback < 0 and not _is_useful(tables, store, stack, scanner):
        return DEAD
    return intern(store, stack, scanner, fallback, side)


@njit(cache=True, nogil=True)
def _step_in_network(tables, store, config, byte_class, side):
    """One byte: a step if there is one, else behind a call, else behind the end of what was called."""
    stack, state = np.int64(store.stack[config]), np.int64(store.scanner[config])
    while tables.scan[state, byte_class] < 0:
        place = np.int64(tables.call[state, byte_class])
        if place >= 0:
            stack = push(tables, store, stack, place)
            if stack < 0:
                return DEAD
            state = np.int64(tables.scan_start[place])
        elif tables.tag[state] >= 0 and store.below[stack] >= 0:
            state = np.int64(tables.back[store.symbol[stack], tables.tag[state]])
            stack = np.int64(store.below[stack])
        else:
            return DEAD
    return intern(store, stack, np.int64(tables.scan[state, byte_class]), DEAD, side)


@njit(cache=True, nogil=True)
def _is_over(tables, store, config):
    """Whether the text may end here in a network."""
    stack, state = np.int64(store.stack[config]), np.int64(store.scanner[config])
    while tables.tag[state] >= 0:
        if store.below[stack] < 0:
            return True
        state = np.int64(tables.back[store.symbol[stack], tables.tag[state]])
        stack = np.int64(store.below[stack])
    return False


@njit(cache=True, nogil=True)
def _step_in_grammar(tables, store, config, byte_class, side):
    """One byte: that of the fallbacks first, the last of them before the others."""
    if store.fallback[config] < 0:
        return _step_alone(tables, store, config, byte_class, DEAD, side)
    chain = np.empty(_MOST_FALLBACKS, np.int64)
    depth = 0
    while config >= 0:
        if depth == _MOST_FALLBACKS:
            return DEAD
        chain[depth] = config
        config = np.int64(store.fallback[config])
        depth += 1
    for i in range(depth - 1, -1, -1):
        config = _step_alone(tables, store, chain[i], byte_class, config, side)
    return config


@njit(cache=True, nogil=True)
def _added(threads, count, thread):
    """The number of threads with one more, unless it is among them, or is none."""
    if thread < 0 or count == len(threads):
        return count
    for i in range(count):
        if threads[i] == thread:
            return count
    threads[count] = thread
    return count + 1


@njit(cache=True, nogil=True)
def _threads_of(store, config, threads):
    """Fills in the threads of a configuration, and gives their number."""
    count = 0
    while store.stack[config] == SEVERAL:
        threads[count] = store.scanner[config]
        config = np.int64(store.fallback[config])
        count += 1
    threads[count] = config
    return count + 1


@njit(cache=True, nogil=True)
def _opened(tables, store, thread, taken, threads, count):
    """Adds the threads that come with a thread without a byte: those of the grammars that a state of the frame calls,
    and behind a grammar's text, if it may end, the state of the frame, where that takes what comes.

    Args:
        taken: what comes, as a column of ``frame_takes``; -1 is anything.
    """
    stack, side = np.int64(store.stack[thread]), np.int64(store.side[thread])
    if stack < 0:
        state = store.scanner[thread]
        for i in range(tables.frame_call_begin[state], tables.frame_call_begin[state + 1]):
            count = _added(threads, count, fresh(tables, store, np.int64(tables.frame_calls[i]), side))
        return count
    back = np.int64(tables.frame_back[store.place[stack]])
    if (taken < 0 or tables.frame_takes[back, taken]) and _is_whole(tables, store, thread):
        count = _added(threads, count, intern(store, DEAD, back, DEAD, side))
    return count


@njit(cache=True, nogil=True)
def _step_in_frame(tables, store, config, byte_class, side):
    """One byte of every thread. Where there are too many, those that have just begun go on, then those that were met
    first: they have the least on their stacks.
    """
    threads = np.empty(2 * _MOST_THREADS, np.int64)
    reached = np.empty(_MOST_THREADS, np.int64)
    members = _threads_of(store, config, threads)
    count = members
    i = 0
    while i < count:
        count = _opened(tables, store, threads[i], byte_class, threads, count)
        i += 1
    found = 0
    for i in range(count):
        thread = threads[(members + i) % count]
        if store.stack[thread] >= 0:
            following = _step_in_grammar(tables, store, thread, byte_class, side)
        else:
            following = np.int64(tables.frame[store.scanner[thread], byte_class])
            if following >= 0:
                following = intern(store, DEAD, following, DEAD, side)
        found = _added(reached, found, following)
    if found == 0:
        return DEAD
    ordered = np.sort(reached[:found])
    several = ordered[found - 1]
    for i in range(found - 2, -1, -1):
        several = intern(store, SEVERAL, ordered[i], several, side)
        if several < 0:
            return DEAD
    return several


@njit(cache=True, nogil=True)
def step(tables, store, config, byte):
    """The configuration behind one more byte, or ``DEAD``."""
    byte_class = np.int64(tables.byte_class[byte])
    side = np.int64(tables.side[store.side[config], byte])
    if side < 0:
        return DEAD
    if tables.is_network:
        return _step_in_network(tables, store, config, byte_class, side)
    if tables.has_frame:
        return _step_in_frame(tables, store, config, byte_class, side)
    return _step_in_grammar(tables, store, config, byte_class, side)


@njit(cache=True, nogil=True)
def run(tables, store, config, text):
    """The configuration behind the bytes of ``text``, uint8 [n], or ``DEAD``."""
    for byte in text:
        config = step(tables, store, config, byte)
        if config < 0:
            break
    return config


@njit(cache=True, nogil=True)
def accepts(tables, store, config):
    """Whether the text may end here."""
    if not tables.side_accepting[store.side[config]]:
        return False
    if tables.is_network:
        return _is_over(tables, store, config)
    if tables.has_frame:
        return _is_over_in_frame(tables, store, config)
    return _is_whole(tables, store, config)


@njit(cache=True, nogil=True)
def _is_whole(tables, store, config):
    """Whether a text of a grammar may end here."""
    while config >= 0:
        if tables.is_start[store.scanner[config]]:
            return is_complete(tables, store, np.int64(store.stack[config]))
        config = np.int64(store.fallback[config])
    return False


@njit(cache=True, nogil=True)
def _is_over_in_frame(tables, store, config):
    """Whether some thread may end here."""
    end = tables.frame_takes.shape[1] - 1
    threads = np.empty(2 * _MOST_THREADS, np.int64)
    count = _threads_of(store, config, threads)
    i = 0
    while i < count:
        thread = threads[i]
        if store.stack[thread] < 0 and tables.frame_accepting[store.scanner[thread]]:
            return True
        count = _opened(tables, store, thread, end, threads, count)
        i += 1
    return False


@njit(cache=True, nogil=True)
def closing(tables, store, config):
    """An estimate of the least bytes that complete the text; that of a network is exact if nothing stands beside it."""
    beside = np.int64(tables.side_least[store.side[config]])
    if tables.is_network:
        scanner, stack = np.int64(store.scanner[config]), np.int64(store.stack[config])
        return max(_least_behind(tables, store, scanner, stack), beside)
    best = np.int64(FAR)
    while store.stack[config] == SEVERAL:
        best = min(best, _closing_of_thread(tables, store, np.int64(store.scanner[config])))
        config = np.int64(store.fallback[config])
    return max(min(best, _closing_of_thread(tables, store, config)), beside)


@njit(cache=True, nogil=True)
def _closing_of_thread(tables, store, config):
    """``closing`` of one thread that nothing stands beside."""
    if store.stack[config] < 0:
        return np.int64(tables.frame_least[store.scanner[config]])
    behind = np.int64(0)
    if tables.has_frame:
        behind = np.int64(tables.frame_least[tables.frame_back[store.place[store.stack[config]]]])
    best = np.int64(FAR)
    while config >= 0:
        scanner, stack = store.scanner[config], np.int64(store.stack[config])
        if tables.is_start[scanner]:
            best = min(best, closing_of_stack(tables, store, stack))
        else:
            for terminal in range(len(tables.ignored)):
                distance = tables.match_distance[scanner, terminal]
                if 0 < distance < best:
                    best = min(best, distance + _closing_behind(tables, store, stack, terminal))
        config = np.int64(store.fallback[config])
    return min(best + behind, FAR)


@njit(cache=True, nogil=True)
def _mark_shortest(tables, store, config, marked):
    """Marks the byte classes that lead on towards the end of the text, as far as that is known."""
    marked[:] = False
    if not tables.has_frame:
        _mark_in_grammar(tables, store, config, marked)
        return
    threads = np.empty(2 * _MOST_THREADS, np.int64)
    count = _threads_of(store, config, threads)
    i = 0
    while i < count:
        thread = threads[i]
        count = _opened(tables, store, thread, -1, threads, count)
        if store.stack[thread] >= 0:
            _mark_in_grammar(tables, store, thread, marked)
        else:
            state = store.scanner[thread]
            for k in range(tables.frame.shape[1]):
                target = tables.frame[state, k]
                if target >= 0 and tables.frame_least[target] < tables.frame_least[state]:
                    marked[k] = True
        i += 1


@njit(cache=True, nogil=True)
def _mark_in_grammar(tables, store, config, marked):
    """Marks those that lead on towards the terminal which closes soonest, for all fallbacks likewise."""
    while config >= 0:
        scanner = store.scanner[config]
        nearest, best = -1, np.int64(FAR)
        for terminal in range(len(tables.ignored)):
            distance = tables.match_distance[scanner, terminal]
            if 0 < distance < best and not tables.ignored[terminal]:
                rest = distance + _closing_behind(tables, store, np.int64(store.stack[config]), terminal)
                if rest < best:
                    nearest, best = terminal, rest
        if nearest >= 0:
            for k in range(tables.scan.shape[1]):
                target = tables.scan[scanner, k]
                if target >= 0:
                    is_match = tables.match[target] == nearest
                    ahead = 1 if is_match else tables.match_distance[target, nearest] + 1
                    marked[k] = marked[k] or ahead == tables.match_distance[scanner, nearest]
        config = np.int64(store.fallback[config])


@njit(cache=True, nogil=True)
def straight_way(tables, store, config, representatives):
    """The bytes of a way that completes a configuration in as many bytes as ``closing`` says, and the configurations on
    it; as ``closing_way``. Nothing, of no length, if ``closing`` says too few.
    """
    rest = closing(tables, store, config)
    text = np.empty(rest if rest < FAR else 0, np.uint8)
    path = np.empty(len(text) + 1, np.int64)
    marked = np.zeros(tables.scan.shape[1], np.bool_)
    current = np.int64(config)
    for place in range(len(path) if rest < FAR else 0):
        path[place] = current
        if (store.next_config[current] >= 0 and 0 <= store.tokens[current] < FAR) or accepts(tables, store, current):
            return text[:place], path[: place + 1]
        if place == len(text):
            break
        following = np.int64(DEAD)
        # Most bytes lead away from the end, and to find out by how much takes long.
        for is_narrow in (True, False):
            if is_narrow:
                if tables.is_network:
                    continue
                _mark_shortest(tables, store, current, marked)
            for byte in representatives:
                if marked[tables.byte_class[byte]] != is_narrow:
                    continue
                target = np.int64(step(tables, store, current, byte))
                if target >= 0 and closing(tables, store, target) < rest - place:
                    text[place] = byte
                    following = target
                    break
            if following >= 0:
                break
        if following < 0:
            break
        current = following
    return text[:0], path[:0]


@njit(cache=True, nogil=True)
def closing_way(tables, store, config, representatives, most, is_narrow):
    """The bytes of a short way to complete a configuration, and the configurations on it, itself first.

    Found best first over single bytes. The way stops where one is known that goes on from there, or where the text may
    end. Nothing, of no length, if none is found. And how many configurations were looked at.

    Args:
        representatives: uint8, a byte of each class that grammar and side automaton treat alike.
        most: configurations that are looked at before it is given up.
        is_narrow: only bytes on the shortest way to the terminal that closes soonest are tried.
    """
    marked = np.ones(tables.scan.shape[1], np.bool_)
    configs = [np.int64(config)]
    parents = [np.int64(-1)]
    read = [np.uint8(0)]
    depths = [np.int64(0)]
    seen = {np.int64(config)}
    # The least estimate of all bytes first, and of those the latest.
    queue = [(np.int64(0), np.int64(0))]
    looked = 0
    while looked < most and len(queue) > 0:
        looked += 1
        place = -heapq.heappop(queue)[1]
        current = configs[place]
        if (store.next_config[current] >= 0 and 0 <= store.tokens[current] < FAR) or accepts(tables, store, current):
            text = np.empty(depths[place], np.uint8)
            path = np.empty(depths[place] + 1, np.int64)
            while place >= 0:
                path[depths[place]] = configs[place]
                if place > 0:
                    text[depths[place] - 1] = read[place]
                place = parents[place]
            return text, path, looked
        if is_narrow:
            _mark_shortest(tables, store, current, marked)
        for byte in representatives:
            if not marked[tables.byte_class[byte]]:
                continue
            target = np.int64(step(tables, store, current, byte))
            if target < 0 or target in seen:
                continue
            rest = closing(tables, store, target)
            if rest >= FAR:
                continue
            seen.add(target)
            depth = depths[place] + 1
            heapq.heappush(queue, (depth + rest, -np.int64(len(configs))))
            configs.append(target)
            parents.append(np.int64(place))
            read.append(byte)
            depths.append(depth)
    return np.empty(0, np.uint8), np.empty(0, np.int64), looked


class Guide(NamedTuple):
    """What finite inference knows of configurations: N states of the relaxation, C token classes.

    Attributes:
        place: int32 [W, S], the entry of each window and scanner state.
        outside: int32 [F], the entry of each state of the frame.
        entry: int32 [entries, M], the state of the relaxation for each entry and side state, or -1.
        class_begin: int64 [N + 1]; classes, class_target: int32, the token classes that each state
            of the relaxation takes, and where they lead.
        text_begin: int64 [C + 1]; text: uint8, a spelling of each class.
        accepting: bool [N], whether the text may end in a state of the relaxation.
        distance: int32 [N + 1], least number of tokens to the end in the relaxation.
    """

    place: NDArray[np.int32]
    outside: NDArray[np.int32]
    entry: NDArray[np.int32]
    class_begin: NDArray[np.int64]
    classes: NDArray[np.int32]
    class_target: NDArray[np.int32]
    text_begin: NDArray[np.int64]
    text: NDArray[np.uint8]
    accepting: NDArray[np.bool_]
    distance: NDArray[np.int32]


@njit(cache=True, nogil=True)
def relaxed(tables, store, guide, config, otherwise):
    """The state of the relaxation that stands for a configuration; ``otherwise`` where only its history knows."""
    stack, scanner, fallback = store.stack[config], store.scanner[config], store.fallback[config]
    if stack == SEVERAL:
        return otherwise
    if stack < 0:
        return np.int64(guide.entry[guide.outside[scanner], store.side[config]])
    if fallback >= 0 and tables.match[scanner] < 0:
        return otherwise
    window = store.window[stack]
    return np.int64(guide.entry[guide.place[window, scanner], store.side[config]])


@njit(cache=True, nogil=True)
def follow(tables, store, guide, config, place):
    """The configuration and its state in the relaxation behind the token class at a place of the guide, or ``DEAD``;
    of a network also where the guess at that place is another than what is so."""
    label = guide.classes[place]
    target = run(tables, store, config, guide.text[guide.text_begin[label] : guide.text_begin[label + 1]])
    if target < 0:
        return DEAD, DEAD
    reached = relaxed(tables, store, guide, target, np.int64(guide.class_target[place]))
    if reached < 0 or (tables.is_network and reached != guide.class_target[place]):
        return DEAD, DEAD
    return target, reached


@njit(cache=True, nogil=True)
def expand(tables, store, guide, config, state, weight, bound, width):
    """The ``width`` best different configurations behind one more token; more if it takes more to be sure.

    The relaxation's bound on a token class is looked at first, and the exact step is taken only where that is
    good enough.

    Args:
        config, state: the configuration, and its state in the relaxation.
        weight: float64 [C], the logarithm of the weight of each token class.
        bound: float64 [N + 1], the logarithm of the greatest weight behind each state of the relaxation.
        width: how many are wanted.

    Gives token classes, configurations and their states in the relaxation, int32 [n] each, the bounds, float64
    [n], and the greatest bound of what was not looked at. The end of the text comes without a configuration, as
    ``DEAD``.
    """
    first, n = guide.class_begin[state], guide.class_begin[state + 1] - guide.class_begin[state]
    scores = np.empty(n)
    for i in range(n):
        scores[i] = weight[guide.classes[first + i]] + bound[guide.class_target[first + i]]
    order = np.argsort(-scores)
    classes = np.empty(n + 1, np.int32)
    targets = np.empty(n + 1, np.int32)
    states = np.empty(n + 1, np.int32)
    bounds = np.empty(n + 1)
    count = 0
    if accepts(tables, store, config):
        classes[0], targets[0], states[0], bounds[0] = END_CLASS, DEAD, len(bound) - 1, weight[END_CLASS]
        count = 1
    best = np.full(width, -np.inf)
    left_out = -np.inf
    for i in order:
        if scores[i] == -np.inf:
            break
        if scores[i] <= best[width - 1]:
            left_out = scores[i]
            break
        target, reached = follow(tables, store, guide, config, first + i)
        if target < 0 or bound[reached] == -np.inf:
            continue
        label = guide.classes[first + i]
        score = weight[label] + bound[reached]
        place = 0
        while place < count and targets[place] != target:
            place += 1
        if place < count and bounds[place] >= score:
            continue
        if place == count:
            count += 1
            insert(best, score)
        classes[place], targets[place], states[place], bounds[place] = label, target, reached, score
    return classes[:count].copy(), targets[:count].copy(), states[:count].copy(), bounds[:count].copy(), left_out


@njit(cache=True, nogil=True)
def insert(best, score):
    """Keeps ``best`` the greatest of its members and the score, in descending order."""
    place = len(best) - 1
    if score <= best[place]:
        return
    while place > 0 and best[place - 1] < score:
        best[place] = best[place - 1]
        place -= 1
    best[place] = score
