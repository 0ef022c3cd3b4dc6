"""What each strategy expects of the asked periods: history's copy, the rival's, FoMo's, and what really came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fomo
from fomo.app.errors import UsageError
from fomo.app.service.forecasting import load_weights
from fomo.app.service.planning.origins import Origin, asked_periods
from fomo.app.service.scoreboard.fits import ready
from fomo.city import steps_per_day
from fomo.forecasters.protocol import Forecaster
from fomo.forecasters.registry import find_entries
from fomo.planning.load import PlanError
from fomo.planning.rows import Strategy

#: How history's strategy, the oracle and the plan without a forecast are called in tables.
HISTORY, ORACLE, NOBODY = "same hour of last week or day", "what happened", "nobody"
#: The rival that comes trained: Lag-Llama on the windows of `fomo-tiny` (fold 0 held back).
SHIPPED_FITS = Path(fomo.__file__).parent / "forecasters" / "rivals" / "trained"
Told = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Expected:
    """Who expects what: members by origin and seed, each (sample, asked period, y, x)."""

    strategy: Strategy
    forecaster: str
    members: dict[tuple[str, int], np.ndarray]  # (origin's name, seed); one entry of seed 0 where nothing is drawn

    def at(self, origin: Origin, seed: int) -> np.ndarray:
        """The members of an origin; the same for every seed where nothing is drawn."""
        found = self.members.get((origin.name, seed))
        return self.members[origin.name, 0] if found is None else found


def expected(
    origins: Sequence[Origin],
    *,
    weights: str,
    rival: str,
    fits: Path,
    samples: int,
    seeds: Sequence[int],
    device: str = "cpu",
    tails: bool = False,
    told: Told = lambda done, of, what: None,
) -> list[Expected]:
    """What every strategy expects, in the order of the tables: history, rival, fomo, real.

    `rival`: a forecaster of `fomo evaluate --list`; trained ones lie in `fits`. `tails`: FoMo's members have those of
    its errors. Raises `UsageError`, `CheckpointError`, and `PlanError` where a forecast is not defined.
    """
    model = load_weights(weights, device)
    asked = [("rival", _rival(rival, fits)), ("fomo", model.with_tails() if tails else model)]
    found = [Expected("history", HISTORY, {(each.name, 0): same_hour(each)[None] for each in origins})]
    total = len(asked) * len(origins) * len(seeds)
    done = 0
    for strategy, forecaster in asked:
        members: dict[tuple[str, int], np.ndarray] = {}
        for seed in seeds:
            for origin in origins:
                members[origin.name, seed] = _members(forecaster, origin, samples, seed)
                done += 1
                told(done, total, forecaster.name)
        found.append(Expected(strategy, forecaster.name, members))  # type: ignore[arg-type]
    found.append(Expected("real", ORACLE, {(each.name, 0): each.truth[None] for each in origins}))
    return found


def _members(forecaster: Forecaster, origin: Origin, samples: int, seed: int) -> np.ndarray:
    forecast = forecaster.forecast_tasks([origin.task], samples, seed)[0]
    members = forecast.samples.values[:, asked_periods(origin.task)]
    covered = origin.task.asked.any(0)
    if not np.isfinite(members[:, :, covered]).all():
        raise PlanError(f"{forecaster.name} has no forecast at {origin.name}: choose another --rival")
    return np.maximum(members, 0.0)  # members may lie just below zero; traffic never does


def same_hour(origin: Origin) -> np.ndarray:
    """What history says of the asked periods, (asked period, y, x): the same period of last week, else of the last day.

    Where neither was recorded, the cell's mean of what was. Raises `PlanError` where nothing was.
    """
    task = origin.task
    asked = asked_periods(task)
    first = int(np.argmax(asked))
    before = task.window["traffic"].values[:first]
    known = before if task.earlier is None else np.concatenate([task.earlier, before])
    day, horizon = steps_per_day(task.window), int(asked.sum())
    ahead = np.arange(horizon)
    found = np.full((horizon, *known.shape[1:]), np.nan)
    for back in (7, *range(1, 7)):  # last week first, then the most recent day
        lag = back * day
        source = len(known) + ahead - lag * (ahead // lag + 1)  # a horizon beyond the lag repeats it
        inside = source >= 0
        candidate = np.full_like(found, np.nan)
        candidate[inside] = known[source[inside]]
        found = np.where(np.isfinite(found), found, candidate)
    seen = np.isfinite(known)
    mean = np.where(seen, known, 0).sum(0) / np.maximum(seen.sum(0), 1)
    found = np.where(np.isfinite(found), found, np.where(seen.any(0), mean, np.nan))
    if not np.isfinite(found[:, task.asked.any(0)]).all():
        raise PlanError(f"a cell of {origin.name} has no history at all: leave it out, or plan it by `fomo generate`")
    return found


def _rival(name: str, fits: Path) -> Forecaster:
    """A forecaster of the registry, ready to be asked. Raises `UsageError`."""
    (entry,) = find_entries([name])
    if entry.kind == "fomo":
        raise UsageError("--rival FoMo: FoMo is compared anyway; name another of 'fomo evaluate --list'")
    if "short" not in entry.tasks:
        raise UsageError(f"--rival {name}: it {entry.cannot('short', 'none', True)}; plans need a forecast")
    return ready(entry, fits)


__all__ = ["HISTORY", "NOBODY", "ORACLE", "SHIPPED_FITS", "Expected", "Told", "expected", "same_hour"]
