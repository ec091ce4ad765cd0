"""Claim: any JSON to any depth costs no more than two levels of it, and is decided as well, V = 131,072.

Schemas of MaskBench that allow any JSON or refer to themselves are compiled both with ``any_depth=2``, for a finite
automaton that is exact, and to any depth, where the best text is searched for and proved. Compared are the states that
inference runs on, a whole pass (that of ``one_pass.py``) in the same run, log Z, and the weight of the best text, which
can only be greater where deeper values are allowed.
Run: ``python benchmarks/any_depth.py`` (extra ``bench``), with ``../shared/data`` beside the repository; ``--every 1``
takes all schemas.
"""

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import torch
from measuring import maskbench, percentile, seconds
from one_pass import logits_of, whole_pass
from rich.console import Console
from rich.progress import track
from rich.table import Table
from vocabularies import tekken

import constrained_diffusion as cd

KINDS = ("peaked", "random")
SAME = 1e-6
"""Logarithms that differ by no more than this share are equal."""


@dataclass(frozen=True)
class Comparison:
    """One schema, one kind of logits: any depth against two levels."""

    states_ratio: float
    time_ratio: float
    is_certified: bool
    log_z_gain: float
    best_gain: float


def compared(schema: Any, vocabulary: cd.Vocabulary, kind: str, seed: int) -> Comparison | None:
    """None where the schema has no any JSON and does not refer to itself, or no text that fits."""
    try:
        bounded, deep = (cd.compile(cd.json_schema(schema, any_depth=depth), vocabulary) for depth in (2, None))
        if deep.exact is None:
            return None
        logits = logits_of(kind, len(vocabulary), seed)
        found = []
        for automaton in (bounded, deep):
            out, generator = torch.empty_like(logits), torch.Generator().manual_seed(0)
            taken = seconds(lambda: whole_pass(automaton, logits, out, generator), repeats=3)  # noqa: B023
            posterior = automaton.posterior(logits)
            best = weight_of(posterior.map(), logits, vocabulary)
            found.append((taken, float(posterior.log_z), best, bool(posterior.certified)))
    except (cd.errors.LimitExceeded, cd.errors.UnsupportedConstraint, cd.errors.InfeasibleError):
        return None
    (time, log_z, best, _), (deep_time, deep_log_z, deep_best, is_certified) = found
    return Comparison(
        deep.num_states / bounded.num_states,
        deep_time / time,
        is_certified,
        (deep_log_z - log_z) / abs(log_z),
        (deep_best - best) / abs(best),
    )


def weight_of(ids: torch.Tensor, logits: torch.Tensor, vocabulary: cd.Vocabulary) -> float:
    """Log of the model's probability of a text, its end token included."""
    end = next((i + 1 for i, token in enumerate(ids.tolist()) if token in vocabulary.end_ids), len(ids))
    return float(torch.log_softmax(logits[:end].double(), dim=-1).gather(1, ids[:end, None]).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=10, metavar="N", help="take every N-th schema of MaskBench")
    schemas = maskbench()[:: parser.parse_args().every]
    if not schemas:
        sys.exit("expected maskbench_dev.jsonl in ../shared/data")
    vocabulary = tekken()
    table = Table(title=f"any depth against two levels, V = {len(vocabulary):,}, {torch.get_num_threads()} threads")
    for column in ("logits", "schemas", "states", "pass", "certified", "best as good", "log Z equal", "log Z at most"):
        table.add_column(column, justify="left" if column == "logits" else "right")
    for kind in KINDS:
        rows = [
            row
            for seed, entry in enumerate(track(schemas, description=kind))
            if (row := compared(entry["schema"], vocabulary, kind, seed)) is not None
        ]
        shares = (
            sum(row.is_certified for row in rows),
            sum(row.best_gain >= -SAME for row in rows),
            sum(abs(row.log_z_gain) <= SAME for row in rows),
        )
        table.add_row(
            kind,
            str(len(rows)),
            f"x {percentile([row.states_ratio for row in rows], 0.5):.2f}",
            f"x {percentile([row.time_ratio for row in rows], 0.5):.2f}",
            *(f"{share / len(rows):.0%}" for share in shares),
            f"+ {max(row.log_z_gain for row in rows):.2%}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
