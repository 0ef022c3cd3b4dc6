"""Weights on the simplex against an independent solver and closed forms."""

from __future__ import annotations

import tracemalloc
from itertools import product

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


def by_all_supports(squares: np.ndarray, pull: float, towards: np.ndarray) -> np.ndarray:
    """The lowest of all points that are the lowest of their own support under the sum alone."""
    experts, best = len(squares), (np.inf, towards)
    quadratic = squares + pull * np.eye(experts)
    for support in product((False, True), repeat=experts):
        some = np.flatnonzero(support)
        if some.size:
            system = np.block([[quadratic[np.ix_(some, some)], np.ones((some.size, 1))], [np.ones(some.size), 0.0]])
            weights = np.zeros(experts)
            weights[some] = np.linalg.solve(system, np.append(pull * towards[some], 1.0))[:-1]
            cost = weights @ quadratic @ weights - 2 * pull * towards @ weights
            if weights.min() >= -1e-12 and cost < best[0]:
                best = cost, weights
    return best[1]


@given(st.integers(1, 7), st.integers(0, 10_000), st.sampled_from([0.0, 1e-9, 1.0]))
def test_no_support_has_a_lower_point_whether_experts_say_nearly_or_wholly_the_same(experts, seed, apart):
    random = np.random.default_rng(seed)
    errors = random.normal(size=(experts, 40))
    errors[1::2] = errors[: 2 * (experts // 2) : 2] + apart * random.normal(size=(experts // 2, 40))  # pairs
    squares, towards = errors @ errors.T / 40, random.dirichlet(np.ones(experts))
    expected = by_all_supports(squares, 0.01, towards)
    np.testing.assert_allclose(on_simplex(squares, 0.01, towards), expected, atol=1e-8)


def test_a_dozen_experts_take_no_more_memory_than_their_problems():
    squares = np.stack([squares_of(12, seed) for seed in range(50)])
    tracemalloc.start()
    on_simplex(squares, 0.01, np.full(12, 1 / 12))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


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
