"""Plain torch twins of the streaming kernels, for any device and dtype.

They are the readable statement of what ``kernels.py`` computes, and what runs where numba does not.
"""

import torch
from torch import Tensor

from constrained_diffusion.inference.kernels import LEAST_LOG


def reduce_rows(logits: Tensor, scale: float, class_of: Tensor, num_classes: int) -> tuple[Tensor, ...]:
    """Reduces rows of logits [rows, V] to token classes; see ``kernels.reduce_rows``.

    Gives log_sum, log_max, class_top (float64 [rows, C]), best (int64 [rows, C]), entropy (float64
    [rows, C]) and row_norm (float64 [rows]).
    """
    values = logits.double()
    rows, width = logits.shape
    index = class_of.expand(rows, -1)
    top = values.new_full((rows, num_classes), -torch.inf).scatter_reduce(1, index, values, "amax")
    class_top = torch.where(top == -torch.inf, 0.0, top)
    shifted = (values - class_top.gather(1, index)) * scale
    weight = shifted.exp()
    mass = torch.zeros_like(top).scatter_add(1, index, weight)
    moment = torch.zeros_like(top).scatter_add(1, index, torch.where(weight > 0, weight * shifted, 0.0))
    entropy = torch.where(mass > 0, mass.log() - moment / mass, 0.0).clamp_min(0.0)
    relative = (top - top.amax(-1, keepdim=True)) * scale
    log_max = torch.where(top == -torch.inf, top, relative.clamp_min(LEAST_LOG))
    log_sum = log_max + mass.log()
    row_norm = log_sum.logsumexp(-1)
    token = torch.arange(width, device=logits.device).expand(rows, -1)
    is_best = (values == top.gather(1, index)) & (values > -torch.inf)
    best = torch.full_like(top, width, dtype=torch.long)
    best = best.scatter_reduce(1, index, torch.where(is_best, token, width), "amin")
    norm = row_norm[:, None]
    return log_sum - norm, log_max - norm, class_top, torch.where(best == width, -1, best), entropy, row_norm


def condition_rows(logits: Tensor, scale: float, class_of: Tensor, class_top: Tensor, log_factor: Tensor) -> Tensor:
    """``(logits - class_top[row, class]) * scale + log_factor[row, class]``, float32 [rows, V]."""
    return (logits.float() - class_top[:, class_of]).mul_(scale).add_(log_factor[:, class_of])


def draw_rows(logits: Tensor, scale: float, class_of: Tensor, wanted: Tensor, uniforms: Tensor) -> Tensor:
    """One token per row, int64 [rows], from class ``wanted[row]`` or, where that is -1, from the whole row."""
    is_wanted = (class_of[None, :] == wanted[:, None]) | (wanted < 0)[:, None]
    values = torch.where(is_wanted, logits.double(), -torch.inf)
    scaled = (values - values.amax(-1, keepdim=True)) * scale
    cumulated = scaled.softmax(-1).cumsum(-1)
    goals = uniforms[:, None] * cumulated[:, -1:]
    return torch.searchsorted(cumulated, goals, right=True).squeeze(-1).clamp_max(logits.shape[1] - 1)
