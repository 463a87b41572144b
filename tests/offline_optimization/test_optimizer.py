"""Tests of the proposals of designs: valid, distinct, repeatable, free of units."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from skpapers.offline_optimization import OfflineOptimizer, QuantileShiftSplit
from skpapers.utils import DataConditionWarning


def wander(objective, space, starts, n_candidates, rng, size=1.0):
    """Return random points around the starts, also far outside the box."""
    return starts + size * rng.standard_normal(starts.shape)


def stay(objective, space, starts, n_candidates, rng):
    """Return the starts."""
    return starts


class Quadratic(RegressorMixin, BaseEstimator):
    """Least squares on z and z^2, with a gradient; remembers the weights it got."""

    def fit(self, Z, y, sample_weight=None):
        self.weight_ = sample_weight
        features = np.column_stack([np.ones(len(Z)), Z, Z**2])
        self.coef_ = np.linalg.lstsq(features, y, rcond=None)[0]
        return self

    def predict(self, Z):
        return np.column_stack([np.ones(len(Z)), Z, Z**2]) @ self.coef_

    def tensor_predict(self, Z):
        torch = pytest.importorskip("torch")
        coef, d = torch.as_tensor(self.coef_).to(Z), Z.shape[1]
        return (coef[0] + Z @ coef[1 : d + 1] + Z**2 @ coef[d + 1 :])[None]


@pytest.fixture
def bowl(global_random_seed):
    """Designs in the unit cube, the best of which lies within."""
    rng = np.random.default_rng(global_random_seed)
    X = rng.uniform(size=(150, 3))
    return X, 5 - ((X - [0.2, 0.5, 0.9]) ** 2).sum(axis=1)


def recipes(n, seed, library=pd):
    """A table of recipes with columns of several types, and their scores."""
    rng = np.random.default_rng(seed)
    left = np.arange(n) % 2
    columns = {
        "heat": rng.normal(300, 20, n).astype("float32"),
        "steps": rng.integers(1, 8, n).astype("uint8"),
        "metal": rng.choice(["Cu", "Ni", "Fe"], n),
        "left": left,
        "right": 1 - left,
        "time": rng.exponential(1e-6, n),
    }
    y = columns["heat"] / 20 + columns["steps"] + 3.0 * (columns["metal"] == "Ni")
    return library.DataFrame(columns), y - 1e6 * columns["time"]


CATEGORIES = ["metal", ["left", "right"]]
INDEX = ["heat", "steps", "metal", "left", "right", "time"]


def assert_valid(designs, X, bounds):
    assert type(designs) is type(X)
    assert list(designs.columns) == list(X.columns)
    assert list(designs.dtypes) == list(X.dtypes)
    for j, name in enumerate(INDEX):
        values = designs[name].to_numpy()
        if name == "metal":
            assert set(values) <= set(X[name].to_numpy())
        else:
            assert (values >= bounds[j, 0]).all()
            assert (values <= bounds[j, 1]).all()
    one_hot = designs["left"].to_numpy() + designs["right"].to_numpy()
    assert set(one_hot) == {1}


def rows_of(table):
    values = table.rows() if isinstance(table, pl.DataFrame) else np.asarray(table)
    return [tuple(row) for row in values]


# ------------------------------------------------------------------- valid, distinct
@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_frames_in_frames_out(library, global_random_seed):
    X, y = recipes(140, global_random_seed, library)
    optimizer = OfflineOptimizer(Ridge(), search=wander, categories=CATEGORIES)
    designs = optimizer.fit(X, y).suggest()
    assert len(designs) == 128
    assert_valid(designs, X, optimizer.bounds_)
    np.testing.assert_allclose(optimizer.predict(designs), optimizer.candidate_scores_)
    assert (np.diff(optimizer.candidate_scores_) <= 0).all()
    assert set(rows_of(designs)).isdisjoint(rows_of(X))
    assert len(set(rows_of(designs))) == 128
    assert optimizer.candidates_.dtype == object
    assert optimizer.start_designs_.shape == (128, 6)
    np.testing.assert_array_equal(
        optimizer.start_designs_[:, 2],
        np.asarray(X["metal"])[np.argsort(-y, kind="stable")[:128]],
    )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([pd, pl]),
    st.integers(2, 30),
    st.sampled_from([0.01, 1.0, 1e6]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 40),
)
def test_designs_are_valid_and_distinct(seed, library, n, size, distinct, free, k):
    X, y = recipes(n, seed, library)
    bounds = {"heat": (310.0, 310.1), "time": (0.0, np.inf)} if free else None
    optimizer = OfflineOptimizer(
        Ridge(),
        search=wander,
        search_params={"size": size},
        bounds=bounds,
        categories=CATEGORIES,
        n_candidates=8,
        distinct=distinct,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConditionWarning)  # of few rows
        designs = optimizer.fit(X, y).suggest(k)
    assert len(designs) == k
    assert_valid(designs, X, optimizer.bounds_)
    if free:
        assert designs["heat"].to_numpy().astype(float).min() >= 310.0
        assert designs["heat"].to_numpy().astype(float).max() <= 310.1
    if distinct:
        assert set(rows_of(designs)).isdisjoint(rows_of(X))
        assert len(set(rows_of(designs))) == k
        assert (optimizer.distance_to_data_ > 0).all()


def test_rows_that_differ_by_rounding_are_no_news(bowl):
    X, y = bowl
    optimizer = OfflineOptimizer(Ridge(), search=stay, n_candidates=20, random_state=0)
    designs = optimizer.fit(X * 1e3 + 7, y).suggest()
    gaps = np.abs(designs[:, None] - (X * 1e3 + 7)).max(axis=-1)
    assert gaps.min() > 1e-4
    plain = optimizer.set_params(distinct=False).suggest()
    np.testing.assert_allclose(
        np.sort(plain[:, 0]), np.sort(optimizer.start_designs_[:, 0])
    )


def test_repetitions_of_the_search_are_no_news(bowl):
    def gather(objective, space, starts, n_candidates, rng):
        return np.tile(space.project(starts[:1] + 0.1), (len(starts), 1)) * (
            1 + 1e-15 * rng.standard_normal((len(starts), 1))
        )

    optimizer = OfflineOptimizer(Ridge(), search=gather, n_candidates=20)
    designs = optimizer.fit(*bowl).suggest()
    gaps = np.abs(designs[:, None] - designs).max(axis=-1) + np.eye(20)
    assert gaps.min() > 1e-8


def test_an_exhausted_space_gives_what_it_has(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = np.array([(i, j, k) for i in range(3) for j in range(3) for k in range(3)])
    X = X[rng.permutation(27)]
    taken, left = X[:17], X[17:]
    taken = np.vstack([taken, [[0, 0, 0], [1, 1, 1], [2, 2, 2]]])
    expected = set(map(tuple, left)) - {(0, 0, 0), (1, 1, 1), (2, 2, 2)}
    optimizer = OfflineOptimizer(
        Ridge(), search=stay, categories=[0, 1, 2], n_candidates=20, random_state=0
    ).fit(taken, taken @ [1.0, 2.0, 3.0] + taken[:, 0] ** 2)
    with pytest.warns(DataConditionWarning, match="of 20 designs.*of about 27 designs"):
        designs = optimizer.suggest()
    assert set(map(tuple, designs.tolist())) == expected
    best = sorted(optimizer.predict(np.array(sorted(expected))))[::-1]
    np.testing.assert_allclose(optimizer.candidate_scores_, best)
    np.testing.assert_allclose(optimizer.predict(optimizer.suggest(2)), best[:2])


def test_a_whole_table_leaves_nothing():
    X = np.array([[0.0, 1], [1, 1], [0, 2], [1, 2]])
    optimizer = OfflineOptimizer(
        Ridge(), search=stay, categories=[0, 1], n_candidates=4, random_state=0
    ).fit(X, [1.0, 2, 3, 4])
    with pytest.warns(DataConditionWarning, match="Only 0 of 1"):
        assert optimizer.suggest(1).shape == (0, 2)
    assert optimizer.distance_to_data_.shape == (0,)


def test_small_spaces_repeat_themselves_if_they_may():
    X = np.array([[0, 1], [1, 1], [0, 2], [1, 2]])
    optimizer = OfflineOptimizer(
        Ridge(), search=stay, categories=[0, 1], n_candidates=4, distinct=False
    )
    designs = optimizer.fit(X, [1.0, 2, 3, 4]).suggest(9)
    assert designs.shape == (9, 2)
    assert set(map(tuple, designs.tolist())) <= set(map(tuple, X.tolist()))


def test_distances_to_the_table(bowl):
    X, y = bowl
    optimizer = OfflineOptimizer(Ridge(), search=wander, n_candidates=10).fit(X, y)
    designs = optimizer.suggest()
    gaps = (designs[:, None] - X) / X.std(axis=0)
    nearest = np.sqrt((gaps**2).sum(axis=-1)).min(axis=1)
    np.testing.assert_allclose(optimizer.distance_to_data_, nearest)
    np.testing.assert_array_equal(optimizer.candidates_, designs)


def test_fewer_or_more_designs_than_candidates(bowl):
    optimizer = OfflineOptimizer(Ridge(), search=wander, n_candidates=10).fit(*bowl)
    ten = optimizer.suggest()
    np.testing.assert_array_equal(optimizer.suggest(3), ten[:3])
    assert optimizer.suggest(25).shape == (25, 3)
    assert optimizer.suggest(400).shape == (400, 3)  # more than there are rows
    for wrong in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="no positive integer"):
            optimizer.suggest(wrong)


def test_designs_are_judged_as_what_they_decode_to(global_random_seed):
    """The point with the best score may round to a bad design."""
    rng = np.random.default_rng(global_random_seed)
    X = np.column_stack([rng.integers(0, 9, 80), rng.uniform(size=80)])
    y = X[:, 0] + X[:, 1]
    seen = {}

    def half(objective, space, starts, n_candidates, rng):
        raw = np.array([[4.49, 0.9], [4.51, 0.1]])
        seen["points"] = objective.values((raw - space.mean) / space.scale)
        return (raw - space.mean) / space.scale

    optimizer = OfflineOptimizer(
        Ridge(1e-8), search=half, integers=[0], n_candidates=2, distinct=False
    )
    designs = optimizer.fit(X, y).suggest()
    np.testing.assert_allclose(designs, [[5, 0.1], [4, 0.9]])
    assert seen["points"][0] > seen["points"][1]


# ---------------------------------------------------------------- gradient and units
@pytest.mark.parametrize("maximize", [True, False])
def test_the_top_of_a_bowl_is_found(bowl, maximize):
    pytest.importorskip("torch")
    X, y = bowl
    optimizer = OfflineOptimizer(
        Quadratic(),
        search_params={"step_size": 0.05, "n_steps": 800},
        n_candidates=5,
        maximize=maximize,
        bounds=(0, 0.8),
    )
    best = optimizer.fit(X, y if maximize else -y).suggest(1)
    np.testing.assert_allclose(best, [[0.2, 0.5, 0.8]], atol=1e-5)
    score = 5 - 0.01
    np.testing.assert_allclose(
        optimizer.candidate_scores_, score if maximize else -score
    )
    assert optimizer.score(X, y if maximize else -y) > 0.999
    assert optimizer.n_surrogate_calls_ == 801


def test_minimizing_is_maximizing_the_negative(bowl):
    X, y = bowl
    up = OfflineOptimizer(Ridge(), search=wander, random_state=3).fit(X, y)
    down = OfflineOptimizer(Ridge(), search=wander, random_state=3, maximize=False)
    np.testing.assert_array_equal(up.suggest(), down.fit(X, -y).suggest())
    np.testing.assert_array_equal(up.candidate_scores_, -down.candidate_scores_)
    np.testing.assert_array_equal(up.start_designs_, down.start_designs_)


def test_candidates_do_not_depend_on_units(bowl):
    pytest.importorskip("torch")
    X, y = bowl
    scale, shift = np.array([1e-6, 30.0, -7e4]), np.array([3.0, -200.0, 11.0])
    optimizer = OfflineOptimizer(Quadratic(), n_candidates=10)
    plain = optimizer.fit(X, y).suggest()
    scores, gaps = optimizer.candidate_scores_, optimizer.distance_to_data_
    moved = optimizer.fit(X * scale + shift, 1e5 * y - 12).suggest()
    np.testing.assert_allclose((moved - shift) / scale, plain, atol=1e-6)
    np.testing.assert_allclose(optimizer.candidate_scores_, 1e5 * scores - 12)
    np.testing.assert_allclose(optimizer.distance_to_data_, gaps, rtol=1e-4)


def test_the_network_by_default_does_not_depend_on_units(bowl):
    pytest.importorskip("skorch")
    from skpapers.offline_optimization import SharpnessRegularizedRegressor

    X, y = bowl
    scale, shift = np.array([1e-3, 30.0, 7.0]), np.array([3.0, -200.0, 11.0])
    net = SharpnessRegularizedRegressor((16,), max_epochs=3, lr=0.01, random_state=0)
    optimizer = OfflineOptimizer(net, n_candidates=10, search_params={"n_steps": 40})
    plain = optimizer.fit(X, y).suggest()
    moved = optimizer.fit(X * scale + shift, 1e3 * y - 12).suggest()
    np.testing.assert_allclose((moved - shift) / scale, plain, atol=1e-5)


def test_the_network_by_default_climbs_and_repeats(bowl):
    pytest.importorskip("skorch")
    from skpapers.offline_optimization import SharpnessRegularizedRegressor

    X, y = bowl
    assert isinstance(
        OfflineOptimizer()._resolve_estimator(), SharpnessRegularizedRegressor
    )
    net = SharpnessRegularizedRegressor((16,), max_epochs=3, n_estimators=2)
    params = {"reduction": "min", "step_size": 1e-3, "n_steps": 30}
    optimizer = OfflineOptimizer(
        net, n_candidates=10, search_params=params, random_state=5
    )
    first = optimizer.fit(X, y).suggest()
    assert (optimizer.candidate_scores_ <= optimizer.predict(first) + 1e-9).all()
    copy = pickle.loads(pickle.dumps(optimizer))
    np.testing.assert_array_equal(copy.suggest(), first)
    np.testing.assert_array_equal(optimizer.fit(X, y).suggest(), first)
    # what is climbed is higher in the end
    optimizer.set_params(search_params={**params, "n_steps": 0}, distinct=False)
    optimizer.suggest()
    before = np.sort(optimizer.candidate_scores_)
    optimizer.set_params(search_params=params).suggest()
    assert (np.sort(optimizer.candidate_scores_) >= before).all()


def test_nets_of_skorch(bowl):
    skorch = pytest.importorskip("skorch")
    import torch

    X, y = bowl
    net = skorch.NeuralNetRegressor(
        torch.nn.Sequential(
            torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        ),
        max_epochs=30,
        lr=0.1,
        verbose=0,
        train_split=None,
    )
    optimizer = OfflineOptimizer(net, n_candidates=10, random_state=0).fit(X, y)
    assert optimizer.score(X, y) > 0.2
    designs = optimizer.suggest()
    np.testing.assert_allclose(
        optimizer.predict(designs), optimizer.candidate_scores_, rtol=1e-5
    )
    np.testing.assert_array_equal(optimizer.fit(X, y).suggest(), designs)


# --------------------------------------------------------------- as a meta-estimator
def test_searches_over_the_surrogate(bowl):
    X, y = bowl
    grid = GridSearchCV(
        OfflineOptimizer(Ridge(), search=wander, n_candidates=10),
        {"estimator__alpha": [1e-3, 1e4]},
        cv=3,
    ).fit(X, y)
    assert grid.best_params_ == {"estimator__alpha": 1e-3}
    inner = GridSearchCV(
        make_pipeline(PolynomialFeatures(), Ridge()),
        {"ridge__alpha": [1e-3, 1e4]},
        cv=QuantileShiftSplit(3),
    )
    optimizer = OfflineOptimizer(inner, search=wander, n_candidates=10).fit(X, y)
    assert optimizer.estimator_.best_params_ == {"ridge__alpha": 1e-3}
    assert optimizer.suggest(4).shape == (4, 3)


def test_folds_over_a_surrogate_maximize(bowl):
    X, y = bowl
    grid = {"alpha": [1e-3, 1.0]}
    for maximize in (True, False):
        low = GridSearchCV(Ridge(), grid, cv=QuantileShiftSplit(3, maximize=False))
        optimizer = OfflineOptimizer(low, search=wander, maximize=maximize)
        with pytest.raises(
            ValueError, match="GridSearchCV has maximize=False.*negated"
        ):
            optimizer.fit(X, y)
    high = GridSearchCV(Ridge(), grid, cv=QuantileShiftSplit(3))
    OfflineOptimizer(high, search=wander, maximize=False).fit(X, y)


def test_a_search_over_a_surrogate_with_gradients(bowl):
    pytest.importorskip("torch")
    plain = OfflineOptimizer(Quadratic(), n_candidates=5).fit(*bowl).suggest()
    for inner in (
        GridSearchCV(Quadratic(), {}, cv=2),
        RandomizedSearchCV(Quadratic(), {}, n_iter=1, cv=2),
        HalvingGridSearchCV(Quadratic(), {}, cv=2, min_resources="exhaust"),
    ):
        designs = OfflineOptimizer(inner, n_candidates=5).fit(*bowl).suggest()
        np.testing.assert_array_equal(designs, plain)


def test_a_search_over_a_surrogate_without_gradients(bowl):
    inner = RandomizedSearchCV(Ridge(), {"alpha": [1.0]}, n_iter=1, cv=2)
    with pytest.raises(ValueError, match="Ridge has none"):
        OfflineOptimizer(inner, n_candidates=5).fit(*bowl)


def test_weights_reach_the_surrogate(bowl):
    X, y = bowl
    weight = np.linspace(1, 2, len(y))
    plain = OfflineOptimizer(Quadratic(), search=wander)
    np.testing.assert_array_equal(
        plain.fit(X, y, sample_weight=weight).estimator_.weight_, weight
    )
    with config_context(enable_metadata_routing=True):
        asks = Quadratic().set_fit_request(sample_weight=True)
        routed = OfflineOptimizer(asks, search=wander).fit(X, y, sample_weight=weight)
        np.testing.assert_array_equal(routed.estimator_.weight_, weight)
        refuses = Quadratic().set_fit_request(sample_weight=False)
        with pytest.raises(TypeError, match="sample_weight"):
            OfflineOptimizer(refuses, search=wander).fit(X, y, sample_weight=weight)


def test_seeds(bowl):
    X, y = bowl
    forest = RandomForestRegressor(5, max_depth=4)
    optimizer = OfflineOptimizer(forest, search=wander, n_candidates=10, random_state=1)
    first = optimizer.fit(X, y).suggest()
    np.testing.assert_array_equal(optimizer.suggest(), first)  # asked again
    np.testing.assert_array_equal(optimizer.fit(X, y).suggest(), first)
    other = optimizer.set_params(random_state=2).fit(X, y).suggest()
    assert not np.array_equal(other, first)
    own = forest.set_params(random_state=7)
    kept = OfflineOptimizer(own, search=wander, random_state=1).fit(X, y)
    assert kept.estimator_.random_state == 7
    assert optimizer.set_params(random_state=None).fit(X, y) is optimizer
    np.testing.assert_array_equal(optimizer.suggest(), optimizer.suggest())


def test_travels_with_its_suggestions(global_random_seed):
    X, y = recipes(60, global_random_seed)
    optimizer = OfflineOptimizer(
        Ridge(), search="cmaes", categories=CATEGORIES, n_candidates=10, random_state=0
    ).fit(X, y)
    data = skops.io.dumps(optimizer)
    untrusted = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("skpapers.") for name in untrusted)
    copy = skops.io.loads(data, trusted=untrusted)
    copy.set_params(search=wander)
    designs = optimizer.set_params(search=wander).suggest()
    pd.testing.assert_frame_equal(copy.suggest(), designs)


def test_suggestions_belong_to_their_table(bowl):
    X, y = bowl
    optimizer = OfflineOptimizer(Ridge(), search=wander, n_candidates=10)
    with pytest.raises(NotFittedError):
        optimizer.suggest()
    before = optimizer.fit(X, y).score(X, y)
    optimizer.suggest()
    assert optimizer.score(X, y) == before
    with pytest.raises(ValueError, match="constant"):
        optimizer.fit(X, np.ones(len(y)))
    assert hasattr(optimizer, "candidates_")  # a failed fit changes nothing
    optimizer.fit(X, y)
    assert not hasattr(optimizer, "candidates_")


def test_unknown_categories_are_told(global_random_seed):
    X, y = recipes(60, global_random_seed)
    optimizer = OfflineOptimizer(Ridge(), search=wander, categories=CATEGORIES)
    optimizer.set_params(n_candidates=10).fit(X, y)
    with pytest.warns(DataConditionWarning, match="'metal' do not occur"):
        scores = optimizer.predict(X.assign(metal="Au"))
    assert np.isfinite(scores).all()


def test_huge_and_tiny_units(bowl):
    X, y = bowl
    optimizer = OfflineOptimizer(
        Ridge(), search=wander, n_candidates=10, random_state=0
    )
    plain = optimizer.fit(X, y).suggest()
    for size in (1e-150, 1e150):
        designs = optimizer.fit(X * size, y * size).suggest()
        np.testing.assert_allclose(designs / size, plain, rtol=1e-6)


# ------------------------------------------------------------------------- bad input
def test_a_table_with_few_rows(bowl):
    X, y = bowl
    optimizer = OfflineOptimizer(Ridge(), search=wander, n_candidates=200)
    match = "has 150 rows, fewer than n_candidates=200"
    with pytest.warns(DataConditionWarning, match=match) as caught:
        optimizer.fit(X, y)
    assert caught[0].filename == __file__
    assert optimizer.start_designs_.shape == (150, 3)
    assert optimizer.suggest().shape == (200, 3)


def test_wrong_tables(bowl):
    X, y = bowl
    optimizer = OfflineOptimizer(Ridge(), search=wander, n_candidates=10)
    with pytest.raises(ValueError, match="y is constant"):
        optimizer.fit(X, np.ones(len(y)))
    holed = X.copy()
    holed[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        optimizer.fit(holed, y)
    with pytest.raises(ValueError, match="NaN"):
        optimizer.fit(X, np.where(y == y[0], np.nan, y))
    with pytest.raises(ValueError, match="'metal' holds something else.*categories"):
        optimizer.fit(*recipes(30, 0))
    frame, target = recipes(30, 0)
    mixed = OfflineOptimizer(Ridge(), search=wander, categories=CATEGORIES)
    with pytest.raises(ValueError, match="'time' contains NaN"):
        mixed.fit(frame.assign(time=np.nan), target)
    with pytest.raises(ValueError, match="inconsistent"):
        mixed.fit(frame, target[1:])
    with pytest.raises(ValueError, match="NaN"):
        mixed.fit(frame, target * np.nan)
    with pytest.raises(ValueError, match="minimum of 2"):
        mixed.fit(frame[:1], target[:1])


def test_wrong_parameters(bowl):
    fit = OfflineOptimizer(Ridge(), n_candidates=10).fit
    with pytest.raises(ValueError, match="needs the gradient.*Ridge has none"):
        fit(*bowl)
    wrong = {"search": wander, "search_params": {"sizes": 1}}
    with pytest.raises(ValueError, match=r"\['sizes'\].*\['size'\]"):
        OfflineOptimizer(Ridge(), **wrong).fit(*bowl)
    with pytest.raises(ValueError, match="'search' parameter"):
        OfflineOptimizer(Ridge(), search="luck").fit(*bowl)
    with pytest.raises(ValueError, match="lower bound"):
        OfflineOptimizer(Ridge(), search=wander, bounds=(1, 0)).fit(*bowl)


def test_names_reach_into_the_parameters_of_the_search(bowl):
    given = {"size": 0.3}
    optimizer = OfflineOptimizer(Ridge(), search_params=given)
    assert optimizer.set_params(search_params__n_steps=5) is optimizer
    assert optimizer.search_params == {"size": 0.3, "n_steps": 5}
    assert given == {"size": 0.3}
    both = OfflineOptimizer().set_params(search_params={"a": 1}, search_params__b=2)
    assert both.search_params == {"a": 1, "b": 2}

    def best(optimizer, X, y):
        return optimizer.suggest().max()

    tuned = GridSearchCV(
        OfflineOptimizer(Ridge(), search=wander, n_candidates=4, random_state=0),
        {"search_params__size": [0.1, 0.4]},
        scoring=best,
        cv=2,
    ).fit(*bowl)
    assert set(tuned.best_estimator_.search_params) == {"size"}


def test_parameters_of_the_surrogate_by_default():
    optimizer = OfflineOptimizer()
    with pytest.raises(ValueError, match=r"Pass SharpnessRegularizedRegressor\(\)"):
        optimizer.set_params(estimator__lr=0.1)


def test_wrong_searches(bowl):
    def flat(objective, space, starts, n_candidates, rng):
        return starts[:, 0]

    def lost(objective, space, starts, n_candidates, rng):
        return starts * np.nan

    optimizer = OfflineOptimizer(Ridge(), search=flat, n_candidates=10).fit(*bowl)
    with pytest.raises(ValueError, match=r"shape \(10,\).*\(k, 3\)"):
        optimizer.suggest()
    assert optimizer.set_params(search=lost).suggest().shape == (10, 3)
