"""What is told of files before they are read: here, periods that lie beside the hours of the clock."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from operator_made import write_sites

import fomo
from fomo.ingest.beginning import beginning
from fomo.ingest.build import BuildConfig, append_city, build_city
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


NODE = (
    '<measCollecFile><measData><managedElement localDn="ManagedElement={cell}"/>'
    '<measInfo><granPeriod duration="PT3600S" endTime="2024-05-{day:02}T12:00:00{offset}"/><measType p="1">bytes'
    '</measType><measValue measObjLdn="{cell}"><r p="1">8000</r></measValue></measInfo></measData></measCollecFile>'
)


NAMED = Mapping.model_validate({**mapping("").model_dump(), "cell": {"pattern": ",([^,]+)"}})


def write_node(folder, cell, day, offset=""):
    folder.mkdir(exist_ok=True)
    path = folder / f"{cell}_202405{day:02}.xml"
    path.write_text(NODE.format(cell=cell, day=day, offset=offset), encoding="utf-8")
    return path


def test_files_whose_names_begin_with_the_element_tell_their_day_further_on(tmp_path):
    """Of 53 files the first 20 were looked at, all of one element: nine days of the other were rejected, for good."""
    paths = [write_node(tmp_path / "pm", "S0-1", day) for day in range(10, 32)]
    paths += [write_node(tmp_path / "pm", "S0-2", day) for day in range(1, 32)]
    report = build_city(BuildConfig(tuple(paths), write_sites(tmp_path), tmp_path / "city.zarr", NAMED))
    assert report["taken"] == 53 and not report["rejected"]


def test_times_with_an_offset_need_a_zone_in_xml_as_in_tables(tmp_path):
    """The clock of the city was that of UTC, and nobody was told: eight hours off in Beijing."""
    path, sites = write_node(tmp_path / "pm", "S0-1", 10, "+00:00"), write_sites(tmp_path)
    asked = BuildConfig((path,), sites, tmp_path / "city.zarr", NAMED)
    with pytest.raises(IngestError, match=r"S0-1_20240510.xml have an offset: say whose wall clock .* --time-zone"):
        build_city(asked)
    assert not asked.out.exists()
    zoned = Mapping.model_validate({**NAMED.model_dump(), "time": {"zone": "Asia/Shanghai"}})
    build_city(BuildConfig((path,), sites, asked.out, zoned))
    found = fomo.open_city(asked.out)
    assert str(found["time"].values[found["traffic"].max(("y", "x")).argmax()]) == "2024-05-10T19:00:00.000000000"


def test_a_city_that_is_there_keeps_its_clock(tmp_path):
    """Counters that are called otherwise could not be told of a city without a zone: it cannot be given one."""
    first, later = write_node(tmp_path / "pm", "S0-1", 10), write_node(tmp_path / "pm", "S0-1", 11, "+08:00")
    out = tmp_path / "city.zarr"
    build_city(BuildConfig((first,), write_sites(tmp_path), out, NAMED))
    later.write_text(later.read_text(encoding="utf-8").replace(">bytes<", ">octets<"), encoding="utf-8")
    told = Mapping.model_validate({"traffic": {"counters": {"octets": 1.0}}})
    report = append_city(out, [later], mapping=told)
    assert report["taken"] == 2 and not report["rejected"]
