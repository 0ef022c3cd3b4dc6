"""Site lists in the forms of the field, golden; what cannot be is refused by name; nothing is lost uncounted."""

from __future__ import annotations

import gzip
from datetime import date, datetime

import numpy as np
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fomo.ingest.ground import Ground, transformer
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.sites import SITES, Sites, choose_ground, make_sites, read_sites, stations_on

GOLDEN = [("A1", 13.4, 52.5, 0.0, 2.5), ("A2", 13.4, 52.5, 120.0, None), ("B1", 13.45, 52.52, None, 0.8)]


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes, name: str = "sites.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


COMMA = "cell,lon,lat,azimuth,range_km\nA1,13.4,52.5,0,2.5\nA2,13.4,52.5,120,\nB1,13.45,52.52,,0.8\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (COMMA, "sites.csv"),
        (COMMA.replace("\n", "\r\n"), "sites.csv"),
        ("\ufeff" + COMMA, "sites.csv"),
        (COMMA.encode("utf-16"), "sites.csv"),
        (gzip.compress(COMMA.encode(), mtime=0), "sites.csv.gz"),
        (COMMA.replace("\n", "\n\n")[:-1], "blank_lines.csv"),
        (COMMA.replace(",", "\t"), "sites.tsv"),
        (COMMA.replace(",", "|"), "sites.txt"),
        (COMMA.replace(",", ";").replace(".", ","), "decimal_commas.csv"),
        (
            'CellName,X_LON,LATITUDE,Azimut,Cell Radius (m)\n"A1","13,4","52,5",360,2500\n'
            "A2, 13.4 ,52.5,120.0,\nB1,13.45,52.52,omni,800\n",
            "usual_names.csv",
        ),
        (
            "Site Id;EUtranCell;longitude;Latitude;bearing;range\n1;A1;13.4;52.5;0;2500\n1;A2;13.4;52.5;120;\n"
            "2;B1;13.45;52.52;;800\n",
            "more.csv",
        ),
    ],
)
def test_every_way_of_writing_a_list_gives_the_same_cells(written, text, name):
    ledger = Ledger()
    sites = read_sites(written(text, name), ledger=ledger)
    assert dict(sites.table.schema) == SITES
    assert sites.table.drop("from", "to").rows() == GOLDEN
    assert sites.cells == ("A1", "A2", "B1")
    assert ledger.taken == 3 and not ledger.rejected
    np.testing.assert_array_equal(sites.column("azimuth"), [0, 120, np.nan])


def test_parquet_and_names_that_are_given(tmp_path):
    path = tmp_path / "list.parquet"
    polars.DataFrame(
        {"id": [1099511627777, 7], "e": [13.4, 13.5], "n": [52.5, 52.6], "turn": [90, None]}
    ).write_parquet(path)
    sites = read_sites(path, columns={"cell": "id", "lon": "e", "lat": "n", "azimuth": "turn"})
    assert sites.table.drop("from", "to").rows() == [
        ("1099511627777", 13.4, 52.5, 90.0, None),
        ("7", 13.5, 52.6, None, None),
    ]


OPENCELLID = (
    "NR,262,1,4711,68719476737,0,13.4,52.5,1500,12,1,1459813819,1459813819,0\n"
    "GSM,262,2,801,86355,,13.41,52.51,0,1,1,1,1,\n"
)
HEADER = "radio,mcc,net,area,cell,unit,lon,lat,range,samples,changeable,created,updated,averageSignal\n"


@pytest.mark.parametrize("text", [OPENCELLID, HEADER + OPENCELLID])
def test_opencellid_with_and_without_header_and_with_wide_cell_ids(written, text):
    ledger = Ledger()
    sites = read_sites(written(text), ledger=ledger)
    assert sites.table.drop("from", "to").rows() == [
        ("262-1-4711-68719476737", 13.4, 52.5, None, 1.5),
        ("262-2-801-86355", 13.41, 52.51, None, None),
    ]
    assert ledger.taken == 2
    assert ledger.noted == {"range is no number above 0 and up to 300 km: taken as not known": 1}


def test_rows_that_are_no_sites_are_counted_with_their_reason(written):
    text = "cell;lon;lat;azimuth;range\nA;13,4;52,5;10;3\nB;;52,5;;\n;13,4;52,5;;\nC;0;0;;\nD;13°24'E;52.5;;\n"
    text += "E;13.41;52.5;-1;-4\nF;13.42;52.5;north;\nA;13.4;52.5;10;3\nG;NaN;52.5;;\n"
    ledger = Ledger()
    sites = read_sites(written(text), ledger=ledger)
    assert sites.table.select("cell", "azimuth", "range_km").rows() == [
        ("A", 10, 3),
        ("E", None, None),
        ("F", None, None),
    ]
    assert ledger.rejected == {
        "cell without a position": 1,
        "cell without a name": 1,
        "position is 0/0": 1,
        "position is no number of degrees": 2,
    }
    assert ledger.taken + sum(ledger.rejected.values()) == 9
    assert "row 3: B,," in ledger.first["cell without a position"]
    assert ledger.noted == {
        "azimuth is no number from 0 to 360: taken as omnidirectional": 2,
        "range is no number above 0 and up to 300 km: taken as not known": 1,
        "range has no unit: read as kilometres, from its values": 2,
        "cell is more than once in the site list, with the same position": 1,
    }


def test_azimuths_that_nobody_filled_in_are_not_known(written):
    ledger = Ledger()
    sites = read_sites(written("cell,lon,lat,azimuth\nA,13.4,52.5,0\nB,13.4,52.5,0\nC,13.5,52.5,0\n"), ledger=ledger)
    assert np.isnan(sites.column("azimuth")).all()
    assert list(ledger.noted) == ["azimuth is 0 in every row: taken as not filled in, cells as omnidirectional"]


ROWS = "".join(f"C{i},{13 + i / 100},{52 + i / 200}\n" for i in range(9))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cell,lon,lat\nA,9.1,151.2\nB,9.2,151.3\n", "swapped in all 2 rows: cell 'A' at lon 9.1, lat 151.2"),
        ("cell,lon,lat\n" + ROWS + "X,52.02,13.03\n", "'X' at lon 52.02, lat 13.03.*swapped back it is among"),
        ("cell,lon,lat\nA,151.2,-33.9\nB,151.3,-33.8\nX,-33.9,151.2\n", "'X' at lon -33.9, lat 151.2.*one of 1.*swap"),
        ("cell,lon,lat\n" + ROWS + "X,3.1,52\nY,31,52\n", "'Y' at lon 31.*km from the middle.*2 such cells"),
        ("cell,lon,lat\nA,391000,5820000\n", "no degree; are they metres"),
        ("cell,lon,lat\n" + ROWS + "C3,13.5,52\n", "'C3'.*two positions, lon 13.03, lat 52.015 and lon 13.5, lat 52"),
        ("cell,lon,lat,azimuth\nA,13,52,1\nA,13,52,2\n", "'A'.*two values of azimuth"),
        ("cell,lon,lat\nA,,\n,13,52\n", "none of the 2 rows.*cell without a name.*row 3.*cell without a position"),
        ("cell,lon,lat\n", "none of the 0 rows.*has no rows"),
        ("cell,lon,lat\nA,13,4,52,5\n", "line 2 of .* has 5 fields and the first has 3: quote decimal commas"),
        ('cell,lon,lat\nA,13.4,52.5\nB,"13.5,52.5\n', "line 3 of .*close its quote"),
        ('cell,lon,lat\nA,13.4,"52.5\n1"\n', "row 2 of .* runs over several lines in column 'lat'"),
        (
            "cell,east,north\nA,1,2\n",
            r"no column that is known as lon, lat; it has .*--site-columns lon=COLUMN lat=COLUMN",
        ),
        ("cell\nA\n", "one column only"),
        ("", "is empty"),
        ("\n\ncell,lon,lat\n", "begins with an empty line"),
        (b"PK\x03\x04\0\0\0\0", "neither text nor Parquet"),
        (b"\x1f\x8b\0\0", "damaged gzip"),
        (b"PAR1rubbish", "damaged Parquet"),
        (b"\xff\xfeA", "damaged UTF-16"),
    ],
)
def test_bad_lists_are_refused_in_words(written, text, told):
    with pytest.raises(IngestError, match=told):
        read_sites(written(text))


def test_bad_requests_are_refused_in_words(written):
    path = written(COMMA)
    with pytest.raises(IngestError, match=r"names \['height'\]; it takes cell, lon, lat"):
        read_sites(path, columns={"height": "lon"})
    with pytest.raises(IngestError, match=r"lacks the columns \['easting'\]"):
        read_sites(path, columns={"lon": "easting"})
    with pytest.raises(IngestError, match="there is no site list"):
        read_sites(path.with_name("absent.csv"))


def test_latin_letters_are_read_and_said(written):
    ledger = Ledger()
    assert read_sites(written("cell,lon,lat\nKöln,7,51\n".encode("latin-1")), ledger=ledger).cells == ("Köln",)
    assert ledger.noted["site list is not UTF-8: read as Latin-1, check names with accents"] == 1


@given(st.binary(max_size=60))
def test_no_bytes_make_it_crash(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(b"cell,lon,lat\nA,13.4,52.5\n" + content)
    ledger = Ledger()
    try:
        sites = read_sites(path, ledger=ledger)
    except IngestError as error:
        assert str(error)
    else:
        assert "A" in sites.cells and ledger.taken >= len(sites.cells)


def test_sites_hold_what_they_say():
    sites = make_sites(polars.DataFrame({"cell": ["A"], "lon": [1], "lat": [2]}))
    assert sites.table.drop("from", "to").rows() == [("A", 1.0, 2.0, None, None)]
    with pytest.raises(IngestError, match="lat"):
        make_sites(polars.DataFrame({"cell": ["A"], "lon": [1]}))
    with pytest.raises(IngestError, match="'A' is twice"):
        make_sites(polars.DataFrame({"cell": ["A", "A"], "lon": [1, 1], "lat": [2, 2]}))
    with pytest.raises(IngestError, match="without cells"):
        Sites(polars.DataFrame(schema=SITES))
    with pytest.raises(IngestError, match="without name or position"):
        make_sites(polars.DataFrame({"cell": ["A"], "lon": [None], "lat": [2]}))
    with pytest.raises(IngestError, match="0 km or less"):
        make_sites(polars.DataFrame({"cell": ["A"], "lon": [1], "lat": [2], "range_km": [0]}))
    with pytest.raises(IngestError, match="columns"):
        Sites(polars.DataFrame({"cell": ["A"]}))


def berlin(lon, lat) -> Sites:
    return make_sites(polars.DataFrame({"cell": [f"C{i}" for i in range(len(lon))], "lon": lon, "lat": lat}))


@given(
    st.lists(st.tuples(st.floats(13.0, 13.9), st.floats(52.2, 52.8)), min_size=1, max_size=8),
    st.sampled_from([100.0, 250.0, 333.3, 1000.0]),
    st.sampled_from([0.0, 500.0, 1000.0]),
)
def test_the_grid_holds_all_sites_and_the_margin_and_no_more(points, cell_m, margin_m):
    sites = berlin(*np.array(points).T)
    try:
        ground = choose_ground(sites, cell_m, margin_m=margin_m)
    except IngestError as error:
        assert "nearly empty" in str(error)
        return
    east, north = ground.project(sites.column("lon"), sites.column("lat"))
    assert ground.crs == "EPSG:32633"
    assert ground.cell_of(east, north)[2].all()
    west, south, right, top = ground.bounds
    for low, high, place in ((west, right, east), (south, top, north)):
        assert 0 <= place.min() - margin_m - low <= cell_m * 1.000001
        assert 0 <= high - place.max() - margin_m <= cell_m * 1.000001
        assert low / cell_m == pytest.approx(round(low / cell_m), abs=1e-6)


def test_one_misplaced_cell_is_told_where_it_makes_the_grid_nearly_empty():
    lon, lat = np.append(13.4 + np.arange(50) / 1000, 14.2), np.append(52.5 + np.arange(50) % 7 / 100, 53.1)
    with pytest.raises(IngestError, match=r"cell 'C50' at lon 14.2, lat 53.1 lies 8\d\.\d km.*nearly empty"):
        choose_ground(berlin(lon, lat), 250.0)
    assert choose_ground(berlin(lon[:50], lat[:50]), 250.0).height < 60


def test_a_grid_of_too_many_cells_and_sizes_that_are_none_are_refused():
    sites = berlin([13.0, 13.5, 13.9], [52.1, 52.5, 52.9])
    with pytest.raises(IngestError, match=r"grid cells of 10 m: take larger ones"):
        choose_ground(sites, 10.0)
    for cell_m, margin_m in ((0.0, 0.0), (-5.0, 0.0), (100.0, -1.0), (float("inf"), 0.0)):
        with pytest.raises(IngestError, match=r"write e\.g\. 500 and 1000"):
            choose_ground(sites, cell_m, margin_m=margin_m)


def test_a_projection_is_taken_where_it_suits_and_refused_by_name_where_not():
    sites = berlin([13.4, 13.5], [52.5, 52.6])
    assert choose_ground(sites, 500.0, crs="25833").crs == "EPSG:25833"
    with pytest.raises(IngestError, match=r"UTM zone 50N.*far from the site list"):
        choose_ground(sites, 500.0, crs="EPSG:32650")
    with pytest.raises(IngestError, match="degree"):
        choose_ground(sites, 500.0, crs="EPSG:4326")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "array", "cells", "zone"),
    [
        ("c2tm_clusters.npz", "bs_lonlat_obfuscated", 13_269, "EPSG:32649"),
        ("milan_20x20.npz", "lte_umts_bs_lonlat_n", 8_300, "EPSG:32632"),
    ],
)
def test_real_site_lists_are_read_whole_and_find_their_zone(real_data, tmp_path, file, array, cells, zone):
    places = np.load(real_data / file)[array][:, :2].astype(float)
    path = tmp_path / "sites.csv"
    polars.DataFrame({"ci": np.arange(len(places)), "lon": places[:, 0], "lat": places[:, 1]}).write_csv(path)
    ledger = Ledger()
    sites = read_sites(path, ledger=ledger)
    assert len(sites.cells) == ledger.taken == cells
    ground = choose_ground(sites, 500.0)
    assert ground.crs == zone
    assert ground.cell_of(*ground.project(places[:, 0], places[:, 1]))[2].all()


def test_stations_are_counted_once_a_position_and_only_on_the_grid():
    ground = Ground("EPSG:32635", 380_000, 6_670_000, 1_000, 3, 4)
    east, north = ground.centres()
    to_degrees = transformer(ground.crs, "EPSG:4326")
    lon, lat = to_degrees.transform(east.ravel() + 0.2, north.ravel())
    again = to_degrees.transform(east[0, :2] + 0.25, north[0, :2])  # sectors of the same two masts
    beyond = to_degrees.transform([379_999.0], [6_670_500.0])
    other = to_degrees.transform(east[1, 1] + 300, north[1, 1])
    every = [np.concatenate([part, *(np.atleast_1d(more[axis]) for more in (again, beyond, other))])
             for axis, part in enumerate((lon, lat))]  # fmt: skip
    found = stations_on(ground, *every, np.full(len(every[0]), np.nan))
    expected = np.ones((3, 4))
    expected[1, 1] = 2
    np.testing.assert_array_equal(found, expected)


def test_the_antennas_of_a_roof_are_one_station():
    ground = Ground("EPSG:32635", 380_000, 6_670_000, 1_000, 3, 4)
    east, north = np.array([380_512.0, 380_488.0, 380_500.0, 383_500.0]), np.array([6_670_500.0] * 4)
    lon, lat = transformer(ground.crs, "EPSG:4326").transform(east, north)
    found = stations_on(ground, lon, lat, np.array([270.0, 90.0, np.nan, 0.0]))
    assert found.sum() == 2 and found[0, 0] == 1 and found[0, 3] == 1


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "array", "crs", "stations"),
    [
        ("milan_20x20", "lte_umts_bs_lonlat_n", "EPSG:32632", 8_300),
        ("c2tm_clusters", "bs_lonlat_obfuscated", "EPSG:32649", 13_269),
    ],
)
def test_published_site_lists_become_a_layer(real_data, name, array, crs, stations):
    with np.load(real_data / f"{name}.npz") as stored:
        lon, lat = stored[array][:, :2].T.astype(float)
    sites = make_sites(polars.DataFrame({"cell": [str(number) for number in range(len(lon))], "lon": lon, "lat": lat}))
    ground = choose_ground(sites, 1_000.0)
    layer = stations_on(ground, lon, lat, np.full(len(lon), np.nan))
    assert ground.crs == crs and len(lon) == stations
    # Positions of the obfuscated list repeat, or lie within a metre; each counts once.
    assert -2 <= layer.sum() - len({(round(e), round(n)) for e, n in zip(*ground.project(lon, lat), strict=True)}) <= 0
    assert layer.max() > 2 * layer.mean() and (layer > 0).sum() > 100


def test_days_in_service_are_read_from_usual_columns_and_given_ones(written):
    text = "cell;lon;lat;from;to\nA;13,4;52,5;01.03.2024;\nB;13,41;52,5;;24.03.2024\nC;13,42;52,5;;31.12.9999\n"
    table = read_sites(written(text)).table
    assert table.select("cell", "from", "to").rows() == [
        ("A", date(2024, 3, 1), None),
        ("B", None, date(2024, 3, 24)),
        ("C", None, None),
    ]
    text = "cell,lon,lat,Valid To,ON_AIR\nA,13.4,52.5,2024-03-24 00:00:00,20240301\n"
    table = read_sites(written(text), columns={"from": "ON_AIR"}).table
    assert table.select("from", "to").rows() == [(date(2024, 3, 1), date(2024, 3, 24))]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("A,13.4,52.5,2024-03-01,2024-02-01\n", "'A' is in service from 2024-03-01 to 2024-02-01"),
        ("A,13.4,52.5,soon,\n", "column 'from' of .* begins with 'soon', no time that is known: write days like"),
        ("A,13.4,52.5,2024-03-01,\nB,13.4,52.5,planned,\n", "from of cell 'B' of .* is 'planned', no day"),
        ("A,13.4,52.5,,03/04/2024\n", "nobody knows whether the day or the month comes first"),
        ("A,13.4,52.5,2024-03-01,\nA,13.4,52.5,2024-03-02,\n", "'A' of .* has two values of from"),
    ],
)
def test_days_in_service_that_cannot_be_are_refused(written, rows, says):
    with pytest.raises(IngestError, match=says):
        read_sites(written("cell,lon,lat,from,to\n" + rows))


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-03-31 23:59:59.999999", date(2024, 3, 31)),
        ("1709999900", date(2024, 3, 9)),  # 15:58:20 UTC
        ("1709929990", date(2024, 3, 8)),
        ("9999-12-31", None),
        ("2999/12/31 23:59:59", None),
        ("31-DEC-9999", None),
        ("99991231", None),
        ("99991231235959", None),
        ("12/31/9999", None),
    ],
)
def test_there_is_no_end_where_the_year_says_so_and_not_where_other_digits_do(written, text, day):
    """The digits were looked for anywhere: fractions of a second and counts of them ended nothing, without a word."""
    table = read_sites(written(f"cell,lon,lat,to\nA,13.4,52.5,{text}\n")).table
    assert table["to"].to_list() == [day]


@pytest.mark.parametrize(
    "text", ["2024-03-31T00:00:00+02:00", "2024-03-31 23:30:00-0500", "2024-03-31T00:00Z", "2024-03-31 00:00:00.0 +02"]
)
def test_of_a_time_with_an_offset_the_day_as_written_counts(written, text):
    """East of Greenwich midnight is on the day before in UTC, and cells ended a day early."""
    table = read_sites(written(f"cell,lon,lat,from,to\nA,13.4,52.5,2024-03-01,{text}\nB,13.4,52.5,,\n")).table
    assert table["to"].to_list() == [date(2024, 3, 31), None]


def test_midnight_of_a_zone_in_parquet_is_on_its_day(tmp_path):
    midnights = [datetime(2024, 3, 31), datetime(2024, 4, 1), None]
    ends = polars.Series(midnights, dtype=polars.Datetime("us")).dt.replace_time_zone("Europe/Rome")
    frame = polars.DataFrame({"cell": ["A", "B", "C"], "lon": [13.4] * 3, "lat": [52.5] * 3, "to": ends})
    frame.write_parquet(tmp_path / "sites.parquet")
    assert read_sites(tmp_path / "sites.parquet").table["to"].to_list() == [date(2024, 3, 31), date(2024, 4, 1), None]
