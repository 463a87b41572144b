# SPDX-License-Identifier: BSD-3-Clause
"""Bounds with labels, and columns that bounds fix."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from skpapers.offline_optimization import OfflineOptimizer
from skpapers.offline_optimization._searches import FILES, load_search
from skpapers.offline_optimization._space import DesignSpace
from skpapers.utils import DataConditionWarning

NAMES = ["temp", "ph"]
EXPECTED = [[20.0, 90.0], [0.0, 14.0]]
LOWER, UPPER = {"ph": 0.0, "temp": 20.0}, {"ph": 14.0, "temp": 90.0}
PACKAGES = {"cmaes": "cma", "pymoo": "pymoo", "bo": "botorch"}
SHORT = {
    "gradient": {"n_steps": 5},
    "coms": {"n_steps": 5},
    "cmaes": {"n_generations": 4},
    "reinforce": {"n_iterations": 5, "batch_size": 8},
    "pymoo": {"n_generations": 3, "pop_size": 8},
    "bo": {"n_points": 8, "n_iterations": 1, "batch_size": 2},
}


@pytest.fixture
def table(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    return pd.DataFrame(rng.uniform(1, 9, (20, 2)), columns=NAMES)


# --------------------------------------------------------------------------- labels
@pytest.mark.parametrize(
    "bounds",
    [
        pd.DataFrame({"min": LOWER, "max": UPPER}),
        (pd.Series(LOWER), pd.Series(UPPER)),
        [pd.Series(LOWER), pd.Series(UPPER)],
        (pd.Series(LOWER), [90.0, 14.0]),
        pd.Series({name: (LOWER[name], UPPER[name]) for name in LOWER}),
        pd.DataFrame(EXPECTED),
        (pd.Series([20.0, 0.0]), pd.Series([90.0, 14.0])),
        tuple(np.array(EXPECTED).T),
    ],
)
def test_labels_are_names_of_columns(table, bounds):
    np.testing.assert_array_equal(DesignSpace(table, bounds=bounds).bounds, EXPECTED)


def test_one_side_may_be_a_number(table):
    found = DesignSpace(table, bounds=(0, pd.Series(UPPER))).bounds
    np.testing.assert_array_equal(found, [[0, 90], [0, 14]])


def test_names_that_are_numbers():
    X = pd.DataFrame(np.eye(3), columns=[2, 0, 1])
    found = DesignSpace(X, bounds=(-1, pd.Series([5.0, 6.0, 7.0]))).bounds
    np.testing.assert_array_equal(found[:, 1], [7, 5, 6])
    plain = DesignSpace(X.to_numpy(), bounds=(-1, pd.Series([5.0, 6.0, 7.0]))).bounds
    np.testing.assert_array_equal(plain[:, 1], [5, 6, 7])


@pytest.mark.parametrize("names", [["ph", "time"], ["ph", "ph"], ["ph"]])
def test_labels_that_are_no_columns(table, names):
    bounds = pd.DataFrame([[0.0, 1.0]] * len(names), index=names)
    with pytest.raises(ValueError, match=r"bounds are labelled \['ph'.*columns of X"):
        DesignSpace(table, bounds=bounds)


# -------------------------------------------------------------------- fixed columns
@pytest.mark.parametrize("name", sorted(FILES))
def test_searches_keep_fixed_columns(table, name):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    space = DesignSpace(table, bounds={"temp": (3.7, 3.7)})
    assert space.bounds[0].tolist() == [3.7, 3.7]

    class Objective:
        """A plane, with a gradient."""

        def values(self, Z):
            return Z.sum(axis=1)

        def value_and_grad(self, Z):
            return self.values(Z), np.ones_like(Z)

        def with_reduction(self, reduction):
            return self

    starts = space.project(space.encode(space.training))[:8]
    search, rng = load_search(name), np.random.RandomState(0)
    Z = search(Objective(), space, starts, 8, rng, **SHORT[name])
    designs = space.write(space.decode(Z))
    assert set(designs["temp"]) == {3.7}
    assert designs["ph"].nunique() > 1
    near = space.write(space.vary(space.decode(Z), 0.5, rng))
    assert set(near["temp"]) == {3.7}


@pytest.mark.parametrize(
    ("dtype", "value", "kept"),
    [("float32", 0.1, np.float32(0.1)), ("int64", 4, 4), ("float64", 1 / 3, 1 / 3)],
)
def test_fixed_values_of_a_dtype(dtype, value, kept):
    X = pd.DataFrame({"a": [0, 9], "b": [0.0, 1.0]}).astype({"a": dtype})
    space = DesignSpace(X, bounds={"a": (value, value)})
    far = space.write(space.decode(np.full((2, 2), 50.0)))
    assert far["a"].tolist() == [kept, kept]
    assert far["a"].dtype == dtype


def test_bounds_of_a_fit_can_be_used_again(table):
    table["constant"] = 5.5
    y = table["ph"] - table["temp"] ** 2
    first = OfflineOptimizer(Ridge(), search="reinforce", n_candidates=6).fit(table, y)
    again = OfflineOptimizer(
        Ridge(), search="reinforce", bounds=first.bounds_, n_candidates=6
    ).fit(table, y)
    np.testing.assert_array_equal(again.bounds_, first.bounds_)
    assert set(again.suggest()["constant"]) == {5.5}


@pytest.mark.parametrize("name", ["reinforce", "cmaes", "pymoo", "bo"])
@pytest.mark.parametrize(("value", "n_left"), [(5.0, 1), (0.5, 0)])
def test_a_table_of_fixed_columns_has_one_design(value, n_left, name):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    X = np.array([[0.5], [1.0], [2.0]])
    optimizer = OfflineOptimizer(
        Ridge(), search=name, bounds=(value, value), n_candidates=3
    ).fit(X, [1.0, 2.0, 3.0])
    with pytest.warns(
        DataConditionWarning, match=f"Only {n_left} of 3.*about 1 designs"
    ):
        designs = optimizer.suggest()
    assert designs.tolist() == [[value]] * n_left
