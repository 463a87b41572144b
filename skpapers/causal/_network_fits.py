# SPDX-License-Identifier: BSD-3-Clause
"""Regressions of nodes on others by small networks, many of them trained at once.

The network of a problem b explains the column y_b by the columns in its mask,

    f_b(x) = c_b + sum_k v_bk sigmoid(a_bk + sum_i A_bki x_i),   A_bki = 0 outside it,

and minimises

    q_b = fit(mean_r w_r (y_rb - f_b(x_r))²) + alpha1 sum |A_b| + alpha2 / 2 (|A_b|² +
          |v_b|²),     fit(m) = m / 2  or  log(m) / 2,

w_r the shares of the rows, which sum to one. |A| is smoothed at 0. All problems share
the rows, so that one product of matrices serves them all; each has a quasi-Newton
method (L-BFGS) of its own, with its own steps and its own end.

Training begins where the node's last one ended, with columns that are new at weight 0.
There a network without inputs is stuck: its units do nothing, so no weight matters to
first order. Therefore units that do nothing begin anew, with random weights; if that
ends above the loss of the start, the start is kept. So more columns never cost.

torch is imported when a function runs.
"""

from contextlib import contextmanager

import numpy as np

from skpapers.utils._optional import import_optional

SMOOTHING = 1e-3  # |a| is sqrt(a² + SMOOTHING²) - SMOOTHING
MEMORY = 10  # pairs of L-BFGS
CHECK = 8  # steps between two looks at the progress
SUFFICIENT = 1e-4  # share of the predicted decrease that a step must reach
MAX_HALVINGS = 20
IDLE = 1e-2  # |v_k| |A_k| below which unit k does nothing, in units of the target
MAX_ELEMENTS = 2**23  # hidden values that are in memory at a time


def import_torch():
    """Return torch, or say which extra brings it."""
    return import_optional("torch", extra="torch", needed_by="TopologicalSwapMLP")


class NetworkFits:
    """Trainer of the networks of all nodes of a table.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Inputs, standardised.
    Y : ndarray of shape (n, d)
        Targets, centred.
    share : ndarray of shape (n,)
        Shares of the rows.
    hidden : int
        Units of the hidden layer.
    alpha1, alpha2 : float
        Penalties.
    logarithm : bool
        Whether the fit is log(m) / 2.
    tol : float
        A problem ends when `CHECK` steps lower its loss by less than this (for
        log(m) / 2), or by less than this fraction of it.
    max_iter : int
        Largest number of steps.
    seed : int
        Seed of the random weights.
    device : str
        Where torch computes.
    """

    def __init__(
        self,
        X,
        Y,
        share,
        *,
        hidden,
        alpha1,
        alpha2,
        logarithm,
        tol,
        max_iter,
        seed,
        device,
    ):
        torch = import_torch()
        self.torch = torch
        self.d, self.hidden = X.shape[1], hidden
        self.alpha1, self.alpha2, self.logarithm = alpha1, alpha2, logarithm
        self.tol, self.max_iter = tol, max_iter
        self.device = device
        self.X, self.Y = self._put(X), self._put(Y)
        self.share = self._put(share)[:, None]
        # A, then a, v and c in one row
        self.size = hidden * self.d + 2 * hidden + 1
        self.fresh = self._random(seed)

    def _put(self, array):
        array = np.ascontiguousarray(array, dtype=np.float64)
        return self.torch.tensor(array, device=self.device)

    def _random(self, seed):
        """Return random parameters for each node, ndarray of shape (d, size)."""
        rng = np.random.RandomState(seed)
        parameters = np.zeros((self.d, self.size))
        n_first = self.hidden * (self.d + 1)
        first, second = np.sqrt(1 / self.d), np.sqrt(1 / self.hidden)
        parameters[:, :n_first] = rng.uniform(-first, first, (self.d, n_first))
        shape = (self.d, self.hidden)
        parameters[:, n_first:-1] = rng.uniform(-second, second, shape)
        return parameters

    def train(self, nodes, masks, parameters):
        """Train networks.

        Parameters
        ----------
        nodes : int array of shape (B,)
            Targets.
        masks : bool array of shape (B, d)
            Columns that explain them.
        parameters : ndarray of shape (B, size)
            Where to start; what lies outside the masks does not count, and units that
            do nothing start anew.

        Returns
        -------
        losses : ndarray of shape (B,)
            q at the end.
        parameters : ndarray of shape (B, size)
            The networks.
        """
        losses, found = np.empty(len(nodes)), np.empty((len(nodes), self.size))
        most = max(1, MAX_ELEMENTS // (len(self.X) * self.hidden))
        for first in range(0, len(nodes), most):
            part = slice(first, first + most)
            with _one_thread(self.torch), self.torch.no_grad():
                q, p = self._train(nodes[part], masks[part], parameters[part])
            losses[part], found[part] = q.cpu().numpy(), p.cpu().numpy()
        return losses, found

    def _train(self, nodes, masks, parameters):
        torch = self.torch
        free = np.ones((len(nodes), self.size))
        free[:, : self.hidden * self.d] = np.tile(masks, (1, self.hidden))
        mask = self._put(free)
        kept_p = self._put(parameters) * mask
        y = self.Y[:, torch.as_tensor(nodes, device=self.device)]
        kept_q = self._loss(kept_p, y, mask)[0]
        p = self._revived(kept_p, nodes) * mask
        q, g = self._loss(p, y, mask)
        end_p, end_q = p.clone(), q.clone()
        active = torch.arange(len(nodes), device=self.device)
        memory, before = [], q
        for step in range(1, self.max_iter + 1):
            direction = -_inverse_hessian(torch, memory, g)
            slope = (g * direction).sum(1)
            lost = slope >= 0  # not a descent direction: begin anew
            direction[lost], slope[lost] = -g[lost], -(g[lost] ** 2).sum(1)
            if not memory:
                direction /= direction.norm(dim=1, keepdim=True).clamp(min=1.0)
                slope = (g * direction).sum(1)
            new_p, new_q, new_g = self._line_search(p, q, g, direction, slope, y, mask)
            memory = [*memory[1 - MEMORY :], (new_p - p, new_g - g)]
            p, q, g = new_p, new_q, new_g
            if step % CHECK == 0 or step == self.max_iter:
                scale = torch.ones_like(q) if self.logarithm else q.abs()
                going = before - q > self.tol * scale
                end_p[active], end_q[active] = p, q
                if not going.any():
                    break
                active, p, q, g = active[going], p[going], q[going], g[going]
                y, mask, before = y[:, going], mask[going], q
                memory = [(s[going], t[going]) for s, t in memory]
        worse = ~(end_q <= kept_q)
        end_p[worse], end_q[worse] = kept_p[worse], kept_q[worse]
        return end_q, end_p

    def _revived(self, p, nodes):
        """Return the parameters with idle units replaced by random ones."""
        p, fresh = p.clone(), self._put(self.fresh[nodes])
        parts, new_parts = self._split(p), self._split(fresh)
        shape = (len(p), self.hidden, self.d)
        A, new_A = parts[0].view(shape), new_parts[0].reshape(shape)
        idle = parts[2].abs() * A.norm(dim=2) < IDLE
        A[idle] = new_A[idle]
        for values, new_values in zip(parts[1:3], new_parts[1:3], strict=True):
            values[idle] = new_values[idle]
        return p

    def _line_search(self, p, q, g, direction, slope, y, mask):
        """Halve the steps of those problems whose loss does not fall enough."""
        torch = self.torch
        size = torch.ones_like(q)
        new_p = p + direction
        new_q, new_g = self._loss(new_p, y, mask)
        for _ in range(MAX_HALVINGS):
            bad = torch.nonzero(~(new_q <= q + SUFFICIENT * size * slope))[:, 0]
            if len(bad) == 0:
                return new_p, new_q, new_g
            size[bad] *= 0.5
            trial = p[bad] + size[bad, None] * direction[bad]
            new_p[bad] = trial
            new_q[bad], new_g[bad] = self._loss(trial, y[:, bad], mask[bad])
        bad = ~(new_q <= q)  # at the limit of rounding: stay
        new_p[bad], new_q[bad], new_g[bad] = p[bad], q[bad], g[bad]
        return new_p, new_q, new_g

    def _split(self, p):
        h, d = self.hidden, self.d
        A = p[:, : h * d]
        a, v, c = p[:, h * d : h * (d + 1)], p[:, h * (d + 1) : -1], p[:, -1]
        return A, a, v, c

    def _forward(self, X, p):
        A, a, v, c = self._split(p)
        B, h = a.shape
        S = X @ A.reshape(B * h, self.d).T
        S += a.reshape(1, B * h)
        S = S.sigmoid_().reshape(len(X), B, h)
        return S, (S * v).sum(2) + c

    def _loss(self, p, y, mask):
        """Return q and its gradient for each problem."""
        torch = self.torch
        A, a, v, _ = self._split(p)
        B, h = a.shape
        S, f = self._forward(self.X, p)
        residual = f - y
        weighted = self.share * residual
        m = (weighted * residual).sum(0)
        if self.logarithm:
            m = m.clamp(min=1e-12)
            q, weighted = 0.5 * m.log(), weighted / m
        else:
            q = 0.5 * m
        g = torch.empty_like(p)
        g_A, g_a, g_v, g_c = self._split(g)
        g_c[:] = weighted.sum(0)
        g_v[:] = torch.einsum("nb,nbh->bh", weighted, S)
        S = S.mul_(1 - S).mul_(weighted[:, :, None]).mul_(v)
        g_a[:] = S.sum(0)
        g_A[:] = (S.reshape(len(S), B * h).T @ self.X).reshape(B, h * self.d)
        smooth = (A**2 + SMOOTHING**2).sqrt()
        q = q + self.alpha1 * (smooth - SMOOTHING).sum(1)
        q = q + 0.5 * self.alpha2 * ((A**2).sum(1) + (v**2).sum(1))
        g_A += self.alpha1 * A / smooth + self.alpha2 * A
        g_v += self.alpha2 * v
        return q, g * mask

    def mean_squares(self, nodes, parameters):
        """Return the mean squared residuals of networks, ndarray of shape (B,)."""
        found = np.empty(len(nodes))
        most = max(1, MAX_ELEMENTS // (len(self.X) * self.hidden))
        for first in range(0, len(nodes), most):
            part = slice(first, first + most)
            p = self._put(parameters[part])
            y = self.Y[:, self.torch.as_tensor(nodes[part], device=self.device)]
            with _one_thread(self.torch), self.torch.no_grad():
                residual = y - self._forward(self.X, p)[1]
                found[part] = (self.share * residual**2).sum(0).cpu().numpy()
        return np.maximum(found, np.finfo(float).tiny)

    def weights(self, parameters):
        """Return A, a, v and c of networks: (B, hidden, d), twice (B, hidden), (B,)."""
        A, a, v, c = self._split(parameters)
        return A.reshape(len(A), self.hidden, self.d), a, v, c

    def strengths(self, parameters):
        """Return the norms of the weights of each input, ndarray of shape (B, d)."""
        return np.sqrt((self.weights(parameters)[0] ** 2).sum(axis=1))


@contextmanager
def _one_thread(torch):
    """Keep torch on one thread, as the rest of a fit: the products are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _inverse_hessian(torch, memory, g):
    """Multiply by the L-BFGS estimate, for each problem (row) its own."""
    if not memory:
        return g.clone()
    z, products = g.clone(), []
    for s, t in reversed(memory):
        curvature = (s * t).sum(1)
        usable = curvature > 1e-10 * (t * t).sum(1)
        rho = torch.where(usable, 1 / curvature, torch.zeros_like(curvature))
        factor = rho * (s * z).sum(1)
        z -= factor[:, None] * t
        products.append((s, t, rho, factor))
    s, t, rho, _ = products[0]
    scale = torch.where(rho > 0, 1 / (rho * (t * t).sum(1)), torch.ones_like(rho))
    z *= scale[:, None]
    for s, t, rho, factor in reversed(products):
        z += (factor - rho * (t * z).sum(1))[:, None] * s
    return z
