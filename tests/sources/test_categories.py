"""POI names and the paper's 15 categories."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import make_city, mock_city
from fomo.sources import read_family
from fomo.sources.categories import CATEGORIES, category_names, map_categories, paper_categories, plain_name


def mapped(*names: str) -> list[str | None]:
    """The category of each name, None where it has none."""
    weights = map_categories(names).weights
    return [CATEGORIES[column.argmax()] if column.any() else None for column in weights.T]


def a_town(poi: np.ndarray, names: list[str]):
    traffic = np.ones((24, *poi.shape[1:]))
    return make_city(traffic, name="town", start="2024-01-01", step_minutes=60, poi=poi, poi_names=names)


def test_the_list_holds_the_papers_15_categories_and_each_name_once():
    names = category_names()
    assert tuple(names) == CATEGORIES
    assert len(CATEGORIES) == 15
    listed = [plain_name(name) for group in names.values() for name in group]
    assert sorted(listed) == sorted(set(listed))
    for category in CATEGORIES:
        assert mapped(category, category.title().replace(" ", "")) == [category, category]


def test_the_names_of_nanchang_map_as_reviewed(real_data):
    (city,) = read_family(real_data, "nanchang_grid")
    names = [str(name) for name in city.category.values]
    assert dict(zip(names, mapped(*names), strict=True)) == {
        "unnamed 0": None,
        "Accommodation": "accommodation",
        "SportsLeisure": "physical facilities",
        "unnamed 3": None,
        "Medical": "public health",
        "BusinessResidential": "business",
        "PlaceNameAddress": None,  # the paper has no such category
        "unnamed 7": None,
        "AutomotiveServices": "automobile",
        "unnamed 9": None,
        "EducationCulture": "education",
        "unnamed 11": None,
        "ScenicSpots": "scenic spot",
        "unnamed 13": None,
    }
    mapping = map_categories(names)
    assert (mapping.named, mapping.unknown, mapping.unnamed) == (True, ("PlaceNameAddress",), 6)


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("FinanceInsuranceServices", "finance"),
        ("medical_healthcare-services", "public health"),
        ("Food & Beverages", "restaurant"),
        ("poi_transportation", "transportation"),
        ("Medical 4", "public health"),
        ("餐饮服务", "restaurant"),
        ("体育休闲服务", "physical facilities"),
        ("政府机构及社会团体", "government organs"),
        ("商务住宅", "business"),
        ("amenity=restaurant", "restaurant"),
        ("amenity=fast_food", "restaurant"),
        ("shop", "shopping"),
        ("shop=florist", "shopping"),
        ("shop=hairdresser", "local living"),
        ("tourism=hotel", "accommodation"),
        ("tourism=viewpoint", "scenic spot"),
        ("railway=station", "transportation"),
        ("leisure=park", "scenic spot"),
        ("leisure=pitch", "physical facilities"),
        ("office=government", "government organs"),
        ("amenity=grit_bin", None),
        ("PlaceNameAddressInfo", None),
        ("base_stations", None),
    ],
)
def test_names_of_maps_are_known_however_they_are_written(name, category):
    assert mapped(name) == [category]


def test_unknown_and_unnamed_are_told_apart():
    mapping = map_categories(["Zoo of numbers", "unnamed 3", "unnamed", "?", "", "12", "poi_other"])
    assert (mapping.named, mapping.unnamed) == (False, 5)
    assert mapping.unknown == ("Zoo of numbers", "poi_other")
    assert mapping.weights.shape == (15, 7)
    assert not mapping.weights.any()


def test_counts_are_summed_into_their_category_and_the_total_keeps_all():
    random = np.random.default_rng(3)
    poi = random.integers(0, 9, (5, 3, 4)).astype(np.float32)
    found = paper_categories(a_town(poi, ["hotel", "restaurant", "Hostel", "?", "nonsense"]))
    assert found is not None
    counts, total, mapping = found
    beds = CATEGORIES.index("accommodation")
    np.testing.assert_array_equal(counts[beds], poi[0] + poi[2])
    np.testing.assert_array_equal(counts[CATEGORIES.index("restaurant")], poi[1])
    np.testing.assert_array_equal(total, poi.sum(0))
    assert np.nansum(counts) + poi[3:].sum() == total.sum()
    assert np.isnan(counts).all((1, 2)).sum() == 13
    assert (mapping.unknown, mapping.unnamed) == (("nonsense",), 1)


def test_a_cell_is_missing_only_where_nothing_of_it_is_known():
    poi = np.ones((3, 1, 3))
    poi[0, 0, 1:] = np.nan
    poi[1, 0, 2] = np.nan
    found = paper_categories(a_town(poi, ["hotel", "hostel", "?"]))
    assert found is not None
    counts, total, _ = found
    np.testing.assert_array_equal(counts[CATEGORIES.index("accommodation"), 0], [2, 1, np.nan])
    np.testing.assert_array_equal(total[0], [3, 2, 1])
    poi[2, 0, 2] = np.nan
    found = paper_categories(a_town(poi, ["hotel", "hostel", "?"]))
    assert found is not None
    assert np.isnan(found[1][0, 2])


def test_a_city_without_poi_has_no_categories():
    assert paper_categories(mock_city()) is None
