from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fomo.tokens.patch import TokenShape, from_tokens, layers_to_tokens, pad_to_tokens, to_tokens, token_places

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 13), st.integers(1, 7), st.integers(1, 7))
TOKENS: SearchStrategy[TokenShape] = st.builds(TokenShape, st.integers(1, 5), st.integers(1, 3), st.integers(1, 4))


def numbered(*size: int) -> torch.Tensor:
    return torch.arange(1, int(np.prod(size)) + 1, dtype=torch.float32).reshape(size)


@given(SIZES, TOKENS)
def test_a_window_of_any_size_comes_back_exactly_from_its_tokens(size, shape):
    window = numbered(*size)
    tokens = to_tokens(pad_to_tokens(window, shape, 0.0), shape)
    assert torch.equal(from_tokens(tokens, shape, *size[1:]), window)


@given(SIZES, TOKENS)
def test_tokens_come_back_exactly_from_a_window_without_padding(size, shape):
    batch, t, h, v = size
    tokens = numbered(batch, t * h * v, shape.cells)
    window = from_tokens(tokens, shape, t * shape.time, h * shape.y, v * shape.x)
    assert torch.equal(to_tokens(window, shape), tokens)


@given(SIZES, TOKENS)
def test_a_token_holds_the_cells_that_a_loop_by_hand_puts_there(size, shape):
    window = numbered(*size)
    tokens = to_tokens(pad_to_tokens(window, shape, -1.0), shape)
    batch, time, height, width = size
    t_tokens, h_tokens, v_tokens = shape.grid(time, height, width)
    assert tokens.shape == (batch, t_tokens * h_tokens * v_tokens, shape.cells)

    by_hand = torch.full_like(tokens, -1.0)
    for b, t, y, x in np.ndindex(*size):
        token = (t // shape.time * h_tokens + y // shape.y) * v_tokens + x // shape.x
        cell = (t % shape.time * shape.y + y % shape.y) * shape.x + x % shape.x
        by_hand[b, token, cell] = window[b, t, y, x]
    assert torch.equal(tokens, by_hand)


@given(SIZES, TOKENS)
def test_padding_is_marked_at_the_far_ends_and_shorter_than_a_token(size, shape):
    padded = pad_to_tokens(numbered(*size), shape, -7.0)
    for axis, edge in zip((1, 2, 3), (shape.time, shape.y, shape.x), strict=True):
        assert padded.shape[axis] % edge == 0
        assert 0 <= padded.shape[axis] - size[axis] < edge
    _, time, height, width = size
    assert torch.equal(padded[:, :time, :height, :width], numbered(*size))
    assert (padded == -7.0).sum() == padded.numel() - np.prod(size)


def test_states_keep_their_type_when_padded_and_cut_into_tokens():
    state = torch.ones(1, 5, 3, 3, dtype=torch.int8)
    tokens = to_tokens(pad_to_tokens(state, TokenShape(4, 2, 2), 3), TokenShape(4, 2, 2))
    assert tokens.dtype == torch.int8
    assert (tokens == 1).sum() == 45
    assert (tokens == 3).sum() == 8 * 4 * 4 - 45


def test_a_window_that_is_not_whole_tokens_cannot_be_cut_without_padding():
    with pytest.raises(Exception, match=r"[Ss]hape|divisible"):
        to_tokens(torch.zeros(1, 5, 2, 2), TokenShape(4, 2, 2))


def test_a_gradient_passes_through_tokens_unchanged():
    window = torch.randn(2, 5, 3, 3, requires_grad=True)
    shape, weight = TokenShape(4, 2, 2), torch.randn(2, 5, 3, 3)
    there_and_back = from_tokens(to_tokens(pad_to_tokens(window, shape, 0.0), shape), shape, 5, 3, 3)
    (there_and_back * weight).sum().backward()
    assert torch.equal(window.grad, weight)


@given(SIZES, TOKENS)
def test_places_of_tokens_take_from_a_flat_window_what_cutting_gives(size, shape):
    window = numbered(*size)
    places = token_places(shape, size[1:])
    flat = torch.nn.functional.pad(window.flatten(1), (0, 1), value=-7.0)  # the end: padding
    assert torch.equal(flat[:, places], to_tokens(pad_to_tokens(window, shape, -7.0), shape))


@given(SIZES, TOKENS)
def test_layers_of_a_token_are_the_tokens_of_the_layers_one_after_another(size, shape):
    layers = numbered(2, 3, *size[1:])
    each = [to_tokens(pad_to_tokens(layers[:, layer], shape, -7.0), shape) for layer in range(3)]
    assert torch.equal(layers_to_tokens(layers, shape, -7.0), torch.cat(each, -1))
