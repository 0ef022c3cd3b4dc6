from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fomo.windows.batch import Batch, CellState, collate, states
from fomo.windows.clock import hours_since_monday

NAN = np.nan


def window(share: np.ndarray, week: np.ndarray | None = None, **numbers: float) -> dict[str, np.ndarray | float]:
    return {
        "share": share,
        "week": np.full_like(share, NAN) if week is None else week,
        "rhythm": np.ones_like(share),
        "shapes": np.full((2, len(share)), 0.5),
        "noise": np.full(len(share), 0.1),
        "state": np.where(np.isfinite(share), CellState.OBSERVED, CellState.MISSING),
        "start_hour": 0.0,
        "step_hours": 1.0,
        "cell_km": 1.0,
        **numbers,
    }


@given(st.datetimes(datetime(1950, 1, 1), datetime(2200, 1, 1)))
def test_hours_since_monday_agree_with_the_calendar(moment):
    moment = moment.replace(second=0, microsecond=0)
    expected = moment.weekday() * 24 + moment.hour + moment.minute / 60
    assert hours_since_monday(np.array([moment], "datetime64[ns]"))[0] == pytest.approx(expected, abs=1e-9)


def test_a_batch_holds_zero_where_nothing_is_known_and_says_so():
    share = np.array([1.0, NAN, 3.0]).reshape(3, 1, 1)
    week = np.array([NAN, 5.0, NAN]).reshape(3, 1, 1)
    batch = collate([window(share, week), window(share + 1, week + 1)])
    assert batch.share.flatten().tolist() == [1, 0, 3, 2, 0, 4]
    assert batch.observed.flatten().tolist() == [True, False, True] * 2
    assert batch.week.flatten().tolist() == [0, 5, 0, 0, 6, 0]
    assert batch.week_known.flatten().tolist() == [False, True, False] * 2
    assert batch.share.dtype == torch.float32
    assert batch.state.dtype == torch.int8


def test_windows_of_other_steps_and_cells_share_a_batch():
    flat = np.zeros((4, 1, 1))
    batch = collate([window(flat, step_hours=0.25, cell_km=2.0), window(flat, start_hour=30.0)])
    assert batch.step_hours.tolist() == [0.25, 1.0]
    assert batch.cell_km.tolist() == [2.0, 1.0]
    assert batch.start_hour.tolist() == [0.0, 30.0]


def test_every_value_has_one_named_state():
    share = np.array([[[1.0, NAN, 2.0, NAN]], [[1.0, NAN, 2.0, NAN]]])
    covered = np.array([[True, True, False, False]])
    asked = np.zeros((2, 1, 4), bool)
    asked[1] = True
    first, second = states(share, asked, covered)
    o, m, p, h = CellState.OBSERVED, CellState.MISSING, CellState.PADDING, CellState.HIDDEN
    assert first[0].tolist() == [o, m, p, p]
    assert second[0].tolist() == [h, h, h, h]


def test_hiding_takes_only_observed_values():
    state = torch.tensor([0, 1, 2, 3] * 2, dtype=torch.int8).reshape(1, 8, 1, 1)
    zero = torch.zeros(1, 8, 1, 1)
    one = torch.ones(1)
    batch = Batch(
        zero, state, zero, zero.bool(), one, one, one, zero + 1, zero[:, :, 0, 0][:, None], zero[:, :, 0, 0] + 1
    )
    asked = torch.tensor([True] * 4 + [False] * 4).reshape(1, 8, 1, 1)
    hidden = batch.hide(asked)
    assert hidden.state.flatten().tolist() == [2, 1, 2, 3, 0, 1, 2, 3]
    assert hidden.state.dtype == torch.int8
    assert batch.state.flatten().tolist() == [0, 1, 2, 3] * 2  # the batch itself stays what it was


def layers(batch: Batch) -> dict[str, torch.Tensor]:
    """All tensors of a batch, those of its context too."""
    assert batch.context is not None
    own = {name: value for name, value in vars(batch).items() if name != "context" and value is not None}
    return own | vars(batch.context)


def test_rows_cut_every_field(random_batch, with_context):
    batch = with_context(random_batch(batch=5))
    batch = replace(batch, own_past=batch.share)
    some = layers(batch.rows(slice(1, 3)))
    for name, value in layers(batch).items():
        assert torch.equal(some[name], value[1:3]), name
    assert random_batch().rows(slice(0, 1)).context is None


def test_what_the_past_says_is_nan_for_windows_without_one(random_batch):
    window = {
        **{name: np.zeros((4, 2, 2)) for name in ("share", "week", "rhythm", "state")},
        **{"shapes": np.zeros((1, 4)), "noise": np.ones(4), "start_hour": 0.0, "step_hours": 1.0, "cell_km": 1.0},
    }
    assert collate([window]).own_past is None
    both = collate([window, window | {"own_past": np.ones((4, 2, 2), np.float32)}]).own_past
    assert both is not None
    assert both[0].isnan().all()
    assert (both[1] == 1).all()


def test_a_batch_moves_whole(random_batch, with_context):
    moved = with_context(random_batch()).to("meta")
    assert {value.device.type for value in layers(moved).values()} == {"meta"}
