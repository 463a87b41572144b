# SPDX-License-Identifier: BSD-3-Clause
"""Scorers that share their trainings, and estimators that hold several scorers."""

from dataclasses import dataclass, replace
from itertools import chain
from numbers import Integral
from typing import Any

from sklearn.base import clone
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from skpapers.data_selection._checkpoints import ROUNDING, last_step
from skpapers.data_selection._chunks import count_rows
from skpapers.data_selection._fingerprint import fingerprint
from skpapers.data_selection._runs import Job, map_runs, told
from skpapers.data_selection._table import (
    SEED_MAX,
    check_routing,
    draw_seeds,
    read_rows,
    read_table,
)
from skpapers.utils._sklearn import BaseComposition


@dataclass
class Group:
    """Scorers that the same trainings can fill.

    Attributes
    ----------
    estimator : estimator
        Their classifier.
    scorers : list of BaseScorer
        The scorers.
    random_state : int, RandomState instance or None
        Of the runs.
    """

    estimator: Any
    scorers: list
    random_state: Any

    def jobs(self, table):
        """Return a job for each run; a run fills the scorers that still want one."""
        last, n_samples = last_step(self.estimator), count_rows(table.X)
        times = [scorer._times(last, n_samples) for scorer in self.scorers]
        parts = [
            (scorer._accumulator(t, table), t, scorer._keeps(), scorer.n_runs)
            for scorer, t in zip(self.scorers, times, strict=True)
        ]
        return [self._job(parts, run) for run in range(self.n_runs)]

    @property
    def n_runs(self):
        """Number of trainings."""
        return max(scorer.n_runs for scorer in self.scorers)

    def _job(self, parts, run):
        parts = [part[:3] for part in parts if part[3] > run]
        accumulators, times, keep = (
            list(column) for column in zip(*parts, strict=True)
        )
        if times[0] is None:
            return Job(self.estimator, None, None, accumulators, keep)
        union = merge_times(times)
        return Job(self.estimator, round(union[-1]), union, accumulators, keep)

    def results(self, owner, table):
        """Train; yield for each run the scorers that it filled and what it left."""
        seeds = draw_seeds(self.random_state, self.n_runs)
        if len(self.scorers) == 1:  # also those that train by themselves
            jobs = [self.scorers[0]._job(self.estimator, table)] * self.n_runs
        else:
            jobs = self.jobs(table)
        for run, found in enumerate(map_runs(owner, jobs, table, seeds)):
            yield [s for s in self.scorers if s.n_runs > run], found


def merge_times(times):
    """Return the union of increasing sequences, without what differs by rounding."""
    merged = []
    for time in sorted({time for sequence in times for time in sequence}):
        if not merged or time > merged[-1] + ROUNDING:
            merged.append(time)
    return tuple(merged)


def group_scorers(scorers, n_samples, random_state):
    """Put scorers together that can share their trainings.

    Parameters
    ----------
    scorers : list of BaseScorer
        Unfitted.
    n_samples : int
        Number of rows.
    random_state : int
        For scorers without one of their own.

    Returns
    -------
    list of Group
        In the order of their first scorer.
    """
    groups = {}
    for k, scorer in enumerate(scorers):
        estimator = scorer._resolve_estimator(n_samples)
        own = scorer.random_state
        seed = random_state if own is None else own
        if scorer._shares_pass and isinstance(seed, Integral):
            moment = "trained" if scorer.epochs is None else scorer.epochs == 0
            key = fingerprint(estimator), moment, int(seed)
        else:
            key = k
        groups.setdefault(key, Group(estimator, [], seed)).scorers.append(scorer)
    return list(groups.values())


class ScorerHolder(BaseComposition):
    """What estimators with a list of named scorers share.

    A subclass has the parameters ``scorers`` and ``random_state`` and says by
    `_default_scorers` what ``scorers=None`` stands for.
    """

    def get_params(self, deep=True):
        """Return the parameters, with those of the scorers by ``name__parameter``.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the scorers and their parameters.

        Returns
        -------
        params : dict
            Names and values.
        """
        return self._get_params("scorers", deep=deep)

    def set_params(self, **params):
        """Set parameters, also of the scorers by ``name__parameter``.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        self : object
            The estimator.
        """
        self._set_params("scorers", **params)
        return self

    def _named_scorers(self):
        """Return names and scorers, checked."""
        if self.scorers is None:
            return self._default_scorers()
        if len(self.scorers) == 0:
            raise ValueError("scorers is empty: pass a list of (name, scorer).")
        for entry in self.scorers:
            if not isinstance(entry, tuple | list) or len(entry) != 2:
                raise TypeError(
                    "scorers has to be a list of pairs (name, scorer), such as "
                    f"[('el2n', EL2NScorer())]; it has {entry!r}."
                )
        names, scorers = zip(*self.scorers, strict=True)
        self._validate_names(names)
        for name, scorer in self.scorers:
            if not hasattr(scorer, "_accumulator"):
                raise TypeError(
                    f"{name!r} is of type {type(scorer).__name__}, not a scorer of "
                    "skpapers.data_selection that trains by itself."
                )
        return list(zip(names, scorers, strict=True))

    def _fit_scorers(self, X, y, fit_params):
        """Fit clones of all scorers with as few trainings as they allow.

        Returns
        -------
        fitted : dict
            Scorers by name.
        table : Table
            The rows.
        n_trainings : int
            Number of runs in all.
        """
        named = {name: clone(scorer) for name, scorer in self._named_scorers()}
        n_samples = count_rows(X)
        estimators = [s._resolve_estimator(n_samples) for s in named.values()]
        table = read_table(self, X, y, estimators)
        seed = int(check_random_state(self.random_state).randint(SEED_MAX))
        for scorer, estimator in zip(named.values(), estimators, strict=True):
            scorer._validate_params()
            scorer._copy_columns(self)
            if len(table.classes) > 1:
                scorer._check_classifier(estimator, table)
            else:
                scorer._store_zeros(table)
        if len(table.classes) < 2:
            return named, table, 0
        check_routing(fit_params)
        routed = process_routing(self, "fit", **fit_params)
        params = {
            id(scorer): scorer._route(routed[name].fit, table)
            for name, scorer in named.items()
        }
        groups = group_scorers(list(named.values()), n_samples, seed)
        tables = [replace(table, fit_params=params[id(g.scorers[0])]) for g in groups]
        n_trainings = self._train(groups, tables)
        return named, table, n_trainings

    def _train(self, groups, tables):
        """Fill the scorers of groups; return the number of runs."""
        results = chain.from_iterable(
            group.results(self, table)
            for group, table in zip(groups, tables, strict=True)
        )
        records = {id(s): [] for group in groups for s in group.scorers}
        n_trainings = 0
        for filled, found in told(self, results, sum(g.n_runs for g in groups)):
            n_trainings += 1
            for scorer, record in zip(filled, found, strict=True):
                records[id(scorer)].append(record)
        if not all(records.values()):
            raise RuntimeError("A callback ended fit before each scorer had a run.")
        for group, table in zip(groups, tables, strict=True):
            for scorer in group.scorers:
                scorer._store(table, records[id(scorer)])
        return n_trainings

    def _read_rows(self, X):
        scorers = [scorer for _, scorer in self._named_scorers()]
        estimators = [scorer._resolve_estimator(1) for scorer in scorers]
        return read_rows(self, X, estimators=estimators, reset=False)

    def get_metadata_routing(self):
        """Return how arguments of ``fit`` reach the classifiers of the scorers.

        Returns
        -------
        routing : MetadataRouter
            What each scorer requests goes to it.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return MetadataRouter(owner=self).add(
            method_mapping=mapping, **dict(self._named_scorers())
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = [get_tags(scorer) for _, scorer in self._named_scorers()]
        tags.target_tags.required = True
        tags.classifier_tags = inner[0].classifier_tags
        tags.input_tags.sparse = all(tag.input_tags.sparse for tag in inner)
        tags.input_tags.allow_nan = all(tag.input_tags.allow_nan for tag in inner)
        return tags
