"""Effects with intervals: formulas, coverage, the price of choosing the graph."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skpapers.causal import TopologicalSwap, effect_intervals
from skpapers.causal._effects import effects_of
from skpapers.datasets import make_linear_sem

SQUARED = TopologicalSwap(loss="squared")
DIAMOND = np.array([[0, 1.0, 2.0, 0], [0, 0, 0, 0.5], [0, 0, 0, -1.0], [0, 0, 0, 0]])


def _rows(n, seed):
    Z = np.random.default_rng(seed).standard_normal((n, 4))
    return Z @ np.linalg.inv(np.eye(4) - DIAMOND)


def test_formulas():
    inverse = np.linalg.inv(np.eye(4) - DIAMOND)
    C = inverse.T @ inverse
    np.testing.assert_allclose(
        effects_of(C, DIAMOND != 0, "direct"), DIAMOND, atol=1e-12
    )
    np.testing.assert_allclose(
        effects_of(C, DIAMOND != 0, "total"), inverse, atol=1e-12
    )


def test_shapes_and_estimate(global_random_seed):
    frame = pd.DataFrame(_rows(400, global_random_seed), columns=list("abcd"))
    learner = clone(SQUARED).fit(frame)
    for kind, expected in (
        ("total", learner.total_effects_),
        ("direct", learner.adjacency_),
    ):
        found = effect_intervals(
            learner, frame, kind=kind, n_bootstraps=50, random_state=0
        )
        np.testing.assert_allclose(found.estimate, expected, atol=1e-8)
        assert found.low.shape == (4, 4)
        one = effect_intervals(
            learner,
            frame,
            source="a",
            target="d",
            kind=kind,
            n_bootstraps=50,
            random_state=0,
        )
        assert one.low == found.low[0, 3]
        assert one.draws.shape == (50,)
        row = effect_intervals(
            learner, frame, source=0, kind=kind, n_bootstraps=50, random_state=0
        )
        np.testing.assert_array_equal(row.high, found.high[0])
        assert (found.low <= found.high).all()


@pytest.mark.parametrize("relearn", [False, True])
def test_workers(relearn):
    X = _rows(200, 0)
    make = {"n_bootstraps": 10, "random_state": 0, "relearn": relearn}
    one = effect_intervals(SQUARED, X, **make)
    two = effect_intervals(SQUARED, X, n_jobs=2, **make)
    np.testing.assert_array_equal(one.draws, two.draws)


def test_coverage_on_a_given_graph():
    """On the true graph the interval has about its level."""
    covered = []
    learner = TopologicalSwap(init=DIAMOND, loss="squared").fit(_rows(5000, 99))
    for seed in range(60):
        X = _rows(200, seed)
        found = effect_intervals(
            learner, X, source=0, target=3, n_bootstraps=200, random_state=0
        )
        covered.append(found.low <= -1.5 <= found.high)
    assert 0.85 <= np.mean(covered) <= 1.0


def test_relearning_shows_the_doubt():
    """A weak edge comes and goes, so its effect is zero in some of the resamples."""
    data = make_linear_sem(100, 2, n_edges=1, weight_range=(0.25, 0.25), random_state=0)
    i, j = np.argwhere(data.W)[0]
    make = {"source": i, "target": j, "n_bootstraps": 200, "random_state": 0}
    learner = TopologicalSwap("squared", init=data.W, sparsifier=None).fit(data.X)
    fixed = effect_intervals(learner, data.X, **make)
    again = effect_intervals(SQUARED, data.X, relearn=True, **make)
    assert (fixed.draws != 0).all()
    assert (again.draws == 0).any()


def test_bad_input():
    X = _rows(50, 0)
    with pytest.raises(ValueError, match="source=9 is no column"):
        effect_intervals(SQUARED, X, source=9)
    with pytest.raises(ValueError, match="level"):
        effect_intervals(SQUARED, X, level=1.0)
    with pytest.raises(ValueError, match="kind"):
        effect_intervals(SQUARED, X, kind="indirect")
    with pytest.raises(ValueError, match="4 columns"):
        effect_intervals(clone(SQUARED).fit(X), X[:, :3])
