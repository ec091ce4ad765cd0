"""The token classes that every lifted automaton has."""

from typing import Final

DEAD_CLASS: Final = 0
"""Tokens that occur nowhere in the language, special tokens among them."""
END_CLASS: Final = 1
"""The end-of-text tokens."""
