"""What a plan says of squares that are out of service, by the days of the city, in all or some of its periods."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from fomo.app.service.planning.record import cells_named
from fomo.app.service.planning.servers import with_traffic
from fomo.city import SERVICE, City, in_service
from fomo.planning.load import Load


def out_of_service(load: Load, city: City, history: City) -> list[str]:
    """What a reader must know of such squares, in sentences; nothing where all are in service throughout.

    `history`: the city's record from before the plan.
    """
    if SERVICE[0] not in city:
        return []
    served = in_service(city, load.time)
    planned, recorded = (_on_grid(places, city) for places in (load.places, with_traffic(history)))
    never, some = ~served.any(0), served.any(0) & ~served.all(0)
    fresh = some & ~served[0] & ~recorded & city["covered"].values
    told = (
        ("Out of service in all periods and not planned", recorded & never),
        ("In service in some periods only, and planned as carrying nothing in the others", planned & some),
        ("In service from one of these periods on and not planned, as nothing is recorded of them", fresh),
    )
    return [f"{how}: {_squares(where)}." for how, where in told if where.any()]


def _on_grid(places: Int[np.ndarray, "cell 2"], city: City) -> Bool[np.ndarray, "y x"]:
    found = np.zeros((city.sizes["y"], city.sizes["x"]), bool)
    found[tuple(places.T)] = True
    return found


def _squares(where: Bool[np.ndarray, "y x"]) -> str:
    """`2 squares, row 0, column 1; row 2, column 2`."""
    places = np.argwhere(where)
    return f"{len(places)} square{'s' if len(places) > 1 else ''}, {cells_named(places)}"


__all__ = ["out_of_service"]
