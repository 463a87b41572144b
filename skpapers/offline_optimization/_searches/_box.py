# SPDX-License-Identifier: BSD-3-Clause
"""The coordinates that a search without gradients may move, in a finite box."""

import random
import warnings
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np

from skpapers.utils._optional import import_optional

FAR = 3.0  # beyond the starts where there is no bound, in standard deviations


class FreeBox:
    """Coordinates with room between their bounds; the others stay where they are.

    Where a coordinate has no bound, the box reaches `FAR` beyond the starts.

    Parameters
    ----------
    space : DesignSpace
        Its bounds.
    starts : ndarray of shape (n_starts, D)
        Points.

    Attributes
    ----------
    free : ndarray of int
        Index of the coordinates with room.
    lower, upper : ndarray of shape (n_free,)
        Finite bounds of these.
    """

    def __init__(self, space, starts):
        self.space = space
        starts = space.project(starts)
        lower, upper = np.asarray(space.lower), np.asarray(space.upper)
        lower = np.where(np.isfinite(lower), lower, starts.min(axis=0) - FAR)
        upper = np.where(np.isfinite(upper), upper, starts.max(axis=0) + FAR)
        self.free = np.flatnonzero(lower < upper)
        self.lower, self.upper = lower[self.free], upper[self.free]
        self.rest = starts[0]

    def points(self, moved):
        """Return points (m, D) for free coordinates (m, n_free)."""
        Z = np.repeat(self.rest[None], len(moved), axis=0)
        Z[:, self.free] = moved
        return self.space.project(Z)

    def shares(self, Z):
        """Return where points stand between the bounds of the box, from 0 to 1."""
        shares = (Z[:, self.free] - self.lower) / (self.upper - self.lower)
        return np.clip(shares, 0.0, 1.0)

    def from_shares(self, shares):
        """Return points (m, D) for what `shares` gave."""
        return self.points(self.lower + shares * (self.upper - self.lower))


def finite_scores(objective, Z):
    """Return the scores of points; those that are not finite are below all others."""
    scores = objective.values(Z)
    is_finite = np.isfinite(scores)
    if is_finite.all():
        return scores
    worst = scores[is_finite].min() if is_finite.any() else 0.0
    return np.where(is_finite, scores, worst - 1.0)


def best_of(Z, scores, n):
    """Return the n points with the highest scores, best first."""
    order = np.argsort(-scores, kind="stable")
    return Z[order[:n]]


def import_quietly(module, *, extra, needed_by):
    """Import an optional package whose own imports may warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_optional(module, extra=extra, needed_by=needed_by)


@contextmanager
def global_numbers_kept():
    """Leave the global generators of Python and NumPy as they are found."""
    of_python = random.getstate()
    of_numpy = np.random.get_state()  # noqa: NPY002 (packages of others draw from it)
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002


def check_numbers(search, **numbers):
    """Raise if a parameter of a search is no positive number of its kind.

    Parameters
    ----------
    search : str
        Name of the search, for the message.
    **numbers : tuple of (value, type, least)
        Parameters by name; ``type`` is int or float. An integer must not be less than
        ``least``, a real number must be above it.
    """
    for name, (value, kind, least) in numbers.items():
        wanted = Integral if kind is int else Real
        good = isinstance(value, wanted) and not isinstance(value, bool)
        if good:
            good = least <= value if kind is int else least < value < np.inf
        if not good:
            what = f"an integer >= {least}" if kind is int else f"a number > {least}"
            raise ValueError(
                f"{name} of search={search!r} must be {what}, got {value!r}."
            )
