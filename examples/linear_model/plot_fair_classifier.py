"""
Does the model treat both sexes alike?
======================================

A clinic wants to call in those of its 442 diabetes patients whose disease is likely to
progress fast over the next year. In the table both sexes are affected equally often.
Will a model that never sees the sex of a patient call them in equally often? And if it
does not, what does it cost to make it do so?
"""

# %%
# The table
# ---------
# The target is whether the disease progressed by more than the median; the sex is taken
# out of the features and serves only to look at the result.
import pandas as pd
from sklearn.datasets import load_diabetes

diabetes = load_diabetes(as_frame=True, scaled=False)
fast = (diabetes.target > diabetes.target.median()).rename("fast progression")
sex = diabetes.data["sex"].map({1.0: "sex 1", 2.0: "sex 2"})
X = diabetes.data.drop(columns="sex")
fast.groupby(sex).agg(["size", "mean"]).round(3)

# %%
# A model that is blind to the sex
# --------------------------------
# The features differ between the sexes, so the model sees it all the same: it calls in
# far more patients of one sex, although as many of both are affected.
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpapers.linear_model import ConstrainedLogisticRegression


def rates(model):
    """Return how many of each sex are called in, and how many calls are right."""
    called = pd.Series(model.predict(X), index=X.index)
    return {**called.groupby(sex).mean(), "accuracy": (called == fast).mean()}


blind = make_pipeline(StandardScaler(), ConstrainedLogisticRegression())
table = {"blind": rates(blind.fit(X, fast))}
pd.DataFrame(table).T.round(3)

# %%
# The same rate for both
# ----------------------
# ``constraints="parity"`` adds the equation that both sexes are called in at the same
# rate. The sex is given to `fit` alone: to predict, the model does not need it.
parity = make_pipeline(
    StandardScaler(), ConstrainedLogisticRegression(constraints="parity")
)
parity.fit(X, fast, constrainedlogisticregression__sensitive_features=sex)
table["parity"] = rates(parity)
pd.DataFrame(table).T.round(3)

# %%
# What it costs
# -------------
# ``strength`` is the share of the gap that is removed. Accuracy and gap are measured on
# patients left out of the fit; a rate of some 90 patients is only known to about 0.05,
# which is why the gap does not fall to zero.
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.preprocessing import scale

from skpapers.linear_model import TradeoffDisplay

_ = TradeoffDisplay.from_estimator(
    ConstrainedLogisticRegression(constraints="parity"),
    scale(X),
    fast,
    sensitive_features=sex,
    cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=6, random_state=0),
)

# %%
# Which strength?
# ---------------
# `GridSearchCV` chooses it like any parameter. With metadata routing the sex reaches
# the fits, and the scorer that measures the gap, with the patients of each fold.
import sklearn
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV


def rate_gap(y_true, y_pred, sensitive_features):
    """Return the difference between the rates of both sexes."""
    called = pd.Series(y_pred).groupby(sensitive_features.to_numpy()).mean()
    return abs(called.iloc[0] - called.iloc[1])


with sklearn.config_context(enable_metadata_routing=True):
    fair = ConstrainedLogisticRegression(constraints="parity")
    gap = make_scorer(rate_gap, greater_is_better=False)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), fair.set_fit_request(sensitive_features=True)),
        {"constrainedlogisticregression__strength": [0.0, 0.25, 0.5, 0.75, 1.0]},
        scoring={
            "accuracy": "accuracy",
            "gap": gap.set_score_request(sensitive_features=True),
        },
        refit="gap",
        cv=RepeatedStratifiedKFold(n_splits=3, n_repeats=6, random_state=0),
    ).fit(X, fast, sensitive_features=sex)

pd.DataFrame(
    {
        "strength": search.cv_results_["param_constrainedlogisticregression__strength"],
        "accuracy": search.cv_results_["mean_test_accuracy"],
        "gap": -search.cv_results_["mean_test_gap"],
    }
).round(3)

# %%
# What the equation changed
# -------------------------
# The multiplier of the equation is its price: by how much the loss falls for each unit
# of gap that is allowed. The coefficients show where the model had read the sex from.
print(f"price of the equation: {abs(parity[-1].multipliers_[0]):.2f}")
coefficients = {"blind": blind[-1].coef_[0], "parity": parity[-1].coef_[0]}
pd.DataFrame(coefficients, index=X.columns).round(2)

# %%
# What we saw
# -----------
# A model need not see the sex to treat the sexes differently. One equation makes the
# rates equal, at a price in accuracy that can be measured beforehand, and on patients
# who were not in the fit the rates are equal up to chance only.
