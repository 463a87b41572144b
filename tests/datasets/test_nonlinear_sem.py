# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from scipy.special import expit

from skpapers.datasets import make_logistic_sem, make_nonlinear_sem
from skpapers.utils._graph import is_dag


def test_logistic_probabilities(global_random_seed):
    # Given its causes a variable is a coin: the standardised residuals are
    # uncorrelated with the causes' log-odds and have variance 1.
    n = 50_000
    sem = make_logistic_sem(n, 6, 9, random_state=global_random_seed)
    assert set(np.unique(sem.X)) == {0.0, 1.0}
    assert is_dag(sem.W)
    assert (sem.W != 0).sum() == 9
    p = expit(sem.X @ sem.W)
    residual = (sem.X - p) / np.sqrt(p * (1 - p))
    assert (abs(residual.mean(axis=0)) < 5 / np.sqrt(n)).all()
    np.testing.assert_allclose((residual**2).mean(axis=0), 1, atol=0.05)
    centred = sem.X - sem.X.mean(axis=0)
    score = centred.T @ residual / n  # zero for each cause of each effect
    assert (abs(score[sem.W != 0]) < 5 * 0.5 / np.sqrt(n)).all()
    roots = ~sem.W.any(axis=0)
    np.testing.assert_allclose(p[:, roots], 0.5)


def test_logistic_every_parent_configuration():
    # One effect with two causes: the four conditional frequencies.
    n = 100_000
    seed = next(
        s
        for s in range(100)
        if (make_logistic_sem(1, 3, 2, random_state=s).W != 0).sum(axis=0).max() == 2
    )
    sem = make_logistic_sem(n, 3, 2, random_state=seed)
    effect = int(np.flatnonzero(sem.W.any(axis=0))[0])
    a, b = np.flatnonzero(sem.W[:, effect])
    for x_a in (0.0, 1.0):
        for x_b in (0.0, 1.0):
            rows = (sem.X[:, a] == x_a) & (sem.X[:, b] == x_b)
            expected = expit(x_a * sem.W[a, effect] + x_b * sem.W[b, effect])
            tolerance = 5 * 0.5 / np.sqrt(rows.sum())
            assert sem.X[rows, effect].mean() == pytest.approx(expected, abs=tolerance)


def test_nonlinear_is_the_stated_model(global_random_seed):
    d, m, n, h = 7, 12, 40, 100
    sem = make_nonlinear_sem(n, d, m, random_state=global_random_seed)

    rng = np.random.default_rng(global_random_seed)
    pairs = [(i, j) for i in range(d) for j in range(i + 1, d)]
    chosen = rng.choice(len(pairs), size=m, replace=False)
    perm = rng.permutation(d)
    dag = np.zeros((d, d), dtype=bool)
    for c in chosen:
        dag[perm[pairs[c][0]], perm[pairs[c][1]]] = True
    Z = rng.standard_normal((n, d))
    X = np.zeros((n, d))
    for j in perm:
        X[:, j] = Z[:, j]
        causes = [i for i in range(d) if dag[i, j]]
        if causes:
            A = rng.uniform(0.5, 2, (len(causes), h))
            A *= rng.choice([-1, 1], (len(causes), h))
            v = rng.uniform(0.5, 2, h) * rng.choice([-1, 1], h)
            X[:, j] += (1 / (1 + np.exp(-X[:, causes] @ A))) @ v

    np.testing.assert_array_equal(sem.dag, dag)
    np.testing.assert_array_equal(sem.order, perm)
    np.testing.assert_allclose(sem.X, X, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(sem.X - sem.signal, Z, rtol=1e-9, atol=1e-9)


def test_nonlinear_noise(global_random_seed):
    sem = make_nonlinear_sem(
        20_000,
        5,
        6,
        n_hidden=10,
        noise="laplace",
        noise_variance=[0.1, 1, 2, 5, 9],
        random_state=global_random_seed,
    )
    Z = sem.X - sem.signal
    np.testing.assert_allclose(Z.var(axis=0), sem.noise_variance, rtol=0.12)
    roots = ~sem.dag.any(axis=0)
    assert not sem.signal[:, roots].any()
    assert (sem.signal[:, ~roots].std(axis=0) > 0).all()


@pytest.mark.parametrize("make", [make_logistic_sem, make_nonlinear_sem])
@pytest.mark.parametrize("graph", ["er", "er_bernoulli", "sf", "bipartite"])
def test_reproducible_on_each_graph(make, graph, global_random_seed):
    first = make(10, 6, 5, graph=graph, random_state=global_random_seed)
    second = make(10, 6, 5, graph=graph, random_state=global_random_seed)
    np.testing.assert_array_equal(first.X, second.X)
    rng = np.random.default_rng(global_random_seed)
    np.testing.assert_array_equal(
        make(10, 6, 5, graph=graph, random_state=rng).X, first.X
    )
    assert not np.array_equal(
        make(10, 6, 5, graph=graph, random_state=rng).X, first.X
    )  # the stream goes on


@pytest.mark.parametrize("make", [make_logistic_sem, make_nonlinear_sem])
def test_as_frame(make):
    pytest.importorskip("pandas")
    frame = make(4, 3, 2, as_frame=True, random_state=0).X
    assert list(frame.columns) == ["x0", "x1", "x2"]
    np.testing.assert_array_equal(frame, make(4, 3, 2, random_state=0).X)


@pytest.mark.parametrize("make", [make_logistic_sem, make_nonlinear_sem])
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_samples": 0}, "The 'n_samples' parameter"),
        ({"n_samples": "population"}, "The 'n_samples' parameter"),
        ({"n_edges": 1000}, "n_edges=1000 is too many"),
        ({"weight_range": (1, 0)}, "weight_range"),
        ({"random_state": -3}, "random_state=-3"),
    ],
)
def test_bad_parameters(make, options, match):
    with pytest.raises(ValueError, match=match):
        make(**options)


def test_nonlinear_bad_hidden_size():
    with pytest.raises(ValueError, match="The 'n_hidden' parameter"):
        make_nonlinear_sem(n_hidden=0)
