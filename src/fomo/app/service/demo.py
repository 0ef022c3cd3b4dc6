"""The whole way in one call: a city, its last steps hidden, forecasts of FoMo and the rules, figures and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fomo.app.service.forecasting import DEFAULT_WEIGHTS, load_weights
from fomo.app.service.outputs import check_folder
from fomo.city import City, CityError, save_city
from fomo.evaluation.figures import forecast_figure, save_figure
from fomo.evaluation.protocol import evaluate
from fomo.evaluation.questions import WINDOW, Question
from fomo.evaluation.rows import Row, row
from fomo.evaluation.tables import write_rows
from fomo.forecast import Forecast
from fomo.forecasters.protocol import Forecaster
from fomo.forecasters.rules import rules_for
from fomo.sources import data_folder, read_family
from fomo.sources.synthetic import synthetic_city
from fomo.windows.scale import reference_of
from fomo.windows.task import HISTORY_AND_HORIZON, Task, last_week, make_task

TASKS: tuple[Literal["short", "long"], ...] = ("short", "long")


@dataclass(frozen=True)
class Demo:
    """Rows of both tasks and the files written: name -> path."""

    city: City
    rows: list[Row]
    files: dict[str, Path]


def demo(
    out: Path, city: City | None = None, *, weights: str = DEFAULT_WEIGHTS, samples: int = 20, seed: int = 0
) -> Demo:
    """Forecast the last 16 and the last 48 steps of a city, and write figures, scores and forecasts into `out`.

    The default city is made up and needs no file. Raises `CityError`, `CheckpointError`, `UsageError`.
    """
    city = _recorded(city) if city is not None else demo_city()
    saved = check_folder(out / "city.zarr", holds="covered", kind="a city")
    for task in TASKS:
        check_folder(out / f"{task}.zarr", holds="asked", kind="a forecast")
    model = load_weights(weights, "cpu")
    rows: list[Row] = []
    files = {"the city": save_city(city, saved)}
    for name in TASKS:
        question = last_question(city, name, model.checkpoint.references.get(str(city.attrs["family"])))
        forecasters: list[Forecaster] = [model, *rules_for("none", question.past_week)]
        keepers = [_Keeper(forecaster) for forecaster in forecasters]
        found = [row(evaluate(keeper, [question], samples=samples, seed=seed, progress=False)) for keeper in keepers]
        ranked = sorted((one.rmse, i) for i, one in enumerate(found) if i and one.rmse is not None)
        best_rule = keepers[ranked[0][1]].answers[0] if ranked else None
        figure = forecast_figure(city, keepers[0].answers[0], best_rule)
        file = "forecast.png" if name == "short" else "forecast-long.png"
        files[f"{name} forecast, figure"] = save_figure(figure, out / file)
        files[f"{name} forecast, members"] = keepers[0].answers[0].save(out / f"{name}.zarr")
        rows += found
    for suffix in ("md", "csv"):
        files[f"scores, {suffix}"] = write_rows(rows, out / f"scores.{suffix}")
    return Demo(city, rows, files)


def demo_city() -> City:
    """Seventeen made days of 8 x 8 cells, by the hour; they end on a Wednesday."""
    return synthetic_city("made-up city", days=17, seed=0)


def family_city(folder: Path | None, name: str) -> City:
    """A city for the demo: the region `family/region`, or the busiest of the family's held-back fold 0."""
    cities = read_family(data_folder(folder), name.split("/")[0])
    if "/" in name:
        cities = [city for city in cities if city.attrs["name"] == name]
        if not cities:
            raise CityError(f"there is no city {name!r} in that family: 'fomo data list' shows what there is")
    held_back = [city for city in cities if city.attrs.get("fold", 0) == 0]
    return max(held_back or cities, key=lambda city: float(np.nanmean(city["traffic"].values)))


def last_question(city: City, name: Literal["short", "long"], reference: float | None = None) -> Question:
    """The last window of a city with its end hidden: what went before is known, last week included."""
    steps = city.sizes["time"]
    if steps < WINDOW:
        raise CityError(f"{city.attrs['name']!r} has {steps} recorded steps: the demo needs {WINDOW}")
    start = steps - WINDOW
    history = HISTORY_AND_HORIZON[name][0]
    window = city.isel(time=slice(start, None))
    truth = window["traffic"].values
    asked = np.zeros(truth.shape, bool)
    asked[history:] = city["covered"].values
    scored = asked & np.isfinite(truth)
    if not scored.any() or not np.isfinite(truth[:history]).any():
        raise CityError(f"the last {WINDOW} steps of {city.attrs['name']!r} hold too little recorded traffic")
    own = reference_of(city["traffic"].values[: start + history])
    week = last_week(city.isel(time=slice(0, start + history)), start, WINDOW)
    return Question(
        task=make_task(
            window,
            asked,
            last_week=week,
            earlier=city["traffic"].values[:start] if week is not None else None,
            reference=reference or own,
        ),
        truth=truth,
        scored=scored,
        name=name,
        split="last_fifth",
        family=str(city.attrs["family"]),
        region=str(city.attrs["name"]),
        day=str(np.datetime_as_string(window["time"].values[history], unit="D")),
        first_step=start + history,
        reference=reference or own,
        scale="stored with weights" if reference else "own history",
        past_week=week is not None,
    )


class _Keeper:
    """A forecaster that keeps its answers, so that what is drawn is what was scored."""

    def __init__(self, forecaster: Forecaster) -> None:
        self.forecaster, self.name, self.trained_on = forecaster, forecaster.name, forecaster.trained_on
        self.undefined = str(getattr(forecaster, "undefined", "the forecast has missing values"))
        self.answers: list[Forecast] = []

    def forecast_tasks(self, tasks: Sequence[Task], samples: int, seed: int) -> list[Forecast]:
        found = self.forecaster.forecast_tasks(tasks, samples, seed)
        self.answers.extend(found)
        return found


def _recorded(city: City) -> City:
    """The city up to its last recorded step."""
    steps = np.flatnonzero(np.isfinite(city["traffic"].values).any(axis=(1, 2)))
    return city.isel(time=slice(0, int(steps[-1]) + 1)) if steps.size else city


__all__ = ["Demo", "demo", "demo_city", "family_city", "last_question"]
