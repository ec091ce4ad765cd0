"""The gate: style, types, tests, doctests and every example. ``python tests/gate.py``, from the repository's root."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
STEPS = {
    "lint": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "."],
    "types": ["-m", "mypy"],
    "tests": ["-m", "pytest", "-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"],
}


def main() -> int:
    for name, command in STEPS.items():
        print(f"== {name}", flush=True)
        start = time.monotonic()
        code = subprocess.run([sys.executable, *command], cwd=ROOT).returncode
        print(f"== {name}: {'failed' if code else 'passed'} after {time.monotonic() - start:.0f} s", flush=True)
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
