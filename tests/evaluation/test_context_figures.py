from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fomo.evaluation.charts import small_lines_figure
from fomo.evaluation.context_figures import abroad_figure, embedding_figure


def test_a_made_city_is_drawn_beside_what_it_was_made_of_and_its_hours():
    random = np.random.default_rng(0)
    maps = {"residents": random.random((4, 6)), "made traffic": random.random((4, 6))}
    figure = abroad_figure(maps, {"here": np.ones(24), "there": np.linspace(0.5, 1.5, 24)})
    FigureCanvasAgg(figure).draw()
    shown = [axes for axes in figure.axes if axes.images and axes.get_xlabel()]
    assert [axes.get_xlabel() for axes in shown] == ["residents", "made traffic"]
    np.testing.assert_allclose(shown[0].images[0].get_array(), maps["residents"] / np.percentile(maps["residents"], 99))
    (hours,) = [axes for axes in figure.axes if axes.get_xlabel() == "hour of the day"]
    assert [line.get_label() for line in hours.lines] == ["here", "there"]
    assert hours.get_ylabel() == "traffic over its daily mean"


def test_tokens_of_one_block_are_joined_and_keep_their_distances_in_a_plane():
    random = np.random.default_rng(1)
    plane = np.pad(random.normal(size=(12, 2)), ((0, 0), (0, 3)))  # all in a plane: nothing is lost
    traffic, context = plane[:6], plane[6:]
    figure = embedding_figure({"before": (traffic, context), "after": (traffic, context)})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["before", "after"]
    drawn = np.array([line.get_xydata() for line in figure.axes[0].lines])
    assert drawn.shape == (6, 2, 2)
    np.testing.assert_allclose(
        np.linalg.norm(drawn[:, 0] - drawn[:, 1], axis=1), np.linalg.norm(traffic - context, axis=1), rtol=1e-6
    )


def test_every_panel_of_small_lines_starts_at_zero_and_shows_its_highest_point():
    share = np.array([0.0, 5.0, 10.0])
    panels = {name: {"tuned": (share, share + 1), "fresh": (share[1:], share[1:] * 3)} for name in ("a", "b", "c", "d")}
    figure = small_lines_figure(panels, across="share [%]", up="RMSE")
    FigureCanvasAgg(figure).draw()
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert len(visible) == 4
    for axes in visible:
        low, high = axes.get_ylim()
        assert low == 0 and high > 30
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["tuned", "fresh"]
