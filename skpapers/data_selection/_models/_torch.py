# SPDX-License-Identifier: BSD-3-Clause
r"""Torch modules and skorch nets as the scores see them.

With logits :math:`z = f_w(x)`, probabilities p and the one-hot label y, the gradient of
the cross-entropy by the weights w is the backward pass of the *cotangent* p - y. It is
formed in float64, scaled to norm 1 in every row (so that rows learnt well do not
underflow in float32), sent back once for all rows, and the norms are read off layer by
layer (``_ghost_norms``).

That the reading is right for a module is not assumed but seen: before the first use two
rows are computed in both ways, as norms and as gradients. A module with other
parameters, with weights shared between layers, or with the rows on another axis than
the first falls back to ``torch.func.vmap`` of ``grad``, and where a layer does not
allow that either (recurrent ones) to one backward pass a row.

All is done in evaluation mode; the module's own mode comes back afterwards. Rows travel
to the device of the module chunk by chunk, results come back as float64.
"""

from contextlib import contextmanager
from copy import copy
from functools import cached_property, partial
from itertools import chain

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.autograd.graph import get_gradient_edge
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from skpapers.data_selection._models._base import subtract_labels
from skpapers.data_selection._models._ghost_norms import ghost_of
from skpapers.utils._torch import to_tensor

__all__ = ["TorchModel", "logits_of", "torch_model"]

# Bytes of the per-row gradients that a chunk of the fallback may hold.
FALLBACK_BYTES = 2**23


def torch_model(estimator, classes=None):
    """Return a module or a fitted skorch net as a model.

    Parameters
    ----------
    estimator : torch.nn.Module or fitted skorch net
        The criterion of a net says what its module gives.
    classes : ndarray of shape (n_classes,), default=None
        Labels in the order of the outputs.

    Returns
    -------
    TorchModel
        The model, which follows the module as it is trained on.
    """
    if isinstance(estimator, nn.Module):
        return TorchModel(estimator, classes=classes)
    check_is_fitted(estimator)
    module = getattr(estimator.module_, "_orig_mod", estimator.module_)
    if classes is None:
        classes = getattr(estimator, "classes_", None)
    return TorchModel(module, classes=classes, output=_output_of(estimator))


def _output_of(net):
    """Return what the module of a skorch net gives, by the criterion."""
    criterion = getattr(net.criterion_, "_orig_mod", net.criterion_)
    if isinstance(criterion, nn.CrossEntropyLoss | nn.BCEWithLogitsLoss):
        return "logits"
    if isinstance(criterion, nn.NLLLoss | nn.BCELoss):
        return "probabilities"  # skorch takes their logarithm itself
    raise TypeError(
        "influence scores need a net trained with CrossEntropyLoss, NLLLoss, "
        f"BCEWithLogitsLoss or BCELoss, got the criterion {type(criterion).__name__}."
    )


def is_single(found, n_rows):
    """Tell whether a module gives one number a row, so that there are two classes."""
    found = found[0] if isinstance(found, tuple) else found
    return found.numel() == n_rows


def logits_of(found, n_rows, output="logits"):
    """Return the outputs of a module as logits of all classes.

    Parameters
    ----------
    found : tensor of shape (n_rows, K), (n_rows, 1) or (n_rows,), or tuple
        Output of the module; of a tuple the first counts.
    n_rows : int
        Rows that went in.
    output : {"logits", "probabilities"}, default="logits"
        What the outputs are.

    Returns
    -------
    tensor of shape (n_rows, K)
        Logits; those of two classes are (0, z) where the module gives one number z.
    """
    if isinstance(found, tuple):
        found = found[0]
    if is_single(found, n_rows):
        found = found.reshape(n_rows, 1)
    if found.ndim != 2 or len(found) != n_rows:
        raise ValueError(
            "a classifier gives (n, n_classes), or (n,) or (n, 1) for two classes; the "
            f"module gave {tuple(found.shape)} for {n_rows} rows."
        )
    if output == "probabilities":
        if found.shape[1] == 1:
            found = torch.cat([1 - found, found], 1)
        return found.clamp_min(torch.finfo(found.dtype).tiny).log()
    if found.shape[1] == 1:
        return torch.cat([torch.zeros_like(found), found], 1)
    return found


class TorchModel:
    """A classifier that is a torch module.

    Parameters
    ----------
    module : torch.nn.Module
        Takes a tensor of rows, gives a tensor (n, K), or (n,) or (n, 1) for two
        classes.
    classes : array-like of shape (K,), default=None
        Labels in the order of the outputs; None: ``module.classes_`` or 0, ..., K - 1.
    output : {"logits", "probabilities"}, default="logits"
        What the module gives. Log-probabilities count as logits.
    weights : dict of ndarray, default=None
        Parameters and buffers to use in place of the module's own, by name.
    """

    is_differentiable = True
    width = 64  # until `measure` has seen a row

    def __init__(self, module, *, classes=None, output="logits", weights=None):
        self.module, self.output, self.weights = module, output, weights
        self._classes = None if classes is None else np.asarray(classes)
        self._plans = {}  # shared with the snapshots

    @property
    def classes_(self):
        """Labels in the order of the probabilities."""
        if self._classes is None:
            self._classes = _classes_of(self.module)
        return self._classes

    def snapshot(self):
        """Return a copy with the weights as they are now, NumPy arrays on the CPU.

        The module itself is shared: it gives the architecture and the device.
        """
        weights = self.weights
        if weights is None:
            weights = {
                name: tensor.detach().cpu().numpy().copy()
                for name, tensor in _tensors(self.module).items()
            }
        frozen = copy(self)
        frozen.weights = weights
        return frozen

    def run(self, X):
        """Return what the module says about rows."""
        return TorchPass(self, self.rows(X))

    def rows(self, X):
        """Return rows as a tensor on the device and in the dtype of the module."""
        like = _first_float(self.module)
        if issparse(X):
            X = X.toarray()
        if not isinstance(X, torch.Tensor):
            X = np.asarray(X)
            if X.dtype.kind not in "fiub":
                raise TypeError(
                    f"a torch module needs numbers, got X of dtype {X.dtype}."
                )
            if not X.flags.writeable:
                X = X.copy()  # torch warns of memory that it could not write to
            X = torch.as_tensor(X)
        if takes_ids(self.module):
            return X.to(like.device, torch.long)
        return X.to(like.device, like.dtype if X.is_floating_point() else None)

    def tensors(self):
        """Return parameters and buffers by name, the trained ones differentiable."""
        own = _tensors(self.module)
        if self.weights is None:
            return own
        return {
            name: torch.tensor(
                self.weights[name],
                dtype=tensor.dtype,
                device=tensor.device,
                requires_grad=tensor.requires_grad,
            )
            for name, tensor in own.items()
        }

    def outputs(self, x, tensors):
        """Return what the module gives, with the given parameters and buffers."""
        return functional_call(self.module, tensors, (x,))

    def call(self, x, tensors):
        """Return the logits of rows, with the given parameters and buffers."""
        return logits_of(self.outputs(x, tensors), len(x), self.output)

    def measure(self, row):
        """Learn from one row how many numbers a pass holds for a row."""
        sizes = []

        def note(part, inputs, output):
            parts = output if isinstance(output, tuple) else (output,)
            sizes.extend(p.numel() for p in parts if isinstance(p, torch.Tensor))

        leaves = [m for m in self.module.modules() if not any(m.children())]
        handles = [leaf.register_forward_hook(note) for leaf in leaves]
        try:
            # without gradients transformers take a path past their layers
            with evaluating(self.module), torch.enable_grad():
                self.call(self.rows(row), self.tensors())
        finally:
            for handle in handles:
                handle.remove()
        self.width = 2 * sum(sizes)

    def wanted(self, layers=None):
        """Return the names of the parameters whose gradients count, a tuple."""
        trained = [n for n, p in self.module.named_parameters() if p.requires_grad]
        wanted = trained
        if layers is not None:
            chosen = [self._name(layer) for layer in layers]
            wanted = [n for n in trained if any(f"{n}.".startswith(c) for c in chosen)]
        if not wanted:
            where = "the module" if layers is None else f"layers={list(layers)}"
            raise ValueError(f"no parameter of {where} is trained.")
        return tuple(wanted)

    def _name(self, layer):
        """Return the name of a layer, given by name or position, with a dot behind."""
        own = {n.rpartition(".")[0]: None for n, _ in self.module.named_parameters()}
        names = list(own)
        if isinstance(layer, str):
            known = [n for n, _ in self.module.named_modules() if n]
            known += [n for n, _ in self.module.named_parameters()]
            if layer in known:
                return f"{layer}."
        elif -len(names) <= layer < len(names):
            return f"{names[layer]}." if names[layer] else ""
        raise ValueError(
            f"layers holds {layer!r}, which is neither a layer nor a parameter of "
            f"{type(self.module).__name__}; its layers with parameters are {names}."
        )

    def plan(self, x, wanted):
        """Return how the squared norms are found: "ghost", "vmap" or "row"."""
        if wanted not in self._plans:
            self._plans[wanted] = _find_plan(self, x, wanted)
        return self._plans[wanted]


class TorchPass:
    """What a module says about a chunk of rows, after one forward pass."""

    def __init__(self, model, x):
        self.model, self.x = model, x

    @cached_property
    def _forward(self):
        return _Forward(self.model, self.x)

    @cached_property
    def log_proba(self):
        """Logarithms of the probabilities, ndarray (n, K) of float64."""
        logits = self._forward.logits.detach().cpu().double()
        n_classes = len(self.model.classes_)
        if logits.shape[1] != n_classes:
            raise ValueError(
                f"the module tells {logits.shape[1]} classes apart, the labels are of "
                f"{n_classes}."
            )
        return torch.log_softmax(logits, 1).numpy()

    def errors(self, codes):
        """Return p - y, ndarray (n, K); the entry of the label is minus the others."""
        return subtract_labels(np.exp(self.log_proba), codes)

    def gradient_norms(self, codes, layers=None):
        """Return the norms of the parameter gradients of the rows' cross-entropies."""
        wanted = self.model.wanted(layers)
        errors = self.errors(codes)
        size = np.linalg.norm(errors, axis=1)
        directions = errors / np.where(size > 0, size, 1)[:, None]
        plan = self.model.plan(self.x, wanted)
        if plan == "ghost":
            squares = self._forward.squares(directions, wanted)
        else:
            squares = PER_ROW[plan](self.model, self.x, directions, wanted)
        return size * np.sqrt(squares)

    def input_gradients(self, codes, output="proba"):
        """Return gradients of the label's probability or logit by the input, (n, d).

        By the outputs of the embedding layers where the input is made of tokens.
        """
        if output == "logit":
            cotangent = np.eye(self.log_proba.shape[1])[codes]
            if self._forward.is_single:  # the logits of the classes are -z and z
                cotangent = 2 * cotangent - 1
        else:
            label = self.log_proba[np.arange(len(codes)), codes]
            cotangent = -np.exp(label)[:, None] * self.errors(codes)
        return self._forward.input_gradients(cotangent)


class _Forward:
    """One forward pass with its graph, in evaluation mode."""

    def __init__(self, model, x):
        self.x = x.detach().requires_grad_() if x.is_floating_point() else x
        self.tensors = model.tensors()
        self.calls = {}  # of the layers, by their names: layer, input, edge, shape
        layers = [
            (name, layer)
            for name, layer in model.module.named_modules()
            if ghost_of(layer) is not None
        ]
        with evaluating(model.module), torch.enable_grad():
            handles = [
                layer.register_forward_hook(partial(self._note, name), with_kwargs=True)
                for name, layer in layers
            ]
            try:
                found = model.outputs(self.x, self.tensors)
            finally:
                for handle in handles:
                    handle.remove()
            self.logits = logits_of(found, len(self.x), model.output)
        self.is_single = is_single(found, len(self.x))

    def _note(self, name, layer, inputs, options, output):
        """Keep the input of a call and the place of its output in the graph."""
        (x,) = inputs or options.values()
        if isinstance(layer, nn.Embedding) and not output.requires_grad:
            output.requires_grad_()  # frozen, yet what scores of tokens refer to
        if not output.requires_grad:
            return
        if layer._buffers:  # they may be those of a snapshot, in place for this call
            layer = copy(layer)
            layer._buffers = dict(layer._buffers)
        # The edge stays right when the output is changed in place afterwards.
        edge = get_gradient_edge(output)
        self.calls.setdefault(name, []).append((layer, x.detach(), edge, output.shape))

    def backward(self, cotangent, inputs):
        """Send a cotangent of the logits back to tensors or edges of the graph."""
        return torch.autograd.grad(
            self.logits,
            inputs,
            grad_outputs=to_tensor(cotangent, self.logits),
            retain_graph=True,
            allow_unused=True,
        )

    def squares(self, cotangent, wanted):
        """Return squared norms of the gradients, layer by layer, ndarray (n,)."""
        parameters = {}
        for name in wanted:
            layer, _, parameter = name.rpartition(".")
            if layer in self.calls:  # else its gradient is zero
                parameters.setdefault(layer, set()).add(parameter)
        edges = [edge for name in parameters for _, _, edge, _ in self.calls[name]]
        found = iter(self.backward(cotangent, edges))
        total = torch.zeros(len(self.x), dtype=torch.float64)
        for name, some in parameters.items():
            calls = [(x, next(found)) for _, x, _, _ in self.calls[name]]
            used = [(x, delta) for x, delta in calls if delta is not None]
            if used:
                layer = self.calls[name][0][0]
                total += ghost_of(layer)(layer, used, some).cpu().double()
        return total.numpy()

    def input_gradients(self, cotangent):
        """Return gradients by the rows, or by what embedding layers make of them."""
        sources = [self.x] if self.x.is_floating_point() else []
        for calls in self.calls.values():
            for layer, x, edge, _ in calls:
                # position embeddings see the same for every row, without that axis
                if isinstance(layer, nn.Embedding) and len(x) == len(self.x):
                    sources.append(edge)
        if not sources:
            raise TypeError(
                "input gradients need X of floats, or a module with an Embedding layer."
            )
        found = [g for g in self.backward(cotangent, sources) if g is not None]
        flat = torch.cat([g.reshape(len(self.x), -1) for g in found], 1)
        return flat.cpu().double().numpy()


# ----------------------------------------------------------- gradients of single rows


def _by_vmap(model, x, cotangent, wanted):
    """Squared norms through ``vmap(grad)``, in chunks of rows."""
    tensors = {name: tensor.detach() for name, tensor in model.tensors().items()}
    differentiated = {name: tensors.pop(name) for name in wanted}

    def loss(parameters, row, direction):
        logits = model.call(row[None], {**tensors, **parameters})
        return (logits[0] * direction).sum()

    per_row = vmap(grad(loss), in_dims=(None, 0, 0))
    size = sum(t.numel() * t.element_size() for t in differentiated.values())
    step = max(1, FALLBACK_BYTES // size)
    squares = []
    # Attention in this form alone has a rule under vmap.
    with evaluating(model.module), sdpa_kernel(SDPBackend.MATH):
        for start in range(0, len(x), step):
            rows = slice(start, start + step)
            direction = to_tensor(cotangent[rows], _first_float(model.module))
            gradients = per_row(differentiated, x[rows], direction)
            parts = [g.flatten(1).square().sum(1) for g in gradients.values()]
            squares.append(sum(parts).cpu().double())
    return torch.cat(squares).numpy()


def _by_rows(model, x, cotangent, wanted):
    """Squared norms through one backward pass a row."""
    tensors, squares = model.tensors(), np.zeros(len(x))
    sources = [tensors[name] for name in wanted]
    with evaluating(model.module), torch.enable_grad():
        for i in range(len(x)):
            logits = model.call(x[i : i + 1], tensors)
            direction = to_tensor(cotangent[i : i + 1], logits)
            found = torch.autograd.grad(
                logits, sources, grad_outputs=direction, allow_unused=True
            )
            squares[i] = sum(float(g.square().sum()) for g in found if g is not None)
    return squares


PER_ROW = {"vmap": _by_vmap, "row": _by_rows}


def _find_plan(model, x, wanted):
    """Choose the first way that gives two rows the right norms."""
    pair = x[:2] if len(x) > 1 else torch.cat([x, x])
    tensors = model.tensors()
    with evaluating(model.module), torch.no_grad():
        together, swapped = model.call(pair, tensors), model.call(pair[[0, 0]], tensors)
    tolerance = 0.05 if torch.finfo(together.dtype).bits < 32 else 1e-3
    if not torch.allclose(together[0], swapped[0], rtol=tolerance, atol=tolerance):
        raise ValueError(
            "the output of the module for a row depends on the other rows of the batch "
            "(as with BatchNorm that tracks no running statistics); a row then has no "
            "gradient of its own."
        )
    directions = np.random.default_rng(0).normal(size=together.shape)
    right = _by_rows(model, pair, directions, wanted)
    ways = {"ghost": _by_ghosts} | ({} if is_recurrent(model.module) else PER_ROW)
    for plan, method in ways.items():
        try:
            found = method(model, pair, directions, wanted)
        except (RuntimeError, ValueError, NotImplementedError, IndexError):
            continue  # vmap has no rule for some layer, or no ghost norm fits
        if np.allclose(found, right, rtol=tolerance, atol=0):
            return plan
    return "row"


def _by_ghosts(model, x, cotangent, wanted):
    """Squared norms layer by layer, if every parameter belongs to a known layer."""
    known = {n for n, m in model.module.named_modules() if ghost_of(m) is not None}
    unknown = [name for name in wanted if name.rpartition(".")[0] not in known]
    if unknown:
        raise NotImplementedError(f"no closed form for {unknown}.")
    forward = _Forward(model, x)
    for _, given, _, shape in chain.from_iterable(forward.calls.values()):
        if not len(given) == shape[0] == len(x):
            raise NotImplementedError("the first axis of a layer is not the rows.")
    return forward.squares(cotangent, wanted)


# ------------------------------------------------------------------------- the module


@contextmanager
def evaluating(module):
    """Put a module in evaluation mode, then each part back in the mode it had."""
    training = [part for part in module.modules() if part.training]
    cudnn = torch.backends.cudnn
    module.eval()
    try:
        # cuDNN has no backward pass for recurrent layers in evaluation mode.
        with cudnn.flags(enabled=cudnn.enabled and not is_recurrent(module)):
            yield
    finally:
        for part in training:
            part.training = True


def is_recurrent(module):
    """Tell whether a module has recurrent layers, which vmap does not know."""
    return any(isinstance(part, nn.RNNBase) for part in module.modules())


def takes_ids(module):
    """Tell whether rows enter through an embedding, so that they are tokens."""
    holders = (part for part in module.modules() if part._parameters)
    return isinstance(next(holders, None), nn.Embedding | nn.EmbeddingBag)


def _tensors(module):
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _first_float(module):
    """Return a floating parameter or buffer: its dtype and device are the module's."""
    for tensor in _tensors(module).values():
        if tensor.is_floating_point():
            return tensor
    raise TypeError(f"{type(module).__name__} has no floating-point parameter.")


def _classes_of(module):
    """Return the labels of a module that was not told them."""
    given = getattr(module, "classes_", None)
    if given is not None:
        return np.asarray(given)
    sizes = [getattr(part, "out_features", None) for part in module.modules()]
    sizes = [size for size in sizes if size is not None]
    if not sizes:
        raise ValueError(
            f"the number of classes of {type(module).__name__} is not known; give the "
            "module an attribute classes_, the labels in the order of its outputs."
        )
    return np.arange(max(sizes[-1], 2))
