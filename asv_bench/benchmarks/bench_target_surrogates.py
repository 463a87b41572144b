# SPDX-License-Identifier: BSD-3-Clause
"""Target surrogates: seconds and evaluations of a ranking loss, beside L-BFGS."""

import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

from skpapers.linear_model import TargetSurrogateClassifier
from skpapers.policy import LinearSystem, OnlineImitationLearner
from skpapers.solvers._target_surrogate._losses import PairwiseLoss

ALPHA = 1e-3


class Ranking:
    """The loss over all pairs, to a gradient of 1e-3, in good and bad units."""

    params = [["skpapers", "L-BFGS-B"], ["standardised", "units"]]
    param_names = ["library", "columns"]
    timeout = 120

    def setup(self, library, columns):
        X, y = make_classification(
            4000, 30, n_informative=15, weights=[0.95], flip_y=0.01, random_state=0
        )
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        self.X = X * np.logspace(-2, 2, 30) if columns == "units" else X
        self.y, self.loss = y, PairwiseLoss(y)
        self.n_calls = 0

    def solve(self, library):
        """Return the number of evaluations and the objective."""
        if library == "skpapers":
            model = TargetSurrogateClassifier(
                "pairwise_auc", alpha=ALPHA, max_iter=500, tol=1e-3
            ).fit(self.X, self.y)
            return model.n_oracle_calls_, model.objective_

        def objective(w):
            value, slope = self.loss(self.X @ w, slice(None))
            return value + 0.5 * ALPHA * w @ w, self.X.T @ slope + ALPHA * w

        start = np.zeros(self.X.shape[1])
        options = {"gtol": 1e-3, "maxfun": 500}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        return found.nfev, found.fun

    def time_fit(self, library, columns):
        self.solve(library)

    def track_calls(self, library, columns):
        return self.solve(library)[0]

    track_calls.unit = "evaluations"

    def track_objective(self, library, columns):
        return float(self.solve(library)[1])


class RatioToLBFGS:
    """Evaluations of L-BFGS for each of ours, to the same objective, in one run."""

    params = [["standardised", "units"]]
    param_names = ["columns"]
    timeout = 120

    def track_times_fewer_calls(self, columns):
        ranking = Ranking()
        ranking.setup(None, columns)
        peers, objective = ranking.solve("L-BFGS-B")
        model = TargetSurrogateClassifier(
            "pairwise_auc", alpha=ALPHA, max_iter=500, tol=1e-6
        ).fit(ranking.X, ranking.y)
        path = np.array([record["loss"] for record in model.history_])
        return peers / (1 + np.argmax(path <= objective * (1 + 1e-9)))

    track_times_fewer_calls.unit = "times"


class CheapLoss:
    """The plain logistic loss, where a Newton method is the better choice."""

    params = [["skpapers", "newton-cholesky"], [10_000, 100_000]]
    param_names = ["library", "n_samples"]

    def setup(self, library, n_samples):
        self.X, self.y = make_classification(
            n_samples, 50, n_informative=30, flip_y=0.05, random_state=0
        )
        self.model = {
            "skpapers": TargetSurrogateClassifier(alpha=1e-3),
            "newton-cholesky": LogisticRegression(
                C=1e3 / n_samples, solver="newton-cholesky"
            ),
        }[library]

    def time_fit(self, library, n_samples):
        self.model.fit(self.X, self.y)

    def peakmem_fit(self, library, n_samples):
        self.model.fit(self.X, self.y)


class Imitation:
    """Fifty rounds in a linear system."""

    params = [["target_surrogate", "ogd", "follow_the_leader"]]
    param_names = ["solver"]

    def setup(self, solver):
        eta = 0.01 if solver == "ogd" else "auto"
        self.model = OnlineImitationLearner(
            LinearSystem(random_state=0), solver=solver, eta=eta, random_state=0
        )

    def time_fit(self, solver):
        self.model.fit()

    def track_mean_loss(self, solver):
        return float(np.mean([r["loss"] for r in self.model.fit().history_]))
