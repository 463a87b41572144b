# SPDX-License-Identifier: BSD-3-Clause
"""Tables of any size: chunks of rows, files, sparse rows, dask tables on a cluster."""

import os
import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skpapers.data_selection import (
    EL2NScorer,
    NoisyLabelDetector,
    PrunedClassifier,
    el2n_scores,
    gradient_norms,
    input_gradients,
    margin_scores,
    score_rows,
)
from skpapers.data_selection import _chunks as chunks
from skpapers.data_selection._models import as_model
from skpapers.data_selection._models._dense import DenseModel

SCORES = ["el2n", "grand", "margin", "loss"]


@pytest.fixture(scope="module")
def table():
    X, y = make_classification(
        3000, 10, n_informative=6, n_classes=3, class_sep=0.5, random_state=0
    )
    return X, np.array(["red", "green", "blue"])[y]


@pytest.fixture(scope="module")
def network(table):
    X, y = table
    return MLPClassifier((8,), max_iter=300, tol=1e-2, random_state=0).fit(X, y)


@pytest.mark.parametrize("limit", [1, 300, 10_000])
def test_sizes_of_chunks_do_not_matter(table, network, limit, monkeypatch):
    X, y = table[0][:200], table[1][:200]
    whole = score_rows(network, X, y, scores=SCORES)
    monkeypatch.setattr(chunks, "WORKING_BYTES", limit)
    parts = score_rows(network, X, y, scores=SCORES)
    for name in SCORES:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-12, atol=1e-14)


def test_slices_cover_all_rows_within_the_limit():
    for n_rows in (0, 1, 7, 100):
        for width in (0, 1, 10**9):
            for max_rows in (None, 3):
                slices = chunks.row_slices(n_rows, width, max_rows)
                found = [row for rows in slices for row in range(n_rows)[rows]]
                assert found == list(range(n_rows))
                sizes = [rows.stop - rows.start for rows in slices]
                assert max(sizes, default=0) <= (max_rows or n_rows)
    (first, *_) = chunks.row_slices(10**7, 100)
    assert 8 * 100 * (first.stop - first.start) <= chunks.WORKING_BYTES


def test_sparse_rows_count_what_they_store():
    rng = np.random.default_rng(0)
    columns = rng.choice(10**6, size=10_000, replace=False)
    places = np.repeat(np.arange(1000), 10), columns
    X = csr_array((rng.random(10_000), places), shape=(1000, 10**6))
    assert chunks.count_numbers(X) < 30
    y = np.arange(1000) % 2
    model = LogisticRegression(max_iter=5, tol=1.0).fit(X, y)
    tracemalloc.start()
    norms = gradient_norms(model, X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6  # dense they are 8 GB
    few = X[:50].toarray()
    np.testing.assert_allclose(gradient_norms(model, few, y[:50]), norms[:50])


def test_memory_does_not_grow_with_the_table(network, monkeypatch):
    monkeypatch.setattr(chunks, "WORKING_BYTES", 2**19)
    rng, peaks = np.random.default_rng(0), []
    for n_rows in (20_000, 80_000):
        X = rng.standard_normal((n_rows, 10))
        y = network.classes_[rng.integers(3, size=n_rows)]
        tracemalloc.start()
        score_rows(network, X, y, scores=["el2n", "grand"])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        # the result, twice, and the places of the labels
        peaks[-1] -= n_rows * 8 * (2 * 2 + 3)
    assert peaks[1] - peaks[0] < 60_000 * 8 * 4  # not 10 columns, nor 24 of a pass


def test_all_scores_cost_one_pass_over_the_rows(network, table, monkeypatch):
    X, y = table
    monkeypatch.setattr(chunks, "WORKING_BYTES", 2**14)
    n_rows, run = [], DenseModel.run

    def counted(model, rows):
        n_rows.append(len(rows))
        return run(model, rows)

    monkeypatch.setattr(DenseModel, "run", counted)
    score_rows(network, X, y, scores=["el2n", "grand", "margin", "loss"])
    assert len(n_rows) > 1
    assert sum(n_rows) == len(X)


def test_pipelines_are_measured_after_their_transformers(table, monkeypatch):
    X, y = table
    steps = StandardScaler(), PolynomialFeatures(3, include_bias=False)
    pipeline = make_pipeline(*steps, LogisticRegression(C=0.01, max_iter=500))
    model = as_model(pipeline.fit(X[:300], y[:300]))
    monkeypatch.setattr(chunks, "WORKING_BYTES", 8 * 1000)
    slices = [rows for rows, _ in chunks.passes(model, X[:50])]
    assert len(slices) == 17  # of 3 rows with 285 columns, not of 20 with 10
    alone = make_pipeline(LogisticRegression(max_iter=500)).fit(X, y)
    np.testing.assert_allclose(
        gradient_norms(alone, X, y), gradient_norms(alone[-1], X, y)
    )


def test_memory_maps_and_read_only_rows(table, network, tmp_path):
    X, y = table
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    found = score_rows(network, mapped, y, scores=SCORES)
    whole = score_rows(network, X, y, scores=SCORES)
    for name in SCORES:
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-10, atol=1e-12)


def test_frames(table):
    pandas = pytest.importorskip("pandas")
    X, y = table
    frame = pandas.DataFrame(X, columns=[f"c{j}" for j in range(10)])
    model = LogisticRegression().fit(frame, y)
    found = score_rows(model, frame, pandas.Series(y), scores="el2n")["el2n"]
    error = model.predict_proba(frame) - (y[:, None] == model.classes_)
    np.testing.assert_allclose(found, np.linalg.norm(error, axis=1), rtol=1e-9)
    with pytest.raises(ValueError, match="feature names should match"):
        score_rows(model, frame.iloc[:, ::-1], y)


def test_definitions_by_all_kinds_of_classifiers(table):
    X, y = table[0][:300], table[1][:300]
    rows = np.arange(300)
    for model in (
        LogisticRegression(),
        make_pipeline(StandardScaler(), GaussianNB()),
        HistGradientBoostingClassifier(max_iter=5),
    ):
        p = model.fit(X, y).predict_proba(X)
        codes = np.searchsorted(model.classes_, y)
        found = score_rows(model, X, y, scores=["el2n", "margin", "loss"])
        expected = {
            "el2n": el2n_scores(y, p),
            "margin": margin_scores(y, p),
            "loss": -np.log(p[rows, codes]),
        }
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-10)
        with_gaps = np.where(X > 2, np.nan, X)
        if isinstance(model, HistGradientBoostingClassifier):
            assert np.isfinite(score_rows(model, with_gaps, y)["el2n"]).all()


def test_texts():
    texts, y = ["a cat sat", "the dog ran", "cat and cat"], ["cat", "dog", "cat"]
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, y)
    last, X = pipeline[-1], pipeline[0].transform(texts)
    for name in ("el2n", "grand"):
        found = score_rows(pipeline, texts, y, scores=name)[name]
        expected = score_rows(last, X.toarray(), y, scores=name)[name]
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert input_gradients(pipeline, texts, y).shape == X.shape


def test_one_class(table):
    X = table[0][:20]
    model = MLPClassifier((2,), max_iter=300, tol=1.0).fit(X, ["only"] * 20)
    found = score_rows(model, X, ["only"] * 20, scores=SCORES)
    for name, expected in zip(SCORES, [0, 0, -1, 0], strict=True):
        assert (found[name] == expected).all()


def test_score_rows_bad_input(table, network):
    X, y = table
    for scores in ("norm", ["el2n", "vog"], []):
        with pytest.raises(ValueError, match="scores must be some of"):
            score_rows(network, X, y, scores=scores)
    with pytest.raises(ValueError, match="not among the classes"):
        score_rows(network, X[:1], ["white"])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        score_rows(network, X, y[:-1])
    with pytest.raises(ValueError, match="has 9 features"):
        score_rows(network, X[:, 1:], y)
    with pytest.raises(ValueError, match="NaN"):
        score_rows(network, np.full((1, 10), np.nan), y[:1])


# ------------------------------------------------------------------------- dask tables


@pytest.fixture(scope="module")
def cluster():
    """Two processes, each of which sees only the partitions that it is given."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def work(cluster):
    """Return a function that tells whether the cluster has worked since."""
    assert len(set(cluster.run(os.getpid).values()) - {os.getpid()}) == 2

    def count():
        done = cluster.run(lambda dask_worker: dask_worker.state.executed_count)
        return sum(done.values())

    before = count()
    return lambda: count() > before


def forbid_gathering(monkeypatch):
    """Let whole tables raise when they are asked for as one array or frame."""
    array, frame = (
        pytest.importorskip("dask.array"),
        pytest.importorskip("dask.dataframe"),
    )

    def gathered(self, *arguments, **options):
        raise AssertionError("the table was gathered")

    for cls in (array.Array, frame.DataFrame, frame.Series):
        for name in ("compute", "__array__"):
            monkeypatch.setattr(cls, name, gathered)


@pytest.mark.parametrize("labels", ["dask", "other chunks", "here"])
def test_dask_arrays(table, network, work, labels, monkeypatch):
    array = pytest.importorskip("dask.array")
    X, y = table
    rows = array.from_array(X, chunks=(700, 4))
    y_dask = {
        "dask": array.from_array(y, chunks=700),
        "other chunks": array.from_array(y, chunks=1000),
        "here": y,
    }[labels]
    forbid_gathering(monkeypatch)
    found = score_rows(network, rows, y_dask, scores=SCORES)
    whole = score_rows(network, X, y, scores=SCORES)
    for name in SCORES:
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        gradient_norms(network, rows, y_dask, layers=[-1]),
        gradient_norms(network, X, y, layers=[-1]),
        rtol=1e-10,
    )
    assert work()


def test_dask_frames(table, work, monkeypatch):
    dataframe = pytest.importorskip("dask.dataframe")
    pandas = pytest.importorskip("pandas")
    X, y = table
    frame = pandas.DataFrame(X, columns=[f"c{j}" for j in range(10)]).assign(y=y)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(frame.drop(columns="y"), y)
    rows = dataframe.from_pandas(frame, npartitions=5)
    rows = rows[rows["c0"] > -0.5]  # the lengths are not known any more
    kept = frame["c0"] > -0.5
    whole = score_rows(pipeline, frame[kept].drop(columns="y"), y[kept], scores=SCORES)
    forbid_gathering(monkeypatch)
    for labels in (rows["y"], y[kept]):
        found = score_rows(pipeline, rows.drop(columns="y"), labels, scores=SCORES)
        for name in SCORES:
            np.testing.assert_allclose(found[name], whole[name], rtol=1e-10, atol=1e-12)
    assert work()


def test_scorers_take_dask_tables(table, work, monkeypatch):
    array = pytest.importorskip("dask.array")
    X, y = table
    scorer = EL2NScorer(LogisticRegression(), epochs=None, n_runs=1).fit(X, y)
    expected = scorer.score_samples(X, y)
    rows, labels = (array.from_array(x, chunks=(1000, *x.shape[1:])) for x in (X, y))
    forbid_gathering(monkeypatch)
    np.testing.assert_allclose(scorer.score_samples(rows, labels), expected, rtol=1e-9)
    assert work()


@pytest.mark.parametrize("cls", [EL2NScorer, PrunedClassifier, NoisyLabelDetector])
def test_dask_frames_are_not_trained_on(cls):
    frame = pytest.importorskip("dask.dataframe")
    X = frame.from_dict({"a": list(range(20)), "b": [1.0] * 20}, npartitions=2)
    with pytest.raises(TypeError, match="Fit to rows in memory"):
        cls().fit(X, [0, 1] * 10)


def test_probabilities_of_dask_and_gradients_of_the_inputs(table, network):
    array = pytest.importorskip("dask.array")
    X, y = table
    p = network.predict_proba(X)
    found = el2n_scores(array.from_array(y), array.from_array(p, chunks=(1000, 3)))
    np.testing.assert_array_equal(found, el2n_scores(y, p))
    with pytest.raises(TypeError, match="map_partitions"):
        input_gradients(network, array.from_array(X), y)


def test_empty_partitions_and_labels_that_do_not_fit(table, network):
    array = pytest.importorskip("dask.array")
    dask = pytest.importorskip("dask")
    X, y = table
    rows = array.from_array(X, chunks=(1000, 10))
    with dask.config.set(scheduler="synchronous"):
        some = rows[X[:, 0] > np.sort(X[1000:, 0])[-10]]
        kept = y[X[:, 0] > np.sort(X[1000:, 0])[-10]]
        found = score_rows(network, some, kept)["el2n"]
        assert len(found) == len(kept)
        nothing = array.concatenate([rows[:0], rows[:5]])
        assert len(score_rows(network, nothing, y[:5])["el2n"]) == 5
        with pytest.raises(ValueError, match="3000 rows and y 2 labels"):
            score_rows(network, rows, y[:2])
        with pytest.raises(ValueError, match="repartition y"):
            score_rows(network, rows, array.from_array(y[:2000], chunks=1000))
        with pytest.raises(ValueError, match="1000 rows and 900 labels"):
            score_rows(network, rows, array.from_array(y[:2700], chunks=900))
        with pytest.raises(ValueError, match="no rows"):
            score_rows(network, rows[:0], y[:0])
