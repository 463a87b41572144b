# SPDX-License-Identifier: BSD-3-Clause
"""What the reproductions share: draws, CPU seconds, peers, the table and its file.

A reproduction is a list of rows. A row is one setting (data, seeds) with the figures of
the publication (or none), of our learner and of its peers; each of these entries is a
name, its mean measures over the draws, the measures of every draw and the CPU seconds
of one fit. `main` prints the rows as one table and stores them, with the environment,
as ``asv_bench/results/<method>.json``, of which the documentation is built.

CPU seconds are `time.process_time` with one thread, after one untimed run; the median
of five runs where a run takes less than a second.
"""

import argparse
import datetime
import json
import operator
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from skpapers.datasets import make_linear_sem
from skpapers.metrics import (
    cpdag_structural_hamming_distance,
    dag_to_cpdag,
    structural_hamming_distance,
    structural_intervention_distance,
    threshold_to_dag,
)
from skpapers.utils import DataConditionWarning

SCHEMA = 1
ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "asv_bench" / "results"
PEER_PYTHON = ROOT / ".venv-bench-causal" / "bin" / "python"
SETTINGS = {
    "EV": {"weight_range": (0.5, 2.0), "noise_variance": 1.0},
    "NV": {"weight_range": (0.25, 1.0), "noise_variance": (0.5, 10.0)},
}
MEASURES = {
    "SHD": structural_hamming_distance,
    "SHD-C": cpdag_structural_hamming_distance,
    "SID": structural_intervention_distance,
    "edges": lambda true, est: np.count_nonzero(est),
}
RELATIONS = {"<=": operator.le, ">=": operator.ge}
OWN_PACKAGES = ("skpapers", "numpy", "scipy", "scikit-learn", "numba")
SHORT = 1.0  # CPU seconds below which a run is repeated
REPEATS = 5
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA")


def draw(setting, n_features, seed, n_samples=1000, **options):
    """Return a table and the true weights of the setting "EV" or "NV"."""
    sem = make_linear_sem(
        n_samples, n_features, random_state=seed, **SETTINGS[setting] | options
    )
    return sem.X, sem.W


def describe(setting, n_features, graph="ER4"):
    """Return the words for a draw."""
    variances = {"EV": "equal variances", "NV": "unequal variances"}[setting]
    return f"{graph}, {variances}, d = {n_features}"


# --- running ------------------------------------------------------------------------
_warm = set()


def timed(function, key=None):
    """Return the result of ``function()`` and its CPU seconds.

    The first call with a `key` is preceded by an untimed one (compilation, caches).
    """
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", DataConditionWarning)
        if key is not None and key not in _warm:
            function()
            _warm.add(key)
        seconds = []
        while True:
            start = time.process_time()
            result = function()
            seconds.append(time.process_time() - start)
            if sum(seconds) > SHORT or len(seconds) == REPEATS:
                return result, float(np.median(seconds))


def run_ours(name, make_estimator, draws, measures=("SHD",), extra=None):
    """Fit an estimator to every draw and return its entry.

    Parameters
    ----------
    name : str
        What the table calls it.
    make_estimator : callable
        Returns an unfitted estimator.
    draws : list of (ndarray, ndarray)
        Tables and true graphs.
    measures : sequence of str
        Which of `MEASURES` to take.
    extra : dict of str to callable, default=None
        Further measures, computed from the fitted estimator.
    """
    fitted, seconds = [], []
    for X, _ in draws:
        model, cpu = timed(lambda X=X: make_estimator().fit(X), key=name)
        fitted.append(model)
        seconds.append(cpu)
    entry = as_entry(name, [m.adjacency_ for m in fitted], draws, seconds, measures)
    for label, function in (extra or {}).items():
        add_measure(entry, label, [function(model) for model in fitted])
    return entry


def run_function(name, function, draws, measures=("SHD",), warm_up=False):
    """Like `run_ours` for a function from a table to an adjacency matrix."""
    graphs, seconds = [], []
    for X, _ in draws:
        graph, cpu = timed(lambda X=X: function(X), key=name if warm_up else None)
        graphs.append(graph)
        seconds.append(cpu)
    return as_entry(name, graphs, draws, seconds, measures)


def run_peer(peer, draws, measures=("SHD",), name=None, **parameters):
    """Run a peer in its own environment; a list with its entry, empty without it.

    A peer that answers with a CPDAG has no other measure than SHD-C.
    """
    if not PEER_PYTHON.exists():
        return []
    answer = call_peer(peer, [X for X, _ in draws], parameters)
    name = f"{name or peer} ({answer['version']})"
    if answer["is_cpdag"]:
        entry = {"name": name, "measures": {}, "draws": {}}
        distances = [
            structural_hamming_distance(dag_to_cpdag(W), A != 0)
            for (_, W), A in zip(draws, answer["graphs"], strict=True)
        ]
        entry["cpu_seconds"] = mean(answer["cpu_seconds"])
        return [add_measure(entry, "SHD-C", distances)]
    graphs = answer["graphs"]
    return [as_entry(name, graphs, draws, answer["cpu_seconds"], measures)]


def call_peer(peer, tables, parameters=None, cpu_limit=0):
    """Run ``_peers.py`` on tables in the peers' environment.

    A fit that needs more than `cpu_limit` CPU seconds (0: no limit) ends the run; the
    answer then holds the graphs of the tables before it.
    """
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder, "in.npz"), Path(folder, "out.npz")
        arrays = {f"X{k}": X for k, X in enumerate(tables)}
        words = json.dumps(parameters or {})
        np.savez(question, parameters=words, cpu_limit=cpu_limit, **arrays)
        script = Path(__file__).with_name("_peers.py")
        done = subprocess.run(
            [PEER_PYTHON, script, peer, question, answer],
            env=os.environ | {f"{name}_NUM_THREADS": "1" for name in THREADS},
            capture_output=True,
            text=True,
        )
        if done.returncode not in (0, -signal.SIGXCPU):
            raise RuntimeError(
                f"The peer {peer} failed ({done.returncode}): {done.stderr[-2000:]}"
            )
        with np.load(answer) as result:
            return {
                "graphs": [result[f"A{k}"] for k in range(len(result["cpu_seconds"]))],
                "cpu_seconds": result["cpu_seconds"].tolist(),
                "version": str(result["version"]),
                "is_cpdag": bool(result["is_cpdag"]),
            }


# --- entries, rows, targets ---------------------------------------------------------
def mean(values):
    """Mean with four significant digits."""
    return float(f"{np.mean(values):.4g}")


def add_measure(entry, label, values):
    """Add the values of a measure, one a draw, to an entry."""
    entry["draws"][label] = [float(f"{value:.6g}") for value in values]
    entry["measures"][label] = mean(values)
    return entry


def as_entry(name, graphs, draws, cpu_seconds, measures):
    """Return the entry of a learner from its graphs."""
    entry = {"name": name, "measures": {}, "draws": {}}
    acyclic = [threshold_to_dag(graph, threshold=0.0)[0] for graph in graphs]
    truths = [truth for _, truth in draws]
    for label in measures:
        add_measure(entry, label, list(map(MEASURES[label], truths, acyclic)))
    entry["cpu_seconds"] = mean(cpu_seconds)
    return entry


def target(measure, relation, limit, value):
    """Return a target and whether it is met."""
    met = bool(RELATIONS[relation](value, limit))
    value = float(f"{value:.4g}")
    return {
        "measure": measure,
        "relation": relation,
        "limit": limit,
        "value": value,
        "met": met,
    }


def row(recipe, data, seeds, ours, peers=(), *, paper=None, n_samples=1000, goals=()):
    """Return one row of the table.

    Parameters
    ----------
    recipe : str
        Short name of the experiment.
    data : str
        What was drawn or loaded.
    seeds : sequence of int
        Seeds of the draws; empty for real data.
    ours : dict
        Entry of our learner.
    peers : sequence of dict
        Entries of others.
    paper : dict, default=None
        ``{"measures": {...}, "source": ...}`` or None if nothing was published.
    n_samples : int
        Rows of each table.
    goals : sequence of dict
        Targets.
    """
    return {
        "recipe": recipe,
        "data": data,
        "n_samples": n_samples,
        "seeds": list(seeds),
        "paper": paper,
        "ours": ours,
        "peers": list(peers),
        "targets": list(goals),
        "date": datetime.date.today().isoformat(),
    }


# --- table and file -----------------------------------------------------------------
def environment():
    """Return versions, machine and date."""
    versions = {}
    for package in (*OWN_PACKAGES, *(["torch"] if "torch" in sys.modules else [])):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "packages": versions,
        "cpu": cpu_model(),
        "threads": 1,
        "date": datetime.date.today().isoformat(),
    }


def cpu_model():
    """Return the name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def seed_words(seeds):
    """Return ``1-10`` for consecutive seeds."""
    if not seeds:
        return "–"
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)


def number_words(value):
    """Return a figure as short text."""
    return "–" if value is None else f"{value:.4g}"


def lines_of(row):
    """Yield the printed lines of a row: who, name, measures, CPU seconds."""
    if row["paper"]:
        yield "paper", row["paper"]["source"], row["paper"]["measures"], None
    ours = row["ours"]
    yield "ours", ours["name"], ours["measures"], ours["cpu_seconds"]
    for peer in row["peers"]:
        yield "peer", peer["name"], peer["measures"], peer["cpu_seconds"]


def measures_of(rows):
    """Return all measures of rows, in order of appearance."""
    entries = [measures for r in rows for _, _, measures, _ in lines_of(r)]
    return list(dict.fromkeys(label for measures in entries for label in measures))


def format_table(report):
    """Return the table as text."""
    labels = measures_of(report["rows"])
    head = ["", "data", "seeds", "who", "learner", *labels, "CPU s"]
    body = []
    for r in report["rows"]:
        first = [r["recipe"], r["data"], seed_words(r["seeds"])]
        for who, name, measures, seconds in lines_of(r):
            cells = [number_words(measures.get(label)) for label in labels]
            body.append([*first, who, name, *cells, number_words(seconds)])
            first = ["", "", ""]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    text = [
        "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip()
        for cells in [head, ["-" * w for w in widths], *body]
    ]
    for r in report["rows"]:
        for t in r["targets"]:
            verdict = "met" if t["met"] else "MISSED"
            text.append(
                f"target {r['recipe']}, {r['data']}: {t['measure']} "
                f"{number_words(t['value'])} {t['relation']} {t['limit']}: {verdict}"
            )
    return "\n".join(text)


def check_report(report):
    """Raise a ValueError if a report does not keep to the schema."""
    required = {"schema", "method", "title", "reference", "estimators", "quick"}
    _require(report, required | {"environment", "rows"}, "report")
    _require(report["environment"], {"python", "packages", "cpu", "date"}, "env")
    if report["schema"] != SCHEMA or not report["rows"]:
        raise ValueError(f"schema must be {SCHEMA} and rows must not be empty.")
    for r in report["rows"]:
        _require(r, {"recipe", "data", "n_samples", "seeds", "targets", "date"}, "row")
        _require(r, {"paper", "ours", "peers"}, "row")
        for entry in [r["ours"], *r["peers"]]:
            _require(entry, {"name", "measures", "draws", "cpu_seconds"}, "entry")
            for label, values in entry["draws"].items():
                if not np.isclose(np.mean(values), entry["measures"][label], rtol=1e-3):
                    raise ValueError(f"{entry['name']}: {label} is not the mean.")
        if r["paper"] is not None:
            _require(r["paper"], {"measures", "source"}, "paper")
        for t in r["targets"]:
            _require(t, {"measure", "relation", "limit", "value", "met"}, "target")


def _require(mapping, keys, where):
    missing = keys - set(mapping)
    if missing:
        raise ValueError(f"{where} lacks {sorted(missing)}.")


def save(report, path):
    """Write a report, whole or not at all."""
    check_report(report)
    temporary = path.with_suffix(".part")
    text = json.dumps(report, indent=1, ensure_ascii=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def main(
    method, title, reference, estimators, recipes, arguments=None, *, part="recipe"
):
    """Run recipes, print their table and store it.

    Parameters
    ----------
    method : str
        Name of the script and of the file of results.
    title : str
        Heading of the table.
    reference : dict
        ``{"text": ..., "url": ...}`` of the publication.
    estimators : list of str
        Dotted names of the public names that are shown.
    recipes : dict of str to callable
        Each takes ``quick`` and returns rows.
    arguments : list of str, default=None
        Command line.
    part : str, default="recipe"
        Entry of a row that tells which of the recipes it comes from.

    Returns
    -------
    dict
        The report.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument(
        "--quick", action="store_true", help="reduced sizes, no peers, nothing stored"
    )
    parser.add_argument(
        "--only", nargs="+", choices=sorted(recipes), help="replace these recipes"
    )
    options = parser.parse_args(arguments)
    path = RESULTS / f"{method}.json"
    if not options.quick and not PEER_PYTHON.exists():
        print("No peers: make bench-causal-env builds their environment.", flush=True)
    rows = {name: [] for name in recipes}
    if options.only and path.exists():
        for r in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            rows[r[part]].append(r)
    for name in options.only or recipes:
        start = time.perf_counter()
        rows[name] = recipes[name](options.quick)
        if not options.quick:
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    report = {
        "schema": SCHEMA,
        "method": method,
        "title": title,
        "reference": reference,
        "estimators": estimators,
        "quick": options.quick,
        "environment": environment(),
        "rows": [r for name in recipes for r in rows[name]],
    }
    print(format_table(report))
    if options.quick:
        check_report(report)
    else:
        save(report, path)
    return report
