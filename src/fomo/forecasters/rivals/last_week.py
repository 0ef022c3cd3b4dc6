"""Last week together with users: a rival is told both only if windows of its training held both.

Where every city with users has one week to learn from, no training window knows users and the week before. A network
that was never shown the two together adds what it makes of each, and what comes of it is arbitrary: asked about the
next week with users known, TEMPO had an RMSE of 0.041 with last week told and of 0.016 without. So the week before is
kept from it there; users of the asked hours say more.
"""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Bool
from torch import Tensor

from fomo.forecasters.rivals.inputs import COVARIATES, Inputs

#: Both together were seen in training if at least this share of its windows held both.
RARE = 1e-3
WEEK, WEEK_KNOWN, USERS_KNOWN = map(COVARIATES.index, ("last week", "last week known", "users known"))


def knows_both(inputs: Inputs) -> Bool[Tensor, " batch"]:
    """Which windows know last week somewhere and users somewhere."""
    week, users = ((inputs.covariates[:, each] > 0).flatten(1).any(1) for each in (WEEK_KNOWN, USERS_KNOWN))
    return week & users


def without_week(inputs: Inputs) -> Inputs:
    """The same windows, last week kept from those that know both."""
    kept = inputs.covariates.clone()
    kept[:, [WEEK, WEEK_KNOWN]] *= ~knows_both(inputs)[:, None, None, None, None]
    return replace(inputs, covariates=kept)


__all__ = ["RARE", "knows_both", "without_week"]
