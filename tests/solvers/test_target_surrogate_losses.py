# SPDX-License-Identifier: BSD-3-Clause
"""The losses of target surrogates: majorisation, gradients, pairs."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from skpapers.solvers._target_surrogate._losses import PairwiseLoss

ALL = slice(None)
N = 40

each_loss = pytest.mark.parametrize(
    "name", ["log", "softmax", "squared", "squared, two", "huber", "pairwise"]
)


def unit_weights(rng, n=N):
    weight = rng.uniform(0.2, 3, n)
    return weight / weight.mean()


def q_of(loss, z, new, eta):
    """Return the surrogate around z at the targets ``new``, written out."""
    value, gradient = loss(z, ALL)
    h = loss.metric(ALL)
    h = np.ones(len(z)) if h is None else h
    square = (new - z) ** 2
    square = square if square.ndim == 1 else square.sum(axis=1)
    return value + np.sum(gradient * (new - z)) + np.mean(h * square) / (2 * eta)


@each_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_surrogate_lies_above_the_loss(make_loss, name, weighted, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, shape = make_loss(
        name, rng, sample_weight=unit_weights(rng) if weighted else None
    )
    for scale in np.repeat([0.1, 1.0, 5.0, 30.0], 10):
        z, new = scale * rng.standard_normal((2, *shape))
        bound = q_of(loss, z, new, 1 / loss.smoothness)
        assert loss(new, ALL)[0] <= bound + 1e-12 * max(1, abs(bound))


@each_loss
def test_smoothness_is_not_idle(make_loss, name, global_random_seed):
    """With a third of the curvature the surrogate no longer lies above the loss."""
    rng = np.random.default_rng(global_random_seed)
    loss, shape = make_loss(name, rng)
    center = loss.y if name.startswith(("squared", "huber")) else np.zeros(shape)
    assert any(
        loss(center + 0.1 * move, ALL)[0]
        > q_of(loss, center, center + 0.1 * move, 3 / loss.smoothness)
        for move in rng.standard_normal((50, *shape))
    )


@each_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_by_finite_differences(make_loss, name, weighted, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, shape = make_loss(
        name, rng, sample_weight=unit_weights(rng) if weighted else None
    )
    z = rng.standard_normal(shape)
    rows = rng.permutation(N)[:17]

    def value(flat):
        return loss.value(flat.reshape(z[rows].shape), rows)

    numeric = approx_fprime(z[rows].ravel(), value, 1e-7)
    _, gradient = loss(z[rows], rows)
    np.testing.assert_allclose(gradient.ravel(), numeric, atol=1e-6)


def test_pairwise_loss_is_the_mean_over_pairs(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    y, z, w = rng.integers(0, 2, 30), 5 * rng.standard_normal(30), unit_weights(rng, 30)
    pairs = [
        (w[i] * w[j], np.logaddexp(0, z[j] - z[i]))
        for i in range(30)
        for j in range(30)
        if y[i] > y[j]
    ]
    weight, value = np.array(pairs).T
    expected = weight @ value / weight.sum()
    assert PairwiseLoss(y, w)(z, ALL)[0] == pytest.approx(expected, rel=1e-12)


def test_pairwise_loss_is_summed_in_blocks(make_loss, monkeypatch, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, _ = make_loss("pairwise", rng)
    z = rng.standard_normal(N)
    value, gradient = loss(z, ALL)
    monkeypatch.setattr("skpapers.solvers._target_surrogate._losses.BLOCK", 40)
    in_blocks = loss(z, ALL)
    assert in_blocks[0] == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(in_blocks[1], gradient, rtol=1e-12)


def test_pairwise_loss_of_one_class_is_nothing():
    value, gradient = PairwiseLoss(np.array([1, 1, 0]))(
        np.arange(2.0), np.array([0, 1])
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
