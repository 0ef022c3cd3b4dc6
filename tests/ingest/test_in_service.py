"""Cells out of service are not expected: their squares are what the others carry, and missing where there are none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars
import pytest
import xarray as xr
from operator_made import traffic_of, write_days, write_sites
from scipy.sparse import csr_array

import fomo
from fomo.app.service.city_page.facts import facts_of
from fomo.evaluation.health import health_of
from fomo.ingest.allocation import Allocation
from fomo.ingest.build import BuildConfig, append_city, build_city
from fomo.ingest.ledger import IngestError
from fomo.ingest.on_grid import on_grid
from fomo.ingest.store import CityStore

DAYS = 10


@pytest.fixture
def ended(tmp_path):
    """S1-1 ends after the second day, all of site S4 begins on the fourth; the list without days, and with them."""
    traffic = traffic_of(DAYS)
    paths = write_days(tmp_path / "counters", traffic)
    for number, path in enumerate(paths):
        frame = polars.read_csv(path)
        gone = (polars.col("cell") == "S1-1") & (number >= 2) | polars.col("cell").str.starts_with("S4") & (number < 3)
        frame.filter(~gone).write_csv(path)
    sites = polars.read_csv(write_sites(tmp_path))
    days = {"from": polars.when(polars.col("cell").str.starts_with("S4")).then(polars.lit("2024-03-04")),
            "to": polars.when(polars.col("cell") == "S1-1").then(polars.lit("2024-03-02"))}  # fmt: skip
    sites.with_columns(**days).write_csv(tmp_path / "told.csv")
    return tmp_path, paths, traffic


def built(folder, paths, sites, name, **more):
    out = folder / f"{name}.zarr"
    return build_city(BuildConfig(counters=tuple(paths), sites=folder / sites, out=out, cell_m=500.0), **more)


def test_squares_are_not_missing_for_ever_where_the_list_says_that_a_cell_ended(ended):
    """There was no way to say it: what others carried there was lost from that day on."""
    folder, paths, _ = ended
    before = built(folder, paths, "sites.csv", "untold")["on_grid"]
    report = built(folder, paths, "told.csv", "told")
    found, city = report["on_grid"], fomo.open_city(folder / "told.zarr")
    assert before.lost > 0 and "S1-1" in before.silent
    assert found.lost == 0 and found.silent == {}
    gridded = np.nansum(city["traffic"].values, (1, 2), dtype=float)
    cells = CityStore(folder / "told.zarr").cells()["traffic"].values
    np.testing.assert_allclose(gridded, np.nansum(cells, 1, dtype=float), rtol=1e-5)


def test_squares_of_cells_out_of_service_alone_are_missing_and_no_zeros(ended):
    folder, paths, _ = ended
    built(folder, paths, "told.csv", "told")
    store = CityStore(folder / "told.zarr")
    matrix, city = store.allocation().matrix, fomo.open_city(folder / "told.zarr")
    others = matrix[:, [cell for cell, name in enumerate(store.cell_names()) if not name.startswith("S4")]]
    alone = (np.diff(others.indptr) == 0).reshape(city["covered"].shape) & city["covered"].values
    assert alone.any()
    traffic = city["traffic"].values
    assert np.isnan(traffic[: 3 * 24, alone]).all() and np.isfinite(traffic[3 * 24 :, alone]).all()


def test_a_real_outage_within_the_days_in_service_is_still_missing(ended):
    folder, paths, _ = ended
    out = polars.col("cell") == "S0-1"
    polars.read_csv(paths[5]).filter(~out).write_csv(paths[5])
    found = built(folder, paths, "told.csv", "told")["on_grid"]
    city = fomo.open_city(folder / "told.zarr")["traffic"].values
    assert found.lost > 0
    covered = np.isfinite(city).any(0)
    assert np.isfinite(city[6 * 24 :, covered]).all() and np.isnan(city[5 * 24 : 6 * 24, covered]).any()


def test_workers_and_a_city_read_again_say_the_same(ended):
    folder, paths, _ = ended
    built(folder, paths, "told.csv", "one")
    with ThreadPoolExecutor(2) as pool:
        built(folder, paths, "told.csv", "many", submit=pool.submit)
    one, many = (fomo.open_city(folder / f"{name}.zarr").drop_attrs() for name in ("one", "many"))
    xr.testing.assert_equal(one, many)
    allocation = CityStore(folder / "one.zarr").allocation()
    assert on_grid(CityStore(folder / "one.zarr")).silent == {}
    last = np.datetime64("2024-03-02")
    cell = allocation.cells.index("S1-1")
    assert allocation.in_service(last)[cell] and not allocation.in_service(last + 1)[cell]
    first = allocation.cells.index("S4-1")
    assert allocation.in_service(last + 2)[first] and not allocation.in_service(last + 1)[first]


def test_where_no_day_is_said_all_are_in_service(ended):
    nothing = np.zeros(2)
    none_said = Allocation(("a", "b"), None, nothing, 1, 1)
    assert none_said.in_service(np.datetime64("2024-01-01")).all() and none_said.days_served() is None
    folder, paths, _ = ended
    built(folder, paths[:1], "sites.csv", "untold")
    assert not {"first_served", "last_served"} & set(fomo.open_city(folder / "untold.zarr").variables)


def day_number(day):
    return int(np.datetime64(day, "D").astype(int))


def test_a_square_is_in_service_from_its_first_cell_to_its_last_and_without_an_end_where_a_cell_has_none():
    bounds = np.iinfo(np.int32)
    service = np.array([
        [day_number("2024-03-02"), day_number("2024-03-05")], [day_number("2024-03-09"), bounds.max],
        [bounds.min, day_number("2024-03-01")], [day_number("1066-10-14"), day_number("2500-01-01")],
    ])  # fmt: skip
    cells_of = [[0], [0, 1], [0, 2], [], [3], [1, 2]]
    matrix = csr_array(np.array([[cell in cells for cell in range(4)] for cells in cells_of], float))
    spread = Allocation(("a", "b", "c", "d"), matrix, np.zeros(4), 2, 3, service)
    first, last = spread.days_served()
    np.testing.assert_array_equal(first, np.array([["2024-03-02", "2024-03-02", "NaT"], ["NaT", "1990-01-01", "NaT"]],
                                                  "datetime64[D]"))  # fmt: skip
    np.testing.assert_array_equal(last, np.array([["2024-03-05", "NaT", "2024-03-05"], ["NaT", "2100-01-01", "NaT"]],
                                                 "datetime64[D]"))  # fmt: skip
    in_the_hole = np.datetime64("2024-03-07")  # of the second square, which its first and last day do not tell
    np.testing.assert_array_equal(spread.serving(in_the_hole), [[False, False, False], [False, True, False]])


def test_the_city_says_from_when_to_when_its_squares_are_in_service(ended):
    folder, paths, _ = ended
    built(folder, paths[:4], "told.csv", "told")
    store, city = CityStore(folder / "told.zarr"), fomo.open_city(folder / "told.zarr")
    for variable, days in zip(("first_served", "last_served"), store.allocation().days_served(), strict=True):
        assert city[variable].dtype == "datetime64[ns]"
        np.testing.assert_array_equal(city[variable].values.astype("datetime64[D]"), days)
    begins = city["first_served"].values == np.datetime64("2024-03-04")
    assert begins.any() and np.isnat(city["first_served"].values[~begins]).all()
    assert np.isfinite(city["traffic"].values[-24:, begins]).all() and city["covered"].values[begins].all()
    assert np.isnat(city["last_served"].values).all()  # S1-1 shares all of its squares
    saved = fomo.open_city(fomo.save_city(city, folder / "saved.zarr"))
    assert saved.identical(city)


def test_the_health_of_its_cells_and_squares_knows_who_is_in_service(ended):
    """Cells of a site that had ended were counted as missing ever after, and called dead or born."""
    folder, paths, _ = ended
    built(folder, paths, "sites.csv", "city")
    store = CityStore(folder / "city.zarr")
    untold = health_of(fomo.open_city(store.path), store.cells())
    assert untold.recorded < 1 and {gap.first for gap in untold.gaps} >= {"S1-1"} and untold.strange["missing"] > 0
    assert "first_served" not in store.cells().coords
    append_city(store.path, paths, sites=folder / "told.csv")
    city, cells = fomo.open_city(store.path), CityStore(store.path).cells()
    at = store.cell_names().index("S1-1")
    assert cells["last_served"].values[at] == np.datetime64("2024-03-02") and np.isnat(cells["first_served"].values[at])
    told = health_of(city, cells)
    assert told.recorded == 1 and told.gaps == () and told.days_complete == DAYS and "missing" not in told.strange
    # Squares of S1-1 and S4 alone: no cell serves them on the third day, which the city's days cannot say.
    untold = health_of(city.drop_vars(["first_served", "last_served"]))
    assert untold.recorded < 0.97 and 0.999 < health_of(city).recorded < 1
    assert ("recorded", f"100.00% of the values of {cells.sizes['cell']} cells, while in service; "
            f"{DAYS} of {DAYS} days complete") in facts_of(city, told)  # fmt: skip


def test_what_is_out_of_service_is_no_missing_value_of_the_grid(tmp_path):
    """A city of which a site had ended was known in part for ever, and an append found squares that never have a value.

    All of site S4 ends after the third day.
    """
    paths, of_s4 = write_days(tmp_path / "counters", traffic_of(DAYS)), polars.col("cell").str.starts_with("S4")
    for path in paths[3:]:
        polars.read_csv(path).filter(~of_s4).write_csv(path)
    sites = polars.read_csv(write_sites(tmp_path))
    sites.with_columns(to=polars.when(of_s4).then(polars.lit("2024-03-03"))).write_csv(tmp_path / "told.csv")
    found = built(tmp_path, paths, "told.csv", "told")["on_grid"]
    assert (found.traffic, found.users, found.never) == (1, 1, 0)
    city = fomo.open_city(tmp_path / "told.zarr")
    gone = city["last_served"].values == np.datetime64("2024-03-03")
    assert gone.any() and np.isnan(city["traffic"].values[3 * 24 :, gone]).all()
    latest = on_grid(CityStore(tmp_path / "told.zarr"), 1)
    assert (latest.traffic, latest.never, latest.covered) == (1, 0, found.covered - gone.sum())


@pytest.mark.parametrize("minutes", [60, 120])
def test_days_in_service_that_are_told_later_give_the_city_that_knew_them(ended, minutes):
    """A site that was switched off meant a new city of all files there ever were."""
    folder, paths, _ = ended
    last, *given = paths[-1], *paths[:-1]
    for name, sites, files in (("told", "told.csv", paths), ("late", "sites.csv", given)):
        build_city(
            BuildConfig(
                counters=tuple(files), sites=folder / sites, out=folder / f"{name}.zarr", cell_m=500.0, minutes=minutes
            )
        )
    report = append_city(folder / "late.zarr", [last], sites=folder / "told.csv")
    assert report["this_run"].added == (np.datetime64("2024-03-10"),)
    assert any("service then: 9, 2024-03-01 to 2024-03-09" in remark for remark in report["remarks"])
    late, told = (fomo.open_city(folder / f"{name}.zarr").drop_attrs() for name in ("late", "told"))
    xr.testing.assert_identical(late, told)
    both = (CityStore(folder / f"{name}.zarr").allocation() for name in ("late", "told"))
    np.testing.assert_array_equal(*(each.service for each in both))


def test_a_newer_list_is_told_again_and_cells_that_are_not_in_the_city_are_said(ended):
    folder, paths, _ = ended
    built(folder, paths, "told.csv", "city")
    sites = polars.read_csv(folder / "told.csv").with_columns(to=polars.lit(None, polars.String))
    new = sites[:1].with_columns(cell=polars.lit("S9-1"))
    polars.concat([sites, new]).write_csv(folder / "newer.csv")
    (remark,) = (
        text
        for text in append_city(folder / "city.zarr", paths, sites=folder / "newer.csv")["remarks"]
        if "S9-1" in text
    )
    assert "build it again" in remark
    city = fomo.open_city(folder / "city.zarr")
    assert np.isnat(city["last_served"].values).all() and not np.isnat(city["first_served"].values).all()


@pytest.mark.parametrize("before", ["sites.csv", "told.csv"])
def test_a_run_that_is_killed_while_it_spreads_days_anew_is_made_good_by_the_next(ended, monkeypatch, before):
    folder, paths, _ = ended
    ends = polars.read_csv(folder / "told.csv").with_columns(to=polars.lit("2024-03-07"))
    ends.write_csv(folder / "ends.csv")
    built(folder, paths, "ends.csv", "told")
    built(folder, paths, before, "late")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CityStore, "commit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        append_city(folder / "late.zarr", paths, sites=folder / "ends.csv")
    # Nobody sees days that the city does not say.
    known = "first_served" in CityStore(folder / "late.zarr").cells().coords
    assert known == ("first_served" in fomo.open_city(folder / "late.zarr")) == (before == "told.csv")
    append_city(folder / "late.zarr", paths, sites=folder / "ends.csv")
    assert "first_served" in CityStore(folder / "late.zarr").cells().coords
    late, told = (fomo.open_city(folder / f"{name}.zarr").drop_attrs() for name in ("late", "told"))
    xr.testing.assert_identical(late, told)


def test_a_list_of_another_network_changes_nothing(ended):
    folder, paths, _ = ended
    built(folder, paths, "told.csv", "city")
    sites = polars.read_csv(folder / "told.csv").with_columns(cell="X" + polars.col("cell"))
    sites.write_csv(folder / "other.csv")
    before = fomo.open_city(folder / "city.zarr").load()
    with pytest.raises(IngestError, match=r"no cell of .*other\.csv is in"):
        append_city(folder / "city.zarr", paths, sites=folder / "other.csv")
    xr.testing.assert_identical(fomo.open_city(folder / "city.zarr"), before)


def test_a_newer_list_without_days_changes_none_and_rows_that_are_not_taken_are_said(ended):
    """A list without the columns put all cells into service for ever; a row without a position was passed over."""
    folder, paths, _ = ended
    built(folder, paths[:-1], "told.csv", "city")
    out = folder / "city.zarr"
    before = CityStore(out).allocation().service
    report = append_city(out, paths[-1:], sites=folder / "sites.csv")
    np.testing.assert_array_equal(CityStore(out).allocation().service, before)
    assert any("sites.csv has no column from or to" in remark for remark in report["remarks"])
    told = polars.read_csv(folder / "told.csv", infer_schema=False)
    lost = polars.when(polars.col("cell") == "S1-1").then(None).otherwise("lon").alias("lon")
    told.with_columns(lost).write_csv(folder / "newer.csv")
    report = append_city(out, paths[-1:], sites=folder / "newer.csv")
    assert any("1 rows of newer.csv are not taken: cell without a position" in said for said in report["remarks"])
