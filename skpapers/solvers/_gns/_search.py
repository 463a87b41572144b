# SPDX-License-Identifier: BSD-3-Clause
"""The adaptive search of gradient-normalised Newton steps, for any model of a Hessian.

Symbols as in `skpapers.solvers._gns._api`.
"""

import time

import numpy as np

__all__ = ["Search"]

CONVERGED, MAX_ITER, PRECISION, REJECTED, STOPPED = range(5)
MESSAGES = {
    CONVERGED: "The dual norm of the gradient is at most gtol.",
    MAX_ITER: "Stopped after max_iter iterations.",
    PRECISION: "Rounding hides any further decrease.",
    REJECTED: "All trials of an iteration were rejected.",
    STOPPED: "The callback asked to stop.",
}
GAMMA_MIN = 1e-9
ROUNDING = 4 * np.finfo(float).eps
# A predicted decrease of so many roundings in the first trial is still near the floor.
NEAR = 1e4


class Search:
    """The adaptive search, one accepted step a call of `advance`.

    Parameters
    ----------
    evaluate : callable
        From x to a point: an object with ``value`` and ``gradient``, computed when they
        are asked for, and if it knows better than the value, the ``scale`` of rounding.
    x0 : ndarray of shape (n,)
        Start.
    curvature : object
        ``model(point, n_iter)`` returns the model at a point, ``improve(point)`` a
        better one after a rejection (fresh, or of more rows), or None.
    metric : metric
        B.
    gamma0, gtol, max_iter, max_trials
        As in `gns_minimize`.
    rounding : float
        Relative differences of f that mean nothing.
    target : callable, default=None
        From a point to True where it is good enough.
    patient : bool
        As in `gns_minimize`.

    Attributes
    ----------
    x, point, norm
        Where the search stands, with the dual norm of the gradient.
    gamma : float
        Radius.
    status : int
        Why it ended.
    n_iter, n_solves : int
        Accepted steps, and trials.
    history : dict of lists
        For the start and every step: the objective, the dual norm of the gradient, the
        radius, the trials of the step and CPU seconds.

    Raises
    ------
    ValueError
        If f or its gradient is not finite at the start.
    """

    def __init__(
        self,
        evaluate,
        x0,
        curvature,
        metric,
        *,
        gamma0=1.0,
        gtol=1e-6,
        max_iter=1000,
        max_trials=40,
        rounding=ROUNDING,
        target=None,
        patient=False,
    ):
        self.patient = patient
        self.evaluate, self.curvature, self.metric = evaluate, curvature, metric
        self.gtol, self.max_iter, self.max_trials = gtol, max_iter, max_trials
        self.rounding, self.target = rounding, target
        self.start = time.process_time()
        self.x, self.point, self.gamma = x0, evaluate(x0), float(gamma0)
        self.norm = metric.dual_norm(self.point.gradient)
        self.status, self.n_iter, self.n_solves = MAX_ITER, 0, 0
        if not np.isfinite(self.point.value) or not np.isfinite(self.norm):
            raise ValueError(
                "The objective or its gradient is not finite at the start: "
                f"f = {self.point.value}, dual norm of the gradient = {self.norm}."
            )
        self.history = {
            name: []
            for name in ("objective", "gradient_norm", "gamma", "trials", "seconds")
        }
        self._record(0)

    def _record(self, trials):
        seconds = time.process_time() - self.start
        line = (self.point.value, self.norm, self.gamma, trials, seconds)
        for column, entry in zip(self.history.values(), line, strict=True):
            column.append(entry)

    def advance(self):
        """Take one step; False where the search has ended, with its `status`."""
        if self.norm <= self.gtol or (self.target and self.target(self.point)):
            self.status = CONVERGED
            return False
        if self.n_iter == self.max_iter:
            self.status = MAX_ITER
            return False
        found, trials = self._iterate()
        if found is None:
            return False
        self.x, self.point, self.norm = found
        self.n_iter += 1
        self._record(trials)
        if trials == 1 or not self.patient:
            self.gamma = max(2 * self.gamma, GAMMA_MIN)
        return True

    def _iterate(self):
        """Return the accepted (x, point, norm) or None, and the number of trials."""
        point = self.point
        f, g = point.value, point.gradient
        slack = self.rounding * getattr(point, "scale", abs(f))
        model = self.curvature.model(point, self.n_iter)
        largest = 0.0
        for trial in range(1, self.max_trials + 1):
            lam = self.norm / self.gamma
            d = model.step(g, lam)
            self.n_solves += 1
            if d is not None:
                new, new_norm = self._try(self.x + d, f + slack)
                predicted = -0.5 * (g @ d)
                largest = max(largest, predicted)
                hidden = predicted <= slack
                if hidden and not new_norm <= 0.5 * self.norm:
                    # short steps of a small radius say nothing of the place
                    if largest <= NEAR * slack:
                        self.status = PRECISION
                        return None, trial
                elif hidden or f - new.value >= new_norm**2 / (8 * lam) - slack:
                    return (self.x + d, new, new_norm), trial
            better = self.curvature.improve(point)
            if better is None:
                self.gamma /= 2
            else:
                model = better
        self.status = REJECTED
        return None, self.max_trials

    def _try(self, x, limit):
        """Return the point at x and its norm, infinite where f is above the limit."""
        new = self.evaluate(x)
        if not new.value <= limit:  # also where it is not a number
            return new, np.inf
        norm = self.metric.dual_norm(new.gradient)
        return new, norm if np.isfinite(norm) else np.inf
