"""Python types as constraints: what is accepted can be read as an instance of the type."""

import dataclasses
import datetime
import decimal
import enum
import json
import random
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator
from typing_extensions import TypedDict

from constrained_diffusion.constraints.json_schema import json_schema
from constrained_diffusion.errors import ConstraintError, InvalidConstraint, UnsupportedConstraint


class Color(enum.Enum):
    RED = "red"
    GRÜN = "grün"
    ZERO = 0


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Address(BaseModel):
    street: Annotated[str, Field(min_length=1, max_length=5)]
    number: int | None = None


class Person(BaseModel):
    name: str
    age: Annotated[int, Field(ge=0, lt=150)]
    height: Annotated[float, Field(gt=0)] = 1.5
    home: Address
    others: list[Address] = []
    favourite: Color | None = None


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    tags: tuple[str, int] = ("", 0)


class Movie(TypedDict, total=False):
    title: str
    year: int


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    content: T


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    count: int
    ratio: float
    is_open: bool


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Aliased(BaseModel):
    long_name: int = Field(alias="n")


class Even(BaseModel):
    value: int

    @field_validator("value")
    @classmethod
    def _check(cls, value):
        if value % 2:
            raise ValueError("odd")
        return value


class Tree(BaseModel):
    children: list["Tree"] = []


HOME = Address(street="Way")
INSTANCES = [
    (Person, Person(name="Ada", age=36, home=HOME)),
    (Person, Person(name='"é\n🙂', age=0, height=0.5, home=HOME, others=[HOME, HOME], favourite=Color.GRÜN)),
    (Point, Point(1.5, -2.0, ("a", 3))),
    (Movie, {"title": "Metropolis", "year": 1927}),
    (Movie, {}),
    (Literal["a", 1, None, True], True),
    (Literal["a", 1, None, True], 1),
    (Color, Color.GRÜN),
    (Color, Color.ZERO),
    (Level, Level.HIGH),
    (int | None, None),
    (list[int], [1, -2]),
    (dict[str, list[float]], {"a": [1.0, 2.5], "b": []}),
    (tuple[int, str], (1, "x")),
    (tuple[int, ...], (1, 2, 3)),
    (str, "text"),
    (float, 2.5),
    (bool, False),
    (None, None),
    (Box[int], Box[int](content=3)),
    (Box[Point], Box[Point](content=Point(1))),
    (Strict, Strict(count=1, ratio=2.0, is_open=True)),
    (Open, Open(a=1, b=[2])),
    (Any, {"a": [1, None]}),
]


@pytest.mark.parametrize(("type_", "instance"), INSTANCES)
@pytest.mark.parametrize("options", [{}, {"indent": 2, "ensure_ascii": False}, {"separators": (",", ":")}])
def test_an_instance_is_accepted_and_read_back(type_, instance, options):
    constraint = json_schema(type_)
    adapter = TypeAdapter(type_)
    text = json.dumps(json.loads(adapter.dump_json(instance)), **options)
    assert constraint.matches(text)
    assert constraint.parse(text) == instance
    assert type(constraint.parse(text)) is type(instance)


@pytest.mark.parametrize("type_", dict.fromkeys(type_ for type_, _ in INSTANCES))
def test_what_is_accepted_can_be_read(type_):
    constraint = json_schema(type_, any_depth=1)
    dfa = constraint.automaton()
    rng = random.Random(0)
    texts = {_walk(dfa, rng, steps) for steps in range(40)}
    for text in texts:
        if text is not None:
            constraint.parse(text.decode())


def _walk(dfa, rng, steps):
    """A random text of an automaton; None if it does not end soon."""
    state, text = dfa.start, bytearray()
    for step in range(400):
        options = dfa.next_bytes(state)
        if dfa.accepts(state) and (step >= steps or not options):
            return bytes(text)
        by_target = {}
        for byte in options:
            by_target.setdefault(dfa.step(state, byte), []).append(byte)
        text.append(rng.choice(by_target[rng.choice(list(by_target))]))
        state = dfa.step(state, text[-1])
    return None


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (Person, '{"name": "Ada", "age": 150, "home": {"street": "Way"}}'),
        (Person, '{"name": "Ada", "age": 36}'),
        (Person, '{"name": "Ada", "age": 36, "home": {"street": "Highway"}}'),
        (Person, '{"name": "Ada", "age": 36, "home": {"street": "Way"}, "more": 1}'),
        (Person, '{"name": "Ada", "age": 36, "height": 0, "home": {"street": "Way"}}'),
        (Point, "{}"),
        (Movie, '{"director": "x"}'),
        (Literal["a", 1, None, True], "2"),
        (Literal["a", 1, None, True], "false"),
        (Color, '"blue"'),
        (Level, "3"),
        (list[int], "[1.5]"),
        (int, "1.0"),
        (tuple[int, str], "[1]"),
        (tuple[int, str], '[1, "x", 2]'),
    ],
)
def test_what_is_no_instance_is_rejected(type_, text):
    assert not json_schema(type_).matches(text)


def test_types_forbid_additional_properties_unless_they_allow_them():
    assert not json_schema(Person).bounds
    assert json_schema(Open).matches('{"a": 1, "b": 2}')
    assert not json_schema(Movie).matches('{"z": 2}')


def test_aliases():
    constraint = json_schema(Aliased)
    assert constraint.matches('{"n": 1}')
    assert constraint.parse('{"n": 1}').long_name == 1


def test_a_validator_beyond_the_schema():
    constraint = json_schema(Even)
    assert constraint.matches('{"value": 3}')
    assert constraint.parse('{"value": 4}') == Even(value=4)
    with pytest.raises(ConstraintError, match=r'(?s)rejects \'{"value": 3}\'.*odd'):
        constraint.parse('{"value": 3}')


def test_formats_of_types_are_enforced():
    constraint = json_schema(datetime.date)
    assert constraint.parse('"2026-10-05"') == datetime.date(2026, 10, 5)
    assert not constraint.matches('"soon"')
    with pytest.raises(ConstraintError):
        constraint.parse('"soon"')


def test_sets_are_bounded_and_recursive_types_are_not():
    numbers = json_schema(set[int])
    assert numbers.matches("[1, 2]")
    assert not numbers.matches("[1, 1]")
    assert numbers.bounds
    assert not json_schema(Tree).bounds
    assert any("recursion" in bound for bound in json_schema(Tree, any_depth=2).bounds)


def test_types_without_a_schema():
    with pytest.raises(UnsupportedConstraint, match="no JSON Schema"):
        json_schema(Callable[[], int])
    with pytest.raises(InvalidConstraint, match="neither a JSON Schema nor a type"):
        json_schema(object())


def test_a_default_without_json_is_left_out():
    @dataclasses.dataclass
    class WithDefault:
        value: int = dataclasses.field(default=object())

    assert json_schema(WithDefault).matches("{}")


@pytest.mark.parametrize(
    ("constraints", "inside", "outside"),
    [
        ({}, ["1.5", "0", "-1e5"[:2], "123456789.25"], ['"1.5"', '""', "1e999"]),
        ({"max_digits": 5, "decimal_places": 2}, ["999.99", "-0.25", "7", "1.200"], ["1000", "1.234", "12345"]),
        ({"ge": 0, "lt": 10}, ["0", "9.75"], ["-1", "10"]),
        ({"decimal_places": 3}, ["0.125", "1234567.5"], ["0.0625"]),
        ({"max_digits": 2, "decimal_places": 2}, ["0.25"], ["1"]),
    ],
)
def test_decimals_are_numbers_that_the_type_takes(constraints, inside, outside):
    adapter = TypeAdapter(Annotated[decimal.Decimal, Field(**constraints)])
    constraint = json_schema(Annotated[decimal.Decimal, Field(**constraints)])
    for text in inside:
        assert constraint.matches(text), text
        assert constraint.parse(text) == adapter.validate_json(text) == decimal.Decimal(text)
    assert not any(constraint.matches(text) for text in outside)
