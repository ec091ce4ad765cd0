"""The pushdown acceptors: of a grammar, an LALR(1) parser over bytes, and of a network of automata.

A state is an interned configuration: the parser's stack (a shared linked list), the state of the
scanner at work on top of it, and a fallback. A scanner that has matched a terminal may go on and match a
longer one, or fail and have to back up: the fallback is the configuration behind the last match, which reads the
bytes since then again while the scanner goes on. So nothing is read twice, and lexing is exact.

In a ``Network`` the stack holds the places to come back to, the scanner's state is that of the automaton at work, and
there is no fallback.

Where grammars stand in a ``Frame``, a state is a set of threads: each is a configuration inside a grammar, or a state
of the frame on no stack. A set is a linked list of configurations, in order of their numbers.
"""

import copy
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, Final, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata import pushdown_kernels as kernels
from constrained_diffusion.automata.byte_automaton import DEAD, NUM_BYTES, ByteAutomaton, ByteDFA
from constrained_diffusion.automata.frame import Frame
from constrained_diffusion.automata.network import Network, pairs
from constrained_diffusion.automata.network_kernels import network_distances
from constrained_diffusion.automata.pushdown_kernels import FAR, FULL, Store, Tables
from constrained_diffusion.automata.records import by_reference
from constrained_diffusion.automata.threads_nfa import NO_MATCH
from constrained_diffusion.errors import LimitExceeded
from constrained_diffusion.limits import Limits

Result = TypeVar("Result")
Known = tuple[tuple[int, ...], bool, int]
"""What is known of a stack: symbols, the top first, whether the last of them is the bottom, and the place of that; of a
network, where the bottom is not among them, the symbol that stands on it."""

TAIL: Final = 0
"""The state behind the end of a text, on tokens; no text leads to it."""
_FIRST_CAPACITY: Final = 1024
_CROWDED: Final = 8
"""A store that is filled to this part is given up for an empty one where that can be done."""
_FOUND_OUT: Final = ("relaxed", "tokens", "way_class", "way_next", "next_byte", "next_config", "effort")
"""What the store keeps of configurations besides what they are."""
_MOST_SCANNER_STATES: Final = 6000
"""Pairs of a window of the stack and a scanner state; the window is as large as this allows."""
_MOST_NETWORK_STATES: Final = 1500
"""The same of a network, whose automata are larger than scanners but hold what a stack of a grammar would have to."""
_MOST_PLACED_STATES: Final = 20_000
"""The same where the window is one symbol, and the place of the bottom or what stands on it."""
_LARGEST_WINDOW: Final = 12


@lru_cache(maxsize=1)
def any_bytes() -> ByteDFA:
    """The automaton that accepts everything."""
    return ex.compile_expression(ex.Repetition(ex.Bytes((1 << NUM_BYTES) - 1)), Limits())


@final
@dataclass(frozen=True, eq=False)
class Grammar:
    """An LALR(1) grammar with its lexers: Q parser states, T terminals, R rules, NT nonterminals, S scanner states.

    Attributes:
        terminals: their names.
        action: int32 [Q, T + 1], see ``pushdown_kernels.Tables``.
        goto: int32 [Q, NT].
        rule_length, rule_origin: int32 [R].
        start: the parser state at the bottom of a stack.
        is_end: bool [Q], whether a text is complete in a parser state.
        ignored: bool [T].
        scan: int32 [S, K], the next scanner state for each class of bytes, or ``DEAD``; byte_class: uint8 [256].
        match: int32 [S], as in ``threads_nfa.ScannerDFA``.
        scan_start: int32 [Q], where the scanner of each parser state starts; nothing leads back there.
        items: of each parser state the kernel items: origin, place of the dot, least characters behind it.
        shortest: the least characters of a text, ``FAR`` if there is none.
        fingerprint: grammars with the same one are the same; None where none is known.
        network: where texts are those of a network instead: its places to come back to are the parser states, its
            automata the scanners, whose starts may be met again, and there are no terminals.
        frame: what stands around the texts, if anything does; ``start`` is then that of one of several places.
    """

    terminals: tuple[str, ...]
    action: NDArray[np.int32]
    goto: NDArray[np.int32]
    rule_length: NDArray[np.int32]
    rule_origin: NDArray[np.int32]
    start: int
    is_end: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    scan: NDArray[np.int32]
    byte_class: NDArray[np.uint8]
    match: NDArray[np.int32]
    scan_start: NDArray[np.int32]
    items: tuple[tuple[tuple[int, int, int], ...], ...]
    shortest: int
    fingerprint: str | None = None
    network: Network | None = None
    frame: Frame | None = None

    @classmethod
    def of_network(cls, network: Network) -> "Grammar":
        """The grammar that has the texts of a network. It has no fingerprint, so nothing of it is kept on disk."""
        places = len(network.callee)
        return cls(
            terminals=(),
            action=np.full((places, 1), kernels.ERROR, np.int32),
            goto=np.full((places, 0), kernels.ERROR, np.int32),
            rule_length=np.zeros(0, np.int32),
            rule_origin=np.zeros(0, np.int32),
            start=0,
            is_end=np.zeros(places, np.bool_),
            ignored=np.zeros(0, np.bool_),
            scan=network.table,
            byte_class=network.byte_class,
            match=np.full(network.num_states, NO_MATCH, np.int32),
            scan_start=network.begin[network.callee].astype(np.int32),
            items=((),) * places,
            shortest=network.shortest,
            network=network,
        )

    @property
    def num_states(self) -> int:
        """Parser states."""
        return len(self.action)

    @cached_property
    def bottoms(self) -> tuple[int, ...]:
        """The parser states that lie at the bottom of a stack: one for each place."""
        return (self.start,) if self.frame is None else tuple(self.frame.bottom.tolist())

    @cached_property
    def stands_on(self) -> tuple[frozenset[int], ...]:
        """Of each parser state those that can stand on it in a stack."""
        if self.network is not None:
            return self.network.stands_on
        return tuple(
            frozenset(action[action >= 0].tolist()) | frozenset(goto[goto >= 0].tolist())
            for action, goto in zip(self.action, self.goto, strict=True)
        )

    @cached_property
    def match_distance(self) -> NDArray[np.int32]:
        """The least bytes, at least one, from each scanner state to a match of each terminal, int32 [S, T]."""
        if not self.terminals:
            return np.full((len(self.scan), 0), FAR, np.int32)
        sources, classes = np.nonzero(self.scan != DEAD)
        steps = np.unique(np.stack([sources, self.scan[sources, classes]], axis=1), axis=0)
        return np.asarray(kernels.match_distances(steps, self.match, len(self.terminals)))

    @cached_property
    def can_match(self) -> NDArray[np.bool_]:
        """Whether a terminal has matched in a scanner state or may still do so, bool [S, T]."""
        possible = self.match_distance < FAR
        reported = np.flatnonzero(self.match >= 0)
        possible[reported, self.match[reported]] = True
        return possible

    @cached_property
    def scanned_from(self) -> dict[int, NDArray[np.int64]]:
        """Of each start of a scanner the states of that scanner, itself first."""
        if self.network is not None:
            return {int(begin): np.arange(begin, end) for begin, end in pairwise(self.network.begin.tolist())}
        return {start: _reachable(self.scan, start) for start in np.unique(self.scan_start).tolist()}

    def scanner_states(self, state: int) -> int:
        """The states of the scanner that works in a parser state."""
        return len(self.scanned_from[int(self.scan_start[state])])


def _has_places(grammar: Grammar) -> bool:
    """Whether there is more than one place where a stack may begin."""
    return len(grammar.bottoms) > 1 or grammar.network is not None


def _reachable(table: NDArray[np.int32], start: int) -> NDArray[np.int64]:
    seen = np.zeros(len(table) + 1, np.bool_)  # the last stands for DEAD
    level = np.array([start])
    seen[level] = True
    while len(level):
        following = np.unique(table[level])
        level = following[~seen[following] & (following != DEAD)]
        seen[level] = True
    seen[start] = False
    return np.concatenate([[start], np.flatnonzero(seen[:-1])])


@final
@dataclass(frozen=True, eq=False)
class Windows:
    """What is told apart of stacks: their top symbols, at most ``size`` of them.

    Attributes:
        size: the most symbols of a window.
        known: of each window its symbols, the top first, whether the bottom is among them, and the place where the
            grammar was called, of a network what stands on the bottom, -1 where that is not told apart or among the
            symbols. The first windows are those of the bottoms.
        push: int32 [W, Q], the window when a symbol is pushed, or -1 where that cannot be.
        is_forgetful: whether the relaxation forgets the stack behind every terminal, and knows only which terminal
            that was; of a network it knows only which automaton is at work, and takes the first place with such a
            callee for all of them.
        has_places: whether places are told apart, of a network what stands on the bottom.
    """

    size: int
    known: tuple[Known, ...]
    push: NDArray[np.int32]
    is_forgetful: bool = False
    has_places: bool = True

    def coarser(self, grammar: Grammar) -> "Windows | None":
        """What tells fewer stacks apart, or None."""
        if self.is_forgetful:
            return None
        if self.size > 1:
            return Windows.of(grammar, self.size - 1, has_places=self.has_places)
        if self.has_places and _has_places(grammar):
            return Windows.of(grammar, 1, has_places=False)
        return Windows.of(grammar, 1, is_forgetful=True, has_places=self.has_places)

    @staticmethod
    def pushed(grammar: Grammar, known: Known, symbol: int, size: int, *, has_places: bool) -> Known:
        """What is known of a stack with one more symbol."""
        symbols, has_bottom, place = known
        longer = symbol, *symbols
        keeps_bottom = has_bottom and len(longer) <= size
        if grammar.network is not None and has_places and has_bottom and not keeps_bottom:
            place = longer[-2]
        return longer[:size], keeps_bottom, place

    @classmethod
    def of(cls, grammar: Grammar, size: int, *, is_forgetful: bool = False, has_places: bool = True) -> "Windows":
        """All windows of that size."""
        taken_for = range(grammar.num_states)
        if is_forgetful and grammar.network is not None:
            taken_for = grammar.network.first_alike.tolist()
        known, rows = cls._explored(grammar, size, taken_for, has_places)
        return cls(size, tuple(known), np.array(rows), is_forgetful, has_places)

    @classmethod
    def _explored(
        cls, grammar: Grammar, size: int, taken_for: Sequence[int], has_places: bool, most: float = math.inf
    ) -> tuple[list[Known], list[NDArray[np.int32]]]:
        """The windows and their pushes; those found so far once their scanners have more than ``most`` states."""
        tells_bottom = has_places and grammar.network is None
        known: list[Known] = [
            ((bottom,), True, place if tells_bottom else DEAD) for place, bottom in enumerate(grammar.bottoms)
        ]
        numbers = {window: number for number, window in enumerate(known)}
        rows = []
        states = 0
        for below in known:
            top = below[0][0]
            states += grammar.scanner_states(top)
            if states > most:
                break
            row = np.full(grammar.num_states, DEAD, np.int32)
            for symbol in sorted(grammar.stands_on[top]):
                window = cls.pushed(grammar, below, taken_for[symbol], size, has_places=has_places)
                if window not in numbers:
                    numbers[window] = len(known)
                    known.append(window)
                row[symbol] = numbers[window]
            rows.append(row)
        return known, rows

    @classmethod
    def largest(cls, grammar: Grammar, side_states: int = 1) -> "Windows":
        """The largest windows that stay within bounds, given the states of the automaton beside the grammar."""
        most = (_MOST_SCANNER_STATES if grammar.network is None else _MOST_NETWORK_STATES) // max(side_states, 1)
        windows = cls.of(grammar, 1, has_places=not _has_places(grammar))
        if _has_places(grammar):
            most_of_places = max(most, _MOST_PLACED_STATES // max(side_states, 1))
            known, rows = cls._explored(grammar, 1, range(grammar.num_states), True, most_of_places)
            if len(rows) == len(known):
                windows = cls(1, tuple(known), np.array(rows))
        for size in range(2, _LARGEST_WINDOW + 1):
            known, rows = cls._explored(grammar, size, range(grammar.num_states), windows.has_places, most)
            if len(rows) < len(known):
                break
            windows = cls(size, tuple(known), np.array(rows), has_places=windows.has_places)
        return windows

    def scanner_states(self, grammar: Grammar) -> int:
        """Pairs of a window and a state of its scanner."""
        return sum(grammar.scanner_states(symbols[0]) for symbols, *_ in self.known)


@final
class PushdownAutomaton(ByteAutomaton):
    """The acceptor of a grammar, and of a regular language besides if one is given.

    States are integers that mean something to this object only. They are made as they are met and kept
    as long as it lives; threads may share it.

    Attributes:
        grammar: its grammar.
        windows: what its stacks are known by.
        side: the automaton that must accept too.
        beginning: what the texts of both begin with; the acceptor's own texts are what follows it.
    """

    def __init__(
        self, grammar: Grammar, windows: Windows, side: ByteDFA, limits: Limits = Limits(), beginning: bytes = b""
    ) -> None:
        self.grammar = grammar
        self.windows = windows
        self.side = side
        self.limits = limits
        self.beginning = beginning
        self.tables = _tables(grammar, windows, side)
        self._by_reference = by_reference(self.tables)
        self._width = max(int(self.tables.successor.max(initial=0)) + 1, self.tables.least.shape[1])
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._use(_empty_store(_FIRST_CAPACITY, self._width))
        # The first stacks are the bottoms, so their numbers are those of the places.
        for bottom in self.grammar.bottoms:
            self.call(kernels.push, DEAD, bottom)
        # The first configuration is the tail; it only takes the number.
        self.call(kernels.intern_tail)
        is_empty = self.grammar.shortest >= FAR or self.side.is_empty
        self._start = DEAD if is_empty else int(self.call(kernels.start))
        self._start = self.run(self.beginning)

    def emptied(self) -> "PushdownAutomaton":
        """The same automaton, which has met no state yet but its start; that has the same number."""
        other = copy.copy(self)
        other._begin()
        return other

    @property
    def is_crowded(self) -> bool:
        """Whether so many states and stacks were met that it is time to forget them."""
        return int(max(self.store.counts[:2])) > self.limits.max_configurations // _CROWDED

    def matches(self, text: bytes) -> bool:
        automaton = self.emptied() if self.is_crowded else self
        state = automaton.run(text)
        return state != DEAD and automaton.accepts(state)

    def with_windows(self, windows: Windows) -> "PushdownAutomaton":
        """An automaton of the same texts whose stacks are known by other windows."""
        return PushdownAutomaton(self.grammar, windows, self.side, self.limits, self.beginning)

    @property
    def start(self) -> int:
        return self._start

    def step(self, state: int, byte: int) -> int:
        return int(self.call(kernels.step, state, np.uint8(byte)))

    def run(self, text: bytes, state: int | None = None) -> int:
        current = self.start if state is None else state
        if current == DEAD:
            return DEAD
        return int(self.call(kernels.run, current, np.frombuffer(text, np.uint8)))

    def accepts(self, state: int) -> bool:
        return bool(self.call(kernels.accepts, state))

    def short_text(self) -> bytes | None:
        """A text that is found without a search; None where there is none. Of a network it is one of the shortest."""
        other = self.emptied()  # it stops where a way to the end is known
        text, path = other.call(kernels.straight_way, other.start, self.representatives)
        return text.tobytes() if len(path) else None

    @cached_property
    def representatives(self) -> NDArray[np.uint8]:
        """A byte of each class that the scanners and the side automaton treat alike."""
        alike = self.grammar.byte_class.astype(np.int64) * 256 + self.side.byte_class
        return np.asarray(np.unique(alike, return_index=True)[1], np.uint8)

    @property
    def num_states(self) -> int:
        """States met so far, the tail among them."""
        return int(self.store.counts[kernels.CONFIGS])

    def call(self, kernel: Callable[..., Result], *arguments: Any) -> Result:
        """What a kernel gives on the tables and the store, which grows as needed.

        Raises:
            LimitExceeded: the store has more than ``limits.max_configurations`` stacks or states.
        """
        with self._lock:
            while True:
                result = kernel(self._by_reference, self._store, *arguments)
                if not self.store.counts[FULL]:
                    return result
                self._grow()

    def note_relaxed(self, state: int, relaxed: int) -> None:
        """Keeps what stands for a state in the relaxation, in whatever store is in use by then."""
        with self._lock:
            self.store.relaxed[state] = relaxed

    def _grow(self) -> None:
        old = self.store
        stacks, configs = int(old.counts[kernels.STACKS]), int(old.counts[kernels.CONFIGS])
        capacity = 2 * len(old.symbol)
        if capacity > 2 * self.limits.max_configurations:
            raise LimitExceeded("max_configurations", self.limits.max_configurations, "the states of a grammar")
        new = _empty_store(capacity, self._width)
        for name in ("symbol", "below", "place", "window", "closing", "is_measured"):
            getattr(new, name)[:stacks] = getattr(old, name)[:stacks]
        for name in ("stack", "scanner", "fallback", "side", *_FOUND_OUT):
            getattr(new, name)[:configs] = getattr(old, name)[:configs]
        new.counts[:2] = old.counts[:2]
        zeros = np.zeros(stacks, np.int32)
        stack_slots = kernels.hash_slots(new.symbol, new.below, zeros, zeros, stacks, len(new.stack_slots))
        config_slots = kernels.hash_slots(
            new.stack, new.scanner, new.fallback, new.side, configs, len(new.config_slots)
        )
        self._use(new._replace(stack_slots=stack_slots, config_slots=config_slots))

    def _use(self, store: Store) -> None:
        self.store, self._store = store, by_reference(store)


def _empty_store(capacity: int, width: int) -> Store:
    def ints(*shape: int) -> NDArray[np.int32]:
        return np.full(shape, -1, np.int32)

    return Store(
        symbol=ints(capacity),
        below=ints(capacity),
        place=ints(capacity),
        window=ints(capacity),
        closing=np.empty((capacity, width), np.int32),
        is_measured=np.zeros(capacity, np.bool_),
        stack=ints(capacity),
        scanner=ints(capacity),
        fallback=ints(capacity),
        side=ints(capacity),
        relaxed=ints(capacity),
        tokens=ints(capacity),
        way_class=ints(capacity),
        way_next=ints(capacity),
        next_byte=ints(capacity),
        next_config=ints(capacity),
        effort=ints(capacity),
        stack_slots=ints(2 * capacity),
        config_slots=ints(2 * capacity),
        counts=np.zeros(3, np.int64),
    )


_NO_ROW: Final = np.full(1, DEAD, np.int32)
_NO_TABLE: Final = np.full((1, 1), DEAD, np.int32)
_NO_FRAME: Final = Frame(
    table=_NO_TABLE,
    accepting=np.zeros(1, np.bool_),
    call_begin=np.zeros(2, np.int64),
    calls=np.empty(0, np.int32),
    bottom=_NO_ROW,
    back=_NO_ROW,
    shortest=_NO_ROW,
)


def _successors(grammar: Grammar) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """``successor``, ``successor_begin`` and ``successors``; a network needs none."""
    if grammar.network is not None:
        return _NO_TABLE, np.zeros(1, np.int64), _NO_ROW
    ranked = [sorted(others) for others in grammar.stands_on]
    successor = np.full((grammar.num_states, grammar.num_states), DEAD, np.int32)
    for state, others in enumerate(ranked):
        successor[state, others] = np.arange(len(others))
    begin = np.concatenate([[0], np.cumsum([len(others) for others in ranked])]).astype(np.int64)
    return successor, begin, np.array([state for others in ranked for state in others], np.int32)


def _taken(grammar: Grammar, frame: Frame) -> NDArray[np.bool_]:
    """Whether a byte of each class, or in the last column the end, may come in a state of the frame."""
    taken: NDArray[np.bool_] = np.concatenate([frame.table != DEAD, frame.accepting[:, None]], axis=1)
    if len(frame.calls):
        may_be_empty = frame.shortest[frame.calls] == 0
        begins = grammar.scan[grammar.scan_start[frame.bottom[frame.calls]]] != DEAD
        begun = np.concatenate([begins, np.zeros((len(begins), 1), np.bool_)], axis=1) | may_be_empty[:, None]
        np.logical_or.at(taken, frame.callers, begun)
    return taken


def _tables(grammar: Grammar, windows: Windows, side: ByteDFA) -> Tables:
    is_start = np.zeros(len(grammar.scan), np.bool_)
    is_start[grammar.scan_start] = True
    network, frame = grammar.network, grammar.frame or _NO_FRAME
    successor, successor_begin, successors = _successors(grammar)
    items = [item for part in grammar.items for item in part]
    columns = np.array(items, np.int32).reshape(-1, 3)
    side_table = side.table[:, side.byte_class]
    tables = Tables(
        action=grammar.action,
        goto=grammar.goto,
        rule_length=grammar.rule_length,
        rule_origin=grammar.rule_origin,
        is_end=grammar.is_end,
        shortest=np.full(1, grammar.shortest, np.int32) if grammar.frame is None else frame.shortest,
        ignored=grammar.ignored,
        scan_start=grammar.scan_start,
        scan=grammar.scan,
        byte_class=grammar.byte_class,
        match=grammar.match,
        is_start=is_start,
        is_closed=np.all(grammar.scan == DEAD, axis=1),
        match_distance=grammar.match_distance,
        item_begin=np.concatenate([[0], np.cumsum([len(part) for part in grammar.items])]).astype(np.int64),
        item_origin=np.ascontiguousarray(columns[:, 0]),
        item_dot=np.ascontiguousarray(columns[:, 1]),
        item_rest=np.ascontiguousarray(columns[:, 2]),
        successor=successor,
        successor_begin=successor_begin,
        successors=successors,
        window_push=windows.push,
        is_network=network is not None,
        call=_NO_TABLE if network is None else network.call,
        tag=_NO_ROW if network is None else network.tag,
        back=_NO_TABLE if network is None else network.back,
        least=_NO_TABLE if network is None else network.least,
        has_frame=grammar.frame is not None,
        frame=frame.table,
        frame_accepting=frame.accepting,
        frame_takes=_taken(grammar, frame),
        frame_call_begin=frame.call_begin,
        frame_calls=frame.calls,
        frame_back=frame.back,
        frame_least=frame.least,
        side=np.ascontiguousarray(side_table),
        side_accepting=side.accepting,
        side_least=_least_bytes(side),
    )
    # To the compiler arrays in another order are of another type.
    return Tables._make(np.ascontiguousarray(v) if isinstance(v, np.ndarray) else v for v in tables)


def _least_bytes(dfa: ByteDFA) -> NDArray[np.int32]:
    """The least bytes from each state of a finite automaton to its end, int32 [N]."""
    tag = np.where(dfa.accepting, 0, DEAD).astype(np.int32)
    nothing = np.empty((0, 2), np.int64), np.empty(0, np.int64), np.empty((0, 1), np.int32)
    return np.asarray(network_distances(pairs(dfa.table), *nothing, tag)[:, 0])
