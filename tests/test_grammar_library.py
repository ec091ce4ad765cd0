"""The grammars of ``grammars/``, against samples from standards and against other implementations.

Python, SQLite, markdown-it, expat, gcc and Lark itself judge what a grammar takes. They see every
production of it in a random sentence, and samples that were tampered with.
"""

import ast
import csv
import io
import json
import keyword
import logging
import math
import os
import random
import re
import shutil
import sqlite3
import subprocess
import warnings
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import hypothesis.strategies as st
import lark
import pytest
from grammar_samples import ACCEPTED, REFUSED
from grammar_sentences import (
    FOLDER,
    NOTHING,
    grammar,
    lexing_faults,
    mutated,
    parses,
    sentences,
    terminal_text,
)
from hypothesis import given, settings
from lark.lexer import PatternStr
from lark.load_grammar import find_grammar_errors
from markdown_it import MarkdownIt

NAMES = sorted(path.stem for path in FOLDER.glob("*.lark"))
every_grammar = pytest.mark.parametrize("name", NAMES)

# --- the oracles: is the text one of the language, as others read it? ----------------------------

SEMANTIC_VERSION = (
    r"^(?P<major>0|[1-9]\d*)\.(?P<minor>0|[1-9]\d*)\.(?P<patch>0|[1-9]\d*)"
    r"(?:-(?P<prerelease>(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+(?P<buildmetadata>[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$"
)
# What Python's compiler checks behind its grammar.
BEYOND_SYNTAX = ("duplicate argument", "keyword argument repeated")
MARKDOWN = MarkdownIt("commonmark").enable("table")
CRON_FIELDS = [
    (0, 59, []),
    (0, 23, []),
    (1, 31, []),
    (1, 12, ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    (0, 7, ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
]


def is_json(text):
    def refuse(constant):
        raise ValueError(constant)

    return _succeeds(lambda: json.loads(text, parse_constant=refuse), ValueError)


def is_python_expression(text):
    return _succeeds(lambda: ast.parse(text, mode="eval"), SyntaxError)


def is_arithmetic(text):
    return is_python_expression(text.strip(" \t"))


def is_python_function(text):
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            compile(text, "<function>", "exec")
    except SyntaxError as error:
        return str(error).startswith(BEYOND_SYNTAX)
    return len(ast.parse(text).body) == 1


def is_regular_expression(text):
    return _succeeds(lambda: re.compile(text), re.error)


def is_sql(text):
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f"EXPLAIN {text}")
    except sqlite3.Error as error:
        return not any(fault in str(error) for fault in ("syntax error", "incomplete input", "unrecognized token"))
    finally:
        connection.close()
    return True


def is_url(text):
    return _succeeds(lambda: urlsplit(text), ValueError) and bool(urlsplit(text).scheme)


def is_xml(text):
    return _succeeds(lambda: ElementTree.fromstring(f"<root>{text}</root>"), ElementTree.ParseError)


def is_csv(text):
    return _succeeds(lambda: csv_rows(text), csv.Error)


def csv_rows(text):
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def is_markdown_table(text):
    return [token.type for token in MARKDOWN.parse(text) if token.level == 0] == ["table_open", "table_close"]


def is_cron(text):
    if text.startswith("@"):
        return text[1:] in ["reboot", "yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"]
    fields = re.split(r"[ \t]+", text)
    return len(fields) == 5 and all(map(_is_cron_field, fields, CRON_FIELDS))


def _is_cron_field(field, limits):
    return all(_is_cron_item(item, *limits) for item in field.split(","))


def _is_cron_item(item, low, high, names):
    range_, slash, step = item.partition("/")
    values = range_.split("-")
    steps_well = not slash or (
        _number(step) and len(step) < 3 and step[0] != "0" and (range_ == "*" or len(values) == 2)
    )
    counts_well = range_ == "*" or (len(values) < 3 and all(_is_cron_value(v, low, high, names) for v in values))
    return steps_well and counts_well


def _is_cron_value(value, low, high, names):
    # Weekdays have one digit, the others up to two.
    return value.lower() in names or (_number(value) and len(value) <= len(str(high)) and low <= int(value) <= high)


def _number(text):
    return text.isascii() and text.isdigit()


def is_smiles(text):
    """Atoms as others tokenize them, bonds between atoms, and branches that close."""
    token = r"\[[^\[\]]+\]|Br|Cl|[BCNOPSFIbcnops*]|[-=#$:/\\.]|[()]|%\d\d|\d"
    if not re.fullmatch(f"(?:{token})+", text):
        return False
    skeleton = re.sub(r"\[[^\[\]]+\]|Br|Cl|[BCNOPSFIbcnops*]", "A", text)
    skeleton = re.sub(r"[-=#$:/\\]?(?:%\d\d|\d)", "", skeleton)
    skeleton = re.sub(r"[-=#$:/\\.]A", "A", skeleton)
    while re.search(r"A\(A+\)", skeleton):
        skeleton = re.sub(r"A\(A+\)", "A", skeleton)
    return set(skeleton) == {"A"}


def is_lark(text):
    return not find_grammar_errors(text + "\n")


def _succeeds(action, error):
    try:
        action()
    except error:
        return False
    return True


ORACLES = {
    "arithmetic": is_arithmetic,
    "cron": is_cron,
    "csv": is_csv,
    "json": is_json,
    "lark": is_lark,
    "markdown_table": is_markdown_table,
    "python_expression": is_python_expression,
    "python_function": is_python_function,
    "regular_expression": is_regular_expression,
    "semantic_version": lambda text: re.fullmatch(SEMANTIC_VERSION, text, re.ASCII) is not None,
    "smiles": is_smiles,
    "sql_select": is_sql,
    "url": is_url,
    "xml_fragment": is_xml,
}
# These grammars are neither narrower nor wider than their oracles.
EXACT = {"cron", "json", "semantic_version"}

# --- samples -----------------------------------------------------------------------------------


def test_every_grammar_has_samples():
    assert set(ACCEPTED) == set(REFUSED) == set(NAMES)
    for samples in (*ACCEPTED.values(), *REFUSED.values()):
        assert len(samples) == len(set(samples)) >= 12


@every_grammar
def test_samples(name):
    assert [text for text in ACCEPTED[name] if not parses(name, text)] == []
    assert [text for text in REFUSED[name] if parses(name, text)] == []


@pytest.mark.parametrize("name", ORACLES)
def test_oracles_know_the_samples(name):
    """Else an oracle that takes everything would pass for a judge."""
    assert all(map(ORACLES[name], ACCEPTED[name]))
    assert not all(map(ORACLES[name], REFUSED[name]))


# --- form --------------------------------------------------------------------------------------


@every_grammar
def test_header_says_what_it_is(name):
    header = (FOLDER / f"{name}.lark").read_text(encoding="utf-8").split("\n\n")[0]
    assert all(line.startswith("//") for line in header.splitlines())
    assert "\n// Standard: " in header
    assert "\n// Left out: " in header


@every_grammar
def test_builds_without_conflicts(name, caplog):
    with caplog.at_level(logging.DEBUG, logger="lark"):
        lark.Lark((FOLDER / f"{name}.lark").read_text(encoding="utf-8"), parser="lalr", debug=True)
    assert "onflict" not in caplog.text


@every_grammar
def test_terminals_are_regular(name):
    """No look-around, no back-reference, nothing lazy: the sampler knows none of these."""
    generator = random.Random(name)
    for terminal in grammar(name).terminals:
        pattern = terminal.pattern.to_regexp()
        if pattern != NOTHING:
            texts = [terminal_text(generator, pattern) for _ in range(5)]
            assert all(re.fullmatch(pattern, text) for text in texts), terminal


def test_both_grammars_of_python_share_their_expressions():
    mark = "// --- expressions;"
    shared = {(FOLDER / f"python_{part}.lark").read_text().partition(mark)[2] for part in ("expression", "function")}
    assert len(shared) == 1
    assert shared != {""}


# --- what a grammar takes is of the language ----------------------------------------------------


def drawn(name, generator, count):
    """A sentence for every production, and as many again as make up the count."""
    productions = sentences(name).productions()
    rounds = math.ceil(count / len(productions))
    return [sentences(name).draw(generator, p, generator.randint(0, 2)) for p in productions for _ in range(rounds)]


@every_grammar
def test_random_sentences(name):
    generator = random.Random(name)
    texts = drawn(name, generator, 150)
    parsed = [text for text in texts if parses(name, text)]
    assert len(parsed) > 0.95 * len(texts)
    assert [text for text in parsed if not ORACLES.get(name, bool)(text)] == []


@every_grammar
def test_the_lexer_reads_the_longest_text_and_never_goes_back(name):
    generator = random.Random(name)
    texts = [*ACCEPTED[name], *generator.sample(drawn(name, generator, 40), 40)]
    assert [fault for text in texts if parses(name, text) for fault in lexing_faults(grammar(name), text)] == []


@pytest.mark.parametrize("name", ORACLES)
def test_tampered_samples(name):
    """Whatever of them the grammar takes is of the language; and where both agree in full, the other way round."""
    generator = random.Random(name)
    words = [t.pattern.value for t in grammar(name).terminals if isinstance(t.pattern, PatternStr)]
    fragments = [*words, *set("".join(ACCEPTED[name] + REFUSED[name]))]
    texts = [mutated(generator, generator.choice(ACCEPTED[name]), fragments) for _ in range(800)]
    verdicts = {text: parses(name, text) for text in texts}
    assert 0.05 * len(verdicts) < sum(verdicts.values()) < 0.95 * len(verdicts)
    assert [text for text, verdict in verdicts.items() if verdict and not ORACLES[name](text)] == []
    if name in EXACT:
        assert [text for text, verdict in verdicts.items() if not verdict and ORACLES[name](text)] == []


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_gcc_finds_no_fault_in_the_syntax_of_c_statements():
    generator = random.Random(0)
    fragments = [t.pattern.value for t in grammar("c_statements").terminals if isinstance(t.pattern, PatternStr)]
    tampered = [
        mutated(generator, generator.choice(ACCEPTED["c_statements"]), [*fragments, *" ;(){}=-+1ae"])
        for _ in range(800)
    ]
    texts = [
        text
        for text in ACCEPTED["c_statements"] + drawn("c_statements", generator, 150) + tampered
        if parses("c_statements", text)
    ]
    assert c_faults(texts) == []
    assert c_faults([text for text in REFUSED["c_statements"] if text]) != []


def c_faults(texts):
    """The errors of gcc that are of syntax: names are not declared and types do not fit anyway."""
    source = "\n".join(f'int f{i}(void) {{\n#line 1 "text{i}"\n{text}\n}}' for i, text in enumerate(texts))
    command = ["gcc", "-fsyntax-only", "-std=c11", "-w", "-fmax-errors=0", "-x", "c", "-"]
    run = subprocess.run(command, input=source, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    fault = re.compile(
        r"error: (expected|stray|missing|invalid suffix|invalid digit|too many decimal|exponent|.*without)"
    )
    return [line for line in run.stderr.splitlines() if fault.search(line)]


# --- completeness and structure ------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@settings(deadline=None, max_examples=50)
@given(json_values, st.booleans(), st.sampled_from([None, 1]))
def test_whatever_json_writes(value, ascii_only, indent):
    assert parses("json", json.dumps(value, ensure_ascii=ascii_only, indent=indent))


@settings(deadline=None, max_examples=50)
@given(st.from_regex(re.compile(SEMANTIC_VERSION, re.ASCII), fullmatch=True))
def test_whatever_the_official_expression_matches(text):
    assert parses("semantic_version", text) == (not text.endswith("\n"))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.text("ab ,;\"'\n\r\té", max_size=5), min_size=1, max_size=4), min_size=1, max_size=4))
def test_whatever_csv_writes_is_read_alike(rows):
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    records = grammar("csv").parse(file.getvalue().removesuffix("\r\n")).children
    assert [[_csv_field(field) for field in record.children] for record in records] == rows


def _csv_field(field):
    text = str(field.children[0] or "") if field.children else ""
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "floor_divide": "//", "remainder": "%"}


def bracketed(tree):
    """The text of a tree of arithmetic with brackets around everything."""
    if isinstance(tree, lark.Token):
        return str(tree)
    parts = [bracketed(child) for child in tree.children]
    if len(parts) == 1:
        return f"({'-' if tree.data == 'negative' else '+'}{parts[0]})"
    return f"({parts[0]} {SYMBOLS.get(tree.data, '**')} {parts[1]})"


def test_arithmetic_has_the_precedence_of_python():
    texts = [*ACCEPTED["arithmetic"], *drawn("arithmetic", random.Random(0), 300)]
    for text in texts:
        tree = grammar("arithmetic").parse(text)
        assert ast.dump(ast.parse(text.strip(), mode="eval")) == ast.dump(ast.parse(bracketed(tree), mode="eval"))


def test_parts_of_urls_are_those_of_the_standard():
    """RFC 3986, appendix B."""
    pattern = re.compile(r"^(([^:/?#]+):)?(//([^/?#]*))?([^?#]*)(\?([^#]*))?(#(.*))?")
    for text in [*ACCEPTED["url"], *drawn("url", random.Random(0), 300)]:
        parts = {token.type: str(token) for token in grammar("url").parse(text).scan_values(lambda v: v is not None)}
        expected = dict(
            zip(["SCHEME", "AUTHORITY", "QUERY", "FRAGMENT"], pattern.match(text).group(2, 4, 7, 9), strict=True)
        )
        assert {k: parts.get(k) for k in expected} == {k: v or None for k, v in expected.items()}


def test_columns_of_tables_are_counted_alike():
    for text in [*ACCEPTED["markdown_table"], *drawn("markdown_table", random.Random(0), 300)]:
        columns = len(list(grammar("markdown_table").parse(text).find_data("columns")))
        assert columns == sum(token.type == "th_open" for token in MARKDOWN.parse(text))


@pytest.mark.parametrize(
    "path", [*FOLDER.glob("*.lark"), *Path(lark.__file__).parent.glob("grammars/*.lark")], ids=lambda path: path.name
)
def test_the_grammar_of_lark_reads_grammars(path):
    assert parses("lark", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("word", keyword.kwlist)
def test_key_words_of_python_are_no_names(word):
    places = [
        "{} + 1",
        "x.{}",
        "f({}=1)",
        "lambda {}: 1",
        "lambda *{}: 1",
        "[1 for {} in x]",
        "-{}",
        "f'{{{}}}'",
        "x is {}y",
    ]
    constants = {"True", "False", "None"}
    taken = [place for place in places if parses("python_expression", place.format(word))]
    assert taken == (["{} + 1", "-{}", "x is {}y"] if word in constants else ["x is {}y"])
