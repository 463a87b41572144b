# SPDX-License-Identifier: BSD-3-Clause
"""Which strength of the sharpness term do folds choose, and what is it worth?

For each table (the worse half of 3000 designs) and each lambda of the fixed penalty, a
surrogate is fitted, gradient ascent proposes 128 designs, and the true score judges
them. Beside it stands what validation on the table alone says of the lambda: folds at
random, and folds that train on the worse rows and judge on the best fifth. "choice" is
the truth for the lambda with the highest value: "gain" the mean difference of the 100th
percentile to the choice of R² on random folds over the same tables, "p" that of a
paired t test. What folds, scorer and number of designs are compared was settled on
other tables (of the first two tasks, seeds from 100 on).

The run stores every fit and goes on where it was ended.
"""

import argparse
import time
import warnings
from functools import cache, partial

import numpy as np
import torch
from _common import (
    SCHEMA,
    add_measure,
    environment,
    format_table,
    main,
    mean,
    row,
    save,
    target,
)
from _design_tables import (
    N_DESIGNS,
    N_PROPOSALS,
    RESULTS,
    Table,
    compared,
    entry_of,
    go_on,
    stored_fits,
    task_of,
)
from sklearn.model_selection import KFold, cross_validate
from surrogate_sharpness import NETWORK, epochs_for, penalty

from skpapers.offline_optimization import (
    OfflineOptimizer,
    QuantileShiftSplit,
    SharpnessRegularizedRegressor,
    spearman_scorer,
    top_k_mean_scorer,
)
from skpapers.utils import DataConditionWarning

TASKS = ("ackley10", "hartmann6", "griewank10", "pwm", "styblinski_tang10")
SEEDS = range(8)
MULTIPLIERS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
N_SPLITS, TOP = 3, 10
SCORERS = {
    "R²": "r2",
    "rank": spearman_scorer,
    f"top {TOP}": top_k_mean_scorer(TOP),
}
USUAL = "R², random folds"


def folds(seed):
    """Return the ways to split by name."""
    return {
        "random folds": KFold(N_SPLITS, shuffle=True, random_state=seed),
        "shifted folds": QuantileShiftSplit(N_SPLITS, train_quantile=0.8),
    }


@cache
def table_of(task, seed, n_designs=N_DESIGNS):
    """Return the table of a task."""
    return Table(task_of(task), seed, n_designs)


def figures(table, multiplier, seed, small=None):
    """Return what a multiplier is worth in truth, and what the folds say of it."""
    term = penalty(multiplier) if multiplier else {"sharpness": None}
    params = NETWORK | epochs_for(table) | term | (small or {})
    optimizer = OfflineOptimizer(
        SharpnessRegularizedRegressor(random_state=seed, **params),
        n_candidates=N_PROPOSALS,
        random_state=seed,
        **table.space,
    )
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConditionWarning)
        found = table.judge(optimizer.fit(table.X, table.y).suggest())
        for name, split in folds(seed).items():
            said = cross_validate(
                optimizer,
                table.X,
                table.y,
                cv=split,
                scoring=SCORERS,
                error_score="raise",
            )
            for label in SCORERS:
                # as it is stored, so that a choice does not hang on what is not
                score = float(f"{said[f'test_{label}'].mean():.6g}")
                found[f"{label}, {name}"] = score
    return found | {"CPU s": time.process_time() - start}


# --- rows ---------------------------------------------------------------------------
def name_of(multiplier):
    """Return a multiplier in words."""
    return f"λ = {multiplier:g}"


SHOWN = f"top {TOP}, shifted folds"
CRITERIA = [f"{label}, {name}" for name in folds(0) for label in SCORERS]
HINDSIGHT = "the best λ of each table, in hindsight"


def choices(fits, task):
    """Return what each criterion chooses: name to the chosen fits by seed."""
    seeds = sorted({seed for _, data, _, seed in fits if data == task})
    chosen = {}
    for seed in seeds:
        found = {
            multiplier: fits["λ", task, name_of(multiplier), seed]
            for multiplier in MULTIPLIERS
            if ("λ", task, name_of(multiplier), seed) in fits
        }
        if len(found) < len(MULTIPLIERS):
            continue
        for name in (*CRITERIA, HINDSIGHT):
            judged_by = "100th" if name == HINDSIGHT else name
            best = max(found, key=lambda m, by=judged_by: found[m][by])
            chosen.setdefault(name, {})[seed] = found[best] | {"λ": best}
    return chosen


def entries_of(pairs):
    """Return the entry of each choice from its fits beside those of the usual one."""
    entries = []
    for name, runs in pairs.items():
        entry = {"name": name, "measures": {}, "draws": {}}
        for label in ("100th", "50th"):
            add_measure(entry, label, [run[label] for run in runs])
        entry["measures"]["median λ"] = float(np.median([run["λ"] for run in runs]))
        gains = [
            run["100th"] - other["100th"]
            for run, other in zip(runs, pairs[USUAL], strict=True)
        ]
        if name != USUAL:
            gain, error, p = map(mean, compared(gains))
            entry["measures"] |= {"gain": gain, "± s.e.": error, "p": p}
        entry["cpu_seconds"] = mean([run["CPU s"] for run in runs])
        entries.append(entry)
    return entries


def choice_rows(fits):
    """Return what the choices are worth: a row a task, and one over all of them."""
    rows, everything, better = [], {}, 0
    for task in TASKS:
        chosen = choices(fits, task)
        if not chosen:
            continue
        pairs = {name: list(runs.values()) for name, runs in chosen.items()}
        for name, runs in pairs.items():
            everything.setdefault(name, []).extend(runs)
        entries = entries_of(pairs)
        rows += beside_each_other(task, list(chosen[USUAL]), entries)
        (shown,) = [entry for entry in entries if entry["name"] == SHOWN]
        better += shown["measures"]["gain"] > 0
    if rows:
        n_tasks = len({r["data"] for r in rows})
        words = f"all {n_tasks} tasks, {len(everything[USUAL])} tables"
        rows += beside_each_other(words, [], entries_of(everything))
        words = f"{SHOWN}: tasks on which the choice is better than that of {USUAL}"
        rows[-1]["targets"].append(target(words, ">=", 2, better))
    return rows


def beside_each_other(data, seeds, entries):
    """Return a row for each choice by shifted folds; the others stand in the last."""
    own = [entry for entry in entries if entry["name"].endswith("shifted folds")]
    others = [entry for entry in entries if entry not in own]
    n = N_DESIGNS // 2
    rows = [row("choice", data, seeds, entry, n_samples=n) for entry in own[:-1]]
    return [*rows, row("choice", data, seeds, own[-1], others, n_samples=n)]


def rows_of(fits):
    """Return all rows of the stored fits."""
    rows = choice_rows(fits)
    for task in TASKS:
        for multiplier in MULTIPLIERS:
            entry = entry_of(fits, "λ", task, name_of(multiplier))
            if entry is not None:
                about = task, entry["seeds"], entry
                rows.append(row("λ", *about, n_samples=N_DESIGNS // 2))
    return rows


TITLE = {
    "title": "Which multiplier would folds choose?",
    "reference": {
        "text": "M. C. Dao, P. L. Nguyen, T. N. Truong, T. N. Hoang, Incorporating "
        "surrogate gradient norm to improve offline optimization techniques, "
        "NeurIPS 2024 (the term)",
        "url": "https://arxiv.org/abs/2503.04242",
    },
    "estimators": [
        "skpapers.offline_optimization.QuantileShiftSplit",
        "skpapers.offline_optimization.top_k_mean_scorer",
        "skpapers.offline_optimization.spearman_scorer",
    ],
}


# --- running ------------------------------------------------------------------------
def small_rows():
    """Return the rows of a reduced run."""
    table, small = table_of(TASKS[0], 0, 300), {"max_epochs": 2}
    small["hidden_layer_sizes"] = (8,)
    fits = {
        ("λ", TASKS[0], name_of(m), 0): figures(table, m, 0, small) for m in MULTIPLIERS
    }
    return rows_of(fits)


def report_of(fits):
    """Return the report as it stands."""
    told = {"schema": SCHEMA, "method": "design_tuning", **TITLE, "quick": False}
    return told | {"environment": environment(), "rows": rows_of(fits)}


def run(arguments=None):
    """Run the comparison, or go on with it."""
    parser = argparse.ArgumentParser(description=TITLE["title"])
    parser.add_argument("--quick", action="store_true", help="small, nothing stored")
    parser.add_argument("--minutes", type=float, default=np.inf, help="then stop")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.quick:
        recipes = {"choice": lambda quick: small_rows()}
        return main("design_tuning", *TITLE.values(), recipes, ["--quick"])
    path, fits = RESULTS / "design_tuning.json", stored_fits("design_tuning")

    def found(task, multiplier, seed):
        return figures(table_of(task, seed), multiplier, seed)

    jobs = {
        ("λ", task, name_of(m), seed): partial(found, task, m, seed)
        for seed in SEEDS
        for task in TASKS
        for m in MULTIPLIERS
    }
    go_on(jobs, fits, lambda: save(report_of(fits), path), options.minutes)
    report = report_of(fits)
    print(format_table(report))
    return report


if __name__ == "__main__":
    run()
