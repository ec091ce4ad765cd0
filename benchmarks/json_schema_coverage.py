"""Claim: on MaskBench at least 97 % of the schemas are wholly right and no invalid instance is accepted.

Of the official suite (draft 2020-12) at least 1,200 of 1,299 required tests are right, and 740 of the 926
optional and format ones. llguidance and xgrammar are put through the same, where they are installed.

A schema of MaskBench is wholly right if every valid instance is accepted and every invalid one is rejected;
*under* if an invalid one is accepted, else *over* if a valid one is rejected. Instances are judged byte by byte;
"compile" is all the work from the schema to the masks over Tekken, V = 131,072. An engine that needs more
than ``--limit`` seconds for one answer is cut short, and that is counted as ``limit:time``.

Run: ``python benchmarks/json_schema_coverage.py`` (extra ``bench``), with ``../shared/data`` beside the repository;
some minutes for ``--engines ours``, over an hour for all, nearly all of it xgrammar's compiling on one thread;
``--every 10`` gives a quick look.
The expectations of the tests are refreshed by
``python benchmarks/json_schema_coverage.py --engines ours --no-compile --json tests/expectations/json_schema.json``.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from measuring import percentile
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from schema_engines import ENGINES, Isolated, is_installed
from schema_judging import SECTIONS, SLOW, Case, kind, maskbench_cases, suite_cases

OTHER_ORDERS: Final = ("ours-flexible-order", "ours-any-order")
"""Engines for MaskBench alone: the official suite is read in any order by ``ours`` as well."""
JUDGED: Final = frozenset(["right", "over", "under"])
COLUMNS: Final = ("right", "under", "over", "refused", "limit", "error")
MEANINGS: Final = {
    "right": "wholly right",
    "under": "under: an invalid instance accepted",
    "over": "over: a valid instance rejected",
    "refused": "refused",
    "limit": "limit reached",
    "error": "error",
}


@final
@dataclass
class Outcome:
    """What became of the cases: verdicts by id, ids that took long, and compile times where they were taken."""

    verdicts: dict[str, str] = field(default_factory=dict)
    slow: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    not_compiled: Counter[str] = field(default_factory=Counter)

    def count(self, wanted: str, prefix: str = "") -> int:
        return sum(kind(verdict) == wanted for id, verdict in self.verdicts.items() if id.startswith(prefix))


def main() -> None:
    arguments = _arguments()
    engines = arguments.engines
    schemas, suite = maskbench_cases()[:: arguments.every], suite_cases()
    if not schemas or not suite:
        sys.exit("expected maskbench_dev.jsonl and json-schema-test-suite in ../shared/data")
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        run = _runner(progress, arguments.limit)
        on_maskbench = {name: run(name, schemas, not arguments.no_compile) for name in engines if is_installed(name)}
        on_suite = {name: run(name, suite, False) for name in on_maskbench if name not in OTHER_ORDERS}
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(maskbench_table(engines, on_maskbench, len(schemas)))
    for name in on_maskbench:
        if name.startswith("ours"):
            console.print(refusals_table(name, on_maskbench[name]))
    console.print(suite_table([name for name in engines if name not in OTHER_ORDERS], on_suite))
    if arguments.by_file:
        console.print(file_table(suite, on_suite))
    if arguments.json:
        arguments.json.write_text(_as_json({"maskbench": on_maskbench["ours"], "suite": on_suite["ours"]}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="how much of JSON Schema this package and others get right")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES), help="default: all")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds for one answer; default: %(default)s")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th schema of MaskBench only")
    parser.add_argument("--no-compile", action="store_true", help="judge only; take no compile times")
    parser.add_argument("--by-file", action="store_true", help="show the official suite file by file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict of ours into FILE")
    arguments = parser.parse_args()
    if arguments.json and "ours" not in arguments.engines:
        parser.error("--json writes the verdicts of the engine 'ours'; add it to --engines")
    if arguments.json and arguments.every != 1:
        parser.error("--json writes all verdicts; leave --every out")
    return arguments


def _runner(progress: Progress, limit: float) -> Callable[[str, list[Case], bool], Outcome]:
    def run(name: str, cases: list[Case], has_compile: bool) -> Outcome:
        outcome = Outcome()
        with Isolated(name, limit, ("judge", "compile") if has_compile else ("judge",)) as engine:
            for case in progress.track(cases, description=f"{name}: {len(cases)} schemas"):
                answer = engine.ask("judge", case)
                outcome.verdicts |= answer.verdicts
                if answer.cpu > SLOW:
                    outcome.slow += answer.verdicts
                if has_compile and JUDGED.issuperset(answer.verdicts.values()):
                    compiled = engine.ask("compile", case)
                    if compiled.obstacle:
                        outcome.not_compiled[compiled.obstacle] += 1
                    else:
                        outcome.seconds.append(compiled.wall)
        return outcome

    return run


def maskbench_table(engines: Iterable[str], outcomes: dict[str, Outcome], total: int) -> Table:
    """One column for each engine."""
    table = Table(title=f"MaskBench, {total} schemas")
    for heading in ("", *engines, "target"):
        table.add_column(heading, justify="right" if heading else "left")
    targets = {"right": f"{0.97 * total:.0f}", "under": "0"}
    for column in COLUMNS:
        counts = [str(outcomes[name].count(column)) if name in outcomes else "not installed" for name in engines]
        table.add_row(MEANINGS[column], *counts, targets.get(column, ""))
    for label, share in (("compile, p50, ms", 0.5), ("compile, p95, ms", 0.95), ("compile, max, ms", 1.0)):
        cells = []
        for name in engines:
            seconds = outcomes[name].seconds if name in outcomes else []
            cells.append(f"{percentile(seconds, share) * 1e3:,.1f}" if seconds else "")
        table.add_row(label, *cells, "")
    cells = [_listed(outcomes[name].not_compiled) if name in outcomes else "" for name in engines]
    table.add_row("judged, but not compiled", *cells, "0")
    return table


def _listed(counts: Counter[str]) -> str:
    return "\n".join(f"{name} {count}" for name, count in counts.most_common())


def refusals_table(name: str, outcome: Outcome) -> Table:
    """What an engine refuses, by construct."""
    table = Table(
        "verdict", "schemas", "for example", title=f"{name}: what is not right on MaskBench, and what is slow"
    )
    counts = Counter(verdict for verdict in outcome.verdicts.values() if verdict != "right")
    for verdict, count in counts.most_common():
        example = next(id for id, other in outcome.verdicts.items() if other == verdict)
        table.add_row(verdict, str(count), example)
    if outcome.slow:
        table.add_row(f"judging takes over {SLOW} s", str(len(outcome.slow)), outcome.slow[0])
    return table


def suite_table(engines: Iterable[str], outcomes: dict[str, Outcome]) -> Table:
    """One row for each section and engine, one column for each kind of verdict."""
    table = Table("section", "engine", title="official suite, draft 2020-12, tests")
    table.caption = "targets: 1,200 of 1,299 required ones right, 740 of 926 optional and format ones, none under"
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for section in (*SECTIONS, "optional and format"):
        for name in engines:
            cells = ["not installed"]
            if name in outcomes:
                cells = [str(_count(outcomes[name], column, section.split(" and "))) for column in COLUMNS]
            table.add_row(section, name, *cells)
        table.add_section()
    return table


def _count(outcome: Outcome, wanted: str, sections: list[str]) -> int:
    return sum(outcome.count(wanted, f"{section}/") for section in sections)


def file_table(cases: list[Case], outcomes: dict[str, Outcome]) -> Table:
    """One row for each file of the suite, one column for each engine."""
    table = Table("file", "tests", *outcomes, title=f"tests by file: {', '.join(COLUMNS)}")
    for prefix in sorted({f"{case.section}/{case.name}/" for case in cases}):
        cells = [
            " ".join(str(outcome.count(column, prefix) or "-") for column in COLUMNS) for outcome in outcomes.values()
        ]
        total = sum(id.startswith(prefix) for outcome in list(outcomes.values())[:1] for id in outcome.verdicts)
        table.add_row(prefix.rstrip("/"), str(total), *cells)
    return table


def _as_json(outcomes: dict[str, Outcome]) -> str:
    """The verdicts, and for the tests what took long; one entry for each line."""
    contents: dict[str, object] = {section: outcome.verdicts for section, outcome in outcomes.items()}
    contents["slow"] = sorted(id for outcome in outcomes.values() for id in outcome.slow)
    return json.dumps(contents, indent=0, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
