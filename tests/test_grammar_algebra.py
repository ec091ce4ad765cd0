"""Grammars combined with regular constraints."""

import math
import re

import pytest
import torch
from enumeration import TOY, enumerate_canvases, text_key
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark
from test_grammar_posterior import BYTES, END_ID, wild_logits
from test_posterior import make_logits

import constrained_diffusion as cd

BALANCED = 'start: ("a" start "b")*'


@pytest.mark.parametrize(
    "constraint",
    [
        cd.grammar("json") & cd.regex(r"\[.*7.*\]"),
        cd.regex(r"\[.*7.*\]") & cd.grammar("json"),
        cd.grammar("json") & cd.regex(r"(?s)\[.*") & cd.regex(r"(?s).*7.*"),
    ],
)
def test_both_must_match(constraint):
    assert constraint.matches("[1, 7]")
    assert not constraint.matches("[1, 8]")
    assert not constraint.matches("[1, 7")
    assert not constraint.matches("7")
    lark = Lark(cd.grammar("json").source.text, parser="lalr")
    automaton = cd.compile(constraint, BYTES)
    for seed in range(3):
        for open_until in (0, 60):
            posterior = automaton.posterior(wild_logits("random", seed, open_until=open_until))
            for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
                text = automaton.text(ids)
                lark.parse(text)
                assert text.startswith("[")
                assert "7" in text
                assert END_ID in ids.tolist()


NARROWED = {
    pattern: cd.grammar(BALANCED) & cd.regex(pattern) for pattern in ("(ab)*", "a.*b", "(?:....)*", "a{0,2}b{0,2}")
}
AUTOMATA = {pattern: cd.compile(constraint, TOY) for pattern, constraint in NARROWED.items()}


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(NARROWED)), st.integers(1, 5), st.integers(0, 10**6))
def test_an_intersection_agrees_with_enumeration(pattern, length, seed):
    logits = make_logits("random", length, len(TOY), seed)
    balanced = Lark(BALANCED, parser="lalr")

    def matches(text):
        if not re.fullmatch(pattern, text.decode()):
            return False
        try:
            balanced.parse(text.decode())
        except Exception:
            return False
        return True

    expected = enumerate_canvases(logits, matches)
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            AUTOMATA[pattern].posterior(logits)
        return
    posterior = AUTOMATA[pattern].posterior(logits)
    assert bool(posterior.certified)
    assert expected.texts[text_key(posterior.map())] == pytest.approx(expected.best, rel=1e-4)
    assert text_key(posterior.sample(torch.Generator().manual_seed(seed))) in expected.texts
    assert float(posterior.log_z) >= expected.log_z - 1e-4


def test_an_empty_intersection_is_infeasible():
    constraint = cd.grammar(BALANCED) & cd.regex("a(ab)*b") & cd.regex("(ab)+a")
    assert not constraint.matches("ab")
    with pytest.raises(cd.errors.InfeasibleError):
        cd.compile(constraint, TOY)


@pytest.mark.parametrize(
    ("combine", "message"),
    [
        (lambda g: ~g, r"~grammar\('json'\): the complement of a language that nests to any depth"),
        (lambda g: g & g, r"grammar\('json'\) & grammar\('json'\): both nest"),
        (lambda g: (g & cd.regex(".*")) + "x", "cannot be a part of another one"),
        (lambda g: cd.template("{a}", a=g & cd.regex(".*")), r"met in the slot \{a\}"),
        (lambda g: (g + "x") & ("y" + g), "both nest"),
        (lambda g: ~(g + "x"), "complement"),
    ],
)
def test_other_combinations_are_refused_by_name(combine, message):
    with pytest.raises(cd.errors.UnsupportedConstraint, match=message):
        combine(cd.grammar("json"))


def test_a_grammar_beside_a_schema_that_refers_to_itself_is_refused():
    schema = {"properties": {"left": {"$ref": "#"}}, "type": "object"}
    constraint = cd.grammar("json") + "\n" + cd.json_schema(schema)
    with pytest.raises(cd.errors.UnsupportedConstraint, match=r"a grammar and .* cannot be parts of one constraint"):
        constraint.matches("")


@pytest.mark.parametrize("pattern", [r"[^()]*\(.*", r".*\(.*\(.*\).*\).*", r".{20,}", r"[0-9]+ \+ [0-9]+"])
def test_a_narrowed_grammar_is_completed_as_both_want_it(pattern):
    """The shortest text of the grammar alone leads nowhere near what the pattern asks for."""
    vocabulary = cd.Vocabulary([*(bytes([b]) for b in range(256)), None], end_ids=256)
    constraint = cd.grammar("arithmetic") & cd.regex(pattern)
    generator = cd.Generator(cd.RandomDenoiser(vocabulary, canvas_length=40, seed=3))
    result = generator.generate("", constraint, seed=0, max_new_tokens=40, max_passes=2)
    assert cd.grammar("arithmetic").matches(result.text)
    assert cd.regex(pattern).matches(result.text)


def test_a_regular_constraint_of_one_state_holds_on_tokens():
    vocabulary = cd.Vocabulary([b"x", b"y", b"(", b")", None], end_ids=[4])
    grammar = cd.grammar('start: "(" start ")" | "x" | "y"')
    automaton = cd.compile(grammar & cd.regex("[^x]*"), vocabulary)
    logits = torch.zeros(5, len(vocabulary))
    logits[:, 0] = 20
    assert automaton.text(automaton.posterior(logits).map()) in ("y", "(y)")
