# SPDX-License-Identifier: BSD-3-Clause
"""Rows chosen by a scorer, with the contract of imbalanced-learn's samplers.

``fit_resample`` returns the kept rows and labels in the containers that were given.
Nothing of imbalanced-learn is needed; its `Pipeline` takes the sampler as a step.
"""

import numpy as np
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from skpapers.data_selection._scored_rows import (
    ScoredRows,
    cut_rows,
    read_rows_and_labels,
    refuse_bare_module,
)
from skpapers.data_selection._selection import inverse_weights
from skpapers.data_selection._table import check_routing
from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._sklearn import StrOptions, fit_context


class InfluenceSampler(ScoredRows, DocumentedEstimator):
    """Keep the rows that matter most for training, by their scores.

    A step for `imblearn.pipeline.Pipeline`; see `PrunedClassifier` for grid searches
    and for arguments of ``fit`` that have an entry for each row.

    Parameters
    ----------
    scorer : scorer, default=None
        A scorer of this package, for example `EL2NScorer` or `ScoreBank`; it is cloned.
        None stands for ``EL2NScorer()``; pass that explicitly to search over its
        parameters ("scorer__epochs"). "random" and "stratified" do not fit it.

    keep : float or int, default=0.5
        Share of the rows in (0, 1], or their number.

    policy : str, default="hardest"
        How to choose: "hardest", "easiest", "window", "random", "stratified", "mixed",
        "linear" or "softmax"; see `select_samples`.

    offset : float or int, default=None
        For "window": share or number of the easiest rows that are left out; with
        ``by="class"`` a number is split among the classes, as ``keep`` is.

    mix : float, default=0.5
        For "mixed": share of the hardest among the kept rows.

    by : {"dataset", "class"}, default="dataset"
        Whether rows compete with all others or within their class.

    min_per_class : int, default=1
        So many rows of each class are kept, if it has them.

    reweight : {"prior", "inverse"}, default="prior"
        What ``sample_weight_`` undoes: the change of the shares of the classes, or, for
        the policies that draw rows, the probabilities of being drawn.

    random_state : int, RandomState instance or None, default=None
        Source of the random order of equal scores, of the draws, and of the scorer if
        it has no ``random_state`` of its own.

    memory : str or joblib.Memory, default=None
        Where to keep fitted scorers, so that another rule for the same rows does not
        train them again.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,)
        Indices of the kept rows, ascending.

    support_ : bool ndarray of shape (n_samples,)
        True for the kept rows.

    scores_ : ndarray of shape (n_samples,) or (n_samples, n_scores)
        Scores of all rows, as the scorer gives them; NaN if it was not needed.

    scorer_ : scorer or None
        The fitted scorer; None if it was not needed.

    sample_weight_ : ndarray of shape (n_kept,)
        Weights of the kept rows, with mean 1.

    class_counts_ : int ndarray of shape (n_classes, 2)
        Number of rows of each class before and after.

    classes_ : ndarray of shape (n_classes,)
        The labels.

    n_features_in_ : int
        Number of columns seen in ``fit``.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X was a frame whose columns have names.

    See Also
    --------
    PrunedClassifier : The same around a classifier.
    select_samples : The choice alone, for given scores.

    Notes
    -----
    Cost: the scorer's training, then O(n log n).

    References
    ----------
    .. [1] M. Paul, S. Ganguli, G. K. Dziugaite, "Deep learning on a data diet: finding
       important examples early in training", NeurIPS 2021.
    .. [2] N. Anand, J. Tan, M. Minakova, "Influence scores at scale for efficient
       language data sampling", EMNLP 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skpapers.data_selection import EL2NScorer, InfluenceSampler
    >>> X, y = load_iris(return_X_y=True)
    >>> scorer = EL2NScorer(LogisticRegression(max_iter=500), epochs=None, n_runs=1)
    >>> sampler = InfluenceSampler(scorer, keep=60, by="class", random_state=0)
    >>> X_kept, y_kept = sampler.fit_resample(X, y)
    >>> X_kept.shape, sampler.class_counts_.tolist()
    ((60, 4), [[50, 20], [50, 20], [50, 20]])
    """

    _parameter_constraints = {
        **ScoredRows._parameter_constraints,
        "reweight": [StrOptions({"prior", "inverse"})],
    }

    def __init__(
        self,
        scorer=None,
        *,
        keep=0.5,
        policy="hardest",
        offset=None,
        mix=0.5,
        by="dataset",
        min_per_class=1,
        reweight="prior",
        random_state=None,
        memory=None,
    ):
        self.scorer = scorer
        self.keep = keep
        self.policy = policy
        self.offset = offset
        self.mix = mix
        self.by = by
        self.min_per_class = min_per_class
        self.reweight = reweight
        self.random_state = random_state
        self.memory = memory

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **fit_params):
        """Score the rows and choose.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in the form that the scorer takes.
        y : array-like of shape (n_samples,)
            Labels.
        **fit_params : dict
            What the scorer is to be given, by metadata routing.

        Returns
        -------
        self : object
            The fitted sampler.

        Raises
        ------
        ValueError
            If ``y`` is no set of classes, or ``keep`` more than there are rows.
        TypeError
            If ``scorer`` is no scorer: a classifier, or a torch module, by itself.

        Warns
        -----
        DataConditionWarning
            As of `select_samples`.
        """
        refuse_bare_module(type(self).__name__, self.scorer)
        X, y = read_rows_and_labels(self, X, y)
        check_routing(fit_params)
        routed = process_routing(self, "fit", **fit_params) if fit_params else None
        params = routed.scorer.fit if routed else {}
        rule, hardness, codes = self._choose_rows(X, y, params)
        if self.reweight == "prior":
            self.sample_weight_ = self._prior_weights(codes)
        else:
            self.sample_weight_ = inverse_weights(hardness, codes, rule, self.support_)
        return self

    def fit_resample(self, X, y, **fit_params):
        """Score the rows and return those that are kept.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in the form that the scorer takes.
        y : array-like of shape (n_samples,)
            Labels.
        **fit_params : dict
            What the scorer is to be given, by metadata routing.

        Returns
        -------
        X_kept : array-like of shape (n_kept, n_features)
            The kept rows, in the same order and kind of container.
        y_kept : array-like of shape (n_kept,)
            Their labels.
        """
        self.fit(X, y, **fit_params)
        return tuple(cut_rows(part, self.sample_indices_) for part in (X, y))

    def fit_predict(self, X, y):
        """Score the rows and mark those that are kept.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in the form that the scorer takes.
        y : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        int ndarray of shape (n_samples,)
            1 for the kept rows, -1 for the others.
        """
        return np.where(self.fit(X, y).support_, 1, -1)

    def get_metadata_routing(self):
        """Return how arguments of ``fit`` reach the scorer.

        Returns
        -------
        routing : MetadataRouter
            What the scorer requests goes to it.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return MetadataRouter(owner=self).add(
            scorer=self._resolve_scorer(), method_mapping=mapping
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        return self._copy_input_tags(tags, [self._resolve_scorer()])
