"""Learning rates of the rivals: short trainings with each, judged on a fold that no table of the rivals asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from fomo.app.errors import UsageError
from fomo.app.service.scoreboard.plan import ColumnConfig, ScoreboardRecipe, SearchConfig, cells
from fomo.app.service.scoreboard.run import Progress, run
from fomo.app.service.scoreboard.work import Place
from fomo.evaluation.rows import row
from fomo.evaluation.stored import load_scores
from fomo.files import whole_file
from fomo.forecasters.registry import find_entries

#: The tables of a search.
TABLE = "rival-rates"


@dataclass(frozen=True)
class Trial:
    """One rival trained shortly at one rate: its CRPS over that at the usual rate, geometric mean of the columns."""

    rival: str
    learning_rate: float
    columns: int
    over_usual: float
    best: bool


def search(
    recipe: ScoreboardRecipe,
    place: Place,
    *,
    names: tuple[str, ...] = (),
    processes: int = 2,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Train and score what is not there yet; returns trial -> error of those that failed. Resumes where killed.

    Raises `UsageError` where the recipe has no [search], or none of `names` is trained here.
    """
    deep = tuple(entry.name for entry in find_entries(names) if entry.kind == "deep")
    if not deep:
        raise UsageError(f"nothing to search for: {', '.join(names)} are not trained here")
    failed: dict[str, str] = {}
    for rate in _settings(recipe).learning_rates:
        errors = run(_at(recipe, rate), _place(place, rate), names=deep, processes=processes, progress=progress)
        failed |= {f"{job} at {rate:g}": error for job, error in errors.items()}
    return failed


def trials(recipe: ScoreboardRecipe, place: Place) -> list[Trial]:
    """What the search has found so far: rivals of which every rate is scored on the same columns."""
    found = []
    for entry in find_entries(()):
        if entry.kind != "deep":
            continue
        rates = _settings(recipe).learning_rates
        errors = {rate: _crps(recipe, place, entry.name, rate) for rate in rates}
        usual = errors[recipe.fit.learning_rate]
        if not usual or any(set(own) != set(usual) for own in errors.values()):
            continue
        over = {
            rate: math.exp(sum(math.log(own[key] / usual[key]) for key in usual) / len(usual))
            for rate, own in errors.items()
        }
        best = min(over, key=over.__getitem__)
        found += [Trial(entry.name, rate, len(usual), over[rate], rate == best) for rate in rates]
    return found


def write_trials(found: Sequence[Trial], folder: Path) -> list[Path]:
    """`rival-rates.csv` and `.md`; returns the files. What they say of rivals that are not in `found` stays."""
    table, text = folder / f"{TABLE}.csv", folder / f"{TABLE}.md"
    if table.exists():
        before = [Trial(**line) for line in pl.read_csv(table).iter_rows(named=True)]
        found = [*(trial for trial in before if trial.rival not in {one.rival for one in found}), *found]
    with whole_file(table) as fresh:
        pl.DataFrame([asdict(trial) for trial in found]).write_csv(fresh, float_precision=6)
    rates = list(dict.fromkeys(trial.learning_rate for trial in found))
    lines = ["| rival | " + " | ".join(f"{rate:g}" for rate in rates) + " |", "|---" * (len(rates) + 1) + "|"]
    for rival in dict.fromkeys(trial.rival for trial in found):
        own = [f"**{t.over_usual:.3f}**" if t.best else f"{t.over_usual:.3f}" for t in found if t.rival == rival]
        lines.append(f"| {rival} | " + " | ".join(own) + " |")
    with whole_file(text) as fresh:
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [table, text]


def _settings(recipe: ScoreboardRecipe) -> SearchConfig:
    if recipe.search is None:
        raise UsageError("the recipe has no [search]: which set, fold and learning rates to try")
    return recipe.search


def _at(recipe: ScoreboardRecipe, rate: float) -> ScoreboardRecipe:
    """The recipe of one rate's trials: short trainings, and the first column's questions of the judging fold."""
    chosen, first = _settings(recipe), recipe.columns[0]
    column = ColumnConfig(
        protocol="search", split="fold", set=chosen.set, cities=first.cities, tasks=first.tasks,
        contexts=first.contexts, folds=(chosen.fold,), every=chosen.every,
    )  # fmt: skip
    fit = recipe.fit.model_copy(update={"learning_rate": rate, "minutes": chosen.minutes})
    update = {"fit": fit, "rates": {}, "every": {}, "columns": (column,), "samples": chosen.samples}
    return recipe.model_copy(update=update)


def _place(place: Place, rate: float) -> Place:
    return Place(place.data, place.out / "search" / f"{rate:g}")


def _crps(recipe: ScoreboardRecipe, place: Place, name: str, rate: float) -> dict[tuple[str, str, str], float]:
    """CRPS by city, task and context, as far as scored."""
    there: dict[tuple[str, str, str], float] = {}
    for cell in cells(_at(recipe, rate), (name,)):
        path = _place(place, rate).scores(cell)
        value = row(load_scores(path)[0]).crps if path.exists() else None
        if value is not None:
            there[cell.city, cell.task, cell.context] = value
    return there


__all__ = ["TABLE", "Trial", "search", "trials", "write_trials"]
