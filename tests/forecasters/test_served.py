"""Forecasts and fills leave out squares while they are out of service, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import City, CityError, in_service, mock_city
from fomo.forecast import Forecast
from fomo.forecasters.drawing import SamplingConfig
from fomo.forecasters.fomo import FoMo
from fomo.model.checkpoint import FORMAT_VERSION, Checkpoint

#: The city is of Monday, 1 January, to Thursday, 4 January.
ENDED, ENDS, BEGINS = (0, 0), (1, 2), (3, 1)


@pytest.fixture
def model(small_network) -> FoMo:
    network = small_network(seed=5)
    checkpoint = Checkpoint(format_version=FORMAT_VERSION, name="small", model=network.config)
    return FoMo(network, checkpoint, sampling=SamplingConfig(hindcasts=2))


def told(first: dict[tuple[int, int], str], last: dict[tuple[int, int], str], without: str = "NaT") -> City:
    """A city with days in service; `without`: those of the other squares."""
    days = {}
    for variable, at in (("first_served", first), ("last_served", last)):
        values = np.full((4, 4), np.datetime64(without if variable == "last_served" else "NaT"), "datetime64[ns]")
        for place, day in at.items():
            values[place] = np.datetime64(day)
        days[variable] = (("y", "x"), values)
    city = mock_city().assign(days)
    return city.assign(traffic=city["traffic"].where(in_service(city)))


def plain(city: City) -> City:
    return city.drop_vars(["first_served", "last_served"])


@pytest.mark.parametrize("horizon", [40, 60, 100])
def test_squares_are_forecast_while_they_are_in_service_alone(model: FoMo, horizon: int) -> None:
    """A square that had ended was forecast for ever, in one block and in several, and in each block anew."""
    city = told({BEGINS: "2024-01-06"}, {ENDED: "2024-01-02", ENDS: "2024-01-05"})
    found, before = (model.forecast(each, horizon, samples=4) for each in (city, plain(city)))
    served = np.ones((horizon, 4, 4), bool)
    served[(slice(None), *ENDED)] = served[(slice(24, None), *ENDS)] = served[(slice(0, 24), *BEGINS)] = False
    np.testing.assert_array_equal(found.asked.values, served)
    members = found.samples.values
    assert np.isnan(members[:, ~served]).all() and np.isfinite(members[:, served]).all()
    np.testing.assert_array_equal(members[:, served], before.samples.values[:, served])
    assert found.attrs["out_of_service"] == "1 square at all steps, 1 from a day on, 1 up to a day"
    assert found.attrs["hindcasts"] == before.attrs["hindcasts"] > 0


@pytest.mark.parametrize("horizon", [20, 60])
def test_a_city_that_says_nothing_or_that_all_are_in_service_is_forecast_to_the_bit_as_before(
    model: FoMo, horizon: int
) -> None:
    city = told({}, {ENDED: "2024-02-01"})
    found, before = (model.forecast(each, horizon, samples=2) for each in (city, plain(city)))
    assert found == before and "out_of_service" not in found.attrs


def test_only_some_members_and_districts_drawn_apart_leave_out_the_same(model: FoMo) -> None:
    city = told({BEGINS: "2024-01-06"}, {ENDED: "2024-01-02", ENDS: "2024-01-05"})
    whole = model.forecast(city, 30, samples=4)
    some = model.forecast(city, 30, samples=4, only=range(2, 4))
    np.testing.assert_array_equal(some.samples.values, whole.samples.values[2:])
    assert some.asked.identical(whole.asked) and some.attrs == whole.attrs
    apart = model.apart(city, 30, samples=4)
    together = apart.put_together(
        (slice(0, 4), slice(0, 30), slice(0, 4), slice(0, 4)),
        lambda district, region: apart.draw(district, range(4))[region],
    )
    np.testing.assert_array_equal(together, whole.samples.values)
    assert apart.shell.asked.identical(whole.asked) and apart.shell.attrs == whole.attrs


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ({}, "2024-01-03", r"no square of 'mock' is in service from 2024-01-05T00:00 to 2024-01-05T15:00; 16 squares "
                           r"ended, the last on 2024-01-03: where that is wrong, correct its first_served"),
        ({BEGINS: "2024-01-06"}, "2024-01-03", "; 15 squares ended, .*; 1 square not before 2024-01-06: "),
    ],
)  # fmt: skip
def test_where_no_square_is_in_service_a_forecast_says_why_there_is_none(
    model: FoMo, first: dict[tuple[int, int], str], last: str, message: str
) -> None:
    city = told(first, dict.fromkeys(first, "NaT"), last)
    for ask in (model.forecast, model.apart):
        with pytest.raises(CityError, match=message):
            ask(city, 16, samples=2)
    if first:  # a longer horizon reaches it
        assert model.forecast(city, 30, samples=2).asked.values.sum() == 6


def test_filling_leaves_a_square_empty_while_it_is_out_of_service(model: FoMo) -> None:
    city = told({BEGINS: "2024-01-03"}, {ENDED: "2024-01-02"})
    traffic = city["traffic"].values.copy()
    traffic[10:14, 2, 2] = traffic[60:63, 3, 1] = np.nan
    city = city.assign(traffic=(city["traffic"].dims, traffic))
    found = model.fill(city, samples=2)
    gaps = np.isnan(traffic) & in_service(city)
    assert gaps.sum() == 7
    np.testing.assert_array_equal(found.asked.values, gaps)
    np.testing.assert_array_equal(np.isfinite(found.samples.values).all(0), in_service(city))
    assert found.attrs["out_of_service"] == "96 values of 2 squares"
    assert model.fill(plain(city), samples=2).asked.values.sum() == 7 + 96


def test_where_nothing_is_missing_in_service_there_is_nothing_to_fill(model: FoMo) -> None:
    with pytest.raises(CityError, match="nothing is missing in its covered cells while they are in service"):
        model.fill(told({}, {ENDED: "2024-01-02"}), samples=2)


def test_an_area_is_generated_as_it_is_asked(model: FoMo) -> None:
    """What a square would carry is asked of those that are not there, too."""
    city, area = told({}, {ENDED: "2024-01-02"}), np.zeros((4, 4), bool)
    area[ENDED] = True
    found: Forecast = model.generate(city, area, samples=2)
    assert np.isfinite(found.samples.values[(slice(None), slice(None), *ENDED)]).all()
    assert found == model.generate(plain(city), area, samples=2)
