# SPDX-License-Identifier: BSD-3-Clause
"""Two groups made alike, and the effect of what sets them apart."""

from warnings import warn

import numpy as np
from scipy.special import ndtri
from sklearn.utils import Bunch, ClassifierTags, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from skpapers.causal._balancing._weights import (
    MAX_ITER,
    MOMENTS,
    TOL,
    Moments,
    balanced,
)
from skpapers.utils import DataConditionWarning
from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._optional import import_optional
from skpapers.utils._sklearn import (
    StrOptions,
    check_sample_weight,
    fit_context,
)


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
            w, self.multipliers_[k], _, n_iter = balanced(
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
