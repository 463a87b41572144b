# SPDX-License-Identifier: BSD-3-Clause
"""Classifiers as the scores see them, against finite differences and autograd."""

import warnings
from copy import deepcopy
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skpapers.data_selection import _chunks
from skpapers.data_selection._chunks import passes
from skpapers.data_selection._models import as_model
from skpapers.data_selection._models._dense import DenseModel
from skpapers.data_selection._models._probabilities import ProbabilityPass
from skpapers.utils import DataConditionWarning


def mlp(*hidden, activation="relu"):
    return MLPClassifier(hidden, activation=activation, max_iter=3, solver="adam")


ESTIMATORS = {
    "softmax": LogisticRegression(),
    "softmax, no intercept": LogisticRegression(fit_intercept=False),
    "softmax, cv": LogisticRegressionCV(Cs=2, cv=2),
    "one vs rest": SGDClassifier(loss="log_loss", max_iter=3, tol=None),
    "one vs rest, no intercept": SGDClassifier(
        loss="log_loss", fit_intercept=False, max_iter=3, tol=None
    ),
    "relu": mlp(5),
    "tanh, 2": mlp(5, 4, activation="tanh"),
    "logistic, 3": mlp(5, 4, 3, activation="logistic"),
    "identity": mlp(4, activation="identity"),
}
DATA = {
    K: make_classification(
        40, 6, n_informative=5, n_redundant=0, n_classes=K, random_state=0
    )
    for K in (2, 3)
}


def fitted(name, K, seed=0):
    """Return a classifier of one's own, with its rows and labels."""
    return deepcopy(_fitted(name, K, seed)), *DATA[K]


@cache
def _fitted(name, K, seed):
    X, y = DATA[K]
    estimator = clone(ESTIMATORS[name])
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # trained for a moment only
        return estimator.fit(X, y)


def losses(model, X, codes):
    """Return the loss of each row that the classifier was trained with."""
    p = model.run(X)
    if model.loss == "one-vs-rest":
        signs = np.where(np.arange(len(model.classes_)) == codes[:, None], -1, 1)
        return np.logaddexp(0, signs * p.logits).sum(axis=1)
    return -p.log_proba[np.arange(len(codes)), codes]


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_gradient_norms_equal_finite_differences(name, K, global_random_seed):
    estimator, X, y = fitted(name, K, global_random_seed)
    model, step = as_model(estimator).snapshot(), 1e-6
    model.weights = [W.astype(float).copy() for W in model.weights]
    model.intercepts = [b.astype(float).copy() for b in model.intercepts]
    norms, by_layer = model.run(X).gradient_norms(y), []
    for k in range(len(model.weights)):
        total = np.zeros(len(X))
        parameters = [model.weights[k]]
        if model.has_intercept:
            parameters.append(model.intercepts[k])
        for parameter in parameters:
            for place in np.ndindex(parameter.shape):
                kept, found = parameter[place], []
                for sign in (1, -1):
                    parameter[place] = kept + sign * step
                    found.append(losses(model, X, y))
                parameter[place] = kept
                total += ((found[0] - found[1]) / (2 * step)) ** 2
        by_layer.append(np.sqrt(total))
        np.testing.assert_allclose(
            model.run(X).gradient_norms(y, layers=[k]),
            by_layer[k],
            rtol=2e-5,
            atol=1e-8,
        )
    np.testing.assert_allclose(
        norms, np.linalg.norm(by_layer, axis=0), rtol=2e-5, atol=1e-8
    )


@pytest.mark.parametrize("output", ["proba", "logit"])
@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_input_gradients_equal_finite_differences(name, K, output):
    estimator, X, y = fitted(name, K)
    model, step, rows = as_model(estimator), 1e-6, np.arange(len(y))

    def value(X):
        p = model.run(X)
        if output == "proba":
            return np.exp(p.log_proba[rows, y])
        if model.loss == "binary":
            return np.where(y == 1, p.z, -p.z)
        return p.logits[rows, y]

    found = model.run(X).input_gradients(y, output)
    for j in range(X.shape[1]):
        shift = step * np.eye(X.shape[1])[j]
        slope = (value(X + shift) - value(X - shift)) / (2 * step)
        np.testing.assert_allclose(found[:, j], slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_probabilities_and_sparse_rows(name, K):
    estimator, X, y = fitted(name, K)
    model = as_model(estimator)
    p = model.run(X)
    np.testing.assert_allclose(
        np.exp(p.log_proba), estimator.predict_proba(X), atol=1e-12
    )
    truth = estimator.predict_proba(X) - np.eye(K)[y]
    np.testing.assert_allclose(p.errors(y), truth, atol=1e-12)
    sparse = model.run(csr_array(X))
    np.testing.assert_allclose(
        sparse.gradient_norms(y), p.gradient_norms(y), rtol=1e-10
    )
    np.testing.assert_allclose(
        sparse.input_gradients(y), p.input_gradients(y), rtol=1e-8, atol=1e-14
    )


@pytest.mark.parametrize("K", [2, 3])
def test_sure_rows_keep_their_order(K):
    """1 - p would be 0 for all of them."""
    model = DenseModel(
        [np.eye(1, K - (K == 2))],
        [np.zeros(K - (K == 2))],
        True,
        "identity",
        "binary" if K == 2 else "softmax",
        np.arange(K),
    )
    X = np.array([[40.0], [60.0], [300.0]])
    codes = np.full(3, int(K == 2))
    errors = model.run(X).errors(codes)
    size = np.linalg.norm(errors, axis=1)
    assert (np.diff(size) < 0).all()
    assert size[-1] > 0
    others = np.delete(errors, codes[0], axis=1)
    np.testing.assert_array_equal(-errors[:, codes[0]], others.sum(axis=1))


def test_linear_closed_forms():
    estimator, X, y = fitted("softmax", 3)
    p = as_model(estimator).run(X)
    el2n = np.linalg.norm(p.errors(y), axis=1)
    np.testing.assert_allclose(
        p.gradient_norms(y), el2n * np.sqrt((X**2).sum(axis=1) + 1), rtol=1e-12
    )
    proba, W = estimator.predict_proba(X), estimator.coef_
    expected = proba[np.arange(40), y][:, None] * (W[y] - proba @ W)
    np.testing.assert_allclose(p.input_gradients(y), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "tanh, 2"])
def test_snapshot_outlives_training(name):
    estimator, X, y = fitted(name, 3)
    model = as_model(estimator).snapshot()
    before = model.run(X).gradient_norms(y)
    for W in getattr(estimator, "coefs_", [getattr(estimator, "coef_", None)]):
        W += 1.0
    np.testing.assert_array_equal(model.run(X).gradient_norms(y), before)


def test_pipelines_see_transformed_rows():
    X, y = DATA[3]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    last = as_model(pipeline[-1]).run(pipeline[:-1].transform(X))
    model = as_model(pipeline)
    assert model.is_differentiable
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    np.testing.assert_array_equal(
        model.snapshot().run(X).gradient_norms(y), last.gradient_norms(y)
    )


def test_other_classifiers_have_probabilities_only():
    X, y = DATA[2]
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    model = as_model(forest)
    assert not model.is_differentiable
    p = model.snapshot().run(X)
    np.testing.assert_allclose(p.errors(y), forest.predict_proba(X) - np.eye(2)[y])
    assert np.isfinite(p.log_proba).all()
    for gradients in (p.gradient_norms, p.input_gradients):
        with pytest.raises(TypeError, match=r"RandomForestClassifier.*EL2NScorer"):
            gradients(y)
    assert not as_model(GaussianNB().fit(X, y)).is_differentiable
    huber = SGDClassifier(loss="modified_huber", random_state=0).fit(X, y)
    assert not as_model(huber).is_differentiable


def test_what_cannot_be_scored_is_named():
    X, y = DATA[2]
    with pytest.raises(TypeError, match="LinearSVC has none"):
        as_model(LinearSVC().fit(X, y))
    many = np.column_stack([y, 1 - y])
    network = MLPClassifier((3,), max_iter=300, random_state=0, tol=1.0).fit(X, many)
    with pytest.raises(TypeError, match="one label a row"):
        as_model(network)
    estimator, X, y = fitted("relu", 3)
    for layers in ([2], [-3], []):
        with pytest.raises(ValueError, match="2 layers"):
            as_model(estimator).run(X).gradient_norms(y, layers=layers)
    with pytest.warns(DataConditionWarning, match="sum to 1"):
        ProbabilityPass([[0.5, 0.6]])
    with pytest.raises(ValueError, match="finite"):
        ProbabilityPass([[0.5, np.nan]])
    with pytest.raises(ValueError, match="without a positive"):
        ProbabilityPass([[0.0, -0.1]])


@given(st.integers(1, 2000))
@settings(max_examples=20, deadline=None)
def test_chunks_change_nothing(n_bytes):
    estimator, X, y = fitted("softmax", 3)
    model = as_model(estimator)
    whole = model.run(X).gradient_norms(y)
    old, _chunks.WORKING_BYTES = _chunks.WORKING_BYTES, n_bytes
    try:
        parts = [(rows, p.gradient_norms(y[rows])) for rows, p in passes(model, X)]
    finally:
        _chunks.WORKING_BYTES = old
    assert [row for rows, _ in parts for row in range(40)[rows]] == list(range(40))
    found = np.concatenate([norms for _, norms in parts])
    np.testing.assert_allclose(found, whole, rtol=1e-12)
