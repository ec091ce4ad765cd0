"""The command line: ``constrained-diffusion json | generate | template | infill | choose | check``.

Exit codes: 0 all is well, 1 the answer is no (a checked text is outside the language, or no text
can meet the request), 2 the request itself is at fault. Errors are one line on stderr.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NoReturn

import jsonschema
import referencing
from jsonschema.exceptions import ValidationError, best_match
from referencing.exceptions import Unresolvable
from rich.console import Console

from constrained_diffusion import __version__
from constrained_diffusion.automata.byte_automaton import ByteAutomaton
from constrained_diffusion.automata.expressions import compile_expression
from constrained_diffusion.constraints.choice import Choice, choice, utf8
from constrained_diffusion.constraints.explaining import explanation
from constrained_diffusion.constraints.grammar import grammar
from constrained_diffusion.constraints.json_schema import JsonSchema, json_schema
from constrained_diffusion.constraints.json_schema.contents import Content
from constrained_diffusion.constraints.regex import regex
from constrained_diffusion.constraints.template import template
from constrained_diffusion.diffusion.generation import PassRecord
from constrained_diffusion.diffusion.generator import Generator
from constrained_diffusion.errors import (
    ConstrainedDiffusionError,
    ConstraintError,
    InfeasibleError,
    InvalidConstraint,
    ModelError,
)
from constrained_diffusion.limits import Limits
from constrained_diffusion.models.loading import load_denoiser

SUCCESS, NO, BAD_REQUEST = 0, 1, 2
INTERRUPTED, CLOSED_PIPE = 130, 141
"""What a shell reports for a program that SIGINT or SIGPIPE has ended."""

_JSON_EXAMPLE: Final = """example:
  constrained-diffusion json --schema examples/person.schema.json "Ada Lovelace, 36, lives in London."
"""
_CHECK_EXAMPLE: Final = """example:
  constrained-diffusion check --schema examples/person.schema.json answers/*.json
"""
_GENERATE_EXAMPLE: Final = """example:
  constrained-diffusion generate --regex "[A-Z][a-z]+ [A-Z][a-z]+" "Ada Lovelace, 36, lives in London."
  constrained-diffusion generate --grammar arithmetic --max-new-tokens 32 "3 lamp and 12 mug"
"""
_TEMPLATE_EXAMPLE: Final = """example:
  constrained-diffusion template "{name} lives in {city:[A-Z][a-z]+}, {state}." --choice state=single,married \\
      "Ada Lovelace is 36 years old, married, and comes from London."
"""
_INFILL_EXAMPLE: Final = """example:
  constrained-diffusion infill "Ada Lovelace, 36, lives in " " and works as a nurse." --regex "[A-Z][a-z]+"
"""
_CHOOSE_EXAMPLE: Final = """example:
  constrained-diffusion choose "Ticket 12 by Ada Reed: email, urgent priority." low medium high urgent
"""
_PROMPT_HELP: Final = "the prompt; - reads it from standard input"
_EXIT_CODES: Final = """exit codes:
  0  all is well
  1  the answer is no: a file is not what the schema describes, or no text can meet the request
  2  the request is at fault: options, schema, model, or a file that cannot be read
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code."""
    if sys.stdout is None or sys.stdin is None:
        return BAD_REQUEST if sys.stderr is None else _complain("standard input or output is closed", BAD_REQUEST)
    options = _parser().parse_args(arguments)
    _write_utf8()
    try:
        code = int(options.run(options))
        sys.stdout.flush()
    except InfeasibleError as error:
        return _complain(str(error), NO)
    except ConstrainedDiffusionError as error:
        return _complain(str(error), BAD_REQUEST)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _give_up_output()
        return CLOSED_PIPE
    except OSError as error:
        _give_up_output()
        return _complain(f"the output cannot be written: {error.strerror}", BAD_REQUEST)
    return code


def _write_utf8() -> None:
    """JSON is UTF-8 whatever the locale says; names of files may be no text at all."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="backslashreplace")


def _give_up_output() -> None:
    """Lets the interpreter flush at its end without a reader."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_OPTION_NAMES: Final = {"pass lenient=True": "pass --lenient"} | {
    name: f"--{name.replace('_', '-')}" for name in ("max_new_tokens", "max_passes")
}
"""Arguments that messages speak of, as the command line has them."""
_ONLY_IN_PYTHON: Final = ", or pass limits="


def _complain(message: str, code: int) -> int:
    message = message.partition(_ONLY_IN_PYTHON)[0]
    for name, option in _OPTION_NAMES.items():
        message = message.replace(name, option)
    _note("error", message)
    return code


def _note(kind: str, message: str) -> None:
    print(f"constrained-diffusion: {kind}: {' '.join(message.splitlines())}", file=sys.stderr)


# --- options -------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Complains in the form of all other errors."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(_complain(message, BAD_REQUEST))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="constrained-diffusion",
        description="Exact texts from a block-diffusion language model.",
        epilog=f"{_JSON_EXAMPLE}\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"constrained-diffusion {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, summary, example, add in (
        ("json", "write JSON of a schema for a text", _JSON_EXAMPLE, _add_json),
        ("generate", "write text of a regular expression or a grammar", _GENERATE_EXAMPLE, _add_generate),
        ("template", "fill the slots of a template", _TEMPLATE_EXAMPLE, _add_template),
        ("infill", "write what stands between two texts", _INFILL_EXAMPLE, _add_infill),
        ("choose", "give the probability of each of several answers", _CHOOSE_EXAMPLE, _add_choose),
        ("check", "tell where and why a file is not JSON of a schema", _CHECK_EXAMPLE, _add_check),
    ):
        _add_command(commands, name, summary, example, add)
    return parser


def _add_command(
    commands: Any, name: str, summary: str, example: str, add: Callable[[argparse.ArgumentParser], None]
) -> None:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"{example}\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add(parser)


def _add_schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--schema", type=Path, required=True, metavar="FILE", help="a JSON Schema")
    parser.add_argument(
        "--whitespace",
        default="flexible",
        choices=("flexible", "compact", "spaced", "indented"),
        help="between the tokens of the JSON (default: flexible, whatever json.dumps writes)",
    )
    parser.add_argument(
        "--property-order",
        default="declared",
        choices=("declared", "any"),
        help="of the members of objects (default: declared, as the schema lists them)",
    )
    parser.add_argument(
        "--lenient",
        action="store_true",
        help="warn of schema keywords that cannot be enforced instead of refusing them",
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="tiny", help="a folder or hub name of a DiffusionGemma (default: the bundled model)"
    )
    parser.add_argument("--device", help="for example cuda (default: where the model loads)")
    parser.add_argument("--dtype", help="for example bfloat16 (default: the checkpoint's own)")
    parser.add_argument("--seed", type=int, metavar="N", help="makes the run repeatable")
    parser.add_argument(
        "--max-new-tokens", type=int, default=256, metavar="N", help="tokens of the text, its end included (256)"
    )
    parser.add_argument("--temperature", type=float, metavar="T", help="a constant temperature")


def _add_passes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-passes", type=int, metavar="N", help="passes over a canvas at most")
    parser.add_argument("--trace", action="store_true", help="one line per pass on standard error")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help=_PROMPT_HELP)
    _add_schema(parser)
    _add_model(parser)
    _add_passes(parser)
    parser.add_argument("--schema-in-prompt", action="store_true", help="also describe the schema in the prompt")
    parser.set_defaults(run=_run_json)


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help=_PROMPT_HELP)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--regex", metavar="PATTERN", help="what the whole text must match")
    wanted.add_argument("--grammar", metavar="FILE", help="a Lark grammar that the text must parse with, or a name")
    _add_model(parser)
    _add_passes(parser)
    parser.set_defaults(run=_run_generate)


def _add_template(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("template", help="fixed text with slots: {name}, or {name:regular expression}")
    parser.add_argument("text", help=_PROMPT_HELP)
    parser.add_argument(
        "--choice", action="append", default=[], metavar="NAME=A,B,C", help="what may stand in a slot; repeatable"
    )
    parser.add_argument("--slots", action="store_true", help="write the slots as JSON, with probabilities")
    _add_model(parser)
    _add_passes(parser)
    parser.set_defaults(run=_run_template)


def _add_infill(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prefix", help="what stands in front")
    parser.add_argument("suffix", help="what stands behind")
    parser.add_argument("--regex", metavar="PATTERN", help="what the middle must match")
    parser.add_argument("--prompt", default="", help="a request in front of the prefix")
    _add_model(parser)
    _add_passes(parser)
    parser.set_defaults(run=_run_infill)


def _add_choose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help=_PROMPT_HELP)
    parser.add_argument("options", nargs="+", metavar="ANSWER", help="the answers")
    parser.add_argument("--passes", type=int, default=1, metavar="N", help="how often the model is run (1)")
    _add_model(parser)
    parser.set_defaults(run=_run_choose)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="files to check; - is standard input")
    _add_schema(parser)
    parser.set_defaults(run=_run_check)


def _constraint(options: argparse.Namespace) -> JsonSchema:
    path: Path = options.schema
    try:
        constraint = json_schema(
            _read_json(path),
            whitespace=options.whitespace,
            property_order=options.property_order,
            lenient=options.lenient,
        )
    except ConstraintError as error:
        raise InvalidConstraint(f"{path}: {error}") from error
    for warning in constraint.warnings:
        _note("warning", f"{path}: {warning}")
    return constraint


def _read_json(path: Path) -> Any:
    content = _read(path)
    try:
        value = json.loads(content)
    except ValueError as error:
        raise InvalidConstraint(f"not JSON: {error}") from error
    except RecursionError as error:
        raise InvalidConstraint("nests too deep to be read") from error
    if not isinstance(value, dict | bool):
        raise InvalidConstraint("holds JSON that is no schema; a schema is an object or a boolean")
    return value


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidConstraint(f"cannot be read: {error.strerror}") from error


# --- writing ---------------------------------------------------------------------------------------


def _run_json(options: argparse.Namespace) -> int:
    constraint = _constraint(options)
    wanted = True if options.schema_in_prompt else None
    result = _generator(options).generate(
        _prompt(options.text),
        constraint,
        schema_in_prompt=wanted,
        progress=Console(stderr=True).is_terminal and not options.trace,
        **_settings(options),
    )
    print(result.text)
    return SUCCESS


def _run_generate(options: argparse.Namespace) -> int:
    constraint = grammar(options.grammar) if options.regex is None else regex(utf8(options.regex).decode())
    print(_generator(options).generate(_prompt(options.text), constraint, **_settings(options)).text)
    return SUCCESS


def _run_template(options: argparse.Namespace) -> int:
    choices = [_slot(given) for given in options.choice]
    if len(dict(choices)) < len(choices):
        raise InvalidConstraint("--choice describes a slot twice")
    constraint = template(options.template, **dict(choices))
    result = _generator(options).generate(_prompt(options.text), constraint, **_settings(options))
    if options.slots:
        slots = {name: {"text": s.text, "probabilities": s.probabilities} for name, s in result.slots.items()}
        print(json.dumps(slots, ensure_ascii=False))
    else:
        print(result.text)
    return SUCCESS


def _slot(given: str) -> tuple[str, Choice]:
    name, equals, answers = given.partition("=")
    if not equals:
        raise InvalidConstraint(f"met --choice {given!r}, expected NAME=A,B,C")
    return name, choice(answers.split(","))


def _run_infill(options: argparse.Namespace) -> int:
    prefix, suffix = options.prefix, options.suffix
    constraint = None if options.regex is None else prefix + regex(options.regex) + suffix
    result = _generator(options).infill(prefix, suffix, constraint, prompt=options.prompt, **_settings(options))
    print(result.text)
    return SUCCESS


def _run_choose(options: argparse.Namespace) -> int:
    settings = {"max_new_tokens": options.max_new_tokens, "seed": options.seed}
    if options.temperature is not None:
        settings["temperature"] = options.temperature
    answer = _generator(options).choose(_prompt(options.text), options.options, passes=options.passes, **settings)
    for text, probability in answer.probabilities.items():
        print(f"{probability:.4f}  {text}")
    return SUCCESS


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``Generator.generate`` that every command takes."""
    return {
        "max_new_tokens": options.max_new_tokens,
        "seed": options.seed,
        "max_passes": options.max_passes,
        "temperature": options.temperature,
        "on_pass": _print_pass if options.trace else None,
    }


def _generator(options: argparse.Namespace) -> Generator:
    console = Console(stderr=True)
    with console.status("loading the model") if console.is_terminal else nullcontext():
        return Generator(load_denoiser(options.model, device=options.device, dtype=options.dtype))


def _prompt(text: str) -> str:
    try:
        prompt = (sys.stdin.buffer.read() if text == "-" else text.encode()).decode().strip()
    except UnicodeError as error:
        raise ModelError(f"the text is not UTF-8: {error}") from error
    if not prompt:
        raise ModelError("the text is empty; give a sentence, or - to read one from standard input")
    return prompt


def _print_pass(record: PassRecord) -> None:
    print(
        f"canvas {record.canvas + 1}  pass {record.number:2}  open {record.undetermined:3}  "
        f"entropy {record.mean_entropy:6.3f}  log Z {record.log_z:9.2f}  {_on_one_line(record.text)}",
        file=sys.stderr,
    )


def _on_one_line(text: str) -> str:
    return "\\n".join(text.splitlines())


# --- check ---------------------------------------------------------------------------------------


def _run_check(options: argparse.Namespace) -> int:
    constraint = _constraint(options)
    automaton = constraint.automaton()
    return max(_check(name, constraint, automaton) for name in options.files)


def _check(name: str, constraint: JsonSchema, automaton: ByteAutomaton) -> int:
    """Prints the verdict on one file. One line break at its end, as editors leave it, does not count."""
    try:
        content = sys.stdin.buffer.read() if name == "-" else _read(Path(name))
    except InvalidConstraint as error:
        return _complain(f"{name}: {error}", BAD_REQUEST)
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    shown = "standard input" if name == "-" else name
    if automaton.matches(content):
        print(f"{shown}: valid")
        return SUCCESS
    print(f"{shown}:{explanation(automaton, content)}")
    reason = _schema_error(constraint, content)
    if reason:
        print(f"  {reason}")
    return NO


def _schema_error(constraint: JsonSchema, content: bytes) -> str | None:
    """What the jsonschema library finds wrong, if the file is JSON and the library can tell."""
    schema: Any = constraint.schema
    draft = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    validator: Any = jsonschema.validators.extend(draft, {"pattern": _pattern})  # type: ignore[no-untyped-call]
    try:
        value = json.loads(content)
        error = best_match(validator(schema, registry=referencing.Registry()).iter_errors(value))
    except (ValueError, ArithmeticError, RecursionError, re.error, Unresolvable, ConstrainedDiffusionError):
        return None
    if error is not None:
        return _on_one_line(f"at {error.json_path}: {_shortened(error.message)}")
    limits = "".join(f"; {bound}" for bound in constraint.bounds)
    return f"the value satisfies the schema; its spelling, its order of properties or its size does not suit{limits}"


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """The keyword as the constraint has it: ECMA-262, and without backtracking."""
    if validator.is_type(instance, "string") and not _pattern_automaton(pattern).matches(instance.encode()):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


@lru_cache(maxsize=64)
def _pattern_automaton(pattern: str) -> ByteAutomaton:
    return compile_expression(Content("pattern", pattern).expression, Limits())


def _shortened(message: str) -> str:
    return message if len(message) <= 300 else f"{message[:200]} ... {message[-97:]}"


if __name__ == "__main__":
    sys.exit(main())
