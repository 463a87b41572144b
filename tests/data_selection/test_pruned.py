"""The pruned classifier: kept rows, cut metadata, cached scores, delegation."""

from itertools import combinations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_digits, make_classification
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skpapers.data_selection import (
    EL2NScorer,
    InfluenceSampler,
    NoisyLabelDetector,
    PrunedClassifier,
    pruning_curve,
)

# the hardest half is often hard on a class; tests of that have their own expectations
pytestmark = pytest.mark.filterwarnings("ignore::skpapers.utils.DataConditionWarning")
MODEL = LogisticRegression(max_iter=500)
SCORER = EL2NScorer(MODEL, epochs=None, n_runs=1)


class Counting(LogisticRegression):
    """Counts its trainings."""

    trained: list[int] = []

    def fit(self, *args, **kwargs):
        self.trained.append(1)
        return super().fit(*args, **kwargs)


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps what its fit was given."""

    def fit(self, X, y, sample_weight=None, groups=None, names=None, option=None):
        self.given_ = {
            "X": X,
            "y": y,
            "sample_weight": sample_weight,
            "groups": groups,
            "names": names,
            "option": option,
        }
        self.classes_ = np.unique(y)
        return self

    def predict(self, X, shift=0):
        return np.full(len(X), self.classes_[0]) + shift


@pytest.fixture
def table(global_random_seed):
    return make_classification(
        200, 6, n_informative=4, n_classes=3, random_state=global_random_seed
    )


def test_trains_on_the_kept_rows_alone(table):
    X, y = table
    pruned = PrunedClassifier(MODEL, SCORER, keep=0.4, by="class").fit(X, y)
    assert pruned.support_.sum() == 80
    np.testing.assert_array_equal(
        np.flatnonzero(pruned.support_), pruned.get_support(1)
    )
    by_hand = clone(MODEL).fit(X[pruned.support_], y[pruned.support_])
    np.testing.assert_array_equal(pruned.estimator_.coef_, by_hand.coef_)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        np.testing.assert_array_equal(
            getattr(pruned, method)(X), getattr(by_hand, method)(X)
        )
    np.testing.assert_array_equal(
        pruned.decision_function(X), by_hand.decision_function(X)
    )
    assert pruned.score(X, y) == by_hand.score(X, y)


def test_keeping_everything_is_a_plain_fit(table):
    X, y = table
    pruned = PrunedClassifier(MODEL, SCORER, keep=1.0).fit(X, y)
    np.testing.assert_array_equal(pruned.estimator_.coef_, clone(MODEL).fit(X, y).coef_)


def test_a_grid_over_keep_and_offset_scores_once_a_fold(table, tmp_path):
    """Also where candidates differ in the classifier that is trained."""
    scorer = EL2NScorer(Counting(max_iter=500), epochs=None, n_runs=2)
    pruned = PrunedClassifier(
        MODEL, scorer, policy="window", random_state=0, memory=str(tmp_path)
    )
    grid = {"keep": [0.4, 0.6], "offset": [0, 0.1, 0.2], "estimator__C": [0.1, 1.0]}
    Counting.trained.clear()
    search = GridSearchCV(pruned, grid, cv=3).fit(*table)
    assert len(search.cv_results_["params"]) == 12
    assert len(Counting.trained) == 2 * (3 + 1)  # runs times folds and the refit
    assert search.best_estimator_.support_.mean() in (0.4, 0.6)
    Counting.trained.clear()
    GridSearchCV(pruned.set_params(memory=None), grid, cv=3).fit(*table)
    assert len(Counting.trained) == 2 * (12 * 3 + 1)


def test_a_grid_over_the_scorer_scores_once_for_each(table, tmp_path):
    scorer = EL2NScorer(Counting(max_iter=500), epochs=None, n_runs=1)
    pruned = PrunedClassifier(MODEL, scorer, memory=str(tmp_path), by="class")
    grid = {"keep": [0.4, 0.6], "scorer__norm": [1, 2], "policy": ["hardest", "linear"]}
    Counting.trained.clear()
    GridSearchCV(pruned, grid, cv=3, refit=False).fit(*table)
    assert len(Counting.trained) == 2 * 3


def test_everything_with_an_entry_for_each_row_is_cut(table):
    X, y = table
    n = len(y)
    weight, names = np.arange(n) + 1.0, [f"row {i}" for i in range(n)]
    pruned = PrunedClassifier(Recorder(), SCORER, keep=0.4, by="class")
    pruned.fit(
        X,
        y,
        sample_weight=weight,
        groups=pd.Series(y),
        names=names,
        option={"depth": 3},
    )
    given, rows = pruned.estimator_.given_, pruned.sample_indices_
    np.testing.assert_array_equal(given["X"], X[rows])
    np.testing.assert_array_equal(given["y"], y[rows])
    np.testing.assert_array_equal(given["sample_weight"], weight[rows])
    np.testing.assert_array_equal(given["groups"], y[rows])
    assert given["names"] == [names[i] for i in rows]
    assert given["option"] == {"depth": 3}
    assert (pruned.predict(X, shift=2) == 2).all()


def test_weights_are_of_all_rows(table):
    """Also where they would do for the kept ones."""
    X, y = table
    pruned = PrunedClassifier(MODEL, SCORER, keep=20, by="class")
    with pytest.raises(ValueError, match=f"sample_weight has 20 .* {len(y)} rows"):
        pruned.fit(X, y, sample_weight=np.ones(20))
    pruned.fit(X, y, sample_weight=None)


def test_curve_of_a_pipeline(table):
    X, y = table
    model = make_pipeline(StandardScaler(), MODEL)
    options = {"keeps": [0.5], "cv": 3, "n_draws": 1, "random_state": 0}
    frame = pd.DataFrame(X).add_prefix("column ")
    curve = pruning_curve(model, SCORER, frame, y, **options)
    assert curve["score"].shape == (3 + 3 + 3,)
    search = GridSearchCV(model, {"logisticregression__C": [1.0]}, cv=2)
    of_search = pruning_curve(search, SCORER, frame, y, **options)
    np.testing.assert_array_equal(curve["score"], of_search["score"])


def test_metadata_routing(table):
    X, y = table
    weight = np.random.default_rng(0).random(len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        inner = clone(MODEL).set_fit_request(sample_weight=True)
        inner.set_score_request(sample_weight=True)
        scorer = EL2NScorer(
            clone(MODEL).set_fit_request(sample_weight="trust"), epochs=None, n_runs=1
        )
        pruned = PrunedClassifier(inner, scorer, keep=0.5, by="class")
        pruned.fit(X, y, sample_weight=weight, trust=1 / (1 + weight))
        rows = pruned.sample_indices_
        by_hand = clone(MODEL).fit(X[rows], y[rows], sample_weight=weight[rows])
        np.testing.assert_array_equal(pruned.estimator_.coef_, by_hand.coef_)
        scores = clone(scorer).fit(X, y, trust=1 / (1 + weight)).scores_
        np.testing.assert_allclose(pruned.scores_, scores)
        assert pruned.score(X, y, sample_weight=weight) == by_hand.score(X, y, weight)
        found = cross_val_score(pruned, X, y, params={"sample_weight": weight}, cv=3)
        assert found.shape == (3,)
        by_default = PrunedClassifier(inner, EL2NScorer(epochs=1, n_runs=2))
        by_default.fit(X, y, sample_weight=weight)  # for the classifier alone
        with pytest.raises(TypeError, match="sample_weight"):
            EL2NScorer().fit(X, y, sample_weight=weight)
        with pytest.raises(TypeError, match="colour"):
            PrunedClassifier(Recorder(), SCORER).fit(X, y, colour=weight)


def test_reweight(table):
    X, y = table
    y = np.where(y == 2, 1, y)  # one third and two thirds
    for reweight in (True, "prior"):
        pruned = PrunedClassifier(MODEL, SCORER, keep=0.4, reweight=reweight).fit(X, y)
        kept = y[pruned.support_]
        factor = np.bincount(y) / len(y) / (np.bincount(kept) / len(kept))
        by_hand = clone(MODEL).fit(X[pruned.support_], kept, factor[kept])
        np.testing.assert_allclose(pruned.estimator_.coef_, by_hand.coef_)
    weight = np.random.default_rng(0).random(len(y))
    pruned.fit(X, y, sample_weight=weight)
    by_hand.fit(X[pruned.support_], kept, factor[kept] * weight[pruned.support_])
    np.testing.assert_allclose(pruned.estimator_.coef_, by_hand.coef_)
    pipe = make_pipeline(StandardScaler(), MODEL)
    inverse = PrunedClassifier(
        pipe, SCORER, policy="linear", reweight="inverse", random_state=0
    ).fit(X, y)
    plain = clone(inverse).set_params(reweight=False).fit(X, y)
    difference = inverse.estimator_[-1].coef_ - plain.estimator_[-1].coef_
    assert abs(difference).max() > 1e-3
    with pytest.raises(ValueError, match="KNeighborsClassifier does not"):
        PrunedClassifier(KNeighborsClassifier(), SCORER, reweight=True).fit(X, y)


def test_methods_of_the_classifier_within(table):
    plain = PrunedClassifier(RidgeClassifier(), SCORER)
    assert hasattr(plain, "decision_function")
    assert not hasattr(plain, "predict_proba")
    bayes = PrunedClassifier(GaussianNB(), SCORER).fit(*table)
    assert hasattr(bayes, "predict_proba")
    assert not hasattr(bayes, "decision_function")
    with pytest.raises(AttributeError, match="decision_function"):
        bayes.decision_function


def test_classes_of_which_no_row_is_kept(table):
    X, y = table
    y = np.array(["a", "b", "c"])[y]
    easy = PrunedClassifier(MODEL, SCORER, policy="random", min_per_class=0, keep=4)
    for seed in range(50):
        easy.set_params(random_state=seed)
        if len(np.unique(y[np.random.RandomState(0).permutation(200)[:4]])) < 2:
            continue
        try:
            easy.fit(X, y)
        except ValueError:  # one class alone cannot be trained on
            continue
        if len(easy.estimator_.classes_) == 2:
            break
    missing = np.isin(easy.classes_, easy.estimator_.classes_, invert=True)
    assert missing.sum() == 1
    p = easy.predict_proba(X)
    assert p.shape == (200, 3)
    np.testing.assert_array_equal(p[:, missing], 0)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    decision = easy.decision_function(X)
    np.testing.assert_array_equal(
        easy.classes_[decision.argmax(axis=1)], easy.predict(X)
    )
    np.testing.assert_array_equal(decision[:, missing], -np.inf)


class OwnHardness(BaseEstimator):
    """Finds the classes from a number on hard."""

    def __init__(self, first_hard=3):
        self.first_hard = first_hard

    def fit(self, X, y):
        self.scores_ = self.hardness_ = (y >= self.first_hard).astype(float)
        return self


@pytest.mark.parametrize("wrap", ["plain", "pipeline", "search"])
@pytest.mark.parametrize("first_hard", [2, 3, 4])
def test_pairs_of_classes_of_which_no_row_is_kept(first_hard, wrap):
    """The votes of the pairs elect the class that is predicted."""
    X, y = load_digits(n_class=5, return_X_y=True)
    X, y = X[:250], y[:250]
    model = SVC(decision_function_shape="ovo")
    if wrap == "pipeline":
        model = make_pipeline(StandardScaler(), model)
    if wrap == "search":
        model = GridSearchCV(model, {"C": [1.0]}, cv=2)
    keep = int((y < first_hard).sum())
    pruned = PrunedClassifier(
        model, OwnHardness(first_hard), policy="easiest", keep=keep, min_per_class=0
    ).fit(X, y)
    known = pruned.estimator_.classes_
    assert known.tolist() == list(range(first_hard))
    decision = pruned.decision_function(X)
    assert decision.shape == (250, 10)
    votes = np.zeros((250, 5))
    for column, (a, b) in enumerate(combinations(range(5), 2)):
        votes[:, a] += decision[:, column] > 0
        votes[:, b] += decision[:, column] < 0
    predicted = pruned.predict(X)
    assert (votes[np.arange(250), predicted] == votes.max(axis=1)).all()
    inner = pruned.estimator_.decision_function(X)
    pairs = list(combinations(range(5), 2))
    if first_hard > 2:
        own = [pairs.index(pair) for pair in combinations(range(first_hard), 2)]
        np.testing.assert_array_equal(decision[:, own], inner)
    else:
        np.testing.assert_array_equal(decision[:, 0], -inner)
    np.testing.assert_array_equal(decision[:, pairs.index((0, 4))], np.inf)


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.DataFrame, sparse.csr_array])
def test_tables_of_all_kinds(table, convert):
    X, y = table
    given = convert(X)
    if convert is pd.DataFrame:
        given.columns = list("abcdef")
    pruned = PrunedClassifier(MODEL, SCORER, by="class").fit(given, y)
    dense = PrunedClassifier(MODEL, SCORER, by="class").fit(X, y)
    np.testing.assert_allclose(pruned.scores_, dense.scores_, rtol=1e-4, atol=1e-6)
    assert np.mean(pruned.support_ == dense.support_) > 0.98
    assert np.mean(pruned.predict(given) == dense.predict(X)) > 0.97
    assert hasattr(pruned.estimator_, "feature_names_in_") == (
        convert is not sparse.csr_array
    )


def test_texts(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    words = np.array([["rain", "snow", "wind"], ["goal", "match", "team"]])
    y = np.arange(40) % 2
    texts = [" ".join(rng.choice(words[label], 6)) for label in y]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    pruned = PrunedClassifier(
        model, EL2NScorer(model, epochs=None, n_runs=1), by="class"
    )
    assert pruned.fit(texts, y).score(texts, y) == 1.0
    assert pruned.support_.sum() == 20


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({}, np.linspace(0, 1, 6), "Unknown label type"),
        ({}, None, "requires y"),
        ({"keep": 7}, [0, 0, 0, 1, 1, 1], "keep=7 rows of 6"),
        ({"keep": 0.0}, [0, 0, 0, 1, 1, 1], "keep"),
        ({"policy": "best"}, [0, 0, 0, 1, 1, 1], "policy"),
        ({"reweight": "twice"}, [0, 0, 0, 1, 1, 1], "reweight"),
    ],
)
def test_bad_input(options, y, message):
    X = np.arange(12.0).reshape(6, 2)
    with pytest.raises(ValueError, match=message):
        PrunedClassifier(MODEL, SCORER, **options).fit(X, y)


def test_a_failed_fit_changes_nothing(table):
    X, y = table
    pruned = PrunedClassifier(MODEL, SCORER, by="class").fit(X, y)
    before = pruned.predict(X)
    with pytest.raises(ValueError, match="NaN"):
        pruned.fit(np.where(X > 2, np.nan, X), y)
    np.testing.assert_array_equal(pruned.predict(X), before)
    with pytest.raises(TypeError, match="no hardness_"):
        PrunedClassifier(MODEL, NoisyLabelDetector(MODEL)).fit(X, y)
    with pytest.raises(TypeError, match=r"EL2NScorer\(LogisticRegression\("):
        PrunedClassifier(MODEL, MODEL).fit(X, y)


def test_pruning_by_hardness_beats_chance_on_digits(global_random_seed):
    """The order that is published for images, on small ones."""
    X, y = load_digits(return_X_y=True)
    curve = pruning_curve(
        KNeighborsClassifier(1),
        EL2NScorer(make_pipeline(StandardScaler(), MODEL), epochs=None, n_runs=1),
        X,
        y,
        keeps=[0.3],
        policies=["hardest", "easiest"],
        cv=4,
        random_state=global_random_seed,
    )
    mean = {
        name: curve["score"][curve["policy"] == name].mean()
        for name in ("all", "random", "hardest", "easiest")
    }
    assert mean["all"] >= mean["hardest"] - 0.01
    assert mean["hardest"] > mean["easiest"] + 0.02


def test_pruning_curve(table, global_random_seed):
    X, y = table
    policies = {
        "late": {"policy": "window", "offset": 0.3},
        "soft": {"policy": "softmax"},
    }
    curve = pruning_curve(
        MODEL,
        SCORER,
        X,
        y,
        keeps=[0.25, 0.5],
        policies=policies,
        cv=4,
        n_draws=2,
        random_state=global_random_seed,
    )
    assert {len(column) for column in curve.values()} == {4 * (1 + 2 * (2 + 1 + 2))}
    assert set(curve["policy"]) == {"all", "random", "late", "soft"}
    full = curve["policy"] == "all"
    np.testing.assert_array_equal(curve["n_kept"][full], 150)
    np.testing.assert_allclose(curve["score"][full], cross_val_score(MODEL, X, y, cv=4))
    half = (curve["keep"] == 0.5) & ~full
    assert (np.abs(curve["n_kept"][half] - 75) <= 1).all()


def test_pruning_curve_at_equal_steps(table):
    X, y = table
    passes = []

    class Passes(LogisticRegression):
        def fit(self, X, y):
            passes.append((len(X), self.max_iter))
            self.max_iter = 500
            return super().fit(X, y)

    pruning_curve(
        Passes(max_iter=60),
        SCORER,
        X,
        y,
        keeps=[0.5, 0.1],
        cv=2,
        equal_steps="max_iter",
    )
    assert set(passes) == {(100, 60), (50, 120), (10, 600)}
    for bad in ("C", "epochs"):
        with pytest.raises(ValueError, match=f"equal_steps='{bad}'"):
            pruning_curve(MODEL, SCORER, X, y, equal_steps=bad)
    with pytest.raises(ValueError, match="policy must be one of"):
        pruning_curve(MODEL, SCORER, X, y, policies=["best"])
    for keeps in ([1.5], [50], 50, [0.5, 0.0], [np.nan], ["half"]):
        with pytest.raises(ValueError, match=r"keep is a share .* \(0, 1\]"):
            pruning_curve(MODEL, SCORER, X, y, keeps=keeps)


def test_pruning_curve_of_one_share_and_of_no_scorer(table):
    X, y = table
    options = {"cv": 2, "n_draws": 1}
    one = pruning_curve(MODEL, SCORER, X, y, keeps=0.5, **options)
    assert set(one["keep"]) == {1.0, 0.5}
    judges = (MODEL, r"EL2NScorer\("), (NoisyLabelDetector(MODEL), "fit.$")
    for judge, words in judges:
        with pytest.raises(TypeError, match=f"is no scorer .*{words}"):
            pruning_curve(MODEL, judge, X, y, keeps=[0.5], **options)


@pytest.mark.parametrize(
    ("estimator", "name", "instead"),
    [
        (PrunedClassifier(), "scorer__epochs", r"Pass EL2NScorer\(\) as scorer"),
        (PrunedClassifier(), "estimator__C", r"Pass LogisticRegression\(.* as est"),
        (InfluenceSampler(), "scorer__epochs", r"Pass EL2NScorer\(\) as scorer"),
        (NoisyLabelDetector(), "scorer__epochs", r"EL2NScorer\(\), or ExtraTrees"),
        (EL2NScorer(), "estimator__alpha", "MLPClassifier"),
    ],
)
def test_parameters_of_the_defaults_are_not_there(estimator, name, instead):
    with pytest.raises(ValueError, match=instead):
        estimator.set_params(**{name: 3})


def test_a_grid_over_the_default_scorer(table):
    with pytest.raises(ValueError, match=r"Pass EL2NScorer\(\) as scorer"):
        GridSearchCV(PrunedClassifier(), {"scorer__epochs": [1, 2]}).fit(*table)
    scorer = EL2NScorer(n_runs=1)
    grid = {"scorer__epochs": [1, 2]}
    search = GridSearchCV(PrunedClassifier(MODEL, scorer), grid, cv=2).fit(*table)
    assert search.best_params_["scorer__epochs"] in (1, 2)
