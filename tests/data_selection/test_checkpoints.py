"""A classifier looked at while it trains."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skpapers.data_selection._checkpoints import (
    at_times,
    checkpoint_times,
    iter_checkpoints,
    learning_rate,
    seeded,
)


@pytest.fixture
def table(global_random_seed):
    return make_classification(
        90, 6, n_informative=4, n_classes=3, random_state=global_random_seed
    )


class Recorder(ClassifierMixin, BaseEstimator):
    """Notes the rows of each `partial_fit`; the first column is their number."""

    def __init__(self, batch_size=10, shuffle=True):
        self.batch_size = batch_size
        self.shuffle = shuffle

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        if classes is not None:
            self.classes_ = classes
            self.seen_, self.weights_ = [], []
        self.seen_.append(X[:, 0].astype(int))
        self.weights_.append(sample_weight)
        return self

    def fit(self, X, y):
        return self.partial_fit(X, y, classes=np.unique(y))

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


def epochs_of(*args, **kwargs):
    return [c.epoch for c in iter_checkpoints(*args, **kwargs)]


def probabilities(checkpoint):
    return np.vstack([np.exp(p.log_proba) for _, p in checkpoint.passes()])


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_depth=2, min_samples_leaf=3),
        GradientBoostingClassifier(max_depth=2, subsample=0.5),
        AdaBoostClassifier(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_stages_are_epochs_of_one_fit(table, estimator, global_random_seed):
    X, y = table
    states = iter_checkpoints(
        estimator, X, y, epochs=6, check_every=2.0, random_state=global_random_seed
    )
    seen = [(c.epoch, probabilities(c), c.model.snapshot()) for c in states]
    assert [epoch for epoch, *_ in seen] == [2, 4, 6]
    name = "max_iter" if hasattr(estimator, "max_iter") else "n_estimators"
    longer = seeded(clone(estimator).set_params(**{name: 9}), global_random_seed)
    stages = list(longer.fit(X, y).staged_predict_proba(X))
    for epoch, proba, model in seen:
        np.testing.assert_allclose(proba, stages[int(epoch) - 1], rtol=1e-12)
        again = np.exp(model.run(X[:7]).log_proba)
        np.testing.assert_allclose(again, proba[:7], rtol=1e-12)


def test_training_that_ends_early_leaves_its_last_state():
    X = np.repeat([[0.0], [1.0]], 10, axis=0)
    y = np.repeat([0, 1], 10)  # one stump is perfect
    states = list(iter_checkpoints(AdaBoostClassifier(), X, y, epochs=4))
    assert [c.epoch for c in states] == [1, 2, 3, 4]
    assert all((probabilities(c).argmax(axis=1) == y).all() for c in states)
    assert list(at_times(iter([(1, "a"), (2, "b")]), (0.5, 2.0, 2.5))) == [
        (1, "a"),
        (2, "b"),
        (3, "b"),
    ]


@pytest.mark.parametrize(
    "estimator",
    [MLPClassifier((5,), batch_size=16), SGDClassifier(loss="log_loss"), GaussianNB()],
    ids=lambda e: type(e).__name__,
)
def test_whole_epochs_are_calls_of_partial_fit(table, estimator, global_random_seed):
    X, y = table
    twin = seeded(clone(estimator), global_random_seed)
    for checkpoint in iter_checkpoints(
        estimator, X, y, epochs=3, random_state=global_random_seed
    ):
        twin.partial_fit(X, y, classes=np.unique(y))
        np.testing.assert_allclose(
            probabilities(checkpoint), twin.predict_proba(X), rtol=1e-9
        )
    assert checkpoint.epoch == 3


@pytest.mark.parametrize("random_state", [0, 1])
def test_epochs_are_shuffled_differently(table, random_state):
    """With an integer, each partial_fit would start the same generator again."""
    X, y = table
    net = MLPClassifier((5,), batch_size=16, solver="sgd", random_state=0)
    *_, last = iter_checkpoints(net, X, y, epochs=4, random_state=random_state)
    assert isinstance(last.estimator.random_state, np.random.RandomState)
    assert net.random_state == 0
    state = last.estimator.random_state.get_state()[2]
    *_, shorter = iter_checkpoints(net, X, y, epochs=3, random_state=random_state)
    assert state != shorter.estimator.random_state.get_state()[2]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("every", [0.1, 0.25, 1 / 3, 2, 7])
def test_parts_of_an_epoch_see_every_row_once(every, shuffle, global_random_seed):
    n, batch = 57, 5
    X, y = np.arange(float(n))[:, None], np.arange(n) % 2
    weight = np.arange(n) + 0.5
    *_, last = iter_checkpoints(
        Recorder(batch, shuffle),
        X,
        y,
        epochs=2,
        check_every=every,
        random_state=global_random_seed,
        fit_params={"sample_weight": weight},
    )
    assert last.epoch == 2
    seen, weights = last.estimator.seen_, last.estimator.weights_
    for rows, w in zip(seen, weights, strict=True):
        np.testing.assert_array_equal(w, weight[rows])
    order = np.concatenate(seen)
    for epoch in (order[:n], order[n:]):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(n))
    assert shuffle != (order[:n] == np.arange(n)).all()
    if shuffle:
        assert (order[:n] != order[n:]).any()
    if isinstance(every, int):  # mini-batches
        assert {len(rows) % batch for rows in seen} <= {0, n % batch}
        assert all(len(rows) <= every * batch for rows in seen)
    assert all(len(rows) for rows in seen)


def test_more_checkpoints_than_steps_repeat_the_state():
    X, y = np.arange(12.0)[:, None], np.arange(12) % 2
    states = iter_checkpoints(Recorder(6), X, y, epochs=1, check_every=0.1)
    sizes = [sum(map(len, c.estimator.seen_)) for c in states]
    assert sizes == sorted(sizes)
    assert (len(sizes), sizes[0], sizes[-1]) == (10, 6, 12)


@pytest.mark.parametrize("batch", ["auto", 7, 500])
@pytest.mark.parametrize("every", [0.1, 1.0])
def test_networks_train_by_parts_of_any_size(table, batch, every, global_random_seed):
    X, y = table
    net = MLPClassifier((5,), solver="sgd", batch_size=batch)
    settings = {"epochs": 2, "check_every": every, "random_state": global_random_seed}
    if batch == 500:  # more than there are: scikit-learn says so
        with pytest.warns(UserWarning, match="clipped"):
            epochs = epochs_of(net, X, y, **settings)
    else:
        epochs = epochs_of(net, X, y, **settings)
    np.testing.assert_allclose(epochs, every * np.arange(1, len(epochs) + 1))
    assert net.batch_size == batch


@pytest.mark.parametrize("settings", [{}, {"solver": "lbfgs"}])
@pytest.mark.parametrize("epochs", [3, None])
def test_interrupts_end_the_training(table, monkeypatch, settings, epochs):
    """scikit-learn's networks would only cut an epoch short and go on."""

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    net = MLPClassifier((5,), **settings)
    monkeypatch.setattr(MLPClassifier, "_backprop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(iter_checkpoints(net, *table, epochs=epochs))


def test_trees_are_added_one_by_one(table):
    X, y = table
    numbers = [
        (c.epoch, len(c.estimator.estimators_))
        for c in iter_checkpoints(RandomForestClassifier(), X, y, epochs=3)
    ]
    assert numbers == [(1, 1), (2, 2), (3, 3)]


def test_iterations_of_a_solver_lower_the_loss(table):
    X, y = table
    losses = [
        -np.log(probabilities(c)[np.arange(len(y)), y]).mean()
        for c in iter_checkpoints(LogisticRegression(), X, y, epochs=8)
    ]
    assert (np.diff(losses) < 1e-12).all()
    best = LogisticRegression().fit(X, y).predict_proba(X)
    assert losses[-1] < 1.2 * -np.log(best[np.arange(len(y)), y]).mean()


def test_trained_classifiers_have_no_time(table):
    X, y = table
    (only,) = iter_checkpoints(KNeighborsClassifier(), X, y, epochs=None)
    assert np.isnan(only.epoch)
    assert np.isnan(only.learning_rate)
    expected = KNeighborsClassifier().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(probabilities(only), expected, atol=1e-12)
    for estimator in (KNeighborsClassifier(), LogisticRegression(solver="liblinear")):
        with pytest.raises(ValueError, match=r"Pass epochs=None"):
            next(iter_checkpoints(estimator, X, y, epochs=3))


def test_epoch_zero_is_the_state_before_training(table, global_random_seed):
    X, y = table
    net = MLPClassifier((5,), solver="sgd", learning_rate_init=0.1)
    (state,) = iter_checkpoints(net, X, y, epochs=0, random_state=global_random_seed)
    assert state.epoch == 0
    first, second = state.estimator.coefs_
    slow = MLPClassifier((5,), solver="sgd", learning_rate_init=1e-12)
    (later,) = iter_checkpoints(slow, X, y, epochs=1, random_state=global_random_seed)
    np.testing.assert_allclose(first, later.estimator.coefs_[0], atol=1e-9)
    np.testing.assert_allclose(second, later.estimator.coefs_[1], atol=1e-9)
    (state,) = iter_checkpoints(SGDClassifier(loss="log_loss"), X, y, epochs=0)
    np.testing.assert_allclose(probabilities(state), 1 / 3)
    with pytest.raises(ValueError, match="before it trains"):
        next(iter_checkpoints(GaussianNB(), X, y, epochs=0))


def test_learning_rates_follow_the_schedule(table):
    X, y = table
    net = MLPClassifier(
        (5,), solver="sgd", learning_rate="invscaling", learning_rate_init=0.1
    )
    rates = [c.learning_rate for c in iter_checkpoints(net, X, y, epochs=3)]
    np.testing.assert_allclose(rates, 0.1 / (90.0 * np.arange(1, 4) + 1) ** 0.5)
    net.set_params(learning_rate="constant")
    rates = [c.learning_rate for c in iter_checkpoints(net, X, y, epochs=2)]
    assert rates == [0.1, 0.1]
    net.set_params(learning_rate="adaptive", tol=10.0, n_iter_no_change=1)
    rates = [c.learning_rate for c in iter_checkpoints(net, X, y, epochs=6)]
    assert rates[-1] < rates[0] == 0.1
    assert np.isnan(learning_rate(GaussianNB()))


@pytest.mark.parametrize("schedule", ["optimal", "invscaling", "constant"])
def test_learning_rates_of_linear_models(schedule):
    """The step of one row moves the weights by the rate times the gradient."""
    X, y = np.ones((1, 1)), np.array([1])
    model = SGDClassifier(
        loss="log_loss",
        learning_rate=schedule,
        eta0=0.3,
        penalty="l2",
        alpha=1e-3,
        fit_intercept=False,
    )
    for _ in range(5):
        model.partial_fit(X, y, classes=[0, 1])
    before, rate = model.coef_.item(), learning_rate(model)
    model.partial_fit(X, y)
    gradient = -1 / (1 + np.exp(before))
    expected = before * (1 - rate * 1e-3) - rate * gradient
    assert model.coef_.item() == pytest.approx(expected, rel=1e-9)


def test_times_of_checkpoints():
    net = MLPClassifier(batch_size=32)
    assert checkpoint_times(net, 100, 0, 1.0) == (0.0,)
    assert checkpoint_times(net, 100, 3, 1.0) == (1, 2, 3)
    assert checkpoint_times(net, 100, 3, 2.0) == (2, 3)
    assert checkpoint_times(net, 100, 1, (0.5, 1.0)) == (0.5, 1.0)
    assert len(checkpoint_times(net, 100, 2, 0.1)) == 20
    np.testing.assert_allclose(checkpoint_times(net, 96, 1, 1), [1 / 3, 2 / 3, 1])


class Counting(FunctionTransformer):
    """Counts its fits."""

    fits = 0

    def fit(self, X, y=None):
        type(self).fits += 1
        return super().fit(X, y)


def test_transformers_are_fitted_once(table):
    X, y = table
    Counting.fits = 0
    inner = make_pipeline(SelectKBest(k=3), SGDClassifier(loss="log_loss"))
    pipeline = make_pipeline(StandardScaler(), Counting(), "passthrough", inner)
    states = iter_checkpoints(pipeline, X, y, epochs=3, random_state=0)
    for checkpoint in states:
        assert checkpoint.X.shape == (90, 3)
        expected = checkpoint.estimator.predict_proba(X)
        np.testing.assert_allclose(probabilities(checkpoint), expected, rtol=1e-9)
    assert Counting.fits == 1
    assert checkpoint.epoch == 3


def test_parts_of_sparse_tables(table, global_random_seed):
    X, y = table
    settings = {
        "epochs": 1,
        "check_every": 0.25,
        "random_state": global_random_seed,
    }
    net = MLPClassifier((5,), batch_size=8)
    dense = [probabilities(c) for c in iter_checkpoints(net, X, y, **settings)]
    csr = sparse.csr_array(X)
    for a, c in zip(dense, iter_checkpoints(net, csr, y, **settings), strict=True):
        np.testing.assert_allclose(probabilities(c), a, rtol=1e-9)


def test_every_random_state_is_a_generator_of_its_own(table):
    X, y = table
    estimator = make_pipeline(
        FunctionTransformer(),
        AdaBoostClassifier(RandomForestClassifier(2), n_estimators=2),
    )
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (it is what we guard)
    runs = [
        [
            probabilities(c)
            for c in iter_checkpoints(estimator, X, y, epochs=2, random_state=seed)
        ]
        for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0][0] != runs[2][0]).any()
    states = seeded(clone(estimator), 0).get_params()
    found = [v for k, v in states.items() if k.endswith("random_state")]
    assert len(found) == 2
    assert all(isinstance(state, np.random.RandomState) for state in found)
    assert found[0].randint(10**6) != found[1].randint(10**6)
