"""The radio side of the LTE sites: read at two minutes, and three months laid on one clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from fomo.city import CityError, validate
from fomo.sources.barcelona_radio import RadioRecords, join_sites, read_radio_records

WEEK = 7 * 24 * 60


def record(site: str, start: str, minutes: int, down: float = 1200.0, share: float = 0.1) -> RadioRecords:
    """A site whose bits tell the minute of the week, so that a wrong joining is seen."""
    time = np.datetime64(start, "m") + np.arange(0, minutes, 2) * np.timedelta64(1, "m")
    of_week = (time - np.datetime64("2024-01-01T00:00", "m")).astype(np.int64) % WEEK
    count = len(time)
    return RadioRecords(site, time, down + of_week, np.full(count, 5.0), np.full(count, share), 0, "")


def test_records_are_read_at_two_minutes_and_outages_stay_gaps(write_form):
    share = [0.5] * 120 + [None] * 10 + [0.25] * 110
    gracia, sants = read_radio_records(write_form("barcelona", rb_down=share))
    assert (gracia.site, sants.site) == ("Gracia", "Sants")
    assert (gracia.outage_records, sants.outage_records) == (30, 0)
    assert np.isnan(gracia.bits_down).sum() == np.isnan(gracia.users).sum() == np.isnan(gracia.prb_share).sum() == 30
    assert np.isnan(sants.prb_share).sum() == np.isnan(sants.bits_per_prb_second).sum() == 10
    assert gracia.bits_per_prb_second[0] == 800 / 0.5 / 120 / 100
    assert np.diff(gracia.time).astype(int).tolist() == [2] * 119


def test_records_that_are_not_there_become_gaps(write_form):
    rows = write_form.arrays_of("barcelona")
    keep = [at for at in range(240) if at not in (5, 6)]
    path = write_form(
        "barcelona", rb_down=[0.1] * 238, **{key: [part[at] for at in keep] for key, part in rows.items()}
    )
    gracia, _ = read_radio_records(path)
    assert np.flatnonzero(np.isnan(gracia.bits_down))[:2].tolist() == [5, 6]
    assert len(gracia.time) == 120


@pytest.mark.parametrize("value", [1.5, -0.1])
def test_a_share_beyond_all_blocks_is_refused(write_form, value):
    with pytest.raises(CityError, match=r"row 3 of .*share of 0 to 1"):
        read_radio_records(write_form("barcelona", rb_down=[0.1] * 3 + [value] + [0.1] * 236))


def test_records_off_the_axis_or_twice_are_refused(write_form):
    time = write_form.arrays_of("barcelona")["time"]
    for moved in (time[0] + timedelta(minutes=5), time[0] + timedelta(minutes=4)):
        with pytest.raises(CityError, match=r"Gracia .* 2 minutes apart"):
            read_radio_records(write_form("barcelona", rb_down=[0.1] * 240, time=[time[0], moved, *time[2:]]))


def test_a_file_without_shares_is_refused(write_form):
    with pytest.raises(CityError, match="lacks the columns"):
        read_radio_records(write_form("barcelona"))


def test_sites_meet_at_the_same_weekday_and_time_of_day():
    week = record("a", "2018-03-28T15:56", WEEK + 400)
    other = record("b", "2019-01-12T17:12", 12 * 24 * 60)
    month = record("c", "2018-02-05T23:40", 28 * 24 * 60)
    joined = join_sites([week, other, month], 15)
    assert joined.sites == ("a", "b", "c")
    assert [str(time) for time in joined.begins] == ["2018-03-28T16:00", "2019-01-16T16:00", "2018-02-07T16:00"]
    traffic = joined.city["traffic"].values[:, 0]
    assert np.array_equal(traffic[:, 0], traffic[:, 1])
    assert np.array_equal(traffic[:, 0], traffic[:, 2])
    assert validate(joined.city) is joined.city
    begin = joined.city["time"].values[0]
    assert str(begin)[:16] == "2024-01-03T16:00"  # a Wednesday, as 28 March 2018
    assert datetime(2018, 3, 28).weekday() == datetime(2024, 1, 3).weekday() == 2


def test_a_period_holds_its_bits_and_the_channel_is_bits_over_shares():
    site = record("a", "2024-01-01T00:00", 240)
    joined = join_sites([site], 60)
    assert joined.bits_per_prb.shape == (4, 1)
    first = site.bits_down[:30]
    assert joined.city["traffic"].values[0, 0, 0] * 8 == pytest.approx(first.sum(), rel=1e-6)
    assert joined.bits_per_prb[0, 0] == pytest.approx(first.sum() / (site.prb_share[:30].mean() * 100))
    assert joined.city["users"].values[0, 0, 0] == 5


def test_a_period_with_few_records_is_a_gap_and_one_with_most_is_scaled():
    site = record("a", "2024-01-01T00:00", 120)
    bits = np.full(60, 800.0)
    bits[:5], bits[30:40] = np.nan, np.nan
    joined = join_sites([replace(site, bits_down=bits)], 60)
    assert joined.city["traffic"].values[0, 0, 0] == 100 * 30
    assert np.isnan(joined.city["traffic"].values[1, 0, 0])
    assert np.isnan(joined.bits_per_prb[1, 0])


def test_sites_without_a_common_time_are_refused():
    with pytest.raises(CityError, match="no weekday and time of day in common"):
        join_sites([record("a", "2024-01-01T00:00", 600), record("b", "2024-01-03T00:00", 600)])
    with pytest.raises(CityError, match="step_minutes is 7"):
        join_sites([record("a", "2024-01-01T00:00", 600)], 7)
    with pytest.raises(CityError, match="no site"):
        join_sites([])


@pytest.mark.real_data
def test_barcelona_is_what_was_seen_in_the_file(real_data):
    """Golden values read off the file by eye: first rows of each site, and where its days lie."""
    sites = read_radio_records(real_data / "barcelona_lte_dci.parquet")
    assert [(site.site, len(site.time), str(site.time[0])) for site in sites] == [
        ("ElBorn", 5241, "2018-03-28T15:56"),
        ("LesCorts", 8615, "2019-01-12T17:12"),
        ("PobleSec", 19909, "2018-02-05T23:40"),
    ]
    assert [site.outage_records for site in sites] == [0, 195, 0]
    born, _, poble = sites
    assert born.bits_down[:2].tolist() == [174876888.0, 209054184.0]
    assert born.bits_per_prb_second[0] == pytest.approx(174876888 / 0.029681 / 12000, rel=1e-4)
    assert poble.prb_share[2] == pytest.approx(0.183461, abs=1e-6)
    for site in sites:
        known = site.bits_per_prb_second[np.isfinite(site.bits_per_prb_second)]
        assert 4.5e5 < np.median(known) < 5.2e5  # 2.7 bit/s/Hz of 180 kHz
        assert known.max() < 180e3 * 7.5  # no more than two layers of 64QAM could
    joined = join_sites(sites, 15)
    assert joined.bits_per_prb.shape == (698, 3)
    assert np.isnan(joined.bits_per_prb).sum(0).tolist() == [0, 27, 0]
    assert [str(time) for time in joined.begins] == ["2018-03-28T16:00", "2019-01-16T16:00", "2018-02-07T16:00"]
    used = joined.city["traffic"].values[:, 0] * 8 / joined.bits_per_prb / 100
    assert np.nanmax(used, 0) == pytest.approx([0.425, 0.035, 0.332], abs=0.001)
