"""Why not less: how much of FoMo's errors could have been known, and what plans would gain by it.

    python benchmarks/hindsight.py errors --data DIR     # results/hindsight-errors.csv, results/hindsight-errors.md
    python benchmarks/hindsight.py beside                # the first table beside the others of today's scoreboard
    python benchmarks/hindsight.py plans --data DIR      # results/hindsight-plans.csv, results/hindsight-plans.md
    python benchmarks/hindsight.py figure                # docs/figures/hindsight.png, of both tables

`errors` asks FoMo's shipped weights what the scoreboard asks of regions never seen and of whole cities, and takes their
errors apart by least squares:

- *known*: what FoMo had missed until then, in a forecast made a day earlier: at that time of day, in the last three
  periods and in the whole day, in the cell itself and in all cells together. What counts for how much is found in the
  other windows. Left lying, as far as it helps.
- *hindsight*: what FoMo misses one and two periods before and after a value, in all other cells at that very time, and
  in all other cells over the whole horizon. Nobody who forecasts can know any of it, and it is fitted to the answers
  themselves, so that no rule of that form is better.

`plans` plays the sleep plans and the blocks of README's planning table again with members moved towards the truth: by
hindsight, and by a tenth of FoMo's error after another, until half of the way to the oracle is closed. It goes on where
it was killed: delete its CSV to play all of them again. Blocks with one seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Float

from fomo.app.service.scoreboard.plan import Cell, cells, load_scoreboard
from fomo.app.service.scoreboard.work import ask
from fomo.city import City, steps_per_day
from fomo.evaluation.figure_style import save_figure
from fomo.evaluation.questions import Question
from fomo.evaluation.scoreboard import first_place, read_scoreboard
from fomo.files import whole_file
from fomo.forecasters.ahead import SHORTEST_HISTORY
from fomo.forecasters.fomo import FoMo, load
from fomo.sources import data_folder, read_family

ROOT = Path(__file__).resolve().parent.parent
#: The training part of the scoreboard whose weights are shipped.
SHIPPED = "fold-0"
#: To reach: this much of the best other's error.
LEAD = 0.9
#: Periods that count as the last ones known.
LAST = 3
#: Windows that are asked at a time; fewer than these say nothing of each other.
BATCH, FEWEST = 16, 4

#: Values of the cells that are asked for; NaN where nothing was recorded.
Field = Float[np.ndarray, "time cell"]
Features = Float[np.ndarray, "feature time cell"]


def hindsight(missed: Field, mean: Field) -> Features:
    """What is missed around each value: beside it in time, elsewhere at that time, elsewhere at all times."""
    around = []
    for steps in (1, 2):
        total, count = np.zeros_like(missed), np.zeros_like(missed)
        for to, of in ((slice(steps, None), slice(None, -steps)), (slice(None, -steps), slice(steps, None))):
            known = np.isfinite(missed[of])
            total[to] += np.where(known, missed[of], 0)
            count[to] += known
        around.append(total / np.maximum(count, 1))
    return np.stack([*around, _of_others(missed, mean, False), _of_others(missed, mean, True)])


def known_then(missed: Field, mean: Field, ahead: Field) -> Features:
    """What yesterday's forecast had missed until now, as far as it may last; `ahead`: what is expected now."""
    steps = np.arange(len(ahead)) % len(missed)
    own = [missed[steps], *(np.broadcast_to(each.mean(0), ahead.shape) for each in (missed[-LAST:], missed))]
    factors = [np.nansum(missed[steps], 1) / np.nansum(mean[steps], 1)]
    factors += [np.nansum(missed[some]) / np.nansum(mean[some]) for some in (slice(-LAST, None), slice(None))]
    return np.stack([*own, *(np.reshape(factor, (-1, 1)) * ahead for factor in factors)])


def _of_others(missed: Field, mean: Field, over_time: bool) -> Field:
    """By how much all other cells were above what was expected of them, of what is expected here."""
    known = np.isfinite(missed)
    both = [np.where(known, each, 0) for each in (missed, mean)]  # of sums, which leave out what is not known
    of_cells = [each.sum(0, keepdims=True) if over_time else each for each in both]
    more, there = (each.sum(1, keepdims=True) - each for each in of_cells)
    return np.asarray(mean * np.where(there > 0, more / np.where(there > 0, there, 1), 0))


@dataclass
class LeastSquares:
    """Errors and what may explain them, window by window, and the best linear rule for them."""

    errors: list[np.ndarray] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)

    def add(self, missed: Field, features: Features) -> None:
        """Another window; values that are not known are left out."""
        there = np.isfinite(missed) & np.isfinite(features).all(0)
        self.errors.append(missed[there])
        self.features.append(features[:, there])

    def rule(self, without: int | None = None) -> Float[np.ndarray, " feature"]:
        """What a feature counts for; `without` one of the windows."""
        some = [index for index in range(len(self.errors)) if index != without]
        features = np.concatenate([self.features[index] for index in some], 1)
        errors = np.concatenate([self.errors[index] for index in some])
        return np.asarray(np.linalg.lstsq(features.T, errors, rcond=None)[0])

    def root_mean_squares(self, apart: bool = False) -> tuple[float, float]:
        """Of the errors, and of what the rule leaves of them; `apart`: the rule that the other windows give."""
        many = range(len(self.errors))
        rules = [self.rule(index) for index in many] if apart else [self.rule()] * len(many)
        left = [error - rule @ found for error, rule, found in zip(self.errors, rules, self.features, strict=True)]
        whole, rest = (float(np.sqrt(np.mean(np.concatenate(each) ** 2))) for each in (self.errors, left))
        return whole, rest


@dataclass(frozen=True)
class Errors:
    """A line of the first table; RMSE on traffic scaled to [0, 1]. None: not known."""

    protocol: str
    city: str
    task: str
    context: str
    fomo: float
    best_other: float
    named: str
    known: float | None  # what is left of FoMo's, where there is a forecast from a day earlier
    hindsight: float

    @property
    def goal(self) -> float:
        """What was to be reached."""
        return LEAD * self.best_other

    @property
    def asks(self) -> str:
        """How much of what hindsight takes off the squared error the goal asks for."""
        if self.fomo <= self.goal:
            return "reached"
        if self.goal <= self.hindsight:
            return "more than hindsight"
        share = (self.fomo**2 - self.goal**2) / (self.fomo**2 - self.hindsight**2)
        return f"{100 * share:.0f} % of it"


def errors_of(cell: Cell, questions: Sequence[Question], model: FoMo, samples: int, by_name: dict[str, City]) -> Errors:
    """FoMo's errors in one column, and what is left of them."""
    then, after = LeastSquares(), LeastSquares()
    for first in range(0, len(questions), BATCH):
        some = questions[first : first + BATCH]
        for question, forecast in zip(some, model.forecast_tasks([q.task for q in some], samples, 0), strict=True):
            asked = np.flatnonzero(question.scored.any((1, 2)))
            steps, there = slice(asked[0], asked[-1] + 1), question.scored.any(0)
            mean, truth = (
                np.where(question.scored, each, np.nan)[steps][:, there] / question.reference
                for each in (forecast.samples.values.mean(0), question.truth)
            )
            after.add(truth - mean, hindsight(truth - mean, mean))
            earlier = yesterday(question, by_name[question.region], model)
            if earlier is not None:
                came, said = (each[:, there] / question.reference for each in earlier)
                then.add(truth - mean, known_then(came - said, said, mean))
    fomo, left = after.root_mean_squares()
    known = None
    if len(then.errors) >= FEWEST:  # windows that have a yesterday
        whole, rest = then.root_mean_squares(apart=True)
        known = fomo * rest / whole
    return Errors(cell.column.protocol, cell.city, cell.task, cell.context, fomo, np.nan, "", known, left)


def yesterday(question: Question, city: City, model: FoMo) -> tuple[np.ndarray, np.ndarray] | None:
    """What came in the day before a question, and what FoMo expected of it at its start; None: the past is too short.

    Of traffic alone: with users of the asked hours nobody forecasts.
    """
    day, origin = steps_per_day(city), question.first_step
    if not question.past_week or question.task.context != "none" or origin < 2 * day + SHORTEST_HISTORY:
        return None
    known = city.isel(time=slice(0, origin - day))
    ahead = model.forecast(known, horizon=day, samples=2, context="none")
    return city["traffic"].values[origin - day : origin], ahead.samples.values.mean(0)


def all_errors(data: Path) -> list[Errors]:
    """Every column of forecasts of the scoreboard that the shipped weights answer."""
    recipe = load_scoreboard(ROOT / "recipes/scoreboard.toml")
    model, found = load(), []
    for cell in cells(recipe, ("FoMo",)):
        if cell.set != SHIPPED or cell.task == "generate":
            continue
        by_name = {str(city.attrs["name"]): city for city in read_family(data, cell.city)}
        row = errors_of(cell, ask(cell, data), model, recipe.samples, by_name)
        protocol = f"{row.protocol}, fold 0" if cell.column.split == "fold" else row.protocol
        found.append(replace(row, protocol=protocol))
        print(found[-1], file=sys.stderr, flush=True)
    return found


def beside_the_others(found: Iterable[Errors]) -> list[Errors]:
    """With the best other of each column of the scoreboard, as it is now."""
    beside = {
        (row["protocol"], row["city"], row["task"], row["context"]): row
        for row in first_place(read_scoreboard(ROOT / "results/scoreboard.parquet"))
    }
    made = []
    for row in found:
        there = beside[row.protocol, row.city, row.task, row.context]
        best = float(there["FoMo"] or 0) / float(there["over best other"] or 1)
        made.append(replace(row, best_other=best, named=str(there["best other"])))
    return made


def errors_table(found: Iterable[Errors]) -> str:
    """README's part."""
    goal = f"goal, {LEAD:g} of it"
    heading = ("asked", "of", "users", "FoMo", "best other", goal, "known", "hindsight", "goal asks for")
    lines = ["| " + " | ".join(heading) + " |", "|---" * len(heading) + "|"]
    for row in found:
        known = "–" if row.known is None else f"{row.known:.4f}"
        parts = (
            *(f"{row.city} {row.task}", row.protocol, row.context, f"{row.fomo:.4f}"),
            *(f"{row.best_other:.4f} ({row.named})", f"{row.goal:.4f}", known, f"{row.hindsight:.4f}", row.asks),
        )
        lines.append("| " + " | ".join(parts) + " |")
    return "\n".join(lines) + "\n"


def write(found: Sequence[object], table: str, name: str) -> None:
    """Rows to results/NAME.csv, README's part to results/NAME.md."""
    with whole_file(ROOT / f"results/{name}.csv") as fresh:
        pl.DataFrame([asdict(row) for row in found]).write_csv(fresh, float_precision=6)  # type: ignore[call-overload]
    with whole_file(ROOT / f"results/{name}.md") as fresh:
        fresh.write_text(table, encoding="utf-8")


def draw() -> Path:
    """The figure of both tables; returns its path."""
    from hindsight_figure import hindsight_figure
    from plan import few_colours

    plans, errors = (pl.read_csv(ROOT / f"results/hindsight-{name}.csv") for name in ("plans", "errors"))
    path = save_figure(hindsight_figure(plans, errors), ROOT / "docs/figures/hindsight.png", dots_per_inch=120)
    few_colours(path)
    return path


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["errors", "beside", "plans", "figure"])
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    options = parser.parse_args()
    if options.what == "figure":
        draw()
        return
    if options.what == "beside":
        rows = pl.read_csv(ROOT / "results/hindsight-errors.csv").iter_rows(named=True)
        found = beside_the_others(Errors(**row) for row in rows)
        write(found, errors_table(found), "hindsight-errors")
        return
    torch.set_num_threads(1)
    data = data_folder(options.data)
    if options.what == "errors":
        found = beside_the_others(all_errors(data))
        write(found, errors_table(found), "hindsight-errors")
    else:
        from hindsight_plans import all_plans, plans_table

        for played in all_plans(data, ROOT / "results/hindsight-plans.csv"):
            write(played, plans_table(played), "hindsight-plans")
            print(played[-1], file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
