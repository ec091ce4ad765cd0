"""Trains the bundled model: ``python -m constrained_diffusion.models.tiny.train --out DIR``.

The architecture is DiffusionGemma's own, made small. The data are the synthetic sentences of
``corpus.py``. Training stops and resumes at any point: start the same command again.
"""

import argparse
import itertools
import json
import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn import functional
from transformers import (
    DiffusionGemmaConfig,
    DiffusionGemmaForBlockDiffusion,
    Gemma4VisionConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.diffusion_gemma import DiffusionGemmaTextConfig

from constrained_diffusion.models.prompting import PROMPT_FORMAT, OutlinePrompt, outline
from constrained_diffusion.models.tiny.corpus import Example, copying_examples, examples

PAD, END, START = "<pad>", "<eos>", "<bos>"
PAD_ID, END_ID, START_ID = 0, 1, 2
WORDS_DIGITS_REST = r"\p{L}+|\p{N}|[^\p{L}\p{N}]+"
"""A word is the same tokens behind a space and behind a quote, and every digit is a token of its own,
so that copying is easy."""


@dataclass(frozen=True)
class Cycle:
    """A stretch of training: the learning rate rises, stays, and falls again."""

    steps: int
    cooldown_share: float
    """The last part lowers the learning rate."""
    full_canvas_share: float = 0.06
    """The very last part runs on canvases of full length."""
    spelled_share: float = 0.0
    """Share of the coined words that are spelled at random."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result."""

    cycles: tuple[Cycle, ...] = (
        Cycle(7_000, cooldown_share=0.428),
        Cycle(6_400, cooldown_share=0.6, spelled_share=0.25),
    )
    warmup_steps: int = 100
    copying_steps: tuple[int, int] = (600, 600)
    """The first steps see only sentences to copy from, plain ones and then varied ones: attention to
    the prompt is then learned in minutes, and hardly ever without."""
    batch_size: int = 32
    full_canvas_batch_size: int = 16
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    tail_weight: float = 0.05
    """Weight of the loss behind the end token, where only padding is left to write."""
    vocabulary_size: int = 896
    canvas_length: int = 256
    seed: int = 0

    @property
    def steps(self) -> int:
        return sum(cycle.steps for cycle in self.cycles)

    def cycle_at(self, step: int) -> tuple[Cycle, int]:
        """The cycle that a step falls into, and the number of the step in it."""
        for cycle in self.cycles:
            if step < cycle.steps:
                return cycle, step
            step -= cycle.steps
        return self.cycles[-1], self.cycles[-1].steps


# --- tokenizer and architecture ------------------------------------------------------------------


def prompt_of(example: Example) -> str:
    """The bundled model's prompt format: the sentence, then the outline of the wanted JSON."""
    return f"{example.text}\n{outline(example.schema)}\n"


def answer_of(example: Example) -> str:
    return json.dumps(example.value, ensure_ascii=False)


def train_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer over the synthetic corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS_DIGITS_REST), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary_size,
        special_tokens=[PAD, END, START],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = itertools.islice(examples(recipe.seed), 20_000)
    tokenizer.train_from_iterator((prompt_of(e) + answer_of(e) for e in corpus), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A", special_tokens=[(START, START_ID)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        bos_token=START,
        clean_up_tokenization_spaces=False,
        **{PROMPT_FORMAT: OutlinePrompt.name},
    )


def smallest_vision_config() -> Gemma4VisionConfig:
    """The architecture has a vision tower even where only text is read."""
    return Gemma4VisionConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
        position_embedding_size=16,
    )


def build_model(recipe: Recipe) -> DiffusionGemmaForBlockDiffusion:
    """DiffusionGemma's architecture with a few million parameters and random weights."""
    torch.manual_seed(recipe.seed)
    layer_types = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]
    text = DiffusionGemmaTextConfig(
        vocab_size=recipe.vocabulary_size,
        hidden_size=192,
        intermediate_size=480,
        num_hidden_layers=len(layer_types),
        layer_types=layer_types,
        num_attention_heads=6,
        num_key_value_heads=6,
        head_dim=32,
        global_head_dim=32,  # type: ignore[call-arg]
        sliding_window=1024,
        max_position_embeddings=8192,
        num_experts=2,
        top_k_experts=2,
        moe_intermediate_size=96,
        pad_token_id=PAD_ID,
        eos_token_id=END_ID,
        bos_token_id=START_ID,
    )
    config = DiffusionGemmaConfig(
        text_config=text, vision_config=smallest_vision_config(), canvas_length=recipe.canvas_length
    )
    model = DiffusionGemmaForBlockDiffusion(config)
    soften_attention(model)
    return model


def soften_attention(model: DiffusionGemmaForBlockDiffusion) -> None:
    """Starts attention scores at unit variance.

    The architecture does not divide scores by the square root of the head size; from random
    weights attention would be saturated, and copying from the prompt is then hardly learned.
    """
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("self_attn.q_norm.weight") and "vision" not in name:
                weight.fill_(len(weight) ** -0.5)


# --- batches -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """Token ids of a prompt and of what the canvas should hold; ``anchor`` tokens at its end are given."""

    prompt: list[int]
    answer: list[int]
    anchor: int = 0


def whole_answers(tokenizer: PreTrainedTokenizerFast, stream: Iterator[Example]) -> Iterator[Task]:
    """A prompt and all of its answer."""
    for example in stream:
        yield Task(tokenizer.encode(prompt_of(example)), [*tokenizer.encode(answer_of(example))[1:], END_ID])


def tasks(tokenizer: PreTrainedTokenizerFast, stream: Iterator[Example], seed: int) -> Iterator[Task]:
    """Mostly whole answers; some continue an answer or a sentence up to a given end."""
    rng = random.Random(f"tasks/{seed}")
    for example in stream:
        kind = rng.random()
        prompt = [] if kind < 0.04 else tokenizer.encode(prompt_of(example))
        written = tokenizer.encode(example.text if kind < 0.04 else answer_of(example))
        if kind >= 0.1:
            yield Task(prompt, [*written[1:], END_ID])
            continue
        cut = rng.randint(1, len(written) - 1)
        anchor = rng.randint(0, len(written) - cut) if rng.random() < 0.7 else 0
        prefix = written[:cut] if not prompt else [*prompt, *written[1:cut]]
        yield Task(prefix, [*written[cut:], END_ID], anchor + 1 if anchor else 0)


@dataclass(frozen=True)
class Batch:
    """``prompt`` int [B, P]; ``target`` int [B, L]; ``given`` bool [B, L] is never noised."""

    prompt: Tensor
    target: Tensor
    given: Tensor

    @property
    def length(self) -> Tensor:
        """Positions up to and including the end token, int [B]."""
        return (self.target == END_ID).int().argmax(-1) + 1


def batches(recipe: Recipe, stream: Iterator[Task], seed: int) -> Iterator[Batch]:
    """Batches whose prompts have one length, since the decoder does not mask a padded prompt by itself."""
    rng = random.Random(f"batches/{seed}")
    while True:
        by_length: dict[int, list[Task]] = defaultdict(list)
        for task in itertools.islice(stream, 8_000):
            by_length[len(task.prompt)].append(task)
        groups = [
            group[i : i + recipe.batch_size]
            for group in by_length.values()
            for i in range(0, len(group), recipe.batch_size)
        ] * 2
        rng.shuffle(groups)
        for group in groups:
            if len(group) >= recipe.batch_size // 4 and group[0].prompt:
                yield collate(group, rng, recipe)


def curriculum(tokenizer: PreTrainedTokenizerFast, recipe: Recipe, first_step: int) -> Iterator[Batch]:
    """The batches from a step on: the first cycle begins with copying."""
    seed, step = recipe.seed + first_step, first_step
    end = 0
    for steps, is_varied in zip(recipe.copying_steps, (False, True), strict=True):
        end += steps
        easy = whole_answers(tokenizer, copying_examples(seed, is_varied=is_varied))
        yield from itertools.islice(batches(recipe, easy, seed), max(end - step, 0))
        step = max(step, end)
    end = 0
    for cycle in recipe.cycles:
        end += cycle.steps
        stream = examples(seed, spelled_share=cycle.spelled_share)
        yield from itertools.islice(batches(recipe, tasks(tokenizer, stream, seed), seed), max(end - step, 0))
        step = max(step, end)


def collate(group: list[Task], rng: random.Random, recipe: Recipe) -> Batch:
    longest = max(len(task.answer) for task in group)
    length = min(longest + rng.randint(0, 24), recipe.canvas_length)
    target = torch.full((len(group), length), PAD_ID)
    given = torch.zeros(len(group), length, dtype=torch.bool)
    for row, task in enumerate(group):
        answer = task.answer[:length]
        target[row, : len(answer)] = torch.tensor(answer)
        if task.anchor:
            given[row, max(len(answer) - task.anchor, 0) : len(answer)] = True
    return Batch(torch.tensor([task.prompt for task in group]), target, given)


def at_full_length(batch: Batch, recipe: Recipe) -> Batch:
    """The first rows of the batch on a canvas of the length used at inference."""
    rows = recipe.full_canvas_batch_size
    missing = recipe.canvas_length - batch.target.shape[1]
    return Batch(
        batch.prompt[:rows],
        functional.pad(batch.target[:rows], (0, missing), value=PAD_ID),
        functional.pad(batch.given[:rows], (0, missing), value=False),
    )


def noised(batch: Batch, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """The canvas as the sampler might show it: part right, part uniformly random. int [B, L]."""
    rows, length = batch.target.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    scattered = uniform(rows, length) < uniform(rows, 1)
    behind_a_prefix = torch.arange(length) >= uniform(rows, 1) * batch.length[:, None]
    mode = uniform(rows, 1)
    is_noise = torch.where(mode < 0.5, scattered, torch.where(mode < 0.75, behind_a_prefix, torch.ones_like(scattered)))
    random_ids = torch.randint(recipe.vocabulary_size, (rows, length), generator=generator)
    return torch.where(is_noise & ~batch.given, random_ids, batch.target)


# --- training ------------------------------------------------------------------------------------


def partly_accepted(canvas: Tensor, guess: Tensor, given: Tensor, generator: torch.Generator) -> Tensor:
    """The canvas one pass later: a random share of the most certain positions holds what the model drew. int [B, L].

    The model so learns to mend its own mistakes, not only random tokens (Savinov et al. 2022).
    """
    rows, length = canvas.shape
    probabilities = guess.softmax(-1)
    drawn = torch.multinomial(probabilities.flatten(0, 1), 1, generator=generator).view(rows, length)
    rank = torch.special.entr(probabilities).sum(-1).argsort(-1).argsort(-1)
    is_accepted = rank < length * torch.rand(rows, 1, generator=generator)
    return torch.where(is_accepted & ~given, drawn, canvas)


def loss_of(model: DiffusionGemmaForBlockDiffusion, batch: Batch, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Cross-entropy of the clean tokens; half of the steps are a second pass behind a first guess."""
    canvas = noised(batch, recipe, generator)
    encoded = model.model.encoder(input_ids=batch.prompt).past_key_values
    guess = None
    if torch.rand(1, generator=generator) < 0.5:
        temperature = 0.3 + 0.7 * torch.rand(1, generator=generator)
        with torch.no_grad():
            guess = model(past_key_values=encoded, decoder_input_ids=canvas).logits / temperature
        canvas = partly_accepted(canvas, guess, batch.given, generator)
    output = model(past_key_values=encoded, decoder_input_ids=canvas, self_conditioning_logits=guess)
    losses = functional.cross_entropy(output.logits.flatten(0, 1), batch.target.flatten(), reduction="none")
    is_text = torch.arange(batch.target.shape[1]) < batch.length[:, None]
    weights = torch.where(is_text, 1.0, recipe.tail_weight).flatten()
    return (losses * weights).sum() / weights.sum()


def learning_rate(step: int, recipe: Recipe) -> float:
    """In each cycle up during warm-up, then constant, and in the last part down to a fiftieth."""
    cycle, step = recipe.cycle_at(step)
    up = (step + 1) / recipe.warmup_steps
    down = (cycle.steps - step) / (cycle.steps * cycle.cooldown_share)
    return recipe.learning_rate * max(min(up, down, 1.0), 0.02)


def optimizers_of(model: DiffusionGemmaForBlockDiffusion, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for everything else.

    Muon (Jordan et al. 2024) makes each update of a matrix orthogonal. Copying from the prompt is learned in a
    third of the steps that AdamW alone takes. Its updates are scaled to AdamW's size, so one rate serves both.
    """
    matrices = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and _is_inside(name)]
    is_matrix = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in is_matrix]
    common: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    return [
        torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **common),
        torch.optim.AdamW(others, betas=(0.9, 0.98), **common),
    ]


def _is_inside(name: str) -> bool:
    is_text_layer = "language_model.layers" in name and "router" not in name
    return is_text_layer or "self_conditioning" in name


class Trainer:
    """Holds what a checkpoint holds: weights, optimizer and the number of steps taken."""

    def __init__(self, recipe: Recipe, work: Path) -> None:
        self.recipe, self.work = recipe, work
        self.model = build_model(recipe)
        self.optimizers = optimizers_of(self.model, recipe)
        self.step = 0
        if (work / "optimizer.pt").exists():
            self.load()

    def load(self) -> None:
        state = torch.load(self.work / "optimizer.pt", weights_only=True)
        self.step = state["step"]
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        weights = load_file(self.work / f"weights-{self.step}.safetensors")
        self.model.load_state_dict(weights, strict=False)

    def save(self) -> None:
        """Writes the weights first; the optimizer file names them, so a cut between the two loses nothing."""
        self.work.mkdir(parents=True, exist_ok=True)
        weights = {name: value.contiguous() for name, value in self.model.named_parameters()}
        kept = self.work / f"weights-{self.step}.safetensors"
        save_file(weights, kept)
        states = [optimizer.state_dict() for optimizer in self.optimizers]
        torch.save({"step": self.step, "optimizers": states}, self.work / "optimizer.tmp")
        (self.work / "optimizer.tmp").replace(self.work / "optimizer.pt")
        for old in self.work.glob("weights-*.safetensors"):
            if old != kept:
                old.unlink()

    def train_step(self, batch: Batch) -> float:
        """One update. The noise depends on the step alone, so a resumed run repeats no noise."""
        generator = torch.Generator().manual_seed(hash((self.recipe.seed, self.step)) % 2**31)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self.step, self.recipe)
        cycle, step = self.recipe.cycle_at(self.step)
        is_full = cycle.steps - step <= cycle.steps * cycle.full_canvas_share
        loss = loss_of(self.model, at_full_length(batch, self.recipe) if is_full else batch, self.recipe, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        return loss.item()


def train(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, work: Path, save_every: int) -> Trainer:
    """Runs the recipe to its end, from the last checkpoint in ``work`` if there is one."""
    trainer = Trainer(recipe, work)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    average = float("nan")
    with Progress(*columns) as progress:
        bar = progress.add_task("training", total=recipe.steps, completed=trainer.step)
        for batch in curriculum(tokenizer, recipe, trainer.step):
            if trainer.step >= recipe.steps:
                break
            loss = trainer.train_step(batch)
            average = loss if math.isnan(average) else 0.98 * average + 0.02 * loss
            progress.update(bar, completed=trainer.step, description=f"loss {average:.4f}")
            if trainer.step % save_every == 0:
                trainer.save()
                progress.console.print(f"step {trainer.step}: loss {average:.4f}")
    trainer.save()
    return trainer


def export(trainer: Trainer, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Writes a checkpoint that ``from_pretrained`` reads, weights in bfloat16."""
    generation: dict[str, Any] = {"eos_token_id": END_ID, "pad_token_id": PAD_ID, "bos_token_id": START_ID}
    for name, value in generation.items():
        setattr(trainer.model.generation_config, name, value)
    trainer.model.bfloat16().save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "checkpoint", help="where the model goes")
    parser.add_argument("--work", type=Path, default=Path("build/tiny"), help="where checkpoints of the training go")
    parser.add_argument("--save-every", type=int, default=250)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    recipe = Recipe()
    tokenizer = train_tokenizer(recipe)
    export(train(recipe, tokenizer, arguments.work, arguments.save_every), tokenizer, arguments.out)


if __name__ == "__main__":
    main()
