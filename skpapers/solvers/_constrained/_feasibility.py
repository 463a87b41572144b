# SPDX-License-Identifier: BSD-3-Clause
"""Constraints that contradict each other.

Linear ones are found before the first step. Rows are scaled to length one. A row that
lies in the span of earlier ones is a combination of some of them: if its right-hand
side is the same combination it is redundant, otherwise these rows contradict each
other.

Curved ones show where a run has failed: the violation then has a minimum that is not
zero near its last point.
"""

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack, solve_triangular
from scipy.sparse.linalg import splu

SAFE = 1e-5  # distance of a unit row from the span of the others that needs no look
DEPENDENT = 1e-10  # distance below which a unit row counts as dependent
CONSISTENT = 1e-8  # allowed gap of right-hand sides, relative to their sizes
NAMED = 8  # rows that a message names
LARGE = 1e8  # operations a step above which no least violation is looked for
EVALUATIONS = 300  # of the constraints, in the search for the least violation
STAGNANT = 1e-3  # fall of the violation in WINDOW steps below which it has a minimum
WINDOW = 10
DENSE_ROWS = 3000  # more rows than this are only looked at through a sparse factor


class Redundancy:
    """Which rows to keep, and what to say of the others.

    Attributes
    ----------
    keep : ndarray of bool of shape (m,)
        Rows that are independent.
    words : list of str
        One sentence a dropped row.
    """

    def __init__(self, m):
        self.keep = np.ones(m, dtype=bool)
        self.words = []


def check_linear(linear):
    """Return the redundancy of a list of `Linear`; ValueError if they clash.

    Parameters
    ----------
    linear : list of Linear
        Linear constraints.
    """
    m = sum(constraint.m for constraint in linear)
    found = Redundancy(m)
    if not m:
        return found
    label = Labels(linear)
    b = np.concatenate([constraint.b for constraint in linear])
    rows = [constraint.A for constraint in linear]
    sparse = all(sp.issparse(A) for A in rows)
    A = sp.csr_matrix(sp.vstack(rows)) if sparse else _stack(rows)
    norms = row_norms(A)
    zero = norms == 0
    _judge_zero_rows(np.flatnonzero(zero), b, found, label)
    index = np.flatnonzero(~zero)
    if not index.size:
        return found
    unit = sp.diags(1 / norms[index]) @ A[index] if sparse else None
    if sparse and not _looks_dependent_sparse(sp.csr_matrix(unit)):
        return found
    if not sparse:
        gram = _unit_gram(A, index, norms)
        if not _looks_dependent(gram):
            return found
        unit = A[index] / norms[index, None]
    unit = unit.toarray() if sp.issparse(unit) else unit
    _judge_rows(unit, b[index] / norms[index], index, found, label)
    return found


def _stack(rows):
    rows = [A.toarray() if sp.issparse(A) else A for A in rows]
    return rows[0] if len(rows) == 1 else np.vstack(rows)


def row_norms(A):
    """Return the Euclidean norms of the rows of a dense or CSR matrix."""
    if sp.issparse(A):
        return np.sqrt(np.asarray(A.multiply(A).sum(axis=1)).ravel())
    return np.sqrt(np.einsum("ij,ij->i", A, A))


class Labels:
    """Words for rows of the stack."""

    def __init__(self, linear):
        self.where = [(c.name, row) for c in linear for row in range(c.m)]

    def __call__(self, rows):
        """Return "rows 0 and 3 of constraints[1] (LinearConstraint)"."""
        by_name = {}
        for row in rows[:NAMED]:
            name, local = self.where[row]
            by_name.setdefault(name, []).append(local)
        words = [
            f"row{'s' if len(local) > 1 else ''} {', '.join(map(str, local))} of {name}"
            for name, local in by_name.items()
        ]
        if len(rows) > NAMED:
            words.append(f"{len(rows) - NAMED} more")
        return " and ".join(words)


def _judge_zero_rows(rows, b, found, label):
    for row in rows:
        if b[row] != 0:
            raise ValueError(
                f"Infeasible linear constraints: {label([row])} has only zero "
                f"coefficients but the right-hand side {b[row]:.6g}."
            )
        found.keep[row] = False
        found.words.append(f"{label([row])} is 0 = 0")


def _unit_gram(A, index, norms):
    if index.size < A.shape[0]:
        A, norms = A[index], norms[index]
    return (A @ A.T) / np.outer(norms, norms)


def _looks_dependent(gram):
    """Tell whether some unit row is, or may be, close to the span of the others."""
    factor, info = lapack.dpotrf(gram, lower=1)
    return info != 0 or np.min(np.diag(factor)) < SAFE


def _looks_dependent_sparse(unit):
    m, n = unit.shape
    if m > n:
        return True
    gram = sp.csc_matrix(unit @ unit.T)
    if m <= 300:
        return _looks_dependent(gram.toarray())
    try:
        factor = splu(gram, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0)
    except RuntimeError:  # exactly singular
        suspicious = True
    else:
        suspicious = np.min(np.abs(factor.U.diagonal())) < SAFE**2
    return suspicious and m <= DENSE_ROWS


def _judge_rows(unit, b, index, found, label):
    """Orthogonalise row by row; name what depends on earlier rows."""
    m, n = unit.shape
    Q = np.empty((min(m, n), n))
    R = np.zeros((min(m, n), m))
    kept = []
    for j in range(m):
        r = len(kept)
        row, share = unit[j].copy(), np.zeros(r)
        for _ in range(2):  # twice is enough
            part = Q[:r] @ row
            row -= part @ Q[:r]
            share += part
        distance = np.linalg.norm(row)
        if r < n and distance > DEPENDENT:
            Q[r] = row / distance
            R[:r, j], R[r, j] = share, distance
            kept.append(j)
            continue
        weights = solve_triangular(R[:r, kept], share) if r else share
        weights[np.abs(weights) < 1e-9 * max(1.0, np.max(np.abs(weights)))] = 0.0
        partners = [kept[k] for k in np.flatnonzero(weights)]
        _judge_row(j, weights, partners, b, kept, index, found, label)


def _judge_row(j, weights, partners, b, kept, index, found, label):
    right = np.asarray([b[k] for k in kept])
    gap = abs(b[j] - weights @ right)
    size = max(abs(b[j]), float(np.abs(weights) @ np.abs(right)), 1e-300)
    others = label([index[k] for k in partners])
    this = label([index[j]])
    if gap > CONSISTENT * max(size, 1.0 if size < 1e-8 else size):
        clash = label([*(index[k] for k in partners), index[j]])
        raise ValueError(
            f"Infeasible linear constraints: {clash} contradict each other (the left "
            f"side of {this} is a combination of the others, its right side misses "
            f"it by {gap:.3g} when rows have length one)."
        )
    found.keep[index[j]] = False
    found.words.append(f"{this} follows from {others}")


def least_violation(constrain, x, tol):
    """Look for a point where ``||c||`` has a minimum that is not zero.

    By the method of Levenberg and Marquardt.

    Parameters
    ----------
    constrain : callable
        ``constrain(x)`` returns c and the `Jacobian` G.
    x : ndarray of shape (n,)
        Start.
    tol : float
        Largest entry of c that counts as zero.

    Returns
    -------
    ndarray of shape (n,) or None
        The point; None if the violation vanishes, or still falls at the end, or if
        there are too many constraints.
    """
    c, G = constrain(x)
    if float(G.m) ** 2 * G.n > LARGE:
        return None
    S = _products(G)
    damping, sizes = 1e-3 * max(float(np.max(np.diag(S))), 1e-300), [c @ c]
    for _ in range(EVALUATIONS):
        if np.max(np.abs(c)) <= tol:
            return None
        damped = S + damping * np.eye(len(c))
        try:
            step = G.tdot(np.linalg.solve(damped, -c))
        except np.linalg.LinAlgError:
            return None
        new_c, new_G = constrain(x + step)
        if new_c @ new_c < sizes[-1] and new_G.is_finite():
            x, c, G, S = x + step, new_c, new_G, _products(new_G)
            sizes.append(c @ c)
            damping /= 3
        elif np.linalg.norm(step) <= 1e-12 * (1 + np.linalg.norm(x)):
            return x
        else:
            damping *= 4
        if len(sizes) > WINDOW and sizes[-1] > (1 - STAGNANT) * sizes[-1 - WINDOW]:
            return x
    return None


def _products(G):
    rows = G.sparse() if G.is_sparse else G.dense()
    S = rows @ rows.T
    return S.toarray() if sp.issparse(S) else S
