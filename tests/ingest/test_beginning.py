"""What is told of files before they are read: here, periods that lie beside the hours of the clock."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from operator_made import write_sites

from fomo.ingest.beginning import beginning
from fomo.ingest.build import BuildConfig, build_city
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping


def mapping(zone):
    return Mapping.model_validate({"time": {"zone": zone}, "traffic": {"counters": {"bytes": 1.0}}})


def hours(written, suffix="Z"):
    times = [datetime(2024, 5, 5, 18) + timedelta(hours=number) for number in range(48)]
    rows = [f"S0-1,{time:%Y-%m-%dT%H:%M:%S}{suffix},1\n" for time in times]
    return written("cell,time,bytes\n" + "".join(rows), "a.csv")


@pytest.mark.parametrize(
    ("zone", "other", "behind"),
    [
        ("Asia/Kolkata", "Etc/GMT-5", 30),
        ("Asia/Kathmandu", "Etc/GMT-5", 45),
        ("America/St_Johns", "Etc/GMT+3", 30),
        ("Africa/Monrovia", "", 0),
    ],
)
def test_hours_of_utc_where_clocks_are_half_an_hour_off_are_told_a_clock_that_works(
    written, tmp_path, zone, other, behind
):
    """All rows were rejected as beginning at no multiple of an hour, and nothing said what to do."""
    path, sites, out = hours(written), write_sites(tmp_path), tmp_path / "city.zarr"
    if other:
        with pytest.raises(IngestError, match=rf"--time-zone {other.replace('+', '.')}, {behind} minutes behind it"):
            build_city(BuildConfig((path,), sites, out, mapping(zone)))
        assert not out.exists()
    report = build_city(BuildConfig((path,), sites, out, mapping(other or zone)))
    assert report["taken"] == 48 and not report["rejected"]


def test_times_that_no_zone_explains_are_to_be_corrected(written):
    path = hours(written, "")
    path.write_text(path.read_text(encoding="utf-8").replace(":00:00", ":07:00"), encoding="utf-8")
    with pytest.raises(IngestError, match="but at 18:07:00: correct the times, or"):
        beginning([path], mapping(""))


def test_one_file_beside_the_hours_is_named_when_it_is_read(written):
    path = hours(written, "")
    odd = written(path.read_text(encoding="utf-8").replace(":00:00", ":07:00"), "b.csv")
    assert beginning([path, odd], mapping(""))[1] == 60
