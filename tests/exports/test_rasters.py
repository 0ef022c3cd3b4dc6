"""Rasters read back with rasterio: values the right way up, place, nodata, units, times; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from export_cities import GROUND, HOLE, MISSING, ZERO, on_the_ground

from fomo.city import mock_city
from fomo.exports.files import check_kind
from fomo.exports.layers import ground_of, layer_values
from fomo.exports.rasters import export_raster
from fomo.forecast import Forecast, mock_forecast, quantiles_of
from fomo.ingest.ledger import IngestError

SUFFIX = {"geotiff": ".tif", "bil": ".bil", "asc": ".asc"}


def busy_hours(traffic, time):
    """The second road: a loop over cells and hours."""
    steps, height, width = traffic.shape
    hour = [moment.astype("datetime64[s]").item().hour for moment in time]
    found = np.full((height, width), np.nan)
    for y in range(height):
        for x in range(width):
            for each in set(hour):
                day = [float(traffic[t, y, x]) for t in range(steps) if hour[t] == each]
                day = [value for value in day if value == value]
                if day and not found[y, x] >= sum(day) / len(day):
                    found[y, x] = sum(day) / len(day)
    return found


@pytest.mark.parametrize("kind", SUFFIX)
def test_a_mean_lies_in_its_place_with_the_north_on_top(tmp_path, kind):
    city = on_the_ground()
    path = tmp_path / f"mean{SUFFIX[kind]}"
    assert export_raster(city, path, kind=kind, statistic="mean") == (path,)
    expected = [[np.nan] * 4 for _ in range(3)]
    for y in range(3):
        for x in range(4):
            values = [value for value in city["traffic"].values[:, y, x].astype(float) if value == value]
            expected[2 - y][x] = sum(values) / len(values) if values else -9999
    with rasterio.open(path) as raster:
        assert raster.count == 1 and raster.dtypes == ("float32",) and raster.nodata == -9999
        np.testing.assert_allclose(raster.read(1), expected, rtol=1e-6)
        assert raster.crs.to_epsg() == 32633
        assert tuple(raster.bounds) == (500_000, 5_000_000, 501_000, 5_000_750)
        assert raster.res == (250, 250) and raster.transform.e == -250
        assert raster.units == ("GB per period",)
        assert raster.tags()["LICENCE"] == "CC-BY 4.0" and raster.tags()["STATISTIC"] == "mean"
        # the south-western cell of the city is found at its own coordinates
        assert next(raster.sample([(500_125, 5_000_125)]))[0] == pytest.approx(expected[2][0])
        hole = GROUND.west + (HOLE[1] + 0.5) * 250, GROUND.south + (HOLE[0] + 0.5) * 250
        assert next(raster.sample([hole]))[0] == -9999
    beside = {"geotiff": set(), "bil": {"mean.hdr", "mean.prj"}, "asc": {"mean.prj"}}[kind]
    more = set() if kind == "geotiff" else {path.name + ".aux.xml"}
    assert {file.name for file in tmp_path.iterdir()} == {path.name, *beside, *more}


def test_bil_and_asc_are_what_other_programs_expect(tmp_path):
    city = on_the_ground()
    for kind in ("bil", "asc"):
        export_raster(city, tmp_path / f"peak.{kind}", kind=kind, statistic="peak")
    header = dict(line.split() for line in (tmp_path / "peak.hdr").read_text().splitlines())
    assert header["PIXELTYPE"] == "FLOAT" and header["NBITS"] == "32" and header["LAYOUT"] == "BIL"
    assert (header["ULXMAP"], header["ULYMAP"]) == ("500125", "5000625")  # centre of the north-western cell
    bare = np.fromfile(tmp_path / "peak.bil", "<f4").reshape(3, 4)
    lines = (tmp_path / "peak.asc").read_text().splitlines()
    assert [line.split()[0] for line in lines[:6]] == [
        "ncols", "nrows", "xllcorner", "yllcorner", "cellsize", "NODATA_value",
    ]  # fmt: skip
    text = np.array([line.split() for line in lines[6:]], np.float32)
    expected = np.nan_to_num(np.fmax.reduce(city["traffic"].values, axis=0), nan=-9999)[::-1]
    np.testing.assert_array_equal(bare, expected)
    np.testing.assert_array_equal(text, expected)  # nine digits are every bit of a float32
    assert (tmp_path / "peak.prj").read_text().startswith("PROJCS[")


@pytest.mark.parametrize("step_minutes", [15, 60, 240])
def test_the_busy_hour_is_that_of_a_loop(tmp_path, step_minutes):
    city = on_the_ground(steps=3 * 1440 // step_minutes, step_minutes=step_minutes)
    path = tmp_path / "busy.tif"
    export_raster(city, path, kind="geotiff", statistic="busy_hour")
    with rasterio.open(path) as raster:
        found = raster.read(1, masked=True).filled(np.nan)[::-1]
    np.testing.assert_allclose(found, busy_hours(city["traffic"].values, city["time"].values), rtol=1e-6)


def test_every_period_is_a_band_with_its_time(tmp_path):
    city = on_the_ground()
    path = tmp_path / "steps.tif"
    export_raster(city, path, kind="geotiff", statistic="steps", variable="users")
    with rasterio.open(path) as raster:
        assert raster.count == 48 and set(raster.units) == {"users per period"}
        assert raster.descriptions[0] == "2024-03-30T00:00:00+01:00"
        assert raster.descriptions[-1] == "2024-03-31T23:00:00+02:00"  # Rome's summer time began that night
        found = raster.read()
    expected = np.nan_to_num(2 * city["traffic"].values, nan=-9999)[:, ::-1]
    np.testing.assert_array_equal(found, expected)
    assert found[MISSING[0], 2 - MISSING[1], MISSING[2]] == -9999
    assert found[ZERO[0], 2 - ZERO[1], ZERO[2]] == 0


@pytest.mark.parametrize("kind", ["bil", "asc"])
def test_every_period_is_a_file_with_its_time(tmp_path, kind):
    city = on_the_ground()
    times = slice("2024-03-30T05:00", "2024-03-30T06:00")
    paths = export_raster(city, tmp_path / f"t.{kind}", kind=kind, statistic="steps", times=times)
    assert [path.name for path in paths] == [f"t_2024-03-30T0500.{kind}", f"t_2024-03-30T0600.{kind}"]
    for path, values in zip(paths, city["traffic"].values[5:7], strict=True):
        with rasterio.open(path) as raster:
            np.testing.assert_array_equal(raster.read(1), np.nan_to_num(values, nan=-9999)[::-1])
            assert raster.tags()["TIME"] == raster.descriptions[0]
            assert raster.crs.to_epsg() == 32633
        assert path.with_suffix(".prj").exists()
    assert raster.descriptions[0] == "2024-03-30T06:00:00+01:00"


def test_a_forecast_takes_its_place_from_its_city(tmp_path):
    city = on_the_ground()
    forecast = mock_forecast(city, horizon=6, samples=20)
    placed = ("crs", "west_m", "south_m", "cell_m")
    bare = Forecast(forecast.dataset.copy())
    bare.dataset.attrs = {name: value for name, value in forecast.dataset.attrs.items() if name not in placed}
    with pytest.raises(IngestError, match="pass its city"):
        export_raster(bare, tmp_path / "f.tif", kind="geotiff", statistic="mean")
    assert export_raster(forecast, tmp_path / "own.tif", kind="geotiff", statistic="mean")  # it keeps its city's place
    for variable in ("mean", "low", "high"):
        path = tmp_path / f"{variable}.tif"
        export_raster(forecast, path, kind="geotiff", statistic="peak", variable=variable, city=city)
        peaks = forecast.samples.values.max(1)  # of each member
        expected = {
            "mean": peaks.mean(0),
            "low": quantiles_of(peaks, 0.05),
            "high": quantiles_of(peaks, 0.95),
        }[variable]
        with rasterio.open(path) as raster:
            np.testing.assert_allclose(raster.read(1), np.nan_to_num(expected, nan=-9999)[::-1], rtol=1e-6)
            assert raster.tags()["FORECASTER"] == "mock" and raster.bounds.bottom == 5_000_000
    other = on_the_ground().assign_attrs(name="made/other")
    with pytest.raises(IngestError, match="made/other"):
        export_raster(forecast, tmp_path / "f.tif", kind="geotiff", statistic="mean", city=other)


def test_a_rectangle_of_a_city_keeps_its_place_and_other_parts_are_refused(tmp_path):
    city = on_the_ground()
    part = city.isel(y=slice(1, 3), x=slice(2, 4))
    assert ground_of(part).bounds == (500_500, 5_000_250, 501_000, 5_000_750)
    assert ground_of(city) == GROUND
    np.testing.assert_allclose(ground_of(part).lonlat()[1], part["lat"].values)
    for wrong in (city.isel(y=slice(None, None, -1)), city.isel(x=slice(None, None, 2))):
        with pytest.raises(IngestError, match="not spaced by its cells"):
            export_raster(wrong, tmp_path / "w.tif", kind="geotiff", statistic="mean")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "asc"}, "suffix '.tif'"),
        ({"variable": "low"}, "one of traffic, users"),
        ({"times": slice("2030-01-01", None)}, "there are 2024-03-30T00:00 to 2024-03-31T23:00"),
    ],
)
def test_what_cannot_be_asked_is_said(tmp_path, options, message):
    with pytest.raises(IngestError, match=message) as refused:
        export_raster(on_the_ground(), tmp_path / "x.tif", **({"kind": "geotiff", "statistic": "mean"} | options))
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())
    with pytest.raises(IngestError, match="it is one of mean, busy_hour, peak, steps"):
        layer_values(on_the_ground(), "traffic", "median")
    with pytest.raises(IngestError, match="kind 'png' is unknown: it is one of geotiff, bil, asc"):
        check_kind(tmp_path / "x.png", "png", tuple(SUFFIX))


def test_a_city_without_ground_or_with_a_wrong_one_is_refused(tmp_path):
    bare = mock_city()
    with pytest.raises(IngestError, match=r"crs, west_m, south_m, cell_m.*fomo city build"):
        export_raster(bare, tmp_path / "x.tif", kind="geotiff", statistic="mean")
    partly = on_the_ground()
    del partly.attrs["south_m"]
    with pytest.raises(IngestError, match="lacks the attributes south_m,"):
        ground_of(partly)
    with pytest.raises(IngestError, match="EPSG:999999 is no reference system"):
        export_raster(on_the_ground(crs="EPSG:999999"), tmp_path / "x.tif", kind="geotiff", statistic="mean")
    with pytest.raises(IngestError, match="time_zone 'Mars/Olympus' is unknown"):
        lost = on_the_ground().assign_attrs(time_zone="Mars/Olympus")
        export_raster(lost, tmp_path / "x.tif", kind="geotiff", statistic="steps")


def test_too_many_files_are_refused_with_times_that_fit(tmp_path, monkeypatch):
    monkeypatch.setattr("fomo.exports.rasters.MOST_FILES", 10)
    with pytest.raises(IngestError, match=r"T09:00'\) \(--first 2024-03-30T00:00 --last 2024-03-30T09:00\)"):
        export_raster(on_the_ground(), tmp_path / "x.bil", kind="bil", statistic="steps")


@pytest.mark.parametrize("kind", SUFFIX)
def test_an_older_export_is_replaced_and_anything_else_only_when_told(tmp_path, kind):
    city = on_the_ground()
    path = tmp_path / f"x{SUFFIX[kind]}"
    export_raster(city, path, kind=kind, statistic="mean")
    (tmp_path / f"{path.name}.ovr").write_bytes(b"overviews of the older raster")
    export_raster(city, path, kind=kind, statistic="peak")
    assert not (tmp_path / f"{path.name}.ovr").exists()
    with rasterio.open(path) as raster:
        assert raster.tags()["STATISTIC"] == "peak"
    for file in tmp_path.iterdir():
        file.unlink()
    path.write_bytes(b"a thesis")
    with pytest.raises(IngestError, match="pass overwrite=True"):
        export_raster(city, path, kind=kind, statistic="mean")
    assert [file.name for file in tmp_path.iterdir()] == [path.name] and path.read_bytes() == b"a thesis"
    export_raster(city, path, kind=kind, statistic="mean", overwrite=True)
    with rasterio.open(path) as raster:
        assert raster.shape == (3, 4)


def test_a_raster_of_someone_else_is_no_older_export(tmp_path):
    path = tmp_path / "residents.tif"
    with rasterio.open(path, "w", driver="GTiff", width=1, height=1, count=1, dtype="uint8") as raster:
        raster.write(np.ones((1, 1, 1), np.uint8))
    with pytest.raises(IngestError, match="not known as an older geotiff export"):
        export_raster(on_the_ground(), path, kind="geotiff", statistic="mean")


def test_the_projection_of_another_file_is_not_taken_but_its_like_is(tmp_path):
    city = on_the_ground()
    export_raster(city, tmp_path / "x.bil", kind="bil", statistic="mean")
    export_raster(city, tmp_path / "x.asc", kind="asc", statistic="mean")  # the same x.prj
    (tmp_path / "roads.prj").write_text("of roads.shp")
    with pytest.raises(IngestError, match=r"roads\.prj exists and belongs to another file"):
        export_raster(city, tmp_path / "roads.asc", kind="asc", statistic="mean")
    assert not (tmp_path / "roads.asc").exists() and (tmp_path / "roads.prj").read_text() == "of roads.shp"


def test_a_failed_write_leaves_nothing_and_keeps_the_older_file(tmp_path, monkeypatch):
    city = on_the_ground()
    path = tmp_path / "x.tif"
    export_raster(city, path, kind="geotiff", statistic="mean")
    before = path.read_bytes()

    def full(file, *arguments):
        file.write_bytes(b"the first half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fomo.exports.rasters._write_geotiff", full)
    with pytest.raises(IngestError, match="No space left"):
        export_raster(city, path, kind="geotiff", statistic="peak")
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["x.tif"]


def test_layers_of_a_city_without_any_record_are_missing_not_zero():
    city = on_the_ground()
    city["traffic"][:] = np.nan
    for statistic in ("mean", "busy_hour", "peak", "steps"):
        assert np.isnan(layer_values(city, "traffic", statistic)).all()
