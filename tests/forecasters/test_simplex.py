"""Weights on the simplex against an independent solver and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from fomo.forecasters.simplex import on_simplex


def squares_of(experts: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    errors = random.normal(size=(experts, 30)) * random.uniform(0.1, 2, (experts, 1)) + random.normal(size=30)
    return errors @ errors.T / 30


@given(st.integers(2, 11), st.floats(1e-3, 10.0), st.integers(0, 10_000))
def test_weights_are_those_of_an_independent_solver(experts, pull, seed):
    squares, towards = squares_of(experts, seed), np.random.default_rng(seed).dirichlet(np.ones(experts))
    found = on_simplex(squares, pull, towards)
    root = np.linalg.cholesky(squares + pull * np.eye(experts)).T
    heavy = 1e4 * np.sqrt(np.trace(squares))
    right = np.append(np.linalg.solve(root.T, pull * towards), heavy)
    expected, _ = nnls(np.vstack([root, np.full((1, experts), heavy)]), right)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)


def test_many_problems_at_once_are_each_their_own():
    many = np.stack([[squares_of(4, 3 * row + column) for column in range(3)] for row in range(2)])
    together = on_simplex(many, 0.1, np.full(4, 0.25))
    assert together.shape == (2, 3, 4)
    for place in np.ndindex(2, 3):
        np.testing.assert_allclose(together[place], on_simplex(many[place], 0.1, np.full(4, 0.25)), atol=1e-12)


def test_two_uncorrelated_experts_share_by_their_inverse_variances():
    np.testing.assert_allclose(on_simplex(np.diag([4.0, 1.0]), 0.0, np.eye(1, 2)[0]), [0.2, 0.8], atol=1e-12)


def test_equal_experts_leave_all_to_what_is_drawn_towards_and_a_strong_pull_does_so_too():
    first = np.eye(1, 3)[0]
    np.testing.assert_allclose(on_simplex(np.ones((3, 3)), 0.1, first), first, atol=1e-9)
    half = np.array([0.5, 0.5])
    np.testing.assert_allclose(on_simplex(np.diag([4.0, 1.0]), 1e9, half), half, atol=1e-6)
