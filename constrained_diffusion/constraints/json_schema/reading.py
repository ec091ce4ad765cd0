"""From schemas to facts: what is claimed of a value becomes alternatives, each a conjunction of simple statements."""

from collections.abc import Iterator
from copy import copy
from functools import cached_property
from typing import Any, Final, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import ByteDFA
from constrained_diffusion.constraints.json_schema import ranges
from constrained_diffusion.constraints.json_schema.choosing import Chooser, disjoint, failures, next_choice
from constrained_diffusion.constraints.json_schema.contents import conjunction
from constrained_diffusion.constraints.json_schema.document import Document, Node
from constrained_diffusion.constraints.json_schema.facts import (
    ALL_TYPES,
    ArrayLayer,
    Claim,
    Count,
    Either,
    Evaluated,
    Facts,
    Failure,
    Member,
    ObjectLayer,
    Presence,
    Property,
    Unevaluated,
    Witness,
    identity,
    key_of,
    negation,
    type_of,
)
from constrained_diffusion.constraints.json_schema.keywords import TABLE
from constrained_diffusion.errors import UnsupportedConstraint
from constrained_diffusion.limits import Limits

MAX_ALTERNATIVES: Final = 512
"""How many combinations of branches (of ``anyOf``, of ``oneOf``, of what may fail under ``not``) one value may have."""
MAX_PROBED_LEVELS: Final = 6
"""How deep into a value it is asked whether schemas contradict each other."""


@final
class Exhausted(Exception):
    """More work than was allowed would be needed to read a schema."""


@final
class Reader:
    """Reads the parts of one document.

    Args:
        budget: steps of work until ``Exhausted`` is raised.
        is_probe: whether it is only asked what cannot be; a format that leaves something out then says nothing.
    """

    def __init__(self, document: Document, budget: int, *, is_probe: bool = False) -> None:
        self.document = document
        self.budget = budget
        self.is_probe = is_probe
        self._known: dict[frozenset[Any], tuple[Facts, ...]] = {}
        self._empty: dict[frozenset[Any], bool] = {}
        self._apart: dict[frozenset[Any], frozenset[str]] = {}
        self._names: dict[tuple[Any, ...], ByteDFA] = {}

    def alternatives(self, claims: tuple[Claim, ...]) -> tuple[Facts, ...]:
        """Facts of which at least one holds exactly for the values that satisfy all the claims."""
        key = key_of(claims)
        if key not in self._known:
            self._known[key] = tuple(self._alternatives(claims))
        return self._known[key]

    def _alternatives(self, claims: tuple[Claim, ...]) -> list[Facts]:
        done: list[Facts] = []
        whole = Facts(pending=claims)
        open_: list[Facts] = [whole]
        while open_:
            self.spend(1)
            facts = open_.pop()
            self._read_pending(facts)
            if facts is not whole:
                self._chooser.strike_out_types(facts)
            if facts.choices:
                self._chooser.simplify(facts)
            if facts.is_impossible:
                continue
            if facts.pending:
                open_.append(facts)
            elif facts.choices:
                open_.extend(reversed([*self._decided(facts)]))
            else:
                done.append(facts)
            if len(done) + len(open_) > MAX_ALTERNATIVES:
                reason = f"its branches combine to more than {MAX_ALTERNATIVES} alternatives"
                self.document.refuse(*self._branching(claims, facts), reason)
                return [Facts()]
        for facts in done:
            self._settle(facts)
        return [facts for facts in done if not facts.is_impossible]

    def spend(self, steps: int) -> None:
        """
        Raises:
            Exhausted: the budget is used up.
        """
        self.budget -= steps
        if self.budget < 0:
            raise Exhausted

    def _branching(self, claims: tuple[Claim, ...], facts: Facts) -> tuple[str, str]:
        """The keyword that branches, and where it lies."""
        node = next((claim for claim in claims if isinstance(claim, Node)), self.document.root_node)
        found = (keyword for keyword in ("oneOf", "anyOf", "not", "if", "dependencies") if keyword in node.keywords)
        return next(found, "anyOf"), node.pointer

    def target(self, claim: Claim) -> Claim:
        """What a schema refers to, if that is all it says; then a reference and its target are one."""
        while isinstance(claim, Node) and (keyword := _only_reference(claim)) is not None:
            followed = self.document.follow(claim, keyword, claim.keywords[keyword])
            if followed is None or followed.pointer in claim.trail:
                break
            claim = followed
        return claim

    # --- reading

    def _read_pending(self, facts: Facts) -> None:
        while facts.pending and not facts.is_impossible:
            claim, *rest = facts.pending
            facts.pending = ()
            self._read(facts, claim)
            facts.pending += tuple(rest)

    def _read(self, facts: Facts, claim: Claim) -> None:
        match claim:
            case Node():
                self._read_node(facts, claim)
            case Failure():
                keyword = TABLE[claim.keyword]
                facts.types &= keyword.types
                if keyword.fails is not None:
                    keyword.fails(facts, claim.node.keywords[claim.keyword], claim.node.unobserved, self.document)
            case Either():
                facts.choices += (claim.branches,)
            case Count():
                facts.types &= {"array"}
                facts.counts += (claim,)
            case Presence(is_present=False):
                facts.absent |= {claim.name}
            case Property():
                facts.objects += (ObjectLayer({claim.name: claim.value}),)
            case Presence() | Member() | Witness():
                facts.types &= {"object"}
                self._read_member(facts, claim)

    def _read_member(self, facts: Facts, claim: Presence | Member | Witness) -> None:
        if isinstance(claim, Witness):
            facts.witnesses += (claim,)
        else:
            facts.required = tuple(dict.fromkeys((*facts.required, claim.name)))
        if isinstance(claim, Member):
            facts.objects += (ObjectLayer({claim.name: claim.value}),)

    def _read_node(self, facts: Facts, node: Node) -> None:
        seen = (node.key, node.observers)
        if seen in facts.seen:
            return
        facts.seen |= {seen}
        if isinstance(node.schema, bool):
            if node.schema is node.is_negated:
                facts.types = frozenset()
        elif node.is_negated:
            facts.choices += (tuple((failure,) for failure in failures(node.negated, self.document)),)
        else:
            self._read_keywords(facts, node)

    def _read_keywords(self, facts: Facts, node: Node) -> None:
        if "unevaluatedProperties" in node.keywords or "unevaluatedItems" in node.keywords:
            node = node.observing
        for name, value in node.keywords.items():
            if name in TABLE:
                TABLE[name].holds(facts, value, node, self.document)
                # At once, so that members are declared in the order of the document.
                self._read_pending(facts)
            else:
                self.document.warn(f"unknown keyword {name!r} has no effect (at {node.at(name)})")

    # --- deciding

    def _decided(self, facts: Facts) -> Iterator[Facts]:
        """The facts, once for each branch of one of their choices."""
        which = next_choice(facts)
        for branch in disjoint(facts.choices[which], facts):
            for types, pending in self._pruned(branch, facts.types):
                decided = copy(facts)
                decided.choices = facts.choices[:which] + facts.choices[which + 1 :]
                decided.types = types
                decided.pending = pending
                yield decided

    def _pruned(
        self, branch: tuple[Claim, ...], types: frozenset[str]
    ) -> Iterator[tuple[frozenset[str], tuple[Claim, ...]]]:
        """A branch, type by type without the schemas that cannot hold beside its first one: they need not be told to
        fail."""
        first, *others = branch
        if not isinstance(first, Node) or first.is_negated:
            yield types, branch
            return
        redundant: dict[frozenset[int], frozenset[str]] = {}
        apart = {
            i: self._types_apart(first, claim.negated)
            for i, claim in enumerate(others)
            if isinstance(claim, Node) and claim.is_negated
        }
        for kind in sorted(types):
            which = frozenset(i for i, kinds in apart.items() if kind in kinds)
            redundant[which] = redundant.get(which, frozenset()) | {kind}
        for which, kinds in redundant.items():
            yield kinds, (first, *(claim for i, claim in enumerate(others) if i not in which))

    def _types_apart(self, first: Node, second: Node) -> frozenset[str]:
        """The types of which no value satisfies both schemas, as far as that is known."""
        claims = first.unobserved, second.unobserved
        key = key_of(claims)
        if key not in self._apart:
            self._apart[key] = frozenset()
            self._apart[key] = self._probe._impossible_types(claims)
        return self._apart[key]

    def _impossible_types(self, claims: tuple[Claim, ...]) -> frozenset[str]:
        try:
            alternatives = self.alternatives(claims)
        except UnsupportedConstraint:
            return frozenset()
        return frozenset(
            kind
            for kind in ALL_TYPES
            if all(kind not in facts.types or self._excludes(facts, kind, 0) for facts in alternatives)
        )

    def is_empty(self, claims: tuple[Claim, ...], level: int = 0) -> bool:
        """Whether it is known that no value satisfies all the claims. Refuses and notes nothing.

        Args:
            level: how deep inside the value that was asked about first.
        """
        key = key_of(claims)
        if key not in self._empty:
            if level > MAX_PROBED_LEVELS:
                return False
            self._empty[key] = False
            self._empty[key] = self._probe._contradict_each_other(claims, level)
        return self._empty[key]

    @cached_property
    def _chooser(self) -> Chooser:
        return Chooser(self.document, (lambda claims: False) if self.is_probe else self.is_empty)

    @cached_property
    def _probe(self) -> "Reader":
        """A reader that nobody hears, which shares what is known of emptiness."""
        probe = Reader(self.document.unheard, self.budget, is_probe=True)
        probe._empty = self._empty
        probe._apart = self._apart
        probe._probe = probe
        return probe

    def _contradict_each_other(self, claims: tuple[Claim, ...], level: int) -> bool:
        try:
            return all(self._contradicts_itself(facts, level) for facts in self.alternatives(claims))
        except UnsupportedConstraint:
            return False

    def _contradicts_itself(self, facts: Facts, level: int) -> bool:
        return all(self._excludes(facts, kind, level) for kind in facts.types)

    def _excludes(self, facts: Facts, kind: str, level: int) -> bool:
        """Whether it is known that no value of a type satisfies the facts."""
        if facts.constants is not None:
            return all(type_of(constant) != kind for constant in facts.constants)
        if kind in ("integer", "fraction"):
            return ranges.is_empty(facts.lower, facts.upper)
        if kind == "string":
            return _has_no_string(facts)
        if kind == "array":
            return self._excludes_arrays(facts, level)
        return kind == "object" and self._excludes_objects(facts, level)

    def _excludes_arrays(self, facts: Facts, level: int) -> bool:
        if facts.most_items is not None and facts.most_items < facts.least_items:
            return True
        needed = range(min(facts.least_items, 8))
        if any(self.is_empty(facts.item_claims(i), level + 1) for i in needed):
            return True
        return any(count.least > 0 and self._counts_nothing(facts, count, level) for count in facts.counts)

    def _counts_nothing(self, facts: Facts, count: Count, level: int) -> bool:
        """Whether it is known that no item can be counted."""
        behind = max(count.start, *(len(layer.prefix) for layer in facts.arrays), 0)
        places = range(count.start, behind + 1 if count.stop is None else min(behind + 1, count.stop))
        return all(self.is_empty((*facts.item_claims(i), count.claim), level + 1) for i in places)

    def _excludes_objects(self, facts: Facts, level: int) -> bool:
        if facts.most_members is not None and facts.most_members < max(facts.least_members, len(facts.required)):
            return True
        if facts.absent.intersection(facts.required):
            return True
        return any(self.is_empty(facts.member_claims(name), level + 1) for name in facts.required)

    # --- settling

    def _settle(self, facts: Facts) -> None:
        """Adds what was left unevaluated, removes the types that cannot be, decides listed values, refuses the rest."""
        for unevaluated in facts.unevaluated:
            _add_unevaluated(facts, unevaluated)
        if facts.constants is not None:
            facts.types &= {name for constant in facts.constants for name in self.types_of(constant)}
        relevant = tuple(refusal for refusal in facts.refused if refusal.types & facts.types)
        facts.refused = ()
        for refusal in relevant:
            self.document.refuse(refusal.keyword, refusal.path, refusal.reason)
        if facts.constants is not None:
            facts.constants = tuple(constant for constant in facts.constants if self._fits(constant, facts))

    def types_of(self, constant: Any) -> set[str]:
        """The types that the spellings of a value may have; ``1.0`` need not be an integer."""
        kind = type_of(constant)
        return {"integer", "fraction"} if kind == "integer" and not self.document.float_forms else {kind}

    # --- listed values

    def _fits(self, constant: Any, facts: Facts) -> bool:
        """Whether one listed value satisfies all other facts."""
        kind = type_of(constant)
        if not self.types_of(constant) & facts.types:
            return False
        if kind in ("integer", "fraction"):
            return _number_fits(constant, facts)
        if kind == "string":
            return self._string_fits(constant, facts)
        if kind == "array":
            return self._array_fits(constant, facts)
        return kind != "object" or self._object_fits(constant, facts)

    def _string_fits(self, text: str, facts: Facts) -> bool:
        is_of_length = facts.least_length <= len(text) <= _or_inf(facts.most_length)
        conditions = (content for content in facts.contents if content.is_exact or not self.is_probe)
        return is_of_length and all(content.holds(text) for content in conditions)

    def _array_fits(self, constant: list[Any], facts: Facts) -> bool:
        if not facts.least_items <= len(constant) <= _or_inf(facts.most_items):
            return False
        if facts.is_unique and len({identity(item) for item in constant}) < len(constant):
            return False
        return all(self._satisfies(facts.item_claims(i), item) for i, item in enumerate(constant)) and all(
            self._has_count(count, constant[count.start : count.stop]) for count in facts.counts
        )

    def _has_count(self, count: Count, items: list[Any]) -> bool:
        counted = [item for item in items if self._satisfies((count.claim,), item)]
        if count.most is None:
            return len(counted) >= count.least
        others = [item for item in items if self._satisfies((negation(count.claim),), item)]
        return count.least <= len(counted) <= count.most and len(others) + len(counted) == len(items)

    def _object_fits(self, constant: dict[str, Any], facts: Facts) -> bool:
        return (
            facts.least_members <= len(constant) <= _or_inf(facts.most_members)
            and all(name in constant for name in facts.required)
            and not any(name in constant for name in facts.absent)
            and all(any((name in constant) == present for name, present in clause) for clause in facts.clauses)
            and all(self._satisfies(facts.names, name) for name in constant)
            and all(self._satisfies(facts.member_claims(name), item) for name, item in constant.items())
            and all(any(self._attests(w, *member) for member in constant.items()) for w in facts.witnesses)
        )

    def _attests(self, witness: Witness, name: str, item: Any) -> bool:
        is_meant = name not in witness.others and all(content.holds(name) for content in witness.contents)
        named = () if witness.name is None else (witness.name,)
        valued = () if witness.value is None else (witness.value,)
        return is_meant and self._satisfies(named, name) and self._satisfies(valued, item)

    def _satisfies(self, claims: tuple[Claim, ...], value: Any) -> bool:
        return not claims or any(
            facts.constants is None or identity(value) in {identity(constant) for constant in facts.constants}
            for facts in self.alternatives(claims)
            if self._fits(value, facts)
        )

    def name_automaton(self, claim: Claim) -> ByteDFA:
        """The characters of the strings that satisfy a claim."""
        if claim.key not in self._names:
            self._names[claim.key] = self._name_automaton(claim)
        return self._names[claim.key]

    def _name_automaton(self, claim: Claim) -> ByteDFA:
        limits = Limits()
        options = [
            string_automaton(facts)
            if facts.constants is None
            else ex.compile_expression(ex.literals(_utf8(c) for c in facts.constants if isinstance(c, str)), limits)
            for facts in self.alternatives((claim,))
            if "string" in facts.types
        ]
        return ex.compile_expression(ex.union(*(ex.Embedded(option) for option in options)), limits)


def _has_no_string(facts: Facts) -> bool:
    """Whether no string satisfies the facts; a format that leaves something out says nothing here."""
    exact = tuple(content for content in facts.contents if content.is_exact)
    return bool(exact) and ex.compile_expression(conjunction(exact, 0, None), Limits()).is_empty


def string_automaton(facts: Facts) -> ByteDFA:
    """The characters of the strings that satisfy the facts."""
    content = conjunction(facts.contents, facts.least_length, facts.most_length)
    return ex.compile_expression(content, Limits())


def _only_reference(node: Node) -> str | None:
    """The keyword of a schema that says nothing but to what it refers."""
    telling = [name for name in node.keywords if name not in TABLE or TABLE[name].fate != "annotation"]
    return telling[0] if len(telling) == 1 and telling[0] in ("$ref", "$dynamicRef") else None


def _add_unevaluated(facts: Facts, unevaluated: Unevaluated) -> None:
    """Turns what an observer says about the rest into a layer, now that it is known what was looked at."""
    seen, claim = facts.evaluated.get(unevaluated.observer, Evaluated()), unevaluated.claim
    if unevaluated.keyword == "unevaluatedProperties" and not seen.has_all_names:
        patterns = tuple((content, None) for content in seen.patterns)
        facts.objects += (ObjectLayer(dict.fromkeys(sorted(seen.names)), patterns, claim),)
    if unevaluated.keyword == "unevaluatedItems" and not seen.has_all_items:
        rest = Either(tuple((option,) for option in (*seen.contained, claim))) if seen.contained else claim
        facts.arrays += (ArrayLayer((None,) * seen.items, rest),)


def _number_fits(constant: int | float, facts: Facts) -> bool:
    value = ranges.exact(constant)
    return (
        ranges.contains(facts.lower, facts.upper, value)
        and value not in facts.excluded
        and all(((value / divisor).denominator == 1) == is_multiple for divisor, is_multiple in facts.multiples)
    )


def _or_inf(value: int | None) -> float:
    return float("inf") if value is None else value


def _utf8(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
