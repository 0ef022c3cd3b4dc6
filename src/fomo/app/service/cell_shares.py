"""What an operator's cells usually carry at the periods of a forecast: by it squares are shared among their cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from fomo.city import City
from fomo.exports.cells_csv import Usual
from fomo.forecast import Forecast
from fomo.windows.clock import HOURS_PER_DAY, ROUNDING, Clock

#: Days that say what is usual.
DAYS = 14
#: Of a square: a square is recorded without the cells that carry less of it (`Allocation.to_grid`).
TRIFLE = 0.01
DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class _Weeks:
    """The last weeks of cells: by kind of day and hour, the means of what is recorded; NaN where nothing is."""

    by_hour: Float[np.ndarray, "kind hour cell"]  # working days, days off
    mean: Float[np.ndarray, " cell"]

    @classmethod
    def of(cls, traffic: Float[np.ndarray, "step cell"], clock: Clock) -> _Weeks:
        """Of steps that a clock counts from 0."""
        known = np.isfinite(traffic)
        filled = np.where(known, traffic, 0.0).astype(np.float64)
        slot = _hours(clock, len(traffic)) + HOURS_PER_DAY * clock.weekend(len(traffic))
        of_slot = (slot == np.arange(2 * HOURS_PER_DAY)[:, None]).astype(np.float64)
        by_slot = _over(of_slot @ filled, of_slot @ known)
        return cls(by_slot.reshape(2, HOURS_PER_DAY, -1), _over(filled.sum(0), known.sum(0)))

    def usual(self, weekend: bool) -> Float[np.ndarray, "hour cell"]:
        """By hour of a working day or a day off; the mean where that hour is not known, 0 where nothing is."""
        hours = self.by_hour[int(weekend)]
        return np.nan_to_num(np.where(np.isfinite(hours), hours, self.mean))


def usual_of_cells(
    cells: xr.Dataset,
    city: City,
    forecast: Forecast,
    in_service: Callable[[np.datetime64], Bool[np.ndarray, " cell"]] | None = None,
) -> tuple[Usual, ...]:
    """What cells (time, cell), in the periods of their city, usually carry at those of a forecast of it.

    By hour and kind of day, working day or day off, over the `DAYS` before the forecast, or around each day of a city
    that was filled. Then, for squares of which no cell carried anything at that hour, the cells' means over these days,
    and over all that is recorded. Cells that are not `in_service` on a day (None: all are) carry nothing then.
    """
    time, traffic = city["time"].values, cells["traffic"]
    ahead = forecast.dataset["time"].values
    days, of_day = np.unique(ahead.astype("datetime64[D]"), return_inverse=True)
    around = is_filled(forecast)
    windows = [_window(time, day if around else ahead[0], around) for day in days]
    weeks = dict[tuple[int, int], _Weeks]()
    by_hour, lately, whenever = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    ever = traffic.isel(time=slice(0, max(last for _, last in windows))).mean("time").values
    for day, (first, last) in zip(days, windows, strict=True):
        clock = Clock.of(city.isel(time=slice(first, None)))
        if (first, last) not in weeks:
            weeks = {(first, last): _Weeks.of(traffic.isel(time=slice(first, last)).values, clock)}
        since = int((day - time[first]) / np.timedelta64(1, "h") / clock.step_hours)
        kind = bool(clock.before(-since).weekend(1)[0])
        there = 1.0 if in_service is None else in_service(day)
        by_hour.append(there * weeks[first, last].usual(kind))
        lately.append(there * np.nan_to_num(weeks[first, last].mean))
        whenever.append(there * ever)  # NaN stays NaN: of such a cell nothing is known
    hour = ((ahead - ahead.astype("datetime64[D]")) / np.timedelta64(1, "h")).astype(int)
    return (
        Usual(np.concatenate(by_hour), HOURS_PER_DAY * of_day + hour),
        Usual(np.stack(lately), of_day),
        Usual(np.stack(whenever), of_day),
    )


def lately_of_cells(cells: xr.Dataset, moment: np.datetime64) -> Float[np.ndarray, " cell"]:
    """What cells (time, cell) carry in the mean of the last `DAYS` on record before a moment; NaN of none recorded."""
    first, last = _window(cells["time"].values, moment, around=False)
    return np.asarray(cells["traffic"].isel(time=slice(first, last)).mean("time").values, np.float64)


def recorded_beside(cells: xr.Dataset, city: City, forecast: Forecast, matrix: Any) -> Float[np.ndarray, "time cell"]:
    """What is recorded of cells, in the periods of their city, at those of a forecast of it that knew it; else NaN.

    A forecast whose asked values have come since did not know what cells carried then. One of a city that was filled
    did know the others: only cells that feed, by `matrix` (grid, cell), what came are not known, and not those that
    carry more than a trifle of a square that was recorded before.
    """
    there = forecast.dataset["time"]
    asked = forecast.asked.values.reshape(len(there), -1)
    came = np.isfinite(city["traffic"].reindex(time=there).values.reshape(asked.shape)) & asked
    recorded = np.array(cells["traffic"].reindex(time=there).values, float)
    if not is_filled(forecast):
        return np.where(came.any(1)[:, None], np.nan, recorded)
    before = np.isfinite(forecast.samples.values[0].reshape(asked.shape)) & ~asked
    share = matrix.tocoo()
    for period in np.flatnonzero(came.any(1)):
        carried = share.data * np.nan_to_num(recorded[period])[share.col]
        whole = np.bincount(share.row, carried, asked.shape[1])
        knew = before[period, share.row] & (carried > TRIFLE * whole[share.row])
        late = (share.data > 0) & came[period, share.row]
        recorded[period, np.setdiff1d(share.col[late], share.col[knew])] = np.nan
    return recorded


def is_filled(forecast: Forecast) -> bool:
    """Whether a forecast repeats values that were recorded beside those that were asked."""
    return bool((np.isfinite(forecast.samples.values[0]) & ~forecast.asked.values).any())


def _window(time: np.ndarray, moment: np.datetime64, around: bool) -> tuple[int, int]:
    """The first step of the weeks before, or around, a moment and the one after their last, within a record.

    Those at its beginning where there is nothing before.
    """
    per_day = round(DAY / (time[1] - time[0])) if len(time) > 1 else 1
    wanted = DAYS * per_day
    last = int(np.searchsorted(time, moment)) + (wanted // 2 + per_day // 2 if around else 0)
    last = min(max(last, wanted) if around or not last else last, len(time))
    return max(0, last - wanted), last


def _hours(clock: Clock, steps: int) -> Int[np.ndarray, " step"]:
    """Hours of the day in which steps begin."""
    hours = clock.start_hour + clock.step_hours * np.arange(steps)
    return np.floor(hours % HOURS_PER_DAY + ROUNDING).astype(int) % HOURS_PER_DAY


def _over(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Means; NaN of nothing."""
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


__all__ = ["DAYS", "is_filled", "lately_of_cells", "recorded_beside", "usual_of_cells"]
