# SPDX-License-Identifier: BSD-3-Clause
"""Run another library on tables; this file runs inside the peers' own environment.

    python _peers.py PEER QUESTION.npz ANSWER.npz

The question holds the tables ``X0``, ``X1``, ..., ``parameters`` (JSON) and
``cpu_limit``, the CPU seconds after which a fit and with it the run is ended (0: no
limit). The answer is written anew after each table; it holds the graphs ``A0``, ...
(``A[i, j] != 0`` means i -> j), the CPU seconds of each fit (after an untimed one on
four columns), the version of the peer and whether its graphs are CPDAGs (both entries
of an undirected edge are set).
"""

import json
import math
import os
import resource
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


def boss(X, penalty=2.0):
    """Best order score search with the BIC; a CPDAG."""
    from causallearn.search.PermutationBased.BOSS import boss

    score = "local_score_BIC_from_cov", {"lambda_value": penalty}
    return boss(X, *score, verbose=False).graph == -1


def golem(X, equal_variances=True, n_iter=20_000):
    """GOLEM, cut at 0.3; a fifth of the default iterations, which are too many here."""
    from castle.algorithms import GOLEM

    learner = GOLEM(
        lambda_1=0.02 if equal_variances else 0.002,
        equal_variances=equal_variances,
        num_iter=n_iter,
    )
    learner.learn(X - X.mean(axis=0))
    return np.asarray(learner.causal_matrix)


WARM_UP = {"golem": {"n_iter": 10}}  # parameters of the untimed fit
PEERS = {  # function, distribution, whether it answers with a CPDAG
    "dagma": (dagma, "dagma", False),
    "var_sort_regress": (var_sort_regress, "causaldisco", False),
    "r2_sort_regress": (r2_sort_regress, "causaldisco", False),
    "random_sort_regress": (random_sort_regress, "causaldisco", False),
    "flop": (flop, "flopsearch", True),
    "direct_lingam": (direct_lingam, "lingam", False),
    "ges": (ges, "causal-learn", True),
    "boss": (boss, "causal-learn", True),
    "golem": (golem, "gcastle", False),
}


def limit_cpu(seconds):
    """Let the system end this process after so many further CPU seconds."""
    if seconds:
        end = math.ceil(time.process_time() + seconds)
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (end, hard))


def main(peer, question, answer):
    """Answer one question."""
    warnings.simplefilter("ignore")
    function, distribution, is_cpdag = PEERS[peer]
    with np.load(question) as stored:
        parameters = json.loads(str(stored["parameters"]))
        limit = float(stored["cpu_limit"])
        names = [name for name in stored.files if name.startswith("X")]
        tables = [stored[f"X{k}"] for k in range(len(names))]
    function(tables[0][:, :4].copy(), **parameters | WARM_UP.get(peer, {}))
    label = f"{distribution} {version(distribution)}"
    result = {"version": label, "is_cpdag": is_cpdag, "cpu_seconds": []}
    store(answer, result)
    for k, X in enumerate(tables):
        limit_cpu(limit)
        start = time.process_time()
        result[f"A{k}"] = np.asarray(function(X, **parameters))
        result["cpu_seconds"].append(time.process_time() - start)
        store(answer, result)


def store(path, result):
    """Write the answer, whole or not at all."""
    np.savez(f"{path}.part.npz", **result)
    os.replace(f"{path}.part.npz", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
