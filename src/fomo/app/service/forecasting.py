"""Forecast, generate and fill a city of a file, and write what comes out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fomo
from fomo.app.errors import UsageError
from fomo.app.service.outputs import Outputs
from fomo.app.service.parts import PATIENCE, Parts, city_hash, parts_of
from fomo.city import City, steps_per_day
from fomo.forecast import Forecast
from fomo.forecasters.ahead import members_unit
from fomo.forecasters.fomo import FoMo, load
from fomo.processes import Place
from fomo.windows.task import CONTEXT_LAYERS, ContextMode

DEFAULT_WEIGHTS = "fomo-tiny"


@dataclass(frozen=True)
class Answer:
    """A forecast, the files it was written to and the seconds that the network took.

    In a process that is not the first of several, its members, which that one joins and writes.
    """

    forecast: Forecast
    written: list[Path]
    seconds: float
    place: Place = Place()  # noqa: RUF009 (frozen)


def load_weights(weights: str = DEFAULT_WEIGHTS, device: str = "auto") -> FoMo:
    """The network on a device ('auto' takes a GPU if there is one). Raises `CheckpointError`, `UsageError`."""
    return load(weights, device=choose_device(device))


def choose_device(device: str) -> str:
    """'cpu' or 'cuda'. Raises `UsageError` where a GPU is asked for and there is none."""
    import torch

    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise UsageError("--device cuda: this PyTorch sees no CUDA GPU; use --device cpu")
    return ("cuda" if there else "cpu") if device == "auto" else device


def forecast(
    city: City,
    outputs: Outputs,
    *,
    weights: str = DEFAULT_WEIGHTS,
    horizon: int = 16,
    history: int | None = None,
    samples: int = 20,
    seed: int = 0,
    past_week: bool = True,
    context: ContextMode = "past",
    assume_users: float | None = None,
    device: str = "auto",
    place: Place | None = None,
) -> Answer:
    """The steps after the end of a city.

    `assume_users`: for context `full`, the users of the same hours of last week times this factor. `place`: which of
    several processes this one is, that draw some of the members each; the first one joins and writes them.
    """
    _check_samples(samples)
    ahead = _assumed(city, horizon, context, assume_users)
    if history is not None and history < 1:
        raise UsageError(f"--history {history}: look back on one step at least")
    asked = {
        "verb": "forecast", "horizon": horizon, "history": history, "samples": samples, "seed": seed,
        "past week": past_week, "context": context, "assumed users": assume_users,
    }  # fmt: skip
    return _answer(
        city, outputs, weights, device, asked, place or Place(),
        lambda model, only: model.forecast(city, horizon, history, samples, seed, past_week, context, ahead, only),
    )  # fmt: skip


def _assumed(city: City, horizon: int, context: ContextMode, factor: float | None) -> np.ndarray | None:
    """Users of the asked steps, or None where none are assumed. Raises `UsageError`."""
    if factor is None:
        if context == "full" and "users" in city:
            raise UsageError(
                "--context full: nobody knows the users of the hours ahead; say what you assume, for example "
                "--assume-users 1.2 for last week's times 1.2, or take --context past"
            )
        return None
    if context != "full":
        raise UsageError("--assume-users: assumed users are used with --context full only")
    if not 0 < factor < np.inf:
        raise UsageError(f"--assume-users {factor:g}: a factor above 0")
    if "users" not in city:
        raise UsageError(f"--assume-users: {city.attrs['name']!r} has no users; import them, or take --context past")
    week = 7 * steps_per_day(city)
    if city.sizes["time"] < week:
        raise UsageError(f"--assume-users: {city.attrs['name']!r} has no full week of users to start from")
    users = city["users"].values
    ahead = users[len(users) - week + np.arange(horizon) % week]
    if not np.isfinite(ahead[:, city["covered"].values]).all():
        raise UsageError(f"--assume-users: users of last week are missing in {city.attrs['name']!r}; fill them first")
    return np.asarray(np.where(np.isfinite(ahead), ahead * factor, 0.0), np.float32)


def generate(
    city: City,
    area: np.ndarray,
    outputs: Outputs,
    *,
    weights: str = DEFAULT_WEIGHTS,
    samples: int = 20,
    seed: int = 0,
    context: ContextMode = "full",
    layers: Sequence[str] = CONTEXT_LAYERS,
    device: str = "auto",
    place: Place | None = None,
) -> Answer:
    """All times of the cells of `area` (bool (y, x)), as if they had no history."""
    _check_samples(samples)
    asked = {
        "verb": "generate", "area": np.packbits(area).tobytes().hex(), "samples": samples, "seed": seed,
        "context": context, "layers": list(layers),
    }  # fmt: skip
    return _answer(
        city, outputs, weights, device, asked, place or Place(),
        lambda model, only: model.generate(city, area, samples, seed, context, layers, only),
    )  # fmt: skip


def fill(
    city: City,
    outputs: Outputs,
    *,
    weights: str = DEFAULT_WEIGHTS,
    samples: int = 20,
    seed: int = 0,
    context: ContextMode = "full",
    device: str = "auto",
    place: Place | None = None,
) -> Answer:
    """The values of covered cells that were not recorded; the others come back untouched."""
    _check_samples(samples)
    asked = {"verb": "fill", "samples": samples, "seed": seed, "context": context}
    return _answer(
        city, outputs, weights, device, asked, place or Place(),
        lambda model, only: model.fill(city, samples, seed, context, only=only),
    )  # fmt: skip


def _answer(
    city: City,
    outputs: Outputs,
    weights: str,
    device: str,
    asked: Mapping[str, Any],
    place: Place,
    ask: Callable[[FoMo, range | None], Forecast],
) -> Answer:
    """What is asked of the model; of several processes, each draws its own members and the first one joins them."""
    outputs.check()
    model = _loaded(weights, device, place)
    parts = None if place.alone else _parts(city, outputs, model, asked, place)
    began = time.perf_counter()
    found = ask(model, None) if parts is None else parts.draw(partial(ask, model))
    seconds = time.perf_counter() - began
    if not place.first:
        return Answer(found, [], seconds, place)
    if parts is not None:
        parts.wait(max(PATIENCE, seconds))
        found = parts.join()
    written = outputs.write(found, city)
    if parts is not None:
        parts.remove()
    return Answer(found, written, seconds, place)


def _loaded(weights: str, device: str, place: Place) -> FoMo:
    """The model, on the GPU of this process where there are several."""
    if place.alone:
        return load_weights(weights, device)
    import torch

    chosen = choose_device(device)
    return load(weights, device=place.gpu(torch.cuda.device_count()) if chosen == "cuda" else chosen)


def _parts(city: City, outputs: Outputs, model: FoMo, asked: Mapping[str, Any], place: Place) -> Parts:
    """Where the members of every process go, by all that they depend on."""
    import torch

    facts = {
        **asked,
        "city": city_hash(city),
        "weights": model.weights,
        "fomo": fomo.__version__,
        "torch": str(torch.__version__),
    }
    unit = members_unit(int(asked.get("horizon", 1)))
    return parts_of(outputs.forecast, place, int(asked["samples"]), unit, facts)


def _check_samples(samples: int) -> None:
    if samples < 1:
        raise UsageError(f"--samples {samples}: one member at least")


def parse_area(text: str, city: City) -> np.ndarray:
    """'y0:y1,x0:x1' (rows from the south, columns from the west, ends left out) as bool (y, x).

    Raises `UsageError`.
    """
    found = re.fullmatch(r"\s*(\d+):(\d+)\s*,\s*(\d+):(\d+)\s*", text)
    height, width = city.sizes["y"], city.sizes["x"]
    if found is None:
        raise UsageError(f"--area {text!r}: write rows and columns as y0:y1,x0:x1, for example 2:4,0:3")
    y0, y1, x0, x1 = map(int, found.groups())
    if not (y0 < y1 <= height and x0 < x1 <= width):
        raise UsageError(f"--area {text!r} does not lie on the grid of {height} x {width} cells: 0:{height},0:{width}")
    area = np.zeros((height, width), bool)
    area[y0:y1, x0:x1] = True
    if area.all() and not any(name in city for name in CONTEXT_LAYERS):
        raise UsageError(
            f"--area {text!r} is the whole city, which has no users, POI or residents: "
            "leave some cells to generate it from"
        )
    return area


__all__ = ["Answer", "choose_device", "fill", "forecast", "generate", "load_weights", "parse_area"]
