"""A city saved by `fomo.save_city` as a folder `*.zarr`."""

from __future__ import annotations

from pathlib import Path

from fomo.city import City, CityError, open_city
from fomo.sources.archive import ZARR
from fomo.sources.source import Source


def read(path: Path, layer: str = "") -> list[City]:
    """The saved city as it is, under the name it was saved with. Raises `CityError`."""
    try:
        return [open_city(path)]
    except CityError:
        raise
    except Exception as error:  # zarr and its codecs raise errors of many kinds for a damaged store
        raise CityError(f"{path} is a damaged city ({type(error).__name__}: {error}): save it again") from error


SOURCE = Source(
    "saved city",
    "folder *.zarr with traffic and covered, written by fomo.save_city",
    lambda names: ZARR in names,
    read,
)
