"""What stands around the texts of grammars: a finite automaton whose states may call them."""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata.byte_automaton import DEAD, ByteDFA
from constrained_diffusion.automata.pushdown_kernels import FAR


@final
@dataclass(frozen=True, eq=False)
class Frame:
    """A finite automaton that calls grammars: F states, the first its start, K byte classes, P places.

    A place is a grammar that may be called and the state behind its text. Where a text of a grammar begins and ends is
    not decided by the next byte, so the automaton may be in several states at once, inside grammars and outside.

    Attributes:
        table: int32 [F, K], the next state, or ``DEAD``.
        accepting: bool [F].
        call_begin: int64 [F + 1]; calls: int32, the places that each state may call.
        bottom: int32 [P], the parser state at the bottom of the stacks of each place.
        back: int32 [P], the state behind it.
        shortest: int32 [P], the least bytes of a text there.
    """

    table: NDArray[np.int32]
    accepting: NDArray[np.bool_]
    call_begin: NDArray[np.int64]
    calls: NDArray[np.int32]
    bottom: NDArray[np.int32]
    back: NDArray[np.int32]
    shortest: NDArray[np.int32]

    @property
    def num_states(self) -> int:
        return len(self.table)

    @cached_property
    def callers(self) -> NDArray[np.int64]:
        """The state that each of ``calls`` is made in, int64 [calls]."""
        return np.repeat(np.arange(self.num_states), np.diff(self.call_begin))

    @cached_property
    def least(self) -> NDArray[np.int32]:
        """The least bytes from each state to the end of the text, int32 [F]."""
        states, classes = np.nonzero(self.table != DEAD)
        sources = np.concatenate([states, self.callers])
        targets = np.concatenate([self.table[states, classes], self.back[self.calls]])
        steps = np.concatenate([np.ones(len(states), np.int64), self.shortest[self.calls]])
        least = np.where(self.accepting, 0, FAR).astype(np.int64)
        while True:
            ahead = least.copy()
            np.minimum.at(ahead, sources, least[targets] + steps)
            if np.array_equal(ahead, least):
                return least.astype(np.int32)
            least = ahead

    def distance_to_call(self, most: int) -> NDArray[np.int64]:
        """The least bytes outside of grammars from each state to one that calls, ``most`` if there are not fewer."""
        states, classes = np.nonzero(self.table != DEAD)
        targets = self.table[states, classes]
        distance = np.full(self.num_states, most, np.int64)
        distance[self.callers] = 0
        for _ in range(most):
            ahead = distance.copy()
            np.minimum.at(ahead, states, distance[targets] + 1)
            if np.array_equal(ahead, distance):
                break
            distance = ahead
        return distance

    def automaton(self, byte_class: NDArray[np.uint8]) -> ByteDFA:
        """The steps outside of grammars, as an automaton that accepts everywhere."""
        return ByteDFA(self.table, byte_class, np.ones(self.num_states, np.bool_))
