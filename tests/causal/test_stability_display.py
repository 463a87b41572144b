"""The picture of edge probabilities: what is drawn and in which order."""

import numpy as np
import pytest

from skpapers.causal import EdgeStabilityDisplay, StabilityDAG, TopologicalSwap

plt = pytest.importorskip("matplotlib.pyplot")
P = np.array([[0, 0.9, 0.3], [0.1, 0, 0], [0.4, 0, 0]])


@pytest.fixture(autouse=True)
def _close():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_edges_and_heatmap():
    display = EdgeStabilityDisplay.from_probabilities(P, order=[2, 0, 1])
    assert display.edges_ == [("x0", "x1"), ("x2", "x0")]
    np.testing.assert_array_equal(
        display.im_.get_array(), P[np.ix_([2, 0, 1], [2, 0, 1])]
    )
    widths = [bar.get_width() for bar in display.axes_[1].patches]
    np.testing.assert_allclose(widths, [1.0, 0.7, 0.9, 0.4])
    display.figure_.canvas.draw()
    assert display.plot(kind="edges", n_edges=1).edges_ == [("x0", "x1")]


def test_from_estimator():
    X = np.random.default_rng(0).standard_normal((60, 3))
    X[:, 1] += 2 * X[:, 0]
    learner = StabilityDAG(
        TopologicalSwap(loss="squared"), n_bootstraps=5, random_state=0
    )
    _, ax = plt.subplots()
    display = EdgeStabilityDisplay.from_estimator(learner.fit(X), kind="edges", ax=ax)
    assert display.axes_ == [ax]
    assert display.edges_[0] == ("x0", "x1")


def test_calibrated_probabilities():
    X = np.random.default_rng(0).standard_normal((60, 3))
    X[:, 1] += 0.3 * X[:, 0]
    learner = StabilityDAG(
        TopologicalSwap(loss="squared"), n_bootstraps=9, random_state=0
    )
    with pytest.raises(ValueError, match="n_calibrations > 0"):
        EdgeStabilityDisplay.from_estimator(learner.fit(X), calibrated=True)
    learner.set_params(n_calibrations=2).fit(X)
    display = EdgeStabilityDisplay.from_estimator(learner, calibrated=True)
    np.testing.assert_array_equal(
        display.edge_probabilities, learner.calibrated_probabilities_
    )
    assert display.axes_[1].get_xlabel() == "probability"


@pytest.mark.parametrize(
    ("matrix", "options", "message"),
    [
        (P + 0.5, {}, "P\\[j, i\\] <= 1"),
        (P[:2], {}, "square"),
        (P, {"names": ["a"]}, "names"),
        (P, {"order": [0, 0, 1]}, "permutation"),
        (P, {"kind": "pie"}, "kind"),
    ],
)
def test_bad_input(matrix, options, message):
    with pytest.raises(ValueError, match=message):
        EdgeStabilityDisplay.from_probabilities(matrix, **options)


def test_number_of_axes():
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="needs 2 axes"):
        EdgeStabilityDisplay.from_probabilities(P, ax=ax)
