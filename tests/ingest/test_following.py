"""Counters that are called otherwise, or have another unit, from some file on: a city's mapping follows."""

from __future__ import annotations

import polars
import pytest
import xarray as xr
from operator_made import traffic_of, write_days, write_measurements, write_sites

import fomo
from fomo.ingest.build import BuildConfig, append_city, build_city, report_of
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping

#: As of the made tables: bytes to GB.
BYTES = {"traffic": {"counters": {"dl_bytes": 1e-9}, "unit": "GB"}, "users": {"counters": {"users": 1.0}}}
KILOBYTES = {"traffic": {"counters": {"pdcp_kb": 1e-6}, "unit": "GB"}, "users": {"counters": {"attached": 1.0}}}


def mapping(*parts, **more):
    return Mapping.model_validate({key: value for part in (*parts, more) for key, value in part.items()})


@pytest.fixture
def days(tmp_path):
    """Four days, and the city of all of them; the last two then have other counters, in another unit."""
    write_sites(tmp_path)
    paths = write_days(tmp_path / "counters", traffic_of(4))
    build(tmp_path, paths, "whole")
    for path in paths[2:]:
        table = polars.read_csv(path).rename({"dl_bytes": "pdcp_kb", "users": "attached"})
        table.with_columns(pdcp_kb=polars.col("pdcp_kb") / 1000).write_csv(path)
    return paths


def build(tmp_path, paths, name="city", **more):
    given = {"counters": tuple(paths), "sites": tmp_path / "sites.csv", "out": tmp_path / f"{name}.zarr"}
    return build_city(BuildConfig(**{**given, "cell_m": 500.0, "mapping": mapping(BYTES), **more}))


def test_a_city_goes_on_with_other_counters_and_remembers_them(tmp_path, days):
    """An upgrade that renamed a counter meant a new city of all files there ever were."""
    build(tmp_path, days[:2])
    out = tmp_path / "city.zarr"
    with pytest.raises(IngestError, match=r"has no column 'dl_bytes' \(traffic\).*fomo city append --mapping"):
        append_city(out, [days[2]])
    append_city(out, [days[2]], mapping=mapping(KILOBYTES))
    assert append_city(out, [days[3]])["taken"] == 4 * 360
    one, other = (fomo.open_city(tmp_path / f"{name}.zarr").drop_attrs() for name in ("city", "whole"))
    xr.testing.assert_allclose(one, other, rtol=1e-6)
    assert "pdcp_kb" in report_of(out)["mapping_text"] and "dl_bytes" not in report_of(out)["mapping_text"]


def test_another_form_of_file_may_follow_and_what_is_not_said_stays(tmp_path):
    write_sites(tmp_path)
    traffic = traffic_of(2)
    build(tmp_path, write_days(tmp_path / "tables", traffic), "whole")
    one_day = write_days(tmp_path / "counters", traffic[:24])
    later = write_measurements(tmp_path / "xml", traffic)[24:]
    names = {"cell": {"names": {"S9-9": "S1-1"}}}
    build(tmp_path, one_day, mapping=mapping(BYTES, names, time={"zone": "Europe/Helsinki"}))
    bits = {"cell": {"pattern": "Cell=(.+)"}, "traffic": {"counters": {"DRB.PdcpSduVolumeDL": 1.25e-7}}}
    append_city(tmp_path / "city.zarr", later, mapping=mapping(bits, users={"counters": {"RRC.ConnMean": 1.0}}))
    one, other = (fomo.open_city(tmp_path / f"{name}.zarr").drop_attrs() for name in ("city", "whole"))
    xr.testing.assert_allclose(one["traffic"], other["traffic"], rtol=1e-5)
    kept = report_of(tmp_path / "city.zarr")["mapping"]
    assert kept["time"]["zone"] == "Europe/Helsinki" and kept["cell"]["names"] == {"S9-9": "S1-1"}
    assert kept["traffic"]["unit"] == "GB"


def test_traffic_that_has_another_name_is_missed_and_its_files_are_read_again(tmp_path, days):
    """Users alone were taken without a word on the traffic, and what had been read was not read again."""
    build(tmp_path, days[:2])
    for path in days[2:]:
        polars.read_csv(path).rename({"attached": "users"}).write_csv(path)
    report = append_city(tmp_path / "city.zarr", days[2:])
    (remark,) = (text for text in report["remarks"] if "no traffic is recorded" in text)
    assert "2024-03-03, 2024-03-04" in remark and "--mapping" in remark
    told = mapping(traffic=KILOBYTES["traffic"])
    report = append_city(tmp_path / "city.zarr", days[2:], mapping=told)
    assert not any("no traffic" in text for text in report.get("remarks", ()))
    one, other = (fomo.open_city(tmp_path / f"{name}.zarr").drop_attrs() for name in ("city", "whole"))
    xr.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"traffic": {"counters": {"pdcp_kb": 1e-3}, "unit": "MB"}}, r"unit of the mapping is 'MB'.*built with 'GB'"),
        ({"traffic": {"counters": {"pdcp": 1e-6}, "unit": "GB"}}, "has no column 'pdcp'"),
        ({"traffic": {**KILOBYTES["traffic"], "cumulative": True}}, "cumulative of the mapping is True"),
        ({"time": {"zone": "Asia/Tokyo"}}, r"zone of the mapping is 'Asia/Tokyo'.*built with ''"),
        ({"cell": {"names": {"X1-1": "S7-7"}}}, "has no cell of that name"),
        ({"time": {"minutes": 30}}, r"have periods of 30 minutes, those of .*city.zarr 60"),
        ({"users": {"counters": {"users": 1.0}}}, r"has no column 'users' \(users\)"),
    ],
)
def test_what_cannot_stand_beside_the_city_is_refused_and_changes_nothing(tmp_path, days, told, says):
    build(tmp_path, days[:2])
    before = report_of(tmp_path / "city.zarr")
    with pytest.raises(IngestError, match=says):
        append_city(tmp_path / "city.zarr", [days[2]], mapping=mapping(KILOBYTES, told))
    assert report_of(tmp_path / "city.zarr") == before


def test_users_that_a_city_has_no_room_for_are_refused(tmp_path, days):
    tables = [polars.read_csv(path).drop("users") for path in days[:2]]
    for table, path in zip(tables, days[:2], strict=True):
        table.write_csv(path)
    build(tmp_path, days[:2], mapping=mapping(traffic=BYTES["traffic"]))
    with pytest.raises(IngestError, match=r"\[users\] of the mapping names counters.*built without users"):
        append_city(tmp_path / "city.zarr", [days[2]], mapping=mapping(KILOBYTES))
