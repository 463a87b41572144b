# SPDX-License-Identifier: BSD-3-Clause
"""Target surrogates as an optimizer of torch.

The public class is importable without torch; making an instance imports it and gives a
``torch.optim.Optimizer``. See `skpapers.solvers.minimize_target_surrogate` for the
method.
"""

from functools import cache

from skpapers.utils._torch import import_torch

__all__ = ["TargetSurrogateOptimizer"]


@cache
def _with_base(cls):
    """Return the subclass of ``cls`` that is an optimizer of torch."""
    from skpapers.optim._target_surrogate_torch import SurrogateSteps

    base = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls, SurrogateSteps), base)


def _make(cls):
    """Return an empty instance, for copies and pickles."""
    return cls.__new__(cls)


class TargetSurrogateOptimizer:
    r"""Optimizer that takes many steps for every evaluation of an expensive loss.

    One evaluation of the loss and its gradient g by the predictions z (per row, b times
    the gradient of the mean) builds the surrogate

    .. math:: q = \frac1b \sum_i \Bigl[ \langle g_i, f_i - z_i \rangle
              + \frac{1}{2 \eta} \|f_i - z_i\|^2 \Bigr] + \text{weight decay},

    on which the parameters take up to ``n_inner`` gradient steps with a line search;
    these need forward and backward passes of the model alone.

    Parameters
    ----------
    params : iterable
        Parameters, or dicts that define groups, as for every optimizer of torch.

    lr : float or "armijo", default=1.0
        Step eta in the space of predictions; schedulers of torch may change it. One
        over the smoothness of the loss in z is safe: 1 for half the squared error and
        for the cross-entropy (of means over the rows), 4 for the binary one. "armijo"
        searches it, which evaluates the loss some times more, without gradient.

    n_inner : int, default=10
        Largest number of inner steps.

    weight_decay : float, default=0.0
        Weight of half the squared parameters in the inner problem; groups may have
        their own.

    Attributes
    ----------
    n_oracle_calls : int
        Number of evaluations of the loss with gradient.

    n_value_calls : int
        Number of evaluations for the line search on eta.

    See Also
    --------
    skpapers.solvers.minimize_target_surrogate : The same without torch.

    Notes
    -----
    A step costs one evaluation of the loss and ``n_inner`` passes forward and backward,
    and a pass forward for each trial of the line search. The model must give the same
    predictions for the same parameters: no dropout, and batch normalisation in
    evaluation mode. With all rows and ``lr`` of at most one over the smoothness the
    loss never rises.

    ``step`` takes the two functions and no closure, as a closure cannot tell the
    predictions from the loss. ``skpapers.optim.SurrogateNet`` does so within skorch.

    References
    ----------
    .. [1] J. W. Lavington, S. Vaswani, R. Babanezhad, M. Schmidt and N. Le Roux,
       "Target-based surrogates for stochastic optimization", ICML 2023,
       arXiv:2302.02607.

    Examples
    --------
    >>> import torch
    >>> from skpapers.optim import TargetSurrogateOptimizer
    >>> X = torch.linspace(-1, 1, 50)[:, None]
    >>> y = X**2
    >>> with torch.random.fork_rng():
    ...     _ = torch.manual_seed(0)
    ...     model = torch.nn.Sequential(
    ...         torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
    ...     )
    >>> optimizer = TargetSurrogateOptimizer(model.parameters(), n_inner=20)
    >>> losses = [
    ...     float(optimizer.step(lambda: model(X), lambda z: ((z - y) ** 2).mean() / 2))
    ...     for _ in range(20)
    ... ]
    >>> losses[-1] < losses[0] / 10
    True
    >>> optimizer.n_oracle_calls
    20
    """

    def __new__(cls, params=None, lr=1.0, *, n_inner=10, weight_decay=0.0):
        torch = import_torch("TargetSurrogateOptimizer")
        if not issubclass(cls, torch.optim.Optimizer):
            cls = _with_base(cls)
        return object.__new__(cls)

    def __init__(self, params, lr=1.0, *, n_inner=10, weight_decay=0.0):
        self._set_up(params, lr, n_inner, weight_decay)

    def __reduce__(self):
        public = type(self).__bases__[0]  # the class with torch's base has no name
        return _make, (public,), self.__getstate__()

    def step(self, forward, loss=None):
        """Take one outer step.

        Parameters
        ----------
        forward : callable
            ``forward()`` returns the predictions z of the batch, a tensor with one row
            per sample that depends on the parameters.
        loss : callable
            ``loss(z)`` returns the loss of predictions, a scalar tensor: a mean over
            the rows.

        Returns
        -------
        tensor
            The loss before the step, detached.

        Raises
        ------
        TypeError
            If it is called with a closure, or without arguments.
        ValueError
            If the loss is not a finite scalar or its gradient is not finite.
        """
        if loss is None or not callable(forward) or not callable(loss):
            raise TypeError(
                "TargetSurrogateOptimizer.step needs two functions, step(forward, "
                "loss): forward() returns the predictions of the batch and loss(z) the "
                "loss of predictions. A closure cannot tell them apart."
            )
        return self._take_step(forward, loss)
