"""The losses of the whole network: what may and what must not move them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fomo.diffusion.contrast import alignment_loss
from fomo.diffusion.process import PROCESSES
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.training import losses as module
from fomo.training.losses import bounded_error, level_weight, losses, window_balance, wrong_context_error
from fomo.training.recipe import LossConfig
from fomo.windows.batch import Batch, CellState
from fomo.windows.observation import GUESSES, observe

BOTH = pytest.mark.parametrize("process", ["residual", "paper"])


@pytest.fixture
def batch(random_batch) -> Batch:
    return random_batch(seed=1, batch=3, time=16, missing=0.2)


def losses_and_gradients(
    network: MaskedDiffusionTransformer, process: str, batch: Batch, config: LossConfig | None = None
) -> dict[str, Tensor]:
    """All losses, and the gradient of the total by every weight."""
    random = torch.Generator().manual_seed(4)
    noise, uniform = torch.randn(batch.share.shape, generator=random), torch.rand(len(batch.share), generator=random)
    network.train().zero_grad()
    sign = torch.tensor([1.0, -1.0, 1.0])
    found = losses(network, PROCESSES[process](), config or LossConfig(), batch, noise, uniform, sign)
    found.total.backward()
    gradients = {name: w.grad.clone() for name, w in network.named_parameters() if w.grad is not None}
    return {name: value.detach() for name, value in vars(found).items()} | gradients


@BOTH
@pytest.mark.parametrize("state", [CellState.MISSING, CellState.PADDING])
def test_what_is_stored_where_nothing_was_measured_moves_no_loss_and_no_gradient(
    batch, small_network: Callable[..., MaskedDiffusionTransformer], process, state
):
    network = small_network()
    changed = torch.where(batch.state == state, 1e4, batch.share)
    assert not torch.equal(changed, batch.share)
    one = losses_and_gradients(network, process, batch)
    other = losses_and_gradients(network, process, replace(batch, share=changed))
    assert any(float(value.abs().max()) > 0 for value in one.values())
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@BOTH
def test_the_gradient_of_never_measured_cells_is_zero_and_that_of_hidden_ones_is_not(
    batch, small_network, process, monkeypatch
):
    """As targets; that they do not enter as conditions either is the test above."""
    monkeypatch.setattr(module, "observe", lambda b: observe(replace(b, share=b.share.detach())))
    share = batch.share.clone().requires_grad_()
    noise, uniform = torch.randn(batch.share.shape), torch.rand(3)
    batch_here = replace(batch, share=share)
    found = losses(small_network(), PROCESSES[process](), LossConfig(), batch_here, noise, uniform, torch.ones(3))
    found.total.backward()
    assert (share.grad[~batch.hidden] == 0).all()
    assert (share.grad[batch.hidden] != 0).all()


@BOTH
def test_hidden_values_are_what_is_learned(batch, small_network, process):
    network = small_network()
    changed = torch.where(batch.hidden, batch.share * 1.3, batch.share)
    one = losses_and_gradients(network, process, batch)
    other = losses_and_gradients(network, process, replace(batch, share=changed))
    assert float(one["total"]) != float(other["total"])


def test_the_total_is_the_weighted_sum_of_its_parts(batch, small_network):
    config = LossConfig(denoising=0.7, mean=3.0, scale=0.1)
    found = losses_and_gradients(small_network(), "residual", batch, config)
    expected = 0.7 * found["denoising"] + 3.0 * found["mean"] + 0.1 * found["scale"]
    assert float(found["total"]) == pytest.approx(float(expected), rel=1e-5)


def test_the_papers_process_trains_no_heads(batch, small_network):
    found = losses_and_gradients(small_network(), "paper", batch)
    assert float(found["mean"]) == float(found["scale"]) == 0
    assert float(found["total"]) == pytest.approx(float(found["denoising"]))
    assert "decoder.weight" in found
    assert not any(name.startswith("head.") for name in found)  # no gradient at all


def test_every_weight_of_the_network_learns(batch, small_network):
    network = small_network()
    found = losses_and_gradients(network, "residual", batch)
    assert [name for name, _ in network.named_parameters() if not found.get(name, torch.zeros(1)).any()] == []


def test_the_denoising_loss_does_not_train_the_mean_and_scale(batch, small_network):
    found = losses_and_gradients(small_network(), "residual", batch, LossConfig(mean=0.0, scale=0.0))
    assert not found["head.last.weight"].any()
    assert found["decoder.weight"].any()


@BOTH
def test_a_batch_with_nothing_hidden_has_no_loss_and_finite_gradients(batch, small_network, process):
    nothing = replace(batch, state=torch.where(batch.hidden, int(CellState.MISSING), batch.state.long()).to(torch.int8))
    found = losses_and_gradients(small_network(), process, nothing)
    assert float(found["total"]) == 0
    assert all(torch.isfinite(value).all() for value in found.values())


@BOTH
def test_one_window_with_nothing_hidden_leaves_the_losses_of_the_others(batch, small_network, process):
    state = batch.state.clone()
    state[0] = torch.where(state[0] == CellState.HIDDEN, int(CellState.OBSERVED), state[0].long()).to(torch.int8)
    batch = replace(batch, state=state)
    found = losses_and_gradients(small_network(), process, batch)
    assert float(found["total"]) > 0
    assert all(torch.isfinite(value).all() for value in found.values())


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_cells_weigh_by_their_level_and_only_where_hidden(batch, power):
    observation = observe(batch)
    weight = level_weight(batch, observation, power)
    assert ((weight > 0) == batch.hidden).all()
    assert float(weight.sum() / batch.hidden.sum()) == pytest.approx(1, rel=1e-4)
    relative = (weight / observation.unit[:, None].pow(2 * power))[batch.hidden]
    torch.testing.assert_close(relative, relative[:1].expand(len(relative)), rtol=1e-4, atol=1e-5)


def test_windows_are_balanced_by_the_squared_error_that_their_scale_expects():
    log_scale = torch.tensor([0.0, -2.0]).reshape(2, 1, 1, 1).expand(2, 4, 1, 1)
    weight = torch.ones(2, 4, 1, 1)
    weight[:, :2] = 0  # what is not hidden does not count
    log_scale = torch.where(weight > 0, log_scale, 5.0)
    balanced = window_balance(log_scale, weight, 1.0).flatten()
    torch.testing.assert_close(balanced, torch.tensor([1.0, torch.e**4]))
    torch.testing.assert_close(window_balance(log_scale, weight, 0.5).flatten(), balanced.sqrt())
    assert window_balance(log_scale, weight, 0.0).flatten().tolist() == [1.0, 1.0]


def test_the_balance_moves_no_scale(small_network, batch):
    """A wide scale must not be a way to make the mean's loss small."""
    config = LossConfig(denoising=0.0, scale=0.0)
    network = small_network()
    scale_row = losses_and_gradients(network, "residual", batch, config)["head.last.weight"][1]
    assert (scale_row == 0).all()


def test_the_denoiser_learns_from_its_share_of_the_batch_and_the_encoder_from_all(small_network, batch):
    config = LossConfig(denoised_share=1 / 3)
    first = losses_and_gradients(small_network(), "residual", batch, config)
    changed = replace(batch, share=torch.where(batch.hidden, batch.share + 0.3, batch.share))
    changed = replace(changed, share=torch.cat([batch.share[:1], changed.share[1:]]))
    other = losses_and_gradients(small_network(), "residual", changed, config)
    # the level weights know no hidden value, so the denoiser's loss stays
    assert torch.equal(first["denoising"], other["denoising"])
    assert not torch.equal(first["mean"], other["mean"])


def test_a_negative_sign_is_the_truth_on_the_other_side_of_the_mean(batch, small_network):
    network, process, config = small_network().eval(), PROCESSES["residual"](), LossConfig()
    noise, uniform = torch.randn(batch.share.shape), torch.rand(3)
    observation = observe(batch)
    with torch.no_grad():
        for parameter in network.head.last.parameters():
            parameter.zero_()
        network.head.last.bias[2 + GUESSES.index("carried")] = 1.0  # a mean that is not negative
        mean = (network.encode(batch, observation).mean + 1) * observation.unit[:, None]
        batch = replace(batch, share=torch.where(batch.hidden, mean * torch.rand(mean.shape), batch.share))
        other = replace(batch, share=torch.where(batch.hidden, 2 * mean - batch.share, batch.share))
        found = losses(network, process, config, batch, noise, uniform, -torch.ones(3))
        expected = losses(network, process, config, other, noise, uniform, torch.ones(3))
        plain = losses(network, process, config, batch, noise, uniform, torch.ones(3))
    torch.testing.assert_close(found.denoising, expected.denoising, rtol=1e-4, atol=1e-6)
    assert abs(float(found.denoising - plain.denoising)) > 1e-4
    torch.testing.assert_close(found.mean, plain.mean)  # heads learn the truth as it is
    torch.testing.assert_close(found.scale, plain.scale)


# ---------------------------------------------------------------- context


@pytest.fixture
def told(random_batch, with_context) -> Batch:
    """With whole blocks observed, as alignment needs them."""
    return with_context(random_batch(seed=1, batch=3, time=16, missing=0.0))


def test_an_error_under_another_context_counts_up_to_the_margin_and_teaches_nothing_beyond_it():
    wrong, right = torch.linspace(0, 4, 9, requires_grad=True), torch.full((9,), 1.0, requires_grad=True)
    found = bounded_error(wrong, right, 2.5)
    assert found.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 2.5, 2.5, 2.5]
    found.sum().backward()
    assert wrong.grad[:5].tolist() == [1.0] * 5
    assert wrong.grad[6:].tolist() == [0.0] * 3
    assert right.grad is None  # what it is bounded by is held fixed


def contrast_of(network: MaskedDiffusionTransformer, batch: Batch, config: LossConfig) -> Tensor:
    observation = observe(batch)
    weight = level_weight(batch, observation, config.level_power)
    return wrong_context_error(network, config, batch, observation, network.encode(batch, observation), weight)


@pytest.mark.parametrize("margin", [1.5, 2.0, 10.0])
def test_the_error_under_the_context_of_another_window_is_that_of_a_loop_over_hidden_values(
    told, small_network, margin
):
    network, config = small_network(context=True), LossConfig(margin=margin, balance=0.0)
    with torch.no_grad():
        found = contrast_of(network, told, config)
        observation = observe(told)
        right = network.encode(told, observation).mean
        order = [2, 0, 1]
        swapped = replace(told, context=told.context.rows(torch.tensor(order)))
        other = observe(swapped)
        wrong = network.encode(swapped, other).mean
    weight = level_weight(told, observation, config.level_power)
    total = worth = 0.0
    for at in told.hidden.nonzero().tolist():
        row, t, y, x = at
        unit, share = float(observation.unit[row, y, x]), float(told.share[row, t, y, x])
        error = (float(wrong[row, t, y, x]) + 1) * float(other.unit[row, y, x]) - share
        usual = (float(right[row, t, y, x]) + 1) * unit - share
        level = unit - share
        total += float(weight[row, t, y, x]) * min(error**2, margin * usual**2, margin * level**2) / unit**2
        worth += float(weight[row, t, y, x])
    assert float(found) == pytest.approx(total / worth, rel=1e-3)
    assert 0 <= float(found) <= margin * float(losses_and_gradients(network.eval(), "residual", told, config)["mean"])


def test_only_windows_of_which_both_contexts_say_something_count(told, small_network):
    network = small_network(context=True)
    assert float(contrast_of(network, told, LossConfig())) > 0
    one = torch.tensor([True, False, False])[:, None, None, None]
    kept = told.context.keep(one.expand_as(told.share), one.expand_as(told.context.static))
    assert float(contrast_of(network, replace(told, context=kept), LossConfig())) == 0


def test_with_context_the_total_is_still_the_weighted_sum_of_its_parts(told, small_network):
    config = LossConfig(denoising=0.7, mean=3.0, scale=0.1, contrast=0.2, alignment=0.3)
    network = small_network(context=True)
    found = losses_and_gradients(network, "residual", told, config)
    assert float(found["contrast"]) > 0
    assert float(found["alignment"]) > 0
    expected = 0.7 * found["denoising"] + 3.0 * found["mean"] + 0.1 * found["scale"]
    expected = expected - 0.2 * 3.0 * found["contrast"] + 0.3 * found["alignment"]
    assert float(found["total"]) == pytest.approx(float(expected), rel=1e-5)
    aligned = alignment_loss(*network.aligned_tokens(told, observe(told)))
    assert float(found["alignment"]) == pytest.approx(float(aligned.loss), rel=1e-5)
    assert float(found["score"]) == pytest.approx(float(aligned.score), rel=1e-5)


def test_alignment_does_not_train_what_it_is_aligned_to(told, small_network):
    config = LossConfig(denoising=0.0, mean=0.0, scale=0.0, alignment=1.0)
    found = losses_and_gradients(small_network(context=True), "residual", told, config)
    moved = {name for name, value in found.items() if "." in name and value.any()}
    assert moved and all(name.startswith("context.") for name in moved)
    assert not any(name.startswith("context.head.") for name in moved)


def test_without_context_there_is_nothing_to_contrast_or_to_align(batch, told, small_network):
    config = LossConfig(contrast=0.5, alignment=0.5)
    for network, some in ((small_network(context=True), batch), (small_network(), told)):
        found = losses_and_gradients(network, "residual", some, config)
        assert float(found["contrast"]) == float(found["alignment"]) == float(found["score"]) == 0


@pytest.mark.parametrize("weight", [0.3, 5.0, 100.0])
def test_a_reward_for_errors_under_another_context_does_not_run_away(told, small_network, weight):
    """Bounded by the error under the right context alone, it did for weights above 1 / margin, with that very error."""
    config = LossConfig(denoising=0.0, scale=0.0, contrast=weight, margin=2.0, balance=0.0)
    network = small_network(context=True)
    observation = observe(told)
    level = (1 - told.share / observation.unit[:, None]).square() * told.hidden
    of = level_weight(told, observation, config.level_power)
    most = config.margin * float((level * of).sum() / of.sum())  # no network has a part in it
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    means = []
    for _ in range(150):
        found = losses_and_gradients(network, "residual", told, config)
        assert all(torch.isfinite(value).all() for value in found.values())
        assert 0 <= float(found["contrast"]) <= most * (1 + 1e-4)
        assert float(found["total"]) >= -config.mean * weight * most * (1 + 1e-4)
        means.append(float(found["mean"]))
        optimiser.step()
    assert max(means[-30:]) < 3 * most
