# SPDX-License-Identifier: BSD-3-Clause
"""Designs from a fixed table: networks side by side, the sharpness term, the searches.

Ratios are of two runs in the same process, so that they hold on busy machines, too.
"""

import warnings

from benchmarks.common import cpu_seconds


def draw(n_samples=3000):
    """Return the table of a test function, and its box, on one thread."""
    import torch

    from skpapers.datasets import make_offline_design

    torch.set_num_threads(1)
    return make_offline_design("ackley10", n_samples, random_state=0)


def surrogate(**params):
    """Return a network of two layers of 128 units."""
    from skpapers.offline_optimization import SharpnessRegularizedRegressor

    usual = {"loss": "squared_error", "lr": 1e-3, "max_epochs": 10, "random_state": 0}
    return SharpnessRegularizedRegressor((128, 128), **(usual | params))


class SharpnessStep:
    """Training under the bound, in units of training without any term."""

    params = [[1, 5], ["difference", "exact"]]
    param_names = ["networks", "hvp"]
    timeout = 180

    def setup(self, networks, hvp):
        self.X, self.y, _ = draw()

    def seconds(self, networks, **params):
        """Return the CPU seconds of a fit."""
        model = surrogate(n_estimators=networks, **params)
        return cpu_seconds(lambda: model.fit(self.X, self.y))

    def track_ratio(self, networks, hvp):
        plain = self.seconds(networks, sharpness=None)
        return self.seconds(networks, hvp=hvp) / plain


class StackedNetworks:
    """Networks that are trained at once, and how many times faster than in turn."""

    params = [[5, 40], ["constraint", None]]
    param_names = ["networks", "sharpness"]
    timeout = 300

    def setup(self, networks, sharpness):
        self.X, self.y, _ = draw()

    def time_stack(self, networks, sharpness):
        surrogate(n_estimators=networks, sharpness=sharpness).fit(self.X, self.y)

    def track_gain(self, networks, sharpness):
        stack = surrogate(n_estimators=networks, sharpness=sharpness)
        single = surrogate(sharpness=sharpness)
        at_once = cpu_seconds(lambda: stack.fit(self.X, self.y), repeats=3)
        one = cpu_seconds(lambda: single.fit(self.X, self.y))
        return networks * one / at_once


class Searches:
    """Proposals of each search on the same fitted ensemble."""

    params = [["gradient", "cmaes", "reinforce"]]
    param_names = ["search"]
    timeout = 180

    def setup(self, search):
        from sklearn.frozen import FrozenEstimator

        from skpapers.offline_optimization import OfflineOptimizer

        X, y, bounds = draw()
        if search == "cmaes":
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    import cma  # noqa: F401
            except ImportError:
                raise NotImplementedError("cma is not installed") from None
        models = surrogate(n_estimators=5)
        first = OfflineOptimizer(models, bounds=bounds, random_state=0).fit(X, y)
        self.optimizer = OfflineOptimizer(
            FrozenEstimator(first.estimator_),
            search=search,
            bounds=bounds,
            random_state=0,
        ).fit(X, y)

    def time_suggest(self, search):
        self.optimizer.suggest()

    def track_points_a_call(self, search):
        """Return how many points the surrogate is asked for at once, in the mean."""
        from unittest.mock import patch

        from skpapers.offline_optimization import _optimizer

        made = []

        class Counted(_optimizer.Objective):
            def __init__(self, *args):
                super().__init__(*args)
                made.append(self)

        with patch.object(_optimizer, "Objective", Counted):
            self.optimizer.suggest()
        return made[0].n_evaluated / made[0].n_calls
