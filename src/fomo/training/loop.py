"""One loop for pre-training and fine-tuning.

Every step draws its data, masks, noise and dropout from generators seeded by (seed, step), and everything that
changes is in the snapshot; so a run that is killed and resumed ends in the same weights as one that was not.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fomo.diffusion.contrast import alignment_loss
from fomo.diffusion.loss import HeadLosses, denoising_loss, head_losses, masked_mean, standardised
from fomo.diffusion.process import PROCESSES, Process
from fomo.model.checkpoint import CheckpointError
from fomo.model.transformer import Condition, MaskedDiffusionTransformer
from fomo.seeds import derived_seed
from fomo.tokens.masks import draw_masks
from fomo.training.finetune import begin_from, freeze
from fomo.training.recipe import LossConfig, OptimiserConfig, Recipe, window_shape
from fomo.training.snapshot import Snapshot
from fomo.windows.batch import Batch
from fomo.windows.context import draw_context
from fomo.windows.observation import Observation, observe
from fomo.windows.sample import TrainingSet

Validate = Callable[[MaskedDiffusionTransformer], dict[str, float]]
Report = Callable[[int, dict[str, float]], None]


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
) -> Losses:
    """All losses on the HIDDEN cells of a batch that still holds their values. Noise and signs are injected.

    The denoiser learns residuals of either sign (`sign`, 1 or -1): their mean is the encoder's matter, and what a
    denoiser learned of it by heart would move the members away from it.
    """
    observation = observe(batch)
    zero = torch.zeros((), device=batch.share.device)
    share = config.denoised_share if process.standardise else 1.0  # the paper's process has no other loss
    denoised = slice(0, math.ceil(share * len(batch.share)))
    condition = network.encode(batch, observation, denoised)
    weight = level_weight(batch, observation, config.level_power)
    truth = (batch.share / observation.unit[:, None] - 1) * batch.hidden
    contrast = alignment = score = zero
    if process.standardise:
        clean = standardised(truth, condition.mean, condition.log_scale) * batch.hidden
        clean = clean * sign[:, None, None, None]
        balanced = weight * window_balance(condition.log_scale, weight, config.balance)
        heads = head_losses(truth, condition.mean, condition.log_scale, balanced)
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
        )
    total = config.denoising * denoising + config.mean * heads.mean + config.scale * heads.scale
    if network.context is not None and batch.context is not None:
        if config.contrast > 0:
            contrast = wrong_context_error(network, config, batch, observation, condition, weight)
            total = total - config.contrast * config.mean * contrast
        with torch.set_grad_enabled(torch.is_grad_enabled() and config.alignment > 0):  # else for the log alone
            traffic, context = network.aligned_tokens(batch, observation)
            if len(traffic) > 1:
                aligned = alignment_loss(traffic, context)
                alignment, score = aligned.loss, aligned.score
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


def wrong_context_error(
    network: MaskedDiffusionTransformer,
    config: LossConfig,
    batch: Batch,
    observation: Observation,
    right: Condition,
    weight: Float[Tensor, "batch time y x"],
) -> Float[Tensor, ""]:
    """The negatives of (16): the error of the mean when every window has the context of another one.

    Only windows of which both contexts say something count. An error counts up to `margin` times that under the right
    context, so what is taken off the loss is bounded and cannot run away.
    """
    assert batch.context is not None
    order = torch.arange(len(batch.share), device=batch.share.device).roll(1)
    swapped = replace(batch, context=batch.context.rows(order))
    seen = observe(swapped)
    wrong = network.encode(swapped, seen, slice(0, 1))
    balanced = weight * window_balance(right.log_scale, weight, config.balance)
    both = (batch.context.anything & batch.context.anything[order]).to(weight.dtype)[:, None, None, None]
    unit = observation.unit[:, None]
    # The wrong context gives cells without history another unit, so both errors are shares over the right one's.
    errors = [
        ((mean + 1) * of[:, None] - batch.share) * batch.hidden / unit
        for mean, of in ((wrong.mean, seen.unit), (right.mean, observation.unit))
    ]
    return masked_mean(bounded_error(errors[0].square(), errors[1].square(), config.margin), balanced * both)


def bounded_error(
    wrong: Float[Tensor, "*axes"], right: Float[Tensor, "*axes"], margin: float
) -> Float[Tensor, "*axes"]:
    """`wrong` where it is below `margin` times `right`, which is held fixed; that bound elsewhere."""
    return torch.minimum(wrong, margin * right.detach())


def level_weight(batch: Batch, observation: Observation, power: float) -> Float[Tensor, "batch time y x"]:
    """Weight of every relative squared error: 0 unless HIDDEN; unit^(2 power), mean about 1.

    With `power` 1, errors weigh as in linear traffic, where few busy cells rule; with 0 all cells weigh alike.
    """
    hidden = batch.hidden.to(batch.share.dtype)
    weight = observation.unit.pow(2 * power)[:, None] * hidden
    return weight / (weight.sum() / hidden.sum().clamp(min=1)).clamp(min=1e-12)


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


def learning_rate(config: OptimiserConfig, step: int) -> float:
    """Linear warm-up, then a cosine down to `final_rate`."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    done = (step - config.warm_up) / max(1, config.steps - config.warm_up)
    low = config.final_rate
    return config.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done)))


class Training:
    """A run that can be stepped, saved and resumed."""

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingSet,
        device: str = "cpu",
        compile_network: bool = False,
        start: MaskedDiffusionTransformer | None = None,
    ) -> None:
        """A fresh run: weights from the recipe's seed, or those of `start` where the recipe fine-tunes.

        Raises `CheckpointError` where `start` does not fit the recipe.
        """
        torch.manual_seed(recipe.seed)
        self.recipe, self.data, self.device = recipe, data, device
        self.process: Process = PROCESSES[recipe.process]()
        self.network = MaskedDiffusionTransformer(recipe.model)
        if recipe.finetune is not None:
            if start is None:
                raise CheckpointError(f"fine-tuning needs the weights {recipe.finetune.start} to begin from")
            begin_from(self.network, start, recipe.finetune.start)
            freeze(self.network, recipe.finetune)
        self.network = self.network.to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        trained = [p for p in self.network.parameters() if p.requires_grad]
        decayed, others = [p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim < 2]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": recipe.optimiser.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=recipe.optimiser.learning_rate,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.step = 0
        self.shapes = [window_shape(text) for text in recipe.windows]
        self.shape_frequency = np.array(list(recipe.windows.values())) / sum(recipe.windows.values())
        self.losses = torch.compile(losses) if compile_network else losses

    def advance(self) -> dict[str, float]:
        """One optimiser step; returns the numbers for the log."""
        config = self.recipe.optimiser
        random = np.random.default_rng([self.recipe.seed, self.step])
        torch.manual_seed(derived_seed(self.recipe.seed, self.step))
        shape = self.shapes[random.choice(len(self.shapes), p=self.shape_frequency)]
        size = max(1, round(config.batch * math.prod(self.shapes[0]) / math.prod(shape)))
        batch = self.data.draw(shape, size, random)
        masks = draw_masks(self.recipe.masks, size, *shape, self.recipe.model.token_shape, random)
        batch = batch.hide(masks)
        if batch.context is not None and self.recipe.context is not None:
            known = np.random.default_rng([self.recipe.seed, self.step, 1])
            batch = replace(batch, context=draw_context(batch.context, batch.hidden, self.recipe.context, known))
        batch = batch.to(self.device)
        noise = torch.randn(batch.share.shape, device=self.device)
        uniform = torch.rand(size, device=self.device)
        sign = 1.0 - 2.0 * torch.randint(2, (size,), device=self.device)

        rate = learning_rate(config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda")):
            found = self.losses(self.network, self.process, self.recipe.loss, batch, noise, uniform, sign)
        self.optimiser.zero_grad(set_to_none=True)
        found.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"the gradient is not finite at step {self.step}: lower the learning rate; the last checkpoint is good"
            )
        self.optimiser.step()
        self.step += 1
        keep = min(config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        return {
            "loss": found.total.item(),
            "denoising": found.denoising.item(),
            "mean": found.mean.item(),
            "scale": found.scale.item(),
            "gradient": norm.item(),
            **self._context_numbers(found),
            "rate": rate,
            "cells": float(batch.share.numel()),
        }

    def _context_numbers(self, found: Losses) -> dict[str, float]:
        if self.recipe.context is None:
            return {}
        return {name: getattr(found, name).item() for name in ("contrast", "alignment", "score")}

    def snapshot(self) -> Snapshot:
        """Everything that changes."""
        return Snapshot.take(self.step, self.network, self.average, self.optimiser)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot."""
        snapshot.put(self.network, self.average, self.optimiser)
        self.step = snapshot.step


def run(
    training: Training,
    folder: Path,
    *,
    minutes: float | None = None,
    validate: Validate | None = None,
    report: Report | None = None,
) -> bool:
    """Train to the recipe's last step, or until `minutes` are over; returns whether the end was reached.

    Writes `metrics.jsonl` and snapshots into `folder`; an existing snapshot is continued.
    """
    config = training.recipe.optimiser
    folder.mkdir(parents=True, exist_ok=True)
    found = Snapshot.load(folder / "snapshot")
    if found is not None:
        training.restore(found)
    began, began_step, began_work = time.monotonic(), training.step, time.process_time()
    with _metrics(folder / "metrics.jsonl", training.step) as write:
        while training.step < config.steps:
            numbers = training.advance()
            step = training.step
            if validate is not None and (step % config.validate_every == 0 or step == config.steps):
                numbers |= validate(training.average)
            if step % config.log_every == 0 or step == config.steps or "validation" in numbers:
                elapsed = time.monotonic() - began
                numbers |= {"seconds": elapsed, "processor_seconds": time.process_time() - began_work}
                numbers |= {"steps_per_second": (step - began_step) / elapsed}
                write({"step": step, **numbers})
            if report is not None:
                report(step, numbers)
            out_of_time = minutes is not None and time.monotonic() - began > minutes * 60
            if step % config.checkpoint_every == 0 or step == config.steps or out_of_time:
                training.snapshot().save(folder / "snapshot")
            if out_of_time:
                return step == config.steps
    return True


@contextmanager
def _metrics(path: Path, step: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Append to the log; lines after the step that is resumed from are dropped, so no step stands twice."""
    if path.exists():
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (json.JSONDecodeError, KeyError):
                continue  # the line that was being written when the process died
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:

        def write(row: dict[str, Any]) -> None:
            file.write(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}) + "\n")
            file.flush()

        yield write
