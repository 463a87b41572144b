# SPDX-License-Identifier: BSD-3-Clause
"""Evolutionary searches of pymoo; each generation is one call of the surrogate.

References
----------
J. Blank, K. Deb, pymoo: multi-objective optimization in Python, IEEE Access 8, 2020.
"""

import numpy as np

from skpapers.offline_optimization._searches._box import (
    FreeBox,
    best_of,
    check_numbers,
    finite_scores,
    global_numbers_kept,
    import_quietly,
)

ALGORITHMS = {"ga": "GA", "de": "DE", "pso": "PSO"}
LEAST = 8  # that the operators need


def _import(name):
    return import_quietly(f"pymoo.{name}", extra="search", needed_by="search='pymoo'")


def make_problem(objective, box, seen):
    """Return the problem of pymoo; it keeps what was scored in ``seen``."""

    class Surrogate(_import("core.problem").Problem):
        """Points as shares of the box; pymoo minimises."""

        def __init__(self):
            super().__init__(n_var=len(box.free), n_obj=1, xl=0.0, xu=1.0)

        def _evaluate(self, x, out, *args, **kwargs):
            points = box.from_shares(np.asarray(x, dtype=np.float64))
            scores = finite_scores(objective, points)
            seen.append((points, scores))
            out["F"] = -scores[:, None]

    return Surrogate()


def first_population(box, starts, pop_size, rng):
    """Return the starts as shares, filled up with random points of the box."""
    shares = np.unique(box.shares(starts[:pop_size]), axis=0)
    more = rng.uniform(size=(pop_size - len(shares), len(box.free)))
    return np.concatenate([shares, more])


def best_designs(space, points, scores, n_candidates):
    """Return the best points that decode to different designs, best first.

    With categories and integers a population gathers around few designs: points that
    differ would still repeat them.
    """
    ranked = best_of(points, scores, len(points))
    _, first = np.unique(space.decode(ranked), axis=0, return_index=True)
    return ranked[np.sort(first)[:n_candidates]]


def search(
    objective,
    space,
    starts,
    n_candidates,
    rng,
    *,
    algorithm="ga",
    n_generations=100,
    pop_size=None,
):
    """Return the best points that an evolutionary search has met.

    Parameters
    ----------
    objective : Objective
        Any surrogate.
    space : DesignSpace
        The designs that are allowed.
    starts : ndarray of shape (n_starts, D)
        Designs of the first generation.
    n_candidates : int
        How many points to return.
    rng : RandomState
        Source of random points and of the seed of pymoo.
    algorithm : {"ga", "de", "pso"}, default="ga"
        Genetic algorithm, differential evolution or particle swarm.
    n_generations : int, default=100
        Number of generations, the first one included.
    pop_size : int, default=None
        Points of a generation; None takes ``n_candidates``, or 8 if that is more.

    Returns
    -------
    ndarray of shape (n_candidates, D)
        Points of different designs, best first; fewer where fewer designs were met.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(
            f"algorithm of search='pymoo' must be one of {sorted(ALGORITHMS)}, got "
            f"{algorithm!r}."
        )
    check_numbers("pymoo", n_generations=(n_generations, int, 1))
    if pop_size is None:
        pop_size = max(n_candidates, LEAST)
    check_numbers("pymoo", pop_size=(pop_size, int, LEAST))
    starts = space.project(starts)
    box, seen = FreeBox(space, starts), []
    if not len(box.free):
        return starts[:1]
    with global_numbers_kept():
        _import("config").Config.warnings["not_compiled"] = False  # it would print
        method = _import(f"algorithms.soo.nonconvex.{algorithm}")
        _import("optimize").minimize(
            make_problem(objective, box, seen),
            getattr(method, ALGORITHMS[algorithm])(
                pop_size=pop_size,
                sampling=first_population(box, starts, pop_size, rng),
            ),
            ("n_gen", n_generations),
            seed=int(rng.randint(2**31 - 1)),
            copy_algorithm=False,
            verbose=False,
        )
    points, scores = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    return best_designs(space, points, scores, n_candidates)
