"""Lark's terminals and lexers as scanners over bytes.

A contextual lexer of Lark is one alternation of the terminals that the parser can take, in Lark's
order of precedence; strings that a regular expression also matches are told apart behind the match.
The lexers are Lark's own objects, so their order and their exceptions are Lark's.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from re import _constants, _parser
from typing import Any, final

from lark.lexer import BasicLexer, TerminalDef, UnlessCallback

from constrained_diffusion.automata.expressions import Bytes
from constrained_diffusion.automata.threads_nfa import (
    Ahead,
    Behind,
    Context,
    Keyword,
    Matched,
    ScannerDFA,
    Split,
    ThreadNFA,
    determinized,
)
from constrained_diffusion.constraints.regex import Translator
from constrained_diffusion.errors import InvalidConstraint, UnsupportedConstraint
from constrained_diffusion.limits import Limits

_ALL_BYTES = (1 << 256) - 1


def taken_words(lexers: Sequence[BasicLexer]) -> list[str]:
    """The ignored terminals that some lexer takes for words of the text, since another pattern matches them too.

    Lark decides by the pattern that matched whether a match is ignored, and only then which terminal it is.
    """
    words = (word for lexer in lexers for _, found in _keywords(lexer) for word in found)
    return sorted({word.name for word in words if word.name in lexers[0].ignore_types})


def _keywords(lexer: BasicLexer) -> Iterator[tuple[str, list[TerminalDef]]]:
    """Each pattern that is not ignored, and the strings that are reported instead of it."""
    # The callbacks are there once the scanner is, which is made when it is first asked for.
    for name in [terminal.name for terminal in lexer.scanner.terminals if terminal.name not in lexer.ignore_types]:
        callback = lexer.callback.get(name)
        if isinstance(callback, UnlessCallback):
            yield name, list(callback.scanner.terminals)


def scanners_of(
    lexers: Sequence[BasicLexer],
    ranking: Sequence[str],
    numbers: Mapping[str, int],
    word_numbers: Mapping[str, int],
    limits: Limits,
) -> ScannerDFA:
    """The scanners of Lark's lexers; patterns are reported by the terminal's number.

    Args:
        ranking: the names of all terminals, in the order that lexers prefer them.
        word_numbers: what is reported where a terminal stands instead of a pattern, if it is not its number.

    Raises:
        UnsupportedConstraint: a terminal is no regular expression; the message names it.
        LimitExceeded: the scanners would grow beyond ``limits``.
    """
    nfa = ThreadNFA()
    start: dict[int, int] = {}
    instead_of: dict[str, set[int]] = {}
    parts: list[tuple[list[str], list[str]]] = []
    for lexer in lexers:
        patterns = list(lexer.scanner.terminals)
        names, words = [terminal.name for terminal in patterns], []
        for name, found in _keywords(lexer):
            for terminal in found:
                number = word_numbers.get(terminal.name, numbers[terminal.name])
                instead_of.setdefault(terminal.name, set()).add(numbers[name])
                words.append(terminal.name)
                if number not in start:
                    start[number] = _start(nfa, terminal, number, limits)
        for terminal in patterns:
            if numbers[terminal.name] not in start:
                start[numbers[terminal.name]] = _start(nfa, terminal, numbers[terminal.name], limits)
        parts.append((names, words))
    place = {name: i for i, name in enumerate(name for name in ranking if name in instead_of)}
    word_number = {name: word_numbers.get(name, numbers[name]) for name in place}
    keywords = [Keyword(start[word_number[name]], word_number[name], frozenset(instead_of[name])) for name in place]
    contexts = [
        Context(tuple(start[numbers[name]] for name in names), tuple(sorted({place[word] for word in words})))
        for names, words in parts
    ]
    return determinized(nfa, contexts, keywords, limits)


def _start(nfa: ThreadNFA, terminal: TerminalDef, number: int, limits: Limits) -> int:
    end = nfa.add(Matched(number))
    pattern = terminal.pattern.to_regexp()
    try:
        tree = _parser.parse(pattern)
        return _PatternNodes(nfa, pattern, limits).sequence(tree, tree.state.flags, end)
    except UnsupportedConstraint as error:
        raise UnsupportedConstraint(
            f"terminal {terminal.name}: {error}", construct=f"{error.construct} in terminal {terminal.name}"
        ) from error
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidConstraint(f"terminal {terminal.name} has a malformed pattern {pattern!r}: {error}") from error


@final
class _PatternNodes:
    """Adds the nodes of Python's regex parser to a thread automaton, the last node first."""

    def __init__(self, nfa: ThreadNFA, pattern: str, limits: Limits) -> None:
        self.nfa = nfa
        self.limits = limits
        self.characters = Translator(pattern, {}, "python")
        self.methods: dict[str, Callable[[Any, int, int], int]] = {
            "BRANCH": self.branch,
            "SUBPATTERN": self.group,
            "MAX_REPEAT": self.greedy,
            "MIN_REPEAT": self.lazy,
            "ASSERT": self.look,
            "ASSERT_NOT": self.look_for_none,
        }

    def sequence(self, items: Any, flags: int, target: int) -> int:
        for code, value in reversed(list(items)):
            target = self.item(str(code), value, flags, target)
        return target

    def item(self, name: str, value: Any, flags: int, target: int) -> int:
        if len(self.nfa.nodes) > self.limits.max_nfa_transitions:
            raise self.characters.refused("too large a repetition")
        if name in self.methods:
            return self.methods[name](value, flags, target)
        if name not in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            raise self.characters.refused(name.lower())
        return self.nfa.add_character(self.characters.methods[name](value, flags, False), target)

    def branch(self, value: Any, flags: int, target: int) -> int:
        return self.nfa.add(Split(tuple(self.sequence(option, flags, target) for option in value[1])))

    def group(self, value: Any, flags: int, target: int) -> int:
        _, added, removed, body = value
        return self.sequence(body, (flags | added) & ~removed, target)

    def greedy(self, value: Any, flags: int, target: int) -> int:
        return self.repeat(value, flags, target, is_greedy=True)

    def lazy(self, value: Any, flags: int, target: int) -> int:
        return self.repeat(value, flags, target, is_greedy=False)

    def repeat(self, value: Any, flags: int, target: int, *, is_greedy: bool) -> int:
        least, most, body = value
        if most is _constants.MAXREPEAT:
            loop = self.nfa.reserve()
            entry = self.sequence(body, flags, loop)
            self.nfa.nodes[loop] = Split((entry, target) if is_greedy else (target, entry))
            start = loop
        else:
            start = target
            for _ in range(int(most) - int(least)):
                entry = self.sequence(body, flags, start)
                start = self.nfa.add(Split((entry, target) if is_greedy else (target, entry)))
        for _ in range(int(least)):
            start = self.sequence(body, flags, start)
        return start

    def look(self, value: Any, flags: int, target: int) -> int:
        return self.look_around(value, flags, target, is_negated=False)

    def look_for_none(self, value: Any, flags: int, target: int) -> int:
        return self.look_around(value, flags, target, is_negated=True)

    def look_around(self, value: Any, flags: int, target: int, *, is_negated: bool) -> int:
        direction, body = value
        if direction > 0:
            end = self.nfa.add(Matched(0))
            return self.nfa.add(Ahead(self.sequence(body, flags, end), is_negated, target))
        mask = self._one_byte(list(body), flags)
        return self.nfa.add(Behind(_ALL_BYTES & ~mask if is_negated else mask, target))

    def _one_byte(self, items: list[Any], flags: int) -> int:
        """The last bytes of the characters that a look-behind of one character asks for."""
        if len(items) != 1 or str(items[0][0]) not in ("LITERAL", "NOT_LITERAL", "IN"):
            raise self.characters.refused("look-behind of more than one character")
        code, value = items[0]
        expression = self.characters.methods[str(code)](value, flags, False)
        if isinstance(expression, Bytes):
            return expression.mask
        raise self.characters.refused("look-behind onto characters that are not ASCII")
