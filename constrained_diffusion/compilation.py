"""A line for whoever waits while the kernels are compiled, which numba does once and keeps on disk."""

import sys
from typing import Any, final

from numba.core import event

_MESSAGE = "constrained-diffusion: compiling the numerical kernels, which takes up to a minute and is kept on disk\n"


@final
class _Announcement(event.Listener):  # type: ignore[misc]  # numba has no types
    """Tells a terminal on standard error of the first compilation of a kernel of this package, and nobody else."""

    def __init__(self) -> None:
        self.is_made = False

    def on_start(self, compilation: Any) -> None:
        module = compilation.data["dispatcher"].py_func.__module__
        if self.is_made or module.partition(".")[0] != __package__:
            return
        self.is_made = True
        if sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.write(_MESSAGE)
            sys.stderr.flush()

    def on_end(self, compilation: Any) -> None:
        """Nothing: what was waited for comes by itself."""


def announce_compilation() -> None:
    """From now on a terminal is told when kernels are compiled."""
    event.register("numba:compile", _Announcement())
