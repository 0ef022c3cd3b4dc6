"""Figures of plans: they show the numbers they are given, name units, and take names as plain text."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from fomo.evaluation.figure_style import BLUE
from fomo.evaluation.planning_figures import (
    coverage_figure,
    deployment_figure,
    scheduling_figure,
    sensitivity_figure,
    sleep_figure,
    strategies_figure,
)
from fomo.evaluation.planning_figures import sleep as sleep_module
from fomo.evaluation.planning_figures.strategies import by_line, change_of, names_of, number_format
from fomo.planning.rows import AS_FORECAST, STRATEGIES, PlanRow

HOSTILE = "a$x_{1$<b>\n\x1b[31m"
FORECASTERS = {"always_on": "nobody", "history": "same hour last week", "rival": "Lag-Llama", "fomo": "FoMo",
               "real": "what happened"}  # fmt: skip
METRICS = {"objective": ("", (3.1, 2.4, 2.31, 2.12, 2.05)),
           "QoS loss": ("share of load", (0.0, 0.041, 0.035, 0.021, 0.012)),
           "switching": ("RRU switches per cell and day", (0.0, 7.1, 6.4, 4.2, 4.0)),
           "energy": ("kWh per cell and day", (41.23, 22.4, 23.1, 24.9, 24.4))}  # fmt: skip
SCENARIOS = {AS_FORECAST: 1.0, "forecast +20 %": 1.06, "forecast -20 %": 1.21, "a site fails": 1.4}


def plan_rows(cities=("jinan",), metrics=METRICS, scenarios=(AS_FORECAST,), application="sleep", strategies=STRATEGIES):
    return [
        PlanRow(application, city, strategy, FORECASTERS[strategy], scenario, metric, unit, value, 0.94 * value,
                1.07 * value, 12, 3)
        for number, city in enumerate(cities, 1)
        for scenario in scenarios
        for metric, (unit, values) in metrics.items()
        for place, strategy in enumerate(STRATEGIES)
        if strategy in strategies
        for value in [values[place] * number * (1 if strategy in ("always_on", "real") else SCENARIOS[scenario])]
    ]  # fmt: skip


def sleep_arrays(days=7, cells=40, samples=50, seed=0):
    random = np.random.default_rng(seed)
    time = np.datetime64("2024-03-04T00") + np.arange(24 * days) * np.timedelta64(1, "h")
    day = (
        1.2 + np.sin((np.arange(24 * days) - 9) / 24 * 2 * np.pi) + 0.3 * np.sin(np.arange(24 * days) / 24 * 4 * np.pi)
    )
    size = random.lognormal(3, 0.8, cells)
    truth = day[:, None] * size * random.lognormal(0, 0.12, (24 * days, cells))
    members = day[:, None] * size * random.lognormal(0, 0.15, (samples, 24 * days, cells))
    capacity = size * 0.45
    planned = np.ceil(np.quantile(members, 0.8, axis=0) / capacity).astype(int)
    oracle = np.ceil(0.95 * truth / capacity).astype(int)
    return {"time": time, "members": members, "truth": truth, "active": planned, "oracle_active": oracle,
            "capacity": capacity, "unit": "GB per period"}  # fmt: skip


def slots(cells=6, count=16, seed=0, minutes=60):
    random = np.random.default_rng(seed)
    time = np.datetime64("2024-03-04T08") + np.arange(count) * np.timedelta64(minutes, "m")
    rise = np.cumsum(random.uniform(-1, 2, count)).clip(0)
    backlog = {name: rise * factor * 1e9 for name, factor in zip(STRATEGIES, (3, 2.2, 1.9, 1.5, 1.4), strict=True)}
    delay = {name: (1 + rise / 4) * factor for name, factor in zip(STRATEGIES, (1.5, 1.3, 1.2, 1.1, 1), strict=True)}
    shares = random.dirichlet(np.arange(1, cells + 1), count)
    return {"time": time, "backlog": backlog, "delay": delay, "blocks": np.floor(shares * 273).astype(int),
            "budget": 273.0, "names": {"rival": "Lag-Llama", "always_on": "equal shares"}}  # fmt: skip


def stations(seed=0, side=16, total=60):
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    traffic = np.exp(-((y - 6) ** 2 + (x - 9) ** 2) / 18) * 400 + random.lognormal(1, 0.6, (side, side))
    traffic[:2, :3] = np.nan
    schemes = {}
    for name, power in {"residents": 0.4, "POI": 1.3, "fomo": 0.8, "facility location": 0.6, "real": 0.9}.items():
        share = np.nan_to_num(traffic) ** power
        schemes[name] = random.multinomial(total, (share / share.sum()).ravel()).reshape(side, side)
    return {"stations": schemes, "traffic": traffic, "traffic_name": "generated traffic of a day", "unit": "GB per day",
            "cell_km": 0.25}  # fmt: skip


def covered():
    hours = np.arange(24)
    wave = np.cos((hours - 2) / 24 * 2 * np.pi)
    return {"hours": hours, "coverage": {"residents": 0.74 + 0.08 * wave, "POI": 0.75 - 0.07 * wave,
            "fomo": 0.765 + 0.01 * wave, "facility location": 0.80 + 0.012 * wave, "real": 0.82 + 0.005 * wave},
            "names": {"fomo": "generated traffic", "real": "true traffic"}}  # fmt: skip


FIGURES = {
    "one city": lambda: strategies_figure(plan_rows(), title="Radio units that sleep: plans played on what happened"),
    "cities": lambda: strategies_figure(plan_rows(("jinan", "mobile_nanjing"), dict(list(METRICS.items())[:2]))),
    "many metrics": lambda: strategies_figure(
        plan_rows(metrics=METRICS | {"risk met": ("share of periods", (0.0, 0.08, 0.07, 0.048, 0.0)),
                                     "backlog": ("bits", (3.4e9, 2.2e9, 2.1e9, 1.4e9, 1.3e9))})),
    "one metric": lambda: strategies_figure(plan_rows(metrics={"objective": METRICS["objective"]})),
    "sensitivity": lambda: sensitivity_figure(plan_rows(("uomo_harbin",), scenarios=SCENARIOS)),
    "sleep": lambda: sleep_figure(**sleep_arrays()),
    "sleep of two days": lambda: sleep_figure(**sleep_arrays(days=2, cells=3), name="Main square, sector 2"),
    "sleep of two weeks": lambda: sleep_figure(**sleep_arrays(days=14, cells=320, samples=20)),
    "sleep to come": lambda: sleep_figure(**sleep_arrays(cells=310) | {"truth": None, "oracle_active": None}),
    "stacked blocks": lambda: scheduling_figure(**slots()),
    "many cells": lambda: scheduling_figure(**slots(cells=40, count=48)),
    "short slots": lambda: scheduling_figure(**slots(cells=20, minutes=5)),
    "numbered slots": lambda: scheduling_figure(**slots() | {"time": np.arange(16)}),
    "stations": lambda: deployment_figure(**stations()),
    "two schemes": lambda: deployment_figure(
        **stations() | {"stations": dict(list(stations()["stations"].items())[:2])}),
    "small district": lambda: deployment_figure(
        **stations(side=3, total=9) | {"stations": dict(list(stations(side=3, total=9)["stations"].items())[:2])}),
    "coverage": lambda: coverage_figure(**covered()),
}  # fmt: skip


def texts(figure):
    """All that is written and seen, with its box in pixels."""
    FigureCanvasAgg(figure).draw()
    hidden = {id(text) for axes in figure.axes if not axes.get_visible() for text in axes.findobj(Text)}
    found = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            drawn = {id(tick) for tick in axis._update_ticks()}
            for tick in [*axis.majorTicks, *axis.minorTicks]:
                hidden |= {id(tick.label1), id(tick.label2)} if id(tick) not in drawn else {id(tick.label2)}
    for text in figure.findobj(Text):
        if id(text) not in hidden and text.get_visible() and text.get_text().strip():
            found.append((text.get_text(), text.get_window_extent().padded(-1)))
    return found


@cache
def made(name):
    """One of `FIGURES`, to be looked at only."""
    return FIGURES[name]()


def words(figure):
    """All that is written, whether it is seen or not."""
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def overlaps(figure):
    """Pairs of texts whose boxes overlap, and texts that leave the figure."""
    boxes = texts(figure)
    width, height = figure.get_size_inches() * figure.dpi
    outside = [name for name, box in boxes if box.x0 < -2 or box.y0 < -2 or box.x1 > width + 2 or box.y1 > height + 2]
    return outside + [(a, b) for i, (a, p) in enumerate(boxes) for b, q in boxes[i + 1 :] if p.overlaps(q)]


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_overlaps_another_leaves_the_figure_or_is_tiny(name):
    figure = made(name)
    assert overlaps(figure) == []
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 9


def test_the_helper_finds_a_text_on_another():
    figure = FIGURES["one metric"]()
    figure.axes[0].text(2, 3, "FoMo", fontsize=20)
    assert overlaps(figure)


def dots(axes, place):
    """Where the filled dots of a line are."""
    return [line.get_xdata()[0] for line in axes.lines
            if list(line.get_ydata()) == [place] and line.get_markerfacecolor() != "white"]  # fmt: skip


def test_the_comparison_has_a_panel_per_metric_with_unit_value_and_interval():
    rows, figure = plan_rows(), made("one city")
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(METRICS)
    for axes, (metric, (unit, values)) in zip(figure.axes, METRICS.items(), strict=True):
        assert axes.get_xlabel() == f"{unit or 'no unit'}\nlower is better"
        assert axes.get_xlim()[0] == 0 and axes.get_xlim()[1] > max(row.high for row in rows if row.metric == metric)
        assert [dots(axes, place) for place in range(5)] == [[value] for value in values]
        spans = [segment[:, 0] for bars in axes.collections for segment in bars.get_segments()]
        np.testing.assert_allclose(spans, [(0.94 * value, 1.07 * value) for value in values if value])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["always on", "history", "Lag-Llama", "FoMo", "what happened"]


def test_fomo_stands_out_and_the_oracle_is_the_bound():
    axes = made("one city").axes[0]
    blue = [line for line in axes.lines if to_rgb(line.get_color()) == to_rgb(BLUE)]
    assert [line.get_xdata()[0] for line in blue] == [2.12]
    bound = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    assert bound == [[2.05, 2.05]]
    assert [label.get_fontweight() for label in axes.get_yticklabels()] == ["normal"] * 3 + ["bold", "normal"]


def test_only_asleep_is_the_oracle_called_a_bound():
    """Blocks are given out slot by slot by the oracle too, and stations in proportion to who was there: no bound."""
    assert "planned on what happened: the bound of the objective" in words(made("one city"))
    for application in ("prb", "deploy"):
        said = words(strategies_figure(plan_rows(application=application)))
        assert "planned on what happened" in said and "bound" not in said


def test_rows_may_come_in_any_order_and_a_missing_strategy_says_so():
    rows = plan_rows()[::-1]
    rows = [row for row in rows if (row.strategy, row.metric) != ("rival", "energy")]
    figure = strategies_figure(rows)
    energy = next(axes for axes in figure.axes if axes.get_title(loc="left") == "energy")
    assert dots(energy, 3) == [24.9] and dots(energy, 2) == []
    assert [text.get_text() for text in energy.texts if text.get_text() == "not run"] == ["not run"]


def test_cities_have_their_own_rivals():
    rows = plan_rows(("jinan", "nanchang"), {"objective": METRICS["objective"]})
    rows = [replace(row, forecaster="seasonal average") if row.city == "nanchang" and row.strategy == "rival" else row
            for row in rows]  # fmt: skip
    figure = strategies_figure(rows)
    assert [figure.axes[place].get_yticklabels()[2].get_text() for place in (0, 3)] == ["Lag-Llama", "seasonal average"]
    assert "jinan" in words(figure) and "nanchang" in words(figure)


def test_two_rivals_are_two_lines_and_two_rows_of_one_number_are_refused():
    rows = plan_rows(metrics={"objective": METRICS["objective"]})
    other = [replace(row, forecaster="UniST", value=2.2) for row in rows if row.strategy == "rival"]
    assert "UniST" in words(strategies_figure(rows + other))
    with pytest.raises(ValueError, match="two rows say 'objective'"):
        by_line(rows * 2)
    with pytest.raises(ValueError, match="'objective' of 'jinan' is in several units: , kWh"):
        strategies_figure([*rows[:-1], replace(rows[-1], unit="kWh")])
    assert names_of([("fomo", "FoMo"), ("fomo", "FoMo, large")]) == ["FoMo", "FoMo, large"]


def test_what_is_better_is_said_and_infinite_numbers_are_named():
    rows = plan_rows(
        metrics={"coverage": ("people served, %", (50.0, 70.0, 71.0, 75.0, 80.0)), "delay": ("slots", (4, 3, 2, 1, 1))}
    )
    rows = [replace(row, value=np.inf, high=np.inf) if (row.metric, row.strategy) == ("delay", "history") else row
            for row in rows]  # fmt: skip
    figure = strategies_figure(rows)
    assert figure.axes[0].get_xlabel().endswith("higher is better")
    assert "infinite" in [text.get_text() for text in figure.axes[1].texts] and dots(figure.axes[1], 1) == []
    assert np.isfinite(figure.axes[1].get_xlim()).all() and overlaps(figure) == []


def test_negative_numbers_are_inside_their_panel():
    axes = strategies_figure(plan_rows(metrics={"saved": ("kWh", (-3.0, 1.0, 1.1, 1.2, 1.3))})).axes[0]
    low, high = axes.get_xlim()
    assert low < -3.0 * 1.07 and high > 1.3 and dots(axes, 0) == [-3.0]


def test_sensitivity_shows_the_change_of_each_strategy_on_one_scale():
    figure = made("sensitivity")
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(SCENARIOS)
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    down = figure.axes[2]
    assert dots(down, 3) == [pytest.approx(2.12 * 1.21)]
    before = [line.get_xdata()[0] for line in down.lines if line.get_markerfacecolor() == "white"]
    assert before == [3.1, 2.4, 2.31, 2.12, 2.05]
    assert [text.get_text() for text in down.texts] == ["same", "+21.0 %", "+21.0 %", "+21.0 %", "same"]
    assert "+" not in "".join(text.get_text() for text in figure.axes[0].texts)


def test_the_change_is_against_as_forecast_wherever_it_stands_in_the_rows():
    figure = sensitivity_figure(plan_rows(scenarios=list(SCENARIOS)[1::-1]))
    assert figure.axes[0].get_title(loc="left") == AS_FORECAST


def test_figures_of_nothing_or_of_two_applications_are_refused():
    with pytest.raises(ValueError, match="no row of scenario 'a flood'"):
        strategies_figure(plan_rows(), scenario="a flood")
    with pytest.raises(ValueError, match="no row of metric"):
        sensitivity_figure(plan_rows(), metric="delight")
    with pytest.raises(ValueError, match="not of prb and sleep"):
        strategies_figure(plan_rows() + plan_rows(application="prb"))


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([3.1, 2.4, 0.0], ["3.10", "2.40", "0"]),
        ([1234.0, 1236.0], ["1,234", "1,236"]),
        ([0.041, 0.0123], ["0.0410", "0.0123"]),
        ([2.1234, 2.1236], ["2.123", "2.124"]),  # two numbers do not look the same
        ([3.4e9, 1.25e9], ["3.40G", "1.25G"]),
        ([1000.0, 0.0004], ["1,000.0", "0.0004"]),  # a small one is never written as none
        ([1.0, np.nan, np.inf], ["1.00", "not known", "infinite"]),
        ([0.0], ["0"]),
        ([-2.5], ["-2.50"]),
    ],
)
def test_numbers_are_written_one_way(values, written):
    assert [number_format(values)(value) for value in values] == written


@pytest.mark.parametrize(
    ("value", "before", "said"),
    [
        (1.1, 1.0, "+10.0 %"),
        (0.5, 2.0, "-75.0 %"),
        (1.0001, 1.0, "same"),
        (1, 0, ""),
        (np.inf, 1.0, ""),
        (1, np.nan, ""),
    ],
)
def test_changes_are_said_where_they_can_be(value, before, said):
    assert change_of(value, before) == said


def line_of(axes, label):
    return next(line for line in axes.lines if line.get_label() == label).get_ydata()


def test_the_sleep_figure_draws_one_cells_capacity_and_what_is_not_carried():
    arrays = sleep_arrays(days=2, cells=3)
    figure = sleep_figure(**arrays, cell=1)
    axes = figure.axes[0]
    planned = arrays["active"][:, 1] * arrays["capacity"][1]
    np.testing.assert_array_equal(line_of(axes, "capacity that is on, planned")[:-1], planned)
    np.testing.assert_array_equal(line_of(axes, "what came")[:-1], arrays["truth"][:, 1])
    np.testing.assert_allclose(line_of(axes, "its mean")[:-1], arrays["members"][..., 1].mean(0))
    oracle = arrays["oracle_active"][:, 1] * arrays["capacity"][1]
    np.testing.assert_array_equal(line_of(axes, "capacity, planned on what happened")[:-1], oracle)
    (shaded,) = [area for area in axes.collections if area.get_label() == "not carried"]
    over = arrays["truth"][:, 1] > planned
    lengths = [path.get_extents().x1 - path.get_extents().x0 for path in shaded.get_paths()]
    assert over.any() and sum(lengths) * 24 == pytest.approx(over.sum())  # in days, as matplotlib counts
    assert "GB per period" in axes.get_ylabel()


def test_a_single_overloaded_period_is_seen():
    arrays = sleep_arrays(days=1, cells=2)
    arrays["active"] = np.ceil(arrays["truth"] / arrays["capacity"]).astype(int)
    arrays["active"][7] = 0
    (shaded,) = [area for area in sleep_figure(**arrays).axes[0].collections if area.get_label() == "not carried"]
    assert len(shaded.get_paths()) == 1


def test_the_fan_is_of_quantiles_and_left_out_for_too_few_members():
    arrays = sleep_arrays(days=2, cells=1, samples=60)
    areas = sleep_figure(**arrays).axes[0].collections
    assert [area.get_label() for area in areas][:2] == ["forecast, 90 % interval", "forecast, 50 % interval"]
    fan = areas[0].get_paths()[0].vertices
    assert fan[:, 1].max() == pytest.approx(
        np.quantile(arrays["members"][..., 0], 0.95, axis=0, method="weibull").max()
    )
    few = sleep_figure(**arrays | {"members": arrays["members"][:3]})
    assert not any("90 %" in area.get_label() for area in few.axes[0].collections)


def test_the_rasters_show_all_cells_busiest_first():
    arrays = sleep_arrays(days=2, cells=9)
    order = np.argsort(-arrays["members"].mean((0, 1)))
    planned, surplus = (axes.images[0] for axes in sleep_figure(**arrays).axes if axes.images)
    np.testing.assert_array_equal(planned.get_array(), arrays["active"][:, order].T)
    np.testing.assert_array_equal(surplus.get_array(), (arrays["active"] - arrays["oracle_active"])[:, order].T)
    rgb = surplus.cmap(surplus.norm([-1, 0, 1]))
    assert rgb[0, 0] > rgb[0, 2] and rgb[2, 2] > rgb[2, 0]  # too few is orange, more than needed is blue


def test_of_very_many_cells_some_are_shown_and_that_is_said(monkeypatch):
    monkeypatch.setattr(sleep_module, "MOST_LINES", 5)
    arrays = sleep_arrays(days=1, cells=12)
    figure = sleep_figure(**arrays)
    assert "Active radio units, planned; 5 of 12 cells" in words(figure)
    assert next(axes for axes in figure.axes if axes.images).images[0].get_array().shape == (5, 24)


def test_one_period_is_no_figure_over_time():
    arrays = sleep_arrays(days=1, cells=2)
    cut = {name: arrays[name][:1] for name in ("time", "truth", "active", "oracle_active")}
    with pytest.raises(ValueError, match="two periods"):
        sleep_figure(**arrays | cut | {"members": arrays["members"][:, :1]})


def test_backlog_delay_and_blocks_are_those_given():
    arrays = slots()
    left, right, lower = made("stacked blocks").axes
    np.testing.assert_array_equal(line_of(left, "FoMo"), arrays["backlog"]["fomo"])
    np.testing.assert_array_equal(line_of(right, "Lag-Llama"), arrays["delay"]["rival"])
    np.testing.assert_array_equal(line_of(lower, "budget"), 273.0)
    stacked = [area.get_paths()[0].vertices[:, 1].max() for area in lower.collections]
    np.testing.assert_allclose(stacked, np.cumsum(arrays["blocks"], 1).max(0))
    assert left.get_ylabel() == "bits" and right.get_ylabel() == "slots" and lower.get_ylabel() == "resource blocks"


def test_many_cells_are_a_raster_under_their_sum():
    arrays, figure = slots(cells=40, count=48), made("many cells")
    raster = next(axes for axes in figure.axes if axes.images).images[0].get_array()
    order = np.argsort(-arrays["blocks"].mean(0), kind="stable")
    np.testing.assert_array_equal(raster, arrays["blocks"][:, order].T)
    np.testing.assert_array_equal(line_of(figure.axes[2], "given out")[:-1], arrays["blocks"].sum(1))


def test_infinite_delays_are_counted_and_not_drawn():
    arrays = slots()
    arrays["delay"]["history"][[2, 5]] = np.inf
    figure = scheduling_figure(**arrays)
    assert "Delay, mean of 6 cells (2 infinite, not drawn)" in words(figure)
    assert np.isfinite(figure.axes[1].get_ylim()).all()
    assert np.isnan(line_of(figure.axes[1], "history")[[2, 5]]).all()


def test_a_schedule_needs_slots_and_strategies():
    with pytest.raises(ValueError, match="two slots and one strategy"):
        scheduling_figure(**slots() | {"backlog": {}})


def test_stations_lie_in_their_cells_and_circles_are_as_large_as_their_number():
    arrays, figure = stations(), made("stations")
    for axes, counts in zip(figure.axes, arrays["stations"].values(), strict=False):
        (circles,) = axes.collections
        place = np.floor(circles.get_offsets() / arrays["cell_km"]).astype(int)
        found = np.zeros_like(counts, float)
        found[place[:, 1], place[:, 0]] = circles.get_sizes()
        np.testing.assert_allclose(found / found.sum(), counts / counts.sum())
        assert axes.get_title(loc="left").endswith(f": {counts.sum()} stations")
        assert axes.images[0].get_array().mask[0, 0] and axes.patch.get_hatch() == "////"
        assert axes.images[0].origin == "lower"
    assert "generated traffic of a day, GB per day" in words(figure) and "km north" in words(figure)


def test_circles_of_a_small_district_hide_neither_its_cells_nor_the_legend():
    """Of 3 x 3 cells each circle was as large as a cell, and those of the legend lay on its words and on the map."""
    figure = made("small district")
    (legend,) = figure.legends
    circles = [line.get_markersize() for line in legend.get_lines()]
    assert max(circles) <= 24 < 72 * figure.axes[0].get_window_extent().width / figure.dpi / 3


def test_maps_without_kilometres_or_traffic_or_stations_can_be_drawn():
    empty = {
        "stations": {"none": np.zeros((4, 5), int)},
        "traffic": np.zeros((4, 5)),
        "traffic_name": "true",
        "unit": "",
    }
    said = words(deployment_figure(**empty))
    assert "none: 0 stations" in said and "unit not stated" in said and "km" not in said
    with pytest.raises(ValueError, match="one scheme"):
        deployment_figure(**empty | {"stations": {}})


def test_a_short_scale_of_traffic_has_numbers():
    figure = deployment_figure(
        stations={"a": np.ones((4, 4), int)}, traffic=np.full((4, 4), 22.0), traffic_name="true", unit="GB"
    )
    FigureCanvasAgg(figure).draw()
    assert {"20", "30", "40"} <= {text.get_text() for text in figure.axes[-1].get_xticklabels()}


def test_coverage_is_in_percent_with_its_mean_in_the_legend():
    arrays = covered()
    bands = {"fomo": (arrays["coverage"]["fomo"] - 0.01, arrays["coverage"]["fomo"] + 0.01)}
    figure = coverage_figure(**arrays, bands=bands)
    axes = figure.axes[0]
    mean = arrays["coverage"]["fomo"].mean()
    np.testing.assert_allclose(
        line_of(axes, f"generated traffic, mean {100 * mean:.1f} %"), 100 * arrays["coverage"]["fomo"]
    )
    assert "POI, mean 75.0 %" in words(figure) and len(axes.collections) == 1
    assert axes.get_ylim()[1] <= 100.5
    with pytest.raises(ValueError, match="one scheme"):
        coverage_figure(**arrays | {"coverage": {}})


def test_hostile_names_are_plain_text_in_every_figure():
    rows = [replace(row, unit=HOSTILE, forecaster=HOSTILE if row.strategy == "rival" else row.forecaster)
            for row in plan_rows((HOSTILE,), {HOSTILE: ("GB", (1, 2, 3, 4, 5)), "objective": ("", (1, 2, 3, 4, 5))},
                                 (AS_FORECAST, "a site fails"))]  # fmt: skip
    figures = [
        strategies_figure(rows, title=HOSTILE),
        sensitivity_figure(rows),
        sleep_figure(**sleep_arrays(days=1, cells=2) | {"unit": HOSTILE}, name=HOSTILE),
        scheduling_figure(**slots(cells=2) | {"names": {"rival": HOSTILE}}, backlog_unit=HOSTILE, planned_by=HOSTILE,
                          cell_names=[HOSTILE, "b"]),
        deployment_figure(**stations() | {"unit": HOSTILE, "traffic_name": HOSTILE,
                                          "stations": {HOSTILE: np.ones((16, 16), int)}}),
        coverage_figure(hours=np.arange(2), coverage={HOSTILE: np.ones(2)}),
    ]  # fmt: skip
    for figure in figures:
        said = words(figure)
        FigureCanvasAgg(figure).draw()
        assert "a$x_{1$<b> \ufffd[31m" in said and "\x1b" not in said


def test_planning_figures_change_no_global_state():
    before = str(list(dict.items(matplotlib.rcParams)))
    sleep_figure(**sleep_arrays(days=1, cells=2))
    strategies_figure(plan_rows())
    assert str(list(dict.items(matplotlib.rcParams))) == before
