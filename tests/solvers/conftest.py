# SPDX-License-Identifier: BSD-3-Clause
"""Problems that the tests of several solvers share, as fixtures that make them."""

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, NonlinearConstraint

from skpapers.solvers import minimize_constrained
from skpapers.solvers._target_surrogate._losses import (
    HuberLoss,
    LogLoss,
    PairwiseLoss,
    SoftmaxLoss,
    SquaredLoss,
)

N = 40  # rows of the tables of target surrogates


class QuadraticProgram:
    """The convex program 0.5 x'Qx + q'x under A x = b, with its solution."""

    def __init__(self, rng, n=12, m=4, rank=None):
        root = rng.standard_normal((n, rank or n))
        self.Q = root @ root.T / n + (0 if rank else np.eye(n))
        self.q, self.x0 = rng.standard_normal(n), rng.standard_normal(n)
        self.A, self.b = rng.standard_normal((m, n)), rng.standard_normal(m)
        zero = np.zeros((m, m))
        K = np.block([[self.Q, self.A.T], [self.A, zero]])
        self.x, self.lam = np.split(np.linalg.solve(K, np.r_[-self.q, self.b]), [n])

    def fun(self, x):
        return 0.5 * x @ self.Q @ x + self.q @ x

    def jac(self, x):
        return self.Q @ x + self.q

    def hess(self, x):
        return self.Q

    @property
    def constraint(self):
        return LinearConstraint(self.A, self.b, self.b)

    def solve(self, **options):
        options = {"jac": self.jac, "hess": self.hess, "tol": 1e-9} | options
        options.setdefault("constraints", self.constraint)
        return minimize_constrained(self.fun, self.x0, **options)

    def assert_solved(self, result, atol=1e-7):
        assert result.success, result.message
        np.testing.assert_allclose(result.x, self.x, atol=atol)
        np.testing.assert_allclose(result.lam, self.lam, atol=atol)


class SphereProblem:
    """A curved problem: x'Dx + exp terms on a sphere cut by a plane."""

    def __init__(self, rng, n=8):
        self.n, self.D = n, rng.uniform(0.5, 2, n)
        self.q = rng.standard_normal(n)
        self.a = np.ones(n) / np.sqrt(n)
        self.x0 = self.a + 0.3 * rng.standard_normal(n)

    def fun(self, x):
        return 0.5 * x @ (self.D * x) + self.q @ x + np.exp(0.3 * x).sum()

    def jac(self, x):
        return self.D * x + self.q + 0.3 * np.exp(0.3 * x)

    def hess(self, x):
        return np.diag(self.D + 0.09 * np.exp(0.3 * x))

    def equations(self, x):
        return np.array([x @ x - 4.0, self.a @ x - 1.0])

    def jacobian(self, x):
        return np.array([2 * x, self.a])

    def curvature(self, x, v):
        return 2 * v[0] * np.eye(self.n)

    @property
    def constraint(self):
        return NonlinearConstraint(
            self.equations, 0, 0, jac=self.jacobian, hess=self.curvature
        )

    def solve(self, **options):
        options = {"jac": self.jac, "hess": self.hess, "tol": 1e-8} | options
        options.setdefault("constraints", self.constraint)
        return minimize_constrained(self.fun, self.x0, **options)

    def kkt(self, result):
        """Norm of the residual from the functions themselves."""
        gradient = self.jac(result.x) + self.jacobian(result.x).T @ result.lam
        return np.linalg.norm(np.r_[gradient, self.equations(result.x)])


def loss_of(name, rng, n=N, sample_weight=None):
    """Return a loss of n targets and the shape of z."""
    y = rng.standard_normal(n) * 3
    labels = np.arange(n) % 3
    rng.shuffle(labels)
    return {
        "log": lambda: (LogLoss((labels > 0) * 1.0, sample_weight), (n,)),
        "softmax": lambda: (SoftmaxLoss(labels, sample_weight), (n, 3)),
        "squared": lambda: (SquaredLoss(y, sample_weight), (n,)),
        "squared, two": lambda: (
            SquaredLoss(np.c_[y, y**2], sample_weight),
            (n, 2),
        ),
        "huber": lambda: (HuberLoss(y, sample_weight, delta=1.0), (n,)),
        "pairwise": lambda: (PairwiseLoss((labels > 0) * 1, sample_weight), (n,)),
    }[name]()


def network_of(rng, n_hidden=4):
    """Return a network with tanh units as callables, its start and its table."""
    X = rng.standard_normal((N, 3))
    shapes = [(3, n_hidden), (n_hidden,)]

    def unpack(x):
        cut = 3 * n_hidden
        return x[:cut].reshape(shapes[0]), x[cut:]

    def predict(x, rows):
        W, v = unpack(x)
        return np.tanh(X[rows] @ W) @ v

    def jac_vec(x, u, rows):
        W, v = unpack(x)
        hidden = np.tanh(X[rows] @ W)
        inside = u[:, None] * v * (1 - hidden**2)
        return np.concatenate([(X[rows].T @ inside).ravel(), hidden.T @ u])

    return predict, jac_vec, rng.standard_normal(4 * n_hidden), X


@pytest.fixture(scope="session")
def Quadratic():
    """Convex programs under A x = b."""
    return QuadraticProgram


@pytest.fixture(scope="session")
def Sphere():
    """Curved problems under curved constraints."""
    return SphereProblem


@pytest.fixture(scope="session")
def make_loss():
    """Losses of targets, by name."""
    return loss_of


@pytest.fixture(scope="session")
def two_layers():
    """Networks with one hidden layer."""
    return network_of
