"""Searches without gradients: calls, bounds, seeds, and closed forms of REINFORCE."""

import inspect
import itertools
import sys
import tracemalloc

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from skpapers.offline_optimization._searches import (
    FILES,
    GIVEN,
    check_params,
    load_search,
)
from skpapers.offline_optimization._searches._box import (
    FreeBox,
    best_of,
    finite_scores,
)
from skpapers.offline_optimization._searches._reinforce import (
    Policy,
    normalised,
    softmax,
)
from skpapers.offline_optimization._space import DesignSpace
from skpapers.offline_optimization._surrogates import Objective

PACKAGES = {"cmaes": "cma", "pymoo": "pymoo", "bo": "botorch"}
SHORT = {  # as few steps as find something
    "cmaes": {"n_generations": 25},
    "reinforce": {"n_iterations": 60, "batch_size": 64, "lr": 0.03},
    "pymoo": {"n_generations": 15, "pop_size": 16},
    "bo": {"n_points": 40, "n_iterations": 2, "batch_size": 4},
}
N_STARTS = 12


class Quadratic(RegressorMixin, BaseEstimator):
    """A fitted surrogate: minus the squared distance to a point."""

    def __init__(self, at=0.0):
        self.at = at

    def predict(self, Z):
        return -((Z - self.at) ** 2).sum(axis=1)


class Recorder:
    """An objective that keeps what it was asked."""

    def __init__(self, function):
        self.function, self.asked = function, []

    def values(self, Z):
        self.asked.append(Z)
        return self.function(Z)


@pytest.fixture(params=sorted(SHORT))
def name(request):
    if request.param in PACKAGES:
        pytest.importorskip(PACKAGES[request.param])
    return request.param


def _table(seed, n_columns=4):
    return np.random.default_rng(seed).uniform(size=(80, n_columns))


def _mixed_space(seed):
    """A space with numbers, an integer, a constant, a category and a one-hot group."""
    rng = np.random.default_rng(seed)
    hot = np.eye(3)[rng.integers(3, size=80)]
    X = np.column_stack(
        [
            rng.uniform(size=80),
            rng.integers(5, size=80),
            np.full(80, 2.5),
            rng.integers(4, size=80),
            hot,
        ]
    )
    space = DesignSpace(X, categories=[3, [4, 5, 6]], integers=[1])
    return space, space.encode(space.read(X))


def _run(name, space, Z, estimator, seed=0, n_candidates=N_STARTS, **params):
    """Return candidates, starts and the objective of a short search."""
    objective = Objective(estimator)
    starts = best_of(Z, estimator.predict(Z), N_STARTS)
    found = load_search(name)(
        objective,
        space,
        starts,
        n_candidates,
        np.random.RandomState(seed),
        **(SHORT[name] | params),
    )
    return found, starts, objective


# ----------------------------------------------------------------- what all searches do
@pytest.mark.parametrize("name", FILES)
def test_every_name_is_a_search(name):
    parameters = inspect.signature(load_search(name)).parameters
    assert tuple(parameters)[: len(GIVEN)] == GIVEN
    others = list(parameters.values())[len(GIVEN) :]
    assert all(p.default is not p.empty for p in others)


@pytest.mark.parametrize("bounds", [None, "free", (0.2, 0.9)])
def test_climbs_a_quadratic_within_the_box(name, bounds, global_random_seed):
    X = _table(global_random_seed)
    space = DesignSpace(X, bounds=bounds)
    Z = space.project(space.encode(X))
    score = Quadratic(0.6)
    found, starts, objective = _run(name, space, Z, score, global_random_seed)
    assert found.ndim == 2
    assert found.shape[1] == space.n_coordinates
    assert 1 <= len(found) <= N_STARTS
    assert (found >= space.lower).all()
    assert (found <= space.upper).all()
    assert score.predict(found).max() > score.predict(starts).max()
    best = np.sort(score.predict(found))[-4:]
    assert best.mean() > np.sort(score.predict(starts))[-4:].mean()
    assert objective.n_evaluated > objective.n_calls


def test_an_optimum_outside_the_box_is_sought_on_its_side(name, global_random_seed):
    X = _table(global_random_seed, 2)
    space = DesignSpace(X)
    far = Quadratic(50.0)
    found, _, _ = _run(name, space, space.encode(X), far, global_random_seed)
    corner = far.predict(space.upper[None])[0]
    assert far.predict(found).max() <= corner
    assert far.predict(found).max() > corner - 10.0  # the next one costs hundreds


def test_mixed_space(name, global_random_seed):
    space, Z = _mixed_space(global_random_seed)
    found, starts, _ = _run(name, space, Z, Quadratic(0.3), global_random_seed)
    assert np.isfinite(found).all()
    assert (found >= space.lower).all()
    assert (found <= space.upper).all()
    constant = int(np.flatnonzero(space.lower == space.upper)[0])
    assert (found[:, constant] == starts[0, constant]).all()


def test_same_seed_same_points(name, capfd):
    X = _table(0)
    space = DesignSpace(X)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (it is what we guard)
    first, second, other = (
        _run(name, space, space.encode(X), Quadratic(0.6), seed)[0]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert first.shape != other.shape or not np.array_equal(first, other)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    told = capfd.readouterr()
    assert told.out + told.err == ""


def test_one_column(name):
    X = _table(3, 1)
    space = DesignSpace(X)
    score = Quadratic(0.123)
    found, starts, _ = _run(name, space, space.encode(X), score)
    assert score.predict(found).max() > score.predict(starts).max()


def test_no_room_at_all(name):
    X = np.ones((5, 2))
    space = DesignSpace(X)
    found, _, _ = _run(name, space, space.encode(X), Quadratic())
    np.testing.assert_array_equal(found, np.zeros((len(found), 2)))


def test_flat_and_broken_scores(name):
    X = _table(4)
    space = DesignSpace(X)
    Z = space.encode(X)

    def half(points):
        return np.where(points[:, 0] > 0, np.nan, 1.0)

    for function in (lambda points: np.zeros(len(points)), half):
        objective = Recorder(function)
        rng = np.random.RandomState(0)
        found = load_search(name)(
            objective, space, Z[:N_STARTS], N_STARTS, rng, **SHORT[name]
        )
        assert np.isfinite(found).all()
        assert (found >= space.lower).all()
        assert (found <= space.upper).all()


# ------------------------------------------------------------------ calls of surrogates
def test_cmaes_asks_once_a_generation():
    """A generation of all runs is one call: hundreds of designs each."""
    pytest.importorskip("cma")
    X = np.random.default_rng(0).uniform(size=(128, 10))
    space, objective = DesignSpace(X), Objective(Quadratic(0.5))
    load_search("cmaes")(
        objective,
        space,
        space.encode(X),
        128,
        np.random.RandomState(0),
        n_generations=5,
    )
    assert objective.n_calls == 5
    # 4 + 3 log 10 samples a run; one call a design would be as many calls as designs
    assert objective.n_evaluated == 5 * 128 * 10
    assert objective.n_evaluated / objective.n_calls >= 100


def test_calls_of_the_others():
    X = _table(0)
    space = DesignSpace(X)
    arguments = space, space.encode(X), Quadratic(0.5)
    assert (
        _run("reinforce", *arguments)[2].n_calls == SHORT["reinforce"]["n_iterations"]
    )
    pytest.importorskip("pymoo")
    for algorithm in ("ga", "de"):
        objective = _run("pymoo", *arguments, algorithm=algorithm)[2]
        assert objective.n_calls == SHORT["pymoo"]["n_generations"]
    pytest.importorskip("botorch")
    objective = _run("bo", *arguments)[2]
    assert objective.n_calls == 1 + SHORT["bo"]["n_iterations"]
    assert objective.n_evaluated == 40 + 2 * 4


def test_cmaes_keeps_the_best_of_each_run():
    pytest.importorskip("cma")
    X = _table(5)
    space = DesignSpace(X)
    score = Quadratic(0.4)
    recorder = Recorder(score.predict)
    starts = space.encode(X)[:3]
    found = load_search("cmaes")(
        recorder, space, starts, 3, np.random.RandomState(0), n_generations=4
    )
    per_run = [np.split(asked, 3) for asked in recorder.asked]
    for k, best in enumerate(found):
        points = np.concatenate([runs[k] for runs in per_run])
        assert score.predict(best[None])[0] == score.predict(points).max()


def test_cmaes_turns_a_narrow_ridge(global_random_seed):
    """Conditioning 10^4 along the diagonal: only an adapted covariance gets there."""
    pytest.importorskip("cma")
    X = _table(global_random_seed, 2)
    space = DesignSpace(X, bounds="free")

    def ridge(Z):
        along, across = Z[:, 0] + Z[:, 1], Z[:, 0] - Z[:, 1]
        return -((along - 2.0) ** 2) - 1e4 * across**2

    found = load_search("cmaes")(
        Recorder(ridge),
        space,
        space.encode(X)[:2],
        2,
        np.random.RandomState(global_random_seed),
    )
    np.testing.assert_allclose(found, 1.0, atol=1e-3)


@pytest.mark.parametrize("algorithm", ["ga", "de", "pso"])
def test_pymoo_algorithms(algorithm, global_random_seed):
    pytest.importorskip("pymoo")
    X = _table(global_random_seed)
    space = DesignSpace(X)
    score = Quadratic(0.6)
    found, starts, _ = _run(
        "pymoo", space, space.encode(X), score, global_random_seed, algorithm=algorithm
    )
    assert score.predict(found).max() > score.predict(starts).max()
    assert (np.diff(score.predict(found)) <= 0).all()
    assert len(np.unique(found, axis=0)) == len(found) == N_STARTS


@pytest.mark.parametrize("algorithm", ["ga", "de", "pso"])
def test_pymoo_returns_different_designs(algorithm, global_random_seed):
    """Letters and counts: points that differ may decode to the same design."""
    pytest.importorskip("pymoo")
    rng = np.random.default_rng(global_random_seed)
    X = rng.integers(4, size=(80, 5))
    space = DesignSpace(X, categories=[0, 1, 2], integers=[3, 4])
    wanted = rng.integers(4, size=5)
    recorder = Recorder(lambda Z: -np.abs(space.decode(Z) - wanted).sum(axis=1))
    found = load_search("pymoo")(
        recorder,
        space,
        space.encode(space.read(X))[:N_STARTS],
        64,
        np.random.RandomState(global_random_seed),
        algorithm=algorithm,
    )
    designs = space.decode(found)
    assert len(np.unique(designs, axis=0)) == len(found) == 64
    scores = recorder.function(found)
    assert scores[0] == 0
    assert (np.diff(scores) <= 0).all()
    # and none that was met is better than what was left out
    met = np.unique(space.decode(np.concatenate(recorder.asked)), axis=0)
    best = np.sort(-np.abs(met - wanted).sum(axis=1))[::-1][:64]
    np.testing.assert_array_equal(scores, best)


def test_pymoo_returns_what_there_is():
    pytest.importorskip("pymoo")
    X = np.array([[0, 0], [0, 1], [1, 0]])
    space = DesignSpace(X, categories=[0, 1])
    Z = space.encode(space.read(X))
    found, _, _ = _run("pymoo", space, Z, Quadratic(0.6), n_candidates=9)
    assert sorted(map(tuple, space.decode(found))) == [(0, 0), (0, 1), (1, 0), (1, 1)]


# ---------------------------------------------------------------------------- REINFORCE
def _policy(seed, n_numbers, sizes):
    """A policy on a space of numbers and categories, with random parameters."""
    rng = np.random.default_rng(seed)
    columns = [rng.uniform(size=60) for _ in range(n_numbers)]
    columns += [rng.permutation(np.arange(60) % size) for size in sizes]
    X = np.column_stack(columns)
    categories = list(range(n_numbers, n_numbers + len(sizes)))
    space = DesignSpace(X, categories=categories, bounds="free")
    policy = Policy(space, space.encode(space.read(X)), std=0.7)
    policy.theta += rng.standard_normal(len(policy.theta))
    return policy, rng


def _differences(function, theta, h=1e-6):
    slopes = []
    for k in range(len(theta)):
        step = np.zeros_like(theta)
        step[k] = h
        slopes.append((function(theta + step) - function(theta - step)) / (2 * h))
    return np.array(slopes)


def test_gradient_of_categories_by_enumeration(global_random_seed):
    sizes = [2, 3, 4]
    policy, rng = _policy(global_random_seed, 0, sizes)
    every = np.array(list(itertools.product(*map(range, sizes))))
    codes, f = list(every.T), rng.standard_normal(len(every))

    def probabilities(theta):
        parts = np.split(theta, np.cumsum(sizes)[:-1])
        return np.prod(
            [softmax(part)[code] for part, code in zip(parts, codes, strict=True)],
            axis=0,
        )

    p = probabilities(policy.theta)
    # the mean over draws becomes a sum over all designs with their probabilities
    slope = policy.gradient(np.empty((len(f), 0)), codes, len(f) * p * f)
    expected = _differences(lambda theta: probabilities(theta) @ f, policy.theta)
    np.testing.assert_allclose(slope, expected, atol=1e-8)
    baseline = policy.gradient(np.empty((len(f), 0)), codes, len(f) * p)
    np.testing.assert_allclose(baseline, 0.0, atol=1e-12)


def test_gradient_of_a_mean_by_quadrature(global_random_seed):
    policy, _ = _policy(global_random_seed, 1, [])
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()

    def expected_score(theta):
        return weights @ np.sin(theta[0] + policy.std * nodes)

    numbers = policy.theta[0] + policy.std * nodes[:, None]
    advantages = len(nodes) * weights * np.sin(numbers[:, 0])
    slope = policy.gradient(numbers, [], advantages)
    expected = _differences(expected_score, policy.theta)
    np.testing.assert_allclose(slope, expected, atol=1e-8)
    # and in closed form: E sin(x) = sin(mean) exp(-s^2 / 2)
    closed = np.cos(policy.theta) * np.exp(-(policy.std**2) / 2)
    np.testing.assert_allclose(slope, closed, atol=1e-8)


def test_draws_follow_the_policy(global_random_seed):
    policy, _ = _policy(global_random_seed, 2, [3])
    numbers, codes = policy.sample(20_000, np.random.RandomState(global_random_seed))
    mean, other, *logits = policy.theta
    np.testing.assert_allclose(numbers.mean(axis=0), [mean, other], atol=0.03)
    np.testing.assert_allclose(numbers.std(axis=0), policy.std, atol=0.03)
    shares = np.bincount(codes[0], minlength=3) / 20_000
    np.testing.assert_allclose(shares, softmax(np.array(logits)), atol=0.02)
    Z = policy.points(numbers, codes)
    np.testing.assert_array_equal(policy.space.decode(Z)[:, 2], codes[0])


def test_policy_begins_with_the_starts():
    X = np.array([[0.0, 0], [1, 0], [2, 1], [3, 2]])
    space = DesignSpace(X, categories=[1])
    Z = space.encode(space.read(X))
    policy = Policy(space, Z[:2], std=0.1)
    np.testing.assert_allclose(policy.theta[0], Z[:2, 0].mean())
    np.testing.assert_allclose(softmax(policy.theta[1:]), [3 / 5, 1 / 5, 1 / 5])


def test_policy_with_many_categories_is_small():
    n_categories = 400
    X = np.arange(n_categories)[:, None]
    space = DesignSpace(X, categories=[0])
    starts = space.encode(space.read(X))[:128]
    tracemalloc.start()
    try:
        policy = Policy(space, starts, std=0.1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    expected = np.where(np.arange(n_categories) < 128, 2.0, 1.0)
    np.testing.assert_allclose(softmax(policy.theta), expected / expected.sum())
    assert peak < 8 * 8 * n_categories**2  # a few tables of logits, not one a start


def test_finds_the_best_sequence(global_random_seed):
    """Letters whose scores add up: the best of 3^5 words in most of the draws."""
    rng = np.random.default_rng(global_random_seed)
    X = np.column_stack([rng.permutation(np.arange(90) % 3) for _ in range(5)])
    space = DesignSpace(X, categories=list(range(5)))
    wanted = rng.integers(3, size=5)

    def score(Z):
        return (space.decode(Z) == wanted).sum(axis=1).astype(float)

    Z = space.encode(space.read(X))
    found = load_search("reinforce")(
        Recorder(score),
        space,
        Z[:N_STARTS],
        50,
        np.random.RandomState(global_random_seed),
        lr=0.1,
    )
    assert found.shape == (50, space.n_coordinates)
    assert np.mean(score(found) == 5) > 0.5


def test_advantages():
    scores = np.array([1.0, 2.0, 6.0])
    assert normalised(scores).mean() == pytest.approx(0.0)
    assert normalised(scores).std() == pytest.approx(1.0)
    np.testing.assert_array_equal(normalised(np.full(4, 0.1)), 0.0)


# ------------------------------------------------------------------------- shared parts
def test_box_without_bounds_is_finite():
    space = DesignSpace(_table(0, 2), bounds="free")
    starts = np.array([[0.0, 1.0], [2.0, -1.0]])
    box = FreeBox(space, starts)
    np.testing.assert_allclose(box.lower, [-3.0, -4.0])
    np.testing.assert_allclose(box.upper, [5.0, 4.0])
    np.testing.assert_allclose(box.from_shares(box.shares(starts)), starts)


def test_scores_that_are_not_finite_are_last():
    recorder = Recorder(lambda Z: np.array([1.0, np.nan, np.inf, -2.0]))
    scores = finite_scores(recorder, np.zeros((4, 1)))
    np.testing.assert_array_equal(scores, [1.0, -3.0, -3.0, -2.0])
    broken = Recorder(lambda Z: np.full(len(Z), np.nan))
    np.testing.assert_array_equal(finite_scores(broken, np.zeros((2, 1))), -1.0)


# ---------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("search", "params", "match"),
    [
        ("cmaes", {"sigma0": 0}, "sigma0 of search='cmaes' must be a number > 0"),
        ("cmaes", {"sigma0": np.inf}, "sigma0"),
        ("cmaes", {"n_generations": 0}, "n_generations .* an integer >= 1, got 0"),
        ("cmaes", {"pop_size": 2.5}, "pop_size"),
        ("reinforce", {"n_iterations": -1}, "n_iterations"),
        ("reinforce", {"batch_size": 1}, "batch_size"),
        ("reinforce", {"lr": "fast"}, "lr of search='reinforce'"),
        ("reinforce", {"std": -0.1}, "std"),
        ("pymoo", {"algorithm": "nsga2"}, r"\['de', 'ga', 'pso'\], got 'nsga2'"),
        ("pymoo", {"n_generations": True}, "n_generations"),
        ("pymoo", {"pop_size": 3}, "pop_size"),
        ("bo", {"n_points": 1}, "n_points"),
        ("bo", {"n_iterations": 0}, "n_iterations"),
        ("bo", {"batch_size": 0}, "batch_size"),
    ],
)
def test_refuses_parameters(search, params, match):
    X = _table(0)
    space = DesignSpace(X)
    with pytest.raises(ValueError, match=match):
        _run(search, space, space.encode(X), Quadratic(), **params)


def test_refuses_names(name):
    with pytest.raises(ValueError, match="has the parameters"):
        check_params(name, {"n_bananas": 3})
    assert check_params(name, SHORT[name]) == SHORT[name]


@pytest.mark.parametrize(
    ("search", "package", "extra"),
    [
        ("cmaes", "cma", "offline"),
        ("pymoo", "pymoo", "search"),
        ("bo", "botorch", "search"),
    ],
)
def test_says_what_to_install(search, package, extra, monkeypatch):
    for module in [m for m in sys.modules if m.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    X = _table(0)
    space = DesignSpace(X)
    with pytest.raises(ImportError, match=rf"{package}.*skpapers\[{extra}\]"):
        _run(search, space, space.encode(X), Quadratic())
