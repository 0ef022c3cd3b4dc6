"""What a scoreboard is made of: its recipe, and the pieces of work that follow from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from fomo.config import Config, ConfigError, load_toml, parse
from fomo.forecasters.registry import Entry, Kind, TaskName, find_entries
from fomo.forecasters.rivals.training import FitConfig
from fomo.training.recipe import DataConfig, Recipe, load_recipe
from fomo.windows.split import Area

Mode = Literal["none", "full"]
#: Arguments of a rival's network: its width, its layers.
Size = dict[str, PositiveInt]


class SetConfig(Config):
    """A training part: how the data of the recipes are changed for it. All forecasters of its columns learn from it."""

    held_back_folds: tuple[int, ...] = (0,)
    first_week_only: bool = False
    weights: str = ""  # FoMo's weights of this set where they are there already; else they are trained
    logs: tuple[str, ...] = ()  # the logs of their training, for the time that it took
    #: Rivals that are trained for so many steps, not for the minutes of `fit`: on a machine of another speed than the
    #: one that trained the others, what the minutes gave there.
    steps: dict[str, PositiveInt] = Field(default_factory=dict)


class ColumnConfig(Config):
    """Cities that are asked alike."""

    protocol: str  # its name in the tables
    split: Literal["fold", "last_fifth", "next_week", "area"]
    set: str  # the training part; {fold} stands for the fold
    cities: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[TaskName, ...] = ("short", "long")
    contexts: tuple[Mode, ...] = ("none", "full")  # `none` alone where a city has neither users nor POI
    folds: tuple[int, ...] = (0,)
    past_week: bool | None = None
    area: Area | None = None
    every: int = Field(1, ge=1)  # only each so manieth window

    def set_of(self, fold: int) -> str:
        """The training part of a fold."""
        return self.set.replace("{fold}", str(fold))


class SearchConfig(Config):
    """Short trainings of every rival, judged on a fold that their set and the first fold's set have nothing of."""

    set: str
    fold: int  # held back by the set, and not the fold that rivals are tested on
    minutes: float = Field(1.5, gt=0)
    learning_rates: tuple[float, ...] = Field((5e-4, 1e-3, 2e-3), min_length=2)
    network_minutes: float = Field(12.0, gt=0)  # of trials of networks: in short ones small networks look better
    networks: dict[str, tuple[Size, ...]] = Field(default_factory=dict)  # by rival, each beside the usual one
    every: int = Field(35, ge=1)
    samples: int = Field(12, ge=2)


class ScoreboardRecipe(Config):
    """A scoreboard; strict TOML."""

    traffic: str  # FoMo's two recipes
    tuned: str
    sets: dict[str, SetConfig] = Field(min_length=1)
    columns: tuple[ColumnConfig, ...] = Field(min_length=1)
    every_fold: tuple[Kind, ...] = ("fomo", "rule", "statistical")  # the others answer the first fold of a column
    every: dict[str, PositiveInt] = Field(default_factory=dict)  # who answers each so manieth window: they are slow
    samples: int = Field(24, ge=1)
    seed: int = Field(0, ge=0)
    fit: FitConfig = FitConfig()
    rates: dict[str, PositiveFloat] = Field(default_factory=dict)  # learning rates of rivals, where not that of `fit`
    networks: dict[str, Size] = Field(default_factory=dict)  # sizes of rivals' networks, where not the usual ones
    search: SearchConfig | None = None

    @model_validator(mode="after")
    def _names_are_known(self) -> ScoreboardRecipe:
        named: dict[str, Iterable[str]] = {"every": self.every, "rates": self.rates, "networks": self.networks}
        named |= {} if self.search is None else {"search.networks": self.search.networks}
        named |= {f"sets.{name}.steps": one.steps for name, one in self.sets.items()}
        for section, names in named.items():
            for name in names:
                (entry,) = find_entries((name,))
                if name != entry.name:
                    raise ValueError(f"{section}: write {entry.name!r}, not {name!r}")
                if section != "every" and entry.kind != "deep":
                    raise ValueError(f"{section}: {name} is not trained here")
        if self.search is not None:
            held_back = self.sets[self.search.set].held_back_folds if self.search.set in self.sets else ()
            if self.search.fold not in held_back:
                raise ValueError(f"search: the set {self.search.set!r} does not hold back fold {self.search.fold}")
            if self.fit.learning_rate not in self.search.learning_rates:
                raise ValueError(f"search: the rate of [fit], {self.fit.learning_rate:g}, is not among its rates")
        for column in self.columns:
            if (column.area is not None) != (column.split == "area"):
                raise ValueError(f"{column.protocol}: the split 'area' names its area, and no other split does")
            for fold in column.folds:
                if column.set_of(fold) not in self.sets:
                    raise ValueError(f"{column.protocol}: there is no set {column.set_of(fold)!r} under [sets]")
        return self

    def data(self, name: str) -> DataConfig:
        """The data of a set, those of the tuned recipe with its changes."""
        chosen = self.sets[name]
        changes = {"held_back_folds": chosen.held_back_folds, "first_week_only": chosen.first_week_only}
        raw = {**self._recipe(self.tuned).data.model_dump(), **changes}
        return parse(raw, DataConfig, f"the data of the set {name!r}")

    def fit_of(self, rival: str, name: str) -> FitConfig:
        """How a rival is trained on a set."""
        rate = self.rates.get(rival, self.fit.learning_rate)
        steps = self.sets[name].steps.get(rival, self.fit.steps)
        return self.fit.model_copy(update={"learning_rate": rate, "steps": steps})

    def fomo(self, name: str, start: Path) -> tuple[Recipe, Recipe]:
        """FoMo's two trainings on a set: traffic alone, then from `start` with its context."""
        data = self.data(name)
        alone, tuned = self._recipe(self.traffic), self._recipe(self.tuned)
        if tuned.finetune is None:
            raise ConfigError(f"{self.tuned} has no [finetune]")
        only = {"held_back_folds": data.held_back_folds, "first_week_only": data.first_week_only}
        return (
            alone.model_copy(update={"name": f"traffic-{name}", "data": alone.data.model_copy(update=only)}),
            tuned.model_copy(
                update={
                    "name": f"fomo-tiny-{name}",
                    "data": tuned.data.model_copy(update=only),
                    "finetune": tuned.finetune.model_copy(update={"start": str(start)}),
                }
            ),
        )

    def base(self, name: str) -> Recipe:
        """The tuned recipe on the data of a set: what the rivals' windows are drawn from."""
        return self._recipe(self.tuned).model_copy(update={"data": self.data(name)})

    @staticmethod
    def _recipe(path: str) -> Recipe:
        return load_recipe(path)


@dataclass(frozen=True)
class Cell:
    """One forecaster's answer to one column of the table, in one fold and context."""

    entry: Entry
    column: ColumnConfig
    city: str
    task: TaskName
    context: Mode
    fold: int
    every: int

    @property
    def set(self) -> str:
        """The training part."""
        return self.column.set_of(self.fold)

    @property
    def file(self) -> str:
        """Where its scores lie, below the scoreboard's folder."""
        name = f"{self.column.protocol}-{self.city}-{self.task}-{self.context}-{self.fold}"
        return f"scores/{slug(self.entry.name)}/{slug(name)}.npz"

    def cannot(self) -> str:
        """Why there is no answer; empty where there is one."""
        past_week = self.column.split != "fold" if self.column.past_week is None else self.column.past_week
        return self.entry.cannot(self.task, self.context, past_week and self.task != "generate")


@dataclass(frozen=True)
class Job:
    """All answers of one forecaster that was trained on one set."""

    entry: Entry
    set: str
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """For people and for files."""
        return f"{self.entry.name} on {self.set}"


def load_scoreboard(path: Path) -> ScoreboardRecipe:
    """The recipe of a scoreboard. Raises `ConfigError`."""
    return load_toml(path, ScoreboardRecipe)


def cells(recipe: ScoreboardRecipe, names: tuple[str, ...] = ()) -> list[Cell]:
    """Every cell of the table, those that cannot be answered too. Raises `UnknownForecaster`."""
    return [
        Cell(entry, column, city, task, context, fold, column.every * recipe.every.get(entry.name, 1))
        for column in recipe.columns
        for task in column.tasks
        for context in column.contexts
        for city in column.cities
        for entry in find_entries(names)
        for fold in (column.folds if entry.kind in recipe.every_fold else column.folds[:1])
    ]


def jobs(found: list[Cell]) -> list[Job]:
    """The work behind cells, trained forecasters first: they take longest."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in found:
        if not cell.cannot():
            groups.setdefault((cell.entry.name, cell.set), []).append(cell)
    made = [Job(group[0].entry, name, tuple(group)) for (_, name), group in groups.items()]
    order = ("deep", "fomo", "foundation", "statistical", "rule")
    return sorted(made, key=lambda job: order.index(job.entry.kind))


def in_words(size: Size) -> str:
    """Arguments of a network as a table has them."""
    return ", ".join(f"{name} {value}" for name, value in size.items())


def slug(text: str) -> str:
    """A name as part of a path."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in text.lower())


__all__ = [
    "Cell",
    "ColumnConfig",
    "Job",
    "ScoreboardRecipe",
    "SearchConfig",
    "SetConfig",
    "cells",
    "in_words",
    "jobs",
    "load_scoreboard",
    "slug",
]
