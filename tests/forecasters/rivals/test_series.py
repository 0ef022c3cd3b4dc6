"""What the rivals share that forecast one series at a time: which series, which members, what is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from made_tasks import STEPS, town, window_task

from fomo.city import CityError
from fomo.forecasters.protocol import Forecaster
from fomo.forecasters.rivals.chronos import Chronos2
from fomo.forecasters.rivals.series import (
    QuantileForecaster,
    RivalUnavailable,
    Series,
    library,
    members_of,
    series_of,
    weights,
)
from fomo.forecasters.rivals.tabpfn_ts import CHECKPOINT, TabPFNTS
from fomo.forecasters.rivals.timesfm import TimesFM
from fomo.forecasters.rivals.tirex import TiRex
from fomo.windows.task import generate_task


class Last(QuantileForecaster):
    """The last value, give or take a half."""

    name = "last"
    levels = (0.1, 0.5, 0.9)
    days = 0.0

    def quantiles(self, series: Series) -> np.ndarray:
        last = series.past[:, -1:, None] * np.array([0.5, 1.0, 1.5])
        return np.repeat(last, series.horizon, 1)


def test_series_are_the_asked_cells_with_their_past() -> None:
    city = town()
    series = series_of(window_task(city, 16))
    traffic = city["traffic"].values[-STEPS:]
    assert series.horizon == 48
    for (y, x), past in zip(series.cell, series.past, strict=True):
        np.testing.assert_array_equal(past, traffic[:16, y, x].astype(np.float64))
    assert len(series.cell) == 6 and np.isnan(series.users).all() and not series.users_ahead.any()


def test_the_past_before_the_window_is_read_where_the_task_tells_it() -> None:
    city = town()
    series = series_of(window_task(city, context="full", before=True), days=2)
    y, x = series.cell[4]
    first = city.sizes["time"] - STEPS - 48
    np.testing.assert_array_equal(series.past[4], city["traffic"].values[first : first + 96, y, x].astype(np.float64))
    np.testing.assert_array_equal(series.users[4], city["users"].values[first:, y, x].astype(np.float64))
    np.testing.assert_array_equal(series.time, city["time"].values[first:])
    assert series.users_ahead.all()
    assert series_of(window_task(city), days=2).past.shape == (6, 48)


def test_users_of_the_past_alone_are_not_ahead() -> None:
    series = series_of(window_task(town(), context="past"))
    assert np.isfinite(series.users[:, :48]).all() and not series.users_ahead.any()


def test_a_cell_that_was_never_recorded_is_not_defined_and_one_not_asked_repeats_what_was_shown() -> None:
    city = town()
    city["traffic"][:, 0, 0] = np.nan
    task = window_task(city)
    asked = task.asked.copy()
    asked[:, 1, 1] = False
    task = replace(task, asked=asked)
    members = Last().forecast_tasks([task], 5, seed=0)[0].samples.values
    assert np.isnan(members[:, 48:, 0, 0]).all() and np.isnan(members[:, 48:, 1, 1]).all()
    np.testing.assert_array_equal(members[3, :48], task.window["traffic"].values[:48])
    np.testing.assert_allclose(members[2, 48:, 1, 2], task.window["traffic"].values[47, 1, 2], rtol=1e-6)
    assert isinstance(Last(), Forecaster)


def test_generation_and_no_samples_are_refused() -> None:
    city = town().isel(time=slice(0, STEPS))
    area = np.zeros((2, 3), bool)
    area[0, 0] = True
    with pytest.raises(CityError, match="forecasts the last steps"):
        Last().forecast_tasks([generate_task(city, area)], 5, seed=0)
    gap = window_task(city)
    gap.asked[50] = False
    with pytest.raises(CityError, match="forecasts the last steps"):
        Last().forecast_tasks([gap], 5, seed=0)
    with pytest.raises(CityError, match="0 samples"):
        Last().forecast_tasks([window_task(city)], 0, seed=0)


@pytest.mark.parametrize("levels", [(0.1, 0.5, 0.9), (0.01, 0.2, 0.3, 0.99), tuple((i + 0.5) / 20 for i in range(20))])
def test_quantiles_of_a_normal_distribution_give_its_quantiles_as_members(levels: tuple[float, ...]) -> None:
    normal = NormalDist(50.0, 7.0)
    quantiles = np.array([normal.inv_cdf(level) for level in levels])
    members = members_of(np.broadcast_to(quantiles, (3, 2, len(levels))), levels, 24)
    wanted = [normal.inv_cdf((i + 0.5) / 24) for i in range(24)]
    np.testing.assert_allclose(members[:, 1, 1], wanted, rtol=1e-9)


def test_members_are_in_order_and_not_negative_whatever_the_quantiles() -> None:
    quantiles = np.random.default_rng(0).normal(1.0, 2.0, (4, 5, 9))
    members = members_of(quantiles, tuple(np.arange(1, 10) / 10), 30)
    assert (np.diff(members, axis=0) >= 0).all() and members.min() == 0.0
    ordered = np.sort(quantiles, -1)
    at_tenths = members_of(ordered, tuple(np.arange(1, 10) / 10), 5)  # places 0.1, 0.3 ...
    np.testing.assert_allclose(at_tenths, np.maximum(np.moveaxis(ordered[..., ::2], -1, 0), 0), atol=1e-12)


def test_what_is_missing_is_said_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        RivalUnavailable, match=r"Somebody needs the library no_such_thing.*pip install 'fomo\[rivals\]'"
    ):
        library("no_such_thing.inside", "Somebody")
    monkeypatch.delenv("FOMO_SOMEBODY", raising=False)
    with pytest.raises(RivalUnavailable, match=r"put model.bin of some/where into a folder.*FOMO_SOMEBODY"):
        weights(None, "FOMO_SOMEBODY", "model.bin", "Somebody", "some/where")
    monkeypatch.setenv("FOMO_SOMEBODY", str(tmp_path))
    with pytest.raises(RivalUnavailable, match=r"finds no weights at .*model.bin"):
        weights(None, "FOMO_SOMEBODY", "model.bin", "Somebody", "some/where")
    (tmp_path / "model.bin").touch()
    for given in (None, tmp_path, tmp_path / "model.bin"):
        assert weights(given, "FOMO_SOMEBODY", "model.bin", "Somebody", "some/where") == tmp_path / "model.bin"


@pytest.mark.parametrize(
    ("rival", "name", "file", "library", "variable"),
    [
        (Chronos2, "Chronos-2", "model.safetensors", "chronos", "FOMO_CHRONOS"),
        (TimesFM, "TimesFM", "model.safetensors", "timesfm", "FOMO_TIMESFM"),
        (TiRex, "TiRex", "model.ckpt of NX-AI/TiRex", "tirex", "FOMO_TIREX"),
        (TabPFNTS, "TabPFN-TS", CHECKPOINT, "tabpfn.base", "FOMO_TABPFN"),
    ],
    ids=["Chronos-2", "TimesFM", "TiRex", "TabPFN-TS"],
)
def test_a_rival_without_weights_or_library_says_what_to_do(
    rival: Callable[..., QuantileForecaster],
    name: str,
    file: str,
    library: str,
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(RivalUnavailable, match=rf"{name} has no weights: put {file} .*{variable}"):
        rival()
    (tmp_path / file.split()[0]).touch()
    monkeypatch.setitem(sys.modules, library, None)
    package = library.split(".")[0]
    with pytest.raises(RivalUnavailable, match=rf"{name} needs the library {package}.*fomo\[rivals\]"):
        rival(tmp_path)
