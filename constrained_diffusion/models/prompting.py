"""How a prompt tells a model which JSON is wanted."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, final
from urllib.parse import unquote

from constrained_diffusion.errors import ModelError

Schema = Mapping[str, Any]
PROMPT_FORMAT: Final = "prompt_format"
"""The key of a tokenizer's configuration that names the format of the model's prompts."""


def outline(schema: Schema | bool) -> str:
    """The shape of the JSON that a schema asks for, on one line.

    A key with ``?`` may be missing, ``|null`` may be null, ``[]`` is an array. What is nested more than four
    levels deep is left out, and once there are a few hundred keys, an inner object is only ``{...}``.

    >>> outline({"properties": {"name": {"type": "string"}, "tags": {"type": "array"}}, "required": ["name"]})
    '{name, tags[]?}'
    """
    return _Outliner(schema if isinstance(schema, Mapping) else {}).shape(schema, depth=0)


_PLAIN_KEY: Final = re.compile(r"""[^\s{}\[\],?|"'\\]+""")


class _Outliner:
    """Follows the references of one schema document."""

    max_depth = 4
    max_members = 300
    max_steps = 16
    """References and alternatives between a key and its shape."""

    def __init__(self, document: Schema) -> None:
        self.document = document
        self.open_members = self.max_members

    def shape(self, schema: Any, depth: int) -> str:
        """What follows the key: ``{...}``, ``[]...``, ``|null`` or nothing."""
        if depth > self.max_depth:
            return ""
        schema, may_be_null = self.settled(schema)
        return self.body(schema, depth) + ("|null" if may_be_null else "")

    def body(self, schema: Schema, depth: int) -> str:
        if isinstance(schema.get("properties"), Mapping):
            return self.members(schema["properties"], schema.get("required"), depth)
        if "array" in _types(schema) or "items" in schema or "prefixItems" in schema:
            return "[]" + self.shape(schema.get("items"), depth + 1)
        return ""

    def members(self, properties: Schema, required: Any, depth: int) -> str:
        if depth and len(properties) > self.open_members:
            return "{...}"
        self.open_members -= len(properties)
        needed = required if isinstance(required, list | tuple) else ()
        members = [
            f"{_key(key)}{self.shape(value, depth + 1)}{'' if key in needed else '?'}"
            for key, value in properties.items()
        ]
        return "{" + ", ".join(members) + "}"

    def settled(self, schema: Any) -> tuple[Schema, bool]:
        """The schema behind references, and the first alternative that is not null; whether null is one."""
        may_be_null = False
        for _ in range(self.max_steps):
            if not isinstance(schema, Mapping):
                break
            others = [option for option in _alternatives(schema) if not _is_null(option)]
            may_be_null |= _allows_null(schema) or len(others) < len(_alternatives(schema))
            if _is_local_reference(schema):
                schema = self.target(schema["$ref"])
            elif "properties" in schema or not (others or _is_wrapped(schema)):
                return schema, may_be_null
            else:
                schema = others[0] if others else schema["allOf"][0]
        return {}, may_be_null

    def target(self, reference: str) -> Any:
        """What a local ``$ref`` points to."""
        target: Any = self.document
        for step in unquote(reference).split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping):
                target = target.get(step)
            elif isinstance(target, list) and step.isdecimal() and int(step) < len(target):
                target = target[int(step)]
            else:
                return None
        return target


def _key(key: str) -> str:
    """The key as it is, or as a JSON string where its characters would be taken for signs of the outline."""
    return key if _PLAIN_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _types(schema: Schema) -> tuple[Any, ...]:
    types = schema.get("type")
    return tuple(types) if isinstance(types, list | tuple) else (types,)


def _alternatives(schema: Schema) -> list[Any]:
    lists = (schema.get(keyword) for keyword in ("anyOf", "oneOf"))
    return [option for options in lists if isinstance(options, list | tuple) for option in options]


def _is_null(schema: Any) -> bool:
    """Whether a schema allows null and nothing else."""
    return isinstance(schema, Mapping) and (
        _types(schema) == ("null",) or schema.get("const", ...) is None or schema.get("enum") == [None]
    )


def _allows_null(schema: Schema) -> bool:
    """Whether a schema says by itself that null is one of several values."""
    values = schema.get("enum")
    is_option = isinstance(values, list | tuple) and None in values and len(values) > 1
    return is_option or ("null" in _types(schema) and len(_types(schema)) > 1)


def _is_wrapped(schema: Schema) -> bool:
    parts = schema.get("allOf")
    return isinstance(parts, list | tuple) and len(parts) == 1


def _is_local_reference(schema: Schema) -> bool:
    reference = schema.get("$ref")
    return isinstance(reference, str) and (reference == "#" or reference.startswith("#/"))


class PromptFormat(ABC):
    """How a request becomes the text of a prompt."""

    describes_schema: bool
    """Whether the prompt describes a JSON Schema unless told otherwise."""

    @abstractmethod
    def text(self, prompt: Any, schema: Schema | bool | None) -> str:
        """The prompt, which describes ``schema`` if one is given.

        Raises:
            ModelError: the prompt is of a kind that this format does not take.
        """


@final
class PlainPrompt(PromptFormat):
    """The text itself; a schema is described behind it."""

    describes_schema = False

    def text(self, prompt: Any, schema: Schema | bool | None) -> str:
        return _as_text(prompt) + ("" if schema is None else f"\n{instruction(schema)}\n")


@final
class OutlinePrompt(PromptFormat):
    """The text, and on a line of its own the outline of the wanted JSON: the bundled model's format."""

    describes_schema = True
    name: ClassVar[str] = "outline"
    """What a tokenizer's configuration calls it."""

    def text(self, prompt: Any, schema: Schema | bool | None) -> str:
        return _as_text(prompt) + ("" if schema is None else f"\n{outline(schema)}\n")


@final
class ChatPrompt(PromptFormat):
    """A chat in the tokenizer's own template; a schema is described in the last user message."""

    describes_schema = False

    def __init__(self, apply_template: Callable[[list[dict[str, Any]]], str]) -> None:
        self._apply_template = apply_template

    def text(self, prompt: Any, schema: Schema | bool | None) -> str:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else _as_chat(prompt)
        if schema is not None:
            _add_to_last_user_message(messages, instruction(schema))
        return self._apply_template(messages)


def instruction(schema: Schema | bool) -> str:
    """A request for JSON of the schema, in words."""
    return f"Answer with one JSON value that satisfies this JSON Schema, and with nothing else:\n{json.dumps(schema)}"


def _as_text(prompt: Any) -> str:
    if not isinstance(prompt, str):
        raise ModelError(
            f"this model has no chat template, so a prompt is a string; met {type(prompt).__name__}: {prompt!r}"
        )
    return prompt


def _as_chat(prompt: Any) -> list[dict[str, Any]]:
    messages = [message for message in prompt if isinstance(message, Mapping)] if isinstance(prompt, Sequence) else []
    is_chat = messages and len(messages) == len(prompt)
    if not is_chat or not all("role" in m and isinstance(m.get("content"), str) for m in messages):
        raise ModelError(f"a chat is a list of messages with role and text content, met {prompt!r}")
    return [dict(message) for message in messages]


def _add_to_last_user_message(messages: list[dict[str, Any]], text: str) -> None:
    last = next((message for message in reversed(messages) if message["role"] == "user"), None)
    if last is None:
        messages.append({"role": "user", "content": text})
    else:
        last["content"] += f"\n\n{text}"
