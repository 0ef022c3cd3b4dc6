"""Figures: they exist, say what they show, and leave matplotlib as it was."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pytest
from made_rows import made_row, undefined
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from fomo.city import make_city, mock_city
from fomo.evaluation.figure_style import BLACK, BLUE, GREY, short_number
from fomo.evaluation.figures import (
    calibration_figure,
    forecast_figure,
    lines_figure,
    save_figure,
    table_figure,
)
from fomo.evaluation.questions import family_questions
from fomo.forecast import make_forecast
from fomo.forecasters.rules import HistoryMean, NeighbourMean, SeasonalAverage
from fomo.windows.task import forecast_task

PNG = b"\x89PNG\r\n\x1a\n"


def asked(city, name="short", rule=None):
    task = family_questions([city], name)[0].task
    rule = rule or SeasonalAverage()
    return rule.forecast_tasks([task], 20, seed=0)[0]


def texts(figure):
    """Everything written in a figure, ticks outside the view left out."""
    FigureCanvasAgg(figure).draw()
    found = list(figure.texts)
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend() is not None)]
    for legend in legends:
        found += legend.get_texts()
    for axes in figure.axes:
        found += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        found += [tick.label1 for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()]
    return [text for text in found if text.get_visible() and text.get_text()]


def overlaps(figure):
    """Pairs of texts whose boxes overlap by more than a pixel, or that leave the figure."""
    boxes = [(text.get_text(), text.get_window_extent().padded(-1)) for text in texts(figure)]
    width, height = figure.get_size_inches() * figure.dpi
    outside = [name for name, box in boxes if box.x0 < -2 or box.y0 < -2 or box.x1 > width + 2 or box.y1 > height + 2]
    pairs = [(a, b) for i, (a, p) in enumerate(boxes) for b, q in boxes[i + 1 :] if p.overlaps(q)]
    return pairs + outside


@pytest.mark.parametrize("shape", [(4, 4), (20, 28), (27, 12)])
def test_no_text_of_a_forecast_figure_overlaps_another(shape):
    city = mock_city(240, *shape)
    figure = forecast_figure(city, asked(city), asked(city, rule=HistoryMean()))
    assert overlaps(figure) == []


def test_a_forecast_figure_names_its_units_forecaster_and_rule(tmp_path):
    city = mock_city(240)
    figure = forecast_figure(city, asked(city), asked(city, rule=HistoryMean()))
    words = " ".join(text.get_text() for text in texts(figure))
    for word in (
        "GB per period",
        "seasonal average, mean",
        "history mean",
        "90 % interval",
        "truth",
        "16 steps of 1 h",
    ):
        assert word in words
    path = save_figure(figure, tmp_path / "figure.png")
    assert path.read_bytes()[:8] == PNG and len(list(tmp_path.iterdir())) == 1


def test_both_maps_of_traffic_have_one_scale_from_zero():
    city = mock_city(240, 6, 7)
    figure = forecast_figure(city, asked(city))
    maps = {axes._left_title.get_text(): axes.images[0] for axes in figure.axes if axes.images}
    assert maps["Truth"].get_clim() == maps["Forecast"].get_clim()
    window = city.sel(time=asked(city).dataset["time"])["traffic"].values[48:]
    np.testing.assert_allclose(maps["Truth"].get_array(), window.mean(0), rtol=1e-6)
    assert maps["Truth"].get_clim()[0] == 0 and maps["Truth"].get_clim()[1] >= window.mean(0).max()


def test_a_forecast_of_the_future_is_drawn_without_a_truth():
    city = mock_city(100)
    (forecast,) = SeasonalAverage().forecast_tasks([forecast_task(city, 16)], 20, seed=0)
    figure = forecast_figure(city, forecast)
    words = [text.get_text() for text in texts(figure)]
    assert "truth" not in words and "Truth" not in words and "Forecast" in words
    assert overlaps(figure) == []


def test_generated_cells_are_drawn_without_a_history():
    city = mock_city(400, 8, 8)
    figure = forecast_figure(city, asked(city, "generate", NeighbourMean()))
    words = [text.get_text() for text in texts(figure)]
    assert "observed" not in words and any("16 cells over 64 steps" in word for word in words)
    maps = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert np.ma.getmaskarray(maps[0]).sum() == 64 - 16  # cells that were not asked are left grey


def test_a_list_of_cells_is_drawn_against_the_truth_and_not_as_a_map():
    grid = mock_city(240, 1, 30)
    city = make_city(grid["traffic"].values, name="list", start="2024-01-01", step_minutes=60, layout="list", unit="GB")
    figure = forecast_figure(city, asked(city))
    assert not any(axes.images for axes in figure.axes)
    assert any("truth [GB]" in text.get_text() for text in texts(figure)) and overlaps(figure) == []


def test_a_list_of_cells_with_gaps_is_compared_over_recorded_steps():
    """Every station of a file once had a gap in the asked period: the panel was empty, with a warning of numpy."""
    grid = mock_city(steps=160, height=1, width=20)
    city = make_city(grid["traffic"].values, name="list", start="2024-01-01", step_minutes=60, layout="list")
    truth = city["traffic"].values[-64:].copy()
    forecast = asked(city.isel(time=slice(-64, None)))
    truth[np.arange(20) % 16 + 48, 0, np.arange(20)] = np.nan
    truth[48:, 0, 3] = np.nan
    gaps = city.isel(time=slice(-64, None)).assign(traffic=(("time", "y", "x"), truth))
    figure = forecast_figure(gaps, forecast)
    dots = next(axes for axes in figure.axes if axes.get_xlabel().startswith("truth")).lines[0]
    came = np.nanmean(np.delete(truth[48:, 0], 3, axis=1), axis=0)
    np.testing.assert_allclose(np.sort(dots.get_xdata()), np.sort(came), rtol=1e-5)


def made(city, asked, samples=40, seed=0, **attrs):
    """Members around the truth where asked; elsewhere they repeat what was observed."""
    truth = np.where(np.isfinite(city["traffic"].values), city["traffic"].values, 5.0)
    noise = np.random.default_rng(seed).lognormal(0, 0.2, (samples, *truth.shape))
    members = np.where(asked, truth * noise, city["traffic"].values)
    attrs = {"context": "none", **attrs}
    context = attrs.pop("context")
    return make_forecast(members, asked, city, forecaster="FoMo", context=context, provenance=attrs)


def panels(figure):
    """Name -> axes, without the numbers after it."""
    return {re.split(r"[:,]| cell", axes._left_title.get_text())[0]: axes for axes in figure.axes}


def drawn(axes, colour):
    """The longest line of a colour: its y values, NaN where there is nothing."""
    lines = [line for line in axes.lines if line.get_color() == colour and line.get_linestyle() != "None"]
    return np.asarray(max(lines, key=lambda line: len(line.get_ydata())).get_ydata())


def marked(axes, colour):
    """Y values of the markers of a colour."""
    dots = [line for line in axes.lines if line.get_color() == colour and line.get_marker() == "o"]
    return np.concatenate([line.get_ydata() for line in dots]) if dots else np.array([])


def field(axes):
    return np.ma.filled(axes.images[0].get_array().astype(float), np.nan)


class Test_generated_cells_with_gaps:
    """Each has a gap, one was never recorded: the map was grey, the scale went to -0.1, no truth and no cell shown."""

    @pytest.fixture
    def city(self):
        city = mock_city(96, 5, 5)
        for at, (y, x) in enumerate(np.ndindex(3, 3)):
            city["traffic"][10 + at, y, x] = np.nan
        city["traffic"][50:52] = np.nan
        city["traffic"][:, 2, 2], city["covered"][2, 2] = np.nan, False
        return city

    @pytest.fixture
    def forecast(self, city):
        asked = np.zeros(city["traffic"].shape, bool)
        asked[:, :3, :3] = True
        return made(city, asked)

    def test_are_averaged_over_the_recorded_steps_in_both_maps(self, city, forecast):
        found = panels(forecast_figure(city, forecast))
        truth = city["traffic"].values[:, :3, :3]
        recorded = np.isfinite(truth)
        came, said = field(found["Truth"])[:3, :3], field(found["Forecast"])[:3, :3]
        some = recorded.any(0)
        np.testing.assert_allclose(came[some], np.nanmean(truth[:, some], 0), rtol=1e-5)
        mean = forecast.mean.values[:, :3, :3]
        np.testing.assert_allclose(said[some], np.nanmean(np.where(recorded, mean, np.nan)[:, some], 0), rtol=1e-5)
        assert np.isnan(came[2, 2])
        np.testing.assert_allclose(said[2, 2], mean[:, 2, 2].mean(), rtol=1e-5)  # generated, though nobody knows
        low, high = found["Truth"].images[0].get_clim()
        assert low == 0 and high == pytest.approx(max(np.nanmax(came), said.max()))
        assert found["Forecast"].images[0].get_clim() == (low, high)

    def test_are_summed_over_the_cells_recorded_at_each_step(self, city, forecast):
        axes = panels(forecast_figure(city, forecast))["Sum of 8"]
        truth, mean = city["traffic"].values[:, :3, :3], forecast.mean.values[:, :3, :3]
        outage = np.isin(np.arange(96), [50, 51])
        np.testing.assert_allclose(drawn(axes, BLACK), np.where(outage, np.nan, np.nansum(truth, (1, 2))), rtol=1e-5)
        both = np.where(np.isfinite(truth), mean, 0).sum((1, 2))
        np.testing.assert_allclose(drawn(axes, BLUE)[~outage], both[~outage], rtol=1e-5)
        all_recorded_once = mean[50:52].sum((1, 2)) - mean[50:52, 2, 2]
        np.testing.assert_allclose(drawn(axes, BLUE)[50:52], all_recorded_once, rtol=1e-5)
        assert "at each step of those recorded" in axes._left_title.get_text()

    def test_are_chosen_by_the_forecast_among_those_of_which_something_is_known(self, city, forecast):
        found = panels(forecast_figure(city, forecast))
        mean = np.where(forecast.asked.values, forecast.mean.values, 0).mean(0)
        mean[2, 2] = 0
        y, x = np.unravel_index(int(mean.argmax()), mean.shape)
        assert found["Busiest"]._left_title.get_text() == f"Busiest cell by forecast: row {y}, column {x}"
        assert np.isfinite(drawn(found["Busiest"], BLACK)).sum() == 93

    def test_say_nothing_and_overlap_nowhere(self, city, forecast):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert overlaps(forecast_figure(city, forecast)) == []


def test_the_sum_leaves_no_busy_cell_out_for_a_gap():
    """All cells but the busy one were recorded throughout, and carry nothing."""
    city = mock_city(96, 2, 3)
    city["traffic"] = city["traffic"] * np.array([[100.0, 0, 0], [0, 0, 0]])
    city["traffic"][20, 0, 0] = np.nan
    forecast = made(city, np.ones(city["traffic"].shape, bool))
    axes = panels(forecast_figure(city, forecast))["Sum of 6"]
    np.testing.assert_allclose(drawn(axes, BLACK), np.nansum(city["traffic"].values, (1, 2)), rtol=1e-5)


class Test_filled_values:
    """What was measured was drawn as forecast, single hours were not drawn, and recorded values had a spread of 0."""

    @pytest.fixture
    def city(self):
        city = mock_city(96, 3, 3)
        city["traffic"][30:40, 0, 0] = np.nan
        city["traffic"][60, 1, 1] = np.nan
        city["traffic"][95, 1, 1] = np.nan
        return city

    @pytest.fixture
    def forecast(self, city):
        return made(city, np.isnan(city["traffic"].values), context="full", context_layers="users")

    def test_are_marked_where_they_stand_alone(self, city, forecast):
        axes = panels(forecast_figure(city, forecast, cells=[(1, 1)]))["Cell at row 1"]
        np.testing.assert_allclose(marked(axes, BLUE), forecast.mean.values[[60, 95], 1, 1], rtol=1e-5)
        line = drawn(axes, BLUE)
        assert set(np.flatnonzero(np.isfinite(line))) == {59, 60, 61, 94, 95}  # from the recorded value to the next
        np.testing.assert_allclose(line[[59, 61, 94]], city["traffic"].values[[59, 61, 94], 1, 1], rtol=1e-5)
        np.testing.assert_array_equal(drawn(axes, GREY), city["traffic"].values[:, 1, 1])
        upright = [lines for lines in axes.collections if isinstance(lines, LineCollection)]
        assert [len(lines.get_segments()) for lines in upright] == [2, 2]  # 90 % and 50 % of both

    def test_stand_beside_what_was_measured_in_the_sum(self, city, forecast):
        axes = panels(forecast_figure(city, forecast))["Sum of 2"]
        asked = np.isin(np.arange(96), [*range(30, 40), 60, 95])
        beside = np.isin(np.arange(96), [29, 40, 59, 61, 94])
        pair = city["traffic"].values[:, [0, 1], [0, 1]]
        np.testing.assert_allclose(drawn(axes, GREY), np.nansum(pair, 1), rtol=1e-5)
        np.testing.assert_array_equal(np.isfinite(drawn(axes, BLUE)), asked | beside)
        mean = forecast.mean.values[:, [0, 1], [0, 1]].sum(1)
        np.testing.assert_allclose(drawn(axes, BLUE)[asked], mean[asked], rtol=1e-5)
        order = [line.get_color() for line in axes.lines if line.get_linestyle() == "-"]
        assert order.index(BLUE) < order.index(GREY)  # what is measured lies above

    def test_alone_are_averaged_in_the_maps(self, city, forecast):
        found = panels(forecast_figure(city, forecast))
        members = forecast.samples.values
        expected = np.full((3, 3), np.nan)
        spread = expected.copy()
        for place, steps in (((0, 0), slice(30, 40)), ((1, 1), [60, 95])):
            asked = members[:, steps, *place]
            expected[place], spread[place] = asked.mean(), 100 * asked.std(0).mean() / asked.mean()
        np.testing.assert_allclose(field(found["Forecast"]), expected, rtol=1e-5)
        np.testing.assert_allclose(field(found["Uncertainty"]), spread, rtol=1e-5)

    def test_alone_are_averaged_where_there_is_no_map(self, city, forecast):
        columns = city["traffic"].values.reshape(96, 1, 9)
        listed = make_city(columns, name="list", start="2024-01-01", step_minutes=60, layout="list")
        filled = made(listed, np.isnan(columns))
        dots = next(axes for axes in forecast_figure(listed, filled).figure.axes if "by forecast" in axes.get_xlabel())
        asked = np.where(np.isnan(columns), filled.mean.values, np.nan)[:, 0, [0, 4]]
        np.testing.assert_allclose(np.sort(marked(dots, BLUE)), np.sort(np.nanmean(asked, 0)), rtol=1e-5)

    def test_are_counted_in_the_title_and_say_nothing_else(self, city, forecast):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = forecast_figure(city, forecast)
            assert overlaps(figure) == []
        assert "mock: 12 values of 2 cells, all users known" in [text.get_text() for text in texts(figure)]

    def test_are_shaded_each_and_not_what_lies_between(self, city, forecast):
        axes = panels(forecast_figure(city, forecast))["Sum of 2"]
        assert len([patch for patch in axes.patches if isinstance(patch, Rectangle)]) == 3


def test_one_step_after_a_gap_is_marked_with_its_interval():
    city = mock_city(49, 3, 3)
    city["traffic"][47] = np.nan
    asked = np.zeros(city["traffic"].shape, bool)
    asked[48] = True
    forecast = made(city, asked)
    future = city.isel(time=slice(0, 48))
    figure = forecast_figure(future, forecast)
    for axes in (panels(figure)["Sum of 9"], panels(figure)["Busiest"]):
        assert len(marked(axes, BLUE)) == 1
        assert sum(isinstance(lines, LineCollection) for lines in axes.collections) == 2
    assert any("1 step of 1 h" in text.get_text() for text in texts(figure))


def test_one_member_has_no_spread_instead_of_one_of_nothing():
    city = mock_city(96, 3, 3)
    found = panels(forecast_figure(city, made(city, np.ones(city["traffic"].shape, bool), samples=1)))
    assert np.isnan(field(found["Uncertainty"])).all() and found["Uncertainty"].images[0].get_clim() == (0, 1)


@pytest.mark.parametrize(
    ("context", "layers", "words"),
    [
        ("past", "users, poi, residents", "past users known"),
        ("full", "users", "all users known"),
        ("past", "poi, residents", "POI and residents known"),
        ("full", "poi", "POI known"),
        ("past", "residents", "residents known"),
        ("past", "", "users not known"),
        ("none", "", "users not known"),
        ("none", None, "users not known"),
        ("past", None, "past users known"),  # of a forecaster that does not name its layers
    ],
)
def test_the_title_names_what_was_known(context, layers, words):
    city = mock_city(96, 3, 3)
    named = {} if layers is None else {"context_layers": layers}
    figure = forecast_figure(city, made(city, np.ones(city["traffic"].shape, bool), context=context, **named))
    assert f"mock: 9 cells over 96 steps of 1 h, {words}" in [text.get_text() for text in texts(figure)]


@pytest.mark.parametrize(("share", "said"), [(0.07, "7"), (0.0004, "0.0"), (0.9996, "99.9"), (0.0, "0")])
def test_the_title_says_at_how_many_values_users_were_known(share, said):
    """'all users known' stood over a district whose users were known at 7 % of the hours."""
    city = mock_city(96, 3, 3)
    asked = np.ones(city["traffic"].shape, bool)
    forecast = made(city, asked, context="full", context_layers="users, poi", users_known=share)
    titles = [text.get_text() for text in texts(forecast_figure(city, forecast))]
    assert f"mock: 9 cells over 96 steps of 1 h, users known at {said} % of it" in titles


def test_a_rule_that_is_not_defined_is_not_in_the_legend():
    city = mock_city(800, step_minutes=15)
    figure = forecast_figure(city, asked(city, rule=HistoryMean()), asked(city, rule=SeasonalAverage()))
    assert not any("seasonal" in text.get_text() for text in texts(figure))


def test_a_city_without_any_traffic_can_still_be_drawn(tmp_path):
    city = mock_city(240)
    city["traffic"][:] = 0.0
    city["traffic"][0] = 1.0  # the scale of the questions needs some
    figure = forecast_figure(city, asked(city))
    save_figure(figure, tmp_path / "zero.png")
    assert (tmp_path / "zero.png").read_bytes().startswith(b"\x89PNG")


def test_amounts_are_not_drawn_beside_shares_of_full_traffic():
    city = mock_city(steps=24)
    whole = np.ones(city["traffic"].shape, bool)
    traffic = city["traffic"].values[None]
    shares = make_forecast(traffic / 50, whole, city.assign_attrs(unit="share of full traffic"), forecaster="f")
    amounts = make_forecast(traffic, whole, city, forecaster="f")
    shown = [{axes.get_title(loc="left") for axes in forecast_figure(city, each).axes} for each in (shares, amounts)]
    assert ["Truth" in titles for titles in shown] == [False, True]


def test_chosen_cells_replace_the_busiest_and_the_median():
    city = mock_city(240)
    figure = forecast_figure(city, asked(city), cells=[(1, 2)])
    words = [text.get_text() for text in texts(figure)]
    assert "Cell at row 1, column 2" in words and not any("Busiest" in word for word in words)


def test_a_table_figure_shows_every_score_and_says_what_is_not_defined():
    rows = [made_row(name, value, task=task) for name, value in (("fomo", 0.1), ("rule", 0.2)) for task in ("a", "b")]
    figure = table_figure([*rows, undefined(task="b")], highlight="fomo", title="Title")
    words = [text.get_text() for text in texts(figure)]
    assert words.count("0.1000") == 2 and words.count("0.2000") == 2 and words.count("not defined") == 1
    assert overlaps(figure) == []


def test_a_calibration_figure_draws_each_forecaster_at_its_coverage():
    levels = np.arange(1, 10) / 10
    figure = calibration_figure({"ours": (levels, levels**2), "theirs": (levels[:5], levels[:5])})
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_array_equal(lines["ours"].get_ydata(), levels**2)
    assert len(lines["theirs"].get_xdata()) == 5 and overlaps(figure) == []


def test_lines_have_named_axes_and_marks_where_the_points_are():
    steps = np.array([1, 2, 4, 8, 16])
    figure = lines_figure({"heun": (steps, 1 / steps)}, across="steps", up="RMSE [GB]", logarithmic="x")
    words = [text.get_text() for text in texts(figure)]
    assert {"steps", "RMSE [GB]", "heun", "1", "2", "4", "8", "16"} <= set(words)


def test_figures_change_no_global_state_of_matplotlib():
    code = (
        "import matplotlib, sys; state = lambda: str(list(dict.items(matplotlib.rcParams))); before = state();"
        "import fomo.evaluation.figures as f; f.lines_figure({'a': ([1], [1])}, across='x', up='y');"
        "assert state() == before and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert matplotlib.rcParams["figure.autolayout"] is False


def test_figures_are_png_or_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"\.png"):
        save_figure(lines_figure({"a": (np.ones(2), np.ones(2))}, across="x", up="y"), tmp_path / "figure.pdf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.05, "0.05"), (999, "999"), (1200, "1.2k"), (3.5e6, "3.5M"), (2e10, "20G")]
)
def test_numbers_on_axes_are_short(value, text):
    assert short_number(value) == text
