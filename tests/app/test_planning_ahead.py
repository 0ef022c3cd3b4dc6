"""Plans of a saved forecast: what they rest on, what they say of it, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.text import Text

import fomo
from fomo.app.service.planning.ahead import Ahead, open_both, prb_ahead, sleep_ahead, write_ahead
from fomo.app.service.planning.allocating import PrbSetting
from fomo.app.service.planning.sleeping import SleepSetting
from fomo.city import City, make_city, save_city
from fomo.forecast import Forecast, make_forecast
from fomo.planning.channel import ChannelParameters
from fomo.planning.energy import EnergyModel
from fomo.planning.load import PlanError
from fomo.planning.scheduling_play import play_prb
from fomo.planning.sleep import SleepParameters

SLEEP = SleepSetting(SleepParameters(), EnergyModel())
PRB = PrbSetting(ChannelParameters())
DAYS, AHEAD, MEMBERS = 9, 6, 8


def town(height: int = 4, width: int = 4, **named: Any) -> City:
    """Nine days of hours, and the hours to come."""
    random = np.random.default_rng(0)
    steps = DAYS * 24 + AHEAD
    day = 1.3 + np.sin(2 * np.pi * (np.arange(steps) - 9) / 24)
    traffic = random.lognormal(0, 0.5, (height, width)) * random.lognormal(0, 0.2, (steps, height, width))
    named = {"name": "town", "start": "2024-03-04", "step_minutes": 60, "unit": "GB per 60 min"} | named
    return make_city(day[:, None, None] * traffic, **named)


def past(city: City) -> City:
    """What was recorded before the hours to come."""
    return city.isel(time=slice(-AHEAD))


def forecast_of(city: City, factor: float = 1.0, forecaster: str = "FoMo") -> Forecast:
    """Members around what the last hours of a city will carry."""
    window = city.isel(time=slice(-AHEAD, None))
    spread = np.random.default_rng(1).lognormal(0, 0.3, (MEMBERS, *window["traffic"].shape)) * factor
    members = (window["traffic"].values * spread).astype(np.float32)
    return make_forecast(members, np.isfinite(members[0]), window, forecaster=forecaster, provenance={"weights": "x"})


def with_traffic(city: City, change: Any) -> City:
    """The city with its values changed."""
    values = city["traffic"].values.copy()
    change(values)
    return city.assign(traffic=(city["traffic"].dims, values))


def with_gaps(city: City, share: float) -> City:
    """Some values, anywhere, were not recorded."""
    lost = np.random.default_rng(2).random(city["traffic"].shape) < share
    return with_traffic(city, lambda values: np.place(values, lost, np.nan))


def without_cell(city: City, row: int, column: int, periods: slice) -> City:
    """A cell was not recorded in some periods."""

    def change(values: np.ndarray) -> None:
        values[periods, row, column] = np.nan

    return with_traffic(city, change)


def capacities(found: Ahead) -> np.ndarray:
    return found.table["rru_capacity"].to_numpy()


def words(figure: Any) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_the_gaps_of_a_cell_do_not_touch_the_hardware_of_the_others() -> None:
    """Only periods recorded in all cells counted: with 2 % of gaps the hardware of a city shrank by a fifth."""
    city = town(8, 8)
    full = sleep_ahead(forecast_of(city), past(city), SLEEP)
    one = sleep_ahead(forecast_of(city), without_cell(past(city), 0, 0, slice(0, 5 * 24)), SLEEP)
    others = ((full.table["row"] > 0) | (full.table["column"] > 0)).to_numpy()
    np.testing.assert_array_equal(capacities(one)[others], capacities(full)[others])
    some = sleep_ahead(forecast_of(city), with_gaps(past(city), 0.1), SLEEP)
    assert capacities(some).mean() > 0.97 * capacities(full).mean()


def test_a_cell_with_a_few_hours_on_record_is_named() -> None:
    city = town()
    some = without_cell(past(city), 2, 1, slice(0, -5))
    with pytest.raises(PlanError, match=r"1 of 16 cells .* too few .* row 2, column 1 \(5 periods\): it takes 24"):
        sleep_ahead(forecast_of(city), some, SLEEP)
    with pytest.raises(PlanError, match=r"^5 of 216 periods .* all 16 cells.* row 2, column 1 \(211 missing\)"):
        prb_ahead(forecast_of(city), some, PRB)


def test_blocks_rest_on_the_periods_that_all_cells_recorded_and_that_is_said() -> None:
    city = town()
    full = prb_ahead(forecast_of(city), past(city), PRB)
    some = prb_ahead(forecast_of(city), with_gaps(past(city), 0.02), PRB)
    assert not any("all cells of a server" in remark for remark in full.remarks)
    assert any("all cells of a server recorded: of town that is 7" in remark for remark in some.remarks)
    assert some.table.height == full.table.height == 16 * AHEAD


def test_neither_a_citys_name_nor_a_channel_that_nobody_knows_changes_its_plan() -> None:
    """A renamed city got 119 blocks instead of 41: each cell's mean channel was drawn by the name."""
    louder = replace(PRB, channel=ChannelParameters(signal_to_noise_db=20.0))
    tables = [
        prb_ahead(forecast_of(city), past(city), setting).table.drop("server")
        for city, setting in ((town(), PRB), (town(name="renamed"), PRB), (town(), louder))
    ]
    assert tables[0].equals(tables[1])
    assert tables[0]["prbs"].to_list() == tables[2]["prbs"].to_list()


def test_the_blocks_of_a_server_and_what_was_assumed_are_said(tmp_path: Path) -> None:
    city = town(4, 8)
    found = prb_ahead(forecast_of(city), past(city), PRB)
    slots = found.table.group_by("server", "time").agg(pl.col("prbs").sum(), pl.col("server_prbs").first())
    assert slots["prbs"].to_list() == slots["server_prbs"].to_list()
    budgets = sorted(slots["server_prbs"].unique().to_list())
    assert len(budgets) == 2 and f"share out {budgets[0]} to {budgets[1]} blocks" in found.summary[0]
    write_ahead(found, [], tmp_path / "o")
    page = (tmp_path / "o" / "plan.html").read_text(encoding="utf-8")
    assert "one mean channel for all cells, 50 blocks for a mean slot of a cell" in page and "server_prbs" in page


def test_files_that_only_an_earlier_plan_had_are_gone(tmp_path: Path) -> None:
    """They would seem to be of this plan."""
    city = town(4, 6)
    found = sleep_ahead(forecast_of(city), past(city), SLEEP)
    first = write_ahead(replace(found, cells=found.table), [], tmp_path)
    assert {path.name for path in first} >= {"plan-cells.csv", "plan-cells.parquet", "plan.png"}
    second = write_ahead(replace(found, figure=None), [], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in second}
    assert {path.name for path in second} == {"plan.csv", "plan.parquet", "plan.html"}


def test_the_expected_delay_is_that_of_the_members_not_of_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues grow with what is above the mean: the delay of the mean load is too short."""
    from fomo.app.service.planning import ahead

    delays: list[tuple[float, int]] = []

    def played(*given: Any) -> Any:
        outcome = play_prb(*given)
        delays.append((outcome.mean_delay_slots, outcome.prbs.shape[1]))
        return outcome

    monkeypatch.setattr(ahead, "play_prb", played)
    city = town(4, 6)  # a server of 16 cells, one of 8
    found = prb_ahead(forecast_of(city, factor=3.5), past(city), PRB)
    servers = np.array(delays).reshape(2, 1 + MEMBERS, 2)
    expected = np.average(servers[:, 1:, 0].mean(1), weights=servers[:, 0, 1])
    assert f"Expected delay: {expected:.2f} slots" in found.summary[2]
    assert expected > servers[:, 0, 0].mean()


def test_with_a_limit_on_risk_the_table_has_what_is_held_to_it_beside_the_share_of_members() -> None:
    """With --risk the column of the probability said at least 4.8 % of a plan that no member overloads."""
    city = town()
    free = sleep_ahead(forecast_of(city), past(city), SLEEP)
    held = sleep_ahead(forecast_of(city), past(city), replace(SLEEP, parameters=SleepParameters(risk=0.2)))
    assert "overload_at_most" not in free.table.columns
    share, at_most = (held.table[name].to_numpy() for name in ("overload_probability", "overload_at_most"))
    np.testing.assert_allclose(at_most, (MEMBERS * share + 1) / (MEMBERS + 1))
    assert share.min() == 0 and f"period at {share.mean():.1%} in the mean" in held.summary[2]
    assert f"vouch for {at_most.mean():.1%} at most (overload_at_most in plan.csv)" in held.summary[2]
    assert "which is held to 20.0% in each cell and period" in held.summary[2]
    assert any("8 members keep to 11.1% at best" in line and "--samples 9 or more" in line for line in held.remarks)
    assert not any("at best" in line for line in free.remarks)


def test_what_nobody_carries_is_no_energy_saved() -> None:
    """Against all units awake that were said to carry three times what they can, sleep seemed to save a half."""
    city = town()
    dear = replace(SLEEP, parameters=SleepParameters(qos_cost=1000.0))
    found = sleep_ahead(forecast_of(city, factor=20.0), past(city), dear)
    assert found.table["sleeping_rrus"].max() == 0
    assert "saves 0% of the energy" in found.summary[1]


def test_a_cell_alone_in_its_square_is_run_by_the_nearest_server() -> None:
    city = town(4, 9)

    def change(values: np.ndarray) -> None:
        values[:, 1:, 8] = 0

    city = with_traffic(city, change)
    found = prb_ahead(forecast_of(city), past(city), PRB)
    assert found.table.height == 33 * AHEAD
    alone = found.table.filter(pl.col("column") == 8)
    assert alone["row"].unique().to_list() == [0] and alone["server"].unique().to_list() == ["town [0,1]"]


def test_cells_that_carried_traffic_and_are_not_forecast_are_named() -> None:
    city = town()
    some = forecast_of(without_cell(city, 3, 2, slice(-AHEAD, None)))
    for plan, setting in ((sleep_ahead, SLEEP), (prb_ahead, PRB)):
        with pytest.raises(PlanError, match=r"1 of 16 cells of 'town' .* not forecast, row 3, column 2"):
            plan(some, past(city), setting)  # type: ignore[operator]


def test_planned_periods_in_the_history_do_not_enter_the_plan() -> None:
    """Hardware was there before the plan: what the planned hours carried cannot have made it."""
    city = town()
    later = with_traffic(city, lambda values: np.multiply(values[-AHEAD:], 50, out=values[-AHEAD:]))
    for plan, setting in ((sleep_ahead, SLEEP), (prb_ahead, PRB)):
        tables = [plan(forecast_of(city), each, setting).table for each in (past(city), later)]  # type: ignore[operator]
        assert tables[0].equals(tables[1])
    with pytest.raises(PlanError, match="no record from before the forecast's first period"):
        sleep_ahead(forecast_of(city), city.isel(time=slice(-AHEAD, None)), SLEEP)


def test_a_forecast_in_another_unit_than_the_history_is_refused(tmp_path: Path) -> None:
    city = town()
    forecast_of(city).save(tmp_path / "next.zarr")
    fomo.save_city(past(town(unit="MB per 60 min")), tmp_path / "town.zarr")
    with pytest.raises(PlanError, match=r"is in GB per 60 min, .* in MB per 60 min"):
        open_both(tmp_path / "next.zarr", tmp_path / "town.zarr")
    fomo.save_city(past(city), tmp_path / "same.zarr")
    open_both(tmp_path / "next.zarr", tmp_path / "same.zarr")


def test_where_dates_are_made_up_a_plan_has_weekdays() -> None:
    city = town(calendar="weekday", time_zone="Asia/Shanghai")
    for plan, setting in ((sleep_ahead, SLEEP), (prb_ahead, PRB)):
        found = plan(forecast_of(city), past(city), setting)  # type: ignore[operator]
        assert "2024" not in found.table.write_csv() + " ".join([*found.summary, *found.remarks])
        first = found.table.row(0, named=True)
        assert (first["period"], first["weekday"], first["time"]) == (1, "Wednesday", "00:00")
        assert "Wednesday 00:00 to Wednesday 05:00" in found.summary[0]
        assert "Times are local, Asia/Shanghai." in found.remarks
        assert "Mar" not in words(found.figure)


def test_pictures_name_the_cell_and_the_forecaster() -> None:
    city = town()
    busiest = int(past(city)["traffic"].values[-24:].mean(0).argmax())
    asleep = sleep_ahead(forecast_of(city, forecaster="someone's"), past(city), SLEEP)
    row, column = divmod(busiest, 4)
    assert f"Row {row}, column {column}, the busiest" in words(asleep.figure)
    blocks = words(prb_ahead(forecast_of(city, forecaster="someone's"), past(city), PRB).figure)
    assert "planned by someone's, town" in blocks and "FoMo" not in blocks


def test_the_picture_of_blocks_has_the_sums_of_the_table() -> None:
    """'Data that wait, all cells' showed one of twenty servers."""
    city = town(4, 9)
    found = prb_ahead(forecast_of(city, factor=3.0), past(city), PRB)
    slots = found.table.group_by("time").agg(pl.col("backlog_mean_slots", "prbs").sum(), pl.col("delay_slots").mean())
    slots = slots.sort("time")
    axes = found.figure.get_axes()  # type: ignore[union-attr]
    waiting, delay, given = (np.asarray(each.lines[0].get_ydata()) for each in axes[:3])
    budget = np.asarray(axes[2].lines[1].get_ydata())
    assert slots["backlog_mean_slots"].max() > 0
    np.testing.assert_allclose(waiting, slots["backlog_mean_slots"].to_numpy())
    np.testing.assert_allclose(delay, slots["delay_slots"].to_numpy())
    np.testing.assert_allclose(given[:-1], slots["prbs"].to_numpy())
    servers = found.table.unique("server")
    assert budget[0] == servers["server_prbs"].sum()
    said = words(found.figure)
    assert "Data that wait, sum of 36 cells" in said and f"planned by FoMo, {servers.height} servers" in said


def test_a_busy_share_that_leaves_too_few_blocks_names_its_option() -> None:
    city = town()
    with pytest.raises(PlanError, match="lower --busy-share"):
        prb_ahead(forecast_of(city), past(city), replace(PRB, busy_share=200.0))


def with_stations(city: City, columns: slice) -> City:
    """Stations stand in some columns of the grid only, three in each square, as `fomo city build` says."""
    stations = np.zeros((city.sizes["y"], city.sizes["x"]), np.float32)
    stations[:, columns] = 3
    return city.assign(stations=(("y", "x"), stations))


def test_squares_without_a_station_are_counted_and_told_apart_in_the_table() -> None:
    """Four of five squares of an operator's city had no station, and no file of its plan said so."""
    city, words = town(4, 4), "12 of 16 squares have no station: their traffic is served from neighbouring ones"
    for plan, setting in ((sleep_ahead, SLEEP), (prb_ahead, PRB)):
        some = plan(forecast_of(city), with_stations(past(city), slice(0, 1)), setting)  # type: ignore[operator]
        assert any(words in remark and "--method point" in remark for remark in some.remarks)
        counted = some.table.group_by("column").agg(pl.col("stations").unique().first()).sort("column")
        assert counted["stations"].to_list() == [3, 0, 0, 0]
        every = plan(forecast_of(city), with_stations(past(city), slice(None)), setting)  # type: ignore[operator]
        plain = plan(forecast_of(city), past(city), setting)  # type: ignore[operator]
        assert not any("no station" in remark for remark in every.remarks + plain.remarks)
        assert every.table.drop("stations").equals(plain.table) and "stations" not in plain.table.columns


def placed(city: City) -> City:
    """The city with the places of its squares, of which one is not known."""
    lon, lat = np.meshgrid(9 + 0.01 * np.arange(city.sizes["x"]), 45 + 0.02 * np.arange(city.sizes["y"]))
    lon[0, 1] = lat[0, 1] = np.nan
    return city.assign_coords(lon=(("y", "x"), lon), lat=(("y", "x"), lat))


@pytest.mark.parametrize(("plan", "setting"), [(sleep_ahead, SLEEP), (prb_ahead, PRB)])
def test_a_plan_says_where_its_squares_lie_where_the_forecast_or_the_city_knows_it(plan: Any, setting: object) -> None:
    """Rows and columns of a grid send nobody to a site."""
    city = town()
    nowhere = plan(forecast_of(city), past(city), setting).table
    by_forecast = plan(forecast_of(placed(city)), past(city), setting).table
    by_history = plan(forecast_of(city), placed(past(city)), setting).table
    assert by_forecast.equals(by_history) and not {"lon", "lat"} & set(nowhere.columns)
    assert by_forecast.drop("lon", "lat").equals(nowhere)
    after = by_forecast.get_column_index("column")
    assert by_forecast.columns[after + 1 : after + 3] == ["lon", "lat"]
    for row, column, lon, lat in by_forecast.select("row", "column", "lon", "lat").iter_rows():
        known = (row, column) != (0, 1)
        assert (lon, lat) == ((9 + 0.01 * column, 45 + 0.02 * row) if known else (None, None))
    both = plan(forecast_of(placed(city)), with_stations(past(city), slice(None)), setting).table
    assert both.columns[after + 1 : after + 4] == ["lon", "lat", "stations"]


def test_hardware_is_not_dimensioned_by_a_slip(tmp_path: Path) -> None:
    city = town()
    forecast_of(city).save(tmp_path / "f.zarr")
    save_city(with_traffic(past(city), lambda values: values.__setitem__((5, 1, 1), 1e19)), tmp_path / "c.zarr")
    with pytest.warns(UserWarning, match="taken as not recorded"):
        assert np.isnan(open_both(tmp_path / "f.zarr", tmp_path / "c.zarr")[1]["traffic"].values[5, 1, 1])


def test_a_forecast_of_other_ground_is_refused(tmp_path: Path) -> None:
    city = town()
    forecast_of(city).save(tmp_path / "f.zarr")
    save_city(past(city).assign_coords(x=city["x"] + 50), tmp_path / "moved.zarr")
    with pytest.raises(PlanError, match="lie elsewhere than those of"):
        open_both(tmp_path / "f.zarr", tmp_path / "moved.zarr")
