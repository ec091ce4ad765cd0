"""Shared sums, against the sets themselves; and inference on shared edges, against each edge on its own."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import constrained_diffusion as cd
from constrained_diffusion.automata.sharing import shared_sums
from constrained_diffusion.inference import sum_kernels

BYTES = [bytes([b]) for b in range(256)]
WORDS = [
    word.encode() for word in ("select", " from", " where", " and", "12", " (", "ab", "), ", " = ", "order by", "''")
]
VOCABULARY = cd.Vocabulary([None, *BYTES, *WORDS], 0)


def overlapping_sets(seed, count, num_items):
    """Sets made of a few common blocks and some items of their own."""
    rng = np.random.default_rng(seed)
    blocks = [rng.choice(num_items, rng.integers(1, num_items // 2 + 1), replace=False) for _ in range(4)]
    sets = []
    for _ in range(count):
        chosen = [block for block in blocks if rng.random() < 0.4]
        own = rng.choice(num_items, rng.integers(0, 4), replace=False)
        sets.append(sorted(set(np.concatenate([own, *chosen]).tolist())))
    return sets


def sums_of(sets, num_items):
    begin = np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64)
    return shared_sums(begin, np.array([item for s in sets for item in s], np.int64), num_items)


def groups(begin, values):
    return [values[a:b].tolist() for a, b in itertools.pairwise(begin)]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(4, 60))
def test_every_set_is_the_sum_of_its_items_each_of_them_once(seed, count, num_items):
    sets = overlapping_sets(seed, count, num_items)
    sums = sums_of(sets, num_items)
    bundles = groups(sums.item_begin, sums.item)
    assert sorted(item for bundle in bundles for item in bundle) == list(range(num_items))
    added = groups(sums.part_begin, sums.part)
    values = [*bundles]
    for number, parts in enumerate(added, start=len(bundles)):
        assert all(part < number for part in parts)
        values.append([item for part in parts for item in values[part]])
    assert [sorted(value) for value in values[-count:]] == sets
    users = groups(sums.user_begin, sums.user)
    assert sorted((v, u) for v, of_value in enumerate(users) for u in of_value) == sorted(
        (part, number) for number, parts in enumerate(added, start=len(bundles)) for part in parts
    )


def test_what_many_sets_have_in_common_is_added_once():
    common = list(range(50))
    sets = [sorted({*common[i % 3 :], 50 + i}) for i in range(40)]
    sums = sums_of(sets, 90)
    assert len(sums.part) < 40 * 4
    assert sum(map(len, sets)) > 40 * 48


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(4, 60), st.sampled_from([1.0, 1e5]))
def test_all_kinds_of_sums_agree_with_adding_one_by_one(seed, count, num_items, scale):
    sets = overlapping_sets(seed, count, num_items)
    sums = sums_of(sets, num_items)
    rng = np.random.default_rng(seed)
    logs = rng.normal(size=num_items) * scale
    logs[rng.random(num_items) < 0.2] = -np.inf
    bundles, size = len(sums.item_begin) - 1, len(sums.user_begin) - 1
    of_bundle = [logs[bundle] for bundle in groups(sums.item_begin, sums.item)]

    values = np.full(size, np.nan)
    values[:bundles] = [part.max() for part in of_bundle]
    sum_kernels.greatest_up(sums, values)
    assert values[-count:].tolist() == [max((logs[i] for i in s), default=-np.inf) for s in sets]

    mantissa, exponent = np.full(size, np.nan), np.zeros(size, np.int64)
    exponent[:bundles] = [np.floor(np.maximum(np.logaddexp.reduce(b) / np.log(2), -1e9)) for b in of_bundle]
    binary = np.array([np.logaddexp.reduce(b) for b in of_bundle]) / np.log(2)
    mantissa[:bundles] = np.where(binary > -np.inf, 2.0 ** (binary - exponent[:bundles]), 0.0)
    sum_kernels.extended_up(sums, mantissa, exponent)
    with np.errstate(divide="ignore"):
        found = np.log(mantissa[-count:]) + exponent[-count:] * np.log(2)
    expected = [np.logaddexp.reduce(logs[s]) if s else -np.inf for s in sets]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)

    weights = rng.random(count)
    values[-count:] = weights
    sum_kernels.plain_down(sums, values, count)
    for bundle, value in zip(groups(sums.item_begin, sums.item), values, strict=False):
        assert value == pytest.approx(sum(w for w, s in zip(weights, sets, strict=True) if bundle[0] in s))


def edge_by_edge(automaton, logits):
    """Log Z and the log marginals of the classes, [L, C], by a recursion over every edge and class of its own."""
    lifted = automaton.lifted
    length, states = len(logits), len(lifted.distance)
    log_p = torch.log_softmax(logits.double(), -1).numpy()
    weight = np.full((length, lifted.num_classes), -np.inf)
    for c in range(lifted.num_classes):
        members = lifted.class_of_token == c
        if members.any():
            weight[:, c] = np.logaddexp.reduce(log_p[:, members], axis=1)
    steps = np.full((length, states, states), -np.inf)
    edges = lifted.edges()
    for s, t, label in zip(edges.source, edges.target, edges.label, strict=True):
        classes = lifted.label_class[lifted.label_begin[label] : lifted.label_begin[label + 1]]
        steps[:, s, t] = np.logaddexp.reduce(weight[:, classes], axis=1) if label else 0.0
    back = np.full((length + 1, states), -np.inf)
    back[length, -1] = 0.0
    for i in reversed(range(length)):
        back[i] = np.logaddexp.reduce(steps[i] + back[i + 1], axis=1)
    ahead = np.full((length, states), -np.inf)
    start = automaton.relaxed(automaton.start)
    ahead[0, start] = 0.0
    for i in range(length - 1):
        ahead[i + 1] = np.logaddexp.reduce(ahead[i][:, None] + steps[i], axis=0)
    marginal = np.full((length, lifted.num_classes), -np.inf)
    for s, t, label in zip(edges.source, edges.target, edges.label, strict=True):
        classes = lifted.label_class[lifted.label_begin[label] : lifted.label_begin[label + 1]]
        classes = classes if label else np.arange(lifted.num_classes)
        through = ahead[:, s] + back[1:, t] - back[0, start]
        marginal[:, classes] = np.logaddexp(marginal[:, classes], through[:, None] + weight[:, classes])
    return back[0, start], marginal


CONSTRAINTS = {
    "arithmetic": cd.grammar("arithmetic"),
    "words": cd.regex("(select|from|where|and|[a-z]{1,6}|[0-9]+(\\.[0-9]+)?|'[^']*')([ ,()=]{1,2}[a-z0-9]{1,9}){0,3}"),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("scale", [1.0, 10.0, 400.0])
def test_shared_edges_agree_with_each_edge_on_its_own(name, scale):
    automaton = cd.compile(CONSTRAINTS[name], VOCABULARY)
    logits = torch.randn(9, len(VOCABULARY), generator=torch.Generator().manual_seed(3)) * scale
    logits[:, 100:110] = -torch.inf
    posterior = automaton.posterior(logits)
    log_z, marginal = edge_by_edge(automaton, logits)
    assert float(posterior.log_z) == pytest.approx(log_z, rel=1e-6)
    found = posterior.log_marginals().double()
    of_class = torch.as_tensor(automaton.lifted.class_of_token).long()
    for c in range(automaton.num_classes):
        members = found[:, of_class == c]
        if members.shape[1]:
            sums = members.logsumexp(-1).numpy()
            np.testing.assert_allclose(sums, marginal[:, c], rtol=1e-5, atol=1e-4 + 1e-6 * scale)


def test_states_and_labels_share_much_of_a_grammar():
    automaton = cd.compile(cd.grammar("arithmetic"), VOCABULARY)
    members = len(automaton.lifted.label_class)
    assert len(automaton.edges.out.label) < automaton.num_edges
    assert len(automaton.label_sums.part) < members
