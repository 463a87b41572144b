# SPDX-License-Identifier: BSD-3-Clause
r"""A classifier as the scores see it: models and passes.

A *model* is a fitted classifier:

``classes_``
    Labels in the order of the probabilities.
``is_differentiable``
    Whether there are gradients.
``run(X)``
    A pass over rows: one forward computation that serves all that is asked of it.
``snapshot()``
    A light copy that further training of the classifier does not touch.

A *pass* over n rows:

``log_proba``
    (n, K), logarithms of the probabilities.
``errors(codes)``
    (n, K), p - y with the one-hot labels y.
``gradient_norms(codes, layers=None)``
    (n,), norms of the gradient of the cross-entropy by the parameters.
``input_gradients(codes, output="proba")``
    (n, d), gradients of the probability ("proba") or of the logit ("logit") of the
    label by the inputs.

``codes`` are the places of the labels in ``classes_``. Everything comes in float64.
"""

from functools import cached_property

import numpy as np
from scipy.special import softmax
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skpapers.data_selection._chunks import count_numbers


def as_model(estimator, classes=None):
    """Return a fitted classifier as a model.

    Parameters
    ----------
    estimator : classifier, pipeline, torch module or skorch net
        Fitted; a pipeline by its last step, after the transformers.
    classes : ndarray of shape (n_classes,), default=None
        Labels of a torch module that does not know them.

    Returns
    -------
    object
        A model. Linear classifiers with logistic or softmax loss, `MLPClassifier` and
        torch have gradients; all others have probabilities only.

    Raises
    ------
    TypeError
        If there are no probabilities.
    """
    from skpapers.data_selection._models._dense import dense_model
    from skpapers.data_selection._models._probabilities import probability_model

    if isinstance(estimator, Pipeline):
        check_is_fitted(estimator)
        return PipelineModel(estimator[:-1], as_model(estimator[-1], classes))
    if is_torch(estimator):
        from skpapers.data_selection._models._torch import torch_model

        return torch_model(estimator, classes)
    check_is_fitted(estimator)
    model = dense_model(estimator)
    return probability_model(estimator) if model is None else model


def is_torch(estimator):
    """Return whether a classifier is a torch module or a skorch net."""
    origins = {cls.__module__.partition(".")[0] for cls in type(estimator).__mro__}
    return not origins.isdisjoint({"torch", "skorch"})


def no_gradients(estimator_name):
    """Return the error for classifiers without gradients."""
    return TypeError(
        f"{estimator_name} has no gradients, which this score is made of. Those of "
        "LogisticRegression, LogisticRegressionCV, SGDClassifier(loss='log_loss'), "
        "MLPClassifier and torch nets are known, also at the end of a Pipeline; "
        "EL2NScorer takes any classifier with probabilities."
    )


def subtract_labels(p, codes):
    """Return p - y for probabilities and one-hot labels, in place.

    The entry of the label is minus the sum of the others: 1 - p itself would cancel
    where p is close to 1.
    """
    rows = np.arange(len(p))
    p[rows, codes] = 0.0
    p[rows, codes] = -p.sum(axis=1)
    return p


class LogitPass:
    """What softmax logits say; the base of passes with logits.

    Parameters
    ----------
    logits : ndarray of shape (n, K)
        Outputs before the softmax.
    """

    def __init__(self, logits):
        self.logits = np.asarray(logits, dtype=np.float64)

    @cached_property
    def log_proba(self):
        """Logarithms of the probabilities."""
        shifted = self.logits - self.logits.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    def errors(self, codes):
        """Return p - y."""
        return subtract_labels(softmax(self.logits, axis=1), codes)


class PipelineModel:
    """The last step of a pipeline, fed through the transformers."""

    def __init__(self, transformers, model):
        self.transformers, self.model = transformers, model
        self.width = getattr(model, "width", 64)

    def measure(self, row):
        """Find how many numbers a pass holds for a row."""
        row = self._transform(row)
        if hasattr(self.model, "measure"):
            self.model.measure(row)
        self.width = count_numbers(row) + getattr(self.model, "width", 64)

    def _transform(self, X):
        return self.transformers.transform(X) if len(self.transformers) else X

    @property
    def classes_(self):
        """Labels in the order of the probabilities."""
        return self.model.classes_

    @property
    def is_differentiable(self):
        """Whether there are gradients."""
        return self.model.is_differentiable

    def snapshot(self):
        """Return a light copy; the transformers are shared."""
        return PipelineModel(self.transformers, self.model.snapshot())

    def run(self, X):
        """Return what the last step says about rows."""
        return self.model.run(self._transform(X))
