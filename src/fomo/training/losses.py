"""The losses of a batch that still holds the values it hides: of the denoiser, the mean, the scale and the context."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from fomo.diffusion.contrast import alignment_loss
from fomo.diffusion.loss import (
    HeadLosses,
    Total,
    all_there_is,
    denoising_loss,
    head_losses,
    masked_mean,
    standardised,
)
from fomo.diffusion.process import Process
from fomo.model.transformer import MOST_BLOCKS, Condition, MaskedDiffusionTransformer
from fomo.training.recipe import LossConfig
from fomo.training.share import ALONE, Share
from fomo.windows.batch import Batch
from fomo.windows.context import Context
from fomo.windows.observation import Observation, observe


@dataclass(frozen=True)
class Losses:
    """Losses of one batch; `total` is what is minimised."""

    total: Float[Tensor, ""]
    denoising: Float[Tensor, ""]
    mean: Float[Tensor, ""]
    scale: Float[Tensor, ""]
    contrast: Float[Tensor, ""]  # what (16) takes off: bounded error under the context of other windows
    alignment: Float[Tensor, ""]  # (14) between traffic and context tokens
    score: Float[Tensor, ""]  # how much closer tokens of one block are than those of two


def losses(
    network: MaskedDiffusionTransformer,
    process: Process,
    config: LossConfig,
    batch: Batch,
    noise: Float[Tensor, "batch time y x"],
    uniform: Float[Tensor, " batch"],
    sign: Float[Tensor, " batch"],
    others: Context | None = None,
    share: Share = ALONE,
    observation: Observation | None = None,
) -> Losses:
    """All losses on the HIDDEN cells of a batch that still holds their values. Noise and signs are injected.

    With a `share` of a batch these are parts, and those of all processes add up to the losses of the batch; `others`
    are then the contexts of the windows before one's own, for (16). `observation`: what is observed of the batch, where
    it was found before.

    The denoiser learns residuals of either sign (`sign`, 1 or -1): their mean is the encoder's matter, and what a
    denoiser learned of it by heart would move the members away from it.
    """
    observation = observed(batch) if observation is None else observation
    zero = torch.zeros((), device=batch.share.device)
    denoised = slice(0, share.own(windows_denoised(process, config, share.size * len(batch.share))))
    condition = network.encode(batch, observation, denoised)
    weight = level_weight(batch, observation, config.level_power, share.add)
    truth = (batch.share / observation.unit[:, None] - 1) * batch.hidden
    contrast = alignment = score = zero
    if process.standardise:
        clean = standardised(truth, condition.mean, condition.log_scale) * batch.hidden
        clean = clean * sign[:, None, None, None]
        balanced = weight * window_balance(condition.log_scale, weight, config.balance)
        heads = head_losses(truth, condition.mean, condition.log_scale, balanced, share.add)
    else:
        clean = (2 * batch.share - 1) * batch.hidden
        heads = HeadLosses(zero, zero)
        weight = batch.hidden.to(weight.dtype)
    denoising = zero
    if config.denoising > 0:
        denoising = denoising_loss(
            lambda noised, label: network.denoise(noised[:, None], label, condition)[:, 0],
            process,
            clean[denoised],
            weight[denoised],
            noise[denoised],
            uniform[denoised],
            share.add,
        )
    total = config.denoising * denoising + config.mean * heads.mean + config.scale * heads.scale
    if network.context is not None and batch.context is not None:
        if config.contrast > 0:
            contrast = wrong_context_error(network, config, batch, observation, condition, weight, others, share.add)
            total = total - config.contrast * config.mean * contrast
        with torch.set_grad_enabled(torch.is_grad_enabled() and config.alignment > 0):  # else for the log alone
            blocks = share.blocks(network.alignable(batch), MOST_BLOCKS)
            traffic, context = map(blocks.everyones, network.aligned_tokens(batch, observation, blocks=blocks.here))
            if len(traffic) > 1:
                aligned = alignment_loss(traffic, context)
                alignment, score = share.of_all(aligned.loss), share.of_all(aligned.score)
        total = total + config.alignment * alignment
    return Losses(
        total,
        denoising.detach(),
        heads.mean.detach(),
        heads.scale.detach(),
        contrast.detach(),
        alignment.detach(),
        score.detach(),
    )


def observed(batch: Batch) -> Observation:
    """The observation in full precision, whatever the network computes in: its regressions solve normal equations."""
    with torch.autocast(batch.share.device.type, enabled=False):
        return observe(batch)


def windows_denoised(process: Process, config: LossConfig, windows: int) -> int:
    """How many windows of a batch the denoiser sees, its first ones."""
    share = config.denoised_share if process.standardise else 1.0  # the paper's process has no other loss
    return math.ceil(share * windows)


def wrong_context_error(
    network: MaskedDiffusionTransformer,
    config: LossConfig,
    batch: Batch,
    observation: Observation,
    right: Condition,
    weight: Float[Tensor, "batch time y x"],
    others: Context | None = None,
    total: Total = all_there_is,
) -> Float[Tensor, ""]:
    """The negatives of (16): the error of the mean when every window has the context of another one.

    Only windows of which both contexts say something count. An error counts up to `margin` times that under the right
    context, and that of the cell's level if it is smaller. The latter is not the network's, so what is taken off the
    loss is bounded whatever its weight: bounded by the network's own error alone, a loss runs away where the weight is
    above 1 / `margin`, as the network pays for what it takes off by errors that raise the bound. `others`: the wrong
    contexts, else each window has that of the one before.
    """
    assert batch.context is not None
    if others is None:
        others = batch.context.rows(torch.arange(len(batch.share), device=batch.share.device).roll(1))
    swapped = replace(batch, context=others)
    seen = observed(swapped)
    wrong = network.encode(swapped, seen, slice(0, 1))
    balanced = weight * window_balance(right.log_scale, weight, config.balance)
    both = (batch.context.anything & others.anything).to(weight.dtype)[:, None, None, None]
    unit = observation.unit[:, None]
    # The wrong context gives cells without history another unit, so both errors are shares over the right one's.
    errors = [
        ((mean + 1) * of[:, None] - batch.share) * batch.hidden / unit
        for mean, of in ((wrong.mean, seen.unit), (right.mean, observation.unit))
    ]
    level = (unit - batch.share) * batch.hidden / unit
    bound = torch.minimum(errors[1].square(), level.square())
    return masked_mean(bounded_error(errors[0].square(), bound, config.margin), balanced * both, total)


def bounded_error(
    wrong: Float[Tensor, "*axes"], right: Float[Tensor, "*axes"], margin: float
) -> Float[Tensor, "*axes"]:
    """`wrong` where it is below `margin` times `right`, which is held fixed; that bound elsewhere."""
    return torch.minimum(wrong, margin * right.detach())


def level_weight(
    batch: Batch, observation: Observation, power: float, total: Total = all_there_is
) -> Float[Tensor, "batch time y x"]:
    """Weight of every relative squared error: 0 unless HIDDEN; unit^(2 power), mean about 1.

    With `power` 1, errors weigh as in linear traffic, where few busy cells rule; with 0 all cells weigh alike.
    """
    hidden = batch.hidden.to(batch.share.dtype)
    weight = observation.unit.pow(2 * power)[:, None] * hidden
    return weight / (total(weight.sum()) / total(hidden.sum()).clamp(min=1)).clamp(min=1e-12)


def window_balance(
    log_scale: Float[Tensor, "batch time y x"], weight: Float[Tensor, "batch time y x"], power: float
) -> Float[Tensor, "batch 1 1 1"]:
    """What the errors of a window's mean are multiplied by: its expected squared error to the power -`power`.

    A cell without history has a hundred times the squared error of one with two days of it; unbalanced, such windows
    own the gradient. The expectation is the encoder's own scale, held fixed.
    """
    total = weight.sum((1, 2, 3), keepdim=True).clamp(min=1e-12)
    expected = (torch.exp(2 * log_scale.detach()) * weight).sum((1, 2, 3), keepdim=True) / total
    return expected.clamp(min=1e-4).pow(-power)
