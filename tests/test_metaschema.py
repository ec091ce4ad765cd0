"""The cheap proof of well-formedness never says more than ``jsonschema`` does."""

import copy
import json
import random
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema.exceptions import best_match

from constrained_diffusion.constraints.json_schema import json_schema
from constrained_diffusion.constraints.json_schema.metaschema import DRAFTS, fault, is_surely_well_formed
from constrained_diffusion.errors import InvalidConstraint

SHARED = Path(__file__).parents[2] / "shared"
ORACLES = {
    "draft-04": jsonschema.Draft4Validator,
    "draft-06": jsonschema.Draft6Validator,
    "draft-07": jsonschema.Draft7Validator,
    "draft/2019-09": jsonschema.Draft201909Validator,
    "draft/2020-12": jsonschema.Draft202012Validator,
}
VALUES = [
    *(None, True, False, 0, 1, -1, 3, 10**30, 0.0, -0.5, 1.0, 2.5, 1e300),
    *("", "a", "array", "null", "text", "#", "#/a", "a#", "a#b", "http://x/y", "(", "1a", "é"),
    *([], [None], [True], [1], [1, 1], [1, 1.0], [1, True], [0, False], [None, None], ["a"], ["a", "a"], ["a", "b"]),
    *(
        ["array", "null"],
        ["array", "array"],
        ["array", "text"],
        [["array"]],
        [{}],
        [{}, {}],
        [[]],
        [{"type": 1}],
        [0.5],
    ),
    *({}, {"a": 1}, {"a": None}, {"a": True}, {"a": {}}, {"a": []}, {"a": ["b"]}, {"a": ["b", "b"]}, {"a": [{}]}),
    *({"a": {"type": "text"}}, {"a": {"type": "array"}}, {"type": "text"}, {"type": 1}, {"minLength": 1.0}),
]


def oracle(draft):
    return ORACLES[draft](ORACLES[draft].META_SCHEMA)


def keywords():
    """Every name that stands anywhere in a metaschema or in its vocabularies, and some that do not."""
    from jsonschema_specifications import REGISTRY

    names = {"unknown", "extends", "disallow", "divisibleBy", "nullable"}
    pending = [REGISTRY[uri].contents for uri in REGISTRY]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            names |= set(part)
            pending += part.values()
    return sorted(names)


def test_the_drafts_are_those_of_the_oracle():
    assert set(DRAFTS) == set(ORACLES)


@pytest.mark.parametrize("draft", DRAFTS)
def test_every_keyword_with_every_kind_of_value(draft):
    """What the predicates let pass is well-formed: all of it at once, or else one by one to name what is not."""
    proved = [
        {keyword: value} for keyword in keywords() for value in VALUES if is_surely_well_formed({keyword: value}, draft)
    ]
    assert len(proved) > 500
    together = {"properties": {str(i): schema for i, schema in enumerate(proved)}}
    check = oracle(draft)
    wrong = [] if check.is_valid(together) else [schema for schema in proved if not check.is_valid(schema)]
    assert wrong == []
    assert check.is_valid(together)


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_in_place_of_a_schema(draft, value):
    assert (fault(value, draft) is None) == oracle(draft).is_valid(value)


# --- mutations of schemas ------------------------------------------------------------------------

SEEDS = [
    {
        "type": "object",
        "title": "a person",
        "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": ["integer", "null"], "minimum": 0}},
        "required": ["name"],
        "additionalProperties": False,
    },
    {
        "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}, "id": {"enum": ["a", 1, None]}}}},
        "allOf": [{"$ref": "#/$defs/node"}, {"anyOf": [{"const": {"type": 7}}, True]}],
    },
    {
        "items": [{"type": "number", "multipleOf": 0.5}, {"oneOf": [{"maxItems": 3}, {"not": {}}]}],
        "additionalItems": {"patternProperties": {"^a": {"format": "date"}}},
        "definitions": {"type": {"type": "array", "uniqueItems": True, "contains": {"maximum": 2}}},
    },
    {
        "prefixItems": [{"if": {"minProperties": 1}, "then": {"default": []}, "else": False}],
        "items": {"dependentSchemas": {"a": {"propertyNames": {"pattern": "a"}}}, "examples": [1]},
        "unevaluatedItems": {"contentSchema": {"deprecated": True, "readOnly": False}},
        "dependencies": {"a": ["b", "c"], "d": {"minContains": 2}},
        "dependentRequired": {"a": ["b"]},
    },
    {"exclusiveMinimum": 1, "exclusiveMaximum": 2, "$id": "http://x/y", "$anchor": "a", "$comment": "c", "id": "x"},
    {"minimum": 1, "exclusiveMinimum": True, "maximum": 3, "exclusiveMaximum": False, "$dynamicAnchor": "b"},
]


def places(value, path=()):
    """The paths of all values inside."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in items:
        yield from places(inner, (*path, step))


def at(value, path):
    for step in path:
        value = value[step]
    return value


def mutated(schema, rng):
    """The schema with one value replaced, removed, copied elsewhere, or under another name."""
    schema = copy.deepcopy(schema)
    *above, last = rng.choice([path for path in places(schema) if path])
    container = at(schema, above)
    choice = rng.randrange(4)
    if choice == 0:
        container[last] = copy.deepcopy(rng.choice(VALUES))
    elif choice == 1:
        container[last] = copy.deepcopy(at(schema, rng.choice(list(places(schema)))))
    elif choice == 2 and isinstance(container, dict):
        container[rng.choice(keywords_once)] = container.pop(last)
    elif len(schema) > 1:
        del container[last]
    return schema


keywords_once = keywords()


@settings(deadline=None, max_examples=1000)
@given(st.sampled_from(SEEDS), st.sampled_from(DRAFTS), st.integers(0, 1 << 30), st.integers(1, 4))
def test_a_mutated_schema_is_refused_exactly_if_the_library_refuses_it(seed, draft, number, count):
    rng = random.Random(number)
    schema = seed
    for _ in range(count):
        schema = mutated(schema, rng) if schema else schema
    expected = best_match(oracle(draft).iter_errors(schema))
    met = fault(schema, draft)
    assert (met is None) == (expected is None)
    if expected is not None:
        assert not is_surely_well_formed(schema, draft)
        assert (met.message, met.absolute_path) == (expected.message, expected.absolute_path)
        address = f"http{'s' if '/' in draft else ''}://json-schema.org/{draft}/schema"
        declared = {**schema, "$schema": address}
        if not oracle(draft).is_valid(declared):
            with pytest.raises(InvalidConstraint):
                json_schema(declared, lenient=True)


def test_ordinary_schemas_do_not_need_the_library(monkeypatch):
    monkeypatch.setattr("constrained_diffusion.constraints.json_schema.metaschema._validator", None)
    assert json_schema(SEEDS[0]).matches('{"name": "Ada", "age": 36}')
    with pytest.raises(TypeError):
        json_schema({"type": "text"})


@pytest.mark.skipif(not SHARED.exists(), reason="the shared benchmark schemas are not on this machine")
def test_the_schemas_of_the_benchmark():
    lines = (SHARED / "data" / "maskbench_dev.jsonl").read_text().splitlines()
    drafts = {"draft-04", "draft-06", "draft-07"}
    proved = 0
    for schema in (json.loads(line)["schema"] for line in lines[::3]):
        draft = next((name for name in drafts if name in str(schema.get("$schema"))), "draft/2020-12")
        if is_surely_well_formed(schema, draft):
            proved += 1
            assert oracle(draft).is_valid(schema)
    assert proved > 0.95 * len(lines[::3])
