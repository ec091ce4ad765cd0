"""A finite automaton that accepts every text of a grammar and some others: the stack is known by its top only.

Of each stack a window of the top symbols is told apart. When a reduction pops deeper than the window
reaches, every symbol that can lie there is tried, so the automaton is nondeterministic; made
deterministic it is an ordinary ``ByteDFA``.

Exact configurations know their window again when they have returned to it, so each pair of a
window and a scanner state is an *entry* of the automaton, not only its start. To carry many starts
through subset construction, intersection and minimisation, which know one, an entry is spelled in
front of the text with bytes that no UTF-8 text holds; these are cut off in the end.

Where even a window of one symbol makes too large an automaton, the stack is forgotten behind every terminal; where
that does, nothing of the grammar is known at all, and all is left to the search.

Whether a terminal under way is finished is guessed, and the guess checked against the next byte only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import DEAD, ByteDFA
from constrained_diffusion.automata.network import Network
from constrained_diffusion.automata.pushdown import Grammar, PushdownAutomaton, Windows, any_bytes
from constrained_diffusion.automata.pushdown_kernels import ERROR
from constrained_diffusion.automata.threads_nfa import NO_MATCH
from constrained_diffusion.errors import LimitExceeded
from constrained_diffusion.limits import Limits

_DIGITS: Final = tuple(range(0xF8, 0x100))
_ALL_BYTES: Final = (1 << 256) - 1
_ALL_DIGITS: Final = ex.byte_mask(_DIGITS)

_MOST_STATES: Final = 2000
"""A relaxation of more states than these gives way to a coarser one."""
_MOST_STATES_BETWEEN: Final = 30_000
"""Likewise one that has more before it is minimised."""

Known = tuple[tuple[int, ...], bool]
"""The symbols that are known of a stack, the top first, and whether the last of them is the bottom."""


@final
@dataclass(frozen=True, eq=False)
class Relaxation:
    """The finite automaton, and the state that stands for what is known of a configuration.

    Attributes:
        dfa: accepts a superset of the grammar's texts; its state 0 is the start. Not minimal.
        place: int32 [W, S], the entry of each window and each state of its scanner, or ``DEAD``.
        entry: int32 [entries, M], the state for each entry and side state, or ``DEAD``.
    """

    dfa: ByteDFA
    place: NDArray[np.int32]
    entry: NDArray[np.int32]


def relax(grammar: Grammar, windows: Windows, side: ByteDFA, limits: Limits) -> Relaxation:
    """The relaxation of a grammar whose texts must also be in the language of ``side``.

    Raises:
        LimitExceeded: it would grow beyond ``limits``.
    """
    if side.is_empty:
        place = np.full((len(windows.known), len(grammar.scan)), DEAD, np.int32)
        return Relaxation(ex.EMPTY_DFA, place, np.empty((0, 0), np.int32))
    builder: _GrammarBuilder | _NetworkBuilder
    if grammar.network is None:
        builder = _GrammarBuilder(grammar, windows, limits)
    else:
        builder = _NetworkBuilder(grammar, grammar.network, windows, limits)
    entries, place = builder.build()
    digits, side_digits = _width(len(entries)), _width(side.num_states)
    whole = _with_entries(builder.nfa, entries, builder.accept, side_digits, limits)
    if not (side.num_states == 1 and side.same_language(any_bytes())):
        whole = ex.combine(whole, _side_with_entries(side, digits, limits), is_difference=False, limits=limits)
    reached = np.array(
        [
            [_walked(whole, _spelled(e, digits) + _spelled(m, side_digits)) for m in range(side.num_states)]
            for e in range(len(entries))
        ],
        np.int32,
    )
    dfa, entry = _without_digits(whole, reached)
    return Relaxation(dfa, place, entry)


def largest_relaxation(automaton: PushdownAutomaton, limits: Limits) -> tuple[PushdownAutomaton, Relaxation]:
    """The relaxation by the largest windows that keep it small, and the automaton with these windows.

    Where every one is too large, the relaxation is the side automaton alone.
    """
    bounded = replace(limits, max_states=min(limits.max_states, _MOST_STATES_BETWEEN))
    while True:
        coarser = automaton.windows.coarser(automaton.grammar)
        try:
            relaxation = relax(automaton.grammar, automaton.windows, automaton.side, bounded)
        except LimitExceeded:
            relaxation = None
        if relaxation is not None and (relaxation.dfa.num_states <= _MOST_STATES or coarser is None):
            return automaton, relaxation
        if coarser is None:
            return automaton, _side_alone(automaton)
        automaton = automaton.with_windows(coarser)


def _side_alone(automaton: PushdownAutomaton) -> Relaxation:
    """The relaxation that knows nothing of the grammar."""
    place = np.zeros((len(automaton.windows.known), len(automaton.grammar.scan)), np.int32)
    return Relaxation(automaton.side, place, np.arange(automaton.side.num_states, dtype=np.int32)[None])


def _width(count: int) -> int:
    """Digits that spell every number below ``count``; none are needed for a single one."""
    width = 0
    while len(_DIGITS) ** width < count:
        width += 1
    return width


def _spelled(number: int, width: int) -> bytes:
    base = len(_DIGITS)
    return bytes(_DIGITS[number // base**place % base] for place in range(width - 1, -1, -1))


def _walked(dfa: ByteDFA, text: bytes) -> int:
    return dfa.run(text)


def _add_entries(nfa: ex.NFA, start: int, entries: list[int], width: int) -> None:
    """From ``start`` the spelling of each number leads to the entry of that number."""
    nodes = {b"": start}
    for number, entry in enumerate(entries):
        spelled = _spelled(number, width)
        for length in range(1, width + 1):
            if spelled[:length] not in nodes:
                nodes[spelled[:length]] = nfa.new_state()
                nfa.add(nodes[spelled[: length - 1]], 1 << spelled[length - 1], nodes[spelled[:length]])
        nfa.add_empty(nodes[spelled], entry)


def _with_entries(nfa: ex.NFA, entries: list[int], accept: int, more_digits: int, limits: Limits) -> ByteDFA:
    """The automaton behind the spelling of its entries and any ``more_digits`` digits."""
    behind = entries
    for _ in range(more_digits):
        fronts = [nfa.new_state() for _ in behind]
        for front, entry in zip(fronts, behind, strict=True):
            nfa.add(front, _ALL_DIGITS, entry)
        behind = fronts
    start = nfa.new_state()
    _add_entries(nfa, start, behind, _width(len(entries)))
    return ex.compile_nfa(nfa, start, accept)


def _side_with_entries(side: ByteDFA, digits: int, limits: Limits) -> ByteDFA:
    """The side automaton behind any ``digits`` digits and the spelling of one of its states."""
    nfa = ex.NFA(limits, ex.Meter(limits))
    start, accept = nfa.new_state(), nfa.new_state()
    first = nfa.num_states
    nfa.add_dfa(side, nfa.new_state(), accept)
    offset = first + 1
    node = start
    for _ in range(digits):
        following = nfa.new_state()
        nfa.add(node, _ALL_DIGITS, following)
        node = following
    _add_entries(nfa, node, [offset + state for state in range(side.num_states)], _width(side.num_states))
    return ex.compile_nfa(nfa, start, accept)


def _without_digits(whole: ByteDFA, reached: NDArray[np.int32]) -> tuple[ByteDFA, NDArray[np.int32]]:
    """The automaton without the spelling of entries, the first entry being its start; and the entries in it."""
    if whole.is_empty or reached[0, 0] == DEAD:
        return ex.EMPTY_DFA, np.full_like(reached, DEAD)
    is_digit = np.zeros(whole.table.shape[1], np.bool_)
    is_digit[whole.byte_class[list(_DIGITS)]] = True
    kept = np.all(whole.table[:, is_digit] == DEAD, axis=1)
    rank = np.where(kept, np.cumsum(kept) - 1, DEAD).astype(np.int32)
    start = rank[reached[0, 0]]
    rank[np.isin(rank, [0, start])] = np.where(rank[np.isin(rank, [0, start])] == 0, start, 0)
    order = np.argsort(rank[kept])
    table = whole.table[kept][order]
    table = np.where(table != DEAD, rank[table], DEAD).astype(np.int32)
    table[:, is_digit] = DEAD
    entry = np.where(reached != DEAD, rank[reached], DEAD).astype(np.int32)
    return ByteDFA(table, whole.byte_class, whole.accepting[kept][order]), entry


class _Stacks:
    """What happens to stacks of which only a window is known."""

    def __init__(self, grammar: Grammar, windows: Windows) -> None:
        self.grammar = grammar
        self.windows = windows
        self.below: list[list[int]] = [[] for _ in range(grammar.num_states)]
        for state, others in enumerate(grammar.stands_on):
            for other in others:
                self.below[other].append(state)

    def popped(self, known: Known, count: int) -> list[Known]:
        """What may be left of a stack without so many symbols."""
        symbols, has_bottom = known
        if count < len(symbols):
            return [(symbols[count:], has_bottom)]
        if has_bottom:
            return []
        level = {symbols[-1]}
        for _ in range(count - len(symbols) + 1):
            level = {other for symbol in level for other in self.below[symbol]}
        return [((symbol,), symbol == self.grammar.start) for symbol in level]

    def pushed(self, known: Known, symbol: int) -> Known:
        """A stack with one more symbol."""
        longer = (symbol, *known[0])
        return longer[: self.windows.size], known[1] and len(longer) <= self.windows.size


class _GrammarBuilder:
    """The nondeterministic automaton: copies of the scanner, which share what behaves alike.

    A node is a scanner state and what becomes of the stack behind each terminal that can still match from there; stacks
    that do not differ in that have the node in common.
    """

    def __init__(self, grammar: Grammar, windows: Windows, limits: Limits) -> None:
        self.grammar = grammar
        self.windows = windows
        self.nfa = ex.NFA(limits, ex.Meter(limits))
        self.accept = self.nfa.new_state()
        self.stacks = _Stacks(grammar, windows)
        self.goto_by = grammar.goto.T.tolist()
        self.reduced = lru_cache(maxsize=None)(self._reduced)
        self.feed = lru_cache(maxsize=None)(self._feed)
        self.is_complete = lru_cache(maxsize=None)(self._is_complete)
        self.start_of = [int(start) for start in grammar.scan_start]
        self.edges = _scanner_edges(grammar)
        possible, kind = np.unique(grammar.can_match, axis=0, return_inverse=True)
        self.terminals_of_kind = [np.flatnonzero(row) for row in possible]
        self.kind = kind.reshape(-1).tolist()
        self.set_numbers: dict[tuple[Known, ...], int] = {}
        self.offers = lru_cache(maxsize=None)(self._offers)
        self.rest = lru_cache(maxsize=None)(self._rest)
        self.nodes: dict[tuple[int, bool, bytes], int] = {}
        self.queue: list[tuple[int, Known, int]] = []
        self.behind = lru_cache(maxsize=None)(self._behind)

    def build(self) -> tuple[list[int], NDArray[np.int32]]:
        """Adds everything; gives the nodes of the entries, and which of them each window has in each scanner state."""
        rank: dict[int, int] = {}
        place = np.full((len(self.windows.known), len(self.grammar.scan)), DEAD, np.int32)
        for window, known in enumerate(self.windows.known):
            for state in self.grammar.scanned_from[self.start_of[known[0][0]]].tolist():
                place[window, state] = rank.setdefault(self.node(known, state), len(rank))
        for node, known, state in self.queue:
            self._add_steps(node, known, state)
        return list(rank), place

    def node(self, known: Known, state: int) -> int:
        """The node of a known stack and a state of its scanner."""
        at_start = state == self.start_of[known[0][0]]
        key = state, at_start and self.is_complete(known), self.rest(known, self.kind[state])
        if key not in self.nodes:
            self.nodes[key] = self.nfa.new_state()
            self.queue.append((self.nodes[key], known, state))
        return self.nodes[key]

    def _offers(self, known: Known) -> NDArray[np.int64]:
        """A number for what a stack becomes behind each terminal that its scanner can match; int64 [T]."""
        numbers = np.zeros(len(self.grammar.terminals), np.int64)
        for terminal in self.terminals_of_kind[self.kind[self.start_of[known[0][0]]]].tolist():
            numbers[terminal] = self.set_numbers.setdefault(self.feed(known, terminal), len(self.set_numbers))
        return numbers

    def _rest(self, known: Known, kind: int) -> bytes:
        return self.offers(known)[self.terminals_of_kind[kind]].tobytes()

    def _add_steps(self, node: int, known: Known, state: int) -> None:
        for mask, target in self.edges[state]:
            self.nfa.add(node, mask, self.node(known, target))
        if state == self.start_of[known[0][0]] and self.is_complete(known):
            self.nfa.add_empty(node, self.accept)
        terminal = int(self.grammar.match[state])
        if terminal >= 0:
            row, match = self.grammar.scan[state][self.grammar.byte_class], self.grammar.match
            # A terminal may be over unless the next byte makes it a longer match.
            over = ex.byte_mask(np.flatnonzero((row == DEAD) | (match[row] == NO_MATCH)).tolist())
            stacks = self.feed(known, terminal)
            if stacks:
                self.nfa.add_empty(node, self.behind(stacks, over))

    def _behind(self, stacks: tuple[Known, ...], over: int) -> int:
        """The node between two terminals, before any of the stacks and a byte of the set."""
        between = self.nfa.new_state()
        for start, known in {self.node(known, self.start_of[known[0][0]]): known for known in stacks}.items():
            if over == _ALL_BYTES:
                self.nfa.add_empty(between, start)
                continue
            for mask, target in self.edges[self.start_of[known[0][0]]]:
                if mask & over:
                    self.nfa.add(between, mask & over, self.node(known, target))
            if self.is_complete(known):
                self.nfa.add_empty(between, self.accept)
        return between

    def _is_complete(self, known: Known) -> bool:
        """Whether the text may end with this stack."""
        end = len(self.grammar.terminals)
        return any(True for _ in self._shifts(known, end))

    def _feed(self, known: Known, terminal: int) -> tuple[Known, ...]:
        """The stacks behind one more terminal."""
        if self.grammar.ignored[terminal]:
            return (known,)
        if not self.windows.is_forgetful:
            return tuple(sorted(set(self._shifts(known, terminal))))
        if not any(True for _ in self._shifts(known, terminal)):
            return ()
        targets = self.grammar.action[:, terminal]
        return tuple(((state,), False) for state in np.unique(targets[targets >= 0]).tolist())

    def _shifts(self, known: Known, terminal: int) -> Iterator[Known]:
        """Reduces in every way that the unknown part of the stack allows, then shifts or, at the end, accepts."""
        seen = {known}
        queue = [known]
        while queue:
            current = queue.pop()
            top = current[0][0]
            if terminal == len(self.grammar.terminals) and top == self.grammar.end_state:
                yield current
                continue
            action = int(self.grammar.action[top, terminal])
            if action >= 0:
                yield self.stacks.pushed(current, action)
            elif action < -1:
                following = self.reduced(current, -2 - action) - seen
                seen |= following
                queue += following

    def _reduced(self, known: Known, rule: int) -> frozenset[Known]:
        """The stacks behind a reduction."""
        goto = self.goto_by[int(self.grammar.rule_origin[rule])]
        rests = self.stacks.popped(known, int(self.grammar.rule_length[rule]))
        return frozenset(self.stacks.pushed(rest, goto[rest[0][0]]) for rest in rests if goto[rest[0][0]] != ERROR)


class _NetworkBuilder:
    """The nondeterministic automaton of a network: a copy of the automaton that is at work for each known stack."""

    def __init__(self, grammar: Grammar, network: Network, windows: Windows, limits: Limits) -> None:
        self.grammar = grammar
        self.network = network
        self.windows = windows
        self.limits = limits
        self.stacks = _Stacks(grammar, windows)
        self.nfa = ex.NFA(limits, ex.Meter(limits))
        self.accept = self.nfa.new_state()
        self.offset: dict[Known, int] = {}
        self.queue: list[Known] = []

    def build(self) -> tuple[list[int], NDArray[np.int32]]:
        """Adds everything; gives the nodes of the entries, and which of them each window has in each state."""
        entries: list[int] = []
        place = np.full((len(self.windows.known), self.network.num_states), DEAD, np.int32)
        for window, known in enumerate(self.windows.known):
            states = self.states_of(known)
            place[window, states] = np.arange(len(entries), len(entries) + len(states))
            first = self.block(known)
            entries += range(first, first + len(states))
        for known in self.queue:
            self._add_automaton(known)
        return entries, place

    def states_of(self, known: Known) -> NDArray[np.int64]:
        """The states of the automaton that a known stack has called."""
        return self.grammar.scanned_from[int(self.grammar.scan_start[known[0][0]])]

    def block(self, known: Known) -> int:
        """The first node of a known stack: the start of what it has called."""
        if known not in self.offset:
            self.offset[known] = self.nfa.num_states
            self.nfa.num_states += len(self.states_of(known))
            self.queue.append(known)
            if self.nfa.num_states > self.limits.max_nfa_transitions:
                raise LimitExceeded(
                    "max_nfa_transitions", self.limits.max_nfa_transitions, "the relaxation of a recursive constraint"
                )
        return self.offset[known]

    def _add_automaton(self, known: Known) -> None:
        """What a network can do in the automaton that a known stack has called."""
        network = self.network
        offset = self.offset[known]
        begin, end = network.begin[network.callee[known[0][0]]], network.begin[network.callee[known[0][0]] + 1]
        table = np.where(network.table[begin:end] != DEAD, network.table[begin:end] - begin, DEAD).astype(np.int32)
        self.nfa.add_transitions(ByteDFA(table, network.byte_class, network.tag[begin:end] != DEAD), offset)
        for state, places in network.calls_in(begin, end):
            for place in places:
                symbol = int(network.first_alike[place]) if self.windows.is_forgetful else place
                self.nfa.add_empty(offset + state, self.block(self.stacks.pushed(known, symbol)))
        is_bottom = network.home[known[0][0]] == DEAD
        returns = [] if is_bottom else self._returns(known)
        for state in np.flatnonzero(network.tag[begin:end] != DEAD).tolist():
            if is_bottom:
                self.nfa.add_empty(offset + state, self.accept)
            for place, stacks in returns:
                target = int(network.back[place, network.tag[begin + state]])
                for rest in stacks if target != DEAD else []:
                    local = target - int(network.begin[network.home[place]])
                    self.nfa.add_empty(offset + state, self.block(rest) + local)

    def _returns(self, known: Known) -> list[tuple[int, list[Known]]]:
        """The places that may be on top of a known stack, and what may be left of it below each."""
        top = known[0][0]
        if not self.windows.is_forgetful:
            return [(top, self.stacks.popped(known, 1))]
        alike = np.flatnonzero(self.network.first_alike == top).tolist()
        return [(place, [self._at_work(int(self.network.home[place]))]) for place in alike]

    def _at_work(self, automaton: int) -> Known:
        """All that is known of a stack where only the automaton at work is."""
        place = int(np.flatnonzero(self.network.callee == automaton)[0])
        return (place,), place == self.grammar.start


def _scanner_edges(grammar: Grammar) -> list[list[tuple[int, int]]]:
    """Of each scanner state the sets of bytes that lead on, and where each leads."""
    masks = [ex.byte_mask(np.flatnonzero(grammar.byte_class == k).tolist()) for k in range(grammar.scan.shape[1])]
    edges: list[list[tuple[int, int]]] = []
    for row in grammar.scan.tolist():
        found: dict[int, int] = {}
        for mask, target in zip(masks, row, strict=True):
            if target != DEAD:
                found[target] = found.get(target, 0) | mask
        edges.append([(mask, target) for target, mask in found.items()])
    return edges
