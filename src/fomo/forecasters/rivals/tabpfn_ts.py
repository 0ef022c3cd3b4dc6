"""TabPFN-TS: Hoo et al., "From tables to time: how TabPFN-v2 outperforms specialized time series forecasting models",
2025.

A series is a table: a row for each recorded step with features of its time and, where they are known for the asked
steps (context `full`), the users. TabPFN v2 (Hollmann et al., "Accurate predictions on small data with a tabular
foundation model", Nature 2025), trained on made-up tables alone, reads the table as an example and predicts quantiles
for the asked rows. Nothing is trained. A week before the window is read where the task tells it.

Of the paper's features the running index and the calendar are kept, each as soon as the past is long enough to tell it
from the others: with a day of history an index is taken for the rhythm, and errors double (folds 1-4 of the UoMo
regions). No window knows months or years; the periods that the paper finds in the spectrum are those of the calendar.

Every series takes about a second of one core, three and more with the week before: ask about a sample, by leaving other
cells out of `Task.asked`. The series of one task share the weights, which are read once. It knows nothing of other
cells: no generation.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fomo.forecasters.rivals.series import QuantileForecaster, Series, library, weights

CHECKPOINT = "tabpfn-v2-regressor-2noar4o2.ckpt"
SOURCE = "the source archive of tabpfn-time-series 0.1.3 on PyPI"
#: Hours of the past from which on the running index, and sine and cosine of the week, are features.
HOURS_FOR_INDEX, HOURS_FOR_WEEK = 48.0, 168.0


class TabPFNTS(QuantileForecaster):
    """A table of time features for each cell, read by TabPFN v2."""

    name = "TabPFN-TS"
    levels = tuple((i + 0.5) / 20 for i in range(20))

    def __init__(
        self, weights_at: str | Path | None = None, days: float = 7.0, estimators: int = 8, device: str = "cpu"
    ) -> None:
        """`weights_at`: the checkpoint or its folder, else FOMO_TABPFN.

        `estimators`: how many forms of the table are averaged.

        Raises `RivalUnavailable` without tabpfn or the checkpoint.
        """
        self.days, self.estimators, self.device = days, estimators, device
        # Its telemetry asks a server at every call; this is read at that time.
        os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")
        path = weights(weights_at, "FOMO_TABPFN", CHECKPOINT, self.name, SOURCE)
        base = library("tabpfn.base", self.name)
        network, config, bars = base.initialize_tabpfn_model(path, "regressor", "fit_preprocessors")
        self._model = base.RegressorModelSpecs(model=network, config=config, norm_criterion=bars)
        self._regressor = library("tabpfn", self.name).TabPFNRegressor

    def quantiles(self, series: Series) -> Float[np.ndarray, "series horizon level"]:
        """The quantiles of several series of one task, in the city's unit."""
        shared = time_features(series.time, series.past.shape[1] * series.step_minutes / 60)
        answers = []
        for past, users, known in zip(series.past, series.users, series.users_ahead, strict=True):
            table = np.concatenate([shared, users[:, None]], 1) if known else shared
            answers.append(self._one(past, table, series.horizon))
        return np.stack(answers)

    def _one(
        self, past: Float[np.ndarray, " past"], table: Float[np.ndarray, "step feature"], horizon: int
    ) -> Float[np.ndarray, "horizon level"]:
        recorded = np.isfinite(past)
        regressor = self._regressor(
            n_estimators=self.estimators,
            model_path=self._model,
            device=self.device,
            ignore_pretraining_limits=True,  # a week of quarter hours is more rows than it likes without a GPU
            memory_saving_mode=False,
            n_jobs=1,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of constant features, and of old interfaces inside the library
            regressor.fit(table[: len(past)][recorded], past[recorded])
            found = regressor.predict(table[-horizon:], output_type="quantiles", quantiles=list(self.levels))
        return np.stack([np.asarray(level, np.float64) for level in found], -1)


def time_features(time: np.ndarray, hours_of_past: float) -> Float[np.ndarray, "step feature"]:
    """The hour, sine and cosine of the day, of the week, and the running index, as far as the past bears them."""
    hours = (time - np.datetime64("2024-01-01T00", "h")) / np.timedelta64(1, "h")  # since a Monday
    periods = (24.0, 168.0) if hours_of_past >= HOURS_FOR_WEEK else (24.0,)
    columns = [hours % 24]
    columns += [wave(2 * np.pi * hours / period) for period in periods for wave in (np.sin, np.cos)]
    if hours_of_past >= HOURS_FOR_INDEX:
        columns.append(np.arange(len(time), dtype=np.float64))
    return np.stack(columns, 1)


__all__ = ["TabPFNTS", "time_features"]
