"""The script that trains the bundled model: its schedule, and that a run which was cut goes on where it was."""

import json
import random
from itertools import islice

import jsonschema
import pytest
import torch

from constrained_diffusion.models.tiny.corpus import KINDS, LETTERS, Words, examples, is_held_out
from constrained_diffusion.models.tiny.train import Batch, Cycle, Recipe, Trainer, learning_rate, partly_accepted

RECIPE = Recipe(cycles=(Cycle(400, cooldown_share=0.25), Cycle(100, cooldown_share=0.5)), warmup_steps=10)


def test_the_rate_rises_and_falls_in_each_cycle():
    rates = [learning_rate(step, RECIPE) / RECIPE.learning_rate for step in range(RECIPE.steps)]
    assert len(rates) == 500
    assert rates[0] == rates[400] == pytest.approx(0.1)
    assert rates[10:300] == [1.0] * 290
    assert rates[410:450] == [1.0] * 40
    assert rates[399] == rates[499] == pytest.approx(0.02)


def test_a_share_of_the_coined_words_is_spelled_at_random():
    letters = {}
    for share in (0.0, 0.5):
        words = Words(random.Random(0), spelled_share=share)
        letters[share] = {letter for _ in range(500) for letter in words.coined().lower()}
    assert letters[0.0] < set(LETTERS) <= letters[0.5]


def test_a_second_pass_holds_draws_of_the_first_at_its_most_certain_positions():
    """Logits that are sure of token 9 at some positions: these are drawn first, what is given stays."""
    generator = torch.Generator().manual_seed(0)
    canvas = torch.full((64, 20), 4)
    guess = torch.zeros(64, 20, 12)
    guess[:, 5:10, 9] = 50.0
    given = torch.zeros(64, 20, dtype=torch.bool)
    given[:, 7] = True
    result = partly_accepted(canvas, guess, given, generator)
    assert (result[:, 7] == 4).all()
    sure, others = result[:, [5, 6, 8, 9]] == 9, result[:, 10:] != 4
    assert set(result[:, [5, 6, 8, 9]].unique().tolist()) == {4, 9}
    assert sure.all(-1)[others.any(-1)].all()
    assert 0.1 < others.float().mean() < 0.7


def test_a_resumed_run_takes_the_same_steps(tmp_path):
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(3, 300, (2, 8), generator=generator)
    target[:, 5] = 1
    batch = Batch(torch.randint(3, 300, (2, 6), generator=generator), target, torch.zeros(2, 8, dtype=torch.bool))
    whole = Trainer(RECIPE, tmp_path)
    for _ in range(2):
        whole.train_step(batch)
    whole.save()
    resumed = Trainer(RECIPE, tmp_path)
    assert resumed.step == 2
    assert resumed.train_step(batch) == pytest.approx(whole.train_step(batch), rel=1e-5)


def test_examples_satisfy_their_schemas():
    for example in islice(examples(3), 200):
        jsonschema.validate(example.value, example.schema)
        assert json.loads(json.dumps(example.value)) == example.value


def test_numbers_of_the_test_set_are_never_trained_on():
    asked = {"age", "seats", "order_id", "ticket", "number"}
    for split in (False, True):
        found = [
            example.value[key]
            for example in islice(examples(4, held_out=split), 300)
            for key in asked & example.value.keys()
        ]
        assert len(found) > 20
        assert all(is_held_out(str(value)) == split for value in found if isinstance(value, int))
    assert len(KINDS) >= 6
