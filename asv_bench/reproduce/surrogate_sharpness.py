# SPDX-License-Identifier: BSD-3-Clause
"""Does a surrogate that is insensitive to its weights lead to better designs?

A table of 3000 designs is drawn (or all rows of a table taken), its better half hidden,
a surrogate fitted to the rest, and 128 designs proposed, which the true score then
judges: "100th" and "50th" are percentiles of their normalised scores, where 1 is the
best of the full set, hidden rows included. "none" has no term for the sharpness; IGNITE
has the bound and IGNITE-2 the fixed penalty, with the constants of the paper where no
lambda is named. Nothing was tuned by the true score.

"gain" is the mean difference of the 100th percentile to "none" with the same search and
seed, "p" that of a paired t test of it; "beaten" the share of runs of which the best
proposal scores at least what the best row of the table does.

The run stores every fit and goes on where it was ended; ``--only NAME ...`` runs some
recipes alone, ``--again`` forgets what is stored of them first.
"""

import argparse
import json
import sys
import time
import warnings
from functools import cache, partial

import numpy as np
import torch
from _common import SCHEMA, environment, format_table, main, mean, row, save, target
from _design_tables import (
    CHEMISTRY,
    N_PROPOSALS,
    RESULTS,
    Table,
    compared,
    row_of,
    stored_fits,
    task_of,
)
from sklearn.frozen import FrozenEstimator

from skpapers.offline_optimization import (
    OfflineOptimizer,
    SharpnessRegularizedRegressor,
)
from skpapers.utils import DataConditionWarning


# --- surrogates ---------------------------------------------------------------------
class SAM(torch.optim.Adam):
    """Adam with the gradient of the loss at the worst weights nearby, to first order.

    Parameters
    ----------
    params : iterable
        Of `torch.optim.Adam`.
    radius : float
        How far the weights are moved along the gradient.
    stacked : bool
        Whether the weights begin with an axis of networks, each moved by itself.
    **options
        Of `torch.optim.Adam`.
    """

    def __init__(self, params, *, radius=0.05, stacked=False, **options):
        super().__init__(params, **options)
        self.radius, self.stacked = radius, stacked

    @torch.no_grad()
    def step(self, closure):
        """Take the gradient twice and make a step of Adam with the second."""
        with torch.enable_grad():
            loss = closure()
        weights = [p for group in self.param_groups for p in group["params"]]
        weights = [p for p in weights if p.grad is not None]
        first = 1 if self.stacked else 0
        squares = [p.grad.square().flatten(first).sum(-1) for p in weights]
        scale = self.radius / torch.stack(squares).sum(0).sqrt().clamp_min(1e-12)
        kept = [p.clone() for p in weights]
        for p in weights:
            shape = (-1, *[1] * (p.ndim - 1)) if self.stacked else ()
            p.add_(p.grad * scale.reshape(shape))
        with torch.enable_grad():
            closure()
        for p, value in zip(weights, kept, strict=True):
            p.copy_(value)
        super().step()
        return loss


def penalty(strength):
    """Return the parameters of a fixed penalty."""
    radii = {"sharpness_radius": 0.2, "difference_radius": 0.2}
    return {"sharpness": "penalty", "multiplier": strength, **radii}


REGULARISERS = {
    "none": {"sharpness": None},
    "IGNITE": {},
    "IGNITE-2": penalty(0.01),
    "weight decay": {"sharpness": None, "optimizer": "adamw", "weight_decay": 0.01},
    "SAM on the loss": {"sharpness": None, "optimizer": SAM},
}
STRENGTHS = {  # recipe A
    "none": {"sharpness": None},
    "IGNITE": {},
    **{f"IGNITE-2, λ = {s:g}": penalty(s) for s in (0.01, 0.1, 1.0)},
}
NETWORK = {  # of the CPU recipe
    "hidden_layer_sizes": (128, 128),
    "loss": "squared_error",
    "lr": 1e-3,
    "max_epochs": 60,
    "dtype": "float32",
}
LIKELIHOOD = NETWORK | {"loss": "gaussian_nll", "lr": 3e-4, "max_epochs": 8}
LOGITS = {"overestimation_limit": 2.0, "ascent_step_size": 2.0}  # of COMs
N_MEMBERS = 5
COMS_EPOCHS = 20
N_STEPS = 720  # of training, on tables of fewer than 1500 rows


def surrogate(regulariser, seed, n_members=1, network=NETWORK):
    """Return an unfitted surrogate."""
    params = network | regulariser
    if params.get("optimizer") is SAM:
        options = {"optimizer__fused": True, "optimizer__stacked": n_members > 1}
        params = params | {"net_params": options}
    return SharpnessRegularizedRegressor(
        n_estimators=n_members, random_state=seed, **params
    )


def conservative(regulariser, seed):
    """Return the surrogate of the conservative search; an epoch is dear."""
    from skpapers.offline_optimization import ConservativeRegressor

    params = {"sharpness": "constraint"} | NETWORK | regulariser
    params["max_epochs"] = min(params["max_epochs"], COMS_EPOCHS)
    if params.get("optimizer") is SAM:
        params |= {"net_params": {"optimizer__fused": True}}
    del params["loss"]
    return ConservativeRegressor(random_state=seed, **params)


# --- searches -----------------------------------------------------------------------
SEARCHES = {  # kind of surrogate, search, its parameters
    "gradient": ("one network", "gradient", {}),
    "ensemble mean": ("ensemble", "gradient", {}),
    "ensemble min": ("ensemble", "gradient", {"reduction": "min"}),
    "COMs": ("conservative", "coms", {}),
    "REINFORCE": ("ensemble", "reinforce", {}),
    "pymoo": ("ensemble", "pymoo", {}),
    "CMA-ES": ("ensemble", "cmaes", {}),
    "BO-qEI": ("ensemble", "bo", {}),
}
CLIMBS = ("gradient", "ensemble mean", "ensemble min")
FAST = ("gradient", "ensemble mean", "ensemble min", "REINFORCE", "pymoo")
SLOW = ("COMs", "CMA-ES", "BO-qEI")
KINDS = {
    "one network": surrogate,
    "ensemble": lambda params, seed: surrogate(params, seed, N_MEMBERS),
    "conservative": conservative,
}


def epochs_for(table):
    """Return the epochs that make as many steps on a small table as on a large one."""
    n_batches = -(-len(table.y) // 128)
    return {"max_epochs": max(NETWORK["max_epochs"], -(-N_STEPS // n_batches))}


def norm_of(model):
    """Return the norm of the output gradient over the table, mean over the members."""
    return float(np.mean(model.sharpness_) / model.sharpness_radius)


def run_searches(table, names, regulariser, seed, small=None):
    """Yield name and figures of searches; those on the same surrogate share its fit."""
    fitted, seconds = {}, {}
    for name in names:
        kind, search, options = SEARCHES[name]
        shared = kind in fitted
        if shared:
            model = FrozenEstimator(fitted[kind])
        else:
            params = epochs_for(table) | regulariser | (small or {})
            if kind == "conservative" and table.task.categories:
                params |= LOGITS
            model = KINDS[kind](params, seed)
        optimizer = OfflineOptimizer(
            model,
            search=search,
            search_params=options,
            n_candidates=N_PROPOSALS,
            random_state=seed,
            **table.space,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataConditionWarning)
            start = time.process_time()
            optimizer.fit(table.X, table.y)
            if not shared:
                fitted[kind] = optimizer.estimator_
                seconds[kind] = time.process_time() - start
            start = time.process_time()
            designs = optimizer.suggest()
        figures = table.judge(designs)
        figures["‖∇h‖"] = norm_of(fitted[kind])
        cpu = seconds[kind] + time.process_time() - start
        yield name, figures | {"CPU s": cpu}


# --- recipes ------------------------------------------------------------------------
A_TASKS = ("ackley10", "hartmann6", "levy10")
B_TASK = "tf_bind_8"
MAIN_TASKS = ("ackley10", "hartmann6", "pwm", B_TASK)
OTHER_TASKS = (
    "branin",
    "griewank10",
    "levy10",
    "rosenbrock10",
    "styblinski_tang10",
    "diabetes",
    "wine",
    *CHEMISTRY,
)
SEEDS, FEW_SEEDS = range(8), range(4)
TOGETHER = {"searches": "all four tasks", "others": "all other tasks"}
RECIPES = ("A", "B", "searches", "others", "slow searches")


@cache
def table_of(task, seed, n_designs=3000):
    """Return the table of a task, or None where its package is not installed."""
    made = task_of(task)
    return None if made is None else Table(made, seed, n_designs)


def jobs(only=RECIPES):
    """Yield recipe, task, seed, names, and the function that yields their figures.

    What matters most comes first.
    """
    if "A" in only:
        for seed in SEEDS:
            for task in A_TASKS:
                for name, regulariser in STRENGTHS.items():
                    yield "A", task, seed, [name], one_of(name, regulariser)
    if "B" in only:
        for seed in FEW_SEEDS:
            for name in ("none", "IGNITE", "IGNITE-2"):
                model = LIKELIHOOD | REGULARISERS[name]
                yield "B", B_TASK, seed, [name], one_of(name, model)
    for recipe, tasks, searches, regularisers, seeds in (
        ("searches", MAIN_TASKS, FAST, list(REGULARISERS), SEEDS),
        ("others", OTHER_TASKS, FAST, ["none", "IGNITE"], FEW_SEEDS),
        ("slow searches", MAIN_TASKS, SLOW, list(REGULARISERS), SEEDS),
    ):
        if recipe not in only:
            continue
        for seed in seeds:
            for task in tasks:
                for name in regularisers:
                    names = [f"{search}, {name}" for search in searches]
                    where = "others" if recipe == "others" else "searches"
                    yield where, task, seed, names, all_of(searches, name)


def one_of(name, regulariser):
    """Return a function that runs gradient ascent with one surrogate."""

    def figures(table, names, seed, small=None):
        for _, found in run_searches(table, ["gradient"], regulariser, seed, small):
            yield name, found

    return figures


def all_of(searches, name):
    """Return a function that runs those searches that are asked for."""

    def figures(table, names, seed, small=None):
        wanted = [s for s in searches if f"{s}, {name}" in names]
        for search, found in run_searches(
            table, wanted, REGULARISERS[name], seed, small
        ):
            yield f"{search}, {name}", found

    return figures


# --- rows ---------------------------------------------------------------------------
def judged_a(rows):
    """Return the targets of recipe A, on the row of the largest lambda of each task."""
    for task in A_TASKS:
        lines = {r["ours"]["name"]: r for r in rows if r["data"] == task}
        if set(lines) != set(STRENGTHS):
            continue
        ordered = [name for name in STRENGTHS if name != "IGNITE"]
        values = {k: r["ours"]["measures"] for k, r in lines.items()}
        norms = np.diff([values[name]["‖∇h‖"] for name in ordered])
        goals = [target("largest change of ‖∇h‖ as λ grows", "<=", 0.0, norms.max())]
        best, last = [values[name] for name in ("none", ordered[-1])]
        if task == "ackley10":
            share = last["100th"] / best["100th"]
            goals.append(target("100th, λ = 1, as a share of none", ">=", 1.06, share))
            rises = np.diff([values[name]["100th"] for name in ordered])
            goals.append(
                target("least change of the 100th as λ grows", ">=", 0.0, rises.min())
            )
        if task == "hartmann6":
            peak = max(values[name]["100th"] for name in ordered[:-1])
            for label, less in (("100th", peak), ("50th", best["50th"])):
                words = "the best smaller λ" if label == "100th" else "none"
                goals.append(
                    target(
                        f"{label}, λ = 1, less that of {words}",
                        "<=",
                        0.0,
                        last[label] - less,
                    )
                )
        lines[ordered[-1]]["targets"] += goals


def all_tasks(fits, recipe):
    """Return the rows over the (task, seed) pairs of all tasks of a recipe."""
    rows, shares = [], {}
    sizes = sorted({n_of(recipe, task) for r, task, _, _ in fits if r == recipe})
    for search in SEARCHES:
        plain = pairs_of(fits, recipe, f"{search}, none")
        for name in REGULARISERS:
            runs = pairs_of(fits, recipe, f"{search}, {name}")
            if not runs:
                continue
            entry = over_pairs(f"{search}, {name}", runs, plain)
            shares.setdefault(search, []).append(entry["measures"]["beaten"])
            about = f"{TOGETHER[recipe]}, {len(runs)} runs each, n = {sizes[0]}"
            if len(sizes) > 1:
                about += f" to {sizes[-1]}"
            seeds = sorted({seed for _, seed in runs})
            rows.append(row(TOGETHER[recipe], about, seeds, entry, n_samples=sizes[-1]))
        if search in CLIMBS and search in shares:
            words = f"{search}, with any of these surrogates: beaten"
            goal = target(words, ">=", 0.95, np.mean(shares[search]))
            rows[-1]["targets"].append(goal)
    return rows


def pairs_of(fits, recipe, label):
    """Return the fits of a label: (task, seed) to measures."""
    return {
        (task, seed): found
        for (part, task, name, seed), found in fits.items()
        if part == recipe and name == label
    }


def over_pairs(label, runs, plain):
    """Return the entry of runs on many tables, beside those without a term."""
    entry = {"name": label, "measures": {}, "draws": {}}
    for percentile in ("100th", "80th", "50th"):
        entry["measures"][percentile] = mean([r[percentile] for r in runs.values()])
    gains = [
        runs[pair]["100th"] - plain[pair]["100th"] for pair in runs if pair in plain
    ]
    if runs != plain and gains:
        gain, error, p = map(mean, compared(gains))
        entry["measures"] |= {"gain": gain, "± s.e.": error, "p": p}
    beaten = [run["100th"] >= run["best row"] for run in runs.values()]
    entry["measures"]["beaten"] = mean(np.mean(beaten))
    entry["cpu_seconds"] = mean([run["CPU s"] for run in runs.values()])
    return entry


def rows_of(fits):
    """Return all rows of the stored fits."""
    rows = []
    for recipe, tasks in (("A", A_TASKS), ("B", (B_TASK,))):
        for task in tasks:
            for name in STRENGTHS if recipe == "A" else list(REGULARISERS)[:3]:
                rows.append(
                    row_of(
                        fits, recipe, task, name, partial(n_of, recipe, task), "none"
                    )
                )
    rows = [r for r in rows if r]
    judged_a([r for r in rows if r["recipe"] == "A"])
    for recipe in TOGETHER:
        rows += all_tasks(fits, recipe)
    for recipe, tasks in (("searches", MAIN_TASKS), ("others", OTHER_TASKS)):
        for task in tasks:
            for search in SEARCHES:
                for name in REGULARISERS:
                    label, base = f"{search}, {name}", f"{search}, none"
                    found = row_of(
                        fits, recipe, task, label, partial(n_of, recipe, task), base
                    )
                    if found:
                        rows.append(found)
    return rows


def n_of(recipe, task):
    """Return the number of rows of a task's table."""
    table = table_of(task, 0, None if recipe == "B" else 3000)
    return 0 if table is None else len(table.y)


TITLE = {
    "title": "Surrogates for designs from a fixed table",
    "reference": {
        "text": "M. C. Dao, P. L. Nguyen, T. N. Truong, T. N. Hoang, Incorporating "
        "surrogate gradient norm to improve offline optimization techniques, "
        "NeurIPS 2024",
        "url": "https://arxiv.org/abs/2503.04242",
    },
    "estimators": [
        "skpapers.offline_optimization.OfflineOptimizer",
        "skpapers.offline_optimization.SharpnessRegularizedRegressor",
    ],
}


def report_of(fits, speed):
    """Return the report as it stands."""
    about = {"schema": SCHEMA, "method": "surrogate_sharpness", **TITLE, "quick": False}
    return about | {"environment": environment(), "rows": rows_of(fits) + speed}


# --- speed --------------------------------------------------------------------------
def median_seconds(functions, repeats):
    """Return the median CPU seconds of functions that take turns, after one run."""
    seconds = []
    for function in functions:
        function()
    for _ in range(repeats):
        turn = []
        for function in functions:
            start = time.process_time()
            function()
            turn.append(time.process_time() - start)
        seconds.append(turn)
    return np.median(seconds, axis=0)


def speed_rows(small=None):
    """Return the rows on cost: a step, a stack of networks, calls of the surrogate."""
    table = table_of("ackley10", 0, 200 if small else 3000)
    few = {"max_epochs": 2 if small else 10}
    repeats = 1 if small else 5
    rows = []

    def fit(regulariser, n_members=1):
        model = surrogate(regulariser | few, 0, n_members)
        return lambda: model.fit(table.X, table.y)

    for n_members in (1, N_MEMBERS):
        times = median_seconds(
            [fit({"sharpness": None}, n_members), fit({}, n_members)], repeats
        )
        ratio = times[1] / times[0]
        goals = [target(f"step, {n_members} network(s)", "<=", 2.7, ratio)]
        name = f"step with the term, {n_members} network(s)"
        rows.append(_speed(name, {"ratio to a plain step": ratio}, times[1], goals))
    many = 6 if small else 8 * N_MEMBERS
    for name, regulariser in (("none", {"sharpness": None}), ("IGNITE", {})):
        loops = [fit(regulariser)] * many
        times = median_seconds(
            [fit(regulariser, many), lambda loops=loops: [f() for f in loops]],
            min(repeats, 3),
        )
        gain = times[1] / times[0]
        goals = [target(f"stack of {many}, {name}", ">=", 2.0, gain)]
        name = f"{many} networks in a stack, {name}"
        rows.append(_speed(name, {"times faster than a loop": gain}, times[0], goals))
    return rows


def _speed(name, measures, seconds, goals):
    entry = {"name": name, "draws": {}, "cpu_seconds": mean(seconds)}
    entry["measures"] = {label: mean(value) for label, value in measures.items()}
    return row("speed", "ackley10, speed", [0], entry, n_samples=1500, goals=goals)


# --- running ------------------------------------------------------------------------
def small_rows(recipe):
    """Return the rows of a reduced run."""
    if recipe == "speed":
        return speed_rows(small=True)
    small = {"hidden_layer_sizes": (16,), "max_epochs": 2}
    fits, task = {}, "ackley10"
    table = table_of(task, 0, 400)
    searches = ("gradient", "ensemble min", "REINFORCE")
    if recipe == "A":
        runs = [one_of(name, params) for name, params in STRENGTHS.items()]
    else:
        runs = [all_of(searches, name) for name in REGULARISERS]
    labels = list(STRENGTHS) if recipe == "A" else list(REGULARISERS)
    for label, figures in zip(labels, runs, strict=True):
        names = [label] if recipe == "A" else [f"{s}, {label}" for s in searches]
        for name, found in figures(table, names, 0, small):
            fits[recipe, task, name, 0] = found
    names = dict.fromkeys(name for _, _, name, _ in fits)
    base = "none" if recipe == "A" else "gradient, none"
    rows = [
        row_of(fits, recipe, task, name, lambda: len(table.y), base) for name in names
    ]
    return rows + (all_tasks(fits, recipe) if recipe == "searches" else [])


def run(arguments=None):
    """Run the recipes, or go on with them."""
    parser = argparse.ArgumentParser(description=TITLE["title"])
    parser.add_argument("--quick", action="store_true", help="small, nothing stored")
    parser.add_argument("--only", nargs="+", choices=(*RECIPES, "speed"))
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=SEARCHES)
    parser.add_argument("--again", action="store_true", help="forget these first")
    parser.add_argument("--minutes", type=float, default=np.inf, help="then stop")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.quick:
        recipes = {
            recipe: lambda quick, recipe=recipe: small_rows(recipe)
            for recipe in ("A", "searches", "speed")
        }
        return main("surrogate_sharpness", *TITLE.values(), recipes, ["--quick"])
    path = RESULTS / "surrogate_sharpness.json"
    only = options.only or (*RECIPES, "speed")
    fits, speed = stored_fits("surrogate_sharpness"), stored_speed(path)
    if options.again:
        fits = {key: found for key, found in fits.items() if key[0] not in only}
    if "speed" in only and (options.again or not speed):
        speed = speed_rows()
        save(report_of(fits, speed), path)
    began = stored = time.perf_counter()
    for recipe, task, seed, names, figures in jobs(only):
        missing = [n for n in names if (recipe, task, n, seed) not in fits]
        if recipe == "searches":
            missing = [n for n in missing if n.split(", ")[0] in options.searches]
        if not missing or time.perf_counter() - began > 60 * options.minutes:
            continue
        table = table_of(task, seed, None if recipe == "B" else 3000)
        if table is None:
            continue
        start = time.perf_counter()
        for name, found in figures(table, missing, seed):
            fits[recipe, task, name, seed] = found
        took = time.perf_counter() - start
        print(recipe, task, seed, missing[-1], f"{took:.1f} s", file=sys.stderr)
        if time.perf_counter() - stored > 20:
            save(report_of(fits, speed), path)
            stored = time.perf_counter()
    report = report_of(fits, speed)
    save(report, path)
    print(format_table(report))
    return report


def stored_speed(path):
    """Return the stored rows on cost."""
    if not path.exists():
        return []
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return [r for r in rows if r["recipe"] == "speed"]


if __name__ == "__main__":
    run()
