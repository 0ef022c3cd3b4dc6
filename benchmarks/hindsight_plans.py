"""Plans on forecasts that know better: of `hindsight.py plans`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from hindsight import Features, Field, LeastSquares, hindsight
from plan import BARCELONA, CITIES, ORIGINS, WITH_USERS

from fomo.app.service.planning.allocating import PrbSetting, measured_at, play_allocating, played_at
from fomo.app.service.planning.origins import Origin, find_origins
from fomo.app.service.planning.sleeping import SleepSetting, play_sleeping
from fomo.app.service.planning.strategies import SHIPPED_FITS, Expected, expected
from fomo.city import City
from fomo.planning.channel import ChannelParameters
from fomo.planning.comparison import Played, closed_interval
from fomo.planning.energy import EnergyModel
from fomo.planning.sleep import SleepParameters
from fomo.sources import read_family
from fomo.sources.barcelona_radio import JoinedSites, join_sites, read_radio_records

#: To reach, of the way from the best other plan to the oracle.
HALF = 0.5
#: Parts of FoMo's errors that are left, in turn.
LEFT = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
#: Plans that are judged in many places; where users are known, with those of the planned hours as well.
LINES = [
    *(("sleep", "past", city) for city in ORIGINS),
    *(("sleep", "full", city) for city in WITH_USERS if city in ORIGINS),
    *(("prb", "past", city) for city in (*CITIES, BARCELONA)),
    *(("prb", "full", city) for city in WITH_USERS),
]


@dataclass(frozen=True)
class Closed:
    """A line of the second table: shares of the way from the best other plan to the oracle that are closed."""

    plan: str
    city: str
    users: str
    fomo: float
    hindsight: float
    hindsight_error: float  # over FoMo's
    half_at: float | None  # with which part of FoMo's error half is closed; None: with all of it, or none of LEFT


def closed(what: str, city: str, users: str, data: Path) -> Closed:
    """Plans of FoMo, of hindsight, and of forecasts with a part of FoMo's error."""
    joined = None
    if city == BARCELONA:
        joined = join_sites(read_radio_records(data / f"{city}.parquet"))
    regions = read_family(data, city) if joined is None else [joined.city]
    sleep = what == "sleep"
    seeds = (0, 1, 2) if sleep else (0,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        origins = find_origins(regions, "long" if sleep else "short", users, ORIGINS.get(city))  # type: ignore[arg-type]
        everyone = expected(
            origins, weights="fomo-tiny", rival="Lag-Llama", fits=SHIPPED_FITS, samples=24, seeds=seeds, tails=sleep
        )
    play = _player(sleep, {str(region.attrs["name"]): region for region in regions}, joined, seeds)

    def played(some: Sequence[Expected]) -> list[Played]:
        return [each for origin in origins for each in play(origin, some)]

    others = [each for each in everyone if each.strategy != "fomo"]
    fomo = next(each for each in everyone if each.strategy == "fomo")
    beside = played(others)

    def closes(members: Expected) -> float:
        mine = [each for each in played([members]) if each.strategy == "fomo"]
        return closed_interval([*beside, *mine])[0]

    squares = LeastSquares()
    for origin in origins:
        squares.add(*_scaled(*_missed(fomo, origin)))
    rule, (whole, rest) = squares.rule(), squares.root_mean_squares()

    def in_hindsight(missed: Field, mean: Field) -> Field:
        return np.tensordot(rule, hindsight(missed, mean), 1)

    shares = [(1.0, closes(fomo))]
    for left in LEFT:
        if shares[-1][1] >= HALF:
            break
        moved = _moved(fomo, origins, seeds, lambda missed, mean, left=left: (1 - left) * missed, left)
        shares.append((left, closes(moved)))
    told = closes(_moved(fomo, origins, seeds, in_hindsight, rest / whole))
    return Closed(what, city, users, shares[0][1], told, rest / whole, crossed(shares))


def _player(
    sleep: bool, by_name: dict[str, City], joined: JoinedSites | None, seeds: Sequence[int]
) -> Callable[[Origin, Sequence[Expected]], list[Played]]:
    """Plays the plans of all who expect something at a start, with every seed."""
    if sleep:
        asleep = SleepSetting(SleepParameters(), EnergyModel())
        return lambda origin, some: play_sleeping(by_name[origin.region], origin, some, asleep, seeds)
    shared = PrbSetting(ChannelParameters())
    if joined is None:
        return lambda origin, some: play_allocating(by_name[origin.region], origin, some, shared, seeds)
    return lambda origin, some: [
        each for seed in seeds for each in played_at(measured_at(joined, origin, shared), origin, some, shared, seed)
    ]


def _missed(fomo: Expected, origin: Origin, seed: int = 0) -> tuple[Field, Field]:
    """What FoMo misses at an origin, and what it expects, in the cells that are asked for."""
    there = origin.task.asked.any(0)
    mean = fomo.at(origin, seed)[:, :, there].mean(0)
    return origin.truth[:, there] - mean, mean


def _scaled(missed: Field, mean: Field) -> tuple[Field, Features]:
    full = np.max(mean + missed)
    return missed / full, hindsight(missed / full, mean / full)


def _moved(
    fomo: Expected,
    origins: Sequence[Origin],
    seeds: Sequence[int],
    towards: Callable[[Field, Field], Field],
    width: float,
) -> Expected:
    """FoMo's members, moved by what is known of what they miss, and as much narrower."""
    members = {}
    for origin in origins:
        there = origin.task.asked.any(0)
        for seed in seeds:
            found = fomo.at(origin, seed).copy()
            missed, mean = _missed(fomo, origin, seed)
            found[:, :, there] = np.maximum(mean + towards(missed, mean) + width * (found[:, :, there] - mean), 0.0)
            members[origin.name, seed] = found
    return replace(fomo, members=members)


def crossed(shares: Sequence[tuple[float, float]]) -> float | None:
    """Where the way that is closed becomes half, between two parts of the error; None: nowhere."""
    if shares[0][1] >= HALF:
        return None
    for (more, less_closed), (less, more_closed) in pairwise(shares):
        if more_closed >= HALF:
            return more - (more - less) * (HALF - less_closed) / (more_closed - less_closed)
    return None


def all_plans(data: Path, kept: Path) -> Iterator[list[Closed]]:
    """All lines of sleep plans and of blocks, after each of them; those of `kept` (CSV) are not played again."""
    known = pl.read_csv(kept).iter_rows(named=True) if kept.exists() else ()
    before = {(line["plan"], line["users"], line["city"]): Closed(**line) for line in known}
    found = []
    for what, users, city in LINES:
        found.append(before.get((what, users, city)) or closed(what, city, users, data))
        yield found


def plans_table(found: Iterable[Closed]) -> str:
    """README's table."""
    heading = ("plan", "users", "city", "FoMo closes", "half is closed at", "hindsight closes", "with")
    lines = ["| " + " | ".join(heading) + " |", "|---" * len(heading) + "|"]
    for row in found:
        half = "reached" if row.fomo >= HALF else f"below {LEFT[-1]:.0%}"
        if row.half_at is not None:
            half = f"{row.half_at:.0%} of FoMo's error"
        line = (
            *(row.plan, row.users, row.city, f"{row.fomo:.0%}", half),
            *(f"{row.hindsight:.0%}", f"{row.hindsight_error:.0%} of it"),
        )
        lines.append("| " + " | ".join(line).replace("%", " %") + " |")
    return "\n".join(lines) + "\n"
