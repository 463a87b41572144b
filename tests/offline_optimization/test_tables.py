# SPDX-License-Identifier: BSD-3-Clause
"""Tables that come back as they were: names, types, and what is no table."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from sklearn.linear_model import Ridge

from skpapers.offline_optimization import LogitEncoder, OfflineOptimizer
from skpapers.offline_optimization._space import DesignSpace

DAYS = [dt.datetime(2024, 1, 1 + k % 3, 5) for k in range(6)]
COLUMNS = {  # of polars, with arguments
    "zone": (DAYS, pl.Datetime("ms", "Europe/Berlin")),
    "nano": (DAYS, pl.Datetime("ns")),
    "span": ([dt.timedelta(hours=k % 3) for k in range(6)], pl.Duration("ms")),
    "price": ([Decimal(k % 3) / 4 for k in range(6)], pl.Decimal(10, 2)),
    "day": (DAYS, pl.Date),
}


def there_and_back(X):
    """Return what a space, and what an encoder, makes of a table."""
    space, encoder = DesignSpace(X, categories="dtype"), LogitEncoder().fit(X)
    return space.write(space.training), encoder.inverse_transform(encoder.transform(X))


@pytest.mark.parametrize("name", COLUMNS)
def test_types_of_polars_are_kept(name):
    values, dtype = COLUMNS[name]
    X = pl.DataFrame({"f": np.arange(6.0), name: pl.Series(values).cast(dtype)})
    for back in there_and_back(X):
        assert back.schema == X.schema
        assert back.equals(X)


def test_decimals_of_polars_as_numbers():
    values, dtype = COLUMNS["price"]
    X = pl.DataFrame({"f": np.arange(6.0), "price": pl.Series(values).cast(dtype)})
    optimizer = OfflineOptimizer(Ridge(), search="reinforce", n_candidates=4)
    designs = optimizer.fit(X, np.arange(6.0)).suggest()
    assert designs.schema == X.schema
    found = designs["price"].cast(pl.Float64).to_numpy()
    np.testing.assert_array_equal(found, optimizer.candidates_[:, 1])


@pytest.mark.parametrize(
    ("bounds", "ends"),
    [
        ((0.123, 0.29), (0.13, 0.29)),
        ((-0.129, 0.578), (-0.12, 0.57)),
        ((0.127, 0.127), (0.13, 0.13)),
        ("free", (-99999999.99, 99999999.99)),
    ],
)
def test_decimals_stay_within_bounds(bounds, ends):
    values, dtype = COLUMNS["price"]
    X = pl.DataFrame({"price": pl.Series(values).cast(dtype)})
    space = DesignSpace(X, bounds=bounds)
    back = space.write(space.decode(np.array([[-1e12], [1e12]])))["price"]
    assert back.to_list() == [Decimal(str(end)) for end in ends]


def test_bounds_without_a_decimal():
    values, dtype = COLUMNS["price"]
    X = pl.DataFrame({"price": pl.Series(values).cast(dtype)})
    with pytest.raises(ValueError, match="'price': there is no number with 2 decimals"):
        DesignSpace(X, bounds=(0.121, 0.122))


@pytest.mark.parametrize("kind", ["string", "large_string", "decimal", "timestamp"])
def test_types_of_arrow_are_kept(kind):
    arrow = pytest.importorskip("pyarrow")
    values, dtype = {
        "string": (["1", "2", "1"], arrow.string()),
        "large_string": (["1", "2", "1"], arrow.large_string()),
        "decimal": (
            [Decimal("1.5"), Decimal("2.5"), Decimal(1)],
            arrow.decimal128(5, 2),
        ),
        "timestamp": (DAYS[:3], arrow.timestamp("us", tz="UTC")),
    }[kind]
    column = pd.array(values, dtype=pd.ArrowDtype(dtype))
    X = pd.DataFrame({"f": [0.5, 1.0, 2.0], "c": column})
    for back in there_and_back(X):
        assert back.dtypes.tolist() == X.dtypes.tolist()
        assert back.equals(X)


@pytest.mark.parametrize(
    "index",
    [
        pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")], names=["level", None]),
        pd.Index(["a", "b"], name="parts"),
        pd.Index([("a", "x"), ("a", "y")], tupleize_cols=False),
        pd.Index([7, 3], name="number"),
    ],
)
def test_columns_of_pandas_are_kept(index):
    X = pd.DataFrame([[0.5, 1.0], [1.5, 0.0], [2.5, 3.0]], columns=index)
    for back in there_and_back(X):
        pd.testing.assert_index_equal(back.columns, index, exact=True)


def test_several_levels_persist():
    index = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")], names=["u", "v"])
    X = pd.DataFrame([[0.5, 1.0], [1.5, 0.0], [2.5, 3.0]], columns=index)
    optimizer = OfflineOptimizer(Ridge(), search="reinforce", n_candidates=3)
    data = skops.io.dumps(optimizer.fit(X, [1.0, 2.0, 4.0]))
    untrusted = skops.io.get_untrusted_types(data=data)
    assert not [name for name in untrusted if name.startswith("pandas")]
    copy = skops.io.loads(data, trusted=untrusted)
    pd.testing.assert_index_equal(copy.suggest(2).columns, index)


@pytest.mark.parametrize("categories", [None, "dtype"])
def test_lazy_frames_are_no_tables(categories):
    X = pl.DataFrame({"a": [0.0, 1.0]}).lazy()
    optimizer = OfflineOptimizer(Ridge(), search="reinforce", categories=categories)
    with pytest.raises(TypeError, match=r"LazyFrame.*collect\(\)"):
        optimizer.fit(X, [1.0, 2.0])


def test_lists_are_no_labels():
    X = pl.DataFrame({"a": [0.0, 1.0], "c": [[1], [2]]})
    with pytest.raises(ValueError, match="'c' holds values of type list"):
        LogitEncoder().fit(X)


def test_digits_are_refused_by_fit_and_predict():
    X = pd.DataFrame({"a": [0.5, 1.0, 2.0], "b": [1.0, 2.0, 4.0]})
    texts = X.astype({"b": str})
    optimizer = OfflineOptimizer(Ridge(), search="reinforce", n_candidates=3)
    with pytest.raises(ValueError, match="'b' holds something else than numbers"):
        optimizer.fit(texts, [1.0, 2.0, 3.0])
    optimizer.fit(X, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="'b' holds something else than numbers"):
        optimizer.predict(texts)
