"""A byte automaton lifted onto a vocabulary: compiled once, shared by every pass and thread.

There is one kind of token automaton. Inference runs on a finite automaton; for a regular constraint
that is the acceptor itself. For a grammar, or a JSON Schema that refers to itself, it is a relaxation of
the acceptor, which accepts more, and ``exact`` holds the acceptor's own states on tokens: the finite
messages guide a search over these (see ``inference.search``).

Alternatives that were weighed: unrolling the stack to a fixed depth is exact, but the number of stacks
doubles per level of JSON; an inside algorithm over spans is exact too, but cubic in the canvas and
quadratic in the states; a stack known by its top only costs what a regular constraint costs, and is
exact wherever the model's own text closes what it opens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from constrained_diffusion.automata.byte_automaton import DEAD, ByteDFA
from constrained_diffusion.automata.classes import DEAD_CLASS
from constrained_diffusion.automata.grammar_arrays import automaton_arrays, automaton_of, check_fit, dfa_arrays, dfa_of
from constrained_diffusion.automata.lexicon import lexicon_of
from constrained_diffusion.automata.lifting import UNREACHABLE, Lifted, lift
from constrained_diffusion.automata.marks import shown, without_marks
from constrained_diffusion.automata.pushdown import TAIL, PushdownAutomaton
from constrained_diffusion.automata.pushdown_tokens import ExactStates, StateNumbers, lifted_relaxation
from constrained_diffusion.automata.relaxation import largest_relaxation
from constrained_diffusion.automata.sharing import shared_edges, shared_sums
from constrained_diffusion.automata.storage import kept_on_disk, read_arrays, write_arrays
from constrained_diffusion.automata.vocabulary import Vocabulary, token_ids
from constrained_diffusion.checking import elements, instance_of, path_of, real_number, shortened, whole_number
from constrained_diffusion.errors import InfeasibleError, InvalidConstraint, ModelError, UnsupportedConstraint
from constrained_diffusion.inference import chain
from constrained_diffusion.inference.posterior import FREE, CanvasPosterior, CanvasRequest
from constrained_diffusion.inference.rows import Rows, TokenClasses
from constrained_diffusion.limits import Limits

if TYPE_CHECKING:
    from constrained_diffusion.constraints.base import Constraint

_FORMAT: Final = "constrained-diffusion token automaton 3"
_MOST_BUDGET: Final = int(UNREACHABLE) // 2
"""Every budget above this is the same to a canvas."""
_LEAST_SECONDS: Final = 0.2
"""A grammar that compiles faster than this is not kept on disk."""


def compile_constraint(constraint: Constraint, vocabulary: Vocabulary, *, limits: Limits = Limits()) -> TokenAutomaton:
    """Compiles a constraint for a vocabulary; known publicly as ``cd.compile``.

    Raises:
        InfeasibleError: the constraint allows no text, or the vocabulary cannot spell any.
        LimitExceeded: the automaton would grow beyond ``limits``.
        UnsupportedConstraint: the constraint compiles to an automaton of another kind.
    """
    instance_of(vocabulary, Vocabulary, "vocabulary", ModelError)
    if not hasattr(constraint, "automaton"):
        raise InvalidConstraint(
            f"met {type(constraint).__name__} {constraint!r:.100} as a constraint; expected one made by cd.regex, "
            f"cd.literal, cd.json_schema, ..."
        )
    automaton = constraint.automaton(limits)
    if isinstance(automaton, PushdownAutomaton):
        return _compiled_grammar(constraint, automaton, vocabulary, limits)
    if not isinstance(automaton, ByteDFA):
        raise UnsupportedConstraint(
            f"{constraint!r} compiles to {type(automaton).__name__}; expected a finite or a pushdown automaton",
            construct=type(constraint).__name__,
        )
    _check_possible(constraint, is_empty=automaton.is_empty)
    lifted = lift(automaton, vocabulary, lexicon_of(vocabulary), limits)
    _check_spelled(constraint, automaton, lifted, vocabulary)
    return TokenAutomaton(automaton, vocabulary, lifted)


def _check_spelled(constraint: Constraint, dfa: ByteDFA, lifted: Lifted, vocabulary: Vocabulary) -> None:
    if lifted.distance[dfa.start] >= UNREACHABLE:
        raise InfeasibleError(
            f"the vocabulary of {len(vocabulary)} tokens cannot spell any text of {constraint!r}; "
            f"shortest is {shown(dfa.shortest_text())[:60]!r}{_known_specials(dfa.shortest_text(), vocabulary)}"
        )


def _check_possible(constraint: Constraint, *, is_empty: bool) -> None:
    if is_empty:
        raise InfeasibleError(f"no text at all meets {constraint!r}; {constraint.why_empty}")


def _known_specials(text: bytes, vocabulary: Vocabulary) -> str:
    """For a message: which special tokens could have been asked for, if any was."""
    if without_marks(text) == text:
        return ""
    return f". Special tokens that it has, but for end tokens: {', '.join(vocabulary.specials) or 'none'}"


def _compiled_grammar(
    constraint: Constraint, automaton: PushdownAutomaton, vocabulary: Vocabulary, limits: Limits
) -> TokenAutomaton:
    """From the cache on disk, else made anew."""

    def make() -> TokenAutomaton:
        return _newly_compiled_grammar(constraint, automaton, vocabulary, limits)

    grammar = automaton.grammar.fingerprint
    if grammar is None:
        return make()
    side = hashlib.sha256(b"".join(array.tobytes() for array in dfa_arrays(automaton.side).values())).hexdigest()
    whole = "\0".join((grammar, side, vocabulary.fingerprint, repr(limits), automaton.beginning.hex()))
    return kept_on_disk(
        "grammar-automaton-4",
        hashlib.sha256(whole.encode()).hexdigest()[:32],
        make,
        lambda made, path: made.save(path),
        lambda path: TokenAutomaton.load(path, vocabulary),
        least_seconds=_LEAST_SECONDS,
    )


def _newly_compiled_grammar(
    constraint: Constraint, automaton: PushdownAutomaton, vocabulary: Vocabulary, limits: Limits
) -> TokenAutomaton:
    _check_possible(constraint, is_empty=automaton.is_empty)
    automaton, relaxation = largest_relaxation(automaton, limits)
    _check_possible(constraint, is_empty=not np.any(relaxation.dfa.accepting))
    lifted = lifted_relaxation(automaton, relaxation, vocabulary, limits)
    if relaxation.guesses is None:
        _check_spelled(constraint, relaxation.dfa, lifted, vocabulary)
    exact = ExactStates(automaton, relaxation, lifted, vocabulary)
    if exact.completion(automaton.start) >= UNREACHABLE:
        raise InfeasibleError(
            f"no text of {constraint!r} was found that the vocabulary of {len(vocabulary)} tokens can spell"
        )
    return TokenAutomaton(relaxation.dfa, vocabulary, lifted, exact)


@final
class TokenAutomaton:
    """An acceptor of token strings. Immutable; made by ``cd.compile``.

    A state is an integer: a state of the byte automaton, or ``tail`` behind the end token. The states of a grammar are
    numbered as they are met and mean something to this object only.

    Attributes:
        dfa: the finite automaton over bytes on which inference runs.
        vocabulary: the vocabulary it was compiled for.
        lifted: its token classes and edges.
        edges: its edges, those that several states share but once.
        label_sums: the sums over the classes of each label.
    """

    def __init__(self, dfa: ByteDFA, vocabulary: Vocabulary, lifted: Lifted, exact: ExactStates | None = None) -> None:
        self.dfa = dfa
        self._numbers = None if exact is None else StateNumbers(exact)
        self.vocabulary = vocabulary
        self.lifted = lifted
        self.edges = shared_edges(lifted)
        self.label_sums = shared_sums(lifted.label_begin, lifted.label_class, lifted.num_classes)
        self.earliest = lru_cache(maxsize=64)(self._earliest)
        self.distance_before = lru_cache(maxsize=64)(self._distance_before)
        self._classes = lru_cache(maxsize=4)(self._classes_of_width)

    def __repr__(self) -> str:
        return (
            f"<TokenAutomaton: {self.num_states} states, {self.num_classes} token classes, {self.num_edges} edges, "
            f"at least {self.min_tokens} tokens>"
        )

    @property
    def exact(self) -> ExactStates | None:
        """The states of a grammar, whose relaxation ``dfa`` is; None where ``dfa`` is the acceptor itself."""
        return None if self._numbers is None else self._numbers.exact

    @property
    def start(self) -> int:
        """The state before the first token."""
        return self.dfa.start if self.exact is None else self.exact.automaton.start

    @property
    def tail(self) -> int:
        """The state behind the end token, where everything may follow."""
        return self.dfa.num_states if self.exact is None else TAIL

    @property
    def num_states(self) -> int:
        """States of the finite automaton."""
        return self.dfa.num_states

    @property
    def num_classes(self) -> int:
        """Classes of tokens that behave alike, those of dead and of end tokens included."""
        return self.lifted.num_classes

    @property
    def num_edges(self) -> int:
        """Pairs of states that some token connects."""
        return len(self.lifted.edge_target)

    @property
    def min_tokens(self) -> int:
        """Tokens of the shortest text, its end token included; for a grammar no text has fewer."""
        return int(self.lifted.distance[self.relaxed(self.start)])

    def relaxed(self, state: int) -> int:
        """The state of the finite automaton that stands for a state: for a regular constraint itself."""
        exact, state = self._found(state)
        return state if exact is None else exact.relaxed(state)

    def accepts(self, state: int) -> bool:
        """Whether the end token may come in this state."""
        exact, state = self._found(state)
        return self.dfa.accepts(state) if exact is None else state != TAIL and exact.automaton.accepts(state)

    def completion(self, state: int) -> int:
        """Tokens that suffice to complete the text, end token included; for a regular constraint no fewer do."""
        exact, state = self._found(state)
        return int(self.lifted.distance[state]) if exact is None else exact.completion(state)

    def step(self, state: int, token: int) -> int:
        """The state after one more token, or ``DEAD`` (-1)."""
        if state == DEAD:
            return DEAD
        exact, found = self._found(state)
        return self._numbered(exact, self.step_of(exact, found, token), state, [token])

    def step_of(self, exact: ExactStates | None, state: int, token: int) -> int:
        """The same for a state of the finite automaton or of those ``exact`` ones."""
        if state == self.tail:
            return self.tail
        if token in self.vocabulary.end_ids:
            accepts = self.dfa.accepts if exact is None else exact.automaton.accepts
            return self.tail if accepts(state) else DEAD
        spelling = self.vocabulary.spellings[token] if 0 <= token < len(self.vocabulary) else None
        if spelling is None:
            return DEAD
        return self.dfa.run(spelling, state) if exact is None else exact.step(state, spelling)

    def _found(self, number: int) -> tuple[ExactStates | None, int]:
        """The state that has a number, and the exact ones to which it belongs."""
        return (None, number) if self._numbers is None else self._numbers.found(number)

    def _numbered(self, exact: ExactStates | None, state: int, before: int, ids: Sequence[int]) -> int:
        """The number of a state that is reached from the one with the number ``before``."""
        if self._numbers is None or exact is None or state == DEAD:
            return state
        return self._numbers.numbered(exact, state, before, self.vocabulary.spell(ids) if state != TAIL else b"")

    def advance(self, state: int | None, ids: Iterable[int] | Tensor) -> int:
        """The state after the ids, read from ``state`` (None is the start); behind an end token it is ``tail``.

        Raises:
            InfeasibleError: the ids leave the language; the message says where.
            ModelError: they are no token ids, or there is no such state.
        """
        first = self.start if state is None else self._checked_state(state)
        exact, current = self._found(first)
        tokens = token_ids(ids)
        for position, token in enumerate(tokens):
            following = self.step_of(exact, current, token)
            if following == DEAD:
                raise InfeasibleError(
                    f"token {token} ({self.vocabulary.describe(token)}) at position {position} leaves the language"
                )
            current = following
        return self._numbered(exact, current, first, tokens) if tokens else first

    def text(self, ids: Iterable[int] | Tensor) -> str:
        """The text that the ids spell, up to the first end token.

        Raises:
            ModelError: they are no ids of the vocabulary, or spell no valid UTF-8.
        """
        spelled = self.vocabulary.decode(token_ids(ids))
        try:
            return spelled.decode()
        except UnicodeDecodeError as error:
            raise ModelError(f"the ids end inside a character or spell invalid UTF-8: {spelled[-40:]!r}") from error

    def posterior(
        self,
        logits: Tensor,
        *,
        state: int | Sequence[int] | None = None,
        budget: int | Sequence[int] | None = None,
        pins: Tensor | Sequence[Any] | None = None,
        min_tokens: int | Sequence[int] = 0,
        temperature: float = 1.0,
    ) -> CanvasPosterior:
        """The posterior over the texts on a canvas, or on each canvas of a batch.

        Args:
            logits: floating [L, V] or [B, L, V], any device; columns beyond the vocabulary are no text.
            state: where the text before this canvas left the automaton; None is the start.
            budget: tokens that may still follow this canvas; None and 0: the text must end inside
                it; -n: it must end n tokens before the end of the canvas.
            pins: int [L] or [B, L], the token that each position must hold, or -1; behind the end of the text too.
                There may be more than L: those behind the canvas condition what it leaves to be written; for a grammar
                as far as its finite relaxation can tell, so that a later canvas may still turn out to be infeasible.
            min_tokens: the first position at which the text may end.
            temperature: the logits are divided by it; 1e-6 to 1e6.

        Raises:
            InfeasibleError: no text fits; the message says what is at fault.
            ModelError: the logits or the other arguments are malformed; the message names the position.
        """
        instance_of(logits, Tensor, "logits", ModelError)
        if logits.ndim not in (2, 3) or not logits.is_floating_point() or 0 in logits.shape:
            raise ModelError(
                f"logits are {logits.dtype} {list(logits.shape)}; expected floating point [L, V] or [B, L, V]"
            )
        temperature = real_number(temperature, "temperature", ModelError, least=1e-6, most=1e6)
        is_batch = logits.ndim == 3
        batch = logits if is_batch else logits[None]
        count, length, width = batch.shape
        states = _one_each(self.start if state is None else state, count, "state")
        budgets = [
            max(min(b, _MOST_BUDGET), -length) for b in _one_each(0 if budget is None else budget, count, "budget")
        ]
        rows_pins = self._checked_pins(pins, logits.shape[:-1], width)
        least = [whole_number(m, "min_tokens", ModelError, least=0) for m in _one_each(min_tokens, count, "min_tokens")]
        if self._numbers is not None:
            self._numbers.renew()
        requests = [
            CanvasRequest(
                *self._found(self._checked_state(s)), b, p[:length], m, self._later(p[length:], min(m - length, b + 1))
            )
            for s, b, p, m in zip(states, budgets, rows_pins, least, strict=True)
        ]
        rows = Rows(batch.reshape(count * length, width), temperature, self._classes(width))
        return CanvasPosterior(self, rows, requests, length, is_batch)

    def save(self, path: str | Path) -> None:
        """Writes the automaton to a file (npz), whole or not at all. The vocabulary is not part of it.

        Raises:
            ModelError: the folder is missing or cannot be written to.
        """
        header = {
            "format": np.array(_FORMAT),
            "vocabulary": np.array(self.vocabulary.fingerprint),
            "is_grammar": np.array(self.exact is not None),
        }
        exact = {} if self.exact is None else automaton_arrays(self.exact.automaton, self.exact.relaxation)
        lifted = {f"lifted_{name}": array for name, array in self.lifted.arrays().items()}
        write_arrays(path_of(path, "path", ModelError), {**header, **dfa_arrays(self.dfa), **lifted, **exact})

    @classmethod
    def load(cls, path: str | Path, vocabulary: Vocabulary) -> TokenAutomaton:
        """Reads what ``save`` wrote, for the same vocabulary.

        Raises:
            ModelError: the file is damaged, of another version, or compiled for another vocabulary.
        """
        instance_of(vocabulary, Vocabulary, "vocabulary", ModelError)
        arrays = read_arrays(path_of(path, "path", ModelError), _FORMAT)
        if str(arrays.pop("vocabulary", "")) != vocabulary.fingerprint:
            raise ModelError(f"{path} was compiled for another vocabulary; compile and save it again for this one")
        try:
            dfa = dfa_of(arrays)
            fields = {name: arrays[f"lifted_{name}"] for name in Lifted.__dataclass_fields__}
            lifted = Lifted(**{**fields, "num_classes": int(fields["num_classes"])})
            check_fit(_fits_together(dfa, lifted, len(vocabulary)))
            is_grammar = bool(arrays["is_grammar"])
            exact = ExactStates(*automaton_of(arrays, dfa), lifted, vocabulary) if is_grammar else None
        except (KeyError, TypeError, ValueError, IndexError, ModelError) as error:
            raise ModelError(f"{path} is damaged: {error}") from error
        return cls(dfa, vocabulary, lifted, exact)

    def _earliest(self, state: int) -> NDArray[np.int32]:
        """The least number of tokens from ``state`` to each state, int32 [N + 1]; for a grammar a lower bound."""
        if self.exact is not None:
            # What is known of a stack comes back with a bracket that closes: a search can enter any state.
            return np.zeros(len(self.lifted.distance), np.int32)
        return np.asarray(chain.earliest_positions(self.lifted.edge_begin, self.lifted.edge_target, state))

    def _classes_of_width(self, width: int) -> TokenClasses:
        known = len(self.vocabulary)
        if width < known:
            raise ModelError(
                f"the logits have {width} columns, but the vocabulary has {known} tokens; expected at least as many"
            )
        beyond = np.full(width - known, DEAD_CLASS, np.int32)
        return TokenClasses.of(np.concatenate([self.lifted.class_of_token, beyond]), self.num_classes)

    def _checked_state(self, state: int) -> int:
        checked = whole_number(state, "state", ModelError, least=0, most=self.tail if self.exact is None else 2**62)
        self._found(checked)
        return checked

    def _checked_pins(self, pins: Tensor | Sequence[Any] | None, shape: torch.Size, width: int) -> NDArray[np.int64]:
        if pins is None:
            return np.full((1, *shape) if len(shape) == 1 else tuple(shape), FREE, np.int64)
        given = _tensor(pins, "pins")
        is_fit = given.ndim == len(shape) and given.shape[:-1] == shape[:-1] and given.shape[-1] >= shape[-1]
        if not is_fit or given.is_floating_point() or given.dtype == torch.bool:
            raise ModelError(f"pins are {given.dtype} {list(given.shape)}; expected integers {list(shape)} or longer")
        values = given.detach().cpu().numpy().astype(np.int64)
        if values.min() < FREE or values.max() >= width:
            raise ModelError(f"pins hold {values.min()} to {values.max()}; expected token ids below {width}, or -1")
        return values.reshape(-1, values.shape[-1])

    def _later(self, pins: NDArray[np.int64], least: int) -> tuple[int, ...]:
        """The pins behind a canvas, up to the last pinned position and to the first at which the text may end."""
        pinned = np.flatnonzero(pins >= 0)
        if self.exact is not None and not len(pinned):
            return ()
        count = max(least, pinned[-1] + 1 if len(pinned) else 0)
        return (*pins[:count].tolist(), *[FREE] * (count - len(pins)))

    def _distance_before(self, later: tuple[int, ...], budget: int, min_tokens: int) -> NDArray[np.int32]:
        """``distance`` for a canvas in front of pinned positions, int32 [N + 1].

        A state from which no text of the budget holds the pins is one token too far from its end to stand at the end
        of the canvas, and near enough to stand anywhere else.

        Args:
            later: the token of each position behind the canvas, or -1.
            min_tokens: the first of these positions at which the text may end.
        """
        lifted, edges = self.lifted, self.lifted.edges()
        label_of = np.repeat(np.arange(len(lifted.label_begin) - 1), np.diff(lifted.label_begin))
        fits = lifted.distance <= budget - len(later)
        fits[-1] = True
        for place in reversed(range(len(later))):
            is_usable = np.ones(len(lifted.label_begin) - 1, bool)
            if later[place] != FREE:
                is_usable[:] = False
                is_usable[label_of[lifted.label_class == self._class_of(later[place])]] = True
            leads_on = is_usable[edges.label] & fits[edges.target]
            if place < min_tokens:
                leads_on &= edges.target != len(fits) - 1
            fits = np.zeros_like(fits)
            fits[edges.source[leads_on]] = True
            fits[-1] = True
        return np.where(fits, lifted.distance, np.maximum(lifted.distance, budget + 1)).astype(np.int32)

    def _class_of(self, token: int) -> int:
        return int(self.lifted.class_of_token[token]) if token < len(self.vocabulary) else DEAD_CLASS


def _fits_together(dfa: ByteDFA, lifted: Lifted, tokens: int) -> bool:
    """Whether all shapes and indices are such that no compiled kernel reads outside an array."""
    n, classes = len(dfa.table), lifted.num_classes

    def indexes(values: NDArray[Any], least: int, below: int) -> bool:
        return values.ndim == 1 and (not len(values) or bool(values.min() >= least and values.max() < below))

    def begins(values: NDArray[Any], groups: int, items: int) -> bool:
        return indexes(values, 0, items + 1) and len(values) == groups + 1 and bool(np.all(np.diff(values) >= 0))

    labels = len(lifted.label_begin) - 1
    return (
        len(lifted.class_of_token) == tokens
        and indexes(lifted.class_of_token, 0, classes)
        and begins(lifted.edge_begin, n + 1, len(lifted.edge_target))
        and int(lifted.edge_begin[-1]) == len(lifted.edge_target) == len(lifted.edge_label)
        and indexes(lifted.edge_target, 0, n + 1)
        and indexes(lifted.edge_label, 0, labels)
        and begins(lifted.label_begin, labels, len(lifted.label_class))
        and indexes(lifted.label_class, 0, classes)
        and lifted.distance.shape == (n + 1,)
    )


def _tensor(value: Any, name: str) -> Tensor:
    """
    Raises:
        ModelError: the value is neither a tensor nor rows of equal length that make one.
    """
    if isinstance(value, Tensor):
        return value
    rows = elements(value, name, "token ids, -1 where free", ModelError)
    try:
        return torch.tensor(rows)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ModelError(f"{name} are {shortened(repr(rows))}; expected token ids, -1 where free: {error}") from error


def _one_each(value: Any, count: int, name: str) -> list[int]:
    """The value of each canvas of a batch."""
    if isinstance(value, Tensor | np.ndarray):
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return [whole_number(value, name, ModelError)] * count
    values = [whole_number(v, name, ModelError) for v in value]
    if len(values) != count:
        raise ModelError(f"{name} has {len(values)} values for {count} canvases; expected one, or one each")
    return values
