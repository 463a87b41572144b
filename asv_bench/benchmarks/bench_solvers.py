# SPDX-License-Identifier: BSD-3-Clause
"""Solvers under equations: seconds, and how many times a peer's seconds in one run."""

from benchmarks.common import cpu_seconds


def problem_of(name):
    """Return a problem of the reproduction, and what we are told of it."""
    from _constrained_problems import Entropy, Plate, logistic, sparse_table

    if name == "regression":
        problem = logistic(*sparse_table(5000, 100, 14))
        return problem, {"hess": problem.hess}
    if name == "plate":
        problem = Plate(8)
        return problem, {"hess": lambda x: problem.d}
    problem = Entropy(200, 10)
    return problem, {"hess": lambda w: 1 / w}


class UnderEquations:
    """Each problem to a KKT residual of 1e-6."""

    params = [["regression", "plate", "entropy"]]
    param_names = ["problem"]
    timeout = 120

    def setup(self, problem):
        self.problem, self.options = problem_of(problem)
        self.solve()  # compiles

    def solve(self):
        from skpapers.solvers import minimize_constrained

        return minimize_constrained(
            self.problem.fun,
            self.problem.x0,
            jac=self.problem.jac,
            constraints=self.problem.structured(),
            lam0=self.problem.lam0,
            **self.options,
        )

    def peer(self):
        from scipy.optimize import minimize

        return minimize(
            self.problem.fun,
            self.problem.x0,
            jac=self.problem.jac,
            method="SLSQP",
            constraints={"type": "eq", "fun": self.problem.c, "jac": self.problem.J},
            options={"ftol": 1e-9, "maxiter": 200},
        )

    def time_solve(self, problem):
        self.solve()

    def track_seconds_of_slsqp(self, problem):
        return cpu_seconds(self.peer, 3) / cpu_seconds(self.solve, 3)

    track_seconds_of_slsqp.unit = "times ours"

    def track_iterations(self, problem):
        return self.solve().nit


class Scaling:
    """Entropy balancing: linear in the number of rows."""

    params = [[10_000, 100_000]]
    param_names = ["n_samples"]

    def setup(self, n_samples):
        from _constrained_problems import Entropy

        self.problem = Entropy(n_samples, 20)
        self.solve()

    def solve(self):
        from skpapers.solvers import minimize_constrained

        return minimize_constrained(
            self.problem.fun,
            self.problem.x0,
            jac=self.problem.jac,
            hess=lambda w: 1 / w,
            constraints=self.problem.structured(),
            tol=1e-8,
        )

    def time_solve(self, n_samples):
        self.solve()

    def peakmem_solve(self, n_samples):
        self.solve()
