"""Days off of countries and tables, and what a city keeps of them."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pandas
import polars
import pytest

from fomo.city import CityError, make_city, open_city, save_city
from fomo.days_off import DaysOff, public_holidays, read_days_off, with_days_off


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def city_from(start: str, days: int = 3, **attributes):
    return make_city(np.ones((24 * days, 1, 1)), name="mine", start=start, step_minutes=60, **attributes)


def test_the_new_year_of_china_has_a_week_off_and_two_worked_days_of_weekends():
    found = public_holidays("CN", day("2021-02-01"), day("2021-02-28"))
    assert found.off == tuple(day(f"2021-02-{date}") for date in range(11, 18))
    assert found.worked == (day("2021-02-07"), day("2021-02-20"))
    told = found.told()
    assert told[day("2021-02-11")] == told[day("2021-02-13")] == 6  # a Thursday and a Saturday are told as Sundays
    assert (told[day("2021-02-07")], told[day("2021-02-20")]) == (0, 4)  # a Sunday as a Monday, a Saturday as a Friday


def test_parts_of_countries_and_other_weekends():
    bavaria, germany = (public_holidays(name, day("2024-11-01"), day("2024-11-30")) for name in ("de-by", "DE"))
    assert bavaria.off == (day("2024-11-01"),)
    assert germany.off == ()
    israel = public_holidays("IL", day("2024-01-01"), day("2024-01-14"))
    assert israel == DaysOff((day("2024-01-05"), day("2024-01-12")), (day("2024-01-07"), day("2024-01-14")))


@pytest.mark.parametrize("country", ["XX", "DE-ZZ", "", "PUBLIC", "Bank"])
def test_a_country_that_is_not_known_is_named(country):
    with pytest.raises(CityError, match=f"no public holidays are known of '{country}'.*two letters"):
        with_days_off(city_from("2024-01-01"), country)


def test_a_table_says_which_days_are_off_and_which_are_worked(tmp_path: Path):
    table = tmp_path / "days.csv"
    table.write_text("\ufeffdate,day,why\n2024-01-02,,fair\n2024-01-06,Worked,\n2024-01-03,off,strike\n2030-01-01,,\n")
    assert read_days_off(table).off == (day("2024-01-02"), day("2024-01-03"), day("2030-01-01"))
    city = with_days_off(city_from("2024-01-01"), table)
    assert city.attrs["days_off"] == ["2024-01-02", "2024-01-03"]  # 2030 is too far ahead to matter
    assert DaysOff.of(city.attrs).worked == (day("2024-01-06"),)
    assert DaysOff.of(city.attrs).in_words(city) == "2024-01-02, 2024-01-03"
    longer = with_days_off(city_from("2024-01-01", 7), table)
    assert DaysOff.of(longer.attrs).in_words(longer) == "2024-01-02, 2024-01-03, 2024-01-06 worked"


@pytest.mark.parametrize("header", ["date,Day", "Date, day", "DATE , DAY "])
def test_the_names_of_columns_may_have_blanks_and_capitals(tmp_path: Path, header: str):
    table = tmp_path / "days.csv"
    table.write_text(f"{header}\n2024-01-06,worked\n")
    assert read_days_off(table) == DaysOff(worked=(day("2024-01-06"),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("day\noff\n", "has the columns day: days off need a column 'date'"),
        ("date,day\n2024-01-02,holiday\n", "line 2: the day is 'holiday'; it is 'off' or 'worked'"),
        ("date\n02/01/2024\n", "holds '02/01/2024': write dates like 2026-12-25"),
        ("date\n\n2024-01-02\n,\n", "holds '': write dates"),
        ("date,day\n2024-01-02,worked\n", "2024-01-02 is no Saturday or Sunday"),
        ("date,day\n2024-01-06,worked\n2024-01-06,off\n", "2024-01-06 is a day off and a worked day"),
        ("", "has the columns none"),
    ],
)
def test_a_table_with_a_fault_is_refused(tmp_path: Path, text: str, message: str):
    table = tmp_path / "days.csv"
    table.write_text(text)
    with pytest.raises(CityError, match=message):
        with_days_off(city_from("2024-01-01"), table)


def test_a_table_that_is_not_there_is_no_country():
    with pytest.raises(CityError, match=r"cannot read days off from nowhere\.csv"):
        with_days_off(city_from("2024-01-01"), "nowhere.csv")


@pytest.mark.parametrize(
    "dates",
    [
        ["2024-01-02", "2024-01-03", "2030-01-01"],
        (day("2024-01-03"), day("2024-01-02")),
        {day("2024-01-02"), "2024-01-03"},
        [datetime.datetime(2024, 1, 2, 12), datetime.datetime(2024, 1, 3)],
        np.array(["2024-01-02", "2024-01-03"], "datetime64[ns]"),
        np.array(["2024-01-02", "2024-01-03"]),
        pandas.DatetimeIndex(["2024-01-02", "2024-01-03"]),
        pandas.Series(["2024-01-02", "2024-01-03"]),
        polars.Series([day("2024-01-02"), day("2024-01-03")]),
    ],
)
def test_days_off_may_be_told_one_by_one(dates):
    city = with_days_off(city_from("2024-01-01"), dates)
    assert (city.attrs["days_off"], city.attrs["days_worked"]) == (["2024-01-02", "2024-01-03"], [])
    assert with_days_off(city, []).attrs["days_off"] == []


@pytest.mark.parametrize("where", [None, 3, {"date": "2024-01-02"}, b"IT", pandas.DataFrame({"date": ["2024-01-02"]})])
def test_what_days_off_cannot_be_told_from_is_named(where):
    with pytest.raises(CityError, match=rf"days off cannot be told from {type(where).__name__}: give a country, such"):
        with_days_off(city_from("2024-01-01"), where)


@pytest.mark.parametrize("wrong", ["09.05.2024", None, 5.5, np.datetime64("NaT"), pandas.NaT])
def test_a_date_that_is_none_is_named(wrong):
    with pytest.raises(CityError, match=rf"the list of days off holds '{wrong}': write dates like 2026-12-25"):
        with_days_off(city_from("2024-01-01"), ["2024-01-02", wrong])


def test_a_city_without_real_dates_has_none():
    with pytest.raises(CityError, match="only weekday and hour of 'mine' are real"):
        with_days_off(city_from("2024-01-01", calendar="weekday"), "IT")


def test_a_city_keeps_them_on_disk_and_no_city_has_wrong_ones(tmp_path: Path):
    city = with_days_off(city_from("2024-12-20"), "IT")
    again = open_city(save_city(city, tmp_path / "mine.zarr"))
    assert list(again.attrs["days_off"]) == list(city.attrs["days_off"])
    assert DaysOff.of(again.attrs).off[:2] == (day("2024-12-25"), day("2024-12-26"))
    with pytest.raises(CityError, match="days_off holds 'Christmas'"):
        DaysOff.of(city.assign_attrs(days_off=["Christmas"]).attrs)
