"""What is asked of the steps after the end of a city: one block, or several that continue each other."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from fomo.city import City, CityError, times_after
from fomo.forecasters.served import check_in_service
from fomo.given import whole_number
from fomo.windows.task import ContextMode, Task, check_context, forecast_task

#: Steps in a window, the length that the network is trained on (paper, §4.2).
WINDOW = 64
#: More asked steps than this are produced in several blocks, each continuing its own member.
LONGEST_BLOCK = 48
#: Members that are continued at a time. How many pass the network at once changes the last digit of what is seen of
#: them, so that number is the same whoever draws the others.
CONTINUED = 4
#: Fewest observed steps to look back on, unless fewer are asked for.
SHORTEST_HISTORY = 16


@dataclass(frozen=True)
class Ahead:
    """The `horizon` steps after the end of `city`, and what is known of their context, to be cut into blocks."""

    city: City
    horizon: int
    history: int  # observed steps to look back on, where the city has them
    reference: float
    past_week: bool
    context: ContextMode
    users_ahead: np.ndarray | None
    users_reference: float | None

    def __post_init__(self) -> None:
        """Check what blocks do not, or would name by their own length. Raises `CityError`."""
        check_context(self.context)
        check_in_service(self.city, self.times(self.horizon))
        if self.users_ahead is None:
            return
        if self.context != "full":
            raise CityError(f"assumed users are used with context 'full' alone, not with {self.context!r}: ask with it")
        if "users" not in self.city:
            raise CityError("users are assumed of a city without any, so nothing says what they carry: leave them out")
        given, asked = np.shape(self.users_ahead), (self.horizon, self.city.sizes["y"], self.city.sizes["x"])
        if given != asked:
            raise CityError(
                f"the assumed users {given} do not lie on the asked steps {asked}: give them for the whole horizon"
            )

    @property
    def seen(self) -> int:
        """Observed steps of the first window."""
        return min(self.history, self.city.sizes["time"])

    def block(self, done: int = 0) -> int:
        """Steps of the block that begins `done` steps after the end."""
        return min(self.horizon - done, LONGEST_BLOCK)

    def first(self) -> Task:
        """The task of the first block."""
        return self._task(self.city, 0, self.history)

    def times(self, steps: int) -> np.ndarray:
        """The first so many times after the end, datetime64."""
        return times_after(self.city, steps)

    def longer(self, done: int) -> City:
        """The city with `done` steps more, and their assumed users where there are any; traffic to be put in."""
        city = self.city
        longer = city.reindex(time=np.concatenate([city["time"].values, self.times(done)]))
        if self.users_ahead is None or self.context != "full" or "users" not in longer:
            return longer
        users = longer["users"].values.copy()
        users[len(users) - done :] = self.users_ahead[:done]
        return longer.assign(users=longer["users"].copy(data=users))

    def following(self, longer: City, path: np.ndarray) -> Task:
        """The task of the block after `path`, (time, y, x) of one member; `longer` is the city with as many steps."""
        member = longer.copy()
        member["traffic"] = longer["traffic"].copy(data=np.concatenate([self.city["traffic"].values, path]))
        return self._task(member, len(path), min(self.history, longer.sizes["time"]))

    def _task(self, city: City, done: int, history: int) -> Task:
        ahead = None if self.users_ahead is None else self.users_ahead[done : done + self.block(done)]
        known: dict[str, Any] = {"users_ahead": ahead, "users_reference": self.users_reference}
        return forecast_task(
            city, self.block(done), history,
            reference=self.reference, past_week=self.past_week, context=self.context, **known,
        )  # fmt: skip


def history_of(horizon: int, history: int | None) -> int:
    """Observed steps to look back on: those asked for, at most and else what a window leaves; with a warning of more.

    A longer window is none that the network was trained on, and leaves no past that it could be judged by. Raises
    `CityError` below 1.
    """
    longest = max(WINDOW - min(horizon, LONGEST_BLOCK), SHORTEST_HISTORY)
    if history is None:
        return longest
    if history < 1:
        raise CityError(f"the history is {history} steps; it must be at least 1")
    if history > longest:
        warnings.warn(
            f"a history of {history} steps is more than the {longest} that a window of {WINDOW} leaves: so many are "
            "looked back on, and what was before them is heard as the city's past anyway",
            stacklevel=2,
        )
    return min(history, longest)


def members_asked(samples: int) -> int:
    """How many members are asked for. Raises `CityError` where that is no whole number or less than 1."""
    number = whole_number(samples, "samples")
    if number < 1:
        raise CityError(f"{number} samples are asked for; at least 1 is needed")
    return number


def members_unit(horizon: int) -> int:
    """Members that must be drawn in one part: pairs of opposite noise; what is continued is continued together."""
    return 2 if horizon <= LONGEST_BLOCK else CONTINUED


__all__ = ["CONTINUED", "LONGEST_BLOCK", "WINDOW", "Ahead", "history_of", "members_asked", "members_unit"]
