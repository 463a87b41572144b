# SPDX-License-Identifier: BSD-3-Clause
"""What all estimators of the package share."""

import pytest
from sklearn.linear_model import LogisticRegression

from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing


class Around(DocumentedEstimator):
    """Holds another estimator."""

    def __init__(self, inner=None, size=1):
        self.inner = inner
        self.size = size

    @all_or_nothing
    def fit(self, X, y=None):
        self.fitted_ = X
        if X is None:
            raise ValueError("nothing")
        return self


def test_parameters_of_none_are_told():
    with pytest.raises(ValueError, match=r"'inner__C' cannot.*inner of Around is None"):
        Around().set_params(inner__C=2)
    with pytest.raises(ValueError, match="inner of Around is None"):
        Around(LogisticRegression()).set_params(inner=None, inner__C=2)


def test_parameters_within_are_set():
    around = Around(LogisticRegression()).set_params(inner__C=2, size=3)
    assert (around.inner.C, around.size) == (2, 3)
    other = Around().set_params(inner=LogisticRegression(), inner__C=5)
    assert other.inner.C == 5
    with pytest.raises(ValueError, match="Invalid parameter 'other'"):
        Around().set_params(other__C=2)


def test_a_failed_fit_changes_nothing():
    around = Around().fit(1)
    with pytest.raises(ValueError, match="nothing"):
        around.fit(None)
    assert around.fitted_ == 1
