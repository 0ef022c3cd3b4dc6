"""The masked diffusion transformer: an encoder of what is observed, and a denoiser conditioned on it.

    batch --observe--> tokens --encoder--> o  --+--> mean and scale of every hidden cell
                                                +--> adaptive layer norm of the denoiser, equation (10)
    noised hidden cells, noise level k ---------+--> denoised hidden cells

The encoder runs once per window; the denoiser, which looks only at tokens with something hidden, runs once per
sampling step and sample. Presets follow the paper's five sizes (§4.4, Table 6).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int64
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import linear

from fomo.config import Config
from fomo.model.context import ContextModule
from fomo.model.embeddings import CalendarEmbedding, NoiseEmbedding, rotary_turn, token_positions
from fomo.model.layers import AdaptiveBlock, CellHead, EncoderBlock
from fomo.tokens.patch import TokenShape, from_tokens, layers_to_tokens, pad_to_tokens, to_tokens, token_places
from fomo.windows.batch import Batch, CellState
from fomo.windows.observation import GUESSES, Observation
from fomo.windows.scale import compress

#: Channels per cell that the encoder reads (see `_channels`), and numbers per cell that its head gives.
CHANNELS = 9 + 2 * len(GUESSES)
HEADS = 2 + len(GUESSES)
#: Blocks that are aligned at a time.
MOST_BLOCKS = 512


class ModelConfig(Config):
    """Sizes of the network. `preset` gives the named ones."""

    width: int = Field(128, ge=32)
    encoder_layers: int = Field(4, ge=1)
    denoiser_layers: int = Field(3, ge=1)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    gate: float = 1.0  # where alpha of (10) starts; DiT: 0
    head_width: int = Field(96, ge=8)  # features of a cell in the head
    head_context: int = Field(16, ge=1)  # numbers per cell that the head gets from its token
    token: tuple[PositiveInt, PositiveInt, PositiveInt] = (4, 2, 2)  # t0 steps, h0 rows, v0 columns
    context: bool = False  # reads users, POI and residents
    poi_width: int = Field(24, ge=1)  # hidden features of (12)-(13)
    poi_layers: int = Field(2, ge=1)  # L of (13)
    poi_features: int = Field(4, ge=1)  # that (13) gives of every value
    smallest_log_scale: float = -4.0
    largest_log_scale: float = 1.5

    @model_validator(mode="after")
    def _heads_divide_width(self) -> ModelConfig:
        if self.width % self.heads or (self.width // self.heads) % 8:
            raise ValueError(f"width {self.width} over {self.heads} heads must give a multiple of 8 per head")
        return self

    @property
    def token_shape(self) -> TokenShape:
        """Edges of a token."""
        return TokenShape(*self.token)

    @classmethod
    def preset(cls, name: str) -> ModelConfig:
        """`tiny` (0.9 M parameters), or the paper's sizes `5m`, `35m`, `100m`, `150m`, `200m`."""
        if name not in PRESETS:
            raise ValueError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
        return cls.model_validate(PRESETS[name])


PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"width": 96, "encoder_layers": 3, "denoiser_layers": 2, "heads": 4},
    "5m": {"width": 192, "encoder_layers": 6, "denoiser_layers": 3, "heads": 6},
    "35m": {"width": 416, "encoder_layers": 8, "denoiser_layers": 4, "heads": 13},
    "100m": {"width": 672, "encoder_layers": 10, "denoiser_layers": 4, "heads": 12},
    "150m": {"width": 704, "encoder_layers": 12, "denoiser_layers": 6, "heads": 11},
    "200m": {"width": 832, "encoder_layers": 12, "denoiser_layers": 6, "heads": 13},
}


@dataclass(frozen=True)
class Condition:
    """What the encoder says of a window, computed once and shared by all members and sampling steps.

    `mean` and `log_scale` describe every value relative to its cell's unit: share / unit - 1. In forecasting they are 0
    at steps of which no value is hidden.
    """

    mean: Float[Tensor, "batch time y x"]
    log_scale: Float[Tensor, "batch time y x"]
    projected: Float[Tensor, "denoised 1 kept width"]
    adapt: tuple[Float[Tensor, "denoised 1 kept _"], ...]  # per layer 6 width; last, for the decoder, 2 width
    hidden: Bool[Tensor, "denoised time y x"]
    turn: Float[Tensor, "2 denoised kept half"]
    attend: Bool[Tensor, "denoised kept"] | None  # tokens with something hidden; None: all of them
    kept: Int64[Tensor, " kept"] | slice  # tokens that the denoiser sees


def looked_at(some: Bool[Tensor, "batch token"]) -> Bool[Tensor, "batch token"]:
    """The tokens of `some`, and all of a window that has none of them, of which nothing is used.

    Attention to nothing is not a number in the fused kernels of CUDA, and its gradient makes all others none.
    """
    return some | ~some.any(-1, keepdim=True)


def asked_steps(hidden: Bool[Tensor, "batch time y x"], shape: TokenShape) -> slice:
    """From the first to the last step of which some value is hidden, as whole tokens; all steps if none is."""
    steps = hidden.any((0, 2, 3)).nonzero()[:, 0]
    if not len(steps):
        return slice(0, hidden.shape[1])
    first, last = int(steps[0]), int(steps[-1])
    return slice(first - first % shape.time, min(hidden.shape[1], last - last % shape.time + shape.time))


def _in_window(values: Float[Tensor, "batch asked y x"], steps: slice, time: int) -> Float[Tensor, "batch time y x"]:
    """The values of some steps in a window of `time` steps, 0 elsewhere."""
    return torch.nn.functional.pad(values, (0, 0, 0, 0, steps.start, time - steps.stop))


class MaskedDiffusionTransformer(nn.Module):
    """The network of §3.3, for any grid, granularity period and window length."""

    def __init__(self, config: ModelConfig) -> None:
        """A network with random weights."""
        super().__init__()
        self.config = config
        width, cells = config.width, config.token_shape.cells
        self.embed_observation = nn.Linear(CHANNELS * cells, width)
        self.calendar = CalendarEmbedding(width)
        self.encoder = nn.ModuleList(
            EncoderBlock(width, config.heads, config.dropout) for _ in range(config.encoder_layers)
        )
        self.norm_observation = nn.LayerNorm(width)
        self.head = CellHead(width, cells, CHANNELS, config.head_context, config.head_width, HEADS)
        with torch.no_grad():  # training begins where the regression on shapes ends
            self.head.last.bias[2 + GUESSES.index("carried")] = 1.0
        self.embed_noised = nn.Linear(2 * cells, width)
        self.project_observation = nn.Linear(width, width)
        self.noise = NoiseEmbedding(width)
        self.denoiser = nn.ModuleList(
            AdaptiveBlock(width, config.heads, config.dropout, config.gate) for _ in range(config.denoiser_layers)
        )
        self.norm_decoder = nn.LayerNorm(width, elementwise_affine=False)
        self.adapt_decoder = nn.Linear(width, 2 * width)
        self.decoder = nn.Linear(width, cells)
        for layer in (self.adapt_decoder, self.decoder):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.context = ContextModule(
            width, config.token_shape, CHANNELS, config.head_context, config.head_width,
            config.poi_width, config.poi_layers, config.poi_features,
        ) if config.context else None  # fmt: skip

    def encode(self, batch: Batch, observation: Observation, denoised: slice = slice(None)) -> Condition:
        """Everything that can be said before noise enters; `denoised`: the windows that the denoiser will be asked of.

        Mean and scale are given for all windows.
        """
        shape = self.config.token_shape
        size = batch.state.shape[1:]
        state = to_tokens(pad_to_tokens(batch.state, shape, int(CellState.PADDING)), shape)
        asked = (state == CellState.HIDDEN).any(-1)
        there = (state != CellState.PADDING).any(-1)
        attend = None if not self.training and bool(there.all()) else looked_at(there)

        grid = shape.grid(*size)
        position = token_positions(grid, self.config.token, batch.step_hours, batch.cell_km)
        turn = rotary_turn(position, self.config.width // self.config.heads)
        hours = batch.start_hour[:, None] + position[..., 0]

        layers = self._channels(batch, observation)
        tokens = self.embed_observation(layers_to_tokens(layers, shape))  # batch token width
        surroundings = None
        if self.context is not None and observation.context is not None:
            surroundings = self.context.layers(batch, observation.context)
            tokens = tokens + self.context.tokens(surroundings)
        tokens = tokens + self.calendar(hours % 168, batch.step_hours)  # batch token width
        for block in self.encoder:
            tokens = block(tokens[:, None], turn, attend)[:, 0]  # batch token width
        tokens = self.norm_observation(tokens)

        # Every value has a mean and a scale of its own; in forecasting only asked steps are looked at.
        steps = slice(0, size[0]) if self.training else asked_steps(batch.hidden, shape)
        found = self._said(self.head, tokens, layers, steps)
        offset, log_scale, weights = found[..., 0], found[..., 1], rearrange(found[..., 2:], "b t y x g -> b g t y x")
        mean = offset + (weights * observation.known[:, :, steps]).sum(1)
        if surroundings is not None and self.context is not None and observation.context is not None:
            said = self._said(self.context.head, tokens, torch.cat([layers, surroundings], 1), steps)
            mean, wider = self.context.change(said, mean, observation.context, steps)
            log_scale = log_scale + wider
        low, high = self.config.smallest_log_scale, self.config.largest_log_scale
        # The denoiser looks only at tokens with something hidden; in forecasting the others are left out for good.
        kept = slice(None) if self.training else asked.any(0).nonzero()[:, 0]
        asked, tokens = asked[denoised, kept], tokens[denoised, None, kept]
        return Condition(
            mean=_in_window(mean, steps, size[0]),
            log_scale=_in_window((log_scale - 1.0).clamp(low, high), steps, size[0]),
            projected=self.project_observation(tokens),
            adapt=(*(adapt(tokens) for adapt in self.adapt_observation()), self.adapt_decoder(tokens)),
            hidden=batch.hidden[denoised],
            turn=turn[:, denoised, kept],
            attend=None if not self.training and bool(asked.all()) else looked_at(asked),
            kept=kept,
        )

    def _said(
        self,
        head: CellHead,
        tokens: Float[Tensor, "batch token width"],
        layers: Float[Tensor, "batch channel time y x"],
        steps: slice,
    ) -> Float[Tensor, "batch asked y x said"]:
        """What a head says of every value at some whole tokens' steps from its channels and its token."""
        shape = self.config.token_shape
        _, height, width = shape.grid(*layers.shape[2:])
        tokens = rearrange(tokens, "b (t p) w -> b t p w", p=height * width)
        tokens = rearrange(tokens[:, steps.start // shape.time : -(-steps.stop // shape.time)], "b t p w -> b (t p) w")
        layers = layers[:, :, steps]
        context = rearrange(head.context(tokens), "b n (c k) -> (b c) n k", k=shape.cells)
        context = rearrange(
            from_tokens(context, shape, *layers.shape[2:]), "(b c) t y x -> b t y x c", b=tokens.shape[0]
        )
        return head(torch.cat([rearrange(layers, "b c t y x -> b t y x c"), context], -1))

    def aligned_tokens(
        self,
        batch: Batch,
        observation: Observation,
        most: int = MOST_BLOCKS,
        blocks: Int64[Tensor, " block"] | None = None,
    ) -> tuple[Float[Tensor, "block width"], Float[Tensor, "block width"]]:
        """Tokens e of the traffic and y of the context of the same blocks, for (14): observed ones with known context.

        e is not trained by what is done with it; at most `most` blocks, evenly taken from all there are, or `blocks`,
        their places among all (batch, token).
        """
        if self.context is None or observation.context is None:
            raise ValueError("this network or this batch has no context to align")
        shape = self.config.token_shape
        if blocks is None:
            blocks = evenly(self.alignable(batch), most)
        with torch.no_grad():
            traffic = self.embed_observation(layers_to_tokens(self._channels(batch, observation), shape)).flatten(0, 1)[
                blocks
            ]
        context = self.context.tokens(self.context.layers(batch, observation.context)).flatten(0, 1)[blocks]
        return traffic, context

    def alignable(self, batch: Batch) -> Bool[Tensor, "batch token"]:
        """Blocks that are wholly observed and have some known context."""
        if batch.context is None:
            raise ValueError("this network or this batch has no context to align")
        shape = self.config.token_shape
        known = batch.context.users_known | batch.context.static_known.any(1)[:, None]
        there = to_tokens(pad_to_tokens(known, shape, False), shape).any(-1)
        state = to_tokens(pad_to_tokens(batch.state, shape, int(CellState.PADDING)), shape)
        return there & (state == CellState.OBSERVED).all(-1)

    def adapt_observation(self) -> list[nn.Module]:
        """Per denoiser layer, the part of F in (10) that reads the observation."""
        return [block.adapt_observation for block in self.denoiser if isinstance(block, AdaptiveBlock)]

    def denoise(
        self,
        noised: Float[Tensor, "batch member time y x"],
        noise_label: Float[Tensor, " level"],
        condition: Condition,
    ) -> Float[Tensor, "batch member time y x"]:
        """The network's raw output F for noised hidden cells; what it means is the process's matter.

        `noise_label` has one number for all, or one per window.
        """
        shape = self.config.token_shape
        flat = rearrange(noised, "b s t y x -> b s (t y x)")
        time, y, x = noised.shape[2:]
        nowhere = flat.shape[2]  # one place beyond the last, where padding goes
        places = token_places(shape, (time, y, x), noised.device)[condition.kept]  # kept cell
        inside = places.clamp(max=nowhere - 1)
        seen = condition.hidden.flatten(1)[:, inside] & (places < nowhere)  # batch kept cell
        seen = seen.to(noised.dtype)[:, None]
        values = flat.index_select(2, inside.flatten()).unflatten(2, places.shape) * seen

        noise = torch.nn.functional.silu(self.noise(noise_label))[:, None, None]  # level 1 1 width
        of_values, of_seen = self.embed_noised.weight[:, : shape.cells], self.embed_noised.weight[:, shape.cells :]
        known = condition.projected + linear(seen, of_seen, self.embed_noised.bias)  # the same for all members
        tokens = linear(values, of_values) + known  # batch member token width
        for block, adapt in zip(self.denoiser, condition.adapt[:-1], strict=True):
            tokens = block(tokens, adapt, noise, condition.turn, condition.attend)  # batch member token width
        scale, shift = condition.adapt[-1].chunk(2, -1)
        cells = self.decoder(torch.addcmul(shift, self.norm_decoder(tokens), 1 + scale))  # batch member token cell
        window = cells.new_zeros(*flat.shape[:2], nowhere + 1).index_copy(2, places.flatten(), cells.flatten(2))
        return window[..., :nowhere].unflatten(2, (time, y, x))

    def _channels(self, batch: Batch, observation: Observation) -> Float[Tensor, "batch channel time y x"]:
        """What the encoder reads of every cell."""
        time = batch.share.shape[1]
        floats = batch.share.dtype

        def still(layer: Tensor) -> Tensor:
            return repeat(layer.to(floats), "b y x -> b t y x", t=time)

        return torch.cat(
            [
                torch.stack(
                    [
                        batch.observed.to(floats),
                        batch.hidden.to(floats),
                        observation.relative,
                        observation.compressed,
                        still(compress(observation.unit) - 1.0),
                        still(observation.unit_known),
                        still(observation.spread),
                        still(observation.misfit),
                        batch.rhythm.log(),
                    ],
                    1,
                ),
                observation.known,
                observation.is_known.to(floats),
            ],
            1,
        )


def evenly(suitable: Bool[Tensor, "batch token"], most: int) -> Int64[Tensor, " block"]:
    """Places of at most `most` of the suitable blocks among all, evenly taken."""
    blocks = suitable.flatten().nonzero()[:, 0]
    return blocks[:: max(1, -(-len(blocks) // most))]


def parameter_count(module: nn.Module, trainable_only: bool = False) -> int:
    """Numbers that are learned."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable_only)
