"""Tests of the objective of a search and of gradient ascent."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge

from skpapers.offline_optimization._searches import check_params, load_search
from skpapers.offline_optimization._searches._gradient import ascend, search
from skpapers.offline_optimization._space import DesignSpace
from skpapers.offline_optimization._surrogates import Objective

torch = pytest.importorskip("torch")


class Parabolas(RegressorMixin, BaseEstimator):
    """Members -a sum (z - c)^2 with a centre each."""

    def __init__(self, centres=((0.5,),), curvature=1.0):
        self.centres = centres
        self.curvature = curvature

    def fit(self, Z, y):
        self.centres_ = np.asarray(self.centres, dtype=float)
        return self

    def predict(self, Z):
        gaps = Z[None] - self.centres_[:, None]
        return (-self.curvature * (gaps**2).sum(axis=-1)).mean(axis=0)

    def tensor_predict(self, Z):
        gaps = Z[None] - torch.as_tensor(self.centres_).to(Z)[:, None]
        return -self.curvature * (gaps**2).sum(dim=-1)


@pytest.fixture
def two(global_random_seed):
    """An objective of two members in three dimensions, a space, and points."""
    rng = np.random.default_rng(global_random_seed)
    space = DesignSpace(rng.standard_normal((50, 3)), bounds="free")
    model = Parabolas(rng.standard_normal((2, 3)), 0.7).fit(None, None)
    return Objective(model), space, rng.standard_normal((9, 3))


# ------------------------------------------------------------------------- objective
@pytest.mark.parametrize("reduction", ["mean", "min"])
def test_scores_and_gradients(two, reduction):
    objective, _, Z = two
    objective = objective.with_reduction(reduction)
    members = objective.estimator.tensor_predict(torch.from_numpy(Z)).numpy()
    expected = members.mean(axis=0) if reduction == "mean" else members.min(axis=0)
    np.testing.assert_allclose(objective.values(Z), expected)
    values, gradients = objective.value_and_grad(Z)
    np.testing.assert_allclose(values, expected)
    step = 1e-6
    for j in range(3):
        move = step * np.eye(3)[j]
        slope = (objective.values(Z + move) - objective.values(Z - move)) / (2 * step)
        np.testing.assert_allclose(gradients[:, j], slope, atol=1e-6)


def test_questions_are_counted(two):
    objective, _, Z = two
    objective.values(Z)
    objective.with_reduction("min").value_and_grad(Z[:4])
    assert objective.n_calls == 2
    assert objective.n_evaluated == 13


def test_surrogates_without_a_gradient(two):
    _, _, Z = two
    objective = Objective(Ridge().fit(Z, Z[:, 0]))
    assert not objective.is_differentiable
    np.testing.assert_array_equal(objective.values(Z), objective.estimator.predict(Z))
    with pytest.raises(ValueError, match="Ridge has no gradients.*'cmaes'"):
        objective.value_and_grad(Z)
    with pytest.raises(ValueError, match="needs the members"):
        objective.with_reduction("min")
    with pytest.raises(ValueError, match="expected 'mean' or 'min'"):
        objective.with_reduction("max")


def test_memory_that_is_only_read(two):
    objective, _, Z = two
    Z.flags.writeable = False
    objective.values(Z)
    objective.value_and_grad(Z)


# --------------------------------------------------------------------------- ascent
def test_a_step_is_that_of_the_formula(two):
    objective, space, Z = two
    _, gradients = objective.value_and_grad(Z)
    found = search(objective, space, Z, 9, None, n_steps=1, step_size=0.03)
    np.testing.assert_allclose(found, Z + 0.03 * np.sqrt(3) * gradients)


def test_ascent_finds_the_top(two):
    objective, space, Z = two
    found = search(objective, space, Z, 9, None, n_steps=400, step_size=0.05)
    top = objective.estimator.centres_.mean(axis=0)
    np.testing.assert_allclose(found, np.tile(top, (9, 1)), atol=1e-8)


def test_the_worst_member_is_climbed(two):
    objective, space, Z = two
    found = search(
        objective, space, Z, 9, None, n_steps=3000, step_size=1e-3, reduction="min"
    )
    worst = objective.with_reduction("min")
    middle = objective.estimator.centres_.mean(axis=0)  # equally far from both
    top = worst.values(middle[None])[0]
    np.testing.assert_allclose(worst.values(found), top, atol=0.02)


def test_the_box_is_not_left(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    space = DesignSpace(rng.uniform(size=(50, 2)), bounds=(0, 1))
    objective = Objective(Parabolas([[9.0, -9.0]]).fit(None, None))
    found = search(objective, space, rng.standard_normal((5, 2)), 5, None)
    expected = np.array([space.upper[0], space.lower[1]])
    np.testing.assert_array_equal(found, np.tile(expected, (5, 1)))


def test_small_steps_do_not_lose(two):
    objective, space, Z = two
    before = objective.values(space.project(Z))
    after = objective.values(ascend(objective, space, Z, 20, 1e-3))
    assert (after >= before).all()


def test_only_the_best_starts_are_taken(two):
    objective, space, Z = two
    assert search(objective, space, Z, 4, None, n_steps=1).shape == (4, 3)
    assert search(objective, space, Z, 90, None, n_steps=1).shape == (9, 3)


def test_points_without_a_finite_gradient_stay(two):
    _, space, Z = two

    class Broken(Parabolas):
        def tensor_predict(self, Z):
            return torch.sqrt(Z[:, 0] - Z[:, 0].detach())[None]  # infinite slope

    objective = Objective(Broken().fit(None, None))
    np.testing.assert_array_equal(ascend(objective, space, Z, 3, 0.1), Z)


@pytest.mark.parametrize("name", ["gradient", "coms"])
@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"n_steps": -1}, "an integer >= 0, got -1"),
        ({"n_steps": 2.5}, "an integer >= 0, got 2.5"),
        ({"n_steps": True}, "an integer >= 0"),
        ({"step_size": 0}, "a number > 0, got 0"),
        ({"step_size": np.nan}, "a number > 0"),
        ({"step_size": "large"}, "a number > 0"),
    ],
)
def test_wrong_steps(two, name, params, match):
    objective, space, Z = two
    (param,) = params
    with pytest.raises(ValueError, match=f"{param} of search='{name}' .* {match}"):
        load_search(name)(objective, space, Z, 9, None, **params)


def test_no_steps(two):
    objective, space, Z = two
    found = search(objective, space, Z, 9, None, n_steps=0)
    np.testing.assert_array_equal(found, space.project(Z))


# ------------------------------------------------------------------------- registry
def test_searches_are_loaded_by_name():
    assert load_search("gradient") is search
    assert load_search(ascend) is ascend


def test_unknown_parameters_are_named():
    assert check_params("gradient", None) == {}
    assert check_params("gradient", {"n_steps": 3}) == {"n_steps": 3}
    with pytest.raises(ValueError, match=r"\['steps'\].*'gradient'.*'n_steps'"):
        check_params("gradient", {"steps": 3})
    assert check_params(lambda *a, **params: None, {"x": 1}) == {"x": 1}
