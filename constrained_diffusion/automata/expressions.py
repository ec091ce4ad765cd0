"""Regular expressions over bytes, and their compilation to minimal automata.

An expression is an immutable tree. Concatenation, union and repetition become one
nondeterministic automaton that is determinised and minimised once; intersections and
complements are products of automata, never approximations.

A ``Call`` stands for a text of a language that has a name, its ``Definition``, which may call itself. To an automaton a
call is one letter more than the 256 bytes; ``network`` puts the automata of all definitions together.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import kernels
from constrained_diffusion.automata.byte_automaton import DEAD, NUM_BYTES, ByteDFA
from constrained_diffusion.automata.utf8 import ALL_CODE_POINTS, CodePoints, byte_ranges
from constrained_diffusion.errors import LimitExceeded, UnsupportedConstraint
from constrained_diffusion.limits import Limits

if TYPE_CHECKING:
    from constrained_diffusion.automata.pushdown import Grammar


class Expression(ABC):
    """A description of a language of byte strings: regular, but for calls."""

    @property
    def inner(self) -> "tuple[Expression, ...]":
        """The expressions that it is made of, as far as these may call something."""
        return ()

    @abstractmethod
    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        """Adds transitions so that exactly the texts of the language lead from ``enter`` to ``leave``."""


@final
@dataclass(frozen=True)
class Bytes(Expression):
    """One byte out of a set; bit ``b`` of ``mask`` says whether byte ``b`` is in it."""

    mask: int

    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        if self.mask:
            nfa.add(enter, self.mask, leave)


@final
@dataclass(frozen=True)
class Concatenation(Expression):
    parts: tuple[Expression, ...]

    @property
    def inner(self) -> tuple[Expression, ...]:
        return self.parts

    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        if not self.parts:
            nfa.add_empty(enter, leave)
        for part in self.parts[:-1]:
            between = nfa.new_state()
            part.add_to(nfa, enter, between)
            enter = between
        if self.parts:
            self.parts[-1].add_to(nfa, enter, leave)


@final
@dataclass(frozen=True)
class Union(Expression):
    parts: tuple[Expression, ...]

    @property
    def inner(self) -> tuple[Expression, ...]:
        return self.parts

    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        for part in self.parts:
            part.add_to(nfa, enter, leave)


@final
@dataclass(frozen=True)
class Repetition(Expression):
    """``least`` to ``most`` times in a row; ``most`` None is any number of times."""

    body: Expression
    least: int = 0
    most: int | None = None

    @property
    def inner(self) -> tuple[Expression, ...]:
        return (self.body,)

    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        done = nfa.new_state()
        nfa.add_empty(done, leave)
        copies = self.least if self.most is None else self.most
        joints = nfa.add_chain(self.body, copies) if copies else [nfa.new_state()]
        nfa.add_empty(enter, joints[0])
        for joint in joints[self.least :]:
            nfa.add_empty(joint, done)
        if self.most is None:
            again = nfa.new_state()
            nfa.add_empty(joints[-1], again)
            behind = nfa.new_state()
            self.body.add_to(nfa, again, behind)
            nfa.add_empty(behind, again)
            nfa.add_empty(behind, done)


@final
@dataclass(frozen=True)
class Intersection(Expression):
    parts: tuple[Expression, ...]

    @property
    def inner(self) -> tuple[Expression, ...]:
        return self.parts

    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        compiled = [compile_expression(part, nfa.limits, meter=nfa.meter) for part in self.parts]
        compiled.sort(key=lambda dfa: dfa.num_states)
        result = compiled[0]
        for other in compiled[1:]:
            result = combine(result, other, is_difference=False, limits=nfa.limits)
        Embedded(result).add_to(nfa, enter, leave)


@final
@dataclass(frozen=True)
class Difference(Expression):
    """The texts of ``of`` that are not in ``without``."""

    of: Expression
    without: Expression

    @property
    def inner(self) -> tuple[Expression, ...]:
        return (self.of, self.without)

    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        first, second = (compile_expression(part, nfa.limits, meter=nfa.meter) for part in (self.of, self.without))
        Embedded(combine(first, second, is_difference=True, limits=nfa.limits)).add_to(nfa, enter, leave)


@final
@dataclass(frozen=True)
class Without(Expression):
    """The texts of ``of`` in which some bytes do not stand; what it calls is left as it is."""

    of: Expression
    excluded: int

    @property
    def inner(self) -> tuple[Expression, ...]:
        return (self.of,)

    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        dfa = compile_expression(self.of, nfa.limits, meter=nfa.meter)
        table = np.pad(dfa.table, ((0, 0), (0, 1)), constant_values=DEAD)
        byte_class = dfa.byte_class.astype(np.int64)
        byte_class[[byte for byte in range(NUM_BYTES) if self.excluded >> byte & 1]] = dfa.table.shape[1]
        nfa.add_dfa(ByteDFA(table, byte_class, dfa.accepting), enter, leave)


@final
@dataclass(frozen=True)
class Continuation(Expression):
    """What may follow ``prefix`` in the texts of ``of``: the left quotient."""

    of: Expression
    prefix: bytes

    @property
    def inner(self) -> tuple[Expression, ...]:
        return (self.of,)

    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        dfa = compile_expression(self.of, nfa.limits, meter=nfa.meter)
        _check_regular(dfa)
        Embedded(_from_state(dfa, dfa.run(self.prefix))).add_to(nfa, enter, leave)


@final
@dataclass(frozen=True, eq=False)
class Embedded(Expression):
    """A language given by its automaton."""

    dfa: ByteDFA

    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        nfa.add_dfa(self.dfa, enter, leave)


@final
@dataclass(frozen=True)
class Anchor(Expression):
    """The empty text, but only at the start or at the end of the whole text."""

    kind: int

    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        nfa.add_empty(enter, leave, self.kind)


@final
@dataclass(frozen=True)
class WholeText(Expression):
    """A language whose anchors mean the start and the end of its own texts, wherever these stand."""

    body: Expression

    @property
    def inner(self) -> tuple[Expression, ...]:
        return (self.body,)

    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        nfa.add_dfa(compile_expression(self.body, nfa.limits, meter=nfa.meter), enter, leave)


@final
class Definition:
    """A language with a name, that its own texts may call.

    Attributes:
        name: for messages.
        body: the language; set once it is known.
        grammar: the tables of the language's parser, where it is that of a grammar; it then has no body.
        as_grammar: gives such tables where there is a body as well, for a place beside grammars.
    """

    def __init__(self, name: str, grammar: "Grammar | None" = None) -> None:
        self.name = name
        self.body: Expression = NOTHING
        self.grammar = grammar
        self.as_grammar: Callable[[], Grammar] | None = None


@final
@dataclass(frozen=True)
class Call(Expression):
    """A text of a definition, to any depth."""

    definition: Definition

    def add_to(self, nfa: "NFA", enter: int, leave: int) -> None:
        nfa.add(enter, 1 << (NUM_BYTES + nfa.meter.number(self.definition)), leave)


TEXT_START: Final = Anchor(kernels.TEXT_START)
TEXT_END: Final = Anchor(kernels.TEXT_END)
EPSILON: Final = Concatenation(())
NOTHING: Final = Union(())


def byte_mask(values: Iterable[int]) -> int:
    """The set of bytes as a bit mask."""
    mask = 0
    for value in values:
        mask |= 1 << value
    return mask


def range_mask(low: int, high: int) -> int:
    """The bytes ``low`` to ``high`` as a bit mask."""
    return (1 << (high + 1)) - (1 << low)


def literal(text: bytes) -> Expression:
    """Exactly this text."""
    return Concatenation(tuple(Bytes(1 << byte) for byte in text))


def concatenation(*parts: Expression) -> Expression:
    return parts[0] if len(parts) == 1 else Concatenation(parts)


def union(*parts: Expression) -> Expression:
    return parts[0] if len(parts) == 1 else Union(parts)


def literals(texts: Iterable[bytes]) -> Expression:
    """One of the texts, as a tree that shares their prefixes."""
    ordered = sorted(set(texts))
    return Embedded(_minimized(*_prefix_tree(ordered))) if ordered else NOTHING


@lru_cache(maxsize=512)
def characters(code_points: CodePoints) -> Expression:
    """One character out of a set, as UTF-8."""
    ascii_only = [(low, high) for low, high in code_points if high < 0x80]
    if len(ascii_only) == len(code_points):
        return Bytes(sum(range_mask(low, high) for low, high in code_points))
    sequences = [
        Concatenation(tuple(Bytes(range_mask(low, high)) for low, high in sequence))
        for sequence in byte_ranges(code_points)
    ]
    return Embedded(compile_expression(Union(tuple(sequences)), Limits()))


@lru_cache(maxsize=1)
def any_text() -> Expression:
    """Every valid UTF-8 text."""
    return Embedded(compile_expression(Repetition(characters(ALL_CODE_POINTS)), Limits()))


_LIST_COST: Final = 10
"""What a transition in a list costs, in units of one in a table."""


class Meter:
    """Counts the transitions that are made for one constraint, its parts included, and numbers what it calls.

    Attributes:
        called: the number of each definition that was called.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.entries = 0
        self.called: dict[Definition, int] = {}

    def number(self, definition: Definition) -> int:
        """The letter of a call, counted from the first behind the bytes."""
        return self.called.setdefault(definition, len(self.called))

    def count(self, transitions: int) -> None:
        """
        Raises:
            LimitExceeded: there are more than ``limits.max_entries``.
        """
        self.entries += transitions
        if self.entries > self.limits.max_entries:
            raise LimitExceeded("max_entries", self.limits.max_entries, "the size of all automata of the constraint")


class NFA:
    """A nondeterministic automaton with empty transitions, while it is built."""

    def __init__(self, limits: Limits, meter: Meter) -> None:
        self.limits = limits
        self.meter = meter
        self.num_states = 0
        self.sources: list[int] = []
        self.labels: list[int] = []
        self.targets: list[int] = []
        self.empty_sources: list[int] = []
        self.empty_targets: list[int] = []
        self.empty_kinds: list[int] = []
        self._label_of: dict[int, int] = {}

    @property
    def masks(self) -> list[int]:
        """The set of bytes of each label."""
        return list(self._label_of)

    def byte_classes(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The class of each letter, int64 [letters], and which classes each label holds, bool [labels, K]."""
        return _byte_classes(self.masks or [0], NUM_BYTES + len(self.meter.called))

    def new_state(self) -> int:
        self.num_states += 1
        return self.num_states - 1

    def label(self, mask: int) -> int:
        return self._label_of.setdefault(mask, len(self._label_of))

    def add(self, source: int, mask: int, target: int) -> None:
        self.sources.append(source)
        self.labels.append(self.label(mask))
        self.targets.append(target)
        self._check_size()

    def add_empty(self, source: int, target: int, kind: int = kernels.PLAIN) -> None:
        self.empty_sources.append(source)
        self.empty_targets.append(target)
        self.empty_kinds.append(kind)

    def add_chain(self, body: Expression, copies: int) -> list[int]:
        """``copies`` bodies one behind the other; gives the states before, between and behind them."""
        first, transitions, empties = self.num_states, len(self.sources), len(self.empty_sources)
        enter = self.new_state()
        leave = self.new_state()
        body.add_to(self, enter, leave)
        size = self.num_states - first
        self._check_size((copies - 1) * max(len(self.sources) - transitions, size, 1))
        shifts = np.arange(1, copies)[:, None] * size
        for values in (self.sources, self.targets):
            values.extend((np.array(values[transitions:], np.int64) + shifts).ravel().tolist())
        self.labels.extend(self.labels[transitions:] * (copies - 1))
        for values in (self.empty_sources, self.empty_targets):
            values.extend((np.array(values[empties:], np.int64) + shifts).ravel().tolist())
        self.empty_kinds.extend(self.empty_kinds[empties:] * (copies - 1))
        self.num_states = first + copies * size
        for copy in range(1, copies):
            self.add_empty(leave + (copy - 1) * size, enter + copy * size)
        return [enter] + [leave + copy * size for copy in range(copies)]

    def add_dfa(self, dfa: ByteDFA, enter: int, leave: int) -> None:
        if dfa.is_empty:
            return
        offset = self.num_states
        self.num_states += dfa.num_states
        self.add_transitions(dfa, offset)
        self.add_empty(enter, offset)
        for state in np.flatnonzero(dfa.accepting).tolist():
            self.add_empty(state + offset, leave)

    def add_transitions(self, dfa: ByteDFA, offset: int) -> None:
        """Those of an automaton whose states have been numbered from ``offset`` on."""
        labels = np.array([self.label(mask) for mask in dfa.class_masks])
        states, classes = dfa.transitions
        self._check_size(len(states))
        self.sources.extend((states + offset).tolist())
        self.labels.extend(labels[classes].tolist())
        self.targets.extend((dfa.table[states, classes] + offset).tolist())

    def _check_size(self, more: int = 0) -> None:
        if len(self.sources) + more > self.limits.max_nfa_transitions:
            raise LimitExceeded(
                "max_nfa_transitions", self.limits.max_nfa_transitions, "the number of transitions of the constraint"
            )


def compile_expression(
    expression: Expression, limits: Limits, *, minimized_up_to: int | None = None, meter: Meter | None = None
) -> ByteDFA:
    """The minimal automaton of the language.

    Args:
        meter: that of the whole which the expression is a part of.
        minimized_up_to: an automaton of more states than this is left as it is: for a part of a larger one, which is
            minimised at its end.

    Raises:
        LimitExceeded: the automaton grows beyond ``limits``.
        UnsupportedConstraint: a part under an intersection or a complement calls something.
    """
    if isinstance(expression, Embedded):
        return expression.dfa
    nfa = NFA(limits, Meter(limits) if meter is None else meter)
    start, accept = nfa.new_state(), nfa.new_state()
    expression.add_to(nfa, start, accept)
    return compile_nfa(nfa, start, accept, minimized_up_to=minimized_up_to)


def compile_nfa(nfa: NFA, start: int, accept: int, *, minimized_up_to: int | None = None) -> ByteDFA:
    """The minimal automaton of the texts that lead from ``start`` to ``accept``; as ``compile_expression``."""
    nfa.meter.count(_LIST_COST * len(nfa.sources))
    table, byte_class, accepting = _determinized(nfa, start, accept)
    nfa.meter.count(table.size)
    if minimized_up_to is not None and len(table) > minimized_up_to:
        return ByteDFA(table, _numbers(_letters_used(table, byte_class)), accepting)
    return _minimized(table, byte_class, accepting)


def combine(first: ByteDFA, second: ByteDFA, *, is_difference: bool, limits: Limits) -> ByteDFA:
    """The texts of ``first`` that are (or, for a difference, are not) in ``second``."""
    _check_regular(first, second)
    if first.is_empty or (second.is_empty and not is_difference):
        return EMPTY_DFA
    joint = first.byte_class.astype(np.int64) * 256 + second.byte_class
    values, byte_class = np.unique(joint, return_inverse=True)
    status, table, accepting = kernels.product(
        first.table,
        first.accepting,
        second.table,
        second.accepting,
        values // 256,
        values % 256,
        is_difference,
        limits.max_states,
    )
    _check_status(status, limits)
    return _minimized(table, byte_class, accepting)


def may_call(expression: Expression) -> bool:
    """Whether some part calls a definition."""
    seen: set[int] = set()
    pending = [expression]
    while pending:
        part = pending.pop()
        if isinstance(part, Call):
            return True
        if id(part) not in seen:
            seen.add(id(part))
            pending.extend(part.inner)
    return False


def _check_regular(*operands: ByteDFA) -> None:
    if any(operand.has_calls for operand in operands):
        raise UnsupportedConstraint(
            "a part that nests to any depth stands under an intersection or a complement, where only regular parts "
            "can; intersect the whole constraint instead, or bound the depth (any_depth=2)",
            construct="intersection of a recursive part",
        )


def _from_state(dfa: ByteDFA, state: int) -> ByteDFA:
    """The automaton of what is accepted from a state on."""
    if state in (DEAD, dfa.start):
        return EMPTY_DFA if state == DEAD else dfa
    swap = np.arange(dfa.num_states)
    swap[[0, state]] = swap[[state, 0]]
    table = dfa.table[swap]
    table = np.where(table != DEAD, swap[table], DEAD).astype(np.int32)
    return _minimized(table, dfa.byte_class.astype(np.int64), dfa.accepting[swap])


def grouped(sources: Sequence[int], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order that sorts the sources of steps, and where each source begins in it."""
    keys = np.asarray(sources, np.int64)
    order = np.argsort(keys, kind="stable")
    return order, np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=n))])


def _byte_classes(masks: Sequence[int], letters: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The class of each letter, int [letters], and which classes each mask holds, bool [masks, K]."""
    width = (letters + 7) // 8
    packed = np.frombuffer(b"".join(mask.to_bytes(width, "little") for mask in masks), np.uint8)
    holds = np.unpackbits(packed.reshape(-1, width), axis=1, bitorder="little", count=letters).astype(bool)
    _, first, byte_class = np.unique(np.packbits(holds, axis=0).T, axis=0, return_index=True, return_inverse=True)
    return byte_class.reshape(-1), holds[:, first]


def _determinized(nfa: NFA, start: int, accept: int) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_]]:
    byte_class, holds = nfa.byte_classes()
    set_rows, set_classes = np.nonzero(holds)
    order, indptr = grouped(nfa.sources, nfa.num_states)
    empty_order, empty_indptr = grouped(nfa.empty_sources, nfa.num_states)
    status, table, accepting = kernels.determinize(
        indptr,
        np.array(nfa.labels, np.int64)[order],
        np.array(nfa.targets, np.int64)[order],
        np.concatenate([[0], np.cumsum(np.bincount(set_rows, minlength=len(holds)))]),
        set_classes,
        holds.shape[1],
        empty_indptr,
        np.array(nfa.empty_targets, np.int64)[empty_order],
        np.array(nfa.empty_kinds, np.int64)[empty_order],
        start,
        accept,
        nfa.limits.max_states,
        nfa.limits.max_work,
    )
    _check_status(status, nfa.limits)
    return table, byte_class, accepting


def _check_status(status: int, limits: Limits) -> None:
    if status == kernels.TOO_MANY_STATES:
        raise LimitExceeded("max_states", limits.max_states, "the number of states of the constraint's automaton")
    if status == kernels.TOO_MUCH_WORK:
        raise LimitExceeded("max_work", limits.max_work, "the work to make the constraint's automaton deterministic")


def _prefix_tree(ordered: list[bytes]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_]]:
    """The tree of sorted texts as an automaton over all 256 bytes."""
    children: list[dict[int, int]] = [{}]
    accepting: list[bool] = [False]
    for text in ordered:
        state = 0
        for byte in text:
            following = children[state].get(byte)
            if following is None:
                following = children[state][byte] = len(children)
                children.append({})
                accepting.append(False)
            state = following
        accepting[state] = True
    used = sorted({byte for node in children for byte in node})
    byte_class = np.full(256, len(used), np.int64)
    byte_class[used] = np.arange(len(used))
    table = np.full((len(children), len(used) + 1), DEAD, np.int32)
    for state, node in enumerate(children):
        for byte, following in node.items():
            table[state, byte_class[byte]] = following
    return table, byte_class, np.array(accepting)


def _minimized(table: NDArray[np.int32], byte_class: NDArray[np.int64], accepting: NDArray[np.bool_]) -> ByteDFA:
    """Trims and minimises an automaton whose start is state 0, and puts it into canonical form."""
    live = kernels.live_states(table, accepting)
    if not len(live) or not live[0]:
        return EMPTY_DFA
    rank = np.where(live, np.cumsum(live) - 1, DEAD).astype(np.int32)
    table = table[live]
    table = np.where(table != DEAD, rank[table], DEAD)
    accepting = accepting[live]
    byte_class = _letters_used(table, byte_class)
    states, labels = np.nonzero(table != DEAD)
    blocks = kernels.equivalent_states(
        states, labels, table[states, labels].astype(np.int64), len(table), accepting, table.shape[1]
    )
    _, representative, block = np.unique(blocks, return_index=True, return_inverse=True)
    merged = np.where(table[representative] != DEAD, block[table[representative]], DEAD)
    return _canonical(merged, byte_class, accepting[representative], int(block[0]))


def _canonical(
    table: NDArray[np.int64], byte_class: NDArray[np.int64], accepting: NDArray[np.bool_], start: int
) -> ByteDFA:
    """Merges equal columns, numbers classes by their least byte and states by a breadth-first walk."""
    numbers: dict[bytes, int] = {}
    column_of = np.array(
        [numbers.setdefault(column.tobytes(), len(numbers)) for column in np.ascontiguousarray(table.T)]
    )
    values, least_byte, merged_class = np.unique(column_of[byte_class], return_index=True, return_inverse=True)
    class_rank = np.argsort(np.argsort(least_byte))
    columns = np.empty((len(table), len(values)), np.int32)
    columns[:, class_rank] = table[:, byte_class[least_byte]]
    swap = np.arange(len(table))
    swap[[0, start]] = swap[[start, 0]]
    columns = columns[swap]
    columns = np.where(columns != DEAD, swap[columns], DEAD).astype(np.int32)
    rank = kernels.breadth_first(columns)
    ordered = np.empty_like(columns)
    ordered[rank] = np.where(columns != DEAD, rank[columns], DEAD)
    accepted = np.empty_like(accepting)
    accepted[rank] = accepting[swap]
    return ByteDFA(ordered, _numbers(class_rank[merged_class.reshape(-1)]), accepted)


def _letters_used(table: NDArray[np.int32], byte_class: NDArray[np.int64]) -> NDArray[np.int64]:
    """The classes of the bytes alone, if nothing is called."""
    return byte_class if np.any(table[:, byte_class[NUM_BYTES:]] != DEAD) else byte_class[:NUM_BYTES]


def _numbers(byte_class: NDArray[np.int64]) -> NDArray[Any]:
    """The classes in bytes, if there are not more letters than these tell apart."""
    return byte_class.astype(np.uint8 if len(byte_class) <= NUM_BYTES else np.int32)


EMPTY_DFA: Final = ByteDFA(np.empty((0, 1), np.int32), np.zeros(256, np.uint8), np.empty(0, np.bool_))
"""The automaton that accepts nothing."""
