# SPDX-License-Identifier: BSD-3-Clause
"""A classifier looked at while it trains: the one protocol of checkpoints.

Time is counted in epochs t. What an epoch is depends on what the classifier offers, in
this order:

    torch modules and skorch nets   passes over the rows (a room of its own);
    ``staged_predict_proba``        boosting stages: one fit, stage t is epoch t;
    ``partial_fit``                 passes over the rows, also parts of a pass;
    ``warm_start``                  trees (``n_estimators`` raised one by one) or
                                    iterations of the solver (``max_iter``);
    none of these                   no time at all: the trained classifier, t = NaN.

The steps of a pipeline before the last are fitted once, at the start.

Every random state of the classifier is replaced by a `numpy.random.RandomState`: with
an integer, ``MLPClassifier`` and ``SGDClassifier`` would shuffle alike in each epoch.
"""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import count, islice
from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import process_routing

from skpapers.data_selection._chunks import (
    count_rows,
    passes,
    row_slices,
    take_rows,
)
from skpapers.data_selection._models import as_model
from skpapers.data_selection._models._base import is_torch
from skpapers.data_selection._models._probabilities import ProbabilityPass
from skpapers.data_selection._table import draw_seeds

ROUNDING = 1e-9  # a time that is reached up to this is reached


@dataclass
class Checkpoint:
    """State of a classifier at one time of its training.

    Attributes
    ----------
    model : Model
        The last step as it is now; ``model.snapshot()`` outlives further training.
    epoch : float
        Epochs trained; NaN for a classifier that was simply fitted.
    learning_rate : float
        Step length of the optimiser now; NaN where there is none.
    estimator : estimator
        The classifier, with all steps of a pipeline, in its present state.
    X : array-like of shape (n_samples, n_columns)
        The training rows as the last step reads them.
    probabilities : ndarray of shape (n_samples, n_classes) or None
        Of the training rows, where training brought them anyway.
    """

    model: Any
    epoch: float
    learning_rate: float
    estimator: Any
    X: Any
    probabilities: np.ndarray | None = None

    def passes(self):
        """Yield slices of the training rows and what the model says about them."""
        if self.probabilities is None:
            yield from passes(self.model, self.X)
            return
        for rows in row_slices(*self.probabilities.shape):
            yield rows, ProbabilityPass(self.probabilities[rows])


@dataclass
class StageModel:
    """A boosted classifier as it was after some of its stages.

    Attributes
    ----------
    estimator : estimator
        Trained to the end.
    stage : int
        Number of stages that count.
    """

    estimator: Any
    stage: int
    is_differentiable = False

    @property
    def classes_(self):
        """The labels."""
        return self.estimator.classes_

    def snapshot(self):
        """Return what outlives further training: this."""
        return self

    def run(self, X):
        """Return what the first stages say about rows."""
        stages = self.estimator.staged_predict_proba(X)
        return ProbabilityPass(_nth(stages, self.stage))


def _nth(states, n):
    """Return the n-th of states, or the last one if there are fewer."""
    *_, last = islice(states, n)
    return last


def iter_checkpoints(
    estimator,
    X,
    y,
    *,
    epochs,
    check_every=1.0,
    classes=None,
    random_state=None,
    fit_params=None,
):
    """Train a clone of a classifier and stop at checkpoints.

    Parameters
    ----------
    estimator : estimator
        Classifier with probabilities, or a pipeline that ends in one.
    X : array-like of shape (n_samples, n_features)
        Training rows, as the classifier takes them.
    y : array-like of shape (n_samples,)
        Labels.
    epochs : int, 0 or None
        Length of the training; 0 is the state before it, None the trained classifier.
    check_every : float, int or sequence of float, default=1.0
        Time between checkpoints: a number of epochs, an integer number of mini-batches,
        or the times themselves, increasing up to ``epochs``. Where parts of an epoch
        are not to be had, the next whole one serves.
    classes : ndarray of shape (n_classes,), default=None
        All labels; None takes those of ``y``.
    random_state : int, RandomState instance or None, default=None
        Source of the random numbers.
    fit_params : dict, default=None
        Row-aligned arguments of ``fit``, such as ``sample_weight``.

    Yields
    ------
    Checkpoint
        The same estimator goes on training afterwards.
    """
    rng = check_random_state(random_state)
    estimator = seeded(clone(estimator, safe=False), rng)
    classes = np.unique(y) if classes is None else classes
    last, Xt, params = fit_transformers(estimator, X, y, fit_params or {})
    if is_torch(last):
        times = checkpoint_times(last, count_rows(X), epochs, check_every)
        yield from _torch_checkpoints(estimator, last, Xt, y, times, classes, rng)
        return
    for state in _branch(last, Xt, y, epochs, check_every, classes, rng, params):
        epoch, model, *probabilities = state
        yield Checkpoint(
            as_model(last) if model is None else model,
            epoch,
            learning_rate(last),
            estimator,
            Xt,
            *probabilities,
        )


def _branch(last, X, y, epochs, check_every, classes, rng, params):
    """Choose how the last step trains; yields epoch, model (None: make it), ..."""
    if epochs is None:
        return _trained(last, X, y, params)
    times = checkpoint_times(last, count_rows(X), epochs, check_every)
    if epochs == 0:
        return _initial(last, X, y, classes)
    if hasattr(last, "staged_predict_proba"):
        return _stages(last, X, y, times, params)
    if hasattr(last, "partial_fit"):
        return _partial_fits(last, X, y, times, classes, rng, params)
    if warm_start_parameter(last) is not None:
        return _warm_starts(last, X, y, times, params)
    raise ValueError(
        f"epochs={epochs} needs a classifier that can be looked at while it trains, "
        "by staged_predict_proba, partial_fit or warm_start; "
        f"{type(last).__name__} has none of them. Pass epochs=None to score its "
        "final state."
    )


# ------------------------------------------------------------------------- the branches


@contextmanager
def interruptible():
    """Let an interrupt through that a classifier would turn into a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Training interrupted by user")
        try:
            yield
        except UserWarning as warning:
            if "Training interrupted by user" in str(warning):
                raise KeyboardInterrupt from warning
            raise


def _trained(last, X, y, params):
    with interruptible():
        last.fit(X, y, **params)
    yield np.nan, None


def _initial(last, X, y, classes):
    """Yield the state before training, as far as there is one."""
    if isinstance(last, MLPClassifier) and hasattr(last, "partial_fit"):
        # one step of a length that is lost in rounding leaves the initial weights
        last.set_params(learning_rate_init=1e-300, batch_size=1)
        last.partial_fit(take_rows(X, slice(1)), y[:1], classes=classes)
    elif isinstance(last, SGDClassifier):
        last.partial_fit(take_rows(X, slice(1)), y[:1], classes=classes)
        last.coef_[:], last.intercept_[:] = 0, 0
    else:
        raise ValueError(
            f"epochs=0 needs a classifier that can be looked at before it trains; "
            f"{type(last).__name__} cannot."
        )
    yield 0.0, None


def _stages(last, X, y, times, params):
    name = _progress_parameter(last)
    if name is not None:
        last.set_params(**{name: int(np.ceil(times[-1]))})
    last.fit(X, y, **params)
    stages = enumerate(last.staged_predict_proba(X), start=1)
    for stage, probabilities in at_times(stages, times):
        yield float(stage), StageModel(last, stage), probabilities


def _partial_fits(last, X, y, times, classes, rng, params):
    n_samples, known = count_rows(X), {"classes": classes}
    if getattr(last, "early_stopping", False):
        last.set_params(early_stopping=False)  # the number of epochs is given
    batch, shuffle = batch_size(last, n_samples), getattr(last, "shuffle", True)
    for epoch, pieces in _schedule(n_samples, batch, times, rng, shuffle):
        for rows in pieces:
            with interruptible():
                if rows is None:
                    last.partial_fit(X, y, **params, **known)
                else:
                    _fit_part(last, X, y, rows, params, known, batch)
            known = {}
        yield epoch, None


def _fit_part(last, X, y, rows, params, known, batch):
    """Train on some of the rows, in mini-batches of the same size as on all."""
    given = last.get_params()
    if "batch_size" in given:
        last.set_params(batch_size=min(batch, len(rows)))
    params = {name: value[rows] for name, value in params.items()}
    last.partial_fit(take_rows(X, rows), y[rows], **params, **known)
    if "batch_size" in given:
        last.set_params(batch_size=given["batch_size"])


def _schedule(n_samples, batch, times, rng, shuffle):
    """Yield times and the rows to train on up to them; None is a whole epoch."""
    per_epoch = -(-n_samples // batch)
    step, order = 0, np.arange(n_samples)
    for time in times:
        target = max(round(time * per_epoch), 1)
        pieces = []
        while step < target:
            done = step % per_epoch
            todo = min(per_epoch - done, target - step)
            if todo == per_epoch:
                pieces.append(None)
            else:
                if done == 0 and shuffle:
                    order = rng.permutation(n_samples)
                pieces.append(order[done * batch : (done + todo) * batch])
            step += todo
        yield time, pieces


def _warm_starts(last, X, y, times, params):
    name = warm_start_parameter(last)
    last.set_params(warm_start=True)
    states = _warm_steps(last, name, X, y, params)
    for epoch, _ in at_times(states, times):
        yield float(epoch), None


def _warm_steps(last, name, X, y, params):
    """Yield the number of trees or iterations after each of them, without end."""
    for epoch in count(1):
        last.set_params(**{name: epoch if name == "n_estimators" else 1})
        with interruptible():
            # the solver is stopped on purpose
            warnings.simplefilter("ignore", ConvergenceWarning)
            last.fit(X, y, **params)
        yield epoch, last


# ------------------------------------------------------------------------------ torch


def _torch_room():
    return import_module("skpapers.data_selection._torch_checkpoints")


def _torch_checkpoints(estimator, last, X, y, times, classes, rng):
    """Yield checkpoints of a skorch net or a torch module."""
    room, codes = _torch_room(), np.searchsorted(classes, y)
    seed = int(draw_seeds(rng, 1)[0])
    train = room.train_net if hasattr(last, "get_params") else room.train_module
    for time, model, *net in train(last, X, codes, times, seed, classes=classes):
        rate = room.learning_rate(*net)
        yield _network(room, estimator, time, model, rate, X)


def _network(room, estimator, time, model, rate, X):
    """Return the checkpoint of a network, as the last step if there are others."""
    fitted = room.FittedNetwork(model)
    if isinstance(estimator, Pipeline):
        fitted = Pipeline([*estimator.steps[:-1], (estimator.steps[-1][0], fitted)])
    return Checkpoint(model, float(time), rate, fitted, X)


def trains_stacked(estimator):
    """Return whether several runs of a classifier can be trained at once."""
    last = last_step(estimator)
    if not is_torch(last) or hasattr(last, "get_params"):
        return False
    return _torch_room().can_stack(last)


def iter_stacked(estimator, X, y, *, times, classes, seeds, fit_params):
    """Train runs of a torch module at once and stop at checkpoints.

    Parameters
    ----------
    estimator : torch.nn.Module or Pipeline
        The classifier, for which `trains_stacked` is true.
    X : array-like
        Training rows.
    y : ndarray of shape (n_samples,)
        Labels.
    times : sequence of float
        Epochs of the checkpoints.
    classes : ndarray of shape (n_classes,)
        All labels.
    seeds : list of int
        Of the runs.
    fit_params : dict
        Arguments of ``fit`` of the other steps of a pipeline.

    Yields
    ------
    list of Checkpoint
        One for each run.
    """
    room, codes = _torch_room(), np.searchsorted(classes, y)
    estimator = seeded(clone(estimator, safe=False), seeds[0])
    last, Xt, _ = fit_transformers(estimator, X, y, fit_params)
    own = [int(draw_seeds(seed, 1)[0]) for seed in seeds]
    for time, models in room.stacked_checkpoints(last, Xt, codes, times, own, classes):
        rate = room.learning_rate()
        yield [_network(room, estimator, time, m, rate, Xt) for m in models]


# ------------------------------------------------------------- time, steps, randomness


def checkpoint_times(last, n_samples, epochs, check_every):
    """Return the times of the checkpoints in epochs; the last one is ``epochs``.

    Parameters
    ----------
    last : estimator
        The last step.
    n_samples : int
        Number of training rows.
    epochs : int or None
        Length of the training.
    check_every : float, int or sequence of float
        As in `iter_checkpoints`.

    Returns
    -------
    tuple of float or None
        Increasing times; None for None.
    """
    if epochs is None:
        return None
    if epochs == 0:
        return (0.0,)
    if np.ndim(check_every):
        return tuple(float(time) for time in check_every)
    if isinstance(check_every, Integral):
        check_every = check_every / steps_per_epoch(last, n_samples)
    n_times = int(np.ceil(epochs / check_every - ROUNDING))
    return tuple(min(k * check_every, float(epochs)) for k in range(1, n_times + 1))


def at_times(states, times):
    """Yield the whole epochs and the states at given times.

    Training that ends by itself leaves its last state for all later times.
    """
    targets = sorted({int(np.ceil(time - ROUNDING)) for time in times})
    epoch = state = None
    for epoch, state in states:
        if epoch == targets[0]:
            yield targets.pop(0), state
        if not targets:
            return
    for target in targets:
        yield target, state


def batch_size(last, n_samples):
    """Return the number of rows of one step of the optimiser."""
    size = getattr(last, "batch_size", 1)
    if is_torch(last):
        size = _torch_room().batch_size(last, n_samples)
    if size == "auto":  # of MLPClassifier
        size = 200
    return int(min(max(size, 1), n_samples)) if isinstance(size, Integral) else 1


def steps_per_epoch(last, n_samples):
    """Return the number of mini-batches of a pass over the rows."""
    return -(-n_samples // batch_size(last, n_samples))


def warm_start_parameter(last):
    """Return which parameter of a classifier with ``warm_start`` counts its progress.

    None if it cannot go on where it stopped.
    """
    given = last.get_params()
    if "warm_start" not in given or given.get("solver") == "liblinear":
        return None
    return _progress_parameter(last)


def _progress_parameter(last):
    given = last.get_params()
    return next((name for name in ("n_estimators", "max_iter") if name in given), None)


def learning_rate(last):
    """Return the present step length of the optimiser, NaN where there is none."""
    optimizer = getattr(last, "_optimizer", None)  # of MLPClassifier
    if optimizer is not None:
        return float(optimizer.learning_rate)
    if isinstance(last, SGDClassifier):
        return _sgd_learning_rate(last)
    return np.nan


def _sgd_learning_rate(last):
    if last.learning_rate == "optimal":
        start = np.sqrt(np.sqrt(last.alpha))  # 1 / typical weight
        return float(1 / (last.alpha * (start / last.alpha + last.t_ - 1)))
    if last.learning_rate == "invscaling":
        return float(last.eta0 / last.t_**last.power_t)
    return float(last.eta0)


def seeded(estimator, random_state):
    """Give every random state of an estimator a generator of its own."""
    rng = check_random_state(random_state)
    if not hasattr(estimator, "get_params"):  # a torch module
        return estimator
    names = sorted(
        name
        for name in estimator.get_params()
        if name == "random_state" or name.endswith("__random_state")
    )
    seeds = draw_seeds(rng, len(names))
    states = [np.random.RandomState(seed) for seed in seeds]
    return estimator.set_params(**dict(zip(names, states, strict=True)))


# ------------------------------------------------------------------------- pipelines


def fit_transformers(estimator, X, y, params):
    """Fit all steps but the last.

    Parameters
    ----------
    estimator : estimator
        Changed in place if it is a pipeline.
    X : array-like
        Training rows.
    y : array-like
        Labels.
    params : dict
        Arguments of ``fit``.

    Returns
    -------
    last : estimator
        The last step, unfitted.
    Xt : array-like
        The rows as it reads them.
    params : dict
        Its arguments of ``fit``.
    """
    while isinstance(estimator, Pipeline):
        routed = process_routing(estimator, "fit", **params)
        for name, step in estimator.steps[:-1]:
            if step is None or step == "passthrough":
                continue
            if not hasattr(step, "transform"):
                raise TypeError(
                    f"the step {name!r} of the pipeline, {type(step).__name__}, does "
                    "not transform rows. A step that leaves some out or makes new ones "
                    "has no place here: each row is to be scored."
                )
            if hasattr(step, "fit_transform"):
                X = step.fit_transform(X, y, **routed[name].fit_transform)
            else:
                step.fit(X, y, **routed[name].fit)
                X = step.transform(X, **routed[name].transform)
        name, estimator = estimator.steps[-1]
        params = dict(routed[name].fit)
    return estimator, _rows(X), params


def transform_rows(estimator, X):
    """Return rows as the last step of a fitted pipeline reads them."""
    while isinstance(estimator, Pipeline):
        for _, step in estimator.steps[:-1]:
            if step is not None and step != "passthrough":
                X = step.transform(X)
        estimator = estimator.steps[-1][1]
    return _rows(X)


def _rows(X):
    """Return a table of which rows can be taken."""
    return X.tocsr() if sparse.issparse(X) else X


def last_step(estimator):
    """Return the classifier at the end of a pipeline."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator
