# SPDX-License-Identifier: BSD-3-Clause
r"""Norms of per-row parameter gradients, layer by layer, without the gradients.

A layer with weight W sees for row i the input :math:`a_t` and passes on, at position t
(a token, a pixel of the output), the gradient :math:`\delta_t` of the row's loss with
respect to its output. The gradient of the row's loss by W is then
:math:`\sum_t \delta_t a_t^T`, and its norm follows from the two without a tensor of the
size rows x W:

.. math::

    \Bigl\| \sum_t \delta_t a_t^T \Bigr\|_F^2
    = \sum_{t, s} (a_t \cdot a_s)(\delta_t \cdot \delta_s) .

Each function here takes a layer, its calls in the forward pass, a list of pairs
(input, gradient by output) whose first axis is the row, and the names of the parameters
asked for, and returns the squared norms as a tensor (n_rows,). A layer called twice, or
on a sequence, is one with more positions.

Everything is exact up to rounding. `ghost_of` says which layers are known.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional
from torch.nn.grad import conv1d_weight, conv2d_weight

__all__ = ["ghost_of", "outer_squares"]

# Elements of the largest temporary array: 16 MB of float32.
BLOCK = 2**22
_WEIGHT_GRADIENTS = {3: conv1d_weight, 4: conv2d_weight}


def _blocks(n_rows, per_row):
    """Yield slices of rows whose temporaries stay under BLOCK elements."""
    step = max(1, BLOCK // max(per_row, 1))
    for start in range(0, n_rows, step):
        yield slice(start, start + step)


def squared(x, dim):
    """Return sums of squares without a tensor of squares."""
    return torch.linalg.vector_norm(x, dim=dim).square()


def joined(parts, dim):
    """Concatenate, without a copy of a single part."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def by_gram(A, D):
    """Squares from T x T Gram matrices, for few positions."""
    # The sum of products of signs may round below zero where it should vanish.
    return ((A @ A.mT) * (D @ D.mT)).sum((1, 2)).clamp_min(0)


def by_product(A, D):
    """Squares from the p x q gradients, for many positions."""
    return squared(D.mT @ A, (1, 2))


def outer_squares(A, D):
    """Return the squared Frobenius norms of the sums of outer products.

    Parameters
    ----------
    A : tensor of shape (n, T, p)
        Inputs at the T positions.
    D : tensor of shape (n, T, q)
        Gradients at the T positions.

    Returns
    -------
    tensor of shape (n,)
        Squared norms of the (q, p) matrices ``D[i].T @ A[i]``.
    """
    (n, T, p), q = A.shape, D.shape[2]
    if T == 1:
        return squared(A, (1, 2)) * squared(D, (1, 2))
    squares, size = (by_gram, 2 * T * T) if p * q > T * T else (by_product, p * q)
    return joined([squares(A[rows], D[rows]) for rows in _blocks(n, size)], 0)


def _linear(layer, calls, names):
    A = joined([a.reshape(len(a), -1, a.shape[-1]) for a, _ in calls], 1)
    D = joined([d.reshape(len(d), -1, d.shape[-1]) for _, d in calls], 1)
    total = A.new_zeros(len(A))
    if "weight" in names:
        total = total + outer_squares(A, D)
    if "bias" in names:
        total = total + squared(D.sum(1), 1)
    return total


def _pads(layer):
    """Return the padding of a convolution as `torch.nn.functional.pad` takes it."""
    pads = []
    for axis, size in enumerate(layer.kernel_size):
        if layer.padding == "valid":
            pads.append((0, 0))
        elif layer.padding == "same":
            total = layer.dilation[axis] * (size - 1)
            pads.append((total // 2, total - total // 2))
        else:
            pads.append((layer.padding[axis],) * 2)
    return [pad for pair in reversed(pads) for pad in pair]


def _padded(layer, a):
    mode = {"zeros": "constant"}.get(layer.padding_mode, layer.padding_mode)
    return functional.pad(a, _pads(layer), mode=mode)


def _patches(layer, a):
    """Return what each output position of a convolution sees, (n, g, L, p)."""
    kernel, dilation, stride = layer.kernel_size, layer.dilation, layer.stride
    a = _padded(layer, a)
    if a.ndim == 3:  # one-dimensional: an image of height 1
        a = a.unsqueeze(2)
        kernel, dilation, stride = ((1, *s) for s in (kernel, dilation, stride))
    a = functional.unfold(a, kernel, dilation=dilation, stride=stride)
    return a.unflatten(1, (layer.groups, -1)).mT


def _patch_squares(layer, pairs):
    """Squares for few positions, from Gram matrices of patches and of gradients."""
    A = joined([_patches(layer, a) for a, _ in pairs], 2)
    D = joined([d.flatten(2) for _, d in pairs], 2)
    D = D.unflatten(1, (layer.groups, -1)).mT
    return by_gram(A.flatten(0, 1), D.flatten(0, 1)).view(len(D), -1).sum(1)


def _kernel_squares(layer, pairs):
    """Squares for many positions, from the gradients: the rows are groups of one."""
    options = {"stride": layer.stride, "dilation": layer.dilation}
    form, total = layer.weight.shape, 0
    for a, d in pairs:
        n, a = len(a), _padded(layer, a)
        total = total + _WEIGHT_GRADIENTS[a.ndim](
            a.reshape(1, -1, *a.shape[2:]),
            (n * form[0], *form[1:]),
            d.reshape(1, -1, *d.shape[2:]),
            groups=n * layer.groups,
            **options,
        )
    return squared(total.view(n, -1), 1)


def _convolution(layer, calls, names):
    n, D = len(calls[0][0]), [d.flatten(2) for _, d in calls]
    total = D[0].new_zeros(n)
    if "weight" in names:
        T, size = sum(d.shape[2] for d in D), layer.weight.numel()
        few = size / layer.groups > 4 * T * T  # measured: the factor is from 2 to 20
        squares = _patch_squares if few else _kernel_squares
        patches = T * layer.weight[0].numel() * layer.groups
        step = _blocks(n, patches if few else size)
        parts = [[(a[rows], d[rows]) for a, d in calls] for rows in step]
        total = total + joined([squares(layer, pairs) for pairs in parts], 0)
    if "bias" in names:
        total = total + squared(sum(d.sum(2) for d in D), 1)
    return total


def _embedding(layer, calls, names):
    ids = joined([a.reshape(len(a), -1) for a, _ in calls], 1)
    D = joined([d.reshape(len(d), -1, d.shape[-1]) for _, d in calls], 1)
    if layer.padding_idx is not None:
        D = D * (ids != layer.padding_idx).unsqueeze(2)
    # Positions of one token add up: give each token of a row a number, and sum.
    ids, order = ids.sort(1)
    D = torch.take_along_dim(D, order.unsqueeze(2), 1)
    number = functional.pad((ids[:, 1:] != ids[:, :-1]).long().cumsum(1), (1, 0))
    sums = torch.zeros_like(D).scatter_add_(1, number.unsqueeze(2).expand_as(D), D)
    return squared(sums, (1, 2))


def _scaled(standardise, layer, calls, names):
    """Layers that scale and shift a standardised input."""
    scale, shift = zip(*[standardise(layer, a, d) for a, d in calls], strict=True)
    total = scale[0].new_zeros(len(scale[0]))
    for name, parts in (("weight", scale), ("bias", shift)):
        if name in names:
            total = total + squared(sum(parts), 1)
    return total


def _over_features(normal, layer, a, d):
    """Sum over the positions; the parameters span the last axes."""
    size = layer.weight.numel()
    scale = (d * normal(layer, a)).reshape(len(a), -1, size).sum(1)
    return scale, d.reshape(len(a), -1, size).sum(1)


def _over_channels(normal, layer, a, d):
    """Sum over the positions; the parameters span the second axis."""
    channels = a.shape[1]
    scale = (d * normal(layer, a)).reshape(len(a), channels, -1).sum(2)
    return scale, d.reshape(len(a), channels, -1).sum(2)


def _layer_norm(layer, a):
    return functional.layer_norm(a, layer.normalized_shape, eps=layer.eps)


def _rms_norm(layer, a):
    return functional.rms_norm(a, layer.normalized_shape, eps=layer.eps)


def _group_norm(layer, a):
    return functional.group_norm(a, layer.num_groups, eps=layer.eps)


def _batch_norm(layer, a):
    return functional.batch_norm(
        a, layer.running_mean, layer.running_var, eps=layer.eps
    )


def _normalisation(axis, normal):
    return partial(_scaled, partial(axis, normal))


_GHOSTS = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Embedding: _embedding,
    nn.LayerNorm: _normalisation(_over_features, _layer_norm),
    nn.RMSNorm: _normalisation(_over_features, _rms_norm),
    nn.GroupNorm: _normalisation(_over_channels, _group_norm),
    nn.BatchNorm1d: _normalisation(_over_channels, _batch_norm),
    nn.BatchNorm2d: _normalisation(_over_channels, _batch_norm),
}


def ghost_of(layer):
    """Return the function of squared norms of a layer, or None where there is none."""
    if not set(dict(layer.named_parameters(recurse=False))) <= {"weight", "bias"}:
        return None  # a parametrisation, or parameters that a subclass added
    if isinstance(layer, nn.Embedding) and (
        layer.scale_grad_by_freq or layer.max_norm is not None
    ):
        return None  # the frequencies are those of the whole batch
    kinds = (kind for kind in type(layer).__mro__ if kind in _GHOSTS)
    return _GHOSTS.get(next(kinds, None))
