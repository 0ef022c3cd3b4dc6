"""Figures of a city's health: they show the numbers of `Health`, name units, and take names as plain text."""

from __future__ import annotations

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm

import fomo
from fomo.city import make_city, mock_city
from fomo.evaluation.health import health_of
from fomo.evaluation.health_figures import (
    coverage_figure,
    health_figures,
    map_figure,
    profile_figure,
    strangest_figure,
    total_figure,
)
from fomo.evaluation.plain_text import plain_text

HOSTILE = "a$x_{1$<b>\n\x1b[31m"


def words(figure):
    FigureCanvasAgg(figure).draw()
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def gappy():
    city = fomo.synthetic_city(days=9)
    traffic = city["traffic"].values
    traffic[30:40] = np.nan
    traffic[:, 2, 3] = np.nan
    return city.assign(covered=(("y", "x"), np.isfinite(traffic).any(0)))


def operator_cells(count=40):
    city = fomo.synthetic_city(days=9)
    values = city["traffic"].values.reshape(216, -1)[:, -count:].copy()
    values[:, 0], values[:, 1] = 0, np.nan
    names = [HOSTILE, *(f"cell {number}" for number in range(1, count))]
    places = {"lon": ("cell", 25 + np.arange(count) / 100), "lat": ("cell", np.r_[np.nan, np.full(count - 1, 60.2)])}
    return xr.Dataset({"traffic": (("time", "cell"), values)}, {"time": city["time"].values, "cell": names, **places})


def test_all_figures_can_be_drawn_and_name_the_unit():
    city = gappy()
    figures = health_figures(city, health_of(city))
    assert list(figures) == ["map", "coverage", "total", "profile", "strangest cells"]
    for name, figure in figures.items():
        said = words(figure)
        assert ("recorded values, %" if name == "coverage" else "GB per period") in said


def test_the_map_is_logarithmic_with_uncovered_cells_hatched_and_the_mean_in_it():
    city = gappy()
    figure = map_figure(city, health_of(city))
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left")[:9] for axes in maps] == ["Mean of a", "Busy hour"]
    for axes, traffic in zip(maps, (city["traffic"], city["traffic"][city["time"].dt.hour == 21]), strict=True):
        shown = axes.images[1]
        assert isinstance(shown.norm, LogNorm) and axes.patch.get_hatch() == "////"
        wanted = traffic.mean("time").values
        np.testing.assert_allclose(shown.get_array().filled(np.nan), np.where(wanted > 0, wanted, np.nan), rtol=1e-5)
        assert np.isnan(wanted[2, 3]) and shown.get_array().mask[2, 3] and axes.images[0].get_array().mask[2, 3]
        assert not axes.images[0].get_array().mask[wanted == 0].any()
    assert maps[0].images[1].norm.vmax == maps[1].images[1].norm.vmax


def test_a_list_has_no_map_but_ranks():
    values = fomo.synthetic_city(days=3)["traffic"].values.reshape(72, 1, 64)
    city = make_city(values, name="list", start="2024-01-01", step_minutes=60, layout="list", unit="GB")
    figure = map_figure(city, health_of(city))
    assert not any(axes.images for axes in figure.axes)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), np.sort(values.mean((0, 1)))[::-1], rtol=1e-5)


def test_the_operators_cells_are_placed_and_hostile_names_are_text():
    looked = health_of(fomo.synthetic_city(days=9), operator_cells())
    said = words(map_figure(fomo.synthetic_city(days=9), looked))
    assert "1 without a position" in said and "never recorded" in said
    said = words(strangest_figure(looked, "GB$_", dated=True))
    assert ". a$x_{1$<b> \ufffd[31m" in said and "dead: zero all along" in said and "GB$_" in said
    assert "\x1b" not in said


def test_coverage_by_day_hour_and_cell():
    looked = health_of(gappy())
    left, right = coverage_figure(looked).axes[:2]
    np.testing.assert_allclose(left.images[0].get_array(), 100 * looked.by_day_hour.T)
    np.testing.assert_allclose(right.images[0].get_array(), 100 * looked.by_cell_day)
    assert left.images[0].get_array()[6:16, 1].max() == 0  # steps 30 to 39: 06:00 to 15:59 of the second day


def test_coverage_of_many_cells_is_in_order():
    looked = health_of(fomo.synthetic_city(height=12, width=12, days=7, missing=0.1))
    right = coverage_figure(looked).axes[1]
    shares = right.lines[0].get_ydata()
    assert not right.images and len(shares) == 144 and (np.diff(shares) >= 0).all()
    assert shares.mean() == pytest.approx(100 * looked.recorded)


def test_days_out_of_service_are_blank_and_no_share():
    city = fomo.synthetic_city(height=12, width=12, days=7)
    never = np.full((12, 12), np.datetime64("NaT", "ns"))
    first, gone = never.copy(), never.copy()
    first[0], gone[1, 0] = city["time"].values[-1].astype("datetime64[D]"), np.datetime64("1999-01-01")
    traffic = city["traffic"].values.copy()
    traffic[:-24, 0] = np.nan
    traffic[:, 1, 0] = np.nan
    city = city.assign(traffic=(("time", "y", "x"), traffic))
    city = city.assign(first_served=(("y", "x"), first), last_served=(("y", "x"), gone))
    looked = health_of(city)
    assert coverage_figure(looked).axes[1].lines[0].get_ydata().tolist() == [100.0] * 143
    looked = health_of(city.isel(y=slice(0, 8)))
    shown = coverage_figure(looked).axes[1].images[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown)).sum() == 12 * 6 + 7


def test_strange_cells_are_shaded_where_they_are_in_service_alone():
    city = gappy()
    traffic = city["traffic"].values.copy()
    traffic[20:, 0, 0] = np.nan
    traffic[60:, 0, 0] = 0
    never = np.full(traffic.shape[1:], np.datetime64("NaT", "ns"))
    last = never.copy()
    last[0, 0] = city["time"].values[47].astype("datetime64[D]")
    city = city.assign(traffic=(("time", "y", "x"), traffic))
    city = city.assign(first_served=(("y", "x"), never), last_served=(("y", "x"), last))
    looked = health_of(city)
    at = next(number for number, each in enumerate(looked.strangest) if each.name == "row 0, column 0")
    axes = strangest_figure(looked, "GB").axes[at]
    assert np.isnan(axes.lines[0].get_ydata()[20:]).all()
    (shape,) = axes.collections
    (path,) = shape.get_paths()
    assert np.ptp(path.vertices[:, 0]) == pytest.approx(28 / 24)  # hours 20 to 47, and not those after


def test_gaps_are_shaded_in_the_total():
    looked = health_of(gappy())
    figure = total_figure(looked, "GB per period")
    upper = figure.axes[0]
    np.testing.assert_array_equal(upper.lines[0].get_ydata(), looked.total)
    shaded = upper.collections[0].get_paths()
    assert len(shaded) == 1  # one gap
    extent = shaded[0].get_extents()
    assert (extent.x1 - extent.x0) * 24 == pytest.approx(10)  # in days, as matplotlib counts
    looked.complete[100] = False  # a single period is seen too
    again = total_figure(looked, "GB per period").axes[0].collections[0].get_paths()
    assert [round((path.get_extents().x1 - path.get_extents().x0) * 24, 6) for path in again] == [10, 1]
    assert "fewer than 90%" in words(figure)
    assert "fewer" not in words(total_figure(health_of(mock_city()), "GB"))


def test_the_profile_has_quartiles_and_mean_of_both_kinds_of_days():
    looked = health_of(fomo.synthetic_city())
    figure = profile_figure(looked, "GB per period")
    for axes, profile in zip(figure.axes, (looked.weekdays, looked.weekends), strict=True):
        median, mean = (line.get_ydata() for line in axes.lines)
        np.testing.assert_array_equal(median, profile.quartiles[1])
        np.testing.assert_array_equal(mean, profile.mean)
    assert "no complete period" in words(profile_figure(health_of(mock_city(30)), "GB"))  # no weekend in it


def test_strange_cells_are_drawn_as_they_are():
    cells = operator_cells()
    looked = health_of(fomo.synthetic_city(days=9), cells)
    panels = [axes for axes in strangest_figure(looked, "GB").axes if axes.get_visible()]
    assert len(panels) == len(looked.strangest) >= 2
    for axes, strange in zip(panels, looked.strangest, strict=True):
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), cells["traffic"].values[:, strange.cell])
        low, high = axes.get_ylim()
        assert low < 0 < high  # a line of zeros is inside


@pytest.mark.parametrize("steps", [1, 30])
def test_short_cities_can_be_drawn(steps):
    city = mock_city(steps)
    figures = health_figures(city, health_of(city))
    assert "strangest cells" not in figures and all(words(figure) for figure in figures.values())


def test_a_city_without_records_can_be_drawn():
    city = make_city(np.full((48, 3, 3), np.nan), name="none", start="2024-01-01", step_minutes=60,
                     covered=np.ones((3, 3), bool))  # fmt: skip
    figures = health_figures(city, health_of(city))
    assert all(words(figure) for figure in figures.values())


def test_no_label_of_a_day_lies_on_another():
    figure = total_figure(health_of(fomo.synthetic_city(days=120)), "GB")
    FigureCanvasAgg(figure).draw()
    boxes = [label.get_window_extent() for label in figure.axes[1].get_xticklabels() if label.get_text()]
    assert len(boxes) > 3 and all(one.x1 < other.x0 for one, other in pairwise(boxes))


@pytest.mark.parametrize(
    ("text", "most", "plain"),
    [("a\tb\x00c", 0, "a b\ufffdc"), ("abcdef", 4, "abc…"), (12, 0, "12"), ("\u202eab", 0, "\ufffdab")],
)
def test_text_is_made_plain(text, most, plain):
    assert plain_text(text, most) == plain


def test_health_figures_change_no_global_state():
    before = str(list(dict.items(matplotlib.rcParams)))
    city = mock_city()
    coverage_figure(health_of(city))
    assert str(list(dict.items(matplotlib.rcParams))) == before
