# SPDX-License-Identifier: BSD-3-Clause
import gc
import pickle
import subprocess
import sys
from types import FunctionType, ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skpapers.datasets import (
    DesignTask,
    list_design_tasks,
    make_design_task,
    make_offline_design,
)

FORMULAS = [
    "ackley10",
    "branin",
    "griewank10",
    "hartmann6",
    "levy10",
    "rosenbrock10",
    "styblinski_tang10",
]
TABLES = ["diabetes", "pwm8", "wine"]
BUILT_IN = FORMULAS + TABLES


def test_names():
    assert list_design_tasks() == sorted([*BUILT_IN, "tf_bind_8"])
    assert make_design_task("ackley", n_features=3).name == "ackley3"


# ------------------------------------------------------------------------- the oracle
@pytest.mark.parametrize("name", BUILT_IN)
def test_calls_are_counted(name):
    task = make_design_task(name)
    X, y, _ = make_offline_design(task, 40, random_state=0)
    assert task.n_evaluations_ == task.n_calls_ == 0
    np.testing.assert_allclose(task.evaluate(X), y, rtol=1e-9)
    assert (task.n_evaluations_, task.n_calls_) == (len(X), 1)
    task.normalized_score(X[:3])
    assert (task.n_evaluations_, task.n_calls_) == (len(X) + 3, 2)
    with pytest.raises(ValueError, match="features"):
        task.evaluate(X[:, :-1])
    assert (task.n_evaluations_, task.n_calls_) == (len(X) + 3, 2)


def reachable(*roots):
    """Return all objects that roots lead to, other than through code."""
    seen, todo = {}, list(roots)
    while todo:
        obj = todo.pop()
        if id(obj) in seen or isinstance(obj, (type, ModuleType, FunctionType)):
            continue
        seen[id(obj)] = obj
        todo += gc.get_referents(obj)
        base = getattr(obj, "base", None) if isinstance(obj, np.ndarray) else None
        todo += [] if base is None else [base]
    return list(seen.values())


@pytest.mark.parametrize("as_frame", [False, True])
@pytest.mark.parametrize("name", ["ackley10", "pwm8", "wine"])
def test_the_table_does_not_lead_to_the_oracle(name, as_frame):
    if as_frame:
        pytest.importorskip("pandas")
    task = make_design_task(name)
    X, y, bounds = make_offline_design(task, 100, random_state=0, as_frame=as_frame)
    found = reachable(X, y, bounds)
    assert not any(isinstance(obj, DesignTask) for obj in found)
    arrays = [obj for obj in found if isinstance(obj, np.ndarray)]
    assert 0 < max(len(a) for a in arrays if a.ndim) <= len(X) < 100
    assert y.max() < task.y_max_
    assert any(obj is task for obj in reachable([task]))  # it finds what is there


def test_what_is_handed_out_is_a_copy():
    task = make_design_task("pwm3")
    X, y, _ = make_offline_design(task)
    X[:], y[:] = 0, 0
    again = make_offline_design(task)
    assert again[0].any()
    assert again[1].any()
    task = make_design_task("branin")
    _, _, bounds = make_offline_design(task)
    bounds[:] = 0
    assert task.bounds[1, 1] == 15
    X, y = make_design_task("pwm3").sample()
    assert X.flags.writeable
    assert y.flags.writeable


@pytest.mark.parametrize("name", BUILT_IN)
def test_tasks_can_be_pickled(name):
    task = make_design_task(name)
    X, _, _ = make_offline_design(task, 40, random_state=0)
    copy = pickle.loads(pickle.dumps(task))
    np.testing.assert_array_equal(copy.evaluate(X), task.evaluate(X))
    assert copy.y_max_ == task.y_max_


# ------------------------------------------------------------------- offline designs
@pytest.mark.parametrize("name", BUILT_IN)
def test_offline_design(name, global_random_seed):
    task = make_design_task(name)
    X, y, bounds = make_offline_design(task, 100, random_state=global_random_seed)
    full, score = task.sample(100, random_state=global_random_seed)
    keep = score <= np.median(score)
    np.testing.assert_array_equal(X, full[keep])
    np.testing.assert_array_equal(y, score[keep])
    assert len(X) >= 50
    assert X.dtype == (np.int64 if name == "pwm8" else np.float64)
    assert y.dtype == np.float64
    if name == "pwm8":
        assert bounds is None
        assert task.categories == list(range(8))
    else:
        assert ((bounds[:, 0] <= X) & (bounds[:, 1] >= X)).all()
    if name in FORMULAS:
        assert (task.y_min_, task.y_max_) == (score.min(), score.max())
    else:
        _, every = task.sample()
        assert (task.y_min_, task.y_max_) == (every.min(), every.max())
    span = task.y_max_ - task.y_min_
    np.testing.assert_allclose(
        task.normalized_score(X), (y - task.y_min_) / span, atol=1e-9
    )
    other = make_offline_design(name, 100, random_state=global_random_seed + 1)
    assert not np.array_equal(other[0][:10], X[:10])


def test_sizes():
    assert len(make_offline_design("branin")[0]) == 1500
    assert len(make_offline_design("pwm4", quantile=1)[0]) == 256
    X, y, _ = make_offline_design("pwm4", quantile=0)
    assert len(X) == len(y) == 1
    X, y, _ = make_offline_design("branin", 1000, quantile=0.2, random_state=0)
    assert len(X) == 200


def test_generators_go_on():
    rng = np.random.default_rng(0)
    first = make_offline_design("branin", 10, random_state=rng)
    second = make_offline_design("branin", 10, random_state=rng)
    assert not np.array_equal(first[0], second[0])
    again = make_offline_design("branin", 10, random_state=np.random.default_rng(0))
    np.testing.assert_array_equal(first[0], again[0])
    seeded = make_offline_design("branin", 10, random_state=0)
    np.testing.assert_array_equal(first[0], seeded[0])


def test_rows_of_a_table_are_drawn_once():
    X, _ = make_design_task("pwm4").sample(256, random_state=0)
    assert len(np.unique(X, axis=0)) == 256


@settings(max_examples=30, deadline=None)
@given(
    quantile=st.floats(0, 1),
    n_samples=st.integers(2, 60),
    seed=st.integers(0, 2**31),
    name=st.sampled_from(["ackley3", "pwm4", "griewank2"]),
)
def test_the_worst_are_handed_out(quantile, n_samples, seed, name):
    task = make_design_task(name)
    X, y, _ = make_offline_design(task, n_samples, quantile=quantile, random_state=seed)
    _, full = task.sample(n_samples, random_state=seed)
    np.testing.assert_array_equal(np.sort(y), np.sort(full)[: len(y)])
    assert len(y) >= quantile * (n_samples - 1)
    assert len(X) == len(y)


# ---------------------------------------------------------------------------- frames
@pytest.mark.parametrize("name", ["branin", *TABLES])
def test_frames(name):
    pd = pytest.importorskip("pandas")
    task = make_design_task(name)
    X, y, _ = make_offline_design(task, 60, random_state=0)
    frame, series, _ = make_offline_design(task, 60, random_state=0, as_frame=True)
    assert isinstance(frame, pd.DataFrame)
    assert isinstance(series, pd.Series)
    assert frame.columns.tolist() == task.feature_names
    np.testing.assert_array_equal(series, y)
    np.testing.assert_allclose(task.evaluate(frame), y, rtol=1e-9)
    np.testing.assert_allclose(task.evaluate(frame.iloc[:, ::-1]), y, rtol=1e-9)
    for j, column in enumerate(task.feature_names):
        values = frame[column]
        if j in (task.categories or []):
            assert values.cat.categories.tolist() == task.labels[j]
            np.testing.assert_array_equal(values.cat.codes, X[:, j])
        else:
            assert values.dtype == (np.int64 if j in task.integers else np.float64)
            np.testing.assert_array_equal(values, X[:, j])


@pytest.mark.parametrize("name", TABLES)
def test_polars_and_objects(name):
    pl = pytest.importorskip("polars")
    pytest.importorskip("pandas")
    task = make_design_task(name)
    X, y = task.sample(30, random_state=0)
    frame, _ = task.sample(30, random_state=0, as_frame=True)
    columns = {name: frame[name].tolist() for name in frame}
    score = task.evaluate(pl.DataFrame(columns))
    np.testing.assert_allclose(score, y, rtol=1e-9)
    objects = np.array([columns[name] for name in columns], dtype=object).T
    np.testing.assert_allclose(task.evaluate(objects), y, rtol=1e-9)
    np.testing.assert_allclose(task.evaluate(X.tolist()), y, rtol=1e-9)


def test_letters():
    task = make_design_task("pwm8")
    codes = [[0, 1, 2, 3, 3, 2, 1, 0], [0] * 8]
    letters = [list("ACGTTGCA"), list("AAAAAAAA")]
    np.testing.assert_array_equal(task.evaluate(letters), task.evaluate(codes))
    with pytest.raises(ValueError, match="'position_3' has the value 'U'"):
        task.evaluate([list("ACUTTGCA")])
    with pytest.raises(ValueError, match="'position_2' has the code 4"):
        task.evaluate([[0, 4, 0, 0, 0, 0, 0, 0]])
    with pytest.raises(ValueError, match=r"has the code 0\.5"):
        task.evaluate([[0.5, 1, 0, 0, 0, 0, 0, 0]])


def test_frames_need_pandas():
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from skpapers.datasets import make_offline_design\n"
        "make_offline_design('pwm3')\n"
        "try:\n"
        "    make_offline_design('pwm3', as_frame=True)\n"
        "except ImportError as error:\n"
        "    assert 'skpapers[frames]' in str(error), error\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------- tasks of users
def test_mixed_designs_of_a_formula():
    def score(X):
        return X[:, 0] + 10 * X[:, 1] + 100 * X[:, 2]

    task = DesignTask(
        score,
        [(-1, 1), (0.5, 3.5), (0, 1)],
        feature_names=["a", "b", "c"],
        labels={2: ["lo", "mid", "hi"]},
        integers=[1],
    )
    np.testing.assert_array_equal(task.bounds[2], [0, 2])
    X, y = task.sample(300, random_state=0)
    assert sorted(set(X[:, 1])) == [1, 2, 3]
    assert sorted(set(X[:, 2])) == [0, 1, 2]
    np.testing.assert_array_equal(y, score(X))
    assert repr(task) == "DesignTask(name='custom', n_features=3)"


def test_normalised_scores_need_a_set_of_designs():
    task = make_design_task("branin")
    with pytest.raises(ValueError, match="no set of designs to compare with"):
        task.normalized_score(task.optimum_designs)
    assert task.n_evaluations_ == 0
    task.sample(1000, random_state=0)
    assert (task.normalized_score(task.optimum_designs) > 1).all()


def flat(X):
    return np.zeros(len(X))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "bounds=None needs a table"),
        ({"bounds": [0, 1]}, r"bounds has shape \(2,\)"),
        ({"bounds": [(0, 1), (2, 2)]}, r"feature 'x1' are \(2\.0, 2\.0\)"),
        (
            {"bounds": [(0, np.inf)], "feature_names": ["heat"]},
            "feature 'heat' are .* finite",
        ),
        ({"bounds": [(0, 1)], "feature_names": ["a", "b"]}, "1 distinct names"),
        ({"bounds": [(0, 1)], "labels": {3: ["a"]}}, "labels names column 3"),
        ({"bounds": [(0, 1)], "labels": {0: ["a", "a"]}}, "distinct"),
        ({"bounds": [(0, 1)], "integers": [1]}, "integers names column 1"),
        ({"labels": {0: ["a", "b"]}, "integers": [0]}, "both categorical and integer"),
        ({"table": ([1.0, 2.0], [1.0, 2.0])}, "table has designs of shape"),
        ({"table": ([[1.0], [np.nan]], [1.0, 2.0])}, "NaN"),
        ({"table": ([[1.0], [2.0]], [1.0, 1.0])}, "nothing to optimise"),
        (
            {"table": ([[1.0], [2.0]], [1.0, 2.0]), "bounds": [(0, 1), (0, 1)]},
            "table has 1 columns",
        ),
        (
            {
                "table": ([[1, 0], [2, 5]], [1.0, 2.0]),
                "labels": {1: ["lo", "hi"]},
                "feature_names": ["heat", "fan"],
            },
            r"'fan' has the code 5: the codes of \['lo', 'hi'\] are 0 to 1",
        ),
        (
            {"table": ([[0.5], [1.0]], [1.0, 2.0]), "labels": {0: ["lo", "hi"]}},
            r"'x0' has the code 0\.5",
        ),
        (
            {"table": ([[1.7], [2.0]], [1.0, 2.0]), "integers": [0]},
            r"'x0' is among the integers, but the table has the value 1\.7",
        ),
    ],
)
def test_bad_tasks(arguments, message):
    with pytest.raises(ValueError, match=message):
        DesignTask(flat, **arguments)


def test_bad_functions():
    with pytest.raises(TypeError, match="must be callable"):
        DesignTask("ackley")
    with pytest.raises(ValueError, match="nothing to optimise"):
        make_offline_design(DesignTask(flat, [(0, 1)]), 10)
    wide = DesignTask(lambda X: X, [(0, 1)])
    with pytest.raises(ValueError, match=r"returned an array of shape \(3, 1\)"):
        wide.evaluate(np.zeros((3, 1)))


def test_bad_designs():
    task = make_design_task("branin")
    for X, message in (
        ([[np.nan, 1]], "NaN"),
        ([[np.inf, 1]], "infinity"),
        ([1.0, 2.0], "Expected 2D"),
        ([[1.0, 2, 3]], "X has 3 features, but task 'branin' has 2"),
        (np.empty((0, 2)), "0 sample"),
        ([["a", "b"]], "could not convert"),
    ):
        with pytest.raises(ValueError, match=message):
            task.evaluate(X)
    pd = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=r"columns \['a', 'b'\]"):
        task.evaluate(pd.DataFrame(np.zeros((2, 2)), columns=["a", "b"]))


def test_bad_names_and_options():
    with pytest.raises(
        ValueError, match=r"no design task 'ackely'\. There are ackley10"
    ):
        make_design_task("ackely")
    with pytest.raises(ValueError, match="no design task 'branin3'"):
        make_offline_design("branin3")
    with pytest.raises(TypeError, match="takes no option 'n_features'"):
        make_design_task("ackley4", n_features=5)
    with pytest.raises(TypeError, match="no option 'seed'; it takes .*epistasis"):
        make_design_task("pwm8", seed=1)
    with pytest.raises(ValueError, match="at least 2"):
        make_design_task("rosenbrock1")
    with pytest.raises(ValueError, match="'n_features' parameter"):
        make_design_task("ackley0")
    with pytest.raises(ValueError, match="'n_features' parameter"):
        make_design_task("pwm11")
    with pytest.raises(ValueError, match="'epistasis' parameter"):
        make_design_task("pwm8", epistasis=1.0)
    with pytest.raises(ValueError, match="'scores' parameter"):
        make_design_task("wine", scores="true")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": 3}, "'task' parameter"),
        ({"task": "pwm3", "n_samples": 65}, "a table of 64 designs"),
        ({"task": "branin", "n_samples": 1}, "'n_samples' parameter"),
        ({"task": "branin", "quantile": 1.5}, "'quantile' parameter"),
        ({"task": "branin", "random_state": -1}, "random_state=-1"),
    ],
)
def test_bad_offline_designs(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_offline_design(**arguments)
