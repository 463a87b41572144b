# SPDX-License-Identifier: BSD-3-Clause
"""Target surrogates: the step eta and the row weights h of each surrogate."""

import numpy as np

from skpapers.solvers._target_surrogate._inner import by_row

__all__ = ["Metric", "StepSize"]

SUFFICIENT = 0.5  # Armijo constant of the line search on eta
EXPAND, SHRINK = 1.8, 0.9
ETA_RANGE = 1e-4, 1e4  # around the first accepted step
# Shares of the decrease that the surrogate promised, for eta="adaptive": above the
# first eta grows, below the second it shrinks, below the third the step is taken back.
GOOD, POOR, KEPT = 0.6, 0.25, 0.05
ADAGRAD_RANGE = 1e-5, 1e5


class StepSize:
    """The step eta of the surrogate: a schedule or a line search on the targets."""

    def __init__(self, rule, eta, schedule, n_steps, share):
        self.rule, self.eta, self.schedule, self.n_steps = rule, eta, schedule, n_steps
        self.growth = EXPAND**share
        self.last, self.bounds = None, (0.0, np.inf)

    def __call__(self, t, oracle, z, g, weight, value, rows):
        """Return eta of outer step t = 1, 2, ..."""
        if self.rule == "adaptive":
            if self.last is None:
                start = oracle, z, g, weight, value, rows
                self.last = self.eta or self._line_search(*start)
            return self.last
        if self.rule == "armijo":
            return self._line_search(oracle, z, g, weight, value, rows)
        if self.schedule == "stochastic":
            return self.eta / np.sqrt(t)
        if self.schedule == "exponential":
            return self.eta * self.n_steps ** (-t / self.n_steps)
        return self.eta

    def _line_search(self, oracle, z, g, weight, value, rows):
        move = g if weight is None else g / by_row(weight, g)
        slope = SUFFICIENT * np.vdot(g, move) / len(z)
        largest = np.abs(move).max()
        if largest == 0:
            return self.last or 1.0

        def accepted(eta):
            return oracle.value(z - eta * move, rows) <= value - eta * slope

        first = self.last is None
        # the first trial moves no target by more than one, in any unit of the loss
        eta = 1 / largest if first else min(self.last * self.growth, self.bounds[1])
        if first and accepted(eta):
            for _ in range(60):
                if not accepted(eta * EXPAND):
                    break
                eta *= EXPAND
        else:
            for _ in range(400):
                if eta <= self.bounds[0] or accepted(eta):
                    break
                eta *= SHRINK
        if first:
            self.bounds = ETA_RANGE[0] * eta, ETA_RANGE[1] * eta
        self.last = max(eta, self.bounds[0])
        return self.last

    def judge(self, decrease, promised, noise):
        """Adapt eta to what the last step brought and tell whether to keep it."""
        if max(promised, abs(decrease)) <= noise:
            return True  # at the minimum, as far as values can tell
        ratio = decrease / promised if promised > 0 else -1.0
        if ratio > GOOD:
            self.last *= 2.0
        elif ratio < POOR:
            self.last *= 0.5 if ratio > KEPT else 0.25
        return ratio > KEPT


class Metric:
    """The row weights h of the surrogate."""

    def __init__(self, metric, n_samples):
        self.metric, self.kl = metric, metric == "kl" if _is_name(metric) else False
        self.is_fixed = True
        if _is_name(metric):
            if metric not in ("euclidean", "adagrad", "kl"):
                raise ValueError(
                    "metric must be 'euclidean', 'adagrad', 'kl', an array of row "
                    f"weights or a callable, got {metric!r}."
                )
            self.is_fixed = metric != "adagrad"
        elif callable(metric):
            self.is_fixed = False
        else:
            self.metric = _check_weights(metric, (n_samples,))
        self.squares = None
        self.n_samples = n_samples

    def __call__(self, z, g, rows):
        """Return h, None for ones."""
        if callable(self.metric):
            h = self.metric(z, g, rows)
            return None if h is None else _check_weights(h, (len(z),), z.shape)
        if not _is_name(self.metric):
            return self.metric[rows]
        if self.metric != "adagrad":
            return None
        if self.squares is None:
            self.squares = np.zeros((self.n_samples, *z.shape[1:]))
        self.squares[rows] += g * g
        return np.clip(np.sqrt(self.squares[rows]), *ADAGRAD_RANGE)


def _is_name(value):
    return isinstance(value, str)


def _check_weights(values, *shapes):
    h = np.asarray(values, dtype=np.float64)
    if h.shape not in shapes:
        raise ValueError(
            f"Row weights must have shape {' or '.join(map(str, shapes))}, got "
            f"{h.shape}."
        )
    if not (np.isfinite(h).all() and (h > 0).all()):
        raise ValueError("Row weights must be positive and finite.")
    return h
