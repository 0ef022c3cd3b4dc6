"""What hindsight knows is beside a value, never the value; its rule finds what was put in."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose


@pytest.fixture
def hindsight(benchmark_module):
    return benchmark_module("hindsight")


@pytest.fixture
def made():
    random = np.random.default_rng(3)
    return random.normal(0, 0.1, (9, 5)), random.uniform(0.5, 1.5, (9, 5))


def test_nothing_is_told_of_a_value_itself(hindsight, made):
    missed, mean = made
    changed = missed.copy()
    changed[4, 2] += 1
    before, after = (hindsight.hindsight(each, mean)[:, 4, 2] for each in (missed, changed))
    assert_allclose(before, after)
    assert (hindsight.hindsight(changed, mean)[0, [3, 5], 2] != hindsight.hindsight(missed, mean)[0, [3, 5], 2]).all()


def test_what_is_told(hindsight, made):
    missed, mean = made
    missed[2, 1] = np.nan
    beside, farther, then, always = hindsight.hindsight(missed, mean)
    assert_allclose(beside[4, 2], (missed[3, 2] + missed[5, 2]) / 2)
    assert_allclose(beside[3, 1], missed[4, 1])  # the one before is not known
    assert_allclose(beside[0, 0], missed[1, 0])
    assert_allclose(farther[4, 2], (missed[2, 2] + missed[6, 2]) / 2)
    others = [0, 2, 3, 4]
    assert_allclose(then[4, 1], mean[4, 1] * missed[4, others].sum() / mean[4, others].sum())
    assert_allclose(always[4, 1], mean[4, 1] * missed[:, others].sum() / mean[:, others].sum())


def test_known_then_is_of_yesterday(hindsight, made):
    missed, mean = made
    ahead = np.full((12, 5), 2.0)
    own, last, day, all_then, all_last, all_day = hindsight.known_then(missed, mean, ahead)
    assert_allclose(own[:9], missed)
    assert_allclose(own[9:], missed[:3])  # beyond a day: that time of the day again
    assert_allclose(last[7], missed[-3:].mean(0))
    assert_allclose(day[0], missed.mean(0))
    assert_allclose(all_then[1], 2 * missed[1].sum() / mean[1].sum())
    assert_allclose(all_last[5], 2 * missed[-3:].sum() / mean[-3:].sum())
    assert_allclose(all_day[5], 2 * missed.sum() / mean.sum())


def test_the_best_rule_leaves_what_nothing_explains(hindsight):
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (2, 200, 30))
    noise = random.normal(0, 0.1, (200, 30))
    missed = 0.5 * features[0] - 0.25 * features[1] + noise
    missed[3, 4] = np.nan
    found = hindsight.LeastSquares()
    found.add(missed[:100], features[:, :100])
    found.add(missed[100:], features[:, 100:])
    assert_allclose(found.rule(), [0.5, -0.25], atol=0.01)
    whole, left = found.root_mean_squares()
    assert_allclose(whole, np.sqrt(np.nanmean(missed**2)))
    assert_allclose(left, 0.1, rtol=0.02)


def test_a_rule_of_other_windows_does_not_learn_a_window_by_heart(hindsight):
    random = np.random.default_rng(1)
    found = hindsight.LeastSquares()
    for _ in range(4):
        found.add(random.normal(0, 1, (2, 3)), random.normal(0, 1, (5, 2, 3)))
    whole, left = found.root_mean_squares()
    assert left < whole < found.root_mean_squares(apart=True)[1]


@pytest.mark.parametrize(
    ("fomo", "best", "left", "says"),
    [(0.9, 1.0, 0.5, "reached"), (1.0, 1.0, 0.95, "more than hindsight"), (1.0, 1.0, 0.6, "30 % of it")],
)
def test_what_a_goal_asks_for(hindsight, fomo, best, left, says):
    row = hindsight.Errors("next week", "a", "long", "none", fomo, best, "b", None, left)
    assert row.asks == says  # (1 - 0.81) / (1 - 0.36)
    assert hindsight.errors_table([row]).endswith(
        f"| a long | next week | none | {fomo:.4f} | {best:.4f} (b) | 0.9000 | – | {left:.4f} | {says} |\n"
    )


def test_where_half_is_closed(benchmark_module):
    plans = benchmark_module("hindsight_plans")
    assert plans.crossed([(1.0, 0.6)]) is None
    assert plans.crossed([(1.0, 0.3), (0.9, 0.4)]) is None
    assert_allclose(plans.crossed([(1.0, 0.2), (0.9, 0.4), (0.8, 0.6)]), 0.85)


def test_the_figure_has_every_line_of_both_tables_and_nothing_beyond_its_axes(benchmark_module, hindsight):
    plans, errors = (pl.read_csv(hindsight.ROOT / f"results/hindsight-{name}.csv") for name in ("plans", "errors"))
    left, right = benchmark_module("hindsight_figure").hindsight_figure(plans, errors).axes
    assert [len(axes.get_yticks()) for axes in (left, right)] == [plans.height, errors.height]
    assert left.get_yticklabels()[0].get_text() == "sleep, uomo_shandong"
    for axes, table, columns in ((left, plans, ("fomo", "hindsight")), (right, errors, ("fomo", "known", "hindsight"))):
        marks = [line for line in axes.lines if line.get_linestyle() == "None"]
        assert len(marks) == len(columns)
        for line, column in zip(marks, columns, strict=True):
            values = table[column] if axes is left else table[column] / table["best_other"]
            assert_allclose(line.get_xdata(), values.to_numpy())
            shown = values.drop_nulls().to_numpy()
            assert (axes.get_xlim()[0] <= shown).all() and (shown <= axes.get_xlim()[1]).all()
    assert [axes.lines[-1].get_xdata()[0] for axes in (left, right)] == [0.5, 0.9]


def test_the_figure_is_small(hindsight):
    assert (hindsight.ROOT / "docs/figures/hindsight.png").stat().st_size < 80_000
