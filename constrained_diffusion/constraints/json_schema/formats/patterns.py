"""Regular expressions of ECMA-262."""

from functools import lru_cache
from string import digits

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.json_schema.formats.rules import ALPHA, HEXDIG, language, one_of
from constrained_diffusion.constraints.json_schema.ranges import naturals
from constrained_diffusion.constraints.json_schema.spelling import optional
from constrained_diffusion.limits import Limits

_MAX_NESTING = 4
_MAX_NESTING_IN_ASSERTIONS = 1
_MAX_COUNT = 999
_MAX_LEAST_COUNT = 19

_SYNTAX_CHARACTER = r"\^$\\.*+?()\[\]{}|"
_GENERAL_CATEGORY = "(?:L[ultmo]?|M[nce]?|N[dlo]?|P[cdseif]?|S[mcko]?|Z[slp]?|C[cfson]?)"
_ESCAPE = (
    rf"\\(?:[{_SYNTAX_CHARACTER}/dDsSwWtnvfr]|c{ALPHA}|x{HEXDIG}{{2}}|u{HEXDIG}{{4}}|[pP]\{{{_GENERAL_CATEGORY}\}})"
)
_GROUP_NAME = "[A-Za-z_$][A-Za-z0-9_$]*"
_RANGES = [f"{first}-[{first}-9]" for first in digits] + ["a-[a-z]", "A-[A-Z]"]


def regex() -> ex.Expression:
    """``Pattern`` (ECMA-262, section 22.2.1), as it is valid with the flag ``u`` and without.

    Groups nest four deep. Look-around stands outside of groups, and the groups in it hold none. Only a
    group at the very beginning has a name, and nothing refers back. In a class, a range begins with a
    digit, ``a`` or ``A``, and a hyphen by itself is the first or the last or has a backslash. Counts
    have up to three digits, and of two the least is below 20. Scripts, binary properties, ``\\0`` and
    ``\\u{...}`` are left out.
    """
    name, inside = language(rf"\^?\(\?<{_GROUP_NAME}>"), _disjunction(_MAX_NESTING - 1, None)
    named_group = ex.Concatenation((name, inside, ex.literal(b")"), _optional_quantifier()))
    return ex.Concatenation((optional(named_group), _disjunction(_MAX_NESTING, _MAX_NESTING_IN_ASSERTIONS)))


@lru_cache(maxsize=8)
def _disjunction(nesting: int, nesting_in_assertions: int | None) -> ex.Expression:
    """``Disjunction`` whose groups nest so deep; None: without look-around."""
    terms = [language(r"[\^$|]|\\[bB]"), ex.Concatenation((_atom(), _optional_quantifier()))]
    if nesting:
        opening, inside = language(r"\((?:\?:)?"), _disjunction(nesting - 1, None)
        terms.append(ex.Concatenation((opening, inside, ex.literal(b")"), _optional_quantifier())))
    if nesting_in_assertions is not None:
        opening, inside = language(r"\(\?<?[=!]"), _disjunction(nesting_in_assertions, None)
        terms.append(ex.Concatenation((opening, inside, ex.literal(b")"))))
    return _embedded(ex.Repetition(ex.Union(tuple(terms))))


@lru_cache(maxsize=1)
def _atom() -> ex.Expression:
    """``Atom`` without parentheses: a character, a class or an escape."""
    return _embedded(language(rf"[^{_SYNTAX_CHARACTER}]|\.|{_ESCAPE}|{_character_class()}"))


def _character_class() -> str:
    """``CharacterClass``; a hyphen is itself only at its start or end, or behind a backslash."""
    item = one_of([r"[^\\\]\-]", _ESCAPE, r"\\[b\-]", *_RANGES])
    return rf"\[\^?-?{item}*-?\]"


@lru_cache(maxsize=1)
def _optional_quantifier() -> ex.Expression:
    """``Quantifier``, or nothing; the numbers without leading zeros, and in order."""
    number = "(?:0|[1-9][0-9]{0,2})"
    in_order = (
        ex.Concatenation((ex.literal(b"{%d," % least), naturals(least, _MAX_COUNT), ex.literal(b"}")))
        for least in range(_MAX_LEAST_COUNT + 1)
    )
    prefix = ex.Union((language(rf"[*+?]|\{{{number},?\}}"), *in_order))
    return _embedded(optional(ex.Concatenation((prefix, language(r"\??")))))


def _embedded(expression: ex.Expression) -> ex.Expression:
    return ex.Embedded(ex.compile_expression(expression, Limits()))
