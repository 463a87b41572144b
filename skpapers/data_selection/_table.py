# SPDX-License-Identifier: BSD-3-Clause
"""The rows that a scorer is given, checked, and the classifier by default."""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.dummy import DummyClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, column_or_1d, get_tags
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.sparsefuncs import mean_variance_axis
from sklearn.utils.validation import (
    check_consistent_length,
    has_fit_parameter,
    validate_data,
)

from skpapers.data_selection._labelled import on_host
from skpapers.data_selection._models._base import is_torch
from skpapers.utils import DataConditionWarning

FLOATS = [np.float64, np.float32]
MAX_SCALE_RATIO = 1e3  # of the columns, for the default classifier
SEED_MAX = np.iinfo(np.int32).max


@dataclass
class Table:
    """The rows to score.

    Attributes
    ----------
    X : array-like of shape (n_samples, n_features)
        As the classifier takes it.
    y : ndarray of shape (n_samples,)
        Labels.
    codes : int ndarray of shape (n_samples,)
        Index of the labels in ``classes``.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    fit_params : dict
        Row-aligned arguments of the classifier's ``fit``.
    """

    X: Any
    y: np.ndarray | None
    codes: np.ndarray
    classes: np.ndarray
    fit_params: dict = field(default_factory=dict)


def default_classifier(n_samples):
    """Return the classifier that serves where none is given; it takes no weights."""
    classifier = MLPClassifier(
        (100,), solver="sgd", learning_rate_init=0.05, batch_size=min(32, n_samples)
    )
    if get_config()["enable_metadata_routing"]:
        # nobody else can say so for a classifier that was not given
        for method in ("fit", "partial_fit"):
            if has_fit_parameter(classifier, "sample_weight"):
                request = getattr(classifier, f"set_{method}_request")
                request(sample_weight=False)
    return classifier


def takes_anything(estimator):
    """Return whether a classifier reads what we cannot check, such as texts."""
    tags = tags_of(estimator).input_tags
    return isinstance(estimator, Pipeline) or tags.string or not tags.two_d_array


def tags_of(estimator):
    """Return the tags of a classifier; torch modules have none of their own."""
    known = hasattr(estimator, "__sklearn_tags__")
    return get_tags(estimator if known else DummyClassifier())


def read_rows(owner, X, y="no_validation", *, estimators, reset):
    """Check rows, and labels where given.

    Parameters
    ----------
    owner : estimator
        Gets ``n_features_in_`` and ``feature_names_in_`` if ``reset``.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,), optional
        Labels.
    estimators : list of estimator
        The classifiers that are to read the rows.
    reset : bool
        Whether this is ``fit``.

    Returns
    -------
    X : array-like
        Rows as the classifiers take them: float64 or float32 in C order, dense or CSR;
        for a pipeline whatever was given.
    y : ndarray, only if given
        Labels.
    """
    if not any(is_torch(estimator) for estimator in estimators):
        X, y = on_host(X), on_host(y)
    if any(takes_anything(estimator) for estimator in estimators):
        given = validate_data(owner, X, y, reset=reset, skip_check_array=True)
        if isinstance(y, str):
            return given
        X, y = given
        check_consistent_length(X, y)
        return X, column_or_1d(y, warn=True)
    tags = [tags_of(estimator).input_tags for estimator in estimators]
    networks = any(is_torch(estimator) for estimator in estimators)
    return validate_data(
        owner,
        X,
        y,
        reset=reset,
        dtype="numeric" if networks else FLOATS,  # tokens are integers
        allow_nd=networks,
        order="C",
        accept_sparse="csr" if all(tag.sparse for tag in tags) else False,
        ensure_all_finite="allow-nan" if all(tag.allow_nan for tag in tags) else True,
    )


def read_table(owner, X, y, estimators):
    """Check what ``fit`` was given.

    Parameters
    ----------
    owner : estimator
        Gets ``n_features_in_`` and ``feature_names_in_``.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,)
        Labels.
    estimators : list of estimator
        The classifiers that are to read the rows.

    Returns
    -------
    Table
        The rows.
    """
    if y is None:
        raise ValueError(
            f"{type(owner).__name__} requires y to be passed, but the target y is None"
        )
    X, y = read_rows(owner, X, y, estimators=estimators, reset=True)
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    return Table(X, y, codes, classes)


def check_routing(fit_params):
    """Raise if there are arguments of ``fit`` that cannot be handed on."""
    if fit_params and not get_config()["enable_metadata_routing"]:
        raise ValueError(
            f"fit got {sorted(fit_params)}; to hand them on to the classifier, use "
            "sklearn.set_config(enable_metadata_routing=True) and, for example, "
            "classifier.set_fit_request(sample_weight=True)."
        )


def route(scorer, fit_params, table):
    """Return what of the arguments of ``fit`` goes to a scorer's classifier."""
    check_routing(fit_params)
    routed = process_routing(scorer, "fit", **fit_params)
    return {
        name: _row_aligned(name, value, table)
        for name, value in routed.estimator.fit.items()
        if value is not None
    }


def _row_aligned(name, value, table):
    value = np.asarray(value)
    if value.ndim == 0 or len(value) != len(table.y):
        raise ValueError(f"{name} has to have one entry for each row of X.")
    return value


def draw_seeds(random_state, n_runs):
    """Return the seeds of the runs; fewer runs have the first of them."""
    return check_random_state(random_state).randint(SEED_MAX, size=n_runs)


def warn_of_scales(X):
    """Warn of columns whose scales are too different for the default classifier."""
    if sparse.issparse(X):
        scales = np.sqrt(mean_variance_axis(X, axis=0)[1])
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            scales = X.std(axis=0, dtype=np.float64)
    scales = scales[scales > 0]
    if len(scales) and scales.max() > MAX_SCALE_RATIO * scales.min():
        warnings.warn(
            f"The standard deviations of the columns range from {scales.min():.1e} to "
            f"{scales.max():.1e}; the default classifier learns little from the small "
            "ones. Scale the columns, for example by "
            "make_pipeline(StandardScaler(), MLPClassifier(...)) as the estimator.",
            DataConditionWarning,
            stacklevel=6,
        )
