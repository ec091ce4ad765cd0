"""Both sides of a constraint at once: what is valid stays possible, and what is possible is valid.

A valid text is tokenised, random spans of its positions are freed and the others pinned. Every true token must keep a
positive probability, and every completion must be valid.
"""

import json
import math
import random
import re
from pathlib import Path

import jsonschema
import pytest
import torch
from small_models import byte_tokenizer

import constrained_diffusion as cd
from constrained_diffusion.constraints.infilling import Infilling
from constrained_diffusion.models.tiny import CHECKPOINT

DATA = Path(__file__).parents[2] / "shared" / "data" / "maskbench_dev.jsonl"
OWN = [
    ({"type": "array", "items": {"type": "integer", "minimum": -3, "maximum": 120}, "maxItems": 4}, [[1, -3, 120], []]),
    (
        {
            "type": "object",
            "properties": {"näme": {"type": "string", "maxLength": 20}, "on": {"type": "string", "format": "date"}},
            "required": ["näme"],
            "additionalProperties": False,
        },
        [{"näme": 'Zoë "q" \n', "on": "2024-02-29"}, {"näme": ""}],
    ),
    (
        {"oneOf": [{"type": "string", "pattern": "^a+$"}, {"type": "string", "minLength": 3}, {"type": "null"}]},
        ["aa", "bbb", None],
    ),
    (
        {"type": "object", "propertyNames": {"pattern": "^x"}, "additionalProperties": {"type": "boolean"}},
        [{"x1": True, "xy": False}, {}],
    ),
    ({"not": {"type": "object"}, "enum": [1.5, "é", None, [1, {"a": []}], {"a": 1}]}, [1.5, "é", [1, {"a": []}]]),
]


def vocabularies():
    yield "bytes and merges", byte_tokenizer()
    if CHECKPOINT.exists():
        from transformers import AutoTokenizer

        yield "the bundled model's", AutoTokenizer.from_pretrained(CHECKPOINT)


def labelled():
    """Schemas of MaskBench with small valid instances, where the data lie beside the repository."""
    for line in DATA.read_text().splitlines()[::25]:
        entry = json.loads(line)
        valid = [test["data"] for test in entry["tests"] if test["valid"]]
        instances = [value for value in valid if len(json.dumps(value)) < 250]
        if instances and len(json.dumps(entry["schema"])) < 1500:
            yield entry["schema"], instances[:2]


def freed(ids, rng):
    """Pins with up to three random spans left free."""
    pins = ids.clone()
    for _ in range(rng.randint(1, 3)):
        begin = rng.randrange(len(ids))
        pins[begin : begin + rng.randint(1, 12)] = -1
    return pins


def completions(automaton, ids, pins, seed):
    """Texts that the posterior given the pins gives; the true ids must be possible under it."""
    logits = torch.randn(len(ids), len(automaton.vocabulary), generator=torch.Generator().manual_seed(seed)) * 6
    posterior = automaton.posterior(logits, pins=pins)
    assert float(posterior.log_prob(ids)) > -math.inf
    assert (posterior.log_marginals_of(ids) > -math.inf).all()
    for drawn in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
        assert all(pin in (-1, token) for pin, token in zip(pins.tolist(), drawn.tolist(), strict=True))
        yield automaton.text(drawn)


def ids_of(text, tokenizer, vocabulary):
    return torch.tensor([*tokenizer.encode(text, add_special_tokens=False), vocabulary.end_ids[0]])


def check(schema, instances, tokenizer, rng):
    constraint = cd.json_schema(schema, lenient=True)
    vocabulary = cd.Vocabulary.from_tokenizer(tokenizer)
    automaton = cd.compile(constraint, vocabulary)
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    checked = 0
    for instance in instances:
        text = json.dumps(instance, ensure_ascii=False)
        if not constraint.matches(text):
            continue  # whether it should is the concern of the coverage tests
        ids = ids_of(text, tokenizer, vocabulary)
        for seed in range(3):
            for completed in completions(automaton, ids, freed(ids, rng), seed):
                validator.validate(json.loads(completed))
                checked += 1
    return checked


@pytest.mark.parametrize(
    ("name", "tokenizer"), list(vocabularies()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_own_schemas(name, tokenizer):
    rng = random.Random(0)
    for schema, instances in OWN:
        assert check(schema, instances, tokenizer, rng) == 6 * len(instances)


@pytest.mark.skipif(not DATA.exists(), reason="MaskBench is not beside the repository")
def test_labelled_instances_of_maskbench():
    tokenizer = dict(vocabularies())["bytes and merges"]
    rng = random.Random(1)
    checked = 0
    for schema, instances in labelled():
        try:
            checked += check(schema, instances, tokenizer, rng)
        except (cd.errors.UnsupportedConstraint, cd.errors.LimitExceeded):
            continue  # refused by name, which the ratchet keeps watch over
    assert checked > 40


DAY = cd.choice(["Mon", "Tue", "Mittwoch"])
TEMPLATES = [
    (cd.template("Order {id:[0-9]{3}} ships on {day}, é.", day=DAY), "Order 123 ships on Mon, é."),
    (cd.template("{day}: {line}\n{day}!", day=DAY), "Tue: Zoë went, \u0394x = 3\nTue!"),
    (cd.template("{outer} / {n}", outer=cd.template("<{a:[ab]*}|{b:[ab]*}>"), n=int), "<ab|a> / -12"),
    (cd.template("{x}{y}", x=cd.regex("a*"), y=cd.regex("a*b?")), "aaab"),
    ("{" + cd.template('"k": {v}', v=cd.json_schema({"type": ["string", "null"]})) + "}", '{"k": "\\u00e9\\n é"}'),
]
INFILLS = [
    (["Zo", None, " lives in ", None, "."], None, ["ë Müller", "Köln"]),
    (["def f(", None, "):\n    return ", None], None, ["x, y", "x * y\n"]),
    (["id-", None, "-z"], cd.regex("id-[0-9]{2,4}-z"), ["123"]),
    (['{"a": ', None, "}"], cd.json_schema({"type": "object", "properties": {"a": {"type": "array"}}}), ['[1, "é"]']),
    (["", None, "b"], cd.regex("(ab)*"), ["aba"]),
]


def patterns_of(pieces):
    return "".join("(?s:.*)" if piece is None else re.escape(piece) for piece in pieces)


@pytest.mark.parametrize("case", range(len(TEMPLATES)))
def test_templates(case):
    constraint, text = TEMPLATES[case]
    tokenizer, rng = byte_tokenizer(), random.Random(case)
    vocabulary = cd.Vocabulary.from_tokenizer(tokenizer)
    automaton = cd.compile(constraint, vocabulary)
    ids = ids_of(text, tokenizer, vocabulary)
    for seed in range(6):
        for completed in completions(automaton, ids, freed(ids, rng), seed):
            assert constraint.matches(completed)


@pytest.mark.parametrize("case", range(len(INFILLS)))
def test_infills(case):
    """The canvas holds what follows a beginning that may end inside a token, as the generator gives it."""
    pieces, whole, middles = INFILLS[case]
    holes = iter(middles)
    text = "".join(next(holes) if piece is None else piece for piece in pieces)
    tokenizer, rng = byte_tokenizer(), random.Random(case)
    vocabulary = cd.Vocabulary.from_tokenizer(tokenizer)
    for cut in range(len(pieces[0].encode()) + 1):
        beginning, healed = pieces[0].encode()[:cut], pieces[0].encode()[cut:]
        rest = [healed, *(None if piece is None else piece.encode() for piece in pieces[1:])]
        automaton = cd.compile(Infilling(beginning, rest, whole), vocabulary)
        ids = ids_of(text[cut:], tokenizer, vocabulary)
        for seed in range(3):
            for completed in completions(automaton, ids, freed(ids, rng), seed):
                assert re.fullmatch(patterns_of(pieces), pieces[0][:cut] + completed)
                assert whole is None or whole.matches(pieces[0][:cut] + completed)
