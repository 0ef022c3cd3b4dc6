"""From residuals back to traffic: members that are never negative and whose mean is still the encoder's.

Cutting negative traffic off at zero lifts the mean of what is left, most where traffic is small beside its uncertainty:
at night, in quiet cells, in cells without history. So the members of a value are those of a normal variable cut at
zero (Tobin, 1958) whose location is chosen such that the mean after the cut is the one that was asked for.

Errors have longer tails than a normal variable: their quantiles, in units of their scale, are those of Student's t with
four degrees of freedom (journal, 2026-11-27). A plan lives in these tails, so members may be asked to have them: each
is then the t variable at the level of its normal one, of the same variance, cut and located in the same way.

A cell without history is one of its city's cells: most are quiet, a few carry a multiple of the mean. So there the
members lie, the more the more cells there are, as the traffic of the others lies at that hour around its mean, or where
POI are known around what these say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

#: A scale of more than so many means is taken as so many: else hardly any member would carry traffic.
LARGEST_SPREAD = 10.0
#: So many scales above zero a cut moves nothing.
FAR_FROM_ZERO = 8.0
#: Newton steps from above; the functions are convex, and these are exact to float32 on the whole range.
NEWTON_STEPS, NEWTON_STEPS_OF_TAILS = 6, 9
#: The network's own shape of a member without history is worth so many other cells: chosen on the regions of folds 1-4
#: and on districts of Nanchang's grid (journal, 2026-11-26).
WORTH_CELLS = 25.0


def _below(value: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Phi: the share of a standard normal variable that lies below."""
    return 0.5 * (1 + torch.erf(value / math.sqrt(2)))


def censored_location(mean: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """The m for which E[max(m + Z, 0)] = m Phi(m) + phi(m) = `mean`, Z standard normal; `mean` at least 1 / 10."""
    location = mean
    for _ in range(NEWTON_STEPS):
        below = _below(location)
        density = torch.exp(-location.square() / 2) / math.sqrt(2 * math.pi)
        location = location - (location * below + density - mean) / below
    return location


def with_tails(normal: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Student's t with four degrees of freedom over sqrt(2), of variance 1, at the levels of standard normal numbers.

    Its quantile at the level p has a closed form in 4 p (1 - p) (Shaw, 2006).
    """
    beyond = torch.special.erfc(normal.abs() / math.sqrt(2)) / 2  # p is near 0 or 1, so this is kept
    root = (4 * beyond * (1 - beyond)).clamp(min=1e-30, max=1.0).sqrt()
    size = (torch.cos(torch.arccos(root) / 3) / root - 1).clamp(min=0).sqrt()
    return torch.sign(normal) * math.sqrt(2) * size


def censored_location_of_tails(mean: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """The m for which E[max(m + S, 0)] = `mean`, S as `with_tails` gives it; `mean` at least 1 / 10.

    With T = sqrt(2) S, F its distribution and f its density: E = m F(sqrt(2) m) + (1 + m^2 / 2)^(-3/2) / sqrt(8), since
    the integral of t f(t) from a on is (1 + a^2 / 4)^(-3/2) / 2.
    """
    location = mean
    for _ in range(NEWTON_STEPS_OF_TAILS):
        sine = location / (2 + location.square()).sqrt()  # of the angle whose tangent is T / 2
        below = 0.5 + 0.75 * (sine - sine**3 / 3)
        expected = location * below + (1 + location.square() / 2) ** -1.5 / math.sqrt(8)
        location = location - (expected - mean) / below
    return location


@dataclass(frozen=True)
class OtherCells:
    """How the traffic of the observed cells lies around what is expected of them, hour by hour."""

    ratios: Float[Tensor, "batch time rank"]  # traffic over expectation, mean 1, ascending, the observed cells first
    count: Float[Tensor, "batch time"]  # of observed cells; 0 where they carry nothing

    @classmethod
    def of(
        cls,
        share: Float[Tensor, "batch time y x"],
        observed: Bool[Tensor, "batch time y x"],
        expected: Float[Tensor, "batch y x"] | None = None,
    ) -> OtherCells:
        """Those of some windows. `expected`: in proportion to which cells should carry traffic; None: all alike."""
        seen, share = observed.flatten(2), share.flatten(2)
        if expected is not None:
            share = share / expected.flatten(1)[:, None].clamp(min=1e-12)
        count, total = seen.sum(2), (share * seen).sum(2)
        mean = torch.where(total > 0, total / count.clamp(min=1), 1.0)
        ratios = torch.where(seen, share / mean[..., None], math.inf).sort(2).values
        return cls(ratios, torch.where(total > 0, count, 0).to(share))

    def quantiles(
        self, row: Int64[Tensor, " cell"], level: Float[Tensor, "cell member time"]
    ) -> Float[Tensor, "cell member time"]:
        """Ratios at levels in (0, 1), of cells of the windows `row`; the mean over all levels is 1.

        The ratio of rank i stands at the level (i + 1/2) / count; between two it is linear, beyond the ends flat.
        """
        count = self.count[row][:, None]
        last = (count - 1).clamp(min=0)
        place = torch.minimum((level * count - 0.5).clamp(min=0), last)
        below = place.floor()
        above = torch.minimum(below + 1, last)
        # Value by value: all ranks of every cell would be more than everything else together.
        step = torch.arange(level.shape[2], device=level.device)
        low, high = (self.ratios[row[:, None, None], step, each.long()] for each in (below, above))
        return low + (place - below) * (high - low)


def members_of(
    residual: Float[Tensor, "batch member time y x"],
    mean: Float[Tensor, "batch time y x"],
    scale: Float[Tensor, "batch time y x"],
    unknown: Bool[Tensor, "batch y x"] | None = None,
    others: OtherCells | None = None,
    tails: bool = False,
) -> Float[Tensor, "batch member time y x"]:
    """Shares from residuals of mean 0 and variance 1; `mean` and `scale` are shares, the mean not negative.

    `unknown`: cells of which neither history nor users are known, which are like the `others`. `tails`: as errors have
    them, see above. A member depends on its own residual alone, so it is the same whoever is drawn beside it.
    """
    members = _cut(residual, mean, scale, tails)
    if unknown is not None and others is not None:
        row, y, x = unknown.nonzero(as_tuple=True)
        count = others.count[row][:, None]
        as_others = mean[row, :, y, x][:, None] * others.quantiles(row, _below(residual[row, :, :, y, x]))
        alone = members[row, :, :, y, x]
        both = alone + count / (count + WORTH_CELLS) * (as_others - alone)
        members[row, :, :, y, x] = torch.where(count > 0, both, alone)
    return members


def _cut(
    residual: Float[Tensor, "batch member time y x"],
    mean: Float[Tensor, "batch time y x"],
    scale: Float[Tensor, "batch time y x"],
    tails: bool,
) -> Float[Tensor, "batch member time y x"]:
    """Those of a normal variable cut at zero, or of one with tails."""
    scale = torch.minimum(scale, LARGEST_SPREAD * mean)
    means = mean / scale.clamp(min=1e-12)
    near = means.clamp(1 / LARGEST_SPREAD, FAR_FROM_ZERO)
    location = scale * (censored_location_of_tails(near) if tails else censored_location(near))
    location = torch.where(means < FAR_FROM_ZERO, location, mean)
    return (location[:, None] + scale[:, None] * (with_tails(residual) if tails else residual)).clamp(min=0)


def mirrored_pairs(residual: Float[Tensor, "batch member time y x"]) -> Float[Tensor, "batch member time y x"]:
    """Members 2i and 2i + 1, drawn from opposite noise, made opposite: each half the difference of the two.

    What a denoiser adds to both is a mean, which is the encoder's matter. A last member without its pair stays.
    """
    paired = residual.shape[1] // 2 * 2
    half = (residual[:, 0:paired:2] - residual[:, 1:paired:2]) / 2
    return torch.cat([torch.stack([half, -half], 2).flatten(1, 2), residual[:, paired:]], 1)
