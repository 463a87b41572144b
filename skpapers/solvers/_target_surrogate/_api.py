# SPDX-License-Identifier: BSD-3-Clause
r"""Target surrogates: many cheap steps for every call of an expensive loss.

Minimise over x a loss of the form loss(f(x)), where the targets z = f(x) (scores,
logits, actions) are cheap to compute and to differentiate and the gradient of the loss
by z is expensive: a simulator, a query, a sum over all pairs of rows. At z_t = f(x_t)
one expensive call gives the value and the gradient; per row, g is b times the gradient,
b the number of rows. The surrogate

.. math:: q_t(x) = \ell(z_t) + \frac1b \sum_i \Bigl[ \langle g_i, f_i(x) - z_{t,i}
          \rangle + \frac{h_i}{2 \eta_t} \|f_i(x) - z_{t,i}\|^2 \Bigr]

needs no further call, so that any number of steps on x can be taken on it. Without
bounds on f its minimum is at z_t - eta g / h: x_{t+1} is the projection of a gradient
step in the space of targets onto what the model can say. With all rows and
eta <= 1 / L, L the smoothness of the loss in z, q_t lies above the loss, and whatever
does not increase q_t does not increase the loss, for any f.

Reference: J. W. Lavington, S. Vaswani, R. Babanezhad, M. Schmidt, N. Le Roux,
"Target-based surrogates for stochastic optimization", ICML 2023.
"""

from numbers import Integral, Real

import numpy as np

from skpapers.solvers._target_surrogate._models import make_model
from skpapers.solvers._target_surrogate._outer import Batches, Inner, Oracle, Run
from skpapers.solvers._target_surrogate._steps import LARGEST, Metric, StepSize
from skpapers.utils._threads import single_thread

__all__ = ["minimize_target_surrogate"]

SCHEDULES = ("constant", "stochastic", "exponential")
ETA_RULES = ("auto", "armijo", "adaptive")
INNER = ("auto", "exact", "armijo", "lbfgs", "adam")


def minimize_target_surrogate(
    predict,
    loss_and_grad,
    x0=None,
    *,
    jac_vec=None,
    model="linear",
    loss=None,
    metric="euclidean",
    eta="auto",
    eta_schedule="constant",
    n_inner=20,
    inner="auto",
    l2=0.0,
    proximal=0.0,
    max_iter=100,
    tol=1e-6,
    batch_size=None,
    random_state=None,
    callback=None,
):
    r"""Minimise an expensive loss of cheap predictions.

    The loss is a function of targets z = f(x), for example the scores that a linear
    model or a network gives to the rows of a table. Every outer step calls it once,
    for its value and its gradient by z, builds a surrogate of it in the space of
    targets, and takes many cheap steps on x there. Use it where a call of the loss
    costs far more than an evaluation of the model: losses over all pairs of rows,
    simulators, queries to people or services. Where the Hessian is cheap, Newton
    methods are the first choice.

    Parameters
    ----------
    predict : array-like, sparse matrix or callable
        What the model predicts from. For ``model="linear"`` the matrix X (n, d) of
        z = X x; for ``model="callable"`` a function ``predict(x, rows)`` that returns z
        of shape (b,) or (b, p), where ``rows`` is ``slice(None)`` or an integer array;
        for a torch module its input, an array or a tensor with n rows.

    loss_and_grad : callable
        The expensive loss, ``loss_and_grad(z, rows) -> (value, gradient)``, where the
        gradient is that of the value by z and has its shape. A mean over the rows is
        expected: the step eta is measured in that scale. If it has an attribute
        ``smoothness``, this is taken for L (see ``eta``), and its method
        ``metric(rows)``, if there is one, for the row weights that go with L in
        ``metric="secant"``.

    x0 : array-like, default=None
        Where to start: of shape (d,), or (d, p) for p targets, for a linear model (None
        is zeros); the vector of all trained parameters for a torch module (None is what
        the module holds).

    jac_vec : callable, default=None
        For ``model="callable"``: ``jac_vec(x, v, rows)`` returns the transposed
        Jacobian of ``predict`` at x times v, in the shape of x.

    model : {"linear", "callable"} or torch.nn.Module, default="linear"
        The model f. A module is trained in place.

    loss : callable, default=None
        ``loss(z, rows) -> value`` for the line search on eta, where values are cheaper
        than gradients. None calls ``loss_and_grad``.

    metric : str, array-like of shape (n,) or callable, default="euclidean"
        Weights h of the rows in the surrogate: ones ("euclidean"); the root of the sum
        of the squared gradients so far, for each target ("adagrad"); given ones; or
        those that ``metric(z, g, rows)`` returns, of shape (b,) or that of z. "secant"
        takes the curvature that the last step has shown, change of the gradient over
        change of the target, one for each target: far fewer calls where the bound on
        the curvature is much too high (nearly separable classes), for a matrix to be
        formed and factored in every step; it needs all rows and an adaptive eta, and
        suits losses that are sums over the targets, or nearly so (pairs), not a
        softmax. "kl" is the Kullback-Leibler divergence in place of the square, for
        targets that are probabilities (mirror descent); it excludes ``inner="exact"``.

    eta : float, "auto", "armijo" or "adaptive", default="auto"
        Step in the space of targets. "armijo" searches the largest one that decreases
        the loss along -g enough; this costs some evaluations of the loss but no
        gradient. "adaptive" doubles eta after a step that brought what the surrogate
        promised, halves it after one that brought little, and takes back one that
        brought nothing; it costs no evaluation besides such steps, and needs all rows.
        "auto" is 1 / L if L is known; otherwise "adaptive", or "armijo" on batches and
        where ``loss`` is given.

    eta_schedule : {"constant", "stochastic", "exponential"}, default="constant"
        Step of the outer iteration t of T: eta, eta / sqrt(t), or eta T^(-t / T), where
        eta is given or 1 / L.

    n_inner : int, default=20
        Largest number of inner steps for each call of the loss.

    inner : {"auto", "exact", "armijo", "lbfgs", "adam"}, default="auto"
        Solver of the inner problem: its minimiser in closed form (linear models),
        gradient steps with a line search, L-BFGS, or Adam. "auto" is, on all rows,
        "exact" for a linear model and "lbfgs" for others, and "armijo" on batches: the
        minimiser on a small batch fits that batch too well.

    l2 : float or array-like that broadcasts to x, default=0.0
        Weight of half the squared parameters. It is cheap, so it belongs to the inner
        problem and is not replaced by a surrogate.

    proximal : float, default=0.0
        Weight of half the squared distance to the last x in the inner problem; it keeps
        steps on small batches short.

    max_iter : int, default=100
        Largest number of calls of the loss for a gradient: the budget.

    tol : float or array-like that broadcasts to x, default=1e-6
        Stop when no entry of the gradient by x exceeds this. Not tested on batches.

    batch_size : int, default=None
        Rows of an outer step; None is all of them.

    random_state : int, RandomState instance or None, default=None
        Order of the rows in batches.

    callback : callable, default=None
        ``callback(intermediate_result)`` after each call of the loss, with ``x``,
        ``fun``, ``grad``, ``eta`` (of the last step) and ``n_oracle_calls``; it may
        raise StopIteration to end the run.

    Returns
    -------
    result : scipy.optimize.OptimizeResult
        ``x``; ``fun`` and ``jac``, value and gradient at the last call of the loss,
        that is before the last step if the budget ended the run (at x for an adaptive
        eta); ``success``,
        ``status`` (0 converged, 1 budget used, 99 stopped by the callback),
        ``message``; ``nit`` and ``n_oracle_calls``, calls of the loss;
        ``n_value_calls``, calls for a value alone; ``n_model_evals``, evaluations of
        the model; ``fun_path``, ``grad_path`` (largest entries of the gradients) and
        ``eta_path``. The values include the penalty. A run on batches that has used its
        budget is a success.

    Raises
    ------
    ValueError
        If the loss returns a gradient of another shape or a value that is not finite,
        if ``inner="exact"`` is asked for a model that is not linear, or if an argument
        is out of range.
    TypeError
        If something is not callable that has to be.

    See Also
    --------
    skpapers.linear_model.TargetSurrogateClassifier : Estimator for given and own
        losses.
    skpapers.optim.TargetSurrogateOptimizer : The same as an optimizer of torch.

    Notes
    -----
    An outer step costs one call of the loss and, for a linear model on all rows, two
    products with X, O(n d p), and a triangular solve, O(d² p); the matrix XᵀX is formed
    and factored once, O(n d² + d³), with ``metric="secant"`` once a step and target.
    With the logistic loss and eta = 1 / L = 4 the exact step is that of the fixed bound
    on the Hessian [2]_. Without a penalty and with columns that depend on each other
    the move is the shortest one. With more than 4000 columns the inner problem is
    solved iteratively, without a matrix of all pairs of columns. Other models cost
    ``n_inner`` evaluations and pullbacks a step.

    With all rows and eta <= 1 / L the objective never increases, whatever the model and
    the inner solver. A line search looks only along -g in the space of targets and
    gives no such guarantee, but needs no L and is often faster. "adaptive" never keeps
    a step that increases the objective, and starts with one line search if L is not
    known.

    References
    ----------
    .. [1] J. W. Lavington, S. Vaswani, R. Babanezhad, M. Schmidt and N. Le Roux,
       "Target-based surrogates for stochastic optimization", ICML 2023,
       arXiv:2302.02607.
    .. [2] D. Böhning and B. G. Lindsay, "Monotonicity of quadratic-approximation
       algorithms", Annals of the Institute of Statistical Mathematics 40 (1988)
       641-663.

    Examples
    --------
    Least absolute deviations, smoothed, as if each call were expensive:

    >>> import numpy as np
    >>> from skpapers.solvers import minimize_target_surrogate
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 3))
    >>> y = X @ [1.0, -2.0, 0.5] + rng.standard_t(2, 200) / 10
    >>> def loss_and_grad(z, rows):
    ...     r = z - y[rows]
    ...     size = np.sqrt(1e-2 + r**2)
    ...     return size.mean(), r / size / len(r)
    >>> result = minimize_target_surrogate(X, loss_and_grad, max_iter=50)
    >>> result.x.round(1)
    array([ 1. , -2. ,  0.5])
    >>> result.n_oracle_calls <= 50
    True
    """
    _check_arguments(eta, eta_schedule, n_inner, inner, max_iter, proximal)
    f = make_model(model, predict, jac_vec, x0)
    _check_batch_size(batch_size)
    oracle = Oracle(loss_and_grad, loss)
    batches = Batches(f.n_samples, batch_size, random_state)
    share = batches.size / f.n_samples
    distance = Metric(metric, f.n_samples, loss_and_grad)
    if distance.secant:
        eta = _adaptive(eta, batches.full)
    *rule, told = _resolve_eta(eta, loss_and_grad, loss, batches.full)
    largest = LARGEST if distance.secant else np.inf
    step_size = StepSize(*rule, eta_schedule, max_iter, share, largest)
    penalty = _check_by_parameter(l2, f.x0.shape, "l2")
    tol = _check_by_parameter(tol, f.x0.shape, "tol")
    solve = Inner(f, inner, n_inner, penalty, proximal, distance.kl, share)
    run = Run(f, oracle, batches, distance, step_size, solve, penalty)
    with single_thread():
        status = run(max_iter, tol, callback)
    return run.result(status, told)


def _adaptive(eta, full):
    """Return the rule for eta that goes with weights which are learnt."""
    if not full:
        raise ValueError("metric='secant' needs all rows: batch_size must be None.")
    if eta not in ("auto", "adaptive"):
        raise ValueError(f"metric='secant' needs eta='adaptive', got {eta!r}.")
    return "adaptive"


def _resolve_eta(eta, loss_and_grad, loss, full):
    """Return the rule for eta, where it starts, and a sentence about it."""
    if not isinstance(eta, str):
        return "schedule", float(eta), f"eta was {eta:g} as given."
    smoothness = getattr(loss_and_grad, "smoothness", None)
    start = None if smoothness is None else 1 / smoothness
    if eta == "auto" and start is not None:
        return "schedule", start, f"eta was 1 / L with L = {smoothness:g}."
    why = "" if start is not None else ", as the smoothness L is not known"
    if eta == "auto":
        eta = "adaptive" if full and loss is None else "armijo"
    if eta == "armijo":
        return eta, None, f"eta was found by line search{why}."
    if not full:
        raise ValueError("eta='adaptive' needs all rows: batch_size must be None.")
    first = "a line search" if start is None else "1 / L"
    return eta, start, f"eta was adapted, starting from {first}{why}."


def _check_arguments(eta, schedule, n_inner, inner, max_iter, proximal):
    if isinstance(eta, str):
        if eta not in ETA_RULES:
            raise ValueError(
                f"eta must be one of {ETA_RULES} or a positive number, got {eta!r}."
            )
    elif not (isinstance(eta, Real) and 0 < eta < np.inf):
        raise ValueError(f"eta must be a positive finite number, got {eta!r}.")
    if schedule not in SCHEDULES:
        raise ValueError(f"eta_schedule must be one of {SCHEDULES}, got {schedule!r}.")
    if inner not in INNER:
        raise ValueError(f"inner must be one of {INNER}, got {inner!r}.")
    for name, value in {"n_inner": n_inner, "max_iter": max_iter}.items():
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")
    if not (isinstance(proximal, Real) and 0 <= proximal < np.inf):
        raise ValueError(f"proximal must be a finite number >= 0, got {proximal!r}.")


def _check_batch_size(batch_size):
    if batch_size is not None and not (
        isinstance(batch_size, Integral) and batch_size >= 1
    ):
        raise ValueError(
            f"batch_size must be None or an integer >= 1, got {batch_size!r}."
        )


def _check_by_parameter(values, shape, name):
    """Return values >= 0 as (d,) or (d, 1 or p), to be used beside x."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"{name} must be finite and >= 0.")
    if values.ndim == 0:
        return np.full(shape[:1] + (1,) * (len(shape) - 1), float(values))
    if values.ndim == 1 and len(shape) == 2:
        values = values[:, None]
    try:
        np.broadcast_to(values, shape)
    except ValueError:
        raise ValueError(
            f"{name} must broadcast to the shape of x, {shape}, got {values.shape}."
        ) from None
    return values
