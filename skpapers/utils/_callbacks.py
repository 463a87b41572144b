# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn's fit callbacks where the installed version (1.9 and later) has them.

An estimator inherits ``CallbackSupportMixin``, decorates ``fit`` with
``with_callbacks`` and loops over its outer iterations through `reported`. On an older
scikit-learn all three do nothing.
"""

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ModuleNotFoundError:  # scikit-learn 1.8

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in: this scikit-learn has no callbacks."""

    def with_callbacks(method):
        """Return ``method`` as it is: this scikit-learn has no callbacks."""
        return method


def reported(estimator, tasks, name):
    """Yield the outer iterations of a fit and tell the callbacks of each.

    Parameters
    ----------
    estimator : estimator
        The estimator being fitted; its ``fit`` is decorated with `with_callbacks`.
    tasks : sequence
        What the outer loop runs over.
    name : str
        What one iteration is called, for example ``"stage"``.

    Yields
    ------
    task
        The items of ``tasks``, up to the one at whose end a callback asks to stop.
    """
    if not hasattr(estimator, "_init_callback_context"):
        yield from tasks
        return
    fit = estimator._init_callback_context(max_subtasks=len(tasks))
    fit.call_on_fit_task_begin(estimator=estimator)
    for task in tasks:
        step = fit.subcontext(task_name=name)
        step.call_on_fit_task_begin(estimator=estimator)
        yield task
        if step.call_on_fit_task_end(estimator=estimator):
            break
    fit.call_on_fit_task_end(estimator=estimator)
