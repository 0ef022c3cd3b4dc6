"""Table 6 of the paper: size and cost of every FoMo preset and of every other forecaster, in one run on one thread.

    python benchmarks/table6.py --data DIR      # about ten minutes; rows to results/table6.csv, the table to table6.md

All weights are random but those of `tiny`, the shipped ones, and those of systems trained elsewhere: time does not
depend on them. Training: a step of the forecaster's own loop on windows of 64 x 4 x 4, drawing them included, over the
windows of its batch. Inference: `forecast_tasks` on short windows of Nanchang, over windows and members. Operations are
those of the products and convolutions that PyTorch's counter knows. What cannot run here has the reason in its row.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from clock import operations
from rival_cost import ROOT, sizes

import fomo
from fomo.app.errors import UsageError
from fomo.evaluation.questions import family_questions
from fomo.files import whole_file
from fomo.forecasters.fomo import FoMo, load
from fomo.forecasters.protocol import Forecaster
from fomo.forecasters.registry import ENTRIES, Entry
from fomo.forecasters.rivals.forecaster import NeuralRival
from fomo.forecasters.rivals.network import RivalNetwork
from fomo.forecasters.rivals.series import RivalUnavailable
from fomo.forecasters.rivals.training import FitConfig, fit
from fomo.model.transformer import PRESETS, MaskedDiffusionTransformer, ModelConfig, parameter_count
from fomo.sources import data_folder, read_family
from fomo.training.data import training_set
from fomo.training.loop import Training
from fomo.training.recipe import Recipe, load_recipe
from fomo.windows.sample import TrainingSet
from fomo.windows.task import Task

WINDOW = "64x4x4"
SHIPPED = "fomo-tiny"
#: Windows of a step, and steps that are timed after one to warm up. The large presets take seconds a window.
BATCH, STEPS = 32, 3
BATCHES = {"35m": 8, "100m": 4, "150m": 4, "200m": 4}
#: Windows that are asked, and how often; one whose first answer takes longer than this is not asked again.
WINDOWS, ROUNDS, SECONDS = 4, 3, 10.0


@dataclass
class Line:
    """A row of the table. None: there is no such thing, or it is not known."""

    model: str
    kind: str
    layers: int | None = None
    width: int | None = None
    parameters: int | None = None  # frozen ones too
    trained: int | None = None  # parameters
    batch: int | None = None
    training_ms: float | None = None  # a window in a training step
    training_gflop: float | None = None
    inference_ms: float | None = None  # a member of a window
    inference_gflop: float | None = None
    members: int | None = None
    remark: str = ""


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one thread: other work on the machine takes nothing away."""
    began = time.process_time()
    work()
    return time.process_time() - began


def fomo_lines(base: Recipe, data: TrainingSet, tasks: Sequence[Task], members: int) -> list[Line]:
    """One row per preset: the network of the recipe in that size, all its weights trained."""
    shipped = load(SHIPPED)
    found = []
    for preset, change in PRESETS.items():
        line = Line(f"FoMo {preset}", "fomo", remark="shipped weights" if preset == "tiny" else "random weights")
        size = ModelConfig.model_validate({**base.model.model_dump(), **change})
        line.batch = BATCHES.get(preset, BATCH)
        large = preset in BATCHES
        optimiser = base.optimiser.model_copy(update={"batch": line.batch})
        recipe = base.model_copy(
            update={"model": size, "finetune": None, "windows": {WINDOW: 1.0}, "optimiser": optimiser}
        )
        training = Training(recipe, data)
        count = training.operations()
        assert count is not None
        training.advance()
        steps = 1 if large else STEPS
        line.training_ms = 1000 * min(seconds(training.advance) for _ in range(steps)) / line.batch
        line.training_gflop = count / line.batch / 1e9
        line.layers, line.width = size.encoder_layers + size.denoiser_layers, size.width
        line.parameters = line.trained = parameter_count(training.network)
        del training
        model = shipped
        if preset != "tiny":
            checkpoint = shipped.checkpoint.model_copy(update={"model": size})
            model = FoMo(MaskedDiffusionTransformer(size), checkpoint)
        asked(line, model, tasks[:1] if large else tasks, members)
        found.append(told(line))
    return found


def rival_line(entry: Entry, data: TrainingSet, tasks: Sequence[Task], members: int) -> Line:
    """The row of a rival, of what was trained elsewhere, or of a rule; the reason where it cannot run here."""
    line = Line(entry.name, entry.kind)
    try:
        if entry.kind == "deep":
            forecaster: Forecaster = fitted(entry, line, data)
        else:
            forecaster = entry.load()
            line.parameters = parameters_inside(forecaster)
        asked(line, forecaster, tasks, members)
    except (RivalUnavailable, UsageError) as error:
        line.remark = f"not run: {error}"
    except Exception as error:  # of somebody else's library: its row says so, the others go on
        line.remark = f"failed: {type(error).__name__}: {error}"
    return told(line)


def fitted(entry: Entry, line: Line, data: TrainingSet) -> NeuralRival:
    """A rival's network after some steps of its training, which are timed."""
    torch.manual_seed(0)
    network = entry.load()
    assert isinstance(network, RivalNetwork)
    backbone = getattr(network, "backbone", None)
    line.layers, line.width = sizes(network)
    line.remark = str(getattr(backbone, "described", ""))
    line.parameters = parameter_count(network)
    line.trained = parameter_count(network, trainable_only=True)
    line.batch = BATCH
    one = FitConfig(steps=1, batch=BATCH)
    line.training_gflop = operations(lambda: fit(network, data, one)) / BATCH / 1e9  # warms up, too
    line.training_ms = 1000 * min(fit(network, data, one).seconds for _ in range(STEPS)) / BATCH
    return NeuralRival(entry.name, network.eval())


def parameters_inside(forecaster: object) -> int | None:
    """Parameters of the networks that a forecaster of another library holds; None where none is found."""
    inside = [each for value in vars(forecaster).values() for each in (value, getattr(value, "model", None))]
    counts = [parameter_count(each) for each in inside if isinstance(each, torch.nn.Module)]
    return max(counts, default=None)


def asked(line: Line, forecaster: Forecaster, tasks: Sequence[Task], members: int) -> None:
    """Fills in what a member of a window costs."""
    first = seconds(lambda: forecaster.forecast_tasks(tasks[:1], members, 0))
    best = first
    if first < SECONDS:
        best = min(seconds(lambda: forecaster.forecast_tasks(tasks, members, 0)) for _ in range(ROUNDS)) / len(tasks)
    line.inference_ms, line.members = 1000 * best / members, members
    if line.parameters is not None:
        line.inference_gflop = operations(lambda: forecaster.forecast_tasks(tasks[:1], members, 0)) / members / 1e9


def told(line: Line) -> Line:
    """The row, said as soon as it is there."""
    print(asdict(line), flush=True)
    return line


def processor() -> str:
    """Its name, as the system gives it."""
    about = Path("/proc/cpuinfo")
    names = [
        text.partition(":")[2].strip() for text in (about.read_text().splitlines() if about.exists() else ())
        if text.startswith("model name")
    ]  # fmt: skip
    return names[0] if names else platform.processor() or platform.machine()


def table(lines: Sequence[Line], device: str) -> str:
    """The README's part."""
    heads = (
        "model", "layers", "width", "parameters", "training, ms a sample", "GFLOP", "inference, ms a sample", "GFLOP",
    )  # fmt: skip
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]

    def number(value: float | None, form: str = ".3g") -> str:
        """Three digits, never as a power of ten."""
        return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:{form}}"

    refused = []
    for line in lines:
        if line.inference_ms is None:
            refused.append(f"{line.model}: {line.remark}.")
            continue
        size = None if line.parameters is None else f"{line.parameters / 1e6:.3g} M"
        cells = (
            line.model, line.layers, line.width, size, number(line.training_ms), number(line.training_gflop),
            number(line.inference_ms, ".2f"), number(line.inference_gflop or None),
        )  # fmt: skip
        rows.append("| " + " | ".join("–" if cell is None else str(cell) for cell in cells) + " |")
    batches = ", ".join(f"{size} for {preset}" for preset, size in BATCHES.items())
    note = (
        f"\nOne thread of {device}, processor time. Training: a window of {WINDOW.replace('x', ' x ')} in a step of "
        f"{BATCH} ({batches}, one step). Inference: a member of a short window, {lines[0].members} at once. "
        "Weights are random but for `tiny`."
    )
    return "\n".join([*rows, note, *(["", *refused] if refused else [])]) + "\n"


def measured(data: Path, members: int, only: Sequence[str]) -> tuple[list[Line], str]:
    """All rows, and the device."""
    base = load_recipe(ROOT / "recipes/fomo-tiny.toml")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of POI that have no place: `fomo train` says so
        windows, _, _ = training_set(base, data)
    cities = read_family(data, "uomo_nanchang")
    questions = family_questions(cities, "short", context="full", split="fold", fold=0)
    tasks = [question.task for question in questions[:: max(1, len(questions) // WINDOWS)][:WINDOWS]]
    lines = [] if only and "FoMo" not in only else fomo_lines(base, windows, tasks, members)
    for entry in ENTRIES:
        if entry.kind != "fomo" and "short" in entry.tasks and not entry.needs and (not only or entry.name in only):
            lines.append(rival_line(entry, windows, tasks, members))
    return lines, processor()


def write(lines: Sequence[Line], device: str) -> None:
    """Both files."""
    about: dict[str, Any] = {"device": device, "threads": torch.get_num_threads()}
    about |= {"torch": torch.__version__, "fomo": fomo.__version__}
    with whole_file(ROOT / "results/table6.csv") as fresh:
        frame = pl.DataFrame([asdict(line) | about for line in lines], infer_schema_length=None)
        frame.write_csv(fresh, float_precision=4)
    with whole_file(ROOT / "results/table6.md") as fresh:
        fresh.write_text(table(lines, device), encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--members", type=int, default=24)
    parser.add_argument("--only", nargs="+", default=[], help="these rows alone, nothing is written; FoMo: its presets")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines, device = measured(data_folder(options.data), options.members, options.only)
    if options.only:
        print(table(lines, device))
    else:
        write(lines, device)


if __name__ == "__main__":
    main()
