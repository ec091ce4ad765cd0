"""The decisions of the refinement loop, each a frozen policy with one method."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import final

import torch
from torch import Tensor

from constrained_diffusion.checking import instance_of, real_number, whole_number
from constrained_diffusion.errors import ModelError


class TemperatureSchedule(ABC):
    """What the logits are divided by at each pass."""

    @abstractmethod
    def at(self, passes_left: int, max_passes: int) -> float:
        """The temperature with ``passes_left`` passes to go, this one included."""


@final
@dataclass(frozen=True)
class LinearTemperature(TemperatureSchedule):
    """Falls from near ``highest`` at the first pass to near ``lowest`` at the last; DiffusionGemma's own schedule."""

    highest: float = 0.8
    lowest: float = 0.4

    def __post_init__(self) -> None:
        for name in ("lowest", "highest"):
            real_number(getattr(self, name), f"the {name} temperature", ModelError, least=1e-6, most=1e6)
        if self.lowest > self.highest:
            raise ModelError(f"temperatures fall from {self.highest} to {self.lowest}; expected lowest <= highest")

    def at(self, passes_left: int, max_passes: int) -> float:
        return self.lowest + (self.highest - self.lowest) * (passes_left / max_passes)


@final
@dataclass(frozen=True)
class ConstantTemperature(TemperatureSchedule):
    """The same temperature at every pass."""

    temperature: float = 1.0

    def __post_init__(self) -> None:
        real_number(self.temperature, "temperature", ModelError, least=1e-6, most=1e6)

    def at(self, passes_left: int, max_passes: int) -> float:
        return self.temperature


class Acceptance(ABC):
    """Which proposed tokens stay on the canvas."""

    @abstractmethod
    def accept(self, entropy: Tensor) -> Tensor:
        """bool [B, L] from the entropy of each position, [B, L] in nats."""


@final
@dataclass(frozen=True)
class EntropyBound(Acceptance):
    """Accepts the most certain positions as long as the entropy of those before stays within ``bound`` nats.

    The sum bounds the joint mutual information of the accepted tokens (arXiv:2505.24857).
    """

    bound: float = 0.1

    def __post_init__(self) -> None:
        real_number(self.bound, "the entropy bound in nats", ModelError, least=0, most=float("inf"))

    def accept(self, entropy: Tensor) -> Tensor:
        ordered, order = torch.sort(entropy, dim=-1)
        is_within = torch.cumsum(ordered, dim=-1) - ordered <= self.bound
        return torch.zeros_like(is_within).scatter(-1, order, is_within)


class Stopping(ABC):
    """When a canvas needs no further pass."""

    @abstractmethod
    def is_settled(self, unchanged_passes: int, canvas_entropy: float, open_entropy: float) -> bool:
        """Whether to stop, given how many passes the best canvas has stayed as it is.

        ``open_entropy`` is the mean over the positions that the constraint leaves open, in nats, and
        ``canvas_entropy`` the same doubt spread over the whole canvas.
        """


@final
@dataclass(frozen=True)
class StableAndConfident(Stopping):
    """Stops once the best canvas has not changed for some passes and its tokens are certain.

    ``max_entropy`` is DiffusionGemma's own bound, on the mean over the canvas. Where nearly every position is forced
    that mean is small whatever the others are: ``max_open_entropy`` bounds their own. Without a constraint
    all positions are open and the first bound decides.
    """

    unchanged_passes: int = 1
    max_entropy: float = 0.005
    max_open_entropy: float = 0.02

    def __post_init__(self) -> None:
        whole_number(self.unchanged_passes, "unchanged_passes", ModelError, least=0)
        for name in ("max_entropy", "max_open_entropy"):
            real_number(getattr(self, name), f"{name} in nats", ModelError, least=0, most=float("inf"))

    def is_settled(self, unchanged_passes: int, canvas_entropy: float, open_entropy: float) -> bool:
        is_certain = canvas_entropy < self.max_entropy and open_entropy < self.max_open_entropy
        return unchanged_passes >= self.unchanged_passes and is_certain


@final
@dataclass(frozen=True)
class NeverStop(Stopping):
    """Runs every pass."""

    def is_settled(self, unchanged_passes: int, canvas_entropy: float, open_entropy: float) -> bool:
        return False


@final
class Feedback(StrEnum):
    """What a pass hands to the next one: the self-conditioning, and how certain a position must look to be kept.

    The marginals of a factorised prediction overstate certainty where positions depend on each other:
    each leans a little to the text that is a token shorter, and together they are sure of it. Kept on the
    canvas and fed back, the mistake stays. The prediction, cut down to the allowed tokens, knows all that
    the constraint rules out and is as unsure as the model.
    """

    PREDICTION = "prediction"
    """The model's own probabilities of the tokens that some valid text has there."""
    MARGINALS = "marginals"
    """The posterior probabilities."""


@final
@dataclass(frozen=True)
class Process:
    """How a canvas is refined; the defaults are DiffusionGemma's.

    Attributes:
        max_passes: refinement passes over one canvas at most.
        temperature: what the logits are divided by at each pass.
        acceptance: which proposed tokens stay on the canvas that the next pass reads.
        stopping: when a canvas needs no further pass.
        feedback: what a pass hands to the next one.
    """

    max_passes: int = 48
    temperature: TemperatureSchedule = LinearTemperature()
    acceptance: Acceptance = EntropyBound()
    stopping: Stopping = StableAndConfident()
    feedback: Feedback = Feedback.PREDICTION

    def __post_init__(self) -> None:
        for name, kind in (("temperature", TemperatureSchedule), ("acceptance", Acceptance), ("stopping", Stopping)):
            instance_of(getattr(self, name), kind, name, ModelError)
        if self.feedback not in list(Feedback):
            raise ModelError(f"met feedback {self.feedback!r}; expected one of {[str(one) for one in Feedback]}")
        whole_number(self.max_passes, "max_passes", ModelError, least=1)
