"""Grammars in the manner of Lark's own: texts under any logits parse with Lark, and ``matches`` means what Lark means.

A few logits per grammar are tried in the ordinary run, a hundred with RATCHET=all in the environment.
"""

import os
import random
from functools import cache

import pytest
import torch
from lark import Lark
from lark.exceptions import LarkError
from lark_manners import MANNERS
from test_grammar_posterior import BYTES, END_ID, wild_logits

import constrained_diffusion as cd

IS_WHOLE = os.environ.get("RATCHET") == "all"
COUNT = 100 if IS_WHOLE else 5
LENGTH = 80
KINDS = ("random", "peaked", "opening", "closing", "its own characters")


@cache
def compiled(name):
    return cd.compile(cd.grammar(MANNERS[name][0]), BYTES)


def logits_of(name, kind, seed):
    """Every other one wants a long text."""
    if kind != "its own characters":
        return wild_logits(kind, seed, length=LENGTH, open_until=(seed // len(KINDS)) % 2 * (LENGTH - 12))
    logits = wild_logits("random", seed, length=LENGTH, open_until=seed % 2 * (LENGTH - 12))
    own = set("".join(MANNERS[name][1]).encode())
    logits[:, [i for i, token in enumerate(BYTES.tokens) if token and set(token) <= own]] += 10
    return logits


@pytest.mark.parametrize("name", MANNERS)
def test_texts_parse(name):
    lark = Lark(MANNERS[name][0], parser="lalr")
    for seed in range(COUNT):
        posterior = compiled(name).posterior(logits_of(name, KINDS[seed % len(KINDS)], seed))
        for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
            assert END_ID in ids.tolist()
            lark.parse(compiled(name).text(ids))


@pytest.mark.parametrize("name", MANNERS)
def test_matches_means_what_lark_means(name):
    source, texts = MANNERS[name]
    lark, constraint, generator = Lark(source, parser="lalr"), cd.grammar(source), random.Random(name)
    verdicts = set()
    for _ in range(400):
        text = list(generator.choice(texts))
        for _ in range(generator.randrange(3)):
            begin, end = sorted(generator.choices(range(len(text) + 1), k=2))
            piece = generator.choice([text[begin:end], [], [generator.choice("".join(texts))]])
            text[generator.randrange(len(text) + 1) : end] = piece
        verdicts.add(constraint.matches("".join(text)))
        assert constraint.matches("".join(text)) == is_parsed(lark, "".join(text)), "".join(text)
    assert verdicts == {True, False}


def is_parsed(lark, text):
    try:
        lark.parse(text)
    except LarkError:
        return False
    return True
