# SPDX-License-Identifier: BSD-3-Clause
r"""Online imitation learning: rounds of acting, asking the expert, and learning.

In round k the present policy pi_k acts in an environment, an expert labels the N states
s_i that it visited with actions a*_i, and the policy takes a step on the loss of this
round, the mean of ||pi(s_i) - a*_i||² / 2. States and labels are expensive, the policy
is cheap: so each round's loss is replaced by a target surrogate, on which the policy
takes many steps, or the exact one. The gradient by the actions, pi_k(s_i) - a*_i, is
all that is needed of the expert.

Reference: J. W. Lavington, S. Vaswani, R. Babanezhad, M. Schmidt, N. Le Roux,
"Target-based surrogates for stochastic optimization", ICML 2023.
"""

from copy import deepcopy
from numbers import Integral, Real

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from skpapers.solvers import minimize_target_surrogate
from skpapers.solvers._target_surrogate._losses import SquaredLoss
from skpapers.solvers._target_surrogate._models import ALL, LinearModel, TorchModel
from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._sklearn import HasMethods, Interval, StrOptions, fit_context
from skpapers.utils._torch import (
    import_torch,
    load_weights,
    make_mlp,
    to_tensor,
    weights_to_numpy,
)

__all__ = ["OnlineImitationLearner"]


class LinearPolicy:
    """Actions S W + b; the parameters x are W with b as its last row."""

    is_linear = True

    def __init__(self, n_states, n_actions):
        self.x = np.zeros((n_states + 1, n_actions))
        self.penalised = np.append(np.ones(n_states), 0.0)

    def table(self, S):
        """Return what the model predicts from."""
        return np.column_stack([S, np.ones(len(S))])

    def act(self, S):
        """Return the actions."""
        return S @ self.x[:-1] + self.x[-1]

    def targets(self, actions):
        """Return the expert's actions in the shape of the predictions."""
        return actions

    def model(self, S):
        """Return the model of the solvers, at the present parameters."""
        return LinearModel(self.table(S), self.x)

    def surrogate_step(self, S, loss, **options):
        """Take one outer step and return the result."""
        result = minimize_target_surrogate(self.table(S), loss, self.x, **options)
        self.x = result.x
        return result


class TorchPolicy:
    """Actions module(S); the parameters are those of the module."""

    is_linear = False

    def __init__(self, module):
        self.module = module
        self.torch = import_torch("policy")
        parameters = [p for p in module.parameters() if p.requires_grad]
        self.like = parameters[0]
        # biases and other vectors are not penalised
        parts = [np.full(p.numel(), float(p.ndim >= 2)) for p in parameters]
        self.penalised = np.concatenate(parts)

    def act(self, S):
        """Return the actions."""
        with self.torch.no_grad():
            z = self.module(to_tensor(S, self.like))
        return z.reshape(len(S), -1).cpu().numpy().astype(np.float64)

    def targets(self, actions):
        """Return the expert's actions in the shape of the predictions."""
        return actions[:, 0] if actions.shape[1] == 1 else actions

    def model(self, S):
        """Return the model of the solvers, at the present parameters."""
        return TorchModel(self.module, S, None)

    @property
    def x(self):
        """Return the parameters as a vector."""
        return self.model(np.zeros((1, 1))).x0

    @x.setter
    def x(self, values):
        self.model(np.zeros((1, 1))).load(values)

    def surrogate_step(self, S, loss, **options):
        """Take one outer step and return the result."""
        return minimize_target_surrogate(S, loss, model=self.module, **options)


class Table:
    """The same states and actions in every round."""

    def __init__(self, X, y):
        self.states, self.actions = X, y
        self.n_states, self.n_actions = X.shape[1], y.shape[1]
        self.n_queries = len(X)

    def collect(self, policy):
        """Return states and the expert's actions."""
        return self.states, self.actions


class Rollout:
    """States that a policy visits, with the expert's actions there.

    Episodes go on from round to round.
    """

    def __init__(self, environment, expert, n_samples, mixing, starts, rng):
        self.environment, self.expert, self.n_samples = environment, expert, n_samples
        self.mixing, self.starts, self.rng = mixing, starts, rng
        self.state = self._reset(seed=int(rng.randint(2**31 - 1)))
        self.n_states = len(self.state)
        self.n_actions = self._ask(self.state[None]).shape[1]
        self.n_queries = 0

    def collect(self, policy):
        """Return states and the expert's actions."""
        states = np.empty((self.n_samples, self.n_states))
        actions = np.full((self.n_samples, self.n_actions), np.nan)
        for k in range(self.n_samples):
            states[k] = self.state
            if self.mixing > 0 and self.rng.uniform() < self.mixing:
                actions[k] = action = self._ask(self.state[None])[0]
            else:
                action = policy.act(self.state[None])[0]
            self._advance(action)
        open_ = np.isnan(actions[:, 0])  # no state is asked for twice
        if open_.any():
            actions[open_] = self._ask(states[open_])
        self.n_queries += self.n_samples
        return states, actions

    def _advance(self, action):
        state, _, terminated, truncated, _ = self.environment.step(action)
        self.state = self._check(state)
        if terminated or truncated:
            self.state = self._reset()

    def _reset(self, **options):
        if self.starts is not None:
            start = self.starts[self.rng.randint(len(self.starts))]
            options["options"] = {"state": start}
        state, _ = self.environment.reset(**options)
        return self._check(state)

    @staticmethod
    def _check(state):
        state = np.ravel(np.asarray(state, dtype=np.float64))
        if not np.isfinite(state).all():
            raise ValueError("The environment returned a state that is not finite.")
        return state

    def _ask(self, states):
        actions = np.asarray(self.expert(states), dtype=np.float64)
        if actions.ndim == 1:
            actions = actions[:, None]
        if actions.ndim != 2 or len(actions) != len(states):
            raise ValueError(
                "expert must return actions of shape (n, n_actions) for states of "
                f"shape {states.shape}, got {actions.shape}."
            )
        if not np.isfinite(actions).all():
            raise ValueError("expert returned actions that are not finite.")
        return actions


class OnlineImitationLearner(RegressorMixin, DocumentedEstimator):
    """Learn a policy from an expert who labels the states that the policy visits.

    Learning from the expert's own trajectories fails where the policy drifts to states
    that the expert never saw. Here the policy acts itself, and the expert is asked for
    the states where it went. Each round of acting and asking pays for many cheap steps
    of the policy on a target surrogate.

    Parameters
    ----------
    environment : object with ``reset`` and ``step``, default=None
        Environment in gymnasium's protocol with continuous actions, for example
        `LinearSystem`. None learns from a table of states X and actions y instead.

    expert : callable, default=None
        ``expert(states)`` returns the actions, (n, n_actions), for states (n,
        n_states). None takes ``environment.expert``.

    policy : "linear", int, sequence of int or torch.nn.Module, default="linear"
        Kind of the policy: linear with an intercept; a network with hidden layers of
        these sizes; or a module from states to actions, of which a copy is trained. The
        last two need torch.

    n_rounds : int, default=50
        Rounds of acting, asking and learning.

    samples_per_round : int, default=200
        States of each round. A table is used whole in every round.

    expert_mixing : float, default=0.0
        Probability, for each step, that the expert acts in place of the policy. At 1
        this is behaviour cloning.

    solver : str, default="target_surrogate"
        How the policy learns: "target_surrogate", one surrogate a round; "ogd", a
        gradient step (online gradient descent); "adagrad", the same with AdaGrad's
        scaling; "follow_the_leader", a surrogate on the states of all rounds so far,
        which are stored.

    eta : float, "auto" or "armijo", default="auto"
        Step in the space of actions; for "ogd" and "adagrad" in that of parameters.
        "auto" is 1, one over the smoothness of the loss, where the states do not change
        with the policy (a table, "follow_the_leader"), and 0.5 where they do; for "ogd"
        and a linear policy one over the largest eigenvalue of the states' second
        moments; and 0.01 otherwise. A line search ("armijo") is for "target_surrogate".

    eta_schedule : {"constant", "stochastic", "exponential"}, default="constant"
        Step of round t of T: eta, eta / sqrt(t) or eta T^(-t / T).

    n_inner : int, default=20
        Largest number of inner steps a round where they are not exact.

    inner_solver : {"auto", "exact", "armijo", "lbfgs", "adam"}, default="auto"
        Solver of the inner problem: "auto" is "exact" for a linear policy and "lbfgs"
        for others.

    alpha : float, default=0.0
        Weight of half the squared parameters, without intercepts.

    random_state : int, RandomState instance or None, default=None
        Seed of the environment, of the mixing and of a network's weights.

    verbose : int, default=0
        Whether to print a line a round.

    Attributes
    ----------
    coef_ : ndarray of shape (n_actions, `n_features_in_`)
        Coefficients of a linear policy.

    intercept_ : ndarray of shape (n_actions,)
        Intercepts of a linear policy.

    weights_ : dict of str to ndarray
        Parameters of a network, by the names of the module.

    n_actions_ : int
        Number of action variables.

    n_iter_ : int
        Number of rounds.

    n_expert_queries_ : int
        Number of states that the expert has labelled.

    history_ : list of dict
        For each round the ``loss`` of the policy that acted, half the mean squared
        distance to the expert's actions on the states it visited, and the step ``eta``.

    n_features_in_ : int
        Number of state variables.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if X had any.

    See Also
    --------
    LinearSystem : An environment with an expert.
    skpapers.solvers.minimize_target_surrogate : The solver.

    Notes
    -----
    A round costs N steps of the environment, N labels, and for a linear policy
    O(N d² + d³) for the exact step; for a network ``n_inner`` passes over the N states.
    "follow_the_leader" costs as much on all states so far.

    References
    ----------
    .. [1] J. W. Lavington, S. Vaswani, R. Babanezhad, M. Schmidt and N. Le Roux,
       "Target-based surrogates for stochastic optimization", ICML 2023,
       arXiv:2302.02607.
    .. [2] S. Ross, G. Gordon and D. Bagnell, "A reduction of imitation learning and
       structured prediction to no-regret online learning", AISTATS 2011.

    Examples
    --------
    >>> from skpapers.policy import LinearSystem, OnlineImitationLearner
    >>> system = LinearSystem(random_state=0)
    >>> learner = OnlineImitationLearner(system, n_rounds=10, random_state=0).fit()
    >>> learner.n_expert_queries_
    2000
    >>> learner.history_[-1]["loss"] < learner.history_[0]["loss"] / 5
    True
    >>> learner.predict(system.reset(seed=1)[0][None]).shape
    (1, 2)
    """

    _parameter_constraints = {
        "environment": [HasMethods(["reset", "step"]), None],
        "expert": [callable, None],
        "policy": [
            StrOptions({"linear"}),
            Interval(Integral, 1, None, closed="left"),
            "array-like",
            HasMethods(["parameters", "state_dict"]),
        ],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "samples_per_round": [Interval(Integral, 1, None, closed="left")],
        "expert_mixing": [Interval(Real, 0, 1, closed="both")],
        "solver": [
            StrOptions({"target_surrogate", "ogd", "adagrad", "follow_the_leader"})
        ],
        "eta": [
            StrOptions({"auto", "armijo"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "eta_schedule": [StrOptions({"constant", "stochastic", "exponential"})],
        "n_inner": [Interval(Integral, 1, None, closed="left")],
        "inner_solver": [StrOptions({"auto", "exact", "armijo", "lbfgs", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        environment=None,
        expert=None,
        *,
        policy="linear",
        n_rounds=50,
        samples_per_round=200,
        expert_mixing=0.0,
        solver="target_surrogate",
        eta="auto",
        eta_schedule="constant",
        n_inner=20,
        inner_solver="auto",
        alpha=0.0,
        random_state=None,
        verbose=0,
    ):
        self.environment = environment
        self.expert = expert
        self.policy = policy
        self.n_rounds = n_rounds
        self.samples_per_round = samples_per_round
        self.expert_mixing = expert_mixing
        self.solver = solver
        self.eta = eta
        self.eta_schedule = eta_schedule
        self.n_inner = n_inner
        self.inner_solver = inner_solver
        self.alpha = alpha
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X=None, y=None):
        """Act, ask and learn; or learn from a table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_states), default=None
            With an environment, states that episodes begin at, handed over as
            ``reset(options={"state": row})``; None lets the environment choose.
            Without one, the states of the table.
        y : array-like of shape (n_samples,) or (n_samples, n_actions), default=None
            The expert's actions in a table; ignored with an environment.

        Returns
        -------
        self : object
            The fitted learner.

        Raises
        ------
        ValueError
            If the expert or the environment returns something of the wrong shape or not
            finite, if there is no expert, or without environment no y.
        """
        if self.eta == "armijo" and self.solver != "target_surrogate":
            raise ValueError(
                "eta='armijo' is for solver='target_surrogate', got "
                f"solver={self.solver!r}."
            )
        rng = check_random_state(self.random_state)
        if self.environment is None:
            X, y = validate_data(
                self, X, y, dtype=np.float64, multi_output=True, y_numeric=True
            )
            self._vector = y.ndim == 1
            source = Table(X, y.reshape(len(y), -1).astype(np.float64))
        else:
            source = self._roll_out(X, rng)
        policy = self._make_policy(source, int(rng.randint(2**31 - 1)))
        self._learn(source, policy)
        self.n_expert_queries_, self.n_actions_ = source.n_queries, source.n_actions
        self.n_iter_ = len(self.history_)
        self._store(policy)
        return self

    def _roll_out(self, X, rng):
        expert = self.expert or getattr(self.environment, "expert", None)
        if expert is None:
            raise ValueError(
                "The environment has no expert: pass expert, a callable from states to "
                "actions."
            )
        starts = X if X is None else check_array(X, dtype=np.float64)
        how = self.samples_per_round, self.expert_mixing
        source = Rollout(self.environment, expert, *how, starts, rng)
        self._vector, self.n_features_in_ = False, source.n_states
        vars(self).pop("feature_names_in_", None)
        return source

    def _make_policy(self, source, seed):
        shape = source.n_states, source.n_actions
        if isinstance(self.policy, str):
            return LinearPolicy(*shape)
        if self.inner_solver == "exact":
            raise ValueError("inner_solver='exact' needs policy='linear'.")
        if hasattr(self.policy, "parameters"):
            policy = TorchPolicy(deepcopy(self.policy))
            found = policy.act(np.zeros((1, shape[0]))).shape[1]
            if found != shape[1]:
                raise ValueError(
                    f"policy returns {found} actions, the expert {shape[1]}."
                )
            return policy
        return TorchPolicy(make_mlp(shape[0], self._hidden(), shape[1], seed=seed))

    def _hidden(self):
        sizes = [self.policy] if isinstance(self.policy, Integral) else self.policy
        if not all(isinstance(size, Integral) and size >= 1 for size in sizes):
            raise ValueError(
                "policy must be 'linear', integers >= 1 or a torch module, got "
                f"{self.policy!r}."
            )
        return list(sizes)

    def _learn(self, source, policy):
        """Play the rounds."""
        memory, self.history_ = {}, []
        for t in range(1, self.n_rounds + 1):
            states, actions = source.collect(policy)
            loss = SquaredLoss(policy.targets(actions))
            eta, value = self._learn_round(policy, states, actions, loss, t, memory)
            self.history_.append({"loss": float(value), "eta": float(eta)})
            if self.verbose:
                print(f"[OnlineImitationLearner] round {t}: loss {value:.6g}")
            if not np.isfinite(value):
                raise ValueError(f"The loss of round {t} is not finite: lower eta.")

    def _learn_round(self, policy, states, actions, loss, t, memory):
        """Change the policy and return the step and the loss before."""
        factor = {
            "constant": 1.0,
            "stochastic": t**-0.5,
            "exponential": self.n_rounds ** (-t / self.n_rounds),
        }[self.eta_schedule]
        if self.solver in ("ogd", "adagrad"):
            return self._gradient_step(policy, states, loss, factor, memory)
        value = loss.value(policy.model(states).predict(policy.x, ALL), ALL)
        if self.solver == "follow_the_leader" and self.environment is not None:
            rounds = memory.setdefault("rounds", [])
            rounds.append((states, actions))
            states = np.concatenate([s for s, _ in rounds])
            actions = np.concatenate([a for _, a in rounds])
            loss = SquaredLoss(policy.targets(actions))
        eta = self.eta
        if eta == "auto":
            moving = self.environment is not None and self.solver == "target_surrogate"
            eta = 0.5 if moving else 1.0
        if eta != "armijo":
            eta = eta * factor
        result = policy.surrogate_step(
            states,
            loss,
            eta=eta,
            inner=self.inner_solver,
            n_inner=self.n_inner,
            l2=self.alpha * policy.penalised,
            max_iter=1,
            tol=0.0,
        )
        # there is no step where the policy is perfect
        return [*result.eta_path, np.nan][0], value

    def _gradient_step(self, policy, states, loss, factor, memory):
        model, x = policy.model(states), policy.x
        value, slope = loss(model.predict(x, ALL), ALL)
        penalty = self.alpha * policy.penalised
        gradient = model.pullback(x, slope, ALL)
        gradient = gradient + (penalty[:, None] if x.ndim == 2 else penalty) * x
        eta = self.eta
        if eta == "auto":
            eta = 0.01
            if self.solver == "ogd" and policy.is_linear:
                eta = len(states) / np.linalg.norm(policy.table(states), 2) ** 2
        if self.solver == "adagrad":
            memory["squares"] = memory.get("squares", 0.0) + gradient**2
            gradient = gradient / (np.sqrt(memory["squares"]) + 1e-10)
        policy.x = x - eta * factor * gradient
        return eta * factor, value

    def _store(self, policy):
        for name in ("coef_", "intercept_", "weights_", "_module"):
            vars(self).pop(name, None)
        if policy.is_linear:
            self.coef_ = np.ascontiguousarray(policy.x[:-1].T)
            self.intercept_ = policy.x[-1].copy()
        else:
            self.weights_ = weights_to_numpy(policy.module)

    def predict(self, X):
        """Return the policy's actions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_states)
            States.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_actions)
            Actions; of one dimension if those of a table were.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        if hasattr(self, "coef_"):
            actions = X @ self.coef_.T + self.intercept_
        else:
            actions = TorchPolicy(self._rebuild()).act(X)
        return actions[:, 0] if self._vector else actions

    def _rebuild(self):
        """Return the network with the weights that were learnt."""
        if hasattr(self.policy, "parameters"):
            module = deepcopy(self.policy)
        else:
            module = make_mlp(self.n_features_in_, self._hidden(), self.n_actions_)
        return load_weights(module, self.weights_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.environment is None
        tags.target_tags.multi_output = True
        return tags
