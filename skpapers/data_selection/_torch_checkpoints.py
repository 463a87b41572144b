# SPDX-License-Identifier: BSD-3-Clause
"""The protocol of checkpoints for torch modules and skorch nets.

A skorch net is trained by its own steps (optimizer, criterion, batches and callbacks
are those that it was given), but on all rows: a validation split would leave rows that
the net has not learnt, whose scores tell of that and of nothing else. Callbacks that
wait for a validation split (early stopping, checkpoints on disk) are left out.

A bare module is trained by Adam (step 0.003) on the cross-entropy, in mini-batches of
32. Layers that have ``reset_parameters`` start anew in every run.

Runs of a bare module can be trained at once: the weights of R copies are stacked, and
``torch.func.vmap`` makes one step of R batches, each from its own run. The result is
that of the runs one by one, up to rounding.

torch's global generators are those of the run while it trains and as they were whenever
a checkpoint is handed out.
"""

import copy
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from threading import RLock

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from torch import nn
from torch.func import stack_module_state, vmap

from skpapers.data_selection._chunks import passes
from skpapers.data_selection._models._torch import (
    TorchModel,
    evaluating,
    is_recurrent,
    logits_of,
    takes_ids,
    torch_model,
)

__all__ = [
    "FittedNetwork",
    "batch_size",
    "can_stack",
    "learning_rate",
    "stacked_checkpoints",
    "train_module",
    "train_net",
]

LEARNING_RATE = 3e-3
BATCH_SIZE = 32
TURN = RLock()  # there is one global generator for all threads


class FittedNetwork(ClassifierMixin, BaseEstimator):
    """A trained network with the face of a fitted classifier.

    skorch nets are trained on the codes of the labels; this one knows the labels.

    Parameters
    ----------
    model : TorchModel
        The network.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    """

    def __init__(self, model):
        self.model = model

    @property
    def classes_(self):
        """The labels."""
        return self.model.classes_

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, X, y=None):
        """Do nothing: the network is trained."""
        return self

    def predict_proba(self, X):
        """Return probabilities of the classes, (n_samples, n_classes)."""
        chunks = passes(self.model, X)
        return np.concatenate([np.exp(found.log_proba) for _, found in chunks])

    def predict(self, X):
        """Return the most probable labels."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def snapshot(self):
        """Return a copy that further training does not touch."""
        return FittedNetwork(self.model.snapshot())


class Draws:
    """torch's global generators as one training sees them."""

    def __init__(self, seed, device="cpu"):
        self.device, self.state = torch.device(device), None
        self.seed = seed

    @contextmanager
    def __call__(self):
        """Draw from the training's generators; leave the global ones as they were."""
        cuda = self.device.type == "cuda"
        with TURN, torch.random.fork_rng(devices=[self.device] if cuda else []):
            if self.state is None:
                torch.manual_seed(self.seed)
            else:
                torch.set_rng_state(self.state[0])
                if cuda:
                    torch.cuda.set_rng_state(self.state[1], self.device)
            try:
                yield
            finally:
                on_device = torch.cuda.get_rng_state(self.device) if cuda else None
                self.state = torch.get_rng_state(), on_device


def batch_size(last, n_samples):
    """Return the number of rows of a training step."""
    size = getattr(last, "batch_size", BATCH_SIZE)
    return n_samples if size == -1 else size


def learning_rate(net=None):
    """Return the present step length of a net's optimizer, or of a bare module's."""
    return LEARNING_RATE if net is None else net.optimizer_.param_groups[0]["lr"]


def as_array(X):
    """Return rows of a frame or a list as an array that takes row numbers."""
    return X if issparse(X) or isinstance(X, np.ndarray) else np.asarray(X)


def check_outputs(model, X, codes):
    """Raise if a network has not an output for each class, before it is trained."""
    row = model.rows(X[:1])
    with evaluating(model.module), torch.no_grad():
        n_outputs = model.call(row, model.tensors()).shape[1]
    n_classes = codes.max() + 1 if model._classes is None else len(model.classes_)
    if n_outputs < n_classes or (model._classes is not None and n_outputs != n_classes):
        raise ValueError(
            f"the network tells {n_outputs} classes apart, the labels are of "
            f"{n_classes}."
        )


# ------------------------------------------------------------------------ bare modules


def fresh(module, seed):
    """Return a copy with weights of its own, as the layers initialise them."""
    new = copy.deepcopy(module)
    with Draws(seed, next(new.parameters()).device)():
        for part in new.modules():
            for name in ("reset_parameters", "_reset_parameters"):  # of attention
                getattr(part, name, int)()
    return new


class Batches:
    """Mini-batches of shuffled row numbers, epoch after epoch.

    A last batch of a single row, of which batch normalisation knows no variance, gets a
    second one from the batch before.
    """

    def __init__(self, n_rows, seed, batch_size=BATCH_SIZE):
        size = min(batch_size, n_rows)
        self.per_epoch = -(-n_rows // size)
        self.sizes = [min(size, n_rows - start) for start in range(0, n_rows, size)]
        if self.sizes[-1] == 1 and size > 2:
            self.sizes[-2:] = [size - 1, 2]
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self):
        while True:
            order = torch.randperm(sum(self.sizes), generator=self.generator)
            yield from order.split(self.sizes)


def steps_between(times, per_epoch):
    """Yield times, and the steps of the optimiser that lead to each from the last."""
    done = 0
    for time in times:
        target = max(round(time * per_epoch), 1) if time > 0 else 0
        yield time, max(target - done, 0)
        done = max(target, done)


def train_module(module, X, codes, times, seed, classes=None):
    """Train a copy of a module and stop at checkpoints.

    Parameters
    ----------
    module : torch.nn.Module
        The classifier; not changed.
    X : array-like of shape (n_samples, ...)
        Rows; they go to the module's device batch by batch.
    codes : int ndarray of shape (n_samples,)
        Index of the labels.
    times : sequence of float or None
        Increasing epochs of the checkpoints, 0 for the start; None takes the module as
        it is, trained before.
    seed : int
        Of the weights, the batches and dropout.
    classes : ndarray of shape (n_classes,), default=None
        The labels.

    Yields
    ------
    time : float
        Epochs trained; NaN for a module that came trained.
    model : TorchModel
        The module, which goes on training afterwards.
    """
    if times is None:
        yield np.nan, TorchModel(copy.deepcopy(module), classes=classes)
        return
    module, X = fresh(module, seed), as_array(X)
    model = TorchModel(module, classes=classes)
    check_outputs(model, X, codes)
    draws = Draws(seed, next(module.parameters()).device)
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=LEARNING_RATE)
    batches = Batches(len(codes), seed)
    codes, stream = torch.as_tensor(codes), iter(batches)
    for time, n_steps in steps_between(times, batches.per_epoch):
        with draws(), torch.enable_grad():
            module.train()
            for rows in islice(stream, n_steps):
                x = model.rows(X[rows.numpy()])
                logits = logits_of(module(x), len(rows))
                loss = nn.functional.cross_entropy(logits, codes[rows].to(x.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            optimizer.zero_grad()
            module.eval()
        yield time, model


# ------------------------------------------------------------------ many runs at once


def can_stack(module):
    """Tell whether runs of a module can be trained at once.

    State beside the parameters (running statistics), random numbers in the forward
    pass and recurrent layers stand in the way, and so do frozen parameters.
    """
    # as layers that drop units have it, and attention
    shares = [getattr(part, "p", 0) for part in module.modules()]
    shares += [getattr(part, "dropout", 0) for part in module.modules()]
    random = any(isinstance(share, float | int) and share > 0 for share in shares)
    if random or is_recurrent(module) or any(True for _ in module.buffers()):
        return False
    parameters = list(module.parameters())
    return bool(parameters) and all(p.requires_grad for p in parameters)


def stacked_checkpoints(module, X, codes, times, seeds, classes=None):
    """Train copies of a module at once and stop at checkpoints.

    Parameters
    ----------
    module : torch.nn.Module
        The classifier; `can_stack` has to be true of it.
    X : array-like of shape (n_samples, ...)
        Rows; they go to the module's device batch by batch.
    codes : int ndarray of shape (n_samples,)
        Index of the labels.
    times : sequence of float
        Increasing epochs of the checkpoints, 0 for the start.
    seeds : sequence of int
        One a run; what a run gives does not depend on the others.
    classes : ndarray of shape (n_classes,), default=None
        The labels.

    Yields
    ------
    time : float
        Epochs trained.
    models : list of TorchModel
        Snapshots, one a run.
    """
    copies, X = [fresh(module, seed).train() for seed in seeds], as_array(X)
    weights, _ = stack_module_state(copies)
    reader = TorchModel(copies[0], classes=classes)
    check_outputs(reader, X, codes)
    batches = [Batches(len(codes), seed) for seed in seeds]
    targets, stream = torch.as_tensor(codes), zip(*batches, strict=True)

    def loss(weights, x, y):
        logits = logits_of(reader.outputs(x, weights), len(x))
        return nn.functional.cross_entropy(logits, y)

    def losses(rows):
        x = reader.rows(X[rows.flatten().numpy()]).unflatten(0, rows.shape)
        return vmap(loss)(weights, x, targets[rows].to(x.device))

    try:
        losses(torch.zeros(len(seeds), 1, dtype=torch.long))
    except RuntimeError:  # vmap does not follow the module: branches on values, ...
        yield from _one_by_one(module, X, codes, times, seeds, classes)
        return
    optimizer = torch.optim.Adam(weights.values(), lr=LEARNING_RATE)
    for time, n_steps in steps_between(times, batches[0].per_epoch):
        with torch.enable_grad():
            for rows in islice(stream, n_steps):
                optimizer.zero_grad()
                losses(torch.stack(rows)).sum().backward()
                optimizer.step()
        yield time, [_run_of(reader, weights, run) for run in range(len(seeds))]


def _one_by_one(module, X, codes, times, seeds, classes):
    """Do the same with one training after the other at each checkpoint."""
    runs = [train_module(module, X, codes, times, seed, classes) for seed in seeds]
    for states in zip(*runs, strict=True):
        yield states[0][0], [model.snapshot() for _, model in states]


def _run_of(reader, weights, run):
    """Return one of the stacked runs as a snapshot."""
    model = copy.copy(reader)
    model.weights = {
        name: stack[run].detach().cpu().numpy().copy()
        for name, stack in weights.items()
    }
    return model


# ------------------------------------------------------------------------- skorch nets


def train_net(net, X, codes, times, seed, classes=None):
    """Train a clone of a skorch net and stop at checkpoints.

    Parameters
    ----------
    net : skorch NeuralNetClassifier or NeuralNetBinaryClassifier
        The classifier; not changed.
    X : ndarray of shape (n_samples, ...)
        Rows.
    codes : int ndarray of shape (n_samples,)
        Index of the labels.
    times : sequence of float or None
        Increasing epochs of the checkpoints, 0 for the start; None for one at the end
        of the net's own ``fit``, validation split and early stopping included.
    seed : int
        Of the weights, the batches and dropout.
    classes : ndarray of shape (n_classes,), default=None
        The labels.

    Yields
    ------
    time : float
        Epochs trained; NaN after ``fit``.
    model : TorchModel
        The net's module, which goes on training afterwards.
    net : skorch net
        The net that is trained.
    """
    net = clone(net).set_params(verbose=0)
    if times is not None:
        net.set_params(train_split=None)
        net.callbacks = _without_validation(net.callbacks)
    draws = Draws(seed, net.device or "cpu")
    with draws():
        net.initialize()
    model = torch_model(net, classes)
    X, y = _as_learnt(net, X, codes)
    if times is None:
        with draws():
            net.fit(X, y)
        yield np.nan, torch_model(net, classes), net
        return
    check_outputs(model, X, codes)
    for time in _net_steps(net, X, y, times, draws):
        yield time, model, net


def _without_validation(given):
    """Leave out the callbacks that wait for a validation split."""
    callbacks = import_module("skorch.callbacks")  # bare modules do without skorch
    waiting = (callbacks.EarlyStopping, callbacks.Checkpoint, callbacks.LoadInitState)
    if not isinstance(given, list | tuple):
        return given
    pairs = [entry if isinstance(entry, tuple) else ("", entry) for entry in given]
    kinds = [part if isinstance(part, type) else type(part) for _, part in pairs]
    both = zip(given, kinds, strict=True)
    return [entry for entry, kind in both if not issubclass(kind, waiting)]


def _as_learnt(net, X, codes):
    """Return rows and labels in the dtypes that module and criterion take."""
    like = next(p for p in net.module_.parameters() if p.is_floating_point())
    binary = isinstance(net.criterion_, nn.BCEWithLogitsLoss | nn.BCELoss)
    kind = np.dtype(str(like.dtype).removeprefix("torch."))
    X = X.toarray() if issparse(X) else np.asarray(X)
    if takes_ids(net.module_):
        X = X.astype(np.int64)
    elif X.dtype.kind == "f":
        X = X.astype(kind, copy=not X.flags.writeable)
    return X, codes.astype(kind if binary else np.int64)


def _net_steps(net, X, y, times, draws):
    """Train in the steps of skorch's own loop and yield at the times."""
    with draws():
        net.check_data(X, y)
        dataset = net.get_dataset(X, y)
        iterator = net.get_iterator(dataset, training=True)
        per_epoch = _n_batches(iterator, net, len(y))
        net.notify("on_train_begin", X=X, y=y)
    told = {"dataset_train": dataset, "dataset_valid": None}
    done, stream = 0, iter(())
    for time, n_steps in steps_between(times, per_epoch):
        with draws(), torch.enable_grad():
            while n_steps:
                if done % per_epoch == 0:
                    net.notify("on_epoch_begin", **told)
                    stream = iter(iterator)
                todo = min(n_steps, per_epoch - done % per_epoch)
                net.run_single_epoch(
                    islice(stream, todo), True, "train", net.train_step
                )
                done, n_steps = done + todo, n_steps - todo
                if done % per_epoch == 0:
                    net.notify("on_epoch_end", **told)
        yield time
    with draws():
        net.notify("on_train_end", X=X, y=y)


def _n_batches(iterator, net, n_rows):
    """Return the number of batches of an epoch; some iterators do not tell."""
    if hasattr(iterator, "__len__"):
        return len(iterator)
    return -(-n_rows // batch_size(net, n_rows))
