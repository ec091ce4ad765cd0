"""What must hold of an automaton in a file: it is the same, and damage to any of its arrays is noticed."""

import numpy as np
import pytest
import torch

import constrained_diffusion as cd


def check_saved(automaton, vocabulary, logits, file):
    """Writes an automaton to the file, reads it back, and spoils every part of the file in turn."""
    automaton.save(file)
    loaded = cd.TokenAutomaton.load(file, vocabulary)
    one, other = automaton.posterior(logits), loaded.posterior(logits)
    assert torch.equal(one.map(), other.map())
    assert torch.equal(one.sample(torch.Generator().manual_seed(0)), other.sample(torch.Generator().manual_seed(0)))
    assert torch.equal(one.log_marginals(), other.log_marginals())
    with np.load(file) as arrays:
        whole = dict(arrays)
    for name in whole:
        np.savez(file, **{key: value for key, value in whole.items() if key != name})
        with pytest.raises(cd.errors.ModelError):
            cd.TokenAutomaton.load(file, vocabulary)
        spoiled = whole[name].copy()
        if spoiled.dtype.kind in "iu" and spoiled.size > 1 and name != "lifted_distance":
            spoiled.ravel()[-1] = np.iinfo(spoiled.dtype).max
            np.savez(file, **{**whole, name: spoiled})
            with pytest.raises(cd.errors.ModelError, match="damaged"):
                cd.TokenAutomaton.load(file, vocabulary)
