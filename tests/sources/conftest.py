"""Small files of every form, so that the readers are tested without the real data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

WriteForm = Callable[..., Path]


def arrays_of(form: str) -> dict[str, Any]:
    """The arrays of a small file of a form; its sizes are not those of any real file."""
    random = np.random.default_rng(7)

    def amount(*shape: int) -> np.ndarray:
        return random.lognormal(1, 0.5, shape).astype(np.float32)

    if form == "uomo":
        traffic = amount(3, 60, 2, 5)
        traffic[0, 48:] = np.nan
        return {
            "traffic": traffic,
            "users": np.where(np.isnan(traffic), np.nan, amount(3, 60, 2, 5)),
            "poi": random.integers(0, 9, (3, 6, 2, 5)).astype(np.int32),
            "fold": np.array([4, 0, 2], np.int8),
            "weeks": np.array([1, 2, 2], np.int8),
            "step_minutes": np.int64(60),
            "start_weekday_slot": np.array([3, 7], np.int16),
        }
    if form == "npdiff":
        slots = np.arange(50) + 2 * 24 + 5
        return {
            "traffic": amount(50, 3, 4),
            "weekday_slot": np.stack([slots // 24 % 7, slots % 24], 1).astype(np.int16),
            "step_minutes": np.int64(60),
        }
    if form == "jinan":
        tables = amount(30, 4)
        tables[:, 3] = np.nan
        share = np.zeros((6, 4), np.float32)
        share[[0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 3]] = 0.5
        raster = (np.nan_to_num(tables) @ share.T).reshape(30, 2, 3)
        kinds = ["5g_down", "5g_up", "4g_down", "4g_up"]
        return {
            **{f"g{kind}": tables for kind in kinds},
            **{f"core1km_{kind}": raster for kind in kinds},
            "core1km_weights": share,
            "area_km2": np.full(4, 2, np.float32),
            "centroid_lonlat": np.stack([np.linspace(117, 117.1, 4), np.linspace(36.6, 36.7, 4)], 1),
            "core_origin_lonlat": np.array([117.0, 36.0]),
            "label_1km_cell_deg": np.array([0.0112, 0.009]),
            "t0": np.array("2024-08-05T06:00 (local, UTC+8), step 1 h, T=30"),
            "step_minutes": np.int64(60),
        }
    if form == "nanchang":
        traffic = amount(25, 4, 3)
        traffic[:, 0, 2] = np.nan
        poi = random.integers(0, 50, (3, 4, 3)).astype(np.int32)
        poi[:, 3, 0] = -1
        return {
            "traffic": traffic,
            "users": traffic * 2,
            "poi": poi,
            "population": amount(4, 3),
            "covered": np.isfinite(traffic).all(0),
            "poi_names": np.array(["Medical", "?", "?"]),
            "origin_tile_z15_yx": np.array([13644, 26918]),
            "step_minutes": np.int64(60),
        }
    if form == "milan activity":
        fine = np.stack(np.meshgrid(9 + 0.003 * np.arange(6), 45 + 0.002 * np.arange(4)), -1)
        return {
            "activity": amount(3 * 24, 2, 3),
            "date": np.array(["2013-11-08", "2013-11-09", "2013-11-11"]),
            "context_20x20": amount(2, 3, 2),
            "context_names": np.array(["social_tweets", "poi_other"]),
            "cell_center_lonlat_100x100": fine,
            "step_minutes": np.int64(60),
        }
    if form == "milan internet":
        return {"traffic": amount(300, 2, 3), "step_minutes": np.int64(10)}
    if form == "c2tm":
        hours = np.r_[np.arange(30), np.arange(40, 100)]
        amounts = amount(90, 4)
        amounts[50, 1] = 1e9
        time = [(datetime(2012, 8, 20, 22) + timedelta(hours=int(hour))).isoformat(" ")[:16] for hour in hours]
        return {"bytes": amounts, "packets": amounts, "users": amount(90, 4), "time": np.array(time)}
    if form == "german":
        return {
            "ulm_SYNTH_traffic": amount(48, 3, 4),
            "ulm_poi": amount(2, 6, 8),
            "trier_pop": np.where(np.eye(5, dtype=bool), -0.08, amount(5, 5))[None].astype(np.float32),
            "trier_poi": np.tril(amount(2, 5, 5), -1),
            "trier_landuse": np.tril(random.dirichlet(np.ones(3), (5, 5)).transpose(2, 0, 1), -1).astype(np.float32),
            "worms_poi": amount(2, 5, 5),
        }
    if form == "barcelona":
        minutes = np.arange(0, 240, 2)
        rows = {
            "site": ["Gracia"] * 120 + ["Sants"] * 120,
            "time": [datetime(2018, 2, 5, 23, 40) + timedelta(minutes=int(m)) for m in np.r_[minutes, minutes]],
            "down": [800.0] * 240,
            "rnti_count": [30] * 240,
        }
        rows["down"][70:100], rows["rnti_count"][70:100] = [0.0] * 30, [0] * 30
        return rows
    if form == "itu":
        rows = []
        for hour in range(24):
            rows += [(hour, "B_10", "Cell0", 0.5)] if hour != 5 else []
            rows += [(hour, "B_9", "Cell0", 0.25), *([(hour, "B_9", "Cell1", 1.0)] if hour < 3 else [])]
        return {
            "Time": [datetime(2023, 1, 1, 1) + timedelta(hours=row[0]) for row in rows],
            **{name: [row[at] for row in rows] for name, at in (("BS", 1), ("CellName", 2), ("load", 3))},
        }
    raise KeyError(form)


FORMS = {
    "uomo": ".npz",
    "npdiff": ".npz",
    "jinan": ".npz",
    "nanchang": ".npz",
    "milan activity": ".npz",
    "milan internet": ".npz",
    "c2tm": ".npz",
    "german": ".npz",
    "barcelona": ".parquet",
    "itu": ".parquet",
}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def write_form(tmp_path: Path) -> WriteForm:
    """write_form(form, name="any", drop=(...), **arrays): a file of that form, changed as told."""

    def write(form: str, name: str = "any_name", drop: tuple[str, ...] = (), **changed: Any) -> Path:
        arrays = {key: value for key, value in {**arrays_of(form), **changed}.items() if key not in drop}
        path = tmp_path / f"{name}{FORMS[form]}"
        if path.suffix == ".npz":
            np.savez(path, **arrays)
        else:
            polars.DataFrame(arrays).write_parquet(path)
        return path

    write.arrays_of = arrays_of  # type: ignore[attr-defined]
    return write
