# SPDX-License-Identifier: BSD-3-Clause
"""The next designs to try, from a table of designs and scores alone.

A surrogate g is fitted to the standardised table, and a search maximises it from the
best rows. No score is measured on the way, so that what is proposed is only as good as
g is beyond the rows: the surrogate by default is regularised for that.
"""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn import get_config
from sklearn.base import MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from skpapers.offline_optimization._choice import Chooser
from skpapers.offline_optimization._searches import FILES, check_params, load_search
from skpapers.offline_optimization._space import (
    DesignSpace,
    numbers_of,
)
from skpapers.offline_optimization._surrogates import (
    WITHOUT_GRADIENT,
    Objective,
    fit_surrogate,
    is_net,
    predict_surrogate,
)
from skpapers.offline_optimization._tables import TableForm, as_table, library_of
from skpapers.utils import DataConditionWarning
from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._sklearn import HasMethods, Interval, StrOptions, fit_context
from skpapers.utils._units import mean_and_scale

SEED_MAX = np.iinfo(np.int32).max
CLIMBS = ("gradient", "coms")  # searches that need the gradient of the surrogate
AFTER_SUGGEST = (
    "candidates_",
    "candidate_scores_",
    "distance_to_data_",
    "n_surrogate_calls_",
)


class OfflineOptimizer(MetaEstimatorMixin, RegressorMixin, DocumentedEstimator):
    """Propose better designs from a fixed table of designs and scores.

    ``fit`` trains a surrogate of the score, ``suggest`` searches for designs that it
    rates highest and returns them as rows like those of the table: same columns, units
    and types, within bounds, with valid categories and whole numbers.

    Parameters
    ----------
    estimator : estimator, default=None
        Surrogate: a regressor, or a net of skorch; it is cloned, and fitted to
        standardised columns and scores. ``search="gradient"`` needs one with gradients:
        a `SharpnessRegularizedRegressor`, which None stands for (with
        ``dtype="float32"``), or a net. The other searches take any regressor of
        scikit-learn. A `GridSearchCV` of such an estimator will do, too, and any other
        search over its parameters that refits the best; its folds and scorers are of
        the maximizing kind, also for ``maximize=False``.

    search : str or callable, default="gradient"
        How to search: "gradient" (ascent from the best rows), "coms" (ascent on a
        `ConservativeRegressor`, which None then stands for; where all columns are
        categories, with steps of 2 for their logits), "cmaes", "reinforce",
        "pymoo" or "bo" (Bayesian optimisation). Or a function
        ``search(objective, space, starts, n_candidates, rng, **search_params)`` that
        returns points (k, D) in standardised coordinates; ``objective.values(Z)``
        gives the scores of points, ``starts`` the best rows, and ``space.lower``,
        ``space.upper`` their box.

    search_params : dict, default=None
        Parameters of the search, such as ``{"n_steps": 50}``, also one at a time as
        ``search_params__n_steps``; unknown ones are refused with a list of those that
        there are.

    bounds : None, "free", array-like or dict, default=None
        Bounds of the columns of numbers: an array of shape (n_features, 2), a tuple of
        lower and upper bounds (numbers or sequences), or a dict from columns to pairs.
        Frames and series with an index are read by the names of the columns. Equal
        bounds fix a column. None, and columns that the dict leaves out, take the range
        of the training rows widened by ``bounds_margin``; "free" sets none. Rows for
        columns with categories are not read.

    bounds_margin : float, default=0.1
        Share of a column's range that is added on either side of it.

    categories : None, "dtype" or list, default=None
        Columns with categories: each entry is a column by name or index, with values
        of any type, or a list of columns that are a one-hot group. "dtype" takes all
        columns of a frame that are no numbers, and those of booleans. Values that do
        not occur in the training rows are never proposed.

    integers : None, "dtype" or list, default="dtype"
        Columns of whole numbers: names or indices, or by dtype.

    n_candidates : int, default=128
        Number of best rows that the search starts from, and of designs to suggest.

    maximize : bool, default=True
        Whether large scores are good. If not, the surrogate is fitted to negated
        scores, of which the larger ones are good again.

    distinct : bool, default=True
        Whether to refuse rows of the table and repetitions among the suggestions.

    random_state : int, RandomState instance or None, default=None
        Source of the draws of the search, and of the surrogate if it has no
        ``random_state`` of its own. ``suggest`` gives the same designs after the same
        ``fit``.

    Attributes
    ----------
    estimator_ : estimator
        The surrogate, fitted to standardised columns and to standardised scores, which
        are negated for ``maximize=False``.

    space_ : object
        Which designs are allowed, and their coordinates.

    bounds_ : ndarray of shape (`n_features_in_`, 2)
        Bounds of the columns; NaN for columns of categories.

    start_designs_ : ndarray of shape (n_starts, `n_features_in_`)
        The best rows, best first; of objects if some values are no numbers.

    y_mean_, y_scale_ : float
        Mean and standard deviation of the scores.

    candidates_ : ndarray of shape (n_suggested, `n_features_in_`)
        The designs that ``suggest`` has returned, best first.

    candidate_scores_ : ndarray of shape (n_suggested,)
        Their predicted scores in units of y: what ``predict`` says, or the worst member
        of the surrogate with ``search_params={"reduction": "min"}``.

    distance_to_data_ : ndarray of shape (n_suggested,)
        Euclidean distance to the nearest row of the table in standardised coordinates.
        The larger it is, the less is known about the score.

    n_surrogate_calls_ : int
        How often ``suggest`` has asked the surrogate.

    n_features_in_ : int
        Number of columns seen in ``fit``.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if all are strings.

    See Also
    --------
    SharpnessRegularizedRegressor : The surrogate by default.
    QuantileShiftSplit : Folds that judge a surrogate on better rows than it was shown.

    Notes
    -----
    ``score`` is the R² of ``predict``. It tells nothing of the suggestions: a good
    surrogate among the rows may be far too optimistic beyond them.

    The steps of a search, and hence the suggestions, do not depend on the units of the
    columns or the scores.

    A category out of K becomes K - 1 coordinates (`LogitEncoder`), so that searches
    move between categories; the design that a point decodes to is what is scored, in
    the end. If fewer distinct designs are found than asked for, neighbours of the best
    are added.

    Cost: that of the surrogate's ``fit``, O(n log n) for the order of the rows, and
    that of the search; gradient ascent takes ``n_steps`` gradients for all rows at
    once, O(n_steps n_candidates) rows of the network.

    References
    ----------
    .. [1] M. C. Dao, P. L. Nguyen, T. N. Truong, T. N. Hoang, "Incorporating surrogate
       gradient norm to improve offline optimization techniques", NeurIPS 2024.
    .. [2] B. Trabucco, X. Geng, A. Kumar, S. Levine, "Design-Bench: benchmarks for
       data-driven offline model-based optimization", ICML 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from skpapers.offline_optimization import OfflineOptimizer
    >>> def climb(objective, space, starts, n_candidates, rng):
    ...     points = space.project(starts + 0.5 * rng.standard_normal(starts.shape))
    ...     return points[np.argsort(-objective.values(points))]
    >>> rng = np.random.RandomState(0)
    >>> X = rng.uniform(size=(50, 2))
    >>> y = -((X - 0.4) ** 2).sum(axis=1)
    >>> optimizer = OfflineOptimizer(
    ...     RandomForestRegressor(20), search=climb, bounds=(0, 1), n_candidates=20,
    ...     random_state=0)
    >>> designs = optimizer.fit(X, y).suggest(3)
    >>> designs.shape, bool(designs.min() >= 0 and designs.max() <= 1)
    ((3, 2), True)
    """

    _plain_dicts = ("search_params",)
    _instead_of_none = {"estimator": "SharpnessRegularizedRegressor()"}

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "search": [StrOptions(set(FILES)), callable],
        "search_params": [dict, None],
        "bounds": [StrOptions({"free"}), "array-like", dict, None],
        "bounds_margin": [Interval(Real, 0, None, closed="left")],
        "categories": [StrOptions({"dtype"}), "array-like", None],
        "integers": [StrOptions({"dtype"}), "array-like", None],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "maximize": ["boolean"],
        "distinct": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        search="gradient",
        search_params=None,
        bounds=None,
        bounds_margin=0.1,
        categories=None,
        integers="dtype",
        n_candidates=128,
        maximize=True,
        distinct=True,
        random_state=None,
    ):
        self.estimator = estimator
        self.search = search
        self.search_params = search_params
        self.bounds = bounds
        self.bounds_margin = bounds_margin
        self.categories = categories
        self.integers = integers
        self.n_candidates = n_candidates
        self.maximize = maximize
        self.distinct = distinct
        self.random_state = random_state

    # ---------------------------------------------------------------- fit and predict
    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **fit_params):
        """Fit the surrogate to a table of designs.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Designs.
        y : array-like of shape (n_samples,)
            Their scores.
        **fit_params : dict
            Handed on to the ``fit`` of the surrogate, by metadata routing if that is
            enabled.

        Returns
        -------
        self : object
            The fitted optimizer.

        Raises
        ------
        ValueError
            If values are missing, y is constant, bounds, categories or integers do not
            fit the table, or the search needs a gradient that the surrogate lacks.

        Warns
        -----
        DataConditionWarning
            If there are fewer rows than ``n_candidates``.
        """
        check_params(self.search, self.search_params)
        estimator = clone(self._resolve_estimator())
        self._check_gradient(estimator)
        _check_folds(estimator)
        table, y = self._read_training(X, y)
        rng = check_random_state(self.random_state)
        seed, self._search_seed = (int(s) for s in rng.randint(SEED_MAX, size=2))
        self.space_ = self._make_space(table)
        if self.estimator is None:
            estimator.set_params(**self._constants())
        score = self._standardise(y)
        self._rank(score)
        Z = self.space_.encode(self.space_.training)
        _seed_estimator(estimator, seed)
        params = self._route(fit_params)
        self.estimator_ = fit_surrogate(estimator, Z, score, params, seed)
        for name in AFTER_SUGGEST:
            vars(self).pop(name, None)  # they are of another table
        return self

    def predict(self, X):
        """Predict scores with the surrogate.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Designs.

        Returns
        -------
        ndarray of shape (n_samples,)
            Scores in units of y.

        Warns
        -----
        DataConditionWarning
            If categories do not occur in the training rows; they count as undecided.
        """
        check_is_fitted(self)
        if self.categories is None:
            _refuse_texts(X)
            table = validate_data(self, X, reset=False, dtype=np.float64)
        else:
            validate_data(self, X, reset=False, skip_check_array=True)
            table = as_table(self, X)
        code = self.space_.read(table)
        self._warn_of_unknown(code)
        score = predict_surrogate(self.estimator_, self.space_.encode(code))
        return self._in_units(score)

    def _resolve_estimator(self):
        """Return the surrogate; a network has no use for more than single precision."""
        if self.estimator is not None:
            return self.estimator
        if self.search == "coms":
            from skpapers.offline_optimization._conservative import (
                ConservativeRegressor,
            )

            return ConservativeRegressor(dtype="float32")
        from skpapers.offline_optimization._regressor import (
            SharpnessRegularizedRegressor,
        )

        return SharpnessRegularizedRegressor(dtype="float32")

    def _constants(self):
        """Return what the surrogate by default is told of the space."""
        if self.search == "coms" and self.space_.is_discrete:
            from skpapers.offline_optimization._conservative import FOR_CATEGORIES

            return FOR_CATEGORIES
        return {}

    def _check_gradient(self, estimator):
        """Raise before the training if the search could not use the surrogate."""
        if hasattr(estimator, "refit") and hasattr(estimator, "estimator"):
            estimator = estimator.estimator  # any search over parameters has both
        climbs = self.search in CLIMBS if isinstance(self.search, str) else False
        if climbs and not (hasattr(estimator, "tensor_predict") or is_net(estimator)):
            raise ValueError(
                f"search={self.search!r} needs the gradient of the surrogate, but "
                f"{type(estimator).__name__} has none (no tensor_predict); "
                f"search={WITHOUT_GRADIENT} needs none."
            )

    def _read_training(self, X, y):
        """Return the table as it is, checked as far as it is not the space's to do."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None"
            )
        if self.categories is None:
            _refuse_texts(X)
            _, y = validate_data(
                self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2
            )
            return X if library_of(X) != "numpy" else np.asarray(X), y
        library_of(X)  # refuses what has no rows
        validate_data(self, X, y, skip_check_array=True)
        table = as_table(self, X, ensure_min_samples=2)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        y = column_or_1d(y, warn=True)
        check_consistent_length(table, y)
        return table, y

    def _make_space(self, table):
        space = DesignSpace(
            table,
            bounds=self.bounds,
            bounds_margin=self.bounds_margin,
            categories=self.categories,
            integers=self.integers,
        )
        self.bounds_ = space.bounds
        return space

    def _standardise(self, y):
        """Return what the surrogate is to learn, the larger the better."""
        y = y.astype(np.float64)
        if y.max() == y.min():
            raise ValueError("y is constant: no design is better than another.")
        mean, scale = mean_and_scale(y)
        self.y_mean_, self.y_scale_ = float(mean), float(scale)
        self._sign = 1.0 if self.maximize else -1.0
        return self._sign * ((y - mean) / scale)

    def _in_units(self, score):
        return self.y_mean_ + self.y_scale_ * (self._sign * score)

    def _rank(self, score):
        """Remember the order of the rows, and show the best."""
        self._order = np.argsort(-score, kind="stable")
        best = self._order[: self.n_candidates]
        self.start_designs_ = self.space_.to_array(self.space_.training[best])
        if len(best) < self.n_candidates:
            warnings.warn(
                f"The table has {len(best)} rows, fewer than "
                f"n_candidates={self.n_candidates}: the search starts from all of "
                "them.",
                DataConditionWarning,
                stacklevel=5,  # past what wraps fit
            )

    def _route(self, fit_params):
        """Return what goes to the fit of the surrogate."""
        if not get_config()["enable_metadata_routing"]:
            return dict(fit_params)
        return dict(process_routing(self, "fit", **fit_params).estimator.fit)

    def _warn_of_unknown(self, code):
        names = [
            self.space_.form.name_of(category.columns[0])
            for place, category in zip(
                self.space_.category_parts, self.space_.categories, strict=True
            )
            if (code[:, place] < 0).any()
        ]
        if names:
            warnings.warn(
                f"Categories of columns {', '.join(names)} do not occur in the "
                "training rows; they count as undecided between all that do.",
                DataConditionWarning,
                stacklevel=3,
            )

    # ------------------------------------------------------------------------- suggest
    def suggest(self, n_samples=None):
        """Return the designs that the surrogate rates highest.

        Parameters
        ----------
        n_samples : int, default=None
            Number of designs; None takes ``n_candidates``.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features)
            Designs, the best first by their predicted score: in the container, columns
            and types of the table.

        Raises
        ------
        ValueError
            If ``n_samples`` is no positive integer, or search and surrogate do not fit.

        Warns
        -----
        DataConditionWarning
            If there are fewer distinct designs than asked for.
        """
        check_is_fitted(self)
        n_samples = self._check_number(n_samples)
        space, rng = self.space_, np.random.RandomState(self._search_seed)
        params = check_params(self.search, self.search_params)
        objective = Objective(
            getattr(self.estimator_, "best_estimator_", self.estimator_),
            params.get("reduction", "mean"),
        )
        n_starts = max(n_samples, self.n_candidates)
        starts = self._starts(n_starts)
        search = load_search(self.search)
        Z = search(objective, space, starts, n_starts, rng, **params)
        chooser = Chooser(space, objective, self.distinct)
        chooser.offer(space.decode(_check_points(Z, starts)), n_samples)
        chooser.fill(space.decode(starts), n_samples, rng)
        self._keep(chooser, objective, n_samples)
        return space.write(chooser.code)

    def _check_number(self, n_samples):
        if n_samples is None:
            return self.n_candidates
        is_int = isinstance(n_samples, Integral) and not isinstance(n_samples, bool)
        if not is_int or n_samples < 1:
            raise ValueError(f"n_samples={n_samples!r} is no positive integer.")
        return int(n_samples)

    def _starts(self, n_starts):
        """Return the points of the best rows, moved into the box."""
        best = self.space_.training[self._order[:n_starts]]
        return self.space_.project(self.space_.encode(best))

    def _keep(self, chooser, objective, n_samples):
        """Remember what was chosen, and tell if it is less than asked for."""
        code = chooser.code
        self.candidates_ = self.space_.to_array(code)
        self.candidate_scores_ = self._in_units(chooser.scores)
        self.distance_to_data_ = chooser.distances()
        self.n_surrogate_calls_ = objective.n_calls
        if len(code) < n_samples:
            warnings.warn(
                f"Only {len(code)} of {n_samples} designs are returned: no others were "
                f"found that are allowed and not in the table, of about "
                f"{self.space_.n_designs:.6g} designs that bounds and categories "
                "leave. Widen the bounds or set distinct=False.",
                DataConditionWarning,
                stacklevel=3,
            )

    # ---------------------------------------------------------------- for scikit-learn
    def get_metadata_routing(self):
        """Return how arguments reach the surrogate.

        Returns
        -------
        routing : MetadataRouter
            What the ``fit`` of the surrogate and the own ``score`` request.
        """
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(
                estimator=self._resolve_estimator(),
                method_mapping=MethodMapping().add(caller="fit", callee="fit"),
            )
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.categorical = self.categories is not None
        tags.input_tags.string = self.categories is not None
        return tags


def _refuse_texts(X):
    """Raise if a frame has columns that are no numbers, and say what to do."""
    if library_of(X) == "numpy":
        return
    form = TableForm(X)
    for j in range(form.n_columns):
        if form.number_type(j) is None:
            numbers_of(X, j, form)


def _check_folds(estimator):
    """Raise if a search over the surrogate takes low scores for the good ones."""
    if getattr(getattr(estimator, "cv", None), "maximize", True):
        return
    raise ValueError(
        f"The cv of the {type(estimator).__name__} has maximize=False, but a surrogate "
        "is fitted to scores of which the larger ones are good (they are negated for "
        "OfflineOptimizer(maximize=False)): set maximize=True in its cv and scorers."
    )


def _seed_estimator(estimator, seed):
    """Give a seed to an estimator, and to those within it, that have none."""
    if not hasattr(estimator, "get_params"):
        return
    params = estimator.get_params(deep=True)
    unset = [
        name
        for name, value in sorted(params.items())
        if name.rpartition("__")[2] == "random_state" and value is None
    ]
    rng = np.random.RandomState(seed)
    estimator.set_params(**{name: int(rng.randint(SEED_MAX)) for name in unset})


def _check_points(Z, starts):
    """Return the finite points of a search, or the starts if there are none."""
    Z = np.asarray(Z, dtype=np.float64)
    if Z.ndim != 2 or Z.shape[1] != starts.shape[1]:
        raise ValueError(
            f"The search has returned shape {Z.shape}; points of shape "
            f"(k, {starts.shape[1]}) are expected."
        )
    Z = Z[np.isfinite(Z).all(axis=1)]
    return Z if len(Z) else starts
