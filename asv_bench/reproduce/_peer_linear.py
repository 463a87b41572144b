# SPDX-License-Identifier: BSD-3-Clause
"""Fit a peer's logistic regression, in the environment of `make bench-linear-env`.

    python _peer_linear.py NAME QUESTION.npz

NAME is glum, skglm or statsmodels. The question holds X, y in {0, 1}, the penalty
alpha, the best known objective f_best, the relative gap to reach and the tolerances to
try. Prints one line of JSON: version, CPU seconds (median of up to five), gap, gradient
and, where they are told, iterations of the first tolerance that reaches it.
"""

import json
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np

PATIENCE = 10.0  # CPU seconds after which no further tolerance is tried


def glum(X, y, alpha):
    """Return a fit: from a tolerance to slopes, intercept and iterations."""
    from glum import GeneralizedLinearRegressor

    def fit(tol):
        model = GeneralizedLinearRegressor(
            family="binomial", alpha=alpha, l1_ratio=0, gradient_tol=tol, max_iter=500
        ).fit(X, y)
        return model.coef_, model.intercept_, int(model.n_iter_)

    return fit


def skglm(X, y, alpha):
    """Return a fit by proximal Newton steps."""
    from skglm import GeneralizedLinearEstimator
    from skglm.datafits import Logistic
    from skglm.penalties import L1_plus_L2
    from skglm.solvers import ProxNewton

    X, sign = np.asfortranarray(X), 2 * y - 1
    ridge = L1_plus_L2(alpha, l1_ratio=0.0)  # its L2 fits no solver with intercepts

    def fit(tol):
        solver = ProxNewton(tol=tol, max_iter=100, fit_intercept=True)
        model = GeneralizedLinearEstimator(Logistic(), ridge, solver).fit(X, sign)
        return np.ravel(model.coef_), float(np.ravel(model.intercept_)[0]), None

    return fit


def statsmodels(X, y, alpha):
    """Return a fit of the ridge problem by its default optimiser."""
    from statsmodels.genmod import families
    from statsmodels.genmod.generalized_linear_model import GLM
    from statsmodels.tools import add_constant

    Z = add_constant(X, has_constant="add")
    penalty = np.r_[0.0, np.full(X.shape[1], alpha)]

    def fit(tol):  # it takes no tolerance
        model = GLM(y, Z, family=families.Binomial())
        w = np.asarray(model.fit_regularized(alpha=penalty, L1_wt=0.0).params)
        return w[1:], w[0], None

    return fit


PEERS = {"glum": glum, "skglm": skglm, "statsmodels": statsmodels}


def main(name, path):
    with np.load(path) as q:
        X, y = q["X"], q["y"]
        alpha, f_best, gap = (float(q[key]) for key in ("alpha", "f_best", "gap"))
        tolerances = q["tolerances"].tolist()
    peer = PEERS[name](X, y, alpha)

    def fit(tol):
        start = time.process_time()
        found = peer(tol)
        return found, time.process_time() - start

    def measure(coef, intercept):
        eta = X @ coef + intercept
        f = np.mean(np.logaddexp(0, eta) - y * eta) + 0.5 * alpha * coef @ coef
        residual = 1 / (1 + np.exp(-eta)) - y
        slopes = X.T @ residual / len(y) + alpha * coef
        return (f - f_best) / f_best, max(np.abs(slopes).max(), abs(residual.mean()))

    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    answer, spent = {"version": version(name), "cpu_seconds": None}, 0.0
    try:
        fit(tolerances[0])  # compiles, loads
        for tol in tolerances:
            (coef, intercept, n_iter), seconds = fit(tol)
            found, gradient = measure(coef, intercept)
            answer |= {"gap": float(found), "gradient": float(gradient)}
            if n_iter is not None:
                answer["iterations"] = n_iter
            if found <= gap:
                times = [seconds]
                while sum(times) < 1 and len(times) < 5:
                    times.append(fit(tol)[1])
                answer["cpu_seconds"] = float(np.median(times))
                break
            spent += seconds
            if spent > PATIENCE or name == "statsmodels":
                break
    except Exception as error:  # a peer may fail in any way: that is its result
        answer["error"] = repr(error)
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
