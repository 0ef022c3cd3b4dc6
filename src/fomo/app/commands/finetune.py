"""`fomo finetune`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from fomo.app.commands.console import Steps, alive, working, wrote
from fomo.app.commands.options import CityName, DataFolder, Device, Seed, Weights
from fomo.app.commands.train import Train

#: Options that a recipe does not take.
OF_A_CITY = ("city", "weights", "share", "scheme", "steps", "seed")


@dataclass(frozen=True)
class Finetune:
    """Continue from trained weights: a recipe with [finetune], or a city of yours in minutes.

    A city: a small share of its cells is learned from, the last fifth of its time is held back, and the weights that
    forecast that part best are kept; those begun with, where none is better there by 1 %.
    """

    what: Annotated[Path, Positional, arg(metavar="RECIPE|CITY", help="A recipe (.toml), or a city of a file.")]
    out: Annotated[Path, arg(metavar="DIR", help="Run folder; in the end it holds 'weights'.")]
    city: CityName = None
    weights: Weights = "fomo-tiny"
    share: Annotated[float, arg(metavar="S", help="Share of the city's cells that is learned from.")] = 0.05
    scheme: Literal["partial", "output", "adapters", "full"] = "output"
    """What is trained: context, adaptive norms and decoder; the head too; low-rank changes beside them; everything."""
    steps: Annotated[int, arg(metavar="N", help="Steps of a city's run.")] = 120
    seed: Seed = 0
    data: DataFolder = None
    device: Device = "auto"
    threads: Annotated[int | None, arg(metavar="N", help="CPU threads.", help_behavior_hint="(default: PyTorch's)")] = (
        None
    )
    export_half: bool = False
    """Write the weights as float16: half the size."""

    def run(self) -> int:
        """Fine-tune; say what was trained and what came of it."""
        if self.what.suffix == ".toml":
            from fomo.app.errors import UsageError
            from fomo.training.recipe import load_recipe

            if load_recipe(self.what).finetune is None:
                raise UsageError(
                    f"{self.what} has no [finetune]: train it with 'fomo train', or say what it begins from"
                )
            given = [f"--{f.name}" for f in fields(self) if f.name in OF_A_CITY and getattr(self, f.name) != f.default]
            if given:
                raise UsageError(f"{', '.join(given)}: for a city; a recipe says its own, so write it there")
            return Train(self.what, self.out, self.data, self.device, self.threads, export_half=self.export_half).run()
        return self._city()

    def _city(self) -> int:
        """A few steps on some cells of a city; what cannot work is refused before anything is read."""
        from fomo.app.errors import UsageError

        if self.threads is not None and self.threads < 1:
            raise UsageError(f"--threads {self.threads}: one thread at least")
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}: 0 or more")
        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"--out {self.out} is a file: name a folder")
        with working("reading"):
            import torch

            from fomo.app.service.adaptation import LEAST_GAIN, adapt
            from fomo.app.service.cities import choose_city

            if self.threads is not None:
                torch.set_num_threads(self.threads)
            city = choose_city(self.what, self.city)

        steps = Steps(self.steps)
        with alive("fine-tuning") as heard:

            def report(step: int, numbers: dict[str, float]) -> None:
                scored = "validation" in numbers
                said = f"held-back RMSE {numbers['validation']:.4f}" if scored else f"loss {numbers['loss']:.4f}"
                if steps(step, said, always=scored):
                    heard()

            found = adapt(
                city,
                self.out,
                weights=self.weights,
                share=self.share,
                scheme=self.scheme,
                steps=self.steps,
                seed=self.seed,
                device=self.device,
                half=self.export_half,
                report=report,
            )
        kept = f"step {found.step}" if found.step else f"no step was better by {LEAST_GAIN:.0%}: no weight was changed"
        print(
            f"{found.trained:,} of {found.parameters:,} parameters trained ({found.trained / found.parameters:.0%}) on "
            f"{found.cells} cells; RMSE on the held-back fifth {found.before:.4f} before, {found.after:.4f} after "
            f"({kept})"
        )
        wrote([found.weights])
        return 0
