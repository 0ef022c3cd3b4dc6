"""FoMo: the open foundation model for mobile traffic.

Three lines are the whole interface: a `City` in, a `Forecast` out.

    city = fomo.open_city("my-city.zarr")
    model = fomo.load("fomo-tiny")
    forecast = model.forecast(city, horizon=16, samples=20)

Names are imported where they are first used, so that `import fomo` stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "City": "fomo.city",
    "CityError": "fomo.city",
    "make_city": "fomo.city",
    "open_city": "fomo.city",
    "save_city": "fomo.city",
    "validate": "fomo.city",
    "mock_city": "fomo.city",
    "coarser": "fomo.periods",
    "with_days_off": "fomo.days_off",
    "Forecast": "fomo.forecast",
    "read_cities": "fomo.sources",
    "read_table": "fomo.sources",
    "synthetic_city": "fomo.sources.synthetic",
    "load": "fomo.forecasters.fomo",
}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    """Import a public name from the room it lives in."""
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'fomo' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted(__all__)
