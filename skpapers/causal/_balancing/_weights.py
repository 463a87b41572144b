# SPDX-License-Identifier: BSD-3-Clause
r"""Weights that make groups alike: entropy balancing.

Of all weights whose weighted moments hit a target, entropy balancing [1]_ takes those
that are closest to the base weights q,

.. math::
    \min_w \sum_i w_i \log(w_i / q_i) \quad\text{subject to}\quad
    \sum_i w_i h_i = \tau, \ \sum_i w_i = 1 .

h_i are the moments of row i, m of them, and τ their target. The dual has m unknowns
whatever the number of rows: with g(θ) = log Σ q_i exp(θᵀ(h_i - τ)) the minimiser θ of g
gives w_i ∝ q_i exp(θᵀ(h_i - τ)); the gradient of g is the imbalance that is left and
its Hessian the weighted covariance of the moments. g has no minimiser if and only if τ
is not inside the convex hull of the h_i.

For the standard error of a weighted mean μ = Σ w_i y_i let β be the weighted least
squares slope of y on h. To first order the mean moves by
Σ w_i (y_i - μ - βᵀ(h_i - τ)), in which the correction for balance is contained, plus
βᵀ(τ̂ - τ) where the target is itself a mean of rows [2]_.

References
----------
.. [1] J. Hainmueller, "Entropy balancing for causal effects: a multivariate reweighting
   method to produce balanced samples in observational studies", Political Analysis 20
   (2012) 25-46.
.. [2] Q. Zhao, D. Percival, "Entropy balancing is doubly robust", Journal of Causal
   Inference 5 (2017).
"""

from itertools import combinations
from numbers import Integral, Real
from warnings import catch_warnings, simplefilter, warn

import numpy as np
from scipy.optimize import OptimizeWarning, linprog
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from skpapers.solvers import gns_minimize
from skpapers.utils._sklearn import (
    Interval,
    check_sample_weight,
    get_feature_names,
    validate_params,
)

MOMENTS = [Interval(Integral, 1, 3, closed="both")]
TOL = [Interval(Real, 0, None, closed="neither")]
MAX_ITER = [Interval(Integral, 1, None, closed="left")]


class Moments:
    """Map from columns to the moments that are to be balanced.

    Columns are standardised by the rows they are built from; then come their powers
    (of columns with more than two values) and their products.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        The rows.
    weight : ndarray of shape (n,)
        Their weights.
    degree : int
        Highest power.
    interactions : bool
        Whether products of two columns are moments as well.
    names : list of str
        Names of the columns.
    """

    def __init__(self, X, weight, degree, interactions, names):
        self.mean = np.average(X, axis=0, weights=weight)
        self.scale = np.sqrt(np.average((X - self.mean) ** 2, axis=0, weights=weight))
        tiny = 1e-12 * np.abs(self.mean)
        self.columns = np.flatnonzero(self.scale > tiny)
        many = [j for j in self.columns if not _is_binary(X[:, j])]
        self.powers = [(j, power) for power in range(2, degree + 1) for j in many]
        self.products = list(combinations(self.columns, 2)) if interactions else []
        self.names = [
            *(names[j] for j in self.columns),
            *(f"{names[j]}^{power}" for j, power in self.powers),
            *(f"{names[i]} {names[j]}" for i, j in self.products),
        ]

    def __call__(self, X):
        """Return the moments of rows, of shape (n, m)."""
        Z = (X - self.mean) / np.where(self.scale > 0, self.scale, 1.0)
        H = np.empty((len(X), len(self.names)))
        H[:, : len(self.columns)] = Z[:, self.columns]
        parts = [Z[:, j] ** power for j, power in self.powers]
        parts += [Z[:, i] * Z[:, j] for i, j in self.products]
        for k, part in enumerate(parts, start=len(self.columns)):
            H[:, k] = part
        return H


def _is_binary(column):
    other = column[column != column[0]]
    return len(other) == 0 or bool((other == other[0]).all())


def entropy_weights(H, target, base, tol, max_iter):
    """Return the weights closest to ``base`` whose moments hit the target.

    Parameters
    ----------
    H : ndarray of shape (n, m)
        Moments h_i.
    target : ndarray of shape (m,)
        τ.
    base : ndarray of shape (n,)
        q, positive, with sum one.
    tol : float
        Largest imbalance, in standard deviations of the moment.
    max_iter : int
        Most Newton steps.

    Returns
    -------
    w : ndarray of shape (n,)
        Weights with sum one.
    theta : ndarray of shape (m,)
        Dual variables: w is proportional to q exp(H θ).
    imbalance : float
        Largest deviation left, in standard deviations.
    n_iter : int
        Newton steps.
    """
    mean = base @ H
    scale = np.sqrt(base @ (H - mean) ** 2)
    scale[scale <= 1e-10] = 1.0  # constant in this group: in units of all rows
    Z = (H - target) / scale
    log_base = np.log(base)
    last = {}

    def dual(theta):
        if "theta" not in last or not np.array_equal(last["theta"], theta):
            logits = log_base + Z @ theta
            value = logsumexp(logits)
            last.update(theta=theta.copy(), value=value, w=np.exp(logits - value))
        return last["value"]

    def gradient(theta):
        dual(theta)
        return last["w"] @ Z

    def hessian(theta):
        g = gradient(theta)
        root = np.sqrt(last["w"])[:, None] * Z
        return root.T @ root - np.outer(g, g)

    with catch_warnings():  # what matters is the imbalance, and the caller looks at it
        simplefilter("ignore", OptimizeWarning)
        found = gns_minimize(
            dual,
            np.zeros(H.shape[1]),
            jac=gradient,
            hess_approx=hessian,
            gamma0=10.0,
            gtol=tol,
            max_iter=max_iter,
        )
    g = gradient(found.x)
    w = last["w"]
    return w, found.x / scale, float(np.abs(g).max(initial=0.0)), int(found.nit)


def _out_of_reach(H, target, names):
    """Return the names of moments that no weights of these rows can hit together.

    Minimises the sum of the deviations by linear programming.
    """
    n, m = H.shape
    scale = np.maximum(np.abs(H - target).max(axis=0), np.finfo(float).tiny)
    Z = (H - target) / scale
    slack = np.eye(m)
    answer = linprog(
        np.r_[np.zeros(n), np.ones(2 * m)],
        A_eq=np.block([[Z.T, slack, -slack], [np.ones(n), np.zeros(2 * m)]]),
        b_eq=np.r_[np.zeros(m), 1.0],
    )
    missed = answer.x[n : n + m] + answer.x[n + m :]
    return [names[j] for j in np.flatnonzero(missed > 1e-9)]


def balanced(H, target, base, names, group, tol, max_iter):
    """Return weights as `entropy_weights` does; warn if the target is not hit."""
    w, theta, imbalance, n_iter = entropy_weights(H, target, base, tol, max_iter)
    if not imbalance <= tol:
        clashing = _out_of_reach(H, target, names)
        if clashing:
            reason = (
                "no weights can reach the target of "
                + ", ".join(clashing)
                + " together with the others: it lies outside the convex hull of "
                f"{group}. Balance fewer moments, or leave out the rows that have no "
                "counterpart."
            )
        else:
            reason = (
                f"stopped after max_iter={max_iter} steps; the target may lie at the "
                f"edge of the convex hull of {group}. Raise max_iter or tol, or "
                "balance fewer moments."
            )
        warn(
            f"Entropy balancing left an imbalance of {imbalance:.2g} standard "
            f"deviations (tol={tol:g}): {reason}",
            ConvergenceWarning,
            stacklevel=4,
        )
    return w, theta, imbalance, n_iter


@validate_params(
    {
        "X": ["array-like"],
        "target": ["array-like"],
        "base_weights": ["array-like", None],
        "moments": MOMENTS,
        "interactions": ["boolean"],
        "tol": TOL,
        "max_iter": MAX_ITER,
    },
    prefer_skip_nested_validation=True,
)
def balance_weights(
    X,
    target,
    base_weights=None,
    *,
    moments=1,
    interactions=False,
    tol=1e-8,
    max_iter=200,
):
    """Weigh rows so that their moments hit a target, as close to equal as possible.

    Uses are the balance of a treated and an untreated group (see `EntropyBalancing`),
    survey weights that meet known totals, and weights that carry a study over to
    another population.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The rows to weigh; numeric and finite.
    target : array-like of shape (n_features,) or (n_target, n_features)
        Means that the columns are to have, or the rows of the population that the
        weighted rows are to resemble. More than means can only be balanced with rows.
    base_weights : array-like of shape (n_samples,), default=None
        Non-negative weights to stay close to; None stands for equal weights.
    moments : {1, 2, 3}, default=1
        Balance means, also squares, also cubes. Columns with two values have none but
        the mean.
    interactions : bool, default=False
        Whether to balance the products of two columns as well.
    tol : float, default=1e-8
        Largest deviation of a moment, in standard deviations of the base weights.
    max_iter : int, default=200
        Most Newton steps.

    Returns
    -------
    ndarray of shape (n_samples,)
        Non-negative weights with sum one.

    Raises
    ------
    ValueError
        If a table is not numeric and finite, if ``target`` does not fit X, or if it
        holds means only where ``moments`` or ``interactions`` ask for more.

    Warns
    -----
    ConvergenceWarning
        If the target cannot be reached; the message names the moments that clash.

    See Also
    --------
    EntropyBalancing : Balance of two groups, with tables and effects.

    Notes
    -----
    A Newton step costs O(n m²) for m moments; ten steps are usual.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.causal import balance_weights
    >>> ages = np.array([[20.0], [30.0], [40.0], [50.0]])
    >>> w = balance_weights(ages, [40.0])
    >>> w.round(3), round(float(w @ ages[:, 0]), 6)
    (array([0.12 , 0.182, 0.277, 0.421]), 40.0)
    """
    names = get_feature_names(X)
    X = check_array(X, dtype=np.float64, input_name="X")
    target = check_array(target, dtype=np.float64, ensure_2d=False, input_name="target")
    if target.ndim > 2 or target.shape[-1] != X.shape[1]:
        raise ValueError(
            f"target has shape {target.shape}; X has {X.shape[1]} column(s), so it "
            f"must be {X.shape[1]} means or rows of {X.shape[1]} columns."
        )
    if target.ndim == 1 and (moments > 1 or interactions):
        raise ValueError(
            "target holds means alone; with moments > 1 or interactions=True it must "
            "be the rows of the target population."
        )
    weight = check_sample_weight(base_weights, X)
    kept = weight > 0
    names = [f"x{j}" for j in range(X.shape[1])] if names is None else list(names)
    build = Moments(X[kept], weight[kept], moments, interactions, names)
    constant = np.setdiff1d(np.arange(X.shape[1]), build.columns)
    reached = np.atleast_2d(target)[:, constant].mean(axis=0)
    off = constant[~np.isclose(reached, X[kept][0, constant], rtol=1e-9, atol=1e-12)]
    if len(off):
        raise ValueError(
            f"Column(s) {', '.join(names[j] for j in off)} of X are constant at "
            "another value than the target: no weights can change them."
        )
    H, tau = build(X[kept]), build(np.atleast_2d(target)).mean(axis=0)
    base = weight[kept] / weight.sum()
    w = np.zeros(len(X))
    w[kept], *_ = balanced(H, tau, base, build.names, "the rows of X", tol, max_iter)
    return w
