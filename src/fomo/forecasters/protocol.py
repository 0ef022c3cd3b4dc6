"""What a forecaster is: something with a name that answers tasks with forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from fomo.forecast import Forecast
from fomo.windows.task import Task


@runtime_checkable
class Forecaster(Protocol):
    """Answers each task with a forecast on the task's window.

    `trained_on` names the data that its parameters have seen (city names, `family/region`), so that a table can
    flag leakage; empty for rules. Many tasks at once let it batch; the answer to one must not depend on the others.
    """

    name: str
    trained_on: tuple[str, ...]

    def forecast_tasks(self, tasks: Sequence[Task], samples: int, seed: int) -> list[Forecast]:
        """One forecast per task with `samples` members. The same seed gives the same members."""
        ...
