"""The tokens of a vocabulary as a flattened prefix tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import token_kernels


@final
@dataclass(frozen=True, eq=False)
class Trie:
    """A prefix tree in depth-first order, so that a walk is a loop and a dead branch is a jump.

    Attributes:
        byte: uint8 [nodes], the byte on the edge into the node.
        depth: int32 [nodes], at least 1.
        end: int32 [nodes], the first node behind the subtree.
        string: int32 [nodes], the number of the string that ends here, or -1.
    """

    byte: NDArray[np.uint8]
    depth: NDArray[np.int32]
    end: NDArray[np.int32]
    string: NDArray[np.int32]

    @classmethod
    def of(cls, strings: Sequence[bytes]) -> Self:
        """The tree of different, non-empty strings; strings keep their number."""
        if not strings:
            nothing = np.empty(0, np.int32)
            return cls(np.empty(0, np.uint8), nothing, nothing, nothing)
        order = sorted(range(len(strings)), key=strings.__getitem__)
        lengths = np.fromiter((len(strings[i]) for i in order), np.int64, len(order))
        buffer = np.frombuffer(b"".join(strings[i] for i in order), np.uint8)
        begins = np.concatenate([[0], np.cumsum(lengths)])
        return cls(*token_kernels.flatten(buffer, begins, np.array(order, np.int32)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The fields by name, for saving."""
        return {"byte": self.byte, "depth": self.depth, "end": self.end, "string": self.string}

    @property
    def max_depth(self) -> int:
        return int(self.depth.max(initial=0))
