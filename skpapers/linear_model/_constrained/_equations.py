# SPDX-License-Identifier: BSD-3-Clause
"""Equations between coefficients, read from what the user gives."""

import numpy as np
from scipy.optimize import LinearConstraint, NonlinearConstraint
from sklearn.utils import check_array

from skpapers.linear_model._constrained._groups import NAMED


def coefficient_constraint(A, b, shape, fit_intercept):
    """Return A w = b as a constraint on flat parameters.

    Parameters
    ----------
    A : array-like of shape (m, K p) or (m, K (p + 1))
        Columns for the slopes, output by output; or also for the intercept of each
        output, after its slopes.
    b : array-like of shape (m,)
        Right sides.
    shape : tuple of int
        (q,) or (K, q): parameters of each output, with the intercept.
    fit_intercept : bool
        Whether the last parameter of an output is an intercept.

    Returns
    -------
    LinearConstraint
        The constraint.

    Raises
    ------
    ValueError
        If the sizes do not fit.
    """
    A = check_array(A, dtype=np.float64, input_name="A")
    b = check_array(b, dtype=np.float64, ensure_2d=False, input_name="b").ravel()
    q = shape[-1]
    K, p = int(np.prod(shape)) // q, q - fit_intercept
    if A.shape[1] not in (K * p, K * q):
        wanted = f"{K * p} (slopes)"
        if fit_intercept:
            wanted += (
                f" or {K * q} (with the intercept after the slopes of each output)"
            )
        raise ValueError(f"A has {A.shape[1]} columns; expected {wanted}.")
    if len(b) != len(A):
        raise ValueError(f"b has {len(b)} entries, A has {len(A)} rows.")
    if A.shape[1] == K * p:
        padded = np.zeros((len(A), K, q))
        padded[:, :, :p] = A.reshape(len(A), K, p)
        A = padded.reshape(len(A), K * q)
    return LinearConstraint(A, b, b)


def split_constraints(constraints):
    """Return the named constraints and the scipy objects of a parameter."""
    if constraints is None:
        return [], []
    if not isinstance(constraints, (list, tuple)):
        constraints = [constraints]
    named, given = [], []
    for item in constraints:
        if isinstance(item, str):
            if item not in NAMED:
                raise ValueError(
                    f"constraints: {item!r} is unknown; names are {', '.join(NAMED)}."
                )
            named.append(item)
        elif isinstance(item, (LinearConstraint, NonlinearConstraint)):
            given.append(item)
        else:
            raise ValueError(
                "constraints must be names or LinearConstraint / NonlinearConstraint "
                f"objects of scipy.optimize, got {type(item).__name__}."
            )
    return named, given


def gauge_rows(objective, constraints):
    """Return equations that single out one of many equal multinomial models.

    Adding a number to the intercepts of all classes, or to their slopes of a column
    without a penalty, changes no probability; the classes then sum to zero. Where a
    constraint is not blind to such a change, it decides already.

    Parameters
    ----------
    objective : GLMObjective
        Model.
    constraints : list of scipy constraints
        On flat parameters.

    Returns
    -------
    ndarray of shape (g, n_params)
        Left sides; the right sides are zero.
    """
    free = np.flatnonzero(objective.penalty[0] == 0)
    G = np.zeros((len(free), *objective.shape))
    G[np.arange(len(free)), :, free] = 1.0
    G = G.reshape(len(free), objective.n_params)
    blind = np.ones(len(free), dtype=bool)
    w = objective.start()
    for part in constraints:
        if isinstance(part, LinearConstraint):
            moves = np.atleast_2d(part.A) @ G.T
        else:
            moves = (part.fun(w + 1e-3 * g) - part.fun(w) for g in G)
            moves = np.array([np.atleast_1d(move) for move in moves]).T
        blind &= ~(np.abs(moves) > 1e-12).any(axis=0)
    return G[blind]


def number_of_rows(constraint, w):
    """Return how many equations a scipy constraint has."""
    if isinstance(constraint, LinearConstraint):
        return len(np.atleast_2d(constraint.A))
    return np.size(constraint.fun(w))
