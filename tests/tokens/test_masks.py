from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fomo.config import ConfigError, parse
from fomo.tokens.masks import MaskConfig, draw_mask, draw_masks, forecast_mask, generation_mask, random_mask
from fomo.tokens.patch import TokenShape

TOKEN = TokenShape(4, 2, 2)
NOTHING = {"short": 0.0, "long": 0.0, "generation": 0.0, "random": 0.0}
KINDS = tuple(NOTHING)


def only(kind: str, **options: object) -> MaskConfig:
    return MaskConfig(**(NOTHING | {kind: 1.0} | options))


def drawn(config: MaskConfig, count: int, size: tuple[int, int, int] = (64, 4, 4), seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([draw_mask(config, *size, TOKEN, random) for _ in range(count)])


def hidden_steps(mask: np.ndarray) -> int:
    """Of a mask that hides the end of time everywhere; fails for any other."""
    steps = int(mask.any(axis=(1, 2)).sum())
    expected = np.zeros_like(mask)
    expected[len(mask) - steps :] = True
    np.testing.assert_array_equal(mask, expected)
    return steps


def hidden_block(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Corner and size of the block of a mask that hides a rectangle at all times; fails for any other."""
    rows, columns = (np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    block = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    expected = np.zeros_like(mask)
    expected[:, block[0], block[1]] = True
    np.testing.assert_array_equal(mask, expected)
    return int(rows[0]), int(columns[0]), len(rows), len(columns)


@given(st.integers(1, 64), st.integers(1, 5), st.integers(1, 5), st.data())
def test_equation_5_hides_the_last_steps_everywhere_and_nothing_else(time, y, x, data):
    steps = data.draw(st.integers(0, time))
    mask = forecast_mask(time, y, x, steps)
    assert mask.shape == (time, y, x)
    assert hidden_steps(mask) == steps
    assert mask.mean() == pytest.approx(steps / time)


def test_equation_5_short_and_long_are_the_papers_48_to_16_and_16_to_48():
    assert forecast_mask(64, 4, 4, 16)[:48].sum() == 0
    assert forecast_mask(64, 4, 4, 16)[48:].all()
    assert forecast_mask(64, 4, 4, 48)[:16].sum() == 0
    assert forecast_mask(64, 4, 4, 48)[16:].all()


def test_equation_6_hides_all_times_of_a_block_of_adjacent_cells():
    mask = generation_mask(6, 5, 7, (slice(1, 3), slice(4, 7)))
    assert hidden_block(mask) == (1, 4, 2, 3)
    assert mask.sum() == 6 * 2 * 3


@given(st.tuples(st.integers(1, 21), st.integers(1, 7), st.integers(1, 7)), st.floats(0, 1), st.integers(0, 99))
def test_equation_7_hides_whole_tokens(size, ratio, seed):
    mask = random_mask(*size, ratio, TOKEN, np.random.default_rng(seed))
    assert mask.shape == size
    for t in range(0, size[0], TOKEN.time):
        for y in range(0, size[1], TOKEN.y):
            for x in range(0, size[2], TOKEN.x):
                token = mask[t : t + TOKEN.time, y : y + TOKEN.y, x : x + TOKEN.x]
                assert token.all() or not token.any()


@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_equation_7_hides_the_share_that_it_is_asked_for(ratio):
    mask = random_mask(4 * 50, 2 * 20, 2 * 20, ratio, TOKEN, np.random.default_rng(3))
    assert mask.mean() == pytest.approx(ratio, abs=4 * (ratio * (1 - ratio) / 20_000) ** 0.5 + 1e-12)


@given(
    st.tuples(st.integers(1, 70), st.integers(1, 9), st.integers(1, 9)),
    st.builds(TokenShape, st.integers(1, 8), st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from(KINDS),
    st.integers(0, 10**6),
)
def test_every_drawn_mask_hides_something_on_every_grid(size, token, kind, seed):
    config = only(kind, random_ratio=(0.0, 1.0))
    mask = draw_mask(config, *size, token, np.random.default_rng(seed))
    assert mask.shape == size
    assert mask.any()


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 2, 2), (64, 4, 4)])
def test_a_random_mask_that_hit_no_token_hides_the_last_ones_instead(size):
    for mask in drawn(only("random", random_ratio=(0.0, 0.0)), 5, size):
        assert hidden_steps(mask) == min(TOKEN.time, size[0])


@given(st.tuples(st.integers(2, 70), st.integers(1, 9), st.integers(1, 9)), st.sampled_from(["short", "long"]))
def test_a_drawn_forecast_mask_leaves_a_history(size, kind):
    for mask in drawn(only(kind), 10, size):
        assert 1 <= hidden_steps(mask) < size[0]


@pytest.mark.parametrize(("kind", "low", "exact", "high"), [("short", 1 / 16, 16, 1 / 2), ("long", 1 / 2, 48, 15 / 16)])
def test_the_hidden_share_is_sampled_around_the_papers(kind, low, exact, high):
    steps = np.array([hidden_steps(mask) for mask in drawn(only(kind, exact=0.4), 600)])
    assert steps.min() >= round(low * 64)
    assert steps.max() <= round(high * 64)
    assert np.mean(steps == exact) == pytest.approx(0.4, abs=0.1)
    assert len(np.unique(steps)) > 15
    assert all(hidden_steps(mask) == exact for mask in drawn(only(kind, exact=1.0), 20))


def test_the_generated_block_is_contiguous_and_varies_in_size_and_place():
    blocks = np.array([hidden_block(mask) for mask in drawn(only("generation"), 400, (8, 8, 6))])
    assert (blocks[:, 2] < 8).all()  # neighbours remain along each axis
    assert (blocks[:, 3] < 6).all()
    assert set(blocks[:, 2]) == {1, 2, 3, 4, 5, 6}
    assert set(blocks[:, 3]) == {1, 2, 3, 4}
    assert {0, 7} <= set(blocks[:, 0]) | set(blocks[:, 0] + blocks[:, 2] - 1)  # up to both edges
    assert len({tuple(block) for block in blocks}) > 100


@pytest.mark.parametrize("size", [(64, 4, 4), (16, 1, 3), (8, 7, 5)])
def test_generation_masks_hide_whole_windows_as_often_as_asked(size):
    masks = drawn(only("generation", whole=0.3), 400, size)
    assert masks.all(axis=(1, 2, 3)).mean() == pytest.approx(0.3, abs=0.07 if size[1] > 1 else 0.5)
    np.testing.assert_array_equal(masks.any(1), masks.all(1))  # every hidden cell at all times
    assert drawn(only("generation", whole=1.0), 20, size).all()
    for kind in ("short", "long", "random"):
        np.testing.assert_array_equal(drawn(only(kind, whole=1.0), 20, size), drawn(only(kind), 20, size))


def test_the_share_of_the_random_mask_is_sampled_over_its_range():
    shares = drawn(only("random", random_ratio=(0.2, 0.6)), 300, (64, 8, 8)).mean(axis=(1, 2, 3))
    assert shares.min() == pytest.approx(0.2, abs=0.08)
    assert shares.max() == pytest.approx(0.6, abs=0.08)
    assert shares.mean() == pytest.approx(0.4, abs=0.03)


def test_kinds_are_drawn_as_often_as_the_recipe_says():
    config = MaskConfig(short=3.0, long=0.0, generation=1.0, random=0.0)
    masks = drawn(config, 400)
    generation = masks.all(axis=1).any(axis=(1, 2))  # some cell hidden at all times
    assert generation.mean() == pytest.approx(0.25, abs=0.07)
    for mask in masks[~generation]:
        assert hidden_steps(mask) <= 32


def test_a_batch_has_one_mask_per_window_and_the_same_generator_draws_the_same():
    masks = draw_masks(MaskConfig(), 8, 64, 4, 4, TOKEN, np.random.default_rng(5))
    assert masks.shape == (8, 64, 4, 4)
    assert masks.dtype == torch.bool
    assert any(not torch.equal(masks[0], other) for other in masks[1:])
    assert torch.equal(masks, draw_masks(MaskConfig(), 8, 64, 4, 4, TOKEN, np.random.default_rng(5)))
    assert not torch.equal(masks, draw_masks(MaskConfig(), 8, 64, 4, 4, TOKEN, np.random.default_rng(6)))


@pytest.mark.parametrize("raw", [{"shrot": 0.5}, {"short": -0.1}, {"exact": 1.5}])
def test_a_mask_configuration_with_a_misspelt_key_or_an_impossible_number_is_refused(raw):
    with pytest.raises(ConfigError, match=next(iter(raw))):
        parse(raw, MaskConfig, "recipe.toml")
