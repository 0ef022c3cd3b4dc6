"""How the members of a batch of windows are drawn: one encoding, many denoisings, tiles without seams.

The encoder reads every window once; members share it, and are denoised together. A grid larger than a training window
is covered by overlapping tiles whose denoised data are blended at every sampling step, from one common noise, so that
there are no seams. A grid larger than a district is drawn district by district, from the same noise where they
overlap, and a large ensemble some members at a time, so that beside the members that are kept and the window no memory
grows with the city or with their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor

from fomo.config import Config
from fomo.diffusion.members import OtherCells, members_of, mirrored_pairs
from fomo.diffusion.memory import SHARE_IN_COMMON, in_common, remembered
from fomo.diffusion.process import PaperProcess, Process
from fomo.diffusion.sampler import SamplerName, angle, angle_levels, ddpm, heun, multistep
from fomo.forecasters.blend import Blend, Expected, blended, past_where_alone
from fomo.forecasters.noise import Noise, evenly_spread
from fomo.forecasters.rest_of_city import RestOfCity
from fomo.forecasters.threads import on_threads
from fomo.forecasters.tiles import Tiling, even_edge, make_tiling
from fomo.model.transformer import Condition, MaskedDiffusionTransformer
from fomo.seeds import derived_seed, plain_seed
from fomo.windows.batch import Batch
from fomo.windows.context_observation import expected_by_poi
from fomo.windows.observation import observe
from fomo.windows.records import WITHOUT_GRID, Record, each_tensor, some_rows
from fomo.windows.regression import SMALLEST_UNIT

#: Steps that keep the spread of many (journal, 2026-11-26); of the K of `ddpm` as many as can be afforded.
STEPS: dict[SamplerName, int] = {"angle": 3, "multistep": 8, "heun": 8, "ddpm": 25}
#: Members x tiles that are answered together where nothing else is asked for: a GPU waits for every single call.
ROWS, ROWS_ELSEWHERE = 256, 4096
#: Values (members x tiles x steps x cells) that pass the network at once: on a CPU few, so that its caches hold them.
AT_ONCE, AT_ONCE_ELSEWHERE = 2**17, 2**23
#: Values (tasks x members x steps x cells) of the grid that are drawn from noise to traffic at once, where the members
#: of one call of the network are not more already: a number that bounds the memory and rules no digit.
DRAWN_AT_ONCE, DRAWN_AT_ONCE_ELSEWHERE = 2**19, 2**24
#: Cells that neighbouring districts share: a tile's width, beyond which little is seen.
DISTRICT_OVERLAP = 8


class SamplingConfig(Config):
    """How members are drawn."""

    sampler: SamplerName = "angle"
    #: Network evaluations a member; `heun` needs twice as many. By default as many as the sampler needs, see STEPS.
    steps: int = Field(default_factory=lambda known: STEPS[known["sampler"]], ge=1)
    tile: tuple[PositiveInt, PositiveInt] = (8, 8)
    overlap: int = Field(2, ge=0)  # cells that neighbouring tiles share: 4 cost 1.6 times as much for the same errors
    antithetic: bool = True  # members in pairs from noise and its negative: the mean converges faster
    #: Members x tiles that are answered together at most, which bounds the memory; None: as suits the device.
    rows: int | None = Field(None, ge=1)
    district: tuple[PositiveInt, PositiveInt] = (64, 64)  # a larger grid is drawn in such parts: bounds the memory
    hindcasts: int = Field(12, ge=0)  # of the city's own past, where it is known: see `blend`; 0: the network alone
    tails: bool = False  # members err as far as errors do at times, which plans need: see `diffusion.members`

    def rows_on(self, device: str) -> int:
        """`rows` on a device of this type."""
        return self.rows or (ROWS if device == "cpu" else ROWS_ELSEWHERE)


@dataclass(frozen=True)
class Drawing:
    """What members are drawn with."""

    network: MaskedDiffusionTransformer
    process: Process
    sampling: SamplingConfig
    temperature: float  # widens the residuals of the default process

    def members(
        self,
        batch: Batch,
        samples: int,
        seeds: Sequence[int],
        only: range | None = None,
        kept: slice = slice(None),
        blends: Sequence[Blend] | None = None,
        lasting: Sequence[int] | None = None,
    ) -> Float[Tensor, "task sample time y x"]:
        """Shares of the members on the whole grid, never negative; a large grid district by district.

        `only`: these of the `samples` members, as they are among all of them; whole pairs. `kept`: these steps of the
        window. `blends`: one for each window, or None: the network alone. `lasting`: seeds of what errors remember;
        windows of one city that have the same lie above or below what is expected together. By default each its own.
        """
        only = range(samples) if only is None else only
        districts = self.districts((batch.share.shape[2], batch.share.shape[3]))
        if len(districts.corners) == 1:
            return self.weighted(batch, samples, seeds, only, kept, 0, blends, lasting)
        members = batch.share.new_zeros(len(seeds), len(only), *batch.share[0, kept].shape)
        height, width = districts.tile
        for index, (y, x) in enumerate(districts.corners):
            members[..., y : y + height, x : x + width] += self.weighted(
                batch, samples, seeds, only, kept, index, blends, lasting
            )
        return members

    def districts(self, grid: tuple[int, int]) -> Tiling:
        """The parts of a grid that are drawn one by one."""
        district = self.sampling.district
        edges = even_edge(grid[0], district[0], DISTRICT_OVERLAP), even_edge(grid[1], district[1], DISTRICT_OVERLAP)
        return make_tiling(grid, edges, DISTRICT_OVERLAP)

    def weighted(
        self,
        batch: Batch,
        samples: int,
        seeds: Sequence[int],
        only: range,
        kept: slice,
        index: int,
        blends: Sequence[Blend] | None = None,
        lasting: Sequence[int] | None = None,
    ) -> Float[Tensor, "task sample time y x"]:
        """What one district adds to `members`: its shares times its weights, on its own cells.

        `members` are the sums over districts, in the order of their corners.
        """
        grid = (batch.share.shape[2], batch.share.shape[3])
        districts, seeds = self.districts(grid), [plain_seed(seed) for seed in seeds]
        shape, block = (batch.share.shape[1], *grid), self.sampling.district
        lasting = [derived_seed(seed, 0) for seed in seeds] if lasting is None else lasting
        antithetic, place = self.sampling.antithetic, (districts.corners[index], districts.tile)
        ordered, shared, shared_order = (tuple(derived_seed(seed, n) for seed in lasting) for n in (1, 2, 3))
        one, cell = (1, 1), ((0, 0), (1, 1))
        numbers = _Numbers(
            start=partial(Noise(tuple(seeds), samples, antithetic, shape, block, only).part, *place),
            lasting=partial(Noise(tuple(lasting), samples, antithetic, shape, block, only).part, *place),
            levels=partial(Noise(ordered, 1, False, (1, *grid), block, range(1)).part, *place),
            shared=partial(Noise(shared, samples, antithetic, (shape[0], *one), one, only).part, *cell),
            shared_level=partial(Noise(shared_order, 1, False, (1, *one), one, range(1)).part, *cell),
        )
        tiling = make_tiling(districts.tile, self.sampling.tile, self.sampling.overlap)
        if len(districts.corners) == 1:
            return self._district(batch, tiling, samples, numbers, only, kept, blends)
        weight = districts.weights[index]
        here = Tiling(grid, districts.tile, (districts.corners[index],), weight[None])
        part = _cut(batch, here)
        rest = RestOfCity.beside(part, batch)
        drawn = self._district(part, tiling, samples, numbers, only, kept, blends, rest)
        return drawn.mul_(weight.to(drawn.device))

    def expected(self, batch: Batch) -> Expected:
        """What the network says before members are drawn, of a grid that is denoised as one."""
        grid = (batch.share.shape[2], batch.share.shape[3])
        tiling = make_tiling(grid, self.sampling.tile, self.sampling.overlap)
        return self._encoded(batch, tiling, 1, slice(0, 0)).expected

    def _encoded(
        self,
        batch: Batch,
        tiling: Tiling,
        samples: int,
        denoised: slice = slice(None),
        rest: RestOfCity | None = None,
    ) -> _Encoded:
        """The windows as the network reads them, tile by tile; `denoised`: those of a part that will be drawn."""
        tasks, time = batch.share.shape[:2]
        tiles = len(tiling.corners)
        # On the whole grid, so that all tiles agree on levels.
        observation = observe(batch) if rest is None else rest.observed(batch)
        device = batch.share.device
        most = AT_ONCE if device.type == "cpu" else AT_ONCE_ELSEWHERE
        rows = max(1, min(self.sampling.rows_on(device.type), most // (time * math.prod(tiling.tile))))
        at_once = max(1, rows // samples)
        parts = [slice(first, first + at_once) for first in range(0, tasks * tiles, at_once)]
        cut_batch, cut_observation = _cut(batch, tiling), _cut(observation, tiling)
        conditions = on_threads(
            lambda part: self.network.encode(cut_batch.rows(part), some_rows(cut_observation, part), denoised),
            parts,
            device,
        )
        mean = _whole([condition.mean for condition in conditions], tiling)
        log_scale = _whole([condition.log_scale for condition in conditions], tiling)
        unit = observation.unit[:, None]
        middle, scale = ((mean + 1) * unit).clamp(min=0), self.temperature * log_scale.exp() * unit
        expected = past_where_alone(Expected(middle, scale, observation, batch.own_past, more_users=batch.more_users))
        return _Encoded(expected, parts, conditions, rows)

    def _district(
        self,
        batch: Batch,
        tiling: Tiling,
        samples: int,
        numbers: _Numbers,
        only: range,
        kept: slice,
        blends: Sequence[Blend] | None,
        rest: RestOfCity | None = None,
    ) -> Float[Tensor, "task sample time y x"]:
        """The members of a grid that is denoised as one, from numbers of its shape; `rest`: what lies beside it.

        Encoded once. Members pass the network in the same groups however many are drawn at once, and do not look at
        each other beyond their pair, so that they are the same to the bit.
        """
        encoded = self._encoded(batch, tiling, samples, rest=rest)
        parts, conditions, rows = encoded.parts, encoded.conditions, encoded.rows
        expected = encoded.expected if blends is None else blended(encoded.expected, blends)
        middle, scale, observation = expected.mean[:, kept], expected.scale[:, kept], expected.observation
        device = middle.device

        def denoise(noised: Tensor, sigma: float) -> Tensor:
            level = torch.tensor([sigma], device=noised.device, dtype=torch.float32)
            c_skip, c_out, c_in, c_noise = self.process.coefficients(level)
            cut = rearrange(tiling.cut((c_in * noised).float()), "i b ... -> (i b) ...")
            passes = [
                (some, condition)
                for part, condition in zip(parts, conditions, strict=True)
                for some in cut[part].split(rows, 1)
            ]
            found = iter(on_threads(lambda one: self.network.denoise(one[0], c_noise, one[1]), passes, device))
            outputs = [torch.cat([next(found) for _ in range(0, cut.shape[1], rows)], 1) for _ in parts]
            return c_skip * noised + c_out * _whole(outputs, tiling)

        # Where there is no station, a trace of traffic is nothing.
        silent = observation.silent[:, None, None]
        context = batch.context
        told = torch.zeros_like(observation.silent) if context is None else (context.users_known & batch.hidden).any(1)
        unseen = expected.unseen
        unknown = unseen & ~told
        others = None
        if bool(unknown.any()):
            by_poi = None if context is None else expected_by_poi(context, batch.observed)
            others = OtherCells.of(batch.share[:, kept], batch.observed[:, kept], by_poi)
            others = others if rest is None else rest.other_cells(others, kept)

        usual = SHARE_IN_COMMON[False]
        shares = [usual] * len(middle) if blends is None else [blend.in_common for blend in blends]
        part = torch.tensor(shares, device=device)

        def drawn(some: range) -> Tensor:
            """These members, from noise to shares."""
            clean = self._draw(denoise, lambda draw=None: numbers.start(draw=draw, only=some).to(device))[:, :, kept]
            if not self.process.standardise:
                return ((clean + 1) / 2).clamp(min=0)
            if self.sampling.antithetic:
                clean = mirrored_pairs(clean)
            lasts = numbers.lasting(only=some).to(device)  # no part of what they were drawn from
            if bool(unseen.any()):
                levels = evenly_spread(numbers.levels()[:, 0, 0], some, self.sampling.antithetic).to(device)
                lasts[:, :, 0] = torch.where(unseen[:, None], levels, lasts[:, :, 0])
            clean = remembered(clean, lasts, batch.step_hours, unseen, told, kept)
            shared = numbers.shared(only=some)[..., 0, 0]
            shared[:, :, 0] = evenly_spread(numbers.shared_level()[:, 0, 0], some, self.sampling.antithetic)[..., 0, 0]
            clean = in_common(clean, shared.to(device), part, batch.step_hours, unseen, kept)
            share = members_of(clean, middle, scale, unknown, others, self.sampling.tails)
            return torch.where(silent & (share < SMALLEST_UNIT / 2), 0.0, share)

        at_a_time = self._members_at_a_time(samples, rows, batch.share.numel(), device.type == "cpu")
        if len(only) <= at_a_time:
            return drawn(only)
        members = middle.new_empty(len(middle), len(only), *batch.share[0, kept].shape)
        for first in range(only.start, only.stop, at_a_time):
            some = only[first - only.start :][:at_a_time]
            members[:, first - only.start :][:, : len(some)] = drawn(some)
        return members

    def _members_at_a_time(self, samples: int, rows: int, values: int, on_cpu: bool) -> int:
        """How many members of `values` values each are drawn at once; whole pairs and whole calls of the network."""
        if samples <= rows:  # they pass the network together
            return samples
        whole = rows * (2 if self.sampling.antithetic and rows % 2 else 1)
        return whole * max(1, (DRAWN_AT_ONCE if on_cpu else DRAWN_AT_ONCE_ELSEWHERE) // (whole * values))

    def levels(self) -> Float[Tensor, " level"]:
        """Noise levels of the sampler, the largest first."""
        steps = self.sampling.steps
        if self.sampling.sampler == "angle":
            return angle_levels(float(self.process.sigmas(1)[0]), steps)
        return self.process.sigmas(steps)

    def _draw(self, denoise: Callable[[Tensor, float], Tensor], noise: Callable[..., Tensor]) -> Tensor:
        steps, start = self.sampling.steps, noise()
        if self.sampling.sampler == "ddpm":
            assert isinstance(self.process, PaperProcess)
            draws = count()
            return ddpm(denoise, start, self.process, steps, lambda: noise(draw=next(draws)))
        samplers = {"angle": angle, "heun": heun, "multistep": multistep}
        return samplers[self.sampling.sampler](denoise, start, self.levels())


@dataclass(frozen=True)
class _Numbers:
    """Standard normal numbers of one district, of some members (`only`): (task, member, time, y, x)."""

    start: Callable[..., Tensor]  # what members are denoised from; `draw` counts fresh ones
    lasting: Callable[..., Tensor]  # for what errors remember
    levels: Callable[..., Tensor]  # (task, 1, 1, y, x), of a cell: the order of its members' levels
    shared: Callable[..., Tensor]  # (task, member, time, 1, 1), for what errors of all cells have in common
    shared_level: Callable[..., Tensor]  # (task, 1, 1, 1, 1): the order of members in that


@dataclass(frozen=True)
class _Encoded:
    """Windows as the network reads them: `conditions` of `parts` of their tiles, `rows` of which pass it at once."""

    expected: Expected
    parts: list[slice]
    conditions: list[Condition]
    rows: int


def _whole(pieces: Sequence[Tensor], tiling: Tiling) -> Tensor:
    """(tile x task, ..., y, x) pieces blended to (task, ..., y, x)."""
    return tiling.blend(rearrange(torch.cat(list(pieces)), "(i b) ... -> i b ...", i=len(tiling.corners)))


def _cut(record: Record, tiling: Tiling) -> Record:
    """Tiles of every layer on the grid, tiles first (row = tile * tasks + task), and copies of what has no cells."""
    tiles = len(tiling.corners)

    def cut(name: str, part: Tensor) -> Tensor:
        if name in WITHOUT_GRID:
            return part.repeat(tiles, *(1 for _ in part.shape[1:]))
        return rearrange(tiling.cut(part), "i b ... -> (i b) ...")

    return each_tensor(record, cut)
