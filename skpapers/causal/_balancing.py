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
from scipy.special import logsumexp, ndtri
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch, ClassifierTags, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from skpapers.solvers import gns_minimize
from skpapers.utils import DataConditionWarning
from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._optional import import_optional
from skpapers.utils._sklearn import (
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
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


def _balanced(H, target, base, names, group, tol, max_iter):
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
    w[kept], *_ = _balanced(H, tau, base, build.names, "the rows of X", tol, max_iter)
    return w


class EntropyBalancing(DocumentedEstimator):
    r"""Weights that give a treated and an untreated group the same covariates.

    The rows of a group are weighed so that the means of all covariates (and their
    squares, cubes and products, if asked for) equal those of the population that the
    question is about, with weights as close to equal as possible. A difference of
    weighted outcomes then estimates the effect of the treatment, **provided that all
    common causes of treatment and outcome are among the covariates** and that each kind
    of row occurs in both groups. Unlike propensity weights, the balance is exact and
    nothing has to be tuned.

    Parameters
    ----------
    estimand : {"ATE", "ATT", "ATC"}, default="ATE"
        For whom the effect is asked: for all rows, for the treated, or for the
        untreated ("controls").
    treated : label, default=None
        The label of the treated rows; None takes the label that sorts last (True, 1).
    moments : {1, 2, 3}, default=1
        Balance means, also squares, also cubes. Columns with two values have none but
        the mean.
    interactions : bool, default=False
        Whether to balance the products of two columns as well.
    tol : float, default=1e-8
        Largest deviation of a moment that counts as balanced, in standard deviations.
    max_iter : int, default=200
        Most Newton steps a group.

    Attributes
    ----------
    weights_ : ndarray of shape (n_samples,)
        Weight of each row of `fit`; in each group they sum to the number of its rows
        (or to their sample weights).
    balance_ : dict of str to list or ndarray
        A table with one entry a moment: "moment" (names), "target" (mean of the
        moment where it is to be), "difference_before" and "difference_after"
        (standardised difference treated minus untreated). Moments are standardised by
        all rows; the differences are divided by the standard deviation of the treated
        (ATT), of the untreated (ATC) or the root mean square of both (ATE).
    effective_sample_size_ : ndarray of shape (2,)
        (Σw)² / Σw² of the untreated and of the treated: how many equally weighted rows
        would tell as much.
    multipliers_ : ndarray of shape (2, n_moments)
        Dual variables θ of the untreated and of the treated: their weights are
        proportional to exp(θᵀh); 0 for a group that keeps its weights.
    classes_ : ndarray of shape (2,)
        Labels of the untreated and of the treated.
    n_iter_ : int
        Newton steps, of both groups together.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these columns, if they have any that are all strings.

    See Also
    --------
    balance_weights : Weights for one group and any target.
    BalanceDisplay : Picture of the balance before and after.

    Notes
    -----
    A Newton step costs O(n m²) for m moments.

    References
    ----------
    J. Hainmueller, "Entropy balancing for causal effects: a multivariate reweighting
    method to produce balanced samples in observational studies", Political Analysis 20
    (2012) 25-46.

    Examples
    --------
    Older people take the drug more often, and recover less; the drug helps by 1.

    >>> import numpy as np
    >>> from skpapers.causal import EntropyBalancing
    >>> rng = np.random.default_rng(0)
    >>> age = rng.normal(50, 10, size=(2000, 1))
    >>> drug = rng.random(2000) < 1 / (1 + np.exp(-(age[:, 0] - 50) / 10))
    >>> recovery = drug - 0.1 * age[:, 0] + rng.standard_normal(2000)
    >>> round(float(recovery[drug].mean() - recovery[~drug].mean()), 2)
    0.25
    >>> balancing = EntropyBalancing().fit(age, drug)
    >>> effect = balancing.estimate_effect(age, drug, recovery)
    >>> round(effect.effect, 2), round(effect.standard_error, 2)
    (1.06, 0.05)
    """

    _parameter_constraints = {
        "estimand": [StrOptions({"ATE", "ATT", "ATC"})],
        "treated": "no_validation",
        "moments": MOMENTS,
        "interactions": ["boolean"],
        "tol": TOL,
        "max_iter": MAX_ITER,
    }

    def __init__(
        self,
        estimand="ATE",
        *,
        treated=None,
        moments=1,
        interactions=False,
        tol=1e-8,
        max_iter=200,
    ):
        self.estimand = estimand
        self.treated = treated
        self.moments = moments
        self.interactions = interactions
        self.tol = tol
        self.max_iter = max_iter

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Weigh the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Covariates: common causes of treatment and outcome, none of them an effect
            of the treatment. Numeric and finite; encode categories as columns of zeros
            and ones.
        y : array-like of shape (n_samples,)
            The treatment: two labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Base weights, non-negative; a weight of two counts as a row that stands
            twice.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X is not numeric and finite, if y has not two labels, or if ``treated``
            is none of them.

        Warns
        -----
        ConvergenceWarning
            If a group cannot be balanced; the message names the moments that clash.
        DataConditionWarning
            If a column is constant: it is balanced already and left out.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        self.classes_ = self._labels(y)
        weight = check_sample_weight(sample_weight, X)
        H, names = self._moments(X, weight, warned=True)
        groups = [(y == label) & (weight > 0) for label in self.classes_]
        for label, rows in zip(self.classes_, groups, strict=True):
            if not rows.any():
                raise ValueError(f"No row with label {label!r} has a positive weight.")
        population = self._population(groups)
        tau = np.average(H[population], axis=0, weights=weight[population])

        self.weights_ = np.where(weight > 0, weight, 0.0)
        self.multipliers_ = np.zeros((2, len(names)))
        self.n_iter_ = 1
        for k, (rows, role) in enumerate(zip(groups, self._roles(), strict=True)):
            if role is None:  # this group is the population in question
                continue
            total = weight[rows].sum()
            w, self.multipliers_[k], _, n_iter = _balanced(
                H[rows], tau, weight[rows] / total, names, role, self.tol, self.max_iter
            )
            self.weights_[rows] = total * w
            self.n_iter_ = max(self.n_iter_, 1) + n_iter
        self.effective_sample_size_ = np.array(
            [
                self.weights_[rows].sum() ** 2 / (self.weights_[rows] ** 2).sum()
                for rows in groups
            ]
        )
        self.balance_ = self._balance(H, names, tau, weight, groups)
        return self

    def _labels(self, y):
        """Return the labels of the untreated and of the treated."""
        check_classification_targets(y)
        labels = np.unique(y)
        if len(labels) != 2:
            raise ValueError(
                f"y must hold two labels, treated and untreated, got {len(labels)} "
                f"class{'' if len(labels) == 1 else 'es'}."
            )
        if self.treated is None or self.treated == labels[1]:
            return labels
        if self.treated == labels[0]:
            return labels[::-1].copy()
        raise ValueError(
            f"treated={self.treated!r} is not among the labels of y, "
            f"{labels[0]!r} and {labels[1]!r}."
        )

    def _moments(self, X, weight, warned=False):
        kept = weight > 0
        names = getattr(self, "feature_names_in_", None)
        names = [f"x{j}" for j in range(X.shape[1])] if names is None else list(names)
        build = Moments(X[kept], weight[kept], self.moments, self.interactions, names)
        if warned and len(build.columns) < X.shape[1]:
            constant = np.setdiff1d(np.arange(X.shape[1]), build.columns)
            warn(
                f"Constant column(s) {', '.join(names[j] for j in constant)}: they are "
                "balanced already and left out.",
                DataConditionWarning,
                stacklevel=2,
            )
        return build(X), build.names

    def _population(self, groups):
        """Return the rows for which the effect is asked."""
        if self.estimand == "ATE":
            return groups[0] | groups[1]
        return groups[1] if self.estimand == "ATT" else groups[0]

    def _roles(self):
        """Return how messages call the untreated and the treated; None: not weighed."""
        return (
            None if self.estimand == "ATC" else "the untreated rows",
            None if self.estimand == "ATT" else "the treated rows",
        )

    def _balance(self, H, names, tau, weight, groups):
        """Return the table of the balance before and after."""

        def mean(rows, w):
            return np.average(H[rows], axis=0, weights=w[rows])

        variances = [
            np.average(
                (H[rows] - mean(rows, weight)) ** 2, axis=0, weights=weight[rows]
            )
            for rows in groups
        ]
        chosen = {"ATE": sum(variances) / 2, "ATT": variances[1], "ATC": variances[0]}
        scale = np.sqrt(chosen[self.estimand])
        scale[scale == 0] = 1.0
        before, after = (
            (mean(groups[1], w) - mean(groups[0], w)) / scale
            for w in (weight, self.weights_)
        )
        return {
            "moment": list(names),
            "target": tau,
            "difference_before": before,
            "difference_after": after,
        }

    def balance_frame(self):
        """Return the balance before and after as a data frame.

        Returns
        -------
        pandas.DataFrame
            One row a moment, with the columns of ``balance_``.
        """
        check_is_fitted(self)
        pandas = import_optional(
            "pandas", extra="frames", needed_by="EntropyBalancing.balance_frame"
        )
        return pandas.DataFrame(self.balance_).set_index("moment")

    def estimate_effect(self, X, y, outcome, *, sample_weight=None, level=0.95):
        """Estimate the effect of the treatment on an outcome.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The covariates of `fit`.
        y : array-like of shape (n_samples,)
            The treatment of `fit`.
        outcome : array-like of shape (n_samples,)
            The outcome, measured after the treatment.
        sample_weight : array-like of shape (n_samples,), default=None
            The weights of `fit`.
        level : float, default=0.95
            Probability that the interval is to hold the effect.

        Returns
        -------
        Bunch
            ``effect``: weighted mean of the treated minus that of the untreated, in
            units of the outcome; ``standard_error``, which knows that the weights are
            estimated; ``interval``: pair of floats, from the normal approximation;
            ``means``: ndarray of the weighted means of the untreated and the treated.

        Raises
        ------
        ValueError
            If the rows are not those of `fit`, or ``level`` is not between 0 and 1.
        """
        check_is_fitted(self)
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level!r}.")
        X, y = validate_data(self, X, y, dtype=np.float64, reset=False)
        outcome = column_or_1d(
            check_array(
                outcome, ensure_2d=False, dtype=np.float64, input_name="outcome"
            )
        )
        check_consistent_length(X, outcome)
        if len(X) != len(self.weights_):
            raise ValueError(
                f"X has {len(X)} rows, the fit had {len(self.weights_)}: the weights "
                "belong to the rows of the fit."
            )
        weight = check_sample_weight(sample_weight, X)
        H, _ = self._moments(X, weight)
        groups = [(y == label) & (weight > 0) for label in self.classes_]
        population = self._population(groups)
        share = np.where(population, weight, 0.0) / weight[population].sum()
        tau = share @ H
        means, influence = np.zeros(2), np.zeros((2, len(X)))
        for k, (rows, role) in enumerate(zip(groups, self._roles(), strict=True)):
            w = np.where(rows, self.weights_, 0.0) / self.weights_[rows].sum()
            means[k] = w @ outcome
            influence[k] = w * (outcome - means[k])
            if role is not None:
                beta = _weighted_slope(H[rows], outcome[rows], w[rows])
                influence[k] += (share - w) * ((H - tau) @ beta)
        effect = float(means[1] - means[0])
        error = float(np.linalg.norm(influence[1] - influence[0]))
        half = float(ndtri((1 + level) / 2)) * error
        return Bunch(
            effect=effect,
            standard_error=error,
            interval=(effect - half, effect + half),
            means=means,
        )

    def __sklearn_tags__(self):
        """Return the tags: a treatment of two labels is required."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags


def _weighted_slope(H, y, w):
    """Return the slope of the weighted least squares fit of y on H with intercept."""
    root = np.sqrt(w)[:, None]
    centred = root * (H - w @ H), root[:, 0] * (y - w @ y)
    return np.linalg.lstsq(*centred, rcond=None)[0]
