"""Finding a model by name."""

from pathlib import Path
from typing import Any

import torch

from constrained_diffusion.errors import ModelError
from constrained_diffusion.models.denoiser import Denoiser
from constrained_diffusion.models.diffusion_gemma import load_diffusion_gemma
from constrained_diffusion.models.tiny import CHECKPOINT

BUNDLED = "tiny"


def load_denoiser(
    name_or_path: str | Path = BUNDLED,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    device_map: Any = None,
) -> Denoiser:
    """The bundled model, or a DiffusionGemma checkpoint from a folder or the hub.

    Raises:
        ModelError: it cannot be loaded.
    """
    if not isinstance(name_or_path, str | Path) or not str(name_or_path):
        raise ModelError(f"met {name_or_path!r}, expected the name of a model or the path of a folder")
    if str(name_or_path) != BUNDLED:
        return load_diffusion_gemma(name_or_path, device=device, dtype=dtype, device_map=device_map)
    if not (CHECKPOINT / "config.json").exists():
        raise ModelError(f"the bundled model is missing from {CHECKPOINT}; reinstall the package")
    return load_diffusion_gemma(CHECKPOINT, device=device, dtype=dtype or torch.float32, device_map=device_map)
