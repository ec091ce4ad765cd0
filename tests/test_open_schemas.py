"""Schemas that allow any JSON somewhere, on tokens: against enumeration, with jsonschema as the judge of each text."""

import json
import math
from functools import cache, partial

import jsonschema
import pytest
from enumeration import check_relaxed, enumerate_canvases, text_key
from test_posterior import make_logits

import constrained_diffusion as cd

ARRAY, OBJECT = {"type": "array"}, {"type": "object"}
SCHEMAS = {
    "any": {},
    "array": ARRAY,
    "object": OBJECT,
    "pairs": {**ARRAY, "prefixItems": [{"type": "integer"}, OBJECT]},
    "values": {**OBJECT, "additionalProperties": ARRAY},
    "either": {"anyOf": [OBJECT, {**ARRAY, "items": ARRAY}]},
    "one": {"oneOf": [{**ARRAY, "minItems": 2}, {**ARRAY, "prefixItems": [{"type": "integer"}]}]},
    "not": {"not": {"type": "integer"}},
    "loop": {**ARRAY, "items": {"anyOf": [{"$ref": "#"}, OBJECT]}},
}
TOKENS = [b"[", b"]", b"{", b"}", b'"', b"1,", b'{"', b'":', b"]}", b"],[", b"[[", b'"]', None]
END = len(TOKENS) - 1
VOCABULARY = cd.Vocabulary(TOKENS, end_ids=[END])


key_of = partial(text_key, end=END)


def judge(schema):
    validator = jsonschema.Draft202012Validator(schema)

    @cache
    def is_valid(text):
        try:
            return validator.is_valid(json.loads(text))
        except ValueError:
            return False

    return is_valid


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("kind", ["flat", "peaked"])
@pytest.mark.parametrize("pins", [None, [10, -1, -1, -1]])
def test_open_schemas_on_tokens_agree_with_enumeration(name, kind, pins):
    automaton = cd.compile(cd.json_schema(SCHEMAS[name], whitespace="compact"), VOCABULARY)
    logits = make_logits(kind, 4, len(VOCABULARY), 3)
    expected = enumerate_canvases(logits, judge(SCHEMAS[name]), pins=pins, vocabulary=VOCABULARY)
    if expected.log_z == -math.inf:
        with pytest.raises(cd.errors.InfeasibleError):
            automaton.posterior(logits, pins=pins)
        return
    posterior = automaton.posterior(logits, pins=pins)
    check_relaxed(posterior, expected, key_of, draws=10)
    ids, scores = posterior.kbest(5)
    proved = posterior.kbest_certified(5).tolist()
    best = sorted(expected.texts.values(), reverse=True)[:5]
    for rank, (row, score) in enumerate(zip(ids, scores.tolist(), strict=True)):
        if score > -math.inf:
            assert not proved[rank] or expected.texts[key_of(row)] == pytest.approx(best[rank], rel=1e-4)
        else:
            assert not proved[rank] or rank >= len(best)
