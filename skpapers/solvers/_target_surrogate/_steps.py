# SPDX-License-Identifier: BSD-3-Clause
"""Target surrogates: the step eta and the row weights h of each surrogate."""

import numpy as np

from skpapers.solvers._target_surrogate._inner import by_row

__all__ = ["LARGEST", "Metric", "StepSize"]

SUFFICIENT = 0.5  # Armijo constant of the line search on eta
EXPAND, SHRINK = 1.8, 0.9
ETA_RANGE = 1e-4, 1e4  # around the first accepted step
# Shares of the decrease that the surrogate promised, for eta="adaptive": above the
# first eta grows, below the second it shrinks, below the third the step is taken back.
GOOD, POOR, KEPT = 0.6, 0.25, 0.05
ADAGRAD_RANGE = 1e-5, 1e5
# For metric="secant": the least curvature of a row, as a share of the bound on it, and
# the largest step as a multiple of the one that suits a curvature that is right.
LEAST_CURVATURE = 1e-3
LARGEST = 2.0
MORE = 1.25  # share of the promise above which a learnt curvature is too high
SAME = 1e-7  # relative difference of two targets of which nothing is learnt


class StepSize:
    """The step eta of the surrogate: a schedule or a line search on the targets."""

    def __init__(self, rule, eta, schedule, n_steps, share, largest=np.inf):
        self.rule, self.eta, self.schedule, self.n_steps = rule, eta, schedule, n_steps
        self.growth, self.largest = EXPAND**share, largest
        self.first = None  # of an adaptive step
        self.last, self.bounds = None, (0.0, np.inf)

    def __call__(self, t, oracle, z, g, weight, value, rows):
        """Return eta of outer step t = 1, 2, ..."""
        if self.rule == "adaptive":
            if self.last is None:
                start = oracle, z, g, weight, value, rows
                self.last = self.first = self.eta or self._line_search(*start)
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

    def judge(self, decrease, promised):
        """Adapt eta to what the last step brought and tell whether to keep it."""
        ratio = decrease / promised if promised > 0 else -1.0
        learnt = self.largest < np.inf and self.last >= self.first
        if ratio > (MORE if learnt else GOOD):
            self.last = min(2.0 * self.last, self.largest * self.first)
        elif ratio < POOR:
            self.last *= 0.5 if ratio > KEPT else 0.25
        return ratio > KEPT

    def settle(self):
        """Take no longer steps than a learnt curvature asks for."""
        if self.largest < np.inf:
            self.last = min(self.last, self.first)


class Metric:
    """The row weights h of the surrogate."""

    def __init__(self, metric, n_samples, loss_and_grad=None):
        self.metric = metric
        self.kl = metric == "kl" if _is_name(metric) else False
        self.secant = metric == "secant" if _is_name(metric) else False
        self.is_fixed = True
        if _is_name(metric):
            if metric not in ("euclidean", "adagrad", "secant", "kl"):
                raise ValueError(
                    "metric must be 'euclidean', 'adagrad', 'secant', 'kl', an array "
                    f"of row weights or a callable, got {metric!r}."
                )
            self.is_fixed = metric not in ("adagrad", "secant")
        elif callable(metric):
            self.is_fixed = False
        else:
            self.metric = _check_weights(metric, (n_samples,))
        self.squares = None
        self.n_samples = n_samples
        if self.secant:
            self._bound_curvature(loss_and_grad)

    def _bound_curvature(self, loss):
        """Read off a loss with which weights 1 / L is a step that suits it."""
        own = getattr(loss, "metric", None)
        bound = own(slice(None)) if callable(own) else None
        n = self.n_samples
        self.bound = np.ones(n) if bound is None else _check_weights(bound, (n,))
        known = getattr(loss, "smoothness", None) is not None
        self.largest = 1.0 if known else 1 / LEAST_CURVATURE

    def __call__(self, z, g, rows):
        """Return h, None for ones."""
        if callable(self.metric):
            h = self.metric(z, g, rows)
            return None if h is None else _check_weights(h, (len(z),), z.shape)
        if not _is_name(self.metric):
            return self.metric[rows]
        if self.secant:
            return self.bound
        if self.metric != "adagrad":
            return None
        if self.squares is None:
            self.squares = np.zeros((self.n_samples, *z.shape[1:]))
        self.squares[rows] += g * g
        return np.clip(np.sqrt(self.squares[rows]), *ADAGRAD_RANGE)

    def learn(self, base, here, eta):
        """Return h after a step that is kept: for "secant", what the step has shown.

        Parameters
        ----------
        base, here : object
            Places before and after, with z, g and weight.
        eta : float
            The step for which weights of one were right.
        """
        if not self.secant:
            return here.weight
        move = here.z - base.z
        seen = np.abs(move) > SAME * (np.abs(base.z) + np.abs(here.z))
        with np.errstate(all="ignore"):
            slope = eta * (here.g - base.g) / move
        h = np.where(seen & np.isfinite(slope), slope, by_row(base.weight, move))
        bound = by_row(self.bound, move)
        return np.clip(h, LEAST_CURVATURE * bound, self.largest * bound)


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
