# SPDX-License-Identifier: BSD-3-Clause
"""All learners on the protein-signalling data, in raw units and standardised.

The consensus network has 17 edges among 11 proteins. A graph without edges has SHD 17
and SID 53, and differences of one or two edges mean nothing.
"""

import numpy as np
from _common import (
    as_entry,
    main,
    row,
    run_function,
    run_ours,
    run_peer,
    target,
)
from _published_colide import published_colide

from skpapers.causal import CoLiDE, SortRegress, TopologicalSwap
from skpapers.datasets import load_sachs

SHOWN = ("SHD", "SHD-C", "SID", "edges")
QUOTED = "Saboksayr et al. 2024, as quoted by a review"
CUT = {"loss": "squared", "sparsifier": "threshold", "w_threshold": 0.3}
# name, estimator, published SHD, largest SHD and SID of the raw table, its peers
LEARNERS = [
    ("CoLiDE('equal')", lambda: CoLiDE("equal"), 13, (13, 47), ["loop equal", "dagma"]),
    ("CoLiDE('nonequal')", lambda: CoLiDE("nonequal"), 12, (12, 46), ["loop nonequal"]),
    (
        "TopologicalSwap('squared', sparsifier='threshold')",
        lambda: TopologicalSwap(**CUT),
        None,
        (11, 44),
        [],
    ),
    (
        "TopologicalSwap('squared')",
        lambda: TopologicalSwap("squared"),
        None,
        None,
        ["flop", "ges", "direct_lingam"],
    ),
    ("SortRegress('variance')", SortRegress, 13, None, ["var_sort_regress"]),
    ("SortRegress('r2')", lambda: SortRegress("r2"), None, None, ["r2_sort_regress"]),
]


def peer_entries(names, draws):
    """Return the entries of peers by name."""
    entries = []
    for name in names:
        noise = name.removeprefix("loop ")
        if noise == name:
            entries += run_peer(name, draws, SHOWN)
            continue
        entries.append(
            run_function(
                f"published iteration in NumPy ({noise})",
                lambda X, noise=noise: published_colide(X, noise)[0],
                draws,
                SHOWN,
            )
        )
    return entries


def compare(recipe, data, X, graph, quick, raw):
    """Return the rows of all learners on one table."""
    draws, rows = [(X, graph)], []
    for name, make, published, limits, peers in LEARNERS:
        entry, goals, paper = run_ours(name, make, draws, SHOWN), [], None
        if raw and limits:
            goals = [
                target(label, "<=", limit, entry["measures"][label])
                for label, limit in zip(("SHD", "SID"), limits, strict=True)
            ]
        if raw and published:
            paper = {"measures": {"SHD": published}, "source": QUOTED}
        others = [] if quick else peer_entries(peers, draws)
        rows.append(
            row(
                recipe,
                data,
                [],
                entry,
                others,
                paper=paper,
                n_samples=len(X),
                goals=goals,
            )
        )
    return rows


def no_edges(quick):
    """Return the row of the empty graph, with which all others compare."""
    X, graph = load_sachs(return_X_graph=True)
    entry = as_entry("no edges", [0 * graph], [(X, graph)], [0.0], SHOWN)
    return [row("empty", "Sachs, n = 853", [], entry, n_samples=len(X))]


def observational(quick):
    """Raw units, the 853 cells that papers use."""
    X, graph = load_sachs(return_X_graph=True)
    return compare("raw", "Sachs, n = 853, raw units", X, graph, quick, True)


def standardised(quick):
    """The same cells with every column divided by its standard deviation."""
    X, graph = load_sachs(return_X_graph=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    data = "Sachs, n = 853, standardised"
    return compare("standardised", data, X, graph, quick, False)


def logarithms(quick):
    """Logarithms, then standardised."""
    X, graph = load_sachs(return_X_graph=True)
    X = np.log(X)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return compare("log", "Sachs, n = 853, log, standardised", X, graph, quick, False)


def all_conditions(quick):
    """All nine experiments, interventions included, in raw units."""
    X, graph = load_sachs(subset="all", return_X_graph=True)
    data = "Sachs, n = 7466, raw units"
    return compare("all", data, X, graph, True, False)


def run(arguments=None):
    """Run the comparison."""
    return main(
        "sachs",
        "The Sachs protein-signalling network",
        {
            "text": "K. Sachs et al., Science 308 (2005)",
            "url": "https://doi.org/10.1126/science.1105809",
        },
        [
            "skpapers.causal.CoLiDE",
            "skpapers.causal.TopologicalSwap",
            "skpapers.causal.SortRegress",
            "skpapers.datasets.load_sachs",
        ],
        {
            "empty": no_edges,
            "raw": observational,
            "standardised": standardised,
            "log": logarithms,
            "all": all_conditions,
        },
        arguments,
    )


if __name__ == "__main__":
    run()
