"""JSON values in the syntax of Gemma's tool calls: bare keys, and strings between quote tokens.

``{"city": "Rome", "days": [1, 2]}`` is ``{city:<|"|>Rome<|"|>,days:[1,2]}``, where ``<|"|>`` is one special token.
Nothing inside a string is escaped.
"""

import json
from functools import lru_cache
from typing import Any, Final, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import DEAD, NUM_BYTES, ByteDFA
from constrained_diffusion.automata.marks import mark, shown
from constrained_diffusion.constraints.base import RegularConstraint
from constrained_diffusion.constraints.json_schema import JsonSchema
from constrained_diffusion.errors import ConstraintError

QUOTE: Final = mark('<|"|>')
_OUTSIDE, _IN_KEY, _BEHIND_KEY, _IN_STRING, _ESCAPED = range(5)
_UNESCAPED: Final = {b'"'[0]: b'"', b"\\"[0]: b"\\", b"n"[0]: b"\n", b"t"[0]: b"\t", b"r"[0]: b"\r"}
_KEY_BYTES: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.$") | set(
    range(0x80, 256)
)


@final
class GemmaValue(RegularConstraint):
    """The values of a JSON Schema, written without whitespace in Gemma's syntax.

    Keys hold only letters, digits and ``_-.$``; strings hold every character but rare controls.
    """

    def __init__(self, schema: JsonSchema) -> None:
        self.schema = schema
        self.warnings = schema.warnings

    @property
    def expression(self) -> ex.Expression:
        return _Rewritten(self.schema.expression)

    def value(self, content: bytes) -> Any:
        return self.schema.parse(as_json(content))

    def __repr__(self) -> str:
        return f"gemma({self.schema!r})"


@final
class _Rewritten(ex.Expression):
    """JSON texts without whitespace, letter by letter in the other syntax."""

    def __init__(self, json_texts: ex.Expression) -> None:
        self.json_texts = json_texts

    @property
    def inner(self) -> tuple[ex.Expression, ...]:
        return (self.json_texts,)

    def add_to(self, nfa: ex.NFA, enter: int, leave: int) -> None:
        dfa = ex.compile_expression(self.json_texts, nfa.limits, meter=nfa.meter)
        if not dfa.is_empty:
            _Rewriter(nfa, dfa).add(enter, leave)


@lru_cache(maxsize=256)
def _rewritten(definition: ex.Definition) -> ex.Definition:
    """The texts of a definition in the other syntax."""
    other = ex.Definition(definition.name)
    other.body = _Rewritten(definition.body)
    return other


@final
class _Rewriter:
    """Adds a state to the NFA for each state of the JSON automaton and each place within a value."""

    def __init__(self, nfa: ex.NFA, dfa: ByteDFA) -> None:
        self.nfa, self.dfa = nfa, dfa
        self.states: dict[tuple[int, int], int] = {}
        self.open: list[tuple[int, int]] = []

    def add(self, enter: int, leave: int) -> None:
        self.nfa.add_empty(enter, self.state(self.dfa.start, _OUTSIDE))
        while self.open:
            state, place = self.open.pop()
            if place == _OUTSIDE and self.dfa.accepts(state):
                self.nfa.add_empty(self.states[state, place], leave)
            if place == _OUTSIDE:
                self.add_calls(self.states[state, place], state)
            for byte in self.dfa.next_bytes(state):
                self.add_step(self.states[state, place], place, byte, self.dfa.step(state, byte))

    def add_calls(self, source: int, state: int) -> None:
        """A value that is called is called in the other syntax."""
        for definition, letter in [*self.nfa.meter.called.items()]:
            column = self.dfa.byte_class[NUM_BYTES + letter : NUM_BYTES + letter + 1]
            for target in self.dfa.table[state, column].tolist():
                if target != DEAD:
                    ex.Call(_rewritten(definition)).add_to(self.nfa, source, self.state(target, _OUTSIDE))

    def state(self, state: int, place: int) -> int:
        if (state, place) not in self.states:
            self.states[state, place] = self.nfa.new_state()
            self.open.append((state, place))
        return self.states[state, place]

    def spell(self, source: int, spelled: bytes, state: int, place: int) -> None:
        """Spells the bytes from ``source`` to a state and place."""
        ex.literal(spelled).add_to(self.nfa, source, self.state(state, place))

    def add_step(self, source: int, place: int, byte: int, target: int) -> None:
        """What one byte of JSON becomes."""
        spelled = bytes([byte])
        if place == _OUTSIDE and spelled == b'"':  # which of the two it is shows behind its end
            self.spell(source, b"", target, _IN_KEY)
            self.spell(source, QUOTE, target, _IN_STRING)
        elif place == _OUTSIDE and spelled != b":":
            self.spell(source, spelled, target, _OUTSIDE)
        elif place == _IN_KEY and spelled == b'"':
            self.spell(source, b"", target, _BEHIND_KEY)
        elif place == _IN_KEY and byte in _KEY_BYTES:
            self.spell(source, spelled, target, _IN_KEY)
        elif place == _BEHIND_KEY and spelled == b":":
            self.spell(source, spelled, target, _OUTSIDE)
        elif place == _IN_STRING:
            self.add_string_step(source, spelled, target)
        elif place == _ESCAPED and byte in _UNESCAPED:
            self.spell(source, _UNESCAPED[byte], target, _IN_STRING)

    def add_string_step(self, source: int, spelled: bytes, target: int) -> None:
        if spelled == b'"':
            self.spell(source, QUOTE, target, _OUTSIDE)
        elif spelled == b"\\":
            self.spell(source, b"", target, _ESCAPED)
        else:
            self.spell(source, spelled, target, _IN_STRING)


def as_json(content: bytes) -> str:
    """A value in Gemma's syntax, quote tokens marked, as JSON.

    Raises:
        ConstraintError: it is not one.
    """
    pieces = []
    for i, piece in enumerate(content.split(QUOTE)):
        pieces.append(json.dumps(piece.decode(errors="replace")) if i % 2 else _keys_quoted(piece.decode()))
    text = "".join(pieces)
    try:
        json.loads(text)
    except ValueError as error:
        raise ConstraintError(f"met {shown(content)!r}, expected a value in Gemma's syntax: {error}") from error
    return text


def _keys_quoted(text: str) -> str:
    """A stretch without strings, its bare keys in quotes."""
    quoted, key = "", ""
    for letter in text:
        if letter in "{},[]":
            quoted, key = quoted + key + letter, ""
        elif letter == ":":
            quoted, key = quoted + json.dumps(key, ensure_ascii=False) + letter, ""
        else:
            key += letter
    return quoted + key
