# SPDX-License-Identifier: BSD-3-Clause
"""What all scorers hold to: invariants, bad input, metadata, frames."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
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
from skpapers.data_selection._checkpoints import last_step
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
