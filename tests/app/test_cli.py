"""The command line as a whole: help, speed, exit codes, errors of one line."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import fomo
from fomo.app import cli
from fomo.app.commands.data import List
from fomo.app.errors import FOR_THE_USER, is_for_the_user, one_line
from fomo.model.checkpoint import DESCRIPTION, FORMAT_VERSION, WEIGHTS, CheckpointError
from small import Run, save_random_weights

VERBS = (
    *("demo", "data", "city", "train", "finetune", "forecast", "generate", "fill", "verify", "plan"),
    *("evaluate", "scoreboard", "export-onnx"),
)


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_help_is_a_table_of_contents_with_one_line_a_verb(run: Run) -> None:
    said = run("--help")
    lines = [line for line in said.out.splitlines() if "•" in line]
    assert said.code == 0
    assert [line.split("•")[1].split()[0] for line in lines] == list(VERBS)


def test_no_arguments_give_the_table_of_contents(run: Run) -> None:
    assert run().out == run("--help").out


@pytest.mark.parametrize(
    "verb", [*((verb,) for verb in VERBS), ("data", "list"), ("data", "inspect"), ("data", "import")]
)
def test_every_verb_has_help(run: Run, verb: tuple[str, ...]) -> None:
    said = run(*verb, "--help")
    assert said.code == 0
    assert f"fomo {' '.join(verb)}" in said.out


def test_help_takes_less_than_half_a_second_of_computing_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, time; from fomo.app.cli import main; main(['--help']);"
        "heavy = {'numpy', 'torch', 'xarray', 'polars', 'matplotlib', 'rich.progress'} & set(sys.modules);"
        "sys.exit(f'{heavy} {time.process_time()}' if heavy or time.process_time() > 0.5 else 0)"
    )
    found = python(code)
    assert found.returncode == 0, found.stderr


def test_import_fomo_imports_nothing_heavy() -> None:
    found = python("import sys, fomo; sys.exit(str({'numpy', 'torch', 'xarray', 'polars'} & set(sys.modules) or 0))")
    assert found.stderr.strip() in ("", "0"), found.stderr


def test_version(run: Run) -> None:
    assert run("--version").out == f"fomo {fomo.__version__}\n"


def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "fomo", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"fomo {fomo.__version__}\n"
    done = subprocess.run([sys.executable, "-m", "fomo", "forecasts"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_misspelt_option_is_explained_and_exits_2(run: Run) -> None:
    said = run("forecast", "city.zarr", "--horizn", "3")
    assert said.code == 2
    assert "--horizon" in said.err + said.out


def test_errors_for_the_user_are_told_apart_by_names_that_exist() -> None:
    for name in FOR_THE_USER:
        module, kind = name.rsplit(".", 1)
        error = getattr(__import__(module, fromlist=[kind]), kind)
        assert issubclass(error, Exception), name
        assert f"{error.__module__}.{error.__qualname__}" == name  # and not one that is there by another name
    assert is_for_the_user(CheckpointError("x"))
    assert is_for_the_user(PermissionError(13, "no", "f"))
    assert not is_for_the_user(ValueError("x"))


def test_a_full_disk_names_the_file_and_the_remedy() -> None:
    assert one_line(OSError(28, "No space left on device", "runs/a/metrics.jsonl")) == (
        "No space left on device: runs/a/metrics.jsonl; make room and run the same command again"
    )


class Test_wrong_input_is_one_line_and_exit_code_2:
    def check(self, run: Run, *arguments: object, says: str) -> None:
        said = run(*arguments)
        assert said.code == 2, said
        assert said.out == ""
        assert said.err.startswith("fomo: ") and said.err.count("\n") == 1, said.err
        assert says in said.err

    def test_no_data_folder(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FOMO_DATA", raising=False)
        self.check(run, "data", "list", says="pass --data DIR or set the environment variable FOMO_DATA")

    def test_a_data_folder_that_is_not_there(self, run: Run) -> None:
        self.check(run, "evaluate", "--data", "no-where", "--city", "x", says="there is no folder no-where")

    def test_a_family_that_is_not_there(self, run: Run, data: Path) -> None:
        self.check(run, "data", "inspect", "atlantis", "--data", data, says="there are: regions, town")

    def test_a_region_that_is_not_there(self, run: Run, data: Path, weights: Path) -> None:
        self.check(run, "evaluate", "--data", data, "--city", "regions/9", "--weights", weights, says="regions/03")

    def test_a_region_of_another_fold(self, run: Run, data: Path, weights: Path) -> None:
        asked = ("evaluate", "--data", data, "--city", "regions/01", "--weights", weights)
        self.check(run, *asked, says="add --fold 1")

    def test_a_fold_that_is_not_there(self, run: Run, data: Path, weights: Path) -> None:
        asked = ("evaluate", "--data", data, "--city", "regions", "--fold", 7, "--weights", weights)
        self.check(run, *asked, says="no region of fold 7")

    def test_weights_that_are_not_there(self, run: Run, city_folder: Path, tmp_path: Path) -> None:
        asked = ("forecast", city_folder, "--weights", "fomo-huge", "--out", tmp_path / "f.zarr")
        self.check(run, *asked, says="fomo-huge is neither a folder nor shipped weights")

    def test_truncated_weights(self, run: Run, city_folder: Path, tmp_path: Path) -> None:
        folder = save_random_weights(tmp_path / "cut")
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
        self.check(run, "forecast", city_folder, "--weights", folder, "--out", tmp_path / "f.zarr", says="truncated")

    def test_weights_of_another_version(self, run: Run, city_folder: Path, tmp_path: Path) -> None:
        folder = save_random_weights(tmp_path / "old")
        text = (folder / DESCRIPTION).read_text(encoding="utf-8")
        newer = text.replace(f'"format_version": {FORMAT_VERSION}', '"format_version": 99')
        (folder / DESCRIPTION).write_text(newer, encoding="utf-8")
        self.check(run, "forecast", city_folder, "--weights", folder, "--out", tmp_path / "f.zarr", says="version 99")

    def test_a_city_that_is_not_there(self, run: Run) -> None:
        self.check(run, "forecast", "no.zarr", says="there is no file no.zarr")

    def test_several_cities_in_one_file(self, run: Run, data: Path, tmp_path: Path) -> None:
        asked = ("forecast", data / "regions.npz", "--out", tmp_path / "f.zarr")
        self.check(run, *asked, says="choose one with --city, regions/00, regions/01")

    def test_a_horizon_of_nothing(self, run: Run, city_folder: Path, weights: Path, tmp_path: Path) -> None:
        asked = ("forecast", city_folder, "--weights", weights, "--horizon", 0, "--out", tmp_path / "f.zarr")
        self.check(run, *asked, says="the horizon is 0 steps")

    def test_no_members(self, run: Run, city_folder: Path, weights: Path, tmp_path: Path) -> None:
        asked = ("forecast", city_folder, "--weights", weights, "--samples", 0, "--out", tmp_path / "f.zarr")
        self.check(run, *asked, says="one member at least")

    def test_a_history_without_a_value(self, run: Run, weights: Path, tmp_path: Path) -> None:
        city = fomo.mock_city(steps=120)
        city["traffic"][-60:] = np.nan
        saved = fomo.save_city(city, tmp_path / "silent.zarr")
        asked = ("forecast", saved, "--weights", weights, "--out", tmp_path / "f.zarr")
        self.check(run, *asked, says="hold no recorded traffic")

    def test_an_output_of_another_kind(self, run: Run, city_folder: Path, tmp_path: Path) -> None:
        asked = ("forecast", city_folder, "--csv", "table.xlsx", "--out", tmp_path / "f.zarr")
        self.check(run, *asked, says="must end in .csv or .parquet")

    def test_an_output_that_would_delete_the_city(self, run: Run, city_folder: Path, weights: Path) -> None:
        self.check(run, "forecast", city_folder, "--weights", weights, "--out", city_folder, says="it would be lost")
        assert fomo.open_city(city_folder).sizes["time"] == 9 * 24

    def test_an_output_folder_that_holds_something_else(self, run: Run, city_folder: Path, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
        self.check(run, "forecast", city_folder, "--out", tmp_path, says="it would be lost")

    def test_an_area_off_the_grid(self, run: Run, city_folder: Path, tmp_path: Path) -> None:
        out = ("--out", tmp_path / "g.zarr")
        self.check(run, "generate", city_folder, "--area", "2:9,0:2", *out, says="grid of 4 x 5 cells")
        self.check(run, "generate", city_folder, "--area", "2,3", *out, says="y0:y1,x0:x1")
        bare = fomo.open_city(city_folder).drop_vars(["users", "poi", "residents"])
        saved = fomo.save_city(bare, tmp_path / "bare.zarr")
        self.check(run, "generate", saved, "--area", "0:4,0:5", *out, says="leave some cells")

    def test_nothing_to_fill(self, run: Run, city_folder: Path, weights: Path, tmp_path: Path) -> None:
        asked = ("fill", city_folder, "--weights", weights, "--out", tmp_path / "f.zarr")
        self.check(run, *asked, says="nothing is missing")

    def test_a_table_with_negative_traffic(self, run: Run, tmp_path: Path) -> None:
        table = tmp_path / "t.csv"
        table.write_text("cell,time,traffic,row,col\na,2024-01-01T00:00,-1,0,0\n", encoding="utf-8")
        self.check(run, "data", "import", table, "--out", tmp_path / "c.zarr", says="traffic of cell 'a'")

    def test_an_import_that_is_no_zarr(self, run: Run, tmp_path: Path) -> None:
        self.check(run, "data", "import", "t.csv", "--out", tmp_path / "c", says="ends in .zarr")

    def test_columns_without_a_name(self, run: Run, tmp_path: Path) -> None:
        asked = ("data", "import", "t.csv", "--out", tmp_path / "c.zarr", "--columns", "dl_bytes")
        self.check(run, *asked, says="write name=column")

    def test_a_demo_of_data_without_a_city(self, run: Run, data: Path) -> None:
        self.check(run, "demo", "--data", data, says="needs --city NAME")

    def test_past_week_and_no_past_week(self, run: Run, data: Path) -> None:
        asked = ("evaluate", "--data", data, "--city", "town", "--past-week", "--no-past-week")
        self.check(run, *asked, says="contradict each other")

    def test_a_gpu_that_is_not_there(
        self, run: Run, city_folder: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        asked = ("forecast", city_folder, "--weights", weights, "--device", "cuda", "--out", tmp_path / "f.zarr")
        self.check(run, *asked, says="sees no CUDA GPU")


def test_debug_shows_the_traceback(run: Run) -> None:
    with pytest.raises(fomo.CityError):
        run("forecast", "no.zarr", "--debug")


def test_a_fault_of_fomo_is_not_dressed_up_as_one_of_the_user(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: List) -> int:
        raise IndexError("a fault in FoMo")

    monkeypatch.setattr(List, "run", broken)
    with pytest.raises(IndexError):
        run("data", "list")


def test_ctrl_c_is_one_line_and_exit_code_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: List) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(List, "run", interrupted)
    said = run("data", "list")
    assert said.code == 130
    assert said.err.count("\n") == 1 and "stopped" in said.err


def test_a_warning_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def warned(self: List) -> int:
        warnings.warn("this and\nthat", stacklevel=1)
        return 0

    monkeypatch.setattr(List, "run", warned)
    assert run("data", "list").err == "fomo: note: this and that\n"


def test_a_reader_that_has_seen_enough_is_no_error(data: Path) -> None:
    """`fomo data list | head -1` once ended in 'Broken pipe'."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "fomo.app.cli", "data", "list", "--data", str(data)]
    found = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert found.stderr == ""
    assert found.returncode != cli.USER_ERROR
