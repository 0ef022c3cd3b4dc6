"""Every score by two roads: brute force or another library."""

from __future__ import annotations

import numpy as np
import pytest
import scoringrules
from scipy import stats
from scipy.spatial.distance import jensenshannon

from fomo.evaluation.metrics import (
    JSD_BINS,
    PIT_BINS,
    ErrorSums,
    closed_coverage,
    coverage,
    crps,
    energy_score,
    enough_members,
    error_sums,
    histogram,
    jensen_shannon,
    pit_histogram,
)
from fomo.evaluation.structure import Structure


def drawn(count, values=40, seed=0):
    random = np.random.default_rng(seed)
    return random.gamma(2.0, 1.0, (count, values)), random.gamma(2.0, 1.2, values)


@pytest.mark.parametrize("count", [2, 3, 8, 33])
@pytest.mark.parametrize("fair", [True, False])
def test_crps_is_the_double_sum_over_members(count, fair):
    members, truth = drawn(count)
    error = np.abs(members - truth).mean(0)
    pairs = np.abs(members[:, None] - members[None]).sum((0, 1)) / (count * (count - 1) if fair else count**2)
    np.testing.assert_allclose(crps(members, truth, fair), error - pairs / 2, rtol=1e-12)


@pytest.mark.parametrize(("fair", "estimator"), [(True, "fair"), (False, "qd"), (False, "nrg")])
def test_crps_agrees_with_scoringrules(fair, estimator):
    members, truth = drawn(16)
    wanted = scoringrules.crps_ensemble(truth, members, m_axis=0, estimator=estimator)
    np.testing.assert_allclose(crps(members, truth, fair), wanted, rtol=1e-10)


def test_crps_of_the_ensemble_is_the_integral_of_the_brier_score():
    members, truth = drawn(7, values=5)
    places = np.linspace(-1, 30, 200_001)
    for i in range(5):
        below = (members[:, i, None] <= places).mean(0)
        integral = np.trapezoid((below - (truth[i] <= places)) ** 2, places)
        assert crps(members, truth, fair=False)[i] == pytest.approx(integral, abs=2e-4)


def test_an_ensemble_of_one_gives_the_absolute_error():
    members, truth = drawn(1)
    np.testing.assert_array_equal(crps(members, truth), np.abs(members[0] - truth))
    assert energy_score(members, truth) == pytest.approx(float(np.linalg.norm(members[0] - truth)))
    sums = error_sums(members, truth, reference=100.0).scores()
    assert sums["crps"] == pytest.approx(sums["mae"])


def test_fair_crps_does_not_depend_on_the_number_of_members_on_average():
    scores = {}
    for count in (3, 30):
        random = np.random.default_rng(count)
        members, truth = random.normal(size=(count, 200_000)), random.normal(size=200_000)
        scores[count] = crps(members, truth).mean(), crps(members, truth, fair=False).mean()
    exact = 1 / np.sqrt(np.pi)  # E|X - y| - E|X - X'| / 2 for standard normals
    assert scores[3][0] == pytest.approx(exact, abs=0.004) and scores[30][0] == pytest.approx(exact, abs=0.004)
    assert scores[3][1] > scores[30][1] + 0.1


@pytest.mark.parametrize("count", [2, 9])
def test_the_energy_score_agrees_with_scoringrules(count):
    members, truth = drawn(count, values=6)
    wanted = scoringrules.es_ensemble(truth, members, estimator="fair")
    assert energy_score(members, truth) == pytest.approx(float(wanted), rel=1e-9)


@pytest.mark.parametrize(("count", "antithetic"), [(4, True), (24, True), (25, True), (4, False), (24, False)])
def test_the_fair_energy_score_does_not_depend_on_the_number_of_members_nor_on_opposite_pairs(count, antithetic):
    random = np.random.default_rng(count)
    found = []
    for _ in range(3000):
        half = random.normal(size=(-(-count // 2), 4))
        members = np.stack([half, -half], 1).reshape(-1, 4)[:count] if antithetic else random.normal(size=(count, 4))
        found.append(energy_score(members, random.normal(size=4), antithetic=antithetic))
    far = np.linalg.norm(random.normal(size=(400_000, 4)) * 2**0.5, axis=1).mean()  # E|X - y| = E|X - X'|
    assert np.mean(found) == pytest.approx(far / 2, rel=0.02)


def test_the_energy_score_of_quantiles_is_that_of_the_ensemble_itself():
    members, truth = drawn(9, values=6)
    wanted = scoringrules.es_ensemble(truth, members, estimator="nrg")
    assert energy_score(members, truth, fair=False) == pytest.approx(float(wanted), rel=1e-9)


def test_the_energy_score_of_one_value_is_its_crps():
    members, truth = drawn(9, values=1)
    assert energy_score(members, truth) == pytest.approx(float(crps(members, truth)[0]))


@pytest.mark.parametrize("count", [3, 4, 19, 20, 64])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_of_a_perfect_ensemble_is_its_level_for_any_number_of_members(count, level):
    random = np.random.default_rng(count)
    members, truth = random.normal(size=(count, 100_000)), random.normal(size=100_000)
    covered = coverage(members, truth, level)
    if not enough_members(level, count):
        assert np.isnan(covered).all()
    else:
        assert covered.mean() == pytest.approx(level, abs=0.006)


def test_counting_hits_between_linear_sample_quantiles_would_miss_the_level():
    random = np.random.default_rng(0)
    members, truth = random.normal(size=(20, 100_000)), random.normal(size=100_000)
    low, high = np.quantile(members, [0.05, 0.95], axis=0)
    assert ((low <= truth) & (truth <= high)).mean() < 0.87
    assert closed_coverage(members, truth, 0.9).mean() == pytest.approx(0.9, abs=0.01)


def test_dead_cells_move_the_closed_coverage_but_not_the_coverage():
    random = np.random.default_rng(0)
    members, truth = random.normal(size=(20, 100_000)), random.normal(size=100_000)
    members[:, :40_000] = truth[:40_000] = 0.0
    assert coverage(members, truth, 0.5).mean() == pytest.approx(0.5, abs=0.01)
    assert closed_coverage(members, truth, 0.5).mean() > 0.68


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_is_the_share_of_random_ranks_inside(level):
    """Ties broken at random many times, and the rank spread evenly over its place."""
    random = np.random.default_rng(0)
    members, truth = random.integers(0, 4, (20, 30)).astype(float), random.integers(0, 4, 30).astype(float)
    inside = np.zeros(30)
    for _ in range(20_000):
        ties = (members == truth).sum(0)
        rank = (members < truth).sum(0) + np.floor(random.random(30) * (ties + 1))
        place = (rank + random.random(30)) / 21
        inside += (place > (1 - level) / 2) & (place < (1 + level) / 2)
    np.testing.assert_allclose(coverage(members, truth, level), inside / 20_000, atol=0.015)


def test_nineteen_members_hold_an_interval_of_90_percent_and_eighteen_do_not():
    assert enough_members(0.9, 19) and not enough_members(0.9, 18)
    assert enough_members(0.5, 3) and not enough_members(0.5, 2)


def test_a_forecast_that_is_certain_and_wrong_covers_nothing():
    members, truth = np.zeros((20, 3)), np.ones(3)
    assert (coverage(members, truth, 0.9) == 0).all() and (closed_coverage(members, truth, 0.9) == 0).all()


def test_the_middle_of_the_pit_histogram_is_the_coverage():
    members, truth = drawn(20)
    bins = pit_histogram(members, truth)
    assert bins.sum() == pytest.approx(truth.size)
    for level in (0.5, 0.9):
        outside = round(PIT_BINS * (1 - level) / 2)
        wanted = coverage(members, truth, level).sum()
        assert bins[outside : PIT_BINS - outside].sum() == pytest.approx(wanted)


def test_the_divergence_agrees_with_scipy():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 50, JSD_BINS).astype(float), random.integers(0, 9, JSD_BINS).astype(float)
    assert jensen_shannon(first, second) == pytest.approx(jensenshannon(first, second, base=2) ** 2)


def test_the_divergence_is_zero_for_equal_and_one_for_disjoint_histograms():
    first, second = np.zeros(JSD_BINS), np.zeros(JSD_BINS)
    first[3], second[4] = 7.0, 2.0
    assert jensen_shannon(first, 5 * first) == 0.0
    assert jensen_shannon(first, second) == 1.0


def test_the_histogram_agrees_with_numpy_and_counts_the_ends():
    values = np.append(np.random.default_rng(0).random(1000), [0.0, 1.0, 1.0])
    np.testing.assert_array_equal(histogram(values), np.histogram(values, bins=JSD_BINS, range=(0, 1))[0])


def test_sums_of_windows_are_the_scores_of_all_their_values_at_once():
    members, truth = drawn(20, values=90)
    parts = [error_sums(members[:, i : i + 30], truth[i : i + 30], reference=4.0) for i in (0, 30, 60)]
    whole = error_sums(members, truth, reference=4.0).scores()
    added = (parts[0] + parts[1] + parts[2]).scores()
    for name in whole:
        if name != "energy":  # the norm over a window is not a sum over its values
            assert added[name] == pytest.approx(whole[name], nan_ok=True), name
    assert added["energy"] == pytest.approx(np.mean([part.energy for part in parts]))


def test_errors_are_scaled_and_clipped_and_physical_errors_are_not():
    members, truth = drawn(20, values=90)
    reference = 2.0  # a good part of the values lies above
    scores = error_sums(members, truth, reference).scores()
    point = members.mean(0)
    scaled = np.clip(point / reference, 0, 1) - np.clip(truth / reference, 0, 1)
    assert scores["rmse"] == pytest.approx(np.sqrt((scaled**2).mean()))
    assert scores["mae"] == pytest.approx(np.abs(scaled).mean())
    assert scores["rmse_physical"] == pytest.approx(np.sqrt(((point - truth) ** 2).mean()))
    assert scores["mae_physical"] == pytest.approx(np.abs(point - truth).mean())
    assert scores["mae_physical"] > reference * scores["mae"]
    clipped = np.clip(members / reference, 0, 1), np.clip(truth / reference, 0, 1)
    assert scores["crps"] == pytest.approx(crps(*clipped).mean())
    assert scores["coverage50"] == pytest.approx(coverage(*clipped, 0.5).mean())
    assert scores["closed90"] == pytest.approx(closed_coverage(*clipped, 0.9).mean())


def test_sums_go_through_a_vector_unchanged():
    looks = Structure(0.4, 3, 1.5, 2, 0.7, 0.9, 3)
    sums = error_sums(*drawn(20), reference=4.0, structure=looks)
    again = ErrorSums.from_vector(sums.vector())
    assert again.scores() == sums.scores() and again.pairs == 2 and again.windows == 1 and again.members == 20
    assert sums.vector()[ErrorSums.column("crps")] == sums.crps


def test_small_ensembles_have_no_90_percent_interval_rather_than_a_wrong_one():
    scores = error_sums(*drawn(8), reference=4.0).scores()
    assert np.isnan(scores["coverage90"]) and np.isnan(scores["closed90"])
    assert 0 < scores["coverage50"] < 1


def test_the_fair_crps_of_opposite_members_is_that_of_the_distribution():
    """Opposite members lie further apart than independent ones: the fair score took that for spread, 1.8 % too low."""
    half = np.random.default_rng(3).standard_normal((6, 40_000))
    members, truth = np.stack([half, -half], 1).reshape(12, -1), np.zeros(40_000)
    true_score = np.sqrt(2 / np.pi) - 1 / np.sqrt(np.pi)  # E|X| - E|X - X'| / 2 of a standard normal, at y = 0
    assert crps(members, truth, antithetic=True).mean() == pytest.approx(true_score, rel=0.01)
    assert crps(members, truth).mean() < 0.95 * true_score
    odd = crps(members[:11], truth, antithetic=True).mean()
    assert odd == pytest.approx(true_score, rel=0.02)


#: Quantile functions of several shapes: with long tails, with a part at zero, in whole numbers.
SHAPES = {
    "normal": stats.norm.ppf,
    "log-normal": stats.lognorm(1.0).ppf,
    "Student's t": stats.t(3).ppf,
    "cut at zero": lambda p: np.maximum(stats.norm.ppf(p) + 0.3, 0),
    "counts": stats.poisson(6).ppf,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [20, 24, 25])
def test_coverage_of_opposite_members_is_its_level(count, shape):
    """Taken for independent draws, a well calibrated 50 % read 52 % with 24 members."""
    random, quantile = np.random.default_rng(count), SHAPES[shape]
    half = random.random((-(-count // 2), 60_000))
    members = quantile(np.stack([half, 1 - half], 1).reshape(-1, half.shape[1])[:count])
    truth = quantile(random.random(half.shape[1]))
    for level in (0.5, 0.9):
        assert coverage(members, truth, level, antithetic=True).mean() == pytest.approx(level, abs=0.005)
    assert coverage(members, truth, 0.5).mean() > 0.513


@pytest.mark.parametrize("alike", [-0.9, -0.5, 0.0])
@pytest.mark.parametrize("count", [20, 24])
def test_coverage_of_members_that_are_opposite_in_part_is_its_level(count, alike):
    """A network makes of opposite noise what it likes: the members of a pair are not always opposite quantiles."""
    random = np.random.default_rng(count)
    one, other = random.normal(size=(2, count // 2, 60_000))
    members = np.stack([one, alike * one + np.sqrt(1 - alike**2) * other], 1).reshape(count, -1)
    truth = random.normal(size=60_000)
    for level in (0.5, 0.9):
        assert coverage(members, truth, level, antithetic=True).mean() == pytest.approx(level, abs=0.0055)


def test_opposite_members_about_means_of_their_own_are_even_in_the_histogram():
    random = np.random.default_rng(5)
    mean, scale = random.gamma(2.0, 1.0, (2, 100_000))
    half = random.normal(size=(12, 100_000))
    members = mean + scale * np.stack([half, -half], 1).reshape(24, -1)
    bins = pit_histogram(members, mean + scale * random.normal(size=100_000), antithetic=True)
    np.testing.assert_allclose(bins / 100_000, 1 / PIT_BINS, atol=0.0025)


@pytest.mark.parametrize("count", [20, 24])
def test_coverage_of_quantiles_is_its_level(count):
    """Taken for draws, exact quantiles read as 52 % and 94 %. Atoms as large as several bins even out over cells."""
    random = np.random.default_rng(count)
    places = (np.arange(count)[:, None] + 0.5) / count
    mean = random.uniform(-1, 1, 200_000)
    for cut in (-np.inf, 0.0):
        members, truth = (np.maximum(stats.norm.ppf(p) + mean, cut) for p in (places, random.random(200_000)))
        for level in (0.5, 0.9):
            assert coverage(members, truth, level, fair=False).mean() == pytest.approx(level, abs=0.004)
    assert coverage(members, truth, 0.9).mean() > 0.915


@pytest.mark.parametrize("kind", [{"fair": False}, {"antithetic": True}])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 21])
def test_every_place_among_members_of_any_kind_is_counted_once(count, kind):
    random = np.random.default_rng(count)
    members, truth = random.integers(0, 5, (count, 300)).astype(float), random.integers(-1, 6, 300).astype(float)
    bins = pit_histogram(members, truth, **kind)
    assert (bins >= 0).all() and bins.sum() == pytest.approx(300)
    np.testing.assert_allclose(pit_histogram(-members, -truth, **kind), bins[::-1], atol=1e-9)
    dead = pit_histogram(np.zeros((count, 9)), np.zeros(9), **kind)
    np.testing.assert_allclose(dead, 9 / PIT_BINS, atol=0.15)


def test_sums_look_for_the_truth_among_members_as_they_are():
    members, truth = drawn(20, values=90)
    for kind in ({}, {"antithetic": True}, {"fair": False}):
        sums, wanted = error_sums(members, truth, reference=100.0, **kind), pit_histogram(members, truth, **kind)
        np.testing.assert_allclose(sums.pit, wanted, atol=1e-9)
        assert sums.scores()["coverage90"] == pytest.approx(coverage(members, truth, 0.9, **kind).mean())
