"""
Does the gradient of an untrained network tell which rows matter?
=================================================================

The norm of the gradient of the loss of a row, GraNd, was published as a score that
works before any training. If it did, choosing rows would cost next to nothing. Does it?
"""

# %%
# The table: images of handwritten digits, and a small network.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from skpapers.data_selection import GraNdScorer, select_samples

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, stratify=y, random_state=0)
network = MLPClassifier((128,), solver="sgd", learning_rate_init=0.05, batch_size=32)

# %%
# Before and after ten epochs
# ---------------------------
# The gradient of the first layer is an error times the row itself. Before the training
# all errors are about equal, so what remains is the length of the row.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # epochs=0 warns, and rightly so
    start = GraNdScorer(network, epochs=0, random_state=0).fit(X, y).scores_
later = GraNdScorer(network, epochs=10, n_runs=5, random_state=0).fit(X, y).scores_

length = np.linalg.norm(X, axis=1)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for ax, scores, title in zip(
    axes, (start, later), ("before the training", "after ten epochs"), strict=True
):
    ax.scatter(length, scores, s=5, alpha=0.5)
    rank = spearmanr(length, scores)[0]
    ax.set(xlabel="length of the row", ylabel="GraNd")
    ax.set_title(f"{title}: rank correlation {rank:.2f}")
axes[1].set_yscale("log")

# %%
# What the rows are worth
# -----------------------
# Half of the rows train a fresh network, three times, each for 800 steps.


def accuracy(rows, seed):
    """Return the accuracy on the test after 800 steps on some rows."""
    rng = np.random.RandomState(seed)
    model = MLPClassifier(**network.get_params() | {"random_state": rng})
    for _ in range(800):
        batch = rng.choice(np.flatnonzero(rows), 32, replace=False)
        model.partial_fit(X[batch], y[batch], classes=np.arange(10))
    return model.score(X_test, y_test)


# %%
# Any half, and the half with the largest gradients before and after the training:
half = {
    "any rows": lambda seed: select_samples(start, policy="random", random_state=seed),
    "GraNd before\nthe training": lambda seed: select_samples(start),
    "GraNd after\nten epochs": lambda seed: select_samples(later),
}
found = {
    name: [accuracy(choose(seed), seed) for seed in range(3)]
    for name, choose in half.items()
}

_, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for place, values in enumerate(found.values()):
    ax.plot([place] * 3, values, "o", color="C0", alpha=0.6)
    ax.plot([place - 0.2, place + 0.2], [np.mean(values)] * 2, color="C0")
ax.set_xticks(range(3), found)
ax.set(ylabel="accuracy on the test", title="Half of the rows, 800 steps")

# %%
# What we saw
# -----------
# Before the training the score is the length of the row, and its largest values were no
# better than any rows; here, worse. After ten epochs the length plays no part, and the
# same score chose rows that were better than a random half on average.
