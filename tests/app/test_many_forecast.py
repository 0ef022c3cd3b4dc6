"""`fomo forecast` in several processes: nothing but RANK and WORLD_SIZE tells them apart."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fomo
from fomo.app.service import parts
from fomo.forecast import Forecast
from fomo.forecasters.ahead import LONGEST_BLOCK, members_unit
from fomo.forecasters.fomo import FoMo
from fomo.processes import Place, ProcessError
from small import Ran, Run

RunAs = Callable[..., Ran]


@pytest.fixture
def run_as(run: Run, monkeypatch: pytest.MonkeyPatch) -> RunAs:
    """A command as process `rank` of `size`; nobody is waited for."""
    monkeypatch.setattr(parts, "PATIENCE", 0.0)

    def command(rank: int, size: int, *arguments: object) -> Ran:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(size))
        try:
            return run(*arguments)
        finally:
            monkeypatch.delenv("RANK")
            monkeypatch.delenv("WORLD_SIZE")

    return command


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "asked",
    [
        ("forecast", "--horizon", 12),
        ("forecast", "--horizon", LONGEST_BLOCK + 7, "--history", 20),
        ("generate", "--area", "1:3,0:2"),
    ],
)
def test_two_processes_write_the_very_files_of_one(
    run: Run, run_as: RunAs, city_folder: Path, weights: Path, tmp_path: Path, asked: tuple[object, ...]
) -> None:
    command = (asked[0], city_folder, *asked[1:], "--weights", weights, "--samples", 7)
    assert run(*command, "--out", tmp_path / "one.zarr").code == 0
    out = ("--out", tmp_path / "two.zarr", "--csv", tmp_path / "two.csv")
    other = run_as(1, 2, *command, *out)
    assert other.code == 0, other.err
    assert other.out.startswith("process 1 of 2: ") and "process 0 joins" in other.out
    assert not (tmp_path / "two.zarr").exists() and not (tmp_path / "two.csv").exists()
    first = run_as(0, 2, *command, *out)
    assert first.code == 0, first.err
    assert "7 members of" in first.out
    assert files(tmp_path / "two.zarr") == files(tmp_path / "one.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.zarr", "two.csv", "two.zarr"]


def test_the_first_process_says_whose_part_is_missing_and_keeps_its_own(
    run_as: RunAs, city_folder: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("forecast", city_folder, "--weights", weights, "--samples", 4, "--out", tmp_path / "f.zarr")
    said = run_as(0, 2, *command)
    assert said.code == 2
    assert "the part of process 1 did not come" in said.err and "run the same command again" in said.err
    assert not (tmp_path / "f.zarr").exists()
    assert run_as(1, 2, *command).code == 0
    drawn: list[object] = []
    monkeypatch.setattr(FoMo, "forecast", lambda *given, **more: drawn.append(given))
    assert run_as(0, 2, *command).code == 0  # both parts are there
    assert not drawn
    assert Forecast.open(tmp_path / "f.zarr").samples.sizes["sample"] == 4


KILLED = """
import os, signal, sys
import xarray as xr
from fomo.app.cli import main
write = xr.Dataset.to_zarr
def half(dataset, path, **more):
    write(dataset[["traffic"]], path, **more)
    os.kill(os.getpid(), signal.SIGKILL)
xr.Dataset.to_zarr = half
main(sys.argv[1:])
"""


def test_a_process_killed_while_it_writes_leaves_no_part_and_its_members_are_drawn_again(
    run: Run, run_as: RunAs, city_folder: Path, weights: Path, tmp_path: Path
) -> None:
    command = ("forecast", city_folder, "--weights", weights, "--samples", 4)
    out = ("--out", tmp_path / "f.zarr")
    words = [str(word) for word in (*command, *out)]
    meet = {"RANK": "1", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], env=os.environ | meet, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = [path.name for path in (tmp_path / ".f.zarr.parts").iterdir()]
    assert any(name.endswith(".part") for name in left)  # half of it is there
    assert run_as(0, 2, *command, *out).code == 2  # and is not taken for whole
    assert run_as(1, 2, *command, *out).code == run_as(0, 2, *command, *out).code == 0
    assert run(*command, "--out", tmp_path / "one.zarr").code == 0
    assert files(tmp_path / "f.zarr") == files(tmp_path / "one.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.zarr", "one.zarr"]


@pytest.mark.parametrize("gone", ["zarr.json", "asked", "traffic/c"])
def test_members_of_which_something_is_gone_are_waited_for_and_drawn_again(
    run: Run, run_as: RunAs, city_folder: Path, weights: Path, tmp_path: Path, gone: str
) -> None:
    command = ("forecast", city_folder, "--weights", weights, "--samples", 4)
    out = ("--out", tmp_path / "f.zarr")
    assert run_as(1, 2, *command, *out).code == 0
    (piece,) = (tmp_path / ".f.zarr.parts").glob("1-of-2-*.zarr")
    (piece / gone).unlink() if gone == "zarr.json" else shutil.rmtree(piece / gone)
    said = run_as(0, 2, *command, *out)
    assert said.code == 2 and "the part of process 1 did not come" in said.err
    assert run_as(1, 2, *command, *out).code == run_as(0, 2, *command, *out).code == 0
    assert run(*command, "--out", tmp_path / "one.zarr").code == 0
    assert files(tmp_path / "f.zarr") == files(tmp_path / "one.zarr")


def test_members_that_are_no_numbers_are_not_joined(
    run_as: RunAs, city_folder: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = FoMo.forecast

    def broken(*given: object, **more: object) -> Forecast:
        found = draw(*given, **more).dataset  # type: ignore[arg-type]
        return Forecast(found.assign(traffic=found["traffic"] * float("nan")))

    monkeypatch.setattr(FoMo, "forecast", broken)
    command = ("forecast", city_folder, "--weights", weights, "--samples", 4, "--out", tmp_path / "f.zarr")
    assert run_as(1, 2, *command).code == 0
    said = run_as(0, 2, *command)
    assert said.code == 2 and "give no number for 1,280 asked values" in said.err
    assert not (tmp_path / "f.zarr").exists()


def test_members_of_another_question_are_not_joined(
    run_as: RunAs, city_folder: Path, weights: Path, tmp_path: Path
) -> None:
    command = ("forecast", city_folder, "--weights", weights, "--samples", 4, "--out", tmp_path / "f.zarr")
    assert run_as(1, 2, *command, "--seed", 5).code == 0
    said = run_as(0, 2, *command, "--seed", 6)
    assert said.code == 2
    assert "process 1 drew members of something else, which differs in seed" in said.err
    assert not (tmp_path / "f.zarr").exists()


def test_more_processes_than_pairs_are_refused(run_as: RunAs, city_folder: Path, weights: Path, tmp_path: Path) -> None:
    said = run_as(0, 3, "forecast", city_folder, "--weights", weights, "--samples", 4, "--out", tmp_path / "f.zarr")
    assert said.code == 2
    assert "by 2 at most, not by 3: start fewer processes, or ask for more --samples" in said.err


def test_another_city_another_key(weights: Path) -> None:
    city = fomo.synthetic_city("small", 4, 5, days=9, seed=1)
    changed = city.copy(deep=True)
    changed["traffic"].values[3, 2, 1] += 1
    hashes = {parts.city_hash(each) for each in (city, city.copy(deep=True), changed, city.assign_attrs(name="x"))}
    assert len(hashes) == 3


def test_what_is_continued_is_continued_in_groups() -> None:
    assert (members_unit(LONGEST_BLOCK), members_unit(LONGEST_BLOCK + 1)) == (2, 4)
    with pytest.raises(ValueError, match="multiples of 4, not at 2"):
        fomo.load().forecast(fomo.synthetic_city("small", 4, 4, days=9), LONGEST_BLOCK + 1, only=range(2, 4))


def test_one_process_takes_one_gpu() -> None:
    assert Place(5, 8, 1, 4).gpu(4) == "cuda:1"
    with pytest.raises(ProcessError, match="4 processes on a machine with 2 GPU"):
        Place(5, 8, 1, 4).gpu(2)
