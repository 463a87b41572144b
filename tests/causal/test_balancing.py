# SPDX-License-Identifier: BSD-3-Clause
"""Entropy balancing: optimality, balance, effects, what cannot be balanced."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression

from skpapers.causal import EntropyBalancing, balance_weights
from skpapers.utils import DataConditionWarning


def observational(rng, n=400):
    """Draw covariates, a treatment that depends on them, and an outcome.

    The effect is 1 + 0.5 x0.
    """
    X = rng.standard_normal((n, 3))
    T = rng.random(n) < expit(X @ [0.6, -0.4, 0.2])
    outcome = X @ [1, 2, -1] + T * (1 + 0.5 * X[:, 0]) + rng.standard_normal(n)
    return X, T, outcome


def test_weights_equal_those_of_the_primal_problem(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, q = rng.standard_normal((12, 2)), rng.dirichlet(np.full(12, 5.0))
    target = 0.8 * (rng.dirichlet(np.full(12, 3.0)) @ X)
    w = balance_weights(X, target, q)
    found = minimize(
        lambda w: w @ np.log(w / q),
        q,
        jac=lambda w: np.log(w / q) + 1,
        method="SLSQP",
        bounds=[(1e-9, 1)] * 12,
        constraints={
            "type": "eq",
            "fun": lambda w: np.r_[w @ X - target, w.sum() - 1],
            "jac": lambda w: np.vstack([X.T, np.ones(12)]),
        },
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.success
    np.testing.assert_allclose(w, found.x, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(10, 60),
    scale=st.sampled_from([1e-150, 1e-3, 1.0, 1e5, 1e150]),
    shift=st.sampled_from([0.0, 1.0, 100.0]),
)
def test_target_is_hit_whatever_the_units(seed, n, scale, shift):
    rng = np.random.default_rng(seed)
    X = scale * (rng.standard_normal((n, 3)) + shift)
    target = rng.dirichlet(np.ones(n)) @ X  # inside the hull
    w = balance_weights(X, target)
    assert (w >= 0).all()
    assert w.sum() == pytest.approx(1)
    assert np.abs((w @ X - target) / X.std(axis=0)).max() <= 1e-7


def test_weights_are_exponential_in_the_moments(global_random_seed):
    """log w is affine in the moments, so two moments explain it without rest."""
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((50, 2))
    w = balance_weights(X, [0.2, -0.1])
    assert LinearRegression().fit(X, np.log(w)).score(X, np.log(w)) > 1 - 1e-9


def test_all_moments_of_a_target_population(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = np.c_[rng.standard_normal((500, 2)), rng.random(500) < 0.5]
    target = np.c_[0.2 + 0.9 * rng.standard_normal((300, 2)), rng.random(300) < 0.6]
    w = balance_weights(X, target, moments=3, interactions=True)
    for power in (1, 2, 3):
        np.testing.assert_allclose(w @ X**power, (target**power).mean(0), atol=1e-7)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        wanted = (target[:, i] * target[:, j]).mean()
        assert w @ (X[:, i] * X[:, j]) == pytest.approx(wanted, abs=1e-7)


def test_target_already_hit_leaves_the_base_weights(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, q = rng.standard_normal((30, 4)), rng.dirichlet(np.ones(30))
    np.testing.assert_allclose(balance_weights(X, q @ X, q), q, rtol=1e-6)


def test_dependent_moments_do_no_harm(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((60, 2))
    plain = balance_weights(X, [0.1, 0.2])
    doubled = balance_weights(np.c_[X, X[:, 0], X.sum(axis=1)], [0.1, 0.2, 0.1, 0.3])
    np.testing.assert_allclose(doubled, plain, atol=1e-7)


@pytest.mark.parametrize("estimand", ["ATE", "ATT", "ATC"])
def test_groups_are_alike_afterwards(estimand, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, T, _ = observational(rng)
    balancing = EntropyBalancing(estimand).fit(X, T)
    population = {"ATE": slice(None), "ATT": T, "ATC": ~T}[estimand]
    for group in (T, ~T):
        w = balancing.weights_[group]
        assert w.sum() == pytest.approx(group.sum())
        np.testing.assert_allclose(
            w @ X[group] / w.sum(), X[population].mean(axis=0), atol=1e-6
        )
    if estimand == "ATT":
        np.testing.assert_array_equal(balancing.weights_[T], 1.0)
        assert balancing.effective_sample_size_[1] == pytest.approx(T.sum())
        scale = X[T].std(axis=0)
        raw = (X[T].mean(axis=0) - X[~T].mean(axis=0)) / scale
        np.testing.assert_allclose(balancing.balance_["difference_before"], raw)
    assert np.abs(balancing.balance_["difference_after"]).max() < 1e-7
    assert (balancing.effective_sample_size_ <= [(~T).sum(), T.sum()]).all()


def test_one_binary_covariate_is_stratification(global_random_seed):
    """With one binary covariate the effect is the mean of the effects of the strata."""
    rng = np.random.default_rng(global_random_seed)
    x = rng.random(300) < 0.4
    T = rng.random(300) < np.where(x, 0.7, 0.3)
    outcome = x + T + rng.standard_normal(300)
    for estimand, share in (("ATE", x.mean()), ("ATT", x[T].mean())):
        fitted = EntropyBalancing(estimand).fit(x[:, None], T)
        strata = [
            outcome[T & (x == k)].mean() - outcome[~T & (x == k)].mean()
            for k in (False, True)
        ]
        found = fitted.estimate_effect(x[:, None], T, outcome)
        assert found.effect == pytest.approx(
            (1 - share) * strata[0] + share * strata[1]
        )


def test_effect_is_exact_for_a_linear_outcome_without_noise(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, T, _ = observational(rng)
    outcome = X @ [3, -1, 0.5] + 2 * T
    found = EntropyBalancing().fit(X, T).estimate_effect(X, T, outcome)
    assert found.effect == pytest.approx(2, abs=1e-6)
    assert found.standard_error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("estimand", ["ATE", "ATT"])
def test_intervals_cover(estimand, global_random_seed):
    """Of 200 intervals at 90 %, 95 % of binomial draws would hold 172 to 188."""
    rng = np.random.default_rng(global_random_seed)
    people = rng.standard_normal((200_000, 3))
    share = expit(people @ [0.6, -0.4, 0.2]) if estimand == "ATT" else 1
    truth = 1 + 0.5 * np.average(people[:, 0], weights=share * np.ones(len(people)))
    errors, stated, held = [], [], 0
    for _ in range(200):
        X, T, outcome = observational(rng)
        found = (
            EntropyBalancing(estimand)
            .fit(X, T)
            .estimate_effect(X, T, outcome, level=0.9)
        )
        errors.append(found.effect - truth)
        stated.append(found.standard_error)
        held += found.interval[0] <= truth <= found.interval[1]
    assert 164 <= held <= 194  # four standard deviations of the binomial
    assert np.mean(stated) == pytest.approx(np.std(errors), rel=0.2)
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(200)


def test_weights_are_the_odds_of_a_logistic_propensity(global_random_seed):
    """ATT weights of the untreated converge to exp of the log-odds up to a factor."""
    rng = np.random.default_rng(global_random_seed)
    X, T, _ = observational(rng, n=20_000)
    balancing = EntropyBalancing("ATT").fit(X, T)
    odds = logit(expit(X @ [0.6, -0.4, 0.2]))[~T]
    logs = np.log(balancing.weights_[~T])
    np.testing.assert_allclose(logs - logs.mean(), odds - odds.mean(), atol=0.5)


def test_sample_weights_count_rows(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, T, outcome = observational(rng, 150)
    count = rng.integers(0, 4, 150)
    weighted = EntropyBalancing().fit(X, T, sample_weight=count)
    rows = np.repeat(np.arange(150), count)
    repeated = EntropyBalancing().fit(X[rows], T[rows])
    np.testing.assert_allclose(
        weighted.weights_[rows] / count[rows], repeated.weights_, rtol=1e-6
    )
    left = weighted.estimate_effect(X, T, outcome, sample_weight=count)
    right = repeated.estimate_effect(X[rows], T[rows], outcome[rows])
    assert left.effect == pytest.approx(right.effect)


def test_labels_and_frames(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, T, _ = observational(rng)
    frame = pd.DataFrame(X, columns=["age", "dose", "weight"])
    y = np.where(T, "drug", "placebo")
    balancing = EntropyBalancing("ATT", treated="drug").fit(frame, y)
    assert list(balancing.classes_) == ["placebo", "drug"]
    expected = EntropyBalancing("ATT").fit(X, T)
    np.testing.assert_allclose(balancing.weights_, expected.weights_, rtol=1e-6)
    table = balancing.balance_frame()
    assert list(table.index) == ["age", "dose", "weight"]
    assert list(table.columns) == ["target", "difference_before", "difference_after"]


def test_names_of_moments():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"age": rng.random(80), "smokes": rng.random(80) < 0.5})
    balancing = EntropyBalancing(moments=2, interactions=True)
    balancing.fit(X.astype(float), rng.random(80) < 0.5)
    assert balancing.balance_["moment"] == ["age", "smokes", "age^2", "age smokes"]


def test_says_which_moments_clash(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((80, 3))
    T = np.arange(80) < 20
    X[T, 1] += 20
    with pytest.warns(ConvergenceWarning, match=r"reach the target of x1 .* untreated"):
        EntropyBalancing("ATT").fit(X, T)
    with pytest.warns(ConvergenceWarning, match="x0.*the rows of X"):
        balance_weights(X[:, :1], [50.0])


def test_constant_columns():
    rng = np.random.default_rng(0)
    X, T, _ = observational(rng)
    wide = np.c_[X, np.full(len(X), 7.0)]
    with pytest.warns(DataConditionWarning, match=r"Constant column\(s\) x3"):
        fitted = EntropyBalancing().fit(wide, T)
    np.testing.assert_array_equal(
        fitted.weights_, EntropyBalancing().fit(X, T).weights_
    )
    balance_weights(wide, [0, 0, 0, 7.0])
    with pytest.raises(ValueError, match="x3 of X are constant at another value"):
        balance_weights(wide, [0, 0, 0, 8.0])


def test_bad_input():
    rng = np.random.default_rng(0)
    X, T, outcome = observational(rng, 60)
    with pytest.raises(ValueError, match="X has 3 column"):
        balance_weights(X, [0.0, 0.0])
    with pytest.raises(ValueError, match="target holds means alone"):
        balance_weights(X, np.zeros(3), moments=2)
    with pytest.raises(ValueError, match="NaN"):
        balance_weights(X, [0.0, np.nan, 0.0])
    with pytest.raises(ValueError, match="two labels, treated and untreated, got 3"):
        EntropyBalancing().fit(X, np.arange(60) % 3)
    with pytest.raises(ValueError, match="got 1 class"):
        EntropyBalancing().fit(X, np.ones(60, dtype=int))
    with pytest.raises(ValueError, match="treated='yes' is not among"):
        EntropyBalancing(treated="yes").fit(X, T)
    with pytest.raises(
        ValueError, match="No row with label np.True_|No row with label"
    ):
        EntropyBalancing().fit(X, T, sample_weight=1.0 - T)
    fitted = EntropyBalancing().fit(X, T)
    with pytest.raises(ValueError, match="the fit had 60"):
        fitted.estimate_effect(X[:50], T[:50], outcome[:50])
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        fitted.estimate_effect(X, T, outcome, level=95)


def test_converges_silently_near_the_edge_of_the_hull(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((200, 2))
    corner = X[np.argmax(X[:, 0])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w = balance_weights(X, 0.98 * corner + 0.02 * X.mean(axis=0))
    assert w.max() > 0.5
