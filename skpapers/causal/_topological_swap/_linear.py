# SPDX-License-Identifier: BSD-3-Clause
r"""What `TopologicalSwap` does with a covariance, and how it chooses its loss.

With "auto", two graphs are learnt and the one of lower BIC is kept. Both count a price
lambda log n for each of their |E| edges, but not the same number of noise variances:

    S_equal   = n sum_v log v_v + R / c + lambda log n |E| + log n
    S_unequal = n sum_v log v_v         + lambda log n |E| + d log n

with the mean squared residuals v_v *in the given units*. The first is that of the graph
in the order of least squares, the second that of the graph of lowest BIC.

    R = n (d log(mean_v v_v) - sum_v log v_v)

is the likelihood ratio of equal variances; with c = 1 the first line is the BIC of
normal noise, n d log(mean_v v_v) + ... But how much sample variances differ by chance
depends on the tails of the noise. If all variances are equal and the noise has kurtosis
k_v (fourth moment over squared variance), then

    var(log v_v) = (k_v - 1) / n + O(1 / n²),
    R = n / 2 sum_v (log v_v - mean_u log v_u)² + O(n^-1/2),

and so R has the mean (d - 1) c with c = mean_v (k_v - 1) / 2: 1 for normal noise, 4 for
exponential noise. R / c has the mean of chi² with d - 1 degrees of freedom again, and
its distribution if all k_v are equal (Satorra and Bentler 1994). The sums over edges
need no such correction: coefficients of regressions have variances that depend on
second moments only. Kurtosis is taken from the residuals; where only a covariance is
known, c is 1.

A. Satorra, P. M. Bentler, "Corrections to test statistics and standard errors in
covariance structure analysis", in: Latent variables analysis, 1994.
"""

from dataclasses import dataclass
from warnings import warn

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skpapers.causal._base import LearnedDAG, dependent_columns, residual_variances
from skpapers.causal._bic_search import bic_order_search
from skpapers.causal._general_losses import covariance_fits
from skpapers.causal._markov_class import bic
from skpapers.causal._moments import mean_kurtosis
from skpapers.causal._order_search import (
    LOSSES,
    SWEEPS,
    make_search,
    search_order,
)
from skpapers.causal._sparsify import refit_ols, sparsify
from skpapers.causal._topological_swap._moves import (
    complete_graph,
    edge_masks,
    knows_edges,
    search_moves,
    warn_unconverged,
)
from skpapers.causal._topological_swap._starts import has_default_start, start_orders
from skpapers.utils._callbacks import reported

# Added to the variances of a singular covariance, relative to them: as little as leaves
# a Cholesky factor, and enough to keep sparse regressions from fitting rounding errors
JITTER = 1e-10
SPARSE_JITTER = 1e-6
NORMAL_KURTOSIS = 3.0
LEAST_SPREAD = 0.1  # of c; noise on two values would have 0
SCORES = {"squared": lambda v: v / 2, "sum_std": np.sqrt}  # of a residual variance


def power_of_four(C):
    """Return the largest variance, rounded to a power of four.

    Dividing C by it is exact and keeps squares of the inverse factor in range.
    """
    return 4.0 ** np.round(np.log2(np.diag(C).max()) / 2)


def largest_gradient(C, W, order, allowed):
    """Return max |dQ/dW| of the least squares loss over the edges the order allows."""
    gradient = np.where(allowed, C @ W - C, 0.0)
    return float(np.abs(np.triu(gradient[np.ix_(order, order)], k=1)).max(initial=0.0))


@dataclass
class EqualVariances:
    """What the residuals of a graph say of equal noise variances.

    Attributes
    ----------
    variances : ndarray of shape (d,)
        Mean squared residuals.
    n_samples : float
        Number of rows.
    kurtosis : float
        Mean kurtosis of the residuals; 3 is that of normal noise.
    """

    variances: np.ndarray
    n_samples: float
    kurtosis: float = NORMAL_KURTOSIS

    @classmethod
    def of(cls, learner, C, n_samples, W, columns):
        """Look at the residuals of a graph, of the rows too if they are known."""
        variances = residual_variances(C, W)
        if learner._rows is None:
            return cls(variances, n_samples)
        X, weight, mean = learner._rows
        if len(columns) < X.shape[1]:
            X, mean = X[:, columns], mean[columns]
        kurtosis = mean_kurtosis(X, weight, mean, W, np.sqrt(variances))
        return cls(variances, n_samples, kurtosis)

    def ratio(self):
        """Return the likelihood ratio R / c, which depends little on the tails."""
        d = len(self.variances)
        R = d * np.log(self.variances.mean()) - np.log(self.variances).sum()
        c = max((self.kurtosis - 1) / 2, LEAST_SPREAD)
        return float(max(self.n_samples * R, 0.0) / c)

    def pvalue(self):
        """Return the p-value of the ratio."""
        d = len(self.variances)
        return float(chi2.sf(self.ratio(), d - 1)) if d > 1 else 1.0

    def bic(self, n_edges, penalty):
        """Return the BIC of a graph whose noise variances are equal."""
        fit = self.n_samples * np.log(self.variances).sum() + self.ratio()
        return float(fit + (penalty * n_edges + 1) * np.log(self.n_samples))


def cut_weights(learner, W, automatic=0.0, required=False):
    """Cut the weights below ``w_threshold``, which "auto" sets to ``automatic``."""
    cut = automatic if learner.w_threshold == "auto" else learner.w_threshold
    return np.where((np.abs(W) < cut) & ~np.asarray(required), 0.0, W)


def sparse_weights(learner, C, n_samples, order, raw, allowed, required):
    """Return the weights of the sparse graph that agrees with an order."""
    W = raw
    if learner.sparsifier in ("bic_l0", "adaptive_lasso"):
        W = sparsify(
            C,
            n_samples,
            order,
            learner.sparsifier,
            penalty=learner.penalty,
            max_parents=learner.max_parents,
            allowed=allowed,
            required=required,
        )
    wide = learner.sparsifier in ("adaptive_lasso", "threshold")
    return cut_weights(learner, W, 0.3 if wide else 0.0, required)


def inner_covariance(learner, C, alpha, n_samples, columns):
    """Return the positive definite covariance that scores orders."""
    if alpha > 0:
        return C + alpha * np.eye(len(C))
    hint = "Collect more rows, drop columns, or set alpha > 0."
    return regular_covariance(learner, C, n_samples, columns, JITTER, hint)


def regular_covariance(learner, C, n_samples, columns, jitter, hint):
    """Return the covariance; if it is singular, warn and add to its diagonal."""
    told = f"{jitter:g} of each variance was added to the singular covariance. {hint}"
    if not learner._warn_if_singular(C, n_samples, columns, told):
        return C
    return C + jitter * np.diag(np.diag(C))


def limits(learner):
    """Return what ends a search."""
    return {"tol": learner.tol, "max_iter": learner.max_iter}


def search_starts(learner, C, starts, loss):
    """Return order and weights of the best search of all starts, and what is told."""
    search = make_search(
        learner.neighborhood,
        loss,
        len(C),
        **limits(learner),
        acyclicity=learner.acyclicity,
        size_small=learner.size_small,
        size_large=learner.size_large,
        n_large=learner.n_large,
    )
    # Threads: the kernels release the interpreter
    parallel = Parallel(learner.n_jobs, prefer="threads", return_as="generator")
    results = parallel(delayed(search)(C, start) for start in starts)
    best = start_score = None
    for r in reported(learner, range(len(starts)), "start"):
        try:
            result = next(results)
        except np.linalg.LinAlgError:
            raise ValueError(
                "The covariance is not positive definite: its columns differ too much "
                f"in scale, or alpha={learner.alpha} is too small."
            ) from None
        if r == 0:
            start_score = result.history[0]
        if learner.verbose:
            print(
                f"[TopologicalSwap] start {r + 1}/{len(starts)}: score "
                f"{result.history[-1]:.6g} after {len(result.history) - 1} moves."
            )
        if best is None or result.history[-1] < best.history[-1]:
            best = result
    if not best.converged:
        warn_unconverged(learner, best.history[-1])
    found = {
        "objective": best.history[-1],
        "start_objective": start_score,
        "history": best.history,
        "n_moves": len(best.history) - 1,
        "n_iter": best.n_iter,
        "n_large_used": best.n_large_used,
    }
    return best.state.order, best.state.weights(), found


def learn_by_order(learner, C, n_samples, columns, loss):
    """Search for the order of lowest "squared" or "sum_std", then the sparse graph.

    Returns it and what it says of equal variances.
    """
    unit = power_of_four(C)
    inner = inner_covariance(
        learner, C / unit, learner.alpha / unit, n_samples, columns
    )
    starts = start_orders(learner, C, n_samples, columns, learner.n_init)
    known = edge_masks(learner, columns)
    if knows_edges(learner):
        if has_default_start(learner):
            options = {"loss": LOSSES[loss], "sweeps": SWEEPS["insertion"]}
            free = search_order(inner, starts[0], **options, **limits(learner))
            starts[0] = free.state.order
        fits = covariance_fits(inner, SCORES[loss], known[0])
        order, found = search_moves(learner, fits, starts, *known)
        raw = fits.weights(complete_graph(order), len(C))[0]
    else:
        order, raw, found = search_starts(learner, inner, starts, loss)
    score_unit = unit if loss == "squared" else np.sqrt(unit)
    for name in ("objective", "start_objective"):
        found[name] = float(found[name] * score_unit)
    found["history"] = (np.array(found["history"]) * score_unit).tolist()
    adjacency = sparse_weights(learner, C, n_samples, order, raw, *known)
    evidence = EqualVariances.of(learner, C, n_samples, adjacency, columns)
    graph = LearnedDAG(
        adjacency=adjacency,
        raw_adjacency=raw,
        order=order,
        noise_std=np.sqrt(evidence.variances),
        attributes=found
        | {
            "loss": loss,
            "equal_variance_pvalue": evidence.pvalue(),
            "bic": bic(C, n_samples, adjacency != 0, learner.penalty),
            "kkt_violation": largest_gradient(inner, raw, order, known[0]) * unit,
        },
    )
    return graph, evidence


def learn_by_bic(learner, C, n_samples, columns):
    """Search for the graph of lowest BIC."""
    hint = "Collect more rows or drop columns."
    C = regular_covariance(learner, C, n_samples, columns, SPARSE_JITTER, hint)
    allowed, required = edge_masks(learner, columns)
    start = None
    if not has_default_start(learner):
        start = start_orders(learner, C, n_samples, columns, learner.n_init)[0]
    rng = check_random_state(learner.random_state)
    result = bic_order_search(
        C,
        n_samples,
        penalty=learner.penalty,
        n_restarts=learner.n_restarts,
        kick=learner.kick,
        max_parents=learner.max_parents,
        order=start,
        time_budget=learner.time_budget,
        allowed=allowed,
        required=required,
        seeds=rng.randint(np.iinfo(np.int32).max, size=learner.n_init).tolist(),
        n_jobs=learner.n_jobs,
    )
    if len(result.capped) and result.parents.sum(axis=0).max() < n_samples - 2:
        warn(
            f"{len(result.capped)} variables have {result.cap} parents, as many as the "
            "search had room for, although more would lower the BIC: raise "
            f"max_parents={learner.max_parents} or penalty={learner.penalty}.",
            ConvergenceWarning,
            stacklevel=2,
        )
    if learner.verbose:
        print(
            f"[TopologicalSwap] BIC {result.path[0]:.6g} after the first descent, "
            f"{result.score:.6g} after {len(result.path) - 1} restarts."
        )
    raw = refit_ols(C, result.parents)
    adjacency = cut_weights(learner, raw, required=required)
    return LearnedDAG(
        adjacency=adjacency,
        raw_adjacency=raw,
        order=result.order,
        noise_std=np.sqrt(residual_variances(C, adjacency)),
        attributes={
            "loss": "bic",
            "equal_variance_pvalue": np.nan,
            "bic": bic(C, n_samples, adjacency != 0, learner.penalty),
            "objective": result.score,
            "start_objective": float(result.path[0]),
            "history": result.path.tolist(),
            "n_moves": int(np.count_nonzero(np.diff(result.path) < 0)),
            "n_iter": len(result.path),
            "n_large_used": 0,
            "kkt_violation": np.nan,
        },
    )


def learn_by_evidence(learner, C, n_samples, columns):
    """Learn with equal and with unequal noise variances; keep the lower BIC."""
    graph = learn_by_bic(learner, C, n_samples, columns)
    if n_samples <= len(C) or len(dependent_columns(C)):
        graph.attributes["loss_choice"] = {
            "reason": "'bic': the covariance is singular, so regressions on all "
            "predecessors leave no residuals to compare."
        }
        return graph
    ordered, evidence = learn_by_order(learner, C, n_samples, columns, "squared")
    n_edges = np.count_nonzero(ordered.adjacency)
    equal = evidence.bic(n_edges, learner.penalty)
    unequal = graph.attributes["bic"] + len(C) * float(np.log(n_samples))
    chosen, verdict = (ordered, "equal") if equal < unequal else (graph, "unequal")
    pvalue = evidence.pvalue()
    chosen.attributes["equal_variance_pvalue"] = pvalue
    chosen.attributes["loss_choice"] = {
        "squared": equal,
        "bic": unequal,
        "kurtosis": evidence.kurtosis,
        "reason": (
            f"{chosen.attributes['loss']!r}: the BIC speaks for {verdict} noise "
            f"variances in these units, by {abs(equal - unequal):.6g}; the likelihood "
            f"ratio test of equal ones has p = {pvalue:.3g}."
        ),
    }
    return chosen
