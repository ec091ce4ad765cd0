"""Inference under grammars: against enumeration over a toy vocabulary, and whole canvases under any logits."""

import itertools
import json
import math
import random
from collections import Counter
from functools import partial

import jsonschema
import pytest
import torch
from enumeration import END, PAD, TOY, check_relaxed, enumerate_canvases, shortest_completions, text_key
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark, UnexpectedInput
from pydantic import BaseModel
from saving import check_saved
from test_posterior import check_listing, logits_kinds, make_logits

import constrained_diffusion as cd
from constrained_diffusion.automata import token_automaton
from constrained_diffusion.automata.pushdown import PushdownAutomaton, Windows, any_bytes
from constrained_diffusion.constraints.base import Constraint
from constrained_diffusion.constraints.grammar import constraint

TOYS = {
    "as many": 'start: "a" start "b" | ',
    "mirrored": 'start: "a" start "a" | "b" start "b" | "bab"',
    "brackets": 'start: pair*\npair: "a" start "b"',
    "words": "start: A (B A)*\nA: /a+/\nB: /bb?/",
}


class Narrow(Constraint):
    """A grammar whose stacks are known by their top symbol only, so that the relaxation is as loose as can be."""

    def __init__(self, source, size=1):
        self.whole = cd.grammar(source)
        self.size = size

    def automaton(self, limits=cd.Limits()):
        grammar = self.whole.automaton().grammar
        return PushdownAutomaton(grammar, Windows.of(grammar, self.size), any_bytes(), limits)


AUTOMATA = {
    (name, kind): cd.compile(make(source), TOY)
    for name, source in TOYS.items()
    for kind, make in (("narrow", Narrow), ("wide", cd.grammar))
}
cases = st.sampled_from(sorted(AUTOMATA))


def matcher(name):
    constraint = cd.grammar(TOYS[name])
    return constraint.matches


def is_bad(logits):
    return bool(torch.isneginf(logits).all(-1).any())


@settings(deadline=None, max_examples=120)
@given(cases, logits_kinds, st.integers(1, 5), st.integers(0, 10**6), st.sampled_from([0.5, 1.0]))
def test_best_texts_bounds_and_support_agree_with_enumeration(case, kind, length, seed, temperature):
    logits = make_logits(kind, length, len(TOY), seed)
    if is_bad(logits):
        return
    automaton = AUTOMATA[case]
    expected = enumerate_canvases(logits, matcher(case[0]), temperature=temperature)
    # Weights below the least positive float vanish from the brute-force sum, not from the recursion.
    if kind == "gaps" and expected.log_z < -600:
        return
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            automaton.posterior(logits, temperature=temperature)
        return
    posterior = automaton.posterior(logits, temperature=temperature)
    check_relaxed(posterior, expected)
    best = posterior.map()
    lower = math.log(expected.best) - (float(posterior.log_z) - expected.log_z)
    assert float(posterior.log_prob(best)) == pytest.approx(lower, abs=1e-3)


@settings(deadline=None, max_examples=80)
@given(cases, st.integers(2, 5), st.integers(0, 10**6), st.data())
def test_pins_are_met_or_refused(case, length, seed, data):
    logits = make_logits("random", length, len(TOY), seed)
    pins = torch.tensor(data.draw(st.lists(st.integers(-1, len(TOY) - 1), min_size=length, max_size=length)))
    expected = enumerate_canvases(logits, matcher(case[0]), pins=pins.tolist())
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            AUTOMATA[case].posterior(logits, pins=pins)
        return
    posterior = AUTOMATA[case].posterior(logits, pins=pins)
    sample = posterior.sample(torch.Generator().manual_seed(seed))
    for ids in (posterior.map(), sample):
        assert text_key(ids) in expected.texts
        assert all(pin in (-1, token) for pin, token in zip(pins.tolist(), ids.tolist(), strict=True))
    assert expected.texts[text_key(posterior.map())] == pytest.approx(expected.best, rel=1e-4)


@settings(deadline=None, max_examples=60)
@given(cases, st.integers(1, 4), st.integers(0, 5), st.integers(0, 10**6))
def test_a_canvas_ends_only_where_the_text_can_still_be_completed(case, length, budget, seed):
    logits = make_logits("random", length, len(TOY), seed)
    name, automaton = case[0], AUTOMATA[case]
    finishes = shortest_completions(matcher(name))
    expected = enumerate_canvases(logits, matcher(name), can_finish=lambda text: finishes(text) <= budget)
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            automaton.posterior(logits, budget=budget)
        return
    posterior = automaton.posterior(logits, budget=budget)
    for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
        assert text_key(ids) in expected.texts
    if bool(posterior.certified):
        assert expected.texts[text_key(posterior.map())] == pytest.approx(expected.best, rel=1e-4)


@settings(deadline=None, max_examples=120)
@given(cases, logits_kinds, st.integers(1, 5), st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([0.5, 1.0]))
def test_the_k_best_texts_are_those_of_enumeration(case, kind, length, seed, k, temperature):
    logits = make_logits(kind, length, len(TOY), seed)
    if is_bad(logits):
        return
    expected = enumerate_canvases(logits, matcher(case[0]), temperature=temperature)
    if expected.log_z < -600:
        return
    posterior = AUTOMATA[case].posterior(logits, temperature=temperature)
    assert check_listing(posterior, expected.texts, k)


@settings(deadline=None, max_examples=60)
@given(cases, st.integers(2, 5), st.integers(0, 10**6), st.integers(1, 12), st.data())
def test_the_k_best_texts_meet_pins(case, length, seed, k, data):
    logits = make_logits("random", length, len(TOY), seed)
    pins = torch.tensor(data.draw(st.lists(st.sampled_from([-1, -1, 0, 1, 2, END]), min_size=length, max_size=length)))
    expected = enumerate_canvases(logits, matcher(case[0]), pins=pins.tolist())
    if expected.log_z == -math.inf:
        return
    posterior = AUTOMATA[case].posterior(logits, pins=pins)
    assert check_listing(posterior, expected.texts, k)
    ids, log_prob = posterior.kbest(k)
    for row in ids[log_prob > -math.inf].tolist():
        assert all(pin in (-1, token) for pin, token in zip(pins.tolist(), row, strict=True))


@settings(deadline=None, max_examples=60)
@given(cases, st.integers(1, 4), st.integers(0, 5), st.integers(0, 10**6), st.integers(1, 12))
def test_the_k_best_texts_fit_the_budget(case, length, budget, seed, k):
    logits = make_logits("random", length, len(TOY), seed)
    finishes = shortest_completions(matcher(case[0]))
    expected = enumerate_canvases(logits, matcher(case[0]), can_finish=lambda text: finishes(text) <= budget)
    if expected.log_z == -math.inf:
        return
    check_listing(AUTOMATA[case].posterior(logits, budget=budget), expected.texts, k)


def test_where_there_are_fewer_texts_the_rest_is_proved_to_be_missing():
    logits = make_logits("random", 4, len(TOY), 5)
    pins = torch.tensor([-1, -1, -1, PAD])
    expected = enumerate_canvases(logits, matcher("as many"), pins=pins.tolist())
    assert len(expected.texts) == 4
    posterior = AUTOMATA["as many", "wide"].posterior(logits, pins=pins)
    ids, log_prob = posterior.kbest(9)
    assert {text_key(row) for row in ids[:4]} == set(expected.texts)
    assert log_prob[4:].tolist() == [-math.inf] * 5
    assert bool(posterior.kbest_certified(9).all())
    assert ids[4:].tolist() == [[PAD] * 4] * 5


def test_the_k_best_texts_of_a_batch_and_behind_the_end():
    automaton = AUTOMATA["as many", "narrow"]
    logits = torch.stack([make_logits("random", 4, len(TOY), seed) for seed in range(3)])
    states = [automaton.start, automaton.advance(None, [0]), automaton.tail]
    batch = automaton.posterior(logits, state=states)
    ids, log_prob = batch.kbest(6)
    proved = batch.kbest_certified(6)
    assert (ids.shape, log_prob.shape, proved.shape) == ((3, 6, 4), (3, 6), (3, 6))
    for i, state in enumerate(states):
        one = automaton.posterior(logits[i], state=state)
        assert torch.equal(one.kbest(6)[0], ids[i])
        assert torch.equal(one.kbest(6)[1], log_prob[i])
    assert log_prob[2].tolist() == [0.0] + [-math.inf] * 5


@pytest.mark.parametrize("case", sorted(AUTOMATA))
def test_samples_follow_the_posterior(case):
    logits = make_logits("random", 4, len(TOY), 3) * 0.4
    expected = enumerate_canvases(logits, matcher(case[0]))
    posterior = AUTOMATA[case].posterior(logits)
    generator = torch.Generator().manual_seed(0)
    draws = 1500
    counts = Counter(text_key(posterior.sample(generator)) for _ in range(draws))
    distance = sum(abs(counts[text] / draws - share) for text, share in expected.texts.items()) / 2
    assert set(counts) <= set(expected.texts)
    assert distance < 0.08


@settings(deadline=None, max_examples=40)
@given(cases, st.lists(st.integers(0, 4), max_size=6))
def test_states_carry_over_canvases(case, ids):
    """From the state behind a text exactly its continuations are in the language."""
    automaton, matches = AUTOMATA[case], matcher(case[0])
    prefix = TOY.decode(ids)
    if shortest_completions(matcher(case[0]))(prefix) > 4:
        return
    state = automaton.advance(None, ids)
    logits = make_logits("random", 4, len(TOY), sum(ids))
    expected = enumerate_canvases(logits, matches, prefix=prefix)
    posterior = automaton.posterior(logits, state=state)
    assert expected.texts[text_key(posterior.map())] == pytest.approx(expected.best, rel=1e-4)
    assert automaton.advance(state, posterior.map()) == automaton.tail


# --- whole canvases ------------------------------------------------------------------------------


class Node(BaseModel):
    """A schema that refers to itself."""

    value: int
    below: list["Node"] = []


BYTES = cd.Vocabulary(
    [bytes([b]) for b in range(256)]
    + [b'":', b'",', b"]}", b"}}", b"]]", b"[[", b'{"', b"[{", b"true", b"null", b'"a"', b'"}', b"))", b"((", b" + "]
    + ["é".encode(), None, None],
    end_ids=[272],
    pad_id=273,
)
END_ID, LENGTH = 272, 96
GRAMMARS = {name: cd.grammar(name) for name in ("json", "arithmetic")}
LARKS = {name: Lark(grammar.source.text, parser="lalr") for name, grammar in GRAMMARS.items()}
LARGE = {name: cd.compile(grammar, BYTES) for name, grammar in GRAMMARS.items()}


def wild_logits(kind, seed, *, length=LENGTH, open_until=0):
    """Logits that know nothing of the grammar; the end token is forbidden before ``open_until``."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(length, len(BYTES), generator=generator)
    if kind == "random":
        logits = logits * 4
    if kind == "peaked":
        favourites = torch.randint(32, 127, (length, 1), generator=generator)
        logits = logits.scatter(1, favourites, 15.0)
    if kind == "opening":
        logits[:, [i for i, token in enumerate(BYTES.tokens) if token and token[-1:] in b'[{("']] += 12
    if kind == "closing":
        logits[:, [i for i, token in enumerate(BYTES.tokens) if token and token[-1:] in b']})"']] += 12
    logits[:open_until, END_ID] = -torch.inf
    return logits


@pytest.mark.parametrize("open_until", [0, 70, 95])
@pytest.mark.parametrize("kind", ["random", "peaked", "opening", "closing"])
@pytest.mark.parametrize("name", LARGE)
def test_texts_parse_whatever_the_logits(name, kind, open_until):
    automaton = LARGE[name]
    for seed in range(4):
        posterior = automaton.posterior(wild_logits(kind, seed, open_until=open_until))
        for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
            LARKS[name].parse(automaton.text(ids))
            assert END_ID in ids.tolist()


@pytest.mark.parametrize("budget", [-30, 0, 3, 40])
def test_what_a_canvas_leaves_open_fits_the_budget(budget):
    for name, automaton in LARGE.items():
        for seed in range(3):
            logits = wild_logits("opening", seed, open_until=LENGTH if budget > 0 else 0)
            posterior = automaton.posterior(logits, budget=budget)
            for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed)), *posterior.kbest(4)[0]):
                state = automaton.advance(None, ids)
                assert automaton.completion(state) <= max(budget, 0), name
                if budget < 0:
                    assert ids.tolist().index(END_ID) < LENGTH + budget


def test_forty_levels_deep():
    text = b"[" * 20 + b'{"a":' * 20 + b"1" + b"}" * 20 + b"]" * 20
    assert GRAMMARS["json"].matches(text)
    ids = [*text, END_ID]
    logits = torch.zeros(256, len(BYTES))
    logits[range(len(ids)), ids] = 12.0
    posterior = LARGE["json"].posterior(logits)
    assert LARGE["json"].text(posterior.map()) == text.decode()
    assert bool(posterior.certified)
    for seed in range(5):
        LARKS["json"].parse(LARGE["json"].text(posterior.sample(torch.Generator().manual_seed(seed))))


def test_pins_far_apart_in_nested_text():
    """Three brackets open at one end, three closed at the other, and something between."""
    pins = torch.full((LENGTH,), -1)
    pins[:3], pins[40:44] = ord("["), torch.tensor([ord("]")] * 3 + [END_ID])
    posterior = LARGE["json"].posterior(wild_logits("random", 0), pins=pins)
    for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(1))):
        text = LARGE["json"].text(ids)
        LARKS["json"].parse(text)
        assert text.startswith("[[[")
        assert text.endswith("]]]")


def test_contradicting_pins_are_refused():
    pins = torch.full((LENGTH,), -1)
    pins[0], pins[1] = ord("["), ord("}")
    with pytest.raises(cd.errors.InfeasibleError, match="pinned"):
        LARGE["json"].posterior(wild_logits("random", 0), pins=pins)


def test_a_canvas_too_short_for_what_is_open_is_refused():
    automaton = LARGE["json"]
    state = automaton.advance(None, list(b"[" * 30))
    with pytest.raises(cd.errors.InfeasibleError, match="no text was found that fits the 8 tokens"):
        automaton.posterior(torch.zeros(8, len(BYTES)), state=state)
    assert automaton.posterior(torch.zeros(16, len(BYTES)), state=state).map().tolist()[15] == END_ID


@pytest.mark.parametrize("canvas_length", [16, 64])
@pytest.mark.parametrize("name", LARGE)
def test_the_loop_writes_texts_that_parse(name, canvas_length):
    denoiser = cd.RandomDenoiser(BYTES, canvas_length=canvas_length, seed=1, scale=6.0)
    generator = cd.Generator(denoiser)
    for seed in range(3):
        result = generator.generate("", GRAMMARS[name], max_new_tokens=50, seed=seed, max_passes=3)
        LARKS[name].parse(result.text)
        assert result.stats.tokens <= 50


@pytest.mark.parametrize("open_until", [0, 95])
@pytest.mark.parametrize("kind", ["random", "peaked", "opening", "closing"])
@pytest.mark.parametrize("name", LARGE)
def test_many_texts_parse_whatever_the_logits(name, kind, open_until):
    automaton = LARGE[name]
    for seed in range(2):
        posterior = automaton.posterior(wild_logits(kind, seed, open_until=open_until))
        ids, log_prob = posterior.kbest(20)
        assert bool((log_prob > -math.inf).all())
        assert len({tuple(row) for row in ids.tolist()}) == 20
        assert bool((log_prob[:-1] >= log_prob[1:]).all())
        for row, score in zip(ids, log_prob.tolist(), strict=True):
            LARKS[name].parse(automaton.text(row))
            assert END_ID in row.tolist()
            assert score == pytest.approx(float(posterior.log_prob(row)), abs=1e-3)
        assert log_prob[0] >= posterior.log_prob(posterior.map()) - 1e-6
        if name == "json":
            assert bool(posterior.kbest_certified(20).all())


NESTED = {"$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}
FAVOURED = {
    "arithmetic": [b"1+(-", b"(1-2", b"*+2)", b")2*1", b")3+1"],
    "json": [b'[{1"', b'[]"1', b',[]:"', b'][1"', b',]["}', b'"]}1'],
    "nested": [b"[]1", b"[],", b"[],", b"[],", b"[],", b"[],", b"[],", b"[]{"],
}
"""Some tokens for each position."""


def is_nested(text):
    try:
        return jsonschema.Draft202012Validator(NESTED).is_valid(json.loads(text))
    except ValueError:
        return False


def parses(name, text):
    try:
        return bool(LARKS[name].parse(text))
    except UnexpectedInput:
        return False


@pytest.mark.parametrize("name", FAVOURED)
@pytest.mark.parametrize("seed", range(3))
def test_the_k_best_texts_on_a_real_vocabulary_are_those_of_enumeration(name, seed):
    """Of the texts that a few favoured tokens at each position spell, all judged by Lark or jsonschema."""
    favoured = FAVOURED[name]
    generator = torch.Generator().manual_seed(seed)
    logits = torch.full((len(favoured) + 1, len(BYTES)), -90.0)
    for position, tokens in enumerate(favoured):
        logits[position, list(tokens)] = torch.randn(len(tokens), generator=generator) * 2
    logits[1:, END_ID] = torch.randn(len(favoured), generator=generator)
    log_p = torch.log_softmax(logits.double(), -1)
    weights = {
        text: float(log_p[range(n + 1), [*text, END_ID]].sum())
        for n in range(1, len(favoured) + 1)
        for text in itertools.product(*favoured[:n])
        if (is_nested if name == "nested" else partial(parses, name))(bytes(text).decode())
    }
    best = sorted(weights, key=lambda text: -weights[text])[:40]
    assert len(best) > 4
    automaton = cd.compile(cd.json_schema(NESTED), BYTES) if name == "nested" else LARGE[name]
    posterior = automaton.posterior(logits)
    ids, log_prob = posterior.kbest(len(best))
    assert [row[: row.index(END_ID)] for row in ids.tolist()] == [list(text) for text in best]
    differences = [log_prob[0] - score for score in log_prob]
    assert differences == pytest.approx([weights[best[0]] - weights[text] for text in best], abs=1e-4)
    assert bool(posterior.kbest_certified(len(best)).all())


@pytest.mark.parametrize("name", ["grammar", "row", "schema"])
@pytest.mark.parametrize("favour", [0.0, 20.0])
def test_the_loop_writes_different_texts(name, favour):
    """Also where the model wants one text only, so that the others are found without it."""
    grammar = GRAMMARS["arithmetic"]
    text, constraint = {
        "grammar": (b"1 + 2", grammar),
        "row": (b"1 + 2\n", grammar + "\n"),
        "schema": (b'{"value": 3}', cd.json_schema(Node)),
    }[name]
    logits = wild_logits("random", 1)[:24].clone()
    logits[range(len(text) + 1), [*text, END_ID]] += favour * 4
    denoiser = cd.ScriptedDenoiser(BYTES, [logits[None]])
    found = cd.Generator(denoiser).generate("", constraint, n=5, seed=0, max_passes=2, max_new_tokens=24, batch_size=1)
    assert len({result.text for result in found}) == 5
    assert all(constraint.matches(result.text) for result in found)
    assert all(result.stats.tokens <= 24 for result in found)
    scores = [result.log_probability for result in found]
    assert scores == sorted(scores, reverse=True)
    assert not favour or found[0].text.encode() == text


def test_fewer_texts_are_written_where_a_grammar_has_no_more():
    denoiser = cd.RandomDenoiser(BYTES, canvas_length=8, seed=1)
    found = cd.Generator(denoiser).generate("", cd.grammar('start: "a" | "b" "c"?'), n=6, seed=0, max_new_tokens=8)
    assert {result.text for result in found} == {"a", "b", "bc"}


def test_batches_hold_different_states():
    automaton = LARGE["json"]
    states = [automaton.start, automaton.advance(None, list(b'{"a": [')), automaton.tail]
    logits = torch.stack([wild_logits("random", seed) for seed in range(3)])
    posterior = automaton.posterior(logits, state=states)
    first, second, third = posterior.map()
    LARKS["json"].parse(automaton.text(first))
    LARKS["json"].parse('{"a": [' + automaton.text(second))
    assert third.tolist() == [PAD + 267] * LENGTH
    assert posterior.certified.shape == (3,)
    assert END_ID in second.tolist()


def test_a_process_that_lives_long_forgets_what_it_met():
    """Passes over ever new logits end in no limit, the memory stays bounded, and states that were given stay valid."""
    limits = cd.Limits(max_configurations=40_000)
    automaton, lark = cd.compile(GRAMMARS["arithmetic"], BYTES, limits=limits), LARKS["arithmetic"]
    before = automaton.advance(None, list(b"(1 + ("))
    later = automaton.advance(before, list(b"2 * (3"))
    most, generations = 0, set()
    for seed in range(24):
        posterior = automaton.posterior(wild_logits("opening", seed, open_until=90))
        for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
            lark.parse(automaton.text(ids))
            assert automaton.advance(None, ids) == automaton.tail
        most = max(most, automaton.exact.automaton.num_states)
        generations.add(automaton.exact.generation)
    assert len(generations) > 2
    assert most < limits.max_configurations
    for state, text in ((before, "(1 + ("), (later, "(1 + (2 * (3")):
        found = automaton.posterior(wild_logits("random", 1), state=state).map()
        lark.parse(text + automaton.text(found))
    assert automaton.completion(later) == automaton.completion(automaton.advance(None, list(b"(1 + (2 * (3")))
    with pytest.raises(cd.errors.ModelError, match="no state"):
        automaton.posterior(wild_logits("random", 1), state=before + 2**40)


def test_matching_many_texts_ends_in_no_limit():
    constraint = cd.grammar(GRAMMARS["arithmetic"].source.text)
    automaton = constraint.automaton(cd.Limits(max_configurations=4096))
    for number in range(300):
        assert automaton.matches(b"(" * (number % 40) + str(number).encode() + b")" * (number % 40))
        assert not automaton.matches(b"(" * 30 + str(number).encode() + b")" * 29)


def test_tokens_of_one_class_do_the_same_to_every_state():
    """Also to states that the relaxation does not tell apart: closing two and three brackets is not one class."""
    vocabulary = cd.Vocabulary([b"[", b"]", b"[" * 7, b"[" * 8, b"]" * 7, b"]" * 8, b"1", b" ", None], end_ids=[8])
    automaton = cd.compile(cd.grammar("json"), vocabulary)
    classes = automaton.lifted.class_of_token.tolist()
    assert len(set(classes)) == len(classes)
    rng = random.Random(0)
    for _ in range(20):
        logits = torch.randn(12, 9, generator=torch.Generator().manual_seed(rng.randrange(10**6))) * 5
        LARKS["json"].parse(automaton.text(automaton.posterior(logits).map()))


def test_impossible_vocabularies_are_refused():
    with pytest.raises(cd.errors.InfeasibleError):
        cd.compile(cd.grammar('start: "(" start ")" | "x"'), cd.Vocabulary([b"(", b")", None], end_ids=[2]))
    with pytest.raises(cd.errors.InfeasibleError):
        cd.compile(cd.grammar('start: "(" start ")"'), BYTES)


def test_an_automaton_of_a_grammar_is_saved_and_loaded(tmp_path):
    check_saved(LARGE["json"], BYTES, wild_logits("random", 0), tmp_path / "a.npz")


def test_a_compiled_grammar_is_kept_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSTRAINED_DIFFUSION_CACHE", str(tmp_path))
    for module in (constraint, token_automaton):
        monkeypatch.setattr(module, "_LEAST_SECONDS", 0.0)
    source = 'start: "(" start ")" | "x"\n'
    logits = torch.randn(8, len(BYTES), generator=torch.Generator().manual_seed(0))
    found = []
    for damage in (None, None, b"garbage"):
        constraint._definition.cache_clear()
        found.append(cd.compile(cd.grammar(source), BYTES).posterior(logits).map().tolist())
        files = sorted(tmp_path.glob("grammar-*.npz"))
        assert len(files) == 2
        for file in files:
            if damage is not None:
                file.write_bytes(damage)
    constraint._definition.cache_clear()
    found.append(cd.compile(cd.grammar(source), BYTES).posterior(logits).map().tolist())
    assert all(ids == found[0] for ids in found)
    cd.compile(cd.grammar(source) & cd.regex("[(]{2}.*"), BYTES)
    assert len(sorted(tmp_path.glob("grammar-automaton-*.npz"))) == 2


def test_a_grammar_that_imports_files_is_not_kept_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSTRAINED_DIFFUSION_CACHE", str(tmp_path / "cache"))
    (tmp_path / "part.lark").write_text('A: "a"\n')
    (tmp_path / "whole.lark").write_text("%import .part.A\nstart: A\n")
    for module in (constraint, token_automaton):
        monkeypatch.setattr(module, "_LEAST_SECONDS", 0.0)
    cd.compile(cd.grammar(tmp_path / "whole.lark"), BYTES)
    assert not list((tmp_path / "cache").glob("grammar-*"))
