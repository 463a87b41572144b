# SPDX-License-Identifier: BSD-3-Clause
r"""Which labels are probably wrong.

Two ways to a suspicion of each row:

- *a classifier*: probabilities p of its labels by other rows, out of bag or out of
  fold; from them the habits by which labels go wrong (a matrix T) and the probability
  that the label is wrong, as in `wrong_label_scores`;
- *a scorer* that looks at a classifier while it trains: the hardness of the row.

Where to cut: a given share, or ("auto") the rows whose label is more probably wrong
than right, or, for a scorer, those whose predicted label differs and whose probability
of the given label is below the mean of its class. The classifiers of a scorer, unless
it has folds, have seen the labels, so that probabilities of wrong labels come out too
small for the first rule; the second one, on the other hand, calls every hard row wrong
if its classifier has not seen the label.
"""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy.stats import rankdata
from sklearn.base import clone, is_classifier
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.parallel import Parallel, delayed

from skpapers.data_selection._checkpoints import last_step
from skpapers.data_selection._chunks import count_rows, take_rows
from skpapers.data_selection._label_noise import (
    label_noise_matrix,
    wrong_label_scores,
)
from skpapers.data_selection._models._base import is_torch
from skpapers.data_selection._runs import predict_with
from skpapers.data_selection._scored_rows import (
    cut_rows,
    read_rows_and_labels,
    refuse_bare_module,
)
from skpapers.data_selection._scorers import EL2NScorer, PVIScorer
from skpapers.data_selection._selection import Rule, choose
from skpapers.data_selection._table import SEED_MAX, check_routing
from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._sklearn import HasMethods, Interval, StrOptions, fit_context


class NoisyLabelDetector(DocumentedEstimator):
    """Find the rows whose labels are probably wrong.

    Parameters
    ----------
    scorer : classifier or scorer, default=None
        What judges the labels; it is cloned.

        - A classifier: by its probabilities for rows that it has not seen. Out of bag,
          if it has ``oob_score=True``, else out of fold.
        - A scorer of this package, for example `EL2NScorer` or `EnsembleScorer`: by
          its ``hardness_``.

        None stands for ``ExtraTreesClassifier(500, bootstrap=True, oob_score=True,
        min_samples_leaf=3)``, which needs no scaling and no second training; to search
        over parameters ("scorer__epochs"), pass it or ``EL2NScorer()`` explicitly.

    contamination : "auto" or float, default="auto"
        Which share of the rows is suspect, in (0, 0.5]. "auto": with a classifier, the
        rows that are more probably wrong than right, also with `PVIScorer` and ``cv``.
        With another scorer, those where the mean of the classifiers' probabilities is
        largest for another label, and that of the given label is below its mean over
        the class.

    by : {"dataset", "class"}, default="dataset"
        Whether a ``contamination`` is a share of all rows or of each class.

    cv : int, cross-validation generator or iterable, default=5
        How a classifier without out-of-bag probabilities is fitted to other rows. For
        an int the folds are stratified and shuffled, as many as the classes allow.

    random_state : int, RandomState instance or None, default=None
        Source of the random numbers of folds, ties, and of the classifier or scorer if
        it has no ``random_state`` of its own.

    n_jobs : int, default=None
        Number of folds, or trees of the default classifier, at the same time.

    Attributes
    ----------
    labels_ : int ndarray of shape (n_samples,)
        1 for rows that look right, -1 for the suspect ones.

    suspect_indices_ : int ndarray of shape (n_suspect,)
        The suspect rows, the worst first.

    scores_ : ndarray of shape (n_samples,)
        Large where the label is suspect: with a classifier the probability that it is
        wrong, with a scorer its hardness.

    label_quality_ : ndarray of shape (n_samples,)
        In [0, 1], small where the label is suspect. With a classifier 1 - ``scores_``;
        for `EL2NScorer` 1 - score / √2; for `PVIScorer` the probability of the label;
        for other scorers the share of rows that are harder.

    predicted_labels_ : ndarray of shape (n_samples,)
        Most probable label of each row.

    probabilities_ : ndarray of shape (n_samples, n_classes)
        Probabilities that this comes from: by other rows with a classifier; with a
        scorer the mean over its trainings, which have seen the labels, or, for
        `PVIScorer` with ``cv``, are those of other folds.

    noise_matrix_ : ndarray of shape (n_classes, n_classes)
        Estimated probability of each label (columns) where a class (rows) is true.

    scorer_ : scorer or None
        The fitted scorer; None for a classifier, which is not kept.

    classes_ : ndarray of shape (n_classes,)
        The labels.

    n_features_in_ : int
        Number of columns seen in ``fit``.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X was a frame whose columns have names.

    See Also
    --------
    wrong_label_scores : The same from given probabilities.
    EL2NScorer : Scores of a classifier while it trains.

    Notes
    -----
    Cost: one training of the forest, or ``cv`` of another classifier, or those of the
    scorer; then O(n K²) for n rows and K classes.

    Rows at the border of two classes that overlap cannot be told from wrong labels: on
    such tables a good part of the suspects is right.

    References
    ----------
    .. [1] C. G. Northcutt, L. Jiang, I. L. Chuang, "Confident learning: estimating
       uncertainty in dataset labels", Journal of Artificial Intelligence Research 70,
       2021.
    .. [2] M. Paul, S. Ganguli, G. K. Dziugaite, "Deep learning on a data diet: finding
       important examples early in training", NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skpapers.data_selection import NoisyLabelDetector
    >>> X, y = load_iris(return_X_y=True)
    >>> y = y.copy()
    >>> y[[0, 60]] = 2  # wrong labels
    >>> detector = NoisyLabelDetector(contamination=0.02, random_state=0).fit(X, y)
    >>> detector.suspect_indices_
    array([ 0, 60, 70])
    >>> detector.predicted_labels_[:1]
    array([0])
    """

    _parameter_constraints = {
        # bare torch modules are accepted here to be refused with a hint
        "scorer": [HasMethods(["fit"]), HasMethods(["named_parameters"]), None],
        "contamination": [
            StrOptions({"auto"}),
            Interval(Real, 0, 0.5, closed="right"),
        ],
        "by": [StrOptions({"dataset", "class"})],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }
    _instead_of_none = {
        "scorer": "EL2NScorer(), or ExtraTreesClassifier(500, bootstrap=True, "
        "oob_score=True, min_samples_leaf=3), for which None stands,"
    }

    def __init__(
        self,
        scorer=None,
        *,
        contamination="auto",
        by="dataset",
        cv=5,
        random_state=None,
        n_jobs=None,
    ):
        self.scorer = scorer
        self.contamination = contamination
        self.by = by
        self.cv = cv
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _resolve_scorer(self):
        if self.scorer is not None:
            return self.scorer
        return ExtraTreesClassifier(
            500,
            bootstrap=True,
            oob_score=True,
            min_samples_leaf=3,
            n_jobs=self.n_jobs,
        )

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **fit_params):
        """Judge the labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in the form that the classifier or scorer takes.
        y : array-like of shape (n_samples,)
            Labels, some of them perhaps wrong.
        **fit_params : dict
            What the classifier or scorer is to be given, by metadata routing; for a
            classifier, what has an entry for each row is cut to those of the fold.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        ValueError
            If ``y`` is no set of classes, or if ``contamination="auto"`` and the scorer
            has no probabilities.
        TypeError
            If ``scorer`` is neither a classifier with probabilities nor a scorer; a
            torch module has to be wrapped by one.
        """
        refuse_bare_module(type(self).__name__, self.scorer)
        X, y = read_rows_and_labels(self, X, y)
        check_routing(fit_params)
        params = process_routing(self, "fit", **fit_params).scorer.fit
        rng = check_random_state(self.random_state)
        self.classes_, codes = np.unique(y, return_inverse=True)
        for name in ("probabilities_", "predicted_labels_", "noise_matrix_"):
            vars(self).pop(name, None)  # of a former fit; not all scorers have them
        judge = _seeded(clone(self._resolve_scorer()), rng)
        if is_classifier(judge):
            self._judge_by_classifier(judge, X, y, codes, params, rng)
        else:
            self._judge_by_scorer(judge, X, y, codes, params)
        self._mark(codes, rng)
        return self

    def _judge_by_classifier(self, classifier, X, y, codes, params, rng):
        if not hasattr(classifier, "predict_proba"):
            raise TypeError(
                f"NoisyLabelDetector needs probabilities, which "
                f"{type(classifier).__name__} has not, at least with these parameters. "
                "Wrap it in CalibratedClassifierCV, or take another."
            )
        self.scorer_ = None
        folds = None
        if len(self.classes_) > 1 and not _is_out_of_bag(classifier):
            folds = _splits(self.cv, X, y, codes, rng)
        labels = _learnable(last_step(classifier), y, codes)
        p = held_out_probabilities(
            classifier, X, labels, np.unique(labels), folds, params, self.n_jobs
        )
        self._remember(p)
        self.noise_matrix_ = label_noise_matrix(y, p, classes=self.classes_)
        self.scores_ = wrong_label_scores(
            y, p, noise_matrix=self.noise_matrix_, classes=self.classes_
        )
        self.label_quality_ = 1 - self.scores_
        self._auto = self.scores_ > 0.5

    def _judge_by_scorer(self, scorer, X, y, codes, params):
        self.scorer_ = scorer.fit(X, y, **params)
        hardness = getattr(self.scorer_, "hardness_", None)
        if hardness is None or np.ndim(hardness) != 1:
            raise TypeError(
                f"scorer={type(scorer).__name__} is neither a classifier nor a scorer "
                "of skpapers.data_selection with one score a row."
            )
        self.scores_ = hardness
        p, held_out = mean_probabilities(self.scorer_, X, self.classes_)
        if p is None and self.contamination == "auto":
            raise ValueError(
                "contamination='auto' needs the probabilities of the classifiers, "
                f"which {type(scorer).__name__} has not kept; give a share."
            )
        self._auto = None
        if p is not None:
            self._remember(p)
            self.noise_matrix_ = label_noise_matrix(y, p, classes=self.classes_)
            if held_out:
                known = {"noise_matrix": self.noise_matrix_, "classes": self.classes_}
                self._auto = wrong_label_scores(y, p, **known) > 0.5
            else:
                self._auto = below_self_confidence(codes, p)
        self.label_quality_ = _quality(self.scorer_, codes)

    def _remember(self, p):
        self.probabilities_ = p
        self.predicted_labels_ = self.classes_[p.argmax(axis=1)]

    def _mark(self, codes, rng):
        """Set which rows are suspect."""
        suspect = vars(self).pop("_auto")
        if self.contamination != "auto":
            rule = Rule(self.contamination, by=self.by, min_per_class=0)
            suspect = choose(self.scores_, codes, rule, rng)
        self.labels_ = np.where(suspect, -1, 1)
        found = np.flatnonzero(suspect)
        worst_first = np.argsort(-self.scores_[found], kind="stable")
        self.suspect_indices_ = found[worst_first]

    def fit_predict(self, X, y, **fit_params):
        """Judge the labels and say which rows are suspect.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        **fit_params : dict
            As of `fit`.

        Returns
        -------
        int ndarray of shape (n_samples,)
            1 for rows that look right, -1 for the suspect ones.
        """
        return self.fit(X, y, **fit_params).labels_

    def get_metadata_routing(self):
        """Return how arguments of ``fit`` reach the classifier or scorer.

        Returns
        -------
        routing : MetadataRouter
            What it requests goes to it.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        mapping.add(caller="fit_predict", callee="fit")
        return MetadataRouter(owner=self).add(
            scorer=self._resolve_scorer(), method_mapping=mapping
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._resolve_scorer())
        tags.target_tags.required = True
        tags.classifier_tags = inner.classifier_tags
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        return tags


# ------------------------------------------------------------- probabilities and rules


def held_out_probabilities(classifier, X, y, classes, folds, params, n_jobs=None):
    """Return probabilities of each row's labels by a classifier that has not seen it.

    Parameters
    ----------
    classifier : classifier
        Unfitted.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : ndarray of shape (n_samples,)
        Labels.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    folds : list of (ndarray, ndarray) or None
        Training and test rows; None takes the out-of-bag probabilities.
    params : dict
        Arguments of the classifier's ``fit``.
    n_jobs : int, default=None
        Number of folds at the same time.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        Probabilities. Rows that no classifier can judge have the shares of the classes:
        those never out of bag, and those whose label no other fold has.
    """
    shares = (y[:, None] == classes).mean(axis=0)
    p = np.tile(shares, (len(y), 1))
    if len(classes) < 2:
        return p
    if folds is None:
        with warnings.catch_warnings():
            # rows never out of bag are expected and taken care of
            warnings.filterwarnings("ignore", message="Some inputs do not have OOB")
            warnings.filterwarnings("ignore", message="invalid value encountered")
            classifier.fit(X, y, **params)
        found = classifier.oob_decision_function_
        judged = np.nan_to_num(found).sum(axis=1) > 0
        p[judged] = found[judged]
        return p
    parts = Parallel(n_jobs=n_jobs)(
        delayed(_fold_probabilities)(clone(classifier), X, y, fold, params)
        for fold in folds
    )
    for (_, test), (known, found) in zip(folds, parts, strict=True):
        judged = np.isin(y[test], known)
        columns = np.searchsorted(classes, known)
        p[test[judged]] = 0.0
        p[np.ix_(test[judged], columns)] = found[judged]
    return p


def _fold_probabilities(classifier, X, y, fold, params):
    train, test = fold
    known = np.unique(y[train])
    if len(known) < 2:  # nothing to learn, which many classifiers refuse
        return known, np.ones((len(test), 1))
    params = {
        name: cut_rows(value, train)
        if hasattr(value, "__len__") and len(value) == len(y)
        else value
        for name, value in params.items()
    }
    classifier.fit(cut_rows(X, train), y[train], **params)
    p = classifier.predict_proba(cut_rows(X, test))
    if p.shape[1] > len(known):  # a network has outputs for all classes
        p = p[:, known.astype(int)]
        return known, p / np.maximum(p.sum(axis=1, keepdims=True), 1e-300)
    return classifier.classes_, p


def _learnable(last, y, codes):
    """Return labels as a classifier can learn them: nets of skorch take codes only."""
    if not is_torch(last) or np.array_equal(y, codes):
        return y
    kinds = {cls.__name__ for cls in type(last).__mro__}
    return codes.astype(np.float32) if "NeuralNetBinaryClassifier" in kinds else codes


def _splits(cv, X, y, codes, rng):
    """Return training and test rows of the folds."""
    sizes = np.bincount(codes)
    if isinstance(cv, Integral):
        n_folds = min(cv, max(2, sizes.max()))
        # of a class with fewer rows than folds some folds have none
        kind = StratifiedKFold if sizes.max() > 1 else KFold
        cv = kind(n_folds, shuffle=True, random_state=rng.randint(SEED_MAX))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        folds = list(check_cv(cv, y, classifier=True).split(np.zeros(len(y)), y))
    tested = np.sort(np.concatenate([test for _, test in folds]))
    if not np.array_equal(tested, np.arange(len(y))):
        raise ValueError("cv has to hold out each row exactly once.")
    return folds


def mean_probabilities(scorer, X, classes):
    """Return the mean probabilities of what a scorer has kept of its trainings.

    Parameters
    ----------
    scorer : scorer
        Fitted; also one that holds others.
    X : array-like of shape (n_samples, n_features)
        The rows that it was fitted to.
    classes : ndarray of shape (n_classes,)
        Sorted labels.

    Returns
    -------
    p : ndarray of shape (n_samples, n_classes) or None
        The probabilities; None if nothing was kept.
    held_out : bool
        Whether all of them are by classifiers that have not seen the row.
    """
    scorers = getattr(scorer, "scorers_", {"": scorer}).values()
    if len(classes) < 2:
        return np.ones((len(scorer.scores_), len(classes))), True
    records = [
        (record, inner)
        for inner in scorers
        for record in getattr(inner, "checkpoints_", [])
        if record.get("models") or record.get("folds")
    ]
    if not records:
        return None, False
    found = [
        _predicted(record, inner._read_rows(X), classes) for record, inner in records
    ]
    return np.mean(found, axis=0), all("folds" in record for record, _ in records)


def _predicted(record, X, classes):
    """Return the probabilities of a run; of folds each row's by the one without it."""
    if "folds" not in record:
        return predict_with(record, X, classes)
    p = np.empty((count_rows(X), len(classes)))
    for fold in record["folds"]:
        p[fold["rows"]] = predict_with(fold, take_rows(X, fold["rows"]), classes)
    return p


def below_self_confidence(codes, p):
    """Return whether another label is more probable and the given one less than usual.

    Parameters
    ----------
    codes : int ndarray of shape (n_samples,)
        Codes of the labels.
    p : ndarray of shape (n_samples, n_classes)
        Probabilities.

    Returns
    -------
    bool ndarray of shape (n_samples,)
        Where both hold.
    """
    own = p[np.arange(len(p)), codes]
    sizes = np.bincount(codes, minlength=p.shape[1])
    confidence = np.bincount(codes, own, p.shape[1]) / np.maximum(sizes, 1)
    return (p.argmax(axis=1) != codes) & (own < confidence[codes])


def _quality(scorer, codes):
    """Return the hardness as a quality in [0, 1]."""
    scores = scorer.scores_
    if isinstance(scorer, EL2NScorer):
        return np.clip(1 - scores / 2 ** (1 / scorer.norm), 0.0, 1.0)
    if isinstance(scorer, PVIScorer):
        shares = np.bincount(codes) / len(codes)
        return np.clip(2.0**scores * shares[codes], 0.0, 1.0)
    return 1 - (rankdata(scorer.hardness_) - 0.5) / len(scores)


def _is_out_of_bag(classifier):
    return bool(classifier.get_params(deep=False).get("oob_score", False))


def _seeded(estimator, rng):
    """Set the random states that are None, also those within a pipeline."""
    names = sorted(estimator.get_params())
    unset = {
        name: rng.randint(SEED_MAX)
        for name in names
        if (name == "random_state" or name.endswith("__random_state"))
        and estimator.get_params()[name] is None
    }
    return estimator.set_params(**unset) if unset else estimator
