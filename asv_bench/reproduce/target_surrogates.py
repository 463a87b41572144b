# SPDX-License-Identifier: BSD-3-Clause
"""Target surrogates: loss against evaluations of the loss, and seconds.

Full batch and mini-batches on logistic regression, imitation of an expert in linear
systems, and a ranking loss over all pairs of rows. "ill" is a simulated table whose
columns have scales from 1 to 100. Nothing is published in figures, so that the lines to
compare with are those of the peers, run on the same data.
"""

import time
from contextlib import suppress

import numpy as np
from _common import add_measure, main, mean, row, target, timed
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skpapers.policy import LinearSystem, OnlineImitationLearner
from skpapers.solvers import minimize_target_surrogate
from skpapers.solvers._target_surrogate._losses import LogLoss, PairwiseLoss

ALL = slice(None)
SOURCE = {
    "text": "J. W. Lavington, S. Vaswani, R. Babanezhad, M. Schmidt and N. Le Roux, "
    "ICML 2023",
    "url": "https://arxiv.org/abs/2302.02607",
}


def entry(name, seconds, **measures):
    """Return an entry; measures are lists with a value a draw."""
    result = {"name": name, "measures": {}, "draws": {}}
    for label, values in measures.items():
        add_measure(result, label.replace("_", " "), values)
    return result | {"cpu_seconds": mean(seconds)}


def classification_table(name):
    """Return X with a column of ones, and y of 0 and 1."""
    if name == "ill":
        X, y = make_classification(
            5000, 50, n_informative=30, flip_y=0.05, random_state=0
        )
        X = X * np.logspace(0, 2, 50)
        return np.c_[X / np.abs(X).max(), np.ones(len(X))], y
    X, y = (load_digits if name == "digits" else load_breast_cancer)(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return np.c_[X, np.ones(len(X))], y % 2


WORDS = {
    "ill": "simulated, columns of unlike scales",
    "digits": "digits, odd or even",
    "breast_cancer": "breast cancer",
}


# --- 1: all rows --------------------------------------------------------------------
def gradient_descent(X, loss, n_calls, armijo):
    """Return the parameters after gradient steps, by 1/L or with Armijo's rule."""
    w = np.zeros(X.shape[1])
    step = 4 / np.linalg.eigvalsh(X.T @ X / len(X))[-1]
    for _ in range(n_calls):
        value, slope = loss(X @ w, ALL)
        gradient = X.T @ slope
        if armijo:
            step *= 2
            square = gradient @ gradient
            while loss.value(X @ (w - step * gradient), ALL) > (
                value - 0.1 * step * square
            ):
                step *= 0.9
        w = w - step * gradient
    return w


def lbfgs(X, loss, n_calls):
    """Return the parameters of the last of n calls of L-BFGS."""
    calls = []

    def both(w):
        if len(calls) == n_calls:
            raise StopIteration
        value, slope = loss(X @ w, ALL)
        calls.append((value, w.copy()))
        return value, X.T @ slope

    options = {"maxiter": n_calls, "gtol": 0, "ftol": 0, "maxcor": 10}
    with suppress(StopIteration):
        start = np.zeros(X.shape[1])
        minimize(both, start, jac=True, method="L-BFGS-B", options=options)
    return min(calls, key=lambda call: call[0])[1]


def newton(X, y):
    """Return the parameters of scikit-learn's Newton method."""
    model = LogisticRegression(
        C=1e10, solver="newton-cholesky", fit_intercept=False, max_iter=100, tol=1e-10
    )
    return model.fit(X, y).coef_[0]


SURROGATES = {
    "eta=4, inner='armijo', n_inner=1": {"eta": 4.0, "inner": "armijo", "n_inner": 1},
    "eta=4, inner='armijo', n_inner=10": {"eta": 4.0, "inner": "armijo", "n_inner": 10},
    "eta=4, inner='armijo', n_inner=100": {
        "eta": 4.0,
        "inner": "armijo",
        "n_inner": 100,
    },
    "eta=4, inner='exact'": {"eta": 4.0, "inner": "exact"},
    "eta='armijo', inner='exact'": {"eta": "armijo", "inner": "exact"},
    "eta='adaptive', inner='exact'": {"eta": "adaptive", "inner": "exact"},
    "metric='secant', inner='exact'": {
        "eta": "adaptive",
        "metric": "secant",
        "inner": "exact",
    },
}
# Largest final losses that were asked for with the exact step.
EXACT = {"breast_cancer": 0.0562, "digits": 0.1665, "ill": 0.4779}


def all_rows(quick):
    """Return the rows of recipe 1: the loss after 100 gradients."""
    names = ("breast_cancer", "digits", "ill")
    n_calls = 12 if quick else 100
    return [r for name in names for r in one_table(name, n_calls, quick)]


def one_table(name, n_calls, quick):
    """Return the rows of one table."""
    X, y = classification_table(name)
    loss, data = LogLoss(y), f"{WORDS[name]}, {n_calls} gradients"
    peers, rows = [], []
    for label, function in {
        "gradient descent, step 1/L": lambda: gradient_descent(X, loss, n_calls, 0),
        "gradient descent, Armijo": lambda: gradient_descent(X, loss, n_calls, 1),
        "L-BFGS-B of scipy": lambda: lbfgs(X, loss, n_calls),
        "newton-cholesky of scikit-learn, to the end": lambda: newton(X, y),
    }.items():
        w, seconds = timed(function, key=(label, name))
        peers.append(entry(label, [seconds], loss=[loss.value(X @ w, ALL)]))
    for label, options in SURROGATES.items():

        def solve(options=options):
            return minimize_target_surrogate(
                X, loss, max_iter=n_calls, tol=0, **options
            )

        result, seconds = timed(solve, key=(label, name))
        path = np.append(result.fun_path, loss.value(X @ result.x, ALL))
        ours = entry(
            f"minimize_target_surrogate({label})",
            [seconds],
            loss=[path[-1]],
            steps_up=[int((np.diff(path) > 1e-14).sum())],
            value_calls=[result.n_value_calls],
        )
        goals = [] if quick or options["eta"] != 4.0 else goals_of(name, label, path)
        rows.append(
            row("1 all rows", data, [], ours, peers, n_samples=len(y), goals=goals)
        )
        peers = []
    return rows


def goals_of(name, label, path):
    """Return the targets of a run with eta = 1/L."""
    goals = [target(f"{label}: steps up", "<=", 0, (np.diff(path) > 1e-14).sum())]
    if "exact" in label:
        goals.append(target(f"{label}: loss", "<=", EXACT[name], path[-1]))
        if name == "ill":
            goals.append(target(f"{label}: loss at step 10", "<=", 0.47788, path[10]))
    return goals


# --- 2: batches ---------------------------------------------------------------------
def descend(X, loss, method, step, batch_size, n_steps, seed):
    """Return the parameters after steps of SGD or Adam on batches, 1/sqrt(t)."""
    rng, n = np.random.RandomState(seed), len(X)
    w = np.zeros(X.shape[1])
    first, second, order = np.zeros_like(w), np.zeros_like(w), []
    for t in range(1, n_steps + 1):
        if len(order) == 0:
            order = rng.permutation(n)
        rows, order = order[:batch_size], order[batch_size:]
        gradient = X[rows].T @ loss(X[rows] @ w, rows)[1]
        if method == "adam":
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            scale = np.sqrt(second / (1 - 0.999**t)) + 1e-8
            gradient = first / (1 - 0.9**t) / scale
        w = w - step / np.sqrt(t) * gradient
    return w


def best_of(name, run, grid, X, loss, seeds):
    """Return the entry of the step with the lowest mean loss over the seeds."""
    found = []
    for step in grid:
        with np.errstate(all="ignore"):
            weights, seconds = zip(
                *[timed_once(run, step, seed) for seed in seeds], strict=True
            )
            losses = [loss.value(X @ w, ALL) for w in weights]
        if np.isfinite(losses).all():
            found.append((np.mean(losses), losses, seconds, step))
    _, losses, seconds, step = min(found)
    return entry(f"{name}, step {step:g}", seconds, loss=losses)


def timed_once(run, *arguments):
    """Return the result and the CPU seconds of one run."""
    start = time.process_time()
    return run(*arguments), time.process_time() - start


BATCHES = {"breast_cancer": (50, 200), "digits": (100, 300), "ill": (100, 500)}
# Largest losses that were asked for: best step, mean of two seeds.
ASKED = {
    "breast_cancer": {10: 0.053, 100: 0.050},
    "digits": {10: 0.1735},
    "ill": {10: 0.55, 100: 0.50, "exact": 0.483},
}


def batches(quick):
    """Return the rows of recipe 2: the loss on all rows after steps on batches."""
    return [r for name in BATCHES for r in one_table_in_batches(name, quick)]


def one_table_in_batches(name, quick):
    """Return the rows of one table."""
    X, y = classification_table(name)
    loss, seeds, rows = LogLoss(y), ([0] if quick else [0, 1]), []
    size, n_steps = BATCHES[name]
    n_steps = 20 if quick else n_steps

    def peer(method):
        return lambda step, seed: descend(X, loss, method, step, size, n_steps, seed)

    def surrogate(m):
        how = {"inner": "exact"} if m == "exact" else {"n_inner": m}
        how |= {"eta_schedule": "stochastic", "batch_size": size, "max_iter": n_steps}
        return lambda step, seed: (
            minimize_target_surrogate(X, loss, eta=step, random_state=seed, **how).x
        )

    largest = 4 / np.linalg.eigvalsh(X.T @ X / len(X))[-1]
    steps = [0.25, 1, 4, 16] if quick else [0.1, 0.3, 1, 3, 10, 30, 100]
    adam = [0.01, 0.1] if quick else [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]
    sgd = [largest * step for step in steps]
    peers = [
        best_of("SGD, 1/sqrt(t)", peer("sgd"), sgd, X, loss, seeds),
        best_of("Adam, 1/sqrt(t)", peer("adam"), adam, X, loss, seeds),
    ]
    for m in (1, 10, 100, "exact"):
        words = "inner='exact'" if m == "exact" else f"n_inner={m}"
        label = f"minimize_target_surrogate({words})"
        ours = best_of(label, surrogate(m), steps, X, loss, seeds)
        goals = []
        if m in ASKED[name] and not quick:
            value = ours["measures"]["loss"]
            goals = [target(f"{words}: loss", "<=", ASKED[name][m], value)]
        data = f"{WORDS[name]}, {n_steps} batches of {size}"
        how = {"n_samples": len(y), "goals": goals}
        rows.append(row("2 batches", data, seeds, ours, peers, **how))
        peers = []
    return rows


# --- 3: imitation -------------------------------------------------------------------
def imitation(quick):
    """Return the rows of recipe 3: distance to the expert over 50 rounds."""
    systems = range(2) if quick else range(5)
    n_rounds = 5 if quick else 50
    grid = [0.1, 0.5] if quick else [0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 1, 2]

    def play(name, **options):
        """Return the entry of the best step."""
        found = []
        for eta in grid if options.get("eta") is None else [options["eta"]]:
            try:
                with np.errstate(all="ignore"):
                    results = [
                        timed_once(one_run, seed, n_rounds, options | {"eta": eta})
                        for seed in systems
                    ]
            except ValueError:  # the policy diverged
                continue
            paths = np.array([path for path, _ in results])
            found.append((paths.mean(), paths, [s for _, s in results], eta))
        _, paths, seconds, eta = min(found, key=lambda item: item[0])
        words = f"{name}, step {eta:g}" if isinstance(eta, float | int) else name
        return entry(
            words,
            seconds,
            loss=paths.mean(axis=1).tolist(),
            last_10_rounds=paths[:, -10:].mean(axis=1).tolist(),
        )

    ogd = [
        play("online gradient descent", solver="ogd"),
        play(
            "online gradient descent, 1/sqrt(t)",
            solver="ogd",
            eta_schedule="stochastic",
        ),
    ]
    peers = [*ogd, play("AdaGrad", solver="adagrad")]
    peers.append(play("follow the leader", solver="follow_the_leader", eta=1.0))
    best = min(peer["measures"]["loss"] for peer in ogd)
    rows = []
    for m in (1, 10, 100, "exact"):
        how = {"inner_solver": "armijo", "n_inner": m}
        if m == "exact":
            how = {"inner_solver": "exact"}
        words = ", ".join(f"{key}={value!r}" for key, value in how.items())
        ours = play(f"OnlineImitationLearner({words})", **how)
        goals = []
        if m in (10, "exact") and not quick:
            ratio = best / ours["measures"]["loss"]
            goals = [target(f"{words}: times below gradient descent", ">=", 2, ratio)]
        rows.append(
            row(
                "3 imitation",
                f"linear systems, {n_rounds} rounds of 200 states",
                list(systems),
                ours,
                peers,
                n_samples=200 * n_rounds,
                goals=goals,
            )
        )
        peers = []
    return rows


def one_run(seed, n_rounds, options):
    """Return the losses of the rounds in one system."""
    learner = OnlineImitationLearner(
        LinearSystem(random_state=seed),
        n_rounds=n_rounds,
        random_state=1000 + seed,
        **options,
    )
    return [record["loss"] for record in learner.fit().history_]


# --- 4: a ranking loss --------------------------------------------------------------
L2, WITHIN, BUDGET = 1e-3, 1e-3, 100


class Ranking:
    """The pairwise loss of a training table, and where its minimum lies."""

    def __init__(self, X, y, standardise=True):
        scale = StandardScaler() if standardise else FunctionTransformer()
        X, self.X_new, y, self.y_new = train_test_split(
            X, y, stratify=y, random_state=0, test_size=0.3
        )
        self.X, self.y = scale.fit_transform(X), y
        self.X_new = scale.transform(self.X_new)
        self.loss = PairwiseLoss(y)
        best = self.minimum()
        self.best, self.lowest = self.auc(best), self.both(best)[0]

    def auc(self, w):
        """Return the area under the curve on the training rows."""
        return roc_auc_score(self.y, self.X @ w)

    def both(self, w):
        """Return objective and gradient."""
        value, slope = self.loss(self.X @ w, ALL)
        return value + 0.5 * L2 * w @ w, self.X.T @ slope + L2 * w

    def minimum(self):
        """Return the minimiser, to a gradient of 1e-7 for standardised columns."""
        result = minimize_target_surrogate(
            self.X,
            self.loss,
            metric="secant",
            l2=L2,
            max_iter=1000,
            tol=1e-7 * self.X.std(axis=0),
        )
        return result.x

    def by_lbfgs(self, budget=BUDGET, gtol=1e-5):
        """Return parameters and objective at every call of L-BFGS."""
        path = []

        def both(w):
            value, gradient = self.both(w)
            path.append((w.copy(), value))
            return value, gradient

        start = np.zeros(self.X.shape[1])
        options = {"maxfun": budget, "gtol": gtol, "ftol": 0}
        minimize(both, start, jac=True, method="L-BFGS-B", options=options)
        return path

    def by_descent(self, budget=BUDGET):
        """Return parameters and objective at every gradient of descent, 1/L."""
        w, path = np.zeros(self.X.shape[1]), []
        A = (self.X.T * self.loss.metric(ALL)) @ self.X / len(self.X)
        step = 1 / (0.5 * np.linalg.eigvalsh(A)[-1] + L2)
        for _ in range(budget):
            value, gradient = self.both(w)
            path.append((w, value))
            w = w - step * gradient
        return path

    def by_surrogates(self, budget=BUDGET, secant=False):
        """Return parameters and objective at every call, ours."""
        path = []
        minimize_target_surrogate(
            self.X,
            self.loss,
            metric="secant" if secant else self.loss.metric(ALL),
            eta="adaptive",
            l2=L2,
            max_iter=budget,
            tol=1e-5,
            callback=lambda intermediate_result: path.append(
                (intermediate_result.x, intermediate_result.fun)
            ),
        )
        return path

    def calls_to_the_bottom(self, path):
        """Return the calls to an objective of at most 1.001 times the minimum."""
        low = [value <= 1.001 * self.lowest for _, value in path]
        return int(np.argmax(low)) if any(low) else len(path)

    def calls_needed(self, path):
        """Return the calls after which the area stays near that at the minimum."""
        # the parameters at place k were found with the k calls before
        good = np.array([self.auc(w) >= self.best - WITHIN for w, _ in path])
        bad = np.flatnonzero(~good)
        return int(bad[-1]) + 1 if len(bad) else 0


def judge(name, problems, run):
    """Return an entry: calls and seconds to the area at the minimum."""
    calls, seconds, new, bottom = [], [], [], []
    for problem in problems:
        path = run(problem)
        needed = problem.calls_needed(path)
        calls.append(needed)
        bottom.append(problem.calls_to_the_bottom(path))
        w = path[min(needed, len(path) - 1)][0]
        new.append(roc_auc_score(problem.y_new, problem.X_new @ w))
        seconds.append(timed_once(run, problem, max(needed, 1))[1])
    more = {"calls_to_1.001_times_the_minimum": bottom}
    return entry(name, seconds, calls=calls, held_out_AUC=new, **more)


def ratios(ours, peers):
    """Return the targets of a run: fewer calls and less time than the peers."""
    goals = []
    for peer in peers:
        who = peer["name"].partition(",")[0]
        ratio = peer["measures"]["calls"] / ours["measures"]["calls"]
        goals.append(target(f"times fewer calls than {who}", ">=", 5, ratio))
        ratio = peer["cpu_seconds"] / ours["cpu_seconds"]
        goals.append(target(f"times faster than {who}", ">=", 1, ratio))
    return goals


def ranking(quick):
    """Return the rows of the ranking loss."""
    n, seeds = (600, [0]) if quick else (20000, [0, 1, 2])
    table = load_breast_cancer(return_X_y=True)
    cells = [
        ("breast cancer, standardised", [], [Ranking(*table)]),
        ("breast cancer, columns as they are", [], [Ranking(*table, False)]),
    ]
    problems = []
    for seed in seeds:
        X, y = make_classification(
            n,
            n_features=30,
            n_informative=15,
            n_redundant=5,
            weights=[0.95],
            flip_y=0.01,
            random_state=seed,
        )
        problems.append(Ranking(X, y))
    cells.append(("simulated, 5 % positive, standardised", seeds, problems))
    rows = []
    for data, used, tables in cells:
        peers = [
            judge("L-BFGS-B of scipy", tables, lambda p, n=BUDGET: p.by_lbfgs(n)),
            judge(
                f"gradient descent, step 1/L, at most {BUDGET}",
                tables,
                lambda p, n=BUDGET: p.by_descent(n),
            ),
        ]
        ours = judge(
            "minimize_target_surrogate(eta='adaptive')",
            tables,
            lambda p, n=BUDGET: p.by_surrogates(n),
        )
        learnt = judge(
            "minimize_target_surrogate(metric='secant')",
            tables,
            lambda p, n=BUDGET: p.by_surrogates(n, secant=True),
        )
        words = f"{data}: until the AUC is within 0.001 of that at the minimum"
        n = len(tables[0].y)
        rows += [
            row("4 ranking", words, used, entry, others, n_samples=n, goals=goals)
            for entry, others in ((ours, peers), (learnt, []))
            for goals in [[] if quick else ratios(entry, peers)]
        ]
    return rows


RECIPES = {
    "1 all rows": all_rows,
    "2 batches": batches,
    "3 imitation": imitation,
    "4 ranking": ranking,
}


def run(arguments=None):
    """Run all recipes, print and store them."""
    return main(
        "target_surrogates",
        "Target surrogates",
        SOURCE,
        [
            "skpapers.solvers.minimize_target_surrogate",
            "skpapers.policy.OnlineImitationLearner",
        ],
        RECIPES,
        arguments,
    )


if __name__ == "__main__":
    run()
