"""How large the radio units of cells are: so that all of them together carry the busy hour with something to spare."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fomo.planning.load import Load, PlanError


def dimension(history: Load, rrus: int = 8, busy: float = 0.999, headroom: float = 0.1) -> Float[np.ndarray, " cell"]:
    """The load that one radio unit of each cell serves per period, c0 of §5.1, in the history's unit.

    c0 = (1 + headroom) busy-hour load / rrus: the paper leaves c0 open, and no release says what its cells can carry.

    history: what was measured before the plan starts (never the periods of the plan); members are taken together.
    rrus: radio units of every cell. busy: share of the history's periods whose load is not above the busy hour's
    (linear interpolation); 0.999 is the highest hour of a week but for one outlier in several weeks. headroom: share
    of the busy hour that is added.

    A cell whose busy hour is without load still has its radio units: it gets the smallest capacity of the others, as
    one without any could not be planned. Raises `PlanError`: no cell has load, parameters out of range.
    """
    samples, steps, cells = history.members.shape
    return dimension_recorded(history.members.reshape(samples * steps, cells), rrus, busy, headroom)


def dimension_recorded(
    record: Float[np.ndarray, "period cell"], rrus: int = 8, busy: float = 0.999, headroom: float = 0.1
) -> Float[np.ndarray, " cell"]:
    """`dimension` by a record with gaps: NaN was not recorded, and each cell's busy hour is that of what was.

    Cells need not be recorded in the same periods. Raises `PlanError`, also where a cell was never recorded.
    """
    if rrus < 1:
        raise PlanError(f"{rrus} radio units a cell: it takes 1 or more")
    if not 0 < busy <= 1:
        raise PlanError(f"busy is {busy:g}: it is a share of the periods, above 0 and up to 1 (the highest)")
    if not 0 <= headroom < np.inf:
        raise PlanError(f"headroom is {headroom:g}: it is a share of the busy hour, 0 or more")
    seen = np.isfinite(record)
    steps, cells = record.shape
    never = ~seen.any(0)
    if never.any():
        raise PlanError(
            f"{int(never.sum()):,} of {cells:,} cells were never recorded, the first is cell {int(never.argmax())}: "
            "leave out cells without a history"
        )
    peak = np.quantile(record, busy, axis=0)
    for cell in np.flatnonzero(~seen.all(0)):  # one by one: each has other gaps
        peak[cell] = np.quantile(record[seen[:, cell], cell], busy)
    loaded = peak > 0
    if not loaded.any():
        raise PlanError(
            f"none of the {cells:,} cells has a busy hour with load in {steps} periods of history: "
            "give a history with traffic"
        )
    return np.where(loaded, peak, peak[loaded].min()) * (1 + headroom) / rrus


__all__ = ["dimension", "dimension_recorded"]
