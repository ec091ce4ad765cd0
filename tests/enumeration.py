"""The oracle of the inference tests: every token string over a toy vocabulary, weighed one by one."""

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

import torch

from constrained_diffusion.automata.vocabulary import Vocabulary

END, PAD = 5, 6
TOY = Vocabulary([b"a", b"b", b"ab", b"ba", b"a", None, None], end_ids=[END], pad_id=PAD)
"""Two spellings of one token, tokens that overlap, an end token and padding."""


@dataclass(frozen=True)
class Enumerated:
    """All valid canvases and their weights, by brute force."""

    log_z: float
    marginals: torch.Tensor
    texts: dict[tuple[int, ...], float]
    """Posterior probability of each text: its tokens up to and including the end token."""

    @property
    def best(self) -> float:
        return max(self.texts.values())


def text_key(ids, end=END):
    """The tokens of a text, up to and including its end token."""
    ids = ids.tolist()
    return tuple(ids[: ids.index(end) + 1]) if end in ids else tuple(ids)


def check_relaxed(posterior, expected, key=text_key, draws=3):
    """What holds for a posterior that rests on a relaxation, where its best text is proved."""
    assert bool(posterior.certified)
    assert math.isclose(expected.texts[key(posterior.map())], expected.best, rel_tol=1e-4)
    assert float(posterior.log_z) >= expected.log_z - 1e-4
    possible = posterior.log_marginals() > -math.inf
    assert bool((possible | (expected.marginals == 0)).all())
    for draw in range(draws):
        assert key(posterior.sample(torch.Generator().manual_seed(draw))) in expected.texts


def shortest_completions(matches, most=6):
    """The least tokens of the toy vocabulary, at most ``most``, that complete a prefix, end token included."""
    pieces = [piece for piece in TOY.tokens if piece is not None]

    @cache
    def least(text):
        level = {text}
        for tokens in range(1, most + 1):
            if any(matches(candidate) for candidate in level):
                return tokens
            level = {candidate + piece for candidate in level for piece in pieces}
        return math.inf

    return least


def enumerate_canvases(logits, matches, *, prefix=b"", can_finish=None, pins=None, temperature=1.0, vocabulary=TOY):
    """Weighs every token string of the canvas.

    ``matches`` tells whether a text is in the language; ``can_finish(text)`` whether a canvas may
    end without an end token behind ``text``.
    """
    length, width = logits.shape
    log_p = torch.log_softmax(logits.double() / temperature, dim=-1)
    if pins is not None:
        for i, pin in enumerate(pins):
            if pin >= 0:
                log_p[i] = -math.inf
                log_p[i, pin] = 0.0
    p = log_p.exp().tolist()
    weights = defaultdict(float)
    marginals = torch.zeros(length, width, dtype=torch.float64)
    for ids in itertools.product(range(width), repeat=length):
        text = text_of(ids, vocabulary)
        if text is None:
            continue
        spelled, used, is_ended = text
        whole = prefix + spelled
        if not (matches(whole) if is_ended else can_finish is not None and can_finish(whole)):
            continue
        weight = math.prod(p[i][token] for i, token in enumerate(ids))
        if weight == 0.0:
            continue
        weights[ids[:used]] += weight
        for i, token in enumerate(ids):
            marginals[i, token] += weight
    z = math.fsum(weights.values())
    if z == 0.0:
        return Enumerated(-math.inf, marginals, {})
    return Enumerated(math.log(z), marginals / z, {text: weight / z for text, weight in weights.items()})


def text_of(ids, vocabulary=TOY):
    """(bytes, tokens up to and including the end token, whether it ended), or None for a special token in the text."""
    spelled = b""
    for i, token in enumerate(ids):
        if token in vocabulary.end_ids:
            return spelled, i + 1, True
        spelling = vocabulary.tokens[token] if token < len(vocabulary) else None
        if spelling is None:
            return None
        spelled += spelling
    return spelled, len(ids), False
