"""Context integration, §3.4.1: users as tokens, POI through the dynamic transformation (12)-(13), y = c^u + c^p.

Everything here is exactly zero for a window of which no context is known, so what the network says of such a window
does not depend on these weights.
"""

from __future__ import annotations

import itertools

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from fomo.model.embeddings import CALENDAR_FEATURES, calendar_features
from fomo.model.layers import CellHead
from fomo.tokens.patch import TokenShape, layers_to_tokens
from fomo.windows.batch import Batch
from fomo.windows.context import STATIC_LAYERS, Context
from fomo.windows.context_observation import CONTEXT_GUESSES, USER_CHANNELS, ContextObservation

#: Counts of POI enter as log(1 + count) over this, so that a busy cell has about 1.
LOG_OF_MANY = 4.0
#: What the head of context reads of every value beside the encoder's channels, without the POI features.
READ = USER_CHANNELS + 2 * len(CONTEXT_GUESSES)
#: What it says of every value: an offset, a change of the log scale, and a weight of every guess.
SAID = 2 + len(CONTEXT_GUESSES)
#: Weights of guesses that training begins with: where users are known, the regression on the traffic per user; where
#: they were, half of it; else POI (journal, 2026-11-26).
AT_BIRTH = {"per_user_lasting": 1.0, "per_user_expected": 0.5, "by_poi": 0.7, "by_residents": 0.1}


class DynamicPOI(nn.Module):
    """The dynamic transformation of POI, equations (12)-(13): features that change with the hour.

    h^s = sigmoid(W^s P + B^s) is joined by tau(t), an MLP of the calendar, and passed through sigmoid layers.
    """

    def __init__(self, width: int, layers: int, features: int) -> None:
        """`width` of the hidden layers, `layers` of them (L of (13)), `features` per value (the paper: 1)."""
        super().__init__()
        self.static = nn.Linear(2 * len(STATIC_LAYERS), width)
        self.time = nn.Sequential(nn.Linear(CALENDAR_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        sizes = [2 * width] + [width] * (layers - 1) + [features]
        self.fuse = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, context: Context, batch: Batch) -> Float[Tensor, "batch feature time y x"]:
        """Features of every value; 0 in cells of which no layer is known."""
        known = context.static_known.to(batch.share.dtype)
        counts = torch.log1p(context.static * known) / LOG_OF_MANY
        layers = rearrange(torch.cat([counts, known], 1), "b l y x -> b y x l")
        static = torch.sigmoid(self.static(layers))  # batch y x width, (12)
        steps = torch.arange(batch.share.shape[1], device=known.device) + 0.5
        hours = batch.start_hour[:, None] + steps * batch.step_hours[:, None]
        tau = self.time(calendar_features(hours % 168, batch.step_hours))  # batch time width
        hidden = torch.cat(
            [
                repeat(static, "b y x w -> b t y x w", t=len(steps)),
                repeat(tau, "b t w -> b t y x w", y=static.shape[1], x=static.shape[2]),
            ],
            -1,
        )
        for layer in self.fuse:  # (13)
            hidden = torch.sigmoid(layer(hidden))
        return rearrange(hidden, "b t y x d -> b d t y x") * known.amax(1)[:, None, None]


class ContextModule(nn.Module):
    """Context tokens y for the encoder, and what context changes of the mean and scale of every value."""

    def __init__(
        self, width: int, shape: TokenShape, channels: int, head_context: int, head_width: int,
        poi_width: int, poi_layers: int, poi_features: int,
    ) -> None:  # fmt: skip
        """`channels`: those of the encoder."""
        super().__init__()
        self.shape = shape
        self.poi = DynamicPOI(poi_width, poi_layers, poi_features)
        self.users_tokens = nn.Linear(READ * shape.cells, width, bias=False)
        self.poi_tokens = nn.Linear(poi_features * shape.cells, width, bias=False)
        self.head = CellHead(width, shape.cells, channels + READ + poi_features, head_context, head_width, SAID)
        for layer in (self.users_tokens, self.poi_tokens):
            nn.init.zeros_(layer.weight)
        with torch.no_grad():
            for guess, weight in AT_BIRTH.items():
                self.head.last.bias[2 + CONTEXT_GUESSES.index(guess)] = weight

    def layers(self, batch: Batch, observation: ContextObservation) -> Float[Tensor, "batch layer time y x"]:
        """What is read of every value: users, guesses, POI features."""
        assert batch.context is not None
        known = observation.is_known.to(batch.share.dtype)
        return torch.cat([observation.channels, observation.known, known, self.poi(batch.context, batch)], 1)

    def tokens(self, layers: Float[Tensor, "batch layer time y x"]) -> Float[Tensor, "batch token width"]:
        """y = c^u + c^p."""
        users, poi = (layers_to_tokens(part, self.shape) for part in (layers[:, :READ], layers[:, READ:]))
        return self.users_tokens(users) + self.poi_tokens(poi)

    def change(
        self,
        found: Float[Tensor, "batch asked y x said"],
        mean: Float[Tensor, "batch asked y x"],
        observation: ContextObservation,
        steps: slice,
    ) -> tuple[Float[Tensor, "batch asked y x"], Float[Tensor, "batch asked y x"]]:
        """The mean at these steps with the context's guesses weighed in, and what is added to the log scale."""
        gate = observation.anything.to(mean.dtype)[:, None, None, None]
        weights = rearrange(found[..., 2:], "b t y x g -> b g t y x") * observation.is_known[:, :, steps]
        moved = (weights * (observation.known[:, :, steps] - mean[:, None])).sum(1)
        return mean + moved + gate * found[..., 0], gate * found[..., 1]
