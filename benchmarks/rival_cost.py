"""Size and cost of every forecaster of the scoreboard (Table 6 of the paper), all timed in turn in one run.

    python benchmarks/rival_cost.py --data DIR     # rivals that `fomo scoreboard` has trained on the set fold-0

One thread; the same short windows of Nanchang for all, in one batch, three rounds in turn; the least time of a round
counts, for other work on the machine only adds. Rows to results/rival-cost.csv, the README's part to
results/rival-cost.md. Training is the computing time of the set fold-0, from the record of each training.
"""

from __future__ import annotations

import argparse
import inspect
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
import torch

from fomo.app.errors import UsageError
from fomo.app.service.scoreboard.fits import load_rival
from fomo.app.service.scoreboard.plan import load_scoreboard, slug
from fomo.app.service.training import trained_seconds
from fomo.evaluation.questions import family_questions
from fomo.files import whole_file
from fomo.forecasters.fomo import FoMo, load
from fomo.forecasters.protocol import Forecaster
from fomo.forecasters.registry import ENTRIES
from fomo.model.transformer import parameter_count
from fomo.sources import data_folder, read_family
from fomo.windows.task import Task

ROOT = Path(__file__).resolve().parent.parent
WINDOWS, ROUNDS, SET = 4, 3, "fold-0"


@dataclass
class Cost:
    """One line of the table. None: not of this kind of forecaster, or not said by it."""

    forecaster: str
    kind: str
    layers: int | None
    width: int | None
    parameters: int | None  # trainable ones
    training_minutes: float | None
    training_steps: int | None
    ms_a_sample: float  # of one window


def sizes(network: torch.nn.Module, **other: int) -> tuple[int | None, int | None]:
    """Layers and width of a rival as its constructor has them, or `other`; of a language model its own width."""
    named = {name: own.default for name, own in inspect.signature(type(network)).parameters.items()} | other
    parts = [named[name] for name in ("encoder", "decoder") if isinstance(named.get(name), int)]
    layers = named.get("layers", sum(parts) or None)
    return layers, named.get("width", getattr(getattr(network, "backbone", None), "width", None))


def loaded(fits: Path) -> dict[str, tuple[Forecaster, Cost]]:
    """Every forecaster that is at hand, with what is known before it is timed."""
    found: dict[str, tuple[Forecaster, Cost]] = {}
    recipe = load_scoreboard(ROOT / "recipes/scoreboard.toml")
    for entry in ENTRIES:
        if "short" not in entry.tasks or entry.needs:
            continue
        cost = Cost(entry.name, entry.kind, None, None, None, None, None, 0.0)
        if entry.kind == "fomo":
            model = load(recipe.sets[SET].weights)
            assert isinstance(model, FoMo)
            logs = [ROOT / log for log in recipe.sets[SET].logs]
            lines = [json.loads(log.read_text(encoding="utf-8").splitlines()[-1]) for log in logs]
            size = model.checkpoint.model
            cost.layers, cost.width = size.encoder_layers + size.denoiser_layers, size.width
            cost.parameters = parameter_count(model.network)
            cost.training_minutes = sum(map(trained_seconds, logs)) / 60
            cost.training_steps = sum(line["step"] for line in lines)
            found[entry.name] = (model, cost)
        elif entry.kind == "deep":
            try:
                rival, record = load_rival(entry, fits / slug(entry.name))
            except UsageError as error:
                print(error)
                continue
            cost.layers, cost.width = sizes(rival.network, **record.get("size", {}))
            cost.parameters = sum(part.numel() for part in rival.network.parameters() if part.requires_grad)
            cost.training_minutes, cost.training_steps = record["seconds"] / 60, record["steps"]
            found[entry.name] = (rival, cost)
        else:
            try:
                found[entry.name] = (entry.load(), cost)
            except Exception as error:  # weights or a library that are not here: the table goes without
                print(f"{entry.name}: {error}")
    return found


def timed(found: dict[str, tuple[Forecaster, Cost]], tasks: list[Task], samples: int) -> None:
    """Fills in the times."""
    best = dict.fromkeys(found, float("inf"))
    for round_ in range(ROUNDS):
        for name, (forecaster, _) in found.items():
            began = time.perf_counter()
            forecaster.forecast_tasks(tasks, samples, round_)
            best[name] = min(best[name], time.perf_counter() - began)
            print(f"round {round_ + 1}, {name}: {best[name]:.2f} s", flush=True)
    for name, (_, cost) in found.items():
        cost.ms_a_sample = 1000 * best[name] / (len(tasks) * samples)


def write(costs: list[Cost]) -> None:
    """Rows, and the README's table."""
    with whole_file(ROOT / "results/rival-cost.csv") as fresh:
        pl.DataFrame([asdict(cost) for cost in costs]).write_csv(fresh, float_precision=3)
    heads = (
        "forecaster",
        "layers",
        "width",
        "trained parameters",
        "training, min",
        "steps",
        "ms a sample",
        "over FoMo's",
    )
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    own = next(cost.ms_a_sample for cost in costs if cost.kind == "fomo")
    for cost in costs:
        count = None if cost.parameters is None else f"{cost.parameters / 1e6:.2f} M"
        minutes = None if cost.training_minutes is None else f"{cost.training_minutes:.0f}"
        times = (f"{cost.ms_a_sample:.2f}", f"{cost.ms_a_sample / own:.2f}")
        cells = (cost.forecaster, cost.layers, cost.width, count, minutes, cost.training_steps, *times)
        lines.append("| " + " | ".join("–" if cell is None else str(cell) for cell in cells) + " |")
    with whole_file(ROOT / "results/rival-cost.md") as fresh:
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--fits", type=Path, default=ROOT / f"runs/scoreboard/fits/{SET}")
    parser.add_argument("--samples", type=int, default=24)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cities = read_family(data_folder(options.data), "uomo_nanchang")
    questions = family_questions(cities, "short", context="full", split="fold", fold=0)
    tasks = [question.task for question in questions[:: max(1, len(questions) // WINDOWS)][:WINDOWS]]
    found = loaded(options.fits)
    timed(found, tasks, options.samples)
    write([cost for _, cost in found.values()])


if __name__ == "__main__":
    main()
