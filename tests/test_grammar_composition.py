"""Grammars as parts of other constraints: against every way to split a text, and against enumeration."""

import itertools
import math
from functools import cache

import pytest
import torch
from compositions import TOYS, constraint_of, is_text, trees
from enumeration import TOY, enumerate_canvases, shortest_completions, text_key
from hypothesis import given, settings
from hypothesis import strategies as st
from test_posterior import check_listing, logits_kinds, make_logits

import constrained_diffusion as cd
from constrained_diffusion.automata.pushdown import PushdownAutomaton
from constrained_diffusion.automata.pushdown_kernels import closing_way

TEXTS = ["".join(letters) for n in range(7) for letters in itertools.product("ab", repeat=n)]
G = {name: ("grammar", source) for name, source in TOYS.items()}
TREES = {
    "in the middle": ("row", ("regex", "ab?"), ("row", G["as many"], ("regex", "b|ab"))),
    "twice": ("row", G["longest"], G["words"]),
    "either": ("either", G["mirrored"], ("either", G["brackets"], ("regex", "b+"))),
    "lines": ("repeat", ("row", G["words"], ("regex", "b")), 1, 3),
    "any number": ("repeat", G["as many"], 0, None),
    "free text in front": ("row", ("regex", "[ab]*b"), G["ignores"]),
    "free text behind": ("row", G["brackets"], ("regex", "[ab]*")),
    "nested repeats": ("repeat", ("row", ("repeat", G["mirrored"], 0, None), ("regex", "a")), 0, None),
}
AUTOMATA = {name: cd.compile(constraint_of(tree), TOY) for name, tree in TREES.items()}
cases = st.sampled_from(sorted(TREES))


def matcher(tree):
    return lambda text: is_text(tree, text.decode())


@pytest.mark.parametrize("name", TREES)
def test_a_text_is_in_the_language_if_some_split_of_it_is(name):
    constraint = constraint_of(TREES[name])
    verdicts = [constraint.matches(text) for text in TEXTS]
    assert verdicts == [is_text(TREES[name], text) for text in TEXTS]
    assert 2 < sum(verdicts) < len(verdicts)


@settings(deadline=None, max_examples=150)
@given(trees, st.lists(st.text("ab", max_size=9), min_size=20, max_size=20))
def test_any_composition_agrees_with_every_split(tree, texts):
    constraint = constraint_of(tree)
    for text in [*TEXTS[:63], *texts]:
        assert constraint.matches(text) == is_text(tree, text), text


@settings(deadline=None, max_examples=80)
@given(trees, st.text("ab", max_size=4))
def test_what_may_follow_a_beginning(tree, beginning):
    constraint = constraint_of(tree)
    state = constraint.default_automaton.run(beginning.encode())
    for text in TEXTS[:63]:
        whole = state if state == -1 else constraint.default_automaton.run(text.encode(), state)
        assert (whole != -1 and constraint.default_automaton.accepts(whole)) == is_text(tree, beginning + text)


@settings(deadline=None, max_examples=60)
@given(trees, st.integers(0, 10**6))
def test_what_closes_a_prefix_completes_it(tree, seed):
    automaton = constraint_of(tree).default_automaton
    if not isinstance(automaton, PushdownAutomaton):
        return
    state, text = automaton.start, ""
    choose = torch.Generator().manual_seed(seed)
    for _ in range(8):
        following = [byte for byte in automaton.next_bytes(state) if byte in b"ab"]
        closing, path, _ = automaton.call(closing_way, state, automaton.representatives, 1000, False)
        if not len(path):  # what Lark shifts in doubt, or reads as one terminal, may lead nowhere
            assert not any(is_text(tree, text + behind) for behind in TEXTS[:63])
        else:
            assert is_text(tree, text + closing.tobytes().decode())
        if not following:
            break
        byte = following[int(torch.randint(len(following), (1,), generator=choose))]
        state, text = automaton.step(state, byte), text + chr(byte)


@settings(deadline=None, max_examples=120)
@given(cases, logits_kinds, st.integers(1, 5), st.integers(0, 10**6))
def test_best_texts_bounds_and_support_agree_with_enumeration(name, kind, length, seed):
    check_canvas(AUTOMATA[name], TREES[name], kind, length, seed)


@settings(deadline=None, max_examples=40)
@given(trees, logits_kinds, st.integers(1, 4), st.integers(0, 10**6))
def test_any_composition_agrees_with_enumeration(tree, kind, length, seed):
    check_canvas(cd.compile(constraint_of(tree), TOY), tree, kind, length, seed)


def check_canvas(automaton, tree, kind, length, seed):
    logits = make_logits(kind, length, len(TOY), seed)
    if bool(torch.isneginf(logits).all(-1).any()):
        return
    expected = enumerate_canvases(logits, matcher(tree))
    if kind == "gaps" and expected.log_z < -600:
        return
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            automaton.posterior(logits)
        return
    posterior = automaton.posterior(logits)
    assert bool(posterior.certified)
    assert expected.texts[text_key(posterior.map())] == pytest.approx(expected.best, rel=1e-4)
    assert float(posterior.log_z) >= expected.log_z - 1e-4
    assert bool(((posterior.log_marginals() > -math.inf) | (expected.marginals == 0)).all())
    for draw in range(3):
        assert text_key(posterior.sample(torch.Generator().manual_seed(draw))) in expected.texts
    assert check_listing(posterior, expected.texts, 1 + seed % 12)


@settings(deadline=None, max_examples=80)
@given(cases, st.integers(2, 5), st.integers(0, 10**6), st.data())
def test_pins_are_met_or_refused(name, length, seed, data):
    logits = make_logits("random", length, len(TOY), seed)
    pins = torch.tensor(data.draw(st.lists(st.integers(-1, len(TOY) - 1), min_size=length, max_size=length)))
    expected = enumerate_canvases(logits, matcher(TREES[name]), pins=pins.tolist())
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            AUTOMATA[name].posterior(logits, pins=pins)
        return
    posterior = AUTOMATA[name].posterior(logits, pins=pins)
    for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
        assert text_key(ids) in expected.texts
        assert all(pin in (-1, token) for pin, token in zip(pins.tolist(), ids.tolist(), strict=True))
    assert expected.texts[text_key(posterior.map())] == pytest.approx(expected.best, rel=1e-4)


@cache
def completions_of(name):
    return shortest_completions(matcher(TREES[name]), most=5)


@settings(deadline=None, max_examples=60)
@given(cases, st.text("ab", max_size=6), st.integers(1, 3), st.integers(0, 4), st.integers(0, 10**6))
def test_a_canvas_behind_another_one_with_a_budget(name, given_text, length, budget, seed):
    automaton = AUTOMATA[name]
    ids = [TOY.tokens.index(letter.encode()) for letter in given_text]
    try:
        state = automaton.advance(None, ids)
    except cd.errors.InfeasibleError:
        assert not any(is_text(TREES[name], given_text + text) for text in TEXTS[:63])
        return
    finishes = completions_of(name)
    expected = enumerate_canvases(
        logits := make_logits("random", length, len(TOY), seed),
        matcher(TREES[name]),
        prefix=given_text.encode(),
        can_finish=lambda text: finishes(text) <= budget,
    )
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            automaton.posterior(logits, state=state, budget=budget)
        return
    posterior = automaton.posterior(logits, state=state, budget=budget)
    for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
        assert text_key(ids) in expected.texts
    if bool(posterior.certified):
        assert expected.texts[text_key(posterior.map())] == pytest.approx(expected.best, rel=1e-4)
    check_listing(posterior, expected.texts, 1 + seed % 12)


@pytest.mark.parametrize("source", ["start:", "start: nothing\nnothing:"])
def test_grammars_whose_only_text_is_empty(source):
    """No token of theirs does anything, and what stands around them is all that is written."""
    empty = cd.grammar(source)
    for constraint, text in ((empty, ""), (empty + "ab", "ab"), ("b" + empty.repeat(1, 2), "b")):
        automaton = cd.compile(constraint, TOY)
        posterior = automaton.posterior(torch.zeros(3, len(TOY)))
        drawn = {automaton.text(posterior.sample(torch.Generator().manual_seed(seed))) for seed in range(20)}
        assert drawn | {automaton.text(posterior.map())} == {text}


def test_a_grammar_in_many_places():
    """The tables of thousands of places are made in seconds, those of a hundred thousand are refused."""
    words = cd.grammar(TOYS["words"])
    automaton = cd.compile((words + "c").repeat(1500, 2000), cd.Vocabulary([b"ac" * 50, b"a", b"c", None], end_ids=[3]))
    posterior = automaton.posterior(torch.zeros(40, 4))
    assert automaton.text(posterior.map()).count("c") >= 1500
    with pytest.raises(cd.errors.LimitExceeded, match="max_entries"):
        words.repeat(0, 100_000).automaton()
