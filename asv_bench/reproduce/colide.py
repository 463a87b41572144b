# SPDX-License-Identifier: BSD-3-Clause
"""Reproduce the experiments of CoLiDE: simulated graphs, noise levels, Sachs.

The peers are DAGMA, the SortNRegress baseline, and a plain NumPy loop of the published
iteration (``_published_colide.py``), which runs in this process.
"""

import numpy as np
from _common import (
    add_measure,
    describe,
    draw,
    main,
    row,
    run_function,
    run_ours,
    run_peer,
    target,
)
from _published_colide import published_colide

from skpapers.causal import CoLiDE, SortRegress
from skpapers.datasets import load_sachs

QUOTED = "Saboksayr et al. 2024, as quoted by a review"
NOISE = {"EV": "equal", "NV": "nonequal"}
VARIANCES = (0.5, 1.0, 2.0, 5.0, 10.0)


def ours(setting, draws, measures=("SHD",), **parameters):
    """Return the entry of CoLiDE with its defaults for the setting."""
    noise = NOISE[setting]
    words = "".join(f", {key}={value!r}" for key, value in parameters.items())
    return run_ours(
        f"CoLiDE(noise={noise!r}{words})",
        lambda: CoLiDE(noise=noise, **parameters),
        draws,
        measures,
    )


def loop(setting, draws, measures=("SHD",)):
    """Return the entry of the published iteration in plain NumPy."""
    noise = NOISE[setting]
    return run_function(
        f"published iteration in NumPy ({noise})",
        lambda X: published_colide(X, noise)[0],
        draws,
        measures,
    )


def baseline(draws, measures=("SHD",)):
    """Return the entry of our SortRegress."""
    return run_ours("SortRegress()", SortRegress, draws, measures)


def equal_variances(quick):
    """Recipe A: equal variances."""
    rows = []
    cells = [(10, [1], 40)] if quick else [(20, range(1, 11), 16), (50, [1, 2, 3], 30)]
    for d, seeds, limit in cells:
        draws = [draw("EV", d, seed) for seed in seeds]
        entry, simple = ours("EV", draws), baseline(draws)
        shd = entry["measures"]["SHD"]
        goals = [target("SHD", "<=", limit, shd)]
        peers = [simple]
        if not quick:
            ratio = shd / simple["measures"]["SHD"]
            goals.append(target("SHD over that of SortRegress", "<=", 0.7, ratio))
            peers += [loop("EV", draws), *run_peer("dagma", draws)]
            peers += run_peer("var_sort_regress", draws)
        rows.append(row("A", describe("EV", d), seeds, entry, peers, goals=goals))
    return rows


def unequal_variances(quick):
    """Recipe B: unequal variances."""
    rows = []
    cells = [(10, [1])] if quick else [(20, range(1, 6)), (50, range(1, 6))]
    if not quick:
        cells.append((100, [1, 2, 3]))
    for d, seeds in cells:
        draws = [draw("NV", d, seed) for seed in seeds]
        entry, peers, goals = ours("NV", draws), [baseline(draws)], []
        if not quick:
            plain = loop("NV", draws)
            peers += [plain, *run_peer("dagma", draws)]
            peers += run_peer("var_sort_regress", draws)
        if d == 50:
            shd, factor = entry["measures"]["SHD"], plain["cpu_seconds"]
            factor /= entry["cpu_seconds"]
            goals = [
                target("SHD", "<=", 82, shd),
                target("SHD (limit: the loop's)", "<=", plain["measures"]["SHD"], shd),
                target("times faster than the loop", ">=", 20, factor),
            ]
        rows.append(row("B", describe("NV", d), seeds, entry, peers, goals=goals))
    return rows


def noise_levels(quick):
    """Recipe C: the same draws with another noise level."""
    d, seeds = (6, [1]) if quick else (20, range(1, 6))
    units = [draw("EV", d, seed) for seed in seeds]
    rows, first = [], None
    for variance in VARIANCES:
        draws = [(np.sqrt(variance) * X, W) for X, W in units]
        faithful = ours("EV", draws)
        peers = [] if quick else run_peer("dagma", draws)
        data = f"{describe('EV', d)}, variance {variance:g}"
        rows.append(row("C", data, seeds, faithful, peers))
        graphs = [CoLiDE(scale="common").fit(X).adjacency_ for X, _ in draws]
        first = graphs if first is None else first
        change = max(np.abs(a - b).max() for a, b in zip(graphs, first, strict=True))
        scaled = ours("EV", draws, scale="common")
        add_measure(scaled, "change of weights", [change] * len(draws))
        goals = [target("largest change of a weight", "<=", 1e-6, change)]
        rows.append(row("C", data, seeds, scaled, goals=goals))
    return rows


def sachs(quick):
    """Recipe D: the protein-signalling data."""
    X, graph = load_sachs(return_X_graph=True)
    draws, measures = [(X, graph)], ("SHD", "SID", "edges")
    rows = []
    for setting, published, limits in (("EV", 13, (13, 47)), ("NV", 12, (12, 46))):
        entry = ours(setting, draws, measures)
        peers = [] if quick else [loop(setting, draws, measures)]
        goals = [
            target(label, "<=", limit, entry["measures"][label])
            for label, limit in zip(("SHD", "SID"), limits, strict=True)
        ]
        paper = {"measures": {"SHD": published}, "source": QUOTED}
        words = {"EV": "equal", "NV": "unequal"}[setting]
        data = f"Sachs, observational, {words} variances"
        rows.append(
            row("D", data, [], entry, peers, paper=paper, n_samples=853, goals=goals)
        )
    return rows


def large_graphs(quick):
    """Recipe E: the published table for 200 nodes and unequal variances."""
    d, seeds = (10, [1]) if quick else (200, range(1, 11))
    draws = [draw("NV", d, seed, graph="er_bernoulli", n_edges=4 * d) for seed in seeds]
    measures = ("SHD", "SHD-C", "SID")
    published = {
        "CoLiDE": {"SHD": 390.7, "SHD-C": 407.9, "SID": 22734},
        "SortNRegress": {"SHD": 397.8, "SHD-C": 402.1, "SID": 22560},
    }
    data = describe("NV", d, "ER4, pairs with equal probability")
    rows = []
    for name, entry in (
        ("CoLiDE", ours("NV", draws, measures)),
        ("SortNRegress", baseline(draws, measures)),
    ):
        peers = []
        if name == "SortNRegress" and not quick:
            peers = run_peer("var_sort_regress", draws, measures)
        paper = {"measures": published[name], "source": f"{QUOTED} ({name})"}
        rows.append(row("E", data, seeds, entry, peers, paper=None if quick else paper))
    return rows


def run(arguments=None):
    """Run the reproduction."""
    return main(
        "colide",
        "CoLiDE: concomitant linear DAG estimation",
        {
            "text": "S. S. Saboksayr, G. Mateos and M. Tepper, ICLR 2024",
            "url": "https://arxiv.org/abs/2310.02895",
        },
        ["skpapers.causal.CoLiDE", "skpapers.causal.SortRegress"],
        {
            "A": equal_variances,
            "B": unequal_variances,
            "C": noise_levels,
            "D": sachs,
            "E": large_graphs,
        },
        arguments,
    )


if __name__ == "__main__":
    run()
