# SPDX-License-Identifier: BSD-3-Clause
"""Ipopt, as casadi brings it, on exact derivatives of our own."""

import numpy as np


def has_ipopt():
    """Tell whether casadi is here."""
    try:
        import casadi  # noqa: F401
    except ImportError:
        return False
    return True


def function_class():
    """Return a class of casadi functions that call Python."""
    import casadi

    class Function(casadi.Callback):
        def __init__(self, name, inputs, outputs, call):
            casadi.Callback.__init__(self)
            self.inputs, self.outputs, self.call = inputs, outputs, call
            self.construct(name, {})

        def get_n_in(self):
            return len(self.inputs)

        def get_n_out(self):
            return len(self.outputs)

        def get_name_in(self, k):
            return list(self.inputs)[k]

        def get_name_out(self, k):
            return list(self.outputs)[k]

        def get_sparsity_in(self, k):
            return list(self.inputs.values())[k]

        def get_sparsity_out(self, k):
            return list(self.outputs.values())[k]

        def eval(self, values):
            return self.call(*(np.array(v.nonzeros()) for v in values))

    return Function


def ipopt(problem, tol, max_iter=1000):
    """Return a function that solves a problem; it returns x and the iterations."""
    import casadi

    Function, DM, n, m = function_class(), casadi.DM, problem.n, problem.m

    def dense(i, j):
        return casadi.Sparsity.dense(i, j)

    upper = casadi.Sparsity.upper(n)
    columns = np.repeat(np.arange(n), np.arange(1, n + 1))
    rows = np.arange(columns.size) - columns * (columns + 1) // 2
    x, one, c = dense(n, 1), dense(1, 1), dense(m, 1)
    both = {"x": x, "p": dense(0, 1)}

    def hessian(w, p, f, lam):
        H = f[0] * problem.hess(w) + problem.curvature(w, lam)
        return [DM(upper, H[rows, columns])]

    nlp = Function(
        "nlp",
        both,
        {"f": one, "g": c},
        lambda w, p: [DM(problem.fun(w)), DM(problem.c(w))],
    )
    options = {
        "grad_f": Function(
            "nlp_grad_f",
            both,
            {"f": one, "grad_f_x": x},
            lambda w, p: [DM(problem.fun(w)), DM(problem.jac(w))],
        ),
        "jac_g": Function(
            "nlp_jac_g",
            both,
            {"g": c, "jac_g_x": dense(m, n)},
            lambda w, p: [DM(problem.c(w)), DM(problem.J(w))],
        ),
        "hess_lag": Function(
            "nlp_hess_l",
            both | {"lam_f": one, "lam_g": c},
            {"triu_hess_gamma_x_x": upper},
            hessian,
        ),
        "no_nlp_grad": True,
        "calc_lam_x": False,
        "calc_lam_p": False,
        "print_time": False,
        "ipopt": {"print_level": 0, "sb": "yes", "tol": tol, "max_iter": max_iter},
    }

    def solve():
        solver = casadi.nlpsol("solver", "ipopt", nlp, options)
        found = solver(x0=problem.x0, lbg=0, ubg=0)
        return np.array(found["x"]).ravel(), solver.stats()["iter_count"]

    return solve
