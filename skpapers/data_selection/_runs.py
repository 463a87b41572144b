# SPDX-License-Identifier: BSD-3-Clause
"""Training runs that fill scores, and what is kept of them to score other rows.

A run is one training of the classifier from one seed. All accumulators of a `Job` are
filled by it, and runs go to workers through joblib. What a run leaves is a list with a
dict for each accumulator:

    scores       (n,) numbers of the training rows
    path         (n_checkpoints, n) numbers by checkpoint, or None
    models       light copies of the classifier at the checkpoints
    epochs, learning_rates
                 of the checkpoints
    estimator    the trained classifier without what only training needs
    reference    what puts other rows on the same scale
"""

import copy
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_memory

from skpapers.data_selection._checkpoints import (
    Checkpoint,
    iter_checkpoints,
    iter_stacked,
    last_step,
    trains_stacked,
    transform_rows,
)
from skpapers.data_selection._chunks import count_rows, passes
from skpapers.data_selection._fingerprint import fingerprint
from skpapers.data_selection._models._base import no_gradients
from skpapers.utils._callbacks import reported

ONLY_FOR_TRAINING = ("_optimizer", "_random_state", "_best_coefs", "_best_intercepts")


@dataclass
class Job:
    """One training that fills several scores.

    Attributes
    ----------
    estimator : estimator
        Unfitted classifier.
    epochs : int or None
        Length of the training.
    times : tuple of float or None
        Epochs at which an accumulator looks.
    accumulators : list of Accumulator
        What is filled.
    keep : list of bool
        Whether the checkpoints of each are kept.
    """

    estimator: Any
    epochs: int | None
    times: tuple | None
    accumulators: list
    keep: list

    def __call__(self, table, seed):
        """Train once; return what each accumulator has found."""
        follower = Follower(table, self.accumulators, self.keep)
        for checkpoint in iter_checkpoints(
            self.estimator,
            table.X,
            table.y,
            epochs=self.epochs,
            check_every=1.0 if self.times is None else self.times,
            classes=table.classes,
            random_state=int(seed),
            fit_params=table.fit_params,
        ):
            follower.see(checkpoint)
        return follower.finish()

    @property
    def key(self):
        """What the job is known by in a cache; the same for clones."""
        parts = sorted(vars(self).items())
        return type(self).__name__, [(name, fingerprint(part)) for name, part in parts]


class Follower:
    """Fills accumulators from the checkpoints of one training.

    Parameters
    ----------
    table : Table
        The rows.
    accumulators : list of Accumulator
        Copied, since other runs start from the same ones.
    keep : list of bool
        Whether the checkpoints that each takes are kept.
    """

    def __init__(self, table, accumulators, keep):
        self.accumulators, self.keep = copy.deepcopy(accumulators), keep
        for accumulator in self.accumulators:
            accumulator.start(table.codes, len(table.classes))
        self.found = [
            {"models": [], "epochs": [], "learning_rates": []} for _ in accumulators
        ]
        self.estimator = None

    def see(self, checkpoint):
        """Show the accumulators that want it a checkpoint."""
        self.estimator = checkpoint.estimator
        accumulators = self.accumulators
        takers = [k for k, a in enumerate(accumulators) if a.take(checkpoint.epoch)]
        if not takers:
            return
        for k in takers:
            refuse_trees(accumulators[k], checkpoint)
            accumulators[k].begin(checkpoint)
        for rows, p in checkpoint.passes():
            for k in takers:
                accumulators[k].update(rows, p)
        self._remember([k for k in takers if self.keep[k]], checkpoint)

    def _remember(self, takers, checkpoint):
        if not takers:
            return
        model = checkpoint.model.snapshot()
        for record in (self.found[k] for k in takers):
            record["models"].append(model)
            record["epochs"].append(float(checkpoint.epoch))
            record["learning_rates"].append(float(checkpoint.learning_rate))

    def finish(self):
        """Return what each accumulator has found."""
        estimator = light_copy(self.estimator)
        for accumulator, record in zip(self.accumulators, self.found, strict=True):
            record["reference"] = accumulator.reference()
            record["scores"] = accumulator.scores()
            record["path"] = accumulator.path()
            record["estimator"] = estimator
        return self.found


def refuse_trees(accumulator, checkpoint):
    """Raise if gradients are needed of a classifier that has none."""
    if accumulator.needs_gradients and not checkpoint.model.is_differentiable:
        raise no_gradients(type(last_step(checkpoint.estimator)).__name__)


def light_copy(estimator):
    """Return a fitted classifier without the state of its optimiser."""
    if hasattr(estimator, "snapshot"):  # of a network
        return estimator.snapshot()
    light = copy.copy(estimator)
    if isinstance(light, Pipeline):
        light.steps = [(name, light_copy(step)) for name, step in light.steps]
        return light
    if not hasattr(light, "get_params"):  # "passthrough"
        return light
    for name in ONLY_FOR_TRAINING:
        vars(light).pop(name, None)
    if getattr(light, "random_state", None) is not None:
        light.random_state = None
    return light


def rescore(record, accumulator, X, codes, n_classes):
    """Score other rows with the checkpoints of a run.

    Parameters
    ----------
    record : dict
        What the run left.
    accumulator : Accumulator
        Of the same kind; filled in place.
    X : array-like of shape (n_samples, n_features)
        Rows as the classifier takes them.
    codes : int ndarray of shape (n_samples,)
        Index of their labels.
    n_classes : int
        Number of classes.

    Returns
    -------
    ndarray of shape (n_samples,)
        The scores.
    """
    accumulator.start(codes, n_classes)
    X = transform_rows(record["estimator"], X)
    states = zip(
        record["models"], record["epochs"], record["learning_rates"], strict=True
    )
    for model, epoch, rate in states:
        if not accumulator.take(epoch):
            continue
        accumulator.begin(Checkpoint(model, epoch, rate, record["estimator"], X))
        for rows, p in passes(model, X):
            accumulator.update(rows, p)
    return accumulator.scores(record["reference"])


def predict_with(record, X, classes):
    """Return the probabilities that the last checkpoint of a run gives rows."""
    model, found = record["models"][-1], np.zeros((count_rows(X), len(classes)))
    columns = np.searchsorted(classes, model.classes_)
    for rows, p in passes(model, transform_rows(record["estimator"], X)):
        found[rows, columns] = np.exp(p.log_proba)
    return found


def run_job(job, table, seed, key=None):
    """Train once; the function that is cached, by the key, and sent to workers."""
    return job(table, seed)


def run_stacked(jobs, table, seeds, keys=None):
    """Train torch modules at once; return what `run_job` does, for each seed."""
    first = jobs[0]  # has the accumulators of all others
    followers = [Follower(table, job.accumulators, job.keep) for job in jobs]
    for checkpoints in iter_stacked(
        first.estimator,
        table.X,
        table.y,
        times=first.times,
        classes=table.classes,
        seeds=seeds,
        fit_params=table.fit_params,
    ):
        for follower, checkpoint in zip(followers, checkpoints, strict=True):
            follower.see(checkpoint)
    return [follower.finish() for follower in followers]


def map_runs(owner, jobs, table, seeds):
    """Yield what the runs leave, in their order.

    Parameters
    ----------
    owner : estimator
        Has ``n_jobs`` and ``memory``.
    jobs : list of Job
        One for each run.
    table : Table
        The rows.
    seeds : int ndarray of shape (n_runs,)
        Of the runs; the results depend on nothing else.

    Yields
    ------
    list of dict
        See the module.
    """
    seeds = [int(seed) for seed in seeds]
    memory, first = check_memory(owner.memory), jobs[0]
    keys = [None if owner.memory is None else job.key for job in jobs]
    if first.times is not None and len(jobs) > 1 and trains_stacked(first.estimator):
        train = memory.cache(run_stacked, ignore=["jobs"])
        yield from train(jobs, table, seeds, keys)
        return
    train = delayed(memory.cache(run_job, ignore=["job"]))
    parallel = Parallel(n_jobs=owner.n_jobs, return_as="generator")
    results = parallel(
        train(job, table, seed, key)
        for job, seed, key in zip(jobs, seeds, keys, strict=True)
    )
    for run in range(1, len(seeds) + 1):
        try:
            found = next(results)
        except ValueError as error:
            if re.search("finite|NaN|inf", str(error)):
                raise ValueError(f"run {run} of {len(seeds)}: {error}") from error
            raise
        yield found


def told(owner, results, n_runs):
    """Yield the results of runs, and tell callbacks and the user of each.

    Parameters
    ----------
    owner : estimator
        Has ``verbose``; its callbacks may end the runs early.
    results : iterator
        One result for each run.
    n_runs : int
        Their number.

    Yields
    ------
    object
        The results.
    """
    for run in reported(owner, range(n_runs), "run"):
        yield next(results)
        if owner.verbose:
            print(f"[{type(owner).__name__}] run {run + 1} of {n_runs}")
