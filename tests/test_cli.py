"""The command line: its answers, its exit codes, and that every fault is one line."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from small_models import byte_tokenizer, random_model
from transformers import LlamaConfig

import constrained_diffusion as cd
from constrained_diffusion import cli
from constrained_diffusion.constraints.explaining import explanation
from constrained_diffusion.models import loading
from constrained_diffusion.models.tiny import CHECKPOINT

ROOT = Path(__file__).parent.parent
PERSON_FILE = ROOT / "examples" / "person.schema.json"
PERSON = json.loads(PERSON_FILE.read_text())
SENTENCE = "Ada Lovelace, 36, lives in London."
SMALL = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer", "minimum": -99, "maximum": 99}},
    "required": ["ok", "n"],
    "additionalProperties": False,
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A folder with a small random DiffusionGemma."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = byte_tokenizer()
    random_model(tokenizer, canvas_length=32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with ``schema.json``, so that messages have short names."""
    monkeypatch.chdir(tmp_path)
    Path("schema.json").write_text(json.dumps(SMALL))
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    """Runs a command and gives its exit code, standard output and standard error."""

    def run_command(*arguments):
        capsys.readouterr()
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # argparse's way
            code = stopped.code
        return code, *capsys.readouterr()

    return run_command


@pytest.fixture
def write(run, checkpoint):
    """Runs ``json`` on the small random model."""

    def run_json(*arguments, schema="schema.json"):
        small = ("--max-new-tokens", 32, "--max-passes", 2)
        return run("json", "--schema", schema, "--model", checkpoint, *small, *arguments)

    return run_json


@pytest.fixture
def check(run):
    """Writes contents to files, and checks them against a schema."""

    def run_check(*contents, schema=None, options=()):
        if schema is not None:
            Path("schema.json").write_text(json.dumps(schema))
        names = [f"file{i}.json" for i in range(len(contents))]
        for name, content in zip(names, contents, strict=True):
            Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return run("check", "--schema", "schema.json", *options, *names)

    return run_check


def give_input(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def is_one_fault(err):
    return re.fullmatch(r"constrained-diffusion: error: \S[^\n]*\n", err) is not None


# --- json ----------------------------------------------------------------------------------------


def test_json_is_all_of_standard_output(write):
    code, out, err = write("Is it?")
    assert (code, err) == (0, "")
    assert out.endswith("}\n")
    jsonschema.validate(json.loads(out), SMALL)


def test_a_seed_makes_it_repeatable(write):
    texts = [write("Is it?", "--seed", seed)[1] for seed in (1, 1, 2, 3, 4, 5)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


def test_trace_is_one_line_per_pass(write):
    plain = write("Is it?", "--seed", 1)
    code, out, err = write("Is it?", "--seed", 1, "--trace")
    assert (code, out) == plain[:2]
    lines = err.splitlines()
    assert len(lines) == 2
    for number, line in enumerate(lines, 1):
        assert re.match(rf"canvas 1  pass +{number}  open +\d+  entropy +\d+\.\d+  log Z +-?\d+\.\d+  \{{", line)
    assert lines[-1].endswith(out.strip())


def test_trace_of_several_canvases_and_line_breaks(write):
    Path("long.json").write_text(json.dumps({"type": "array", "items": {"const": "abcdefg"}, "minItems": 7}))
    code, out, err = write("x", "--trace", "--max-new-tokens", 96, "--whitespace", "indented", schema="long.json")
    assert code == 0
    assert out.count("\n") > 7
    assert [line[:8] for line in err.splitlines()] == ["canvas 1"] * 2 + ["canvas 2"] * 2 + ["canvas 3"] * 2


def test_the_text_may_come_from_standard_input(write, monkeypatch):
    expected = write("Is it? é", "--seed", 1)
    give_input(monkeypatch, "\n Is it? é\r\n".encode())
    assert write("-", "--seed", 1) == expected


@pytest.mark.parametrize(("content", "words"), [(b" \n", "text is empty"), (b"a\xff", "not UTF-8")])
def test_standard_input_without_a_text(write, monkeypatch, content, words):
    give_input(monkeypatch, content)
    code, out, err = write("-")
    assert (code, out) == (2, "")
    assert is_one_fault(err)
    assert words in err


def test_options_reach_the_model(write):
    assert write("x", "--seed", 1, "--temperature", "0.01", "--whitespace", "compact")[1].count(" ") == 0
    _, plain, _ = write("x", "--seed", 1)
    described = write("x", "--seed", 1, "--schema-in-prompt", "--dtype", "float32", "--device", "cpu")
    assert described[0] == 0
    jsonschema.validate(json.loads(described[1]), SMALL)
    assert plain.startswith("{")


def test_no_text_fits(write):
    code, out, err = write("x", "--max-new-tokens", 3)
    assert (code, out) == (1, "")
    assert is_one_fault(err)
    assert "--max-new-tokens is 3" in err


def test_no_text_at_all_is_in_the_language(write):
    Path("schema.json").write_text('{"type": "integer", "minimum": 2, "maximum": 1}')
    code, out, err = write("x")
    assert (code, out) == (1, "")
    assert is_one_fault(err)


def test_lenient_warns(write):
    Path("schema.json").write_text(json.dumps({**SMALL, "$ref": "https://example.com/other", "mystery": 1}))
    code, _, err = write("x")
    assert code == 2
    assert is_one_fault(err)
    assert "$ref cannot be enforced" in err
    assert "--lenient" in err
    code, out, err = write("x", "--lenient")
    assert code == 0
    assert json.loads(out)
    assert [line[: line.index("json: ")] for line in err.splitlines()] == [
        "constrained-diffusion: warning: schema."
    ] * 2
    assert "$ref is not enforced" in err
    assert "unknown keyword 'mystery'" in err


BAD_REQUESTS = {
    "empty text": ((" ",), "text is empty"),
    "no UTF-8": (("a\udcff",), "not UTF-8"),
    "no tokens": (("x", "--max-new-tokens", 0), "--max-new-tokens is 0"),
    "no passes": (("x", "--max-passes", 0), "--max-passes is 0"),
    "temperature 0": (("x", "--temperature", 0), "temperature is 0.0"),
    "temperature nan": (("x", "--temperature", "nan"), "temperature is nan"),
    "temperature inf": (("x", "--temperature", "inf"), "temperature is inf"),
    "large seed": (("x", "--seed", 2**64), "expected a whole number from -9223372036854775808"),
    "no number": (("x", "--seed", "one"), "invalid int value: 'one'"),
    "no device": (("x", "--device", "abacus"), "device is 'abacus'"),
    "no dtype": (("x", "--dtype", "int3"), "dtype"),
    "no model": (("x", "--model", "none/here"), "'none/here'"),
    "a file as a model": (("x", "--model", "schema.json"), "'schema.json'"),
    "long text": (("x" * 900,), "Shorten the prompt"),
    "unknown option": (("x", "--color"), "unrecognized arguments: --color"),
    "two texts": (("x", "y"), "unrecognized arguments: y"),
    "unknown whitespace": (("x", "--whitespace", "much"), "invalid choice: 'much'"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request(write, name):
    arguments, words = BAD_REQUESTS[name]
    code, out, err = write(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert is_one_fault(err[err.index("constrained-diffusion: error") :])


def spoil_kind(folder):
    LlamaConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1).save_pretrained(folder)


SPOILED = {
    "another kind of model": spoil_kind,
    "cut weights": lambda folder: os.truncate(folder / "model.safetensors", 900),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "broken settings": lambda folder: (folder / "config.json").write_text("{"),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_checkpoint(run, checkpoint, tmp_path, name):
    spoiled = shutil.copytree(checkpoint, tmp_path / "spoiled")
    SPOILED[name](spoiled)
    code, out, err = run("json", "--schema", "schema.json", "--model", spoiled, "x")
    assert (code, out) == (2, "")
    assert is_one_fault(err)


BAD_SCHEMAS = {
    "nothing": (b"", "schema.json: not JSON: Expecting value"),
    "not JSON": (b'{"type": }', "not JSON: Expecting value: line 1 column 10"),
    "not UTF-8": (b'{"title": "\xff"}', "not JSON: 'utf-8' codec"),
    "nested too deep": (b"[" * 200_000, "nests too deep"),
    "a list": (b"[]", "no schema"),
    "malformed": (b'{"type": "text"}', "malformed schema (draft 2020-12): 'text'"),
    "unsupported": (b'{"properties": {"a": {"not": {"uniqueItems": true}}}}', "uniqueItems cannot be enforced"),
    "the path is told": (b'{"properties": {"a": {"not": {"uniqueItems": true}}}}', "at /properties/a/not/uniqueItems"),
    "a bad pattern": (b'{"pattern": "("}', "at /pattern"),
    "too large": (b'{"type": "string", "minLength": 1000000}', "Simplify the constraint\n"),
}


@pytest.mark.parametrize("command", ["json", "check"])
@pytest.mark.parametrize("name", BAD_SCHEMAS)
def test_a_bad_schema(run, checkpoint, command, name):
    content, words = BAD_SCHEMAS[name]
    Path("schema.json").write_bytes(content)
    more = ("--model", checkpoint) if command == "json" else ()
    code, out, err = run(command, "--schema", "schema.json", *more, "x")
    assert (code, out) == (2, "")
    assert is_one_fault(err)
    assert words in err


@pytest.mark.parametrize("command", ["json", "check"])
@pytest.mark.parametrize("path", ["missing.json", "."])
def test_a_schema_that_cannot_be_read(run, command, path):
    code, out, err = run(command, "--schema", path, "x")
    assert (code, out) == (2, "")
    assert is_one_fault(err)
    assert f"{path}: cannot be read" in err


def test_a_schema_with_a_byte_order_mark(check):
    Path("schema.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(SMALL).encode())
    assert check('{"ok": true, "n": 1}')[0] == 0


def test_an_interruption(write, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load_denoiser", interrupted)
    assert write("x") == (130, "", "constrained-diffusion: error: interrupted\n")


@pytest.mark.skipif(not CHECKPOINT.exists(), reason="the bundled model is not in this checkout")
def test_the_bundled_model(run):
    code, out, err = run("json", "--schema", PERSON_FILE, "--seed", 0, SENTENCE)
    assert (code, err) == (0, "")
    jsonschema.validate(json.loads(out), PERSON)


# --- check ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_valid_file(check, ending):
    assert check('{"ok": true, "n": -7}' + ending) == (0, "file0.json: valid\n", "")


def test_an_invalid_file(check):
    code, out, err = check('{\n  "ok": true,\n  "n": 7b\n}\n')
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "file0.json:3:9: met 'b', expected '\\n', ' ', '.', '0' to '9' or '}'",
        '    "n": 7b',
        "          ^",
    ]


def test_several_files(check):
    valid, invalid = '{"ok": true, "n": 1}', "{}"
    code, out, err = check(valid, invalid, valid, invalid)
    assert (code, err) == (1, "")
    assert [line for line in out.splitlines() if line.startswith("file")] == [
        "file0.json: valid",
        "file1.json:1:2: met '}', expected '\\n', ' ' or '\"'",
        "file2.json: valid",
        "file3.json:1:2: met '}', expected '\\n', ' ' or '\"'",
    ]
    assert check(valid, valid)[0] == 0


def test_a_file_that_cannot_be_read_does_not_hide_the_others(run):
    Path("good.json").write_text('{"ok": true, "n": 1}')
    code, out, err = run("check", "--schema", "schema.json", "none.json", ".", "good.json")
    assert (code, out) == (2, "good.json: valid\n")
    assert err.splitlines() == [
        "constrained-diffusion: error: none.json: cannot be read: No such file or directory",
        "constrained-diffusion: error: .: cannot be read: Is a directory",
    ]


def test_standard_input_as_a_file(run, monkeypatch):
    give_input(monkeypatch, b'{"ok": true, "n": 1}\n')
    assert run("check", "--schema", "schema.json", "-") == (0, "standard input: valid\n", "")
    give_input(monkeypatch, b"[]")
    code, out, _ = run("check", "--schema", "schema.json", "-")
    assert code == 1
    assert out.startswith("standard input:1:1: met '[', expected '{'\n")


INVALID_FILES = {
    "empty": (b"", "1:1: the text ends, expected '{'"),
    "only a line break": (b"\n", "1:1: the text ends, expected '{'"),
    "two line breaks behind": (b'{"ok": true, "n": 1}\n\n', "1:21: met '\\n', expected the end of the text"),
    "cut": (b'{"ok": tr', "1:10: the text ends, expected 'u'"),
    "cut behind a line break": (b'{"ok": true,\n\n', "2:1: the text ends, expected '\\t', ' ' or '\"'"),
    "not UTF-8": (b'{"ok": \xff}', "1:8: met the byte 0xff, which is not UTF-8 here, expected 'f' or 't'"),
    "byte order mark": (b"\xef\xbb\xbf{}", "1:1: met '\\ufeff', expected '{'"),
    "UTF-16": ('{"ok": true}'.encode("utf-16-le"), "1:2: met '\\x00', expected '\\n', ' ' or '\"'"),
    "nested deep": (b"[" * 100_000, "1:1: met '[', expected '{'"),
    "long number": (b'{"ok": true, "n": ' + b"9" * 9999 + b"}", "1:21: met '9', expected"),
}


@pytest.mark.parametrize("name", INVALID_FILES)
def test_invalid_files(check, name):
    content, words = INVALID_FILES[name]
    code, out, err = check(content)
    assert (code, err) == (1, "")
    assert out.startswith(f"file0.json:{words}")
    assert all(len(line) < 500 for line in out.splitlines())


def test_characters_are_whole(check):
    """The place and the names are those of characters, not of the bytes inside them."""
    schema = {"enum": ["né", "nö", "n漢", "n🙂", "漢字x"]}
    code, out, _ = check('"nè"', '"漢字y"', b'"n\xc3', b'"n\xc3(', schema=schema)
    assert code == 1
    assert [line for line in out.splitlines() if line.startswith("file")] == [
        "file0.json:1:3: met 'è', expected '\\\\', 'é', 'ö', '漢' or '🙂'",
        "file1.json:1:4: met 'y', expected 'x'",
        "file2.json:1:3: the text ends, expected '\\\\', 'é', 'ö', '漢' or '🙂'",
        "file3.json:1:3: met the byte 0x28, which is not UTF-8 here, expected '\\\\', 'é', 'ö', '漢' or '🙂'",
    ]
    assert out.splitlines()[out.splitlines().index('  "漢字y"') + 1] == "       ^"


def test_what_is_expected_in_a_free_string(check):
    _, out, _ = check('"a\nb"', schema={"type": "string"})
    assert out.startswith("file0.json:1:3: met '\\n', expected any character but controls\n")


def test_the_reason_of_the_schema(check):
    _, out, _ = check('{"ok": true, "n": 300}')
    assert out.splitlines()[-1] == "  at $.n: 300 is greater than the maximum of 99"
    _, out, _ = check('{"n": 3, "ok": true}')
    assert out.splitlines()[-1].endswith("only the order of its members is wrong: --property-order any would take it")
    _, out, _ = check('{"ok":  true, "n": 3}')
    assert out.splitlines()[-1].startswith("  the value satisfies the schema; its spelling, its order of properties")
    _, out, _ = check(json.dumps({"a": "x" * 200}), schema={"properties": {"a": {"type": "string", "maxLength": 150}}})
    assert "is too long" in out
    _, out, _ = check(json.dumps({"a": "x" * 200}), schema={"properties": {"a": {"type": "string", "maxLength": 900}}})
    assert "at most 128 instead of 900" in out
    _, out, _ = check('"aaa\\n"', schema={"pattern": "^(a|a)*$"})
    assert out.splitlines()[-1] == "  at $: 'aaa\\n' does not match '^(a|a)*$'".replace("\n", "\\n")
    _, out, _ = check(f'"{"a" * 60}b"', schema={"pattern": "^((a|a)*)*$"})
    assert "does not match '^((a|a)*)*$'" in out
    long = {"items": {"enum": [str(i) for i in range(900)]}}
    _, out, _ = check('["x\\n"]', schema=long)
    assert len(out.splitlines()[-1]) < 400


@pytest.mark.parametrize(
    ("schema", "content"),
    [
        ({"pattern": "^(?=b)", "maxLength": 0}, '"a"'),
        ({"patternProperties": {"\\p{Lu}": {}}, "type": "object", "required": ["x"]}, '{"a": 1}'),
        ({"type": "object", "additionalProperties": {"$ref": "#/additionalProperties"}, "maxProperties": 0}, '{"a": }'),
        ({"allOf": [{"$ref": "http://localhost:1/schema"}, {"type": "boolean"}]}, '"a"'),
        ({"multipleOf": 0.5, "maximum": 0}, f"1{'0' * 400}"),
        ({"$schema": "http://example.org/own", "type": "integer"}, '"a"'),
    ],
)
def test_a_reason_that_the_library_cannot_give(check, schema, content):
    """Patterns beyond ours or Python's, references out of reach, numbers that cannot be divided: no fault."""
    code, out, _ = check(content, schema=schema, options=["--lenient"])
    assert code == 1
    assert out.startswith("file0.json:1:")


def test_nothing_is_valid(check):
    code, out, _ = check("1", schema=False)
    assert code == 1
    assert "expected nothing: no text at all is in the language" in out


def test_check_warns_too(check):
    schema = {**SMALL, "$ref": "https://example.com/other"}
    assert check('{"ok": true, "n": 1}', schema=schema)[0] == 2
    code, out, err = check('{"ok": true, "n": 1}', schema=schema, options=["--lenient"])
    assert (code, out) == (0, "file0.json: valid\n")
    assert err.startswith("constrained-diffusion: warning: schema.json: $ref is not enforced")


def test_options_of_the_schema(check):
    deep, open_object = '{"a": [[[[1]]]]}', {"type": "object"}
    assert check(deep, schema=open_object)[0] == 0
    assert check(deep, schema=open_object, options=["--any-depth", "3"])[0] == 1
    assert check(deep, schema=open_object, options=["--any-depth", "4"])[0] == 0
    assert check(deep, schema=open_object, options=["--any-depth", "none"])[0] == 0
    assert check('"x"', schema={"format": "date"}, options=["--formats", "annotate"])[0] == 0
    assert check(r'"\n"', schema={"type": "string"}, options=["--escapes", "forbid"])[0] == 1
    long = '"' + "x" * 150 + '"'
    assert check(long, schema={"type": "string", "maxLength": 200}, options=["--max-count", "200"])[0] == 0
    closed = ["--additional-properties", "forbid"]
    assert check('{"ok": true, "x": 1}', schema={"properties": {"ok": {}}}, options=closed)[0] == 1
    code, _, err = check(deep, options=["--any-depth", "some"])
    assert code == 2
    assert "expected none or a number" in err


def test_whitespace_is_an_option(check):
    assert check('{"ok":true,"n":1}', options=["--whitespace", "compact"])[0] == 0
    assert check('{"ok": true, "n": 1}', options=["--whitespace", "compact"])[0] == 1


# --- explanations against an enumeration ---------------------------------------------------------

LETTERS = "adgé漢è🙂\n\t"
words = st.text(LETTERS, max_size=6)


def names_of(expected):
    """The names that a message lists."""
    return set(re.split(", | or ", expected))


@settings(deadline=None, max_examples=200)
@given(st.lists(words, min_size=1, max_size=5, unique=True), words)
def test_the_place_is_where_the_last_word_is_left(language, text):
    """Against the words themselves: the longest beginning that some word shares, and what follows it there."""
    if text in language:
        return
    shared = max(i for word in language for i in range(len(text) + 1) if word.startswith(text[:i]))
    begun = [word for word in language if word.startswith(text[:shared])]
    following = {repr(word[shared]) if len(word) > shared else "the end of the text" for word in begun}
    message, shown, caret = explanation(cd.choice(language).automaton(), text.encode()).split("\n")
    line, column, rest = message.split(":", 2)
    met, expected = rest.split(", expected ")
    before = text[:shared].split("\n")
    assert (int(line), int(column)) == (len(before), len(before[-1]) + 1)
    assert met == (" the text ends" if shared == len(text) else f" met {text[shared]!r}")
    assert names_of(expected) == following
    assert shown.strip() == text.split("\n")[len(before) - 1].replace("\t", " ").strip()
    assert len(caret) == 3 + cell_len(before[-1].replace("\t", " "))


def test_long_lines_are_shown_around_the_place():
    automaton = cd.regex("a{500}b").automaton()
    _, shown, caret = explanation(automaton, b"a" * 300 + b"\x1b[31m" + b"a" * 300).split("\n")
    assert len(shown) < 140
    assert "\x1b" not in shown
    assert shown.startswith("  ...a")
    assert shown.endswith("a...")
    assert shown[len(caret) - 1 :].startswith(" [31m")


# --- the README ----------------------------------------------------------------------------------


def commands_of_the_readme():
    """The arguments of each command, and the file that its output goes to, if it goes to one."""
    text = (ROOT / "README.md").read_text()
    (block,) = [block for block in re.findall(r"```sh\n(.*?)```", text, re.S) if "\nconstrained-diffusion" in block]
    for command in re.split(r"^constrained-diffusion ", block, flags=re.M)[1:]:
        words = shlex.split(command, comments=True)
        file = words[words.index(">") + 1] if ">" in words else None
        yield words[: words.index(">")] if file else words, file


@pytest.mark.skipif(not CHECKPOINT.exists(), reason="the bundled model is not in this checkout")
def test_the_commands_of_the_readme(run):
    Path("examples").symlink_to(ROOT / "examples")
    outputs = []
    for arguments, file in commands_of_the_readme():
        code, out, err = run(*arguments)
        assert code == 0, err
        outputs.append(out)
        if file is not None:
            Path(file).write_text(out)
    written, checked, slots, name, chosen, *others = outputs
    assert json.loads(written) == {"name": "Ada Lovelace", "age": 36, "city": "London"}
    assert checked == "answer.json: valid\n"
    assert list(json.loads(slots)) == ["name", "age"]
    assert list(json.loads(name)) == ["name"]
    assert chosen.partition("\n")[0].endswith('{"priority": "urgent"}')
    assert len(others) == 2


# --- the program ---------------------------------------------------------------------------------


def test_version(run):
    assert run("--version") == (0, f"constrained-diffusion {cd.__version__}\n", "")


@pytest.mark.parametrize("command", [(), ("json",), ("check",)])
def test_help_has_an_example(run, command):
    code, out, err = run(*command, "--help")
    assert (code, err) == (0, "")
    assert "example:\n  constrained-diffusion" in out
    assert "exit codes:\n  0  all is well" in out


@pytest.mark.parametrize("arguments", [(), ("write",), ("json",), ("json", "x"), ("check", "--schema", "schema.json")])
def test_incomplete_commands(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: constrained-diffusion")
    assert is_one_fault(err.splitlines(keepends=True)[-1])


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "constrained_diffusion.cli", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), **options},
    )


def test_output_is_utf8_in_any_locale_and_survives_a_closed_pipe(folder):
    Path("schema.json").write_text('{"enum": ["é"]}')
    with start("check", "--schema", "schema.json", "-", PYTHONIOENCODING="ascii") as process:
        out, err = process.communicate('"è"'.encode(), timeout=120)
        assert (process.returncode, err) == (1, b"")
        assert "met 'è'" in out.decode()
    with start("check", "--schema", "schema.json", "-") as process:
        process.stdout.close()
        process.stdin.write('"é"'.encode())
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=120) == 141


@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
def test_control_c_while_loading(folder):
    with start("infill", "a", "b", PYTHONVERBOSE="1") as process:
        while b"import 'torch'" not in process.stderr.readline().replace(b'"', b"'")[:200]:
            pass
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().count(b"constrained-diffusion: error: interrupted\n") == 1
        assert process.wait(timeout=120) == 130


@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
def test_control_c_while_waiting_for_input(folder):
    Path("schema.json").write_text('{"mystery": 1}')
    with start("check", "--schema", "schema.json", "-") as process:
        assert b"unknown keyword" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"constrained-diffusion: error: interrupted\n"
        assert process.wait(timeout=120) == 130
