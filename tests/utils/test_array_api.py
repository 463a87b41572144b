"""Arrays of other libraries travel to NumPy and back, and mixing them is refused."""

import array_api_strict
import numpy as np
import pytest

from skpapers.utils._array_api import (
    check_same_namespace,
    float_dtypes,
    like,
    to_numpy,
)

VALUES = np.arange(6.0).reshape(2, 3)


def _arrays():
    yield pytest.param(VALUES, id="numpy")
    yield pytest.param(array_api_strict.asarray(VALUES), id="strict")
    other = array_api_strict.Device("device1")
    yield pytest.param(array_api_strict.asarray(VALUES, device=other), id="device1")
    try:
        import torch
    except ModuleNotFoundError:
        return
    yield pytest.param(torch.asarray(VALUES), id="torch")
    yield pytest.param(torch.asarray(VALUES).requires_grad_(), id="torch with gradient")


@pytest.mark.parametrize("array", _arrays())
def test_there_and_back(array):
    np.testing.assert_array_equal(to_numpy(array), VALUES)
    back = like(to_numpy(array), array)
    assert type(back) is type(array)
    np.testing.assert_array_equal(to_numpy(back), VALUES)
    check_same_namespace("estimator", "predict", back, array)


def test_like_casts():
    reference = array_api_strict.asarray([1.0])
    assert like(VALUES, reference, array_api_strict.float32).dtype == (
        array_api_strict.float32
    )


def test_mixing_is_refused():
    strict = array_api_strict.asarray(VALUES)
    with pytest.raises(
        ValueError, match=r"str.predict\(\) must use the same namespace"
    ):
        check_same_namespace("estimator", "predict", VALUES, strict)


def test_float_dtypes_follow_dispatch(monkeypatch):
    strict = array_api_strict.asarray(VALUES)
    assert float_dtypes(strict) == (np.float64, np.float32)
    # not through scikit-learn's configuration: it refuses dispatch where SciPy is old
    monkeypatch.setattr(
        "skpapers.utils._array_api.get_config", lambda: {"array_api_dispatch": True}
    )
    assert float_dtypes(strict) == (array_api_strict.float64, array_api_strict.float32)
    assert float_dtypes([[1.0]]) == (np.float64, np.float32)
