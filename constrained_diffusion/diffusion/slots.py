"""The slots of finished texts, and the questions that their probabilities answer."""

import itertools
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from constrained_diffusion.automata.marks import without_marks
from constrained_diffusion.automata.token_automaton import TokenAutomaton
from constrained_diffusion.automata.vocabulary import Vocabulary
from constrained_diffusion.checking import elements
from constrained_diffusion.constraints.base import Constraint
from constrained_diffusion.constraints.parts import Part
from constrained_diffusion.diffusion.generation import SlotText
from constrained_diffusion.diffusion.loop import Question
from constrained_diffusion.errors import InfeasibleError, InvalidConstraint, UnsupportedConstraint

MOST_LISTED: Final = 64
"""Slots with at most this many texts have probabilities unless asked otherwise."""
_SEVERAL_WAYS: Final = "a text can be split into its slots in several ways, so what stands in one is no single event"
MOST_UNASKED: Final = 256
"""And so many texts of all slots together: each costs a compilation and an inference."""
_UNASKED: Final = (
    f"they were not asked for: without ask=, slots that stand in every text exactly once and have at most "
    f"{MOST_LISTED} texts are listed, the first ones with {MOST_UNASKED} texts together; with it, those that it names"
)
MOST_JOINT: Final = 1000
"""A joint distribution lists at most this many combinations."""
Names = tuple[str, ...]
Ask = Sequence[str | Sequence[str]] | None


def questions_of(
    constraint: Constraint | None, ask: Ask, compile: Callable[[Constraint], TokenAutomaton]
) -> dict[Names, Question]:
    """A question for each slot, or combination of slots, that is asked for; None asks for slots with few texts.

    Raises:
        InvalidConstraint: there is no slot of a name that is asked for.
        UnsupportedConstraint: its language is not finite, or there are too many combinations.
    """
    if constraint is None:
        if ask:
            raise InvalidConstraint(f"ask={ask!r} needs a constraint with slots, as cd.template makes")
        return {}
    if ask is None:
        wanted: list[Names] = [(name,) for name in _first_with_few_texts(constraint)]
    else:
        listed = elements(ask, "ask", "a list of names, or of tuples of names", InvalidConstraint)
        wanted = [
            (names,) if isinstance(names, str) else tuple(elements(names, "ask", "names in a tuple", InvalidConstraint))
            for names in listed
        ]
        if any(not names or len(set(names)) < len(names) for names in wanted):
            raise InvalidConstraint(f"ask={ask!r}; expected names, or tuples of different names")
    return {names: _question(constraint, names, compile) for names in wanted}


def _first_with_few_texts(constraint: Constraint) -> list[str]:
    listed = [(name, constraint.slot_texts(name, MOST_LISTED)) for name in constraint.slot_names]
    few = [(name, len(texts)) for name, texts in listed if texts is not None]
    totals = itertools.accumulate(count for _, count in few)
    return [name for (name, _), total in zip(few, totals, strict=True) if total <= MOST_UNASKED]


def _question(constraint: Constraint, names: Names, compile: Callable[[Constraint], TokenAutomaton]) -> Question:
    options = [_texts(constraint, name) for name in names]
    count = 1
    for texts in options:
        count *= len(texts)
    if count > MOST_JOINT:
        raise UnsupportedConstraint(
            f"{' and '.join(names)} have {count:,} combinations; at most {MOST_JOINT:,} can be listed",
            construct="joint distribution",
        )
    automata: dict[Names, TokenAutomaton | None] = {}
    for answer in itertools.product(*options):
        automata[answer] = None
        with suppress(InfeasibleError):  # the answers contradict each other, or the vocabulary cannot spell them
            automata[answer] = compile(constraint.fixed(dict(zip(names, answer, strict=True))))
    return Question(automata)


def _texts(constraint: Constraint, name: str) -> list[str]:
    if name not in constraint.slot_names:
        raise InvalidConstraint(f"there is no slot {{{name}}}; there is {', '.join(constraint.slot_names) or 'none'}")
    texts = constraint.slot_texts(name, MOST_JOINT)
    if texts is None:
        raise UnsupportedConstraint(
            f"the slot {{{name}}} has more than {MOST_JOINT:,} texts, or special tokens in them; probabilities are "
            f"listed for fewer texts only",
            construct="probabilities",
        )
    return [text.decode() for text in texts]


def costliest_slot(
    constraint: Constraint, automaton: TokenAutomaton, compile: Callable[[Constraint], TokenAutomaton]
) -> str:
    """For a message: the slot that takes up most of a short text, at all of its places; nothing if none takes up
    half of it."""
    exact = automaton.exact
    short = automaton.dfa.shortest_text() if exact is None else exact.automaton.short_text()
    parts = () if short is None else constraint.parts(short)
    needed: Counter[str] = Counter()
    for part in parts:
        needed[part.name] += compile(part.constraint).min_tokens - 1
    name = max(needed, key=lambda name: needed[name], default=None)
    if name is None or 2 * needed[name] < automaton.min_tokens:
        return ""
    return f". The slot {{{name}}} alone needs {needed[name]} tokens"


def most_probable_first(answers: Mapping[Names, float]) -> dict[Names, float]:
    return dict(sorted(answers.items(), key=lambda item: -item[1]))


def slots_of(
    parts: Sequence[Part],
    text: bytes,
    ids: Sequence[int],
    vocabulary: Vocabulary,
    answers: Mapping[Names, Mapping[Names, float] | None],
    given: int = 0,
) -> dict[str, SlotText]:
    """The slots of a text; of a name in several places, the first. The ids spell all but the first ``given`` bytes.

    ``answers`` has what was asked for; None where there was no answer.
    """
    offsets = list(itertools.accumulate((len(vocabulary.spellings[id] or b"") for id in ids), initial=given))
    found: dict[str, SlotText] = {}
    for part in parts:
        content = text[part.begin : part.end]
        visible = without_marks(content).decode()
        listed = answers.get((part.name,))
        missing = _SEVERAL_WAYS if (part.name,) in answers else _UNASKED
        begin = len(without_marks(text[: part.begin]).decode())
        found.setdefault(
            part.name,
            SlotText(
                text=visible,
                value=part.constraint.value(content),
                begin=begin,
                end=begin + len(visible),
                token_begin=max(bisect_right(offsets, part.begin) - 1, 0),
                token_end=bisect_left(offsets, part.end),
                probabilities=None if listed is None else {names[0]: p for names, p in listed.items()},
                unlisted=missing if listed is None else "",
                slots=slots_of(part.parts, text, ids, vocabulary, {}, given),
            ),
        )
    return found
