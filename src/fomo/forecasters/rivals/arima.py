"""ARIMA: Box & Jenkins, "Time series analysis: forecasting and control", 1970; the one of statsforecast (Nixtla).

Every cell is a series of its own: a regression with autoregressive errors, fitted by maximum likelihood to what the
task tells of its past, up to four days before the window included where that is told. Missing values stay missing in
the Kalman filter. The rhythm of the day enters as sines and cosines (dynamic harmonic regression, Hyndman &
Athanasopoulos, "Forecasting: principles and practice", section 12.1), as many as the recorded hours bear: a seasonal
difference over two days of hours is no better, and cannot be had from shorter pasts. Users enter as one more regressor
where they are known for the asked steps (context `full`).

Orders were compared on folds 1-4 of the UoMo regions, on a linear and on a logarithmic scale: (2, 0, 0) on the linear
one is as good as the order that AutoARIMA finds for each series, at a tenth of its time. Where its likelihood has no
maximum, one autoregressive term fewer is taken. It knows nothing of other cells: no generation.
"""

from __future__ import annotations

import warnings
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from fomo.forecasters.rivals.series import Series, SeriesForecaster, library
from fomo.forecasters.rule import around

#: Orders (p, d, q), the first that can be fitted is taken.
ORDERS = ((2, 0, 0), (1, 0, 0), (0, 0, 0))
#: Recorded hours of a series, and how many sines and cosines of the day they bear.
HARMONICS = ((48, 6), (24, 2), (16, 1))
#: With users known, fewer hours than these bear none: the users have the rhythm of the day.
HOURS_BESIDE_USERS = 24
#: A series or regressor that varies less than this part of its mean does not vary.
STILL = 1e-9


class ARIMA(SeriesForecaster):
    """A regression with autoregressive errors for each cell; members are normal around its forecast."""

    name = "ARIMA"

    def __init__(self, days: float = 4.0) -> None:
        """`days` of past before the window, where the task tells it. Raises `RivalUnavailable` without statsforecast."""
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
        """Mean and standard deviation of the asked values, in the city's unit; the mean may be below zero."""
        users_ahead = series.users_ahead
        found = [
            self._one(past, users if known else None, series)
            for past, users, known in zip(series.past, series.users, users_ahead, strict=True)
        ]
        mean, deviation = (np.stack(part) for part in zip(*found, strict=True))
        return mean, deviation

    def _one(
        self, past: Float[np.ndarray, " past"], users: Float[np.ndarray, " step"] | None, series: Series
    ) -> tuple[Float[np.ndarray, " horizon"], Float[np.ndarray, " horizon"]]:
        """Mean and deviation of one series. One that never changed is forecast not to."""
        begin = int(np.argmax(np.isfinite(past)))
        scale = float(np.nanmean(past))
        if np.nanstd(past) <= STILL * scale:
            return np.full(series.horizon, scale), np.zeros(series.horizon)
        value = past[begin:] / scale
        if users is not None:
            users = users[begin:]
            value = np.where(np.isfinite(users[: len(value)]), value, np.nan)
        regressors = regressors_of(value, users, series.time[begin:], series.step_minutes)
        for order in ORDERS:
            found = self._fitted(order, value, regressors, series.horizon)
            if found is not None:
                return found[0] * scale, found[1] * scale
        raise RuntimeError(f"no ARIMA of the orders {ORDERS} could be fitted to {np.round(past, 3)}")

    def _fitted(
        self,
        order: tuple[int, int, int],
        value: Float[np.ndarray, " past"],
        regressors: Float[np.ndarray, "step regressor"],
        horizon: int,
    ) -> tuple[Float[np.ndarray, " horizon"], Float[np.ndarray, " horizon"]] | None:
        """Mean and deviation with this order, or None where the likelihood has no maximum."""
        before, ahead = (part if part.shape[1] else None for part in np.split(regressors, [len(value)]))
        model = self._models.ARIMA(order=order)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of fits that are refused below
            try:
                answer = model.fit(value, before).predict(horizon, ahead, level=[90])
            except (ValueError, np.linalg.LinAlgError):
                return None
        mean = np.asarray(answer["mean"], np.float64)
        deviation = (np.asarray(answer["hi-90"], np.float64) - mean) / NormalDist().inv_cdf(0.95)
        return (mean, deviation) if np.isfinite(mean).all() and np.isfinite(deviation).all() else None


def regressors_of(
    value: Float[np.ndarray, " past"], users: Float[np.ndarray, " step"] | None, time: np.ndarray, step_minutes: int
) -> Float[np.ndarray, "step regressor"]:
    """Users and the harmonics of the day, at the times of the past and of what is asked."""
    hours = float(np.isfinite(value).sum()) * step_minutes / 60
    count = next((harmonics for least, harmonics in HARMONICS if hours >= least), 0)
    columns = []
    if users is not None and np.nanstd(users[: len(value)]) > STILL * np.nanmean(users[: len(value)]):
        mean = np.nanmean(users[: len(value)])
        # Steps of the past without users count as not recorded: what stands there has no effect.
        columns.append(np.where(np.isfinite(users), users, mean) / mean)
        count = count if hours >= HOURS_BESIDE_USERS else 0
    day = (time - time.astype("datetime64[D]")) / np.timedelta64(1, "D")
    columns += [wave(2 * np.pi * k * day) for k in range(1, count + 1) for wave in (np.sin, np.cos)]
    return np.stack(columns, 1) if columns else np.zeros((len(time), 0))


__all__ = ["ARIMA", "regressors_of"]
