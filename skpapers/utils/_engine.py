# SPDX-License-Identifier: BSD-3-Clause
"""The engine of deep estimators: a net of skorch that trains one or many networks.

A network of a deep estimator answers rows (m, d) with outputs (B, m, o): those of B
members. A single module is a stack of one; `Stack` computes many of one form at once,
with their weights side by side in tensors that begin with the axis of the members.
Since the loss of the stack is the sum over the members, and the optimizers of torch
work entry by entry, each member is trained as if it were alone.

This module imports torch and skorch; everything else reaches it through functions that
run when a network is fitted.
"""

import copy
from contextlib import contextmanager, nullcontext

import torch
import torch._functorch.config
from skorch import NeuralNet
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochTimer,
    PassthroughScoring,
    PrintLog,
)
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from skpapers.utils._callbacks import Steps
from skpapers.utils._torch import uncompiled

__all__ = [
    "FiniteGradients",
    "HeldOut",
    "Progress",
    "Single",
    "Stack",
    "StopTraining",
    "Table",
    "TableBatches",
    "WeightedNet",
    "check_answer",
    "fresh_module",
    "is_stacked",
    "stop_early",
    "training",
    "undone_on_failure",
]

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)  # one pass over memory


# --- rows ---------------------------------------------------------------------------
class Table(torch.utils.data.Dataset):
    """Rows that stay on the device: X and tensors that belong to its rows."""

    def __init__(self, X, *rest):
        self.X, self.rest = X, rest

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        return self.X[rows], tuple(part[rows] for part in self.rest)

    def subset(self, rows):
        """Return a table of some rows."""
        X, rest = self[rows]
        return Table(X, *rest)


class TableBatches:
    """Slices of resident tensors; many times faster than a loader on small networks.

    Parameters
    ----------
    dataset : Table
        The rows.
    batch_size : int
        Rows of a batch; -1 for all.
    seed : int, default=None
        Of the shuffling; None keeps the order.
    """

    def __init__(self, dataset, batch_size, seed=None):
        self.dataset = dataset
        self.batch_size = len(dataset) if batch_size == -1 else batch_size
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self):
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self):
        table, n_rows = self.dataset, len(self.dataset)
        if self.generator is not None and self.batch_size < n_rows:
            order = torch.randperm(n_rows, generator=self.generator)
            table = table.subset(order.to(table.X.device))
        for start in range(0, n_rows, self.batch_size):
            yield table[start : start + self.batch_size]


class HeldOut:
    """Split a table into rows to train on and a share to watch."""

    def __init__(self, share, seed):
        self.share, self.seed = share, seed

    def __call__(self, table, y=None):
        order = torch.randperm(
            len(table), generator=torch.Generator().manual_seed(self.seed)
        ).to(table.X.device)
        n_watched = min(max(round(self.share * len(table)), 1), len(table) - 1)
        return table.subset(order[n_watched:]), table.subset(order[:n_watched])


# --- members ------------------------------------------------------------------------
def check_answer(module, n_inputs, n_outputs):
    """Raise if a module does not answer rows (m, n_inputs) with (m, n_outputs)."""
    like = next((p for p in module.parameters()), torch.zeros(0))
    was_training, asked = module.training, torch.zeros(2, n_inputs).to(like)
    with torch.no_grad():
        answer = module.eval()(asked)
    module.train(was_training)
    shape = tuple(getattr(answer, "shape", ())) or type(answer).__name__
    if shape != (2, n_outputs):
        raise ValueError(
            f"module answers 2 rows of {n_inputs} columns with {shape}; needed is "
            f"{(2, n_outputs)}. How many outputs there must be depends on the loss."
        )


def fresh_module(module):
    """Return a copy of a module whose layers were initialised anew."""
    module = copy.deepcopy(module)
    for part in module.modules():
        for name in ("reset_parameters", "_reset_parameters"):  # of attention
            getattr(part, name, int)()
    return module


class Single(nn.Module):
    """One network, as a stack of one."""

    def __init__(self, member):
        super().__init__()
        self.member = member

    def forward(self, x):
        return self.member(x)[None]


class Stack(nn.Module):
    """Networks of one form that are computed at once.

    Parameters
    ----------
    members : list of torch.nn.Module
        Networks of the same layers, without state beside their parameters.
    """

    def __init__(self, members):
        super().__init__()
        if any(True for _ in members[0].buffers()):
            raise ValueError(
                "The module keeps state beside its parameters (such as the running "
                "statistics of batch normalisation), so that copies of it cannot be "
                "trained side by side; use n_estimators=1, or BaggingRegressor around "
                "that."
            )
        weights, _ = stack_module_state(members)
        self.names = [name.replace(".", "/") for name in weights]  # dots are taken
        self.weights = nn.ParameterDict(
            {
                name: nn.Parameter(value.detach().clone(), value.requires_grad)
                for name, value in zip(self.names, weights.values(), strict=True)
            }
        )
        self.form = [copy.deepcopy(members[0]).to("meta")]  # in a list: no parameters

    def forward(self, x):
        weights = {name.replace("/", "."): self.weights[name] for name in self.names}
        form = self.form[0].train(self.training)

        def member(weights, x):
            return functional_call(form, weights, (x,))

        return vmap(member, in_dims=(0, None), randomness="different")(weights, x)


def is_stacked(module):
    """Tell whether the weights of a module begin with an axis of members."""
    return isinstance(uncompiled(module), Stack)


# --- training -----------------------------------------------------------------------
class StopTraining(KeyboardInterrupt):
    """Ends the loop of skorch, which takes it for the user's wish."""


@contextmanager
def undone_on_failure(net):
    """Bring a net back to where it is now if what is done with it fails."""
    module, optimizer = net.module_, net.optimizer_
    weights, moments = copy.deepcopy((module.state_dict(), optimizer.state_dict()))
    moving = copy.deepcopy({name: getattr(net, name) for name in net.moving})
    n_epochs = len(net.history)
    try:
        yield
    except BaseException:
        module.load_state_dict(weights)
        optimizer.load_state_dict(moments)
        for name, value in moving.items():
            setattr(net, name, value)
        del net.history[n_epochs:]
        raise


@contextmanager
def training(is_compiled):
    """Allow gradients, whatever the caller has set, and two passes backward."""
    kept = nullcontext()
    if is_compiled:  # what it keeps for the one pass would be gone in the other
        kept = torch._functorch.config.patch(donated_buffer=False)
    with torch.enable_grad(), kept:
        yield


class FiniteGradients(Callback):
    """End the training before a step that is not finite.

    Attributes
    ----------
    failed_ : bool
        Whether that happened; the weights are the last finite ones.
    """

    def on_train_begin(self, net, **kwargs):
        self.failed_ = False

    def on_grad_computed(self, net, named_parameters, **kwargs):
        gradients = [p.grad for _, p in named_parameters if p.grad is not None]
        if gradients and not torch.isfinite(nn.utils.get_total_norm(gradients)):
            self.failed_ = True
            net._zero_grad_optimizer()
            raise StopTraining


class Progress(Callback):
    """Tell the callbacks of scikit-learn of each epoch."""

    def __init__(self, estimator, n_epochs):
        self.estimator, self.n_epochs = estimator, n_epochs

    def on_train_begin(self, net, **kwargs):
        self.steps_ = Steps(self.estimator, self.n_epochs, "epoch")

    def on_epoch_begin(self, net, **kwargs):
        self.steps_.begin()

    def on_epoch_end(self, net, **kwargs):
        if self.steps_.end():
            raise StopTraining

    def on_train_end(self, net, **kwargs):
        self.steps_.close()


def stop_early(patience, tol):
    """Return the callback that ends a training whose validation loss has settled.

    The weights are those of the best epoch.
    """
    return EarlyStopping(
        monitor="valid_loss",
        patience=patience,
        threshold=tol,
        threshold_mode="abs",
        load_best=True,
        sink=_quiet,
    )


def _quiet(_):
    """Print nothing."""


class WeightedNet(NeuralNet):
    """A net of skorch for tables, weights of the rows and members of a stack.

    The dataset is a `Table` of X (n, d), target (n, o) and weights (n, B) with mean 1,
    the B members in columns. The criterion answers outputs (B, m, o) and targets (m, o)
    with losses (B, m). What is minimised is the sum of the members' weighted means.

    Attributes
    ----------
    was_interrupted_ : bool
        Whether the user has ended the training; a callback that does is no user.
    """

    moving: tuple[str, ...] = ()  # attributes that training changes beside the weights

    @property
    def _default_callbacks(self):
        losses = [
            ("train_loss", PassthroughScoring(name="train_loss", on_train=True)),
            ("valid_loss", PassthroughScoring(name="valid_loss")),
        ]
        shown = [("dur", EpochTimer()), *losses, ("print_log", PrintLog())]
        return shown if self.verbose else losses

    def notify(self, method_name, **kwargs):
        """Call the callbacks; one that interrupts ends the training."""
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt as wish:
            raise StopTraining from wish

    def fit_loop(self, *args, **kwargs):
        """Run the epochs, and remember if the user ends them."""
        self.was_interrupted_ = False
        try:
            return super().fit_loop(*args, **kwargs)
        except KeyboardInterrupt as wish:
            self.was_interrupted_ = not isinstance(wish, StopTraining)
            raise

    def member_means(self, values, y_true):
        """Return the weighted mean over the rows of values (B, m) of each member."""
        _, weight = y_true
        return (weight.mT * values).mean(dim=1)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the sum over the members of their mean weighted losses."""
        target, _ = y_true
        return self.member_means(self.criterion_(y_pred, target), y_true).sum()
