# SPDX-License-Identifier: BSD-3-Clause
"""Bayesian optimisation of the surrogate: a Gaussian process and batches of botorch.

A Gaussian process is fitted to scores of the surrogate, and batches of points follow
that promise the largest improvement together (qEI, in its logarithm, whose gradient
does not vanish where little improvement is to be expected).

References
----------
M. Balandat et al., BoTorch: a framework for efficient Monte-Carlo Bayesian
optimization, NeurIPS 2020. S. Ament et al., Unexpected improvements to expected
improvement for Bayesian optimization, NeurIPS 2023.
"""

import warnings

import numpy as np

from skpapers.offline_optimization._searches._box import (
    FreeBox,
    best_of,
    check_numbers,
    finite_scores,
    global_numbers_kept,
    import_quietly,
)
from skpapers.utils._torch import import_torch, seeded

N_SAMPLES = 64  # of the posterior, for the expectation
N_RESTARTS, N_RAW = 2, 32  # where the ascent of a batch begins, the best among these
MAX_ITER = 50  # of that ascent


def _import(name):
    return import_quietly(f"botorch.{name}", extra="search", needed_by="search='bo'")


class Process:
    """A Gaussian process on shares of the box; its kernel is fitted once."""

    def __init__(self):
        self.kernel = None

    def fit(self, shares, scores):
        """Return the process for points and their scores."""
        torch = import_torch("search='bo'")
        if self.kernel is None:
            spread = scores.std()
            self.centre, self.unit = scores.mean(), spread if spread > 0 else 1.0
        units = (scores - self.centre) / self.unit
        model = _import("models").SingleTaskGP(
            torch.from_numpy(shares),
            torch.from_numpy(units)[:, None],
            outcome_transform=None,
        )
        if self.kernel is None:
            mll = import_quietly(
                "gpytorch.mlls", extra="search", needed_by="search='bo'"
            ).ExactMarginalLogLikelihood(model.likelihood, model)
            _import("fit").fit_gpytorch_mll(mll)
            self.kernel = model.state_dict()
        else:
            model.load_state_dict(self.kernel)
        self.best = units.max()
        return model.eval()


def next_batch(model, best, n_free, batch_size, seed):
    """Return shares (batch_size, n_free) whose joint improvement is largest."""
    torch = import_torch("search='bo'")
    sampler = _import("sampling").SobolQMCNormalSampler(
        torch.Size([N_SAMPLES]), seed=seed
    )
    acquisition = _import("acquisition").qLogExpectedImprovement(
        model, best_f=best, sampler=sampler
    )
    box = torch.zeros((2, n_free), dtype=torch.float64)
    box[1] = 1.0
    found, _ = _import("optim").optimize_acqf(
        acquisition,
        bounds=box,
        q=batch_size,
        num_restarts=N_RESTARTS,
        raw_samples=N_RAW,
        options={"maxiter": MAX_ITER, "sample_around_best": True, "seed": seed},
    )
    return found.detach().numpy().astype(np.float64)


def search(
    objective,
    space,
    starts,
    n_candidates,
    rng,
    *,
    n_points=500,
    n_iterations=10,
    batch_size=32,
):
    """Return the best points that Bayesian optimisation has met.

    Parameters
    ----------
    objective : Objective
        Any surrogate.
    space : DesignSpace
        The designs that are allowed.
    starts : ndarray of shape (n_starts, D)
        The best designs, best first; they inform the process.
    n_candidates : int
        How many points to return.
    rng : RandomState
        Source of random points and of the seed of torch.
    n_points : int, default=500
        Points that the process begins with: the starts, and random ones of the box.
    n_iterations : int, default=10
        Number of batches; each is one call of the surrogate.
    batch_size : int, default=32
        Points of a batch.

    Returns
    -------
    ndarray of shape (n_candidates, D)
        Points that are no starts, best first; fewer where fewer were scored.
    """
    check_numbers(
        "bo",
        n_points=(n_points, int, 2),
        n_iterations=(n_iterations, int, 1),
        batch_size=(batch_size, int, 1),
    )
    _import("models")
    starts = space.project(starts[:n_points])
    box = FreeBox(space, starts)
    if not len(box.free):
        return starts[:1]
    more = rng.uniform(size=(n_points - len(starts), len(box.free)))
    shares = np.concatenate([box.shares(starts), more])
    seed = int(rng.randint(2**31 - 1))
    scores = finite_scores(objective, box.from_shares(shares))
    process = Process()
    with warnings.catch_warnings(), seeded(seed), global_numbers_kept():
        warnings.simplefilter("ignore")  # of kernels that are hard to factorise
        for k in range(n_iterations):
            model = process.fit(shares, scores)
            # a seed has 31 bits
            at = (seed + k) % (2**31 - 1)
            batch = next_batch(model, process.best, len(box.free), batch_size, at)
            shares = np.concatenate([shares, batch])
            found = finite_scores(objective, box.from_shares(batch))
            scores = np.concatenate([scores, found])
    own = slice(len(starts), None)
    return best_of(box.from_shares(shares[own]), scores[own], n_candidates)
