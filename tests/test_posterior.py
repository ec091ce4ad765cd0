"""Exact inference for one pass, against enumeration of every canvas over a toy vocabulary."""

import math
import os
import random
import re
from collections import Counter

import numpy as np
import pytest
import torch
from enumeration import END, PAD, TOY, enumerate_canvases, text_key
from hypothesis import given, settings
from hypothesis import strategies as st

import constrained_diffusion as cd
from constrained_diffusion.inference import reference
from constrained_diffusion.inference import rows as rows_module
from constrained_diffusion.inference.rows import Rows, TokenClasses

PATTERNS = ["a*", "(ab|ba)*", "a{1,3}b?", "(a|b)*a(a|b)", "b(ab)+", "(|a|bb)", "ab{2,}|b"]
AUTOMATA = {pattern: cd.compile(cd.regex(pattern), TOY) for pattern in PATTERNS}


def full_match(pattern):
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text.decode()) is not None


def check_listing(posterior, texts, k):
    """The ``k`` best texts against the enumerated ones; returns whether all of them are proved."""
    ids, log_prob = posterior.kbest(k)
    proved = posterior.kbest_certified(k)
    assert ids.shape == (k, posterior.map().shape[0])
    assert log_prob.shape == proved.shape == (k,)
    # below the least positive float the brute force sees nothing
    best = [p for p in sorted(texts.values(), reverse=True)[:k] if p > 1e-200 * max(texts.values())]
    found = [row for row, score in zip(ids, log_prob, strict=True) if score - log_prob[0] > math.log(1e-200)]
    assert len({text_key(row) for row in found}) == len(found)
    shares = [texts[text_key(row)] for row in found]
    assert shares == pytest.approx(sorted(shares, reverse=True), rel=1e-4)
    for row, score, share, right in zip(found, log_prob.tolist(), shares, best, strict=False):
        assert score == pytest.approx(float(posterior.log_prob(row)), abs=1e-6)
        assert score <= math.log(share) + 1e-4
        assert share <= right * (1 + 1e-4)
    for rank in torch.nonzero(proved).ravel().tolist():
        if rank < len(found):
            assert shares[rank] == pytest.approx(best[rank], rel=1e-4)
        else:
            assert rank >= len(best)
    if bool(posterior.certified):
        assert torch.equal(ids[0], posterior.map())
    return bool(proved.all())


def assert_agrees(posterior, expected, *, tolerance=1e-5):
    assert float(posterior.log_z) == pytest.approx(expected.log_z, abs=1e-4)
    assert torch.allclose(posterior.log_marginals().exp().double(), expected.marginals, atol=tolerance)
    assert expected.texts[text_key(posterior.map())] == pytest.approx(expected.best, rel=1e-4)
    entropy = -torch.special.xlogy(expected.marginals, expected.marginals).sum(-1)
    assert torch.allclose(posterior.entropy(), entropy, atol=1e-4)
    best = posterior.map()
    marginal = expected.marginals.gather(-1, best[:, None]).squeeze(-1)
    assert torch.allclose(posterior.log_marginals_of(best).exp(), marginal, atol=tolerance)
    assert float(posterior.log_prob(posterior.map())) == pytest.approx(math.log(expected.best), abs=1e-4)


def assert_predictions_agree(posterior, expected, logits, pins=None):
    """The model's own probabilities, of just the tokens that some valid canvas has."""
    log_p = torch.log_softmax(logits.double(), -1)
    for i, pin in enumerate([] if pins is None else pins.tolist()):
        if pin >= 0:
            log_p[i] = torch.log(torch.nn.functional.one_hot(torch.tensor(pin), log_p.shape[-1]))
    allowed = torch.where(expected.marginals > 0, log_p, -torch.inf)
    assert torch.allclose(posterior.log_predictions().exp().double(), allowed.exp(), atol=1e-5)
    assert torch.equal(posterior.log_predictions() > -torch.inf, allowed > -torch.inf)
    within = torch.log_softmax(allowed, -1).exp()
    assert torch.allclose(posterior.predictive_entropy(), torch.special.entr(within).sum(-1), atol=1e-4)


logits_kinds = st.sampled_from(["flat", "random", "peaked", "gaps", "holes"])


def make_logits(kind, length, width, seed):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(length, width, generator=generator)
    if kind == "flat":
        return torch.zeros(length, width)
    if kind == "peaked":
        return noise * 0.1 + 12 * torch.nn.functional.one_hot(
            torch.randint(0, width, (length,), generator=generator), width
        )
    if kind == "gaps":
        return torch.where(torch.rand(length, width, generator=generator) < 0.5, noise, noise - 300)
    if kind == "holes":
        holes = torch.rand(length, width, generator=generator) < 0.25
        return torch.where(holes, -torch.inf, noise)
    return noise * 3


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(PATTERNS), logits_kinds, st.integers(1, 4), st.integers(0, 10**6), st.sampled_from([0.4, 1.0, 2.0])
)
def test_every_quantity_agrees_with_enumeration(pattern, kind, length, seed, temperature):
    logits = make_logits(kind, length, len(TOY), seed)
    if torch.isneginf(logits).all(-1).any():
        return
    expected = enumerate_canvases(logits, full_match(pattern), temperature=temperature)
    # Weights below the least positive float vanish from the brute-force sum, not from the recursion.
    if expected.log_z < -600:
        return
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            AUTOMATA[pattern].posterior(logits, temperature=temperature)
        return
    assert_agrees(AUTOMATA[pattern].posterior(logits, temperature=temperature), expected)


@pytest.mark.parametrize("kind", ["random", "peaked", "holes"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_predictions_are_the_model_s_own_among_allowed_tokens(pattern, kind):
    logits = make_logits(kind, 4, len(TOY), 6)
    expected = enumerate_canvases(logits, full_match(pattern))
    if expected.log_z > -math.inf:
        assert_predictions_agree(AUTOMATA[pattern].posterior(logits), expected, logits)
    pins = torch.tensor([-1, 1, -1, -1])
    expected = enumerate_canvases(logits, full_match(pattern), pins=pins.tolist())
    if expected.log_z > -math.inf:
        assert_predictions_agree(AUTOMATA[pattern].posterior(logits, pins=pins), expected, logits, pins)


def test_pins_may_be_a_list():
    automaton, logits = AUTOMATA[PATTERNS[0]], make_logits("random", 4, len(TOY), 6)
    pins = [-1, 1, -1, -1]
    by_tensor, by_list = (automaton.posterior(logits, pins=given) for given in (torch.tensor(pins), pins))
    assert torch.equal(by_tensor.log_z, by_list.log_z)
    with pytest.raises(cd.errors.ModelError, match="expected integers"):
        automaton.posterior(logits, pins=[True] * 4)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(PATTERNS), st.integers(2, 4), st.integers(0, 10**6), st.data())
def test_pins_condition_like_point_masses(pattern, length, seed, data):
    logits = make_logits("random", length, len(TOY), seed)
    pins = torch.tensor(data.draw(st.lists(st.integers(-1, len(TOY) - 1), min_size=length, max_size=length)))
    expected = enumerate_canvases(logits, full_match(pattern), pins=pins.tolist())
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            AUTOMATA[pattern].posterior(logits, pins=pins)
        return
    posterior = AUTOMATA[pattern].posterior(logits, pins=pins)
    assert_agrees(posterior, expected)
    sample = posterior.sample(torch.Generator().manual_seed(seed))
    assert all(pin in (-1, token) for pin, token in zip(pins.tolist(), sample.tolist(), strict=True))
    assert all(pin in (-1, token) for pin, token in zip(pins.tolist(), posterior.map().tolist(), strict=True))


def test_a_pin_counts_whatever_the_model_thinks_of_it():
    logits = torch.zeros(2, len(TOY))
    logits[0, 0] = -torch.inf
    logits[0, 1] = torch.nan
    posterior = AUTOMATA["a*"].posterior(logits, pins=torch.tensor([0, -1]))
    assert text_key(posterior.map()) == (0, END)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(["a*", "(ab|ba)*", "b(ab)+"]), st.integers(2, 4), st.integers(-2, 4), st.integers(0, 10**6))
def test_a_canvas_may_end_only_where_the_budget_lets_the_text_be_completed(pattern, length, budget, seed):
    logits = make_logits("random", length, len(TOY), seed)
    reachable = {  # least number of tokens that complete each prefix, by brute force over short completions
        b"".join(TOY.tokens[t] for t in ids): None for n in range(length + 1) for ids in _strings(n)
    }

    def tokens_to_complete(text):
        for n in range(6):
            if any(full_match(pattern)(text + b"".join(TOY.tokens[t] for t in ids)) for ids in _strings(n)):
                return n + 1
        return math.inf

    for text in reachable:
        reachable[text] = tokens_to_complete(text)
    usable = length + min(budget, 0)

    def can_finish(text):
        return budget > 0 and reachable[text] <= budget

    expected = _enumerated_with_deadline(logits, pattern, usable, can_finish)
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            AUTOMATA[pattern].posterior(logits, budget=budget)
        return
    posterior = AUTOMATA[pattern].posterior(logits, budget=budget)
    assert float(posterior.log_z) == pytest.approx(expected.log_z, abs=1e-4)
    if budget >= 0:
        assert_agrees(posterior, expected)


def _strings(n):
    import itertools

    return itertools.product(range(5), repeat=n)


def _enumerated_with_deadline(logits, pattern, usable, can_finish):
    """With a negative budget the text must end within the first ``usable`` positions."""
    if usable <= 0:
        return enumerate_canvases(logits, lambda text: False)
    if usable < len(logits):
        return enumerate_canvases(logits[:usable], full_match(pattern))
    return enumerate_canvases(logits, full_match(pattern), can_finish=can_finish)


@pytest.mark.parametrize("pattern", ["(a|b)*a(a|b)", "(ab|ba)*", "a{1,3}b?"])
def test_samples_follow_the_posterior(pattern):
    logits = make_logits("random", 4, len(TOY), 5) / 3
    expected = enumerate_canvases(logits, full_match(pattern))
    posterior = AUTOMATA[pattern].posterior(logits)
    generator = torch.Generator().manual_seed(7)
    draws = 6000
    counts = Counter(text_key(posterior.sample(generator)) for _ in range(draws))
    assert set(counts) <= set(expected.texts)
    # Pearson's statistic over texts expected at least five times, against its mean and deviation
    common = {text: p * draws for text, p in expected.texts.items() if p * draws >= 5}
    statistic = sum((counts[text] - e) ** 2 / e for text, e in common.items())
    degrees = len(common) - 1
    assert statistic < degrees + 5 * math.sqrt(2 * degrees) + 10


def test_tail_tokens_are_drawn_from_the_model():
    logits = torch.zeros(3, len(TOY))
    logits[0, END] = 50.0
    logits[2, 3] = 2.0
    posterior = AUTOMATA["a*"].posterior(logits)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([posterior.sample(generator) for _ in range(3000)])
    share = torch.bincount(draws[:, 2], minlength=len(TOY)) / len(draws)
    assert torch.allclose(share, logits[2].softmax(-1), atol=0.04)
    assert posterior.map().tolist() == [END, PAD, PAD]


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(PATTERNS), logits_kinds, st.integers(1, 4), st.integers(0, 10**6), st.integers(1, 12), st.booleans()
)
def test_the_k_best_texts_are_those_of_enumeration(pattern, kind, length, seed, k, has_pin):
    logits = make_logits(kind, length, len(TOY), seed)
    if torch.isneginf(logits).all(-1).any():
        return
    pins = torch.tensor([0] + [-1] * (length - 1)) if has_pin else None
    expected = enumerate_canvases(logits, full_match(pattern), pins=None if pins is None else pins.tolist())
    if expected.log_z < -600:
        return
    posterior = AUTOMATA[pattern].posterior(logits, pins=pins)
    assert check_listing(posterior, expected.texts, k)


@pytest.mark.parametrize("min_tokens", [0, 1, 2, 3, 9])
def test_a_text_does_not_end_before_its_least_length(min_tokens):
    logits = make_logits("random", 4, len(TOY), 12)
    texts = {t: p for t, p in enumerate_canvases(logits, full_match("a*")).texts.items() if len(t) > min_tokens}
    if not texts:
        with pytest.raises(cd.errors.InfeasibleError):
            AUTOMATA["a*"].posterior(logits, min_tokens=min_tokens)
        return
    posterior = AUTOMATA["a*"].posterior(logits, min_tokens=min_tokens)
    total = sum(texts.values())
    assert math.exp(float(posterior.log_prob(posterior.map()))) == pytest.approx(max(texts.values()) / total)
    ends = [sum(p for t, p in texts.items() if len(t) == i + 1) / total for i in range(4)]
    assert posterior.log_marginals()[:min_tokens, END].exp().sum() == 0
    first = posterior.log_marginals()[min_tokens, END].exp()
    assert float(first) == pytest.approx(ends[min_tokens], abs=1e-5)


def test_a_batch_is_its_canvases_one_by_one():
    automaton = AUTOMATA["(ab|ba)*"]
    logits = make_logits("random", 8, len(TOY), 3).view(2, 4, -1)
    batch = automaton.posterior(logits, budget=[0, 3], state=[automaton.start, automaton.advance(None, [0])])
    single = [
        automaton.posterior(logits[0], budget=0),
        automaton.posterior(logits[1], budget=3, state=automaton.advance(None, [0])),
    ]
    assert torch.equal(batch.log_z, torch.stack([p.log_z for p in single]))
    assert torch.equal(batch.map(), torch.stack([p.map() for p in single]))
    assert torch.equal(batch.log_marginals(), torch.stack([p.log_marginals() for p in single]))
    assert torch.equal(batch.entropy(), torch.stack([p.entropy() for p in single]))
    assert torch.equal(batch.undetermined(), torch.stack([p.undetermined() for p in single]))
    assert batch.sample().shape == (2, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    logits = make_logits("random", 4, len(TOY), 11).to(dtype)
    expected = enumerate_canvases(logits, full_match("(a|b)*a(a|b)"))
    assert_agrees(AUTOMATA["(a|b)*a(a|b)"].posterior(logits), expected)


def test_logits_wider_than_the_vocabulary_hold_no_text():
    logits = make_logits("random", 3, len(TOY) + 4, 2)
    expected = enumerate_canvases(logits, full_match("a{1,3}b?"))
    assert_agrees(AUTOMATA["a{1,3}b?"].posterior(logits), expected)


def test_gaps_far_beyond_the_range_of_floats_keep_their_order():
    """Every valid text is thousands of nats below the model's favourite; ratios between them stay exact."""
    automaton = cd.compile(cd.regex("a{39}|b{39}"), TOY)
    logits = torch.full((40, len(TOY)), -900.0)
    logits[:, 1] = -901.0
    logits[:, PAD] = 100.0
    posterior = automaton.posterior(logits)
    marginals = posterior.log_marginals()[0].double()
    assert float(posterior.log_z) < -30_000
    # "a" has two tokens, so its text has 2 ** 39 spellings, half of which begin with either.
    assert float(marginals[0] - marginals[1]) == pytest.approx(39 + 38 * math.log(2), abs=1e-2)
    assert automaton.text(posterior.map()) == "a" * 39


MASKED = torch.finfo(torch.float32).min


@pytest.mark.parametrize("masked", [MASKED, -1e30, -1e9])
def test_masked_logits_far_from_all_others_are_the_last_resort(masked):
    """Where every valid text needs tokens that the model masked, the fewest of them are used."""
    logits = torch.zeros(4, len(TOY))
    logits[:, :END] = masked
    automaton = cd.compile(cd.regex("ab|ba|(ab){2,}"), TOY)
    posterior = automaton.posterior(logits)
    assert automaton.text(posterior.map()) in ("ab", "ba")
    assert posterior.map().tolist().index(END) == 1
    assert torch.allclose(posterior.log_marginals().exp().sum(-1), torch.ones(4), atol=1e-4)
    assert float(posterior.log_prob(posterior.map())) == pytest.approx(math.log(0.5), abs=1e-3)


@pytest.mark.parametrize("offset", [1e30, 1e6, 6e4, -1e6])
def test_an_offset_of_a_row_changes_nothing(offset):
    logits = make_logits("random", 4, len(TOY), 8) if abs(offset) < 1e7 else torch.zeros(4, len(TOY))
    plain = AUTOMATA["(ab|ba)*"].posterior((logits + offset) - offset)
    shifted = AUTOMATA["(ab|ba)*"].posterior(logits + offset)
    assert float(shifted.log_z) == pytest.approx(float(plain.log_z), abs=1e-5)
    assert torch.allclose(shifted.log_marginals().exp(), plain.log_marginals().exp(), atol=1e-5)
    assert torch.equal(shifted.map(), plain.map())


@pytest.mark.parametrize("temperature", [0.7, 0.3, 1e-3])
def test_log_prob_under_a_temperature_is_a_probability(temperature):
    automaton = cd.compile(cd.regex("[ab]*"), TOY)
    logits = torch.randn(200, len(TOY), generator=torch.Generator().manual_seed(0)) * 100
    posterior = automaton.posterior(logits, temperature=temperature)
    tempered = automaton.posterior(logits.double() / temperature)
    assert float(posterior.log_prob(posterior.map())) <= 0.0
    assert float(posterior.log_prob(posterior.map())) == pytest.approx(
        float(tempered.log_prob(posterior.map())), abs=0.05
    )


def test_a_budget_without_end_enters_no_dead_end():
    vocabulary = cd.Vocabulary([b"a", b"b", None], end_ids=2)
    automaton = cd.compile(cd.regex("a|abc"), vocabulary)
    logits = torch.zeros(2, 3)
    logits[0, 0] = logits[1, 1] = 9.0
    for budget in (5, 2**30, 2**62, 2**70):
        assert automaton.text(automaton.posterior(logits, budget=budget).map()) == "a"
    with pytest.raises(cd.errors.InfeasibleError):
        automaton.posterior(logits, budget=-(2**70))


def test_the_tail_is_not_scored():
    automaton = AUTOMATA["a*"]
    posterior = automaton.posterior(torch.zeros(3, len(TOY)), state=automaton.tail, pins=torch.tensor([1, -1, -1]))
    assert float(posterior.log_z) == 0.0
    assert float(posterior.log_prob(torch.tensor([5, 5, 5]))) == 0.0


def test_a_forked_process_infers_too():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        AUTOMATA["a*"].posterior(torch.zeros(4, len(TOY))).map()
        child = os.fork()
        if child == 0:
            AUTOMATA["a*"].posterior(torch.zeros(4, len(TOY))).map()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "out",
    [
        torch.empty(3, 4),
        torch.empty(2, 7),
        torch.empty(3, 7, dtype=torch.float64),
        torch.empty(7, 3).T,
        torch.empty(3, 8),
    ],
)
def test_a_target_of_another_shape_is_refused(out):
    with pytest.raises(cd.errors.ModelError, match=r"expected a contiguous float32 tensor \[3, 7\]"):
        AUTOMATA["a*"].posterior(torch.zeros(3, len(TOY))).log_marginals(out)


@pytest.mark.parametrize("ids", [[0, 5, 5], torch.zeros(2, dtype=torch.long), torch.zeros(3)])
def test_ids_of_another_kind_are_refused(ids):
    with pytest.raises(cd.errors.ModelError, match="expected an integer tensor"):
        AUTOMATA["a*"].posterior(torch.zeros(3, len(TOY))).log_prob(ids)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x: x[2].fill_(torch.nan), "NaN or +inf at position 2"),
        (lambda x: x[1, 0].fill_(torch.inf), "NaN or +inf at position 1"),
        (lambda x: x[0].fill_(-torch.inf), "only -inf at position 0"),
    ],
)
def test_malformed_rows_are_named(spoil, words):
    logits = torch.zeros(3, len(TOY))
    spoil(logits)
    with pytest.raises(cd.errors.ModelError, match=re.escape(words)):
        AUTOMATA["a*"].posterior(logits)


def test_infeasible_requests_say_what_is_at_fault():
    automaton = cd.compile(cd.regex("a{7}"), TOY)
    with pytest.raises(cd.errors.InfeasibleError, match=r"at least 8 tokens.*only 3 are left"):
        automaton.posterior(torch.zeros(3, len(TOY)))
    with pytest.raises(cd.errors.InfeasibleError, match=r"token 1 \(b'b'\) pinned at position 0"):
        cd.compile(cd.regex("aa?a?"), TOY).posterior(torch.zeros(3, len(TOY)), pins=torch.tensor([1, -1, -1]))
    logits = torch.zeros(3, len(TOY))
    logits[:, END] = -torch.inf
    with pytest.raises(cd.errors.InfeasibleError, match="logits exclude every valid text: at position 2"):
        AUTOMATA["a*"].posterior(logits)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"logits": torch.zeros(3, 4)}, "4 columns, but the vocabulary has 7"),
        ({"logits": torch.zeros(7)}, r"expected floating point \[L, V\]"),
        ({"logits": torch.zeros(3, 7, dtype=torch.long)}, "expected floating point"),
        ({"logits": torch.zeros(3, 7), "temperature": 0.0}, "temperature is 0.0"),
        ({"logits": torch.zeros(3, 7), "pins": torch.tensor([0, 1])}, r"pins are .*expected integers \[3\]"),
        ({"logits": torch.zeros(3, 7), "pins": torch.tensor([0, 1, 9])}, "expected token ids below 7"),
        ({"logits": torch.zeros(3, 7), "state": 99}, "state is 99"),
        ({"logits": torch.zeros(3, 7), "state": True}, "state is True"),
        ({"logits": torch.zeros(3, 7), "budget": "3"}, "budget is '3'"),
        ({"logits": torch.zeros(3, 7), "budget": 2.5}, "budget is 2.5"),
        ({"logits": torch.zeros(3, 7), "temperature": None}, "temperature is None"),
        ({"logits": torch.zeros(3, 7), "temperature": 1e-40}, "temperature is 1e-40"),
        ({"logits": torch.zeros(3, 7), "pins": "-1"}, "pins is str"),
        ({"logits": np.zeros((3, 7))}, "logits is ndarray"),
        ({"logits": torch.zeros(2, 3, 7), "budget": [1, 2, 3]}, "budget has 3 values for 2 canvases"),
    ],
)
def test_malformed_arguments_are_refused(arguments, words):
    with pytest.raises(cd.errors.ModelError, match=words):
        AUTOMATA["a*"].posterior(**arguments)


def test_invalid_ids_have_probability_zero():
    posterior = AUTOMATA["a*"].posterior(torch.zeros(3, len(TOY)))
    assert float(posterior.log_prob(torch.tensor([1, END, PAD]))) == -math.inf
    assert float(posterior.log_prob(torch.tensor([0, 0, 0]))) == -math.inf


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5000), st.integers(1, 40), logits_kinds, st.integers(0, 10**6), st.sampled_from([0.5, 1.0]))
def test_the_streaming_kernels_agree_with_their_plain_twins(width, num_classes, kind, seed, temperature):
    logits = make_logits(kind, 3, width, seed)
    logits[:, 0] = 0.0
    class_of = np.random.default_rng(seed).integers(0, num_classes, width).astype(np.int32)
    rows = Rows(logits, temperature, TokenClasses.of(class_of, num_classes))
    table = rows.reduce()
    plain = reference.reduce_rows(logits, 1 / temperature, torch.as_tensor(class_of.astype(np.int64)), num_classes)
    for fast, slow in zip((table.log_sum, table.log_max), plain[:2], strict=True):
        assert np.allclose(fast, slow.numpy(), rtol=1e-5, atol=2e-4)
    assert np.array_equal(table.class_top, plain[2].numpy())
    assert np.array_equal(table.best, plain[3].numpy())
    assert np.allclose(table.entropy, plain[4].numpy(), atol=2e-4)
    assert np.allclose(table.row_norm, plain[5].numpy(), rtol=1e-6, atol=1e-4)
    factor = torch.randn(3, num_classes, generator=torch.Generator().manual_seed(seed))
    conditioned = rows.condition(table, factor.double().numpy())
    finite = torch.where(plain[1] > -torch.inf, plain[1], 0.0)
    index = torch.as_tensor(class_of.astype(np.int64))
    twin = reference.condition_rows(logits, 1 / temperature, index, plain[2].float(), (finite + factor).float())
    assert torch.allclose(conditioned, twin, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_posterior_without_compiled_kernels_agrees_with_enumeration(monkeypatch, dtype):
    """What runs on other devices, here on this one."""
    monkeypatch.setattr(rows_module, "runs_compiled", lambda device: False)
    logits = make_logits("random", 4, len(TOY), 21).to(dtype)
    pins = torch.tensor([-1, 1, -1, -1])
    expected = enumerate_canvases(logits, full_match("(a|b)*a(a|b)"), pins=pins.tolist())
    posterior = AUTOMATA["(a|b)*a(a|b)"].posterior(logits, pins=pins)
    assert_agrees(posterior, expected)
    out = torch.empty(4, len(TOY))
    assert posterior.log_marginals(out).data_ptr() == out.data_ptr()
    generator = torch.Generator().manual_seed(0)
    assert {text_key(posterior.sample(generator)) for _ in range(50)} <= set(expected.texts)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_logits_on_a_gpu():
    logits = make_logits("random", 4, len(TOY), 21)
    expected = enumerate_canvases(logits, full_match("(ab|ba)*"))
    posterior = AUTOMATA["(ab|ba)*"].posterior(logits.cuda())
    assert posterior.map().device.type == posterior.log_marginals().device.type == "cuda"
    assert float(posterior.log_z) == pytest.approx(expected.log_z, abs=1e-4)
    assert torch.allclose(posterior.log_marginals().cpu().exp().double(), expected.marginals, atol=1e-5)


def test_both_ways_of_drawing_tokens_follow_the_row():
    width, draws = 5000, 4000
    logits = torch.full((draws, width), -20.0)
    logits[:, [3, 100, 2047, 2048, 4999]] = torch.tensor([1.0, 2.0, 0.5, 1.5, 2.5])
    class_of = np.zeros(width, np.int32)
    class_of[[3, 2048, 4999]] = 1
    rows = Rows(logits, 1.0, TokenClasses.of(class_of, 2))
    uniforms = torch.rand(draws, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    table = rows.reduce()
    for wanted in (-1, 0, 1):
        allowed = torch.as_tensor(class_of == wanted) | (wanted < 0)
        expected = torch.where(allowed, logits[0], -torch.inf).softmax(-1)
        plan = np.full(draws, wanted, np.int32)
        fast = torch.as_tensor(rows.draw(table, plan, uniforms.numpy()))
        plain = reference.draw_rows(
            logits, 1.0, torch.as_tensor(class_of.astype(np.int64)), torch.as_tensor(plan), uniforms
        )
        for drawn in (fast, plain):
            share = torch.bincount(drawn, minlength=width) / draws
            assert float((share - expected).abs().sum()) / 2 < 0.05


# --- pins behind the canvas ----------------------------------------------------------------------


def can_hold(matches, text, pins, budget, min_tokens):
    """Whether some tokens behind a text complete it within the budget and hold the pins, by brute force."""
    letters = [id for id, token in enumerate(TOY.tokens) if token is not None]

    def ends_at(spelled, k):
        return matches(spelled) and k >= min_tokens and (k >= len(pins) or pins[k] in (-1, END))

    frontier = {text}
    for k in range(budget):
        if any(ends_at(spelled, k) for spelled in frontier):
            return True
        allowed = letters if k >= len(pins) or pins[k] == -1 else [pins[k]]
        frontier = {spelled + TOY.tokens[id] for spelled in frontier for id in allowed if TOY.tokens[id] is not None}
    return False


@pytest.mark.parametrize("seed", range(40))
def test_pins_behind_the_canvas_against_enumeration(seed):
    rng = random.Random(seed)
    pattern = rng.choice(["(ab)*", "a*b?a", "(a|bb)*", "[ab]{3,5}", "a{2}b*"])
    length, budget = rng.randint(1, 3), rng.randint(0, 4)
    later = [rng.choice([-1, -1, 0, 1, 2, 3, END]) for _ in range(rng.randint(1, 4))]
    min_tokens = rng.choice([0, length + len(later)])
    logits = torch.randn(length, len(TOY), generator=torch.Generator().manual_seed(seed)) * 2

    def matches(text):
        return re.fullmatch(pattern, text.decode()) is not None

    expected = enumerate_canvases(
        logits,
        lambda text: min_tokens == 0 and matches(text),
        can_finish=lambda text: can_hold(matches, text, later, budget, max(min_tokens - length, 0)),
    )
    automaton = cd.compile(cd.regex(pattern), TOY)
    given = {"budget": budget, "min_tokens": min_tokens, "pins": torch.tensor([-1] * length + later)}
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            automaton.posterior(logits, **given)
        return
    posterior = automaton.posterior(logits, **given)
    assert float(posterior.log_z) == pytest.approx(expected.log_z, abs=1e-5)
    torch.testing.assert_close(posterior.log_marginals().double().exp(), expected.marginals, atol=1e-5, rtol=0)
    best = float(posterior.log_prob(posterior.map()).exp())
    assert best == pytest.approx(expected.best, abs=1e-5)
    assert float(posterior.log_prob(posterior.sample(torch.Generator().manual_seed(seed)))) > -math.inf


def test_pins_behind_the_canvas_of_a_grammar_are_kept_or_an_error_is_raised():
    grammar = cd.grammar('start: "a" start "b" | "b" start "a" | "ab"')
    automaton = cd.compile(grammar, TOY)
    end, length, kept = TOY.end_ids[0], 3, 0
    for seed in range(60):
        rng = random.Random(seed)
        depth = rng.randrange(2, 5)
        opened = bytes(rng.choice(b"ab") for _ in range(depth))
        text = opened + b"ab" + opened[::-1].translate(bytes.maketrans(b"ab", b"ba"))
        ids = [TOY.spellings.index(bytes([byte])) for byte in text] + [end]
        total = length * (len(ids) // length + 2)
        pins = [id if rng.random() < 0.3 else -1 for id in ids] + [-1] * (total - len(ids))
        state, written = None, []
        try:
            for first in range(0, total, length):
                logits = make_logits("flat", length, len(TOY), seed + first)
                given = {"state": state, "budget": total - first - length, "pins": torch.tensor(pins[first:])}
                posterior = automaton.posterior(logits, **given)
                canvas = posterior.sample(torch.Generator().manual_seed(seed)) if seed % 2 else posterior.map()
                state = automaton.advance(state, canvas)
                written += canvas.tolist()
        except cd.errors.InfeasibleError:
            continue
        assert grammar.matches(automaton.text(written))
        assert all(pin in (-1, id) for pin, id in zip(pins, written, strict=True))
        kept += 1
    assert kept > 40
