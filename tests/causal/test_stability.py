"""Edge frequencies under resampling: against plain loops, closed forms and truth."""

import os
import warnings

import array_api_strict
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning

from skpapers.causal import (
    CoLiDE,
    StabilityDAG,
    TopologicalSwap,
    bootstrap_edges,
    effect_intervals,
)
from skpapers.causal._bic_search import bic_order_search
from skpapers.causal._resampling import (
    SEED_MAX,
    WARM_KICK,
    WARM_KICKS,
    WARM_RESTARTS,
    Moments,
    Rows,
    map_draws,
)
from skpapers.causal._stability import stable_support
from skpapers.datasets import make_linear_sem
from skpapers.metrics import dag_to_cpdag, is_dag, structural_hamming_distance
from skpapers.utils import DataConditionWarning
from skpapers.utils._array_api import to_numpy

MATRICES = (
    "edge_probabilities",
    "skeleton_probabilities",
    "edge_frequencies",
    "undirected_frequencies",
    "ancestor_probabilities",
)
SQUARED = TopologicalSwap(loss="squared")


@pytest.fixture
def sem(global_random_seed):
    return make_linear_sem(
        150, 6, n_edges=8, weight_range=(0.2, 0.8), random_state=global_random_seed
    )


def _same(left, right):
    for name in MATRICES:
        np.testing.assert_array_equal(left[name], right[name])
    np.testing.assert_array_equal(left.order_agreements, right.order_agreements)


class Undecided(BaseEstimator):
    """Fits the graph 0 -> 1 -> 2 with the edge 0 - 1 open, from rows alone."""

    def __init__(self, code=1):
        self.code = code

    def fit(self, X, y=None):
        self.n_features_in_ = 3
        self.adjacency_ = np.array([[0, 1.0, 0], [0, 0, 1.0], [0, 0, 0]])
        self.cpdag_ = np.array([[0, 1, 0], [1, 0, 1], [0, 0, 0]])
        if self.code == 2:
            self.cpdag_ = np.array([[0, 2, 0], [0, 0, 1], [0, 0, 0]])
        return self


@pytest.mark.parametrize("subsample", [None, 0.5])
def test_equals_a_plain_loop(sem, global_random_seed, subsample):
    found = bootstrap_edges(
        SQUARED, sem.X, 12, subsample=subsample, random_state=global_random_seed
    )
    rows = Rows(sem.X, subsample=subsample)
    rng = np.random.RandomState(global_random_seed)
    rng.randint(2**31 - 1)  # of the fit to all rows
    counts, ancestors = np.zeros((6, 6)), np.zeros((6, 6))
    for seed in rng.randint(np.iinfo(np.int32).max, size=12):
        table = rows.table(np.random.RandomState(seed))
        assert len(table) == (150 if subsample is None else 75)
        graph = TopologicalSwap(loss="squared").fit(table).adjacency_ != 0
        counts += graph
        ancestors += np.linalg.inv(np.eye(6) - 0.1 * graph) - np.eye(6) > 1e-9
    np.testing.assert_allclose(found.edge_probabilities, counts / 12)
    np.testing.assert_allclose(found.ancestor_probabilities, ancestors / 12)


def _least_squares(P, x):
    weights = np.linalg.lstsq(P, x, rcond=None)[0]
    return float(((x - P @ weights) ** 2).mean() / 2), weights


def test_losses_that_need_the_rows(sem):
    """The function is the squared loss written out; the coins are a loop."""
    make = {"n_bootstraps": 6, "random_state": 0, "subsample": 0.7}
    learner = TopologicalSwap(loss=_least_squares)
    expected = bootstrap_edges(SQUARED, sem.X, **make)
    _same(bootstrap_edges(learner, sem.X, **make), expected)
    bootstrap_edges(learner, sem.X, 3, n_calibrations=1, random_state=0)
    intervals = effect_intervals(learner, sem.X, relearn=True, **make)
    same = effect_intervals(SQUARED, sem.X, relearn=True, **make)
    np.testing.assert_allclose(intervals.low, same.low, atol=1e-8)
    coins = (sem.X > 0).astype(float)
    learner = TopologicalSwap(loss="logistic", alpha=0.01)
    found = bootstrap_edges(learner, coins, 4, random_state=0)
    seeds = np.random.RandomState(0)
    seeds.randint(SEED_MAX)  # of the fit to all rows
    frequencies = np.zeros((6, 6))
    for seed in seeds.randint(SEED_MAX, size=4):
        rows, rng = Rows(coins), np.random.RandomState(seed)
        rows.covariance(rng)
        table = rows.table(np.random.RandomState(seed))
        again = clone(learner).set_params(random_state=rng.randint(SEED_MAX))
        frequencies += again.fit(table).adjacency_ != 0
    np.testing.assert_allclose(found.edge_frequencies, frequencies / 4)
    with pytest.raises(ValueError, match="n_calibrations must be 0"):
        bootstrap_edges(learner, coins, 4, n_calibrations=2)
    with pytest.raises(ValueError, match="use bootstrap_edges"):
        StabilityDAG(learner).fit(coins)


def test_bic_equals_a_plain_loop(sem, global_random_seed):
    """Searches from the order of all rows; an open direction counts one half."""
    learner = TopologicalSwap("bic", random_state=3)
    found = bootstrap_edges(learner, sem.X, 12, random_state=global_random_seed)
    rows = Rows(sem.X)
    order = clone(learner).fit(sem.X).causal_order_
    P = np.zeros((6, 6))
    seeds = np.random.RandomState(global_random_seed)
    seeds.randint(SEED_MAX)  # of the fit to all rows
    for seed in seeds.randint(SEED_MAX, size=12):
        rng = np.random.RandomState(seed)
        C, n = rows.covariance(rng)
        result = bic_order_search(
            C,
            n,
            order=order,
            n_restarts=WARM_RESTARTS,
            kick=WARM_KICK,
            n_kicks=WARM_KICKS,
            seeds=[rng.randint(SEED_MAX)],
        )
        cpdag = dag_to_cpdag(result.parents)
        P += (cpdag + cpdag * (1 - cpdag.T)) / 2
    np.testing.assert_allclose(found.edge_probabilities, P / 12)


def test_warm_searches_are_as_good_as_long_ones(global_random_seed):
    """Few restarts from the order of all rows, against many from scratch."""
    data = make_linear_sem(300, 8, n_edges=12, random_state=global_random_seed)
    found = bootstrap_edges(TopologicalSwap("bic"), data.X, 60, random_state=0)
    rows, P = Rows(data.X), np.zeros((8, 8))
    for seed in range(60):
        C, n = rows.covariance(np.random.RandomState(1000 + seed))
        cpdag = dag_to_cpdag(bic_order_search(C, n, n_restarts=100).parents)
        P += (cpdag + cpdag * (1 - cpdag.T)) / 120
    gap = np.abs(found.edge_probabilities - P)
    assert gap.max() < 0.35  # other draws: five standard errors
    assert gap.mean() < 0.03


def test_auto_keeps_to_the_loss_of_all_rows():
    """A resample of heavy tails seems to speak against equal variances."""
    data = make_linear_sem(500, 12, 24, noise="exponential", random_state=0)
    auto = TopologicalSwap("auto", n_restarts=5)
    found = bootstrap_edges(auto, data.X, 10, random_state=0)
    assert found.learner.loss_ == "squared"
    _same(found, bootstrap_edges(SQUARED, data.X, 10, random_state=0))
    stable = StabilityDAG(auto, n_bootstraps=10, random_state=0).fit(data.X)
    assert stable.learner_.loss_choice_["kurtosis"] > 4
    expected = StabilityDAG(SQUARED, n_bootstraps=10, random_state=0).fit(data.X)
    np.testing.assert_array_equal(
        stable.edge_probabilities_, expected.edge_probabilities_
    )
    X = data.X / data.X.std(axis=0)
    found = bootstrap_edges(auto, X, 10, random_state=0)
    assert found.learner.loss_ == "bic"
    bic = TopologicalSwap("bic", n_restarts=5)
    _same(found, bootstrap_edges(bic, X, 10, random_state=0))


def test_knowledge_about_edges_decides_open_directions(sem):
    learner = TopologicalSwap("bic", tiers=[[0, 1, 2], [3, 4, 5]])
    found = bootstrap_edges(learner, sem.X, 10, random_state=0)
    assert not found.edge_probabilities[3:, :3].any()
    assert not found.undirected_frequencies[3:, :3].any()


def test_frequencies(sem):
    found = bootstrap_edges(SQUARED, sem.X, 20, random_state=0)
    for name in MATRICES:
        assert found[name].shape == (6, 6)
        assert (found[name] >= 0).all()
        assert (found[name] <= 1).all()
    assert 0 <= found.order_agreement <= 1
    assert found.order_agreements.shape == (20,)
    np.testing.assert_array_equal(found.edge_probabilities, found.edge_frequencies)
    assert (found.ancestor_probabilities >= found.edge_probabilities).all()
    assert (np.diag(found.ancestor_probabilities) == 0).all()


@pytest.mark.parametrize("learner", [SQUARED, CoLiDE()])
def test_does_not_depend_on_workers_or_order_of_rows(sem, learner):
    one = bootstrap_edges(learner, sem.X, 6, random_state=0)
    _same(one, bootstrap_edges(learner, sem.X, 6, random_state=0, n_jobs=2))
    shuffled = np.random.default_rng(0).permutation(sem.X)
    _same(one, bootstrap_edges(learner, shuffled, 6, random_state=0))
    other = bootstrap_edges(learner, sem.X, 6, random_state=1)
    if ((one.edge_probabilities > 0) & (one.edge_probabilities < 1)).any():
        assert any(not np.array_equal(one[name], other[name]) for name in MATRICES)


class Alone(CoLiDE):
    """Learns one resample after the other."""

    @property
    def learn_batch(self):
        raise AttributeError("learn_batch")


@pytest.mark.filterwarnings("ignore::skpapers.utils.DataConditionWarning")
def test_batches_equal_a_loop(sem):
    names = list("abcdef")
    X = pd.DataFrame(sem.X, columns=names)
    X["c"] = np.where(np.arange(len(X)) == 0, X["c"], 0.0)  # constant in some resamples
    params = {"forbidden_edges": [("a", "b")], "early_exit": True}
    pair = CoLiDE(**params), Alone(**params)
    found, expected = (
        bootstrap_edges(learner, X, 9, n_calibrations=1, random_state=0)
        for learner in pair
    )
    _same(found, expected)
    options = {"source": "d", "relearn": True, "n_bootstraps": 5, "random_state": 0}
    found, expected = (effect_intervals(x, X, **options).draws for x in pair)
    np.testing.assert_array_equal(found, expected)


def test_unfinished_batches_are_told(sem):
    learner = CoLiDE(solver="adam", warm_iter=2, max_iter=2, learning_rate=1e-2)
    with pytest.warns(ConvergenceWarning) as told:
        bootstrap_edges(learner, sem.X, 4, random_state=0)
    assert any("in 4 resamples, the first: 1 of 1" in str(w.message) for w in told)


@pytest.mark.skipif(
    os.environ.get("SCIPY_ARRAY_API") != "1",
    reason="set SCIPY_ARRAY_API=1 before scipy is imported",
)
@pytest.mark.parametrize("device", ["CPU_DEVICE", "device1"])
def test_batches_are_learnt_where_the_table_lives(device, monkeypatch):
    data = make_linear_sem(200, 4, 4, random_state=0)
    learner = CoLiDE(solver="adam", learning_rate=1e-2)
    options = {"n_bootstraps": 5, "random_state": 0}
    expected = StabilityDAG(learner, **options).fit(data.X)
    places, learn_batch = [], CoLiDE.learn_batch

    def watched(self, covariances, *args, **kwargs):
        places.append(covariances.device)
        return learn_batch(self, covariances, *args, **kwargs)

    monkeypatch.setattr(CoLiDE, "learn_batch", watched)
    device = array_api_strict.Device(device)
    X = array_api_strict.asarray(data.X, device=device)
    with config_context(array_api_dispatch=True):
        stable = StabilityDAG(learner, **options).fit(X)
    assert set(places) == {device}
    np.testing.assert_allclose(
        to_numpy(stable.edge_probabilities_), expected.edge_probabilities_, atol=0.21
    )


def test_weights_count_rows(sem):
    weight = np.random.default_rng(0).integers(0, 3, 150)
    weighted = bootstrap_edges(SQUARED, sem.X, 8, sample_weight=weight, random_state=0)
    repeated = np.repeat(sem.X, weight, axis=0)
    _same(weighted, bootstrap_edges(SQUARED, repeated, 8, random_state=0))


@pytest.fixture(scope="module")
def cluster():
    """Two processes that a scheduler hands the resamples to."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_on_a_cluster_of_processes(sem, cluster):
    learner = TopologicalSwap("bic")
    workers = set(cluster.run(os.getpid).values())
    assert len(workers - {os.getpid()}) == 2
    before = cluster.run(lambda dask_worker: dask_worker.state.executed_count)
    make = {"n_bootstraps": 16, "n_calibrations": 2, "random_state": 0}
    expected = bootstrap_edges(learner, sem.X, **make, n_jobs=1)
    with joblib.parallel_config(backend="dask"):
        found = bootstrap_edges(learner, sem.X, **make)
    _same(expected, found)
    np.testing.assert_array_equal(
        expected.calibrated_probabilities, found.calibrated_probabilities
    )
    after = cluster.run(lambda dask_worker: dask_worker.state.executed_count)
    assert sum(after.values()) > sum(before.values())  # they did the work


@pytest.mark.parametrize("code", [1, 2])
def test_open_directions_count_half(code):
    X = np.random.default_rng(0).standard_normal((20, 3))
    found = bootstrap_edges(Undecided(code), X, 5, random_state=0)
    expected = [[0, 0.5, 0], [0.5, 0, 1], [0, 0, 0]]
    np.testing.assert_array_equal(found.edge_probabilities, expected)
    assert found.skeleton_probabilities[0, 1] == 1
    assert found.edge_frequencies[0, 1] == 1
    assert found.ancestor_probabilities[0, 2] == 0  # 0 -> 1 is not certain
    assert found.order_agreement == 1
    support = stable_support(found, 0.5, np.arange(3))
    np.testing.assert_array_equal(support, found.learner.adjacency_ != 0)
    support = stable_support(found, 0.5, np.array([1, 0, 2]))
    np.testing.assert_array_equal(np.argwhere(support), [[1, 0], [1, 2]])


def test_cycles_lose_their_least_probable_edge():
    P = np.zeros((4, 4))
    P[0, 1], P[1, 2], P[2, 0], P[0, 3] = 0.9, 0.7, 0.6, 0.55
    statistics = type("S", (), {"edge_probabilities": P})()
    statistics.undirected_frequencies = np.zeros((4, 4))
    support = stable_support(statistics, 0.5, np.arange(4))
    np.testing.assert_array_equal(np.argwhere(support), [[0, 1], [0, 3], [1, 2]])


def test_resampled_covariances(global_random_seed):
    """Means over resamples: C (1 - 1/n) of rows, C of the Wishart distribution."""
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((60, 3)) @ rng.uniform(0.5, 1.5, (3, 3))
    C = np.cov(X.T, bias=True)
    state = np.random.RandomState(global_random_seed)
    spread = []
    for source, expected in (
        (Rows(X), C * (1 - 1 / 60)),
        (Moments(C, 60.0), C),
        (Moments(C, 60.0, 0.5), C),
    ):
        draws = np.array([source.covariance(state)[0] for _ in range(3000)])
        np.testing.assert_allclose(draws.mean(axis=0), expected, rtol=0.05)
        spread.append(draws.std(axis=0))
    np.testing.assert_allclose(spread[1], spread[2], rtol=0.1)
    counts = Rows(X, subsample=0.5).counts(state)
    assert counts.max() == 1
    assert counts.sum() == 30


def test_covariance_is_that_of_the_drawn_rows(sem):
    rows = Rows(sem.X + 1e6)
    C, n = rows.covariance(np.random.RandomState(3))
    table = rows.table(np.random.RandomState(3))
    assert n == len(table)
    np.testing.assert_allclose(C, np.cov(table.T, bias=True), rtol=1e-6, atol=1e-8)


def test_few_rows_of_moments():
    C, n = Moments(np.eye(5), 3.0).covariance(np.random.RandomState(0))
    assert n == 3
    assert np.linalg.matrix_rank(C) == 2


def test_stable_graph(sem):
    stable = StabilityDAG(SQUARED, n_bootstraps=30, threshold=0.6, random_state=0)
    stable.fit(sem.X)
    kept = stable.adjacency_ != 0
    assert is_dag(kept)
    assert (stable.edge_probabilities_[kept] > 0.6).all()
    assert kept.sum() == (stable.edge_probabilities_ > 0.6).sum()
    for j in range(6):
        parents = np.flatnonzero(kept[:, j])
        centred = sem.X - sem.X.mean(axis=0)
        w = np.linalg.lstsq(centred[:, parents], centred[:, j], rcond=None)[0]
        np.testing.assert_allclose(stable.adjacency_[parents, j], w, rtol=1e-8)
    found = bootstrap_edges(SQUARED, sem.X, 30, random_state=0)
    np.testing.assert_array_equal(stable.edge_probabilities_, found.edge_probabilities)
    assert stable.order_agreement_ == found.order_agreement
    np.testing.assert_allclose(stable.learner_.mean_, stable.mean_)


def test_streams_and_covariances(sem):
    """Without rows the resamples are those of normal rows: about the same."""
    data = make_linear_sem(2000, 5, n_edges=6, random_state=0)
    make = {"learner": SQUARED, "n_bootstraps": 20, "random_state": 0}
    whole = StabilityDAG(**make).fit(data.X)
    parts = StabilityDAG(**make).partial_fit(data.X[:900], learn=False)
    parts.partial_fit(data.X[900:])
    given = StabilityDAG(**make).fit_covariance(
        whole.covariance_, 2000, mean=whole.mean_
    )
    for other in (parts, given):
        np.testing.assert_allclose(other.adjacency_, whole.adjacency_, atol=1e-8)
        np.testing.assert_allclose(
            other.edge_probabilities_, whole.edge_probabilities_, atol=0.3
        )


def test_names_reach_the_learner(sem):
    frame = pd.DataFrame(sem.X, columns=list("abcdef"))
    source, target = np.argwhere(sem.W)[0]
    edge = ("abcdef"[source], "abcdef"[target])
    learner = CoLiDE(forbidden_edges=[edge])
    stable = StabilityDAG(learner, n_bootstraps=4, random_state=0).fit(frame)
    assert stable.edge_probabilities_[source, target] == 0
    assert stable.to_frame()["source"].isin(list("abcdef")).all()


@pytest.mark.parametrize(
    "learner",
    [
        SQUARED,
        TopologicalSwap("bic"),
        TopologicalSwap("bic", w_threshold=0.01),
        TopologicalSwap("squared", forbidden_edges=[("b", "c")]),
        TopologicalSwap(loss=_least_squares),
        CoLiDE(),
    ],
)
def test_required_edges_of_rare_events(learner):
    """A column that is constant in about a third of the resamples."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal((200, 3)), np.arange(200) == 9])
    learner = clone(learner).set_params(required_edges=[("rare", "a"), ("b", "a")])
    frame = pd.DataFrame(X, columns=["a", "b", "c", "rare"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConditionWarning)
        found = bootstrap_edges(learner, frame, 20, random_state=0)
    drawn = found.edge_frequencies[3, 0]
    assert 0.3 < drawn < 0.95
    assert found.edge_frequencies[1, 0] == 1


def test_constant_column():
    X = np.random.default_rng(0).standard_normal((50, 3))
    X[:, 1] = 7.0
    with pytest.warns(DataConditionWarning, match="Constant"):
        stable = StabilityDAG(SQUARED, n_bootstraps=3, random_state=0).fit(X)
    assert stable.edge_probabilities_[1].sum() == 0


def _warns(seed):
    import warnings

    warnings.warn(f"of {seed}", ConvergenceWarning, stacklevel=1)
    return seed


def test_warnings_of_resamples_are_told_once():
    with pytest.warns(ConvergenceWarning, match=r"7 warning.* in 7 resamples") as told:
        seeds = list(map_draws(_warns, 7, 0, None))
    assert len(told) == 1
    assert len(set(seeds)) == 7


def test_calibration():
    """The Brier score of the directions, against that of a constant guess."""
    loss, base, close = [], [], []
    for seed in range(1, 5):
        data = make_linear_sem(300, 10, n_edges=15, random_state=seed)
        found = bootstrap_edges(SQUARED, data.X, 50, random_state=0)
        truth, off = data.W != 0, ~np.eye(10, dtype=bool)
        loss.append(((found.edge_probabilities - truth)[off] ** 2).mean())
        base.append(((truth.sum() / 90 - truth)[off] ** 2).mean())
        stable = StabilityDAG(SQUARED, n_bootstraps=50, random_state=0).fit(data.X)
        close.append(structural_hamming_distance(data.W, stable.adjacency_))
    assert np.mean(loss) < 0.025 < np.mean(base)
    assert np.mean(close) < 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_bootstraps": 0}, "n_bootstraps"),
        ({"subsample": 1.0}, "subsample"),
        ({"subsample": 0.001}, "at least 2"),
        ({"sample_weight": np.full(150, 0.001)}, "at least 2"),
        ({"learner": 3}, "learner"),
        ({"X": [[np.nan, 1.0], [0.0, 2.0]]}, "NaN"),
    ],
)
def test_bad_input(sem, arguments, message):
    arguments = {"learner": SQUARED, "X": sem.X, **arguments}
    with pytest.raises(ValueError, match=message):
        bootstrap_edges(**arguments)


def test_bad_parameters(sem):
    with pytest.raises(ValueError, match="threshold"):
        StabilityDAG(threshold=1.0).fit(sem.X)
    with pytest.raises(ValueError, match="raise subsample"):
        StabilityDAG(subsample=0.01).fit_covariance(np.eye(2), 100)
    fitted = StabilityDAG(SQUARED, n_bootstraps=2, random_state=0).fit(sem.X)
    before = fitted.adjacency_
    with pytest.raises(ValueError, match="constant"):
        fitted.fit(np.ones((5, 2)))
    assert fitted.adjacency_ is before
    clone(fitted)
