"""Tests of the space of designs: reading, bounds, categories, the way back."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skpapers.offline_optimization import LogitEncoder
from skpapers.offline_optimization._space import DesignSpace, limits
from skpapers.utils._units import mean_and_scale


def mixed_columns(n, rng):
    """Columns of all kinds; "left" and "right" are a one-hot group."""
    hot = rng.random(n) < 0.5
    hot[:2] = [True, False]
    return {
        "heat": rng.normal(300, 20, n).astype("float32"),
        "steps": rng.integers(1, 12, n).astype("uint8"),
        "metal": rng.choice(["Cu", "Ni", "Fe"], n),
        "time": rng.exponential(1e-6, n),
        "left": hot.astype(np.int64),
        "right": (~hot).astype(np.int64),
        "dry": rng.random(n) < 0.5,
    }


CATEGORIES = ["metal", ["left", "right"]]


@pytest.fixture(params=["pandas", "polars"])
def frame(request, global_random_seed):
    columns = mixed_columns(60, np.random.default_rng(global_random_seed))
    return (pd if request.param == "pandas" else pl).DataFrame(columns)


def assert_equal_frames(left, right):
    assert type(left) is type(right)
    assert list(left.columns) == list(right.columns)
    assert list(left.dtypes) == list(right.dtypes)
    for name in left.columns:
        assert left[name].to_list() == right[name].to_list()


# ------------------------------------------------------------------- there and back
def test_frames_come_back_as_they_were(frame):
    space = DesignSpace(frame, categories=CATEGORIES)
    code = space.read(frame)
    assert_equal_frames(space.write(code), frame)
    back = space.decode(space.encode(code))
    np.testing.assert_allclose(back, code, rtol=1e-13, atol=1e-20)
    exact = [0, 1, 2, 4, 5]  # all but the numbers of full precision
    np.testing.assert_array_equal(back[:, exact], code[:, exact])


def test_coordinates_are_standardised_logits(frame):
    space = DesignSpace(frame, categories=CATEGORIES)
    Z = space.encode(space.training)
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(Z.std(axis=0), 1)
    assert [block.stop - block.start for block in space.blocks] == [2, 1]
    metal = np.asarray(frame["metal"].to_list(), dtype=object)[:, None]
    logits = LogitEncoder().fit_transform(metal)
    expected = (logits - logits.mean(axis=0)) / logits.std(axis=0)
    np.testing.assert_allclose(Z[:, space.blocks[0]], expected, atol=1e-12)
    # the columns keep their order, those of a group are where the first of them is
    steps = np.asarray(frame["steps"].to_list())
    np.testing.assert_allclose(
        Z[:, 1], (steps - steps.mean()) / steps.std(), atol=1e-12
    )
    dry = np.asarray(frame["dry"].to_list())
    np.testing.assert_allclose(Z[:, -1], (dry - dry.mean()) / dry.std())


def test_points_of_categories(frame):
    space = DesignSpace(frame, categories=CATEGORIES)
    metals = np.asarray(frame["metal"].to_list())
    for k, metal in enumerate(["Cu", "Fe", "Ni"]):
        rows = space.encode(space.training)[metals == metal][:, space.blocks[0]]
        np.testing.assert_allclose(rows, np.tile(rows[0], (len(rows), 1)), atol=1e-12)
        np.testing.assert_allclose(
            space.categories_of(space.blocks[0])[k], rows[0], atol=1e-12
        )


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "bool"])
def test_arrays_keep_their_dtype(dtype, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.integers(0, 2, (20, 3)).astype(dtype)
    X[:2] = [[0, 0, 0], [1, 1, 1]]
    space = DesignSpace(X)
    back = space.write(space.decode(space.encode(space.read(X))))
    assert back.dtype == X.dtype
    np.testing.assert_array_equal(back, X)


def test_columns_that_need_not_be_whole_become_floats():
    X = np.array([[1, 2], [3, 5], [4, 4]])
    back = DesignSpace(X, integers=[0]).write(np.array([[2.0, 2.5]]))
    assert back.dtype == np.float64
    np.testing.assert_array_equal(back, [[2.0, 2.5]])
    frame = pd.DataFrame(X, columns=["a", "b"])
    kinds = DesignSpace(frame, integers=["a"]).write(np.array([[2.0, 2.5]])).dtypes
    assert list(kinds) == [np.int64, np.float64]


def test_arrays_of_objects():
    X = np.array([["b", 1, 0.5], ["a", 2, 1.5], ["b", 4, 2.5]], dtype=object)
    space = DesignSpace(X, categories=[0])
    np.testing.assert_array_equal(space.write(space.training), X)
    assert space.is_integer.tolist() == [True, False]
    assert space.to_array(space.training).dtype == object
    assert DesignSpace(X, categories="dtype").categories[0].values == ["a", "b"]


def test_frames_of_many_types():
    X = pd.DataFrame(
        {
            "grade": pd.Categorical(
                list("abca"), categories=["c", "b", "a", "z"], ordered=True
            ),
            "count": pd.array([1, 2, 3, 4], dtype="Int64"),
            "flag": pd.array([True, False, True, True], dtype="boolean"),
            "name": ["u", "v", "v", "u"],
        }
    )
    space = DesignSpace(X, categories="dtype")
    assert len(space.blocks) == 3
    assert_equal_frames(space.write(space.training), X)
    Y = pl.DataFrame(
        {"e": ["x", "y", "x"], "i": [1, 2, 3], "t": ["p", "q", "q"]},
        schema={"e": pl.Enum(["y", "x"]), "i": pl.UInt16, "t": pl.Categorical},
    )
    space = DesignSpace(Y, categories="dtype")
    assert_equal_frames(space.write(space.training), Y)


def test_numbers_that_are_kept_as_categories():
    X = pd.DataFrame({"a": pd.Categorical([1, 5, 1]), "b": [0.5, 1.5, 2.5]})
    as_numbers = DesignSpace(X).write(np.array([[2.5, 1.0]]))
    assert as_numbers["a"].tolist() == [2.5]
    space = DesignSpace(X, categories=["a"])
    assert_equal_frames(space.write(space.training), X)


def test_categories_of_several_types_have_an_order():
    X = np.array([["b", 1.0], [3, 2.0], [None, 3.0]], dtype=object)[:2]
    values = DesignSpace(X, categories=[0]).categories[0].values
    assert values == DesignSpace(X[::-1], categories=[0]).categories[0].values


# --------------------------------------------------------------------------- bounds
def test_default_bounds_are_the_widened_range():
    X = np.array([[0.0, 5.0], [10.0, 5.0]])
    space = DesignSpace(X, bounds_margin=0.2)
    np.testing.assert_allclose(space.bounds, [[-2, 12], [5, 5]])
    np.testing.assert_allclose(space.upper * space.scale + space.mean, [12, 5])


@pytest.mark.parametrize(
    "bounds",
    [
        [[0, 1], [2, 3]],
        np.array([[0, 1], [2, 3]]),
        {"b": (2, 3), "a": [0, 1]},
        {0: (0, 1), -1: (2, 3)},
    ],
)
def test_forms_of_bounds(bounds):
    X = pd.DataFrame({"a": [0.0, 1.0], "b": [2.0, 3.0]})
    np.testing.assert_array_equal(
        DesignSpace(X, bounds=bounds).bounds, [[0, 1], [2, 3]]
    )


def test_lower_and_upper_bounds():
    X = np.eye(3)
    bounds = DesignSpace(X, bounds=(-1, [1, 2, np.inf])).bounds
    np.testing.assert_array_equal(bounds, [[-1, 1], [-1, 2], [-1, np.inf]])
    part = DesignSpace(X, bounds={1: (0, 9)}, bounds_margin=0).bounds
    np.testing.assert_array_equal(part, [[0, 1], [0, 9], [0, 1]])


def test_free_bounds():
    X = pd.DataFrame({"a": [0.0, 1.0], "c": ["u", "v"], "n": [1, 2]})
    space = DesignSpace(X, bounds="free", categories=["c"])
    assert np.isinf(space.lower).all()
    assert np.isinf(space.upper).all()
    assert np.isnan(space.bounds[1]).all()
    far = space.write(space.decode(np.full((1, 3), 1e200)))
    assert far["a"][0] > 1e190
    assert far["n"].dtype == np.int64


def test_one_hot_columns_have_bounds_of_their_own(frame):
    bounds = DesignSpace(frame, categories=CATEGORIES).bounds
    np.testing.assert_array_equal(bounds[4:6], [[0, 1], [0, 1]])


def test_limits_are_numbers_of_the_dtype():
    assert limits(0.2, 3.9, "float64", True, "x") == (1, 3)
    assert limits(-3.0, 300.0, "uint8", True, "x") == (0, 255)
    assert limits(-0.1, 1.1, "bool", True, "x") == (0, 1)
    lower, upper = limits(0.1, 0.7, "float32", False, "x")
    assert lower >= 0.1
    assert upper <= 0.7
    assert np.float32(lower) == lower
    assert np.nextafter(np.float32(lower), np.float32(-1)) < 0.1
    assert limits(-np.inf, 1e300, "float32", False, "x")[1] <= np.finfo("float32").max
    assert int(limits(0, 1e30, "int64", True, "x")[1]) <= np.iinfo("int64").max
    with pytest.raises(ValueError, match="feature x: there is no integer"):
        limits(0.2, 0.8, "float64", True, "x")


@pytest.mark.parametrize(
    ("bounds", "match"),
    [
        ([[0, 1]], r"shape \(1, 2\), but X has 2 features"),
        ([[0, 1], [4, 3]], "feature 'b': the lower bound 4.0 is above"),
        ([[2, 1], [0, 1]], "feature 'a': the lower bound 2.0"),
        ([[np.nan, 1], [0, 1]], "feature 'a'"),
        ((0, [1, 2, 3]), "ragged"),
        ({"b": (1, 0)}, "feature 'b'"),
        ({"b": (np.inf, np.inf)}, "feature 'b': both are inf"),
        ({"b": 3}, "feature 'b' are no pair"),
        ({"z": (0, 1)}, "no column 'z'"),
        ({7: (0, 1)}, "none at 7"),
        ("wide", "expected None, 'free'"),
    ],
)
def test_wrong_bounds(bounds, match):
    X = pd.DataFrame({"a": [0.0, 1.0], "b": [2.0, 3.0]})
    with pytest.raises(ValueError, match=match):
        DesignSpace(X, bounds=bounds)


def test_columns_with_categories_have_no_bounds(frame):
    with pytest.raises(ValueError, match="'metal' has categories, no bounds"):
        DesignSpace(frame, categories=CATEGORIES, bounds={"metal": (0, 1)})


# ------------------------------------------------------------------------ categories
@pytest.mark.parametrize(
    ("row", "shown"), [([1, 1], "1.0, 1.0"), ([0, 0], "0.0, 0.0"), ([0, 2], "0.0, 2.0")]
)
def test_groups_that_are_not_one_hot(row, shown):
    X = np.array([[1, 0, 5], [0, 1, 6], [*row, 7]])
    with pytest.raises(ValueError, match=rf"not one-hot: row 2 is \[{shown}\]"):
        DesignSpace(X, categories=[[0, 1]])


@pytest.mark.parametrize(
    ("categories", "match"),
    [
        (["metal", "metal"], "'metal' is twice"),
        (["metal", ["metal", "left"]], "'metal' is twice"),
        ([["left"]], "two columns or more"),
        (["nickel"], "no column 'nickel'"),
        ([1.5], "by name or index"),
        ("all", "expected 'dtype'"),
        ([], "'metal' holds something else than numbers"),
    ],
)
def test_wrong_categories(frame, categories, match):
    with pytest.raises(ValueError, match=match):
        DesignSpace(frame, categories=categories)


def test_wrong_integers(frame):
    with pytest.raises(ValueError, match="'metal' is both"):
        DesignSpace(frame, categories=CATEGORIES, integers=["metal"])
    with pytest.raises(ValueError, match="expected 'dtype'"):
        DesignSpace(frame, categories=CATEGORIES, integers="all")


@pytest.mark.parametrize("hole", [None, np.nan, pd.NA])
def test_missing_categories(hole):
    X = pd.DataFrame(
        {"a": [0.0, 1.0, 2.0], "c": pd.Series(["u", hole, "v"], dtype="O")}
    )
    with pytest.raises(ValueError, match="'c' has a missing value"):
        DesignSpace(X, categories=["c"])


@pytest.mark.parametrize("kind", ["str", "object", "category", "polars"])
def test_digits_are_no_numbers(kind):
    columns = {"a": [0.5, 1.0, 2.0], "id": ["101", "102", "101"]}
    X = (pl if kind == "polars" else pd).DataFrame(columns)
    if kind != "polars":
        X = X.astype({"id": kind})
    with pytest.raises(ValueError, match="'id' holds something else than numbers"):
        DesignSpace(X)
    assert DesignSpace(X, categories="dtype").categories[0].values == ["101", "102"]


def test_digits_in_an_array_are_no_numbers():
    X = np.array([[0.5, "1"], [1.5, "2"]], dtype=object)
    with pytest.raises(ValueError, match="at index 1 holds something else"):
        DesignSpace(X)


def test_lists_are_no_categories():
    for values in ([[1, 2], [3, 4]], [{"u": 1}, {"u": 2}]):
        for library in (pd, pl):
            X = library.DataFrame({"a": [0.0, 1.0], "c": values})
            with pytest.raises(
                ValueError, match=r"'c' holds values of type (list|dict)"
            ):
                DesignSpace(X, categories="dtype")
            with pytest.raises(ValueError, match="'c' holds something else"):
                DesignSpace(X)


def test_names_need_a_frame():
    with pytest.raises(ValueError, match="no column names"):
        DesignSpace(np.eye(2), categories=["a"])


def test_a_table_without_choice():
    X = np.array([["a"], ["a"]], dtype=object)
    with pytest.raises(ValueError, match="no choice"):
        DesignSpace(X, categories=[0])


def test_unknown_categories_are_even(frame):
    space = DesignSpace(frame, categories=CATEGORIES)
    columns = {name: frame[name].to_list() for name in frame.columns}
    columns["metal"] = ["Au"] * len(frame)
    code = space.read(pd.DataFrame(columns))
    assert (code[:, 2] == -1).all()
    raw = space.encode(code) * space.scale + space.mean
    np.testing.assert_allclose(raw[:, space.blocks[0]], 0, atol=1e-12)


def test_columns_of_a_group_that_were_never_one():
    X = np.array([[1, 0, 0, 2.0], [0, 0, 1, 3.0], [1, 0, 0, 4.0]])
    space = DesignSpace(X, categories=[[0, 1, 2]])
    assert space.n_coordinates == 2
    np.testing.assert_array_equal(space.write(space.training), X)
    moved = space.write(space.decode(np.array([[9.0, 0.0], [-9.0, 0.0]])))
    assert set(map(tuple, moved[:, :3])) == {(1, 0, 0), (0, 0, 1)}


# -------------------------------------------------------------------- every design
def test_every_design_of_a_finite_space():
    X = pd.DataFrame({"n": [1, 3], "c": ["u", "v"], "k": [7.0, 7.0]})
    space = DesignSpace(X, bounds_margin=0, categories=["c"])
    assert space.n_designs == 6
    found = space.write(space.every_design())
    assert sorted(zip(found["n"], found["c"], strict=True)) == [
        (n, c) for n in (1, 2, 3) for c in "uv"
    ]
    assert DesignSpace(X, categories=["c"], integers=None).n_designs == np.inf


@pytest.mark.parametrize("size", [1e-3, 0.5, 100.0])
def test_neighbours_are_valid(frame, size, global_random_seed):
    space = DesignSpace(frame, categories=CATEGORIES)
    rng = np.random.RandomState(global_random_seed)
    moved = space.vary(space.training, size, rng)
    np.testing.assert_allclose(moved, space.decode(space.encode(moved)), rtol=1e-9)
    changed = (moved != space.training).mean(axis=0)
    assert (changed[: len(space.number_parts)] > 0.05).all()
    assert_equal_frames(space.write(moved), space.write(space.read(space.write(moved))))


@st.composite
def tables(draw):
    """A frame with columns of any size and dtype, and bounds."""
    n = draw(st.integers(2, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    kinds = st.sampled_from(["float64", "float32", "int8", "int64", "text", "bool"])
    columns, categories, bounds = {}, [], {}
    for j, kind in enumerate(draw(st.lists(kinds, min_size=1, max_size=5))):
        if kind == "text":
            columns[f"c{j}"] = rng.choice(["u", "v", "w"], n)
            categories.append(f"c{j}")
            continue
        size = 10.0 ** draw(st.integers(-8, 8)) if kind.startswith("float") else 9
        values = (size * rng.standard_normal(n)).astype(kind)
        columns[f"c{j}"] = values
        if kind != "bool" and draw(st.booleans()):
            low, span = draw(st.floats(-3, 3)), draw(st.floats(1.1, 5))
            bounds[f"c{j}"] = (low * size, (low + span) * size)
    if len(categories) == len(columns):
        columns["x"] = rng.standard_normal(n)
    if draw(st.booleans()):
        hot = np.arange(n) % 2
        columns |= {"h0": hot, "h1": 1 - hot}
        categories.append(["h0", "h1"])
    library = draw(st.sampled_from([pd, pl]))
    return library.DataFrame(columns), categories, bounds


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(0, 10**6), st.sampled_from([0.1, 3.0, 1e6]))
def test_every_point_is_a_valid_design(table, seed, size):
    X, categories, bounds = table
    space = DesignSpace(X, categories=categories, bounds=bounds)
    rng = np.random.default_rng(seed)
    Z = size * rng.standard_normal((20, space.n_coordinates))
    designs = space.write(space.decode(Z))
    assert list(designs.columns) == list(X.columns)
    assert list(designs.dtypes) == list(X.dtypes)
    for j, name in enumerate(X.columns):
        values = designs[name].to_numpy()
        if name in categories:
            assert set(values) <= set(X[name].to_numpy())
            continue
        assert (values >= space.bounds[j, 0]).all()
        assert (values <= space.bounds[j, 1]).all()
        if name in bounds:
            low, high = bounds[name]
            assert (values.astype(np.float64) >= low).all()
            assert (values.astype(np.float64) <= high).all()
    if "h0" in X.columns:
        total = designs["h0"].to_numpy() + designs["h1"].to_numpy()
        assert set(total) == {1}
    code = space.read(designs)
    scale = np.ones(space.n_parts)
    scale[space.number_parts] = space.scale[space.number_coordinates]
    shift = np.abs(space.decode(space.encode(code)) - code) / scale
    assert (shift < 1e-9 * (1 + np.abs(space.encode(code)).max())).all()


# ---------------------------------------------------------------------------- units
@pytest.mark.parametrize("size", [1e-150, 1.0, 1e150])
def test_units_of_any_size(size, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    values = rng.standard_normal((50, 2))
    mean, scale = mean_and_scale(values * size)
    np.testing.assert_allclose(mean / size, values.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(scale / size, values.std(axis=0))


def test_units_of_constant_columns():
    mean, scale = mean_and_scale(np.array([[0.1, 0.0], [0.1, 0.0], [0.1, 0.0]]))
    np.testing.assert_array_equal(mean, [0.1, 0.0])
    np.testing.assert_array_equal(scale, 1)
