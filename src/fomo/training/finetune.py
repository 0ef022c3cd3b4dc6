"""Partially frozen fine-tuning, §3.4.2: which weights of a pre-trained network are trained, and low-rank adapters.

`partial` is the paper's: attention, linear layers and MLPs stay as they are; context modules, adaptive layer norms and
the output decoder are trained. Nothing that is trained then enters the encoder's mean of a window without context, so
that mean stays what it was, bit for bit. `adapters` trains low-rank changes of the frozen attention and MLP beside
(LoRA, Hu et al., 2022), merged when weights are exported. `output` trains the head of the encoder's mean too, which is
what a new city needs. `full` trains everything.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fomo.model.checkpoint import CheckpointError
from fomo.model.layers import MLP, Attention
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.training.recipe import FinetuneConfig

#: Layers that `partial` trains, F of (10), and whole modules by scheme.
TRAINED = ("adapt_observation", "adapt_noise", "adapt_decoder")
TRAINED_WHOLE = {
    "partial": ("context", "decoder"),
    "output": ("context", "decoder", "head"),
    "adapters": ("context", "decoder"),
}


class LowRank(nn.Module):
    """W + B A with B = 0 at the start."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        """A change of rank `rank` of a weight (rows, columns)."""
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
        """The changed weight."""
        return weight + self.up @ self.down


def begin_from(network: MaskedDiffusionTransformer, start: MaskedDiffusionTransformer, name: str) -> None:
    """Give `network` the weights of `start`; its context modules stay fresh where `start` has none.

    Raises `CheckpointError` where the two are of different sizes.
    """
    weights = start.state_dict()
    if start.context is not None and network.context is None:
        raise CheckpointError(
            f"the weights {name} to begin from read users and POI, and the recipe's model does not: set context = true "
            "in its model and add [context]"
        )
    fresh = {key: value for key, value in network.state_dict().items() if key.startswith("context.")}
    try:
        network.load_state_dict(fresh | weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"the recipe's model has other sizes than the weights {name} to begin from: {str(error)[:300]}"
        ) from None


def freeze(network: MaskedDiffusionTransformer, config: FinetuneConfig) -> None:
    """Leave trainable what the scheme trains; `adapters` puts low-rank changes into attention and MLP."""
    if config.scheme == "full":
        return
    for name, parameter in network.named_parameters():
        path = name.split(".")
        parameter.requires_grad_(path[0] in TRAINED_WHOLE[config.scheme] or path[-2] in TRAINED)
    if config.scheme == "adapters":
        for name, module in list(network.named_modules()):
            if isinstance(module, (Attention, MLP)) and not name.startswith("context."):
                for layer in module.children():
                    if isinstance(layer, nn.Linear):
                        parametrize.register_parametrization(
                            layer, "weight", LowRank(layer.out_features, layer.in_features, config.rank)
                        )


def merged(network: MaskedDiffusionTransformer) -> MaskedDiffusionTransformer:
    """The network with its adapters added to the weights; itself where it has none."""
    if not any(parametrize.is_parametrized(module) for module in network.modules()):
        return network
    plain: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if name.endswith(".parametrizations") or ".parametrizations." in name:
            continue
        for key, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            plain[f"{name}.{key}" if name else key] = value
        if parametrize.is_parametrized(module):
            plain[f"{name}.weight"] = module.weight
    whole = MaskedDiffusionTransformer(network.config)
    wanted = whole.state_dict()
    whole.load_state_dict({key: value.detach() for key, value in plain.items() if key in wanted})
    return whole.to(next(network.parameters()).device).eval().requires_grad_(False)


__all__ = ["LowRank", "begin_from", "freeze", "merged"]
