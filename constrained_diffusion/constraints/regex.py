"""Regular expressions, in Python's syntax or in that of ECMA-262.

The pattern is parsed by Python's own parser. Look-around, back-references, word boundaries and
atomic groups are not regular operations on the text and are refused by name.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from re import _casefix, _constants, _parser  # type: ignore[attr-defined]
from typing import Any, Final, Literal, final

import regex as unicode_regex

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.utf8 import ALL_CODE_POINTS, CodePoints, complement, normalized
from constrained_diffusion.checking import shortened
from constrained_diffusion.constraints.base import RegularConstraint
from constrained_diffusion.errors import InvalidConstraint, UnsupportedConstraint

Dialect = Literal["python", "ecma"]

_DIGITS: Final[CodePoints] = ((0x30, 0x39),)
_ASCII_WORD: Final[CodePoints] = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_ASCII_SPACE: Final[CodePoints] = ((0x09, 0x0D), (0x20, 0x20))
_ECMA_SPACE: Final = normalized(
    (ord(c), ord(c))
    for c in "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_ECMA_LINE_ENDS: Final = normalized([(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)])
_ECMA_CLASSES: Final = {"d": _DIGITS, "w": _ASCII_WORD, "s": _ECMA_SPACE}
_ECMA_CONTROLS: Final = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D}
_ANY_TEXT_BUT: Final = {False: complement(((0x0A, 0x0A),)), True: ALL_CODE_POINTS}
_REFUSED: Final = {
    "ASSERT": "look-around",
    "ASSERT_NOT": "negative look-around",
    "GROUPREF": "back-reference",
    "GROUPREF_EXISTS": "conditional group",
    "GROUPREF_IGNORE": "back-reference",
    "ATOMIC_GROUP": "atomic group",
    "POSSESSIVE_REPEAT": "possessive quantifier",
}


@final
class Regex(RegularConstraint):
    """The texts that a pattern matches as a whole."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._expression = pattern_expression(pattern, dialect="python", search=False)

    @property
    def expression(self) -> ex.Expression:
        return self._expression

    def __repr__(self) -> str:
        return f"regex({shortened(self.pattern)!r})"


# The public function has the name that users expect; the imported package goes by another here.
def regex(pattern: str) -> Regex:
    r"""The texts that ``pattern``, in the syntax of Python's ``re``, matches as a whole.

    Unicode properties such as ``\p{Lu}`` are understood besides.

    Raises:
        InvalidConstraint: the pattern is malformed.
        UnsupportedConstraint: it uses look-around, a back-reference, a word boundary, an atomic
            group or a possessive quantifier.

    >>> regex("[0-9]{3}-[a-z]+").matches("123-ab")
    True
    """
    return Regex(pattern)


def pattern_expression(pattern: str, *, dialect: Dialect, search: bool) -> ex.Expression:
    """The language of a pattern; with ``search`` the texts that contain a match.

    Raises:
        InvalidConstraint, UnsupportedConstraint: as ``regex`` does.
    """
    if not isinstance(pattern, str):
        raise InvalidConstraint(f"a pattern is a string, met {type(pattern).__name__}: {pattern!r}")
    rewritten, classes = (_rewrite_ecma if dialect == "ecma" else _rewrite_python)(pattern)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            tree = _parser.parse(rewritten)
        translator = Translator(pattern, classes, dialect)
        body = translator.sequence(tree, tree.state.flags, is_last=True)
    except (re.error, OverflowError) as error:
        raise InvalidConstraint(f"malformed pattern {pattern!r}: {error}") from error
    except RecursionError as error:
        raise InvalidConstraint(f"the pattern is nested too deeply: {pattern[:60]!r}...") from error
    whole = ex.Concatenation((ex.any_text(), body, ex.any_text())) if search else body
    return ex.WholeText(whole) if translator.has_anchors else whole


# --- classes of characters -----------------------------------------------------------------------


@lru_cache(maxsize=1)
def _all_characters() -> str:
    return "".join(chr(c) for low, high in ALL_CODE_POINTS for c in range(low, high + 1))


@lru_cache(maxsize=256)
def _characters_matching(pattern: str) -> CodePoints:
    """The characters that a one-character pattern of the ``regex`` package matches."""
    runs = unicode_regex.finditer(f"(?:{pattern})+", _all_characters())
    return normalized((ord(run[0][0]), ord(run[0][-1])) for found in runs for run in _without_gap(found[0]))


def _without_gap(run: str) -> Iterator[tuple[str, ...]]:
    """A run of neighbours in the list of all characters, cut where the surrogates are left out."""
    before, after = chr(ALL_CODE_POINTS[0][1]), chr(ALL_CODE_POINTS[1][0])
    if before in run and after in run:
        yield (run[: run.index(after)],)
        yield (run[run.index(after) :],)
    else:
        yield (run,)


@lru_cache(maxsize=8)
def _python_category(letter: str) -> CodePoints:
    """``\\d``, ``\\s`` or ``\\w`` as Python's ``re`` understands it for str."""
    points = (ord(c) for c in re.findall(rf"\{letter}", _all_characters()))
    return normalized((point, point) for point in points)


@lru_cache(maxsize=1)
def _case_groups() -> dict[int, frozenset[int]]:
    """For each cased code point all that match it under IGNORECASE."""
    lower = {point: _constants_lower(point) for low, high in ALL_CODE_POINTS for point in range(low, high + 1)}
    members: dict[int, set[int]] = {}
    for point, lowered in lower.items():
        if point != lowered:
            members.setdefault(lowered, {lowered}).add(point)
    for lowered, extra in _casefix._EXTRA_CASES.items():
        group = members.setdefault(lowered, {lowered})
        for other in extra:
            group |= members.get(other, {other})
    return {point: frozenset(members[key]) for key in members for point in members[key] if lower[point] == key}


def _constants_lower(point: int) -> int:
    lowered = chr(point).lower()
    return ord(lowered) if len(lowered) == 1 else ord(lowered[0])


@lru_cache(maxsize=1024)
def _caseless(points: CodePoints, *, ascii_only: bool) -> CodePoints:
    """The set and every other case of its members."""
    groups = _case_groups()
    if sum(high - low + 1 for low, high in points) < len(groups):
        cased = [point for low, high in points for point in range(low, high + 1) if point in groups]
    else:
        cased = [point for point in groups if any(low <= point <= high for low, high in points)]
    extra = [
        (other, other)
        for point in cased
        if not (ascii_only and point > 0x7F)
        for other in groups[point]
        if not (ascii_only and other > 0x7F)
    ]
    return normalized([*points, *extra])


# --- from pattern to syntax tree -----------------------------------------------------------------


class _Placeholders:
    """Private-use characters that stand for classes which Python's parser does not know."""

    def __init__(self, pattern: str) -> None:
        escaped = re.findall(r"\\(?:x\w\w|u\w{4}|U\w{8}|u\{\w+\})", pattern)
        used = set(pattern) | {_last_code_point(escape) for escape in escaped}
        self._free = (chr(point) for point in range(0xF0000, 0xFFFFE) if chr(point) not in used)
        self.classes: dict[int, CodePoints] = {}

    def add(self, points: CodePoints) -> str:
        """A character that stands for the class."""
        character = next(self._free)
        self.classes[ord(character)] = points
        return character


def _last_code_point(escape: str) -> str:
    """The character of a hexadecimal escape; of one that names none, the null character."""
    digits = "".join(re.findall("[0-9a-fA-F]", escape[2:]))
    point = int(digits or "0", 16)
    return chr(point) if point <= 0x10FFFF else "\0"


def _property_escape(pattern: str, at: int) -> tuple[CodePoints, int]:
    r"""The class of ``\p{...}`` or ``\P{...}`` at ``at``, and where it ends."""
    found = re.compile(r"\\[pP](\{\^?[\w\s=:-]+\}|\w)").match(pattern, at)
    if not found:
        raise InvalidConstraint(f"malformed pattern {pattern!r}: expected a name as in \\p{{Lu}} at position {at}")
    try:
        return _characters_matching(found[0]), found.end()
    except unicode_regex.error as error:
        raise InvalidConstraint(
            f"malformed pattern {pattern!r}: unknown property {found[0]} at position {at}"
        ) from error


def _rewrite_python(pattern: str) -> tuple[str, dict[int, CodePoints]]:
    r"""The pattern with every ``\p{...}`` replaced by a placeholder."""
    holders, out, at = _Placeholders(pattern), [], 0
    while at < len(pattern):
        if pattern[at] == "\\" and pattern[at + 1 : at + 2] in ("p", "P"):
            points, at = _property_escape(pattern, at)
            out.append(holders.add(points))
        else:
            width = 2 if pattern[at] == "\\" else 1
            out.append(pattern[at : at + width])
            at += width
    return "".join(out), holders.classes


def _rewrite_ecma(pattern: str) -> tuple[str, dict[int, CodePoints]]:
    """The pattern of ECMA-262 (with the u flag's properties) in Python's syntax."""
    holders, out, at, in_set = _Placeholders(pattern), [], 0, False
    while at < len(pattern):
        rest = pattern[at:]
        if rest[0] == "\\":
            piece, at = _ecma_escape(pattern, at, holders, in_set)
        elif in_set:
            is_escaped = rest[0] in "[&~|" or (rest[0] == "-" and _is_beside_class(pattern, at))
            piece, at, in_set = "\\" + rest[0] if is_escaped else rest[0], at + 1, rest[0] != "]"
        elif rest.startswith(("[]", "[^]")):
            width = rest.index("]") + 1
            piece, at = holders.add(() if width == 2 else ALL_CODE_POINTS), at + width
        elif rest[0] == "[":
            width = 2 if rest.startswith("[^") else 1
            piece, at, in_set = rest[:width], at + width, True
        elif rest[0] == ".":
            piece, at = holders.add(complement(_ECMA_LINE_ENDS)), at + 1
        elif named := re.match(r"\(\?<([A-Za-z_$][\w$]*)>", rest):
            piece, at = f"(?P<{named[1].replace('$', '_')}>", at + named.end()
        elif rest[0] == "{" and not re.match(r"\{\d+(,\d*)?\}", rest):
            piece, at = "\\{", at + 1
        elif (quantified := re.match(r"[*+?]|\{\d+(,\d*)?\}", rest)) and rest[quantified.end() :].startswith("+"):
            raise InvalidConstraint(
                f"malformed pattern {pattern!r}: nothing to repeat at position {at + quantified.end()}"
            )
        elif rest.startswith("(?") and not re.match(r"\(\?(:|=|!|<=|<!)", rest):
            raise InvalidConstraint(f"malformed pattern {pattern!r}: unknown group at position {at}")
        else:
            piece, at = rest[0], at + 1
        out.append(piece)
    return "".join(out), holders.classes


def _is_beside_class(pattern: str, at: int) -> bool:
    """Whether a hyphen in a set stands beside a class such as ``\\w``: it is itself then, not a range (Annex B)."""
    before = re.search(r"(?<!\\)(?:\\\\)*\\(?:[dDwWsS]|[pP]\{[^}]*\})$", pattern[:at])
    return bool(before or re.match(r"\\[dDwWsSpP]", pattern[at + 1 :]))


def _ecma_escape(pattern: str, at: int, holders: _Placeholders, in_set: bool) -> tuple[str, int]:
    """What stands for the escape at ``at`` in Python's syntax, and where it ends."""
    letter = pattern[at + 1 : at + 2]
    if letter in ("p", "P"):
        points, end = _property_escape(pattern, at)
        return holders.add(points), end
    if letter and letter.lower() in _ECMA_CLASSES:
        points = _ECMA_CLASSES[letter.lower()]
        return holders.add(points if letter.islower() else complement(points)), at + 2
    if letter in _ECMA_CONTROLS:
        return _escaped_code_point(_ECMA_CONTROLS[letter]), at + 2
    if letter == "c" and re.match(r"[A-Za-z]", pattern[at + 2 : at + 3]):
        return _escaped_code_point(ord(pattern[at + 2]) % 32), at + 3
    if letter == "0" and not pattern[at + 2 : at + 3].isdigit():
        return _escaped_code_point(0), at + 2
    if letter == "b" and in_set:
        return _escaped_code_point(8), at + 2
    if letter in ("b", "B") or letter.isdigit():
        return pattern[at : at + 2], at + 2
    if letter == "k":
        raise UnsupportedConstraint(f"the pattern {pattern!r} uses a named back-reference", construct="back-reference")
    code = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]+)\})").match(pattern, at)
    if code:
        return _code_point_escape(pattern, code)
    if not letter:
        raise InvalidConstraint(f"malformed pattern {pattern!r}: a lone backslash at its end")
    return re.escape(letter), at + 2


def _code_point_escape(pattern: str, code: re.Match[str]) -> tuple[str, int]:
    """A code point written in hexadecimal; two halves of a surrogate pair are one character."""
    point, end = int(code[1] or code[2] or code[3], 16), code.end()
    low = re.compile(r"\\u(D[C-F][0-9A-F]{2})", re.IGNORECASE).match(pattern, end)
    if 0xD800 <= point <= 0xDBFF and low:
        point, end = 0x10000 + ((point - 0xD800) << 10) + int(low[1], 16) - 0xDC00, low.end()
    if point > 0x10FFFF:
        raise InvalidConstraint(f"malformed pattern {pattern!r}: {code[0]} is beyond the last code point")
    return _escaped_code_point(point), end


def _escaped_code_point(point: int) -> str:
    return f"\\U{point:08x}"


# --- from syntax tree to expression --------------------------------------------------------------


class Translator:
    """Turns the nodes of Python's regex parser into expressions, one method per kind of node."""

    def __init__(self, pattern: str, classes: dict[int, CodePoints], dialect: Dialect) -> None:
        self.pattern = pattern
        self.classes = classes
        self.dialect = dialect
        self.has_anchors = False
        self.methods: dict[str, Callable[[Any, int, bool], ex.Expression]] = {
            "LITERAL": self.literal,
            "NOT_LITERAL": self.not_literal,
            "ANY": self.any,
            "IN": self.set,
            "BRANCH": self.branch,
            "SUBPATTERN": self.group,
            "MAX_REPEAT": self.repeat,
            "MIN_REPEAT": self.repeat,
            "AT": self.position,
        }

    def refused(self, construct: str) -> UnsupportedConstraint:
        return UnsupportedConstraint(
            f"the pattern {self.pattern!r} uses {construct}, which cannot be enforced; rewrite it without that",
            construct=construct,
        )

    def sequence(self, nodes: Any, flags: int, is_last: bool) -> ex.Expression:
        items = list(nodes)
        parts = []
        for i, (code, value) in enumerate(items):
            name = str(code)
            if name not in self.methods:
                raise self.refused(_REFUSED.get(name, name.lower()))
            rest_is_empty = all(str(other) == "AT" for other, _ in items[i + 1 :])
            parts.append(self.methods[name](value, flags, is_last and rest_is_empty))
        return ex.concatenation(*parts) if parts else ex.EPSILON

    def code_points(self, points: CodePoints, flags: int) -> CodePoints:
        if flags & re.IGNORECASE:
            return _caseless(points, ascii_only=bool(flags & re.ASCII))
        return points

    def literal_points(self, value: int) -> CodePoints:
        return self.classes.get(value, normalized([(value, value)]))

    def literal(self, value: int, flags: int, is_last: bool) -> ex.Expression:
        return ex.characters(self.code_points(self.literal_points(value), flags))

    def not_literal(self, value: int, flags: int, is_last: bool) -> ex.Expression:
        return ex.characters(complement(self.code_points(self.literal_points(value), flags)))

    def any(self, value: None, flags: int, is_last: bool) -> ex.Expression:
        return ex.characters(_ANY_TEXT_BUT[bool(flags & re.DOTALL)])

    def set(self, items: Any, flags: int, is_last: bool) -> ex.Expression:
        is_negated = bool(items) and str(items[0][0]) == "NEGATE"
        ranges = [r for code, value in items[is_negated:] for r in self.set_item(str(code), value, flags)]
        points = self.code_points(normalized(ranges), flags)
        return ex.characters(complement(points) if is_negated else points)

    def set_item(self, code: str, value: Any, flags: int) -> CodePoints:
        if code == "LITERAL":
            return self.literal_points(value)
        if code == "RANGE":
            if any(end in self.classes for end in value):
                raise InvalidConstraint(f"malformed pattern {self.pattern!r}: a class is no end of a range")
            return normalized([value])
        return self.category(str(value), flags)

    def category(self, name: str, flags: int) -> CodePoints:
        """``CATEGORY_DIGIT``, ``CATEGORY_NOT_SPACE`` ..."""
        kind = name.rsplit("_", 1)[-1]
        if flags & re.ASCII:
            points = {"DIGIT": _DIGITS, "SPACE": _ASCII_SPACE, "WORD": _ASCII_WORD}[kind]
        else:
            points = _python_category(kind[0].lower())
        return complement(points) if "NOT" in name else points

    def branch(self, value: Any, flags: int, is_last: bool) -> ex.Expression:
        return ex.union(*(self.sequence(option, flags, is_last) for option in value[1]))

    def group(self, value: Any, flags: int, is_last: bool) -> ex.Expression:
        _, added, removed, body = value
        return self.sequence(body, (flags | added) & ~removed, is_last)

    def repeat(self, value: Any, flags: int, is_last: bool) -> ex.Expression:
        least, most, body = value
        is_last = is_last and most == 1
        return ex.Repetition(
            self.sequence(body, flags, is_last), int(least), None if most is _constants.MAXREPEAT else int(most)
        )

    def position(self, value: Any, flags: int, is_last: bool) -> ex.Expression:
        name = str(value)
        self.has_anchors = True
        if name in ("AT_BOUNDARY", "AT_NON_BOUNDARY"):
            raise self.refused("word boundary")
        if flags & re.MULTILINE and name in ("AT_BEGINNING", "AT_END"):
            raise self.refused("multi-line anchor")
        if name in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
            return ex.TEXT_START
        if name == "AT_END" and self.dialect == "python" and not is_last:
            raise self.refused("'$' before the end, where it may stand before a line break (write '\\Z')")
        return ex.TEXT_END
