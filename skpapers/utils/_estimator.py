# SPDX-License-Identifier: BSD-3-Clause
"""What all estimators of the package share."""

from functools import wraps

from sklearn.base import BaseEstimator

DOC_URL = "https://skpapers.readthedocs.io/en/latest"


class DocumentedEstimator(BaseEstimator):
    """Estimator whose HTML representation links to our documentation."""

    _doc_link_module = "skpapers"
    _doc_link_template = DOC_URL + "/generated/{estimator_module}.{estimator_name}.html"


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
