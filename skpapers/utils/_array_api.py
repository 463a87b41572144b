# SPDX-License-Identifier: BSD-3-Clause
"""Arrays of any library that follows the array API standard.

What costs n rows runs in the library and on the device of the input, under
``sklearn.set_config(array_api_dispatch=True)``; what is small (a covariance, a graph)
travels to NumPy and back.
"""

import numpy as np
from array_api_compat import (
    array_namespace,
    device,
    is_array_api_obj,
    is_cupy_array,
    is_numpy_array,
    is_torch_array,
)
from sklearn import get_config

__all__ = [
    "array_namespace",
    "check_same_namespace",
    "device",
    "float_dtypes",
    "is_numpy_array",
    "like",
    "to_numpy",
]


def float_dtypes(X):
    """Return the dtypes that validation keeps, as the library of X spells them."""
    if get_config()["array_api_dispatch"] and is_array_api_obj(X):
        xp = array_namespace(X)
        return (xp.float64, xp.float32)
    return (np.float64, np.float32)


def to_numpy(x):
    """Return ``x`` as a NumPy array, from whatever library and device."""
    if is_numpy_array(x):
        return x
    if is_torch_array(x):
        return x.detach().cpu().numpy()
    if is_cupy_array(x):
        return x.get()
    host = array_namespace(x).__array_namespace_info__().default_device()
    return np.asarray(x.to_device(host))


def like(values, reference, dtype=None):
    """Return NumPy ``values`` as an array of the library and device of ``reference``.

    Parameters
    ----------
    values : ndarray
        What to hand over.
    reference : array
        An array of the wanted library, on the wanted device.
    dtype : dtype of the library, default=None
        What to cast to; None keeps the dtype.

    Returns
    -------
    array
        The values.
    """
    xp = array_namespace(reference)
    values = xp.asarray(values, device=device(reference))
    return values if dtype is None else xp.astype(values, dtype, copy=False)


def check_same_namespace(estimator, method, X, fitted):
    """Raise ValueError unless X lives where the estimator was fitted.

    Parameters
    ----------
    estimator : estimator
        The fitted estimator, for the message.
    method : str
        The method that received X, for the message.
    X : array
        Validated input.
    fitted : array
        A fitted attribute.
    """
    here = array_namespace(X), device(X)
    there = array_namespace(fitted), device(fitted)
    if here != there:
        raise ValueError(
            f"Inputs passed to {type(estimator).__name__}.{method}() must use the same "
            "namespace and the same device as those passed to fit(): got "
            f"{here[0].__name__} on {here[1]}, fitted on {there[0].__name__} on "
            f"{there[1]}."
        )
