# SPDX-License-Identifier: BSD-3-Clause
"""
Does logistic regression have to wait for a scaler?
===================================================

The wine table holds milligrams beside percentages and colour scores. With such columns
scikit-learn's default solver ends with the advice to scale the data. Scaling changes
the penalty, though, and with it the model: what was meant as "shrink all coefficients
per unit" becomes "per standard deviation". Here the model that was asked for is fitted.
"""

# %%
# The table as it is
# ------------------
# The spread of the columns differs by more than a factor of a thousand.

import time
import warnings

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression

from skpapers.linear_model import GNSLogisticRegression
from skpapers.solvers import ConvergenceDisplay

data = load_wine()
X, y = data.data, data.target
for name, spread in zip(data.feature_names, X.std(axis=0), strict=True):
    print(f"{name:30s} {spread:8.2f}")

# %%
# Two solvers, one objective
# --------------------------
# Both minimise the same convex function, so there is one right answer. We follow the
# objective of ``lbfgs`` by stopping it earlier and earlier.

C = 10.0


def objective(model):
    """Mean loss plus penalty."""
    loss = -np.log(model.predict_proba(X)[np.arange(len(y)), y]).mean()
    return loss + (model.coef_**2).sum() / (2 * C * len(y))


def lbfgs_history(budgets):
    """Objective and seconds of fits with growing numbers of iterations."""
    history = {"objective": [], "seconds": [], "steps": []}
    for budget in budgets:
        model = LogisticRegression(C=C, max_iter=budget, tol=1e-8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.process_time()
            model.fit(X, y)
        history["seconds"].append(time.process_time() - start)
        history["objective"].append(objective(model))
        history["steps"].append(budget)
    return history


ours = GNSLogisticRegression(C=C, tol=1e-10).fit(X, y)
print(f"converged: {ours.converged_}, after {ours.n_iter_} iterations")

gns_history = dict(ours.history_)
gns_history["steps"] = np.arange(ours.n_iter_ + 1)
budgets = np.unique(np.geomspace(1, 5000, 25).astype(int))
display = ConvergenceDisplay(
    {"GNSLogisticRegression": gns_history, "lbfgs": lbfgs_history(budgets)},
    best=ours.objective_ - 1e-13,
)
display.plot(x=("steps", "seconds"), y="gap", marker=".")
for ax in display.axes_.flat:
    ax.set_xscale("symlog", linthresh=1 if ax is display.axes_[0, 0] else 1e-3)
    ax.set_xlim(left=0)
display.axes_[0, 0].set_xlabel("iterations")
plt.show()

# %%
# Does it matter?
# ---------------
# The coefficients of a fit that was stopped by ``max_iter`` are not those of the model,
# and they depend on the number of iterations, which nobody chose for a reason.

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    default = LogisticRegression(C=C).fit(X, y)
far = np.abs(default.coef_ - ours.coef_).max() / np.abs(ours.coef_).max()
print(f"largest error of a coefficient after 100 iterations: {far:.0%}")

# %%
# A feature that must not be shrunk
# ---------------------------------
# Say the alcohol content is known to matter: it gets no penalty, all others a strong
# one. No change of units can do this with a common penalty.

weights = np.ones(X.shape[1])
weights[0] = 0.0
free = GNSLogisticRegression(C=0.03, alpha_weights=weights).fit(X, y)
shrunk = GNSLogisticRegression(C=0.03).fit(X, y)

fig, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
place = np.arange(3)
ax.bar(place - 0.2, shrunk.coef_[:, 0], 0.4, label="C = 0.03", color="#8C8C8C")
ax.bar(place + 0.2, free.coef_[:, 0], 0.4, label="alcohol free", color="#0072B2")
ax.set_xticks(place, data.target_names)
ax.axhline(0, color="black", linewidth=0.8)
ax.set_ylabel("coefficient of alcohol")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
plt.show()

# %%
# What we saw
# -----------
# On raw columns some twenty second-order steps reach the optimum to
# rounding, where thousands of first-order steps do not, and features may have penalties
# of their own.
