# SPDX-License-Identifier: BSD-3-Clause
"""All learners of linear graphs beside their peers, on six kinds of tables.

A cell is a learner on a kind of table with d columns, five draws. The seeds were used
for nothing else. A cell that needs more than 120 CPU seconds keeps the draws that tell
so and is not completed, and the cells of more columns are not begun; nor is a cell
whose time, extrapolated from two smaller sizes of the same kind, is beyond twice that.
A fit that alone needs so much is ended.

Learners that answer with a CPDAG (FLOP, BOSS) are judged by SHD-C; their SHD and SID
are those of one graph of the class, as they are for ``TopologicalSwap("bic")``, whose
`adjacency_` is such a graph.

The run begins with the cheapest cells, stores every fit and goes on where it was ended;
``--again NAME ...`` forgets the fits of these learners first; ``--only NAME ...`` and
``--sizes D ...`` run some cells alone and leave the others as they are stored.
"""

import argparse
import math
import multiprocessing
import resource
import sys
import time
import warnings

import numpy as np
from _common import (
    PEER_PYTHON,
    RESULTS,
    SCHEMA,
    add_measure,
    call_peer,
    describe,
    draw,
    environment,
    format_table,
    json,
    main,
    mean,
    row,
    save,
)
from threadpoolctl import threadpool_limits

from skpapers.causal import CoLiDE, SortRegress, TopologicalSwap
from skpapers.metrics import (
    cpdag_to_dag,
    dag_to_cpdag,
    structural_hamming_distance,
    structural_intervention_distance,
    threshold_to_dag,
)

LIMIT = 120  # CPU seconds of a cell, all draws together
HOPELESS = 2 * LIMIT  # not begun if that much is expected
SIZES = (20, 50, 100, 200)
SEEDS = (101, 102, 103, 104, 105)
SHORT = 0.1  # CPU seconds of a fit below which it is repeated
CHEAP = 3.0  # CPU seconds of a fit up to which all seeds are run before dear cells
BATCH = 60.0  # CPU seconds that are expected of one run before its fits are stored
FIRST = {"GOLEM-EV": 30.0}  # expected before anything was run; else cheap
OVER = f"> {LIMIT} CPU s"
EXPECTED = f"expected > {LIMIT} CPU s"
NOT_RUN = "not run"
EMPTY = "no edges"

KINDS = {  # setting, options of the draw, whether the columns are standardised
    "EV": ("EV", {}, False),
    "NV": ("NV", {}, False),
    "NV standardised": ("NV", {}, True),
    "EV exponential": ("EV", {"noise": "exponential"}, False),
    "NV Gumbel": ("NV", {"noise": "gumbel"}, False),
    "EV scale-free": ("EV", {"graph": "sf"}, False),
}
OWN = {
    "TopologicalSwap('auto')": lambda: TopologicalSwap("auto", random_state=0),
    "TopologicalSwap('squared')": lambda: TopologicalSwap("squared"),
    "TopologicalSwap('bic')": lambda: TopologicalSwap("bic", random_state=0),
    "CoLiDE('equal')": lambda: CoLiDE("equal"),
    "CoLiDE('nonequal')": lambda: CoLiDE("nonequal"),
    "SortRegress('variance')": lambda: SortRegress("variance"),
    "SortRegress('r2')": lambda: SortRegress("r2"),
}
PEERS = {
    "FLOP": ("flop", {"restarts": 20}),
    "BOSS": ("boss", {}),
    "DAGMA": ("dagma", {}),
    "GOLEM-EV": ("golem", {}),
    "DirectLiNGAM": ("direct_lingam", {}),
}


def tables(kind, d, seeds):
    """Return the tables of a kind and their true weights."""
    setting, options, standardised = KINDS[kind]
    draws = [draw(setting, d, seed, **options) for seed in seeds]
    if standardised:
        draws = [(X / X.std(axis=0), W) for X, W in draws]
    return draws


def words(kind, d):
    """Return a kind in words."""
    setting, options, standardised = KINDS[kind]
    graph = "SF4" if options.get("graph") == "sf" else "ER4"
    noise = options.get("noise")
    more = [f"{noise} noise" if noise else "", "standardised" if standardised else ""]
    return ", ".join(filter(None, [describe(setting, d, graph), *more]))


# --- one cell -----------------------------------------------------------------------
def figures(truth, graph, seconds, *, is_cpdag=False):
    """Return the measures of one fit."""
    if is_cpdag:
        cpdag, dag = graph != 0, cpdag_to_dag((graph != 0).astype(int))
    else:
        dag = threshold_to_dag(graph, threshold=0.0)[0]
        cpdag = dag_to_cpdag(dag)
    return {
        "SHD": structural_hamming_distance(truth, dag),
        "SHD-C": structural_hamming_distance(dag_to_cpdag(truth), cpdag),
        "SID": structural_intervention_distance(truth, dag),
        "CPU s": seconds,
    }


def fit_timed(make, X):
    """Return the fitted learner and the CPU seconds of a fit.

    Short fits are repeated, since the clock may tick in steps of 4 ms.
    """
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")
        n_runs, start = 0, time.process_time()
        while not n_runs or time.process_time() - start < SHORT:
            model = make().fit(X)
            n_runs += 1
        return model, (time.process_time() - start) / n_runs


def compile_own(make, X):
    """Fit once before processes are forked, which then share the compiled code."""
    fit_timed(make, X)


def answer_of(make, X, channel):
    """Fit in a process of its own that the system ends at the limit."""
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 5))
    model, seconds = fit_timed(make, X)
    channel.send((model.adjacency_, seconds))


def fit_own(name, draws):
    """Return the figures of our learner for the draws that it ends in time."""
    make, found = OWN[name], []
    compile_own(make, draws[0][0][:, :4])
    context = multiprocessing.get_context("fork")
    for X, truth in draws:
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=answer_of, args=(make, X, sender))
        child.start()
        sender.close()
        try:
            graph, seconds = receiver.recv()
        except EOFError:
            child.join()
            if child.exitcode > 0:
                raise RuntimeError(f"{name} failed") from None
            return found
        child.join()
        found.append(figures(truth, graph, seconds))
    return found


def fit_peer(name, draws):
    """Return the figures of a peer for the draws that it ends in time, and a label."""
    peer, parameters = PEERS[name]
    answer = call_peer(peer, [X for X, _ in draws], parameters, LIMIT)
    found = [
        figures(truth, graph, seconds, is_cpdag=answer["is_cpdag"])
        for (_, truth), graph, seconds in zip(
            draws, answer["graphs"], answer["cpu_seconds"], strict=False
        )
    ]
    return found, f"{name} ({answer['version']})"


class Cell:
    """The fits of one learner to one kind of tables of one size."""

    def __init__(self, kind, d, name):
        self.kind, self.d, self.name = kind, d, name
        self.label, self.note, self.fits = name, None, {}

    @property
    def missing(self):
        """Seeds that are not fitted."""
        return [] if self.note else [s for s in SEEDS if s not in self.fits]

    @property
    def seconds(self):
        """Mean CPU seconds of the fits."""
        return float(np.mean([fit["CPU s"] for fit in self.fits.values()]))

    def entry(self):
        """Return the entry of the table."""
        entry = {"name": self.label, "measures": {}, "draws": {}, "cpu_seconds": None}
        entry["seeds"] = sorted(self.fits)
        entry["note"] = self.note or (NOT_RUN if self.missing else None)
        fits = [self.fits[seed] for seed in entry["seeds"]]
        if fits:
            for label in ("SHD", "SHD-C", "SID"):
                add_measure(entry, label, [fit[label] for fit in fits])
            entry["cpu_draws"] = [mean(fit["CPU s"]) for fit in fits]
            entry["cpu_seconds"] = mean(entry["cpu_draws"])
        return entry

    def restore(self, entry):
        """Take over the fits of a stored entry."""
        self.label = entry["name"]
        self.note = OVER if entry["note"] == OVER else None
        columns = entry["draws"] | {"CPU s": entry.get("cpu_draws", [])}
        for k, seed in enumerate(entry["seeds"]):
            self.fits[seed] = {label: values[k] for label, values in columns.items()}


# --- all cells ----------------------------------------------------------------------
def stored_cells(path, again=()):
    """Return all cells with what a former run has stored."""
    cells = {
        (kind, d, name): Cell(kind, d, name)
        for d in SIZES
        for kind in KINDS
        for name in (*OWN, *PEERS)
    }
    if path.exists():
        for r in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            for entry in [r["ours"], *r["peers"]]:
                name = entry["name"].partition(" (")[0]
                cell = cells.get((r["recipe"], r["n_features"], name))
                if cell and name not in again:
                    cell.restore(entry)
    return cells


def expected(cells, cell):
    """Return the CPU seconds that a fit should need, from the learner's other cells."""
    if cell.fits:
        return cell.seconds
    if any(cells[cell.kind, d, cell.name].note for d in SIZES if d < cell.d):
        return math.inf
    beside = mean_seconds(cells, cell.name, cell.d, KINDS)
    for kinds in ([cell.kind], KINDS):
        times = {d: mean_seconds(cells, cell.name, d, kinds) for d in SIZES}
        known = [(d, times[d]) for d in SIZES if d < cell.d and times[d]]
        if known:
            return extrapolate(known, cell.d)
        if beside:
            return beside
    return FIRST.get(cell.name, 0.0)


def is_judged(cells, cell):
    """Return whether the times of smaller sizes settle what to expect of a cell.

    A smaller one that is a dash does; else a power law needs two that were run.
    """
    smaller = [cells[cell.kind, d, cell.name] for d in SIZES if d < cell.d]
    return any(c.note for c in smaller) or sum(bool(c.fits) for c in smaller) >= 2


def mean_seconds(cells, name, d, kinds):
    """Return the mean CPU seconds of a learner's fits, None without any."""
    fitted = [cells[k, d, name].seconds for k in kinds if cells[k, d, name].fits]
    return float(np.mean(fitted)) if fitted else None


def extrapolate(known, d):
    """Return the CPU seconds at a size, by the power law of the last two known ones."""
    power = 3.0
    if len(known) > 1:
        (d0, s0), (d1, s1) = known[-2:]
        power = np.clip(math.log(s1 / s0) / math.log(d1 / d0), 1.0, 4.0)
    last, seconds = known[-1]
    return seconds * (d / last) ** power


def next_run(cells, names=(*OWN, *PEERS), sizes=SIZES):
    """Return what to run next: pairs of a cell and a seed, of one learner and size.

    The cheapest cells come first, as many in one run as fit into `BATCH`; of dear ones
    first one seed each. Cells of other names or sizes are judged but not run.
    """
    waiting = []
    for k, cell in enumerate(cells.values()):
        if not cell.missing:
            continue
        cost = expected(cells, cell)
        total = cost * len(SEEDS)
        if cell.fits and total > LIMIT:
            cell.note = OVER
            continue
        if total > HOPELESS and is_judged(cells, cell):
            cell.note = EXPECTED
            continue
        if cell.name not in names or cell.d not in sizes:
            continue
        seeds = cell.missing if cost <= CHEAP else cell.missing[:1]
        rank = 0 if cost <= CHEAP else 1 + len(cell.fits)
        waiting += [(rank, cost, k, cell, seed) for seed in seeds]
    waiting.sort(key=lambda item: item[:3])
    pairs, total = [], 0.0
    for _, cost, _, cell, seed in waiting:
        first = pairs[0][0] if pairs else cell
        if (cell.name, cell.d) == (first.name, first.d) and total + cost <= BATCH:
            pairs.append((cell, seed))
            total += cost
        elif not pairs:
            return [(cell, seed)]
    return pairs


def run_pairs(pairs):
    """Fit one learner to the draws of these cells and seeds."""
    name = pairs[0][0].name
    draws = [tables(cell.kind, cell.d, [seed])[0] for cell, seed in pairs]
    if name in OWN:
        found, label = fit_own(name, draws), name
    else:
        found, label = fit_peer(name, draws)
    for (cell, seed), fit in zip(pairs, found, strict=False):
        cell.fits[seed], cell.label = fit, label
    if len(found) < len(pairs):
        pairs[len(found)][0].note = OVER


def rows_of(cells):
    """Return the rows: of each kind and size the graph without edges, then learners."""
    rows = []
    for d in SIZES:
        for kind in KINDS:
            entries = [cells[kind, d, name].entry() for name in OWN]
            peers = [cells[kind, d, name].entry() for name in PEERS]
            entries.insert(0, blank_entry(kind, d))
            for k, entry in enumerate(entries):
                last = k == len(entries) - 1
                r = row(kind, words(kind, d), SEEDS, entry, peers if last else ())
                rows.append(r | {"n_features": d})
    return rows


_blank = {}


def blank_entry(kind, d):
    """Return the entry of the graph without edges."""
    if (kind, d) not in _blank:
        cell = Cell(kind, d, EMPTY)
        for seed, (_, W) in zip(SEEDS, tables(kind, d, SEEDS), strict=True):
            cell.fits[seed] = figures(W, np.zeros_like(W), 0.0)
        _blank[kind, d] = cell.entry() | {"cpu_draws": [], "cpu_seconds": 0.0}
    return _blank[kind, d]


TITLE = {
    "title": "All learners",
    "reference": {
        "text": "A. G. Reisach, C. Seiler and S. Weichwald, NeurIPS 2021 (the warning)",
        "url": "https://arxiv.org/abs/2102.13647",
    },
    "estimators": [
        "skpapers.causal.CoLiDE",
        "skpapers.causal.TopologicalSwap",
        "skpapers.causal.SortRegress",
    ],
}


def report_of(cells):
    """Return the report as it stands."""
    about = {"schema": SCHEMA, "method": "learners", **TITLE, "quick": False}
    return about | {"environment": environment(), "rows": rows_of(cells)}


def small(kind):
    """Return the rows of the reduced run: our learners on one small table."""
    d, rows = 6, []
    draws = tables(kind, d, [1])
    for name, make in OWN.items():
        model, seconds = fit_timed(make, draws[0][0])
        cell = Cell(kind, d, name)
        cell.fits[1] = figures(draws[0][1], model.adjacency_, seconds)
        rows.append(row(kind, words(kind, d), [1], cell.entry()))
    return rows


def run(arguments=None):
    """Run the comparison, or go on with it."""
    parser = argparse.ArgumentParser(description=TITLE["title"])
    parser.add_argument("--quick", action="store_true", help="small, nothing stored")
    parser.add_argument("--again", nargs="+", default=(), help="learners to run anew")
    parser.add_argument("--only", nargs="+", default=(*OWN, *PEERS), help="learners")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="columns")
    options = parser.parse_args(arguments)
    if options.quick:
        recipes = {kind: lambda quick, kind=kind: small(kind) for kind in KINDS}
        return main("learners", *TITLE.values(), recipes, ["--quick"])
    if not PEER_PYTHON.exists():
        raise SystemExit("No peers: make bench-causal-env builds their environment.")
    path = RESULTS / "learners.json"
    cells = stored_cells(path, options.again)
    while pairs := next_run(cells, options.only, options.sizes):
        start = time.perf_counter()
        run_pairs(pairs)
        save(report_of(cells), path)
        names = ", ".join(dict.fromkeys(cell.kind for cell, _ in pairs))
        took = f"{len(pairs)} fits, {time.perf_counter() - start:.0f} s"
        print(pairs[0][0].name, pairs[0][0].d, names, took, file=sys.stderr)
    report = report_of(cells)
    save(report, path)
    print(format_table(report))
    return report


if __name__ == "__main__":
    run()
