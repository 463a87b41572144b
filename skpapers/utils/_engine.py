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

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, PassthroughScoring
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from skpapers.utils._callbacks import reported

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
    "fresh_module",
    "is_stacked",
    "stop_early",
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
                name: nn.Parameter(value.detach().clone())
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
    return isinstance(module, Stack)


# --- training -----------------------------------------------------------------------
class StopTraining(KeyboardInterrupt):
    """Ends the loop of skorch, which takes it for the user's wish."""


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
        epochs = range(self.n_epochs)
        self.steps_ = iter(reported(self.estimator, epochs, "epoch"))
        next(self.steps_, None)
        self.done_ = 0

    def on_epoch_end(self, net, **kwargs):
        self.done_ += 1
        more = next(self.steps_, None)
        if more is None and self.done_ < self.n_epochs:
            raise StopTraining


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
    """

    @property
    def _default_callbacks(self):
        return [
            ("train_loss", PassthroughScoring(name="train_loss", on_train=True)),
            ("valid_loss", PassthroughScoring(name="valid_loss")),
        ]

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the sum over the members of their mean weighted losses."""
        target, weight = y_true
        losses = self.criterion_(y_pred, target)
        return (weight.mT * losses).mean(dim=1).sum()
