# SPDX-License-Identifier: BSD-3-Clause
"""Losses of generalised linear and softmax models: the ground of the linear family.

With rows x_i, targets y_i, weights s_i and coefficients w of K outputs (intercepts
last), a model has the objective

    f(w) = sum_i s_i loss(y_i, eta_i) / sum_i s_i + 1/2 sum_j l2_j w_j^2,
    eta_i = W x_i + b + offset_i.

Three layers, each of use alone:

- a **loss** (`make_loss`) works on rows: value, residual (derivative in eta) and
  curvature, all safe where exp overflows or probabilities round to 0 and 1;
- `GLMObjective` adds the design (`_glm_design.Design`), weights, offsets and penalty::

      objective = GLMObjective(X, y, make_loss("binomial"), sample_weight, l2=1e-3)
      w = objective.start()              # the model without features
      point = objective.at(w)            # keeps eta, probabilities and so on
      point.value, point.gradient        # float, ndarray (n_params,)
      point.hessian()                    # ndarray (n_params, n_params)
      point.hessp(v)                     # Hessian times v, no matrix
      objective.unpack(w)                # coef (K, p) or (p,), intercept

  or, as `scipy.optimize` calls them, ``objective.value(w)``, ``.gradient(w)``,
  ``.value_gradient(w)``, ``.hessian(w)`` and ``.hessp(w, v)``, which remember the last
  point;
- the **Hessian models** of a point: ``hessian(kind)`` with kind

  ==========  ================================================================
  "exact"     the Hessian
  "expected"  its expectation under the model (the weights of IRLS)
  "fisher"    sum_i of the outer products of the gradients of the rows
  "block"     the exact blocks of single outputs, nothing between outputs
  "wgn"       blocks X'diag(p_k)X: above the exact Hessian, without p p'
  ==========  ================================================================

  ``blocks(kind)`` for the diagonal blocks alone, ``hessian_diagonal()``, and
  ``low_rank(rank)`` for a pair (d, U) that means diag(d) + U U'.

Flat parameters w are output by output, each its slopes and then its intercept;
``w.reshape(objective.shape)`` is (p + 1,) for one output and (K, p + 1) else.
Coefficients, gradients and matrices are float64 NumPy arrays whatever X is; rows stay
in the library, on the device and in the dtype of X. Sparse X is never made dense.
"""

from functools import cached_property

import numpy as np

from skpapers.linear_model._glm_design import Design
from skpapers.linear_model._glm_rows import FAMILIES, make_loss

__all__ = ["FAMILIES", "GLMObjective", "GLMPoint", "make_loss"]

KINDS = ("exact", "expected", "fisher", "block", "wgn")
_SILENT = {"over": "ignore", "invalid": "ignore", "under": "ignore"}


# --- the objective ------------------------------------------------------------------
class GLMObjective:
    """Mean loss of a linear model plus half a weighted squared norm.

    Parameters
    ----------
    X : array or sparse matrix of shape (n, p), or Design
        Rows.
    y : array of shape (n,)
        Targets in the library of X: floating numbers, or integer codes of classes for
        the multinomial loss.
    loss : loss
        From `make_loss`.
    sample_weight : array of shape (n,), default=None
        Weights s_i in the library of X, not all zero; None counts rows equally.
    l2 : float or array of shape (p,), default=0.0
        Penalty of each slope; intercepts have none.
    fit_intercept : bool, default=True
        Whether there are intercepts; a `Design` has decided already.
    offset : array of shape (n,) or (K, n), default=None
        What is added to the linear predictor.

    Attributes
    ----------
    shape : tuple
        (p + 1,) or (K, p + 1): slopes and intercept of each output.
    n_params : int
        Length of flat parameters.
    penalty : ndarray of shape `shape`
        Penalties, zeros at the intercepts.

    Raises
    ------
    ValueError
        If a target is outside the range of the loss.
    """

    def __init__(
        self, X, y, loss, sample_weight=None, l2=0.0, fit_intercept=True, offset=None
    ):
        self.design = X if isinstance(X, Design) else Design(X, fit_intercept)
        self.loss, self.y, self.offset = loss, y, offset
        if problem := loss.wrong(y):
            raise ValueError(f"Wrong values in y: {problem}.")
        self.n_outputs = getattr(loss, "n_classes", 1)
        q = self.design.shape[1]
        self.shape = (q,) if loss.name != "multinomial" else (self.n_outputs, q)
        self.n_params = int(np.prod(self.shape))
        self.xp = self.design.xp
        n = self.design.shape[0]
        if sample_weight is None:
            sample_weight = self.xp.ones(n, dtype=self.design.dtype, device=_device(X))
        total = float(self.xp.sum(sample_weight, dtype=self.xp.float64))
        self.total_weight = total
        self.weight = sample_weight / total
        self.penalty = np.zeros(self.shape)
        self.penalty[..., : self.design.X.shape[1]] = l2
        self._last = None

    def take(self, rows):
        """Return the objective on some rows (an index array), same penalty."""
        part = object.__new__(GLMObjective)
        part.__dict__.update(self.__dict__)
        part._last = None
        part.design = self.design.take(rows)
        index = rows
        if not self.design.is_numpy:
            index = self.xp.asarray(rows, device=self.y.device)
        part.y = self.xp.take(self.y, index, axis=0)
        weight = self.xp.take(self.weight, index, axis=0)
        part.weight = weight / self.xp.sum(weight)
        if self.offset is not None:
            part.offset = self.xp.take(self.offset, index, axis=-1)
        return part

    def at(self, w):
        """Return the `GLMPoint` at flat parameters ``w``."""
        last = self._last
        if last is None or not np.array_equal(last.w, w):
            last = self._last = GLMPoint(self, np.array(w, dtype=np.float64))
        return last

    def value(self, w):
        """Return f(w)."""
        return self.at(w).value

    def gradient(self, w):
        """Return the gradient of f, shape (n_params,)."""
        return self.at(w).gradient

    def value_gradient(self, w):
        """Return f(w) and its gradient."""
        point = self.at(w)
        return point.value, point.gradient

    def hessian(self, w, kind="exact"):
        """Return the Hessian of f, or a model of it, (n_params, n_params)."""
        return self.at(w).hessian(kind)

    def hessp(self, w, v):
        """Return the Hessian of f times v."""
        return self.at(w).hessp(v)

    def start(self):
        """Return the flat parameters of the model without features."""
        w = np.zeros(self.shape)
        if self.design.intercept and self.offset is None:
            w[..., -1] = self.loss.start(self._mean_target())
        return w.ravel()

    def _mean_target(self):
        xp = self.xp
        if self.loss.name != "multinomial":
            return float(xp.sum(self.weight * self.y, dtype=xp.float64))
        return np.array(
            [
                float(xp.sum(xp.where(self.y == k, self.weight, 0 * self.weight)))
                for k in range(self.n_outputs)
            ]
        )

    def unpack(self, w):
        """Return the slopes, (p,) or (K, p), and the intercept, float or (K,)."""
        W = np.reshape(w, self.shape)
        if not self.design.intercept:
            return W, np.zeros(self.shape[:-1])[()]
        return W[..., :-1], W[..., -1]

    def moments(self):
        """Return the weighted mean squares of the columns, the last of them one."""
        return self.design.moments(self.weight)


class GLMPoint:
    """An objective at one point: what is asked for is computed once.

    Parameters
    ----------
    objective : GLMObjective
        The objective.
    w : ndarray of shape (n_params,)
        Flat parameters.
    """

    def __init__(self, objective, w):
        self.objective, self.w = objective, w
        self.W = w.reshape(objective.shape)

    @cached_property
    def eta(self):
        """Linear predictors, (n,) or (K, n), in the library of X."""
        eta = self.objective.design.dot(self.W)
        return eta if self.objective.offset is None else eta + self.objective.offset

    @cached_property
    def _rows(self):
        with np.errstate(**_SILENT):
            return self.objective.loss.rows(self.objective.y, self.eta)

    @property
    def state(self):
        """What the loss keeps of the rows (probabilities, means)."""
        return self._rows[1]

    @property
    def mean(self):
        """Predicted means or probabilities, (n,) or (K, n), in the library of X."""
        return self.objective.loss.mean(self.state)

    @cached_property
    def value(self):
        """The objective, a float; inf or nan where it overflows."""
        objective = self.objective
        with np.errstate(**_SILENT):
            rows = objective.weight * self._rows[0]
            loss = float(objective.xp.sum(rows, dtype=objective.xp.float64))
        return loss + 0.5 * float(np.sum(objective.penalty * self.W**2))

    @property
    def scale(self):
        """The size of what was summed up to the objective, for its rounding error."""
        objective = self.objective
        if objective.loss.bounded_below_by_zero:
            return abs(self.value)
        xp = objective.xp
        size = xp.sum(objective.weight * xp.abs(self._rows[0]), dtype=xp.float64)
        return max(float(size), abs(self.value))

    @cached_property
    def residual(self):
        """Derivatives of the losses of the rows in eta, (n,) or (K, n), unweighted."""
        return self.objective.loss.residual(self.objective.y, self.state)

    @cached_property
    def gradient(self):
        """The gradient, (n_params,)."""
        objective = self.objective
        with np.errstate(**_SILENT):
            slope = objective.design.rdot(objective.weight * self.residual)
        return (slope + objective.penalty * self.W).ravel()

    def curvature(self, kind="exact"):
        """Return the weighted curvatures of the rows, (n,) or (K, n)."""
        objective = self.objective
        if kind == "fisher":
            return objective.weight * self.residual**2
        return objective.weight * objective.loss.curvature(
            objective.y, self.state, kind
        )

    # --- Hessian models ---
    def hessian(self, kind="exact"):
        """Return the Hessian or a model of it.

        Parameters
        ----------
        kind : {"exact", "expected", "fisher", "block", "wgn"}, default="exact"
            Which one; the module docstring tells them apart.

        Returns
        -------
        ndarray of shape (n_params, n_params)
            A symmetric matrix; positive semi-definite but for "exact" and "block" of
            losses that are not convex.
        """
        objective = self.objective
        if len(objective.shape) == 1:
            H = objective.design.gram(self.curvature(kind))
        elif kind in ("block", "wgn"):
            H = np.zeros((*objective.shape, *objective.shape))
            for k, block in enumerate(self._data_blocks(kind)):
                H[k, :, k, :] = block
        else:
            H = self._cross_hessian(kind)
        H = H.reshape(objective.n_params, objective.n_params)
        H[np.diag_indices_from(H)] += objective.penalty.ravel()
        return H

    def _cross_hessian(self, kind):
        """All pairs of classes, from the pairs that do not contain the last class."""
        objective = self.objective
        K, q = objective.shape
        # sum_k of each row of blocks is zero, so the last class needs no products
        first, second = np.triu_indices(K - 1)
        weight = objective.weight
        if kind == "fisher":
            left, right = weight * self.residual, self.residual
        else:
            left, right = weight * self.state, self.state

        def pairs(rows):
            a, b = left[:, rows], right[:, rows]
            out = _stacked(objective.xp, a, b, first, second)
            if kind == "fisher":
                return out
            return _diagonal_added(objective.xp, -out, a, first == second)

        H = np.zeros((K, q, K, q))
        for k, m, block in zip(
            first, second, objective.design.grams(pairs), strict=True
        ):
            H[k, :, m, :] = H[m, :, k, :] = block
        H[:-1, :, -1, :] = -H[:-1, :, :-1, :].sum(axis=2)
        H[-1, :, :-1, :] = H[:-1, :, -1, :].transpose(1, 0, 2)
        H[-1, :, -1, :] = -H[-1, :, :-1, :].sum(axis=1)
        return H

    def _data_blocks(self, kind):
        curvature = self.curvature(kind)
        if len(self.objective.shape) == 1:
            return self.objective.design.gram(curvature)[None]
        return self.objective.design.grams(curvature)

    def blocks(self, kind="block"):
        """Return the diagonal blocks, one an output, (K, p + 1, p + 1)."""
        blocks = self._data_blocks(kind)
        penalty = np.atleast_2d(self.objective.penalty)
        index = np.arange(blocks.shape[1])
        blocks[:, index, index] += penalty
        return blocks

    def hessian_diagonal(self, kind="exact"):
        """Return the diagonal of the Hessian, (n_params,)."""
        moments = self.objective.design.moments(self.curvature(kind))
        return (moments + self.objective.penalty).ravel()

    def hessp(self, v):
        """Return the exact Hessian times v, both of shape (n_params,)."""
        objective = self.objective
        V = np.reshape(v, objective.shape)
        change = objective.design.dot(V)
        if len(objective.shape) == 1:
            change = change * self._exact_curvature
        else:
            change = self._weighted_mean * change
            total = objective.xp.sum(change, axis=0)
            change = change - self.state * total
        return (objective.design.rdot(change) + objective.penalty * V).ravel()

    @cached_property
    def _exact_curvature(self):
        return self.curvature()

    @cached_property
    def _weighted_mean(self):
        return self.objective.weight * self.state

    def low_rank(self, rank, rng, n_power=1):
        """Return (d, U) with diag(d) + U U' close to the exact Hessian.

        A randomised Nystrom approximation of the part of the data; d holds the penalty
        and what the diagonal lacks, so the diagonal is exact.

        Parameters
        ----------
        rank : int
            Number of columns of U.
        rng : RandomState or Generator
            Where the test vectors come from.
        n_power : int, default=1
            Repeated products that sharpen the subspace.

        Returns
        -------
        d : ndarray of shape (n_params,)
            Diagonal, not negative.
        U : ndarray of shape (n_params, rank)
            Factor.
        """
        n_params, penalty = self.objective.n_params, self.objective.penalty.ravel()

        def data_times(Q):
            columns = [self.hessp(q) - penalty * q for q in Q.T]
            return np.column_stack(columns)

        Q = rng.standard_normal((n_params, min(rank, n_params)))
        for _ in range(n_power):
            Q = data_times(np.linalg.qr(Q)[0])
        Q = np.linalg.qr(Q)[0]
        Y = data_times(Q)
        values, vectors = np.linalg.eigh(Q.T @ Y)
        keep = values > 1e-10 * max(values[-1], np.finfo(float).tiny)
        U = Y @ (vectors[:, keep] / np.sqrt(values[keep]))
        diagonal = self.hessian_diagonal() - penalty
        missing = np.maximum(diagonal - np.einsum("ij,ij->i", U, U), 0)
        return penalty + missing, U


def _stacked(xp, a, b, first, second):
    """Return the rows a[k] * b[m] for the pairs (k, m)."""
    if xp is np:
        return a[first] * b[second]
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    return xp.stack([a[k, :] * b[m, :] for k, m in pairs])


def _diagonal_added(xp, out, a, is_diagonal):
    """Add the rows of ``a`` to the rows of ``out`` that belong to pairs (k, k)."""
    if xp is np:
        out[is_diagonal] += a[: is_diagonal.sum()]
        return out
    rows, k = [], 0
    for position, on_diagonal in enumerate(is_diagonal.tolist()):
        row = out[position, :]
        if on_diagonal:
            row, k = row + a[k, :], k + 1
        rows.append(row)
    return xp.stack(rows)


def _device(X):
    """Return the device of a dense array, None for sparse matrices."""
    X = X.X if isinstance(X, Design) else X
    return getattr(X, "device", None)
