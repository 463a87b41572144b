# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of convergence show what the histories hold."""

import matplotlib
import numpy as np
import pytest
from scipy.optimize import OptimizeResult, rosen, rosen_der, rosen_hess

from skpapers.linear_model import GNSLogisticRegression
from skpapers.solvers import ConvergenceDisplay, gns_minimize

matplotlib.use("agg")
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


RECORDS = [
    {"fun": 3.0, "kkt": 1.0, "seconds": 0.0, "word": "start"},
    {"fun": 1.0, "kkt": 0.1, "seconds": 0.5, "word": "step"},
]


def test_solvers_and_estimators():
    result = gns_minimize(rosen, [2.0, 2.0], rosen_der, rosen_hess)
    X = np.random.default_rng(0).standard_normal((50, 2))
    model = GNSLogisticRegression().fit(X, X[:, 0] > 0)
    display = ConvergenceDisplay.from_results({"rosen": result, "model": model})
    assert display.axes_.shape == (2, 2)
    assert {len(lines) for lines in display.lines_.values()} == {4}
    gap, by_time = display.lines_["rosen"][:2]
    history = result.history
    expected = np.array(history["objective"]) - display.best
    np.testing.assert_allclose(gap.get_ydata()[:-1], expected[:-1])
    np.testing.assert_array_equal(gap.get_xdata(), np.arange(result.nit + 1))
    np.testing.assert_array_equal(by_time.get_xdata(), history["seconds"])
    residual = display.lines_["rosen"][2]
    np.testing.assert_array_equal(residual.get_ydata(), history["gradient_norm"])
    legend = display.axes_[0, 1].get_legend().get_texts()
    assert [text.get_text() for text in legend] == ["rosen", "model"]
    assert display.axes_[1, 0].get_xlabel() == "iterations"
    assert display.axes_[0, 0].get_yscale() == "log"


def test_records_with_other_names():
    display = ConvergenceDisplay({"a": RECORDS}, best=0.5).plot(x="seconds", y="gap")
    (line,) = display.lines_["a"]
    np.testing.assert_array_equal(line.get_xdata(), [0, 0.5])
    np.testing.assert_array_equal(line.get_ydata(), [2.5, 0.5])
    wrapped = OptimizeResult(history=RECORDS)
    other = ConvergenceDisplay.from_results({"a": wrapped}, x="iterations", y="kkt")
    np.testing.assert_array_equal(other.lines_["a"][0].get_ydata(), [1.0, 0.1])


def test_own_axes_and_lines():
    fig, axes = plt.subplots(1, 2)
    display = ConvergenceDisplay.from_results(
        {"a": RECORDS}, axes=axes, x="iterations", linewidth=3
    )
    assert display.figure_ is fig
    assert display.lines_["a"][0].get_linewidth() == 3
    single = ConvergenceDisplay({"a": RECORDS}).plot(axes[0], x="seconds", y="fun")
    assert single.axes_.shape == (1, 1)


def test_missing_columns_are_left_out_or_told():
    histories = {"a": RECORDS, "b": {"objective": [2.0, 1.5]}}
    display = ConvergenceDisplay.from_results(histories)
    assert len(display.lines_["a"]) == 4
    assert len(display.lines_["b"]) == 1
    with pytest.raises(ValueError, match="No history has"):
        ConvergenceDisplay({"b": histories["b"]}).plot(y="calls")


def test_gaps_below_rounding_are_not_drawn():
    display = ConvergenceDisplay({"a": {"objective": [1.0, 1e-3, 0.0, -1e-30]}}, best=0)
    display.plot(x="iterations", y="gap")
    drawn = np.isfinite(display.lines_["a"][0].get_ydata())
    assert drawn.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("histories", "words"),
    [
        ({}, "empty"),
        ({"a": {"objective": [[1.0]]}}, "not a table"),
        ({"a": {"word": ["x"]}}, "not a table"),
        ({"fun": [3.0, 1.0], "seconds": [0.0, 1.0]}, "'fun' is not a table"),
        ({"a": np.ones((2, 2))}, "neither a dict"),
        ({"a": {"fun": [1.0], "kkt": [1.0, 2.0]}}, "different lengths"),
    ],
)
def test_bad_histories(histories, words):
    with pytest.raises(ValueError, match=words):
        ConvergenceDisplay(histories)


def test_bad_results_and_axes():
    with pytest.raises(ValueError, match="neither history"):
        ConvergenceDisplay.from_results({"a": 3})
    with pytest.raises(ValueError, match="return_history=True"):
        ConvergenceDisplay.from_results({"a": OptimizeResult(x=np.ones(2), fun=1.0)})
    with pytest.raises(ValueError, match="need 4 axes"):
        ConvergenceDisplay({"a": RECORDS}).plot(plt.subplots()[1])


def test_results_have_names():
    result = gns_minimize(rosen, [2.0, 2.0], rosen_der, rosen_hess)
    for bare in ([result], result, GNSLogisticRegression(), [("a", result)]):
        with pytest.raises(TypeError, match="results must be a dict .* got"):
            ConvergenceDisplay.from_results(bare)
    for bare in ([RECORDS], RECORDS, result):
        with pytest.raises(TypeError, match="histories must be a dict .* got"):
            ConvergenceDisplay(bare)
