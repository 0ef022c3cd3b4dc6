"""One reading of the records in blocks of cells, so that no second cube is in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped

from fomo.city import CityError
from fomo.evaluation.health.finite import quantile
from fomo.evaluation.health.records import STATES, Records
from fomo.evaluation.health.runs import runs, stuck_runs
from fomo.evaluation.health.spikes import spikes_of
from fomo.ingest.cube import State

#: Values of a block of cells.
BLOCK = 2_000_000


@dataclass(frozen=True)
class Survey:
    """Sums over cells by period, and over periods by cell; what is expected, `Records.of` says."""

    recorded: Int[np.ndarray, " time"]  # cells that are recorded
    expected: Int[np.ndarray, " time"]  # of those that are recorded at least once
    total: Float[np.ndarray, " time"]
    states: Int[np.ndarray, " state"]  # values of each of `STATES`
    count: Int[np.ndarray, " cell"]  # periods that are recorded
    periods: Int[np.ndarray, " cell"]  # that are expected
    mean: Float[np.ndarray, " cell"]  # NaN where none is
    day_count: Int[np.ndarray, "cell day"]
    day_periods: Int[np.ndarray, "cell day"]
    day_mean: Float[np.ndarray, "cell day"]  # NaN where less than half of the day is recorded
    median: Float[np.ndarray, "cell hour"]
    stuck: Shaped[np.ndarray, " cell"]  # `runs.STUCK`
    spikes: Shaped[np.ndarray, " cell"]  # `spikes.SPIKES`
    without_users: Float[np.ndarray, " cell"]  # share of its traffic; NaN = unknown
    without_traffic: Float[np.ndarray, " cell"]  # share of its users; NaN = unknown
    suspect: Int[np.ndarray, " cell"]  # periods
    resets: Int[np.ndarray, " cell"]  # periods
    gaps: Int[np.ndarray, "kind 4"]  # first period, periods, cells, the first of these


def survey_of(records: Records) -> Survey:
    """Read the records once. Raises `CityError` for traffic that is negative or infinite."""
    steps, size = len(records.time), max(16, BLOCK // len(records.time))
    sums = {"recorded": np.zeros(steps, int), "expected": np.zeros(steps, int), "total": np.zeros(steps)}
    sums["states"] = np.zeros(len(STATES), int)
    parts: dict[str, list[np.ndarray]] = {}
    for begin in range(0, max(1, len(records.columns)), size):  # at least once: a city may have no covered cell
        part = _block(records, records.columns[begin : begin + size])
        for name in sums:
            sums[name] += part.pop(name)
        part["gaps"][:, 3] += begin  # the first cell of the block
        for name, value in part.items():
            parts.setdefault(name, []).append(value)
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    kinds, first, kind = np.unique(joined["gaps"][:, :2], axis=0, return_index=True, return_inverse=True)
    cells = np.bincount(kind.ravel(), joined["gaps"][:, 2], len(kinds)).astype(int)
    joined["gaps"] = np.column_stack([kinds, cells, joined["gaps"][first, 3]])
    return Survey(**sums, **joined)


def _block(records: Records, columns: Int[np.ndarray, " cell"]) -> dict[str, np.ndarray]:
    """The fields of `Survey` for some cells. Days are padded to whole ones with NaN."""
    per_day, days, hours = records.periods_per_day, len(records.days), len(records.hours)
    inside = slice(records.offset, records.offset + len(records.time))
    values = np.full((len(columns), days * per_day), np.nan, np.float32)
    expected = np.zeros(values.shape, bool)
    values[:, inside], expected[:, inside] = records.of(columns)
    _check_amounts(values, records, columns)
    known = np.isfinite(values)
    filled = np.where(known, values, np.float32(0))
    count, total = known.sum(1), filled.sum(1, dtype=np.float64)
    day_count = known.reshape(-1, days, per_day).sum(2)
    day_sum = filled.reshape(-1, days, per_day).sum(2, dtype=np.float64)
    by_hour = values.reshape(-1, days, hours, per_day // hours).transpose(0, 2, 1, 3)
    by_hour = np.sort(by_hour.reshape(-1, hours, days * per_day // hours), -1)  # NaN last
    low, median, high = (quantile(by_hour, np.isfinite(by_hour).sum(-1), level) for level in (0.25, 0.5, 0.75))
    spikes = spikes_of(values, total, count, median, high - low, days)
    spikes["period"] -= records.offset
    unknown = np.full(len(columns), np.nan)
    fields = {
        "recorded": known[:, inside].sum(0),
        "expected": expected[count > 0][:, inside].sum(0),
        "total": filled[:, inside].sum(0, dtype=np.float64),
        "states": np.zeros(len(STATES), int),
        "count": count,
        "periods": expected.sum(1),
        "mean": np.divide(total, count, out=unknown.copy(), where=count > 0),
        "day_count": day_count,
        "day_periods": expected.reshape(-1, days, per_day).sum(2),
        "day_mean": np.where(2 * day_count >= per_day, day_sum / np.maximum(day_count, 1), np.nan),
        "median": median,
        "stuck": stuck_runs(values[:, inside], records.step_minutes),
        "spikes": spikes,
        "without_users": unknown,
        "without_traffic": unknown,
        "suspect": np.zeros(len(columns), int),
        "resets": np.zeros(len(columns), int),
        "gaps": _gaps((expected & ~known)[:, inside], count > 0),
    }
    if records.users is not None:
        users = records.users[:, columns].T
        both = known[:, inside] & np.isfinite(users)
        fields["without_users"] = _share_alone(filled[:, inside], users, both)
        fields["without_traffic"] = _share_alone(users, filled[:, inside], both)
    if records.state is not None:
        state = records.state[:, columns].T
        # A row that came with users and no traffic is recorded to the store; here it is traffic that counts.
        told = np.where((state == State.RECORDED) & ~known[:, inside], State.MISSING, state)
        told = told[expected[:, inside]].astype(int)
        fields["states"] = np.bincount(told, minlength=len(STATES))[: len(STATES)]
        fields["suspect"], fields["resets"] = (
            ((state == code) & expected[:, inside]).sum(1) for code in (State.SUSPECT, State.RESET)
        )
    return fields


def _check_amounts(values: Float[np.ndarray, "cell padded"], records: Records, columns: np.ndarray) -> None:
    wrong = np.isinf(values) | (values < 0)
    if wrong.any():
        cell, period = np.unravel_index(int(wrong.argmax()), wrong.shape)
        raise CityError(
            f"traffic is {values[cell, period]} at {records.time[int(period) - records.offset]} in the cell number "
            f"{columns[cell]}: amounts are finite and not negative; write NaN where nothing was recorded"
        )


def _share_alone(
    amount: Num[np.ndarray, "cell time"], other: Num[np.ndarray, "cell time"], both: Bool[np.ndarray, "cell time"]
) -> Float[np.ndarray, " cell"]:
    """Share of the amount that comes while the other one is 0, of periods in which both are known; NaN without any."""
    whole = np.where(both, amount, 0).sum(1, dtype=np.float64)
    alone = np.where(both & (other == 0), amount, 0).sum(1, dtype=np.float64)
    return np.divide(alone, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _gaps(missing: Bool[np.ndarray, "cell time"], ever: Bool[np.ndarray, " cell"]) -> Int[np.ndarray, "kind 4"]:
    """First period, periods, cells and the first of these, of the gaps in cells that are recorded at least once."""
    row, begin, periods = runs(missing)
    taken = ever[row]
    gaps = np.stack([begin[taken], periods[taken]], 1)
    kinds, first, cells = np.unique(gaps, axis=0, return_index=True, return_counts=True)
    return np.column_stack([kinds, cells, row[taken][first]])


__all__ = ["BLOCK", "Survey", "survey_of"]
