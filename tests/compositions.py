"""Compositions of grammars and regular parts as trees, and the oracle that splits a text in every way."""

import re
from functools import cache, lru_cache

from hypothesis import strategies as st
from lark import Lark, LarkError

import constrained_diffusion as cd

TOYS = {
    "as many": 'start: "a" start "b" | ',
    "mirrored": 'start: "a" start "a" | "b" start "b" | "bab"',
    "brackets": 'start: pair+\npair: "a" pair* "b"',
    "words": "start: A (B A)*\nA: /a+/\nB: /bb?/",
    "longest": "start: A+ B?\nA: /ab?/\nB: /ba/",
    "ignores": 'start: "a" ("a" "a")*\n%ignore "b"',
}
PATTERNS = ("a*", "b", "(ab)+", "[ab]", "ba|b", "(?s:.)*", "", "a[ab]*b")


@cache
def parser(source):
    return Lark(source, parser="lalr")


@lru_cache(maxsize=200_000)
def parses(source, text):
    try:
        parser(source).parse(text)
    except LarkError:
        return False
    return True


def constraint_of(tree):
    """The constraint of a tree."""
    kind, *parts = tree
    if kind == "grammar":
        return cd.grammar(parts[0])
    if kind == "regex":
        return cd.regex(parts[0])
    if kind == "repeat":
        return constraint_of(parts[0]).repeat(*parts[1:])
    first, second = map(constraint_of, parts)
    return first + second if kind == "row" else first | second


def ends(tree, text, begin):
    """Every offset up to which the text from ``begin`` on is one of the tree's."""
    kind, *parts = tree
    offsets = range(begin, len(text) + 1)
    if kind == "grammar":
        return {end for end in offsets if parses(parts[0], text[begin:end])}
    if kind == "regex":
        return {end for end in offsets if re.fullmatch(parts[0], text[begin:end])}
    if kind == "either":
        return ends(parts[0], text, begin) | ends(parts[1], text, begin)
    if kind == "row":
        return {end for middle in ends(parts[0], text, begin) for end in ends(parts[1], text, middle)}
    body, least, most = parts
    reached, found = {begin}, {begin} if least == 0 else set()
    for count in range(1, (least + len(text) + 1 if most is None else most) + 1):
        reached = {end for middle in reached for end in ends(body, text, middle)}
        found |= reached if count >= least else set()
    return found


def is_text(tree, text):
    """Whether the whole text is one of the tree's."""
    return len(text) in ends(tree, text, 0)


grammars = st.sampled_from(sorted(TOYS.values())).map(lambda source: ("grammar", source))
patterns = st.sampled_from(PATTERNS).map(lambda pattern: ("regex", pattern))


def _larger(inner):
    return st.one_of(
        st.tuples(st.sampled_from(["row", "either"]), inner, inner),
        st.tuples(st.just("repeat"), inner, st.integers(0, 1), st.sampled_from([1, 2, None])),
    )


trees = st.recursive(st.one_of(grammars, patterns), _larger, max_leaves=4)
"""Small compositions; some hold no grammar."""
