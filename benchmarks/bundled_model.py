"""Claim: on held-out sentences the bundled model writes valid JSON always and the right JSON mostly.

Names, places and numbers of these sentences never occur in training. Constrained and
unconstrained runs share prompts and seeds; passes and tokens per pass are those of the texts.
Run: ``python benchmarks/bundled_model.py --count 200``.
"""

import argparse
import json
from itertools import islice
from typing import Any

import jsonschema
from rich.console import Console
from rich.table import Table

import constrained_diffusion as cd
from constrained_diffusion.models.prompting import outline
from constrained_diffusion.models.tiny.corpus import Example, examples

TEST_SEED = 2026


def is_valid(example: Example, text: str) -> bool:
    """Whether the text is JSON of the schema, by the jsonschema library."""
    try:
        return jsonschema.Draft202012Validator(example.schema).is_valid(json.loads(text))
    except ValueError:
        return False


def is_exact(example: Example, text: str) -> bool:
    """Whether the text states exactly the facts that were asked for."""
    try:
        return bool(json.loads(text) == example.value)
    except ValueError:
        return False


def row(name: str, cases: list[Example], results: list[cd.Generation]) -> list[str]:
    pairs = list(zip(cases, results, strict=True))
    passes = sum(r.stats.passes for r in results)
    tokens = sum(r.stats.tokens for r in results)
    valid = sum(is_valid(e, r.text) for e, r in pairs) / len(pairs)
    exact = sum(is_exact(e, r.text) for e, r in pairs) / len(pairs)
    return [name, f"{valid:.1%}", f"{exact:.1%}", f"{passes / len(pairs):.1f}", f"{tokens / passes:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="sentences")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--show-errors", action="store_true")
    options = parser.parse_args()
    generator = cd.load()
    cases = list(islice(examples(TEST_SEED, held_out=True), options.count))
    shared: dict[str, Any] = {"seed": 0, "batch_size": options.batch_size, "progress": True}
    constraints = [cd.json_schema(case.schema) for case in cases]
    constrained = generator.generate([case.text for case in cases], constraints, **shared)
    free = generator.generate([f"{case.text}\n{outline(case.schema)}\n" for case in cases], None, **shared)
    table = Table(title=f"{options.count} held-out sentences")
    for column in ("", "valid", "exact", "passes", "tokens per pass"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row(*row("constrained", cases, constrained))
    table.add_row(*row("unconstrained", cases, free))
    console = Console()
    console.print(table)
    if options.show_errors:
        for case, result in zip(cases, constrained, strict=True):
            if not is_exact(case, result.text):
                console.print(
                    f"{case.text}\n  wanted {json.dumps(case.value, ensure_ascii=False)}\n  got    {result.text}"
                )


if __name__ == "__main__":
    main()
