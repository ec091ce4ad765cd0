"""Denoisers without a model, for tests and for trying out constraints."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from constrained_diffusion.automata.vocabulary import Vocabulary
from constrained_diffusion.checking import elements, instance_of, whole_number
from constrained_diffusion.errors import ModelError
from constrained_diffusion.models.denoiser import Denoiser, Noise, UniformNoise
from constrained_diffusion.models.prompting import PlainPrompt


@final
class RandomDenoiser(Denoiser):
    """Logits from a normal distribution with standard deviation ``scale``, new at every pass."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        canvas_length: int = 256,
        seed: int = 0,
        scale: float = 3.0,
        noise: Noise | None = None,
    ) -> None:
        instance_of(vocabulary, Vocabulary, "vocabulary", ModelError)
        self.vocabulary = vocabulary
        self.canvas_length = whole_number(canvas_length, "canvas_length", ModelError, least=1)
        self.width = len(vocabulary)
        self.noise = noise or UniformNoise(self.width)
        self.prompt_format = PlainPrompt()
        self.device = torch.device("cpu")
        self.scale = scale
        self._generator = torch.Generator().manual_seed(seed)

    def prompt_ids(self, prompt: str) -> list[int]:
        """Empty: what these models are asked makes no difference."""
        return []

    def encode(self, prompts: Sequence[Sequence[int]]) -> int:
        return len(prompts)

    def logits(self, context: int, canvas: Tensor, self_conditioning: Tensor | None) -> Tensor:
        return torch.randn((*canvas.shape, self.width), generator=self._generator) * self.scale

    def commit(self, context: int, canvas: Tensor) -> int:
        return context


@final
class ScriptedDenoiser(Denoiser):
    """Plays back logits [B, L, V], one tensor a pass; the last one again when they run out.

    Attributes:
        canvases: every canvas that was shown, in order.
        conditionings: the self-conditioning that came with it.
        committed: every canvas that was committed.
    """

    def __init__(self, vocabulary: Vocabulary, script: Sequence[Tensor], *, noise: Noise | None = None) -> None:
        instance_of(vocabulary, Vocabulary, "vocabulary", ModelError)
        expected = "a list of at least one tensor of logits [B, L, V]"
        self.script: list[Tensor] = elements(script, "script", expected, ModelError)
        if not self.script or any(not isinstance(one, Tensor) or one.ndim != 3 for one in self.script):
            raise ModelError(f"script is {script!r:.60}; expected {expected}")
        self.vocabulary = vocabulary
        _, self.canvas_length, self.width = self.script[0].shape
        self.noise = noise or UniformNoise(self.width)
        self.prompt_format = PlainPrompt()
        self.device = self.script[0].device
        self.canvases: list[Tensor] = []
        self.conditionings: list[Tensor | None] = []
        self.committed: list[Tensor] = []

    def prompt_ids(self, prompt: str) -> list[int]:
        """Empty: what these models are asked makes no difference."""
        return []

    def encode(self, prompts: Sequence[Sequence[int]]) -> int:
        return len(prompts)

    def logits(self, context: int, canvas: Tensor, self_conditioning: Tensor | None) -> Tensor:
        played = min(len(self.canvases), len(self.script) - 1)
        self.canvases.append(canvas.clone())
        self.conditionings.append(None if self_conditioning is None else self_conditioning.clone())
        return self.script[played]

    def commit(self, context: int, canvas: Tensor) -> int:
        self.committed.append(canvas.clone())
        return context
