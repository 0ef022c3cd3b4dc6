"""Pictures made of letters: a city's map and bars."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fomo.city import City
from fomo.evaluation.health import Health
from fomo.evaluation.health.grid import traffic_sums

#: Places of the map at most, each two letters wide: a terminal of 80 columns holds them beside the names of the lines.
MAP_WIDTH, MAP_HEIGHT = 30, 20
#: Bars of the coverage at most.
MOST_DAYS = 60
BARS = "▁▂▃▄▅▆▇█"
SHADES = "░▒▓█"


def bars(values: Float[np.ndarray, " bar"], largest: float) -> str:
    """A bar a value, from 0 to the largest; a space where there is none."""
    known = np.isfinite(values)
    height = np.rint(np.where(known, values, 0) / (largest or 1.0) * (len(BARS) - 1)).astype(int)
    return "".join(np.where(known, np.array(list(BARS))[height], " "))


def coverage_bars(health: Health) -> str:
    """A bar a day; of more than `MOST_DAYS`, a bar for several, the worst of them."""
    shares = health.by_day
    each = max(1, -(-len(shares) // MOST_DAYS))
    padded = np.append(shares, np.full(-len(shares) % each, np.nan)).reshape(-1, each)
    drawn = bars(np.where(np.isfinite(padded), padded, np.inf).min(1), 1.0)
    if not np.isfinite(shares).any():
        return drawn
    told = f", the worst of {each} days a bar" if each > 1 else ""
    return f"{drawn}  {np.nanmin(shares):.0%} to {np.nanmax(shares):.0%}{told}"


def map_lines(city: City) -> list[str]:
    """Rows from north to south: quartiles of the cells' mean traffic; '·' no traffic, a space where uncovered."""
    if city.attrs["layout"] == "list":
        return ["none: the cells of this city have no places"]
    total, count = traffic_sums(city)
    height, width = total.shape
    each = max(1, -(-height // MAP_HEIGHT), -(-width // MAP_WIDTH))
    rows, columns = (np.arange(0, size, each) for size in (height, width))
    total, count = (np.add.reduceat(np.add.reduceat(sums, rows, 0), columns, 1) for sums in (total, count))
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    positive = mean[mean > 0]
    if positive.size == 0:
        return ["no traffic"]
    limits = np.quantile(positive, (0.25, 0.5, 0.75))
    shades = np.array(list(SHADES))[np.searchsorted(limits, mean)]  # NaN lies behind all limits
    letters = np.select([np.isnan(mean), mean <= 0], [" ", "·"], shades)
    lines = ["".join(np.repeat(line, 2)) for line in letters[::-1]]  # a letter is about twice as high as wide
    told = "quarters of the cells, from ░ to █ the busiest; · no traffic, blank not covered"
    return [*lines, told + (f"; {each} x {each} cells a place" if each > 1 else "")]


__all__ = ["bars", "coverage_bars", "map_lines"]
