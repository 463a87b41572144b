# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skpapers.datasets import random_dag, random_weights
from skpapers.datasets._graphs import check_generator, edge_limit
from skpapers.utils._graph import is_dag

GRAPHS = ["er", "er_bernoulli", "sf", "bipartite"]
ORIENTATIONS = ["new_to_old", "old_to_new"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_dag_is_acyclic_with_the_requested_edges(data):
    d = data.draw(st.integers(1, 25), label="n_features")
    graph = data.draw(st.sampled_from(GRAPHS), label="graph")
    m = data.draw(st.integers(0, edge_limit(d, graph)), label="n_edges")
    seed = data.draw(st.integers(0, 2**32), label="random_state")
    orientation = data.draw(st.sampled_from(ORIENTATIONS), label="orientation")

    dag = random_dag(d, m, graph=graph, orientation=orientation, random_state=seed)

    assert dag.shape == (d, d)
    assert dag.dtype == bool
    assert is_dag(dag)
    if graph != "er_bernoulli":
        assert dag.sum() == m


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_random_dag_default_edges_on_few_nodes(graph, d):
    dag = random_dag(d, graph=graph, random_state=0)
    if graph == "er_bernoulli":
        assert dag.sum() == d * (d - 1) // 2  # each pair with probability 1
    else:
        assert dag.sum() == edge_limit(d, graph)


@pytest.mark.parametrize(
    ("graph", "expected"), [("er", 80), ("sf", 70), ("bipartite", 64)]
)
def test_random_dag_default_edges(graph, expected):
    assert random_dag(20, graph=graph, random_state=0).sum() == expected


def test_er_graphs_are_uniform_over_pairs(global_random_seed):
    # 3 nodes, 1 edge: six graphs, each with probability 1/6.
    rng = np.random.default_rng(global_random_seed)
    n = 3000
    count = sum(random_dag(3, 1, random_state=rng).astype(int) for _ in range(n))
    share = count[~np.eye(3, dtype=bool)] / n
    # Six standard errors of a share.
    np.testing.assert_allclose(share, 1 / 6, atol=6 * np.sqrt(5 / 36 / n))


def test_er_bernoulli_edge_count_is_binomial(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    counts = [
        random_dag(20, 80, graph="er_bernoulli", random_state=rng).sum()
        for _ in range(300)
    ]
    p = 80 / 190
    variance = 190 * p * (1 - p)
    assert np.mean(counts) == pytest.approx(80, abs=6 * np.sqrt(variance / 300))
    assert np.var(counts) == pytest.approx(variance, rel=0.6)


def test_every_column_can_be_a_root(global_random_seed):
    # Without relabelling column 0 would be a root of each graph.
    rng = np.random.default_rng(global_random_seed)
    roots = [~random_dag(5, 10, random_state=rng).any(axis=0) for _ in range(200)]
    assert (np.sum(roots, axis=0) > 10).all()  # 40 expected


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("k", [1, 2, 4])
def test_scale_free_graph_has_k_links_a_node_and_hubs(
    orientation, k, global_random_seed
):
    d = 200
    m = k * d - k * (k + 1) // 2
    dag = random_dag(
        d, m, graph="sf", orientation=orientation, random_state=global_random_seed
    )
    n_effects, n_causes = dag.sum(axis=1), dag.sum(axis=0)
    linked, linking = (
        (n_causes, n_effects) if orientation == "new_to_old" else (n_effects, n_causes)
    )
    # Node t links to min(t, k) older ones.
    np.testing.assert_array_equal(np.sort(linking), np.minimum(np.arange(d), k))
    # A uniform choice would give hubs with about k + 5 sqrt(k) links at most.
    assert linked.max() > k + 6 * np.sqrt(k)
    assert linked.max() > 3 * linking.max()


def test_attachment_is_in_proportion_to_degree(global_random_seed):
    # A tree on 4 nodes: the third links to either end; the fourth links to the
    # middle, which has degree 2 of 4, with probability 1/2. So a star has
    # probability 1/2, a path as well.
    rng = np.random.default_rng(global_random_seed)
    n = 2000
    n_stars = 0
    for _ in range(n):
        dag = random_dag(4, 3, graph="sf", random_state=rng)
        n_stars += (dag | dag.T).sum(axis=0).max() == 3
    assert n_stars / n == pytest.approx(0.5, abs=6 * np.sqrt(0.25 / n))


def test_bipartite_causes_are_a_fifth(global_random_seed):
    dag = random_dag(20, 64, graph="bipartite", random_state=global_random_seed)
    is_cause, is_effect = dag.any(axis=1), dag.any(axis=0)
    assert is_cause.sum() == 4
    assert not (is_cause & is_effect).any()


@pytest.mark.parametrize(
    ("d", "m", "graph", "limit"),
    [(3, 4, "er", 3), (20, 65, "bipartite", 64), (5, 11, "sf", 10), (1, 1, "er", 0)],
)
def test_too_many_edges(d, m, graph, limit):
    with pytest.raises(ValueError, match=f"n_edges={m} is too many.*at most {limit}"):
        random_dag(d, m, graph=graph)


@pytest.mark.parametrize(
    "bad", [{"n_features": 0}, {"n_edges": -1}, {"graph": "tree"}, {"orientation": "x"}]
)
def test_random_dag_bad_parameters(bad):
    with pytest.raises(ValueError, match=f"The '{next(iter(bad))}' parameter"):
        random_dag(**bad)


@pytest.mark.parametrize("bad", [np.random.RandomState(0), -1, 1.5, "0"])
def test_bad_random_state(bad):
    with pytest.raises(ValueError, match=r"random_state=.*default_rng\(seed\)"):
        random_dag(random_state=bad)


def test_random_state_kinds():
    rng = np.random.default_rng(3)
    assert check_generator(rng) is rng
    assert check_generator(None) is not check_generator(None)
    assert check_generator(np.int64(3)).random() == rng.random()


def test_random_weights_sign_and_range(global_random_seed):
    dag = random_dag(60, 1500, random_state=global_random_seed)
    W = random_weights(dag, (0.25, 1.0), random_state=global_random_seed)
    np.testing.assert_array_equal(W != 0, dag)
    weight = W[dag]
    size = abs(weight)
    assert size.min() >= 0.25
    assert size.max() <= 1.0
    assert size.mean() == pytest.approx(0.625, abs=6 * 0.75 / np.sqrt(12 * 1500))
    assert (weight > 0).mean() == pytest.approx(0.5, abs=6 * 0.5 / np.sqrt(1500))
    assert not np.signbit(W[~dag]).any()


def test_weights_of_an_edge_do_not_depend_on_the_others(global_random_seed):
    dag = random_dag(10, 30, random_state=global_random_seed)
    some = dag & (np.arange(10) < 5)
    W = random_weights(dag, random_state=global_random_seed)
    W_some = random_weights(some, random_state=global_random_seed)
    np.testing.assert_array_equal(W_some, np.where(some, W, 0))


@pytest.mark.parametrize(
    "bad", [(2.0, 0.5), (-1.0, 1.0), (0.5,), (0.5, 1, 2), ("a", "b"), (0.5, np.inf)]
)
def test_random_weights_bad_range(bad):
    with pytest.raises(ValueError, match="weight_range=.*0 <= low <= high"):
        random_weights(np.zeros((2, 2)), bad)


@pytest.mark.parametrize(
    ("dag", "match"),
    [
        ([[0, 1], [1, 0]], "acyclic"),
        ([[0, 1, 0], [0, 0, 1]], "square"),
        ([[0, np.nan], [0, 0]], "NaN"),
    ],
)
def test_random_weights_bad_graph(dag, match):
    with pytest.raises(ValueError, match=match):
        random_weights(dag)
