"""How fast forecasts are, and what few steps cost in accuracy; the last line is a JSON object.

    python benchmarks/speed.py                      # `make bench-speed`: needs no data, and takes FOMO_DATA where it is
    python benchmarks/speed.py accuracy --data DIR  # samplers and steps beside many steps: results/few-steps.csv
    python benchmarks/speed.py scale                # by cells, samples and horizon: results/speed-scale.csv

Times are minima over repeats, whole: from a task to a forecast. Ratios are of one run, so they carry over to other
machines better than the seconds do.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from clock import EDGE, UOMO, operations, seconds_of, some
from torch.nn.functional import linear

from fomo.evaluation.protocol import evaluate
from fomo.evaluation.questions import Question, family_questions
from fomo.evaluation.rows import row
from fomo.forecasters.drawing import AT_ONCE, SamplingConfig
from fomo.forecasters.fomo import FoMo, load
from fomo.model.transformer import parameter_count
from fomo.sources import read_family
from fomo.sources.synthetic import synthetic_city
from fomo.training.pace import matrix_rate
from fomo.windows.task import Task, forecast_task

SAMPLES = 20
#: What few steps are held against.
MANY = SamplingConfig(sampler="heun", steps=32)
#: Asked windows a family, in the comparison with many steps.
WINDOWS = 16


def shortest(work: Callable[[], object], repeats: int) -> float:
    """The least wall-clock time in seconds, after one warm-up."""
    return min(seconds_of(work, repeats))


def task_of(height: int, width: int, horizon: int = 16, days: int = 7, past: bool = False) -> Task:
    """The steps after the end of a made city, in a window of 64 steps, without its context; its `past` known or not."""
    return forecast_task(synthetic_city(height=height, width=width, days=days), horizon, 64 - horizon, past_week=past)


def shapes_rate(width: int, tokens: int) -> float:
    """Operations per second of the four products of a block for so many tokens, each in the shape that it has."""
    operations, seconds = 0.0, 0.0
    for reads, gives in ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)):
        left, right, bias = torch.randn(tokens, reads), torch.randn(gives, reads), torch.randn(gives)
        operations += 2 * tokens * reads * gives
        seconds += shortest(lambda left=left, right=right, bias=bias: linear(left, right, bias), 30)
    return operations / seconds


@contextmanager
def network_clock(model: FoMo) -> Iterator[list[tuple[float, float]]]:
    """When every call of the encoder and the denoiser began and ended; several are under way at a time."""
    spent: list[tuple[float, float]] = []
    network = model.network
    whole = {name: getattr(network, name) for name in ("encode", "denoise")}

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*given: Any) -> Any:
            began = time.perf_counter()
            found = call(*given)
            spent.append((began, time.perf_counter()))
            return found

        return clocked

    for name, call in whole.items():
        setattr(network, name, timed(call))
    try:
        yield spent
    finally:
        for name in whole:
            delattr(network, name)


def network_seconds(model: FoMo, task: Task, repeats: int) -> float:
    """The least time that the network itself takes in a forecast."""
    found = []
    for _ in range(repeats):
        with network_clock(model) as spent:
            model.forecast_tasks([task], SAMPLES, 0)
        found.append(seconds_under_way(spent))
    return min(found)


def seconds_under_way(spans: list[tuple[float, float]]) -> float:
    """How long any of these spans of time lasted: where they overlap, once."""
    total, until = 0.0, -math.inf
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


def questions(data: Path | None, fold: int, windows: int) -> list[list[Question]]:
    """Windows to compare samplers on: of regions of one fold of the data, else the last days of a made city."""
    if data is None:
        made = synthetic_city(height=4, width=4, days=21, seed=5)
        families = [family_questions([made], "short", split="last_fifth", past_week=False)]
    else:
        families = [family_questions(read_family(data, name), "short", fold=fold) for name in UOMO]
    return [some(asked, windows) for asked in families]


def crps_ratio(few: FoMo, many: FoMo, families: list[list[Question]]) -> float:
    """CRPS of few steps over that of many, the mean over families."""
    ratios = []
    for asked in families:
        first, second = (row(evaluate(model, asked, samples=24, progress=False)).crps for model in (few, many))
        assert first is not None and second is not None
        ratios.append(first / second)
    return sum(ratios) / len(ratios)


def whole_seconds(model: FoMo, window: Task, city: Task, threads: int, repeats: int) -> tuple[float, float]:
    """Seconds of a city and of a window, from a task to a forecast, with so many threads."""
    torch.set_num_threads(threads)
    city_seconds = shortest(lambda: model.forecast_tasks([city], SAMPLES, 0), repeats)
    return city_seconds, shortest(lambda: model.forecast_tasks([window], SAMPLES, 0), 5 * repeats)


def measure(weights: str, data: Path | None, threads: tuple[int, ...], repeats: int) -> dict[str, object]:
    """What `make bench-speed` prints, with the number of threads that is fastest for a city."""
    model = load(weights)
    window, city = task_of(4, 4), task_of(20, 28)
    found = {number: whole_seconds(model, window, city, number, repeats) for number in threads}
    best = min(found, key=lambda number: found[number][0])
    city_seconds, window_seconds = found[best]
    torch.set_num_threads(best)
    network = network_seconds(model, city, repeats)
    with_past = task_of(20, 28, days=21, past=True)
    past_seconds = shortest(lambda: model.forecast_tasks([with_past], SAMPLES, 0), repeats)
    count = operations(lambda: model.forecast_tasks([city], SAMPLES, 0))
    tokens = AT_ONCE // model.network.config.token_shape.cells // 4  # of a pass: a quarter of a window is asked
    square, shapes = matrix_rate("cpu", EDGE), shapes_rate(model.network.config.width, tokens)
    return {
        "window_seconds": round(window_seconds, 4),
        "city_seconds": round(city_seconds, 3),
        "city_with_past_seconds": round(past_seconds, 3),  # three weeks known: twelve hindcasts
        "city_network_seconds": round(network, 3),
        "floor_ratio": round(network / (count / square), 2),
        "floor_ratio_at_own_shapes": round(network / (count / shapes), 2),
        "gflop": round(count / 1e9, 1),
        "gflops_square": round(square / 1e9),
        "gflops_own_shapes": round(shapes / 1e9),
        "sampler": model.sampling.sampler,
        "steps": model.sampling.steps,
        "crps_ratio": round(crps_ratio(model, load(weights, sampling=MANY), questions(data, 0, WINDOWS)), 4),
        "crps_of": "a made city" if data is None else "unseen regions (fold 0)",
        "params": parameter_count(model.network),
        "threads": best,
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["times", "accuracy", "scale"], default="times")
    parser.add_argument("--weights", default="fomo-tiny")
    parser.add_argument("--data", type=Path, help="folder of the real data; default: FOMO_DATA")
    parser.add_argument("--threads", type=int, help="default: one or two, whichever is faster; else one")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folds", type=int, nargs="+", default=[2], help="accuracy: the folds that are asked")
    parser.add_argument("--windows", type=int, default=WINDOWS, help="accuracy: windows of a family and task")
    parser.add_argument("--point", type=int, nargs=4, help=argparse.SUPPRESS)  # scale, in a process of its own
    options = parser.parse_args()
    torch.set_num_threads(options.threads or 1)
    named = options.data or os.environ.get("FOMO_DATA")
    data = Path(named) if named else None
    if options.what == "times":
        threads = (options.threads,) if options.threads else (1, 2)
        print(json.dumps(measure(options.weights, data, threads, options.repeats)))
    elif options.what == "accuracy":
        from speed_accuracy import few_steps

        few_steps(options.weights, data, options.folds, options.windows)
    else:
        from speed_scale import point, scale

        if options.point is None:
            scale(options.weights, options.threads or 1)
        else:
            print(json.dumps(point(options.weights, *options.point)))


if __name__ == "__main__":
    main()
