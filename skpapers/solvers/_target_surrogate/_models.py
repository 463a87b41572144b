# SPDX-License-Identifier: BSD-3-Clause
"""The models f of target surrogates: linear, any callable, a torch module.

Each maps parameters x to targets z = f(x), one row per sample, and pulls vectors v of
targets back to parameters, Jᵀ v. ``rows`` is ``slice(None)`` or an integer array.
"""

import numpy as np
from scipy.sparse import issparse

from skpapers.utils._torch import (
    flat_weights,
    import_torch,
    load_flat,
    to_tensor,
    trained,
)

__all__ = ["CallableModel", "LinearModel", "TorchModel", "make_model"]

ALL = slice(None)


class LinearModel:
    """f(x) = X x for a dense or sparse X (n, d) and x of shape (d,) or (d, p)."""

    is_linear = True

    def __init__(self, X, x0):
        if issparse(X):
            X = X.tocsr()
        else:
            X = np.asarray(X)
            if X.ndim != 2:
                raise ValueError(
                    "For model='linear' the first argument must be the matrix X of "
                    f"z = X x, got an array of shape {X.shape}."
                )
        self.X = X if X.dtype in (np.float64, np.float32) else X.astype(np.float64)
        self.n_samples, d = self.X.shape
        x0 = np.zeros(d) if x0 is None else np.asarray(x0, dtype=np.float64)
        if x0.ndim not in (1, 2) or len(x0) != d:
            raise ValueError(
                f"x0 must have shape ({d},) or ({d}, p) for X of shape {X.shape}, got "
                f"{x0.shape}."
            )
        self.x0 = x0
        self.n_evals = 0

    def rows(self, rows):
        """Return the rows of X."""
        return self.X if rows is ALL else self.X[rows]

    def predict(self, x, rows):
        """Return z."""
        self.n_evals += 1
        X = self.rows(rows)
        return np.asarray(X @ x.astype(X.dtype, copy=False), dtype=np.float64)

    def pullback(self, x, v, rows):
        """Return Xᵀ v."""
        X = self.rows(rows)
        return np.asarray(X.T @ v.astype(X.dtype, copy=False), dtype=np.float64)


class CallableModel:
    """Any f, given by ``predict(x, rows)`` and ``jac_vec(x, v, rows)``."""

    is_linear = False

    def __init__(self, predict, jac_vec, x0):
        if not callable(predict) or not callable(jac_vec):
            raise TypeError(
                "model='callable' needs predict(x, rows) as the first argument and "
                "jac_vec(x, v, rows), which returns the transposed Jacobian times v."
            )
        if x0 is None:
            raise ValueError("model='callable' needs the starting point x0.")
        self._predict, self._jac_vec = predict, jac_vec
        self.x0 = np.asarray(x0, dtype=np.float64)
        self.n_evals = 0
        self.n_samples = len(self.predict(self.x0, ALL))
        self.n_evals = 0

    def predict(self, x, rows):
        """Return z."""
        self.n_evals += 1
        z = np.asarray(self._predict(x, rows), dtype=np.float64)
        if z.ndim not in (1, 2):
            raise ValueError(
                f"predict must return z of shape (n,) or (n, p), got {z.shape}."
            )
        return z

    def pullback(self, x, v, rows):
        """Return Jᵀ v."""
        result = np.asarray(self._jac_vec(x, v, rows), dtype=np.float64)
        if result.shape != x.shape:
            raise ValueError(
                f"jac_vec must return an array of the shape of x, {x.shape}, got "
                f"{result.shape}."
            )
        return result


class TorchModel:
    """A torch module on a fixed table; x is the vector of its trained parameters.

    The last forward pass is kept, so that the pullback at the same x is one backward
    pass.
    """

    is_linear = False

    def __init__(self, module, X, x0):
        self.torch = import_torch("minimize_target_surrogate(model=module)")
        self.module = module
        self.parameters = trained(module)
        if not self.parameters:
            raise ValueError("The module has no parameters that require gradients.")
        like = self.parameters[0]
        self.X = to_tensor(X, like)
        self.n_samples = len(self.X)
        start = flat_weights(module)
        if x0 is not None:
            x0 = np.asarray(x0)
            if x0.shape != start.shape:
                raise ValueError(
                    f"x0 must have shape {start.shape}, one entry for each trained "
                    f"parameter of the module, got {x0.shape}."
                )
            start = x0
        self.x0 = start.astype(np.float64)
        self.n_evals = 0
        self._last = None

    def _forward(self, x, rows):
        load_flat(self.parameters, x)
        inputs = self.X
        if rows is not ALL:
            index = self.torch.from_numpy(np.ascontiguousarray(rows))
            inputs = self.X[index.to(self.X.device)]
        z = self.module(inputs)
        self._last = x, rows, z
        return z

    def load(self, x):
        """Leave the module with the parameters x."""
        load_flat(self.parameters, x)
        self._last = None

    def predict(self, x, rows):
        """Return z."""
        self.n_evals += 1
        z = self._forward(x, rows)
        if z.ndim == 2 and z.shape[1] == 1:
            z = z[:, 0]
        return z.detach().cpu().numpy().astype(np.float64)

    def pullback(self, x, v, rows):
        """Return Jᵀ v."""
        if self._last is None or self._last[0] is not x or self._last[1] is not rows:
            self._forward(x, rows)
        z, self._last = self._last[2], None
        v = self.torch.from_numpy(np.ascontiguousarray(v)).to(z).reshape(z.shape)
        found = self.torch.autograd.grad(
            z, self.parameters, grad_outputs=v, allow_unused=True
        )
        pairs = zip(found, self.parameters, strict=True)
        flat = [
            (self.torch.zeros_like(p) if g is None else g).ravel() for g, p in pairs
        ]
        return self.torch.cat(flat).cpu().numpy().astype(np.float64)


def make_model(model, predict, jac_vec, x0):
    """Return the model that the arguments of the solver describe."""
    if isinstance(model, str):
        if model == "linear":
            return LinearModel(predict, x0)
        if model == "callable":
            return CallableModel(predict, jac_vec, x0)
    elif callable(getattr(model, "parameters", None)):
        return TorchModel(model, predict, x0)
    raise ValueError(
        f"model must be 'linear', 'callable' or a torch module, got {model!r}."
    )
