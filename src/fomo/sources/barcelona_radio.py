"""The radio side of the LTE sites decoded from the air in Barcelona: what a share of the resource blocks carried.

The file is that of `fomo.sources.barcelona`, read at its own step of two minutes. `rb_down` is the share of all
physical resource blocks (PRBs) that carried data down; a share of 1 is read as the 100 PRBs of a 20 MHz carrier of LTE.
Bits down over share and time then give about 4.9e5 bits per second and PRB where the channel is good, 2.7 bit/s/Hz, and
rarely more: plausible for one layer of 64QAM. It falls where the share is high (ElBorn, PobleSec), so it is not the air
alone: who is served changes as well.

The three sites were recorded in different months: PobleSec 5 February to 5 March 2018, ElBorn 28 March to 4 April 2018
(Easter week), LesCorts 12 to 24 January 2019. `join_sites` lays them over each other by weekday and time of day. What
a weekday makes of traffic stays; what one day does to all of a city does not, so the joined sites are less correlated
than three at one time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from fomo.city import MINUTES_PER_DAY, City, CityError, make_city
from fomo.sources.archive import file_hash
from fomo.sources.barcelona import BITS_PER_BYTE, RECORD_MINUTES, TIME_ZONE
from fomo.sources.frames import read_columns
from fomo.sources.weekdays import MINUTES_PER_WEEK, MONDAY

#: PRBs of a carrier of 20 MHz (3GPP TS 36.101, table 5.6-1).
PRBS_OF_A_SITE = 100
SECONDS_PER_RECORD = RECORD_MINUTES * 60
#: A period counts where this share of its records is there, as in `fomo.sources.barcelona` (6 of 7.5).
LEAST_SHARE = 0.8


@dataclass(frozen=True)
class RadioRecords:
    """One site every two minutes; NaN = not recorded."""

    site: str
    #: Start of every record, local wall-clock.
    time: np.ndarray
    #: Bits down in the two minutes.
    bits_down: Float[np.ndarray, " time"]
    #: Active users (RNTI).
    users: Float[np.ndarray, " time"]
    #: Share of all PRBs that carried data down, 0 to 1.
    prb_share: Float[np.ndarray, " time"]
    #: Records of the file without any bits or users: an outage of the decoder. They are NaN above.
    outage_records: int
    sha256: str

    @property
    def bits_per_prb_second(self) -> Float[np.ndarray, " time"]:
        """Measured channel: bits that one PRB carries in a second; NaN where bits or share are not recorded, or 0."""
        known = (self.bits_down > 0) & (self.prb_share > 0)
        whole = np.divide(self.bits_down, self.prb_share, out=np.full(len(self.time), np.nan), where=known)
        return whole / (SECONDS_PER_RECORD * PRBS_OF_A_SITE)


@dataclass(frozen=True)
class JoinedSites:
    """Sites on one clock: cells of one server."""

    #: Bytes down and users per period, one cell a site, layout "list"; dates are pseudo dates of `sources.weekdays`.
    city: City
    #: Measured bits that one PRB of a site carries in a period; NaN = not recorded.
    bits_per_prb: Float[np.ndarray, "time cell"]
    sites: tuple[str, ...]
    #: Date and time, in the records of each site, of the first period.
    begins: tuple[np.datetime64, ...]


def read_radio_records(path: Path) -> tuple[RadioRecords, ...]:
    """Every site of the file, sorted by name, on an even axis of two minutes. Raises `CityError`."""
    kinds = {"site": "text", "time": "time", "down": "number", "rnti_count": "number", "rb_down": "number"}
    frame = read_columns(path, kinds, TIME_ZONE)
    site, time = frame["site"].to_numpy().astype(str), frame["time"].to_numpy().astype("datetime64[m]")
    values = frame.select("down", "rnti_count", "rb_down").to_numpy()
    beyond = np.flatnonzero((values < 0).any(1) | (values[:, 2] > 1))
    if beyond.size:
        raise CityError(
            f"row {beyond[0]} of {path}: down, rnti_count, rb_down are {values[beyond[0]].tolist()}; bits and users "
            "are 0 or more and rb_down is a share of 0 to 1: correct it"
        )
    sha256 = file_hash(path)
    return tuple(
        _records(str(name), time[site == name], values[site == name], path, sha256) for name in np.unique(site)
    )


def _records(
    site: str, time: np.ndarray, values: Float[np.ndarray, "record column"], path: Path, sha256: str
) -> RadioRecords:
    """One site on an even axis. Raises `CityError`."""
    minutes = (time - time.min()).astype(np.int64)
    at = minutes // RECORD_MINUTES
    off = np.flatnonzero(minutes % RECORD_MINUTES)
    if off.size or len(np.unique(at)) < len(at):
        raise CityError(
            f"records of {site} in {path} do not lie {RECORD_MINUTES} minutes apart, or some are there twice: "
            "keep one record for every two minutes"
        )
    even = np.full((int(at.max()) + 1, values.shape[1]), np.nan)
    outage = (values[:, 0] == 0) & (values[:, 1] == 0)  # as `fomo.sources.barcelona` has it
    even[at] = np.where(outage[:, None], np.nan, values)
    axis = time.min() + np.arange(len(even)) * np.timedelta64(RECORD_MINUTES, "m")
    return RadioRecords(site, axis, even[:, 0], even[:, 1], even[:, 2], int(outage.sum()), sha256)


def join_sites(records: Sequence[RadioRecords], step_minutes: int = 15) -> JoinedSites:
    """Sites of different months on one clock, by weekday and time of day, over the longest stretch that all have.

    The shortest recording gives the week; every other site is shifted to it by whole weeks, as far as they overlap
    most (the earliest such weeks). A period's volume is the mean of its records times the records in a period; its
    bits per PRB are all bits over all shares of its records with both. Periods with less than `LEAST_SHARE` of their
    records are NaN. Raises `CityError`.
    """
    if not records:
        raise CityError("there is no site to join: read some with read_radio_records")
    if step_minutes < RECORD_MINUTES or MINUTES_PER_DAY % step_minutes:
        raise CityError(
            f"step_minutes is {step_minutes}: a divisor of a day, {RECORD_MINUTES} or more, such as 15 or 60"
        )
    minutes = [(record.time - MONDAY).astype(np.int64) for record in records]
    first = np.array([part[0] for part in minutes])
    last = np.array([part[-1] + RECORD_MINUTES for part in minutes])
    shift = _weeks_to(first, last, int((last - first).argmin())) * MINUTES_PER_WEEK
    begin = -(-int((first + shift).max()) // step_minutes) * step_minutes
    steps = (int((last + shift).min()) - begin) // step_minutes
    if steps < 1:
        raise CityError("the sites have no weekday and time of day in common: join sites that were recorded for longer")
    periods = [
        _periods(record, part + weeks - begin, steps, step_minutes)
        for record, part, weeks in zip(records, minutes, shift, strict=True)
    ]
    bits, users, bits_per_prb = (np.stack(column, 1) for column in zip(*periods, strict=True))
    monday = begin - begin % MINUTES_PER_WEEK
    city = make_city(
        bits[:, None] / BITS_PER_BYTE,
        users=users[:, None],
        name="barcelona_joined",
        start=MONDAY + np.timedelta64(begin - monday, "m"),
        step_minutes=step_minutes,
        layout="list",
        calendar="weekday",
        time_zone=TIME_ZONE,
        unit="bytes per period",
        source="https://github.com/vperifan/Federated-Time-Series-Forecasting",
        sha256=records[0].sha256,
    )
    begins = tuple(MONDAY + np.timedelta64(int(begin - weeks), "m") for weeks in shift)
    return JoinedSites(city, bits_per_prb, tuple(record.site for record in records), begins)


def _weeks_to(first: Int[np.ndarray, " site"], last: Int[np.ndarray, " site"], to: int) -> Int[np.ndarray, " site"]:
    """Weeks to add to each site so that it overlaps the site `to` most; the earliest of its weeks where some tie."""
    low = (first[to] - last) // MINUTES_PER_WEEK
    high = (last[to] - first) // MINUTES_PER_WEEK + 1
    weeks = np.arange(int(high.max()), int(low.min()) - 1, -1)[:, None]  # later shifts are earlier weeks of the site
    start = np.maximum(first + weeks * MINUTES_PER_WEEK, first[to])
    overlap = np.minimum(last + weeks * MINUTES_PER_WEEK, last[to]) - start
    return np.asarray(weeks[overlap.argmax(0), 0])


def _periods(
    record: RadioRecords, minute: Int[np.ndarray, " time"], steps: int, step_minutes: int
) -> tuple[Float[np.ndarray, " period"], Float[np.ndarray, " period"], Float[np.ndarray, " period"]]:
    """Bits down, mean users and bits per PRB of each period; `minute` counts from the first period's start."""
    at = minute // step_minutes
    inside = (at >= 0) & (at < steps)
    in_period = step_minutes / RECORD_MINUTES

    def means(values: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Mean of the known records of each period, NaN where too few are."""
        use = inside & known
        count = np.bincount(at[use], minlength=steps)
        total = np.bincount(at[use], values[use], minlength=steps)
        enough = count >= LEAST_SHARE * in_period
        return np.divide(total, count, out=np.full(steps, np.nan), where=enough)

    heard = np.isfinite(record.bits_down)
    bits, users = means(record.bits_down, heard), means(record.users, heard & np.isfinite(record.users))
    both = heard & np.isfinite(record.prb_share)
    share = means(record.prb_share, both)
    whole = np.divide(means(record.bits_down, both), share, out=np.full(steps, np.nan), where=share > 0)
    return bits * in_period, users, whole / PRBS_OF_A_SITE * in_period


__all__ = ["PRBS_OF_A_SITE", "JoinedSites", "RadioRecords", "join_sites", "read_radio_records"]
