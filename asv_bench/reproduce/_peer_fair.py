# SPDX-License-Identifier: BSD-3-Clause
"""Fit a fair classifier of another package, in the environment of bench-linear-env.

    python _peer_fair.py PEER QUESTION.npz ANSWER.npz

The question holds X, y and s (the group, 0 or 1) of the rows of the fit, and Z, the
rows to predict; the answer the predictions of X and Z, the CPU seconds of one fit after
one on a few rows, and the version.
"""

import sys
import time
import warnings
from importlib.metadata import version

import numpy as np


def exponentiated_gradient(constraint):
    """fairlearn's reduction; it predicts by drawing from several models."""
    from fairlearn.reductions import ExponentiatedGradient
    from sklearn.linear_model import LogisticRegression

    def fit(X, y, s):
        base = LogisticRegression(solver="newton-cholesky")
        model = ExponentiatedGradient(base, constraint())
        model.fit(X, y, sensitive_features=s)
        return lambda Z: model.predict(Z, random_state=0)

    return fit


def demographic_parity():
    """fairlearn's constraint on rates."""
    from fairlearn.reductions import DemographicParity

    return DemographicParity(difference_bound=0.01)


def equalized_odds():
    """fairlearn's constraint on the rates of positives and of negatives."""
    from fairlearn.reductions import EqualizedOdds

    return EqualizedOdds(difference_bound=0.01)


def lego(X, y, s):
    """scikit-lego's limit of the covariance of decision and group, by cvxpy."""
    from sklego.linear_model import DemographicParityClassifier

    model = DemographicParityClassifier(
        sensitive_cols=[X.shape[1]], covariance_threshold=0.01, C=1.0
    )
    model.fit(np.column_stack([X, s]), y)
    return lambda Z: model.predict(np.column_stack([Z, np.zeros(len(Z))]))


PEERS = {
    "fairlearn ExponentiatedGradient (parity)": (
        "fairlearn",
        exponentiated_gradient(demographic_parity),
    ),
    "fairlearn ExponentiatedGradient (equalised odds)": (
        "fairlearn",
        exponentiated_gradient(equalized_odds),
    ),
    "scikit-lego DemographicParityClassifier": ("scikit-lego", lego),
}


def main(peer, question, answer):
    """Fit and answer."""
    package, fit = PEERS[peer]
    with np.load(question) as q:
        X, y, s, Z = q["X"], q["y"], q["s"], q["Z"]
    warnings.simplefilter("ignore")
    fit(X[:500], y[:500], s[:500])
    start = time.process_time()
    predict = fit(X, y, s)
    seconds = time.process_time() - start
    np.savez(
        answer, X=predict(X), Z=predict(Z), seconds=seconds, version=version(package)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
