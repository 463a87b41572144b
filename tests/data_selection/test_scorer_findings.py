# SPDX-License-Identifier: BSD-3-Clause
"""Published findings that the scorers have to show."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from skpapers.data_selection import (
    EL2NScorer,
    ForgettingScorer,
    GraNdScorer,
    PVIScorer,
    ScoreBank,
    TracInScorer,
    VoGScorer,
)
from skpapers.data_selection._checkpoints import iter_checkpoints

DIGITS_NET = MLPClassifier(
    (128,),
    solver="sgd",
    learning_rate_init=0.05,
    momentum=0.9,
    batch_size=32,
    alpha=5e-4,
)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16, y, random_state=0, stratify=y, test_size=0.25)


def accuracy(net, X, y, X_test, y_test, n_steps, n_repeats=3):
    """Mean test accuracy after the same number of steps whatever the rows."""
    found = []
    for seed in range(n_repeats):
        n_epochs = max(round(n_steps / -(-len(y) // net.batch_size)), 1)
        *_, last = iter_checkpoints(net, X, y, epochs=n_epochs, random_state=seed)
        found.append(last.estimator.score(X_test, y_test))
    return np.mean(found)


def half(scores, rule):
    """Return half of the rows."""
    k = len(scores) // 2
    if rule == "random":
        return np.random.default_rng(0).permutation(len(scores))[:k]
    order = np.argsort(scores)
    return order[-k:] if rule == "hardest" else order[:k]


@pytest.mark.filterwarnings("ignore:GraNdScorer\\(epochs=0\\)")
def test_half_of_the_digits_serve_as_well_as_all(digits):
    """Neither does a random half, nor one that was chosen before training."""
    X, X_test, y, y_test = digits
    scorers = [
        ("el2n", EL2NScorer(DIGITS_NET, n_runs=5)),
        ("grand", GraNdScorer(DIGITS_NET, n_runs=5)),
        ("start", GraNdScorer(DIGITS_NET, epochs=0, n_runs=20)),
    ]
    bank = ScoreBank(scorers, random_state=0).fit(X, y)
    assert bank.n_trainings_ == 5 + 20
    el2n, grand, start = bank.scores_.T
    assert spearmanr(el2n, grand).statistic > 0.99
    assert spearmanr(start, np.linalg.norm(X, axis=1)).statistic > 0.94
    chosen = {
        "full": slice(None),
        "random": half(el2n, "random"),
        "hardest": half(el2n, "hardest"),
        "easiest": half(el2n, "easiest"),
        "start": half(start, "hardest"),
    }
    found = {
        name: accuracy(DIGITS_NET, X[rows], y[rows], X_test, y_test, 1500)
        for name, rows in chosen.items()
    }
    assert found["hardest"] >= found["full"] - 0.006
    assert found["hardest"] > found["random"] + 0.006
    assert found["easiest"] < found["random"]
    assert found["start"] < found["random"] + 0.006
    assert found["hardest"] > found["start"] + 0.006


def test_hard_half_of_a_taught_table_beats_all_of_it():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((10, 20)), rng.standard_normal((20, 4))
    X = rng.standard_normal((9000, 10))
    logits = np.maximum(X @ first, 0) @ second
    y = (logits - logits.mean(axis=0)).argmax(axis=1)
    X, X_test, y, y_test = X[:6000], X[6000:], y[:6000], y[6000:]
    net = clone(DIGITS_NET).set_params(batch_size=128)
    scorers = [
        ("el2n", EL2NScorer(net, n_runs=3)),
        ("grand", GraNdScorer(net, n_runs=3)),
        ("vog", VoGScorer(net)),
    ]
    el2n, grand, vog = ScoreBank(scorers, random_state=0).fit(X, y).hardness_.T
    chosen = {
        "full": slice(None),
        "random": half(el2n, "random"),
        "easiest": half(el2n, "easiest"),
        "el2n": half(el2n, "hardest"),
        "grand": half(grand, "hardest"),
        "vog": half(vog, "hardest"),
    }
    found = {
        name: accuracy(net, X[rows], y[rows], X_test, y_test, 1500, 2)
        for name, rows in chosen.items()
    }
    assert found["easiest"] < found["random"]
    assert (
        min(found[name] for name in ("el2n", "grand", "vog")) > found["random"] + 0.006
    )
    assert max(found["el2n"], found["grand"]) > found["full"]


def test_wrong_labels_are_found_but_not_by_vog(digits):
    X, _, y, _ = digits
    rng = np.random.default_rng(0)
    wrong = rng.random(len(y)) < 0.2
    y = np.where(wrong, (y + rng.integers(1, 10, len(y))) % 10, y)
    scorers = [
        ("el2n", EL2NScorer(DIGITS_NET, n_runs=3)),
        ("pvi", PVIScorer(DIGITS_NET, epochs=10, n_runs=3)),
        ("forgetting", ForgettingScorer(DIGITS_NET, epochs=10, check_every=1.0)),
        ("tracin", TracInScorer(DIGITS_NET)),
        ("vog", VoGScorer(DIGITS_NET)),
        ("vog logit", VoGScorer(DIGITS_NET, output="logit")),
    ]
    bank = ScoreBank(scorers, random_state=0).fit(X, y)
    assert bank.n_trainings_ == 3
    found = [roc_auc_score(wrong, hardness) for hardness in bank.hardness_.T]
    assert min(found[:4]) > 0.98
    assert max(found[4:]) < 0.5


def test_early_stages_of_boosting_find_wrong_labels_best():
    X, y = make_classification(
        1500,
        20,
        n_informative=8,
        n_classes=3,
        class_sep=1.5,
        flip_y=0,
        random_state=1,
    )
    rng = np.random.default_rng(0)
    wrong = rng.random(len(y)) < 0.15
    y = np.where(wrong, (y + rng.integers(1, 3, len(y))) % 3, y)
    boosting = HistGradientBoostingClassifier(max_leaf_nodes=15)
    scorer = EL2NScorer(boosting, epochs=60, n_runs=1, score_path=True).fit(X, y)
    found = [roc_auc_score(wrong, scores) for scores in scorer.score_path_]
    assert len(found) == 60
    assert max(found[9:20]) > 0.95
    assert found[-1] < max(found[9:20]) - 0.005
