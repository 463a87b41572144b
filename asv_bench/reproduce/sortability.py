# SPDX-License-Identifier: BSD-3-Clause
"""How much of the learners' success on simulated graphs comes from the units.

The same draws as they are and with standardised columns, with equal and with unequal
noise variances. Sortability near 1 says that sorting the columns by that score finds
the causal order, 0.5 that it tells nothing. The graph without edges has as many errors
as the true graph has edges.
"""

import numpy as np
from _common import (
    add_measure,
    as_entry,
    describe,
    draw,
    main,
    row,
    run_ours,
    run_peer,
)

from skpapers.causal import CoLiDE, SortRegress, TopologicalSwap
from skpapers.metrics import r2_sortability, variance_sortability

CUT = {"loss": "squared", "sparsifier": "threshold", "w_threshold": 0.3}
LEARNERS = [
    ("CoLiDE('equal')", lambda: CoLiDE("equal"), None),
    ("CoLiDE('nonequal')", lambda: CoLiDE("nonequal"), None),
    (
        "TopologicalSwap('squared', sparsifier='threshold')",
        lambda: TopologicalSwap(**CUT),
        None,
    ),
    ("TopologicalSwap('squared')", lambda: TopologicalSwap("squared"), None),
    ("SortRegress('variance')", SortRegress, "var_sort_regress"),
    ("SortRegress('r2')", lambda: SortRegress("r2"), "r2_sort_regress"),
    (
        "SortRegress('random')",
        lambda: SortRegress("random", random_state=0),
        "random_sort_regress",
    ),
]


def cell(setting, scaled, quick):
    """Return the rows of one kind of data."""
    d, seeds = (8, [1]) if quick else (20, range(1, 6))
    draws = [draw(setting, d, seed) for seed in seeds]
    if scaled:
        draws = [(X / X.std(axis=0), W) for X, W in draws]
    data = describe(setting, d) + (", standardised" if scaled else "")
    recipe = f"{setting} {'standardised' if scaled else 'raw'}"
    blank = [np.zeros_like(W) for _, W in draws]
    empty = as_entry("no edges", blank, draws, [0.0], ("SHD",))
    sortable = {"varsortability": variance_sortability, "R²-sort.": r2_sortability}
    for label, function in sortable.items():
        add_measure(empty, label, [function(X, W) for X, W in draws])
    rows = [row(recipe, data, seeds, empty)]
    for name, make, peer in LEARNERS:
        peers = run_peer(peer, draws) if peer and not quick else []
        rows.append(row(recipe, data, seeds, run_ours(name, make, draws), peers))
    return rows


def run(arguments=None):
    """Run the comparison."""
    return main(
        "sortability",
        "What units give away",
        {
            "text": "A. G. Reisach, C. Seiler and S. Weichwald, NeurIPS 2021",
            "url": "https://arxiv.org/abs/2102.13647",
        },
        [
            "skpapers.causal.SortRegress",
            "skpapers.metrics.variance_sortability",
            "skpapers.metrics.r2_sortability",
        ],
        {
            "EV raw": lambda quick: cell("EV", False, quick),
            "EV standardised": lambda quick: cell("EV", True, quick),
            "NV raw": lambda quick: cell("NV", False, quick),
            "NV standardised": lambda quick: cell("NV", True, quick),
        },
        arguments,
    )


if __name__ == "__main__":
    run()
