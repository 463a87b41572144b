# SPDX-License-Identifier: BSD-3-Clause
r"""The path of CoLiDE for a batch of covariances, in any array library.

The iteration is that of `skpapers.causal._kernels.colide.adam_stage`, symbol by symbol,
with B covariances as one array of shape (B, d, d) and the operations of the array API
standard, so it runs where the arrays live. All problems that are still at work take
their steps together; one that ends (by its own objective, graph or domain) is taken out
of the arrays, so it costs nothing from then on and does not move any more.

What an iteration costs for each problem:

- one product C W, 2 d³ operations. Nothing saves it: Adam moves every entry of W;
- the inverse of sI - W * W, 2 d³ operations and slow ones, only every tenth time. W
  moves by no more than about the learning rate in an iteration, so the last inverse is
  nearly right;
- some twenty passes over d² numbers, for which the compiled kernel needs one. This is
  why on a processor the compiled kernel is faster for one problem after the other, and
  why it takes an accelerator to gain by batches.

The log det is only formed at checkpoints. What tells whether W is in the domain of h_s
is the inverse itself (`skpapers.causal._colide._problems`).
"""

import math

import numpy as np

from skpapers.causal._colide._path import (
    LAZY,
    S_STEP,
    checkpoint_of,
    make_score,
    settle,
)
from skpapers.causal._colide._problems import Problems, acyclicity, h_values
from skpapers.causal._kernels.colide import (
    BETA_1,
    BETA_2,
    EPSILON,
    SMALLEST_RATE,
    TIGHT,
)
from skpapers.utils._array_api import array_namespace, like, to_numpy
from skpapers.utils._graph import is_dag

FAILED, ENDED, SETTLED = 0, 1, 2


class AdamStage:
    """One stage of Adam on a batch, `run` once.

    Parameters
    ----------
    problems : Problems
        The scores, in the type in which the stage runs.
    W, sigma : array of shape (B, d, d) and (B, d) or (B, 1)
        Where to start; not changed.
    stage : Stage
        Its mu and its limits.
    s, rate : array of shape (B,)
        Level and learning rate of each problem.
    plan : Plan
        Tolerance, cut and the interval of checkpoints.

    Attributes
    ----------
    pieces : list of tuple
        For those that ended together: their indices, W, sigma, the number of
        iterations, the relative changes of F between the last checkpoints and whether
        they failed, ended or settled.
    """

    BATCHED = ("W", "safe", "m", "v", "R", "r", "Q", "sigma", "s", "rate")

    def __init__(self, problems, W, sigma, stage, s, rate, plan):
        xp = self.xp = problems.xp
        self.problems, self.stage, self.plan = problems, stage, plan
        self.W = xp.asarray(W, copy=True)
        self.safe, self.Q = self.W, self.W  # until the first refresh
        self.m, self.v = xp.zeros_like(W), xp.zeros_like(W)
        self.sigma, self.s, self.rate = sigma, s, rate
        self.R, self.r, _ = problems.residuals(self.W)
        B = W.shape[0]
        self.index = np.arange(B)
        self.former, self.changes = np.full(B, np.inf), np.full(B, np.inf)
        self.n_same = np.zeros(B, dtype=np.int64)
        self.edges = None
        self.pieces = []

    def run(self):
        """Take steps until every problem has ended; return the pieces."""
        stage, checkpoint = self.stage, checkpoint_of(self.plan.learning_rate)
        for t in range(1, stage.max_iter + 1):
            if (t - 1) % LAZY == 0:
                self.refresh(t)
            if len(self.index):
                self.step(t)
                if t % checkpoint == 0 or t == stage.max_iter:
                    self.check(t)
            if not len(self.index):
                break
        else:
            lost = self.as_array(np.isinf(self.former))[:, None, None]
            self.W = self.xp.where(lost, self.safe, self.W)
            self.end(np.ones(len(self.index), dtype=bool), stage.max_iter, ENDED)
        return self.pieces

    def as_array(self, values):
        """Return NumPy values where the problems live."""
        return like(values, self.W)

    def end(self, which, t, how):
        """Take problems out of the arrays; ``which`` is a mask, on the host."""
        if not which.any():
            return
        xp = self.xp
        gone = self.as_array(np.flatnonzero(which))
        left = self.as_array(np.flatnonzero(~which))
        W, sigma = xp.take(self.W, gone, axis=0), xp.take(self.sigma, gone, axis=0)
        self.pieces.append((self.index[which], W, sigma, t, self.changes[which], how))
        for name in ("index", "former", "changes", "n_same"):
            setattr(self, name, getattr(self, name)[~which])
        if not len(self.index):
            return
        for name in self.BATCHED:
            setattr(self, name, xp.take(getattr(self, name), left, axis=0))
        if self.edges is not None:
            self.edges = xp.take(self.edges, left, axis=0)
        self.problems = self.problems.take(left)

    def refresh(self, t):
        """Compute Q anew; where W has left the domain, go back or fail."""
        xp = self.xp
        self.Q, _, inside = acyclicity(xp, self.W, self.s)
        if not bool(xp.all(inside)):
            self.come_back(t, inside)
        self.Q = 2.0 * self.Q
        self.safe = xp.asarray(self.W, copy=True)

    def come_back(self, t, inside):
        """Halve the last way and the rate until W is inside again."""
        xp = self.xp
        outside = ~to_numpy(inside)
        fails = outside & ((to_numpy(self.s) <= TIGHT) | (t == 1))
        self.end(fails, t, FAILED)
        outside = outside[~fails]
        while outside.any():
            back = self.as_array(outside)
            self.rate = xp.where(back, self.rate / 2, self.rate)
            halfway = (self.safe + self.W) / 2
            self.W = xp.where(back[:, None, None], halfway, self.W)
            stuck = outside & (to_numpy(self.rate) <= SMALLEST_RATE)
            if stuck.any():
                where = self.as_array(stuck)[:, None, None]
                self.W = xp.where(where, self.safe, self.W)
                self.end(stuck, t, ENDED)
                if not len(self.index):
                    return
            self.Q, _, inside = acyclicity(xp, self.W, self.s)
            outside = ~to_numpy(inside)
        if len(self.index):
            self.R, self.r, self.sigma = self.problems.residuals(self.W)

    def step(self, t):
        """Step number t; m and v are the sums behind the moments."""
        xp, problems, mu = self.xp, self.problems, self.stage.mu
        G = self.W * self.Q
        G -= self.R * (mu / self.sigma)[:, None, :]
        G += xp.sign(self.W) * (mu * problems.price)
        G *= problems.free
        self.m *= BETA_1
        self.m += G
        self.v *= BETA_2
        G *= G
        self.v += G
        way = xp.sqrt(self.v)
        way *= math.sqrt((1.0 - BETA_2) / (1.0 - BETA_2**t))
        way += EPSILON
        way = self.m / way
        way *= ((1.0 - BETA_1) / (1.0 - BETA_1**t) * self.rate)[:, None, None]
        self.W -= way
        self.R, self.r, self.sigma = problems.residuals(self.W)

    def check(self, t):
        """Form the objectives and end what is done."""
        xp, plan = self.xp, self.plan
        value = self.stage.mu * self.problems.value(self.W, self.r, self.sigma)
        value = to_numpy(value + h_values(xp, self.W, self.s)).astype(np.float64)
        known = np.isfinite(self.former)
        former = np.where(known & (self.former != 0), self.former, 1.0)  # no 0 / 0
        self.changes = np.where(
            known, np.abs(former - value) / np.abs(former), self.changes
        )
        self.former = value
        done = self.changes <= plan.tol
        settled = self.settled() & ~done & np.isfinite(value)
        self.end(done, t, ENDED)
        self.end(settled[~done], t, SETTLED)

    def settled(self):
        """Tell which graphs have stayed the same for long enough, without a cycle."""
        xp, patience = self.xp, self.stage.early_exit
        if not patience:
            return np.zeros(len(self.index), dtype=bool)
        edges = xp.abs(self.W) > self.plan.cut
        before = xp.zeros_like(edges) if self.edges is None else self.edges
        same = to_numpy(xp.all(edges == before, axis=(-2, -1)))
        self.edges = edges
        self.n_same = np.where(same, self.n_same + 1, 0)
        found = self.n_same >= patience
        for k in np.flatnonzero(found):
            found[k] = is_dag(to_numpy(edges[int(k), ...]))
        return found


class ArrayPath:
    """The paths of a batch of covariances.

    Parameters
    ----------
    plan : Plan
        What is to be done, with the learning rate of Adam.
    C : array of shape (B, d, d)
        Covariances, where the work is to be done.
    alpha : array of shape (B,)
        Price of a unit of absolute weight, in the type and place of ``C``.

    Attributes
    ----------
    W : array of shape (B, d, d)
        Where the last stage ended.
    history : list of dict
        One record a stage: an ndarray of shape (B,) for each entry.
    """

    def __init__(self, plan, C, alpha):
        xp = array_namespace(C)
        self.xp, self.plan = xp, plan
        self.problems = Problems(plan, C, alpha)
        self._sigma = self.problems.floor / plan.noise_floor
        self.W = self._start(C, alpha)
        self.history = []

    @property
    def sigma(self):
        """Noise levels in the units of C, an array of shape (B, d)."""
        return self._sigma * self.problems.unit * self.problems.varies

    def _start(self, C, alpha):
        if self.plan.init is None:
            return self.xp.zeros_like(C)
        starts = [self._on_host(b, self._start_of) for b in range(C.shape[0])]
        return like(np.stack(starts), C, dtype=C.dtype)

    def _start_of(self, plan, score, b, columns):
        return plan.start(score)

    def _on_host(self, b, function):
        """Put one problem, without constant columns, through a NumPy function.

        It takes the plan and the score for the columns that vary, ``b`` and these
        columns, and returns a W for them.
        """
        problems = self.problems
        columns = np.flatnonzero(to_numpy(problems.varies[b, :]))
        d = problems.C.shape[-1]
        full = np.zeros((d, d))
        if len(columns):
            block = np.ix_(columns, columns)
            C = to_numpy(problems.C[b, ...]).astype(np.float64)
            plan, price = self.plan.restrict(columns), to_numpy(problems.price[b, ...])
            score = make_score(
                np.ascontiguousarray(C[block]),
                plan.equal,
                float(price.max()),
                plan.noise_floor,
                plan.free,
                plan.required,
            )
            full[block] = function(plan, score, b, columns)
        return full

    def run(self, stage):
        """Solve the next stage; return its record."""
        xp, B = self.xp, self.W.shape[0]
        kind = xp.float32 if stage.single else self.W.dtype
        problems = self.problems.in_type(kind)
        index = np.arange(B)
        s, rate = np.full(B, stage.s), np.full(B, self.plan.learning_rate)
        n_iter, pieces = np.zeros(B, dtype=np.int64), []
        while len(index):
            here = like(index, self.W)
            attempt = AdamStage(
                problems if len(index) == B else problems.take(here),
                xp.astype(xp.take(self.W, here, axis=0), kind, copy=False),
                xp.astype(xp.take(self._sigma, here, axis=0), kind, copy=False),
                stage,
                like(s[index], self.W, dtype=kind),
                like(rate[index], self.W, dtype=kind),
                self.plan,
            ).run()
            failed = []
            for ended, *rest, t, change, how in attempt:
                n_iter[index[ended]] += t
                if how == FAILED:
                    failed.append(index[ended])
                else:
                    pieces.append((index[ended], *rest, change, how))
            index = np.sort(np.concatenate(failed)) if failed else np.arange(0)
            s[index] += S_STEP
            rate[index] /= 2
        return self._collect(stage, s, n_iter, pieces)

    def _collect(self, stage, s, n_iter, pieces):
        """Put the problems back in their order and record what happened."""
        xp, kind = self.xp, self.W.dtype
        index, W, sigma, changes, ends = zip(*pieces, strict=True)
        order = np.argsort(np.concatenate(index))
        back = like(order, self.W)
        self.W = xp.take(xp.astype(xp.concat(W), kind, copy=False), back, axis=0)
        self._sigma = xp.take(
            xp.astype(xp.concat(sigma), kind, copy=False), back, axis=0
        )
        change = np.concatenate(changes)[order]
        settled = np.concatenate(
            [
                np.full(len(c), how == SETTLED)
                for c, how in zip(changes, ends, strict=True)
            ]
        )[order]
        record = {
            "mu": np.full(len(order), stage.mu),
            "s": s,
            "n_iter": n_iter,
            "change": change,
            "converged": (change <= self.plan.tol) | settled,
            "settled": settled,
        }
        if settled.any():
            self._settle(record)
        _, r, sigma = self.problems.residuals(self.W)
        score = to_numpy(self.problems.value(self.W, r, sigma)).astype(np.float64)
        h = h_values(xp, self.W, like(s, self.W, dtype=kind))
        h = to_numpy(h).astype(np.float64)
        record |= {"score": score, "h": h, "objective": stage.mu * score + h}
        self.history.append(record)
        return record

    def _settle(self, record):
        """Solve the convex problems along the orders of graphs that have settled."""
        xp = self.xp

        def weights(plan, score, b, columns):
            W = to_numpy(self.W[b, ...]).astype(np.float64)[np.ix_(columns, columns)]
            one = {"mu": 1.0, "s": 1.0, "n_iter": 0}
            W, _, one = settle(score, W, one, plan.required)
            record["n_iter"][b] += one["n_iter"]
            return W

        W = to_numpy(self.W).astype(np.float64)
        for b in np.flatnonzero(record["settled"]):
            W[b] = self._on_host(int(b), weights)
        self.W = like(W, self.W, dtype=self.W.dtype)
        self._sigma = self.problems.residuals(self.W)[2]
        self._sigma = xp.astype(self._sigma, self.W.dtype, copy=False)
