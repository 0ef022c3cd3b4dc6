"""Train a recipe into a run folder, resume it by itself, and export the averaged weights.

Several processes, started by `torchrun`, share every batch; the first of them reads and writes the run folder.

A run folder holds `recipe.json` and `data.json` (what the run is: another recipe or other data are refused),
`metrics.jsonl`, `snapshot/` (everything that changes; `kill -9` loses at most the steps since the last one) and, in
the end, `weights/`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fomo
from fomo.app.errors import UsageError
from fomo.app.service.forecasting import choose_device, load_weights
from fomo.app.service.parts import city_hash
from fomo.app.service.validation import make_validation
from fomo.city import CityError, open_city
from fomo.config import ConfigError
from fomo.files import whole_file
from fomo.forecasters.fomo import FoMo
from fomo.model.checkpoint import FORMAT_VERSION, Checkpoint, CheckpointError, save_checkpoint
from fomo.model.transformer import parameter_count
from fomo.sources import data_folder, list_families
from fomo.sources.archive import file_hash
from fomo.training.data import References, training_set
from fomo.training.finetune import merged
from fomo.training.loop import Report, Training, check_even, run
from fomo.training.recipe import DataConfig, Recipe, load_recipe
from fomo.training.together import PATIENCE, Together, joined
from fomo.windows.sample import TrainingSet

RECIPE, DATA, METRICS, SNAPSHOT, WEIGHTS = "recipe.json", "data.json", "metrics.jsonl", "snapshot", "weights"
#: What the weights that a run begins from are called beside the families of its data; no family has this name.
START = "weights to begin from"


@dataclass(frozen=True)
class TrainingResult:
    """Where a run stands. `weights` is None where it was stopped by hand before the end."""

    folder: Path
    step: int
    steps: int
    parameters: int
    trained: int  # those that were not frozen
    seconds: float
    weights: Path | None
    stopped: bool

    @property
    def finished(self) -> bool:
        """Whether the recipe's last step was reached."""
        return self.step >= self.steps


class _Stopped(Exception):
    """The user asked to stop; raised between two steps."""


def train(
    recipe: Path | Recipe,
    out: Path,
    folder: Path | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    minutes: float | None = None,
    compile_network: bool = False,
    half: bool = False,
    shard: bool = False,
    patience: float = PATIENCE,
    report: Report | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainingResult:
    """Train, or continue what is in `out`, and write `out/weights`.

    `report` hears of every step; once `stop` says True the step is finished, a snapshot saved and the run left.
    Where the launcher started several processes, all call this: `shard` divides the weights among them, and none waits
    for another longer than `patience` seconds.
    Raises `ConfigError`, `CityError`, `CheckpointError`, `UsageError`, `FloatingPointError`, `ProcessError`.
    """
    _check_options(threads, minutes, patience)
    if shard and compile_network:
        raise UsageError("--shard and --compile do not go together: leave one of them out")
    if threads is not None:
        torch.set_num_threads(threads)
    with joined(choose_device(device), shard, patience) as together:
        asked = {"minutes": minutes, "--compile": compile_network, "--export-half": half, "--shard": shard}

        def read() -> _Given:
            found = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
            check_even(found, together.place.size)
            where = data_folder(folder)
            hashes = data_hashes(found.data, where)
            begun = None if found.finetune is None else load_weights(found.finetune.start, "cpu")
            given = _Given(found, where, hashes, begun)
            if together.first:
                _same_run(out, found, given.sources)
            return given

        given = together.agree(read, lambda given: given.facts | asked)
        return _train(given, out, together, minutes, compile_network, half, report, stop)


@dataclass(frozen=True)
class _Given:
    """What every process reads for itself."""

    recipe: Recipe
    where: Path
    hashes: dict[str, str]
    begun: FoMo | None

    @property
    def sources(self) -> dict[str, str]:
        """SHA-256 of what a run is made of: family -> its data, and the weights that it begins from."""
        return self.hashes | ({} if self.begun is None else {START: self.begun.weights})

    @property
    def facts(self) -> dict[str, Any]:
        """What must be the same in all processes."""
        return {"recipe": self.recipe.model_dump(mode="json"), "data": self.sources}


def _train(
    given: _Given,
    out: Path,
    together: Together,
    minutes: float | None,
    compile_network: bool,
    half: bool,
    report: Report | None,
    stop: Callable[[], bool] | None,
) -> TrainingResult:
    """What all processes do once they agree."""
    recipe, where, hashes, begun = given.recipe, given.where, given.hashes, given.begun
    data, references, trained_on = training_set(recipe, where)
    if begun is not None:
        trained_on = tuple(sorted({*trained_on, *begun.trained_on}))
    start = None if begun is None else begun.network
    training = Training(recipe, data, together.device, compile_network, start, together)
    validate = make_validation(recipe.data, where, describe(recipe, references, data, trained_on, {}))
    together.from_first(lambda: _begin(out, recipe, given.sources))

    def heard(step: int, numbers: dict[str, float]) -> None:
        if report is not None and together.first:
            report(step, numbers)
        if stop is not None and together.any(stop()):
            raise _Stopped

    stopped, weights = False, None
    try:
        run(training, out, minutes=minutes, validate=validate, report=heard)
    except _Stopped:
        training.save(out / SNAPSHOT)
        stopped = True
    seconds = trained_seconds(out / METRICS)
    if not stopped:
        provenance = {
            "recipe": recipe.model_dump(mode="json"),
            "data": hashes,
            "steps": training.step,
            "seconds": round(seconds, 1),
            "device": torch.cuda.get_device_name() if together.device.startswith("cuda") else "cpu",
            "fomo": fomo.__version__,
            "torch": torch.__version__,
        }
        if not together.place.alone:
            provenance["processes"] = together.place.size
        checkpoint = describe(recipe, references, data, trained_on, provenance)
        if begun is not None:
            checkpoint = kept_from(begun.checkpoint, checkpoint)
        average = training.whole_average()
        weights = together.from_first(lambda: save_checkpoint(out / WEIGHTS, merged(average), checkpoint, half))
    parameters = parameter_count(training.network)
    trained = parameter_count(training.network, trainable_only=True)
    return TrainingResult(out, training.step, recipe.optimiser.steps, parameters, trained, seconds, weights, stopped)


def describe(
    recipe: Recipe,
    references: References,
    data: TrainingSet,
    trained_on: tuple[str, ...],
    provenance: dict[str, Any],
) -> Checkpoint:
    """What is stored beside the weights: what recipe and checkpoint both say, and where the weights come from."""
    both = {name: getattr(recipe, name) for name in Checkpoint.model_fields if name in Recipe.model_fields}
    return Checkpoint(
        format_version=FORMAT_VERSION,
        references=references.traffic,
        rhythms=data.rhythms,
        shapes=data.shapes,
        users_references=references.users,
        trained_on=trained_on,
        provenance=provenance,
        **both,
    ).with_users(data.users)


def kept_from(start: Checkpoint, now: Checkpoint) -> Checkpoint:
    """A fine-tuned description with what the weights begun with know of traffic: frozen weights go on reading that."""
    kept = ("references", "rhythms", "shapes", "users_references", "users_rates", "users_variances", "users", "answers")
    return now.model_copy(update={name: {**getattr(now, name), **getattr(start, name)} for name in kept})


def data_hashes(config: DataConfig, folder: Path) -> dict[str, str]:
    """family -> SHA-256 of the file that its cities are read from. Raises `CityError` for a family not there."""
    files = list_families(folder)
    families = [family for family in config.families if "@" not in family]
    missing = [family for family in families if family not in files]
    if missing:
        raise CityError(
            f"the recipe trains on {', '.join(missing)}, which {folder} does not have; "
            f"it has: {', '.join(files) or 'nothing that can be read'}"
        )
    return {family: _hash(files[family]) for family in families}


def file_of(folder: Path, family: str) -> str:
    """SHA-256 of the file of one family. Raises `CityError`."""
    files = list_families(folder)
    if family not in files:
        raise CityError(f"there is no family {family!r} in {folder}; there are: {', '.join(files) or 'none'}")
    return _hash(files[family])


def _hash(path: Path) -> str:
    """Of a file its bytes; of a saved city what it holds, as its own attribute may be of a file that it is cut from."""
    return file_hash(path) if path.is_file() else city_hash(open_city(path))


def _check_options(threads: int | None, minutes: float | None, patience: float) -> None:
    if threads is not None and threads < 1:
        raise UsageError(f"--threads {threads}: one thread at least")
    if minutes is not None and not minutes > 0:
        raise UsageError(f"--minutes {minutes}: more than none")
    if not 0 < patience < np.inf:
        raise UsageError(f"--patience {patience:g}: some seconds, more than none")


def _begin(out: Path, recipe: Recipe, sources: dict[str, str]) -> None:
    """Write what the run is."""
    _write_json(out / RECIPE, recipe.model_dump(mode="json"))
    _write_json(out / DATA, sources)


def _same_run(out: Path, recipe: Recipe, sources: dict[str, str]) -> None:
    """Refuse a folder that belongs to another run."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: name a folder")
    stored = _read_json(out / RECIPE)
    if stored is None:
        if (out / SNAPSHOT).exists():
            raise ConfigError(f"{out} holds a snapshot but no {RECIPE}, so its recipe is unknown: name another --out")
        return
    if not any((out / name).exists() for name in (SNAPSHOT, METRICS, WEIGHTS)):
        return  # it ended before its first steps were kept: there is nothing to go on with
    different = _differences(stored, recipe.model_dump(mode="json"))
    if different:
        raise ConfigError(
            f"{out} was begun with another recipe: {'; '.join(different[:5])}. Name another --out, or give the recipe "
            f"it was begun with"
        )
    before = sources | (_read_json(out / DATA) or {})
    changed = sorted(name for name in sources if before[name] != sources[name])
    if START in changed:
        raise CheckpointError(
            f"{out} was begun from other weights than the start of its [finetune] holds now: name another --out, or "
            "put those weights back"
        )
    if changed:
        raise CityError(
            f"{out} was begun with other data: {', '.join(changed)} changed. Name another --out, or give the --data "
            "it was begun with"
        )


def _differences(before: Any, now: Any, key: str = "") -> list[str]:
    """'key: value then, value now' for everything that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = list(dict.fromkeys([*before, *now]))
        return [
            text
            for name in names
            for text in _differences(before.get(name), now.get(name), f"{key}.{name}" if key else str(name))
        ]
    return [] if before == now else [f"{key} was {before}, is {now}"]


def trained_seconds(metrics: Path) -> float:
    """Seconds of all sittings that the steps in the log took; a sitting begins where its clock starts again.

    Processor time, which other work on the machine does not change; the clock's in logs that have no more.
    """
    total = last = 0.0
    if not metrics.exists():
        return total
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            numbers = json.loads(line)
            seconds = float(numbers.get("processor_seconds", numbers.get("seconds", last)))
        except json.JSONDecodeError:
            continue  # the line that was being written when the process died
        if seconds < last:
            total += last
        last = seconds
    return total + last


def tensorboard_report(folder: Path) -> Report:
    """A report that writes TensorBoard's events into `folder`. Raises `UsageError` where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError(
            "--tensorboard: the package is not installed; pip install tensorboard, or leave the option out: "
            f"{METRICS} holds the same numbers"
        ) from None
    writer = SummaryWriter(str(folder))

    def report(step: int, numbers: dict[str, float]) -> None:
        if "seconds" in numbers:  # the steps that the log has
            for name, value in numbers.items():
                writer.add_scalar(name, value, step)

    return report


def _write_json(path: Path, content: Any) -> None:
    with whole_file(path) as fresh:
        fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:
    """The content, or None where there is no file. Raises `ConfigError` for a damaged one."""
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is damaged ({error}): name another --out") from None


__all__ = ["TrainingResult", "data_hashes", "describe", "file_of", "tensorboard_report", "train", "trained_seconds"]
