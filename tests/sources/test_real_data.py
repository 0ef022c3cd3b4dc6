"""The releases themselves: what is known of them from their description, read back through the readers."""

from __future__ import annotations

import numpy as np
import polars
import pytest

from fomo.city import validate
from fomo.sources import list_families, read_cities, read_family

pytestmark = pytest.mark.real_data

CELLS = {  # family -> cells of its grid; lengths and numbers of regions differ between releases
    "uomo_nanjing": (4, 4),
    "uomo_nanchang": (4, 4),
    "uomo_shandong": (4, 4),
    "mobile_nanjing": (20, 28),
    "mobile_shanghai": (20, 20),
    "jinan": (20, 20),
    "jinan_4g_up": (20, 20),
    "jinan_districts_5g_down": (1, 162),
    "nanchang_grid": (27, 24),
    "milan_20x20": (20, 20),
    "milan_5x5_internet": (5, 5),
    "c2tm_clusters": (1, 127),
    "barcelona_lte_dci": (1, 1),
    "itu_5g_cell_load_energy": (1, 1020),
    "german_cities_context_aachen": (11, 17),
}

CONTEXT_CELLS = {  # those without traffic
    "german_cities_context_aachen_context": (22, 28),
    "german_cities_context_bonn_context": (36, 39),
    "german_cities_context_dresden_context": (40, 63),
    "german_cities_context_frankfurt_context": (58, 77),
    "german_cities_context_munich_context": (56, 75),
}


def test_every_family_is_listed_and_what_is_no_traffic_is_not(real_data):
    families = list_families(real_data)
    assert set(CELLS) | set(CONTEXT_CELLS) <= set(families)
    assert not any(name.startswith("poi_") for name in families)


@pytest.mark.parametrize("family", CELLS)
def test_a_family_is_read_whole_and_valid(real_data, family):
    cities = read_family(real_data, family)
    for city in cities:
        assert validate(city) is city
        assert city.traffic.shape[1:] == CELLS[family]
        assert city.attrs["family"] == family
        assert np.isfinite(city.traffic.values).any()
        assert city.attrs["synthetic"] == int("german" in family)


@pytest.mark.parametrize("family", CONTEXT_CELLS)
def test_a_city_of_context_alone_has_people_places_and_no_traffic(real_data, family):
    (city,) = read_family(real_data, family)
    assert validate(city) is city
    assert city.traffic.shape == (168, *CONTEXT_CELLS[family])
    assert np.isnan(city.traffic.values).all()
    assert (city.attrs["family"], city.attrs["synthetic"]) == (family, 0)
    assert city.covered.values.all()
    assert 1_000 < float(city.residents.mean()) / city.attrs["cell_km"] ** 2 < 10_000  # people per square kilometre
    assert (city.poi.values == np.round(city.poi.values)).all()
    assert np.corrcoef(city.residents.values.ravel(), np.log1p(city.poi.values.sum(0)).ravel())[0, 1] > 0.4
    assert city.landuse.values.sum(0).max() < 1.001


def test_the_woods_lie_south_of_frankfurt_and_north_east_of_dresden(real_data):
    (frankfurt,) = read_family(real_data, "german_cities_context_frankfurt_context")
    (dresden,) = read_family(real_data, "german_cities_context_dresden_context")
    south, north = (frankfurt.landuse.values[10][::way][8:18, 26:38].mean() for way in (1, -1))
    assert south > 0.8 > 0.6 > north
    south, north = (dresden.landuse.values[10][::way][:10, -25:].mean() for way in (1, -1))
    assert north > 0.9 > 0.6 > south


def test_all_names_in_the_folder_are_unique(real_data):
    files = sorted(set(list_families(real_data).values()))
    names = [city.attrs["name"] for path in files for city in read_cities(path)]
    assert len(set(names)) == len(names) > 60


def test_users_know_of_traffic_in_the_authors_release(real_data):
    for family in ("uomo_nanjing", "uomo_nanchang", "uomo_shandong"):
        for city in read_family(real_data, family):
            assert 0 <= city.attrs["fold"] <= 4
            assert np.isfinite(city.traffic.values).all()
            assert np.corrcoef(city.users.values.ravel(), city.traffic.values.ravel())[0, 1] > 0.5


def test_every_city_sleeps_at_night(real_data):
    for family in ("jinan", "milan_20x20", "milan_5x5_internet", "mobile_nanjing", "mobile_shanghai"):
        (city,) = read_family(real_data, family)
        by_hour = city.traffic.sum(("y", "x")).groupby("time.hour").mean()
        assert int(by_hour.idxmin()) in (3, 4, 5, 6), family
        assert by_hour.values[10:22].min() > 1.5 * by_hour.values.min()


def test_milan_rests_on_sunday(real_data):
    (city,) = read_family(real_data, "milan_20x20")
    by_day = city.traffic.sum(("y", "x")).groupby("time.dayofweek").mean()
    assert int(by_day.idxmin()) == 6


def test_the_centre_of_nanchang_and_of_jinan_is_where_the_map_has_it(real_data):
    (nanchang,) = read_family(real_data, "nanchang_grid")
    lon, lat = nanchang.lon.values, nanchang.lat.values
    assert lon.min() < 115.89 < lon.max()
    assert lat.min() < 28.68 < lat.max()
    districts = read_family(real_data, "jinan_districts_5g_down")[0]
    (jinan,) = read_family(real_data, "jinan")
    inside = (districts.lon > jinan.lon.min()) & (districts.lon < jinan.lon.max())
    inside &= (districts.lat > jinan.lat.min()) & (districts.lat < jinan.lat.max())
    assert 40 < int(inside.sum()) < 80


def test_the_tiles_of_nanchang_lie_where_another_source_counts_points_of_interest(real_data):
    (city,) = read_family(real_data, "nanchang_grid")
    points = polars.read_parquet(real_data / "poi_nanchang_nanjing.parquet")
    points = points.filter(polars.col("city").cast(polars.String) == "Nanchang")
    edges = []
    for centres in (city.lat.values[:, 0], city.lon.values[0]):
        between = (centres[1:] + centres[:-1]) / 2
        edges.append([2 * centres[0] - between[0], *between, 2 * centres[-1] - between[-1]])
    counted, _, _ = np.histogram2d(points["lat_gcj02"].to_numpy(), points["lon_gcj02"].to_numpy(), edges)
    stated = city.poi.values.sum(0)
    known = np.isfinite(stated)
    assert np.corrcoef(np.log1p(counted[known]), np.log1p(stated[known]))[0, 1] > 0.9


def test_withheld_tiles_of_nanchang_keep_their_context(real_data):
    (city,) = read_family(real_data, "nanchang_grid")
    context = np.isfinite(city.residents.values) & np.isfinite(city.poi.values).all(0)
    assert (context[city.covered.values]).all()
    assert (context & ~city.covered.values).sum() > 0


def test_few_spikes_of_c2tm_are_clipped(real_data):
    (city,) = read_family(real_data, "c2tm_clusters")
    recorded = np.isfinite(city.traffic.values).sum()
    assert 0 < city.attrs["clipped_values"] < 0.01 * recorded
    hourly = np.nansum(city.traffic.values, axis=(1, 2))
    assert hourly.max() < 10 * np.median(hourly[hourly > 0])
