"""The relaxation of a network: a finite automaton that guesses what lies below the known top of the stack.

Of each stack a window is known: its top symbols, and what stands on the bottom. Calls are followed as they are; behind
the end of what was called it goes on below every window on which that symbol may have stood. So a text may lead to
several states. They are not made into one, as in a ``ByteDFA``: what is still taken for open would be carried along in
every set, and with many places to come back to these are too many. Inference does not mind: each way weighs for itself,
and the one that the exact automaton takes is among them. A text that can be guessed in several ways counts several
times in sums over the relaxation, which only makes them larger.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import network_kernels as kernels
from constrained_diffusion.automata.byte_automaton import DEAD, NUM_BYTES, ByteDFA
from constrained_diffusion.automata.network import Network
from constrained_diffusion.automata.pushdown import Windows
from constrained_diffusion.errors import LimitExceeded
from constrained_diffusion.limits import Limits


@final
@dataclass(frozen=True, eq=False)
class GuessingAutomaton:
    """A finite automaton of N states over K classes of bytes, in which a byte may lead to several states.

    Attributes:
        table: int32 [N, K], the next state, ``DEAD``, or -2 - g for the states of guess g.
        begin, target: int64 [G + 1] and int32, the states of each guess.
        byte_class: uint8 [256].
        accepting: bool [N].
    """

    table: NDArray[np.int32]
    begin: NDArray[np.int64]
    target: NDArray[np.int32]
    byte_class: NDArray[np.uint8]
    accepting: NDArray[np.bool_]

    @classmethod
    def without_guesses(cls, dfa: ByteDFA) -> "GuessingAutomaton":
        """A deterministic automaton."""
        nothing = np.zeros(1, np.int64), np.empty(0, np.int32)
        return cls(dfa.table, *nothing, dfa.byte_class, dfa.accepting)

    @property
    def certain(self) -> ByteDFA:
        """The same states, with the steps that are no guesses."""
        return ByteDFA(np.maximum(self.table, DEAD).astype(np.int32), self.byte_class, self.accepting)


def guessing(
    network: Network, windows: Windows, side: ByteDFA | None, limits: Limits
) -> tuple[GuessingAutomaton, NDArray[np.int32], NDArray[np.int32]]:
    """The automaton of the texts of a network that a finite automaton accepts too, and some others.

    Args:
        side: None accepts everything.

    Gives the automaton; int32 [W, S], the entry of each window in each state of its automaton, or ``DEAD``; and int32
    [entries, M], the state for each entry and state of ``side``, or ``DEAD``. State 0 is the start.

    Raises:
        LimitExceeded: it would have more than ``limits.max_states`` states.
    """
    entry = _entries(network, windows)
    window_of, state_of = (part.astype(np.int32) for part in np.nonzero(entry != DEAD))
    _check_size(len(window_of), limits)
    table, begin, target, accepting, is_cut = kernels.guessed_steps(
        network.table,
        network.call,
        network.tag,
        network.back,
        network.begin[network.callee],
        windows.push,
        *_undone(windows.push),
        window_of,
        state_of,
        entry,
        limits.max_edges,
    )
    if is_cut:
        raise LimitExceeded("max_edges", limits.max_edges, "the guesses of the relaxation of a recursive constraint")
    alone = GuessingAutomaton(table, begin, target, network.byte_class, accepting)
    if side is None:
        return alone, entry, np.arange(len(table), dtype=np.int32)[:, None]
    whole, state = _beside(alone, side, limits)
    return whole, entry, state


def _entries(network: Network, windows: Windows) -> NDArray[np.int32]:
    """Numbers of the pairs of a window and a state of the automaton at work on it; int32 [W, S]."""
    callee = network.callee[[symbols[0] for symbols, *_ in windows.known]]
    states = np.arange(network.num_states)
    is_at_work = (states >= network.begin[callee][:, None]) & (states < network.begin[callee + 1][:, None])
    return np.where(is_at_work, np.cumsum(is_at_work).reshape(is_at_work.shape) - 1, DEAD).astype(np.int32)


def _undone(push: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Of each window those that may lie below its top symbol, and that symbol; where those of each begin."""
    below, symbol = np.nonzero(push != DEAD)
    above = push[below, symbol]
    order = np.argsort(above, kind="stable")
    begin = np.concatenate([[0], np.cumsum(np.bincount(above, minlength=len(push)))]).astype(np.int64)
    return begin, below[order].astype(np.int32), symbol[order].astype(np.int32)


def _beside(alone: GuessingAutomaton, side: ByteDFA, limits: Limits) -> tuple[GuessingAutomaton, NDArray[np.int32]]:
    """The pairs of states that some text leads to, and the number of each; int32 [N, M]."""
    both = alone.byte_class.astype(np.int64) * NUM_BYTES + side.byte_class[:NUM_BYTES]
    classes, byte_class = np.unique(both, return_inverse=True)
    number, count = kernels.pairs_met(
        alone.table, alone.begin, alone.target, side.table, classes // NUM_BYTES, classes % NUM_BYTES, limits.max_states
    )
    _check_size(count, limits)
    table, begin, target = kernels.steps_of_pairs(
        alone.table, alone.begin, alone.target, side.table, classes // NUM_BYTES, classes % NUM_BYTES, number, count
    )
    states, beside = np.nonzero(number != DEAD)
    accepting = np.zeros(count, np.bool_)
    accepting[number[states, beside]] = alone.accepting[states] & side.accepting[beside]
    return GuessingAutomaton(table, begin, target, byte_class.reshape(-1).astype(np.uint8), accepting), number


def _check_size(states: int, limits: Limits) -> None:
    if states > limits.max_states:
        raise LimitExceeded("max_states", limits.max_states, "the relaxation of a recursive constraint")
