# SPDX-License-Identifier: BSD-3-Clause
"""The estimated way in which labels go wrong, and the rows that it points to."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import average_precision_score

from skpapers.data_selection import (
    el2n_scores,
    label_noise_matrix,
    wrong_label_scores,
)
from skpapers.data_selection._models._probabilities import ProbabilityPass
from skpapers.utils import DataConditionWarning


def stated(truth, confidence=0.8):
    """Return probabilities of a model that knows the truth."""
    K = truth.max() + 1
    return (1 - confidence) / K + confidence * np.eye(K)[truth]


def directed(truth, share, rng):
    """Call a share of each class by the next class."""
    labels = truth.copy()
    rows = rng.random(len(truth)) < share
    labels[rows] = (truth[rows] + 1) % (truth.max() + 1)
    return labels


def even(truth, share, rng):
    """Call a share of the rows by any other class."""
    K = truth.max() + 1
    rows = rng.random(len(truth)) < share
    labels = truth.copy()
    labels[rows] = (truth[rows] + rng.integers(1, K, rows.sum())) % K
    return labels


@pytest.mark.parametrize("spoil", [directed, even])
def test_matrix_is_that_of_the_flips(spoil, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    truth = rng.integers(0, 4, 8000)
    labels = spoil(truth, 0.2, rng)
    expected = np.array(
        [np.bincount(labels[truth == k], minlength=4) for k in range(4)]
    )
    found = label_noise_matrix(labels, stated(truth))
    np.testing.assert_allclose(found, expected / expected.sum(1)[:, None], atol=0.03)


def test_confusion_in_both_directions_is_no_direction(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    labels = rng.integers(0, 4, 6000)
    p = stated(labels, 0.9)
    swapped = (labels < 2) & (rng.random(6000) < 0.3)  # 0 and 1 look alike
    p[swapped] = p[swapped][:, [1, 0, 2, 3]]
    found = label_noise_matrix(labels, p)
    assert found.diagonal().min() > 0.9  # of 30 % that look like the other class


def test_scores_follow_bayes_rule():
    # the deconvolution has nothing to do where no row states a doubt
    truth, T = np.array([0, 0, 1]), np.array([[0.7, 0.3], [0.0, 1.0]])
    p = np.eye(2)[truth]
    scores = wrong_label_scores([0, 1, 1], p, noise_matrix=T)
    np.testing.assert_allclose(scores, [0, 1, 0], atol=1e-3)


@pytest.mark.parametrize("spoil", [directed, even])
def test_finds_the_wrong_labels_of_digits(spoil, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, truth = load_digits(return_X_y=True)
    labels = spoil(truth, 0.2, rng)
    forest = ExtraTreesClassifier(
        100,
        bootstrap=True,
        oob_score=True,
        min_samples_leaf=3,
        random_state=global_random_seed,
    ).fit(X, labels)
    p = forest.oob_decision_function_
    found = average_precision_score(labels != truth, wrong_label_scores(labels, p))
    rows = np.arange(len(labels))
    confidence = average_precision_score(labels != truth, 1 - p[rows, labels])
    assert found > 0.985
    assert found > confidence + (0.05 if spoil is directed else -0.005)


@given(st.integers(0, 10**6), st.integers(2, 5))
@example(898351, 2)  # an even noise matrix: all powers are equally likely
@settings(max_examples=25, deadline=None)
def test_names_and_order_do_not_matter(seed, K):
    rng = np.random.default_rng(seed)
    codes, p = rng.integers(0, K, 40), rng.dirichlet(np.ones(K), 40)
    names = np.array(["e", "a", "d", "b", "c"])[:K]
    scores = wrong_label_scores(codes, p, classes=range(K))
    assert (scores >= 0).all()
    assert (scores <= 1).all()
    order = rng.permutation(40)
    again = wrong_label_scores(names[codes][order], p[order], classes=names)
    np.testing.assert_allclose(again, scores[order], rtol=1e-9)
    T = label_noise_matrix(codes, p, classes=range(K))
    np.testing.assert_allclose(T.sum(axis=1), 1)
    assert (T > 0).all()
    given_T = wrong_label_scores(codes, p, classes=range(K), noise_matrix=T)
    np.testing.assert_array_equal(given_T, scores)


def test_degenerate_tables():
    assert wrong_label_scores(["a", "a"], [[1.0], [1.0]]).tolist() == [0, 0]
    assert label_noise_matrix(["a"], [[1.0]]).tolist() == [[1]]
    absent = label_noise_matrix([0, 1], [[0.8, 0.1, 0.1], [0, 1, 0]], classes=[0, 1, 2])
    np.testing.assert_allclose(absent.sum(axis=1), 1)
    sure = wrong_label_scores([0, 1, 0], [[1, 0], [0, 1], [0, 1]])
    assert np.isfinite(sure).all()
    assert sure.argmax() == 2


def test_bad_input_is_refused():
    p = [[0.5, 0.5], [0.5, 0.5]]
    with pytest.raises(ValueError, match="2 columns for 1 classes"):
        wrong_label_scores([0, 0], p)
    with pytest.raises(ValueError, match="not among the classes"):
        label_noise_matrix([0, 3], p, classes=[0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        label_noise_matrix([0, 1, 1], p)
    with pytest.raises(ValueError, match="without a positive prob"):
        label_noise_matrix([0, 1], [[0.0, 0.0], [0.5, 0.5]])
    with pytest.raises(ValueError, match="noise_matrix has shape"):
        wrong_label_scores([0, 1], p, noise_matrix=np.eye(3))


@pytest.mark.parametrize(
    "read",
    [
        lambda p: wrong_label_scores([0, 1], p),
        lambda p: label_noise_matrix([0, 1], p),
        lambda p: el2n_scores([0, 1], p),
        lambda p: ProbabilityPass(p).errors(np.array([0, 1])),
    ],
)
def test_probabilities_are_brought_to_sum_one_everywhere(read):
    with pytest.warns(DataConditionWarning, match=r"sum to 1.*off by 0\.6: rows are"):
        found = read([[1.2, 0.4], [0.3, 0.7]])
    np.testing.assert_allclose(found, read([[0.75, 0.25], [0.3, 0.7]]))
    np.testing.assert_array_equal(found, read([[0.75, 0.25], [0.3, 0.7 + 1e-17]]))
    with pytest.raises(ValueError, match="rows of .* without a positive probability"):
        read([[0.0, -1.0], [0.3, 0.7]])
    with pytest.raises(ValueError, match=r"finite|NaN"):
        read([[0.5, np.nan], [0.3, 0.7]])
