"""Regular constraints against Python's ``re`` and the ``regex`` package, and the laws of the algebra."""

import ast
import functools
import itertools
import operator
import re

import hypothesis.strategies as st
import numpy as np
import pytest
import regex as regex_package
from hypothesis import given, reject, settings

import constrained_diffusion as cd
from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.utf8 import byte_ranges, complement, normalized
from constrained_diffusion.constraints.regex import pattern_expression
from constrained_diffusion.limits import Limits

# --- patterns ------------------------------------------------------------------------------------

atoms = st.sampled_from(
    ["a", "b", "é", ".", "[ab]", "[^a]", r"\d", r"\w", r"\s", "[a-c]", "(?:)", r"\.", "[^\\W\\d]", "x", "🙂", "[α-ω]"]
)


def compose(children):
    return st.one_of(
        st.lists(children, min_size=1, max_size=3).map("".join),
        st.lists(children, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(children, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "*?", "{2,}"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    )


patterns = st.recursive(atoms, compose, max_leaves=8)
texts = st.text(alphabet="abcxé🙂α1_ \n.", max_size=6)


@settings(deadline=None, max_examples=300)
@given(patterns, texts)
def test_a_text_matches_exactly_if_re_says_so(pattern, text):
    assert cd.regex(pattern).matches(text) == (re.fullmatch(pattern, text) is not None)


@settings(deadline=None, max_examples=100)
@given(patterns, st.data())
def test_generated_texts_match(pattern, data):
    dfa = cd.regex(pattern).automaton()
    text = _walk(dfa, data)
    if text is not None:
        assert re.fullmatch(pattern, text.decode())


def _walk(dfa, data):
    """A random text of the automaton, or None if the walk is long."""
    if dfa.is_empty:
        return None
    state, text = dfa.start, b""
    for _ in range(40):
        options = dfa.next_bytes(state)
        if dfa.accepts(state) and (not options or data.draw(st.booleans())):
            return text
        byte = data.draw(st.sampled_from(options))
        text += bytes([byte])
        state = dfa.step(state, byte)
    return None


@pytest.mark.parametrize("flags", ["i", "s", "a", "ia", "x"])
@pytest.mark.parametrize("pattern", ["straße.k", r"\w\d\s", "[a-fK]+", "[^k]", "[^a-z]", "ſ", "İ|ı", "µ", "Ǆ"])
def test_flags(flags, pattern):
    alphabet = "aAkKsSſ\u212aßẞeEtTrRIiİıµΜμǄǅǆ1١ \n\u00a0.x"
    compiled = re.compile(f"(?{flags}){pattern}")
    constraint = cd.regex(f"(?{flags}){pattern}")
    for text in [*alphabet, "straßexk", "STRAßE.K", "straẞe.k", "a1 ", "é١\u00a0", "ab", "AB"]:
        assert constraint.matches(text) == (compiled.fullmatch(text) is not None), text


@pytest.mark.parametrize("name", ["L", "Lu", "Nd", "Script=Greek", "P", "Cased", "^L"])
def test_unicode_properties(name):
    for pattern in (rf"\p{{{name}}}", rf"[\p{{{name}}}0]", rf"[^\p{{{name}}}]", rf"\P{{{name}}}"):
        constraint, compiled = cd.regex(pattern), regex_package.compile(pattern)
        for character in "aAéÉ0٣αΩ!¿ 🙂\n字":
            assert constraint.matches(character) == (compiled.fullmatch(character) is not None), (pattern, character)


@pytest.mark.parametrize(
    ("pattern", "construct"),
    [
        ("(?=a)b", "look-around"),
        ("(?<!a)b", "negative look-around"),
        (r"(a)\1", "back-reference"),
        (r"a\b", "word boundary"),
        ("a++", "possessive quantifier"),
        ("(?>a)", "atomic group"),
        ("(a)?(?(1)b|c)", "conditional group"),
        ("(?m)^a$", "multi-line anchor"),
    ],
)
def test_what_is_not_regular_is_refused_by_name(pattern, construct):
    with pytest.raises(cd.errors.UnsupportedConstraint) as caught:
        cd.regex(pattern)
    assert caught.value.construct == construct


@pytest.mark.parametrize("pattern", ["(", "[z-a]", "a{3,1}", "*", "\\", r"\p{Foo}", "a" * 10 + "(" * 5000])
def test_malformed_patterns_are_invalid(pattern):
    with pytest.raises(cd.errors.InvalidConstraint):
        cd.regex(pattern)


def test_anchors():
    for pattern in ["^ab$", r"\Aab\Z", "(?:^a|b)c", "a(?:b$|c)", "(?:^)*a", "^^a$$", "a|^$"]:
        for text in ["", "a", "ab", "ac", "bc", "abc", "aab"]:
            assert cd.regex(pattern).matches(text) == (re.fullmatch(pattern, text) is not None), (pattern, text)


def test_anchors_stay_within_their_own_part():
    first, last = cd.regex("^a"), cd.regex("b$")
    assert (last + first).matches("ba")
    assert cd.regex("^a$").repeat(2, 2).matches("aa")
    assert (first | "x").matches("a")
    assert not (~cd.regex("^a$")).matches("a")


def test_placeholders_collide_with_no_character_of_the_pattern():
    for pattern in (r"\U000f0000\p{Lu}", "\U000f0000\\p{Lu}"):
        assert cd.regex(pattern).matches("\U000f0000B")
        assert not cd.regex(pattern).matches("AB")
    dfa = ex.compile_expression(pattern_expression(r"^\u{F0000}\d$", dialect="ecma", search=True), Limits())
    assert dfa.matches("\U000f00001".encode())
    assert not dfa.matches(b"11")


ECMA = [
    ("^foo|bar$", ["foox", "xbar", "foo"], ["xfoo", "barx"]),
    (r"^\d+$", ["12"], ["١", "1a", "1\n"]),
    (r"^\w$", ["a", "_"], ["é"]),
    (r"^\s$", ["\ufeff", "\u00a0"], ["a"]),
    (r"^\u00e9\x41\u{1F642}$", ["éA🙂"], ["éa🙂"]),
    (r"^\uD83D\uDE42$", ["🙂"], [""]),
    (r"^[\uD83D\uDE42x]$", ["🙂", "x"], ["y"]),
    (r"^[^]$", ["\n", "a"], ["", "ab"]),
    (r"a[]", [], ["a", ""]),
    (r"^.$", ["a"], ["\n", "\u2028", "\r"]),
    (r"^\cJ$", ["\n"], ["J"]),
    (r"^[[a]$", ["[", "a"], ["]"]),
    (r"^\/\-\_$", ["/-_"], []),
    (r"^a{,2}$", ["a{,2}"], ["aa"]),
    (r"^(?<year>\d{4})$", ["2024"], ["24"]),
    (r"^\p{Lu}\P{L}$", ["É1"], ["éA"]),
    ("a.*b", ["xxayybzz"], ["ba"]),
    (r"^[\w-.]+$", ["a-.b"], ["a/b"]),
    (r"^[.-\d]$", [".", "-", "7"], ["/", "a"]),
    (r"^[\\\d-x]$", ["\\", "1", "-", "x"], ["a"]),
    (r"^[a-c-]$", ["b", "-"], ["d"]),
    ("^[\\b\\]]$", ["\b", "]"], ["b"]),
    ("", ["", "anything"], []),
]


@pytest.mark.parametrize(("pattern", "inside", "outside"), ECMA)
def test_ecma_patterns(pattern, inside, outside):
    dfa = ex.compile_expression(pattern_expression(pattern, dialect="ecma", search=True), Limits())
    assert all(dfa.matches(text.encode()) for text in inside)
    assert not any(dfa.matches(text.encode()) for text in outside)


@pytest.mark.parametrize("pattern", ["a(?i)b", "x*+", "(?#c)a", "(?P<a>x)", "\\"])
def test_what_ecma_does_not_know_is_invalid(pattern):
    with pytest.raises(cd.errors.InvalidConstraint):
        pattern_expression(pattern, dialect="ecma", search=True)


# --- the algebra ---------------------------------------------------------------------------------


def languages(children):
    return st.one_of(
        st.tuples(st.sampled_from(["+", "|", "&"]), children, children).map(
            lambda t: (
                (t[1][0] + t[2][0], lambda s: _joined(t[0], t[1][1], t[2][1], s))
                if t[0] == "+"
                else (
                    t[1][0] | t[2][0] if t[0] == "|" else t[1][0] & t[2][0],
                    lambda s: _joined(t[0], t[1][1], t[2][1], s),
                )
            )
        ),
        children.map(lambda c: (~c[0], lambda s: not c[1](s))),
        children.map(lambda c: (c[0].repeat(1, 2), lambda s: c[1](s) or _joined("+", c[1], c[1], s))),
        children.map(lambda c: (c[0].optional(), lambda s: s == "" or c[1](s))),
    )


def _joined(operator, first, second, text):
    if operator == "|":
        return first(text) or second(text)
    if operator == "&":
        return first(text) and second(text)
    return any(first(text[:i]) and second(text[i:]) for i in range(len(text) + 1))


leaves = st.sampled_from(
    [
        (cd.regex("a*b?"), lambda s: re.fullmatch("a*b?", s) is not None),
        (cd.literal("ab"), lambda s: s == "ab"),
        (cd.choice(["a", "é", ""]), lambda s: s in ("a", "é", "")),
        (cd.regex("[^b]+"), lambda s: re.fullmatch("[^b]+", s) is not None),
    ]
)


@settings(deadline=None, max_examples=150)
@given(st.recursive(leaves, languages, max_leaves=5), st.text(alphabet="abé", max_size=5))
def test_the_algebra_means_what_it_says(language, text):
    constraint, contains = language
    assert constraint.matches(text) == contains(text)


@settings(deadline=None, max_examples=60)
@given(patterns, patterns, patterns)
def test_laws(first, second, third):
    a, b, c = (cd.regex(p) for p in (first, second, third))

    def same(left, right):
        try:
            automata = left.automaton(), right.automaton()
        except cd.errors.LimitExceeded:
            reject()  # a few patterns are too large to be made deterministic
        assert automata[0].same_language(automata[1])

    same(a | b, b | a)
    same(a & b, b & a)
    same(~~a, a)
    same(~(a | b), ~a & ~b)
    same((a | b) + c, (a + c) | (b + c))
    same(a & (b | c), (a & b) | (a & c))
    same((a + b) + c, a + (b + c))
    same(a.repeat(), (a.optional()).repeat())
    assert (a & ~a).automaton().is_empty


def test_strings_stand_for_themselves():
    constraint = "<" + cd.regex("[0-9]+") + ">" | "none"
    assert constraint.matches("<12>")
    assert constraint.matches("none")
    assert not constraint.matches("<>")
    assert repr("<" + cd.regex("a")) == "(literal('<') + regex('a'))"


@pytest.mark.parametrize(
    "make",
    [
        lambda: cd.choice([]),
        lambda: cd.choice("abc"),
        lambda: cd.choice([1]),
        lambda: cd.literal(b"\xff"),
        lambda: cd.literal("\ud800"),
        lambda: cd.literal(7),
        lambda: cd.regex("a").repeat(3, 2),
        lambda: cd.regex("a").repeat(-1),
        lambda: cd.regex("a") + 7,
        lambda: cd.regex(7),
        lambda: cd.choice(3),
        lambda: cd.regex("a").repeat("1"),
        lambda: cd.regex("a").matches(5),
        lambda: cd.Limits(max_states="x"),
        lambda: cd.Limits(max_states=1.5),
    ],
)
def test_malformed_constraints_are_invalid(make):
    with pytest.raises(cd.errors.InvalidConstraint):
        make()


def test_valid_utf8_is_part_of_every_language():
    everything = cd.regex("(?s).*")
    for text in [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"]:
        assert not everything.matches(text)
        assert not (~cd.literal("a")).matches(text)
    assert everything.matches("\x00é\U0010ffff")


# --- automata ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(patterns)
def test_automata_are_minimal(pattern):
    """No two states agree on all texts: the classical table of distinguishable pairs marks every pair."""
    dfa = cd.regex(pattern).automaton()
    n, classes = dfa.table.shape
    if n > 60 or n == 0:
        return
    table = np.where(dfa.table < 0, n, dfa.table)
    table = np.vstack([table, np.full((1, classes), n)])
    accepting = np.append(dfa.accepting, False)
    differ = accepting[:, None] != accepting[None, :]
    for _ in range(n + 1):
        differ = differ | np.any(differ[table[:, None, :], table[None, :, :]], axis=-1)
    assert (differ | np.eye(n + 1, dtype=bool)).all()


def test_code_point_ranges_spell_exactly_their_characters():
    ranges = normalized([(0x7E, 0x801), (0xD700, 0xE010), (0xFFF0, 0x10010), (0x10FFF0, 0x10FFFF)])
    spelled = {
        bytes(sequence)
        for parts in byte_ranges(ranges)
        for sequence in __import__("itertools").product(*(range(low, high + 1) for low, high in parts))
    }
    assert spelled == {chr(c).encode() for low, high in ranges for c in range(low, high + 1)}
    assert complement(complement(ranges)) == ranges


@pytest.mark.parametrize(
    ("pattern", "limits", "name"),
    [
        ("(a{1000}){1000}", cd.Limits(max_states=10_000), "max_states"),
        ("((a{1000}){1000}){1000}", cd.Limits(), "max_nfa_transitions"),
        ("(a|b)*a(a|b){25}", cd.Limits(max_states=50_000), "max_states"),
        ("(a?){3000}b", cd.Limits(max_work=100_000), "max_work"),
    ],
)
def test_hostile_patterns_end_in_a_named_limit(pattern, limits, name):
    with pytest.raises(cd.errors.LimitExceeded) as caught:
        cd.regex(pattern).automaton(limits)
    assert caught.value.limit == name


def test_half_a_surrogate_pair_is_in_no_language():
    assert not cd.regex("(?s).*").matches("\ud800")


def test_limits_are_positive():
    with pytest.raises(cd.errors.InvalidConstraint):
        cd.Limits(max_states=0)


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, last = [i], row
        for j, y in enumerate(b, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y)))
    return row[-1]


@settings(deadline=None, max_examples=60)
@given(st.text("abé", max_size=5), st.sampled_from(["(ab)+", "a{2,3}b?", "[ab]*é", "abba|é"]))
def test_the_nearest_text_is_nearest(text, pattern):
    """Against all texts of the language up to a length, in characters."""
    constraint = cd.regex(pattern)
    explained = constraint.explain(text)
    if constraint.matches(text):
        assert explained is None
        return
    candidates = ["".join(letters) for n in range(7) for letters in itertools.product("abé", repeat=n)]
    least = min(edit_distance(text, c) for c in candidates if re.fullmatch(pattern, c))
    repaired = ast.literal_eval(explained.rsplit(" it ", 1)[1])
    assert constraint.matches(repaired)
    assert edit_distance(text, repaired) == least
    assert ("one edit" if least == 1 else f"{least} edits") in explained


# --- long and deep combinations ------------------------------------------------------------------


@pytest.mark.parametrize("combine", [operator.add, operator.or_])
def test_thousands_of_operands_in_a_row(combine):
    constraint = functools.reduce(combine, [cd.regex("[ab]"), *(f"{i} " for i in range(5000))])
    texts = [f"{i} " for i in range(5000)]
    assert constraint.matches("b" + "".join(texts) if combine is operator.add else texts[-1])
    assert not constraint.matches("b" + "".join(texts[1:]))
    assert len(repr(constraint)) < 200


def test_a_row_begun_from_its_end():
    constraint = functools.reduce(lambda behind, text: text + behind, [str(i) for i in range(2000)], cd.regex("[ab]"))
    assert constraint.matches("".join(str(i) for i in reversed(range(2000))) + "a")


def test_what_is_nested_too_deep_is_said():
    constraint = functools.reduce(lambda inner, _: "w" + inner | cd.literal("b"), range(3000), cd.regex("s"))
    with pytest.raises(cd.errors.InvalidConstraint, match="nested too deep"):
        constraint.automaton()
    assert len(repr(constraint)) < 400


def test_a_row_has_the_language_of_its_operands_one_by_one():
    a, b, c = cd.regex("a|ab"), cd.regex("b|bc"), cd.regex("c?")
    assert (a + b + c).automaton().same_language((a + (b + c)).automaton())
    assert (a & b & c).automaton().is_empty
    assert repr(a + b + c) == repr(a + (b + c)) == "(regex('a|ab') + regex('b|bc') + regex('c?'))"
    assert repr((a | b) + ~c) == "((regex('a|ab') | regex('b|bc')) + ~regex('c?'))"
