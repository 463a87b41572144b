# SPDX-License-Identifier: BSD-3-Clause
"""The picture of the balance shows the numbers."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from skpapers.causal import BalanceDisplay, EntropyBalancing

mpl.use("agg")


@pytest.fixture(autouse=True)
def closed_figures():
    """Leave no figure open."""
    yield
    plt.close("all")


def test_draws_the_table_of_the_estimator(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((200, 4))
    T = X[:, 1] + rng.standard_normal(200) > 0
    balancing = EntropyBalancing("ATT").fit(X, T)
    display = BalanceDisplay.from_estimator(balancing, n_moments=3)
    before = balancing.balance_["difference_before"]
    rows = np.argsort(-np.abs(before))[:3]
    assert display.shown_ == [f"x{j}" for j in rows]
    drawn = {line.get_label(): line.get_xdata() for line in display.ax_.lines}
    np.testing.assert_array_equal(drawn["before"], before[rows])
    np.testing.assert_allclose(drawn["after weighting"], 0, atol=1e-6)
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == (
        display.shown_
    )


def test_absolute_differences_in_given_axes():
    _, ax = plt.subplots()
    display = BalanceDisplay([-0.5, 0.2], [0.0, -0.1], ["a$", "b"])
    assert display.plot(ax, absolute=True) is display
    assert display.ax_ is ax
    drawn = {line.get_label(): line.get_xdata() for line in ax.lines}
    np.testing.assert_array_equal(drawn["before"], [0.5, 0.2])
    np.testing.assert_array_equal(drawn["after weighting"], [0.0, 0.1])


def test_refuses_tables_that_do_not_fit():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        BalanceDisplay([0.1], [0.2, 0.3], ["a"])
