# SPDX-License-Identifier: BSD-3-Clause
"""Several scores of the rows from the same trainings."""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skpapers.data_selection._chunks import is_dask, score_partitions
from skpapers.data_selection._groups import ScorerHolder
from skpapers.data_selection._scorers._el2n import EL2NScorer
from skpapers.data_selection._scorers._forgetting import ForgettingScorer
from skpapers.data_selection._scorers._grand import GraNdScorer
from skpapers.data_selection._scorers._pvi import PVIScorer
from skpapers.data_selection._scorers._tracin import TracInScorer
from skpapers.data_selection._scorers._vog import VoGScorer
from skpapers.utils._callbacks import CallbackSupportMixin, with_callbacks
from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._sklearn import HasMethods, fit_context


class ScoreBank(CallbackSupportMixin, ScorerHolder, DocumentedEstimator):
    """Several scores of the rows from the same trainings.

    Scorers with the same classifier share their runs: each training is looked at once
    at each checkpoint that one of them asks for, with one forward and at most two
    backward passes, and no checkpoint is stored but those that `score_samples` needs.

    Parameters
    ----------
    scorers : list of (str, scorer), default=None
        Names and scorers. None stands for all six kinds with their defaults: "el2n",
        "grand", "vog", "forgetting", "pvi" and "tracin".

    random_state : int, RandomState instance or None, default=None
        Source of the random numbers of the scorers that have no ``random_state`` of
        their own. The result for a given seed does not depend on ``n_jobs``.

    n_jobs : int, default=None
        Number of runs trained at the same time; that of the scorers is not used.
        None means 1 unless in a `joblib.parallel_config` context, which may also name
        a cluster.

    memory : str or joblib.Memory, default=None
        Where to keep finished runs, so that fitting again with the same parameters,
        rows and (integer) ``random_state`` does not train again.

    verbose : int or bool, default=0
        Whether to print a line after each run.

    Attributes
    ----------
    scorers_ : dict of str to scorer
        The fitted scorers.

    names_ : list of str
        Their names.

    scores_ : ndarray of shape (n_samples, n_scorers)
        Their scores, in columns.

    hardness_ : ndarray of shape (n_samples, n_scorers)
        The same with the hard rows on top.

    n_trainings_ : int
        Number of trainings that it took.

    classes_ : ndarray of shape (n_classes,)
        The labels.

    n_features_in_ : int
        Number of columns seen in ``fit``.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X was a frame whose columns have names.

    See Also
    --------
    EnsembleScorer : One score made of several.

    Notes
    -----
    Cost: as many runs as the scorer with most of them asks for. A scorer trains by
    itself if its classifier or its ``random_state`` differs, if it is a `PVIScorer`
    with ``cv`` or ``null_model="fit"``, or if only it has ``epochs=None`` or 0. Where
    a scorer looks within epochs, the rows of an epoch are shuffled for all. Memory:
    that of the scores, O(n) each, O(n d) for VoG, per run under way.

    References
    ----------
    .. [1] M. Paul, S. Ganguli, G. K. Dziugaite, "Deep learning on a data diet: finding
       important examples early in training", NeurIPS 2021.
    .. [2] N. Anand, J. Tan, M. Minakova, "Influence scores at scale for efficient
       language data sampling", EMNLP 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skpapers.data_selection import EL2NScorer, ScoreBank, TracInScorer
    >>> X, y = load_iris(return_X_y=True)
    >>> X, y = StandardScaler().fit_transform(X), y.copy()
    >>> y[:3] = 2  # wrong labels
    >>> scorers = [("el2n", EL2NScorer(n_runs=3)), ("tracin", TracInScorer())]
    >>> bank = ScoreBank(scorers, random_state=0).fit(X, y)
    >>> bank.n_trainings_
    3
    >>> np.sort(np.argsort(bank.hardness_, axis=0)[-3:], axis=0)
    array([[0, 0],
           [1, 1],
           [2, 2]])
    """

    _parameter_constraints = {
        "scorers": [list, None],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "memory": [str, HasMethods(["cache"]), None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        scorers=None,
        *,
        random_state=None,
        n_jobs=None,
        memory=None,
        verbose=0,
    ):
        self.scorers = scorers
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    def _default_scorers(self):
        return [
            ("el2n", EL2NScorer()),
            ("grand", GraNdScorer()),
            ("vog", VoGScorer()),
            ("forgetting", ForgettingScorer()),
            ("pvi", PVIScorer()),
            ("tracin", TracInScorer()),
        ]

    @with_callbacks
    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **fit_params):
        """Train as often as needed and score the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in the form that the classifiers take.
        y : array-like of shape (n_samples,)
            Labels.
        **fit_params : dict
            What the classifiers' ``fit`` is to be given, by metadata routing.

        Returns
        -------
        self : object
            The fitted bank.

        Raises
        ------
        ValueError
            As for the scorers, or if names are not unique.
        TypeError
            As for the scorers, or if one is none.
        """
        self.scorers_, table, self.n_trainings_ = self._fit_scorers(X, y, fit_params)
        self.classes_ = table.classes
        self.names_ = list(self.scorers_)
        self.scores_ = np.column_stack([s.scores_ for s in self.scorers_.values()])
        return self

    @property
    def hardness_(self):
        """Scores with the hard rows on top, of shape (n_samples, n_scorers)."""
        check_is_fitted(self)
        return np.column_stack([s.hardness_ for s in self.scorers_.values()])

    def score_samples(self, X, y=None):
        """Score other rows with what was kept of the runs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; of a dask table the partitions are scored where they lie.
        y : array-like of shape (n_samples,), default=None
            Their labels; None takes the labels that the classifiers predict.

        Returns
        -------
        ndarray of shape (n_samples, n_scorers)
            The scores, in the columns of ``scores_``.

        Raises
        ------
        ValueError
            If a label is new, or if a scorer did not keep its checkpoints.
        """
        check_is_fitted(self)
        if is_dask(X):
            return score_partitions(self.score_samples, X, y)
        self._read_rows(X)
        scores = [s.score_samples(X, y) for s in self.scorers_.values()]
        return np.column_stack(scores)
