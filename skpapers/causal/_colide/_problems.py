# SPDX-License-Identifier: BSD-3-Clause
r"""The scores of a batch of covariances, and the acyclicity term, in any array library.

W is inside the domain of h_s exactly if all row sums of the inverse of sI - W * W are
positive. Inside, the inverse is not negative and has 1 / s or more on its diagonal.
Where, on the other hand, x = inverse · 1 > 0, there is an x > 0 with (sI - W * W) x = 1
> 0, and this is what makes such a matrix an M-matrix. So the test needs no tolerance
and no further factorisation.
"""

import math

from skpapers.causal._colide._path import steady
from skpapers.utils._array_api import array_namespace, device, like


class Problems:
    """Scores of a batch of covariances; columns that do not vary are left alone.

    Attributes
    ----------
    C : array of shape (B, d, d)
        Covariances.
    varies : array of shape (B, d)
        1.0 for columns that vary, else 0.0.
    floor : array of shape (B, d), or (B, 1) for equal noise
        Lower bounds of the noise levels.
    price : array of shape (B, 1, 1) or (B, d, d)
        Weight of each ``|W[i, j]|``.
    free : array of shape (1, d, d) or (B, d, d)
        1.0 where W may differ from zero, else 0.0.
    """

    BATCHED = ("C", "varies", "floor", "price")

    def __init__(self, plan, C, alpha):
        xp = array_namespace(C)
        self.xp, self.equal = xp, plan.equal
        C = steady(C, xp)
        std = xp.sqrt(xp.linalg.diagonal(C))
        moves = std > 0
        smallest = xp.min(xp.where(moves, std, math.inf), axis=-1, keepdims=True)
        smallest = xp.where(xp.isfinite(smallest), smallest, 1.0)
        self.unit = smallest if plan.common_unit else xp.ones_like(smallest)
        self.C = C / (self.unit**2)[..., None]
        self.varies = xp.astype(moves, C.dtype)
        level = smallest if plan.equal else xp.where(moves, std, self.unit)
        self.floor = plan.noise_floor * level / self.unit
        self.free = like(plan.free, C, dtype=C.dtype)[None, ...]
        if not bool(xp.all(moves)):
            self.free = self.free * self.varies[:, :, None] * self.varies[:, None, :]
        self.price = alpha[:, None, None]
        if plan.required.any():
            self.price = self.price * like(~plan.required, C, dtype=C.dtype)

    def change(self, function):
        """Return a copy of which each batched array has been put through a function."""
        other = object.__new__(Problems)
        vars(other).update(vars(self))
        for name in self.BATCHED:
            setattr(other, name, function(getattr(self, name)))
        if self.free.shape[0] > 1:
            other.free = function(self.free)
        return other

    def in_type(self, dtype):
        """Return the problems in a floating point type."""
        other = self.change(lambda x: self.xp.astype(x, dtype, copy=False))
        other.free = self.xp.astype(self.free, dtype, copy=False)
        return other

    def take(self, index):
        """Return some of the problems."""
        if self.C.shape[0] == 1:
            return self
        return self.change(lambda x: self.xp.take(x, index, axis=0))

    def residuals(self, W):
        """Return ``R = C (I - W)``, the residual variances and sigma."""
        xp = self.xp
        R = self.C - self.C @ W
        r = xp.linalg.diagonal(R) - xp.sum(W * R, axis=-2)
        variance = r
        if self.equal:
            variance = xp.sum(r, axis=-1, keepdims=True)
            n_vary = xp.sum(self.varies, axis=-1, keepdims=True)
            variance = variance / xp.where(n_vary > 0, n_vary, 1.0)
        variance = xp.where(variance > 0, variance, 0.0)
        return R, r, xp.maximum(xp.sqrt(variance), self.floor)

    def value(self, W, r, sigma):
        """Return S for each problem."""
        xp = self.xp
        fit = xp.sum((r / sigma + sigma) * self.varies, axis=-1) / 2
        return fit + xp.sum(self.price * xp.abs(W), axis=(-2, -1))


def inverses(xp, M):
    """Return the inverses of a batch of matrices; NaN for a singular one."""
    try:
        return xp.linalg.inv(M)
    except Exception as error:
        if "LinAlgError" not in type(error).__name__:
            raise
        if M.shape[0] == 1:
            return M * math.nan
        return xp.concat([inverses(xp, M[k : k + 1, ...]) for k in range(M.shape[0])])


def acyclicity(xp, W, s):
    """Return Q, the transposed inverse of sI - W * W, and what lies in the domain.

    Parameters
    ----------
    xp : module
        Array namespace.
    W : array of shape (B, d, d)
        Weights.
    s : array of shape (B,)
        Level of each problem.

    Returns
    -------
    Q : array of shape (B, d, d)
        Without meaning outside the domain.
    M : array of shape (B, d, d)
        The transposed matrices.
    inside : bool array of shape (B,)
        Whether W is in the domain of h_s.
    """
    eye = xp.eye(W.shape[-1], dtype=W.dtype, device=device(W))
    M = s[:, None, None] * eye - xp.matrix_transpose(W * W)
    Q = inverses(xp, M)
    return Q, M, xp.all(xp.sum(Q, axis=-1) > 0, axis=-1)


def h_values(xp, W, s):
    """Return ``h_s(W)`` for each problem, infinity outside the domain."""
    _, M, inside = acyclicity(xp, W, s)
    d = W.shape[-1]
    h = d * xp.log(s) - xp.linalg.slogdet(M).logabsdet
    return xp.where(inside, h, math.inf)
