"""What a call asks for, checked."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict, final

import torch
from torch import Tensor

from constrained_diffusion.checking import elements, instance_of, whole_number
from constrained_diffusion.constraints.base import Constraint
from constrained_diffusion.diffusion.loop import Draft
from constrained_diffusion.diffusion.policies import ConstantTemperature, Process, TemperatureSchedule
from constrained_diffusion.diffusion.slots import Ask
from constrained_diffusion.errors import InvalidConstraint, ModelError
from constrained_diffusion.limits import Limits


class Options(TypedDict, total=False):
    """Keyword arguments that every way of writing takes; ``Generator.generate`` explains them."""

    max_new_tokens: int
    seed: int | None
    max_passes: int | None
    temperature: float | TemperatureSchedule | None
    process: Process | None
    limits: Limits


class WritingOptions(Options, total=False):
    """Keyword arguments of ``Generator.generate``, which explains them, but for ``n``."""

    pins: Sequence[int] | Tensor | None
    ask: Ask
    on_pass: Callable[..., object] | None
    schema_in_prompt: bool | None
    batch_size: int
    progress: bool


@final
@dataclass(frozen=True)
class Settings:
    """What all texts of a call share."""

    max_new_tokens: int
    process: Process
    generator: torch.Generator
    limits: Limits


@final
@dataclass(frozen=True)
class Job:
    """A text to write: the ids of its prompt, the slots that each question of its draft is about, and what is given
    in front of it."""

    prompt: Sequence[int]
    constraint: Constraint | None
    draft: Draft
    names: tuple[tuple[str, ...], ...]
    given: bytes = b""


def checked_pieces(pieces: Sequence[str | None]) -> list[str | None]:
    """The pieces, neighbouring texts joined."""
    joined: list[str | None] = []
    for piece in elements(pieces, "pieces", "a list of texts, and None for holes", InvalidConstraint):
        if piece is not None and not isinstance(piece, str):
            raise InvalidConstraint(
                f"met {type(piece).__name__} {piece!r} among the pieces; expected texts, and None for holes"
            )
        if piece is not None and joined and joined[-1] is not None:
            joined[-1] += piece
        else:
            joined.append(piece)
    if None not in joined:
        raise InvalidConstraint("there is no hole to fill; put None where one is")
    return joined


def span_of(draft: str, kept: str | tuple[int, int]) -> tuple[int, int]:
    """Where a kept span stands, in bytes."""
    if isinstance(kept, str):
        if not kept or draft.count(kept) != 1:
            raise InvalidConstraint(
                f"{kept!r} occurs {draft.count(kept)} times in the draft; expected once. Give (begin, end) instead"
            )
        begin, end = draft.index(kept), draft.index(kept) + len(kept)
    else:
        if not isinstance(kept, tuple) or len(kept) != 2 or not all(isinstance(one, int) for one in kept):
            raise InvalidConstraint(f"met {kept!r} among what to keep; expected a text, or (begin, end) in characters")
        begin, end = kept
        if not 0 <= begin <= end <= len(draft):
            raise InvalidConstraint(f"the span {kept!r} is not within the draft of {len(draft)} characters")
    return len(draft[:begin].encode()), len(draft[:end].encode())


def listed(prompt: Any) -> tuple[bool, list[Any]]:
    """Whether several prompts are meant, and the prompts. A list of dicts is one chat."""
    if isinstance(prompt, str):
        return False, [prompt]
    if not isinstance(prompt, Sequence) or not prompt:
        raise ModelError(f"met {prompt!r}, expected a prompt, a chat, or a non-empty list of prompts")
    if isinstance(prompt[0], dict):
        return False, [prompt]
    return True, list(prompt)


def one_each(constraint: Any, count: int) -> list[Constraint | None]:
    several = isinstance(constraint, Sequence) and not isinstance(constraint, str)
    constraints = list(constraint) if several else [constraint] * count
    if len(constraints) != count:
        raise InvalidConstraint(f"met {len(constraints)} constraints for {count} prompts; give one, or one each")
    for one in constraints:
        if one is not None and not isinstance(one, Constraint):
            raise InvalidConstraint(
                f"met {type(one).__name__} as a constraint, expected one made by cd.regex, cd.json_schema, ...: {one!r}"
            )
    return constraints


def seeded(seed: int | None) -> int:
    """The seed as torch takes it; one drawn at random for None."""
    return (
        secrets.randbits(63) if seed is None else whole_number(seed, "seed", ModelError, least=-(2**63), most=2**64 - 1)
    )


def changed(process: Process, max_passes: int | None, temperature: float | TemperatureSchedule | None) -> Process:
    instance_of(process, Process, "process", ModelError)
    if max_passes is not None:
        process = replace(process, max_passes=max_passes)
    if temperature is not None:
        schedule = temperature if isinstance(temperature, TemperatureSchedule) else ConstantTemperature(temperature)
        process = replace(process, temperature=schedule)
    return process
