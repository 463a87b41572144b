# SPDX-License-Identifier: BSD-3-Clause
import sys

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold, cross_val_score

from skpapers.datasets import make_design_task, make_table_task
from skpapers.datasets._design_tasks import _tables


def test_diabetes():
    task = make_design_task("diabetes")
    data = load_diabetes(scaled=False)
    X, y = task.sample()
    assert task.is_approximate
    assert task.optimum is None
    assert task.categories == [1]
    assert task.labels == {1: [1, 2]}
    assert {"age", "s1"} <= {task.feature_names[j] for j in task.integers}
    np.testing.assert_array_equal(X[:, 0], data.data[:, 0])
    np.testing.assert_array_equal(X[:, 1] + 1, data.data[:, 1])
    measured = make_design_task("diabetes", scores="measured")
    np.testing.assert_array_equal(measured.sample()[1], -data.target)
    assert (measured.y_min_, measured.y_max_) == (-346, -25)
    np.testing.assert_allclose(measured.evaluate(X), y)
    assert 0.7 < np.corrcoef(y, -data.target)[0, 1] < 1


def test_wine():
    task = make_design_task("wine")
    data = load_wine()
    X, y = task.sample()
    assert task.is_approximate
    assert task.categories == [12]
    assert task.labels[12] == ["class_0", "class_1", "class_2"]
    assert "flavanoids" not in task.feature_names
    assert {"magnesium", "proline"} == {task.feature_names[j] for j in task.integers}
    np.testing.assert_array_equal(X[:, 12], data.target)
    np.testing.assert_array_equal(X[:, 0], data.data[:, 0])
    assert np.corrcoef(y, data.data[:, 6])[0, 1] > 0.98


def test_oracles_are_as_good_as_told():
    """R² out of fold, as the documentation has it."""
    folds = KFold(5, shuffle=True, random_state=0)
    for name, told in (("diabetes", 0.43), ("wine", 0.91)):
        task = make_design_task(name, scores="measured")
        X, y = task.sample()
        model = task._function.keywords["model"]
        Z = _tables.one_hot(X, task._function.keywords["n_labels"])
        reached = cross_val_score(model, Z, y, cv=folds).mean()
        assert reached == pytest.approx(told, abs=0.01), name


def test_one_hot():
    X = np.array([[1, 5.0, 0], [0, 6.0, 2]])
    expected = [[5, 0, 1, 1, 0, 0], [6, 1, 0, 0, 0, 1]]
    np.testing.assert_array_equal(_tables.one_hot(X, {0: 2, 2: 3}), expected)


def make_table(n=40):
    rng = np.random.default_rng(0)
    X = np.empty((n, 4), dtype=object)
    X[:, 0] = rng.normal(size=n)
    X[:, 1] = rng.integers(0, 9, n).tolist()
    X[:, 2] = np.array(["fan", "still"], dtype=object)[rng.integers(0, 2, n)]
    X[:, 3] = [bool(v) for v in rng.integers(0, 2, n)]
    y = X[:, 0].astype(float) + 2 * (X[:, 2] == "fan") - X[:, 3].astype(float)
    return X, y.astype(float)


def test_table_with_an_oracle_of_its_own():
    X, y = make_table()
    oracle = LinearRegression()
    task = make_table_task(X, y, oracle, name="oven")
    assert not hasattr(oracle, "coef_")
    assert task.integers == [1]
    assert task.labels == {2: ["fan", "still"], 3: [False, True]}
    np.testing.assert_allclose(task.evaluate(X), y, atol=1e-9)
    new = np.array([[7.0, 3, "fan", True]], dtype=object)
    np.testing.assert_allclose(task.evaluate(new), [8.0])
    down = make_table_task(X, y, oracle, maximize=False)
    np.testing.assert_allclose(down.evaluate(X), -y, atol=1e-9)
    codes, _ = task.sample()
    np.testing.assert_array_equal(task.bounds[2:], [[0, 1], [0, 1]])
    np.testing.assert_array_equal(codes[:, 1], X[:, 1].astype(float))


def test_table_of_a_frame_equals_that_of_an_array():
    pd = pytest.importorskip("pandas")
    X, y = make_table()
    frame = pd.DataFrame(X, columns=["heat", "minutes", "oven", "door"])
    frame = frame.astype({"heat": float, "minutes": int, "door": bool})
    array = make_table_task(X, y, Ridge())
    tasks = [
        make_table_task(frame, y, Ridge()),
        make_table_task(frame.astype({"oven": "category"}), pd.Series(y), Ridge()),
        make_table_task(frame, y, Ridge(), categories=["oven", 3], integers=[1]),
        make_table_task(frame, y, Ridge(), integers=["minutes"]),
    ]
    if (pl := sys.modules.get("polars")) is not None:
        tasks.append(make_table_task(pl.from_pandas(frame), y, Ridge()))
    for task in tasks:
        assert task.feature_names == ["heat", "minutes", "oven", "door"]
        assert task.integers == array.integers == [1]
        assert task.labels == array.labels
        np.testing.assert_allclose(task.evaluate(frame), array.evaluate(X))
        full, _ = task.sample(as_frame=True)
        np.testing.assert_array_equal(full["oven"].astype(str), frame["oven"])


def test_labels_that_no_row_has():
    pd = pytest.importorskip("pandas")
    kinds = pd.CategoricalDtype(["c", "b", "a"])
    frame = pd.DataFrame({"kind": pd.Series(list("aabb"), dtype=kinds)})
    task = make_table_task(frame, [1.0, 2, 3, 4], Ridge())
    assert task.labels == {0: ["c", "b", "a"]}
    assert np.isfinite(task.evaluate([[0]])).all()


@pytest.mark.parametrize("kind", ["ns", "s", "objects", "array", "polars"])
def test_days_are_labels(kind):
    pd = pytest.importorskip("pandas")
    y = np.arange(12.0)
    days = pd.Series(pd.to_datetime(["2024-03-01", "2024-01-01", "2024-02-01"] * 4))
    if kind == "array":
        X = days.to_numpy().astype("M8[ns]")[:, None]
    elif kind == "polars":
        pl = pytest.importorskip("polars")
        X = pl.DataFrame({"heat": y % 5, "day": days.dt.date.tolist()})
    else:
        dtype = object if kind == "objects" else f"datetime64[{kind}]"
        X = pd.DataFrame({"heat": y % 5, "day": days.astype(dtype)})
    task = make_table_task(X, y, LinearRegression())
    (labels,) = task.labels.values()
    expected = ["2024-01-01", "2024-02-01", "2024-03-01"]
    assert [str(label)[:10] for label in labels] == expected
    codes, scores = task.sample()
    np.testing.assert_array_equal(codes[:, -1], [2, 0, 1] * 4)
    np.testing.assert_allclose(task.evaluate(X), scores)
    if kind != "array":
        frame, _ = task.sample(as_frame=True)
        np.testing.assert_allclose(task.evaluate(frame), scores)
    with pytest.raises(ValueError, match=r"has the value .*must be one of"):
        task.evaluate(np.array([[1.0, "never"]], dtype=object)[:, -X.shape[1] :])


@pytest.mark.parametrize("kind", ["boolean", "category", "string", "days", "polars"])
def test_missing_labels(kind):
    pd = pytest.importorskip("pandas")
    y = np.arange(6.0)
    values = {
        "boolean": lambda: pd.array([True, None, False] * 2, dtype="boolean"),
        "category": lambda: pd.Categorical(["a", None, "b"] * 2),
        "string": lambda: pd.array(["a", None, "b"] * 2, dtype="string"),
        "days": lambda: pd.to_datetime(["2024-01-01", None, "2024-02-01"] * 2),
        "polars": lambda: ["a", None, "b"] * 2,
    }[kind]()
    library = pytest.importorskip("polars") if kind == "polars" else pd
    X = library.DataFrame({"heat": y, "kind": values})
    with pytest.raises(ValueError, match="column 'kind' has missing values"):
        make_table_task(X, y, LinearRegression())


def test_lists_are_no_labels():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame({"heat": [1.0, 2.0], "kind": [[1], [2]]})
    with pytest.raises(ValueError, match="column 'kind' holds lists"):
        make_table_task(X, [1.0, 2.0], LinearRegression())


def test_bad_tables():
    X, y = make_table()
    with pytest.raises(ValueError, match="inconsistent numbers"):
        make_table_task(X, y[:-1])
    with pytest.raises(ValueError, match="categories names 'oven', which is no column"):
        make_table_task(X, y, categories=["oven"])
    with pytest.raises(ValueError, match="integers names 4"):
        make_table_task(X, y, integers=[4])
    with pytest.raises(ValueError, match="Feature 'x0' is among the integers"):
        make_table_task(X, y, LinearRegression(), integers=[0, 1])
    with pytest.raises(ValueError, match="must be a table"):
        make_table_task([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="nothing to optimise"):
        make_table_task(X, np.ones(len(y)), LinearRegression())
    X[:, 0] = 3.5
    with pytest.raises(ValueError, match="Feature 'x0' has the same value in all rows"):
        make_table_task(X, y, LinearRegression())
    X[:, 2] = "fan"  # a label is a choice, even if only one was made
    X[0, 0] = 4.0
    assert make_table_task(X, y, LinearRegression()).labels[2] == ["fan"]
    y[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        make_table_task(X, y)
    X, y = make_table()
    X[3, 2] = None
    with pytest.raises(ValueError, match="column 'x2' has missing values"):
        make_table_task(X, y)
    X[3, 2], X[3, 0] = "fan", np.nan
    with pytest.raises(ValueError, match="NaN"):
        make_table_task(X, y)
