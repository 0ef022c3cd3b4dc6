"""What the city around the traffic says: users, points of interest, residents; known or not, cell by cell.

Users are shares of their own reference, as traffic is; their weeks and the weeks of the traffic per user are described
like those of traffic (`shapes.py`). Layers that do not change with time are the paper's 15 POI categories (Table 1),
all POI together, and residents relative to the city's mean cell.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from fomo.city import City
from fomo.config import Config
from fomo.sources.categories import CATEGORIES, paper_categories
from fomo.windows.answers import UNKNOWN_BETWEEN, UNKNOWN_WITHIN, Answer
from fomo.windows.clock import Clock
from fomo.windows.records import some_rows
from fomo.windows.rhythm import rhythm_at
from fomo.windows.scale import reference_of, to_share
from fomo.windows.shapes import OF_PER_USER, SHAPES, Pattern, shapes_at, usual_in_window

#: Layers that do not change with time, in the order of `Context.static`.
STATIC_LAYERS = (*CATEGORIES, "all POI", "residents")
#: Assumed users count up to so many times those that count as full.
MOST_ASSUMED = 4.0
ALL_POI, RESIDENTS = len(CATEGORIES), len(CATEGORIES) + 1


@dataclass(frozen=True)
class UsersPattern:
    """What is usual of users in a week, and of the traffic per user.

    `rate` is traffic share over users' share, `within` and `between` the variances of its logarithm over the cells of
    a region, and over regions.
    """

    users: Pattern
    per_user: Pattern
    rate: float
    within: float = UNKNOWN_WITHIN
    between: float = UNKNOWN_BETWEEN
    answer: Answer = field(default_factory=Answer.none)

    @property
    def stored(self) -> Float[np.ndarray, "row slot"]:
        """Curve, noise and shapes of users, then those of the traffic per user: what lies beside the weights."""
        parts = [part for each in (self.users, self.per_user) for part in (each.curve[None], each.stored)]
        return np.concatenate(parts).astype(np.float32)

    @classmethod
    def restored(
        cls, stored: Float[np.ndarray, "row slot"], rate: float, within: float, between: float, answer: Answer
    ) -> UsersPattern:
        """The inverse of `stored`, and the rest."""
        users, per_user = (Pattern(half[0], half[2:], half[1]) for half in np.split(np.asarray(stored, np.float64), 2))
        return cls(users, per_user, rate, within, between, answer)


#: Rows of `UsersPattern.stored`.
USERS_ROWS = 2 * (2 + SHAPES)


@dataclass(frozen=True)
class Context:
    """Context of the windows of a batch. Values are read only where they are known; elsewhere they are 0."""

    users: Float[Tensor, "batch time y x"]  # share of the users' reference
    users_known: Bool[Tensor, "batch time y x"]
    users_rhythm: Float[Tensor, "batch time y x"]  # as `Batch.rhythm`, `shapes`, `noise`: of users
    users_shapes: Float[Tensor, "batch shape time"]
    users_noise: Float[Tensor, "batch time"]
    users_family: Float[Tensor, "batch row time"]  # curve and shapes of the family, whatever is known of the cell
    rate: Float[Tensor, " batch"]  # traffic share per users' share in the family
    rate_within: Float[Tensor, " batch"]  # variance of its logarithm over the cells of a region
    rate_between: Float[Tensor, " batch"]  # and over regions
    answer: Float[Tensor, "batch weight row"]  # what users say of it, `Answer.stored`
    rate_rhythm: Float[Tensor, "batch time y x"]  # the same of the traffic per user
    rate_shapes: Float[Tensor, "batch shape time"]
    rate_noise: Float[Tensor, "batch time"]
    static: Float[Tensor, "batch layer y x"]  # counts, and residents relative to the city's mean
    static_known: Bool[Tensor, "batch layer y x"]

    @property
    def anything(self) -> Bool[Tensor, " batch"]:
        """Windows of which anything is known."""
        return self.users_known.flatten(1).any(1) | self.static_known.flatten(1).any(1)

    def rows(self, index: Tensor | slice) -> Context:
        """That of some of the windows."""
        return some_rows(self, index)

    def keep(self, users: Bool[Tensor, "batch time y x"], static: Bool[Tensor, "batch layer y x"]) -> Context:
        """The same context, known only where `users` and `static` are True."""
        users_known, static_known = self.users_known & users, self.static_known & static
        return replace(
            self,
            users=torch.where(users_known, self.users, 0.0),
            users_known=users_known,
            static=torch.where(static_known, self.static, 0.0),
            static_known=static_known,
        )


def context_arrays(
    users: Float[np.ndarray, "time y x"] | None,
    static: Float[np.ndarray, "layer y x"] | None,
    pattern: UsersPattern | None,
    earlier: Float[np.ndarray, "before y x"] | None,
    clock: Clock,
    size: tuple[int, int, int],
) -> dict[str, Any] | None:
    """What `collate_context` takes of one window, NaN = not known; None where there is nothing.

    `users` and `earlier`, those before the window, are shares of the users' reference; without a `pattern` they cannot
    be read and are left out.
    """
    if pattern is None or users is None or not np.isfinite(users).any():
        users = None
    if static is None or not np.isfinite(static).any():
        static = None
    if users is None and static is None:
        return None
    found = blank(size)
    if users is not None:
        found["users"] = users
    if static is not None:
        found["static"] = static
    if pattern is not None:
        found |= {"rate": pattern.rate, "rate_within": pattern.within, "rate_between": pattern.between}
        curve = rhythm_at(pattern.users.curve, clock, size[0])
        found["users_family"] = np.concatenate([curve[None], shapes_at(pattern.users, clock, size[0])])
        found["answer"] = pattern.answer.stored
        for name, part, before, steady in (
            ("users", pattern.users, earlier, None),
            ("rate", pattern.per_user, None, OF_PER_USER),
        ):
            usual = usual_in_window(part, before, clock, size, steady)
            found |= {f"{name}_{key}": value for key, value in usual.items()}
    return found


def blank(size: tuple[int, int, int]) -> dict[str, Any]:
    """The context of a window of which none is known; what is usual of users there is read by nobody, but finite."""
    usual = {"rhythm": np.ones(size), "shapes": np.zeros((SHAPES, size[0])), "noise": np.ones(size[0])}
    return {
        "users": np.full(size, np.nan),
        "static": np.full((len(STATIC_LAYERS), *size[1:]), np.nan),
        "users_family": np.ones((1 + SHAPES, size[0])),
        "rate": 1.0,
        "rate_within": UNKNOWN_WITHIN,
        "rate_between": UNKNOWN_BETWEEN,
        "answer": Answer.none().stored,
        **{f"{part}_{key}": value for part in ("users", "rate") for key, value in usual.items()},
    }


def collate_context(found: Sequence[Mapping[str, Any] | None], size: tuple[int, int, int]) -> Context | None:
    """Stack the contexts of windows of one size; None where no window has any."""
    if all(each is None for each in found):
        return None
    nothing = blank(size)

    def stacked(key: str) -> Tensor:
        return torch.from_numpy(np.stack([(each or nothing)[key] for each in found]).astype(np.float32))

    users, static = stacked("users"), stacked("static")
    users_known, static_known = torch.isfinite(users), torch.isfinite(static)
    return Context(
        users=torch.where(users_known, users, 0.0),
        users_known=users_known,
        static=torch.where(static_known, static, 0.0),
        static_known=static_known,
        **{key: stacked(key) for key in nothing if key not in ("users", "static")},
    )


def users_share(users: Float[np.ndarray, "*axes"], reference: float, most: float = 1.0) -> Float[np.ndarray, "*axes"]:
    """Users as shares of those that count as full, cut there: a crowd of one hour must not rule a cell's week.

    `most`: cut at so much in its place, where users are assumed and mean what they say.
    """
    return np.minimum(to_share(users, reference), np.float32(most))


def full_users(users: np.ndarray) -> float | None:
    """The 99.99th percentile of the known users; None where there are none."""
    known = users[np.isfinite(users)]
    return reference_of(users) if known.size and known.max() > 0 else None


def static_layers(city: City) -> Float[np.ndarray, "layer y x"] | None:
    """POI and residents of a city in the order of STATIC_LAYERS, NaN = not known; None where it has neither.

    Names of POI categories that cannot be placed count among all POI only, and a warning names them.
    """
    layers = np.full((len(STATIC_LAYERS), city.sizes["y"], city.sizes["x"]), np.nan, np.float32)
    counts = paper_categories(city)
    if counts is not None:
        layers[:ALL_POI], layers[ALL_POI], mapping = counts
        if mapping.unknown:
            warnings.warn(
                f"{city.attrs['name']!r} has POI categories that fit none of the paper's and count only among all POI: "
                f"{', '.join(mapping.unknown)}",
                stacklevel=2,
            )
    if "residents" in city:
        people = city["residents"].values.astype(np.float64)
        mean = people[np.isfinite(people)].mean() if np.isfinite(people).any() else 0.0
        if mean > 0:
            layers[RESIDENTS] = people / mean
    return layers if np.isfinite(layers).any() else None


class ContextDraw(Config):
    """How often each kind of context is known in training: relative frequencies and probabilities."""

    none: float = Field(1.0, ge=0)  # no users
    past: float = Field(1.0, ge=0)  # users before the first hidden step
    full: float = Field(2.0, ge=0)  # users of the whole window
    poi: float = Field(0.5, ge=0, le=1)  # POI known
    residents: float = Field(0.5, ge=0, le=1)  # residents known
    some_cells: float = Field(0.15, ge=0, le=1)  # each layer is known in some of the cells only

    @model_validator(mode="after")
    def _some_mode_is_drawn(self) -> ContextDraw:
        if not self.none + self.past + self.full > 0:
            raise ValueError("none, past and full are all 0: one of them needs to be above 0")
        return self


def draw_context(
    context: Context, hidden: Bool[Tensor, "batch time y x"], config: ContextDraw, random: np.random.Generator
) -> Context:
    """The context that training lets the network see: a mode of each layer for every window."""
    batch, steps, height, width = hidden.shape
    frequency = np.array([config.none, config.past, config.full])
    mode = torch.from_numpy(random.choice(3, size=batch, p=frequency / frequency.sum()))
    first = torch.where(hidden, torch.arange(steps)[None, :, None, None], steps).amin((1, 2, 3))
    until = torch.where(mode == 2, steps, torch.where(mode == 1, first, 0))
    users = torch.arange(steps)[None, :] < until[:, None]
    static = np.zeros((batch, len(STATIC_LAYERS)), bool)
    static[:, :RESIDENTS] = (random.random(batch) < config.poi)[:, None]
    static[:, RESIDENTS] = random.random(batch) < config.residents
    some = random.random((2, batch)) < config.some_cells
    share = random.uniform(0.2, 0.9, (2, batch, 1, 1))
    cells = torch.from_numpy((random.random((2, batch, height, width)) < share) | ~some[..., None, None])
    return context.keep(
        users[:, :, None, None] & cells[0][:, None], torch.from_numpy(static)[..., None, None] & cells[1][:, None]
    )


__all__ = [
    "STATIC_LAYERS",
    "Context",
    "ContextDraw",
    "UsersPattern",
    "collate_context",
    "context_arrays",
    "draw_context",
    "full_users",
    "static_layers",
    "users_share",
]
