"""What the grammars of the formats share.

A rule is a pattern in Python's syntax, named as in the ABNF of its RFC, that holds no anchors, no
look-around and no alternation outside a group: rules are put together as text.
"""

from collections.abc import Iterable

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.regex import pattern_expression

ALPHA = "[A-Za-z]"
HEXDIG = "[0-9A-Fa-f]"


def language(rule: str) -> ex.Expression:
    """The texts that a rule matches as a whole."""
    return pattern_expression(rule, dialect="python", search=False)


def one_of(rules: Iterable[str]) -> str:
    """The alternation of some rules, in a group."""
    return f"(?:{'|'.join(rules)})"


def at_most_once(rule: str) -> str:
    """The rule, or nothing."""
    return f"(?:{rule})?"
