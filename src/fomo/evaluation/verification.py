"""Whether forecasts held: their members beside what was recorded since, value by value, cell by cell, and together.

What meteorology calls verification. Everything is in the city's unit and nothing is clipped: a planner compares it with
counters, not with other cities. Rules answer the same steps from the same past, as a measure of how hard they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int64

from fomo.city import City, CityError, steps_per_day
from fomo.evaluation.metrics import PIT_BINS, coverage, crps, enough_members, pit_histogram
from fomo.evaluation.protocol import FEW_UNDEFINED
from fomo.forecast import Forecast
from fomo.forecasters.rule import Rule
from fomo.forecasters.rules import rules_for
from fomo.windows.scale import without_slips
from fomo.windows.task import forecast_task

#: What rules look back on before a forecast: two days, or as many steps as forecasts do.
LOOK_BACK_DAYS, LOOK_BACK_STEPS = 2, 48
#: Cells that rules answer at a time.
AT_A_TIME = 1024
#: Levels of central intervals, 10 to 90 %.
LEVELS = np.arange(1, 10) / 10


@dataclass(frozen=True)
class Compared:
    """One forecast beside what came of it.

    `members` (sample, time, y, x) and `truth` (time, y, x) lie on the asked steps that the city has, in its unit; what
    was not asked, not recorded or has no member is NaN in `truth`. `before` is the city up to the first asked step.
    """

    forecast: Forecast
    members: Float[np.ndarray, "sample time y x"]
    truth: Float[np.ndarray, "time y x"]
    time: np.ndarray  # datetime64, of these steps
    lead: Int64[np.ndarray, " time"]  # steps after the last one before the forecast: 1 is the next
    asked: int  # values that were asked for, come or not
    before: City

    @property
    def known(self) -> Bool[np.ndarray, "time y x"]:
        """Where there is something to compare."""
        return np.isfinite(self.truth)

    @property
    def together(self) -> tuple[Float[np.ndarray, "sample time"], Float[np.ndarray, " time"]]:
        """Members and truth summed over the cells that were recorded, step by step; NaN where none was."""
        some = self.known.any((1, 2))
        members = np.where(self.known, self.members, 0.0).sum((2, 3))
        truth = np.where(self.known, self.truth, 0.0).sum((1, 2))
        return np.where(some, members, np.nan), np.where(some, truth, np.nan)

    @property
    def antithetic(self) -> bool:
        """Whether members 2i and 2i + 1 are of opposite noise."""
        return bool(self.forecast.attrs.get("antithetic"))


@dataclass(frozen=True)
class Values:
    """Scores of single values of one forecaster, of any number of forecasts, in the city's unit."""

    forecaster: str
    lead: Int64[np.ndarray, " value"]
    truth: Float[np.ndarray, " value"]
    mean: Float[np.ndarray, " value"]
    crps: Float[np.ndarray, " value"]
    places: Float[np.ndarray, " bin"]  # `metrics.pit_histogram`: of the truths among the members
    samples: int  # members, of the smallest forecast

    @property
    def rmse(self) -> float:
        """Root of the mean squared error of the members' mean."""
        return float(np.sqrt(((self.mean - self.truth) ** 2).mean()))

    @property
    def mae(self) -> float:
        """Mean absolute error of the members' mean."""
        return float(np.abs(self.mean - self.truth).mean())

    @property
    def bias(self) -> float | None:
        """How much more was forecast than came, as a share of what came; None where nothing came."""
        came = float(self.truth.sum())
        return float(self.mean.sum()) / came - 1 if came > 0 else None

    def within(self, level: float) -> float | None:
        """Share of the truths in the central interval of this level; None where members are too few for it."""
        return central(self.places, level, self.samples)

    def by_lead(self) -> tuple[Int64[np.ndarray, " lead"], Float[np.ndarray, " lead"]]:
        """Leads and the mean CRPS at each."""
        leads, of = np.unique(self.lead, return_inverse=True)
        return leads, np.bincount(of, self.crps) / np.bincount(of)


@dataclass(frozen=True)
class Verification:
    """Forecasts of one city beside what came: `values` of the forecasts first, then of the rules that are defined."""

    compared: tuple[Compared, ...]
    values: tuple[Values, ...]
    sums: Float[np.ndarray, " bin"]  # the places of the sums over all cells among those of the members
    remarks: list[str] = field(default_factory=list)

    @property
    def unit(self) -> str:
        """Of the traffic."""
        return str(self.compared[0].forecast.attrs["unit"])

    def sums_within(self, level: float) -> float | None:
        """Share of the sums over all cells, step by step, in the central interval of this level."""
        return central(self.sums, level, self.values[0].samples)


@dataclass(frozen=True)
class CellTotals:
    """Totals of the cells of one forecast over their recorded steps, in the city's unit times steps."""

    places: Int64[np.ndarray, "cell 2"]  # row and column
    steps: Int64[np.ndarray, " cell"]
    came: Float[np.ndarray, " cell"]
    members: Float[np.ndarray, "sample cell"]
    within: Float[np.ndarray, " cell"]  # share of the steps in the central interval of 90 %; NaN: too few members

    @property
    def outside(self) -> Int64[np.ndarray, " cell"]:
        """1 where more came than any member says, -1 where less, 0 elsewhere."""
        above, below = self.came > self.members.max(0), self.came < self.members.min(0)
        return above.astype(np.int64) - below

    @property
    def deviation(self) -> Float[np.ndarray, " cell"]:
        """What came less what was expected, in standard deviations of the members' totals; NaN where these agree."""
        spread = self.members.std(0, ddof=1) if len(self.members) > 1 else np.zeros(len(self.came))
        off = self.came - self.members.mean(0)
        return np.where(spread > 0, off / np.where(spread > 0, spread, 1.0), np.nan)


def central(places: Float[np.ndarray, " bin"], level: float, samples: int) -> float | None:
    """Share of a `pit_histogram` in the central interval of a level that is a multiple of 10 %."""
    if not enough_members(level, samples) or not places.sum():
        return None
    outside = round(PIT_BINS * (1 - level) / 2)
    return float(places[outside : PIT_BINS - outside].sum() / places.sum())


def compare(forecast: Forecast, city: City) -> Compared:
    """A forecast beside a city that has grown since.

    Raises `CityError`: another grid, granularity period or unit; none of the asked steps is in the city, or nothing
    was recorded in them.
    """
    _check_fit(forecast, city)
    lacks = _not_here(forecast, city)
    if lacks:
        raise CityError(lacks)
    return _beside(forecast, city)


def _beside(forecast: Forecast, city: City) -> Compared:
    """A forecast that fits a city, and of which something has come. Raises `CityError`: it has no members there."""
    asked, time = forecast.asked.values, forecast.dataset["time"].values
    steps = np.flatnonzero(asked.any((1, 2)))
    first = time[steps[0]]
    here = steps[np.isin(time[steps], city["time"].values)]
    members = forecast.samples.isel(time=here).values.astype(np.float64)
    truth = city["traffic"].sel(time=time[here]).values.astype(np.float64)
    truth = np.where(asked[here] & np.isfinite(members).all(0), truth, np.nan)
    if not np.isfinite(truth).any():
        name, of = city.attrs["name"], forecast.attrs["city"]
        raise CityError(f"nothing of what the forecast of {of!r} asks for has members where {name!r} is recorded")
    step = np.timedelta64(int(city.attrs["step_minutes"]), "m")
    lead = ((time[here] - first) // step + 1).astype(np.int64)
    before = city.isel(time=city["time"].values < first)
    return Compared(forecast, members, truth, time[here], lead, int(asked.sum()), before)


def _check_fit(forecast: Forecast, city: City) -> None:
    """Raises `CityError` where a forecast is not one of this city, asks for nothing, or has no members."""
    name, about = city.attrs["name"], forecast.attrs
    whose = f"the forecast of {about['city']!r}"
    if about.get("quantiles"):
        raise CityError(f"{whose} holds quantiles of single values, no members: it has no sums to compare")
    facts: tuple[tuple[str, object, object], ...] = (
        ("granularity period in minutes", int(about["step_minutes"]), int(city.attrs["step_minutes"])),
        ("unit", str(about.get("unit", "")), str(city.attrs["unit"])),
        ("grid", forecast.asked.shape[1:], tuple(city.sizes[axis] for axis in ("y", "x"))),
    )
    for what, theirs, ours in facts:
        if theirs != ours:
            raise CityError(f"{whose} does not fit {name!r}: its {what} is {theirs!r}, that of the city {ours!r}")
    for axis in forecast.elsewhere(city):
        raise CityError(f"{whose} does not fit {name!r}: the centres of its cells lie elsewhere along {axis}")
    if not forecast.asked.values.any():
        raise CityError(f"{whose} asks for no value")


def _not_here(forecast: Forecast, city: City) -> str:
    """Why nothing of what a forecast asks for is recorded in the city, in a sentence; empty where something is."""
    time, asked = forecast.dataset["time"].values, forecast.asked.values
    steps = np.flatnonzero(asked.any((1, 2)))
    here = steps[np.isin(time[steps], city["time"].values)]
    recorded = np.isfinite(city["traffic"].sel(time=time[here]).values)
    if (asked[here] & recorded).any():
        return ""
    name, begins, ends = city.attrs["name"], city["time"].values[0], city["time"].values[-1]
    of = f"the forecast of {forecast.attrs['city']!r} is of {_clock(time[steps[0]])} to {_clock(time[steps[-1]])}, and"
    if time[steps[-1]] < begins:
        return f"{of} {name!r} begins at {_clock(begins)}: give the city with the record of that time"
    if time[steps[0]] > ends:
        grow = "let it grow first ('fomo city append', or import what has come since)"
        return f"{of} {name!r} ends at {_clock(ends)}: {grow}"
    return f"{of} nothing of what it asks for is recorded in {name!r}"


def verify(forecasts: Sequence[Forecast], city: City, *, seed: int = 0) -> Verification:
    """Forecasts of one city beside what came, and simple rules on the same steps. `seed`: of the rules' members.

    Slips of the record (`windows.scale.without_slips`) are taken as not recorded, with a warning. Of several forecasts,
    those of which nothing has come are left out, and said. Raises `CityError`: see `compare`; no forecast; nothing has
    come of any.
    """
    if not forecasts:
        raise CityError("there is no forecast to verify")
    city = city.assign(traffic=city["traffic"].copy(data=without_slips(city["traffic"].values)))
    for forecast in forecasts:
        _check_fit(forecast, city)
    lacks = [_not_here(forecast, city) for forecast in forecasts]
    if all(lacks):
        raise CityError(lacks[0])
    come = (forecast for forecast, why in zip(forecasts, lacks, strict=True) if not why)
    compared = sorted((_beside(forecast, city) for forecast in come), key=lambda each: each.time[0])
    names = list(dict.fromkeys(str(each.forecast.attrs["forecaster"]) for each in compared))
    ours = [_values(names[0], each, each.members, each.antithetic) for each in compared]
    values, remarks = [_joined(ours, ", ".join(names))], _remarks(compared, city)
    remarks += [f"left out: {why}" for why in lacks if why]
    if any(_looked_back_on(each) is None for each in compared):
        remarks.append("no rule is beside it: the city holds no record from before the forecast")
    else:
        samples, came = min(len(each.members) for each in compared), values[0].truth.size
        silent = list[str]()
        for rule in rules_for("none", True):
            found = [_by_rule(rule, part, samples, seed) for each in compared for part in _parts(each)]
            defined = sum(answer.truth.size for answer, _ in found)
            if defined >= (1 - FEW_UNDEFINED) * came:
                values.append(_joined([answer for answer, _ in found], rule.name))
            elif defined:
                silent.append(_where_both(found, came - defined))
            else:
                silent.append(f"{rule.name} says nothing")
        if silent:
            unit = compared[0].forecast.attrs["unit"]
            remarks.append(
                f"rules left out, as of {came:,} values they say nothing of some, for want of a past of these cells "
                f"that is long enough; CRPS [{unit}] on the others, theirs and the forecast's: {'; '.join(silent)}"
            )
    sums = np.zeros(PIT_BINS)
    for each in compared:
        members, truth = each.together
        some = np.isfinite(truth)
        sums += pit_histogram(members[:, some], truth[some], antithetic=each.antithetic)
    return Verification(tuple(compared), tuple(values), sums, remarks)


def cell_totals(compared: Compared) -> CellTotals:
    """Totals of every cell of which something came."""
    rows, columns = np.nonzero(compared.known.any(0))
    known, truth = compared.known[:, rows, columns], compared.truth[:, rows, columns]
    members = compared.members[:, :, rows, columns]
    covered = coverage(members, np.where(known, truth, 0.0), 0.9, antithetic=compared.antithetic)
    inside = np.where(known, covered, 0.0)  # NaN: too few members
    return CellTotals(
        np.stack([rows, columns], -1),
        known.sum(0),
        np.where(known, truth, 0.0).sum(0),
        np.where(known, members, 0.0).sum(1),
        inside.sum(0) / known.sum(0),
    )


def _values(name: str, compared: Compared, members: np.ndarray, antithetic: bool = False) -> Values:
    """The scores of members (sample, time, y, x) where they and the truth are known."""
    at = compared.known & np.isfinite(members).all(0)
    drawn, truth = members[:, at].astype(np.float64), compared.truth[at]
    lead = np.broadcast_to(compared.lead[:, None, None], at.shape)[at]
    score = crps(drawn, truth, antithetic=antithetic)
    places = pit_histogram(drawn, truth, antithetic=antithetic)
    return Values(name, lead, truth, drawn.mean(0), score, places, len(drawn))


def _joined(parts: Sequence[Values], name: str) -> Values:
    """The values of several forecasts as those of one."""
    lead, truth, mean, score = (
        np.concatenate([getattr(part, what) for part in parts]) for what in ("lead", "truth", "mean", "crps")
    )
    places = np.sum([part.places for part in parts], axis=0)
    return Values(name, lead, truth, mean, score, places, min(part.samples for part in parts))


def _looked_back_on(compared: Compared) -> int | None:
    """Steps before the forecast that rules look back on; None where these hold nothing."""
    before = compared.before
    history = min(before.sizes["time"], max(LOOK_BACK_STEPS, LOOK_BACK_DAYS * steps_per_day(before)))
    return history if history and np.isfinite(before["traffic"].values[-history:]).any() else None


def _parts(compared: Compared) -> Iterator[Compared]:
    """Some cells at a time, if they have a past: rules know no neighbours, and memory is bounded."""
    shape = compared.truth.shape[1:]
    axis = int(shape[1] > shape[0])
    edge = max(1, AT_A_TIME // shape[1 - axis])
    for first in range(0, shape[axis], edge):
        rows, columns = (slice(first, first + edge) if which == axis else slice(None) for which in (0, 1))
        part = replace(
            compared,
            members=compared.members[:, :, rows, columns],
            truth=compared.truth[:, rows, columns],
            before=compared.before.isel(y=rows, x=columns),
        )
        if part.known.any() and _looked_back_on(part) is not None:
            yield part


def _by_rule(rule: Rule, compared: Compared, samples: int, seed: int) -> tuple[Values, Compared]:
    """The scores of a rule that is asked the same steps from what was before; and the forecast where it answers."""
    ahead, history = int(compared.lead[-1]), _looked_back_on(compared)
    (answer,) = rule.forecast_tasks([forecast_task(compared.before, ahead, history)], samples, seed)
    members = answer.samples.values
    members = members[:, members.shape[1] - ahead + compared.lead - 1]
    both = replace(compared, truth=np.where(np.isfinite(members).all(0), compared.truth, np.nan))
    return _values(rule.name, compared, members), both


def _where_both(found: Sequence[tuple[Values, Compared]], without: int) -> str:
    """A rule's CRPS beside that of the forecasts where it answers, and of how many values it says nothing."""
    theirs = _joined([answer for answer, _ in found], found[0][0].forecaster)
    ours = _joined([_values("", both, both.members, both.antithetic) for _, both in found], "")
    return f"{theirs.forecaster} {theirs.crps.mean():.4g} and {ours.crps.mean():.4g} (without {without:,})"


def _remarks(compared: Sequence[Compared], city: City) -> list[str]:
    remarks = []
    others = sorted({str(each.forecast.attrs["city"]) for each in compared} - {str(city.attrs["name"])})
    if others:
        remarks.append(f"forecast of {', '.join(map(repr, others))}, compared with {city.attrs['name']!r}")
    asked, came = sum(each.asked for each in compared), sum(int(each.known.sum()) for each in compared)
    if came < asked:
        remarks.append(f"{came:,} of the {asked:,} values that were asked for are recorded; only these are compared")
    return remarks


def _clock(moment: np.datetime64) -> str:
    return str(np.datetime_as_string(moment, unit="m"))


__all__ = ["LEVELS", "CellTotals", "Compared", "Values", "Verification", "cell_totals", "central", "compare", "verify"]
