"""The figure of single windows shows what it is given, where it was asked for."""

from __future__ import annotations

import numpy as np

from fomo.evaluation.window_figures import Panel, windows_figure


def made(first: int, seed: int = 0) -> Panel:
    random = np.random.default_rng(seed)
    truth = random.uniform(0.1, 0.5, 64)
    asked = np.arange(64) >= first
    return Panel(f"from {first}", np.arange(64) * 0.5, truth, truth + random.normal(0, 0.02, (20, 64)), asked)


def test_every_panel_shows_the_truth_everywhere_and_the_mean_where_it_was_asked():
    panels = [made(48), made(16, 1), made(0, 2), made(48, 3)]
    figure = windows_figure(panels, 3)
    axes = [axes for axes in figure.axes if axes.get_visible()]
    assert [a.get_title(loc="left") for a in axes] == ["from 48", "from 16", "from 0", "from 48"]
    for shown, panel in zip(axes, panels, strict=True):
        mean, truth = shown.get_lines()
        np.testing.assert_allclose(truth.get_ydata(), panel.truth)
        drawn = np.asarray(mean.get_ydata())
        np.testing.assert_array_equal(np.isfinite(drawn), panel.asked)
        np.testing.assert_allclose(drawn[panel.asked], panel.members.mean(0)[panel.asked])
        assert shown.get_xlim() == (0.0, 31.5)
        assert shown.get_ylim()[0] == 0.0 and shown.get_ylim()[1] > panel.truth.max()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "hidden", "90 % interval", "mean of members", "measured",
    ]  # fmt: skip
    assert figure._supxlabel.get_text().startswith("hours") and "share of full" in figure._supylabel.get_text()


def test_what_was_not_recorded_leaves_a_gap():
    panel = made(48)
    panel.truth[3] = np.nan
    line = windows_figure([panel], 1).axes[0].get_lines()[1]
    assert np.isnan(np.asarray(line.get_ydata())[3])


def test_panels_that_are_compared_reach_as_high_as_the_highest():
    """Days off told and not told stood beside each other with two scales."""
    low, high = made(48), made(16, 1)
    high.truth[:] *= 2
    apart, together = (windows_figure([low, high], 2, one_scale=one).axes for one in (False, True))
    assert apart[0].get_ylim()[1] < apart[1].get_ylim()[1]
    assert together[0].get_ylim() == together[1].get_ylim() == apart[1].get_ylim()
