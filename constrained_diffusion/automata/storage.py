"""Named arrays in a file: npz without pickle, written whole or not at all; and a folder of what was made before."""

import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import platformdirs

from constrained_diffusion.errors import ModelError

Made = TypeVar("Made")

_MOST_OF_A_KIND: Final = 64
"""Files of one kind that are kept; the oldest give way."""


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
        reason = getattr(error, "strerror", None)
        raise ModelError(f"{path} is damaged, or no file of this package{f': {reason}' if reason else ''}") from error
    met = str(arrays.pop("format", "no format"))
    if met != file_format:
        raise ModelError(f"{path} holds {met!r}, expected {file_format!r}; make it again with this version")
    return arrays


def cache_directory() -> Path:
    """Where things are kept between runs: ``$CONSTRAINED_DIFFUSION_CACHE``, or the platform's cache folder."""
    named = os.environ.get("CONSTRAINED_DIFFUSION_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("constrained_diffusion"))


def kept_on_disk(
    kind: str,
    key: str,
    make: Callable[[], Made],
    save: Callable[[Made, Path], None],
    load: Callable[[Path], Made],
    *,
    least_seconds: float = 0.0,
) -> Made:
    """What was kept in the cache under a key, else made anew, and kept if making it took so many seconds.

    A file that cannot be read is made anew; a cache that cannot be written to is done without.
    """
    path = cache_directory() / f"{kind}-{key}.npz"
    if path.exists():
        try:
            return load(path)
        except (ModelError, KeyError, TypeError, ValueError):
            path.unlink(missing_ok=True)
    begin = time.monotonic()
    made = make()
    if time.monotonic() - begin < least_seconds:
        return made
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(made, path)
        files = sorted(path.parent.glob(f"{kind}-*.npz"), key=lambda file: file.stat().st_mtime)
        for file in files[:-_MOST_OF_A_KIND]:
            file.unlink(missing_ok=True)
    except (OSError, ModelError):
        return made
    return made
