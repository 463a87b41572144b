# SPDX-License-Identifier: BSD-3-Clause
"""TopologicalSwap with the losses of unequal variances, and their choice."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from skpapers.causal import TopologicalSwap, bic_score
from skpapers.datasets import make_linear_sem
from skpapers.metrics import dag_to_cpdag
from skpapers.utils import DataConditionWarning


def unequal_draw(seed, d=10):
    return make_linear_sem(
        2000, d, weight_range=(0.5, 1.5), noise_variance=(0.5, 10), random_state=seed
    )


def test_bic_does_not_see_the_units(global_random_seed):
    X = unequal_draw(global_random_seed).X
    raw = TopologicalSwap(loss="bic", random_state=0).fit(X)
    scaled = TopologicalSwap(loss="bic", random_state=0).fit(X * 2.0 ** np.arange(10))
    np.testing.assert_array_equal(raw.adjacency_ != 0, scaled.adjacency_ != 0)
    assert raw.loss_ == "bic"
    assert raw.bic_ == pytest.approx(bic_score(X, raw.adjacency_), abs=1e-5)
    assert raw.objective_ == pytest.approx(raw.bic_, abs=1e-5)
    assert (np.diff(raw.history_) <= 0).all()
    assert raw.n_iter_ == len(raw.history_) == 101
    np.testing.assert_array_equal(raw.cpdag_, dag_to_cpdag(raw.adjacency_ != 0))


@pytest.mark.parametrize("standardise", [False, True])
def test_auto_chooses_by_evidence(standardise, global_random_seed):
    equal = make_linear_sem(1000, 10, 20, random_state=global_random_seed).X
    unequal = unequal_draw(global_random_seed).X
    for X, loss in ((equal, "bic" if standardise else "squared"), (unequal, "bic")):
        X = X / X.std(axis=0) if standardise else X
        auto = TopologicalSwap(loss="auto", random_state=0).fit(X)
        assert auto.loss_ == loss
        chosen = TopologicalSwap(loss=loss, random_state=0).fit(X)
        np.testing.assert_array_equal(auto.adjacency_, chosen.adjacency_)
        assert (auto.equal_variance_pvalue_ > 1e-4) == (loss == "squared")
        choice = auto.loss_choice_
        assert choice[loss] == min(choice["squared"], choice["bic"])
        assert choice["reason"].startswith(f"{loss!r}: ")
        assert f"p = {auto.equal_variance_pvalue_:.3g}" in choice["reason"]
        d, n = X.shape[1], len(X)
        other = TopologicalSwap(loss="bic", random_state=0).fit(X)
        assert_allclose(choice["bic"], other.bic_ + d * np.log(n))
        ordered = TopologicalSwap(loss="squared").fit(X)
        assert ordered.equal_variance_pvalue_ == auto.equal_variance_pvalue_
        Z = ordered.transform(X)
        kurtosis = ((Z**4).mean(axis=0) / (Z**2).mean(axis=0) ** 2).mean()
        assert choice["kurtosis"] == pytest.approx(kurtosis)
        logs = np.log((Z**2).mean(axis=0))
        ratio = n * (d * np.log((Z**2).mean()) - logs.sum()) / ((kurtosis - 1) / 2)
        assert auto.equal_variance_pvalue_ == pytest.approx(chi2.sf(ratio, d - 1))
        n_parameters = 2 * np.count_nonzero(ordered.adjacency_) + 1
        expected = n * logs.sum() + ratio + n_parameters * np.log(n)
        assert_allclose(choice["squared"], expected)
        assert not hasattr(auto.set_params(loss=loss).fit(X), "loss_choice_")


@pytest.mark.parametrize("noise", ["exponential", "uniform"])
def test_tails_do_not_mislead_the_test_of_equal_variances(noise, global_random_seed):
    """If it were normal, exponential noise would have p-values of about 1e-8."""
    pvalues, first = [], 100 * global_random_seed
    for seed in range(first, first + 20):
        X = make_linear_sem(1000, 20, 40, noise=noise, random_state=seed).X
        pvalues.append(TopologicalSwap(loss="squared").fit(X).equal_variance_pvalue_)
    assert np.min(pvalues) > 1e-5
    assert 0.2 < np.mean(pvalues) < 0.8


def test_auto_is_not_misled_by_tails():
    """Noise of equal variances, t with five degrees of freedom."""
    for seed in (326, 337):
        data = make_linear_sem(1000, 20, random_state=seed)
        Z = np.random.default_rng(seed).standard_t(5, (1000, 20))
        X = np.linalg.solve(np.eye(20) - data.W.T, Z.T).T
        learner = TopologicalSwap(n_restarts=20, random_state=0).fit(X)
        assert learner.loss_ == "squared"
        assert learner.loss_choice_["kurtosis"] > 4


def test_tails_of_weighted_rows_and_of_covariances(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = make_linear_sem(
        200, 6, 9, noise="exponential", random_state=global_random_seed
    ).X
    weight = rng.integers(0, 4, 200)
    options = {"n_restarts": 5, "random_state": 0}
    weighted = TopologicalSwap(**options).fit(X, sample_weight=weight)
    repeated = TopologicalSwap(**options).fit(np.repeat(X, weight, axis=0))
    kurtosis = weighted.loss_choice_["kurtosis"]
    assert kurtosis == pytest.approx(repeated.loss_choice_["kurtosis"])
    assert kurtosis > 4
    with_constant = np.insert(X, 2, 7.0, axis=1)
    with pytest.warns(DataConditionWarning, match="Constant"):
        inserted = TopologicalSwap(**options).fit(with_constant, sample_weight=weight)
    assert inserted.loss_choice_["kurtosis"] == pytest.approx(kurtosis)
    C = np.cov(X.T, bias=True)
    known = TopologicalSwap(**options).fit_covariance(C, 200)
    assert known.loss_choice_["kurtosis"] == 3.0


def test_auto_has_no_choice_on_a_singular_covariance(global_random_seed):
    X = unequal_draw(global_random_seed, 5).X
    for table, match in ((X[:5], "too few"), (np.column_stack([X, X[:, 0]]), "depend")):
        learner = TopologicalSwap(random_state=0)
        with pytest.warns(DataConditionWarning, match=match) as told:
            learner.fit(table)
        assert len(told) == 1
        assert learner.loss_ == "bic"
        assert "singular" in learner.loss_choice_["reason"]
        assert np.isfinite(learner.bic_)


def test_bic_respects_knowledge_by_name(global_random_seed):
    X = pd.DataFrame(unequal_draw(global_random_seed, 5).X, columns=list("abcde"))
    X["constant"] = 1.0
    learner = TopologicalSwap(
        loss="auto",
        forbidden_edges=[("a", "b"), ("b", "a")],
        required_edges=[("c", "e")],
        tiers=[["c", "d"], ["a"]],
        n_restarts=10,
        random_state=0,
    )
    with pytest.warns(DataConditionWarning, match="constant"):
        learner.fit(X)
    A = learner.adjacency_ != 0
    assert learner.loss_ == "bic"
    assert A[2, 4]
    assert not A[0, 1]
    assert not A[1, 0]
    assert not A[0, [2, 3]].any()


def test_bic_is_deterministic_and_starts_where_told(global_random_seed):
    X = unequal_draw(global_random_seed).X
    options = {"loss": "bic", "n_init": 3, "n_restarts": 5, "random_state": 1}
    one, two = (TopologicalSwap(n_jobs=n, **options).fit(X) for n in (1, 2))
    np.testing.assert_array_equal(one.adjacency_, two.adjacency_)
    warm = TopologicalSwap(loss="bic", init=one, n_restarts=20, random_state=1).fit(X)
    assert warm.objective_ <= warm.start_objective_


def test_bic_warns_when_capped(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((300, 6))
    X[:, 0] += 3 * X[:, 1:].sum(axis=1)
    learner = TopologicalSwap(
        loss="bic", max_parents=1, tiers=[[1, 2, 3, 4, 5], [0]], n_restarts=3
    )
    with pytest.warns(ConvergenceWarning, match="max_parents=1"):
        learner.fit(X)


@pytest.mark.parametrize("sparsifier", ["bic_l0", "adaptive_lasso", "threshold", None])
def test_required_edges_stay_where_a_loss_cuts_them(sparsifier, global_random_seed):
    """A lasso of noise columns, all of whose weights are zero."""

    def lasso(P, x):
        if not P.shape[1]:
            return float(x @ x) / len(x) / 2, np.zeros(0)
        model = Lasso(alpha=0.5, fit_intercept=False).fit(P, x)
        rest = x - P @ model.coef_
        score = rest @ rest / len(x) / 2 + 0.5 * np.abs(model.coef_).sum()
        return float(score), model.coef_

    X = np.random.default_rng(global_random_seed).standard_normal((300, 4))
    required = np.zeros((4, 4), dtype=bool)
    required[3, [0, 1]] = True
    learner = TopologicalSwap(lasso, sparsifier=sparsifier, required_edges=required)
    learner.fit(X)
    assert (learner.adjacency_[required] != 0).all()
    np.testing.assert_allclose(learner.adjacency_, 0, atol=1e-30)
