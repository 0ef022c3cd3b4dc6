from __future__ import annotations

import pytest
import torch

from fomo.model.embeddings import (
    CALENDAR_FEATURES,
    HARMONICS,
    NOMINAL_CELL_KM,
    NoiseEmbedding,
    calendar_features,
    normalise_and_rotate,
    rotary_turn,
    token_positions,
)

WIDTH = 32  # of a head


def logits(positions: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Products of queries and keys, (token, token), turned at positions (token, 3)."""
    random = torch.Generator().manual_seed(seed)
    count = len(positions)
    both = torch.randn(1, 1, count, 2, 1, WIDTH, generator=random, dtype=torch.float64)
    turned = normalise_and_rotate(both, torch.ones(2, WIDTH), rotary_turn(positions[None], WIDTH))
    query, key = turned[0, 0, :, :, 0].unbind(1)
    return query @ key.T


def random_positions(count: int = 20) -> torch.Tensor:
    random = torch.Generator().manual_seed(5)
    return torch.rand(count, 3, generator=random, dtype=torch.float64) * torch.tensor([64.0, 20.0, 20.0])


@pytest.mark.parametrize("shift", [(100.0, 0.0, 0.0), (0.0, 7.0, 0.0), (0.0, 0.0, -3.0), (31.0, 2.0, 5.0)])
def test_attention_depends_on_differences_of_positions_only(shift):
    positions = random_positions()
    torch.testing.assert_close(logits(positions + torch.tensor(shift)), logits(positions), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_attention_does_depend_on_each_axis(axis):
    positions = random_positions()
    moved = positions.clone()
    moved[3, axis] += 1.0
    change = (logits(moved) - logits(positions)).abs()
    assert float(change[3].max()) > 0.1
    others = torch.ones(20, 20, dtype=torch.bool)
    others[3], others[:, 3] = False, False
    assert float(change[others].max()) == 0


def test_turning_is_a_complex_product_after_the_norm_and_its_gain():
    """By another road: nn.RMSNorm, and the pair (i, i + half) as one complex number times exp(i angle)."""
    torch.manual_seed(0)
    batch, tokens, heads = 2, 20, 3
    features = torch.randn(batch, 4, tokens, 2, heads, WIDTH, dtype=torch.float64)
    gain = torch.rand(2, WIDTH, dtype=torch.float64) + 0.5
    turn = rotary_turn(random_positions(batch * tokens).view(batch, tokens, 3), WIDTH)
    found = normalise_and_rotate(features, gain, turn)

    unit = torch.nn.functional.rms_norm(features, (WIDTH,)) * gain[:, None]
    first, second = unit.chunk(2, -1)
    turned = torch.complex(first, second) * torch.complex(*turn.to(torch.float64))[:, None, :, None, None]
    torch.testing.assert_close(found, torch.cat([turned.real, turned.imag], -1))
    assert torch.isfinite(normalise_and_rotate(torch.zeros_like(features), gain, turn)).all()


def test_gradients_of_turning_are_those_of_finite_differences():
    torch.manual_seed(0)
    features = torch.randn(1, 1, 2, 2, 1, 8, dtype=torch.float64, requires_grad=True)
    gain = torch.rand(2, 8, dtype=torch.float64, requires_grad=True)
    turn = rotary_turn(random_positions(2)[None], 8).double()
    assert torch.autograd.gradcheck(lambda *given: normalise_and_rotate(*given, turn), (features, gain))


def test_one_hour_turns_alike_at_every_granularity():
    """A token of four quarter hours and one of a single hour stand at positions in hours, not in steps."""
    token, one = torch.tensor([0.25, 1.0]), torch.tensor([1.0, 1.0])
    places = token_positions((16, 1, 1), (4, 1, 1), token, one)
    torch.testing.assert_close(places[0, 4, 0] - places[0, 0, 0], torch.tensor(4.0))
    torch.testing.assert_close(places[1, 1, 0] - places[1, 0, 0], torch.tensor(4.0))


def test_positions_are_the_middles_of_the_tokens_cells_by_a_loop():
    step, edge = torch.tensor([0.5, 1.0, 3.0]), torch.tensor([0.25, 0.0, 2.0])
    places = token_positions((3, 2, 4), (4, 2, 3), step, edge)
    assert places.shape == (3, 24, 3)
    for row in range(3):
        kilometre = float(edge[row]) or NOMINAL_CELL_KM
        at = 0
        for t in range(3):
            for y in range(2):
                for x in range(4):
                    cells = (4 * t + 1.5) * float(step[row]), (2 * y + 0.5) * kilometre, (3 * x + 1) * kilometre
                    assert places[row, at].tolist() == pytest.approx(cells)
                    at += 1


def test_the_calendar_repeats_daily_and_weekly():
    hours, step = torch.tensor([[5.5, 29.5, 173.5 - 168, 101.5]]), torch.tensor([1.0])
    features = calendar_features(hours, step)[0]
    assert features.shape == (4, CALENDAR_FEATURES)
    torch.testing.assert_close(features[0], features[2])  # a week later
    day, weekday = slice(0, 2 * HARMONICS), slice(2 * HARMONICS, 2 * HARMONICS + 7)
    torch.testing.assert_close(features[0, day], features[1, day], atol=1e-5, rtol=1e-5)  # a day later
    assert features[:, weekday].argmax(1).tolist() == [0, 1, 0, 4]
    assert (features[:, weekday].sum(1) == 1).all()


def test_the_calendar_tells_the_granularity():
    features = calendar_features(torch.zeros(3, 1), torch.tensor([0.25, 0.5, 1.0]))
    assert features[:, 0, -1].tolist() == [-2, -1, 0]


def test_noise_levels_are_told_apart():
    torch.manual_seed(0)
    embed = NoiseEmbedding(16)
    levels = embed(torch.linspace(-2, 2, 9)).detach()
    distance = torch.cdist(levels, levels) + torch.eye(9)
    assert float(distance.min()) > 0.01
