"""What a generation gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from rich.table import Table

from constrained_diffusion.diffusion.picture import picture


@final
@dataclass(frozen=True)
class PassRecord:
    """One refinement pass over one text's canvas.

    Attributes:
        canvas: number of the canvas, from 0.
        number: number of the pass on this canvas, from 1.
        text: the most probable text so far; behind unfinished canvases it may end anywhere.
        undetermined: positions that the constraint leaves open.
        mean_entropy: mean entropy of these positions, in nats.
        log_z: log of the probability that the model's own prediction meets the constraint: how hard the two disagree.
        accepted: positions whose token was kept on the canvas.
        changed: positions of the canvas where the most probable text is another than at the pass before; at first,
            all of it.
        length: positions of the canvas that the most probable text takes up, its end token included.
        pieces: what each of these positions spells, the end token left out; half a character is shown as U+FFFD.
    """

    canvas: int
    number: int
    text: str
    undetermined: int
    mean_entropy: float
    log_z: float
    accepted: int
    changed: tuple[int, ...] = field(repr=False)
    length: int
    pieces: tuple[str, ...] = field(repr=False)

    @property
    def settled(self) -> float:
        """Share of the text's positions that are as they were at the pass before."""
        return 1.0 - sum(position < self.length for position in self.changed) / max(self.length, 1)


@final
@dataclass(frozen=True)
class SlotText:
    """What stands in a slot of a finished text.

    Attributes:
        text: the text.
        value: what it stands for, as the slot's constraint reads it.
        begin, end: where it stands, in characters of the whole text.
        token_begin, token_end: the tokens that spell it; the outer ones may spell more than it.
        probabilities: of every text that could stand here, the most probable first, under the last pass's posterior:
            exact for its factorised prediction; on a later canvas given the earlier ones, and where the end of a canvas
            could cut the slot given that the text ends on it, as it does. None if there are none, which ``unlisted``
            explains.
        unlisted: why there are no probabilities, for a reader; empty if there are.
        slots: the slots of the template that fills this one, if one does.
    """

    text: str
    value: Any
    begin: int
    end: int
    token_begin: int
    token_end: int
    probabilities: Mapping[str, float] | None = None
    unlisted: str = ""
    slots: Mapping[str, "SlotText"] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


@final
@dataclass(frozen=True)
class Stats:
    """What a text cost. In a batch the seconds are those of the whole batch while this text was unfinished.

    Attributes:
        passes: refinement passes, over all canvases.
        tokens: tokens of the text, its end token included.
        seconds_model: spent in the model.
        seconds_constraint: spent in inference under the constraint and in the loop.
        log_z: per pass, as in ``PassRecord``.
    """

    passes: int
    tokens: int
    seconds_model: float
    seconds_constraint: float
    log_z: tuple[float, ...] = field(repr=False)

    @property
    def tokens_per_pass(self) -> float:
        """How many tokens of the text one pass was worth on average."""
        return self.tokens / self.passes


@final
@dataclass(frozen=True)
class Answer:
    """One of several answers, and how probable each is.

    Attributes:
        text: the most probable answer.
        value: what it stands for.
        probabilities: of every answer, the most probable first; exact for the factorised prediction of the last pass.
    """

    text: str
    value: Any
    probabilities: Mapping[str, float]

    def __str__(self) -> str:
        return self.text


@final
@dataclass(frozen=True)
class Generation:
    """A finished text.

    With a constraint the text is in its language and complete; without one it is whatever the
    model wrote within its tokens. Its ``repr`` leaves out what is long.

    Attributes:
        text: the text.
        value: what it stands for: the parsed JSON, an instance of the type asked for, or the text itself.
        token_ids: its tokens, without the end token.
        probabilities: of each token, its marginal probability under the last pass's posterior.
        log_probability: of the whole text under the posteriors of its canvases' last passes: exact for these passes'
            predictions.
        stats: what it cost.
        trace: every pass, in order.
        warnings: what the constraint accepts without enforcing.
        slots: the slots of a template by name; of a name that stands in several places, the first.
        joint: for each combination of slots that was asked for, the joint probability of their texts, the most
            probable first.
    """

    text: str
    value: Any
    token_ids: tuple[int, ...] = field(repr=False)
    probabilities: tuple[float, ...] = field(repr=False)
    log_probability: float
    stats: Stats
    trace: tuple[PassRecord, ...] = field(repr=False)
    warnings: tuple[str, ...] = ()
    slots: Mapping[str, SlotText] = field(default_factory=dict, repr=False)
    joint: Mapping[tuple[str, ...], Mapping[tuple[str, ...], float]] = field(default_factory=dict, repr=False)

    def picture(self) -> Table:
        """How the text settled, a line per pass, for ``rich.print`` or a ``rich.console.Console``.

        Green is a token that no later pass changes, red one that this pass has changed and a later one changes again,
        yellow one that this pass has left alone and a later one changes.
        """
        return picture(self.trace)

    def __str__(self) -> str:
        return self.text
