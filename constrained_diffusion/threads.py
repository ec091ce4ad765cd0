"""Threads for compiled kernels, which release the interpreter's lock: as many as torch is set to use."""

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TypeVar

import torch

Result = TypeVar("Result")


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=thread_count(), thread_name_prefix="constrained-diffusion")


if hasattr(os, "register_at_fork"):
    # A forked child inherits the pool without its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def thread_count() -> int:
    """How many threads torch is set to use."""
    return max(torch.get_num_threads(), 1)


def in_parallel(work: Callable[[int, int], Result], count: int) -> list[Result]:
    """Calls ``work(first, last)`` on parts of ``range(count)``, one per thread."""
    threads = max(1, min(thread_count(), count))
    bounds = [count * i // threads for i in range(threads + 1)]
    return run_all([partial(work, *part) for part in itertools.pairwise(bounds)])


def run_all(tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """Runs independent tasks and gives their results."""
    if thread_count() == 1 or len(tasks) == 1:
        return [task() for task in tasks]
    return [future.result() for future in [_pool().submit(task) for task in tasks]]
