"""The loop itself, written once for every model and kind of noise.

Each pass: logits -> posterior -> joint sample -> keep the certain positions -> noise on the
others -> stop when settled. The posterior stands where the stock sampler has its softmax, so
nothing is patched and nothing is locked: a position that turns uncertain is drawn again.
Proposal, best text and the stop rule are the posterior's; what goes back to the model is
``Process.feedback``.
"""

import bisect
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import torch
from torch import Tensor

from constrained_diffusion.automata.token_automaton import TokenAutomaton
from constrained_diffusion.checking import instance_of
from constrained_diffusion.diffusion.generation import PassRecord
from constrained_diffusion.diffusion.policies import Feedback, Process
from constrained_diffusion.errors import InfeasibleError, ModelError
from constrained_diffusion.inference.free import FreePosterior
from constrained_diffusion.inference.posterior import FREE, CanvasPosterior
from constrained_diffusion.models.denoiser import Denoiser

OnPass = Callable[[int, PassRecord], object]
"""Called after every pass of every unfinished text with its number in the batch and the record."""


@final
@dataclass(frozen=True)
class Question:
    """What the answer in a text is: the automaton of the texts that give each answer, None where there are none."""

    automata: Mapping[tuple[str, ...], TokenAutomaton | None]

    def probabilities(
        self, logits: Tensor, committed: Sequence[int], log_z: float, **request: Any
    ) -> dict[tuple[str, ...], float] | None:
        """The share of each answer under a posterior with this ``log_z``, behind the committed ids; logits [L, V].

        None where the shares make no distribution: the canvas ends before the answer shows, or a text gives several.
        """
        found = {
            answer: math.exp(_log_z(automaton, logits, committed, request) - log_z)
            for answer, automaton in self.automata.items()
        }
        return found if abs(sum(found.values()) - 1.0) < _TOLERANCE else None


def _log_z(
    automaton: TokenAutomaton | None, logits: Tensor, committed: Sequence[int], request: dict[str, Any]
) -> float:
    """Of an automaton behind the committed ids; -inf if it has no text there."""
    if automaton is None:
        return -math.inf
    try:
        return float(automaton.posterior(logits, state=automaton.advance(None, committed), **request).log_z)
    except InfeasibleError:
        return -math.inf


_TOLERANCE: Final = 1e-6
"""How far the probabilities of answers may be from one in sum."""


@final
@dataclass
class Draft:
    """A text while it is written; without an automaton it is unconstrained.

    Attributes:
        pins: the token that each position of the text must hold, or -1; positions behind them are free.
        start_ids: what the canvases hold at first, instead of noise.
        fixed_spans: tells which bytes of a text are fixed. The model is shown them wherever they stand.
        reference: what probabilities refer to, where ``automaton`` leaves out texts of it.
        questions, answers: what is asked of the text, and the probabilities of the answers.
    """

    automaton: TokenAutomaton | None
    max_new_tokens: int
    pins: Sequence[int] = ()
    start_ids: Sequence[int] = ()
    fixed_spans: Callable[[bytes], Sequence[tuple[int, int]]] | None = None
    reference: TokenAutomaton | None = None
    questions: Sequence[Question] = ()
    answers: dict[int, dict[tuple[str, ...], float]] = field(default_factory=dict)
    state: int = 0
    ids: list[int] = field(default_factory=list)
    is_ended: bool = False
    log_probability: float = 0.0
    probabilities: list[float] = field(default_factory=list)
    records: list[PassRecord] = field(default_factory=list)
    seconds_model: float = 0.0
    seconds_constraint: float = 0.0

    def __post_init__(self) -> None:
        if self.automaton is not None:
            self.state = self.automaton.start

    @property
    def is_done(self) -> bool:
        return self.is_ended or len(self.ids) >= self.max_new_tokens


def write(
    denoiser: Denoiser,
    prompts: Sequence[Sequence[int]],
    drafts: Sequence[Draft],
    process: Process,
    generator: torch.Generator,
    on_pass: OnPass | None = None,
) -> Iterator[int]:
    """Writes the drafts' texts for the ids of prompts, canvas by canvas, all at once; gives the number of each canvas.

    Raises:
        InfeasibleError: a draft's constraint cannot be met with the model's logits.
        ModelError: the model's logits are malformed.
    """
    context = denoiser.encode(prompts)
    for canvas in itertools.count():
        refinement = _Refinement(denoiser, context, drafts, process, generator, canvas, on_pass)
        refinement.run()
        refinement.commit()
        yield canvas
        if all(draft.is_done for draft in drafts):
            return
        context = denoiser.commit(context, refinement.best)


@dataclass
class _Group:
    """Neighbouring rows under one automaton, and their posterior of this pass."""

    rows: slice
    posterior: CanvasPosterior | FreePosterior
    logits: Tensor
    temperature: float


class _Refinement:
    """The passes over one canvas of every draft that is not done.

    Attributes:
        pins: int64 [B, L], the token that each position must hold, or -1.
        known_pins: the same and those of the canvases behind, int64 [B, L or more]; for grammars only the same.
        canvas: int64 [B, L], what the model reads.
        best: int64 [B, L], the most probable canvas so far, frozen once a row is settled.
        conditioning: float32 [B, L, V], what each row's last pass hands to the next.
        log_probability: of each row's best text at its last pass.
        log_marginals: float64 [B, L], of that text's tokens.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        context: Any,
        drafts: Sequence[Draft],
        process: Process,
        generator: torch.Generator,
        number: int,
        on_pass: OnPass | None,
    ) -> None:
        self.denoiser, self.context, self.drafts = denoiser, context, drafts
        self.process, self.generator = process, generator
        self.number, self.on_pass = number, on_pass
        self.shape = (len(drafts), denoiser.canvas_length)
        self.pins = self._given([draft.pins for draft in drafts])
        self.known_pins = self._known_pins()
        self.canvas = self._with_given(self._with_given(self._noise(), self._started()), self.pins)
        self.best = torch.full(self.shape, denoiser.vocabulary.filler_id, device=denoiser.device)
        self.is_first_pass = True
        self.conditioning: Tensor | None = None
        self.log_probability = [0.0] * len(drafts)
        self.log_marginals = torch.zeros(self.shape, dtype=torch.float64)
        self.unchanged = [0] * len(drafts)
        self.is_settled = [draft.is_done for draft in drafts]

    def run(self) -> None:
        for passes_left in range(self.process.max_passes, 0, -1):
            start = _now(self.canvas.device)
            logits = self._logits()
            between = _now(logits.device)
            active = [draft for draft, settled in zip(self.drafts, self.is_settled, strict=True) if not settled]
            self._refine(logits, passes_left)
            end = _now(logits.device)
            for draft in active:
                draft.seconds_model += between - start
                draft.seconds_constraint += end - between
            if all(self.is_settled):
                return

    def commit(self) -> None:
        """Appends the best canvas of each row to its draft, cut at the end token and at the last allowed one."""
        end_ids = set(self.denoiser.vocabulary.end_ids)
        for row, draft in enumerate(self.drafts):
            if draft.is_done:
                continue
            ids = self.best[row].tolist()[: draft.max_new_tokens - len(draft.ids)]
            end = next((i for i, token in enumerate(ids) if token in end_ids), None)
            kept = ids[:end]
            if draft.automaton is not None:
                draft.state = draft.automaton.advance(draft.state, ids if end is None else ids[: end + 1])
            draft.ids += kept
            draft.is_ended = end is not None
            draft.probabilities += self.log_marginals[row, : len(kept)].exp().tolist()
            draft.log_probability += self.log_probability[row]

    def _given(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """This canvas's part of texts of token ids, int64 [B, L], -1 behind their ends."""
        length = self.shape[1]
        rows = [list(ids[self.number * length : (self.number + 1) * length]) for ids in texts]
        padded = [row + [FREE] * (length - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.int64, device=self.denoiser.device)

    def _known_pins(self) -> Tensor:
        length = self.shape[1]
        rows = [list(draft.pins[self.number * length :]) for draft in self.drafts]
        for row, draft in zip(rows, self.drafts, strict=True):
            if draft.automaton is not None and draft.automaton.exact is not None:
                del row[length:]
        longest = max(length, *(len(row) for row in rows))
        padded = [row + [FREE] * (longest - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.int64, device=self.denoiser.device)

    def _started(self) -> Tensor:
        return self._given([draft.start_ids for draft in self.drafts])

    def _with_given(self, canvas: Tensor, given: Tensor) -> Tensor:
        return torch.where(given >= 0, given, canvas)

    def _noise(self) -> Tensor:
        return self.denoiser.noise.fill(self.shape, self.generator, self.denoiser.device)

    def _logits(self) -> Tensor:
        logits = self.denoiser.logits(self.context, self.canvas, self.conditioning)
        expected = (*self.shape, self.denoiser.width)
        instance_of(logits, Tensor, "what the model gave for logits", ModelError)
        if logits.shape != expected or not logits.is_floating_point():
            raise ModelError(
                f"the model gave logits {logits.dtype} {list(logits.shape)}; expected floating point {list(expected)}"
            )
        return logits

    def _refine(self, logits: Tensor, passes_left: int) -> None:
        """One pass: every row that is not settled gets a new canvas, best text and conditioning."""
        temperature = self.process.temperature.at(passes_left, self.process.max_passes)
        if self.conditioning is None:
            self.conditioning = torch.zeros_like(logits, dtype=torch.float32)
        is_active = torch.tensor([not settled for settled in self.is_settled], device=logits.device)
        groups = [
            _Group(rows, self._posterior(logits[rows], rows, temperature), logits[rows], temperature)
            for rows in self._rows()
        ]
        proposal, best = self.canvas.clone(), self.best.clone()
        entropy = torch.zeros(self.shape, dtype=torch.float64, device=logits.device)
        doubt = entropy.clone()
        for group in groups:
            proposal[group.rows] = group.posterior.sample(self.generator)
            best[group.rows] = group.posterior.map()
            entropy[group.rows] = group.posterior.entropy().double()
            doubt[group.rows] = self._doubt(group.posterior, entropy[group.rows])
            self._condition(self.conditioning[group.rows], group.posterior, is_active[group.rows])
        is_accepted = self.process.acceptance.accept(doubt) | self._fixed(proposal)
        renoised = self._with_given(torch.where(is_accepted, proposal, self._noise()), self.pins)
        self.canvas = torch.where(is_active[:, None], renoised, self.canvas)
        best = torch.where(is_active[:, None], best, self.best)
        for group in groups:
            self._settle(group, best, entropy, is_accepted, is_last=passes_left == 1)
        self.best, self.is_first_pass = best, False

    def _fixed(self, proposal: Tensor) -> Tensor:
        """Positions whose token lies wholly within a fixed part of the text, bool [B, L]."""
        is_fixed = torch.zeros(self.shape, dtype=torch.bool)
        for row, draft in enumerate(self.drafts):
            if draft.fixed_spans is not None and not self.is_settled[row]:
                self._mark_fixed(is_fixed[row], draft, proposal[row].tolist())
        return is_fixed.to(proposal.device)

    def _mark_fixed(self, is_fixed: Tensor, draft: Draft, ids: list[int]) -> None:
        vocabulary = self.denoiser.vocabulary
        before = len(vocabulary.spell(draft.ids))
        ids = list(itertools.takewhile(lambda token: token not in vocabulary.end_ids, ids))
        spellings = [vocabulary.spellings[id] or b"" for id in ids]
        offsets = list(itertools.accumulate(map(len, spellings), initial=before))
        text = vocabulary.spell([*draft.ids, *ids])
        for begin, end in draft.fixed_spans(text) if draft.fixed_spans is not None else ():
            first, last = bisect.bisect_left(offsets, begin), bisect.bisect_right(offsets, end) - 1
            is_fixed[first:last] = True

    def _condition(self, target: Tensor, posterior: CanvasPosterior | FreePosterior, is_active: Tensor) -> None:
        """Writes the conditioned logits of the rows that are not settled."""
        is_prediction = self.process.feedback == Feedback.PREDICTION
        logits = posterior.log_predictions if is_prediction else posterior.log_marginals
        if is_active.all():
            logits(target)
        else:
            target[is_active] = logits()[is_active]

    def _doubt(self, posterior: CanvasPosterior | FreePosterior, entropy: Tensor) -> Tensor:
        """What acceptance judges each position by, [B, L] in nats, given the entropy of its marginal."""
        if self.process.feedback == Feedback.MARGINALS:
            return entropy
        return torch.maximum(entropy, posterior.predictive_entropy().double())

    def _rows(self) -> list[slice]:
        """Runs of neighbouring unsettled rows under one automaton.

        Unconstrained rows stay in when they are settled, as in the stock sampler: so a batch uses
        up the same random numbers.
        """
        runs: list[slice] = []
        for row, draft in enumerate(self.drafts):
            if self.is_settled[row] and draft.automaton is not None:
                continue
            if runs and runs[-1].stop == row and self.drafts[row - 1].automaton is draft.automaton:
                runs[-1] = slice(runs[-1].start, row + 1)
            else:
                runs.append(slice(row, row + 1))
        return runs

    def _posterior(self, logits: Tensor, rows: slice, temperature: float) -> CanvasPosterior | FreePosterior:
        drafts = self.drafts[rows]
        automaton = drafts[0].automaton
        if automaton is None:
            return FreePosterior(logits, temperature)
        behind = (self.number + 1) * self.denoiser.canvas_length
        try:
            return automaton.posterior(
                logits,
                state=[draft.state for draft in drafts],
                budget=[draft.max_new_tokens - behind for draft in drafts],
                pins=self.known_pins[rows],
                min_tokens=[self._min_tokens(draft) for draft in drafts],
                temperature=temperature,
            )
        except InfeasibleError as error:
            if not self.number:
                raise
            steering = "" if automaton.exact is None else "; a grammar's pins do not steer the canvases before theirs"
            raise InfeasibleError(
                f"behind the text that {self.number} finished canvases of {self.denoiser.canvas_length} tokens hold: "
                f"{error}. Positions are those of this canvas{steering}"
            ) from error

    def _min_tokens(self, draft: Draft) -> int:
        """The first position of this canvas at which the text may end: behind its last pin."""
        last = max((position for position, pin in enumerate(draft.pins, 1) if pin >= 0), default=0)
        return max(last - self.number * self.denoiser.canvas_length, 0)

    def _settle(self, group: _Group, best: Tensor, entropy: Tensor, is_accepted: Tensor, *, is_last: bool) -> None:
        """Records the pass for the rows of a group, and marks those that need no further one."""
        rows, posterior = group.rows, group.posterior
        is_open, log_z = posterior.undetermined(), posterior.log_z
        finished = []
        for row in range(rows.start, rows.stop):
            if self.is_settled[row]:
                continue
            open_entropy = entropy[row][is_open[row - rows.start]]
            mean_entropy = float(open_entropy.mean()) if len(open_entropy) else 0.0
            is_same = not self.is_first_pass and torch.equal(best[row], self.best[row])
            self.unchanged[row] = self.unchanged[row] + 1 if is_same else 0
            canvas_entropy = mean_entropy * len(open_entropy) / self.shape[1]
            self.is_settled[row] = self.process.stopping.is_settled(self.unchanged[row], canvas_entropy, mean_entropy)
            if self.is_settled[row] or is_last:
                finished.append(row)
            self._record(
                row,
                PassRecord(
                    canvas=self.number,
                    number=1 + sum(record.canvas == self.number for record in self.drafts[row].records),
                    text=self._text(row, best[row]),
                    undetermined=len(open_entropy),
                    mean_entropy=mean_entropy,
                    log_z=float(log_z[row - rows.start]),
                    accepted=int(is_accepted[row].sum()),
                    changed=self._changed(row, best[row]),
                    length=self._length(best[row]),
                    pieces=self._pieces(best[row]),
                ),
            )
        if finished:
            log_prob, log_marginals = posterior.log_prob(best[rows]), posterior.log_marginals_of(best[rows])
            for row in finished:
                i = row - rows.start
                scores = float(log_prob[i]), log_marginals[i], float(log_z[i])
                reference = self.drafts[row].reference
                if reference is not None:
                    scores = self._scores_under(reference, row, group, best[row])
                self.log_probability[row], marginals, whole = scores
                self.log_marginals[row] = marginals.cpu()
                self._answer(row, group, best[row], whole)

    def _changed(self, row: int, best: Tensor) -> tuple[int, ...]:
        if self.is_first_pass:
            return tuple(range(self._length(best)))
        return tuple(torch.nonzero(best != self.best[row]).flatten().tolist())

    def _length(self, best: Tensor) -> int:
        ends = torch.nonzero(self._end_places(best)).flatten().tolist()
        return int(ends[0]) + 1 if ends else len(best)

    def _pieces(self, best: Tensor) -> tuple[str, ...]:
        vocabulary = self.denoiser.vocabulary
        ids = best[: self._length(best) - self._ends(best)].tolist()
        return tuple(vocabulary.decode([i]).decode(errors="replace") if i < len(vocabulary) else "" for i in ids)

    def _ends(self, best: Tensor) -> bool:
        """Whether a text ends on its canvas of ids [L]."""
        return bool(self._end_places(best).any())

    def _end_places(self, best: Tensor) -> Tensor:
        return torch.isin(best, torch.tensor(self.denoiser.vocabulary.end_ids, device=best.device))

    def _request(self, row: int, group: _Group) -> dict[str, Any]:
        """The arguments that a row's posterior was made with."""
        draft = self.drafts[row]
        return {
            "budget": draft.max_new_tokens - (self.number + 1) * self.denoiser.canvas_length,
            "pins": self.known_pins[row],
            "min_tokens": self._min_tokens(draft),
            "temperature": group.temperature,
        }

    def _scores_under(
        self, automaton: TokenAutomaton, row: int, group: _Group, best: Tensor
    ) -> tuple[float, Tensor, float]:
        """Under the posterior of another automaton: the log probability of a row's text, the log marginals of its
        tokens, float64 [L], and log Z."""
        state = automaton.advance(None, self.drafts[row].ids)
        request = self._request(row, group)
        posterior = automaton.posterior(group.logits[row - group.rows.start], state=state, **request)
        return float(posterior.log_prob(best)), posterior.log_marginals_of(best), float(posterior.log_z)

    def _answer(self, row: int, group: _Group, best: Tensor, log_z: float) -> None:
        """Answers the draft's questions as this canvas sees them, unless an earlier one has decided them.

        Where this canvas does not decide because longer texts than the best one go on behind it, the answer is given
        that the text ends on it.
        """
        draft, logits = self.drafts[row], group.logits[row - group.rows.start]
        request = self._request(row, group)
        ending, log_z_ending = {**request, "budget": min(request["budget"], 0)}, -math.inf
        if draft.questions and ending != request and self._ends(best):
            whole = draft.automaton if draft.reference is None else draft.reference
            log_z_ending = _log_z(whole, logits, draft.ids, ending)
        for i, question in enumerate(draft.questions):
            found = question.probabilities(logits, draft.ids, log_z, **request)
            if found is None and log_z_ending > -math.inf:
                found = question.probabilities(logits, draft.ids, log_z_ending, **ending)
            if found is not None and (i not in draft.answers or sum(p > 0 for p in found.values()) > 1):
                draft.answers[i] = found

    def _record(self, row: int, record: PassRecord) -> None:
        self.drafts[row].records.append(record)
        if self.on_pass is not None:
            self.on_pass(row, record)

    def _text(self, row: int, best: Tensor) -> str:
        vocabulary = self.denoiser.vocabulary
        ids = [token for token in self.drafts[row].ids + best.tolist() if token < len(vocabulary)]
        return vocabulary.decode(ids).decode(errors="replace")


def _now(device: torch.device) -> float:
    """Seconds, once the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
