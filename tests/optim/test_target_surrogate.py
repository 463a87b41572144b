"""The optimizer of torch: descent, counts, agreement with the solver, skorch."""

import copy
import pickle

import numpy as np
import pytest

import skpapers.optim
from skpapers.optim import TargetSurrogateOptimizer
from skpapers.solvers import minimize_target_surrogate

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _generators(global_random_seed):
    """Seed torch and leave its generators as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(global_random_seed)
        yield


def network():
    layers = torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    return torch.nn.Sequential(*layers).double()


@pytest.fixture
def data():
    X = torch.randn(60, 3, dtype=torch.float64)
    return X, (X[:, :1] * X[:, 1:2] > 0).double()


def logistic(y):
    return lambda z: torch.nn.functional.binary_cross_entropy_with_logits(z, y)


@pytest.mark.parametrize("n_inner", [1, 5])
def test_loss_never_rises(data, n_inner):
    X, y = data
    model = network()
    optimizer = TargetSurrogateOptimizer(model.parameters(), lr=4.0, n_inner=n_inner)
    losses = [float(optimizer.step(lambda: model(X), logistic(y))) for _ in range(30)]
    assert (np.diff(losses) <= 1e-12).all()
    assert losses[-1] < losses[0]


def test_is_an_optimizer_of_torch(data):
    model = network()
    optimizer = TargetSurrogateOptimizer(model.parameters())
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert isinstance(optimizer, TargetSurrogateOptimizer)


def test_each_step_calls_the_loss_once(data):
    X, y = data
    model, calls = network(), []

    def loss(z):
        calls.append(len(z))
        return logistic(y)(z)

    optimizer = TargetSurrogateOptimizer(model.parameters(), n_inner=7)
    for _ in range(5):
        optimizer.step(lambda: model(X), loss)
    assert len(calls) == optimizer.n_oracle_calls == 5
    assert optimizer.n_value_calls == 0


def test_line_search_satisfies_armijo(data):
    X, y = data
    model = network()
    optimizer = TargetSurrogateOptimizer(model.parameters(), lr="armijo")
    for _ in range(5):
        z = model(X).detach().requires_grad_()
        value = logistic(y)(z)
        (g,) = torch.autograd.grad(value, z)
        g, z = g * len(z), z.detach()
        optimizer.step(lambda: model(X), logistic(y))
        eta = optimizer.state["surrogate"]["eta"]
        reached = float(logistic(y)(z - eta * g))
        assert reached <= value.item() - 0.5 * eta * float((g * g).mean()) + 1e-12
    assert optimizer.n_value_calls > 5


def test_many_inner_steps_are_the_exact_step(data):
    X, y = data
    linear = torch.nn.Linear(3, 1, bias=False).double()
    start = linear.weight.detach().numpy()[0].copy()
    optimizer = TargetSurrogateOptimizer(linear.parameters(), lr=4.0, n_inner=3000)
    optimizer.step(lambda: linear(X), logistic(y))

    def loss_and_grad(z, rows):
        t = y[:, 0].numpy()
        value = np.mean(np.logaddexp(0, z) - t * z)
        return value, (1 / (1 + np.exp(-z)) - t) / len(z)

    exact = minimize_target_surrogate(
        X.numpy(), loss_and_grad, start, eta=4.0, max_iter=1
    )
    np.testing.assert_allclose(linear.weight.detach()[0], exact.x, rtol=1e-4)


def test_solver_trains_modules(data):
    X, y = data
    model = network()
    t = y[:, 0].numpy()

    def loss_and_grad(z, rows):
        assert z.shape == (60,)
        value = np.mean(np.logaddexp(0, z) - t[rows] * z)
        return value, (1 / (1 + np.exp(-z)) - t[rows]) / len(z)

    result = minimize_target_surrogate(
        X.numpy(), loss_and_grad, model=model, eta=4.0, max_iter=20, tol=0
    )
    assert (np.diff(result.fun_path) <= 1e-12).all()
    assert result.fun < 0.8 * result.fun_path[0]
    held = np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])
    np.testing.assert_array_equal(held, result.x)
    batches = minimize_target_surrogate(
        X.numpy(),
        loss_and_grad=lambda z, rows: (0.5 * z @ z / len(z), z / len(z)),
        model=network(),
        eta=1.0,
        batch_size=20,
        max_iter=30,
        random_state=0,
    )
    assert batches.fun < batches.fun_path[0]
    with pytest.raises(ValueError, match="x0 must have shape"):
        minimize_target_surrogate(X, loss_and_grad, np.zeros(3), model=model)


def test_solver_gradient_of_a_module(data):
    """The pullback is the gradient of torch."""
    X, y = data
    model = network()
    seen = []
    t = y[:, 0].numpy()

    def loss_and_grad(z, rows):
        value = np.mean(np.logaddexp(0, z) - t * z)
        return value, (1 / (1 + np.exp(-z)) - t) / len(z)

    logistic(y)(model(X)).backward()
    expected = np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])
    minimize_target_surrogate(
        X.numpy(),
        loss_and_grad,
        model=model,
        eta=1.0,
        max_iter=1,
        callback=lambda intermediate_result: seen.append(intermediate_result.grad),
    )
    np.testing.assert_allclose(seen[0], expected, atol=1e-12)


def test_groups_have_their_own_weight_decay(data):
    X, y = data
    models = [torch.nn.Linear(3, 1).double() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, decay in zip(models, (0.0, 10.0), strict=True):
        optimizer = TargetSurrogateOptimizer(
            [
                {"params": [model.weight], "weight_decay": decay},
                {"params": [model.bias]},
            ],
            lr=4.0,
            n_inner=500,
        )
        optimizer.step(lambda model=model: model(X), logistic(y))
    size = [float(m.weight.detach().norm()) for m in models]
    assert size[1] < 0.1 * size[0]
    assert float(models[1].bias.detach().abs()) > 0


def test_schedulers_change_the_step(data):
    X, y = data
    model = network()
    optimizer = TargetSurrogateOptimizer(model.parameters(), lr=4.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step(lambda: model(X), logistic(y))
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 2.0


def test_state_travels(data):
    X, y = data
    model = network()
    optimizer = TargetSurrogateOptimizer(model.parameters(), lr="armijo")
    optimizer.step(lambda: model(X), logistic(y))
    other = TargetSurrogateOptimizer(model.parameters())
    other.load_state_dict(optimizer.state_dict())
    assert other.n_oracle_calls == 1
    assert other.state["surrogate"] == optimizer.state["surrogate"]
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert isinstance(twin, torch.optim.Optimizer)
        assert twin.n_value_calls == optimizer.n_value_calls


def test_frozen_and_unused_parameters_stay(data):
    X, y = data
    model, spare = network(), torch.nn.Parameter(torch.ones(2))
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    optimizer = TargetSurrogateOptimizer([*model.parameters(), spare], lr=4.0)
    optimizer.step(lambda: model(X), logistic(y))
    assert torch.equal(model[0].weight, before)
    assert torch.equal(spare, torch.ones(2))


@pytest.mark.parametrize("arguments", [(), (lambda: 1.0,), (lambda: 1.0, None), (1, 2)])
def test_closures_are_refused(data, arguments):
    optimizer = TargetSurrogateOptimizer(network().parameters())
    with pytest.raises(TypeError, match="step"):
        optimizer.step(*arguments)


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (lambda z: z, "one element"),
        (lambda z: 1.0, "one element"),
        (lambda z: z.detach().sum(), "differentiable"),
        (lambda z: z.sum() * float("nan"), "not finite"),
        (lambda z: torch.sqrt(z - z).sum(), "not finite"),
    ],
)
def test_bad_losses(data, loss, match):
    X, _ = data
    model = network()
    optimizer = TargetSurrogateOptimizer(model.parameters())
    with pytest.raises(ValueError, match=match):
        optimizer.step(lambda: model(X), loss)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"lr": -1.0}, "lr must be"),
        ({"lr": "auto"}, "lr must be"),
        ({"n_inner": 0}, "n_inner"),
        ({"weight_decay": -0.1}, "weight_decay"),
    ],
)
def test_bad_arguments(options, match):
    with pytest.raises(ValueError, match=match):
        TargetSurrogateOptimizer(network().parameters(), **options)


def test_net_of_skorch_learns(data):
    pytest.importorskip("skorch")
    X, y = data
    net = skpapers.optim.SurrogateNet(
        network(),
        torch.nn.BCEWithLogitsLoss,
        lr=4.0,
        optimizer__n_inner=5,
        max_epochs=30,
        batch_size=20,
        train_split=None,
        verbose=0,
    )
    net.fit(X.numpy(), y.numpy())
    losses = net.history[:, "train_loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert net.optimizer_.n_oracle_calls == 90
    assert net.forward(X.numpy()).shape == (60, 1)
    pickle.loads(pickle.dumps(net))


def test_unknown_names():
    with pytest.raises(AttributeError, match="no_such"):
        skpapers.optim.no_such
