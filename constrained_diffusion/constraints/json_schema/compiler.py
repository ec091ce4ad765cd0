"""From facts to expressions: every alternative is written type by type."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, final
from weakref import WeakKeyDictionary

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import ByteDFA
from constrained_diffusion.constraints.json_schema import ranges
from constrained_diffusion.constraints.json_schema.arrays import Items
from constrained_diffusion.constraints.json_schema.document import Document, Node, escaped
from constrained_diffusion.constraints.json_schema.encoding import StringOf
from constrained_diffusion.constraints.json_schema.facts import Claim, Facts, distinct, key_of, type_of
from constrained_diffusion.constraints.json_schema.layout import (
    EMPTY_ARRAY,
    EMPTY_OBJECT,
    LAYOUTS,
    Escapes,
    Whitespace,
    any_definition,
    any_value,
    with_escapes,
)
from constrained_diffusion.constraints.json_schema.multiples import PLAIN, exactly, multiples_of
from constrained_diffusion.constraints.json_schema.objects import Freedom, Members, PropertyOrder, freedoms
from constrained_diffusion.constraints.json_schema.reading import Exhausted, Reader
from constrained_diffusion.constraints.json_schema.sequences import Sequence
from constrained_diffusion.constraints.json_schema.sizes import Sizes
from constrained_diffusion.constraints.json_schema.spelling import number_spellings
from constrained_diffusion.constraints.json_schema.unique import MAX_GROUPS, Division, Unlisted, division_of
from constrained_diffusion.errors import InvalidConstraint, LimitExceeded
from constrained_diffusion.limits import Limits

AdditionalProperties = Literal["spec", "forbid"]

_WORTH_MINIMISING: Final = 1000
"""States up to which a part is minimised before it is put into the whole."""
_MOST_STRING_STATES: Final = 10_000
"""The length of a string is counted less far where its other conditions make it take more states than this."""
_MOST_FREE: Final = 2
"""Up to so many required names without a declared place may stand anywhere between the declared ones."""
_FREE_SIZE: Final = 2000
"""How large one object may be for that."""
_MOST_FLEXIBLE_PLACES: Final = 256
"""The sets of members that an object may keep apart for the sake of a flexible order."""
_WORTH_A_CALL: Final = 100
"""Values larger than this are called where they may be, and not written out in every place where they stand."""
_FLEXIBLE_SIZE: Final = 16_384
"""How large one object may become for the sake of a flexible order, before it is known how large the whole is."""
_STEPS: Final = 5
"""What one value costs to compile, in units of one alternative of a schema."""
MAX_LEVELS: Final = 64
"""How deep the values that a schema describes may nest."""


@final
@dataclass(frozen=True)
class Style:
    """How values are written, and how far what has no end is followed (see ``json_schema``).

    Attributes:
        any_depth: how deep any JSON nests, and how often a value stands inside one of the same schema; None is to any
            depth.
        unique_groups: how many groups the items of an array are divided into that must differ and are not listed.
        flexible_size: how large one object may become for the sake of a flexible order.
        calls_values: whether values that are large become calls in a pushdown automaton.
    """

    whitespace: Whitespace
    escapes: Escapes
    property_order: PropertyOrder
    any_depth: int | None
    max_count: int
    additional_properties: AdditionalProperties
    float_forms: bool
    unique_groups: int = MAX_GROUPS
    flexible_size: int = _FLEXIBLE_SIZE
    calls_values: bool = False


@final
class Shared(ex.Expression):
    """An expression that may stand in several places: from the second in a whole on, as an automaton made once.

    One with calls is made once for each constraint that it is a part of, which numbers them.
    """

    def __init__(self, body: ex.Expression) -> None:
        self.body = body
        self._whole: ex.Meter | None = None
        self._compiled: dict[Limits, ByteDFA] = {}
        self._compiled_with_calls: WeakKeyDictionary[ex.Meter, ByteDFA] = WeakKeyDictionary()

    @property
    def inner(self) -> tuple[ex.Expression, ...]:
        return (self.body,)

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        if self._whole is not nfa.meter:
            self._whole = nfa.meter
            self.body.add_to(nfa, enter, leave)
            return
        dfa = self._compiled.get(nfa.limits) or self._compiled_with_calls.get(nfa.meter)
        if dfa is None:
            dfa = ex.compile_expression(self.body, nfa.limits, minimized_up_to=_WORTH_MINIMISING, meter=nfa.meter)
            if dfa.has_calls:
                self._compiled_with_calls[nfa.meter] = dfa
            else:
                self._compiled[nfa.limits] = dfa
        nfa.add_dfa(dfa, enter, leave)


@final
class Compiler:
    """Compiles the parts of one document.

    Attributes:
        bounds: where less is accepted than the schema allows, in order, each once.
        has_unlisted_arrays: whether there are arrays whose items must differ and are not listed.
        has_fixed_orders: whether some order of members is less flexible than it might be.
    """

    def __init__(self, document: Document, style: Style, limits: Limits) -> None:
        self.document = document
        self.style = style
        self.limits = limits
        self.layout = LAYOUTS[style.whitespace]
        self.bounds: dict[str, None] = {}
        self.sizes = Sizes(limits)
        self.has_unlisted_arrays = False
        self.has_fixed_orders = False
        self._reader = Reader(document, limits.max_schema_work)
        self._known: dict[Any, ex.Expression] = {}
        self._definitions: dict[Any, ex.Definition] = {}
        self._open: list[Any] = []
        self._outermost_used = MAX_LEVELS

    def root(self) -> ex.Expression:
        expression = self.value((self.document.root_node,), "")
        return with_escapes(
            self.style.escapes, expression.definition.body if isinstance(expression, ex.Call) else expression
        )

    def value(self, claims: tuple[Claim, ...], place: str) -> ex.Expression:
        """The values that satisfy all the claims.

        Args:
            place: where in the instance they stand, as a JSON pointer; a star is any item or any other name.
        """
        if any(isinstance(claim, Node) and claim.schema is claim.is_negated for claim in claims):
            return ex.NOTHING
        claims = distinct(self._reader.target(claim) for claim in claims if not _says_nothing(claim))
        if not claims:
            return self._any(place)
        key = key_of(claims)
        if key in self._known:
            return self._known[key]
        if self.style.any_depth is None:
            if key in self._open:
                return ex.Call(self._definitions.setdefault(key, ex.Definition(place or "the whole value")))
        elif self._open.count(key) > self.style.any_depth:
            return self._cut(key, place)
        if len(self._open) >= MAX_LEVELS:
            if len(set(self._open)) < len(self._open):
                raise Exhausted
            path = self.document.root_node.pointer
            raise InvalidConstraint(f"the schema describes values that nest more than {MAX_LEVELS} deep", path=path)
        return self._entered(key, claims, place)

    def _entered(self, key: Any, claims: tuple[Claim, ...], place: str) -> ex.Expression:
        """The values, remembered unless they depend on how deep inside themselves they stand."""
        self._reader.spend(_STEPS)
        level, outside = len(self._open), self._outermost_used
        self._outermost_used = MAX_LEVELS
        if key in self._open:
            self._outermost_used = self._open.index(key)
        self._open.append(key)
        expression = _any_of([self._alternative(facts, place) for facts in self._reader.alternatives(claims)])
        self._open.pop()
        shared: ex.Expression = ex.NOTHING if expression is ex.NOTHING else Shared(expression)
        if key in self._definitions and shared is not ex.NOTHING:
            self._definitions[key].body = with_escapes(self.style.escapes, shared)
            shared = ex.Call(self._definitions[key])
        elif self._open and self.style.calls_values and self.sizes(shared) > _WORTH_A_CALL:
            definition = ex.Definition(place)
            definition.body = with_escapes(self.style.escapes, shared)
            shared = ex.Call(definition)
        if self._outermost_used >= level:
            self._known[key] = shared
        self._outermost_used = min(outside, self._outermost_used)
        return shared

    def _cut(self, key: Any, place: str) -> ex.Expression:
        """Nothing, where a value would nest in itself once more than is followed."""
        self._outermost_used = min(self._outermost_used, self._open.index(key))
        shown = place if len(place) <= 60 else f"{place[:20]}...{place[-37:]}"
        self.bounds[f"recursion at {shown}: at most {self.style.any_depth} times inside itself"] = None
        return ex.NOTHING

    # --- from facts to expressions

    def _alternative(self, facts: Facts, place: str) -> ex.Expression:
        if facts.is_free:
            return self._any(place)
        if facts.constants is not None:
            for constant in facts.constants:
                if _has_no_utf8(constant):
                    what = f"the value {json.dumps(constant)[:60]} at {place or 'the root'}"
                    self.bounds[f"{what}: half a surrogate pair has no UTF-8"] = None
            return _any_of([self._constant(constant, facts) for constant in facts.constants])
        return _any_of([*self._by_type(facts, place)])

    def _constant(self, constant: Any, facts: Facts) -> ex.Expression:
        if type_of(constant) in ("integer", "fraction"):
            return self._listed_number(constant, facts)
        return self.layout.constant(
            constant,
            float_forms=self.style.float_forms,
            max_places=self.limits.max_places if self.style.property_order == "any" else None,
        )

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
        if "fraction" in facts.types or "integer" in facts.types:
            yield self._number(facts)
        if "string" in facts.types:
            yield self._string(facts, place)
        if "array" in facts.types:
            yield self._array(facts, place)
        if "object" in facts.types:
            yield self._object(facts, place)

    def _any(self, place: str) -> ex.Expression:
        depth = self.style.any_depth
        if depth is None:
            return ex.Call(any_definition(self.style.whitespace, self.style.escapes))
        self.bounds[f"any JSON at {place or 'the root'}: nested at most {depth} deep"] = None
        return any_value(depth, self.style.whitespace)

    def _cap(self, least: int, most: int | None) -> int | None:
        """The upper end to which is counted: exactly, but not beyond what a text can be expected to hold."""
        return None if most is None else min(most, max(least, self.style.max_count))

    def _note_cap(self, what: str, place: str, counted: int | None, most: int | None) -> None:
        if counted != most:
            self.bounds[f"{what} at {place or 'the root'}: at most {counted} instead of {most}"] = None

    # --- numbers and strings

    def _number(self, facts: Facts) -> ex.Expression:
        whole = ranges.integer(facts.lower, facts.upper, float_forms=self.style.float_forms)
        number = ranges.number(facts.lower, facts.upper)
        is_plain = bool(facts.multiples or facts.excluded)
        if "fraction" not in facts.types:
            base = whole
        elif "integer" in facts.types:
            base = ex.Intersection((number, PLAIN)) if is_plain else number
        else:
            base = ex.Difference(
                ex.Intersection((number, PLAIN)), ranges.integer(None, None, float_forms=self.document.float_forms)
            )
        for divisor, is_multiple in facts.multiples:
            multiples = multiples_of(divisor)
            base = ex.Intersection((base, multiples)) if is_multiple else ex.Difference(base, multiples)
        for value in facts.excluded:
            base = ex.Difference(base, exactly(value))
        return base

    def _string(self, facts: Facts, place: str) -> ex.Expression:
        least, most = facts.least_length, self._cap(facts.least_length, facts.most_length)
        if most is not None and most < least:
            return ex.NOTHING
        wanted = StringOf(facts.contents, least, most)
        while wanted.contents and wanted.most and wanted.most // 2 >= max(least, 1) and self._is_large(wanted):
            wanted = replace(wanted, most=wanted.most // 2)
        self._note_cap("characters", place, wanted.most, facts.most_length)
        return wanted

    def _is_large(self, string: StringOf) -> bool:
        try:
            return string.num_states(self.limits) > _MOST_STRING_STATES
        except LimitExceeded:
            return True

    # --- arrays

    def _array(self, facts: Facts, place: str) -> ex.Expression:
        most = self._cap(facts.least_items, facts.most_items)
        self._note_cap("items", place, most, facts.most_items)
        if most is not None and most < facts.least_items:
            return ex.NOTHING
        division = self._division(facts, place)
        items = Items(facts, most, division, self.value, place).sequence(self.layout.comma, self.limits.max_places)
        return self._enclosed(items, EMPTY_ARRAY, self.layout.array)

    def _division(self, facts: Facts, place: str) -> Division:
        division = division_of(facts, self._reader, self.document, self.style.unique_groups)
        self.has_unlisted_arrays |= isinstance(division, Unlisted)
        if division.bound:
            self.bounds[f"unique items at {place or 'the root'}: {division.bound}"] = None
        return division

    def _enclosed(self, sequence: Sequence[Any], empty: ex.Expression, enclose: Any) -> ex.Expression:
        options = [empty] if sequence.accepts_nothing else []
        if sequence.is_possible:
            options.append(enclose(sequence))
        return _any_of(options)

    # --- objects

    def _object(self, facts: Facts, place: str) -> ex.Expression:
        def value(claims: tuple[Claim, ...], name: str) -> ex.Expression:
            return self.value(claims, f"{place}/{escaped(name)}")

        def members(freedom: Freedom) -> Members:
            closed, whole = self._is_closed(facts), not place
            return Members(facts, self.layout, freedom, value, self._reader, is_closed=closed, is_whole=whole)

        sequence = self._in_order(facts, members, place)
        return self._enclosed(sequence, EMPTY_OBJECT, self.layout.object)

    def _in_order(self, facts: Facts, members: Callable[[Freedom], Members], place: str) -> Sequence[Any]:
        if self.style.property_order == "any":
            freedom = Freedom(free=frozenset(facts.declared_names), is_mixed=True)
            return members(freedom).sequence(self.limits.max_places)
        declared = Freedom(free=facts.unplaced_names(_MOST_FREE))
        if self.style.property_order == "flexible":
            for freedom in freedoms(declared, len(facts.declared_names), _MOST_FLEXIBLE_PLACES):
                sequence = self._small_sequence(members(freedom), self.style.flexible_size)
                if sequence is not None:
                    self._note_order(facts, freedom, place)
                    return sequence
            self._note_order(facts, declared, place)
        sequence = self._small_sequence(members(declared), _FREE_SIZE) if declared.free else None
        return sequence or members(Freedom()).sequence(self.limits.max_places)

    def _small_sequence(self, members: Members, most: int) -> Sequence[Any] | None:
        """The sequence if its size is within bounds."""
        try:
            sequence = members.sequence(_MOST_FLEXIBLE_PLACES)
        except LimitExceeded:
            return None
        return sequence if self.sizes(sequence) <= most else None

    def _note_order(self, facts: Facts, freedom: Freedom, place: str) -> None:
        self.has_fixed_orders |= freedom.lateness < len(facts.declared_names) - len(freedom.free) - 1
        names, where = len(facts.declared_names) - len(freedom.free), place or "the root"
        if 0 < freedom.lateness < names - 1:
            self.bounds[f"members at {where}: each behind at most {freedom.lateness} declared after it"] = None
        elif not freedom.lateness and (names > 1 or not freedom.is_mixed):
            behind = "" if freedom.is_mixed else ", additional ones behind them"
            self.bounds[f"members at {where}: in the order declared{behind}"] = None

    def _is_closed(self, facts: Facts) -> bool:
        """Whether no further members may follow although the schema does not say so."""
        is_silent = all(layer.rest is None for layer in facts.objects)
        return self.style.additional_properties == "forbid" and bool(facts.objects) and is_silent


def _any_of(options: list[ex.Expression]) -> ex.Expression:
    possible = [option for option in options if option is not ex.NOTHING]
    return ex.union(*possible) if possible else ex.NOTHING


def _has_no_utf8(constant: Any) -> bool:
    try:
        json.dumps(constant, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _says_nothing(claim: Claim) -> bool:
    if not isinstance(claim, Node):
        return False
    return claim.schema is (not claim.is_negated) or (claim.schema == {} and not claim.is_negated)
