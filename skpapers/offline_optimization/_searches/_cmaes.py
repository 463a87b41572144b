# SPDX-License-Identifier: BSD-3-Clause
"""CMA-ES from each of the best designs; all runs ask the surrogate together.

A run samples from a Gaussian whose covariance follows the steps that have paid. The
runs are independent, so that a generation of all of them is one call of the surrogate.

References
----------
N. Hansen, The CMA evolution strategy: a tutorial, 2016, arXiv:1604.00772.
"""

import warnings

import numpy as np

from skpapers.offline_optimization._searches._box import (
    FreeBox,
    check_numbers,
    finite_scores,
    import_quietly,
)


class Run:
    """One evolution strategy; it maximises.

    Points outside the box are scored where they enter it, less their squared distance:
    without that, all of them would look alike to the strategy.
    """

    def __init__(self, cma, box, start, sigma0, options):
        self.box, self.n_free = box, len(box.free)
        origin = start[box.free]
        if self.n_free == 1:  # cma has no search on a line: the second is ignored
            origin = np.append(origin, 0.0)
        self.strategy = cma.CMAEvolutionStrategy(origin, sigma0, options)
        self.best, self.best_score = start, -np.inf

    def ask(self):
        """Return points of the space to be scored."""
        self.asked = self.strategy.ask()
        free = np.asarray(self.asked)[:, : self.n_free]
        self.points = self.box.points(free)
        gap = free - self.points[:, self.box.free]
        self.outside = np.einsum("ij,ij->i", gap, gap)
        return self.points

    def tell(self, scores):
        """Learn the scores; returns whether the run goes on."""
        top = np.argmax(scores)
        if scores[top] > self.best_score:
            self.best, self.best_score = self.points[top], scores[top]
        self.strategy.tell(self.asked, (self.outside - scores).tolist())
        return not self.strategy.stop()


def generation(runs, objective):
    """Carry all runs one generation on; returns those that go on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of flat scores
        asked = [run.ask() for run in runs]
    scores = finite_scores(objective, np.concatenate(asked))
    ends = np.cumsum([len(points) for points in asked])[:-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            run
            for run, told in zip(runs, np.split(scores, ends), strict=True)
            if run.tell(told)
        ]


def search(
    objective,
    space,
    starts,
    n_candidates,
    rng,
    *,
    sigma0=0.5,
    n_generations=100,
    pop_size=None,
):
    """Return the best point of each run of CMA-ES.

    Parameters
    ----------
    objective : Objective
        Any surrogate.
    space : DesignSpace
        The designs that are allowed.
    starts : ndarray of shape (n_starts, D)
        The best designs, best first.
    n_candidates : int
        How many of them to start from.
    rng : RandomState
        Source of the samples.
    sigma0 : float, default=0.5
        Standard deviation of the first generation, in standardised coordinates.
    n_generations : int, default=100
        Most generations of a run; one whose scores no longer differ ends earlier.
    pop_size : int, default=None
        Samples of a generation of one run; None takes 4 + 3 log D.

    Returns
    -------
    ndarray of shape (min(n_starts, n_candidates), D)
        Points.
    """
    check_numbers(
        "cmaes", sigma0=(sigma0, float, 0), n_generations=(n_generations, int, 1)
    )
    options = {
        "verbose": -9,
        "verb_log": 0,
        "seed": np.nan,  # the global generator is not ours to seed
        "randn": rng.randn,
        "maxiter": n_generations,
    }
    if pop_size is not None:
        check_numbers("cmaes", pop_size=(pop_size, int, 4))
        options["popsize"] = pop_size
    cma = import_quietly("cma", extra="offline", needed_by="search='cmaes'")
    starts = space.project(starts[:n_candidates])
    box = FreeBox(space, starts)
    if not len(box.free):
        return starts
    runs = [Run(cma, box, start, sigma0, options) for start in starts]
    going_on = runs
    for _ in range(n_generations):
        going_on = generation(going_on, objective)
        if not going_on:
            break
    return np.array([run.best for run in runs])
