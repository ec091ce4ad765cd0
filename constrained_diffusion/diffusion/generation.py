"""What a generation gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final


@final
@dataclass(frozen=True)
class PassRecord:
    """One refinement pass over one text's canvas."""

    canvas: int
    """Number of the canvas, from 0."""
    number: int
    """Number of the pass on this canvas, from 1."""
    text: str
    """The most probable text so far; behind unfinished canvases it may end anywhere."""
    undetermined: int
    """Positions that the constraint leaves open."""
    mean_entropy: float
    """Mean entropy of these positions, in nats."""
    log_z: float
    """Log of the probability that the model's own prediction meets the constraint: how hard the two disagree."""
    accepted: int
    """Positions whose token was kept on the canvas."""
    changed: tuple[int, ...]
    """Positions of the canvas where the most probable text is another than at the pass before; at first, all of it."""
    length: int
    """Positions of the canvas that the most probable text takes up, its end token included."""

    @property
    def settled(self) -> float:
        """Share of the text's positions that are as they were at the pass before."""
        return 1.0 - sum(position < self.length for position in self.changed) / max(self.length, 1)


@final
@dataclass(frozen=True)
class SlotText:
    """What stands in a slot of a finished text."""

    text: str
    value: Any
    """What the text stands for, as the slot's constraint reads it."""
    begin: int
    end: int
    """Where it stands, in characters of the text."""
    token_begin: int
    token_end: int
    """The tokens that spell it; the outer ones may spell more than it."""
    probabilities: Mapping[str, float] | None = None
    """Of every text that could stand here, under the last pass's posterior: exact for its factorised prediction.

    None where there are too many texts to list, where it was not asked for, and where no canvas decides: the boundary
    of two cuts the slot, or a text can be split in several ways. On a later canvas it is given the earlier ones."""
    slots: Mapping[str, "SlotText"] = field(default_factory=dict)
    """The slots of the template that fills this one, if one does."""

    def __str__(self) -> str:
        return self.text


@final
@dataclass(frozen=True)
class Stats:
    """What a text cost. In a batch the seconds are those of the whole batch while this text was unfinished."""

    passes: int
    tokens: int
    """Tokens of the text, its end token included."""
    seconds_model: float
    seconds_constraint: float
    log_z: tuple[float, ...]
    """Per pass, as in ``PassRecord``."""

    @property
    def tokens_per_pass(self) -> float:
        """How many tokens of the text one pass was worth on average."""
        return self.tokens / self.passes


@final
@dataclass(frozen=True)
class Answer:
    """One of several answers, and how probable each is."""

    text: str
    """The most probable answer."""
    value: Any
    """What it stands for."""
    probabilities: Mapping[str, float]
    """Of every answer, the most probable first; exact for the factorised prediction of the last pass."""

    def __str__(self) -> str:
        return self.text


@final
@dataclass(frozen=True)
class Generation:
    """A finished text.

    With a constraint the text is in its language and complete; without one it is whatever the
    model wrote within its tokens.
    """

    text: str
    value: Any
    """What the text stands for: the parsed JSON, an instance of the type asked for, or the text itself."""
    token_ids: tuple[int, ...]
    """The tokens of the text, without the end token."""
    probabilities: tuple[float, ...]
    """Of each token, its marginal probability under the last pass's posterior."""
    log_probability: float
    """Of the whole text under the posteriors of its canvases' last passes: exact for these passes' predictions."""
    stats: Stats
    trace: tuple[PassRecord, ...]
    warnings: tuple[str, ...] = ()
    """What the constraint accepts without enforcing."""
    slots: Mapping[str, SlotText] = field(default_factory=dict)
    """The slots of a template by name; of a name that stands in several places, the first."""
    joint: Mapping[tuple[str, ...], Mapping[tuple[str, ...], float]] = field(default_factory=dict)
    """For each combination of slots that was asked for, the joint probability of their texts."""

    def __str__(self) -> str:
        return self.text
