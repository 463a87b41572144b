"""The scorers: closed forms, other rows, bad input, published findings."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_classification
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import (
    StratifiedKFold,
    cross_val_predict,
    train_test_split,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpapers.data_selection import (
    EL2NScorer,
    EnsembleScorer,
    ForgettingScorer,
    GraNdScorer,
    PVIScorer,
    ScoreBank,
    TracInScorer,
    VoGScorer,
)
from skpapers.data_selection._checkpoints import iter_checkpoints, last_step
from skpapers.data_selection._scorers._base import stability
from skpapers.utils import DataConditionWarning

NET = MLPClassifier((8,), solver="sgd", learning_rate_init=0.1, batch_size=16)
ALL = [
    EL2NScorer(NET, epochs=3, n_runs=2),
    GraNdScorer(NET, epochs=3, n_runs=2),
    VoGScorer(NET, epochs=3, n_checkpoints=3),
    ForgettingScorer(NET, epochs=2, check_every=0.5, n_runs=2),
    PVIScorer(NET, epochs=3, n_runs=2),
    PVIScorer(NET, epochs=3, n_runs=2, cv=3, null_model="fit"),
    TracInScorer(NET, epochs=3, n_checkpoints=3),
    EnsembleScorer([("a", EL2NScorer(NET, epochs=2, n_runs=2))]),
]
GRADIENTS = (GraNdScorer, VoGScorer, TracInScorer)
few_runs = pytest.mark.filterwarnings("ignore:n_runs=2 is too small")


def name_of(scorer):
    return type(scorer).__name__


each_scorer = pytest.mark.parametrize("scorer", ALL, ids=name_of)


@pytest.fixture(scope="module")
def table():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X)[::2], y[::2]


def seed_of_run(random_state, run):
    return np.random.RandomState(random_state).randint(2**31 - 1, size=run + 1)[run]


# ------------------------------------------------------------------------ closed forms


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


# -------------------------------------------------------------------------- invariants


@few_runs
@each_scorer
def test_names_of_labels_do_not_matter(table, scorer):
    X, y = table
    y = (y > 0).astype(int)
    scorer = clone(scorer).set_params(random_state=0)
    plain = clone(scorer).fit(X, y).scores_
    for names in (np.array(["no", "yes"]), np.array([-5, -3]), np.array([False, True])):
        named = clone(scorer).fit(X, names[y])
        np.testing.assert_array_equal(named.scores_, plain)
        np.testing.assert_array_equal(named.classes_, names)


def test_order_of_rows_does_not_matter_to_a_linear_model(table, global_random_seed):
    X, y = table
    order = np.random.default_rng(global_random_seed).permutation(len(y))
    for scorer in (
        EL2NScorer(LogisticRegression(tol=1e-9), epochs=None, n_runs=1),
        GraNdScorer(LogisticRegression(tol=1e-9), epochs=None, n_runs=1),
    ):
        plain = clone(scorer).fit(X, y).scores_
        mixed = clone(scorer).fit(X[order], y[order]).scores_
        np.testing.assert_allclose(mixed, plain[order], rtol=1e-4)


@few_runs
@each_scorer
def test_sparse_tables_score_as_dense_ones(table, scorer):
    X, y = table
    X = np.where(np.abs(X) < 0.3, 0, X)
    scorer = clone(scorer).set_params(random_state=0)
    dense = clone(scorer).fit(X, y)
    for container in (sparse.csr_array, sparse.csc_matrix):
        found = clone(scorer).fit(container(X), y)
        np.testing.assert_allclose(found.scores_, dense.scores_, rtol=1e-7, atol=1e-9)
        again = found.score_samples(container(X), y)
        np.testing.assert_allclose(
            again, dense.score_samples(X, y), rtol=1e-7, atol=1e-9
        )


@few_runs
@each_scorer
def test_other_rows_are_scored_as_the_training_rows(table, scorer):
    X, y = table
    fitted = clone(scorer).set_params(random_state=0).fit(X, y)
    again = fitted.score_samples(X, y)
    if getattr(scorer, "cv", None) is None:
        np.testing.assert_allclose(again, fitted.scores_, rtol=1e-9, atol=1e-12)
    part = fitted.score_samples(X[10:13], y[10:13])
    np.testing.assert_allclose(part, again[10:13], rtol=1e-9, atol=1e-12)
    guessed = fitted.score_samples(X)  # as if the classifier was right
    predicted = sum(
        e.predict_proba(X)
        for e in getattr(fitted, "estimators_", None)
        or fitted.scorers_["a"].estimators_
    ).argmax(axis=1)
    np.testing.assert_allclose(guessed, fitted.score_samples(X, predicted))
    with pytest.raises(ValueError, match="labels that fit did not see: \\[7\\]"):
        fitted.score_samples(X[:2], [0, 7])
    with pytest.raises(ValueError, match="inconsistent"):
        fitted.score_samples(X[:2], y[:3])
    with pytest.raises(NotFittedError):
        clone(scorer).score_samples(X, y)


@pytest.mark.parametrize("cls", [VoGScorer, ForgettingScorer, TracInScorer])
def test_checkpoints_need_not_be_kept(table, cls):
    scorer = cls(NET, epochs=2, n_runs=1, keep_checkpoints=False, random_state=0)
    kept = clone(scorer).set_params(keep_checkpoints=True).fit(*table)
    np.testing.assert_array_equal(scorer.fit(*table).scores_, kept.scores_)
    assert not scorer.checkpoints_[0]["models"]
    with pytest.raises(ValueError, match="keep_checkpoints=True"):
        scorer.score_samples(*table)


@few_runs
@each_scorer
def test_workers_change_nothing(table, scorer, global_random_seed):
    scorer = clone(scorer).set_params(random_state=global_random_seed)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (it is what we guard)
    one = clone(scorer).fit(*table).scores_
    two = clone(scorer).set_params(n_jobs=2).fit(*table).scores_
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    other = clone(scorer).set_params(random_state=global_random_seed + 1).fit(*table)
    assert (other.scores_ != one).any()


@few_runs
@pytest.mark.parametrize("dtype", [np.float32, int, bool])
@pytest.mark.parametrize("scorer", ALL[:3], ids=name_of)
def test_kinds_of_numbers(table, scorer, dtype):
    X, y = table
    X = X.astype(dtype)
    scorer = clone(scorer).set_params(random_state=0).fit(X, y)
    reference = clone(scorer).fit(X.astype(float), y)
    assert scorer.scores_.dtype == np.float64
    tolerance = 1e-2 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(scorer.scores_, reference.scores_, atol=tolerance)


# ------------------------------------------------------------------ degenerate and bad


@each_scorer
def test_small_and_poor_tables(scorer):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3))
    X[:, 1] = 2.0
    scorer = clone(scorer).set_params(random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConditionWarning)
        one = clone(scorer).fit(X, np.full(30, "a"))
        np.testing.assert_array_equal(one.scores_, 0)
        np.testing.assert_array_equal(one.score_samples(X[:3]), 0)
        lonely = clone(scorer).fit(X, np.r_[0, np.ones(29)])
        assert np.isfinite(lonely.scores_).all()
        if getattr(scorer, "cv", None) is None:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Got `batch_size`")
                two = clone(scorer).fit(X[:2], [0, 1])
            assert two.scores_.shape == (2,)


@few_runs
@pytest.mark.parametrize("scorer", ALL[:-1], ids=name_of)
def test_one_run_has_no_spread(table, scorer):
    scorer = clone(scorer).set_params(n_runs=1, random_state=0).fit(*table)
    np.testing.assert_array_equal(scorer.scores_std_, 0)
    assert np.isnan(scorer.stability_)
    np.testing.assert_array_equal(scorer.scores_per_run_, scorer.scores_[None])


@each_scorer
def test_targets_have_to_be_classes(table, scorer):
    X, _ = table
    with pytest.raises(ValueError, match="Unknown label type"):
        clone(scorer).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="requires y"):
        clone(scorer).fit(X, None)


@few_runs
@pytest.mark.parametrize("scorer", ALL[:-1], ids=name_of)
def test_classifiers_have_to_suit(table, scorer):
    X, y = table
    for bad, error, match in [
        (SGDClassifier(), TypeError, "SGDClassifier has not"),
        (KNeighborsClassifier(), ValueError, "Pass epochs=None"),
    ]:
        if isinstance(scorer, GRADIENTS) and error is ValueError:
            error, match = TypeError, "KNeighborsClassifier has no gradients"
        with pytest.raises(error, match=match):
            clone(scorer).set_params(estimator=bad).fit(X, y)
    for trees in (HistGradientBoostingClassifier(), RandomForestClassifier(5)):
        boosted = clone(scorer).set_params(estimator=trees)
        if isinstance(scorer, GRADIENTS):
            with pytest.raises(TypeError, match="EL2NScorer"):
                boosted.fit(X, y)
        else:
            assert np.isfinite(boosted.fit(X, y).scores_).all()


def test_classifiers_that_hold_others(table):
    """They have probabilities if these have, which shows when they are fitted."""
    for estimator, error in [
        (StackingClassifier([("a", LogisticRegression())]), None),
        (OneVsRestClassifier(LogisticRegression()), None),
        (VotingClassifier([("a", GaussianNB())]), TypeError),
    ]:
        scorer = EL2NScorer(estimator, epochs=None, n_runs=1, random_state=0)
        if error is None:
            again = scorer.fit(*table).score_samples(*table)
            np.testing.assert_allclose(again, scorer.scores_, rtol=1e-9, atol=1e-12)
        else:
            with pytest.raises(error, match="predict_proba"):
                scorer.fit(*table)


@few_runs
@pytest.mark.parametrize("cls", GRADIENTS)
@pytest.mark.parametrize(
    "estimator",
    [
        KNeighborsClassifier(),  # cannot be looked at while it trains either
        GaussianNB(),
        make_pipeline(StandardScaler(), KNeighborsClassifier()),
        OneVsRestClassifier(LogisticRegression()),
    ],
)
def test_gradients_need_a_known_classifier(table, cls, estimator):
    name = type(last_step(estimator)).__name__
    words = f"{name} has no gradients.*LogisticRegression.*MLPClassifier.*EL2NScorer"
    with pytest.raises(TypeError, match=words):
        cls(estimator).fit(*table)


@pytest.mark.parametrize(
    ("scorer", "match"),
    [
        (EL2NScorer(norm=3), "norm"),
        (EL2NScorer(epochs=-1), "epochs"),
        (PVIScorer(epochs=0), "epochs"),
        (PVIScorer(cv=1), "cv"),
        (PVIScorer(null_model="none"), "null_model"),
        (VoGScorer(epochs=None), "epochs"),
        (VoGScorer(n_checkpoints=1), "n_checkpoints"),
        (VoGScorer(output="label"), "output"),
        (ForgettingScorer(check_every=0.0), "check_every"),
        (ForgettingScorer(never_learned=3), "never_learned"),
        (TracInScorer(learning_rates=[1.0, 2.0]), "10 checkpoints"),
        (TracInScorer(learning_rates=-1.0), "learning_rates"),
        (GraNdScorer(n_runs=0), "n_runs"),
        (EnsembleScorer(combine="sum"), "combine"),
    ],
)
def test_parameters_are_checked(table, scorer, match):
    with pytest.raises(ValueError, match=match):
        scorer.fit(*table)


class Fragile(GaussianNB):
    """Breaks in its third fit, in one way or the other."""

    fits, says = 0, np.nan

    def fit(self, X, y):
        type(self).fits += 1
        return super().fit(X, y)

    def predict_proba(self, X):
        p = super().predict_proba(X)
        return np.full_like(p, np.nan) if self.fits == 3 else p


class DivergingScorer(EL2NScorer):
    """Has a score that is not finite in its third run."""

    def _store(self, table, runs):
        runs[2]["scores"][4] = np.inf
        super()._store(table, runs)


def test_a_diverging_run_is_named(table):
    Fragile.fits = 0
    for scorer in (
        EL2NScorer(Fragile(), epochs=None, n_runs=4),
        DivergingScorer(GaussianNB(), epochs=None, n_runs=4),
    ):
        with pytest.raises(ValueError, match=r"run 3 of 4.*finite"):
            scorer.fit(*table)
        assert not hasattr(scorer, "scores_")
    net = clone(NET).set_params(learning_rate_init=1e200)
    with (
        pytest.raises(ValueError, match=r"run 1 of 2.*finite"),
        np.errstate(all="ignore"),
    ):
        EL2NScorer(net, epochs=3, n_runs=2).fit(*table)


def test_untrained_networks_are_warned_of(table):
    for cls in (GraNdScorer, EL2NScorer):
        scorer = cls(NET, epochs=0, n_runs=1, random_state=0)
        with pytest.warns(UserWarning, match="does not reproduce"):
            scorer.fit(*table)
        np.testing.assert_allclose(scorer.score_samples(*table), scorer.scores_)


def test_columns_of_very_different_scales_are_warned_of(table):
    X, y = table
    scorer = EL2NScorer(epochs=1, n_runs=1, random_state=0)
    scorer.fit(X * [1, 1, 1, 900], y)
    for container in (np.asarray, sparse.csr_array):
        with pytest.warns(DataConditionWarning, match="range from 1.*e-04 to"):
            clone(scorer).fit(container(X * [1, 1, 1, 1e-4]), y)
    # own classifiers are the user's business
    clone(scorer).set_params(estimator=GaussianNB()).fit(X * [1, 1, 1, 1e-4], y)


def test_too_few_runs_are_warned_of(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y = rng.standard_normal((100, 3)), np.arange(100) % 2

    class Dice(GaussianNB):
        def __init__(self, random_state=None):
            super().__init__()
            self.random_state = random_state

        def predict_proba(self, X):
            p = self.random_state.uniform(size=len(X))
            return np.column_stack([p, 1 - p])

    scorer = EL2NScorer(Dice(), epochs=None, n_runs=4, random_state=global_random_seed)
    with pytest.warns(DataConditionWarning, match="n_runs=4 is too small"):
        scorer.fit(X, y)
    assert abs(scorer.stability_) < 0.3


def test_stability(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    scores = rng.standard_normal((4, 50)) + 2 * rng.standard_normal(50)
    expected = [
        spearmanr(scores[r], np.delete(scores, r, axis=0).mean(axis=0)).statistic
        for r in range(4)
    ]
    assert stability(scores) == pytest.approx(np.mean(expected))
    assert stability(np.exp(scores[:1].repeat(3, axis=0))) == pytest.approx(1)
    assert stability(np.zeros((2, 5))) == 1
    assert stability(np.array([np.arange(5), np.zeros(5)])) == 0
    assert np.isnan(stability(scores[:1]))


# -------------------------------------------------------------- metadata, texts, frames


def test_sample_weights_are_routed(table):
    X, y = table
    weight = np.where(np.arange(len(y)) % 2, 1.0, 0.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = GaussianNB().set_fit_request(sample_weight=True)
        scorer = PVIScorer(model, epochs=1, n_runs=1, random_state=0)
        scorer.fit(X, y, sample_weight=weight)
        p = GaussianNB().fit(X, y, sample_weight=weight).predict_proba(X)
        prior = np.bincount(y, weight) / weight.sum()
        rows = np.arange(len(y))
        np.testing.assert_allclose(
            scorer.scores_, np.log2(p[rows, y] / prior[y]), rtol=1e-6, atol=1e-9
        )
        pipeline = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False), model
        )
        piped = clone(scorer).set_params(estimator=pipeline)
        piped.fit(X, y, sample_weight=weight)
        np.testing.assert_allclose(piped.scores_, scorer.scores_, rtol=1e-4, atol=1e-4)
        bank = ScoreBank([("a", scorer)]).fit(X, y, sample_weight=weight)
        np.testing.assert_array_equal(bank.scores_[:, 0], scorer.scores_)
        with pytest.raises(ValueError, match="one entry for each row"):
            scorer.fit(X, y, sample_weight=weight[:3])
        with pytest.raises(TypeError, match="sample_weight"):
            EL2NScorer(KNeighborsClassifier(), epochs=None).fit(
                X, y, sample_weight=weight
            )
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        PVIScorer(GaussianNB(), n_runs=1).fit(X, y, sample_weight=weight)
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        ScoreBank([("a", PVIScorer())]).fit(X, y, sample_weight=weight)


@few_runs
@pytest.mark.parametrize(
    "cls", [EL2NScorer, GraNdScorer, ForgettingScorer, PVIScorer, TracInScorer]
)
def test_texts_go_through_a_pipeline(cls, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    y = np.arange(60) % 2
    words = np.array([["red", "green", "blue"], ["one", "two", "three"]])
    texts = [" ".join(rng.choice(words[k], 4)) for k in y]
    y[0] = 1 - y[0]
    pipeline = make_pipeline(TfidfVectorizer(), SGDClassifier(loss="log_loss"))
    for container in (list, lambda t: np.array(t, dtype=object), pd.Series):
        scorer = cls(pipeline, epochs=3, n_runs=2, random_state=0)
        scorer.fit(container(texts), y)
        assert scorer.hardness_[0] >= np.percentile(scorer.hardness_, 80)
        again = scorer.score_samples(container(texts), y)
        np.testing.assert_allclose(again, scorer.scores_, rtol=1e-9, atol=1e-12)


def test_pipelines_read_frames(table):
    X, y = table
    frame = pd.DataFrame(X, columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), NET)
    scorer = ForgettingScorer(pipeline, epochs=1, check_every=0.5, n_runs=1)
    scorer.fit(frame, y)
    assert list(scorer.feature_names_in_) == list("abcd")
    np.testing.assert_array_equal(scorer.score_samples(frame, y), scorer.scores_)


# ------------------------------------------------------------------- published findings

DIGITS_NET = MLPClassifier(
    (128,),
    solver="sgd",
    learning_rate_init=0.05,
    momentum=0.9,
    batch_size=32,
    alpha=5e-4,
)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16, y, random_state=0, stratify=y, test_size=0.25)


def accuracy(net, X, y, X_test, y_test, n_steps, n_repeats=3):
    """Mean test accuracy after the same number of steps whatever the rows."""
    found = []
    for seed in range(n_repeats):
        n_epochs = max(round(n_steps / -(-len(y) // net.batch_size)), 1)
        *_, last = iter_checkpoints(net, X, y, epochs=n_epochs, random_state=seed)
        found.append(last.estimator.score(X_test, y_test))
    return np.mean(found)


def half(scores, rule):
    """Return half of the rows."""
    k = len(scores) // 2
    if rule == "random":
        return np.random.default_rng(0).permutation(len(scores))[:k]
    order = np.argsort(scores)
    return order[-k:] if rule == "hardest" else order[:k]


@pytest.mark.filterwarnings("ignore:GraNdScorer\\(epochs=0\\)")
def test_half_of_the_digits_serve_as_well_as_all(digits):
    """Neither does a random half, nor one that was chosen before training."""
    X, X_test, y, y_test = digits
    scorers = [
        ("el2n", EL2NScorer(DIGITS_NET, n_runs=5)),
        ("grand", GraNdScorer(DIGITS_NET, n_runs=5)),
        ("start", GraNdScorer(DIGITS_NET, epochs=0, n_runs=20)),
    ]
    bank = ScoreBank(scorers, random_state=0).fit(X, y)
    assert bank.n_trainings_ == 5 + 20
    el2n, grand, start = bank.scores_.T
    assert spearmanr(el2n, grand).statistic > 0.99
    assert spearmanr(start, np.linalg.norm(X, axis=1)).statistic > 0.94
    chosen = {
        "full": slice(None),
        "random": half(el2n, "random"),
        "hardest": half(el2n, "hardest"),
        "easiest": half(el2n, "easiest"),
        "start": half(start, "hardest"),
    }
    found = {
        name: accuracy(DIGITS_NET, X[rows], y[rows], X_test, y_test, 1500)
        for name, rows in chosen.items()
    }
    assert found["hardest"] >= found["full"] - 0.006
    assert found["hardest"] > found["random"] + 0.006
    assert found["easiest"] < found["random"]
    assert found["start"] < found["random"] + 0.006
    assert found["hardest"] > found["start"] + 0.006


def test_hard_half_of_a_taught_table_beats_all_of_it():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((10, 20)), rng.standard_normal((20, 4))
    X = rng.standard_normal((9000, 10))
    logits = np.maximum(X @ first, 0) @ second
    y = (logits - logits.mean(axis=0)).argmax(axis=1)
    X, X_test, y, y_test = X[:6000], X[6000:], y[:6000], y[6000:]
    net = clone(DIGITS_NET).set_params(batch_size=128)
    scorers = [
        ("el2n", EL2NScorer(net, n_runs=3)),
        ("grand", GraNdScorer(net, n_runs=3)),
        ("vog", VoGScorer(net)),
    ]
    el2n, grand, vog = ScoreBank(scorers, random_state=0).fit(X, y).hardness_.T
    chosen = {
        "full": slice(None),
        "random": half(el2n, "random"),
        "easiest": half(el2n, "easiest"),
        "el2n": half(el2n, "hardest"),
        "grand": half(grand, "hardest"),
        "vog": half(vog, "hardest"),
    }
    found = {
        name: accuracy(net, X[rows], y[rows], X_test, y_test, 1500, 2)
        for name, rows in chosen.items()
    }
    assert found["easiest"] < found["random"]
    assert (
        min(found[name] for name in ("el2n", "grand", "vog")) > found["random"] + 0.006
    )
    assert max(found["el2n"], found["grand"]) > found["full"]


def test_wrong_labels_are_found_but_not_by_vog(digits):
    X, _, y, _ = digits
    rng = np.random.default_rng(0)
    wrong = rng.random(len(y)) < 0.2
    y = np.where(wrong, (y + rng.integers(1, 10, len(y))) % 10, y)
    scorers = [
        ("el2n", EL2NScorer(DIGITS_NET, n_runs=3)),
        ("pvi", PVIScorer(DIGITS_NET, epochs=10, n_runs=3)),
        ("forgetting", ForgettingScorer(DIGITS_NET, epochs=10, check_every=1.0)),
        ("tracin", TracInScorer(DIGITS_NET)),
        ("vog", VoGScorer(DIGITS_NET)),
        ("vog logit", VoGScorer(DIGITS_NET, output="logit")),
    ]
    bank = ScoreBank(scorers, random_state=0).fit(X, y)
    assert bank.n_trainings_ == 3
    found = [roc_auc_score(wrong, hardness) for hardness in bank.hardness_.T]
    assert min(found[:4]) > 0.98
    assert max(found[4:]) < 0.5


def test_early_stages_of_boosting_find_wrong_labels_best():
    X, y = make_classification(
        1500,
        20,
        n_informative=8,
        n_classes=3,
        class_sep=1.5,
        flip_y=0,
        random_state=1,
    )
    rng = np.random.default_rng(0)
    wrong = rng.random(len(y)) < 0.15
    y = np.where(wrong, (y + rng.integers(1, 3, len(y))) % 3, y)
    boosting = HistGradientBoostingClassifier(max_leaf_nodes=15)
    scorer = EL2NScorer(boosting, epochs=60, n_runs=1, score_path=True).fit(X, y)
    found = [roc_auc_score(wrong, scores) for scores in scorer.score_path_]
    assert len(found) == 60
    assert max(found[9:20]) > 0.95
    assert found[-1] < max(found[9:20]) - 0.005
