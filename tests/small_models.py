"""Small random DiffusionGemma checkpoints, made on the spot."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    DiffusionGemmaConfig,
    DiffusionGemmaForBlockDiffusion,
    PreTrainedTokenizerFast,
)
from transformers.models.diffusion_gemma import DiffusionGemmaTextConfig

from constrained_diffusion.models.tiny.train import smallest_vision_config

PAD_ID, END_ID, START_ID = 0, 1, 2
MERGES = ["ab", "cd", '": ', ', "', "12", "tr", "tru", "true"]


def byte_tokenizer(chat_template=None) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with all bytes and a few merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    spell = str.maketrans({" ": "Ġ"})
    pieces = ["<pad>", "<eos>", "<bos>", *alphabet]
    merges = []
    for text in (merge.translate(spell) for merge in MERGES):
        merges.append((text[:-1], text[-1]))
        for piece in (text[:-1], text):
            if piece not in pieces:
                pieces.append(piece)
    merges = [m for m in merges if m[0] in pieces]
    tokenizer = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, [m for m in merges if "".join(m) in pieces]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<bos>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>")
    if chat_template:
        fast.chat_template = chat_template
    return fast


def random_model(tokenizer, *, canvas_length=16, extra_rows=0, seed=0) -> DiffusionGemmaForBlockDiffusion:
    """A DiffusionGemma with random weights; ``extra_rows`` embeddings beyond the tokenizer."""
    torch.manual_seed(seed)
    text = DiffusionGemmaTextConfig(
        vocab_size=len(tokenizer) + extra_rows,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        layer_types=["sliding_attention", "full_attention"],
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        global_head_dim=16,
        sliding_window=64,
        max_position_embeddings=512,
        num_experts=2,
        top_k_experts=1,
        moe_intermediate_size=16,
        initializer_range=0.3,
        pad_token_id=PAD_ID,
        eos_token_id=END_ID,
        bos_token_id=START_ID,
    )
    config = DiffusionGemmaConfig(text_config=text, vision_config=smallest_vision_config(), canvas_length=canvas_length)
    model = DiffusionGemmaForBlockDiffusion(config).eval()
    model.generation_config.eos_token_id = END_ID
    model.generation_config.pad_token_id = PAD_ID
    return model
