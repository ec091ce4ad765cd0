"""What is left to choose, given what is known: branches that cannot hold are struck out, what is settled is dropped.

A schema that must fail does so by one of its statements, and many schemas that must fail together (the other branches
of ``oneOf``) by every combination of theirs. Nearly all of these contradict the branch that holds, say by the value of
a member that tells the branches apart, or say the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, Literal, final

from constrained_diffusion.constraints.json_schema.document import Document, Node
from constrained_diffusion.constraints.json_schema.facts import (
    Claim,
    Either,
    Facts,
    Failure,
    Member,
    Presence,
    Property,
    Witness,
    negation,
)
from constrained_diffusion.constraints.json_schema.keywords import TABLE

Branch = tuple[Claim, ...]
Choice = tuple[Branch, ...]
Verdict = Literal["holds", "fails", "open"]

_SPREADING: Final = frozenset(["properties", "required", "allOf", "$ref"])
"""Keywords that fail by one of their parts."""
_OBJECTS: Final = frozenset(["object"])


@final
class Chooser:
    """Decides what facts leave to choose.

    Args:
        is_empty: whether it is known that no value satisfies some claims.
    """

    def __init__(self, document: Document, is_empty: Callable[[Branch], bool]) -> None:
        self.document, self.is_empty = document, is_empty

    def strike_out_types(self, facts: Facts) -> None:
        """It is no object if a member that it needs cannot be: branches may contradict each other there."""
        if "object" in facts.types and any(self.is_empty(facts.member_claims(name)) for name in facts.required):
            facts.types -= _OBJECTS

    def simplify(self, facts: Facts) -> None:
        """Strikes out and drops what can be; a branch that is left alone becomes pending, and none leaves no type."""
        choices: list[Choice] = []
        for choice in facts.choices:
            left = self._left(choice, facts) if _is_negative(choice) else choice
            if left is None:
                continue
            if not left:
                facts.types = frozenset()
            elif len(left) == 1:
                facts.pending += left[0]
            else:
                choices.append(left)
        facts.choices = tuple(choices)

    def _left(self, choice: Choice, facts: Facts) -> Choice | None:
        """The branches that may hold; None if one of them does."""
        left: list[Branch] = []
        for branch in (part for whole in choice for part in self._spread(whole, facts)):
            verdict = self._verdict(branch[0], facts) if len(branch) == 1 else "open"
            if verdict == "holds":
                return None
            if verdict == "open":
                left.append(branch)
        return _merged(left)

    # --- parts

    def _spread(self, branch: Branch, facts: Facts) -> Iterator[Branch]:
        """The branches that stand for one: a schema fails by one of its keywords, and some keywords by a part."""
        match branch:
            case (Node(is_negated=True, schema=dict()) as node,):
                for failure in failures(node.negated, self.document):
                    yield from self._spread((failure,), facts)
            case (Failure(node=node, keyword=keyword),) if (
                keyword in _SPREADING and facts.types <= TABLE[keyword].types
            ):
                for part in self._parts(node, keyword):
                    yield from self._spread(part, facts) if part != branch else (branch,)
            case _:
                yield branch

    def _parts(self, node: Node, keyword: str) -> Choice:
        said, fails = Facts(), TABLE[keyword].fails
        if fails is not None:
            fails(said, node.keywords[keyword], node.unobserved, self.document)
        if replace(said, choices=(), pending=()) == Facts():
            if len(said.choices) == 1 and not said.pending:
                return said.choices[0]
            if not said.choices and len(said.pending) == 1:
                return (said.pending,)
        return ((Failure(node, keyword),),)

    # --- verdicts

    def _verdict(self, claim: Claim, facts: Facts) -> Verdict:
        match claim:
            case Presence():
                return _verdict_on_presence(claim, facts)
            case Member() | Property():
                return self._verdict_on_member(claim, facts)
            case Failure(keyword="type", node=node):
                named = Facts()
                TABLE["type"].holds(named, node.keywords["type"], node, self.document)
                return "open" if facts.types - named.types else "fails"
            case Failure():
                return "open" if facts.types & TABLE[claim.keyword].types else "fails"
        return "open"

    def _verdict_on_member(self, claim: Member | Property, facts: Facts) -> Verdict:
        is_about_objects, is_present = facts.types == _OBJECTS, claim.name in facts.required
        if claim.name in facts.absent or not facts.types >= _OBJECTS:
            return "fails" if isinstance(claim, Member) else "holds"
        known = facts.member_claims(claim.name)
        if self.is_empty((*known, claim.value)):
            return "fails" if isinstance(claim, Member) or (is_about_objects and is_present) else "open"
        is_sure = isinstance(claim, Property) or (is_about_objects and is_present)
        is_known = isinstance(claim.value, Node) and self.is_empty((*known, negation(claim.value)))
        return "holds" if is_sure and is_known else "open"


def _merged(branches: list[Branch]) -> Choice:
    """The branches, of which those about one member are one."""
    merged: dict[Any, Branch] = {}
    for branch in branches:
        key: Any = branch
        match branch:
            case (Presence(name, is_present=False) | Member(name) | Property(name),):
                key = name
        merged[key] = (_either(merged[key][0], branch[0]),) if key in merged else branch
    return tuple(merged.values())


def _either(first: Claim, second: Claim) -> Claim:
    """One claim for two about members of one name, of which at least one holds."""
    match first, second:
        case (Presence(), Presence()):
            return first
        case (Presence(name), (Member() | Property()) as other) | ((Member() | Property()) as other, Presence(name)):
            return Property(name, other.value)
        case (Member() | Property()) as one, (Member() | Property()) as other:
            kind = Member if isinstance(one, Member) and isinstance(other, Member) else Property
            return kind(one.name, Either(((one.value,), (other.value,))))
    raise TypeError(f"expected claims about a member, met {first!r} and {second!r}")


def failures(node: Node, document: Document) -> Iterator[Failure]:
    """The ways in which a schema may fail."""
    for keyword in node.keywords:
        if keyword in TABLE and TABLE[keyword].fails is not None and not (keyword == "type" and _lists(node, document)):
            yield Failure(node, keyword)


def _lists(node: Node, document: Document) -> bool:
    """Whether a schema lists strings, and strings are of its types: what is of no such type is not listed either."""
    listed = [node.keywords["const"]] if "const" in node.keywords else node.keywords.get("enum", ())
    said = Facts()
    TABLE["type"].holds(said, node.keywords["type"], node, document)
    return "string" in said.types and bool(listed) and all(isinstance(value, str) for value in listed)


def _verdict_on_presence(claim: Presence, facts: Facts) -> Verdict:
    if facts.types != _OBJECTS:
        return "open"
    if claim.name in facts.absent:
        return "fails" if claim.is_present else "holds"
    if claim.name in facts.required:
        return "holds" if claim.is_present else "fails"
    return "open"


def _is_negative(choice: Choice) -> bool:
    """Whether all branches only say what fails, or what members there are: they declare nothing, look at nothing."""
    return all(
        isinstance(claim, Failure | Member | Property | Presence | Witness)
        or (isinstance(claim, Node) and claim.is_negated)
        for branch in choice
        for claim in branch
    )


def next_choice(facts: Facts) -> int:
    """Which choice is best decided first: in order those that declare something, then the one of fewest branches."""
    for i, choice in enumerate(facts.choices):
        if not _is_negative(choice):
            return i
    return min(range(len(facts.choices)), key=lambda i: len(facts.choices[i]))


def disjoint(choice: Choice, facts: Facts) -> Iterator[Branch]:
    """The branches, of which the later ones also say that those before did not hold, where that is simple to say."""
    if not _is_negative(choice) or facts.types != _OBJECTS:
        yield from choice
        return
    opposites: Branch = ()
    present = set(facts.required)
    for branch in sorted(choice, key=_complexity):
        yield (*branch, *opposites)
        opposite = _opposite(branch, present)
        if opposite is not None:
            opposites = (*opposites, opposite)
            present.add(opposite.name)


def _complexity(branch: Branch) -> int:
    match branch:
        case (Presence(),):
            return 0
        case (Member(value=value) | Property(value=value),) if _is_listed(value):
            return 1
    return 2


def _opposite(branch: Branch, present: set[str]) -> Presence | Member | None:
    """The opposite of a branch about one member, of an object that surely has some members."""
    match branch:
        case (Presence(name, is_present=False),):
            return Presence(name)
        case (Member(name, value) | Property(name, value),) if _is_listed(value):
            return Member(name, negation(value)) if name in present or isinstance(branch[0], Property) else None
    return None


def _is_listed(claim: Claim) -> bool:
    """Whether the claim is that a value is none of a list."""
    return isinstance(claim, Node) and claim.is_negated and not {"enum", "const"}.isdisjoint(claim.keywords)
