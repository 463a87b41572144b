# SPDX-License-Identifier: BSD-3-Clause
r"""From frequencies of edges under resampling to probabilities of edges.

A frequency of 0.7 need not mean that seven of ten such edges are real. How often they
are is found out where the truth is known. The graph of a random resample is taken for
the truth: unlike the best graph it has doubtful edges too. Its weights are fitted to
the rows that were not drawn, since on the others a chosen edge looks stronger than it
is. A table is simulated from it, with residuals drawn column by column, and goes
through the same resampling; this is done several times. Then, with the frequencies
:math:`F_{ij}` of i -> j and :math:`s_{ij} = F_{ij} + F_{ji}`,

.. math:: P(i, j \text{ connected}) = \sigma(a + b \operatorname{logit} s_{ij}),
   \qquad P(i \to j \mid \text{connected}) = \sigma(c \log (F_{ij} / F_{ji}))

with the logistic function :math:`\sigma` are fitted to what was so in the simulated
graphs; counts have one half added, so that logarithms are finite. A weak prior pulls
towards a = 0, b = c = 1, the frequencies themselves.

References
----------
J. Platt, "Probabilistic outputs for support vector machines", 1999.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit
from sklearn.base import clone

from skpapers.causal._resampling import (
    SEED_MAX,
    Refit,
    map_draws,
    named,
    seeded,
    takes_covariance,
)
from skpapers.causal._sparsify import refit_ols

DRAWS = 100  # resamples of a simulated table, and the count in which frequencies stand
PRIOR_STD = 1.0  # of a, b and c


@dataclass(frozen=True)
class Calibration:
    """The map from frequencies to probabilities.

    Attributes
    ----------
    a, b, c : float
        Its coefficients.
    """

    a: float
    b: float
    c: float

    def __call__(self, frequencies):
        """Return the probabilities of the edges, of shape (d, d)."""
        connected, direction = log_odds(frequencies)
        Q = expit(self.a + self.b * connected) * expit(self.c * direction)
        np.fill_diagonal(Q, 0.0)
        return Q


def log_odds(F):
    """Return the log-odds of a connection, and of its direction, of all pairs."""
    count, both = DRAWS * F + 0.5, DRAWS * (F + F.T) + 0.5
    connected = np.log(both / np.maximum(DRAWS + 1 - both, 0.5))
    return connected, np.log(count / count.T)


def fit_calibration(frequencies, truths):
    """Fit the map to graphs whose truth is known.

    Parameters
    ----------
    frequencies : list of ndarray of shape (d, d)
        Frequencies of the edges under resampling.
    truths : list of ndarray of shape (d, d)
        1 for an edge, 1/2 both ways if its direction cannot be told, else 0.

    Returns
    -------
    Calibration
        The map.
    """
    upper = np.triu_indices(len(truths[0]), 1)
    pairs = [[x[upper] for x in log_odds(F)] for F in frequencies]
    connected, direction = np.concatenate(pairs, axis=1)
    forward = np.concatenate([T[upper] for T in truths])
    backward = np.concatenate([T.T[upper] for T in truths])
    there = forward + backward

    def loss(coefficients):
        a, b, c = coefficients
        odds, turn = a + b * connected, c * direction
        likelihood = (
            there @ log_expit(odds)
            + (1 - there) @ log_expit(-odds)
            + forward @ log_expit(turn)
            + backward @ log_expit(-turn)
        )
        prior = (a**2 + (b - 1) ** 2 + (c - 1) ** 2) / (2 * PRIOR_STD**2)
        miss = there - expit(odds)
        slopes = [
            a / PRIOR_STD**2 - miss.sum(),
            (b - 1) / PRIOR_STD**2 - miss @ connected,
            (c - 1) / PRIOR_STD**2 - (forward - there * expit(turn)) @ direction,
        ]
        return prior - likelihood, np.array(slopes)

    bounds = [(None, None), (0, None), (0, None)]  # more often is never less probable
    found = minimize(loss, [0.0, 1.0, 1.0], jac=True, method="L-BFGS-B", bounds=bounds)
    return Calibration(*map(float, found.x))


@dataclass
class SimulatedFrequencies:
    """Frequencies of the edges of one simulated table.

    Attributes
    ----------
    learner : estimator
        Learner; a clone of it is fitted to every table.
    refit : Refit
        Learns from resamples of the data: gives the truth of the simulation.
    n_draws : int
        Number of resamples.
    """

    learner: object
    refit: Refit
    n_draws: int

    def __call__(self, seed):
        """Return the frequencies and the truth."""
        rng = np.random.RandomState(seed)
        names = self.refit.names
        (graph, directed, undirected), C = self.refit(seed)
        W = refit_ols(self.refit.source.held_out(seed), graph)
        source = self.refit.source.simulate(W, rng)
        learner = seeded(clone(self.learner), rng)
        if takes_covariance(learner):
            C, n = source.moments()
            learner.fit_covariance(named(C, names), n)
        else:
            learner.fit(named(source.whole(), names))
        refit = Refit.of(learner, source, names, self.refit.place)
        total = np.zeros(C.shape)
        draws = refit.batch(rng.randint(SEED_MAX, size=self.n_draws))
        for (_, compelled, free), _ in draws:
            total += compelled + free / 2
        return total / self.n_draws, directed + undirected / 2


def calibrate(learner, refit, rng, n_tables, n_draws, n_jobs):
    """Return the `Calibration` that simulated tables lead to.

    Parameters
    ----------
    learner, refit
        As for `SimulatedFrequencies`.
    rng : RandomState
        Source of the random numbers.
    n_tables, n_draws : int
        Number of tables, and of resamples of each.
    n_jobs : int or None
        Number of tables at the same time.
    """
    task = SimulatedFrequencies(learner, refit, n_draws)
    results = list(map_draws(task, n_tables, rng, n_jobs))
    return fit_calibration(*zip(*results, strict=True))
