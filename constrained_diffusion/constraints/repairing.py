"""The nearest text of a language: fewest bytes inserted, deleted or replaced (Wagner 1974)."""

from collections import deque
from typing import Final

from constrained_diffusion.automata.byte_automaton import DEAD, ByteAutomaton

_MOST_NODES: Final = 300_000
"""Pairs of an offset and a state that the search looks at before it gives up."""
Node = tuple[int, int]


def nearest(automaton: ByteAutomaton, content: bytes) -> tuple[int, bytes] | None:
    """How many edits the text needs, and what it then is; None if the search grows too large, or nothing is accepted.

    >>> from constrained_diffusion.constraints.regex import regex
    >>> nearest(regex("[0-9]{3}-[a-z]+").automaton(), b"12-abc")
    (1, b'120-abc')
    """
    start = (0, automaton.start)
    if automaton.start == DEAD:
        return None
    before: dict[Node, tuple[Node, bytes]] = {}
    edits = {start: 0}
    done: set[Node] = set()
    queue = deque([start])
    steps: dict[int, dict[int, int]] = {}
    while queue and len(edits) < _MOST_NODES:
        node = queue.popleft()
        if node in done:
            continue
        done.add(node)
        offset, state = node
        if offset == len(content) and automaton.accepts(state):
            return edits[node], _spelled(node, before)
        for following, spelled, cost in _neighbours(automaton, content, node, steps):
            if following not in edits or edits[node] + cost < edits[following]:
                edits[following] = edits[node] + cost
                before[following] = (node, spelled)
                (queue.append if cost else queue.appendleft)(following)
    return None


def _neighbours(
    automaton: ByteAutomaton, content: bytes, node: Node, steps: dict[int, dict[int, int]]
) -> list[tuple[Node, bytes, int]]:
    """Where one byte kept, or one edit, leads; what it spells, and what it costs."""
    offset, state = node
    if state not in steps:
        steps[state] = _one_byte_each(automaton, state)
    inserted = [((offset, target), bytes([byte]), 1) for target, byte in steps[state].items()]
    if offset == len(content):
        return inserted
    replaced = [((offset + 1, target), bytes([byte]), 1) for target, byte in steps[state].items()]
    deleted = ((offset + 1, state), b"", 1)
    kept = automaton.step(state, content[offset])
    same = [((offset + 1, kept), content[offset : offset + 1], 0)] if kept != DEAD else []
    return [*same, deleted, *replaced, *inserted]


def _one_byte_each(automaton: ByteAutomaton, state: int) -> dict[int, int]:
    """A byte that leads to each neighbouring state, a printable one where there is one."""
    found: dict[int, int] = {}
    for byte in sorted(automaton.next_bytes(state), key=lambda byte: (not 0x20 <= byte < 0x7F, byte)):
        found.setdefault(automaton.step(state, byte), byte)
    return found


def _spelled(node: Node, before: dict[Node, tuple[Node, bytes]]) -> bytes:
    spelled = []
    while node in before:
        node, piece = before[node]
        spelled.append(piece)
    return b"".join(reversed(spelled))
