"""What the known context says of the traffic of a window, from OBSERVED traffic and KNOWN context alone.

The traffic per user of a cell has a week of its own, much steadier than its traffic: fitted to what is observed, and
times the users that are known, it says what the traffic is. Where users are known for the past only, their own fitted
week takes their place.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import einsum, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from fomo.windows.batch import Batch
from fomo.windows.context import ALL_POI, RESIDENTS, Context
from fomo.windows.regression import (
    LARGEST_RELATIVE,
    RATE_NOISE_POWER,
    SMALLEST_UNIT,
    Prior,
    fit_week,
    lasting,
)
from fomo.windows.rhythm import SMALLEST_RHYTHM
from fomo.windows.scale import compress

#: The variance of a cell's traffic per user in the fit, over that seen between cells: outliers are not rare.
WIDER = 1.2
#: Users say that a cell's traffic per user is so far from that of its region at most, as a logarithm.
LARGEST_ANSWER = 0.8
#: A cell whose mean users are below this share has none to speak of.
FEWEST_USERS = 1e-4
#: Traffic goes with POI and residents to this power (journal, 2026-11-26), and none of them count as a few: one POI,
#: or so much of the residents of a mean cell.
STATIC_POWER, NO_POI, NO_RESIDENTS = 0.5, 1.0, 0.02
#: Level of a cell in a window of which nothing is observed, where users do not say it: a usual mean share.
NOMINAL_LEVEL = 0.05

#: Guesses from context, in the order of `ContextObservation.known`.
CONTEXT_GUESSES = (
    "per_user_usual",
    "per_user",
    "per_user_lasting",
    "users_ratio",
    "per_user_expected",
    "by_poi",
    "by_residents",
)
#: Numbers of every value that the network reads of users, beside the guesses: `ContextObservation.channels`.
USER_CHANNELS = 7


@dataclass(frozen=True)
class ContextObservation:
    """Guesses relative to the cell's unit, 0 where not known, and what is known of users."""

    known: Float[Tensor, "batch guess time y x"]
    is_known: Bool[Tensor, "batch guess time y x"]
    channels: Float[Tensor, "batch channel time y x"]
    anything: Bool[Tensor, " batch"]


@dataclass(frozen=True)
class Users:
    """Users of every step, known or expected, and the traffic that goes with them (shares)."""

    known: Bool[Tensor, "batch time y x"]
    told: Bool[Tensor, "batch y x"]  # cells of which some users are known, and they say what its traffic is
    nobody: Bool[Tensor, "batch y x"]  # cells of which all users are known, and there are none, and no traffic
    filled: Float[Tensor, "batch time y x"]  # known users, else as fitted
    fitted: Float[Tensor, "batch time y x"]  # from the users of observed steps alone
    mean: Float[Tensor, "batch y x"]  # of `filled`
    usual: Float[Tensor, "batch time y x"]  # traffic: level times users times what is usual per user
    traffic: Float[Tensor, "batch time y x"]  # as the traffic per user was fitted
    lasting: Float[Tensor, "batch time y x"]  # plus what lasts of what that leaves over
    level: Float[Tensor, "batch y x"]  # mean traffic of a week that these users make


def observe_users(
    batch: Batch, context: Context, share: Float[Tensor, "batch time y x"], seen: Float[Tensor, "batch time y x"]
) -> Users:
    """The fit of the users' weeks and of the traffic per user."""
    known = context.users_known.to(share.dtype)
    filled = torch.where(context.users_known, context.users, _users_week(batch, context, known))
    ahead = (known * (1 - seen) > 0).flatten(1).any(1)
    fitted = filled
    # Window by window: what one says must not depend on the others of its batch. A GPU fits sooner than it is asked.
    if ahead.is_cuda or bool(ahead.any()):
        fitted = torch.where(ahead[:, None, None, None], _users_week(batch, context, known * seen), filled)
    mean = filled.mean(1)
    # Traffic where there are no users says that they were not counted; no users and no traffic say that it stays so.
    empty = (mean <= FEWEST_USERS) & (share.amax(1) <= SMALLEST_UNIT)
    told = (known.sum(1) > 0) & ((mean > FEWEST_USERS) | empty)
    times = torch.where(told, 1.0, 0.0)[:, None] * filled / mean.clamp(min=FEWEST_USERS)[:, None]

    usual = times * context.rate_rhythm
    below = (usual * seen).sum(1)
    window_users = (filled * context.rate_rhythm * seen * told[:, None]).sum((1, 2, 3))
    window_traffic = (share * told[:, None]).sum((1, 2, 3))
    around = torch.where(window_users > FEWEST_USERS, window_traffic / window_users.clamp(min=1e-9), context.rate)
    around = around.clamp(min=1e-6)
    own = share.sum(1) / below.clamp(min=SMALLEST_RHYTHM)
    level = torch.where(below > SMALLEST_RHYTHM, own, around[:, None, None] * mean) * told
    fit = fit_week(
        context.rate_rhythm, context.rate_shapes, context.rate_noise, share, seen * told[:, None],
        around[:, None, None] * mean * told, times, RATE_NOISE_POWER, rate_prior(context, known, around),
    )  # fmt: skip
    rest = lasting((share - fit.share) * seen, seen, batch.step_hours)
    return Users(
        known=context.users_known,
        told=told,
        nobody=empty & (known.amin(1) > 0) & (context.users.amax(1) <= 0),
        filled=filled,
        fitted=fitted,
        mean=mean,
        usual=level[:, None] * usual,
        traffic=fit.share,
        lasting=(fit.share + rest).clamp(min=0),
        level=fit.share.sum(1) / batch.rhythm.sum(1).clamp(min=SMALLEST_RHYTHM),
    )


def rate_prior(context: Context, known: Float[Tensor, "batch time y x"], around: Float[Tensor, " batch"]) -> Prior:
    """What is thought of a cell's traffic per user, relative to that `around`, from its users and its family.

    Users' weights are normal with what the fit of their week leaves open, and so the variance that they explain is
    the less, the fewer hours of users are known. Logarithms stand for relative changes of the level: that damps large
    ones.
    """
    curve, shapes = context.users_family[:, 0], context.users_family[:, 1:]
    users = context.users * known
    level = users.sum(1) / (curve[:, :, None, None] * known).sum(1).clamp(min=SMALLEST_RHYTHM)
    rhythm = curve[:, :, None, None].expand(users.shape)
    fit = fit_week(rhythm, shapes, context.users_noise, users, known, level)
    expected, left = context.answer[..., :-1], context.answer[..., -1]
    z = fit.weights[..., 1:] * (level > FEWEST_USERS)[..., None]
    mean = einsum(expected, z, "b w k, b y x k -> b y x w")
    mean = torch.cat([mean[..., :1].clamp(-LARGEST_ANSWER, LARGEST_ANSWER), mean[..., 1:]], -1)
    across = torch.nn.functional.pad(expected.mT, (0, 0, 1, 0))  # the level of the users says nothing
    across = repeat(across, "b k w -> b y x k w", y=users.shape[2], x=users.shape[3])
    half = torch.linalg.solve_triangular(fit.root, across, upper=False)
    scale = torch.cat([(WIDER * context.rate_within)[:, None], torch.ones_like(left[:, 1:])], 1)
    variance = (left * scale)[:, None, None] + half.square().sum(-2)
    return Prior(mean, variance, torch.log(context.rate / around), context.rate_between)


def _users_week(
    batch: Batch, context: Context, known: Float[Tensor, "batch time y x"]
) -> Float[Tensor, "batch time y x"]:
    """Users at all steps from those known at some, as traffic is: level, shapes, and what lasts."""
    users = context.users * known
    level = users.sum(1) / (context.users_rhythm * known).sum(1).clamp(min=SMALLEST_RHYTHM)
    fit = fit_week(context.users_rhythm, context.users_shapes, context.users_noise, users, known, level)
    return (fit.share + lasting((users - fit.share) * known, known, batch.step_hours)).clamp(min=0)


def observe_context(
    batch: Batch,
    context: Context,
    users: Users,
    share: Float[Tensor, "batch time y x"],
    seen: Float[Tensor, "batch time y x"],
    unit: Float[Tensor, "batch y x"],
    carried: Float[Tensor, "batch time y x"],
) -> ContextObservation:
    """Guesses and channels; `carried` is what the traffic alone says (`observation.GUESSES`).

    `per_user_usual`: the cell's traffic per user times its users and what is usual per user at that hour; `per_user`:
    with the week of the traffic per user as it was fitted; `per_user_lasting`: plus what lasts of what that leaves
    over; `users_ratio`: `carried` times known users over those expected; all where users are known. Where they are
    not, but known at other hours, `per_user_expected`: `per_user_lasting` with the expected users. `by_poi`,
    `by_residents`: traffic of the other cells per root of POI or residents, times that of the cell, where neither
    history nor users say more.
    """
    ratio = (users.filled + SMALLEST_UNIT) / (users.fitted + SMALLEST_UNIT)
    told = users.told[:, None].expand(share.shape)
    here, expected = users.known & told, ~users.known & told
    by_poi, poi_known = _by_static(batch, context, ALL_POI, NO_POI, share, seen)
    by_residents, residents_known = _by_static(batch, context, RESIDENTS, NO_RESIDENTS, share, seen)
    guesses = torch.stack(
        [
            users.usual,
            users.traffic,
            users.lasting,
            carried * ratio.clamp(0.2, 5.0),
            users.lasting,
            by_poi,
            by_residents,
        ],
        1,
    )
    else_nothing = ~told & (seen.amax(1) <= 0)[:, None]
    static_known = [known & else_nothing for known in (poi_known, residents_known)]
    is_known = torch.stack([here, here, here, here, expected, *static_known], 1)
    relative = ((guesses / unit[:, None, None]).clamp(max=LARGEST_RELATIVE) - 1) * is_known
    mean = users.mean.clamp(min=FEWEST_USERS)[:, None]
    left = (share - users.traffic) * seen * told
    misfit = (left.square().sum(1) / seen.sum(1).clamp(min=1)).sqrt() / unit
    per_user = torch.log((unit / mean[:, 0] / context.rate[:, None, None]).clamp(0.05, 20.0)) * users.told
    floats = share.dtype
    channels = torch.stack(
        [
            users.known.to(floats),
            told.to(floats),
            (users.filled / mean).clamp(max=LARGEST_RELATIVE) * told - told.to(floats),
            (compress(users.filled) - compress(users.fitted)) * told,
            ((compress(users.mean) - 1.0) * users.told)[:, None].expand(share.shape),
            misfit.clamp(max=LARGEST_RELATIVE)[:, None].expand(share.shape) * told,
            per_user[:, None].expand(share.shape),
        ],
        1,
    )
    return ContextObservation(relative, is_known, channels, context.anything)


def _counting(context: Context, layer: int, none: float) -> Float[Tensor, "batch y x"]:
    """What cells have of a layer, as it counts: traffic is in proportion to this."""
    return (context.static[:, layer] + none).pow(STATIC_POWER)


def expected_by_poi(context: Context, seen: Bool[Tensor, "batch time y x"]) -> Float[Tensor, "batch y x"]:
    """In proportion to what cells carry traffic by their POI; 1 in windows where POI of a seen cell are not known."""
    known = (context.static_known[:, ALL_POI] | ~seen.any(1)).flatten(1).all(1)
    return torch.where(known[:, None, None], _counting(context, ALL_POI, NO_POI), 1.0)


def _by_static(
    batch: Batch,
    context: Context,
    layer: int,
    none: float,
    share: Float[Tensor, "batch time y x"],
    seen: Float[Tensor, "batch time y x"],
) -> tuple[Float[Tensor, "batch time y x"], Bool[Tensor, "batch time y x"]]:
    """Traffic of the other cells over what they have of a layer, times what the cell has; and where that is known.

    What a cell has counts to the power STATIC_POWER, with `none` added: twice the shops do not make twice the traffic.
    Where nothing is observed of a window, all its cells together carry what is usual, at the nominal level.
    """
    known = context.static_known[:, layer]
    amount = (_counting(context, layer, none) * known)[:, None]
    there = seen * known[:, None]
    traffic = (share * there).sum((2, 3), keepdim=True) - share * there
    others = (amount * there).sum((2, 3), keepdim=True) - amount * there
    mean = amount.sum((2, 3), keepdim=True) / known.sum((1, 2)).clamp(min=1)[:, None, None, None]
    blank = ~seen.flatten(1).any(1)[:, None, None, None]
    made = NOMINAL_LEVEL * batch.rhythm * amount / mean.clamp(min=1e-6)
    guess = torch.where(blank, made, amount * traffic / others.clamp(min=1e-6))
    return guess, torch.where(blank, mean > 1e-6, others > 1e-6) & known[:, None]


__all__ = [
    "CONTEXT_GUESSES",
    "NOMINAL_LEVEL",
    "USER_CHANNELS",
    "ContextObservation",
    "Users",
    "expected_by_poi",
    "observe_context",
    "observe_users",
    "rate_prior",
]
