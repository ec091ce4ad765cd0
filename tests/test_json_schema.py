"""JSON Schema against ``jsonschema``, and each keyword, spelling and refusal on its own."""

import itertools
import json
import random
import re
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType

import hypothesis.strategies as st
import jsonschema
import numpy as np
import pytest
from hypothesis import given, reject, settings
from referencing import Registry

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import DEAD
from constrained_diffusion.constraints.json_schema import KEYWORDS, JsonSchema, json_schema
from constrained_diffusion.constraints.json_schema.encoding import encoded
from constrained_diffusion.constraints.regex import pattern_expression
from constrained_diffusion.errors import ConstraintError, InvalidConstraint, LimitExceeded, UnsupportedConstraint
from constrained_diffusion.limits import Limits

DRAFT = "https://json-schema.org/draft/2020-12/schema"
WRITERS = {
    "default": {},
    "raw": {"ensure_ascii": False},
    "compact": {"separators": (",", ":")},
    "indented": {"indent": 2},
    "tabs": {"indent": "\t", "ensure_ascii": False},
}


# --- the oracle ----------------------------------------------------------------------------------


def _pattern(validator, pattern, instance, schema):
    """``pattern`` where ``$`` is the end, as in ECMA-262, and not also the place before a last line break."""
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _multiple_of(validator, divisor, instance, schema):
    """``multipleOf`` by exact arithmetic: decimals of any size have no remainder in the library."""
    if validator.is_type(instance, "number") and (Fraction(instance) / Fraction(divisor)).denominator != 1:
        yield jsonschema.ValidationError(f"{instance!r} is no multiple of {divisor!r}")


Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {"pattern": _pattern, "multipleOf": _multiple_of}
)


def _number(text):
    """The exact number; what is written with an exponent never counts as an integer, which is none of ours."""
    mantissa, _, exponent = text.lower().partition("e")
    if exponent:
        return Decimal(mantissa).scaleb(max(-999, min(999, int(exponent))))
    value = Decimal(text)
    return int(value) if value == value.to_integral_value() else value


def is_valid(schema, text):
    """Whether a text is JSON, in valid UTF-8, that satisfies the schema by exact arithmetic."""
    instance = json.loads(text.decode(), parse_float=_number)
    exact_schema = json.loads(json.dumps(schema), parse_float=_number)
    return Validator(exact_schema).is_valid(instance)


def orders(value):
    """The value with its members in every order."""
    if isinstance(value, list):
        yield from (list(items) for items in itertools.product(*(list(orders(item)) for item in value)))
    elif isinstance(value, dict):
        for names in itertools.permutations(value):
            for items in itertools.product(*(list(orders(value[name])) for name in names)):
                yield dict(zip(names, items, strict=True))
    else:
        yield value


def accepts(constraint, value, **options):
    return constraint.matches(json.dumps(value, **options))


def walk(dfa, rng, steps):
    """A random text of an automaton: some steps at random, then the shortest way to acceptance."""
    distance = _distances(dfa)
    state, text = dfa.start, bytearray()
    while not (dfa.accepts(state) and (steps <= 0 or rng.random() < 0.2)):
        options = [
            byte for byte in dfa.next_bytes(state) if steps > 0 or distance[dfa.step(state, byte)] < distance[state]
        ]
        if not options:
            break
        by_target = {}
        for byte in options:
            by_target.setdefault(dfa.step(state, byte), []).append(byte)
        text.append(rng.choice(by_target[rng.choice(list(by_target))]))
        state = dfa.step(state, text[-1])
        steps -= 1
    return bytes(text)


def _distances(dfa):
    distance = np.where(dfa.accepting, 0.0, np.inf)
    following = np.where(dfa.table == DEAD, 0, dfa.table)
    for _ in range(dfa.num_states):
        step = np.where(dfa.table == DEAD, np.inf, distance[following]).min(axis=1) + 1
        if np.array_equal(np.minimum(distance, step), distance):
            break
        distance = np.minimum(distance, step)
    return distance


# --- random schemas ------------------------------------------------------------------------------

NAMES = ["a", "b", "é/"]
SCALARS = [None, True, False, 0, 1, 2, 3, -1, 1.0, 0.5, 2.25, -1.5, "", "a", "ab", "é", 'b"\n', "a/\\", "🙂a", "aaa"]
TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]
small = st.integers(0, 3)
bounds = st.sampled_from([-2, -1, 0, 1, 2, 0.5, -0.25, 1.75, 1.0])
scalars = st.sampled_from(SCALARS)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "c"]), inner, max_size=3),
    max_leaves=4,
)


PARTIAL = {
    "uniqueItems": lambda inner: st.booleans(),
    "minProperties": lambda inner: small,
    "unevaluatedProperties": lambda inner: inner,
    "unevaluatedItems": lambda inner: inner,
}
"""Keywords of which some cases are refused or narrowed."""


def keywords(inner, more=MappingProxyType({})):
    """Schemas whose parts are ``inner``."""
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(TYPES) | st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True),
            "enum": st.lists(values, min_size=1, max_size=5),
            "const": values,
            "minimum": bounds,
            "maximum": bounds,
            "exclusiveMinimum": bounds,
            "exclusiveMaximum": bounds,
            "minLength": small,
            "maxLength": small,
            "pattern": st.sampled_from(["^a", "[aé]$", "^[^a]*$", "/|\\n", "^.{1,2}$", "🙂|b"]),
            "minItems": small,
            "maxItems": small,
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
            "required": st.lists(st.sampled_from([*NAMES, "c"]), max_size=2, unique=True),
            "additionalProperties": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "$ref": st.just("#/$defs/shared"),
            "oneOf": st.lists(inner, min_size=1, max_size=3),
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "multipleOf": st.sampled_from([1, 2, 3, 0.5, 0.25, 1.5]),
            "contains": inner,
            "minContains": small,
            "maxContains": small,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b|c", "/$"]), inner, max_size=2),
            "propertyNames": inner,
            "minProperties": st.integers(0, 1),
            "maxProperties": small,
            "dependentRequired": st.dictionaries(
                st.sampled_from(NAMES), st.lists(st.sampled_from([*NAMES, "c"]), max_size=2, unique=True), max_size=2
            ),
            "dependentSchemas": st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
            **{name: values_of(inner) for name, values_of in more.items()},
        },
    ).flatmap(lambda schema: st.sampled_from(range(1 << 30)).map(lambda seed: _thinned(schema, seed)))


def _thinned(schema, seed):
    """At most four of the keywords: more are seldom satisfied."""
    names = random.Random(seed).sample(sorted(schema), min(len(schema), 4))
    return {name: schema[name] for name in schema if name in names}


def documents(more):
    """Whole schemas, with keywords beside the exact ones."""
    leaves = st.booleans() | st.just({}) | keywords(st.booleans(), more)
    parts = st.recursive(leaves, lambda inner: keywords(inner, more), max_leaves=4)
    shared_parts = leaves.filter(lambda schema: "$ref" not in json.dumps(schema))
    return st.tuples(parts, shared_parts).map(
        lambda pair: {**(pair[0] if isinstance(pair[0], dict) else {"allOf": [pair[0]]}), "$defs": {"shared": pair[1]}}
    )


def compiled(schema, **options):
    """The constraint and its automaton; a schema beyond the limits tells nothing."""
    try:
        constraint = json_schema(schema, **options)
        return constraint, constraint.automaton(Limits(max_states=50_000, max_work=3_000_000))
    except (UnsupportedConstraint, LimitExceeded):
        reject()


@settings(deadline=None, max_examples=120)
@given(documents(PARTIAL), st.integers(0, 1 << 30), st.sampled_from(["declared", "any", "flexible"]))
def test_every_accepted_text_is_valid(schema, seed, property_order):
    _, dfa = compiled(schema, any_depth=1, property_order=property_order)
    rng = random.Random(seed)
    for _ in range(0 if dfa.is_empty else 6):
        text = walk(dfa, rng, rng.choice([0, 5, 20, 60]))
        assert dfa.matches(text)
        assert is_valid(schema, text), text


@settings(deadline=None, max_examples=200)
@given(documents({}), st.lists(values, min_size=1, max_size=12), st.sampled_from(sorted(WRITERS)))
def test_a_value_is_accepted_exactly_if_it_is_valid(schema, instances, writer):
    constraint, _ = compiled(schema, any_depth=3)
    for instance in [*instances, *SCALARS]:
        expected = is_valid(schema, json.dumps(instance).encode())
        accepted = [accepts(constraint, order, **WRITERS[writer]) for order in itertools.islice(orders(instance), 300)]
        assert any(accepted) == expected, instance


@settings(deadline=None, max_examples=100)
@given(values, st.sampled_from(sorted(WRITERS)))
def test_any_json_is_accepted_as_json_dumps_writes_it(value, writer):
    assert accepts(json_schema(True, any_depth=4), value, **WRITERS[writer])
    assert not json_schema(False).matches(json.dumps(value))


# --- keywords ------------------------------------------------------------------------------------

CASES = {
    "type": ({"type": "string"}, ["", "a"], [1, None, [], {}]),
    "types": ({"type": ["integer", "null"]}, [1, None, 2.0], [1.5, "1", True]),
    "number beside integer": ({"type": ["integer", "number"]}, [1, 1.5], ["1"]),
    "enum": ({"enum": [1, "a", [1, {"b": None}]]}, [1, 1.0, "a", [1, {"b": None}]], [True, "b", [1], "1"]),
    "enum and type": ({"enum": [1, "a", None], "type": ["string", "null"]}, ["a", None], [1]),
    "enum and bounds": ({"enum": [1, 5, "a"], "minimum": 3, "minLength": 2}, [5], [1, "a"]),
    "enum of objects and properties": (
        {"enum": [{"a": 1}, {"a": "x"}, []], "properties": {"a": {"type": "integer"}}},
        [{"a": 1}, []],
        [{"a": "x"}],
    ),
    "not true": ({"not": {"const": True}}, [False, 1, "true", None, [True]], [True]),
    "none of a boolean and others": ({"not": {"enum": [False, 0, "x"]}}, [True, 1, "y", [False]], [False, 0, "x"]),
    "const true is not 1": ({"const": True}, [True], [1, 1.0, "true"]),
    "enum of 1 and true": ({"enum": [1, True, [0], [False]]}, [1, True, [0], [False]], [0, False, [1]]),
    "const true and enum of 1": ({"const": True, "enum": [1, "a"]}, [], [1, True, "a"]),
    "const 0 is not false": ({"const": 0}, [0, 0.0, -0.0], [False]),
    "const and const": ({"const": 1, "allOf": [{"const": 1.0}]}, [1], [True, 2]),
    "minLength ignores the rest": ({"minLength": 3}, ["abc", 1, None, [1], {"a": 1}], ["ab"]),
    "lengths count code points": ({"minLength": 2, "maxLength": 2}, ["🙂é", '"\n'], ["🙂", "🙂é-"]),
    "pattern is not anchored": ({"type": "string", "pattern": "b+"}, ["abc"], ["ac"]),
    "pattern and lengths": ({"type": "string", "pattern": "^a*$", "maxLength": 2}, ["", "aa"], ["aaa", "ab"]),
    "bounds": ({"minimum": 1, "exclusiveMaximum": 3}, [1, 2.5, "9"], [0.5, 3, 3.5]),
    "two lower bounds": ({"minimum": 1, "exclusiveMinimum": 1}, [2, 1.5], [1, 0]),
    "two upper bounds": ({"exclusiveMaximum": 1, "maximum": 1}, [0, 0.5], [1, 2]),
    "the narrower bound": (
        {"minimum": 1, "exclusiveMinimum": 0, "maximum": 5, "exclusiveMaximum": 4},
        [1, 3],
        [0.5, 4],
    ),
    "items": ({"items": {"type": "integer"}}, [[], [1], "a"], [["a"], [1, "a"]]),
    "items false": ({"type": "array", "items": False}, [[]], [[1]]),
    "prefixItems": ({"prefixItems": [{"type": "integer"}]}, [[], [1], [1, "a"]], [["a"]]),
    "prefixItems that cannot be": ({"prefixItems": [{"type": "integer"}, False]}, [[], [1]], [[1, 2], [1, 2, 3]]),
    "closed tuple": (
        {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        [[], [1], [1, "a"]],
        [[1, "a", 2], [1, 1]],
    ),
    "counted items": ({"type": "array", "minItems": 1, "maxItems": 3}, [[1], [1, 2, 3]], [[], [1, 2, 3, 4]]),
    "counted tuple": ({"prefixItems": [{"const": 1}], "minItems": 2, "maxItems": 3}, [[1, 2]], [[1], [1, 2, 3, 4]]),
    "properties": ({"properties": {"a": {"type": "integer"}}}, [{}, {"a": 1}, {"b": 2}, 3], [{"a": "x"}]),
    "required": ({"type": "object", "required": ["a", "b"]}, [{"a": 1, "b": 2}], [{}, {"a": 1}]),
    "additionalProperties": (
        {"properties": {"a": {}}, "additionalProperties": {"type": "integer"}},
        [{"a": "x", "b": 1, "c": 2}],
        [{"a": "x", "b": "y"}],
    ),
    "closed object": (
        {"type": "object", "properties": {"a": {}, "b": {}}, "additionalProperties": False},
        [{}, {"a": 1}, {"b": 1}, {"a": 1, "b": 2}],
        [{"c": 1}, {"b": 1, "c": 2}],
    ),
    "required but nowhere declared": (
        {"required": ["z"], "properties": {"a": {}}, "additionalProperties": {"type": "integer"}},
        [{"z": 1}, {"a": None, "z": 1, "y": 2}],
        [{"a": 1}, {"z": "x"}],
    ),
    "required but nowhere declared, at any place": (
        {"required": ["z"], "properties": {"a": {}, "b": {}}},
        [{"z": 1, "a": 1, "b": 2}, {"a": 1, "z": 1, "b": 2}, {"a": 1, "b": 2, "z": 1}, {"a": 1, "z": 1, "y": 3}],
        [{"a": 1, "b": 2}, {"a": 1}],
    ),
    "a property that cannot be": ({"type": "object", "properties": {"a": False, "b": {}}}, [{}, {"b": 1}], [{"a": 1}]),
    "a required property that cannot be": (
        {"type": ["object", "null"], "properties": {"a": {"enum": []}}, "required": ["a"]},
        [None],
        [{}, {"a": 1}],
    ),
    "anyOf": ({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]}, [1, "a"], ["ab", None]),
    "anyOf twice": (
        {
            "type": ["integer", "string"],
            "anyOf": [{"minimum": 3, "minLength": 1}, {"const": 0}],
            "allOf": [{"anyOf": [{"maximum": 5, "maxLength": 2}, {"const": 9}]}],
        },
        [0, 3, 5, 9, "ab"],
        [1, 6, "", "abc"],
    ),
    "anyOf and siblings": (
        {"type": "object", "properties": {"a": {}, "b": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        [{"a": 1}, {"b": 1}, {"a": 1, "b": 1}],
        [{}, {"c": 1}],
    ),
    "allOf merges objects": (
        {
            "allOf": [
                {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"properties": {"b": {"type": "string"}, "a": {"minimum": 3}}, "required": ["b"]},
            ]
        },
        [{"a": 3, "b": "x"}, {"a": 4, "b": "", "c": 1}],
        [{"a": 2, "b": "x"}, {"a": 3}, {"b": "x"}],
    ),
    "allOf closes": (
        {"properties": {"a": {}}, "allOf": [{"properties": {"b": {}}, "additionalProperties": False}]},
        [{"b": 1}, {}],
        [{"a": 1}, {"a": 1, "b": 1}],
    ),
    "$ref with siblings": (
        {"$ref": "#/$defs/a", "maximum": 5, "$defs": {"a": {"type": "integer", "minimum": 3}}},
        [3, 5],
        [2, 6, "x"],
    ),
    "$ref by pointer": (
        {"properties": {"a/b~": {"type": "integer"}, "c": {"$ref": "#/properties/a~1b~0"}}},
        [{"c": 1}],
        [{"c": "x"}],
    ),
    "$ref escaped as a URI": ({"$ref": "#/$defs/a%20b", "$defs": {"a b": {"const": 1}}}, [1], [2]),
    "$ref by the root's own name": (
        {"$id": "https://example.com/s", "$ref": "https://example.com/s#/$defs/a", "$defs": {"a": {"const": 1}}},
        [1],
        [2],
    ),
    "$ref inside a part with a name": (
        {"items": {"$id": "https://e.com/p", "$ref": "#/$defs/a", "$defs": {"a": {"const": 1}}}, "$defs": {"a": False}},
        [[1]],
        [[2]],
    ),
    "the same schema twice": (
        {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "integer"}}},
        [1],
        ["x"],
    ),
    "a shared schema": (
        {
            "type": "array",
            "prefixItems": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}],
            "items": {"$ref": "#/$defs/a"},
            "$defs": {"a": {"enum": ["x", "y"]}},
        },
        [["x"], ["x", "y", "x", "y"]],
        [["z"], ["x", "y", "x", "z"]],
    ),
    "contradiction": ({"type": "integer", "minimum": 3, "maximum": 2}, [], [2, 3, 2.5]),
    "oneOf of one": ({"oneOf": [{"type": "integer"}]}, [1], ["x"]),
    "draft 4": (
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "type": "object",
            "properties": {
                "a": {"type": "number", "minimum": 1, "exclusiveMinimum": True},
                "b": {"type": "array", "items": [{"type": "integer"}], "additionalItems": {"type": "string"}},
            },
        },
        [{"a": 1.5}, {"b": [1, "x"]}],
        [{"a": 1}, {"b": ["x"]}, {"b": [1, 2]}, {"b": [1.0]}],
    ),
    "draft 7 tuple": (
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"const": 1}], "additionalItems": False},
        [[1], []],
        [[1, 2], [2]],
    ),
    "additionalItems beside one schema": ({"items": {"type": "integer"}, "additionalItems": False}, [[1, 2]], [["a"]]),
    "refused but without effect": (
        {
            "type": "string",
            "uniqueItems": True,
            "minProperties": 2,
            "multipleOf": 2,
            "patternProperties": {"a": False},
            "then": False,
            "not": False,
        },
        ["a"],
        [1],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_keyword(name):
    schema, valid, invalid = CASES[name]
    constraint = json_schema(schema)
    draft = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    for value in valid:
        assert draft(schema).is_valid(value), value
        for options in WRITERS.values():
            assert accepts(constraint, value, **options), value
    for value in invalid:
        assert not draft(schema).is_valid(value), value
        for options in WRITERS.values():
            assert not accepts(constraint, value, **options), value


def test_impossible_schemas_compile_to_nothing():
    for schema in (False, {"not": {}, "enum": []}, {"enum": []}, {"type": "string", "minLength": 2, "maxLength": 1}):
        assert json_schema(schema).automaton().is_empty


def test_a_declared_name_never_occurs_twice():
    constraint = json_schema({"properties": {"a": {}, "é/": {}}, "required": ["a"]})
    assert constraint.matches('{"a": 1, "é/": 2, "b": 3}')
    for name in ('"a"', '"\\u0061"', '"é/"', '"\\u00e9/"', '"\\u00E9\\/"', '"é\\/"'):
        assert not constraint.matches(f'{{"a": 1, "é/": 2, {name}: 3}}')
    assert not constraint.matches('{"b": 3, "a": 1}')


def test_additional_properties_can_be_forbidden_by_default():
    schema = {"properties": {"a": {}, "b": {"type": "object"}}, "allOf": [{"properties": {"c": {}}}]}
    closed = json_schema(schema, additional_properties="forbid")
    assert accepts(closed, {"a": 1, "b": {"free": 1}, "c": 2})
    assert not accepts(closed, {"a": 1, "z": 2})
    assert accepts(json_schema(schema), {"a": 1, "z": 2})
    said = json_schema({"properties": {"a": {}}, "additionalProperties": True}, additional_properties="forbid")
    assert accepts(said, {"a": 1, "z": 2})


# --- numbers -------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.integers(-1100, 1100) | st.none(), st.integers(-1100, 1100) | st.none(), st.booleans(), st.booleans())
def test_integer_ranges(low, high, is_low_strict, is_high_strict):
    schema = {"type": "integer"}
    if low is not None:
        schema["exclusiveMinimum" if is_low_strict else "minimum"] = low
    if high is not None:
        schema["exclusiveMaximum" if is_high_strict else "maximum"] = high
    dfa = json_schema(schema).automaton()
    for value in range(-1201, 1202):
        inside = (low is None or low + is_low_strict <= value) and (high is None or value <= high - is_high_strict)
        assert dfa.matches(str(value).encode()) == inside
    zero = jsonschema.Draft202012Validator(schema).is_valid(0)
    for text in ("-0", "-0.0", "0.00"):
        assert dfa.matches(text.encode()) == zero
    for text in ("00", "01", "-01", "+1", "1.", "1.5", "", "-", "1e0"):
        assert not dfa.matches(text.encode())


DECIMALS = [
    f"{sign}{whole}{fraction}"
    for sign in ("", "-")
    for whole in ("0", "1", "2", "9", "10", "11", "99", "100")
    for fraction in ("", ".0", ".5", ".50", ".49", ".51", ".05", ".250", ".2", ".25", ".26", ".999", ".00")
]
ends = st.sampled_from([None, 0, 1, 2, 10, 0.5, 0.25, 1.5, 9.05, 99.999, 1e2, -1, -0.5, -10.25, -0.0, 1e-2, -2])


@settings(deadline=None, max_examples=120)
@given(ends, ends, st.booleans(), st.booleans())
def test_number_ranges(low, high, is_low_strict, is_high_strict):
    schema = {"type": "number"}
    if low is not None:
        schema["exclusiveMinimum" if is_low_strict else "minimum"] = low
    if high is not None:
        schema["exclusiveMaximum" if is_high_strict else "maximum"] = high
    dfa = json_schema(schema).automaton()
    for text in DECIMALS:
        assert dfa.matches(text.encode()) == is_valid(schema, text.encode()), text
    for text in ("00", "01.5", ".5", "1.", "+1", "1e", "--1", "- 1"):
        assert not dfa.matches(text.encode())


def test_exponents_where_the_sign_decides():
    assert json_schema({"type": "number"}).matches("-1.5E+10")
    assert json_schema({"type": "number", "minimum": 0}).matches("1e-05")
    assert not json_schema({"type": "number", "minimum": 0}).matches("-1e-05")
    assert not json_schema({"type": "number", "minimum": 1}).matches("1e05")


def test_bounds_of_any_size():
    dfa = json_schema({"type": "integer", "minimum": -(10**400), "maximum": 10**300 + 7}).automaton()
    assert dfa.matches(str(10**300 + 7).encode())
    assert not dfa.matches(str(10**300 + 8).encode())
    assert dfa.matches(str(-(10**400)).encode())
    assert not dfa.matches(str(-(10**400) - 1).encode())


@pytest.mark.parametrize(
    ("constant", "texts", "others"),
    [
        (1, ["1", "1.0"], ["1.5", "true", "01", "10", "1e0"]),
        (2.0, ["2", "2.0"], ["2.5"]),
        (0.5, ["0.5"], ["0", ".5", "0.51"]),
        (1e-05, ["1e-05", "0.00001"], ["0.0001"]),
        (1e22, ["1e+22", "1" + "0" * 22], ["1"]),
        (0, ["0", "-0", "0.0", "-0.0"], ["1", "false"]),
        (-3, ["-3", "-3.0"], ["3"]),
    ],
)
def test_spellings_of_a_constant_number(constant, texts, others):
    constraint = json_schema({"const": constant})
    for text in texts:
        assert constraint.matches(text)
        assert json.loads(text) == constant
    assert not any(constraint.matches(text) for text in others)


# --- strings -------------------------------------------------------------------------------------

SPELLINGS = {
    "a": ["a", "\\u0061"],
    '"': ['\\"', "\\u0022"],
    "\\": ["\\\\", "\\u005c", "\\u005C"],
    "/": ["/", "\\/", "\\u002f"],
    "\n": ["\\n", "\\u000a", "\\u000A"],
    "\x1f": ["\\u001f", "\\u001F"],
    "\x7f": ["\x7f", "\\u007f", "\\u007F"],
    "é": ["é", "\\u00e9", "\\u00E9", "\\u00eE"[:5] + "9"],
    "€": ["€", "\\u20ac", "\\u20AC"],
    "🙂": ["🙂", "\\ud83d\\ude42", "\\uD83D\\uDE42"],
    "\ue000": ["\ue000", "\\ue000"],
    "\U0010ffff": ["\U0010ffff", "\\udbff\\udfff"],
}
NOT_STRINGS = [
    '"',
    '"a',
    'a"',
    '"\n"',
    '"\x00"',
    '"\\x"',
    '"\\u12"',
    '"\\ud83d"',
    '"\\ude42"',
    '"\\ud83d\\u0041"',
    '"\\"',
]


@pytest.mark.parametrize("character", SPELLINGS)
def test_spellings_of_a_character(character):
    free, constant = json_schema({"type": "string"}), json_schema({"const": character})
    patterned = json_schema({"type": "string", "pattern": f"^{re.escape(character)}$"})
    counted = json_schema({"type": "string", "minLength": 1, "maxLength": 1})
    for spelling in SPELLINGS[character]:
        text = f'"{spelling}"'
        assert json.loads(text) == character
        assert free.matches(text)
        assert counted.matches(text)
        needs_none = "u00" in spelling.lower() and " " <= character < "\x7f"
        assert constant.matches(text) != needs_none
        assert patterned.matches(text) != needs_none


def test_what_is_no_string():
    everything = json_schema({"type": "string"})
    for text in NOT_STRINGS:
        assert not everything.matches(text)
    for raw in (b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"'):
        assert not everything.matches(raw)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(
        [".", "[^a]", "\\w", "\\s", "[α-ω]", "a|é", "[\\u0000-\\u001f]", "[\\ud83d\\ude00-\\ud83d\\ude4f]"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('aé"\\/\n\u2028\x00\x7f🙂'), max_size=3),
)
def test_encoding_keeps_exactly_the_texts_of_the_content(pattern, text):
    content = ex.compile_expression(pattern_expression(f"^(?:{pattern})*$", dialect="ecma", search=True), Limits())
    spelled = ex.compile_expression(encoded(content), Limits())
    for ensure_ascii in (True, False):
        written = json.dumps(text, ensure_ascii=ensure_ascii)[1:-1]
        assert spelled.matches(written.encode()) == content.matches(text.encode())


def test_encoded_texts_decode_to_the_content():
    content = ex.compile_expression(pattern_expression("^[^b-z]{0,4}(é|\\n)$", dialect="ecma", search=True), Limits())
    spelled = ex.compile_expression(encoded(content), Limits())
    rng = random.Random(0)
    for _ in range(200):
        text = walk(spelled, rng, rng.randrange(20))
        assert content.matches(json.loads(b'"' + text + b'"').encode())


def test_long_strings_are_written_without_code_point_escapes():
    constraint = json_schema({"type": "string", "maxLength": 100})
    assert constraint.matches('"é\\n"')
    assert not constraint.matches('"\\u00e9"')


def test_a_constant_with_half_a_surrogate_pair_cannot_be_written():
    assert json_schema({"const": "\ud800"}).automaton().is_empty
    assert not json_schema({"enum": ["\ud800", "a"]}).automaton().is_empty


# --- space ---------------------------------------------------------------------------------------

SPACED = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}, "b": {}}}
VALUE = {"a": [1, 2], "b": {}}


@pytest.mark.parametrize(
    ("whitespace", "writers"),
    [
        ("flexible", {"default", "raw", "compact", "indented", "tabs"}),
        ("compact", {"compact"}),
        ("spaced", {"default", "raw"}),
        ("indented", {"indented", "tabs"}),
    ],
)
def test_whitespace(whitespace, writers):
    constraint = json_schema(SPACED, whitespace=whitespace)
    for writer, options in WRITERS.items():
        assert accepts(constraint, VALUE, **options) == (writer in writers)
    for text in (
        ' {"a": []}',
        '{"a": []} ',
        '{"a" : []}',
        '{"a":  []}',
        '{"a": [ ]}',
        '{"a": [1 ,2]}',
        '{"a": []\r\n}',
    ):
        assert not constraint.matches(text)


def test_flexible_whitespace_is_bounded_on_a_line():
    constraint = json_schema(SPACED)
    assert constraint.matches('{ "a": [ 1, 2 ] }')
    assert constraint.matches('{\n\n"a": []}') is False
    assert constraint.matches('{"a":\n        [1]}')


# --- what is bounded -----------------------------------------------------------------------------


def test_any_json_is_bounded_and_says_so():
    constraint = json_schema({"type": "array", "items": True}, any_depth=1)
    assert constraint.bounds == ("any JSON at /*: nested at most 1 deep",)
    assert accepts(constraint, [1, [2], {"a": []}])
    assert not accepts(constraint, [[[1]]])
    assert json_schema({"type": "integer"}).bounds == ()


def test_long_counts_are_cut_and_say_so():
    schema = {"type": "object", "properties": {"a": {"maxLength": 9, "type": "string"}}, "additionalProperties": False}
    constraint = json_schema(schema, max_count=4)
    assert constraint.bounds == ("characters at /a: at most 4 instead of 9",)
    assert accepts(constraint, {"a": "1234"})
    assert not accepts(constraint, {"a": "12345"})
    longer = json_schema({"type": "string", "minLength": 6, "maxLength": 9}, max_count=4)
    assert accepts(longer, "123456")


# --- refusals ------------------------------------------------------------------------------------

REFUSED = {
    "/allOf/0/$ref": {"allOf": [{"$ref": "https://example.com/other.json"}]},
    "/$defs/b/$ref": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    "/not/unevaluatedProperties": {"not": {"unevaluatedProperties": False}},
    "/not/unevaluatedItems": {"not": {"unevaluatedItems": False}},
    "/not/uniqueItems": {"not": {"uniqueItems": True}},
    "/oneOf/1/format": {"oneOf": [{"pattern": "^a"}, {"format": "hostname"}]},
    "/multipleOf": {"multipleOf": 0.123456789},
    "/properties/a~1b/extends": {"properties": {"a/b": {"extends": {}}}},
    "/pattern": {"pattern": "(?=a)b"},
    "/$schema": {"$schema": "http://json-schema.org/draft-03/schema#"},
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_cannot_be_enforced_is_refused_by_name_and_path(path):
    with pytest.raises(UnsupportedConstraint) as refusal:
        json_schema(REFUSED[path])
    assert refusal.value.path == path
    expected = "look-around" if path == "/pattern" else path.rsplit("/", 1)[-1]
    assert refusal.value.construct == expected
    assert path in str(refusal.value)


@pytest.mark.parametrize("path", REFUSED)
def test_lenient_notes_what_it_does_not_enforce(path):
    constraint = json_schema(REFUSED[path], lenient=True)
    construct = "look-around" if path == "/pattern" else path.rsplit("/", 1)[-1]
    assert any(
        f"{construct} is not enforced" in warning and f"(at {path})" in warning for warning in constraint.warnings
    )
    assert not constraint.automaton().is_empty


def test_too_many_alternatives_are_refused():
    schema = {"allOf": [{"anyOf": [{"minLength": i}, {"maximum": i}]} for i in range(14)]}
    with pytest.raises(UnsupportedConstraint, match="512 alternatives"):
        json_schema(schema)


def test_annotations_and_unknown_keywords():
    constraint = json_schema(
        {
            "title": "T",
            "$comment": "c",
            "default": 1,
            "x-order": 1,
            "properties": {"day": {"type": "string", "format": "day", "_format": "x"}, "x-order": {"type": "integer"}},
        }
    )
    assert constraint.warnings == (
        "unknown keyword 'x-order' has no effect (at /x-order)",
        "format 'day' is not known and has no effect (at /properties/day/format)",
        "unknown keyword '_format' has no effect (at /properties/day/_format)",
    )
    assert accepts(constraint, {"day": "no date"})


def test_formats():
    schema = {"type": "string", "format": "date", "minLength": 1}
    assert accepts(json_schema(schema), "2024-02-29")
    assert not accepts(json_schema(schema), "2023-02-29")
    annotated = json_schema(schema, formats="annotate")
    assert accepts(annotated, "no date")
    assert annotated.warnings == ("format 'date' is not enforced (at /format)",)
    with pytest.raises(UnsupportedConstraint, match="cannot be told exactly"):
        json_schema({"not": {"type": "string", "format": "hostname"}})


def test_a_format_that_leaves_something_out_is_never_taken_for_exact():
    either = {"oneOf": [{"type": "string", "pattern": "^xn--"}, {"type": "string", "format": "hostname"}]}
    listed = {"oneOf": [{"const": "xn--maana-pta"}, {"type": "string", "format": "hostname"}]}
    for schema in (either, listed):
        with pytest.raises(UnsupportedConstraint, match="cannot be told exactly"):
            json_schema(schema)
    exact = {"oneOf": [{"type": "string", "pattern": "^2"}, {"type": "string", "format": "date"}]}
    assert not accepts(json_schema(exact), "2024-02-29")
    assert accepts(json_schema(exact), "2024-02-30")


def test_other_documents():
    registry = Registry().with_contents([("https://example.com/a", {"$schema": DRAFT, "$defs": {"b": {"const": 1}}})])
    constraint = json_schema({"$ref": "https://example.com/a#/$defs/b"}, registry=registry)
    assert accepts(constraint, 1)
    assert not accepts(constraint, 2)


def test_recursion_is_bounded_and_says_so():
    tree = {"type": "array", "items": {"$ref": "#"}}
    constraint = json_schema(tree, any_depth=3)
    assert accepts(constraint, [[[]], []])
    assert not accepts(constraint, [1])
    assert any("recursion" in bound for bound in constraint.bounds)


ANY_ORDER = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": True},
    "required": ["a", "b"],
    "dependentRequired": {"c": ["d"]},
    "additionalProperties": {"type": "null"},
}


def test_any_order_of_properties():
    constraint = json_schema(ANY_ORDER, property_order="any")
    validator = jsonschema.Draft202012Validator(ANY_ORDER)
    for value in ({"a": 1, "b": ""}, {"a": 1, "b": "", "c": 0, "d": None}, {"a": 1, "b": "", "c": 0}, {"a": 1, "z": 1}):
        for order in orders(value):
            assert accepts(constraint, order) == validator.is_valid(value)
    many = {"properties": {str(i): True for i in range(20)}}
    with pytest.raises(LimitExceeded, match="max_places") as limit:
        json_schema(many, property_order="any")
    assert limit.value.limit == "max_places"


@pytest.mark.parametrize("whitespace", ["flexible", "compact"])
def test_flexible_order_is_any_order_where_names_are_few(whitespace):
    constraint = json_schema(ANY_ORDER, property_order="flexible", whitespace=whitespace)
    validator = jsonschema.Draft202012Validator(ANY_ORDER)
    assert constraint.bounds == ()
    writing = {"separators": (",", ":")} if whitespace == "compact" else {}
    for value in ({"a": 1, "b": ""}, {"a": 1, "b": "", "c": 0, "d": None}, {"a": 1, "b": "", "c": 0}, {"a": 1, "z": 1}):
        for order in orders(value):
            assert accepts(constraint, order, **writing) == validator.is_valid(value)


def preceded_by(order, name):
    """How many of the names before one are declared behind it."""
    return sum(other > name for other in order[: order.index(name)])


def test_flexible_order_of_many_names_is_as_flexible_as_it_says():
    names = [chr(ord("a") + i) for i in range(12)]
    schema = {
        "type": "object",
        "properties": {name: {"type": "integer"} for name in names},
        "required": ["c", "k"],
        "additionalProperties": {"type": "null"},
    }
    constraint = json_schema(schema, property_order="flexible", whitespace="compact")
    (bound,) = constraint.bounds
    lateness = int(re.fullmatch(r"members at the root: each behind at most (\d+) declared after it", bound)[1])
    rng = random.Random(5)
    seen = Counter()
    for _ in range(600):
        order = sorted({*rng.sample(names, rng.randint(1, 6)), *rng.choice(["ck", "ck", "ck", "c"])})
        for _ in range(rng.randint(0, 4)):
            order.insert(rng.randrange(len(order)), order.pop(rng.randrange(len(order))))
        members = [(name, 1) for name in order]
        members.insert(rng.randint(0, len(members)), ("other", rng.choice([None, None, 3])))
        value = dict(members)
        is_expected = validator_of(schema).is_valid(value) and all(preceded_by(order, n) <= lateness for n in order)
        assert accepts(constraint, value, separators=(",", ":")) == is_expected, value
        seen[is_expected] += 1
    assert min(seen[True], seen[False]) > 50
    assert not constraint.matches('{"c":1,"k":1,"c":1}')


def test_flexible_order_costs_little_where_values_are_large():
    """Values in many places are called and not written out; what cannot be flexible at all stays as declared."""
    inner = {
        "type": "object",
        "properties": {name: {"type": "string", "pattern": "^[a-z]{2,30}$"} for name in "abcde"},
        "additionalProperties": False,
    }
    outer = {"type": "object", "properties": dict.fromkeys("uvwxyz", inner), "additionalProperties": False}
    constraint = json_schema(outer, property_order="flexible", whitespace="compact")
    assert constraint.bounds == ()
    for value in ({"z": {"e": "xx", "a": "yy"}, "u": {}}, {"v": {"c": "cc", "b": "bb"}, "u": {"a": "aa"}}):
        assert validator_of(outer).is_valid(value)
        assert accepts(constraint, value, separators=(",", ":"))
    for value in ({"z": {"e": "x"}, "u": {}}, {"z": {"f": "xx"}}, {"a": "aa"}):
        assert not validator_of(outer).is_valid(value)
        assert not accepts(constraint, value, separators=(",", ":"))
    spelled = {"type": "object", "properties": {n: {"items": {"type": "string"}} for n in "abcdefg"}}
    for escapes, is_accepted in (("allow", True), ("forbid", False)):
        constraint = json_schema(spelled, property_order="flexible", escapes=escapes)
        assert accepts(constraint, {"g": ["x"], "a": ["y"], "other": None})
        assert accepts(constraint, {"g": ["x"], "a": ["\n"]}) == is_accepted
    many = {"type": "object", "properties": {f"n{i:03}": {"type": "integer"} for i in range(300)}}
    constraint = json_schema(many, property_order="flexible")
    assert constraint.bounds == ("members at the root: in the order declared, additional ones behind them",)
    assert accepts(constraint, {"n007": 1, "n200": 2, "x": [1]})
    assert not accepts(constraint, {"n200": 2, "n007": 1})


def validator_of(schema):
    return jsonschema.Draft202012Validator(schema)


KINDS = [f"kind{i}" for i in range(14)]


@pytest.mark.parametrize("union", ["oneOf", "anyOf"])
def test_many_branches_are_told_apart_by_a_member(union):
    """Nearly all ways in which the other branches may fail contradict the one that holds."""
    branches = [
        {"properties": {"kind": {"enum": [kind]}, "size": {"type": ["integer", "string"][i % 2]}, kind: {"const": i}}}
        for i, kind in enumerate(KINDS)
    ]
    schema = {"type": "object", "required": ["kind"], union: branches, "additionalProperties": True}
    constraint = json_schema(schema, any_depth=1, whitespace="compact", property_order="any")
    right = {"kind": "kind3", "size": "x", "kind3": 3}
    for value in (right, {**right, "kind3": 4}, {**right, "size": 1}, {"kind": "kind2", "size": 1}, {"kind": "?"}, {}):
        assert accepts(constraint, value, separators=(",", ":")) == validator_of(schema).is_valid(value), value


def test_branches_without_a_required_member_that_tells_them_apart():
    """Such as those of GeoJSON whose ``type`` may be any string."""
    point = {
        "type": "object",
        "required": ["type", "at"],
        "properties": {"type": {"type": "string", "enum": ["Point"]}, "at": {"type": "array", "minItems": 2}},
    }
    line = {
        **point,
        "properties": {"type": {"type": "string", "enum": ["Line"]}, "at": {"type": "array", "maxItems": 1}},
    }
    feature = {
        "type": "object",
        "required": ["type", "shape"],
        "properties": {"type": {"type": "string"}, "shape": {"oneOf": [{"type": "null"}, point, line]}},
    }
    schema = {"oneOf": [point, line, feature]}
    constraint = json_schema(schema, any_depth=1, property_order="any")
    shapes = [{"type": "Point", "at": [1, 2]}, {"type": "Line", "at": []}, {"type": "Line", "at": [1, 2]}, None, 3]
    verdicts = Counter()
    for kind, shape, at in itertools.product(["Point", "Line", "Other", 1], [*shapes, "none"], [[], [1, 2], "none"]):
        value = {
            "type": kind,
            **({} if shape == "none" else {"shape": shape}),
            **({} if at == "none" else {"at": at}),
        }
        is_valid = validator_of(schema).is_valid(value)
        assert accepts(constraint, value) == is_valid, value
        verdicts[is_valid] += 1
    assert min(verdicts[True], verdicts[False]) > 5


UNIQUE_STRINGS = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
UNIQUE_OBJECTS = {
    "type": "array",
    "uniqueItems": True,
    "items": {"type": "object", "properties": {"size": {}, "name": {"type": "string"}}, "required": ["name"]},
}


def test_different_items_of_usual_lists():
    strings, objects = json_schema(UNIQUE_STRINGS), json_schema(UNIQUE_OBJECTS)
    for value in (
        ["service", "service1", "service2", "service3"],
        [f"item_{i}" for i in range(10)],
        ["/path/to/file1", "/path/to/file2"],
        ["ssh", "http", "dns"],
        [],
    ):
        assert accepts(strings, value), value
    assert accepts(objects, [{"size": 1, "name": "bash"}, {"size": 1, "name": "sh"}])
    assert not accepts(objects, [{"size": 1, "name": "sh"}, {"size": 1, "name": "sh"}])
    assert not accepts(objects, [{"size": 1, "name": "sh"}, {"size": 1.0, "name": "sh"}])


@pytest.mark.parametrize("count", [1, 12])
def test_accepted_items_differ(count):
    """However finely they are divided."""
    schema = {"properties": {f"n{i}": UNIQUE_STRINGS for i in range(count)}}
    dfa = json_schema(schema, any_depth=0, whitespace="compact").automaton()
    rng = random.Random(3)
    accepted = 0
    words = ["a", "b", "a1", "a2", "b1", "b2", "t3", "", "1", "2", "é", "é1", "\n", "x9", "x0", "T", "R"]
    for _ in range(1500):
        value = {"n0": rng.choices(words, k=rng.randint(2, 4))}
        if dfa.matches(json.dumps(value, separators=(",", ":")).encode()):
            assert validator_of(schema).is_valid(value), value
            accepted += 1
    assert accepted > 100


MALFORMED = {
    "/minLength": {"minLength": "3"},
    "/properties/a/required": {"properties": {"a": {"required": "a"}}},
    "/properties/a/type": {"properties": {"a": {"type": "text"}}},
    "/$defs/unused/maximum": {"$defs": {"unused": {"maximum": "x"}}},
    "/exclusiveMinimum": {"minimum": 1, "exclusiveMinimum": True},
    "/items/$ref": {"items": {"$ref": "#/$defs/none"}},
    "/$ref": {"$ref": "#/title", "title": "x"},
    "/pattern": {"pattern": "("},
    "/x/minimum": {"$ref": "#/x", "x": {"minimum": "1"}},
    "/prefixItems": {"$schema": "http://json-schema.org/draft-07/schema#", "prefixItems": 3},
}


@pytest.mark.parametrize("path", MALFORMED)
def test_malformed_schemas(path):
    with pytest.raises(InvalidConstraint) as error:
        json_schema(MALFORMED[path])
    assert error.value.path == path


@pytest.mark.parametrize(
    "schema",
    [{"minimum": float("nan")}, {"const": {1, 2}}, {"minimum": Decimal(1)}, '{"type": "string"}', b"{}", 3, [1]],
)
def test_what_is_no_schema(schema):
    with pytest.raises(InvalidConstraint):
        json_schema(schema)


def test_options():
    with pytest.raises(InvalidConstraint, match="'flexible', 'compact'"):
        json_schema({}, whitespace="loose")
    with pytest.raises(InvalidConstraint, match="any_depth"):
        json_schema({}, any_depth=-1)
    with pytest.raises(InvalidConstraint, match="'declared', 'any', 'flexible'"):
        json_schema({}, property_order="sorted")


# --- limits --------------------------------------------------------------------------------------


def _nested(levels):
    schema = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "additionalProperties": False}
    return schema


def test_deep_nesting():
    value = 1
    for _ in range(40):
        value = {"a": value}
    assert accepts(json_schema(_nested(40)), value)
    chain = {f"d{i}": {"type": "array", "items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(60)}
    assert accepts(json_schema({"$ref": "#/$defs/d0", "$defs": {**chain, "d60": {"const": 1}}}), [[[]]])
    for levels in (60, 1000, 100_000):
        with pytest.raises(InvalidConstraint, match="nests more than"):
            json_schema(_nested(levels))
    chain |= {f"d{i}": {"type": "array", "items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(60, 90)}
    with pytest.raises(InvalidConstraint, match="nest more than"):
        json_schema({"$ref": "#/$defs/d0", "$defs": {**chain, "d90": {}}})


def test_a_deep_constant():
    value = 1
    for _ in range(95):
        value = [value]
    assert accepts(json_schema({"const": value}), value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 10**6},
        {"type": "array", "minItems": 10**9},
        {"type": "string", "pattern": "^(a|b)*a(a|b){20}$"},
        {"type": "string", "pattern": "^(\\S+\\s+){0,49}\\S+$", "minLength": 2000},
    ],
)
def test_hostile_schemas_reach_a_limit(schema):
    with pytest.raises(LimitExceeded):
        json_schema(schema, max_count=10**6).automaton(Limits(max_states=20_000))


def test_a_shared_definition_is_compiled_once():
    levels = {f"d{i}": {"prefixItems": [{"$ref": f"#/$defs/d{i + 1}"}] * 2, "type": "array"} for i in range(40)}
    with pytest.raises(LimitExceeded):
        json_schema({"$ref": "#/$defs/d0", "$defs": {**levels, "d40": {"const": 1}}}).automaton(
            Limits(max_states=5_000)
        )


# --- the constraint ------------------------------------------------------------------------------


def test_the_constraint():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    constraint = json_schema(schema)
    assert isinstance(constraint, JsonSchema)
    assert constraint.schema == schema
    schema["properties"]["a"]["type"] = "string"
    assert constraint.schema["properties"]["a"]["type"] == "integer"
    assert constraint.parse('{"a": 1}') == {"a": 1}
    with pytest.raises(ConstraintError, match="nonsense"):
        constraint.parse("nonsense")
    assert repr(constraint).startswith('json_schema({"type": "object"')
    assert (constraint | "none").matches("none")


def test_keywords_are_data():
    assert {"exact", "partial", "annotation", "refused"} == set(KEYWORDS.values())
    known = {
        name
        for cls in (jsonschema.Draft4Validator, jsonschema.Draft7Validator)
        for name in cls.META_SCHEMA["properties"]
    }
    assert known <= set(KEYWORDS)
    assert set(jsonschema.Draft202012Validator.VALIDATORS) <= set(KEYWORDS)
    assert set(jsonschema.Draft201909Validator.VALIDATORS) <= set(KEYWORDS)


def test_escapes_can_be_forbidden():
    schema = {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2}
    plain = json_schema(schema, escapes="forbid")
    free = json_schema(schema)
    for text in ('["abc"]', '["é", "日本"]', "[]"):
        assert plain.matches(text)
    for text in (r'["a\n"]', r'["\""]', r'["\u00e9"]', r'["\/"]'):
        assert free.matches(text)
        assert not plain.matches(text)
    with pytest.raises(InvalidConstraint, match="escapes='no'"):
        json_schema(schema, escapes="no")


# --- branches that only some types tell apart, and what stands first ---------------------------------

KINDS = {
    "stage": {
        "properties": {"type": {"enum": ["stage"]}, "props": {"properties": {"a": {"type": "string"}}}},
        "required": ["type", "props"],
    },
    "teaser": {
        "properties": {"type": {"enum": ["teaser"]}, "props": {"properties": {"b": {"items": {"type": "integer"}}}}},
        "required": ["type", "props"],
        "additionalProperties": False,
    },
    "short": {"maxLength": 2, "required": ["type"], "properties": {"type": {"enum": ["short"]}}},
}
UNTYPED = {"oneOf": [*KINDS.values()]}


@pytest.mark.parametrize("schema", [UNTYPED, {"type": ["object", "string"], **UNTYPED}])
def test_branches_that_objects_tell_apart_and_other_values_do_not(schema):
    constraint, validator = json_schema(schema), Validator(schema)
    objects = [
        {"type": kind, **more}
        for kind in ("stage", "teaser", "short", "none")
        for more in ({}, {"props": {"a": "x"}}, {"props": {"b": [1]}}, {"props": {"b": ["x"]}}, {"props": 1, "z": 2})
    ]
    values = [*objects, {}, 1, "x", "xyz", None, True, []]
    verdicts = [validator.is_valid(value) for value in values]
    assert True in verdicts
    assert False in verdicts
    for value, is_valid in zip(values, verdicts, strict=True):
        assert constraint.matches(json.dumps(value)) == is_valid, value


def test_many_untyped_branches_are_few_alternatives():
    branches = [
        {"properties": {"kind": {"const": f"k{i}"}, f"p{i}": {"type": "string"}}, "required": ["kind"]}
        for i in range(60)
    ]
    constraint = json_schema({"type": "object", "oneOf": branches, "additionalProperties": {"type": "integer"}})
    assert constraint.matches('{"kind": "k7", "p7": "x"}') is False  # the root knows no "kind"
    constraint = json_schema({"type": "object", "oneOf": branches})
    assert constraint.matches('{"kind": "k7", "p7": "x"}')
    assert constraint.matches('{"kind": "k7", "p8": 1}')
    assert not constraint.matches('{"kind": "k7", "p7": 1}')
    assert not constraint.matches('{"kind": "k70"}')


def test_members_are_declared_in_the_order_of_the_document():
    shared = {"properties": {"a": {}, "b": {}}}
    first = {"$defs": {"s": shared}, "allOf": [{"$ref": "#/$defs/s"}], "properties": {"c": {}}}
    assert json_schema(first).matches('{"a": 1, "b": 2, "c": 3}')
    assert not json_schema(first).matches('{"c": 1, "a": 2}')
    last = {"properties": {"c": {}}, "allOf": [shared]}
    assert json_schema(last).matches('{"c": 1, "a": 2}')


def test_what_a_document_is_may_stand_first():
    schema = {"properties": {"a": {"type": "integer"}}, "additionalProperties": {"maxLength": 3}, "maxProperties": 2}
    constraint = json_schema(schema)
    for text, is_inside in (
        ('{"$schema": "x", "a": 1}', True),
        ('{"id": "x", "a": 1}', True),
        ('{"a": 1, "$schema": "x"}', True),
        ('{"$schema": "long", "a": 1}', False),
        ('{"$schema": "x", "$id": "y", "a": 1}', False),
        ('{"other": "x", "a": 1}', False),
    ):
        assert constraint.matches(text) == is_inside, text
        assert Validator(schema).is_valid(json.loads(text)) or not is_inside
    inside = json_schema({"properties": {"in": {"properties": {"a": {}}}}})
    assert not inside.matches('{"in": {"$schema": "x", "a": 1}}')
    assert not json_schema({**schema, "additionalProperties": False}).matches('{"$schema": "x", "a": 1}')
    declared = json_schema({"properties": {"a": {}, "id": {"type": "integer"}}})
    assert not declared.matches('{"id": 1, "a": 1}')
    assert not declared.matches('{"id": "x", "a": 1}')


def test_length_is_counted_less_far_beside_a_large_pattern():
    schema = {"type": "string", "maxLength": 500, "pattern": r"^(?:\S+\s+){0,49}\S+$"}
    constraint = json_schema(schema)
    [bound] = constraint.bounds
    assert re.fullmatch("characters at the root: at most (64|32) instead of 500", bound)
    assert constraint.matches('"' + "word " * 5 + 'end"')
    assert not constraint.matches('"' + "w" * 100 + '"')
    assert not constraint.matches('" leading"')


def test_many_arrays_of_different_items_are_divided_less_finely():
    array = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    few, many = (json_schema({"properties": {f"n{i}": array for i in range(count)}}) for count in (1, 6))
    for constraint in (few, many):
        assert constraint.matches('{"n0": ["apple", "banana"]}')
        assert not constraint.matches('{"n0": ["apple", "apple"]}')
    assert many.automaton().num_states < 6 * few.automaton().num_states / 2


def test_a_listed_value_without_utf8_is_named():
    constraint = json_schema({"enum": ["\ud800", "a"]})
    assert any("half a surrogate pair" in bound for bound in constraint.bounds)
    assert constraint.matches('"a"')
    assert json_schema({"enum": ["\U0001f642", "a"]}).bounds == ()


def test_an_explanation_says_when_only_the_order_is_wrong():
    constraint = json_schema({"properties": {"a": {"type": "integer"}, "b": {}}})
    assert constraint.explain('{"b": 1, "a": 2}').endswith('property_order="any" would take it')
    assert "property_order" not in constraint.explain('{"b": 1, "a": "x"}')
    assert constraint.explain('{"a": 2, "b": 1}') is None
