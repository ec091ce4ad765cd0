"""A pushdown automaton on tokens: exact states, the finite relaxation that guides, and ways to the end."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import completion_kernels
from constrained_diffusion.automata import pushdown_kernels as kernels
from constrained_diffusion.automata.byte_automaton import DEAD, ByteDFA
from constrained_diffusion.automata.classes import END_CLASS
from constrained_diffusion.automata.guessing import GuessingAutomaton
from constrained_diffusion.automata.lexicon import lexicon_of
from constrained_diffusion.automata.lifting import Lifted, lift, lift_guessing, token_classes
from constrained_diffusion.automata.pushdown import TAIL, PushdownAutomaton, any_bytes
from constrained_diffusion.automata.records import by_reference
from constrained_diffusion.automata.relaxation import Relaxation
from constrained_diffusion.automata.seams import seam_effects
from constrained_diffusion.automata.token_effects import effects, network_classes
from constrained_diffusion.automata.vocabulary import Vocabulary, joined
from constrained_diffusion.errors import ModelError
from constrained_diffusion.limits import Limits

Result = TypeVar("Result")

_MOST_WORK: Final = 1_000_000
"""Steps that one search for a way to the end may take, all in all."""
_GENERATION: Final = 1 << 32
"""Numbers of states in each generation."""
_MOST_RECIPES: Final = 100_000
"""States that are found again in a later generation."""
_LONGEST_SPELLING: Final = 64
"""Ways to the end are spelled with tokens of so many bytes at most."""


def lifted_relaxation(
    automaton: PushdownAutomaton, relaxation: Relaxation, vocabulary: Vocabulary, limits: Limits
) -> Lifted:
    """The relaxation on tokens; those of one class do the same to every exact state.

    Raises:
        LimitExceeded: it has more than ``limits.max_edges`` steps.
    """
    network = automaton.grammar.network
    if network is None:
        return _refined(lift(relaxation.dfa, vocabulary, lexicon_of(vocabulary), limits), automaton, vocabulary)
    is_free = automaton.side.same_language(any_bytes())
    classes, representatives = network_classes(network, None if is_free else automaton.side, vocabulary)
    guesses = relaxation.guesses or GuessingAutomaton.without_guesses(relaxation.dfa)
    return lift_guessing(guesses, vocabulary, classes, representatives, limits)


def _refined(lifted: Lifted, automaton: PushdownAutomaton, vocabulary: Vocabulary) -> Lifted:
    """The same edges on finer token classes.

    Tokens that the relaxation of a grammar cannot tell apart may still open or close different numbers of brackets.
    """
    tokens = np.flatnonzero(lifted.class_of_token > END_CLASS)
    texts = [vocabulary.spellings[token] or b"" for token in tokens.tolist()]
    grammar = automaton.grammar
    told_apart: list[NDArray[Any]] = [effects(grammar, texts)]
    if grammar.frame is not None:
        outside, _ = token_classes(grammar.frame.automaton(grammar.byte_class), vocabulary, lexicon_of(vocabulary))
        told_apart += [outside[tokens], *seam_effects(automaton, grammar.frame, texts).T]
    first, number = _ranked([lifted.class_of_token[tokens], *told_apart])
    class_of_token = lifted.class_of_token.copy()
    class_of_token[tokens] = number + END_CLASS + 1
    parent = np.concatenate([[0, END_CLASS], lifted.class_of_token[tokens[first]]])
    begin = np.searchsorted(parent, np.arange(lifted.num_classes + 1))
    counts = np.diff(begin)[lifted.label_class]
    first = begin[lifted.label_class]
    ends = np.concatenate([[0], np.cumsum(counts)])
    label_class = np.repeat(first - ends[:-1], counts) + np.arange(ends[-1])
    return Lifted(
        class_of_token,
        len(parent),
        lifted.edge_begin,
        lifted.edge_target,
        lifted.edge_label,
        ends[lifted.label_begin].astype(np.int64),
        label_class.astype(np.int32),
        lifted.distance,
    )


def _ranked(columns: Sequence[NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that differ, each by its first place, in the order of the first column; and the number of each row."""
    number = np.zeros(len(columns[0]), np.int64)
    first = number
    for column in columns:
        values, inverse = np.unique(column, return_inverse=True)
        _, first, number = np.unique(number * len(values) + inverse, return_index=True, return_inverse=True)
    return first, number


@final
class ExactStates:
    """The exact states of a grammar on tokens. What was found out about a state is kept; threads may share it.

    A state is an integer of the pushdown automaton, or ``TAIL`` behind the end token.
    """

    def __init__(
        self, automaton: PushdownAutomaton, relaxation: Relaxation, lifted: Lifted, vocabulary: Vocabulary
    ) -> None:
        self.automaton = automaton
        self.generation = 0
        self.relaxation = relaxation
        self.dfa: ByteDFA = relaxation.dfa
        self.guide = by_reference(_guide(automaton, relaxation, lifted, vocabulary))
        self.book = by_reference(_book(automaton, lifted, vocabulary))
        self._begin()

    def _begin(self) -> None:
        automaton, store = self.automaton, self.automaton.store
        store.relaxed[TAIL], store.tokens[TAIL] = self.dfa.num_states, 0
        begun = self.dfa.run(automaton.beginning)
        if automaton.start != DEAD:
            store.relaxed[automaton.start] = automaton.call(kernels.relaxed, self.guide, automaton.start, begun)

    def emptied(self) -> "ExactStates":
        """The same with no state met yet but the start; that has the same number, others may have another."""
        other = copy.copy(self)
        other.automaton, other.generation = self.automaton.emptied(), self.generation + 1
        other._begin()
        return other

    def step(self, state: int, spelling: bytes) -> int:
        """The state behind a token's bytes, or ``DEAD``."""
        target = self.automaton.run(spelling, state)
        if target == DEAD:
            return DEAD
        relaxed = self.relaxed(state)
        otherwise = DEAD if relaxed == DEAD else self.dfa.run(spelling, relaxed)
        reached = int(self.automaton.call(kernels.relaxed, self.guide, target, otherwise))
        if reached == DEAD:
            return DEAD
        self.automaton.note_relaxed(target, reached)
        return target

    def relaxed(self, state: int) -> int:
        """The state of the relaxation that stands for an exact one, or ``DEAD`` where nothing can follow."""
        return int(self.automaton.call(completion_kernels.relaxed_state, self.guide, state))

    def completion(self, state: int) -> int:
        """Tokens, end token included, of some way to complete the text from a state; ``UNREACHABLE`` if none is found.

        An upper bound on the least number: that of the tokens that spell a short closing text.
        """
        work = np.full(1, _MOST_WORK)
        return int(self.automaton.call(completion_kernels.completion, self.guide, self.book, state, work))

    def completes_within(self, state: int, tokens: int) -> bool:
        """Whether a way to complete the text is known that takes no more than so many tokens, end token included."""
        work = np.full(1, _MOST_WORK)
        return bool(
            self.automaton.call(completion_kernels.completes_within, self.guide, self.book, state, tokens, work)
        )

    def search(self, kernel: Callable[..., Result], *arguments: Any) -> Result:
        """What a kernel of ``inference.search_kernels`` gives on these states."""
        return self.automaton.call(kernel, self.guide, self.book, *arguments)


Recipe = tuple[Any, bytes]
"""How a state is reached: the recipe of an earlier one, None for the start, and the bytes read since then."""


@final
class StateNumbers:
    """Numbers of exact states that stay valid when the states themselves are given up for an empty store.

    A number tells in which generation of the store its state was met. Of the states that were handed out last it is
    known how they are reached, so that they are found again in a later generation. Threads may share it.
    """

    def __init__(self, exact: ExactStates) -> None:
        self._lock = threading.RLock()
        self._exact = exact
        self._recipes: OrderedDict[int, Recipe] = OrderedDict()

    @property
    def exact(self) -> ExactStates:
        """The states of the present generation."""
        return self._exact

    def renew(self) -> None:
        """Begins a new generation where the present one holds many states. Who works with that keeps it."""
        with self._lock:
            if self._exact.automaton.is_crowded:
                self._exact = self._exact.emptied()

    def found(self, number: int) -> tuple[ExactStates, int]:
        """The present states, and the one among them that has a number.

        Raises:
            ModelError: there is no such state, or it was handed out too long ago.
        """
        with self._lock:
            exact, start = self._exact, self._exact.automaton.start
            generation, state = divmod(number, _GENERATION)
            if number == TAIL or state == start:
                return exact, state
            if generation == exact.generation and 0 < state < exact.automaton.num_states:
                return exact, state
            if number not in self._recipes:
                raise ModelError(
                    f"there is no state {number}, or it is no longer known; advance again from the start (None)"
                )
            return exact, exact.step(start, self._spelled(number))

    def numbered(self, exact: ExactStates, state: int, before: int, spelled: bytes) -> int:
        """The number of a state that is reached from the one with the number ``before``."""
        with self._lock:
            if state == TAIL:
                return TAIL
            number = exact.generation * _GENERATION + state
            is_first = before % _GENERATION == exact.automaton.start
            if number not in self._recipes and (is_first or before in self._recipes):
                self._recipes[number] = self._recipes.get(before), spelled
            if len(self._recipes) > _MOST_RECIPES:
                self._recipes.popitem(last=False)
            return number

    def _spelled(self, number: int) -> bytes:
        recipe: Recipe | None = self._recipes[number]
        self._recipes.move_to_end(number)
        pieces = []
        while recipe is not None:
            pieces.append(recipe[1])
            recipe = recipe[0]
        return b"".join(reversed(pieces))


@lru_cache(maxsize=8)
def _spelling_table(vocabulary: Vocabulary) -> tuple[NDArray[np.int64], tuple[Any, ...]]:
    """A token for each spelling that is not too long; and the table of spellings of a ``Book``."""
    tokens = lexicon_of(vocabulary).token_of_spelling
    spelled = [vocabulary.spellings[token] or b"" for token in tokens.tolist()]
    is_kept = np.fromiter((len(spelling) <= _LONGEST_SPELLING for spelling in spelled), np.bool_, len(spelled))
    kept = [spelled[i] for i in np.flatnonzero(is_kept).tolist()]
    begin, text = joined(kept)
    slots = completion_kernels.spelling_slots(begin, text, 1 << (2 * len(kept) + 1).bit_length())
    return tokens[is_kept].astype(np.int64), (slots, begin, text, max(map(len, kept), default=0))


def _book(automaton: PushdownAutomaton, lifted: Lifted, vocabulary: Vocabulary) -> completion_kernels.Book:
    tokens, (slots, begin, text, longest) = _spelling_table(vocabulary)
    token_class = lifted.class_of_token[tokens]
    return completion_kernels.Book(
        slots=slots,
        begin=begin,
        text=text,
        token_class=np.where(token_class > END_CLASS, token_class, DEAD).astype(np.int32),
        longest=longest,
        representatives=automaton.representatives,
        nearness=-np.minimum(lifted.distance, kernels.FAR).astype(np.float64),
        no_weight=np.zeros(lifted.num_classes),
    )


def _guide(
    automaton: PushdownAutomaton, relaxation: Relaxation, lifted: Lifted, vocabulary: Vocabulary
) -> kernels.Guide:
    tail = relaxation.dfa.num_states
    edges = lifted.edges()
    is_text = edges.target != tail
    source, target, label = edges.source[is_text], edges.target[is_text], edges.label[is_text]
    counts = lifted.label_begin[label + 1] - lifted.label_begin[label]
    ends = np.concatenate([[0], np.cumsum(counts)])
    places = np.repeat(lifted.label_begin[label] - ends[:-1], counts) + np.arange(ends[-1])
    sizes = np.bincount(source, weights=counts, minlength=tail + 1).astype(np.int64)
    first_token = np.full(lifted.num_classes, -1, np.int64)
    tokens = np.arange(len(vocabulary))[::-1]
    first_token[lifted.class_of_token[tokens]] = tokens
    begins, buffer = joined([(vocabulary.spellings[t] or b"") if t >= 0 else b"" for t in first_token.tolist()])
    return kernels.Guide(
        place=relaxation.place,
        outside=relaxation.outside,
        entry=relaxation.entry,
        class_begin=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        classes=lifted.label_class[places].astype(np.int32),
        class_target=np.repeat(target, counts).astype(np.int32),
        text_begin=begins,
        text=buffer,
        accepting=relaxation.dfa.accepting,
        distance=lifted.distance,
    )
