"""Lifting onto tokens against stepping every token byte by byte, and saving and loading."""

import math
import re
import threading

import numpy as np
import pytest
import torch
from enumeration import TOY
from hypothesis import given, settings
from hypothesis import strategies as st
from test_regular import patterns

import constrained_diffusion as cd
from constrained_diffusion.automata import lexicon as lexicons
from constrained_diffusion.automata.lexicon import Lexicon
from constrained_diffusion.automata.lifting import DEAD_CLASS, END_CLASS
from constrained_diffusion.automata.trie import Trie

MIXED = cd.Vocabulary(
    [bytes([b]) for b in range(256)]
    + [t.encode() for t in ["ab", "abc", "é", "xé", " a", "🙂", "a\n", 'a"', "\\n", "aé1", "bc", "ab", "αω", "x1_"]]
    + [b"\xc3", b"\x9f\x99", b"\x82a", b"", None, None, None],
    end_ids=[274, 275],
    pad_id=276,
)


@settings(deadline=None, max_examples=60)
@given(patterns)
def test_every_token_leads_where_its_bytes_lead(pattern):
    dfa = cd.regex(pattern).automaton()
    if dfa.is_empty or dfa.num_states > 40:
        return
    automaton = cd.compile(cd.regex(pattern), MIXED)
    lifted = automaton.lifted
    for state in range(automaton.num_states):
        edges = range(lifted.edge_begin[state], lifted.edge_begin[state + 1])
        targets = {}
        for e in edges:
            label = lifted.edge_label[e]
            for c in lifted.label_class[lifted.label_begin[label] : lifted.label_begin[label + 1]]:
                assert c not in targets, "an automaton is deterministic"
                targets[c] = lifted.edge_target[e]
        for token, spelling in enumerate(MIXED.tokens):
            met = targets.get(lifted.class_of_token[token], -1)
            if token in MIXED.end_ids:
                expected = automaton.tail if dfa.accepts(state) else -1
            else:
                expected = dfa.run(spelling, state) if spelling else -1
            assert met == expected
            assert automaton.step(state, token) == expected


def test_dead_special_and_end_tokens_have_classes_of_their_own():
    classes = cd.compile(cd.regex("a+"), TOY).lifted.class_of_token
    assert classes[5] == END_CLASS
    assert set(classes[[1, 2, 3, 6]]) == {DEAD_CLASS}
    assert classes[0] == classes[4] > END_CLASS


@settings(deadline=None, max_examples=40)
@given(patterns)
def test_shortest_completions_count_tokens(pattern):
    dfa = cd.regex(pattern).automaton()
    if dfa.is_empty or dfa.num_states > 12:
        return
    automaton = cd.compile(cd.regex(pattern), MIXED)
    spellings = [s for s in MIXED.tokens if s]
    distance = [1 if dfa.accepts(s) else math.inf for s in range(dfa.num_states)]
    for _ in range(dfa.num_states):
        distance = [
            min([distance[s], *(1 + distance[t] for x in spellings if (t := dfa.run(x, s)) >= 0)])
            for s in range(dfa.num_states)
        ]
    assert automaton.lifted.distance[:-1].tolist() == distance
    assert automaton.min_tokens == distance[0]


def test_a_vocabulary_that_cannot_spell_any_text_is_infeasible():
    with pytest.raises(cd.errors.InfeasibleError, match="cannot spell"):
        cd.compile(cd.regex("c"), TOY)
    with pytest.raises(cd.errors.InfeasibleError, match="no text at all"):
        cd.compile(cd.regex("a") & cd.regex("b"), TOY)


def test_dead_ends_of_the_vocabulary_are_never_entered():
    """Without a token for c, nothing behind the a of "ac" completes; the posterior must not go there."""
    automaton = cd.compile(cd.regex("ac|b"), TOY)
    logits = torch.zeros(2, len(TOY))
    logits[0, 0] = 50.0
    assert automaton.text(automaton.posterior(logits).map()) == "b"


def test_advance_and_text():
    automaton = cd.compile(cd.regex("(ab)+"), TOY)
    state = automaton.advance(None, [2])
    assert automaton.advance(state, torch.tensor([0, 1, 5, 6])) == automaton.tail
    assert automaton.text([2, 0, 1, 5, 0]) == "abab"
    with pytest.raises(cd.errors.InfeasibleError, match=r"token 1 \(b'b'\) at position 1 leaves the language"):
        automaton.advance(None, [2, 1])
    with pytest.raises(cd.errors.InfeasibleError, match="an end token"):
        automaton.advance(None, [0, 5])
    half = cd.compile(cd.regex("é"), MIXED)
    with pytest.raises(cd.errors.ModelError, match="inside a character"):
        half.text([0xC3])


def test_saving_and_loading(tmp_path):
    automaton = cd.compile(cd.regex(r"\w+é[0-9]{2}"), MIXED)
    path = tmp_path / "automaton.npz"
    automaton.save(path)
    loaded = cd.TokenAutomaton.load(path, MIXED)
    logits = torch.randn(8, len(MIXED), generator=torch.Generator().manual_seed(0))
    assert torch.equal(automaton.posterior(logits).log_marginals(), loaded.posterior(logits).log_marginals())
    assert loaded.dfa.same_language(automaton.dfa)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["automaton.npz"]


def test_loading_says_what_is_wrong(tmp_path):
    path = tmp_path / "automaton.npz"
    with pytest.raises(cd.errors.ModelError, match="does not exist"):
        cd.TokenAutomaton.load(path, TOY)
    path.write_bytes(b"not an archive")
    with pytest.raises(cd.errors.ModelError, match="is damaged"):
        cd.TokenAutomaton.load(path, TOY)
    np.savez(path, format=np.array("something else"))
    with pytest.raises(cd.errors.ModelError, match="expected 'constrained-diffusion token automaton"):
        cd.TokenAutomaton.load(path, TOY)
    cd.compile(cd.regex("a"), MIXED).save(path)
    with pytest.raises(cd.errors.ModelError, match="another vocabulary"):
        cd.TokenAutomaton.load(path, TOY)
    cd.compile(cd.regex("a"), TOY).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(cd.errors.ModelError, match="is damaged"):
        cd.TokenAutomaton.load(path, TOY)


LIFTED = [f"lifted_{name}" for name in ("edge_target", "label_class", "class_of_token", "edge_begin", "distance")]


@pytest.mark.parametrize("name", [*LIFTED, "table"])
def test_a_file_whose_arrays_do_not_fit_is_refused(tmp_path, name):
    path = tmp_path / "automaton.npz"
    cd.compile(cd.regex("(ab)+"), TOY).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    for spoiled in (arrays[name][:-1], arrays[name] + 10_000):
        if name == "lifted_distance" and len(spoiled) == len(arrays[name]):
            continue
        np.savez(path, **{**arrays, name: spoiled})
        with pytest.raises(cd.errors.ModelError, match="do not fit together"):
            cd.TokenAutomaton.load(path, TOY)
    np.savez(path, **{key: value for key, value in arrays.items() if key != name})
    with pytest.raises(cd.errors.ModelError, match="is damaged"):
        cd.TokenAutomaton.load(path, TOY)


def test_saving_into_a_missing_folder(tmp_path):
    with pytest.raises(cd.errors.ModelError, match="cannot write"):
        cd.compile(cd.regex("a"), TOY).save(tmp_path / "missing" / "automaton.npz")


def test_a_vocabulary_without_text_spells_the_empty_text():
    empty = cd.Vocabulary([None], end_ids=0)
    automaton = cd.compile(cd.regex("a*"), empty)
    assert automaton.text(automaton.posterior(torch.zeros(2, 1)).map()) == ""
    with pytest.raises(cd.errors.InfeasibleError):
        cd.compile(cd.regex("a+"), empty)


@pytest.mark.parametrize("state", [-5, 500, 0.5, None, True])
def test_a_state_that_is_none(state):
    automaton = cd.compile(cd.regex("a*"), TOY)
    if state is None:
        assert automaton.advance(None, [0]) == automaton.start
        return
    with pytest.raises(cd.errors.ModelError, match="state is"):
        automaton.advance(state, [0])


def test_what_is_no_constraint_is_not_compiled():
    with pytest.raises(cd.errors.InvalidConstraint, match="expected one made by"):
        cd.compile("abc", TOY)
    with pytest.raises(cd.errors.ModelError, match="expected Vocabulary"):
        cd.compile(cd.regex("a"), [b"a"])


def test_too_many_edges_end_in_a_named_limit():
    with pytest.raises(cd.errors.LimitExceeded) as caught:
        cd.compile(cd.regex(".{50}"), MIXED, limits=cd.Limits(max_edges=100))
    assert caught.value.limit == "max_edges"


@settings(deadline=None, max_examples=60)
@given(st.sets(st.binary(min_size=1, max_size=5), max_size=30))
def test_a_trie_holds_its_strings(strings):
    strings = list(strings)
    tree = Trie.of(strings)
    met, path = {}, []
    for node in range(len(tree.byte)):
        path = [*path[: tree.depth[node] - 1], tree.byte[node]]
        if tree.string[node] >= 0:
            met[int(tree.string[node])] = bytes(path)
        inside = [n for n in range(node + 1, len(tree.byte)) if n < tree.end[node]]
        assert all(tree.depth[n] > tree.depth[node] for n in inside)
    assert met == dict(enumerate(strings))


def test_the_lexicon_is_kept_on_disk_and_rebuilt_if_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSTRAINED_DIFFUSION_CACHE", str(tmp_path))
    monkeypatch.setattr(lexicons, "_kept", {})
    first = lexicons.lexicon_of(MIXED)
    (file,) = tmp_path.iterdir()
    for damage in (None, b"", b"garbage"):
        if damage is not None:
            file.write_bytes(damage)
        monkeypatch.setattr(lexicons, "_kept", {})
        again = lexicons.lexicon_of(MIXED)
        assert all(np.array_equal(a, b) for a, b in zip(_arrays(first), _arrays(again), strict=True))


def test_an_unwritable_cache_is_done_without(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("CONSTRAINED_DIFFUSION_CACHE", str(blocked / "below"))
    monkeypatch.setattr(lexicons, "_kept", {})
    assert len(lexicons.lexicon_of(TOY).token_of_spelling) == 4


def _arrays(lexicon: Lexicon):
    trees = [*lexicon.all.arrays().values(), *lexicon.others.arrays().values()]
    return [lexicon.spelling_of_token, lexicon.token_of_spelling, lexicon.plain_length, *trees]


def test_one_automaton_serves_many_threads():
    automaton = cd.compile(cd.regex("[ab]{5,9}"), TOY)
    logits = torch.randn(12, len(TOY), generator=torch.Generator().manual_seed(0))
    expected = automaton.posterior(logits).log_marginals()
    results = []

    def work():
        results.append(cd.compile(cd.regex("[ab]{5,9}"), TOY).posterior(logits).log_marginals())
        results.append(automaton.posterior(logits).log_marginals())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 16
    assert all(torch.equal(result, expected) for result in results)


def test_repr_tells_the_size():
    assert re.fullmatch(r"<TokenAutomaton: \d+ states, .*>", repr(cd.compile(cd.regex("a"), TOY)))
