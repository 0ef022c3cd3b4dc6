import numpy as np
import pytest

from fomo.planning.comparison import REGRET, Played, closed_interval, rows_of, with_regret
from fomo.planning.load import PlanError
from fomo.planning.rows import closed


def played(values: dict[str, list[list[float]]], weight: float = 1.0) -> list[Played]:
    """strategy -> [origin][seed] -> objective."""
    return [
        Played(strategy, strategy, f"o{origin}", seed, {"objective": value}, weight)  # type: ignore[arg-type]
        for strategy, origins in values.items()
        for origin, seeds in enumerate(origins)
        for seed, value in enumerate(seeds)
    ]


def test_a_row_is_the_mean_over_origins_and_seeds() -> None:
    (row,) = rows_of(played({"fomo": [[1, 3], [5, 7]]}), "sleep", "x", {"objective": "cost"})
    assert (row.value, row.origins, row.seeds, row.unit) == (4.0, 2, 2, "cost")
    assert row.low <= row.value <= row.high


def test_weights_count_cell_periods() -> None:
    both = [*played({"fomo": [[1.0]]}, 3.0), Played("fomo", "FoMo", "o1", 0, {"objective": 5.0}, 1.0)]
    (row,) = rows_of(both, "sleep", "x", {"objective": "cost"})
    assert row.value == pytest.approx(2.0)


def test_the_interval_is_that_of_a_resampled_mean() -> None:
    values = np.random.default_rng(0).normal(10, 2, 400)
    (row,) = rows_of(played({"fomo": [[v] for v in values]}), "sleep", "x", {"objective": "cost"})
    half = 1.96 * values.std() / 20
    assert row.high - row.value == pytest.approx(half, rel=0.15)
    assert row.value - row.low == pytest.approx(half, rel=0.15)


def test_one_origin_has_no_interval() -> None:
    (row,) = rows_of(played({"fomo": [[1.0, 2.0]]}), "sleep", "x", {"objective": "cost"})
    assert row.low == row.value == row.high == 1.5


def test_a_strategy_that_misses_an_origin_is_refused() -> None:
    some = played({"fomo": [[1.0], [2.0]], "history": [[1.0]]})
    with pytest.raises(PlanError, match="history was not played at o1"):
        rows_of(some, "sleep", "x", {"objective": "cost"})


def test_what_is_closed() -> None:
    some = played({"always_on": [[9.0]], "history": [[6.0]], "fomo": [[3.0]], "real": [[2.0]]})
    rows = rows_of(some, "sleep", "x", {"objective": "cost"})
    assert closed(rows) == pytest.approx(0.75)
    assert closed_interval(some) == pytest.approx((0.75, 0.75, 0.75))


def test_nothing_to_close_is_not_a_number() -> None:
    some = played({"history": [[2.0]], "fomo": [[3.0]], "real": [[2.0]]})
    assert np.isnan(closed_interval(some)[0])
    assert np.isnan(closed(rows_of(some, "sleep", "x", {"objective": "cost"})))


def test_the_interval_of_what_is_closed_is_paired() -> None:
    """All strategies move together from day to day, so that share hardly does."""
    days = np.random.default_rng(1).uniform(5, 50, 30)
    some = played({"history": [[2 * d] for d in days], "fomo": [[1.4 * d] for d in days], "real": [[d] for d in days]})
    share, low, high = closed_interval(some)
    assert share == pytest.approx(0.6)
    assert high - low < 1e-9


def test_regret_is_held_against_the_oracle_of_the_same_origin() -> None:
    some = played({"fomo": [[3.0, 4.0], [7.0, 7.0]], "real": [[1.0], [5.0]]})
    found = {(each.strategy, each.origin, each.seed): each.metrics[REGRET] for each in with_regret(some)}
    assert found["fomo", "o0", 0] == 2 and found["fomo", "o0", 1] == 3 and found["fomo", "o1", 1] == 2
    assert found["real", "o0", 0] == 0


def test_a_scenario_without_its_own_oracle_takes_the_plain_one() -> None:
    biased = Played("fomo", "FoMo", "o0", 0, {"objective": 9.0}, scenario="forecast +20 %")
    assert with_regret([*played({"real": [[2.0]]}), biased])[-1].metrics[REGRET] == 7.0


def test_no_oracle_is_no_regret() -> None:
    with pytest.raises(PlanError, match="no oracle was played at o0"):
        with_regret(played({"fomo": [[1.0]]}))
