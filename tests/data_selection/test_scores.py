# SPDX-License-Identifier: BSD-3-Clause
"""Influence scores of arrays: closed forms, other libraries of arrays, bad input."""

from itertools import pairwise

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from scipy.stats import chisquare

from skpapers.data_selection import (
    _labelled,
    data_efficiency,
    el2n_scores,
    forgetting_scores,
    margin_scores,
    pvi_scores,
    sampling_weights,
    tracin_self_influence,
    vog_scores,
)
from skpapers.utils import DataConditionWarning
from skpapers.utils._array_api import array_namespace, to_numpy

LABELS = {
    "strings": np.array(["pear", "apple", "fig"]),
    "negative": np.array([-7, 3, -1]),
    "floats": np.array([2.0, -1.0, 0.0]),
    "objects": np.array(["b", "a", "c"], dtype=object),
}


def torch_asarray(x):
    torch = pytest.importorskip("torch")
    return torch.asarray(np.asarray(x))


LIBRARIES = {
    "numpy": np.asarray,
    "strict": array_api_strict.asarray,
    "torch": torch_asarray,
}


@pytest.fixture
def rows(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    logits = 2 * rng.standard_normal((50, 3))
    codes = np.append(rng.integers(3, size=47), [0, 1, 2])
    return logits, softmax(logits, axis=1), codes


def brute_force(p, codes):
    """Return all scores of probabilities by their definitions."""
    n, K = p.shape
    error = p - np.eye(K)[codes]
    own = p[np.arange(n), codes]
    others = np.where(np.eye(K, dtype=bool)[codes], -np.inf, p)
    shares = np.bincount(codes, minlength=K) / n
    return {
        "el2n": np.sqrt((error**2).sum(axis=1)),
        "el1n": np.abs(error).sum(axis=1),
        "max": others.max(axis=1) - own,
        "sum": (p - own[:, None]).sum(axis=1),
        "pvi": np.log2(own) - np.log2(shares[codes]),
    }


FUNCTIONS = {
    "el2n": el2n_scores,
    "el1n": lambda y, p, **options: el2n_scores(y, p, ord=1, **options),
    "max": margin_scores,
    "sum": lambda y, p, **options: margin_scores(y, p, reduction="sum", **options),
    "pvi": pvi_scores,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("from_logits", [False, True])
def test_definitions_in_all_libraries(rows, name, library, from_logits):
    logits, p, codes = rows
    given_ = LIBRARIES[library](logits if from_logits else p)
    expected = brute_force(p, codes)[name]
    for y in (codes, codes.tolist(), LIBRARIES[library](codes)):
        found = FUNCTIONS[name](y, given_, from_logits=from_logits)
        assert array_namespace(found) is array_namespace(given_)
        assert to_numpy(found).dtype == np.float64
        np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_is_scored_in_float64(rows, name):
    _, p, codes = rows
    small = p.astype(np.float32)
    found = FUNCTIONS[name](codes, small)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, brute_force(p, codes)[name], atol=1e-5)


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_names_of_labels_do_not_matter(rows, name, kind):
    _, p, codes = rows
    labels = LABELS[kind]
    found = FUNCTIONS[name](labels[codes], p, classes=labels)
    np.testing.assert_allclose(found, FUNCTIONS[name](codes, p), rtol=1e-14)
    order = np.argsort(labels)
    found = FUNCTIONS[name](labels[codes].tolist(), p[:, order])  # sorted by default
    np.testing.assert_allclose(found, FUNCTIONS[name](codes, p), rtol=1e-12)


def test_bools_and_missing_classes(rows):
    _, p, _ = rows
    pair = p[:, :2] / p[:, :2].sum(axis=1, keepdims=True)
    y = pair[:, 0] > 0.3
    np.testing.assert_allclose(
        el2n_scores(y, pair), np.sqrt(2) * np.where(y, pair[:, 0], pair[:, 1])
    )
    found = el2n_scores(np.ones(4, dtype=bool), pair[:4], classes=[False, True])
    np.testing.assert_allclose(found, np.sqrt(2) * pair[:4, 0])


@pytest.mark.parametrize("K", [2, 3, 7])
def test_el2n_of_special_rows(K):
    uniform, right = np.full((1, K), 1 / K), np.eye(K)[:1]
    classes = np.arange(K)
    found = [
        el2n_scores([0], uniform, classes=classes),
        el2n_scores([1], right, classes=classes),
        el2n_scores([0], right, classes=classes),
    ]
    expected = [np.sqrt(1 - 1 / K), np.sqrt(2), 0]
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-12)


@given(st.lists(st.floats(-800, 800), min_size=2, max_size=6), st.integers(0, 5))
@settings(deadline=None)
def test_ranges(logits, code):
    K = len(logits)
    y, options = [code % K], {"classes": range(K), "from_logits": True}
    (el2n,) = el2n_scores(y, [logits], **options)
    (el1n,) = el2n_scores(y, [logits], ord=1, **options)
    (margin,) = margin_scores(y, [logits], **options)
    assert 0 <= el2n <= np.sqrt(2) + 1e-12
    assert el2n <= el1n + 1e-300
    assert el1n <= 2 + 1e-12
    assert -1 <= margin <= 1
    assert np.isfinite(pvi_scores(y, [logits], null_prob=np.ones(K) / K, **options))


@pytest.mark.parametrize("library", LIBRARIES)
def test_sure_rows_keep_their_order(library):
    """With 1 - p all of them would be 0."""
    gaps = np.array([[20.0, 0], [30, 0], [60, 0], [500, 0], [700, 0]])
    y, options = np.zeros(5, dtype=int), {"classes": [0, 1], "from_logits": True}
    found = to_numpy(el2n_scores(y, LIBRARIES[library](gaps), **options))
    np.testing.assert_allclose(found, np.sqrt(2) * np.exp(-gaps[:, 0]), rtol=1e-8)
    p = np.array([[1 - 1e-12, 1e-12], [1.0, 1e-20], [1.0, 1e-200]])
    found = to_numpy(el2n_scores(y[:3], LIBRARIES[library](p), classes=[0, 1]))
    np.testing.assert_allclose(found, np.sqrt(2) * p[:, 1], rtol=1e-8)


def test_probabilities_that_do_not_sum_to_one():
    p = np.array([[0.6, 0.6], [0.2, 0.8]])
    with pytest.warns(DataConditionWarning, match=r"y_prob must sum to 1.*0\.2"):
        found = el2n_scores([0, 1], p)
    np.testing.assert_allclose(found, np.sqrt(2) * np.array([0.5, 0.2]))
    rounded = p / p.sum(axis=1, keepdims=True) * (1 + 1e-8)
    el2n_scores([0, 1], rounded)  # no warning
    found = el2n_scores([0, 1], [[1.0, -1e-9], [0.0, 1.0]])
    np.testing.assert_array_equal(found, [0, 0])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_chunks_change_nothing(rows, name, monkeypatch):
    _, p, codes = rows
    whole = FUNCTIONS[name](codes, p)
    monkeypatch.setattr(_labelled, "CHUNK_BYTES", 8 * 3 * 7)
    np.testing.assert_array_equal(FUNCTIONS[name](codes, p), whole)


def test_frames_columns_and_empty_tables(rows):
    _, p, codes = rows
    pandas = pytest.importorskip("pandas")
    found = el2n_scores(pandas.Series(codes), pandas.DataFrame(p))
    np.testing.assert_array_equal(found, el2n_scores(codes, p))
    np.testing.assert_array_equal(found, el2n_scores(codes[:, None], p))
    assert el2n_scores([], np.zeros((0, 2)), classes=[0, 1]).shape == (0,)
    assert el2n_scores(["a"] * 3, np.ones((3, 1))).tolist() == [0, 0, 0]  # one class


@pytest.mark.parametrize(
    ("y", "p", "options", "message"),
    [
        ([0, 1], [0.5, 0.5], {}, "a row a sample"),
        ([[0, 1]], [[0.5, 0.5]], {}, "one label a row"),
        ([0, 1, 1], [[0.5, 0.5]] * 2, {}, "3 labels and y_prob 2 rows"),
        ([0, 0], [[0.5, 0.5]] * 2, {}, "pass classes="),
        ([0.5, 1], [[0.5, 0.5]] * 2, {}, "Unknown label type"),
        ([np.nan, 1], [[0.5, 0.5]] * 2, {}, "Unknown label type"),
        (
            [0, 2],
            [[0.5, 0.5]] * 2,
            {"classes": [0, 1]},
            "not among the classes",
        ),
        ([0, 1], [[0.5, 0.5]] * 2, {"classes": [0, 1, 2]}, "2 columns"),
        ([0, 1], [[0.5, 0.5]] * 2, {"classes": [0, 0]}, "twice"),
        ([0, 1], [[0.5, 0.5]] * 2, {"classes": []}, "empty"),
        ([0, 1], [[0.5, 0.5], [np.nan, 1]], {}, "finite"),
        ([0, 1], [[0.5, 0.5], [0, -1]], {}, "without a positive"),
    ],
)
def test_bad_rows(y, p, options, message):
    for function in FUNCTIONS.values():
        with pytest.raises(ValueError, match=message):
            function(y, p, **options)


def test_bad_options(rows):
    _, p, codes = rows
    with pytest.raises(ValueError, match="ord must be 1 or 2"):
        el2n_scores(codes, p, ord=3)
    with pytest.raises(ValueError, match="reduction must be"):
        margin_scores(codes, p, reduction="mean")


# ---------------------------------------------------------------------------------- PVI


def test_pvi_of_special_models(rows):
    K, y = 4, np.repeat(np.arange(4), 5)
    uniform = np.full((20, K), 1 / K)
    np.testing.assert_allclose(pvi_scores(y, uniform), 0, atol=1e-12)
    np.testing.assert_allclose(pvi_scores(y, np.eye(K)[y]), np.log2(K))
    _, _, codes = rows
    shares = np.bincount(codes) / len(codes)
    found = pvi_scores(codes, np.tile(shares, (len(codes), 1)))
    np.testing.assert_allclose(found, 0, atol=1e-12)


def test_pvi_null_models(rows):
    logits, p, codes = rows
    weight = np.arange(50.0)
    shares = np.bincount(codes, weight) / weight.sum()
    expected = np.log2(p[np.arange(50), codes]) - np.log2(shares[codes])
    for found in (
        pvi_scores(codes, p, sample_weight=weight),
        pvi_scores(codes, p, null_prob=shares),
        pvi_scores(codes, p, null_prob=np.tile(shares, (50, 1))),
        pvi_scores(codes, logits, null_prob=shares, from_logits=True),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    strict = array_api_strict.asarray(p)
    found = pvi_scores(codes, strict, null_prob=array_api_strict.asarray(shares))
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-9, atol=1e-12)


def test_pvi_cuts_at_1e_300_and_follows_logits_to_there():
    (found,) = pvi_scores([0], [[0.0, 1.0]], classes=[0, 1], null_prob=[0.5, 0.5])
    assert found == pytest.approx(np.log2(1e-300) + 1)
    logits = np.array([[0.0, 600.0]])
    options = {"classes": [0, 1], "null_prob": [0.5, 0.5], "from_logits": True}
    (found,) = pvi_scores([0], logits, **options)
    assert found == pytest.approx(log_softmax(logits)[0, 0] / np.log(2) + 1, rel=1e-12)


def test_pvi_bad_input(rows):
    _, p, codes = rows
    for null in ([0.5, 0.5], np.ones((2, 3)) / 3):
        with pytest.raises(ValueError, match="null_prob must have 3 columns"):
            pvi_scores(codes, p, null_prob=null)
    with pytest.raises(ValueError, match="no use"):
        pvi_scores(codes, p, null_prob=[0.2, 0.3, 0.5], sample_weight=np.ones(50))
    for weight in (-np.ones(50), np.ones(3)):
        with pytest.raises(ValueError, match="one number >= 0"):
            pvi_scores(codes, p, sample_weight=weight)
    with pytest.raises(ValueError, match="positive, finite sum"):
        pvi_scores(codes, p, sample_weight=np.zeros(50))


# --------------------------------------------------------------------------- forgetting

SEQUENCES = {  # checks of a row and what it scores
    "1010": 2,
    "000": 3,
    "011": 0,
    "0100": 1,
    "1": 0,
    "0": 1,
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("checks", SEQUENCES)
def test_forgetting_of_sequences(checks, library):
    checks, expected = np.array([[int(c)] for c in checks]), SEQUENCES[checks]
    for values in (checks.astype(bool), checks):
        found = forgetting_scores(LIBRARIES[library](values))
        assert to_numpy(found).tolist() == [expected]
    never = not checks.any()
    found = forgetting_scores(checks, never_learned="inf")
    assert found.tolist() == [np.inf if never else expected]


def test_forgetting_of_runs_and_streams(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    correct = rng.random((3, 6, 40)) < 0.5
    expected = np.zeros(40)
    for run in correct:
        for i, row in enumerate(run.T):
            events = sum(a and not b for a, b in pairwise(row))
            expected[i] += events if row.any() else 6
    np.testing.assert_array_equal(forgetting_scores(correct), expected)
    streamed = sum(forgetting_scores(iter(run)) for run in correct)
    np.testing.assert_array_equal(streamed, expected)
    longer = np.concatenate([correct, correct[:, -1:]], axis=1)
    learned = correct.any(axis=1).all(axis=0)
    np.testing.assert_array_equal(forgetting_scores(longer)[learned], expected[learned])


def test_forgetting_bad_input():
    for correct, message in [
        (np.ones(3), "shape"),
        (np.zeros((0, 3)), "no check"),
        (np.zeros((0, 2, 3)), "no run"),
        (np.full((2, 3), 0.5), "booleans"),
        (iter([np.ones(3), np.ones(2)]), "3 and 2 rows"),
        (iter([np.ones((3, 1))]), "a check must have"),
        (iter([]), "no check"),
    ]:
        with pytest.raises(ValueError, match=message):
            forgetting_scores(correct)
    with pytest.raises(ValueError, match="never_learned must be"):
        forgetting_scores(np.ones((2, 3)), never_learned="nan")


# ---------------------------------------------------------------------------------- VoG


@pytest.fixture
def gradients(global_random_seed):
    return 3 + np.random.default_rng(global_random_seed).standard_normal((6, 30, 4))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("spread", ["var", "std"])
def test_vog_equals_two_passes(gradients, spread, library):
    expected = getattr(np, spread)(gradients, axis=0).mean(axis=1)
    given_ = LIBRARIES[library](gradients)
    options = {"spread": spread, "normalize": None}
    for found in (
        vog_scores(given_, **options),
        vog_scores(iter([given_[c, ...] for c in range(6)]), **options),
        vog_scores(given_[::-1, ...] if library == "numpy" else given_, **options),
    ):
        assert array_namespace(found) is array_namespace(given_)
        np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-12)


def test_vog_chunks_change_nothing(gradients, monkeypatch):
    whole = vog_scores(gradients, normalize=None)
    monkeypatch.setattr(_labelled, "CHUNK_BYTES", 8 * 4 * 7)
    np.testing.assert_allclose(vog_scores(gradients, normalize=None), whole, rtol=1e-14)


def test_vog_scales_and_normalises(gradients):
    y = np.repeat(["a", "b", "c"], 10)
    plain = vog_scores(gradients, normalize=None)
    np.testing.assert_allclose(vog_scores(-2 * gradients, normalize=None), 4 * plain)
    np.testing.assert_allclose(
        vog_scores(-2 * gradients, normalize=None, spread="std"),
        2 * vog_scores(gradients, normalize=None, spread="std"),
    )
    by_class = vog_scores(gradients, y)
    np.testing.assert_allclose(by_class, vog_scores(-2 * gradients, y), rtol=1e-9)
    for label in "abc":
        assert by_class[y == label].mean() == pytest.approx(0, abs=1e-9)
        assert by_class[y == label].std() == pytest.approx(1)
    by_table = vog_scores(gradients, normalize="dataset")
    np.testing.assert_allclose(by_table, (plain - plain.mean()) / plain.std())
    cut = vog_scores(1e3 * gradients, normalize=None, clip=1e4)
    assert cut.max() == 1e4
    assert vog_scores(1e3 * gradients, normalize=None, clip=None).max() > 1e4


def test_vog_without_spread():
    still = np.ones((3, 4, 2))
    for normalize in (None, "class", "dataset"):
        found = vog_scores(still, [0, 0, 1, 1], normalize=normalize)
        np.testing.assert_array_equal(found, 0)
    one_row_a_class = np.random.default_rng(0).standard_normal((3, 2, 2))
    np.testing.assert_array_equal(vog_scores(one_row_a_class, [0, 1]), 0)
    # logits of a linear model: one gradient a class at each checkpoint
    weights, y = np.random.default_rng(0).standard_normal((3, 2, 5)), [0, 1, 1, 0]
    with pytest.raises(ValueError, match="divide 0 by 0"):
        vog_scores(weights[:, y], y)
    assert np.ptp(vog_scores(weights[:, y], normalize="dataset")) > 0


def test_vog_bad_input(gradients):
    for bad, options, message in [
        (gradients, {}, "needs y"),
        (gradients, {"y": [0, 1]}, "2 labels and gradients 30 rows"),
        (gradients, {"spread": "range"}, "spread must be"),
        (gradients, {"normalize": "all"}, "normalize must be"),
        (gradients[0], {"normalize": None}, "n_checkpoints, n_samples"),
        (gradients[:0], {"normalize": None}, "no checkpoint"),
        (iter([]), {"normalize": None}, "no checkpoint"),
        (iter([np.ones((2, 2)), np.ones((3, 2))]), {"normalize": None}, "each check"),
        (np.full((2, 3, 1), np.nan), {"normalize": None}, "finite"),
        (np.ones((2, 3, 0)), {"normalize": None}, "no features"),
    ]:
        with pytest.raises(ValueError, match=message):
            vog_scores(bad, **options)


# ------------------------------------------------------------------------------- TracIn


@pytest.mark.parametrize("library", LIBRARIES)
def test_tracin_self_influence(library, global_random_seed):
    norms = np.random.default_rng(global_random_seed).random((4, 9))
    given_ = LIBRARIES[library](norms)
    for lr in (0.3, [0.1, 0.2, 0.3, 0.0]):
        expected = (np.broadcast_to(lr, 4)[:, None] * norms**2).sum(axis=0)
        found = tracin_self_influence(given_, lr)
        np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-12)
        found = tracin_self_influence(iter([given_[c, :] for c in range(4)]), lr)
        np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-12)


def test_tracin_self_influence_bad_input():
    for norms, lr, message in [
        (np.ones(3), 1.0, "n_checkpoints, n_samples"),
        (np.ones((0, 3)), 1.0, "no checkpoint"),
        (np.ones((2, 3)), [1.0], "2, one a checkpoint"),
        (np.ones((2, 3)), -1.0, "not negative"),
        (np.ones((2, 3)), np.nan, "finite"),
        (np.full((2, 3), np.inf), 1.0, "finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            tracin_self_influence(norms, lr)


# ------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", ["linear", "softmax"])
def test_weights_follow_scores(kind, library, global_random_seed):
    scores = np.random.default_rng(global_random_seed).standard_normal(30)
    found = sampling_weights(LIBRARIES[library](scores), kind=kind, eps=0.05)
    weights = to_numpy(found)
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_array_equal(np.argsort(weights), np.argsort(scores))
    if kind == "linear":
        assert weights.min() == pytest.approx(0.05 * weights.max())
        slopes = np.diff(np.sort(weights)) / np.diff(np.sort(scores))
        np.testing.assert_allclose(slopes, slopes[0])
    else:
        ratio = np.log(weights.max() / weights.min())
        assert ratio == pytest.approx(np.ptp(scores) / scores.std())


@pytest.mark.parametrize("kind", ["linear", "softmax"])
def test_weights_of_extreme_scores(kind):
    for equal in ([2.0] * 5, [0.0] * 5, [1e308] * 5, [-1e-320] * 5):
        np.testing.assert_allclose(sampling_weights(equal, kind=kind), 0.2)
    for size in (1e308, 1e-300):
        found = sampling_weights([-size, 0, size], kind=kind)
        usual = sampling_weights([-1.0, 0, 1], kind=kind)
        np.testing.assert_allclose(found, usual, rtol=1e-9)


@given(
    st.lists(st.integers(-1000, 1000), min_size=1, max_size=20),
    st.floats(0.1, 10),
    st.integers(-1000, 1000),
    st.sampled_from(["linear", "softmax"]),
)
@settings(deadline=None)
def test_weights_know_no_unit(scores, scale, shift, kind):
    moved = [scale * s + shift for s in scores]
    np.testing.assert_allclose(
        sampling_weights(moved, kind=kind),
        sampling_weights(scores, kind=kind),
        rtol=1e-6,
    )


def test_weights_are_odds_of_gumbel_draws():
    weights = sampling_weights([0.0, 1, 2, 3], eps=0.1)
    keys = np.random.default_rng(0).gumbel(size=(20_000, 4)) + np.log(weights)
    counts = np.bincount(keys.argmax(axis=1), minlength=4)
    assert chisquare(counts, 20_000 * weights).pvalue > 1e-3


def test_weights_bad_input():
    for scores, options, message in [
        ([0, np.inf], {}, "never_learned"),
        ([], {}, "one number a row"),
        ([[0, 1]], {}, "one number a row"),
        ([0, 1], {"kind": "sqrt"}, "kind must be"),
        ([0, 1], {"eps": 0}, "eps must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            sampling_weights(scores, **options)


def test_data_efficiency():
    assert data_efficiency(0.10, 0.106, 100, 48) == pytest.approx(0.06 / -0.52)
    assert data_efficiency(0.2, 0.2, 10, 5) == 0
    found = data_efficiency(0.2, [0.2, 0.1], 10, [5, 5])
    np.testing.assert_allclose(found, [0, 1])
    for arguments, message in [
        ((0, 0.1, 10, 5), "error_full must be positive"),
        ((0.1, -0.1, 10, 5), "error_pruned must be"),
        ((0.1, np.nan, 10, 5), "error_pruned must be"),
        ((0.1, 0.1, 10, 10), "n_pruned < n_full"),
        ((0.1, 0.1, 10, 0), "n_pruned < n_full"),
    ]:
        with pytest.raises(ValueError, match=message):
            data_efficiency(*arguments)
