# SPDX-License-Identifier: BSD-3-Clause
"""Parts of the solver under equations: merit, sketches, factorisations, redundancy."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator

from skpapers.solvers._constrained._differences import jacobian_by_differences
from skpapers.solvers._constrained._direct import (
    DIRECT,
    LDL,
    SLIGHT,
    Schur,
    Shifts,
    SparseLU,
    gram,
    null_space,
    smallest_reduced_eigenvalue,
)
from skpapers.solvers._constrained._feasibility import check_linear
from skpapers.solvers._constrained._inexact import constants
from skpapers.solvers._constrained._krylov import KRYLOV, ConstraintPreconditioner
from skpapers.solvers._constrained._matrices import (
    Jacobian,
    add_hessians,
    dense_hessian,
    hessian_diagonal,
    hessian_dot,
    hessian_norm,
    kind_of,
    sparse_hessian,
)
from skpapers.solvers._constrained._merit import Merit
from skpapers.solvers._constrained._newton import complete, within_reach
from skpapers.solvers._constrained._problem import Linear, SymmetricRankOne
from skpapers.solvers._constrained._sketch import (
    SketchAndProject,
    draw,
    equilibrate,
    project,
)
from skpapers.solvers._kernels.kaczmarz import (
    kaczmarz_dense,
    kaczmarz_sparse,
    project_on_vectors,
)

N, M = 6, 2


class Curved:
    """f = sum sin(a_i x_i) + x'Qx / 2 and c_j = x'C_j x + d_j'x."""

    def __init__(self, rng, n=N, m=M):
        self.a = rng.standard_normal(n)
        root = rng.standard_normal((n, n))
        self.Q = root + root.T
        C = rng.standard_normal((m, n, n))
        self.C, self.d = C + C.transpose(0, 2, 1), rng.standard_normal((m, n))

    def f(self, x):
        return np.sin(self.a * x).sum() + x @ self.Q @ x / 2

    def g(self, x):
        return self.a * np.cos(self.a * x) + self.Q @ x

    def c(self, x):
        return np.einsum("i,mij,j->m", x, self.C, x) / 2 + self.d @ x

    def G(self, x):
        return self.C @ x + self.d

    def H(self, x, lam):
        bent = np.diag(-(self.a**2) * np.sin(self.a * x))
        return bent + self.Q + np.tensordot(lam, self.C, 1)


def merit_at(merit, problem, x, lam):
    gL = problem.g(x) + problem.G(x).T @ lam
    return merit.value(problem.f(x), problem.c(x), gL, lam)


# --- merit --------------------------------------------------------------------------
@pytest.mark.parametrize("scaled", [False, True])
def test_slope_of_the_merit(scaled, global_random_seed):
    """a + eta1 b + eta2 q is the central difference of M along any direction."""
    rng = np.random.default_rng(global_random_seed)
    problem = Curved(rng)
    x, lam = rng.standard_normal(N), rng.standard_normal(M)
    H, G = problem.H(x, lam), Jacobian([problem.G(x)], N)
    merit = Merit(2.0, 0.3, 0.1, 1.5, 0.1, scaled=scaled)
    merit.weigh(H, G)
    gL = problem.g(x) + G.tdot(lam)
    for _ in range(5):
        dx, dlam = rng.standard_normal(N), rng.standard_normal(M)
        step = complete(dx, dlam, H, G, 0.0)
        slope = merit.slope(merit.slope_parts(problem.c(x), gL, step))
        h = 1e-5
        ahead = merit_at(merit, problem, x + h * dx, lam + h * dlam)
        behind = merit_at(merit, problem, x - h * dx, lam - h * dlam)
        assert slope == pytest.approx((ahead - behind) / (2 * h), rel=1e-6, abs=1e-6)


def test_penalties_change_by_their_rule():
    merit = Merit(1.0, 0.1, 0.5, 2.0, 0.1)
    merit.tighten()
    assert merit.penalties() == (4.0, 0.05, 0.5)
    merit.tighten(scale=1.0)
    room = 0.4 * 0.025 / (1 + 16 + 0.025)
    assert merit.penalties() == (16.0, 0.025, pytest.approx(min(0.5 / 16, room)))
    merit.restore((1.0, 0.1, 0.5))
    assert merit.penalties() == (1.0, 0.1, 0.5)
    merit.eta1 = 1e9
    assert merit.at_cap


def test_constants_of_the_bound(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    H, rows = rng.standard_normal((N, N)), rng.standard_normal((M, N))
    H = H + H.T
    upsilon, psi, gamma = constants(H, Jacobian([rows], N), 0.0, 0.1)
    gamma_matrix = np.block([[H, rows.T], [rows, np.zeros((M, M))]])
    assert gamma == pytest.approx(np.linalg.norm(gamma_matrix))
    xi_g = np.linalg.eigvalsh(rows @ rows.T)[0]
    expected = 20 * max(np.sum(H**2), 1) / (min(xi_g, 1) * 0.1)
    assert psi == pytest.approx(expected)
    assert upsilon == max(np.linalg.norm(rows), np.linalg.norm(H), 1)


# --- sketches -----------------------------------------------------------------------
def system(rng, n=8):
    U, V = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    A = U * rng.uniform(1, 4, n) @ V
    y = rng.standard_normal(n)
    return A, A @ y, y


@pytest.mark.parametrize("sketch", ["gaussian", "countsketch", "rows"])
def test_a_sketch_step_solves_the_sketched_system(sketch, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    A, b, solution = system(np.random.default_rng(global_random_seed))
    y = rng.standard_normal(8)
    for _ in range(30):
        if sketch == "rows":
            S = np.eye(8)[:, rng.permutation(8)[:3]]
        else:
            S = draw(sketch, rng, 8, 3)
        new = project(y, S.T @ A, S.T @ b)
        np.testing.assert_allclose(S.T @ (A @ new - b), 0, atol=1e-9)
        error, before = np.linalg.norm(new - solution), np.linalg.norm(y - solution)
        assert error <= before * (1 + 1e-12)
        y = new
    once = project(y, A, b)  # S = I
    np.testing.assert_allclose(once, solution, atol=1e-9)


def contraction(A):
    """Mean over all rows of what one projection leaves, as a matrix."""
    rows = A / np.linalg.norm(A, axis=1, keepdims=True)
    return np.eye(len(A)) - rows.T @ rows / len(A)


@pytest.mark.kernels
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_kaczmarz_contracts_as_the_theory_says(form, global_random_seed):
    """Over all rows, the mean squared error is e'(I - E P)e, and below its bound."""
    rng = np.random.default_rng(global_random_seed)
    A, b, solution = system(rng)
    start, ssq, undo = rng.standard_normal(8), np.sum(A**2, axis=1), np.ones(8)
    errors = []
    for i in range(8):
        y, rows = start.copy(), np.array([i])
        if form == "dense":
            kaczmarz_dense(A, b, y, ssq, rows, undo, 0.0)
        else:
            C = sp.csr_matrix(A)
            indices, indptr = C.indices.astype(np.int64), C.indptr.astype(np.int64)
            kaczmarz_sparse(C.data, indices, indptr, b, y, ssq, rows, undo, 0.0)
        assert A[i] @ y == pytest.approx(b[i])
        errors.append(np.sum((y - solution) ** 2))
    e = start - solution
    assert np.mean(errors) == pytest.approx(e @ contraction(A) @ e)
    rate = 1 - np.linalg.eigvalsh(np.eye(8) - contraction(A))[0]
    assert np.mean(errors) <= rate * (e @ e) * (1 + 1e-12)
    weighted = np.average(errors, weights=ssq)  # rows by their squared norms
    bound = 1 - np.linalg.svd(A, compute_uv=False)[-1] ** 2 / np.sum(A**2)
    assert weighted <= bound * (e @ e) * (1 + 1e-12)


@pytest.mark.kernels
def test_many_kaczmarz_steps_stay_below_the_expected_error(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A, b, solution = system(rng)
    ssq, undo, errors = np.sum(A**2, axis=1), np.ones(8), []
    start, steps = rng.standard_normal(8), 40
    for _ in range(400):
        y = start.copy()
        kaczmarz_dense(A, b, y, ssq, rng.integers(8, size=steps), undo, 0.0)
        errors.append(np.sum((y - solution) ** 2))
    rate = np.linalg.eigvalsh(contraction(A))[-1]
    assert np.mean(errors) <= 2 * rate**steps * np.sum((start - solution) ** 2)


@pytest.mark.kernels
def test_steps_stop_at_the_goal(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A, b, solution = system(rng)
    undo = rng.uniform(0.5, 2, 8)
    y = np.zeros(8)
    rows = rng.integers(8, size=100_000)
    used, size = kaczmarz_dense(A, b, y, np.sum(A**2, axis=1), rows, undo, 1e-6)
    assert used < 100_000
    assert used % 8 == 0
    assert size == pytest.approx(np.linalg.norm((A @ y - b) * undo), rel=1e-6)
    assert size <= 1e-6
    y, vectors = np.zeros(8), rng.standard_normal((20_000, 8))
    used, size = project_on_vectors(A, b, y, vectors, undo, 1e-6)
    assert used < 20_000
    np.testing.assert_allclose(y, solution, atol=1e-5)


def test_rows_of_zeros_are_skipped():
    A, b, y = np.diag([0.0, 2.0]), np.array([1.0, 2.0]), np.zeros(2)
    kaczmarz_dense(A, b, y, np.array([0.0, 4.0]), np.array([0, 1]), np.ones(2), 0.0)
    np.testing.assert_array_equal(y, [0, 1])


def test_equilibration(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    scales = 10.0 ** rng.uniform(-4, 4, 8)
    K = rng.standard_normal((8, 8))
    K = scales[:, None] * (K + K.T) * scales
    for form in (np.asarray, sp.csr_matrix):
        scaled, D = equilibrate(form(K))
        scaled = scaled.toarray() if sp.issparse(scaled) else scaled
        np.testing.assert_allclose(scaled, D[:, None] * K * D)
        largest = np.abs(scaled).max(axis=1)
        assert (largest > 0.5).all()
        assert (largest < 2).all()


@pytest.mark.parametrize("scaling", ["equilibrate", "preconditioner", "none"])
def test_a_sketch_with_all_rows_solves_at_once(scaling, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    H, rows = np.eye(N) + np.diag(rng.random(N)), rng.standard_normal((M, N))
    rhs = rng.standard_normal(N + M)
    inner = SketchAndProject(
        Shifts(0.1), "subsample", N + M, scaling, None, np.random.RandomState(0)
    )
    inner.prepare(H, Jacobian([rows], N), rhs)
    z, residual, used = inner.improve(1e-8)
    K = np.block([[H, rows.T], [rows, np.zeros((M, M))]])
    np.testing.assert_allclose(K @ z, rhs, atol=1e-7)
    assert residual <= 1e-8
    assert used == 1


# --- factorisations -----------------------------------------------------------------
def symmetric(rng, kind, n):
    root = rng.standard_normal((n, n))
    if kind == "definite":
        return root @ root.T + 0.1 * np.eye(n)
    if kind == "flat":
        return root[:, : n // 2] @ root[:, : n // 2].T
    return root + root.T


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["definite", "flat", "indefinite"]),
    name=st.sampled_from(sorted(DIRECT)),
    n=st.integers(2, 9),
    m=st.integers(0, 3),
    unit=st.sampled_from([1e-4, 1.0, 1e4]),
)
def test_factorisations_solve_with_a_definite_matrix(seed, kind, name, n, m, unit):
    """H + tau I is positive definite on the null space; tau is zero where H was."""
    rng = np.random.default_rng(seed)
    m = min(m, n - 1)
    H, rows = unit * symmetric(rng, kind, n), rng.standard_normal((m, n)) / unit
    G = Jacobian([rows], n)
    solver = DIRECT[name](Shifts(0.1 * unit))
    tau = solver.prepare(H, G)
    Z = null_space(rows)
    low = np.linalg.eigvalsh(Z.T @ (H + tau * np.eye(n)) @ Z)[0]
    assert low > -1e-10 * unit
    assert tau == 0 or kind != "definite"
    if kind == "flat":
        assert tau <= 2 * SLIGHT * hessian_norm(H)
    if kind == "indefinite" and tau:
        assert low >= 0.1 * unit * (1 - 1e-6)
    if kind == "flat":
        return  # the system itself is singular up to the shift
    r1, r2 = rng.standard_normal(n), rng.standard_normal(m)
    dx, dlam = solver.solve(r1, r2)
    for _ in range(3):  # refinement, as the caller makes it
        s1 = r1 - H @ dx - tau * dx - rows.T @ dlam
        s2 = r2 - rows @ dx
        more = solver.solve(s1, s2)
        dx, dlam = dx + more[0], dlam + more[1]
    size = np.linalg.norm(np.r_[r1, r2])
    rounding = 1e-11 * np.linalg.norm(abs(H) @ abs(dx) + tau * abs(dx))
    residual = np.linalg.norm(H @ dx + tau * dx + rows.T @ dlam - r1)
    assert residual <= 1e-6 * size + rounding
    assert np.linalg.norm(rows @ dx - r2) <= 1e-6 * size + rounding


@pytest.mark.parametrize("cls", [LDL, Schur, SparseLU])
def test_large_matrices_grow_their_shift(cls, global_random_seed):
    """Above the size up to which eigenvalues are computed."""
    rng = np.random.default_rng(global_random_seed)
    n, m = 310, 4
    h = rng.uniform(0.5, 1, n)
    rows = rng.standard_normal((m, n))
    G = Jacobian([rows], n)
    for low in (-2.0, 0.0):
        h[:6] = low
        tau = cls(Shifts(0.1)).prepare(np.diag(h), G)
        reduced = smallest_reduced_eigenvalue(np.diag(h + tau), G)
        assert reduced > 0
        assert tau <= (40 if low else 1e-6)


def test_shifts():
    shifts = Shifts(0.1)
    assert shifts.from_eigenvalue(-1.0, 1.0) == pytest.approx(1.1)
    assert shifts.from_eigenvalue(-1e-13, 1.0) == SLIGHT
    assert shifts.from_eigenvalue(0.0, 0.0) == pytest.approx(0.1)
    G = Jacobian([np.eye(3)[:1]], 3)
    H = np.diag([-5.0, 1.0, 2.0])  # the negative entry is not in the null space
    assert smallest_reduced_eigenvalue(H, G) == pytest.approx(1.0)
    norm = Shifts(0.1, "norm")
    assert norm.ahead(H, G) == 0
    assert norm.ahead(-H, G) == pytest.approx(0.1 + np.sqrt(30))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("width", [5, 5000])
def test_gram_of_any_order_and_width(width, order, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    rows = np.array(rng.standard_normal((3, width)), order=order)
    weight = rng.random(width)
    expected = np.tril(rows * weight @ rows.T)
    dense = gram(Jacobian([rows], width), weight)
    np.testing.assert_allclose(np.tril(dense), expected)
    sparse = gram(Jacobian([sp.csr_matrix(rows)], width), weight)
    np.testing.assert_allclose(np.tril(sparse), expected)


# --- Krylov -------------------------------------------------------------------------
@pytest.mark.parametrize("name", sorted(KRYLOV))
@pytest.mark.parametrize("m", [0, 3])
def test_krylov_steps(name, m, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    n = 30
    H, rows = symmetric(rng, "definite", n), rng.standard_normal((m, n))
    rhs = rng.standard_normal(n + m)
    inner = KRYLOV[name](Shifts(0.1), None)
    for form in (H, LinearOperator(H.shape, matvec=lambda v: H @ v, dtype=float)):
        inner.prepare(form, Jacobian([rows], n), rhs)
        size = np.linalg.norm(rhs)
        for goal in (1e-1, 1e-6):  # goes on from where it was
            z, residual, _ = inner.improve(goal * size)
            assert residual <= 1.001 * goal * size
        x, lam = z[:n], z[n:]
        r = np.r_[H @ x + rows.T @ lam, rows @ x] - rhs
        assert np.linalg.norm(r) == pytest.approx(residual, rel=1e-3, abs=1e-10)


def test_minres_finds_negative_curvature(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    n = 20
    H = np.diag(np.r_[-1.0, rng.uniform(1, 2, n - 1)])
    inner = KRYLOV["minres"](Shifts(0.1), None)
    inner.prepare(H, Jacobian([rng.standard_normal((2, n))], n), np.ones(n + 2))
    inner.improve(1e-8)
    assert inner.tau > 0
    np.testing.assert_allclose(inner.H_dx, H @ inner.dx, atol=1e-9)


def test_constraint_preconditioner_is_exact(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    d, rows = rng.uniform(0.5, 2, N), rng.standard_normal((M, N))
    preconditioner = ConstraintPreconditioner()
    preconditioner.prepare(np.diag(d), Jacobian([rows[:1], sp.csr_matrix(rows[1:])], N))
    r1, r2 = rng.standard_normal(N), rng.standard_normal(M)
    u, v = preconditioner.solve(r1, r2)
    np.testing.assert_allclose(d * u + rows.T @ v, r1)
    np.testing.assert_allclose(rows @ u, r2)


# --- matrices -----------------------------------------------------------------------
FORMS = {
    "diagonal": np.diag,
    "dense": np.asarray,
    "sparse": sp.csc_matrix,
    "operator": lambda H: LinearOperator(H.shape, matvec=lambda v: H @ v, dtype=float),
}


@pytest.mark.parametrize("two", FORMS)
@pytest.mark.parametrize("one", FORMS)
def test_sums_of_hessians(one, two, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A, B = np.diag(rng.random(4)), np.diag(rng.random(4))
    total = add_hessians(FORMS[one](A), FORMS[two](B))
    v = rng.standard_normal(4)
    np.testing.assert_allclose(hessian_dot(total, v), (A + B) @ v)
    np.testing.assert_allclose(dense_hessian(total), A + B)
    np.testing.assert_allclose(sparse_hessian(total).toarray(), A + B)
    assert kind_of(total) == {one, two}.pop() if one == two else True
    if "operator" not in (one, two):
        np.testing.assert_allclose(hessian_diagonal(total), np.diag(A + B))
        assert hessian_norm(total) == pytest.approx(np.linalg.norm(A + B))
    else:
        assert hessian_norm(total) == pytest.approx(np.linalg.norm(A + B), rel=0.5)


def test_stacked_jacobian(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    rows = rng.standard_normal((5, 4))
    G = Jacobian([rows[:2], np.zeros((0, 4)), sp.csr_matrix(rows[2:])], 4)
    v, y = rng.standard_normal(4), rng.standard_normal(5)
    np.testing.assert_allclose(G.dot(v), rows @ v)
    np.testing.assert_allclose(G.tdot(y), rows.T @ y)
    np.testing.assert_allclose(G.dense(), rows)
    np.testing.assert_allclose(G.sparse().toarray(), rows)
    np.testing.assert_allclose(G.row_norms(), np.linalg.norm(rows, axis=1))
    assert not G.is_sparse
    assert G.is_finite()
    rows[0, 0] = np.inf
    assert not Jacobian([rows], 4).is_finite()


@pytest.mark.parametrize(("scheme", "error"), [("2-point", 1e-6), ("3-point", 1e-9)])
def test_differences(scheme, error, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    problem, x = Curved(rng), rng.standard_normal(N)
    found = jacobian_by_differences(problem.c, x, scheme)
    np.testing.assert_allclose(found, problem.G(x), atol=50 * error)


def test_rank_one_updates_learn_quadratics(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    problem, learner = Curved(rng), SymmetricRankOne(M, N)
    last = None
    for _ in range(N + 2):
        x = rng.standard_normal(N)
        learner.update(x, last, problem.G(x))
        last = problem.G(x)
    lam = rng.standard_normal(M)
    expected = np.tensordot(lam, problem.C, 1)
    np.testing.assert_allclose(learner.matrix(lam), expected, atol=1e-6)


def rank_of(A):
    return np.linalg.matrix_rank(A) if A.size else 0  # numpy 2.0 has none for no rows


# --- redundancy ---------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    m=st.integers(1, 7),
    n=st.integers(1, 6),
    rank=st.integers(0, 5),
    sparse=st.booleans(),
)
def test_kept_rows_are_a_basis(seed, m, n, rank, sparse):
    rng = np.random.default_rng(seed)
    rank = min(rank, m, n)
    A = rng.integers(-3, 4, (m, rank)) @ rng.integers(-3, 4, (rank, n)) * 1.0
    b = A @ rng.standard_normal(n)
    A[np.all(A == 0, axis=1)] = 0.0
    rows = sp.csr_matrix(A) if sparse else A
    found = check_linear([Linear(rows, b, "A")])
    assert rank_of(A) == found.keep.sum()
    assert rank_of(A[found.keep]) == found.keep.sum()
    assert len(found.words) == m - found.keep.sum()
    b[-1] += 1.0
    others = A[:-1][found.keep[:-1]]
    free = rank_of(np.vstack([others, A[-1:]])) > len(others)
    if free:
        assert check_linear([Linear(rows, b, "A")]).keep.sum() == found.keep.sum()
    else:
        with pytest.raises(ValueError, match="Infeasible linear constraints"):
            check_linear([Linear(rows, b, "A")])


def test_part_within_reach(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    rows = rng.standard_normal((2, 5))
    G = Jacobian([np.vstack([rows, rows[:1]])], 5)
    c = rng.standard_normal(3)
    expected = G.dense() @ np.linalg.lstsq(G.dense(), c, rcond=None)[0]
    np.testing.assert_allclose(within_reach(G, c), expected, atol=1e-10)
