"""Whether members look like traffic: busy hours, how cells go together, how a cell's time hangs together.

All are distances, 0 for a forecast that equals the truth, and the lower the better. They are taken per window over the
scored values; how cells go together and how time hangs together only over cells that are scored at every asked step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

#: Fewer asked steps than this say nothing of how a cell's time hangs together.
FEWEST_STEPS = 16


@dataclass(frozen=True)
class Structure:
    """Sums over cells, or pairs of cells, and how many these are; several windows add up."""

    busy: float = 0.0
    busy_cells: int = 0
    spatial: float = 0.0
    pairs: int = 0
    autocorrelation: float = 0.0
    spectrum: float = 0.0
    whole_cells: int = 0


def structure(
    members: Float[np.ndarray, "sample time y x"],
    truth: Float[np.ndarray, "time y x"],
    scored: Bool[np.ndarray, "time y x"],
    reference: float,
) -> Structure:
    """The structure of one window; finite where `scored`, traffic over `reference` is 1.

    - `busy`: absolute error of the members' mean at the step where the cell's truth is largest, clipped as MAE is.
    - `spatial`: |difference of correlations| over pairs of cells, mean of the members.
    - `autocorrelation`: |difference| of the autocorrelations, mean over lags up to half the steps, mean of the members.
    - `spectrum`: total variation distance, in [0, 1], of the shares of a cell's variance at each frequency.

    A cell whose truth does not vary is left out of the last three; a member that does not vary has correlations 0 with
    everything and distance 1 in the spectrum.
    """
    cells = scored.any(0)
    times = scored.any((1, 2))
    target = np.where(scored, truth / reference, -np.inf)
    peak = np.expand_dims(target.argmax(0), 0)
    point = members.astype(np.float64).mean(0) / reference
    at_peak = [np.clip(np.take_along_axis(each, peak, 0)[0][cells], 0.0, 1.0) for each in (point, target)]
    busy, busy_cells = float(np.abs(at_peak[0] - at_peak[1]).sum()), int(cells.sum())
    whole = scored[times].all(0)
    if times.sum() < FEWEST_STEPS or not whole.any():
        return Structure(busy, busy_cells)
    series = truth[times][:, whole].T.astype(np.float64)
    varies = np.ptp(series, axis=1) > 0
    drawn = np.moveaxis(members[:, times][:, :, whole], 1, 2)[:, varies].astype(np.float64)
    series = series[varies]
    count = len(series)
    if count == 0:
        return Structure(busy, busy_cells)
    far = np.abs(correlations(series) - correlations(drawn)).mean(0)
    lags = series.shape[1] // 2
    acf = np.abs(autocorrelations(series, lags) - autocorrelations(drawn, lags)).mean((0, 2))
    return Structure(
        busy,
        busy_cells,
        spatial=float(far[np.triu_indices(count, 1)].sum()),
        pairs=count * (count - 1) // 2,
        autocorrelation=float(acf.sum()),
        spectrum=float(spectral_distance(series, drawn).mean(0).sum()),
        whole_cells=count,
    )


def correlations(series: Float[np.ndarray, "*some cell time"]) -> Float[np.ndarray, "*some cell cell"]:
    """Pearson's correlation of every pair of cells; 0 with a cell that does not vary."""
    unit = _standardised(series)
    return np.asarray(unit @ np.swapaxes(unit, -1, -2))


def autocorrelations(series: Float[np.ndarray, "*some cell time"], lags: int) -> Float[np.ndarray, "*some cell lag"]:
    """r_k = sum_t x_t x_{t+k} / sum_t x_t^2 of the centred series for k = 1 .. lags (the biased estimate)."""
    steps = series.shape[-1]
    power = np.abs(np.fft.rfft(_standardised(series), 2 * steps)) ** 2
    return np.asarray(np.fft.irfft(power)[..., 1 : lags + 1])


def spectral_distance(
    truth: Float[np.ndarray, "cell time"], drawn: Float[np.ndarray, "*some cell time"]
) -> Float[np.ndarray, "*some cell"]:
    """Half the sum of |differences| of the shares of variance at each frequency."""
    shares = [_variance_shares(each) for each in (truth, drawn)]
    distance = np.abs(shares[0] - shares[1]).sum(-1) / 2
    return np.where(shares[1].sum(-1) > 0, distance, 1.0)


def _variance_shares(series: Float[np.ndarray, "*some time"]) -> Float[np.ndarray, "*some frequency"]:
    power = np.abs(np.fft.rfft(_standardised(series))) ** 2
    power[..., 1:] *= 2  # each but the middle one stands for two
    if series.shape[-1] % 2 == 0:
        power[..., -1] /= 2
    return np.asarray(power / series.shape[-1])


def _standardised(series: Float[np.ndarray, "*some time"]) -> Float[np.ndarray, "*some time"]:
    """Centred, with a sum of squares of 1; 0 where the series does not vary."""
    centred = series - series.mean(-1, keepdims=True)
    size = np.sqrt((centred**2).sum(-1, keepdims=True))
    varies = np.ptp(series, axis=-1, keepdims=True) > 0
    return np.asarray(np.divide(centred, size, out=np.zeros_like(centred), where=varies))


__all__ = ["Structure", "autocorrelations", "correlations", "spectral_distance", "structure"]
