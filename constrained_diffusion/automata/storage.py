"""Named arrays in a file: npz without pickle, written whole or not at all."""

import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from constrained_diffusion.errors import ModelError


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Writes the arrays; a file that was there before stays as it was until the new one is complete.

    Raises:
        ModelError: the folder is missing or cannot be written to.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_arrays(path: Path, file_format: str) -> dict[str, Any]:
    """The arrays of a file whose ``format`` is as given, without it.

    Raises:
        ModelError: there is no such file, or it is damaged or of another format.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays: dict[str, Any] = dict(archive)
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist") from error
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is damaged, or no file of this package: {error}") from error
    met = str(arrays.pop("format", "no format"))
    if met != file_format:
        raise ModelError(f"{path} holds {met!r}, expected {file_format!r}; make it again with this version")
    return arrays
