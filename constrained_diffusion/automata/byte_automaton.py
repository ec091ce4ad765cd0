"""Acceptors over bytes: the waist between constraints and tokens."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

DEAD: Final = -1
"""The state from which nothing is accepted."""
NUM_BYTES: Final = 256


class ByteAutomaton(ABC):
    """A deterministic acceptor of byte strings. States are small integers; ``DEAD`` is none of them.

    Every state that ``step`` gives can still reach acceptance: a text is a prefix of the
    language exactly as long as its state is not ``DEAD``.
    """

    @property
    @abstractmethod
    def start(self) -> int:
        """The state before the first byte; ``DEAD`` if the language is empty."""

    @abstractmethod
    def step(self, state: int, byte: int) -> int:
        """The state after one more byte, or ``DEAD``."""

    @abstractmethod
    def accepts(self, state: int) -> bool:
        """Whether a text may end in this state."""

    @property
    def is_empty(self) -> bool:
        """Whether no text at all is accepted."""
        return self.start == DEAD

    def run(self, text: bytes, state: int | None = None) -> int:
        """The state after ``text``, read from ``state`` (by default the start), or ``DEAD``."""
        current = self.start if state is None else state
        for byte in text:
            if current == DEAD:
                break
            current = self.step(current, byte)
        return current

    def matches(self, text: bytes) -> bool:
        """Whether the whole text is in the language."""
        state = self.run(text)
        return state != DEAD and self.accepts(state)

    def ends(self, text: bytes, begin: int = 0) -> list[int]:
        """Every offset up to which the text from ``begin`` on is in the language, ascending."""
        state, found = self.start, []
        for offset in range(begin, len(text) + 1):
            if state == DEAD:
                break
            if self.accepts(state):
                found.append(offset)
            if offset < len(text):
                state = self.step(state, text[offset])
        return found

    def first_error(self, text: bytes) -> int | None:
        """Offset of the first byte after which no continuation is in the language; None if there is none."""
        state = self.start
        for offset, byte in enumerate(text):
            state = self.step(state, byte) if state != DEAD else DEAD
            if state == DEAD:
                return offset
        return None

    def next_bytes(self, state: int) -> list[int]:
        """The bytes that may follow in this state."""
        return [byte for byte in range(256) if state != DEAD and self.step(state, byte) != DEAD]


@final
class ByteDFA(ByteAutomaton):
    """A minimal finite automaton over classes of bytes, its states in breadth-first order.

    Two automata of one language have equal tables.

    Attributes:
        table: int32 [N, K], the next state for each state and byte class, or ``DEAD``.
        byte_class: uint8 [256], the class of each byte; while a constraint is put together also of calls, which are
            letters behind the bytes (see ``expressions``).
        accepting: bool [N].
    """

    def __init__(self, table: NDArray[np.int32], byte_class: NDArray[Any], accepting: NDArray[np.bool_]) -> None:
        self.table = table
        self.byte_class = byte_class
        self.accepting = accepting

    @property
    def num_states(self) -> int:
        return len(self.table)

    @cached_property
    def has_calls(self) -> bool:
        """Whether a call stands in some text."""
        return bool(np.any(self.table[:, self.byte_class[NUM_BYTES:]] != DEAD))

    @cached_property
    def class_masks(self) -> list[int]:
        """The bytes of each class; bit ``b`` says whether byte ``b`` is in it."""
        is_of = self.byte_class[None, :] == np.arange(self.table.shape[1])[:, None]
        return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(is_of, axis=1, bitorder="little")]

    @cached_property
    def transitions(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The state and byte class of each transition that is not dead."""
        states, classes = np.nonzero(self.table != DEAD)
        return states.astype(np.int64), classes.astype(np.int64)

    @property
    def start(self) -> int:
        return 0 if self.num_states else DEAD

    def step(self, state: int, byte: int) -> int:
        return int(self.table[state, self.byte_class[byte]])

    def accepts(self, state: int) -> bool:
        return bool(self.accepting[state])

    def same_language(self, other: "ByteDFA") -> bool:
        """Whether both accept the same texts."""
        return (
            np.array_equal(self.accepting, other.accepting)
            and np.array_equal(self.byte_class, other.byte_class)
            and np.array_equal(self.table, other.table)
        )

    def texts(self, limit: int) -> list[bytes] | None:
        """All texts of the language in byte order; None if there are more than ``limit`` of them."""
        found: list[bytes] = []
        stack = [(self.start, b"")] if self.num_states else []
        while stack:
            state, spelled = stack.pop()
            if len(spelled) >= self.num_states:
                return None  # the text passed a state twice: there are infinitely many
            if self.accepting[state]:
                found.append(spelled)
            stack.extend((self.step(state, byte), spelled + bytes([byte])) for byte in reversed(self.next_bytes(state)))
            if len(found) + len(stack) > limit:  # every state leads to a text
                return None
        return found

    def shortest_text(self) -> bytes:
        """The least of the shortest texts of the language, in byte order; the language must not be empty."""
        before: dict[int, tuple[int, int]] = {}
        queue = [self.start]
        for state in queue:
            if self.accepting[state]:
                return self._spelled(state, before)
            for byte in range(256):
                target = self.step(state, byte)
                if target != DEAD and target != self.start and target not in before:
                    before[target] = (state, byte)
                    queue.append(target)
        raise ValueError("the language is empty")

    def _spelled(self, state: int, before: dict[int, tuple[int, int]]) -> bytes:
        spelled = []
        while state != self.start:
            state, byte = before[state]
            spelled.append(byte)
        return bytes(reversed(spelled))
