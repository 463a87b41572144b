# SPDX-License-Identifier: BSD-3-Clause
"""Design tasks of the benchmarks, what proposals are worth, and fits that are stored.

Tables of other packages are read as text where they are installed (`make
bench-offline-env`); these packages are never imported, and nothing of theirs but
csv and txt files is opened.
"""

import csv
import json
import sys
import time
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
from _common import RESULTS, add_measure, mean, row
from scipy.stats import ttest_1samp

from skpapers.datasets import make_design_task, make_offline_design

N_DESIGNS = 3000  # the better half is hidden
N_PROPOSALS = 128
CHEMISTRY = ("alkox", "fullerenes", "hplc", "suzuki")  # tables of olymp


# --- tasks --------------------------------------------------------------------------
def file_of(package, ending):
    """Return the path of a file of an installed package, or None."""
    try:
        found = [f for f in files(package) or [] if str(f).endswith(ending)]
    except PackageNotFoundError:
        return None
    return Path(found[0].locate()) if found else None


def chemistry_task(name):
    """Return a table of olymp as a task with a forest as its oracle, or None.

    The forest has seen all rows, those that are hidden from the optimiser, too.
    """
    folder = f"dataset_{name}"
    table = file_of("olymp", f"{folder}/data.csv")
    about = file_of("olymp", f"{folder}/config.json")
    if table is None or about is None:
        return None
    from skpapers.datasets import make_table_task

    config = json.loads(about.read_text(encoding="utf-8"))
    with table.open(encoding="utf-8", newline="") as lines:
        rows = np.array([list(map(float, r)) for r in csv.reader(lines) if r])
    goal = config["measurements"][0].get("goal", config["default_goal"])
    return make_table_task(
        rows[:, :-1],
        rows[:, -1],
        maximize=goal != "minimize",
        name=name,
    )


def task_of(name):
    """Return a task by its name, or None where its table is not installed."""
    if name in CHEMISTRY:
        return chemistry_task(name)
    try:
        return make_design_task(name)
    except ImportError:
        return None


class Table:
    """What an optimiser sees of a task, and how its proposals are judged."""

    def __init__(self, task, seed, n_designs=N_DESIGNS):
        self.task = task
        has_table = task.y_min_ is not None
        if has_table:  # as many rows as there are
            known = len(make_offline_design(task, quantile=1.0)[1])
            n_designs = None if n_designs is None else min(n_designs, known)
        self.X, self.y, self.bounds = make_offline_design(
            task, n_designs, random_state=seed
        )
        span = task.y_max_ - task.y_min_
        self.best_row = (self.y.max() - task.y_min_) / span

    @property
    def space(self):
        """Parameters that tell an `OfflineOptimizer` what may be proposed."""
        told = {} if self.bounds is None else {"bounds": self.bounds}
        if self.task.categories:
            told["categories"] = list(self.task.categories)
        if self.task.integers:
            told["integers"] = list(self.task.integers)
        return told

    def judge(self, designs):
        """Return the measures of proposals: percentiles of their true scores."""
        scores = self.task.normalized_score(designs)
        return {
            "100th": float(scores.max()),
            "80th": float(np.percentile(scores, 80)),
            "50th": float(np.median(scores)),
            "best row": float(self.best_row),
        }


# --- fits that are stored -----------------------------------------------------------
def stored_fits(method):
    """Return what former runs have stored: (recipe, data, name, seed) to measures."""
    path = RESULTS / f"{method}.json"
    found = {}
    if not path.exists():
        return found
    for r in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        for entry in [r["ours"], *r["peers"]]:
            seconds, seeds = entry.get("cpu_draws", []), entry.get("seeds", [])
            for k, seed in enumerate(seeds if len(seconds) == len(seeds) else []):
                measures = {name: v[k] for name, v in entry["draws"].items()}
                key = r["recipe"], r["data"], entry["name"], seed
                found[key] = measures | {"CPU s": seconds[k]}
    return found


def go_on(jobs, fits, store, minutes=np.inf):
    """Run the jobs whose figures are not there, and store after each.

    Parameters
    ----------
    jobs : dict
        (recipe, data, name, seed) to a function that returns the figures, or None where
        the data is not installed.
    fits : dict
        As of `stored_fits`; it is added to.
    store : callable
        Writes the fits.
    minutes : float
        No job begins after so many.
    """
    began = time.perf_counter()
    for key, work in jobs.items():
        start = time.perf_counter()
        if key in fits or start - began > 60 * minutes:
            continue
        found = work()
        if found is not None:
            fits[key] = found
            print(*key, f"{time.perf_counter() - start:.1f} s", file=sys.stderr)
            store()
    store()


def entry_of(fits, recipe, data, name):
    """Return the entry of a name, or None if it was not run."""
    seeds = sorted(s for r, d, n, s in fits if (r, d, n) == (recipe, data, name))
    if not seeds:
        return None
    runs = [fits[recipe, data, name, seed] for seed in seeds]
    entry = {"name": name, "measures": {}, "draws": {}, "seeds": seeds}
    for label in runs[0]:
        if label != "CPU s" and all(label in run for run in runs):
            add_measure(entry, label, [run[label] for run in runs])
    entry["cpu_draws"] = [mean(run["CPU s"]) for run in runs]
    entry["cpu_seconds"] = mean(entry["cpu_draws"])
    if len(runs) > 1:
        error = np.std(entry["draws"]["100th"], ddof=1) / np.sqrt(len(runs))
        entry["measures"]["s.e."] = mean(error)
    return entry


def compared(differences):
    """Return mean, standard error and p-value of paired differences."""
    differences = np.asarray(differences, dtype=float)
    n = len(differences)
    error = differences.std(ddof=1) / np.sqrt(n) if n > 1 else 0.0
    p = ttest_1samp(differences, 0.0).pvalue if n > 1 and error > 0 else 1.0
    return float(differences.mean()), float(error), float(p)


def row_of(fits, recipe, data, name, n_rows, base=None):
    """Return the row of a name, beside the gain over a base name, or None if not run.

    Parameters
    ----------
    fits : dict
        As of `stored_fits`.
    recipe, data, name : str
        Of the fits.
    n_rows : callable
        Returns the number of rows of the table.
    base : str, default=None
        What it is compared with, seed by seed.
    """
    entry = entry_of(fits, recipe, data, name)
    if entry is None:
        return None
    pairs = [
        best - fits[recipe, data, base, seed]["100th"]
        for seed, best in zip(entry["seeds"], entry["draws"]["100th"], strict=True)
        if (recipe, data, base, seed) in fits
    ]
    drawn = entry["draws"]
    beaten = np.greater_equal(drawn["100th"], drawn["best row"])
    entry["measures"]["beaten"] = mean(beaten)
    if base and base != name and pairs:
        gain, _, p = compared(pairs)
        entry["measures"]["gain"] = mean(gain)
        if len(pairs) > 1:
            entry["measures"]["p"] = mean(p)
    return row(recipe, data, entry["seeds"], entry, n_samples=n_rows())
