# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of fitted classifiers: autograd, bounds, influences, bad input."""

import tracemalloc
import warnings

import numpy as np
import pytest
import sklearn
from scipy.sparse import csr_array
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from skpapers.data_selection import (
    GraNdScorer,
    NoisyLabelDetector,
    _gradients,
    el2n_scores,
    gradient_norms,
    input_gradients,
    tracin_influence,
    tracin_self_influence,
    vog_scores,
)
from skpapers.data_selection import _chunks as chunks
from skpapers.data_selection._models import as_model


def network(*hidden, activation="relu"):
    return MLPClassifier(hidden, activation=activation, max_iter=3)


ESTIMATORS = {
    "softmax": LogisticRegression(),
    "no intercept": LogisticRegression(fit_intercept=False),
    "one vs rest": SGDClassifier(loss="log_loss", max_iter=3, tol=None),
    "network": network(6, 5),
    "pipeline": make_pipeline(StandardScaler(), network(4, activation="tanh")),
}


@pytest.fixture(params=[2, 4])
def rows(request, global_random_seed):
    return make_classification(
        60,
        7,
        n_informative=6,
        n_redundant=0,
        n_classes=request.param,
        random_state=global_random_seed,
    )


def fit(name, X, y, seed=0):
    estimator = clone(ESTIMATORS[name])
    for key in estimator.get_params():
        if key.endswith("random_state"):
            estimator.set_params(**{key: seed})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # trained for a moment only
        return estimator.fit(X, y)


def outer_products(pairs, has_intercept):
    """Return the parameter gradients of all rows as one matrix."""
    flat = []
    for a, slopes in pairs:
        inputs = np.hstack([a, np.ones((len(a), 1))]) if has_intercept else a
        flat.append((inputs[:, :, None] * slopes[:, None, :]).reshape(len(a), -1))
    return np.hstack(flat)


def explicit_gradients(estimator, X, y):
    """Return the gradients of the losses of all rows as one matrix."""
    p, codes = as_model(estimator).run(X), np.searchsorted(estimator.classes_, y)
    return outer_products(p.factors(codes), p.has_intercept)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("hidden", [(5,), (6, 5), (6, 5, 4)])
def test_networks_equal_autograd(rows, hidden, activation):
    torch = pytest.importorskip("torch")
    X, y = rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = MLPClassifier(
            hidden, activation=activation, max_iter=5, random_state=0
        ).fit(X, y)
    act = {
        "relu": torch.relu,
        "tanh": torch.tanh,
        "logistic": torch.sigmoid,
        "identity": lambda z: z,
    }[activation]

    def outputs(parameters, x):
        *hidden_layers, (W, b) = parameters
        for W_hidden, b_hidden in hidden_layers:
            x = act(x @ W_hidden + b_hidden)
        z = x @ W + b
        return torch.cat([torch.zeros_like(z), z], -1) if len(b) == 1 else z

    def loss(parameters, x, label):
        return -(torch.log_softmax(outputs(parameters, x), -1) * label).sum()

    parameters = [
        (torch.from_numpy(W), torch.from_numpy(b))
        for W, b in zip(estimator.coefs_, estimator.intercepts_, strict=True)
    ]
    x, labels = torch.from_numpy(X), torch.from_numpy(np.eye(y.max() + 1)[y])
    per_row = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    layers = [
        sum(g.flatten(1).square().sum(1) for g in pair).numpy()
        for pair in per_row(parameters, x, labels)
    ]
    np.testing.assert_allclose(
        gradient_norms(estimator, X, y), np.sqrt(sum(layers)), rtol=1e-9, atol=1e-14
    )
    np.testing.assert_allclose(
        gradient_norms(estimator, X, y, layers=[-1]),
        np.sqrt(layers[-1]),
        rtol=1e-9,
        atol=1e-14,
    )

    def probability(x, label):
        return (torch.softmax(outputs(parameters, x), -1) * label).sum()

    slopes = torch.func.vmap(torch.func.grad(probability))(x, labels).numpy()
    np.testing.assert_allclose(
        input_gradients(estimator, X, y), slopes, rtol=1e-8, atol=1e-12
    )


def test_norms_lie_between_singular_values_of_the_logits(rows):
    X, y = rows
    if len(np.unique(y)) < 3:
        pytest.skip("with one logit, the norm is the bound")
    estimator = fit("network", X, y)
    norms = gradient_norms(estimator, X, y)
    el2n = el2n_scores(y, estimator.predict_proba(X))
    model = as_model(estimator)
    p = model.run(X)
    psi = []  # gradients of each logit
    for k in range(len(model.classes_)):
        slopes = np.zeros_like(p.logits)
        slopes[:, k] = 1.0
        pairs = [(p.inputs[i], d) for i, d in p._backward(slopes)]
        psi.append(outer_products(pairs, has_intercept=True))
    sigma = np.linalg.svd(np.stack(psi, axis=1), compute_uv=False)
    assert (norms <= el2n * sigma[:, 0] * (1 + 1e-9)).all()
    assert (norms >= el2n * sigma[:, -1] * (1 - 1e-9)).all()


def test_closed_forms_of_linear_models(rows):
    X, y = rows
    size = (X**2).sum(axis=1)
    K = len(np.unique(y))
    for name, one in (("softmax", 1), ("no intercept", 0)):
        estimator = fit(name, X, y)
        el2n = el2n_scores(y, estimator.predict_proba(X))
        factor = np.sqrt(size + one) / (np.sqrt(2) if K == 2 else 1)
        np.testing.assert_allclose(
            gradient_norms(estimator, X, y), el2n * factor, rtol=1e-9
        )
    estimator = fit("one vs rest", X, y)
    z = estimator.decision_function(X).reshape(60, -1)
    truth = y[:, None] if K == 2 else np.eye(K)[y]
    error = 1 / (1 + np.exp(-z)) - truth
    expected = np.linalg.norm(error, axis=1) * np.sqrt(size + 1)
    np.testing.assert_allclose(gradient_norms(estimator, X, y), expected, atol=1e-9)


@pytest.mark.parametrize("labels", [["a", "b", "c", "d"], [-3, -2, 7, 9]])
@pytest.mark.parametrize("name", ["softmax", "network"])
def test_names_and_order_of_rows_do_not_matter(rows, name, labels):
    X, y = rows
    named = np.array(labels)[y]
    norms = gradient_norms(fit(name, X, y), X, y)
    estimator = fit(name, X, named)
    np.testing.assert_allclose(gradient_norms(estimator, X, named), norms, rtol=1e-9)
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_allclose(
        gradient_norms(estimator, X[order], named[order]), norms[order], rtol=1e-9
    )
    slopes = input_gradients(estimator, X, named)
    np.testing.assert_allclose(
        input_gradients(estimator, X[order], named[order]), slopes[order], rtol=1e-9
    )


@pytest.mark.parametrize("name", ["softmax", "one vs rest", "network"])
def test_sparse_rows(rows, name):
    X, y = rows
    X = X * (np.abs(X) > 0.7)
    estimator = fit(name, X, y)
    sparse = csr_array(X)
    for function in (gradient_norms, input_gradients):
        np.testing.assert_allclose(
            function(estimator, sparse, y), function(estimator, X, y), rtol=1e-9
        )
    found = tracin_influence([estimator], sparse, y, X[:5], y[:5])
    np.testing.assert_allclose(
        found, tracin_influence([estimator], X, y, X[:5], y[:5]), atol=1e-10
    )
    np.testing.assert_allclose(
        tracin_influence([estimator], sparse, y),
        tracin_influence([estimator], X, y),
        atol=1e-10,
    )


def test_float32(rows):
    X, y = rows
    small = X.astype(np.float32)
    for name in ("softmax", "network"):
        estimator = fit(name, small, y)
        found = gradient_norms(estimator, small, y)
        assert found.dtype == np.float64
        exact = gradient_norms(estimator, small.astype(float), y)
        np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-5)


def test_chunks_of_input_gradients(rows, monkeypatch):
    X, y = rows
    estimator = fit("network", X, y)
    whole = input_gradients(estimator, X, y, output="logit")
    monkeypatch.setattr(chunks, "WORKING_BYTES", 2000)
    parts = input_gradients(estimator, X, y, output="logit")
    np.testing.assert_allclose(parts, whole, rtol=1e-12, atol=1e-14)


def test_logits_of_linear_models_have_no_class_norm(rows):
    X, y = rows
    models = [LogisticRegression(C=C, max_iter=500).fit(X, y) for C in (0.01, 0.1, 1.0)]
    logits = [input_gradients(model, X, y, output="logit") for model in models]
    with pytest.raises(ValueError, match="Take gradients of the probabilities"):
        vog_scores(iter(logits), y)
    scores = vog_scores((input_gradients(model, X, y) for model in models), y)
    for k in np.unique(y):
        assert scores[y == k].std() == pytest.approx(1)


def test_no_gradient_is_formed():
    """Neither memory nor, with it, time is that of the gradients of single rows."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 64), dtype=np.float32)
    y = rng.integers(10, size=2000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = MLPClassifier((128, 128), max_iter=1, random_state=0).fit(X, y)
    parameters = [
        torch.from_numpy(array)
        for pair in zip(estimator.coefs_, estimator.intercepts_, strict=True)
        for array in pair
    ]

    def loss(parameters, x, y):
        V, b, W, c, U, d = parameters
        z = torch.relu(torch.relu(x @ V + b) @ W + c) @ U + d
        return torch.nn.functional.cross_entropy(z[None], y[None])

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(
        parameters, torch.from_numpy(X[:250]), torch.from_numpy(y[:250])
    )
    expected = sum(g.flatten(1).square().sum(1) for g in gradients).sqrt().numpy()
    tracemalloc.start()
    norms = gradient_norms(estimator, X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(norms[:250], expected, rtol=1e-3)
    n_parameters = sum(p.numel() for p in parameters)
    assert peak < len(X) * n_parameters * X.itemsize / 10


# ------------------------------------------------------------------------------- TracIn


@pytest.mark.parametrize("name", ESTIMATORS)
def test_influences_are_inner_products_of_gradients(rows, name, monkeypatch):
    X, y = rows
    checkpoints, lr = [fit(name, X, y, seed) for seed in range(2)], [0.5, 0.1]
    total = 0.0
    for estimator, rate in zip(checkpoints, lr, strict=True):
        last = estimator[-1] if name == "pipeline" else estimator
        seen = estimator[:-1].transform(X) if name == "pipeline" else X
        G = explicit_gradients(last, seen, y)
        total = total + rate * G @ G.T
    found = tracin_influence(checkpoints, X, y, lr=lr)
    scale = np.abs(total).max()
    np.testing.assert_allclose(found, total, rtol=1e-9, atol=1e-12 * scale)
    np.testing.assert_allclose(found, found.T, rtol=1e-9, atol=1e-12 * scale)
    assert np.linalg.eigvalsh(found).min() > -1e-10 * scale
    own = np.diag(found)
    assert (found**2 <= np.outer(own, own) * (1 + 1e-9)).all()
    norms = [gradient_norms(estimator, X, y) for estimator in checkpoints]
    np.testing.assert_allclose(tracin_self_influence(norms, lr), own, rtol=1e-9)
    others = tracin_influence(checkpoints, X, y, X[3:9], y[3:9], lr=lr)
    np.testing.assert_allclose(others, found[:, 3:9], rtol=1e-9, atol=1e-12 * scale)
    monkeypatch.setattr(_gradients, "BLOCK", 7)
    blocks = tracin_influence(checkpoints, X, y, lr=lr)
    np.testing.assert_allclose(blocks, found, rtol=1e-9, atol=1e-12 * scale)


def test_influences_of_layers_add_up(rows):
    X, y = rows
    estimator = fit("network", X, y)
    parts = [tracin_influence([estimator], X, y, layers=[k]) for k in range(3)]
    np.testing.assert_allclose(
        sum(parts), tracin_influence([estimator], X, y), rtol=1e-9, atol=1e-12
    )


def test_influence_is_what_a_step_of_descent_changes(rows):
    """A step on all rows lowers the loss of a row by the mean of their influences."""
    X, y = rows
    estimator, lr = fit("network", X, y), 1e-5
    codes = np.searchsorted(estimator.classes_, y)
    model = as_model(estimator).snapshot()
    p = model.run(X)
    before = -p.log_proba[np.arange(60), codes]
    predicted = tracin_influence([estimator], X, y, lr=lr).mean(axis=0)
    gradients = [(a.T @ d / 60, d.mean(axis=0)) for a, d in p.factors(codes)]
    for k, (W, b) in enumerate(reversed(gradients)):
        model.weights[k] -= lr * W
        model.intercepts[k] -= lr * b
    after = -model.run(X).log_proba[np.arange(60), codes]
    size = np.abs(predicted).max()
    np.testing.assert_allclose(before - after, predicted, rtol=1e-3, atol=2e-3 * size)


# ---------------------------------------------------------------------------- bad input


def test_classifiers_without_gradients_are_named(rows):
    X, y = rows
    forest = RandomForestClassifier(3, random_state=0).fit(X, y)
    pipeline = make_pipeline(StandardScaler(), forest).fit(X, y)
    for estimator in (forest, pipeline):
        for function in (gradient_norms, input_gradients):
            with pytest.raises(TypeError, match=r"RandomForestClassifier.*EL2NScorer"):
                function(estimator, X, y)
        with pytest.raises(TypeError, match="EL2NScorer"):
            tracin_influence([estimator], X, y)


def test_bad_input(rows):
    X, y = rows
    estimator = fit("network", X, y)
    for function in (gradient_norms, input_gradients):
        with pytest.raises(ValueError, match="7 features"):
            function(estimator, X[:, :-1], y)
        with pytest.raises(ValueError, match="inconsistent numbers"):
            function(estimator, X, y[:-1])
        with pytest.raises(ValueError, match="not among the classes"):
            function(estimator, X, y + 1)
        with pytest.raises(ValueError, match="Unknown label type"):
            function(estimator, X, y + 0.5)
        with pytest.raises(ValueError, match="not fitted"):
            function(LogisticRegression(), X, y)
    with pytest.raises(ValueError, match="3 layers"):
        gradient_norms(estimator, X, y, layers=[3])
    with pytest.raises(ValueError, match="'output' parameter"):
        input_gradients(estimator, X, y, output="margin")
    with pytest.raises(ValueError, match="given together"):
        tracin_influence([estimator], X, y, X)
    with pytest.raises(ValueError, match="at least one checkpoint"):
        tracin_influence([], X, y)
    with pytest.raises(ValueError, match="lr must be one number or 1"):
        tracin_influence([estimator], X, y, lr=[1.0, 2.0])


def test_at_initialisation_the_norm_is_that_of_the_row():
    """Why gradient norms of untrained networks say little (Kirsch, 2023)."""
    X, y = load_digits(return_X_y=True)
    X = X / 16.0
    total = 0.0
    for seed in range(5):
        start = MLPClassifier((128,), solver="sgd", learning_rate_init=1e-12)
        start.set_params(random_state=seed, max_iter=1, batch_size=len(X))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            total = total + gradient_norms(start.fit(X, y), X, y)
    assert spearmanr(total, np.linalg.norm(X, axis=1)).statistic > 0.9


@pytest.mark.parametrize("dispatch", [False, True])
def test_arrays_of_another_library(dispatch):
    """Rows and labels as tensors, also for a model that was fitted to tensors."""
    torch = pytest.importorskip("torch")
    X, y = make_classification(60, 6, n_informative=4, n_classes=3, random_state=0)
    model = LogisticRegression(max_iter=100).fit(X, y)
    rows, labels = torch.from_numpy(X).requires_grad_(), torch.from_numpy(y)
    with sklearn.config_context(array_api_dispatch=dispatch):
        models = [model]
        if dispatch and get_tags(model).array_api_support:
            models.append(clone(model).fit(torch.from_numpy(X), labels))
        for fitted in models:
            others = rows[:7], labels[:7]
            found = tracin_influence([fitted], rows, labels, *others)
            expected = tracin_influence([model], X, y, X[:7], y[:7])
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
            for function in (gradient_norms, input_gradients):
                np.testing.assert_allclose(
                    function(fitted, rows, labels),
                    function(model, X, y),
                    rtol=1e-4,
                    atol=1e-4,
                )
        scorer = GraNdScorer(model, epochs=None, n_runs=1).fit(rows, labels)
        found = NoisyLabelDetector(scorer, contamination=0.1).fit(rows, labels)
    np.testing.assert_allclose(scorer.scores_, gradient_norms(model, X, y), rtol=1e-6)
    np.testing.assert_array_equal(found.scores_, scorer.scores_)
