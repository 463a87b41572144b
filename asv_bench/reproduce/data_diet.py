# SPDX-License-Identifier: BSD-3-Clause
"""Pruning by EL2N and GraNd: what is lost, what is gained, and what GraNd at the
start is worth.

Scores come from ten epochs of a small network; the rows that are kept train a fresh one
of the same kind for a fixed number of steps, however few they are. "accuracy" is on
rows of the test, mean over three trainings (recipe A: ten).
"""

import warnings

import numpy as np
from _common import add_measure, main, mean, row, target, timed
from _data_tables import (
    flip_uniformly,
    judge,
    load,
    network,
    redraw,
    split,
    train_steps,
)
from scipy.stats import spearmanr
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier

from skpapers.data_selection import EL2NScorer, GraNdScorer, select_samples

SEEDS = range(3)
STAGES = (5, 10, 20, 40, 60)
EL2N, GRAND = "EL2NScorer(epochs=10)", "GraNdScorer(epochs=10)"


def score(scorer, X, y):
    """Return the scores of a scorer and its CPU seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few runs, GraNd without training: on purpose
        fitted, seconds = timed(lambda: scorer.fit(X, y))
    return fitted.scores_, seconds


def accuracies(rows, data, n_steps, quick, batch=32, seeds=SEEDS):
    """Return accuracies of trainings on some rows, which may depend on the seed."""
    X, y, X_test, y_test = data
    found = []
    for seed in list(seeds)[: 1 if quick else None]:
        kept = rows(seed) if callable(rows) else rows
        model = train_steps(X[kept], y[kept], np.unique(y), n_steps, seed, batch)
        found.append(model.score(X_test, y_test))
    return found


def line(recipe, about, name, found, n_samples, cpu=0.0, goals=(), label="accuracy"):
    """Return a row of one line."""
    entry = {"name": name, "measures": {}, "draws": {}, "cpu_seconds": mean([cpu])}
    add_measure(entry, label, found)
    seeds = list(range(len(found)))
    return row(recipe, about, seeds, entry, n_samples=n_samples, goals=goals)


def chance(n, keep):
    """Return a function from a seed to random rows."""
    return lambda seed: select_samples(
        np.zeros(n), keep=keep, policy="random", random_state=seed
    )


def digits(quick):
    """Return the rows of digits; few of them in a reduced run."""
    X, y, X_test, y_test = split(*load("digits"))
    if quick:
        X, y = X[:300], y[:300]
    return X, y, X_test, y_test


def prune(recipe, about, data, scores, keeps, n_steps, quick, batch=32, seeds=SEEDS):
    """Return the rows of a comparison, and the means by name."""
    n = len(data[1])
    choices = [("all rows", np.arange(n), 0.0)]
    for keep in keeps:
        choices.append((f"random {keep:.0%}", chance(n, keep), 0.0))
        for name, (values, cpu) in scores.items():
            rows = select_samples(values, keep=keep, policy="hardest", random_state=0)
            choices.append((f"{name}, hardest {keep:.0%}", rows, cpu))
        values, cpu = scores[EL2N]
        rows = select_samples(values, keep=keep, policy="easiest", random_state=0)
        choices.append((f"{EL2N}, easiest {keep:.0%}", rows, cpu))
    found = {
        name: accuracies(rows, data, n_steps, quick, batch, seeds)
        for name, rows, _ in choices
    }
    means = {name: np.mean(values) for name, values in found.items()}
    cpu = {name: seconds for name, _, seconds in choices}
    return [line(recipe, about, name, found[name], n, cpu[name]) for name in found], (
        means
    )


def recipe_a(quick):
    """Clean digits."""
    X, y, *_ = data = digits(quick)
    runs = 1 if quick else 5
    scores = {
        EL2N: score(EL2NScorer(network(), n_runs=runs, random_state=0), X, y),
        "EL2NScorer(epochs=2)": score(
            EL2NScorer(network(), epochs=2, n_runs=runs, random_state=0), X, y
        ),
    }
    steps = 30 if quick else 1500
    rows, found = prune(
        "A", "digits", data, scores, (0.5, 0.3), steps, quick, seeds=range(10)
    )
    if not quick:
        best = found[f"{EL2N}, hardest 50%"]
        _set_targets(
            rows,
            [
                ("hardest half less all rows", ">=", -0.006, best - found["all rows"]),
                ("hardest half less random", ">=", 0.006, best - found["random 50%"]),
                (
                    "easiest half less random",
                    "<=",
                    0.0,
                    found[f"{EL2N}, easiest 50%"] - found["random 50%"],
                ),
            ],
        )
    return rows


def _set_targets(rows, goals):
    """Set targets at the first row of a recipe."""
    rows[0]["targets"] = [target(*goal) for goal in goals]


def teacher(n, seed):
    """Return rows labelled by a random network with ten inputs and four classes."""
    rng = np.random.default_rng(seed)
    W, V = rng.normal(size=(10, 20)), rng.normal(size=(20, 4))
    X = rng.normal(size=(n, 10))
    logits = np.maximum(X @ W, 0) @ V
    return X, (logits - logits.mean(axis=0)).argmax(axis=1)


def recipe_b(quick):
    """Labels of a teacher: pruned rows teach more than all, at equal steps."""
    n, n_test = (600, 300) if quick else (14_000, 4000)
    X, y = teacher(n + n_test, 0)
    data = X[:n], y[:n], X[n:], y[n:]
    runs = 1 if quick else 5
    net = network(128)
    scores = {
        EL2N: score(EL2NScorer(net, n_runs=runs, random_state=0), *data[:2]),
        GRAND: score(GraNdScorer(net, n_runs=runs, random_state=0), *data[:2]),
    }
    steps = 10 if quick else 2000
    rows, found = prune("B", "teacher", data, scores, (0.5,), steps, quick, 128)
    if not quick:
        best = found[f"{EL2N}, hardest 50%"]
        _set_targets(
            rows,
            [
                ("hardest half less all rows", ">=", 0.0, best - found["all rows"]),
                ("hardest half less random", ">=", 0.006, best - found["random 50%"]),
            ],
        )
    return rows


def recipe_c(quick):
    """The window of half the rows, moved along the order, with wrong labels."""
    X, y, X_test, y_test = digits(quick)
    noisy = redraw(y, 0.2, np.random.default_rng(0))
    data = X, noisy, X_test, y_test
    runs, steps = (1, 30) if quick else (10, 1000)
    scorer = EL2NScorer(network(), n_runs=runs, random_state=0)
    scores, cpu = score(scorer, X, noisy)
    found = {
        "all rows": accuracies(np.arange(len(y)), data, steps, quick),
        "random 50%": accuracies(chance(len(y), 0.5), data, steps, quick),
    }
    for offset in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5):
        rows = select_samples(
            scores, keep=0.5, policy="window", offset=offset, random_state=0
        )
        found[f"easiest {offset:.0%} left out"] = accuracies(rows, data, steps, quick)
    about = "digits, 20 % of the labels redrawn"
    rows = [line("C", about, name, v, len(y), cpu) for name, v in found.items()]
    if not quick:
        windows = {k: np.mean(v) for k, v in found.items() if "left out" in k}
        best = max(windows, key=windows.get)
        gain = windows[best] - np.mean(found["all rows"])
        place = int(best.split()[1].strip("%")) / 100
        worst = min(windows.values()) - windows["easiest 50% left out"]
        _set_targets(
            rows,
            [
                ("best window less all rows", ">=", 0.02, gain),
                ("share left out by the best window", ">=", 0.2, place),
                ("share left out by the best window", "<=", 0.3, place),
                ("worst window less hardest half", ">=", 0.0, worst),
            ],
        )
    return rows


def recipe_d(quick):
    """Wrong labels among the highest scores; early stages of a boosting."""
    X, y, *_ = digits(quick)
    noisy = flip_uniformly(y, 0.2, np.random.default_rng(0))
    rows = []
    for runs in (1,) if quick else (1, 5):
        scorer = EL2NScorer(network(), n_runs=runs, random_state=0)
        scores, cpu = score(scorer, X, noisy)
        name = f"EL2NScorer(epochs=10, n_runs={runs})"
        rows.append(_found("digits, 20 % flips", name, noisy != y, scores, cpu))
    if not quick:
        goals = [("AUROC", ">=", 0.995), ("precision at k", ">=", 0.94)]
        found = rows[-1]["ours"]["measures"]
        _set_targets(rows, [(*goal, found[goal[0]]) for goal in goals])
    n, stages = (400, (2, 4)) if quick else (4000, STAGES)
    X, y = make_classification(
        n, 20, n_informative=8, n_classes=3, class_sep=1.5, flip_y=0, random_state=0
    )
    noisy = flip_uniformly(y, 0.15, np.random.default_rng(0))
    boosting = HistGradientBoostingClassifier(max_iter=stages[-1], early_stopping=False)
    scorer = EL2NScorer(
        boosting, epochs=stages[-1], n_runs=1, score_path=True, random_state=0
    )
    _, cpu = score(scorer, X, noisy)
    area = {}
    for stage in stages:
        name = f"EL2NScorer(HistGradientBoosting), stage {stage}"
        path = scorer.score_path_[stage - 1]
        rows.append(_found("3 classes, 15 % flips", name, noisy != y, path, cpu))
        area[stage] = rows[-1]["ours"]["measures"]["AUROC"]
    if not quick:
        gain = max(area.values()) - area[stages[-1]]
        rows[-1]["targets"] = [target("best stage less last, AUROC", ">=", 1e-4, gain)]
    return rows


def _found(about, name, bad, scores, cpu):
    """Return a row about wrong labels."""
    entry = {"name": name, "measures": {}, "draws": {}, "cpu_seconds": mean([cpu])}
    for label, value in judge(bad, scores).items():
        add_measure(entry, label, [value])
    return row("D", about, [0], entry, n_samples=len(bad))


def recipe_e(quick):
    """GraNd before any training is the length of the row."""
    X, y, *_ = data = digits(quick)
    runs, steps = (2, 30) if quick else (20, 1500)
    scores = {
        "GraNdScorer(epochs=0)": score(
            GraNdScorer(network(), epochs=0, n_runs=runs, random_state=0), X, y
        ),
        GRAND: score(GraNdScorer(network(), n_runs=min(runs, 5), random_state=0), X, y),
        EL2N: score(EL2NScorer(network(), n_runs=min(runs, 5), random_state=0), X, y),
    }
    length = np.linalg.norm(X, axis=1)
    rows, means = [], {}
    for name, (values, cpu) in scores.items():
        kept = select_samples(values, keep=0.5, policy="hardest", random_state=0)
        found = accuracies(kept, data, steps, quick)
        rows.append(line("E", "digits, half kept", name, found, len(y), cpu))
        means[name] = np.mean(found)
        entry = rows[-1]["ours"]
        for label, other in (
            ("rank correlation with the length", length),
            ("with EL2N", scores[EL2N][0]),
        ):
            add_measure(entry, label, [spearmanr(values, other)[0]] * len(found))
    found = accuracies(chance(len(y), 0.5), data, steps, quick)
    rows.append(line("E", "digits, half kept", "random", found, len(y)))
    if not quick:
        start = scores["GraNdScorer(epochs=0)"][0]
        _set_targets(
            rows,
            [
                (
                    "GraNd at the start, rank correlation with the length",
                    ">=",
                    0.95,
                    spearmanr(start, length)[0],
                ),
                (
                    "GraNd at the start less random",
                    "<=",
                    0.005,
                    means["GraNdScorer(epochs=0)"] - np.mean(found),
                ),
                (
                    "EL2N and GraNd after ten epochs, rank correlation",
                    ">=",
                    0.99,
                    spearmanr(scores[GRAND][0], scores[EL2N][0])[0],
                ),
            ],
        )
    return rows


def run(arguments=None):
    """Run the recipes."""
    return main(
        "data_diet",
        "Pruning by early scores",
        {
            "text": "M. Paul, S. Ganguli, G. K. Dziugaite, Deep learning on a data "
            "diet, NeurIPS 2021",
            "url": "https://arxiv.org/abs/2107.07075",
        },
        [
            "skpapers.data_selection.EL2NScorer",
            "skpapers.data_selection.GraNdScorer",
            "skpapers.data_selection.select_samples",
        ],
        {
            "A": recipe_a,
            "B": recipe_b,
            "C": recipe_c,
            "D": recipe_d,
            "E": recipe_e,
        },
        arguments,
    )


if __name__ == "__main__":
    run()
