# SPDX-License-Identifier: BSD-3-Clause
"""Target surrogates: the outer loop with the loss, the batches, the inner solver."""

from types import SimpleNamespace

import numpy as np
from scipy.optimize import OptimizeResult
from sklearn.utils import check_random_state

from skpapers.solvers._target_surrogate._inner import (
    ExactStep,
    GeneralProblem,
    QuadraticProblem,
    by_row,
    solve_inner,
)
from skpapers.solvers._target_surrogate._models import ALL

__all__ = ["Batches", "Inner", "Oracle", "Run"]

NOISE = 1e-14  # relative error of a value of the objective
INNER_GROWTH = 2.0


class Oracle:
    """The expensive loss: checked, counted, and called for values where that is all."""

    def __init__(self, loss_and_grad, loss):
        if not callable(loss_and_grad):
            raise TypeError("loss_and_grad must be callable as loss_and_grad(z, rows).")
        self.loss_and_grad, self.loss = loss_and_grad, loss
        self.n_calls = self.n_value_calls = 0

    def __call__(self, z, rows):
        """Return the value and the gradient by z, as a float and an array."""
        self.n_calls += 1
        answer = self.loss_and_grad(z.copy(), rows)
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise ValueError(
                "loss_and_grad must return the pair (value, gradient), got "
                f"{type(answer).__name__}."
            )
        value = self._number(answer[0], "loss_and_grad")
        gradient = np.array(answer[1], dtype=np.float64)
        if gradient.shape != z.shape:
            raise ValueError(
                f"loss_and_grad must return a gradient of the shape of z, {z.shape}, "
                f"got {gradient.shape}."
            )
        if not np.isfinite(value) or not np.isfinite(gradient).all():
            what = "value" if not np.isfinite(value) else "gradient"
            raise ValueError(
                f"loss_and_grad returned a {what} that is not finite in call "
                f"{self.n_calls}, for z between {z.min():.3g} and {z.max():.3g}."
            )
        return value, gradient

    def value(self, z, rows):
        """Return the value at a trial point; it may be infinite."""
        self.n_value_calls += 1
        if self.loss is None:
            value = self._number(self.loss_and_grad(z, rows)[0], "loss_and_grad")
        else:
            value = self._number(self.loss(z, rows), "loss")
        return np.inf if np.isnan(value) else value

    @staticmethod
    def _number(value, name):
        value = np.asarray(value)
        if value.size != 1 or value.dtype.kind not in "fiub":
            raise ValueError(
                f"The value that {name} returns must be a number, got "
                f"{value.dtype} of shape {value.shape}."
            )
        return float(value.reshape(()))


class Batches:
    """Row indices of the outer steps: all rows, or shuffled batches without end."""

    def __init__(self, n_samples, batch_size, random_state):
        self.n, self.full = n_samples, batch_size is None or batch_size >= n_samples
        self.size = n_samples if self.full else int(batch_size)
        self.rng = check_random_state(random_state)
        self.order, self.at = None, n_samples

    def __next__(self):
        """Return the rows of the next outer step."""
        if self.full:
            return ALL
        if self.at >= self.n:
            self.order, self.at = self.rng.permutation(self.n), 0
        rows = self.order[self.at : self.at + self.size]
        self.at += self.size
        return rows


class Inner:
    """Solves the inner problem of each outer step and keeps what can be reused."""

    def __init__(self, model, solver, n_inner, penalty, proximal, kl, share):
        self.model, self.n_inner, self.kl = model, n_inner, kl
        self.penalty, self.proximal = penalty, proximal
        self.solver = self._resolve(solver, share)
        self.growth = INNER_GROWTH**share
        self.memory, self.exact = {}, None

    def _resolve(self, solver, share):
        linear = self.model.is_linear and not self.kl
        if solver == "auto":
            if share < 1:
                return "armijo"
            return "exact" if linear else "lbfgs"
        if solver == "exact" and not linear:
            raise ValueError(
                "inner='exact' needs a linear model and a metric other than 'kl': use "
                "'armijo', 'lbfgs' or 'adam'."
            )
        return solver

    def __call__(self, base, rows, reuse):
        """Return the new x; ``reuse`` tells that rows and weights are as before."""
        x, z, g, G, weight, eta = (
            getattr(base, name) for name in ("x", "z", "g", "G", "weight", "eta")
        )
        if not self.model.is_linear or self.kl:
            problem = GeneralProblem(
                self.model, x, rows, z, g, weight, eta, self.penalty, self.proximal,
                self.kl,
            )  # fmt: skip
            return solve_inner(
                problem, self.solver, self.n_inner, self.memory, self.growth
            )
        if self.exact is None or not reuse:
            total = self.penalty + self.proximal
            self.exact = ExactStep(self.model.rows(rows), weight, total)
        if self.solver == "exact":
            return x + self.exact.step(g, G, x, eta, self.proximal)
        problem = QuadraticProblem(
            x, G, self.exact.multiply, eta, self.penalty, self.proximal
        )
        return solve_inner(problem, self.solver, self.n_inner, self.memory, self.growth)


class Run:
    """The outer loop and its record."""

    def __init__(self, model, oracle, batches, metric, step_size, solve, penalty):
        self.model, self.oracle, self.batches = model, oracle, batches
        self.metric, self.step_size, self.solve = metric, step_size, solve
        self.penalty = penalty
        self.x = model.x0.copy()
        self.fun_path, self.grad_path, self.eta_path = [], [], []

    def __call__(self, max_iter, tol, callback):
        """Take outer steps and return the status."""
        x, base, factored = self.x, None, None
        for t in range(1, max_iter + 1):
            rows = next(self.batches)
            here = self._look(x, rows, t)
            if base is None or self._keep(base, here):
                if base is not None:
                    here.weight = self.metric.learn(base, here, self.step_size.first)
                base = here
                self.x, self.jac, self.fun = here.x, here.G, here.fun
            if callback is not None and self._stopped(callback):
                return 99
            if self.batches.full and (np.abs(self.jac) <= tol).all():
                return 0
            eta = self.step_size(
                t, self.oracle, base.z, base.g, base.weight, base.value, rows
            )
            self.eta_path.append(float(eta))
            same = self.metric.is_fixed or base.weight is factored
            reuse, factored = self.batches.full and same, base.weight
            base.eta = eta
            x = self.solve(base, rows, reuse)
            if self.step_size.rule != "adaptive":
                self.x, base = x, None
        return 1

    def _look(self, x, rows, t):
        """Call the loss at x and return what is to be known there."""
        z = self.model.predict(x, rows)
        self._check_targets(z, t)
        value, gradient = self.oracle(z, rows)
        g = gradient * len(z)
        G = self.model.pullback(x, gradient, rows) + self.penalty * x
        fun = value + 0.5 * float(np.sum(self.penalty * x**2))
        self.fun_path.append(fun)
        self.grad_path.append(float(np.abs(G).max(initial=0.0)))
        weight = self.metric(z, g, rows)
        return SimpleNamespace(
            x=x, z=z, value=value, g=g, G=G, fun=fun, weight=weight, eta=None
        )

    def _keep(self, base, here):
        """Return whether the step to here is kept."""
        decrease, promised, noise = self._compare(base, here)
        if max(promised, abs(decrease)) > noise:
            return self.step_size.judge(decrease, promised)
        # at the minimum, as far as values can tell
        self.step_size.settle()
        if self.metric.secant and np.abs(here.G).max() > np.abs(base.G).max():
            base.weight = self.metric.bound  # what was learnt leads nowhere
            return False
        return True

    def _compare(self, base, here):
        """Return decrease and promised decrease of the objective, and its noise."""
        move = here.z - base.z
        if self.metric.kl:
            bend = np.sum(here.z * (np.log(here.z) - np.log(base.z))) / base.eta
        else:
            h = 1.0 if base.weight is None else by_row(base.weight, move)
            bend = np.sum(h * move**2) / (2 * base.eta)
        change = (np.vdot(base.g, move) + bend) / len(move)
        change += 0.5 * float(np.sum(self.penalty * (here.x**2 - base.x**2)))
        return base.fun - here.fun, -change, NOISE * abs(base.fun)

    def _check_targets(self, z, t):
        if not np.isfinite(z).all():
            raise ValueError(
                f"The predictions are not finite in outer step {t}: lower eta or use "
                "eta='armijo'."
            )
        if self.metric.kl and not (
            z.ndim == 2 and (z > 0).all() and np.allclose(z.sum(axis=1), 1, atol=1e-6)
        ):
            raise ValueError(
                "metric='kl' needs targets that are probabilities: z of shape (b, p) "
                "with positive entries and rows that sum to one."
            )

    def _stopped(self, callback):
        try:
            callback(
                OptimizeResult(
                    x=self.x.copy(),
                    fun=self.fun,
                    grad=self.jac.copy(),
                    eta=self.eta_path[-1] if self.eta_path else None,
                    n_oracle_calls=self.oracle.n_calls,
                )
            )
        except StopIteration:
            return True
        return False

    def result(self, status, told):
        """Return the record as an OptimizeResult."""
        if hasattr(self.model, "module"):
            self.model.load(self.x)
        messages = {
            0: "The gradient is within tol.",
            1: f"The budget of {self.oracle.n_calls} calls of the loss is used.",
            99: "The callback stopped the run.",
        }
        return OptimizeResult(
            x=self.x,
            fun=self.fun,
            jac=self.jac,
            success=status == 0 or (status == 1 and not self.batches.full),
            status=status,
            message=f"{messages[status]} {told}",
            nit=self.oracle.n_calls,
            n_oracle_calls=self.oracle.n_calls,
            n_value_calls=self.oracle.n_value_calls,
            n_model_evals=self.model.n_evals,
            fun_path=np.array(self.fun_path),
            grad_path=np.array(self.grad_path),
            eta_path=np.array(self.eta_path),
            inner=self.solve.solver,
        )
