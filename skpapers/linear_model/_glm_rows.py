# SPDX-License-Identifier: BSD-3-Clause
"""Losses of rows: value, residual and curvature in the linear predictor.

Each loss is safe where exp overflows or probabilities round to 0 and 1, and works on
arrays of any library. ``rows(y, eta)`` returns the losses and a state (probabilities,
means) from which ``residual`` and ``curvature`` need no further exponential.
"""

import numpy as np

from skpapers.utils._array_api import array_namespace

__all__ = ["FAMILIES", "make_loss"]

_SILENT = {"over": "ignore", "invalid": "ignore", "under": "ignore"}


# --- losses on rows -----------------------------------------------------------------
class BinomialLoss:
    """log(1 + exp(eta)) - y eta, for y in [0, 1]."""

    name = "binomial"
    convex = True
    bounded_below_by_zero = True

    def rows(self, y, eta):
        """Return the loss of each row, and (p, 1 - p) to full relative accuracy."""
        xp = array_namespace(eta)
        e = xp.exp(-xp.abs(eta))
        high, low = 1 / (1 + e), e / (1 + e)
        positive = eta >= 0
        state = xp.where(positive, high, low), xp.where(positive, low, high)
        # where y is 0 or 1 the last bracket is exact, and small losses stay accurate
        value = xp.log1p(e) + (xp.where(positive, eta, 0 * eta) - y * eta)
        return value, state

    def residual(self, y, state):
        """Return the derivative in eta: p - y."""
        p, q = state
        return p * (1 - y) - q * y

    def curvature(self, y, state, kind="exact"):
        """Return the second derivative in eta: p (1 - p), or 1/4 above it ("wgn")."""
        p, q = state
        return 0 * p + 0.25 if kind == "wgn" else p * q

    def mean(self, state):
        """Return the predicted probability."""
        return state[0]

    def start(self, mean):
        """Return the linear predictor of the model without features."""
        mean = min(max(mean, 1e-12), 1 - 1e-12)
        return float(np.log(mean) - np.log1p(-mean))

    def wrong(self, y):
        """Say what is wrong with the targets, or nothing."""
        xp = array_namespace(y)
        if bool(xp.any((y < 0) | (y > 1))):
            return "binomial targets lie in [0, 1]"
        return ""


class GaussianLoss:
    """Half the squared error, identity link."""

    name = "gaussian"
    convex = True
    bounded_below_by_zero = True

    def rows(self, y, eta):
        """Return the loss of each row, and the predicted mean."""
        return 0.5 * (eta - y) ** 2, eta

    def residual(self, y, state):
        """Return the derivative in eta."""
        return state - y

    def curvature(self, y, state, kind="exact"):
        """Return the second derivative in eta, one."""
        return 0 * state + 1

    def mean(self, state):
        """Return the predicted mean."""
        return state

    def start(self, mean):
        """Return the linear predictor of the model without features."""
        return float(mean)

    def wrong(self, y):
        """Every finite target is a target."""
        return ""


class TweedieLoss:
    """Half the deviance of variance function mu^power, log link, less its constant.

    power 0 is the normal distribution, 1 Poisson, 2 gamma, 3 inverse Gaussian, between
    1 and 2 a compound of Poisson and gamma.
    """

    bounded_below_by_zero = False

    def __init__(self, power, name="tweedie"):
        if 0 < power < 1:
            raise ValueError(
                f"power={power}: no distribution has a power between 0 and 1."
            )
        self.name = name
        self.power = float(power)
        self.convex = 1 <= power <= 2

    def rows(self, y, eta):
        """Return the loss of each row, and its two exponentials."""
        xp, r = array_namespace(eta), self.power
        with np.errstate(**_SILENT):
            if r == 1:
                up, down = xp.exp(eta), 0 * eta + 1
                value = up - y * eta
            elif r == 2:
                up, down = 0 * eta + 1, xp.exp(-eta)
                value = eta + y * down
            else:
                up, down = xp.exp((2 - r) * eta), xp.exp((1 - r) * eta)
                value = up / (2 - r) - y * down / (1 - r)
        return value, (up, down)

    def residual(self, y, state):
        """Return the derivative in eta: mu^(2 - power) - y mu^(1 - power)."""
        up, down = state
        with np.errstate(**_SILENT):
            return up - y * down

    def curvature(self, y, state, kind="exact"):
        """Return the second derivative in eta, or its expectation mu^(2 - power)."""
        up, down = state
        if kind in ("expected", "wgn"):
            return up
        return (2 - self.power) * up + (self.power - 1) * y * down

    def mean(self, state):
        """Return the predicted mean."""
        up, down = state
        return up / down

    def start(self, mean):
        """Return the linear predictor of the model without features."""
        return float(np.log(max(mean, np.finfo(float).tiny)))

    def wrong(self, y):
        """Say what is wrong with the targets, or nothing."""
        xp = array_namespace(y)
        if self.power >= 2 and bool(xp.any(y <= 0)):
            return f"{self.name} targets are positive"
        if 1 <= self.power < 2 and bool(xp.any(y < 0)):
            return f"{self.name} targets are not negative"
        return ""


class MultinomialLoss:
    """log sum_k exp(eta_k) - eta_y, for y in 0, ..., K - 1; rows are (K, n)."""

    name = "multinomial"
    convex = True
    bounded_below_by_zero = True

    def __init__(self, n_classes):
        self.n_classes = int(n_classes)

    def rows(self, y, eta):
        """Return the loss of each row, and the probabilities (K, n)."""
        xp = array_namespace(eta)
        top = xp.max(eta, axis=0)
        e = xp.exp(eta - top)
        total = xp.sum(e, axis=0)
        value = xp.log(total) + (top - self._own(xp, eta, y))
        return value, e / total

    def _own(self, xp, eta, y):
        """Return the predictor of the true class."""
        if xp is np or isinstance(eta, np.ndarray):
            return eta[y, np.arange(len(y))]
        return xp.sum(eta * self._onehot(xp, eta, y), axis=0)

    def _onehot(self, xp, eta, y):
        classes = xp.arange(eta.shape[0], dtype=y.dtype, device=eta.device)
        return xp.astype(y[None, :] == classes[:, None], eta.dtype)

    def residual(self, y, state):
        """Return the derivative in eta: p - onehot(y)."""
        xp = array_namespace(state)
        if isinstance(state, np.ndarray):
            out = state.copy()
            out[y, np.arange(len(y))] -= 1
            return out
        return state - self._onehot(xp, state, y)

    def curvature(self, y, state, kind="exact"):
        """Return the diagonal of the second derivative in eta, or p_k above it."""
        return state if kind == "wgn" else state * (1 - state)

    def mean(self, state):
        """Return the predicted probabilities."""
        return state

    def start(self, mean):
        """Return the linear predictors of the model without features."""
        eta = np.log(np.maximum(mean, 1e-12))
        return eta - eta.mean()

    def wrong(self, y):
        """Say what is wrong with the targets, or nothing."""
        xp = array_namespace(y)
        if bool(xp.any((y < 0) | (y >= self.n_classes))):
            return f"multinomial targets are codes 0, ..., {self.n_classes - 1}"
        return ""


FAMILIES = (
    "binomial",
    "multinomial",
    "gaussian",
    "poisson",
    "gamma",
    "inverse_gaussian",
    "tweedie",
)


def make_loss(family, *, n_classes=None, power=1.5):
    """Return the loss of a family.

    Parameters
    ----------
    family : str
        One of `FAMILIES`.
    n_classes : int, default=None
        Number of classes, for "multinomial".
    power : float, default=1.5
        Power of the variance, for "tweedie".

    Returns
    -------
    loss
        An object that works on rows.

    Raises
    ------
    ValueError
        If there is no such family or power.
    """
    if family == "binomial":
        return BinomialLoss()
    if family == "multinomial":
        return MultinomialLoss(n_classes)
    if family == "gaussian":
        return GaussianLoss()
    powers = {"poisson": 1, "gamma": 2, "inverse_gaussian": 3, "tweedie": power}
    if family not in powers:
        raise ValueError(f"family={family!r} is none of {FAMILIES}.")
    return TweedieLoss(powers[family], family)
