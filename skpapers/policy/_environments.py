# SPDX-License-Identifier: BSD-3-Clause
"""Environments that need no further package, in the protocol of gymnasium."""

from numbers import Integral

import numpy as np
from scipy.linalg import solve_discrete_are

__all__ = ["LinearSystem"]


class LinearSystem:
    """A noisy linear system with a saturated optimal controller as expert.

    States follow s' = A s + B a + noise, clipped to a box. A is a Gaussian matrix,
    scaled to a spectral radius a little above one, so that states grow without control;
    B is Gaussian. The expert is a* = 1.5 tanh(-K s) with the gain K of the linear
    quadratic regulator (unit costs): nearly linear near the origin and bounded far
    away. An episode begins at s ~ N(0, 4 I) and is cut after ``horizon`` steps.

    Parameters
    ----------
    n_states : int, default=6
        Number of state variables.

    n_actions : int, default=2
        Number of action variables.

    spectral_radius : float, default=1.02
        Largest absolute eigenvalue of A.

    noise : float, default=0.1
        Standard deviation of the noise of each state variable.

    limit : float, default=20.0
        States are clipped to plus and minus this.

    horizon : int, default=50
        Steps of an episode.

    random_state : int, default=0
        Seed of A and B, and of the noise until `reset` is called with a seed.

    Attributes
    ----------
    A : ndarray of shape (n_states, n_states)
        Transition matrix.
    B : ndarray of shape (n_states, n_actions)
        Effect of the actions.
    K : ndarray of shape (n_actions, n_states)
        Gain of the regulator.

    See Also
    --------
    OnlineImitationLearner : Learns the expert's policy in this or another environment.

    Notes
    -----
    A step costs O(n_states (n_states + n_actions)).

    Examples
    --------
    >>> from skpapers.policy import LinearSystem
    >>> system = LinearSystem(random_state=0)
    >>> state, info = system.reset(seed=1)
    >>> state.shape, system.expert(state[None]).shape
    ((6,), (1, 2))
    >>> state, reward, terminated, truncated, info = system.step([0.0, 0.0])
    >>> terminated, truncated
    (False, False)
    """

    def __init__(
        self,
        n_states=6,
        n_actions=2,
        *,
        spectral_radius=1.02,
        noise=0.1,
        limit=20.0,
        horizon=50,
        random_state=0,
    ):
        for name, value in {
            "n_states": n_states,
            "n_actions": n_actions,
            "horizon": horizon,
        }.items():
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")
        for name, value in {"noise": noise, "spectral_radius": spectral_radius}.items():
            if not 0 <= value < np.inf:
                raise ValueError(f"{name} must be finite and >= 0, got {value!r}.")
        if not limit > 0:
            raise ValueError(f"limit must be positive, got {limit!r}.")
        self.n_states, self.n_actions = n_states, n_actions
        self.noise, self.limit, self.horizon = noise, limit, horizon
        rng = np.random.default_rng(random_state)
        A = rng.standard_normal((n_states, n_states))
        self.A = A * (spectral_radius / np.abs(np.linalg.eigvals(A)).max())
        self.B = rng.standard_normal((n_states, n_actions))
        P = solve_discrete_are(self.A, self.B, np.eye(n_states), np.eye(n_actions))
        self.K = np.linalg.solve(
            np.eye(n_actions) + self.B.T @ P @ self.B, self.B.T @ P @ self.A
        )
        self._rng = rng
        self._state, self._time = None, 0

    def expert(self, states):
        """Return the expert's actions.

        Parameters
        ----------
        states : array-like of shape (n, n_states)
            States.

        Returns
        -------
        ndarray of shape (n, n_actions)
            Actions 1.5 tanh(-K s).
        """
        return 1.5 * np.tanh(-np.asarray(states) @ self.K.T)

    def reset(self, *, seed=None, options=None):
        """Begin an episode.

        Parameters
        ----------
        seed : int, default=None
            Seed of the noise from now on; None goes on with the present one.
        options : dict, default=None
            ``{"state": s}`` begins at s and not at a random state.

        Returns
        -------
        state : ndarray of shape (n_states,)
            The first state.
        info : dict
            Empty.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        if options is not None and "state" in options:
            state = np.array(options["state"], dtype=np.float64)
            if state.shape != (self.n_states,):
                raise ValueError(
                    f"The state must have shape ({self.n_states},), got {state.shape}."
                )
        else:
            state = 2 * self._rng.standard_normal(self.n_states)
        self._state, self._time = np.clip(state, -self.limit, self.limit), 0
        return self._state.copy(), {}

    def step(self, action):
        """Act and return what follows.

        Parameters
        ----------
        action : array-like of shape (n_actions,)
            The action.

        Returns
        -------
        state : ndarray of shape (n_states,)
            The next state.
        reward : float
            Minus the squared lengths of the state and the action.
        terminated : bool
            Always False.
        truncated : bool
            Whether the horizon is reached.
        info : dict
            Empty.
        """
        if self._state is None:
            raise RuntimeError("Call reset before the first step.")
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (self.n_actions,):
            raise ValueError(
                f"The action must have shape ({self.n_actions},), got {action.shape}."
            )
        reward = -float(self._state @ self._state + action @ action)
        state = self.A @ self._state + self.B @ action
        state += self.noise * self._rng.standard_normal(self.n_states)
        self._state = np.clip(state, -self.limit, self.limit)
        self._time += 1
        return self._state.copy(), reward, False, self._time >= self.horizon, {}
