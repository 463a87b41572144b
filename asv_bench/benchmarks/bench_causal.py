# SPDX-License-Identifier: BSD-3-Clause
"""Learners of causal graphs: time, memory and errors, beside the published iteration.

Slower peers, which need other versions of numpy, are in the reproductions.
"""

import time
import warnings
from importlib import import_module

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks.common import cpu_seconds, draw
from skpapers.causal import CoLiDE, SortRegress, TopologicalSwap, colide_batch
from skpapers.metrics import (
    cpdag_structural_hamming_distance,
    structural_hamming_distance,
)

NOISE = {"EV": "equal", "NV": "nonequal"}
CUT = {"loss": "squared", "sparsifier": "threshold", "w_threshold": 0.3}


def fit_ours(X, setting):
    """Fit CoLiDE; returns the graph."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return CoLiDE(NOISE[setting]).fit(X).adjacency_


def fit_published(X, setting):
    """Run the published iteration in NumPy; returns the graph."""
    from _published_colide import published_colide

    return published_colide(X, NOISE[setting])[0]


class FitCoLiDE:
    """CoLiDE against a plain NumPy loop of the published iteration."""

    params = [["skpapers", "published loop"], ["EV", "NV"], [20]]
    param_names = ["library", "setting", "n_features"]
    timeout = 120
    number, repeat, warmup_time = 1, 1, 0
    libraries = {"skpapers": fit_ours, "published loop": fit_published}

    def setup(self, library, setting, n_features):
        self.X, self.W = draw(setting, n_features)
        self.fit = self.libraries[library]
        if library == "skpapers":
            self.fit(self.X[:, :5], setting)  # compiles

    def time_fit(self, library, setting, n_features):
        self.fit(self.X, setting)

    def track_shd(self, library, setting, n_features):
        graph = self.fit(self.X, setting)
        return structural_hamming_distance(self.W, graph)

    track_shd.unit = "pairs"


class FitLargerCoLiDE:
    """Sizes at which the published loop takes too long for a routine run."""

    params = [["EV", "NV"], [50, 100]]
    param_names = ["setting", "n_features"]
    timeout = 120
    number, repeat = 1, 1

    def setup(self, setting, n_features):
        self.X, self.W = draw(setting, n_features)
        fit_ours(self.X[:, :5], setting)  # compiles

    def time_fit(self, setting, n_features):
        fit_ours(self.X, setting)

    def track_shd(self, setting, n_features):
        return structural_hamming_distance(self.W, fit_ours(self.X, setting))

    track_shd.unit = "pairs"


class SpeedUpCoLiDE:
    """How many times faster than the published loop, in the same process."""

    params = [["NV"], [50]]
    param_names = ["setting", "n_features"]
    timeout = 120

    def setup(self, setting, n_features):
        self.X, _ = draw(setting, n_features)

    def track_ratio(self, setting, n_features):
        ours = cpu_seconds(lambda: fit_ours(self.X, setting), repeats=3)
        start = time.process_time()  # NumPy has nothing to compile: one run is enough
        fit_published(self.X, setting)
        return (time.process_time() - start) / ours

    track_ratio.unit = "times"


class BatchCoLiDE:
    """Bootstrap resamples in one call, beside a loop of the compiled kernels.

    One thread: on a processor the batch has no device to fill.
    """

    params = [["NumPy", "PyTorch"], [10, 20]]
    param_names = ["library", "n_features"]
    timeout = 120
    n_draws = 16

    def setup(self, library, n_features):
        X, _ = draw("NV", n_features)
        rng = np.random.default_rng(0)
        tables = [X[rng.integers(len(X), size=len(X))] for _ in range(self.n_draws)]
        self.C = np.stack([np.cov(table.T, bias=True) for table in tables])
        self.here = self.C
        if library == "PyTorch":
            torch = import_module("torch")
            torch.set_num_threads(1)
            self.here = torch.asarray(self.C)
        self.fit(self.C[:, :3, :3], "compiled")  # compiles

    def fit(self, C, engine):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return colide_batch(C, noise="nonequal", engine=engine)

    def time_batch(self, library, n_features):
        self.fit(self.here, "array_api")

    def peakmem_batch(self, library, n_features):
        self.fit(self.here, "array_api")

    def track_ratio_to_the_loop(self, library, n_features):
        loop = cpu_seconds(lambda: self.fit(self.C, "compiled"), repeats=1)
        start = time.process_time()
        self.fit(self.here, "array_api")
        return (time.process_time() - start) / loop

    track_ratio_to_the_loop.unit = "times the loop's CPU seconds"

    def track_graphs_that_differ(self, library, n_features):
        graphs = [
            np.asarray(self.fit(C, engine).adjacency) != 0
            for C, engine in ((self.C, "compiled"), (self.here, "array_api"))
        ]
        return float((graphs[0] != graphs[1]).any(axis=(1, 2)).mean())

    track_graphs_that_differ.unit = "share"


class FitOrderSearch:
    """Search over orders, alone and with the choice of a sparse graph."""

    params = [["threshold", "bic_l0"], [50, 200]]
    param_names = ["sparsifier", "n_features"]

    def setup(self, sparsifier, n_features):
        self.X, self.W = draw("EV", n_features)
        self.model = TopologicalSwap(loss="squared", sparsifier=sparsifier)
        self.model.fit(self.X)

    def time_fit(self, sparsifier, n_features):
        self.model.fit(self.X)

    def peakmem_fit(self, sparsifier, n_features):
        self.model.fit(self.X)

    def track_shd(self, sparsifier, n_features):
        return structural_hamming_distance(self.W, self.model.adjacency_)

    track_shd.unit = "pairs"


class SearchByBIC:
    """Search for the graph of lowest BIC, 20 restarts."""

    params = [["EV", "NV"], [20, 100]]
    param_names = ["setting", "n_features"]
    timeout = 120

    def setup(self, setting, n_features):
        self.X, self.W = draw(setting, n_features)
        self.model = TopologicalSwap(loss="bic", n_restarts=20, random_state=0)
        self.model.fit(self.X)

    def time_fit(self, setting, n_features):
        self.model.fit(self.X)

    def peakmem_fit(self, setting, n_features):
        self.model.fit(self.X)

    def track_bic(self, setting, n_features):
        return self.model.bic_

    def track_shd_cpdag(self, setting, n_features):
        return cpdag_structural_hamming_distance(self.W, self.model.adjacency_)

    track_shd_cpdag.unit = "pairs"


class ThousandColumns:
    """1000 variables and 4000 edges from 4000 rows."""

    timeout = 120
    number, repeat = 1, 1

    def setup(self):
        self.X, self.W = draw("EV", 1000, n_samples=4000)
        TopologicalSwap(**CUT).fit(self.X[:, :10])

    def time_fit(self):
        TopologicalSwap(**CUT).fit(self.X)

    def peakmem_fit(self):
        TopologicalSwap(**CUT).fit(self.X)

    def track_shd(self):
        graph = TopologicalSwap(**CUT).fit(self.X).adjacency_
        return structural_hamming_distance(self.W, graph)

    track_shd.unit = "pairs"


class FitSortRegress:
    """The baseline."""

    params = [[50, 200]]
    param_names = ["n_features"]

    def setup(self, n_features):
        self.X, self.W = draw("EV", n_features)
        SortRegress().fit(self.X)

    def time_fit(self, n_features):
        SortRegress().fit(self.X)

    def track_shd(self, n_features):
        return structural_hamming_distance(self.W, SortRegress().fit(self.X).adjacency_)

    track_shd.unit = "pairs"


class Use:
    """What a fitted learner is used for."""

    def setup(self):
        self.X, _ = draw("EV", 100, n_samples=10_000)
        self.model = TopologicalSwap("squared").fit(self.X)

    def time_score(self):
        self.model.score(self.X)

    def time_sample(self):
        self.model.sample(10_000, random_state=0)

    def time_total_effects(self):
        np.asarray(self.model.total_effects_)
