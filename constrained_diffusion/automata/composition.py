"""Grammars and what stands around them as one grammar in a frame.

The tables of all grammars stand side by side: each has its own parser states, terminals, rules and scanner states. They
share the classes of bytes. The symbol at the bottom of a stack tells the place where its grammar was called, so a
grammar that is called in several places has a start of its own in each.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata.byte_automaton import DEAD, NUM_BYTES, ByteDFA
from constrained_diffusion.automata.frame import Frame
from constrained_diffusion.automata.pushdown import Grammar
from constrained_diffusion.automata.pushdown_kernels import ERROR

_KIND: Final = "frame 1"
"""Changes with what is made of the same parts."""


def composed(root: ByteDFA, grammars: Sequence[Grammar | None]) -> Grammar:
    """The grammar of a minimal automaton over bytes and calls.

    Args:
        root: each letter behind the bytes calls the grammar of its number, and some state calls one.
        grammars: None where a letter is not used; each has texts.
    """
    calls = root.table[:, root.byte_class[NUM_BYTES:]]
    used = [(calls[:, i], grammars[i]) for i in np.flatnonzero(np.any(calls != DEAD, axis=0)).tolist()]
    columns = np.stack([column for column, _ in used], axis=1)
    return _Composer(root, columns, [grammar for _, grammar in used if grammar is not None]).grammar()


@final
class _Composer:
    """Puts the tables side by side.

    Attributes:
        calls: int32 [states, grammars], the state behind a call of each.
        places: of each place its grammar and the state behind it.
        source: int64 [Q], of each parser state the one whose rows it has: itself, or the start that it is a copy of.
    """

    def __init__(self, root: ByteDFA, calls: NDArray[np.int32], grammars: Sequence[Grammar]) -> None:
        self.root = root
        self.calls = calls
        self.grammars = grammars
        columns = np.stack([root.byte_class[:NUM_BYTES], *(grammar.byte_class for grammar in grammars)])
        _, self.first_byte, byte_class = np.unique(columns, axis=1, return_index=True, return_inverse=True)
        self.byte_class = byte_class.reshape(-1).astype(np.uint8)
        self.states = _offsets([grammar.num_states for grammar in grammars])
        self.terminals = _offsets([len(grammar.terminals) for grammar in grammars])
        self.rules = _offsets([len(grammar.rule_length) for grammar in grammars])
        self.nonterminals = _offsets([grammar.goto.shape[1] for grammar in grammars])
        self.scanners = _offsets([len(grammar.scan) for grammar in grammars])
        self.places = [
            (number, state)
            for number in range(len(grammars))
            for state in np.unique(self.calls[:, number]).tolist()
            if state != DEAD
        ]
        starts = [int(self.states[number]) + grammars[number].start for number, _ in self.places]
        # The first place of a grammar has the grammar's own start at its bottom, the others have copies.
        is_copy = [i > 0 and starts[i - 1] == start for i, start in enumerate(starts)]
        copies = [start for start, is_one in zip(starts, is_copy, strict=True) if is_one]
        self.source = np.concatenate([np.arange(self.states[-1]), np.array(copies, np.int64)])
        self.bottom = np.array(starts, np.int32)
        self.bottom[is_copy] = np.arange(self.states[-1], len(self.source))

    def grammar(self) -> Grammar:
        frame = self._frame()
        parts = self.grammars
        return Grammar(
            terminals=tuple(name for grammar in parts for name in grammar.terminals),
            action=self._action()[self.source],
            goto=self._goto()[self.source],
            rule_length=np.concatenate([grammar.rule_length for grammar in parts]),
            rule_origin=self._shifted("rule_origin", self.nonterminals),
            start=int(frame.bottom[0]),
            is_end=np.concatenate([grammar.is_end for grammar in parts])[self.source],
            ignored=np.concatenate([grammar.ignored for grammar in parts]),
            scan=self._scan(),
            byte_class=self.byte_class,
            match=self._shifted("match", self.terminals),
            scan_start=self._shifted("scan_start", self.scanners)[self.source],
            items=self._items(),
            shortest=int(frame.least[0]),
            fingerprint=self._fingerprint(),
            frame=frame,
        )

    def _frame(self) -> Frame:
        number_of = {place: i for i, place in enumerate(self.places)}
        calls = [
            [number_of[number, target] for number, target in enumerate(row) if target != DEAD]
            for row in self.calls.tolist()
        ]
        return Frame(
            table=np.ascontiguousarray(self.root.table[:, self.root.byte_class[self.first_byte]]),
            accepting=self.root.accepting,
            call_begin=_offsets([len(row) for row in calls]),
            calls=np.array([place for row in calls for place in row], np.int32),
            bottom=self.bottom,
            back=np.array([state for _, state in self.places], np.int32),
            shortest=np.array([self.grammars[number].shortest for number, _ in self.places], np.int32),
        )

    def _action(self) -> NDArray[np.int32]:
        """The actions of all; the end of the text, in the last column, is the same for all."""
        whole = np.full((self.states[-1], self.terminals[-1] + 1), ERROR, np.int32)
        for i, grammar in enumerate(self.grammars):
            action = np.where(grammar.action >= 0, grammar.action + self.states[i], grammar.action)
            action = np.where(grammar.action < ERROR, grammar.action - self.rules[i], action)
            rows = whole[self.states[i] : self.states[i + 1]]
            rows[:, self.terminals[i] : self.terminals[i + 1]] = action[:, :-1]
            rows[:, -1] = action[:, -1]
        return whole

    def _goto(self) -> NDArray[np.int32]:
        whole = np.full((self.states[-1], self.nonterminals[-1]), ERROR, np.int32)
        for i, grammar in enumerate(self.grammars):
            rows = whole[self.states[i] : self.states[i + 1]]
            rows[:, self.nonterminals[i] : self.nonterminals[i + 1]] = _moved(grammar.goto, self.states[i])
        return whole

    def _scan(self) -> NDArray[np.int32]:
        parts = [
            _moved(grammar.scan[:, grammar.byte_class[self.first_byte]], self.scanners[i])
            for i, grammar in enumerate(self.grammars)
        ]
        return np.concatenate(parts)

    def _shifted(self, name: str, offsets: NDArray[np.int64]) -> NDArray[np.int32]:
        return np.concatenate([_moved(getattr(grammar, name), offsets[i]) for i, grammar in enumerate(self.grammars)])

    def _items(self) -> tuple[tuple[tuple[int, int, int], ...], ...]:
        own = [
            tuple((origin + int(offset) if origin >= 0 else origin, dot, rest) for origin, dot, rest in items)
            for grammar, offset in zip(self.grammars, self.nonterminals[:-1], strict=True)
            for items in grammar.items
        ]
        return tuple(own[state] for state in self.source.tolist())

    def _fingerprint(self) -> str | None:
        known = [grammar.fingerprint for grammar in self.grammars]
        if None in known:
            return None
        digest = hashlib.sha256(repr((_KIND, known, self.root.table.shape)).encode())
        for array in (self.root.table, self.root.byte_class, self.root.accepting):
            digest.update(array.tobytes())
        return digest.hexdigest()[:32]


def _offsets(counts: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _moved(numbers: NDArray[np.int32], offset: int) -> NDArray[np.int32]:
    """The numbers among all; what is negative is none."""
    return np.where(numbers >= 0, numbers + offset, numbers).astype(np.int32)
