"""PRB allocation (18) over the next slots: a receding horizon.

Allocations x_n(t) of all slots of the horizon are decided together, for all members at once, and the first is used: in
the next slot its backlog and channel are known and everything is decided anew. The expected cost to minimise is

    sum over slots and cells of  E U_n(t+1) / backlog_unit_bits + delay_weight E U_n(t) / (x_n(t) b_n(t))

The backlog is jointly convex in all x, U/r is not jointly convex in U and x. So three ways follow each other, each from
where the last ended, and the best plan in integers is kept:

* Slot by slot (`_sweep`): with the other slots held, the cost is a sum over cells of convex functions of their blocks
  in one slot: U(t+1) is convex and falling in x(t), and every later backlog, at fixed later rates, convex and rising in
  U(t+1). Marginal analysis solves that slot exactly. The first sweep counts the own cost of each slot alone, so no plan
  is worse, by the forecast, than deciding slot by slot.
* Two slots and two cells (`_exchange`): one cell takes blocks in a slot and gives blocks in another, a second cell the
  reverse. The cost is a sum over cells, so the best pair is found without trying all pairs.
* All at once: a linear programme (`best_shares`), exact in the backlog over all members, the delay to first order.

What is approximate: the end need not be the best plan of all (tests compare it with brute force, and `lower_bound` says
how far it can be at most). Later channels count with their mean, which leaves out that they vary. Later slots are
allocated as if they could not react to what will have arrived, and nothing counts after the last slot. Played, looking
ahead pays where the server is short of blocks for many slots, and may lose a little where it rarely is.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from jaxtyping import Float, Int

from fomo.planning.dynamics import delay, next_backlog
from fomo.planning.load import PlanError
from fomo.planning.scheduling import PrbParameters, check_slot, delay_gain
from fomo.planning.scheduling_marginal import in_proportion, marginal_allocation
from fomo.planning.scheduling_programme import Horizon, best_shares, lower_bound

#: A cell without any PRB has this many in the delay of slots to come: infinite for all purposes, but ordered.
NEARLY_NONE = 1e-6
LARGEST_ROUNDS = 50
LARGEST_PROGRAMMES, LARGEST_PROGRAMMES_QUICK = 3, 1
#: Gains below this share of the cost end the search; where the first slot alone is used, seconds count for more.
SMALLEST_GAIN, SMALLEST_GAIN_QUICK = 1e-9, 1e-3


def allocate_horizon(
    backlog: Float[np.ndarray, " cell"],
    arriving: Float[np.ndarray, "sample slot cell"],
    bits_per_prb: Float[np.ndarray, " cell"],
    mean_bits_per_prb: Float[np.ndarray, " cell"],
    prbs: int,
    parameters: PrbParameters,
) -> Int[np.ndarray, " cell"]:
    """PRBs of each cell in this slot, looking `parameters.horizon_slots` slots ahead (fewer where none are left).

    `backlog` in bits at the start of the slot; `arriving`: members of the bits that arrive in this slot and later ones;
    bits per PRB and slot: now, and in the mean for later slots. All PRBs are given out. Raises `PlanError`.
    """
    slots = min(parameters.horizon_slots, arriving.shape[1])
    channel = np.concatenate([bits_per_prb[None], np.tile(mean_bits_per_prb, (slots - 1, 1))])
    return plan_horizon(backlog, arriving[:, :slots], channel, prbs, parameters, quick=True)[0]


def plan_horizon(
    backlog: Float[np.ndarray, " cell"],
    arriving: Float[np.ndarray, "sample slot cell"],
    bits_per_prb: Float[np.ndarray, "slot cell"],
    prbs: int,
    parameters: PrbParameters,
    quick: bool = False,
) -> Int[np.ndarray, "slot cell"]:
    """PRBs of all slots of a horizon, decided now; units as in `allocate_horizon`.

    With one member and every channel known it plans a whole sequence in hindsight. `quick` leaves out
    exchanges and ends earlier. Raises `PlanError`: fewer PRBs than cells, as any may have backlog later.
    """
    check_slot(backlog, arriving, bits_per_prb, prbs)
    if prbs < len(backlog):
        raise PlanError(
            f"{prbs} PRBs for {len(backlog)} cells: a horizon needs one for each, as any may have backlog later; "
            "raise the PRBs, serve fewer cells, or allocate with method 'slot'"
        )
    horizon = Horizon(backlog, arriving, bits_per_prb, prbs, parameters)
    best = _sweep(horizon, np.zeros(bits_per_prb.shape, np.int64), ahead=False)
    if len(best) == 1:
        return best
    smallest_gain = SMALLEST_GAIN_QUICK if quick else SMALLEST_GAIN
    best, cost = _settle(horizon, best, quick)
    for _ in range(LARGEST_PROGRAMMES_QUICK if quick else LARGEST_PROGRAMMES):
        if not cost > 0:
            break
        real = best_shares(horizon, best) * prbs
        whole = np.floor(real + 1e-6).astype(np.int64)
        for slot, given in enumerate(whole):
            given += in_proportion(np.maximum(real[slot] - given, 0.0), max(prbs - int(given.sum()), 0))
        found, found_cost = _settle(horizon, _sweep(horizon, whole), quick)
        gained = cost - found_cost
        if gained > 0:
            best, cost = found, found_cost
        if gained <= smallest_gain * cost:
            break
    return best


def expected_cost(horizon: Horizon, given: Int[np.ndarray, "*plan slot cell"]) -> Float[np.ndarray, "*plan cell"]:
    """The objective (18) of plans, cell by cell, in the mean of the members; infinite where backlog meets no PRB."""
    parameters = horizon.parameters
    rates = (given * horizon.bits_per_prb)[..., None, :]
    waiting, cost = horizon.backlog, np.zeros(())
    for slot in range(horizon.arriving.shape[1]):
        rate = rates[..., slot, :, :]
        late = delay(waiting, rate)
        waiting = next_backlog(waiting, horizon.arriving[:, slot], rate)
        cost = cost + parameters.delay_weight * late + waiting / parameters.backlog_unit_bits
    return cost.mean(-2)


def _settle(horizon: Horizon, given: np.ndarray, quick: bool) -> tuple[Int[np.ndarray, "slot cell"], float]:
    """Sweeps and exchanges in turn until neither gains; the plan and its cost."""
    cost = float(expected_cost(horizon, given).sum())
    for _ in range(LARGEST_ROUNDS):
        before = cost
        for better in (_sweep,) if quick else (_sweep, _exchange):
            found = better(horizon, given)
            found_cost = float(expected_cost(horizon, found).sum())
            if found_cost < cost:
                given, cost = found, found_cost
        if not before - cost > (SMALLEST_GAIN_QUICK if quick else SMALLEST_GAIN) * cost:
            break
    return given, cost


def _sweep(horizon: Horizon, given: Int[np.ndarray, "slot cell"], ahead: bool = True) -> Int[np.ndarray, "slot cell"]:
    """Every slot in turn solved exactly with the others held; `ahead=False`: for its own cost alone."""
    given, arriving = given.copy(), horizon.arriving
    waiting = np.broadcast_to(horizon.backlog, arriving[:, 0].shape)
    for slot, bits in enumerate(horizon.bits_per_prb):
        last = len(given) if ahead else slot + 1
        gain = partial(_gain, horizon=horizon, held=given.copy(), waiting=waiting, slot=slot, last=last)
        given[slot] = marginal_allocation(gain, np.any(waiting > 0, axis=0).astype(np.int64), horizon.prbs)
        given[slot] += in_proportion(arriving[:, slot].mean(0) / bits, horizon.prbs - int(given[slot].sum()))
        waiting = next_backlog(waiting, arriving[:, slot], given[slot] * bits)
    return given


def _gain(
    blocks: Int[np.ndarray, " cell"],
    horizon: Horizon,
    held: Int[np.ndarray, "slot cell"],
    waiting: Float[np.ndarray, "sample cell"],
    slot: int,
    last: int,
) -> Float[np.ndarray, " cell"]:
    """Expected cost that one block more in a slot saves in each cell up to slot `last`, later blocks as they are."""
    weight, unit = horizon.parameters.delay_weight, horizon.parameters.backlog_unit_bits
    bits = horizon.bits_per_prb[slot]
    sent = waiting + horizon.arriving[:, slot] - blocks * bits
    left = np.maximum(np.stack([sent, sent - bits]), 0.0)
    saved = (left[0] - left[1]) / unit
    for step in range(slot + 1, last):
        channel = horizon.bits_per_prb[step]
        saved += (left[0] - left[1]) * (weight / (np.maximum(held[step], NEARLY_NONE) * channel))
        left = next_backlog(left, horizon.arriving[:, step], held[step] * channel)
        saved += (left[0] - left[1]) / unit
    return saved.mean(0) + delay_gain(waiting.mean(0), bits, blocks, weight)


def _exchange(horizon: Horizon, given: Int[np.ndarray, "slot cell"]) -> Int[np.ndarray, "slot cell"]:
    """Repeats the best exchange of two cells in two slots while it gains; numbers of blocks are powers of two."""
    slots, cells = given.shape
    if cells < 2:
        return given
    sizes = 2 ** np.arange(int(given.max()).bit_length())
    one, other = np.nonzero(~np.eye(slots, dtype=bool))
    pair, taken, lost = (part.ravel() for part in np.meshgrid(np.arange(len(one)), sizes, sizes, indexing="ij"))
    change = np.zeros((len(pair), slots, 1), np.int64)  # taken in slot `one`, lost in slot `other`
    change[np.arange(len(pair)), one[pair]], change[np.arange(len(pair)), other[pair]] = taken[:, None], -lost[:, None]
    number = {key: at for at, key in enumerate(zip(one[pair], other[pair], taken, lost, strict=True))}
    reverse = np.array([number[key] for key in zip(other[pair], one[pair], lost, taken, strict=True)])
    for _ in range(LARGEST_ROUNDS):
        now = expected_cost(horizon, given)
        tried = given + change
        gained = now - expected_cost(horizon, np.maximum(tried, 0))
        gained[(tried < 0).any(1)] = -np.inf
        best, second = _two_best(gained), _two_best(gained[reverse])
        same = best[0] == second[0]
        first_with_next, next_with_first = best[1] + second[3], best[3] + second[1]
        total = np.where(same, np.maximum(first_with_next, next_with_first), best[1] + second[1])
        at = int(total.argmax())
        if not total[at] > SMALLEST_GAIN * now.sum():
            break
        takes, gives = int(best[0][at]), int(second[0][at])
        if same[at] and first_with_next[at] >= next_with_first[at]:
            gives = int(second[2][at])
        elif same[at]:
            takes = int(best[2][at])
        given = given.copy()
        given[:, takes] += change[at, :, 0]
        given[:, gives] -= change[at, :, 0]
    return given


def _two_best(gained: Float[np.ndarray, "trial cell"]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cell and gain of the best and of the second best of every trial."""
    order = np.argpartition(gained, -2, axis=1)[:, -2:]
    values = np.take_along_axis(gained, order, 1)
    swap = values.argmax(1)
    rows = np.arange(len(gained))
    return order[rows, swap], values[rows, swap], order[rows, 1 - swap], values[rows, 1 - swap]


__all__ = ["Horizon", "allocate_horizon", "expected_cost", "lower_bound", "plan_horizon"]
