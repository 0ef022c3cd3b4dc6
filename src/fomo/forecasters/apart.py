"""A forecast whose districts were drawn apart, put together piece by piece and never held whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fomo.forecast import Forecast, Region
from fomo.forecasters.tiles import Tiling


@dataclass(frozen=True)
class Apart:
    """What is known of such a forecast without its members."""

    shell: Forecast  # without a member
    samples: int
    districts: Tiling
    reference: float
    observed: Float[np.ndarray, "time y x"]  # what members repeat where nothing is asked
    #: What a district adds to some of the members, on its own cells: shares times its weights, (sample, time, y, x).
    draw: Callable[[int, range], np.ndarray]

    def put_together(
        self, region: Region, read: Callable[[int, Region], Float[np.ndarray, "sample time y x"]]
    ) -> Float[np.ndarray, "sample time y x"]:
        """Some values of the forecast; `read(district, region of its own cells)` gives what that district adds.

        Districts are added up in their order, as in one process, so that sums round alike.
        """
        sample, time, rows, columns = region
        total = np.zeros([each.stop - each.start for each in region], np.float32)
        for index, corner in enumerate(self.districts.corners):
            shared = [_shared(*axis) for axis in zip((rows, columns), corner, self.districts.tile, strict=True)]
            if any(part is None for part in shared):
                continue
            (here_y, there_y), (here_x, there_x) = (part for part in shared if part is not None)
            total[:, :, here_y, here_x] += read(index, (sample, time, there_y, there_x))
        np.multiply(total, self.reference, out=total)
        cells = time, rows, columns
        np.copyto(total, self.observed[cells], where=~self.shell.asked.values[cells])
        return total


def _shared(wanted: slice, start: int, edge: int) -> tuple[slice, slice] | None:
    """Cells that a region and a district have in common along one axis, counted from the region and the district."""
    low, high = max(wanted.start, start), min(wanted.stop, start + edge)
    if low >= high:
        return None
    return slice(low - wanted.start, high - wanted.start), slice(low - start, high - start)


__all__ = ["Apart"]
