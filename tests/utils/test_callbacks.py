"""Callbacks hear of every outer iteration, and may end the fit."""

import pytest
from sklearn.base import BaseEstimator

from skpapers.utils._callbacks import CallbackSupportMixin, reported, with_callbacks

pytest.importorskip("sklearn.callback")


class Counting(CallbackSupportMixin, BaseEstimator):
    @with_callbacks
    def fit(self, X=None, y=None):
        self.done_ = list(reported(self, range(5), "step"))
        return self


class Listener:
    """Collects what it hears and asks to stop at the end of the given step."""

    def __init__(self, stop_at=None):
        self.heard, self.stop_at = [], stop_at

    def setup(self, estimator, context):
        self.heard.append("setup")

    def on_fit_task_begin(self, estimator, context, **kwargs):
        self.heard.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(self, estimator, context, **kwargs):
        self.heard.append(f"end {context.task_name} {context.task_id}")
        return context.task_name == "step" and context.task_id == self.stop_at

    def teardown(self, estimator, context):
        self.heard.append("teardown")


def test_all_steps_are_reported():
    listener = Listener()
    estimator = Counting().set_callbacks(listener).fit()
    assert estimator.done_ == [0, 1, 2, 3, 4]
    assert [h for h in listener.heard if h.startswith("begin step")] == [
        f"begin step {k}" for k in range(5)
    ]
    assert listener.heard[0] == "setup"
    assert listener.heard[-2:] == ["end fit 0", "teardown"]


def test_callback_ends_the_fit():
    estimator = Counting().set_callbacks(Listener(stop_at=2)).fit()
    assert estimator.done_ == [0, 1, 2]


def test_without_callbacks():
    assert Counting().fit().done_ == [0, 1, 2, 3, 4]
