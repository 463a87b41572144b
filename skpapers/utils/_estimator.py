# SPDX-License-Identifier: BSD-3-Clause
"""What all estimators of the package share."""

from functools import wraps

from sklearn.base import BaseEstimator

DOC_URL = "https://skpapers.readthedocs.io/en/latest"


class DocumentedEstimator(BaseEstimator):
    """Estimator whose HTML representation links to our documentation."""

    _doc_link_module = "skpapers"
    _doc_link_template = DOC_URL + "/generated/{estimator_module}.{estimator_name}.html"
    # by parameter: what to pass explicitly, instead of None, to reach its parameters
    _instead_of_none: dict = {}
    _plain_dicts: tuple = ()  # parameters that are dicts, into which names reach, too

    def set_params(self, **params):
        """Set the parameters of this estimator, also those of estimators within.

        Parameters
        ----------
        **params : dict
            Parameters by name; ``<estimator>__<parameter>`` reaches into a parameter
            that is an estimator, or into one that is a dict of settings.

        Returns
        -------
        self : estimator instance
            The estimator.

        Raises
        ------
        ValueError
            If there is no such parameter, or if the one that is reached into is None.
        """
        own = self.get_params(deep=False)
        for name in list(params):
            outer, nested, inner = name.partition("__")
            if nested and outer in self._plain_dicts:
                settings = params.get(outer, own[outer]) or {}
                params[outer] = {**settings, inner: params.pop(name)}
            elif nested and outer in own and params.get(outer, own[outer]) is None:
                instead = self._instead_of_none.get(outer, "an estimator")
                raise ValueError(
                    f"{name!r} cannot be set: {outer} of {type(self).__name__} is "
                    f"None, which has no parameters. Pass {instead} as {outer} "
                    f"explicitly, and set {inner!r} of that."
                )
        return super().set_params(**params)


def all_or_nothing(fit):
    """Decorate ``fit`` so that a failed or interrupted call changes nothing.

    An estimator that was fitted before keeps that fit, one that was not stays unfitted.
    """

    @wraps(fit)
    def guarded(self, *args, **kwargs):
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return guarded
