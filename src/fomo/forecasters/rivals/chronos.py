"""Chronos-2: Ansari et al., "Chronos-2: from univariate to universal forecasting", 2025; the library of its authors.

A transformer with patches of 16 steps, trained on other people's series, reads a past and gives quantiles: nothing is
trained here. Every cell is a series of its own; what was recorded in the two weeks before the window is read where the
task tells it. Users go in as a covariate known ahead where they are known for the asked steps (context `full`), and as
one of the past where they are known there only (`past`). The library's sharing between cells is left out: it makes
answers depend on what is asked together. No generation: it needs a past.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from fomo.forecasters.rivals.series import QuantileForecaster, Series, library, weights

SOURCE = "amazon/chronos-2 (with its config.json)"


class Chronos2(QuantileForecaster):
    """Quantiles of each cell, zero-shot."""

    name = "Chronos-2"

    def __init__(
        self, weights_at: str | Path | None = None, days: float = 14.0, batch: int = 256, device: str = "cpu"
    ) -> None:
        """`weights_at`: the folder of the weights, else FOMO_CHRONOS; `batch`: series and covariates at once.

        Raises `RivalUnavailable` without chronos-forecasting or the weights.
        """
        self.days, self.batch = days, batch
        path = weights(weights_at, "FOMO_CHRONOS", "model.safetensors", self.name, SOURCE)
        pipeline = library("chronos", self.name).Chronos2Pipeline
        self._pipeline = pipeline.from_pretrained(path.parent, device_map=device, local_files_only=True)
        self.levels = tuple(self._pipeline.quantiles)

    def quantiles(self, series: Series) -> Float[np.ndarray, "series horizon level"]:
        """The quantiles of several series of one task, in the city's unit."""
        size = series.past.shape[1]
        ahead = series.users_ahead
        behind = np.isfinite(series.users[:, :size]).any(1) & ~ahead
        answer = np.zeros((len(series.cell), series.horizon, len(self.levels)))
        # The library takes series with the same covariates together.
        for some, kind in ((ahead, "ahead"), (behind, "behind"), (~(ahead | behind), "none")):
            if some.any():
                answer[some] = self._predict(series.rows(some), kind)
        return answer

    def _predict(self, series: Series, kind: str) -> Float[np.ndarray, "series horizon level"]:
        size = series.past.shape[1]
        inputs: list[dict[str, Any]] = []
        for past, users in zip(series.past, series.users, strict=True):
            one: dict[str, Any] = {"target": past}
            if kind != "none":
                one["past_covariates"] = {"users": users[:size]}
            if kind == "ahead":
                one["future_covariates"] = {"users": users[size:]}
            inputs.append(one)
        found = self._pipeline.predict(inputs, prediction_length=series.horizon, batch_size=self.batch)
        return np.stack([np.asarray(each[0], np.float64).T for each in found])


__all__ = ["Chronos2"]
