# SPDX-License-Identifier: BSD-3-Clause
"""TopologicalSwapMLP: gradients, searches and graphs against slow twins."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skpapers.causal import TopologicalSwap, TopologicalSwapMLP
from skpapers.causal._network_fits import SMOOTHING, NetworkFits
from skpapers.causal._topological_swap_mlp import (
    Networks,
    best_insertion,
    prune,
)
from skpapers.datasets import make_nonlinear_sem
from skpapers.metrics import is_dag, structural_hamming_distance

torch = pytest.importorskip("torch")


def nonlinear(seed, d=5, n=400, n_edges=6):
    return make_nonlinear_sem(n, d, n_edges, random_state=seed)


def standardised(X):
    X = X - X.mean(axis=0)
    return X / X.std(axis=0)


def make_fits(X, share=None, **changes):
    options = {
        "hidden": 4,
        "alpha1": 0.003,
        "alpha2": 0.01,
        "logarithm": False,
        "tol": 1e-6,
        "max_iter": 2000,
        "seed": 0,
        "device": "cpu",
    }
    share = np.full(len(X), 1 / len(X)) if share is None else share
    return NetworkFits(standardised(X), standardised(X), share, **options | changes)


def plain_loss(fits, node, p, share, X):
    """The loss of a network, written for one."""
    A, a, v, c = (part[0] for part in fits.weights(p[None]))
    f = c + (1 / (1 + np.exp(-(X @ A.T + a)))) @ v
    m = share @ (f - X[:, node]) ** 2
    size = (np.sqrt(A**2 + SMOOTHING**2) - SMOOTHING).sum()
    squares = (A**2).sum() + (v**2).sum()
    fit = np.log(m) / 2 if fits.logarithm else m / 2
    return fit + fits.alpha1 * size + fits.alpha2 / 2 * squares


@pytest.mark.parametrize("logarithm", [False, True])
def test_loss_and_gradient(logarithm, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((50, 3))
    share = rng.dirichlet(np.ones(50))
    fits = make_fits(X, share, logarithm=logarithm)
    p = rng.standard_normal((2, fits.size))
    y, mask = fits.Y[:, [2, 0]], torch.ones(2, fits.size, dtype=torch.float64)
    q, g = fits._loss(torch.tensor(p), y, mask)
    expected = [
        plain_loss(fits, node, row, share, standardised(X))
        for node, row in zip([2, 0], p, strict=True)
    ]
    np.testing.assert_allclose(q.numpy(), expected)
    for k in range(fits.size):
        step = np.zeros_like(p)
        step[:, k] = 1e-6
        up, down = (fits._loss(torch.tensor(p + s), y, mask)[0] for s in (step, -step))
        np.testing.assert_allclose(g[:, k], (up - down) / 2e-6, atol=1e-7)


def test_training_ends_where_the_gradient_does_and_respects_masks(global_random_seed):
    X = nonlinear(global_random_seed).X
    fits = make_fits(X, tol=1e-10, max_iter=5000)
    nodes = np.array([0, 1, 1])
    masks = np.array([[0, 1, 1, 0, 0], [1, 0, 0, 1, 0], [0, 0, 0, 0, 0]], dtype=bool)
    losses, p = fits.train(nodes, masks, fits.fresh[nodes])
    strengths = fits.strengths(p)
    assert (strengths[~masks] == 0).all()
    free = torch.tensor(
        np.hstack([np.tile(masks, (1, 4)), np.ones((3, 9), dtype=bool)]).astype(float)
    )
    q, g = fits._loss(torch.tensor(p), fits.Y[:, nodes], free)
    np.testing.assert_allclose(losses, q)
    assert g.abs().max() < 1e-3
    np.testing.assert_allclose(losses[2], 0.5, atol=1e-3)  # no inputs: the variance
    squares = fits.mean_squares(nodes, p)
    assert (losses >= squares / 2).all()


def test_a_batch_is_many_trainings(global_random_seed):
    X = nonlinear(global_random_seed).X
    fits = make_fits(X, max_iter=60)
    nodes = np.arange(5)
    masks = ~np.eye(5, dtype=bool)
    together = fits.train(nodes, masks, fits.fresh)[0]
    alone = [
        fits.train(nodes[[j]], masks[[j]], fits.fresh[[j]])[0][0] for j in range(5)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_more_columns_never_cost(global_random_seed):
    """Also not from a network without inputs, whose units do nothing."""
    rng = np.random.default_rng(global_random_seed)
    x = rng.uniform(-3, 3, 400)
    X = np.column_stack([np.sin(x) + 0.1 * rng.standard_normal(400), x])
    fits = make_fits(X, hidden=8)
    node, none = np.array([0]), np.zeros((1, 2), dtype=bool)
    alone, p = fits.train(node, none, fits.fresh[:1])
    both, _ = fits.train(node, np.array([[False, True]]), p)
    assert both[0] < 0.5 * alone[0]
    unhelpful = np.array([[False, True]])
    noise = make_fits(rng.standard_normal((400, 2)), hidden=8)
    alone, p = noise.train(node, none, noise.fresh[:1])
    assert noise.train(node, unhelpful, p)[0][0] <= alone[0]


def test_insertions_are_differences_of_scores(global_random_seed):
    X = nonlinear(global_random_seed).X
    required = np.zeros((5, 5), dtype=bool)
    networks = Networks(make_fits(X, tol=1e-3), np.ones((5, 5), dtype=bool))
    order = np.random.default_rng(global_random_seed).permutation(5).tolist()
    losses = networks.use_order(order)
    for q in range(5):
        change, p = best_insertion(networks, order, losses, q, required)
        n_known = len(networks.known)
        changes = []
        for place in range(5):
            moved = order.copy()
            moved.insert(place, moved.pop(q))
            pairs = [(v, networks.inputs(v, moved[:k])) for k, v in enumerate(moved)]
            changes.append(sum(map(networks.loss, pairs)) - losses.sum())
        assert len(networks.known) == n_known  # all of them were trained
        np.testing.assert_allclose(change, min(*changes, 0.0), atol=1e-12)
        np.testing.assert_allclose(changes[p], change, atol=1e-12)
    assert len(networks.known) <= 5 + 2 * 5 * 4


def test_pruning_keeps_causes_and_required_inputs(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.uniform(-2, 2, (600, 4))
    X[:, 3] = np.sin(2 * X[:, 0]) + X[:, 1] ** 2 + 0.2 * rng.standard_normal(600)
    networks = Networks(make_fits(X, hidden=8, tol=1e-4), np.ones((4, 4), dtype=bool))
    networks.use_order([0, 1, 2, 3])
    required = np.zeros((4, 4), dtype=bool)
    required[2, 0] = required[0, 1] = True
    parents = prune(networks, [2, 0, 1, 3], required, 2 * np.log(600) / 600)
    assert parents == {2: set(), 0: {2}, 1: {0}, 3: {0, 1}}


@pytest.mark.parametrize("neighborhood", ["insertion", "paper"])
def test_better_than_linear_on_nonlinear_data(neighborhood):
    """Sums over draws: what a single one gives is a matter of luck."""
    distances = []
    for seed in (1, 2):
        sem = make_nonlinear_sem(500, 6, 10, random_state=seed)
        learner = TopologicalSwapMLP(neighborhood=neighborhood, random_state=0)
        graphs = [
            model.fit(sem.X).adjacency_ != 0
            for model in (TopologicalSwap(loss="squared"), learner)
        ]
        distances.append([structural_hamming_distance(sem.dag, g) for g in graphs])
        assert is_dag(graphs[1])
        assert (np.diff(learner.history_) < 0).all()
        assert learner.history_[-1] == learner.objective_
        assert learner.n_moves_ == len(learner.history_) - 1
        assert (learner.noise_std_ < 1.5).all()  # 1 in truth
    linear, ours = np.sum(distances, axis=0)
    assert ours < linear


@pytest.mark.parametrize("sparsifier", ["threshold", None])
def test_sparsifiers(sparsifier, global_random_seed):
    X = nonlinear(global_random_seed, 4, 300, 4).X
    learner = TopologicalSwapMLP(
        sparsifier=sparsifier, w_threshold=1.0, max_iter=3, random_state=0
    ).fit(X)
    raw, kept = learner.raw_adjacency_, learner.adjacency_ != 0
    place = np.argsort(learner.causal_order_)
    later = place[:, None] < place
    np.testing.assert_array_equal(kept, later & (raw >= 1.0) if sparsifier else later)


def test_fitted_networks_are_used(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    x = rng.uniform(-3, 3, 500)
    X = np.column_stack([np.sin(x) + 0.3 * rng.standard_normal(500), np.ones(500), x])
    learner = TopologicalSwapMLP("nonequal", random_state=0)
    with pytest.warns(UserWarning, match="Constant"):
        learner.fit(X)
    assert learner.causal_order_.tolist() == [2, 0, 1]
    assert np.argwhere(learner.adjacency_).tolist() == [[2, 0]]
    Z = learner.transform(X)
    np.testing.assert_allclose(Z, X - learner.predict(X))
    np.testing.assert_allclose(learner.inverse_transform(Z), X)
    spread = Z.std(axis=0)
    np.testing.assert_allclose(spread[[0, 2]], learner.noise_std_[[0, 2]], rtol=0.02)
    np.testing.assert_allclose(learner.noise_std_[0], 0.3, rtol=0.2)
    std = learner.noise_std_[[0, 2]]
    density = -0.5 * (np.log(2 * np.pi * std**2) + (Z[:, [0, 2]] / std) ** 2)
    np.testing.assert_allclose(learner.score(X), density.sum(axis=1).mean())
    rows = learner.intervene({2: np.pi / 2}, n_samples=2000, random_state=0)
    np.testing.assert_allclose(rows[:, 0].mean(), 1.0, atol=0.2)
    assert (rows[:, 2] == np.pi / 2).all()
    assert (rows[:, 1] == 1).all()
    rows = learner.intervene({0: 5.0}, n_samples=2000, random_state=0)
    np.testing.assert_allclose(rows[:, 2].mean(), x.mean(), atol=0.2)
    drawn = learner.sample(3000, random_state=1)
    np.testing.assert_allclose(drawn.std(axis=0), X.std(axis=0), rtol=0.15)
    assert list(learner.to_frame().columns) == ["source", "target", "weight"]
    with pytest.raises(ValueError, match="n_samples"):
        learner.intervene({0: 1.0}, n_samples=0)
    assert not hasattr(learner, "total_effects_")


def test_scale_of_the_table_does_not_matter(global_random_seed):
    X = nonlinear(global_random_seed, 4, 300, 4).X
    learner = TopologicalSwapMLP(max_iter=2, random_state=0)
    one, other = (clone(learner).fit(X * scale) for scale in (1.0, 2.0**20))
    np.testing.assert_array_equal(one.adjacency_, other.adjacency_)
    np.testing.assert_allclose(2.0**20 * one.predict(X), other.predict(2.0**20 * X))


def test_weights_are_repeated_rows(global_random_seed):
    X = nonlinear(global_random_seed, 4, 120, 4).X
    weight = np.random.default_rng(global_random_seed).integers(0, 3, 120)
    learner = TopologicalSwapMLP(max_iter=2, random_state=0)
    left = clone(learner).fit(X, sample_weight=weight)
    right = clone(learner).fit(np.repeat(X, weight, axis=0)[::-1])
    np.testing.assert_array_equal(left.hidden_weights_, right.hidden_weights_)
    np.testing.assert_allclose(left.predict(X), right.predict(X), atol=1e-9)


def test_knowledge(global_random_seed):
    X = nonlinear(global_random_seed, 5, 300, 6).X
    learner = TopologicalSwapMLP(
        forbidden_edges=[(0, 1), (1, 0)],
        required_edges=[(2, 4)],
        tiers=[[2, 3], [0]],
        max_iter=2,
        random_state=0,
    ).fit(X)
    A = learner.adjacency_ != 0
    assert A[2, 4]
    assert not A[[0, 1, 0, 0], [1, 0, 2, 3]].any()
    place = np.argsort(learner.causal_order_)
    assert place[2] < place[4]


def test_starts_and_the_end_of_patience(capsys):
    X = nonlinear(1, 4, 200, 4).X
    options = {"random_state": 0, "neighborhood": "insertion", "verbose": 1}
    for init in ("variance", "random", np.arange(4), TopologicalSwap("squared").fit(X)):
        learner = TopologicalSwapMLP(init=init, **options).fit(X)
        assert learner.objective_ <= learner.start_objective_
    assert "edges" in capsys.readouterr().out
    reverse = learner.causal_order_[::-1]
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        TopologicalSwapMLP(init=reverse, max_iter=1, **options).fit(X)


def test_says_what_to_install(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("skpapers.utils._optional.import_module", missing)
    with pytest.raises(ImportError, match=r'pip install "skpapers\[torch\]"'):
        TopologicalSwapMLP().fit(np.random.default_rng(0).standard_normal((20, 2)))


def test_no_streams():
    learner = TopologicalSwapMLP()
    assert not hasattr(learner, "partial_fit")
    assert not hasattr(learner, "fit_covariance")
