"""ARIMA, and the library behind it as a second road for the simple rules."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from made_tasks import STEPS, town, window_task

from fomo.city import City, make_city
from fomo.forecasters.rivals.arima import ARIMA, without_gaps
from fomo.forecasters.rivals.series import RivalUnavailable, series_of
from fomo.forecasters.rules import HistoryMean, SameHourLastWeek


def city_of(traffic: np.ndarray, **more: np.ndarray) -> City:
    return make_city(traffic, name="made", start="2024-01-01T00:00", step_minutes=60, **more)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast.models", None)
    with pytest.raises(RivalUnavailable, match=r"ARIMA needs the library statsforecast.*pip install 'fomo\[rivals\]'"):
        ARIMA()


def test_gaps_are_bridged_by_straight_lines() -> None:
    found = without_gaps(np.array([np.nan, 2.0, np.nan, np.nan, 8.0, np.nan]))
    np.testing.assert_allclose(found, [2, 2, 4, 6, 8, 8])


class TestWithStatsforecast:
    """What needs the library."""

    @pytest.fixture(autouse=True)
    def library_is_here(self) -> None:
        pytest.importorskip("statsforecast")

    def test_the_forecast_of_an_autoregression_decays_to_its_mean_with_the_deviation_of_theory(self) -> None:
        random, coefficient, noise = np.random.default_rng(1), 0.8, 1.0
        steps = 200 + STEPS
        values = np.zeros((steps, 1, 1))
        for step in range(1, steps):
            values[step] = coefficient * values[step - 1] + noise * random.standard_normal()
        city = make_city(values + 20, name="made", start="2024-01-01T00:00", step_minutes=15)
        series = series_of(window_task(city))  # half a day of quarter hours: too short for the rhythm of the day
        mean, deviation = ARIMA().forecast(series)
        model = ARIMA()._models.ARIMA(order=(1, 0, 0)).fit(series.past[0])
        fitted, centre = model.model_["coef"]["ar1"], model.model_["coef"]["intercept"]
        ahead = np.arange(1, 17)
        np.testing.assert_allclose(mean[0], centre + fitted**ahead * (series.past[0, -1] - centre), rtol=1e-3)
        variance = model.model_["sigma2"] * (1 - fitted ** (2 * ahead)) / (1 - fitted**2)  # of an AR(1)
        np.testing.assert_allclose(deviation[0], np.sqrt(variance), rtol=1e-2)

    @pytest.mark.parametrize("history", [16, 48])
    def test_a_pure_rhythm_of_the_day_goes_on(self, history: int) -> None:
        hours = np.arange(STEPS)
        level = np.array([[1.0, 3.0]])
        noise = np.random.default_rng(0).lognormal(0.0, 0.01, (STEPS, 1, 2))
        traffic = level * (2 + np.sin(2 * np.pi * (hours - 8) / 24))[:, None, None]
        members = ARIMA().forecast_tasks([window_task(city_of(traffic * noise), history)], 50, 0)[0].samples.values
        np.testing.assert_allclose(members.mean(0)[history:], traffic[history:], atol=0.35 * level.max())
        assert members.std(0)[history:].max() < 0.4

    @pytest.mark.parametrize("history", [16, 48])
    def test_traffic_that_follows_its_users_is_known_with_them(self, history: int) -> None:
        city = town()
        error = {}
        for context in ("none", "full"):
            task = window_task(city, history, context=context)  # type: ignore[arg-type]
            point = ARIMA().forecast_tasks([task], 20, 0)[0].samples.values.mean(0)[history:]
            error[context] = float(np.abs(point - city["traffic"].values[-STEPS + history :]).mean())
        assert error["full"] < 0.6 * error["none"]

    def test_members_are_as_wide_as_the_library_says_never_negative_and_of_the_seed(self) -> None:
        task = window_task(town())
        mean, deviation = ARIMA().forecast(series_of(task))
        first, again, other = (ARIMA().forecast_tasks([task], 400, seed)[0].samples.values for seed in (0, 0, 1))
        asked = first[:, 48:].reshape(400, 16, 6)
        assert (asked >= 0).all()
        np.testing.assert_allclose(asked.mean(0).T, mean, rtol=1e-5)
        wide = mean > 5 * deviation  # the others are cut at zero
        assert wide.any()
        np.testing.assert_allclose((asked.std(0, ddof=1).T / deviation)[wide], 1.0, atol=0.15)
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_the_answer_to_a_task_does_not_depend_on_the_others(self) -> None:
        city = town()
        tasks = [window_task(city, 16, start=start) for start in (0, 40, 80)]
        together = ARIMA().forecast_tasks(tasks, 5, 0)
        alone = ARIMA().forecast_tasks(tasks[1:2], 5, 0)
        np.testing.assert_array_equal(together[1].samples.values, alone[0].samples.values)

    def test_cells_that_are_still_or_hardly_recorded_have_forecasts(self) -> None:
        city = town()
        traffic = city["traffic"].values
        traffic[:, 0, 0] = 0.0
        traffic[:, 0, 1] = 7.0
        traffic[:-20, 0, 2] = np.nan
        traffic[-30:, 1, 0] = np.nan  # the last steps before what is asked
        traffic[::2, 1, 1] = np.nan
        members = ARIMA().forecast_tasks([window_task(city)], 20, 0)[0].samples.values[:, 48:]
        assert (members[:, :, 0, 0] == 0).all() and (members[:, :, 0, 1] == 7).all()
        assert np.isfinite(members).all()
        assert members.std(0).reshape(16, 6)[:, 2:].min() > 0

    def test_the_days_before_the_window_make_a_short_history_longer(self) -> None:
        city = town()
        truth = city["traffic"].values[-48:]
        error = {}
        for before in (False, True):
            point = ARIMA().forecast_tasks([window_task(city, 16, before=before)], 20, 0)[0].samples.values.mean(0)
            error[before] = float(np.abs(point[16:] - truth).mean())
        assert error[True] < 0.9 * error[False]


def test_the_history_mean_is_the_one_of_statsforecast() -> None:
    models = pytest.importorskip("statsforecast.models")
    task = window_task(town())
    point = HistoryMean().point(task)
    for y, x in np.ndindex(2, 3):
        past = task.window["traffic"].values[:48, y, x].astype(np.float64)
        wanted = models.HistoricAverage().forecast(past, h=16)["mean"]
        np.testing.assert_allclose(point[48:, y, x], wanted, rtol=1e-6)


@pytest.mark.parametrize("history", [16, 48])
def test_the_same_hour_last_week_is_the_seasonal_naive_of_statsforecast(history: int) -> None:
    models = pytest.importorskip("statsforecast.models")
    city = town()
    task = window_task(city, history, before=True)
    point = SameHourLastWeek().point(task)
    for y, x in np.ndindex(2, 3):
        past = city["traffic"].values[: -STEPS + history, y, x].astype(np.float64)
        wanted = models.SeasonalNaive(season_length=168).forecast(past, h=STEPS - history)["mean"]
        np.testing.assert_allclose(point[history:, y, x], wanted, rtol=1e-6)
