"""A training that goes on, is interrupted, fails or travels."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from skorch.callbacks import Callback  # noqa: E402
from torch import nn  # noqa: E402

from skpapers.offline_optimization import (  # noqa: E402
    ConservativeRegressor,
    SharpnessRegularizedRegressor,
)


def table(seed, n=90):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    return X, np.sin(X[:, 0]) + X[:, 1]


def model(**params):
    settings = {"lr": 0.01, "max_epochs": 3, "batch_size": 32, "random_state": 0}
    return SharpnessRegularizedRegressor(
        **({"hidden_layer_sizes": (8,)} | settings | params)
    )


class Spy(Callback):
    """Keeps what each training works on."""

    def __init__(self):
        self.seen = []

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        self.seen.append((dataset_train, dataset_valid))


class Break(Callback):
    """Raises in some epoch."""

    def __init__(self, error, epoch):
        self.error, self.epoch, self.n = error, epoch, 0

    def on_batch_end(self, net, training, **kwargs):
        if len(net.history) == self.epoch:
            raise self.error


class Interrupting(nn.Module):
    """A network in whose computation the user presses Ctrl-C, after some calls."""

    def __init__(self, n_inputs, n_outputs, n_calls):
        super().__init__()
        self.layer = nn.Linear(n_inputs, n_outputs)
        self.n_calls = n_calls

    def forward(self, x):
        if self.training:
            self.n_calls -= 1
            if self.n_calls < 0:
                raise KeyboardInterrupt
        return self.layer(x)


# ------------------------------------------------------------------------- going on
@pytest.mark.parametrize("seed", [None, 3, "state"])
def test_the_same_rows_are_watched_and_resampled(seed):
    X, y = table(0)
    if seed == "state":
        seed = np.random.RandomState(5)
    settings = {"random_state": seed, "warm_start": True, "max_epochs": 1}
    spy = Spy()
    watching = model(early_stopping=True, callbacks=[spy], **settings)
    watching.fit(X, y).fit(X, y)
    first, second = (watched.X for _, watched in spy.seen)
    assert torch.equal(first, second)
    spy = Spy()
    model(n_estimators=3, callbacks=[spy], **settings).fit(X, y).fit(X, y)
    first, second = (trained.rest[1] for trained, _ in spy.seen)
    assert torch.equal(first, second)
    assert not torch.equal(first[:, 0], first[:, 1])


def test_changed_parameters_count():
    X, y = table(0)
    warm = model(warm_start=True, sharpness="penalty", batch_size=None).fit(X, y)
    before = warm.predict(X)
    warm.set_params(lr=1e-12, multiplier=7.0, max_epochs=1).fit(X, y)
    np.testing.assert_allclose(warm.predict(X), before, atol=1e-8)
    assert warm.multiplier_[0] == 7.0
    assert warm.n_iter_ == 4
    for changed in (
        {"loss": "squared_error"},
        {"hidden_layer_sizes": (9,)},
        {"activation": "tanh"},
        {"optimizer": "sgd"},
        {"dtype": "float32"},
    ):
        (name,) = changed
        other = pickle.loads(pickle.dumps(warm)).set_params(**changed)
        with pytest.raises(ValueError, match=f"{name}=.*training that goes on"):
            other.fit(X, y)
        _, std = other.predict(X, return_std=True)  # of the fitted networks
        assert (std > 0).all()
    warm.set_params(hidden_layer_sizes=[8]).fit(X, y)  # the same, as a list


@pytest.mark.parametrize("make", [model, ConservativeRegressor])
def test_a_pickled_training_goes_on_as_the_original(make):
    X, y = table(1)
    one = make(
        hidden_layer_sizes=(8,),
        lr=0.01,
        sharpness="constraint",
        multiplier_lr=0.1,
        max_epochs=4,
        random_state=0,
    ).fit(X, y)
    other = pickle.loads(pickle.dumps(one))
    one.partial_fit(X, y)
    other.partial_fit(X, y)
    assert one.n_iter_ == other.n_iter_ == 5
    for name in one.history_:
        assert len(other.history_[name]) == 5
        np.testing.assert_allclose(
            other.history_[name], one.history_[name], rtol=0.05, err_msg=name
        )
    np.testing.assert_allclose(other.multiplier_, one.multiplier_, rtol=0.05)
    if make is ConservativeRegressor:  # Adam of alpha begins anew
        assert other.alpha_ == pytest.approx(one.alpha_, rel=0.05)


def test_a_batch_that_overflows_does_not_spoil_what_follows():
    X, y = table(0)
    fitted = model().fit(X, y)
    far = X.copy()
    far[0] = 1e200
    with pytest.warns(ConvergenceWarning, match="not finite"):
        fitted.partial_fit(far, y)
    assert np.isfinite(fitted.multiplier_).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.partial_fit(X, y)


# -------------------------------------------------------------- what is not completed
@pytest.mark.parametrize("every", [2, 5])
def test_epochs_without_the_term_are_told_of(every):
    X, y = table(0)
    fitted = model(sharpness_every=every, batch_size=None, max_epochs=6).fit(X, y)
    told = np.isfinite(fitted.history_["sharpness"][:, 0])
    np.testing.assert_array_equal(told, np.arange(6) % every == 0)
    assert np.isfinite(fitted.history_["loss"]).all()


@pytest.mark.parametrize("n_calls", [0, 1, 8])
def test_an_interrupt_is_told_of(n_calls):
    X, y = table(0)
    fitted = model(
        module=lambda d, o: Interrupting(d, o, n_calls), max_epochs=50, sharpness=None
    )
    with pytest.warns(ConvergenceWarning, match="was interrupted"):
        fitted.fit(X, y)
    assert fitted.n_iter_ < 50
    assert np.isfinite(fitted.predict(X)).all()


def test_a_callback_that_ends_the_training_is_no_interrupt():
    X, y = table(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = model(callbacks=[Break(KeyboardInterrupt(), 2)]).fit(X, y)
    assert fitted.n_iter_ == 2


@pytest.mark.parametrize("make", [model, ConservativeRegressor])
def test_a_training_that_fails_leaves_everything_as_it_was(make):
    X, y = table(0)
    stop = Break(RuntimeError("no"), 5)
    settings = {"hidden_layer_sizes": (8,), "sharpness": "constraint", "batch_size": 32}
    settings |= {"max_epochs": 4, "random_state": 0}
    fitted = make(callbacks=[stop], **settings).fit(X, y)
    before, multiplier = fitted.predict(X), fitted.multiplier_
    with pytest.raises(RuntimeError, match="no"):
        fitted.partial_fit(X, y)
    np.testing.assert_array_equal(fitted.predict(X), before)
    np.testing.assert_array_equal(fitted.multiplier_, multiplier)
    assert (fitted.n_iter_, len(fitted.net_.history)) == (4, 4)
    stop.epoch = -1
    smooth = make(**settings).fit(X, y).partial_fit(X, y)
    fitted.partial_fit(X, y)
    np.testing.assert_array_equal(fitted.predict(X), smooth.predict(X))
    np.testing.assert_array_equal(fitted.multiplier_, smooth.multiplier_)


# ------------------------------------------------------------------------ persistence
def test_a_failed_load_changes_nothing(tmp_path):
    X, y = table(0)
    path = tmp_path / "w.safetensors"
    model(hidden_layer_sizes=(4,)).fit(X * 100, 1000 * y).save_weights(path)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    fitted = model().fit(X, y)
    before = fitted.predict(X)
    with pytest.raises(RuntimeError, match="size mismatch"):
        fitted.load_weights(path)
    np.testing.assert_array_equal(fitted.predict(X), before)


def test_loaded_weights_forget_what_was_there(tmp_path):
    import pandas as pd

    X, y = table(0)
    path = tmp_path / "w.safetensors"
    fitted = model().fit(X, y)
    fitted.save_weights(path)
    other = model().fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    other.load_weights(path)
    assert not hasattr(other, "feature_names_in_")
    assert not hasattr(other, "history_")
    np.testing.assert_array_equal(other.predict(X), fitted.predict(X))
    assert other.partial_fit(X, y).n_iter_ == fitted.n_iter_ + 1


def test_compiled_networks(tmp_path):
    """With batches of several sizes, members of their own, and weights of a file."""
    X, y = table(0, n=40)
    settings = {"n_estimators": 3, "multiplier_lr": 0.1, "max_epochs": 1}
    plain = model(**settings).fit(X, y)
    compiled = model(
        compile=True, net_params={"compile__backend": "aot_eager"}, **settings
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler
        compiled.fit(X, y)
    assert compiled.multiplier_.shape == (3,)
    np.testing.assert_allclose(compiled.multiplier_, plain.multiplier_, rtol=1e-6)
    np.testing.assert_allclose(compiled.predict(X), plain.predict(X), rtol=1e-6)
    compiled.save_weights(tmp_path / "w.safetensors")
    read = model(**settings).load_weights(tmp_path / "w.safetensors")
    np.testing.assert_allclose(read.predict(X), compiled.predict(X), rtol=1e-6)
    with pytest.raises(ValueError, match="hvp='exact' needs two derivatives"):
        model(compile=True, hvp="exact").fit(X, y)
