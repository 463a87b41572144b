"""Online imitation: the system, the rounds, the solvers, what is counted, errors."""

import numpy as np
import pytest
import skops.io
from sklearn.base import clone

from skpapers.policy import LinearSystem, OnlineImitationLearner


def test_system_is_as_described(global_random_seed):
    system = LinearSystem(n_states=5, n_actions=3, random_state=global_random_seed)
    radius = np.abs(np.linalg.eigvals(system.A)).max()
    assert radius == pytest.approx(1.02)
    assert np.abs(np.linalg.eigvals(system.A - system.B @ system.K)).max() < 1
    # the gain is optimal: it solves the Riccati equation, reached by iteration
    P = np.eye(5)
    for _ in range(2000):
        G = np.eye(3) + system.B.T @ P @ system.B
        K = np.linalg.solve(G, system.B.T @ P @ system.A)
        P = np.eye(5) + system.A.T @ P @ (system.A - system.B @ K)
    np.testing.assert_allclose(system.K, K, atol=1e-8)
    states = np.random.default_rng(0).standard_normal((7, 5))
    expected = 1.5 * np.tanh(-states @ K.T)
    np.testing.assert_allclose(system.expert(states), expected, atol=1e-8)


def test_system_steps(global_random_seed):
    system = LinearSystem(noise=0.0, random_state=global_random_seed, horizon=3)
    state, info = system.reset(options={"state": np.arange(6.0)})
    np.testing.assert_array_equal(state, np.arange(6.0))
    assert info == {}
    action = np.array([0.5, -1.0])
    following, reward, terminated, truncated, _ = system.step(action)
    expected = np.clip(system.A @ state + system.B @ action, -20, 20)
    np.testing.assert_allclose(following, expected)
    assert reward == -(55 + 1.25)
    assert not terminated
    assert not truncated
    system.step(action)
    assert system.step(action)[3]
    system.reset(options={"state": np.full(6, 1e6)})
    assert np.abs(system.step(1e9 * action)[0]).max() == 20


def test_system_is_seeded():
    one, two = LinearSystem(random_state=3), LinearSystem(random_state=3)
    np.testing.assert_array_equal(one.A, two.A)
    one.reset()
    paths = []
    for system in (one, two):
        system.reset(seed=5)
        paths.append([system.step([0.0, 0.0])[0] for _ in range(5)])
    np.testing.assert_array_equal(*paths)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_states": 0}, "n_states"),
        ({"horizon": 1.5}, "horizon"),
        ({"noise": -1}, "noise"),
        ({"spectral_radius": np.inf}, "spectral_radius"),
        ({"limit": 0}, "limit"),
    ],
)
def test_system_errors(options, match):
    with pytest.raises(ValueError, match=match):
        LinearSystem(**options)


def test_system_refuses_bad_calls():
    system = LinearSystem()
    with pytest.raises(RuntimeError, match="Call reset"):
        system.step([0.0, 0.0])
    with pytest.raises(ValueError, match="state must have shape"):
        system.reset(options={"state": np.zeros(3)})
    system.reset()
    with pytest.raises(ValueError, match="action must have shape"):
        system.step([0.0])


def learner(system, expert=None, **options):
    options = {"n_rounds": 8, "samples_per_round": 100, "random_state": 0} | options
    return OnlineImitationLearner(system, expert, **options)


def losses(model):
    return np.array([record["loss"] for record in model.history_])


@pytest.mark.parametrize(
    "solver", ["target_surrogate", "ogd", "adagrad", "follow_the_leader"]
)
def test_all_solvers_learn(solver, global_random_seed):
    system = LinearSystem(random_state=0)
    model = learner(system, solver=solver, n_rounds=40, random_state=global_random_seed)
    if solver == "ogd":
        model.set_params(eta=0.005)
    model.fit()
    path = losses(model)
    assert path[-5:].mean() < 0.8 * path[0]
    assert model.n_expert_queries_ == 4000
    assert model.n_iter_ == len(path) == 40
    assert model.coef_.shape == (2, 6)


def test_exact_step_goes_to_the_least_squares_policy(global_random_seed):
    """With eta = 1 the new policy fits the labels of the round, and of it alone."""
    system = LinearSystem(random_state=global_random_seed)
    seen = []

    def expert(states):
        seen.append((states, system.expert(states)))
        return seen[-1][1]

    model = learner(system, expert=expert, n_rounds=3, eta=1.0).fit()
    states, actions = seen[-1]
    S = np.column_stack([states, np.ones(len(states))])
    x = np.linalg.lstsq(S, actions)[0]
    np.testing.assert_allclose(model.coef_, x[:-1].T, atol=1e-8)
    np.testing.assert_allclose(model.intercept_, x[-1], atol=1e-8)


def test_leader_fits_all_rounds(global_random_seed):
    system = LinearSystem(random_state=global_random_seed)
    seen = []

    def expert(states):
        seen.append((states, system.expert(states)))
        return seen[-1][1]

    model = learner(system, expert=expert, n_rounds=4, solver="follow_the_leader")
    model.fit()
    states = np.concatenate([s for s, _ in seen if len(s) > 1])
    actions = np.concatenate([a for s, a in seen if len(s) > 1])
    x = np.linalg.lstsq(np.column_stack([states, np.ones(len(states))]), actions)[0]
    np.testing.assert_allclose(model.coef_, x[:-1].T, atol=1e-7)


def test_gradient_step_written_out(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    model = OnlineImitationLearner(
        solver="ogd", eta=0.1, n_rounds=3, alpha=0.2, eta_schedule="stochastic"
    ).fit(X, y)
    S, x = np.column_stack([X, np.ones(30)]), np.zeros((4, 2))
    penalty = np.array([0.2, 0.2, 0.2, 0.0])[:, None]
    for t in range(1, 4):
        x = x - 0.1 / np.sqrt(t) * (S.T @ (S @ x - y) / 30 + penalty * x)
    np.testing.assert_allclose(model.coef_, x[:-1].T)


def test_surrogates_need_fewer_rounds_than_gradient_steps(global_random_seed):
    system = LinearSystem(random_state=global_random_seed % 2)  # no hard one
    best = {
        solver: min(
            losses(learner(system, solver=solver, eta=eta, n_rounds=20).fit()).mean()
            for eta in etas
        )
        for solver, etas in {
            "target_surrogate": (0.3, 0.5),
            "ogd": (0.003, 0.01),
        }.items()
    }
    assert best["target_surrogate"] < best["ogd"] / 2


def test_mixing_queries_each_state_once(global_random_seed):
    system = LinearSystem(random_state=global_random_seed)
    asked = []

    def expert(states):
        asked.append(len(states))
        return system.expert(states)

    cloned = learner(system, expert=expert, expert_mixing=1.0, n_rounds=2).fit()
    assert cloned.n_expert_queries_ == 200
    assert sum(asked) == 201  # one for the number of actions
    asked.clear()
    learner(system, expert=expert, expert_mixing=0.5, n_rounds=2).fit()
    assert sum(asked) == 201
    # an expert who acts keeps the states small from the first round on
    free = learner(system, expert_mixing=0.0, n_rounds=2).fit()
    assert losses(cloned)[0] < losses(free)[0] + 1e-12


def test_start_states(global_random_seed):
    system = LinearSystem(random_state=global_random_seed, horizon=4)
    rng, seen = np.random.default_rng(0), []
    starts = rng.standard_normal((3, 6))

    def expert(states):
        seen.append(states)
        return system.expert(states)

    learner(system, expert=expert, n_rounds=1, samples_per_round=40).fit(starts)
    first = seen[-1][::4]
    distance = np.abs(first[:, None] - starts).max(axis=2)
    assert (distance.min(axis=1) == 0).all()
    assert set(distance.argmin(axis=1)) == {0, 1, 2}


def test_is_deterministic_and_persists(global_random_seed):
    system = LinearSystem(random_state=global_random_seed)
    model = learner(system).fit()
    again = clone(learner(system)).fit()
    np.testing.assert_array_equal(model.coef_, again.coef_)
    states = np.random.default_rng(0).standard_normal((5, 6))
    data = skops.io.dumps(model)
    untrusted = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("skpapers.") for name in untrusted), untrusted
    copy = skops.io.loads(data, trusted=untrusted)
    np.testing.assert_array_equal(copy.predict(states), model.predict(states))


def test_verbose_tells_each_round(capsys):
    learner(LinearSystem(), n_rounds=3, verbose=1).fit()
    assert capsys.readouterr().out.count("round") == 3


def test_experts_may_return_vectors():
    system = LinearSystem(n_actions=1)
    model = learner(system, lambda states: system.expert(states)[:, 0]).fit()
    assert model.predict(np.zeros((4, 6))).shape == (4, 1)


@pytest.mark.parametrize(
    ("expert", "match"),
    [
        (lambda states: np.zeros((len(states) + 1, 2)), "expert must return actions"),
        (lambda states: np.zeros((len(states), 1, 2)), "expert must return actions"),
        (lambda states: np.full((len(states), 2), np.nan), "not finite"),
    ],
)
def test_bad_experts(expert, match):
    with pytest.raises(ValueError, match=match):
        learner(LinearSystem(), expert).fit()


class Broken(LinearSystem):
    def step(self, action):
        state, *rest = super().step(action)
        return state * np.nan, *rest


class Mute:
    """An environment without an expert."""

    def reset(self, *, seed=None, options=None):
        return np.zeros(2), {}

    def step(self, action):
        return np.zeros(2), 0.0, True, False, {}


def test_bad_environments():
    with pytest.raises(ValueError, match="state that is not finite"):
        learner(Broken()).fit()
    with pytest.raises(ValueError, match="has no expert"):
        learner(Mute()).fit()
    model = learner(Mute(), lambda states: states[:, :1] + 1).fit()
    np.testing.assert_allclose(model.predict(np.zeros((1, 2))), 1.0, atol=0.01)
    with pytest.raises(ValueError, match="y"):
        OnlineImitationLearner().fit(np.ones((3, 2)))
    with pytest.raises(ValueError, match="armijo"):
        learner(LinearSystem(), solver="ogd", eta="armijo").fit()
    with pytest.raises(ValueError, match="policy must be"):
        learner(LinearSystem(), policy=(0,)).fit()
    with pytest.raises(ValueError, match="needs policy='linear'"):
        learner(LinearSystem(), policy=(3,), inner_solver="exact").fit()


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.filterwarnings("ignore:invalid value")
def test_divergence_is_an_error():
    with pytest.raises(ValueError, match="not finite"):
        learner(LinearSystem(), solver="ogd", eta=50.0, n_rounds=300).fit()


# --- networks -----------------------------------------------------------------------
@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("solver", ["target_surrogate", "ogd", "adagrad"])
def test_network_learns(torch, solver, global_random_seed):
    system = LinearSystem(random_state=0)
    model = learner(system, policy=(16,), solver=solver, n_rounds=15, n_inner=20)
    if solver == "ogd":
        model.set_params(eta=0.002, n_rounds=50)
    model.set_params(random_state=global_random_seed).fit()
    assert losses(model)[-3:].mean() < losses(model)[:3].mean()
    states = np.zeros((3, 6))
    assert model.predict(states).shape == (3, 2)
    assert all(isinstance(value, np.ndarray) for value in model.weights_.values())
    data = skops.io.dumps(model)
    copy = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    np.testing.assert_array_equal(copy.predict(states), model.predict(states))


def test_module_is_copied(torch):
    module = torch.nn.Linear(6, 2)
    before = module.weight.detach().clone()
    model = learner(LinearSystem(), policy=module, n_rounds=2, eta=1.0).fit()
    assert torch.equal(module.weight, before)
    assert not np.array_equal(model.weights_["weight"], before.numpy())
    expected = np.zeros((1, 6)) @ model.weights_["weight"].T + model.weights_["bias"]
    np.testing.assert_allclose(model.predict(np.zeros((1, 6))), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="policy returns 3 actions"):
        learner(LinearSystem(), policy=torch.nn.Linear(6, 3)).fit()


def test_network_on_a_table(torch, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.uniform(-1, 1, (100, 2))
    model = OnlineImitationLearner(policy=24, n_rounds=60, random_state=0)
    model.fit(X, X[:, 0] * X[:, 1])
    assert model.predict(X).shape == (100,)
    assert model.score(X, X[:, 0] * X[:, 1]) > 0.8
