"""The scaling law: how errors fall with the size of the network and with the data it learned from.

    python benchmarks/scaling.py train --data DIR     # the grid of runs; hours; a killed one goes on with the next run
    python benchmarks/scaling.py fit                  # the law, its intervals, what it recommends, figure

`recipes/scaling.toml` is trained in every size on every share of the data, with the same number of tokens, and asked
for the regions of fold 1, which no run saw. Runs lie in runs/scaling. Rows go to results/scaling.csv, logs to
results/training/scaling, the law to results/scaling.md, the figure to docs/figures/scaling.png.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clock import UOMO
from matplotlib.figure import Figure
from scaling_law import Law, Points, bootstrap, fit_law, left_out_error, recommended_without

from fomo.app.service.training import describe
from fomo.city import City
from fomo.evaluation.figure_style import PALETTE, SMALL, TEXT, WIDE, save_figure, short_number, tidy
from fomo.evaluation.protocol import evaluate
from fomo.evaluation.questions import TaskName, family_questions
from fomo.evaluation.rows import row
from fomo.files import whole_file
from fomo.forecasters.fomo import FoMo
from fomo.model.transformer import ModelConfig, parameter_count
from fomo.sources import data_folder, read_family
from fomo.tokens.patch import TokenShape
from fomo.training.data import References, training_cities
from fomo.training.loop import Training, run
from fomo.training.recipe import Recipe, load_recipe, window_shape
from fomo.windows.sample import TrainingSet, family_references
from fomo.windows.split import trained_name

ROOT = Path(__file__).resolve().parent.parent
#: Width, encoder layers, denoiser layers, heads.
SIZES = {
    "0.1M": (32, 2, 1, 4),
    "0.3M": (48, 3, 2, 2),
    "0.9M": (96, 3, 2, 4),
    "1.8M": (128, 4, 2, 4),
    "3.4M": (160, 4, 3, 4),
}
SHARES = (0.125, 0.25, 0.5, 1.0)
TASKS: tuple[TaskName, ...] = ("short", "long", "generate")
WINDOWS, MEMBERS = 24, 8
#: Rows of a grid that are kept at least: those of a training window.
FEWEST_ROWS = 4


def share_of(cities: Sequence[City], share: float, seed: int) -> list[City]:
    """So much of the cells of every family: whole regions in a drawn order, or rows of its only city.

    A smaller share lies inside a larger one.
    """
    families: dict[str, list[City]] = {}
    for city in cities:
        families.setdefault(str(city.attrs["family"]), []).append(city)
    kept: list[City] = []
    for name in sorted(families):
        members = families[name]
        if len(members) == 1:
            rows = min(members[0].sizes["y"], max(FEWEST_ROWS, math.ceil(share * members[0].sizes["y"])))
            part = members[0].isel(y=slice(0, rows))
            part.attrs = dict(members[0].attrs)
            kept.append(part)
            continue
        order = np.random.default_rng(seed).permutation(len(members))
        wanted = share * sum(int(city["covered"].sum()) for city in members)
        have = 0
        for place in order:
            if have >= wanted:
                break
            kept.append(members[place])
            have += int(members[place]["covered"].sum())
    return kept


def values_of(cities: Sequence[City]) -> int:
    """Recorded values, all cells and steps."""
    return sum(int(np.isfinite(city["traffic"].values).sum()) for city in cities)


def tokens_of(recipe: Recipe) -> int:
    """Tokens that a whole run sees."""
    (text,) = recipe.windows
    time_, y, x = window_shape(text)
    shape = TokenShape(*recipe.model.token)
    per_window = math.ceil(time_ / shape.time) * math.ceil(y / shape.y) * math.ceil(x / shape.x)
    return recipe.optimiser.steps * recipe.optimiser.batch * per_window


def one_run(size: str, share: float, base: Recipe, whole: Sequence[City], data: Path, folder: Path) -> dict[str, Any]:
    """Train and score one size on one share; everything that a row needs."""
    width, encoder, denoiser, heads = SIZES[size]
    model = ModelConfig(
        width=width, encoder_layers=encoder, denoiser_layers=denoiser, heads=heads, dropout=base.model.dropout
    )
    recipe = base.model_copy(update={"model": model, "name": f"scaling-{size}-{share:g}"})
    cities = share_of(whole, share, recipe.seed)
    references = family_references(cities)
    windows = TrainingSet(cities, references, recipe.augment, recipe.data.families)
    training = Training(recipe, windows)
    began = time.process_time()
    run(training, folder)
    seconds = time.process_time() - began
    return score_run(training, references, windows, cities, data, folder) | {
        "size": size,
        "share": share,
        "seconds": round(seconds, 1),
        "device": "cpu",
    }


def score_run(
    training: Training,
    references: dict[str, float],
    windows: TrainingSet,
    cities: Sequence[City],
    data: Path,
    folder: Path,
) -> dict[str, Any]:
    """What a finished run saw, its late losses, and its scores on the fold that it was to be asked for."""
    recipe = training.recipe
    seen = tuple(sorted({trained_name(city) for city in cities}))
    checkpoint = describe(recipe, References(references, {}), windows, seen, {})
    model_ready = FoMo(training.average, checkpoint, device=training.device)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    late = np.array([line["loss"] for line in lines if line["step"] > recipe.optimiser.steps / 2])
    scores: list[dict[str, Any]] = [
        {
            "task": "training", "family": "all", "metric": "loss", "value": float(late.mean()),
            "low": float(late.mean() - 1.96 * late.std() / math.sqrt(len(late))),
            "high": float(late.mean() + 1.96 * late.std() / math.sqrt(len(late))),
        }
    ]  # fmt: skip
    for family in UOMO:
        regions = read_family(data, family)
        for task in TASKS:
            asked = family_questions(regions, task, fold=recipe.data.validation_fold or 0)
            asked = asked[:: -(-len(asked) // WINDOWS)]
            found = row(evaluate(model_ready, asked, samples=MEMBERS, progress=False))
            for metric in ("rmse", "crps", "jsd"):
                value, low, high = (getattr(found, metric + end) for end in ("", "_low", "_high"))
                scores.append(
                    {"task": task, "family": family, "metric": metric, "value": value, "low": low, "high": high}
                )
    return {
        "parameters": parameter_count(training.network),
        "values": values_of(cities),
        "cities": len(cities),
        "tokens": tokens_of(recipe),
        "steps": recipe.optimiser.steps,
        "scores": scores,
    }


def train_grid(data: Path, out: Path, sizes: Sequence[str], shares: Sequence[float]) -> None:
    """All runs that are not there yet, the small ones first."""
    base = load_recipe(ROOT / "recipes/scaling.toml")
    whole = training_cities(base.data, data)
    todo = [(size, share) for size in sizes for share in shares]
    began = time.monotonic()
    for place, (size, share) in enumerate(todo):
        record = out / f"{size}-{share:g}.json"
        if record.exists():
            continue
        found = one_run(size, share, base, whole, data, out / f"{size}-{share:g}")
        with whole_file(record) as fresh:
            fresh.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{place + 1} of {len(todo)}: {size} on {share:g}, {(time.monotonic() - began) / 60:.0f} min", flush=True)


def load_runs(out: Path) -> list[dict[str, Any]]:
    """All finished runs."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(out.glob("*.json"))]


COLUMNS = (
    "size", "share", "parameters", "values", "tokens", "task", "family", "metric", "value", "low", "high", "device",
    "seconds",
)  # fmt: skip


def score_lines(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line a score, and over the families their geometric mean; its interval takes the families as independent."""
    lines = []
    for one in sorted(runs, key=lambda one: (one["parameters"], one["share"])):
        about = {name: one[name] for name in COLUMNS if name in one}
        lines += [about | score for score in one["scores"]]
        for task in TASKS:
            for metric in ("rmse", "crps", "jsd"):
                lines.append(
                    about | {"task": task, "family": "all", "metric": metric} | over_families(one, task, metric)
                )
    return lines


def write_lines(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """The whole table."""
    with whole_file(path) as fresh, fresh.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(
            {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in line.items()}
            for line in lines
        )


def lines_of_others(path: Path, devices: Collection[str]) -> list[dict[str, Any]]:
    """Lines of a table that were found on other devices than these, which stay as they are."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["device"] not in devices]


def over_families(one: dict[str, Any], task: str, metric: str) -> dict[str, float]:
    """The geometric mean over the families with its 95 % interval."""
    found = [score for score in one["scores"] if score["task"] == task and score["metric"] == metric]
    logs = np.log([score["value"] for score in found])
    halves = [(math.log(score["high"]) - math.log(max(score["low"], 1e-9))) / 2 for score in found]
    mean, half = float(logs.mean()), math.sqrt(sum(half**2 for half in halves)) / len(found)
    return {"value": math.exp(mean), "low": math.exp(mean - half), "high": math.exp(mean + half)}


def points(runs: Sequence[dict[str, Any]], task: str, metric: str) -> Points:
    """What the law of one task is fitted to."""
    values = [over_families(one, task, metric)["value"] for one in runs]
    return Points(
        np.array([one["parameters"] for one in runs], float),
        np.array([one["values"] for one in runs], float),
        np.array(values),
    )


def report(runs: Sequence[dict[str, Any]]) -> tuple[str, dict[tuple[str, str], Law]]:
    """The laws as Markdown, and the laws."""
    laws: dict[tuple[str, str], Law] = {}
    lines = [
        "| task | score | exponent of the size, 95 % | exponent of the data, 95 % | size left out: error of the law, % "
        "| of a constant, % | best size, smallest share | sizes within 1 % of it | best size, all data | within 1 % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for task, metric in (("short", "rmse"), ("long", "rmse"), ("generate", "rmse"), ("generate", "jsd")):
        found = points(runs, task, metric)
        law = laws[task, metric] = fit_law(found)
        (low, high), (data_low, data_high) = bootstrap(found)
        law_error, flat_error = left_out_error(found)
        sizes = (float(found.parameters.min()), float(found.parameters.max()))
        best = [recommended(law, amount, sizes) for amount in (found.values.min(), found.values.max())]
        lines.append(
            f"| {task} | {metric.upper()} | {-law.of_size(found):.3f} ({-high:.3f} to {-low:.3f}) "
            f"| {-law.of_data(found):.3f} ({-data_high:.3f} to {-data_low:.3f}) "
            f"| {100 * law_error:.1f} | {100 * flat_error:.1f} | {best[0]} | {best[1]} |"
        )
    short = points(runs, "short", "rmse")
    for size in sorted({one["parameters"] for one in runs})[1:-1]:
        lost = [100 * (chosen / best - 1) for _, chosen, best in recommended_without(short, size)]
        lines.append("")
        lines.append(
            f"Short, without the runs of {short_number(size)} parameters: the size that the law then recommends has "
            f"{', '.join(f'{value:.1f} %' for value in lost)} more error than the best measured, from the smallest "
            "share up."
        )
    return "\n".join(lines) + "\n", laws


def recommended(law: Law, values: float, sizes: tuple[float, float]) -> str:
    """The best size, and the range of sizes that the law says are within 1 % of it, as two cells of a table."""
    tried = np.geomspace(*sizes, 400)
    errors = law.error(tried, np.full(400, values))
    near = tried[errors < 1.01 * errors.min()]
    return f"{short_number(law.best_size(values, sizes))} | {short_number(near.min())} to {short_number(near.max())}"


def say_for(runs: Sequence[dict[str, Any]], cells: int, weeks: float, step_hours: float) -> str:
    """What size the laws recommend for so many cells and weeks; within what was measured."""
    values = cells * weeks * 168 / step_hours
    found = points(runs, "short", "rmse")
    low, high = found.values.min(), found.values.max()
    sizes = (float(found.parameters.min()), float(found.parameters.max()))
    lines = [f"{short_number(values)} values; measured were {short_number(low)} to {short_number(high)}"]
    if not low <= values <= high:
        values = float(np.clip(values, low, high))
        lines.append(f"the law is not trusted beyond that: it is asked for {short_number(values)}")
    for task, metric in (("short", "rmse"), ("long", "rmse")):
        best, near = recommended(fit_law(points(runs, task, metric)), values, sizes).split(" | ")
        lines.append(f"{task}: {best} parameters; {near} are within 1 % of it")
    return "\n".join(lines)


def figure_of(runs: Sequence[dict[str, Any]], laws: dict[tuple[str, str], Law]) -> Figure:
    """Errors against the size, one line a share, the law beside them."""
    figure = Figure(figsize=(WIDE, 3.9), layout="constrained")
    panels = figure.subplots(1, len(laws))
    shares = sorted({one["share"] for one in runs})
    for axes, ((task, metric), law) in zip(panels, laws.items(), strict=True):
        for share, colour in zip(shares, PALETTE, strict=False):
            some = sorted((one for one in runs if one["share"] == share), key=lambda one: one["parameters"])
            found = points(some, task, metric)
            axes.plot(found.parameters, found.errors, "o", color=colour, markersize=5, label=f"{share:.3g} of the data")
            sizes = np.geomspace(found.parameters.min(), found.parameters.max(), 60)
            axes.plot(sizes, law.error(sizes, np.full(60, found.values.mean())), color=colour, linewidth=1.2)
        axes.set_xscale("log")
        axes.set_xlabel("parameters", fontsize=TEXT)
        axes.set_title(f"{task}, {metric.upper()}", fontsize=TEXT, loc="left")
        axes.xaxis.set_major_formatter(short_number)
        tidy(axes)
    panels[0].set_ylabel("on [0, 1], fold 1", fontsize=TEXT)
    names = panels[0].get_legend_handles_labels()
    figure.legend(*names, loc="outside lower center", ncols=4, fontsize=SMALL, frameon=False)
    return figure


def fit_all(out: Path) -> None:
    """Table, law and figure of the finished runs. Raises `SystemExit` where there are too few."""
    runs = load_runs(out)
    try:
        text, laws = report(runs)
    except ValueError as error:
        raise SystemExit(f"{out}: {error}. Run: python benchmarks/scaling.py train --data DIR") from None
    table = ROOT / "results/scaling.csv"
    write_lines([*score_lines(runs), *lines_of_others(table, ("cpu",))], table)
    logs = ROOT / "results/training/scaling"
    logs.mkdir(parents=True, exist_ok=True)
    for one in runs:
        name = f"{one['size']}-{one['share']:g}"
        shutil.copy(out / name / "metrics.jsonl", logs / f"{name}.jsonl")
    with whole_file(ROOT / "results/scaling.md") as fresh:
        fresh.write_text(text, encoding="utf-8")
    save_figure(figure_of(runs, laws), ROOT / "docs/figures/scaling.png")
    print(text)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("train", "fit"))
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/scaling", help="where the runs lie")
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=tuple(SIZES))
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES)
    parser.add_argument("--cells", type=int, help="with `fit`: say what size to train for so many cells")
    parser.add_argument("--weeks", type=float, default=2.0, help="... and so many weeks of them")
    parser.add_argument("--step-hours", type=float, default=1.0, help="... at this granularity period")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.verb == "train":
        options.out.mkdir(parents=True, exist_ok=True)
        train_grid(data_folder(options.data), options.out, options.sizes, options.shares)
    else:
        fit_all(options.out)
        if options.cells:
            print(say_for(load_runs(options.out), options.cells, options.weeks, options.step_hours))


if __name__ == "__main__":
    main()
