# SPDX-License-Identifier: BSD-3-Clause
"""Torch modules and skorch nets looked at while they train."""

import pickle

import numpy as np
import pytest
from joblib import parallel_config
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

torch = pytest.importorskip("torch")
skorch = pytest.importorskip("skorch")
from torch import nn  # noqa: E402

from skpapers import data_selection as ds  # noqa: E402
from skpapers.data_selection import _torch_checkpoints as room  # noqa: E402
from skpapers.data_selection._models import as_model  # noqa: E402
from skpapers.data_selection._models._torch import TorchModel  # noqa: E402
from skpapers.utils._torch import make_mlp, weights_to_numpy  # noqa: E402


class Net(nn.Module):
    def __init__(self, n_units=32, last=None, n_outputs=3):
        super().__init__()
        self.hidden, self.head = nn.Linear(5, n_units), nn.Linear(n_units, n_outputs)
        self.drop, self.last = nn.Dropout(0.2), last or nn.Identity()

    def forward(self, x):
        return self.last(self.head(self.drop(torch.relu(self.hidden(x)))))


@pytest.fixture
def table(global_random_seed):
    return make_classification(
        150,
        5,
        n_informative=4,
        n_redundant=0,
        n_classes=3,
        random_state=global_random_seed,
    )


def skorch_net(**options):
    given = {"criterion": nn.CrossEntropyLoss, "lr": 0.1, "batch_size": 32}
    given |= {"iterator_train__shuffle": True, "optimizer__momentum": 0.9}
    given |= {"module": Net, "verbose": 0}
    return skorch.NeuralNetClassifier(**(given | options))


TRAINERS = {"module": (room.train_module, Net), "net": (room.train_net, skorch_net)}


@pytest.mark.parametrize("kind", TRAINERS)
def test_runs_repeat_and_leave_torch_alone(kind, table, global_random_seed):
    X, codes = table
    train, make = TRAINERS[kind]
    estimator, times, seen = make(), (0, 0.5, 1, 2.5), []
    state = torch.get_rng_state()
    for seed in (1, 1, 2):
        found = []
        for time, model, *_ in train(estimator, X, codes, times, seed):
            assert torch.equal(torch.get_rng_state(), state)
            torch.rand(1)  # what others draw changes nothing
            torch.set_rng_state(state)
            found.append((time, model.run(X).gradient_norms(codes)))
        seen.append(found)
    assert tuple(time for time, _ in seen[0]) == times
    for one, two, other in zip(*seen, strict=True):
        np.testing.assert_array_equal(one[1], two[1])
        assert not np.allclose(one[1], other[1])


@pytest.mark.parametrize("kind", TRAINERS)
def test_training_learns_and_stops_where_asked(kind, table):
    X, codes = table
    train, make = TRAINERS[kind]
    estimator = make()
    accuracy = [
        (model.run(X).log_proba.argmax(1) == codes).mean()
        for _, model, *_ in train(estimator, X, codes, (0, 40), 0)
    ]
    assert accuracy[1] > max(accuracy[0] + 0.05, 0.65)
    assert not hasattr(estimator, "module_")


def test_module_is_trained_as_by_hand(table, global_random_seed):
    X, codes = table
    seed, module = global_random_seed, make_mlp(5, (6,), 3)
    (_, found), = room.train_module(module, X, codes, (2,), seed)  # fmt: skip

    other = make_mlp(5, (6,), 3)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for layer in (other[0], other[2]):
            layer.reset_parameters()
    optimizer = torch.optim.Adam(other.parameters(), lr=3e-3)
    shuffle = torch.Generator().manual_seed(seed)
    for _ in range(2):
        for rows in torch.randperm(150, generator=shuffle).split(32):
            optimizer.zero_grad()
            logits = other(torch.as_tensor(X)[rows])
            nn.functional.cross_entropy(logits, torch.as_tensor(codes)[rows]).backward()
            optimizer.step()
    for mine, theirs in zip(found.module.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_net_is_trained_as_by_skorch(table, global_random_seed):
    """Whole epochs, a scheduler and dropout: the same weights as from ``fit``."""
    X, codes = table
    X = X.astype(np.float32)
    schedule = skorch.callbacks.LRScheduler("StepLR", step_size=2, gamma=0.5)
    net = skorch_net(callbacks=[("schedule", schedule)], max_epochs=5)
    times = (0.3, 1, 1.7, 3, 5)
    *_, (_, _, trained) = room.train_net(net, X, codes, times, 3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        other = clone(net).set_params(train_split=None).fit(X, codes)
    mine, theirs = weights_to_numpy(trained.module_), weights_to_numpy(other.module_)
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name])
    assert len(trained.history) == 5
    np.testing.assert_allclose(
        trained.history[:, "train_loss"], other.history[:, "train_loss"]
    )
    assert trained.optimizer_.param_groups[0]["lr"] == pytest.approx(0.1 / 4)


def test_fit_itself_serves_for_the_trained_net(table):
    X, codes = table
    stop = skorch.callbacks.EarlyStopping(patience=2)
    net = skorch_net(callbacks=[stop], max_epochs=100, lr=1.0)
    ((time, model, trained),) = room.train_net(net, X, codes, None, 0)
    assert np.isnan(time)
    assert len(trained.history) < 100
    assert model.module is trained.module_
    # with checkpoints there is no validation split that it could wait for
    (*_, (_, _, trained)) = room.train_net(net, X, codes, (1, 2), 0)
    assert "valid_loss" not in trained.history[-1]
    net = skorch_net(callbacks="disable")
    assert len(list(room.train_net(net, X, codes, (1, 2), 0))) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"criterion": nn.NLLLoss, "module__last": nn.Softmax(1)},
        {"criterion": nn.BCEWithLogitsLoss, "module__n_outputs": 1},
        {
            "criterion": nn.BCELoss,
            "module__n_outputs": 1,
            "module__last": nn.Sigmoid(),
        },
    ],
    ids=["NLLLoss", "BCEWithLogitsLoss", "BCELoss"],
)
def test_criteria(options, table):
    X, codes = table
    if "module__n_outputs" in options:
        codes = (codes > 0).astype(int)
        make = skorch.NeuralNetBinaryClassifier
    else:
        make = skorch.NeuralNetClassifier
    net = make(Net, lr=0.1, verbose=0, **options)
    classes = np.array(["a", "b", "c"])[: codes.max() + 1]
    ((_, model, trained),) = room.train_net(net, X, codes, (20,), 0, classes)
    expected = trained.predict_proba(X.astype(np.float32))
    np.testing.assert_allclose(np.exp(model.run(X).log_proba), expected, rtol=1e-4)
    assert model.classes_.tolist() == classes.tolist()
    assert (expected.argmax(1) == codes).mean() > 0.5


def test_other_criteria_are_refused(table):
    X, codes = table
    net = skorch_net(criterion=nn.MultiMarginLoss)
    with pytest.raises(TypeError, match="got the criterion MultiMarginLoss"):
        next(room.train_net(net, X, codes, (1,), 0))


@pytest.mark.parametrize("kind", TRAINERS)
def test_an_output_for_each_class(kind, table):
    X, codes = table
    train, make = TRAINERS[kind]
    with pytest.raises(ValueError, match="tells 3 classes apart, the labels are of 4"):
        next(train(make(), X, codes, (1,), 0, classes=np.arange(4)))
    with pytest.raises(ValueError, match="tells 3 classes apart, the labels are of 2"):
        next(train(make(), X, codes % 2, (1,), 0, classes=np.arange(2)))


def test_tables_in_other_containers(table):
    X, codes = table
    X[np.abs(X) < 0.5] = 0
    module = make_mlp(5, (6,), 3)
    ((_, expected),) = room.train_module(module, X, codes, (1,), 0)
    for rows in (sparse.csr_array(X), X.tolist()):
        ((_, found),) = room.train_module(module, rows, codes, (1,), 0)
        one, two = found.run(X).log_proba, expected.run(X).log_proba
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "module",
    [
        make_mlp(5, (8, 7), 3),
        nn.Sequential(
            nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 3, 2), nn.ReLU(inplace=True),
            nn.Flatten(), nn.LayerNorm(12), nn.Linear(12, 3),
        ).double(),
    ],
    ids=["mlp", "conv"],
)  # fmt: skip
def test_runs_at_once_are_the_runs_one_by_one(module, table):
    X, codes = table
    seeds, times = (4, 5, 6), (0, 0.5, 3)
    assert room.can_stack(module)
    together = list(room.stacked_checkpoints(module, X, codes, times, seeds))
    assert [time for time, _ in together] == list(times)
    for run, seed in enumerate(seeds):
        alone = room.train_module(module, X, codes, times, seed)
        for (_, one), (_, models) in zip(alone, together, strict=True):
            found, expected = models[run].run(X), one.run(X)
            np.testing.assert_allclose(found.log_proba, expected.log_proba, rtol=1e-8)
            np.testing.assert_allclose(
                found.gradient_norms(codes), expected.gradient_norms(codes), rtol=1e-8
            )


class Branching(nn.Module):
    """vmap cannot follow a decision on values."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x):
        found = self.layer(x)
        return found if found.sum() > 1e9 else torch.tanh(found)


def test_runs_that_vmap_cannot_follow_are_trained_one_by_one(table):
    X, codes = table
    module, seeds = Branching(), (1, 2)
    assert room.can_stack(module)
    (_, models), = room.stacked_checkpoints(module, X, codes, (2,), seeds)  # fmt: skip
    for model, seed in zip(models, seeds, strict=True):
        ((_, alone),) = room.train_module(module, X, codes, (2,), seed)
        expected = alone.run(X).log_proba
        np.testing.assert_array_equal(model.run(X).log_proba, expected)


def test_what_cannot_be_stacked():
    frozen = make_mlp(3, (4,), 2)
    frozen[0].requires_grad_(False)
    for module in (
        frozen,
        nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)),
        nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.1)),
        nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1),
        nn.LSTM(3, 3),
    ):
        assert not room.can_stack(module)
    assert room.can_stack(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0)))


def test_batches_of_rows_on_the_first_axis(global_random_seed):
    """Images and tokens need no flat rows."""
    rng = np.random.default_rng(global_random_seed)
    codes = rng.integers(2, size=40)
    images = rng.normal(size=(40, 1, 4, 4)) + 2 * codes[:, None, None, None]
    ids = rng.integers(3, size=(40, 6)) + 3 * codes[:, None]
    cnn = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    words = nn.Sequential(nn.Embedding(6, 3), nn.Flatten(), nn.Linear(18, 2))
    for module, X in ((cnn, images), (words, ids), (words, ids.astype(float))):
        (*_, (_, last)) = room.train_module(module, X, codes, (100,), 0)
        assert (last.run(X).log_proba.argmax(1) == codes).mean() > 0.75
        assert last.run(X).gradient_norms(codes).shape == (40,)
        net = skorch_net(module=module, batch_size=8)
        (*_, (_, last, _)) = room.train_net(net, X, codes, (30,), 0)
        assert (last.run(X).log_proba.argmax(1) == codes).mean() > 0.75
        assert isinstance(last, TorchModel)


# ---------------------------------------------------------------------- the scorers

RUNS = {"epochs": 15, "n_runs": 3, "random_state": 0}
ONE_RUN = {"epochs": 15, "n_checkpoints": 3, "random_state": 0}
SCORERS = {
    "el2n": lambda net: ds.EL2NScorer(net, **RUNS),
    "grand": lambda net: ds.GraNdScorer(net, **RUNS),
    "vog": lambda net: ds.VoGScorer(net, **ONE_RUN),
    "forgetting": lambda net: ds.ForgettingScorer(net, check_every=1.0, **RUNS),
    "pvi": lambda net: ds.PVIScorer(net, **RUNS),
    "tracin": lambda net: ds.TracInScorer(net, **ONE_RUN),
}
NETWORKS = {
    "module": lambda: make_mlp(5, (16,), 3),
    "net": skorch_net,
    "pipeline": lambda: make_pipeline(StandardScaler(), skorch_net()),
}


@pytest.fixture
def mislabelled(global_random_seed):
    """Three far apart groups, one label in ten wrong."""
    rng = np.random.default_rng(global_random_seed)
    codes = rng.integers(3, size=200)
    X = rng.normal(size=(200, 5)) + 4 * np.eye(3, 5)[codes]
    wrong = rng.random(200) < 0.1
    codes = np.where(wrong, (codes + 1) % 3, codes)
    return X, np.array(["a", "b", "c"])[codes], wrong


@pytest.mark.filterwarnings("ignore:n_runs=3 is too small")
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", SCORERS)
def test_scorers(name, network, mislabelled):
    X, y, wrong = mislabelled
    scorer = SCORERS[name](NETWORKS[network]())
    state = torch.get_rng_state()
    fitted = clone(scorer).fit(X, y)
    assert torch.equal(torch.get_rng_state(), state)
    assert fitted.classes_.tolist() == ["a", "b", "c"]
    if name != "vog":  # it gives wrong labels low scores
        assert roc_auc_score(wrong, fitted.hardness_) > 0.8
    for other in (clone(scorer).fit(X, y), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(other.scores_, fitted.scores_)
        rescored = other.score_samples(X, y)
        np.testing.assert_allclose(rescored, fitted.scores_, rtol=1e-6)
    assert fitted.score_samples(X[:5]).shape == (5,)


@pytest.mark.parametrize(
    "backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)]
)
def test_scores_of_stacked_runs(backend, mislabelled, monkeypatch):
    X, y, _ = mislabelled
    names = ("el2n", "grand")
    scorers = [(name, SCORERS[name](NETWORKS["module"]())) for name in names]
    together = ds.ScoreBank(scorers, random_state=0).fit(X, y)
    monkeypatch.setattr(room, "can_stack", lambda module: False)
    alone = ds.ScoreBank(scorers, random_state=0).fit(X, y)
    np.testing.assert_allclose(together.scores_, alone.scores_, rtol=1e-8)
    with parallel_config(backend, n_jobs=2):
        parallel = ds.ScoreBank(scorers, random_state=0).fit(X, y)
    np.testing.assert_array_equal(parallel.scores_, alone.scores_)


def test_threads_do_not_share_their_draws(mislabelled):
    X, y, _ = mislabelled
    scorer = SCORERS["el2n"](skorch_net())  # with dropout
    expected = clone(scorer).fit(X, y).scores_per_run_
    with parallel_config("threading", n_jobs=3):
        found = clone(scorer).fit(X, y).scores_per_run_
    np.testing.assert_array_equal(found, expected)


def test_steps_of_the_optimizer_as_times(mislabelled):
    X, y, _ = mislabelled
    nets = {"module": (NETWORKS["module"](), 7), "net": (skorch_net(batch_size=-1), 1)}
    for net, per_epoch in nets.values():
        scorer = ds.ForgettingScorer(net, epochs=2, check_every=1, n_runs=1)
        fitted = scorer.set_params(random_state=0).fit(X, y)
        assert len(fitted.checkpoints_[0]["epochs"]) == 2 * per_epoch


def test_trained_networks_are_scored_as_they_are(mislabelled):
    X, y, _ = mislabelled
    _, codes = np.unique(y, return_inverse=True)
    module = make_mlp(5, (16,), 3)
    p = torch.softmax(module(torch.as_tensor(X)), 1).detach()
    fitted = ds.EL2NScorer(module, epochs=None, n_runs=1).fit(X, y)
    expected = ds.el2n_scores(codes, p.numpy())
    np.testing.assert_allclose(fitted.scores_, expected)
    norms = models_norms(module, X, codes)
    np.testing.assert_allclose(ds.gradient_norms(module, X, codes), norms)
    assert ds.input_gradients(module, X, codes).shape == X.shape
    module.classes_ = np.array(["a", "b", "c"])
    np.testing.assert_allclose(ds.gradient_norms(module, X, y), norms)
    with pytest.raises(NotFittedError):
        ds.gradient_norms(skorch_net(), X, codes)


def models_norms(module, X, codes):
    return TorchModel(module).run(X).gradient_norms(codes)


def test_fitted_nets_are_models(mislabelled):
    X, y, _ = mislabelled
    X, codes = X.astype(np.float32), np.unique(y, return_inverse=True)[1]
    net = skorch_net(max_epochs=2, train_split=None).fit(X, codes)
    model = as_model(net)
    assert model.is_differentiable
    assert model.classes_.tolist() == [0, 1, 2]
    expected = net.predict_proba(X)
    np.testing.assert_allclose(np.exp(model.run(X).log_proba), expected, rtol=1e-5)
    by_layer = [
        ds.gradient_norms(net, X, codes, layers=[k]) for k in ("hidden", "head")
    ]
    total = np.hypot(*by_layer)
    np.testing.assert_allclose(ds.gradient_norms(net, X, codes), total, rtol=1e-5)


def test_scorers_of_images_and_tokens(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    codes = rng.integers(2, size=60)
    images = rng.normal(size=(60, 1, 4, 4)) + 2 * codes[:, None, None, None]
    ids = rng.integers(3, size=(60, 6)) + 3 * codes[:, None]
    cnn = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    words = nn.Sequential(nn.Embedding(6, 3), nn.Flatten(), nn.Linear(18, 2))
    for module, X, size in ((cnn, images, 16), (words, ids, 18)):
        scorer = ds.VoGScorer(module, epochs=2, n_checkpoints=2, random_state=0)
        assert np.isfinite(scorer.fit(X, codes).scores_).all()
        assert ds.input_gradients(module, X, codes).shape == (60, size)


def test_functions_keep_tensors(mislabelled):
    """Scores of tensors are tensors, of the same device and dtype."""
    import sklearn

    X, y, _ = mislabelled
    codes = torch.as_tensor(np.unique(y, return_inverse=True)[1])
    p = torch.softmax(make_mlp(5, (16,), 3)(torch.as_tensor(X)), 1).detach()
    with sklearn.config_context(array_api_dispatch=True):
        for function in (ds.el2n_scores, ds.margin_scores, ds.pvi_scores):
            found = function(codes, p)
            assert isinstance(found, torch.Tensor)
            expected = function(codes.numpy(), p.numpy())
            np.testing.assert_allclose(found.numpy(), expected)


def test_no_batch_has_a_single_row(table):
    """Batch normalisation cannot train on one."""
    X, y = table
    n = room.BATCH_SIZE + 1
    norm = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    scorer = ds.EL2NScorer(norm, epochs=1, n_runs=1).fit(X[:n].astype("f"), y[:n])
    assert np.isfinite(scorer.scores_).all()
    for n_rows, sizes in {33: [31, 2], 65: [32, 31, 2], 64: [32, 32], 1: [1]}.items():
        batches = room.Batches(n_rows, 0, 32)
        found = [rows for rows, _ in zip(batches, range(len(sizes)), strict=False)]
        assert [len(rows) for rows in found] == sizes
        assert sorted(torch.cat(found).tolist()) == list(range(n_rows))
        assert batches.per_epoch == len(sizes)


def test_nets_judge_labels_of_any_kind(table):
    """skorch trains on codes alone."""
    X, y = table[0].astype("f"), table[1]
    net = skorch_net(max_epochs=3, train_split=None)
    detector = ds.NoisyLabelDetector(net, cv=KFold(3, shuffle=True, random_state=0))

    def scores(labels, judge=net):
        torch.manual_seed(0)
        found = clone(detector).set_params(scorer=judge).fit(X, labels)
        assert set(found.predicted_labels_) <= set(labels)
        return found.scores_

    by_code = scores(y)
    for names in (np.array(["a", "b", "c"]), np.array([-1, 5, 7])):
        np.testing.assert_array_equal(scores(names[y]), by_code)
    rare = np.where(y == 1, 0, y)
    rare[0] = 1  # in some folds there is none of it
    assert np.isfinite(scores(rare)).all()
    binary = skorch.NeuralNetBinaryClassifier(
        nn.Sequential(nn.Linear(5, 1), nn.Flatten(0)), train_split=None, verbose=0
    )
    sides = (y > 0).astype("f")
    np.testing.assert_array_equal(
        scores(sides, binary), scores(np.array(["no", "yes"])[y.clip(0, 1)], binary)
    )


@pytest.mark.parametrize(
    "fit",
    [
        lambda net, X, y: ds.NoisyLabelDetector(net).fit(X, y),
        lambda net, X, y: ds.InfluenceSampler(net).fit(X, y),
        lambda net, X, y: ds.PrunedClassifier(scorer=net).fit(X, y),
        lambda net, X, y: ds.pruning_curve(skorch_net(), net, X, y),
    ],
)
def test_a_module_alone_is_no_scorer(table, fit):
    with pytest.raises(TypeError, match=r"torch module \(Net\).*EL2NScorer\(net\)"):
        fit(Net(), *table)
