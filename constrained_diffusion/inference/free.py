"""The posterior without a constraint: the model's own prediction, position by position."""

from typing import final

import torch
from torch import Tensor

from constrained_diffusion.errors import ModelError


@final
class FreePosterior:
    """Independent draws and entropies as the stock sampler of DiffusionGemma computes them.

    Stands in for ``CanvasPosterior`` where nothing is constrained; logits [B, L, V].

    Raises:
        ModelError: a row has NaN, +inf or no finite logit.
    """

    def __init__(self, logits: Tensor, temperature: float) -> None:
        self._scaled = logits / temperature
        is_bad = ~torch.isfinite(self._scaled.logsumexp(-1))
        if is_bad.any():
            row, position = torch.nonzero(is_bad)[0].tolist()
            raise ModelError(
                f"the logits hold NaN, +inf or only -inf at position {position} of canvas {row}; expected finite "
                f"values or -inf, at least one of them finite"
            )
        self._distribution = torch.distributions.Categorical(logits=self._scaled, validate_args=False)

    @property
    def log_z(self) -> Tensor:
        """Zero: every canvas is allowed; [B]."""
        return torch.zeros(len(self._scaled), dtype=torch.float64)

    def map(self) -> Tensor:
        """The most probable token of each position, int64 [B, L]."""
        return torch.argmax(self._scaled, dim=-1)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """An independent draw at each position, int64 [B, L]."""
        probabilities = torch.softmax(self._scaled, dim=-1, dtype=torch.float32)
        flat = probabilities.view(-1, probabilities.shape[-1])
        return torch.multinomial(flat, 1, generator=generator).view(self._scaled.shape[:-1])

    def log_marginals(self, out: Tensor | None = None) -> Tensor:
        """The scaled logits, up to a constant the log probabilities, [B, L, V]."""
        return self._scaled if out is None else out.copy_(self._scaled)

    def log_marginals_of(self, ids: Tensor) -> Tensor:
        """Log probability of one token at each position, [B, L]."""
        return torch.as_tensor(self._distribution.log_prob(ids)).double()  # type: ignore[no-untyped-call]

    def log_predictions(self, out: Tensor | None = None) -> Tensor:
        """The same as ``log_marginals``: nothing is excluded."""
        return self.log_marginals(out)

    def predictive_entropy(self) -> Tensor:
        """The same as ``entropy``."""
        return self.entropy()

    def entropy(self) -> Tensor:
        """[B, L], in nats."""
        return torch.as_tensor(self._distribution.entropy())  # type: ignore[no-untyped-call]

    def undetermined(self) -> Tensor:
        """Every position; bool [B, L]."""
        return torch.ones(self._scaled.shape[:-1], dtype=torch.bool, device=self._scaled.device)

    def log_prob(self, ids: Tensor) -> Tensor:
        """Log probability of the whole canvas [B, L]; [B]."""
        return self.log_marginals_of(ids).sum(-1)
