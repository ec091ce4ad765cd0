"""Grammars, and their automata with relaxations, as named arrays for saving; and back, checked."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata.byte_automaton import DEAD, ByteDFA
from constrained_diffusion.automata.frame import Frame
from constrained_diffusion.automata.network import Network
from constrained_diffusion.automata.pushdown import Grammar, PushdownAutomaton, Windows
from constrained_diffusion.automata.relaxation import Relaxation
from constrained_diffusion.automata.storage import read_arrays, write_arrays
from constrained_diffusion.automata.threads_nfa import UNMATCHED
from constrained_diffusion.errors import ModelError
from constrained_diffusion.limits import Limits

_FORMAT: Final = "constrained-diffusion grammar 2"
_DFA_ARRAYS: Final = ("table", "byte_class", "accepting")
_TABLES: Final = (
    *("action", "goto", "rule_length", "rule_origin", "is_end", "ignored"),
    *("scan", "byte_class", "match", "scan_start"),
)
_NUMBERS: Final = ("start", "shortest")
_FRAME: Final = tuple(Frame.__dataclass_fields__)
_NETWORK: Final = tuple(Network.__dataclass_fields__)


def save_grammar(grammar: Grammar, path: Path) -> None:
    """Writes a grammar to a file.

    Raises:
        ModelError: the folder is missing or cannot be written to.
    """
    write_arrays(path, {"format": np.array(_FORMAT), **grammar_arrays(grammar)})


def load_grammar(path: Path) -> Grammar:
    """Reads what ``save_grammar`` wrote.

    Raises:
        ModelError: the file is damaged or of another version.
    """
    return grammar_of(read_arrays(path, _FORMAT))


def dfa_arrays(dfa: ByteDFA, prefix: str = "") -> dict[str, Any]:
    """The arrays of a finite automaton by name."""
    return {prefix + name: getattr(dfa, name) for name in _DFA_ARRAYS}


def dfa_of(arrays: Mapping[str, Any], prefix: str = "") -> ByteDFA:
    """The finite automaton in ``dfa_arrays``.

    Raises:
        ModelError: the arrays do not fit together.
        KeyError: one is missing.
    """
    dfa = ByteDFA(*(arrays[prefix + name] for name in _DFA_ARRAYS))
    check_fit(dfa.table.ndim == 2 and dfa.byte_class.shape == (256,) and dfa.accepting.shape == (len(dfa.table),))
    _check_range(dfa.table, DEAD, len(dfa.table))
    _check_range(dfa.byte_class, 0, dfa.table.shape[1])
    return dfa


def grammar_arrays(grammar: Grammar) -> dict[str, Any]:
    """The arrays of a grammar by name."""
    if grammar.network is not None:
        return {f"network_{name}": getattr(grammar.network, name) for name in _NETWORK}
    items = [item for part in grammar.items for item in part]
    return {
        "grammar_terminals": np.array(grammar.terminals, np.str_),
        **{f"grammar_{name}": getattr(grammar, name) for name in _TABLES},
        **{f"grammar_{name}": np.array(getattr(grammar, name)) for name in _NUMBERS},
        "grammar_items": np.array(items, np.int64).reshape(-1, 3),
        "grammar_item_counts": np.array([len(part) for part in grammar.items], np.int64),
        "grammar_fingerprint": np.array(grammar.fingerprint or ""),
        **({} if grammar.frame is None else {f"frame_{name}": getattr(grammar.frame, name) for name in _FRAME}),
    }


def grammar_of(arrays: Mapping[str, Any]) -> Grammar:
    """The grammar in ``grammar_arrays``.

    Raises:
        ModelError: the arrays do not fit together.
        KeyError: one is missing.
    """
    if "network_table" in arrays:
        network = Network(*(arrays[f"network_{name}"] for name in _NETWORK))
        _check_network(network)
        return Grammar.of_network(network)
    tables: dict[str, Any] = {name: arrays[f"grammar_{name}"] for name in _TABLES}
    numbers: dict[str, Any] = {name: int(arrays[f"grammar_{name}"]) for name in _NUMBERS}
    counts = arrays["grammar_item_counts"]
    items = [(int(origin), int(dot), int(rest)) for origin, dot, rest in arrays["grammar_items"]]
    check_fit(bool(np.all(counts >= 0)) and int(counts.sum()) == len(items))
    begins = np.concatenate([[0], np.cumsum(counts)]).tolist()
    grammar = Grammar(
        terminals=tuple(str(name) for name in arrays["grammar_terminals"]),
        items=tuple(tuple(items[begin:end]) for begin, end in pairwise(begins)),
        fingerprint=str(arrays["grammar_fingerprint"]) or None,
        frame=Frame(*(arrays[f"frame_{name}"] for name in _FRAME)) if "frame_table" in arrays else None,
        **tables,
        **numbers,
    )
    _check_grammar(grammar, np.array(items, np.int64).reshape(-1, 3))
    return grammar


def _check_grammar(grammar: Grammar, items: NDArray[np.int64]) -> None:
    """Whether all shapes and indices are such that no compiled kernel reads outside an array."""
    states, terminals, rules = grammar.num_states, len(grammar.terminals), len(grammar.rule_length)
    scan_states, nonterminals = len(grammar.scan), grammar.goto.shape[-1]
    check_fit(states > 0 and scan_states > 0 and len(grammar.items) == states)
    check_fit(grammar.action.shape == (states, terminals + 1) and grammar.goto.shape == (states, nonterminals))
    check_fit(grammar.rule_origin.shape == (rules,) and grammar.ignored.shape == (terminals,))
    check_fit(grammar.is_end.shape == (states,) and grammar.is_end.dtype == np.bool_)
    check_fit(grammar.scan.ndim == 2 and grammar.byte_class.shape == (256,))
    check_fit(grammar.match.shape == (scan_states,) and grammar.scan_start.shape == (states,))
    _check_range(grammar.action, -1 - rules, states)
    _check_range(grammar.goto, -1, states)
    _check_range(grammar.rule_length, 0, 2**16)
    _check_range(grammar.rule_origin, 0, nonterminals)
    _check_range(grammar.scan, DEAD, scan_states)
    _check_range(grammar.byte_class, 0, grammar.scan.shape[1])
    _check_range(grammar.match, UNMATCHED, terminals)
    _check_range(grammar.scan_start, 0, scan_states)
    _check_range(np.array([grammar.start]), 0, states)
    _check_range(items[:, 0], -1, nonterminals)
    _check_range(items[:, 1:], 0, 2**31)
    if grammar.frame is not None:
        _check_frame(grammar.frame, states, grammar.scan.shape[1])


def _check_network(network: Network) -> None:
    states, bodies, places = network.num_states, len(network.begin) - 1, len(network.callee)
    check_fit(network.table.ndim == 2 and network.call.shape == network.table.shape and network.tag.shape == (states,))
    check_fit(network.byte_class.shape == (256,) and network.home.shape == (places,) and network.back.ndim == 2)
    check_fit(len(network.back) == places > 0 and bodies > 0 and bool(np.all(np.diff(network.begin) > 0)))
    check_fit(int(network.begin[0]) == 0 and int(network.begin[-1]) == states and int(network.callee[0]) == 0)
    check_fit(bool(np.all((network.home == DEAD) == (np.arange(places) == 0))))
    _check_range(network.table, DEAD, states)
    _check_range(network.byte_class, 0, network.table.shape[1])
    _check_range(network.call, DEAD, places)
    _check_range(network.tag, DEAD, network.back.shape[1])
    _check_range(network.callee, 0, bodies)
    _check_range(network.home, DEAD, bodies)
    _check_range(network.back, DEAD, states)
    owner = np.repeat(np.arange(bodies), np.diff(network.begin))
    check_fit(_stays(network.table, owner, owner[:, None]) and _stays(network.back, owner, network.home[:, None]))
    check_fit(_stays(network.call, network.home, owner[:, None]))


def _stays(targets: NDArray[np.int32], owner: NDArray[Any], wanted: NDArray[Any]) -> bool:
    """Whether what is led to belongs to the automaton that it should."""
    return bool(np.all((owner[targets] == wanted) | (targets == DEAD)))


def _check_frame(frame: Frame, parser_states: int, byte_classes: int) -> None:
    states, places = frame.num_states, len(frame.bottom)
    check_fit(states > 0 and frame.table.shape == (states, byte_classes) and frame.accepting.shape == (states,))
    check_fit(frame.call_begin.shape == (states + 1,) and bool(np.all(np.diff(frame.call_begin) >= 0)))
    check_fit(int(frame.call_begin[0]) == 0 and int(frame.call_begin[-1]) == len(frame.calls))
    check_fit(frame.back.shape == (places,) and frame.shortest.shape == (places,) and places > 0)
    _check_range(frame.table, DEAD, states)
    _check_range(frame.calls, 0, places)
    _check_range(frame.bottom, 0, parser_states)
    _check_range(frame.back, 0, states)
    _check_range(frame.shortest, 0, 2**31)


def automaton_arrays(automaton: PushdownAutomaton, relaxation: Relaxation) -> dict[str, Any]:
    """The arrays of a grammar's automaton and of what its relaxation knows beside the finite automaton."""
    return {
        **grammar_arrays(automaton.grammar),
        **dfa_arrays(automaton.side, "side_"),
        "beginning": np.frombuffer(automaton.beginning, np.uint8),
        "windows": np.array([automaton.windows.size, automaton.windows.is_forgetful, automaton.windows.has_places]),
        "max_configurations": np.array(automaton.limits.max_configurations),
        "place": relaxation.place,
        "outside": relaxation.outside,
        "entry": relaxation.entry,
    }


def automaton_of(arrays: Mapping[str, Any], dfa: ByteDFA) -> tuple[PushdownAutomaton, Relaxation]:
    """The automaton and the relaxation in ``automaton_arrays``, given the finite automaton of the latter.

    Raises:
        ModelError: the arrays do not fit together.
        KeyError: one is missing.
    """
    grammar, side = grammar_of(arrays), dfa_of(arrays, "side_")
    size, is_forgetful, has_places = arrays["windows"].tolist()
    check_fit(0 < size < 2**10 and is_forgetful in (0, 1) and has_places in (0, 1))
    windows = Windows.of(grammar, size, is_forgetful=bool(is_forgetful), has_places=bool(has_places))
    relaxation = Relaxation(dfa, arrays["place"], arrays["outside"], arrays["entry"])
    check_fit(len(relaxation.outside) == (1 if grammar.frame is None else grammar.frame.num_states))
    check_fit(arrays["beginning"].ndim == 1 and arrays["beginning"].dtype == np.uint8)
    check_fit(relaxation.place.shape == (len(windows.known), len(grammar.scan)))
    check_fit(relaxation.entry.ndim == 2 and relaxation.entry.shape[1] == side.num_states)
    _check_range(relaxation.place, DEAD, len(relaxation.entry))
    _check_range(relaxation.outside, DEAD, len(relaxation.entry))
    _check_range(relaxation.entry, DEAD, dfa.num_states)
    limits = Limits(max_configurations=int(arrays["max_configurations"]))
    return PushdownAutomaton(grammar, windows, side, limits, arrays["beginning"].tobytes()), relaxation


def check_fit(is_fit: bool) -> None:
    """
    Raises:
        ModelError: arrays that were read do not fit together.
    """
    if not is_fit:
        raise ModelError("its arrays do not fit together; compile and save it again")


def _check_range(values: NDArray[Any], least: int, below: int) -> None:
    check_fit(not values.size or bool(values.min() >= least and values.max() < below))
