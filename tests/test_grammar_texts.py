"""Every grammar of the tests and of the library: texts under any logits parse, and ``matches`` means what Lark means.

A few logits per grammar are tried in the ordinary run, a hundred with RATCHET=all in the environment.
"""

import os
import random
from functools import cache
from pathlib import Path

import pytest
import torch
from grammar_samples import ACCEPTED
from grammar_sentences import FOLDER, grammar, mutated, parses
from lark import Lark
from lark.lexer import PatternStr
from lark_grammars import GRAMMARS
from test_grammar_posterior import BYTES, END_ID, wild_logits

import constrained_diffusion as cd

IS_WHOLE = os.environ.get("RATCHET") == "all"
COUNT = 100 if IS_WHOLE else 2
LENGTH = 64
KINDS = ("random", "peaked", "opening", "closing")
LIBRARY = sorted(path.stem for path in FOLDER.glob("*.lark"))
LARK_OWN = (Path(__import__("lark").__file__).parent / "grammars" / "lark.lark").read_text()
SOURCES = {name: sampled.source for name, sampled in GRAMMARS.items()} | {"lark's own": LARK_OWN}


def assert_texts_parse(automaton, lark, count):
    for seed in range(count):
        logits = wild_logits(KINDS[seed % len(KINDS)], seed, length=LENGTH)
        posterior = automaton.posterior(logits)
        for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
            assert END_ID in ids.tolist()
            lark.parse(automaton.text(ids))


@pytest.mark.parametrize("name", SOURCES)
def test_texts_of_small_grammars_parse(name):
    automaton = cd.compile(cd.grammar(SOURCES[name]), BYTES)
    assert_texts_parse(automaton, Lark(SOURCES[name], parser="lalr"), 4 * COUNT if not IS_WHOLE else COUNT)


@cache
def compiled(name):
    return cd.compile(cd.grammar(name), BYTES)


@pytest.mark.parametrize("name", LIBRARY)
def test_texts_of_the_library_parse(name):
    assert_texts_parse(compiled(name), grammar(name), COUNT)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_matches_what_lark_parses(name):
    generator = random.Random(name)
    constraint = cd.grammar(name)
    words = [t.pattern.value for t in grammar(name).terminals if isinstance(t.pattern, PatternStr)]
    fragments = [*words, *set("".join(ACCEPTED[name]))]
    texts = [*ACCEPTED[name], *(mutated(generator, generator.choice(ACCEPTED[name]), fragments) for _ in range(400))]
    verdicts = {text: parses(name, text) for text in texts}
    assert 0.05 * len(verdicts) < sum(verdicts.values()) < 0.97 * len(verdicts)
    assert [text for text, verdict in verdicts.items() if constraint.matches(text) != verdict] == []


def test_a_large_grammar_and_a_regular_constraint():
    """Together they are too large for a relaxation that knows the grammar."""
    constraint = cd.grammar("sql_select") & cd.regex("SELECT (id|total)(, (id|total))* FROM orders( WHERE [^;]{1,40})?")
    automaton = cd.compile(constraint, BYTES)
    for seed in range(2):
        posterior = automaton.posterior(wild_logits("random", seed, length=80))
        for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
            assert constraint.matches(automaton.text(ids))


FAVOURITES = {
    "brackets": b"([{)]}",
    "opening brackets": b"([{",
    "quotes": b"\"'",
    "spaces": b" \n",
    "operators": b"+-*/%~",
}


@pytest.mark.parametrize("kind", FAVOURITES)
@pytest.mark.parametrize("name", ["python_expression", "python_function", "sql_select"])
def test_texts_parse_under_logits_that_want_no_end(name, kind):
    """Long texts of what opens much and closes little; a pass takes seconds at most."""
    generator = torch.Generator().manual_seed(len(kind))
    length = 256 if IS_WHOLE else 120
    logits = torch.randn(length, len(BYTES), generator=generator)
    logits[:, [i for i, token in enumerate(BYTES.tokens) if token and not token.strip(FAVOURITES[kind])]] += 15
    logits[: length - 16, END_ID] = -torch.inf
    posterior = compiled(name).posterior(logits)
    for ids in (posterior.map(), posterior.sample(generator)):
        assert ids.tolist().index(END_ID) >= length - 16
        grammar(name).parse(compiled(name).text(ids))


def test_forty_levels_of_brackets_around_an_operand():
    text = "(" * 40 + "1" + ")" * 40
    ids = [*text.encode(), END_ID]
    logits = torch.zeros(256, len(BYTES))
    logits[range(len(ids)), ids] = 12.0
    posterior = compiled("arithmetic").posterior(logits)
    assert compiled("arithmetic").text(posterior.map()) == text
    assert bool(posterior.certified)


@pytest.mark.parametrize("name", LIBRARY)
def test_every_text_of_the_library_is_followed_token_by_token(name):
    automaton = compiled(name)
    for text in ACCEPTED[name]:
        state = automaton.advance(None, list(text.encode()))
        assert automaton.accepts(state)
        assert automaton.completion(state) == 1


@pytest.mark.parametrize("name", LIBRARY)
def test_a_text_that_the_model_is_sure_of_is_the_best(name):
    automaton = compiled(name)
    for text in [text for text in ACCEPTED[name] if len(text.encode()) < 250][-6:]:
        ids = [*text.encode(), END_ID]
        logits = torch.zeros(len(ids) + 4, len(BYTES))
        logits[range(len(ids)), ids] = 30.0
        assert automaton.text(automaton.posterior(logits).map()) == text
