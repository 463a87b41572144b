"""Categories as logits: the closed form, the way back, and every kind of table."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder

from skpapers.offline_optimization import LogitEncoder

TABLE = {
    "base": ["C", "A", "G", "A", "T"],
    "side": ["left", "right", "left", "left", "right"],
    "count": [3, 1, 3, 2, 2],
    "flag": [True, False, False, True, True],
    "dose": [0.5, 0.25, 0.5, 2.0, 2.0],
}


def _pandas():
    frame = pd.DataFrame(TABLE, index=[7, 3, 5, 1, 9])
    grade = pd.CategoricalDtype(["low", "mid", "high", "never"], ordered=True)
    frame["grade"] = pd.Series(["mid", "low", "high", "low", "mid"], frame.index, grade)
    frame["small"] = frame["count"].astype("Int8")
    frame["maybe"] = frame["flag"].astype("boolean")
    frame["text"] = frame["side"].astype("string")
    frame["single"] = frame["dose"].astype("float32")
    return frame


def _polars():
    grade = pl.Enum(["low", "mid", "high", "never"])
    return pl.DataFrame(TABLE).with_columns(
        pl.Series("grade", ["mid", "low", "high", "low", "mid"], dtype=grade),
        pl.col("base").cast(pl.Categorical).alias("kind"),
        pl.col("count").cast(pl.Int8).alias("small"),
    )


def _formula(value, categories, smoothing):
    """The definition, one value at a time."""
    k = len(categories)
    onehot = np.array([float(value == c) for c in categories])
    logits = np.log((1 - smoothing) * onehot + smoothing / k)
    return logits[1:] - logits[0]


@pytest.mark.parametrize("smoothing", [0.4, 0.01, 0.99])
def test_is_the_formula(smoothing):
    X = np.array([["A", "x"], ["C", "y"], ["G", "x"], ["T", "z"]])
    encoder = LogitEncoder(smoothing=smoothing)
    Z = encoder.fit_transform(X)
    expected = [
        np.concatenate([_formula(a, "ACGT", smoothing), _formula(b, "xyz", smoothing)])
        for a, b in X
    ]
    np.testing.assert_allclose(Z, expected, rtol=1e-12)
    assert encoder.offsets_.tolist() == [0, 3, 5]


def test_probabilities_are_those_of_the_reference():
    """Four letters: 0.7 for the letter that is there, 0.1 for the others."""
    Z = LogitEncoder().fit_transform([["A"], ["C"], ["G"], ["T"]])
    logits = np.column_stack([np.zeros(4), Z])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p, 0.1 + 0.6 * np.eye(4), rtol=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.tuples(st.integers(-5, 5), st.integers(0, 1), st.just(3)), min_size=1
    ),
    smoothing=st.floats(1e-6, 1 - 1e-6),
    share=st.floats(-0.999, 0.999),
)
def test_way_back_survives_half_a_step(rows, smoothing, share):
    X = np.array(rows)
    encoder = LogitEncoder(smoothing=smoothing).fit(X)
    Z = encoder.transform(X)
    assert Z.shape == (len(X), sum(len(c) - 1 for c in encoder.categories_))
    if Z.shape[1] == 0:  # no choice, nothing to encode
        return
    np.testing.assert_array_equal(encoder.inverse_transform(Z), X)
    # the letter that is there leads by one step: none of the others can overtake
    step = np.log1p(
        np.repeat(
            encoder.offsets_[1:] - encoder.offsets_[:-1] + 1, np.diff(encoder.offsets_)
        )
        * (1 - smoothing)
        / smoothing
    )
    signs = np.where(np.arange(Z.size).reshape(Z.shape) % 2, 1, -1)
    moved = Z + signs * share * step / 2
    np.testing.assert_array_equal(encoder.inverse_transform(moved), X)


def test_any_point_is_a_category(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    encoder = LogitEncoder().fit(np.array([["a", 1], ["b", 2], ["c", 1]], dtype=object))
    Z = rng.normal(scale=100, size=(200, 3))
    X = encoder.inverse_transform(Z)
    assert X.dtype == object
    assert set(X[:, 0]) == {"a", "b", "c"}
    assert set(X[:, 1]) == {1, 2}
    # by hand: a zero for the first category, and the largest wins
    letters = np.array(list("abc"))
    winner = np.argmax(np.column_stack([np.zeros(200), Z[:, :2]]), axis=1)
    np.testing.assert_array_equal(X[:, 0].astype(str), letters[winner])
    # what was decoded is encoded to where it is decoded again
    again = encoder.inverse_transform(encoder.transform(X))
    np.testing.assert_array_equal(again, X)


def test_spans_what_one_hot_columns_span(global_random_seed):
    """A linear model sees the same: the logits are an affine map of the one-hot."""
    rng = np.random.default_rng(global_random_seed)
    X = rng.integers(0, 4, size=(50, 2))
    Z = np.column_stack([np.ones(50), LogitEncoder().fit_transform(X)])
    onehot = OneHotEncoder(sparse_output=False).fit_transform(X)
    residual = onehot - Z @ np.linalg.lstsq(Z, onehot, rcond=None)[0]
    np.testing.assert_allclose(residual, 0, atol=1e-10)


@pytest.mark.parametrize(
    "dtype", [np.int64, np.int8, np.uint16, np.float32, np.float64, bool, "U", object]
)
def test_arrays_come_back_as_they_were(dtype):
    X = np.array([[0, 1], [1, 1], [0, 0]]).astype(dtype)
    encoder = LogitEncoder().fit(X)
    back = encoder.inverse_transform(encoder.transform(X))
    assert back.dtype == X.dtype
    np.testing.assert_array_equal(back, X)


def test_lists_of_mixed_values():
    X = [["a", 1], ["b", 2], ["a", 2]]
    encoder = LogitEncoder().fit(X)
    assert encoder.inverse_transform(encoder.transform(X)).tolist() == X


@pytest.mark.parametrize("copied", [False, True], ids=["", "persisted"])
def test_pandas_frames_come_back_as_they_were(copied):
    frame = _pandas()
    encoder = LogitEncoder().set_output(transform="pandas").fit(frame)
    if copied:
        data = skops.io.dumps(pickle.loads(pickle.dumps(encoder)))
        trusted = skops.io.get_untrusted_types(data=data)
        encoder = skops.io.loads(data, trusted=trusted)
    Z = encoder.transform(frame)
    assert list(Z.columns) == list(encoder.get_feature_names_out())
    assert {"base_C", "count_2", "small_2", "grade_low", "dose_0.5"} <= set(Z.columns)
    pd.testing.assert_frame_equal(encoder.inverse_transform(Z), frame)


@pytest.mark.parametrize("copied", [False, True], ids=["", "persisted"])
def test_polars_frames_come_back_as_they_were(copied):
    frame = _polars()
    encoder = LogitEncoder().set_output(transform="polars").fit(frame)
    if copied:
        data = skops.io.dumps(pickle.loads(pickle.dumps(encoder)))
        trusted = skops.io.get_untrusted_types(data=data)
        encoder = skops.io.loads(data, trusted=trusted)
    Z = encoder.transform(frame)
    assert Z.columns == list(encoder.get_feature_names_out())
    back = encoder.inverse_transform(Z)
    assert back.equals(frame)
    assert back.schema == frame.schema


def test_objects_of_several_types_come_back_as_they_were():
    values = [1, 2.5, False, 3]
    frame = pd.DataFrame({"column": pd.Series(values, dtype=object)})
    encoder = LogitEncoder().fit(frame)
    back = encoder.inverse_transform(encoder.transform(frame))
    assert back["column"].dtype == object
    assert list(map(type, back["column"])) == list(map(type, values))
    assert back["column"].tolist() == values


def test_logits_without_an_index():
    frame = _pandas()[["side"]]
    encoder = LogitEncoder().fit(frame)
    expected = pd.DataFrame({"side": ["right", "left"]})
    for container in (list, np.array, lambda Z: pl.DataFrame(Z, orient="row")):
        back = encoder.inverse_transform(container([[1.0], [-1.0]]))
        pd.testing.assert_frame_equal(back, expected)


def test_an_index_for_what_has_none():
    logits = pd.DataFrame([[1.0], [-1.0]], index=["a", "b"])
    for table in (np.array([["left"], ["right"]]), _polars()[["side"]]):
        back = LogitEncoder().fit(table).inverse_transform(logits)
        assert type(back) is type(table)
        assert np.asarray(back).tolist() == [["right"], ["left"]]


def test_frames_and_arrays_give_the_same_numbers():
    names = list(TABLE)
    mixed = np.array(list(zip(*TABLE.values(), strict=True)), dtype=object)
    expected = LogitEncoder().fit_transform(mixed)
    for frame in (_pandas()[names], _polars()[names]):
        np.testing.assert_array_equal(LogitEncoder().fit_transform(frame), expected)


def test_given_categories():
    letters = list("TGCA")
    encoder = LogitEncoder(categories=[letters, [1, 2, 3]])
    X = np.array([["A", 1], ["C", 3]], dtype=object)
    Z = encoder.fit_transform(X)
    assert Z.shape == (2, 5)
    assert list(encoder.get_feature_names_out(["base", "n"])) == [
        "base_G",
        "base_C",
        "base_A",
        "n_2",
        "n_3",
    ]
    np.testing.assert_allclose(
        Z[0], [0, 0, *_formula("A", letters, 0.4)[2:], *[-np.log1p(4.5)] * 2]
    )
    far = np.array([[9.0, 0, 0, 9, 0]])
    assert encoder.inverse_transform(far).tolist() == [["G", 2]]


def test_longer_strings_than_in_the_data_are_not_cut():
    X = np.array([["a"], ["b"]])
    encoder = LogitEncoder(categories=[["a", "b", "something long"]]).fit(X)
    assert encoder.inverse_transform([[0.0, 5.0]]).tolist() == [["something long"]]


def test_goes_into_a_column_transformer():
    frame = _pandas()
    parts = ColumnTransformer(
        [("logits", LogitEncoder(), ["base", "side"])], remainder="passthrough"
    )
    names = parts.fit(frame[["base", "side", "dose"]]).get_feature_names_out()
    assert list(names) == [
        "logits__base_C",
        "logits__base_G",
        "logits__base_T",
        "logits__side_right",
        "remainder__dose",
    ]


def test_a_constant_column_has_no_features():
    X = np.array([["a", "x"], ["a", "y"]])
    encoder = LogitEncoder().fit(X)
    assert encoder.transform(X).shape == (2, 1)
    np.testing.assert_array_equal(encoder.inverse_transform([[1.0], [-1.0]]), X[::-1])


@pytest.mark.parametrize("smoothing", [0, 1, -0.1, 2.0, "much"])
def test_bad_smoothing(smoothing):
    with pytest.raises(ValueError, match="smoothing"):
        LogitEncoder(smoothing=smoothing).fit([["a"], ["b"]])


@pytest.mark.parametrize(
    ("categories", "match"),
    [
        ([["a", "b"], ["c"]], "shape"),
        ([["a", "c"]], "unknown categories"),
        ([["a", "b", "a"]], "duplicate|twice"),
        ("all", "categories"),
    ],
)
def test_bad_categories(categories, match):
    with pytest.raises(ValueError, match=match):
        LogitEncoder(categories=categories).fit(np.array([["a"], ["b"]]))


def test_unknown_categories_are_named_with_their_column():
    encoder = LogitEncoder().fit(np.array([["a", "x"], ["b", "y"]]))
    with pytest.raises(ValueError, match=r"unknown categories \[.*'z'.*column 1"):
        encoder.transform(np.array([["a", "z"]]))


@pytest.mark.parametrize(
    "X",
    [
        np.array([[1.0], [np.nan]]),
        np.array([["a"], [None]], dtype=object),
        np.array([["a"], [np.nan]], dtype=object),
        pd.DataFrame({"column": ["a", None]}),
        pd.DataFrame({"column": pd.array([1, None], dtype="Int64")}),
        pd.DataFrame({"column": pd.array(["a", None], dtype="string")}),
        pd.DataFrame({"column": pd.Categorical(["a", None])}),
        pl.DataFrame({"column": ["a", None]}),
        pl.DataFrame({"column": [1, None]}),
        pl.DataFrame({"column": [1.0, float("nan")]}),
    ],
    ids=str,
)
def test_missing_values_are_refused(X):
    with pytest.raises(ValueError, match="missing values|NaN"):
        LogitEncoder().fit(X)


@pytest.mark.parametrize("frame", [np.array, pd.DataFrame])
def test_constant_columns_have_no_logits(frame):
    X = frame([["a", "u"]] * 3)
    encoder = LogitEncoder().fit(X)
    Z = encoder.transform(X)
    assert Z.shape == (3, 0)
    np.testing.assert_array_equal(encoder.inverse_transform(Z), X)
    with pytest.raises(ValueError, match="have 0 logits"):
        encoder.inverse_transform(np.zeros((3, 1)))


def test_bad_logits():
    encoder = LogitEncoder().fit(np.array([["a"], ["b"]]))
    with pytest.raises(ValueError, match="X has 2 columns, but the 1 columns of fit"):
        encoder.inverse_transform(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="NaN"):
        encoder.inverse_transform([[np.nan]])
    with pytest.raises(ValueError, match="input_features"):
        encoder.get_feature_names_out(["a", "b"])
