"""A lifelike city made from scratch, for demonstrations, documentation and tests; no file is needed.

People live around a few centres, go to work, eat and go out by the hour and the weekday, and come home: their
number never changes. Those present use the network more or less by the hour, each with a volume that wanders.
Now and then a crowd gathers in one cell. Some cells have no station: their traffic is a true zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np

from fomo.city import MINUTES_PER_DAY, City, CityError, make_city
from fomo.given import whole_number
from fomo.seeds import plain_seed

START = "2024-01-01T00:00"  # a Monday
PEOPLE_PER_CELL = 3_000
NO_STATION_SHARE = 0.12
EVENTS_PER_WEEK = 1.5
WANDER = 0.18  # standard deviation of the logarithm of the volume per user
MEMORY = 0.85  # of that logarithm over one hour
GIGABYTES_PER_USER = 0.05  # in an hour of average use

#: category of Table 1 of the paper -> mean count where (home, work, leisure) density is average
POI_CATEGORIES = {
    "shopping": (3, 2, 12),
    "enterprise": (1, 14, 2),
    "restaurant": (4, 4, 10),
    "local living": (9, 2, 3),
    "transportation": (2, 4, 3),
    "public health": (2, 2, 1),
    "automobile": (2, 2, 1),
    "physical facilities": (1, 1, 3),
    "accommodation": (1, 2, 4),
    "finance": (1, 6, 2),
    "government organs": (1, 3, 1),
    "education": (3, 3, 1),
    "business": (5, 6, 1),
    "public facilities": (2, 1, 2),
    "scenic spot": (0.2, 0.2, 2),
}


@dataclass(frozen=True)
class World:
    """What is true of a made city: arrays (time, y, x) and (y, x); `expected` is the mean of its traffic."""

    people: np.ndarray  # (time, y, x) persons present; the sum over cells is constant
    users: np.ndarray  # (time, y, x) expected users
    expected: np.ndarray  # (time, y, x) expected traffic in GB per period
    residents: np.ndarray  # (y, x)
    poi_rate: np.ndarray  # (category, y, x)
    station: np.ndarray  # (y, x) True where there is a station


def synthetic_city(
    name: str = "synthetic",
    height: int = 8,
    width: int = 8,
    days: int = 14,
    step_minutes: int = 60,
    seed: int = 0,
    missing: float = 0.0,
) -> City:
    """A made city: traffic in GB per period, users, POI of 15 categories, residents; from Monday 2024-01-01.

    `missing` is the share of values lost (NaN) in outages of six periods. The same arguments give the same
    city. Raises `CityError` for sizes that make none.
    """
    share = _share(missing)
    world, random = _world(*_numbers(height, width, days, step_minutes, seed))
    users = random.poisson(world.users).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        volume = np.where(world.users > 0, world.expected / world.users, 0.0)
    traffic = users * volume * np.exp(_wander(world.users.shape, step_minutes, random) - WANDER**2 / 2)
    poi = random.poisson(world.poi_rate)
    lost = _outages(users.shape, share, random)
    return make_city(
        np.where(lost, np.nan, traffic),
        users=np.where(lost, np.nan, users),
        poi=poi,
        poi_names=list(POI_CATEGORIES),
        residents=np.round(world.residents),
        name=name,
        start=START,
        step_minutes=step_minutes,
        cell_km=1.0,
        covered=np.ones(world.residents.shape, bool),
        unit="GB per period",
        licence="Apache-2.0",
        source=f"fomo.sources.synthetic, seed {seed}",
        synthetic=True,
    )


def synthetic_truth(
    height: int = 8, width: int = 8, days: int = 14, step_minutes: int = 60, seed: int = 0
) -> np.ndarray:
    """Expected traffic (time, y, x) in GB per period of `synthetic_city` with the same arguments.

    The city's traffic is this, events included, times noise of mean one. Raises `CityError`.
    """
    return synthetic_world(height, width, days, step_minutes, seed).expected.astype(np.float32)


def synthetic_world(height: int = 8, width: int = 8, days: int = 14, step_minutes: int = 60, seed: int = 0) -> World:
    """All that is true behind `synthetic_city` with the same arguments. Raises `CityError`."""
    return _world(*_numbers(height, width, days, step_minutes, seed))[0]


def _numbers(height: object, width: object, days: object, step: object, seed: object) -> tuple[int, int, int, int, int]:
    """Sizes as whole numbers, and a seed as generators take it. Raises `CityError`."""
    sizes = {"height": height, "width": width, "days": days, "step_minutes": step}
    tall, wide, long, minutes = (whole_number(value, f"{name} of a made city") for name, value in sizes.items())
    return tall, wide, long, minutes, plain_seed(seed) % 2**64


def _share(missing: object) -> float:
    """The share of values that are lost. Raises `CityError`."""
    if not (isinstance(missing, Real) and 0 <= float(missing) < 1):
        raise CityError(f"missing is {missing!r}: it is a share, from 0 to below 1")
    return float(missing)


def _world(height: int, width: int, days: int, step: int, seed: int) -> tuple[World, np.random.Generator]:
    if min(height, width, days) < 1:
        raise CityError(f"a city of {height} x {width} cells and {days} days is empty: give one of each at least")
    if step < 1 or MINUTES_PER_DAY % step:
        raise CityError(f"a step of {step} minutes does not divide a day: take 5, 10, 15, 30 or 60")
    random = np.random.default_rng(seed)
    home = _centres(height, width, 4, 0.30, random)
    work = _centres(height, width, 2, 0.14, random)
    leisure = _centres(height, width, 3, 0.10, random)
    hour = np.arange(days * MINUTES_PER_DAY // step) * step / 60
    people = _people(home, work, leisure, hour, random)

    crowded = people.mean(0)
    rank = crowded.argsort(axis=None).argsort().reshape(height, width) / max(1, height * width - 1)
    station = rank + 0.25 * random.random((height, width)) >= NO_STATION_SHARE + 0.125
    station.flat[int(crowded.argmax())] = True

    clock = hour % 24
    awake = 0.06 + 0.30 * _plateau(clock, 7, 23.3, 0.8) + 0.10 * _bump(clock, 21, 1.8)
    users = people * (1 - np.exp(-awake * step / 60))[:, None, None] * station
    use = 0.7 + 0.6 * _bump(clock, 21.5, 2.5) + 0.25 * _bump(clock, 12.5, 1.0)  # of an hour, per user
    taste = np.exp(0.25 * random.standard_normal((height, width)))
    demand = people * (awake * use * step / 60)[:, None, None]  # the same in a day for every step
    expected = demand * taste * station * GIGABYTES_PER_USER
    kinds = np.stack([home, work, leisure]) * (height * width)
    poi_rate = np.tensordot(np.array(list(POI_CATEGORIES.values())), kinds, axes=1)
    total = PEOPLE_PER_CELL * height * width
    return World(people, users, expected, total * home, poi_rate, station), random


def _people(
    home: np.ndarray, work: np.ndarray, leisure: np.ndarray, hour: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Persons present (time, y, x). Shares of home, work, leisure and events sum to one: nobody is lost."""
    clock, weekend = hour % 24, (hour // 24 % 7 >= 5).astype(float)
    at_work = (0.55 - 0.45 * weekend) * _plateau(clock, 8.3, 17.6, 0.5)
    lunch = 0.10 * _bump(clock, 12.5, 0.8)
    evening = (0.12 + 0.06 * weekend) * _bump(clock, 19.5, 1.8)
    out = lunch + evening + 0.18 * weekend * _bump(clock, 15, 2.2)
    out = np.minimum(out, 1 - at_work)
    shares = np.stack([1 - at_work - out, at_work, out], axis=1)  # (time, kind)
    present = np.tensordot(shares, np.stack([home, work, leisure]), axes=1)  # (time, y, x), sums to one
    days = int(hour[-1] // 24) + 1
    for _ in range(random.poisson(EVENTS_PER_WEEK * days / 7)):
        middle = 24 * random.integers(days) + random.uniform(17, 21.5)
        cell = random.choice(leisure.size, p=leisure.ravel())
        crowd = random.uniform(0.02, 0.06) * _plateau(hour, middle - 1.25, middle + 1.25, 0.2)
        present = present * (1 - crowd)[:, None, None]
        present.reshape(len(hour), -1)[:, cell] += crowd
    return np.asarray(PEOPLE_PER_CELL * home.size * present)


def _centres(height: int, width: int, count: int, spread: float, random: np.random.Generator) -> np.ndarray:
    """A smooth density (y, x) with a few centres, summing to one; `spread` is relative to the city's edge."""
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    density = np.full((height, width), 0.05)
    for weight in 1 / np.arange(1, count + 1):
        cy, cx = random.uniform(0.2, 0.8, 2)
        reach = spread * random.uniform(0.7, 1.3)
        density += weight * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * reach**2))
    density *= np.exp(0.35 * random.standard_normal((height, width)))
    return np.asarray(density / density.sum())


def _bump(hour: np.ndarray, middle: float, width: float) -> np.ndarray:
    """One at the middle hour of a day, falling off as a Gaussian around the clock."""
    away = (hour - middle + 12) % 24 - 12
    return np.asarray(np.exp(-0.5 * (away / width) ** 2))


def _plateau(hour: np.ndarray, start: float, end: float, softness: float) -> np.ndarray:
    """About one between start and end, about zero elsewhere, with soft flanks."""
    return np.asarray(0.5 * (np.tanh((hour - start) / softness) - np.tanh((hour - end) / softness)))


def _wander(shape: tuple[int, ...], step: int, random: np.random.Generator) -> np.ndarray:
    """Stationary AR(1) noise (time, y, x) of mean zero and standard deviation WANDER."""
    memory = MEMORY ** (step / 60)
    noise = random.standard_normal(shape) * WANDER
    noise[1:] *= np.sqrt(1 - memory**2)
    for now in range(1, shape[0]):
        noise[now] += memory * noise[now - 1]
    return noise


def _outages(shape: tuple[int, ...], share: float, random: np.random.Generator) -> np.ndarray:
    """Where values are lost: runs of six periods in single cells, a `share` of all in the mean."""
    length = min(6, shape[0])
    begins = random.random(shape) < 1 - (1 - share) ** (1 / length)
    lost = begins.copy()
    for delay in range(1, length):
        lost[delay:] |= begins[:-delay]
    return np.asarray(lost)
