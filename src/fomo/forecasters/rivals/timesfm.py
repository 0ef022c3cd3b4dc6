"""TimesFM 2.5: Das et al., "A decoder-only foundation model for time-series forecasting", ICML 2024, in the form that
its authors published in 2025 with their library.

A decoder with patches of 32 steps, trained on other people's series, reads a past and gives nine quantiles: nothing is
trained here. Every cell is a series of its own; what was recorded in the two weeks before the window is read where the
task tells it. The library bridges gaps of the past with straight lines. It knows no users and no calendar (its
regression on covariates, a linear fit beside the network, is not used). No generation: it needs a past.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from fomo.forecasters.rivals.series import QuantileForecaster, Series, library, weights

SOURCE = "google/timesfm-2.5-200m-pytorch"


class TimesFM(QuantileForecaster):
    """Quantiles of each cell, zero-shot."""

    name = "TimesFM"

    def __init__(self, weights_at: str | Path | None = None, days: float = 14.0, batch: int = 64) -> None:
        """`weights_at`: the file of the weights or its folder, else FOMO_TIMESFM; `batch`: series at once.

        Raises `RivalUnavailable` without timesfm or the weights.
        """
        self.days, self.batch = days, batch
        path = weights(weights_at, "FOMO_TIMESFM", "model.safetensors", self.name, SOURCE)
        self._library = library("timesfm", self.name)
        self._forecaster = self._library.TimesFM_2p5_200M_torch(torch_compile=False)
        self._forecaster.load_checkpoint(str(path))
        self.levels = tuple(self._forecaster.model.config.quantiles)

    def quantiles(self, series: Series) -> Float[np.ndarray, "series horizon level"]:
        """The quantiles of several series of one task, in the city's unit."""
        # The settings that its authors recommend. The context is as long as the past, in whole patches: a longer one
        # costs as much as if it were full.
        self._forecaster.compile(
            self._library.ForecastConfig(
                max_context=series.past.shape[1],
                max_horizon=series.horizon,
                normalize_inputs=True,
                per_core_batch_size=min(self.batch, len(series.cell)),
                use_continuous_quantile_head=True,
                force_flip_invariance=True,
                infer_is_positive=True,
                fix_quantile_crossing=True,
            )
        )
        _, found = self._forecaster.forecast(horizon=series.horizon, inputs=list(series.past))
        return np.asarray(found[..., 1:], np.float64)  # the first is the mean


__all__ = ["TimesFM"]
