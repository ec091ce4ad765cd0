"""Claim: a whole constrained pass on the CPU costs at most 2 U (4 U with 5,000 states), V = 131,072.

U is one ``torch.log_softmax`` over the same float32 logits [256, V] with the same threads. The pass is what the
refinement loop asks for: log Z, a joint sample, the MAP, both entropies, the open positions and the conditioned logits.
Run: ``python benchmarks/one_pass.py`` (extra ``bench``).
"""

import argparse
from typing import Any

import torch
from measuring import record_schema, seconds
from rich.console import Console
from rich.table import Table
from vocabularies import tekken

import constrained_diffusion as cd

LENGTH = 256
SCHEMAS = {"median schema": (4, 2.0), "large schema": (20, None), "5,000 states": (61, 4.0)}
"""Number of fields, and the target in U."""


def logits_of(kind: str, width: int, seed: int = 0) -> torch.Tensor:
    """Random logits, or the same with one favourite per position, as a trained model has."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(LENGTH, width, generator=generator) * 3
    if kind == "peaked":
        favourites = torch.randint(0, width, (LENGTH, 1), generator=generator)
        logits.scatter_(1, favourites, 30.0)
    return logits


def whole_pass(
    automaton: cd.TokenAutomaton, logits: torch.Tensor, out: torch.Tensor, generator: torch.Generator
) -> Any:
    posterior = automaton.posterior(logits)
    return (
        posterior.log_z,
        posterior.sample(generator),
        posterior.map(),
        posterior.entropy(),
        posterior.predictive_entropy(),
        posterior.undetermined(),
        posterior.log_predictions(out),
    )


def stock_step(logits: torch.Tensor) -> Any:
    """What the stock sampler does with unconstrained logits in one pass."""
    torch.multinomial(torch.softmax(logits, dim=-1, dtype=torch.float32), 1)
    logits.argmax(-1)
    for _ in range(2):  # once to accept, once to stop
        torch.distributions.Categorical(logits=logits).entropy()  # type: ignore[no-untyped-call]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    vocabulary = tekken()
    table = Table(title=f"one pass, L = {LENGTH}, V = {len(vocabulary):,}, {torch.get_num_threads()} threads")
    for column in ("constraint", "states", "classes", "edges", "logits", "ms", "U", "target U"):
        table.add_column(column, justify="left" if column in ("constraint", "logits") else "right")
    for kind in ("random", "peaked"):
        logits = logits_of(kind, len(vocabulary))
        out = torch.empty_like(logits)
        generator = torch.Generator().manual_seed(0)
        unit = seconds(lambda: torch.log_softmax(logits, dim=-1), repeats=repeats)  # noqa: B023
        table.add_row("log_softmax (U)", "", "", "", kind, f"{unit * 1e3:.1f}", "1.00", "")
        stock = seconds(lambda: stock_step(logits), repeats=3)  # noqa: B023
        table.add_row("stock step, no constraint", "", "", "", kind, f"{stock * 1e3:.0f}", f"{stock / unit:.2f}", "")
        for name, (fields, target) in SCHEMAS.items():
            automaton = cd.compile(cd.json_schema(record_schema(fields)), vocabulary)
            taken = seconds(lambda: whole_pass(automaton, logits, out, generator), repeats=repeats)  # noqa: B023
            table.add_row(
                name,
                str(automaton.num_states),
                str(automaton.num_classes),
                str(automaton.num_edges),
                kind,
                f"{taken * 1e3:.1f}",
                f"{taken / unit:.2f}",
                "" if target is None else f"{target:.2f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
