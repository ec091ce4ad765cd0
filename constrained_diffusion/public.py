"""Every public name, in one place; ``constrained_diffusion`` passes them on."""

from pathlib import Path
from typing import Any

import torch

from constrained_diffusion import errors
from constrained_diffusion.automata.token_automaton import TokenAutomaton
from constrained_diffusion.automata.token_automaton import compile_constraint as compile
from constrained_diffusion.automata.vocabulary import Vocabulary
from constrained_diffusion.constraints.base import Constraint
from constrained_diffusion.constraints.choice import choice, literal, special
from constrained_diffusion.constraints.free_text import tagged, text
from constrained_diffusion.constraints.grammar import grammar
from constrained_diffusion.constraints.json_schema import json_schema
from constrained_diffusion.constraints.regex import regex
from constrained_diffusion.constraints.template import template
from constrained_diffusion.constraints.tools import Call, tools
from constrained_diffusion.diffusion.generation import Answer, Generation, PassRecord, SlotText, Stats
from constrained_diffusion.diffusion.generator import Generator
from constrained_diffusion.diffusion.logits_processor import LogitsProcessor
from constrained_diffusion.diffusion.policies import (
    Acceptance,
    ConstantTemperature,
    EntropyBound,
    Feedback,
    LinearTemperature,
    NeverStop,
    Process,
    StableAndConfident,
    Stopping,
    TemperatureSchedule,
)
from constrained_diffusion.inference.posterior import CanvasPosterior
from constrained_diffusion.limits import Limits
from constrained_diffusion.models.denoiser import Denoiser, MaskNoise, Noise, UniformNoise
from constrained_diffusion.models.diffusion_gemma import DiffusionGemmaDenoiser
from constrained_diffusion.models.loading import load_denoiser
from constrained_diffusion.models.stand_ins import RandomDenoiser, ScriptedDenoiser


def load(
    name_or_path: str | Path = "tiny",
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    device_map: Any = None,
) -> Generator:
    """A generator over the bundled model, or over a DiffusionGemma checkpoint.

    Args:
        name_or_path: ``"tiny"`` for the bundled model, else a folder or a name on the hub, such as
            ``"google/diffusiongemma-26B-A4B-it"``.
        device: where the whole model goes, for example ``"cuda"``.
        dtype: of the weights; None is the checkpoint's own.
        device_map: as in transformers' ``from_pretrained``, to spread a large model.

    Raises:
        ModelError: there is no such checkpoint, or it is not a DiffusionGemma.
    """
    return Generator(load_denoiser(name_or_path, device=device, dtype=dtype, device_map=device_map))


__all__ = [
    "Acceptance",
    "Answer",
    "Call",
    "CanvasPosterior",
    "ConstantTemperature",
    "Constraint",
    "Denoiser",
    "DiffusionGemmaDenoiser",
    "EntropyBound",
    "Feedback",
    "Generation",
    "Generator",
    "Limits",
    "LinearTemperature",
    "LogitsProcessor",
    "MaskNoise",
    "NeverStop",
    "Noise",
    "PassRecord",
    "Process",
    "RandomDenoiser",
    "ScriptedDenoiser",
    "SlotText",
    "StableAndConfident",
    "Stats",
    "Stopping",
    "TemperatureSchedule",
    "TokenAutomaton",
    "UniformNoise",
    "Vocabulary",
    "choice",
    "compile",
    "errors",
    "grammar",
    "json_schema",
    "literal",
    "load",
    "regex",
    "special",
    "tagged",
    "template",
    "text",
    "tools",
]
