# SPDX-License-Identifier: BSD-3-Clause
"""The report on what the scale of the columns decides."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import kendalltau
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.utils.validation import check_is_fitted

from skpapers.causal import TopologicalSwap, sortability_report
from skpapers.causal._sort_regress import SortRegress
from skpapers.datasets import make_linear_sem
from skpapers.metrics import structural_hamming_distance, variance_sortability
from skpapers.utils import DataConditionWarning


def table(seed, d=12):
    return make_linear_sem(1000, d, 3 * d if d > 6 else 8, random_state=seed).X


def standardized(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


def test_figures_are_what_they_say(global_random_seed):
    X = table(global_random_seed)
    learner = TopologicalSwap(loss="squared")
    report = sortability_report(X, learner)
    raw, other = clone(learner).fit(X), clone(learner).fit(standardized(X))
    A, B = raw.adjacency_ != 0, other.adjacency_ != 0
    position = np.argsort(raw.causal_order_)
    assert report.kendall_tau == pytest.approx(
        kendalltau(position, X.var(axis=0)).statistic
    )
    assert report.edge_agreement == variance_sortability(X, raw.adjacency_)
    assert (report.n_edges, report.n_edges_standardized) == (A.sum(), B.sum())
    assert report.shd == structural_hamming_distance(A, B)
    either = A | A.T | B | B.T
    assert report.change == report.shd / (either.sum() / 2)
    assert 0 <= report.change <= 1
    assert len(report.lost) + len(report.added) + len(report.reversed) == report.shd
    for source, target in report.reversed:
        i, j = int(source[1:]), int(target[1:])
        assert A[i, j]
        assert B[j, i]


def test_simulated_data_are_scale_driven(global_random_seed):
    report = sortability_report(table(global_random_seed), SortRegress())
    assert report.kendall_tau == pytest.approx(1)
    assert report.edge_agreement == 1
    assert report.follows_variance
    assert report.depends_on_scale
    text = repr(report)
    assert str(report) == text
    assert "the graph sorts the columns by their variance" in text
    assert report.warning in " ".join(text.split())
    assert f"{report.n_edges} and {report.n_edges_standardized}" in text


def test_scale_free_learner_does_not_change(global_random_seed):
    X = table(global_random_seed)
    report = sortability_report(X, SortRegress("r2", sparsifier="bic_l0"))
    assert report.shd == 0
    assert report.change == 0
    assert not report.depends_on_scale
    assert report.lost == report.added == report.reversed == []


def test_equal_variances_are_named(global_random_seed):
    report = sortability_report(
        standardized(table(global_random_seed)), SortRegress("r2")
    )
    assert np.isnan(report.kendall_tau)
    assert report.edge_agreement == 0.5
    assert not report.follows_variance
    assert "all columns have the same variance" in report.warning


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_names_are_kept(frame, global_random_seed):
    X = table(global_random_seed, d=5)
    names = ["a", "b", "c", "d", "e"]
    report = sortability_report(
        frame(dict(zip(names, X.T, strict=True))), SortRegress()
    )
    plain = sortability_report(X, SortRegress())
    assert report.shd == plain.shd
    for kind in ("lost", "added", "reversed"):
        expected = [
            tuple(names[int(end[1:])] for end in edge) for edge in getattr(plain, kind)
        ]
        assert getattr(report, kind) == expected


def test_nothing_is_changed(global_random_seed):
    X = table(global_random_seed, d=5)
    kept = X.copy()
    X.setflags(write=False)
    learner = SortRegress()
    sortability_report(X, learner)
    np.testing.assert_array_equal(X, kept)
    with pytest.raises(Exception, match="not fitted"):
        check_is_fitted(learner)
    fitted = SortRegress().fit(X[:500])
    before = fitted.adjacency_.copy()
    report = sortability_report(X, fitted)
    np.testing.assert_array_equal(fitted.adjacency_, before)
    assert report == sortability_report(X, SortRegress())


def test_small_and_odd_tables():
    rng = np.random.default_rng(0)
    one = sortability_report(rng.standard_normal((20, 1)), SortRegress())
    assert one.n_edges == one.shd == 0
    assert np.isnan(one.edge_agreement)
    X = np.column_stack([rng.standard_normal((50, 2)) * [1, 1e150], np.ones(50)])
    with pytest.warns(DataConditionWarning, match="Constant"):
        report = sortability_report(X, SortRegress(w_threshold=0.0))
    assert report.n_edges <= 1


def test_bad_input():
    X = np.random.default_rng(0).standard_normal((20, 3))
    with pytest.raises(TypeError, match="has no adjacency_ and no causal_order_"):
        sortability_report(X, KMeans(2, n_init=1))
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        sortability_report(X, SortRegress())
