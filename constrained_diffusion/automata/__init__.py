"""How a machine recognises a text: automata over bytes, lifted onto a vocabulary of tokens."""
