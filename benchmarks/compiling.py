"""Claim: schema to token automaton takes 15 ms at the median and 300 ms at the 95th percentile, V = 131,072.

The vocabulary's lexicon takes at most 1 s to build and 50 ms to load. Times are wall time; each
is also given in units of one ``torch.log_softmax`` over [256, V] in the same run.
Run: ``python benchmarks/compiling.py`` (extra ``bench``); schemas of MaskBench are read where
``../shared/data`` has them, else schemas are made up.
"""

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from measuring import maskbench, percentile, record_schema, seconds
from rich.console import Console
from rich.progress import track
from rich.table import Table
from vocabularies import tekken

import constrained_diffusion as cd
from constrained_diffusion.automata.lexicon import Lexicon, lexicon_of


def main() -> None:
    vocabulary = tekken()
    unit = seconds(lambda: torch.log_softmax(torch.zeros(256, len(vocabulary)), dim=-1), repeats=5)
    rows: list[tuple[str, float, str]] = []
    rows.append(("lexicon built", seconds(lambda: Lexicon.of(vocabulary), repeats=3), "1 s"))
    lexicon = lexicon_of(vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lexicon.npz"
        lexicon.save(path)
        rows.append(("lexicon loaded", seconds(lambda: Lexicon.load(path), repeats=5), "50 ms"))
    schemas: list[Any] = [entry["schema"] for entry in maskbench()] or [record_schema(n) for n in range(1, 101)]
    times, refused, states = compile_all(schemas, vocabulary)
    for name, value, target in (
        ("schema to automaton, p50", percentile(times, 0.5), "15 ms"),
        ("schema to automaton, p95", percentile(times, 0.95), "300 ms"),
        ("schema to automaton, max", max(times), ""),
    ):
        rows.append((name, value, target))
    table = Table(title=f"compiling, V = {len(vocabulary):,}, {len(times)} of {len(schemas)} schemas")
    for column in ("what", "ms", "U", "target"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, value, target in rows:
        table.add_row(name, f"{value * 1e3:.1f}", f"{value / unit:.2f}", target)
    console = Console()
    console.print(table)
    console.print(
        f"states p50 {percentile(states, 0.5):.0f}, p95 {percentile(states, 0.95):.0f}, max {max(states):.0f}"
    )
    console.print("refused:", dict(refused.most_common()))


def compile_all(schemas: list[Any], vocabulary: cd.Vocabulary) -> tuple[list[float], Counter[str], list[float]]:
    """Seconds per compiled schema, what was refused and why, and the states of each automaton."""
    cd.compile(cd.json_schema(record_schema(3)), vocabulary)
    times: list[float] = []
    states: list[float] = []
    refused: Counter[str] = Counter()
    for schema in track(schemas, description="compiling"):
        start = time.perf_counter()
        try:
            automaton = cd.compile(cd.json_schema(schema), vocabulary)
        except cd.errors.UnsupportedConstraint as error:
            refused[error.construct] += 1
        except cd.errors.ConstrainedDiffusionError as error:
            refused[type(error).__name__] += 1
        else:
            times.append(time.perf_counter() - start)
            states.append(automaton.num_states)
    return times, refused, states


if __name__ == "__main__":
    main()
