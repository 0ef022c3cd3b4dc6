"""PRB allocation (18) as linear programmes: a good start for a horizon, and a bound that no plan can beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from fomo.planning.dynamics import next_backlog
from fomo.planning.load import PlanError
from fomo.planning.scheduling import PrbParameters, check_slot

#: Tangents of 1/x between 1 and K blocks; 24 lie within 2 % of the curve for K = 1,000 (integers are solved after it).
TANGENTS = 24
#: Prices of a block for the bound of the delay of a slot.
PRICES = 16


@dataclass(frozen=True)
class Horizon:
    """What is known when the PRBs of some slots are given out."""

    #: Bits that wait at the start of the first slot.
    backlog: Float[np.ndarray, " cell"]
    #: Bits that arrive in each slot, possible ones side by side.
    arriving: Float[np.ndarray, "sample slot cell"]
    #: Bits that one PRB of a cell carries in a slot.
    bits_per_prb: Float[np.ndarray, "slot cell"]
    prbs: int
    parameters: PrbParameters


def best_shares(horizon: Horizon, near: Int[np.ndarray, "slot cell"]) -> Float[np.ndarray, "slot cell"]:
    """Real shares of all PRBs (0 to 1) from the linear programme of a horizon, near a plan in PRBs.

    Exact in the expected backlog; the delay is to first order E U* / (x b) + (E U - E U*) / (x* b), with * of the plan.
    Scaled: shares of K, backlog in its unit. Raises `PlanError`: no scipy, or the solver failed.
    """
    parameters, prbs, arriving = horizon.parameters, horizon.prbs, horizon.arriving
    unit = parameters.backlog_unit_bits
    rate = horizon.bits_per_prb * (prbs / unit)
    share, late, left = _variables(arriving.shape)
    expected, waiting = [horizon.backlog], np.broadcast_to(horizon.backlog, arriving[:, 0].shape)
    for slot in range(len(near) - 1):
        waiting = next_backlog(waiting, arriving[:, slot], near[slot] * horizon.bits_per_prb[slot])
        expected.append(waiting.mean(0))
    there = np.stack(expected) / unit
    price = np.full(left.shape, 1.0 / len(left))
    price[:, :-1] += parameters.delay_weight * prbs / (np.maximum(near, 1) * rate)[1:] / len(left)
    cost = np.concatenate([np.zeros(share.size), np.full(late.size, parameters.delay_weight), price.ravel()])
    rows = _Rows()
    _queue(rows, share, left, horizon.backlog / unit, arriving / unit, rate)
    for point in np.geomspace(1 / prbs, 1, TANGENTS):  # late >= there / rate (2 / p - x / p^2)
        steep = there / rate / point**2
        rows.at_most(np.stack([share, late], -1), np.stack([-steep, np.full_like(steep, -1.0)], -1), -2 * point * steep)
    least = np.where(there > 0, 1 / prbs, 0.0)
    solution, _ = rows.minimise(cost, np.concatenate([least.ravel(), np.zeros(late.size + left.size)]), share.size)
    return solution[share]


def lower_bound(
    backlog: Float[np.ndarray, " cell"],
    arriving: Float[np.ndarray, "slot cell"],
    bits_per_prb: Float[np.ndarray, "slot cell"],
    prbs: int,
    parameters: PrbParameters,
    incumbent: float = np.inf,
) -> float:
    """No allocation of these slots, even with all arrivals and channels known, has an objective (18) below this.

    A linear programme over real blocks, so exact in the backlog; the delay is replaced by what it cannot fall below
    given that U(t) lies between the backlog if all K blocks had always served the cell and that if none ever had
    (McCormick 1976, and per slot the Lagrangian of sum x <= K with the secants of sqrt U). `incumbent`, the objective
    of any plan, cuts the upper of these. Right to the solver's tolerance (1e-7). Raises `PlanError`.
    """
    check_slot(backlog, arriving, bits_per_prb, prbs)
    unit, weight = parameters.backlog_unit_bits, parameters.delay_weight
    rate, comes = bits_per_prb * (prbs / unit), arriving / unit
    share, late, left = _variables((1, *arriving.shape))
    lowest = [backlog / unit]
    for slot in range(len(comes) - 1):
        lowest.append(next_backlog(lowest[-1], comes[slot], rate[slot]))
    low = np.stack(lowest)
    high = low[0] + np.concatenate([np.zeros_like(comes[:1]), comes.cumsum(0)[:-1]])
    high[1:] = np.maximum(np.minimum(high[1:], incumbent), low[1:])
    rows = _Rows()
    _queue(rows, share, left, backlog / unit, arriving[None] / unit, rate)
    late_rate = np.stack([share, late, np.concatenate([left[0, :1], left[0, :-1]])], -1)  # U(0) is known: see `known`
    known = np.zeros(late.shape, bool)
    known[0] = True
    now = np.where(known, low, 0.0)  # what is known of U enters on the right-hand side

    def late_at_least(slope: Any, per_backlog: Any, constant: Any, which: np.ndarray) -> None:
        """Late x rate >= slope x share + per_backlog x U + constant."""
        slope, per_backlog, constant = np.broadcast_arrays(slope, per_backlog, constant)
        values = np.stack([slope, -rate, np.where(known, 0.0, per_backlog)], -1)
        right = -(constant + per_backlog * now)
        rows.at_most(late_rate[which], values[which], right[which])

    for point in np.geomspace(1 / prbs, 1, TANGENTS):  # 1/x >= 2/p - x/p^2
        late_at_least(-low / point**2, 1.0, low * (2 / point - 1.0), low >= 0)
        if point * prbs >= 2:  # only then also true of U = 0 with no block
            late_at_least(-high / point**2, float(prbs), high * (2 / point - prbs), ~known)
    root_low, root_high = np.sqrt(low / rate), np.sqrt(high / rate)
    secant = 1 / np.maximum((root_low + root_high) * rate, 1e-300)  # (sqrt h - sqrt l) / (h - l), per backlog
    for part in np.geomspace(1e-3, 1, PRICES):
        price = (part * root_high.sum(-1, keepdims=True)) ** 2  # sum of U / (x b) >= sum of 2 sqrt(price U/b) - price
        slope = 2 * np.sqrt(price) * np.where(high > low, secant, 0.0)
        constant = (2 * np.sqrt(price) * root_low - slope * low).sum(-1) - price[:, 0]
        columns = np.concatenate([late, late_rate[..., 2]], -1)
        values = np.concatenate([np.full_like(slope, -1.0), np.where(known, 0.0, slope)], -1)
        rows.at_most(columns, values, -(constant + (slope * now).sum(-1)))
    cost = np.concatenate([np.zeros(share.size), np.full(late.size, weight), np.ones(left.size)])
    return rows.minimise(cost, np.zeros(len(cost)), share.size)[1]


def _variables(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of variables: share of the PRBs and delay (slot, cell), backlog after the slot (sample, slot, cell)."""
    samples, slots, cells = shape
    numbers = np.arange((2 + samples) * slots * cells).reshape(2 + samples, slots, cells)
    return numbers[0], numbers[1], numbers[2:]


def _queue(
    rows: _Rows, share: np.ndarray, left: np.ndarray, backlog: np.ndarray, arriving: np.ndarray, rate: np.ndarray
) -> None:
    """U(t+1) >= U(t) + P(t) - x r, and the shares of a slot sum to 1 at most."""
    first = np.stack(np.broadcast_arrays(left[:, 0], share[0]), -1)
    rows.at_most(first, np.stack(np.broadcast_arrays(-1.0, -rate[0]), -1), -(backlog + arriving[:, 0]))
    if left.shape[1] > 1:
        columns = np.stack(np.broadcast_arrays(left[:, 1:], left[:, :-1], share[1:]), -1)
        rows.at_most(columns, np.stack(np.broadcast_arrays(-1.0, 1.0, -rate[1:]), -1), -arriving[:, 1:])
    rows.at_most(share, np.array(1.0), np.ones(len(share)))


class _Rows:
    """The inequalities of a linear programme, collected as arrays."""

    def __init__(self) -> None:
        self.count = 0
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.right: list[np.ndarray] = []

    def at_most(self, columns: np.ndarray, values: np.ndarray, right: np.ndarray) -> None:
        """Sum over the last axis of values x variables <= right, a row for every other place."""
        rows = self.count + np.arange(right.size).reshape(*right.shape, 1)
        rows, columns, values = np.broadcast_arrays(rows, columns, values)
        self.parts.append((values.ravel(), rows.ravel(), columns.ravel()))
        self.right.append(right.ravel())
        self.count += right.size

    def minimise(self, cost: np.ndarray, least: np.ndarray, shares: int) -> tuple[np.ndarray, float]:
        """The best variables, not below `least`, the first `shares` not above 1, and their cost (HiGHS)."""
        try:
            from scipy.optimize import linprog
            from scipy.sparse import coo_array
        except ImportError:
            raise PlanError("PRB allocation over a horizon needs scipy: pip install 'fomo[planning]'") from None
        values, rows, columns = (np.concatenate(part) for part in zip(*self.parts, strict=True))
        matrix = coo_array((values, (rows, columns)), shape=(self.count, len(cost))).tocsr()
        most = np.full(len(cost), np.inf)
        most[:shares] = 1.0
        right = np.concatenate(self.right)
        found = linprog(cost, A_ub=matrix, b_ub=right, bounds=np.stack([least, most], 1), method="highs")
        if found.status != 0:
            raise PlanError(
                f"the solver found no allocation ({found.message}): load and channel may lie too many orders of "
                "magnitude apart; set backlog_unit_bits near the traffic of a slot"
            )
        return found.x, float(found.fun)
