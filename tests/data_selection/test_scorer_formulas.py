# SPDX-License-Identifier: BSD-3-Clause
"""The scorers against closed forms and loops written out."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from skpapers.data_selection import (
    EL2NScorer,
    ForgettingScorer,
    GraNdScorer,
    PVIScorer,
    TracInScorer,
    VoGScorer,
)
from skpapers.data_selection._checkpoints import iter_checkpoints

NET = MLPClassifier((8,), solver="sgd", learning_rate_init=0.1, batch_size=16)
few_runs = pytest.mark.filterwarnings("ignore:n_runs=2 is too small")


@pytest.fixture(scope="module")
def table():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X)[::2], y[::2]


def seed_of_run(random_state, run):
    return np.random.RandomState(random_state).randint(2**31 - 1, size=run + 1)[run]


@pytest.mark.parametrize("norm", [1, 2])
def test_el2n_is_the_mean_norm_of_the_errors(table, norm, global_random_seed):
    X, y = table
    scorer = EL2NScorer(
        NET, epochs=3, n_runs=3, norm=norm, random_state=global_random_seed
    ).fit(X, y)
    for run, found in enumerate(scorer.scores_per_run_):
        *_, last = iter_checkpoints(
            NET, X, y, epochs=3, random_state=seed_of_run(global_random_seed, run)
        )
        errors = last.estimator.predict_proba(X) - np.eye(3)[y]
        np.testing.assert_allclose(
            found, np.linalg.norm(errors, norm, axis=1), rtol=1e-6
        )
    np.testing.assert_allclose(scorer.scores_, scorer.scores_per_run_.mean(axis=0))
    np.testing.assert_allclose(scorer.scores_std_, scorer.scores_per_run_.std(axis=0))
    assert scorer.scores_.min() >= 0
    assert scorer.scores_.max() <= (2 if norm == 1 else np.sqrt(2))
    assert len(scorer.estimators_) == 3


def test_el2n_of_two_classes(table, global_random_seed):
    X, y = table
    y = y > 0
    model = LogisticRegression()
    scorer = EL2NScorer(model, epochs=None, n_runs=1).fit(X, y)
    p = clone(model).fit(X, y).predict_proba(X)[np.arange(len(y)), y.astype(int)]
    np.testing.assert_allclose(scorer.scores_, np.sqrt(2) * (1 - p), rtol=1e-6)


def test_grand_of_linear_models_is_el2n_times_length(table):
    X, y = table
    model = LogisticRegression()
    el2n = EL2NScorer(model, epochs=None, n_runs=1).fit(X, y)
    grand = GraNdScorer(model, epochs=None, n_runs=1).fit(X, y)
    length = np.sqrt((X**2).sum(axis=1) + 1)
    np.testing.assert_allclose(grand.scores_, el2n.scores_ * length, rtol=1e-9)


def test_tracin_sums_squared_gradient_norms(table, global_random_seed):
    seed = {"random_state": global_random_seed}
    path = GraNdScorer(NET, epochs=4, n_runs=1, score_path=True, **seed).fit(*table)
    assert path.score_path_.shape == (4, len(table[1]))
    np.testing.assert_array_equal(path.score_path_[-1], path.scores_)
    refitted = clone(path).fit(*table).set_params(score_path=False).fit(*table)
    assert not hasattr(refitted, "score_path_")
    tracin = TracInScorer(NET, epochs=4, n_checkpoints=4, **seed).fit(*table)
    expected = 0.1 * (path.score_path_**2).sum(axis=0)
    np.testing.assert_allclose(tracin.scores_, expected, rtol=1e-9)
    rates = np.array([1.0, 0, 2, 0])
    tracin.set_params(learning_rates=rates).fit(*table)
    np.testing.assert_allclose(tracin.scores_, rates @ path.score_path_**2, rtol=1e-9)
    parts = [
        clone(tracin).set_params(layers=[layer]).fit(*table).scores_ for layer in (0, 1)
    ]
    np.testing.assert_allclose(sum(parts), tracin.scores_, rtol=1e-9)


def test_influence_is_the_drop_of_the_loss_of_a_step(table):
    """A small gradient step on one row alone lowers its loss by rate x norm squared."""
    X, y = table
    model = SGDClassifier(
        loss="log_loss", penalty=None, learning_rate="constant", eta0=1e-5
    )
    y = (y > 0).astype(int)
    scorer = TracInScorer(model, epochs=2, n_checkpoints=1, random_state=0).fit(X, y)
    trained = scorer.estimators_[0]
    for i in (0, 40, 70):
        step = clone(trained).set_params(warm_start=True)
        step.partial_fit(X[:1], y[:1], classes=[0, 1])
        step.coef_, step.intercept_ = trained.coef_.copy(), trained.intercept_.copy()
        before = step.predict_log_proba(X[i : i + 1])[0, y[i]]
        step.partial_fit(X[i : i + 1], y[i : i + 1])
        after = step.predict_log_proba(X[i : i + 1])[0, y[i]]
        assert after - before == pytest.approx(scorer.scores_[i], rel=1e-3)


@few_runs
def test_vog_of_linear_models(table, global_random_seed):
    """The gradient of the probability is p_y (w_y - sum of p_k w_k)."""
    X, y = table
    model = LogisticRegression()
    scorer = VoGScorer(model, epochs=4, n_checkpoints=4, normalize=None).fit(X, y)
    gradients = []
    for checkpoint in iter_checkpoints(model, X, y, epochs=4):
        p, W = checkpoint.estimator.predict_proba(X), checkpoint.estimator.coef_
        own = p[np.arange(len(y)), y][:, None]
        gradients.append(own * (W[y] - p @ W))
    expected = np.var(gradients, axis=0).mean(axis=1)
    np.testing.assert_allclose(scorer.scores_, expected, rtol=1e-9)
    for_classes = clone(scorer).set_params(output="logit", normalize="class")
    with pytest.raises(ValueError, match="output='proba'"):
        for_classes.fit(X, y)
    whole = for_classes.set_params(normalize="dataset").fit(X, y)
    assert all(np.ptp(whole.scores_[y == k]) < 1e-9 for k in range(3))


@few_runs
@pytest.mark.parametrize("normalize", ["class", "dataset"])
def test_vog_is_standardised(table, normalize, global_random_seed):
    X, y = table
    scorer = VoGScorer(
        NET, epochs=3, normalize=normalize, random_state=global_random_seed
    ).fit(X, y)
    groups = [y == k for k in range(3)] if normalize == "class" else [y >= 0]
    for rows in groups:
        assert scorer.scores_[rows].mean() == pytest.approx(0, abs=1e-9)
        assert scorer.scores_[rows].std() == pytest.approx(1)


def test_forgetting_counts_events(table, global_random_seed):
    X, y = table
    scorer = ForgettingScorer(
        NET, epochs=2, check_every=0.25, n_runs=1, random_state=global_random_seed
    ).fit(X, y)
    right = [
        checkpoint.estimator.predict(X) == y
        for checkpoint in iter_checkpoints(
            NET,
            X,
            y,
            epochs=2,
            check_every=0.25,
            random_state=seed_of_run(global_random_seed, 0),
        )
    ]
    right = np.array(right)
    assert len(right) == 8
    events = (right[:-1] & ~right[1:]).sum(axis=0)
    expected = np.where(right.any(axis=0), events, 8)
    np.testing.assert_array_equal(scorer.scores_, expected)


@few_runs
def test_pvi_is_the_gain_over_the_frequencies(table, global_random_seed):
    X, y = table
    y = np.where(y == 2, 1, y)  # 1/3, 2/3
    model = LogisticRegression()
    scorer = PVIScorer(model, epochs=None, n_runs=1).fit(X, y)
    p = clone(model).fit(X, y).predict_proba(X)[np.arange(len(y)), y]
    prior = (np.bincount(y) / len(y))[y]
    np.testing.assert_allclose(scorer.scores_, np.log2(p / prior), rtol=1e-6)
    np.testing.assert_array_equal(scorer.hardness_, -scorer.scores_)
    fitted = clone(scorer).set_params(null_model="fit").fit(X, y)
    np.testing.assert_allclose(fitted.scores_, scorer.scores_, atol=1e-3)
    net = PVIScorer(NET, epochs=200, n_runs=1, random_state=global_random_seed)
    by_prior = net.fit(X, y).scores_
    by_training = clone(net).set_params(null_model="fit").fit(X, y).scores_
    np.testing.assert_allclose(by_training, by_prior, atol=0.3)
    assert (by_training != by_prior).all()


def test_pvi_where_a_fold_lacks_a_class():
    X, y = load_iris(return_X_y=True)
    y[0] = 3
    model = HistGradientBoostingClassifier()
    scorer = PVIScorer(model, epochs=2, n_runs=1, cv=3, random_state=0).fit(X, y)
    found = scorer.score_samples(X[[0, 1]], [3, 0])
    assert np.isfinite(found).all()
    assert found[0] < found[1]


def test_pvi_of_a_module_trained_on_nothing():
    torch = pytest.importorskip("torch")
    X, y = load_iris(return_X_y=True)
    net = torch.nn.Linear(4, 3)
    scorer = PVIScorer(net, n_runs=1, null_model="fit", random_state=0)
    assert np.isfinite(scorer.fit(X.astype(np.float32), y).scores_).all()


def test_pvi_out_of_fold(table, global_random_seed):
    X, y = table
    model = LogisticRegression()
    scorer = PVIScorer(
        model, epochs=None, n_runs=1, cv=4, random_state=global_random_seed
    ).fit(X, y)
    seed = int(seed_of_run(global_random_seed, 0))
    folds = np.random.RandomState(seed).randint(2**31 - 1, size=2)[1]
    splits = StratifiedKFold(4, shuffle=True, random_state=int(folds))
    p = cross_val_predict(model, X, y, cv=splits, method="predict_proba")
    expected = np.log2(3 * p[np.arange(len(y)), y])
    np.testing.assert_allclose(scorer.scores_, expected, rtol=1e-6)
    assert len(scorer.estimators_) == 4
    trained = [e.predict_proba(X)[np.arange(len(y)), y] for e in scorer.estimators_]
    np.testing.assert_allclose(
        scorer.score_samples(X, y),
        np.log2(3 * np.array(trained)).mean(axis=0),
        rtol=1e-6,
    )


def test_pvi_knows_no_bits_in_noise(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y = rng.standard_normal((400, 1)), rng.integers(2, size=400)
    model = LogisticRegression(C=1e-9)
    scorer = PVIScorer(model, epochs=None, n_runs=1).fit(X, y)
    np.testing.assert_allclose(scorer.scores_, 0, atol=1e-3)
    perfect = PVIScorer(LogisticRegression(C=1e9), epochs=None, n_runs=1)
    X = np.where(y, 1.0, -1.0)[:, None] + 0.01 * X
    balanced = np.sort(np.argsort(y, kind="stable")[np.r_[:150, -150:0]])
    perfect.fit(X[balanced], y[balanced])
    np.testing.assert_allclose(perfect.scores_, 1, atol=1e-3)
