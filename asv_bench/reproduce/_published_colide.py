# SPDX-License-Identifier: BSD-3-Clause
"""The published CoLiDE iteration as a plain NumPy loop: the reference of our timings.

One step forms ``inv(sI - W * W)``, the gradient of
``mu * S(W, sigma) + h_s(W)``, an Adam update and the closed-form noise, all with
whole-array NumPy operations and with the settings of the paper's experiments. It
follows the algorithm as published, so it keeps what the package repairs: the
diagonal of W is free, the noise has no floor, and every step inverts a matrix.
"""

import numpy as np

BETA_1, BETA_2, EPSILON = 0.99, 0.999, 1e-8


def published_colide(
    X,
    noise="equal",
    alpha=0.05,
    *,
    s=(1.0, 0.9, 0.8, 0.7),
    mu_factor=0.1,
    warm_iter=20_000,
    max_iter=70_000,
    learning_rate=3e-4,
    checkpoint=1_000,
    tol=1e-6,
    w_threshold=0.3,
):
    """Learn a weighted DAG with the published iteration.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The data; not modified.
    noise : {"equal", "nonequal"}, default="equal"
        One noise level for all variables, or one for each.
    alpha : float, default=0.05
        Weight of the l1 norm.
    s, mu_factor, warm_iter, max_iter, learning_rate, checkpoint, tol, w_threshold
        Settings of the path; the defaults are those of the paper's experiments.

    Returns
    -------
    adjacency : ndarray of shape (n_features, n_features)
        Thresholded until acyclic.
    raw : ndarray of shape (n_features, n_features)
        The last iterate.
    sigma : ndarray of shape (n_features,)
        Noise levels of the last iterate.
    n_iter : int
        Iterations over all stages, failed attempts included.
    """
    Xc = X - X.mean(axis=0)
    C = Xc.T @ Xc / len(Xc)
    equal = noise == "equal"
    deviation = np.sqrt(np.diag(C))
    sigma = np.full(len(C), deviation.min()) if equal else deviation
    W, mu, total = np.zeros_like(C), 1.0, 0
    for stage, s_stage in enumerate(s):
        budget = max_iter if stage == len(s) - 1 else warm_iter
        lr, succeeded = learning_rate, False
        while not succeeded:
            W_new, sigma_new, n_iter, succeeded = published_stage(
                C, W, sigma, equal, mu, s_stage, alpha, budget, lr, checkpoint, tol
            )
            total += n_iter
            lr, s_stage = lr / 2, s_stage + 0.1
        W, sigma, mu = W_new, sigma_new, mu * mu_factor
    return _cut_until_acyclic(W, w_threshold), W, sigma, total


def published_stage(C, W, sigma, equal, mu, s, alpha, max_iter, lr, checkpoint, tol):
    """Run one stage; returns ``(W, sigma, n_iter, succeeded)``."""
    d = len(C)
    eye = np.eye(d)
    W, sigma = W.copy(), sigma.copy()
    m, v = np.zeros_like(W), np.zeros_like(W)
    step = np.zeros_like(W)
    previous = 1e16
    for t in range(1, max_iter + 1):
        inverse = np.linalg.inv(s * eye - W * W)
        while (inverse < -1e-6).any():
            if t == 1 or s <= 0.9:
                return W, sigma, t, False
            W += lr * step
            lr /= 2
            if lr <= 1e-16:
                return W, sigma, t, True
            W -= lr * step
            sigma = _noise(C, W, equal)
            inverse = np.linalg.inv(s * eye - W * W)
        score = -mu * (C @ (eye - W)) / sigma
        gradient = score + mu * alpha * np.sign(W) + 2 * W * inverse.T
        m = BETA_1 * m + (1 - BETA_1) * gradient
        v = BETA_2 * v + (1 - BETA_2) * gradient**2
        corrected = np.sqrt(v / (1 - BETA_2**t)) + EPSILON
        step = m / (1 - BETA_1**t) / corrected
        W -= lr * step
        sigma = _noise(C, W, equal)
        if t % checkpoint == 0 or t == max_iter:
            value = _objective(C, W, sigma, mu, s, alpha)
            if abs(previous - value) / abs(previous) <= tol:
                break
            previous = value
    return W, sigma, t, True


def _noise(C, W, equal):
    """Closed-form noise levels: root mean (or column) variances of the residuals."""
    residual = np.eye(len(C)) - W
    variance = np.einsum("ij,ij->j", residual, C @ residual)
    return np.sqrt(np.full_like(variance, variance.mean()) if equal else variance)


def _objective(C, W, sigma, mu, s, alpha):
    """``mu * S(W, sigma) + h_s(W)``."""
    d = len(C)
    residual = np.eye(d) - W
    variance = np.einsum("ij,ij->j", residual, C @ residual)
    score = (variance / sigma + sigma).sum() / 2 + alpha * np.abs(W).sum()
    return mu * score + d * np.log(s) - np.linalg.slogdet(s * np.eye(d) - W * W)[1]


def _cut_until_acyclic(W, threshold):
    """Zero |w| <= threshold, then the smallest weights until no cycle is left."""
    W = np.where(np.abs(W) > threshold, W, 0)
    while _has_cycle(W):
        W = np.where(np.abs(W) > np.abs(W[W != 0]).min(), W, 0)
    return W


def _has_cycle(W):
    """Whether peeling off nodes without parents gets stuck."""
    A = W != 0
    while len(A):
        rest = A.any(axis=0)
        if rest.all():
            return True
        A = A[np.ix_(rest, rest)]
    return False
