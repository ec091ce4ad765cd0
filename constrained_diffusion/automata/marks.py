"""How special tokens are written in the bytes of automata: between two bytes that UTF-8 never has."""

import re
from typing import Final

_BEGIN: Final = b"\xff"
_END: Final = b"\xfe"
MARK_BEGIN: Final = _BEGIN[0]
MARK_END: Final = _END[0]
_MARK: Final = re.compile(_BEGIN + b"[^\xfe]*" + _END)


def mark(name: str) -> bytes:
    """The bytes that stand for the special token of this name."""
    return _BEGIN + name.encode() + _END


def has_mark_bytes(spelling: bytes) -> bool:
    """Whether a token holds bytes that belong to marks alone."""
    return _BEGIN in spelling or _END in spelling


def without_marks(content: bytes) -> bytes:
    """The text proper: special tokens are never part of it."""
    return _MARK.sub(b"", content)


def marked_names(content: bytes) -> list[str]:
    """The names of the special tokens in it, each once."""
    return list(dict.fromkeys(found[1:-1].decode() for found in _MARK.findall(content)))


def shown(content: bytes) -> str:
    """The content for a message, special tokens by their names."""
    return content.replace(_BEGIN, b"").replace(_END, b"").decode(errors="replace")
