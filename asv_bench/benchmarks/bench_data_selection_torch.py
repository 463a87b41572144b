# SPDX-License-Identifier: BSD-3-Clause
"""Torch networks: gradient norms of rows, and trainings at once."""

import numpy as np

from benchmarks.common import cpu_seconds
from skpapers.data_selection import gradient_norms


def networks():
    """Return makers of networks by name, with the number of rows and their shape."""
    from torch import nn

    return {
        "mlp 128-128": (
            lambda: nn.Sequential(
                nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
                nn.Linear(128, 10),
            ),
            16_000,
            (64,),
        ),
        "convolutions": (
            lambda: nn.Sequential(
                nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
                nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
            ),
            500,
            (3, 16, 16),
        ),
        "sequence": (
            lambda: nn.Sequential(
                nn.Unflatten(1, (16, 32)), nn.Linear(32, 128), nn.LayerNorm(128),
                nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Flatten(),
                nn.Linear(2048, 10),
            ),
            2000,
            (512,),
        ),
    }  # fmt: skip


def draw(name):
    """Return a network on one thread, rows and labels."""
    import torch

    torch.set_num_threads(1)
    maker, n_samples, shape = networks()[name]
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, *shape), dtype=np.float32)
    return maker().eval(), X, rng.integers(10, size=n_samples)


class GradientNorms:
    """Norms read off layer by layer, beside the gradients of torch's ``vmap(grad)``."""

    params = [["skpapers", "vmap"], ["mlp 128-128", "convolutions", "sequence"]]
    param_names = ["library", "network"]
    timeout = 180
    batch = 250

    def setup(self, library, network):
        self.module, self.X, self.y = draw(network)
        self.norms = getattr(self, library)

    def skpapers(self):
        """Return the norms from the layers."""
        return gradient_norms(self.module, self.X, self.y)

    def vmap(self):
        """Return the norms of the gradients."""
        import torch
        from torch.func import functional_call, grad, vmap

        weights = {k: v.detach() for k, v in self.module.named_parameters()}

        def loss(weights, x, y):
            logits = functional_call(self.module, weights, (x[None],))
            return torch.nn.functional.cross_entropy(logits, y[None])

        per_row, norms = vmap(grad(loss), in_dims=(None, 0, 0)), []
        X, y = torch.from_numpy(self.X), torch.from_numpy(self.y)
        for start in range(0, len(X), self.batch):
            rows = slice(start, start + self.batch)
            found = per_row(weights, X[rows], y[rows])
            norms.append(sum(g.flatten(1).square().sum(1) for g in found.values()))
        return torch.cat(norms).sqrt().numpy()

    def time_norms(self, library, network):
        self.norms()

    def peakmem_norms(self, library, network):
        self.norms()

    def track_difference(self, library, network):
        """Return the largest relative difference from the gradients themselves."""
        return float(np.abs(self.norms() / self.vmap() - 1).max())


class Trainings:
    """Ten trainings of a module for three epochs: at once, and one after the other."""

    params = [["at once", "one by one"], ["mlp 128-128", "convolutions"]]
    param_names = ["way", "network"]
    timeout = 180
    seeds = range(10)

    def setup(self, way, network):
        self.module, X, y = draw(network)
        if network == "convolutions":  # running statistics cannot be stacked
            del self.module[4]
        self.X, self.y = X[:500], y[:500]

    def train(self, way):
        """Return the models of all trainings."""
        from skpapers.data_selection import _torch_checkpoints as room

        given = (self.module, self.X, self.y, (3.0,))
        if way == "at once":
            ((_, models),) = room.stacked_checkpoints(*given, self.seeds)
            return models
        runs = [room.train_module(*given, seed) for seed in self.seeds]
        return [next(run)[1] for run in runs]

    def track_seconds(self, way, network):
        return cpu_seconds(lambda: self.train(way), repeats=1)

    track_seconds.unit = "CPU seconds"

    def track_difference(self, way, network):
        """Return the largest difference of a probability from training one by one."""
        found, expected = (
            np.exp([model.run(self.X).log_proba for model in self.train(kind)])
            for kind in (way, "one by one")
        )
        return float(np.abs(found - expected).max())
