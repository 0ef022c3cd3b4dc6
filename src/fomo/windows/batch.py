"""Tensors inside, names and units outside: windows of cities as one batch for the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor

from fomo.windows.context import Context, collate_context
from fomo.windows.records import each_tensor, some_rows


class CellState:
    """Why a value is or is not there: every hidden value has a named reason.

    Plain numbers: `torch.compile` takes `tensor == member` of an `IntEnum` for False (PyTorch 2.13).
    """

    OBSERVED = 0
    MISSING = 1  # should have been recorded, was not: neither condition nor target
    HIDDEN = 2  # asked for: m = 1 in NOTES.md
    PADDING = 3  # outside the city or the window


@dataclass(frozen=True)
class Batch:
    """Windows of equal shape. `share` is read only where `state` allows; elsewhere it holds 0.

    In training, `share` also holds the targets at HIDDEN; in forecasting it holds 0 there.
    """

    share: Float[Tensor, "batch time y x"]  # traffic over the city's reference
    state: Int8[Tensor, "batch time y x"]
    week: Float[Tensor, "batch time y x"]  # share one week earlier, 0 where unknown
    week_known: Bool[Tensor, "batch time y x"]
    start_hour: Float[Tensor, " batch"]  # hours since Monday 00:00 of the first step
    step_hours: Float[Tensor, " batch"]
    cell_km: Float[Tensor, " batch"]
    rhythm: Float[Tensor, "batch time y x"]  # what is usual at this hour, as a multiple of the week's mean
    shapes: Float[Tensor, "batch shape time"]  # how cells differ from it: each times a standard normal weight
    noise: Float[Tensor, "batch time"]  # variance of a value beside rhythm and shapes
    context: Context | None = None  # None: of no window anything is known
    own_past: Float[Tensor, "batch time y x"] | None = None  # share that the city's past alone says; NaN: nothing
    more_users: Float[Tensor, "batch time y x"] | None = None  # assumed users over those that are usual then

    @property
    def observed(self) -> Bool[Tensor, "batch time y x"]:
        """Where the condition is."""
        return self.state == CellState.OBSERVED

    @property
    def hidden(self) -> Bool[Tensor, "batch time y x"]:
        """Where the target is."""
        return self.state == CellState.HIDDEN

    def hide(self, asked: Bool[Tensor, "batch time y x"]) -> Batch:
        """The same windows with observed values of `asked` hidden; missing and padding stay what they are."""
        state = torch.where(asked & self.observed, CellState.HIDDEN, self.state.long()).to(torch.int8)
        return replace(self, state=state)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return each_tensor(self, lambda _, part: part.to(device))

    def rows(self, index: Tensor | slice) -> Batch:
        """Some of the windows."""
        return some_rows(self, index)


def collate(windows: list[dict[str, Any]]) -> Batch:
    """Stack windows given as arrays (NaN = not known) into a batch.

    Each has `share`, `week`, `rhythm` and `state` (time, y, x), `shapes` (shape, time), `noise` (time,), and the
    numbers `start_hour`, `step_hours`, `cell_km`; some may have a `context` as `context_arrays` makes it, an `own_past`
    and `more_users` (time, y, x).
    """

    def stacked(key: str, kind: type = np.float32) -> Tensor:
        return torch.from_numpy(np.stack([w[key] for w in windows]).astype(kind))

    share, week = stacked("share"), stacked("week")
    week_known = torch.isfinite(week)

    def some(key: str, instead: float) -> Tensor | None:
        found = [w.get(key) for w in windows]
        nothing = np.full(share.shape[1:], instead, np.float32)
        if all(one is None for one in found):
            return None
        return torch.from_numpy(np.stack([nothing if one is None else one for one in found]))

    numbers = {key: torch.tensor([float(w[key]) for w in windows]) for key in ("start_hour", "step_hours", "cell_km")}
    return Batch(
        share=torch.where(torch.isfinite(share), share, 0.0),  # the state says that it is not there
        state=stacked("state", np.int8),
        week=torch.where(week_known, week, 0.0),
        week_known=week_known,
        rhythm=stacked("rhythm"),
        shapes=stacked("shapes"),
        noise=stacked("noise"),
        context=collate_context([w.get("context") for w in windows], np.shape(windows[0]["share"])),
        own_past=some("own_past", np.nan),
        more_users=some("more_users", 1.0),
        **numbers,
    )


def states(share: np.ndarray, asked: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Cell states of a window: `share` (time, y, x) with NaN, `asked` (time, y, x), `covered` (y, x).

    Of several windows, all with an axis before these.
    """
    state = np.full(share.shape, CellState.MISSING, np.int8)
    state[np.isfinite(share)] = CellState.OBSERVED
    state[np.broadcast_to(~covered, share.shape)] = CellState.PADDING
    state[asked] = CellState.HIDDEN
    return state
