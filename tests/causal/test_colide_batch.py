# SPDX-License-Identifier: BSD-3-Clause
"""CoLiDE on batches and in array libraries, against the compiled path."""

import os

import array_api_strict
import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpapers.causal import CoLiDE, colide_batch
from skpapers.causal._colide._arrays import ENDED, FAILED, AdamStage, ArrayPath
from skpapers.causal._colide._path import (
    CompiledPath,
    Stage,
    checkpoint_of,
    make_score,
    steady,
)
from skpapers.causal._colide._problems import (
    Problems,
    acyclicity,
    h_values,
    inverses,
)
from skpapers.causal._kernels import colide as kernels
from skpapers.datasets import make_linear_sem
from skpapers.metrics import is_dag
from skpapers.utils._array_api import array_namespace, to_numpy

# At a coarse learning rate Adam may jump to and fro across a kink until the end.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NOISES = ["equal", "nonequal"]
FAST = {"learning_rate": 1e-2}  # 600 iterations a stage, 2100 in the last one
DEVICE = array_api_strict.Device("device1")
LIBRARIES = ["numpy", "torch", "array_api_strict", "array_api_strict, device1"]
each_library = pytest.mark.parametrize("library", LIBRARIES)


def hand_over(x, library):
    """Return a NumPy array as an array of a library."""
    if library == "torch":
        return pytest.importorskip("torch").asarray(x.copy())
    if library.startswith("array_api_strict"):
        return array_api_strict.asarray(x, device=DEVICE if "," in library else None)
    return x


def same_place(x, y):
    return array_namespace(x) is array_namespace(y) and x.device == y.device


def covariances(seed, n_problems=4, d=6, noise="equal", n_samples=400):
    """Covariances of graphs with equal or unequal noise."""
    options = {} if noise == "equal" else {"noise_variance": (0.5, 10.0)}
    tables = [
        make_linear_sem(
            n_samples,
            n_features=d,
            n_edges=min(2 * d, d * (d - 1) // 2),
            weight_range=(0.5, 1.5),
            random_state=1000 * seed + b,
            **options,
        ).X
        for b in range(n_problems)
    ]
    return np.stack([np.cov(X.T, bias=True) for X in tables])


def plan_of(d=6, **params):
    learner = CoLiDE(**{"solver": "adam"} | FAST | params)
    return learner._plan([f"x{j}" for j in range(d)], np.arange(d))


def weights_inside(seed, n_problems, d, radius=0.6):
    """Random W with a given spectral radius of W * W."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((n_problems, d, d)) * ~np.eye(d, dtype=bool)
    size = np.abs(np.linalg.eigvals(W * W)).max(axis=-1)
    return W * np.sqrt(radius / size)[:, None, None]


# The pieces


@each_library
def test_domain_inverse_and_log_determinant(library, global_random_seed):
    radii = np.array([0.2, 0.65, 0.99, 1.01, 1.5, 9.0])
    W = weights_inside(global_random_seed, len(radii), 7, radii)
    s = np.full(len(radii), 1.0)
    s[1] = 0.7
    here, levels = hand_over(W, library), hand_over(s, library)
    xp = array_namespace(here)
    Q, _, inside = acyclicity(xp, here, levels)
    assert_array_equal(to_numpy(inside), radii < s)
    h = to_numpy(h_values(xp, here, levels))
    for b in range(len(radii)):
        expected = np.empty((7, 7))
        assert_allclose(h[b], kernels.acyclicity(W[b], s[b], expected), rtol=1e-9)
        if radii[b] < s[b]:
            assert_allclose(to_numpy(Q)[b], expected, rtol=1e-7, atol=1e-9)


@each_library
def test_a_singular_matrix_spoils_no_other(library):
    M = np.stack([np.eye(3), np.ones((3, 3)), 2 * np.eye(3)])
    here = hand_over(M, library)
    found = to_numpy(inverses(array_namespace(here), here))
    assert_allclose(found[0], np.eye(3))
    assert_allclose(found[2], np.eye(3) / 2)
    assert not np.isfinite(found[1]).all()


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("scale", [None, "common"])
def test_scores_of_a_batch(noise, scale, global_random_seed):
    plan = plan_of(noise=noise, scale=scale, required_edges=[(0, 1)], noise_floor=0.3)
    C = covariances(global_random_seed, noise=noise)
    alpha = np.array([0.01, 0.1, 0.3, 1.0])
    W = weights_inside(global_random_seed, 4, 6)
    problems = Problems(plan, C, alpha)
    R, r, sigma = problems.residuals(W)
    values = problems.value(W, r, sigma)
    for b in range(4):
        unit = np.diag(steady(C[b])).min() if scale else 1.0
        score = make_score(
            steady(C[b]) / unit, plan.equal, alpha[b], 0.3, plan.allowed, plan.required
        )
        expected, _, levels = score.evaluate(W[b], 1.0)
        assert_allclose(values[b], expected, rtol=1e-12)
        assert_allclose(np.broadcast_to(sigma[b], 6), levels, rtol=1e-12)
        assert_allclose(R[b], score.C @ (np.eye(6) - W[b]), rtol=1e-9, atol=1e-12)


@each_library
@pytest.mark.parametrize("noise", NOISES)
def test_the_steps_are_those_of_the_kernel(library, noise, global_random_seed):
    plan, n_steps = plan_of(noise=noise), 200
    C, alpha = covariances(global_random_seed, noise=noise), np.full(4, 0.05)
    here = hand_over(C, library)
    problems = Problems(plan, here, hand_over(alpha, library))
    sigma = problems.floor / plan.noise_floor
    stage = Stage(mu=1.0, s=1.0, max_iter=n_steps)
    s, rate = (hand_over(np.full(4, x), library) for x in (1.0, 1e-3))
    zeros = hand_over(np.zeros_like(C), library)
    [piece] = AdamStage(problems, zeros, sigma, stage, s, rate, plan).run()
    index, W, sigma, t, _, how = piece
    assert same_place(W, here)
    assert (index.tolist(), t, how) == ([0, 1, 2, 3], n_steps, ENDED)
    for b in range(4):
        score = make_score(
            steady(C[b]),
            plan.equal,
            0.05,
            plan.noise_floor,
            plan.allowed,
            plan.required,
        )
        expected, levels = np.zeros((6, 6)), score.floor / plan.noise_floor
        kernels.adam_stage(
            *(score.C, expected, levels),
            *(score.floor, score.equal, score.price, score.free),
            *(1.0, 1.0, plan.tol, n_steps, 0.3, 0),
            *(1e-3, checkpoint_of(plan.learning_rate), 10),
        )
        assert_allclose(to_numpy(W)[b], expected, atol=1e-9)
        assert_allclose(np.broadcast_to(to_numpy(sigma)[b], 6), levels, rtol=1e-9)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_problems_come_back_into_the_domain(library, global_random_seed):
    """Giant steps leave it; the kernel and the batch halve the way alike."""
    plan = plan_of()
    C = covariances(global_random_seed)
    problems = Problems(
        plan, hand_over(C, library), hand_over(np.full(4, 0.05), library)
    )
    sigma = problems.floor / plan.noise_floor
    stage = Stage(mu=1.0, s=1.0, max_iter=40)
    s, rate = hand_over(np.ones(4), library), hand_over(np.full(4, 0.5), library)
    zeros = hand_over(np.zeros_like(C), library)
    run = AdamStage(problems, zeros, sigma, stage, s, rate, plan)
    [(_, W, *_)] = run.run()
    assert (to_numpy(run.rate) < 0.5).any()
    for b in range(4):
        score = make_score(
            steady(C[b]), True, 0.05, plan.noise_floor, plan.allowed, plan.required
        )
        expected, levels = np.zeros((6, 6)), score.floor / plan.noise_floor
        kernels.adam_stage(
            *(score.C, expected, levels),
            *(score.floor, score.equal, score.price, score.free),
            *(1.0, 1.0, plan.tol, 40, 0.3, 0),
            *(0.5, checkpoint_of(plan.learning_rate), 10),
        )
        assert_allclose(to_numpy(W)[b], expected, atol=1e-6)


@each_library
def test_a_stage_is_repeated_only_where_it_failed(library, global_random_seed):
    """Starts with a spectral radius above s fail at once; the others go on."""
    plan = plan_of()
    radii = np.array([0.1, 0.55, 0.1, 0.95])
    C = covariances(global_random_seed)
    here, alpha = hand_over(C, library), hand_over(np.full(4, 0.05), library)
    path = ArrayPath(plan, here, alpha)
    W = weights_inside(global_random_seed, 4, 6, radii)
    path.W = hand_over(W, library)
    record = path.run(Stage(mu=0.1, s=0.3, max_iter=20))
    assert (record["s"] > radii).all()
    assert record["s"][0] == record["s"][2] == 0.3
    assert record["s"][1] == pytest.approx(0.6)
    assert record["s"][3] == pytest.approx(1.0)
    assert_array_equal(record["n_iter"], [20, 23, 20, 27])  # a failure is one iteration
    assert np.isfinite(record["objective"]).all()


def test_a_first_step_outside_fails():
    plan = plan_of()
    problems = Problems(plan, covariances(0), np.full(4, 0.05))
    W = weights_inside(0, 4, 6, 1.2)
    stage, sigma = Stage(mu=1.0, s=1.0, max_iter=5), problems.floor
    s, rate = np.ones(4), np.full(4, 1e-3)
    [piece] = AdamStage(problems, W, sigma, stage, s, rate, plan).run()
    assert (piece[3], piece[5]) == (1, FAILED)


def test_rounding_hides_the_order_of_sums(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((200, 8)) * 10.0 ** rng.integers(-150, 150, 8)
    one, other = X.T @ X / 200, X[::-1].T @ X[::-1] / 200
    std = np.sqrt(np.diag(one))
    assert (np.abs(steady(one) - one) <= 2.0**-32 * np.outer(std, std)).all()
    assert_array_equal(steady(one), steady(other))
    assert_array_equal(steady(4 * one), 4 * steady(one))
    assert_array_equal(steady(one), steady(one).T)


# Batches against single problems


@each_library
@pytest.mark.parametrize("noise", NOISES)
def test_both_engines_agree(library, noise, global_random_seed):
    C = covariances(global_random_seed, noise=noise)
    one = colide_batch(C, 0.05, noise=noise, engine="compiled", **FAST)
    here = hand_over(C, library)
    found = colide_batch(here, 0.05, noise=noise, engine="array_api", **FAST)
    assert found.keys() == one.keys()
    assert all(same_place(x, here) for x in found.values())
    found = {name: to_numpy(x) for name, x in found.items()}
    assert_array_equal(found["adjacency"] != 0, one.adjacency != 0)
    for name in ("raw_adjacency", "adjacency"):
        assert_allclose(found[name], one[name], atol=1e-2)
    for name in ("noise_std", "objective"):
        assert_allclose(found[name], one[name], rtol=1e-3)
    for name, value in one.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape


@pytest.mark.parametrize("noise", NOISES)
def test_compiled_engine_is_the_estimator(noise, global_random_seed):
    C = covariances(global_random_seed, noise=noise)
    params = {"noise": noise, "early_exit": 5, "scale": "common", "refit": "bic"} | FAST
    found = colide_batch(C, 0.03, n_samples=400, **params)
    for b in range(len(C)):
        model = CoLiDE(solver="adam", alpha=0.03, **params).fit_covariance(C[b], 400)
        for name, value in found.items():
            assert_array_equal(value[b], getattr(model, f"{name}_"), err_msg=name)


def test_a_problem_does_not_feel_the_others(global_random_seed):
    """Whoever ends first, the rest goes on as if alone."""
    C = covariances(global_random_seed)
    alpha = np.array([0.01, 0.05, 0.2, 3.0])
    params = FAST | {"engine": "array_api", "tol": 1e-5, "early_exit": 6}
    together = colide_batch(C, alpha, **params)
    alone = [colide_batch(C[b], alpha[b], **params) for b in range(4)]
    assert len(set(together.n_iter.tolist())) > 1
    for name, value in together.items():
        expected = np.stack([one[name] for one in alone])
        assert_allclose(value, expected, rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("engine", ["compiled", "array_api"])
def test_shapes_are_broadcast(engine, global_random_seed):
    C = covariances(global_random_seed, n_problems=2, d=4)
    params = {"engine": engine, "warm_iter": 20, "max_iter": 60, "tol": 10.0} | FAST
    one = colide_batch(C[0], **params)
    assert one.adjacency.shape == (4, 4)
    assert one.n_iter.shape == ()
    grid = colide_batch(C[:, None], [0.01, 0.05, 0.2], **params)
    assert grid.adjacency.shape == (2, 3, 4, 4)
    assert grid.causal_order.shape == grid.noise_std.shape == (2, 3, 4)
    assert grid.objective.shape == (2, 3)
    assert_allclose(grid.raw_adjacency[0, 1], one.raw_adjacency, atol=1e-12)
    assert (np.diff(grid.objective, axis=1) > 0).all()


@pytest.mark.parametrize("engine", ["compiled", "array_api"])
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("init", [None, "order"])
def test_constant_columns_stay_alone(engine, noise, init, global_random_seed):
    C = covariances(global_random_seed, n_problems=3, noise=noise)
    C[1, 2] = C[1, :, 2] = 0.0
    C[2] = 0.0
    params = {"noise": noise, "engine": engine, "init": init, "early_exit": 4} | FAST
    found = colide_batch(C, 0.05, **params)
    left = np.delete(np.arange(6), 2)
    small = colide_batch(C[1][np.ix_(left, left)], 0.05, **params)
    assert_allclose(
        found.raw_adjacency[1][np.ix_(left, left)], small.raw_adjacency, atol=1e-2
    )
    assert_allclose(found.objective[1], small.objective, rtol=1e-3)
    assert not found.raw_adjacency[1, 2].any()
    assert not found.raw_adjacency[1, :, 2].any()
    assert not found.raw_adjacency[2].any()
    assert found.noise_std[1, 2] == 0
    assert_array_equal(found.noise_std[2], 0)


@pytest.mark.parametrize("engine", ["compiled", "array_api"])
def test_prior_knowledge_in_a_batch(engine, global_random_seed):
    C = covariances(global_random_seed)
    found = colide_batch(
        C,
        [0.05, 0.1, 0.05, 5.0],
        engine=engine,
        required_edges=[(3, 1)],
        forbidden_edges=[(0, 2), (2, 0)],
        tiers=[[5], [4]],
        **FAST,
    )
    for A, raw in zip(found.adjacency, found.raw_adjacency, strict=True):
        assert is_dag(A)
        assert A[3, 1] != 0
        assert raw[0, 2] == raw[2, 0] == raw[4, 5] == 0


@pytest.mark.parametrize("engine", ["compiled", "array_api"])
@pytest.mark.parametrize("noise", NOISES)
def test_early_exit_ends_at_the_best_weights_of_an_order(
    engine, noise, global_random_seed
):
    C = covariances(global_random_seed, noise=noise)
    params = {"noise": noise, "engine": engine} | FAST
    long = colide_batch(C, 0.05, **params)
    early = colide_batch(C, 0.05, early_exit=2, **params)
    assert (early.n_iter < long.n_iter).any()
    for b in range(4):
        A = early.raw_adjacency[b]
        assert is_dag(A)
        pull = C[b] @ (np.eye(6) - A) / early.noise_std[b]
        on = A != 0
        assert_allclose(pull[on], 0.05 * np.sign(A[on]), atol=1e-3)
    assert early.converged.all()


@pytest.mark.parametrize("engine", ["compiled", "array_api"])
def test_float32_stages(engine, global_random_seed):
    """Nearly the same graphs; a problem may end in a local minimum close by."""
    C = covariances(global_random_seed, noise="nonequal")
    params = {"noise": "nonequal", "engine": engine} | FAST
    full = colide_batch(C, 0.05, **params)
    mixed = colide_batch(C, 0.05, float32_stages=3, **params)
    single = colide_batch(C.astype(np.float32), 0.05, float32_stages=4, **params)
    assert mixed.adjacency.dtype == np.float64
    assert single.adjacency.dtype == np.float32
    for other in (mixed, single):
        assert_allclose(other.objective, full.objective, rtol=3e-2)
        change = np.abs(other.raw_adjacency - full.raw_adjacency)
        assert 0 < np.median(change) < 2e-3
        assert all(is_dag(A) for A in other.adjacency)


def test_gradients_are_not_recorded():
    torch = pytest.importorskip("torch")
    C = torch.asarray(covariances(0, n_problems=2)).requires_grad_()
    limits = {"warm_iter": 20, "max_iter": 60, "tol": 10.0} | FAST
    for engine in ("compiled", "array_api"):
        found = colide_batch(C, 0.05, engine=engine, **limits)
        assert not any(value.requires_grad for value in found.values())


def test_learn_batch_is_a_loop_over_fits(global_random_seed):
    C = covariances(global_random_seed, noise="nonequal")
    names = list("abcdef")
    for params in ({}, {"solver": "adam"} | FAST):
        model = CoLiDE("nonequal", **params)
        graphs = model.learn_batch(C, 400)
        for b in range(4):
            assert_array_equal(graphs[b], model.fit_covariance(C[b], 400).adjacency_)
    model = CoLiDE(forbidden_edges=[("a", "b"), ("b", "a")])
    graphs = model.learn_batch(C, 400, feature_names=names, n_jobs=2)
    assert not graphs[:, 0, 1].any()
    assert not graphs[:, 1, 0].any()
    assert not hasattr(model, "adjacency_")


@each_library
def test_learn_batch_where_the_arrays_live(library, global_random_seed):
    C = covariances(global_random_seed, n_problems=2).astype(np.float32)
    here = hand_over(C, library)
    model = CoLiDE(solver="adam", **FAST)
    graphs = model.learn_batch(here, 400)
    assert same_place(graphs, here)
    assert graphs.dtype == here.dtype
    expected = model.learn_batch(C, 400)
    assert_allclose(to_numpy(graphs), expected, atol=1e-2)


@pytest.mark.parametrize("engine", ["compiled", "array_api"])
def test_unfinished_problems_are_counted(engine, global_random_seed):
    """Independent columns: W stays zero, and F the same at all checkpoints."""
    C = covariances(global_random_seed, n_problems=3)
    C[0] = np.eye(6)
    limits = {"warm_iter": 60, "max_iter": 60} | FAST
    with pytest.warns(ConvergenceWarning, match="2 of 3 problems.*max_iter or tol"):
        found = colide_batch(C, 0.05, engine=engine, **limits)
    assert_array_equal(found.converged, [True, False, False])


@pytest.mark.parametrize(
    ("arguments", "kwargs", "error", "match"),
    [
        ([np.eye(3)[:2]], {}, ValueError, r"must have shape .* got \(2, 3\)"),
        ([np.ones(3)], {}, ValueError, r"must have shape .* got \(3,\)"),
        ([np.zeros((0, 2, 2))], {}, ValueError, "must have shape"),
        ([np.diag([1.0, np.nan])], {}, ValueError, "finite"),
        ([np.array([[1.0, 0.5], [0.2, 1.0]])], {}, ValueError, "symmetric"),
        ([np.diag([1.0, -1.0])], {}, ValueError, "negative variance"),
        ([np.eye(2), -0.1], {}, ValueError, "alpha must be finite and not negative"),
        ([np.eye(2), [0.1, np.nan]], {}, ValueError, "alpha must be"),
        ([np.eye(2), []], {}, ValueError, "at least one problem"),
        ([np.ones((3, 2, 2)), [0.1, 0.2]], {}, ValueError, "do not broadcast"),
        ([np.eye(2)], {"refit": "bic"}, ValueError, "needs n_samples"),
        ([np.eye(2)], {"n_samples": 1}, ValueError, "n_samples must be at least 2"),
        ([np.eye(2)], {"engine": "gpu"}, ValueError, "'engine'"),
        ([np.eye(2)], {"noise": "both"}, ValueError, "'noise'"),
        ([np.eye(2)], {"early_exit": 0}, ValueError, "'early_exit'"),
        ([np.eye(2)], {"float32_stages": -1}, ValueError, "'float32_stages'"),
        ([np.eye(2)], {"solver": "adam"}, TypeError, "takes no solver"),
        ([np.eye(2)], {"speed": 1}, TypeError, "speed"),
    ],
)
def test_errors(arguments, kwargs, error, match):
    with pytest.raises(error, match=match):
        colide_batch(*arguments, **kwargs)


# The estimator on arrays of other libraries


def dispatch():
    if os.environ.get("SCIPY_ARRAY_API") != "1":
        pytest.skip("set SCIPY_ARRAY_API=1 before scipy is imported")
    return sklearn.config_context(array_api_dispatch=True)


@pytest.mark.parametrize("library", LIBRARIES[1:])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("noise", NOISES)
def test_estimator_keeps_library_device_and_type(
    library, dtype, noise, global_random_seed
):
    X = make_linear_sem(300, n_features=5, n_edges=6, random_state=global_random_seed).X
    model = CoLiDE(noise, solver="adam", **FAST)
    expected = model.fit(X.astype(dtype)).raw_adjacency_
    graph = model.adjacency_
    here = hand_over(X.astype(dtype), library)
    with dispatch():
        model = CoLiDE(noise, solver="adam", **FAST).fit(here)
        for name in ("adjacency_", "raw_adjacency_", "noise_std_", "covariance_"):
            value = getattr(model, name)
            assert same_place(value, here)
            assert value.dtype == here.dtype
        assert same_place(model.predict(here), here)
        assert model.transform(here).dtype == here.dtype
    assert_allclose(to_numpy(model.raw_adjacency_), expected, atol=1e-2)
    assert_array_equal(to_numpy(model.adjacency_) != 0, graph != 0)
    assert type(model.n_iter_) is int
    assert type(model.converged_) is bool
    assert all(
        type(value) in (int, float, bool)
        for record in model.history_
        for value in record.values()
    )


def test_the_tag_follows_the_solver():
    assert CoLiDE(solver="adam").__sklearn_tags__().array_api_support
    assert not CoLiDE().__sklearn_tags__().array_api_support
    assert not CoLiDE(solver="prox_newton").__sklearn_tags__().array_api_support


ADAM = CoLiDE(solver="adam", learning_rate=1e-2)


@parametrize_with_checks([ADAM])
@pytest.mark.filterwarnings("ignore::skpapers.utils.DataConditionWarning")
def test_scikit_learn_contract_of_the_array_path(estimator, check):
    check(estimator)


# Accelerators


def accelerator(name):
    """Return a function that moves a NumPy array to an accelerator, or skip."""
    if name == "cupy":
        cupy = pytest.importorskip("cupy")
        try:
            cupy.zeros(1)
        except cupy.cuda.runtime.CUDARuntimeError:
            pytest.skip("no CUDA device")
        return cupy.asarray
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return lambda x: torch.asarray(x, device="cuda")


@pytest.mark.parametrize("name", ["torch", "cupy"])
@pytest.mark.parametrize("noise", NOISES)
def test_batch_on_an_accelerator(name, noise, global_random_seed):
    move = accelerator(name)
    C = covariances(global_random_seed, n_problems=16, d=10, noise=noise)
    here = move(C)
    found = colide_batch(here, 0.05, noise=noise, early_exit=10, **FAST)
    assert all(same_place(x, here) for x in found.values())
    expected = colide_batch(C, 0.05, noise=noise, early_exit=10, **FAST)
    differ = (to_numpy(found.adjacency) != 0) != (expected.adjacency != 0)
    assert differ.any(axis=(1, 2)).mean() <= 0.1
    assert_allclose(to_numpy(found.objective), expected.objective, rtol=1e-2)


@pytest.mark.parametrize("name", ["torch", "cupy"])
def test_estimator_on_an_accelerator(name, global_random_seed):
    move = accelerator(name)
    X = make_linear_sem(300, n_features=6, n_edges=7, random_state=global_random_seed).X
    expected = CoLiDE(solver="adam", **FAST).fit(X).adjacency_
    here = move(X.astype(np.float32))
    with dispatch():
        model = CoLiDE(solver="adam", **FAST).fit(here)
        assert same_place(model.transform(here), here)
    assert same_place(model.adjacency_, here)
    assert model.adjacency_.dtype == here.dtype
    assert_allclose(to_numpy(model.adjacency_), expected, atol=1e-2)


@pytest.mark.slow
def test_a_path_of_one_is_a_path_of_many(global_random_seed):
    """Twenty columns: the objectives of both engines agree where the digits do not."""
    C = covariances(global_random_seed, n_problems=6, d=20, noise="nonequal")
    plan = plan_of(20, noise="nonequal", learning_rate=1e-3)
    path = ArrayPath(plan, C, np.full(6, 0.05))
    for stage in plan.stages:
        path.run(stage)
    for b in range(6):
        one = CompiledPath(plan, C[b], 0.05)
        for stage in plan.stages:
            record = one.run(stage)
        assert path.history[-1]["score"][b] == pytest.approx(record["score"], rel=2e-2)
