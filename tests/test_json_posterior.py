"""Two hundred random schemas under random, peaked and adversarial logits: every text validates and is finished."""

import json
import random

import jsonschema
import pytest
import torch
from small_models import byte_tokenizer

import constrained_diffusion as cd

VOCABULARY = cd.Vocabulary.from_tokenizer(byte_tokenizer())
SHORT_OF_SPACE, ROOMY = 0, 30


def random_schema(rng, depth=0):
    """A schema of the supported kind whose texts stay short."""
    kinds = ["string", "integer", "number", "enum", "const", "boolean", "null", "types", "range"]
    kind = rng.choice(kinds + (["object", "array", "tuple", "anyOf", "conjunction"] * 2 if depth < 2 else []))
    if kind == "string":
        return rng.choice(
            [
                {"type": "string", "maxLength": rng.randint(0, 4)},
                {"type": "string", "minLength": 1, "maxLength": 3},
                {"type": "string", "pattern": rng.choice(["^[a-c]{2}$", "^x?y+$", "^\\d{1,3}$", '^"é$', "^[^\\\\]$"])},
                {"type": "string", "pattern": "b", "maxLength": 2},
            ]
        )
    if kind == "range":
        low = rng.randint(-200, 200)
        return {"type": rng.choice(["integer", "number"]), "minimum": low, "maximum": low + rng.randint(0, 150)}
    if kind == "enum":
        return {"enum": rng.sample(["a", 'q"\\', 1, 2.5, None, True, [1, "x"], {"k": False}, "é\n"], rng.randint(1, 3))}
    if kind == "const":
        return {"const": rng.choice([0, "s", {"a": [1]}, -1.5])}
    if kind == "types":
        return {"type": rng.sample(["integer", "boolean", "null"], 2)}
    if kind == "array":
        low = rng.randint(0, 2)
        return {
            "type": "array",
            "items": random_schema(rng, depth + 1),
            "minItems": low,
            "maxItems": low + rng.randint(0, 2),
        }
    if kind == "tuple":
        return {
            "type": "array",
            "prefixItems": [random_schema(rng, depth + 1) for _ in range(2)],
            "items": False,
            "minItems": 1,
        }
    if kind == "anyOf":
        return {"anyOf": [random_schema(rng, depth + 1) for _ in range(2)]}
    if kind == "conjunction":
        return {
            "type": "integer",
            "minimum": rng.randint(-9, 9),
            "anyOf": [{"maximum": 40}, {"minimum": 90, "maximum": 120}],
        }
    if kind == "object":
        names = rng.sample(["a", "b c", 'n"q', "é", "long_name"], rng.randint(1, 3))
        return {
            "type": "object",
            "properties": {name: random_schema(rng, depth + 1) for name in names},
            "required": [name for name in names if rng.random() < 0.6],
            "additionalProperties": rng.choice([False, False, {"type": "boolean"}]),
        }
    return {"type": kind}


def make_logits(kind, length, generator):
    width = len(VOCABULARY)
    noise = torch.randn(length, width, generator=generator)
    if kind == "random":
        return noise * 4
    if kind == "peaked":
        favourites = torch.randint(0, width, (length, 1), generator=generator)
        return noise.scatter(1, favourites, 60.0)
    # A model that wants to end at once, to pad, to open brackets for ever, and holds the needed tokens impossible.
    logits = noise * 0.1
    logits[:, list(VOCABULARY.end_ids)] = 80.0
    for i, spelling in enumerate(VOCABULARY.tokens):
        if spelling is None:
            logits[:, i] += 40.0
        elif spelling in (b"{", b"[", b'"', b" "):
            logits[:, i] = 90.0
        elif spelling[0] in b"0123456789}]":
            logits[:, i] = -300.0
    return logits


def test_every_map_and_every_sample_validates_and_is_finished():
    rng = random.Random(1)
    compiled = 0
    while compiled < 200:
        schema = random_schema(rng)
        try:
            automaton = cd.compile(cd.json_schema(schema), VOCABULARY)
        except cd.errors.InfeasibleError:
            assert not _has_instance(schema), schema
            continue
        compiled += 1
        validator = jsonschema.Draft202012Validator(schema)
        for spare in (SHORT_OF_SPACE, ROOMY):
            length = automaton.min_tokens + spare
            for kind in ("random", "peaked", "adversarial"):
                generator = torch.Generator().manual_seed(compiled)
                posterior = automaton.posterior(make_logits(kind, length, generator))
                for ids in (posterior.map(), posterior.sample(generator), posterior.sample(generator)):
                    assert any(end in ids.tolist() for end in VOCABULARY.end_ids)
                    text = automaton.text(ids)
                    validator.validate(json.loads(text))
        with pytest.raises(cd.errors.InfeasibleError, match="needs at least"):
            automaton.posterior(torch.zeros(automaton.min_tokens - 1, len(VOCABULARY)))


def _has_instance(schema):
    """Whether some small value satisfies the schema."""
    validator = jsonschema.Draft202012Validator(schema)
    return any(validator.is_valid(value) for value in [None, True, 0, 1, -5, 100, "", "a", "ab", [], {}, [1, "x"]])


def test_without_room_to_spare_the_text_is_the_shortest():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    automaton = cd.compile(cd.json_schema(schema), VOCABULARY)
    posterior = automaton.posterior(torch.zeros(automaton.min_tokens, len(VOCABULARY)))
    value = json.loads(automaton.text(posterior.sample(torch.Generator().manual_seed(0))))
    assert value["a"] in range(-9, 100)
