# SPDX-License-Identifier: BSD-3-Clause
"""Searches for points with a high score, by name.

Each is a function ``search(objective, space, starts, n_candidates, rng, **params)`` in
a file of its own, which is loaded when it is asked for. It returns points (k, D) in the
coordinates of the space.
"""

import inspect
from importlib import import_module

FILES = {
    "gradient": "_gradient",
    "coms": "_conservative",
    "cmaes": "_cmaes",
    "reinforce": "_reinforce",
    "pymoo": "_pymoo",
    "bo": "_botorch",
}
GIVEN = ("objective", "space", "starts", "n_candidates", "rng")


def load_search(search):
    """Return the function of a search.

    Parameters
    ----------
    search : str or callable
        A name, or a function that is given back.

    Returns
    -------
    callable
        The search.
    """
    if callable(search):
        return search
    return import_module(f"{__name__}.{FILES[search]}").search


def check_params(search, params):
    """Raise if a search does not know some of its parameters.

    Parameters
    ----------
    search : str or callable
        A name, or a function.
    params : dict or None
        Parameters by name.

    Returns
    -------
    dict
        The parameters.

    Raises
    ------
    ValueError
        It names the parameters that the search has.
    """
    params = {} if params is None else dict(params)
    if not params:
        return params
    signature = inspect.signature(load_search(search)).parameters
    if any(p.kind is p.VAR_KEYWORD for p in signature.values()):
        return params
    known = [name for name in signature if name not in GIVEN]
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise ValueError(
            f"search_params has {unknown}, but search={search!r} has the parameters "
            f"{known}."
        )
    return params
