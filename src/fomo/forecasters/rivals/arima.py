"""ARIMA: Box & Jenkins, "Time series analysis: forecasting and control", 1970; the one of statsforecast (Nixtla).

Every cell is a series of its own: a regression with autoregressive errors, fitted by maximum likelihood to what the
task tells of its past, four days before the window included where they are told. The library fits no series with gaps:
between recorded values a straight line is drawn, and the forecast begins after the last one. The rhythm of the day
enters as sines and cosines (dynamic harmonic regression: Hyndman & Athanasopoulos, "Forecasting: principles and
practice"), as many as the recorded hours bear: a seasonal difference is no better with two days of hours, and cannot be
had from shorter pasts. Users enter as one more regressor where they are known for the asked steps (context `full`).

All this was compared on folds 1-4 of the UoMo regions: neither a difference, nor a second autoregressive or a
moving-average term, nor a logarithmic scale was better, and the order that AutoARIMA finds for each series takes ten
times as long. It knows nothing of other cells: no generation.
"""

from __future__ import annotations

import warnings
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from fomo.forecasters.rivals.series import Series, SeriesForecaster, library
from fomo.forecasters.rule import around

#: Orders (p, d, q): the first that can be fitted is taken. A likelihood without a maximum is rare.
ORDERS = ((1, 0, 0), (0, 0, 0))
#: Recorded hours of a series, and how many sines and cosines of the day they bear.
HARMONICS = ((48, 6), (24, 2), (16, 1))
#: With users, fewer hours than these bear no sine or cosine: the users have the rhythm of the day.
HOURS_BESIDE_USERS = 24
#: With users, fewer recorded values than these bear no intercept: traffic in proportion to users.
VALUES_FOR_MEAN = 24
#: A series or regressor that varies less than this part of its mean does not vary.
STILL = 1e-9


class ARIMA(SeriesForecaster):
    """A regression with autoregressive errors for each cell; members are normal around its forecast."""

    name = "ARIMA"

    def __init__(self, days: float = 4.0) -> None:
        """`days` before the window are read where they are told. Raises `RivalUnavailable` without statsforecast."""
        self.days = days
        self._models = library("statsforecast.models", self.name)

    def draw(
        self, series: Series, samples: int, random: np.random.Generator
    ) -> Float[np.ndarray, "sample series horizon"]:
        """Normal numbers with the forecast's mean and deviation; see `rule.around` for what happens at zero."""
        mean, deviation = self.forecast(series)
        return around(np.maximum(mean, 0.0), deviation * random.standard_normal((samples, *mean.shape)))

    def forecast(
        self, series: Series
    ) -> tuple[Float[np.ndarray, "series horizon"], Float[np.ndarray, "series horizon"]]:
        """Mean and standard deviation of the asked values, in the city's unit; a mean may lie below zero."""
        found = [
            self._one(past, users if known else None, series)
            for past, users, known in zip(series.past, series.users, series.users_ahead, strict=True)
        ]
        mean, deviation = (np.stack(part) for part in zip(*found, strict=True))
        return mean, deviation

    def _one(
        self, past: Float[np.ndarray, " past"], users: Float[np.ndarray, " step"] | None, series: Series
    ) -> tuple[Float[np.ndarray, " horizon"], Float[np.ndarray, " horizon"]]:
        """Mean and deviation of one series. One that never changed is forecast not to."""
        scale = float(np.nanmean(past))
        if np.nanstd(past) <= STILL * scale:
            return np.full(series.horizon, scale), np.zeros(series.horizon)
        recorded = np.flatnonzero(np.isfinite(past))
        values, hours = recorded.size, recorded.size * series.step_minutes / 60
        inside = slice(int(recorded[0]), int(recorded[-1]) + 1)
        ratio = None if users is None else users_ratio(users, inside)
        count = next((harmonics for least, harmonics in HARMONICS if hours >= least), 0)
        if ratio is not None and hours < HOURS_BESIDE_USERS:
            count = 0
        columns = harmonics_of_day(series.time, count)
        if ratio is not None:
            columns = np.concatenate([columns, ratio[:, None]], 1)
        value = without_gaps(past)[inside] / scale
        ahead = len(past) - inside.stop + series.horizon
        for order in ORDERS:
            found = self._fitted(
                order, ratio is None or values >= VALUES_FOR_MEAN, value, columns[inside.start :], ahead
            )
            if found is not None:
                return found[0][-series.horizon :] * scale, found[1][-series.horizon :] * scale
        raise RuntimeError(f"no ARIMA of the orders {ORDERS} could be fitted to {np.round(past, 3)}")

    def _fitted(
        self,
        order: tuple[int, int, int],
        intercept: bool,
        value: Float[np.ndarray, " past"],
        columns: Float[np.ndarray, "step column"],
        horizon: int,
    ) -> tuple[Float[np.ndarray, " horizon"], Float[np.ndarray, " horizon"]] | None:
        """Mean and deviation with this order, or None where the likelihood has no maximum."""
        before, ahead = (part if part.shape[1] else None for part in np.split(columns, [len(value)]))
        model = self._models.ARIMA(order=order, include_mean=intercept)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of fits that are refused below
            try:
                answer = model.fit(value, before).predict(horizon, ahead, level=[90])
            except (ValueError, np.linalg.LinAlgError):
                return None
        mean = np.asarray(answer["mean"], np.float64)
        deviation = (np.asarray(answer["hi-90"], np.float64) - mean) / NormalDist().inv_cdf(0.95)
        return (mean, deviation) if np.isfinite(mean).all() and np.isfinite(deviation).all() else None


def users_ratio(users: Float[np.ndarray, " step"], inside: slice) -> Float[np.ndarray, " step"] | None:
    """Users relative to their mean over the steps that are fitted; None where they do not vary there."""
    ratio = without_gaps(users)
    mean, deviation = float(ratio[inside].mean()), float(ratio[inside].std())
    return ratio / mean if deviation > STILL * mean else None


def without_gaps(values: Float[np.ndarray, " step"]) -> Float[np.ndarray, " step"]:
    """A straight line between known values; beyond the outermost their value."""
    known = np.isfinite(values)
    steps = np.arange(len(values))
    return np.interp(steps, steps[known], values[known])


def harmonics_of_day(time: np.ndarray, count: int) -> Float[np.ndarray, "step column"]:
    """Sine and cosine of the time of day, and of its multiples up to `count`."""
    day = (time - time.astype("datetime64[D]")) / np.timedelta64(1, "D")
    angles = 2 * np.pi * np.arange(1, count + 1) * day[:, None]
    return np.concatenate([np.sin(angles), np.cos(angles)], 1)


__all__ = ["ARIMA", "harmonics_of_day", "users_ratio", "without_gaps"]
