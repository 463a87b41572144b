"""Pictures of causal graphs: what is drawn, in which colour, and where."""

import pickle
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib.colors import to_hex
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from skpapers.causal._display import DAGDisplay
from skpapers.causal._drawing import (
    BLUE,
    GREY,
    HIGHLIGHTS,
    NODE_FACE,
    ORANGE,
    PURPLE,
    VERMILION,
    box_half_size,
    inside_box,
)
from skpapers.causal._feature_selector import CausalFeatureSelector
from skpapers.datasets import SACHS_EDGES, load_sachs
from skpapers.metrics import structural_hamming_distance

mpl.use("agg")
from matplotlib import pyplot

NAMES = ["rain", "sprinkler", "grass", "mud"]
W = np.array(
    [[0, -0.5, 2.0, 0], [0, 0, 1.0, 0], [0, 0, 0, 0.25], [0, 0, 0, 0]], dtype=float
)


class GivenGraph(BaseEstimator):
    """A learner that returns the same graph whatever the table."""

    def __init__(self, adjacency=W):
        self.adjacency = adjacency

    def fit(self, X, y=None):
        self.adjacency_ = np.asarray(self.adjacency, dtype=float)
        self.covariance_ = np.cov(np.asarray(X), rowvar=False, bias=True)
        if hasattr(X, "columns"):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def table(scale=(1.0, 1.0, 1.0, 1.0)):
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.standard_normal((50, 4)) * scale, columns=NAMES)


def colour(display, *edge):
    return to_hex(display.edges_[edge].get_edgecolor()).upper()


def legend_of(display):
    legend = display.ax_.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def test_nodes_edges_and_layers():
    display = DAGDisplay.from_adjacency(W, names=NAMES)
    assert isinstance(display, DAGDisplay)
    assert list(display.nodes_) == NAMES
    assert [node.get_text() for node in display.nodes_.values()] == NAMES
    assert set(display.edges_) == {
        ("rain", "sprinkler"),
        ("rain", "grass"),
        ("sprinkler", "grass"),
        ("grass", "mud"),
    }
    np.testing.assert_array_equal(display.positions_[:, 1], [0, -1, -2, -3])
    assert display.figure_ is display.ax_.figure
    assert not hasattr(display, "im_")


def test_colour_is_the_sign_and_width_the_weight():
    display = DAGDisplay.from_adjacency(W, names=NAMES)
    assert colour(display, "rain", "sprinkler") == VERMILION
    assert colour(display, "rain", "grass") == BLUE
    widths = [
        display.edges_[edge].get_linewidth()
        for edge in [
            ("grass", "mud"),
            ("rain", "sprinkler"),
            ("sprinkler", "grass"),
            ("rain", "grass"),
        ]
    ]
    assert (np.diff(widths) > 0).all()
    assert legend_of(display) == ["positive", "negative", "|weight| 0.25", "|weight| 2"]
    plain = DAGDisplay.from_adjacency(W != 0)
    assert len({edge.get_linewidth() for edge in plain.edges_.values()}) == 1
    assert legend_of(plain) == []


def test_standardised_weights():
    X = table(scale=(1.0, 10.0, 100.0, 1.0))
    learner = GivenGraph().fit(X)
    std = X.std(ddof=0).to_numpy()
    expected = W * std[:, None] / std[None, :]
    order = [0, 1, 2, 3]
    for standardize, shown in [("auto", expected), (True, expected), (False, W)]:
        display = DAGDisplay.from_estimator(
            learner, kind="heatmap", standardize=standardize
        )
        drawn = display.im_.get_array()
        np.testing.assert_allclose(drawn, shown[np.ix_(order, order)], rtol=1e-12)
    display = DAGDisplay.from_adjacency(W, std=std)
    assert legend_of(display)[-1].startswith("|standardised weight|")
    with pytest.raises(ValueError, match="needs the standard deviations"):
        DAGDisplay.from_adjacency(W, standardize=True)


def test_heatmap_is_centred_named_and_in_causal_order():
    shuffled = [2, 0, 3, 1]
    adjacency = W[np.ix_(shuffled, shuffled)]
    names = [NAMES[j] for j in shuffled]
    display = DAGDisplay.from_adjacency(adjacency, names=names, kind="heatmap")
    np.testing.assert_array_equal(display.im_.get_array(), W)
    assert display.im_.get_clim() == (-2, 2)
    ax = display.ax_
    assert [tick.get_text() for tick in ax.get_yticklabels()] == NAMES
    assert [tick.get_text() for tick in ax.get_xticklabels()] == NAMES
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("effect", "cause")
    assert sorted(text.get_text() for text in ax.texts) == ["-0.5", "0.25", "1", "2"]
    assert display.figure_.axes[1].get_ylabel() == "weight"
    # a positive weight has the same hue in both kinds of picture
    red, _, blue = colors.to_rgb(display.im_.cmap(1.0)[:3])
    assert blue > red


def test_comparison_with_a_known_graph():
    truth = np.zeros((4, 4))
    truth[0, 2] = truth[2, 1] = truth[1, 3] = 1
    for given in (truth, pd.DataFrame(truth, NAMES, NAMES), [(0, 2), (2, 1), (1, 3)]):
        display = DAGDisplay.from_adjacency(W, names=NAMES, truth=given)
        assert colour(display, "rain", "grass") == BLUE
        assert colour(display, "sprinkler", "grass") == ORANGE
        assert colour(display, "rain", "sprinkler") == PURPLE
        assert colour(display, "grass", "mud") == PURPLE
        assert colour(display, "sprinkler", "mud") == GREY
        assert display.edges_["sprinkler", "mud"].get_linestyle() != "-"
        assert len(display.edges_) == 5
        assert legend_of(display)[:4] == [
            "found (1)",
            "reversed (1)",
            "extra (2)",
            "missed (1)",
        ]
    # the columns of a frame are matched by name
    frame = pd.DataFrame(truth, NAMES, NAMES)
    other = frame.loc[NAMES[::-1], NAMES[::-1]]
    display = DAGDisplay.from_adjacency(W, names=NAMES, truth=other)
    np.testing.assert_array_equal(display.truth, truth != 0)
    heatmap = DAGDisplay.from_adjacency(W, names=NAMES, truth=truth, kind="heatmap")
    frames = [patch.get_xy() for patch in heatmap.ax_.patches]
    assert len(frames) == 3
    labels = [tick.get_text() for tick in heatmap.ax_.get_xticklabels()]
    edges = {(labels[round(y + 0.5)], labels[round(x + 0.5)]) for x, y in frames}
    assert edges == {("rain", "grass"), ("grass", "sprinkler"), ("sprinkler", "mud")}


def test_counts_make_the_structural_hamming_distance(global_random_seed):
    sachs = load_sachs(as_frame=True)
    rng = np.random.default_rng(global_random_seed)
    order = rng.permutation(11)
    learnt = np.triu(rng.random((11, 11)) < 0.3, 1)[np.ix_(order, order)]
    display = DAGDisplay.from_adjacency(
        learnt, names=sachs.feature_names, truth=SACHS_EDGES
    )
    counts = dict(text.rstrip(")").split(" (") for text in legend_of(display))
    wrong = sum(int(counts.get(key, 0)) for key in ("reversed", "extra", "missed"))
    assert wrong == structural_hamming_distance(sachs.graph.to_numpy(), learnt)
    known = sum(int(counts.get(key, 0)) for key in ("found", "reversed", "missed"))
    assert known == 17


def test_agreement_leaves_only_found_edges():
    sachs = load_sachs(as_frame=True)
    display = DAGDisplay.from_adjacency(sachs.graph, truth=sachs.graph)
    assert legend_of(display) == ["found (17)"]
    assert list(display.nodes_) == sachs.feature_names


def test_highlight():
    groups = {"goal": ["grass"], "causes": [0, "sprinkler"]}
    display = DAGDisplay.from_adjacency(W, names=NAMES, highlight=groups)
    faces = {
        name: to_hex(node.get_bbox_patch().get_facecolor()).upper()
        for name, node in display.nodes_.items()
    }
    goal, causes = HIGHLIGHTS[:2]
    assert faces == {
        "rain": causes,
        "sprinkler": causes,
        "grass": goal,
        "mud": NODE_FACE,
    }
    assert legend_of(display)[-2:] == ["goal", "causes"]


@pytest.mark.parametrize("frame", [True, False])
def test_from_a_selector(frame):
    X = table()
    adjacency = np.zeros((5, 5))
    adjacency[0, 4] = adjacency[4, 2] = adjacency[1, 2] = 1.0
    selector = CausalFeatureSelector(GivenGraph(adjacency), kind="markov_blanket")
    selector.fit(X if frame else X.to_numpy(), np.arange(50.0))
    display = DAGDisplay.from_estimator(selector)
    names = NAMES if frame else ["x0", "x1", "x2", "x3"]
    assert list(display.nodes_) == [*names, "y"]
    assert display.highlight == {"target": ["y"], "Markov blanket": names[:3]}


def test_layout_of_another_display():
    first = DAGDisplay.from_adjacency(W, names=NAMES)
    moved = first.positions_ + np.array([1.0, 0.0])
    second = DAGDisplay.from_adjacency(W.T, names=NAMES, layout=moved)
    np.testing.assert_array_equal(second.positions_, moved)
    assert ("mud", "grass") in second.edges_


def test_into_given_axes_and_again():
    figure, axes = pyplot.subplots(1, 2)
    display = DAGDisplay.from_adjacency(W, ax=axes[0])
    assert display.ax_ is axes[0]
    assert display.plot(axes[1], kind="heatmap") is display
    assert display.ax_ is axes[1]
    assert display.figure_ is figure
    again = display.plot(standardize=False)
    assert again.figure_ is not figure
    assert len(pyplot.get_fignums()) == 2


def arrow_ends(display, *edge):
    """Return the ends of an arrow in pixels."""
    arrow = display.edges_[edge]
    path = arrow.get_connectionstyle()(None, None)
    return path.vertices[0], path.vertices[-1]


@pytest.mark.parametrize("dpi", [50, 100, 200])
@pytest.mark.parametrize("size", [(3, 3), (9, 5)])
def test_arrows_go_from_rim_to_rim(dpi, size):
    figure, ax = pyplot.subplots(figsize=size, dpi=dpi)
    display = DAGDisplay.from_adjacency(W, names=NAMES, ax=ax)
    figure.canvas.draw()
    for edge in display.edges_:
        for name, end in zip(edge, arrow_ends(display, *edge), strict=True):
            node = display.nodes_[name]
            centre = ax.transData.transform(node.get_position())
            half, radius = box_half_size(node)
            scale = dpi / 72
            assert not inside_box(end[None], centre, (half, radius), scale).any()
            assert inside_box(end[None], centre, (half + 4, radius + 4), scale).all()
            # the box is the one that is drawn, rounded edges apart
            drawn = node.get_bbox_patch().get_window_extent()
            np.testing.assert_allclose(drawn.width, 2 * half[0] * scale, rtol=0.05)
            np.testing.assert_allclose(drawn.height, 2 * half[1] * scale, rtol=0.05)


@pytest.mark.parametrize("kind", ["graph", "heatmap"])
@pytest.mark.parametrize("adjacency", [np.zeros((1, 1)), np.zeros((3, 3))])
def test_graphs_without_edges(kind, adjacency, tmp_path):
    display = DAGDisplay.from_adjacency(adjacency, kind=kind, truth=adjacency)
    display.figure_.savefig(tmp_path / "empty.png")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_every_format_can_be_saved(suffix, tmp_path):
    display = DAGDisplay.from_adjacency(W, names=NAMES, truth=W.T)
    path = tmp_path / f"graph.{suffix}"
    display.figure_.savefig(path, dpi=50)
    assert path.stat().st_size > 1000
    again = pickle.loads(pickle.dumps(display))
    again.figure_.savefig(tmp_path / f"again.{suffix}", dpi=50)


def test_names_do_not_touch_at_50_nodes(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    adjacency = np.triu(rng.standard_normal((50, 50)) * (rng.random((50, 50)) < 0.1), 1)
    display = DAGDisplay.from_adjacency(adjacency)
    display.figure_.canvas.draw()
    boxes = [n.get_bbox_patch().get_window_extent() for n in display.nodes_.values()]
    overlaps = sum(a.overlaps(b) for a in boxes for b in boxes) - len(boxes)
    assert overlaps == 0
    assert min(n.get_fontsize() for n in display.nodes_.values()) >= 6


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"kind": "tree"}, 'kind must be "graph" or "heatmap"'),
        ({"layout": "circle"}, 'layout must be "layers" or an array'),
        ({"layout": np.zeros((3, 2))}, r"layout must be finite of shape \(4, 2\)"),
        ({"standardize": "yes"}, "standardize must be"),
        ({"names": ["a", "b"]}, "names must be 4 different names"),
        ({"names": ["a"] * 4}, "names must be 4 different names"),
        ({"std": [1, 2]}, "std must be 4 finite numbers"),
        ({"std": [1, 2, -1, 0]}, "std must be 4 finite numbers"),
        ({"truth": np.zeros((3, 3))}, r"truth must have shape \(4, 4\)"),
        ({"truth": W + W.T}, "truth must be acyclic"),
        ({"truth": [("x0", "snow")]}, "'snow' is no node"),
        ({"truth": pd.DataFrame(W, NAMES, NAMES)}, "truth is over"),
        ({"highlight": {"a": [7]}}, "7 is no node"),
        ({"highlight": {key: [0] for key in "abcdef"}}, "at most"),
    ],
)
def test_bad_parameters(kwargs, match):
    with pytest.raises(ValueError, match=match):
        DAGDisplay.from_adjacency(W, **kwargs)


def test_names_are_shown_as_they_are():
    names = ["$price", "a_b$", "x", r"\\alpha"]
    for kind in ("graph", "heatmap"):
        display = DAGDisplay.from_adjacency(W, names=names, kind=kind)
        display.figure_.canvas.draw()
    assert [tick.get_text() for tick in display.ax_.get_yticklabels()] == names


def test_the_constructor_alone():
    display = DAGDisplay(W.tolist())
    assert not hasattr(display, "ax_")
    assert display.names == ["x0", "x1", "x2", "x3"]
    assert len(display.plot().nodes_) == 4


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install \"skpapers\[plot\]\""):
        DAGDisplay.from_adjacency(W)


def test_bad_graphs():
    with pytest.raises(ValueError, match="acyclic"):
        DAGDisplay.from_adjacency(W + W.T)
    with pytest.raises(ValueError, match="square"):
        DAGDisplay.from_adjacency(W[:2])
    with pytest.raises(NotFittedError):
        DAGDisplay.from_estimator(GivenGraph())
