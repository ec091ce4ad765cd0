"""What the command line tells of a run: exit codes, and lines on standard error."""

import sys
from typing import Final

SUCCESS, NO, BAD_REQUEST = 0, 1, 2
INTERRUPTED, CLOSED_PIPE = 130, 141
"""What a shell reports for a program that SIGINT or SIGPIPE has ended."""

_OPTION_NAMES: Final = {"pass lenient=True": "pass --lenient"} | {
    name: f"--{name.replace('_', '-')}" for name in ("max_new_tokens", "max_passes")
}
"""Arguments that messages speak of, as the command line has them."""
_ONLY_IN_PYTHON: Final = ", or pass limits="


def complain(message: str, code: int) -> int:
    """Says on one line why the command fails, and gives its exit code."""
    message = message.partition(_ONLY_IN_PYTHON)[0]
    for name, option in _OPTION_NAMES.items():
        message = message.replace(name, option)
    note("error", message)
    return code


def note(kind: str, message: str) -> None:
    """One line on standard error."""
    print(f"constrained-diffusion: {kind}: {' '.join(message.splitlines())}", file=sys.stderr)
