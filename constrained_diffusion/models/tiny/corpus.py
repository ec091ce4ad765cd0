"""Synthetic sentences about people, orders, events ... and the JSON objects they state.

Every example carries its own JSON Schema, so that the bundled model learns to follow the
fields that a prompt asks for. Names, places and numbers are split by a hash of the word:
those held out for testing never occur in training and can only be copied from the prompt.
"""

import random
import re
import string
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

HELD_OUT_SHARE = 10
"""One word in this many is kept out of training."""


@dataclass(frozen=True)
class Example:
    """A sentence, the schema that asks for some of its facts, and the object that states them."""

    text: str
    schema: dict[str, Any]
    value: dict[str, Any]


@dataclass(frozen=True)
class Spoken:
    """A value and the words that a sentence says it with."""

    value: Any
    words: str


@dataclass(frozen=True)
class Field:
    """A fact: the key names it goes by, its schema, and how a value is drawn."""

    names: tuple[str, ...]
    schema: dict[str, Any]
    draw: Callable[["Words"], Spoken]


@dataclass(frozen=True)
class Kind:
    """A kind of sentence: ``[...]`` in a template is a clause that may be left out."""

    fields: dict[str, Field]
    templates: tuple[str, ...]
    groups: tuple[str, ...]


def is_held_out(word: str) -> bool:
    """Whether the word belongs to the test split."""
    return zlib.crc32(word.encode()) % HELD_OUT_SHARE == 0


GIVEN = (
    "Ada Alan Alice Amara Anna Antonio Aisha Ben Boris Carla Carlos Chen Chloé Clara Daniel Diego Elena "
    "Elif Emma Erik Farah Fatima Felix Grace Hana Hans Hugo Ines Ingrid Ivan Jack Jana João José Julia "
    "Karim Kenji Lars Laura Leila Lena Leo Lina Lucas Luis Maja Marco Maria Marie Mateo Mei Mia Milan "
    "Mohammed Nadia Nina Noah Nora Olga Oliver Omar Oscar Paul Pedro Petra Priya Rafael Renée Robert Rosa "
    "Ruth Sam Sara Sofía Sven Tariq Tom Uma Vera Victor Wei Yara Yusuf Zoë"
).split()
FAMILY = (
    "Adams Ali Andersson Baker Becker Bianchi Brown Carter Chen Costa Diaz Dubois Evans Fischer Ferrari "
    "Garcia Gomez Gupta Haddad Hansen Hopper Ito Ivanova Jansen Johnson Kaya Kim Klein Kowalski Kumar "
    "Larsen Lee Lopez Lovelace Martin Meyer Müller Nguyen Novak Okafor Olsen Ortega Park Patel Petrov "
    "Quinn Reed Rossi Ruiz Santos Sato Schmidt Silva Singh Smith Suzuki Tanaka Taylor Turing Vargas Wagner "
    "Walker Weber White Wilson Wong Yamada Young Zhang"
).split()
CITIES = (
    "Athens Austin Berlin Bern Boston Bristol Cairo Chicago Cologne Dakar Delhi Denver Dublin Geneva "
    "Hanoi Helsinki Istanbul Kyoto Lagos Lima Lisbon London Lyon Madrid Málaga Manila Milan Montréal "
    "Munich Nairobi Naples Oslo Ottawa Paris Porto Prague Quito Riga Rome Seoul Seville Sofia Stockholm "
    "Sydney Tallinn Tokyo Toronto Tunis Turin Vienna Vilnius Warsaw Zagreb Zürich"
).split()
ONSETS = "b br c ch d dr f g gr h j k kl l m n p pr qu r s sh st t th tr v w y z".split()
VOWELS = "a e i o u a e i o ai ea ou ö é".split()
CODAS = ("", "", "n", "r", "l", "s", "m", "ck", "nd", "rt", "x")
LETTERS = string.ascii_lowercase * 4 + "äöüßåøæœéèêëáàâãíîïóòôõúùûñçčćšśžźżłńęąğışőűřťď"
JOBS = "baker nurse teacher pilot lawyer farmer painter chemist driver engineer writer chef judge".split()
GOODS = "lamp chair table mug notebook pen kettle bag clock shelf phone bottle carpet mirror cable".split()
COLORS = "red blue green black white grey yellow brown pink".split()
TOPICS = "login billing search export mobile email backup network printer payment".split()
EVENTS = "workshop concert meeting lecture picnic seminar reading market festival course".split()
STREETS = "Street Road Lane Avenue Square".split()
MONTHS = ("January February March April May June July August September October November December").split()


class Words:
    """Draws words and numbers, all from the training split or all from the held-out split.

    A ``spelled_share`` of the coined words are letters at random, so that tokens are copied that no
    list and no syllable holds.
    """

    def __init__(self, rng: random.Random, *, held_out: bool = False, spelled_share: float = 0.0) -> None:
        self.rng = rng
        self.held_out = held_out
        self.spelled_share = spelled_share

    def fresh(self, draw: Callable[[], str]) -> str:
        """A word of this split."""
        while is_held_out(word := draw()) != self.held_out:
            pass
        return word

    def pick(self, options: tuple[str, ...] | list[str]) -> str:
        return self.rng.choice(options)

    def coined(self) -> str:
        """A word that no list holds."""
        rng = self.rng
        if self.spelled_share and rng.random() < self.spelled_share:
            return "".join(rng.choices(LETTERS, k=rng.randint(2, 8))).capitalize()
        syllables = (rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(rng.choice((1, 2, 2))))
        return "".join(syllables).capitalize()

    def known_or_coined(self, known: list[str]) -> str:
        return self.fresh(lambda: self.coined() if self.rng.random() < 0.6 else self.rng.choice(known))

    def name(self) -> str:
        middle = f"{self.known_or_coined(GIVEN)} " if self.rng.random() < 0.08 else ""
        return f"{self.known_or_coined(GIVEN)} {middle}{self.known_or_coined(FAMILY)}"

    def place(self) -> str:
        prefix = self.pick(["New ", "San ", "Port "]) if self.rng.random() < 0.08 else ""
        return prefix + self.known_or_coined(CITIES)

    def number(self, low: int, high: int) -> int:
        return int(self.fresh(lambda: str(self.rng.randint(low, high))))

    def several(self, draw: Callable[[], str], most: int = 3) -> list[str]:
        """One to ``most`` different words."""
        return list(dict.fromkeys(draw() for _ in range(self.rng.randint(1, most))))


def enumerate_in_words(items: list[str]) -> str:
    """``a, b and c``"""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


# --- how values are drawn ------------------------------------------------------------------------


def same(draw: Callable[[Words], Any]) -> Callable[[Words], Spoken]:
    """A value that the sentence says as it is."""

    def spoken(words: Words) -> Spoken:
        value = draw(words)
        return Spoken(value, str(value))

    return spoken


def one_of(*options: str) -> Callable[[Words], Spoken]:
    return same(lambda words: words.pick(options))


def flag(yes: tuple[str, ...], no: tuple[str, ...]) -> Callable[[Words], Spoken]:
    """A boolean, said by one of the phrases."""

    def spoken(words: Words) -> Spoken:
        value = words.rng.random() < 0.5
        return Spoken(value, words.pick(yes if value else no))

    return spoken


def listing(draw: Callable[[Words], str]) -> Callable[[Words], Spoken]:
    def spoken(words: Words) -> Spoken:
        items = words.several(lambda: draw(words))
        return Spoken(items, enumerate_in_words(items))

    return spoken


def date(words: Words) -> Spoken:
    day, month, year = words.rng.randint(1, 28), words.rng.randint(1, 12), words.number(1990, 2049)
    forms = (f"{day} {MONTHS[month - 1]} {year}", f"{MONTHS[month - 1]} {day}, {year}", f"{year}-{month:02}-{day:02}")
    return Spoken(f"{year}-{month:02}-{day:02}", words.pick(forms))


def time(words: Words) -> Spoken:
    value = f"{words.rng.randint(0, 23):02}:{words.rng.choice((0, 15, 30, 45)):02}"
    return Spoken(value, value)


def price(words: Words) -> Spoken:
    value = words.number(1, 999) + words.rng.choice((0.25, 0.5, 0.75, 0.95, 0.99, 0.1))
    return Spoken(value, f"{value:.2f}")


def email(words: Words) -> Spoken:
    def local() -> str:
        return words.known_or_coined(GIVEN).lower()

    value = f"{local()}@{local()}.{words.pick(['com', 'org', 'net', 'eu'])}"
    return Spoken(value, value)


def address(words: Words) -> Spoken:
    street = f"{words.number(1, 199)} {words.known_or_coined(FAMILY)} {words.pick(STREETS)}"
    city = words.place()
    return Spoken({"street": street, "city": city}, f"{street}, {city}")


def order_lines(words: Words) -> Spoken:
    goods = words.several(lambda: words.pick(GOODS))
    lines = [{"product": item, "quantity": words.number(1, 99)} for item in goods]
    return Spoken(lines, enumerate_in_words([f"{line['quantity']} {line['product']}" for line in lines]))


STRING: dict[str, Any] = {"type": "string"}
INTEGER: dict[str, Any] = {"type": "integer"}
NUMBER: dict[str, Any] = {"type": "number"}
BOOLEAN: dict[str, Any] = {"type": "boolean"}


def closed_object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def array_of(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


def enum_of(*options: str) -> dict[str, Any]:
    return {"enum": list(options)}


PRIORITIES = ("low", "medium", "high", "urgent")
STATUSES = ("pending", "shipped", "delivered", "cancelled")
CURRENCIES = ("EUR", "USD", "GBP")
CLASSES = ("economy", "business", "first")

NAME = Field(("name", "full_name"), STRING, same(Words.name))
CITY = Field(("city", "town", "place"), STRING, same(Words.place))
DATE = Field(("date", "day"), {"type": "string", "format": "date"}, date)
ADDRESS = Field(("address",), closed_object({"street": STRING, "city": STRING}), address)

KINDS: dict[str, Kind] = {
    "person": Kind(
        fields={
            "name": NAME,
            "age": Field(("age",), INTEGER, same(lambda w: w.number(1, 99))),
            "city": CITY,
            "job": Field(("job", "occupation"), STRING, one_of(*JOBS)),
            "email": Field(("email",), STRING, email),
            "married": Field(("married",), BOOLEAN, flag(("married",), ("single", "not married"))),
            "address": ADDRESS,
        },
        templates=(
            "{name}, {age}, lives in {city}[ and works as a {job}][. Email: {email}].",
            "{name} is {age} years old[, {married},] and comes from {city}.",
            "{name} is a {job} from {city}[, aged {age}][, {married}][, reachable at {email}].",
            "Meet {name}[ ({age})], a {job} who lives at {address}.",
            "{name}[, {married}] and {age}, has moved to {address}[; write to {email}].",
        ),
        groups=("person", "contact"),
    ),
    "order": Kind(
        fields={
            "id": Field(("order_id", "id"), INTEGER, same(lambda w: w.number(100, 99999))),
            "customer": Field(("customer", "buyer"), STRING, same(Words.name)),
            "items": Field(
                ("items", "lines"), array_of(closed_object({"product": STRING, "quantity": INTEGER})), order_lines
            ),
            "total": Field(("total", "amount"), NUMBER, price),
            "paid": Field(("paid",), BOOLEAN, flag(("paid", "already paid"), ("unpaid", "not paid yet"))),
            "status": Field(("status",), enum_of(*STATUSES), one_of(*STATUSES)),
            "date": DATE,
            "address": ADDRESS,
        },
        templates=(
            "Order {id} from {customer}: {items}[, {total} in total][, {paid}][, {status}].",
            "{customer} ordered {items}[ on {date}][ for {total}][ ({paid})]. Order number {id}[, {status}].",
            "Order {id} is {status}[ and {paid}][; {items}][ go to {address}].",
            "On {date} {customer} bought {items}[, {paid}][. Ship to {address}].",
        ),
        groups=("order", "purchase"),
    ),
    "event": Kind(
        fields={
            "title": Field(("title", "event"), STRING, same(lambda w: f"{w.known_or_coined(FAMILY)} {w.pick(EVENTS)}")),
            "date": DATE,
            "time": Field(("time", "start"), STRING, time),
            "city": Field(("city", "location", "place"), STRING, same(Words.place)),
            "seats": Field(("seats", "capacity"), INTEGER, same(lambda w: w.number(2, 900))),
            "speakers": Field(("speakers", "guests"), array_of(STRING), listing(Words.name)),
            "free": Field(("free",), BOOLEAN, flag(("free entry", "admission is free"), ("tickets required",))),
        },
        templates=(
            "The {title} takes place in {city} on {date}[ at {time}][, with {speakers}][; {free}].",
            "Join the {title} on {date}[ in {city}][ with {speakers}][. It starts at {time}][, {seats} seats].",
            "{speakers} will be at the {title} in {city}[ on {date}][ at {time}][ ({free})].",
        ),
        groups=("event", "meeting"),
    ),
    "product": Kind(
        fields={
            "name": Field(
                ("product", "name", "item"), STRING, same(lambda w: f"{w.known_or_coined(CITIES)} {w.pick(GOODS)}")
            ),
            "price": Field(("price", "cost"), NUMBER, price),
            "currency": Field(("currency",), enum_of(*CURRENCIES), one_of(*CURRENCIES)),
            "in_stock": Field(
                ("in_stock", "available"), BOOLEAN, flag(("in stock", "available now"), ("sold out", "out of stock"))
            ),
            "colors": Field(("colors", "colours"), array_of(STRING), listing(lambda w: w.pick(COLORS))),
            "weight": Field(("weight", "grams"), INTEGER, same(lambda w: w.number(5, 5000))),
        },
        templates=(
            "The {name} costs {price} {currency}[, comes in {colors}][ and is {in_stock}].",
            "{name}: {price} {currency}, {in_stock}[, {weight} grams][. Colors: {colors}].",
            "For sale: the {name} in {colors}[, {weight} g][, {price} {currency}][, {in_stock}].",
        ),
        groups=("product", "offer"),
    ),
    "trip": Kind(
        fields={
            "passenger": Field(("passenger", "traveller", "name"), STRING, same(Words.name)),
            "origin": Field(("from", "origin"), STRING, same(Words.place)),
            "destination": Field(("to", "destination"), STRING, same(Words.place)),
            "date": DATE,
            "seats": Field(("seats",), INTEGER, same(lambda w: w.number(1, 60))),
            "class": Field(("class", "cabin"), enum_of(*CLASSES), one_of(*CLASSES)),
            "refundable": Field(("refundable",), BOOLEAN, flag(("refundable",), ("not refundable", "no refund"))),
        },
        templates=(
            "{passenger} flies from {origin} to {destination}[ on {date}][ in {class} class][, {refundable}].",
            "Book {seats} seats from {origin} to {destination} for {passenger}[, {date}][, {class}][, {refundable}].",
            "On {date} {passenger} travels to {destination}[ from {origin}][, {class} class].",
        ),
        groups=("trip", "booking"),
    ),
    "ticket": Kind(
        fields={
            "number": Field(("ticket", "number", "id"), INTEGER, same(lambda w: w.number(1, 9999))),
            "reporter": Field(("reporter", "author", "name"), STRING, same(Words.name)),
            "priority": Field(("priority",), enum_of(*PRIORITIES), one_of(*PRIORITIES)),
            "tags": Field(("tags", "labels"), array_of(STRING), listing(lambda w: w.pick(TOPICS))),
            "resolved": Field(
                ("resolved", "closed"), BOOLEAN, flag(("resolved", "fixed"), ("still open", "not fixed"))
            ),
            "email": Field(("email",), STRING, email),
        },
        templates=(
            "Ticket {number} by {reporter}: {tags}[, {priority} priority][, {resolved}][. Reply to {email}].",
            "{reporter}[ <{email}>] reports problems with {tags}[ ({priority})][; ticket {number}][, {resolved}].",
            "{priority} priority: ticket {number} about {tags}[ from {reporter}] is {resolved}.",
        ),
        groups=("ticket", "report"),
    ),
}

# --- sentences and what is asked of them ---------------------------------------------------------


def examples(seed: int, *, held_out: bool = False, spelled_share: float = 0.0) -> Iterator[Example]:
    """An endless stream of examples of one split; the same seed gives the same stream."""
    rng = random.Random(f"{seed}/{held_out}")
    words = Words(rng, held_out=held_out, spelled_share=spelled_share)
    while True:
        yield example(words, rng.choice(list(KINDS)))


def copying_examples(seed: int, *, is_varied: bool) -> Iterator[Example]:
    """The easiest sentences, all of whose words are to be copied: what training begins with.

    Varied, they come in two forms and ask for their facts in any order.
    """
    words = Words(random.Random(f"copying/{seed}"))
    templates = ("{name}, {id}, lives in {city}.", "In {city} lives {name}, number {id}.")
    while True:
        facts = {"city": words.place(), "id": words.number(1, 99999), "name": words.name()}
        keys = words.rng.sample(list(facts), 3) if is_varied else list(facts)
        template = words.pick(templates) if is_varied else templates[0]
        schema = closed_object({key: INTEGER if key == "id" else STRING for key in keys})
        yield Example(template.format(**facts), schema, {key: facts[key] for key in keys})


def example(words: Words, kind_name: str) -> Example:
    """One sentence of the kind and a request for some of its facts."""
    kind, rng = KINDS[kind_name], words.rng
    template = re.sub(r"\[(.*?)\]", lambda clause: clause[1] if rng.random() < 0.6 else "", words.pick(kind.templates))
    stated = re.findall(r"\{(\w+)\}", template)
    facts = {key: kind.fields[key].draw(words) for key in stated}
    text = template.format(**{key: fact.words for key, fact in facts.items()})
    schema, value = request(words, kind, {key: fact.value for key, fact in facts.items()})
    return Example(text[0].upper() + text[1:], schema, value)


def request(words: Words, kind: Kind, facts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A schema over some stated and perhaps some unstated facts, and its answer."""
    rng = words.rng
    stated = rng.sample(list(facts), max(rng.randint(1, len(facts)) for _ in range(2)))
    unstated = [key for key in kind.fields if key not in facts and rng.random() < 0.25]
    wanted = stated + unstated
    rng.shuffle(wanted)
    if rng.random() < 0.6:
        wanted.sort(key=list(kind.fields).index)
    entries = [asked(words, kind.fields[key], facts.get(key)) for key in wanted]
    entries = list({entry.key: entry for entry in entries}.values())
    if len(entries) > 1 and rng.random() < 0.25:
        entries = grouped(words, kind, entries)
    schema = closed_object({e.key: e.schema for e in entries}, [e.key for e in entries if e.is_required])
    return schema, {e.key: e.value for e in entries if e.is_present}


@dataclass(frozen=True)
class Entry:
    """A member of the wanted object."""

    key: str
    schema: dict[str, Any]
    value: Any
    is_required: bool
    is_present: bool


def asked(words: Words, field: Field, value: Any | None) -> Entry:
    """How the schema asks for a fact: required, optional, or required but nullable."""
    key, rng = words.pick(field.names), words.rng
    nullable = {"anyOf": [field.schema, {"type": "null"}]}
    if value is None and rng.random() < 0.3:
        return Entry(key, nullable, None, is_required=True, is_present=True)
    if value is None:
        return Entry(key, field.schema, None, is_required=False, is_present=False)
    is_optional = rng.random() < 0.2
    schema = nullable if rng.random() < 0.1 else field.schema
    return Entry(key, schema, value, is_required=not is_optional, is_present=True)


def grouped(words: Words, kind: Kind, entries: list[Entry]) -> list[Entry]:
    """The same entries with a run of them moved into an object of their own."""
    rng = words.rng
    start = rng.randrange(len(entries))
    stop = rng.randint(start + 1, len(entries))
    inner = entries[start:stop]
    schema = closed_object({e.key: e.schema for e in inner}, [e.key for e in inner if e.is_required])
    value = {e.key: e.value for e in inner if e.is_present}
    outer_keys = {e.key for e in entries[:start] + entries[stop:]}
    names = [name for name in kind.groups if name not in outer_keys] or ["details"]
    group = Entry(words.pick(names), schema, value, is_required=True, is_present=True)
    return [*entries[:start], group, *entries[stop:]]
