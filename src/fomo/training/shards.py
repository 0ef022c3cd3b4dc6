"""Weights in many processes: copied in each of them (DDP), or divided among them (FSDP2)."""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import Any

from torch import Tensor, nn

from fomo.model.layers import AdaptiveBlock
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.training.together import Together


class Objective(nn.Module):
    """The losses as a module, which is what DDP and FSDP2 wrap: their hooks run around its call."""

    def __init__(self, network: MaskedDiffusionTransformer, losses: Any) -> None:
        """`losses(network, ...)` gives a record of numbers."""
        super().__init__()
        self.network, self.losses = network, losses

    def forward(self, *given: Any) -> tuple[Tensor, ...]:
        """The numbers of the record, in its order."""
        found = self.losses(self.network, *given)
        return tuple(getattr(found, field.name) for field in fields(found))


def copied(objective: Objective, together: Together, unused: bool) -> nn.Module:
    """The objective in DDP. `unused`: some weights may have no part in a step's loss."""
    from torch.nn.parallel import DistributedDataParallel

    devices = [together.place.local_rank] if together.device.startswith("cuda") else None
    return DistributedDataParallel(objective, device_ids=devices, find_unused_parameters=unused)


def divided(network: MaskedDiffusionTransformer, root: nn.Module, together: Together) -> nn.Module:
    """FSDP2: the weights of `network` become shards, gathered block by block; `root` is what is called."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # The condition of the denoiser is such a view; nothing is done to it in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(together.device.split(":")[0], (together.place.size,))
    for block in (*network.encoder, *network.denoiser):
        if isinstance(block, AdaptiveBlock):  # the encoder calls this part alone
            fully_shard(block.adapt_observation, mesh=mesh)
        fully_shard(block, mesh=mesh)
    fully_shard(root, mesh=mesh)
    return root


__all__ = ["Objective", "copied", "divided"]
