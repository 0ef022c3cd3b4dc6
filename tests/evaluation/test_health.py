"""A city's health: every number by a second road, every strange thing planted and found in exactly its cell."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import fomo
from fomo.city import CityError, make_city, mock_city
from fomo.evaluation.health import Gap, dead, health_of, records_of, strangest, summary, survey
from fomo.evaluation.health.finite import quantile
from fomo.evaluation.health.grid import traffic_sums
from fomo.evaluation.health.runs import runs

CELLS, DAYS, STEP = 30, 14, 30
PERIODS = DAYS * 48
TIME = np.datetime64("2024-03-04T00:00", "ns") + np.arange(PERIODS) * np.timedelta64(STEP, "m")
HOUR = np.arange(PERIODS) * STEP / 60 % 24
NAMES = [f"cell {number}" for number in range(CELLS)]
PLANTED = 12


def healthy(seed=0):
    """Thirty cells with one rhythm, levels far apart and noise of a third."""
    random = np.random.default_rng(seed)
    rhythm = 1.2 + np.sin(2 * np.pi * (HOUR - 9) / 24)
    noise = random.lognormal(0, 0.3, (PERIODS, CELLS))
    return (rhythm[:, None] * random.lognormal(1, 1, CELLS) * noise).astype(np.float32)


def found(values, **more):
    return strangest(values, NAMES, time=TIME, step_minutes=STEP, **more)


def only(values, kind, **more):
    """The reason of this kind of the planted cell, the one strange cell."""
    strange = found(values, **more)
    assert [(each.cell, each.name) for each in strange] == [(PLANTED, "cell 12")]
    reasons = {reason.kind: reason for reason in strange[0].reasons}
    assert strange[0].reasons[0].kind == kind
    return reasons[kind]


def operator_cells(values, **variables):
    data = {"traffic": (("time", "cell"), values)}
    data |= {name: (("time", "cell"), value) for name, value in variables.items()}
    return xr.Dataset(data, coords={"time": TIME[: len(values)], "cell": NAMES[: values.shape[1]]})


@pytest.mark.parametrize("seed", range(5))
def test_healthy_cells_are_not_strange(seed):
    values = healthy(seed)
    values[np.random.default_rng(seed).random(values.shape) < 0.05] = np.nan
    users = np.ceil(20 * values)
    assert found(values, users=users, state=np.zeros(values.shape, np.uint8)) == ()


@pytest.mark.parametrize("kind", [{}, {"days": 21, "step_minutes": 15}, {"height": 16, "width": 16, "missing": 0.05}])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_synthetic_city_has_few_strange_cells_and_each_of_them_is_true(kind, seed):
    city = fomo.synthetic_city(seed=seed, **kind)
    looked = health_of(city, count=1000)
    assert set(looked.strange) <= {"dead", "spikes"}  # cells without a station, and crowds
    assert len(looked.strangest) <= 0.1 * city.sizes["y"] * city.sizes["x"]
    for strange in looked.strangest:
        series = city["traffic"].values.reshape(city.sizes["time"], -1)[:, strange.cell]
        if strange.reasons[0].kind == "dead":
            assert np.nanmax(series) == 0
        else:
            assert np.nanmax(series) > 10 * np.nanmedian(series)


def test_a_dead_cell():
    values = healthy()
    values[:, PLANTED] = 0
    reason = only(values, "dead")
    assert reason.doubt == pytest.approx(1.0)
    assert "zero all along" in reason.words


def test_a_cell_is_dead_by_its_neighbours_where_places_are_known():
    """Two zero cells: one among busy ones, one in the wild where nobody carries much."""
    values = healthy()
    values[:, :10] *= 100
    values[:, 10:20] *= 1e-4
    values[:, PLANTED] = 0
    values[:, 3] = 0
    places = np.concatenate([np.arange(10.0), 100 + np.arange(10.0), 200 + np.arange(10.0)])
    strange = found(values, positions=np.stack([places, np.zeros(CELLS)], 1))
    assert [each.cell for each in strange] == [3]


def test_the_dead_are_found_where_no_place_is_known():
    values = healthy()
    values[:, PLANTED] = 0
    assert only(values, "dead", positions=np.full((CELLS, 2), np.nan)).doubt == 1


def test_nobody_is_dead_where_nothing_carries():
    assert found(np.zeros((PERIODS, CELLS), np.float32)) == ()


def test_a_cell_that_dies():
    values = healthy()
    values[6 * 48 :, PLANTED] = 0
    reason = only(values, "died")
    assert reason.doubt == pytest.approx(8 / 14, abs=0.01) and "2024-03-10" in reason.words


def test_a_cell_that_is_born():
    values = healthy()
    values[: 9 * 48, PLANTED] *= 0.1
    reason = only(values, "born")
    assert reason.doubt == pytest.approx(9 / 14 * 0.9, abs=0.03) and "2024-03-13" in reason.words
    assert "rises from" in reason.words


def test_offices_do_not_die_at_the_weekend():
    values = healthy()
    weekend = (TIME.astype("datetime64[D]").astype(int) + 3) % 7 >= 5
    values[weekend, PLANTED] *= 0.1
    assert found(values) == ()
    assert strangest(values[: 7 * 48], NAMES, time=TIME[: 7 * 48], step_minutes=STEP) == ()


def test_a_spike_hides_no_death():
    values = healthy()
    values[100, PLANTED] *= 1e5
    values[7 * 48 :, PLANTED] = 0
    assert {"died", "spikes"} <= {reason.kind for reason in found(values)[0].reasons}


def test_a_level_does_not_change_by_half():
    values = healthy()
    values[6 * 48 :, PLANTED] *= 0.4
    assert found(values) == ()


@pytest.mark.parametrize(
    ("hours", "value", "strange"), [(15, 2.5, True), (11, 2.5, False), (25, 0, True), (20, 0, False)]
)
def test_a_stuck_cell(hours, value, strange):
    values = healthy()
    values[100 : 100 + 2 * hours, PLANTED] = value
    if not strange:
        assert found(values) == ()
        return
    reason = only(values, "stuck")
    assert reason.doubt == pytest.approx(2 * hours / PERIODS)
    assert reason.words == f"{value:g} for {hours} h from 2024-03-06 02:00"


def test_a_cell_that_counts_in_coarse_numbers_is_not_stuck():
    values = healthy()
    values[:, PLANTED] = np.where((HOUR >= 6) & (HOUR < 22), 1.0, 0.0)
    assert "stuck" not in {reason.kind for strange in found(values) for reason in strange.reasons}


def test_a_spike():
    values = healthy()
    usual = np.median(values[HOUR[300] == HOUR, PLANTED])
    values[300, PLANTED] = 500 * usual
    reason = only(values, "spikes")
    assert reason.doubt == pytest.approx(500 * usual / values[:, PLANTED].sum(), rel=0.02)
    assert "2024-03-10 06:00" in reason.words and "times its usual" in reason.words


def test_a_value_of_an_otherwise_silent_cell_is_a_spike():
    values = healthy()
    values[:, PLANTED] = 0
    values[300, PLANTED] = 1
    reason = only(values, "spikes")
    assert reason.doubt == pytest.approx(1.0) and "usually 0" in reason.words


def test_a_day_upside_down():
    values = healthy()
    values[:, PLANTED] = np.roll(values[:, PLANTED], 24)
    reason = only(values, "upside down")
    assert reason.doubt > 0.9 and "busiest at 0" in reason.words


def test_a_cell_that_sleeps_from_one_day_on_is_stuck_and_not_upside_down():
    """In a week there are too few weekdays to call it dead, and the medians of its day are made by the outage."""
    week = 7 * 48
    values = healthy()[:week]
    begin = 3 * 48 + 6  # from three at night on: only the hours before have a median
    values[begin:, PLANTED] = 0
    strange = strangest(values, NAMES, time=TIME[:week], step_minutes=STEP)
    assert [(each.cell, [reason.kind for reason in each.reasons]) for each in strange] == [(PLANTED, ["stuck"])]
    assert strange[0].reasons[0].words == "0 for 93 h from 2024-03-07 03:00 until the end"
    assert strange[0].score == pytest.approx((week - begin) / week)


def test_a_cell_that_is_busiest_at_night():
    values = healthy()
    values[:, PLANTED] = (
        np.where((HOUR >= 1) & (HOUR < 4), 5, 1) * values[:, PLANTED] / (1.2 + np.sin((HOUR - 9) / 12 * np.pi))
    )
    assert "busiest at 0" in only(values, "upside down").words


def test_a_cell_that_is_mostly_missing():
    values = healthy()
    values[np.arange(PERIODS) % 4 > 0, PLANTED] = np.nan
    reason = only(values, "missing")
    assert reason.doubt == pytest.approx(0.75) and f"168 of {PERIODS} periods" in reason.words


def test_missing_is_measured_by_what_others_have():
    values = healthy()
    values[200:] = np.nan
    assert found(values) == ()


def test_a_cell_never_recorded():
    values = healthy()
    values[:, PLANTED] = np.nan
    assert only(values, "missing").doubt == 1
    assert health_of(mock_city(), operator_cells(values)).never == 1


@pytest.mark.parametrize(("code", "kind", "times"), [(3, "resets", 3), (2, "suspect", 80)])
def test_what_the_states_say(code, kind, times):
    state = np.zeros((PERIODS, CELLS), np.uint8)
    state[:times, PLANTED] = code
    state[0, 3] = code  # once is not strange
    assert only(healthy(), kind, state=state).doubt == pytest.approx(times / PERIODS)


def test_traffic_without_users():
    values = healthy()
    users = np.ceil(20 * values)
    users[:300, PLANTED] = 0
    share = values[:300, PLANTED].sum() / values[:, PLANTED].sum()
    assert only(values, "no users", users=users).doubt == pytest.approx(share, rel=1e-4)


def test_users_without_traffic():
    values = healthy()
    users = np.ceil(20 * values)
    values[::3, PLANTED] = 0
    reason = only(values, "no traffic", users=users)
    assert reason.doubt == pytest.approx(users[::3, PLANTED].sum() / users[:, PLANTED].sum(), rel=1e-4)
    assert "without traffic" in reason.words


def test_users_that_nobody_counts_are_not_strange():
    assert found(healthy(), users=np.zeros((PERIODS, CELLS), np.float32)) == ()


def test_the_strangest_come_first_and_no_more_than_asked():
    values = healthy()
    values[:, 1] = 0
    values[100:140, 2] = 2.5
    values[np.arange(PERIODS) % 4 > 0, 3] = np.nan
    values[6 * 48 :, 4] = 0
    strange = found(values)
    assert [each.cell for each in strange] == [1, 3, 4, 2]
    assert [each.score for each in strange] == sorted((each.score for each in strange), reverse=True)
    assert [each.cell for each in found(values, count=2)] == [1, 3]
    looked = health_of(mock_city(), operator_cells(values), count=2)
    assert looked.strange == {"dead": 1, "died": 1, "stuck": 1, "missing": 1} and len(looked.strangest) == 2


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=5))
def test_runs_are_those_of_a_loop(rows):
    wanted = []
    for number, row in enumerate(rows):
        at = 0
        for value, group in groupby(row):
            length = len(list(group))
            if value:
                wanted.append((number, at, length))
            at += length
    got = runs(np.array(rows))
    assert list(zip(*(each.tolist() for each in got), strict=True)) == wanted


@given(
    st.lists(st.lists(st.sampled_from([np.nan, 0.0, 1.0, 2.5, 7.0]), min_size=6, max_size=6), min_size=1, max_size=4)
)
def test_quantiles_are_numpys(rows):
    values = np.array(rows)
    count = np.isfinite(values).sum(1)
    for level in (0.25, 0.5, 0.75):
        wanted = [np.quantile(row[np.isfinite(row)], level) if np.isfinite(row).any() else np.nan for row in values]
        np.testing.assert_allclose(quantile(np.sort(values, 1), count, level), wanted)


def gappy_city():
    """From 05:30 on the first day, with gaps and an uncovered cell."""
    random = np.random.default_rng(4)
    values = random.lognormal(0, 1, (170, 3, 4)).astype(np.float32)
    values[random.random(values.shape) < 0.1] = np.nan
    values[40:52] = np.nan
    values[:, 1, 2] = np.nan
    return make_city(values, name="gappy", start="2024-05-03T05:30", step_minutes=30, cell_km=1, unit="GB")


def test_coverage_is_that_of_a_loop():
    city = gappy_city()
    looked = health_of(city)
    known = np.isfinite(city["traffic"].values[:, city["covered"].values])
    time = city["time"].values
    day, hour = time.astype("datetime64[D]"), (time.astype("datetime64[h]").astype(int) % 24)
    assert looked.recorded == pytest.approx(known.mean())
    for at, each in enumerate(np.unique(day)):
        assert looked.by_day[at] == pytest.approx(known[day == each].mean())
        assert looked.by_cell_day[:, at] == pytest.approx(known[day == each].mean(0))
        for number in range(24):
            here = (day == each) & (hour == number)
            wanted = known[here].mean() if here.any() else np.nan
            assert looked.by_day_hour[at, number] == pytest.approx(wanted, nan_ok=True)
    for number in range(24):
        assert looked.by_hour[number] == pytest.approx(known[hour == number].mean())
    assert looked.days_complete == 0 and looked.records.offset == 11


def in_service_only(values, first, last, **more):
    """The operator's cells; the last one begins on the day number `first`, the planted one ends with day `last`."""
    days = TIME[0].astype("datetime64[D]") + np.array([first, last])
    never = np.full(CELLS, np.datetime64("NaT", "ns"))
    begin, end = never.copy(), never.copy()
    begin[-1], end[PLANTED] = days
    return operator_cells(values, **more).assign_coords(first_served=("cell", begin), last_served=("cell", end))


def test_what_is_out_of_service_is_not_missing_and_no_gap_and_no_strange_cell():
    values = healthy()
    values[: 4 * 48, -1] = np.nan
    values[6 * 48 :, PLANTED] = np.nan
    untold = health_of(mock_city(), operator_cells(values))
    assert untold.recorded < 1 and untold.longest.periods == 8 * 48 and untold.strange == {"missing": 1}
    told = health_of(mock_city(), in_service_only(values, 4, 5))
    assert told.recorded == 1 and told.longest is None and told.strangest == () and told.days_complete == DAYS
    assert np.isnan(told.by_cell_day[-1, :4]).all() and np.isnan(told.by_cell_day[PLANTED, 6:]).all()
    assert np.nansum(told.by_cell_day) == np.isfinite(told.by_cell_day).sum() == CELLS * DAYS - 4 - 8
    np.testing.assert_allclose(told.total, np.nansum(values, 1, dtype=float))
    assert told.complete.all()


def test_zeros_out_of_service_are_no_records_and_traffic_is():
    values = healthy()
    values[6 * 48 :, PLANTED] = 0
    states = np.zeros(values.shape, np.uint8)
    untold = health_of(mock_city(), operator_cells(values, state=(states)))
    assert {"died"} <= set(untold.strange)
    told = health_of(mock_city(), in_service_only(values, 0, 5, state=states))
    assert told.strangest == () and told.recorded == 1 and told.states["recorded"] == values.size - 8 * 48
    values[6 * 48 :, PLANTED] = healthy()[6 * 48 :, PLANTED]
    carries = health_of(mock_city(), in_service_only(values, 0, 5))
    np.testing.assert_allclose(carries.total, values.sum(1, dtype=float), rtol=1e-6)
    assert carries.recorded == 1 and np.isfinite(carries.by_cell_day).all()


def test_an_outage_within_the_days_in_service_is_still_missing():
    values = healthy()
    values[6 * 48 :, PLANTED] = np.nan
    values[48 : 5 * 48, PLANTED] = np.nan
    told = health_of(mock_city(), in_service_only(values, 0, 5))
    reason = told.strangest[0].reasons[0]
    assert reason.words == "recorded in 96 of 288 periods, 33.3%" and told.strange == {"missing": 1}
    assert (told.longest.begin, told.longest.periods, told.longest.first) == (TIME[48], 4 * 48, "cell 12")
    expected = values.size - 8 * 48
    assert told.recorded == pytest.approx(1 - 4 * 48 / expected)
    assert told.by_period[48] == pytest.approx(1 - 1 / CELLS) and told.by_period[-1] == 1


def test_a_cell_that_is_not_in_service_yet_is_not_missing():
    values = healthy()
    values[:, -1] = np.nan
    told = health_of(mock_city(), in_service_only(values, DAYS, DAYS))
    assert told.never == 1 and told.strangest == () and told.recorded == 1
    assert np.isnan(told.by_cell_day[-1]).all()


def test_what_the_files_say_of_cells_out_of_service_makes_none_strange():
    """'0 suspect' stood beside '57 % of its periods are called suspect by the files'."""
    values, states = healthy(), np.zeros((PERIODS, CELLS), np.uint8)
    values[6 * 48 :, PLANTED] = 0
    states[6 * 48 :, PLANTED] = 2
    told = health_of(mock_city(), in_service_only(values, 0, 5, state=states))
    assert told.strangest == () and told.states["suspect"] == 0
    states[:] = 0
    states[-48:, -1] = 2
    values[:-48, -1] = np.nan
    late = health_of(mock_city(), in_service_only(values, DAYS - 1, 5, state=states))
    assert late.strange == {"suspect": 1} and late.strangest[0].reasons[0].words.startswith("100% of its periods")


def some_begin_late(begun, late=20):
    """The last `late` cells of the operator's begin after so many days; nothing of them is there before."""
    values = healthy()
    values[: begun * 48, CELLS - late :] = np.nan
    first = np.full(CELLS, np.datetime64("NaT", "ns"))
    first[CELLS - late :] = TIME[0] + np.timedelta64(begun, "D")
    never = np.full(CELLS, np.datetime64("NaT", "ns"))
    return operator_cells(values).assign_coords(first_served=("cell", first), last_served=("cell", never))


def test_the_day_of_a_network_that_grew_is_that_of_the_usual_one():
    """Half of the totals were those of a third of the cells: the median lay where hardly a total did."""
    cells = some_begin_late(6)
    told, untold = (
        health_of(mock_city(), cells),
        health_of(mock_city(), cells.drop_vars(["first_served", "last_served"])),
    )
    np.testing.assert_array_equal(told.everyday.quartiles, untold.everyday.quartiles)
    assert told.recorded == 1 and told.complete.all() and not untold.complete[: 6 * 48].any()


def test_shares_by_hour_are_of_values_where_the_number_in_service_changes():
    cells = some_begin_late(7, CELLS - 1)
    values = cells["traffic"].values.copy()
    values[: 7 * 48 - 1, 0] = np.nan  # one value at 23:30
    told = health_of(mock_city(), cells.assign(traffic=(("time", "cell"), values)))
    assert told.recorded == pytest.approx((7 * 48 * CELLS + 1) / (7 * 48 * (CELLS + 1)))
    assert told.by_hour[12] == pytest.approx(7 * 2 * CELLS / (7 * 2 * (CELLS + 1)))
    assert told.by_day[6] == pytest.approx(1 / 48) and told.by_day[7] == 1 and told.days_complete == 7


def test_days_on_which_nothing_was_in_service_are_neither_recorded_nor_lost():
    told = health_of(mock_city(), some_begin_late(3, CELLS))
    assert told.recorded == 1 and told.days_complete == DAYS and told.complete.all() and np.isnan(told.by_day[:3]).all()


@pytest.mark.parametrize("said", [False, True])
def test_of_a_city_without_a_record_nothing_is_recorded(said):
    city = make_city(np.full((48, 2, 2), np.nan), name="none", start="2024-01-01", step_minutes=60,
                     covered=np.ones((2, 2), bool))  # fmt: skip
    if said:
        first = np.full((2, 2), np.datetime64("2024-01-02", "ns"))
        never = np.full((2, 2), np.datetime64("NaT", "ns"))
        city = city.assign(first_served=(("y", "x"), first), last_served=(("y", "x"), never))
    looked = health_of(city)
    np.testing.assert_array_equal(looked.by_day, [np.nan if said else 0, 0])
    assert looked.recorded == 0 and looked.days_complete == (1 if said else 0) and looked.by_hour.max() == 0


def test_one_end_of_the_service_without_the_other_is_refused():
    cells = in_service_only(healthy(), 0, 5).drop_vars("last_served")
    with pytest.raises(CityError, match="first_served without the other end"):
        health_of(mock_city(), cells)


def test_the_map_counts_no_zeros_of_what_is_out_of_service():
    city = mock_city(steps=48)
    traffic = city["traffic"].values.copy()
    traffic[24:, 0, 0] = 0
    days = np.full((4, 4), np.datetime64("NaT", "ns"))
    last = days.copy()
    last[0, 0] = np.datetime64("2024-01-01")
    city = city.assign(traffic=(("time", "y", "x"), traffic))
    city = city.assign(first_served=(("y", "x"), days), last_served=(("y", "x"), last))
    total, count = traffic_sums(city)
    assert (count[0, 0], count[1, 1]) == (24, 48)
    assert total[0, 0] / count[0, 0] == pytest.approx(health_of(city).mean[0], rel=1e-6)


def test_squares_have_their_days_in_service_from_the_city():
    city = mock_city(steps=96)
    days = np.full((4, 4), np.datetime64("NaT", "ns"))
    first = days.copy()
    first[1, 2] = np.datetime64("2024-01-03")
    traffic = city["traffic"].values.copy()
    traffic[:48, 1, 2] = np.nan
    city = city.assign(traffic=(("time", "y", "x"), traffic))
    assert health_of(city).recorded == pytest.approx(1 - 48 / traffic.size)
    told = health_of(city.assign(first_served=(("y", "x"), first), last_served=(("y", "x"), days)))
    assert told.recorded == 1 and told.gaps == () and np.isnan(told.by_cell_day[6, :2]).all()


def test_gaps_are_those_of_a_loop():
    city = gappy_city()
    looked = health_of(city)
    wanted = {}
    for series in city["traffic"].values[:, city["covered"].values].T:
        at = 0
        for missing, group in groupby(np.isnan(series)):
            length = len(list(group))
            if missing:
                wanted[at, length] = wanted.get((at, length), 0) + 1
            at += length
    got = {(int(np.flatnonzero(city["time"].values == gap.begin)[0]), gap.periods): gap.cells for gap in looked.gaps}
    assert looked.gap_kinds == len(wanted)
    lost = sorted((length * cells for (_, length), cells in wanted.items()), reverse=True)[: summary.MOST_GAPS]
    assert got.items() <= wanted.items() and [gap.periods * gap.cells for gap in looked.gaps] == lost
    assert looked.longest.periods == max(length for _, length in wanted)
    series = city["traffic"].values.reshape(170, -1)[:, np.flatnonzero(city["covered"].values)]
    for gap in looked.gaps:
        at = int(np.flatnonzero(city["time"].values == gap.begin)[0])
        padded = np.vstack([np.zeros((1, series.shape[1])), series, np.zeros((1, series.shape[1]))])
        alike = np.isnan(series[at : at + gap.periods]).all(0)
        alike &= np.isfinite(padded[at]) & np.isfinite(padded[at + gap.periods + 1])
        assert gap.first == looked.records.names[int(alike.argmax())] and alike.sum() == gap.cells


def test_total_and_profile_are_those_of_a_loop():
    city = gappy_city()
    looked = health_of(city)
    values, time = city["traffic"].values[:, city["covered"].values], city["time"].values
    count = np.isfinite(values).sum(1)
    total = np.where(count > 0, np.nansum(values, 1), np.nan)
    np.testing.assert_allclose(looked.total, total, rtol=1e-5)
    complete = count >= 0.9 * np.median(count[count > 0])
    np.testing.assert_array_equal(looked.complete, complete)
    weekend = np.array([moment.astype("datetime64[D]").item().weekday() >= 5 for moment in time])
    hour = time.astype("datetime64[h]").astype(int) % 24
    for profile, when in ((looked.weekdays, ~weekend), (looked.weekends, weekend), (looked.everyday, weekend | True)):
        for number in range(24):
            here = total[when & complete & (hour == number)]
            assert profile.mean[number] == pytest.approx(here.mean() if here.size else np.nan, nan_ok=True, rel=1e-5)
            if here.size:
                np.testing.assert_allclose(
                    profile.quartiles[:, number], np.quantile(here, (0.25, 0.5, 0.75)), rtol=1e-5
                )


def test_the_busiest_cells_are_those_of_the_busy_hour_and_no_spike_makes_one():
    values = healthy()
    values[300, PLANTED] = 1e6
    looked = health_of(mock_city(), operator_cells(values))
    middle = [np.median(values[HOUR.astype(int) == hour].sum(1)) for hour in range(24)]
    assert looked.busy_hour == int(np.argmax(middle))
    amounts = np.median(values[HOUR.astype(int) == looked.busy_hour], axis=0)
    assert [busy.cell for busy in looked.busiest] == np.argsort(-amounts)[:10].tolist()
    assert looked.busiest[0].amount == pytest.approx(amounts.max())


def test_blocks_of_cells_change_nothing(monkeypatch):
    values = healthy()
    values[100:140, 2] = 2.5
    values[np.random.default_rng(1).random(values.shape) < 0.1] = np.nan
    whole = health_of(mock_city(), operator_cells(values))
    served = in_service_only(values, 3, 8)
    whole_served = health_of(mock_city(), served)
    for module in (survey, dead):
        monkeypatch.setattr(module, "BLOCK", 1)
    parts = health_of(mock_city(), operator_cells(values))
    parts_served = health_of(mock_city(), served)
    np.testing.assert_array_equal(parts_served.by_period, whole_served.by_period)
    assert parts_served.gaps == whole_served.gaps
    np.testing.assert_allclose(parts.total, whole.total)
    np.testing.assert_array_equal(parts.by_cell_day, whole.by_cell_day)
    assert (parts.gaps, parts.strangest, parts.busiest) == (whole.gaps, whole.strangest, whole.busiest)


def test_the_cube_is_not_copied():
    city = mock_city()
    assert np.shares_memory(records_of(city).values, city["traffic"].values)


def test_rows_without_traffic_are_not_told_as_recorded():
    values = healthy()
    values[10:20, 3] = np.nan  # as NIL beside a number of users: the row is there
    state = np.zeros(values.shape, np.uint8)
    state[30:35, 4] = 2  # suspect, with its value
    states = health_of(mock_city(), operator_cells(values, state=state)).states
    assert (states["missing"], states["suspect"], states["recorded"]) == (10, 5, values.size - 15)


def test_the_operators_cells_are_looked_at_with_their_own_periods_and_states():
    values = healthy()
    values[:48] = np.nan
    state = np.zeros(values.shape, np.uint8)
    state[:48] = 1
    looked = health_of(mock_city(step_minutes=60), operator_cells(values, state=state))
    assert looked.records.operator and looked.records.step_minutes == 30
    assert looked.states == {
        "recorded": 13 * 48 * 30, "missing": 48 * 30, "suspect": 0, "reset": 0, "clock change": 0
    }  # fmt: skip
    assert looked.days_complete == 13 and looked.longest == Gap(TIME[0], 48, 30, "cell 0")


def test_degrees_become_kilometres():
    cells = operator_cells(healthy()).assign_coords(
        lon=("cell", np.full(CELLS, 25.0)), lat=("cell", np.full(CELLS, 60.0))
    )
    cells["lon"][1] = 26.0
    cells["lat"][2] = np.nan
    places = records_of(mock_city(), cells).positions
    assert places[1, 0] - places[0, 0] == pytest.approx(55.80, rel=0.005)  # a degree at 60 degrees north, WGS 84
    assert np.isnan(places[2]).any()


@pytest.mark.parametrize("covered", [True, False])
def test_a_city_without_a_record_can_be_looked_at(covered):
    city = make_city(np.full((48, 2, 2), np.nan), name="none", start="2024-01-01", step_minutes=60,
                     covered=np.full((2, 2), covered))  # fmt: skip
    looked = health_of(city)
    assert looked.recorded == 0 and looked.busy_hour is None and looked.busiest == () and looked.longest is None
    assert looked.never == (4 if covered else 0) and looked.strange == ({"missing": 4} if covered else {})


def test_one_period_and_odd_steps():
    assert health_of(mock_city(1)).recorded == 1
    looked = health_of(mock_city(32, step_minutes=45))
    assert looked.records.hours.tolist() == list(range(0, 24, 3)) and looked.days_complete == 1


def spoil(cells, fault):
    if fault == "axes":
        return cells.transpose("cell", "time")
    if fault == "no traffic":
        return cells.rename(traffic="volume")
    if fault == "uneven":
        return cells.isel(time=[0, 1, 3])
    if fault == "dates":
        return cells.assign_coords(time=np.arange(cells.sizes["time"]))
    if fault == "state":
        return cells.assign(state=(("time", "cell"), np.full(cells["traffic"].shape, 9, np.uint8)))
    return cells.assign(
        traffic=cells["traffic"].where(cells["cell"] != "cell 5", {"negative": -1, "inf": np.inf}[fault])
    )


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("axes", "transpose"),
        ("no traffic", "no variable 'traffic'"),
        ("uneven", "periods of"),
        ("dates", "made of dates"),
        ("state", "0 to 4"),
        ("negative", "cell number 5"),
        ("inf", "cell number 5"),
    ],
)
def test_cells_that_are_none_are_refused(fault, said):
    with pytest.raises(CityError, match=said):
        health_of(mock_city(), spoil(operator_cells(healthy()), fault))


def test_names_and_values_that_do_not_fit_are_refused():
    with pytest.raises(CityError, match="29 named cells"):
        strangest(healthy(), NAMES[:-1], time=TIME, step_minutes=STEP)
