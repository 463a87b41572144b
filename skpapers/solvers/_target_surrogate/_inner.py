# SPDX-License-Identifier: BSD-3-Clause
r"""The inner problem of a target surrogate and what solves it.

Around z = f(x_t) with the gradient g (b times the gradient of the mean loss), row
weights h and step eta, over the parameters x, with delta = f(x) - z,

.. math:: q(x) = \frac1b \sum_i \Bigl[\langle g_i, \delta_i\rangle
          + \frac{h_i}{2\eta} \|\delta_i\|^2\Bigr]
          + \frac12 \sum_j l_j x_j^2 + \frac\rho2 \|x - x_t\|^2.

The constant, the loss at z, is left out. For a linear model q is a quadratic in the
move s = x - x_t: its gradient at zero is G = Xᵀg / b + l x_t and its Hessian is
A / eta + l + rho with A = Xᵀ diag(h) X / b. With all rows at once A does not change, so
that it is formed and factored once for all outer steps and outputs.
"""

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh, svd
from scipy.linalg.lapack import dpocon
from scipy.optimize import minimize
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator, lsmr

__all__ = ["ExactStep", "GeneralProblem", "QuadraticProblem", "solve_inner"]

ARMIJO = 0.1  # share of the promised decrease that a step of an inner solver must give
SHRINK = 0.9
FIRST_STEP = 10.0
ADAM_RATE = 1e-2
SMALL_GRADIENT = 1e-6  # relative to the first one of the inner problem
WELL_CONDITIONED = 1e-12  # reciprocal condition number of a scaled matrix
MAX_DENSE = 4000  # columns up to which a matrix of all pairs of columns is formed
BLOCK = 2**21  # entries of a weighted block of rows


def by_row(weights, like):
    """Return row weights (b,) or (b, p) in a shape that multiplies ``like``."""
    return weights[:, None] if like.ndim == 2 and weights.ndim == 1 else weights


class GeneralProblem:
    """The inner problem of any model, in terms of its predictions and pullbacks."""

    def __init__(self, model, x, rows, z, g, weight, eta, penalty, proximal, kl):
        self.model, self.start, self.rows = model, x, rows
        self.z, self.g, self.weight, self.eta = z, g, weight, eta
        self.penalty, self.proximal, self.kl = penalty, proximal, kl
        self._at = None

    def value(self, x):
        """Return q."""
        f = self.model.predict(x, self.rows)
        if self.kl:
            bend = np.sum(f * (np.log(f) - np.log(self.z))) / self.eta
            slope = self.g + (np.log(f) - np.log(self.z) + 1) / self.eta
        else:
            pull = (f - self.z) / self.eta
            if self.weight is not None:
                pull = by_row(self.weight, pull) * pull
            bend, slope = 0.5 * np.vdot(f - self.z, pull), self.g + pull
        self._at = x, slope
        value = (np.vdot(self.g, f - self.z) + bend) / len(f)
        move = x - self.start
        value += 0.5 * np.sum(self.penalty * (x * x))
        value += 0.5 * self.proximal * np.vdot(move, move)
        return float(value) if np.isfinite(value) else np.inf

    def gradient(self, x):
        """Return the gradient of q."""
        if self._at is None or self._at[0] is not x:
            self.value(x)
        gradient = self.model.pullback(x, self._at[1] / len(self.z), self.rows)
        return gradient + self.penalty * x + self.proximal * (x - self.start)

    def steepest_limit(self, x, gradient):
        """Return the largest step that satisfies Armijo, None where none is known."""


class QuadraticProblem:
    """The inner problem of a linear model."""

    def __init__(self, x, G, multiply, eta, penalty, proximal):
        self.start, self.G, self.multiply = x, G, multiply
        self.eta, self.penalty, self.proximal = eta, penalty, proximal
        self.constant = 0.5 * np.sum(penalty * (x * x))
        self._at = None

    def hessian(self, v):
        """Return the Hessian of q times v."""
        return self.multiply(v) / self.eta + (self.penalty + self.proximal) * v

    def value(self, x):
        """Return q."""
        move = x - self.start
        bend = self.hessian(move)
        self._at = x, bend
        return float(self.constant + np.vdot(self.G, move) + 0.5 * np.vdot(move, bend))

    def gradient(self, x):
        """Return the gradient of q."""
        if x is self.start:
            return self.G
        if self._at is None or self._at[0] is not x:
            self.value(x)
        return self.G + self._at[1]

    def steepest_limit(self, x, gradient):
        """Return the largest step along the negative gradient that meets Armijo."""
        curvature = np.vdot(gradient, self.hessian(gradient))
        square = np.vdot(gradient, gradient)
        return 2 * (1 - ARMIJO) * square / curvature if curvature > 0 else np.inf


def solve_inner(problem, solver, n_steps, memory, growth):
    """Take inner steps and return the new parameters.

    Parameters
    ----------
    problem : GeneralProblem or QuadraticProblem
        The inner problem.
    solver : {"armijo", "lbfgs", "adam"}
        What takes the steps.
    n_steps : int
        Largest number of them.
    memory : dict
        The size of the last step, kept from one outer step to the next.
    growth : float
        What the size is multiplied by before each step of "armijo".
    """
    if solver == "armijo":
        return _armijo(problem, n_steps, memory, growth)
    return (_lbfgs if solver == "lbfgs" else _adam)(problem, n_steps, memory)


def _armijo(problem, n_steps, memory, growth):
    x, step = problem.start, memory.get("step", FIRST_STEP)
    value = problem.value(x)
    enough = None
    for _ in range(n_steps):
        gradient = problem.gradient(x)
        size = np.linalg.norm(gradient)
        enough = SMALL_GRADIENT * size if enough is None else enough
        if size <= enough:
            break
        step *= growth
        limit = problem.steepest_limit(x, gradient)
        if limit is not None:  # a quadratic: no trial is needed
            if step > limit:
                step *= SHRINK ** np.ceil(np.log(limit / step) / np.log(SHRINK))
            x = x - step * gradient
            continue
        found = _backtrack(problem, x, value, gradient, step)
        if found is None:
            break
        x, value, step = found
    memory["step"] = step
    return x


def _backtrack(problem, x, value, gradient, step):
    square = np.vdot(gradient, gradient)
    for _ in range(100):
        trial = x - step * gradient
        new = problem.value(trial)
        excess = new - (value - step * square)  # over the tangent
        if excess <= (1 - ARMIJO) * step * square:
            return trial, new, step
        # to the minimum of the parabola through what is known
        factor = 0.5 * step * square / excess if np.isfinite(excess) else 0.1
        step *= min(max(factor, 0.1), SHRINK)
    return None  # rounding errors: no step that promises more can be seen


def _lbfgs(problem, n_steps, memory):
    shape = problem.start.shape

    def both(flat):
        x = flat.reshape(shape)
        return problem.value(x), problem.gradient(x).ravel()

    options = {"maxiter": n_steps, "gtol": 0.0, "ftol": 0.0}
    start = problem.start.ravel()
    found = minimize(both, start, jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(shape)


def _adam(problem, n_steps, memory, beta1=0.9, beta2=0.999):
    """Adam; it may climb, so the best of the points it has seen comes back.

    The rate is halved for the next outer step when all of them were worse.
    """
    lr = memory.get("step", ADAM_RATE)
    x = best = problem.start
    lowest = problem.value(x)
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for t in range(1, n_steps + 1):
        gradient = problem.gradient(x)
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        scale = np.sqrt(square / (1 - beta2**t)) + 1e-12
        x = x - lr * mean / (1 - beta1**t) / scale
        value = problem.value(x)
        if value < lowest:
            lowest, best = value, x
    if best is problem.start:
        memory["step"] = 0.5 * lr
    return best


class ExactStep:
    """Minimisers of the inner problem of a linear model, for one set of rows.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (b, d)
        The rows.
    weight : ndarray of shape (b,) or (b, p), or None
        Row weights h; None for ones.
    penalty : ndarray that broadcasts to (d, p)
        Penalties of the parameters (l + rho).
    """

    def __init__(self, X, weight, penalty):
        self.X, self.weight, self.penalty = X, weight, penalty
        self.per_output = weight is not None and weight.ndim == 2
        self._parts = {}

    def multiply(self, v):
        """Return A v."""
        b, d = self.X.shape
        if self.per_output:
            columns = [self._part(k).multiply(v[:, k]) for k in range(v.shape[1])]
            return np.stack(columns, axis=1)
        if d <= min(b, MAX_DENSE):
            return self._gram() @ v
        z = self.X @ v.astype(self.X.dtype, copy=False)
        if self.weight is not None:
            z = by_row(self.weight, z) * z
        return np.asarray(self.X.T @ z.astype(self.X.dtype), dtype=np.float64) / b

    def step(self, g, G, x, eta, proximal):
        """Return the move s = x' - x to the minimiser, the shortest of them.

        Parameters
        ----------
        g : ndarray of shape (b,) or (b, p)
            Gradients of the rows.
        G : ndarray of the shape of x
            Gradient of q at x.
        x : ndarray of shape (d,) or (d, p)
            Where the surrogate was made.
        eta : float
            Step of the surrogate.
        proximal : float
            The share rho of the penalty.
        """
        own_penalty = self.penalty.ndim == 2 and self.penalty.shape[1] > 1
        if self.per_output or own_penalty:
            each = [
                self._part(k).step(g[:, k], G[:, k], x[:, k], eta, proximal)
                for k in range(x.shape[1])
            ]
            return np.stack(each, axis=1)
        b, d = self.X.shape
        penalised = bool(np.any(self.penalty > 0))
        if d > MAX_DENSE or (issparse(self.X) and d > max(b, 500)):
            return self._iterative_step(g, x, eta, proximal)
        if d > b and not penalised:
            return self._svd_step(G, eta)
        key = float(eta) if penalised else None
        if self._parts.get("key", self) != key:
            self._parts["factor"], self._parts["key"] = self._factor(key), key
        factor = self._parts["factor"]
        if factor is not None:
            scale, factored = factor
            scale = by_row(scale, G)
            return -eta * scale * cho_solve(factored, scale * G)
        if penalised or issparse(self.X):
            return self._eigen_step(G, eta)
        return self._svd_step(G, eta)

    def _part(self, k):
        """Return the problem of one output."""
        if k not in self._parts:
            weight = self.weight[:, k] if self.per_output else self.weight
            penalty = self.penalty
            if penalty.ndim == 2:
                penalty = penalty[:, min(k, penalty.shape[1] - 1)]
            self._parts[k] = ExactStep(self.X, weight, penalty)
        return self._parts[k]

    def _gram(self):
        """Return A = Xᵀ diag(h) X / b as float64."""
        if "gram" not in self._parts:
            X, h = self.X, self.weight
            b, d = X.shape
            if issparse(X):
                weighted = X if h is None else X.multiply(h[:, None]).tocsr()
                A = (X.T @ weighted).toarray().astype(np.float64)
            elif h is None:
                A = (X.T @ X).astype(np.float64)
            else:
                A, size = np.zeros((d, d)), max(1, BLOCK // d)
                for start in range(0, b, size):
                    rows = slice(start, start + size)
                    root = np.sqrt(h[rows])[:, None] * X[rows]
                    A += root.T @ root
            self._parts["gram"] = A / b
        return self._parts["gram"]

    def _matrix(self, eta):
        """Return A + eta (l + rho)."""
        M = self._gram().copy()
        if eta is not None:
            M.flat[:: len(M) + 1] += eta * np.broadcast_to(self._diagonal(), len(M))
        return M

    def _diagonal(self):
        """Return the penalties as (d,): without one per output they are the same."""
        return self.penalty[:, 0] if self.penalty.ndim == 2 else self.penalty

    def _factor(self, eta):
        """Return column scales and a Cholesky factor, None if near singular."""
        M = self._matrix(eta)
        scale = np.diag(M).copy()
        if not (scale > 0).all():
            return None
        scale = 1 / np.sqrt(scale)
        M *= scale * scale[:, None]
        norm = np.abs(M).sum(axis=0).max()
        try:
            factored = cho_factor(M, lower=False, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return None
        rcond, _ = dpocon(factored[0], norm, uplo="U")
        return (scale, factored) if rcond > WELL_CONDITIONED else None

    def _eigen_step(self, G, eta):
        M = self._matrix(eta if np.any(self.penalty > 0) else None)
        values, vectors = eigh(M, check_finite=False)
        keep = values > 10 * len(M) * np.finfo(np.float64).eps * values[-1]
        vectors, values = vectors[:, keep], values[keep]
        return -eta * (vectors @ ((vectors.T @ G) / by_row(values, G)))

    def _svd_step(self, G, eta):
        if "svd" not in self._parts:
            X = self.X.toarray() if issparse(self.X) else self.X
            X = X.astype(np.float64) / np.sqrt(len(X))
            if self.weight is not None:
                X *= np.sqrt(self.weight)[:, None]
            _, values, vectors = svd(
                X, full_matrices=False, overwrite_a=True, check_finite=False
            )
            cut = max(X.shape) * np.finfo(self.X.dtype).eps * values[0]
            keep = values > cut
            self._parts["svd"] = vectors[keep].T, values[keep]
        vectors, values = self._parts["svd"]
        inner = (vectors.T @ G) / by_row(values, G) / by_row(values, G)
        return -eta * (vectors @ inner)

    def _iterative_step(self, g, x, eta, proximal):
        """Solve the inner problem as a sparse least-squares problem."""
        b, d = self.X.shape
        root = np.sqrt(np.full(b, 1 / b) if self.weight is None else self.weight / b)
        total = eta * np.broadcast_to(self._diagonal(), d)
        ridge = np.sqrt(total)
        operator = LinearOperator(
            (b + d, d),
            matvec=lambda v: np.concatenate([root * (self.X @ v), ridge * v]),
            rmatvec=lambda u: self.X.T @ (root * u[:b]) + ridge * u[b:],
            dtype=np.float64,
        )
        # the part of the penalty that pulls x itself to zero, without the proximal one
        pull = np.divide(total - eta * proximal, ridge, where=ridge > 0, out=0 * ridge)

        def solve(g, x):
            aim = np.concatenate([-eta * g / (b * root), -pull * x])
            limit = 10 * (b + d)
            return lsmr(operator, aim, atol=1e-13, btol=1e-13, maxiter=limit)[0]

        if x.ndim == 1:
            return solve(g, x)
        return np.stack([solve(*pair) for pair in zip(g.T, x.T, strict=True)], axis=1)
