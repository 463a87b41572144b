"""Estimators by target surrogates: agreement with peers, weights, losses, errors."""

import numpy as np
import pytest
import skops.io
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import HuberRegressor, LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import scale
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpapers.linear_model import TargetSurrogateClassifier, TargetSurrogateRegressor

N, D = 80, 4
unconverged = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning"
)


@pytest.fixture
def rng(global_random_seed):
    return np.random.default_rng(global_random_seed)


@pytest.fixture
def table(rng):
    """Columns of unlike means and scales, three classes that overlap, a number."""
    X = rng.standard_normal((N, D)) * [1, 10, 0.1, 1] + [0, 100, 0, -3]
    score = (X - X.mean(axis=0)) / X.std(axis=0) @ [1, -1, 0.5, 0]
    score = score + 1.5 * rng.standard_normal(N)
    return X, np.digitize(score, [-0.7, 0.7]), score


def logistic(y, z, sample_weight=None):
    """Return the logistic loss, written out as a user would."""
    w = np.ones(len(y)) if sample_weight is None else sample_weight
    p = 1 / (1 + np.exp(-z))
    value = -np.mean(w * np.where(y == 1, np.log(p), np.log(1 - p)))
    return value, w * (p - y) / len(y)


@pytest.mark.parametrize("multinomial", [False, True])
def test_equals_logistic_regression(table, multinomial):
    X, y, _ = table
    y = y if multinomial else y > 0
    alpha = 0.03
    ours = TargetSurrogateClassifier(alpha=alpha, max_iter=5000, tol=1e-8).fit(X, y)
    peer = LogisticRegression(
        C=1 / (alpha * N), tol=1e-10, solver="newton-cholesky"
    ).fit(X, y)
    np.testing.assert_allclose(ours.coef_, peer.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X), atol=1e-5)
    assert ours.n_oracle_calls_ == ours.n_iter_ == len(ours.history_)
    assert "adapted, starting from 1 / L" in ours.eta_rule_
    bound = TargetSurrogateClassifier(alpha=alpha, eta=2.0, max_iter=5000, tol=1e-8)
    losses = [record["loss"] for record in bound.fit(X, y).history_]
    assert (np.diff(losses) <= 1e-13).all()
    assert ours.n_oracle_calls_ < len(losses)
    np.testing.assert_allclose(ours.coef_, bound.coef_, atol=1e-5)


@pytest.mark.parametrize("n_outputs", [None, 1, 3])
def test_squared_error_is_ridge_in_one_step(table, rng, n_outputs):
    X = table[0]
    y = rng.standard_normal(N if n_outputs is None else (N, n_outputs))
    ours = TargetSurrogateRegressor(alpha=0.1, tol=1e-9).fit(X, y)
    peer = Ridge(alpha=0.1 * N).fit(X, y)
    assert ours.coef_.shape == (D,) if n_outputs is None else (n_outputs, D)
    assert ours.predict(X).shape == y.shape
    expected = np.reshape(peer.coef_, ours.coef_.shape)
    np.testing.assert_allclose(ours.coef_, expected, rtol=1e-8)
    np.testing.assert_allclose(ours.intercept_, peer.intercept_, rtol=1e-8)
    assert ours.n_oracle_calls_ == 2


def test_huber_is_a_minimum(table):
    X, _, y = table
    y = y.copy()
    y[:5] += 50
    ours = TargetSurrogateRegressor("huber", huber_delta=1.0, max_iter=1000, tol=1e-9)
    ours.fit(X, y)
    slope = np.clip(ours.predict(X) - y, -1, 1)
    np.testing.assert_allclose(slope.mean(), 0, atol=1e-7)
    np.testing.assert_allclose(scale(X).T @ slope / N, 0, atol=1e-6)
    robust = HuberRegressor(epsilon=1.35).fit(scale(X), y)
    error = np.abs(ours.predict(X) - robust.predict(scale(X)))
    assert np.median(error) < 0.5


@pytest.mark.parametrize("loss", ["log_loss", "pairwise_auc"])
@pytest.mark.parametrize("sparse", [False, True])
def test_weights_are_repetitions(table, rng, loss, sparse):
    X, y, _ = table
    copies = rng.integers(0, 4, N)
    model = TargetSurrogateClassifier(loss, alpha=0.1, max_iter=300, tol=1e-6)
    make = csr_array if sparse else np.asarray
    weighted = clone(model).fit(make(X), y > 0, sample_weight=copies)
    repeated = clone(model).fit(make(X.repeat(copies, axis=0)), y.repeat(copies) > 0)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        weighted.intercept_, repeated.intercept_, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_weights_of_the_regressor_are_repetitions(table, rng, loss):
    X, _, y = table
    copies = rng.integers(0, 4, N)
    model = TargetSurrogateRegressor(loss, alpha=0.1, max_iter=300, tol=1e-8)
    weighted = clone(model).fit(X, y, sample_weight=copies)
    repeated = clone(model).fit(X.repeat(copies, axis=0), y.repeat(copies))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6)


def test_units_of_columns_do_not_matter(table):
    """Neither the predictions without penalty nor when the fit stops."""
    X, y, _ = table
    plain = TargetSurrogateClassifier().fit(X, y)
    units = np.array([1e-8, 1e8, 1.0, 1e150])
    other = TargetSurrogateClassifier().fit(X * units, y)
    assert plain.n_iter_ == other.n_iter_
    np.testing.assert_allclose(
        plain.predict_proba(X), other.predict_proba(X * units), rtol=1e-6
    )


def test_constant_and_dependent_columns_do_no_harm(table):
    X, y, _ = table
    more = np.c_[X, np.full(N, 1e6 / 3), X[:, 0] * 2 - 1, np.zeros(N)]
    plain = TargetSurrogateClassifier(tol=1e-6, max_iter=1000).fit(X, y)
    padded = TargetSurrogateClassifier(tol=1e-6, max_iter=1000).fit(more, y)
    np.testing.assert_allclose(padded.coef_[:, [4, 6]], 0, atol=1e-14)
    np.testing.assert_allclose(
        plain.predict_proba(X), padded.predict_proba(more), atol=1e-4
    )


def test_sparse_and_dense_agree(table):
    X, y, _ = table
    X = np.where(np.abs(X) > 0.5, X, 0)
    model = TargetSurrogateClassifier(alpha=0.1, tol=1e-8, max_iter=3000)
    dense, sparse = clone(model).fit(X, y), clone(model).fit(csr_array(X), y)
    np.testing.assert_allclose(dense.coef_, sparse.coef_, atol=1e-6)
    np.testing.assert_allclose(
        dense.predict_proba(X), sparse.predict_proba(csr_array(X)), atol=1e-6
    )


def test_pairwise_loss_ranks_and_is_calibrated():
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    model = TargetSurrogateClassifier("pairwise_auc", eta="adaptive", alpha=1e-3)
    model.fit(X, y)
    assert roc_auc_score(y, model.decision_function(X)) > 0.99
    assert model.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=1e-6)
    assert model.score(X, y) > 0.96


def test_pairwise_loss_is_for_two_classes():
    X, y = load_wine(return_X_y=True)
    model = TargetSurrogateClassifier("pairwise_auc", alpha=0.1, max_iter=200, tol=1e-2)
    with pytest.raises(ValueError, match="OneVsRestClassifier"):
        model.fit(X, y)
    assert OneVsRestClassifier(model).fit(scale(X), y).score(scale(X), y) > 0.95


@pytest.mark.parametrize("weighted", [False, True])
def test_callable_loss(table, rng, weighted):
    X, y, _ = table
    y = np.where(y > 0, "yes", "no")
    weight = rng.uniform(0.5, 2, N) if weighted else None
    ours = TargetSurrogateClassifier(logistic, alpha=0.1, tol=1e-7, max_iter=500)
    named = TargetSurrogateClassifier(alpha=0.1, tol=1e-7, max_iter=5000)
    ours.fit(X, y, weight)
    named.fit(X, y, weight)
    np.testing.assert_allclose(ours.coef_, named.coef_, atol=1e-5)
    assert "line search, as the smoothness L is not known" in ours.eta_rule_
    assert ours.n_value_calls_ > 0
    assert set(ours.predict(X)) == {"yes", "no"}
    assert not hasattr(ours, "predict_proba")
    fixed = clone(ours).set_params(eta=4.0, max_iter=5000).fit(X, y, weight)
    assert fixed.n_value_calls_ == 0
    np.testing.assert_allclose(fixed.coef_, named.coef_, atol=1e-5)


def test_callable_loss_of_a_regressor(rng):
    X, y = load_diabetes(return_X_y=True)

    def costs(y, z):
        r = z - y
        factor = np.where(r < 0, 3.0, 1.0)
        return np.mean(factor * r**2) / 2, factor * r / len(y)

    model = TargetSurrogateRegressor(costs, eta=1 / 3, tol=1e-6, max_iter=500).fit(X, y)
    r = model.predict(X) - y
    assert np.abs(np.where(r < 0, 3.0, 1.0) * r).mean() > 0
    assert np.mean(np.where(r < 0, 3.0, 1.0) * r) == pytest.approx(0, abs=1e-4)
    assert np.mean(r > 0) > 0.55


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (lambda y, z: (1.0, z[:, None]), "shape of z"),
        (lambda y, z: (np.nan, z), "not finite"),
        (lambda y, z: (1.0, z * np.inf), "not finite"),
        (lambda y, z: z.sum(), "pair"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("cls", [TargetSurrogateClassifier, TargetSurrogateRegressor])
def test_bad_callables(table, loss, match, cls):
    X, y, _ = table
    model = cls(loss)
    with pytest.raises(ValueError, match=match):
        model.fit(X, (y > 0) * 1)
    assert not hasattr(model, "coef_")
    assert not hasattr(model, "n_features_in_")


def test_a_failed_fit_leaves_the_old_one(table):
    X, y, _ = table
    y, broken = y > 0, []

    def loss(y, z):
        if broken:
            raise KeyboardInterrupt
        return logistic(y, z)

    model = TargetSurrogateClassifier(loss, alpha=0.1, tol=1e-3).fit(X, y)
    before = model.decision_function(X)
    broken.append(True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :2], y)
    np.testing.assert_array_equal(model.decision_function(X), before)


def test_budget_warns(table):
    X, y, _ = table
    with pytest.warns(ConvergenceWarning, match="budget of max_iter=3"):
        TargetSurrogateClassifier(max_iter=3, tol=1e-12).fit(X, y)


def test_warm_start_goes_on(table):
    X, y, _ = table
    whole = TargetSurrogateClassifier(max_iter=8, tol=0, eta=2.0)
    halves = TargetSurrogateClassifier(max_iter=4, tol=0, eta=2.0, warm_start=True)
    with pytest.warns(ConvergenceWarning):
        whole.fit(X, y)
    for _ in range(2):
        with pytest.warns(ConvergenceWarning):
            halves.fit(X, y)
    np.testing.assert_allclose(whole.coef_, halves.coef_, rtol=1e-7)
    with pytest.raises(ValueError, match="warm_start: y has the classes"):
        halves.fit(X, y > 0)


def test_batches_learn(rng):
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    model = TargetSurrogateClassifier(
        batch_size=50, max_iter=60, n_inner=10, random_state=0
    )
    model.fit(X, y)  # no warning: batches have no tolerance
    assert model.score(X, y) > 0.96
    assert model.n_oracle_calls_ == 60
    etas = [record["eta"] for record in model.history_]
    np.testing.assert_allclose(etas, 4 / np.sqrt(np.arange(1, 61)))
    auc = clone(model).set_params(loss="pairwise_auc").fit(X, y)
    assert roc_auc_score(y, auc.decision_function(X)) > 0.98


def test_partial_fit_counts_and_learns():
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    model = TargetSurrogateClassifier()
    order = np.random.default_rng(0).permutation(len(y))
    for k, rows in enumerate(np.array_split(order, 20)):
        model.partial_fit(X[rows], y[rows], classes=[0, 1])
        assert model.n_oracle_calls_ == model.n_iter_ == k + 1
    assert model.score(X, y) > 0.94
    assert model.history_[3]["eta"] == pytest.approx(2.0)


def test_partial_fit_on_all_rows_lowers_the_loss(table):
    X, _, y = table
    model = TargetSurrogateRegressor("huber", eta_schedule="constant")
    for _ in range(15):
        model.partial_fit(X, y)
    losses = [record["loss"] for record in model.history_]
    assert (np.diff(losses) <= 1e-13).all()
    assert losses[-1] < losses[0]


def test_partial_fit_errors(table):
    X, y, _ = table
    with pytest.raises(ValueError, match="classes must be passed"):
        TargetSurrogateClassifier().partial_fit(X, y)
    model = TargetSurrogateClassifier().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="not in classes: \\[7\\]"):
        model.partial_fit(X, np.where(y == 0, 7, y))


def test_grid_search(table):
    X, y, _ = table
    grid = {"eta": [1.0, 4.0], "alpha": [0.1, 1.0], "eta_schedule": ["constant"]}
    model = TargetSurrogateClassifier(max_iter=200, tol=1e-3)
    search = GridSearchCV(model, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.4


def test_verbose_tells_each_call(table, capsys):
    X, _, y = table
    TargetSurrogateRegressor(verbose=1).fit(X, y)
    assert capsys.readouterr().out.count("[TargetSurrogateRegressor] call") == 2


def test_without_intercept(table):
    X, _, y = table
    ours = TargetSurrogateRegressor(fit_intercept=False, tol=1e-9).fit(X, y)
    expected = np.linalg.lstsq(X, y)[0]
    np.testing.assert_allclose(ours.coef_, expected, rtol=1e-8)
    assert ours.intercept_ == 0


def test_float32_stays(table):
    X, y, _ = table
    X = scale(X)
    single = TargetSurrogateClassifier(alpha=0.1).fit(X.astype(np.float32), y)
    assert single.coef_.dtype == np.float32
    assert single.predict_proba(X.astype(np.float32)).dtype == np.float32
    double = TargetSurrogateClassifier(alpha=0.1).fit(X, y)
    np.testing.assert_allclose(single.coef_, double.coef_, atol=1e-4)


@pytest.mark.parametrize("sizes", [(0,), (-1,), "ab"])
def test_bad_layers(table, sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        TargetSurrogateClassifier(hidden_layer_sizes=sizes).fit(table[0], table[1])


def test_networks_have_no_exact_step(table):
    model = TargetSurrogateRegressor(hidden_layer_sizes=5, inner_solver="exact")
    with pytest.raises(ValueError, match="needs a linear model"):
        model.fit(table[0], table[2])


# --- networks -----------------------------------------------------------------------
@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def circles(rng, n=200):
    X = rng.uniform(-1, 1, (n, 2))
    return X, (np.hypot(*X.T) < 0.7) * 1


@unconverged
@pytest.mark.parametrize("inner", ["auto", "armijo", "adam"])
def test_network_learns_and_its_loss_never_rises(torch, rng, inner):
    X, y = circles(rng)
    model = TargetSurrogateClassifier(
        hidden_layer_sizes=(16,),
        inner_solver=inner,
        max_iter=60,
        random_state=0,
        eta=4.0,
    ).fit(X, y)
    losses = [record["loss"] for record in model.history_]
    assert (np.diff(losses) <= 1e-12).all()
    assert model.score(X, y) > (0.93 if inner == "auto" else 0.75)
    assert model.n_value_calls_ == 0


@unconverged
@pytest.mark.parametrize("n_outputs", [None, 1, 2])
def test_network_regressor(torch, rng, n_outputs):
    X = rng.uniform(-1, 1, (150, 2))
    y = X[:, 0] * X[:, 1]
    if n_outputs is not None:
        y = np.stack([y, X[:, 0] ** 2][:n_outputs], axis=1)
    model = TargetSurrogateRegressor(
        hidden_layer_sizes=[12, 6], max_iter=30, random_state=1
    ).fit(X, y)
    assert model.predict(X).shape == y.shape
    assert model.score(X, y) > 0.9
    assert not hasattr(model, "coef_")


@unconverged
def test_network_forward_pass_is_that_of_torch(torch, rng):
    X, y = circles(rng, 50)
    model = TargetSurrogateClassifier(hidden_layer_sizes=(7, 5), max_iter=2).fit(X, y)
    z = torch.from_numpy(X)
    for k, (W, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        z = torch.nn.functional.linear(z, torch.tensor(W).T, torch.tensor(b))
        z = torch.relu(z) if k < 2 else z
    np.testing.assert_allclose(model.decision_function(X), z[:, 0], atol=1e-12)


@unconverged
def test_network_is_deterministic_and_leaves_torch_alone(torch, rng):
    X, y = circles(rng, 60)
    model = TargetSurrogateClassifier(
        hidden_layer_sizes=(6,), batch_size=20, max_iter=5, random_state=3
    )
    state = torch.random.get_rng_state()
    first, second = (clone(model).fit(X, y).coefs_ for _ in range(2))
    np.testing.assert_array_equal(torch.random.get_rng_state(), state)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    other = clone(model).set_params(random_state=4).fit(X, y).coefs_
    assert not np.array_equal(first[0], other[0])


@unconverged
def test_network_persists_without_torch_objects(torch, rng):
    X, y = circles(rng, 60)
    model = TargetSurrogateClassifier(hidden_layer_sizes=(6,), max_iter=3).fit(X, y)
    data = skops.io.dumps(model)
    untrusted = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("skpapers.") for name in untrusted)
    copy = skops.io.loads(data, trusted=untrusted)
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))


@unconverged
def test_weights_of_a_network_are_repetitions(torch, rng):
    """Rounding errors grow from step to step, so after a few of them."""
    X, y = circles(rng, 60)
    copies = rng.integers(0, 3, 60)
    model = TargetSurrogateClassifier(
        hidden_layer_sizes=(6,), max_iter=3, n_inner=3, random_state=0, alpha=0.01
    )
    weighted = clone(model).fit(X, y, sample_weight=copies)
    repeated = clone(model).fit(X.repeat(copies, axis=0), y.repeat(copies))
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-8
    )


@unconverged
def test_warm_start_and_partial_fit_of_a_network(torch, rng):
    X, y = circles(rng, 60)
    model = TargetSurrogateClassifier(
        hidden_layer_sizes=(6,), max_iter=5, random_state=0, warm_start=True
    ).fit(X, y)
    before = model.history_[-1]["loss"]
    assert model.fit(X, y).history_[0]["loss"] <= before
    assert model.partial_fit(X, y).n_iter_ == 6


@unconverged
def test_layers_may_come_and_go(torch, rng):
    X, y = circles(rng, 60)
    model = TargetSurrogateClassifier(hidden_layer_sizes=(6,), max_iter=2).fit(X, y)
    model.set_params(hidden_layer_sizes=()).fit(X, y)
    assert model.decision_function(X).shape == (60,)
    assert not hasattr(model, "coefs_")


# Rounding errors grow with the steps: few of them keep weights equivalent to copies.
SMALL_NETWORK = {"hidden_layer_sizes": (8,), "max_iter": 8, "n_inner": 12}


@pytest.mark.slow
@unconverged
@parametrize_with_checks(
    [
        cls(**SMALL_NETWORK)
        for cls in (TargetSurrogateClassifier, TargetSurrogateRegressor)
    ]
    + [
        TargetSurrogateClassifier("pairwise_auc", alpha=0.01, max_iter=300),
        TargetSurrogateRegressor("huber"),
    ]
)
def test_scikit_learn_contract_of_other_forms(estimator, check):
    if len(estimator.hidden_layer_sizes):
        pytest.importorskip("torch")
    check(estimator)


# --- learnt row weights ---------------------------------------------------------------
@pytest.mark.parametrize("loss", ["log_loss", "pairwise_auc"])
def test_learnt_weights_lead_to_the_same_model(loss, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((300, 4))
    y = X.sum(axis=1) + 0.3 * rng.standard_normal(300) > 0
    how = {"alpha": 1e-3, "max_iter": 3000, "tol": 1e-6}
    learnt = TargetSurrogateClassifier(loss, **how).fit(X, y)
    bound = TargetSurrogateClassifier(loss, metric="euclidean", **how).fit(X, y)
    np.testing.assert_allclose(learnt.coef_, bound.coef_, atol=0.02)
    assert 2 * learnt.n_oracle_calls_ <= bound.n_oracle_calls_
    asked = TargetSurrogateClassifier(loss, metric="secant", **how).fit(X, y)
    np.testing.assert_array_equal(asked.coef_, learnt.coef_)


def test_learnt_weights_need_all_rows(rng):
    X, y = rng.standard_normal((30, 2)), np.arange(30) % 2
    model = TargetSurrogateClassifier(metric="secant", batch_size=10)
    with pytest.raises(ValueError, match="needs all rows"):
        model.fit(X, y)
