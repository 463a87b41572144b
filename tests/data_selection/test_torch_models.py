# SPDX-License-Identifier: BSD-3-Clause
"""Gradient norms and input gradients of torch modules, against other ways to them."""

import copy
import pickle

import numpy as np
import pytest
from scipy import sparse

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from skpapers.data_selection._chunks import passes  # noqa: E402
from skpapers.data_selection._models import _ghost_norms as ghosts  # noqa: E402
from skpapers.data_selection._models import _torch as models  # noqa: E402
from skpapers.utils._torch import seeded  # noqa: E402

N = 7


class Residual(nn.Module):
    """In-place activations, a layer used twice, a residual connection."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.body = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = torch.relu_(self.norm(self.stem(x.reshape(len(x), 1, 8, -1))))
        x = x + torch.tanh_(self.body(torch.relu(self.body(x))))
        return self.head(x.mean((2, 3)))


class Tokens(nn.Module):
    """Embedding, position embedding, layers on sequences."""

    def __init__(self, padding_idx=None, n_tokens=11):
        super().__init__()
        self.embed = nn.Embedding(n_tokens, 6, padding_idx=padding_idx)
        self.place = nn.Embedding(8, 6)
        self.norm = nn.LayerNorm(6)
        self.mix = nn.Linear(6, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, ids):
        x = self.embed(ids) + self.place(torch.arange(ids.shape[1], device=ids.device))
        return self.head(torch.tanh(self.mix(self.norm(x))).mean(1))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)
        self.two.weight = self.one.weight
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.two(torch.tanh(self.one(x)))))


class Loose(nn.Module):
    """A parameter that belongs to no known layer."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(x * self.scale)


class Aside(nn.Module):
    """The weight of a layer used past the layer."""

    def __init__(self):
        super().__init__()
        self.one, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.tanh(self.one(x))
        return self.head(x + nn.functional.linear(x, self.one.weight))


class Transposed(nn.Module):
    """Positions on the first axis inside, rows on the second."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(2, 4), nn.Linear(4, 3)

    def forward(self, x):
        x = torch.tanh(self.inner(x.reshape(len(x), -1, 2).transpose(0, 1)))
        return self.head(x.mean(0))


class Recurrent(nn.Module):
    """vmap has no rule for it."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.cell(x.reshape(len(x), -1, 2))[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.layer(x.reshape(len(x), -1, 4)).mean(1))


def conv1d(**options):
    return nn.Sequential(
        nn.Unflatten(1, (2, -1)), nn.Conv1d(2, 4, 3, **options), nn.Tanh(),
        nn.Flatten(), nn.LazyLinear(3),
    )  # fmt: skip


def conv2d(**options):
    channels = options.get("groups", 1) * 2
    return nn.Sequential(
        nn.Unflatten(1, (channels, 4, -1)), nn.Conv2d(channels, 4, **options),
        nn.Tanh(), nn.Flatten(), nn.LazyLinear(3),
    )  # fmt: skip


def norms():
    return nn.Sequential(
        nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.RMSNorm(8), nn.Linear(8, 8),
        nn.GroupNorm(2, 8), nn.LayerNorm(8, bias=False), nn.Linear(8, 3, bias=False),
    )  # fmt: skip


# name: (maker, columns, how the norms are found)
MODULES = {
    "linear": (lambda: nn.Linear(8, 3), 8, "ghost"),
    "mlp": (
        lambda: nn.Sequential(
            nn.Linear(8, 9), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(9, 3)
        ),
        8,
        "ghost",
    ),
    "conv1d": (conv1d, 24, "ghost"),
    "conv1d same": (lambda: conv1d(padding="same", dilation=2), 24, "ghost"),
    "conv1d circular": (
        lambda: conv1d(padding=2, padding_mode="circular", stride=2, bias=False),
        24,
        "ghost",
    ),
    "conv2d": (lambda: conv2d(kernel_size=3, padding=1), 48, "ghost"),
    "conv2d stride": (
        lambda: conv2d(kernel_size=(2, 3), stride=(2, 1), padding=(0, 2)),
        48,
        "ghost",
    ),
    "conv2d groups": (
        lambda: conv2d(kernel_size=(3, 1), groups=2, padding="same"),
        96,
        "ghost",
    ),
    "conv2d reflect": (
        lambda: conv2d(kernel_size=3, padding=1, padding_mode="reflect", dilation=2),
        48,
        "ghost",
    ),
    "norms": (norms, 8, "ghost"),
    "residual": (Residual, 64, "ghost"),
    "tied": (Tied, 8, "vmap"),
    "loose": (Loose, 8, "vmap"),
    "aside": (Aside, 8, "vmap"),
    "transposed": (Transposed, 12, "vmap"),
    "attention": (Attention, 12, "vmap"),
    "recurrent": (Recurrent, 12, "row"),
}
DTYPES = {"float64": (torch.float64, 1e-8), "float32": (torch.float32, 2e-4)}
each_module = pytest.mark.parametrize("name", MODULES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def build(name, seed, dtype="float64"):
    maker, columns, _ = MODULES[name]
    rng = np.random.default_rng(seed)
    X, codes = rng.normal(size=(N, columns)), rng.integers(3, size=N)
    with seeded(seed):
        module = maker().to(DTYPES[dtype][0])
        module(torch.as_tensor(X, dtype=DTYPES[dtype][0]))  # lazy layers, statistics
    return module, X.astype(dtype), codes


def tokens(seed, **options):
    rng = np.random.default_rng(seed)
    with seeded(seed):
        module = Tokens(**options).double()
    return module, rng.integers(5, size=(N, 8)), rng.integers(3, size=N)


def row_gradients(module, X, codes, inputs=False, output="proba"):
    """Gradients of one row at a time, the plainest way."""
    module = copy.deepcopy(module).eval()
    found = []
    for row, code in zip(X, codes, strict=True):
        x = torch.as_tensor(row[None]).requires_grad_(inputs)
        log_proba = torch.log_softmax(module(x), 1)[0, code]
        if inputs:
            value = module(x)[0, code] if output == "logit" else log_proba.exp()
            found.append(torch.autograd.grad(value, x)[0].flatten())
        else:
            module.zero_grad()
            (-log_proba).backward()
            found.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    return torch.stack(found).numpy()


@each_dtype
@each_module
def test_gradient_norms(name, dtype, global_random_seed):
    module, X, codes = build(name, global_random_seed, dtype)
    model = models.TorchModel(module)
    found = model.run(X).gradient_norms(codes)
    assert found.dtype == np.float64
    expected = np.linalg.norm(row_gradients(module, X, codes), axis=1)
    np.testing.assert_allclose(found, expected, rtol=DTYPES[dtype][1])
    assert list(model._plans.values()) == [MODULES[name][2]]


@pytest.mark.parametrize("name", ["mlp", "conv1d circular", "norms", "tied"])
def test_norms_by_finite_differences(name, global_random_seed):
    module, X, codes = build(name, global_random_seed)
    model = models.TorchModel(module)
    norms = model.run(X[:1]).gradient_norms(codes[:1])
    frozen = model.snapshot()

    def loss(weights):
        moved = models.TorchModel(module, weights=weights)
        return -moved.run(X[:1]).log_proba[0, codes[0]]

    squares, step = 0.0, 1e-6
    for key, parameter in module.named_parameters():
        for place in np.ndindex(*parameter.shape):
            ends = []
            for sign in (1, -1):
                weights = dict(frozen.weights)
                weights[key] = weights[key].copy()
                weights[key][place] += sign * step
                ends.append(loss(weights))
            squares += ((ends[0] - ends[1]) / (2 * step)) ** 2
    np.testing.assert_allclose(norms, squares**0.5, rtol=1e-5)


@pytest.mark.parametrize("padding_idx", [None, 2])
def test_tokens(padding_idx, global_random_seed):
    module, ids, codes = tokens(global_random_seed, padding_idx=padding_idx)
    found = models.TorchModel(module).run(ids)
    expected = row_gradients(module, ids, codes)
    np.testing.assert_allclose(
        found.gradient_norms(codes), np.linalg.norm(expected, axis=1), rtol=1e-10
    )
    as_floats = models.TorchModel(module).run(ids.astype(float))
    np.testing.assert_array_equal(as_floats.log_proba, found.log_proba)


def test_tokens_are_seen_through_their_embedding(global_random_seed):
    module, ids, codes = tokens(global_random_seed)
    module.embed.weight.requires_grad_(False)
    found = models.TorchModel(module).run(ids).input_gradients(codes)
    assert found.shape == (N, 8 * 6)

    class Embedded(nn.Module):
        def forward(self, x):
            places = module.place(torch.arange(8))
            h = module.mix(module.norm(x + places))
            return module.head(torch.tanh(h).mean(1))

    X = module.embed(torch.as_tensor(ids)).detach().numpy()
    expected = row_gradients(Embedded(), X, codes, inputs=True)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("output", ["proba", "logit"])
@each_module
def test_input_gradients(name, output, global_random_seed):
    module, X, codes = build(name, global_random_seed)
    found = models.TorchModel(module).run(X).input_gradients(codes, output)
    expected = row_gradients(module, X, codes, inputs=True, output=output)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-14)


@each_module
def test_chunks_change_nothing(name, global_random_seed):
    module, X, codes = build(name, global_random_seed)
    model = models.TorchModel(module)
    whole = model.run(X)
    for step in (1, 3):
        parts = [
            (model.run(X[i : i + step]), codes[i : i + step]) for i in range(0, N, step)
        ]
        norms = np.concatenate([p.gradient_norms(c) for p, c in parts])
        np.testing.assert_allclose(norms, whole.gradient_norms(codes), rtol=1e-12)
        slopes = np.concatenate([p.input_gradients(c) for p, c in parts])
        np.testing.assert_allclose(
            slopes, whole.input_gradients(codes), rtol=1e-10, atol=1e-15
        )


@pytest.mark.parametrize("blocks", [1, 2**22])
@pytest.mark.parametrize("shape", [(1, 4, 3), (3, 5, 4), (20, 3, 4)])
def test_outer_squares(shape, blocks, global_random_seed, monkeypatch):
    monkeypatch.setattr(ghosts, "BLOCK", blocks)
    T, p, q = shape
    with seeded(global_random_seed):
        A, D = torch.randn(N, T, p).double(), torch.randn(N, T, q).double()
    expected = torch.einsum("ntp,ntq->npq", A, D).square().sum((1, 2))
    torch.testing.assert_close(ghosts.outer_squares(A, D), expected)
    torch.testing.assert_close(ghosts.by_gram(A, D), expected)
    torch.testing.assert_close(ghosts.by_product(A, D), expected)


def test_small_blocks_of_convolutions(global_random_seed, monkeypatch):
    module, X, codes = build("conv2d groups", global_random_seed)
    whole = models.TorchModel(module).run(X).gradient_norms(codes)
    monkeypatch.setattr(ghosts, "BLOCK", 100)
    found = models.TorchModel(module).run(X).gradient_norms(codes)
    np.testing.assert_allclose(found, whole, rtol=1e-12)
    monkeypatch.setattr(models, "FALLBACK_BYTES", 3000)
    for plan in models.PER_ROW.values():
        model = models.TorchModel(module)
        norms = model.run(X)
        errors = norms.errors(codes)
        x = model.rows(X)
        squares = plan(model, x, errors, model.wanted())
        np.testing.assert_allclose(squares**0.5, whole, rtol=1e-10)


def test_layers(global_random_seed):
    module, X, codes = build("residual", global_random_seed)
    model = models.TorchModel(module)
    one = model.run(X)
    parts = {
        key: one.gradient_norms(codes, layers=[key])
        for key in ("stem", "body", "norm.weight", "norm.bias", "head")
    }
    total = np.sqrt(sum(part**2 for part in parts.values()))
    np.testing.assert_allclose(total, one.gradient_norms(codes), rtol=1e-12)
    both = one.gradient_norms(codes, layers=[0, -1])
    np.testing.assert_allclose(both**2, parts["stem"] ** 2 + parts["head"] ** 2)
    with pytest.raises(ValueError, match="neither a layer nor a parameter"):
        one.gradient_norms(codes, layers=["haed"])
    with pytest.raises(ValueError, match="neither a layer nor a parameter"):
        one.gradient_norms(codes, layers=[4])


def test_frozen_parameters_do_not_count(global_random_seed):
    module, X, codes = build("residual", global_random_seed)
    head = models.TorchModel(module).run(X).gradient_norms(codes, layers=["head"])
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.startswith("head"))
    found = models.TorchModel(module).run(X)
    np.testing.assert_allclose(found.gradient_norms(codes), head, rtol=1e-12)
    module.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter of the module is trained"):
        models.TorchModel(module).run(X).gradient_norms(codes)


def test_the_module_is_left_as_it_was(global_random_seed):
    module, X, codes = build("mlp", global_random_seed)
    module[2].eval()
    before = copy.deepcopy(module.state_dict())
    state = torch.random.get_rng_state()
    found = models.TorchModel(module).run(X)
    found.gradient_norms(codes), found.input_gradients(codes)
    assert [part.training for part in module] == [True, True, False, True]
    assert all(p.grad is None for p in module.parameters())
    assert not any(part._forward_hooks for part in module.modules())
    assert torch.equal(state, torch.random.get_rng_state())
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])


@each_module
def test_snapshots_outlive_training(name, global_random_seed):
    module, X, codes = build(name, global_random_seed)
    model = models.TorchModel(module)
    frozen, before = model.snapshot(), model.run(X)
    norms, log_proba = before.gradient_norms(codes), before.log_proba
    slopes = before.input_gradients(codes)
    assert all(type(value) is np.ndarray for value in frozen.weights.values())
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.mul_(1.1)
    assert not np.allclose(model.run(X).log_proba, log_proba)
    for kept in (frozen, pickle.loads(pickle.dumps(frozen)), frozen.snapshot()):
        found = kept.run(X)
        np.testing.assert_array_equal(found.log_proba, log_proba)
        np.testing.assert_allclose(found.gradient_norms(codes), norms, rtol=1e-12)
        np.testing.assert_allclose(found.input_gradients(codes), slopes, rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_learnt_well_keep_their_order(dtype):
    module = nn.Linear(1, 2).to(DTYPES[dtype][0])
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.0], [1.0]]))
        module.bias.zero_()
    X = np.array([[20.0], [40.0], [60.0], [100.0]])
    codes = np.ones(4, dtype=int)
    found = models.TorchModel(module).run(X)
    expected = np.sqrt(2) * np.exp(-X[:, 0])
    errors = np.linalg.norm(found.errors(codes), axis=1)
    np.testing.assert_allclose(errors, expected, rtol=1e-6)
    np.testing.assert_allclose(
        found.gradient_norms(codes), expected * np.hypot(X[:, 0], 1), rtol=1e-6
    )


@pytest.mark.parametrize("shape", ["(n,)", "(n, 1)"])
def test_one_output_is_two_classes(shape, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, codes = rng.normal(size=(N, 8)), rng.integers(2, size=N)
    with seeded(global_random_seed):
        layers = [nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 1)]
    module = nn.Sequential(
        *layers, *([nn.Flatten(0)] if shape == "(n,)" else [])
    ).double()
    found = models.TorchModel(module).run(X)
    assert found.model.classes_.tolist() == [0, 1]
    p = torch.sigmoid(module(torch.as_tensor(X)).flatten()).detach().numpy()
    np.testing.assert_allclose(np.exp(found.log_proba), np.c_[1 - p, p])

    for i in range(N):
        module.zero_grad()
        z = module(torch.as_tensor(X[i : i + 1])).flatten()
        target = torch.tensor([float(codes[i])], dtype=torch.float64)
        nn.functional.binary_cross_entropy_with_logits(z, target).backward()
        g = torch.cat([p.grad.flatten() for p in module.parameters()])
        np.testing.assert_allclose(found.gradient_norms(codes)[i], g.norm())

        x = torch.as_tensor(X[i : i + 1]).requires_grad_()
        (g,) = torch.autograd.grad(module(x).sum(), x)
        sign = 2 * codes[i] - 1
        np.testing.assert_allclose(
            found.input_gradients(codes, "logit")[i], sign * g[0]
        )
        slope = sign * p[i] * (1 - p[i]) * g[0]
        np.testing.assert_allclose(found.input_gradients(codes)[i], slope)


def test_modules_that_give_probabilities(global_random_seed):
    module, X, codes = build("mlp", global_random_seed)
    logits = models.TorchModel(module).run(X)
    for last, output in (
        (nn.Softmax(1), "probabilities"),
        (nn.LogSoftmax(1), "logits"),
    ):
        found = models.TorchModel(nn.Sequential(module, last), output=output).run(X)
        np.testing.assert_allclose(found.log_proba, logits.log_proba)
        for name in ("gradient_norms", "input_gradients"):
            a, b = getattr(found, name)(codes), getattr(logits, name)(codes)
            np.testing.assert_allclose(a, b, rtol=1e-9)


def test_inputs_of_every_kind(global_random_seed):
    module, X, codes = build("mlp", global_random_seed, "float32")
    X[X < 0] = 0
    model = models.TorchModel(module)
    expected = model.run(X).gradient_norms(codes)
    read_only = X.copy()
    read_only.flags.writeable = False
    for rows in (
        sparse.csr_array(X), torch.as_tensor(X), X.astype(float), read_only, X.tolist(),
    ):  # fmt: skip
        np.testing.assert_array_equal(model.run(rows).gradient_norms(codes), expected)
    with pytest.raises(TypeError, match="needs numbers"):
        model.run(np.array([["a"] * 8]))


def test_chunks_know_how_much_a_module_holds():
    """An image that a convolution makes large is worth more than its columns."""
    module = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 50, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(3200, 2),
    )  # fmt: skip
    model = models.TorchModel(module)
    X = np.random.default_rng(0).normal(size=(2000, 64))
    sizes = [len(X[rows]) for rows, _ in passes(model, X)]
    assert model.width == 2 * (64 + 3 * 3200 + 2)
    assert sum(sizes) == 2000
    assert max(sizes) == 2**26 // (8 * (64 + model.width))


def test_outputs_that_are_no_classifiers():
    X = np.ones((4, 3))
    maps = nn.Sequential(nn.Linear(3, 3), nn.Unflatten(1, (3, 1)))
    with pytest.raises(ValueError, match=r"gave \(4, 3, 1\) for 4 rows"):
        _ = models.TorchModel(maps).run(X).log_proba
    batchwise = nn.Sequential(
        nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)
    )
    with pytest.raises(ValueError, match="depends on the other rows"):
        models.TorchModel(batchwise).run(np.eye(3)).gradient_norms([0, 1, 2])
    two = models.TorchModel(nn.Linear(3, 3), classes=["a", "b"])
    with pytest.raises(ValueError, match="tells 3 classes apart, the labels are of 2"):
        _ = two.run(X).log_proba
    with pytest.raises(ValueError, match="the number of classes"):
        models.TorchModel(nn.LayerNorm(3)).classes_
