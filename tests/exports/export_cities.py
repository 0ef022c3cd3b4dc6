"""Small cities and forecasts that exports are tried with."""

from __future__ import annotations

import numpy as np

from fomo.city import City, make_city
from fomo.ingest.ground import Ground

GROUND = Ground("EPSG:32633", west=500_000.0, south=5_000_000.0, cell_m=250.0, height=3, width=4)
HOLE = (1, 2)  # y, x of a cell that is not covered
MISSING = (5, 0, 1)  # time, y, x of a value that is not recorded
ZERO = (5, 2, 3)  # time, y, x of a measured zero


def on_the_ground(steps: int = 48, step_minutes: int = 60, start: str = "2024-03-30T00:00", **extra) -> City:
    """A city of 3 x 4 cells on `GROUND`, with users, one cell not covered, one value missing and one zero."""
    random = np.random.default_rng(3)
    traffic = random.gamma(2.0, 3.0, (steps, GROUND.height, GROUND.width)).astype(np.float32)
    traffic[(slice(None), *HOLE)] = np.nan
    traffic[MISSING] = np.nan
    traffic[ZERO] = 0
    users = traffic * 2
    users[(slice(None), *HOLE)] = 7  # known where no traffic is: not exported all the same
    lon, lat = GROUND.lonlat()
    told = {"time_zone": "Europe/Rome", "unit": "GB per period", "licence": "CC-BY 4.0", "source": "made for a test"}
    return make_city(
        traffic,
        users=users,
        name="made/ground",
        start=start,
        step_minutes=step_minutes,
        cell_km=GROUND.cell_m / 1000,
        lon=lon,
        lat=lat,
        **(told | GROUND.attributes() | extra),
    )
