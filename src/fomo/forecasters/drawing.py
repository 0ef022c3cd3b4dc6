"""How the members of a batch of windows are drawn: one encoding, many denoisings, tiles without seams.

The encoder reads every window once; members share it, and are denoised together. A grid larger than a training window
is covered by overlapping tiles whose denoised data are blended at every sampling step, from one common noise, so that
there are no seams.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fomo.config import Config
from fomo.diffusion.members import members_of, mirrored_pairs
from fomo.diffusion.process import PaperProcess, Process
from fomo.diffusion.sampler import SamplerName, ddpm, heun, multistep
from fomo.forecasters.tiles import Tiling
from fomo.model.transformer import MaskedDiffusionTransformer
from fomo.seeds import derived_seed
from fomo.windows.batch import Batch
from fomo.windows.observation import observe
from fomo.windows.records import Record, each_tensor, some_rows
from fomo.windows.regression import SMALLEST_UNIT

#: Fields of a batch, its context and its observation that have no cells.
WITHOUT_GRID = frozenset(
    (
        *("start_hour", "step_hours", "cell_km", "shapes", "noise", "anything"),
        *("rate", "rate_within", "rate_between", "answer"),
        *("users_shapes", "users_noise", "users_family", "rate_shapes", "rate_noise"),
    )
)


class SamplingConfig(Config):
    """How members are drawn."""

    sampler: SamplerName = "multistep"
    steps: int = Field(8, ge=1)  # network evaluations of `multistep` and `ddpm`; `heun` needs twice as many
    tile: tuple[int, int] = (8, 8)
    overlap: int = Field(2, ge=0)  # cells that neighbouring tiles share: 4 cost 1.6 times as much for the same errors
    antithetic: bool = True  # members in pairs from noise and its negative: the mean converges faster
    rows: int = Field(256, ge=1)  # members x tiles that pass the network at once: bounds the memory


@dataclass(frozen=True)
class Drawing:
    """What members are drawn with."""

    network: MaskedDiffusionTransformer
    process: Process
    sampling: SamplingConfig
    temperature: float  # widens the residuals of the default process

    def members(
        self, batch: Batch, tiling: Tiling, samples: int, seeds: Sequence[int], only: range | None = None
    ) -> Float[Tensor, "task sample time y x"]:
        """Shares of the members on the whole grid, never negative.

        `only`: these of the `samples` members, as they are among all of them; whole pairs, see `shared_members`.
        """
        only = range(samples) if only is None else only
        tasks, tiles = batch.share.shape[0], len(tiling.corners)
        observation = observe(batch)  # on the whole grid, so that all tiles agree on levels
        at_once = max(1, self.sampling.rows // samples)
        parts = [slice(first, first + at_once) for first in range(0, tasks * tiles, at_once)]
        cut_batch, cut_observation = _cut(batch, tiling), _cut(observation, tiling)
        conditions = [self.network.encode(cut_batch.rows(part), some_rows(cut_observation, part)) for part in parts]

        def whole(pieces: list[Tensor]) -> Tensor:
            """(tile x task, ..., y, x) pieces blended to (task, ..., y, x)."""
            return tiling.blend(rearrange(torch.cat(pieces), "(i b) ... -> i b ...", i=tiles))

        mean = whole([condition.mean for condition in conditions])
        log_scale = whole([condition.log_scale for condition in conditions])

        def denoise(noised: Tensor, sigma: float) -> Tensor:
            level = torch.tensor([sigma], device=noised.device, dtype=torch.float32)
            c_skip, c_out, c_in, c_noise = self.process.coefficients(level)
            cut = rearrange(tiling.cut((c_in * noised).float()), "i b ... -> (i b) ...")
            outputs = [
                self.network.denoise(cut[part], c_noise, condition)
                for part, condition in zip(parts, conditions, strict=True)
            ]
            return c_skip * noised + c_out * whole(outputs)

        shape = tuple(batch.share.shape[1:])
        start = self._start(shape, samples, seeds, only).to(mean.device)
        clean = self._draw(denoise, start, samples, seeds, only)
        if not self.process.standardise:
            return ((clean + 1) / 2).clamp(min=0)
        if self.sampling.antithetic:
            clean = mirrored_pairs(clean)
        unit = observation.unit[:, None]
        share = members_of(clean, ((mean + 1) * unit).clamp(min=0), self.temperature * log_scale.exp() * unit)
        # Where there is no station, a trace of traffic is nothing.
        return torch.where(observation.silent[:, None, None] & (share < SMALLEST_UNIT / 2), 0.0, share)

    def _draw(
        self,
        denoise: Callable[[Tensor, float], Tensor],
        start: Tensor,
        samples: int,
        seeds: Sequence[int],
        only: range,
    ) -> Tensor:
        steps = self.sampling.steps
        if self.sampling.sampler == "ddpm":
            assert isinstance(self.process, PaperProcess)
            draws = count()

            def noise() -> Tensor:
                draw = next(draws)
                fresh = [derived_seed(seed, draw) for seed in seeds]
                return self._start(tuple(start.shape[2:]), samples, fresh, only).to(start.device)

            return ddpm(denoise, start, self.process, steps, noise)
        sampler = heun if self.sampling.sampler == "heun" else multistep
        return sampler(denoise, start, self.process.sigmas(steps))

    def _start(
        self, shape: tuple[int, ...], samples: int, seeds: Sequence[int], only: range
    ) -> Float[Tensor, "task sample time y x"]:
        """Noise of every task from its seed; drawn once for all that share one."""
        chosen = slice(only.start, only.stop)
        drawn = {
            seed: member_noise(shape, samples, seed, self.sampling.antithetic)[chosen] for seed in dict.fromkeys(seeds)
        }
        return torch.stack([drawn[seed] for seed in seeds])


def shared_members(samples: int, parts: int, unit: int = 2) -> list[range]:
    """The members of an ensemble in at most `parts` parts of about one size, each begun at a multiple of `unit`.

    A unit of 2 keeps pairs of opposite noise together.
    """
    units = -(-samples // unit)
    parts = min(parts, units)
    ends = [min(samples, unit * (part * units // parts)) for part in range(1, parts + 1)]
    return [range(first, last) for first, last in zip([0, *ends[:-1]], ends, strict=True)]


def member_noise(shape: tuple[int, ...], samples: int, seed: int, antithetic: bool) -> Float[Tensor, "sample time y x"]:
    """Standard normal numbers per member; with `antithetic`, member 2i + 1 has the negative of member 2i's."""
    generator = torch.Generator().manual_seed(seed)
    if not antithetic:
        return torch.randn((samples, *shape), generator=generator)
    half = torch.randn(((samples + 1) // 2, *shape), generator=generator)
    return torch.stack([half, -half], 1).flatten(0, 1)[:samples]


def _cut(record: Record, tiling: Tiling) -> Record:
    """Tiles of every layer on the grid, tiles first (row = tile * tasks + task), and copies of what has no cells."""
    tiles = len(tiling.corners)

    def cut(name: str, part: Tensor) -> Tensor:
        if name in WITHOUT_GRID:
            return part.repeat(tiles, *(1 for _ in part.shape[1:]))
        return rearrange(tiling.cut(part), "i b ... -> (i b) ...")

    return each_tensor(record, cut)
