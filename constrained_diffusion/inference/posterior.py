"""Exact inference for one pass: the logits of canvases, given a constraint.

The model gives independent distributions p_i, one per position. The posterior is
P(x) proportional to prod_i p_i(x_i) over the token strings x whose text is in the language.
"Exact" means exact for this factorised prediction, not for the model's trajectory.

For a grammar the recursions run on its finite relaxation, which accepts more: log Z is an upper bound, and marginals,
entropies and predictions are those of the relaxation. The best text and samples are always texts of the
grammar itself, found by a search that the recursions guide.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from constrained_diffusion.automata.classes import END_CLASS
from constrained_diffusion.checking import instance_of, whole_number
from constrained_diffusion.errors import InfeasibleError, ModelError
from constrained_diffusion.inference import chain
from constrained_diffusion.inference.kbest import Graph, Step, best_texts
from constrained_diffusion.inference.kernels import entropies
from constrained_diffusion.inference.lattice import Listing, best_listing
from constrained_diffusion.inference.rows import ClassTable, Rows
from constrained_diffusion.inference.search import Chain, best_text, drawn_text
from constrained_diffusion.threads import in_parallel, run_all

if TYPE_CHECKING:
    from constrained_diffusion.automata.pushdown_tokens import ExactStates
    from constrained_diffusion.automata.token_automaton import TokenAutomaton

_MOST_TEXTS: Final = 100_000
"""The best texts are listed up to so many."""
FREE: Final = -1
"""In ``pins``: the position is not pinned."""


@dataclass(frozen=True)
class CanvasRequest:
    """One canvas: for a grammar its exact states, the state before it, the tokens that may follow it, its pins, int64
    [L], the first position at which its text may end, and the pins of the positions behind the canvas up to the last
    pinned one."""

    exact: ExactStates | None
    state: int
    budget: int
    pins: NDArray[np.int64]
    min_tokens: int = 0
    later: tuple[int, ...] = ()


@final
class CanvasPosterior:
    """The posterior over the texts on one canvas, or independently on each of a batch of canvases.

    Made by ``TokenAutomaton.posterior``. Behind the end token lies the tail: its tokens are free
    and unscored. A pinned position counts with weight 1 for its token and 0 for every other.
    """

    def __init__(
        self, automaton: TokenAutomaton, rows: Rows, requests: list[CanvasRequest], length: int, is_batch: bool
    ) -> None:
        self._automaton = automaton
        self._rows = rows
        self._length = length
        self._is_batch = is_batch
        self._pins = np.concatenate([request.pins for request in requests])
        self._table = _with_pins(rows.reduce(), self._pins, rows.classes.of_token)
        _check_rows(self._table.row_norm, self._pins, length)
        for i, request in enumerate(requests):
            early = slice(i * length, i * length + min(request.min_tokens, length))
            for weights in (self._table.log_sum, self._table.log_max):
                weights[early, END_CLASS] = -np.inf
        self._canvases = [
            _Canvas(automaton, self._table, request, i * length, length) for i, request in enumerate(requests)
        ]
        self._factor: NDArray[np.float64] | None = None
        self._listed: tuple[int, list[Listing]] | None = None
        for canvas in self._canvases:
            in_parallel(canvas.weigh_labels, length)
        tasks = [
            task for canvas in self._canvases for task in (canvas.infer_back, canvas.infer_best, canvas.infer_ahead)
        ]
        run_all(tasks)
        for canvas in self._canvases:
            canvas.check_feasible()

    def __repr__(self) -> str:
        canvases = f"{len(self._canvases)} canvases" if self._is_batch else "a canvas"
        return f"<CanvasPosterior: {canvases} of {self._length} positions under {self._automaton!r}>"

    def _shaped(self, values: NDArray[np.generic] | list[float]) -> Tensor:
        tensor = torch.as_tensor(np.asarray(values)).reshape(len(self._canvases), -1)
        tensor = tensor.to(self._rows.logits.device)
        return tensor if self._is_batch else tensor[0]

    @property
    def log_z(self) -> Tensor:
        """Log of the probability that independent draws from the p_i are a valid canvas; float64 [] or [B], in nats.

        For a grammar an upper bound.
        """
        return self._shaped([canvas.log_z for canvas in self._canvases])[..., 0]

    @property
    def certified(self) -> Tensor:
        """Whether ``map`` is proved to be the most probable text; bool [] or [B]. Always so for regular constraints."""
        return self._shaped([canvas.is_certified for canvas in self._canvases])[..., 0]

    def map(self) -> Tensor:
        """The most probable text, int64 [L] or [B, L]: behind its end token only padding.

        For a grammar the best that is found; ``certified`` tells whether it is proved to be the best.

        Ties go to the first edge of the automaton and the least token id.
        """
        return self._shaped(np.concatenate([canvas.map_ids for canvas in self._canvases]))

    def kbest(self, k: int) -> tuple[Tensor, Tensor]:
        """The ``k`` most probable texts, best first.

        Two spellings of one text by different tokens count as two. Behind the end token is only padding.

        For a grammar the best that are found: exact for the pass's factorised prediction as far as ``kbest_certified``
        says that they are proved, valid texts in any case. The first is that of ``map``, unless that one is not proved
        and the wider search for many texts finds a better one. Log probabilities are then lower bounds, as ``log_z``
        is an upper one.

        Returns:
            Ids, int64 [k, L] or [B, k, L], and their log probabilities, float64 [k] or [B, k]; where there are fewer
            texts, or fewer are found, the log probability is -inf and the ids are padding.
        """
        listings = self._listings(k)
        ids = np.full((len(self._canvases), k, self._length), self._automaton.vocabulary.filler_id, np.int64)
        log_prob = np.full((len(self._canvases), k), -np.inf)
        for row, (canvas, listing) in enumerate(zip(self._canvases, listings, strict=True)):
            for rank, (weight, tokens) in enumerate(listing.texts):
                pins = canvas.request.pins
                ids[row, rank] = np.where(pins >= 0, pins, ids[row, rank])
                ids[row, rank, : len(tokens)] = tokens
                log_prob[row, rank] = min(weight - canvas.log_z, 0.0)
        place = self._rows.logits.device
        found, scores = torch.as_tensor(ids, device=place), torch.as_tensor(log_prob, device=place)
        return (found, scores) if self._is_batch else (found[0], scores[0])

    def kbest_certified(self, k: int) -> Tensor:
        """Whether each text of ``kbest(k)`` is proved to be the most probable but for those before it; bool [k] or
        [B, k].

        Always so for regular constraints. Where ``kbest`` gives fewer than ``k`` texts: whether there are no more.
        """
        return self._shaped(np.concatenate([listing.certified(k) for listing in self._listings(k)]))

    def _listings(self, k: int) -> list[Listing]:
        """The ``k`` best texts of each canvas."""
        whole_number(k, "k", ModelError, least=1, most=_MOST_TEXTS)
        known = self._listed
        if known is None or known[0] != k:
            known = self._listed = k, [self._listing(canvas, k) for canvas in self._canvases]
        return known[1]

    def _listing(self, canvas: _Canvas, k: int) -> Listing:
        listed = partial(self._best_texts, canvas, k)
        exact = canvas.chain(canvas.log_max, canvas.best_back)
        if exact is not None:
            n = canvas.map_length
            weight = float(canvas.log_max[np.arange(n), canvas.map_classes[:n]].sum())
            return best_listing(exact, (weight, tuple(canvas.map_ids[:n].tolist())), k, listed)
        graph = Graph(canvas.start, self._automaton.tail, canvas.best_back, lambda _, state: canvas.ways(state))
        texts = [(weight, tuple(tokens)) for weight, tokens in itertools.islice(listed(graph), k)]
        return Listing(texts, -np.inf)

    def _best_texts(self, canvas: _Canvas, k: int, graph: Graph) -> Iterator[tuple[float, list[int]]]:
        return best_texts(graph, lru_cache(maxsize=None)(partial(self._best_steps, canvas, k, graph)))

    def _best_steps(self, canvas: _Canvas, k: int, graph: Graph, position: int, state: int) -> list[Step]:
        """The k best tokens at a position and state, each with what follows it at best."""
        row = canvas.offset + position
        classes, targets = graph.ways(position, state)
        values = canvas.log_max[position, classes] + graph.ahead[position + 1, targets]
        order = np.argsort(-values, kind="stable")[:k]
        found: list[Step] = []
        for c, target, value in zip(classes[order], targets[order], values[order], strict=True):
            if value > -np.inf:
                tokens, below = self._rows.best_of_class(self._table, row, int(c), k, pin=int(self._pins[row]))
                found += [(float(value - b), int(t), int(target)) for t, b in zip(tokens, below, strict=True)]
        return sorted(found, key=lambda step: -step[0])[:k]

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A joint draw from the posterior, int64 [L] or [B, L]; tail positions are drawn from the p_i.

        For a grammar exact wherever the relaxation's own draws are often enough in the language; else the draw
        leans to what the relaxation prefers, and is in the language all the same.
        """
        if generator is not None:
            instance_of(generator, torch.Generator, "generator", ModelError)
        place = generator.device if generator is not None else torch.device("cpu")
        shape = (len(self._pins), 3)
        uniforms = torch.rand(shape, generator=generator, dtype=torch.float64, device=place).cpu().numpy()
        wanted = np.concatenate([canvas.sampled_classes(uniforms) for canvas in self._canvases])
        drawn = self._rows.draw(self._table, wanted, uniforms[:, 2].copy())
        return self._shaped(np.where(self._pins >= 0, self._pins, drawn))

    def log_marginals(self, out: Tensor | None = None) -> Tensor:
        """Log of the posterior probability of each token at each position, float32 [L, V] or [B, L, V].

        ``out`` is an optional contiguous tensor of that shape to write into, on the device of the logits.
        """
        return self._token_scores(self._log_factor, out)

    def log_predictions(self, out: Tensor | None = None) -> Tensor:
        """Log of the model's own probability of each token, -inf where no valid text has it; as ``log_marginals``.

        Unlike the marginals it does not count the same evidence once per position: where a text could
        be a token longer, many positions that lean a little to one reading together seem certain of it.
        """
        return self._token_scores(self._log_support, out)

    def _token_scores(self, log_factor: NDArray[np.float64], out: Tensor | None) -> Tensor:
        """The log probability of each token times its class's factor, all on its token where a position is pinned."""
        shape = (len(self._canvases), self._length, -1) if self._is_batch else (self._length, -1)
        target = None if out is None else self._checked_out(out)
        pinned = np.flatnonzero(self._pins >= 0)
        flat = self._rows.condition(self._table, log_factor, target)
        if len(pinned):
            flat[torch.as_tensor(pinned)] = -torch.inf
            flat[torch.as_tensor(pinned), torch.as_tensor(self._pins[pinned])] = 0.0
        return flat.view(shape)

    def log_marginals_of(self, ids: Tensor) -> Tensor:
        """Log of the posterior probability of one token at each position, float64 of the shape of the ids."""
        flat = self._checked_ids(ids).ravel()
        rows = np.arange(len(flat))
        scores = self._rows.log_probabilities(self._table, rows, flat)
        log_q = np.minimum(scores + self._log_factor[rows, self._rows.classes.of_token[flat].astype(np.int64)], 0.0)
        pinned = np.where(self._pins == flat, 0.0, -np.inf)
        return self._shaped(np.where(self._pins >= 0, pinned, log_q))

    def _checked_out(self, out: Tensor) -> Tensor:
        instance_of(out, Tensor, "out", ModelError)
        flat, width = self._rows.logits.shape
        expected = [len(self._canvases), self._length, width][not self._is_batch :]
        is_fit = list(out.shape) == expected and out.dtype == torch.float32 and out.is_contiguous()
        if not is_fit or out.device != self._rows.logits.device:
            raise ModelError(
                f"out is {out.dtype} {list(out.shape)} on {out.device}; expected a contiguous float32 tensor "
                f"{expected} on {self._rows.logits.device}"
            )
        return out.view(flat, width)

    def entropy(self) -> Tensor:
        """Entropy of the marginal at each position, float64 [L] or [B, L], in nats."""
        return self._shaped(self._entropy_of(self._log_factor))

    def predictive_entropy(self) -> Tensor:
        """Entropy of the model's own prediction among the tokens that some valid text has there; as ``entropy``."""
        return self._shaped(self._entropy_of(self._log_support))

    def _entropy_of(self, log_factor: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each row's tokens, their probabilities in proportion to the model's own times their class's factor."""
        table = self._table
        out = np.empty(len(log_factor))
        in_parallel(lambda *part: entropies(table.log_sum, log_factor, table.entropy, *part, out), len(out))
        return out

    def undetermined(self) -> Tensor:
        """Positions that the constraint leaves open: bool [L] or [B, L].

        A position is determined if it is pinned, if only one token can stand there, or if it lies
        behind the end of the most probable text.
        """
        is_possible = self._table.log_sum + self._log_support > -np.inf
        choices = np.where(is_possible, self._rows.classes.sizes, 0).sum(-1)
        inside = np.concatenate([np.arange(self._length) < canvas.map_length for canvas in self._canvases])
        return self._shaped((choices > 1) & inside & (self._pins < 0))

    def log_prob(self, ids: Tensor) -> Tensor:
        """Log posterior probability of the text on a canvas of ids [L] or [B, L]; its tail does not count.

        -inf if the text is not in the language; float64 [] or [B]. For a grammar a lower bound, as
        ``log_z`` is an upper one.
        """
        rows = self._checked_ids(ids)
        values = [self._text_log_prob(canvas, row) for canvas, row in zip(self._canvases, rows, strict=True)]
        return self._shaped(values)[..., 0]

    def _checked_ids(self, ids: Tensor) -> NDArray[np.int64]:
        """Token ids as an array [canvases, L]."""
        expected = [len(self._canvases), self._length][not self._is_batch :]
        if not isinstance(ids, Tensor) or list(ids.shape) != expected or ids.is_floating_point():
            met = f"{ids.dtype} {list(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
            raise ModelError(f"ids are {met}; expected an integer tensor {expected}")
        return ids.detach().cpu().numpy().astype(np.int64).reshape(len(self._canvases), self._length)

    def _text_log_prob(self, canvas: _Canvas, ids: NDArray[np.int64]) -> float:
        length = canvas.valid_length(ids)
        if length is None:
            return -np.inf
        rows = np.arange(length) + canvas.offset
        free = self._pins[rows] < 0
        if np.any(~free & (self._pins[rows] != ids[:length])):
            return -np.inf
        scores = self._rows.log_probabilities(self._table, rows[free], ids[:length][free])
        return min(float(scores.sum() - canvas.log_z), 0.0)

    @property
    def _log_factor(self) -> NDArray[np.float64]:
        """What the constraint multiplies each class's weight by, float64 [rows, C]."""
        if self._factor is None:
            self._factor = np.concatenate([canvas.class_factor() for canvas in self._canvases])
        return self._factor

    @cached_property
    def _log_support(self) -> NDArray[np.float64]:
        """0 where some valid text has a token of the class, else -inf; float64 [rows, C]."""
        return np.where(self._log_factor > -np.inf, 0.0, -np.inf)


@dataclass(frozen=True, eq=False)
class Messages:
    """Messages, [L + 1, N + 1], or other weights as extended floats: ``mantissa * 2 ** exponent``."""

    mantissa: NDArray[np.float64]
    exponent: NDArray[np.int64]

    def log_at_start(self, state: int) -> float:
        """The logarithm of the whole weight from a state at the first position."""
        return float(chain.log_of(self.mantissa[0, state], self.exponent[0, state]))

    @cached_property
    def logs(self) -> NDArray[np.float64]:
        """The messages as logarithms, [L + 1, N + 1]."""
        with np.errstate(divide="ignore"):
            return np.where(self.mantissa > 0.0, np.log(self.mantissa) + self.exponent * np.log(2.0), -np.inf)


class _Canvas:
    """The chain of one canvas.

    Three recursions, independent of each other: the weight from each position and state to the end
    (for log Z and samples), the weight from the start to there (for marginals), and the best text.
    """

    back: Messages
    ahead: Messages
    """To each position and bundle of edges, [L, B]."""
    best_back: NDArray[np.float64]
    """Log of the greatest weight from each position and state to the end, [L + 1, N + 1]."""
    map_classes: NDArray[np.int32]
    """The class at each position of the best text, -1 in the tail; int32 [L]."""
    is_certified: bool

    def __init__(
        self, automaton: TokenAutomaton, table: ClassTable, request: CanvasRequest, offset: int, length: int
    ) -> None:
        self.automaton = automaton
        self.request = request
        self.start = request.state if request.exact is None else request.exact.relaxed(request.state)
        self.offset = offset
        self.length = length
        behind = (request.later, request.budget, max(request.min_tokens - length, 0))
        self.distance = automaton.distance_before(*behind) if request.later else automaton.lifted.distance
        part = slice(offset, offset + length)
        self.log_sum, self.log_max, self.best = table.log_sum[part], table.log_max[part], table.best[part]
        shape = (length, len(automaton.lifted.label_begin) - 1)
        self.labels = Messages(np.empty(shape), np.empty(shape, np.int64))
        self.best_labels = np.empty(shape)

    def weigh_labels(self, first: int, last: int) -> None:
        """Fills in the weights of the labels at some positions."""
        sums = self.automaton.label_sums
        chain.label_weights(first, last, self.log_sum, sums, self.labels.mantissa, self.labels.exponent)
        chain.best_labels(first, last, self.log_max, sums, self.best_labels)

    def labels_of(self, class_weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """The greatest weight of each label at each position, [L, J], from those of the classes, [L, C]."""
        out = np.empty(self.best_labels.shape)
        chain.best_labels(0, self.length, class_weight, self.automaton.label_sums, out)
        return out

    @property
    def _counted(self) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
        """What tells which states count at which position."""
        return self.distance, self.automaton.earliest(self.start), self.request.budget

    def best_messages(self, labels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log of the greatest weight from each position and state to the end, [L + 1, N + 1]."""
        edges = self.automaton.edges
        out = edges.out
        return np.asarray(chain.best_messages(labels, edges.sums, out.begin, out.target, out.label, *self._counted))

    def chain(self, weight: NDArray[np.float64], bound: NDArray[np.float64]) -> Chain | None:
        """What a search over the exact states of a grammar needs; None for a regular constraint."""
        exact = self.request.exact
        return None if exact is None else Chain(exact, weight, bound, self.request.state, self.request.budget)

    def infer_back(self) -> None:
        edges, labels = self.automaton.edges, self.labels
        out = edges.out
        self.back = Messages(
            *chain.messages(
                labels.mantissa, labels.exponent, edges.sums, out.begin, out.target, out.label, *self._counted
            )
        )

    def infer_ahead(self) -> None:
        edges, labels = self.automaton.edges, self.labels
        into = edges.into
        self.ahead = Messages(
            *chain.forward_messages(
                labels.mantissa,
                labels.exponent,
                edges.sums,
                into.begin,
                into.source,
                into.label,
                *self._counted,
                self.start,
            )
        )

    def infer_best(self) -> None:
        self.best_back = self.best_messages(self.best_labels)
        self.map_classes = np.full(self.length, -1, np.int32)
        self.is_certified, self.is_found = True, True
        if self.best_back[0, self.start] == -np.inf:
            return
        exact = self.chain(self.log_max, self.best_back)
        if exact is None:
            self.map_classes = np.asarray(
                chain.best_path(self.best_labels, self.log_max, *self._graph, self.start, self.best_back), np.int32
            )
            return
        found = best_text(exact)
        self.is_certified, self.is_found = found.is_best, found.classes is not None
        self.map_classes[: len(found.classes or ())] = found.classes or ()

    def ways(self, state: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The token classes that lead on from a state, and where each leads."""
        lifted = self.automaton.lifted
        edges = range(lifted.edge_begin[state], lifted.edge_begin[state + 1])
        classes = [lifted.label_class[slice(*lifted.label_begin[lifted.edge_label[e] :][:2])] for e in edges]
        targets = [np.full(len(c), lifted.edge_target[e], np.int64) for e, c in zip(edges, classes, strict=True)]
        return np.concatenate(classes).astype(np.int64), np.concatenate(targets)

    @property
    def _graph(self) -> tuple[NDArray[np.generic], ...]:
        """Edges by source, and the classes of each label."""
        lifted = self.automaton.lifted
        return (lifted.edge_begin, lifted.edge_target, lifted.edge_label, lifted.label_begin, lifted.label_class)

    @property
    def log_z(self) -> float:
        return self.back.log_at_start(self.start)

    @property
    def map_length(self) -> int:
        """Tokens of the best text, its end token included."""
        return int((self.map_classes >= 0).sum())

    @property
    def map_ids(self) -> NDArray[np.int64]:
        in_tail = self.map_classes < 0
        ids = self.best[np.arange(self.length), np.where(in_tail, 0, self.map_classes)].astype(np.int64)
        filler = np.where(self.request.pins >= 0, self.request.pins, self.automaton.vocabulary.filler_id)
        return np.where(in_tail, filler, ids)

    def sampled_classes(self, uniforms: NDArray[np.float64]) -> NDArray[np.int32]:
        part = uniforms[self.offset : self.offset + self.length, :2].copy()
        back = self.back
        exact = self.chain(self.log_sum, back.logs) if self.request.exact is not None else None
        if exact is None:
            labels = self.labels
            path = chain.sampled_path(
                labels.mantissa,
                labels.exponent,
                self.log_sum,
                *self._graph,
                self.start,
                back.mantissa,
                back.exponent,
                part,
            )
            return np.asarray(path, np.int32)
        rng = np.random.default_rng(part.view(np.uint64).ravel())
        drawn = np.full(self.length, -1, np.int32)
        text = drawn_text(exact, self.map_classes[: self.map_length].tolist(), rng)
        drawn[: len(text)] = text
        return drawn

    def class_factor(self) -> NDArray[np.float64]:
        """What the constraint multiplies each class's weight by at each position, as logarithms [L, C]."""
        labelled, sums = self.automaton.edges.labelled, self.automaton.label_sums
        factor = np.empty(self.log_sum.shape)

        def work(first: int, last: int) -> None:
            chain.class_factors(
                first,
                last,
                sums,
                labelled.begin,
                labelled.source,
                labelled.target,
                self.ahead.mantissa,
                self.ahead.exponent,
                self.back.mantissa,
                self.back.exponent,
                self.log_z,
                factor,
            )

        in_parallel(work, self.length)
        factor[: self.request.min_tokens, END_CLASS] = -np.inf
        return factor

    def valid_length(self, ids: NDArray[np.int64]) -> int | None:
        """Tokens of the text on a canvas, end token included; None if it is not in the language."""
        exact, state, tail = self.request.exact, self.request.state, self.automaton.tail
        if state == tail:
            return 0
        for position, token in enumerate(ids.tolist()):
            state = self.automaton.step_of(exact, state, token)
            if state == tail:
                return position + 1
            if state < 0:
                return None
        needed = self.distance[state] if exact is None else exact.completion(state)
        return self.length if needed <= self.request.budget else None

    def check_feasible(self) -> None:
        """
        Raises:
            InfeasibleError: no text can meet the request; the message says what is at fault.
        """
        if self.log_z > -np.inf:
            self._check_found()
            return
        needed = int(self.automaton.lifted.distance[self.start])
        available = self.length + self.request.budget
        if needed > available:
            raise InfeasibleError(
                f"the text needs at least {needed} tokens, its end token included, but only {max(available, 0)} are "
                f"left; allow more tokens, or relax the constraint"
            )
        flat = np.where(self._allowed_by_pins(), 0.0, -np.inf)
        flat[: self.request.min_tokens, END_CLASS] = -np.inf
        if self.best_messages(self.labels_of(flat))[0, self.start] == -np.inf:
            raise InfeasibleError(self._pin_at_fault(flat))
        position = self._last_reached(self.log_sum)
        raise InfeasibleError(
            f"the logits exclude every valid text: at position {position} each token that could continue one has a "
            f"logit of -inf; give finite logits to the tokens the constraint needs"
        )

    def _check_found(self) -> None:
        """
        Raises:
            InfeasibleError: the search over the exact states has found no text.
        """
        if self.is_found or self.request.exact is None:
            return
        available = self.length + self.request.budget
        enough = self.request.exact.completion(self.request.state)
        if enough > available:
            raise InfeasibleError(
                f"no text was found that fits the {max(available, 0)} tokens that are left; {enough} suffice to close "
                f"what is open; allow more tokens, or relax the constraint"
            )
        proof = "no text meets" if self.is_certified else "the search found no text that meets"
        raise InfeasibleError(
            f"{proof} the grammar, the pins and the finite logits at once within {available} tokens; relax one of them"
        )

    def _allowed_by_pins(self) -> NDArray[np.bool_]:
        allowed = np.ones(self.log_sum.shape, bool)
        pinned = self.request.pins >= 0
        allowed[pinned] = self.log_sum[pinned] > -np.inf
        return allowed

    def _last_reached(self, class_weight: NDArray[np.float64]) -> int:
        """The first position that no text which fits the budget can pass with these class weights."""
        lifted = self.automaton.lifted
        labels = self.labels_of(class_weight)
        reached = np.zeros(len(lifted.distance), bool)
        reached[self.start] = True
        for position in range(self.length):
            following = np.zeros_like(reached)
            for state in np.flatnonzero(reached):
                edges = slice(lifted.edge_begin[state], lifted.edge_begin[state + 1])
                following[lifted.edge_target[edges][labels[position, lifted.edge_label[edges]] > -np.inf]] = True
            left = self.length + self.request.budget - position - 1
            following[:-1] &= self.distance[:-1] <= left
            if not following.any():
                return position
            reached = following
        return self.length - 1

    def _pin_at_fault(self, flat: NDArray[np.float64]) -> str:
        position = self._last_reached(flat)
        if self.request.later and position == self.length - 1:
            return (
                f"no valid text of the available length holds the tokens that are pinned behind this canvas, up to "
                f"position {self.length + len(self.request.later) - 1}; remove one, or allow longer texts"
            )
        pins = np.flatnonzero(self.request.pins[: position + 1] >= 0)
        if not len(pins):
            later = np.flatnonzero(self.request.pins >= 0)
            if len(later):
                return (
                    f"no valid text of the available length reaches the token pinned at position {int(later[-1])}; "
                    f"remove it, or allow longer texts"
                )
            if self.request.min_tokens:
                return f"no valid text of the available length has {self.request.min_tokens} tokens before it ends"
            return "the constraint and the budget exclude each other; relax one of them"
        token = int(self.request.pins[pins[-1]])
        spelling = self.automaton.vocabulary.describe(token)
        return (
            f"the pinned tokens contradict the constraint: with token {token} ({spelling}) pinned at position "
            f"{int(pins[-1])}, no valid text of the available length gets past position {position}{self._blame}"
        )

    @property
    def _blame(self) -> str:
        """For a message: that pins may not have been foreseen."""
        exact = self.request.exact
        if exact is None or self.request.state == exact.automaton.start:
            return ""
        return " behind what was written before this canvas, which a grammar's pins cannot steer in all cases"


def _with_pins(table: ClassTable, pins: NDArray[np.int64], class_of: NDArray[np.generic]) -> ClassTable:
    """The table with all weight of pinned rows on their token."""
    pinned = np.flatnonzero(pins >= 0)
    if not len(pinned):
        return table
    classes = class_of[pins[pinned]].astype(np.int64)
    for weights in (table.log_sum, table.log_max):
        weights[pinned] = -np.inf
        weights[pinned, classes] = 0.0
    table.best[pinned, classes] = pins[pinned]
    table.entropy[pinned] = 0.0
    table.row_norm[pinned] = 0.0
    return table


def _check_rows(row_norm: NDArray[np.float64], pins: NDArray[np.int64], length: int) -> None:
    bad = np.flatnonzero(~np.isfinite(row_norm))
    if not len(bad):
        return
    canvas, position = divmod(int(bad[0]), length)
    met = "only -inf" if row_norm[bad[0]] == -np.inf else "NaN or +inf"
    raise ModelError(
        f"the logits hold {met} at position {position} of canvas {canvas}; expected finite values or -inf, at least "
        f"one of them finite"
    )
