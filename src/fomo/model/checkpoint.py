"""Weights on disk: a folder with `model.safetensors` and `checkpoint.json`. Nothing in it can be executed.

Large weights may lie in several files, `model-1-of-2.safetensors` and so on, where one file must stay small.

The JSON says everything that is needed to use the weights: version, network, process, the references of the
families seen in training, and where the weights come from (recipe, data hashes, steps).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fomo.config import Config, ConfigError, parse
from fomo.files import usual_mode
from fomo.model.transformer import MaskedDiffusionTransformer, ModelConfig
from fomo.windows.answers import Answer
from fomo.windows.context import USERS_ROWS, UsersPattern
from fomo.windows.rhythm import GENERAL
from fomo.windows.shapes import SHAPES, Pattern, flat_pattern

FORMAT_VERSION = 6
#: Versions that are read: 4 has no context, and 5 is read where it has none.
READ_VERSIONS = (4, 5, FORMAT_VERSION)
WEIGHTS, DESCRIPTION = "model.safetensors", "checkpoint.json"
#: Name of a family's shapes among the tensors: this and the family.
SHAPES_OF = "shapes of "
#: Name of what is stored of a family's users: this and the family.
USERS_OF = "users of "
#: Name of what a family's users say of their traffic: this and the family.
ANSWER_OF = "answer of "
#: Name of one of several files of weights, and how many there are.
_PART = re.compile(r"model-[0-9]{1,6}-of-([0-9]{1,6})\.safetensors")


class CheckpointError(ValueError):
    """Weights that cannot be used; the message says why and what to do."""


class Checkpoint(Config):
    """What `checkpoint.json` holds."""

    format_version: int
    name: str
    model: ModelConfig
    process: Literal["residual", "paper"] = "residual"
    references: dict[str, PositiveFloat] = Field(default_factory=dict)  # family -> traffic that counts as full
    rhythms: dict[str, tuple[PositiveFloat, ...]] = Field(default_factory=dict)  # family -> hours of the week, mean 1
    #: family -> noise and shapes, (1 + shape, slot): beside the weights, not in the JSON
    shapes: dict[str, Any] = Field(default_factory=dict, exclude=True)
    users_references: dict[str, PositiveFloat] = Field(default_factory=dict)  # family -> users that count as full
    users_rates: dict[str, PositiveFloat] = Field(default_factory=dict)  # family -> traffic share per users' share
    #: family -> variances of the logarithm of these, over the cells of a region and over regions
    users_variances: dict[str, tuple[PositiveFloat, PositiveFloat]] = Field(default_factory=dict)
    #: family -> weeks of users and of the traffic per user, `UsersPattern.stored`: beside the weights
    users: dict[str, Any] = Field(default_factory=dict, exclude=True)
    #: family -> what users say of the traffic per user, `Answer.stored`: beside the weights
    answers: dict[str, Any] = Field(default_factory=dict, exclude=True)
    temperature: float = Field(1.0, gt=0)  # widens the members' residuals; 1: as trained
    trained_on: tuple[str, ...] = ()
    provenance: dict[str, Any] = Field(default_factory=dict)

    def pattern(self, family: str) -> Pattern:
        """What is usual in a week: of a family, or of all families, or nothing special where nothing is stored."""
        name = family if family in self.rhythms else GENERAL
        curve = np.asarray(self.rhythms.get(name, (1.0,)), np.float64)
        if name not in self.shapes:
            return flat_pattern(curve)
        stored = np.asarray(self.shapes[name], np.float64)
        return Pattern(curve, stored[1:], stored[0])

    def users_pattern(self, family: str) -> UsersPattern | None:
        """What is usual of users: of a family, or of all families; None where the weights were trained without."""
        name = family if family in self.users else GENERAL
        if name not in self.users:
            return None
        answer = Answer.restored(self.answers[name])
        return UsersPattern.restored(self.users[name], self.users_rates[name], *self.users_variances[name], answer)

    def with_users(self, patterns: Mapping[str, UsersPattern]) -> Checkpoint:
        """The same with these patterns of users, by family."""
        found: dict[str, dict[str, Any]] = {
            "users_rates": {name: pattern.rate for name, pattern in patterns.items()},
            "users_variances": {name: (pattern.within, pattern.between) for name, pattern in patterns.items()},
            "users": {name: pattern.stored for name, pattern in patterns.items()},
            "answers": {name: pattern.answer.stored for name, pattern in patterns.items()},
        }
        return self.model_copy(update={name: {**getattr(self, name), **found[name]} for name in found})


def save_checkpoint(
    folder: str | Path,
    network: MaskedDiffusionTransformer,
    checkpoint: Checkpoint,
    half: bool = False,
    largest: int | None = None,
) -> Path:
    """Write both files into a fresh folder, then swap it in: an interrupted write leaves the old one whole.

    `half` stores float16, which halves the file. `largest`: bytes of tensors in one file, beyond which weights are
    divided; one tensor is never. Raises `CheckpointError` where it cannot be written.
    """
    folder = Path(folder)
    fresh = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    stored = {f"{SHAPES_OF}{family}": rows for family, rows in checkpoint.shapes.items()}
    stored |= {f"{USERS_OF}{family}": rows for family, rows in checkpoint.users.items()}
    stored |= {f"{ANSWER_OF}{family}": rows for family, rows in checkpoint.answers.items()}
    beside = {name: torch.as_tensor(rows) for name, rows in stored.items()}
    tensors = {
        key: value.detach().to("cpu", torch.float16 if half else torch.float32).contiguous()
        for key, value in [*network.state_dict().items(), *beside.items()]
    }
    try:
        fresh.mkdir(parents=True)
        parts = _parts(tensors, largest)
        for place, part in enumerate(parts, 1):
            save_file(part, fresh / _file_name(place, len(parts)))
            usual_mode(fresh / _file_name(place, len(parts)))
        (fresh / DESCRIPTION).write_text(json.dumps(checkpoint.model_dump(mode="json"), indent=1), encoding="utf-8")
        swap_in(fresh, folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"the weights could not be written to {folder}: {error}; what was there is kept"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _parts(tensors: dict[str, torch.Tensor], largest: int | None) -> list[dict[str, torch.Tensor]]:
    """The tensors in their order, in as many parts as it takes."""
    parts: list[dict[str, torch.Tensor]] = [{}]
    for key, value in tensors.items():
        held = sum(other.nbytes for other in parts[-1].values())
        if largest is not None and parts[-1] and held + value.nbytes > largest:
            parts.append({})
        parts[-1][key] = value
    return parts


def _file_name(place: int, number: int) -> str:
    return WEIGHTS if number == 1 else f"model-{place}-of-{number}.safetensors"


def _files(folder: Path) -> list[Path]:
    """The files that the weights of a folder lie in, in their order, whether they are there or not."""
    parts = [_PART.fullmatch(path.name) for path in folder.glob("model-*-of-*.safetensors")]
    number = max((int(part[1]) for part in parts if part), default=1)
    return [folder / _file_name(place, number) for place in range(1, number + 1)]


def swap_in(fresh: Path, folder: Path) -> None:
    """Put a finished folder in the place of another. `recover` undoes a death between the two renames."""
    old = folder.with_name(f".{folder.name}.old")
    for path in fresh.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Bring back the previous folder if a process died in the middle of `swap_in`."""
    old = folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():
        old.rename(folder)


def load_checkpoint(folder: str | Path) -> tuple[MaskedDiffusionTransformer, Checkpoint]:
    """Network in evaluation mode and its description. Raises `CheckpointError`: missing, damaged, other version."""
    folder = Path(folder)
    recover(folder)
    description, files = folder / DESCRIPTION, _files(folder)
    missing = [file.name for file in files if not file.is_file()]
    if missing and len(files) > 1:
        lacks = ", ".join(missing)
        raise CheckpointError(f"{folder} holds no weights that are whole: {lacks} is missing; fetch it again")
    if missing or not description.is_file():
        raise CheckpointError(
            f"{folder} holds no weights: a folder with {WEIGHTS} and {DESCRIPTION} is needed, as 'fomo train' writes it"
        )
    try:
        raw = json.loads(description.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no JSON, or nested without end
        raise CheckpointError(f"{description} is not readable: {error}; fetch or train the weights again") from None
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if version not in READ_VERSIONS:
        raise CheckpointError(
            f"{folder} has format version {version}; this FoMo reads version {FORMAT_VERSION}: use the release that "
            "wrote it, or train again"
        )
    if version == 5 and raw.pop("users_spreads", None):
        raise CheckpointError(
            f"{folder} has format version 5 and reads users, of which version {FORMAT_VERSION} knows more: use the "
            "release that wrote it, or train again"
        )
    try:
        checkpoint = parse(raw, Checkpoint, str(description))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            tensors |= load_file(file)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{file} is truncated or not safetensors ({error}); fetch or train the weights again"
            ) from None
    shapes, users, answers = (_taken(tensors, prefix) for prefix in (SHAPES_OF, USERS_OF, ANSWER_OF))
    _check_shapes(shapes, checkpoint.rhythms, folder)
    _check_users(users, answers, checkpoint, folder)
    checkpoint = checkpoint.model_copy(update={"shapes": shapes, "users": users, "answers": answers})
    network = MaskedDiffusionTransformer(checkpoint.model)
    try:
        network.load_state_dict({key: value.float() for key, value in tensors.items()})
    except RuntimeError as error:
        raise CheckpointError(f"{folder / WEIGHTS} does not fit its description: {error}") from None
    _check_finite(network, folder)
    return network.eval(), checkpoint


def _taken(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, np.ndarray]:
    """Tensors of one prefix, without it, taken out."""
    names = [key for key in tensors if key.startswith(prefix)]
    return {key.removeprefix(prefix): tensors.pop(key).float().numpy() for key in names}


def _check_finite(network: MaskedDiffusionTransformer, folder: Path) -> None:
    """Raises `CheckpointError` where a weight is NaN or infinite: all that it says would be NaN."""
    for name, value in network.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(
                f"{folder}: the weights {name!r} hold NaN or infinite numbers; fetch or train the weights again"
            )


def _check_users(
    users: dict[str, np.ndarray], answers: dict[str, np.ndarray], checkpoint: Checkpoint, folder: Path
) -> None:
    """Raises `CheckpointError` where what is stored of a family's users cannot be read."""
    rates, variances = checkpoint.users_rates, checkpoint.users_variances
    for family in sorted({*users, *answers, *rates, *variances}):
        stored, answer = users.get(family), answers.get(family)
        if (
            stored is None
            or answer is None
            or family not in rates
            or family not in variances
            or answer.shape != Answer.none().stored.shape
            or not np.isfinite(answer).all()
            or answer[:, -1].min() <= 0
            or stored.ndim != 2
            or len(stored) != USERS_ROWS
            or not stored.shape[1]
            or not np.isfinite(stored).all()
            or min(stored[row].min() for row in (0, 1, USERS_ROWS // 2, USERS_ROWS // 2 + 1)) < 0
        ):
            raise CheckpointError(
                f"{folder}: what is stored of the users of {family!r} cannot be read; fetch or train the weights again"
            )


def _check_shapes(shapes: dict[str, np.ndarray], rhythms: dict[str, tuple[float, ...]], folder: Path) -> None:
    """Raises `CheckpointError` where the shapes of a family do not lie on its rhythm."""
    for family in sorted(set(shapes) | set(rhythms)):
        stored, slots = shapes.get(family), len(rhythms.get(family, ()))
        if (
            stored is None
            or stored.shape != (1 + SHAPES, slots)
            or not np.isfinite(stored).all()
            or stored[0].min() < 0
        ):
            raise CheckpointError(
                f"{folder}: the shapes of {family!r} do not fit its rhythm of {slots} steps; fetch or train the "
                "weights again"
            )


def weights_hash(folder: str | Path) -> str:
    """First 16 hex digits of the SHA-256 of the weights file, or of its parts one after another, for provenance."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in _files(Path(folder)))).hexdigest()[:16]
