"""JSON Schemas that refer to themselves, and any JSON, to any depth: against the reference validator."""

import json
import random
from typing import Literal

import jsonschema
import pytest
import torch
from pydantic import BaseModel
from saving import check_saved

import constrained_diffusion as cd
from constrained_diffusion.automata.byte_automaton import DEAD, ByteDFA
from constrained_diffusion.automata.pushdown import PushdownAutomaton
from constrained_diffusion.constraints.infilling import Infilling

TREE = {
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
            "required": ["v"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/tree",
}
TERMS = {
    "$defs": {
        "term": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/sum"}, {"$ref": "#/$defs/name"}]},
        "sum": {
            "type": "object",
            "properties": {"add": {"type": "array", "items": {"$ref": "#/$defs/term"}, "minItems": 2}},
            "required": ["add"],
            "additionalProperties": False,
        },
        "name": {"type": "object", "properties": {"v": {"enum": ["x", "y"]}}, "required": ["v"]},
    },
    "$ref": "#/$defs/term",
}
EITHER = {
    "$defs": {
        "ints": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#/$defs/ints"}}]},
        "texts": {"anyOf": [{"const": "s"}, {"type": "array", "items": {"$ref": "#/$defs/texts"}}]},
    },
    "anyOf": [{"$ref": "#/$defs/ints"}, {"$ref": "#/$defs/texts"}, {"const": [[1], "s"]}],
}
ONE = {**EITHER, "oneOf": EITHER["anyOf"][:2]}
del ONE["anyOf"]
OPEN = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "me": {"$ref": "#"}},
    "required": ["a"],
    "patternProperties": {"^x": {"type": "array"}},
}
WITHOUT = {"type": ["array", "integer"], "items": {"$ref": "#"}, "not": {"minItems": 3}}
SCHEMAS = {
    "tree": TREE,
    "terms": TERMS,
    "either": EITHER,
    "one of": ONE,
    "open": OPEN,
    "not": WITHOUT,
    "any": {},
    "contains": {"type": "array", "contains": {"$ref": "#"}, "minContains": 0, "items": {"type": ["array", "null"]}},
}
LETTERS = b'[]{},:" 019-svxymeakidz_tfnrulo'
ARRAY = {"type": "array"}
WRITERS = ({}, {"separators": (",", ":")}, {"indent": 2})


def compiled(name):
    return cd.json_schema(SCHEMAS[name])


def mutated(rng, value):
    """The value with something inside it replaced, or left as it is."""
    if isinstance(value, list) and value and rng.random() < 0.7:
        i = rng.randrange(len(value))
        return [*value[:i], mutated(rng, value[i]), *value[i + 1 :]]
    if isinstance(value, dict) and value and rng.random() < 0.7:
        name = rng.choice(list(value))
        return {**value, name: mutated(rng, value[name])}
    return drawn(rng, 1)


def drawn(rng, depth):
    """A value out of the words that the schemas know."""
    kind = rng.randrange(6 if depth else 3)
    if kind < 3:
        return rng.choice([0, 1, "s", "x", None, []])
    if kind == 3:
        return [drawn(rng, depth - 1) for _ in range(rng.randrange(4))]
    names = rng.choice([["v", "kids"], ["add"], ["v"], ["a", "me"], ["a", "xs", "z"], ["a"]])
    return {name: drawn(rng, depth - 1) for name in names if rng.random() < 0.9}


def spelled(dfa, rng, steps):
    """A text of the language, drawn byte by byte towards its end."""
    text, state = b"", dfa.start
    for _ in range(steps):
        following = [byte for byte in LETTERS if dfa.step(state, byte) != DEAD]
        if not following or (dfa.accepts(state) and rng.random() < 0.2):
            break
        closing = [byte for byte in following if byte in b']}",:']
        byte = rng.choice(closing if closing and len(text) > steps // 3 else following)
        text, state = text + bytes([byte]), dfa.step(state, byte)
    return text if dfa.accepts(state) else None


@pytest.mark.parametrize("name", SCHEMAS)
def test_values_are_accepted_exactly_if_they_are_valid(name):
    constraint, validator = compiled(name), jsonschema.Draft202012Validator(SCHEMAS[name])
    rng = random.Random(name)
    verdicts = []
    texts = {spelled(constraint.default_automaton, rng, rng.randrange(3, 90)) for _ in range(200)} - {None}
    # A number is written in many ways; what json.dumps makes of a huge one is not among them.
    values = [json.loads(text, parse_float=len) for text in sorted(texts)]
    for value in [drawn(rng, 4) for _ in range(400)] + values + [mutated(rng, value) for value in values * 2]:
        is_valid = validator.is_valid(value)
        verdicts.append(is_valid)
        if isinstance(value, dict) and [*value][:1] == ["id"] and not isinstance(value["id"], str):
            continue  # it stands first only as a string
        assert constraint.matches(json.dumps(value, **rng.choice(WRITERS))) == is_valid, value
    assert sum(verdicts) > 30
    assert name == "any" or verdicts.count(False) > 30


@pytest.mark.parametrize("name", SCHEMAS)
def test_texts_of_the_language_are_valid(name):
    constraint, validator = compiled(name), jsonschema.Draft202012Validator(SCHEMAS[name])
    rng = random.Random(name)
    texts = {spelled(constraint.default_automaton, rng, rng.randrange(3, 90)) for _ in range(200)} - {None}
    assert len(texts) > 20
    for text in texts:
        assert validator.is_valid(json.loads(text)), text


def nested(depth):
    tree = {"v": 0}
    for i in range(depth):
        tree = {"v": i, "kids": [tree, {"v": 1, "kids": []}]}
    return tree


def test_forty_deep_and_deeper():
    constraint = cd.json_schema(TREE)
    for depth in (1, 3, 40, 300):
        text = json.dumps(nested(depth))
        assert constraint.matches(text)
        assert not constraint.matches(text[:-1])
        assert not constraint.matches(text.replace('"v": 0', '"v": "0"'))
    assert constraint.bounds == ()
    assert cd.json_schema({}).matches("[" * 500 + "]" * 500)


def test_what_is_bounded_says_so_and_what_is_not_says_nothing():
    assert isinstance(cd.json_schema(TREE).default_automaton, PushdownAutomaton)
    open_object = {"type": "object"}
    assert isinstance(cd.json_schema(open_object).default_automaton, PushdownAutomaton)
    assert cd.json_schema(open_object).bounds == ()
    assert isinstance(cd.json_schema(open_object, any_depth=2).default_automaton, ByteDFA)
    assert cd.json_schema(open_object, any_depth=2).bounds == ("any JSON at /*: nested at most 2 deep",)
    assert cd.json_schema(OPEN).bounds == ()
    assert cd.json_schema(TREE, any_depth=2).bounds
    assert isinstance(cd.json_schema(TREE, any_depth=2).default_automaton, ByteDFA)
    assert cd.json_schema({"type": "integer"}).bounds == ()


def test_a_schema_that_no_finite_value_satisfies():
    endless = {"type": "object", "properties": {"n": {"$ref": "#"}}, "required": ["n"]}
    constraint = cd.json_schema(endless)
    assert not constraint.matches('{"n": {}}')
    with pytest.raises(cd.errors.InfeasibleError):
        cd.compile(constraint, byte_vocabulary())


def byte_vocabulary():
    tokens = [bytes([byte]) for byte in range(256)]
    return cd.Vocabulary(
        [*tokens, b'{"v": ', b"}]}", b"]]", b"[[", b'", "', b"}}", b"\n  ", None], end_ids=[len(tokens) + 7]
    )


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("kind", ["noise", "brackets"])
def test_whatever_the_model_says_the_text_is_valid_and_ends(name, kind):
    vocabulary = byte_vocabulary()
    automaton = cd.compile(compiled(name), vocabulary)
    validator = jsonschema.Draft202012Validator(SCHEMAS[name])
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(40, len(vocabulary), generator=generator) * 2
        if kind == "brackets":
            logits[:, [ord("["), 259, ord("{"), 256]] += 12
        posterior = automaton.posterior(logits)
        for ids in (posterior.map(), posterior.sample(generator)):
            text = automaton.text(ids)
            assert validator.is_valid(json.loads(text)), text
            assert vocabulary.end_ids[0] in ids.tolist()


def test_a_shortest_text_of_thousands_of_bytes_is_found():
    names = [f"a rather long name that is required, number {i}" for i in range(60)]
    part = {"type": "object", "properties": {"deeper": {"$ref": "#"}, **{n: {"type": "array"} for n in names}}}
    schema = {**part, "required": names}
    automaton = cd.compile(cd.json_schema(schema), byte_vocabulary())
    begun = b'{"deeper":{'
    length = automaton.completion(automaton.advance(None, list(begun)))
    store, state, closed = automaton.exact.automaton.store, automaton.exact.automaton.run(begun), b""
    while store.next_config[state] != DEAD:
        closed += bytes([store.next_byte[state]])
        state = store.next_config[state]
    assert length <= len(closed) + 1
    assert len(closed) > 60 * len(names[0])
    assert jsonschema.Draft202012Validator(schema).is_valid(json.loads(begun + closed))


class Node(BaseModel):
    """A type that refers to itself."""

    value: int
    left: "Node | None" = None
    right: "Node | None" = None
    kind: Literal["red", "black"] = "red"


def test_types_that_refer_to_themselves():
    constraint = cd.json_schema(Node)
    node = Node(value=1)
    for i in range(40):
        node = Node(value=i, left=node, right=Node(value=2, kind="black"))
    assert constraint.matches(node.model_dump_json())
    assert constraint.parse(node.model_dump_json()) == node
    assert constraint.bounds == ()


def test_escapes_can_be_forbidden_at_any_depth():
    constraint = cd.json_schema({"type": ["array", "string"], "items": {"$ref": "#"}}, escapes="forbid")
    assert constraint.matches('[[["a"]]]')
    assert not constraint.matches(r'[[["\n"]]]')
    vocabulary = byte_vocabulary()
    logits = torch.zeros(20, len(vocabulary))
    logits[:, 0x5C] = 30
    automaton = cd.compile(constraint, vocabulary)
    assert "\\" not in automaton.text(automaton.posterior(logits).map())


def test_explanations():
    explained = cd.json_schema(TREE).explain('{"v": 1, "kids": [{"v": 2, "kids": [{"v": x}]}]}')
    assert explained is not None
    assert "met 'x', expected" in explained


# --- with other constraints --------------------------------------------------------------------------


def test_recursive_parts_stand_among_regular_ones():
    tree = cd.json_schema({"type": "array", "items": {"$ref": "#"}}, whitespace="compact")
    cases = {
        "in a row": (cd.literal("x") + tree + cd.regex("[0-9]+"), ["x[[]]7"], ["x[[]7", "[[]]7", "x[]"]),
        "or": (tree | "none", ["none", "[[[]]]"], ["[[[]]", "nonee"]),
        "repeated": ((tree + ";").repeat(2, 3), ["[];[[]];"], ["[];", "[];[];[];[];"]),
        "optional": (tree.optional() + "!", ["!", "[[],[]]!"], ["[[],[]!"]),
        "both": (tree & cd.regex(r".{6,}"), ["[[[]]]"], ["[[]]", "[[[]]"]),
        "two": (tree + cd.json_schema(TREE, whitespace="compact"), ['[[]]{"v":1}'], ['{"v":1}[[]]']),
        "next to itself": (tree + tree, ["[][[]]"], ["[]", "[][][]"]),
        "template": (cd.template("a {t} b {t2}", t=tree, t2=tree), ["a [[]] b []"], ["a [[] b []"]),
    }
    for name, (constraint, inside, outside) in cases.items():
        assert isinstance(constraint.default_automaton, PushdownAutomaton), name
        assert all(constraint.matches(text) for text in inside), name
        assert not any(constraint.matches(text) for text in outside), name


def test_slots_of_recursive_constraints_have_values():
    tree = cd.json_schema(TREE)
    form = cd.template("tree {tree} of {n:[0-9]+}", tree=tree)
    text = f"tree {json.dumps(nested(5))} of 7"
    assert form.parse(text) == {"tree": nested(5), "n": "7"}
    assert form.fixed({"n": "7"}).matches(text)
    assert not form.fixed({"n": "8"}).matches(text)


def test_what_cannot_be_combined_is_refused_by_name():
    tree = cd.json_schema(TREE)
    with pytest.raises(cd.errors.UnsupportedConstraint, match="~json_schema"):
        _ = ~tree
    with pytest.raises(cd.errors.UnsupportedConstraint, match="any_depth"):
        _ = tree & cd.json_schema({})
    with pytest.raises(cd.errors.UnsupportedConstraint, match="any_depth"):
        _ = tree & cd.grammar('start: "x"')
    with pytest.raises(cd.errors.UnsupportedConstraint, match="at most 1000 texts"):
        cd.template("{t} {t}", t=tree)
    narrowed = tree & cd.regex(".*")
    with pytest.raises(cd.errors.UnsupportedConstraint, match=r"met in \+"):
        _ = narrowed + "x"
    with pytest.raises(cd.errors.UnsupportedConstraint, match=r"slot \{t\}"):
        cd.template("{t}", t=narrowed)
    assert (narrowed & cd.regex("[^9]*")).matches('{"v": 1}')
    assert not (narrowed & cd.regex("[^9]*")).matches('{"v": 9}')


@pytest.mark.parametrize("whole", ["tree", "narrowed"])
def test_an_automaton_of_a_recursive_schema_is_saved_and_loaded(tmp_path, whole):
    constraint = cd.json_schema(TREE)
    vocabulary = byte_vocabulary()
    automaton = cd.compile(constraint if whole == "tree" else constraint & cd.regex("[^9]*"), vocabulary)
    logits = torch.randn(40, len(vocabulary), generator=torch.Generator().manual_seed(0)) * 3
    check_saved(automaton, vocabulary, logits, tmp_path / "automaton.npz")


ANYTHING = [None, True, False, 1, -2.5e3, 0, "a", 'é"\\\n\U0001f600', "", [], {}]


def any_value(rng, depth):
    kind = rng.randrange(8 if depth else 4)
    if kind < 4:
        return rng.choice(ANYTHING)
    if kind < 6:
        return [any_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice("abc"): any_value(rng, depth - 1) for _ in range(rng.randrange(4))}


@pytest.mark.parametrize("whitespace", ["flexible", "compact", "spaced", "indented"])
@pytest.mark.parametrize("escapes", ["allow", "forbid"])
def test_any_json_is_the_same_language_beside_a_grammar(whitespace, escapes):
    alone = cd.json_schema({}, whitespace=whitespace, escapes=escapes)
    beside = cd.grammar('start: "x"+') + "=" + alone
    rng, verdicts = random.Random(0), []
    for _ in range(1500):
        writer = rng.choice([*WRITERS, {"ensure_ascii": False}, {"indent": 1, "ensure_ascii": False}])
        text = list(json.dumps(any_value(rng, 5), **writer))
        for _ in range(rng.choice([0, 0, 1, 2])):
            place = rng.randrange(len(text) + 1)
            text[place : place + rng.randrange(2)] = rng.choice('[]{},:"\\ \n\tu1ed8d')
        verdicts.append(alone.matches("".join(text)))
        assert beside.matches("xx=" + "".join(text)) == verdicts[-1], text
    assert 0.2 < sum(verdicts) / len(verdicts) < 0.8


def test_any_json_fills_a_slot_beside_a_grammar():
    form = cd.template("{a} = {b}", a=cd.grammar("arithmetic"), b=cd.json_schema({"type": "object"}))
    assert form.parse('1+(2) = {"a": [[[[[1]]]]]}') == {"a": "1+(2)", "b": {"a": [[[[[1]]]]]}}
    vocabulary = byte_vocabulary()
    automaton = cd.compile(form, vocabulary)
    for seed in range(10):
        logits = torch.randn(30, len(vocabulary), generator=torch.Generator().manual_seed(seed)) * 3
        posterior = automaton.posterior(logits)
        for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
            assert isinstance(json.loads(automaton.text(ids).split(" = ", 1)[1]), dict)


def test_without_escapes_any_json_is_a_part_like_any_other():
    form = cd.template("{a};{b}", a=cd.json_schema({}, escapes="forbid"), b=cd.regex("[0-9]"))
    assert form.matches('["a", [[[["b"]]]]];1')
    assert not form.matches('["a", [[[["\\n"]]]]];1')


def test_a_recursive_value_is_filled_in_between_two_ends():
    whole = cd.json_schema({"type": ["array", "integer"], "items": {"$ref": "#"}}, whitespace="compact")
    filled = Infilling(b"[[1,", [None, b",7]]"], whole)
    assert filled.matches("[2],[[]],7]]")
    assert not filled.matches("[2],[[],7]]")
    assert not filled.matches("[2]],[7]]")
    vocabulary = byte_vocabulary()
    automaton = cd.compile(filled, vocabulary)
    for seed in range(5):
        logits = torch.randn(16, len(vocabulary), generator=torch.Generator().manual_seed(seed)) * 3
        json.loads("[[1," + automaton.text(automaton.posterior(logits).map()))
    with pytest.raises(cd.errors.InfeasibleError, match="begins with"):
        Infilling(b"[x", [None], whole)


def test_tool_calls_take_recursive_arguments_in_both_syntaxes():
    def plant(tree: Node) -> None:
        """Plants a tree."""

    node = Node(value=1, left=Node(value=2, left=Node(value=3, left=Node(value=4, left=Node(value=5)))))
    tools = cd.tools([plant])
    text = f'<tool_call>{{"name": "plant", "arguments": {{"tree": {node.model_dump_json()}}}}}</tool_call>'
    assert tools.parse(text)[0].arguments["tree"] == node
    spelled = b"{kind:Qred,right:null,value:1,left:{value:2,left:{value:3,left:{value:4,left:{value:5}}}}}"
    gemma = cd.tools([plant], syntax="gemma")
    ordered = b"{value:1,left:{value:2,left:{value:3,left:{value:4,left:{value:5}}}},kind:Qred}"
    for content, is_inside in ((ordered, True), (spelled, False)):
        content = content.replace(b"Qred", b'\xff<|"|>\xfered\xff<|"|>\xfe')
        content = b"\xff<|tool_call>\xfecall:plant{tree:" + content + b"}\xff<tool_call|>\xfe"
        assert gemma.matches(content) == is_inside


def test_a_hostile_recursive_schema_ends_in_a_limit():
    names = [f"d{i}" for i in range(10)]
    parts = {
        name: {"anyOf": [{"enum": [n for n in names if n != name]}, {"items": {"$ref": f"#/$defs/{name}"}, **ARRAY}]}
        for name in names
    }
    schema = {"$defs": parts, "anyOf": [{"$ref": f"#/$defs/{name}"} for name in names]}
    with pytest.raises(cd.errors.LimitExceeded, match="any_depth=2"):
        cd.json_schema(schema).automaton()
    few = {**schema, "anyOf": schema["anyOf"][:3]}
    assert cd.json_schema(few).matches('[["d1"], [["d4", "d2"]]]')
    assert not cd.json_schema(few).matches('[["d1"], [["d0", "d2"]]]')


def test_what_no_deep_value_satisfies_is_infeasible():
    with pytest.raises(cd.errors.InfeasibleError):
        cd.compile(cd.json_schema({"type": "array"}) & cd.regex("[{].*"), byte_vocabulary())
    vocabulary = cd.Vocabulary([b"[", b"1", None], end_ids=[2])
    with pytest.raises(cd.errors.InfeasibleError, match="no text"):
        cd.compile(cd.json_schema({"type": "array"}), vocabulary)
