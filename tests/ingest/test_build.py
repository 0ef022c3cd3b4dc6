from __future__ import annotations

import numpy as np
import polars
import pytest
import xarray as xr
from operator_made import traffic_of, write_days, write_measurements, write_sites

import fomo
from fomo.city import CityError
from fomo.ingest.build import BuildConfig, append_city, build_city, report_of
from fomo.ingest.cube import State
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping
from fomo.ingest.store import CityStore

GB = 1e-9


@pytest.fixture
def sites(tmp_path):
    return write_sites(tmp_path)


def config(tmp_path, sites, **more):
    given = {"counters": (tmp_path / "counters",), "sites": sites, "out": tmp_path / "city.zarr", "cell_m": 500.0}
    return BuildConfig(**{**given, **more})


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("minutes", [60, 15])
def test_a_folder_of_daily_files_becomes_a_city_that_holds_all_their_traffic(tmp_path, sites, ending, minutes):
    traffic = traffic_of(3, minutes=minutes)
    write_days(tmp_path / "counters", traffic, minutes, ending)
    report = build_city(config(tmp_path, sites, minutes=60))
    city = fomo.open_city(tmp_path / "city.zarr")  # validated
    assert city.sizes["time"] == 72 and city.attrs["step_minutes"] == 60 and city.attrs["unit"] == "GB per 60 min"
    hourly = traffic.reshape(72, -1, traffic.shape[1]).sum(1)
    assert np.nansum(city["traffic"].values, (1, 2)) == pytest.approx(hourly.sum(1) * GB, rel=1e-5)
    users = traffic.reshape(72, -1, traffic.shape[1]).mean(1) / 1e5
    assert np.nansum(city["users"].values, (1, 2)) == pytest.approx(users.sum(1), rel=1e-5)
    assert report["taken"] == traffic.size and not report["rejected"] and len(report["files"]) == 3
    assert np.isfinite(city["traffic"].values[:, city["covered"].values]).all()
    cells = CityStore(tmp_path / "city.zarr").cells()
    assert cells["traffic"].values == pytest.approx(traffic * GB, rel=1e-6) and (cells["state"] == State.RECORDED).all()
    assert cells["cell"].values.tolist()[:4] == ["S0-1", "S0-2", "S0-3", "S1-1"]


def test_measurement_files_of_each_hour_make_the_same_city_as_tables(tmp_path, sites):
    traffic = traffic_of(2)
    write_days(tmp_path / "counters", traffic)
    write_measurements(tmp_path / "xml", traffic)
    zone = {"time": {"zone": "Europe/Helsinki"}}
    build_city(config(tmp_path, sites, mapping=Mapping.model_validate(zone)))
    named = Mapping.model_validate({**zone, "cell": {"pattern": "Cell=(.+)$"}})
    report = build_city(config(tmp_path, sites, counters=(tmp_path / "xml",), out=tmp_path / "xml.zarr", mapping=named))
    one, other = fomo.open_city(tmp_path / "city.zarr"), fomo.open_city(tmp_path / "xml.zarr")
    xr.testing.assert_allclose(one.drop_attrs(), other.drop_attrs(), rtol=1e-5)
    assert report["taken"] == traffic.size and len(report["files"]) == 48
    assert report["guessed"][0].startswith("traffic: DRB.PdcpSduVolumeDL (3GPP TS 28.552")


def test_days_are_appended_and_those_that_are_there_stay_as_they_are(tmp_path, sites):
    traffic = traffic_of(4)
    paths = write_days(tmp_path / "all", traffic)
    build_city(config(tmp_path, sites, counters=tuple(paths[:2])))
    chunk = tmp_path / "city.zarr/traffic/c/0/0/0"
    before, when = chunk.read_bytes(), chunk.stat().st_mtime_ns
    append_city(tmp_path / "city.zarr", [*paths[2:], paths[0]])  # the first again: it is known
    assert chunk.read_bytes() == before and chunk.stat().st_mtime_ns == when
    build_city(config(tmp_path, sites, counters=tuple(paths), out=tmp_path / "whole.zarr"))
    one, other = fomo.open_city(tmp_path / "city.zarr"), fomo.open_city(tmp_path / "whole.zarr")
    xr.testing.assert_equal(one.drop_attrs(), other.drop_attrs())
    assert report_of(tmp_path / "city.zarr")["taken"] == traffic.size


def test_the_source_names_the_first_and_the_last_file_and_how_many_there_are(tmp_path, sites):
    """It named three files of 27 as if that were all, and those for ever."""
    paths = write_days(tmp_path / "all", traffic_of(6))
    build_city(config(tmp_path, sites, counters=tuple(paths[:2])))
    city = tmp_path / "city.zarr"
    assert fomo.open_city(city).attrs["source"] == "2024-03-01.csv, 2024-03-02.csv"
    append_city(city, paths[2:])
    assert fomo.open_city(city).attrs["source"] == "2024-03-01.csv to 2024-03-06.csv (6 files)"


def test_a_late_file_fills_what_was_missing(tmp_path, sites):
    traffic = traffic_of(2)
    paths = write_days(tmp_path / "all", traffic)
    whole = polars.read_csv(paths[0])
    late = tmp_path / "late.csv"
    whole.filter(polars.col("cell") == "S1-2").write_csv(late)
    whole.filter(polars.col("cell") != "S1-2").write_csv(paths[0])
    build_city(config(tmp_path, sites, counters=tuple(paths)))
    city = fomo.open_city(tmp_path / "city.zarr")
    assert np.isnan(city["traffic"].values[:24, city["covered"].values]).any()
    append_city(tmp_path / "city.zarr", [late])
    city = fomo.open_city(tmp_path / "city.zarr")
    assert np.nansum(city["traffic"].values) == pytest.approx(traffic.sum() * GB, rel=1e-5)


class Killed(BaseException):
    """As SIGKILL would have it: nothing is caught."""


@pytest.mark.parametrize("method", ["write", "commit", "_grow"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_killed_at_any_moment_the_city_is_valid_and_the_next_run_completes_it(tmp_path, sites, monkeypatch, method, at):
    traffic = traffic_of(4)
    write_days(tmp_path / "counters", traffic)
    monkeypatch.setattr("fomo.ingest.alone.COMMIT_SECONDS", -1.0)  # after every file
    calls, real = [0], getattr(CityStore, method)

    def dies(self, *args, **more):
        calls[0] += 1
        if calls[0] > at:
            raise Killed
        return real(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(CityStore, method, dies)
        with pytest.raises(Killed):
            build_city(config(tmp_path, sites))
    if CityStore(tmp_path / "city.zarr").visible_days:
        found = fomo.open_city(tmp_path / "city.zarr")
        steps = found.sizes["time"]
        assert np.nansum(found["traffic"].values) == pytest.approx(traffic[:steps].sum() * GB, rel=1e-5)
    else:
        with pytest.raises(CityError):
            fomo.open_city(tmp_path / "city.zarr")
    build_city(config(tmp_path, sites))
    city = fomo.open_city(tmp_path / "city.zarr")
    assert city.sizes["time"] == 96
    assert np.nansum(city["traffic"].values) == pytest.approx(traffic.sum() * GB, rel=1e-5)
    assert report_of(tmp_path / "city.zarr")["taken"] == traffic.size


def test_counters_that_only_grow_count_with_their_differences_and_resets_are_marked(tmp_path, sites):
    traffic = traffic_of(2)
    counter = np.cumsum(traffic, 0)
    counter[30:, 4] -= counter[30, 4] - 7  # reset in hour 30: smaller than the hour before
    paths = write_days(tmp_path / "counters", counter)
    mapping = Mapping.model_validate({"traffic": {"counters": {"dl_bytes": GB}, "unit": "GB", "cumulative": True}})
    build_city(config(tmp_path, sites, mapping=mapping, counters=(paths[0],)))
    append_city(tmp_path / "city.zarr", [paths[1]])
    cells = CityStore(tmp_path / "city.zarr").cells()
    found = cells["traffic"].values
    assert np.isnan(found[0]).all() and np.isnan(found[30, 4]) and cells["state"].values[30, 4] == State.RESET
    # float32 counters of some hundred MB: their differences are known to some ten bytes
    known = np.isfinite(found)
    assert known.sum() == found.size - 15 - 1
    assert found[known] == pytest.approx(traffic[known] * GB, abs=1e-7)


def test_rows_of_cells_without_a_position_are_counted_and_can_be_written_out(tmp_path, sites):
    (path,) = write_days(tmp_path / "counters", traffic_of(1))
    lines = path.read_text(encoding="utf-8").replace("S3-", "X3-")
    path.write_text(lines, encoding="utf-8")
    report = build_city(config(tmp_path, sites), rejects=tmp_path / "rejected.csv")
    assert report["rejected"] == {"a cell that has no place in the city": 72} and report["taken"] == 24 * 12
    assert report["cells_without_place"] == {"X3-1": 24, "X3-2": 24, "X3-3": 24}
    assert polars.read_csv(tmp_path / "rejected.csv").height == 72


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"counters": ("nowhere/*.csv",)}, "there is no file nowhere"),
        ({"minutes": 45}, "periods of 45 minutes cannot be made of the counters' 60"),
        ({"mapping": Mapping.model_validate({"traffic": {"counters": {"bits": 1.0}}})}, "no column 'bits'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(tmp_path, sites, change, says):
    write_days(tmp_path / "counters", traffic_of(1))
    with pytest.raises(IngestError, match=says):
        build_city(config(tmp_path, sites, **change))
    assert not (tmp_path / "city.zarr").exists()


def test_files_of_one_period_each_are_told_apart_by_their_times(tmp_path, sites):
    (path,) = write_days(tmp_path / "all", traffic_of(1), 60)
    frame = polars.read_csv(path)
    (tmp_path / "counters").mkdir()
    for name, part in frame.group_by("time"):
        part.write_csv(tmp_path / f"counters/{str(name[0])[11:13]}.csv")
    build_city(config(tmp_path, sites))
    city = fomo.open_city(tmp_path / "city.zarr")
    assert city.attrs["step_minutes"] == 60 and np.isfinite(city["traffic"].values[:, city["covered"].values]).all()


def test_sites_without_counters_leave_no_hole_and_are_named(tmp_path, sites):
    lines = sites.read_text(encoding="utf-8")
    sites.write_text(lines + "IDLE-1,24.95,60.17,\nS0-1,24.95,,\n", encoding="utf-8")
    traffic = traffic_of(1)
    write_days(tmp_path / "counters", traffic)
    report = build_city(config(tmp_path, sites))
    city = fomo.open_city(tmp_path / "city.zarr")
    assert np.isfinite(city["traffic"].values[:, city["covered"].values]).all()
    assert report["sites"]["without_counters"] == ["IDLE-1"] and report["sites"]["cells"] == 15
    assert sum(report["sites"]["rejected"].values()) == 1


def test_a_day_before_the_first_is_counted_and_nothing_is_lost(tmp_path, sites):
    paths = write_days(tmp_path / "all", traffic_of(2))
    build_city(config(tmp_path, sites, counters=(paths[1],)))
    report = append_city(tmp_path / "city.zarr", [paths[0]])
    assert report["rejected"] == {"a day before the city's first: build it again with these files": 360}
    assert report["taken"] == 360 and fomo.open_city(tmp_path / "city.zarr").sizes["time"] == 24


def test_a_damaged_file_is_named_and_the_others_are_read(tmp_path, sites):
    traffic = traffic_of(3)
    paths = write_days(tmp_path / "counters", traffic, ending="parquet")
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[: len(whole) // 2])
    report = build_city(config(tmp_path, sites))
    assert list(report["faults"]) == [str(paths[1])] and report["taken"] == 2 * 360
    paths[1].write_bytes(whole)
    report = append_city(tmp_path / "city.zarr", [paths[1]])
    assert not report["faults"] and report["taken"] == 3 * 360
    with pytest.raises(IngestError, match="none of 1 files can be read"):
        paths[1].write_bytes(whole[:100])
        append_city(tmp_path / "city.zarr", [paths[1]])
