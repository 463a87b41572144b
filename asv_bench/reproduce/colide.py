# SPDX-License-Identifier: BSD-3-Clause
"""Reproduce the experiments of CoLiDE: simulated graphs, noise levels, Sachs.

Then what the package adds: a start from an order search, cheaper paths, noise that is
not Gaussian, and batches, with CUDA where PyTorch finds it (``--only I``).

The peers are DAGMA, the SortNRegress baseline, and a plain NumPy loop of the published
iteration (``_published_colide.py``), which runs in this process.
"""

import time
from functools import partial

import numpy as np
from _common import (
    MEASURES,
    add_measure,
    as_entry,
    describe,
    draw,
    main,
    row,
    run_function,
    run_ours,
    run_peer,
    target,
    timed,
)
from _published_colide import published_colide

from skpapers.causal import CoLiDE, SortRegress, TopologicalSwap, colide_batch
from skpapers.datasets import load_sachs

QUOTED = "Saboksayr et al. 2024, as quoted by a review"
NOISE = {"EV": "equal", "NV": "nonequal"}
VARIANCES = (0.5, 1.0, 2.0, 5.0, 10.0)
SCORE = {"score": lambda model: model.objective_}


def ours(setting, draws, measures=("SHD",), extra=None, **parameters):
    """Return the entry of CoLiDE with its defaults for the setting."""
    noise = NOISE[setting]
    words = "".join(f", {key}={value!r}" for key, value in parameters.items())
    return run_ours(
        f"CoLiDE(noise={noise!r}{words})",
        lambda: CoLiDE(noise=noise, **parameters),
        draws,
        measures,
        extra,
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


def order_start(quick):
    """Recipe F: the path from the order that a search finds."""
    rows = []
    cells = [("EV", 10, [1])] if quick else [("EV", 20, range(1, 6))]
    if not quick:
        cells += [("EV", 50, [1, 2, 3]), ("EV", 100, [1, 2, 3])]
        cells += [("NV", 20, range(1, 6)), ("NV", 50, [1, 2, 3])]
    for setting, d, seeds in cells:
        draws, data = [draw(setting, d, seed) for seed in seeds], describe(setting, d)
        for parameters in ({}, {"init": "order"}, {"init": "order", "refit": "bic"}):
            entry = ours(setting, draws, extra=SCORE, **parameters)
            rows.append(row("F", data, seeds, entry))
        squared = run_ours(
            "TopologicalSwap(loss='squared')",
            lambda: TopologicalSwap(loss="squared"),
            draws,
        )
        rows.append(row("F", data, seeds, squared))
    return rows


def cheaper_paths(quick):
    """Recipe G: early exit and float32."""
    rows = []
    cells = [("EV", 6, [1])] if quick else []
    if not quick:
        cells = [
            (x, d, r) for x in NOISE for d, r in ((20, range(1, 6)), (50, [1, 2, 3]))
        ]
        cells.append(("NV", 100, [1]))
    for setting, d, seeds in cells:
        draws, data = [draw(setting, d, seed) for seed in seeds], describe(setting, d)
        plain = None
        for parameters in (
            {},
            {"early_exit": 10},
            {"solver": "adam"},
            {"solver": "adam", "early_exit": 3},
            {"solver": "adam", "float32_stages": 3},
            {"solver": "adam", "float32_stages": 4},
        ):
            entry = ours(setting, draws, extra=SCORE, **parameters)
            if parameters == {"solver": "adam"}:
                plain = entry
            goals = []
            if parameters.get("float32_stages") == 3 and not quick:
                ratio = entry["cpu_seconds"] / plain["cpu_seconds"]
                goals = [target("CPU s over those in float64", "<=", 0.85, ratio)]
            rows.append(row("G", data, seeds, entry, goals=goals))
    return rows


def other_noise(quick):
    """Recipe H: noise that is not Gaussian."""
    rows = []
    kinds = ("gumbel",) if quick else ("gaussian", "exponential", "gumbel", "laplace")
    sizes, seeds = ([6], [1]) if quick else ([20, 50], range(1, 6))
    cells = [(x, d, kind) for x in NOISE for d in sizes for kind in kinds]
    for setting, d, kind in cells:
        draws = [draw(setting, d, seed, noise=kind) for seed in seeds]
        data = f"{describe(setting, d)}, {kind} noise"
        entries = [ours(model, draws, ("SHD", "SID")) for model in NOISE]
        entries.append(
            run_ours(
                "TopologicalSwap(loss='squared')",
                lambda: TopologicalSwap(loss="squared"),
                draws,
                ("SHD", "SID"),
            )
        )
        entries.append(baseline(draws, ("SHD", "SID")))
        peers = []
        if d == 20:  # for more columns see learners.py
            peers = run_peer("direct_lingam", draws, ("SHD", "SID"))
        rows += [row("H", data, seeds, entry) for entry in entries[:-1]]
        rows.append(row("H", data, seeds, entries[-1], peers))
    return rows


def resampled(X, n_draws, seed=0):
    """Return the covariances of bootstrap resamples."""
    rng = np.random.default_rng(seed)
    n = len(X)
    tables = (X[rng.integers(n, size=n)] for _ in range(n_draws))
    return np.stack([np.cov(table.T, bias=True) for table in tables])


def frequent_edges(graphs, n_edges):
    """Return the frequencies of edges, of all but the most frequent ones zero."""
    frequency = (graphs != 0).mean(axis=0)
    weakest = np.sort(frequency, axis=None)[-n_edges]
    return np.where(frequency >= weakest, frequency, 0.0)


def on_cpu(C, **parameters):
    """Solve a batch; returns the graphs and the CPU seconds of one problem."""
    found, seconds = timed(lambda: colide_batch(C, **parameters))
    return np.asarray(found.adjacency), seconds / len(C)


def on_cuda(C, **parameters):
    """The same on a GPU; the seconds are those of the clock, for the whole batch."""
    import torch

    here = torch.asarray(C, device="cuda")
    colide_batch(here[:2], warm_iter=300, max_iter=300, **parameters)  # warm up
    torch.cuda.synchronize()
    start = time.perf_counter()
    graphs = colide_batch(here, **parameters).adjacency.cpu().numpy()
    return graphs, time.perf_counter() - start


def has_cuda():
    """Whether PyTorch sees a GPU."""
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def engines(d, C, noise):
    """Return the ways to solve a batch, by name; each gives graphs and seconds."""
    single = {"noise": noise, "float32_stages": 4}
    ways = {
        "engine='compiled'": partial(on_cpu, C, engine="compiled", noise=noise),
        "engine='compiled', float32_stages=4": partial(
            on_cpu, C, engine="compiled", **single
        ),
    }
    if d < 50:
        arrays = {"engine": "array_api", "noise": noise}
        ways["NumPy, engine='array_api'"] = partial(on_cpu, C, **arrays)
        ways["PyTorch CPU, engine='array_api'"] = partial(
            on_cpu, torch_array(C), **arrays
        )
    if has_cuda():
        ways["PyTorch CUDA"] = partial(on_cuda, C, noise=noise)
        ways["PyTorch CUDA, float32_stages=4"] = partial(on_cuda, C, **single)
    return ways


def batch(d, n_draws, quick):
    """Return the rows of a batch of bootstrap resamples of one table."""
    X, W = draw("NV", d, 1)
    noise = NOISE["NV"]
    C, data = resampled(X, n_draws), f"{describe('NV', d)}, {n_draws} resamples"
    colide_batch(C[:1, :3, :3], noise=noise)  # compiles
    colide_batch(C[:1, :3, :3], noise=noise, float32_stages=4)
    one = MEASURES["SHD"](W, CoLiDE(noise, solver="adam").fit(X).adjacency_)
    rows, reference = [], None
    for name, solve in engines(d, C, noise).items():
        graphs, seconds = solve()
        reference = graphs if reference is None else reference
        often, on_gpu = frequent_edges(graphs, 4 * d), "CUDA" in name
        cpu = [0.0 if on_gpu else seconds]
        entry = as_entry(f"colide_batch({name})", [often], [(X, W)], cpu, ("SHD",))
        add_measure(entry, "SHD of one fit", [one])
        changed = ((graphs != 0) != (reference != 0)).any(axis=(1, 2)).mean()
        add_measure(entry, "graphs that differ", [changed])
        goals = []
        if not quick:
            shd = entry["measures"]["SHD"]
            goals.append(target("SHD (limit: that of one fit)", "<=", one, shd))
        if on_gpu:
            add_measure(entry, "seconds of the batch", [seconds])
            goals.append(target("seconds of the batch", "<=", 120, seconds))
        rows.append(row("I", data, [1], entry, goals=goals))
    return rows


def batches(quick):
    """Recipe I: graphs of bootstrap resamples in one call."""
    sizes = [(6, 2)] if quick else [(20, 64), (50, 64)]
    if not quick and has_cuda():
        sizes.append((100, 256))
    return [line for size in sizes for line in batch(*size, quick)]


def torch_array(C):
    """Return a tensor on one thread."""
    import torch

    torch.set_num_threads(1)
    return torch.asarray(C)


def run(arguments=None):
    """Run the reproduction."""
    return main(
        "colide",
        "CoLiDE: concomitant linear DAG estimation",
        {
            "text": "S. S. Saboksayr, G. Mateos and M. Tepper, ICLR 2024",
            "url": "https://arxiv.org/abs/2310.02895",
        },
        [
            "skpapers.causal.CoLiDE",
            "skpapers.causal.colide_batch",
            "skpapers.causal.SortRegress",
        ],
        {
            "A": equal_variances,
            "B": unequal_variances,
            "C": noise_levels,
            "D": sachs,
            "E": large_graphs,
            "F": order_start,
            "G": cheaper_paths,
            "H": other_noise,
            "I": batches,
        },
        arguments,
    )


if __name__ == "__main__":
    run()
