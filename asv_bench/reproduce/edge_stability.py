# SPDX-License-Identifier: BSD-3-Clause
"""How sure is an edge: cost, calibration, effects, suspicious rows, endless tables.

Truth is known in all simulations. "Brier" is the mean squared difference between the
probability of i -> j and whether it is so, over all ordered pairs; "Brier, links" the
same for connections, whichever way. "miscalibration" is the mean absolute difference
between a frequency and the share of real edges among those of about this frequency.
"""

import json
import os
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import numpy as np
from _common import (
    THREADS,
    add_measure,
    describe,
    draw,
    main,
    mean,
    row,
    target,
    timed,
)

from skpapers.causal import (
    TopologicalSwap,
    bootstrap_edges,
    edge_influence,
    effect_intervals,
)
from skpapers.causal._bic_search import bic_order_search
from skpapers.causal._resampling import Rows
from skpapers.datasets import load_sachs
from skpapers.metrics import dag_to_cpdag

BINS = np.array([0, 0.02, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.98, 1.001])


def brier(P, W):
    """Return the Brier scores of directions and of connections."""
    off, truth = ~np.eye(len(W), dtype=bool), W != 0
    links = P + P.T - (truth | truth.T)
    return ((P - truth)[off] ** 2).mean(), (links[off] ** 2).mean()


def pairs_of(P, W):
    """Return the probabilities of all ordered pairs, and whether they are edges."""
    off = ~np.eye(len(W), dtype=bool)
    return P[off], (W != 0)[off].astype(float)


def groups(p):
    """Yield the mask of each bin that is not empty, and its ends."""
    at = np.digitize(p, BINS) - 1
    for k in np.unique(at):
        yield at == k, BINS[k], min(BINS[k + 1], 1.0)


def miscalibration(p, truth):
    """Return the mean absolute difference of frequencies and shares, by bins."""
    return sum(abs(p[m].sum() - truth[m].sum()) for m, _, _ in groups(p)) / len(p)


def entry_of(name, seconds, **measures):
    """Return an entry from values of measures, one a draw."""
    entry = {"name": name, "measures": {}, "draws": {}, "cpu_seconds": seconds}
    for label, values in measures.items():
        add_measure(entry, label.replace("_", " "), np.atleast_1d(values))
    return entry


# --- cost ---------------------------------------------------------------------------
def from_scratch(X, n_draws):
    """Return probabilities from searches of 100 restarts that know nothing."""
    rows, P = Rows(X), 0.0
    for seed in range(n_draws):
        C, n = rows.covariance(np.random.RandomState(seed))
        cpdag = dag_to_cpdag(bic_order_search(C, n, n_restarts=100).parents)
        P = P + (cpdag + cpdag * (1 - cpdag.T)) / (2 * n_draws)
    return P


def compare_with_scratch(setting, quick):
    """Return a row: resamples from the order of all rows, beside those from scratch."""
    d, seeds, n_draws = (8, [1], 5) if quick else (20, [1, 2, 3, 4], 40)
    n_timed = 20 if quick else 1000
    draws = [draw(setting, d, seed) for seed in seeds]
    learner = TopologicalSwap("bic")
    X = draws[0][0]
    _, seconds = timed(
        lambda: bootstrap_edges(learner, X, n_timed, random_state=0), "bootstrap"
    )
    ours = [bootstrap_edges(learner, X, n_draws, random_state=0) for X, _ in draws]
    ours = [found.edge_probabilities for found in ours]
    slow, cpu = [], []
    for X, _ in draws:
        P, passed = timed(lambda X=X: from_scratch(X, n_draws))
        slow.append(P)
        cpu.append(passed * n_timed / n_draws)
    entries = []
    for name, spent, probabilities in (
        ("bootstrap_edges(TopologicalSwap('bic'))", seconds, ours),
        ("the same, every resample from scratch", mean(cpu), slow),
    ):
        scores = [brier(P, W) for P, (_, W) in zip(probabilities, draws, strict=True)]
        entry = entry_of(name, spent, Brier=[score[0] for score in scores])
        entries.append(add_measure(entry, "Brier, links", [s[1] for s in scores]))
    gap = [np.abs(a - b).mean() for a, b in zip(ours, slow, strict=True)]
    add_measure(entries[0], "difference", gap)
    brier_of = [entry["measures"]["Brier"] for entry in entries]
    goals = [
        target(f"CPU s of {n_timed} resamples", "<=", 10, seconds),
        target(
            "Brier, against resamples from scratch",
            "<=",
            brier_of[1] + 0.002,
            brier_of[0],
        ),
    ]
    return row(
        "cost",
        f"{describe(setting, d)}, {n_timed} resamples",
        seeds,
        entries[0],
        entries[1:],
        goals=[] if quick else goals,
    )


def cost(quick):
    """Simulated tables by BIC, and Sachs by least squares."""
    rows = [compare_with_scratch(setting, quick) for setting in ("EV", "NV")]
    X, n_draws = load_sachs(return_X_graph=True)[0], 20 if quick else 1000
    learner = TopologicalSwap("squared")
    found, seconds = timed(
        lambda: bootstrap_edges(learner, X, n_draws, random_state=0), "sachs"
    )
    name = "bootstrap_edges(TopologicalSwap('squared'))"
    entry = entry_of(name, seconds, order_agreement=found.order_agreement)
    goals = [target("CPU s", "<=", 5, seconds)]
    data = f"Sachs, n = 853, {n_draws} resamples"
    rows.append(row("cost", data, [], entry, n_samples=len(X), goals=goals))
    return rows


# --- calibration --------------------------------------------------------------------
def calibration_of(setting, d, n_samples, n_edges, quick, loss="bic"):
    """Return the rows of one kind of data: scores, then frequencies against truth."""
    seeds = [301] if quick else list(range(301, 311))
    n_draws, n_tables = (10, 2) if quick else (150, 5)
    draws = [draw(setting, d, seed, n_samples, n_edges=n_edges) for seed in seeds]
    found, seconds = [], []
    for X, _ in draws:
        result, cpu = timed(
            lambda X=X: bootstrap_edges(
                TopologicalSwap(loss),
                X,
                n_draws,
                n_calibrations=n_tables,
                random_state=0,
            )
        )
        found.append(result)
        seconds.append(cpu)
    entries = []
    for name, key, cpu in (
        ("frequencies", "edge_probabilities", None),
        ("calibrated", "calibrated_probabilities", mean(seconds)),
        ("one graph, open directions half", None, None),
    ):
        matrices = [one_graph(b) if key is None else b[key] for b in found]
        pooled = zip(matrices, draws, strict=True)
        pairs = [pairs_of(P, W) for P, (_, W) in pooled]
        scores = [brier(P, W) for P, (_, W) in zip(matrices, draws, strict=True)]
        entry = entry_of(name, cpu, Brier=[score[0] for score in scores])
        add_measure(entry, "Brier, links", [score[1] for score in scores])
        together = np.concatenate(pairs, axis=1)
        add_measure(entry, "miscalibration", [miscalibration(*together)])
        entries.append((entry, together))
    goals = [target("Brier", "<=", 0.025, entries[0][0]["measures"]["Brier"])]
    graph = f"ER{n_edges // d}"
    data = f"{describe(setting, d, graph)}, {n_draws} resamples"
    rows = [
        row(
            "calibration",
            data,
            seeds,
            entry,
            n_samples=n_samples,
            goals=goals if entry["name"] == "frequencies" and d == 20 else [],
        )
        for entry, _ in entries
    ]
    (_, (p, truth)), (_, (q, _)), _ = entries
    for kind, values in (("frequency", p), ("calibrated", q)):
        for mask, low, high in groups(values):
            entry = entry_of(
                f"{kind} {low:g} to {high:g}",
                None,
                pairs=[mask.sum()],
                stated=[values[mask].mean()],
                real=[truth[mask].mean()],
            )
            line = row("reliability", data, seeds, entry, n_samples=n_samples)
            rows.append(line)
    return rows


def one_graph(found):
    """Return the probabilities that a single fit would state."""
    if found.learner.loss_ == "squared":
        return (found.learner.adjacency_ != 0).astype(float)
    cpdag = found.learner.cpdag_
    return (cpdag + cpdag * (1 - cpdag.T)) / 2


@cache
def measure_calibration(quick):
    """Return rows of large and small tables, with equal and unequal variances."""
    sizes = [(6, 200, 6)] if quick else [(20, 1000, 80), (10, 200, 20)]
    return [
        line
        for d, n, n_edges in sizes
        for setting in ("EV", "NV")
        for line in calibration_of(setting, d, n, n_edges, quick)
    ]


def calibration(quick):
    """Scores of what is stated."""
    return [r for r in measure_calibration(quick) if r["recipe"] == "calibration"]


def reliability(quick):
    """Stated probabilities and the share of real edges, by bins."""
    return [r for r in measure_calibration(quick) if r["recipe"] == "reliability"]


def wrong_loss(quick):
    """Least squares on unequal variances: what a loss that does not suit states."""
    size = (6, 200, 6) if quick else (10, 300, 20)
    rows = calibration_of("NV", *size, quick, loss="squared")
    for line in rows:
        line["data"] += ", squared loss"
        if line["recipe"] == "calibration":
            line["recipe"] = "wrong loss"
    return [line for line in rows if line["recipe"] == "wrong loss"]


# --- effects ------------------------------------------------------------------------
def coverage(quick):
    """Whether 90 % intervals hold the true total effects, 100 tables of 5 columns."""
    seeds = [401, 402] if quick else list(range(401, 501))
    n_draws = 20 if quick else 200
    make = {"n_bootstraps": n_draws, "level": 0.9, "random_state": 0}
    learner = TopologicalSwap("squared")
    inside = {
        "true graph": [],
        "graph of the other half": [],
        "graph of the same rows": [],
    }
    inside["graph learnt in each resample"] = []
    for seed in seeds:
        X, W = draw("EV", 5, seed, 400, n_edges=6, weight_range=(0.15, 0.6))
        truth = np.linalg.inv(np.eye(5) - W)
        there = (truth != 0) & ~np.eye(5, dtype=bool)
        known = TopologicalSwap("squared", init=W, sparsifier=None).fit(X)
        known.adjacency_ = W
        other = TopologicalSwap("squared").fit(X[:200])
        for name, fitted, rows, relearn in (
            ("true graph", known, X[200:], False),
            ("graph of the other half", other, X[200:], False),
            ("graph of the same rows", learner, X[200:], False),
            ("graph learnt in each resample", learner, X[200:], True),
        ):
            found = effect_intervals(fitted, rows, relearn=relearn, **make)
            held = (found.low <= truth) & (truth <= found.high)
            claimed = there & (found.estimate != 0)
            inside[name].append(
                (held[there].mean(), held[claimed].mean() if claimed.any() else np.nan)
            )
    rows = []
    for name, shares in inside.items():
        shares = np.array(shares)
        entry = entry_of(name, None, real_effects=shares[:, 0])
        seen = shares[~np.isnan(shares[:, 1]), 1]
        add_measure(entry, "real effects with a path", seen)
        goals = []
        if name == "true graph" and not quick:
            value = entry["measures"]["real effects"]
            goals = [
                target("coverage of 90 % intervals", ">=", 0.87, value),
                target("coverage of 90 % intervals", "<=", 0.93, value),
            ]
        data = "6 edges of 0.15 to 0.6, equal variances, d = 5"
        rows.append(row("effects", data, seeds, entry, n_samples=200, goals=goals))
    return rows


# --- rows ---------------------------------------------------------------------------
def plant(X, i, j, weight, n_planted, rng):
    """Return a copy in which some rows contradict an edge, and which they are."""
    X, rows = X.copy(), rng.choice(len(X), n_planted, replace=False)
    size = rng.uniform(2, 3, n_planted) * X[:, i].std()
    X[rows, i] = X[:, i].mean() + size * rng.choice([-1, 1], n_planted)
    pull = np.sign(weight) * (X[rows, i] - X[:, i].mean()) / X[:, i].std()
    X[rows, j] = X[:, j].mean() - pull * X[:, j].std()
    return X, rows


def planted(quick):
    """Find 20 corrupt rows of 1000 that contradict one edge."""
    d, n, seeds = (6, 200, [501]) if quick else (20, 1000, list(range(501, 521)))
    n_planted, shares = 20, {"deletion": [], "derivative": [], "distance": []}
    seconds = []
    for seed in seeds:
        X, W = draw("EV", d, seed, n, n_edges=2 * d)
        rng = np.random.default_rng(seed)
        i, j = rng.permutation(np.argwhere(W))[0]
        X, rows = plant(X, i, j, W[i, j], n_planted, rng)
        learner = TopologicalSwap("squared").fit(X)
        if learner.adjacency_[i, j] == 0:  # the rows have destroyed or turned the edge
            learner.adjacency_ = W
        for change in ("deletion", "derivative"):
            task = partial(edge_influence, learner, X, i, j, change=change)
            found, cpu = timed(task, change)
            top = np.argsort(-np.abs(found))[:n_planted]
            shares[change].append(np.isin(top, rows).mean())
            seconds.append(cpu)
        centred = X - X.mean(axis=0)
        precision = np.linalg.inv(np.cov(centred.T))
        far = np.argsort(-np.einsum("rp,pq,rq->r", centred, precision, centred))
        shares["distance"].append(np.isin(far[:n_planted], rows).mean())
    entry = entry_of("edge_influence(change='deletion')", mean(seconds))
    add_measure(entry, "planted rows among the top 20", shares["deletion"])
    others = [
        entry_of("edge_influence(change='derivative')", None),
        entry_of("Mahalanobis distance, which knows no edge", None),
    ]
    label = "planted rows among the top 20"
    add_measure(others[0], label, shares["derivative"])
    add_measure(others[1], label, shares["distance"])
    goals = [target(label, ">=", 0.9, entry["measures"][label])]
    data = f"{describe('EV', d, 'ER2')}, 20 rows against one edge"
    return [
        row(
            "rows",
            data,
            seeds,
            entry,
            others,
            n_samples=n,
            goals=[] if quick else goals,
        )
    ]


# --- streams ------------------------------------------------------------------------
STREAM = """
import json, sys, time
import numpy as np
from skpapers.causal import CoLiDE, TopologicalSwap
from skpapers.datasets import make_linear_sem

def megabytes(field):
    with open("/proc/self/status") as status:
        line = next(x for x in status if x.startswith(field))
    return int(line.split()[1]) / 1024

name, n_chunks, n_rows, d = sys.argv[1], *map(int, sys.argv[2:])
learner = {
    "CoLiDE('equal')": CoLiDE("equal"),
    "TopologicalSwap('bic')": TopologicalSwap("bic", random_state=0),
}[name]
W = make_linear_sem(2, d, n_edges=2 * d, random_state=0).W
inverse = np.linalg.inv(np.eye(d) - W)
rng = np.random.default_rng(0)
chunk = np.empty((n_rows, d))

def fill():
    rng.standard_normal(out=chunk)
    chunk[:] = chunk @ inverse
fill()
before, start, spent = megabytes("VmRSS"), time.process_time(), 0.0
for k in range(n_chunks):
    begin = time.process_time()
    if k:
        fill()
    spent += time.process_time() - begin
    learner.partial_fit(chunk, learn=k == n_chunks - 1)
print(json.dumps({
    "MB": megabytes("VmHWM") - before,
    "seconds": time.process_time() - start - spent,
    "rows": learner.n_samples_seen_,
    "edges": int(np.count_nonzero(learner.adjacency_)),
    "wrong": int(((learner.adjacency_ != 0) | (learner.adjacency_ != 0).T)[
        (W == 0) & (W.T == 0)].sum() / 2
        + ((learner.adjacency_ == 0) & (learner.adjacency_ == 0).T)[W != 0].sum()),
}))
"""


def streams(quick):
    """A million rows of 100 columns in chunks of 10 000, each in a fresh process."""
    n_chunks, n_rows, d = (3, 500, 8) if quick else (100, 10_000, 100)
    rows = []
    for name in ("CoLiDE('equal')", "TopologicalSwap('bic')"):
        command = [sys.executable, "-c", STREAM, name, *map(str, (n_chunks, n_rows, d))]
        settings = {f"{library}_NUM_THREADS": "1" for library in THREADS}
        root = str(Path(__file__).parents[2])
        done = subprocess.run(
            command,
            env=os.environ | settings | {"PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        )
        answer = json.loads(done.stdout.splitlines()[-1])
        if answer["rows"] != n_chunks * n_rows:
            raise RuntimeError(f"Only {answer['rows']} rows were seen.")
        entry = entry_of(name, mean([answer["seconds"]]), MB=[answer["MB"]])
        add_measure(entry, "edges", [answer["edges"]])
        add_measure(entry, "wrong links", [answer["wrong"]])
        goals = [target("MB above the first chunk", "<=", 200, answer["MB"])]
        data = f"ER2, d = {d}, chunks of {n_rows} rows"
        total = n_chunks * n_rows
        rows.append(
            row(
                "streams",
                data,
                [0],
                entry,
                n_samples=total,
                goals=[] if quick else goals,
            )
        )
    return rows


def run(arguments=None):
    """Run everything."""
    return main(
        "edge_stability",
        "How sure is an edge",
        {
            "text": "N. Friedman, M. Goldszmidt and A. Wyner, UAI 1999 (the method)",
            "url": "https://arxiv.org/abs/1301.6695",
        },
        [
            "skpapers.causal.bootstrap_edges",
            "skpapers.causal.StabilityDAG",
            "skpapers.causal.effect_intervals",
            "skpapers.causal.edge_influence",
        ],
        {
            "cost": cost,
            "calibration": calibration,
            "reliability": reliability,
            "wrong loss": wrong_loss,
            "effects": coverage,
            "rows": planted,
            "streams": streams,
        },
        arguments,
    )


if __name__ == "__main__":
    run()
