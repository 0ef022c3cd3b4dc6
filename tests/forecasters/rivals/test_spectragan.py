"""SpectraGAN: Fourier components against sums by hand, and members that spread."""

from __future__ import annotations

import math

import scoringrules
import torch
from made_networks import grown, newborn

from fomo.forecasters.rivals.adversarial import Noise, completed, energy
from fomo.forecasters.rivals.inputs import Inputs
from fomo.forecasters.rivals.spectragan import strongest


def test_the_strongest_quarter_of_the_components_stays() -> None:
    spectrum = torch.tensor([1.0, 5j, -3.0, 2j, 3 + 4j, 0.5, 0.1, 0.2])[None, :, None, None]
    kept = strongest(spectrum)[0, :, 0, 0]
    assert kept.tolist() == [0, 5j, 0, 0, 3 + 4j, 0, 0, 0]


def test_the_smooth_part_is_the_sum_of_the_waves(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    network = newborn("SpectraGAN")
    last = network.residual.outer[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    noise = torch.Generator().manual_seed(1)
    drawn, spectrum = network.generate(inputs, Noise.draw(1, 2, 16, 4, 4, noise))
    steps = torch.arange(64)
    expected = torch.zeros(64)
    for k in range(33):
        # Every wave but the mean and the fastest one stands for itself and its mirror image.
        share = 1.0 if k in (0, 32) else 2.0
        angle = 2 * math.pi * k * steps / 64
        component = spectrum[0, 1, k, 2, 3]
        expected += share * (component.real * angle.cos() - (component.imag * angle.sin() if 0 < k < 32 else 0.0))
    torch.testing.assert_close(drawn[0, 1, :, 2, 3], expected, atol=1e-5, rtol=1e-4)


def test_the_energy_is_the_fair_crps() -> None:
    random = torch.Generator().manual_seed(0)
    drawn, target = torch.randn(2, 5, 8, 2, 3, generator=random), torch.randn(2, 8, 2, 3, generator=random)
    expected = scoringrules.crps_ensemble(target.numpy(), drawn.movedim(1, -1).numpy(), estimator="fair")
    torch.testing.assert_close(energy(drawn, target), torch.as_tensor(expected), atol=1e-5, rtol=1e-5)


def test_discriminators_see_made_values_only_where_asked(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    network = grown("SpectraGAN")
    other = torch.where(inputs.asked, target, target + 3.0)
    assert torch.equal(completed(other, inputs), completed(target, inputs))
    assert torch.equal(network.opinion(other, inputs), network.opinion(target, inputs))
    assert not torch.allclose(network.opinion(target + 0.5, inputs), network.opinion(target, inputs))
