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

Where grammars stand in a frame, the copies of its states are entries too, and the grammars begin behind those that call
them and lead back to those behind their places. Where the exact automaton is in several states at once, no entry stands
for them; the relaxation's own state is then all that is known.

That of a network stays nondeterministic, see ``guessing``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata import relaxation_kernels as kernels
from constrained_diffusion.automata.byte_automaton import DEAD, NUM_BYTES, ByteDFA
from constrained_diffusion.automata.frame import Frame
from constrained_diffusion.automata.guessing import GuessingAutomaton, guessing
from constrained_diffusion.automata.pushdown import Grammar, Known, PushdownAutomaton, Windows, any_bytes
from constrained_diffusion.automata.pushdown_kernels import ERROR
from constrained_diffusion.automata.threads_nfa import NO_MATCH
from constrained_diffusion.errors import LimitExceeded
from constrained_diffusion.limits import Limits

_DIGITS: Final = tuple(range(0xF8, 0xFE))
"""The bytes that entries are spelled with: neither UTF-8 nor the marks of special tokens have them."""
_ALL_BYTES: Final = (1 << 256) - 1
_ALL_DIGITS: Final = ex.byte_mask(_DIGITS)

_MOST_STATES: Final = 2000
"""A relaxation of more states than these gives way to a coarser one."""
_MOST_STATES_BETWEEN: Final = 30_000
"""Likewise one that has more before it is minimised."""
_MOST_GUESSING_STATES: Final = 20_000
"""Likewise one of a network, whose states are so many from the beginning."""


@final
@dataclass(frozen=True, eq=False)
class Relaxation:
    """The finite automaton, and the state that stands for what is known of a configuration.

    Attributes:
        dfa: accepts a superset of the grammar's texts; its state 0 is the start. Not minimal. Of a network, without the
            steps that are guesses.
        guesses: of a network ``dfa`` with the guesses.
        place: int32 [W, S], the entry of each window and each state of its scanner, or ``DEAD``.
        outside: int32 [F], the entry of each state of the frame; without a frame one ``DEAD``.
        entry: int32 [entries, M], the state for each entry and side state, or ``DEAD``.
    """

    dfa: ByteDFA
    place: NDArray[np.int32]
    outside: NDArray[np.int32]
    entry: NDArray[np.int32]
    guesses: GuessingAutomaton | None = None


_NOWHERE: Final = np.full(1, DEAD, np.int32)


def relax(grammar: Grammar, windows: Windows, side: ByteDFA, limits: Limits) -> Relaxation:
    """The relaxation of a grammar whose texts must also be in the language of ``side``.

    Raises:
        LimitExceeded: it would grow beyond ``limits``.
    """
    if side.is_empty:
        place = np.full((len(windows.known), len(grammar.scan)), DEAD, np.int32)
        outside = _NOWHERE if grammar.frame is None else np.full(grammar.frame.num_states, DEAD, np.int32)
        return Relaxation(ex.EMPTY_DFA, place, outside, np.empty((0, 0), np.int32))
    is_free = side.num_states == 1 and side.same_language(any_bytes())
    if grammar.network is not None:
        guesses, place, entry = guessing(grammar.network, windows, None if is_free else side, limits)
        return Relaxation(guesses.certain, place, _NOWHERE, entry, guesses)
    builder = _GrammarBuilder(grammar, windows, limits)
    entries, place = builder.build()
    met = _met(builder.nfa, entries, builder.scanner_states(), side)
    digits, side_digits = _width(len(entries)), _width(side.num_states)
    whole = _with_entries(builder.nfa, entries, builder.accept, side_digits, limits)
    spelled = {(e, m): _spelled(e, digits) + _spelled(m, side_digits) for e, m in np.argwhere(met).tolist()}
    if not is_free:
        beside = _side_with_entries(side, {text: m for (_, m), text in spelled.items()}, limits)
        whole = ex.combine(whole, beside, is_difference=False, limits=limits)
    reached = np.full(met.shape, DEAD, np.int32)
    for pair, text in spelled.items():
        reached[pair] = whole.run(text)
    dfa, entry = _without_digits(whole, reached)
    return Relaxation(dfa, place, builder.outside, entry)


def _met(nfa: ex.NFA, entries: list[int], scanner_states: dict[int, int], side: ByteDFA) -> NDArray[np.bool_]:
    """Whether some text may lead to each entry and, beside it, to each state of the side automaton, bool [entries, M].

    A configuration that has returned to its stack knows more of it than any node that its text leads to, so what is met
    in a scanner state with some stack is taken to be met with every stack.
    """
    byte_class, holds = nfa.byte_classes()
    first = np.unique(byte_class * NUM_BYTES + side.byte_class, return_index=True)[1]
    labels, classes = np.nonzero(holds[:, byte_class[first]])
    order, begin = ex.grouped(nfa.sources, nfa.num_states)
    empty_order, empty_begin = ex.grouped(nfa.empty_sources, nfa.num_states)
    met = kernels.meetings(
        begin,
        np.array(nfa.labels, np.int64)[order],
        np.array(nfa.targets, np.int64)[order],
        np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=len(holds)))]),
        classes,
        empty_begin,
        np.array(nfa.empty_targets, np.int64)[empty_order],
        side.table[:, side.byte_class[first]],
        entries[0],
    )
    nodes, states = np.array([*scanner_states], np.int64), np.array([*scanner_states.values()], np.int64)
    in_state = np.zeros((states.max(initial=0) + 1, met.shape[1]), np.bool_)
    np.logical_or.at(in_state, states, met[nodes])
    met[nodes] = in_state[states]
    return np.asarray(met[entries], np.bool_)


def largest_relaxation(automaton: PushdownAutomaton, limits: Limits) -> tuple[PushdownAutomaton, Relaxation]:
    """The relaxation by the largest windows that keep it small, and the automaton with these windows.

    Where every one is too large, the relaxation is the side automaton alone.
    """
    is_network = automaton.grammar.network is not None
    most_between = _MOST_GUESSING_STATES if is_network else _MOST_STATES_BETWEEN
    bounded = replace(limits, max_states=min(limits.max_states, most_between))
    most = bounded.max_states if is_network else _MOST_STATES
    while True:
        coarser = automaton.windows.coarser(automaton.grammar)
        try:
            relaxation = relax(automaton.grammar, automaton.windows, automaton.side, bounded)
        except LimitExceeded:
            relaxation = None
        if relaxation is not None and (relaxation.dfa.num_states <= most or coarser is None):
            return automaton, relaxation
        if coarser is None:
            return automaton, _side_alone(automaton)
        automaton = automaton.with_windows(coarser)


def _side_alone(automaton: PushdownAutomaton) -> Relaxation:
    """The relaxation that knows nothing of the grammar."""
    place = np.zeros((len(automaton.windows.known), len(automaton.grammar.scan)), np.int32)
    frame = automaton.grammar.frame
    outside = _NOWHERE if frame is None else np.zeros(frame.num_states, np.int32)
    return Relaxation(automaton.side, place, outside, np.arange(automaton.side.num_states, dtype=np.int32)[None])


def _width(count: int) -> int:
    """Digits that spell every number below ``count``; none are needed for a single one."""
    width = 0
    while len(_DIGITS) ** width < count:
        width += 1
    return width


def _spelled(number: int, width: int) -> bytes:
    base = len(_DIGITS)
    return bytes(_DIGITS[number // base**place % base] for place in range(width - 1, -1, -1))


def _add_spelled(nfa: ex.NFA, start: int, entries: dict[bytes, int]) -> None:
    """From ``start`` each text leads to its entry."""
    nodes = {b"": start}
    for spelled, entry in entries.items():
        for length in range(1, len(spelled) + 1):
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
    width = _width(len(entries))
    _add_spelled(nfa, start, {_spelled(number, width): entry for number, entry in enumerate(behind)})
    return ex.compile_nfa(nfa, start, accept)


def _side_with_entries(side: ByteDFA, entries: dict[bytes, int], limits: Limits) -> ByteDFA:
    """The side automaton, each text of ``entries`` in front of what it takes from that state on."""
    nfa = ex.NFA(limits, ex.Meter(limits))
    start, accept = nfa.new_state(), nfa.new_state()
    first = nfa.num_states
    nfa.add_dfa(side, nfa.new_state(), accept)
    _add_spelled(nfa, start, {text: first + 1 + state for text, state in entries.items()})
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
        self.places = {bottom: place for place, bottom in enumerate(grammar.bottoms)}
        self.below: list[list[int]] = [[] for _ in range(grammar.num_states)]
        for state, others in enumerate(grammar.stands_on):
            for other in others:
                self.below[other].append(state)

    def popped(self, known: Known, count: int) -> list[Known]:
        """What may be left of a stack without so many symbols."""
        symbols, has_bottom, place = known
        if count < len(symbols):
            return [(symbols[count:], has_bottom, place)]
        if has_bottom:
            return []
        level = {symbols[-1]}
        for _ in range(count - len(symbols) + 1):
            level = {other for symbol in level for other in self.below[symbol]}
        kept = (symbol for symbol in level if place == DEAD or self.places.get(symbol, place) == place)
        return [((symbol,), symbol in self.places, place) for symbol in kept]

    def pushed(self, known: Known, symbol: int) -> Known:
        """A stack with one more symbol."""
        longer = (symbol, *known[0])
        return longer[: self.windows.size], known[1] and len(longer) <= self.windows.size, known[2]


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
        self.ends = lru_cache(maxsize=None)(self._ends)
        self.start_of = [int(start) for start in grammar.scan_start]
        self.edges = _scanner_edges(grammar)
        possible, kind = np.unique(grammar.can_match, axis=0, return_inverse=True)
        self.terminals_of_kind = [np.flatnonzero(row) for row in possible]
        self.kind = kind.reshape(-1).tolist()
        self.set_numbers: dict[tuple[Known, ...], int] = {}
        self.offers = lru_cache(maxsize=None)(self._offers)
        self.rest = lru_cache(maxsize=None)(self._rest)
        self.nodes: dict[tuple[int, tuple[int, ...], bytes], int] = {}
        self.queue: list[tuple[int, Known, int]] = []
        self.behind = lru_cache(maxsize=None)(self._behind)
        frame_states = 0 if grammar.frame is None else grammar.frame.num_states
        self.first_of_frame = self.nfa.num_states
        self.nfa.num_states += frame_states
        # The states of the frame are the first entries, its start before all.
        self.outside = np.arange(frame_states, dtype=np.int32) if frame_states else _NOWHERE

    def build(self) -> tuple[list[int], NDArray[np.int32]]:
        """Adds everything; gives the nodes of the entries, and which of them each window has in each scanner state."""
        rank = {node: number for number, node in enumerate(range(self.first_of_frame, self.nfa.num_states))}
        place = np.full((len(self.windows.known), len(self.grammar.scan)), DEAD, np.int32)
        for window, known in enumerate(self.windows.known):
            for state in self.grammar.scanned_from[self.start_of[known[0][0]]].tolist():
                place[window, state] = rank.setdefault(self.node(known, state), len(rank))
        if self.grammar.frame is not None:
            self._add_frame(self.grammar.frame)
        for node, known, state in self.queue:
            self._add_steps(node, known, state)
        return list(rank), place

    def scanner_states(self) -> dict[int, int]:
        """The scanner state of each node that has one."""
        return {node: state for (state, _, _), node in self.nodes.items()}

    def _add_frame(self, frame: Frame) -> None:
        """The steps outside of grammars, and into them."""
        first = self.first_of_frame
        self.nfa.add_transitions(frame.automaton(self.grammar.byte_class), first)
        for state in np.flatnonzero(frame.accepting).tolist():
            self.nfa.add_empty(first + state, self.accept)
        for state, called in zip(frame.callers.tolist(), frame.calls.tolist(), strict=True):
            known = self.windows.known[called]
            self.nfa.add_empty(first + state, self.node(known, self.start_of[known[0][0]]))

    def node(self, known: Known, state: int) -> int:
        """The node of a known stack and a state of its scanner."""
        ends = self.ends(known) if state == self.start_of[known[0][0]] else ()
        key = state, ends, self.rest(known, self.kind[state])
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
        for end in self.ends(known) if state == self.start_of[known[0][0]] else ():
            self.nfa.add_empty(node, end)
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
            for end in self.ends(known):
                self.nfa.add_empty(between, end)
        return between

    def _ends(self, known: Known) -> tuple[int, ...]:
        """The nodes behind a text that may end with this stack; none if it may not."""
        complete = [*self._shifts(known, len(self.grammar.terminals))]
        frame = self.grammar.frame
        if frame is None:
            return (self.accept,) if complete else ()
        bottoms = {rest[0][0] for current in complete for rest in self.stacks.popped(current, 1)}
        places = [self.stacks.places[bottom] for bottom in bottoms]
        return tuple(sorted({self.first_of_frame + int(frame.back[place]) for place in places}))

    def _feed(self, known: Known, terminal: int) -> tuple[Known, ...]:
        """The stacks behind one more terminal."""
        if self.grammar.ignored[terminal]:
            return (known,)
        if not self.windows.is_forgetful:
            return tuple(sorted(set(self._shifts(known, terminal))))
        if not any(True for _ in self._shifts(known, terminal)):
            return ()
        targets = self.grammar.action[:, terminal]
        return tuple(((state,), False, known[2]) for state in np.unique(targets[targets >= 0]).tolist())

    def _shifts(self, known: Known, terminal: int) -> Iterator[Known]:
        """Reduces in every way that the unknown part of the stack allows, then shifts or, at the end, accepts."""
        seen = {known}
        queue = [known]
        while queue:
            current = queue.pop()
            top = current[0][0]
            if terminal == len(self.grammar.terminals) and self.grammar.is_end[top]:
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
