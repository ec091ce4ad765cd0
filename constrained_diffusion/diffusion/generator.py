"""The front door: prompts and constraints in, finished texts out."""

import codecs
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any, Final, TypeVar, Unpack, final, overload
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from constrained_diffusion.automata.marks import without_marks
from constrained_diffusion.automata.token_automaton import TokenAutomaton, compile_constraint
from constrained_diffusion.checking import elements, instance_of, whole_number
from constrained_diffusion.constraints.base import Constraint, coerced, excluding
from constrained_diffusion.constraints.choice import choice, utf8
from constrained_diffusion.constraints.free_text import text as free_text
from constrained_diffusion.constraints.infilling import Infilling
from constrained_diffusion.constraints.json_schema import JsonSchema, json_schema
from constrained_diffusion.constraints.template import Slot, Template
from constrained_diffusion.diffusion.generation import Answer, Generation, PassRecord, Stats
from constrained_diffusion.diffusion.loop import Draft, OnPass, write
from constrained_diffusion.diffusion.policies import Process
from constrained_diffusion.diffusion.progress import notifier, progress_bar
from constrained_diffusion.diffusion.requests import (
    Job,
    Options,
    Settings,
    WritingOptions,
    changed,
    checked_pieces,
    listed,
    one_each,
    seeded,
    span_of,
)
from constrained_diffusion.diffusion.slots import Ask, costliest_slot, most_probable_first, questions_of, slots_of
from constrained_diffusion.errors import InfeasibleError, InvalidConstraint, ModelError
from constrained_diffusion.inference.posterior import FREE
from constrained_diffusion.limits import Limits
from constrained_diffusion.models.denoiser import Denoiser, Prompt

_ANY_TEXT: Final = free_text()
_SCHEMA_OPTIONS: Final = list(signature(json_schema).parameters)[1:]
_MOST_WRITTEN: Final = 10_000
"""Different texts for one prompt at most."""
_LONGEST_HOLE: Final = 1_000_000
T = TypeVar("T")
Prompts = list[Any] | tuple[Any, ...]
"""Several prompts, for type checkers: to them a string is a sequence of strings too, which here it is not."""


@final
class Generator:
    """Writes texts that meet constraints with a model.

    Attributes:
        denoiser: the model.
        process: how a canvas is refined unless a call says otherwise.
    """

    def __init__(self, denoiser: Denoiser, process: Process = Process()) -> None:
        instance_of(denoiser, Denoiser, "denoiser", ModelError)
        instance_of(process, Process, "process", ModelError)
        self.denoiser = denoiser
        self.process = process
        self._compiled: WeakKeyDictionary[Constraint, dict[Limits, TokenAutomaton]] = WeakKeyDictionary()

    def compile(self, constraint: Constraint, *, limits: Limits = Limits()) -> TokenAutomaton:
        """The constraint compiled for this model's vocabulary; kept as long as the constraint lives.

        Raises:
            InfeasibleError, LimitExceeded: as ``cd.compile`` does.
        """
        instance_of(constraint, Constraint, "constraint", InvalidConstraint)
        instance_of(limits, Limits, "limits", InvalidConstraint)
        kept = self._compiled.setdefault(constraint, {})
        if limits not in kept:
            kept[limits] = compile_constraint(constraint, self.denoiser.vocabulary, limits=limits)
        return kept[limits]

    def __repr__(self) -> str:
        return f"Generator({self.denoiser!r}, {self.process!r})"

    @overload
    def generate(
        self,
        prompt: Prompt,
        constraint: Constraint | None = None,
        *,
        n: None = None,
        **options: Unpack[WritingOptions],
    ) -> Generation: ...

    @overload
    def generate(
        self, prompt: Prompt, constraint: Constraint | None = None, *, n: int, **options: Unpack[WritingOptions]
    ) -> list[Generation]: ...

    @overload
    def generate(
        self,
        prompt: Prompts,
        constraint: Constraint | Sequence[Constraint | None] | None = None,
        *,
        n: None = None,
        **options: Unpack[WritingOptions],
    ) -> list[Generation]: ...

    @overload
    def generate(
        self,
        prompt: Prompt | Sequence[Prompt],
        constraint: Constraint | Sequence[Constraint | None] | None = None,
        *,
        n: int | None = None,
        **options: Unpack[WritingOptions],
    ) -> Generation | list[Generation]: ...

    def generate(
        self,
        prompt: Prompt | Sequence[Prompt],
        constraint: Constraint | Sequence[Constraint | None] | None = None,
        *,
        n: int | None = None,
        pins: Sequence[int] | Tensor | None = None,
        ask: Ask = None,
        on_pass: Callable[..., object] | None = None,
        schema_in_prompt: bool | None = None,
        batch_size: int = 8,
        progress: bool = False,
        **options: Unpack[Options],
    ) -> Generation | list[Generation]:
        """Writes a text for a prompt: a ``Generation``, or a list of them for a list of prompts and with ``n``.

        Args:
            prompt: a text; for a model with a chat template also the messages of a chat (dicts
                with role and content); or a list of prompts, each of these.
            constraint: what the text must be; one for all prompts, or one each. None: anything,
                which is then neither valid nor complete by promise.
            n: write this many different texts for one prompt, the most probable first; fewer if there are no more.
            pins: the token id that each position of the text must hold, or -1 (see ``Generator.pins``).
            ask: names of slots, or tuples of names, whose probabilities to list; None: slots with at most 64 texts, the
                first ones with 256 texts together.
            on_pass: called after every pass with its ``PassRecord``; for a list of prompts, and for several texts, with
                the number of the prompt or text before it.
            schema_in_prompt: whether the prompt also describes the JSON Schema of the constraint;
                None leaves it to the model's prompt format.
            batch_size: prompts that share one forward pass.
            progress: shows a progress bar on stderr.
            max_new_tokens: the text and its end token are at most this long; 256.
            seed: the same seed, model and arguments give the same texts; None draws one.
            process: how a canvas is refined; None is the generator's own.
            max_passes, temperature: changes to ``process``; a number is a constant temperature.
            limits: bounds on the compilation of constraints.

        Raises:
            InfeasibleError: no text of the language fits into ``max_new_tokens``, or has the pinned tokens.
            LimitExceeded: the constraint grows beyond ``limits`` when compiled.
            ModelError: the prompt or the pins do not suit the model.
        """
        is_list, prompts = listed(prompt)
        constraints = one_each(constraint, len(prompts))
        whole_number(batch_size, "batch_size", ModelError, least=1)
        settings = self._settings(**options)
        if n is not None:
            whole_number(n, "n", ModelError, least=1, most=_MOST_WRITTEN)
            if is_list:
                raise ModelError(f"n={n} goes with one prompt, met a list of {len(prompts)}")
        given = self._checked_pins(pins)
        texts = [self._prompt_text(p, c, schema_in_prompt) for p, c in zip(prompts, constraints, strict=True)]

        def job(text: str, constraint: Constraint | None, excluded: Sequence[bytes] = ()) -> Job:
            return self._job(text, constraint, settings, ask=ask, pins=given, excluded=excluded)

        if n is not None:
            with progress_bar(n, progress) as shown:
                notify = notifier(on_pass, shown, is_list=True)
                return self._several(partial(job, texts[0]), constraints[0], n, settings, batch_size, notify)
        jobs = [job(text, c) for text, c in zip(texts, constraints, strict=True)]
        with progress_bar(len(jobs), progress) as shown:
            for first in range(0, len(jobs), batch_size):
                part = jobs[first : first + batch_size]
                notify = notifier(on_pass, shown, first, is_list)
                self._finish(part, settings, notify)
                shown(None, first + len(part))
        results = [self._result(job) for job in jobs]
        return results if is_list else results[0]

    def stream(
        self,
        prompt: Prompt,
        constraint: Constraint | None = None,
        *,
        on_pass: Callable[[PassRecord], object] | None = None,
        schema_in_prompt: bool | None = None,
        **options: Unpack[Options],
    ) -> Iterator[str]:
        """Writes a text for one prompt and gives it canvas by canvas, as each is finished; the arguments are those of
        ``generate``. A character that a canvas cuts comes with the next one.

        Raises:
            InfeasibleError, LimitExceeded, ModelError: as ``generate`` does; what shows before the model runs, at once.
        """
        settings = self._settings(**options)
        job = self._job(self._prompt_text(prompt, constraint, schema_in_prompt), constraint, settings, ask=())
        return self._streamed(job, settings, notifier(on_pass))

    def _streamed(self, job: Job, settings: Settings, notify: OnPass) -> Iterator[str]:
        vocabulary, draft = self.denoiser.vocabulary, job.draft
        decoder = codecs.getincrementaldecoder("utf-8")("replace" if job.constraint is None else "strict")
        shown = 0
        for _ in self._write([job], settings, notify):
            content = vocabulary.decode(i for i in draft.ids[shown:] if i < len(vocabulary))
            shown = len(draft.ids)
            yield decoder.decode(content, final=draft.is_done)

    def infill(
        self,
        prefix: str,
        suffix: str,
        constraint: Constraint | None = None,
        *,
        prompt: str = "",
        ask: Ask = None,
        on_pass: Callable[[PassRecord], object] | None = None,
        **options: Unpack[Options],
    ) -> Generation:
        """Writes what stands between two texts, at whatever length it needs.

        Args:
            prefix, suffix: the given ends; they stay byte for byte, whatever tokens spell the seams.
            constraint: what prefix, middle and suffix are together, such as ``prefix + cd.regex("[a-z]+") + suffix``;
                None: anything.
            prompt: a request in front of the prefix.
            ask: which slots of the constraint to list the probabilities of, as for ``generate``.
            on_pass: called after every pass with its ``PassRecord``.
            options: as for ``generate``; ``max_new_tokens`` is for middle and suffix.

        Returns:
            A ``Generation`` whose ``text`` is the middle. All else is about the whole text: ``value`` if there is a
            constraint, the places in ``slots`` (the middle is "0", beside those of the constraint), and the tokens,
            which spell middle and suffix.

        Raises:
            InfeasibleError: no middle fits between the two in ``max_new_tokens``.
        """
        result = self.infill_many(
            [prefix, None, suffix], constraint, prompt=prompt, ask=ask, on_pass=on_pass, **options
        )
        middle = result.slots["0"].text
        return replace(result, text=middle, value=middle if constraint is None else result.value)

    def infill_many(
        self,
        pieces: Sequence[str | None],
        constraint: Constraint | None = None,
        *,
        prompt: str = "",
        ask: Ask = None,
        on_pass: Callable[[PassRecord], object] | None = None,
        **options: Unpack[Options],
    ) -> Generation:
        """Writes the holes (None) among given texts, all at once.

        Args:
            pieces: given texts and holes, in order.
            constraint, prompt, ask, on_pass, options: as for ``infill``.

        Returns:
            A ``Generation`` of the whole text; ``slots`` holds the holes, called "0", "1", ..., and the slots of the
            constraint.

        Raises:
            InfeasibleError: no texts fit into the holes in ``max_new_tokens``.
        """
        given = checked_pieces(pieces)
        settings = self._settings(**options)
        beginning = utf8(given[0]) if given and given[0] is not None else b""
        instance_of(prompt, str, "prompt", ModelError)
        context = self._prompt_text(prompt, None, None) if prompt else ""
        ids = self._prompt_ids(context + beginning.decode())
        healed = self._healed(ids, beginning)
        rest = [None if piece is None else utf8(piece) for piece in given[1 if beginning else 0 :]]
        begun = beginning[: len(beginning) - len(healed)]
        filling = Infilling(begun, [healed, *rest], None if constraint is None else coerced(constraint))
        job = self._job(ids[: len(ids) - 1] if healed else ids, filling, settings, ask=ask)
        self._finish([job], settings, notifier(on_pass))
        return self._result(replace(job, given=begun))

    def _healed(self, ids: Sequence[int], beginning: bytes) -> bytes:
        """The last token's bytes if it lies within the beginning: the canvas may spell them otherwise, together with
        what follows. Nothing if the model would have nothing left to read."""
        spelling = self.denoiser.vocabulary.tokens[ids[-1]] if len(ids) > 1 else None
        return spelling if spelling and beginning.endswith(spelling) else b""

    def revise(
        self,
        prompt: Prompt,
        draft: str,
        keep: Sequence[str | tuple[int, int]],
        constraint: Constraint | None = None,
        *,
        on_pass: Callable[[PassRecord], object] | None = None,
        schema_in_prompt: bool | None = None,
        **options: Unpack[Options],
    ) -> Generation:
        """Rewrites a draft around the spans that are to stay, each at its place.

        Args:
            draft: the text to start from; the model sees it on the canvas.
            keep: texts that occur once in the draft, or (begin, end) in characters. The tokens that spell them are
                pinned where they are; what is between two of them keeps its length in tokens.
            constraint: what the whole text must be; None: anything.
            on_pass, schema_in_prompt, options: as for ``generate``.

        Raises:
            InfeasibleError: the kept spans contradict the constraint.
            InvalidConstraint: a text to keep does not occur in the draft, or more than once.
        """
        settings = self._settings(**options)
        spans = elements(keep, "keep", "a list of texts, or of (begin, end)", InvalidConstraint)
        instance_of(draft, str, "draft", InvalidConstraint)
        utf8(draft)
        ids = self.denoiser.text_ids(draft)
        pins = self._kept(ids, [span_of(draft, kept) for kept in spans])
        text = self._prompt_text(prompt, constraint, schema_in_prompt)
        job = self._job(
            text, constraint, settings, ask=(), pins=pins, start=[*ids, self.denoiser.vocabulary.end_ids[0]]
        )
        self._finish([job], settings, notifier(on_pass))
        return self._result(job)

    def _kept(self, ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[int]:
        """The ids that share a byte with a span, -1 in place of the others."""
        vocabulary = self.denoiser.vocabulary
        offsets = list(itertools.accumulate((len(vocabulary.spellings[id] or b"") for id in ids), initial=0))
        return [
            id if any(begin < offsets[i + 1] and offsets[i] < end for begin, end in spans) else FREE
            for i, id in enumerate(ids)
        ]

    def pins(self, pieces: Sequence[str | int]) -> list[int]:
        """Pins for ``generate`` from texts and the lengths of the holes between them, in tokens.

        The tokens are those that the model's own tokenizer writes each text with.

        Raises:
            InvalidConstraint: a text is not valid Unicode.
            ModelError: a piece is neither text nor a length, or the vocabulary cannot spell it.
        """
        pinned: list[int] = []
        for piece in elements(pieces, "pieces", "a list of texts and lengths of holes", ModelError):
            if isinstance(piece, str):
                pinned += self.denoiser.text_ids(utf8(piece).decode())
            else:
                pinned += [FREE] * whole_number(piece, "the length of a hole", ModelError, least=0, most=_LONGEST_HOLE)
        return pinned

    def choose(
        self, prompt: Prompt, options: Iterable[str] | Constraint, *, passes: int = 1, **settings: Unpack[Options]
    ) -> Answer:
        """The most probable of several answers, with the probability of each.

        The distribution is exact for the factorised prediction of the last pass, also for answers of several
        tokens; with one pass it is a classification by a single run of the model.

        Args:
            options: the answers, or a constraint with at most 1,000 texts. Those that do not fit into one canvas, which
                is all that a pass sees, have probability 0.
            passes: how often the model is run.
            settings: as for ``generate``, without ``max_passes``; the temperature is 1 unless it or a process is given.

        Raises:
            InvalidConstraint, UnsupportedConstraint: there are no options, or too many.
            InfeasibleError: no answer fits into one canvas, or into ``max_new_tokens``.
        """
        if "max_passes" in settings:
            raise TypeError("choose() takes passes= instead of max_passes=")
        whole_number(passes, "passes", ModelError, least=1)
        if not isinstance(prompt, str) and listed(prompt)[0]:
            raise ModelError("choose() takes one prompt, met a list of them")
        constraint = options if isinstance(options, Constraint) else choice(options)
        asked = Template([Slot("answer", coerced(constraint))])
        if settings.get("temperature") is None and settings.get("process") is None:
            settings["temperature"] = 1.0
        settings["max_passes"] = passes
        longest = whole_number(settings.get("max_new_tokens", 256), "max_new_tokens", ModelError, least=1)
        settings["max_new_tokens"] = min(longest, self.denoiser.canvas_length)
        if self.compile(asked, limits=settings.get("limits", Limits())).min_tokens > self.denoiser.canvas_length:
            raise InfeasibleError(
                f"the answers do not fit into one canvas of {self.denoiser.canvas_length} tokens, so no pass sees all "
                f"of one; give shorter ones"
            )
        result = self.generate(prompt, asked, ask=["answer"], **settings)
        probabilities = result.slots["answer"].probabilities or {}
        best = next(iter(probabilities))
        return Answer(best, constraint.parse(best), probabilities)

    @overload
    def json(
        self,
        prompt: Prompt,
        schema_or_type: type[T],
        *,
        schema_options: dict[str, Any] | None = None,
        n: None = None,
        **options: Unpack[WritingOptions],
    ) -> T: ...

    @overload
    def json(
        self,
        prompt: Prompt,
        schema_or_type: type[T],
        *,
        schema_options: dict[str, Any] | None = None,
        n: int,
        **options: Unpack[WritingOptions],
    ) -> list[T]: ...

    @overload
    def json(
        self,
        prompt: Prompts,
        schema_or_type: type[T],
        *,
        schema_options: dict[str, Any] | None = None,
        n: None = None,
        **options: Unpack[WritingOptions],
    ) -> list[T]: ...

    @overload
    def json(
        self,
        prompt: Prompts,
        schema_or_type: Any,
        *,
        schema_options: dict[str, Any] | None = None,
        n: None = None,
        **options: Unpack[WritingOptions],
    ) -> list[Any]: ...

    @overload
    def json(
        self,
        prompt: Prompt | Sequence[Prompt],
        schema_or_type: Any,
        *,
        schema_options: dict[str, Any] | None = None,
        n: int | None = None,
        **options: Unpack[WritingOptions],
    ) -> Any: ...

    def json(
        self,
        prompt: Any,
        schema_or_type: Any,
        *,
        schema_options: dict[str, Any] | None = None,
        n: int | None = None,
        **options: Unpack[WritingOptions],
    ) -> Any:
        """Writes JSON of a schema or a Python type and gives its value; a list for a list of prompts and with ``n``.

        Args:
            prompt: as for ``generate``.
            schema_or_type: a JSON Schema (a dict or a bool), a constraint made by
                ``cd.json_schema``, or a type: a pydantic model, a dataclass, a TypedDict,
                ``Literal[...]``, an Enum, ``list[...]`` and the like; for a list of prompts also a list, one for each.
            schema_options: keyword arguments for ``cd.json_schema``.
            n, options: as for ``generate``.

        Returns:
            The parsed JSON, or for a type a validated instance.

        Raises:
            InvalidConstraint, UnsupportedConstraint: the schema is malformed or cannot be enforced.
            InfeasibleError: no JSON of the schema fits into ``max_new_tokens``.
        """
        several = isinstance(schema_or_type, list | tuple)
        given = {} if schema_options is None else schema_options
        each = [self._schema(one, given) for one in (schema_or_type if several else [schema_or_type])]
        result = self.generate(prompt, each if several else each[0], n=n, **options)
        return [one.value for one in result] if isinstance(result, list) else result.value

    def _schema(self, schema_or_type: Any, options: dict[str, Any]) -> JsonSchema:
        instance_of(options, dict, "schema_options", InvalidConstraint)
        unknown = next((name for name in options if name not in _SCHEMA_OPTIONS), None)
        if unknown is not None:
            raise InvalidConstraint(f"schema_options has {unknown!r}; the options are {', '.join(_SCHEMA_OPTIONS)}")
        if not isinstance(schema_or_type, JsonSchema):
            return json_schema(schema_or_type, **options)
        if options:
            raise InvalidConstraint("schema_options go with a schema or a type; this constraint already has its own")
        return schema_or_type

    def _prompt_text(self, prompt: Prompt, constraint: Constraint | None, wanted: bool | None) -> str:
        prompt_format = self.denoiser.prompt_format
        schema = constraint.schema if isinstance(constraint, JsonSchema) else None
        if wanted is not None:
            instance_of(wanted, bool, "schema_in_prompt", InvalidConstraint)
        if wanted and schema is None:
            raise InvalidConstraint(
                "schema_in_prompt=True needs a JSON Schema as the constraint; it has nothing to describe"
            )
        is_described = prompt_format.describes_schema if wanted is None else wanted
        return prompt_format.text(prompt, schema if is_described else None)

    # --- from requests to drafts, and from drafts to results

    def _settings(self, **options: Unpack[Options]) -> Settings:
        unknown = next((name for name in options if name not in Options.__annotations__), None)
        if unknown is not None:
            raise TypeError(
                f"unexpected keyword argument {unknown!r}; the options are {', '.join(Options.__annotations__)}"
            )
        max_new_tokens, limits = options.get("max_new_tokens", 256), options.get("limits", Limits())
        whole_number(max_new_tokens, "max_new_tokens", ModelError, least=1, most=2**30)
        instance_of(limits, Limits, "limits", InvalidConstraint)
        generator = torch.Generator(self.denoiser.device)
        generator.manual_seed(seeded(options.get("seed")))
        process = options.get("process")
        chosen = changed(
            self.process if process is None else process, options.get("max_passes"), options.get("temperature")
        )
        return Settings(max_new_tokens, chosen, generator, limits)

    def _job(
        self,
        prompt: str | Sequence[int],
        constraint: Constraint | None,
        settings: Settings,
        *,
        ask: Ask = None,
        pins: Sequence[int] = (),
        start: Sequence[int] = (),
        excluded: Sequence[bytes] = (),
    ) -> Job:
        """One text to write, for a formatted prompt or its ids; none of those ``excluded``."""
        if constraint is None and any(pin != FREE for pin in pins):
            constraint = _ANY_TEXT
        (constraint,) = one_each(constraint, 1)

        def compiled(one: Constraint) -> TokenAutomaton:
            return self.compile(one, limits=settings.limits)

        automaton = None if constraint is None else compiled(constraint)
        if constraint is not None and automaton is not None and automaton.min_tokens > settings.max_new_tokens:
            raise InfeasibleError(
                f"the text needs at least {automaton.min_tokens} tokens, its end token included, but max_new_tokens is "
                f"{settings.max_new_tokens}; allow more, or relax the constraint"
                f"{costliest_slot(constraint, automaton, compiled)}"
            )
        last_pin = max((place for place, pin in enumerate(pins) if pin != FREE), default=-1)
        if last_pin >= 0 and last_pin + 1 >= settings.max_new_tokens:
            raise InfeasibleError(
                f"a token is pinned at position {last_pin}, but with max_new_tokens={settings.max_new_tokens} the end "
                f"token stands at {settings.max_new_tokens - 1} at the latest; allow more tokens, or remove the pin"
            )
        questions = questions_of(constraint, ask, compiled)
        is_narrowed = constraint is not None and bool(excluded)
        draft = Draft(
            compiled(excluding(constraint, excluded)) if constraint is not None and is_narrowed else automaton,
            settings.max_new_tokens,
            pins=pins,
            start_ids=start,
            fixed_spans=constraint.fixed_spans if constraint is not None and constraint.has_fixed_parts else None,
            reference=automaton if is_narrowed else None,
            questions=list(questions.values()),
        )
        ids = self._prompt_ids(prompt) if isinstance(prompt, str) else list(prompt)
        return Job(ids, constraint, draft, tuple(questions))

    def _prompt_ids(self, prompt: str) -> list[int]:
        """The token ids of a formatted prompt.

        Raises:
            ModelError: it holds half a surrogate pair, which UTF-8 cannot spell.
        """
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise ModelError(
                f"the prompt holds half a surrogate pair at character {error.start}; expected text that UTF-8 can spell"
            ) from error
        return self.denoiser.prompt_ids(prompt)

    def _write(self, jobs: Sequence[Job], settings: Settings, notify: OnPass) -> Iterator[int]:
        prompts, drafts = [job.prompt for job in jobs], [job.draft for job in jobs]
        return write(self.denoiser, prompts, drafts, settings.process, settings.generator, notify)

    def _several(
        self,
        job: Callable[..., Job],
        constraint: Constraint | None,
        n: int,
        settings: Settings,
        batch_size: int,
        notify: OnPass,
    ) -> list[Generation]:
        """Different texts: first as the model writes them, then without those that are there already."""
        found: dict[bytes, Generation] = {}
        for first in range(0, n, batch_size):
            jobs = [job(constraint) for _ in range(min(batch_size, n - first))]
            self._finish(jobs, settings, notify)
            for one in jobs:
                found.setdefault(self._content(one), self._result(one))
        while len(found) < n and constraint is not None:
            try:
                other = job(constraint, list(found))
                self._finish([other], settings, notify)
            except InfeasibleError:
                break
            found[self._content(other)] = self._result(other)
        return sorted(found.values(), key=lambda result: -result.log_probability)

    def _finish(self, jobs: Sequence[Job], settings: Settings, notify: OnPass | None = None) -> None:
        for _ in self._write(jobs, settings, notify or (lambda row, record: None)):
            pass

    def _checked_pins(self, pins: Sequence[int] | Tensor | None) -> list[int]:
        if pins is None:
            return []
        listed_pins = pins.tolist() if isinstance(pins, Tensor) else pins
        values = elements(listed_pins, "pins", "a list of token ids, -1 where free", ModelError)
        for position, pin in enumerate(values):
            whole_number(pin, f"the pin at position {position}", ModelError, least=FREE, most=self.denoiser.width - 1)
            if pin in self.denoiser.vocabulary.end_ids:
                raise ModelError(
                    f"the pin at position {position} is an end token; a text ends where it can, not at a pin"
                )
        return values

    def _content(self, job: Job) -> bytes:
        """What was written, special tokens marked."""
        vocabulary = self.denoiser.vocabulary
        return vocabulary.spell(id for id in job.draft.ids if id < len(vocabulary))

    def _result(self, job: Job) -> Generation:
        draft, constraint = job.draft, job.constraint
        content = job.given + self._content(job)
        text = without_marks(content).decode(errors="replace" if constraint is None else "strict")
        found = [draft.answers.get(i) for i in range(len(job.names))]
        answers = dict(zip(job.names, [answer and most_probable_first(answer) for answer in found], strict=True))
        written = content[len(job.given) :]
        parts = () if constraint is None else [part.moved(len(job.given)) for part in constraint.parts(written)]
        return Generation(
            text=text,
            value=text if constraint is None else constraint.value(content),
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
            slots=slots_of(parts, content, draft.ids, self.denoiser.vocabulary, answers, len(job.given)),
            joint={names: answer for names, answer in answers.items() if len(names) > 1 and answer is not None},
        )
