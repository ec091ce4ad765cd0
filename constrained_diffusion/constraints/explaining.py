"""Where a text leaves a language, and what could have followed there."""

import codecs
from typing import Final

from rich.cells import cell_len

from constrained_diffusion.automata.byte_automaton import DEAD, ByteAutomaton
from constrained_diffusion.automata.utf8 import encoded_length

_MARGIN: Final = 60
"""Columns of a line that are shown on each side of the place."""
_MANY: Final = 12
"""More characters than these are not told one by one."""


def explanation(automaton: ByteAutomaton, content: bytes) -> str:
    """``line:column: what was met and what was expected``, with the line and a caret below it.

    Lines and columns are counted from 1, columns in characters.

    >>> from constrained_diffusion.constraints.regex import regex
    >>> print(explanation(regex("[0-9]+ (apples|pears)").automaton(), b"12 ponies"))
    1:5: met 'o', expected 'e'
      12 ponies
          ^
    """
    offset = automaton.first_error(content)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    before = decoder.decode(content if offset is None else content[:offset])
    start = (len(content) if offset is None else offset) - len(decoder.getstate()[0])
    line = before.count("\n")
    column = len(before) - before.rfind("\n")
    text = content.split(b"\n")[line].decode(errors="replace").removesuffix("\r")
    met = "the text ends" if offset is None else f"met {_character(content, start, offset)}"
    expected = _expected(automaton, automaton.run(content[:start]))
    return f"{line + 1}:{column}: {met}, expected {expected}\n{_pointed(text, column)}"


def _character(content: bytes, start: int, offset: int) -> str:
    """The character that begins at ``start``, or else the byte at ``offset`` that keeps it from being one."""
    character = content[start : start + 4].decode(errors="replace")[:1]
    if character == "\ufffd" and content[start : start + 3] != "\ufffd".encode():
        return f"the byte 0x{content[offset]:02x}, which is not UTF-8 here"
    return repr(character)


def _pointed(line: str, column: int) -> str:
    """A line, or the part of it around a column, and a caret below the column."""
    first = max(column - 1 - _MARGIN, 0)
    shown = "".join(c if c.isprintable() else " " for c in line[first : column + _MARGIN])
    before = "..." if first else ""
    behind = "..." if len(line) > column + _MARGIN else ""
    width = cell_len(before + shown[: column - 1 - first])
    return f"  {before}{shown}{behind}\n  {' ' * width}^"


def _expected(automaton: ByteAutomaton, state: int) -> str:
    if state == DEAD:
        return "nothing: no text at all is in the language"
    following = automaton.next_bytes(state)
    names = _ranges([byte for byte in following if byte < 0x80])
    others = [byte for byte in following if byte >= 0x80]
    if 0xFF in others:
        others.remove(0xFF)
        names.append("a special token")
    if others and len(following) - len(others) > 60:
        missing = ", ".join(_missing(following))
        names = [f"any character but {missing}" if missing else "any character"]
    elif others:
        names += _non_ascii(automaton, state, others)
    if automaton.accepts(state):
        names.append("the end of the text")
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or "nothing"


def _ranges(codes: list[int]) -> list[str]:
    """Characters by name; four and more in a row as a range."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][-1] + 1:
            runs[-1].append(code)
        else:
            runs.append([code])
    names = [
        [f"{chr(run[0])!r} to {chr(run[-1])!r}"] if len(run) > 3 else [repr(chr(code)) for code in run] for run in runs
    ]
    return [name for part in names for name in part]


def _missing(options: list[int]) -> list[str]:
    printable = [repr(chr(byte)) for byte in range(0x20, 0x7F) if byte not in options]
    return [*printable, "controls"] if 0 not in options else printable


def _non_ascii(automaton: ByteAutomaton, state: int, first_bytes: list[int]) -> list[str]:
    """The characters that begin with one of the bytes, if they are few."""
    begun = [(bytes([byte]), automaton.step(state, byte)) for byte in first_bytes]
    characters: list[str] = []
    while begun and len(begun) + len(characters) <= _MANY:
        spelled, reached = begun.pop(0)
        if len(spelled) == encoded_length(spelled[0]):
            characters.append(repr(spelled.decode()))
        else:
            begun += [
                (spelled + bytes([byte]), automaton.step(reached, byte)) for byte in automaton.next_bytes(reached)
            ]
    return ["a non-ASCII character"] if begun else sorted(characters)
