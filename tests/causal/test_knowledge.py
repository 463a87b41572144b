# SPDX-License-Identifier: BSD-3-Clause
"""Prior knowledge: masks, pairs and tiers all mean the same edges."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skpapers.causal._knowledge import edge_knowledge, restrict_knowledge
from skpapers.utils._graph import is_dag

NAMES = ["a", "b", "c", "d"]


def off_diagonal(d):
    return ~np.eye(d, dtype=bool)


def test_nothing_known_allows_every_edge_between_two_columns():
    allowed, required = edge_knowledge(NAMES)
    np.testing.assert_array_equal(allowed, off_diagonal(4))
    assert not required.any()


@pytest.mark.parametrize(
    "edges",
    [
        [("a", "c"), ("d", "b")],
        {("a", "c"), ("d", "b")},
        [["a", 2], (3, "b")],
        np.array([[0, 2], [3, 1]]),
        np.array([["a", "c"], ["d", "b"]], dtype=object),
    ],
)
def test_pairs_and_masks_agree(edges):
    mask = np.zeros((4, 4), dtype=bool)
    mask[0, 2] = mask[3, 1] = True
    for given_mask in (mask, pd.DataFrame(mask, index=NAMES, columns=NAMES)):
        by_mask = edge_knowledge(NAMES, given_mask, ~mask & np.tri(4, k=-1, dtype=bool))
        by_pairs = edge_knowledge(NAMES, edges, ~mask & np.tri(4, k=-1, dtype=bool))
        np.testing.assert_array_equal(by_pairs, by_mask)
    allowed, _ = edge_knowledge(NAMES, edges)
    np.testing.assert_array_equal(allowed, off_diagonal(4) & ~mask)


def test_the_mask_is_copied():
    mask = np.zeros((4, 4), dtype=bool)
    mask.flags.writeable = False
    _, required = edge_knowledge(NAMES, required_edges=mask)
    required[0, 1] = True
    assert not mask.any()


def test_tiers_forbid_edges_to_earlier_groups_only():
    allowed, _ = edge_knowledge(NAMES, tiers=[["c"], ["a", 3]])
    expected = off_diagonal(4)
    expected[[0, 3], 2] = False  # a, d do not cause c; b stays free
    np.testing.assert_array_equal(allowed, expected)


def test_edges_that_would_close_a_cycle_with_required_ones_are_out():
    allowed, required = edge_knowledge(NAMES, required_edges=[("a", "b"), ("b", "c")])
    assert required.sum() == 2
    for i, j in ((1, 0), (2, 1), (2, 0)):
        assert not allowed[i, j]
    assert allowed.sum() == 12 - 3


@given(st.integers(2, 7), st.data())
def test_required_edges_and_any_single_allowed_edge_are_acyclic(d, data):
    order = np.array(data.draw(st.permutations(range(d))))
    upper = np.array(data.draw(st.lists(st.booleans(), min_size=d * d, max_size=d * d)))
    required = np.zeros((d, d), dtype=bool)
    required[np.ix_(order, order)] = np.triu(upper.reshape(d, d), k=1)
    allowed, kept = edge_knowledge([str(j) for j in range(d)], None, required)
    np.testing.assert_array_equal(kept, required)
    assert (allowed | ~required).all()
    for i in range(d):
        for j in range(d):
            longer = required.copy()
            longer[i, j] = True
            assert allowed[i, j] == (i != j and is_dag(longer))


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"forbidden_edges": [("a", "z")]}, "forbidden_edges.*'z'.*0 to 3"),
        ({"forbidden_edges": [(0, 4)]}, "forbidden_edges speaks of the column 4"),
        ({"forbidden_edges": [(0, -1)]}, "forbidden_edges speaks of the column -1"),
        ({"forbidden_edges": [(True, False)]}, "forbidden_edges speaks of.*True"),
        ({"forbidden_edges": ["ab"]}, "boolean array.*pairs.*'ab'"),
        ({"forbidden_edges": [("a", "b", "c")]}, "pairs, got the entry"),
        ({"forbidden_edges": [3]}, "pairs, got the entry 3"),
        ({"required_edges": np.zeros((3, 3), bool)}, r"required_edges.*\(3, 3\)"),
        ({"required_edges": np.zeros((4, 4))}, "required_edges must be a boolean"),
        ({"required_edges": [("a", "a")]}, "acyclic, got a -> a"),
        ({"required_edges": [("a", "b"), ("b", "a")]}, "acyclic, got a -> b -> a"),
        (
            {"required_edges": [("a", "b")], "forbidden_edges": [(0, 1)]},
            "a -> b, which is in forbidden_edges",
        ),
        (
            {"required_edges": [("a", "b")], "tiers": [["b"], ["a"]]},
            "a -> b, which is against tiers",
        ),
        ({"tiers": [["a"], ["a"]]}, "tiers contains the column a twice"),
        ({"tiers": ["a", "b"]}, "groups of columns, got the group 'a'"),
        ({"tiers": [0, 1]}, "groups of columns, got the group 0"),
        ({"tiers": [["q"]]}, "tiers speaks of the column 'q'"),
    ],
)
def test_errors_name_parameter_and_value(kwargs, match):
    with pytest.raises(ValueError, match=match):
        edge_knowledge(NAMES, **kwargs)


def test_restriction_to_the_columns_that_vary():
    allowed, required = edge_knowledge(NAMES, [("a", "d")], [("d", "a")])
    allowed, required = restrict_knowledge(allowed, required, np.array([0, 3]), NAMES)
    np.testing.assert_array_equal(allowed, [[False, False], [True, False]])
    np.testing.assert_array_equal(required, [[False, False], [True, False]])
    masks = edge_knowledge(NAMES, None, [("d", "a")])
    with pytest.raises(ValueError, match="column d, which is constant"):
        restrict_knowledge(*masks, np.array([0, 1, 2]), NAMES)
