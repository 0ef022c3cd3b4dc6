"""A small operator for tests: sites with three sectors, daily files of counters, and what a city of them must hold."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars

START = np.datetime64("2024-03-01T00:00", "us")


def write_sites(folder: Path, sites: int = 5) -> Path:
    """Sites around Helsinki, three cells each, named S0-1 and so on."""
    random = np.random.default_rng(1)
    lon, lat = 24.94 + random.normal(0, 0.03, sites), 60.17 + random.normal(0, 0.015, sites)
    rows = [
        (f"S{site}-{sector + 1}", lon[site], lat[site], 120.0 * sector) for site in range(sites) for sector in range(3)
    ]
    path = folder / "sites.csv"
    polars.DataFrame(rows, schema=["cell", "lon", "lat", "azimuth"], orient="row").write_csv(path)
    return path


def traffic_of(days: int, sites: int = 5, minutes: int = 60, seed: int = 0) -> np.ndarray:
    """Bytes (period, cell), whole numbers."""
    random = np.random.default_rng(seed)
    return random.integers(0, 5_000_000, (days * 24 * 60 // minutes, 3 * sites)).astype(float)


def write_days(folder: Path, traffic: np.ndarray, minutes: int = 60, ending: str = "csv") -> list[Path]:
    """A file a day: cell, time, dl_bytes, users (a thousandth of a hundredth of the bytes)."""
    folder.mkdir(parents=True, exist_ok=True)
    a_day, cells = 24 * 60 // minutes, traffic.shape[1]
    names = [f"S{cell // 3}-{cell % 3 + 1}" for cell in range(cells)]
    paths = []
    for day in range(len(traffic) // a_day):
        times = START + (day * a_day + np.arange(a_day)) * np.timedelta64(minutes, "m")
        part = traffic[day * a_day : (day + 1) * a_day]
        frame = polars.DataFrame(
            {
                "cell": np.tile(names, a_day), "time": np.repeat(times, cells),
                "dl_bytes": part.ravel().astype(np.int64), "users": part.ravel() / 1e5,
            }
        )  # fmt: skip
        path = folder / f"{str(times[0])[:10]}.{ending}"
        if ending == "csv":
            frame.with_columns(polars.col("time").dt.strftime("%Y-%m-%d %H:%M:%S")).write_csv(path)
        else:
            frame.write_parquet(path)
        paths.append(path)
    return paths


def write_measurements(folder: Path, traffic: np.ndarray, minutes: int = 60) -> list[Path]:
    """The same as 3GPP measCollecFiles, one a period and packed, with times in UTC of a network in Helsinki in winter.

    Traffic is in kbit, as `DRB.PdcpSduVolumeDL` has it, so that its bytes are those of `write_days`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for period, row in enumerate(traffic):
        end = START + (period + 1) * np.timedelta64(minutes, "m") - np.timedelta64(2, "h")
        values = "".join(
            f'<measValue measObjLdn="Cell=S{cell // 3}-{cell % 3 + 1}"><r p="1">{amount * 8 / 1000}</r>'
            f'<r p="2">{amount / 1e5}</r></measValue>'
            for cell, amount in enumerate(row)
        )
        text = (
            '<measCollecFile xmlns="http://www.3gpp.org/ftp/specs/archive/32_series/32.435#measCollec">'
            '<fileHeader fileFormatVersion="32.435 V10.0"/><measData><managedElement localDn="N=1"/>'
            f'<measInfo><granPeriod duration="PT{minutes}M" endTime="{str(end)[:19]}Z"/>'
            '<measType p="1">DRB.PdcpSduVolumeDL</measType><measType p="2">RRC.ConnMean</measType>'
            f"{values}</measInfo></measData></measCollecFile>"
        )
        path = folder / f"A{period:04}.xml.gz"
        path.write_bytes(gzip.compress(text.encode()))
        paths.append(path)
    return paths
