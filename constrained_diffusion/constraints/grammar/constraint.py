"""The constraint made from a Lark grammar, and where its text is found."""

from functools import lru_cache, partial
from pathlib import Path
from typing import Final, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.grammar_arrays import load_grammar, save_grammar
from constrained_diffusion.automata.pushdown import Grammar
from constrained_diffusion.automata.pushdown_kernels import FAR
from constrained_diffusion.automata.storage import kept_on_disk
from constrained_diffusion.constraints.base import RegularConstraint
from constrained_diffusion.constraints.grammar.reading import Source, read_grammar
from constrained_diffusion.errors import InvalidConstraint
from constrained_diffusion.limits import Limits

_EXTENSION: Final = ".lark"
_LEAST_SECONDS: Final = 0.2
"""A grammar that is read faster than this is not kept on disk."""
_PACKAGE: Final = Path(__file__).resolve().parents[2]
_LIBRARIES: Final = (_PACKAGE / "grammars", _PACKAGE.parent / "grammars")
"""Where the library lies in an installed package, and in a source tree."""


@final
class LarkGrammar(RegularConstraint):
    """The texts that Lark parses with a grammar and its LALR parser."""

    is_recursive = True

    def __init__(self, source: Source, start: str) -> None:
        self.source = source
        self.start = start
        # Errors of the grammar are raised where it is written, not where it is used.
        self._definition = _definition(source, start)

    @property
    def expression(self) -> ex.Expression:
        grammar = self._definition.grammar
        return ex.NOTHING if grammar is None or grammar.shortest >= FAR else ex.Call(self._definition)

    def __repr__(self) -> str:
        name = self.source.path.stem if self.source.path is not None else self.source.text.strip()[:40]
        return f"grammar({name!r})"


@lru_cache(maxsize=64)
def _definition(source: Source, start: str) -> ex.Definition:
    """One for all constraints of a grammar, so that it is known to be the same wherever it stands."""
    return ex.Definition("grammar", _read_grammar(source, start))


def _read_grammar(source: Source, start: str) -> Grammar:
    """The tables of a grammar, from the cache on disk where nothing but its own text decides what it means."""
    fingerprint = source.fingerprint(start)
    if fingerprint is None:
        return read_grammar(source, start, Limits())
    return kept_on_disk(
        "grammar-2",
        fingerprint,
        partial(read_grammar, source, start, Limits()),
        save_grammar,
        load_grammar,
        least_seconds=_LEAST_SECONDS,
    )


def grammar(lark_source_or_path: str | Path, *, start: str = "start") -> LarkGrammar:
    """The texts that parse with ``Lark(grammar, parser="lalr").parse``.

    It combines like every other constraint, and several grammars may stand in one; only ``~``, and ``&`` between two of
    them, are refused by name.

    Args:
        lark_source_or_path: a grammar in Lark's language, a path to a file of one, or the name of one in the
            library, such as ``"json"``.
        start: the rule that the whole text must match.

    Raises:
        InvalidConstraint: there is no such file, or the grammar is malformed; the message has line, column and a caret.
        UnsupportedConstraint: the grammar is not LALR(1), declares a terminal without a pattern, or uses a pattern that
            is not regular; the message names it.

    >>> words = grammar('start: "(" start ")" | "x"')
    >>> words.matches("((x))"), words.matches("((x)")
    (True, False)
    >>> (words + "; " + words).matches("(x); ((x))")
    True
    """
    if not isinstance(lark_source_or_path, str | Path):
        raise InvalidConstraint(
            f"met {type(lark_source_or_path).__name__} {lark_source_or_path!r:.60}; expected a grammar, a path or a "
            f"name of the library"
        )
    if not isinstance(start, str) or not start:
        raise InvalidConstraint(f"start is {start!r}; expected the name of a rule")
    return LarkGrammar(_found(lark_source_or_path), start)


def library_names() -> tuple[str, ...]:
    """The names of the grammars in the library."""
    return tuple(sorted({path.stem for folder in _LIBRARIES for path in folder.glob(f"*{_EXTENSION}")}))


def _found(wanted: str | Path) -> Source:
    if isinstance(wanted, str) and (":" in wanted or "\n" in wanted) and not wanted.endswith(_EXTENSION):
        return Source(wanted)
    path = Path(wanted)
    candidates = [path]
    if path.name == str(wanted) and not path.suffix:
        candidates += [folder / f"{wanted}{_EXTENSION}" for folder in _LIBRARIES]
    for candidate in candidates:
        if candidate.is_file():
            return _read(candidate)
    raise InvalidConstraint(
        f"met {str(wanted)!r}, which is neither a file nor one of the library: {', '.join(library_names())}; a grammar "
        f'given as text needs at least one rule, as in \'start: "yes" | "no"\''
    )


def _read(path: Path) -> Source:
    try:
        return Source(path.read_text(encoding="utf-8"), path.resolve())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConstraint(f"{path} cannot be read as UTF-8 text: {error}") from error
