"""How a machine recognises a text: automata over bytes, lifted onto a vocabulary of tokens."""

from constrained_diffusion.compilation import announce_compilation

announce_compilation()
