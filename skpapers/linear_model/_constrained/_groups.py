# SPDX-License-Identifier: BSD-3-Clause
r"""Constraints on a linear model that speak of groups of rows.

Every one of them is an equality of weighted means of a smooth function m of the
predictions,

.. math:: c_r(w) = \sum_i a_{ri} \, m_k(\eta_i(w)) - t_r = 0,

with row weights a that are fixed by the groups and the labels. With m the linear
predictor itself the constraint is linear in the coefficients; with m the predicted mean
(a probability, an expected count) it is not.

Second derivatives of a softmax p, with P_k = v_k a_k p_k for multipliers v:

.. math::
    \frac{\partial^2}{\partial \eta_m \partial \eta_l} \sum_k v_k a_k p_k
    = \delta_{ml} (P_m - s p_m) - P_m p_l - p_m P_l + 2 s p_m p_l, \quad
    s = \sum_k P_k .
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import LinearConstraint, NonlinearConstraint

# What is averaged over a group: which rows count, and which mean must be equal.
NAMED = ("parity", "equal_opportunity", "equalized_odds", "calibration")
MEASURES = ("decision", "probability", "rate")


@dataclass
class GroupMeans:
    """Equal means over groups: rows of a, the output each is about, and targets t.

    Attributes
    ----------
    a : ndarray of shape (R, n)
        Weights of the rows.
    output : ndarray of shape (R,), dtype int64
        Index k of the output; 0 where there is but one.
    target : ndarray of shape (R,)
        t.
    labels : list of str
        What each constraint says.
    """

    a: np.ndarray
    output: np.ndarray
    target: np.ndarray
    labels: list


def stacked(parts):
    """Return several `GroupMeans` as one."""
    parts = list(parts)
    return GroupMeans(
        np.concatenate([part.a for part in parts]),
        np.concatenate([part.output for part in parts]),
        np.concatenate([part.target for part in parts]),
        [label for part in parts for label in part.labels],
    )


def group_contrasts(groups, rows, weight):
    """Return weights whose products with values are differences of group means.

    Parameters
    ----------
    groups : list of (str, bool ndarray of shape (n,))
        Names and members; the first is the one that the others are compared with.
    rows : bool ndarray of shape (n,)
        The rows that count.
    weight : ndarray of shape (n,)
        Sample weights.

    Returns
    -------
    list of (str, ndarray of shape (n,))
        One contrast for each group but the first.

    Raises
    ------
    ValueError
        If a group has no row that counts.
    """
    shares = []
    for name, members in groups:
        part = np.where(members & rows, weight, 0.0)
        if part.sum() <= 0:
            raise ValueError(
                f"Group {name} has no row with a positive weight that this constraint "
                "could speak of."
            )
        shares.append(part / part.sum())
    reference = groups[0][0]
    return [
        (f"{name} = {reference}", share - shares[0])
        for (name, _), share in zip(groups[1:], shares[1:], strict=True)
    ]


def groups_of(sensitive, names, weight):
    """Return the groups of each sensitive feature, the heaviest first.

    Parameters
    ----------
    sensitive : ndarray of shape (n,) or (n, s)
        Labels.
    names : list of str
        Names of the features.
    weight : ndarray of shape (n,)
        Sample weights.

    Returns
    -------
    list of list of (str, bool ndarray of shape (n,))
        For each feature its groups.

    Raises
    ------
    ValueError
        If a feature has one group only.
    """
    columns = sensitive[:, None] if sensitive.ndim == 1 else sensitive
    features = []
    for name, column in zip(names, columns.T, strict=True):
        column = column if column.dtype.kind in "biuf" else column.astype(str)
        values = np.unique(column)
        if len(values) < 2:
            raise ValueError(
                f"{name} has one group only, '{values[0]}'; a constraint compares two "
                "or more."
            )
        if len(values) > np.sqrt(len(column)) + 10:
            raise ValueError(
                f"{name} has {len(values)} groups in {len(column)} rows: give classes, "
                "for example the result of pandas.cut, not a measured number."
            )
        members = [(f"{name}={value}", column == value) for value in values]
        features.append(sorted(members, key=lambda g: -weight[g[1]].sum()))
    return features


def named_means(name, features, y, weight, n_outputs):
    """Return the `GroupMeans` of a named constraint.

    Parameters
    ----------
    name : str
        One of `NAMED`.
    features : list of list of (str, bool ndarray of shape (n,))
        Groups of each sensitive feature.
    y : ndarray of shape (n,)
        Targets, or codes of the classes.
    weight : ndarray of shape (n,)
        Sample weights.
    n_outputs : int
        1 for two classes and for targets that are numbers, else the number K of
        classes; the last of them follows from the others.

    Returns
    -------
    GroupMeans
        The constraints.
    """
    rows, outputs, targets, labels = [], [], [], []

    def add(row, k, target, label):
        rows.append(row)
        outputs.append(k)
        targets.append(target)
        labels.append(label)

    everyone = np.ones(len(y), dtype=bool)
    for k in range(max(n_outputs - 1, 1)):
        own = y if n_outputs == 1 else y == k
        suffix = "" if n_outputs == 1 else f", class {k}"
        for groups in features:
            if name == "calibration":
                for label, members in groups:
                    part = np.where(members, weight, 0.0)
                    part = part / part.sum()
                    add(part, k, part @ own, f"calibration, {label}{suffix}")
                continue
            counted = {
                "parity": [("", everyone)],
                "equal_opportunity": [(" among positives", own == 1)],
                "equalized_odds": [
                    (" among positives", own == 1),
                    (" among negatives", own == 0),
                ],
            }[name]
            for among, counts in counted:
                for label, row in group_contrasts(groups, counts, weight):
                    add(row, k, 0.0, f"{label}{among}{suffix}")
    return GroupMeans(
        np.array(rows), np.array(outputs, dtype=np.int64), np.array(targets), labels
    )


class SmoothMeans:
    """Group means of what the model predicts, with derivatives.

    Parameters
    ----------
    objective : GLMObjective
        Model; its points hold the linear predictors.
    means : GroupMeans
        The constraints.
    """

    def __init__(self, objective, means):
        self.objective = objective
        self.means = means

    def value(self, w):
        """Return c, of shape (R,)."""
        predicted = np.atleast_2d(self.objective.at(w).mean)
        a, k = self.means.a, self.means.output
        return np.einsum("ri,ri->r", a, predicted[k]) - self.means.target

    def jacobian(self, w):
        """Return the Jacobian, of shape (R, n_params)."""
        point, design = self.objective.at(w), self.objective.design
        if len(self.objective.shape) == 1:
            return design.rdot(self.means.a * self._derivatives(point)[0])
        p, out = point.mean, []
        for a, k in zip(self.means.a, self.means.output, strict=True):
            own = a * p[k]
            slope = -own * p
            slope[k] += own
            out.append(design.rdot(slope).ravel())
        return np.array(out)

    def hessian(self, w, v):
        """Return the Hessian of v·c, of shape (n_params, n_params)."""
        point, objective = self.objective.at(w), self.objective
        pushed = np.zeros((objective.n_outputs, self.means.a.shape[1]))
        np.add.at(pushed, self.means.output, np.asarray(v)[:, None] * self.means.a)
        if len(objective.shape) == 1:
            return objective.design.gram(pushed[0] * self._derivatives(point)[1])
        p = point.mean
        P = pushed * p
        s = P.sum(axis=0)
        first, second = np.triu_indices(len(p))
        rows = (
            2 * s * p[first] * p[second] - P[first] * p[second] - p[first] * P[second]
        )
        rows[first == second] += P - s * p
        H = np.empty((*objective.shape, *objective.shape))
        grams = objective.design.grams(rows)
        for k, m, block in zip(first, second, grams, strict=True):
            H[k, :, m, :] = H[m, :, k, :] = block
        return H.reshape(objective.n_params, objective.n_params)

    def _derivatives(self, point):
        """Return the first two derivatives of the mean in the linear predictor."""
        name, mean = self.objective.loss.name, point.mean
        if name == "binomial":
            slope = mean * (1 - mean)
            return slope, slope * (1 - 2 * mean)
        if name == "gaussian":
            return np.ones_like(mean), np.zeros_like(mean)
        return mean, mean  # log link

    def constraint(self):
        """Return the constraint as scipy knows it."""
        return NonlinearConstraint(
            self.value, 0.0, 0.0, jac=self.jacobian, hess=self.hessian
        )


def linear_means(objective, means):
    """Return the constraint that group means of the linear predictors are equal."""
    design = objective.design
    A = np.zeros((len(means.a), objective.n_outputs, design.shape[1]))
    A[np.arange(len(A)), means.output] = design.rdot(means.a)
    return LinearConstraint(A.reshape(len(A), -1), means.target, means.target)
