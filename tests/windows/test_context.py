"""What is known of a city's users, POI and residents: hidden, drawn, stored, stacked."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fomo.city import City, make_city, mock_city
from fomo.sources.categories import CATEGORIES
from fomo.windows.answers import UNKNOWN_BETWEEN, UNKNOWN_WITHIN, Answer
from fomo.windows.batch import Batch
from fomo.windows.clock import Clock
from fomo.windows.context import (
    ALL_POI,
    RESIDENTS,
    STATIC_LAYERS,
    USERS_ROWS,
    Context,
    ContextDraw,
    UsersPattern,
    collate_context,
    context_arrays,
    draw_context,
    full_users,
    static_layers,
    users_share,
)
from fomo.windows.observation import Observation, observe
from fomo.windows.shapes import SHAPES, Pattern

SIZE = (10, 3, 4)
NAN = np.nan


def pattern(seed: int, slots: int = 168) -> Pattern:
    random = np.random.default_rng(seed)
    return Pattern(
        random.uniform(0.5, 1.5, slots), random.normal(0.0, 0.2, (SHAPES, slots)), random.uniform(0.1, 0.2, slots)
    )


@pytest.fixture
def usual() -> UsersPattern:
    random = np.random.default_rng(2)
    answer = Answer(random.normal(0.0, 0.2, (1 + SHAPES, SHAPES)), random.uniform(0.4, 1.0, 1 + SHAPES))
    return UsersPattern(pattern(0), pattern(1), rate=2.5, within=0.3, between=0.1, answer=answer)


def tensors(context: Context) -> dict[str, torch.Tensor]:
    return vars(context)


def test_the_curve_and_shapes_of_a_familys_users_are_there_whatever_is_known_of_the_cell(usual):
    users, earlier = np.full(SIZE, 0.5), np.random.default_rng(0).uniform(0.1, 0.9, (48, *SIZE[1:]))
    alone = context_arrays(users, None, usual, None, Clock(5.0, 1.0), SIZE)
    with_past = context_arrays(users, None, usual, earlier, Clock(5.0, 1.0), SIZE)
    assert alone is not None and with_past is not None
    assert abs(with_past["users_rhythm"] - alone["users_rhythm"]).max() > 0.01
    np.testing.assert_array_equal(with_past["users_family"], alone["users_family"])


def said(seen: Observation) -> dict[str, torch.Tensor]:
    """All that is observed, that of the context too."""
    assert seen.context is not None
    return {name: value for name, value in vars(seen).items() if name != "context"} | {
        f"context {name}": value for name, value in vars(seen.context).items()
    }


# ---------------------------------------------------------------- what is kept


def test_what_is_not_kept_is_not_known_and_never_enters_what_is_observed(random_batch, with_context):
    batch = with_context(random_batch(batch=3))
    random = np.random.default_rng(1)
    users = torch.from_numpy(random.random(batch.share.shape) < 0.5)
    static = torch.from_numpy(random.random(batch.context.static.shape) < 0.5)
    kept = batch.context.keep(users, static)
    assert torch.equal(kept.users_known, batch.context.users_known & users)
    assert torch.equal(kept.static_known, batch.context.static_known & static)
    assert (kept.users[~kept.users_known] == 0).all() and (kept.static[~kept.static_known] == 0).all()
    changed = replace(
        batch.context,
        users=torch.where(users, batch.context.users, 9.0),
        static=torch.where(static, batch.context.static, 9.0),
    )
    one, other, whole = (
        said(observe(replace(batch, context=context))) for context in (kept, changed.keep(users, static), batch.context)
    )
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    assert not torch.equal(one["context known"], whole["context known"])


def test_keeping_all_changes_nothing_and_keeping_nothing_leaves_nothing_known(random_batch, with_context):
    context = with_context(random_batch()).context
    everything = torch.ones_like(context.users_known), torch.ones_like(context.static_known)
    for name, value in tensors(context.keep(*everything)).items():
        assert torch.equal(value, tensors(context)[name]), name
    assert context.anything.all()
    assert not context.keep(~everything[0], ~everything[1]).anything.any()


def test_anything_is_known_of_a_window_with_one_user_count_or_one_cells_residents(random_batch, with_context):
    context = with_context(random_batch(batch=3, padding=0), users=0.0, static=0.0).context
    context.users_known[0, 3, 1, 1] = True
    context.static_known[1, RESIDENTS, 0, 0] = True
    assert context.anything.tolist() == [True, True, False]


# ---------------------------------------------------------------- what training lets be seen


def drawn(batch: Batch, seed: int = 0, **changes: Any) -> Context:
    config = ContextDraw(**({"poi": 0.0, "residents": 0.0, "some_cells": 0.0} | changes))
    return draw_context(batch.context, batch.hidden, config, np.random.default_rng(seed))


@pytest.fixture
def many(random_batch, with_context) -> Batch:
    """Windows with everything known, of which other hours are hidden."""
    batch = with_context(random_batch(batch=400, missing=0.0, padding=0), users=1.0, static=1.0)
    first = torch.arange(400) % 9 + 1  # the last quarter is hidden anyway
    asked = torch.zeros_like(batch.hidden)
    asked[torch.arange(400), first, 2, 1] = True
    return batch.hide(asked)


def mode_of(batch: Batch, context: Context, row: int) -> str:
    """Which users of a window are known, by a loop; fails where it is none of the three modes."""
    known, hidden = context.users_known[row], batch.hidden[row]
    first = next(t for t in range(len(hidden)) if hidden[t].any())
    if not known.any():
        return "none"
    if known.all():
        return "full"
    assert known[:first].all() and not known[first:].any()
    return "past"


@pytest.mark.parametrize("mode", ["none", "past", "full"])
def test_with_one_mode_alone_users_are_known_as_it_says(many, mode):
    context = drawn(many, **({"none": 0.0, "past": 0.0, "full": 0.0} | {mode: 1.0}))
    assert {mode_of(many, context, row) for row in range(400)} == {mode}


def test_modes_come_as_often_as_they_are_weighed(many):
    context = drawn(many, none=1.0, past=3.0, full=6.0)
    modes = [mode_of(many, context, row) for row in range(400)]
    for mode, share in (("none", 0.1), ("past", 0.3), ("full", 0.6)):
        assert modes.count(mode) / 400 == pytest.approx(share, abs=0.07)


@pytest.mark.parametrize("poi", [0.0, 1.0])
@pytest.mark.parametrize("residents", [0.0, 1.0])
def test_poi_and_residents_are_known_always_or_never_where_that_is_asked(many, poi, residents):
    known = drawn(many, poi=poi, residents=residents).static_known
    assert bool(known[:, : ALL_POI + 1].all()) == bool(known[:, : ALL_POI + 1].any()) == bool(poi)
    assert bool(known[:, RESIDENTS].all()) == bool(known[:, RESIDENTS].any()) == bool(residents)


def test_poi_and_residents_are_drawn_apart_and_as_often_as_asked(many):
    known = drawn(many, poi=0.3, residents=0.6).static_known[:, :, 0, 0]
    poi, residents = known[:, 0].float(), known[:, RESIDENTS].float()
    assert float(poi.mean()) == pytest.approx(0.3, abs=0.07)
    assert float(residents.mean()) == pytest.approx(0.6, abs=0.07)
    assert float((poi * residents).mean()) == pytest.approx(0.18, abs=0.07)


def test_layers_are_known_in_some_cells_only_where_that_is_asked(many):
    context = drawn(many, none=0.0, past=0.0, full=1.0, poi=1.0, residents=1.0, some_cells=1.0)
    users, static = context.users_known, context.static_known
    assert torch.equal(users, users[:, :1].expand_as(users))  # a cell is known at all times, or never
    assert torch.equal(static, static[:, :1].expand_as(static))
    assert not torch.equal(users[:, 0], static[:, 0])
    for cells in (users[:, 0], static[:, 0]):
        share = cells.float().mean((1, 2))
        assert float(share.mean()) == pytest.approx(0.55, abs=0.05)
        assert float(share.std()) > 0.15  # windows differ in it


def test_nothing_is_known_in_a_draw_that_was_not_known_before(random_batch, with_context):
    batch = with_context(random_batch(batch=20), users=0.5, static=0.5)
    context = drawn(batch, none=0.0, past=0.0, full=1.0, poi=1.0, residents=1.0)
    assert torch.equal(context.users_known, batch.context.users_known)
    assert torch.equal(context.static_known, batch.context.static_known)


def test_the_same_generator_draws_the_same_context(many):
    one, two, other = (drawn(many, seed, poi=0.5, residents=0.5, some_cells=0.5) for seed in (0, 0, 1))
    for name, value in tensors(one).items():
        assert torch.equal(value, tensors(two)[name]), name
    assert not torch.equal(one.users_known, other.users_known)


# ---------------------------------------------------------------- as arrays


def test_a_pattern_of_users_comes_back_from_what_is_stored(usual):
    stored = usual.stored
    assert stored.shape == (USERS_ROWS, 168) and stored.dtype == np.float32
    answer = Answer.restored(usual.answer.stored)
    found = UsersPattern.restored(stored, usual.rate, usual.within, usual.between, answer)
    for one, other in ((found.users, usual.users), (found.per_user, usual.per_user)):
        for name, value in vars(other).items():
            np.testing.assert_allclose(getattr(one, name), value, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(found.answer.expected, usual.answer.expected, rtol=1e-6)
    np.testing.assert_allclose(found.answer.left, usual.answer.left, rtol=1e-6)
    assert (found.rate, found.within, found.between) == (usual.rate, usual.within, usual.between)


def arrays(
    usual: UsersPattern | None, users: np.ndarray | None = None, static: np.ndarray | None = None
) -> dict[str, Any] | None:
    return context_arrays(users, static, usual, None, Clock(5.0, 1.0), SIZE)


def test_windows_with_and_without_context_share_a_batch(usual):
    users = np.full(SIZE, 0.5)
    users[2:4, 0, 0] = NAN
    static = np.full((len(STATIC_LAYERS), *SIZE[1:]), NAN)
    static[RESIDENTS] = 1.5
    context = collate_context([arrays(usual, users), None, arrays(usual, None, static)], SIZE)
    assert context is not None
    assert context.users_known.flatten(1).any(1).tolist() == [True, False, False]
    np.testing.assert_array_equal(context.users_known[0].numpy(), np.isfinite(users))
    np.testing.assert_array_equal(context.users[0].numpy(), np.nan_to_num(users))
    assert context.static_known[2, RESIDENTS].all() and not context.static_known[2, :RESIDENTS].any()
    assert not context.static_known[:2].any()
    assert context.anything.tolist() == [True, False, True]
    assert all(torch.isfinite(value).all() for value in tensors(context).values())
    assert (context.users_noise > 0).all() and (context.rate_noise > 0).all()  # it is divided by, known or not
    np.testing.assert_allclose(context.users_rhythm[0, :, 1, 1].numpy(), usual.users.curve[5:15], rtol=1e-6)
    np.testing.assert_allclose(context.rate_rhythm[0, :, 1, 1].numpy(), usual.per_user.curve[5:15], rtol=1e-6)
    assert context.rate.tolist() == [2.5, 1.0, 2.5]
    assert context.rate_within.tolist() == pytest.approx([0.3, UNKNOWN_WITHIN, 0.3])
    assert context.rate_between.tolist() == pytest.approx([0.1, UNKNOWN_BETWEEN, 0.1])
    np.testing.assert_allclose(context.answer[0].numpy(), usual.answer.stored)
    np.testing.assert_array_equal(context.answer[1].numpy(), Answer.none().stored)
    np.testing.assert_allclose(context.users_family[0, 0].numpy(), usual.users.curve[5:15], rtol=1e-6)
    np.testing.assert_allclose(context.users_family[0, 1:].numpy(), usual.users.shapes[:, 5:15], rtol=1e-5)


def test_where_no_window_knows_anything_there_is_no_context(usual):
    nothing = np.full(SIZE, NAN)
    assert arrays(usual) is None
    assert arrays(usual, nothing, np.full((len(STATIC_LAYERS), *SIZE[1:]), NAN)) is None
    assert arrays(None, np.ones(SIZE)) is None  # users of which nothing usual is known cannot be read
    assert collate_context([None, None], SIZE) is None


def test_users_are_shares_of_those_that_count_as_full_and_never_more():
    crowd = np.array([[[0.0, 50.0, 200.0, NAN]]])
    np.testing.assert_array_equal(users_share(crowd, 100.0), [[[0.0, 0.5, 1.0, NAN]]])


def test_users_that_count_as_full_are_the_percentile_of_the_known_ones():
    users = np.random.default_rng(0).random((40, 5, 5))
    users[:5] = NAN
    assert full_users(users) == pytest.approx(np.nanpercentile(users, 99.99))
    assert full_users(np.full((2, 1, 1), NAN)) is None
    assert full_users(np.zeros((2, 1, 1))) is None


# ---------------------------------------------------------------- layers that do not change


def with_layers(names: list[str] | None = None, **layers: Any) -> City:
    traffic = np.random.default_rng(0).random((6, 2, 3))
    return make_city(traffic, name="made", start="2024-01-01T00:00", step_minutes=60, poi_names=names, **layers)


def test_layers_stand_in_the_order_of_the_papers_table_then_all_poi_then_residents():
    names = ["scenic spot", "Shopping 1", "shopping 2"]
    poi = np.random.default_rng(1).integers(0, 9, (3, 2, 3)).astype(float)
    poi[:, 1, 2], poi[1, 0, 0] = NAN, NAN
    residents = np.array([[100.0, 300.0, NAN], [0.0, 200.0, 400.0]])
    found = static_layers(with_layers(names, poi=poi, residents=residents))
    assert found.shape == (17, 2, 3)
    for y, x in np.ndindex(2, 3):
        known = [value for value in poi[:, y, x] if np.isfinite(value)]
        shops = [value for value in poi[1:, y, x] if np.isfinite(value)]
        expected = dict.fromkeys(STATIC_LAYERS, NAN)
        expected["shopping"] = sum(shops) if shops else NAN
        expected["scenic spot"] = poi[0, y, x]
        expected["all POI"] = sum(known) if known else NAN
        expected["residents"] = residents[y, x] / 200.0
        np.testing.assert_allclose(found[:, y, x], [expected[name] for name in STATIC_LAYERS])
    assert STATIC_LAYERS[:15] == CATEGORIES


def test_a_category_that_cannot_be_placed_counts_among_all_poi_and_is_warned_of():
    poi = np.arange(12.0).reshape(2, 2, 3)
    city = with_layers(["shopping", "moon bases"], poi=poi)
    with pytest.warns(UserWarning, match=r"'made'.*moon bases"):
        found = static_layers(city)
    np.testing.assert_array_equal(found[ALL_POI], poi.sum(0))
    np.testing.assert_array_equal(found[0], poi[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        static_layers(with_layers(["shopping", "unnamed 2"], poi=poi))


def test_a_city_without_poi_and_residents_has_no_layers():
    assert static_layers(mock_city()) is None
    assert static_layers(with_layers(residents=np.zeros((2, 3)))) is None
    only = static_layers(with_layers(residents=np.ones((2, 3))))
    assert np.isfinite(only[RESIDENTS]).all() and np.isnan(only[:RESIDENTS]).all()
