"""`fomo demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated

from tyro.conf import arg

from fomo.app.commands.console import show, working
from fomo.app.commands.options import DataFolder, Samples, Seed, Weights


@dataclass(frozen=True)
class Demo:
    """Forecast a city and draw it; needs no data.

    A made-up city of 8 x 8 cells is forecast 16 and 48 hours ahead with the shipped weights and by the simple rules.
    It is one window of one city: an illustration, no evaluation.
    """

    out: Annotated[Path, arg(metavar="DIR", help="Folder for figures, scores and forecasts.")] = Path("output/demo")
    data: DataFolder = None
    city: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="A real city in its place: a family of the data folder, or family/region.",
            help_behavior_hint="(default: made up)",
        ),
    ] = None
    weights: Weights = "fomo-tiny"
    samples: Samples = 20
    seed: Seed = 0

    def run(self) -> int:
        """Forecast, draw, print the table and where everything lies."""
        began = perf_counter()
        with working("reading weights and libraries"):
            from fomo.app.errors import UsageError
            from fomo.app.service.demo import demo, family_city
            from fomo.evaluation.tables import terminal_table

        if self.samples < 1:
            raise UsageError(f"--samples {self.samples}: one member at least")
        if self.data is not None and self.city is None:
            raise UsageError("--data DIR needs --city NAME: 'fomo data list --data DIR' shows what there is")
        with working("forecasting"):
            city = family_city(self.data, self.city) if self.city is not None else None
            found = demo(self.out, city, weights=self.weights, samples=self.samples, seed=self.seed)
        show(terminal_table(found.rows, f"the last window of {found.city.attrs['name']}"))
        print("RMSE, MAE and CRPS are scaled to [0, 1]; 50 % and 90 %: how often the truth lay in that interval.\n")
        for what, path in found.files.items():
            print(f"{what:24} {path}")
        print(f"\n{perf_counter() - began:.1f} seconds in all. Look at {found.files['short forecast, figure']}")
        return 0
