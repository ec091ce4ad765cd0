"""A drop-in for the stock sampler: conditioned logits at every pass of ``model.generate()``."""

from typing import Any, Final, final

import torch
from torch import Tensor
from transformers import LogitsProcessor as TransformersProcessor

from constrained_diffusion.automata.token_automaton import TokenAutomaton
from constrained_diffusion.checking import instance_of, whole_number
from constrained_diffusion.diffusion.policies import ConstantTemperature, TemperatureSchedule
from constrained_diffusion.errors import InfeasibleError, ModelError

_MARGIN: Final = 1.0
"""How far, in nats, the best path is raised above each row's maximum; survives any temperature."""


@final
class LogitsProcessor(TransformersProcessor):
    """Constrains the stock ``DiffusionGemmaForBlockDiffusion.generate()``.

    The scores it returns are the log marginals of the pass's posterior with the most probable
    text on top, so that the argmax canvas which ``generate`` commits is valid at whichever pass
    it stops::

        from transformers import LogitsProcessorList

        processor = cd.LogitsProcessor(automaton, max_new_tokens=256)
        model.generate(ids, max_new_tokens=256, logits_processor=LogitsProcessorList([processor]))

    Give ``generate`` a new list at every call (it appends to the caller's list), and the same
    ``max_new_tokens`` as here. The text of each row is ``automaton.text(sequences[row, prompt:])``.

    ``generate`` divides the returned scores by its temperature, behind this processor. With
    ``temperature`` (the schedule that ``generate`` uses, with its ``max_denoising_steps``) the
    posterior is that of the tempered prediction; without it, the marginals are taken at
    temperature 1 and sharpened afterwards. The text is valid either way.

    A row whose text has ended on an earlier canvas is left as it is.
    """

    def __init__(
        self,
        automaton: TokenAutomaton,
        *,
        max_new_tokens: int = 256,
        temperature: TemperatureSchedule | None = None,
        max_denoising_steps: int = 48,
    ) -> None:
        instance_of(automaton, TokenAutomaton, "automaton", ModelError)
        if temperature is not None:
            instance_of(temperature, TemperatureSchedule, "temperature", ModelError)
        whole_number(max_new_tokens, "max_new_tokens", ModelError, least=1)
        whole_number(max_denoising_steps, "max_denoising_steps", ModelError, least=1)
        if automaton.min_tokens > max_new_tokens:
            raise InfeasibleError(
                f"the text needs at least {automaton.min_tokens} tokens, its end token included, but max_new_tokens "
                f"is {max_new_tokens}; allow more, or relax the constraint"
            )
        self.automaton = automaton
        self.max_new_tokens = max_new_tokens
        self.temperature: TemperatureSchedule = temperature or ConstantTemperature(1.0)
        self.max_denoising_steps = max_denoising_steps
        self._prompt_length = 0
        self._seen: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor, cur_step: Any = None) -> Tensor:
        """Conditions the scores [B, L, V] of a pass; ``input_ids`` [B, S] are the prompt and the committed canvases."""
        if scores.ndim != 3:
            raise ModelError(
                f"scores are {list(scores.shape)}; expected [B, L, V]. This processor is for diffusion models"
            )
        if input_ids.ndim != 2 or len(input_ids) != len(scores):
            raise ModelError(
                f"input_ids are {list(input_ids.shape)}; expected [{len(scores)}, S], a row for each of scores"
            )
        committed = self._committed(input_ids, scores.shape[1])
        states = self._states(committed)
        open_rows = [row for row, state in enumerate(states) if state != self.automaton.tail]
        if not open_rows:
            return scores
        temperature = self.temperature.at(self._steps_left(cur_step), self.max_denoising_steps)
        behind = committed.shape[1] + scores.shape[1]
        posterior = self.automaton.posterior(
            scores[open_rows],
            state=[states[row] for row in open_rows],
            budget=self.max_new_tokens - behind,
            temperature=temperature,
        )
        conditioned = posterior.log_marginals() * temperature
        best = posterior.map().unsqueeze(-1)
        raised = conditioned.amax(-1, keepdim=True) + _MARGIN
        result = scores.float().clone()
        result[open_rows] = conditioned.scatter(-1, best, raised)
        return result

    def _steps_left(self, cur_step: Any) -> int:
        return self.max_denoising_steps if cur_step is None else int(cur_step)

    def _committed(self, input_ids: Tensor, canvas_length: int) -> Tensor:
        """The ids behind the prompt, int [B, S'].

        A call continues the text if it repeats the last ids, or adds one canvas to them while some
        text is still open: ``generate`` stops as soon as all have ended.
        """
        seen = self._seen
        grown = 0 if seen is None else input_ids.shape[1] - seen.shape[1]
        continues = (
            seen is not None
            and len(seen) == len(input_ids)
            and grown in (0, canvas_length)
            and torch.equal(input_ids[:, : seen.shape[1]], seen)
        )
        if continues and grown:
            states = self._states(input_ids[:, self._prompt_length :])
            continues = any(state != self.automaton.tail for state in states)
        if not continues:
            self._prompt_length = input_ids.shape[1]
        self._seen = input_ids.clone()
        return input_ids[:, self._prompt_length :]

    def _states(self, committed: Tensor) -> list[int]:
        return [self.automaton.advance(None, row) for row in committed]
