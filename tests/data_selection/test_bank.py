"""Several scores from the same trainings, and what accumulators keep."""

import tracemalloc
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpapers.data_selection import (
    EL2NScorer,
    EnsembleScorer,
    ForgettingScorer,
    GraNdScorer,
    InfluenceSampler,
    PVIScorer,
    ScoreBank,
    TracInScorer,
    VoGScorer,
    forgetting_scores,
    pvi_scores,
    sampling_weights,
    vog_scores,
)
from skpapers.data_selection._accumulators import (
    ErrorNorm,
    Forgetting,
    GradientSpread,
    Information,
    SelfInfluence,
)
from skpapers.data_selection._fingerprint import fingerprint
from skpapers.data_selection._groups import merge_times
from skpapers.data_selection._scorers._ensemble import combine_scores
from skpapers.utils import DataConditionWarning


@pytest.fixture(scope="module")
def table():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X)[::2], y[::2]


class CountingMLP(MLPClassifier):
    """Counts its epochs."""

    epochs = 0

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        type(self).epochs += 1
        return super().partial_fit(X, y, classes=classes)


NET = MLPClassifier((8,), solver="sgd", learning_rate_init=0.1, batch_size=16)
SCORERS = [
    ("el2n", EL2NScorer(NET, epochs=4, n_runs=3)),
    ("grand", GraNdScorer(NET, epochs=4, n_runs=2)),
    ("vog", VoGScorer(NET, epochs=4, n_checkpoints=4)),
    ("forgetting", ForgettingScorer(NET, epochs=4, check_every=1.0, n_runs=2)),
    ("pvi", PVIScorer(NET, epochs=2, n_runs=2)),
    ("tracin", TracInScorer(NET, epochs=4, n_checkpoints=2)),
]


@pytest.mark.filterwarnings("ignore:n_runs=2 is too small")
def test_shared_trainings_give_what_own_ones_do(table, global_random_seed):
    bank = ScoreBank(SCORERS, random_state=global_random_seed).fit(*table)
    assert bank.n_trainings_ == 3
    seed = int(np.random.RandomState(global_random_seed).randint(2**31 - 1))
    for k, (name, scorer) in enumerate(SCORERS):
        alone = clone(scorer).set_params(random_state=seed).fit(*table)
        shared = bank.scorers_[name]
        assert bank.names_[k] == name
        for attribute in ("scores_", "scores_per_run_", "scores_std_"):
            np.testing.assert_allclose(
                getattr(shared, attribute), getattr(alone, attribute), rtol=1e-9
            )
        np.testing.assert_array_equal(bank.scores_[:, k], shared.scores_)
        np.testing.assert_array_equal(bank.hardness_[:, k], shared.hardness_)
    np.testing.assert_allclose(bank.score_samples(*table), bank.scores_, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:n_runs=2 is too small")
def test_one_training_a_run_feeds_all(table):
    net = CountingMLP((4,), solver="sgd", batch_size=16)
    scorers = [
        (name, clone(s).set_params(estimator=net, n_runs=2)) for name, s in SCORERS
    ]
    CountingMLP.epochs = 0
    bank = ScoreBank(scorers, random_state=0).fit(*table)
    assert bank.n_trainings_ == 2
    assert CountingMLP.epochs == 2 * 4
    CountingMLP.epochs = 0
    ensemble = EnsembleScorer(scorers, random_state=0).fit(*table)
    assert ensemble.n_trainings_ == 2
    assert CountingMLP.epochs == 2 * 4


@pytest.mark.filterwarnings("ignore:n_runs=2 is too small")
def test_who_cannot_share_trains_alone(table):
    scorers = [
        ("a", EL2NScorer(NET, epochs=2, n_runs=2)),
        ("b", PVIScorer(NET, epochs=2, n_runs=2, cv=3)),
        ("c", EL2NScorer(LogisticRegression(), epochs=None, n_runs=1)),
        ("d", EL2NScorer(NET, epochs=2, n_runs=1, random_state=5)),
        ("e", TracInScorer(clone(NET), epochs=2, n_checkpoints=1, n_runs=2)),
        ("f", PVIScorer(NET, epochs=2, n_runs=1, null_model="fit")),
        ("g", GraNdScorer(LogisticRegression(), epochs=None, n_runs=1)),
        ("h", EL2NScorer(LogisticRegression(C=2.0), epochs=None, n_runs=1)),
    ]
    bank = ScoreBank(scorers, random_state=0).fit(*table)
    assert bank.n_trainings_ == 2 + 2 + 1 + 1 + 1 + 1
    alone = clone(scorers[3][1]).fit(*table)
    np.testing.assert_array_equal(bank.scorers_["d"].scores_, alone.scores_)
    linear = clone(scorers[2][1]).fit(*table)
    np.testing.assert_array_equal(bank.scorers_["c"].scores_, linear.scores_)


def test_fingerprints_tell_classifiers_apart():
    pipeline = make_pipeline(StandardScaler(), NET)
    assert fingerprint(pipeline) == fingerprint(clone(pipeline))
    other = clone(pipeline).set_params(mlpclassifier__alpha=1.0)
    assert fingerprint(pipeline) != fingerprint(other)
    assert fingerprint(NET) != fingerprint(pipeline)


def test_torch_modules_share_trainings(table):
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(4, 3)
    X, y = table
    scorers = [
        ("a", EL2NScorer(net, epochs=1, n_runs=2)),
        ("b", TracInScorer(clone(net, safe=False), epochs=2, n_runs=1)),
        ("c", EL2NScorer(torch.nn.Linear(4, 3), epochs=1, n_runs=1)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConditionWarning)
        bank = ScoreBank(scorers, random_state=0).fit(X.astype(np.float32), y)
    assert bank.n_trainings_ == 2 + 1


def test_fingerprints_tell_modules_apart():
    """By weights and by attributes that their repr does not show."""
    torch = pytest.importorskip("torch")

    class Scaled(torch.nn.Module):
        def __init__(self, scale, dtype=None):
            super().__init__()
            self.scale, self.activate = scale, lambda x: x
            self.layer = torch.nn.Linear(2, 2, dtype=dtype)

    net, other = Scaled(1.0), Scaled(2.0)
    other.load_state_dict(net.state_dict())
    assert repr(net) == repr(other)
    assert fingerprint(net) != fingerprint(other)
    assert fingerprint(net) == fingerprint(clone(net, safe=False))
    assert fingerprint(net) != fingerprint(Scaled(1.0))
    assert fingerprint(Scaled(1.0, torch.bfloat16))
    scorer = EL2NScorer(make_pipeline(StandardScaler(), net), epochs=1)
    ensemble = EnsembleScorer([("a", scorer)])
    assert fingerprint(ensemble) == fingerprint(clone(ensemble))
    assert fingerprint(ensemble) != fingerprint(clone(ensemble).set_params(a__epochs=2))


@pytest.mark.parametrize("n_runs", [1, 2])
def test_clones_of_torch_modules_find_finished_runs(
    table, tmp_path, monkeypatch, n_runs
):
    torch = pytest.importorskip("torch")
    from skpapers.data_selection import _torch_checkpoints as room

    started, fresh = [], room.fresh
    monkeypatch.setattr(
        room, "fresh", lambda *args: started.append(args) or fresh(*args)
    )
    X, y = table[0].astype(np.float32), table[1]
    options = {"epochs": 1, "n_runs": n_runs, "random_state": 0}
    net = torch.nn.Linear(4, 3)
    scorer = EL2NScorer(net, **options, memory=str(tmp_path / "runs"))
    sampler = InfluenceSampler(
        EL2NScorer(net, **options), by="class", memory=str(tmp_path / "scorers")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConditionWarning)
        for estimator in (scorer, sampler):
            fits = [clone(estimator).fit(X, y) for _ in range(2)]
            np.testing.assert_array_equal(fits[0].scores_, fits[1].scores_)
    assert len(started) == 2 * n_runs  # once by each


def test_defaults_share_ten_trainings(table):
    with_all = ScoreBank(random_state=0).fit(*table)
    assert with_all.n_trainings_ == 10
    assert with_all.scores_.shape == (75, 6)
    ensemble = EnsembleScorer(random_state=0).fit(*table)
    assert ensemble.n_trainings_ == 10
    assert ensemble.stability_ > 0.9


@pytest.mark.parametrize("cls", [ScoreBank, EnsembleScorer])
def test_workers_change_nothing(table, cls, global_random_seed):
    scorers = [SCORERS[0], SCORERS[5]]
    fits = [
        cls(scorers, random_state=global_random_seed, n_jobs=n_jobs).fit(*table)
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(fits[0].scores_, fits[1].scores_)


def test_finished_runs_are_not_trained_again(table, tmp_path, capsys):
    net = CountingMLP((4,), solver="sgd", batch_size=16)
    scorer = EL2NScorer(net, epochs=2, n_runs=2, random_state=0, memory=str(tmp_path))
    first = clone(scorer).fit(*table)
    CountingMLP.epochs = 0
    second = clone(scorer).set_params(verbose=1).fit(*table)
    assert CountingMLP.epochs == 0
    np.testing.assert_array_equal(first.scores_, second.scores_)
    assert "[EL2NScorer] run 2 of 2" in capsys.readouterr().out
    more = clone(scorer).set_params(n_runs=3).fit(*table)
    assert CountingMLP.epochs == 2  # only the third run
    np.testing.assert_array_equal(more.scores_per_run_[:2], first.scores_per_run_)
    clone(scorer).set_params(epochs=1).fit(*table)
    assert CountingMLP.epochs == 2 + 2 * 1


class Listener:
    """Counts runs and asks to stop at the end of one."""

    def __init__(self, stop_at=None):
        self.runs, self.stop_at = [], stop_at

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **kwargs):
        pass

    def on_fit_task_end(self, estimator, context, **kwargs):
        if context.task_name == "run":
            self.runs.append(context.task_id)
            return context.task_id == self.stop_at
        return False

    def teardown(self, estimator, context):
        pass


def test_callbacks_hear_of_every_run(table):
    pytest.importorskip("sklearn.callback")
    scorer = EL2NScorer(NET, epochs=2, n_runs=3, random_state=0)
    bank = ScoreBank([("a", scorer), ("b", clone(scorer).set_params(random_state=1))])
    listener = Listener()
    bank.set_callbacks(listener).fit(*table)
    assert listener.runs == list(range(6))
    listener = Listener(stop_at=1)
    cut = clone(scorer).set_callbacks(listener).fit(*table)
    assert listener.runs == [0, 1]
    whole = clone(scorer).fit(*table)
    np.testing.assert_array_equal(cut.scores_per_run_, whole.scores_per_run_[:2])
    with pytest.raises(RuntimeError, match="before each scorer had a run"):
        clone(bank).set_callbacks(Listener(stop_at=1)).fit(*table)


def test_parameters_of_the_scorers(table):
    bank = ScoreBank([("el2n", EL2NScorer()), ("vog", VoGScorer())])
    bank.set_params(el2n__n_runs=2, vog=TracInScorer(n_checkpoints=3), random_state=1)
    assert bank.get_params()["el2n__n_runs"] == 2
    assert bank.get_params()["vog__n_checkpoints"] == 3
    assert clone(bank).get_params()["vog__n_checkpoints"] == 3
    copies = bank.set_params(el2n__epochs=2, vog__epochs=2).fit(*table).scorers_
    assert copies["el2n"] is not bank.scorers[0][1]
    assert not hasattr(bank.scorers[0][1], "scores_")


@pytest.mark.parametrize("cls", [ScoreBank, EnsembleScorer])
def test_lists_of_scorers_are_checked(table, cls):
    el2n = EL2NScorer(NET, epochs=1, n_runs=1)
    for bad, error, match in [
        ([], ValueError, "scorers is empty"),
        ([("a", el2n), ("a", el2n)], ValueError, "not unique"),
        ([("a__b", el2n)], ValueError, "must not contain __"),
        ([("random_state", el2n)], ValueError, "conflict"),
        ([("a", LogisticRegression())], TypeError, "not a scorer"),
        ([("a", EL2NScorer(NET, n_runs=0))], ValueError, "n_runs"),
        ([("a", EL2NScorer(SGDClassifier()))], TypeError, "predict_proba"),
    ]:
        holder = cls(bad)
        with pytest.raises(error, match=match):
            holder.fit(*table)
        assert not hasattr(holder, "scores_")
    with pytest.raises(NotFittedError):
        cls([("a", el2n)]).score_samples(*table)


def test_one_class_needs_no_training(table):
    X, _ = table
    bank = ScoreBank(SCORERS).fit(X, np.zeros(len(X)))
    assert bank.n_trainings_ == 0
    np.testing.assert_array_equal(bank.scores_, np.zeros((len(X), 6)))
    np.testing.assert_array_equal(bank.score_samples(X), np.zeros((len(X), 6)))


# ---------------------------------------------------------------------- the ensemble


@pytest.mark.filterwarnings("ignore:n_runs=2 is too small")
def test_an_ensemble_of_one_ranks_as_that_one(table, global_random_seed):
    seed = {"random_state": global_random_seed}
    scorer = PVIScorer(NET, epochs=3, n_runs=2, **seed)
    alone = clone(scorer).fit(*table)
    order = np.argsort(alone.hardness_)
    for combine in ("mean_rank", "mean_zscore", "mean_weight"):
        ensemble = EnsembleScorer([("pvi", scorer)], combine=combine).fit(*table)
        assert (np.diff(ensemble.scores_[order]) >= 0).all()
        np.testing.assert_allclose(
            ensemble.score_samples(*table), ensemble.scores_, rtol=1e-9, atol=1e-12
        )
        assert ensemble.stability_ == pytest.approx(alone.stability_)
    weights = sampling_weights(ensemble.scorers_["pvi"].hardness_, kind="linear")
    np.testing.assert_allclose(ensemble.scores_, weights)


@pytest.mark.filterwarnings("ignore:n_runs=2 is too small")
def test_ensemble_is_the_weighted_mean(table, global_random_seed):
    scorers = [("a", EL2NScorer(NET, epochs=2, n_runs=2)), SCORERS[5]]
    settings = {"combine": "mean_zscore", "random_state": global_random_seed}
    ensemble = EnsembleScorer(scorers, weights=[3, 1], **settings).fit(*table)
    a, b = (s.hardness_ for s in ensemble.scorers_.values())
    expected = 0.75 * (a - a.mean()) / a.std() + 0.25 * (b - b.mean()) / b.std()
    np.testing.assert_allclose(ensemble.scores_, expected, rtol=1e-9)
    assert ensemble.scores_per_run_.shape == (1, len(a))
    for weights in ([1], [-1, 1], [0, 0], [np.nan, 1]):
        with pytest.raises(ValueError, match="weights"):
            EnsembleScorer(scorers, weights=weights).fit(*table)


@pytest.mark.filterwarnings("ignore:n_runs=2 is too small")
def test_only_ranks_may_be_infinite(table):
    forgetting = ForgettingScorer(NET, epochs=1, n_runs=2, never_learned="inf")
    ensemble = EnsembleScorer([("a", forgetting)], random_state=0)
    scorer = ensemble.fit(*table).scorers_["a"]
    assert np.isinf(scorer.scores_).any()
    assert np.isfinite(ensemble.scores_).all()
    with pytest.raises(ValueError, match="needs finite scores"):
        clone(ensemble).set_params(combine="mean_weight").fit(*table)


@given(
    hnp.arrays(float, (2, 12), elements=st.integers(-5, 5).map(float)),
    st.sampled_from([np.exp, lambda x: x**3, lambda x: 3 * x - 1]),
)
def test_mean_rank_sees_only_the_order(scores, monotone):
    weights = np.array([0.5, 0.5])
    plain = combine_scores(scores, scores, weights, "mean_rank")
    turned = monotone(scores)
    found = combine_scores(turned, turned, weights, "mean_rank")
    np.testing.assert_allclose(found, plain)
    other = combine_scores(scores.copy(), scores, weights, "mean_rank")
    np.testing.assert_allclose(other, plain, atol=1e-12)


# ------------------------------------------------------------------- the accumulators


class GivenPass:
    """Says what it is told."""

    def __init__(self, **given):
        self.given = given

    @property
    def log_proba(self):
        return self.given["log_proba"]

    def input_gradients(self, codes, output):
        return self.given["gradients"]

    def gradient_norms(self, codes, layers):
        return self.given["norms"]


def fill(accumulator, codes, passes, rates=None, chunk=5):
    """Show an accumulator arrays, in chunks of rows."""
    accumulator.start(codes, int(codes.max()) + 1)
    for c, said in enumerate(passes):
        rate = np.nan if rates is None else rates[c]
        assert accumulator.take(c + 1.0)
        accumulator.begin(SimpleNamespace(learning_rate=rate))
        for start in range(0, len(codes), chunk):
            rows = slice(start, start + chunk)
            part = {name: value[rows] for name, value in said.items()}
            accumulator.update(rows, GivenPass(**part))
    return accumulator


def times(n):
    return tuple(float(t) for t in range(1, n + 1))


@pytest.mark.parametrize("spread", ["var", "std"])
@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_streamed_spread_is_that_of_two_passes(spread, chunk, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    gradients = 1e3 + rng.standard_normal((6, 23, 4))
    codes = rng.integers(3, size=23)
    passes = [{"gradients": g} for g in gradients]
    accumulator = GradientSpread(times(6), "proba", spread, None, None)
    fill(accumulator, codes, passes, chunk=chunk)
    expected = getattr(gradients, spread)(axis=0).mean(axis=1)
    np.testing.assert_allclose(accumulator.scores(), expected, rtol=1e-9)
    shuffled = [passes[c] for c in rng.permutation(6)]
    again = fill(accumulator, codes, shuffled).scores()
    np.testing.assert_allclose(again, expected, rtol=1e-9)


@pytest.mark.parametrize("spread", ["var", "std"])
def test_spreads_standardised_within_classes(spread, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    gradients = rng.standard_normal((5, 40, 3))
    codes = np.repeat([0, 1, 2, 2], 10)
    codes[-1] = 3  # a class of one row
    found = {}
    for scale in (1.0, -2.0):
        accumulator = GradientSpread(times(5), "proba", spread, "class", None)
        passes = [{"gradients": scale * g} for g in gradients]
        fill(accumulator, codes, passes)
        found[scale] = accumulator.scores()
        raw = GradientSpread(times(5), "proba", spread, None, None)
        found[f"raw {scale}"] = fill(raw, codes, passes).scores()
    power = 2 if spread == "var" else 1
    np.testing.assert_allclose(found["raw -2.0"], 2**power * found["raw 1.0"])
    np.testing.assert_allclose(found[1.0], found[-2.0], atol=1e-9)
    for k in range(3):
        assert found[1.0][codes == k].mean() == pytest.approx(0, abs=1e-9)
        assert found[1.0][codes == k].std() == pytest.approx(1)
    assert found[1.0][-1] == 0


@pytest.mark.parametrize("normalize", ["class", "dataset", None])
def test_streamed_scores_are_those_of_the_functions(normalize, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    codes = rng.integers(3, size=30)
    gradients = rng.standard_normal((4, 30, 2)) * rng.uniform(0.5, 40, (30, 1))
    accumulator = GradientSpread(times(4), "proba", "std", normalize, 20.0)
    found = fill(accumulator, codes, [{"gradients": g} for g in gradients]).scores()
    settings = {"spread": "std", "normalize": normalize, "clip": 20.0}
    np.testing.assert_allclose(found, vog_scores(gradients, codes, **settings))
    proba = rng.dirichlet(np.ones(3), (5, 30))
    passes = [{"log_proba": np.log(p)} for p in proba]
    found = fill(Forgetting(times(5), "max"), codes, passes).scores()
    right = proba.argmax(axis=2) == codes
    np.testing.assert_array_equal(found, forgetting_scores(right))
    log_null = np.log([0.2, 0.3, 0.5])
    found = fill(Information(times(5), log_null), codes, passes).scores()
    expected = pvi_scores(codes, proba[-1], null_prob=np.exp(log_null))
    np.testing.assert_allclose(found, expected)


def test_constant_gradients_have_no_spread():
    codes = np.arange(12) % 3
    same = [{"gradients": np.full((12, 2), 0.1)}] * 3
    for normalize in ("class", "dataset", None):
        accumulator = GradientSpread(times(3), "proba", "var", normalize, 1e4)
        np.testing.assert_array_equal(fill(accumulator, codes, same).scores(), 0)


def test_spreads_are_cut():
    codes = np.zeros(3, dtype=int)
    passes = [{"gradients": np.array([[g], [1.0], [0.0]])} for g in (-1e4, 1e4)]
    accumulator = GradientSpread(times(2), "proba", "var", None, 1e4)
    np.testing.assert_array_equal(
        fill(accumulator, codes, passes).scores(), [1e4, 0, 0]
    )


def test_spread_memory_does_not_grow_with_checkpoints():
    peaks = []
    for n_checkpoints in (3, 30):
        codes = np.zeros(2000, dtype=int)
        accumulator = GradientSpread(times(n_checkpoints), "proba", "var", None, None)
        gradients = np.random.default_rng(0).standard_normal((2000, 50))
        tracemalloc.start()
        fill(accumulator, codes, [{"gradients": gradients}] * n_checkpoints, chunk=200)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[0] < 2.5 * gradients.nbytes


@pytest.mark.parametrize(
    ("right", "events"),
    [
        ([1, 0, 1, 0], 2),
        ([0, 0, 0, 0], 4),
        ([0, 1, 1], 0),
        ([0, 1, 0, 0], 1),
        ([0, 1, 0, 0, 0, 0], 1),  # repeating the last state adds nothing
    ],
)
def test_forgetting_events(right, events):
    codes = np.zeros(1, dtype=int)
    passes = [{"log_proba": np.log([[0.5 + 0.4 * (2 * r - 1), 0.5]])} for r in right]
    accumulator = Forgetting(times(len(right)), "max")
    assert fill(accumulator, codes, passes).scores() == [events]
    accumulator = Forgetting(times(len(right)), "inf")
    expected = events if any(right) else np.inf
    assert fill(accumulator, codes, passes).scores() == [expected]


def test_self_influence_sums_rates_times_squares(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    norms, rates = rng.random((4, 11)), rng.random(4)
    codes = np.zeros(11, dtype=int)
    passes = [{"norms": row} for row in norms]
    for asked, told, used in [
        ("auto", rates, rates),
        ("auto", None, np.ones(4)),
        (rates, None, rates),
        (0.5, rates, np.full(4, 0.5)),
    ]:
        accumulator = fill(SelfInfluence(times(4), asked), codes, passes, told)
        np.testing.assert_allclose(accumulator.scores(), used @ norms**2, rtol=1e-12)


def test_wanted_times():
    accumulator = ErrorNorm((0.3, 1.0), 2)
    accumulator.start(np.zeros(2, dtype=int), 1)
    taken = [t for t in (0.1, 0.2, 0.3 - 1e-12, 0.4, 1.5, 2.0) if accumulator.take(t)]
    assert taken == [0.3 - 1e-12, 1.5]
    assert merge_times([(0.1 * 3, 1.0), (0.3, 2.0)]) == (0.3, 1.0, 2.0)
    accumulator = ErrorNorm(None, 2)
    accumulator.start(np.zeros(2, dtype=int), 1)
    assert accumulator.take(np.nan)


@pytest.mark.parametrize("cls", [ScoreBank, EnsembleScorer])
@pytest.mark.parametrize("scorers", [[EL2NScorer()], [("a", EL2NScorer(), 1)]])
def test_scorers_without_names_are_refused(table, cls, scorers):
    with pytest.raises(TypeError, match=r"pairs \(name, scorer\)"):
        cls(scorers).fit(*table)


def test_steps_that_resample_are_refused(table):
    pipeline = pytest.importorskip("imblearn.pipeline")
    sampler = InfluenceSampler(policy="random", random_state=0)
    model = pipeline.make_pipeline(sampler, LogisticRegression())
    with pytest.raises(TypeError, match="'influencesampler'.*each row"):
        EL2NScorer(model, epochs=None, n_runs=1).fit(*table)
