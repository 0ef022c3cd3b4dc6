"""A forecast whose districts were drawn apart, put together piece by piece and never held whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fomo.forecast import Forecast, Region
from fomo.forecasters.tiles import Tiling, in_common


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
            (here_y, there_y), (here_x, there_x) = (
                in_common(axis.start, axis.stop - axis.start, first, edge)
                for axis, first, edge in zip((rows, columns), corner, self.districts.tile, strict=True)
            )
            if here_y.start >= here_y.stop or here_x.start >= here_x.stop:
                continue
            total[:, :, here_y, here_x] += read(index, (sample, time, there_y, there_x))
        np.multiply(total, self.reference, out=total)
        cells = time, rows, columns
        np.copyto(total, self.observed[cells], where=~self.shell.asked.values[cells])
        return total


__all__ = ["Apart"]
