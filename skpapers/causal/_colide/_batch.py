# SPDX-License-Identifier: BSD-3-Clause
"""CoLiDE for many covariances and penalties in one call.

Each problem is a covariance C and a price alpha. They are solved together, on any
device (`skpapers.causal._colide._arrays`), or one after the other by the compiled
kernels (`skpapers.causal._colide._path`).
"""

import numpy as np
from array_api_compat import is_array_api_obj
from sklearn.utils import Bunch

from skpapers.causal._colide._estimator import CoLiDE
from skpapers.causal._colide._solve import (
    in_host_memory,
    solve_batch,
    warn_unfinished,
)
from skpapers.utils._array_api import array_namespace, is_torch_array, like
from skpapers.utils._sklearn import StrOptions, validate_params
from skpapers.utils._threads import single_thread

SYMMETRY = 1e-5  # largest difference between mirrored entries, relative to the largest


@validate_params(
    {"engine": [StrOptions({"auto", "compiled", "array_api"})]},
    prefer_skip_nested_validation=True,
)
def colide_batch(
    covariances, alpha=0.05, *, n_samples=None, engine="auto", n_jobs=None, **params
):
    """Learn the graphs of many covariances, or of one for many penalties, at once.

    Solves the problem of `CoLiDE` by its solver "adam" for each pair of a covariance
    and an ``alpha``. On an accelerator all problems take their steps together, and one
    that has ended costs nothing from then on: meant for the resamples of a bootstrap
    and for grids of ``alpha``.

    Parameters
    ----------
    covariances : array of shape (..., n_features, n_features)
        Covariances of the same columns, of NumPy, or of PyTorch, CuPy or another
        library that follows the array API standard, on any device. float32 and float64
        are kept, other types become float64. A column of variance zero gets no edge.
    alpha : float or array-like of shape (...), default=0.05
        Price of a unit of absolute weight. Its shape and the leading shape of
        ``covariances`` are broadcast against each other: (B, d, d) and (B,) are B
        problems, (d, d) and (A,) are A problems, (B, 1, d, d) and (A,) are B times A.
    n_samples : float or array-like of shape (...), default=None
        Numbers of rows behind the covariances; used, and then needed, for
        ``refit="bic"`` only.
    engine : {"auto", "compiled", "array_api"}, default="auto"
        "compiled" solves one problem after the other in host memory, "array_api" all
        together where the arrays live. "auto" is "compiled" for arrays in host memory,
        where it is the faster one, and "array_api" for all others.
    n_jobs : int, default=None
        Number of threads for "compiled". None means 1 unless in a
        `joblib.parallel_config` context.
    **params : dict
        Parameters of `CoLiDE`, all but ``alpha``, ``solver`` and ``verbose``.

    Returns
    -------
    result : `sklearn.utils.Bunch`
        Arrays of the library, on the device and of the floating point type of
        ``covariances``; "..." is the broadcast shape.

        adjacency : array of shape (..., n_features, n_features)
            Weights of the acyclic graphs.
        raw_adjacency : array of shape (..., n_features, n_features)
            Weights at the ends of the paths, before the cut.
        causal_order : int64 array of shape (..., n_features)
            Columns, causes first.
        noise_std : array of shape (..., n_features)
            Noise levels that belong to ``raw_adjacency``.
        objective, h_value : array of shape (...)
            Score and acyclicity term at ``raw_adjacency``.
        threshold : array of shape (...)
            The cuts that made the graphs acyclic.
        n_iter : int64 array of shape (...)
            Number of iterations over all stages.
        converged : bool array of shape (...)
            Whether the last stage met ``tol``, or ended by ``early_exit``.

    Raises
    ------
    ValueError
        If the covariances are not square, symmetric and finite with non-negative
        variances, if ``alpha`` or ``n_samples`` do not broadcast against them or are
        out of range, or for what `CoLiDE` raises it.
    TypeError
        If there is no parameter of such a name.

    Warns
    -----
    ConvergenceWarning
        If problems ended before the change of their objective fell to ``tol``.

    See Also
    --------
    CoLiDE : One table, with predictions and everything else.
    bootstrap_edges : Frequencies of edges under resampling, for any learner.

    Notes
    -----
    An iteration costs one product of d x d matrices a problem, O(d³), and every tenth
    an inverse; 15000 to 40000 iterations are usual. The work on graphs at the end runs
    in host memory. Memory: some fifteen arrays of the size of ``covariances``.

    Both engines follow the same iteration, with sums in another order. Adam jumps to
    and fro across the kinks of the absolute values, so the weights agree up to a few
    times the learning rate; now and then, mostly for equal noise, a problem ends in
    another local minimum.

    References
    ----------
    .. [1] S. S. Saboksayr, G. Mateos, M. Tepper, "CoLiDE: Concomitant linear DAG
       estimation", ICLR 2024, arXiv:2310.02895.

    Examples
    --------
    Three values of ``alpha`` for one covariance:

    >>> import numpy as np
    >>> from skpapers.causal import colide_batch
    >>> from skpapers.datasets import make_linear_sem
    >>> data = make_linear_sem(1000, n_features=5, n_edges=6, random_state=0)
    >>> C = np.cov(data.X.T, bias=True)
    >>> found = colide_batch(C, [0.02, 0.05, 0.5])
    >>> found.adjacency.shape
    (3, 5, 5)
    >>> np.count_nonzero(found.adjacency, axis=(1, 2))
    array([6, 6, 3])
    """
    for name in ("solver", "verbose"):
        if name in params:
            raise TypeError(f"colide_batch takes no {name}.")
    learner = CoLiDE(solver="adam", **params)
    learner._validate_params()
    C, xp = _check_covariances(covariances)
    shape, alpha, n_samples = _broadcast(C, alpha, n_samples, learner.refit)
    d = C.shape[-1]
    plan = learner._plan([f"x{j}" for j in range(d)], np.arange(d))
    flat = xp.reshape(xp.broadcast_to(C, (*shape, d, d)), (-1, d, d))
    compiled = engine == "compiled" or (engine == "auto" and in_host_memory(C))
    with single_thread():
        found = solve_batch(
            plan, flat, alpha.ravel(), n_samples.ravel(), compiled, n_jobs
        )
    warn_unfinished(found["converged"], learner.tol)

    def handed_back(values):
        kind = C.dtype if values.dtype == np.float64 else None
        return xp.reshape(like(values, C, dtype=kind), (*shape, *values.shape[1:]))

    return Bunch(**{name: handed_back(values) for name, values in found.items()})


def _check_covariances(covariances):
    """Return valid covariances, symmetric and floating, and their namespace."""
    if not is_array_api_obj(covariances):
        covariances = np.asarray(covariances, dtype=np.float64)
    C = covariances.detach() if is_torch_array(covariances) else covariances
    xp = array_namespace(C)
    if C.ndim < 2 or C.shape[-1] != C.shape[-2] or 0 in C.shape:
        raise ValueError(
            f"covariances must have shape (..., n_features, n_features), got {C.shape}."
        )
    if C.dtype not in (xp.float32, xp.float64):
        C = xp.astype(C, xp.float64)
    if not bool(xp.all(xp.isfinite(C))):
        raise ValueError("covariances must be finite.")
    mirrored = xp.matrix_transpose(C)
    if bool(xp.max(xp.abs(C - mirrored)) > SYMMETRY * xp.max(xp.abs(C))):
        raise ValueError("covariances must be symmetric.")
    if bool(xp.any(xp.linalg.diagonal(C) < 0)):
        raise ValueError("covariances have a negative variance on a diagonal.")
    return (C + mirrored) / 2, xp


def _broadcast(C, alpha, n_samples, refit):
    """Return the common shape of the problems and two arrays of it."""
    alpha = np.asarray(alpha, dtype=np.float64)
    if not (np.isfinite(alpha).all() and (alpha >= 0).all()):
        raise ValueError(f"alpha must be finite and not negative, got {alpha}.")
    if n_samples is None:
        if refit == "bic":
            raise ValueError('refit="bic" needs n_samples.')
        n_samples = np.inf
    n_samples = np.asarray(n_samples, dtype=np.float64)
    if not (n_samples >= 2).all():
        raise ValueError(f"n_samples must be at least 2, got {n_samples}.")
    try:
        shape = np.broadcast_shapes(C.shape[:-2], alpha.shape, n_samples.shape)
    except ValueError:
        raise ValueError(
            f"covariances of leading shape {C.shape[:-2]}, alpha of shape "
            f"{alpha.shape} and n_samples of shape {n_samples.shape} do not broadcast."
        ) from None
    if 0 in shape:
        raise ValueError("There must be at least one problem.")
    return (
        shape,
        np.array(np.broadcast_to(alpha, shape)),
        np.array(np.broadcast_to(n_samples, shape)),
    )
