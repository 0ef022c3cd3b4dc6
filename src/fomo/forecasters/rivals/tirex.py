"""TiRex: Auer et al., "TiRex: zero-shot forecasting across long and short horizons with enhanced in-context learning",
NeurIPS 2025; the library of its authors (tirex-ts; its licence, NXAI Community, has terms for commercial use by large
companies).

A recurrent network (sLSTM) with patches of 32 steps, trained on other people's series, reads a past and gives nine
quantiles: nothing is trained here. Every cell is a series of its own; what was recorded in the two weeks before the
window is read where the task tells it. It knows no users and no calendar. No generation: it needs a past.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fomo.forecasters.rivals.series import QuantileForecaster, Series, library, weights

SOURCE = "NX-AI/TiRex"


class TiRex(QuantileForecaster):
    """Quantiles of each cell, zero-shot."""

    name = "TiRex"

    def __init__(
        self, weights_at: str | Path | None = None, days: float = 14.0, batch: int = 256, device: str = "cpu"
    ) -> None:
        """`weights_at`: the file of the weights or its folder, else FOMO_TIREX; `batch`: series at once.

        Raises `RivalUnavailable` without tirex-ts or the weights.
        """
        self.days, self.batch = days, batch
        path = weights(weights_at, "FOMO_TIREX", "model.ckpt", self.name, SOURCE)
        network = library("tirex", self.name).TiRexZero
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that it loads
            self._network = network.from_pretrained(str(path), backend="torch", device=device)
        self._network.eval()
        self.levels = tuple(self._network.config.quantiles)

    def quantiles(self, series: Series) -> Float[np.ndarray, "series horizon level"]:
        """The quantiles of several series of one task, in the city's unit."""
        found, _ = self._network.forecast(
            series.past.astype(np.float32),
            output_type="numpy",
            batch_size=self.batch,
            prediction_length=series.horizon,
        )
        return np.asarray(found, np.float64)


__all__ = ["TiRex"]
