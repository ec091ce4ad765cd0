"""Definitions that call each other: against a recogniser that tries everything, and on tokens."""

import itertools
import math
import random
from functools import partial

import numpy as np
import pytest
import torch
from enumeration import enumerate_canvases, text_key
from test_posterior import make_logits

import constrained_diffusion as cd
from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata import pushdown_kernels as kernels
from constrained_diffusion.automata.acceptors import acceptor
from constrained_diffusion.automata.byte_automaton import DEAD
from constrained_diffusion.automata.pushdown import PushdownAutomaton, Windows
from constrained_diffusion.automata.pushdown_tokens import _ranked
from constrained_diffusion.constraints.base import Constraint
from constrained_diffusion.constraints.json_schema.compiler import Shared

LETTERS = "()ab"
TEXTS = ["".join(letters) for n in range(8) for letters in itertools.product(LETTERS, repeat=n)]


class Loose(Constraint):
    """A pushdown automaton whose stacks are known by their top only, so that the relaxation is as loose as can be."""

    def __init__(self, automaton, size=1, *, is_forgetful=False):
        self.made = automaton.with_windows(Windows.of(automaton.grammar, size, is_forgetful=is_forgetful))

    def automaton(self, limits=cd.Limits()):
        return self.made


def random_body(rng, definitions, depth=3):
    """A tree of tuples: a letter, a definition, or parts in a row, in a union or repeated."""
    kind = rng.choice("lldrcus" if depth else "ld")
    if kind == "l":
        return ("l", rng.choice("ab"))
    if kind == "d":
        return ("d", rng.randrange(definitions))
    if kind == "r":
        return ("r", random_body(rng, definitions, depth - 1))
    return ("c" if kind in "cs" else "u", *(random_body(rng, definitions, depth - 1) for _ in range(2)))


def in_brackets(body):
    return ("c", ("l", "("), ("c", body, ("l", ")")))


def expression_of(body, definitions):
    kind, *parts = body
    if kind == "l":
        return ex.literal(parts[0].encode())
    if kind == "d":
        return ex.Call(definitions[parts[0]])
    inside = [expression_of(part, definitions) for part in parts]
    if kind == "r":
        return ex.Repetition(inside[0])
    return ex.concatenation(*inside) if kind == "c" else ex.union(*inside)


def ends(body, bodies, text, begin):
    """All offsets up to which the text from ``begin`` on is one of the body's."""
    kind, *parts = body
    if kind == "l":
        return {begin + 1} if text[begin : begin + 1] == parts[0] else set()
    if kind == "d":
        return ends(bodies[parts[0]], bodies, text, begin)
    if kind == "u":
        return {end for part in parts for end in ends(part, bodies, text, begin)}
    if kind == "c":
        return {e for middle in ends(parts[0], bodies, text, begin) for e in ends(parts[1], bodies, text, middle)}
    found = {begin}
    while more := {e for middle in found for e in ends(parts[0], bodies, text, middle)} - found:
        found |= more
    return found


def compiled(seed, count=3):
    """A random language: three definitions in brackets, and a text of them. All of it, or None where it is regular."""
    rng = random.Random(seed)
    bodies = [in_brackets(random_body(rng, count)) for _ in range(count)]
    whole = random_body(rng, count)
    definitions = [ex.Definition(f"d{i}") for i in range(count)]
    for definition, body in zip(definitions, bodies, strict=True):
        definition.body = expression_of(body, definitions)
    return bodies, whole, acceptor(expression_of(whole, definitions), cd.Limits())


@pytest.mark.parametrize("seed", range(60))
def test_bracketed_definitions_are_recognised_exactly(seed):
    bodies, whole, automaton = compiled(seed)
    for text in TEXTS:
        assert automaton.matches(text.encode()) == (len(text) in ends(whole, bodies, text, 0)), text


def test_both_verdicts_are_frequent_and_many_languages_call():
    made = [compiled(seed) for seed in range(60)]
    assert sum(isinstance(automaton, PushdownAutomaton) for _, _, automaton in made) > 25
    accepted = sum(automaton.matches(text.encode()) for _, _, automaton in made for text in TEXTS[:5000])
    assert accepted > 200


@pytest.mark.parametrize("seed", range(60))
def test_every_prefix_that_is_not_dead_can_be_completed(seed):
    _, _, automaton = compiled(seed)
    if automaton.start == DEAD:
        return
    rng = random.Random(seed)
    for _ in range(20):
        state = automaton.start
        for _ in range(rng.randrange(12)):
            following = automaton.next_bytes(state)
            if not following:
                break
            state = automaton.step(state, rng.choice(following))
        assert automaton.next_bytes(state) or automaton.accepts(state)


def closing_text(automaton, state):
    arguments = state, automaton.representatives
    text, path = automaton.call(kernels.straight_way, *arguments)
    if not len(path):
        text, path, _ = automaton.call(kernels.closing_way, *arguments, 1000, False)
    assert path[0] == state
    assert path[-1] == automaton.run(text.tobytes(), state)
    return text.tobytes()


def fewest_bytes(automaton, state, most):
    """The bytes of the shortest text that completes a state, by trying all; None beyond ``most``."""
    level = {state}
    for length in range(most + 1):
        if any(automaton.accepts(one) for one in level):
            return length
        level = {to for one in level for byte in LETTERS.encode() if (to := automaton.step(one, byte)) != DEAD}
    return None


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("has_side", [False, True])
def test_what_is_left_open_is_closed_by_the_shortest_text(seed, has_side):
    _, _, automaton = compiled(seed)
    if not isinstance(automaton, PushdownAutomaton):
        return
    if has_side:
        side = cd.regex("[(ab]*(b[)]|[()ab])*").automaton()
        automaton = PushdownAutomaton(automaton.grammar, automaton.windows, side)
    rng = random.Random(seed)
    for _ in range(20):
        state = automaton.start
        for _ in range(rng.randrange(12)):
            following = automaton.next_bytes(state) if state != DEAD else []
            if not following:
                break
            state = automaton.step(state, rng.choice(following))
        least = None if state == DEAD else fewest_bytes(automaton, state, 8)
        if least is not None:
            text = closing_text(automaton, state)
            assert automaton.accepts(automaton.run(text, state))
            assert len(text) == least


def test_two_calls_that_begin_alike_are_read_at_once():
    one, other = ex.Definition("one"), ex.Definition("other")
    one.body = ex.concatenation(ex.literal(b"("), ex.Repetition(ex.Call(one), 0, 1), ex.literal(b")"))
    inside = ex.union(ex.Call(other), ex.literal(b"x"))
    other.body = ex.concatenation(ex.literal(b"("), ex.Repetition(inside, 0, 1), ex.literal(b")"))
    either = ex.union(
        ex.concatenation(ex.Call(one), ex.literal(b"a")), ex.concatenation(ex.Call(other), ex.literal(b"b"))
    )
    matches = acceptor(either, cd.Limits()).matches
    deep = b"(" * 50 + b")" * 50
    assert matches(deep + b"a")
    assert matches(deep + b"b")
    assert matches(b"((x))b")
    assert not matches(b"((x))a")
    automaton = acceptor(either, cd.Limits())
    assert closing_text(automaton, automaton.run(b"((x")) == b"))b"
    assert closing_text(automaton, automaton.run(b"((")) in (b"))a", b"))b")


def test_what_begins_by_calling_itself_is_refused():
    loop = ex.Definition("loop")
    loop.body = ex.union(ex.concatenation(ex.Call(loop), ex.literal(b"a")), ex.literal(b"b"))
    with pytest.raises(cd.errors.UnsupportedConstraint, match="loop begins by calling itself"):
        acceptor(ex.Call(loop), cd.Limits())


def test_a_definition_without_a_text_is_left_out():
    endless = ex.Definition("endless")
    endless.body = ex.concatenation(ex.literal(b"("), ex.Call(endless), ex.literal(b")"))
    with_it = acceptor(ex.union(ex.Call(endless), ex.literal(b"a")), cd.Limits())
    assert with_it.matches(b"a")
    assert with_it.next_bytes(with_it.start) == [ord("a")]
    assert acceptor(ex.Call(endless), cd.Limits()).is_empty


END = 7
VOCABULARY = cd.Vocabulary([b"(", b")", b"((", b"))", b")(", b"a", b")a(", None], end_ids=[END])


key_of = partial(text_key, end=END)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", ["flat", "peaked", "holes"])
@pytest.mark.parametrize("is_forgetful", [False, True])
def test_best_texts_on_tokens_agree_with_enumeration(seed, kind, is_forgetful):
    _, _, automaton = compiled(seed)
    if not isinstance(automaton, PushdownAutomaton):
        return

    try:
        size = 1 if is_forgetful else 1 + seed % 2
        tokens = cd.compile(Loose(automaton, size, is_forgetful=is_forgetful), VOCABULARY)
    except cd.errors.InfeasibleError:
        return
    logits = make_logits(kind, 4, len(VOCABULARY), seed)
    if bool(torch.isneginf(logits).all(-1).any()):
        return
    expected = enumerate_canvases(logits, automaton.matches, vocabulary=VOCABULARY)
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            tokens.posterior(logits).map()
        return
    posterior = tokens.posterior(logits)
    assert bool(posterior.certified)
    key = key_of(posterior.map())
    assert expected.texts[key] == pytest.approx(expected.best, rel=1e-4)
    assert key_of(posterior.sample(torch.Generator().manual_seed(seed))) in expected.texts


def test_tokens_of_one_class_do_the_same_to_every_stack():
    for seed in range(40):
        _, _, automaton = compiled(seed)
        if not isinstance(automaton, PushdownAutomaton) or automaton.is_empty:
            continue
        texts = ["".join(letters).encode() for n in (1, 2, 3) for letters in itertools.product(LETTERS, repeat=n)]
        vocabulary = cd.Vocabulary([*texts, None], end_ids=[len(texts)])
        tokens = cd.compile(Loose(automaton), vocabulary)
        exact = tokens.exact.automaton
        rng = random.Random(seed)
        for _ in range(30):
            state = exact.start
            for _ in range(rng.randrange(10)):
                following = exact.next_bytes(state)
                if following:
                    state = exact.step(state, rng.choice(following))
            reached = {}
            for token, text in enumerate(texts):
                reached.setdefault(int(tokens.lifted.class_of_token[token]), set()).add(exact.run(text, state))
            for label, targets in reached.items():
                assert len(targets) == 1 or label == 0, (seed, label)


def test_rows_are_ranked_in_the_order_of_the_first_column():
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, 3, 50), rng.integers(0, 4, 50).astype(np.uint64)]
    first, number = _ranked(columns)
    rows = [tuple(int(column[i]) for column in columns) for i in range(50)]
    assert [rows[place] for place in first] == sorted(set(rows))
    assert all(rows[first[number[i]]] == rows[i] for i in range(50))


def test_a_regular_part_is_the_same_automaton_wherever_it_was_compiled_first():
    part = Shared(ex.literal(b"ab"))
    loop = ex.Definition("loop")
    loop.body = ex.concatenation(ex.literal(b"("), ex.Repetition(ex.Call(loop), 0, 1), part, ex.literal(b")"))
    assert acceptor(ex.concatenation(ex.Call(loop), part), cd.Limits()).matches(b"((ab)ab)ab")
    alone = acceptor(ex.Union((part, ex.literal(b"c"))), cd.Limits())
    assert alone.same_language(cd.regex("ab|c").automaton())
