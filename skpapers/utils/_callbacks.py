# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn's fit callbacks where the installed version (1.9 and later) has them.

An estimator inherits ``CallbackSupportMixin``, decorates ``fit`` with
``with_callbacks`` and loops over its outer iterations through `reported`, or tells
`Steps` of them where the loop is not its own. On an older scikit-learn all of it does
nothing.
"""

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ModuleNotFoundError:  # scikit-learn 1.8

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in: this scikit-learn has no callbacks."""

    def with_callbacks(method):
        """Return ``method`` as it is: this scikit-learn has no callbacks."""
        return method


class Steps:
    """Tells the callbacks of the outer iterations of a fit, one after the other.

    Parameters
    ----------
    estimator : estimator
        The estimator being fitted; its ``fit`` is decorated with `with_callbacks`.
    n_steps : int
        How many there will be at most.
    name : str
        What one iteration is called, for example ``"stage"``.
    """

    def __init__(self, estimator, n_steps, name):
        self.estimator, self.name, self.fit = estimator, name, None
        if hasattr(estimator, "_init_callback_context"):
            self.fit = estimator._init_callback_context(max_subtasks=n_steps)
            self.fit.call_on_fit_task_begin(estimator=estimator)

    def begin(self):
        """Tell of the begin of an iteration."""
        if self.fit is not None:
            self.step = self.fit.subcontext(task_name=self.name)
            self.step.call_on_fit_task_begin(estimator=self.estimator)

    def end(self):
        """Tell of its end, and return whether a callback asks to stop."""
        if self.fit is None:
            return False
        return self.step.call_on_fit_task_end(estimator=self.estimator)

    def close(self):
        """Tell that there are no more."""
        if self.fit is not None:
            self.fit.call_on_fit_task_end(estimator=self.estimator)


def reported(estimator, tasks, name):
    """Yield the outer iterations of a fit and tell the callbacks of each.

    Parameters
    ----------
    estimator, name
        As of `Steps`.
    tasks : sequence
        What the outer loop runs over.

    Yields
    ------
    task
        The items of ``tasks``, up to the one at whose end a callback asks to stop.
    """
    steps = Steps(estimator, len(tasks), name)
    for task in tasks:
        steps.begin()
        yield task
        if steps.end():
            break
    steps.close()
