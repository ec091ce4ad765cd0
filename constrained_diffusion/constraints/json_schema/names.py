"""Names that an object does not declare, divided into sets that its schemas treat alike."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import ByteDFA
from constrained_diffusion.constraints.json_schema.contents import Content
from constrained_diffusion.constraints.json_schema.facts import Facts
from constrained_diffusion.constraints.json_schema.reading import Reader
from constrained_diffusion.limits import Limits

_GROUPS: Final = 4
_STEPS: Final = 60
"""What one condition on names costs, in units of one alternative of a schema."""
_LETTERS: Final = "etaoinsrhldcumfpgwybvkxjqzETAOINSRHLDCUMFPGWYBVKXJQZ1203456789_$@."


@final
@dataclass(frozen=True, eq=False)
class Names:
    """Names that are not declared and that all schemas treat alike.

    Attributes:
        content: their characters; None for all names but the declared ones.
        holding: the conditions on names that they meet.
        good: the claims on names that they satisfy.
    """

    content: ByteDFA | None
    holding: frozenset[Content] = frozenset()
    good: frozenset[Any] = frozenset()


def other_names(facts: Facts, reader: Reader) -> tuple[Names, ...]:
    """A partition of the names that may stand beside the declared ones, by what is said about them."""
    contents = [content for layer in facts.objects for content, _ in layer.patterns]
    contents += [content for witness in facts.witnesses for content in witness.contents]
    conditions = dict.fromkeys(Content(c.kind, c.text) for c in contents)
    if facts.least_members > 1 or facts.witnesses:
        conditions |= dict.fromkeys(_initials(max(facts.least_members + 1, _GROUPS)))
    claims = {witness.name.key: witness.name for witness in facts.witnesses if witness.name is not None}
    if not (conditions or claims or facts.names):
        return (Names(None),)
    reader.spend(_STEPS * (1 + len(conditions) + len(claims)))
    parts = [Names(_undeclared(facts, reader))]
    for condition in conditions:
        automaton = ex.compile_expression(condition.expression, Limits())
        parts = [
            Names(content, whole.holding | {condition} if is_in else whole.holding, whole.good)
            for whole in parts
            for content, is_in in _halves(whole, automaton)
        ]
    for key, claim in claims.items():
        automaton = reader.name_automaton(claim)
        parts = [
            Names(content, whole.holding, whole.good | {key} if is_in else whole.good)
            for whole in parts
            for content, is_in in _halves(whole, automaton)
        ]
    return tuple(parts)


def _initials(count: int) -> list[Content]:
    """Conditions on the first character that divide names into groups: names of different groups certainly differ."""
    return [Content("pattern", f"^[{_LETTERS[i::count]}]") for i in range(count)]


def _undeclared(facts: Facts, reader: Reader) -> ByteDFA:
    """All names that are allowed and not declared."""
    limits = Limits()
    names = ex.compile_expression(ex.any_text(), limits)
    for claim in facts.names:
        names = ex.combine(names, reader.name_automaton(claim), is_difference=False, limits=limits)
    declared = ex.literals(name.encode(errors="surrogatepass") for name in facts.declared_names)
    return ex.combine(names, ex.compile_expression(declared, limits), is_difference=True, limits=limits)


def _halves(names: Names, automaton: ByteDFA) -> Iterator[tuple[ByteDFA, bool]]:
    """The names that an automaton accepts, and the others; what is empty is left out."""
    whole = ex.compile_expression(ex.any_text(), Limits()) if names.content is None else names.content
    for is_in in (True, False):
        content = ex.combine(whole, automaton, is_difference=not is_in, limits=Limits())
        if not content.is_empty:
            yield content, is_in
