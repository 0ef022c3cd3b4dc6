"""Forecasts beside what came: numbers by hand, rules as `fomo evaluate` has them, what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fomo.city import CityError, mock_city
from fomo.evaluation import verification
from fomo.evaluation.metrics import coverage, crps
from fomo.evaluation.verification import cell_totals, compare, verify
from fomo.evaluation.verification_figure import verification_figure
from fomo.forecast import make_forecast
from fomo.forecasters.rules import SameHourLastWeek
from fomo.windows.task import forecast_task

STEPS, AHEAD = 24 * 9, 12


@pytest.fixture
def city():
    """Nine days of 3 x 4 cells by the hour; one cell is never covered."""
    found = mock_city(STEPS, 3, 4, seed=2)
    traffic, covered = found["traffic"].copy(), found["covered"].copy()
    traffic[:, 2, 3], covered[2, 3] = np.nan, False
    return found.assign(traffic=traffic, covered=covered)


def drawn(city, first, ahead=AHEAD, samples=20, seed=0, **about):
    """Members around what came in `ahead` steps from step `first`, a third too wide."""
    window = city.isel(time=slice(first, first + ahead))
    truth = np.nan_to_num(window["traffic"].values, nan=1.0)
    members = truth * np.random.default_rng(seed).lognormal(0, 0.2, (samples, *truth.shape))
    asked = np.broadcast_to(city["covered"].values, truth.shape)
    return make_forecast(np.where(asked, members, np.nan), asked, window, forecaster="made", provenance=about)


def test_scores_are_those_of_the_formulas(city):
    forecast = drawn(city, STEPS - AHEAD)
    found = verify([forecast], city)
    at = forecast.asked.values
    members, truth = forecast.samples.values.astype(np.float64)[:, at], city["traffic"].values[-AHEAD:][at]
    ours = found.values[0]
    assert ours.forecaster == "made" and ours.truth.size == at.sum() == AHEAD * 11
    assert ours.rmse == pytest.approx(np.sqrt(((members.mean(0) - truth) ** 2).mean()), rel=1e-6)
    assert ours.mae == pytest.approx(np.abs(members.mean(0) - truth).mean(), rel=1e-6)
    assert ours.bias == pytest.approx(members.mean(0).sum() / truth.sum() - 1, rel=1e-4)
    assert ours.crps.mean() == pytest.approx(crps(members, truth.astype(np.float64)).mean(), rel=1e-6)
    assert ours.within(0.9) == pytest.approx(coverage(members, truth, 0.9).mean(), rel=1e-9)
    leads, score = ours.by_lead()
    np.testing.assert_array_equal(leads, np.arange(1, AHEAD + 1))
    third = at[2]
    expected = crps(forecast.samples.values[:, 2][:, third].astype(np.float64), city["traffic"].values[-10][third])
    assert score[2] == pytest.approx(expected.mean(), rel=1e-6)


def test_sums_and_cells_are_sums_of_members(city):
    forecast = drawn(city, STEPS - AHEAD)
    found = verify([forecast], city)
    members = np.nansum(forecast.samples.values.astype(np.float64), (2, 3))
    truth = np.nansum(city["traffic"].values[-AHEAD:].astype(np.float64), (1, 2))
    assert found.sums_within(0.5) == pytest.approx(coverage(members, truth, 0.5).mean(), rel=1e-9)
    totals = cell_totals(found.compared[0])
    assert len(totals.places) == 11 and [2, 3] not in totals.places.tolist()
    place = totals.places.tolist().index([1, 2])
    own, came = forecast.samples.values[:, :, 1, 2].astype(np.float64), city["traffic"].values[-AHEAD:, 1, 2]
    np.testing.assert_allclose(totals.members[:, place], own.sum(1), rtol=1e-6)
    assert totals.came[place] == pytest.approx(came.sum(), rel=1e-6)
    assert totals.within[place] == pytest.approx(coverage(own, came, 0.9).mean(), rel=1e-9)
    off = (came.sum() - own.sum(1).mean()) / own.sum(1).std(ddof=1)
    assert totals.deviation[place] == pytest.approx(off, rel=1e-4)


def test_members_of_opposite_noise_are_not_taken_for_independent_ones(city):
    forecast = drawn(city, STEPS - AHEAD, antithetic=1)
    found = verify([forecast], city)
    at = forecast.asked.values
    members, truth = forecast.samples.values.astype(np.float64)[:, at], city["traffic"].values[-AHEAD:][at]
    wanted = coverage(members, truth, 0.5, antithetic=True).mean()
    assert found.values[0].within(0.5) == pytest.approx(wanted, rel=1e-9)
    assert wanted != pytest.approx(coverage(members, truth, 0.5).mean(), rel=1e-3)
    sums = np.nansum(forecast.samples.values.astype(np.float64), (2, 3))
    came = np.nansum(city["traffic"].values[-AHEAD:].astype(np.float64), (1, 2))
    assert found.sums_within(0.5) == pytest.approx(coverage(sums, came, 0.5, antithetic=True).mean(), rel=1e-9)
    totals = cell_totals(found.compared[0])
    own, came = forecast.samples.values[:, :, 1, 2].astype(np.float64), city["traffic"].values[-AHEAD:, 1, 2]
    place = totals.places.tolist().index([1, 2])
    assert totals.within[place] == pytest.approx(coverage(own, came, 0.9, antithetic=True).mean(), rel=1e-9)


def test_a_cell_that_came_otherwise_lies_outside_all_members(city):
    forecast = drawn(city, STEPS - AHEAD)
    factor = np.ones((3, 4), np.float32)
    factor[0, 1], factor[2, 0] = 3.0, 0.1
    traffic = city["traffic"].copy()
    traffic[-AHEAD:] = traffic[-AHEAD:] * factor
    totals = cell_totals(compare(forecast, city.assign(traffic=traffic)))
    outside = {tuple(place): side for place, side in zip(totals.places.tolist(), totals.outside, strict=True)}
    assert outside[0, 1] == 1 and outside[2, 0] == -1
    assert totals.deviation[totals.places.tolist().index([0, 1])] > 3


def test_a_rule_answers_from_what_was_before(city, monkeypatch):
    first = STEPS - AHEAD
    whole = verify([drawn(city, first)], city)
    by_name = {values.forecaster: values for values in whole.values}
    of_days = {"seasonal average", "same hour last week", "same time on earlier days"}
    assert set(by_name) == {"made", "persistence", "history mean", *of_days}
    past = city.isel(time=slice(0, first))
    (answer,) = SameHourLastWeek().forecast_tasks([forecast_task(past, AHEAD, 48)], 20, 0)
    at = city["covered"].values
    members = answer.samples.values[:, -AHEAD:][:, :, at].astype(np.float64)
    truth = city["traffic"].values[first:][:, at]
    assert by_name["same hour last week"].crps.mean() == pytest.approx(crps(members, truth).mean(), rel=1e-9)
    garbage = city.assign(traffic=city["traffic"].where(city["time"] < city["time"][first], 1e6))
    other = {values.forecaster: values for values in verify([drawn(city, first)], garbage).values}
    np.testing.assert_array_equal(other["persistence"].mean, by_name["persistence"].mean)  # sees nothing of what came

    monkeypatch.setattr(verification, "AT_A_TIME", 4)  # a row at a time
    for rule in verify([drawn(city, first)], city).values[1:]:
        assert rule.crps.mean() == pytest.approx(by_name[rule.forecaster].crps.mean(), rel=1e-12)


def test_what_has_not_come_yet_and_gaps_are_not_compared(city):
    forecast = drawn(city, STEPS - AHEAD)
    traffic = city["traffic"].copy()
    traffic[-3, 0, 0] = np.nan
    half = city.assign(traffic=traffic).isel(time=slice(0, -2))
    found = verify([forecast], half)
    assert found.values[0].truth.size == (AHEAD - 2) * 11 - 1
    assert any(f"{(AHEAD - 2) * 11 - 1} of the {AHEAD * 11} values" in remark for remark in found.remarks)
    totals = cell_totals(found.compared[0])
    assert totals.steps[0] == AHEAD - 3
    members, truth = found.compared[0].together
    assert truth[-1] == pytest.approx(np.nansum(traffic.values[-3]), rel=1e-6)
    gap = np.nansum(forecast.samples.values[:, -3], (1, 2)) - forecast.samples.values[:, -3, 0, 0]
    np.testing.assert_allclose(members[:, -1], gap, rtol=1e-5)


def test_several_forecasts_count_alike_at_their_own_leads(city):
    early, late = drawn(city, STEPS - 2 * AHEAD, seed=1), drawn(city, STEPS - AHEAD, seed=2)
    both, first, second = verify([late, early], city), verify([early], city), verify([late], city)
    assert [str(each.time[0]) for each in both.compared] == sorted(str(each.time[0]) for each in both.compared)
    for index in range(4):
        parts = [first.values[index], second.values[index]]
        assert both.values[index].crps.sum() == pytest.approx(sum(part.crps.sum() for part in parts), rel=1e-9)
    np.testing.assert_array_equal(both.values[0].by_lead()[0], np.arange(1, AHEAD + 1))
    np.testing.assert_allclose(both.sums, first.sums + second.sums)


def test_without_a_past_there_is_no_rule_and_a_remark(city):
    found = verify([drawn(city, STEPS - AHEAD)], city.isel(time=slice(STEPS - AHEAD, None)))
    assert [values.forecaster for values in found.values] == ["made"]
    assert any("no rule" in remark for remark in found.remarks)


def test_rules_that_say_nothing_of_new_cells_are_left_out_and_named(city):
    """One new site, and the forecast stood alone without a word."""
    first = STEPS - AHEAD
    traffic = city["traffic"].copy()
    traffic[:first, 0, :2] = np.nan
    found = verify([drawn(city, first)], city.assign(traffic=traffic))
    assert [values.forecaster for values in found.values] == ["made"]
    (remark,) = (remark for remark in found.remarks if remark.startswith("rules left out"))
    assert f"of {AHEAD * 11} values they say nothing of some" in remark
    others = drawn(city, first), city.assign(traffic=city["traffic"].where(np.isfinite(traffic[:first]).all("time")))
    whole = {values.forecaster: values.crps.mean() for values in verify([others[0]], others[1]).values}
    assert f"persistence {whole['persistence']:.4g} and {whole['made']:.4g} (without {AHEAD * 2})" in remark
    assert "same hour last week" in remark and remark.count("(without") == 5
    assert not any(remark.startswith("rules") for remark in verify([drawn(city, first)], city).remarks)


def test_where_only_cells_without_a_past_have_come_every_rule_says_nothing(city, monkeypatch):
    monkeypatch.setattr(verification, "AT_A_TIME", 4)  # a row at a time: rules are asked of none
    first = STEPS - AHEAD
    traffic = city["traffic"].copy()
    traffic[:first, 0] = np.nan
    traffic[first:, 1:] = np.nan
    found = verify([drawn(city, first)], city.assign(traffic=traffic))
    assert [values.forecaster for values in found.values] == ["made"]
    (remark,) = (remark for remark in found.remarks if remark.startswith("rules left out"))
    assert remark.count("says nothing") == 5 and "persistence says nothing" in remark


def test_the_line_before_a_forecast_goes_on_where_a_cell_has_a_gap(city):
    traffic = city["traffic"].copy()
    traffic[:-AHEAD, 0, 0] = np.nan
    figure = verification_figure(verify([drawn(city, STEPS - AHEAD)], city.assign(traffic=traffic)))
    (line,) = (line for axes in figure.axes for line in axes.lines if line.get_label() == "before")
    wanted = np.nansum(traffic.values[-AHEAD - 48 : -AHEAD], (1, 2), dtype=float)
    np.testing.assert_allclose(line.get_ydata(), wanted, rtol=1e-6)
    (came,) = (line for axes in figure.axes for line in axes.lines if line.get_label() == "came")
    assert np.isfinite(came.get_ydata()).all()


def test_few_members_hold_no_interval(city):
    found = verify([drawn(city, STEPS - AHEAD, samples=4)], city)
    assert found.values[0].within(0.9) is None and found.sums_within(0.9) is None
    assert found.values[0].within(0.5) is not None
    assert np.isnan(cell_totals(found.compared[0]).within).all()


def test_nothing_came_is_no_bias(city):
    forecast = drawn(city, STEPS - AHEAD)
    silent = city.assign(traffic=city["traffic"] * 0)
    assert verify([forecast], silent).values[0].bias is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda city: city.assign_attrs(unit="MB"), "unit is 'GB per period', that of the city 'MB'"),
        (lambda city: city.isel(x=slice(0, 3)), r"grid is \(3, 4\), that of the city \(3, 3\)"),
        (lambda city: city.assign_coords(x=city["x"] + 1), "centres of its cells lie elsewhere along x"),
        (lambda city: city.isel(time=slice(0, STEPS - AHEAD)), "let it grow first"),
        (lambda city: city.isel(time=slice(None, None, 2)).assign_attrs(step_minutes=120), "granularity period"),
        (
            lambda city: city.assign(traffic=city["traffic"].where(city["time"] < city["time"][-AHEAD])),
            "the forecast of 'mock' is of .* nothing of what it asks for is recorded in 'mock'",
        ),
    ],
)
def test_what_does_not_fit_is_said(city, change, said):
    with pytest.raises(CityError, match=said):
        verify([drawn(city, STEPS - AHEAD)], change(city))


def test_quantiles_of_single_values_have_no_sums(city):
    with pytest.raises(CityError, match="no members"):
        verify([drawn(city, STEPS - AHEAD, quantiles=True)], city)
    with pytest.raises(CityError, match="no forecast"):
        verify([], city)


@pytest.mark.parametrize("layout", ["grid", "list"])
def test_the_figure_has_four_labelled_parts(city, layout):
    figure = verification_figure(verify([drawn(city, STEPS - AHEAD)], city.assign_attrs(layout=layout)))
    FigureCanvasAgg(figure).draw()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert "Sum of 11 cells" in titles and "Error by lead time, lower is better" in titles
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
    assert "GB per period" in labels and "hours ahead" in labels and "standard deviations" in labels


def test_of_several_forecasts_titles_say_which_one_is_drawn(city):
    """'4 forecasts from 1 May' stood over the last one's day and map."""
    found = verify([drawn(city, STEPS - AHEAD * back) for back in (3, 1, 2)], city)
    titles = [axes.get_title(loc="left") for axes in verification_figure(found).axes]
    last = np.datetime_as_string(city["time"].values[STEPS - AHEAD], unit="m").replace("T", " ")
    assert f"Sum of 11 cells, forecast from {last}" in titles
    assert f"Cells' totals: came less expected\nforecast from {last}" in titles
    assert "Error by lead time of 3 forecasts, lower is better" in titles


def test_what_has_not_come_is_left_out_and_said(city):
    known, come = city.isel(time=slice(0, STEPS - AHEAD)), drawn(city, STEPS - 2 * AHEAD)
    tomorrow = drawn(city, STEPS - AHEAD, seed=1)
    found = verify([tomorrow, come], known)
    assert [each.forecast for each in found.compared] == [come]
    np.testing.assert_array_equal(found.values[0].crps, verify([come], known).values[0].crps)
    assert [remark for remark in found.remarks if remark.startswith("left out")] == [
        "left out: the forecast of 'mock' is of 2024-01-09T12:00 to 2024-01-09T23:00, and 'mock' ends at "
        "2024-01-09T11:00: let it grow first ('fomo city append', or import what has come since)"
    ]
    with pytest.raises(CityError, match="let it grow first"):
        verify([tomorrow, tomorrow], known)


def test_a_record_that_begins_later_is_not_told_to_grow(city):
    with pytest.raises(
        CityError, match="'mock' begins at 2024-01-05T00:00: give the city with the record of that time"
    ):
        verify([drawn(city, 24)], city.isel(time=slice(96, None)))


def test_a_slip_of_the_record_is_not_held_against_forecasts(city):
    forecast, traffic = drawn(city, STEPS - AHEAD), city["traffic"].copy()
    traffic[STEPS - 3, 1, 1] = 1e19
    with pytest.warns(UserWarning, match="taken as not recorded"):
        found = verify([forecast], city.assign(traffic=traffic))
    traffic[STEPS - 3, 1, 1] = np.nan
    expected = verify([forecast], city.assign(traffic=traffic))
    assert [each.rmse for each in found.values] == [each.rmse for each in expected.values]
