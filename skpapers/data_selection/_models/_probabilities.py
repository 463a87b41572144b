# SPDX-License-Identifier: BSD-3-Clause
"""Classifiers of which only the probabilities are known."""

from copy import deepcopy
from functools import cached_property

import numpy as np

from skpapers.data_selection._labelled import normalised, warn_of_sums
from skpapers.data_selection._models._base import no_gradients, subtract_labels

TINY = np.finfo(np.float64).tiny


def clean_probabilities(proba):
    """Return probabilities as float64, not negative and of sum 1.

    Raises
    ------
    ValueError
        If they are not finite, all zero in a row, or no table.

    Warns
    -----
    DataConditionWarning
        If rows were off by more than rounding.
    """
    p = np.asarray(proba, dtype=np.float64)
    if p.ndim != 2:
        raise ValueError(
            "the probabilities must have a row a sample and a column a class, got "
            f"shape {p.shape}; influence scores need one label a row."
        )
    p, off = normalised(p, "the probabilities")
    warn_of_sums(off, "the probabilities")
    return p


class ProbabilityPass:
    """What given probabilities say.

    Parameters
    ----------
    proba : ndarray of shape (n, K)
        Probabilities.
    source : str, default="the classifier"
        What they come from, for messages.
    """

    def __init__(self, proba, source="the classifier"):
        self.proba, self.source = clean_probabilities(proba), source

    @cached_property
    def log_proba(self):
        """Logarithms of the probabilities, finite."""
        return np.log(np.maximum(self.proba, TINY))

    def errors(self, codes):
        """Return p - y."""
        return subtract_labels(self.proba.copy(), codes)

    def gradient_norms(self, codes, layers=None):
        """Raise: there are no gradients."""
        raise no_gradients(self.source)

    def input_gradients(self, codes, output="proba"):
        """Raise: there are no gradients."""
        raise no_gradients(self.source)


class ProbabilityModel:
    """A classifier with ``predict_proba``."""

    is_differentiable = False

    def __init__(self, estimator):
        self.estimator = estimator

    @property
    def classes_(self):
        """Labels in the order of the probabilities."""
        return self.estimator.classes_

    def snapshot(self):
        """Return a deep copy."""
        return ProbabilityModel(deepcopy(self.estimator))

    def run(self, X):
        """Return what the classifier says about rows."""
        proba = self.estimator.predict_proba(X)
        return ProbabilityPass(proba, type(self.estimator).__name__)


def probability_model(estimator):
    """Return a fitted classifier as a model without gradients."""
    if not hasattr(estimator, "predict_proba"):
        raise TypeError(
            f"influence scores need a classifier with predict_proba, and "
            f"{type(estimator).__name__} has none. Calibrate it "
            "(CalibratedClassifierCV) or take another."
        )
    return ProbabilityModel(estimator)
