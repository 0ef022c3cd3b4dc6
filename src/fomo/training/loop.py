"""One loop for pre-training and fine-tuning.

Every step draws its data, masks, noise and dropout from generators seeded by (seed, step), and everything that
changes is in the snapshot; so a run that is killed and resumed ends in the same weights as one that was not. Several
processes share one batch (`share.py`, `together.py`) and give the numbers of one, but for rounding.
"""

from __future__ import annotations

import copy
import json
import math
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

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
from fomo.diffusion.process import PROCESSES, Process
from fomo.model.checkpoint import CheckpointError
from fomo.model.transformer import MOST_BLOCKS, Condition, MaskedDiffusionTransformer
from fomo.processes import ProcessError
from fomo.seeds import derived_seed
from fomo.tokens.masks import draw_masks
from fomo.training.finetune import begin_from, freeze
from fomo.training.recipe import LossConfig, OptimiserConfig, Recipe, window_shape
from fomo.training.shards import Objective, copied, divided
from fomo.training.share import ALONE, Share, set_windows, share_dropout
from fomo.training.snapshot import Snapshot, own, whole
from fomo.training.together import Together
from fomo.windows.batch import Batch
from fomo.windows.context import Context, draw_context
from fomo.windows.observation import Observation, observe
from fomo.windows.records import each_tensor
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
    others: Context | None = None,
    share: Share = ALONE,
) -> Losses:
    """All losses on the HIDDEN cells of a batch that still holds their values. Noise and signs are injected.

    With a `share` of a batch these are parts, and those of all processes add up to the losses of the batch; `others`
    are then the contexts of the windows before one's own, for (16).

    The denoiser learns residuals of either sign (`sign`, 1 or -1): their mean is the encoder's matter, and what a
    denoiser learned of it by heart would move the members away from it.
    """
    observation = observe(batch)
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
    context, so what is taken off the loss is bounded and cannot run away. `others`: the wrong contexts, else each
    window has that of the one before.
    """
    assert batch.context is not None
    if others is None:
        others = batch.context.rows(torch.arange(len(batch.share), device=batch.share.device).roll(1))
    swapped = replace(batch, context=others)
    seen = observe(swapped)
    wrong = network.encode(swapped, seen, slice(0, 1))
    balanced = weight * window_balance(right.log_scale, weight, config.balance)
    both = (batch.context.anything & others.anything).to(weight.dtype)[:, None, None, None]
    unit = observation.unit[:, None]
    # The wrong context gives cells without history another unit, so both errors are shares over the right one's.
    errors = [
        ((mean + 1) * of[:, None] - batch.share) * batch.hidden / unit
        for mean, of in ((wrong.mean, seen.unit), (right.mean, observation.unit))
    ]
    return masked_mean(bounded_error(errors[0].square(), errors[1].square(), config.margin), balanced * both, total)


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


def learning_rate(config: OptimiserConfig, step: int) -> float:
    """Linear warm-up, then a cosine down to `final_rate`."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    done = (step - config.warm_up) / max(1, config.steps - config.warm_up)
    low = config.final_rate
    return config.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done)))


def windows_of(recipe: Recipe, shape: tuple[int, int, int]) -> int:
    """Windows in a batch: `batch` of the recipe's first shape, and as many values of any other."""
    first = window_shape(next(iter(recipe.windows)))
    return max(1, round(recipe.optimiser.batch * math.prod(first) / math.prod(shape)))


def check_even(recipe: Recipe, processes: int) -> None:
    """Raise `ProcessError` where so many processes cannot share the recipe's batches evenly."""
    counts = {text: windows_of(recipe, window_shape(text)) for text in recipe.windows}
    uneven = [f"{count} windows {text}" for text, count in counts.items() if count % processes]
    if uneven:
        common = math.gcd(*counts.values())
        good = [str(number) for number in range(1, common + 1) if common % number == 0]
        raise ProcessError(
            f"{processes} processes cannot share batches of {' and '.join(uneven)} evenly: start "
            f"{', '.join(good[:-1])}{' or ' if len(good) > 1 else ''}{good[-1]}, or change optimiser.batch"
        )


class Training:
    """A run that can be stepped, saved and resumed."""

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingSet,
        device: str = "cpu",
        compile_network: bool = False,
        start: MaskedDiffusionTransformer | None = None,
        together: Together | None = None,
    ) -> None:
        """A fresh run: weights from the recipe's seed, or those of `start` where the recipe fine-tunes.

        Raises `CheckpointError` where `start` does not fit the recipe, `ProcessError` where the processes `together`
        cannot share its batches evenly.
        """
        self.together = together or Together(device=device)
        self.share = self.together.share
        check_even(recipe, self.share.size)
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
        self.losses = torch.compile(losses) if compile_network else losses
        self.objective = self._in_processes()
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
        self.compared_at: int | None = None  # the step at which all processes were seen to draw the same
        self.shapes = [window_shape(text) for text in recipe.windows]
        self.shape_frequency = np.array(list(recipe.windows.values())) / sum(recipe.windows.values())

    def _in_processes(self) -> nn.Module | None:
        """The losses in DDP or FSDP2; None where this process is alone."""
        if self.share.size == 1:
            return None
        share_dropout(self.network, self.share)
        objective = Objective(self.network, self.losses)
        if self.together.shard:
            divided(self.average, self.average, self.together)
            return divided(self.network, objective, self.together)
        loss, some_without = self.recipe.loss, self.recipe.context is not None or not self.process.standardise
        return copied(objective, self.together, unused=some_without or loss.denoising == 0)

    def advance(self) -> dict[str, float]:
        """One optimiser step; returns the numbers for the log."""
        config = self.recipe.optimiser
        random = np.random.default_rng([self.recipe.seed, self.step])
        torch.manual_seed(derived_seed(self.recipe.seed, self.step))
        shape = self.shapes[random.choice(len(self.shapes), p=self.shape_frequency)]
        size = windows_of(self.recipe, shape)
        batch = self.data.draw(shape, size, random)
        masks = draw_masks(self.recipe.masks, size, *shape, self.recipe.model.token_shape, random)
        batch = batch.hide(masks)
        if batch.context is not None and self.recipe.context is not None:
            known = np.random.default_rng([self.recipe.seed, self.step, 1])
            batch = replace(batch, context=draw_context(batch.context, batch.hidden, self.recipe.context, known))
        batch, others = self._own(batch)
        noise = self.share.take(torch.randn((size, *shape), device=self.device))
        uniform = self.share.take(torch.rand(size, device=self.device))
        sign = self.share.take(1.0 - 2.0 * torch.randint(2, (size,), device=self.device))

        rate = learning_rate(config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda")):
            given = (self.process, self.recipe.loss, batch, noise, uniform, sign, others, self.share)
            found = self.losses(self.network, *given) if self.objective is None else Losses(*self.objective(*given))
        self.optimiser.zero_grad(set_to_none=True)
        # Gradients are averaged over processes, and should be added.
        (found.total if self.share.size == 1 else found.total * self.share.size).backward()
        norm = whole(torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip))
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"the gradient is not finite at step {self.step}: lower the learning rate; the last checkpoint is good"
            )
        self.optimiser.step()
        self.step += 1
        keep = min(config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            averaged, now = ([own(part) for part in each.parameters()] for each in (self.average, self.network))
            torch._foreach_lerp_(averaged, now, 1 - keep)
        found = self._of_all(found)
        return {
            "loss": found.total.item(),
            "denoising": found.denoising.item(),
            "mean": found.mean.item(),
            "scale": found.scale.item(),
            "gradient": norm.item(),
            **self._context_numbers(found),
            "rate": rate,
            "cells": float(size * math.prod(shape)),
        }

    def _own(self, batch: Batch) -> tuple[Batch, Context | None]:
        """One's own windows of a batch, and the contexts of the windows before them where others have those."""
        if self.share.size == 1:
            return batch.to(self.device), None
        windows = len(batch.share)
        if self.compared_at is None:
            self.compared_at = self.step
            self.together.same("the windows drawn", zlib.crc32(batch.state.numpy().tobytes()))
        seen = windows_denoised(self.process, self.recipe.loss, windows)
        set_windows(self.network, windows, seen)
        rows = self.share.rows(windows)
        others = None
        if batch.context is not None:
            others = each_tensor(batch.context.rows((rows - 1) % windows), lambda _, part: part.to(self.device))
        return batch.rows(rows).to(self.device), others

    def _of_all(self, found: Losses) -> Losses:
        """The losses of the whole batch from the parts of all processes."""
        if self.share.size == 1:
            return found
        parts = [getattr(found, field.name).detach().float() for field in fields(found)]
        return Losses(*self.share.add(torch.stack(parts)))

    def _context_numbers(self, found: Losses) -> dict[str, float]:
        if self.recipe.context is None:
            return {}
        return {name: getattr(found, name).item() for name in ("contrast", "alignment", "score")}

    def snapshot(self) -> Snapshot:
        """Everything that changes. All processes call it, and that of the first one holds it."""
        return Snapshot.take(self.step, self.network, self.average, self.optimiser, keep=self.together.first)

    def save(self, folder: Path) -> None:
        """Write a snapshot, once for all processes."""
        snapshot = self.snapshot()
        self.together.from_first(lambda: snapshot.save(folder))

    def whole_average(self) -> MaskedDiffusionTransformer:
        """The averaged network for use outside the run; all processes call it, and that of the first one is whole."""
        if not self.together.shard:
            return self.average
        weights = {key: whole(value) for key, value in self.average.state_dict().items()}
        network = MaskedDiffusionTransformer(self.recipe.model)
        if self.recipe.finetune is not None:
            freeze(network, self.recipe.finetune)
        network.load_state_dict(weights)
        return network.to(self.device).requires_grad_(False).eval()

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

    Writes `metrics.jsonl` and snapshots into `folder`; an existing snapshot is continued. Of several processes the
    first one does.
    """
    config, together = training.recipe.optimiser, training.together
    together.from_first(lambda: folder.mkdir(parents=True, exist_ok=True))
    found = together.snapshot(lambda: Snapshot.load(folder / "snapshot"))
    if found is not None:
        training.restore(found)
    began, began_step, began_work = time.monotonic(), training.step, time.process_time()
    with _metrics(folder / "metrics.jsonl", training.step) if together.first else nullcontext(_ignore) as write:
        while training.step < config.steps:
            numbers = training.advance()
            step = training.step
            if validate is not None and (step % config.validate_every == 0 or step == config.steps):
                numbers |= together.from_first(partial(validate, training.whole_average()))
            if step % config.log_every == 0 or step == config.steps or "validation" in numbers:
                elapsed = time.monotonic() - began
                numbers |= {"seconds": elapsed, "processor_seconds": time.process_time() - began_work}
                numbers |= {"steps_per_second": (step - began_step) / elapsed}
                write({"step": step, **numbers})
            if report is not None:
                report(step, numbers)
            out_of_time = minutes is not None and together.any(time.monotonic() - began > minutes * 60)
            if step % config.checkpoint_every == 0 or step == config.steps or out_of_time:
                training.save(folder / "snapshot")
            if out_of_time:
                return step == config.steps
    return True


def _ignore(row: dict[str, Any]) -> None:
    """What the other processes do with a line of the log."""


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
