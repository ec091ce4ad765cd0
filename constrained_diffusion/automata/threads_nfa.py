"""Backtracking regular expressions as ordered threads, and their exact determinisation.

Python's ``re`` takes the first alternative that matches, not the longest text: greedy and lazy
loops and the order of alternatives all matter. A list of threads in order of preference, cut
behind the first that has matched, decides exactly as backtracking does (Cox, "Regular Expression
Matching: the Virtual Machine Approach"), and there are finitely many such lists: they are the
states of a deterministic scanner.

Look-behind of one character is a condition on the byte before. Look-ahead is a side condition that a
thread carries along. A negative one may still be open when the thread has matched: then the match
counts, and is taken back if the look-ahead fails. What ``re`` would match instead, a shorter text or an
alternative that has matched meanwhile, is not gone back to: the scanner accepts less there, never more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import kernels
from constrained_diffusion.automata.byte_automaton import DEAD, ByteDFA
from constrained_diffusion.automata.expressions import Bytes, Embedded, Expression
from constrained_diffusion.errors import LimitExceeded, UnsupportedConstraint
from constrained_diffusion.limits import Limits

NO_MATCH: Final = -1
"""Nothing has matched in this state."""
UNMATCHED: Final = -2
"""The last match does not stand after all: its negative look-ahead has failed."""
PENDING: Final = -1
"""In place of a thread's node: a match whose look-ahead is not decided."""


@final
@dataclass(frozen=True)
class Step:
    """Reads one byte of a set."""

    mask: int
    target: int


@final
@dataclass(frozen=True)
class Split:
    """Goes on in each of the targets, the preferred one first."""

    targets: tuple[int, ...]


@final
@dataclass(frozen=True)
class Matched:
    """The pattern of this number has matched."""

    number: int


@final
@dataclass(frozen=True)
class Behind:
    """Goes on if the byte before is in the set; the start of the text to scan has none."""

    mask: int
    target: int


@final
@dataclass(frozen=True)
class Ahead:
    """Goes on if what follows begins (or, negated, does not begin) with the text that ``body`` reads."""

    body: int
    is_negated: bool
    target: int


Node = Step | Split | Matched | Behind | Ahead

Condition = tuple[bool, frozenset[int]]
"""A look-ahead under way: whether it is negated, and where its body stands."""
Thread = tuple[int, frozenset[Condition]]
"""A node that reads a byte, and the look-aheads that must still be met."""


@final
@dataclass
class ThreadNFA:
    """Nodes by number, while they are built."""

    nodes: list[Node] = field(default_factory=list)

    def add(self, node: Node) -> int:
        """The number of a new node."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def reserve(self) -> int:
        """The number of a node that is set later with ``nodes[number] = ...``."""
        return self.add(Split(()))

    def add_character(self, expression: Expression, target: int) -> int:
        """A node that reads one character out of a set, given as the expression of its bytes."""
        if isinstance(expression, Bytes):
            return self.add(Step(expression.mask, target))
        if isinstance(expression, Embedded):
            return self._add_dfa(expression.dfa, target)
        raise TypeError(f"a set of characters is Bytes or Embedded, met {type(expression).__name__}")

    def _add_dfa(self, dfa: ByteDFA, target: int) -> int:
        """The automaton of one character: no accepting state goes on."""
        entries = [target if dfa.accepting[state] else self.reserve() for state in range(dfa.num_states)]
        masks = dfa.class_masks
        for state, entry in enumerate(entries):
            if not dfa.accepting[state]:
                reached = dfa.table[state]
                steps = [Step(masks[k], entries[to]) for k, to in enumerate(reached.tolist()) if to != DEAD]
                self.nodes[entry] = Split(tuple(self.add(step) for step in steps))
        return entries[0] if entries else self.reserve()


@final
@dataclass(frozen=True)
class Keyword:
    """A fixed text that, where a pattern matches exactly it, is reported instead of the pattern.

    Attributes:
        start: the node that reads it.
        number: what is reported; its own ``Matched`` node has this number.
        instead_of: the patterns that it takes the place of.
    """

    start: int
    number: int
    instead_of: frozenset[int]


@final
@dataclass(frozen=True)
class Context:
    """A scanner: the first node of each of its patterns, the preferred one first, and the numbers of its keywords."""

    starts: tuple[int, ...]
    keywords: tuple[int, ...]


@final
@dataclass(frozen=True, eq=False)
class ScannerDFA:
    """The scanners of several contexts in one table: S states, K classes of bytes.

    Attributes:
        table: int32 [S, K], the next state for each byte class, or ``DEAD``.
        byte_class: uint8 [256].
        match: int32 [S], the pattern that has matched when the state is reached, or ``NO_MATCH``, or ``UNMATCHED``.
            A later match in the same scan takes its place.
        start: int32 [contexts], the first state of each context, to which nothing leads back.
    """

    table: NDArray[np.int32]
    byte_class: NDArray[np.uint8]
    match: NDArray[np.int32]
    start: NDArray[np.int32]

    def minimal(self) -> "ScannerDFA":
        """The same with one state for all that behave alike."""
        is_start = np.zeros(len(self.match), np.bool_)
        is_start[self.start] = True
        kind = np.unique(np.stack([self.match, is_start]), axis=1, return_inverse=True)[1].reshape(-1)
        sources, classes = np.nonzero(self.table != DEAD)
        n, width = self.table.shape
        # What a state reports is a step to a state of its own, so that all states are live.
        blocks = kernels.equivalent_states(
            np.concatenate([sources, np.arange(n)]),
            np.concatenate([classes, width + kind]),
            np.concatenate([self.table[sources, classes].astype(np.int64), np.full(n, n)]),
            n + 1,
            np.arange(n + 1) == n,
            width + int(kind.max()) + 1,
        )
        _, first, block = np.unique(np.asarray(blocks[:n]), return_index=True, return_inverse=True)
        following = self.table[first]
        merged: NDArray[np.int32] = np.where(following != DEAD, block[following], DEAD).astype(np.int32)
        return ScannerDFA(merged, self.byte_class, self.match[first], block[self.start].astype(np.int32))


_State = tuple[tuple[Thread, ...], int, frozenset[int]]
"""Threads in order of preference, the match when they are reached, and where the keywords stand."""


@final
class _Determinizer:
    def __init__(
        self, nfa: ThreadNFA, contexts: Sequence[Context], keywords: Sequence[Keyword], limits: Limits
    ) -> None:
        self.nodes = nfa.nodes
        self.contexts = contexts
        self.keywords = keywords
        self.limits = limits
        self.classes = self._byte_classes()
        self.masks = [self._class_mask(node.mask) if isinstance(node, Step) else 0 for node in nfa.nodes]
        self.behind = {self._class_mask(node.mask) for node in nfa.nodes if isinstance(node, Behind)}

    def run(self) -> ScannerDFA:
        queue: list[_State] = []
        starts: dict[_State, int] = {}
        start_of: list[int] = []
        for context in self.contexts:
            threads, matched = self._closed([(start, frozenset()) for start in context.starts], None)
            first = threads, matched, self._closed_set(self.keywords[k].start for k in context.keywords)
            if first not in starts:
                starts[first] = len(queue)
                queue.append(first)
            start_of.append(starts[first])
        table = self._table(queue)
        byte_class = np.empty(256, np.uint8)
        for number, bytes_of_class in enumerate(self.classes):
            byte_class[bytes_of_class] = number
        match = np.array([match for _, match, _ in queue], np.int32)
        return ScannerDFA(table, byte_class, match, np.array(start_of, np.int32)).minimal()

    def _table(self, queue: list[_State]) -> NDArray[np.int32]:
        """The steps of every state; what they lead to is added to the queue. Nothing leads back to a start."""
        numbers: dict[_State, int] = {}
        rows: list[NDArray[np.int32]] = []
        for threads, _, words in queue:
            row = np.full(len(self.classes), DEAD, np.int32)
            for alike in self._alike(threads, words):
                following = self._following(threads, words, self.classes[alike[0]][0])
                if following is None:
                    continue
                state = numbers.setdefault(following, len(queue))
                if state == len(queue):
                    queue.append(following)
                    if state >= self.limits.max_states:
                        raise LimitExceeded("max_states", self.limits.max_states, "the scanner of the grammar")
                row[alike] = state
            rows.append(row)
        return np.array(rows)

    def _byte_classes(self) -> list[list[int]]:
        """Bytes that every node treats alike."""
        masks = {node.mask for node in self.nodes if isinstance(node, Step | Behind)}
        groups: dict[tuple[bool, ...], list[int]] = {}
        for byte in range(256):
            groups.setdefault(tuple(bool(mask >> byte & 1) for mask in masks), []).append(byte)
        return list(groups.values())

    def _class_mask(self, mask: int) -> int:
        """The byte classes in a set of bytes, as bits."""
        return sum(1 << number for number, alike in enumerate(self.classes) if mask >> alike[0] & 1)

    def _alike(self, threads: tuple[Thread, ...], words: frozenset[int]) -> list[list[int]]:
        """The byte classes in groups that a state treats alike."""
        reading = {number for number, _ in threads if number != PENDING} | words
        for _, conditions in threads:
            reading.update(number for _, body in conditions for number in body)
        groups = [(1 << len(self.classes)) - 1]
        for mask in {self.masks[number] for number in reading} | self.behind:
            groups = [part for group in groups for part in (group & mask, group & ~mask) if part]
        return [[k for k in range(len(self.classes)) if group >> k & 1] for group in groups]

    def _following(
        self, threads: tuple[Thread, ...], words: frozenset[int], byte: int
    ) -> tuple[tuple[Thread, ...], int, frozenset[int]] | None:
        moved: list[Thread] = []
        has_failed = False
        for number, conditions in threads:
            kept = self._after(conditions, byte)
            node = self.nodes[number] if number != PENDING else None
            if isinstance(node, Step):
                if kept is not None and node.mask >> byte & 1:
                    moved.append((node.target, kept))
            elif kept:
                moved.append((PENDING, kept))
            elif kept is None:
                has_failed = True
            else:
                # The match stands, and what is behind it is not preferred.
                break
        closed, match = self._closed(moved, byte)
        if has_failed and match == NO_MATCH:
            match = UNMATCHED
        if not closed and match == NO_MATCH:
            return None
        words = self._moved_set(words, byte)
        match = self._renamed(match, words)
        return closed, match, words if closed else frozenset()

    def _renamed(self, match: int, words: frozenset[int]) -> int:
        """The keyword that the match spells, if there is one."""
        spelled = {node.number for number in words if isinstance(node := self.nodes[number], Matched)}
        if not spelled:
            return match
        found = (word.number for word in self.keywords if word.number in spelled and match in word.instead_of)
        return next(found, match)

    def _closed(self, seeds: Iterable[Thread], byte: int | None) -> tuple[tuple[Thread, ...], int]:
        """The threads that read a byte, in order of preference, up to the first match; and that match.

        A match that depends on what follows does not end the list: it leaves a ``PENDING`` thread. Behind one, other
        matches do not count until it is decided.
        """
        seen: set[Thread] = set()
        threads: list[Thread] = []
        match, has_pending = NO_MATCH, False
        stack = list(seeds)[::-1]
        while stack:
            thread = stack.pop()
            if thread in seen:
                continue
            seen.add(thread)
            number, conditions = thread
            node = self.nodes[number] if number != PENDING else None
            if isinstance(node, Step):
                threads.append(thread)
            elif isinstance(node, Matched) and not conditions:
                return tuple(threads), match if has_pending else node.number
            elif node is None or isinstance(node, Matched):
                if has_pending:
                    continue
                has_pending = True
                match = NO_MATCH if node is None else node.number
                threads.append((PENDING, _undecided(conditions)))
            else:
                stack.extend(self._behind_empty(node, conditions, byte))
        return tuple(threads), match

    def _behind_empty(self, node: Node, conditions: frozenset[Condition], byte: int | None) -> list[Thread]:
        """The threads behind a node that reads nothing, the preferred one last."""
        if isinstance(node, Split):
            return [(target, conditions) for target in reversed(node.targets)]
        if isinstance(node, Behind):
            if byte is None:
                raise _refused("look-behind at the start of a terminal, onto the text before it")
            return [(node.target, conditions)] if node.mask >> byte & 1 else []
        if isinstance(node, Ahead):
            added = self._condition(node.is_negated, self._closed_set([node.body]))
            return [] if added is None else [(node.target, conditions | added)]
        raise TypeError(f"{node!r} reads a byte or has matched")

    def _condition(self, is_negated: bool, body: frozenset[int]) -> frozenset[Condition] | None:
        """The condition under way: empty once it is met, None once it has failed."""
        has_matched = any(isinstance(self.nodes[number], Matched) for number in body)
        if has_matched or not body:
            return frozenset() if has_matched != is_negated else None
        return frozenset([(is_negated, body)])

    def _after(self, conditions: frozenset[Condition], byte: int) -> frozenset[Condition] | None:
        """The conditions behind one more byte; None if one has failed."""
        kept: frozenset[Condition] = frozenset()
        for is_negated, body in conditions:
            condition = self._condition(is_negated, self._moved_set(body, byte))
            if condition is None:
                return None
            kept |= condition
        return kept

    def _moved_set(self, body: frozenset[int], byte: int) -> frozenset[int]:
        steps = (self.nodes[number] for number in body)
        return self._closed_set(node.target for node in steps if isinstance(node, Step) and node.mask >> byte & 1)

    def _closed_set(self, seeds: Iterable[int]) -> frozenset[int]:
        """Nodes that read a byte or have matched, reached from any of the seeds."""
        seen, stack = set(), list(seeds)
        while stack:
            number = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            node = self.nodes[number]
            if isinstance(node, Split):
                stack.extend(node.targets)
            elif isinstance(node, Behind | Ahead):
                raise _refused("look-around inside look-ahead")
        return frozenset(number for number in seen if isinstance(self.nodes[number], Step | Matched))


def _undecided(conditions: frozenset[Condition]) -> frozenset[Condition]:
    """The conditions of a match, all of which must be negated: the end of the text meets those."""
    if not all(is_negated for is_negated, _ in conditions):
        raise _refused("positive look-ahead beyond the end of a terminal")
    return conditions


def _refused(construct: str) -> UnsupportedConstraint:
    return UnsupportedConstraint(
        f"a terminal uses {construct}, which cannot be enforced; rewrite it without that", construct=construct
    )


def determinized(
    nfa: ThreadNFA, contexts: Sequence[Context], keywords: Sequence[Keyword], limits: Limits
) -> ScannerDFA:
    """The minimal scanners of all contexts, which share what behaves alike.

    Args:
        nfa: the nodes of all patterns.
        contexts: the patterns and keywords of each scanner.
        keywords: texts that are reported instead of the pattern that has matched exactly them, the preferred one first.
        limits: ``max_states`` bounds the scanners together.

    Raises:
        LimitExceeded: they would grow beyond ``limits``.
        UnsupportedConstraint: a look-around cannot be decided inside the match.
    """
    return _Determinizer(nfa, contexts, keywords, limits).run()
