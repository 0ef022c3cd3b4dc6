"""How far the network is believed in a city, and how sure it is there, from hindcasts of the city's own past.

A network that never saw a city cannot know how alike its weeks are; the city's past can. At each hindcast
(`windows.hindcast`) the network's mean stands beside what the past alone says (`own_past`) and beside simple guesses
that are made on the way to it anyway. The blend is the weighted mean, weights at least 0 and 1 together, with the least
squared error over all hindcasts (`simplex`), drawn towards network and past, half and half, which is also the answer
where there are too few hindcasts; and the width of the members is what the errors of that mean were, over what the
network said they would be. From a few days there are few hindcasts or none; then the width is found from them and from
how far the past alone was off in those days. One set of weights and one width for all cells and hours: weights of each
cell and of each lead time were no better (journal, 2026-11-26).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fomo.diffusion.memory import SHARE_IN_COMMON
from fomo.forecasters import own_past
from fomo.forecasters.simplex import on_simplex
from fomo.windows.context_observation import CONTEXT_GUESSES
from fomo.windows.observation import GUESSES, Observation
from fomo.windows.regression import LARGEST_RELATIVE, SMALLEST_UNIT

#: What stands beside the network: guesses from traffic, and from users where they are known.
BESIDE = ("carried", "shaped_recent", "rhythm_recent", "week", "yesterday")
BESIDE_OF_CONTEXT = ("per_user_lasting", "users_ratio", "per_user_expected")
#: The network and what hindcasts weigh beside it, the city's own past first; and, of cells without history, POI.
HINDCAST = ("network", "own_past", *BESIDE, *BESIDE_OF_CONTEXT)
EXPERTS = (*HINDCAST, "by_poi")
#: Fewer hindcasts than these say too little of weights.
FEWEST_HINDCASTS = 4
#: What is believed of the city's own past before any hindcast; the rest is the network.
OWN_PAST = 0.5
#: Pull towards that, over the number of hindcasts, in units of the experts' mean squared error.
PULL = 0.3
#: As if so many hindcasts more had found members just as wide as they should be; where hindcasts are too few, as if so
#: many had found what the errors of the city's own past ask for; and the limits of a width.
USUAL_WIDTH_WORTH, OWN_PAST_WORTH = 4.0, 6.0
NARROWEST, WIDEST = 0.2, 3.0
#: As if so many hindcasts more had found what cells usually have in common; and the most that they have.
IN_COMMON_WORTH, LARGEST_IN_COMMON = 4.0, 0.6
#: How far the past is off where it stands alone, over what it says: what networks say of other cells, 0.15 to 0.22 in
#: whole cities (journal, 2026-11-27); the width of a blend is on top of it.
PAST_ERROR = 0.2
#: A cell is next to silent where its unit is this many times the smallest at most.
SILENT = 10.0
#: What is believed in cells without history beside the network where users or, without them, POI are known, and the
#: width there: good on the regions of folds 1-4 and on districts of Nanchang's grid (journal, 2026-11-26).
WITHOUT_HISTORY = {"users": ("per_user_lasting", 0.75, 0.9), "poi": ("by_poi", 0.5, 1.0)}


@dataclass(frozen=True)
class Blend:
    """The weights of EXPERTS, which add up to 1, and the factor of the members' spread, found in `hindcasts`.

    `error`: mean absolute error of the blend there, over the mean traffic; `week_error`: of the same hour last week,
    where it was known at all of it. NaN: not known. `own_past`: what of the past says what at each lead time, see
    `own_past.OwnPast.weights`; None: it says nothing. `in_common`: the share of the variance of errors that all cells
    have in common.
    """

    weights: Float[np.ndarray, " expert"]
    width: float
    hindcasts: int
    error: float = np.nan
    week_error: float = np.nan
    own_past: Float[np.ndarray, "lead own"] | None = None
    in_common: float = SHARE_IN_COMMON[False]

    def describe(self) -> str:
        """Its parts of one percent and more, the largest first: `carried 61 %, week 39 %`."""
        return _parts(self.weights, EXPERTS)

    def provenance(self) -> dict[str, str | float | int]:
        """What a forecast says of it."""
        errors = {"hindcast_error": self.error, "hindcast_error_last_week": self.week_error}
        past = {}
        if self.own_past is not None:
            weights = self.own_past.mean(0)
            past = {"own_past": _parts(weights, own_past.ALL[: len(weights)])}
        return {
            **{"hindcasts": self.hindcasts, "blend": self.describe(), **past},
            **{"width": round(self.width, 4), "in_common": round(self.in_common, 4)},
            **{name: round(error, 4) for name, error in errors.items() if np.isfinite(error)},
        }


def _parts(weights: Float[np.ndarray, " expert"], names: Sequence[str]) -> str:
    """Names with their percentages, the largest first, without what is less than half a percent."""
    parts = sorted(zip(-weights, names, strict=True))
    return ", ".join(f"{name} {-100 * weight:.0f} %" for weight, name in parts if -weight >= 0.005)


@dataclass(frozen=True)
class Expected:
    """What a network says of a batch before members are drawn: means and scales, shares; and what it has seen.

    `own_past`: what the past of each city alone says, NaN where it says nothing. `past_alone`: where nothing else
    counts, see `past_where_alone`. `more_users`: assumed users over those that are usual; guesses from traffic alone
    are times that, as they cannot know what is assumed.
    """

    mean: Float[Tensor, "batch time y x"]
    scale: Float[Tensor, "batch time y x"]
    observation: Observation
    own_past: Float[Tensor, "batch time y x"] | None = None
    past_alone: Bool[Tensor, "batch time y x"] | None = None
    more_users: Float[Tensor, "batch time y x"] | None = None

    @property
    def unseen(self) -> Bool[Tensor, "batch y x"]:
        """Cells without history: neither their window nor their past says anything of them."""
        unseen = self.observation.unseen
        return unseen if self.past_alone is None else unseen & ~self.past_alone.any(1)


def network_alone() -> Blend:
    """What is left where nothing is known of a city's past."""
    return Blend(np.eye(1, len(EXPERTS))[0], 1.0, 0)


def unjudged(own_past: Float[np.ndarray, "lead own"] | None) -> Blend:
    """What is believed before any hindcast; None: of a past that is not weighed by lead time, as around gaps."""
    weights = (1 - OWN_PAST) * network_alone().weights
    weights[EXPERTS.index("own_past")] = OWN_PAST
    return Blend(weights, 1.0, 0, own_past=own_past)


def as_wide_as_its_past(
    before: Blend, expected: Expected, asked: Bool[Tensor, "batch time y x"], missed: float
) -> Blend:
    """What is believed before any hindcast, its members as wide as the errors of the city's own past ask for.

    `missed`: those errors, over what it said; the same is asked of `expected`, what is believed of the `asked` values.
    """
    blended_now = blended(expected, [before] * len(expected.mean))
    scale, mean = (float(each[asked].double().sum()) for each in (blended_now.scale, blended_now.mean))
    if not (missed > 0 and scale > 0 and mean > 0):
        return before
    ratio = missed / (scale * np.sqrt(2 / np.pi) / mean)
    width = float(np.clip(ratio ** (OWN_PAST_WORTH / (OWN_PAST_WORTH + USUAL_WIDTH_WORTH)), NARROWEST, WIDEST))
    # What moves all cells at once is no smaller where each of them is surer: of its variance nothing is known.
    return replace(before, width=width, in_common=min(before.in_common / width**2, LARGEST_IN_COMMON))


def without_history(layers: Sequence[str]) -> Blend:
    """For cells of which no traffic is known, by the known layers of context."""
    for layer, (expert, weight, width) in WITHOUT_HISTORY.items():
        if layer in layers:
            weights = (1 - weight) * network_alone().weights
            weights[EXPERTS.index(expert)] = weight
            return Blend(weights, width, 0)
    return network_alone()


def past_where_alone(expected: Expected) -> Expected:
    """The past alone in cells of which their window says nothing, where it says something.

    These are cells without any value in the window; and those that were next to silent in it, where the past says, at
    any step, more than the window can: guesses are cut at `LARGEST_RELATIVE` units, and the unit of such a cell is next
    to nothing, as is the width that the network says in it. A cell that carries less than it used to, but carries, is
    left to all of them.
    """
    past = expected.own_past
    if past is None:
        return expected
    unit, empty = expected.observation.unit[:, None], ~expected.observation.unit_known[:, None]
    beyond = (past > LARGEST_RELATIVE * unit).any(1, keepdim=True) & (unit <= SILENT * SMALLEST_UNIT)
    alone = (beyond | empty) & ~past.isnan()
    width = torch.where(empty, PAST_ERROR * past, torch.maximum(expected.scale, PAST_ERROR * past))
    return replace(
        expected,
        mean=torch.where(alone, past, expected.mean),
        scale=torch.where(alone, width, expected.scale),
        past_alone=alone,
    )


def blended(expected: Expected, blends: Sequence[Blend]) -> Expected:
    """Means and scales under a blend for each window. An expert with nothing to go by says what the network says."""
    mean = expected.mean
    weights = torch.from_numpy(np.stack([blend.weights for blend in blends])).to(mean)
    width = torch.tensor([blend.width for blend in blends]).to(mean)[:, None, None, None]
    total = torch.zeros_like(mean)
    for index, share in enumerate(_experts(expected)):
        if bool(weights[:, index].any()):
            total = total + weights[:, index, None, None, None] * share
    return replace(expected, mean=total, scale=expected.scale * width)


def blend_of(
    expected: Expected,
    truth: Float[Tensor, "hindcast time y x"],
    scored: Bool[Tensor, "hindcast time y x"],
    before: Blend,
) -> Blend:
    """The blend that hindcasts ask for; `truth` (shares) is read where `scored`. `before`: what it is drawn towards.

    Of fewer than `FEWEST_HINDCASTS` the weights are those of `before`, and its width counts more.
    """
    number, few = len(truth), len(truth) < FEWEST_HINDCASTS
    said_by = islice(_experts(expected), len(HINDCAST))
    errors = np.stack([(share - truth)[scored].double().cpu().numpy() for share in said_by])
    squares = errors @ errors.T
    size = np.trace(squares) / len(squares)
    if size <= 0:
        return before
    usual = before.weights[: len(squares)]
    some = usual if few else on_simplex(squares / size, PULL / number, usual)
    weights = np.pad(some, (0, len(EXPERTS) - len(some)))
    # Mean absolute errors, as a few large ones should not make all members wide.
    said = float(expected.scale[scored].double().sum()) * np.sqrt(2 / np.pi)
    found = float(np.abs(some @ errors).sum())
    carried = float(truth[scored].double().sum())
    error = found / carried if carried > 0 else np.nan
    copied = carried > 0 and bool(expected.observation.is_known[:, GUESSES.index("week")][scored].all())
    week_error = float(np.abs(errors[HINDCAST.index("week")]).sum()) / carried if copied else np.nan
    ratio = found / said if min(found, said) > 0 else 1.0
    worth = USUAL_WIDTH_WORTH + (OWN_PAST_WORTH if few else 0.0)
    width = ratio ** (number / (number + worth)) * before.width ** (worth / (number + worth))
    width = float(np.clip(width, NARROWEST, WIDEST))
    blend = replace(before, weights=weights, width=width, hindcasts=number, error=error, week_error=week_error)
    together = _in_common(blended(expected, [blend] * number), truth, scored)
    shrunk = (number * together + IN_COMMON_WORTH * before.in_common) / (number + IN_COMMON_WORTH)
    return replace(blend, in_common=float(np.clip(shrunk, 0.0, LARGEST_IN_COMMON)))


def _in_common(
    expected: Expected, truth: Float[Tensor, "hindcast time y x"], scored: Bool[Tensor, "hindcast time y x"]
) -> float:
    """The correlation between the errors of two cells at one time that makes sums over cells as uncertain as they were.

    The mean of products of different cells' errors over that of their scales.
    """
    errors = torch.where(scored, truth - expected.mean, 0.0).double().flatten(2)
    scales = torch.where(scored, expected.scale, 0.0).double().flatten(2)
    products, most = (each.sum(2).square().sum() - each.square().sum() for each in (errors, scales))
    return float(products / most) if most > 0 else 0.0


def _experts(expected: Expected) -> Iterator[Float[Tensor, "batch time y x"]]:
    """Shares that each of EXPERTS says."""
    observation, mean = expected.observation, expected.mean
    unit = observation.unit[:, None]

    def share(relative: Tensor, known: Tensor) -> Tensor:
        if expected.past_alone is not None:
            known = known & ~expected.past_alone
        return torch.where(known, (relative + 1) * unit, mean)

    yield mean
    past = expected.own_past
    yield mean if past is None else torch.where(past.isnan(), mean, past)
    for name in BESIDE:
        index = GUESSES.index(name)
        known, said = observation.is_known[:, index], observation.known[:, index]
        yield share(said if expected.more_users is None else (said + 1) * expected.more_users - 1, known)
    for name in EXPERTS[2 + len(BESIDE) :]:
        if observation.context is None:
            yield mean
            continue
        index = CONTEXT_GUESSES.index(name)
        yield share(observation.context.known[:, index], observation.context.is_known[:, index])


__all__ = [
    "BESIDE",
    "BESIDE_OF_CONTEXT",
    "EXPERTS",
    "Blend",
    "Expected",
    "as_wide_as_its_past",
    "blend_of",
    "blended",
    "network_alone",
    "past_where_alone",
    "unjudged",
    "without_history",
]
