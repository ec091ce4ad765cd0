"""The command line: ``constrained-diffusion json | generate | template | infill | choose | check``.

Exit codes: 0 all is well, 1 the answer is no (a checked text is outside the language, or no text
can meet the request), 2 the request itself is at fault. Errors are one line on stderr.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from constrained_diffusion import __version__
from constrained_diffusion.errors import ConstrainedDiffusionError, InfeasibleError
from constrained_diffusion.reporting import BAD_REQUEST, CLOSED_PIPE, INTERRUPTED, NO, complain

_JSON_EXAMPLE: Final = """example:
  constrained-diffusion json --schema examples/person.schema.json "Ada Lovelace, 36, lives in London."
"""
_CHECK_EXAMPLE: Final = """example:
  constrained-diffusion check --schema examples/person.schema.json answers/*.json
"""
_GENERATE_EXAMPLE: Final = """example:
  constrained-diffusion generate --regex '\\{"name": "[A-Z][a-z]+ [A-Z][a-z]+"\\}' "Ada Lovelace, 36, lives in London.
  {name}
  "
  constrained-diffusion generate --grammar arithmetic --max-new-tokens 32 "3 lamp and 12 mug"
"""
_TEMPLATE_EXAMPLE: Final = """example:
  constrained-diffusion template '{{"name": "{name:[A-Za-z ]+}", "city": "{city}"}}' --choice city=London,Paris \\
      "Ada Lovelace, 36, lives in London.
  {name, city}
  "
"""
_INFILL_EXAMPLE: Final = """example:
  constrained-diffusion infill "Ada Lovelace, 36, lives in " " and works as a nurse." --regex "[A-Z][a-z]+"
"""
_CHOOSE_EXAMPLE: Final = """example:
  constrained-diffusion choose "Is the letter friendly? Dear Ada, thank you!" yes no
"""
_SCHEMA_CHOICES: Final = (
    (
        "--whitespace",
        ("flexible", "compact", "spaced", "indented"),
        "between the tokens of the JSON; flexible is whatever json.dumps writes",
    ),
    (
        "--property-order",
        ("declared", "flexible", "any"),
        "of the members of objects; declared is as the schema lists them, flexible any where that takes little",
    ),
    ("--formats", ("enforce", "annotate"), "annotate: a format is only warned of"),
    ("--escapes", ("allow", "forbid"), "forbid: strings have no backslash"),
    ("--additional-properties", ("spec", "forbid"), "forbid: objects are closed unless their schema opens them"),
)
"""Options of schemas, what they may be, the default first, and what they mean."""
_PROMPT_HELP: Final = "the prompt; - reads it from standard input"
_EXIT_CODES: Final = """exit codes:
  0  all is well
  1  the answer is no: a file is not what the schema describes, or no text can meet the request
  2  the request is at fault: options, schema, model, or a file that cannot be read
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code."""
    if sys.stdout is None or sys.stdin is None:
        return BAD_REQUEST if sys.stderr is None else complain("standard input or output is closed", BAD_REQUEST)
    try:
        options = _parser().parse_args(arguments)
        _write_utf8()
        code = _run(options)
        sys.stdout.flush()
    except InfeasibleError as error:
        return complain(str(error), NO)
    except ConstrainedDiffusionError as error:
        return complain(str(error), BAD_REQUEST)
    except KeyboardInterrupt:
        return complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _give_up_output()
        return CLOSED_PIPE
    except OSError as error:
        _give_up_output()
        return complain(f"the output cannot be written: {error.strerror}", BAD_REQUEST)
    return code


def _run(options: argparse.Namespace) -> int:
    from constrained_diffusion.commands import RUN  # loads torch and transformers, which takes seconds

    return RUN[options.command](options)


def _write_utf8() -> None:
    """JSON is UTF-8 whatever the locale says; names of files may be no text at all."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="backslashreplace")


def _give_up_output() -> None:
    """Lets the interpreter flush at its end without a reader."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- options -------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Complains in the form of all other errors."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(complain(message, BAD_REQUEST))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="constrained-diffusion",
        description="Exact texts from a block-diffusion language model.",
        epilog=f"{_JSON_EXAMPLE}\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"constrained-diffusion {__version__}")
    commands = parser.add_subparsers(required=True, dest="command", metavar="command")
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
    for option, choices, meaning in _SCHEMA_CHOICES:
        parser.add_argument(option, default=choices[0], choices=choices, help=f"{meaning} (default: {choices[0]})")
    parser.add_argument(
        "--any-depth",
        type=_depth,
        default=None,
        metavar="none|N",
        help="how deep any JSON nests, and how often a schema refers to itself (default: none, to any depth)",
    )
    parser.add_argument(
        "--max-count", type=int, default=128, metavar="N", help="how far maxLength and maxItems are counted (128)"
    )
    parser.add_argument(
        "--lenient",
        action="store_true",
        help="warn of schema keywords that cannot be enforced instead of refusing them",
    )


def _depth(text: str) -> int | None:
    """A number, or None for ``none``."""
    if text == "none":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"met {text!r}, expected none or a number")
    return int(text)


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


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help=_PROMPT_HELP)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--regex", metavar="PATTERN", help="what the whole text must match")
    wanted.add_argument("--grammar", metavar="FILE", help="a Lark grammar that the text must parse with, or a name")
    _add_model(parser)
    _add_passes(parser)


def _add_template(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("template", help="fixed text with slots: {name}, or {name:regular expression}")
    parser.add_argument("text", help=_PROMPT_HELP)
    parser.add_argument(
        "--choice", action="append", default=[], metavar="NAME=A,B,C", help="what may stand in a slot; repeatable"
    )
    parser.add_argument(
        "--grammar",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a Lark grammar that a slot's text must parse with, or a name; repeatable",
    )
    parser.add_argument("--slots", action="store_true", help="write the slots as JSON, with probabilities")
    _add_model(parser)
    _add_passes(parser)


def _add_infill(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prefix", help="what stands in front")
    parser.add_argument("suffix", help="what stands behind")
    middle = parser.add_mutually_exclusive_group()
    middle.add_argument("--regex", metavar="PATTERN", help="what the middle must match")
    middle.add_argument("--grammar", metavar="FILE", help="a Lark grammar that the middle must parse with, or a name")
    parser.add_argument("--prompt", default="", help="a request in front of the prefix")
    _add_model(parser)
    _add_passes(parser)


def _add_choose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help=_PROMPT_HELP)
    parser.add_argument("options", nargs="+", metavar="ANSWER", help="the answers")
    parser.add_argument("--passes", type=int, default=1, metavar="N", help="how often the model is run (1)")
    _add_model(parser)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="files to check; - is standard input")
    _add_schema(parser)


if __name__ == "__main__":
    sys.exit(main())
