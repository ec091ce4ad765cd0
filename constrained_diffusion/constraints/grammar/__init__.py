"""Context-free grammars in Lark's language."""

from constrained_diffusion.constraints.grammar.constraint import LarkGrammar, grammar, library_names

__all__ = ["LarkGrammar", "grammar", "library_names"]
