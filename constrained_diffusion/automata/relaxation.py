"""A finite automaton that accepts every text of a grammar and some others: the stack is known by its top only.

Of each stack a window of the top symbols is told apart. When a reduction pops deeper than the window
reaches, every symbol that can lie there is tried, so the automaton is nondeterministic; made
deterministic it is an ordinary ``ByteDFA``.

Exact configurations know their window again when they have returned to it, so each pair of a
window and a scanner state is an *entry* of the automaton, not only its start. To carry many starts
through subset construction, intersection and minimisation, which know one, an entry is spelled in
front of the text with bytes that no UTF-8 text holds; these are cut off in the end.

Where even a window of one symbol makes too large an automaton, the stack is forgotten behind every terminal.

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
        entry_begin: int64 [W], where the entries of each window begin.
        entry: int32 [entries, M], the state for each window, state of its scanner and side state, or ``DEAD``.
    """

    dfa: ByteDFA
    entry_begin: NDArray[np.int64]
    entry: NDArray[np.int32]


def relax(grammar: Grammar, windows: Windows, side: ByteDFA, limits: Limits) -> Relaxation:
    """The relaxation of a grammar whose texts must also be in the language of ``side``.

    Raises:
        LimitExceeded: it would grow beyond ``limits``.
    """
    if side.is_empty:
        return Relaxation(ex.EMPTY_DFA, np.zeros(len(windows.known), np.int64), np.empty((0, 0), np.int32))
    builder = _Builder(grammar, windows, limits)
    entries = builder.build()
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
    sizes = np.diff(grammar.scanner_begin)[grammar.scanner_of_state]
    counts = [sizes[symbols[0]] for symbols, _ in windows.known]
    return Relaxation(dfa, np.concatenate([[0], np.cumsum(counts)])[:-1].astype(np.int64), entry)


def largest_relaxation(automaton: PushdownAutomaton, limits: Limits) -> tuple[PushdownAutomaton, Relaxation]:
    """The relaxation by the largest windows that keep it small, and the automaton with these windows.

    Raises:
        LimitExceeded: it would grow beyond ``limits`` even if the stack is forgotten.
    """
    bounded = replace(limits, max_states=min(limits.max_states, _MOST_STATES_BETWEEN))
    while True:
        coarser = automaton.windows.coarser(automaton.grammar)
        if coarser is None:
            return automaton, relax(automaton.grammar, automaton.windows, automaton.side, limits)
        try:
            relaxation = relax(automaton.grammar, automaton.windows, automaton.side, bounded)
        except LimitExceeded:
            automaton = automaton.with_windows(coarser)
            continue
        if relaxation.dfa.num_states <= _MOST_STATES:
            return automaton, relaxation
        automaton = automaton.with_windows(coarser)


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


class _Builder:
    """The nondeterministic automaton: one copy of the scanner per known stack."""

    def __init__(self, grammar: Grammar, windows: Windows, limits: Limits) -> None:
        self.grammar = grammar
        self.windows = windows
        self.limits = limits
        self.nfa = ex.NFA(limits, ex.Meter(limits))
        self.accept = self.nfa.new_state()
        self.offset: dict[Known, int] = {}
        self.queue: list[Known] = []
        self.below = [
            [other for other in range(grammar.num_states) if state in grammar.stands_on[other]]
            for state in range(grammar.num_states)
        ]
        self.feed = lru_cache(maxsize=None)(self._feed)
        if grammar.network is None:
            self.scanner_edges = [_scanner_edges(scanner.table) for scanner in grammar.scanners]

    def build(self) -> list[int]:
        """Adds everything; gives the node of each entry, window by window."""
        entries: list[int] = []
        for known in self.windows.known:
            first = self.block(known)
            entries += range(first, first + self.scanner_size(known))
        for known in self.queue:
            if self.grammar.network is None:
                self._add_block(known)
            else:
                self._add_automaton(known, self.grammar.network)
        return entries

    def scanner_size(self, known: Known) -> int:
        return len(self.grammar.scanners[self.grammar.scanner_of_state[known[0][0]]].match)

    def block(self, known: Known) -> int:
        """The first node of a known stack: its scanner's start."""
        if known not in self.offset:
            self.offset[known] = self.nfa.num_states
            self.nfa.num_states += self.scanner_size(known)
            self.queue.append(known)
            if self.nfa.num_states > self.limits.max_nfa_transitions:
                raise LimitExceeded(
                    "max_nfa_transitions", self.limits.max_nfa_transitions, "the relaxation of the grammar"
                )
        return self.offset[known]

    def _add_block(self, known: Known) -> None:
        first = self.offset[known]
        number = int(self.grammar.scanner_of_state[known[0][0]])
        scanner = self.grammar.scanners[number]
        for source, mask, target in self.scanner_edges[number]:
            self.nfa.add(first + source, mask, first + target)
        if self.is_complete(known):
            self.nfa.add_empty(first, self.accept)
        for state in np.flatnonzero(scanner.match >= 0).tolist():
            stacks = self.feed(known, int(scanner.match[state]))
            self._add_match(first + state, scanner.table[state], scanner.match, stacks)

    def _add_automaton(self, known: Known, network: Network) -> None:
        """What a network can do in the automaton that a known stack has called."""
        offset = self.offset[known]
        begin, end = network.begin[network.callee[known[0][0]]], network.begin[network.callee[known[0][0]] + 1]
        table = np.where(network.table[begin:end] != DEAD, network.table[begin:end] - begin, DEAD).astype(np.int32)
        self.nfa.add_transitions(ByteDFA(table, network.byte_class, network.tag[begin:end] != DEAD), offset)
        for state, places in network.calls_in(begin, end):
            for place in places:
                self.nfa.add_empty(offset + state, self.block(self._pushed(known, place)))
        is_bottom = network.home[known[0][0]] == DEAD
        stacks = [] if is_bottom else self._popped(known, 1)
        for state in np.flatnonzero(network.tag[begin:end] != DEAD).tolist():
            if is_bottom:
                self.nfa.add_empty(offset + state, self.accept)
            target = int(network.back[known[0][0], network.tag[begin + state]])
            for rest in stacks if target != DEAD else []:
                local = target - int(network.begin[network.home[known[0][0]]])
                self.nfa.add_empty(offset + state, self.block(rest) + local)

    def _add_match(
        self, node: int, row: NDArray[np.int32], match: NDArray[np.int32], stacks: tuple[Known, ...]
    ) -> None:
        """A terminal may be over unless the next byte makes it a longer match."""
        over = ex.byte_mask(np.flatnonzero((row == DEAD) | (match[row] == NO_MATCH)).tolist())
        for known in stacks:
            first = self.block(known)
            if over == _ALL_BYTES:
                self.nfa.add_empty(node, first)
                continue
            for source, mask, target in self.scanner_edges[self.grammar.scanner_of_state[known[0][0]]]:
                if source == 0 and mask & over:
                    self.nfa.add(node, mask & over, first + target)
            if self.is_complete(known):
                self.nfa.add_empty(node, self.accept)

    def is_complete(self, known: Known) -> bool:
        """Whether the text may end with this stack."""
        end = len(self.grammar.terminals)
        return any(True for _ in self._shifts(known, end))

    def _feed(self, known: Known, terminal: int) -> tuple[Known, ...]:
        """The stacks behind one more terminal."""
        if self.grammar.ignored[terminal]:
            return (known,)
        shifted = tuple(sorted(set(self._shifts(known, terminal))))
        if self.windows.is_forgetful and shifted:
            targets = self.grammar.action[:, terminal]
            return tuple(((state,), False) for state in np.unique(targets[targets >= 0]).tolist())
        return shifted

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
                yield self._pushed(current, action)
            elif action < -1:
                for reduced in self._reduced(current, -2 - action):
                    if reduced not in seen:
                        seen.add(reduced)
                        queue.append(reduced)

    def _reduced(self, known: Known, rule: int) -> Iterator[Known]:
        origin = int(self.grammar.rule_origin[rule])
        for rest in self._popped(known, int(self.grammar.rule_length[rule])):
            following = int(self.grammar.goto[rest[0][0], origin])
            if following >= 0:
                yield self._pushed(rest, following)

    def _popped(self, known: Known, count: int) -> list[Known]:
        symbols, has_bottom = known
        if count < len(symbols):
            return [(symbols[count:], has_bottom)]
        if has_bottom:
            return []
        level = {symbols[-1]}
        for _ in range(count - len(symbols) + 1):
            level = {other for symbol in level for other in self.below[symbol]}
        return [((symbol,), symbol == self.grammar.start) for symbol in level]

    def _pushed(self, known: Known, symbol: int) -> Known:
        longer = (symbol, *known[0])
        return longer[: self.windows.size], known[1] and len(longer) <= self.windows.size


def _scanner_edges(table: NDArray[np.int32]) -> list[tuple[int, int, int]]:
    """(source, mask of bytes, target) of a scanner."""
    edges: list[tuple[int, int, int]] = []
    for source, row in enumerate(table):
        edges += [
            (source, ex.byte_mask(np.flatnonzero(row == target).tolist()), int(target))
            for target in np.unique(row)
            if target != DEAD
        ]
    return edges
