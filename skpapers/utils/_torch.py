# SPDX-License-Identifier: BSD-3-Clause
"""What the parts that use torch share: seeds, networks, weights in and out.

torch is imported when a function runs, never with this module, so that everything that
does without networks also does without torch. Weights travel as NumPy arrays: a fitted
state that holds nothing else is small, knows no device and persists through skops.
"""

from contextlib import contextmanager
from itertools import pairwise

import numpy as np

from skpapers.utils._optional import import_optional

__all__ = [
    "flat_weights",
    "import_torch",
    "load_flat",
    "load_weights",
    "make_mlp",
    "seeded",
    "to_tensor",
    "trained",
    "uncompiled",
    "weights_to_numpy",
]


def import_torch(needed_by):
    """Return torch, or say which extra brings it."""
    return import_optional("torch", extra="torch", needed_by=needed_by)


@contextmanager
def seeded(seed, device="cpu"):
    """Draw from torch's generators as if seeded, and leave them as they were."""
    torch = import_torch("seeded")
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # torch.manual_seed would also seed every other device, for good
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def make_mlp(n_inputs, hidden_layer_sizes, n_outputs, *, dtype=np.float64, seed=0):
    """Return a network of linear layers with ReLU between them.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Columns in and out.
    hidden_layer_sizes : sequence of int
        Units of the hidden layers.
    dtype : numpy dtype
        float64 or float32.
    seed : int
        Seed of the initial weights.

    Returns
    -------
    torch.nn.Sequential
        The network, on the CPU.
    """
    torch = import_torch("hidden_layer_sizes")
    sizes = [n_inputs, *hidden_layer_sizes, n_outputs]
    kind = torch.float64 if np.dtype(dtype) == np.float64 else torch.float32
    layers = []
    with seeded(seed):
        for fan_in, fan_out in pairwise(sizes):
            layers += [torch.nn.Linear(fan_in, fan_out, dtype=kind), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def to_tensor(values, like):
    """Return an array or tensor with the dtype and on the device of a tensor."""
    torch = import_torch("to_tensor")
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()  # torch warns of memory that it could not write to
    return torch.as_tensor(values).to(dtype=like.dtype, device=like.device)


def trained(module):
    """Return the parameters of a module that are trained, in their order."""
    return [p for p in module.parameters() if p.requires_grad]


def flat_weights(module):
    """Return the trained parameters of a module as one NumPy vector (a copy)."""
    return np.concatenate([p.detach().cpu().numpy().ravel() for p in trained(module)])


def load_flat(parameters, vector):
    """Write a vector as of `flat_weights` into parameters, a list of tensors."""
    torch = import_torch("load_flat")
    first = parameters[0]
    values = torch.from_numpy(vector).to(dtype=first.dtype, device=first.device)
    with torch.no_grad():
        parts = values.split([p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))


def uncompiled(module):
    """Return the module that torch has compiled, or the module."""
    return getattr(module, "_orig_mod", module)


def weights_to_numpy(module):
    """Return parameters and buffers of a module as a dict of NumPy arrays."""
    state = uncompiled(module).state_dict()
    return {name: value.detach().cpu().numpy().copy() for name, value in state.items()}


def load_weights(module, weights):
    """Load what `weights_to_numpy` returned and give the module back."""
    torch = import_torch("load_weights")
    state = {k: torch.tensor(v) for k, v in weights.items()}
    uncompiled(module).load_state_dict(state)
    return module
