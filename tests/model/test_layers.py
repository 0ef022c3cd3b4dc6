from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fomo.model.embeddings import rotary_turn
from fomo.model.layers import AdaptiveBlock, Attention, CellHead, EncoderBlock

BATCH, MEMBERS, TOKENS, WIDTH, HEADS = 2, 3, 7, 32, 2


@pytest.fixture
def turn() -> Tensor:
    torch.manual_seed(1)
    return rotary_turn(torch.rand(BATCH, TOKENS, 3) * 20, WIDTH // HEADS)


@pytest.fixture
def tokens() -> Tensor:
    torch.manual_seed(2)
    return torch.randn(BATCH, MEMBERS, TOKENS, WIDTH)


@pytest.fixture
def attend() -> Tensor:
    return torch.tensor([[True] * 5 + [False] * 2, [True, False] * 3 + [True]])


def adaptive(gate: float, told: float = 0.1) -> AdaptiveBlock:
    torch.manual_seed(3)
    block = AdaptiveBlock(WIDTH, HEADS, dropout=0.0, gate=gate)
    if told:
        with torch.no_grad():
            block.adapt_observation.weight += told * torch.randn_like(block.adapt_observation.weight)
            block.adapt_noise.weight += told * torch.randn_like(block.adapt_noise.weight)
    return block


def turned(features: Tensor, turn: Tensor) -> Tensor:
    """Pairs (i, i + half) of the features (token, width) as complex numbers, times those of the turn."""
    first, second = features.chunk(2, -1)
    pairs = torch.complex(first, second) * torch.complex(*turn)
    return torch.cat([pairs.real, pairs.imag], -1)


def test_attention_is_the_softmax_formula_by_a_loop(tokens, turn, attend):
    torch.manual_seed(0)
    layer = Attention(WIDTH, HEADS)
    found = layer(tokens, turn, attend)
    size = WIDTH // HEADS
    for b in range(BATCH):
        for s in range(MEMBERS):
            projected = layer.project_in(tokens[b, s])
            mixed = []
            for head in range(HEADS):
                query, key, value = (
                    projected[:, part * WIDTH + head * size : part * WIDTH + (head + 1) * size] for part in range(3)
                )
                query, key = turned(layer.norm_query(query), turn[:, b]), turned(layer.norm_key(key), turn[:, b])
                logits = query @ key.T / size**0.5
                logits[:, ~attend[b]] = -torch.inf
                mixed.append(logits.softmax(-1) @ value)
            torch.testing.assert_close(found[b, s], layer.project_out(torch.cat(mixed, -1)), rtol=1e-4, atol=1e-5)


def test_tokens_that_are_not_attended_have_no_influence_on_the_others(tokens, turn, attend):
    torch.manual_seed(0)
    block = EncoderBlock(WIDTH, HEADS, dropout=0.0)
    changed = torch.where(attend[:, None, :, None], tokens, 100.0)
    where = attend[:, None].expand(BATCH, MEMBERS, TOKENS)
    torch.testing.assert_close(block(changed, turn, attend)[where], block(tokens, turn, attend)[where])


def test_attending_to_all_is_the_same_with_and_without_a_mask(tokens, turn):
    torch.manual_seed(0)
    layer = Attention(WIDTH, HEADS)
    everything = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    torch.testing.assert_close(layer(tokens, turn, everything), layer(tokens, turn, None))


def test_members_do_not_see_each_other(tokens, turn):
    block = adaptive(gate=1.0)
    observation, noise = torch.randn(BATCH, 1, TOKENS, 6 * WIDTH), torch.randn(1, 1, 1, WIDTH)
    changed = tokens.clone()
    changed[:, 1] += 5
    before, after = block(tokens, observation, noise, turn, None), block(changed, observation, noise, turn, None)
    torch.testing.assert_close(before[:, [0, 2]], after[:, [0, 2]])
    assert not torch.allclose(before[:, 1], after[:, 1])


def test_at_gate_zero_the_adaptive_block_is_the_identity(tokens, turn, attend):
    block = adaptive(gate=0.0, told=0.0)
    told, noise = torch.randn(BATCH, 1, TOKENS, WIDTH), torch.randn(BATCH, 1, 1, WIDTH)
    assert torch.equal(block(tokens, block.adapt_observation(told), noise, turn, attend), tokens)


def test_at_gate_one_the_adaptive_block_starts_as_a_plain_transformer_block(tokens, turn, attend):
    block = adaptive(gate=1.0, told=0.0)
    told, noise = torch.randn(BATCH, 1, TOKENS, WIDTH), torch.randn(BATCH, 1, 1, WIDTH)
    plain = tokens + block.attention(block.norm_attention(tokens), turn, attend)
    plain = plain + block.mlp(block.norm_mlp(plain))
    torch.testing.assert_close(block(tokens, block.adapt_observation(told), noise, turn, attend), plain)


def test_equation_10_scales_shifts_and_gates_both_branches(tokens, turn):
    """e <- e + alpha A(beta e + gamma), once for attention and once for the MLP; beta is told as 1 + its change."""
    block = adaptive(gate=1.0)
    observation, noise = torch.randn(BATCH, 1, TOKENS, 6 * WIDTH), torch.randn(BATCH, 1, 1, WIDTH)
    parts = (observation + block.adapt_noise(noise)).split(WIDTH, -1)
    expected = tokens
    for branch, norm, (alpha, beta, gamma) in (
        (lambda inner: block.attention(inner, turn, None), block.norm_attention, parts[:3]),
        (block.mlp, block.norm_mlp, parts[3:]),
    ):
        expected = expected + alpha * branch((1 + beta) * norm(expected) + gamma)
    torch.testing.assert_close(block(tokens, observation, noise, turn, None), expected)


def test_one_noise_level_for_all_windows_is_the_same_as_one_for_each(tokens, turn):
    block = adaptive(gate=1.0)
    observation, noise = torch.randn(BATCH, 1, TOKENS, 6 * WIDTH), torch.randn(1, 1, 1, WIDTH)
    each = noise.expand(BATCH, 1, 1, WIDTH)
    torch.testing.assert_close(
        block(tokens, observation, noise, turn, None), block(tokens, observation, each, turn, None)
    )


def test_a_window_without_a_token_to_attend_to_stays_finite_and_so_do_its_gradients(tokens, turn):
    block = adaptive(gate=1.0)
    none = torch.tensor([[True] * TOKENS, [False] * TOKENS])
    tokens.requires_grad_()
    found = block(tokens, torch.randn(BATCH, 1, TOKENS, 6 * WIDTH), torch.randn(1, 1, 1, WIDTH), turn, none)
    found.square().sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(tokens.grad).all()
    assert all(torch.isfinite(weight.grad).all() for weight in block.parameters() if weight.grad is not None)


def test_the_head_says_nothing_at_first_and_reads_each_value_by_itself():
    torch.manual_seed(0)
    head = CellHead(WIDTH, cells=4, channels=5, context=3, hidden=8, outputs=2)
    values = torch.randn(6, 8)
    assert not head(values).any()
    torch.nn.init.normal_(head.last.weight)
    changed = values.clone()
    changed[2] += 1
    moved = (head(changed) != head(values)).any(-1)
    assert moved.tolist() == [False, False, True, False, False, False]
    assert head.context(torch.randn(TOKENS, WIDTH)).shape == (TOKENS, 3 * 4)
