# SPDX-License-Identifier: BSD-3-Clause
"""The engine of conservative surrogates."""

import math

import torch

from skpapers.offline_optimization._networks import SharpNet

__all__ = ["ConservativeNet"]


class ConservativeNet(SharpNet):
    r"""A net that is made pessimistic where a search from its rows would end.

    To the loss of a batch comes :math:`\alpha (\bar\mu(x^-) - \bar\mu(x))`, where
    :math:`x^-` are its rows after some steps of gradient ascent on the prediction
    :math:`\mu`. Adam moves :math:`\log \alpha` along :math:`\alpha (\tau - o)`, o being
    the overestimation in parentheses, so that o comes to :math:`\tau`.
    """

    recorded = (*SharpNet.recorded, "alpha", "overestimation")
    moving = (*SharpNet.moving, "alpha_")

    def __init__(
        self,
        *args,
        alpha=0.1,
        alpha_lr=0.01,
        overestimation_limit=0.5,
        n_ascent_steps=50,
        ascent_step_size=0.05,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.alpha = alpha
        self.alpha_lr = alpha_lr
        self.overestimation_limit = overestimation_limit
        self.n_ascent_steps = n_ascent_steps
        self.ascent_step_size = ascent_step_size

    def initialize(self):
        """Initialise the net; alpha begins at its start."""
        self.begin_alpha(self.alpha)
        return super().initialize()

    def begin_alpha(self, alpha):
        """Let alpha go on from a value."""
        start = math.log(alpha) if alpha > 0 else -math.inf
        log_alpha = torch.tensor(start, dtype=torch.float64)
        # a tuple: skorch would take an optimizer for one of its own
        self.alpha_ = log_alpha, torch.optim.Adam([log_alpha], lr=self.alpha_lr)

    def ascended(self, x):
        """Return rows (m, d) after steps of ascent on their predictions."""
        step = self.ascent_step_size * math.sqrt(x.shape[1])
        for _ in range(self.n_ascent_steps):
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.module_(x)[..., 0].sum(), x)
            x = x + step * slope
        return x.detach()

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the squared error, in training with the conservative term."""
        loss = super().get_loss(y_pred, y_true, X=X, training=training)
        if not training or self.alpha == 0:
            return loss
        searched = self.module_(self.ascended(X))
        raised = self.mean_prediction(searched, y_true)
        overestimation = (raised - self.mean_prediction(y_pred, y_true)).sum()
        alpha = self.alpha_[0].exp().item()
        self._move_alpha(alpha, overestimation.item())
        return loss + alpha * overestimation

    def _move_alpha(self, alpha, overestimation):
        """Take a step towards the allowed overestimation."""
        log_alpha, optimizer = self.alpha_
        slope = alpha * (self.overestimation_limit - overestimation)
        if math.isfinite(slope):  # else the guard of the gradients ends the training
            log_alpha.grad = torch.tensor(slope, dtype=torch.float64)
            optimizer.step()
        self.history.record_batch("overestimation", [overestimation])
        self.history.record_batch("alpha", [log_alpha.exp().item()])
