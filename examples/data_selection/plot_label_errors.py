"""
Which labels are wrong?
=======================

Somebody has labelled 1797 images of digits, not always carefully. Which images should
be looked at again? Here we know the answer, because we spoil the labels ourselves: a
fifth of the sevens is called 1, a fifth of the nines 4, and so on, as a tired reader
might.
"""

# %%
# The table
# ---------
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

X, truth = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
habits = {7: 1, 9: 4, 5: 6, 8: 3, 0: 6}
labels = truth.copy()
for digit, other in habits.items():
    rows = np.flatnonzero(truth == digit)
    labels[rng.choice(rows, len(rows) // 5, replace=False)] = other
wrong = labels != truth
print(f"{wrong.sum()} of {len(wrong)} labels are wrong")

# %%
# The suspects
# ------------
# The detector asks the trees of a forest that did not see a row what they think of its
# label. It sees neither ``truth`` nor ``wrong``.
from skpapers.data_selection import NoisyLabelDetector

detector = NoisyLabelDetector(random_state=0).fit(X, labels)
suspects = detector.suspect_indices_
worst = np.argsort(-detector.scores_, kind="stable")

_, axes = plt.subplots(2, 8, figsize=(9, 3), layout="constrained")
for ax, row in zip(axes.flat, worst, strict=False):
    ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{labels[row]}, not {detector.predicted_labels_[row]}?", fontsize=9)
    ax.axis("off")

# %%
# How many of them are really wrong
# ---------------------------------
# "checked" is how many images somebody looks at, in the order of suspicion.
checked = np.array([25, 50, 75, 100, 150, 200])
found = np.cumsum(wrong[worst])[checked - 1]
pd.DataFrame(
    {"checked": checked, "wrong": found, "share of all wrong": found / wrong.sum()}
).round(2)

# %%
# A decision without a person: the rows that the detector itself marks.
marked = np.zeros(len(wrong), dtype=bool)
marked[suspects] = True
pd.crosstab(
    pd.Series(wrong, name="wrong"), pd.Series(marked, name="marked by the detector")
)

# %%
# How the labels went wrong
# -------------------------
# The estimated noise matrix: which digit (rows) is called what (columns). The five
# habits are found; digits that merely look alike are not among them.
from skpapers.data_selection import label_noise_matrix

matrix = label_noise_matrix(labels, detector.probabilities_)
_, ax = plt.subplots(figsize=(4.6, 4), layout="constrained")
image = ax.imshow(matrix - np.diag(np.diag(matrix)), cmap="Blues", vmin=0, vmax=0.25)
ax.set(xlabel="label", ylabel="digit", xticks=range(10), yticks=range(10))
_ = ax.figure.colorbar(image, label="share of the digit", shrink=0.8)

# %%
# What a model gains
# ------------------
# Accuracy on images that were left out, judged by the true labels.
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def accuracy(y, kept):
    """Return the mean accuracy of five folds, fitted to the kept rows."""
    scores = []
    for train, test in KFold(5, shuffle=True, random_state=0).split(X):
        rows = train[kept[train]]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        scores.append(model.fit(X[rows], y[rows]).score(X[test], truth[test]))
    return np.mean(scores)


everything = np.ones(len(wrong), dtype=bool)
pd.Series(
    {
        "labels as given": accuracy(labels, everything),
        "marked rows dropped": accuracy(labels, ~marked),
        "no label wrong": accuracy(truth, everything),
    },
    name="accuracy",
).to_frame().round(3)

# %%
# What we saw
# -----------
# Nearly all wrong labels stood at the top of the list, few right ones among them, and
# the habits of the labeller could be read from the noise matrix. A model that was
# fitted without the marked rows was as good as one on labels without an error. The
# detector saw no true label.
