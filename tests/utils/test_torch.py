"""Weights in and out of torch, seeds, and networks."""

import numpy as np
import pytest

from skpapers.utils import _torch as ground

torch = pytest.importorskip("torch")


def test_weights_go_there_and_back(global_random_seed):
    one = ground.make_mlp(3, (4, 2), 1, seed=global_random_seed)
    two = ground.make_mlp(3, (4, 2), 1, seed=global_random_seed + 1)
    vector = ground.flat_weights(one)
    assert vector.shape == (3 * 4 + 4 + 4 * 2 + 2 + 2 + 1,)
    ground.load_flat(ground.trained(two), vector)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    weights = ground.weights_to_numpy(one)
    assert all(isinstance(value, np.ndarray) for value in weights.values())
    three = ground.load_weights(ground.make_mlp(3, (4, 2), 1, seed=5), weights)
    X = torch.ones(2, 3, dtype=torch.float64)
    assert torch.equal(one(X), three(X))
    weights["0.weight"][:] = 0  # copies
    assert not torch.equal(one[0].weight, torch.zeros(4, 3, dtype=torch.float64))


def test_frozen_parameters_are_left_out():
    network = ground.make_mlp(3, (4,), 1)
    network[0].weight.requires_grad_(False)
    assert ground.flat_weights(network).shape == (4 + 4 + 1,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_networks_are_seeded_and_leave_the_generator_alone(dtype):
    state = torch.random.get_rng_state()
    one, two = (ground.make_mlp(3, (4,), 2, dtype=dtype, seed=3) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(ground.flat_weights(one), ground.flat_weights(two))
    assert ground.flat_weights(one).dtype == dtype


def test_read_only_arrays_are_copied():
    values = np.arange(3.0)
    values.flags.writeable = False
    tensor = ground.to_tensor(values, torch.ones(1, dtype=torch.float32))
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor, values)
