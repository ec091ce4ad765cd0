"""Every example runs and prints what it promises."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from constrained_diffusion.models.tiny import CHECKPOINT

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SCHEMAS = sorted((ROOT / "examples").glob("*.schema.json"))

needs_model = pytest.mark.skipif(not CHECKPOINT.exists(), reason="the bundled model is not in this checkout")


def schema_of(name):
    return json.loads((ROOT / "examples" / name).read_text())


def check_json_schema(lines):
    sentence, text, figures = lines
    assert sentence.endswith(".")
    jsonschema.validate(json.loads(text), schema_of("person.schema.json"))
    assert re.fullmatch(r"  log Z -?[\d.]+ -> -?[\d.]+, [\d.]+ tokens per pass", figures)


def check_pydantic_extract(lines):
    sentence, instance, text = lines
    assert sentence.startswith("Order 4711")
    assert instance.startswith("  Order(order_id=")
    order = json.loads(text)
    assert list(order) == ["order_id", "customer", "items", "purchase", "status"]
    assert isinstance(order["order_id"], int)
    assert order["status"] in ("pending", "shipped", "delivered", "cancelled", None)


def check_transformers_drop_in(lines):
    free, constrained = lines
    assert free.startswith("without: ")
    isinstance(ast.literal_eval(free.removeprefix("without: ")), str)
    ticket = json.loads(constrained.removeprefix("with:    "))
    assert list(ticket) == ["ticket", "reporter", "tags", "priority", "resolved"]
    assert ticket["tags"]


def check_sql_query(lines):
    (line,) = lines
    assert "SELECT" in line.upper()
    assert "syntax error" not in line


def check_python_function(lines):
    assert lines[0].startswith("def ")
    ast.parse("\n".join(lines))
    assert lines[-1].startswith("# FunctionDef, ")


def check_template_letter(lines):
    letter, slots = lines[:4], lines[4:]
    match = re.fullmatch(r"your order (\d+) of ([1-9]\d?) (\w+) is (\w+)\.", letter[2])
    assert match
    assert f"Is {match[4]} what you expected?" in letter[3]
    assert [line.partition(":")[0] for line in slots] == ["name", "id", "quantity", "product", "status", "date"]


def check_fill_in_the_middle(lines):
    middle, whole, holes, free = lines
    assert whole == f"whole:  {json.dumps(json.loads('{' + whole.partition('{')[2]))}"
    assert '{"name": "Ada' + middle.removeprefix("middle: ") + '"}' == whole.removeprefix("whole:  ")
    assert len(ast.literal_eval(holes.removeprefix("holes:  "))) == 3
    assert free.startswith("free:   Ada Lovelace, 36,")
    assert free.endswith(" and works as a nurse.")


def check_revise_a_draft(lines):
    revision = json.loads(lines[1].removeprefix("revision: "))
    assert revision["name"] == "Ada Lovelace"
    assert lines[2].startswith("pass 1:   0% settled, changed at [0, ")


def check_choose_with_confidence(lines):
    assert lines[0] == "threshold  answered  right  mean probability"
    assert lines[1].split()[:2] == ["0.0", "100%"]


def check_tool_call(lines):
    assert re.fullmatch(r"book: '.*<tool_call>.*</tool_call>.*'", lines[0])
    assert re.fullmatch(r"  book\{.*\} -> -?\d+ seats from .*", lines[1])
    assert lines[2].startswith("none: ")
    assert len(lines) == 3


def check_long_document(lines):
    *canvases, last = lines
    assert len(canvases) > 1
    assert 40 <= int(last.split()[0]) <= 50


def check_arithmetic(lines):
    (line,) = lines
    text = line.rpartition("  (")[0]
    assert re.fullmatch(r"[-+*/%().\d\se]+", text)
    assert text.count("(") == text.count(")")


def check_watch_it_settle(lines):
    assert lines[0].split() == ["canvas", "pass", "open", "log", "Z", "the", "most", "probable", "text"]
    assert sum(line.lstrip().startswith("1 ") for line in lines[1:]) == 4


CHECKS = {
    "arithmetic": check_arithmetic,
    "template_letter": check_template_letter,
    "fill_in_the_middle": check_fill_in_the_middle,
    "revise_a_draft": check_revise_a_draft,
    "choose_with_confidence": check_choose_with_confidence,
    "tool_call": check_tool_call,
    "long_document": check_long_document,
    "json_schema": check_json_schema,
    "pydantic_extract": check_pydantic_extract,
    "transformers_drop_in": check_transformers_drop_in,
    "sql_query": check_sql_query,
    "python_function": check_python_function,
    "watch_it_settle": check_watch_it_settle,
}


def output_of(path, *options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, path, *options], capture_output=True, encoding="utf-8", timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_has_a_check():
    assert {path.stem for path in EXAMPLES} >= set(CHECKS)


@needs_model
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path):
    """Those without a check of their own must at least print something."""
    lines = output_of(path, "--fast").splitlines()
    check = CHECKS.get(path.stem)
    assert lines
    if check is not None:
        check(lines)


@needs_model
def test_orders():
    path, schema = ROOT / "examples" / "json_schema.py", ROOT / "examples" / "order.schema.json"
    lines = output_of(path, "--fast", "--kind", "order", "--schema", schema).splitlines()
    jsonschema.validate(json.loads(lines[1]), schema_of("order.schema.json"))


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_example_schemas_are_well_formed(path):
    jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_and_say_what_they_show(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 75
    assert len(ast.get_docstring(ast.parse(source)) or "") > 60
    assert '"--fast"' in source
