# SPDX-License-Identifier: BSD-3-Clause
"""What the sampler and the pruned classifier share: score, choose, remember.

Scoring is a function of its own of the scorer's parameters and the rows, so that
`joblib.Memory` can serve it to many rules of choice.
"""

import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone, is_classifier
from sklearn.utils import (
    assert_all_finite,
    check_random_state,
    column_or_1d,
    get_tags,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    check_memory,
    validate_data,
)

from skpapers.data_selection._chunks import refuse_lazy_frame
from skpapers.data_selection._fingerprint import fingerprint
from skpapers.data_selection._labelled import on_host
from skpapers.data_selection._models._base import is_torch
from skpapers.data_selection._scorers import EL2NScorer
from skpapers.data_selection._selection import (
    RULE_CONSTRAINTS,
    Rule,
    choose,
)
from skpapers.data_selection._subgroups import subgroup_report, warn_of_losses
from skpapers.data_selection._table import SEED_MAX
from skpapers.utils._sklearn import HasMethods, safe_indexing

NEEDS_NO_SCORES = ("random", "stratified")


def fit_scorer(scorer, X, y, params, key=None):
    """Return the scorer, fitted; what is cached, by the key of the scorer."""
    return scorer.fit(X, y, **params)


def cut_rows(part, rows):
    """Return rows of a container of any kind, in the same kind."""
    if issparse(part) and part.format not in ("csr", "csc", "lil"):
        return part.tocsr()[rows].asformat(part.format)  # has no rows to take
    return safe_indexing(part, rows)


def read_rows_and_labels(owner, X, y):
    """Return rows and labels, checked as far as it is not the classifiers' to check.

    Parameters
    ----------
    owner : estimator
        Gets ``n_features_in_`` and ``feature_names_in_``.
    X : array-like of shape (n_samples, n_features)
        Rows of any kind.
    y : array-like of shape (n_samples,)
        Labels.

    Returns
    -------
    X : array-like of shape (n_samples, n_features)
        The rows, as given if they can be counted.
    y : ndarray of shape (n_samples,)
        The labels.
    """
    if y is None:
        raise ValueError(
            f"{type(owner).__name__} requires y to be passed, but the target y is None"
        )
    refuse_lazy_frame(X)
    X, y = on_host(X), on_host(y)
    validate_data(owner, X, y, skip_check_array=True)
    y = column_or_1d(y, warn=True)
    assert_all_finite(y, input_name="y")
    check_consistent_length(X, y)
    if len(y) == 0:
        raise ValueError(
            "Found array with 0 sample(s) while a minimum of 1 is required."
        )
    check_classification_targets(y)
    if not hasattr(X, "shape") and not hasattr(X, "__len__"):
        X = np.asarray(X)  # whatever becomes an array when asked
    return X, y


def refuse_bare_module(owner_name, scorer):
    """Raise for a torch module where a scorer is wanted."""
    if is_torch(scorer) and not hasattr(scorer, "fit"):
        raise TypeError(
            f"scorer of {owner_name} is a torch module ({type(scorer).__name__}), "
            "which does not train itself: pass EL2NScorer(net), or another scorer of "
            "skpapers.data_selection around it."
        )


def check_scorer(fitted):
    """Raise for what is no scorer, once it is fitted."""
    if not hasattr(fitted, "hardness_"):
        name = type(fitted).__name__
        hint = f" Pass EL2NScorer({name}(...))." if is_classifier(fitted) else ""
        raise TypeError(
            f"scorer={name} is no scorer of skpapers.data_selection: it has no "
            f"hardness_ after fit.{hint}"
        )


class ScoredRows:
    """Estimators that score the rows and keep some of them."""

    _parameter_constraints: dict = {
        # bare torch modules are accepted here to be refused with a hint
        "scorer": [HasMethods(["fit"]), HasMethods(["named_parameters"]), None],
        **RULE_CONSTRAINTS,
        "random_state": ["random_state"],
        "memory": [str, HasMethods(["cache"]), None],
    }
    _instead_of_none = {"scorer": "EL2NScorer()"}

    def _resolve_scorer(self):
        return EL2NScorer() if self.scorer is None else self.scorer

    def _choose_rows(self, X, y, scorer_params):
        """Set the attributes that tell which rows are kept, and why."""
        rule = Rule(
            self.keep, self.policy, self.offset, self.mix, self.by, self.min_per_class
        )
        rng = check_random_state(self.random_state)
        seeds = rng.randint(SEED_MAX, size=2)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if self.policy in NEEDS_NO_SCORES:
            self.scorer_, self.scores_ = None, np.full(len(y), np.nan)
            hardness = np.zeros(len(y))
        else:
            self.scorer_ = self._fit_scorer(X, y, seeds[0], scorer_params)
            self.scores_, hardness = self.scorer_.scores_, self.scorer_.hardness_
        rng = np.random.RandomState(seeds[1])
        self.support_ = choose(hardness, codes, rule, rng)
        self.sample_indices_ = np.flatnonzero(self.support_)
        kept = np.bincount(codes[self.support_], minlength=len(self.classes_))
        self.class_counts_ = np.column_stack([np.bincount(codes), kept])
        if len(self.classes_) > 1:
            warn_of_losses(self.support_, codes, self.classes_, "class", stacklevel=6)
        return rule, hardness, codes

    def _fit_scorer(self, X, y, seed, params):
        scorer = clone(self._resolve_scorer())
        own = scorer.get_params(deep=False).get("random_state", seed)
        if own is None and self.random_state is not None:
            scorer.set_params(random_state=int(seed))
        key = None if self.memory is None else fingerprint(scorer)
        train = check_memory(self.memory).cache(fit_scorer, ignore=["scorer"])
        fitted = train(scorer, X, y, params, key)
        check_scorer(fitted)
        return fitted

    def _prior_weights(self, codes):
        """Return weights of the kept rows that restore the shares of the classes."""
        before, kept = self.class_counts_.T
        there = before[kept > 0].sum()  # of classes that did not vanish
        weights = before / there * kept.sum() / np.maximum(kept, 1)
        return weights[codes[self.support_]]

    def get_support(self, indices=False):
        """Return which rows are kept.

        Parameters
        ----------
        indices : bool, default=False
            Whether to return their indices instead of a mask.

        Returns
        -------
        ndarray
            Mask of shape (n_samples,), or ascending indices of shape (n_kept,).
        """
        check_is_fitted(self)
        return self.sample_indices_ if indices else self.support_

    def subgroup_report(self, groups=None):
        """Report what is left of each class, or of other groups of the rows.

        Parameters
        ----------
        groups : array-like of shape (n_samples,), default=None
            Group of each row of ``fit``; None takes the classes.

        Returns
        -------
        dict of str to ndarray
            As of `skpapers.data_selection.subgroup_report`.

        Warns
        -----
        DataConditionWarning
            If a group vanishes, or loses more than twice the average.
        """
        check_is_fitted(self)
        if groups is None:
            before, kept = self.class_counts_.T
            codes = np.repeat(np.arange(len(before)), before)
            first = np.concatenate(
                [np.arange(n) < k for n, k in zip(before, kept, strict=True)]
            )
            return subgroup_report(first, self.classes_[codes])
        report = subgroup_report(self.support_, groups)
        names, codes = np.unique(groups, return_inverse=True)
        warn_of_losses(self.support_, codes, names, "group")
        return report

    def _copy_input_tags(self, tags, inner):
        """Take what all of the given estimators take."""
        found = [get_tags(estimator) for estimator in inner]
        tags.target_tags.required = True
        tags.classifier_tags = found[0].classifier_tags
        tags.input_tags.sparse = all(tag.input_tags.sparse for tag in found)
        tags.input_tags.allow_nan = all(tag.input_tags.allow_nan for tag in found)
        return tags
