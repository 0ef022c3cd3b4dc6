"""`fomo verify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from fomo.app.commands.console import plain_table, show, working, wrote
from fomo.app.commands.options import CityFile, CityName, Figure

if TYPE_CHECKING:
    from fomo.app.service.verification import Mark

HEADINGS = ("forecaster", "values", "RMSE", "MAE", "bias", "CRPS", "within 50 %", "within 90 %")


@dataclass(frozen=True)
class Verify:
    """Whether forecasts held: beside what the city has recorded since, and beside simple rules.

    Errors are in the city's unit. Cells whose total lies outside all members are named: look at them first.
    """

    file: CityFile
    forecast: Annotated[
        tuple[Path, ...],
        arg(metavar="DIR", help="Forecasts of it that were saved, *.zarr; of several, all count alike."),
    ]
    city: CityName = None
    csv: Annotated[
        Path | None,
        arg(
            metavar="FILE",
            help="Also write a row per cell: what came, what was expected, how far off it is (.csv or .parquet).",
            help_behavior_hint="(default: none)",
        ),
    ] = None
    json: Annotated[
        Path | None,
        arg(
            metavar="FILE",
            help="Also write a row per forecaster (.json, .csv or .parquet).",
            help_behavior_hint="(default: none)",
        ),
    ] = None
    figure: Figure = None

    def run(self) -> int:
        """Compare, print, write."""
        with working("comparing"):
            from fomo.app.service.cities import choose_city
            from fomo.app.service.verification import VerifyOutputs, verify_forecasts

            outputs = VerifyOutputs(self.csv, self.json, self.figure).check()
            found = verify_forecasts(choose_city(self.file, self.city), self.forecast, outputs)
        unit = found.marks[0].unit or "unit not stated"
        print(f"errors in {unit}; bias: how much more was forecast than came")
        show(plain_table(HEADINGS, [_line(mark) for mark in found.marks], right=HEADINGS[1:]))
        ours = found.marks[0]
        print(f"sums of all cells, step by step: {_share(ours.sums50)} within 50 %, {_share(ours.sums90)} within 90 %")
        for line in (*found.cells, *found.remarks):
            print(line)
        wrote(found.written)
        return 0


def _line(mark: Mark) -> tuple[str, ...]:
    bias = "–" if mark.bias is None else f"{mark.bias:+.1%}"
    errors = (f"{mark.rmse:.4g}", f"{mark.mae:.4g}", bias, f"{mark.crps:.4g}")
    return mark.forecaster, f"{mark.values:,}", *errors, _share(mark.within50), _share(mark.within90)


def _share(value: float | None) -> str:
    """A share in percent; a dash where members are too few for the interval."""
    return "–" if value is None else f"{value:.0%}"
