# SPDX-License-Identifier: BSD-3-Clause
"""Scores of rows: closed forms beside autograd, and tables of a million rows."""

import os
import tempfile
import threading
import time
import warnings

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks.common import cpu_seconds
from skpapers.data_selection import gradient_norms, score_rows, tracin_influence

HIDDEN = (128, 128)


def fitted_network(n_samples, n_features, hidden, dtype="float64", seed=0):
    """Return a network after one epoch on some rows, with rows and labels."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features), dtype=dtype)
    y = rng.integers(10, size=n_samples)
    y[:10] = np.arange(10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one epoch is what is wanted
        network = MLPClassifier(hidden, max_iter=1, random_state=0)
        network.fit(X[:4000], y[:4000])
    return network, X, y


class Autograd:
    """The same network in torch, and two ways to the norms of its rows' gradients."""

    def __init__(self, network, batch):
        import torch

        self.torch, self.batch = torch, batch
        self.parameters = [
            torch.from_numpy(array.copy())
            for pair in zip(network.coefs_, network.intercepts_, strict=True)
            for array in pair
        ]

    def loss(self, parameters, x, y):
        """Return the cross-entropies of rows."""
        torch, n_layers = self.torch, len(parameters) // 2
        for k in range(n_layers):
            x = x @ parameters[2 * k] + parameters[2 * k + 1]
            if k < n_layers - 1:
                x = torch.relu(x)
        return torch.nn.functional.cross_entropy(x, y, reduction="none")

    def _batches(self, X, y):
        X, y = self.torch.from_numpy(X), self.torch.from_numpy(y)
        for start in range(0, len(X), self.batch):
            rows = slice(start, start + self.batch)
            yield X[rows], y[rows]

    def by_vmap(self, X, y):
        """Norms by ``vmap(grad)``."""
        func, norms = self.torch.func, []
        one = func.grad(lambda p, x, y: self.loss(p, x[None], y[None])[0])
        per_row = func.vmap(one, in_dims=(None, 0, 0))
        for rows, labels in self._batches(X, y):
            norms.append(self._norms(per_row(self.parameters, rows, labels)))
        return self.torch.cat(norms).numpy()

    def by_jacobian(self, X, y):
        """Norms by the Jacobian of a batch's losses: a backward pass a row."""
        norms, jacobian = [], self.torch.func.jacrev(self.loss)
        for rows, labels in self._batches(X, y):
            norms.append(self._norms(jacobian(self.parameters, rows, labels)))
        return self.torch.cat(norms).numpy()

    def by_backward_passes(self, X, y):
        """Norms by as many backward passes over a batch as it has rows."""
        torch, norms = self.torch, []
        parameters = [p.clone().requires_grad_() for p in self.parameters]
        for rows, labels in self._batches(X, y):
            losses = self.loss(parameters, rows, labels)
            for loss in losses:
                found = torch.autograd.grad(loss, parameters, retain_graph=True)
                norms.append(self._norms([g[None] for g in found]))
        return torch.cat(norms).numpy()

    def _norms(self, gradients):
        return sum(g.flatten(1).square().sum(1) for g in gradients).sqrt()


class GradientNorms:
    """GraNd of 16 000 rows with 64 columns, network 128-128 with 10 classes."""

    params = [["float32", "float64"]]
    param_names = ["dtype"]
    timeout = 600
    n_samples, n_columns, batch = 16_000, 64, 250

    def setup(self, dtype):
        self.network, self.X, self.y = fitted_network(
            self.n_samples, self.n_columns, HIDDEN, dtype
        )
        self.autograd = Autograd(self.network, self.batch)

    def ours(self):
        return gradient_norms(self.network, self.X, self.y)

    def time_closed_form(self, dtype):
        self.ours()

    def track_vmap_over_closed_form(self, dtype):
        peer = self.autograd.by_vmap
        np.testing.assert_allclose(peer(self.X, self.y), self.ours(), rtol=1e-3)
        seconds = cpu_seconds(lambda: peer(self.X, self.y), repeats=3)
        return seconds / cpu_seconds(self.ours)

    def track_jacobian_over_closed_form(self, dtype):
        """Both by row; the Jacobian's time is proportional to the number of batches."""
        return self._per_row(self.autograd.by_jacobian)

    def track_backward_passes_over_closed_form(self, dtype):
        return self._per_row(self.autograd.by_backward_passes)

    def _per_row(self, peer, n_rows=1000):
        X, y = self.X[:n_rows], self.y[:n_rows]
        np.testing.assert_allclose(peer(X, y), self.ours()[:n_rows], rtol=1e-3)
        seconds = cpu_seconds(lambda: peer(X, y), repeats=3) / n_rows
        return seconds * self.n_samples / cpu_seconds(self.ours)

    for track in (
        track_vmap_over_closed_form,
        track_jacobian_over_closed_form,
        track_backward_passes_over_closed_form,
    ):
        track.unit = "times"
    del track


class Influences:
    """Influence of 2 000 rows on 1 000 others."""

    def setup(self):
        self.network, self.X, self.y = fitted_network(3000, 64, HIDDEN)

    def time_influence(self):
        X, y = self.X, self.y
        tracin_influence([self.network], X[:2000], y[:2000], X[2000:], y[2000:])


class Millions:
    """EL2N and GraNd of a million rows with 100 columns in one pass, 10 classes."""

    params = [["array", "memory map"]]
    param_names = ["table"]
    timeout = 900
    n_samples, n_columns = 1_000_000, 100

    def setup(self, table):
        self.network, _, _ = fitted_network(5000, self.n_columns, (100,))
        rng = np.random.default_rng(0)
        self.y = rng.integers(10, size=self.n_samples)
        shape = self.n_samples, self.n_columns
        if table == "array":
            self.X = np.empty(shape)
            fill(self.X, rng)
        else:
            handle, self.path = tempfile.mkstemp(suffix=".npy")
            os.close(handle)
            fill(np.lib.format.open_memmap(self.path, "w+", shape=shape), rng)
            self.X = np.load(self.path, mmap_mode="r")

    def teardown(self, table):
        del self.X
        if table != "array":
            os.remove(self.path)

    def score(self):
        return score_rows(self.network, self.X, self.y, scores=["el2n", "grand"])

    def track_over_predict_proba(self, table):
        seconds = cpu_seconds(lambda: self.network.predict_proba(self.X), repeats=3)
        return cpu_seconds(self.score, repeats=3) / seconds

    track_over_predict_proba.unit = "times"

    def track_memory_beyond_table(self, table):
        return peak_bytes(self.score) / 1e9

    track_memory_beyond_table.unit = "GB"


def fill(X, rng, step=50_000):
    """Fill a large table with normal numbers."""
    for start in range(0, len(X), step):
        part = X[start : start + step]
        part[:] = rng.standard_normal(part.shape)


def private_bytes():
    """Return the memory of the process that is not a file's (Linux)."""
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


def peak_bytes(function):
    """Return how much more memory a function takes at its peak, looked at often."""
    start, peak, done = private_bytes(), [0], threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], private_bytes())
            time.sleep(0.002)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        function()
    finally:
        done.set()
        thread.join()
    return max(0, peak[0] - start)
