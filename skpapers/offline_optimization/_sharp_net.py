# SPDX-License-Identifier: BSD-3-Clause
"""Nets of skorch that are trained under a bound or a penalty on their sharpness."""

import warnings

import torch
from skorch import NeuralNetRegressor
from skorch.dataset import unpack_data
from skorch.utils import to_tensor

from skpapers.offline_optimization._sharpness import (
    Replay,
    call_with,
    mean_prediction,
    of_members,
    sharpness_terms,
    trained,
)
from skpapers.utils._engine import is_stacked

__all__ = ["SharpnessMixin", "SharpnessRegularizedNet"]


CONSTANT = 1e-6  # norm of a gradient that is rounding


class SharpnessMixin:
    r"""What a net of skorch inherits first to be trained under a sharpness term.

    One step on a batch adds :math:`\lambda \rho \nabla_w \|\nabla_w h\|` to the
    gradient of the loss, h being the mean prediction on that batch
    (`skpapers.offline_optimization._sharpness`). With ``sharpness="constraint"`` the
    multiplier follows the bound, :math:`\lambda \leftarrow \max(0, \lambda +
    \eta (\rho \|\nabla h\| - \epsilon))`; with ``"penalty"`` it stays.

    The pass that computes the loss serves the gradient of h, too.
    """

    recorded: tuple[str, ...] = ("sharpness", "multiplier")
    moving: tuple[str, ...] = ("multiplier_", "n_steps_")

    def __init__(
        self,
        *args,
        sharpness="constraint",
        sharpness_radius=0.05,
        sharpness_limit=0.1,
        multiplier=1e-3,
        multiplier_lr=1e-3,
        difference_radius=0.05,
        hvp="difference",
        sharpness_every=1,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.sharpness = sharpness
        self.sharpness_radius = sharpness_radius
        self.sharpness_limit = sharpness_limit
        self.multiplier = multiplier
        self.multiplier_lr = multiplier_lr
        self.difference_radius = difference_radius
        self.hvp = hvp
        self.sharpness_every = sharpness_every

    def initialize(self):
        """Initialise the net; the multiplier begins at its start."""
        self._check_settings()
        self.multiplier_, self.n_steps_ = None, 0
        return super().initialize()

    def _check_settings(self):
        """Raise if a setting is none that there is."""
        for name, accepted in (
            ("sharpness", ("constraint", "penalty", None)),
            ("hvp", ("difference", "exact")),
        ):
            if getattr(self, name) not in accepted:
                raise ValueError(
                    f"{name} must be one of {accepted}, got {getattr(self, name)!r}."
                )
        for name in ("multiplier", "multiplier_lr", "sharpness_radius"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"{name} must not be negative, got {getattr(self, name)!r}."
                )
        if not self.sharpness_every >= 1:
            raise ValueError(
                f"sharpness_every must be at least 1, got {self.sharpness_every!r}."
            )
        if self.compile and self.sharpness is not None and self.hvp == "exact":
            raise ValueError(
                "hvp='exact' needs two derivatives, which a compiled module does not "
                "have; use hvp='difference' or compile=False."
            )

    def mean_prediction(self, y_pred, y_true):
        """Return h, the mean prediction; a net with other outputs overrides it."""
        return mean_prediction(y_pred, is_stacked(self.module_))

    def train_step_single(self, batch, **fit_params):
        """Compute the loss, its gradient and that of the sharpness term."""
        self.n_steps_ += 1
        if self.sharpness is None or (self.n_steps_ - 1) % self.sharpness_every:
            return super().train_step_single(batch, **fit_params)
        self._set_training(True)
        x, y = unpack_data(batch)
        replay = Replay(self.device)
        y_pred = self.infer(x, **fit_params)
        loss = self.get_loss(y_pred, y, X=x, training=True)
        norms, slopes = self._sharpness_terms(replay, x, y, y_pred, fit_params)
        loss.backward()
        self._add_slopes(norms, slopes)
        return {"loss": loss, "y_pred": y_pred}

    def _sharpness_terms(self, replay, x, y, y_pred, fit_params):
        """Return the norms on this batch, and their gradients."""
        module, inputs = self.module_, to_tensor(x, device=self.device)
        if fit_params:  # only inputs by name can be joined by others
            inputs = self._merge_x_and_fit_params(inputs, fit_params)
        weights = trained(module)

        def again(moved):
            outputs = replay(call_with, module, weights | moved, inputs)
            return self.mean_prediction(outputs, y)

        return sharpness_terms(
            self.mean_prediction(y_pred, y),
            again,
            weights,
            stacked=is_stacked(module),
            radius=self.difference_radius,
            hvp=self.hvp,
        )

    def _add_slopes(self, norms, slopes):
        """Add the term to the gradients and let the multiplier follow the bound."""
        stacked, weights = is_stacked(self.module_), trained(self.module_)
        if self.multiplier_ is None:
            self._warn_of_constants(norms)
            self.multiplier_ = self._first_multiplier(norms)
        elif self.sharpness == "penalty":  # which may have been set anew
            self.multiplier_ = torch.full_like(norms, self.multiplier)
        strength = self.multiplier_ * self.sharpness_radius * self.sharpness_every
        for name, slope in slopes.items():
            term = of_members(strength, slope, stacked) * slope
            p = weights[name]
            p.grad = term if p.grad is None else p.grad.add_(term)
        sharpness = self.sharpness_radius * norms
        self.history.record_batch("sharpness", sharpness.tolist())
        if self.sharpness == "constraint":
            moved = self.multiplier_ + self.multiplier_lr * (
                sharpness - self.sharpness_limit
            )
            is_finite = torch.isfinite(moved)  # else the step will not be taken
            moved = torch.where(is_finite, moved, self.multiplier_)
            self.multiplier_ = moved.clamp_min(0.0)
        self.history.record_batch("multiplier", self.multiplier_.tolist())

    def _first_multiplier(self, norms):
        """Return the start, or where a training that was stored had come to."""
        for epoch in reversed(self.history):
            for batch in reversed(epoch["batches"]):
                if "multiplier" in batch and self.sharpness == "constraint":
                    return torch.tensor(batch["multiplier"]).to(norms)
        return torch.full_like(norms, self.multiplier)

    def _warn_of_constants(self, norms):
        """Warn of a mean prediction that no weight changes."""
        if not (norms > CONSTANT).any():
            warnings.warn(
                "The mean prediction does not depend on the weights, so that the "
                "sharpness term does nothing: probabilities, for example, have the "
                "same mean whatever they are. Override mean_prediction of the net.",
                UserWarning,
                stacklevel=2,
            )


class SharpnessRegularizedNet(SharpnessMixin, NeuralNetRegressor):
    r"""A skorch regressor of any module, trained under a bound on its sharpness.

    Parameters
    ----------
    module : torch.nn.Module (class or instance)
        The network; its prediction is its output, the first of a tuple. h is the mean
        over all entries; override ``mean_prediction`` for another one.
    *args
        Further arguments of `skorch.NeuralNetRegressor`.
    sharpness : {"constraint", "penalty", None}, default="constraint"
        Whether the multiplier follows a bound, stays, or there is no term.
    sharpness_radius : float, default=0.05
        Radius :math:`\rho` of the ball of weights.
    sharpness_limit : float, default=0.1
        Bound :math:`\epsilon` on :math:`\rho \|\nabla h\|`, in units of the prediction.
    multiplier : float, default=1e-3
        Strength of the term, at the start or for good.
    multiplier_lr : float, default=1e-3
        Step of the multiplier, at every batch with the term.
    difference_radius : float, default=0.05
        Step of the forward difference.
    hvp : {"difference", "exact"}, default="difference"
        How the product with the Hessian is found.
    sharpness_every : int, default=1
        The term enters every so many batches, so many times as strong.
    **kwargs
        Further keyword arguments of `skorch.NeuralNetRegressor`.

    Attributes
    ----------
    multiplier_ : tensor of shape (1,)
        The multiplier.
    n_steps_ : int
        Batches seen.

    See Also
    --------
    SharpnessRegularizedRegressor : For tables, with units and seeds taken care of.
    sharpness_gradient : For training loops of one's own.

    Notes
    -----
    A net of another kind becomes one with the mixin of
    ``skpapers.offline_optimization``: ``class Net(SharpnessMixin,
    NeuralNetClassifier)``; the settings are its attributes. Probabilities have the same
    mean whatever the weights, so that a classifier has to say what h is: ``def
    mean_prediction(self, y_pred, y_true): return y_pred[:, 1].mean()``.

    The history records ``sharpness`` and ``multiplier`` of each batch. About twice the
    cost of a plain step; an optimizer that asks for several gradients in a step, such
    as LBFGS, moves the multiplier at each of them.

    References
    ----------
    M. C. Dao, P. L. Nguyen, T. N. Truong, T. N. Hoang, Incorporating surrogate gradient
    norm to improve offline optimization techniques, NeurIPS 2024, arXiv:2503.04242.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skpapers.offline_optimization import SharpnessRegularizedNet
    >>> _ = torch.manual_seed(0)
    >>> X = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> module = torch.nn.Sequential(
    ...     torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    >>> net = SharpnessRegularizedNet(
    ...     module, sharpness="penalty", multiplier=0.1, max_epochs=3, verbose=0)
    >>> net.fit(X, X[:, :1]).predict(X).shape
    (64, 1)
    """
