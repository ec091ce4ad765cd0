"""What a generation gives back."""

from dataclasses import dataclass
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

    def __str__(self) -> str:
        return self.text
