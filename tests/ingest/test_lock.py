"""One writer of a city at a time."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from operator_made import traffic_of, write_days, write_sites

import fomo
from fomo.ingest.build import BuildConfig, append_city, build_city
from fomo.ingest.ledger import IngestError
from fomo.ingest.lock import LOCK, locked

#: Appends as `fomo city append` does; after the first batch it says so, and waits until it is told to go on.
SLOW = """
import sys, time
from pathlib import Path
from fomo.ingest.build import append_city
from fomo.ingest.pouring import Pouring
real, said = Pouring.add, Path(sys.argv[1])
def slow(self, counts, where):
    real(self, counts, where)
    self.flush()
    (said / "writing").touch()
    while not (said / "go").exists():
        time.sleep(0.01)
Pouring.add = slow
append_city(Path(sys.argv[2]), sys.argv[3:])
"""


@pytest.fixture
def city(tmp_path):
    paths = write_days(tmp_path / "counters", traffic_of(3))
    config = BuildConfig(
        counters=(paths[0],), sites=write_sites(tmp_path), out=tmp_path / "city.zarr", cell_m=500.0
    )  # fmt: skip
    build_city(config)
    return config, paths


def other(tmp_path, config, *paths):
    """A process that is in the midst of an append."""
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path), str(config.out), *map(str, paths)])
    until = time.monotonic() + 60
    while not (tmp_path / "writing").exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    return process


def dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left(config, **changed):
    (config.out / LOCK).write_text(
        json.dumps({"pid": dead(), "host": socket.gethostname(), "began": "1", "since": "yesterday", **changed}),
        encoding="utf-8",
    )


def total(path):
    return float(np.nansum(fomo.open_city(path)["traffic"].values))


def test_a_second_append_at_the_same_time_is_refused_and_the_first_is_whole(tmp_path, city):
    config, paths = city
    process = other(tmp_path, config, paths[1])
    try:
        assert fomo.open_city(config.out).sizes["time"] == 24  # readers see what was committed
        for second in (lambda: append_city(config.out, [paths[2]]), lambda: build_city(config)):
            with pytest.raises(IngestError, match=f"being written by process {process.pid} on .*: wait until it is"):
                second()
    finally:
        (tmp_path / "go").touch()
        assert process.wait(60) == 0
    assert not (config.out / LOCK).exists()
    report = append_city(config.out, [paths[2]])
    assert "remarks" not in report and total(config.out) == pytest.approx(traffic_of(3).sum() * 1e-9, rel=1e-5)


def test_the_lock_of_a_killed_append_is_taken_away_with_a_remark_and_nothing_half_is_taken(tmp_path, city):
    config, paths = city
    process = other(tmp_path, config, paths[1])
    process.kill()
    process.wait()
    assert (config.out / LOCK).exists() and fomo.open_city(config.out).sizes["time"] == 24
    report = append_city(config.out, paths[1:])
    assert f"process {process.pid}, which is gone, had left" in report["remarks"][0]
    assert total(config.out) == pytest.approx(traffic_of(3).sum() * 1e-9, rel=1e-5)
    assert not list(config.out.glob(f"{LOCK}*"))


def test_a_number_that_is_another_process_now_holds_nothing(city):
    config, paths = city
    left(config, pid=os.getpid(), began="12")  # ours, but we began later
    assert "which is gone" in append_city(config.out, [paths[1]])["remarks"][0]


def test_what_another_machine_holds_nobody_here_takes_away(city):
    config, paths = city
    left(config, host="elsewhere")
    with pytest.raises(IngestError, match=r"on elsewhere since yesterday.*remove .*\.lock"):
        append_city(config.out, [paths[1]])
    assert (config.out / LOCK).exists()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"pid": "x"}'])
def test_a_lock_that_says_nothing_is_held_while_it_is_new(city, text):
    config, paths = city
    lock = config.out / LOCK
    lock.write_text(text, encoding="utf-8")
    with pytest.raises(IngestError, match="written by another process"):
        append_city(config.out, [paths[1]])
    os.utime(lock, (0, 0))
    assert "a process, which is gone" in append_city(config.out, [paths[1]])["remarks"][0]


def test_of_two_who_clear_a_dead_lock_one_is_first(city):
    config, paths = city
    left(config)
    (config.out / f"{LOCK}.clearing").touch()
    with pytest.raises(IngestError, match="is being written"):
        append_city(config.out, [paths[1]])
    os.utime(config.out / f"{LOCK}.clearing", (0, 0))  # killed while it cleared
    assert append_city(config.out, [paths[1]])["remarks"]


def test_it_is_given_back_however_the_block_ends(city, tmp_path):
    config, _ = city
    for error in (KeyboardInterrupt, IngestError, SystemExit):
        with pytest.raises(error), locked(config.out):
            assert json.loads((config.out / LOCK).read_text(encoding="utf-8"))["pid"] == os.getpid()
            with pytest.raises(IngestError, match="is being written"), locked(config.out):
                pass
            raise error
        assert not (config.out / LOCK).exists()
    with pytest.raises(IngestError, match="none of 1 files"):
        (tmp_path / "bad.csv").write_bytes(b"\0\0")
        append_city(config.out, [tmp_path / "bad.csv"])
    assert not (config.out / LOCK).exists()


def test_many_at_once_make_one_whole_city(tmp_path, city):
    """Each tries until it is let in."""
    config, paths = city
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom fomo.ingest.build import append_city\n"
        "from fomo.ingest.ledger import IngestError\n"
        "for _ in range(600):\n    try:\n        append_city(Path(sys.argv[1]), sys.argv[2:])\n        break\n"
        "    except IngestError as error:\n        assert 'being written' in str(error), error\n"
        "        time.sleep(0.05)\n"
        "else:\n    sys.exit(1)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(config.out), str(path)]) for path in paths[1:]]
    assert [process.wait(120) for process in running] == [0, 0]
    assert total(config.out) == pytest.approx(traffic_of(3).sum() * 1e-9, rel=1e-5)


def test_a_city_that_another_made_meanwhile_is_not_written_over(tmp_path, city, monkeypatch):
    config, _ = city
    new = replace(config, out=tmp_path / "new.zarr")
    monkeypatch.setattr(
        "fomo.ingest.store._write_root", lambda *_: shutil.copytree(config.out, new.out, dirs_exist_ok=True)
    )
    with pytest.raises(IngestError, match="made by another process meanwhile"):
        build_city(new)
    assert not list(tmp_path.glob(".new.zarr*"))
