import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from skorch.callbacks import Callback  # noqa: E402
from torch import nn  # noqa: E402

from skpapers.offline_optimization import (  # noqa: E402
    SharpnessRegularizedRegressor,
)
from skpapers.utils._engine import Single, Stack, Table, WeightedNet  # noqa: E402


def table(seed, n=150):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3)) * [1, 10, 0.1] + [0, 5, 1]
    return X, 7 + 3 * np.sin(X[:, 0]) + 0.1 * X[:, 1]


def model(**params):
    settings = {"lr": 0.01, "max_epochs": 5, "batch_size": 32, "random_state": 0}
    return SharpnessRegularizedRegressor(
        **({"hidden_layer_sizes": (8,)} | settings | params)
    )


def test_fits_are_reproducible_bit_for_bit(global_random_seed):
    X, y = table(global_random_seed)
    state = torch.get_rng_state()
    settings = {"random_state": global_random_seed, "n_estimators": 2}
    one, two = (model(**settings).fit(X, y).predict(X) for _ in range(2))
    assert np.array_equal(one, two)
    assert torch.equal(state, torch.get_rng_state())  # others' numbers are left alone
    other = model(**settings | {"random_state": global_random_seed + 1}).fit(X, y)
    assert not np.array_equal(one, other.predict(X))


class Mean(nn.Module):
    def forward(self, outputs, target):
        return (outputs[..., 0] - target[:, 0]).square()


@pytest.mark.parametrize("own_weights", [False, True])
def test_members_are_trained_as_if_alone(own_weights, global_random_seed):
    generator = torch.Generator().manual_seed(global_random_seed)
    X = torch.randn(50, 3, dtype=torch.float64, generator=generator)
    y = X[:, :1].sin()
    weights = torch.rand(50, 3, dtype=torch.float64, generator=generator)
    if not own_weights:
        weights = torch.ones_like(weights)
    members = []
    for k in range(3):
        torch.manual_seed(global_random_seed + k)
        layers = nn.Linear(3, 6), nn.LeakyReLU(), nn.Linear(6, 1)
        members.append(nn.Sequential(*layers).double())
    settings = {
        "criterion": Mean,
        "optimizer": torch.optim.Adam,
        "train_split": None,
        "verbose": 0,
        "batch_size": 20,
        "iterator_train__shuffle": False,
    }
    stack = WeightedNet(Stack(members), **settings).fit(Table(X, y, weights))
    outputs = stack.module_(X).detach()
    for k, member in enumerate(members):
        alone = WeightedNet(Single(member), **settings)
        alone.fit(Table(X, y, weights[:, k : k + 1]))
        torch.testing.assert_close(alone.module_(X)[0].detach(), outputs[k])


def test_weights_stand_for_repeated_rows(global_random_seed):
    X, y = table(global_random_seed, 40)
    weight = np.random.default_rng(global_random_seed).integers(0, 4, 40)
    settings = {"batch_size": None, "random_state": global_random_seed}
    weighted = model(**settings).fit(X, y, sample_weight=weight)
    repeated = model(**settings).fit(np.repeat(X, weight, 0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-9)
    np.testing.assert_allclose(weighted.sharpness_, repeated.sharpness_, rtol=0.5)


def test_resamples_differ_and_average(global_random_seed):
    X, y = table(global_random_seed)
    ensemble = model(n_estimators=4, random_state=global_random_seed).fit(X, y)
    members = ensemble.tensor_predict(torch.from_numpy(X)).detach().numpy()
    assert members.shape == (4, len(X))
    np.testing.assert_allclose(members.mean(axis=0), ensemble.predict(X), rtol=1e-9)
    assert members.std(axis=0).min() > 0
    assert ensemble.history_["multiplier"].shape == (5, 4)
    _, std = ensemble.predict(X, return_std=True)
    assert (std > members.std(axis=0)).all()  # and the noise that they state


@pytest.mark.parametrize("n_estimators", [1, 3])
def test_early_stopping_keeps_the_best_epoch(n_estimators, global_random_seed):
    X, y = table(global_random_seed, 60)
    settings = {"loss": "squared_error", "lr": 0.3, "max_epochs": 60}
    stopped = model(
        early_stopping=True,
        n_iter_no_change=4,
        n_estimators=n_estimators,
        random_state=global_random_seed,
        **settings,
    ).fit(X, y)
    losses = stopped.history_["valid_loss"]
    assert len(losses) == stopped.n_iter_ == len(stopped.history_["loss"])
    best = int(np.argmin(losses))
    assert stopped.n_iter_ in (60, best + 5)
    assert np.isfinite(losses).all()


def test_training_goes_on(global_random_seed):
    X, y = table(global_random_seed)
    warm = model(warm_start=True, max_epochs=2).fit(X, y)
    units, first = warm.x_mean_, warm.predict(X)
    warm.fit(X + 1.0, y)
    assert warm.n_iter_ == 4
    assert warm.x_mean_ is units
    assert not np.array_equal(first, warm.predict(X))
    cold = model(max_epochs=2).fit(X, y)
    assert np.array_equal(first, cold.predict(X))
    step = model().partial_fit(X, y)
    for _ in range(3):
        step.partial_fit(X, y)
    assert step.n_iter_ == 4
    assert step.fit(X, y).n_iter_ == 5  # anew
    with pytest.raises(ValueError, match="features"):
        warm.partial_fit(X[:, :2], y)
    with pytest.raises(ValueError, match="n_estimators=2, but the training"):
        warm.set_params(n_estimators=2).fit(X, y)


def test_state_travels_without_torch(tmp_path, global_random_seed):
    X, y = table(global_random_seed)
    fitted = model(n_estimators=2).fit(X, y)
    fitted.set_params(hidden_layer_sizes=(99,), random_state=5)  # after the fit
    state = fitted.__getstate__()
    assert all(isinstance(w, np.ndarray) for w in state["_weights"].values())
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict(X), fitted.predict(X))
    again.set_params(hidden_layer_sizes=(8,))
    assert again.partial_fit(X, y).n_iter_ >= 1
    path = tmp_path / "weights.safetensors"
    fitted.save_weights(path)
    read = model(n_estimators=2).load_weights(path)
    assert np.array_equal(read.predict(X), fitted.predict(X))
    assert read.y_scale_ == fitted.y_scale_
    with pytest.raises(RuntimeError, match="size mismatch"):
        model(n_estimators=2, hidden_layer_sizes=(9,)).load_weights(path)


def test_named_columns_travel_in_weights(tmp_path):
    import pandas as pd

    X, y = table(0)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    fitted = model().fit(frame, y)
    fitted.save_weights(tmp_path / "w.safetensors")
    read = model().load_weights(tmp_path / "w.safetensors")
    assert np.array_equal(read.predict(frame), fitted.predict(frame))


def test_interrupted_training_is_taken_up_from_a_checkpoint(tmp_path):
    from skorch.callbacks import Checkpoint, LoadInitState

    X, y = table(0)
    checkpoint = Checkpoint(monitor=None, dirname=tmp_path)
    long = model(max_epochs=4, callbacks=[checkpoint]).fit(X, y)
    resumed = model(
        max_epochs=1, callbacks=[LoadInitState(checkpoint), checkpoint]
    ).fit(X, y)
    assert resumed.n_iter_ == 5
    assert resumed.score(X, y) > long.score(X, y) - 0.05


class Count(Callback):
    def __init__(self):
        self.n = 0

    def on_epoch_end(self, net, **kwargs):
        self.n += 1


def test_what_is_passed_through():
    X, y = table(0)
    count = Count()
    fitted = model(
        callbacks=[("count", count)],
        optimizer=torch.optim.RMSprop,
        net_params={"optimizer__momentum": 0.5},
        weight_decay=0.1,
    ).fit(X, y)
    group = fitted.net_.optimizer_.param_groups[0]
    assert isinstance(fitted.net_.optimizer_, torch.optim.RMSprop)
    assert (group["momentum"], group["weight_decay"], group["lr"]) == (0.5, 0.1, 0.01)
    assert count.n == 5
    own = model(module=lambda d, o: nn.Linear(d, o), dtype="float32").fit(X, y)
    assert {p.dtype for p in own.net_.module_.parameters()} == {torch.float32}
    assert own.predict(X).dtype == np.float64  # as X and y
    own = model().fit(X.astype(np.float32), y.astype(np.float32))
    assert own.predict(X.astype(np.float32)).dtype == np.float32
    template = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    start = template[0].weight.detach().clone()
    taught = model(module=template).fit(X, y)
    assert torch.equal(template[0].weight, start)  # a copy was trained
    assert taught.net_.module_.member.body is not template


def test_modules_that_do_not_fit_are_refused():
    X, y = table(0)
    flat = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    with pytest.raises(ValueError, match=r"with \(2,\); needed is \(2, 1\)"):
        model(module=flat, loss="squared_error").fit(X, y)
    with pytest.raises(ValueError, match=r"with \(2, 1\); needed is \(2, 2\)"):
        model(module=nn.Linear(3, 1)).fit(X, y)
    with pytest.raises(ValueError, match="with tuple; needed"):
        model(module=nn.LSTM(3, 2)).fit(X, y)


def test_parameters_that_are_no_affair_of_the_net():
    X, y = table(0)
    with pytest.raises(ValueError, match="net_params holds lr, max_epochs, which"):
        model(net_params={"max_epochs": 1, "lr": 2.0}).fit(X, y)
    assert model(optimizer=torch.optim.Rprop).fit(X, y).n_iter_ == 5  # has no decay


def test_frozen_layers_stay_frozen():
    X, y = table(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    module[0].requires_grad_(False)
    spy = model(module=module, n_estimators=2, max_epochs=1).fit(X, y)
    first = {n: p.detach().clone() for n, p in spy.net_.module_.named_parameters()}
    spy.partial_fit(X, y)
    for name, p in spy.net_.module_.named_parameters():
        assert torch.equal(p, first[name]) == ("body/0" in name), name


def test_float32_is_no_loss_of_units(global_random_seed):
    X, y = table(global_random_seed)
    settings = {"loss": "squared_error", "max_epochs": 150, "sharpness": None}
    far = X + np.array([1.7e9, 0, 0])  # seconds since 1970
    kept = model(dtype="float32", **settings).fit(far, y)
    assert kept.score(far, y) > 0.8
    high = model(dtype="float32", **settings).fit(X, y + 1e9)
    assert high.score(X, y + 1e9) > 0.8
    large = model(dtype="float32", **settings).fit(X * 1e150, y * 1e60)
    assert large.score(X * 1e150, y * 1e60) > 0.8


def test_losses_are_means_over_the_rows():
    X, y = table(0, n=129)
    fitted = model(batch_size=128, sharpness=None, n_estimators=2).fit(X, y)
    told = [epoch["train_loss"] / 2 for epoch in fitted.net_.history]
    np.testing.assert_allclose(fitted.history_["loss"], told)


def test_rows_of_weight_zero_are_not_there(global_random_seed):
    X, y = table(global_random_seed)
    weight = np.random.default_rng(global_random_seed).integers(0, 3, len(X))
    weighted = model().fit(X, y, sample_weight=weight)
    kept = model().fit(X[weight > 0], y[weight > 0], sample_weight=weight[weight > 0])
    np.testing.assert_array_equal(weighted.predict(X), kept.predict(X))
    np.testing.assert_array_equal(weighted.sharpness_, kept.sharpness_)
    repeated = np.repeat(np.arange(len(X)), weight)
    expected = kept.surrogate_sharpness(X[repeated])
    np.testing.assert_allclose(weighted.sharpness_, expected, rtol=1e-10)
    huge = model().fit(X, y, sample_weight=np.full(len(X), 1e307))
    np.testing.assert_allclose(huge.predict(X), model().fit(X, y).predict(X))


def test_gradients_are_switched_on_and_other_devices_left_alone(monkeypatch):
    X, y = table(0)
    seeds = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    with torch.no_grad():
        fitted = model().fit(X, y)
    assert fitted.n_iter_ == 5
    assert seeds == []


def test_verbose_prints_epochs(capsys):
    X, y = table(0)
    model(verbose=1, max_epochs=2).fit(X, y)
    told = capsys.readouterr().out
    assert "train_loss" in told
    model(max_epochs=2).fit(X, y)
    assert capsys.readouterr().out == ""


def test_tolerance_is_of_the_mean_network(monkeypatch):
    from skpapers.utils import _engine

    X, y = table(0)
    asked, stop_early = [], _engine.stop_early
    monkeypatch.setattr(
        _engine, "stop_early", lambda *args: asked.append(args) or stop_early(*args)
    )
    model(early_stopping=True, tol=0.01, n_estimators=4, n_iter_no_change=7).fit(X, y)
    assert asked == [(7, pytest.approx(0.04))]


def test_state_beside_parameters_cannot_be_stacked():
    X, y = table(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    assert model(module=module, dtype="float32").fit(X, y).n_iter_ == 5
    with pytest.raises(ValueError, match="n_estimators=1, or BaggingRegressor"):
        model(module=module, n_estimators=2).fit(X, y)


def test_training_ends_before_a_step_that_is_not_finite(global_random_seed):
    X, y = table(global_random_seed)
    wild = model(optimizer="sgd", lr=1e200, random_state=global_random_seed)
    with pytest.warns(ConvergenceWarning, match="gradient is not finite"):
        wild.fit(X, y)
    for p in wild.net_.module_.parameters():
        assert p.isfinite().all()


class Listener:
    """Collects the epochs that it hears of and asks to stop at the end of the third."""

    def __init__(self):
        self.heard, self.begun, self.ended = [], [], []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **kwargs):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, **kwargs):
        self.ended.append(context.task_name)
        if context.task_name == "epoch":
            self.heard.append(context.task_id)
        return context.task_name == "epoch" and context.task_id == 2

    def teardown(self, estimator, context):
        pass


def test_callbacks_of_scikit_learn_hear_of_epochs():
    pytest.importorskip("sklearn.callback")
    X, y = table(0)
    listener = Listener()
    assert model().set_callbacks(listener).fit(X, y).n_iter_ == 3
    assert listener.heard == [0, 1, 2]
    listener = Listener()  # a training that ends by itself
    early = model(early_stopping=True, n_iter_no_change=1, tol=1e9, max_epochs=9)
    n_epochs = early.set_callbacks(listener).fit(X, y).n_iter_
    assert n_epochs < 3
    assert listener.begun.count("epoch") == listener.ended.count("epoch") == n_epochs
    assert sorted(listener.begun) == sorted(listener.ended)


def test_tuned_and_cloned(global_random_seed):
    X, y = table(global_random_seed)
    grid = GridSearchCV(model(max_epochs=20), {"multiplier": [0.0, 0.01]}, cv=2)
    assert grid.fit(X, y).best_score_ > 0.3
    assert clone(grid.best_estimator_).get_params()["max_epochs"] == 20


def test_device_is_chosen():
    X, y = table(0)
    fitted = model(device="auto").fit(X, y)
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    assert next(fitted.net_.module_.parameters()).device.type == kind
