"""Parts in a row with separators between them: what may stand in brackets or in braces.

Which part may follow which is itself a small automaton, over whole parts. It is found by exploring from a start
state what each state allows.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.errors import LimitExceeded

State = TypeVar("State", bound=Hashable)

Step = tuple[ex.Expression | None, State]
"""A part, and the state behind it; None instead of a part goes on without one."""


@final
class Sequence(ex.Expression, Generic[State]):
    """At least one part, separated, as ``steps`` allows from a state on.

    Attributes:
        accepts_nothing: whether there may also be no part at all.
        is_possible: whether there is any sequence of at least one part.

    Raises:
        LimitExceeded: it has more than ``max_places`` states.
    """

    def __init__(
        self,
        start: State,
        steps: Callable[[State], Iterable[Step[State]]],
        accepts: Callable[[State], bool],
        separator: ex.Expression,
        *,
        max_places: int,
    ) -> None:
        self.separator = separator
        self._number: dict[State, int] = {start: 0}
        self._skips: list[tuple[int, int]] = []
        self._parts: dict[tuple[int, int], tuple[ex.Expression, list[int]]] = {}
        self._explore(steps, max_places)
        accepting = {i for state, i in self._number.items() if accepts(state)}
        self._close(accepting)
        self.accepts_nothing = bool(self._fresh & accepting)
        self._accepting = accepting - self._fresh
        self.is_possible = bool(self._accepting & self._reached)

    def _explore(self, steps: Callable[[State], Iterable[Step[State]]], max_places: int) -> None:
        for state in (queue := [*self._number]):
            source = self._number[state]
            for part, following in steps(state):
                if part is ex.NOTHING:
                    continue
                if following not in self._number:
                    if len(self._number) >= max_places:
                        what = "the number of items, or of sets of members, that an array or object must keep apart"
                        raise LimitExceeded("max_places", max_places, what)
                    self._number[following] = len(self._number)
                    queue.append(following)
                target = self._number[following]
                if part is None:
                    self._skips.append((source, target))
                else:
                    self._parts.setdefault((id(part), target), (part, []))[1].append(source)

    def _close(self, accepting: set[int]) -> None:
        """Finds the states that no part leads to, and those that some part does."""
        self._fresh = self._behind({0})
        entered = {target for (_, target), (_, sources) in self._parts.items()}
        self._reached = self._behind(entered)
        if self._fresh & self._reached:
            raise ValueError("a state must tell whether a part came before it")

    def _behind(self, states: set[int]) -> set[int]:
        """The states, and those that skips lead to."""
        found, pending = set(states), list(states)
        following: dict[int, list[int]] = {}
        for source, target in self._skips:
            following.setdefault(source, []).append(target)
        while pending:
            for target in following.get(pending.pop(), ()):
                if target not in found:
                    found.add(target)
                    pending.append(target)
        return found

    @property
    def inner(self) -> tuple[ex.Expression, ...]:
        return tuple(part for part, _ in self._parts.values())

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        places = [nfa.new_state() for _ in self._number]
        nfa.add_empty(enter, places[0])
        for source, target in self._skips:
            nfa.add_empty(places[source], places[target])
        begins = dict(enumerate(places))
        for source in sorted({source for _, sources in self._parts.values() for source in sources} - self._fresh):
            begins[source] = nfa.new_state()
            self.separator.add_to(nfa, places[source], begins[source])
        for (_, target), (part, sources) in self._parts.items():
            before = nfa.new_state()
            for source in sources:
                nfa.add_empty(begins[source], before)
            part.add_to(nfa, before, places[target])
        for place in sorted(self._accepting):
            nfa.add_empty(places[place], leave)


def permutations(parts: list[ex.Expression], separator: ex.Expression, max_places: int) -> ex.Expression:
    """All parts, in every order.

    Raises:
        LimitExceeded: it takes more than ``max_places`` states.
    """

    def steps(seen: frozenset[int]) -> Iterable[Step[frozenset[int]]]:
        return ((part, seen | {i}) for i, part in enumerate(parts) if i not in seen)

    start: frozenset[int] = frozenset()
    return Sequence(start, steps, lambda seen: len(seen) == len(parts), separator, max_places=max_places)
