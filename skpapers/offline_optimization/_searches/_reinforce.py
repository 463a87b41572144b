# SPDX-License-Identifier: BSD-3-Clause
r"""REINFORCE: a distribution over designs that moves to where the scores are high.

p(x; theta) is independent in its parts: a Gaussian with trained mean and fixed standard
deviation s for numbers, softmax(logits) for categories. With scores f and advantages
A = (f - mean f) / std f of a batch, each iteration moves theta by a step of Adam along

.. math:: \frac{1}{m} \sum_i A_i \nabla_\theta \log p(x_i; \theta),

which for a mean is (x - mean) / s^2 and for logits onehot(x) - softmax(logits): no
gradient of the surrogate is needed.

References
----------
R. J. Williams, Simple statistical gradient-following algorithms for connectionist
reinforcement learning, Machine Learning 8, 1992.
"""

import numpy as np

from skpapers.offline_optimization._searches._box import check_numbers, finite_scores

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def softmax(logits):
    """Return probabilities (K,) for logits (K,)."""
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


class Policy:
    """The distribution: numbers are Gaussian, blocks of coordinates categorical.

    Parameters
    ----------
    space : DesignSpace
        Its blocks and bounds.
    starts : ndarray of shape (n_starts, D)
        Points whose mean, and whose shares of categories, it begins with.
    std : float
        Standard deviation of the numbers.

    Attributes
    ----------
    theta : ndarray of shape (n_numbers + sum of K,)
        Means, then the logits of block after block.
    """

    def __init__(self, space, starts, std):
        self.space, self.std = space, std
        self.tables = [np.asarray(space.categories_of(block)) for block in space.blocks]
        is_number = np.ones(space.n_coordinates, dtype=bool)
        for block in space.blocks:
            is_number[block] = False
        self.numbers = np.flatnonzero(is_number)
        sizes = [len(self.numbers)] + [len(table) for table in self.tables]
        self.ends = np.cumsum(sizes)
        starts = space.project(starts)
        codes = space.decode(starts)[:, space.category_parts].astype(np.int64)
        parts = [starts[:, self.numbers].mean(axis=0)]
        for code, table in zip(codes.T, self.tables, strict=True):
            parts.append(_log_shares(code, len(table)))
        self.theta = np.concatenate(parts)

    @property
    def parts(self):
        """The mean and the logits of each block, as views of theta."""
        return np.split(self.theta, self.ends[:-1])

    def sample(self, n, rng):
        """Return n draws: numbers (n, C) and a list of indices (n,) a block."""
        mean, *logits = self.parts
        numbers = mean + self.std * rng.standard_normal((n, len(mean)))
        codes = [rng.choice(len(part), size=n, p=softmax(part)) for part in logits]
        return numbers, codes

    def points(self, numbers, codes):
        """Return draws as points of the space (n, D)."""
        Z = np.empty((len(numbers), self.space.n_coordinates))
        Z[:, self.numbers] = numbers
        for block, table, code in zip(
            self.space.blocks, self.tables, codes, strict=True
        ):
            Z[:, block] = table[code]
        return self.space.project(Z)

    def gradient(self, numbers, codes, advantages):
        """Return the mean of advantage times gradient of log p, as theta."""
        mean, *logits = self.parts
        slopes = [advantages @ (numbers - mean) / self.std**2]
        for logit, code in zip(logits, codes, strict=True):
            summed = np.bincount(code, weights=advantages, minlength=len(logit))
            slopes.append(summed - advantages.sum() * softmax(logit))
        return np.concatenate(slopes) / len(advantages)

    def move(self, step):
        """Add a step to theta; means stay within the bounds."""
        self.theta += step
        at = self.numbers
        np.clip(
            self.theta[: len(at)],
            self.space.lower[at],
            self.space.upper[at],
            out=self.theta[: len(at)],
        )


def _log_shares(code, n_categories):
    """Return log shares of categories, each counted once more than it occurs."""
    counts = np.bincount(code, minlength=n_categories)
    return np.log((counts + 1.0) / (len(code) + n_categories))


def normalised(scores):
    """Return scores with mean 0 and standard deviation 1, or zeros if all are equal."""
    centred = scores - scores.mean()
    spread = centred.std()
    return centred / spread if spread > 0 else np.zeros_like(scores)


def search(
    objective,
    space,
    starts,
    n_candidates,
    rng,
    *,
    n_iterations=200,
    batch_size=256,
    lr=0.01,
    std=0.1,
):
    """Return draws of a distribution that was trained to score high.

    Parameters
    ----------
    objective : Objective
        Any surrogate.
    space : DesignSpace
        The designs that are allowed.
    starts : ndarray of shape (n_starts, D)
        Designs that the distribution begins around.
    n_candidates : int
        How many points to draw in the end.
    rng : RandomState
        Source of the draws.
    n_iterations : int, default=200
        Number of steps; each is one call of the surrogate.
    batch_size : int, default=256
        Draws of a step.
    lr : float, default=0.01
        Step of Adam.
    std : float, default=0.1
        Standard deviation of the numbers, in units of the training rows.

    Returns
    -------
    ndarray of shape (n_candidates, D)
        Points.
    """
    check_numbers(
        "reinforce",
        n_iterations=(n_iterations, int, 0),
        batch_size=(batch_size, int, 2),
        lr=(lr, float, 0),
        std=(std, float, 0),
    )
    policy = Policy(space, starts, std)
    first, second = np.zeros((2, len(policy.theta)))
    for t in range(1, n_iterations + 1):
        draws = policy.sample(batch_size, rng)
        scores = finite_scores(objective, policy.points(*draws))
        slope = policy.gradient(*draws, normalised(scores))
        first = BETA1 * first + (1 - BETA1) * slope
        second = BETA2 * second + (1 - BETA2) * slope**2
        size = np.sqrt(second / (1 - BETA2**t)) + EPSILON
        policy.move(lr * first / (1 - BETA1**t) / size)
    return policy.points(*policy.sample(n_candidates, rng))
