# SPDX-License-Identifier: BSD-3-Clause
"""Batches of problems, by either engine, down to their graphs."""

from warnings import warn

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.parallel import Parallel, delayed

from skpapers.causal._colide._arrays import ArrayPath
from skpapers.causal._colide._path import CompiledPath, sparse_graph
from skpapers.utils._array_api import (
    array_namespace,
    is_numpy_array,
    is_torch_array,
    like,
    to_numpy,
)


def in_host_memory(x):
    """Tell whether NumPy can read an array without a copy to another device."""
    return is_numpy_array(x) or (is_torch_array(x) and x.device.type == "cpu")


def solve_batch(plan, C, alpha, n_samples, compiled, n_jobs=None):
    """Solve a batch of problems and cut their graphs.

    Parameters
    ----------
    plan : Plan
        What is to be done, with the learning rate of Adam.
    C : array of shape (B, d, d)
        Covariances.
    alpha : ndarray of shape (B,)
        Price of a unit of absolute weight.
    n_samples : ndarray of shape (B,)
        Numbers of rows, for a refit by BIC.
    compiled : bool
        Whether the compiled kernels solve one after the other, in host memory.
    n_jobs : int, default=None
        Number of threads for the compiled kernels.

    Returns
    -------
    dict of str to ndarray
        Results, each with B entries, in host memory.
    """
    if compiled:
        C = np.ascontiguousarray(to_numpy(C), dtype=np.float64)
        tasks = zip(C, alpha, strict=True)
        paths = Parallel(n_jobs, prefer="threads")(
            delayed(_solve_one)(plan, *task) for task in tasks
        )
        found = {key: np.stack([path[key] for path in paths]) for key in paths[0]}
    else:
        xp = array_namespace(C)
        single = all(stage.single for stage in plan.stages)
        C = xp.astype(C, xp.float32 if single else xp.float64, copy=False)
        path = ArrayPath(plan, C, like(alpha, C, dtype=C.dtype))
        for stage in plan.stages:
            path.run(stage)
        found = {"raw_adjacency": path.W, "noise_std": path.sigma}
        found = {k: to_numpy(x).astype(np.float64) for k, x in found.items()}
        found |= summary(path.history)
        C = to_numpy(C).astype(np.float64)
    graphs = [
        sparse_graph(plan, *problem)
        for problem in zip(C, n_samples, found["raw_adjacency"], strict=True)
    ]
    names = "adjacency", "causal_order", "threshold"
    return found | dict(
        zip(names, map(np.array, zip(*graphs, strict=True)), strict=True)
    )


def warn_unfinished(converged, tol):
    """Tell how many problems of a batch ended early."""
    n_failed = int((~converged).sum())
    if n_failed:
        warn(
            f"{n_failed} of {converged.size} problems ended before the relative change "
            f"of their objective fell to tol={tol:.1e}: raise max_iter or tol.",
            ConvergenceWarning,
            stacklevel=3,
        )


def summary(history):
    """Return the results that the records of a path hold."""
    last = history[-1]
    return {
        "objective": last["score"],
        "h_value": last["h"],
        "n_iter": sum(record["n_iter"] for record in history),
        "converged": last["converged"],
    }


def _solve_one(plan, C, alpha):
    """Follow the compiled path of one covariance; constant columns stay alone."""
    d = len(C)
    columns = np.flatnonzero(np.diag(C) > 0)
    W, sigma = np.zeros((d, d)), np.zeros(d)
    if not len(columns):
        nothing = {"score": 0.0, "h": 0.0, "n_iter": 1, "converged": True}
        return {"raw_adjacency": W, "noise_std": sigma} | summary([nothing])
    block = np.ix_(columns, columns)
    path = CompiledPath(plan.restrict(columns), np.ascontiguousarray(C[block]), alpha)
    for stage in plan.stages:
        path.run(stage)
    W[block], sigma[columns] = path.W, path.sigma
    return {"raw_adjacency": W, "noise_std": sigma} | summary(path.history)
