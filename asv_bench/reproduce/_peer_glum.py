# SPDX-License-Identifier: BSD-3-Clause
"""Fit glum's logistic regression; runs in the environment of `make bench-linear-env`.

    python _peer_glum.py QUESTION.npz

The question holds X, y in {0, 1}, the penalty alpha, the best known objective f_best,
the relative gap to reach and the tolerances to try. Prints one line of JSON: version,
CPU seconds (median of up to five), gap, gradient and iterations of the first tolerance
that reaches it.
"""

import json
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np
from glum import GeneralizedLinearRegressor


def main(path):
    with np.load(path) as q:
        X, y = q["X"], q["y"]
        alpha, f_best, gap = (float(q[key]) for key in ("alpha", "f_best", "gap"))
        tolerances = q["tolerances"].tolist()

    def fit(tol):
        model = GeneralizedLinearRegressor(
            family="binomial", alpha=alpha, l1_ratio=0, gradient_tol=tol, max_iter=500
        )
        start = time.process_time()
        model.fit(X, y)
        return model, time.process_time() - start

    def measure(model):
        eta = X @ model.coef_ + model.intercept_
        f = np.mean(np.logaddexp(0, eta) - y * eta)
        f += 0.5 * alpha * model.coef_ @ model.coef_
        residual = 1 / (1 + np.exp(-eta)) - y
        slopes = X.T @ residual / len(y) + alpha * model.coef_
        return (f - f_best) / f_best, max(np.abs(slopes).max(), abs(residual.mean()))

    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    answer = {"version": version("glum"), "cpu_seconds": None}
    try:
        fit(tolerances[0])  # compiles, loads
        for tol in tolerances:
            model, seconds = fit(tol)
            found, gradient = measure(model)
            answer |= {
                "gap": float(found),
                "gradient": float(gradient),
                "iterations": int(model.n_iter_),
            }
            if found <= gap:
                times = [seconds]
                while sum(times) < 1 and len(times) < 5:
                    times.append(fit(tol)[1])
                answer["cpu_seconds"] = float(np.median(times))
                break
    except Exception as error:  # a peer may fail in any way: that is its result
        answer["error"] = repr(error)
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
