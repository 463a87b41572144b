"""The reproductions run in their reduced form, and the stored results are sound."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "asv_bench"
METHODS = ("colide", "learners", "sachs", "sortability", "topological_swap")


@pytest.fixture
def reproduce(monkeypatch):
    """Return a function that imports a module of asv_bench/reproduce."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(FOLDER / "reproduce")
    yield import_module
    for name in set(sys.modules) - before:
        path = getattr(sys.modules[name], "__file__", None)
        if path and Path(path).parent == FOLDER / "reproduce":
            del sys.modules[name]


@pytest.mark.parametrize("method", METHODS)
def test_reduced_run(method, reproduce, capsys, monkeypatch, tmp_path):
    common = reproduce("_common")
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(common, "REPEATS", 1)
    report = reproduce(method).run(["--quick"])
    common.check_report(report)
    assert report["quick"]
    assert not list(tmp_path.iterdir())  # only full runs are stored
    text = capsys.readouterr().out
    for row in report["rows"]:
        assert row["ours"]["name"] in text
        shd = row["ours"]["draws"].get("SHD", [])
        assert all(value >= 0 for value in shd)


def test_reduced_sachs_reaches_the_targets(reproduce, capsys):
    report = reproduce("sachs").run(["--quick", "--only", "raw"])
    goals = [goal for row in report["rows"] for goal in row["targets"]]
    assert len(goals) == 6
    assert all(goal["met"] for goal in goals)


@pytest.mark.parametrize("method", METHODS)
def test_stored_results(method, reproduce):
    path = FOLDER / "results" / f"{method}.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    reproduce("_common").check_report(report)
    assert report["method"] == method
    assert not report["quick"]
    assert all(version for version in report["environment"]["packages"].values())


def test_targets_are_judged(reproduce):
    common = reproduce("_common")
    assert common.target("SHD", "<=", 2, 2)["met"]
    assert not common.target("SHD", "<=", 2, 2.5)["met"]
    assert not common.target("times", ">=", 20, 19)["met"]


def test_reports_with_gaps_are_refused(reproduce):
    common = reproduce("_common")
    entry = {"name": "x", "measures": {"SHD": 1.0}, "draws": {"SHD": [1, 1]}}
    entry["cpu_seconds"] = 0.1
    report = {
        "schema": common.SCHEMA,
        "method": "x",
        "title": "x",
        "reference": {},
        "estimators": [],
        "quick": True,
        "environment": common.environment(),
        "rows": [common.row("A", "x", [1, 2], entry)],
    }
    common.check_report(report)
    entry["draws"]["SHD"] = [1, 2]
    with pytest.raises(ValueError, match="not the mean"):
        common.check_report(report)
    del entry["cpu_seconds"]
    with pytest.raises(ValueError, match=r"lacks \['cpu_seconds'\]"):
        common.check_report(report)


def test_saving_keeps_the_old_file_when_a_report_is_wrong(reproduce, tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="lacks"):
        reproduce("_common").save({}, path)
    assert path.read_text() == "old"


def test_draws_are_the_reference_draws(reproduce, global_random_seed):
    X, W = reproduce("_common").draw("NV", 6, global_random_seed, n_edges=7)
    d, n = 6, 1000
    rng = np.random.default_rng(global_random_seed)
    pairs = [(i, j) for i in range(d) for j in range(i + 1, d)]
    chosen = rng.choice(len(pairs), size=7, replace=False)
    order = rng.permutation(d)
    mask = np.zeros((d, d))
    for k in chosen:
        mask[order[pairs[k][0]], order[pairs[k][1]]] = 1
    size, sign = rng.uniform(0.25, 1, (d, d)), rng.choice([-1, 1], (d, d))
    weights = mask * size * sign
    variance = rng.uniform(0.5, 10, d)
    Z = rng.standard_normal((n, d)) * np.sqrt(variance)
    np.testing.assert_allclose(W, weights)
    np.testing.assert_allclose(X, Z @ np.linalg.inv(np.eye(d) - weights), atol=1e-10)


def test_published_loop_learns_an_edge(reproduce, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    cause = rng.standard_normal(500)
    X = np.column_stack([cause, 1.5 * cause + rng.standard_normal(500)])
    loop = reproduce("_published_colide").published_colide
    W, _, sigma, n_iter = loop(X, "equal", warm_iter=2000, max_iter=4000, tol=1e-4)
    assert (W != 0).tolist() == [[False, True], [False, False]]
    assert sigma[0] == sigma[1]
    assert n_iter > 0
