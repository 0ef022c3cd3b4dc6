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
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fomo.diffusion.process import PROCESSES, Process
from fomo.files import whole_file
from fomo.model.checkpoint import CheckpointError
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.processes import ProcessError
from fomo.seeds import derived_seed
from fomo.tokens.masks import draw_masks
from fomo.training.ahead import Ahead, workers_for
from fomo.training.finetune import begin_from, freeze
from fomo.training.losses import Losses, losses, windows_denoised
from fomo.training.pace import Pace, matrix_rate
from fomo.training.placed import Placed, Placing
from fomo.training.recipe import OptimiserConfig, Recipe, window_shape
from fomo.training.shards import Objective, copied, divided
from fomo.training.share import set_windows, share_dropout
from fomo.training.snapshot import Snapshot, own, whole
from fomo.training.together import Together
from fomo.training.told import Told
from fomo.windows.batch import Batch
from fomo.windows.context import Context, draw_context
from fomo.windows.records import each_tensor
from fomo.windows.sample import TrainingSet

Validate = Callable[[MaskedDiffusionTransformer], dict[str, float]]
Report = Callable[[int, dict[str, float]], None]


def learning_rate(config: OptimiserConfig, step: int) -> float:
    """Linear warm-up, over half of the steps at most, then a cosine down to `final_rate`."""
    warm_up = min(config.warm_up, config.steps // 2)
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    done = (step - warm_up) / max(1, config.steps - warm_up)
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
        workers: int | None = None,
    ) -> None:
        """A fresh run: weights from the recipe's seed, or those of `start` where the recipe fine-tunes.

        `workers`: processes that make the batches to come, by default some on CUDA (`ahead.py`).
        Raises `CheckpointError` where `start` does not fit the recipe, `ProcessError` where the processes `together`
        cannot share its batches evenly.
        """
        self.together = together or Together(device=device)
        self.share = self.together.share
        check_even(recipe, self.share.size)
        torch.manual_seed(recipe.seed)
        self.recipe, self.data, self.device = recipe, data, device
        self.half = device.startswith("cuda")  # the network computes in bfloat16; weights and losses stay as they are
        self.process: Process = PROCESSES[recipe.process]()
        self.network = MaskedDiffusionTransformer(recipe.model)
        if recipe.finetune is not None:
            if start is None:
                raise CheckpointError(f"fine-tuning needs the weights {recipe.finetune.start} to begin from")
            begin_from(self.network, start, recipe.finetune.start)
            freeze(self.network, recipe.finetune)
        self.network = self.network.to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.losses = losses
        if compile_network:
            self._compile()
        self.objective = self._in_processes()
        self.both = list(self.average.parameters()), list(self.network.parameters())  # after they were divided
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
        place = self.together.place
        workers = workers_for(device, place.local_size) if workers is None else workers
        # Of several processes each takes its own windows of a batch before they go anywhere.
        self.placing = Placing(device) if self.share.size == 1 else None
        self.ahead = Ahead(self._made, workers, None if self.placing is None else self.placing.move)
        self.unread = deque[Told]()
        self.reads_at_once = not device.startswith("cuda")  # nothing is gained by reading later
        self.step = 0
        self.compared_at: int | None = None  # the step at which all processes were seen to draw the same
        self.shapes = [window_shape(text) for text in recipe.windows]
        self.shape_frequency = np.array(list(recipe.windows.values())) / sum(recipe.windows.values())

    def _compile(self) -> None:
        """Compile the blocks, where the time goes, and the head: layers of one form share what is compiled once."""
        dynamic = True if len(self.recipe.windows) > 1 else None
        for part in (*self.network.encoder, *self.network.denoiser, self.network.head):
            part.compile(dynamic=dynamic)

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
        """One optimiser step; returns the numbers for the log.

        Raises `FloatingPointError` for a gradient that is not finite, `ProcessError` where a process that makes batches
        is gone.
        """
        self.launch()
        return self.read()[-1][1]

    def read(self, but: int = 0) -> list[tuple[int, dict[str, float]]]:
        """(step, numbers) of all steps that were launched and not read yet, `but` the last of them."""
        count = max(0, len(self.unread) - but)
        return [(told.step, told.numbers()) for told in (self.unread.popleft() for _ in range(count))]

    def launch(self) -> None:
        """One optimiser step, whose numbers `read` gives: a GPU is still at it while the next one is prepared.

        Raises as `advance` does; on a GPU `read` says later that a gradient is not finite.
        """
        config = self.recipe.optimiser
        taken = self.ahead.take(self.step)
        placed = Placed(taken) if self.placing is None else self.placing.observe(taken).here()
        torch.manual_seed(derived_seed(self.recipe.seed, self.step))  # of noise and dropout
        size, shape = len(placed.batch.share), tuple(placed.batch.share.shape[1:])
        batch, others = self._own(placed.batch)
        noise = self.share.take(torch.randn((size, *shape), device=self.device))
        uniform = self.share.take(torch.rand(size, device=self.device))
        sign = self.share.take(1.0 - 2.0 * torch.randint(2, (size,), device=self.device))

        rate = learning_rate(config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.half):
            given = (self.process, self.recipe.loss, batch, noise, uniform, sign, others, self.share)
            if self.objective is None:
                found = self.losses(self.network, *given, placed.observation)
            else:
                found = Losses(*self.objective(*given))
        self.optimiser.zero_grad(set_to_none=True)
        # Gradients are averaged over processes, and should be added.
        (found.total if self.share.size == 1 else found.total * self.share.size).backward()
        norm = whole(torch.nn.utils.clip_grad_norm_(self.both[1], config.clip))
        told = Told.of(self.step + 1, self._named(found, norm), {"rate": rate, "cells": float(size * math.prod(shape))})
        if self.reads_at_once:
            told.numbers()  # weights stay what they are where the gradient is not finite
        self.optimiser.step()
        self.step += 1
        keep = min(config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            averaged, now = ([own(part) for part in parts] for parts in self.both)
            torch._foreach_lerp_(averaged, now, 1 - keep)
        self.unread.append(told)

    def _named(self, found: Losses, norm: Tensor) -> dict[str, Tensor]:
        """What the log calls the numbers of a step."""
        found = self._of_all(found)
        named = {"loss": found.total, "denoising": found.denoising, "mean": found.mean, "scale": found.scale}
        if self.recipe.context is not None:
            named |= {"contrast": found.contrast, "alignment": found.alignment, "score": found.score}
        return named | {"gradient": norm}

    def _made(self, step: int) -> Batch:
        """The batch of a step, the same in all processes."""
        random = np.random.default_rng([self.recipe.seed, step])
        shape = self.shapes[random.choice(len(self.shapes), p=self.shape_frequency)]
        size = windows_of(self.recipe, shape)
        batch = self.data.draw(shape, size, random)
        batch = batch.hide(draw_masks(self.recipe.masks, size, *shape, self.recipe.model.token_shape, random))
        if batch.context is not None and self.recipe.context is not None:
            known = np.random.default_rng([self.recipe.seed, step, 1])
            batch = replace(batch, context=draw_context(batch.context, batch.hidden, self.recipe.context, known))
        return batch

    def operations(self) -> int | None:
        """Floating-point operations of the products of a step, forward and backward, of all processes together.

        Those of a copy on the batch to come: counting changes how products are done, so it stays outside the run. None
        where no process holds the whole network.
        """
        if self.together.shard:
            return None
        batch = self._made(self.step).to(self.device)
        network = MaskedDiffusionTransformer(self.recipe.model).to(self.device)
        if self.recipe.finetune is not None:
            freeze(network, self.recipe.finetune)
        noise = torch.zeros_like(batch.share)
        uniform = torch.full((len(noise),), 0.5, device=self.device)
        given = (self.process, self.recipe.loss, batch, noise, uniform, torch.ones_like(uniform))
        with FlopCounterMode(display=False) as counter:
            losses(network, *given).total.backward()
        return int(counter.get_total_flops())

    def _own(self, batch: Batch) -> tuple[Batch, Context | None]:
        """One's own windows of a batch, and the contexts of the windows before them where others have those."""
        if self.share.size == 1:
            return batch, None
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

    def snapshot(self) -> Snapshot:
        """Everything that changes. All processes call it, and that of the first one holds it.

        Raises `FloatingPointError` where a gradient was not finite.
        """
        for told in self.unread:
            told.numbers()
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
    pace = Pace(matrix_rate(training.device), training.operations(), training.share.size)
    token_cells = training.recipe.model.token_shape.cells
    began, began_step, began_work = time.monotonic(), training.step, time.process_time()
    log = _metrics(folder / "metrics.jsonl", training.step) if together.first else nullcontext(_ignore)
    with closing(training.ahead), log as write:
        while training.step < config.steps:
            training.launch()
            step, last = training.step, training.step == config.steps
            judge = validate if step % config.validate_every == 0 or last else None
            logged = step % config.log_every == 0 or last or judge is not None
            out_of_time = minutes is not None and together.any(time.monotonic() - began > minutes * 60)
            saved = step % config.checkpoint_every == 0 or last or out_of_time
            for earlier, numbers in training.read(1):
                if report is not None:
                    report(earlier, numbers)
            if not (logged or saved or training.reads_at_once):
                continue  # the device goes on with the next step while it is at this one
            ((_, numbers),) = training.read()
            if judge is not None:
                numbers |= together.from_first(partial(judge, training.whole_average()))
            if logged:
                elapsed = time.monotonic() - began
                numbers |= {"seconds": elapsed, "processor_seconds": time.process_time() - began_work}
                steps_per_second = (step - began_step) / elapsed
                numbers |= {
                    "steps_per_second": steps_per_second,
                    **pace.numbers(numbers["cells"] / token_cells, steps_per_second),
                }
                write({"step": step, **numbers})
            if report is not None:
                report(step, numbers)
            if saved:
                training.save(folder / "snapshot")
            if out_of_time:
                return last
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
        with whole_file(path) as fresh:
            fresh.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:

        def write(row: dict[str, Any]) -> None:
            file.write(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}) + "\n")
            file.flush()

        yield write
