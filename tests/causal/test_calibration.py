"""From frequencies to probabilities: fitted where the answer is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.base import BaseEstimator

from skpapers.causal import CoLiDE, StabilityDAG, TopologicalSwap, bootstrap_edges
from skpapers.causal._calibration import (
    Calibration,
    calibrate,
    fit_calibration,
    log_odds,
)
from skpapers.causal._resampling import Moments, Refit, Rows
from skpapers.datasets import make_linear_sem


def random_frequencies(rng, d=12):
    """Return frequencies of which every pair sums to at most one."""
    both, share = rng.beta(0.5, 0.5, (d, d)), rng.random((d, d))
    F = np.triu(both * share, 1)
    return F + np.triu(both * (1 - share), 1).T


def draw_truth(rng, P):
    """Return a graph whose edges have given probabilities."""
    u = rng.random(P.shape)
    forward = np.triu(u < P, 1)
    backward = np.triu((u >= P) & (u < P + P.T), 1)
    return (forward + backward.T).astype(float)


def test_finds_the_map(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    F = [random_frequencies(rng) for _ in range(120)]
    known = Calibration(-0.7, 0.5, 0.4)
    found = fit_calibration(F, [draw_truth(rng, known(f)) for f in F])
    np.testing.assert_allclose([found.a, found.b, found.c], [-0.7, 0.5, 0.4], atol=0.12)
    other = random_frequencies(rng)
    np.testing.assert_allclose(found(other), known(other), atol=0.05)


def test_is_the_optimum(global_random_seed):
    """No other coefficients have a larger posterior, written out with loops."""
    rng = np.random.default_rng(global_random_seed)
    F = [random_frequencies(rng, 5) for _ in range(4)]
    truths = [draw_truth(rng, f) for f in F]
    truths[0][0, 1] = truths[0][1, 0] = 0.5  # cannot be told

    def posterior(a, b, c):
        total = -(a**2 + (b - 1) ** 2 + (c - 1) ** 2) / 2
        for f, T in zip(F, truths, strict=True):
            connected, direction = log_odds(f)
            for i in range(5):
                for j in range(i + 1, 5):
                    p = expit(a + b * connected[i, j])
                    q = expit(c * direction[i, j])
                    there = T[i, j] + T[j, i]
                    total += there * np.log(p) + (1 - there) * np.log(1 - p)
                    total += T[i, j] * np.log(q) + T[j, i] * np.log(1 - q)
        return total

    best = fit_calibration(F, truths)
    values = np.array([best.a, best.b, best.c])
    for step in 1e-2 * rng.standard_normal((20, 3)):
        a, b, c = values + step
        if min(b, c) >= 0:
            assert posterior(a, b, c) < posterior(*values) + 1e-6


def test_probabilities(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    F = random_frequencies(rng)
    identity = Calibration(0.0, 1.0, 1.0)(F)
    np.testing.assert_allclose(identity, F, atol=0.02)
    P = Calibration(*rng.normal(size=1), *rng.uniform(0, 2, 2))(F)
    assert (P >= 0).all()
    assert (P + P.T <= 1 + 1e-12).all()
    assert (np.diag(P) == 0).all()


def test_more_often_is_never_less_probable():
    F = np.array([[0, 0.9], [0.0, 0]])
    misleading = fit_calibration([F, 0 * F] * 20, [0 * F, F > 0] * 20)
    assert misleading.b == 0


def test_simulated_tables_follow_the_model(global_random_seed):
    data = make_linear_sem(
        20_000, 4, n_edges=4, noise="exponential", random_state=global_random_seed
    )
    inverse = np.linalg.inv(np.eye(4) - data.W)
    C = inverse.T @ inverse
    state = np.random.RandomState(0)
    rows = Rows(data.X + 5.0).simulate(data.W, state)
    assert rows.X.shape == data.X.shape
    moments = Moments(np.cov(data.X.T, bias=True), 20_000.0, 0.5)
    simulated = moments.simulate(data.W, state)
    assert simulated.subsample == 0.5
    unit = np.sqrt(np.diag(C))
    for source in (rows, simulated):
        S, n = source.moments()
        assert n == 20_000
        np.testing.assert_allclose(
            S / unit / unit[:, None], C / unit / unit[:, None], atol=0.12
        )
    assert not np.array_equal(rows.X, Rows(data.X + 5.0).X)
    Z = rows.X - rows.X @ data.W
    skewness = ((Z - Z.mean(0)) ** 3).mean(0) / Z.std(0) ** 3
    assert (skewness > 1).all()  # residuals keep their distribution


def test_held_out_rows_are_the_rest(global_random_seed):
    X = np.random.default_rng(global_random_seed).standard_normal((40, 3))
    rows = Rows(X, subsample=0.5)
    drawn, rest = rows.covariance(np.random.RandomState(3))[0], rows.held_out(3)
    table = rows.table(np.random.RandomState(3))
    others = np.array([x for x in rows.X if not (x == table).all(axis=1).any()])
    assert len(others) == 20
    np.testing.assert_allclose(rest, np.cov(others.T, bias=True))
    assert not np.allclose(rest, drawn)
    few = Rows(X[:6])
    np.testing.assert_allclose(few.held_out(0), few.moments()[0])


def test_errors_of_what_is_held_out_are_independent(global_random_seed):
    """Over tables, a resample and what it leaves over are uncorrelated."""
    rng = np.random.default_rng(global_random_seed)
    pairs = {"rows": [], "moments": []}
    for seed in range(1500):
        X = rng.standard_normal((80, 2))
        C = np.cov(X.T, bias=True)
        for name, source in (("rows", Rows(X)), ("moments", Moments(C, 80.0))):
            drawn, _ = source.covariance(np.random.RandomState(seed))
            pairs[name].append((drawn[0, 1], source.held_out(seed)[0, 1]))
    for name in pairs:
        assert abs(np.corrcoef(np.transpose(pairs[name]))[0, 1]) < 0.12
    singular = Moments(np.ones((2, 2)), 5.0)
    np.testing.assert_array_equal(singular.held_out(0), np.ones((2, 2)))


class RowsOnly(BaseEstimator):
    """Says that 0 -> 1, from rows alone."""

    def fit(self, X, y=None):
        self.n_features_in_ = 2
        self.adjacency_ = np.array([[0, np.polyfit(X[:, 0], X[:, 1], 1)[0]], [0, 0]])
        return self

    def get_feature_names_out(self):
        return np.array(["a", "b"])


def test_learners_without_covariances():
    X = np.random.default_rng(0).standard_normal((30, 2))
    refit = Refit.of(RowsOnly().fit(X), Rows(X), None)
    rng = np.random.RandomState(0)
    calibration = calibrate(RowsOnly(), refit, rng, 8, 5, None)
    P = calibration(np.array([[0, 1.0], [0, 0]]))
    assert P[0, 1] > 0.9  # right in all simulations


@pytest.mark.parametrize("learner", [TopologicalSwap("bic"), CoLiDE()])
def test_does_not_depend_on_workers(learner):
    X = make_linear_sem(100, 4, n_edges=4, random_state=0).X
    results = [
        bootstrap_edges(
            learner, X, 6, n_calibrations=3, random_state=0, n_jobs=n_jobs
        ).calibrated_probabilities
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(*results)
    plain = bootstrap_edges(learner, X, 6, random_state=0)
    assert "calibrated_probabilities" not in plain


def test_estimator():
    data = make_linear_sem(200, 4, n_edges=4, random_state=0)
    frame = pd.DataFrame(data.X, columns=list("abcd"))
    learner = TopologicalSwap("bic", forbidden_edges=[("a", "b")])
    stable = StabilityDAG(learner, n_bootstraps=20, n_calibrations=3, random_state=0)
    P = stable.fit(frame).calibrated_probabilities_
    assert P.shape == (4, 4)
    assert (P + P.T <= 1 + 1e-12).all()
    stable.set_params(n_calibrations=0).fit(frame)
    assert not hasattr(stable, "calibrated_probabilities_")
    stable.set_params(n_calibrations=2).fit_covariance(frame.cov(), 200)
    assert stable.calibrated_probabilities_.shape == (4, 4)
    with pytest.raises(ValueError, match="n_calibrations"):
        stable.set_params(n_calibrations=-1).fit(frame)
