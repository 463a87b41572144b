# SPDX-License-Identifier: BSD-3-Clause
"""Selection of the columns that stand next to a target in a learnt causal graph.

In a directed acyclic graph the parents of a target are its direct causes. Its Markov
blanket are its parents, its children and the other parents of its children: given the
values of the blanket, no further column tells anything about the target [1]_.

References
----------
.. [1] J. Pearl, "Probabilistic Reasoning in Intelligent Systems", Morgan Kaufmann
   (1988).
"""

from numbers import Integral, Number

import numpy as np
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._sklearn import HasMethods, StrOptions, fit_context

FLOATS = (np.float64, np.float32)


def neighbours_of(adjacency, target, kind):
    """Return the mask of the parents or of the Markov blanket of a node.

    Parameters
    ----------
    adjacency : ndarray of shape (d, d)
        A non-zero entry (i, j) is the edge i -> j.
    target : int
        The node.
    kind : {"parents", "markov_blanket"}
        Which neighbours.

    Returns
    -------
    ndarray of shape (d,), dtype bool
        The mask; the node itself is never in it.
    """
    edges = adjacency != 0
    mask = edges[:, target].copy()
    if kind == "markov_blanket":
        children = edges[target]
        mask |= children | edges[:, children].any(axis=1)
    mask[target] = False
    return mask


def encode_target(y):
    """Return a target as numbers: labels of two classes become 0 and 1.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Numbers, or labels of exactly two classes.

    Returns
    -------
    ndarray of shape (n_samples,)
        The numbers; of two labels the one that is sorted first becomes 0.

    Raises
    ------
    ValueError
        If there are more or fewer than two labels, or if y holds neither numbers nor
        labels.
    """
    if y.dtype.kind in "biuf":
        return y
    if y.dtype.kind not in "OUST":
        raise ValueError(f"y must hold numbers or class labels, got dtype {y.dtype}.")
    if y.dtype.kind == "O" and all(isinstance(value, Number) for value in y):
        return y.astype(np.float64)
    labels, codes = np.unique(y.astype(str), return_inverse=True)
    if len(labels) != 2:
        shown = ", ".join(labels[:5]) + (", ..." if len(labels) > 5 else "")
        raise ValueError(
            f"y holds the {len(labels)} class label(s) {shown}; a causal graph needs a "
            "numeric target or exactly two classes. Give y as numbers if the classes "
            "are ordered, or select against one class at a time (y == label)."
        )
    return codes


class CausalFeatureSelector(MetaEstimatorMixin, SelectorMixin, DocumentedEstimator):
    """Select the columns next to a target in a learnt causal graph.

    A learner draws the causal graph of all columns and the target. What is kept are
    the target's direct causes (its parents) or its Markov blanket: parents, children
    and the children's other parents.

    *Which of the two.* Given the values of its Markov blanket, the target is
    independent of every other column, so the blanket is the smallest set that loses
    nothing **for prediction on data like those of the fit**. Children are
    consequences, though: as soon as somebody intervenes on one of them, its value
    tells less about the target, or misleads. The parents are the set that **keeps
    predicting when anything but the target itself is changed from outside**, at the
    price of a lower accuracy as long as nothing changes.

    Both statements hold for the true graph without hidden common causes; the learnt
    graph is an estimate.

    Parameters
    ----------
    learner : estimator, default=None
        Learner of a graph, with ``fit(X)`` and then ``adjacency_`` (a non-zero entry
        (i, j) is the edge i -> j), for example `CoLiDE`. It is cloned. None stands for
        `TopologicalSwap` with ``random_state=0`` and else its default parameters; to
        tune the learner's parameters (``learner__...``), pass one.
    target : int or str, default=None
        None: the target is the ``y`` of `fit`, which the graph gets as its last
        column. Else the target is this column of X, by index or name, and ``y`` is
        ignored; the target is never among the selected columns.
    kind : {"parents", "markov_blanket"}, default="parents"
        Which columns to keep.

    Attributes
    ----------
    learner_ : estimator
        The fitted learner. Its graph has the column names of a data frame and the name
        of the target; draw it with ``DAGDisplay.from_estimator(selector)``.
    target_index_ : int
        Index of the target among the columns of ``learner_``.
    target_name_ : str
        Name of the target: the column's, that of the series ``y``, or ``"y"``.
    support_ : ndarray of shape (`n_features_in_`,)
        Boolean mask of the selected columns, as from `get_support`.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these columns, if they have any that are all strings.

    See Also
    --------
    skpapers.causal.DAGDisplay : Draw the graph behind the selection.
    sklearn.feature_selection.SelectFromModel : Select by the size of coefficients.

    Notes
    -----
    If the target has no neighbours in the graph, `transform` returns no column and
    warns, as scikit-learn's selectors do; an estimator behind it in a pipeline then
    fails. In a grid search such a candidate scores ``error_score``.

    The learners of this package are linear and depend on the units of the columns; a
    target of two classes enters as a number 0 or 1. If it is known that the target
    causes none of the columns, tell the learner (``forbidden_edges``, ``tiers``): the
    Markov blanket is then the set of parents.

    The cost is that of the learner on one column more, plus O(d²).

    References
    ----------
    .. [1] J. Pearl, "Probabilistic Reasoning in Intelligent Systems", Morgan Kaufmann
       (1988).
    .. [2] J. Peters, P. Bühlmann, N. Meinshausen, "Causal inference by using invariant
       prediction: identification and confidence intervals", Journal of the Royal
       Statistical Society B 78 (2016) 947-1012.

    Examples
    --------
    The target has one cause and one consequence; the third column is another cause of
    that consequence, the fourth has nothing to do with it.

    >>> import numpy as np
    >>> from skpapers.causal import CausalFeatureSelector
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.standard_normal((5, 1000))
    >>> cause, other, unrelated = noise[:3]
    >>> y = 2 * cause + noise[3]
    >>> consequence = y - other + noise[4]
    >>> X = np.column_stack([cause, consequence, other, unrelated])
    >>> CausalFeatureSelector(kind="parents").fit(X, y).get_support()
    array([ True, False, False, False])
    >>> CausalFeatureSelector(kind="markov_blanket").fit(X, y).get_support()
    array([ True,  True,  True, False])
    """

    _parameter_constraints = {
        "learner": [HasMethods(["fit", "get_params"]), None],
        "target": [Integral, str, None],
        "kind": [StrOptions({"parents", "markov_blanket"})],
    }

    def __init__(self, learner=None, *, target=None, kind="parents"):
        self.learner = learner
        self.target = target
        self.kind = kind

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Learn the graph and select the columns next to the target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The columns: numeric, finite, at least two rows.
        y : array-like of shape (n_samples,), default=None
            The target, if the parameter ``target`` is None: numbers, or labels of
            exactly two classes. Ignored otherwise.

        Returns
        -------
        self : object
            The fitted selector.

        Raises
        ------
        ValueError
            If ``target`` is None and y is missing or has labels of more than two
            classes, if ``target`` is no column of X, or if the learner has no square
            ``adjacency_`` after its fit.
        """
        if self.target is None:
            table = self._append_target(X, y)
        else:
            validate_data(self, X, dtype=FLOATS, ensure_min_samples=2)
            self._find_target()
            table = X
        self.learner_ = self._make_learner().fit(table)
        adjacency = self._check_adjacency()
        mask = neighbours_of(adjacency, self.target_index_, self.kind)
        self.support_ = mask[: self.n_features_in_]
        return self

    def _append_target(self, X, y):
        """Return the table [X, y], as a data frame if X is one with column names."""
        frame, series = X, y
        X, y = validate_data(self, X, y, dtype=FLOATS, ensure_min_samples=2)
        table = np.column_stack([X, encode_target(y).astype(X.dtype, copy=False)])
        self.target_index_ = self.n_features_in_
        names = getattr(self, "feature_names_in_", ())
        self.target_name_ = _free_name(getattr(series, "name", None), names)
        if len(names) == 0:
            return table
        return _make_frame(table, [*names, self.target_name_], like=frame)

    def _find_target(self):
        """Find the column of X that is the target."""
        d = self.n_features_in_
        names = getattr(self, "feature_names_in_", None)
        index = self.target
        if isinstance(index, str):
            if names is None:
                raise ValueError(
                    f"target={index!r} is a name, but X has no column names: pass a "
                    "data frame or the index of the column."
                )
            if index not in names:
                raise ValueError(f"target={index!r} is no column; known: {list(names)}")
            index = list(names).index(index)
        if not -d <= index < d:
            raise ValueError(f"target={index} is no index of the {d} column(s) of X.")
        self.target_index_ = int(index) % d
        known = f"x{self.target_index_}" if names is None else names[self.target_index_]
        self.target_name_ = str(known)

    def _make_learner(self):
        if self.learner is not None:
            return clone(self.learner)
        from skpapers.causal._topological_swap import TopologicalSwap

        return TopologicalSwap(random_state=0)

    def _check_adjacency(self):
        d = self.n_features_in_ + (self.target is None)
        adjacency = getattr(self.learner_, "adjacency_", None)
        if np.shape(adjacency) != (d, d):
            raise ValueError(
                f"learner must be a learner of causal graphs, whose adjacency_ has the "
                f"shape ({d}, {d}) after fit; {type(self.learner_).__name__} has "
                + ("no adjacency_." if adjacency is None else f"{np.shape(adjacency)}.")
            )
        return np.asarray(adjacency)

    def _get_support_mask(self):
        check_is_fitted(self)
        return self.support_

    def inverse_transform(self, X):
        """Put the selected columns back in their places, zeros in the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_selected_features)
            Selected columns.

        Returns
        -------
        ndarray of shape (n_samples, `n_features_in_`)
            The table with zeros in the columns that were not selected.

        Raises
        ------
        ValueError
            If X has another number of columns than were selected.
        """
        if self.get_support().any():
            return super().inverse_transform(X)
        X = check_array(X, dtype=None, ensure_min_features=0)
        if X.shape[1]:
            raise ValueError("X has a different shape than during fitting.")
        return np.zeros((X.shape[0], self.n_features_in_), dtype=X.dtype)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.target is None
        return tags


def _free_name(name, taken):
    """Return a name for the target that no column has."""
    name = name if isinstance(name, str) and name else "y"
    while name in taken:
        name += "_"
    return name


def _make_frame(table, names, like):
    """Return an array as a pandas or polars data frame if ``like`` is one."""
    if hasattr(like, "iloc"):
        import pandas

        return pandas.DataFrame(table, columns=names, copy=False)
    if hasattr(like, "lazy"):
        import polars

        return polars.DataFrame(table, schema=names)
    return table
