"""SpectraGAN: Fourier components against sums by hand, and members that spread."""

from __future__ import annotations

import math
from dataclasses import replace

import scoringrules
import torch

from fomo.forecasters.rivals.adversarial import Noise, completed, energy
from fomo.forecasters.rivals.inputs import Inputs, make_inputs
from fomo.forecasters.rivals.network import WindowNoise
from fomo.forecasters.rivals.spectragan import SpectraGAN, strongest
from fomo.forecasters.rivals.training import FitConfig, draw_batch
from fomo.windows.sample import TrainingSet


def small() -> SpectraGAN:
    torch.manual_seed(0)
    return SpectraGAN(width=16, layers=2, draws=2)


def members(network: SpectraGAN, inputs: Inputs, samples: int = 3) -> torch.Tensor:
    with torch.inference_mode():
        return network.eval().sample(inputs, samples, WindowNoise(range(len(inputs.value))))


def test_the_strongest_quarter_of_the_components_stays() -> None:
    spectrum = torch.tensor([1.0, 5j, -3.0, 2j, 3 + 4j, 0.5, 0.1, 0.2])[None, :, None, None]
    kept = strongest(spectrum)[0, :, 0, 0]
    assert kept.tolist() == [0, 5j, 0, 0, 3 + 4j, 0, 0, 0]


def test_the_smooth_part_is_the_sum_of_the_waves(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    network = small()
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


def test_some_steps_on_one_batch_lower_the_loss_of_each_player(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    network = small()
    for player in network.players():
        optimiser = torch.optim.AdamW(player.parameters, lr=5e-3)
        found = []
        for _ in range(8):
            loss = player.loss(inputs, target, torch.Generator().manual_seed(0))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            found.append(float(loss.detach()))
        assert found[-1] < 0.95 * found[0]


def test_the_players_share_no_weight_and_miss_none() -> None:
    network = small()
    judges, makers = ({id(weight) for weight in player.parameters} for player in network.players())
    assert not judges & makers
    assert judges | makers == {id(weight) for weight in network.parameters()}


def test_discriminators_see_made_values_only_where_asked(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, target = windows
    network = small().eval()
    other = torch.where(inputs.asked, target, target + 3.0)
    assert torch.equal(completed(other, inputs), completed(target, inputs))
    assert torch.equal(network.opinion(other, inputs), network.opinion(target, inputs))
    assert not torch.allclose(network.opinion(target + 0.5, inputs), network.opinion(target, inputs))


def test_what_is_asked_is_not_read(training_set: TrainingSet) -> None:
    batch = draw_batch(training_set, FitConfig(batch=4, seed=5), 0)
    other = replace(batch, share=torch.where(batch.hidden, batch.share + 1.0, batch.share))
    network = small()
    assert torch.equal(members(network, make_inputs(other)), members(network, make_inputs(batch)))


def test_answers_do_not_depend_on_the_batch_and_members_differ(windows: tuple[Inputs, torch.Tensor]) -> None:
    inputs, _ = windows
    network = small()
    drawn = members(network, inputs)
    torch.testing.assert_close(members(network, inputs.rows(slice(0, 2))), drawn[:2], atol=1e-5, rtol=1e-5)
    assert drawn.shape == (6, 3, 64, 4, 4)
    assert float(drawn.std(1).min()) > 1e-4
