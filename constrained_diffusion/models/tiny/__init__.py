"""The bundled model: DiffusionGemma's architecture with a few million parameters.

A demonstration, not a language model. It reads one sentence about a person, an order, an event
and the like, and writes the JSON that is asked for. ``train.py`` made it from ``corpus.py``.
"""

from pathlib import Path
from typing import Final

CHECKPOINT: Final = Path(__file__).parent / "checkpoint"
"""Where its weights, configuration and tokenizer lie."""
