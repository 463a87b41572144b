# SPDX-License-Identifier: BSD-3-Clause
"""Lists of everything public, for tests, documentation and curious users."""

from importlib import import_module
from inspect import isclass, isfunction

import skpapers


def all_public():
    """Return every public name of the package.

    Returns
    -------
    list of (str, object)
        Dotted name without underscores and object, sorted by name; whatever the
        ``__all__`` of the subpackages list.
    """
    packages = [n for n in skpapers.__all__ if not n.startswith("_")]
    modules = [import_module(f"skpapers.{name}") for name in packages]
    return sorted(
        (f"{module.__name__}.{name}", getattr(module, name))
        for module in modules
        for name in module.__all__
    )


def all_estimators():
    """Return every public estimator class.

    Returns
    -------
    list of (str, type)
        Class name and class, sorted by name.

    Examples
    --------
    >>> from skpapers.utils.discovery import all_estimators
    >>> "CoLiDE" in dict(all_estimators())
    True
    """
    return sorted(
        (cls.__name__, cls)
        for _, cls in all_public()
        if isclass(cls) and hasattr(cls, "fit") and hasattr(cls, "get_params")
    )


def all_displays():
    """Return every public Display class, as `all_estimators` does."""
    return sorted(
        (cls.__name__, cls)
        for _, cls in all_public()
        if isclass(cls) and cls.__name__.endswith("Display")
    )


def all_functions():
    """Return every public function, by dotted name."""
    return [(name, obj) for name, obj in all_public() if isfunction(obj)]
