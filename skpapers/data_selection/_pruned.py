# SPDX-License-Identifier: BSD-3-Clause
"""A classifier trained on the rows that a scorer chooses.

A meta-estimator, since samplers cannot sit in scikit-learn's pipelines and do not cut
the other arguments of ``fit`` that have an entry for each row, such as weights.
"""

from itertools import combinations

import numpy as np
from sklearn import get_config
from sklearn.base import ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

from skpapers.data_selection._chunks import count_rows
from skpapers.data_selection._scored_rows import (
    ScoredRows,
    cut_rows,
    read_rows_and_labels,
    refuse_bare_module,
)
from skpapers.data_selection._selection import inverse_weights
from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._sklearn import HasMethods, StrOptions, fit_context

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


def _inner_has(method):
    """Return a check whether the classifier within has a method."""

    def check(self):
        inner = getattr(self, "estimator_", None) or self._resolve_estimator()
        getattr(inner, method)  # its own AttributeError says what is missing
        return True

    return check


class PrunedClassifier(ScoredRows, ClassifierMixin, DocumentedEstimator):
    """Classifier that is trained on the rows that matter most.

    ``fit`` scores all rows, chooses some, and fits the classifier to them, with every
    row-aligned argument (weights, groups) cut in the same way. In a grid search, set
    ``memory``: candidates that differ in the choice or in the classifier alone share
    the scores of a fold.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier to train on the kept rows; it is cloned. None stands for
        ``LogisticRegression(max_iter=1000)``, to be passed explicitly in a search
        over its parameters.

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

    reweight : bool or {"prior", "inverse"}, default=False
        Whether to fit the classifier with weights that undo the change of the shares
        of the classes ("prior", also True) or, for policies that draw rows, the
        probabilities of being drawn ("inverse"). They multiply a ``sample_weight``
        that is given.

    random_state : int, RandomState instance or None, default=None
        Source of the random order of equal scores, of the draws, and of the scorer if
        it has no ``random_state`` of its own. The classifier keeps its own.

    memory : str or joblib.Memory, default=None
        Where to keep fitted scorers, by their parameters and the rows. With
        ``random_state=None`` the first scores serve all later fits to the same rows.

    Attributes
    ----------
    estimator_ : estimator
        The classifier, fitted to the kept rows.

    scorer_ : scorer or None
        The fitted scorer; None if it was not needed.

    scores_ : ndarray of shape (n_samples,) or (n_samples, n_scores)
        Scores of all rows, as the scorer gives them; NaN if it was not needed.

    support_ : bool ndarray of shape (n_samples,)
        True for the kept rows.

    sample_indices_ : ndarray of shape (n_kept,)
        Indices of the kept rows, ascending.

    class_counts_ : int ndarray of shape (n_classes, 2)
        Number of rows of each class before and after.

    classes_ : ndarray of shape (n_classes,)
        All labels of ``y``.

    n_features_in_ : int
        Number of columns seen in ``fit``.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X was a frame whose columns have names.

    See Also
    --------
    InfluenceSampler : The choice alone, for pipelines of imbalanced-learn.
    pruning_curve : Accuracy against the share of kept rows, beside random choices.

    Notes
    -----
    Cost: the scorer's training, O(n log n) for the choice, and the classifier's
    training on the kept rows. A class of which no row is kept (``min_per_class=0``)
    stays in ``classes_`` with probability 0.

    With ``sklearn.set_config(enable_metadata_routing=True)`` arguments of ``fit`` go to
    those of classifier and scorer that request them; else they go to the classifier.

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
    >>> from skpapers.data_selection import EL2NScorer, PrunedClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=500)
    >>> scorer = EL2NScorer(model, epochs=None, n_runs=1)
    >>> pruned = PrunedClassifier(model, scorer, keep=0.3, by="class", random_state=0)
    >>> pruned.fit(X, y).sample_indices_.size, round(pruned.score(X, y), 2)
    (45, 0.98)
    """

    _parameter_constraints = {
        **ScoredRows._parameter_constraints,
        "estimator": [HasMethods(["fit", "predict"]), None],
        "reweight": ["boolean", StrOptions({"prior", "inverse"})],
    }
    _instead_of_none = {
        **ScoredRows._instead_of_none,
        "estimator": "LogisticRegression(max_iter=1000)",
    }

    def __init__(
        self,
        estimator=None,
        scorer=None,
        *,
        keep=0.5,
        policy="hardest",
        offset=None,
        mix=0.5,
        by="dataset",
        min_per_class=1,
        reweight=False,
        random_state=None,
        memory=None,
    ):
        self.estimator = estimator
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

    def _resolve_estimator(self):
        if self.estimator is None:
            return LogisticRegression(max_iter=1000)
        return self.estimator

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **fit_params):
        """Score the rows, choose, and train the classifier on the kept ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in the form that scorer and classifier take.
        y : array-like of shape (n_samples,)
            Labels.
        **fit_params : dict
            What the classifier, and by metadata routing the scorer, is to be given.
            What has an entry for each row is cut to the kept rows for the classifier.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If ``y`` is no set of classes, ``keep`` more than there are rows, or if the
            classifier takes no weights and ``reweight`` asks for them.
        TypeError
            If ``scorer`` is no scorer: a classifier, or a torch module, by itself.

        Warns
        -----
        DataConditionWarning
            As of `select_samples`.
        """
        refuse_bare_module(type(self).__name__, self.scorer)
        X, y = read_rows_and_labels(self, X, y)
        for_estimator, for_scorer = self._route(fit_params)
        _check_weights(for_estimator, len(y))
        rule, hardness, codes = self._choose_rows(X, y, for_scorer)
        n, rows = len(y), self.sample_indices_
        params = {
            name: cut_rows(value, rows) if _is_row_aligned(value, n) else value
            for name, value in for_estimator.items()
        }
        if self.reweight:
            self._reweight(params, rule, hardness, codes)
        self.estimator_ = clone(self._resolve_estimator())
        self.estimator_.fit(cut_rows(X, rows), y[rows], **params)
        return self

    def _route(self, fit_params):
        """Return what goes to the fit of the classifier and of the scorer."""
        if not get_config()["enable_metadata_routing"]:
            return dict(fit_params), {}
        routed = process_routing(self, "fit", **fit_params)
        return dict(routed.estimator.fit), dict(routed.scorer.fit)

    def _reweight(self, params, rule, hardness, codes):
        """Multiply the weights among the arguments of the classifier's fit."""
        name = self._weight_name()
        if self.reweight == "inverse":
            weights = inverse_weights(hardness, codes, rule, self.support_)
        else:
            weights = self._prior_weights(codes)
        given = params.get(name)
        params[name] = weights if given is None else weights * np.asarray(given)

    def _weight_name(self):
        """Return the name under which the classifier's fit takes weights."""
        last = name = self._resolve_estimator()
        prefix = ""
        while isinstance(last, Pipeline):
            name, last = last.steps[-1]
            prefix += f"{name}__"
        if not has_fit_parameter(last, "sample_weight"):
            raise ValueError(
                f"reweight={self.reweight!r} needs a classifier whose fit takes "
                f"sample_weight; that of {type(last).__name__} does not."
            )
        if get_config()["enable_metadata_routing"]:
            return "sample_weight"
        return f"{prefix}sample_weight"

    # ---------------------------------------------------------------------- delegation

    def _ask(self, method, X, params):
        """Return what the classifier says about rows."""
        self._check_rows(X)
        if get_config()["enable_metadata_routing"]:
            params = getattr(process_routing(self, method, **params).estimator, method)
        return getattr(self.estimator_, method)(X, **params)

    def _check_rows(self, X):
        """Check the columns as far as they are known; the classifier does the rest."""
        check_is_fitted(self)
        if hasattr(self, "n_features_in_") and getattr(X, "ndim", 2) == 1:
            raise ValueError(
                "Expected 2D array, got 1D array instead. Reshape your data: a row is "
                "X.reshape(1, -1), a column X.reshape(-1, 1)."
            )
        validate_data(self, X, reset=False, skip_check_array=True)

    def _fill(self, values, missing):
        """Return columns for all classes, also for those of which no row was kept."""
        known = getattr(self.estimator_, "classes_", self.classes_)
        if len(known) == len(self.classes_):
            return values
        columns = np.searchsorted(self.classes_, known)
        if values.ndim == 1:  # decision function of two classes
            values = np.column_stack([-values, values])
        full = np.full((len(values), len(self.classes_)), missing, dtype=values.dtype)
        full[:, columns] = values
        return full

    def _fill_pairs(self, values):
        """Return columns for all pairs of classes, positive where the first wins."""
        known = np.searchsorted(self.classes_, self.estimator_.classes_)
        if len(known) == len(self.classes_):
            return values
        # of two classes the one column is positive where the second wins
        given = -values[:, None] if values.ndim == 1 else values
        by_pair = dict(zip(combinations(known.tolist(), 2), given.T, strict=True))
        is_known = np.isin(np.arange(len(self.classes_)), known)
        pairs = list(combinations(range(len(self.classes_)), 2))
        full = np.zeros((len(values), len(pairs)), dtype=values.dtype)
        for column, (first, second) in enumerate(pairs):
            if (first, second) in by_pair:
                full[:, column] = by_pair[first, second]
            elif is_known[first] or is_known[second]:
                full[:, column] = np.inf if is_known[first] else -np.inf
        return full

    @available_if(_inner_has("predict"))
    def predict(self, X, **params):
        """Predict labels with the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        **params : dict
            Handed on to the classifier.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        return self._ask("predict", X, params)

    @available_if(_inner_has("predict_proba"))
    def predict_proba(self, X, **params):
        """Predict probabilities with the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        **params : dict
            Handed on to the classifier.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return self._fill(self._ask("predict_proba", X, params), 0.0)

    @available_if(_inner_has("predict_log_proba"))
    def predict_log_proba(self, X, **params):
        """Predict logarithms of the probabilities with the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        **params : dict
            Handed on to the classifier.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Logarithms, in the order of ``classes_``.
        """
        return self._fill(self._ask("predict_log_proba", X, params), -np.inf)

    @available_if(_inner_has("decision_function"))
    def decision_function(self, X, **params):
        """Return the classifier's decision function.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        **params : dict
            Handed on to the classifier.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Its values, minus infinity for classes of which no row was kept. Of an
            `SVC` with ``decision_function_shape="ovo"``, a column for each pair of
            classes, infinite for the class of which rows were kept where there are
            none of the other, 0 where there are of neither.
        """
        values = self._ask("decision_function", X, params)
        if len(self.classes_) > 2 and _decides_by_pairs(self.estimator_):
            return self._fill_pairs(values)
        return self._fill(values, -np.inf)

    @available_if(_inner_has("score"))
    def score(self, X, y, **params):
        """Return the classifier's score, as a rule the accuracy.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        **params : dict
            Handed on to the classifier, for example ``sample_weight``.

        Returns
        -------
        float
            The score.
        """
        self._check_rows(X)
        if get_config()["enable_metadata_routing"]:
            params = process_routing(self, "score", **params).estimator.score
        return self.estimator_.score(X, y, **params)

    # ---------------------------------------------------------------- for scikit-learn

    def get_metadata_routing(self):
        """Return how arguments reach the classifier and the scorer.

        Returns
        -------
        routing : MetadataRouter
            What the ``fit`` of each and the other methods of the classifier request.
        """
        fit = MethodMapping().add(caller="fit", callee="fit")
        all_methods = MethodMapping().add(caller="fit", callee="fit")
        for method in (*METHODS, "score"):
            all_methods.add(caller=method, callee=method)
        return (
            MetadataRouter(owner=self)
            .add(estimator=self._resolve_estimator(), method_mapping=all_methods)
            .add(scorer=self._resolve_scorer(), method_mapping=fit)
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = [self._resolve_estimator()]
        if self.policy not in ("random", "stratified"):
            inner.append(self._resolve_scorer())
        return self._copy_input_tags(tags, inner)


def _decides_by_pairs(estimator):
    """Return whether the decision function of a classifier is of pairs of classes."""
    while isinstance(estimator, Pipeline) or hasattr(estimator, "best_estimator_"):
        is_pipeline = isinstance(estimator, Pipeline)
        estimator = estimator[-1] if is_pipeline else estimator.best_estimator_
    return getattr(estimator, "decision_function_shape", None) == "ovo"


def _check_weights(params, n_samples):
    """Raise if there are weights that could not be cut to the kept rows."""
    for name, value in params.items():
        is_weight = name.split("__")[-1] == "sample_weight"
        if is_weight and np.ndim(value) and not _is_row_aligned(value, n_samples):
            raise ValueError(
                f"{name} has {count_rows(value)} entries for {n_samples} rows."
            )


def _is_row_aligned(value, n_samples):
    """Return whether an argument of ``fit`` has an entry for each row."""
    if isinstance(value, str | bytes | dict) or not hasattr(value, "__len__"):
        return hasattr(value, "tocsr") and value.shape[0] == n_samples
    shape = getattr(value, "shape", (0,))
    return len(shape) > 0 and count_rows(value) == n_samples
