"""What every learner of linear graphs offers, shown on the simplest one."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.exceptions import NotFittedError

from skpapers.causal._base import BaseLinearDAG, LearnedDAG
from skpapers.utils import DataConditionWarning


class KnownOrder(BaseLinearDAG):
    """Least squares of each column on the columns before it."""

    _parameter_constraints: dict = {}

    def _learn(self, C, n_samples, columns):
        d = len(C)
        W = np.zeros((d, d))
        for j in range(1, d):
            W[:j, j] = np.linalg.solve(C[:j, :j], C[:j, j])
        return LearnedDAG(W, 2 * W, np.arange(d), np.ones(d), {"n_iter": 1})


class Interrupted(KnownOrder):
    """Breaks in the middle of every fit."""

    def _learn(self, C, n_samples, columns):
        raise KeyboardInterrupt


@pytest.fixture
def table(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    mixing = np.triu(rng.uniform(0.5, 1.5, (4, 4)))
    return rng.standard_normal((200, 4)) @ mixing + np.array([0, 5, -3, 100])


def test_residuals_and_back(table):
    learner = KnownOrder().fit(table)
    Z = learner.transform(table)
    np.testing.assert_allclose(Z, table - learner.predict(table), atol=1e-10)
    np.testing.assert_allclose(learner.inverse_transform(Z), table)
    np.testing.assert_allclose(Z.std(axis=0), learner.residual_std_)
    np.testing.assert_allclose(
        np.cov(Z.T, bias=True), np.diag(Z.var(axis=0)), atol=1e-9
    )


def test_score_is_the_gaussian_log_density(table):
    """A complete graph fits the covariance exactly, so the density is known."""
    learner = KnownOrder().fit(table)
    density = multivariate_normal(table.mean(axis=0), np.cov(table.T, bias=True))
    assert learner.score(table) == pytest.approx(density.logpdf(table).mean())


def test_sample_has_the_fitted_moments(table, global_random_seed):
    learner = KnownOrder().fit(table)
    rows = learner.sample(200_000, random_state=global_random_seed)
    np.testing.assert_allclose(rows.mean(axis=0), learner.mean_, atol=0.1)
    np.testing.assert_allclose(
        np.cov(rows.T), learner.covariance_, rtol=0.05, atol=0.05
    )
    again = learner.sample(200_000, random_state=global_random_seed)
    np.testing.assert_array_equal(rows, again)


def test_total_effects_sum_over_paths(table):
    learner = KnownOrder().fit(table)
    W = learner.adjacency_
    paths = np.eye(4) + W + W @ W + W @ W @ W
    np.testing.assert_allclose(learner.total_effects_, paths)


def test_intervention_moves_descendants_only(table):
    learner = KnownOrder().fit(table)
    base = learner.intervene({})
    np.testing.assert_allclose(base, learner.mean_)
    moved = learner.intervene({"x1": learner.mean_[1] + 2})
    np.testing.assert_allclose(moved - base, 2 * learner.total_effects_[1])
    # two at once: the edge between them is cut
    both = learner.intervene({0: 1.0, 1: 7.0})
    assert both[0] == pytest.approx(1)
    assert both[1] == pytest.approx(7)
    direct = learner.adjacency_
    by_hand = learner.mean_[2] + (both[:2] - learner.mean_[:2]) @ direct[:2, 2]
    assert both[2] == pytest.approx(by_hand)


def test_sample_under_intervention(table, global_random_seed):
    learner = KnownOrder().fit(table)
    rows = learner.intervene(
        {2: 4.0}, n_samples=50_000, random_state=global_random_seed
    )
    assert np.ptp(rows[:, 2]) == pytest.approx(0, abs=1e-12)
    expected = learner.intervene({2: 4.0})
    np.testing.assert_allclose(rows.mean(axis=0), expected, atol=0.1)


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ({"nobody": 1.0}, "nobody"),
        ({7: 1.0}, "0 to 3"),
        ({-1: 1.0}, "0 to 3"),
        ({0: np.nan}, "finite"),
        ({0: [1.0, 2.0]}, "finite"),
    ],
)
def test_bad_interventions(table, do, message):
    with pytest.raises(ValueError, match=message):
        KnownOrder().fit(table).intervene(do)


def test_bad_number_of_samples(table):
    with pytest.raises(ValueError, match="n_samples"):
        KnownOrder().fit(table).intervene({}, n_samples=0)


def test_constant_columns_are_isolated(table):
    with_constants = np.insert(table, [0, 2], 1 / 3, axis=1)
    with pytest.warns(DataConditionWarning, match="Constant columns.*x0.*x3"):
        learner = KnownOrder().fit(with_constants)
    varying = [1, 2, 4, 5]
    plain = KnownOrder().fit(table)
    np.testing.assert_allclose(
        learner.adjacency_[np.ix_(varying, varying)], plain.adjacency_
    )
    assert np.count_nonzero(learner.adjacency_[[0, 3]]) == 0
    assert np.count_nonzero(learner.adjacency_[:, [0, 3]]) == 0
    np.testing.assert_array_equal(learner.causal_order_, [1, 2, 4, 5, 0, 3])
    assert learner.score(with_constants) == pytest.approx(plain.score(table))
    np.testing.assert_allclose(learner.sample(3, 0)[:, [0, 3]], 1 / 3)


def test_only_constant_columns():
    with pytest.raises(ValueError, match="nothing to learn"):
        KnownOrder().fit(np.ones((5, 2)))


def test_fit_covariance_equals_fit(table):
    learner = KnownOrder().fit(table)
    C = np.cov(table.T, bias=True)
    other = KnownOrder().fit_covariance(C, len(table), mean=table.mean(axis=0))
    np.testing.assert_allclose(other.adjacency_, learner.adjacency_, rtol=1e-8)
    np.testing.assert_allclose(other.score(table), learner.score(table))


def test_fit_covariance_keeps_names(table):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(table, columns=list("abcd"))
    learner = KnownOrder().fit_covariance(frame.cov(), len(table))
    assert list(learner.feature_names_in_) == list("abcd")
    learner.fit_covariance(frame.cov().to_numpy(), len(table))
    assert not hasattr(learner, "feature_names_in_")


@pytest.mark.parametrize(
    ("covariance", "n_samples", "mean", "message"),
    [
        (np.ones((2, 3)), 9, None, "square"),
        ([[1, 2], [0, 1]], 9, None, "symmetric"),
        ([[-1, 0], [0, 1]], 9, None, "negative variance"),
        ([[1, np.nan], [0, 1]], 9, None, "NaN"),
        (np.eye(2), 1, None, "n_samples"),
        (np.eye(2), 9, [1.0], "mean"),
    ],
)
def test_bad_covariances(covariance, n_samples, mean, message):
    with pytest.raises(ValueError, match=message):
        KnownOrder().fit_covariance(covariance, n_samples, mean=mean)


def test_overflowing_covariance(table):
    with pytest.raises(ValueError, match="overflows"):
        KnownOrder().fit(table * 1e200)


def test_float32_stays_float32(table):
    learner = KnownOrder().fit(table.astype(np.float32))
    rows = table.astype(np.float32)
    results = [
        learner.adjacency_,
        learner.transform(rows),
        learner.predict(rows),
        learner.inverse_transform(rows),
        learner.total_effects_,
        learner.sample(2, random_state=0),
        learner.intervene({0: 1.0}),
    ]
    assert {r.dtype for r in results} == {np.dtype(np.float32)}


def test_frames_and_graphs(table):
    pandas = pytest.importorskip("pandas")
    networkx = pytest.importorskip("networkx")
    learner = KnownOrder().fit(pandas.DataFrame(table, columns=list("abcd")))
    edges = learner.to_frame()
    assert edges["source"].tolist() == ["a", "a", "a", "b", "b", "c"]
    assert edges["target"].tolist() == ["b", "c", "d", "c", "d", "d"]
    graph = learner.to_networkx()
    np.testing.assert_allclose(networkx.to_numpy_array(graph), learner.adjacency_)


@pytest.mark.parametrize("fitted", [False, True])
def test_interrupted_fit_changes_nothing(table, fitted):
    learner = KnownOrder().fit(table) if fitted else KnownOrder()
    learner.__class__ = Interrupted
    before = dict(vars(learner))
    with pytest.raises(KeyboardInterrupt):
        learner.fit(table[:, :2])
    assert vars(learner) == before


def test_inverse_transform_refuses_another_width(table):
    with pytest.raises(ValueError, match="expecting 4 features"):
        KnownOrder().fit(table).inverse_transform(table[:, :3])


def test_weights_count_as_repeated_rows(table, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    weight = rng.integers(0, 4, len(table))
    weighted = KnownOrder().fit(table, sample_weight=weight)
    repeated = KnownOrder().fit(np.repeat(table, weight, axis=0))
    assert weighted.n_samples_seen_ == repeated.n_samples_seen_
    np.testing.assert_allclose(weighted.adjacency_, repeated.adjacency_, rtol=1e-8)
    np.testing.assert_allclose(weighted.residual_std_, repeated.residual_std_)


@pytest.mark.parametrize(
    ("weight", "message"), [(-1, "[Nn]egative"), (0, "at least one non-zero")]
)
def test_bad_weights(table, weight, message):
    with pytest.raises(ValueError, match=message):
        KnownOrder().fit(table, sample_weight=np.full(len(table), weight))


def test_parts_equal_the_whole(table):
    whole = KnownOrder().fit(table)
    parts = KnownOrder()
    for rows in np.array_split(table, [3, 50, 51]):
        parts.partial_fit(rows)
    assert parts.n_samples_seen_ == len(table)
    np.testing.assert_allclose(parts.adjacency_, whole.adjacency_, rtol=1e-8)
    np.testing.assert_allclose(parts.mean_, whole.mean_)
    late = KnownOrder()
    for rows in np.array_split(table, 4):
        late.partial_fit(rows, learn=rows is None)
    with pytest.raises(NotFittedError):
        late.predict(table)
    late = late.partial_fit(table[:1], sample_weight=[1e-300])
    np.testing.assert_allclose(late.adjacency_, whole.adjacency_, rtol=1e-8)


def test_partial_fit_refuses_other_columns(table):
    learner = KnownOrder().partial_fit(table)
    with pytest.raises(ValueError, match="3 features"):
        learner.partial_fit(table[:, :3])


def test_fit_forgets_what_partial_fit_saw(table):
    learner = KnownOrder().partial_fit(table + 100).fit(table)
    np.testing.assert_array_equal(learner.mean_, KnownOrder().fit(table).mean_)


def test_partial_fit_continues_a_fit(table):
    learner = KnownOrder().fit(table[:80]).partial_fit(table[80:])
    np.testing.assert_allclose(learner.covariance_, KnownOrder().fit(table).covariance_)
