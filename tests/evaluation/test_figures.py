"""Figures: they exist, say what they show, and leave matplotlib as it was."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from made_rows import made_row, undefined
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fomo.city import make_city, mock_city
from fomo.evaluation.figure_style import short_number
from fomo.evaluation.figures import (
    calibration_figure,
    forecast_figure,
    lines_figure,
    save_figure,
    table_figure,
)
from fomo.evaluation.questions import family_questions
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
