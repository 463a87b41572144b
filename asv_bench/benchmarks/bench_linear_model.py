# SPDX-License-Identifier: BSD-3-Clause
"""Linear models by Newton steps: time, memory and accuracy, beside scikit-learn's."""

import warnings

import numpy as np
import scipy.sparse as sp
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression, PoissonRegressor

from benchmarks.common import cpu_seconds
from skpapers.linear_model import GNSGLMRegressor, GNSLogisticRegression
from skpapers.solvers import GNSLeastSquares

C = 1.0
SOLVERS = {
    "skpapers": lambda tol=1e-6: GNSLogisticRegression(C=C, tol=tol),
    "newton-cholesky": lambda tol=1e-6: LogisticRegression(
        C=C, tol=tol, solver="newton-cholesky"
    ),
    "lbfgs": lambda tol=1e-6: LogisticRegression(C=C, tol=tol, max_iter=1000),
}
TOLERANCES = [10.0**-k for k in range(2, 11)]
GAP = 1e-6  # relative, of the objective


def one_hot(n_samples=20_000, sizes=(3000, 1500, 400, 80)):
    """Return a sparse table of codes of unequal frequency, and labels."""
    rng = np.random.default_rng(0)
    columns, offset, eta = [], 0, np.zeros(n_samples)
    for size in sizes:
        share = np.arange(1, size + 1) ** -0.8
        code = rng.choice(size, size=n_samples, p=share / share.sum())
        eta += 0.5 * rng.standard_normal(size)[code]
        columns.append(code + offset)
        offset += size
    rows = np.arange(0, n_samples * len(sizes) + 1, len(sizes))
    flat = np.column_stack(columns).ravel()
    X = sp.csr_array((np.ones(len(flat)), flat, rows), shape=(n_samples, offset))
    return X, rng.random(n_samples) < 1 / (1 + np.exp(-eta))


def table(kind):
    """Return rows and labels of a kind."""
    if kind == "sparse":
        return one_hot()
    classes = 8 if kind == "classes" else 2
    X, y = make_classification(
        5000, 50, n_informative=30, n_classes=classes, random_state=0
    )
    if kind == "units":
        X = X * np.logspace(-2, 2, 50)
    return X, y


class FitLogistic:
    """Two classes, eight classes, columns in bad units, a sparse table."""

    params = [list(SOLVERS), ["binary", "classes", "units", "sparse"]]
    param_names = ["library", "table"]
    timeout = 120

    def setup(self, library, kind):
        if library == "newton-cholesky" and kind == "sparse":
            raise NotImplementedError  # a matrix of all pairs of columns
        self.X, self.y = table(kind)
        warnings.simplefilter("ignore")
        SOLVERS[library]().fit(self.X[:50], self.y[:50])  # compiles

    def time_fit(self, library, kind):
        SOLVERS[library]().fit(self.X, self.y)

    def peakmem_fit(self, library, kind):
        SOLVERS[library]().fit(self.X, self.y)

    def track_excess(self, library, kind):
        """Relative gap of the objective to that of an accurate fit."""
        best = GNSLogisticRegression(C=C, tol=1e-11).fit(self.X, self.y)
        model = SOLVERS[library]().fit(self.X, self.y)
        return objective(model, self.X, self.y) / objective(best, self.X, self.y) - 1


def objective(model, X, y):
    """Return what all solvers minimise."""
    proba = model.predict_log_proba(X)
    codes = np.searchsorted(model.classes_, y)
    loss = -proba[np.arange(len(codes)), codes].sum()
    return C * loss + 0.5 * (model.coef_**2).sum()


class RatioToPeers:
    """How much faster than the fastest peer, all to the same gap, in the same run."""

    params = [["binary", "classes", "units", "sparse"]]
    param_names = ["table"]
    timeout = 300

    def setup(self, kind):
        self.X, self.y = table(kind)
        warnings.simplefilter("ignore")
        best = GNSLogisticRegression(C=C, tol=1e-12).fit(self.X, self.y)
        self.best = objective(best, self.X, self.y)

    def seconds(self, library):
        """Return CPU seconds at the first tolerance that reaches the gap."""
        for tol in TOLERANCES:
            model = SOLVERS[library](tol).fit(self.X, self.y)
            if objective(model, self.X, self.y) <= (1 + GAP) * self.best:
                return cpu_seconds(
                    lambda tol=tol: SOLVERS[library](tol).fit(self.X, self.y)
                )
        return np.inf

    def track_times_faster(self, kind):
        peers = [name for name in SOLVERS if name != "skpapers"]
        if kind == "sparse":
            peers.remove("newton-cholesky")  # a matrix of all pairs of columns
        return min(map(self.seconds, peers)) / self.seconds("skpapers")

    track_times_faster.unit = "times"


class FitPoisson:
    """Counts, a log link."""

    params = [["skpapers", "newton-cholesky", "lbfgs"]]
    param_names = ["library"]

    def setup(self, library):
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((20_000, 50))
        mean = np.exp(0.05 * self.X @ rng.standard_normal(50))
        self.y = rng.poisson(mean).astype(float)
        if library == "skpapers":
            self.model = GNSGLMRegressor("poisson", alpha=1e-3)
        else:
            self.model = PoissonRegressor(
                alpha=1e-3, solver=library, max_iter=1000, tol=1e-6
            )
        self.model.fit(self.X[:50], self.y[:50])

    def time_fit(self, library):
        self.model.fit(self.X, self.y)


class ChebyshevChain:
    """Nonlinear least squares with a sparse Jacobian."""

    params = [[100, 1000]]
    param_names = ["n"]

    def setup(self, n):
        def residual(x):
            return np.concatenate([[(1 - x[0]) / 2], x[1:] - 2 * x[:-1] ** 2 + 1])

        def jacobian(x):
            diagonal = np.concatenate([[-0.5], np.ones(n - 1)])
            return sp.diags_array([diagonal, -4 * x[:-1]], offsets=[0, -1]).tocsr()

        self.problem = GNSLeastSquares(residual, jacobian, power=4)
        self.x0 = np.random.default_rng(1).random(n)

    def time_minimize(self, n):
        self.problem.minimize(self.x0, f_min=0.0, f_tol=1e-8, gtol=0)

    def track_iterations(self, n):
        result = self.problem.minimize(self.x0, f_min=0.0, f_tol=1e-8, gtol=0)
        return result.nit
