"""
Which designs should be tried next?
===================================

A table of past trials is all there is: numbers, whole numbers, a category, and a score.
Nothing can be measured now. Which 32 designs should the next batch hold, and how far
can what the model promises be believed?
"""

# %%
# The table
# ---------
# Wines and the amount of flavanoids in them. We hand out the poorer half of the table
# only. The task can score any other design, by a model that was fitted to *all* wines
# and stands for the laboratory. It is an approximation, and we ask it once, at the end.
from skpapers.datasets import make_design_task, make_offline_design

task = make_design_task("wine")
X, y, _ = make_offline_design(task, random_state=0, as_frame=True)
X.dtypes.to_frame("type").join(X.describe(include="all").T[["min", "max"]])

# %%
# Designs
# -------
# ``categories="dtype"`` takes the cultivar as a category and leaves whole numbers
# whole. Bounds are the range of the rows, widened by a tenth on either side. The
# surrogate is a set of five small networks.
from skpapers.offline_optimization import (
    OfflineOptimizer,
    SharpnessRegularizedRegressor,
)

surrogate = SharpnessRegularizedRegressor(
    (64, 64), n_estimators=5, max_epochs=60, random_state=0
)
optimizer = OfflineOptimizer(
    surrogate, categories="dtype", n_candidates=32, random_state=0
).fit(X, y)
designs = optimizer.suggest()
designs.head().round(2).T

# %%
# They are rows like those of the table.
assert designs.dtypes.equals(X.dtypes)

# %%
# Before anything is measured
# ---------------------------
# The more a design differs from every row, the less the surrogate knows about it. The
# picture shows what is promised at which distance, in standard deviations of the
# columns. The dashed line is the best wine of the table.
from skpapers.offline_optimization import DesignDisplay

_ = DesignDisplay.from_estimator(optimizer, best_known=y.max())

# %%
# How far is that? The distance from each wine to its nearest neighbour tells.
import numpy as np

Z = optimizer.space_.encode(optimizer.space_.training)
gaps = np.linalg.norm(Z[:, None] - Z[None], axis=2)
np.fill_diagonal(gaps, np.inf)
print(f"between neighbours in the table: {np.median(gaps.min(axis=1)):.2f} (median)")
print(f"from a design to the table:      {np.median(optimizer.distance_to_data_):.2f}")

# %%
# After the fact
# --------------
# The laboratory answers. Points below the grey line are worse than was promised.
actual = task.evaluate(designs)
display = DesignDisplay.from_estimator(optimizer, actual=actual, best_known=y.max())
{name: round(value, 2) for name, value in display.summary_.items()}

# %%
# A score of 0 is the poorest wine of the full table and 1 the richest, most of which we
# never saw.
import pandas as pd

scores = {"rows of the table": X, "suggested designs": designs}
pd.DataFrame(
    {
        name: np.quantile(task.normalized_score(rows), [0.5, 0.8, 1.0])
        for name, rows in scores.items()
    },
    index=["median", "80 % quantile", "best"],
).round(2)

# %%
# What we saw
# -----------
# * The designs are rows of the same types, within bounds that nobody had to write down.
# * As a batch they are twice as good as the rows they were learnt from: their median is
#   above the 80 % quantile of the table. Few of them beat its best wine, and not by
#   much: it is the batch that gains, more than its best design.
# * They were promised a little more than they held. Among themselves the order of the
#   promises is weak evidence, so try several designs and not only the first.
# * The designs are hardly further from the table than its rows are from each other.
#   Where the first picture shows larger distances, narrow the bounds before you believe
#   it.
