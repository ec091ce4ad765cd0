"""Claim: grammars compile within seconds, load in a fraction of one, and a pass costs 4 U, 12 U for a Python-sized one.

U is one ``torch.log_softmax`` over the same float32 logits [256, V] with the same threads, V = 131,072. The pass is
that of ``one_pass.py``, warm: states that an earlier pass met are known. Certified is the share of logits for which the
best text is proved to be the best; every text is parsed by Lark. "Compile" is wall time from source to token automaton
in a fresh cache, "cached" that of a second process.
Run: ``python benchmarks/grammars.py`` (extra ``bench``), or with names of grammars in the library.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

import torch
from lark import Lark
from measuring import seconds
from one_pass import logits_of, whole_pass
from rich.console import Console
from rich.table import Table
from vocabularies import tekken

import constrained_diffusion as cd
from constrained_diffusion.automata.pushdown import PushdownAutomaton

TARGETS = {"json": 4, "arithmetic": 4, "sql_select": 4, "c_statements": 12, "python_function": 12}
KINDS = ("peaked", "random")


def compile_in_a_process(name: str) -> float:
    """Seconds from the grammar's name to its token automaton in a process of its own."""
    command = [sys.executable, __file__, "--compile-only", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def compile_only(name: str) -> None:
    vocabulary = tekken()
    cd.compile(cd.grammar('start: "(" start ")" | "x"'), vocabulary)  # kernels and the lexicon
    start = time.perf_counter()
    cd.compile(cd.grammar(name), vocabulary)
    print(time.perf_counter() - start)


def certified_share(automaton: cd.TokenAutomaton, judge: Lark, kind: str, width: int, count: int) -> float:
    """The share of proved best texts over several logits."""
    proved = 0
    for seed in range(count):
        posterior = automaton.posterior(logits_of(kind, width, seed))
        judge.parse(automaton.text(posterior.map()))
        judge.parse(automaton.text(posterior.sample(torch.Generator().manual_seed(seed))))
        proved += bool(posterior.certified)
    return proved / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(TARGETS), help="grammars of the library")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--count", type=int, default=10, help="logits for the share that is certified")
    parser.add_argument("--compile-only", action="store_true", help="print the seconds of compiling, nothing else")
    options = parser.parse_args()
    if options.compile_only:
        compile_only(options.names[0])
        return
    vocabulary = tekken()
    table = Table(title=f"grammars, L = 256, V = {len(vocabulary):,}, {torch.get_num_threads()} threads")
    for column in ("grammar", "parser states", "token states", "compile s", "cached s"):
        table.add_column(column, justify="left" if column == "grammar" else "right")
    for kind in KINDS:
        table.add_column(f"{kind}: U", justify="right")
        table.add_column("certified", justify="right")
    table.add_column("target U", justify="right")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CONSTRAINED_DIFFUSION_CACHE"] = folder
        for name in options.names:
            row = measured(name, vocabulary, options.repeats, options.count)
            table.add_row(*row, str(TARGETS.get(name, "")))
            Console().print(name, *row[1:])
    Console().print(table)


def measured(name: str, vocabulary: cd.Vocabulary, repeats: int, count: int) -> list[str]:
    """The cells of one grammar's row."""
    first, cached = compile_in_a_process(name), compile_in_a_process(name)
    constraint = cd.grammar(name)
    automaton = cd.compile(constraint, vocabulary)
    judge = Lark(constraint.source.text, parser="lalr")
    acceptor = constraint.automaton()
    parser_states = acceptor.grammar.num_states if isinstance(acceptor, PushdownAutomaton) else 0
    cells = [name, str(parser_states), str(automaton.num_states)]
    cells += [f"{first:.2f}", f"{cached:.2f}"]
    for kind in KINDS:
        logits = logits_of(kind, len(vocabulary))
        out, generator = torch.empty_like(logits), torch.Generator().manual_seed(0)
        unit = seconds(lambda: torch.log_softmax(logits, dim=-1), repeats=repeats)  # noqa: B023
        taken = seconds(lambda: whole_pass(automaton, logits, out, generator), repeats=repeats)  # noqa: B023
        share = certified_share(automaton, judge, kind, len(vocabulary), count)
        cells += [f"{taken / unit:.1f}", f"{share:.0%}"]
    return cells


if __name__ == "__main__":
    main()
