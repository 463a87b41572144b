# SPDX-License-Identifier: BSD-3-Clause
"""A net of skorch whose training step is an outer step of target surrogates."""

from skorch import NeuralNet
from skorch.dataset import unpack_data

from skpapers.optim._target_surrogate import TargetSurrogateOptimizer

__all__ = ["SurrogateNet"]


class SurrogateNet(NeuralNet):
    """Net of skorch that evaluates its criterion once for each batch.

    It takes the arguments of `skorch.NeuralNet`; the optimizer is
    `TargetSurrogateOptimizer`, whose arguments are passed as ``optimizer__n_inner=20``
    and so on. ``lr`` is the step in the space of predictions.
    """

    def __init__(
        self, module, criterion, optimizer=TargetSurrogateOptimizer, lr=1.0, **kwargs
    ):
        super().__init__(module, criterion, optimizer=optimizer, lr=lr, **kwargs)

    def train_step(self, batch, **fit_params):
        """Take one outer step on a batch."""
        self._set_training(True)
        Xi, yi = unpack_data(batch)
        seen = []

        def forward():
            prediction = self.infer(Xi, **fit_params)
            if not seen:
                seen.append(prediction.detach())
            return prediction

        def loss(prediction):
            return self.get_loss(prediction, yi, X=Xi, training=True)

        value = self.optimizer_.step(forward, loss)
        self.notify(
            "on_grad_computed",
            named_parameters=list(self.module_.named_parameters()),
            X=Xi,
            y=yi,
            batch=batch,
            training=True,
        )
        return {"loss": value, "y_pred": seen[0]}
