"""Several processes and a dask cluster make the same city, bit for bit, as one process does."""

from __future__ import annotations

import shutil
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import polars
import pytest
import xarray as xr
from operator_made import traffic_of, write_days, write_sites

import fomo
from fomo.ingest.build import BuildConfig, append_city, build_city
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping
from fomo.ingest.store import CityStore


@pytest.fixture
def config(tmp_path):
    """Four days; a last file has corrections, late rows and repetitions of earlier days."""
    paths = write_days(tmp_path / "counters", traffic_of(4))
    frames = [polars.read_csv(path) for path in paths]
    corrected = frames[1].with_columns(polars.col("dl_bytes") + 7).tail(30)
    polars.concat([frames[0].head(40), corrected, frames[2].head(9)]).write_csv(tmp_path / "counters/late.csv")
    frames[2].tail(300).write_csv(paths[2])
    return BuildConfig(
        counters=(tmp_path / "counters",), sites=write_sites(tmp_path), out=tmp_path / "city.zarr", cell_m=500.0
    )


def same(one, other):
    xr.testing.assert_identical(fomo.open_city(one).drop_attrs(), fomo.open_city(other).drop_attrs())
    for name in ("traffic", "users", "state"):
        left, right = (CityStore(path).cells()[name].values for path in (one, other))
        assert left.tobytes() == right.tobytes(), name
    reports = [CityStore(path).report for path in (one, other)]
    for entry in ("taken", "rejected", "noted", "files"):
        assert reports[0][entry] == reports[1][entry], entry


def here(work, *arguments):
    """A task done at once, in this process."""
    done: Future[object] = Future()
    done.set_result(work(*arguments))
    return done


@pytest.mark.parametrize("kind", ["here", "processes", "dask"])
def test_the_same_bytes_from_any_number_of_processes(config, tmp_path, kind):
    build_city(config)
    other = BuildConfig(**{**vars(config), "out": tmp_path / "other.zarr"})
    if kind == "here":
        build_city(other, submit=here)
    elif kind == "processes":
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            build_city(other, submit=pool.submit)
    else:
        distributed = pytest.importorskip("distributed")
        with (
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            build_city(other, submit=client.submit)
    same(config.out, other.out)
    assert not (other.out / ".parts").exists()


class Killed(BaseException):
    """As SIGKILL would have it."""


def test_parts_that_are_read_are_not_read_again_after_a_kill(config, tmp_path, monkeypatch):
    def dies(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("fomo.ingest.parallel.write_day", dies)
        with pytest.raises(Killed):
            build_city(config, submit=here)
    assert CityStore(config.out).visible_days == 0
    with monkeypatch.context() as patch:
        patch.setattr("fomo.ingest.parallel.read_counts", lambda *_: pytest.fail("read twice"))
        build_city(config, submit=here)
    other = BuildConfig(**{**vars(config), "out": tmp_path / "other.zarr"})
    build_city(other)
    same(config.out, other.out)


def test_appended_in_parallel_as_by_one(config, tmp_path):
    paths = sorted((tmp_path / "counters").iterdir())
    build_city(BuildConfig(**{**vars(config), "counters": tuple(paths[:2])}))
    shutil.copytree(config.out, tmp_path / "other.zarr")
    append_city(config.out, paths)
    append_city(tmp_path / "other.zarr", paths, submit=here)
    same(config.out, tmp_path / "other.zarr")


def test_what_needs_one_process_says_so(config, tmp_path):
    with pytest.raises(IngestError, match="are written out by one process"):
        build_city(config, rejects=tmp_path / "rejected.csv", submit=here)
    assert not config.out.exists()
    grows = Mapping.model_validate({"traffic": {"counters": {"dl_bytes": 1.0}, "cumulative": True}})
    with pytest.raises(IngestError, match="counters that only grow are read by one process"):
        build_city(BuildConfig(**{**vars(config), "mapping": grows}), submit=here)
