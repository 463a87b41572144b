"""What every public estimator keeps, whoever adds it: discovery finds them all."""

import pickle
import warnings
from functools import partial
from importlib.util import find_spec

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpapers.data_selection import EL2NScorer, TracInScorer
from skpapers.utils import DataConditionWarning
from skpapers.utils.discovery import all_estimators

# Cheap arguments, by class.
SMALL: dict[str, dict] = {
    "ConservativeRegressor": {
        "hidden_layer_sizes": (16,),
        "lr": 0.02,
        "max_epochs": 30,
        "n_ascent_steps": 2,
    },
    "EL2NScorer": {"epochs": 2, "n_runs": 2},
    "EnsembleScorer": {"scorers": [("el2n", EL2NScorer(epochs=2, n_runs=2))]},
    "ForgettingScorer": {"epochs": 1, "check_every": 0.5, "n_runs": 1},
    "GraNdScorer": {"epochs": 2, "n_runs": 2},
    "InfluenceSampler": {"scorer": EL2NScorer(epochs=2, n_runs=2)},
    "NoisyLabelDetector": {"scorer": EL2NScorer(epochs=2, n_runs=2)},
    "OfflineOptimizer": {"estimator": Ridge(), "search": "cmaes", "n_candidates": 8},
    "PVIScorer": {"epochs": 2, "n_runs": 2},
    "PrunedClassifier": {"scorer": EL2NScorer(epochs=2, n_runs=2)},
    "ScoreBank": {
        "scorers": [
            ("el2n", EL2NScorer(epochs=2, n_runs=1)),
            ("tracin", TracInScorer(epochs=2, n_checkpoints=2)),
        ]
    },
    "StabilityDAG": {"n_bootstraps": 3},
    "TargetSurrogateClassifier": {"alpha": 0.01},  # some tables are separable
    "SharpnessRegularizedRegressor": {
        "hidden_layer_sizes": (16,),
        "lr": 0.02,
        "max_epochs": 30,
    },
    "TopologicalSwapMLP": {"hidden": 3, "tol": 0.01, "max_steps": 50},
    "TracInScorer": {"epochs": 2, "n_checkpoints": 2},
    "VoGScorer": {"epochs": 2, "n_checkpoints": 2},
}
# Expected failures: class -> check -> reason. Every entry needs a test in its place.
EXPECTED: dict[str, dict[str, str]] = {}

# Methods whose results must not depend on how an estimator travelled.
RESULTS = ("predict", "predict_proba", "decision_function", "transform", "score")


def _instance(name, cls):
    return cls(**SMALL.get(name, {}))


# What an estimator cannot be fitted without, where that is an optional package.
NEEDED = {
    "ConservativeRegressor": "torch",
    "SharpnessRegularizedRegressor": "torch",
    "TopologicalSwapMLP": "torch",
}


def _installed(name):
    return name not in NEEDED or find_spec(NEEDED[name]) is not None


ESTIMATORS = [
    _instance(name, cls) for name, cls in all_estimators() if _installed(name)
]
each_estimator = pytest.mark.parametrize(
    "estimator", ESTIMATORS, ids=lambda e: type(e).__name__
)


@parametrize_with_checks(
    ESTIMATORS,
    expected_failed_checks=lambda e: EXPECTED.get(type(e).__name__, {}),
    xfail_strict=True,
)
# The suite fits tables of any shape, also with fewer rows than columns.
@pytest.mark.filterwarnings("ignore::skpapers.utils.DataConditionWarning")
# Some of its targets have no cause among the columns.
@pytest.mark.filterwarnings("ignore:No features were selected")
# Some of its groups of a few rows have no counterpart in the other group.
@pytest.mark.filterwarnings("ignore:Entropy balancing left an imbalance")
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def _target_for(estimator, y):
    """Return y as the kind of target that the estimator asks for."""
    tags = get_tags(estimator)
    if tags.estimator_type == "classifier" or tags.classifier_tags is not None:
        return np.where(y > np.median(y), "yes", "no")
    if tags.target_tags.positive_only:
        return np.exp(y / 3)
    return y


@pytest.fixture
def table(estimator, global_random_seed):
    """A table with a chain of effects and a target that depends on two columns."""
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((120, 4))
    X[:, 1] += 1.5 * X[:, 0]
    X[:, 2] -= 1.2 * X[:, 1]
    y = X[:, 1] - X[:, 3] + 2 * rng.standard_normal(120)
    return X, _target_for(estimator, y)


def _results(estimator, X, y):
    found = {}
    for method in RESULTS:
        if hasattr(estimator, method):
            arguments = (X, y) if method == "score" else (X,)
            found[method] = np.asarray(getattr(estimator, method)(*arguments))
    if not found:  # an estimator of what it was fitted to alone
        fitted = {name: np.asarray(value) for name, value in vars(estimator).items()}
        found = {name: value for name, value in fitted.items() if value.dtype == float}
    return found


def _assert_same(left, right):
    assert left.keys() == right.keys()
    assert left
    for method, value in left.items():
        np.testing.assert_array_equal(value, right[method], err_msg=method)


def _assert_near(value, expected, **tolerance):
    """Numbers are close, labels the same."""
    if value.dtype.kind in "fc":
        np.testing.assert_allclose(value, expected, **tolerance)
    else:
        np.testing.assert_array_equal(value, expected)


def _seeded(estimator):
    estimator = clone(estimator)
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    return estimator


@each_estimator
def test_is_deterministic(estimator, table):
    first, second = (_seeded(estimator).fit(*table) for _ in range(2))
    _assert_same(_results(first, *table), _results(second, *table))


@each_estimator
def test_leaves_the_global_random_state_alone(estimator, table):
    _, numbers, place, *_ = np.random.get_state()  # noqa: NPY002 (it is what we guard)
    numbers = numbers.copy()
    fitted = _seeded(estimator).fit(*table)
    _results(fitted, *table)
    _, found, now, *_ = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(numbers, found)
    assert place == now


@each_estimator
def test_reads_memory_maps_and_changes_nothing(estimator, table, tmp_path):
    joblib.dump(table, tmp_path / "table")
    X, y = joblib.load(tmp_path / "table", mmap_mode="r")
    fitted = _seeded(estimator).fit(X, y)
    _assert_same(
        _results(fitted, X, y), _results(_seeded(estimator).fit(*table), *table)
    )
    writeable = [part.copy() for part in table]
    _results(clone(estimator).fit(*writeable), *writeable)
    for before, after in zip(table, writeable, strict=True):
        np.testing.assert_array_equal(before, after)


@each_estimator
@pytest.mark.parametrize("order", ["C", "F"])
def test_takes_any_memory_order(estimator, table, order):
    X, y = table
    fitted = _seeded(estimator).fit(np.asarray(X, order=order), y)
    reference = _seeded(estimator).fit(X, y)
    for method, value in _results(fitted, X, y).items():
        expected = _results(reference, X, y)[method]
        _assert_near(value, expected, rtol=1e-6, atol=1e-8)


@each_estimator
@pytest.mark.parametrize("frame", [pd.DataFrame, partial(pl.DataFrame, orient="row")])
def test_takes_frames(estimator, table, frame):
    X, y = table
    names = ["age", "dose", "blood pressure", "weight"]
    if frame is pd.DataFrame:
        as_frame = frame(X, columns=names)
    else:
        as_frame = frame(X, schema=names)
    fitted = _seeded(estimator).fit(as_frame, y)
    assert list(fitted.feature_names_in_) == names
    plain = _results(_seeded(estimator).fit(X, y), X, y)
    # frames are stored by columns, so products may differ in the last bits
    for method, value in _results(fitted, as_frame, y).items():
        _assert_near(value, plain[method], rtol=1e-9, atol=1e-11)


@each_estimator
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output(estimator, table, library):
    if not hasattr(estimator, "transform"):
        return
    X, y = table
    frame = pd.DataFrame(X, columns=list("abcd"))
    fitted = _seeded(estimator).set_output(transform=library).fit(frame, y)
    out = fitted.transform(frame)
    assert type(out).__module__.startswith(library)
    assert list(out.columns) == list(fitted.get_feature_names_out())
    plain = _seeded(estimator).fit(frame, y).transform(frame)
    np.testing.assert_array_equal(out.to_numpy(), np.asarray(plain))


@each_estimator
def test_pickles(estimator, table):
    fitted = _seeded(estimator).fit(*table)
    copy = pickle.loads(pickle.dumps(fitted))
    _assert_same(_results(copy, *table), _results(fitted, *table))


@each_estimator
def test_persists_through_skops(estimator, table):
    """Nothing but numbers, strings and our own classes may be in the state."""
    fitted = _seeded(estimator).fit(*table)
    data = skops.io.dumps(fitted)
    untrusted = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("skpapers.") for name in untrusted), untrusted
    copy = skops.io.loads(data, trusted=untrusted)
    _assert_same(_results(copy, *table), _results(fitted, *table))


@each_estimator
def test_refit_forgets(estimator, table):
    X, y = table
    fitted = _seeded(estimator).fit(X[:, :3], y).fit(X, y)
    _assert_same(_results(fitted, X, y), _results(_seeded(estimator).fit(X, y), X, y))


@each_estimator
def test_history_and_iterations(estimator, table):
    fitted = _seeded(estimator).fit(*table)
    if hasattr(fitted, "n_iter_"):
        assert type(fitted.n_iter_) is int
        assert fitted.n_iter_ >= 1


@each_estimator
def test_html_links_to_the_documentation(estimator, table):
    name = type(estimator).__name__
    public = type(estimator).__module__.partition("._")[0]
    page = f"generated/{public}.{name}.html"
    assert page in clone(estimator)._repr_html_()
    assert page in _seeded(estimator).fit(*table)._repr_html_()


@each_estimator
def test_constant_columns_are_named(estimator):
    """A data condition is told by our own warning class, or is no condition."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5))
    X[:, 2] = 3.5
    y = _target_for(estimator, X[:, 0] + 2 * rng.standard_normal(60))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _seeded(estimator).fit(X, y)
    assert {warning.category for warning in caught} <= {DataConditionWarning}
    if type(estimator).__module__.startswith("skpapers.causal."):
        assert any("onstant" in str(warning.message) for warning in caught)
