"""What the benchmarks share: timing, and schemas to measure on."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHARED = Path(__file__).parents[2] / "shared" / "data"


def seconds(work: Callable[[], object], *, repeats: int = 9) -> float:
    """The median time of a call, after one call that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of all lie."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def maskbench() -> list[dict[str, Any]]:
    """The schemas of ``maskbench_dev.jsonl`` beside the repository, or none."""
    path = SHARED / "maskbench_dev.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def record_schema(fields: int) -> dict[str, Any]:
    """A closed object of ``fields`` members of all simple kinds; its automaton grows with them."""
    kinds: list[dict[str, Any]] = [
        {"type": "string"},
        {"type": "integer", "minimum": 0},
        {"enum": ["pending", "shipped", "delivered"]},
        {"type": "boolean"},
        {"type": "array", "items": {"type": "string"}, "maxItems": 4},
        {"type": "string", "maxLength": 12},
    ]
    properties = {f"field_{i}": kinds[i % len(kinds)] for i in range(fields)}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties)[:3],
        "additionalProperties": False,
    }
