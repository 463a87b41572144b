# SPDX-License-Identifier: BSD-3-Clause
"""What pruning costs: accuracy against the share of kept rows, beside random choices.

In each fold the scorer is fitted once; all shares and policies use its scores, and all
trainings of the classifier the same seeds, so that differences are paired.
"""

from numbers import Real

import numpy as np
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skpapers.data_selection._scored_rows import (
    check_scorer,
    cut_rows,
    read_rows_and_labels,
    refuse_bare_module,
)
from skpapers.data_selection._scorers import EL2NScorer
from skpapers.data_selection._selection import SAMPLING, Rule, choose
from skpapers.data_selection._table import SEED_MAX

BY_CHANCE = (*SAMPLING, "random", "stratified", "mixed")


def pruning_curve(
    estimator,
    scorer,
    X,
    y,
    *,
    keeps=(0.1, 0.3, 0.5, 0.7, 0.9),
    policies=("hardest",),
    cv=5,
    scoring=None,
    equal_steps=None,
    n_draws=3,
    random_state=None,
    n_jobs=None,
):
    """Compare policies of pruning with random choices and with all rows.

    Parameters
    ----------
    estimator : classifier
        Trained on what is kept; it is cloned.

    scorer : scorer or None
        Scores the rows of each training part; it is cloned. None stands for
        ``EL2NScorer()``.

    X : array-like of shape (n_samples, n_features)
        Rows.

    y : array-like of shape (n_samples,)
        Labels.

    keeps : float or sequence of float, default=(0.1, 0.3, 0.5, 0.7, 0.9)
        Shares of the rows to keep, in (0, 1].

    policies : sequence of str, or dict of str to dict, default=("hardest",)
        Policies of `select_samples`, or names with its arguments, such as
        ``{"without the hardest": {"policy": "window", "offset": 0.2}}``. "random" and
        "all" (no pruning) are always added.

    cv : int, cross-validation generator or iterable, default=5
        Training and test rows.

    scoring : str, callable or None, default=None
        How predictions for the test rows are judged; None takes the classifier's own
        score.

    equal_steps : str, default=None
        Name of the classifier's parameter that counts its passes over the rows, such
        as "max_iter" or "model__max_iter". It is raised in proportion to what is left
        out, so that the number of steps stays. None trains for equal passes.

    n_draws : int, default=3
        Number of draws for policies that choose by chance.

    random_state : int, RandomState instance or None, default=None
        Source of the random numbers of the draws, and of scorer and classifier if they
        have no ``random_state`` of their own.

    n_jobs : int, default=None
        Number of trainings at the same time.

    Returns
    -------
    dict of str to ndarray
        Columns with an entry for each training: "policy", "keep", "fold", "draw",
        "n_kept" and "score". ``pandas.DataFrame(curve)`` is a table.

    Raises
    ------
    ValueError
        If a share is not in (0, 1], a policy is unknown, or ``equal_steps`` names no
        number.
    TypeError
        If ``scorer`` is a classifier, or a torch module, without a scorer around it.

    See Also
    --------
    InfluenceDisplay.from_curve : The picture.
    PrunedClassifier : The classifier with the choice that is best.

    Notes
    -----
    Cost: one training of the scorer in each fold, and one of the classifier for each
    share, policy, fold and draw.

    References
    ----------
    N. Anand, J. Tan, M. Minakova, "Influence scores at scale for efficient language
    data sampling", EMNLP 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skpapers.data_selection import EL2NScorer, pruning_curve
    >>> X, y = load_digits(n_class=4, return_X_y=True)
    >>> model = LogisticRegression(C=10, max_iter=200)
    >>> scorer = EL2NScorer(model, epochs=None, n_runs=1)
    >>> curve = pruning_curve(
    ...     model, scorer, X / 16, y, keeps=[0.2], cv=3, n_draws=2, random_state=0
    ... )
    >>> for policy in ("all", "random", "hardest"):
    ...     rows = curve["policy"] == policy
    ...     print(policy, rows.sum(), curve["score"][rows].mean().round(2))
    all 3 0.97
    random 6 0.96
    hardest 3 0.97
    """
    rules = _rules(policies, keeps)
    refuse_bare_module("pruning_curve", scorer)
    # pipelines and searches have columns of their own: another one knows them
    X, y = read_rows_and_labels(EL2NScorer(), X, y)
    rng = check_random_state(random_state)
    score = check_scoring(estimator, scoring)
    parts = list(check_cv(cv, y, classifier=True).split(X, y))
    seeds = rng.randint(SEED_MAX, size=(len(parts), 3))
    with_scores = Parallel(n_jobs=n_jobs)(
        delayed(_hardness)(scorer, cut_rows(X, train), y[train], seed[0])
        for (train, _), seed in zip(parts, seeds, strict=True)
    )
    jobs = []
    for fold, (hardness, seed) in enumerate(zip(with_scores, seeds, strict=True)):
        train, test = parts[fold]
        codes = np.unique(y[train], return_inverse=True)[1]
        for name, rule in rules:
            draws = n_draws if rule.policy in BY_CHANCE and rule.keep < 1 else 1
            for draw in range(draws):
                chance = np.random.RandomState((int(seed[1]) + draw) % SEED_MAX)
                rows = train[choose(hardness, codes, rule, chance)]
                share = len(train) / len(rows)
                model = _model(estimator, int(seed[2]), equal_steps, share)
                job = delayed(_train_and_test)(model, X, y, rows, test, score)
                jobs.append(((name, rule.keep, fold, draw, len(rows)), job))
    scores = Parallel(n_jobs=n_jobs)(job for _, job in jobs)
    columns = zip(*(key for key, _ in jobs), strict=True)
    names = ("policy", "keep", "fold", "draw", "n_kept")
    curve = {name: np.array(c) for name, c in zip(names, columns, strict=True)}
    return {**curve, "score": np.array(scores)}


def _rules(policies, keeps):
    """Return named rules, all rows and random ones first."""
    shares = [keeps] if np.ndim(keeps) == 0 else list(keeps)
    for keep in shares:
        if not (isinstance(keep, Real) and 0 < keep <= 1):
            raise ValueError(
                f"keep={keep!r} in keeps: for pruning_curve keep is a share of the "
                "training rows, in (0, 1], not a number of rows."
            )
    if isinstance(policies, str):
        policies = [policies]
    if not isinstance(policies, dict):
        policies = {policy: {"policy": policy} for policy in policies}
    rules = [("all", Rule(1.0))]
    for name, options in {"random": {"policy": "random"}, **policies}.items():
        rules += [(name, Rule(**{**options, "keep": float(keep)})) for keep in shares]
    return rules


def _seeded(estimator, seed):
    """Set the random states that are None to a seed."""
    params = estimator.get_params()
    unset = {
        name: int(seed)
        for name, value in params.items()
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    }
    return estimator.set_params(**unset) if unset else estimator


def _hardness(scorer, X, y, seed):
    scorer = clone(EL2NScorer() if scorer is None else scorer)
    fitted = _seeded(scorer, seed).fit(X, y)
    check_scorer(fitted)
    return fitted.hardness_


def _model(estimator, seed, equal_steps, share):
    model = _seeded(clone(estimator), seed)
    if equal_steps is not None:
        passes = model.get_params().get(equal_steps)
        if not isinstance(passes, int | np.integer):
            raise ValueError(
                f"equal_steps={equal_steps!r} has to name a parameter of the "
                f"classifier that is a number of passes; it is {passes!r}."
            )
        model.set_params(**{equal_steps: max(1, round(passes * share))})
    return model


def _train_and_test(model, X, y, rows, test, score):
    model.fit(cut_rows(X, rows), y[rows])
    return score(model, cut_rows(X, test), y[test])
