"""A question to a forecaster, as data: what is past, what is asked, what is known of the future.

The three are separate, so that what is known in advance (the calendar, POI, residents) is never mixed with what
would leak (the asked traffic, future users). The asked traffic is not in a `Task` at all: it is NaN there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from fomo.city import City, CityError, in_service, times_after, validate
from fomo.given import numbers_of

ContextMode = Literal["none", "past", "full"]
#: Layers of context that a city may have.
CONTEXT_LAYERS = ("users", "poi", "residents")

#: The paper's two forecasting tasks (§4.2): observed steps, asked steps.
HISTORY_AND_HORIZON = {"short": (48, 16), "long": (16, 48)}


@dataclass(frozen=True, eq=False)
class Task:
    """One window of a city with the asked traffic taken out.

    `window`: City over (time, y, x); its traffic is NaN where asked or never recorded.
    `asked`: bool (time, y, x), True where a value is wanted.
    `last_week`: float32 (time, y, x), traffic of the same hours one week earlier, NaN where not recorded; or None.
    `earlier`: float32 (before, y, x), the traffic just before the window, NaN where not recorded; or None.
    `reference`: the traffic that counts as "full" in this city (99.99th percentile), or None to let the forecaster
    take it from the window.
    `context`: what is known of the surroundings: `none`; `past`: POI, residents, and users up to the first asked step;
    `full`: users of the whole window too. Values that are NaN are not known, cell by cell.
    `users_earlier`: float32 (before, y, x), users at the times of `earlier`; or None.
    `assumed`: whether the users of the asked steps are assumed, for a question like "what if there were more?".
    `around`: float32 (time, y, x), what the record around gaps that are asked for says of them, NaN: nothing; or None.
    `users_reference`: the users that count as full, or None to let the forecaster take them from the window.
    """

    window: City
    asked: np.ndarray
    last_week: np.ndarray | None = None
    reference: float | None = None
    context: ContextMode = "none"
    earlier: np.ndarray | None = None
    users_earlier: np.ndarray | None = None
    users_reference: float | None = None
    around: np.ndarray | None = None
    assumed: bool = False

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

    @property
    def place(self) -> str:
        """Where and when the window is: its draws of random numbers are named after it."""
        return f"{self.window.attrs['name']} {self.window['time'].values[0]}"

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers of context of which anything is known."""
        return tuple(
            name for name in CONTEXT_LAYERS if name in self.window and np.isfinite(self.window[name].values).any()
        )


def make_task(
    window: City,
    asked: np.ndarray,
    *,
    last_week: np.ndarray | None = None,
    earlier: np.ndarray | None = None,
    users_earlier: np.ndarray | None = None,
    reference: float | None = None,
    users_reference: float | None = None,
    context: ContextMode = "none",
    layers: Sequence[str] = CONTEXT_LAYERS,
) -> Task:
    """A task from a window that still holds the truth: takes it out where `asked` (time, y, x) is True.

    Of the context, only `layers` are kept, and users only as far as the mode allows. The mode falls back where the
    window lacks what it promises: `Task.context` is what is left of it. Raises `CityError` for an unknown mode or
    layer.
    """
    check_context(context)
    unknown = set(layers) - set(CONTEXT_LAYERS)
    if unknown:
        raise CityError(f"there are no context layers {sorted(unknown)}; there are {', '.join(CONTEXT_LAYERS)}")
    hidden = window.copy()
    hidden["traffic"] = window["traffic"].where(~asked)
    shown = () if context == "none" else layers
    hidden = hidden.drop_vars([name for name in CONTEXT_LAYERS if name in hidden and name not in shown])
    if "users" in hidden and context == "past":
        first = int(np.argmax(asked.any(axis=(1, 2)))) if asked.any() else window.sizes["time"]
        known = np.arange(window.sizes["time"]) < first
        hidden["users"] = hidden["users"].where(known[:, None, None])
    left = context_left(hidden, context)
    with_users = "users" in hidden
    return Task(
        hidden, asked, last_week, reference, left, earlier,
        users_earlier if with_users else None, users_reference if with_users else None,
    )  # fmt: skip


def check_context(context: str) -> None:
    """Raises `CityError` for what is no `ContextMode`."""
    if context not in get_args(ContextMode):
        raise CityError(f"the context is {context!r}: ask with {', '.join(get_args(ContextMode))}")


def context_left(city: City, asked: ContextMode) -> ContextMode:
    """The mode that a city allows: `full` needs users; without any layer there is `none`."""
    if asked == "none" or not any(name in city for name in CONTEXT_LAYERS):
        return "none"
    return asked if "users" in city else "past"


def forecast_task(
    city: City,
    horizon: int,
    history: int | None = None,
    *,
    reference: float | None = None,
    users_reference: float | None = None,
    context: ContextMode = "none",
    past_week: bool = True,
    users_ahead: np.ndarray | None = None,
) -> Task:
    """The steps after the end of a city: the last `history` steps are observed, `horizon` steps are asked.

    `history` defaults to 48, or to what the city has. With `past_week`, what the city recorded before that is given
    too, and the same hours one week before each step. `users_ahead` (horizon, y, x) are assumed users of the asked
    steps, for context `full`. Raises `CityError` for a horizon below 1, a history without a single value, `full`
    without assumed users.
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
            "give what has come since ('fomo city append'), or a city that ends where its record does"
        )
    if context == "full" and "users" in city:
        window = _with_users_ahead(window, history, horizon, users_ahead)
    asked &= city["covered"].values[None]
    week = last_week(city, city.sizes["time"] - history, history + horizon) if past_week else None
    before = slice(0, city.sizes["time"] - history)
    task = make_task(
        window,
        asked,
        last_week=week,
        earlier=city["traffic"].values[before] if past_week else None,
        users_earlier=city["users"].values[before] if past_week and "users" in city else None,
        reference=reference,
        users_reference=users_reference,
        context=context,
    )
    return replace(task, assumed=task.context == "full")


def _with_users_ahead(window: City, history: int, horizon: int, users_ahead: np.ndarray | None) -> City:
    """The window with assumed users of the asked steps."""
    size = (horizon, window.sizes["y"], window.sizes["x"])
    if users_ahead is None:
        raise CityError(
            "context 'full' needs the users of the asked steps, which nobody knows: give what you assume as "
            "users_ahead (horizon, y, x), or ask with context 'past'"
        )
    if np.shape(users_ahead) != size:
        raise CityError(f"the assumed users {np.shape(users_ahead)} do not lie on the asked steps {size}")
    given = numbers_of(users_ahead, ("time", "y", "x"), "the assumed users")
    if ((given < 0) | np.isinf(given)).any():
        raise CityError(
            "the assumed users hold negative or infinite numbers: give counts of 0 or more, NaN = not known"
        )
    users = window["users"].values.copy()
    users[history:] = given
    return window.assign(users=window["users"].copy(data=users))


def generate_task(
    city: City,
    area: np.ndarray,
    *,
    reference: float | None = None,
    users_reference: float | None = None,
    context: ContextMode = "none",
    layers: Sequence[str] = CONTEXT_LAYERS,
) -> Task:
    """All steps of the cells of `area` (bool (y, x)), from their neighbours and context: equation (6)."""
    area = numbers_of(area, ("y", "x"), "the area to generate", bool)
    if area.shape != (city.sizes["y"], city.sizes["x"]):
        raise CityError(f"the area {area.shape} does not lie on the grid {(city.sizes['y'], city.sizes['x'])}")
    if not area.any():
        raise CityError("the area to generate is empty")
    asked = np.broadcast_to(area, city["traffic"].shape).copy()
    return make_task(city, asked, reference=reference, users_reference=users_reference, context=context, layers=layers)


def fill_task(
    city: City,
    gaps: np.ndarray | None = None,
    *,
    reference: float | None = None,
    users_reference: float | None = None,
    context: ContextMode = "none",
    layers: Sequence[str] = CONTEXT_LAYERS,
) -> Task:
    """The values of covered cells in service that were not recorded; or those `gaps` (time, y, x) of them."""
    asked = gaps
    if asked is None:
        asked = ~np.isfinite(city["traffic"].values) & city["covered"].values[None] & in_service(city)
    return make_task(city, asked, reference=reference, users_reference=users_reference, context=context, layers=layers)


def last_week(city: City, start: int, steps: int) -> np.ndarray | None:
    """Traffic one week before the steps `start .. start + steps`, NaN where unknown; None where all is unknown.

    A step may lie beyond the end of the city; its value of last week is known where that lies inside.
    """
    return week_before(city["traffic"].values, start, steps, int(city.attrs["step_minutes"]))


def week_before(traffic: np.ndarray, start: int, steps: int, step_minutes: int) -> np.ndarray | None:
    """`last_week` of a record (time, y, x)."""
    lag = 7 * 24 * 60 // step_minutes
    source = np.arange(start, start + steps) - lag
    inside = (source >= 0) & (source < len(traffic))
    if not inside.any():
        return None
    week = np.full((steps, *traffic.shape[1:]), np.nan, np.float32)
    week[inside] = traffic[source[inside]]
    return week if np.isfinite(week).any() else None


def _extend(city: City, history: int, horizon: int) -> City:
    """The last `history` steps of a city followed by `horizon` steps not yet recorded."""
    past = city.isel(time=slice(city.sizes["time"] - history, None))
    return validate(past.reindex(time=np.concatenate([past["time"].values, times_after(past, horizon)])))


__all__ = [
    "CONTEXT_LAYERS",
    "HISTORY_AND_HORIZON",
    "ContextMode",
    "Task",
    "check_context",
    "context_left",
    "fill_task",
    "forecast_task",
    "generate_task",
    "last_week",
    "make_task",
    "week_before",
]
