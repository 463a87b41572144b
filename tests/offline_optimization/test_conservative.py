import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from skpapers.offline_optimization import (  # noqa: E402
    ConservativeRegressor,
    OfflineOptimizer,
    SharpnessRegularizedRegressor,
)

SETTINGS = {"hidden_layer_sizes": (16,), "lr": 0.01, "max_epochs": 20}


def table(seed, n=120):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n, 3))
    return X, X[:, 0] - X[:, 1] ** 2 + 0.1 * rng.standard_normal(n)


def model(seed, **params):
    return ConservativeRegressor(**SETTINGS | {"random_state": seed} | params)


def overestimation(fitted, X):
    """How much predictions rise on the ascent, written out."""
    mean = torch.from_numpy(fitted.x_mean_)
    scale = torch.from_numpy(fitted.x_scale_)
    z = (torch.from_numpy(X) - mean) / scale
    for _ in range(50):
        z = z.detach().requires_grad_()
        y = fitted.tensor_predict(z * scale + mean)[0] / fitted.y_scale_
        (slope,) = torch.autograd.grad(y.sum(), z)
        z = z + 0.05 * np.sqrt(3) * slope
    raised = fitted.tensor_predict(z.detach() * scale + mean)[0].detach().numpy()
    return float((raised - fitted.predict(X)).mean() / fitted.y_scale_)


def test_search_is_promised_less(global_random_seed):
    X, y = table(global_random_seed)
    free = model(global_random_seed, alpha=0.0).fit(X, y)
    held = model(global_random_seed, alpha=1.0, alpha_lr=0.0).fit(X, y)
    assert overestimation(held, X) < 0.7 * overestimation(free, X)
    assert held.score(X, y) > 0.3


@pytest.mark.parametrize(("limit", "sign"), [(1e6, -1), (-1e6, 1)])
def test_alpha_moves_towards_the_limit(limit, sign):
    X, y = table(0)
    fitted = model(0, overestimation_limit=limit, n_ascent_steps=3).fit(X, y)
    # of a slope that keeps its sign Adam makes steps of its step size
    n_steps = 20
    found = np.log(fitted.history_["alpha"][-1, 0] / 0.1)
    assert found == pytest.approx(sign * 0.01 * n_steps, rel=0.25)


def test_no_term_is_the_plain_regressor(global_random_seed):
    X, y = table(global_random_seed)
    plain = SharpnessRegularizedRegressor(
        activation="relu",
        loss="squared_error",
        sharpness=None,
        random_state=global_random_seed,
        **SETTINGS,
    ).fit(X, y)
    without = model(global_random_seed, alpha=0.0).fit(X, y)
    np.testing.assert_allclose(without.predict(X), plain.predict(X), rtol=1e-9)


def test_both_terms(global_random_seed):
    X, y = table(global_random_seed)
    both = model(global_random_seed, sharpness="penalty", multiplier=1.0).fit(X, y)
    alone = model(global_random_seed).fit(X, y)
    assert both.sharpness_[0] < alone.sharpness_[0]
    assert {"alpha", "overestimation", "sharpness"} <= both.history_.keys()


def test_conservative_search(global_random_seed):
    X, y = table(global_random_seed)
    designs = (
        OfflineOptimizer(
            model(global_random_seed), search="coms", bounds=(-1, 1), n_candidates=16
        )
        .fit(X, y)
        .suggest()
    )
    assert designs.shape == (16, 3)
    assert np.abs(designs).max() <= 1


def test_steps_suit_the_columns(monkeypatch):
    assert isinstance(
        OfflineOptimizer(search="coms")._resolve_estimator(), ConservativeRegressor
    )
    few = ConservativeRegressor((8,), max_epochs=1, random_state=0)
    monkeypatch.setattr(OfflineOptimizer, "_resolve_estimator", lambda self: few)
    rng = np.random.default_rng(0)
    y = rng.uniform(size=40)
    letters, numbers = rng.integers(4, size=(40, 5)), rng.uniform(size=(40, 5))

    def fitted(X, **space):
        return OfflineOptimizer(search="coms", n_candidates=8, **space).fit(X, y)

    of_letters = fitted(letters, categories=list(range(5)))
    of_numbers = fitted(numbers)
    of_both = fitted(np.c_[letters[:, 0], numbers], categories=[0])
    for optimizer, size in ((of_letters, 2.0), (of_numbers, 0.05), (of_both, 0.05)):
        surrogate = optimizer.estimator_
        assert surrogate.ascent_step_size == size
        asked = optimizer.set_params(search_params={"step_size": size}).suggest()
        np.testing.assert_array_equal(
            asked, optimizer.set_params(search_params=None).suggest()
        )
    assert of_letters.estimator_.overestimation_limit == 2.0
