"""Logistic and callable losses: oracles, brute force, local optimality, recovery."""

from itertools import permutations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression

from skpapers.causal import TopologicalSwap
from skpapers.causal._general_losses import (
    NodeFits,
    callable_fits,
    distinct_rows,
    insertion_changes,
    logistic_fits,
    search_insertions,
    select_parents,
)
from skpapers.causal._kernels.logistic import fit_logistic
from skpapers.datasets import make_linear_sem, make_logistic_sem
from skpapers.metrics import structural_hamming_distance

FREE = np.zeros((5, 5), dtype=bool)  # no edge is required


def least_squares(P, x):
    """The squared loss as a callable."""
    weights = np.linalg.lstsq(P, x, rcond=None)[0]
    return 0.5 * np.mean((x - P @ weights) ** 2), weights


def optimality_gap(X, alpha, w, b):
    """Largest violation of the optimality conditions of l1-logistic regression of X0.

    The gradient g of the mean negative log-likelihood is 0 for the intercept,
    -alpha sign(w) where w != 0, and within +-alpha where w = 0.
    """
    residual = expit(X[:, 1:] @ w + b) - X[:, 0]
    gradient = X[:, 1:].T @ residual / len(X)
    used = np.abs(gradient + alpha * np.sign(w))
    gaps = np.where(w != 0, used, np.maximum(np.abs(gradient) - alpha, 0))
    return max(abs(residual.mean()), gaps.max())


def fitted(X, alpha):
    w = np.zeros(X.shape[1])
    parents = np.arange(1, X.shape[1])
    table = distinct_rows(X)
    loss, n_iter = fit_logistic(*table, 0, parents, alpha, True, w, 1e-14, 100)
    assert n_iter <= 100
    return loss, w[:-1], w[-1]


@pytest.mark.kernels
@pytest.mark.parametrize("alpha", [0.0, 0.005, 0.05, 0.5])
def test_logistic_fit_is_optimal(alpha, global_random_seed):
    X = make_logistic_sem(800, 5, 8, random_state=global_random_seed).X
    loss, w, b = fitted(X, alpha)
    assert optimality_gap(X, alpha, w, b) < 1e-6
    margin = X[:, 1:] @ w + b
    expected = np.mean(np.logaddexp(0, margin) - X[:, 0] * margin)
    np.testing.assert_allclose(loss, expected + alpha * np.abs(w).sum(), atol=1e-8)
    if alpha == 0.5:  # no weight is worth it
        assert not w.any()
        np.testing.assert_allclose(expit(b), X[:, 0].mean(), atol=1e-6)


# scikit-learn 1.8 spells "no penalty" otherwise
@pytest.mark.filterwarnings("ignore:Setting penalty=None")
@pytest.mark.parametrize(
    ("alpha", "options", "tolerance"),
    [
        (0.0, {"solver": "newton-cholesky"}, 1e-5),
        (0.005, {"solver": "saga", "l1_ratio": 1.0}, 1e-5),
        # liblinear also penalises intercept_scaling times the intercept
        (
            0.005,
            {"solver": "liblinear", "l1_ratio": 1.0, "intercept_scaling": 1e4},
            1e-3,
        ),
    ],
)
def test_logistic_fit_equals_scikit_learn(
    alpha, options, tolerance, global_random_seed
):
    X = make_logistic_sem(800, 5, 8, random_state=global_random_seed).X
    reference = LogisticRegression(tol=1e-12, max_iter=10_000, random_state=0)
    reference.set_params(C=1 / (len(X) * alpha) if alpha else np.inf, **options)
    reference.set_params(l1_ratio=1.0 if alpha else 0.0).fit(X[:, 1:], X[:, 0])
    _, w, b = fitted(X, alpha)
    np.testing.assert_allclose(w, reference.coef_[0], atol=tolerance)
    np.testing.assert_allclose(b, reference.intercept_[0], atol=tolerance)


@pytest.mark.kernels
def test_separable_columns_have_finite_weights():
    X = np.repeat([[0, 0], [1, 1]], 20, axis=0)
    w = np.zeros(2)
    loss, _ = fit_logistic(
        *distinct_rows(X), 0, np.array([1]), 0.0, True, w, 1e-12, 200
    )
    assert np.isfinite(w).all()
    assert 0 <= loss < 1e-3


def test_insertion_changes_equal_brute_force_and_use_the_cache(global_random_seed):
    X = make_logistic_sem(300, 5, 6, random_state=global_random_seed).X
    fits = logistic_fits(*distinct_rows(X), 0.01)
    order = np.random.default_rng(global_random_seed).permutation(5).tolist()
    losses = fits.order_losses(order)
    for q in range(5):
        changes = insertion_changes(fits, order, losses, q, FREE)
        for p in range(5):
            moved = order.copy()
            moved.insert(p, moved.pop(q))
            fresh = logistic_fits(*distinct_rows(X), 0.01)
            expected = fresh.order_losses(moved).sum() - losses.sum()
            np.testing.assert_allclose(changes[p], expected, atol=1e-9)
    # one regression a node and set: d for the order, at most 2 d (d - 1) more
    assert len(fits.known) <= 5 + 2 * 5 * 4


def test_each_regression_is_done_once():
    calls = []

    def fit(node, parents, start):
        calls.append((node, *parents))
        return float(node), np.zeros(len(parents))

    fits = NodeFits(fit)
    assert fits.loss(2, frozenset({1, 0})) == fits.loss(2, frozenset({0, 1})) == 2.0
    assert calls == [(2, 0, 1)]


def test_search_ends_in_a_local_minimum_near_the_best_order(global_random_seed):
    X = make_logistic_sem(2000, 5, 6, random_state=global_random_seed).X
    fits = logistic_fits(*distinct_rows(X), 0.002)
    order, history, _, converged = search_insertions(
        fits, range(5), FREE, tol=1e-10, max_iter=100
    )
    assert converged
    assert (np.diff(history) < 0).all()
    q = {o: fits.order_losses(list(o)).sum() for o in permutations(range(5))}
    np.testing.assert_allclose(history[-1], q[tuple(order)])
    assert min(q.values()) <= history[-1] + 1e-12
    for v in order:
        rest = [u for u in order if u != v]
        for p in range(5):
            moved = (*rest[:p], v, *rest[p:])
            assert q[moved] >= history[-1] * (1 - 1e-9)


def test_select_parents_finds_the_causes(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = (rng.random((4000, 5)) < 0.5).astype(float)
    X[:, 4] = rng.random(4000) < expit(2 * X[:, 0] - 2 * X[:, 2])
    fits = logistic_fits(*distinct_rows(X), 0.0)
    price = 2 * np.log(4000) / 8000
    assert select_parents(fits, 4, [0, 1, 2, 3], price, 5, FREE) == {0, 2}
    assert len(select_parents(fits, 4, [0, 1, 2, 3], price, 1, FREE)) == 1


def test_logistic_beats_least_squares_on_0_1_data(global_random_seed):
    """Equal variances are wrong for coins; the linear BIC search is only the start."""
    for seed in 2 * global_random_seed + np.arange(2):
        sem = make_logistic_sem(10_000, 8, 12, random_state=int(seed))
        ours, linear = (
            TopologicalSwap(loss=loss).fit(sem.X) for loss in ("logistic", "squared")
        )
        left, right = (
            structural_hamming_distance(sem.W != 0, model.adjacency_ != 0)
            for model in (ours, linear)
        )
        assert left < right
        from_bic = TopologicalSwap(loss="bic").fit(sem.X).causal_order_
        started = TopologicalSwap(loss="logistic", init=from_bic).fit(sem.X)
        assert ours.objective_ <= started.start_objective_ + 1e-9


def test_more_starts_are_not_worse_and_count_from_the_first(global_random_seed):
    X = make_logistic_sem(1000, 6, 8, random_state=global_random_seed).X
    reverse = np.arange(6)[::-1]
    one, four = (
        TopologicalSwap(loss="logistic", init=reverse, n_init=n, random_state=0).fit(X)
        for n in (1, 4)
    )
    assert four.objective_ <= one.objective_ <= one.start_objective_
    assert four.start_objective_ == one.start_objective_
    scored = TopologicalSwap(loss="logistic", init=reverse, max_iter=1)
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        assert scored.fit(X).start_objective_ == one.start_objective_


def test_logistic_model_predicts_scores_and_intervenes(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    a = rng.random(5000) < 0.3
    b = rng.random(5000) < expit(-1 + 2.5 * a)
    X = np.column_stack([a, b, np.ones(5000)]).astype(float)
    with pytest.warns(UserWarning, match="Constant"):
        model = TopologicalSwap(loss="logistic").fit(X)
    assert np.count_nonzero(model.adjacency_) == 1
    cause, effect = np.argwhere(model.adjacency_)[0]
    P = model.predict(X)
    np.testing.assert_allclose(P.mean(axis=0), X.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(model.transform(X), X - P)
    log_density = np.log(np.where(X == 1, P, 1 - P)[:, :2]).sum(axis=1).mean()
    np.testing.assert_allclose(model.score(X), log_density, rtol=1e-9)
    rows = model.intervene({int(cause): 1.0}, n_samples=4000, random_state=0)
    expected = X[X[:, cause] == 1, effect].mean()
    np.testing.assert_allclose(rows[:, effect].mean(), expected, atol=0.05)
    assert (rows[:, cause] == 1).all()
    drawn = model.sample(4000, random_state=1)
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=0.05)
    with pytest.raises(ValueError, match="n_samples"):
        model.intervene({0: 1.0})
    with pytest.raises(ValueError, match="rebuilt"):
        model.inverse_transform(X)
    with pytest.raises(AttributeError, match="not constant"):
        model.total_effects_
    X[:, 2] = rng.standard_normal(5000)
    assert not hasattr(model.set_params(loss="squared").fit(X), "intercept_")


def test_logistic_weights_are_repeated_rows(global_random_seed):
    X = make_logistic_sem(300, 4, 4, random_state=global_random_seed).X
    weight = np.random.default_rng(global_random_seed).integers(0, 3, 300)
    learner = TopologicalSwap(loss="logistic", random_state=0)
    left = clone(learner).fit(X, sample_weight=weight)
    right = clone(learner).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(left.objective_, right.objective_)
    np.testing.assert_allclose(left.adjacency_, right.adjacency_, atol=1e-6)
    np.testing.assert_allclose(left.intercept_, right.intercept_, atol=1e-6)


def test_callable_least_squares_is_the_squared_loss(global_random_seed):
    sem = make_linear_sem(500, 6, 8, random_state=global_random_seed)
    exact = TopologicalSwap(loss="squared").fit(sem.X)
    model = TopologicalSwap(loss=least_squares).fit(sem.X)
    np.testing.assert_allclose(model.objective_, exact.objective_)
    np.testing.assert_array_equal(model.causal_order_, exact.causal_order_)
    np.testing.assert_allclose(model.adjacency_, exact.adjacency_, atol=1e-9)
    np.testing.assert_allclose(model.raw_adjacency_, exact.raw_adjacency_, atol=1e-9)


def test_callable_robust_loss_withstands_outliers(global_random_seed):
    """Least absolute deviations, by reweighting: closer to the truth than squares."""

    def absolute(P, x):
        weights = np.zeros(P.shape[1])
        for _ in range(20):
            inverse = 1 / np.maximum(np.abs(x - P @ weights), 1e-3)
            if P.shape[1]:
                model = LinearRegression(fit_intercept=False)
                weights = model.fit(P, x, sample_weight=inverse).coef_
        return np.mean(np.abs(x - P @ weights)), weights

    rng = np.random.default_rng(global_random_seed)
    cause = rng.standard_normal(600)
    X = np.column_stack([cause, cause + 0.5 * rng.standard_normal(600)])
    X[:30, 1] -= 20 * np.sign(X[:30, 0])
    options = {"sparsifier": None, "init": [0, 1], "max_iter": 1}
    weights = callable_fits(absolute, X - X.mean(axis=0))(1, frozenset({0}))[1]
    squares = least_squares(X[:, :1], X[:, 1])[1]
    assert abs(weights[0] - 1) < 0.2 < abs(squares[0] - 1)
    model = TopologicalSwap(loss=absolute, **{**options, "max_iter": 100}).fit(X)
    assert model.history_[-1] <= model.history_[0]


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (lambda P, x: 1.0, "pair"),
        (lambda P, x: (1.0, np.zeros(P.shape[1] + 1)), "shape"),
        (lambda P, x: (np.nan, np.zeros(P.shape[1])), "finite"),
    ],
)
def test_bad_callables_are_named(loss, match):
    X = np.random.default_rng(0).standard_normal((50, 3))
    with pytest.raises(ValueError, match=match):
        TopologicalSwap(loss=loss).fit(X)


def test_bad_input_is_named():
    X = make_logistic_sem(100, 3, 2, random_state=0).X
    with pytest.raises(ValueError, match=r"zeros and ones; .*x1"):
        TopologicalSwap(loss="logistic").fit(X + np.array([0, 1, 0]))
    learner = TopologicalSwap(loss="logistic")
    with pytest.raises(ValueError, match="partial_fit"):
        learner.partial_fit(X)
    with pytest.raises(ValueError, match="fit_covariance"):
        learner.fit_covariance(np.eye(3), 100)
    with pytest.raises(ValueError, match="adaptive_lasso"):
        learner.set_params(sparsifier="adaptive_lasso").fit(X)
    with pytest.raises(ValueError, match="sample_weight"):
        TopologicalSwap(loss=least_squares).fit(X, sample_weight=np.ones(100))
    with pytest.raises(ValueError, match="tiers"):
        TopologicalSwap(loss=least_squares, tiers=[[0], [0, 2]]).fit(X)
