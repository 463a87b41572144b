# SPDX-License-Identifier: BSD-3-Clause
"""Reproduce the experiments of topological swaps: simulated graphs, scale, Sachs.

The publication shows its results as curves, so there are no figures of its own to put
beside ours; the published search is run as ``neighborhood="paper"``. The peers are
DAGMA, the SortNRegress baseline and FLOP, which answers with an equivalence class
(so compare SHD-C).
"""

import numpy as np
from _common import (
    add_measure,
    as_entry,
    call_peer,
    describe,
    draw,
    main,
    row,
    run_ours,
    run_peer,
    target,
    timed,
)

from skpapers.causal import TopologicalSwap, polish_dag
from skpapers.datasets import load_sachs

CUT = {"loss": "squared", "sparsifier": "threshold", "w_threshold": 0.3}


def order_score(X, order):
    """Return half the summed residual variances of all-predecessor regressions."""
    Xc = (X - X.mean(axis=0))[:, order]
    L = np.linalg.cholesky(Xc.T @ Xc / len(Xc))
    return 0.5 * float(np.sum(np.diag(L) ** 2))


def scores(models, draws):
    """Return the score of each model's order on its own table."""
    pairs = zip(models, draws, strict=True)
    return [order_score(X, model.causal_order_) for model, (X, _) in pairs]


def default_search(quick):
    """Recipe 1: the default estimator on equal variances."""
    if quick:
        cells = [(10, [1], 1, 1.0)]
    else:
        cells = [
            (20, range(1, 6), None, None),
            (50, range(1, 11), 1, 1.0),
            (100, range(1, 4), None, None),
            (200, range(1, 4), 5, 1.0),
        ]
    rows = []
    for d, seeds, limit, seconds in cells:
        draws = [draw("EV", d, seed) for seed in seeds]
        measures = ("SHD", "SHD-C")
        entry = run_ours(
            "TopologicalSwap(loss='squared')",
            lambda: TopologicalSwap(loss="squared"),
            draws,
            measures,
        )
        goals, peers = [], []
        if limit is not None:
            goals = [
                target("SHD", "<=", limit, entry["measures"]["SHD"]),
                target("CPU s a fit", "<=", seconds, entry["cpu_seconds"]),
            ]
        if d == 200:
            worst = max(entry["draws"]["SHD"])
            goals.append(target("SHD of the worst draw", "<=", limit, worst))
        if not quick:
            peers += run_peer("flop", draws)
        if not quick and d <= 50:
            peers += run_peer("dagma", draws, measures)
        if not quick and d <= 100:
            peers += run_peer("var_sort_regress", draws, measures)
        rows.append(row("1", describe("EV", d), seeds, entry, peers, goals=goals))
    return rows


def published_search(quick):
    """Recipe 2: the published candidate sets against the full neighbourhood."""
    d, seeds = (8, [1]) if quick else (20, range(1, 6))
    draws = [draw("EV", d, seed) for seed in seeds]
    entries, found = [], []
    for neighborhood, init in (("paper", "random"), ("insertion", "variance")):
        moves = {"neighborhood": neighborhood, "init": init, "random_state": 0}

        def make(moves=moves):
            return TopologicalSwap(**moves, **CUT)

        name = f"TopologicalSwap(neighborhood={neighborhood!r}, init={init!r})"
        entry = run_ours(name, make, draws)
        fitted = [make().fit(X) for X, _ in draws]
        found.append(scores(fitted, draws))
        entries.append(add_measure(entry, "score", found[-1]))
    paper, insertion = np.array(found)
    same = int(np.sum(paper <= insertion * (1 + 1e-3)))
    goals = [
        target("SHD", "<=", 2, entries[0]["measures"]["SHD"]),
        target("draws with the best score", ">=", 0.8 * len(draws), same),
    ]
    ours, others = entries[0], entries[1:]
    return [row("2", describe("EV", d), seeds, ours, others, goals=goals)]


def polishing(quick):
    """Recipe 3: polish the graphs of another method."""
    if quick:
        return []
    d, seeds = 50, [1, 2, 3]
    draws = [draw("EV", d, seed) for seed in seeds]
    peers = run_peer("dagma", draws)
    if not peers:
        return []
    graphs = call_peer("dagma", [X for X, _ in draws])["graphs"]
    polished, seconds, before, after = [], [], [], []
    for (X, _), W in zip(draws, graphs, strict=True):
        result, cpu = timed(lambda X=X, W=W: polish_dag(X, W, **CUT), "polish")
        polished.append(result.adjacency)
        seconds.append(cpu)
        before.append(result.score_before)
        after.append(result.score_after)
    entry = as_entry("polish_dag(X, dagma's graph)", polished, draws, seconds, ("SHD",))
    add_measure(entry, "score", after)
    add_measure(peers[0], "score", before)
    goals = [
        target("SHD of the worst draw", "<=", 3, max(entry["draws"]["SHD"])),
        target("largest score over the one before", "<=", 1, _worst(after, before)),
    ]
    return [row("3", describe("EV", d), seeds, entry, peers, goals=goals)]


def _worst(after, before):
    return float(np.max(np.divide(after, before)))


def thousand_nodes(quick):
    """Recipe 4: 1000 variables, 4000 edges, without L0 sparsification."""
    d, n_samples = (30, 400) if quick else (1000, 4000)
    draws = [draw("EV", d, 1, n_samples, n_edges=4 * d)]
    entry = run_ours(
        "TopologicalSwap(loss='squared', sparsifier='threshold')",
        lambda: TopologicalSwap(
            loss="squared", sparsifier="threshold", w_threshold=0.3
        ),
        draws,
        ("SHD", "edges"),
    )
    goals = [
        target("SHD", "<=", 20, entry["measures"]["SHD"]),
        target("CPU s", "<=", 5, entry["cpu_seconds"]),
    ]
    data = describe("EV", d)
    return [row("4", data, [1], entry, n_samples=n_samples, goals=goals)]


def sachs(quick):
    """Recipe 5: the protein-signalling data."""
    X, graph = load_sachs(return_X_graph=True)
    draws, measures = [(X, graph)], ("SHD", "SHD-C", "SID", "edges")
    entry = run_ours(
        "TopologicalSwap(loss='squared', neighborhood='both', sparsifier='threshold')",
        lambda: TopologicalSwap(neighborhood="both", **CUT),
        draws,
        measures,
    )
    goals = [
        target("SHD", "<=", 11, entry["measures"]["SHD"]),
        target("SID", "<=", 44, entry["measures"]["SID"]),
    ]
    peers = [] if quick else run_peer("flop", draws)
    data = "Sachs, observational"
    return [row("5", data, [], entry, peers, n_samples=853, goals=goals)]


def run(arguments=None):
    """Run the reproduction."""
    return main(
        "topological_swap",
        "Topological swaps",
        {
            "text": "C. Deng, K. Bello, B. Aragam and P. Ravikumar, ICML 2023",
            "url": "https://arxiv.org/abs/2305.17277",
        },
        ["skpapers.causal.TopologicalSwap", "skpapers.causal.polish_dag"],
        {
            "1": default_search,
            "2": published_search,
            "3": polishing,
            "4": thousand_nodes,
            "5": sachs,
        },
        arguments,
    )


if __name__ == "__main__":
    run()
