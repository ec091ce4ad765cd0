"""From the text of a Lark grammar to the tables of its parser and scanners, with Lark's own analysis."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, final

import numpy as np
from lark import Lark
from lark import __version__ as lark_version
from lark.common import LexerConf
from lark.exceptions import LarkError
from lark.grammar import Rule
from lark.lexer import BasicLexer, ContextualLexer
from lark.parsers.grammar_analysis import RulePtr
from lark.parsers.lalr_analysis import Shift
from numpy.typing import NDArray

from constrained_diffusion.automata.pushdown import Grammar
from constrained_diffusion.automata.pushdown_kernels import ERROR, FAR
from constrained_diffusion.automata.threads_nfa import ScannerDFA
from constrained_diffusion.constraints.grammar.terminals import scanners_of, taken_words
from constrained_diffusion.errors import InvalidConstraint, UnsupportedConstraint
from constrained_diffusion.limits import Limits

_END: Final = "$END"
_READER: Final = "3"
"""Changes with what is read out of the same text."""
_IMPORT_OF_A_FILE: Final = re.compile(r"^\s*%import(?!\s+common\b)", re.MULTILINE)


@final
@dataclass(frozen=True)
class Source:
    """A grammar as it was written, and the file it came from, if it did."""

    text: str
    path: Path | None = None

    def fingerprint(self, start: str) -> str | None:
        """A digest of all that decides what the grammar means; None if it imports other files."""
        if _IMPORT_OF_A_FILE.search(self.text):
            return None
        whole = "\0".join((_READER, lark_version, start, self.text))
        return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def lark(self, start: str) -> Lark:
        """Lark's own parser of this grammar.

        Raises:
            InvalidConstraint: the grammar is malformed; the message has line, column and a caret.
            UnsupportedConstraint: it is not LALR(1); the message has the conflict.
        """
        name = None if self.path is None else str(self.path)
        try:
            # Only with debug=True do the states of the parse table keep their items.
            return Lark(self.text, parser="lalr", start=start, source_path=name, debug=True)
        except LarkError as error:
            self._refuse(error)
        except (OSError, re.error, AssertionError, RecursionError, ValueError, KeyError) as error:
            raise InvalidConstraint(f"the grammar cannot be read: {error or type(error).__name__}") from error

    def _refuse(self, error: LarkError) -> NoReturn:
        message = str(error).strip()
        if "collision" in message:
            message = _ITEMS_OF_A_STATE.sub("", message)
            raise UnsupportedConstraint(
                f"the grammar is not LALR(1), and only such grammars are supported: {message}\n"
                "Rewrite the rules so that one token of look-ahead decides, or give one rule a higher priority",
                construct="reduce/reduce conflict",
            ) from error
        missing = re.search(r"undefined rule: NonTerminal\('(\w+)'\)", message)
        if missing and not re.search(rf"\b{missing[1]}\b", self.text):
            raise InvalidConstraint(
                f"the grammar has no rule {missing[1]!r}, which the whole text is to match; name another by start="
            ) from error
        place = self._place(error, message)
        first_line = message.split("\n")[0].rstrip(": ")
        if place is None:
            raise InvalidConstraint(f"malformed grammar: {first_line}") from error
        line, column = place
        lines = self.text.split("\n")
        shown = lines[line - 1] if line <= len(lines) else ""
        raise InvalidConstraint(
            f"malformed grammar, {line}:{column}: {first_line}\n  {shown}\n  {' ' * (column - 1)}^"
        ) from error

    def _place(self, error: LarkError, message: str) -> tuple[int, int] | None:
        """Line and column, from 1, that an error is about."""
        told = re.search(r"at line (\d+),? column (\d+)", message)
        if told:
            return int(told[1]), int(told[2])
        line, column = getattr(error, "line", None), getattr(error, "column", None)
        if isinstance(line, int) and isinstance(column, int) and line > 0:
            return line, max(column, 1)
        quoted = re.findall(r"['`\"](\w+)", message)
        for name in (*quoted, *re.findall(r"[A-Za-z_]\w+", message)):
            found = None if name in _WORDS else re.search(rf"\b{name}\b", self.text)
            if found:
                line_start = self.text.rfind("\n", 0, found.start())
                return self.text.count("\n", 0, found.start()) + 1, found.start() - line_start
        return None


_ITEMS_OF_A_STATE: Final = re.compile(r"\n    collision occurred in state: \{.*?\n    \}", re.DOTALL)
"""What Lark adds to a conflict where its tables keep their items."""
_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "Rule Rules rule rules Terminal Terminals terminal terminals used but not defined using an undefined in is "
        "the to were was more than once expansion empty of for grammar start import from",
    )
)
"""What Lark's messages say about a name, and is none itself."""


def read_grammar(source: Source, start: str, limits: Limits) -> Grammar:
    """The tables of a grammar.

    Raises:
        InvalidConstraint, UnsupportedConstraint: as ``Source.lark`` does, and for terminals that are declared only
            or are no regular expressions.
        LimitExceeded: a scanner would grow beyond ``limits``.
    """
    lark = source.lark(start)
    numbers = {terminal.name: i for i, terminal in enumerate(lark.terminals)}
    _check_terminals(lark, numbers)
    table = lark.parser.parser._parse_table
    states: dict[Any, dict[str, Any]] = table.states
    state_number = {state: i for i, state in enumerate(states)}
    rules = list(lark.parser.parser_conf.rules)
    origins = {name: i for i, name in enumerate(dict.fromkeys(rule.origin.name for rule in rules))}
    shortest = _shortest(rules, {t.name: t.pattern.min_width for t in lark.terminals})
    lexers = _Lexers.of(lark.lexer_conf, [list(row) for row in states.values()])
    words = taken_words(lexers.different)
    scanners, scan_start = lexers.scanners(numbers, {word: len(numbers) + i for i, word in enumerate(words)}, limits)
    action, goto = _actions(states, state_number, rules, numbers, origins)
    columns = [*numbers.values(), *(numbers[word] for word in words), len(numbers)]
    return Grammar(
        terminals=(*numbers, *words),
        action=action[:, columns],
        goto=goto,
        rule_length=np.array([len(rule.expansion) for rule in rules], np.int32),
        rule_origin=np.array([origins[rule.origin.name] for rule in rules], np.int32),
        start=state_number[table.start_states[start]],
        is_end=np.arange(len(states)) == state_number[table.end_states[start]],
        ignored=np.array([name in lark.ignore_tokens for name in numbers] + [False] * len(words), np.bool_),
        scan=scanners.table,
        byte_class=scanners.byte_class,
        match=scanners.match,
        scan_start=scan_start,
        items=tuple(_kernel_items(state, origins, shortest) for state in states),
        shortest=shortest.get(start, FAR),
        fingerprint=source.fingerprint(start),
    )


def _check_terminals(lark: Lark, numbers: Mapping[str, int]) -> None:
    for rule in lark.rules:
        for symbol in rule.expansion:
            if symbol.is_term and symbol.name not in numbers:
                raise UnsupportedConstraint(
                    f"terminal {symbol.name} is only declared (%declare): its text would come from a program, which "
                    f"cannot be enforced; define it by a pattern",
                    construct=f"%declare {symbol.name}",
                )


def _actions(
    states: Mapping[Any, Mapping[str, Any]],
    state_number: Mapping[Any, int],
    rules: list[Rule],
    numbers: Mapping[str, int],
    origins: Mapping[str, int],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    rule_number = {rule: i for i, rule in enumerate(rules)}
    columns = {**numbers, _END: len(numbers)}
    action = np.full((len(states), len(columns)), ERROR, np.int32)
    goto = np.full((len(states), len(origins)), ERROR, np.int32)
    for state, row in states.items():
        for name, (kind, argument) in row.items():
            if name in columns:
                value = state_number[argument] if kind is Shift else -2 - rule_number[argument]
                action[state_number[state], columns[name]] = value
            else:
                goto[state_number[state], origins[name]] = state_number[argument]
    return action, goto


@final
@dataclass(frozen=True)
class _Lexers:
    """The lexers of a contextual lexer: each one once, the number of that of each parser state, and the names of all
    terminals in the order that lexers prefer them."""

    different: list[BasicLexer]
    of_state: list[int]
    ranking: list[str]

    @classmethod
    def of(cls, conf: LexerConf, accepts: list[list[str]]) -> "_Lexers":
        try:
            contextual = ContextualLexer(conf, dict(enumerate(accepts)))
            lexers = [_basic(contextual.lexers[state]) for state in range(len(accepts))]
            numbers = {lexer: i for i, lexer in enumerate(dict.fromkeys(lexers))}
            ranking = [terminal.name for terminal in _basic(contextual.root_lexer).terminals]
        except (LarkError, re.error) as error:
            raise _unreadable(error) from error
        return cls(list(numbers), [numbers[lexer] for lexer in lexers], ranking)

    def scanners(
        self, numbers: Mapping[str, int], word_numbers: Mapping[str, int], limits: Limits
    ) -> tuple[ScannerDFA, NDArray[np.int32]]:
        """The scanners of all parser states, and the first state of each."""
        try:
            scanners = scanners_of(self.different, self.ranking, numbers, word_numbers, limits)
        except (LarkError, re.error) as error:
            raise _unreadable(error) from error
        return scanners, np.array(scanners.start)[self.of_state].astype(np.int32)


def _unreadable(error: Exception) -> InvalidConstraint:
    return InvalidConstraint(f"the terminals of the grammar cannot be read: {error}")


def _basic(lexer: Any) -> BasicLexer:
    if not isinstance(lexer, BasicLexer):
        raise InvalidConstraint(f"met {type(lexer).__name__} as a lexer, expected Lark's BasicLexer")
    return lexer


def _shortest(rules: Iterable[Rule], widths: Mapping[str, int]) -> dict[str, int]:
    """The least characters of each symbol; one from which no text comes is missing."""
    shortest = dict(widths)
    changed = True
    while changed:
        changed = False
        for rule in rules:
            if all(symbol.name in shortest for symbol in rule.expansion):
                length = sum(shortest[symbol.name] for symbol in rule.expansion)
                if length < shortest.get(rule.origin.name, FAR):
                    shortest[rule.origin.name] = length
                    changed = True
    return shortest


def _kernel_items(
    state: Iterable[RulePtr], origins: Mapping[str, int], shortest: Mapping[str, int]
) -> tuple[tuple[int, int, int], ...]:
    """(origin or -1 for the root, place of the dot, least characters behind it) of each item with a dot inside."""
    items = []
    for pointer in state:
        if pointer.index > 0:
            behind = pointer.rule.expansion[pointer.index :]
            rest = min(sum(shortest.get(symbol.name, FAR) for symbol in behind), FAR)
            items.append((origins.get(pointer.rule.origin.name, -1), pointer.index, rest))
    return tuple(items)
