"""Outlines of schemas, and how a request becomes a prompt."""

import enum
import json
import shutil
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

import constrained_diffusion as cd
from constrained_diffusion.errors import ModelError
from constrained_diffusion.models.prompting import ChatPrompt, OutlinePrompt, PlainPrompt, instruction, outline
from constrained_diffusion.models.tiny import CHECKPOINT
from constrained_diffusion.models.tiny.corpus import closed_object

STRING = {"type": "string"}
NULL = {"type": "null"}


# --- outlines ------------------------------------------------------------------------------------

OUTLINES = {
    "plain": (closed_object({"name": STRING, "age": {"type": "integer"}}), "{name, age}"),
    "optional": (closed_object({"name": STRING, "age": STRING}, ["age"]), "{name?, age}"),
    "nothing required": ({"properties": {"a": {}}}, "{a?}"),
    "no properties": (closed_object({}), "{}"),
    "nested": (closed_object({"a": closed_object({"b": STRING}), "c": STRING}), "{a{b}, c}"),
    "nested and optional": (closed_object({"a": closed_object({"b": STRING})}, []), "{a{b}?}"),
    "array": (closed_object({"tags": {"type": "array", "items": STRING}}), "{tags[]}"),
    "array of objects": (closed_object({"a": {"items": closed_object({"b": STRING})}}), "{a[]{b}}"),
    "array of arrays": ({"items": {"items": {}}}, "[][]"),
    "array of anything": ({"type": "array"}, "[]"),
    "array with prefixItems": ({"prefixItems": [STRING]}, "[]"),
    "array with a list of items": ({"items": [STRING]}, "[]"),
    "optional array": (closed_object({"a": {"type": "array"}}, []), "{a[]?}"),
    "nullable": (closed_object({"a": {"anyOf": [STRING, NULL]}}), "{a|null}"),
    "nullable and optional": (closed_object({"a": {"anyOf": [STRING, NULL]}}, []), "{a|null?}"),
    "null first": (closed_object({"a": {"oneOf": [NULL, STRING]}}), "{a|null}"),
    "nullable by type": (closed_object({"a": {"type": ["string", "null"]}}), "{a|null}"),
    "nullable array by type": (closed_object({"a": {"type": ["array", "null"]}}), "{a[]|null}"),
    "nullable object by type": ({"type": ["object", "null"], "properties": {"a": {}}}, "{a?}|null"),
    "nullable enumeration": (closed_object({"a": {"enum": ["x", None]}}), "{a|null}"),
    "null as a constant": (closed_object({"a": {"anyOf": [{"const": None}, {"type": "array"}]}}), "{a[]|null}"),
    "only null": (closed_object({"a": NULL}), "{a}"),
    "nullable twice": ({"anyOf": [{"anyOf": [{"type": "array"}, NULL]}, NULL]}, "[]|null"),
    "enumeration": (closed_object({"a": {"enum": ["x", "y"]}}), "{a}"),
    "first of several": ({"anyOf": [closed_object({"a": STRING}), closed_object({"b": STRING})]}, "{a}"),
    "properties beside alternatives": ({"properties": {"a": {}}, "anyOf": [{"required": ["a"]}, {}]}, "{a?}"),
    "wrapped": ({"allOf": [closed_object({"a": STRING})]}, "{a}"),
    "reference": ({"$ref": "#/$defs/a", "$defs": {"a": closed_object({"b": STRING})}}, "{b}"),
    "nullable reference": ({"anyOf": [{"$ref": "#/$defs/a"}, NULL], "$defs": {"a": {"items": {}}}}, "[]|null"),
    "reference to a reference": ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"items": 1}}}, "[]"),
    "escaped reference": ({"$ref": "#/$defs/a~1b%20c~0", "$defs": {"a/b c~": {"items": {}}}}, "[]"),
    "reference into a list": ({"$ref": "#/$defs/a/anyOf/1", "$defs": {"a": {"anyOf": [{}, {"items": {}}]}}}, "[]"),
    "dangling references": (closed_object({"a": {"$ref": "#/$defs/no/way"}, "b": {"$ref": "#/required/7"}}), "{a, b}"),
    "remote reference": (closed_object({"a": {"$ref": "http://x/y"}}), "{a}"),
    "odd keys": (closed_object({"a b": {}, "c\n": {}, "": {}, "é-1": {}, "x?": {}}), r'{"a b", "c\n", "", é-1, "x?"}'),
    "anything": (True, ""),
    "nothing": (False, ""),
    "empty": ({}, ""),
}


@pytest.mark.parametrize("name", OUTLINES)
def test_outline(name):
    schema, expected = OUTLINES[name]
    assert outline(schema) == expected


def test_recursion_ends():
    node = {"properties": {"value": STRING, "next": {"$ref": "#"}}, "required": ["value", "next"]}
    assert outline(node) == "{value, next{value, next{value, next{value, next{value, next}}}}}"
    assert outline({"$ref": "#"}) == ""
    assert outline({"anyOf": [{"$ref": "#"}, NULL]}) == "|null"
    assert outline({"allOf": [{"$ref": "#"}]}) == ""
    assert outline({"items": {"$ref": "#"}}).startswith("[]")
    loop = {"$ref": "#/$defs/a", "$defs": {"a": {"oneOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}}
    assert outline(loop) == ""


def test_wide_recursion_stays_short():
    names = [f"k{i}" for i in range(60)]
    wide = {"$defs": {"a": {"properties": {name: {"$ref": "#/$defs/a"} for name in names}}}, "$ref": "#/$defs/a"}
    text = outline(wide)
    assert len(text) < 5_000
    assert text.count("{...}") > 10
    assert all(name in text for name in names)
    assert outline({"properties": {str(i): {} for i in range(900)}}).count(",") == 899


def test_types_of_python():
    class Size(enum.Enum):
        SMALL = "small"
        LARGE = "large"

    class Line(BaseModel):
        product: str
        size: Size | None = None

    class Order(BaseModel):
        id: int
        lines: list[Line]
        status: Literal["paid", "open"]
        note: str | None

    assert outline(TypeAdapter(Order).json_schema()) == "{id, lines[]{product, size|null?}, status, note|null}"


LISTS = ["anyOf", "oneOf", "allOf", "required", "enum"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["a", "null", "array", "#", "#/a", "#/$defs/a/0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$ref", "$defs", "a", *LISTS, "properties", "items", "type", "const"]), inner
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(anything)
def test_odd_schemas_have_an_outline_on_one_line(schema):
    """Whatever stands at a keyword, even what no metaschema allows."""
    assert len(outline(schema).splitlines()) <= 1


# --- formats -------------------------------------------------------------------------------------

SCHEMA = closed_object({"a": STRING})
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it?"}]


def template(messages):
    return " / ".join(f"{message['role']}: {message['content']}" for message in messages)


def test_the_bundled_models_format():
    assert OutlinePrompt().describes_schema
    assert OutlinePrompt().text("It is.", SCHEMA) == "It is.\n{a}\n"
    assert OutlinePrompt().text("It is.", None) == "It is."


@pytest.mark.skipif(not CHECKPOINT.exists(), reason="the bundled model is not in this checkout")
def test_a_copy_of_the_bundled_model_reads_the_same_prompts(tmp_path):
    copy = shutil.copytree(CHECKPOINT, tmp_path / "copy")
    assert isinstance(cd.load(copy).denoiser.prompt_format, OutlinePrompt)


def test_the_plain_format():
    assert not PlainPrompt().describes_schema
    assert PlainPrompt().text("It is.", None) == "It is."
    assert PlainPrompt().text("It is.", SCHEMA) == f"It is.\n{instruction(SCHEMA)}\n"
    assert json.loads(instruction(SCHEMA).splitlines()[-1]) == SCHEMA


@pytest.mark.parametrize("prompt_format", [PlainPrompt(), OutlinePrompt()])
@pytest.mark.parametrize("prompt", [CHAT, 7, None, b"bytes"])
def test_without_a_template_a_prompt_is_a_text(prompt_format, prompt):
    with pytest.raises(ModelError, match="a prompt is a string"):
        prompt_format.text(prompt, None)


def test_a_chat():
    chat = ChatPrompt(template)
    assert not chat.describes_schema
    assert chat.text("Is it?", None) == "user: Is it?"
    assert chat.text(CHAT, None) == "system: Be brief. / user: Is it?"
    assert chat.text("Is it?", SCHEMA) == f"user: Is it?\n\n{instruction(SCHEMA)}"
    assert CHAT[1]["content"] == "Is it?"


def test_the_schema_goes_to_the_last_message_of_the_user():
    begun = [*CHAT, {"role": "assistant", "content": "It"}]
    assert ChatPrompt(template).text(begun, True).endswith(f"user: Is it?\n\n{instruction(True)} / assistant: It")
    assert ChatPrompt(template).text(CHAT[:1], True) == f"system: Be brief. / user: {instruction(True)}"
    assert [message["content"] for message in begun] == ["Be brief.", "Is it?", "It"]


@pytest.mark.parametrize(
    "prompt",
    [
        [],
        7,
        None,
        {"role": "user", "content": "x"},
        [{"role": "user"}],
        [{"content": "x"}],
        [{"role": "user", "content": ["x"]}],
        ["x"],
        [*CHAT, "x"],
    ],
)
def test_what_is_no_chat(prompt):
    with pytest.raises(ModelError, match="a chat is a list of messages"):
        ChatPrompt(template).text(prompt, None)
