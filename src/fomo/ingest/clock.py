"""Days on which clocks change: hours that the wall shows twice, and hours that it never shows."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from jaxtyping import Bool

MINUTES_PER_DAY = 24 * 60


@lru_cache(maxsize=4096)
def clock_changes(
    day: np.datetime64, zone: str, minutes: int
) -> tuple[Bool[np.ndarray, " period"], Bool[np.ndarray, " period"]]:
    """Periods of a local day that come twice, and periods that do not come at all; none of either without a zone.

    A period counts by its beginning. PEP 495: of a repeated time the two folds differ in their offset, and of a skipped
    one, too, the other way round.
    """
    periods = MINUTES_PER_DAY // minutes
    twice, never = np.zeros(periods, bool), np.zeros(periods, bool)
    if not zone:
        return twice, never
    info = ZoneInfo(zone)
    first: datetime = day.astype("datetime64[us]").astype(datetime)
    for period in range(periods):
        begin = first + timedelta(minutes=period * minutes)
        early, late = (begin.replace(tzinfo=info, fold=fold).utcoffset() for fold in (0, 1))
        assert early is not None and late is not None
        twice[period], never[period] = early > late, early < late
    return twice, never


__all__ = ["clock_changes"]
