# SPDX-License-Identifier: BSD-3-Clause
"""What the two estimators by target surrogates share.

The table becomes a design, the targets a loss of predictions z, and
`minimize_target_surrogate` does the rest. A dense design has centred columns and a
column of ones, so that the intercept is orthogonal to the other coefficients; a sparse
one is left as it is.
"""

from abc import ABCMeta, abstractmethod
from numbers import Integral, Real
from warnings import warn

import numpy as np
from scipy.sparse import csr_array, hstack, issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skpapers.solvers import minimize_target_surrogate
from skpapers.utils._estimator import DocumentedEstimator
from skpapers.utils._sklearn import Interval, StrOptions, check_sample_weight
from skpapers.utils._torch import make_mlp, trained

FLOATS = (np.float64, np.float32)
N_INNER = 20
CONSTANT = 64 * np.finfo(np.float64).eps  # spread of a constant column over its size


def row_weights(sample_weight, X):
    """Return weights of mean one over the rows that count, and which these are."""
    if sample_weight is None:
        return np.ones(X.shape[0]), None
    weight = check_sample_weight(sample_weight, X).astype(np.float64)
    kept = weight > 0
    weight = weight[kept]
    return weight / weight.max() / np.mean(weight / weight.max()), kept


class CallableLoss:
    """A loss that a user brings: of y, predictions and, if given, weights."""

    def __init__(self, function, y, sample_weight=None):
        self.function, self.y, self.sample_weight = function, y, sample_weight

    def __call__(self, z, rows):
        """Return what the function returns."""
        if self.sample_weight is None:
            return self.function(self.y[rows], z)
        return self.function(self.y[rows], z, self.sample_weight[rows])

    def metric(self, rows):
        """Return the row weights of the surrogate."""
        return None if self.sample_weight is None else self.sample_weight[rows]


class LinearDesign:
    """The matrix of a linear model and the way back to coefficients."""

    def __init__(self, X, weight, fit_intercept, center):
        self.fit_intercept, self.n_features = fit_intercept, X.shape[1]
        self.center = np.zeros(X.shape[1])
        if issparse(X):
            square = np.asarray(X.multiply(X).T @ weight).ravel() / weight.sum()
            self.matrix = X
            if fit_intercept:
                ones = csr_array(np.ones((X.shape[0], 1), dtype=X.dtype))
                self.matrix = hstack([X, ones], format="csr")
        else:
            square = self._fill(X, weight, center and fit_intercept)
        spread = np.sqrt(square)
        self.spread = np.append(np.where(spread > 0, spread, 1), [1.0] * fit_intercept)

    def _fill(self, X, weight, center):
        n, d = X.shape
        matrix = np.empty((n, d + self.fit_intercept), dtype=X.dtype)
        part = matrix[:, :d]
        if center:
            self.center = weight @ X.astype(np.float64, copy=False) / weight.sum()
        np.subtract(X, self.center, out=part, casting="same_kind")
        if self.fit_intercept:
            matrix[:, d] = 1
        square = np.einsum("i,ij,ij->j", weight, part, part) / weight.sum()
        constant = np.sqrt(square) <= CONSTANT * np.abs(self.center)
        part[:, constant] = 0  # only rounding errors were left of these columns
        self.matrix = matrix
        return np.where(constant, 0, square)

    def pack(self, coef, intercept):
        """Return the parameters of coefficients (p, d) and intercepts (p,)."""
        x = coef.T.astype(np.float64)
        if self.fit_intercept:
            x = np.vstack([x, intercept + self.center @ x])
        return x

    def unpack(self, x):
        """Return coefficients (p, d) and intercepts (p,)."""
        coef = x[: self.n_features].T
        if not self.fit_intercept:
            return coef, np.zeros(len(coef))
        return coef, x[-1] - coef @ self.center


def forward(X, coefs, intercepts):
    """Return the outputs of a network with ReLU units, layer by layer."""
    last = len(coefs) - 1
    for k, (W, b) in enumerate(zip(coefs, intercepts, strict=True)):
        X = X @ W + b
        if k < last:
            X = np.maximum(X, 0)
    return X


class BaseTargetSurrogate(DocumentedEstimator, metaclass=ABCMeta):
    """Base of the estimators; a subclass encodes y and makes the loss."""

    _parameter_constraints: dict = {
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "eta": [
            StrOptions({"auto", "armijo", "adaptive"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "eta_schedule": [StrOptions({"auto", "constant", "stochastic", "exponential"})],
        "metric": [StrOptions({"auto", "euclidean", "secant"})],
        "n_inner": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "inner_solver": [StrOptions({"auto", "exact", "armijo", "lbfgs", "adam"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @abstractmethod
    def _make_loss(self, y, weight):
        """Return the loss of encoded targets; weights are None or have mean one."""

    def _hidden(self):
        sizes = self.hidden_layer_sizes
        sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
        for size in sizes:
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(
                    "hidden_layer_sizes must be empty or hold integers >= 1, got "
                    f"{self.hidden_layer_sizes!r}."
                )
        if sizes and self.inner_solver == "exact":
            raise ValueError(
                "inner_solver='exact' needs a linear model: hidden_layer_sizes must be "
                f"empty, got {self.hidden_layer_sizes!r}."
            )
        return sizes

    def _tol(self, loss):
        """Return the tolerance in the unit of the loss."""
        return self.tol

    def _fit(self, X, loss, n_outputs, weight):
        """Learn from all rows; ``n_outputs`` is None for z of one dimension."""
        schedule = self.eta_schedule
        if schedule == "auto":
            schedule = "constant" if self.batch_size is None else "stochastic"
        eta = self.eta
        if eta == "auto" and self.batch_size is None:
            eta = "adaptive"
        result = self._minimize(
            X,
            loss,
            n_outputs,
            weight,
            go_on=self.warm_start,
            eta=eta,
            eta_schedule=schedule,
            secant=self._learns_curvature(eta, n_outputs),
            inner=self.inner_solver,
            max_iter=self.max_iter,
            tol=self._tol(loss),
            batch_size=self.batch_size,
        )
        self._record(result)
        if not result.success:
            warn(
                f"The budget of max_iter={self.max_iter} evaluations of the loss is "
                f"used, with a gradient of {result.grad_path[-1]:.1e}: raise max_iter "
                f"or tol={self.tol:g}, or set alpha={self.alpha:g} higher.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _learns_curvature(self, eta, n_outputs):
        """Return whether the row weights come from the last step."""
        if self.metric != "auto":
            return self.metric == "secant"
        # the targets of a softmax are coupled, which a secant does not see
        exact = not self._hidden() and self.inner_solver in ("auto", "exact")
        single = n_outputs is None and self.batch_size is None
        return exact and single and eta == "adaptive"

    def _partial_fit(self, X, loss, n_outputs, weight):
        """Take one outer step on a batch."""
        step = getattr(self, "n_iter_", 0) + 1
        schedule = "stochastic" if self.eta_schedule == "auto" else self.eta_schedule
        factor = {
            "constant": 1.0,
            "stochastic": step**-0.5,
            "exponential": self.max_iter ** (-step / self.max_iter),
        }[schedule]
        eta, smoothness = self.eta, getattr(loss, "smoothness", None)
        if eta in ("auto", "adaptive") and smoothness is not None:
            eta = 1 / smoothness
        result = self._minimize(
            X,
            loss,
            n_outputs,
            weight,
            go_on=True,
            center=False,
            eta="armijo" if isinstance(eta, str) else float(eta * factor),
            inner="armijo" if self.inner_solver == "auto" else self.inner_solver,
            max_iter=1,
            tol=0.0,
        )
        self._record(result, after=getattr(self, "history_", []))

    def _minimize(
        self, X, loss, n_outputs, weight, go_on, center=True, secant=False, **options
    ):
        """Minimise the loss, from zero or from what was learnt, and store the model."""
        options["n_inner"] = N_INNER if self.n_inner == "auto" else self.n_inner
        options["random_state"] = seed = self._seed()
        if secant:
            options["metric"] = "secant"
        elif options.get("batch_size") is None:
            h = loss.metric(slice(None))  # the same in every step: factored once
            options["metric"] = "euclidean" if h is None else h
        else:
            options["metric"] = lambda z, g, rows: loss.metric(rows)
        if self.verbose:
            options["callback"] = self._report
        hidden = self._hidden()
        for name in ("coef_", "intercept_") if hidden else ("coefs_", "intercepts_"):
            vars(self).pop(name, None)  # what another kind of model has left
        if hidden:
            return self._minimize_network(X, loss, n_outputs, seed, go_on, options)
        design = LinearDesign(X, weight, self.fit_intercept, center)
        return self._minimize_linear(design, X.dtype, loss, n_outputs, go_on, options)

    def _minimize_linear(self, design, dtype, loss, n_outputs, go_on, options):
        d = design.matrix.shape[1]
        x0 = np.zeros((d, n_outputs or 1))
        if go_on and hasattr(self, "coef_"):
            coef = np.reshape(self.coef_, (-1, design.n_features))
            if len(coef) != (n_outputs or 1):
                raise ValueError(
                    f"warm_start: y has {n_outputs or 1} outputs and had {len(coef)}."
                )
            x0 = design.pack(coef, np.reshape(self.intercept_, -1))
        l2, tol = np.full(d, float(self.alpha)), options["tol"] * design.spread
        l2[design.n_features :] = 0
        if n_outputs is None:
            x0 = x0[:, 0]
        else:
            tol = tol[:, None]
        options["tol"] = tol
        result = minimize_target_surrogate(design.matrix, loss, x0, l2=l2, **options)
        coef, intercept = design.unpack(result.x.reshape(d, -1))
        self._store_linear(coef.astype(dtype), intercept.astype(dtype))
        return result

    def _minimize_network(self, X, loss, n_outputs, seed, go_on, options):
        sizes = self._hidden()
        module = make_mlp(X.shape[1], sizes, n_outputs or 1, dtype=X.dtype, seed=seed)
        layers = [layer for layer in module if hasattr(layer, "weight")]
        if go_on and hasattr(self, "coefs_"):
            for layer, W, b in zip(layers, self.coefs_, self.intercepts_, strict=True):
                layer.weight.data.copy_(layer.weight.new_tensor(W.T))
                layer.bias.data.copy_(layer.bias.new_tensor(b))
        is_weight = [np.full(p.numel(), float(p.ndim == 2)) for p in trained(module)]
        l2 = self.alpha * np.concatenate(is_weight)
        result = minimize_target_surrogate(X, loss, model=module, l2=l2, **options)
        self.coefs_ = [layer.weight.detach().numpy().T.copy() for layer in layers]
        self.intercepts_ = [layer.bias.detach().numpy().copy() for layer in layers]
        return result

    def _record(self, result, after=()):
        etas = [*result.eta_path, np.nan][: len(result.fun_path)]
        history = [
            {"loss": float(value), "gradient": float(size), "eta": float(eta)}
            for value, size, eta in zip(
                result.fun_path, result.grad_path, etas, strict=True
            )
        ]
        calls = int(result.n_oracle_calls), int(result.n_value_calls)
        if after:
            calls = calls[0] + self.n_oracle_calls_, calls[1] + self.n_value_calls_
        self.history_ = [*after, *history]
        self.objective_ = float(result.fun)
        self.n_iter_ = len(self.history_)
        self.n_oracle_calls_, self.n_value_calls_ = calls
        self.eta_rule_ = result.message.partition(". ")[2]

    @abstractmethod
    def _store_linear(self, coef, intercept):
        """Store coefficients (p, d) and intercepts (p,) in the shapes of the class."""

    def _report(self, intermediate_result):
        print(
            f"[{type(self).__name__}] call {intermediate_result.n_oracle_calls}: "
            f"loss {intermediate_result.fun:.6g}"
        )

    def _seed(self):
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _read(self, X, y, reset, **options):
        """Return the validated table and targets."""
        sparse = False if self._hidden() else "csr"
        return validate_data(
            self,
            X,
            y,
            reset=reset,
            dtype=list(FLOATS),
            accept_sparse=sparse,
            **options,
        )

    def _raw(self, X):
        """Return predictions z of validated rows, (n, p)."""
        check_is_fitted(self)
        sparse = False if hasattr(self, "coefs_") else "csr"
        X = validate_data(
            self, X, reset=False, dtype=list(FLOATS), accept_sparse=sparse
        )
        return self._outputs(X)

    def _outputs(self, X):
        if hasattr(self, "coefs_"):
            kind = self.coefs_[0].dtype
            return forward(X.astype(kind, copy=False), self.coefs_, self.intercepts_)
        coef = np.reshape(self.coef_, (-1, self.n_features_in_))
        return X @ coef.T + np.asarray(self.intercept_, dtype=coef.dtype)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        sizes = self.hidden_layer_sizes
        tags.input_tags.sparse = not isinstance(sizes, Integral) and len(sizes) == 0
        return tags
