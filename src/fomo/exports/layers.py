"""From a `City` or a `Forecast` to layers on the ground: what rasters and vectors share.

A forecast keeps the projection and the time zone of its city, where that has them; exports of one that lacks them take
`city=` as well. Statistics of a forecast are taken of every member first and summed up over the members then: `high` of
the peak is the peak that 95 % of the members stay below, not the peak of an upper bound.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from fomo.city import City
from fomo.exports.files import MARK
from fomo.forecast import Forecast, quantiles_of
from fomo.ingest.ground import Ground
from fomo.ingest.ledger import IngestError

Exportable: TypeAlias = City | Forecast
Statistic: TypeAlias = Literal["mean", "busy_hour", "peak", "steps"]

#: Attributes that say where a city lies, as `Ground.attributes` writes them.
GROUND = ("crs", "west_m", "south_m", "cell_m")
#: Attributes that a forecast takes from its city where it lacks them.
OF_THE_CITY = (*GROUND, "cell_km", "layout", "time_zone", "calendar", "licence", "source", "synthetic")
#: What can be asked of a forecast besides 'mean' (or 'traffic'): quantiles of its members.
QUANTILES = {"low": 0.05, "high": 0.95}


def dataset_of(what: Exportable, city: City | None = None, times: slice | None = None) -> xr.Dataset:
    """The dataset (time, y, x) of a city, or (sample, time, y, x) of a forecast with what `city` says of the ground.

    `times` cuts it, e.g. `slice("2024-01-01", "2024-01-07")`. Raises `IngestError` where `city` is not the forecast's,
    or no period is left.
    """
    dataset = what.dataset if isinstance(what, Forecast) else what
    if isinstance(what, Forecast) and city is not None:
        if (told := dataset.attrs.get("city")) != city.attrs["name"]:
            raise IngestError(f"the forecast is of {told!r}, not of {city.attrs['name']!r}: pass the city it is of")
        carried = {name: city.attrs[name] for name in OF_THE_CITY if name in city.attrs}
        dataset = dataset.assign_attrs({**carried, **dataset.attrs})
    if times is None:
        return dataset
    cut = dataset.sel(time=times)
    if not cut.sizes["time"]:
        first, last = dataset["time"].values[[0, -1]].astype("datetime64[m]")
        asked = [f"from {times.start} on"] if times.start is not None else []
        asked += [f"up to {times.stop}"] if times.stop is not None else []
        raise IngestError(f"no period lies {' and '.join(asked)}: there are {first} to {last}")
    return cut


def ground_of(city: xr.Dataset) -> Ground:
    """Where the cells of a city lie, also of one cut along y or x.

    Raises `IngestError` where its attributes do not say so, or its cells are not every cell from south to north and
    from west to east.
    """
    missing = [name for name in GROUND if name not in city.attrs]
    name = city.attrs.get("name") or city.attrs.get("city", "")
    if missing:
        raise IngestError(
            f"{name!r} lacks the attributes {', '.join(missing)}, so its place in metres is unknown: only cities of "
            "'fomo city build' have them. With a forecast, pass its city (city=); a city that has lon and lat can be "
            "exported as GeoJSON or GPKG"
        )
    edge = float(city.attrs["cell_m"])
    row, column = (_first_index(city, axis, edge, name) for axis in ("y", "x"))
    return Ground(
        str(city.attrs["crs"]),
        float(city.attrs["west_m"]) + column * edge,
        float(city.attrs["south_m"]) + row * edge,
        edge,
        city.sizes["y"],
        city.sizes["x"],
    )


def _first_index(city: xr.Dataset, axis: str, edge: float, name: str) -> int:
    """Row or column of the first cell within the whole city: cut datasets keep the attributes of the whole."""
    index = city[axis].values * 1000 / edge - 0.5  # centres are in kilometres from the south-western corner
    first = round(float(index[0]))
    if np.abs(index - first - np.arange(index.size)).max() > 1e-3:
        raise IngestError(
            f"{axis} of {name!r} is not spaced by its cells of {edge:g} m from the {'south' if axis == 'y' else 'west'}"
            ": export the city itself or a rectangle of it, unsorted and not thinned out"
        )
    return first


def zone_of(dataset: xr.Dataset) -> tzinfo | None:
    """The time zone, None where it is unknown or dates are not real. Raises `IngestError` for an unknown name."""
    zone = str(dataset.attrs.get("time_zone", ""))
    if not zone or dataset.attrs.get("calendar", "date") != "date":
        return None
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise IngestError(f"time_zone {zone!r} is unknown: write one like Europe/Helsinki") from None


def time_texts(dataset: xr.Dataset) -> list[str]:
    """Beginnings of periods in ISO 8601, with their offset where the zone is known.

    An hour that the clock shows twice gets the offset of the first, one that it skips the offset from before.
    """
    zone = zone_of(dataset)
    moments = dataset["time"].values.astype("datetime64[us]").tolist()
    return [moment.replace(tzinfo=zone).isoformat(timespec="seconds") for moment in moments]


def offset_minutes(dataset: xr.Dataset) -> Int[np.ndarray, " time"] | None:
    """Minutes east of UTC of each period, None where the zone is unknown."""
    zone = zone_of(dataset)
    if zone is None:
        return None
    moments = dataset["time"].values.astype("datetime64[us]").tolist()
    return np.array([moment.replace(tzinfo=zone).utcoffset().total_seconds() // 60 for moment in moments], int)


def covered_of(dataset: xr.Dataset) -> Bool[np.ndarray, "y x"]:
    """Cells that have traffic at all: `covered` of a city, those with any member of a forecast."""
    if "covered" in dataset:
        return np.asarray(dataset["covered"].values, bool)
    return np.isfinite(dataset["traffic"].values).any((0, 1))


def unit_of(dataset: xr.Dataset, variable: str) -> str:
    """The unit of a variable; that of the traffic for what is made from a forecast's members."""
    found = dataset[variable].attrs.get("units") if variable in dataset else None
    return str(found or dataset.attrs.get("unit", ""))


def layer_values(dataset: xr.Dataset, variable: str, statistic: str) -> Float[np.ndarray, "layer y x"]:
    """A statistic of a variable, in its unit per period; one layer, or one per period for 'steps'.

    Row 0 is in the south; NaN where nothing is known, or the cell is not covered. Missing periods are left out of a
    mean. `variable` is one of a city's (time, y, x), or 'mean' ('traffic' is the same), 'low' or 'high' (5 % and 95 %)
    of a forecast. Raises `IngestError` where there is none, or `statistic` is unknown.

    'busy_hour' is the mean over days of the clock hour in which the mean over days is greatest, cell by cell: the time
    consistent busy hour of ITU-T E.600, on full clock hours. It stays in the unit per period.
    """
    if statistic not in get_args(Statistic):
        raise IngestError(f"statistic {statistic!r} is unknown: it is one of {', '.join(get_args(Statistic))}")
    of_members = "sample" in dataset["traffic"].dims
    known = (
        ["traffic", "mean", *QUANTILES]
        if of_members
        else [str(name) for name in dataset if dataset[name].dims == ("time", "y", "x") and name != "asked"]
    )
    if variable not in known:
        raise IngestError(f"there is no {variable!r} over time, y, x: it is one of {', '.join(known)}")
    values = dataset["traffic" if of_members else variable].values
    layers = _over_time(values, dataset["time"].values, statistic)
    if of_members:
        quantile = QUANTILES.get(variable)
        layers = layers.mean(0, dtype=float) if quantile is None else quantiles_of(layers, quantile)
    return np.where(covered_of(dataset), layers, np.nan)


def _over_time(
    values: Float[np.ndarray, "*sample time y x"], time: np.ndarray, statistic: str
) -> Float[np.ndarray, "*sample layer y x"]:
    if statistic == "steps":
        return values
    if statistic == "mean":
        return _mean(values)
    if statistic == "peak":
        return np.fmax.reduce(values, axis=-3, keepdims=True)
    hours = (time - time.astype("datetime64[D]")) // np.timedelta64(60, "m")
    profile = [_mean(values[..., hours == hour, :, :]) for hour in np.unique(hours)]
    return np.fmax.reduce(np.concatenate(profile, axis=-3), axis=-3, keepdims=True)


def _mean(values: Float[np.ndarray, "*sample time y x"]) -> Float[np.ndarray, "*sample 1 y x"]:
    """Mean of what is recorded; NaN, not 0, where nothing is."""
    recorded = np.isfinite(values).sum(-3, keepdims=True)
    total = np.nansum(values, axis=-3, keepdims=True, dtype=float)
    return np.divide(total, recorded, out=np.full(total.shape, np.nan), where=recorded > 0)


def description(dataset: xr.Dataset, variable: str, statistic: str) -> dict[str, str]:
    """What an exported file says of itself: what the numbers are, their unit and where they come from."""
    attrs = dataset.attrs
    texts = time_texts(dataset)
    told = {
        "NAME": attrs.get("name") or attrs.get("city", ""),
        "VARIABLE": variable,
        "STATISTIC": statistic,
        "UNITS": unit_of(dataset, variable),
        "FIRST_PERIOD": texts[0],
        "LAST_PERIOD": texts[-1],
        "STEP_MINUTES": attrs.get("step_minutes", ""),
        "TIME_ZONE": attrs.get("time_zone") or "unknown",
        "FORECASTER": attrs.get("forecaster", ""),
        "SOURCE": attrs.get("source", ""),
        "LICENCE": attrs.get("licence", ""),
        "SYNTHETIC": attrs.get("synthetic", ""),
        **MARK,
    }
    return {key: str(value) for key, value in told.items() if str(value)}


__all__ = [
    "GROUND",
    "QUANTILES",
    "Exportable",
    "Statistic",
    "covered_of",
    "dataset_of",
    "description",
    "ground_of",
    "layer_values",
    "offset_minutes",
    "time_texts",
    "unit_of",
    "zone_of",
]
