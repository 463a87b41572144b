# SPDX-License-Identifier: BSD-3-Clause
"""What the benchmarks share; data sets are only ever added, never changed."""

import sys
import time
from pathlib import Path

import numpy as np

REPRODUCE = Path(__file__).resolve().parents[1] / "reproduce"
if str(REPRODUCE) not in sys.path:
    sys.path.append(str(REPRODUCE))  # the published iteration lives there

SETTINGS = {
    "EV": {"weight_range": (0.5, 2.0), "noise_variance": 1.0},
    "NV": {"weight_range": (0.25, 1.0), "noise_variance": (0.5, 10.0)},
}


def draw(setting, n_features, seed=1, n_samples=1000):
    """Return a table and its true weights."""
    from skpapers.datasets import make_linear_sem

    sem = make_linear_sem(n_samples, n_features, random_state=seed, **SETTINGS[setting])
    return sem.X, sem.W


def random_pair(n_features, n_edges, seed=1):
    """Return two random DAGs as int8 matrices."""
    from skpapers.datasets import random_dag

    return tuple(
        random_dag(n_features, n_edges, random_state=s).astype(np.int8)
        for s in (seed, seed + 1)
    )


def cpu_seconds(function, repeats=5):
    """Return the median CPU seconds of a function after one untimed call."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))
