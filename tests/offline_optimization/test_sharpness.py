import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from skorch import NeuralNetClassifier  # noqa: E402
from torch import nn  # noqa: E402

from skpapers.offline_optimization import (  # noqa: E402
    SharpnessMixin,
    SharpnessRegularizedNet,
    sharpness_gradient,
)
from skpapers.utils._engine import Stack  # noqa: E402


def tanh_net(seed=0, n_inputs=3):
    torch.manual_seed(seed)
    layers = nn.Linear(n_inputs, 7), nn.Tanh(), nn.Linear(7, 5), nn.Tanh()
    return nn.Sequential(*layers, nn.Linear(5, 1)).double()


def rows(seed, n=11, d=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, dtype=torch.float64, generator=generator)


def output_norm(module, X):
    """The norm of the gradient of the mean output, written out."""
    grads = torch.autograd.grad(module(X).mean(), list(module.parameters()))
    return torch.sqrt(sum((g**2).sum() for g in grads)).item()


def test_linear_surrogate_has_no_penalty(global_random_seed):
    torch.manual_seed(global_random_seed)
    module, X = nn.Linear(3, 1).double(), rows(global_random_seed)
    for hvp in ("difference", "exact"):
        norm, gradient = sharpness_gradient(module, X, hvp=hvp)
        mean = X.mean(dim=0)
        assert norm.item() == pytest.approx(float((1 + mean @ mean) ** 0.5), rel=1e-12)
        for slope in gradient.values():
            assert slope.abs().max() < 1e-12


class Quadratic(nn.Module):
    """g = w'Aw / 2 for every row."""

    def __init__(self, A, w):
        super().__init__()
        self.w = nn.Parameter(w)
        self.A = A

    def forward(self, x):
        return (0.5 * self.w @ self.A @ self.w).expand(len(x))


class Cubic(Quadratic):
    """g = sum of w³ / 3: its Hessian changes, so that a difference is not exact."""

    def forward(self, x):
        return (self.w**3 / 3).sum().expand(len(x))


def test_quadratic_in_the_weights(global_random_seed):
    generator = torch.Generator().manual_seed(global_random_seed)
    A = torch.randn(4, 4, dtype=torch.float64, generator=generator)
    A, w = A + A.T, torch.randn(4, dtype=torch.float64, generator=generator)
    module, X = Quadratic(A, w), rows(0)
    for hvp in ("difference", "exact"):
        norm, gradient = sharpness_gradient(module, X, radius=0.3, hvp=hvp)
        assert norm.item() == pytest.approx((A @ w).norm().item(), rel=1e-12)
        torch.testing.assert_close(gradient["w"], A @ A @ w / (A @ w).norm())


def test_error_of_the_difference_falls_with_its_step(global_random_seed):
    generator = torch.Generator().manual_seed(global_random_seed)
    w = torch.randn(4, dtype=torch.float64, generator=generator)
    module, X = Cubic(None, w), rows(0)
    _, exact = sharpness_gradient(module, X, hvp="exact")
    errors = [
        (sharpness_gradient(module, X, r)[1]["w"] - exact["w"]).norm().item()
        for r in (1e-2, 1e-3)
    ]
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.02)


def test_gradient_of_the_norm_by_finite_differences(global_random_seed):
    module, X = tanh_net(global_random_seed), rows(global_random_seed)
    norm, exact = sharpness_gradient(module, X, hvp="exact")
    assert norm.item() == pytest.approx(output_norm(module, X), rel=1e-12)
    _, difference = sharpness_gradient(module, X, 1e-3)
    flat = torch.cat([exact[n].flatten() for n, _ in module.named_parameters()])
    near = torch.cat([difference[n].flatten() for n, _ in module.named_parameters()])
    assert (near - flat).norm() < 1e-2 * flat.norm()
    step = 1e-6
    for name, p in module.named_parameters():
        with torch.no_grad():
            values = []
            for sign in (1, -1):
                moved = copy.deepcopy(module)
                moved.get_parameter(name).flatten()[0] += sign * step
                with torch.enable_grad():
                    values.append(output_norm(moved, X))
        slope = (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx(exact[name].flatten()[0].item(), abs=1e-7), (
            p.shape
        )


def test_weights_gradients_and_generator_stay(global_random_seed):
    torch.manual_seed(global_random_seed)
    module = nn.Sequential(
        nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Flatten()
    ).append(nn.LazyLinear(1))
    X = torch.randn(6, 1, 8)
    module(X)
    before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    one = sharpness_gradient(module, X)
    assert torch.equal(state, torch.get_rng_state())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in module.parameters())
    again = sharpness_gradient(module, X)  # the same units are dropped in both passes
    assert torch.equal(one[0], again[0])
    _, exact = sharpness_gradient(module, X, hvp="exact")
    _, near = sharpness_gradient(module, X, 1e-3)
    for name in exact:
        torch.testing.assert_close(near[name], exact[name], atol=5e-2, rtol=5e-2)


def test_members_of_a_stack_are_independent(global_random_seed):
    members = [tanh_net(global_random_seed + k) for k in range(3)]
    X = rows(global_random_seed)
    norms, gradient = sharpness_gradient(Stack(members), X)
    for k, member in enumerate(members):
        norm, alone = sharpness_gradient(member, X)
        assert norms[k].item() == pytest.approx(norm.item(), rel=1e-12)
        for name, slope in alone.items():
            stacked = gradient["weights." + name.replace(".", "/")][k]
            torch.testing.assert_close(stacked, slope, rtol=1e-8, atol=1e-10)


def test_parameters_without_influence_are_left_alone():
    module = nn.ModuleDict({"used": nn.Linear(3, 2), "idle": nn.Linear(3, 2)})
    module.forward = lambda x: module["used"](x)
    _, gradient = sharpness_gradient(
        module, rows(0).float(), prediction=lambda out: out[:, 0]
    )
    assert sorted(gradient) == ["used.bias", "used.weight"]
    assert all(slope.isfinite().all() for slope in gradient.values())


def test_bad_input_is_refused():
    module, X = tanh_net(), rows(0)
    with pytest.raises(ValueError, match="hvp must be"):
        sharpness_gradient(module, X, hvp="hessian")
    with pytest.raises(ValueError, match="radius must be positive"):
        sharpness_gradient(module, X, 0.0)
    with pytest.raises(ValueError, match="no parameter that is trained"):
        sharpness_gradient(module.requires_grad_(False), X)


# --- nets of skorch -----------------------------------------------------------------
def table(seed, n=60):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3)).astype(np.float32)
    return X, np.sin(X[:, :1] * 2) + X[:, 1:2]


def net(seed=0, **params):
    settings = {"lr": 0.05, "max_epochs": 4, "batch_size": 20, "verbose": 0}
    settings |= {"train_split": None, "iterator_train__shuffle": False} | params
    return SharpnessRegularizedNet(tanh_net(seed).float(), **settings)


def weights(fitted):
    return torch.cat([p.detach().flatten() for p in fitted.module_.parameters()])


def test_a_step_of_the_net_is_that_of_the_formula(global_random_seed):
    X, y = table(global_random_seed)
    module = tanh_net(global_random_seed).float()
    found = net(
        global_random_seed, sharpness="penalty", multiplier=2.0, max_epochs=1
    ).fit(X, y)
    for start in range(0, len(X), 20):  # plain SGD, written out
        x, t = (torch.from_numpy(a[start : start + 20]) for a in (X, y))
        _, slopes = sharpness_gradient(module, x)
        ((module(x) - t) ** 2).mean().backward()
        with torch.no_grad():
            for name, p in module.named_parameters():
                p -= 0.05 * (p.grad + 2.0 * 0.05 * slopes[name])
                p.grad = None
    expected = torch.cat([p.detach().flatten() for p in module.parameters()])
    torch.testing.assert_close(weights(found), expected, rtol=1e-4, atol=1e-5)


def test_no_multiplier_trains_as_no_term(global_random_seed):
    X, y = table(global_random_seed)
    plain = net(global_random_seed, sharpness=None).fit(X, y)
    zero = net(global_random_seed, sharpness="penalty", multiplier=0.0).fit(X, y)
    torch.testing.assert_close(weights(plain), weights(zero), rtol=1e-6, atol=1e-7)


def path_of(fitted):
    return np.concatenate(
        [[batch["multiplier"][0] for batch in e["batches"]] for e in fitted.history]
    )


def test_multiplier_follows_the_bound(global_random_seed):
    X, y = table(global_random_seed)
    settings = {"multiplier": 0.01, "multiplier_lr": 0.002, "max_epochs": 8}
    loose = net(global_random_seed, sharpness_limit=5.0, **settings).fit(X, y)
    path = path_of(loose)
    assert (np.diff(path) <= 0).all()
    assert path[0] < 0.01
    assert path.min() == 0  # never negative
    tight = net(global_random_seed, sharpness_limit=0.0, **settings).fit(X, y)
    assert (np.diff(path_of(tight)) >= 0).all()
    assert path_of(tight)[0] > 0.01


def test_a_penalty_lowers_the_sharpness(global_random_seed):
    X, y = table(global_random_seed)
    settings = {"sharpness": "penalty", "max_epochs": 40}
    free = net(global_random_seed, multiplier=0.0, **settings).fit(X, y)
    held = net(global_random_seed, multiplier=5.0, **settings).fit(X, y)
    norms = [
        sharpness_gradient(n.module_, torch.from_numpy(X))[0] for n in (free, held)
    ]
    assert norms[1] < 0.9 * norms[0]


def test_lazy_term_enters_every_other_batch():
    X, y = table(0)
    lazy = net(sharpness_every=2, max_epochs=2).fit(X, y)
    seen = [["sharpness" in b for b in epoch["batches"]] for epoch in lazy.history]
    assert seen == [[True, False, True], [False, True, False]]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"sharpness": "x"}, "sharpness must be one of"),
        ({"hvp": "bad"}, "hvp must be one of"),
        ({"multiplier": -5}, "multiplier must not be negative"),
        ({"sharpness_radius": float("nan")}, "sharpness_radius must not"),
        ({"sharpness_every": 0}, "sharpness_every must be at least 1"),
    ],
)
def test_bad_settings_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        net(**settings).fit(*table(0))


def test_settings_of_a_net_that_goes_on():
    X, y = table(0)
    held = net(sharpness="penalty", multiplier=1.0, device=None).fit(X, y)
    held.set_params(multiplier=9.0)
    held.partial_fit(X, y)
    assert path_of(held)[0] == 1.0
    assert path_of(held)[-1] == 9.0


class SharpClassifier(SharpnessMixin, NeuralNetClassifier):
    """A net of another kind."""


class SecondClass(SharpClassifier):
    """A net that says what its prediction is."""

    def mean_prediction(self, y_pred, y_true):
        return y_pred[:, 1].mean()


def test_probabilities_need_a_prediction_of_their_own():
    X, y = table(0)
    labels = (y[:, 0] > 0).astype(np.int64)
    module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2), nn.Softmax(-1))
    settings = {"sharpness": "penalty", "multiplier": 5.0, "max_epochs": 2}
    settings |= {"train_split": None, "verbose": 0}
    with pytest.warns(UserWarning, match="does not depend on the weights"):
        SharpClassifier(module, **settings).fit(X, labels)
    told = SecondClass(module, **settings).fit(X, labels).history[-1, "batches", -1]
    assert told["sharpness"][0] > 1e-3


def test_any_net_takes_the_term(tmp_path):
    X, y = table(0)
    labels = (y[:, 0] > 0).astype(np.int64)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    classifier = SharpClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        sharpness="constraint",
        multiplier=0.1,
        lr=0.2,
        max_epochs=30,
        verbose=0,
        train_split=None,
    ).fit(X, labels)
    assert classifier.score(X, labels) > 0.7
    assert classifier.get_params()["multiplier"] == 0.1
    path = tmp_path / "history.json"
    classifier.save_params(f_history=path)
    again = SharpClassifier(
        module, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0, train_split=None
    ).initialize()
    again.load_params(f_history=path)
    again.partial_fit(X, labels)  # goes on with the multiplier that it had
    assert path_of(again)[-1] == pytest.approx(path_of(classifier)[-1], rel=0.05)
