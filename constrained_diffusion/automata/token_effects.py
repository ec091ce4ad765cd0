"""What tokens do to the lexers of a grammar, told apart exactly as far as some configuration can tell.

From a scanner state a text leads to another one or gets stuck, and on the way a terminal may match; behind the last
match the rest of the text is read again by whichever scanner may be at work there. So the effect of a text is, for each
scanner state, three things: where it leads, which terminal has matched last, and the effect of the rest. The
effect of a text that is a byte longer at its front follows from that of the text: effects are numbered, and each pair
of a byte and an effect is looked at once, however many tokens end alike.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import network_kernels as kernels
from constrained_diffusion.automata.byte_automaton import DEAD, ByteDFA
from constrained_diffusion.automata.classes import DEAD_CLASS, END_CLASS
from constrained_diffusion.automata.lexicon import lexicon_of
from constrained_diffusion.automata.lifting import token_classes
from constrained_diffusion.automata.network import Network
from constrained_diffusion.automata.pushdown import Grammar
from constrained_diffusion.automata.threads_nfa import NO_MATCH, UNMATCHED
from constrained_diffusion.automata.token_kernels import number_signatures
from constrained_diffusion.automata.vocabulary import Vocabulary, joined
from constrained_diffusion.threads import in_parallel

_UNCHANGED: Final = 0
"""In place of a terminal: none has matched, so that an earlier match stands."""
_NOTHING: Final = 1
"""In place of a terminal: neither a match within the text nor an earlier one leads on."""
_FIRST_TERMINAL: Final = 2
_NO_REST: Final = 0
_PAIRS_AT_ONCE: Final = 4096


def effects(grammar: Grammar, texts: list[bytes]) -> NDArray[np.int64]:
    """A number for what each text does; texts with equal numbers do the same to every configuration. int64 [texts]."""
    to_class = bytes(grammar.byte_class)
    return _numbered(_Numbering(grammar), [text.translate(to_class) for text in texts])


def endings(grammar: Grammar, texts: list[bytes]) -> NDArray[np.int64]:
    """A number for where each text may end one of the grammar, 0 for nowhere; texts with equal numbers end it on the
    same stacks. int64 [texts]."""
    # The end is one more class of bytes, which only the scanner of a terminal to come reads.
    state, end = len(grammar.scan), grammar.scan.shape[1]
    scan = np.full((state + 1, end + 1), DEAD, np.int32)
    scan[:state, :end] = grammar.scan
    scan[np.append(grammar.scan_start, state), end] = state
    with_end = replace(grammar, scan=scan, match=np.append(grammar.match, NO_MATCH).astype(np.int32))
    to_class = bytes(grammar.byte_class)
    return _numbered(_Numbering(with_end), [text.translate(to_class) + bytes([end]) for text in texts])


def _numbered(numbering: "_Numbering", texts: list[bytes]) -> NDArray[np.int64]:
    """The number of each text, spelled in byte classes."""
    if not numbering.contexts:  # without terminals there is no text but the empty one
        return np.zeros(len(texts), np.int64)
    numbers: dict[bytes, int] = {}
    # Bytes that the scanners treat alike make texts that do the same.
    place = [numbers.setdefault(text[::-1], len(numbers)) for text in texts]
    backwards = list(numbers)
    lengths = np.array([len(text) for text in backwards], np.int64)
    begins = np.concatenate([[0], np.cumsum(lengths)])
    buffer = np.frombuffer(b"".join(backwards), np.uint8)
    found = np.zeros(len(backwards), np.int64)
    for length in range(int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > length)
        found[longer] = numbering.prepended(buffer[begins[longer] + length], found[longer])
    return numbering.outcomes()[found[place]]


@final
class _Numbering:
    """The effects met so far; number 0 is that of the empty text.

    An effect is a row of codes, one for each scanner state: the state that is reached plus one, the terminal, and a
    number for the effect of the rest.
    """

    def __init__(self, grammar: Grammar) -> None:
        states = np.arange(len(grammar.scan), dtype=np.int64)
        self.scan = np.where(np.all(grammar.scan == DEAD, axis=1)[grammar.scan], DEAD, grammar.scan)
        self.scan[grammar.scan == DEAD] = DEAD
        self.match = np.where(grammar.scan != DEAD, grammar.match[grammar.scan], DEAD)
        self.may_follow_match = _may_follow_match(grammar)
        self.contexts, self.contexts_behind = _contexts_behind(grammar)
        self.rest_numbers: dict[tuple[int, bytes], int] = {}
        self.numbers: dict[bytes, int] = {}
        self.codes = np.empty((0, len(states)), np.int64)
        self.rests = np.empty((0, len(self.contexts)), np.int64)
        self._numbered(_code(states + 1, np.full_like(states, _UNCHANGED), np.zeros_like(states))[None])

    def prepended(self, byte_class: NDArray[np.uint8], effect: NDArray[np.int64]) -> NDArray[np.int64]:
        """The effects of texts with one more byte in front of them."""
        pairs, which = np.unique(effect * np.int64(256) + byte_class, return_inverse=True)
        out = np.empty(len(pairs), np.int64)
        for first in range(0, len(pairs), _PAIRS_AT_ONCE):
            part = pairs[first : first + _PAIRS_AT_ONCE]
            out[first : first + _PAIRS_AT_ONCE] = self._numbered(self._longer(part % 256, part // 256))
        return np.asarray(out[which.reshape(-1)])

    def _longer(self, byte_class: NDArray[np.int64], effect: NDArray[np.int64]) -> NDArray[np.int64]:
        """The codes of the texts with a byte in front, int64 [pairs, S]."""
        target, match = self.scan[:, byte_class].T, self.match[:, byte_class].T
        codes = np.where(target != DEAD, np.take_along_axis(self.codes[effect], target, axis=1), 0)
        reached, terminal, rest = _parts(codes)
        matched = (terminal == _UNCHANGED) & (match >= 0)
        rest_behind = self.rests[effect[:, None], self.contexts_behind[match]]
        leads_on = matched & (rest_behind != _NO_REST)
        stuck = (terminal == _UNCHANGED) & (match == UNMATCHED) | matched & ~leads_on
        terminal = np.where(leads_on, match + _FIRST_TERMINAL, np.where(stuck, _NOTHING, terminal))
        return _code(reached, terminal, np.where(leads_on, rest_behind, rest))

    def _numbered(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        known = len(self.numbers)
        numbers = np.array([self.numbers.setdefault(row.tobytes(), len(self.numbers)) for row in codes], np.int64)
        fresh, first = np.unique(numbers, return_index=True)
        added = codes[first[fresh >= known]]
        if len(added):
            self.codes = np.concatenate([self.codes, added])
            self.rests = np.concatenate([self.rests, self._rests_of(added)])
        return numbers

    def _rests_of(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """A number for what each text does at the starts of each set of scanners, int64 [effects, sets]."""
        outcomes = _outcomes(codes)
        rests = np.empty((len(codes), len(self.contexts)), np.int64)
        for place, starts in enumerate(self.contexts):
            for row, part in enumerate(np.ascontiguousarray(outcomes[:, starts])):
                key = place, part.tobytes()
                is_stuck = not part.any()
                rests[row, place] = (
                    _NO_REST if is_stuck else self.rest_numbers.setdefault(key, len(self.rest_numbers) + 1)
                )
        return rests

    def outcomes(self) -> NDArray[np.int64]:
        """Of each effect a number for what it is at the front of a text, 0 if that is nothing."""
        # In a scanner that has not matched yet it is all one why a text is stuck.
        outcomes = np.where(self.may_follow_match, self.codes, _outcomes(self.codes))
        is_stuck = ~np.any(_outcomes(self.codes), axis=1)
        numbers: dict[bytes, int] = {}
        rows = [numbers.setdefault(row.tobytes(), len(numbers)) for row in outcomes]
        return np.where(is_stuck, 0, np.array(rows, np.int64) + 1)


def _may_follow_match(grammar: Grammar) -> NDArray[np.bool_]:
    """Whether an earlier match may stand when a scanner is in each state, bool [S]."""
    sources, classes = np.nonzero(grammar.scan != DEAD)
    targets = grammar.scan[sources, classes]
    found = grammar.match >= 0
    while True:
        reached = np.zeros_like(found)
        reached[targets[found[sources]]] = True
        following = found | reached & (grammar.match == NO_MATCH)
        if np.array_equal(following, found):
            return found
        found = following


def _contexts_behind(grammar: Grammar) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Sets of starts of scanners, and which of them may be at work behind each terminal."""
    sets: dict[tuple[int, ...], int] = {}
    numbers = []
    for terminal in range(len(grammar.terminals)):
        shifted = grammar.action[:, terminal]
        states = np.arange(grammar.num_states) if grammar.ignored[terminal] else shifted[shifted >= 0]
        starts = tuple(np.unique(grammar.scan_start[states]).tolist())
        numbers.append(sets.setdefault(starts, len(sets)))
    return [np.array(starts, np.int64) for starts in sets], np.array(numbers, np.int64)


def _code(reached: NDArray[np.int64], terminal: NDArray[np.int64], rest: NDArray[np.int64]) -> NDArray[np.int64]:
    return reached << 44 | rest << 12 | terminal


def _parts(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    return codes >> 44, codes & 0xFFF, codes >> 12 & 0xFFFFFFFF


def _outcomes(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The codes without the difference between no match and none that leads on, which only matters to an earlier match:
    0 where a text is stuck."""
    return np.where((codes & 0xFFF) == _NOTHING, codes - _NOTHING, codes)


def network_classes(
    network: Network, side: ByteDFA | None, vocabulary: Vocabulary
) -> tuple[NDArray[np.int32], list[int]]:
    """The class of each token, int32 [V], and a token for each class behind the first two.

    Tokens of one class do the same to every configuration of a network, and to the states of ``side``, if there is one.
    Most tokens can change the stack with their first byte only. What these do depends on the class of that byte and on
    the steps inside the automata alone, so one of each kind is looked at.
    """
    lexicon = lexicon_of(vocabulary)
    inside, _ = token_classes(network.without_stack, vocabulary, lexicon)
    begins, text = vocabulary.joined_spellings
    kind, first = kernels.token_kinds(begins, text, network.byte_class, network.may_change, inside)
    letters = network.byte_class[text].tobytes()
    texts = [letters[begins[token] : begins[token + 1]] for token in first.tolist()]
    effects = np.concatenate(in_parallel(_effects_of(network, texts), len(texts)))
    signatures = effects + _random_numbers(inside[first])
    if side is not None:
        beside, _ = token_classes(side, vocabulary, lexicon)
        kind, first, parent = _split(kind, beside)
        signatures, besides = signatures[parent], beside[first]
        is_possible = np.any(signatures != 0, axis=1) & (besides > END_CLASS)
        signatures = np.where(is_possible[:, None], signatures + _random_numbers(besides), np.uint64(0))
    classes, representatives = number_signatures(signatures)
    class_of_token = np.where(kind >= 0, classes[kind], DEAD_CLASS).astype(np.int32)
    class_of_token[list(vocabulary.end_ids)] = END_CLASS
    return class_of_token, first[representatives].tolist()


def _split(
    kind: NDArray[np.int64], other: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The kinds told apart by other classes as well; a token of each new kind, and the old one that it comes from."""
    keys = np.where(kind >= 0, kind * (int(other.max()) + 1) + other, -1)
    values, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    known = int(values[0] < 0)
    return inverse.reshape(-1) - known, first[known:], kind[first[known:]]


def _random_numbers(classes: NDArray[np.int32]) -> NDArray[np.uint64]:
    """Two numbers for each of the classes, 0 for those that stand nowhere; uint64 [n, 2]."""
    numbers = np.random.default_rng(0).integers(
        1, 2**64, (int(classes.max(initial=0)) + 1, 2), np.uint64, endpoint=False
    )
    numbers[: END_CLASS + 1] = 0
    return numbers[classes]


def _effects_of(network: Network, texts: list[bytes]) -> Callable[[int, int], NDArray[np.uint64]]:
    """What gives the effects of some of the texts, spelled in byte classes, as two random numbers, uint64 [n, 2]."""
    moves = _moves(network)

    def some_effects(first: int, last: int) -> NDArray[np.uint64]:
        return np.asarray(kernels.network_effects(moves, *joined(texts[first:last])), np.uint64)

    return some_effects


def _moves(network: Network) -> kernels.Moves:
    callers = np.argsort(network.callee, kind="stable").astype(np.int32)
    counts = np.bincount(network.callee, minlength=len(network.begin) - 1)
    ends_again = np.unique(network.back[network.back != DEAD])
    ends_again = ends_again[network.tag[ends_again] != DEAD]
    states = np.arange(network.num_states + 1)
    is_changing = (network.table == DEAD) & ((network.call != DEAD) | (network.tag != DEAD)[:, None])
    return kernels.Moves(
        scan=network.table,
        call=network.call,
        tag=network.tag,
        back=network.back,
        start=network.begin[network.callee].astype(np.int32),
        owner=np.repeat(np.arange(len(counts)), np.diff(network.begin)).astype(np.int32),
        caller_begin=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        callers=callers,
        into=np.argsort(network.table.T, axis=1, kind="stable").astype(np.int32),
        into_begin=np.stack([np.searchsorted(column, states) for column in np.sort(network.table.T, axis=1)]),
        changing_begin=np.concatenate([[0], np.cumsum(np.count_nonzero(is_changing, axis=0))]).astype(np.int64),
        changing=np.nonzero(is_changing.T)[1].astype(np.int32),
        may_change=network.may_change,
        may_end=np.any(network.taken_behind_calls, axis=(0, 1)),
        may_end_again=np.any((network.table[ends_again] == DEAD) & (network.call[ends_again] == DEAD), axis=0),
    )
