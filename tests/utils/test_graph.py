# SPDX-License-Identifier: BSD-3-Clause
"""Acyclicity, order, thresholding and the validation of adjacency matrices."""

import itertools

import networkx as nx
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from skpapers.metrics import is_dag, threshold_to_dag, topological_order
from skpapers.utils._graph import check_adjacency, find_cycle, order_to_mask

pytestmark = pytest.mark.kernels


def random_graph(d, density, rng):
    A = rng.random((d, d)) < density
    np.fill_diagonal(A, False)
    return A


def random_dag(d, density, rng):
    A = np.triu(rng.random((d, d)) < density, 1)
    labels = rng.permutation(d)
    return A[np.ix_(labels, labels)]


def cut_edge_by_edge(W, threshold, strict):
    """Drop one distinct absolute weight after the other, as the text says."""
    W = W.copy()
    W[np.abs(W) <= threshold if strict == ">" else np.abs(W) < threshold] = 0
    while not nx.is_directed_acyclic_graph(
        nx.from_numpy_array(W != 0, create_using=nx.DiGraph)
    ):
        W[np.abs(W) == np.abs(W[W != 0]).min()] = 0
    return W


@pytest.mark.parametrize(("d", "n_dags"), [(1, 1), (2, 3), (3, 25), (4, 543)])
def test_number_of_dags(d, n_dags):
    off_diagonal = ~np.eye(d, dtype=bool)
    found = 0
    for entries in itertools.product([False, True], repeat=d * (d - 1)):
        A = np.zeros((d, d), dtype=bool)
        A[off_diagonal] = entries
        found += is_dag(A)
    assert found == n_dags


def test_is_dag_and_cycle_agree_with_networkx(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    for _ in range(100):
        A = random_graph(rng.integers(2, 12), rng.random() ** 2, rng)
        acyclic = is_dag(A)
        assert acyclic is nx.is_directed_acyclic_graph(
            nx.from_numpy_array(A, create_using=nx.DiGraph)
        )
        cycle = find_cycle(A)
        assert acyclic == (cycle == [])
        assert all(A[i, j] for i, j in zip(cycle, cycle[1:] + cycle[:1], strict=True))
        assert len(set(cycle)) == len(cycle)


def test_order_is_the_smallest_one(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    for _ in range(50):
        A = random_dag(rng.integers(1, 12), rng.random(), rng)
        graph = nx.from_numpy_array(A, create_using=nx.DiGraph)
        order = topological_order(A * rng.normal(size=A.shape))
        assert order.dtype == np.int64
        assert order.tolist() == list(nx.lexicographical_topological_sort(graph))
        assert not (A & ~order_to_mask(order)).any()


@pytest.mark.parametrize("d", [1, 4])
def test_empty_graph(d):
    A = np.zeros((d, d))
    assert is_dag(A)
    np.testing.assert_array_equal(topological_order(A), np.arange(d))
    W_cut, cut = threshold_to_dag(A)
    np.testing.assert_array_equal(W_cut, A)
    assert cut == 0.3


def test_order_of_a_long_reversed_chain():
    A = np.eye(300, k=-1)
    np.testing.assert_array_equal(topological_order(A), np.arange(300)[::-1])


def test_cyclic_graph_error_shows_a_cycle():
    A = np.zeros((5, 5))
    A[0, 1] = A[1, 2] = A[2, 3] = A[3, 1] = A[3, 4] = 1
    with pytest.raises(ValueError, match=r"A must be acyclic.* 1 -> 2 -> 3 -> 1"):
        topological_order(A)
    frame = pd.DataFrame(A, columns=list("abcde"))
    with pytest.raises(ValueError, match="b -> c -> d -> b"):
        topological_order(frame)
    with pytest.raises(ValueError, match="cycle 2 -> 2"):
        topological_order(np.diag([0.0, 0, 1]))


@pytest.mark.parametrize("strict", [">", ">="])
@pytest.mark.parametrize("ties", [False, True])
def test_threshold_agrees_with_cutting_edge_by_edge(strict, ties, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    for _ in range(60):
        d = rng.integers(2, 9)
        W = rng.normal(size=(d, d)) * (rng.random((d, d)) < rng.random())
        if ties:
            W = np.round(W * 4) / 4
        if rng.random() < 0.5:
            np.fill_diagonal(W, 0)
        threshold = rng.choice([0.0, 0.25, 0.5])
        W_cut, cut = threshold_to_dag(W, threshold, strict)
        np.testing.assert_array_equal(W_cut, cut_edge_by_edge(W, threshold, strict))
        # The reported cut reproduces the result in one step.
        kept = np.abs(W) > cut if strict == ">" else np.abs(W) >= cut
        np.testing.assert_array_equal(W_cut, np.where(kept, W, 0))
        assert cut >= threshold


@given(
    W=arrays(np.float64, (5, 5), elements=st.sampled_from([0, 0, 0, 0.2, -0.5, 1, 2])),
    threshold=st.sampled_from([0.0, 0.2, 0.3]),
)
@settings(max_examples=50, deadline=None)
def test_threshold_result_is_an_acyclic_part_and_stays(W, threshold):
    W_cut, cut = threshold_to_dag(W, threshold)
    assert is_dag(W_cut)
    assert set(np.unique(np.abs(W_cut[W_cut != 0]) > cut)) <= {True}
    again, second = threshold_to_dag(W_cut, cut)
    np.testing.assert_array_equal(again, W_cut)
    assert second == cut


def test_threshold_boundary():
    W = np.array([[0, 0.3], [0, 0]])
    assert threshold_to_dag(W, 0.3)[0][0, 1] == 0
    assert threshold_to_dag(W, 0.3, ">=")[0][0, 1] == 0.3
    loop = np.array([[0, 0.3], [0.3, 0]])  # at the threshold and on a cycle
    for strict in (">", ">="):
        W_cut, cut = threshold_to_dag(loop, 0.3, strict)
        assert not W_cut.any()
        assert cut == (0.3 if strict == ">" else np.nextafter(0.3, 1))


def test_threshold_cuts_self_loops():
    W = np.array([[0.9, 2.0, 0], [0, 0, 0.5], [0, 0, 0]])
    W_cut, cut = threshold_to_dag(W)
    np.testing.assert_array_equal(W_cut, [[0, 2, 0], [0, 0, 0], [0, 0, 0]])
    assert cut == 0.9


def test_threshold_keeps_dtype_input_and_labels():
    W = np.array([[0, 2, 0.1], [1, 0, 0], [0, 0, 0]], dtype=np.float32)
    W.flags.writeable = False
    W_cut, _ = threshold_to_dag(W)
    assert W_cut.dtype == np.float32
    np.testing.assert_array_equal(W_cut, [[0, 2, 0], [0, 0, 0], [0, 0, 0]])
    assert threshold_to_dag(W != 0)[0].dtype == bool
    names = ["x", "y", "z"]
    out = threshold_to_dag(pd.DataFrame(W, index=names, columns=names))[0]
    assert isinstance(out, pd.DataFrame)
    assert list(out.index) == list(out.columns) == names
    np.testing.assert_array_equal(out.to_numpy(), W_cut)
    out = threshold_to_dag(pl.DataFrame(W, schema=names, orient="row"))[0]
    assert isinstance(out, pl.DataFrame)
    assert out.columns == names
    np.testing.assert_array_equal(out.to_numpy(), W_cut)


def test_threshold_of_large_and_tiny_scales(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    W = rng.normal(size=(8, 8))
    small, _ = threshold_to_dag(W, 0.0)
    for scale in (2.0**-500, 2.0**500):
        W_cut, _ = threshold_to_dag(W * scale, 0.0)
        np.testing.assert_array_equal(W_cut, small * scale)


@pytest.mark.parametrize(
    "A",
    [
        [[0, 1], [0, 0]],
        np.array([[False, True], [False, False]]),
        np.array([[0, 1], [0, 0]], dtype=object),
        np.array([[0, 1], [0, 0]], dtype=np.int8, order="F"),
        pd.DataFrame([[0, 1], [0, 0]]),
        pd.DataFrame([[False, True], [False, False]], columns=["a", "b"]),
        pl.DataFrame({"a": [0, 0], "b": [1, 0]}),
    ],
)
def test_input_kinds(A):
    np.testing.assert_array_equal(check_adjacency(A) != 0, [[False, True], [False] * 2])
    np.testing.assert_array_equal(topological_order(A), [0, 1])


@pytest.mark.parametrize(
    ("A", "error", "match"),
    [
        (np.zeros((2, 3)), ValueError, r"graph must be a square.*\(2, 3\)"),
        (np.zeros(4), ValueError, "graph must be a square"),
        (np.zeros((2, 2, 2)), ValueError, "graph must be a square"),
        (np.zeros((0, 0)), ValueError, "0 sample"),
        ([[0, np.nan], [0, 0]], ValueError, "graph contains NaN"),
        ([[0, np.inf], [0, 0]], ValueError, "graph contains infinity"),
        ([["a", "b"], ["c", "d"]], ValueError, "strings"),
        (csr_array(np.eye(2)), TypeError, "[Ss]parse"),
        (
            pd.DataFrame(np.zeros((2, 2)), index=["b", "a"], columns=["a", "b"]),
            ValueError,
            "rows and the columns of graph",
        ),
    ],
)
def test_bad_adjacency(A, error, match):
    with pytest.raises(error, match=match):
        check_adjacency(A, name="graph")


@pytest.mark.parametrize("threshold", [-0.1, np.nan])
def test_bad_threshold_value(threshold):
    with pytest.raises(ValueError, match="threshold must be >= 0"):
        threshold_to_dag(np.zeros((2, 2)), threshold)


@pytest.mark.parametrize("threshold", ["0.3", None])
def test_bad_threshold_type(threshold):
    with pytest.raises(TypeError, match="threshold must be a number"):
        threshold_to_dag(np.zeros((2, 2)), threshold)


def test_bad_strict():
    with pytest.raises(ValueError, match="strict must be"):
        threshold_to_dag(np.zeros((2, 2)), strict="<")
