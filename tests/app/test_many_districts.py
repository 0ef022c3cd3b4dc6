"""`fomo forecast` of a city of several districts, and of several cities, by one process or by several."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fomo
from fomo.app.service import answering, parts
from fomo.forecast import Forecast
from fomo.forecasters import task_forecaster as forecaster
from fomo.forecasters.drawing import SamplingConfig
from fomo.forecasters.fomo import FoMo, load
from small import Ran, Run

SMALL_DISTRICTS = SamplingConfig(district=(12, 12))
#: In such districts: 2 x 2 of them.
ROWS, COLUMNS = 14, 15


@pytest.fixture(autouse=True)
def small_districts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecaster, "default_sampling", lambda checkpoint: SMALL_DISTRICTS)
    monkeypatch.setattr(parts, "PATIENCE", 0.0)


@pytest.fixture
def large_city(tmp_path: Path) -> Path:
    traffic = fomo.synthetic_city("large", ROWS, COLUMNS, days=4, seed=2)
    return fomo.save_city(traffic, tmp_path / "large.zarr")


def run_as(run: Run, monkeypatch: pytest.MonkeyPatch, rank: int, size: int, *arguments: object) -> Ran:
    """A command as process `rank` of `size`."""
    with monkeypatch.context() as told:
        told.setenv("RANK", str(rank))
        told.setenv("WORLD_SIZE", str(size))
        return run(*arguments)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def whole(weights: Path, city: Path, out: Path, samples: int) -> Path:
    """The forecast of one process that holds all members."""
    return load(weights).forecast(fomo.open_city(city), 6, samples=samples).save(out)


@pytest.mark.parametrize("size", [1, 3])
def test_districts_drawn_apart_give_the_very_files_of_a_forecast_held_whole(
    run: Run, large_city: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    expected = whole(weights, large_city, tmp_path / "whole.zarr", 5)
    monkeypatch.setattr(FoMo, "forecast", None)  # nobody asks for the whole
    held: list[int] = []
    save = answering.save_array
    monkeypatch.setattr(answering, "save_array", lambda values, path: held.append(values.size) or save(values, path))
    out = ("--out", tmp_path / "out.zarr", "--csv", tmp_path / "out.csv")
    command = ("forecast", large_city, "--weights", weights, "--samples", 5, "--horizon", 6, *out)
    for rank in reversed(range(size)):
        said = run_as(run, monkeypatch, rank, size, *command)
        assert said.code == 0, said.err
        assert (f"process {rank} of {size}: " in said.out) == (rank > 0)
    assert files(tmp_path / "out.zarr") == files(expected)
    assert max(held) <= Forecast.open(expected).samples.size * 12 * 12 / (ROWS * COLUMNS)
    assert len(held) >= 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.zarr", "out.csv", "out.zarr", "whole.zarr"]


def test_districts_and_processes_leave_out_the_same_squares_out_of_service(
    run: Run, large_city: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    city, nobody = fomo.open_city(large_city), np.full((ROWS, COLUMNS), np.datetime64("NaT"), "datetime64[ns]")
    ended = nobody.copy()
    ended[:, :9] = city["time"].values[0]  # all of two districts, nearly, and some of the others
    days = {"first_served": (("y", "x"), nobody), "last_served": (("y", "x"), ended)}
    fomo.save_city(city.assign(days), large_city)
    expected = whole(weights, large_city, tmp_path / "whole.zarr", 4)
    command = ("forecast", large_city, "--weights", weights, "--samples", 4, "--horizon", 6)
    for size in (1, 2):
        out = tmp_path / f"of{size}.zarr"
        said = [run_as(run, monkeypatch, rank, size, *command, "--out", out) for rank in reversed(range(size))]
        assert files(out) == files(expected), said[-1].err
        assert f"out of service, left out: {9 * ROWS} squares at all steps\n" in said[-1].out
    found = Forecast.open(expected)
    assert found.asked.values[..., 9:].all() and not found.asked.values[..., :9].any()
    assert np.isnan(found.samples.values[..., :9]).all()


def test_the_table_of_a_forecast_that_is_not_held_is_that_of_one_that_is(
    large_city: Path, weights: Path, tmp_path: Path
) -> None:
    from fomo.app.service.outputs import forecast_frame, write_frame, write_table

    path = whole(weights, large_city, tmp_path / "whole.zarr", 3)
    write_table(Forecast.open(path, held=False), tmp_path / "lazy.csv")
    frame = forecast_frame(Forecast.open(path))
    assert frame.height == 6 * ROWS * COLUMNS
    write_frame(frame, tmp_path / "held.csv")
    assert (tmp_path / "lazy.csv").read_bytes() == (tmp_path / "held.csv").read_bytes()


KILLED = """
import os, signal, sys
from fomo.app.cli import main
from fomo.app.service import answering
from fomo.forecasters import task_forecaster as forecaster
from fomo.forecasters.drawing import SamplingConfig
forecaster.default_sampling = lambda checkpoint: SamplingConfig(district=(12, 12))
save, saved = answering.save_array, []
def some(values, path):
    if len(saved) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    saved.append(save(values, path))
answering.save_array = some
main(sys.argv[1:])
"""


def test_districts_of_a_killed_process_are_drawn_by_the_next_run_and_those_that_are_there_kept(
    run: Run, large_city: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.zarr"
    words = ("forecast", large_city, "--weights", weights, "--samples", 2, "--horizon", 6, "--out", out)
    command = [sys.executable, "-c", KILLED, *map(str, words)]
    meet = {"RANK": "1", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command, env=os.environ | meet, check=False).returncode == -signal.SIGKILL
    assert len(list((tmp_path / ".out.zarr.parts").glob("1-of-2-*.zarr"))) == 1
    first = run_as(run, monkeypatch, 0, 2, *words)
    assert first.code == 2 and "the part of process 1 did not come" in first.err
    drawn: list[Path] = []
    save = answering.save_array
    monkeypatch.setattr(answering, "save_array", lambda values, path: drawn.append(path) or save(values, path))
    assert run_as(run, monkeypatch, 1, 2, *words).code == run_as(run, monkeypatch, 0, 2, *words).code == 0
    assert len(drawn) == 1  # of four districts, two a process
    assert files(out) == files(whole(weights, large_city, tmp_path / "whole.zarr", 2))


KILLED_AT_THE_END = """
import os, signal, sys
from fomo.app.cli import main
from fomo.app.service.parts import Parts
from fomo.forecasters import task_forecaster as forecaster
from fomo.forecasters.drawing import SamplingConfig
forecaster.default_sampling = lambda checkpoint: SamplingConfig(district=(12, 12))
remove, unlink, removed = Parts.remove, os.unlink, []
def some(*given, **more):
    if len(removed) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    removed.append(unlink(*given, **more))
def killed(parts):
    os.unlink = some
    remove(parts)
Parts.remove = killed
main(sys.argv[1:])
"""


def test_pieces_that_a_killed_process_has_removed_in_part_are_not_taken_for_whole(
    run: Run, large_city: Path, weights: Path, tmp_path: Path
) -> None:
    """What was gone of them once read as 0, and the same command wrote wrong numbers, or failed for ever."""
    out = tmp_path / "out.zarr"
    words = ("forecast", large_city, "--weights", weights, "--samples", 2, "--horizon", 6, "--out", out)
    command = [sys.executable, "-c", KILLED_AT_THE_END, *map(str, words)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    assert subprocess.run(command, env=env, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / ".out.zarr.parts").exists()
    assert run(*words).code == 0
    assert files(out) == files(whole(weights, large_city, tmp_path / "whole.zarr", 2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.zarr", "out.zarr", "whole.zarr"]


@pytest.mark.parametrize("gone", ["zarr.json", "c"])
def test_a_piece_of_which_something_is_gone_is_drawn_again(
    run: Run, large_city: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    out = tmp_path / "out.zarr"
    words = ("forecast", large_city, "--weights", weights, "--samples", 2, "--horizon", 6, "--out", out)
    with monkeypatch.context() as kept:
        kept.setattr(parts.Parts, "remove", lambda parts: None)
        assert run(*words).code == 0
    piece = next((tmp_path / ".out.zarr.parts").glob("0-of-1-district2-*.zarr"))
    shutil.rmtree(piece / gone) if gone == "c" else (piece / gone).unlink()
    drawn: list[str] = []
    save = answering.save_array
    monkeypatch.setattr(answering, "save_array", lambda values, path: drawn.append(path.name) or save(values, path))
    assert run(*words).code == 0
    assert drawn == [piece.name]
    assert files(out) == files(whole(weights, large_city, tmp_path / "whole.zarr", 2))


def test_asked_values_that_are_no_numbers_are_not_written(
    run: Run, large_city: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = answering.save_array
    monkeypatch.setattr(answering, "save_array", lambda values, path: save(np.full_like(values, np.nan), path))
    out = tmp_path / "out.zarr"
    said = run("forecast", large_city, "--weights", weights, "--samples", 2, "--horizon", 6, "--out", out)
    assert said.code == 2
    assert "give no number for 2,520 asked values: remove that folder and run the same command again" in said.err
    assert not out.exists()


def test_blocks_that_continue_members_share_members_only(weights: Path) -> None:
    model = load(weights)
    assert (model.districts((ROWS, COLUMNS), 48), model.districts((ROWS, COLUMNS), 49)) == (4, 1)


@pytest.fixture
def cities(tmp_path: Path, large_city: Path) -> list[Path]:
    """A large city and two small ones."""
    made = [fomo.synthetic_city(name, 4, 5, days=4, seed=3) for name in ("east", "west")]
    return [large_city, *(fomo.save_city(city, tmp_path / f"{city.attrs['name']}.zarr") for city in made)]


@pytest.mark.parametrize("size", [1, 3])
def test_several_cities_by_several_processes_give_the_files_of_each_alone(
    run: Run, cities: list[Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    folder = tmp_path / "all"
    command = ("forecast", *cities, "--weights", weights, "--samples", 4, "--horizon", 6, "--out-folder", folder)
    for rank in reversed(range(size)):
        said = run_as(run, monkeypatch, rank, size, *command)
        assert said.code == 0, said.err
    for city in cities:
        assert files(folder / city.name) == files(whole(weights, city, tmp_path / "alone" / city.name, 4))
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".zarr") == sorted(p.name for p in cities)
    assert not list(folder.glob(".*.parts"))


def test_the_same_command_draws_only_cities_that_are_not_there_as_they_are_asked(
    run: Run, cities: list[Path], weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "all"
    small, options = cities[1:], ("--weights", weights, "--samples", 2, "--horizon", 6, "--out-folder", folder)
    assert run("forecast", small[0], *options).code == 0
    said = run("forecast", *small, *options)
    assert said.code == 0, said.err
    assert "east: there already" in said.out and "west: 2 members" in said.out
    assert "there already" not in run("forecast", *small, *options, "--seed", 3).out
    seed = {path.name: Forecast.open(path).attrs["seed"] for path in folder.glob("*.zarr")}
    assert set(seed.values()) == {3}
    # A forecast that another command has put there is not taken for this one's.
    assert run("forecast", small[0], *options[:-2], "--out", folder / small[0].name).code == 0
    assert "east: 2 members" in run("forecast", *small, *options, "--seed", 3).out


def test_a_city_that_cannot_be_forecast_does_not_stop_the_others(
    run: Run, cities: list[Path], weights: Path, tmp_path: Path
) -> None:
    silent = fomo.open_city(cities[1])
    traffic = silent["traffic"].values.copy()
    traffic[-60:] = np.nan
    fomo.save_city(silent.assign(traffic=(("time", "y", "x"), traffic)), cities[1])
    folder = tmp_path / "all"
    said = run("forecast", *cities[1:], "--weights", weights, "--samples", 2, "--out-folder", folder)
    assert said.code == 2
    assert "1 of 2 cities could not be forecast" in said.err and "east: " in said.err
    assert [path.name for path in folder.glob("*.zarr")] == ["west.zarr"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "name a folder for the forecasts, --out-folder"),
        (("--out-folder", "all", "--csv", "f.csv"), "one city at a time"),
        (("--out-folder", "all", "--city", "nowhere"), "no city called 'nowhere'"),
    ],
)
def test_what_does_not_go_with_several_cities_is_said(
    run: Run, cities: list[Path], weights: Path, more: tuple[str, ...], message: str
) -> None:
    said = run("forecast", *cities, "--weights", weights, *more)
    assert said.code == 2
    assert message in said.err


def test_two_cities_of_one_name_are_refused(run: Run, cities: list[Path], weights: Path, tmp_path: Path) -> None:
    said = run("forecast", cities[1], cities[1], "--weights", weights, "--out-folder", tmp_path / "all")
    assert said.code == 2 and "both hold a city 'east'" in said.err


def test_no_city_is_no_command(run: Run) -> None:
    said = run("forecast")
    assert said.code == 2 and "name the file of a city" in said.err
