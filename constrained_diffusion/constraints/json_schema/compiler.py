"""From schemas to expressions.

A conjunction of schemas is first turned into alternatives, each a conjunction of simple facts
(``$ref`` and ``allOf`` are read on the spot, ``anyOf`` is distributed), so that what several
schemas say about one object or array is merged, not intersected as text. Then every alternative
is written type by type.
"""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any, Final, Literal, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import ByteDFA
from constrained_diffusion.constraints.json_schema import ranges
from constrained_diffusion.constraints.json_schema.document import Document, Node, escaped, pattern_content
from constrained_diffusion.constraints.json_schema.encoding import StringOf
from constrained_diffusion.constraints.json_schema.facts import Facts, identity, type_of
from constrained_diffusion.constraints.json_schema.keywords import TABLE
from constrained_diffusion.constraints.json_schema.layout import (
    EMPTY_ARRAY,
    EMPTY_OBJECT,
    LAYOUTS,
    Items,
    Members,
    Whitespace,
    any_value,
)
from constrained_diffusion.constraints.json_schema.spelling import OtherName, number_spellings, spelled
from constrained_diffusion.errors import InvalidConstraint
from constrained_diffusion.limits import Limits

AdditionalProperties = Literal["spec", "forbid"]

MAX_ALTERNATIVES: Final = 256
"""How many combinations of the branches of ``anyOf`` one schema may have."""
MAX_LEVELS: Final = 64
"""How deep the values that a schema describes may nest."""


@final
@dataclass(frozen=True)
class Style:
    """How values are written, and how far what has no end is followed (see ``json_schema``)."""

    whitespace: Whitespace
    any_depth: int
    max_count: int
    additional_properties: AdditionalProperties
    float_forms: bool


@final
class Shared(ex.Expression):
    """An expression that stands in several places; its automaton is made once."""

    def __init__(self, body: ex.Expression) -> None:
        self.body = body
        self._compiled: dict[Limits, ByteDFA] = {}

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        if nfa.limits not in self._compiled:
            self._compiled[nfa.limits] = ex.compile_expression(self.body, nfa.limits)
        nfa.add_dfa(self._compiled[nfa.limits], enter, leave)


@final
class Compiler:
    """Compiles the parts of one document.

    Attributes:
        bounds: where less is accepted than the schema allows, in order, each once.
    """

    def __init__(self, document: Document, style: Style) -> None:
        self.document = document
        self.style = style
        self.layout = LAYOUTS[style.whitespace]
        self.bounds: dict[str, None] = {}
        self._known: dict[tuple[str, ...], ex.Expression] = {}
        self._open: list[tuple[str, ...]] = []
        self._references: list[tuple[str, ...]] = []

    def root(self) -> ex.Expression:
        return self.value((self.document.root_node,), "")

    def value(self, nodes: tuple[Node, ...], place: str) -> ex.Expression:
        """The values that satisfy all the schemas.

        Args:
            place: where in the instance they stand, as a JSON pointer; a star is any item or any other name.
        """
        if any(node.schema is False for node in nodes):
            return ex.NOTHING
        nodes = tuple(node for node in nodes if node.schema is not True and node.schema != {})
        if not nodes:
            return self._any(place)
        key = tuple(node.pointer for node in nodes)
        if key in self._known:
            return self._known[key]
        if key in self._open:
            return self._recursive(key, place)
        if len(self._open) >= MAX_LEVELS:
            raise InvalidConstraint(f"the schema describes values that nest more than {MAX_LEVELS} deep", path=key[0])
        self._open.append(key)
        expression = _any_of([self._alternative(facts, place) for facts in self.alternatives(nodes)])
        self._open.pop()
        self._known[key] = ex.NOTHING if expression is ex.NOTHING else Shared(expression)
        return expression

    # --- from schemas to facts

    def alternatives(self, nodes: tuple[Node, ...]) -> list[Facts]:
        """Facts of which at least one holds exactly for the values that satisfy all the schemas."""
        done: list[Facts] = []
        open_: list[Facts] = [Facts(pending=nodes)]
        while open_:
            facts = open_.pop()
            self._read_pending(facts)
            if facts.is_impossible:
                continue
            if facts.choices:
                open_.extend(reversed([*_decided(facts)]))
            else:
                done.append(facts)
            if len(done) + len(open_) > MAX_ALTERNATIVES:
                reason = f"its branches combine to more than {MAX_ALTERNATIVES} alternatives"
                self.document.refuse("anyOf", nodes[0].pointer, reason)
                return [Facts()]
        for facts in done:
            self._settle(facts)
        return [facts for facts in done if not facts.is_impossible]

    def _read_pending(self, facts: Facts) -> None:
        while facts.pending:
            node, *rest = facts.pending
            facts.pending = tuple(rest)
            if node.schema is False:
                facts.types = frozenset()
            elif isinstance(node.schema, dict) and node.pointer not in facts.seen:
                facts.seen |= {node.pointer}
                self._read(facts, node, node.schema)

    def _read(self, facts: Facts, node: Node, schema: dict[str, Any]) -> None:
        later, facts.pending = facts.pending, ()
        for keyword, value in schema.items():
            function = TABLE.get(keyword)
            if function is None:
                self.document.warn(f"unknown keyword {keyword!r} has no effect (at {node.at(keyword)})")
            else:
                function(facts, value, node, self.document)
        facts.pending += later

    def _settle(self, facts: Facts) -> None:
        """Removes the types that cannot be, decides listed values, and refuses what is left to refuse."""
        if facts.constants is not None:
            facts.types &= {name for constant in facts.constants for name in self._types_of(constant)}
        relevant = tuple(refusal for refusal in facts.refused if refusal.types & facts.types)
        facts.refused = ()
        for refusal in relevant:
            self.document.refuse(refusal.keyword, refusal.path, refusal.reason)
        if facts.constants is not None:
            facts.constants = tuple(constant for constant in facts.constants if self._fits(constant, facts))

    def _types_of(self, constant: Any) -> set[str]:
        """The types that the spellings of a value may have; ``1.0`` need not be an integer."""
        kind = type_of(constant)
        return {"integer", "fraction"} if kind == "integer" and not self.style.float_forms else {kind}

    def _fits(self, constant: Any, facts: Facts) -> bool:
        """Whether one listed value satisfies all other facts."""
        kind = type_of(constant)
        if not self._types_of(constant) & facts.types:
            return False
        if kind in ("integer", "fraction"):
            return ranges.contains(facts.lower, facts.upper, ranges.exact(constant))
        if kind == "string":
            return _string_fits(constant, facts)
        if kind == "array":
            return self._array_fits(constant, facts)
        return kind != "object" or self._object_fits(constant, facts)

    def _array_fits(self, constant: list[Any], facts: Facts) -> bool:
        counted = facts.least_items <= len(constant) <= _or_inf(facts.most_items)
        return counted and all(self._satisfies(_item(facts, i), item) for i, item in enumerate(constant))

    def _object_fits(self, constant: dict[str, Any], facts: Facts) -> bool:
        is_complete = all(name in constant for name in facts.required)
        return is_complete and all(
            not (self._is_closed(facts) and _is_additional(facts, name)) and self._satisfies(_member(facts, name), item)
            for name, item in constant.items()
        )

    def _satisfies(self, nodes: tuple[Node, ...], value: Any) -> bool:
        return not nodes or any(
            facts.constants is None or _is_listed(value, facts)
            for facts in self.alternatives(nodes)
            if self._fits(value, facts)
        )

    # --- from facts to expressions

    def _alternative(self, facts: Facts, place: str) -> ex.Expression:
        if facts.is_free:
            return self._any(place)
        if facts.constants is not None:
            return _any_of([self._constant(constant, facts) for constant in facts.constants])
        self._references.append(facts.references)
        parts = [*self._by_type(facts, place)]
        self._references.pop()
        return _any_of(parts)

    def _constant(self, constant: Any, facts: Facts) -> ex.Expression:
        if type_of(constant) in ("integer", "fraction"):
            return self._listed_number(constant, facts)
        return self.layout.constant(constant, float_forms=self.style.float_forms)

    def _listed_number(self, constant: int | float, facts: Facts) -> ex.Expression:
        int_form = "integer" in facts.types
        float_form = "fraction" in facts.types or (int_form and self.style.float_forms)
        texts = number_spellings(constant, int_form=int_form, float_form=float_form)
        return ex.literals(text.encode() for text in texts)

    def _by_type(self, facts: Facts, place: str) -> Iterator[ex.Expression]:
        if "null" in facts.types:
            yield ex.literal(b"null")
        if "boolean" in facts.types:
            yield ex.literals([b"true", b"false"])
        if "fraction" in facts.types:
            yield ranges.number(facts.lower, facts.upper)
        elif "integer" in facts.types:
            yield ranges.integer(facts.lower, facts.upper, float_forms=self.style.float_forms)
        if "string" in facts.types:
            yield self._string(facts, place)
        if "array" in facts.types:
            yield self._array(facts, place)
        if "object" in facts.types:
            yield self._object(facts, place)

    def _any(self, place: str) -> ex.Expression:
        depth = self.style.any_depth
        self.bounds[f"any JSON at {place or 'the root'}: nested at most {depth} deep"] = None
        return any_value(depth, self.style.whitespace)

    def _recursive(self, key: tuple[str, ...], place: str) -> ex.Expression:
        followed = [references for references in self._references if references]
        path = followed[-1][-1] if followed else key[0]
        self.document.refuse("$ref", path, "it is recursive, and only a finite nesting can be written out")
        return self._any(place)

    def _capped(self, least: int, most: int | None, what: str, place: str) -> int | None:
        """The upper end to which is counted: exactly, but not beyond what a text can be expected to hold."""
        cap = max(least, self.style.max_count)
        if most is None or most <= cap:
            return most
        self.bounds[f"{what} at {place or 'the root'}: at most {cap} instead of {most}"] = None
        return cap

    def _string(self, facts: Facts, place: str) -> ex.Expression:
        least, most = facts.least_length, self._capped(facts.least_length, facts.most_length, "characters", place)
        if most is not None and most < least:
            return ex.NOTHING
        return StringOf(facts.patterns, least, most)

    def _array(self, facts: Facts, place: str) -> ex.Expression:
        most = self._capped(facts.least_items, facts.most_items, "items", place)
        longest = max((len(layer.prefix) for layer in facts.arrays), default=0)
        first: list[ex.Expression] = []
        for i in range(longest if most is None else min(longest, most)):
            item = self.value(_item(facts, i), f"{place}/{i}")
            if item is ex.NOTHING:
                most = i
                break
            first.append(item)
        rest = ex.NOTHING if most is not None and most <= len(first) else self.value(_item(facts, None), f"{place}/*")
        if rest is ex.NOTHING:
            most = len(first)
        return self._items(facts.least_items, most, tuple(first), rest)

    def _items(
        self, least: int, most: int | None, first: tuple[ex.Expression, ...], rest: ex.Expression
    ) -> ex.Expression:
        options = [EMPTY_ARRAY] if least == 0 else []
        if most is None or most >= max(least, 1):
            options.append(self.layout.array(Items(first, rest, least, most, self.layout.comma)))
        return _any_of(options)

    def _object(self, facts: Facts, place: str) -> ex.Expression:
        declared = dict.fromkeys(name for layer in facts.objects for name in layer.properties)
        names = [*declared, *(name for name in facts.required if name not in declared)]
        members = []
        for name in names:
            value = self.value(_member(facts, name), f"{place}/{escaped(name)}")
            if value is not ex.NOTHING:
                members.append((self.layout.member(spelled(name), value), name in facts.required))
            elif name in facts.required:
                return ex.NOTHING
        options = [] if facts.required else [EMPTY_OBJECT]
        extra = self._extra(facts, frozenset(names), place)
        if members or extra is not None:
            options.append(self.layout.object(Members(tuple(members), extra, self.layout.comma)))
        return _any_of(options)

    def _extra(self, facts: Facts, names: frozenset[str], place: str) -> ex.Expression | None:
        """A member of any other name; None if there can be none."""
        if self._is_closed(facts):
            return None
        value = self.value(_member(facts, None), f"{place}/*")
        return None if value is ex.NOTHING else self.layout.member(OtherName(names), value)

    def _is_closed(self, facts: Facts) -> bool:
        """Whether no further members may follow although the schema does not say so."""
        is_silent = all(layer.rest is None for layer in facts.objects)
        return self.style.additional_properties == "forbid" and bool(facts.objects) and is_silent


def _any_of(options: list[ex.Expression]) -> ex.Expression:
    possible = [option for option in options if option is not ex.NOTHING]
    return ex.union(*possible) if possible else ex.NOTHING


def _decided(facts: Facts) -> Iterator[Facts]:
    """The facts, once for each branch of their first choice."""
    first, *others = facts.choices
    for branch in first:
        decided = copy(facts)
        decided.choices = tuple(others)
        decided.pending = (branch,)
        yield decided


def _item(facts: Facts, index: int | None) -> tuple[Node, ...]:
    """The schemas of one item; None stands for those behind all prefixes."""
    nodes = []
    for layer in facts.arrays:
        in_prefix = index is not None and index < len(layer.prefix)
        node = layer.prefix[index] if in_prefix and index is not None else layer.rest
        if node is not None:
            nodes.append(node)
    return tuple(nodes)


def _member(facts: Facts, name: str | None) -> tuple[Node, ...]:
    """The schemas of one member; None stands for every name that is not declared."""
    found = (layer.rest if name is None else layer.properties.get(name, layer.rest) for layer in facts.objects)
    return tuple(node for node in found if node is not None)


def _is_additional(facts: Facts, name: str) -> bool:
    return name not in facts.required and not any(name in layer.properties for layer in facts.objects)


def _is_listed(value: Any, facts: Facts) -> bool:
    return identity(value) in {identity(constant) for constant in facts.constants or ()}


def _or_inf(value: int | None) -> float:
    return float("inf") if value is None else value


def _string_fits(text: str, facts: Facts) -> bool:
    if not facts.least_length <= len(text) <= _or_inf(facts.most_length):
        return False
    try:
        content = text.encode()
    except UnicodeEncodeError:
        return False
    return all(ex.compile_expression(pattern_content(p), Limits()).matches(content) for p in facts.patterns)
