# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from scipy import stats

from skpapers.datasets import _linear_sem as module
from skpapers.datasets import make_linear_sem, random_dag, simulate_linear_sem

NOISES = ["gaussian", "exponential", "laplace", "gumbel", "uniform"]


def reference_draw(seed, n, d, m, low, high, variance_range):
    """The published draw, word for word."""
    rng = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(d) for j in range(i + 1, d)]
    chosen = rng.choice(len(pairs), size=m, replace=False)
    perm = rng.permutation(d)
    mask = np.zeros((d, d))
    for c in chosen:
        i, j = pairs[c]
        mask[perm[i], perm[j]] = 1
    magnitudes = rng.uniform(low, high, (d, d))
    signs = rng.choice([-1, 1], (d, d))
    W = mask * magnitudes * signs
    v = np.ones(d) if variance_range is None else rng.uniform(*variance_range, d)
    Z = rng.standard_normal((n, d)) * np.sqrt(v)
    return Z @ np.linalg.inv(np.eye(d) - W), W, v, perm


@pytest.mark.parametrize(
    ("weight_range", "variance_range"), [((0.5, 2.0), None), ((0.25, 1.0), (0.5, 10.0))]
)
@pytest.mark.parametrize(("d", "m"), [(2, 1), (5, 8), (20, 80), (100, 400)])
def test_reference_draw(weight_range, variance_range, d, m, global_random_seed):
    X, W, v, perm = reference_draw(
        global_random_seed, 300, d, m, *weight_range, variance_range
    )
    sem = make_linear_sem(
        300,
        d,
        m,
        weight_range=weight_range,
        noise_variance=1.0 if variance_range is None else variance_range,
        random_state=global_random_seed,
    )
    np.testing.assert_array_equal(sem.W, W)
    np.testing.assert_array_equal(sem.noise_variance, v)
    np.testing.assert_array_equal(sem.order, perm)
    np.testing.assert_allclose(sem.X, X, rtol=0, atol=1e-11 * abs(X).max())


FROZEN = {
    "order": [2, 0, 1],
    "W": [[0, 0, 0], [0, 0, 0], [-0.5413386698646026, -1.6302696630122098, 0]],
    "v": [4.329573371247728, 2.4328247864234216, 2.9919767341975705],
    "X": [
        [-1.1947824480301867, -4.079043313701067, 2.238385064509455],
        [3.8635724418502004, 1.0981481034023135, -3.2674888126756834],
    ],
}


def test_reference_draw_is_frozen():
    # These figures must not change with a release: published results rest on them.
    sem = make_linear_sem(2, 3, 2, noise_variance=(0.5, 10.0), random_state=1)
    np.testing.assert_array_equal(sem.order, FROZEN["order"])
    np.testing.assert_allclose(sem.W, FROZEN["W"], rtol=1e-12)
    np.testing.assert_allclose(sem.noise_variance, FROZEN["v"], rtol=1e-12)
    np.testing.assert_allclose(sem.X, FROZEN["X"], rtol=1e-10)


@pytest.mark.parametrize("solve", [module._propagate_dense, module._propagate_sparse])
@pytest.mark.parametrize("m", [0, 10, 60, 435])
def test_both_solvers_satisfy_the_equations(solve, m, global_random_seed, monkeypatch):
    sem = make_linear_sem(700, 30, m, random_state=global_random_seed)
    Z = np.random.default_rng(global_random_seed).standard_normal((700, 30))
    monkeypatch.setattr(module, "BLOCK_SIZE", 30 * 300)  # several blocks
    X = solve(sem.W, Z, sem.order)
    np.testing.assert_allclose(X - X @ sem.W, Z, atol=1e-11 * abs(X).max())
    assert X.flags.c_contiguous


@pytest.mark.parametrize("noise", NOISES)
def test_noise_has_mean_zero_and_the_requested_variance(noise, global_random_seed):
    n = 200_000
    variance = np.array([0.5, 1.0, 9.0])
    X = simulate_linear_sem(
        np.zeros((3, 3)),
        n,
        noise=noise,
        noise_variance=variance,
        random_state=global_random_seed,
    )
    assert (abs(X.mean(axis=0)) < 5 * np.sqrt(variance / n)).all()
    # The exponential's kurtosis of 9 gives the variance a relative error of 0.6 %.
    np.testing.assert_allclose(X.var(axis=0), variance, rtol=0.035)


@pytest.mark.parametrize(
    ("noise", "distribution"),
    [
        ("gaussian", stats.norm(0, np.sqrt(2))),
        ("exponential", stats.expon(-np.sqrt(2), np.sqrt(2))),
        ("laplace", stats.laplace(0, 1)),
        (
            "gumbel",
            stats.gumbel_r(-np.euler_gamma * np.sqrt(12) / np.pi, np.sqrt(12) / np.pi),
        ),
        ("uniform", stats.uniform(-np.sqrt(6), 2 * np.sqrt(6))),
    ],
)
def test_noise_has_the_requested_distribution(noise, distribution, global_random_seed):
    x = simulate_linear_sem(
        [[0.0]],
        20_000,
        noise=noise,
        noise_variance=2.0,
        random_state=global_random_seed,
    ).ravel()
    assert stats.kstest(x, distribution.cdf).pvalue > 1e-5


@pytest.mark.parametrize("noise", NOISES)
def test_empirical_covariance_is_near_the_populations(noise, global_random_seed):
    sem = make_linear_sem(
        100_000,
        8,
        14,
        noise=noise,
        noise_variance=(0.5, 3.0),
        return_covariance=True,
        random_state=global_random_seed,
    )
    inverse = np.linalg.inv(np.eye(8) - sem.W)
    expected = inverse.T @ np.diag(sem.noise_variance) @ inverse
    np.testing.assert_allclose(sem.covariance, expected, rtol=1e-10, atol=1e-12)
    error = np.linalg.norm(np.cov(sem.X, rowvar=False) - expected)
    assert error < 0.05 * np.linalg.norm(expected)


def test_population(global_random_seed):
    options = {"noise_variance": (0.5, 10.0), "random_state": global_random_seed}
    sem = make_linear_sem("population", 10, 20, **options)
    drawn = make_linear_sem(5, 10, 20, return_covariance=True, **options)
    assert sem.X is None
    np.testing.assert_array_equal(sem.W, drawn.W)
    np.testing.assert_array_equal(sem.covariance, drawn.covariance)
    assert "covariance" not in make_linear_sem(5, 10, 20, **options)
    np.testing.assert_allclose(
        simulate_linear_sem(sem.W, "population", noise_variance=sem.noise_variance),
        sem.covariance,
        rtol=1e-12,
        atol=1e-12,
    )


def test_make_is_random_dag_weights_and_simulate(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    sem = make_linear_sem(50, 12, 20, graph="sf", random_state=global_random_seed)
    dag = random_dag(12, 20, graph="sf", random_state=rng)
    np.testing.assert_array_equal(sem.W != 0, dag)
    backward = np.tril(sem.W[np.ix_(sem.order, sem.order)])
    assert not backward.any()


@pytest.mark.parametrize("noise", NOISES)
def test_seeds_are_reproducible_and_the_global_state_is_untouched(
    noise, global_random_seed
):
    def draw(random_state):
        return make_linear_sem(
            20, 6, 9, noise=noise, noise_variance=(1, 2), random_state=random_state
        ).X

    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = draw(global_random_seed)
    np.testing.assert_array_equal(first, draw(global_random_seed))
    assert not np.array_equal(first, draw(global_random_seed + 1))
    assert not np.array_equal(draw(None), draw(None))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_generator_continues_its_stream(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    W = np.array([[0.0, 1.0], [0.0, 0.0]])
    first = simulate_linear_sem(W, 10, random_state=rng)
    second = simulate_linear_sem(W, 10, random_state=rng)
    both = simulate_linear_sem(W, 20, random_state=global_random_seed)
    np.testing.assert_array_equal(np.vstack([first, second]), both)


def test_input_is_not_changed_and_may_be_read_only():
    W = np.array([[0, 2], [0, 0]])
    variance = np.array([1.0, 2.0])
    W.flags.writeable = variance.flags.writeable = False
    X = simulate_linear_sem(W, 5, noise_variance=variance, random_state=0)
    assert X.flags.writeable
    assert X.dtype == np.float64
    np.testing.assert_array_equal(W, [[0, 2], [0, 0]])


def test_variance_given_one_by_one_or_as_a_range(global_random_seed):
    def covariance(noise_variance):
        return simulate_linear_sem(
            np.zeros((2, 2)),
            "population",
            noise_variance=noise_variance,
            random_state=global_random_seed,
        )

    np.testing.assert_allclose(covariance([1.0, 4.0]), np.diag([1.0, 4.0]))
    np.testing.assert_allclose(covariance(3), np.diag([3.0, 3.0]))
    np.testing.assert_allclose(covariance(0.0), np.zeros((2, 2)))
    drawn = np.diag(covariance((1.0, 4.0)))
    assert ((drawn > 1) & (drawn < 4)).all()


def test_one_sample_one_feature():
    assert make_linear_sem(1, 1, random_state=0).X.shape == (1, 1)


def test_as_frame(global_random_seed):
    pd = pytest.importorskip("pandas")
    frame = make_linear_sem(9, 4, 3, as_frame=True, random_state=global_random_seed).X
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["x0", "x1", "x2", "x3"]
    array = make_linear_sem(9, 4, 3, random_state=global_random_seed).X
    np.testing.assert_array_equal(frame.to_numpy(), array)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"noise_variance": (2.0, 1.0)}, r"noise_variance=\(2.0, 1.0\).*range"),
        ({"noise_variance": (1.0, 2.0, 3.0)}, "as an array"),
        ({"noise_variance": [1.0, 2.0]}, r"shape \(2,\).*array of 3 variances"),
        ({"noise_variance": [1.0, -2.0, 1.0]}, "not negative"),
        ({"noise_variance": [1.0, np.nan, 1.0]}, "finite"),
        ({"noise_variance": -1.0}, "The 'noise_variance' parameter"),
        ({"noise": "cauchy"}, "The 'noise' parameter"),
        ({"n_samples": 0}, "The 'n_samples' parameter"),
        ({"n_samples": "all"}, "The 'n_samples' parameter"),
        ({"weight_range": (2, 1)}, "weight_range"),
        ({"n_edges": 4}, "n_edges=4 is too many"),
        ({"random_state": np.random.RandomState(0)}, "random_state"),
    ],
)
def test_bad_parameters(options, match):
    with pytest.raises(ValueError, match=match):
        make_linear_sem(**({"n_features": 3} | options))


@pytest.mark.parametrize(
    ("W", "match"),
    [
        ([[0.0, 1.0], [1.0, 0.0]], "acyclic"),
        ([[0.5]], "acyclic"),
        ([[0.0, 1.0]], "square"),
        ([[0.0, np.inf], [0.0, 0.0]], "infinity"),
    ],
)
def test_simulate_bad_weights(W, match):
    with pytest.raises(ValueError, match=match):
        simulate_linear_sem(W)


@pytest.mark.parametrize("n_samples", [5, "population"])
def test_overflow_is_an_error(n_samples):
    W = np.diag(np.full(9, 1e100), k=1)
    with pytest.raises(ValueError, match="too large for float64"):
        simulate_linear_sem(W, n_samples, random_state=0)
