"""What JSON Schema gets right today, it gets right tomorrow: no verdict on MaskBench or the official suite gets worse.

``expectations/json_schema.json`` has a verdict for every schema of MaskBench and every test of the suite.
``right`` is best; ``over``, ``refused`` and ``limit`` are equally bad; ``error`` is worse; ``under``, to accept
what is invalid, is worst and never expected. When verdicts get better, refresh the file with ``REFRESH``.
What was slow when the file was written is left to the benchmark, unless RATCHET=all is in the environment.
"""

import json
import os
from functools import cache
from pathlib import Path

import pytest
import schema_judging as judging

ROOT = Path(__file__).parent.parent
EXPECTATIONS = ROOT / "tests" / "expectations" / "json_schema.json"
REFRESH = (
    "python benchmarks/json_schema_coverage.py --engines ours --no-compile --json tests/expectations/json_schema.json"
)
CASES = {"maskbench": judging.maskbench_cases, "suite": judging.suite_cases}

UNDER_FOR_A_REASON: set[str] = set()
"""Tests of the suite whose label is in dispute, each with its reason."""

each_collection = pytest.mark.parametrize("name", CASES)


@cache
def verdicts(name):
    cases = CASES[name]()
    if not cases:
        pytest.skip(f"no data of {name} in {judging.SHARED}")
    left_out = set() if os.environ.get("RATCHET") == "all" else set(expected("slow"))
    kept = [case for case in cases if left_out.isdisjoint(instance.id for instance in case.instances)]
    return {id: verdict for case in kept for id, verdict in judging.judged(case, judging.our_matcher).items()}


def expected(section):
    return json.loads(EXPECTATIONS.read_text())[section]


def listed(changes):
    return "\n".join(f"  {id}: {before} -> {now}" for id, (before, now) in changes.items())


@each_collection
def test_no_verdict_gets_worse(name, capsys):
    before, now = expected(name), verdicts(name)
    assert now.keys() <= before.keys(), f"the data has changed; look at the difference, then run: {REFRESH}"
    changes = {id: (before[id], now[id]) for id in now}
    worse = {id: pair for id, pair in changes.items() if judging.rank(pair[0]) < judging.rank(pair[1])}
    better = {id: pair for id, pair in changes.items() if judging.rank(pair[0]) > judging.rank(pair[1])}
    hint = f"if that is meant, say why in the commit and run: {REFRESH}"
    assert not worse, f"{len(worse)} verdicts got worse, {len(better)} better; {hint}\n{listed(worse)}"
    if better:
        with capsys.disabled():
            print(f"\n{len(better)} verdicts on {name} got better; keep them so: {REFRESH}")


@each_collection
def test_nothing_invalid_is_accepted(name):
    under = {id for id, verdict in verdicts(name).items() if verdict == "under"}
    assert under <= UNDER_FOR_A_REASON


def test_the_expectations_accept_nothing_invalid():
    under = {id for name in CASES for id, verdict in expected(name).items() if verdict == "under"}
    assert under <= UNDER_FOR_A_REASON
