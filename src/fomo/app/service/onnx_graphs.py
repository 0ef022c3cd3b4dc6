"""The network as two functions of tensors, which is what ONNX knows: the encoder, and the denoiser.

Both call the network's own `encode` and `denoise`, so a graph says what PyTorch says. A record of tensors becomes one
input per field: `batch_state` is `Batch.state`, `observation_context_known` is `Observation.context.known`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, get_type_hints

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from fomo.model.transformer import Condition, MaskedDiffusionTransformer
from fomo.windows.batch import Batch
from fomo.windows.observation import Observation

#: Axes that may have any length in a graph; those of the window are fixed, as padding to tokens depends on them.
FREE_AXES = ("batch", "member", "kept")


@dataclass(frozen=True)
class Port:
    """An input or output of a graph."""

    name: str
    axes: tuple[str, ...]
    meaning: str


ENCODED = (
    Port("relative_mean", ("batch", "time", "y", "x"), "mean of every value, as share / observation_unit - 1"),
    Port("log_scale", ("batch", "time", "y", "x"), "natural logarithm of the scale of every value, in that unit"),
    Port("projected", ("batch", "token", "width"), "what the denoiser adds to its tokens"),
    Port("adapt", ("batch", "token", "adapted"), "what the observation adds to F of (10): 6 widths a layer, then 2"),
    Port("turn", ("cosine_sine", "batch", "token", "half"), "rotary positions: cosine and sine of every angle"),
    Port("attend", ("batch", "token"), "tokens with something hidden: only these are denoised"),
)
NOISED = (
    Port("noised", ("batch", "member", "time", "y", "x"), "c_in x: values at noise sigma, in units of their scale"),
    Port("noise_label", ("level",), "c_noise of that sigma, one for all"),
    Port("hidden", ("batch", "time", "y", "x"), "values that are asked for"),
    Port("projected", ("batch", "kept", "width"), "the encoder's, of the kept tokens"),
    Port("adapt", ("batch", "kept", "adapted"), "the encoder's, of the kept tokens"),
    Port("turn", ("cosine_sine", "batch", "kept", "half"), "the encoder's, of the kept tokens"),
    Port("attend", ("batch", "kept"), "the encoder's, of the kept tokens"),
    Port("kept", ("kept",), "places of tokens with something hidden in any window of the batch, rising"),
)
SAID = (Port("network_output", ("batch", "member", "time", "y", "x"), "F: D(x; sigma) = c_skip x + c_out F"),)

#: What the encoder reads, where the name alone does not say it. Shares are traffic over the city's reference.
MEANINGS = {
    "batch_state": "0 observed, 1 missing, 2 hidden (asked for), 3 padding",
    "batch_start_hour": "hours since Monday 00:00, local time, of the first step",
    "batch_step_hours": "length of a step in hours",
    "batch_cell_km": "edge of a cell in kilometres; 0 where not known",
    "batch_rhythm": "what is usual at this hour, as a multiple of the week's mean",
    "batch_context_static": "counts of POI by category and in all, residents over the city's mean; 0 where not known",
    "batch_context_static_known": "whether that is known",
    "observation_unit": "level of the cell as a share",
    "observation_unit_known": "whether the cell has observed values",
    "observation_relative": "observed values as share / unit - 1; 0 elsewhere",
    "observation_compressed": "observed log(1 + gain share) less the cell's mean of it; 0 elsewhere",
    "observation_spread": "standard deviation of observation_compressed",
    "observation_misfit": "root mean square of what the fitted week leaves over, in units of the cell",
    "observation_known": "simple guesses as share / unit - 1, in the order of fomo.windows.observation.GUESSES",
    "observation_is_known": "where each guess has something to go by",
    "observation_context_known": "guesses from users, POI and residents, as share / unit - 1",
    "observation_context_is_known": "where each of these has something to go by",
    "observation_context_channels": "what is known of users",
    "observation_context_anything": "windows of which any context is known",
}


def tensors_of(batch: Batch, observation: Observation) -> dict[str, Tensor]:
    """Every tensor of a batch and its observation, by the name that it has in a graph."""
    return {name: tensor for name, tensor, _ in (*_walk(batch, "batch"), *_walk(observation, "observation"))}


def encoder_ports(batch: Batch, observation: Observation) -> list[Port]:
    """The same as ports; the axes are those of the records' own annotations."""
    found = (*_walk(batch, "batch"), *_walk(observation, "observation"))
    return [Port(name, axes, MEANINGS.get(name, "the record's field of this name")) for name, _, axes in found]


def _walk(record: Any, prefix: str) -> Iterator[tuple[str, Tensor, tuple[str, ...]]]:
    """Name, tensor and axes of everything in a record and the records inside it."""
    hints = get_type_hints(type(record))
    for field in fields(record):
        part, name = getattr(record, field.name), f"{prefix}_{field.name}"
        if is_dataclass(part):
            yield from _walk(part, name)
        elif part is not None:
            yield name, part, tuple(hints[field.name].dim_str.split())


def _filled(record: Any, prefix: str, tensors: Mapping[str, Tensor]) -> Any:
    """The record, of any kind, with these tensors in place of its own."""
    parts = {field.name: getattr(record, field.name) for field in fields(record)}
    found = {
        key: _filled(part, f"{prefix}_{key}", tensors) if is_dataclass(part) else tensors[f"{prefix}_{key}"]
        for key, part in parts.items()
        if part is not None
    }
    return replace(record, **found)


def _traceable(network: MaskedDiffusionTransformer) -> MaskedDiffusionTransformer:
    """A copy without dropout; `encode` keeps all tokens and their masks where it takes itself to be in training."""
    traced = copy.deepcopy(network).eval()
    traced.training = True  # of this module alone: its layers stay in evaluation mode
    return traced


class EncoderGraph(nn.Module):
    """`MaskedDiffusionTransformer.encode` as a function of tensors: gives what ENCODED says."""

    def __init__(self, network: MaskedDiffusionTransformer, batch: Batch, observation: Observation) -> None:
        """`batch` and `observation`: of the window's size; they say which fields there are."""
        super().__init__()
        self.network = _traceable(network)
        self.records = batch, observation
        self.names = tuple(tensors_of(batch, observation))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """`tensors` in the order of `names`."""
        given = dict(zip(self.names, tensors, strict=True))
        batch, observation = self.records
        found = self.network.encode(_filled(batch, "batch", given), _filled(observation, "observation", given))
        assert found.attend is not None
        adapt = torch.cat(found.adapt, -1)[:, 0]
        return found.mean, found.log_scale, found.projected[:, 0], adapt, found.turn, found.attend


class DenoiserGraph(nn.Module):
    """`MaskedDiffusionTransformer.denoise` as a function of tensors: takes NOISED, gives SAID."""

    def __init__(self, network: MaskedDiffusionTransformer) -> None:
        """Of this network."""
        super().__init__()
        self.network = _traceable(network)

    def forward(
        self,
        noised: Float[Tensor, "batch member time y x"],
        noise_label: Float[Tensor, " level"],
        hidden: Bool[Tensor, "batch time y x"],
        projected: Float[Tensor, "batch kept width"],
        adapt: Float[Tensor, "batch kept adapted"],
        turn: Float[Tensor, "2 batch kept half"],
        attend: Bool[Tensor, "batch kept"],
        kept: Int64[Tensor, " kept"],
    ) -> Float[Tensor, "batch member time y x"]:
        """F of the noised values."""
        config = self.network.config
        sizes = [*([6 * config.width] * config.denoiser_layers), 2 * config.width]
        condition = Condition(
            mean=noised[:, 0],  # mean and scale are not the denoiser's matter
            log_scale=noised[:, 0],
            projected=projected[:, None],
            adapt=tuple(part[:, None] for part in adapt.split(sizes, -1)),
            hidden=hidden,
            turn=turn,
            attend=attend,
            kept=kept,
        )
        return self.network.denoise(noised, noise_label, condition)


__all__ = [
    "ENCODED",
    "FREE_AXES",
    "NOISED",
    "SAID",
    "DenoiserGraph",
    "EncoderGraph",
    "Port",
    "encoder_ports",
    "tensors_of",
]
