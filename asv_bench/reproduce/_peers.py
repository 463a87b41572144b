# SPDX-License-Identifier: BSD-3-Clause
"""Run another library on tables; this file runs inside the peers' own environment.

    python _peers.py PEER QUESTION.npz ANSWER.npz

The question holds the tables ``X0``, ``X1``, ... and ``parameters`` (JSON). The answer
holds the graphs ``A0``, ... (``A[i, j] != 0`` means i -> j), the CPU seconds of each
fit (after an untimed one on four columns), the version of the peer and whether its
graphs are CPDAGs (both entries of an undirected edge are set).
"""

import json
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np


def dagma(X, lambda1=0.05):
    """DAGMA with the settings of its authors' experiments, cut at 0.3."""
    from dagma.linear import DagmaLinear

    path = {"T": 4, "s": [1.0, 0.9, 0.8, 0.7], "warm_iter": 2e4, "max_iter": 7e4}
    return DagmaLinear("l2").fit(X.copy(), lambda1=lambda1, w_threshold=0.3, **path)


def cut(W):
    """Drop weights up to 0.3, as in the published comparisons."""
    return np.where(np.abs(W) > 0.3, W, 0)


def var_sort_regress(X):
    """Order by variance, then sparse regressions, cut at 0.3."""
    from CausalDisco.baselines import var_sort_regress

    return cut(var_sort_regress(X))


def r2_sort_regress(X):
    """Order by explained variance, then sparse regressions, cut at 0.3."""
    from CausalDisco.baselines import r2_sort_regress

    return cut(r2_sort_regress(X))


def random_sort_regress(X, seed=0):
    """Random order, then sparse regressions, cut at 0.3."""
    from CausalDisco.baselines import random_sort_regress

    return cut(random_sort_regress(X, seed=seed))


def flop(X, restarts=20):
    """FLOP: order search with the BIC; a CPDAG."""
    import flopsearch

    return flopsearch.flop(np.ascontiguousarray(X), 2.0, restarts=restarts)


def direct_lingam(X):
    """DirectLiNGAM (for non-Gaussian noise)."""
    import lingam

    return lingam.DirectLiNGAM().fit(X).adjacency_matrix_.T


def ges(X):
    """Greedy equivalence search with the BIC; a CPDAG."""
    from causallearn.search.ScoreBased.GES import ges

    graph = ges(X)["G"].graph  # -1 at the tail, 1 at the arrow head
    return graph == -1


PEERS = {  # function, distribution, whether it answers with a CPDAG
    "dagma": (dagma, "dagma", False),
    "var_sort_regress": (var_sort_regress, "causaldisco", False),
    "r2_sort_regress": (r2_sort_regress, "causaldisco", False),
    "random_sort_regress": (random_sort_regress, "causaldisco", False),
    "flop": (flop, "flopsearch", True),
    "direct_lingam": (direct_lingam, "lingam", False),
    "ges": (ges, "causal-learn", True),
}


def main(peer, question, answer):
    """Answer one question."""
    warnings.simplefilter("ignore")
    function, distribution, is_cpdag = PEERS[peer]
    with np.load(question) as stored:
        parameters = json.loads(str(stored["parameters"]))
        tables = [stored[f"X{k}"] for k in range(len(stored.files) - 1)]
    function(tables[0][:, :4].copy(), **parameters)
    graphs, seconds = {}, []
    for k, X in enumerate(tables):
        start = time.process_time()
        graphs[f"A{k}"] = np.asarray(function(X, **parameters))
        seconds.append(time.process_time() - start)
    label = f"{distribution} {version(distribution)}"
    np.savez(answer, cpu_seconds=seconds, version=label, is_cpdag=is_cpdag, **graphs)


if __name__ == "__main__":
    main(*sys.argv[1:])
