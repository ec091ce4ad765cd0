"""Real vocabularies for benchmarks, without a model hub."""

import base64
import json
from importlib import resources

from constrained_diffusion.automata.vocabulary import Vocabulary

TEKKEN = "tekken_240911.json"
END_ID, PAD_ID = 2, 11
"""Tekken's ``</s>`` and ``<pad>``."""


def tekken() -> Vocabulary:
    """Mistral's Tekken: 131,072 tokens, of which the first 1,000 are special. Needs ``mistral-common``."""
    content = json.loads(resources.files("mistral_common").joinpath("data", TEKKEN).read_text())
    size, special = content["config"]["default_vocab_size"], content["config"]["default_num_special_tokens"]
    by_rank = sorted(content["vocab"], key=lambda entry: entry["rank"])[: size - special]
    tokens = [None] * special + [base64.b64decode(entry["token_bytes"]) for entry in by_rank]
    return Vocabulary(tokens, END_ID, PAD_ID)
