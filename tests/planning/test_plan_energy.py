"""The energy of radio units: what was fitted is found again, and the paper's formula is one of the family."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.planning.energy import EnergyModel, fit_energy
from fomo.planning.load import PlanError


def hours(seed: int, count: int = 400, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Load, energy and share asleep of a radio unit with idle 16, load 29, asleep 9."""
    random = np.random.default_rng(seed)
    asleep = np.where(random.random(count) < 0.3, random.random(count), 0.0)
    load = random.random(count) * (1 - asleep)
    return load, 16 * (1 - asleep) + 29 * load + 9 * asleep + random.normal(0, noise, count), asleep


def test_a_fit_without_noise_finds_the_model_again():
    found = fit_energy(*hours(0), unit="W")
    assert (found.model.idle, found.model.load, found.model.asleep) == pytest.approx((16, 29, 9))
    assert found.r_squared == pytest.approx(1)
    assert found.error == pytest.approx(0, abs=1e-9)
    assert (found.model.unit, found.hours) == ("W", 400)


def test_a_fit_solves_the_normal_equations():
    load, energy, asleep = hours(1, noise=3.0)
    design = np.stack([1 - asleep, load, asleep], -1)
    expected = np.linalg.solve(design.T @ design, design.T @ energy)
    found = fit_energy(load, energy, asleep)
    assert [found.model.idle, found.model.load, found.model.asleep] == pytest.approx(expected)
    assert found.error == pytest.approx(np.sqrt(np.mean((energy - design @ expected) ** 2)))
    assert found.r_squared == pytest.approx(1 - found.error**2 / energy.var())


def test_where_nobody_slept_sleep_saves_nothing():
    load, energy, _ = hours(2)
    model = fit_energy(load, 16 + 29 * load, np.zeros_like(energy)).model
    assert model.asleep == model.idle == pytest.approx(16)
    assert model.saved == 0


def test_the_energy_of_a_cell_is_the_sum_over_its_units():
    model = EnergyModel(idle=3.0, load=5.0, asleep=1.0)
    shares = [0.5, 1.0, 0.25]  # of three units awake; two more sleep
    one_by_one = sum(3.0 + 5.0 * share for share in shares) + 2 * 1.0
    carried = np.array([sum(shares) * 7.0])
    assert model.consumed(np.array([3]), carried, np.array([7.0]), rrus=5, hours=0.5) == pytest.approx(0.5 * one_by_one)


def test_the_formula_of_the_paper_to_the_letter_does_not_know_how_many_units_are_awake():
    alpha, beta, capacity = 0.3, 2.0, 7.0
    model = EnergyModel.as_printed(alpha, beta, capacity)
    carried = np.array([0.0, 3.0, 20.0])
    for active in (3, 5, 8):
        energy = model.consumed(active, carried, np.array(capacity), rrus=8, hours=1)
        assert energy == pytest.approx(alpha * carried + beta * carried / capacity)


def test_the_formula_of_the_paper_by_units_is_alpha_l_plus_beta_x():
    model = EnergyModel.per_unit(0.3, 2.0, 7.0)
    active, carried = np.array([1, 3, 8]), np.array([0.0, 3.0, 20.0])
    assert model.consumed(active, carried, np.array(7.0), rrus=8, hours=1) == pytest.approx(0.3 * carried + 2 * active)


def test_the_defaults_are_ratios_of_a_full_unit():
    model = EnergyModel()
    assert model.full == pytest.approx(1)
    assert 0 < model.asleep < model.idle
    scaled = EnergyModel(idle=4.0, load=6.0, asleep=1.0, unit="MJ").relative()
    assert (scaled.idle, scaled.load, scaled.asleep) == pytest.approx((0.4, 0.6, 0.1))
    assert scaled.unit == "full RRU-hours"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"idle": -1.0}, "'idle' is -1"),
        ({"load": float("nan")}, "'load' is nan"),
        ({"idle": 0.1, "asleep": 0.2}, "sleeping must not consume more"),
    ],
)
def test_a_radio_unit_that_cannot_be_is_refused(values, told):
    with pytest.raises(PlanError, match=told):
        EnergyModel(**values)


def test_a_unit_without_energy_is_no_measure():
    with pytest.raises(PlanError, match="consumes nothing"):
        EnergyModel(idle=0.0, load=0.0, asleep=0.0).relative()


def test_hours_that_cannot_be_fitted_are_refused():
    load, energy, asleep = hours(3)
    with pytest.raises(PlanError, match="1 of 400 values of the energy are missing"):
        fit_energy(load, np.where(np.arange(400) == 5, np.nan, energy), asleep)
    with pytest.raises(PlanError, match=r"the load goes from .* to .*: it is a share"):
        fit_energy(load * 100, energy, asleep)
    with pytest.raises(PlanError, match="do not tell idle, load and sleep apart"):
        fit_energy(np.zeros(400), energy, asleep)


@pytest.mark.real_data
def test_the_defaults_are_the_fit_to_the_measured_stations(real_data):
    """By another road: joined by hand, bounded least squares of scipy."""
    polars = pytest.importorskip("polars")
    optimize = pytest.importorskip("scipy.optimize")
    frame = polars.read_parquet(real_data / "itu_5g_cell_load_energy.parquet")
    cells: dict[str, set[str]] = {}
    for station, cell in frame.select("BS", "CellName").unique().rows():
        cells.setdefault(station, set()).add(cell)
    modes = frame.select([f"ESMode{i}" for i in range(1, 7)]).to_numpy().astype(np.float64)
    kept = np.array([len(cells[station]) == 1 for station in frame["BS"].to_list()])
    kept &= frame["RUType"].cast(polars.String).to_numpy() == "Type4"
    energy = frame["Energy"].to_numpy().astype(np.float64)
    kept &= np.isfinite(energy) & (modes[:, 2:] == 0).all(1)
    load, asleep = frame["load"].to_numpy().astype(np.float64), modes[:, :2].max(1)
    design = np.stack([1 - asleep, load, asleep], -1)[kept]
    fitted = optimize.lsq_linear(design, energy[kept], bounds=(0, np.inf)).x
    default = EnergyModel()
    assert [default.idle, default.load, default.asleep] == list(np.round(fitted / fitted[:2].sum(), 3))
    model = fit_energy(load[kept], energy[kept], asleep[kept]).model
    assert [model.idle, model.load, model.asleep] == pytest.approx(fitted)
    assert np.nanmax(energy) == 100  # why it has no physical unit
