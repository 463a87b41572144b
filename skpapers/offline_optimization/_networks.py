# SPDX-License-Identifier: BSD-3-Clause
"""Networks of the surrogates, their losses and the engine that trains them."""

import math
from itertools import pairwise

import torch
from torch import nn

from skpapers.offline_optimization._sharp_net import SharpnessMixin
from skpapers.utils._engine import WeightedNet

__all__ = ["GaussianHead", "GaussianNLL", "SharpNet", "SquaredError", "make_body"]

ACTIVATIONS = {
    "leaky_relu": lambda: nn.LeakyReLU(0.3),
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "gelu": nn.GELU,
}


def make_body(n_inputs, hidden_layer_sizes, n_outputs, activation):
    """Return a fully connected network."""
    sizes = [n_inputs, *hidden_layer_sizes]
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], n_outputs))


class GaussianHead(nn.Module):
    """Answers mean and log standard deviation, the latter within trained limits.

    The raw value r becomes max - softplus(max - r), then min + softplus(that - min).
    """

    def __init__(self, body):
        super().__init__()
        self.body = body
        self.max_log_std = nn.Parameter(torch.tensor([math.log(0.2)]))
        self.min_log_std = nn.Parameter(torch.tensor([math.log(0.1)]))

    def forward(self, x):
        mean, raw = self.body(x).split(1, dim=-1)
        log_std = self.max_log_std - nn.functional.softplus(self.max_log_std - raw)
        log_std = self.min_log_std + nn.functional.softplus(log_std - self.min_log_std)
        return torch.cat([mean, log_std], dim=-1)


class GaussianNLL(nn.Module):
    """Negative log-likelihood of targets (m, 1) under outputs (B, m, 2): (B, m)."""

    def forward(self, outputs, target):
        mean, log_std = outputs[..., 0], outputs[..., 1]
        scaled = (target[:, 0] - mean) * torch.exp(-log_std)
        return 0.5 * scaled.square() + log_std + 0.5 * math.log(2 * math.pi)


class SquaredError(nn.Module):
    """Squared error of outputs (B, m, 1) for targets (m, 1): (B, m)."""

    def forward(self, outputs, target):
        return (outputs[..., 0] - target[:, 0]).square()


class SharpNet(SharpnessMixin, WeightedNet):
    """The engine of surrogates: weighted losses of members, and the sharpness term."""

    def mean_prediction(self, y_pred, y_true):
        """Return the weighted mean prediction of each member; spreads do not enter."""
        return self.member_means(y_pred[..., 0], y_true)
