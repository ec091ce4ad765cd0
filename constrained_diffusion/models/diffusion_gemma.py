"""DiffusionGemma as a denoiser, on transformers' own modules and cache."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoTokenizer,
    DiffusionGemmaConfig,
    DiffusionGemmaForBlockDiffusion,
    PreTrainedTokenizerBase,
)
from transformers.cache_utils import Cache, DynamicCache
from transformers.utils import logging as transformers_logging

from constrained_diffusion.automata.vocabulary import Vocabulary
from constrained_diffusion.errors import ModelError
from constrained_diffusion.models.denoiser import Denoiser, UniformNoise
from constrained_diffusion.models.prompting import PROMPT_FORMAT, ChatPrompt, OutlinePrompt, PlainPrompt, PromptFormat


@dataclass(frozen=True)
class GemmaContext:
    """The cache of everything read, and which of its positions count, bool [B, S]."""

    cache: Cache
    attention_mask: Tensor


@final
class DiffusionGemmaDenoiser(Denoiser):
    """Wraps ``DiffusionGemmaForBlockDiffusion``.

    The prompt is read by the causal encoder into a cache; each pass is one run of the
    bidirectional decoder over the canvas; a finished canvas is read by the encoder in turn.
    """

    def __init__(
        self,
        model: DiffusionGemmaForBlockDiffusion,
        tokenizer: PreTrainedTokenizerBase,
        prompt_format: PromptFormat | None = None,
    ) -> None:
        text_config = model.config.get_text_config()
        self.model = model.train(False)
        self.tokenizer = tokenizer
        self.vocabulary = Vocabulary.from_tokenizer(
            tokenizer,
            end_ids=_end_ids(model, tokenizer),
            pad_id=_first(model.generation_config.pad_token_id, tokenizer.pad_token_id),
        )
        self.canvas_length = int(model.config.canvas_length or 256)
        self.width = text_config.vocab_size
        self.noise = UniformNoise(self.width)
        self.prompt_format = prompt_format or _format_of(tokenizer)
        self.device = model.device
        self.max_length = text_config.max_position_embeddings

    def prompt_ids(self, prompt: str) -> list[int]:
        return [int(id) for id in self.tokenizer.encode(prompt, add_special_tokens=not self._has_start(prompt))]

    def text_ids(self, text: str) -> list[int]:
        """As the tokenizer writes it, unless that is not the text byte for byte."""
        ids = [int(id) for id in self.tokenizer.encode(text, add_special_tokens=False)]
        spelled = b"".join(self.vocabulary.tokens[id] or b"\xff" for id in ids)
        return ids if spelled == text.encode() else super().text_ids(text)

    @torch.no_grad()
    def encode(self, prompts: Sequence[Sequence[int]]) -> GemmaContext:
        rows = [list(prompt) for prompt in prompts]
        longest = max(len(row) for row in rows)
        if longest == 0:
            raise ModelError("the prompt is empty and the tokenizer adds nothing to it; give at least one character")
        if longest + self.canvas_length > self.max_length:
            raise ModelError(
                f"the prompt has {longest} tokens; with a canvas of {self.canvas_length} the model takes at most "
                f"{self.max_length - self.canvas_length}. Shorten the prompt"
            )
        pad = self.vocabulary.filler_id
        ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows], device=self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        mask = torch.arange(longest, device=self.device)[None, :] >= longest - lengths[:, None]
        cache = DynamicCache(config=self.model.config.get_text_config(decoder=True))
        return self._read(GemmaContext(cache, mask[:, :0]), ids, mask)

    def _has_start(self, prompt: str) -> bool:
        """Whether a chat template has already written the start token."""
        return bool(self.tokenizer.bos_token) and prompt.startswith(self.tokenizer.bos_token)

    def _read(self, context: GemmaContext, ids: Tensor, mask: Tensor) -> GemmaContext:
        seen = context.attention_mask.shape[1]
        full = torch.cat([context.attention_mask, mask], dim=1)
        positions = torch.arange(seen, full.shape[1], device=self.device)[None, :]
        output = self.model.model.encoder(
            input_ids=ids, attention_mask=full, past_key_values=context.cache, position_ids=positions
        )
        return GemmaContext(output.past_key_values, full)

    @torch.no_grad()
    def logits(self, context: GemmaContext, canvas: Tensor, self_conditioning: Tensor | None) -> Tensor:
        seen = context.attention_mask.shape[1]
        dtype = self.model.get_input_embeddings().weight.dtype
        output = self.model(
            past_key_values=context.cache,
            decoder_input_ids=canvas,
            self_conditioning_logits=None if self_conditioning is None else self_conditioning.to(dtype),
            decoder_attention_mask=torch.nn.functional.pad(context.attention_mask, (0, canvas.shape[1]), value=True),
            decoder_position_ids=torch.arange(seen, seen + canvas.shape[1], device=self.device)[None, :],
        )
        logits: Tensor = output.logits
        return logits

    @torch.no_grad()
    def commit(self, context: GemmaContext, canvas: Tensor) -> GemmaContext:
        return self._read(context, canvas, torch.ones_like(canvas, dtype=torch.bool))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _end_ids(model: DiffusionGemmaForBlockDiffusion, tokenizer: PreTrainedTokenizerBase) -> list[int] | None:
    """The end ids of the checkpoint's generation settings, and the tokenizer's own."""
    configured = _first(model.generation_config.eos_token_id, model.config.get_text_config().eos_token_id)
    if configured is None:
        return None
    ids = [configured] if isinstance(configured, int) else list(configured)
    own = tokenizer.eos_token_id
    return sorted({*ids, *([own] if isinstance(own, int) else [])})


def _format_of(tokenizer: PreTrainedTokenizerBase) -> PromptFormat:
    if tokenizer.init_kwargs.get(PROMPT_FORMAT) == OutlinePrompt.name:
        return OutlinePrompt()
    if not tokenizer.chat_template:
        return PlainPrompt()
    return ChatPrompt(
        lambda messages: str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    )


def load_diffusion_gemma(
    name_or_path: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    device_map: Any = None,
) -> DiffusionGemmaDenoiser:
    """Loads a checkpoint and its tokenizer from a folder or from the hub.

    Raises:
        ModelError: there is no such checkpoint, it is not a DiffusionGemma, or there is no such device or dtype.
    """
    if device is not None and device_map is not None:
        raise ModelError(f"both device={device!r} and device_map={device_map!r} are given; give one")
    place = None if device is None else _device(device)
    weights = "auto" if dtype in (None, "auto") else _dtype(dtype)
    _check_place(name_or_path)
    try:
        _check_kind(AutoConfig.from_pretrained(name_or_path).model_type)
        tokenizer = AutoTokenizer.from_pretrained(name_or_path)
        with _quiet():
            model = DiffusionGemmaForBlockDiffusion.from_pretrained(name_or_path, dtype=weights, device_map=device_map)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"cannot load a DiffusionGemma checkpoint from {str(name_or_path)!r}: {error}") from error
    if place is not None:
        _move(model, place)
    return DiffusionGemmaDenoiser(model, tokenizer)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers' progress bar off standard error."""
    was_shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if was_shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _check_kind(model_type: str) -> None:
    """Keeps transformers from filling this architecture with another one's weights."""
    expected = DiffusionGemmaConfig.model_type
    if model_type != expected:
        raise ModelError(f"the checkpoint is of type {model_type!r}, expected {expected!r}")


def _check_place(name_or_path: str | Path) -> None:
    """Tells a mistaken path from the name of a model on the hub, before that is asked.

    Raises:
        ModelError: it can only be meant as a path, and there is no checkpoint.
    """
    folder, name = Path(name_or_path), str(name_or_path)
    is_path = isinstance(name_or_path, Path) or folder.is_absolute() or name.startswith(("./", "../", "~"))
    if folder.is_dir() and not (folder / "config.json").exists():
        raise ModelError(
            f"the folder {name!r} holds no checkpoint, it has no config.json; expected one that save_pretrained wrote"
        )
    if folder.is_file() or (is_path and not folder.exists()):
        met = "is a file" if folder.is_file() else "does not exist"
        raise ModelError(f"{name!r} {met}; expected the folder of a checkpoint, or the name of a model on the hub")


def _dtype(dtype: object) -> torch.dtype:
    found = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ModelError(f"dtype is {dtype!r:.60}; expected a floating-point one, such as bfloat16 or float32")
    return found


def _device(device: Any) -> torch.device:
    try:
        return torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"device is {device!r:.60}; expected one such as cpu, cuda or cuda:1") from error


def _move(model: DiffusionGemmaForBlockDiffusion, device: torch.device) -> None:
    try:
        model.to(device)  # type: ignore[arg-type]
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"cannot put the model on device {str(device)!r}: {str(error).partition('.')[0]}") from error
