"""What a loan of a GPU is used for: see `gpu_loan.py`, which runs these side by side and makes the tables."""

from __future__ import annotations

import cProfile
import io
import json
import pstats
import shutil
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from clock import UOMO, seconds_of
from gpu_place import Place
from gpu_visit import named, profiled, sized
from scaling import score_run, share_of
from torch.profiler import ProfilerActivity, profile

import fomo
from fomo.app.service.evaluation import evaluate as score_family
from fomo.app.service.training import METRICS, train
from fomo.evaluation.questions import family_questions
from fomo.evaluation.rows import Row
from fomo.files import whole_file
from fomo.forecasters.drawing import SamplingConfig
from fomo.forecasters.fomo import FoMo, load
from fomo.model.transformer import PRESETS, MaskedDiffusionTransformer, ModelConfig, parameter_count
from fomo.sources import read_family
from fomo.sources.synthetic import synthetic_city
from fomo.training.data import training_cities, training_set
from fomo.training.loop import Training, run
from fomo.training.pace import matrix_rate
from fomo.training.recipe import Recipe, load_recipe
from fomo.windows.sample import TrainingSet, family_references
from fomo.windows.task import ContextMode, Task, forecast_task

ROOT = Path(__file__).resolve().parent.parent
#: Width that the recipes' learning rates are for.
TINY = 96
#: Windows of a step that fill a GPU, and seconds that a pace is measured for.
FILLED = {"tiny": 1024, "5m": 1024, "35m": 1024, "100m": 1024, "150m": 768, "200m": 768}
SECONDS = 2.0
#: Learning rate of steps that are only timed.
SAFE_RATE = 1e-5
MEMBERS = 20
#: Windows of a step of the scaling law and how many steps: 3.3 million tokens a run.
SCALING_BATCH, SCALING_STEPS = 256, 200
SCALING_SIZES, SCALING_SHARES = ("5m", "35m", "100m", "150m", "200m"), (1.0, 0.125, 0.5, 0.25)
MODES: tuple[ContextMode, ...] = ("none", "past", "full")


def rated(recipe: Recipe, steps: int | None = None, rate: float | None = None, batch: int | None = None) -> Recipe:
    """With the learning rate that goes with the width, as 1 / width, and with another length or batch."""
    width = recipe.model.width
    changes: dict[str, Any] = {"learning_rate": rate or recipe.optimiser.learning_rate * min(1.0, TINY / width)}
    changes |= {name: value for name, value in {"steps": steps, "batch": batch}.items() if value is not None}
    return recipe.model_copy(update={"optimiser": recipe.optimiser.model_copy(update=changes)})


def waited(device: str) -> None:
    """Return once the device has done what it was asked."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def pace(place: Place, preset: str) -> dict[str, Any]:
    """Steps of training and forecasts a second of a preset, the others stopped, plain and compiled."""
    device = place.device
    base = sized(load_recipe(ROOT / "recipes/traffic.toml"), preset)
    base = base.model_copy(update={"windows": {"64x4x4": 1.0}})
    data, _, _ = training_set(base, place.data)
    found: dict[str, Any] = {"preset": preset, "device": named(device), "torch": torch.__version__, "training": []}
    base = rated(base)
    counted = Training(base, data, device, workers=0).operations()
    assert counted is not None
    few, many = base.optimiser.batch, FILLED[preset]
    ways = [(many, True)]
    if preset in ("tiny", "5m"):
        ways += [(few, False), (few, True)]
    if preset == "200m":
        ways += [(many * 3 // 2, True)]
    for batch, compiled in ways:
        line: dict[str, Any] = {"batch": batch, "compiled": compiled}
        found["training"].append(line)
        try:
            training = Training(rated(base, batch=batch, rate=SAFE_RATE), data, device, compiled)
            line |= training_pace(place, training, counted * batch / few)
            if len(found["training"]) == 1:
                with place.alone():
                    text, line["kernels_seconds"] = profiled(training)
                    waits = waited_for(training) if place.device.startswith("cuda") else ""
                place.note("training", text)
                place.note("waits", waits)
            training.ahead.close()
            del training
        except (RuntimeError, AssertionError) as error:  # of one way: its row says so, the others go on
            line["error"] = f"{type(error).__name__}: {error}"[:500]
        torch.compiler.reset()  # another batch size is compiled for itself
        print(line, flush=True)
    found["forecasting"] = forecasts(place, preset)
    return found


def waited_for(training: Training) -> str:
    """Where steps of training wait for the device, and where the host's time goes."""
    found: Counter[str] = Counter()

    def told(message: Warning | str, *_: object, **__: object) -> None:
        lines = [line for line in traceback.extract_stack() if "fomo" in line.filename and line.filename != __file__]
        found[f"{threading.current_thread().name}: {[f'{line.filename}:{line.lineno}' for line in lines[-3:]]}"] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = told
        torch.cuda.set_sync_debug_mode("warn")
        for _ in range(4):
            training.launch()
        torch.cuda.set_sync_debug_mode("default")
    training.read()

    def steps() -> None:
        for _ in range(10):
            training.launch()
            training.read(1)

    return "\n".join(f"{count} {place}" for place, count in found.most_common()) + f"\n\n{asked_by(steps)}"


def training_pace(place: Place, training: Training, operations: float) -> dict[str, Any]:
    """Seconds of a step, and what that is of the measured matrix product."""
    began = time.perf_counter()
    for _ in range(3):
        training.advance()
    waited(place.device)
    line = {"first_steps_seconds": time.perf_counter() - began}
    with place.alone():
        rate, steps = matrix_rate(place.device), 0
        training.advance()
        waited(place.device)
        began = time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            training.launch()
            training.read(1)  # as `run` does: the next step is under way before this one is read
            steps += 1
        training.read()
        waited(place.device)
        each = (time.perf_counter() - began) / steps
    line |= {
        "parameters": parameter_count(training.network), "matrix_rate": rate, "operations": operations,
        "step_seconds": each, "tokens_per_second": training.recipe.optimiser.batch * 64 / each,
        "peak_share": operations / each / rate,
    }  # fmt: skip
    if place.device.startswith("cuda"):
        line["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        torch.cuda.reset_peak_memory_stats()
    return line


def preset_model(preset: str, device: str, sampling: SamplingConfig | None = None) -> FoMo:
    """The shipped weights, or random ones of another size: time does not depend on them."""
    shipped = load("fomo-tiny", device=device, sampling=sampling)
    if preset == "tiny":
        return shipped
    size = ModelConfig.model_validate({**shipped.checkpoint.model.model_dump(), **PRESETS[preset]})
    torch.manual_seed(0)
    checkpoint = shipped.checkpoint.model_copy(update={"model": size})
    return FoMo(MaskedDiffusionTransformer(size), checkpoint, device=device, sampling=sampling)


def short_tasks(data: Path) -> list[Task]:
    """Short windows of the unseen regions of Nanchang, whose users are known."""
    cities = read_family(data, "uomo_nanchang")
    return [one.task for one in family_questions(cities, "short", context="full", split="fold", fold=0)]


def forecasts(place: Place, preset: str) -> list[dict[str, Any]]:
    """Windows and whole cities a second."""
    tasks = short_tasks(place.data)[:256]
    city = forecast_task(synthetic_city(height=20, width=28, days=7), 16, 48, past_week=False)
    found = []
    for rows, precision in ((None, "highest"), (None, "high")):  # "high": products of tf32
        torch.set_float32_matmul_precision(precision)
        model = preset_model(preset, place.device, SamplingConfig(rows=rows))
        line: dict[str, Any] = {"rows": model.sampling.rows_on(place.device.split(":")[0]), "precision": precision}
        found.append(line)
        with place.alone():
            line["windows_per_second"] = len(tasks) / quickest(model, tasks, 2)
            line["window_seconds"] = quickest(model, tasks[:1], 5)
            line["city_seconds"] = quickest(model, [city], 3)
        print(line, flush=True)
    torch.set_float32_matmul_precision("highest")
    model = preset_model(preset, place.device)
    with place.alone():
        place.note("forecast", profiled_forecast(model, tasks))
    return found


def profiled_forecast(model: FoMo, tasks: Sequence[Task]) -> str:
    """Where the time of forecasts of windows goes, by operation."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if model.device.startswith("cuda") else [])]
    with profile(activities=activities) as found:
        model.forecast_tasks(tasks, MEMBERS, 0)
    order = "self_device_time_total" if len(activities) > 1 else "self_cpu_time_total"
    table = found.key_averages().table(sort_by=order, row_limit=25)
    return f"{table}\n{asked_by(partial(model.forecast_tasks, tasks, MEMBERS, 0))}"


def asked_by(work: Callable[[], object]) -> str:
    """Where the time of the host goes, by function."""
    clock = cProfile.Profile()
    clock.runcall(work)
    text = io.StringIO()
    pstats.Stats(clock, stream=text).sort_stats("tottime").print_stats(30)
    return text.getvalue()


def quickest(model: FoMo, tasks: Sequence[Task], repeats: int) -> float:
    """The least time; forecasts end with numbers on the host, so nothing is under way after them."""
    return min(seconds_of(partial(model.forecast_tasks, tasks, MEMBERS, 0), repeats))


def same_on_both(place: Place) -> dict[str, Any]:
    """How far forecasts on the device are from those on the processor, relative to the largest value."""
    found: dict[str, Any] = {"device": named(place.device)}
    both = [load("fomo-tiny", device=device) for device in ("cpu", place.device)]
    asked = {
        "windows": lambda model: model.forecast_tasks(short_tasks(place.data)[:8], MEMBERS, 0),
        "city with its past": lambda model: [
            model.forecast(synthetic_city(height=12, width=12, days=21), horizon=16, samples=MEMBERS)
        ],
        "long": lambda model: [model.forecast(synthetic_city(height=6, width=6, days=14), horizon=96, samples=4)],
    }
    for name, ask in asked.items():
        one, other = (ask(model) for model in both)
        found[name] = max(
            float(abs(a.samples.values - b.samples.values).max() / abs(a.samples.values).max())
            for a, b in zip(one, other, strict=True)
        )
    return found


def trained(place: Place, recipe: Recipe, folder: Path, start: Path | None = None) -> Path:
    """Weights of a recipe in its run folder, begun from others."""
    if start is not None and recipe.finetune is not None:
        recipe = recipe.model_copy(update={"finetune": recipe.finetune.model_copy(update={"start": str(start)})})
    result = train(recipe, folder, place.data, device=place.device, half=True)
    assert result.weights is not None
    return result.weights


def preset(place: Place, size: str) -> dict[str, Any]:
    """A preset trained to the end of both shipped recipes, and scored on the regions that no recipe saw."""
    began = time.monotonic()
    first, second = (
        rated(sized(load_recipe(ROOT / f"recipes/{name}.toml"), size)) for name in ("traffic", "fomo-tiny")
    )
    weights = trained(place, first, place.folder / "traffic")
    second = second.model_copy(update={"name": f"fomo-{size}"})
    weights = trained(place, second, place.folder / "context", weights)
    shutil.copytree(weights, place.folder / "weights", dirs_exist_ok=True)
    return {
        "preset": size,
        "device": named(place.device),
        "seconds": time.monotonic() - began,
        "steps": [first.optimiser.steps, second.optimiser.steps],
        "rows": regions(place, str(place.folder / "weights")),
    }


def regions(place: Place, weights: str) -> list[dict[str, Any]]:
    """The table of unseen regions: FoMo's rows."""
    rows = []
    for task in ("short", "long"):
        for family in UOMO:
            for mode in MODES:
                found: Row = score_family(
                    place.data, family, task, weights=weights, samples=MEMBERS, context=mode, device=place.device,
                    others=("history mean",),
                ).rows[0]  # fmt: skip
                scored = {"rmse": found.rmse, "mae": found.mae, "crps": found.crps, "within_90": found.coverage90}
                rows.append({"family": family, "task": task, "context": mode, **scored})
                print(rows[-1], flush=True)
    return rows


def trial(place: Place, size: str) -> dict[str, Any]:
    """traffic.toml with fold 1 held back too, and scored on it as it goes; by its log."""
    recipe = rated(sized(load_recipe(ROOT / "recipes/traffic.toml"), size))
    held_back = recipe.data.model_copy(update={"validation_fold": 1})
    weights = trained(place, recipe.model_copy(update={"data": held_back}), place.folder)
    last = (place.folder / METRICS).read_text(encoding="utf-8").splitlines()[-1]
    return {"weights": str(weights.relative_to(place.out)), "last": json.loads(last)}


def law(place: Place, size: str, share: float) -> dict[str, Any]:
    """One run of the scaling law: a preset on a share of the data, scored on fold 1."""
    base = sized(load_recipe(ROOT / "recipes/scaling.toml"), size)
    recipe = rated(base, SCALING_STEPS, batch=SCALING_BATCH)
    recipe = recipe.model_copy(update={"name": f"scaling-{size}-{share:g}"})
    cities = share_of(training_cities(base.data, place.data), share, recipe.seed)
    references = family_references(cities)
    windows = TrainingSet(cities, references, recipe.augment, recipe.data.families)
    training = Training(recipe, windows, place.device)
    began = time.process_time()
    run(training, place.folder)
    seconds = time.process_time() - began
    return score_run(training, references, windows, cities, place.data, place.folder) | {
        "size": size,
        "share": share,
        "seconds": round(seconds, 1),
        "device": named(place.device),
    }


#: Name, what it does, and whether it gets all cores: it measures, and compiles.
JOBS: dict[str, tuple[Callable[[Place], dict[str, Any]], bool]] = {
    "preset-5m": (lambda place: preset(place, "5m"), False),
    "preset-35m": (lambda place: preset(place, "35m"), False),
    "pace-200m": (lambda place: pace(place, "200m"), True),
    "same": (same_on_both, True),
    "pace-tiny": (lambda place: pace(place, "tiny"), True),
    **{
        f"law-{size}-{share:g}": (lambda place, size=size, share=share: law(place, size, share), False)
        for size in SCALING_SIZES
        for share in SCALING_SHARES
    },
    **{f"pace-{size}": (lambda place, size=size: pace(place, size), True) for size in ("5m", "35m", "100m", "150m")},
    "trial-tiny": (lambda place: trial(place, "tiny"), False),
    "trial-5m": (lambda place: trial(place, "5m"), False),
}


def one_job(place: Place) -> None:
    """Do it, and write its record."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # of POI that have no place: `fomo train` says so
    place.folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    found = JOBS[place.name][0](place)
    found |= {"job_seconds": time.monotonic() - began, "fomo": fomo.__version__}
    with whole_file(place.out / f"{place.name}.json") as fresh:
        fresh.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
