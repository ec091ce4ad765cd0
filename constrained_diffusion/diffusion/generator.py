"""The front door: prompts and constraints in, finished texts out."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, final
from weakref import WeakKeyDictionary

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from constrained_diffusion.automata.token_automaton import TokenAutomaton, compile_constraint
from constrained_diffusion.checking import instance_of, whole_number
from constrained_diffusion.constraints.base import Constraint
from constrained_diffusion.constraints.json_schema import JsonSchema, json_schema
from constrained_diffusion.diffusion.generation import Generation, PassRecord, Stats
from constrained_diffusion.diffusion.loop import Draft, OnPass, write
from constrained_diffusion.diffusion.policies import ConstantTemperature, Process, TemperatureSchedule
from constrained_diffusion.errors import InvalidConstraint, ModelError
from constrained_diffusion.limits import Limits
from constrained_diffusion.models.denoiser import Denoiser, Prompt

_UNSET: Final[Any] = object()


@final
class Generator:
    """Writes texts that meet constraints with a model.

    Attributes:
        denoiser: the model.
        process: how a canvas is refined unless a call says otherwise.
    """

    def __init__(self, denoiser: Denoiser, process: Process = Process()) -> None:
        self.denoiser = denoiser
        self.process = process
        self._compiled: WeakKeyDictionary[Constraint, dict[Limits, TokenAutomaton]] = WeakKeyDictionary()

    def compile(self, constraint: Constraint, *, limits: Limits = Limits()) -> TokenAutomaton:
        """The constraint compiled for this model's vocabulary; kept as long as the constraint lives.

        Raises:
            InfeasibleError, LimitExceeded: as ``cd.compile`` does.
        """
        kept = self._compiled.setdefault(constraint, {})
        if limits not in kept:
            kept[limits] = compile_constraint(constraint, self.denoiser.vocabulary, limits=limits)
        return kept[limits]

    def generate(
        self,
        prompt: Prompt | Sequence[Prompt],
        constraint: Constraint | Sequence[Constraint | None] | None = None,
        *,
        max_new_tokens: int = 256,
        seed: int | None = None,
        on_pass: Callable[..., object] | None = None,
        max_passes: int | None = None,
        temperature: float | TemperatureSchedule | None = None,
        process: Process | None = None,
        schema_in_prompt: bool | None = None,
        batch_size: int = 8,
        progress: bool = False,
        limits: Limits = Limits(),
    ) -> Any:
        """Writes a text for a prompt: a ``Generation``, or a list of them for a list of prompts.

        Args:
            prompt: a text; for a model with a chat template also the messages of a chat (dicts
                with role and content); or a list of prompts, each of these.
            constraint: what the text must be; one for all prompts, or one each. None: anything,
                which is then neither valid nor complete by promise.
            max_new_tokens: the text and its end token are at most this long.
            seed: the same seed, model and arguments give the same texts; None draws one.
            on_pass: called after every pass with its ``PassRecord``; for a list of prompts with
                the number of the prompt before it.
            max_passes, temperature: changes to ``process``; a number is a constant temperature.
            process: how a canvas is refined; None is the generator's own.
            schema_in_prompt: whether the prompt also describes the JSON Schema of the constraint;
                None leaves it to the model's prompt format.
            batch_size: prompts that share one forward pass.
            progress: shows a progress bar on stderr.
            limits: bounds on the compilation of constraints.

        Raises:
            InfeasibleError: no text of the language fits into ``max_new_tokens``.
            LimitExceeded: the constraint grows beyond ``limits`` when compiled.
            ModelError: the prompt does not suit the model.
        """
        is_list, prompts = _listed(prompt)
        constraints = _one_each(constraint, len(prompts))
        whole_number(max_new_tokens, "max_new_tokens", ModelError, least=1, most=2**30)
        whole_number(batch_size, "batch_size", ModelError, least=1)
        instance_of(limits, Limits, "limits", InvalidConstraint)
        process = _changed(self.process if process is None else process, max_passes, temperature)
        automata = [None if c is None else self.compile(c, limits=limits) for c in constraints]
        drafts = [Draft(automaton, max_new_tokens) for automaton in automata]
        texts = [self._prompt_text(p, c, schema_in_prompt) for p, c in zip(prompts, constraints, strict=True)]
        generator = torch.Generator(self.denoiser.device)
        generator.manual_seed(_seed(seed))
        with _progress_bar(len(prompts), progress) as shown:
            for first in range(0, len(prompts), batch_size):
                part = slice(first, first + batch_size)
                notify = _notifier(on_pass, shown, first, is_list)
                write(self.denoiser, texts[part], drafts[part], process, generator, notify)
                shown(None, min(first + batch_size, len(prompts)))
        results = [self._result(draft, c) for draft, c in zip(drafts, constraints, strict=True)]
        return results if is_list else results[0]

    def json(
        self,
        prompt: Prompt | Sequence[Prompt],
        schema_or_type: Any,
        *,
        schema_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Writes JSON of a schema or a Python type and gives its value; a list of them for a list of prompts.

        Args:
            prompt: as for ``generate``.
            schema_or_type: a JSON Schema (a dict or a bool), a constraint made by
                ``cd.json_schema``, or a type: a pydantic model, a dataclass, a TypedDict,
                ``Literal[...]``, an Enum, ``list[...]`` and the like.
            schema_options: keyword arguments for ``cd.json_schema``.
            options: keyword arguments for ``generate``.

        Returns:
            The parsed JSON, or for a type a validated instance.

        Raises:
            InvalidConstraint, UnsupportedConstraint: the schema is malformed or cannot be enforced.
            InfeasibleError: no JSON of the schema fits into ``max_new_tokens``.
        """
        constraint = self._schema(schema_or_type, schema_options or {})
        result = self.generate(prompt, constraint, **options)
        return [one.value for one in result] if isinstance(result, list) else result.value

    def _schema(self, schema_or_type: Any, options: dict[str, Any]) -> JsonSchema:
        if not isinstance(schema_or_type, JsonSchema):
            return json_schema(schema_or_type, **options)
        if options:
            raise InvalidConstraint("schema_options go with a schema or a type; this constraint already has its own")
        return schema_or_type

    def _prompt_text(self, prompt: Prompt, constraint: Constraint | None, wanted: bool | None) -> str:
        prompt_format = self.denoiser.prompt_format
        schema = constraint.schema if isinstance(constraint, JsonSchema) else None
        if wanted and schema is None:
            raise InvalidConstraint(
                "schema_in_prompt=True needs a JSON Schema as the constraint; it has nothing to describe"
            )
        is_described = prompt_format.describes_schema if wanted is None else wanted
        return prompt_format.text(prompt, schema if is_described else None)

    def _result(self, draft: Draft, constraint: Constraint | None) -> Generation:
        text = self._text(draft)
        return Generation(
            text=text,
            value=text if constraint is None else constraint.parse(text),
            token_ids=tuple(draft.ids),
            probabilities=tuple(draft.probabilities),
            log_probability=draft.log_probability,
            stats=Stats(
                passes=len(draft.records),
                tokens=len(draft.ids) + draft.is_ended,
                seconds_model=draft.seconds_model,
                seconds_constraint=draft.seconds_constraint,
                log_z=tuple(record.log_z for record in draft.records),
            ),
            trace=tuple(draft.records),
            warnings=() if constraint is None else constraint.warnings,
        )

    def _text(self, draft: Draft) -> str:
        if draft.automaton is not None:
            return draft.automaton.text(draft.ids)
        vocabulary = self.denoiser.vocabulary
        return vocabulary.decode([i for i in draft.ids if i < len(vocabulary)]).decode(errors="replace")


def _listed(prompt: Any) -> tuple[bool, list[Any]]:
    """Whether several prompts are meant, and the prompts. A list of dicts is one chat."""
    if isinstance(prompt, str):
        return False, [prompt]
    if not isinstance(prompt, Sequence) or not prompt:
        raise ModelError(f"met {prompt!r}, expected a prompt, a chat, or a non-empty list of prompts")
    if isinstance(prompt[0], dict):
        return False, [prompt]
    return True, list(prompt)


def _one_each(constraint: Any, count: int) -> list[Constraint | None]:
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


def _seed(seed: int | None) -> int:
    """The seed as torch takes it; one drawn at random for None."""
    return (
        secrets.randbits(63) if seed is None else whole_number(seed, "seed", ModelError, least=-(2**63), most=2**64 - 1)
    )


def _changed(process: Process, max_passes: int | None, temperature: float | TemperatureSchedule | None) -> Process:
    instance_of(process, Process, "process", ModelError)
    if max_passes is not None:
        process = replace(process, max_passes=max_passes)
    if temperature is not None:
        schedule = temperature if isinstance(temperature, TemperatureSchedule) else ConstantTemperature(temperature)
        process = replace(process, temperature=schedule)
    return process


_Show = Callable[[PassRecord | None, int | None], None]


@contextmanager
def _progress_bar(total: int, is_wanted: bool) -> Iterator[_Show]:
    """Gives a function that shows a pass, or how many texts are done."""
    if not is_wanted:
        yield lambda record, done: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("writing", total=total)

        def show(record: PassRecord | None, done: int | None) -> None:
            if record is not None:
                bar.update(task, description=f"pass {record.number}, {record.undetermined} open")
            if done is not None:
                bar.update(task, completed=done)

        yield show


def _notifier(on_pass: Callable[..., object] | None, shown: _Show, first: int, is_list: bool) -> OnPass:
    def notify(row: int, record: PassRecord) -> None:
        shown(record, None)
        if on_pass is not None:
            _ = on_pass(first + row, record) if is_list else on_pass(record)

    return notify
