"""Automata that call each other, as one pushdown automaton that is deterministic byte by byte.

Each definition has a finite automaton over bytes and calls. A call puts the place to come back to on a stack and goes
on at the start of what is called; at its end the place is taken off again. The next byte decides which of it happens: a
step inside the automaton comes before a call, and a call before the end. Where the bytes of a step and those that a
call begins with do not exclude each other, the call is replaced by a copy of what it calls, as often as it takes; where
two calls do not, both are read at once, as one, which tells at its end which of them it was (as visibly pushdown
automata are made deterministic). So nothing is read twice, no parser's table is needed, and the stack holds only what
is unfinished: it does not grow along a list.

Where a text can both end and go on with the same byte, it goes on: there the automaton accepts less than the
definitions allow, never more. JSON values end where they end, whatever follows, so for them it is exact.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata import kernels
from constrained_diffusion.automata.byte_automaton import DEAD, NUM_BYTES, ByteDFA
from constrained_diffusion.automata.network_kernels import network_distances
from constrained_diffusion.errors import LimitExceeded, UnsupportedConstraint
from constrained_diffusion.limits import Limits

_ROOT: Final = -1
"""The number of the whole text among the definitions."""
_MOST_COPIES: Final = 64
"""Calls inside each other that are replaced by copies."""
_STEP_COST: Final = 20
"""What following one item over one class of bytes costs, in units of an elementary step."""


@final
@dataclass(frozen=True, eq=False)
class Network:
    """Automata that call each other: B of them, S states in all, Q places to come back to, K byte classes.

    An automaton is that of one definition, or of several read at once. The first is that of the whole text, and the
    first place, the bottom of every stack, is behind it.

    Attributes:
        table: int32 [S, K], the next state, or ``DEAD``.
        byte_class: uint8 [256].
        call: int32 [S, K], the place that a call with such a byte comes back to, or ``DEAD``.
        tag: int32 [S], as what the text of the automaton may end here, or ``DEAD``.
        begin: int64 [B + 1], where the states of each automaton begin; its first state is its start.
        callee: int32 [Q], the automaton that is called.
        home: int32 [Q], the automaton whose text goes on behind the call; ``DEAD`` at the bottom.
        back: int32 [Q, tags], the state in which it does, by what the call ended as.
    """

    table: NDArray[np.int32]
    byte_class: NDArray[np.uint8]
    call: NDArray[np.int32]
    tag: NDArray[np.int32]
    begin: NDArray[np.int64]
    callee: NDArray[np.int32]
    home: NDArray[np.int32]
    back: NDArray[np.int32]

    @property
    def num_states(self) -> int:
        return len(self.table)

    @cached_property
    def stands_on(self) -> tuple[frozenset[int], ...]:
        """Of each place those that can stand on it in a stack."""
        by_home: dict[int, frozenset[int]] = {}
        for place, home in enumerate(self.home.tolist()):
            by_home[home] = by_home.get(home, frozenset()) | {place}
        return tuple(by_home.get(callee, frozenset()) for callee in self.callee.tolist())

    @cached_property
    def first_alike(self) -> NDArray[np.int64]:
        """Of each place the first one with the same callee, int64 [Q]."""
        _, first, number = np.unique(self.callee, return_index=True, return_inverse=True)
        return np.asarray(first[number], np.int64)

    @property
    def without_stack(self) -> ByteDFA:
        """The steps inside the automata, as one that accepts everywhere."""
        return ByteDFA(self.table, self.byte_class, np.ones(self.num_states, np.bool_))

    @cached_property
    def taken_behind_calls(self) -> NDArray[np.bool_]:
        """The bytes that may follow a call of each automaton that ends as each tag, bool [B, tags, K]."""
        takes = (self.table != DEAD) | (self.call != DEAD) | (self.tag != DEAD)[:, None]
        taken = np.zeros((len(self.begin) - 1, self.back.shape[1], self.table.shape[1]), np.bool_)
        places, tags = np.nonzero(self.back != DEAD)
        np.logical_or.at(taken, (self.callee[places], tags), takes[self.back[places, tags]])
        return taken

    @cached_property
    def may_change(self) -> NDArray[np.bool_]:
        """Whether, behind a byte of one class, one of another may change the stack, bool [K, K]."""
        entered = np.zeros(self.table.shape, np.bool_)
        states, classes = np.nonzero(self.table != DEAD)
        entered[self.table[states, classes], classes] = True
        changes = self.call != DEAD
        ends = np.flatnonzero(self.tag != DEAD)
        owner = np.searchsorted(self.begin, ends, side="right") - 1
        changes[ends] |= self.taken_behind_calls[owner, self.tag[ends]]
        both = np.any(entered, axis=1) & np.any(changes, axis=1)
        return np.asarray(entered[both].T.astype(np.int64) @ changes[both].astype(np.int64) > 0, np.bool_)

    @cached_property
    def least(self) -> NDArray[np.int32]:
        """The least bytes from each state to the end of its own automaton's text as each tag, int32 [S, tags]."""
        start = self.begin[self.callee]
        return np.asarray(network_distances(pairs(self.table), pairs(self.call), start, self.back, self.tag))

    @property
    def shortest(self) -> int:
        """The least bytes of a text, ``FAR`` if there is none."""
        return int(self.least[0].min())


def pairs(targets: NDArray[np.int32]) -> NDArray[np.int64]:
    """The states, and where each leads with some byte, each pair once; int64 [pairs, 2].

    Args:
        targets: int32 [S, K], ``DEAD`` where a byte leads nowhere.
    """
    states, classes = np.nonzero(targets != DEAD)
    return np.unique(np.stack([states, targets[states, classes]], axis=1), axis=0).astype(np.int64)


class _Item(NamedTuple):
    """A state of a definition's automaton: on the way through which of the definitions read at once, and inside which
    copies, as (automaton, state behind the copy)."""

    member: int
    copies: tuple[tuple[int, int], ...]
    body: int
    state: int


@final
@dataclass(eq=False)
class _Node:
    """A state of the network: items, and what was found out about them."""

    items: frozenset[_Item]
    owner: frozenset[int]
    row: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)


@final
@dataclass(eq=False)
class _Block:
    """The states of one definition's automaton, each a state of the network as it is: ``first`` and those behind it.

    Attributes:
        others: states in whose place stands another one, with more items than theirs.
        calls: the places of the calls of the states.
    """

    first: int
    body: int
    others: dict[int, int] = field(default_factory=dict)
    calls: dict[int, list[int]] = field(default_factory=dict)

    def number(self, state: int) -> int:
        return self.others.get(state, self.first + state)


@final
@dataclass(eq=False)
class _Place:
    """A place to come back to: in which automaton, behind which calls, and the items behind each."""

    owner: frozenset[int]
    called: frozenset[int]
    first: NDArray[np.bool_]
    behind: dict[int, frozenset[_Item]]
    back: dict[frozenset[int], int] = field(default_factory=dict)


def network_of(root: ByteDFA, meter: ex.Meter, limits: Limits) -> Network:
    """The network of an automaton and of all that it calls.

    Args:
        root: an automaton over bytes and calls.
        meter: that of its compilation, which has numbered the calls.

    Raises:
        LimitExceeded: the network, or an automaton of it, would grow beyond ``limits``.
        UnsupportedConstraint: something begins by calling itself, or cannot be told from what else may be there.
    """
    made: dict[int, ByteDFA] = {}
    pending = _letters(root)
    while pending:
        number = pending.pop()
        if number not in made:
            made[number] = ex.compile_expression([*meter.called][number].body, limits, meter=meter)
            pending += _letters(made[number])
    bodies = [root, *(made.get(number, ex.EMPTY_DFA) for number in meter.called.values())]
    return _Builder(bodies, [definition.name for definition in meter.called], limits).network()


def _letters(body: ByteDFA) -> list[int]:
    """What an automaton calls."""
    is_called = np.any(body.table[:, body.byte_class[NUM_BYTES:]] != DEAD, axis=0)
    return [int(number) for number in np.flatnonzero(is_called)]


class _Builder:
    """Explores the nodes of a network from the start of the whole text."""

    def __init__(self, bodies: list[ByteDFA], names: list[str], limits: Limits) -> None:
        self.names = names
        self.limits = limits
        columns = np.stack([body.byte_class[:NUM_BYTES] for body in bodies])
        _, first_byte, byte_class = np.unique(columns, axis=1, return_index=True, return_inverse=True)
        self.byte_class = byte_class.reshape(-1).astype(np.uint8)
        self.tables = [body.table[:, body.byte_class[first_byte]] for body in bodies]
        self.calls = [_call_columns(body, len(names)) for body in bodies]
        self.accepting = [body.accepting for body in bodies]
        self._trim()
        self.first = self._first_bytes()
        self.called_in = [_called_in(calls) for calls in self.calls]
        self.closed = lru_cache(maxsize=None)(self._closed)
        self.work = 0
        self.size = 0
        self.nodes: dict[int, _Node] = {}
        self.blocks: dict[frozenset[int], _Block] = {}
        self.number: dict[tuple[frozenset[int], frozenset[_Item]], int] = {}
        self.places: list[_Place] = []
        self.number_of_place: dict[Any, int] = {}
        self.starts: dict[frozenset[int], int] = {}
        self.ends: dict[frozenset[int], dict[frozenset[int], None]] = {}

    def _trim(self) -> None:
        """Cuts what leads to no end because a definition has no text."""
        possible = np.zeros(len(self.names), np.bool_)
        while True:
            live = []
            for table, calls, accepting in zip(self.tables, self.calls, self.accepting, strict=True):
                whole = np.concatenate([table, np.where(possible, calls, DEAD)], axis=1).astype(np.int32)
                live.append(kernels.live_states(whole, accepting) if len(whole) else np.zeros(0, np.bool_))
            found = np.array([len(part) > 0 and bool(part[0]) for part in live[1:]], np.bool_)
            if np.array_equal(found, possible):
                break
            possible = found
        for i, alive in enumerate(live):
            reached = np.append(alive, False)
            self.tables[i] = np.where(reached[self.tables[i]], self.tables[i], DEAD)
            self.calls[i] = np.where(possible & reached[self.calls[i]], self.calls[i], DEAD)
        self.is_possible = len(live[0]) > 0 and bool(live[0][0])

    def _first_bytes(self) -> NDArray[np.bool_]:
        """The classes of bytes that each definition's texts begin with, bool [definitions, K]."""
        own = np.array([_starts(table) for table in self.tables[1:]]).reshape(len(self.names), -1)
        begins = np.array([_starts(calls) for calls in self.calls[1:]]).reshape(len(self.names), -1)
        inside = begins.copy()
        for _ in self.names:
            own = own | (begins.astype(np.int64) @ own.astype(np.int64) > 0)
            inside = inside | (begins.astype(np.int64) @ inside.astype(np.int64) > 0)
        looping = np.flatnonzero(np.diagonal(inside))
        if len(looping):
            name = self.names[int(looping[0])]
            raise UnsupportedConstraint(f"{name} begins by calling itself", construct="left recursion")
        return np.asarray(own, np.bool_)

    # --- exploring

    def network(self) -> Network:
        if not self.is_possible:
            return _empty(self.byte_class)
        self._start_of(frozenset([_ROOT]))
        explored = 0
        while True:
            while explored < self.size:
                if explored in self.nodes:
                    self._explore(self.nodes[explored])
                explored += 1
            if not self._come_back():
                return self._arrays()

    def _start_of(self, called: frozenset[int]) -> int:
        if called not in self.starts:
            self.ends[called] = {}
            if len(called) == 1:
                self._add_block(called, min(called))
            else:
                items = frozenset(_Item(number, (), number + 1, 0) for number in called)
                self.starts[called] = self._node(called, items)
        return self.starts[called]

    def _is_plain(self, body: int, state: int) -> bool:
        """Whether the next byte decides between the steps and the calls of a state of an automaton."""
        taken = self.tables[body][state] != DEAD
        for number in self.called_in[body].get(state, ()):
            if np.any(self.first[number] & taken):
                return False
            taken = taken | self.first[number]
        return True

    def _add_block(self, called: frozenset[int], number: int) -> None:
        """The automaton of one definition, most of whose states need no others beside them."""
        body = number + 1
        block = self.blocks[called] = _Block(self.size, body)
        self._add(len(self.tables[body]))
        calling = {state: _Item(number, (), body, state) for state in self.called_in[body]}
        for state, item in calling.items():
            if not self._is_plain(body, state):
                block.others[state] = self._added_node(called, self.closed(frozenset([item])))
        self.starts[called] = block.number(0)
        if np.any(self.accepting[body]):
            self.ends[called][called] = None
        for state, item in calling.items():
            if state not in block.others:
                block.calls[state] = self._calls(called, frozenset([item]), self.tables[body][state] != DEAD)

    def _add(self, states: int) -> None:
        """Counts states of the network."""
        self.size += states
        self._count(states)
        if self.size > self.limits.max_states:
            raise LimitExceeded("max_states", self.limits.max_states, "the states of a recursive constraint")

    def _node(self, owner: frozenset[int], items: Iterable[_Item]) -> int:
        closed = self.closed(frozenset(items))
        block = self.blocks.get(owner)
        if block is not None and len(closed) == 1:
            (item,) = closed
            if not item.copies:
                return block.number(item.state)
        return self._added_node(owner, closed)

    def _added_node(self, owner: frozenset[int], closed: frozenset[_Item]) -> int:
        key = owner, closed
        if key not in self.number:
            self.number[key] = self.size
            self.nodes[self.size] = _Node(closed, owner)
            self._add(1)
        return self.number[key]

    def _closed(self, items: frozenset[_Item]) -> frozenset[_Item]:
        """The items, those behind copies that may end, and the starts of copies where bytes do not decide on a call."""
        found: set[_Item] = set()
        pending = list(items)
        copied: set[tuple[_Item, int]] = set()
        while pending:
            while pending:
                item = pending.pop()
                if item in found:
                    continue
                found.add(item)
                if item.copies and self.accepting[item.body][item.state]:
                    pending.append(_Item(item.member, item.copies[:-1], *item.copies[-1]))
            calls = [(item, number) for item in found for number in self.called_in[item.body].get(item.state, ())]
            if calls:
                own = self._own(found)
                for item, number in calls:
                    if (item, number) not in copied and bool(np.any(self.first[number] & own)):
                        copied.add((item, number))
                        pending.append(self._copy(item, number))
        return frozenset(found)

    def _own(self, items: Iterable[_Item]) -> NDArray[np.bool_]:
        return np.asarray(np.any([self.tables[item.body][item.state] != DEAD for item in items], axis=0))

    def _copy(self, item: _Item, number: int) -> _Item:
        if len(item.copies) >= _MOST_COPIES:
            raise UnsupportedConstraint(
                f"{self.names[number]} and what else may stand in its place begin alike too far to be told apart; "
                f"bound the depth instead (any_depth=2)",
                construct="recursive part",
            )
        behind = item.body, int(self.calls[item.body][item.state, number])
        return _Item(item.member, (*item.copies, behind), number + 1, 0)

    def _explore(self, node: _Node) -> None:
        items = sorted(node.items)
        rows = np.stack([self.tables[item.body][item.state] for item in items])
        columns = list(zip(*rows.tolist(), strict=True))
        targets: dict[tuple[int, ...], int] = {(DEAD,) * len(items): DEAD}
        for column in columns:
            if column not in targets:
                targets[column] = self._node(
                    node.owner,
                    [
                        _Item(member, copies, body, to)
                        for (member, copies, body, _), to in zip(items, column, strict=True)
                        if to != DEAD
                    ],
                )
        node.row = [targets[column] for column in columns]
        self._count(len(items) * len(targets))
        if any(item.state in self.called_in[item.body] for item in items):
            node.calls = self._calls(node.owner, node.items, np.any(rows != DEAD, axis=0))
        ended = self._ended(node)
        if ended:
            self.ends[node.owner].setdefault(ended)

    def _count(self, steps: int) -> None:
        self.work += _STEP_COST * steps
        if self.work > self.limits.max_work:
            what = "the work to tell apart recursive parts that begin alike (any_depth=2 bounds their depth instead)"
            raise LimitExceeded("max_work", self.limits.max_work, what)

    def _ended(self, node: _Node) -> frozenset[int]:
        """The definitions of which a text ends here."""
        return frozenset(
            item.member for item in node.items if not item.copies and self.accepting[item.body][item.state]
        )

    def _calls(self, owner: frozenset[int], items: frozenset[_Item], own: NDArray[np.bool_]) -> list[int]:
        """The places of the calls of a state that takes the bytes ``own`` itself; adds them."""
        behind: dict[int, set[_Item]] = {}
        for item in items:
            for callee in self.called_in[item.body].get(item.state, ()):
                if not np.any(self.first[callee] & own):
                    target = int(self.calls[item.body][item.state, callee])
                    behind.setdefault(callee, set()).add(item._replace(state=target))
        left, found = sorted(behind), []
        while left:
            group, first = [left[0]], self.first[left[0]]
            while True:
                more = [c for c in left if c not in group and bool(np.any(self.first[c] & first))]
                if not more:
                    break
                group += more
                first = first | np.any(self.first[more], axis=0)
            left = [c for c in left if c not in group]
            called = frozenset(group)
            self._start_of(called)
            place = _Place(owner, called, first, {c: frozenset(behind[c]) for c in group})
            key = place.owner, frozenset(place.behind.items())
            if key not in self.number_of_place:
                self.number_of_place[key] = len(self.places)
                self.places.append(place)
            found.append(self.number_of_place[key])
        return found

    def _come_back(self) -> bool:
        """Finds the states behind calls for all that these may have ended as; whether there are new ones."""
        before = self.size
        for place in self.places:
            for ended in self.ends[place.called]:
                if ended not in place.back:
                    place.back[ended] = self._node(place.owner, {item for c in ended for item in place.behind[c]})
        return self.size > before

    # --- the result

    def _arrays(self) -> Network:
        owners = [*self.starts]
        rank = {owner: i for i, owner in enumerate(owners)}
        of_owner = {owner: [number for number, node in self.nodes.items() if node.owner == owner] for owner in owners}
        for owner, block in self.blocks.items():
            of_owner[owner] += range(block.first, block.first + len(self.tables[block.body]))
            of_owner[owner].sort(key=lambda number: number != self.starts[owner])
        order = [number for owner in owners for number in of_owner[owner]]
        position = np.append(np.argsort(order), DEAD).astype(np.int32)
        tags = {owner: {ended: i for i, ended in enumerate(self.ends[owner])} for owner in owners}
        classes = int(self.byte_class.max()) + 1
        table, call = (np.full((len(order), classes), DEAD, np.int32) for _ in range(2))
        tag = np.full(len(order), DEAD, np.int32)
        calls: list[tuple[int, list[int]]] = []
        for owner, block in self.blocks.items():
            states = position[block.first + np.arange(len(self.tables[block.body]))]
            reached = states.copy()
            for state, number in block.others.items():
                reached[state] = position[number]
            targets = self.tables[block.body]
            table[states] = np.where(targets != DEAD, reached[targets], DEAD)
            tag[states[self.accepting[block.body]]] = tags[owner].get(owner, DEAD)
            calls += [(int(states[state]), places) for state, places in block.calls.items()]
        for number, node in self.nodes.items():
            table[position[number]] = position[node.row]
            ended = self._ended(node)
            if ended:
                tag[position[number]] = tags[node.owner][ended]
            calls.append((int(position[number]), node.calls))
        for at, places in calls:
            for called in places:
                call[at, self.places[called].first] = called + 1
        sizes = [len(of_owner[owner]) for owner in owners]
        back = np.full((len(self.places) + 1, max(map(len, tags.values()))), DEAD, np.int32)
        for i, place in enumerate(self.places):
            for ended, number in place.back.items():
                back[i + 1, tags[place.called][ended]] = position[number]
        return Network(
            table=table,
            byte_class=self.byte_class,
            call=call,
            tag=tag,
            begin=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            callee=np.array([0, *(rank[place.called] for place in self.places)], np.int32),
            home=np.array([DEAD, *(rank[place.owner] for place in self.places)], np.int32),
            back=back,
        )


def _call_columns(body: ByteDFA, count: int) -> NDArray[np.int32]:
    """Where each call leads, int32 [states, count]."""
    letters = body.byte_class[NUM_BYTES:]
    columns = np.full((body.num_states, count), DEAD, np.int32)
    columns[:, : len(letters)] = body.table[:, letters]
    return columns


def _called_in(calls: NDArray[np.int32]) -> dict[int, list[int]]:
    """What is called in each state that calls anything."""
    found: dict[int, list[int]] = {}
    for state, number in zip(*np.nonzero(calls != DEAD), strict=True):
        found.setdefault(int(state), []).append(int(number))
    return found


def _starts(table: NDArray[np.int32]) -> NDArray[np.bool_]:
    return table[0] != DEAD if len(table) else np.zeros(table.shape[1], np.bool_)


def _empty(byte_class: NDArray[np.uint8]) -> Network:
    """The network that has no text."""
    nothing = np.full((1, int(byte_class.max()) + 1), DEAD, np.int32)
    bottom = np.zeros(1, np.int32)
    return Network(
        table=nothing,
        byte_class=byte_class,
        call=nothing,
        tag=np.full(1, DEAD, np.int32),
        begin=np.array([0, 1], np.int64),
        callee=bottom,
        home=np.full(1, DEAD, np.int32),
        back=np.full((1, 1), DEAD, np.int32),
    )
