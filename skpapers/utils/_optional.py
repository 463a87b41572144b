# SPDX-License-Identifier: BSD-3-Clause
"""Imports of optional dependencies, with an error that says what to install."""

from importlib import import_module


def import_optional(module, *, extra, needed_by):
    """Import ``module`` or say which extra of skpapers brings it.

    Parameters
    ----------
    module : str
        Dotted name, for example ``"matplotlib.pyplot"``.
    extra : str
        The extra of skpapers that installs it.
    needed_by : str
        What the user called, for the message.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise  # the package is there, one of its own dependencies is not
        raise ImportError(
            f"{needed_by} needs {package}, which is not installed. "
            f'Install it with: pip install "skpapers[{extra}]"'
        ) from error
