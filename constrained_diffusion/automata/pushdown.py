"""The pushdown acceptors: of a grammar, an LALR(1) parser over bytes, and of a network of automata.

A state is an interned configuration: the parser's stack (a shared linked list), the state of the
scanner at work on top of it, and a fallback. A scanner that has matched a terminal may go on and match a
longer one, or fail and have to back up: the fallback is the configuration behind the last match, which reads the
bytes since then again while the scanner goes on. So nothing is read twice, and lexing is exact.

In a ``Network`` the stack holds the places to come back to, the scanner's state is that of the automaton at work, and
there is no fallback.
"""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Final, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata import pushdown_kernels as kernels
from constrained_diffusion.automata.byte_automaton import DEAD, NUM_BYTES, ByteAutomaton, ByteDFA
from constrained_diffusion.automata.network import Network
from constrained_diffusion.automata.pushdown_kernels import FAR, FULL, Store, Tables
from constrained_diffusion.automata.threads_nfa import NO_MATCH
from constrained_diffusion.errors import LimitExceeded
from constrained_diffusion.limits import Limits

Result = TypeVar("Result")

TAIL: Final = 0
"""The state behind the end of a text, on tokens; no text leads to it."""
_FIRST_CAPACITY: Final = 1024
_MOST_SCANNER_STATES: Final = 6000
"""Pairs of a window of the stack and a scanner state; the window is as large as this allows."""
_MOST_NETWORK_STATES: Final = 1500
"""The same of a network, whose automata are larger than scanners but hold what a stack of a grammar would have to."""
_LARGEST_WINDOW: Final = 12


@lru_cache(maxsize=1)
def any_bytes() -> ByteDFA:
    """The automaton that accepts everything."""
    return ex.compile_expression(ex.Repetition(ex.Bytes((1 << NUM_BYTES) - 1)), Limits())


@final
@dataclass(frozen=True, eq=False)
class Scanner:
    """The lexer of some parser states. State 0 is its start, to which nothing leads back.

    Attributes:
        table: int32 [S, 256], the next state for each byte, or ``DEAD``; of a network [S, K] for each byte class, in
            its own numbers.
        match: int32 [S], as in ``threads_nfa.ScannerDFA``.
    """

    table: NDArray[np.int32]
    match: NDArray[np.int32]


@final
@dataclass(frozen=True, eq=False)
class Grammar:
    """An LALR(1) grammar with its lexers: Q parser states, T terminals, R rules, NT nonterminals.

    Attributes:
        terminals: their names.
        action: int32 [Q, T + 1], see ``pushdown_kernels.Tables``.
        goto: int32 [Q, NT].
        rule_length, rule_origin: int32 [R].
        start, end_state: parser states.
        ignored: bool [T].
        scanners: the different lexers; scanner_of_state: int32 [Q].
        items: of each parser state the kernel items: origin, place of the dot, least characters behind it.
        shortest: the least characters of a text, ``FAR`` if there is none.
        network: where texts are those of a network instead: its places to come back to are the parser states, its
            automata the scanners, and there are no terminals.
    """

    terminals: tuple[str, ...]
    action: NDArray[np.int32]
    goto: NDArray[np.int32]
    rule_length: NDArray[np.int32]
    rule_origin: NDArray[np.int32]
    start: int
    end_state: int
    ignored: NDArray[np.bool_]
    scanners: tuple[Scanner, ...]
    scanner_of_state: NDArray[np.int32]
    items: tuple[tuple[tuple[int, int, int], ...], ...]
    shortest: int
    network: Network | None = None

    @classmethod
    def of_network(cls, network: Network) -> "Grammar":
        """The grammar that has the texts of a network."""
        places = len(network.callee)
        return cls(
            terminals=(),
            action=np.full((places, 1), kernels.ERROR, np.int32),
            goto=np.full((places, 0), kernels.ERROR, np.int32),
            rule_length=np.zeros(0, np.int32),
            rule_origin=np.zeros(0, np.int32),
            start=0,
            end_state=DEAD,
            ignored=np.zeros(0, np.bool_),
            scanners=tuple(
                Scanner(network.table[begin:end], np.full(end - begin, NO_MATCH, np.int32))
                for begin, end in itertools.pairwise(network.begin.tolist())
            ),
            scanner_of_state=network.callee,
            items=((),) * places,
            shortest=network.shortest,
            network=network,
        )

    @property
    def num_states(self) -> int:
        """Parser states."""
        return len(self.action)

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
    def scanner_begin(self) -> NDArray[np.int64]:
        """Where the states of each scanner begin among those of all, int64 [scanners + 1]."""
        return np.concatenate([[0], np.cumsum([len(scanner.match) for scanner in self.scanners])])

    @cached_property
    def scan(self) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int32]]:
        """All scanners in one table [S, K] over byte classes, the classes of bytes, and the matches."""
        if self.network is not None:
            no_match = np.full(self.network.num_states, NO_MATCH, np.int32)
            return self.network.table, self.network.byte_class, no_match
        shifted = [
            np.where(scanner.table >= 0, scanner.table + np.int32(begin), DEAD)
            for scanner, begin in zip(self.scanners, self.scanner_begin, strict=False)
        ]
        whole = np.concatenate(shifted).astype(np.int32)
        columns, byte_class = np.unique(whole, axis=1, return_inverse=True)
        match = np.concatenate([scanner.match for scanner in self.scanners]).astype(np.int32)
        return np.ascontiguousarray(columns), byte_class.reshape(-1).astype(np.uint8), match

    @cached_property
    def match_distance(self) -> NDArray[np.int32]:
        """The least bytes, at least one, from each scanner state to a match of each terminal, int32 [S, T]."""
        table, _, match = self.scan
        distance = np.full((len(table), len(self.terminals)), FAR, np.int32)
        at_match = np.full_like(distance, FAR)
        at_match[match >= 0, match[match >= 0]] = 0
        while True:
            ahead = np.append(np.minimum(distance, at_match), np.full((1, len(self.terminals)), FAR, np.int32), axis=0)
            following = np.minimum.reduce([ahead[table[:, k]] for k in range(table.shape[1])]) + 1
            following = np.minimum(following, FAR)
            if np.array_equal(following, distance):
                return distance
            distance = following.astype(np.int32)


@final
@dataclass(frozen=True, eq=False)
class Windows:
    """What is told apart of stacks: their top symbols, at most ``size`` of them.

    Attributes:
        size: the most symbols of a window.
        known: of each window its symbols, the top first, and whether the bottom is among them.
        push: int32 [W, Q], the window when a symbol is pushed, or -1 where that cannot be.
        is_forgetful: whether the relaxation forgets the stack behind every terminal, and knows only which terminal
            that was.
    """

    size: int
    known: tuple[tuple[tuple[int, ...], bool], ...]
    push: NDArray[np.int32]
    is_forgetful: bool = False

    def coarser(self, grammar: Grammar) -> "Windows | None":
        """What tells fewer stacks apart, or None."""
        if self.is_forgetful:
            return None
        if self.size > 1:
            return Windows.of(grammar, self.size - 1)
        return replace(self, is_forgetful=True) if grammar.network is None else None

    @classmethod
    def of(cls, grammar: Grammar, size: int) -> "Windows":
        """All windows of that size."""
        first: tuple[tuple[int, ...], bool] = ((grammar.start,), True)
        numbers = {first: 0}
        known = [first]
        rows = []
        for symbols, has_bottom in known:
            row = np.full(grammar.num_states, DEAD, np.int32)
            for symbol in sorted(grammar.stands_on[symbols[0]]):
                longer = (symbol, *symbols)
                window = longer[:size], has_bottom and len(longer) <= size
                if window not in numbers:
                    numbers[window] = len(known)
                    known.append(window)
                row[symbol] = numbers[window]
            rows.append(row)
        return cls(size, tuple(known), np.array(rows))

    @classmethod
    def largest(cls, grammar: Grammar, side_states: int = 1) -> "Windows":
        """The largest windows that stay within bounds, given the states of the automaton beside the grammar."""
        windows = cls.of(grammar, 1)
        most = _MOST_SCANNER_STATES if grammar.network is None else _MOST_NETWORK_STATES
        for size in range(2, _LARGEST_WINDOW + 1):
            larger = cls.of(grammar, size)
            if larger.scanner_states(grammar) * side_states > most:
                break
            windows = larger
        return windows

    def scanner_states(self, grammar: Grammar) -> int:
        """Pairs of a window and a state of its scanner."""
        sizes = np.diff(grammar.scanner_begin)[grammar.scanner_of_state]
        return int(sum(sizes[symbols[0]] for symbols, _ in self.known))


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
        self._lock = threading.Lock()
        self._width = int(self.tables.successor.max(initial=0)) + 1
        self.store = _empty_store(_FIRST_CAPACITY, self._width)
        bottom = self.call(kernels.push, DEAD, grammar.start)
        # The first configuration is the tail; it only takes the number.
        self.call(kernels.intern_tail)
        is_empty = grammar.shortest >= FAR or side.is_empty
        self._start = DEAD if is_empty else int(self.call(kernels.fresh, bottom, 0))
        self._start = self.run(beginning)

    def with_windows(self, windows: Windows) -> "PushdownAutomaton":
        """An automaton of the same texts whose stacks are known by other windows."""
        return PushdownAutomaton(self.grammar, windows, self.side, self.limits, self.beginning)

    @property
    def start(self) -> int:
        return self._start

    def step(self, state: int, byte: int) -> int:
        return int(self.call(kernels.step, state, byte))

    def run(self, text: bytes, state: int | None = None) -> int:
        current = self.start if state is None else state
        if current == DEAD:
            return DEAD
        return int(self.call(kernels.run, current, np.frombuffer(text, np.uint8)))

    def accepts(self, state: int) -> bool:
        return bool(self.call(kernels.accepts, state))

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
                result = kernel(self.tables, self.store, *arguments)
                if not self.store.counts[FULL]:
                    return result
                self._grow()

    def _grow(self) -> None:
        old = self.store
        stacks, configs = int(old.counts[kernels.STACKS]), int(old.counts[kernels.CONFIGS])
        capacity = 2 * len(old.symbol)
        if capacity > 2 * self.limits.max_configurations:
            raise LimitExceeded("max_configurations", self.limits.max_configurations, "the states of a grammar")
        new = _empty_store(capacity, self._width)
        for name in ("symbol", "below", "window", "closing"):
            getattr(new, name)[:stacks] = getattr(old, name)[:stacks]
        for name in ("stack", "scanner", "fallback", "side"):
            getattr(new, name)[:configs] = getattr(old, name)[:configs]
        new.counts[:2] = old.counts[:2]
        zeros = np.zeros(stacks, np.int32)
        stack_slots = kernels.hash_slots(new.symbol, new.below, zeros, zeros, stacks, len(new.stack_slots))
        config_slots = kernels.hash_slots(
            new.stack, new.scanner, new.fallback, new.side, configs, len(new.config_slots)
        )
        self.store = new._replace(stack_slots=stack_slots, config_slots=config_slots)


def _empty_store(capacity: int, width: int) -> Store:
    def ints(*shape: int) -> NDArray[np.int32]:
        return np.full(shape, -1, np.int32)

    return Store(
        symbol=ints(capacity),
        below=ints(capacity),
        window=ints(capacity),
        closing=ints(capacity, width),
        stack=ints(capacity),
        scanner=ints(capacity),
        fallback=ints(capacity),
        side=ints(capacity),
        stack_slots=ints(2 * capacity),
        config_slots=ints(2 * capacity),
        counts=np.zeros(3, np.int64),
    )


_NO_ROW: Final = np.full(1, DEAD, np.int32)
_NO_TABLE: Final = np.full((1, 1), DEAD, np.int32)


def _successors(grammar: Grammar) -> NDArray[np.int32]:
    successor = np.full((grammar.num_states, grammar.num_states), DEAD, np.int32)
    for state, others in enumerate(grammar.stands_on):
        successor[state, sorted(others)] = np.arange(len(others))
    return successor


def _tables(grammar: Grammar, windows: Windows, side: ByteDFA) -> Tables:
    table, byte_class, match = grammar.scan
    starts = grammar.scanner_begin[:-1].astype(np.int32)
    is_start = np.zeros(len(table), np.bool_)
    is_start[starts] = True
    network = grammar.network
    successor = _successors(grammar) if network is None else np.full((1, 1), DEAD, np.int32)
    items = [item for part in grammar.items for item in part]
    columns = np.array(items, np.int32).reshape(-1, 3)
    side_table = side.table[:, side.byte_class]
    return Tables(
        action=grammar.action,
        goto=grammar.goto,
        rule_length=grammar.rule_length,
        rule_origin=grammar.rule_origin,
        end_state=grammar.end_state,
        ignored=grammar.ignored,
        scan_start=starts[grammar.scanner_of_state],
        scan=table,
        byte_class=byte_class,
        match=match,
        is_start=is_start,
        is_closed=np.all(table == DEAD, axis=1),
        match_distance=grammar.match_distance,
        item_begin=np.concatenate([[0], np.cumsum([len(part) for part in grammar.items])]).astype(np.int64),
        item_origin=np.ascontiguousarray(columns[:, 0]),
        item_dot=np.ascontiguousarray(columns[:, 1]),
        item_rest=np.ascontiguousarray(columns[:, 2]),
        successor=successor,
        window_push=windows.push,
        is_network=network is not None,
        call=_NO_TABLE if network is None else network.call,
        tag=_NO_ROW if network is None else network.tag,
        back=_NO_TABLE if network is None else network.back,
        least=_NO_ROW if network is None else network.least,
        least_behind=_NO_ROW if network is None else network.least_behind,
        side=np.ascontiguousarray(side_table),
        side_accepting=side.accepting,
    )
