"""What tokens do where a grammar's text begins and ends, told apart as far as some set of threads can tell.

A thread that is outside leads on by steps of the frame and into the grammars that it calls: where each token leads is
looked up. A thread inside a grammar stays inside, which ``token_effects`` tells apart, or a first part of the token
ends the grammar's text and the rest goes on outside. So a token is known by the set of its cuts: where the part in
front of a cut ends a text, and where the part behind it leads.
"""

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import pushdown_kernels, seam_kernels
from constrained_diffusion.automata.frame import Frame
from constrained_diffusion.automata.pushdown import PushdownAutomaton, any_bytes
from constrained_diffusion.automata.token_effects import endings
from constrained_diffusion.automata.vocabulary import joined


def seam_effects(automaton: PushdownAutomaton, frame: Frame, texts: list[bytes]) -> NDArray[np.uint64]:
    """What each text does at the seams, as random numbers, uint64 [texts, 4]."""
    # Beside an automaton that takes everything: a text leads to equal threads whatever else must hold.
    alone = PushdownAutomaton(automaton.grammar, automaton.windows, any_bytes(), automaton.limits)
    to_class = bytes(automaton.grammar.byte_class)
    different: dict[bytes, int] = {}
    place = [different.setdefault(text.translate(to_class), len(different)) for text in texts]
    sample = [b""] * len(different)
    for number, text in zip(place, texts, strict=True):
        sample[number] = text
    longest = max(map(len, sample), default=0)
    distance = frame.distance_to_call(longest)
    near = np.flatnonzero(distance < longest)
    entered = _followed(alone, near, distance[near], sample)
    return np.concatenate([entered, _cut(alone, frame, sample)], axis=1)[place]


def _followed(
    automaton: PushdownAutomaton, states: NDArray[np.int64], least: NDArray[np.int64], texts: list[bytes]
) -> NDArray[np.uint64]:
    """Where each text leads from states of the frame, as two random numbers, uint64 [texts, 2]; 0 where it is stuck."""
    configs = [automaton.call(pushdown_kernels.intern_outside, state) for state in states.tolist()]
    begins, buffer = joined(texts)
    # Kernels take arrays that can be written to as another type than those that cannot.
    found = automaton.call(seam_kernels.followed, np.array(configs, np.int64), least, begins, buffer.copy())
    return np.asarray(found, np.uint64)


def _cut(automaton: PushdownAutomaton, frame: Frame, texts: list[bytes]) -> NDArray[np.uint64]:
    """A random number for the cuts of each text, uint64 [texts, 2]."""
    backs = np.unique(frame.back).astype(np.int64)
    begins, buffer = joined(texts)
    taken = np.any(automaton.tables.frame_takes[backs], axis=0)[automaton.grammar.byte_class[buffer]]
    taken[begins[:-1][begins[:-1] < len(buffer)]] = False
    cuts = np.flatnonzero(taken)
    owner = np.searchsorted(begins, cuts, side="right") - 1
    offsets = (cuts - begins[owner]).tolist()
    rests, rest_of = _different([texts[k][offset:] for k, offset in zip(owner.tolist(), offsets, strict=True)])
    behind = _followed(automaton, backs, np.zeros(len(backs), np.int64), rests)
    _, leads_to = np.unique(behind, axis=0, return_inverse=True)
    kept = np.flatnonzero(np.any(behind, axis=1)[rest_of])
    fronts, front_of = _different([texts[owner[i]][: offsets[i]] for i in kept.tolist()])
    ended = endings(automaton.grammar, fronts)[front_of]
    rows = np.stack([owner[kept], ended, leads_to.reshape(-1)[rest_of[kept]]], axis=1)[ended > 0]
    rows = np.unique(rows, axis=0)
    return np.asarray(seam_kernels.set_numbers(*rows.T.astype(np.int64), len(texts)), np.uint64)


def _different(texts: list[bytes]) -> tuple[list[bytes], NDArray[np.int64]]:
    """The different texts, and the number of each."""
    numbers: dict[bytes, int] = {}
    place = np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int64)
    return list(numbers), place
