"""A forecaster trained on a set, once: FoMo by its recipes, rivals by theirs, rules as they are."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fomo.app.errors import UsageError
from fomo.app.service.scoreboard.digest import code_digest, digest, with_imports
from fomo.app.service.scoreboard.plan import ScoreboardRecipe, in_words, slug
from fomo.app.service.training import DATA, RECIPE, WEIGHTS, data_hashes, train, trained_seconds
from fomo.config import ConfigError
from fomo.files import usual_mode, whole_file
from fomo.forecasters.fomo import load
from fomo.forecasters.protocol import Forecaster
from fomo.forecasters.registry import Entry
from fomo.forecasters.rivals.forecaster import NeuralRival
from fomo.forecasters.rivals.inputs import make_inputs
from fomo.forecasters.rivals.last_week import knows_both
from fomo.forecasters.rivals.network import RivalNetwork
from fomo.forecasters.rivals.series import RivalUnavailable
from fomo.forecasters.rivals.training import FitConfig, draw_batch, fit
from fomo.model.transformer import parameter_count
from fomo.training.data import training_set
from fomo.training.recipe import Recipe
from fomo.windows.sample import TrainingSet

Told = Callable[[float, str], None]
#: Code that FoMo's answers depend on.
OWN = ("windows", "tokens", "model", "diffusion", *with_imports("forecasters/fomo.py"))
#: What all trained rivals' answers, and their training, depend on beside their own files.
FORECASTER, TRAINING = "forecasters/rivals/forecaster.py", "forecasters/rivals/training.py"
RULES = ("forecasters/rule.py", "forecasters/rules.py")
#: Code that the windows of a training are drawn by.
DRAWING = ("training/data.py", "tokens/masks.py", "windows")
#: Batches of a training in which it is counted what its windows know.
COUNTED = 64
#: How a language model describes itself that has no weights of a language: the same random ones everywhere.
WITHOUT_LANGUAGE = "no language weights: random frozen layers"


@dataclass(frozen=True)
class Trained:
    """A forecaster, what it cost, and a text that changes with anything that its answers depend on."""

    forecaster: Forecaster
    seconds: float | None  # None: nothing is trained
    parameters: int | None
    identity: str
    remark: str = ""  # what a reader must know of it, for the notes of its rows


def trained(entry: Entry, name: str, recipe: ScoreboardRecipe, data: Path, out: Path, told: Told) -> Trained:
    """The forecaster of a set, trained where it is not there yet."""
    if entry.kind == "fomo":
        return _fomo(name, recipe, data, out, told)
    if entry.kind == "deep":
        return _deep(entry, name, recipe, data, out, told)
    forecaster = entry.load()
    about = [entry.name, getattr(forecaster, "identity", ""), code_digest(_code(entry))]
    return Trained(forecaster, None, None, digest(about))


def _fomo(name: str, recipe: ScoreboardRecipe, data: Path, out: Path, told: Told) -> Trained:
    chosen = recipe.sets[name]
    weights, seconds = chosen.weights, sum(trained_seconds(Path(log)) for log in chosen.logs)
    if not weights:
        folders = [out / "fomo" / slug(name) / part for part in ("traffic", "tuned")]
        recipes = recipe.fomo(name, folders[0] / WEIGHTS)
        for part, (folder, one) in enumerate(zip(folders, recipes, strict=True)):
            if not _finished(folder, one, data):

                def heard(step: int, numbers: dict[str, float], one: Any = one, part: int = part) -> None:
                    told((part + step / one.optimiser.steps) / 2, f"{one.name}: step {step}")

                train(one, folder, data, device="cpu", half=True, report=heard)
        weights, seconds = str(folders[1] / WEIGHTS), sum(trained_seconds(f / "metrics.jsonl") for f in folders)
    model = load(weights)
    identity = digest([model.weights, model.sampling.model_dump(), code_digest(OWN)])
    return Trained(model, seconds or None, parameter_count(model.network), identity)


def made_by(entry: Entry, name: str, recipe: ScoreboardRecipe, data: Path) -> str:
    """What makes a forecaster of a set, as far as it is known without training: a text that changes with it.

    Raises `CityError` for data that are not there.
    """
    if entry.kind == "fomo":
        chosen = recipe.sets[name]
        weights: Any = load(chosen.weights).weights if chosen.weights else None
        recipes = [] if weights else [one.model_dump(mode="json") for one in recipe.fomo(name, Path("traffic"))]
        hashes = {} if weights else data_hashes(recipe.base(name).data, data)
        return digest([weights, recipes, hashes, code_digest(OWN)])
    if entry.kind == "deep":
        return digest([_training_of(entry, name, recipe, data), code_digest(with_imports(FORECASTER))])
    return digest([entry.name, code_digest(_code(entry))])


def _finished(folder: Path, recipe: Recipe, data: Path) -> bool:
    """Whether a run of this recipe on these data has its weights; of others `train` refuses to go on."""
    recipe_file, data_file = folder / RECIPE, folder / DATA
    if not ((folder / WEIGHTS).exists() and recipe_file.exists() and data_file.exists()):
        return False
    begun, sources = (json.loads(file.read_text(encoding="utf-8")) for file in (recipe_file, data_file))
    hashes = data_hashes(recipe.data, data)
    same_data = {family: sources.get(family) for family in hashes} == hashes
    return bool(begun == recipe.model_dump(mode="json") and same_data)


def _training_of(entry: Entry, name: str, recipe: ScoreboardRecipe, data: Path) -> dict[str, Any]:
    """What the training of a rival depends on beside its network's frozen parts."""
    base = recipe.base(name)
    modules = {part for module in (_module(entry), TRAINING) for part in with_imports(module)}
    return {
        "rival": entry.name,
        "fit": recipe.fit_of(entry.name, name).model_dump(mode="json"),
        "data": base.data.model_dump(mode="json"),
        "augment": base.augment.model_dump(mode="json"),
        "files": data_hashes(base.data, data),
        "code": code_digest({*modules, *DRAWING}),
        # Only where it is another than usual: records from before there were others stay good.
        **({"size": size} if (size := recipe.networks.get(entry.name)) else {}),
    }


def _deep(entry: Entry, name: str, recipe: ScoreboardRecipe, data: Path, out: Path, told: Told) -> Trained:
    folder = out / "fits" / slug(name) / slug(entry.name)
    base, config = recipe.base(name), recipe.fit_of(entry.name, name)
    torch.manual_seed(config.seed)
    network = network_of(entry, recipe)
    said = str(getattr(getattr(network, "backbone", None), "described", ""))
    about = {**_training_of(entry, name, recipe, data), "network": "" if said == WITHOUT_LANGUAGE else said}
    key = digest(about)
    record, weights = folder / "fit.json", folder / "network.safetensors"
    if not (record.exists() and weights.exists() and json.loads(record.read_text(encoding="utf-8"))["key"] == key):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of POI that have no place: FoMo's training says so
            windows, references, seen = training_set(base, data)
        found = fit(network, windows, config, told)
        with whole_file(weights) as fresh:
            save_file(_own_state(found.network), fresh)
            usual_mode(fresh)
        losses = [[round(value, 5) for value in row] for row in found.losses[:: max(1, len(found.losses) // 200)]]
        done = {
            "key": key, "seconds": round(found.seconds, 1), "steps": found.steps, "trained_on": seen,
            "users_references": references.users, "week_with_users": count_week_with_users(windows, config),
            "losses": losses, **about,
        }  # fmt: skip
        with whole_file(record) as fresh:
            fresh.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    forecaster, stored = load_rival(entry, folder, network)
    trainable = sum(part.numel() for part in network.parameters() if part.requires_grad)
    identity = digest([key, stored["steps"], forecaster.week_with_users, code_digest(with_imports(FORECASTER))])
    return Trained(forecaster, float(stored["seconds"]), trainable, identity, said)


def network_of(entry: Entry, recipe: ScoreboardRecipe) -> RivalNetwork:
    """A rival's network as the recipe wants it, not trained. Raises `ConfigError` for a size that it cannot have."""
    size = recipe.networks.get(entry.name, {})
    try:
        network = entry.load(**size)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        if not size:  # it is not the size: a language model that cannot be read
            raise
        raise ConfigError(f"{entry.name} cannot have {in_words(size)}: {error}") from error
    assert isinstance(network, RivalNetwork)
    return network


def ready(entry: Entry, fits: Path) -> Forecaster:
    """A forecaster of the registry but FoMo, ready to be asked; trained ones lie in `fits`. Raises `UsageError`."""
    if entry.kind == "deep":
        return load_rival(entry, fits / slug(entry.name))[0]
    try:
        found: Forecaster = entry.load()
    except RivalUnavailable as error:
        raise UsageError(str(error)) from None
    return found


def load_rival(entry: Entry, folder: Path, network: RivalNetwork | None = None) -> tuple[NeuralRival, dict[str, Any]]:
    """A trained rival of a folder, and the record of its training; `network`: one of its kind, to be filled.

    Raises `UsageError` where it is not there, or is of another network.
    """
    record, weights = folder / "fit.json", folder / "network.safetensors"
    if not (record.exists() and weights.exists()):
        raise UsageError(
            f"{entry.name} is not trained in {folder}: fomo scoreboard recipes/scoreboard.toml --only {entry.name!r}"
        )
    stored: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    if network is None:
        torch.manual_seed(int(stored["fit"]["seed"]))  # frozen random layers come from the seed
        network = entry.load(**stored.get("size", {}))
    assert isinstance(network, RivalNetwork)
    own = _own_state(network)
    try:
        found = load_file(weights)
        if set(found) != set(own):
            raise RuntimeError("other names of weights")
        network.load_state_dict(found, strict=False)
    except (RuntimeError, SafetensorError) as error:
        raise UsageError(
            f"{weights} is not of this {entry.name} ({error}): remove {folder} to train it again"
        ) from None
    both = week_with_users(stored)
    return NeuralRival(
        entry.name, network, stored["trained_on"], stored["users_references"], week_with_users=both
    ), stored


def count_week_with_users(windows: TrainingSet, config: FitConfig) -> float:
    """Share of the windows of a training, of its first `COUNTED` batches, that know last week and users together."""
    both = [knows_both(make_inputs(draw_batch(windows, config, step))) for step in range(COUNTED)]
    return round(float(torch.cat(both).double().mean()), 6)


def week_with_users(stored: dict[str, Any]) -> float:
    """That share by the record of a training.

    In those from before it was counted: none where regions had their first week alone, which has no week before it, and
    no other city with users had more. Else both were there often.
    """
    counted = stored.get("week_with_users")
    if counted is not None:
        return float(counted)
    return 0.0 if stored["data"]["first_week_only"] else 1.0


def _module(entry: Entry) -> str:
    """The file of a forecaster's class, below `fomo`."""
    return f"forecasters/{entry.where.split(':')[0].replace('.', '/')}.py"


def _code(entry: Entry) -> tuple[str, ...]:
    """What the answers of a forecaster that is not trained depend on."""
    return (*dict.fromkeys((*RULES, _module(entry))),) if entry.kind == "rule" else with_imports(_module(entry))


def _own_state(network: RivalNetwork) -> dict[str, torch.Tensor]:
    """What training changes: no frozen weights of others, which are large and lie elsewhere."""
    frozen = {name for name, part in network.named_parameters() if not part.requires_grad}
    return {name: part.contiguous() for name, part in network.state_dict().items() if name not in frozen}


__all__ = [
    "Trained",
    "count_week_with_users",
    "load_rival",
    "made_by",
    "network_of",
    "ready",
    "trained",
    "week_with_users",
]
