"""Settings of the rivals: short trainings with each, judged on a fold that no table of the rivals asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from fomo.app.errors import UsageError
from fomo.app.service.scoreboard.plan import ColumnConfig, ScoreboardRecipe, SearchConfig, cells, in_words
from fomo.app.service.scoreboard.run import Progress, check_networks, run
from fomo.app.service.scoreboard.work import Place
from fomo.evaluation.rows import row
from fomo.evaluation.stored import load_scores
from fomo.evaluation.tables import data_frame
from fomo.files import whole_file
from fomo.forecasters.registry import find_entries

#: What is varied: the learning rate, or the size of the network.
Varied = Literal["rates", "networks"]
#: The tables of a search, and the column of each that holds the setting.
TABLES: dict[Varied, tuple[str, str]] = {
    "rates": ("rival-rates", "learning_rate"),
    "networks": ("rival-networks", "network"),
}
#: The setting of a rival whose network is as it usually is.
USUAL = "usual"


@dataclass(frozen=True)
class Trial:
    """One rival trained shortly with one setting: its CRPS over the usual one's, geometric mean of the columns."""

    rival: str
    setting: str
    columns: int
    over_usual: float
    best: bool


@dataclass(frozen=True)
class _Round:
    """Trainings that are made together: the recipe, and each rival's setting in words."""

    recipe: ScoreboardRecipe
    settings: dict[str, str]


def search(
    recipe: ScoreboardRecipe,
    place: Place,
    varied: Varied,
    *,
    names: tuple[str, ...] = (),
    processes: int = 2,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Train and score what is not there yet; returns trial -> error of those that failed. Resumes where killed.

    Raises `UsageError` where the recipe's [search] has nothing for any of `names`, `ConfigError` for a network that
    cannot be.
    """
    failed: dict[str, str] = {}
    rounds = _rounds(recipe, varied)
    known = {rival for one in rounds.values() for rival in one.settings}
    asked = tuple(entry.name for entry in find_entries(names) if entry.name in known)
    if not asked:
        raise UsageError(
            f"nothing to search for: {', '.join(names)} are not trained here, or [search] has none for them"
        )
    todo = {label: (one.recipe, tuple(name for name in asked if name in one.settings)) for label, one in rounds.items()}
    for one, these in todo.values():
        check_networks(one, these)
    for label, (one, these) in todo.items():
        if these:
            errors = run(one, _place(place, label), names=these, processes=processes, progress=progress)
            failed |= {f"{job}, {label}": error for job, error in errors.items()}
    return failed


def trials(recipe: ScoreboardRecipe, place: Place, varied: Varied) -> list[Trial]:
    """What the search has found so far: rivals of which every setting is scored on the same columns."""
    rounds, found = _rounds(recipe, varied), []
    usual = f"{recipe.fit.learning_rate:g}" if varied == "rates" else USUAL
    for entry in find_entries(()):
        own = {
            one.settings[entry.name]: _crps(one.recipe, _place(place, label), entry.name)
            for label, one in rounds.items()
            if entry.name in one.settings
        }
        base = own.get(usual)
        if not base or any(set(errors) != set(base) for errors in own.values()):
            continue
        over = {
            setting: math.exp(sum(math.log(errors[key] / base[key]) for key in base) / len(base))
            for setting, errors in own.items()
        }
        best = min(over, key=over.__getitem__)
        found += [Trial(entry.name, setting, len(base), over[setting], setting == best) for setting in own]
    return found


def write_trials(found: Sequence[Trial], folder: Path, varied: Varied) -> list[Path]:
    """The table as .csv and .md; returns the files. What they say of rivals that are not in `found` stays."""
    name, heading = TABLES[varied]
    table, text = folder / f"{name}.csv", folder / f"{name}.md"
    if table.exists():
        before = [_read(line, heading) for line in pl.read_csv(table).iter_rows(named=True)]
        found = [*(trial for trial in before if trial.rival not in {one.rival for one in found}), *found]
    with whole_file(table) as fresh:
        data_frame(found, Trial).rename({"setting": heading}).write_csv(fresh, float_precision=6)
    by_rival = {rival: [one for one in found if one.rival == rival] for rival in dict.fromkeys(t.rival for t in found)}
    if varied == "rates":  # the same settings for all: they are the columns
        heads, same = list(dict.fromkeys(trial.setting for trial in found)), True
    else:
        most = max(map(len, by_rival.values()), default=1)
        heads, same = ["as it is", *(f"{place}. other" for place in range(1, most))], False
    lines = ["| rival | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for rival, own in by_rival.items():
        cells = [_number(one) if same or one.setting == USUAL else f"{one.setting}: {_number(one)}" for one in own]
        lines.append(f"| {rival} | " + " | ".join([*cells, *[""] * (len(heads) - len(own))]) + " |")
    with whole_file(text) as fresh:
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [table, text]


def _number(trial: Trial) -> str:
    return f"**{trial.over_usual:.3f}**" if trial.best else f"{trial.over_usual:.3f}"


def _read(line: dict[str, Any], heading: str) -> Trial:
    setting = line.pop(heading)
    return Trial(setting=f"{setting:g}" if isinstance(setting, float) else str(setting), **line)


def _rounds(recipe: ScoreboardRecipe, varied: Varied) -> dict[str, _Round]:
    """Every training of a search by its label, which names its folder."""
    chosen = _settings(recipe)
    deep = [entry.name for entry in find_entries(()) if entry.kind == "deep"]
    if varied == "rates":
        return {
            f"{rate:g}": _Round(_at(recipe, chosen.minutes, learning_rate=rate), dict.fromkeys(deep, f"{rate:g}"))
            for rate in chosen.learning_rates
        }
    if not chosen.networks:
        raise UsageError("the recipe has no [search.networks]: which sizes of which rivals to try")
    rounds = {USUAL: _Round(_at(recipe, chosen.network_minutes), dict.fromkeys(chosen.networks, USUAL))}
    for index in range(max(map(len, chosen.networks.values()))):
        these = {rival: others[index] for rival, others in chosen.networks.items() if index < len(others)}
        trial = _at(recipe, chosen.network_minutes).model_copy(update={"networks": {**recipe.networks, **these}})
        rounds[f"network-{index + 1}"] = _Round(trial, {rival: in_words(size) for rival, size in these.items()})
    return rounds


def _settings(recipe: ScoreboardRecipe) -> SearchConfig:
    if recipe.search is None:
        raise UsageError("the recipe has no [search]: which set, fold and learning rates to try")
    return recipe.search


def _at(recipe: ScoreboardRecipe, minutes: float, learning_rate: float | None = None) -> ScoreboardRecipe:
    """The recipe of a trial: short trainings, and the first column's questions of the judging fold.

    With a `learning_rate` all have it, else each its own.
    """
    chosen, first = _settings(recipe), recipe.columns[0]
    column = ColumnConfig(
        protocol="search", split="fold", set=chosen.set, cities=first.cities, tasks=first.tasks,
        contexts=first.contexts, folds=(chosen.fold,), every=chosen.every,
    )  # fmt: skip
    fit = recipe.fit.model_copy(update={"minutes": minutes})
    update: dict[str, Any] = {"every": {}, "columns": (column,), "samples": chosen.samples}
    if learning_rate is not None:
        fit, update["rates"] = fit.model_copy(update={"learning_rate": learning_rate}), {}
    return recipe.model_copy(update={**update, "fit": fit})


def _place(place: Place, label: str) -> Place:
    return Place(place.data, place.out / "search" / label)


def _crps(recipe: ScoreboardRecipe, place: Place, name: str) -> dict[tuple[str, str, str], float]:
    """CRPS by city, task and context, as far as scored."""
    there: dict[tuple[str, str, str], float] = {}
    for cell in cells(recipe, (name,)):
        path = place.scores(cell)
        value = row(load_scores(path)[0]).crps if path.exists() else None
        if value is not None:
            there[cell.city, cell.task, cell.context] = value
    return there


__all__ = ["TABLES", "USUAL", "Trial", "Varied", "search", "trials", "write_trials"]
