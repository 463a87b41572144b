"""The detector of wrong labels: what it finds, by which judge, and where it cuts."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import skops.io
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import KFold, ShuffleSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpapers.data_selection import (
    EL2NScorer,
    EnsembleScorer,
    ForgettingScorer,
    GraNdScorer,
    NoisyLabelDetector,
    PVIScorer,
    ScoreBank,
    TracInScorer,
    label_noise_matrix,
    wrong_label_scores,
)
from skpapers.data_selection._noisy_labels import (
    below_self_confidence,
    held_out_probabilities,
)

MODEL = LogisticRegression(max_iter=500)
SCORER = EL2NScorer(MODEL, epochs=None, n_runs=1)
BOOSTING = HistGradientBoostingClassifier(max_iter=8)
FOREST = ExtraTreesClassifier(60, bootstrap=True, oob_score=True, min_samples_leaf=3)


def _flip(y, share, seed):
    """Return labels of which a share is replaced by another class, and which."""
    rng = np.random.default_rng(seed)
    n_classes = y.max() + 1
    wrong = rng.random(len(y)) < share
    other = (y + rng.integers(1, n_classes, len(y))) % n_classes
    return np.where(wrong, other, y), wrong


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    given, wrong = _flip(y, 0.2, 0)
    return X / 16, given, wrong


@pytest.fixture
def table(global_random_seed):
    X, y = make_classification(
        240,
        6,
        n_informative=4,
        n_classes=3,
        class_sep=2.0,
        random_state=global_random_seed,
    )
    given, wrong = _flip(y, 0.1, global_random_seed)
    return X, given, wrong


@parametrize_with_checks(
    [
        NoisyLabelDetector(ExtraTreesClassifier(10, bootstrap=True, oob_score=True)),
        NoisyLabelDetector(MODEL, cv=3),
    ]
)
@pytest.mark.filterwarnings("ignore::skpapers.utils.DataConditionWarning")
def test_scikit_learn_contract_with_classifiers(estimator, check):
    check(estimator)


def test_flipped_digits(digits, global_random_seed):
    X, y, wrong = digits
    detector = NoisyLabelDetector(random_state=global_random_seed)
    suspect = detector.fit_predict(X, y) == -1
    assert average_precision_score(wrong, detector.scores_) > 0.99
    assert (suspect & wrong).sum() / suspect.sum() > 0.95
    assert (suspect & wrong).sum() / wrong.sum() > 0.95
    truth = load_digits(return_X_y=True)[1]
    assert np.mean(detector.predicted_labels_ == truth) > 0.95
    assert detector.noise_matrix_.diagonal().mean() == pytest.approx(0.8, abs=0.06)


def test_clean_digits_are_left_alone(global_random_seed):
    """The predicted label differs on forty of them; they are hard, not wrong."""
    X, y = load_digits(return_X_y=True)
    detector = NoisyLabelDetector(FOREST, random_state=global_random_seed).fit(X, y)
    assert len(detector.suspect_indices_) <= 15
    codes = np.searchsorted(detector.classes_, y)
    assert below_self_confidence(codes, detector.probabilities_).sum() >= 20


@pytest.mark.parametrize(
    ("scorer", "least"),
    [
        (EL2NScorer(n_runs=2), 0.97),
        (PVIScorer(epochs=5, n_runs=2), 0.97),
        (
            EL2NScorer(HistGradientBoostingClassifier(max_iter=8), epochs=8, n_runs=1),
            0.94,
        ),
        (FOREST, 0.99),
        (make_pipeline(MODEL), 0.95),
    ],
)
def test_every_kind_of_judge(scorer, least):
    X, y = load_digits(n_class=3, return_X_y=True)
    X, (y, wrong) = X / 16, _flip(y, 0.2, 0)
    detector = NoisyLabelDetector(scorer, random_state=0).fit(X, y)
    assert roc_auc_score(wrong, detector.scores_) > least
    assert roc_auc_score(wrong, -detector.label_quality_) > least
    suspect = detector.labels_ == -1
    assert (suspect & wrong).sum() > 0.75 * wrong.sum()
    assert (suspect & wrong).sum() > 0.75 * suspect.sum()


def test_out_of_bag(table):
    X, y, _ = table
    y = np.array(["a", "b", "c"])[y]
    forest = clone(FOREST).set_params(random_state=3)
    detector = NoisyLabelDetector(forest).fit(X, y)
    p = forest.fit(X, y).oob_decision_function_
    np.testing.assert_allclose(detector.probabilities_, p)
    np.testing.assert_allclose(detector.scores_, wrong_label_scores(y, p))
    np.testing.assert_allclose(detector.label_quality_, 1 - detector.scores_)
    np.testing.assert_allclose(detector.noise_matrix_, label_noise_matrix(y, p))
    np.testing.assert_array_equal(
        detector.predicted_labels_, forest.classes_[p.argmax(axis=1)]
    )
    np.testing.assert_array_equal(detector.labels_ == -1, detector.scores_ > 0.5)
    worst = detector.scores_[detector.suspect_indices_]
    assert (np.diff(worst) <= 0).all()
    assert detector.scorer_ is None


def test_rows_that_are_never_out_of_bag(table):
    X, y, _ = table
    shares = np.bincount(y) / len(y)
    for forest in (
        ExtraTreesClassifier(2, bootstrap=True, oob_score=True, random_state=0),
        BaggingClassifier(
            DecisionTreeClassifier(), n_estimators=2, oob_score=True, random_state=0
        ),
    ):
        p = NoisyLabelDetector(forest).fit(X, y).probabilities_
        np.testing.assert_allclose(p.sum(axis=1), 1)
        assert (np.abs(p - shares).max(axis=1) < 1e-12).sum() > 20


def test_out_of_fold(table):
    X, y, _ = table
    detector = NoisyLabelDetector(MODEL, cv=KFold(4)).fit(X, y)
    expected = cross_val_predict(MODEL, X, y, cv=KFold(4), method="predict_proba")
    np.testing.assert_allclose(detector.probabilities_, expected)
    shuffled = NoisyLabelDetector(MODEL, random_state=0).fit(X, y).probabilities_
    again = NoisyLabelDetector(MODEL, random_state=0).fit(X, y).probabilities_
    np.testing.assert_array_equal(shuffled, again)
    other = NoisyLabelDetector(MODEL, random_state=1).fit(X, y).probabilities_
    assert abs(shuffled - other).max() > 1e-6
    with pytest.raises(ValueError, match="hold out each row exactly once"):
        NoisyLabelDetector(MODEL, cv=ShuffleSplit(3)).fit(X, y)


def test_labels_that_no_other_fold_has():
    X = np.arange(8.0)[:, None]
    y = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    folds = [(np.arange(7), np.array([7])), (np.arange(1, 8), np.array([0]))]
    p = held_out_probabilities(MODEL, X, y, np.arange(3), folds, {})
    np.testing.assert_allclose(p[7], [3 / 8, 4 / 8, 1 / 8])  # cannot be judged
    assert p[0, 0] > 0.5
    detector = NoisyLabelDetector(MODEL, random_state=0).fit(X, y)
    assert np.isfinite(detector.scores_).all()
    assert detector.labels_[7] == 1 or detector.scores_[7] > 0.5


def test_shares(table):
    X, y, wrong = table
    detector = NoisyLabelDetector(MODEL, contamination=0.1, random_state=0).fit(X, y)
    assert len(detector.suspect_indices_) == 24
    bad = detector.scores_[detector.suspect_indices_]
    assert bad.min() >= detector.scores_[detector.labels_ == 1].max()
    assert roc_auc_score(wrong, detector.scores_) > 0.75
    detector.set_params(by="class").fit(X, y)
    found = np.bincount(y[detector.labels_ == -1])
    assert (np.abs(found - 0.1 * np.bincount(y)) < 1).all()


def test_quality_of_scorers(table):
    X, y, _ = table
    detector = NoisyLabelDetector(SCORER).fit(X, y)
    scores = clone(SCORER).fit(X, y).scores_
    np.testing.assert_allclose(detector.scores_, scores)
    np.testing.assert_allclose(detector.label_quality_, 1 - scores / np.sqrt(2))
    one = NoisyLabelDetector(clone(SCORER).set_params(norm=1)).fit(X, y)
    p = MODEL.fit(X, y).predict_proba(X)
    own = p[np.arange(len(y)), y]
    np.testing.assert_allclose(one.label_quality_, own, atol=1e-6)
    pvi = NoisyLabelDetector(PVIScorer(MODEL, epochs=None, n_runs=1)).fit(X, y)
    np.testing.assert_allclose(pvi.label_quality_, own, rtol=1e-6)
    np.testing.assert_allclose(pvi.probabilities_, p, rtol=1e-6)
    grand = NoisyLabelDetector(GraNdScorer(MODEL, epochs=None, n_runs=1)).fit(X, y)
    order = np.argsort(grand.scores_)
    assert (np.diff(grand.label_quality_[order]) <= 0).all()
    assert 0 < grand.label_quality_.min() < grand.label_quality_.max() < 1


def test_scorers_with_folds_judge_rows_by_other_folds(table):
    X, y, wrong = table
    y = np.array(["a", "b", "c"])[y]
    pvi = PVIScorer(MODEL, epochs=None, n_runs=2, cv=3, random_state=0)
    detector = NoisyLabelDetector(pvi).fit(X, y)
    p, codes = detector.probabilities_, np.searchsorted(detector.classes_, y)
    own = np.bincount(codes)[codes] / len(y) * 2**detector.scorer_.scores_per_run_
    np.testing.assert_allclose(p[np.arange(len(y)), codes], own.mean(axis=0))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    suspect = detector.labels_ == -1
    np.testing.assert_array_equal(suspect, wrong_label_scores(y, p) > 0.5)
    seen = clone(MODEL).fit(X, y).predict_proba(X)
    assert p[wrong, codes[wrong]].mean() < seen[wrong, codes[wrong]].mean()
    both = EnsembleScorer([("pvi", pvi), ("el2n", SCORER)])
    mixed = NoisyLabelDetector(both, random_state=0).fit(X, y)
    assert below_self_confidence(codes, mixed.probabilities_).sum() == len(
        mixed.suspect_indices_
    )


def test_ensembles_and_banks(table):
    X, y, wrong = table
    parts = [("el2n", SCORER), ("pvi", PVIScorer(MODEL, epochs=None, n_runs=1))]
    detector = NoisyLabelDetector(EnsembleScorer(parts), random_state=0).fit(X, y)
    assert detector.probabilities_.shape == (240, 3)
    assert roc_auc_score(wrong, detector.scores_) > 0.75
    with pytest.raises(TypeError, match="one score a row"):
        NoisyLabelDetector(ScoreBank(parts)).fit(X, y)
    own = ForgettingScorer(MODEL, epochs=3, check_every=1, n_runs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of trainings that are cut short
        NoisyLabelDetector(own, contamination=0.1).fit(X, y)


def test_a_scorer_of_someone_else(table):
    X, y, wrong = table

    class Distance(BaseEstimator):
        def fit(self, X, y):
            centres = np.array([np.median(X[y == k], axis=0) for k in np.unique(y)])
            self.hardness_ = self.scores_ = np.linalg.norm(X - centres[y], axis=1)
            return self

    detector = NoisyLabelDetector(Distance(), contamination=0.1).fit(X, y)
    assert len(detector.suspect_indices_) == 24
    assert roc_auc_score(wrong, detector.scores_) > 0.6
    with pytest.raises(ValueError, match="'auto' needs the probabilities"):
        NoisyLabelDetector(Distance()).fit(X, y)


@pytest.mark.parametrize("judge", [MODEL, SCORER])
@pytest.mark.parametrize("convert", [pd.DataFrame, pl.DataFrame, sparse.csr_array])
def test_tables_of_all_kinds(table, convert, judge):
    X, y, _ = table
    given = convert(X)
    if convert is pd.DataFrame:
        given.columns = list("abcdef")
    found = NoisyLabelDetector(judge, random_state=0).fit(given, y).scores_
    plain = NoisyLabelDetector(judge, random_state=0).fit(X, y).scores_
    np.testing.assert_allclose(found, plain, atol=1e-3)


def test_texts():
    rng = np.random.default_rng(0)
    words = np.array([["rain", "snow", "wind"], ["goal", "match", "team"]])
    y = np.arange(40) % 2
    texts = [" ".join(rng.choice(words[label], 6)) for label in y]
    y[:2] = 1 - y[:2]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))
    detector = NoisyLabelDetector(model, random_state=0).fit(texts, y)
    assert set(detector.suspect_indices_) == {0, 1}


def test_missing_numbers_where_the_judge_takes_them(table):
    X, y, wrong = table
    X = np.where(np.random.default_rng(0).random(X.shape) < 0.05, np.nan, X)
    detector = NoisyLabelDetector(FOREST, random_state=0).fit(X, y)
    assert roc_auc_score(wrong, detector.scores_) > 0.7
    with pytest.raises(ValueError, match="NaN"):
        NoisyLabelDetector(MODEL).fit(X, y)


def test_metadata(table):
    X, y, _ = table
    weight = np.random.default_rng(0).random(len(y))
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        NoisyLabelDetector(MODEL).fit(X, y, sample_weight=weight)
    with sklearn.config_context(enable_metadata_routing=True):
        model = clone(MODEL).set_fit_request(sample_weight=True)
        detector = NoisyLabelDetector(model, cv=KFold(3))
        detector.fit_predict(X, y, sample_weight=weight)
        expected = cross_val_predict(
            model,
            X,
            y,
            cv=KFold(3),
            method="predict_proba",
            params={"sample_weight": weight},
        )
    np.testing.assert_allclose(detector.probabilities_, expected)


@pytest.mark.parametrize("judge", [None, MODEL, SCORER])
@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.arange(6.0).reshape(3, 2), ["a", "a", "a"]),
        (np.arange(4.0).reshape(2, 2), [0, 1]),
        (np.arange(10.0).reshape(5, 2), [0, 0, 0, 0, 1]),
        (np.zeros((8, 2)), [0, 1] * 4),
    ],
)
@pytest.mark.filterwarnings("ignore::skpapers.utils.DataConditionWarning")
def test_small_and_degenerate_tables(X, y, judge):
    if judge is None:
        judge = clone(FOREST)
    detector = NoisyLabelDetector(judge, random_state=0).fit(X, y)
    assert np.isfinite(detector.scores_).all()
    assert ((detector.label_quality_ >= 0) & (detector.label_quality_ <= 1)).all()
    assert detector.probabilities_.shape == (len(y), len(set(y)))
    if len(set(y)) == 1:
        assert len(detector.suspect_indices_) == 0


def test_persists(table):
    X, y, _ = table
    detector = NoisyLabelDetector(FOREST, random_state=0).fit(X, y)
    data = skops.io.dumps(detector)
    untrusted = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("skpapers.") for name in untrusted)
    copy = skops.io.loads(data, trusted=untrusted)
    np.testing.assert_array_equal(copy.scores_, detector.scores_)


@pytest.mark.parametrize(
    ("options", "y", "error", "message"),
    [
        ({}, np.linspace(0, 1, 6), ValueError, "Unknown label type"),
        ({}, None, ValueError, "requires y"),
        ({"contamination": 0.7}, [0, 1] * 3, ValueError, "contamination"),
        ({"contamination": "half"}, [0, 1] * 3, ValueError, "contamination"),
        ({"by": "row"}, [0, 1] * 3, ValueError, "by"),
        ({"scorer": LinearSVC()}, [0, 1] * 3, TypeError, "LinearSVC has not"),
        ({"scorer": BaseEstimator}, [0, 1] * 3, ValueError, "scorer"),
    ],
)
def test_bad_input(options, y, error, message):
    with pytest.raises(error, match=message):
        NoisyLabelDetector(**options).fit(np.arange(12.0).reshape(6, 2), y)


def test_nothing_is_left_of_a_former_fit(table):
    X, y, _ = table
    detector = NoisyLabelDetector(MODEL).fit(X, y)
    known = ("probabilities_", "predicted_labels_", "noise_matrix_")
    assert all(hasattr(detector, name) for name in known)
    scorer = TracInScorer(MODEL, epochs=1, keep_checkpoints=False)
    detector.set_params(scorer=scorer, contamination=0.1).fit(X, y)
    assert not any(hasattr(detector, name) for name in known)
