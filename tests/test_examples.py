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


CHECKS = {
    "json_schema": check_json_schema,
    "pydantic_extract": check_pydantic_extract,
    "transformers_drop_in": check_transformers_drop_in,
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
