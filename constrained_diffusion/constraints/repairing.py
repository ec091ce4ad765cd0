"""The nearest text of a language: fewest characters inserted, deleted or replaced (Wagner 1974)."""

from collections import deque
from typing import Final

from constrained_diffusion.automata.byte_automaton import DEAD, ByteAutomaton
from constrained_diffusion.automata.marks import MARK_BEGIN, MARK_END
from constrained_diffusion.automata.utf8 import encoded_length

_MOST_NODES: Final = 300_000
"""Places that the search looks at before it gives up."""
Node = tuple[int, int, int]
"""Characters of the text that are dealt with, a state, and the bytes that the character being written still needs; or
``_IN_MARK`` while a special token is."""
_IN_MARK: Final = -1


def nearest(automaton: ByteAutomaton, content: bytes) -> tuple[int, bytes] | None:
    """How many edits the text needs, and what it then is; None if the search grows too large, or nothing is accepted.

    An edit is of one character, or of one special token; a byte that is not UTF-8 where it stands counts as one.

    >>> from constrained_diffusion.constraints.regex import regex
    >>> nearest(regex("[0-9]{3}-[a-z]+").automaton(), b"12-abc")
    (1, b'120-abc')
    """
    start = (0, automaton.start, 0)
    if automaton.start == DEAD:
        return None
    characters = [c.encode(errors="surrogateescape") for c in content.decode(errors="surrogateescape")]
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
        place, state, missing = node
        if place == len(characters) and not missing and automaton.accepts(state):
            return edits[node], _spelled(node, before)
        for following, spelled, cost in _neighbours(automaton, characters, node, steps):
            if following not in edits or edits[node] + cost < edits[following]:
                edits[following] = edits[node] + cost
                before[following] = (node, spelled)
                (queue.append if cost else queue.appendleft)(following)
    return None


def _neighbours(
    automaton: ByteAutomaton, characters: list[bytes], node: Node, steps: dict[int, dict[int, int]]
) -> list[tuple[Node, bytes, int]]:
    """Where one character kept, one byte more of a new one, or one edit leads; what it spells, and what it costs."""
    place, state, missing = node
    if state not in steps:
        steps[state] = _one_byte_each(automaton, state)
    written = [(target, byte, _left(missing, byte)) for target, byte in steps[state].items()]
    if missing:
        return [((place, target, left), bytes([byte]), 0) for target, byte, left in written]
    inserted = [((place, target, left), bytes([byte]), 1) for target, byte, left in written]
    if place == len(characters):
        return inserted
    replaced = [((place + 1, target, left), spelled, cost) for (_, target, left), spelled, cost in inserted]
    deleted = ((place + 1, state, 0), b"", 1)
    kept = automaton.run(characters[place], state)
    same = [((place + 1, kept, 0), characters[place], 0)] if kept != DEAD else []
    return [*same, deleted, *replaced, *inserted]


def _left(missing: int, byte: int) -> int:
    """What is still to be written of a character or special token behind one byte more of it."""
    if byte == MARK_BEGIN or missing == _IN_MARK:
        return 0 if byte == MARK_END else _IN_MARK
    return (missing or encoded_length(byte)) - 1


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
