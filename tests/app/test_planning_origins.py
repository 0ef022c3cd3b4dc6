import dataclasses

import numpy as np
import pytest

from fomo.app.service.planning.origins import find_origins, first_copy, load_at, with_failed_site
from fomo.app.service.planning.record import recorded_together
from fomo.app.service.planning.servers import find_servers
from fomo.app.service.planning.strategies import same_hour
from fomo.city import make_city
from fomo.planning.load import PlanError
from fomo.sources.synthetic import synthetic_city


@pytest.fixture(scope="module")
def city():
    return synthetic_city(days=20)


def test_origins_lie_in_the_last_fifth_and_do_not_overlap(city) -> None:
    origins = find_origins([city], "short", "none")
    first_test = city["time"].values[4 * city.sizes["time"] // 5]
    starts = np.array([origin.start for origin in origins])
    assert (starts >= first_test).all()
    step = np.timedelta64(int(city.attrs["step_minutes"]), "m")
    assert (np.diff(starts) >= 16 * step).all()
    assert len(origins) > 3


def test_what_came_is_what_the_city_recorded(city) -> None:
    origin = find_origins([city], "long", "none")[0]
    at = int(np.flatnonzero(city["time"].values == origin.start)[0])
    np.testing.assert_array_equal(origin.truth, city["traffic"].values[at : at + 48])
    assert np.isnan(origin.task.window["traffic"].values[origin.task.asked]).all()


def test_at_most_so_many_spread_over_the_part(city) -> None:
    whole, some = (find_origins([city], "short", "none", most) for most in (None, 2))
    assert [origin.name for origin in some] == [whole[0].name, whole[-1].name]


def test_history_is_last_weeks_same_hour(city) -> None:
    origin = find_origins([city], "long", "none")[0]
    at = int(np.flatnonzero(city["time"].values == origin.start)[0])
    week = 7 * 24 * 60 // int(city.attrs["step_minutes"])
    np.testing.assert_array_equal(same_hour(origin), city["traffic"].values[at - week : at - week + 48])


def test_history_of_two_days_is_the_last_days_same_hour() -> None:
    traffic = np.random.default_rng(0).random((10 * 24, 4, 4))
    city = make_city(traffic, name="x", start="2024-01-01", step_minutes=60)
    origin = find_origins([city], "long", "none")[0]
    at = int(np.flatnonzero(city["time"].values == origin.start)[0])
    short = dataclasses.replace(
        origin, task=dataclasses.replace(origin.task, earlier=origin.task.earlier[-32:], last_week=None)
    )
    day = city["traffic"].values[at - 24 : at]
    np.testing.assert_array_equal(same_hour(short), np.concatenate([day, day]))


def test_a_cell_without_history_is_refused(city) -> None:
    origin = find_origins([city], "long", "none")[0]
    window = origin.task.window.copy(deep=True)
    window["traffic"][:, 0, 0] = np.nan
    earlier = origin.task.earlier.copy()
    earlier[:, 0, 0] = np.nan
    task = dataclasses.replace(origin.task, window=window, earlier=earlier)
    with pytest.raises(PlanError, match="no history"):
        same_hour(dataclasses.replace(origin, task=task))


def test_servers_share_out_the_cells_that_carry_traffic() -> None:
    traffic = np.random.default_rng(0).random((48, 9, 8)) + 1
    traffic[:, 0, :] = 0
    city = make_city(traffic, name="x", start="2024-01-01", step_minutes=60)
    servers = find_servers(city)
    places = np.concatenate([server.places for server in servers])
    assert len(np.unique(places, axis=0)) == len(places) == 8 * 8
    assert [len(server.places) for server in servers] == [12, 12, 16, 16, 4, 4]
    assert len({server.name for server in servers}) == 6


def test_no_cell_with_traffic_is_no_server() -> None:
    city = make_city(np.zeros((48, 4, 4)), name="x", start="2024-01-01", step_minutes=60)
    with pytest.raises(PlanError, match="no two neighbouring cells"):
        find_servers(city)


def test_loads_keep_the_order_of_places(city) -> None:
    origin = find_origins([city], "short", "none")[0]
    places = np.array([[1, 2], [0, 0], [1, 1]])
    load = load_at(origin, origin.truth[None], places)
    np.testing.assert_array_equal(load.members[0], origin.truth[:, places[:, 0], places[:, 1]])
    assert load.time[0] == origin.start
    history = recorded_together(city, places)
    np.testing.assert_array_equal(history.members[0, :, 1], city["traffic"].values[:, 0, 0])


def test_a_city_without_a_day_of_history_cannot_be_judged() -> None:
    city = make_city(np.ones((64, 4, 4)), name="x", start="2024-01-01", step_minutes=15)
    with pytest.raises(PlanError, match="cannot be judged"):
        find_origins([city], "long", "none")


def test_a_failed_sites_load_goes_to_its_neighbours(city) -> None:
    origin = find_origins([city], "short", "none")[0]
    places = np.argwhere(city["covered"].values)
    load = load_at(origin, origin.truth[None], places)
    failed = with_failed_site(load)
    np.testing.assert_allclose(failed.members.sum(-1), load.members.sum(-1))
    busiest = int(load.mean.sum(0).argmax())
    assert (failed.members[..., busiest] == 0).all()
    near = np.hypot(*(load.position_km - load.position_km[busiest]).T) <= 1.5
    changed = (failed.members != load.members).any((0, 1))
    np.testing.assert_array_equal(changed, near)


def test_a_week_that_copies_the_one_before_is_not_asked() -> None:
    random = np.random.default_rng(0)
    week = random.random((7 * 24, 4, 4)) + 0.1
    copied = np.concatenate([week, week * random.normal(1, 0.01, week.shape)])
    city = make_city(copied, name="x", start="2024-01-01", step_minutes=60, fold=0)
    assert first_copy(city) == 7 * 24
    end = city["time"].values[7 * 24]
    origins = find_origins([city], "short", "none")
    assert all(origin.start + 16 * np.timedelta64(1, "h") <= end for origin in origins)
    again = make_city(
        np.concatenate([week, random.random(week.shape)]), name="x", start="2024-01-01", step_minutes=60, fold=0
    )
    assert first_copy(again) == 14 * 24
    assert len(find_origins([again], "short", "none")) > len(origins)
