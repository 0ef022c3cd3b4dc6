"""A training run on disk: weights, their average, and the optimiser's moments, as safetensors. No pickle."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fomo.files import usual_mode
from fomo.model.checkpoint import CheckpointError, recover, swap_in

FILE = "snapshot.safetensors"


def whole(tensor: Tensor) -> Tensor:
    """A tensor that is divided among processes, put together in each of them; any other as it is."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def own(tensor: Tensor) -> Tensor:
    """The part of a divided tensor that this process has; any other as it is."""
    local = getattr(tensor, "to_local", None)
    return tensor if local is None else local()


def _placed(tensors: dict[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, divided among processes where those of `like` are."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    placed = dict(tensors)
    for name, of in like.items():
        if name in placed and isinstance(of, DTensor):
            # Every process has read all of it, so nothing is sent.
            placed[name] = distribute_tensor(
                placed[name].to(of.device), of.device_mesh, of.placements, src_data_rank=None
            )
    return placed


@dataclass(frozen=True)
class Snapshot:
    """Step number and tensors under the names `network.*`, `average.*`, `optimiser.<index>.<moment>`."""

    step: int
    tensors: dict[str, Tensor]

    @classmethod
    def take(
        cls, step: int, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, keep: bool = True
    ) -> Snapshot:
        """Copy everything that changes in training.

        What is divided among processes is made whole, so all of them call this; without `keep` nothing is copied.
        """
        tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
        tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
        for index, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{key}": torch.as_tensor(value) for key, value in moments.items()}
        copies: dict[str, Tensor] = {}
        for key, value in tensors.items():
            complete = whole(value.detach())
            if keep:
                copies[key] = complete.cpu().clone().contiguous()
        return cls(step, copies)

    def put(self, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """The reverse of `take`. Raises `CheckpointError` where the snapshot is of another network."""
        try:
            network.load_state_dict(_placed(self._part("network"), network.state_dict()))
            average.load_state_dict(_placed(self._part("average"), average.state_dict()))
        except RuntimeError as error:
            raise CheckpointError(
                "the snapshot is of another network than the recipe's: continue with the recipe that began the run, "
                "or delete the snapshot to start afresh"
            ) from error
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in self._part("optimiser").items():
            index, moment = key.split(".", 1)
            moments.setdefault(int(index), {})[moment] = value
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        for number, of in moments.items():
            of.update(_placed(of, dict.fromkeys(("exp_avg", "exp_avg_sq"), weights[number])))
        optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})

    def _part(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(f"{prefix}."): v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")}

    def save(self, folder: Path) -> None:
        """Write beside, then swap in: a death or a full disk leaves the previous snapshot whole."""
        fresh = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            fresh.mkdir(parents=True)
            save_file(self.tensors, fresh / FILE, {"step": str(self.step)})
            usual_mode(fresh / FILE)
            swap_in(fresh, folder)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"the snapshot could not be written to {folder}: {error}; the previous one is kept. "
                "Make room and run the same command again: it continues there"
            ) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path) -> Snapshot | None:
        """The snapshot in a folder, or None where there is none. Raises `CheckpointError` for a damaged one."""
        recover(folder)
        for unfinished in folder.parent.glob(f".{folder.name}.*.part"):  # of a run that was killed while it wrote
            shutil.rmtree(unfinished, ignore_errors=True)
        path = folder / FILE
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                step = int(file.metadata()["step"])
                return cls(step, {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path} is truncated or no snapshot ({error}): delete {folder} to start the run afresh"
            ) from None
