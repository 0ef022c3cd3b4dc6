"""Options that several verbs share, each described once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

DataFolder = Annotated[
    Path | None,
    arg(metavar="DIR", help="Folder with data files.", help_behavior_hint="(default: the variable FOMO_DATA)"),
]
CityFile = Annotated[
    Path, Positional, arg(metavar="CITY", help="A *.zarr folder that FoMo wrote, or any file of a known form.")
]
CityName = Annotated[
    str | None,
    arg(metavar="NAME", help="Which city, where the file holds several.", help_behavior_hint="(default: the only one)"),
]
Weights = Annotated[
    str, arg(metavar="W", help="Name of shipped weights, or the folder 'weights' of a run of 'fomo train'.")
]
Samples = Annotated[int, arg(metavar="N", help="Members of the forecast; 19 or more hold a 90 % interval.")]
Seed = Annotated[int, arg(metavar="N", help="The same seed gives the same members.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], arg(help="Where to compute; auto takes a GPU if there is one.")]
Figure = Annotated[
    Path | None, arg(metavar="FILE", help="Also draw a figure (.png).", help_behavior_hint="(default: none)")
]
Table = Annotated[
    Path | None,
    arg(
        metavar="FILE",
        help="Also write a table: time, row, col, y, x, mean and quantiles (.csv or .parquet).",
        help_behavior_hint="(default: none)",
    ),
]
Totals = Annotated[
    Path | None,
    arg(
        metavar="FILE",
        help="Also write each cell's total and peak with quantiles, which those of single values do not tell "
        "(.csv or .parquet).",
        help_behavior_hint="(default: none)",
    ),
]
DaysOff = Annotated[
    str | None,
    arg(
        metavar="WHERE",
        help="Public holidays: of a country, IT or DE-BY, or a table (.csv): date, and perhaps day, off or worked.",
        help_behavior_hint="(default: those that the city knows)",
    ),
]
ForecastFolder = Annotated[
    Path,
    arg(metavar="DIR", help="The forecast: members over (sample, time, y, x), with its provenance; *.zarr."),
]


def columns_of(option: str, pairs: Sequence[str], example: str) -> dict[str, str]:
    """What is read -> the name of its column, of an option's NAME=COLUMN. Raises `UsageError`."""
    from fomo.app.errors import UsageError

    parted = [text.split("=", 1) for text in pairs]
    wrong = [text for text, pair in zip(pairs, parted, strict=True) if len(pair) != 2 or not all(pair)]
    if wrong:
        raise UsageError(f"{option} {wrong[0]}: write name=column, for example {example}")
    return {ours: theirs for ours, theirs in parted}


__all__ = [
    "CityFile",
    "CityName",
    "DataFolder",
    "DaysOff",
    "Device",
    "Figure",
    "ForecastFolder",
    "Samples",
    "Seed",
    "Table",
    "Totals",
    "Weights",
    "columns_of",
]
