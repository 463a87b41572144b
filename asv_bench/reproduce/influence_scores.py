# SPDX-License-Identifier: BSD-3-Clause
"""VoG, forgetting, TracIn, PVI and EL2N: pruning, wrong labels, small classes.

The network and the trainings of equal length are those of ``data_diet.py``. VoG and
TracIn look at ten checkpoints of one run, forgetting is counted over five.
"""

import warnings

import numpy as np
from _common import add_measure, main, mean, row, target
from _data_tables import (
    flip_uniformly,
    judge,
    network,
    split,
    train_steps,
)
from data_diet import accuracies, chance, digits, line, score, teacher
from sklearn.datasets import make_classification
from sklearn.metrics import recall_score

from skpapers.data_selection import (
    EL2NScorer,
    ForgettingScorer,
    PVIScorer,
    TracInScorer,
    VoGScorer,
    select_samples,
)
from skpapers.utils import DataConditionWarning

SEEDS = range(3)
VOG, LOGIT, TRACIN = "VoGScorer()", "VoGScorer(output='logit')", "TracInScorer()"
EL2N, PVI = "EL2NScorer()", "PVIScorer(epochs=10)"
FORGETTING = "ForgettingScorer(epochs=10, check_every=1)"


def scorers(quick, batch=32):
    """Return all scorers by name."""
    runs = 1 if quick else 5
    net = network(batch)
    shared = {"random_state": 0}
    count = {"epochs": 10, "check_every": 1.0, "n_runs": runs}
    return {
        VOG: VoGScorer(net, **shared),
        TRACIN: TracInScorer(net, **shared),
        EL2N: EL2NScorer(net, n_runs=runs, **shared),
        FORGETTING: ForgettingScorer(net, **count, **shared),
        PVI: PVIScorer(net, epochs=10, n_runs=runs, **shared),
        LOGIT: VoGScorer(net, output="logit", **shared),
    }


def hardness(scorer, X, y):
    """Return scores with hard rows on top, and CPU seconds."""
    values, seconds = score(scorer, X, y)
    return (values if scorer.higher_is_harder else -values), seconds


def prune(recipe, about, data, names, keeps, n_steps, quick, batch=32):
    """Return rows and the means by (name, keep)."""
    X, y, *_ = data
    n = len(y)
    found = {("all rows", 1.0): accuracies(np.arange(n), data, n_steps, quick, batch)}
    rows = [line(recipe, about, "all rows", found["all rows", 1.0], n)]
    known = {
        name: hardness(scorer, X, y)
        for name, scorer in scorers(quick, batch).items()
        if name in names
    }
    for keep in keeps:
        random = accuracies(chance(n, keep), data, n_steps, quick, batch)
        found["random", keep] = random
        rows.append(line(recipe, about, f"random {keep:.0%}", random, n))
        for name, (values, cpu) in known.items():
            kept = select_samples(values, keep=keep, policy="hardest", random_state=0)
            found[name, keep] = accuracies(kept, data, n_steps, quick, batch)
            label = f"{name}, hardest {keep:.0%}"
            rows.append(line(recipe, about, label, found[name, keep], n, cpu))
    return rows, {key: np.mean(values) for key, values in found.items()}


def recipe_a(quick):
    """Pruning of digits."""
    steps = 30 if quick else 1500
    names = (VOG, TRACIN, EL2N, FORGETTING, LOGIT)
    rows, found = prune("A", "digits", digits(quick), names, (0.5, 0.3), steps, quick)
    if not quick:
        rows[0]["targets"] = [
            target(
                f"{name}, half less random",
                ">=",
                0.006,
                found[name, 0.5] - found["random", 0.5],
            )
            for name in (VOG, TRACIN, EL2N)
        ] + [
            target(
                f"{LOGIT} less the worst of these",
                "<=",
                0.0,
                found[LOGIT, 0.5] - min(found[k, 0.5] for k in (VOG, TRACIN, EL2N)),
            )
        ]
    return rows


def recipe_b(quick):
    """Pruning of the teacher's rows."""
    n, n_test = (600, 300) if quick else (14_000, 4000)
    X, y = teacher(n + n_test, 0)
    data = X[:n], y[:n], X[n:], y[n:]
    steps = 10 if quick else 2000
    rows, found = prune(
        "B", "teacher", data, (VOG, TRACIN, LOGIT), (0.5,), steps, quick, 128
    )
    if not quick:
        rows[0]["targets"] = [
            target(
                f"{name}, half less random",
                ">=",
                0.006,
                found[name, 0.5] - found["random", 0.5],
            )
            for name in (VOG, TRACIN)
        ]
    return rows


def recipe_c(quick):
    """Wrong labels: all scores but VoG find them."""
    X, y, *_ = digits(quick)
    noisy = flip_uniformly(y, 0.2, np.random.default_rng(0))
    rows, area = [], {}
    for name, scorer in scorers(quick).items():
        values, cpu = hardness(scorer, X, noisy)
        entry = {"name": name, "measures": {}, "draws": {}, "cpu_seconds": mean([cpu])}
        for label, value in judge(noisy != y, values).items():
            add_measure(entry, label, [value])
        area[name] = entry["measures"].get("AUROC", 0.0)
        rows.append(row("C", "digits, 20 % flips", [0], entry, n_samples=len(y)))
    if not quick:
        good = min(value for name, value in area.items() if "VoG" not in name)
        bad = max(area[VOG], area[LOGIT])
        rows[0]["targets"] = [
            target("AUROC, worst of the others", ">=", 0.98, good),
            target("AUROC, better of both VoG", "<=", 0.5, bad),
        ]
    return rows


def recipe_d(quick):
    """Small classes: 40 % of the rows by linear sampling, mean of three draws."""
    n = 800 if quick else 8000
    X, y = make_classification(
        n,
        20,
        n_informative=8,
        n_classes=4,
        weights=[0.7, 0.2, 0.07, 0.03],
        flip_y=0.01,
        random_state=0,
    )
    X, y, X_test, y_test = split((X - X.mean(0)) / X.std(0), y)
    shares = np.bincount(y) / len(y)
    classes = np.unique(y)
    draws = range(1 if quick else 3)

    def entry_of(name, choose, cpu=0.0):
        entry = {"name": name, "measures": {}, "draws": {}, "cpu_seconds": mean([cpu])}
        found = {}
        for seed in draws:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataConditionWarning)
                kept = choose(seed)  # says which class loses; so does the table
            of_class = np.bincount(y[kept], minlength=4) / kept.sum()
            model = train_steps(X[kept], y[kept], classes, 20 if quick else 1000, seed)
            recalls = recall_score(y_test, model.predict(X_test), average=None)
            found.setdefault("macro recall", []).append(recalls.mean())
            for k in classes[1:]:
                found.setdefault(f"class {k}, share", []).append(of_class[k])
                found.setdefault(f"class {k}, recall", []).append(recalls[k])
        for label, values in found.items():
            add_measure(entry, label, values)
        about = "4 classes, " + ", ".join(f"{share:.1%}" for share in shares)
        return row("D", about, list(draws), entry, n_samples=len(y))

    def drawn(values):
        return lambda seed: select_samples(
            values, y, keep=0.4, policy="linear", min_per_class=5, random_state=seed
        )

    rows = [
        entry_of(
            "stratified",
            lambda seed: select_samples(
                np.zeros(len(y)),
                y,
                keep=0.4,
                policy="random",
                by="class",
                random_state=seed,
            ),
        )
    ]
    for normalize in ("class", "dataset"):
        scorer = VoGScorer(network(), normalize=normalize, random_state=0)
        values, cpu = score(scorer, X, y)
        rows.append(entry_of(f"VoGScorer(normalize={normalize!r})", drawn(values), cpu))
    if not quick:
        plain, _, by_table = [r["ours"]["measures"] for r in rows]
        gains = [
            by_table[f"class {k}, share"] - plain[f"class {k}, share"]
            for k in (1, 2, 3)
        ]
        rows[0]["targets"] = [
            target("dataset: largest gain of a small class", ">=", 0.0, max(gains)),
            target(
                "dataset: macro recall less stratified",
                ">=",
                -0.01,
                by_table["macro recall"] - plain["macro recall"],
            ),
        ]
    return rows


def run(arguments=None):
    """Run the recipes."""
    return main(
        "influence_scores",
        "Scores from one training",
        {
            "text": "N. Anand, J. Tan, M. Minakova, Influence scores at scale for "
            "efficient language data sampling, EMNLP 2023",
            "url": "https://arxiv.org/abs/2311.16298",
        },
        [
            "skpapers.data_selection.VoGScorer",
            "skpapers.data_selection.ForgettingScorer",
            "skpapers.data_selection.PVIScorer",
            "skpapers.data_selection.TracInScorer",
        ],
        {"A": recipe_a, "B": recipe_b, "C": recipe_c, "D": recipe_d},
        arguments,
    )


if __name__ == "__main__":
    run()
