"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

import fomo
from fomo.app.cli import main
from small import RECIPE, Ran, Run, save_random_weights, write_regions


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("data", "list")` as a person would type it."""

    def command(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return command


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights of the smallest network."""
    return save_random_weights(tmp_path_factory.mktemp("weights") / "random")


@pytest.fixture(scope="session")
def context_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, reading users, POI and residents."""
    return save_random_weights(tmp_path_factory.mktemp("weights") / "reader", context=True)


@pytest.fixture(scope="session")
def city_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A city of 4 x 5 cells and nine days, saved."""
    city = fomo.synthetic_city("small", 4, 5, days=9, seed=1)
    return fomo.save_city(city, tmp_path_factory.mktemp("city") / "small.zarr")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `regions` (folds 0 to 2, two weeks of two of them) and `town` (no folds)."""
    folder = tmp_path_factory.mktemp("data")
    write_regions(folder / "regions.npz", folds=[0, 1, 0, 2])
    fomo.save_city(fomo.synthetic_city("town", 4, 4, days=12, seed=9), folder / "town.zarr")
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of twelve steps."""
    path = tmp_path / "small.toml"
    path.write_text(RECIPE.replace("STEPS", "12"), encoding="utf-8")
    return path
