"""What each command does; the command line is read before this module and its imports are loaded."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsonschema
import referencing
from jsonschema.exceptions import ValidationError, best_match
from referencing.exceptions import Unresolvable
from rich.console import Console

from constrained_diffusion.automata.byte_automaton import ByteAutomaton
from constrained_diffusion.automata.expressions import compile_expression
from constrained_diffusion.checking import shortened
from constrained_diffusion.constraints.base import Constraint
from constrained_diffusion.constraints.choice import choice, utf8
from constrained_diffusion.constraints.explaining import explanation
from constrained_diffusion.constraints.grammar import grammar
from constrained_diffusion.constraints.json_schema import JsonSchema, json_schema
from constrained_diffusion.constraints.json_schema.contents import Content
from constrained_diffusion.constraints.regex import regex
from constrained_diffusion.constraints.template import template
from constrained_diffusion.errors import ConstrainedDiffusionError, ConstraintError, InvalidConstraint, ModelError
from constrained_diffusion.limits import Limits
from constrained_diffusion.reporting import BAD_REQUEST, NO, SUCCESS, complain, note

if TYPE_CHECKING:
    from constrained_diffusion.diffusion.generation import PassRecord
    from constrained_diffusion.diffusion.generator import Generator


def _constraint(options: argparse.Namespace) -> JsonSchema:
    path: Path = options.schema
    try:
        constraint = json_schema(
            _read_json(path),
            whitespace=options.whitespace,
            property_order=options.property_order,
            formats=options.formats,
            escapes=options.escapes,
            any_depth=options.any_depth,
            max_count=options.max_count,
            additional_properties=options.additional_properties,
            lenient=options.lenient,
        )
    except ConstraintError as error:
        raise InvalidConstraint(f"{path}: {error}") from error
    for warning in constraint.warnings:
        note("warning", f"{path}: {warning}")
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
    slots = [_slot("--choice", "NAME=A,B,C", given, lambda texts: choice(texts.split(","))) for given in options.choice]
    slots += [_slot("--grammar", "NAME=FILE", given, grammar) for given in options.grammar]
    if len(dict(slots)) < len(slots):
        raise InvalidConstraint("--choice and --grammar describe a slot twice")
    constraint = template(options.template, **dict(slots))
    result = _generator(options).generate(_prompt(options.text), constraint, **_settings(options))
    if options.slots:
        found = {name: {"text": s.text, "probabilities": s.probabilities} for name, s in result.slots.items()}
        print(json.dumps(found, ensure_ascii=False))
    else:
        print(result.text)
    return SUCCESS


def _slot(option: str, form: str, given: str, make: Callable[[str], Constraint]) -> tuple[str, Constraint]:
    name, equals, filling = given.partition("=")
    if not equals:
        raise InvalidConstraint(f"met {option} {given!r}, expected {form}")
    return name, make(filling)


def _run_infill(options: argparse.Namespace) -> int:
    prefix, suffix = options.prefix, options.suffix
    middle: Constraint | None = None
    if options.regex is not None or options.grammar is not None:
        middle = grammar(options.grammar) if options.regex is None else regex(options.regex)
    constraint = None if middle is None else prefix + middle + suffix
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


def _generator(options: argparse.Namespace) -> "Generator":
    from constrained_diffusion.diffusion.generator import Generator  # loads torch, which a check does without
    from constrained_diffusion.models.loading import load_denoiser

    console = Console(stderr=True)
    with console.status("loading the model") if console.is_terminal else nullcontext():
        return Generator(load_denoiser(options.model, device=options.device, dtype=options.dtype))


def _prompt(text: str) -> str:
    try:
        prompt = sys.stdin.buffer.read().decode().strip() if text == "-" else text.encode().decode()
    except UnicodeError as error:
        raise ModelError(f"the text is not UTF-8: {error}") from error
    if not prompt.strip():
        raise ModelError("the text is empty; give a sentence, or - to read one from standard input")
    return prompt


def _print_pass(record: "PassRecord") -> None:
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
        return complain(f"{name}: {error}", BAD_REQUEST)
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
        return _on_one_line(f"at {error.json_path}: {shortened(error.message, 300)}")
    if constraint.suits_in_any_order(content):
        return (
            "the value satisfies the schema; only the order of its members is wrong: --property-order any would take it"
        )
    limits = "".join(f"; {bound}" for bound in constraint.bounds)
    return f"the value satisfies the schema; its spelling, its order of properties or its size does not suit{limits}"


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """The keyword as the constraint has it: ECMA-262, and without backtracking."""
    if validator.is_type(instance, "string") and not _pattern_automaton(pattern).matches(instance.encode()):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


@lru_cache(maxsize=64)
def _pattern_automaton(pattern: str) -> ByteAutomaton:
    return compile_expression(Content("pattern", pattern).expression, Limits())


RUN: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "json": _run_json,
    "generate": _run_generate,
    "template": _run_template,
    "infill": _run_infill,
    "choose": _run_choose,
    "check": _run_check,
}
"""The commands by name; each gives its exit code."""
