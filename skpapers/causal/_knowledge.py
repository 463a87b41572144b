# SPDX-License-Identifier: BSD-3-Clause
"""Prior knowledge about a graph: forbidden edges, required edges and tiers.

The learners take it in the user's words (names, indices, masks); they work with two
boolean matrices, of which entry (i, j) speaks of the edge i -> j.
"""

from numbers import Integral

import numpy as np

from skpapers.utils._graph import describe_cycle, is_dag


def edge_knowledge(names, forbidden_edges=None, required_edges=None, tiers=None):
    """Turn what a user knows about the edges into two masks.

    Parameters
    ----------
    names : sequence of str
        Names of the d columns.
    forbidden_edges, required_edges : bool array of shape (d, d) or pairs, default=None
        A mask, or (cause, effect) pairs of column names or indices.
    tiers : sequence of sequences, default=None
        Groups of columns (names or indices), causes first: no edge leads from a later
        group to an earlier one. Columns that are in no group are free.

    Returns
    -------
    allowed : bool ndarray of shape (d, d)
        Edges that the graph may have. The diagonal is False, and so is every edge that
        would close a cycle with the required ones.
    required : bool ndarray of shape (d, d)
        Edges that the graph must have; all of them are allowed.

    Raises
    ------
    ValueError
        If an edge or a tier speaks of an unknown column, if a mask has a wrong shape or
        is not boolean, if a column is in two tiers, if a required edge is forbidden or
        goes against the tiers, or if the required edges contain a cycle.
    """
    names = list(names)
    forbidden = _parse_edges(forbidden_edges, names, "forbidden_edges")
    required = _parse_edges(required_edges, names, "required_edges")
    backward = _against_tiers(tiers, names)
    for mask, reason in (
        (forbidden, "in forbidden_edges"),
        (backward, "against tiers"),
    ):
        for i, j in np.argwhere(required & mask)[:1]:
            raise ValueError(
                f"required_edges contains {names[i]} -> {names[j]}, which is {reason}: "
                "drop one of the two."
            )
    if not is_dag(required):
        raise ValueError(
            f"required_edges must be acyclic, got {describe_cycle(required, names)}."
        )
    allowed = ~(forbidden | backward | _descendants(required).T)
    np.fill_diagonal(allowed, False)
    return allowed, required


def restrict_knowledge(allowed, required, columns, names):
    """Keep the columns that a learner sees; the others are constant.

    Raises
    ------
    ValueError
        If a required edge touches a column that is not in ``columns``.
    """
    constant = np.setdiff1d(np.arange(len(names)), columns)
    for j in constant[(required | required.T)[constant].any(axis=1)][:1]:
        raise ValueError(
            f"required_edges speaks of the column {names[j]}, which is constant: drop "
            "the edge or the column."
        )
    block = np.ix_(columns, columns)
    return np.ascontiguousarray(allowed[block]), np.ascontiguousarray(required[block])


def _parse_edges(edges, names, parameter):
    """Return the mask of a parameter that holds a mask or pairs."""
    d = len(names)
    mask = np.zeros((d, d), dtype=bool)
    if edges is None:
        return mask
    if hasattr(edges, "shape"):  # an array or a frame
        edges = np.asarray(edges)
        if edges.dtype == bool:
            if edges.shape != (d, d):
                raise ValueError(
                    f"{parameter} must be a mask of shape ({d}, {d}), got shape "
                    f"{edges.shape}."
                )
            return edges.copy()
    for edge in edges:
        if isinstance(edge, str) or not hasattr(edge, "__len__") or len(edge) != 2:
            raise ValueError(
                f"{parameter} must be a boolean array of shape ({d}, {d}) or a "
                f"sequence of (cause, effect) pairs, got the entry {edge!r}."
            )
        i, j = (_find_column(end, names, parameter) for end in edge)
        mask[i, j] = True
    return mask


def _find_column(column, names, parameter):
    """Return the index of a column that is given by name or index."""
    if isinstance(column, str) and column in names:
        return names.index(column)
    is_index = isinstance(column, Integral) and not isinstance(column, (bool, np.bool_))
    if is_index and 0 <= column < len(names):
        return int(column)
    raise ValueError(
        f"{parameter} speaks of the column {column!r}; known are the names {names} and "
        f"the indices 0 to {len(names) - 1}."
    )


def _against_tiers(tiers, names):
    """Return the mask of edges from a later tier to an earlier one."""
    rank = np.full(len(names), np.nan)  # comparisons with nan are False: free
    for level, tier in enumerate(() if tiers is None else tiers):
        if isinstance(tier, str) or not hasattr(tier, "__iter__"):
            raise ValueError(
                f"tiers must be a sequence of groups of columns, got the group "
                f"{tier!r}."
            )
        for column in tier:
            j = _find_column(column, names, "tiers")
            if not np.isnan(rank[j]):
                raise ValueError(f"tiers contains the column {names[j]} twice.")
            rank[j] = level
    return rank[:, None] > rank[None, :]


def _descendants(A):
    """Return the mask of pairs (i, j) with a directed path from i to j."""
    reach = A.astype(np.float64)
    for _ in range(len(A).bit_length()):  # longest path: 1, 2, 4, ... edges
        reach = np.minimum(reach + reach @ reach, 1.0)
    return reach > 0
