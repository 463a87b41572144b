"""The reproductions run in their reduced form, and the stored results are sound."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "asv_bench"
METHODS = (
    "bic_order_search",
    "colide",
    "data_diet",
    "design_peers",
    "design_tuning",
    "edge_stability",
    "fair_models",
    "gns",
    "influence_scores",
    "label_errors",
    "learners",
    "pruning",
    "sachs",
    "sketched_newton",
    "sortability",
    "surrogate_sharpness",
    "target_surrogates",
    "topological_swap",
)


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
    if method == "colide" or method.startswith(("design", "surrogate")):
        pytest.importorskip("torch")
        pytest.importorskip("skorch")
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


class Burner:
    """A learner whose fit never ends."""

    def fit(self, X):
        while True:
            pass


class Sleeper:
    """A learner without edges."""

    def fit(self, X):
        self.adjacency_ = np.zeros((X.shape[1], X.shape[1]))
        return self


def test_fit_beyond_the_limit_is_ended(reproduce, monkeypatch):
    learners = reproduce("learners")
    monkeypatch.setattr(learners, "LIMIT", 1)
    monkeypatch.setattr(learners, "compile_own", lambda make, X: None)
    monkeypatch.setattr(learners, "OWN", {"burns": Burner, "sleeps": Sleeper})
    draws = learners.tables("EV", 5, [1, 2])
    assert learners.fit_own("burns", draws) == []
    found = learners.fit_own("sleeps", draws)
    assert [fit["SHD"] for fit in found] == [np.count_nonzero(W) for _, W in draws]


def fitted_cells(learners, seconds):
    """Return all cells; those of {(d, name): CPU seconds} with one fit."""
    cells = learners.stored_cells(Path("no such file"))
    fit = {"SHD": 1, "SHD-C": 2, "SID": 3}
    for (d, name), value in seconds.items():
        cells["EV", d, name].fits[101] = fit | {"CPU s": value}
    return cells


def test_cheapest_cells_come_first(reproduce):
    learners = reproduce("learners")
    times = {(20, "DAGMA"): 9.0, (20, "FLOP"): 0.1, (20, "BOSS"): 8.0}
    cells = fitted_cells(learners, times)
    for name in (*learners.OWN, "GOLEM-EV", "DirectLiNGAM"):
        for kind in learners.KINDS:
            for d in learners.SIZES:
                cells[kind, d, name].note = learners.OVER
    pairs = learners.next_run(cells)
    assert {(cell.name, cell.d) for cell, _ in pairs} == {("FLOP", 20)}
    assert len(pairs) == len(learners.KINDS) * len(learners.SEEDS) - 1
    for cell, _ in pairs:
        cell.note = learners.OVER
    pairs = learners.next_run(cells)  # of dear ones one seed a kind
    assert [(cell.name, cell.d) for cell, _ in pairs] == [("BOSS", 20)] * len(
        learners.KINDS
    )


def test_hopeless_cells_are_not_begun(reproduce):
    learners = reproduce("learners")
    cells = fitted_cells(learners, {(20, "DAGMA"): 1.0, (50, "DAGMA"): 30.0})
    assert learners.expected(cells, cells["NV", 20, "DAGMA"]) == 1.0
    growth = learners.expected(cells, cells["EV", 100, "DAGMA"]) / 30.0
    assert growth == pytest.approx(2 ** (np.log(30) / np.log(2.5)))
    assert learners.next_run(cells)
    assert cells["EV", 50, "DAGMA"].note == learners.OVER  # five of 30 s
    assert cells["EV", 50, "DAGMA"].entry()["measures"]["SHD"] == 1
    assert cells["EV", 100, "DAGMA"].note == learners.EXPECTED
    assert learners.expected(cells, cells["EV", 200, "DAGMA"]) == np.inf


def test_one_smaller_size_does_not_judge_a_cell(reproduce, tmp_path):
    learners = reproduce("learners")
    cells = fitted_cells(learners, {(20, "GOLEM-EV"): 20.0, (20, "BOSS"): 0.5})
    cells["EV", 50, "BOSS"].note = learners.OVER
    learners.next_run(cells)
    for d in (50, 100, 200):  # a power law has two unknowns
        assert cells["EV", d, "GOLEM-EV"].entry()["note"] == learners.NOT_RUN
    for d in (100, 200):  # ended at 50 columns, so hopeless here
        assert cells["EV", d, "BOSS"].note == learners.EXPECTED
    assert cells["NV", 50, "BOSS"].note is None


def test_cells_of_some_learners_and_sizes_are_run_alone(reproduce):
    learners = reproduce("learners")
    times = {(20, "DAGMA"): 1.0, (50, "DAGMA"): 30.0, (20, "FLOP"): 0.1}
    cells = fitted_cells(learners, times)
    while pairs := learners.next_run(cells, ["FLOP"], [50]):
        for cell, seed in pairs:
            assert (cell.name, cell.d) == ("FLOP", 50)
            cell.fits[seed] = {"SHD": 1, "SHD-C": 2, "SID": 3, "CPU s": 1.0}
    assert all(not cells[kind, 50, "FLOP"].missing for kind in learners.KINDS)
    assert cells["EV", 20, "FLOP"].missing == [102, 103, 104, 105]
    assert cells["EV", 100, "DAGMA"].note == learners.EXPECTED  # judged all the same


def test_stored_fits_are_taken_up_again(reproduce, tmp_path):
    learners = reproduce("learners")
    cells = fitted_cells(learners, {(20, "FLOP"): 0.5, (50, "FLOP"): 2.0})
    cells["EV", 20, "FLOP"].label = "FLOP (flopsearch 1.0)"
    cells["EV", 50, "FLOP"].note = learners.OVER
    path = tmp_path / "learners.json"
    reproduce("_common").save(learners.report_of(cells), path)
    again = learners.stored_cells(path)
    for key, cell in cells.items():
        assert again[key].__dict__ == cell.__dict__, key
    assert not learners.stored_cells(path, ["FLOP"])["EV", 20, "FLOP"].fits


def test_labels_are_spoilt_as_said(reproduce, global_random_seed):
    tables = reproduce("_data_tables")
    rng = np.random.default_rng(global_random_seed)
    y = np.repeat([0, 1, 2, 3], [400, 300, 200, 100])
    even = tables.flip_uniformly(y, 0.2, rng)
    assert np.count_nonzero(even != y) == 200
    assert len(np.unique(even[(y == 0) & (even != y)])) == 3
    directed = tables.flip_by_class(y, 0.2, rng)
    assert np.count_nonzero(directed != y) == pytest.approx(200, abs=2)
    others = [
        np.unique(directed[(y == k) & (directed != y)]).tolist() for k in range(4)
    ]
    assert sorted(others) == [[0], [1], [2], [3]]
    redrawn = tables.redraw(y, 0.4, rng)
    assert 200 < np.count_nonzero(redrawn != y) < 400  # a quarter stays right


def test_trainings_have_equal_steps(reproduce):
    tables = reproduce("_data_tables")
    X, y = np.random.default_rng(0).normal(size=(100, 3)), np.arange(100) % 2
    for rows in (100, 40):
        model = tables.train_steps(X[:rows], y[:rows], [0, 1], 50, 0, batch=8)
        assert model.t_ == 50 * 8


def test_ranking_of_wrong_labels_is_judged(reproduce):
    judge = reproduce("_data_tables").judge
    bad = np.array([True, True, False, False])
    perfect = judge(bad, np.array([0.9, 0.8, 0.2, 0.1]))
    assert perfect == {"AP": 1, "AUROC": 1, "precision at k": 1}
    assert judge(bad, np.array([1, 0, 1, 0])) == {"precision at k": 0.5}
