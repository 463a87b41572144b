# SPDX-License-Identifier: BSD-3-Clause
"""Accuracy of a boosting on the rows that are kept, beside random rows.

Scores come from the first twenty stages of one boosting (EL2N). The kept rows train a
fresh boosting of as many stages as all rows do. "accuracy" is on a quarter that was
left out; "loss" is what all rows reach less that, in points; "gain" what random rows
lose more, in points, with the half width of its interval of 95 % (Student's t over the
seeds, paired). A share of the kept rows is drawn at random where `select_samples` says
"mixed". Policy and stages were chosen on letter, with other splits.
"""

import numpy as np
from _common import add_measure, main, mean, row, target, timed
from _data_tables import load, split
from scipy.stats import t as student
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier

from skpapers.data_selection import EL2NScorer, select_samples

STAGES, ROUNDS = 20, 60
TABLES = {"letter": range(10), "satimage": range(5), "penbased": range(5)}
KEEPS = (0.7, 0.5, 0.3)
FEW = 5
MIX = {0.7: 0.8, 0.5: 0.8, 0.3: 0.6}
LOSSES = {0.7: 0.3, 0.5: 0.8}


def boosting(rounds, seed):
    """Return a boosting of so many stages."""
    return HistGradientBoostingClassifier(
        max_iter=rounds, early_stopping=False, random_state=seed
    )


def one_split(data, seed, keeps, rounds):
    """Return accuracies by (how, keep), and CPU seconds of the scores."""
    X, y, X_test, y_test = split(*data, seed)

    def accuracy(rows):
        model = boosting(rounds, seed).fit(X[rows], y[rows])
        return model.score(X_test, y_test)

    scorer = EL2NScorer(
        boosting(STAGES, seed), epochs=STAGES, n_runs=1, random_state=seed
    )
    scores, seconds = timed(lambda: scorer.fit(X, y).scores_)
    found = {("all rows", 1.0): accuracy(np.arange(len(y)))}
    for keep in keeps:
        for name, policy in (("random", "random"), ("ours", "mixed")):
            kept = select_samples(
                scores,
                keep=keep,
                policy=policy,
                mix=MIX[keep],
                random_state=seed,
            )
            found[name, keep] = accuracy(kept)
    return found, seconds


def half_width(values):
    """Return the half width of the interval of 95 % of a mean."""
    n = len(values)
    if n < 2:
        return 0.0
    return student.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)


def compare(table, quick):
    """Return the rows of a table."""
    data = load(table)
    if data is None and not quick:
        return []
    if quick:
        X, y = load_digits(return_X_y=True)
        table, data = "digits", (X[:400], y[:400])
    seeds = list(TABLES[table])[:10] if not quick else [0]
    keeps, rounds = ((0.5,), 4) if quick else (KEEPS, ROUNDS)
    runs = []
    for seed in seeds:  # the smallest share on the first seeds only
        some = keeps if seed < FEW or quick else keeps[:-1]
        runs.append(one_split(data, seed, some, rounds))
    everything = np.array([found["all rows", 1.0] for found, _ in runs])
    n = len(data[1]) * 3 // 4
    rows = [_row(table, "all rows", {"accuracy": everything}, seeds, n)]
    cpu = mean([seconds for _, seconds in runs])
    for keep in keeps:
        known = [k for k, (found, _) in enumerate(runs) if ("ours", keep) in found]
        some, full = [seeds[k] for k in known], everything[known]
        random = np.array([runs[k][0]["random", keep] for k in known])
        ours = np.array([runs[k][0]["ours", keep] for k in known])
        lost, gain = 100 * (full - ours), 100 * (ours - random)
        width = np.full(len(some), half_width(gain))
        measures = {"accuracy": ours, "loss": lost, "gain": gain, "±": width}
        line = _row(table, f"EL2NScorer, mixed {keep:.0%}", measures, some, n, cpu)
        if not quick:
            surely = gain.mean() - width[0]
            line["targets"].append(
                target(f"gain less ± at {keep:.0%}", ">=", 0.0, surely)
            )
        if table == "letter" and keep in LOSSES:
            line["targets"].append(
                target(f"loss at {keep:.0%}", "<=", LOSSES[keep], lost.mean())
            )
        rows.append(line)
        measures = {"accuracy": random, "loss": 100 * (full - random)}
        rows.append(_row(table, f"random {keep:.0%}", measures, some, n))
    return rows


def _row(table, name, measures, seeds, n, cpu=0.0):
    """Return a row of one line."""
    entry = {"name": name, "measures": {}, "draws": {}, "cpu_seconds": cpu}
    for label, values in measures.items():
        add_measure(entry, label, values)
    return row(table, table, seeds, entry, n_samples=n)


def run(arguments=None):
    """Run the recipes."""
    return main(
        "pruning",
        "Fewer rows for a boosting",
        {
            "text": "M. Paul, S. Ganguli, G. K. Dziugaite, Deep learning on a data "
            "diet, NeurIPS 2021",
            "url": "https://arxiv.org/abs/2107.07075",
        },
        [
            "skpapers.data_selection.EL2NScorer",
            "skpapers.data_selection.select_samples",
        ],
        {table: lambda quick, table=table: compare(table, quick) for table in TABLES},
        arguments,
    )


if __name__ == "__main__":
    run()
