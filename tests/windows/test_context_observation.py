"""What known users, POI and residents say of the traffic of a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fomo.windows.batch import Batch, CellState
from fomo.windows.context import ALL_POI, RESIDENTS, Context
from fomo.windows.context_observation import (
    CONTEXT_GUESSES,
    NO_POI,
    NO_RESIDENTS,
    NOMINAL_LEVEL,
    ContextObservation,
    expected_by_poi,
    rate_prior,
)
from fomo.windows.observation import GUESSES, Observation, observe
from fomo.windows.regression import LARGEST_RELATIVE, SMALLEST_UNIT


def of_context(seen: Observation) -> ContextObservation:
    assert seen.context is not None
    return seen.context


def guess(seen: Observation, name: str) -> tuple[Tensor, Tensor]:
    """A guess as a share of the reference, and where it is known."""
    at, found = CONTEXT_GUESSES.index(name), of_context(seen)
    return (found.known[:, at] + 1) * seen.unit[:, None], found.is_known[:, at]


def assert_equal(one: Observation, other: Observation) -> None:
    for name in vars(one).keys() - {"context"}:
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for name, value in vars(of_context(one)).items():
        assert torch.equal(value, getattr(of_context(other), name)), name


@pytest.fixture
def batch(random_batch, with_context) -> Batch:
    return with_context(random_batch(seed=4, batch=3, time=30, y=3, x=3, missing=0.25))


@pytest.mark.parametrize("state", [CellState.HIDDEN, CellState.MISSING, CellState.PADDING])
def test_traffic_that_is_not_observed_never_enters(batch, state):
    changed = torch.where(batch.state == state, 1e3 * torch.rand_like(batch.share), batch.share)
    assert not torch.equal(changed, batch.share)
    assert_equal(observe(replace(batch, share=changed)), observe(batch))


def test_users_and_layers_that_are_not_known_never_enter(batch):
    context = batch.context
    changed = replace(
        context,
        users=torch.where(context.users_known, context.users, 5.0),
        static=torch.where(context.static_known, context.static, 5.0),
    )
    assert not torch.equal(changed.users, context.users) and not torch.equal(changed.static, context.static)
    assert_equal(observe(replace(batch, context=changed)), observe(batch))


def test_users_and_layers_that_are_known_do_enter(batch):
    state = batch.state.clone()
    state[:, :, 0, 1] = CellState.HIDDEN  # POI say something of a cell without history of which no users are known
    told = torch.ones_like(batch.observed)
    told[:, :, 0, 1] = False
    batch = replace(batch, state=state, context=batch.context.keep(told, torch.ones_like(batch.context.static_known)))
    before = of_context(observe(batch))
    for name in ("users", "static"):
        changed = replace(batch.context, **{name: getattr(batch.context, name) * torch.linspace(0.5, 2.0, 3)})
        after = of_context(observe(replace(batch, context=changed)))
        assert not torch.equal(after.known, before.known), name


def test_context_moves_none_of_the_guesses_from_traffic_alone(batch):
    told, blind = observe(batch), observe(replace(batch, context=None))
    assert blind.context is None
    for name in ("unit_known", "compressed", "spread", "is_known"):
        assert torch.equal(getattr(told, name), getattr(blind, name)), name
    known = told.unit_known
    assert torch.equal(told.unit[known], blind.unit[known])
    by_cell = [seen.known.permute(0, 3, 4, 1, 2)[known] for seen in (told, blind)]
    assert torch.equal(*by_cell)


def test_everything_is_finite_even_where_nobody_is_and_nothing_is_observed(batch):
    context = replace(batch.context, users=torch.zeros_like(batch.context.users))
    nothing = torch.full_like(batch.state, CellState.HIDDEN)
    for some in (replace(batch, context=context), replace(batch, state=nothing), replace(batch, share=0 * batch.share)):
        seen = observe(some)
        for value in (seen.unit, seen.known, *vars(of_context(seen)).values()):
            assert torch.isfinite(value).all()


def test_a_window_without_context_has_nothing_but_zeros_beside_one_that_has_it(batch):
    known = torch.tensor([True, False, True])[:, None, None, None]
    context = batch.context.keep(known.expand_as(batch.share), known.expand_as(batch.context.static))
    seen, blind = observe(replace(batch, context=context)), observe(replace(batch, context=None))
    found = of_context(seen)
    assert found.anything.tolist() == [True, False, True]
    assert not found.is_known[1].any()
    assert not found.known[1].any() and not found.channels[1].any()
    assert found.known[0].any() and found.channels[0].any()
    assert torch.equal(seen.unit[1], blind.unit[1])


def test_guesses_are_zero_where_they_have_nothing_to_go_by(batch):
    found = of_context(observe(batch))
    assert {bool(known) for known in found.is_known.flatten()} == {True, False}
    assert (found.known[~found.is_known] == 0).all()


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_window_is_observed_the_same_alone_and_among_others(batch, row):
    """Users of all hours in one window, of the observed hours in another, none in the last."""
    known = torch.stack([torch.ones_like(batch.observed[0]), batch.observed[1], torch.zeros_like(batch.observed[2])])
    batch = replace(batch, context=batch.context.keep(known, torch.ones_like(batch.context.static_known)))
    together, alone = observe(batch), observe(batch.rows(slice(row, row + 1)))
    for name, value in vars(of_context(alone)).items():
        torch.testing.assert_close(getattr(of_context(together), name)[row : row + 1], value, msg=name)
    torch.testing.assert_close(together.unit[row : row + 1], alone.unit)


# ---------------------------------------------------------------- a world in which traffic is users times a rate


World = Callable[..., Batch]


@pytest.fixture
def world(random_batch, with_context) -> World:
    """Traffic is rate x users x what is usual of the hour; the last quarter of the time is hidden."""

    def make(rates: tuple[float, ...] = (0.5, 1.5), users_known: Tensor | None = None, sure: float = 1e-6) -> Batch:
        batch = with_context(random_batch(batch=2, time=32, y=2, x=2, missing=0.0, padding=0), users=1.0, static=0.0)
        nothing_said = torch.cat([torch.zeros(2, 4, 3), torch.ones(2, 4, 1)], -1)
        context = replace(
            batch.context, rate_noise=torch.full((2, 32), sure), rate=torch.tensor([0.9, 1.1]), answer=nothing_said
        )
        rate = torch.linspace(*rates, 8).reshape(2, 1, 2, 2)
        share = rate * context.users * context.rate_rhythm
        if users_known is not None:
            context = context.keep(users_known, context.static_known)
        return replace(batch, share=share, context=context)

    return make


@pytest.mark.parametrize("name", ["per_user_usual", "per_user", "per_user_lasting"])
def test_known_users_say_what_the_hidden_traffic_is_where_it_goes_with_them(world, name):
    batch = world()
    found, known = guess(observe(batch), name)
    assert known.all()
    torch.testing.assert_close(found[batch.hidden], batch.share[batch.hidden], rtol=1e-3, atol=1e-4)
    carried = (observe(batch).known[:, GUESSES.index("carried")] + 1) * observe(batch).unit[:, None]
    assert (carried - batch.share)[batch.hidden].abs().mean() > 0.02  # traffic alone does not know


def test_users_of_the_past_are_continued_and_their_traffic_with_them(world):
    """Users whose weeks are their own rhythm, told up to the first hidden hour."""
    batch = world()
    users = torch.rand(2, 1, 2, 2) * batch.context.users_rhythm * 0.2
    share = batch.share / batch.context.users * users
    past = (~batch.hidden.any((2, 3), keepdim=True)).expand_as(users)
    context = replace(batch.context, users=users).keep(past, batch.context.static_known)
    batch = replace(batch, share=share, context=context)
    seen = observe(batch)
    expected, known = guess(seen, "per_user_expected")
    assert torch.equal(known, batch.hidden)
    torch.testing.assert_close(expected[known], share[known], rtol=1e-3, atol=1e-4)
    for name in ("per_user_usual", "per_user", "per_user_lasting", "users_ratio"):
        assert torch.equal(guess(seen, name)[1], past), name


def test_the_carried_week_is_lifted_by_how_many_more_users_there_are_than_expected(world):
    """A week that always repeats itself, but for twice the users in the hidden hours."""
    batch = world(sure=0.1)
    users = 0.1 * batch.context.users_rhythm
    crowd = torch.where(batch.hidden, 2 * users, users)
    context = replace(batch.context, users=crowd)
    batch = replace(batch, share=0.1 * batch.rhythm, context=context)
    seen = observe(batch)
    lifted, known = guess(seen, "users_ratio")
    assert known.all()
    carried = (seen.known[:, GUESSES.index("carried")] + 1) * seen.unit[:, None]
    ratio = (lifted / carried)[batch.hidden]
    expected = ((crowd + SMALLEST_UNIT) / (users + SMALLEST_UNIT))[batch.hidden]
    torch.testing.assert_close(ratio, expected, rtol=1e-3, atol=1e-3)


def test_the_unit_of_a_cell_without_history_is_the_traffic_that_its_users_make(world):
    batch = world(rates=(1.0, 1.0))
    batch = replace(batch, context=replace(batch.context, rate=torch.ones(2)))
    state = batch.state.clone()
    state[:, :, 0, 1] = CellState.HIDDEN
    batch = replace(batch, state=state)
    seen = observe(batch)
    assert not seen.unit_known[:, 0, 1].any()
    for row in range(2):
        traffic = sum(float(batch.share[row, t, 0, 1]) for t in range(32))
        usual = sum(float(batch.rhythm[row, t, 0, 1]) for t in range(32))
        assert float(seen.unit[row, 0, 1]) == pytest.approx(traffic / usual + SMALLEST_UNIT, rel=1e-3)
    found, known = guess(seen, "per_user")
    assert known[:, :, 0, 1].all()
    torch.testing.assert_close(found[:, :, 0, 1], batch.share[:, :, 0, 1], rtol=1e-3, atol=1e-4)


def test_in_a_window_of_which_nothing_is_observed_cells_have_the_level_of_their_users_or_a_nominal_one(world):
    everywhere = torch.ones(2, 32, 2, 2, dtype=torch.bool)
    everywhere[:, :, 1, 1] = False
    batch = world(rates=(1.0, 1.0), users_known=everywhere)
    context = replace(batch.context, rate=torch.ones(2))
    state = torch.full_like(batch.state, CellState.HIDDEN)
    seen = observe(replace(batch, context=context, state=state))
    assert seen.unit[:, 1, 1].tolist() == pytest.approx([NOMINAL_LEVEL + SMALLEST_UNIT] * 2)
    spread = seen.unit[everywhere[:, 0]]
    users = (context.users * context.rate_rhythm).sum(1) / batch.rhythm.sum(1)
    ratio = (spread - SMALLEST_UNIT) / users[everywhere[:, 0]]
    torch.testing.assert_close(ratio, ratio[:1].expand(6), rtol=0.01, atol=0.0)  # the same rate for all


# ---------------------------------------------------------------- what users say of the rate


def hide_cell(batch: Batch) -> Batch:
    """The batch with one cell without history."""
    state = batch.state.clone()
    state[:, :, 0, 1] = CellState.HIDDEN
    return replace(batch, state=state)


def test_a_cell_without_history_has_the_level_that_its_users_answer_for(world):
    """Users with the weights z of their shapes make exp(0.3 z) times the rate of the region."""
    batch = hide_cell(world(rates=(1.0, 1.0)))
    z = torch.tensor([1.5, -1.5])
    family = torch.ones(2, 4, 32)
    family[:, 1] = torch.where(torch.arange(32) % 8 < 4, 0.3, -0.3)
    family[:, 2:] = 0.0
    users = 0.2 * (1 + z[:, None] * family[:, 1])[:, :, None, None].expand(2, 32, 2, 2)
    answer = torch.cat([torch.zeros(2, 4, 3), torch.ones(2, 4, 1)], -1)
    answer[:, 0, 0] = 0.3
    context = replace(
        batch.context, users=users, users_family=family, users_noise=torch.full((2, 32), 0.001),
        rate=torch.ones(2), answer=answer,
    )  # fmt: skip
    seen = users * context.rate_rhythm
    batch = replace(batch, share=seen, context=context)
    answered, known = guess(observe(batch), "per_user")
    silent = replace(batch, context=replace(context, answer=torch.cat([answer[..., :-1] * 0, answer[..., -1:]], -1)))
    plain, _ = guess(observe(silent), "per_user")
    assert known[:, :, 0, 1].all()
    torch.testing.assert_close(plain[:, :, 0, 1], seen[:, :, 0, 1], rtol=0.01, atol=1e-4)
    ratio = (answered / plain)[:, :, 0, 1].mean(1)
    assert (ratio - 1).sign().tolist() == [1.0, -1.0]  # but for what the three others say, whose users are the same
    torch.testing.assert_close(answered[:, :24, 1, 1], seen[:, :24, 1, 1], rtol=0.05, atol=1e-3)  # it has a history


@pytest.mark.parametrize(("between", "expected"), [(4.0, 2.0), (1e-6, 2.0 * (1 - np.log(2)))])
def test_the_other_cells_say_the_rate_of_one_without_history_as_far_as_regions_differ(world, between, expected):
    """All cells carry twice what the family's rate says."""
    batch = hide_cell(world(rates=(2.0, 2.0), sure=0.1))
    context = replace(
        batch.context, rate=torch.ones(2), rate_between=torch.full((2,), between), rate_within=torch.full((2,), 0.01)
    )
    found, _ = guess(observe(replace(batch, context=context)), "per_user")
    ratio = found[:, :, 0, 1].sum(1) / (context.users * context.rate_rhythm)[:, :, 0, 1].sum(1)
    assert ratio.tolist() == pytest.approx([expected] * 2, rel=0.05)


def test_few_known_hours_of_users_answer_for_less(world):
    batch = world()
    context = replace(batch.context, answer=torch.cat([torch.full((2, 4, 3), 0.4), torch.full((2, 4, 1), 0.5)], -1))
    around = torch.ones(2)
    sizes, variances = [], []
    for hours in (32, 8, 2, 0):
        told = (torch.arange(32) < hours)[None, :, None, None].expand(2, 32, 2, 2)
        prior = rate_prior(context.keep(told, context.static_known), told.float(), around)
        sizes.append(float(prior.mean[..., 1:].abs().mean()))
        variances.append(float(prior.variance[..., 1:].mean()))
    assert sizes[-1] == 0.0 < sizes[-2] < min(sizes[:2])
    assert variances == sorted(variances)
    assert variances[-1] == pytest.approx(0.5 + 3 * 0.4**2, rel=1e-3)  # nothing is known of the users' weights
    assert variances[0] == pytest.approx(0.5, rel=0.3)  # nearly all is


# ---------------------------------------------------------------- cells without users


def test_a_cell_of_which_all_users_are_known_and_none_has_no_traffic(world):
    users = torch.ones(2, 32, 2, 2)
    users[:, :, 0, 1] = 0.0
    batch = world()
    context = replace(batch.context, users=batch.context.users * users)
    batch = hide_cell(replace(batch, context=context, share=batch.share * users))
    seen = observe(batch)
    assert seen.silent[:, 0, 1].all() and not seen.silent[:, 1].any()
    assert seen.unit[:, 0, 1].tolist() == pytest.approx([SMALLEST_UNIT] * 2)
    found, known = guess(seen, "per_user")
    assert known[:, :, 0, 1].all() and float(found[:, :, 0, 1].abs().max()) < 1e-6
    some = torch.ones(2, 32, 2, 2, dtype=torch.bool)
    some[:, 20:, 0, 1] = False  # of some hours it is not known whether there were users
    partly = replace(batch, context=context.keep(some, context.static_known))
    assert not observe(partly).silent[:, 0, 1].any()


def test_traffic_where_no_users_were_counted_says_that_they_were_not_counted(world):
    users = torch.ones(2, 32, 2, 2)
    users[:, :, 0, 1] = 0.0
    batch = world()
    batch = replace(batch, context=replace(batch.context, users=batch.context.users * users))
    seen = observe(batch)
    assert not seen.silent[:, 0, 1].any()
    assert not guess(seen, "per_user")[1][:, :, 0, 1].any()


# ---------------------------------------------------------------- POI and residents


@pytest.mark.parametrize(
    ("name", "layer", "none"), [("by_poi", ALL_POI, NO_POI), ("by_residents", RESIDENTS, NO_RESIDENTS)]
)
def test_the_traffic_of_the_other_cells_is_shared_out_by_the_root_of_what_they_have_by_a_loop(batch, name, layer, none):
    """In cells without history of which no users are known; elsewhere there is better to go by."""
    state = batch.state.clone()
    state[:, :, 0, 1] = state[:, :, 2, 2] = CellState.HIDDEN
    told = torch.zeros_like(batch.observed)
    told[:2, :, 2, 2] = True
    without = batch.context.keep(told, torch.ones_like(batch.context.static_known))
    batch = replace(batch, state=state, context=without)
    seen = observe(batch)
    found, known = guess(seen, name)
    context: Context = batch.context
    compared = 0
    for row, t, y, x in np.ndindex(*batch.share.shape):
        others = [
            (float(batch.share[row, t, j, i]), (float(context.static[row, layer, j, i]) + none) ** 0.5)
            for j, i in np.ndindex(3, 3)
            if (j, i) != (y, x) and batch.observed[row, t, j, i] and context.static_known[row, layer, j, i]
        ]
        amount = sum(people for _, people in others)
        history = any(bool(batch.observed[row, at, y, x]) for at in range(batch.share.shape[1]))
        nothing_else = not history and not bool(without.users_known[row, :, y, x].any())
        expected_known = amount > 0 and bool(context.static_known[row, layer, y, x]) and nothing_else
        assert bool(known[row, t, y, x]) == expected_known
        if known[row, t, y, x]:
            rate = sum(traffic for traffic, _ in others) / amount
            expected = (float(context.static[row, layer, y, x]) + none) ** 0.5 * rate
            cut = min(expected, LARGEST_RELATIVE * float(seen.unit[row, y, x]))
            assert float(found[row, t, y, x]) == pytest.approx(cut, rel=1e-3, abs=1e-5)
            compared += 1
    assert compared > 50


def test_what_is_expected_by_poi_is_their_root_where_those_of_all_seen_cells_are_known(batch):
    context: Context = batch.context
    known = torch.ones_like(context.static_known)
    everywhere = replace(context, static_known=known)
    found = expected_by_poi(everywhere, batch.observed)
    torch.testing.assert_close(found, (context.static[:, ALL_POI] + NO_POI).sqrt())
    seen = torch.zeros_like(batch.observed)
    seen[:, 0, 0, 0] = True
    known[0, ALL_POI, 0, 0] = False  # of a cell that is seen
    known[1, ALL_POI, 2, 2] = False  # of one that is not
    some = expected_by_poi(replace(context, static_known=known), seen)
    torch.testing.assert_close(some[0], torch.ones_like(some[0]))
    torch.testing.assert_close(some[1:], found[1:])
