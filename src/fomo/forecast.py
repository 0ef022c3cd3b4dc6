"""The noun that every forecaster answers with: samples of traffic with their provenance.

A `Forecast` wraps an `xarray.Dataset`:

    traffic (sample, time, y, x)  float32  ensemble members in the city's unit; NaN = not forecast (never covered)
    asked   (time, y, x)          bool     True where the value was asked; elsewhere members repeat what was observed

Tables, figures and plans read this and never the model behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from fomo.files import whole_folder
from fomo.seeds import plain_seed

#: Which quantiles draws are, see `quantiles_of`.
METHOD: Literal["weibull"] = "weibull"
CONTEXT_MODES = ("none", "past", "full")
#: Slices over (sample, time, y, x), with beginnings and ends.
Region = tuple[slice, slice, slice, slice]


class ForecastError(ValueError):
    """A dataset is not a forecast; the message says what is wrong and what to do."""


def quantiles_of(
    members: Float[np.ndarray, "sample *axes"], q: float | Sequence[float]
) -> Float[np.ndarray, "*quantile_and_axes"]:
    """Quantiles of what may come, of which members (sample, ...) are draws: below `q` of them lies a further one.

    The k-th of n draws is at k / (n + 1) (Weibull 1939; type 6 of Hyndman and Fan 1996), as any of n + 1 draws is as
    likely as the others to be the smallest. Interpolated between draws counted from 0 to 1, what is called 5 to 95 %
    of 20 would hold 82 % of what comes. NaN where a member is; beyond the outermost draws there is nothing.
    """
    return np.asarray(np.quantile(members, q, axis=0, method=METHOD))


@dataclass(frozen=True, eq=False)
class Forecast:
    """Ensemble members over (sample, time, y, x), in the city's unit, with what produced them."""

    dataset: xr.Dataset

    def __post_init__(self) -> None:
        """Check the schema at birth. Raises `ForecastError`."""
        for name, dims in (("traffic", ("sample", "time", "y", "x")), ("asked", ("time", "y", "x"))):
            if name not in self.dataset or self.dataset[name].dims != dims:
                raise ForecastError(
                    f"this is no forecast, which has the variable {name!r} over {dims}: 'fomo forecast' and "
                    "make_forecast make one"
                )
        if self.dataset.attrs.get("context") not in CONTEXT_MODES:
            raise ForecastError(f"a forecast names its context mode, one of {CONTEXT_MODES}")

    @property
    def samples(self) -> xr.DataArray:
        """All ensemble members, (sample, time, y, x)."""
        return self.dataset["traffic"]

    @property
    def asked(self) -> xr.DataArray:
        """Which values were asked, (time, y, x)."""
        return self.dataset["asked"]

    @property
    def mean(self) -> xr.DataArray:
        """Mean of the members, (time, y, x): the point forecast that minimises squared error."""
        return self.samples.mean("sample", keep_attrs=True)

    @property
    def median(self) -> xr.DataArray:
        """Median of the members, (time, y, x)."""
        return self.quantile(0.5)

    def quantile(self, q: float | Sequence[float]) -> xr.DataArray:
        """Quantiles of what may come, see `quantiles_of`: (time, y, x) or (quantile, time, y, x)."""
        return self.samples.quantile(q, dim="sample", method=METHOD, skipna=False, keep_attrs=True)

    def elsewhere(self, city: xr.Dataset) -> list[str]:
        """The axes along which the centres of its cells are not those of a city with as many."""
        return [axis for axis in ("y", "x") if not np.allclose(self.dataset[axis], city[axis], atol=1e-6)]

    def __eq__(self, other: object) -> bool:
        """Whether members, what was asked and provenance are the same."""
        return isinstance(other, Forecast) and self.dataset.identical(other.dataset)

    @property
    def attrs(self) -> dict[str, Any]:
        """Provenance: city, unit, forecaster, weights' hash, seed, context mode."""
        return dict(self.dataset.attrs)

    def save(self, path: str | Path) -> Path:
        """Write as Zarr v3; a failed write leaves what was there. Returns the path.

        Raises `ForecastError` where the path holds something that is no forecast.
        """
        with _whole_forecast(Path(path)) as fresh:
            self.dataset.to_zarr(fresh, zarr_format=3, consolidated=False)
        return Path(path)

    def save_in_pieces(self, path: str | Path, samples: int, values: Callable[[Region], np.ndarray]) -> Path:
        """Write this forecast with `samples` other members, which are asked for chunk by chunk and never held whole.

        The very files that `save` writes of all of them. Its own members are left out; it may have none.
        """
        import zarr

        traffic = self.dataset["traffic"]
        nothing = np.broadcast_to(np.float32(np.nan), (samples, *traffic.shape[1:]))  # one number: no file of a chunk
        empty = self.dataset.assign(traffic=(traffic.dims, nothing, traffic.attrs))
        with _whole_forecast(Path(path)) as fresh:
            empty.to_zarr(fresh, zarr_format=3, consolidated=False)
            array = zarr.open_array(str(fresh / "traffic"), mode="r+")
            chunks = (range(0, size, edge) for size, edge in zip(array.shape, array.chunks, strict=True))
            for corner in product(*chunks):
                ends = zip(corner, array.chunks, array.shape, strict=True)
                sample, time, y, x = (slice(first, min(first + edge, size)) for first, edge, size in ends)
                array[sample, time, y, x] = values((sample, time, y, x))
        return Path(path)

    @classmethod
    def open(cls, path: str | Path, held: bool = True) -> Forecast:
        """Read a forecast written by `save`; where it is not to be held in memory, values are read as they are used."""
        if not (Path(path) / "zarr.json").exists():
            raise ForecastError(f"{path} is not a forecast on disk (no zarr.json)")
        if held:
            return cls(xr.open_zarr(path, chunks=None, consolidated=False).load())
        return cls(xr.open_dataset(path, engine="zarr", chunks=None, consolidated=False, cache=False))


@contextmanager
def _whole_forecast(path: Path) -> Iterator[Path]:
    """A fresh folder that takes the place of a forecast. Raises `ForecastError` where something else is there."""
    if path.exists() and not (path / "asked" / "zarr.json").exists():
        raise ForecastError(f"{path} exists and is no forecast: name another path or remove it")
    with whole_folder(path) as fresh:
        yield fresh


#: What a forecast keeps of its city, for maps and clocks.
PLACE_AND_TIME = (
    *("crs", "west_m", "south_m", "cell_m", "cell_km", "layout", "time_zone", "calendar", "licence", "source"),
)


def make_forecast(
    members: np.ndarray,
    asked: np.ndarray,
    window: xr.Dataset,
    *,
    forecaster: str,
    context: str = "none",
    seed: int | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Forecast:
    """A forecast from arrays: `members` (sample, time, y, x), `asked` (time, y, x), on the axes of `window`.

    `window` is a city (or part of one) whose time, y, x are those of the members. Raises `ForecastError`.
    """
    expected = tuple(window.sizes[axis] for axis in ("time", "y", "x"))
    if members.shape[1:] != expected or asked.shape != expected:
        raise ForecastError(f"members {members.shape} and asked {asked.shape} do not lie on the window {expected}")
    keep = {name: window.coords[name] for name in ("time", "y", "x", "lon", "lat") if name in window.coords}
    dataset = xr.Dataset(
        {
            "traffic": (
                ("sample", "time", "y", "x"),
                members.astype(np.float32, copy=False),
                {"units": window.attrs.get("unit", "")},
            ),
            "asked": (("time", "y", "x"), asked.astype(bool, copy=False)),
        },
        keep,
        {
            "city": window.attrs.get("name", ""),
            "unit": window.attrs.get("unit", ""),
            "step_minutes": int(window.attrs["step_minutes"]),
            **{name: window.attrs[name] for name in PLACE_AND_TIME if name in window.attrs},
            "forecaster": forecaster,
            "context": context,
            "seed": -1 if seed is None else plain_seed(seed),
            **(provenance or {}),
        },
    )
    return Forecast(dataset)


def mock_forecast(city: xr.Dataset, horizon: int = 8, samples: int = 10, seed: int = 0) -> Forecast:
    """A random forecast of the last `horizon` steps of a city; for tests."""
    window = city.isel(time=slice(-horizon, None))
    truth = window["traffic"].values
    members = truth * np.random.default_rng(seed).lognormal(0, 0.2, (samples, *truth.shape))
    return make_forecast(members, np.ones(truth.shape, bool), window, forecaster="mock", seed=seed)
