"""From what is said about an object to the sequences of its members."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import combinations
from math import comb
from typing import Any, Final, Literal, NamedTuple, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.json_schema.contents import Content
from constrained_diffusion.constraints.json_schema.encoding import encoded
from constrained_diffusion.constraints.json_schema.facts import Claim, Facts, Witness
from constrained_diffusion.constraints.json_schema.layout import Layout
from constrained_diffusion.constraints.json_schema.names import Names, other_names
from constrained_diffusion.constraints.json_schema.reading import Reader
from constrained_diffusion.constraints.json_schema.sequences import Sequence, Step
from constrained_diffusion.constraints.json_schema.spelling import OtherName, quoted, spelled

PropertyOrder = Literal["declared", "any", "flexible"]
Clauses = frozenset[frozenset[tuple[str, bool]]]
"""A conjunction of clauses: of each, at least one name must be present or absent as said."""

FALSE: Final[Clauses] = frozenset([frozenset()])
_LEADING_NAMES: Final = ("$schema", "$id", "id")
"""Additional members that usually stand first in a document."""


class Freedom(NamedTuple):
    """How far members may leave their order.

    ``lateness``: behind how many of those declared after it a member may stand; ``free``: the names that may stand
    anywhere; ``is_mixed``: whether additional members may stand anywhere, and not only behind the declared ones.
    """

    lateness: int = 0
    free: frozenset[str] = frozenset()
    is_mixed: bool = False


def freedoms(least: Freedom, names: int, most_places: int) -> Iterator[Freedom]:
    """More freedom for so many declared names, the most first, as far as it may take at most so many places."""
    placed, sets = names - len(least.free), 1
    lateness = 0
    for count in range(1, placed):
        sets += comb(placed, count)
        if sets <= most_places:
            lateness = count
    yield from (least._replace(lateness=late, is_mixed=True) for late in range(lateness, -1, -1))


class _Place(NamedTuple):
    """What matters of the members so far.

    ``position``: the first name with a place that may still come; ``ahead``: those behind it that were seen; ``seen``:
    the free names seen; ``begun``: whether there is a member; ``members``: how many, and ``sure`` those that are
    certainly different, as far as that matters; ``used``: the groups of other names counted as sure; ``clauses``: what
    must still be decided by the names to come; ``witnessed``: the witnesses found, and in which group of other names,
    -1 for a declared one.
    """

    position: int
    ahead: tuple[int, ...]
    seen: frozenset[str]
    begun: bool
    members: int
    sure: int
    used: frozenset[int]
    clauses: Clauses
    witnessed: frozenset[tuple[int, int]]


@final
class Members:
    """The objects that satisfy some facts, as an automaton over whole members.

    Args:
        freedom: how far they may leave their order.
        value: the expression for the values of members under some claims, at a name.
        reader: knows which other names a schema treats alike.
        is_closed: whether there are no other members than the declared ones.
        is_whole: whether they are whole documents.
    """

    def __init__(
        self,
        facts: Facts,
        layout: Layout,
        freedom: Freedom,
        value: Callable[[tuple[Claim, ...], str], ex.Expression],
        reader: Reader,
        *,
        is_closed: bool,
        is_whole: bool,
    ) -> None:
        self.facts, self.layout, self.freedom = facts, layout, freedom
        self.value, self.name_automaton = value, reader.name_automaton
        self.is_closed = is_closed
        self.declared = facts.declared_names
        self.placed = tuple(name for name in self.declared if name not in freedom.free)
        self.others = () if is_closed else other_names(facts, reader)
        self._claims: dict[str, tuple[Claim, ...]] = {}
        self._built: dict[tuple[int, int], tuple[ex.Expression, ex.Expression, ex.Expression]] = {}
        has_any_names = [names.content for names in self.others] == [None]
        self._leading = self._leading_member(reader) if is_whole and has_any_names else ex.NOTHING
        self._spellings = [self._spelled(names) for names in self.others]

    def _leading_member(self, reader: Reader) -> ex.Expression:
        """A member that says what a document is, which nothing is said about but what is said about all others."""
        names = [name for name in _LEADING_NAMES if name not in self.declared]
        if not names or self.freedom.is_mixed:
            return ex.NOTHING
        text = reader.document.root_node.below({"type": "string"}, "$schema", "text")
        value = self.value((*self.facts.other_claims(frozenset()), text), "*")
        return self._member(ex.union(*(spelled(name) for name in names)), value)

    @cached_property
    def _counts_surely(self) -> bool:
        return self.facts.least_members > 1

    def _is_allowed(self, name: str) -> bool:
        """Whether a declared name may occur at all."""
        if name in self.facts.absent:
            return False
        return all(self.name_automaton(claim).matches(_utf8(name)) for claim in self.facts.names)

    def _witnesses_of(self, name: str) -> list[int]:
        return [
            i
            for i, witness in enumerate(self.facts.witnesses)
            if name not in witness.others
            and all(content.holds(name) for content in witness.contents)
            and (witness.name is None or self.name_automaton(witness.name).matches(_utf8(name)))
        ]

    def _witnesses_among(self, names: Names) -> list[int]:
        return [i for i, witness in enumerate(self.facts.witnesses) if _is_among(witness, names)]

    # --- the automaton

    def sequence(self, max_places: int) -> Sequence[Any]:
        clauses: Clauses = frozenset(frozenset(clause) for clause in self.facts.clauses)
        start = _Place(0, (), frozenset(), False, 0, 0, frozenset(), clauses, frozenset())
        return Sequence(start, self._steps, self._accepts, self.layout.comma, max_places=max_places)

    def _accepts(self, place: _Place) -> bool:
        facts = self.facts
        if not self.freedom.lateness and place.position < len(self.placed):
            return False
        missing = [name for name in self.freedom.free if name not in place.seen]
        missing += [name for i, name in enumerate(self.placed) if i >= place.position and i not in place.ahead]
        without = self._without(place, missing)
        if without is None or without.clauses:
            return False
        members = place.sure if self._counts_surely else int(place.begun)
        is_witnessed = len({i for i, _ in place.witnessed}) == len(facts.witnesses)
        return members >= facts.least_members and is_witnessed

    def _without(self, place: _Place, names: Iterable[str]) -> _Place | None:
        """The place when it is known that some names are absent; None if they cannot be."""
        clauses = place.clauses
        for name in names:
            clauses = _assigned(clauses, name, is_present=False)
            if name in self.facts.required or clauses == FALSE:
                return None
        return place._replace(clauses=clauses)

    def _steps(self, place: _Place) -> Iterator[Step[_Place]]:
        for name in self.declared:
            if name in self.freedom.free and name not in place.seen:
                yield from self._declared_steps(name, place._replace(seen=place.seen | {name}))
        yield from self._late_steps(place) if self.freedom.lateness else self._steps_in_order(place)
        if self.freedom.is_mixed or place.position == len(self.placed):
            yield from self._other_steps(place)

    def _steps_in_order(self, place: _Place) -> Iterator[Step[_Place]]:
        if place.position == len(self.placed):
            return
        name = self.placed[place.position]
        behind = place._replace(position=place.position + 1)
        if place.position == 0 and not self._is_full(place):
            yield self._leading, self._with_member(place)
        yield from self._declared_steps(name, behind)
        without = self._without(behind, [name])
        if without is not None:
            yield None, without

    def _late_steps(self, place: _Place) -> Iterator[Step[_Place]]:
        for i in range(place.position, len(self.placed)):
            if i not in place.ahead:
                ahead, first = sorted((*place.ahead, i)), place.position
                if len(ahead) > self.freedom.lateness:
                    first = ahead[0]
                passed = (self.placed[j] for j in range(place.position, first))
                while first in ahead:
                    ahead.remove(first)
                    first += 1
                without = self._without(place._replace(position=first, ahead=tuple(ahead)), passed)
                if without is not None:
                    yield from self._declared_steps(self.placed[i], without)

    def _declared_steps(self, name: str, place: _Place) -> Iterator[Step[_Place]]:
        clauses = _assigned(place.clauses, name, is_present=True)
        if self._is_full(place) or clauses == FALSE or not self._is_allowed(name):
            return
        behind = self._with_member(place)._replace(clauses=clauses, sure=self._surely_more(place))
        claims = self._claims_for(name)
        for witnessed, more in self._witnessing(place, self._witnesses_of(name), -1):
            member = self._member(spelled(name), self.value((*claims, *more), name))
            yield member, behind._replace(witnessed=witnessed)

    def _claims_for(self, name: str) -> tuple[Claim, ...]:
        if name not in self._claims:
            self._claims[name] = self.facts.member_claims(name)
        return self._claims[name]

    def _other_steps(self, place: _Place) -> Iterator[Step[_Place]]:
        if self._is_full(place):
            return
        for i, names in enumerate(self.others):
            behind = self._with_member(place)
            if self._counts_surely and i not in place.used:
                behind = behind._replace(used=place.used | {i}, sure=self._surely_more(place))
            claims = self.facts.other_claims(names.holding)
            for witnessed, more in self._witnessing(place, self._witnesses_among(names), i):
                member = self._member(self._spellings[i], self.value((*claims, *more), "*"))
                yield member, self._forgetful(behind._replace(witnessed=witnessed))

    def _member(self, name: ex.Expression, value: ex.Expression) -> ex.Expression:
        """A member; equal ones are one, so that their automaton stands in a place once."""
        if value is ex.NOTHING:
            return ex.NOTHING
        key = (id(name), id(value))
        if key not in self._built:
            self._built[key] = (name, value, self.layout.member(name, value))
        return self._built[key][2]

    def _spelled(self, names: Names) -> ex.Expression:
        return OtherName(frozenset(self.declared)) if names.content is None else quoted(encoded(names.content))

    def _is_full(self, place: _Place) -> bool:
        return self.facts.most_members is not None and place.members >= self.facts.most_members

    def _with_member(self, place: _Place) -> _Place:
        return place._replace(begun=True, members=0 if self.facts.most_members is None else place.members + 1)

    def _surely_more(self, place: _Place) -> int:
        return min(place.sure + 1, self.facts.least_members) if self._counts_surely else 0

    def _forgetful(self, place: _Place) -> _Place:
        """The place, where groups no longer matter once there are enough members."""
        return place._replace(used=frozenset()) if place.sure >= self.facts.least_members else place

    def _witnessing(
        self, place: _Place, possible: list[int], group: int
    ) -> Iterator[tuple[frozenset[tuple[int, int]], tuple[Claim, ...]]]:
        """The witnesses found behind a member that may be some of them, and what it must satisfy for that.

        Where another name of the same group was a witness this one must be so, too: it may be the same name, and of
        two members of one name the last one counts.
        """
        found = {i for i, _ in place.witnessed}
        again = [i for i in possible if group >= 0 and (i, group) in place.witnessed]
        missing = [i for i in possible if i not in found]
        for size in range(len(missing) + 1):
            for chosen in combinations(missing, size):
                values = (self.facts.witnesses[i].value for i in (*again, *chosen))
                yield place.witnessed.union((i, group) for i in chosen), tuple(v for v in values if v is not None)


def _assigned(clauses: Clauses, name: str, *, is_present: bool) -> Clauses:
    """What is left of the clauses when it is known whether a name is present; ``FALSE`` if they cannot hold."""
    left = []
    for clause in clauses:
        if (name, is_present) in clause:
            continue
        rest = clause - {(name, not is_present)}
        if not rest:
            return FALSE
        left.append(rest)
    return frozenset(left)


def _is_among(witness: Witness, names: Names) -> bool:
    """Whether names meet what a witness asks of its name."""
    meets = all((Content(c.kind, c.text) in names.holding) != c.is_negated for c in witness.contents)
    return meets and (witness.name is None or witness.name.key in names.good)


def _utf8(name: str) -> bytes:
    return name.encode(errors="surrogatepass")
