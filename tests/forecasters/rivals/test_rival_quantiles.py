"""The head of quantiles, its loss, and quantiles as members."""

from __future__ import annotations

from dataclasses import replace

import pytest
import scoringrules
import torch

from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.quantiles import LEVELS, QuantileHead, members, pinball


def test_quantiles_ascend_whatever_the_features_and_are_narrow_about_0_at_birth() -> None:
    torch.manual_seed(0)
    head = QuantileHead(8, values=4)
    features = torch.randn(5, 3, 8)
    assert head(features).shape == (5, 3, 4, 20)
    born = head(features)[0, 0].detach()
    assert not born[..., 10].any()
    assert (born[..., -1] - born[..., 0]).tolist() == pytest.approx([0.345] * 4, abs=0.01)
    torch.nn.init.normal_(head.linear.weight, std=3.0)
    assert (head(features).diff(dim=-1) >= 0).all()


def test_the_loss_is_the_quantile_score_of_all_levels(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    alike = replace(inputs, level=torch.ones_like(inputs.level))  # no cell counts more than another
    quantiles = torch.randn(*target.shape, 20, generator=torch.Generator().manual_seed(0))
    score = scoringrules.quantile_score(target[..., None].numpy(), quantiles.numpy(), LEVELS.numpy())
    assert pinball(quantiles, target, alike).item() == pytest.approx(score[inputs.asked.numpy()].mean(), rel=1e-4)


@pytest.mark.parametrize("samples", [1, 7, 20, 100])
def test_members_are_linear_between_the_levels_and_the_outermost_beyond(samples: int) -> None:
    quantiles = (10 * LEVELS).expand(2, 3, 1, 1, 20)
    wanted = 10 * ((torch.arange(samples) + 0.5) / samples).clamp(LEVELS[0], LEVELS[-1])
    found = members(quantiles, samples)
    assert found.shape == (2, samples, 3, 1, 1)
    torch.testing.assert_close(found[1, :, 2, 0, 0], wanted, atol=1e-5, rtol=1e-5)
