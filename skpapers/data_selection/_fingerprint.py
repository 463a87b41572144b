# SPDX-License-Identifier: BSD-3-Clause
"""What tells unfitted classifiers and scorers apart.

`joblib.hash` does, but not for modules of torch: their tensors are pickled with their
addresses, so that a copy of a module looks like another one.
"""

import pickle

import joblib

# what each module has, or what its state already tells
OF_ANY_MODULE = {"training", "classes_"}


def fingerprint(value):
    """Return what is the same for values that train in the same way.

    Parameters
    ----------
    value : object
        A classifier, a scorer, a list of them, or one of their parameters.

    Returns
    -------
    str
        Equal for clones, also in another process.
    """
    if not _holds_modules(value):
        return joblib.hash(value)
    if hasattr(value, "state_dict"):
        return _of_module(value)
    kind = type(value).__module__, type(value).__qualname__
    if isinstance(value, list | tuple):
        return joblib.hash((kind, [fingerprint(part) for part in value]))
    params = value.get_params(deep=False)
    parts = [(name, fingerprint(params[name])) for name in sorted(params)]
    requests = vars(value).get("_metadata_request")
    return joblib.hash((kind, parts, requests))


def _holds_modules(value):
    """Return whether a value is a torch module or has one among its parameters."""
    if isinstance(value, list | tuple):
        return any(_holds_modules(part) for part in value)
    if isinstance(value, type):
        return False
    if hasattr(value, "state_dict") and hasattr(value, "named_parameters"):
        return True
    if not hasattr(value, "get_params"):
        return False
    return any(_holds_modules(part) for part in value.get_params(deep=False).values())


def _of_module(module):
    state = {
        name: _numbers(tensor)
        for name, tensor in module.state_dict().items()
        if hasattr(tensor, "detach")
    }
    trained = [p.requires_grad for p in module.parameters()]
    labels = getattr(module, "classes_", None)
    own = [_attributes(part) for part in module.modules()]
    return joblib.hash((repr(module), state, trained, labels, own))


def _numbers(tensor):
    tensor = tensor.detach().cpu()
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy()


def _attributes(part):
    """Return type and plain attributes of a module, of which its repr may not tell."""
    found = []
    for name, value in sorted(vars(part).items()):
        if name in OF_ANY_MODULE or _is_of_torch(name, value):
            continue
        if hasattr(value, "detach"):  # a tensor that is no part of the state
            value = _numbers(value)
        try:
            found.append((name, joblib.hash(value)))
        except (pickle.PicklingError, AttributeError, TypeError):
            found.append((name, id(value)))  # a function of a place of its own
    return type(part).__module__, type(part).__qualname__, found


def _is_of_torch(name, value):
    """Return whether an attribute holds parameters, parts or hooks."""
    hooks = (name.startswith("_") and name.endswith("_hooks")) or "_hooks_" in name
    return hooks or name in (
        "_parameters",
        "_buffers",
        "_modules",
        "_non_persistent_buffers_set",
        "_is_full_backward_hook",
    )
