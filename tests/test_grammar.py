"""Grammars mean what Lark means: differential tests against Lark itself, and errors."""

import random
from pathlib import Path

import pytest
from lark import Lark
from lark.exceptions import UnexpectedInput
from lark_grammars import GRAMMARS

import constrained_diffusion as cd
from constrained_diffusion.automata.byte_automaton import DEAD
from constrained_diffusion.constraints.explaining import explanation

LARK_OWN = (Path(__import__("lark").__file__).parent / "grammars" / "lark.lark").read_text()
LIBRARY = {
    "json": (
        ('{"a": [1, -2.5e3, true], "b\\n\\u00e9": {"c": null}}', " [ ] ", '"é"', "[[[{}]]]", "-0", '{"a":1,"a":2}'),
        '{}[]",:01.eE-+truefalsn \\ué\n',
    ),
    "arithmetic": (("1 + 2*(3-7)", "-3** -2", "41 // 3.25", "((1))", "2**3**4", "+ - + 5 % 2"), "0123.()+-*/% "),
}


def parses(lark, text):
    try:
        lark.parse(text)
    except UnexpectedInput:
        return False
    return True


def mutated(text, characters, rng):
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        at = rng.randrange(len(text) + 1)
        kind = rng.random()
        character = rng.choice(characters)
        if kind < 0.4:
            text = text[:at] + character + text[at:]
        elif kind < 0.7:
            text = text[:at] + text[at + 1 :]
        elif kind < 0.9:
            text = text[:at] + character + text[at + 1 :]
        else:
            text = text[:at] + text[rng.randrange(len(text) + 1) :]
    return text


def assert_agrees_with_lark(source, texts, characters, count):
    lark = Lark(source, parser="lalr")
    constraint = cd.grammar(source)
    rng = random.Random(0)
    verdicts = [0, 0]
    for _ in range(count):
        text = mutated(rng.choice(texts), characters, rng)
        expected = parses(lark, text)
        verdicts[expected] += 1
        assert constraint.matches(text) == expected, text
    assert min(verdicts) > count // 20, verdicts


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_text_matches_exactly_if_lark_parses_it(name):
    sampled = GRAMMARS[name]
    assert_agrees_with_lark(sampled.source, sampled.texts, sampled.characters, 1500)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_matches_exactly_what_lark_parses(name):
    texts, characters = LIBRARY[name]
    assert_agrees_with_lark(cd.grammar(name).source.text, texts, characters, 1500)


def test_lark_s_own_grammar():
    texts = tuple(GRAMMARS[name].source + "\n" for name in GRAMMARS)
    assert_agrees_with_lark(LARK_OWN, texts, 'abA:|"/ \n()*+?%~.{}', 600)


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_text_is_a_prefix_exactly_until_its_state_is_dead(name):
    """The byte after which nothing follows is never inside a text that Lark parses."""
    sampled = GRAMMARS[name]
    automaton = cd.grammar(sampled.source).automaton()
    lark = Lark(sampled.source, parser="lalr")
    for text in sampled.texts:
        if parses(lark, text):
            assert automaton.first_error(text.encode()) is None


def test_texts_are_valid_utf8():
    constraint = cd.grammar('start: /[^"]+/')
    assert constraint.matches("é")
    assert not constraint.matches(b"\xc3")
    assert not constraint.matches(b"\xff")
    assert not constraint.matches("\ud800")


def test_sources_names_and_files(tmp_path):
    (tmp_path / "digits.lark").write_text("DIGITS: /[0-9]+/\n")
    (tmp_path / "sum.lark").write_text('%import .digits.DIGITS\nstart: DIGITS "+" DIGITS\n')
    for given in (tmp_path / "sum.lark", str(tmp_path / "sum.lark")):
        assert cd.grammar(given).matches("1+23")
    assert cd.grammar("json").matches("[1]")
    assert cd.grammar('start: "a"').matches("a")
    assert cd.grammar('a: "a" b?\nb: "b"', start="b").matches("b")
    assert repr(cd.grammar("json")) == "grammar('json')"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('foo: "a"', "no rule 'start', which the whole text is to match; name another by start="),
        ("start: a", "malformed grammar, 1:8: .*\n  start: a\n         \\^"),
        ('start: "a\nb: "c"', r"malformed grammar, 1:8"),
        ("start: A\nA: /(/", "cannot be read|malformed"),
        ("start: A\n%import common.NOPE -> A", "1:8: Rule 'A' used but not defined"),
        ("no_such_grammar", "neither a file nor one of the library: arithmetic, "),
        ("start: A\nA: /a*/", "zero-width"),
    ],
)
def test_malformed_grammars_are_pointed_at(source, words):
    with pytest.raises(cd.errors.InvalidConstraint, match=words):
        cd.grammar(source)


@pytest.mark.parametrize(
    ("source", "construct"),
    [
        ('start: a | b\na: "x"\nb: "x"', "reduce/reduce conflict"),
        ("%declare INDENT\nstart: INDENT", "%declare INDENT"),
        ("start: A\nA: /(?P<q>a)(?P=q)/", "groupref in terminal A"),
        ("start: A\nA: /a\\b/", "at in terminal A|word boundary in terminal A"),
        ('start: A "b"\nA: /a(?=b)/', "positive look-ahead beyond the end of a terminal in terminal A"),
        ("start: A\nA: /(?<!x)a/", "look-behind at the start of a terminal"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_name(source, construct):
    with pytest.raises(cd.errors.UnsupportedConstraint) as raised:
        cd.grammar(source)
    assert raised.value.construct in construct or raised.value.construct.startswith(construct)


def test_a_conflict_is_told_by_its_rules_alone():
    with pytest.raises(cd.errors.UnsupportedConstraint) as raised:
        cd.grammar('start: a | b\na: "x"\nb: "x"')
    told = str(raised.value)
    assert "<a : X>" in told
    assert "<b : X>" in told
    assert "Rewrite the rules" in told
    assert "occurred in state" not in told


@pytest.mark.parametrize("given", [3, None, b"start: A"])
def test_other_types_are_refused(given):
    with pytest.raises(cd.errors.InvalidConstraint, match="expected a grammar"):
        cd.grammar(given)


def test_errors_in_a_text_are_explained():
    message = explanation(cd.grammar("json").automaton(), b'{"a" 1}')
    assert message.startswith("1:6: met '1', expected")
    assert "':'" in message


def test_states_can_be_completed():
    """Where Lark's tables alone would go on, the text that could follow is looked at."""
    automaton = cd.grammar("json").automaton()
    assert automaton.run(b"[1}") == DEAD
    assert automaton.run(b"[1") != DEAD
    assert not automaton.accepts(automaton.run(b"[1"))


def test_an_open_look_ahead_never_accepts_more():
    """Where the scanner would have to go back to a shorter match it accepts less than Lark."""
    source = 'start: (NUMBER | ".")+\nNUMBER: /[0-9]+(?!\\.[0-9])|[0-9]+\\.[0-9]+/'
    lark, constraint = Lark(source, parser="lalr"), cd.grammar(source)
    rng = random.Random(0)
    texts = ["".join(rng.choice("12.") for _ in range(rng.randint(1, 7))) for _ in range(500)]
    accepted = [text for text in texts if constraint.matches(text)]
    assert len(accepted) > 100
    assert all(parses(lark, text) for text in accepted)
