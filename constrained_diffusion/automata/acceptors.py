"""The acceptor of an expression: finite, or a pushdown automaton if something in it is called."""

from typing import NamedTuple, final

import numpy as np

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import DEAD, NUM_BYTES, ByteAutomaton, ByteDFA
from constrained_diffusion.automata.composition import composed
from constrained_diffusion.automata.network import network_of
from constrained_diffusion.automata.pushdown import Grammar, PushdownAutomaton, Windows, any_bytes
from constrained_diffusion.errors import LimitExceeded, UnsupportedConstraint
from constrained_diffusion.limits import Limits


@final
class _Core(NamedTuple):
    """The part of an expression that calls something, regular expressions that its texts must meet besides, and
    what these begin with: the texts of the whole are what follows it."""

    called: ex.Expression
    others: tuple[ex.Expression, ...] = ()
    beginning: bytes = b""


def acceptor(expression: ex.Expression, limits: Limits) -> ByteAutomaton:
    """The acceptor of a language.

    Raises:
        LimitExceeded: it would grow beyond ``limits``.
        UnsupportedConstraint: it is not one that a pushdown automaton accepts, such as the intersection of two that
            nest to any depth.
    """
    if not ex.may_call(expression):
        return ex.compile_expression(expression, limits)
    core = _core(expression)
    meter = ex.Meter(limits)
    root = ex.compile_expression(core.called, limits, meter=meter)
    others = ex.Intersection(core.others) if core.others else None
    if not root.has_calls:
        whole = root if others is None else ex.compile_expression(ex.Intersection((ex.Embedded(root), others)), limits)
        return ex.compile_expression(ex.Continuation(ex.Embedded(whole), core.beginning), limits)
    side = any_bytes() if others is None else ex.compile_expression(others, limits)
    grammar = _grammar_of(root, meter, limits)
    if 4 * len(grammar.bottoms) * grammar.num_states > limits.max_entries:  # windows for each place, several times
        raise LimitExceeded("max_entries", limits.max_entries, "the size of the tables for all places of its grammars")
    return PushdownAutomaton(grammar, Windows.largest(grammar, side.num_states), side, limits, core.beginning)


def _grammar_of(root: ByteDFA, meter: ex.Meter, limits: Limits) -> Grammar:
    """The grammar of an automaton over bytes and calls, and of what it calls.

    Raises:
        UnsupportedConstraint: it calls both grammars and schemas that refer to themselves.
    """
    definitions = [*meter.called]
    calls = root.table[:, root.byte_class[NUM_BYTES:]]
    called = np.flatnonzero(np.any(calls != DEAD, axis=0)).tolist()
    if all(definitions[number].grammar is None for number in called):
        return Grammar.of_network(network_of(root, meter, limits))
    grammars = {number: _tables_of(definitions[number]) for number in called}
    bytes_only = root.table[:, root.byte_class[:NUM_BYTES]]
    is_alone = len(grammars) == 1 and root.num_states == 2 and bool(np.all(bytes_only == DEAD))
    is_once = is_alone and root.accepting.tolist() == [False, True] and calls[1].max() == DEAD
    return grammars[called[0]] if is_once else composed(root, [grammars.get(i) for i in range(len(definitions))])


def _tables_of(definition: ex.Definition) -> Grammar:
    """The parser of a definition that stands among grammars."""
    if definition.grammar is not None:
        return definition.grammar
    if definition.as_grammar is not None:
        return definition.as_grammar()
    raise UnsupportedConstraint(
        f"a grammar and {definition.name}, which refers to itself, cannot be parts of one constraint; bound the depth "
        f"of the latter (any_depth=2)",
        construct="grammar beside a recursive schema",
    )


def _core(expression: ex.Expression) -> _Core:
    if isinstance(expression, ex.Continuation):
        inside = _core(expression.of)
        return inside._replace(beginning=inside.beginning + expression.prefix)
    if not isinstance(expression, ex.Intersection):
        return _Core(expression)
    called = [part for part in expression.parts if ex.may_call(part)]
    if len(called) > 1:
        raise UnsupportedConstraint(
            "two constraints that nest to any depth cannot hold for one text; bound the depth of one (any_depth=2)",
            construct="intersection of recursive constraints",
        )
    inside = _core(called[0])
    beginning = ex.literal(inside.beginning)
    others = (ex.concatenation(beginning, part) for part in expression.parts if part is not called[0])
    return inside._replace(others=(*inside.others, *others))
