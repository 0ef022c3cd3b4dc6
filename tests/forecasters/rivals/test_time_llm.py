"""Time-LLM: what the prompt says, and patches in words."""

from __future__ import annotations

import numpy as np
import torch
from made_networks import newborn

from fomo.forecasters.rivals.time_llm import Reprogramming, statistics, top_lags


def test_the_numbers_of_the_prompt_are_those_of_the_observed_values() -> None:
    random = np.random.default_rng(0)
    value = torch.from_numpy(random.normal(size=(5, 20))).float()
    observed = torch.from_numpy(random.random((5, 20)) < 0.6)
    observed[3] = False
    observed[4] = torch.arange(20) == 7
    value = value * observed
    found = statistics(value, observed)
    for row, seen, said in zip(value, observed, found, strict=True):
        known = row[seen]
        if len(known) == 0:
            assert torch.equal(said, torch.zeros(5))
            continue
        expected = [known.min(), known.max(), known.median(), known[-1] - known[0], seen.float().mean()]
        assert torch.allclose(said, torch.stack(expected))


def test_the_lags_are_those_of_the_greatest_autocorrelation() -> None:
    random = np.random.default_rng(1)
    value = torch.from_numpy(random.normal(size=(4, 40))).float()
    observed = torch.ones(4, 40, dtype=torch.bool)
    observed[1, 10:18] = False
    value = value * observed
    found = top_lags(value, observed, 20)
    for row, seen, named in zip(value.numpy(), observed.numpy(), found, strict=True):
        product = np.correlate(row, row, "full")[40:60]
        pairs = np.correlate(seen.astype(float), seen.astype(float), "full")[40:60]
        assert set(named.nonzero()[:, 0].tolist()) == set(np.argsort(product / pairs)[-5:].tolist())


def test_a_daily_rhythm_is_among_the_lags_and_silence_has_none() -> None:
    value = torch.sin(2 * torch.pi * torch.arange(64) / 24).repeat(2, 1)
    observed = torch.tensor([[True] * 64, [False] * 64])
    found = top_lags(value * observed, observed, 32)
    assert found[0, 23]  # lags count from 1
    assert not found[1].any()


def test_a_patch_becomes_a_weighted_mean_of_prototypes() -> None:
    torch.manual_seed(0)
    layer = Reprogramming(width=6, heads=2, words=10, language=4, prototypes=5)
    words, patches = torch.randn(10, 4), torch.randn(3, 2, 6)
    prototypes = layer.mixture.weight @ words
    heads = []
    for head in range(2):
        part = slice(3 * head, 3 * head + 3)
        fit = layer.query(patches)[..., part] @ layer.key(prototypes)[:, part].T / 3**0.5
        heads.append(fit.softmax(-1) @ layer.value(prototypes)[:, part])
    assert torch.allclose(layer(patches, words), layer.outer(torch.cat(heads, -1)), atol=1e-6)


def test_the_language_model_is_not_tuned() -> None:
    assert not any(weight.requires_grad for weight in newborn("Time-LLM").backbone.parameters())


def test_the_prompt_does_not_tell_what_is_hidden() -> None:
    value, observed = torch.randn(3, 64), torch.rand(3, 64) < 0.5
    hidden = torch.where(observed, value, 0.0)
    assert torch.equal(statistics(hidden, observed), statistics(torch.where(observed, value, 9.0), observed))
