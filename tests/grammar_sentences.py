"""Random sentences of a Lark grammar, and what its lexer saw of a text."""

import math
import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from re import _constants, _parser

import regex
from lark import Lark
from lark.exceptions import UnexpectedInput
from lark.grammar import Symbol

FOLDER = Path(__file__).parent.parent / "grammars"
# The pattern that matches no text.
NOTHING = r"[^\s\S]"
# What a negated set is sampled from: characters of every kind that a terminal may treat apart.
CHARACTERS = "".join(map(chr, range(0x20, 0x7F))) + "\t\néßЖ中🙂"


@cache
def grammar(name: str) -> Lark:
    return Lark((FOLDER / f"{name}.lark").read_text(encoding="utf-8"), parser="lalr")


def parses(name: str, text: str) -> bool:
    try:
        grammar(name).parse(text)
    except UnexpectedInput:
        return False
    return True


# --- texts of a terminal -----------------------------------------------------------------------


def terminal_text(generator: random.Random, pattern: str) -> str:
    """A random text of a pattern of plain regular operations; any other raises a KeyError."""
    return _text_of(generator, _parsed(pattern), 0)


@cache
def _parsed(pattern: str) -> _parser.SubPattern:
    return _parser.parse(pattern)


def _text_of(generator: random.Random, items: _parser.SubPattern, flags: int) -> str:
    return "".join(_SAMPLERS[operation](generator, argument, flags) for operation, argument in items)


def _literal(generator: random.Random, code: int, flags: int) -> str:
    character = chr(code)
    return generator.choice([character, character.swapcase()]) if flags & re.IGNORECASE else character


def _not_literal(generator: random.Random, code: int, flags: int) -> str:
    return generator.choice(CHARACTERS.replace(chr(code), ""))


def _set(generator: random.Random, members: list, flags: int) -> str:
    if members[0][0] is _constants.NEGATE:
        excluded = [range_ for member in members[1:] for range_ in _ranges(*member)]
        return generator.choice([c for c in CHARACTERS if not any(low <= ord(c) <= high for low, high in excluded)])
    low, high = generator.choice([range_ for member in members for range_ in _ranges(*member)])
    return _literal(generator, generator.randint(low, high), flags)


def _ranges(operation: int, argument: object) -> list[tuple[int, int]]:
    return {_constants.LITERAL: lambda code: [(code, code)], _constants.RANGE: lambda range_: [range_]}[operation](
        argument
    )


def _branch(generator: random.Random, argument: tuple, flags: int) -> str:
    return _text_of(generator, generator.choice(argument[1]), flags)


def _group(generator: random.Random, argument: tuple, flags: int) -> str:
    _, added, removed, items = argument
    return _text_of(generator, items, (flags | added) & ~removed)


def _repetition(generator: random.Random, argument: tuple, flags: int) -> str:
    least, most, items = argument
    most = min(most, least + generator.choice([0, 1, 1, 2, 5]))
    return "".join(_text_of(generator, items, flags) for _ in range(generator.randint(least, most)))


_SAMPLERS = {
    _constants.LITERAL: _literal,
    _constants.NOT_LITERAL: _not_literal,
    _constants.IN: _set,
    _constants.BRANCH: _branch,
    _constants.SUBPATTERN: _group,
    _constants.MAX_REPEAT: _repetition,
}


# --- texts of a grammar ------------------------------------------------------------------------


class Sentences:
    """Random derivations of a grammar, each by way of a given production."""

    def __init__(self, lark: Lark) -> None:
        self.patterns = {t.name: t.pattern.to_regexp() for t in lark.terminals}
        self.blank = lark.ignore_tokens
        self.expansions: dict[str, list[list[Symbol]]] = {}
        for rule in lark.rules:
            self.expansions.setdefault(rule.origin.name, []).append(rule.expansion)
        self.depths = self._least_depths()
        self.routes = self._shortest_routes()

    def _least_depths(self) -> dict[str, float]:
        """The depth of each symbol's shallowest derivation; infinite for a terminal that matches no text."""
        depths = {name: math.inf if pattern == NOTHING else 0 for name, pattern in self.patterns.items()}
        depths |= dict.fromkeys(self.expansions, math.inf)
        changed = True
        while changed:
            changed = False
            for name, expansions in self.expansions.items():
                depth = 1 + min(self._depth(expansion, depths) for expansion in expansions)
                changed |= depth < depths[name]
                depths[name] = depth
        return depths

    @staticmethod
    def _depth(expansion: list[Symbol], depths: dict[str, float]) -> float:
        return max((depths[symbol.name] for symbol in expansion), default=0)

    def _possible(self, name: str) -> list[list[Symbol]]:
        return [expansion for expansion in self.expansions[name] if self._depth(expansion, self.depths) < math.inf]

    def _shortest_routes(self) -> dict[str, list[tuple[list[Symbol], int]]]:
        """For each symbol of any sentence, the productions that lead to it, and where in them to go on."""
        routes: dict[str, list[tuple[list[Symbol], int]]] = {"start": []}
        names = ["start"]
        for name in names:
            for expansion in self._possible(name):
                for place, symbol in enumerate(expansion):
                    if not symbol.is_term and symbol.name not in routes:
                        routes[symbol.name] = [*routes[name], (expansion, place)]
                        names.append(symbol.name)
        return routes

    def productions(self) -> list[tuple[str, list[Symbol]]]:
        return [(name, expansion) for name in self.routes for expansion in self._possible(name)]

    def draw(self, generator: random.Random, production: tuple[str, list[Symbol]], size: int) -> str:
        name, expansion = production
        tokens = self._along(generator, [*self.routes[name], (expansion, -1)], size)
        return "".join(token + (generator.choice(["", " "]) if self.blank else "") for token in tokens)

    def _along(self, generator: random.Random, route: list[tuple[list[Symbol], int]], size: int) -> Iterator[str]:
        (expansion, place), *rest = route
        for index, symbol in enumerate(expansion):
            if index == place:
                yield from self._along(generator, rest, size)
            else:
                yield from self._tokens(generator, symbol, size)

    def _tokens(self, generator: random.Random, symbol: Symbol, size: int) -> Iterator[str]:
        """Branches about ``size`` times, wherever chance has it, and then goes the shortest way."""
        if symbol.is_term:
            yield terminal_text(generator, self.patterns[symbol.name])
            return
        depths = [(self._depth(expansion, self.depths), expansion) for expansion in self._possible(symbol.name)]
        bound = math.inf if size > 0 else min(depth for depth, _ in depths)
        parts = generator.choice([expansion for depth, expansion in depths if depth <= bound])
        rest, shares = size - (len(parts) > 1), [generator.random() for part in parts]
        for part, share in zip(parts, shares, strict=True):
            yield from self._tokens(generator, part, round(rest * share / sum(shares)))


@cache
def sentences(name: str) -> Sentences:
    return Sentences(grammar(name))


def mutated(generator: random.Random, text: str, fragments: list[str]) -> str:
    """The text with one to three characters inserted, deleted, replaced or repeated."""
    for _ in range(generator.randint(1, 3)):
        start = generator.randint(0, len(text))
        end = min(len(text), start + generator.choice([0, 1, 1, 3]))
        text = text[:start] + generator.choice(["", generator.choice(fragments), text[start:end] * 2]) + text[end:]
    return text


# --- what the lexer saw ------------------------------------------------------------------------


def lexing_faults(lark: Lark, text: str) -> list[str]:
    """Where the lexer read on behind a token's end in vain, or took a text shorter than it could."""
    patterns = {t.name: regex.compile(t.pattern.to_regexp()) for t in lark.terminals}
    parser = lark.parse_interactive(text)
    faults = []
    for token in parser.iter_parse():
        # A token is handed out before the parser takes it, so this is the state in which it was read.
        expected = set(parser.choices()) & set(patterns)
        for name in expected | set(lark.ignore_tokens):
            match = patterns[name].match(text, token.start_pos)
            if match and match.end() > token.end_pos:
                faults.append(f"{token.type} {token!r} is shorter than {name} {match.group()!r}")
            beyond = token.end_pos + 1
            if beyond <= len(text) and patterns[name].fullmatch(text, token.start_pos, beyond, partial=True):
                faults.append(
                    f"{token.type} {token!r} may go on as {name} with {text[token.end_pos : token.end_pos + 1]!r}"
                )
    return faults
