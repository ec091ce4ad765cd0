"""What type checkers make of the public functions. Never run; ``mypy`` reads it with the package."""

from dataclasses import dataclass
from typing import Any, Literal, assert_type

from pydantic import BaseModel

import constrained_diffusion as cd


class Person(BaseModel):
    name: str


@dataclass
class Point:
    x: int


CHAT = [{"role": "user", "content": "Who?"}]


def generations(gen: cd.Generator, constraint: cd.Constraint) -> None:
    assert_type(gen.generate("a"), cd.Generation)
    assert_type(gen.generate(CHAT, constraint, max_new_tokens=8, seed=0, progress=True), cd.Generation)
    assert_type(gen.generate(["a", "b"], constraint, batch_size=2), list[cd.Generation])
    assert_type(gen.generate(("a", "b"), [constraint, None]), list[cd.Generation])
    assert_type(gen.generate([CHAT, CHAT]), list[cd.Generation])
    assert_type(gen.generate("a", constraint, n=3), list[cd.Generation])
    prompt: str | list[str] = ["a"] if constraint.matches("") else "a"
    assert_type(gen.generate(prompt, constraint), cd.Generation | list[cd.Generation])
    assert_type(gen.infill("a", "b"), cd.Generation)
    assert_type(gen.choose("a", ["x", "y"]), cd.Answer)


def values(gen: cd.Generator) -> None:
    assert_type(gen.json("a", Person), Person)
    assert_type(gen.json(CHAT, Point, seed=1), Point)
    assert_type(gen.json("a", list[int]), list[int])
    assert_type(gen.json(["a", "b"], Person), list[Person])
    assert_type(gen.json("a", Person, n=2), list[Person])
    assert_type(gen.json("a", {"type": "integer"}), Any)
    assert_type(gen.json("a", cd.json_schema(True)), Any)
    assert_type(gen.json(["a"], {"type": "integer"}), list[Any])
    assert_type(gen.json(["a", "b"], [Person, Point]), list[Any])
    prompt: str | list[str] = ["a"] if gen.choose("a", ["x", "y"]).text == "x" else "a"
    assert_type(gen.json(prompt, Person), Person | list[Person])
    assert_type(gen.json("a", Literal["x", "y"]), Any)


def constraints() -> None:
    assert_type(cd.regex("a") + "b" | ~cd.literal("c"), cd.Constraint)
    assert_type("a" + cd.text().repeat(1, 2), cd.Constraint)


def mistakes(gen: cd.Generator) -> None:
    gen.generate("a", max_tokens=3)  # type: ignore[call-overload]
    gen.generate("a", 7)  # type: ignore[call-overload]
    gen.json("a", Person, temprature=1.0)  # type: ignore[call-overload]
    cd.jsonschema({})  # type: ignore[attr-defined]
