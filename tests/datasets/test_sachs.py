# SPDX-License-Identifier: BSD-3-Clause
import gzip
import hashlib
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from skpapers.datasets import SACHS_EDGES, load_sachs
from skpapers.utils._graph import is_dag

SIZES = (853, 902, 911, 723, 810, 799, 848, 913, 707)
NAMES = ["Raf", "Mek", "Plcg", "PIP2", "PIP3", "Erk", "Akt", "PKA", "PKC", "P38", "Jnk"]
DATA = files("skpapers.datasets").joinpath("data")


def test_shipped_table_is_the_source_to_the_character():
    table = gzip.decompress(DATA.joinpath("sachs.csv.gz").read_bytes()).decode("ascii")
    lines = table.splitlines()
    assert lines[0].endswith(",condition")
    source = "".join(line.rpartition(",")[0] + "\n" for line in lines)
    # The sha256 of cyto_full_data.csv in cdt 0.6.0.
    assert hashlib.sha256(source.encode("ascii")).hexdigest() == (
        "fc331dcd0bc1d8765986b88cd1d23dd5a3f52e4ffc299fdf96de9d522ddf01aa"
    )
    loaded = load_sachs(subset="all").data
    parsed = [[float(x) for x in line.split(",")[:-1]] for line in lines[1:]]
    np.testing.assert_array_equal(loaded, parsed)


def test_table_is_packed_without_a_date():
    assert DATA.joinpath("sachs.csv.gz").read_bytes()[4:8] == bytes(4)


def test_licence_and_provenance_are_beside_the_table():
    licence = DATA.joinpath("SACHS_LICENSE.txt").read_text("utf-8")
    assert licence.startswith("MIT License")
    assert "Diviyan Kalainathan" in licence
    description = load_sachs().DESCR
    for fact in ("Science 308", "cdt-0.6.0", "MIT", "Apache 2.0", "fc331dcd0bc1d87659"):
        assert fact in description
    table = gzip.decompress(DATA.joinpath("sachs.csv.gz").read_bytes())
    assert hashlib.sha256(table).hexdigest() in description


def test_observational_rows_are_the_first_of_all():
    some, every = load_sachs(), load_sachs(subset="all")
    assert some.data.shape == (853, 11)
    assert every.data.shape == (7466, 11)
    assert some.data.dtype == every.data.dtype == np.float64
    np.testing.assert_array_equal(some.data, every.data[:853])
    assert (some.condition == 1).all()
    assert np.isfinite(every.data).all()
    assert (every.data > 0).all()


def test_known_figures():
    sachs = load_sachs()
    assert sachs.feature_names == NAMES
    np.testing.assert_array_equal(sachs.data[0, :3], [26.4, 13.2, 8.82])
    deviation = sachs.data.std(axis=0)
    assert round(deviation.min()) == 12
    assert round(deviation.max()) == 428
    # Sorting by variance agrees with two thirds of the pairs joined by a path,
    # counted for each length of a path.
    graph, variance = sachs.graph.astype(int), sachs.data.var(axis=0)
    agree = total = 0
    walks = graph.copy()
    while walks.any():
        cause, effect = np.nonzero(walks)
        agree += (variance[cause] < variance[effect]).sum()
        total += len(cause)
        walks = walks @ graph
    assert agree / total == pytest.approx(0.67, abs=0.005)


def test_conditions():
    sachs = load_sachs(subset="all")
    assert sachs.condition.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(sachs.condition)[1:], SIZES)
    assert (np.diff(sachs.condition) >= 0).all()
    assert len(sachs.condition_names) == 9
    assert sachs.condition_names[0] == "anti-CD3/CD28"


def test_boundaries_of_the_conditions_are_where_the_data_jump():
    # Around each boundary the split that separates the means of the logarithms
    # best, in units of the deviation, is the boundary itself.
    log = np.log(load_sachs(subset="all").data)
    for boundary in np.cumsum(SIZES)[:-1]:
        gap = {}
        for row in range(boundary - 100, boundary + 101):
            around = log[row - 150 : row + 150]
            jump = around[:150].mean(axis=0) - around[150:].mean(axis=0)
            gap[row] = (abs(jump) / around.std(axis=0)).sum()
        # U0126 to LY294002 is found two rows early.
        assert abs(max(gap, key=gap.get) - boundary) <= 2


def test_conditions_agree_with_the_pharmacology():
    sachs = load_sachs(subset="all")
    median = {
        name: dict(
            zip(NAMES, np.median(sachs.data[sachs.condition == c], axis=0), strict=True)
        )
        for c, name in enumerate(sachs.condition_names, start=1)
    }
    lowest_pip2 = min(median, key=lambda name: median[name]["PIP2"])
    assert lowest_pip2 == "anti-CD3/CD28 + psitectorigenin"
    lowest_erk = min(median, key=lambda name: median[name]["Erk"])
    assert lowest_erk == "anti-CD3/CD28 + U0126"
    assert median[lowest_erk]["Mek"] > 5 * median["anti-CD3/CD28"]["Mek"]


def test_consensus_graph():
    sachs = load_sachs()
    assert len(set(SACHS_EDGES)) == 17
    assert sachs.edges == SACHS_EDGES
    assert sachs.graph.shape == (11, 11)
    assert is_dag(sachs.graph)
    edges = {(NAMES[i], NAMES[j]) for i, j in np.argwhere(sachs.graph)}
    assert edges == set(SACHS_EDGES)
    causes = dict(zip(NAMES, sachs.graph.sum(axis=1).tolist(), strict=True))
    assert causes["PKA"] == 6
    assert causes["PKC"] == 5
    assert causes["Akt"] == causes["Jnk"] == causes["P38"] == causes["PIP2"] == 0


def test_frames():
    pd = pytest.importorskip("pandas")
    sachs = load_sachs(as_frame=True)
    assert isinstance(sachs.data, pd.DataFrame)
    assert list(sachs.data.columns) == NAMES
    assert sachs.graph.loc["Raf", "Mek"] == 1
    assert sachs.graph.loc["Mek", "Raf"] == 0
    assert isinstance(sachs.condition, pd.Series)
    np.testing.assert_array_equal(sachs.data, load_sachs().data)


def test_return_X_graph():
    X, graph = load_sachs(return_X_graph=True)
    np.testing.assert_array_equal(X, load_sachs().data)
    np.testing.assert_array_equal(graph, load_sachs().graph)


def test_a_caller_cannot_spoil_the_next_ones_data():
    load_sachs().data[:] = 0
    assert load_sachs().data.min() > 0


def test_arrays_need_no_pandas():
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from skpapers.datasets import load_sachs, make_linear_sem\n"
        "assert load_sachs(subset='all').data.shape == (7466, 11)\n"
        "make_linear_sem(5, 3)\n"
        "for load in (load_sachs, make_linear_sem):\n"
        "    try:\n"
        "        load(as_frame=True)\n"
        "    except ImportError as error:\n"
        "        assert 'skpapers[frames]' in str(error), error\n"
        "    else:\n"
        "        raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bad_subset():
    with pytest.raises(ValueError, match="The 'subset' parameter"):
        load_sachs(subset="interventional")
