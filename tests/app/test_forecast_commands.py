"""`fomo forecast | generate | fill`, and the tables and figures they write."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fomo
from fomo.app.service.forecasting import ForecastOptions, _assumed
from fomo.app.service.outputs import Outputs, with_history
from fomo.forecast import Forecast, mock_forecast, quantiles_of
from small import Run


def test_forecast_writes_members_table_and_figure(run: Run, city_folder: Path, weights: Path, tmp_path: Path) -> None:
    out, table, figure = tmp_path / "f.zarr", tmp_path / "f.csv", tmp_path / "f.png"
    asked = ("forecast", city_folder, "--weights", weights, "--horizon", 12, "--samples", 6)
    said = run(*asked, "--out", out, "--csv", table, "--figure", figure)
    assert said.code == 0, said.err
    forecast = Forecast.open(out)
    assert forecast.samples.shape == (6, 12, 4, 5)
    assert forecast.attrs["weights"] == "random" and forecast.attrs["context"] == "none"
    assert figure.read_bytes()[:4] == b"\x89PNG"

    frame = pl.read_csv(table, try_parse_dates=True)
    assert frame.columns == ["time", "row", "col", "y", "x", "mean", "q05", "q25", "q50", "q75", "q95", "unit"]
    assert frame.height == 12 * 4 * 5
    line = frame.filter((pl.col("row") == 3) & (pl.col("col") == 1)).row(7, named=True)
    members = forecast.samples.values[:, 7, 3, 1]
    np.testing.assert_allclose(line["mean"], members.mean(), rtol=1e-4)
    np.testing.assert_allclose(line["q95"], quantiles_of(members, 0.95), rtol=1e-4)
    assert line["unit"] == "GB per period"
    assert np.datetime64(line["time"]) == forecast.dataset["time"].values[7]


def test_members_with_tails_have_the_same_mean_and_say_so(
    run: Run, city_folder: Path, weights: Path, tmp_path: Path
) -> None:
    asked = ("forecast", city_folder, "--weights", weights, "--samples", 40, "--horizon", 5)
    for name, option in (("plain", ()), ("tails", ("--tails",))):
        assert run(*asked, *option, "--out", tmp_path / f"{name}.zarr").code == 0
    plain, tails = (Forecast.open(tmp_path / f"{name}.zarr") for name in ("plain", "tails"))
    assert "tails" not in plain.attrs and tails.attrs["tails"].startswith("Student's t")
    one, other = plain.samples.values, tails.samples.values
    level = one.mean()
    assert abs(other.mean() - level) < 0.02 * level
    far = [np.quantile(np.abs(each - each.mean(0)), 0.999) for each in (one, other)]
    near = [np.quantile(np.abs(each - each.mean(0)), 0.5) for each in (one, other)]
    assert far[1] > 1.1 * far[0] and near[1] < 0.95 * near[0]


def test_the_same_seed_gives_the_same_members(run: Run, city_folder: Path, weights: Path, tmp_path: Path) -> None:
    asked = ("forecast", city_folder, "--weights", weights, "--samples", 4, "--horizon", 5)
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert run(*asked, "--seed", seed, "--out", tmp_path / f"{name}.zarr").code == 0
    a, b, c = (Forecast.open(tmp_path / f"{name}.zarr").samples.values for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_forecast_replaces_an_older_one(run: Run, city_folder: Path, weights: Path, tmp_path: Path) -> None:
    asked = ("forecast", city_folder, "--weights", weights, "--samples", 2, "--out", tmp_path / "f.zarr")
    assert run(*asked, "--horizon", 5).code == run(*asked, "--horizon", 7).code == 0
    assert Forecast.open(tmp_path / "f.zarr").samples.sizes["time"] == 7


def test_one_city_of_a_file_with_several(run: Run, data: Path, weights: Path, tmp_path: Path) -> None:
    asked = ("forecast", data / "regions.npz", "--city", "regions/02", "--weights", weights, "--samples", 2)
    assert run(*asked, "--out", tmp_path / "f.zarr", "--history", 24, "--no-past-week").code == 0
    assert Forecast.open(tmp_path / "f.zarr").attrs["city"] == "regions/02"


def test_generate_asks_for_the_area_only(run: Run, city_folder: Path, weights: Path, tmp_path: Path) -> None:
    asked = ("generate", city_folder, "--weights", weights, "--area", "1:3,0:2", "--samples", 2)
    said = run(*asked, "--out", tmp_path / "g.zarr", "--csv", tmp_path / "g.parquet", "--figure", tmp_path / "g.png")
    assert said.code == 0, said.err
    area = np.zeros((4, 5), bool)
    area[1:3, 0:2] = True
    found = Forecast.open(tmp_path / "g.zarr")
    np.testing.assert_array_equal(found.asked.values, np.broadcast_to(area, found.asked.shape))
    frame = pl.read_parquet(tmp_path / "g.parquet")
    assert sorted(set(zip(frame["row"], frame["col"], strict=True))) == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_fill_leaves_what_was_recorded(run: Run, weights: Path, tmp_path: Path) -> None:
    city = fomo.synthetic_city("gaps", 4, 4, days=4, missing=0.1)
    saved = fomo.save_city(city, tmp_path / "gaps.zarr")
    out = tmp_path / "filled.zarr"
    said = run("fill", saved, "--weights", weights, "--samples", 2, "--out", out, "--csv", tmp_path / "f.csv")
    assert said.code == 0 and "gaps like these were made again" in said.out
    found, recorded = Forecast.open(out), np.isfinite(city["traffic"].values)
    for member in found.samples.values:
        np.testing.assert_array_equal(member[recorded], city["traffic"].values[recorded])
        assert np.isfinite(member).all()
    assert pl.read_csv(tmp_path / "f.csv").height == (~recorded).sum()


def test_a_table_has_longitudes_where_the_city_has_them(tmp_path: Path) -> None:
    lon, lat = np.meshgrid([9.0, 9.1], [45.0, 45.1, 45.2])
    traffic = np.ones((30, 3, 2), np.float32)
    city = fomo.make_city(traffic, name="m", start="2024-01-01", step_minutes=60, lon=lon, lat=lat)
    outputs = Outputs(tmp_path / "f.zarr", tmp_path / "f.csv")
    outputs.check().write(mock_forecast(city), city)
    frame = pl.read_csv(tmp_path / "f.csv")
    assert (frame["lon"].max(), frame["lat"].max()) == (9.1, 45.2)


def test_a_figure_shows_the_observed_steps_before_the_forecast() -> None:
    city = fomo.mock_city(100)
    forecast = mock_forecast(city, horizon=8)
    longer = with_history(city.isel(time=slice(0, 92)), forecast, steps=20)
    assert longer.samples.sizes["time"] == 28
    np.testing.assert_array_equal(longer.samples.values[:, 20:], forecast.samples.values)
    np.testing.assert_array_equal(longer.samples.values[3, :20], city["traffic"].values[72:92])
    assert not longer.asked.values[:20].any() and longer.asked.values[20:].all()
    assert longer.attrs == forecast.attrs


# ---------------------------------------------------------------- users, POI and residents


def without(city_folder: Path, folder: Path, *layers: str) -> Path:
    return fomo.save_city(fomo.open_city(city_folder).drop_vars(list(layers)), folder)


@pytest.mark.parametrize(
    ("context", "says"),
    [
        ("none", "context none: no layer"),
        ("past", "context past: users, poi, residents"),
    ],
)
def test_the_context_used_is_printed_and_kept(
    run: Run, city_folder: Path, context_weights: Path, tmp_path: Path, context: str, says: str
) -> None:
    asked = ("forecast", city_folder, "--weights", context_weights, "--samples", 2, "--out", tmp_path / "f.zarr")
    said = run(*asked, "--context", context)
    assert said.code == 0, said.err
    assert says in said.out.splitlines()
    assert Forecast.open(tmp_path / "f.zarr").attrs["context"] == context


def test_a_forecast_reads_the_past_of_the_context_where_nothing_else_is_said(
    run: Run, city_folder: Path, context_weights: Path, tmp_path: Path
) -> None:
    asked = ("forecast", city_folder, "--weights", context_weights, "--samples", 2)
    assert "context past: users, poi, residents" in run(*asked, "--out", tmp_path / "a.zarr").out.splitlines()
    assert run(*asked, "--context", "none", "--out", tmp_path / "b.zarr").code == 0
    a, b = (Forecast.open(tmp_path / f"{name}.zarr").samples.values for name in "ab")
    assert not np.array_equal(a, b)


def test_weights_that_read_no_context_say_that_less_was_used(
    run: Run, city_folder: Path, weights: Path, tmp_path: Path
) -> None:
    said = run("forecast", city_folder, "--weights", weights, "--samples", 2, "--out", tmp_path / "f.zarr")
    assert "context none: no layer; less than the past asked for" in said.out.splitlines()


def test_a_city_without_context_says_that_less_was_used(
    run: Run, city_folder: Path, context_weights: Path, tmp_path: Path
) -> None:
    bare = without(city_folder, tmp_path / "bare.zarr", "users", "poi", "residents")
    asked = ("--weights", context_weights, "--samples", 2)
    said = run("forecast", bare, *asked, "--out", tmp_path / "f.zarr")
    assert "context none: no layer; less than the past asked for" in said.out.splitlines()
    said = run("generate", bare, *asked, "--area", "0:2,0:2", "--out", tmp_path / "g.zarr")
    assert "context none: no layer; less than the full asked for" in said.out.splitlines()


def test_full_context_without_users_falls_back_to_the_layers_there_are(
    run: Run, city_folder: Path, context_weights: Path, tmp_path: Path
) -> None:
    city = without(city_folder, tmp_path / "no-users.zarr", "users")
    asked = ("forecast", city, "--weights", context_weights, "--samples", 2, "--out", tmp_path / "f.zarr")
    said = run(*asked, "--context", "full")
    assert said.code == 0, said.err
    assert "context past: poi, residents; less than the full asked for" in said.out.splitlines()


def test_assumed_users_are_used_and_change_the_forecast(
    run: Run, city_folder: Path, context_weights: Path, tmp_path: Path
) -> None:
    asked = ("forecast", city_folder, "--weights", context_weights, "--samples", 2, "--horizon", 20)
    for factor in (0.5, 2):
        said = run(*asked, "--context", "full", "--assume-users", factor, "--out", tmp_path / f"{factor}.zarr")
        assert said.code == 0, said.err
        assert "context full: users, poi, residents" in said.out.splitlines()
    few, many = (Forecast.open(tmp_path / f"{factor}.zarr") for factor in (0.5, 2))
    assert few.attrs["context"] == many.attrs["context"] == "full"
    assert few.samples.values.mean() < many.samples.values.mean()


class Test_assumed_users_that_cannot_be:
    def check(self, run: Run, *arguments: object, says: str) -> None:
        said = run("forecast", *arguments)
        assert said.code == 2 and said.out == "", said
        assert said.err.startswith("fomo: ") and said.err.count("\n") == 1, said.err
        assert says in said.err

    def test_full_context_without_them(
        self, run: Run, city_folder: Path, context_weights: Path, tmp_path: Path
    ) -> None:
        asked = (city_folder, "--weights", context_weights, "--out", tmp_path / "f.zarr", "--context", "full")
        self.check(run, *asked, says="--assume-users 1.2 for last week's times 1.2, or take --context past")

    @pytest.mark.parametrize("context", ["none", "past"])
    def test_with_another_context(self, run: Run, city_folder: Path, tmp_path: Path, context: str) -> None:
        asked = (city_folder, "--out", tmp_path / "f.zarr", "--context", context, "--assume-users", 1.2)
        self.check(run, *asked, says="assumed users are used with --context full only")

    @pytest.mark.parametrize("factor", [0, -1, "nan"])
    def test_a_factor_that_is_none(self, run: Run, city_folder: Path, tmp_path: Path, factor: object) -> None:
        asked = (city_folder, "--out", tmp_path / "f.zarr", "--context", "full", "--assume-users", factor)
        self.check(run, *asked, says="a factor above 0")

    def test_a_city_without_users(self, run: Run, city_folder: Path, tmp_path: Path) -> None:
        city = without(city_folder, tmp_path / "no-users.zarr", "users")
        asked = (city, "--out", tmp_path / "f.zarr", "--context", "full", "--assume-users", 1.2)
        self.check(run, *asked, says="'small' has no users; import them, or take --context past")

    def test_less_than_a_week_of_users(self, run: Run, tmp_path: Path) -> None:
        city = fomo.save_city(fomo.synthetic_city("brief", 4, 4, days=6), tmp_path / "brief.zarr")
        asked = (city, "--out", tmp_path / "f.zarr", "--context", "full", "--assume-users", 1.2)
        self.check(run, *asked, says="'brief' has no full week of users to start from")

    def test_users_that_were_never_recorded(self, run: Run, city_folder: Path, tmp_path: Path) -> None:
        city = fomo.open_city(city_folder)
        city["users"][:] = np.nan
        silent = fomo.save_city(city, tmp_path / "silent.zarr")
        asked = (silent, "--out", tmp_path / "f.zarr", "--context", "full", "--assume-users", 1.2)
        self.check(run, *asked, says="'small' has no users; import them, or take --context past")


class Test_users_that_last_week_lacks:
    """One missing value once refused the whole city, and so did one cell without a counter of users."""

    def assumed(self, city: fomo.City, horizon: int = 20) -> tuple[np.ndarray, list[str]]:
        asked = ForecastOptions(horizon=horizon, context="full", assume_users=2.0)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            ahead = _assumed(city, asked.horizon, asked.context, asked.assume_users)
        assert ahead is not None
        return ahead, [str(one.message) for one in said]

    def test_are_those_of_an_earlier_week_or_the_mean_of_their_hour_or_not_known(self) -> None:
        city = fomo.synthetic_city("town", 4, 4, days=16)
        users, week = city["users"].values, 7 * 24
        first = len(users) - week  # last week's hour of the first asked step
        users[first + 3, 1, 1] = np.nan
        users[[first + 4, first + 4 - week], 1, 1] = np.nan
        users[:, 2, 3] = np.nan
        ahead, said = self.assumed(city)
        np.testing.assert_allclose(ahead[3, 1, 1], 2 * users[first + 3 - week, 1, 1])
        np.testing.assert_allclose(ahead[4, 1, 1], 2 * np.nanmean(users[4::24, 1, 1]), rtol=1e-6)
        assert np.isnan(ahead[:, 2, 3]).all() and np.isnan(ahead).sum() == 20
        whole = np.isfinite(users[first : first + 20])
        np.testing.assert_allclose(ahead[whole], 2 * users[first : first + 20][whole])
        assert said == [
            "the users of last week are missing at 22 of 320 values of 'town': taken are 1 of the same hour of an "
            "earlier week and 1 means of that time of day; 20 stay unknown"
        ]

    def test_of_squares_that_are_not_in_service_then_are_not_counted(self) -> None:
        city = fomo.synthetic_city("town", 4, 4, days=16)
        city["users"].values[-24:, 2, 3] = city["traffic"].values[-24:, 2, 3] = np.nan
        day = city["time"].values[-1].astype("datetime64[D]")
        served = {"first_served": np.full((4, 4), np.datetime64("NaT", "D")), "last_served": None}
        served["last_served"] = served["first_served"].copy()
        served["last_served"][2, 3] = day - 1
        city = city.assign({name: (("y", "x"), value.astype("datetime64[ns]")) for name, value in served.items()})
        city["users"].values[len(city["time"]) - 7 * 24, [1, 2], [1, 3]] = np.nan
        _, said = self.assumed(city)
        assert len(said) == 1 and "missing at 1 of 300 values of 'town'" in said[0]

    def test_of_a_horizon_beyond_a_week_repeat_it(self) -> None:
        city = fomo.synthetic_city("town", 4, 4, days=8)
        city["users"].values[24 + 5, 0, 0] = np.nan
        ahead, said = self.assumed(city, 7 * 24 + 10)
        np.testing.assert_array_equal(ahead[:10], ahead[7 * 24 :])
        assert np.isfinite(ahead).all() and len(said) == 1 and "missing at 2 of" in said[0]

    def test_where_nothing_is_missing_nothing_is_said(self) -> None:
        city = fomo.synthetic_city("town", 4, 4, days=8)
        ahead, said = self.assumed(city)
        np.testing.assert_allclose(ahead, 2 * city["users"].values[24:44])
        assert said == []

    def test_cells_that_are_not_covered_lack_nothing(self) -> None:
        city = fomo.synthetic_city("town", 4, 4, days=8)
        for name in ("traffic", "users"):
            city[name].values[:, 0, 1] = np.nan
        city["covered"].values[0, 1] = False
        ahead, said = self.assumed(city)
        assert np.isnan(ahead[:, 0, 1]).all() and said == []

    def test_are_said_in_one_line_and_the_city_is_forecast(
        self, run: Run, city_folder: Path, context_weights: Path, tmp_path: Path
    ) -> None:
        city = fomo.open_city(city_folder)
        city["users"][:, 1, 1] = np.nan
        city["users"][-7 * 24 + 3, 2, 2] = np.nan
        holed = fomo.save_city(city, tmp_path / "holed.zarr")
        asked = (holed, "--weights", context_weights, "--samples", 2, "--horizon", 60, "--out", tmp_path / "f.zarr")
        said = run("forecast", *asked, "--context", "full", "--assume-users", 1.2)
        assert said.code == 0, said.err
        assert "context full: users, poi, residents" in said.out.splitlines()
        assert said.err.count("\n") == 1 and "missing at 61 of 1,200 values of 'small'" in said.err
        assert np.isfinite(Forecast.open(tmp_path / "f.zarr").samples.values).all()


def test_a_forecast_named_as_a_city_is_explained(run: Run, city_folder: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.zarr"
    assert run("forecast", city_folder, "--weights", weights, "--samples", 2, "--horizon", 5, "--out", out).code == 0
    said = run("forecast", out, "--weights", weights, "--out", tmp_path / "again.zarr")
    assert said.code == 2 and said.err.count("\n") == 1
    assert f"{out} is a forecast, not a city: name the city that it was made from" in said.err


def test_a_figure_of_a_generated_area_with_gaps_says_nothing_and_names_its_layers(
    run: Run, city_folder: Path, context_weights: Path, tmp_path: Path
) -> None:
    city = fomo.open_city(city_folder)
    city["traffic"][np.arange(4) + 3, 0, np.arange(4)] = np.nan
    gaps = fomo.save_city(city, tmp_path / "gaps.zarr")
    asked = ("generate", gaps, "--weights", context_weights, "--area", "0:2,0:2", "--layers", "poi", "--samples", 2)
    said = run(*asked, "--out", tmp_path / "g.zarr", "--figure", tmp_path / "g.png")
    assert said.code == 0 and said.err == ""


@pytest.mark.parametrize("layers", [("poi",), ("residents", "users")])
def test_only_the_layers_asked_for_are_used(
    run: Run, city_folder: Path, context_weights: Path, tmp_path: Path, layers: tuple[str, ...]
) -> None:
    asked = ("generate", city_folder, "--weights", context_weights, "--area", "1:3,0:2", "--samples", 2)
    said = run(*asked, "--layers", *layers, "--out", tmp_path / "g.zarr")
    assert said.code == 0, said.err
    used = ", ".join(sorted(layers, key=("users", "poi", "residents").index))
    assert Forecast.open(tmp_path / "g.zarr").attrs["context_layers"] == used
    assert any(line.split(": ", 1)[1].split(";")[0] == used for line in said.out.splitlines() if "context" in line)


@pytest.mark.parametrize("gaps", [True, False])
def test_users_that_are_known_here_and_there_are_not_said_to_be_known(
    run: Run, city_folder: Path, context_weights: Path, tmp_path: Path, gaps: bool
) -> None:
    city = fomo.open_city(city_folder)
    if gaps:
        city["users"][20:, :2, :2] = np.nan
    file = fomo.save_city(city, tmp_path / "some.zarr")
    asked = ("generate", file, "--weights", context_weights, "--area", "0:2,0:2", "--samples", 2)
    said = run(*asked, "--out", tmp_path / "g.zarr")
    assert said.code == 0, said.err
    share = 20 / city.sizes["time"]
    told = f"context full: users (known at {share:.0%} of the asked values), poi, residents"
    assert (told in said.out) == gaps and ("context full: users, poi, residents" in said.out) != gaps
    attrs = Forecast.open(tmp_path / "g.zarr").attrs
    assert attrs.get("users_known") == (pytest.approx(share) if gaps else None)


def test_a_layer_that_does_not_exist_is_explained(run: Run, city_folder: Path) -> None:
    said = run("generate", city_folder, "--area", "1:3,0:2", "--layers", "weather")
    assert said.code == 2 and "residents" in said.err + said.out


def test_past_context_of_a_generated_area_leaves_its_users_out(
    run: Run, city_folder: Path, context_weights: Path, tmp_path: Path
) -> None:
    asked = ("generate", city_folder, "--weights", context_weights, "--area", "1:3,0:2", "--samples", 2)
    said = run(*asked, "--context", "past", "--out", tmp_path / "g.zarr")
    assert "context past: poi, residents" in said.out.splitlines(), said


def test_a_whole_city_without_traffic_is_generated_from_its_poi(
    run: Run, city_folder: Path, context_weights: Path, weights: Path, tmp_path: Path
) -> None:
    city = fomo.open_city(city_folder).drop_vars(["users", "residents"]).isel(time=slice(0, 72))
    city["traffic"][:] = np.nan
    silent = fomo.save_city(city, tmp_path / "silent.zarr")
    asked = ("generate", silent, "--area", "0:4,0:5", "--samples", 3, "--out", tmp_path / "g.zarr")
    said = run(*asked, "--weights", context_weights, "--csv", tmp_path / "g.csv", "--figure", tmp_path / "g.png")
    assert said.code == 0, said.err
    assert "context past: poi; less than the full asked for" in said.out.splitlines()
    found = Forecast.open(tmp_path / "g.zarr")
    assert found.asked.values.all() and found.samples.shape == (3, 72, 4, 5)
    assert np.isfinite(found.samples.values).all() and found.samples.values.min() >= 0
    for options in (("--weights", weights), ("--weights", context_weights, "--context", "none")):
        said = run(*asked, *options)
        assert said.code == 2 and said.err.count("\n") == 1
        assert "give some cells with traffic, or users, POI or residents" in said.err


def test_a_whole_measured_city_is_generated_in_shares_and_that_is_said(
    run: Run, city_folder: Path, context_weights: Path, tmp_path: Path
) -> None:
    """As if it had no history, so without a scale; amounts were called GB."""
    made, table, out = tmp_path / "g.zarr", tmp_path / "g.csv", tmp_path / "o"
    asked = ("generate", city_folder, "--weights", context_weights, "--samples", 3, "--out", made, "--csv", table)
    said = run(*asked, "--area", "0:4,0:5")
    assert said.code == 0 and "values [share of full traffic] in" in said.out
    assert "1 is full traffic, whatever that is here: nothing is recorded beside what was asked for" in said.out
    assert ",share of full traffic\n" in table.read_text(encoding="utf-8")
    said = run("plan", "deploy", "--forecast", made, "--stations", 3, "--out", out)
    assert said.code == 0 and "[share of full traffic]" in (out / "plan.html").read_text(encoding="utf-8")
    said = run("verify", city_folder, "--forecast", made)
    assert said.code == 2 and "its unit is 'share of full traffic', that of the city 'GB per period'" in said.err
    said = run(*asked, "--area", "0:4,0:4")
    assert said.code == 0 and "values [GB per period] in" in said.out and "1 is full traffic" not in said.out


def test_filling_uses_the_context_too(run: Run, context_weights: Path, tmp_path: Path) -> None:
    saved = fomo.save_city(fomo.synthetic_city("gaps", 4, 4, days=4, missing=0.1), tmp_path / "gaps.zarr")
    said = run("fill", saved, "--weights", context_weights, "--samples", 2, "--out", tmp_path / "f.zarr")
    assert said.code == 0, said.err
    known = Forecast.open(tmp_path / "f.zarr").attrs["users_known"]  # users have gaps of their own
    assert f"context full: users (known at {known:.0%} of the asked values), poi, residents" in said.out.splitlines()


def test_a_past_too_short_to_be_asked_is_said(run: Run, weights: Path, tmp_path: Path) -> None:
    fomo.save_city(fomo.synthetic_city(height=3, width=3, days=3), tmp_path / "short.zarr")
    said = run("forecast", tmp_path / "short.zarr", "--weights", weights, "--samples", 2, "--out", tmp_path / "f.zarr")
    assert "too little past before the steps looked back on to ask it what is asked now" in said.out


def test_a_longer_history_than_a_window_holds_is_said_and_leaves_a_past(
    run: Run, city_folder: Path, weights: Path, tmp_path: Path
) -> None:
    """All of it in one window left no past to be judged by."""
    asked = ("forecast", city_folder, "--weights", weights, "--samples", 2, "--out", tmp_path / "f.zarr")
    said, usual = run(*asked, "--history", 100_000), run(*asked)
    assert said.code == 0, said.err
    assert "a history of 100000 steps is more than the 48 that a window of 64 leaves" in said.err
    assert "of its past" in said.out and said.out.splitlines()[1:] == usual.out.splitlines()[1:]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--out", "f.zarr", "--csv", "t.csv", "--totals", "t.csv"), "t.csv is named for two results"),
        (("--out", "f.csv", "--csv", "./f.csv"), "f.csv is named for two results"),
        (("--out", "f.csv", "--csv", "../{here}/f.csv"), "f.csv is named for two results"),
        (("--out", "f.zarr", "--csv", "counters.csv"), "counters.csv exists and is no table of a forecast"),
        (("--out", "{city}/f.zarr"), "is a city or a forecast, no place for results"),
        (("--out", "f.zarr", "--totals", "counters.csv"), "counters.csv exists and is no totals of a forecast"),
    ],
)
def test_no_result_takes_the_place_of_another_or_of_a_table_that_is_none_of_ours(
    run: Run, city_folder: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options, says
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counters.csv").write_text("cell,time,traffic,row,col,unit\na,2024-01-01T00:00,1,0,0,GB\n")
    options = [option.format(here=tmp_path.name, city=city_folder) for option in options]
    said = run("forecast", city_folder, "--weights", weights, "--samples", 2, "--horizon", 2, *options)
    assert said.code == 2 and says in said.err and said.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["counters.csv"]
    again = ("--out", "f.zarr", "--csv", "t.csv", "--totals", "s.parquet")
    for _ in range(2):  # its own tables are replaced
        assert run("forecast", city_folder, "--weights", weights, "--samples", 2, "--horizon", 2, *again).code == 0


def test_a_forecast_is_told_the_days_off_of_a_country(
    run: Run, city_folder: Path, weights: Path, tmp_path: Path
) -> None:
    city = fomo.open_city(city_folder)  # a week from 18 December, so the asked steps begin on Christmas
    dated = city.assign_coords(time=city["time"].values + (np.datetime64("2024-12-25") - city["time"].values[-1]))
    dated = dated.assign_coords(time=dated["time"].values - np.timedelta64(1, "h"))
    folder = fomo.save_city(dated, tmp_path / "december.zarr")
    asked = ("forecast", folder, "--weights", weights, "--horizon", 30, "--samples", 4)
    plain = run(*asked, "--out", tmp_path / "plain.zarr")
    told = run(*asked, "--out", tmp_path / "told.zarr", "--days-off", "IT")
    assert plain.code == told.code == 0, told.err
    assert "days off" not in plain.out
    assert "days off in the asked time: 2024-12-25, 2024-12-26" in told.out
    found = {name: Forecast.open(tmp_path / f"{name}.zarr") for name in ("plain", "told")}
    assert found["told"].attrs["days_off"] == "2024-12-25, 2024-12-26" and "days_off" not in found["plain"].attrs
    assert np.abs(found["told"].samples.values - found["plain"].samples.values).max() > 0
    elsewhere = run(*asked, "--out", tmp_path / "elsewhere.zarr", "--days-off", "CN")
    assert "days off in the asked time: none" in elsewhere.out


@pytest.mark.parametrize(
    ("where", "message"),
    [("Atlantis", "no public holidays are known of 'Atlantis'"), ("days.csv", "cannot read days off from days.csv")],
)
def test_days_off_of_nowhere_are_explained(
    run: Run, city_folder: Path, weights: Path, tmp_path: Path, where: str, message: str
) -> None:
    said = run("forecast", city_folder, "--weights", weights, "--days-off", where, "--out", tmp_path / "f.zarr")
    assert said.code != 0 and message in said.err
    assert not (tmp_path / "f.zarr").exists()
