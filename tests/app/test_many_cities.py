"""Faults among many cities: each is named, and stops no other city, in no process."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fomo
from fomo.app.service import forecasting_cities as many
from fomo.app.service import parts
from fomo.app.service.forecasting import ForecastOptions
from fomo.city import CityError
from fomo.processes import Place
from small import Run

NAMES = ("east", "north", "west")


@pytest.fixture
def cities(tmp_path: Path) -> list[Path]:
    """Three small cities."""
    made = [fomo.synthetic_city(name, 4, 5, days=4, seed=3) for name in NAMES]
    return [fomo.save_city(city, tmp_path / f"{city.attrs['name']}.zarr") for city in made]


def silence(city: Path) -> None:
    """Nothing is recorded at its end: it cannot be forecast."""
    found = fomo.open_city(city)
    traffic = found["traffic"].values.copy()
    traffic[-60:] = np.nan
    fomo.save_city(found.assign(traffic=(("time", "y", "x"), traffic)), city)


def written(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.zarr"))


class Processes:
    """Processes that share the cities, in this one."""

    def __init__(self, files: list[Path], weights: Path, folder: Path) -> None:
        self.files, self.weights, self.folder = files, weights, folder

    def run(self, rank: int, size: int) -> str:
        """What process `rank` of `size` says of faults."""
        try:
            for _ in many.forecast_cities(
                self.files,
                None,
                self.folder,
                options=ForecastOptions(horizon=6, samples=2),
                weights=str(self.weights),
                device="cpu",
                place=Place(rank, size),
                hear=lambda text: None,
            ):
                pass
        except CityError as error:
            return str(error)
        return ""


@pytest.fixture
def processes(cities: list[Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    """Three of them get a city each."""
    monkeypatch.setattr(many, "LAST_WORDS", 0.0)
    return Processes(cities, weights, tmp_path / "all")


def test_a_process_with_a_fault_waits_until_the_others_have_written_theirs(
    cities: list[Path], processes: Processes
) -> None:
    """`torchrun` ends all processes once one has failed: their cities were lost, and said to be written."""
    silence(cities[0])
    with ThreadPoolExecutor(1) as beside:
        first = beside.submit(processes.run, 0, 3)
        assert processes.run(1, 3) == ""
        time.sleep(0.5)
        assert not first.done()
        assert processes.run(2, 3) == ""
        said = first.result(timeout=60)
    assert said.startswith("1 of 3 cities could not be forecast: east: the last 58 steps of 'east' hold no")
    assert said.endswith("; the others are written")
    assert written(processes.folder) == ["north", "west"]


def test_processes_that_all_have_faults_do_not_wait_for_each_other(cities: list[Path], processes: Processes) -> None:
    silence(cities[0])
    silence(cities[2])
    with ThreadPoolExecutor(2) as beside:
        faulty = [beside.submit(processes.run, rank, 3) for rank in (0, 2)]
        assert processes.run(1, 3) == ""
        said = [each.result(timeout=60) for each in faulty]
    for each in said:
        assert each.startswith("2 of 3 cities could not be forecast: ") and each.endswith("; the others are written")
        assert "east: " in each and "west: " in each
    assert written(processes.folder) == ["north"]


def test_a_fault_is_forgotten_once_the_city_can_be_forecast(cities: list[Path], processes: Processes) -> None:
    good = fomo.open_city(cities[0])
    silence(cities[0])
    assert "east" in processes.run(0, 1)
    assert (processes.folder / ".east.zarr.fault.json").exists()
    fomo.save_city(good, cities[0])
    assert processes.run(0, 1) == ""
    assert written(processes.folder) == sorted(NAMES)
    assert not (processes.folder / ".east.zarr.fault.json").exists()


def test_of_a_process_that_does_not_come_nothing_is_claimed(
    cities: list[Path], processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PATIENCE", 0.0)
    silence(cities[0])
    assert processes.run(1, 3) == ""
    said = processes.run(0, 3)
    assert "; of west nothing came from the other processes for 0 s: run the same command again; " in said
    assert said.endswith("; the others are written") and written(processes.folder) == ["north"]


def test_pieces_that_come_are_signs_of_life(
    cities: list[Path], processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PATIENCE", 1.0)
    silence(cities[0])
    folder, stop = parts.folder_of(processes.folder / "west.zarr"), threading.Event()

    def work() -> None:
        folder.mkdir(parents=True)
        while not stop.wait(0.2):
            (folder / f"{time.monotonic()}").touch()

    with ThreadPoolExecutor(2) as beside:
        working = beside.submit(work)
        first = beside.submit(processes.run, 0, 3)
        assert processes.run(1, 3) == ""
        time.sleep(2.5)
        assert not first.done()
        stop.set()
        working.result()
        assert "of west nothing came" in first.result(timeout=60)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_file_that_cannot_be_read_is_a_fault_of_the_first_process_alone(
    cities: list[Path], processes: Processes, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PATIENCE", 0.0)
    (cities[1] / "zarr.json").write_text("{", encoding="utf-8")
    said = processes.run(rank, 2)
    assert written(processes.folder) == [("east", "west")[rank]]
    if rank == 1:
        assert said == ""
    else:
        assert said.startswith(f"1 of 3 cities could not be forecast: {cities[1]} is a damaged city")
        assert "of west nothing came" in said


def test_a_damaged_file_among_several_is_named_at_the_end(
    run: Run, cities: list[Path], weights: Path, tmp_path: Path
) -> None:
    (cities[0] / "zarr.json").write_text("{", encoding="utf-8")
    folder = tmp_path / "all"
    words = ("--weights", weights, "--samples", 2, "--horizon", 6, "--out-folder", folder)
    said = run("forecast", *cities, tmp_path / "no.zarr", *words)
    assert said.code == 2
    assert "fomo: 2 of 4 cities could not be forecast: " in said.err and said.err.endswith("; the others are written\n")
    assert f"{cities[0]} is a damaged city" in said.err and f"there is no file {tmp_path / 'no.zarr'}" in said.err
    assert written(folder) == ["north", "west"]
    said = run("forecast", cities[0], *words)
    assert said.code == 2 and said.err.count("\n") == 1 and "the others" not in said.err


def test_how_far_the_work_is_stands_on_stderr(
    run: Run, cities: list[Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--weights", weights, "--samples", 2, "--horizon", 6, "--out-folder", tmp_path / "all")
    said = run("forecast", *cities[:2], *words)
    assert said.err.splitlines() == ["city 1 of 2: east", "city 2 of 2: north"]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = run("forecast", cities[0], cities[2], *words)
    assert said.err.splitlines() == ["process 1 of 2: city 1 of its 1: west"]


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00\x00", '{"key": 3}'])
def test_a_damaged_record_of_what_was_asked_is_none(
    run: Run, cities: list[Path], weights: Path, tmp_path: Path, text: str
) -> None:
    folder = tmp_path / "all"
    words = ("forecast", cities[0], "--weights", weights, "--samples", 2, "--horizon", 6, "--out-folder", folder)
    assert run(*words).code == 0
    record = folder / ".east.zarr.asked.json"
    before = record.read_bytes()
    record.write_text(text, encoding="utf-8")
    said = run(*words)
    assert said.code == 0, said.err
    assert "east: 2 members" in said.out
    assert record.read_bytes()[:30] == before[:30]  # the same question, written at another time
    record.write_bytes(b"\xff\xfe\x80")
    assert "east: 2 members" in run(*words).out
    assert "there already" in run(*words).out
