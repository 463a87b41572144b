# SPDX-License-Identifier: BSD-3-Clause
"""Rank rows by how suspect their labels are with another package, in its environment.

    python _peer_labels.py PEER QUESTION.npz ANSWER.npz

The question holds the rows ``X`` with the labels ``y`` to judge, the rows ``X_clean``
with the labels ``y_clean`` that nobody doubts (used by KNN-Shapley alone, which cannot
do without), and ``random_state``. The answer holds ``suspicion``, one row for each of
the ``names`` (large: suspect; 0 or 1 where a package only drops rows), ``version`` and
``cpu_seconds``, the process time of one ranking on one thread after one on a few rows.
Environments: `make bench-data-env` and `make bench-pydvl-env`.
"""

import sys
import time
import warnings
from importlib.metadata import version

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def forest(random_state):
    """The forest that all peers share."""
    return RandomForestClassifier(200, random_state=random_state)


def linear(random_state):
    """Logistic regression on standardised columns."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))


def cleanlab(make, methods):
    """Label quality of cleanlab from probabilities of five folds."""

    def rank(X, y, X_clean, y_clean, random_state):
        from cleanlab.rank import get_label_quality_scores

        folds = StratifiedKFold(5, shuffle=True, random_state=random_state)
        p = cross_val_predict(
            make(random_state), X, y, cv=folds, method="predict_proba"
        )
        return [-get_label_quality_scores(y, p, method=method) for method in methods]

    return rank


def hardness_threshold(X, y, X_clean, y_clean, random_state):
    """Drop as many rows of each class as are wrong on average, by its own forest."""
    from imblearn.under_sampling import InstanceHardnessThreshold

    classes, counts = np.unique(y, return_counts=True)
    sampler = InstanceHardnessThreshold(
        sampling_strategy=dict(zip(classes, (0.8 * counts).astype(int), strict=True)),
        random_state=random_state,
    )
    sampler.fit_resample(X, y)
    dropped = np.ones(len(y))
    dropped[sampler.sample_indices_] = 0
    return [dropped]


def data_oob(X, y, X_clean, y_clean, random_state):
    """Accuracy of the trees of a forest on the rows that they did not see."""
    from pydvl.valuation import DataOOBValuation, Dataset

    model = forest(random_state).fit(X, y)
    valuation = DataOOBValuation(model)
    valuation.fit(Dataset(X, y))
    return [-by_row(valuation.result, len(y))]


def knn_shapley(X, y, X_clean, y_clean, random_state):
    """Shapley values of the rows for a classifier by five neighbours on clean rows."""
    from pydvl.valuation import Dataset, KNNShapleyValuation
    from sklearn.neighbors import KNeighborsClassifier

    scaler = StandardScaler().fit(X)
    clean = Dataset(scaler.transform(X_clean), y_clean)
    valuation = KNNShapleyValuation(KNeighborsClassifier(5), clean, progress=False)
    valuation.fit(Dataset(scaler.transform(X), y))
    return [-by_row(valuation.result, len(y))]


def by_row(result, n):
    """Return pyDVL's values in the order of the rows."""
    values = np.empty(n)
    values[result.indices] = result.values
    return values


PEERS = {  # distribution, function, names of its rankings
    "cleanlab, forest": (
        "cleanlab",
        cleanlab(forest, ["self_confidence", "normalized_margin"]),
        ["cleanlab, forest, self-confidence", "cleanlab, forest, margin"],
    ),
    "cleanlab, linear": (
        "cleanlab",
        cleanlab(linear, ["self_confidence"]),
        ["cleanlab, logistic regression, self-confidence"],
    ),
    "hardness threshold": (
        "imbalanced-learn",
        hardness_threshold,
        ["InstanceHardnessThreshold"],
    ),
    "Data-OOB": ("pyDVL", data_oob, ["Data-OOB, forest"]),
    "KNN-Shapley": ("pyDVL", knn_shapley, ["KNN-Shapley, with clean rows"]),
}


def main(peer, question, answer):
    """Answer one question."""
    warnings.simplefilter("ignore")
    distribution, rank, names = PEERS[peer]
    with np.load(question) as stored:
        q = {name: stored[name] for name in ("X", "y", "X_clean", "y_clean")}
        seed = int(stored["random_state"])
    few = {name: part[:500] for name, part in q.items()}
    rank(**few, random_state=seed)
    start = time.process_time()
    suspicion = rank(**q, random_state=seed)
    np.savez(
        answer,
        suspicion=np.array(suspicion),
        names=names,
        cpu_seconds=time.process_time() - start,
        version=f"{distribution} {version(distribution)}",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
