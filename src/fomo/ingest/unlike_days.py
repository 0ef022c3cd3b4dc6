"""Days that carry far less or more than those before them, or no traffic: files in another unit say so nowhere else."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from fomo.ingest.cube import State
from fomo.ingest.store import CityStore

#: A day is compared with so many before it at most, and with so many at least: a first week has nothing beside it.
MOST, LEAST = 14, 7
#: Beyond this factor, up or down, a day is named: weekends and holidays of a whole city stay within.
FACTOR = 5.0
#: A day with fewer of its values recorded says too little.
RECORDED = 0.1
#: So many days are named, of more the number.
NAMED = 3


def unlike_days(store: CityStore, days: Collection[np.datetime64]) -> dict[str, float]:
    """Which of some days carry so much less or more than those before them, and how many times as much.

    What a cell carries in the mean is compared, over the periods of the day that both days have, so that half a day is
    measured by halves.
    """
    profiles = dict[int, np.ndarray | None]()
    found = dict[str, float]()
    for date in sorted(days):
        index = store.index_of(date)
        if not LEAST <= index < store.visible_days:
            continue
        for other in range(max(0, index - MOST), index + 1):
            if other not in profiles:
                profiles[other] = _profile(store, other)
        day = profiles[index]
        before = [profiles[other] for other in range(max(0, index - MOST), index)]
        ratios = [] if day is None else [_times(day, other) for other in before if other is not None]
        ratios = [ratio for ratio in ratios if np.isfinite(ratio)]
        ratio = float(np.median(ratios)) if len(ratios) >= LEAST else 1.0
        if not 1 / FACTOR <= ratio <= FACTOR:
            found[str(date)] = ratio
    return found


def unlike_remark(found: dict[str, float]) -> str:
    """What to say of them; '' of none."""
    if not found:
        return ""
    some = [f"{date} carries {_amount(ratio)}" for date, ratio in list(found.items())[:NAMED]]
    more = f" (and {len(found) - NAMED} more such days)" if len(found) > NAMED else ""
    return f"{', '.join(some)} what days before it do{more}: another unit, or files that lack cells?"


def remark_on_users_alone(store: CityStore, days: Collection[np.datetime64]) -> str:
    """That users were counted on some of these days, and no traffic: what an upgrade does that renames one counter."""
    if not store.has_users:
        return ""
    of = {date: store.index_of(date) for date in sorted(days)}
    alone = [
        str(date) for date, at in of.items() if store.holds("cells/users", at) and not store.holds("cells/traffic", at)
    ]
    if not alone:
        return ""
    more = f" (and {len(alone) - NAMED} more days)" if len(alone) > NAMED else ""
    return (
        f"no traffic is recorded on {', '.join(alone[:NAMED])}{more}, only users: if its counter has another name now, "
        "say so with 'fomo city append --mapping', and give the files again"
    )


def _profile(store: CityStore, index: int) -> np.ndarray | None:
    """What a cell carries in the mean in each period of a day, NaN where nothing is recorded; None of next to nothing.

    Values that are not trusted are none, as on the grid.
    """
    values = store.visible("cells/traffic", index).astype(np.float64)
    if not store.report.get("trust_suspect"):
        values[store.visible("cells/state", index) == State.SUSPECT] = np.nan
    known = np.isfinite(values)
    if known.mean() < RECORDED:
        return None
    count = known.sum(1)
    return np.where(count > 0, np.where(known, values, 0.0).sum(1) / np.maximum(count, 1), np.nan)


def _times(day: np.ndarray, other: np.ndarray) -> float:
    """How many times as much a day carries as another; NaN where that has nothing beside it."""
    both = np.isfinite(day) & np.isfinite(other)
    whole = float(other[both].sum())
    return float(day[both].sum()) / whole if whole > 0 else np.nan


def _amount(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio > 1 else f"{ratio:.2g} of"


__all__ = ["remark_on_users_alone", "unlike_days", "unlike_remark"]
