"""The logits of canvases, reduced to token classes and written back: the only code that touches [L, V]."""

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from constrained_diffusion.inference import kernels, reference
from constrained_diffusion.threads import in_parallel

_SMALL: Final = np.iinfo(np.uint16).max


@final
@dataclass(frozen=True, eq=False)
class ClassTable:
    """What inference needs to know of the rows: log probabilities by token class.

    Attributes:
        log_sum, log_max: float64 [rows, C], total and greatest log probability within the class.
        class_top: float32 [rows, C], the class's greatest logit, 0 where it has none.
        best: int [rows, C], the token of the greatest, or -1.
        entropy: float64 [rows, C], of the distribution within the class, in nats.
        row_norm: float64 [rows], logsumexp of the scaled logits less the greatest.
    """

    log_sum: NDArray[np.float64]
    log_max: NDArray[np.float64]
    class_top: NDArray[np.float32]
    best: NDArray[np.int32]
    entropy: NDArray[np.float64]
    row_norm: NDArray[np.float64]


def runs_compiled(device: torch.device) -> bool:
    """Whether rows on a device go through the compiled kernels; elsewhere plain torch reads them where they are."""
    return device.type == "cpu"


@final
@dataclass(frozen=True, eq=False)
class TokenClasses:
    """Which class each token belongs to, and which tokens each class holds.

    Attributes:
        of_token: [V], in the smallest fitting dtype, since every pass streams it.
        begin, tokens: int64 [C + 1] and int32 [V], the tokens grouped by class.
    """

    of_token: NDArray[Any]
    begin: NDArray[np.int64]
    tokens: NDArray[np.int32]

    @classmethod
    def of(cls, class_of_token: NDArray[np.int32], num_classes: int) -> "TokenClasses":
        sizes = np.bincount(class_of_token, minlength=num_classes)
        return cls(
            of_token=class_of_token.astype(np.uint16 if num_classes <= _SMALL else np.int32),
            begin=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            tokens=np.argsort(class_of_token, kind="stable").astype(np.int32),
        )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Tokens of each class, int64 [C]."""
        return np.diff(self.begin)


@final
class Rows:
    """Rows of logits [rows, V] under a temperature, on any device.

    Compiled kernels read them as float32, plain torch as they are.
    """

    def __init__(self, logits: Tensor, temperature: float, classes: TokenClasses) -> None:
        self.scale = float(np.float32(1.0 / temperature))
        self.is_compiled = runs_compiled(logits.device)
        self.logits = logits.detach().float().contiguous() if self.is_compiled else logits.detach()
        self.classes = classes

    @property
    def num_classes(self) -> int:
        return len(self.classes.begin) - 1

    def _on_device(self) -> Tensor:
        return torch.as_tensor(self.classes.of_token.astype(np.int64), device=self.logits.device)

    def reduce(self) -> ClassTable:
        """The log probabilities of the token classes of each row."""
        if not self.is_compiled:
            parts = reference.reduce_rows(self.logits, self.scale, self._on_device(), self.num_classes)
            log_sum, log_max, top, best, entropy, row_norm = (part.cpu().numpy() for part in parts)
            return ClassTable(log_sum, log_max, top.astype(np.float32), best.astype(np.int32), entropy, row_norm)
        rows = len(self.logits)
        shape = (rows, self.num_classes)
        table = ClassTable(
            log_sum=np.empty(shape),
            log_max=np.empty(shape),
            class_top=np.empty(shape, np.float32),
            best=np.empty(shape, np.int32),
            entropy=np.empty(shape),
            row_norm=np.empty(rows),
        )
        values, scale = self.logits.numpy(), np.float32(self.scale)

        def work(first: int, last: int) -> None:
            kernels.reduce_rows(
                values,
                scale,
                self.classes.of_token,
                first,
                last,
                table.log_sum,
                table.log_max,
                table.class_top,
                table.best,
                table.entropy,
                table.row_norm,
            )

        in_parallel(work, rows)
        return table

    def condition(self, table: ClassTable, log_factor: NDArray[np.float64], out: Tensor | None = None) -> Tensor:
        """The log probability of each token times its class's factor, float32 [rows, V], into ``out`` if given."""
        finite = np.where(table.log_max > -np.inf, table.log_max, 0.0)
        factor = (finite + log_factor).astype(np.float32)
        if not self.is_compiled:
            place = self.logits.device
            result = reference.condition_rows(
                self.logits,
                self.scale,
                self._on_device(),
                torch.as_tensor(table.class_top, device=place),
                torch.as_tensor(factor, device=place),
            )
            return result if out is None else out.copy_(result)
        target = torch.empty_like(self.logits) if out is None else out
        values, written, scale = self.logits.numpy(), target.numpy(), np.float32(self.scale)
        top, class_of = table.class_top, self.classes.of_token
        in_parallel(
            lambda first, last: kernels.condition_rows(values, scale, class_of, first, last, top, factor, written),
            len(values),
        )
        return target

    def draw(self, table: ClassTable, wanted: NDArray[np.int32], uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """One token per row, from class ``wanted[row]`` or, where that is -1, from the whole row."""
        if not self.is_compiled:
            place = self.logits.device
            drawn = reference.draw_rows(
                self.logits,
                self.scale,
                self._on_device(),
                torch.as_tensor(wanted, device=place),
                torch.as_tensor(uniforms, device=place),
            )
            return np.asarray(drawn.cpu().numpy(), np.int64)
        out = np.empty(len(wanted), np.int64)
        values, scale, classes = self.logits.numpy(), np.float32(self.scale), self.classes

        def work(first: int, last: int) -> None:
            kernels.draw_rows(
                values,
                scale,
                classes.begin,
                classes.tokens,
                first,
                last,
                wanted,
                table.log_sum,
                table.log_max,
                table.best,
                uniforms,
                out,
            )

        in_parallel(work, len(values))
        return out

    def best_of_class(
        self, table: ClassTable, row: int, c: int, k: int, *, pin: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The k best tokens of a class in a row, and how far each is below the best, in nats; a pin stands alone."""
        if pin >= 0:
            return np.array([pin]), np.zeros(1)
        members = self.classes.tokens[self.classes.begin[c] : self.classes.begin[c + 1]].astype(np.int64)
        values = self.logits[row][torch.as_tensor(members, device=self.logits.device)].double().cpu().numpy()
        order = np.argsort(-values, kind="stable")[:k]
        below = (float(table.class_top[row, c]) - values[order]) * self.scale
        return members[order][below < np.inf], below[below < np.inf]

    def log_probabilities(
        self, table: ClassTable, rows: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The log probability of one token in each of some rows."""
        picked = self.logits[torch.as_tensor(rows), torch.as_tensor(tokens)].double().cpu().numpy()
        classes = self.classes.of_token[tokens].astype(np.int64)
        relative = (picked - table.class_top[rows, classes]) * self.scale
        return np.asarray(relative + table.log_max[rows, classes], np.float64)
