"""Choice of rows: what each policy keeps, by brute force, laws and invariants."""

import warnings

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from skpapers.data_selection import select_samples, subgroup_report
from skpapers.data_selection._selection import (
    POLICIES,
    Rule,
    average_weights,
    choose,
    inclusion_probabilities,
    inverse_weights,
)
from skpapers.utils import DataConditionWarning
from skpapers.utils._array_api import to_numpy

TABLES = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-5, 5), min_size=n, max_size=n),
        st.lists(st.sampled_from("abc"), min_size=n, max_size=n),
        st.integers(1, n),
        st.integers(0, 2**31 - 1),
    )
)


def _select(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConditionWarning)
        return select_samples(*args, **kwargs)


@settings(max_examples=60, deadline=None)
@given(TABLES)
def test_hardest_and_easiest_are_complements_also_with_ties(table):
    scores, _, k, seed = table
    n = len(scores)
    hardest = select_samples(scores, keep=k, random_state=seed)
    assert hardest.sum() == k
    kept, dropped = np.asarray(scores)[hardest], np.asarray(scores)[~hardest]
    assert k == n or kept.min() >= dropped.max()
    if k < n:
        easiest = select_samples(
            scores, keep=n - k, policy="easiest", random_state=seed
        )
        np.testing.assert_array_equal(hardest, ~easiest)
    window = {"keep": k, "policy": "window", "random_state": seed}
    end = select_samples(scores, offset=n - k, **window)
    np.testing.assert_array_equal(end, hardest)
    np.testing.assert_array_equal(
        select_samples(scores, **window),
        select_samples(scores, keep=k, policy="easiest", random_state=seed),
    )


@settings(max_examples=60, deadline=None)
@given(TABLES, st.sampled_from(POLICIES), st.sampled_from(["dataset", "class"]))
def test_sizes_and_quotas(table, policy, by):
    scores, y, k, seed = table
    rule = {"keep": k, "policy": policy, "by": by, "random_state": seed}
    exact = _select(scores, y, min_per_class=0, **rule)
    assert exact.sum() == k
    sizes = {label: y.count(label) for label in set(y)}
    kept = {label: int(exact[np.array(y) == label].sum()) for label in sizes}
    if by == "class" or policy == "stratified":
        for label, size in sizes.items():
            assert abs(kept[label] - k * size / len(y)) < 1
    guarded = _select(scores, y, min_per_class=2, **rule)
    least = {label: min(2, size) for label, size in sizes.items()}
    assert guarded.sum() == max(k, sum(least.values()))
    for label, size in least.items():
        assert guarded[np.array(y) == label].sum() >= size
    if all(kept[label] >= least[label] for label in sizes):
        np.testing.assert_array_equal(exact, guarded)
    np.testing.assert_array_equal(guarded, _select(scores, y, min_per_class=2, **rule))


@settings(max_examples=40, deadline=None)
@given(TABLES, st.sampled_from(["hardest", "easiest", "window", "mixed"]))
def test_only_the_order_of_the_scores_counts(table, policy):
    scores, y, k, seed = table
    rule = {"keep": k, "policy": policy, "random_state": seed}
    plain = _select(scores, y, **rule)
    mapped = _select(np.exp(np.array(scores) / 3) - 7, y, **rule)
    np.testing.assert_array_equal(plain, mapped)


def test_each_policy_by_hand():
    scores = np.array([5.0, 1, 4, 2, 3, 0])
    y = np.array([0, 0, 0, 1, 1, 1])

    def kept(**rule):
        mask = _select(scores, y, min_per_class=0, **rule)
        return np.flatnonzero(mask).tolist()

    assert kept(keep=2) == [0, 2]
    assert kept(keep=2, policy="easiest") == [1, 5]
    assert kept(keep=2, policy="window", offset=2) == [3, 4]
    assert kept(keep=1 / 3, policy="window", offset=1 / 3) == [3, 4]
    assert kept(keep=2, by="class") == [0, 4]
    assert kept(keep=2, by="class", policy="easiest") == [1, 5]
    assert kept(keep=2, by="class", policy="window", offset=1 / 3) == [2, 3]
    mixed = kept(keep=4, policy="mixed", mix=0.5, random_state=0)
    assert {0, 2} <= set(mixed)
    assert kept(keep=4, policy="mixed", mix=1.0) == [0, 2, 3, 4]
    assert kept(keep=1.0, policy="softmax") == [0, 1, 2, 3, 4, 5]


def test_the_best_rows_of_a_class_fill_it_up():
    scores = np.arange(10.0)
    y = np.array([1, 1, 1] + [0] * 7)
    mask = select_samples(scores, y, keep=4, min_per_class=2)
    np.testing.assert_array_equal(np.flatnonzero(mask), [1, 2, 8, 9])
    mask = select_samples(scores, y, keep=3, policy="window", offset=6, min_per_class=1)
    assert mask[2]
    assert mask.sum() == 3


def test_ties_are_broken_at_random_and_balanced(global_random_seed):
    y = np.repeat([0, 1], 50)  # sorted by class: a sort alone would keep one class
    scores = np.zeros(100)
    rng = np.random.RandomState(global_random_seed)
    kept = [choose(scores, y, Rule(0.5), rng)[y == 0].sum() for _ in range(300)]
    # hypergeometric: mean 25, standard deviation 2.5
    assert abs(np.mean(kept) - 25) < 4.5 * 2.5 / np.sqrt(300)
    assert 1.9 < np.std(kept) < 3.2
    again = [select_samples(scores, keep=0.5, random_state=3) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert (again[0] != select_samples(scores, keep=0.5, random_state=4)).any()


@pytest.mark.parametrize("policy", ["linear", "softmax", "random"])
def test_one_draw_follows_the_weights(policy, global_random_seed):
    scores = np.array([0.0, 1, 2, 4, 4.5])
    rule = Rule(1, policy, eps=0.1)
    rng = np.random.RandomState(global_random_seed)
    codes = np.zeros(5, dtype=int)
    n_draws = 20_000
    found = sum(choose(scores, codes, rule, rng).astype(int) for _ in range(n_draws))
    weights = np.full(5, 0.2) if policy == "random" else average_weights(scores, rule)
    assert chisquare(found, n_draws * weights).pvalue > 1e-4


def test_several_draws_are_like_draws_one_after_another(global_random_seed):
    scores, rule = np.array([0.0, 1, 3]), Rule(2, "linear", eps=0.2)
    w = average_weights(scores, rule)
    without = [  # probability that row i is not among two draws
        sum(w[j] * w[k] / (1 - w[j]) for j in others for k in others if j != k)
        for others in ([1, 2], [0, 2], [0, 1])
    ]
    rng, codes = np.random.RandomState(global_random_seed), np.zeros(3, dtype=int)
    left_out = sum(~choose(scores, codes, rule, rng) for _ in range(8000))
    assert chisquare(left_out, 8000 * np.array(without)).pvalue > 1e-4


def test_inclusion_probabilities(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    scores, codes = rng.gamma(1.0, size=60), np.zeros(60, dtype=int)
    rule = Rule(20, "softmax")
    weights = average_weights(scores, rule)
    p = inclusion_probabilities(weights, 20)
    assert p.sum() == pytest.approx(20)
    assert (np.diff(p[np.argsort(weights)]) >= 0).all()
    found = np.mean([choose(scores, codes, rule, rng) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(found, p, atol=0.045)  # 5 deviations of the estimate
    np.testing.assert_array_equal(inclusion_probabilities(weights, 60), 1.0)


def test_inverse_weights_undo_the_sampling(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    scores = rng.gamma(2.0, size=400)
    codes = np.repeat([0, 1], [300, 100])
    for rule in (Rule(0.3, "linear"), Rule(0.3, "softmax", by="class")):
        means, plain = [], []
        for _ in range(200):
            mask = choose(scores, codes, rule, rng)
            weights = inverse_weights(scores, codes, rule, mask)
            assert weights.mean() == pytest.approx(1)
            means.append(np.average(scores[mask], weights=weights))
            plain.append(scores[mask].mean())
        assert np.mean(means) == pytest.approx(scores.mean(), rel=0.03)
        assert np.mean(plain) > 1.15 * scores.mean()
    with pytest.raises(ValueError, match="does not draw rows by chance"):
        inverse_weights(scores, codes, Rule(0.3), mask)


def test_mean_of_the_weights_of_several_scores(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    scores = rng.standard_normal((50, 2))
    rule = Rule(0.4, "linear")
    parts = [average_weights(column, rule) for column in scores.T]
    np.testing.assert_allclose(average_weights(scores, rule), np.mean(parts, axis=0))
    mask = select_samples(scores, keep=0.4, policy="linear", random_state=0)
    assert mask.sum() == 20
    with pytest.raises(ValueError, match="one score a row, got 2"):
        select_samples(scores)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_array_api(policy, library, global_random_seed):
    scores = np.random.default_rng(global_random_seed).standard_normal(30).round(1)
    y = np.arange(30) % 3
    if library == "torch":
        torch = pytest.importorskip("torch")
        arrays, kind = (torch.asarray(scores), torch.asarray(y)), torch.bool
    else:
        xp = array_api_strict
        arrays, kind = (xp.asarray(scores), xp.asarray(y)), xp.bool
    rule = {"policy": policy, "random_state": 0, "keep": 0.4}
    mask = _select(*arrays, **rule)
    assert type(mask) is type(arrays[0])
    assert mask.dtype == kind
    np.testing.assert_array_equal(to_numpy(mask), _select(scores, y, **rule))


def test_window_that_reaches_over_the_end():
    scores = np.arange(10.0)
    rule = {"policy": "window", "keep": 0.5}
    with pytest.warns(DataConditionWarning, match=r"over the end of the 10 rows by 3"):
        mask = select_samples(scores, offset=0.8, **rule)
    np.testing.assert_array_equal(np.flatnonzero(mask), [5, 6, 7, 8, 9])
    with pytest.warns(DataConditionWarning, match="by 1"):
        select_samples(scores, offset=6, **rule)
    # 0.5 of 11 rows twice is 12 by rounding: nothing to say
    assert select_samples(np.arange(11.0), offset=0.5, **rule).sum() == 6


def test_warns_of_classes_that_vanish_or_lose_much():
    scores = np.arange(400.0)
    y = np.repeat(["rare", "easy", "hard"], [5, 195, 200])
    with pytest.warns(DataConditionWarning) as caught:
        select_samples(scores, y, keep=200, min_per_class=0)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 1
    assert "2 vanish: easy (keeps 0 of 195), rare (keeps 0 of 5)" in messages[0]
    with pytest.warns(DataConditionWarning, match=r"easy \(keeps 100 of 195\)"):
        select_samples(scores, y, keep=305, min_per_class=5)
    with pytest.warns(DataConditionWarning, match="5 rows, but min_per_class for 30"):
        select_samples(scores[::4], np.arange(100) % 10, keep=5, min_per_class=3)
    with pytest.warns(DataConditionWarning, match="for 30"):
        select_samples(
            scores[::4], np.arange(100) % 10, keep=5, min_per_class=3, by="class"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        select_samples(scores, y, keep=200, by="class")
        select_samples(scores, y, keep=200, policy="random", random_state=0)


def test_huge_and_infinite_scores():
    scores = np.array([-1e308, 0.0, 1e308, 1e308])
    for policy in ("linear", "softmax"):
        assert select_samples(scores, keep=2, policy=policy, random_state=0).sum() == 2
    infinite = np.array([1.0, np.inf, 2.0, -np.inf])
    np.testing.assert_array_equal(
        select_samples(infinite, keep=2), [False, True, True, False]
    )
    with pytest.raises(ValueError, match="never_learned='max'"):
        select_samples(infinite, keep=2, policy="linear")


def test_subgroup_report():
    rng = np.random.default_rng(0)
    support, groups = rng.random(300) < 0.6, rng.choice(["x", "y", "z"], 300)
    report = subgroup_report(support, groups)
    for k, name in enumerate(report["group"]):
        assert report["n_samples"][k] == (groups == name).sum()
        assert report["n_kept"][k] == support[groups == name].sum()
    assert report["share_before"].sum() == pytest.approx(1)
    assert report["share_after"].sum() == pytest.approx(1)
    average = np.average(report["loss_ratio"], weights=report["n_samples"])
    assert average == pytest.approx(1)
    everything = subgroup_report(np.ones(3, dtype=bool), [1, 1, 2])
    np.testing.assert_array_equal(everything["loss_ratio"], 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0.0}, "keep"),
        ({"keep": 1.5}, "keep"),
        ({"keep": -1}, "keep"),
        ({"keep": 6}, "keep=6 rows of 5"),
        ({"policy": "best"}, "policy"),
        ({"policy": "window", "offset": 1.0}, "offset"),
        ({"policy": "window", "offset": -1}, "offset"),
        ({"offset": 2}, "belongs to policy='window'"),
        ({"mix": 2.0}, "mix"),
        ({"by": "class"}, "needs the labels"),
        ({"by": "row"}, "by"),
        ({"min_per_class": -1}, "min_per_class"),
        ({"eps": 0.0}, "eps"),
    ],
)
def test_bad_rules(options, message):
    with pytest.raises(ValueError, match=message):
        select_samples(np.arange(5.0), **options)


def test_bad_scores():
    with pytest.raises(ValueError, match="NaN"):
        select_samples([1.0, np.nan])
    with pytest.raises(ValueError, match="not empty"):
        select_samples([])
    with pytest.raises(ValueError, match="shape"):
        select_samples(np.zeros((2, 2, 2)), policy="linear")
    with pytest.raises(ValueError, match="real numbers"):
        select_samples(["a", "b"])
    with pytest.raises(ValueError, match="y has 3"):
        select_samples([1.0, 2.0], [0, 1, 1])
    with pytest.raises(ValueError, match="boolean"):
        subgroup_report([0, 1], ["a", "b"])
    with pytest.raises(ValueError, match="inconsistent"):
        subgroup_report([True, False], ["a"])


def test_numbers_are_split_among_the_classes(global_random_seed):
    """A number of rows left out by class is of all rows, as the number kept is."""
    rng = np.random.default_rng(global_random_seed)
    y = rng.permutation(np.repeat([0, 1, 2], [100, 60, 40]))
    scores = rng.random(200)
    options = {"policy": "window", "by": "class", "random_state": 0}
    mask = select_samples(scores, y, keep=100, offset=50, **options)
    for label, size in enumerate([100, 60, 40]):
        ascending = np.flatnonzero(y == label)[np.argsort(scores[y == label])]
        expected = ascending[size // 4 : size // 4 + size // 2]
        np.testing.assert_array_equal(
            np.sort(expected), np.flatnonzero(mask & (y == label))
        )
    shares = select_samples(scores, y, keep=0.5, offset=0.25, **options)
    np.testing.assert_array_equal(mask, shares)
    with pytest.warns(DataConditionWarning, match="reach over the end"):
        late = select_samples(scores, y, keep=100, offset=150, **options)
    assert late.sum() == 100
