# SPDX-License-Identifier: BSD-3-Clause
"""Proposals from a table, beside other optimisers on the surrogates of scikit-learn.

Every method gets the same table (the worse half of the rows), the same box, and
proposes 128 designs, which the true score judges; "100th" and "50th" are percentiles of
their normalised scores, "wall s" the time of fit and search. A peer maximises what a
forest, a boosting or a Gaussian process predicts: cma and pymoo with 100 generations of
128, nevergrad (TwoPointsDE) with 20 times 128 evaluations, botorch in 4 batches of 32
by expected improvement under its own process of the 300 best rows, whose values are
those of the surrogate. Proposals are the 128 points of highest prediction that were
met; our Bayesian search takes the best of ten batches of 32, or as many as the peer.
The process of scikit-learn sees the 500 best rows. Chemistry tables have a forest,
fitted to all rows, in place of the truth: what pleases a forest is then at an
advantage.

The run stores every fit and goes on where it was ended.
"""

import argparse
import random
import time
import warnings
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from _common import SCHEMA, environment, format_table, main, row, save
from _design_tables import (
    CHEMISTRY,
    N_PROPOSALS,
    RESULTS,
    Table,
    entry_of,
    go_on,
    stored_fits,
    task_of,
)
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from skpapers.offline_optimization import (
    OfflineOptimizer,
    SharpnessRegularizedRegressor,
)

TASKS = ("ackley10", "hartmann6", *CHEMISTRY)
SEEDS = range(2)
N_GENERATIONS = 100
N_TURNS = 20  # of nevergrad, whose own time is most of it
N_PROCESS = 500  # rows of a Gaussian process
N_BATCH, N_MODEL = 32, 300  # of botorch


class Process(GaussianProcessRegressor):
    """A Gaussian process of the best rows."""

    def fit(self, X, y):
        """Fit to no more rows than a process takes in a few seconds."""
        best = np.argsort(-y)[:N_PROCESS]
        return super().fit(X[best], y[best])


def process(seed):
    """Return a process with one length for all columns."""
    kernel = ConstantKernel() * RBF(np.ones(1)) + WhiteKernel(0.01)
    return Process(kernel, normalize_y=True, random_state=seed)


SURROGATES = {
    "RandomForest": lambda seed: RandomForestRegressor(100, random_state=seed),
    "HistGradientBoosting": lambda seed: HistGradientBoostingRegressor(
        random_state=seed
    ),
    "GaussianProcess": process,
}


# --- peers --------------------------------------------------------------------------
class Scored:
    """The prediction of a surrogate in the unit cube, and all points it was asked for.

    Parameters
    ----------
    table : Table
        Rows, scores and box.
    surrogate : regressor
        Unfitted.
    """

    def __init__(self, table, surrogate):
        self.low, high = table.bounds.T
        self.width = high - self.low
        self.shares = (table.X - self.low) / self.width
        self.y = (table.y - table.y.mean()) / table.y.std()
        self.surrogate = surrogate.fit(self.shares, self.y)
        self.order = np.argsort(-self.y)
        self.seen = []

    def __call__(self, points):
        points = np.clip(np.asarray(points, dtype=float), 0.0, 1.0)
        scores = self.surrogate.predict(points)
        self.seen.append((points, scores))
        return scores

    def best(self):
        """Return the designs of highest prediction, each once."""
        points, scores = (np.concatenate(part) for part in zip(*self.seen, strict=True))
        _, first = np.unique(points, axis=0, return_index=True)
        order = first[np.argsort(-scores[first], kind="stable")][:N_PROPOSALS]
        return self.low + self.width * points[order]


def by_cma(score, seed, n_turns):
    """Maximise with cma, from the best row."""
    import cma

    options = {
        "bounds": [0, 1],
        "popsize": N_PROPOSALS,
        "maxiter": n_turns,
        "seed": seed + 1,
        "verbose": -9,
        "verb_log": 0,
    }
    start = score.shares[score.order[0]]
    strategy = cma.CMAEvolutionStrategy(np.clip(start, 0.01, 0.99), 0.2, options)
    while not strategy.stop():
        points = strategy.ask()
        strategy.tell(points, -score(points))


def by_pymoo(score, seed, n_turns):
    """Maximise with the genetic algorithm of pymoo, from the best rows."""
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.config import Config
    from pymoo.core.problem import Problem
    from pymoo.optimize import minimize

    Config.warnings["not_compiled"] = False

    class Prediction(Problem):
        def __init__(self):
            super().__init__(n_var=score.shares.shape[1], n_obj=1, xl=0.0, xu=1.0)

        def _evaluate(self, x, out, *args, **kwargs):
            out["F"] = -score(x)[:, None]

    first = score.shares[score.order[:N_PROPOSALS]]
    algorithm = GA(pop_size=len(first), sampling=first, n_offsprings=N_PROPOSALS)
    minimize(Prediction(), algorithm, ("n_gen", n_turns), seed=seed)


def by_nevergrad(score, seed, n_turns):
    """Maximise with differential evolution; what NGOpt chooses fails with NumPy 2.4."""
    import nevergrad

    n_turns = min(n_turns, N_TURNS)
    space = nevergrad.p.Array(init=score.shares[score.order[0]]).set_bounds(0, 1)
    space.random_state = np.random.RandomState(seed)
    optimizer = nevergrad.optimizers.TwoPointsDE(
        space, budget=n_turns * N_PROPOSALS, num_workers=N_PROPOSALS
    )
    for _ in range(n_turns):
        asked = [optimizer.ask() for _ in range(N_PROPOSALS)]
        scores = score([candidate.value for candidate in asked])
        for candidate, found in zip(asked, scores, strict=True):
            optimizer.tell(candidate, -found)


def by_botorch(score, seed, n_turns):
    """Propose batches by the expected improvement of a process in botorch."""
    import torch
    from botorch.acquisition import qLogExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.optim import optimize_acqf
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.manual_seed(seed)
    best = score.order[:N_MODEL]
    X = torch.from_numpy(score.shares[best])
    y = torch.from_numpy(score.surrogate.predict(score.shares[best]))[:, None]
    box = torch.tensor([[0.0], [1.0]], dtype=X.dtype).repeat(1, X.shape[1])
    for _ in range(-(-N_PROPOSALS // N_BATCH)):
        model = SingleTaskGP(X, y)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        improvement = qLogExpectedImprovement(model, best_f=y.max())
        points, _ = optimize_acqf(
            improvement,
            box,
            q=N_BATCH,
            num_restarts=2,
            raw_samples=32,
            options={"maxiter": 50},
        )
        found = torch.from_numpy(score(points.numpy()))[:, None]
        X, y = torch.cat([X, points]), torch.cat([y, found])


PEERS = {
    "cma": by_cma,
    "pymoo": by_pymoo,
    "nevergrad": by_nevergrad,
    "botorch": by_botorch,
}


def peer(name, surrogate):
    """Return a function that proposes designs with a peer."""

    def proposals(table, seed, n_turns):
        score = Scored(table, SURROGATES[surrogate](seed))
        np.random.seed(seed)  # noqa: NPY002, of pymoo and nevergrad
        random.seed(seed)
        PEERS[name](score, seed, n_turns)
        return score.best()

    return proposals


# --- ours ---------------------------------------------------------------------------
def ours(search, make, params=None):
    """Return a function that proposes designs with ours."""

    def proposals(table, seed, n_turns):
        optimizer = OfflineOptimizer(
            make(seed),
            search=search,
            search_params=params,
            n_candidates=N_PROPOSALS,
            random_state=seed,
            **table.space,
        )
        return optimizer.fit(table.X, table.y).suggest()

    return proposals


def small_ensemble(seed):
    """Return the ensemble of the other comparison (`surrogate_sharpness`)."""
    return SharpnessRegularizedRegressor(
        (128, 128),
        loss="squared_error",
        lr=1e-3,
        max_epochs=60,
        n_estimators=5,
        dtype="float32",
        random_state=seed,
    )


OWN = {
    "OfflineOptimizer()": ours("gradient", lambda seed: None),
    "OfflineOptimizer(five smaller networks)": ours("gradient", small_ensemble),
}
FEW_BATCHES = {"n_points": N_MODEL, "n_iterations": 4}  # as those of the peer
OWN_SEARCHES = {  # by the package that they need
    package: {
        f"OfflineOptimizer({name}, {words})": ours(search, make, params)
        for name, make in SURROGATES.items()
        for search, words, params in found
    }
    for package, found in {
        "cma": [("cmaes", "search='cmaes'", None)],
        "botorch": [
            ("bo", "search='bo'", None),
            ("bo", "search='bo' in 4 batches", FEW_BATCHES),
        ],
    }.items()
}


def methods():
    """Return all methods by name: ours, and the peers that are installed."""
    found = dict(OWN)
    installed = {}
    for name in PEERS:
        try:
            installed[name] = f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    for package in installed:
        found |= OWN_SEARCHES.get(package, {})
    for name, label in installed.items():
        for surrogate in SURROGATES:
            found[f"{label} on {surrogate}"] = peer(name, surrogate)
    return found


# --- running ------------------------------------------------------------------------
@cache
def table_of(task, seed, n_designs=3000):
    """Return the table of a task, or None where its package is not installed."""
    made = task_of(task)
    return None if made is None else Table(made, seed, n_designs)


def figures(table, propose, seed, n_turns=N_GENERATIONS):
    """Return what the proposals of one method are worth, and their time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wall, start = time.perf_counter(), time.process_time()
        designs = propose(table, seed, n_turns)
        seconds = time.process_time() - start
        wall = time.perf_counter() - wall
    judged = table.judge(designs)
    del judged["80th"]
    return judged | {"wall s": wall, "CPU s": seconds}


def jobs(tasks=TASKS, begin=""):
    """Return what is to be run; what takes long comes last."""
    slow = [name for name in methods() if name.startswith("botorch")]

    def found(task, seed, propose):
        table = table_of(task, seed)
        return None if table is None else figures(table, propose, seed)

    return {
        (task, about(task), name, seed): partial(found, task, seed, propose)
        for is_slow in (False, True)
        for seed in SEEDS
        for task in tasks
        for name, propose in methods().items()
        if (name in slow) == is_slow and name.startswith(begin)
    }


def rows_of(fits, tasks=TASKS):
    """Return the rows: of each task ours, the peers beside the last one."""
    rows = []
    for task in tasks:
        names = dict.fromkeys(n for r, _, n, _ in fits if r == task)
        ordered = [*OWN, *(n for found in OWN_SEARCHES.values() for n in found)]
        own = [n for n in ordered if n in names]
        peers = [n for n in names if n not in own]
        entries = [entry_of(fits, task, about(task), name) for name in own]
        others = [entry_of(fits, task, about(task), name) for name in sorted(peers)]
        for k, entry in enumerate(entries):
            last = k == len(entries) - 1
            n_rows = len(table_of(task, 0).y)
            seeds = entry["seeds"]
            found = row(task, about(task), seeds, entry, others if last else ())
            rows.append(found | {"n_samples": n_rows})
    return rows


def about(task):
    """Return a task in words."""
    if task in CHEMISTRY:
        return f"{task}, approximate oracle"
    return task


TITLE = {
    "title": "Other optimisers on a surrogate",
    "reference": {
        "text": "B. Trabucco, X. Geng, A. Kumar, S. Levine, Design-Bench: benchmarks "
        "for data-driven offline model-based optimization, ICML 2022 (the protocol)",
        "url": "https://arxiv.org/abs/2202.08450",
    },
    "estimators": ["skpapers.offline_optimization.OfflineOptimizer"],
}


def small_rows(task):
    """Return the rows of a reduced run: ours with little training."""
    model = SharpnessRegularizedRegressor((16,), max_epochs=2)
    table = table_of(task, 0, 300)
    fits = {}
    for name in OWN:
        found = figures(table, ours("gradient", lambda seed: model), 0)
        fits[task, about(task), name, 0] = found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for make in SURROGATES.values():
            Scored(table, make(0))(table.X)
    return rows_of(fits, [task])


def report_of(fits):
    """Return the report as it stands."""
    told = {"schema": SCHEMA, "method": "design_peers", **TITLE, "quick": False}
    return told | {"environment": environment(), "rows": rows_of(fits)}


def run(arguments=None):
    """Run the comparison, or go on with it."""
    parser = argparse.ArgumentParser(description=TITLE["title"])
    parser.add_argument("--quick", action="store_true", help="small, nothing stored")
    parser.add_argument("--only", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--methods", default="", help="those whose names begin so")
    parser.add_argument("--minutes", type=float, default=np.inf, help="then stop")
    options = parser.parse_args(arguments)
    if options.quick:
        recipes = {"hartmann6": lambda quick: small_rows("hartmann6")}
        return main("design_peers", *TITLE.values(), recipes, ["--quick"])
    path, fits = RESULTS / "design_peers.json", stored_fits("design_peers")
    todo = jobs(options.only, options.methods)
    go_on(todo, fits, lambda: save(report_of(fits), path), options.minutes)
    report = report_of(fits)
    print(format_table(report))
    return report


if __name__ == "__main__":
    run()
