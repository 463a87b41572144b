# SPDX-License-Identifier: BSD-3-Clause
r"""How much the mean prediction of a network changes with its weights.

g(x; w) is the network, :math:`h(w) = \frac{1}{m} \sum_i g(x_i; w)` its mean prediction
on m rows (no target enters). To first order the most that h rises in a ball of radius
:math:`\rho` around w is the *sharpness* :math:`\rho \|\nabla_w h\|`. Its gradient needs
the Hessian H of h along :math:`u = \nabla h / \|\nabla h\|` alone,

.. math:: \nabla_w \|\nabla h\| = H u \approx (\nabla h(w + r u) - \nabla h(w)) / r.

Networks may be stacked (`skpapers.utils._engine.Stack`): the norm is then taken of each
member alone.

References
----------
M. C. Dao, P. L. Nguyen, T. N. Truong, T. N. Hoang, Incorporating surrogate gradient
norm to improve offline optimization techniques, NeurIPS 2024, arXiv:2503.04242.
"""

import torch
from torch.func import functional_call

from skpapers.utils._engine import is_stacked

__all__ = ["mean_gradient", "sharpness_gradient", "sharpness_terms"]

FLAT = 1e-12  # norm below which there is no direction
SMALLEST_RADIUS = {torch.float32: 1e-4, torch.float64: 1e-8}  # of a difference


def trained(module):
    """Return the parameters that are trained, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def member_norms(gradients, stacked):
    """Return the norm over all tensors together, of each member: (B,)."""
    present = [g for g in gradients if g is not None]
    squares = [g.square().flatten(1 if stacked else 0).sum(-1) for g in present]
    return torch.stack(squares).sum(dim=0).reshape(-1).clamp_min(FLAT**2).sqrt()


def of_members(values, tensor, stacked):
    """Return values (B,) in the shape in which they multiply a tensor."""
    return values.view(-1, *[1] * (tensor.ndim - 1)) if stacked else values[0]


def sharpness_terms(h, again, weights, *, stacked, radius, hvp):
    """Return the norms of the gradients of h, and the gradient of each norm.

    Parameters
    ----------
    h : tensor
        Mean prediction, (B,) or of no axis, with its graph, which is kept.
    again : callable
        Takes weights as of ``weights`` and returns h for them.
    weights : dict of str to tensor
        Parameters that h was computed with.
    stacked : bool
        Whether they begin with an axis of members.
    radius : float
        Step r of the difference.
    hvp : {"difference", "exact"}
        How the product of the Hessian with u is found.

    Returns
    -------
    norms : tensor of shape (B,)
        Of the gradients.
    slopes : dict of str to tensor
        Gradient of each norm, zero where there is no direction; parameters that h does
        not depend on are absent.
    """
    exact = hvp == "exact"
    a = torch.autograd.grad(
        h.sum(),
        list(weights.values()),
        retain_graph=True,
        create_graph=exact,
        allow_unused=True,
    )
    a = {n: g for n, g in zip(weights, a, strict=True) if g is not None}
    norms = member_norms(a.values(), stacked)
    used = [weights[name] for name in a]
    if exact:
        found = [torch.zeros_like(p) for p in used]
        if norms.requires_grad:  # else h is linear in the weights
            found = torch.autograd.grad(
                norms.sum(), used, retain_graph=True, materialize_grads=True
            )
        slopes = dict(zip(a, found, strict=True))
        norms = norms.detach()
    else:
        r = max(radius, SMALLEST_RADIUS.get(h.dtype, radius))
        moved = {
            n: (weights[n].detach() + of_members(r / norms, g, stacked) * g)
            for n, g in a.items()
        }
        for value in moved.values():
            value.requires_grad_()
        b = torch.autograd.grad(
            again(moved).sum(), list(moved.values()), materialize_grads=True
        )
        slopes = {n: (b_n - a[n]) / r for n, b_n in zip(a, b, strict=True)}
    steep = (norms > FLAT).to(norms.dtype)
    if not steep.all():
        slopes = {n: of_members(steep, s, stacked) * s for n, s in slopes.items()}
    return norms, slopes


class Replay:
    """Draw what was drawn before: dropout in two passes drops the same units."""

    def __init__(self, device):
        device = torch.device(device or "cpu")  # skorch: None leaves it as it is
        self.devices = [device] if device.type == "cuda" else []
        self.state = torch.get_rng_state()
        self.states = [torch.cuda.get_rng_state(d) for d in self.devices]

    def __call__(self, function, *arguments):
        with torch.random.fork_rng(devices=self.devices):
            torch.set_rng_state(self.state)
            for device, state in zip(self.devices, self.states, strict=True):
                torch.cuda.set_rng_state(state, device)
            return function(*arguments)


def call_with(module, weights, inputs):
    """Return a module's answer for other weights; its own and its buffers stay."""
    buffers = {name: b.clone() for name, b in module.named_buffers()}
    if isinstance(inputs, dict):
        return functional_call(module, buffers | weights, (), inputs)
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return functional_call(module, buffers | weights, inputs)


def first(outputs):
    """Return the prediction among what a module answers: the first of several."""
    return outputs[0] if isinstance(outputs, tuple | list) else outputs


def mean_prediction(outputs, stacked):
    """Return the mean of a module's answer, of each member if stacked."""
    predicted = first(outputs)
    return predicted.flatten(1).mean(dim=1) if stacked else predicted.mean()


def sharpness_gradient(module, X, radius=0.05, hvp="difference", *, prediction=None):
    r"""Return the norm of a network's output gradient, and the gradient of that norm.

    For the mean prediction h of a module on the rows of X: :math:`\|\nabla_w h\|` and
    :math:`\nabla_w \|\nabla_w h\|`. Neither targets nor a loss enter. Add
    ``multiplier * rho * gradient`` to the gradients of a loss to train any network
    under a penalty on its sharpness.

    Parameters
    ----------
    module : torch.nn.Module
        Any network; its weights and gradients are not changed.
    X : tensor of shape (n_samples, ...), tuple or dict of tensors
        What the module is called with, on its device.
    radius : float, default=0.05
        Step of the forward difference along the unit gradient; at least 1e-4 is taken
        in float32.
    hvp : {"difference", "exact"}, default="difference"
        Forward difference of gradients, or a second backward pass.
    prediction : callable, default=None
        Takes the module's answer and returns the tensor whose mean is h, for example
        ``lambda out: out[:, 0]``. None takes all of the answer, of a tuple the first.

    Returns
    -------
    norm : tensor of no axis
        Norm of the gradient over all parameters together.
    gradient : dict of str to tensor
        Gradient of the norm by parameter name; parameters on which h does not depend
        are absent. All zero where the norm is.

    Raises
    ------
    ValueError
        If ``hvp`` is not one of the two, ``radius`` is not positive, or if h depends on
        no parameter that is trained.

    See Also
    --------
    SharpnessRegularizedNet : Trains under the penalty in skorch.
    SharpnessRegularizedRegressor : The regressor built on it.

    Notes
    -----
    Two forward and two backward passes, and memory for two gradients.

    References
    ----------
    M. C. Dao, P. L. Nguyen, T. N. Truong, T. N. Hoang, Incorporating surrogate gradient
    norm to improve offline optimization techniques, NeurIPS 2024, arXiv:2503.04242.

    Examples
    --------
    >>> import torch
    >>> from skpapers.offline_optimization import sharpness_gradient
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(
    ...     torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    >>> norm, gradient = sharpness_gradient(net, torch.randn(5, 2))
    >>> sorted(gradient)
    ['0.bias', '0.weight', '2.bias', '2.weight']
    >>> bool(norm > 1)  # the bias of the output alone gives 1
    True
    """
    if hvp not in ("difference", "exact"):
        raise ValueError(f"hvp must be 'difference' or 'exact', got {hvp!r}.")
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius!r}.")
    stacked, weights = is_stacked(module), trained(module)
    own = prediction or first

    def h_of(values):
        return mean_prediction(own(call_with(module, values, X)), stacked)

    replay = Replay(next(iter(weights.values())).device if weights else "cpu")
    with torch.enable_grad():
        h = replay(h_of, weights)
        if not h.requires_grad:
            raise ValueError("The prediction depends on no parameter that is trained.")
        norms, slopes = sharpness_terms(
            h,
            lambda moved: replay(h_of, weights | moved),
            weights,
            stacked=stacked,
            radius=radius,
            hvp=hvp,
        )
    return norms if stacked else norms[0], slopes


def mean_gradient(module, chunks, predicted):
    """Return the norms of the gradient of a mean over rows that come in chunks.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    chunks : iterable of (tensor, tensor)
        Inputs, and their shares of the mean, which make 1 in all.
    predicted : callable
        Takes the answer and returns predictions (B, m) or (m,).

    Returns
    -------
    tensor of shape (B,)
        The norms.
    """
    weights, total = trained(module), {}
    for inputs, shares in chunks:
        with torch.enable_grad():
            summed = (predicted(module(inputs)) * shares).sum()
        found = torch.autograd.grad(summed, list(weights.values()), allow_unused=True)
        for name, g in zip(weights, found, strict=True):
            if g is not None:
                total[name] = total.get(name, 0) + g
    return member_norms(total.values(), is_stacked(module))
