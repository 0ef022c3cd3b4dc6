from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import pad

from fomo.model.transformer import (
    PRESETS,
    Condition,
    MaskedDiffusionTransformer,
    ModelConfig,
    asked_steps,
    parameter_count,
)
from fomo.windows.batch import Batch, CellState
from fomo.windows.observation import GUESSES, observe

MEMBERS = 3
LABEL = torch.tensor([0.3])


def said(network: MaskedDiffusionTransformer, batch: Batch, noised: Tensor, label: Tensor = LABEL) -> dict[str, Tensor]:
    """All that the network says of the hidden cells of a batch: mean, log scale, and what is denoised."""
    with torch.no_grad():
        condition = network.encode(batch, observe(batch))
        denoised = network.denoise(noised, label, condition)
    hidden = batch.hidden[:, None].expand(denoised.shape)
    return {
        "mean": torch.where(batch.hidden, condition.mean, torch.zeros(())),
        "log_scale": torch.where(batch.hidden, condition.log_scale, torch.zeros(())),
        "denoised": torch.where(hidden, denoised, torch.zeros(())),
    }


def noise_for(batch: Batch, members: int = MEMBERS, seed: int = 0) -> Tensor:
    size = batch.share.shape
    return torch.randn(size[0], members, *size[1:], generator=torch.Generator().manual_seed(seed))


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor], exactly: bool = False) -> None:
    for name, value in one.items():
        if exactly:
            assert torch.equal(value, other[name]), name
        else:
            torch.testing.assert_close(
                value, other[name], rtol=1e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
            )


@pytest.mark.parametrize(
    ("size", "token"),
    [
        ((64, 4, 4), (4, 2, 2)),
        ((10, 5, 3), (4, 2, 2)),
        ((1, 1, 1), (4, 2, 2)),
        ((7, 1, 9), (4, 2, 2)),
        ((12, 6, 4), (1, 1, 1)),
        ((9, 4, 4), (16, 4, 4)),
        ((23, 3, 8), (2, 3, 4)),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_any_grid_any_window_length_and_any_token_works(random_batch, small_network, size, token, training):
    batch = random_batch(time=size[0], y=size[1], x=size[2], padding=0)
    found = said(small_network(token=token).train(training), batch, noise_for(batch))
    assert found["mean"].shape == found["log_scale"].shape == (2, *size)
    assert found["denoised"].shape == (2, MEMBERS, *size)
    assert all(torch.isfinite(value).all() for value in found.values())


@pytest.mark.parametrize("minutes", [1, 5, 15, 30, 60, 240, 1440])
def test_any_granularity_works_and_is_told(random_batch, small_network, minutes):
    batch = random_batch(time=16, padding=0)
    network, noised = small_network(), noise_for(batch)
    found = said(network, replace(batch, step_hours=torch.full((2,), minutes / 60)), noised)
    assert all(torch.isfinite(value).all() for value in found.values())
    other = said(network, replace(batch, step_hours=torch.full((2,), 2 * minutes / 60 % 25)), noised)
    assert not torch.allclose(found["mean"], other["mean"])


def test_steps_grids_and_times_of_day_are_mixed_in_a_batch_without_touching_each_other(random_batch, small_network):
    batch, network = random_batch(batch=3), small_network()
    noised = noise_for(batch)
    together = said(network, batch, noised)
    for row in range(3):
        alone = said(network, batch.rows(slice(row, row + 1)), noised[row : row + 1])
        assert_same({name: value[row : row + 1] for name, value in together.items()}, alone)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("state", [CellState.HIDDEN, CellState.MISSING, CellState.PADDING])
def test_values_that_are_not_observed_never_influence_what_is_said(random_batch, small_network, state, training):
    batch, network = random_batch(), small_network().train(training)
    noised = noise_for(batch)
    changed = torch.where(batch.state == state, 7.0, batch.share)
    assert not torch.equal(changed, batch.share)
    assert_same(said(network, batch, noised), said(network, replace(batch, share=changed), noised), exactly=True)


def test_observed_values_last_week_and_the_clock_do_influence_what_is_said(random_batch, small_network):
    batch, network = random_batch(), small_network()
    noised = noise_for(batch)
    before = said(network, batch, noised)
    for changed in (
        replace(batch, share=torch.where(batch.observed, batch.share * 1.5, batch.share)),
        replace(batch, week=torch.where(batch.week_known, batch.week * 1.5, batch.week)),
        replace(batch, start_hour=(batch.start_hour + 7) % 168),
        replace(batch, cell_km=torch.full((2,), 5.0)),
    ):
        after = said(network, changed, noised)
        assert not torch.allclose(before["mean"], after["mean"])
        assert not torch.allclose(before["denoised"], after["denoised"])


@pytest.mark.parametrize("training", [False, True])
def test_noise_outside_the_hidden_cells_is_not_looked_at(random_batch, small_network, training):
    batch, network = random_batch(), small_network().train(training)
    noised = noise_for(batch)
    elsewhere = torch.where(batch.hidden[:, None], noised, 50.0)
    assert_same(said(network, batch, noised), said(network, batch, elsewhere), exactly=True)


@pytest.mark.parametrize("training", [False, True])
def test_whole_tokens_of_padding_around_a_window_change_nothing(random_batch, small_network, training):
    """A window with no neighbours at all, and the same with empty ground and time around it."""
    batch, network = random_batch(time=12, y=4, x=4, padding=0), small_network().train(training)

    def wider(layer: Tensor, value: float) -> Tensor:
        return pad(layer, (0, 2, 0, 4, 0, 8), value=value)

    padded = replace(
        batch,
        share=wider(batch.share, 0.0),
        state=wider(batch.state, int(CellState.PADDING)),
        week=wider(batch.week, 0.0),
        week_known=wider(batch.week_known, False),
        rhythm=wider(batch.rhythm, 1.0),
        shapes=pad(batch.shapes, (0, 8), value=9.0),
        noise=pad(batch.noise, (0, 8), value=1.0),
    )
    noised = noise_for(batch)
    expected, found = said(network, batch, noised), said(network, padded, wider(noised, 3.0))
    assert_same(expected, {name: value[..., :12, :4, :4] for name, value in found.items()})


def test_leaving_out_tokens_with_nothing_hidden_gives_the_same_as_keeping_all(random_batch, small_network):
    batch = random_batch(batch=3, time=24)
    block = torch.zeros(3, 24, 4, 4, dtype=torch.bool)
    block[1, 3:9, 1, 1], block[2, :, 2:, :2] = True, True  # windows with different tokens hidden
    batch = batch.hide(block)
    network, noised = small_network(encoder_layers=2, denoiser_layers=2), noise_for(batch)
    few = network.encode(batch, observe(batch))
    every = network.train().encode(batch, observe(batch))
    tokens = 6 * 2 * 2
    assert few.projected.shape[2] < tokens == every.projected.shape[2]
    assert_same(said(network.train(), batch, noised), said(network.eval(), batch, noised))


@pytest.mark.parametrize("hidden", [slice(20, 24), slice(5, 10), slice(0, 1), slice(22, 23), slice(0, 0)])
def test_steps_that_nothing_is_asked_of_are_left_out_of_what_is_said_of_values(random_batch, small_network, hidden):
    batch = random_batch(batch=2, time=23, padding=0)
    asked = torch.zeros(2, 23, 4, 4, dtype=torch.bool)
    asked[1, hidden, 2:] = True
    batch = replace(batch, state=torch.zeros_like(batch.state)).hide(asked)
    network = small_network()
    few, every = (network.train(mode).encode(batch, observe(batch)) for mode in (False, True))
    told = asked_steps(batch.hidden, network.config.token_shape)
    assert told.start % 4 == 0 and (told.stop % 4 == 0 or told.stop == 23)
    assert batch.hidden[:, told].sum() == batch.hidden.sum()
    for name in ("mean", "log_scale"):
        one, other = getattr(few, name), getattr(every, name)
        torch.testing.assert_close(one[:, told], other[:, told], rtol=1e-5, atol=1e-6)
        assert not one[:, : told.start].any() and not one[:, told.stop :].any()


def test_a_window_with_nothing_hidden_among_others_does_no_harm(random_batch, small_network):
    batch = random_batch(batch=2, padding=0)
    state = batch.state.clone()
    state[0] = CellState.OBSERVED
    batch, network = replace(batch, state=state), small_network()
    noised = noise_for(batch)
    found = said(network, batch, noised)
    assert all(torch.isfinite(value).all() for value in found.values())
    alone = said(network, batch.rows(slice(1, 2)), noised[1:])
    assert_same({name: value[1:] for name, value in found.items()}, alone)


def test_a_batch_with_nothing_hidden_at_all_gives_zeros(random_batch, small_network):
    batch = random_batch(padding=0)
    batch = replace(batch, state=torch.zeros_like(batch.state))
    with torch.no_grad():
        network = small_network()
        found = network.denoise(noise_for(batch), LABEL, network.encode(batch, observe(batch)))
    assert found.shape == (2, MEMBERS, 12, 4, 4)
    assert (found == 0).all()


def test_a_window_of_padding_alone_does_no_harm(random_batch, small_network):
    batch = random_batch(padding=0)
    state = batch.state.clone()
    state[0] = CellState.PADDING
    batch, network = replace(batch, state=state), small_network()
    found = said(network, batch, noise_for(batch))
    alone = said(network, batch.rows(slice(1, 2)), noise_for(batch)[1:])
    assert all(torch.isfinite(value).all() for value in found.values())
    assert_same({name: value[1:] for name, value in found.items()}, alone)


def test_members_are_independent_of_each_other(random_batch, small_network):
    batch, network = random_batch(), small_network()
    noised = noise_for(batch, members=4)
    together = said(network, batch, noised)["denoised"]
    for member in range(4):
        alone = said(network, batch, noised[:, member : member + 1])["denoised"]
        torch.testing.assert_close(together[:, member : member + 1], alone, rtol=1e-4, atol=1e-5)
    changed = noised.clone()
    changed[:, 2] += 3
    after = said(network, batch, changed)["denoised"]
    torch.testing.assert_close(after[:, [0, 1, 3]], together[:, [0, 1, 3]], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(after[:, 2], together[:, 2])


def test_the_noise_level_matters_and_may_differ_by_window(random_batch, small_network):
    batch, network = random_batch(), small_network()
    noised = noise_for(batch)
    each = said(network, batch, noised, torch.tensor([0.3, -1.0]))["denoised"]
    for row, label in ((0, 0.3), (1, -1.0)):
        same = said(network, batch, noised, torch.tensor([label]))["denoised"]
        torch.testing.assert_close(each[row], same[row], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(each[1], said(network, batch, noised)["denoised"][1])


def test_at_birth_the_network_says_what_the_regression_says_and_no_noise(random_batch):
    """Zero heads but for the weight of one guess; F is 0."""
    torch.manual_seed(0)
    network = MaskedDiffusionTransformer(ModelConfig(width=32, encoder_layers=1, denoiser_layers=1, heads=2)).eval()
    batch = random_batch()
    found = said(network, batch, noise_for(batch))
    expected = observe(batch).known[:, GUESSES.index("carried")]
    assert torch.equal(found["mean"], expected * batch.hidden) and batch.hidden.any()
    assert (found["denoised"] == 0).all()


def test_the_scale_stays_within_its_bounds(random_batch, small_network):
    network = small_network(smallest_log_scale=-1.1, largest_log_scale=-0.9)
    batch = random_batch()
    found = said(network, batch, noise_for(batch))["log_scale"][batch.hidden]
    assert float(found.min()) == pytest.approx(-1.1)
    assert float(found.max()) == pytest.approx(-0.9)


def test_the_condition_is_computed_once_and_serves_any_number_of_members(random_batch, small_network):
    batch, network = random_batch(), small_network()
    with torch.no_grad():
        condition: Condition = network.encode(batch, observe(batch))
        many = network.denoise(noise_for(batch, 5), LABEL, condition)
        one = network.denoise(noise_for(batch, 5)[:, :1], LABEL, condition)
    assert condition.projected.shape[1] == 1
    torch.testing.assert_close(many[:, :1], one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_have_the_size_that_their_name_says(name):
    with torch.device("meta"):
        count = parameter_count(MaskedDiffusionTransformer(ModelConfig.preset(name))) / 1e6
    if name == "tiny":
        assert count == pytest.approx(0.9, rel=0.15)
    else:
        assert count == pytest.approx(float(name.removesuffix("m")), rel=0.15)


def test_the_papers_five_sizes_are_there_and_an_unknown_one_lists_them():
    assert {"5m", "35m", "100m", "150m", "200m"} <= set(PRESETS)
    with pytest.raises(ValueError, match=r"'6m'.*tiny.*200m"):
        ModelConfig.preset("6m")


@pytest.mark.parametrize(
    "wrong", [{"width": 100, "heads": 3}, {"width": 96, "heads": 8}, {"widht": 64}, {"dropout": 1.0}]
)
def test_sizes_that_make_no_network_are_refused(wrong):
    with pytest.raises(ValidationError):
        ModelConfig(**wrong)


def test_only_trainable_parameters_are_counted_when_asked(small_network: Callable[..., MaskedDiffusionTransformer]):
    network = small_network()
    whole = parameter_count(network)
    assert whole == sum(weight.numel() for weight in network.parameters())
    network.encoder.requires_grad_(False)
    assert parameter_count(network, trainable_only=True) == whole - parameter_count(network.encoder)
    assert parameter_count(network) == whole
