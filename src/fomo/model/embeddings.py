"""Where and when a token is: calendar, noise level, and rotary positions in hours and kilometres.

There is no table per city: a token knows its time of day, its weekday, the length of its steps and its distances to
the other tokens, so one set of weights serves every grid and granularity period.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

HARMONICS = 12  # so that a linear map can single out one hour of the day
CALENDAR_FEATURES = 2 * HARMONICS + 7 + 2 + 1

#: Nominal cell edge where a source does not say its own.
NOMINAL_CELL_KM = 1.0


def calendar_features(
    hours: Float[Tensor, "batch token"], step_hours: Float[Tensor, " batch"]
) -> Float[Tensor, "batch token feature"]:
    """Harmonics of the day, soft weekday, the week's phase, and the step length, from hours since Monday 00:00."""
    order = torch.arange(1, HARMONICS + 1, device=hours.device)
    day = hours[..., None] * (2 * math.pi / 24) * order
    weekday = torch.nn.functional.one_hot((hours / 24).floor().long() % 7, 7).to(hours.dtype)
    week = hours[..., None] * (2 * math.pi / 168)
    step = step_hours.log2()[:, None, None].expand(*hours.shape, 1)
    return torch.cat([day.sin(), day.cos(), weekday, week.sin(), week.cos(), step], -1)


class CalendarEmbedding(nn.Module):
    """tau(t) of §3.4.1: an MLP of the calendar."""

    def __init__(self, width: int) -> None:
        """`width`: features of a token."""
        super().__init__()
        self.network = nn.Sequential(nn.Linear(CALENDAR_FEATURES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(
        self, hours: Float[Tensor, "batch token"], step_hours: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch token width"]:
        """Embed the middle of every token, hours since Monday 00:00."""
        return self.network(calendar_features(hours, step_hours))


class NoiseEmbedding(nn.Module):
    """The noise level k as a vector: Fourier features of c_noise, then an MLP."""

    def __init__(self, width: int, frequencies: int = 32) -> None:
        """`width`: features of a token; `frequencies`: pairs of sine and cosine."""
        super().__init__()
        self.frequency: Tensor
        self.register_buffer("frequency", torch.logspace(-1.0, 1.5, frequencies), persistent=False)
        self.network = nn.Sequential(nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, noise_label: Float[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        """Embed one noise label per window."""
        phase = noise_label[:, None] * self.frequency
        return self.network(torch.cat([phase.sin(), phase.cos()], -1))


def rotary_turn(position: Float[Tensor, "batch token 3"], head_width: int) -> Float[Tensor, "2 batch token half"]:
    """Cosine and sine of rotary angles at positions (hours, y km, x km).

    Half of the pairs turn with time, a quarter with each axis; periods run from 2 h to 600 h and from 2 km to 64 km.
    """
    half = head_width // 2
    pairs = (half - 2 * (half // 4), half // 4, half // 4)
    periods = ((2.0, 600.0), (2.0, 64.0), (2.0, 64.0))
    angles = []
    for axis, (count, (short, long)) in enumerate(zip(pairs, periods, strict=True)):
        period = torch.logspace(math.log10(short), math.log10(long), count, device=position.device)
        angles.append(position[..., axis, None] * (2 * math.pi / period))
    angle = torch.cat(angles, -1)
    return torch.stack([angle.cos(), angle.sin()])


def normalise_and_rotate(
    features: Float[Tensor, "batch member token two head width"],
    gain: Float[Tensor, "two width"],
    turn: Float[Tensor, "2 batch token half"],
) -> Float[Tensor, "batch member token two head width"]:
    """Queries and keys at a root mean square of 1, times `gain`, with the pairs (i, i + half) turned.

    What this costs are its passes over all values, and short rows in them. So gain and turn are one table for all
    members, with a row for every value of a token.
    """
    half, heads = features.shape[-1] // 2, features.shape[-2]
    features = features.contiguous()
    size = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
    unit = features * (size.square() / features.shape[-1] + torch.finfo(features.dtype).eps).rsqrt()
    cosine, sine = rearrange(turn.to(features.dtype), "part b n c -> part b 1 n 1 1 c")
    spread = repeat(gain.to(features.dtype), "two c -> two h c", h=heads)  # contiguous, so that rows are long
    along = spread * torch.cat([cosine, cosine], -1)
    across = spread.roll(half, -1) * torch.cat([-sine, sine], -1)
    return torch.addcmul(unit * along, unit.roll(half, -1), across)


def token_positions(
    grid: tuple[int, int, int],
    token: tuple[int, int, int],
    step_hours: Float[Tensor, " batch"],
    cell_km: Float[Tensor, " batch"],
) -> Float[Tensor, "batch token 3"]:
    """Middle of every token of a grid (T', H', V') in hours and kilometres from the window's corner."""
    device = step_hours.device
    edges = [torch.arange(n, device=device) * size + (size - 1) / 2 for n, size in zip(grid, token, strict=True)]
    index = torch.stack(torch.meshgrid(*edges, indexing="ij"), -1)
    flat = rearrange(index, "t h v place -> 1 (t h v) place")
    kilometres = torch.where(cell_km > 0, cell_km, NOMINAL_CELL_KM)
    unit = torch.stack([step_hours, kilometres, kilometres], -1)
    return flat * unit[:, None]
