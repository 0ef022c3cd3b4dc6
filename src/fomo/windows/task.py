"""A question to a forecaster, as data: what is past, what is asked, what is known of the future.

The three are separate, so that what is known in advance (the calendar, POI, residents) is never mixed with what
would leak (the asked traffic, future users). The asked traffic is not in a `Task` at all: it is NaN there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fomo.city import City, CityError, validate

ContextMode = Literal["none", "past", "full"]

#: The paper's two forecasting tasks (§4.2): observed steps, asked steps.
HISTORY_AND_HORIZON = {"short": (48, 16), "long": (16, 48)}


@dataclass(frozen=True)
class Task:
    """One window of a city with the asked traffic taken out.

    `window`: City over (time, y, x); its traffic is NaN where asked or never recorded.
    `asked`: bool (time, y, x), True where a value is wanted.
    `last_week`: float32 (time, y, x), traffic of the same hours one week earlier, NaN where not recorded; or None.
    `earlier`: float32 (before, y, x), the traffic just before the window, NaN where not recorded; or None.
    `reference`: the traffic that counts as "full" in this city (99.99th percentile), or None to let the forecaster
    take it from the window.
    `context`: which users are known: `none`, `past` (up to the first asked step) or `full`.
    """

    window: City
    asked: np.ndarray
    last_week: np.ndarray | None = None
    reference: float | None = None
    context: ContextMode = "none"
    earlier: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that nothing asked can be seen. Raises `CityError`."""
        traffic = self.window["traffic"].values
        if self.asked.shape != traffic.shape:
            raise CityError(f"asked {self.asked.shape} does not lie on the window {traffic.shape}")
        if np.isfinite(traffic[self.asked]).any():
            raise CityError("a task must not contain the traffic it asks for: build it with forecast_task & co.")
        if self.reference is not None and not (np.isfinite(self.reference) and self.reference > 0):
            raise CityError(f"the reference of a task is {self.reference}; it must be above 0")
        if self.last_week is not None and self.last_week.shape != traffic.shape:
            raise CityError(f"last week {self.last_week.shape} does not lie on the window {traffic.shape}")
        if self.earlier is not None and self.earlier.shape[1:] != traffic.shape[1:]:
            raise CityError(f"the time before the window has cells {self.earlier.shape[1:]}, not {traffic.shape[1:]}")


def make_task(
    window: City,
    asked: np.ndarray,
    *,
    last_week: np.ndarray | None = None,
    earlier: np.ndarray | None = None,
    reference: float | None = None,
    context: ContextMode = "none",
) -> Task:
    """A task from a window that still holds the truth: takes it out where `asked` (time, y, x) is True."""
    hidden = window.copy()
    hidden["traffic"] = window["traffic"].where(~asked)
    if "users" in hidden:
        if context == "none":
            hidden = hidden.drop_vars("users")
        elif context == "past":
            first = int(np.argmax(asked.any(axis=(1, 2))))
            known = np.arange(window.sizes["time"]) < first
            hidden["users"] = hidden["users"].where(known[:, None, None])
    return Task(hidden, asked, last_week, reference, context, earlier)


def forecast_task(
    city: City,
    horizon: int,
    history: int | None = None,
    *,
    reference: float | None = None,
    context: ContextMode = "none",
    past_week: bool = True,
) -> Task:
    """The steps after the end of a city: the last `history` steps are observed, `horizon` steps are asked.

    `history` defaults to 48, or to what the city has. With `past_week`, what the city recorded before that is given
    too, and the same hours one week before each step. Raises `CityError` for a horizon below 1 or a history without a
    single value.
    """
    if horizon < 1:
        raise CityError(f"the horizon is {horizon} steps; it must be at least 1")
    history = min(history or 48, city.sizes["time"])
    window = _extend(city, history, horizon)
    asked = np.zeros(window["traffic"].shape, bool)
    asked[history:] = True
    if not np.isfinite(window["traffic"].values[:history]).any():
        raise CityError(
            f"the last {history} steps of {city.attrs['name']!r} hold no recorded traffic: a forecast needs a history; "
            "use a longer --history or cut the empty end off"
        )
    asked &= city["covered"].values[None]
    week = last_week(city, city.sizes["time"] - history, history + horizon) if past_week else None
    earlier = city["traffic"].values[: city.sizes["time"] - history] if past_week else None
    return make_task(window, asked, last_week=week, earlier=earlier, reference=reference, context=context)


def generate_task(city: City, area: np.ndarray, *, reference: float | None = None) -> Task:
    """All steps of the cells of `area` (bool (y, x)), from their neighbours and context: equation (6)."""
    area = np.asarray(area, bool)
    if area.shape != (city.sizes["y"], city.sizes["x"]):
        raise CityError(f"the area {area.shape} does not lie on the grid {(city.sizes['y'], city.sizes['x'])}")
    if not area.any():
        raise CityError("the area to generate is empty")
    asked = np.broadcast_to(area, city["traffic"].shape).copy()
    return make_task(city, asked, reference=reference)


def fill_task(city: City, *, reference: float | None = None) -> Task:
    """The values of covered cells that were not recorded."""
    asked = ~np.isfinite(city["traffic"].values) & city["covered"].values[None]
    return make_task(city, asked, reference=reference)


def last_week(city: City, start: int, steps: int) -> np.ndarray | None:
    """Traffic one week before the steps `start .. start + steps`, NaN where unknown; None where all is unknown.

    A step may lie beyond the end of the city; its value of last week is known where that lies inside.
    """
    lag = 7 * 24 * 60 // int(city.attrs["step_minutes"])
    source = np.arange(start, start + steps) - lag
    inside = (source >= 0) & (source < city.sizes["time"])
    if not inside.any():
        return None
    week = np.full((steps, city.sizes["y"], city.sizes["x"]), np.nan, np.float32)
    week[inside] = city["traffic"].values[source[inside]]
    return week if np.isfinite(week).any() else None


def _extend(city: City, history: int, horizon: int) -> City:
    """The last `history` steps of a city followed by `horizon` steps not yet recorded."""
    past = city.isel(time=slice(city.sizes["time"] - history, None))
    step = np.timedelta64(int(city.attrs["step_minutes"]), "m")
    future = past["time"].values[-1] + step * np.arange(1, horizon + 1)
    return validate(past.reindex(time=np.concatenate([past["time"].values, future])))


__all__ = [
    "HISTORY_AND_HORIZON",
    "ContextMode",
    "Task",
    "fill_task",
    "forecast_task",
    "generate_task",
    "last_week",
    "make_task",
]
