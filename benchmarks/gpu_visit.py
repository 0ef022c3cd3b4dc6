"""One command for a short visit to a GPU: train a preset from a recipe, measure, leave everything in a folder.

    python benchmarks/gpu_visit.py --preset 5m --minutes 7 --data DIR --out visit

The folder then has `run/` (as of `fomo train`: the same command goes on with it), `weights/` of the averaged network as
it stood when time was up (bfloat16 on CUDA, safetensors), `metrics.jsonl` with tokens a second and the share of the
measured peak, `profile.txt` of some steps, and `visit.json`: device, rates, forecasts a second, scores on the fold held
back.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import fomo
from fomo.app.service.forecasting import choose_device
from fomo.app.service.training import METRICS, train
from fomo.evaluation.protocol import evaluate
from fomo.evaluation.questions import TaskName, family_questions
from fomo.evaluation.rows import row
from fomo.files import whole_file
from fomo.forecasters.fomo import FoMo, load
from fomo.model.transformer import PRESETS, ModelConfig
from fomo.sources import data_folder, read_family
from fomo.sources.synthetic import synthetic_city
from fomo.training.data import training_set
from fomo.training.loop import Training
from fomo.training.pace import matrix_rate
from fomo.training.recipe import Recipe, load_recipe
from fomo.windows.task import forecast_task

ROOT = Path(__file__).resolve().parent.parent
#: Steps that are profiled, windows of a family and task that are scored, and members of each.
PROFILED, WINDOWS, MEMBERS = 5, 24, 20
TASKS: tuple[TaskName, ...] = ("short", "long")


def sized(recipe: Recipe, preset: str) -> Recipe:
    """The recipe with another size of network; dropout and context stay those of the recipe."""
    changes = {**PRESETS[preset]}
    model = ModelConfig.model_validate({**recipe.model.model_dump(), **changes})
    return recipe.model_copy(update={"model": model, "name": f"{recipe.name}-{preset}"})


def named(device: str) -> str:
    """What a device is called."""
    return torch.cuda.get_device_name() if device.startswith("cuda") else "cpu"


def profiled(training: Training) -> tuple[str, float | None]:
    """Where the time of some steps goes, the largest first; and the seconds a step that kernels ran, on CUDA."""
    training.advance()  # warm caches, and what is compiled
    on_cuda = training.device.startswith("cuda")
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]) as found:
        for _ in range(PROFILED):
            training.advance()
    averages = found.key_averages()
    text = str(averages.table(sort_by="self_device_time_total" if on_cuda else "self_cpu_time_total", row_limit=40))
    if not on_cuda:
        return text, None
    kernels = [
        event for event in averages
        if event.device_type == torch.autograd.DeviceType.CUDA and not event.is_user_annotation
        and not event.key.startswith("Memcpy")
    ]  # fmt: skip
    return text, sum(event.self_device_time_total for event in kernels) / 1e6 / PROFILED


def forecasts_a_second(model: FoMo) -> float:
    """Windows of 64 x 8 x 8 with 20 members each, whole."""
    tasks = [
        forecast_task(synthetic_city(height=8, width=8, days=7, seed=seed), 16, 48, past_week=False)
        for seed in range(8)
    ]
    model.forecast_tasks(tasks, MEMBERS, 0)
    began = time.perf_counter()
    model.forecast_tasks(tasks, MEMBERS, 0)
    return len(tasks) / (time.perf_counter() - began)


def scores(model: FoMo, recipe: Recipe, data: Path) -> list[dict[str, Any]]:
    """RMSE, CRPS and coverage on the first fold that the recipe holds back, some windows of each family."""
    found = []
    for family in (name for name in recipe.data.families if "@" not in name):
        cities = read_family(data, family)
        if not all("fold" in city.attrs for city in cities):
            continue
        for task in TASKS:
            asked = family_questions(cities, task, fold=recipe.data.held_back_folds[0])
            line = row(evaluate(model, asked[:: -(-len(asked) // WINDOWS)], samples=MEMBERS, progress=False))
            found.append(
                {"family": family, "task": task, "rmse": line.rmse, "crps": line.crps, "within 90 %": line.coverage90}
            )
    return found


def visit(recipe: Recipe, minutes: float, data: Path, out: Path, device: str, compile_network: bool) -> dict[str, Any]:
    """Everything in turn; what is done stays, whatever comes after it fails."""
    began = time.monotonic()
    run = out / "run"

    def told(step: int, numbers: dict[str, float]) -> None:
        if "steps_per_second" in numbers:
            share = f", {numbers['peak_share']:.1%} of the peak" if "peak_share" in numbers else ""
            print(
                f"step {step}: loss {numbers['loss']:.3f}, {numbers['tokens_per_second']:,.0f} tokens/s{share}",
                flush=True,
            )

    result = train(
        recipe,
        run,
        data,
        device=device,
        minutes=minutes,
        compile_network=compile_network,
        half=device.startswith("cuda"),
        report=told,
    )
    assert result.weights is not None
    shutil.copytree(result.weights, out / "weights", dirs_exist_ok=True)
    shutil.copy(run / METRICS, out / METRICS)
    last = json.loads((out / METRICS).read_text(encoding="utf-8").splitlines()[-1])
    with whole_file(out / "profile.txt") as fresh:
        windows, _, _ = training_set(recipe, data)
        text, _ = profiled(Training(recipe, windows, device, compile_network))
        fresh.write_text(text + "\n", encoding="utf-8")
    model = load(out / "weights", device=device)
    found = {
        "preset": recipe.name,
        "parameters": result.parameters,
        "device": named(device),
        "matrix_rate": matrix_rate(device),
        "steps": result.step,
        "of_steps": result.steps,
        **{
            name: last[name] for name in ("steps_per_second", "tokens_per_second", "peak_share", "loss") if name in last
        },
        "windows_a_second": forecasts_a_second(model),
        "scores": scores(model, recipe, data),
        "seconds": time.monotonic() - began,
        "fomo": fomo.__version__,
        "torch": torch.__version__,
    }
    with whole_file(out / "visit.json") as fresh:
        fresh.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes/traffic.toml")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="5m")
    parser.add_argument("--minutes", type=float, default=7.0, help="of training; measuring takes one or two more")
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    if not options.minutes > 0:
        raise SystemExit(f"--minutes {options.minutes:g}: more than none")
    recipe = sized(load_recipe(options.recipe), options.preset)
    device = choose_device(options.device)
    found = visit(recipe, options.minutes, data_folder(options.data), options.out, device, options.compile)
    print(json.dumps({name: value for name, value in found.items() if name != "scores"}))


if __name__ == "__main__":
    main()
