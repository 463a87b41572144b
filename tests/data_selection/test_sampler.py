"""The sampler: what it keeps, in which containers, and inside pipelines."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier

from skpapers.data_selection import (
    EL2NScorer,
    InfluenceSampler,
    PVIScorer,
    ScoreBank,
    select_samples,
)
from skpapers.utils import DataConditionWarning

# the hardest half is often hard on a class; tests of that have their own expectations
pytestmark = pytest.mark.filterwarnings("ignore::skpapers.utils.DataConditionWarning")
MODEL = LogisticRegression(max_iter=500)
ONE_SHOT = EL2NScorer(KNeighborsClassifier(1), epochs=3)  # has no epochs
SCORER = EL2NScorer(MODEL, epochs=None, n_runs=1)


class Counting(LogisticRegression):
    trained: list[int] = []

    def fit(self, *args, **kwargs):
        self.trained.append(1)
        return super().fit(*args, **kwargs)


@pytest.fixture
def table(global_random_seed):
    X, y = make_classification(
        160,
        6,
        n_informative=4,
        n_classes=3,
        weights=[0.5, 0.3, 0.2],
        random_state=global_random_seed,
    )
    return X, y


def test_keeps_what_the_scores_say(table):
    X, y = table
    sampler = InfluenceSampler(SCORER, keep=0.3, min_per_class=5, random_state=0)
    X_kept, y_kept = sampler.fit_resample(X, y)
    scores = clone(SCORER).fit(X, y).scores_
    np.testing.assert_allclose(sampler.scores_, scores)
    support = select_samples(scores, y, keep=0.3, min_per_class=5)
    np.testing.assert_array_equal(sampler.support_, support)
    np.testing.assert_array_equal(sampler.get_support(), support)
    np.testing.assert_array_equal(
        sampler.get_support(indices=True), np.flatnonzero(support)
    )
    np.testing.assert_array_equal(X_kept, X[support])
    np.testing.assert_array_equal(y_kept, y[support])
    np.testing.assert_array_equal(
        sampler.class_counts_, np.array([np.bincount(y), np.bincount(y_kept)]).T
    )
    again = InfluenceSampler(SCORER, keep=0.3, min_per_class=5, random_state=1)
    np.testing.assert_array_equal(again.fit_predict(X, y) == 1, support)


def test_low_scores_are_hard_for_pvi(table):
    X, y = table
    scorer = PVIScorer(MODEL, epochs=None, n_runs=1)
    sampler = InfluenceSampler(scorer, keep=0.5, min_per_class=0).fit(X, y)
    kept = sampler.scores_[sampler.support_]
    assert kept.max() <= sampler.scores_[~sampler.support_].min()


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        np.asfortranarray,
        lambda X: X.astype(np.float32),
        lambda X: pd.DataFrame(X, columns=list("abcdef"), index=np.arange(len(X)) + 7),
        lambda X: pl.DataFrame(X, schema=list("abcdef")),
        sparse.csr_array,
        sparse.csc_matrix,
        sparse.coo_array,
        sparse.bsr_array,
        lambda X: X.tolist(),
    ],
)
def test_containers_are_preserved(table, convert):
    X, y = table
    given = convert(X)
    labels = pd.Series(y, name="label") if isinstance(given, pd.DataFrame) else y
    sampler = InfluenceSampler(SCORER, keep=0.4, random_state=0)
    X_kept, y_kept = sampler.fit_resample(given, labels)
    assert type(X_kept) is type(given)
    assert type(y_kept) is type(labels)
    rows = sampler.sample_indices_
    if isinstance(given, pd.DataFrame):
        pd.testing.assert_frame_equal(X_kept, given.iloc[rows])
        pd.testing.assert_series_equal(y_kept, labels.iloc[rows])
    elif sparse.issparse(given):
        assert X_kept.format == given.format
        np.testing.assert_array_equal(X_kept.toarray(), X[rows])
    else:
        np.testing.assert_array_equal(np.asarray(X_kept), np.asarray(given)[rows])
        assert getattr(X_kept, "dtype", None) == getattr(given, "dtype", None)


@pytest.mark.parametrize(
    "labels",
    [["ham", "spam", "eggs"], [-5, 0, 7], [2.0, 3.0, 4.0]],
)
def test_names_of_labels_do_not_matter(table, labels):
    X, y = table
    plain = InfluenceSampler(SCORER, random_state=0).fit(X, y)
    named = InfluenceSampler(SCORER, random_state=0).fit(X, np.array(labels)[y])
    np.testing.assert_allclose(named.scores_, plain.scores_, rtol=1e-5)
    assert sorted(named.classes_) == sorted(labels)


def test_random_choices_do_not_train(table):
    class Never(BaseEstimator):
        def fit(self, X, y):
            raise AssertionError

    for policy in ("random", "stratified"):
        sampler = InfluenceSampler(Never(), policy=policy, random_state=0)
        X_kept, _ = sampler.fit_resample(*table)
        assert len(X_kept) == 80
        assert sampler.scorer_ is None
        assert np.isnan(sampler.scores_).all()


def test_weights_restore_the_shares_of_the_classes(table):
    X, y = table
    sampler = InfluenceSampler(SCORER, keep=0.3, min_per_class=3).fit(X, y)
    weight, kept = sampler.sample_weight_, y[sampler.support_]
    assert weight.mean() == pytest.approx(1)
    np.testing.assert_allclose(
        np.bincount(kept, weight) / len(kept), np.bincount(y) / len(y)
    )
    # by class the shares are kept up to rounding
    sampler = InfluenceSampler(SCORER, keep=0.5, by="class").fit(X, y)
    np.testing.assert_allclose(sampler.sample_weight_, 1, atol=0.06)
    sampler.set_params(policy="linear", reweight="inverse").fit(X, y)
    order = np.argsort(sampler.scores_[sampler.support_])
    same_class = y[sampler.support_][order] == 0
    assert (np.diff(sampler.sample_weight_[order][same_class]) <= 1e-12).all()
    with pytest.raises(ValueError, match="does not draw rows"):
        InfluenceSampler(SCORER, reweight="inverse").fit(X, y)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_weights_where_a_class_vanishes(table):
    X, y = table
    y = np.minimum(y, 1)
    y[:2] = 2
    sampler = InfluenceSampler(
        SCORER, keep=10, min_per_class=0, by="class", random_state=0
    )
    for options in ({}, {"policy": "linear", "reweight": "inverse"}):
        sampler.set_params(**options).fit(X, y)
        assert sampler.class_counts_[2].tolist() == [2, 0]
        assert sampler.sample_weight_.mean() == pytest.approx(1)


def test_weights_of_several_scores_are_averaged(table):
    bank = ScoreBank(
        [("one", SCORER), ("two", EL2NScorer(MODEL, epochs=None, n_runs=1, norm=1))]
    )
    sampler = InfluenceSampler(bank, keep=0.5, policy="linear", random_state=0)
    assert sampler.fit(*table).scores_.shape == (160, 2)
    assert sampler.support_.sum() == 80
    with pytest.raises(ValueError, match="one score a row"):
        InfluenceSampler(bank).fit(*table)


def test_scores_are_cached(table, tmp_path):
    scorer = EL2NScorer(Counting(max_iter=500), epochs=None, n_runs=1)
    trained = Counting.trained
    trained.clear()
    for keep in (0.2, 0.5, 0.7):
        sampler = InfluenceSampler(scorer, keep=keep, memory=str(tmp_path))
        sampler.set_params(by="class").fit(*table)
    assert len(trained) == 1
    sampler.fit(table[0] + 1, table[1])
    assert len(trained) == 2


def test_subgroup_report(table):
    X, y = table
    sampler = InfluenceSampler(SCORER, keep=0.5, by="class").fit(X, y)
    report = sampler.subgroup_report()
    np.testing.assert_array_equal(report["group"], [0, 1, 2])
    np.testing.assert_array_equal(report["n_samples"], np.bincount(y))
    np.testing.assert_array_equal(report["n_kept"], sampler.class_counts_[:, 1])
    groups = np.where(sampler.support_, "kept", "lost")
    with pytest.warns(DataConditionWarning, match="group values 1 vanish: lost"):
        report = sampler.subgroup_report(groups)
    np.testing.assert_array_equal(report["share_kept"], [1, 0])


def test_in_a_pipeline_of_imbalanced_learn(table):
    pipeline = pytest.importorskip("imblearn.pipeline")
    from sklearn.preprocessing import StandardScaler

    X, y = table
    sampler = InfluenceSampler(SCORER, keep=0.5, by="class", random_state=0)
    pipe = pipeline.Pipeline(
        [("scale", StandardScaler()), ("sample", sampler), ("model", MODEL)]
    ).fit(X, y)
    scaled = StandardScaler().fit_transform(X)
    kept = clone(sampler).fit(scaled, y).sample_indices_
    by_hand = clone(MODEL).fit(scaled[kept], y[kept])
    np.testing.assert_allclose(pipe[-1].coef_, by_hand.coef_)
    assert pipe.predict(X).shape == (160,)  # nothing is left out in predict
    search = GridSearchCV(pipe, {"sample__keep": [0.3, 0.6]}, cv=3).fit(X, y)
    assert search.best_score_ > 0.5
    frame = pd.DataFrame(X, columns=list("abcdef"))
    only = pipeline.Pipeline([("sample", sampler)])
    X_kept, _ = only.fit_resample(frame, y)
    assert list(X_kept.columns) == list("abcdef")


def test_metadata_for_the_scorer(table):
    X, y = table
    weight = np.random.default_rng(0).random(len(y))
    sampler = InfluenceSampler(SCORER, keep=0.5, by="class")
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        sampler.fit(X, y, sample_weight=weight)
    with sklearn.config_context(enable_metadata_routing=True):
        model = clone(MODEL).set_fit_request(sample_weight=True)
        scorer = EL2NScorer(model, epochs=None, n_runs=1)
        sampler = InfluenceSampler(scorer, by="class").fit(X, y, sample_weight=weight)
        expected = clone(scorer).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(sampler.scores_, expected.scores_)
    assert abs(sampler.scores_ - clone(SCORER).fit(X, y).scores_).max() > 1e-3


def test_small_and_degenerate_tables():
    one_class = InfluenceSampler(SCORER, keep=0.5).fit(np.zeros((4, 2)), np.ones(4))
    assert one_class.support_.sum() == 2
    np.testing.assert_array_equal(one_class.scores_, 0)
    two = InfluenceSampler(SCORER, keep=0.5).set_params(min_per_class=0)
    with pytest.warns(DataConditionWarning, match="vanish"):
        two.fit([[0.0], [1.0]], [0, 1])
    assert two.support_.sum() == 1
    with pytest.warns(DataConditionWarning, match="min_per_class for 2"):
        guarded = InfluenceSampler(SCORER, keep=1).fit([[0.0], [1.0], [2.0]], [0, 1, 1])
    assert guarded.class_counts_.tolist() == [[1, 1], [2, 1]]
    constant = np.zeros((10, 3))
    constant[:, 1] = np.arange(10)
    InfluenceSampler(SCORER, keep=3).fit(constant, np.arange(10) > 1)


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({}, np.linspace(0, 1, 6), "Unknown label type"),
        ({}, None, "requires y"),
        ({"keep": 7}, [0, 0, 0, 1, 1, 1], "keep=7 rows of 6"),
        ({"keep": 1.2}, [0, 0, 0, 1, 1, 1], "keep"),
        ({"offset": 0.1}, [0, 0, 0, 1, 1, 1], "belongs to policy='window'"),
        (
            {"scorer": EL2NScorer(KNeighborsClassifier(1), epochs=3)},
            [0, 0, 0, 1, 1, 1],
            "epochs",
        ),
    ],
)
def test_bad_input(options, y, message):
    X = np.arange(12.0).reshape(6, 2)
    with pytest.raises(ValueError, match=message):
        InfluenceSampler(**{"scorer": SCORER, **options}).fit(X, y)


def test_bad_scorers(table):
    from sklearn.svm import LinearSVC

    with pytest.raises(TypeError, match="predict_proba"):
        InfluenceSampler(EL2NScorer(LinearSVC(), epochs=None)).fit(*table)
    with pytest.raises(TypeError, match="no hardness_"):
        InfluenceSampler(LogisticRegression()).fit(*table)
