"""The seam between the refinement loop and a model."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from constrained_diffusion.automata.vocabulary import Vocabulary
from constrained_diffusion.models.prompting import PromptFormat

Prompt = str | Sequence[Mapping[str, Any]]
"""A text, or the messages of a chat."""


class Noise(ABC):
    """What stands on the canvas where nothing is decided."""

    @abstractmethod
    def fill(self, shape: tuple[int, int], generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Token ids, int64 of the shape."""


@final
@dataclass(frozen=True)
class UniformNoise(Noise):
    """Uniformly random tokens out of ``size``: DiffusionGemma."""

    size: int

    def fill(self, shape: tuple[int, int], generator: torch.Generator | None, device: torch.device) -> Tensor:
        return torch.randint(0, self.size, shape, generator=generator, device=device)


@final
@dataclass(frozen=True)
class MaskNoise(Noise):
    """The mask token everywhere: LLaDA, Dream, masked language models."""

    mask_id: int

    def fill(self, shape: tuple[int, int], generator: torch.Generator | None, device: torch.device) -> Tensor:
        return torch.full(shape, self.mask_id, device=device)


class Denoiser(ABC):
    """A model that predicts all tokens of a canvas at once. Knows nothing of constraints.

    Attributes:
        vocabulary: the bytes of its tokens.
        canvas_length: L, positions of a canvas.
        width: V, columns of its logits; may exceed the vocabulary.
        noise: what stands at undecided positions.
        prompt_format: how a request becomes the text of a prompt.
        device: where canvases live.
    """

    vocabulary: Vocabulary
    canvas_length: int
    width: int
    noise: Noise
    prompt_format: PromptFormat
    device: torch.device

    def __repr__(self) -> str:
        size = f"{len(self.vocabulary):,} tokens, canvases of {self.canvas_length}"
        return f"<{type(self).__name__}: {size}, on {self.device}>"

    @abstractmethod
    def prompt_ids(self, prompt: str) -> list[int]:
        """The token ids of a formatted prompt, with whatever the model wants in front of it."""

    def text_ids(self, text: str) -> list[int]:
        """Token ids that spell the text, as the model would write it.

        Raises:
            ModelError: the vocabulary cannot spell it.
        """
        return self.vocabulary.encode(text.encode())

    @abstractmethod
    def encode(self, prompts: Sequence[Sequence[int]]) -> Any:
        """Reads the ids of prompts and gives the context that the other methods take.

        Raises:
            ModelError: a prompt is too long for the model.
        """

    @abstractmethod
    def logits(self, context: Any, canvas: Tensor, self_conditioning: Tensor | None) -> Tensor:
        """Logits [B, L, V] of the clean tokens for noisy canvases, int64 [B, L].

        ``self_conditioning`` [B, L, V] are the logits that the pass before ended with, None at the first.
        """

    @abstractmethod
    def commit(self, context: Any, canvas: Tensor) -> Any:
        """The context with finished canvases, int64 [B, L], behind what it held. ``context`` must not be used again."""
