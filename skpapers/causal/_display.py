# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of causal graphs: nodes in layers with arrows, or a heat map of weights."""

from numbers import Integral
from textwrap import fill

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skpapers.causal._drawing import (
    HIGHLIGHTS,
    NODE_FACE,
    NODE_LINE,
    PAD,
    ROUNDING,
    STATUS,
    EdgeShape,
    box_half_size,
    edge_colour,
    line_width,
    matplotlib_module,
)
from skpapers.causal._layout import direct_routes, layered_layout, smooth
from skpapers.utils._graph import check_adjacency, topological_order


class DAGDisplay:
    """Picture of a causal graph.

    Make one with `from_estimator` or `from_adjacency`; all parameters are stored as
    attributes. As for all Displays of scikit-learn, `plot` draws again, also into
    other axes.

    Parameters
    ----------
    adjacency : array-like of shape (n_nodes, n_nodes)
        Weights of an acyclic graph; a non-zero entry (i, j) is the edge i -> j.
    names : list of str, default=None
        Names of the nodes; None stands for x0, x1, ...
    std : array-like of shape (n_nodes,), default=None
        Standard deviations of the variables, for weights that can be compared.
    truth : array-like of shape (n_nodes, n_nodes) or list of pairs, default=None
        A known acyclic graph to compare with, as a matrix or as (cause, effect) pairs
        of names or indices; it is stored as a boolean matrix.
    highlight : dict, default=None
        Groups of nodes to colour: what the legend says and the names or indices of the
        nodes, for example ``{"target": ["Akt"]}``.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.
    positions_ : ndarray of shape (n_nodes, 2)
        Where the nodes stand, after a plot of kind "graph"; pass it as ``layout`` to
        draw another graph over the same variables in the same way.
    nodes_ : dict of {str: matplotlib.text.Text}
        The nodes by name, after a plot of kind "graph".
    edges_ : dict of {tuple of (str, str): matplotlib.patches.FancyArrowPatch}
        The arrows by cause and effect, after a plot of kind "graph".
    im_ : matplotlib.image.AxesImage
        The image, after a plot of kind "heatmap".

    See Also
    --------
    skpapers.metrics.dag_metrics : The comparison with a known graph in numbers.

    Notes
    -----
    In the graph a node stands below all of its causes, and the top layer holds the
    variables without causes. The layered drawing takes O(layers * width²) with the
    width of the widest layer, to which edges that skip layers count: about 0.3 s at 50
    nodes and 200 edges.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skpapers.causal import DAGDisplay
    >>> adjacency = [[0, 0.8, -0.5], [0, 0, 1.2], [0, 0, 0]]
    >>> display = DAGDisplay.from_adjacency(adjacency, names=["rain", "grass", "mud"])
    >>> sorted(display.edges_)
    [('grass', 'mud'), ('rain', 'grass'), ('rain', 'mud')]
    >>> display.positions_[:, 1]  # the layers
    array([ 0., -1., -2.])
    """

    def __init__(self, adjacency, *, names=None, std=None, truth=None, highlight=None):
        self.adjacency = check_adjacency(adjacency, name="adjacency", acyclic=True)
        d = len(self.adjacency)
        names = [f"x{j}" for j in range(d)] if names is None else map(str, names)
        self.names = list(names)
        if len(set(self.names)) != d or len(self.names) != d:
            raise ValueError(f"names must be {d} different names, got {self.names}.")
        self.std = None if std is None else np.asarray(std, dtype=np.float64)
        if std is not None and (
            self.std.shape != (d,) or not ((self.std >= 0) & (self.std < np.inf)).all()
        ):
            raise ValueError(f"std must be {d} finite numbers >= 0.")
        self.truth = None if truth is None else _parse_graph(truth, self.names)
        self.highlight = {
            label: [self.names[_find_node(node, self.names)] for node in nodes]
            for label, nodes in (highlight or {}).items()
        }
        if len(self.highlight) > len(HIGHLIGHTS):
            raise ValueError(f"highlight knows at most {len(HIGHLIGHTS)} groups.")

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        kind="graph",
        ax=None,
        layout="layers",
        standardize="auto",
        truth=None,
        highlight=None,
        fontsize=None,
    ):
        """Draw the graph that an estimator has learnt.

        Parameters
        ----------
        estimator : estimator
            A fitted learner of causal graphs (whatever has ``adjacency_``), or a
            fitted `CausalFeatureSelector`, whose target and selected columns are then
            highlighted.
        kind : {"graph", "heatmap"}, default="graph"
            Which picture; see `plot`.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a figure of a fitting size.
        layout : "layers" or array-like of shape (n_nodes, 2), default="layers"
            Where the nodes stand; see `plot`.
        standardize : "auto" or bool, default="auto"
            Whether to show standardised weights; see `plot`.
        truth : array-like of shape (n_nodes, n_nodes) or list of pairs, default=None
            A known acyclic graph to compare with, as a matrix or as (cause, effect)
            pairs of names or indices, for example `skpapers.datasets.SACHS_EDGES`.
        highlight : dict, default=None
            Groups of nodes to colour, for example ``{"target": ["Akt"]}``.
        fontsize : float, default=None
            Size of the names in points; None chooses one that fits.

        Returns
        -------
        DAGDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a parameter does not fit the graph.
        """
        check_is_fitted(estimator)
        learner, marked = estimator, {}
        if hasattr(estimator, "learner_"):
            learner = estimator.learner_
            marked = _selection(estimator)
        names = _learnt_names(estimator, learner)
        covariance = getattr(learner, "covariance_", None)
        display = cls(
            learner.adjacency_,
            names=names,
            std=None if covariance is None else np.sqrt(np.diag(covariance)),
            truth=truth,
            highlight=marked if highlight is None else highlight,
        )
        return display.plot(
            ax, kind=kind, layout=layout, standardize=standardize, fontsize=fontsize
        )

    @classmethod
    def from_adjacency(
        cls,
        adjacency,
        *,
        names=None,
        std=None,
        kind="graph",
        ax=None,
        layout="layers",
        standardize="auto",
        truth=None,
        highlight=None,
        fontsize=None,
    ):
        """Draw a graph that is given as a matrix.

        Parameters
        ----------
        adjacency : array-like of shape (n_nodes, n_nodes)
            Weights, 0/1 or booleans of an acyclic graph; a non-zero entry (i, j) is
            the edge i -> j.
        names : list of str, default=None
            Names of the nodes; None stands for the columns of a data frame, or for
            x0, x1, ...
        std : array-like of shape (n_nodes,), default=None
            Standard deviations of the variables, for standardised weights.
        kind : {"graph", "heatmap"}, default="graph"
            Which picture; see `plot`.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a figure of a fitting size.
        layout : "layers" or array-like of shape (n_nodes, 2), default="layers"
            Where the nodes stand; see `plot`.
        standardize : "auto" or bool, default="auto"
            Whether to show standardised weights; see `plot`.
        truth : array-like of shape (n_nodes, n_nodes) or list of pairs, default=None
            A known acyclic graph to compare with, as a matrix or as (cause, effect)
            pairs of names or indices.
        highlight : dict, default=None
            Groups of nodes to colour, for example ``{"target": ["Akt"]}``.
        fontsize : float, default=None
            Size of the names in points; None chooses one that fits.

        Returns
        -------
        DAGDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the matrix is not square, finite and acyclic, or if another parameter
            does not fit it.
        """
        if names is None and hasattr(adjacency, "columns"):
            names = list(adjacency.columns)
        display = cls(adjacency, names=names, std=std, truth=truth, highlight=highlight)
        return display.plot(
            ax, kind=kind, layout=layout, standardize=standardize, fontsize=fontsize
        )

    def plot(
        self,
        ax=None,
        *,
        kind="graph",
        layout="layers",
        standardize="auto",
        fontsize=None,
        cmap="RdBu",
    ):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a figure of a fitting size.
        kind : {"graph", "heatmap"}, default="graph"
            "graph": nodes and arrows from causes to effects. The thicker an arrow, the
            larger the weight's absolute value; its colour is the sign or, with a known
            graph, whether the edge is in it. "heatmap": the matrix of weights, causes
            in rows and effects in columns, both in causal order; the edges of a known
            graph are framed.
        layout : "layers" or array-like of shape (n_nodes, 2), default="layers"
            Where the nodes of the graph stand: in layers below their causes (of a
            known graph, if there is one), or at given places, for example the
            ``positions_`` of another display.
        standardize : "auto" or bool, default="auto"
            Whether to show the weights times the cause's over the effect's standard
            deviation: by how many of its standard deviations the effect moves for one
            standard deviation of the cause. Weights as they are depend on the units of
            the columns. "auto" standardises if the standard deviations are known.
        fontsize : float, default=None
            Size of the names in points; None chooses one that fits.
        cmap : str or matplotlib Colormap, default="RdBu"
            Diverging colours of the heat map.

        Returns
        -------
        DAGDisplay
            Itself.

        Raises
        ------
        ValueError
            If a parameter has an unknown value, or if standardised weights are asked
            for and the standard deviations are not known.
        """
        if kind not in ("graph", "heatmap"):
            raise ValueError(f'kind must be "graph" or "heatmap", got {kind!r}.')
        weights, label = self._shown_weights(standardize)
        if kind == "heatmap":
            self._plot_heatmap(ax, weights, label, fontsize, cmap)
        else:
            self._plot_graph(ax, weights, label, layout, fontsize)
        return self

    def _shown_weights(self, standardize):
        """Return the weights to show and what they are called."""
        if standardize not in ("auto", True, False):
            raise ValueError(
                f'standardize must be "auto", True or False, got {standardize!r}.'
            )
        weights = np.asarray(self.adjacency, dtype=np.float64)
        if standardize is False or (standardize == "auto" and self.std is None):
            return weights, "weight"
        if self.std is None:
            raise ValueError("standardize=True needs the standard deviations (std).")
        std = np.where(self.std > 0, self.std, 1.0)  # constant columns have no edges
        return weights * std[:, None] / std, "standardised weight"

    def _joint_graph(self):
        """Return the edges to lay out and a causal order of the nodes.

        With a known graph, the learnt edges join it, turned around where they
        contradict its order, so that each pair of nodes has one line.
        """
        edges = np.asarray(self.adjacency) != 0
        order = topological_order(edges)
        if self.truth is None:
            return edges, order
        order = _order_like(self.truth, order)
        rank = np.argsort(order)
        joint = edges | edges.T | self.truth
        return joint & (rank[:, None] < rank), order

    def _status(self, i, j):
        """Say how the pair i, j of the joint graph is drawn: (from, to, status)."""
        learnt = np.asarray(self.adjacency) != 0
        a, b = (i, j) if learnt[i, j] else (j, i)
        if self.truth is None:
            return a, b, None
        if not learnt[a, b]:
            a, b = (i, j) if self.truth[i, j] else (j, i)
            return a, b, "missing"
        if self.truth[a, b]:
            return a, b, "found"
        return a, b, "reversed" if self.truth[b, a] else "extra"

    def _plot_graph(self, ax, weights, label, layout, fontsize):
        edges, _ = self._joint_graph()
        self.positions_, routes = _lay_out(layout, edges)
        shown = [fill(name, 14) for name in self.names]
        self._open_graph_axes(ax, routes, shown)
        self._draw_nodes(shown, fontsize or _fitting_fontsize(self.ax_, shown))
        boxes = [box_half_size(node) for node in self.nodes_.values()]
        self.edges_, statuses = {}, []
        for (i, j), route in routes.items():
            a, b, status = self._status(i, j)
            curve = smooth(route if (a, b) == (i, j) else route[::-1])
            shape = EdgeShape(self.ax_, curve, boxes[a], boxes[b])
            arrow = _make_arrow(shape, weights, a, b, status)
            self.ax_.add_artist(arrow)
            self.edges_[self.names[a], self.names[b]] = arrow
            statuses.append(status)
        self._draw_legend(statuses, weights, label)

    def _open_graph_axes(self, ax, routes, shown):
        """Make or take axes and set their limits around nodes and routes."""
        points = np.concatenate([self.positions_, *routes.values()])
        margin = np.array([0.6, 0.5])
        low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
        if ax is None:
            letters = max(len(line) for name in shown for line in name.split("\n"))
            unit = np.array([0.35 + 0.085 * max(letters, 3), 0.8])
            size = np.clip((high - low) * unit, [5.0, 3.0], [16.0, 14.0])
            pyplot = matplotlib_module("pyplot")
            _, ax = pyplot.subplots(figsize=tuple(size), layout="constrained")
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        ax.set_axis_off()
        self.ax_, self.figure_ = ax, ax.figure

    def _draw_nodes(self, shown, fontsize):
        colours = dict.fromkeys(self.names, NODE_FACE)
        for colour, nodes in zip(HIGHLIGHTS, self.highlight.values(), strict=False):
            colours.update(dict.fromkeys(nodes, colour))
        style = {"fontsize": fontsize, "ha": "center", "va": "center", "zorder": 3}
        style["parse_math"] = False  # a name may hold a dollar sign
        self.nodes_ = {}
        for name, text, (x, y) in zip(self.names, shown, self.positions_, strict=True):
            box = {
                "boxstyle": f"round,pad={PAD},rounding_size={ROUNDING}",
                "facecolor": colours[name],
                "edgecolor": NODE_LINE,
                "linewidth": 0.8,
            }
            self.nodes_[name] = self.ax_.text(x, y, text, bbox=box, **style)

    def _draw_legend(self, statuses, weights, label):
        """Say below the graph what colours and widths mean."""
        lines, patches = matplotlib_module("lines"), matplotlib_module("patches")
        handles = []
        for status, (colour, style, text) in STATUS.items():
            if status in statuses:
                line = {"color": colour, "linestyle": style, "linewidth": 2}
                text = f"{text} ({statuses.count(status)})"
                handles.append(lines.Line2D([], [], label=text, **line))
        sizes = np.abs(weights[weights != 0])
        if self.truth is None and len(np.unique(np.sign(weights[weights != 0]))) > 1:
            for sign, text in ((1, "positive"), (-1, "negative")):
                line = {"color": edge_colour(sign, None)[0], "linewidth": 2}
                handles.append(lines.Line2D([], [], label=text, **line))
        if _differ(sizes):
            for size in (sizes.min(), sizes.max()):
                width = line_width(size / sizes.max(), len(weights))
                text = f"|{label}| {size:.2g}"
                line = {"color": NODE_LINE, "linewidth": width}
                handles.append(lines.Line2D([], [], label=text, **line))
        for colour, group in zip(HIGHLIGHTS, self.highlight, strict=False):
            box = {"facecolor": colour, "edgecolor": NODE_LINE, "linewidth": 0.8}
            handles.append(patches.Patch(label=group, **box))
        if handles:
            self.ax_.legend(
                handles=handles,
                loc="upper center",
                bbox_to_anchor=(0.5, 0.0),
                ncols=max(2, min(len(handles), _columns_of(self.ax_))),
                frameon=False,
                fontsize="small",
            )

    def _plot_heatmap(self, ax, weights, label, fontsize, cmap):
        _, order = self._joint_graph()
        d = len(order)
        if ax is None:
            side = float(np.clip(1.3 + 0.38 * d, 3.6, 11.0))
            pyplot = matplotlib_module("pyplot")
            _, ax = pyplot.subplots(figsize=(side + 1.0, side), layout="constrained")
        shown = weights[np.ix_(order, order)]
        limit = np.abs(shown).max() or 1.0
        self.ax_, self.figure_ = ax, ax.figure
        self.im_ = ax.imshow(shown, cmap=cmap, vmin=-limit, vmax=limit)
        names = [self.names[j] for j in order]
        inches = ax.get_window_extent().height / ax.figure.dpi
        fontsize = fontsize or float(np.clip(0.55 * 72 * inches / d, 4, 10))
        style = {"fontsize": fontsize, "parse_math": False}
        ax.set_xticks(np.arange(d), names, rotation=90, **style)
        ax.set_yticks(np.arange(d), names, **style)
        ax.set(xlabel="effect", ylabel="cause")
        ax.set_xticks(np.arange(d + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(d + 1) - 0.5, minor=True)
        ax.grid(which="minor", color="0.9", linewidth=0.5)
        ax.tick_params(which="both", length=0)
        if d <= 15:
            _write_values(ax, shown, limit, fontsize)
        if self.truth is not None:
            self._frame_known_edges(order)
        self.figure_.colorbar(self.im_, ax=ax, label=label, shrink=0.7, aspect=30)

    def _frame_known_edges(self, order):
        """Draw a frame around the entries of the known graph."""
        patches = matplotlib_module("patches")
        style = {"fill": False, "edgecolor": "black", "linewidth": 1.4, "zorder": 3}
        frame = None
        for row, column in zip(
            *np.nonzero(self.truth[np.ix_(order, order)]), strict=True
        ):
            frame = patches.Rectangle((column - 0.5, row - 0.5), 1, 1, **style)
            self.ax_.add_patch(frame)
        if frame is not None:
            self.ax_.legend(
                handles=[frame],
                labels=["edge of the known graph"],
                loc="upper center",
                bbox_to_anchor=(0.5, -0.18),
                frameon=False,
                fontsize="small",
            )


def _differ(sizes):
    """Say whether sizes are worth being shown by widths."""
    return len(sizes) > 0 and sizes.max() > 1.001 * sizes.min()


def _make_arrow(shape, weights, a, b, status):
    """Return the arrow of the edge a -> b."""
    patches = matplotlib_module("patches")
    sizes = np.abs(weights[weights != 0])
    share = abs(weights[a, b]) / sizes.max() if _differ(sizes) else 0.3
    colour, style = edge_colour(weights[a, b], status)
    missing = status == "missing"
    width = 1.1 if missing else line_width(share, len(weights))
    arrow = patches.FancyArrowPatch(
        shape.curve[0],
        shape.curve[-1],
        connectionstyle=shape,
        arrowstyle="-|>,head_length=0.45,head_width=0.22",
        mutation_scale=9 + 2 * width,
        linewidth=width,
        linestyle=style,
        color=colour,
        alpha=1.0 if missing else 0.7 + 0.3 * share,
        zorder=1 if missing else 2,
    )
    arrow.set_in_layout(False)
    return arrow


def _write_values(ax, shown, limit, fontsize):
    for i, j in zip(*np.nonzero(shown), strict=True):
        colour = "white" if abs(shown[i, j]) > 0.6 * limit else "black"
        style = {"ha": "center", "va": "center", "color": colour}
        ax.text(j, i, f"{shown[i, j]:.2g}", fontsize=0.72 * fontsize, **style)


def _lay_out(layout, edges):
    """Return the places of the nodes and the routes of the edges."""
    if isinstance(layout, str) and layout == "layers":
        drawing = layered_layout(edges)
        return drawing.positions, drawing.routes
    if isinstance(layout, str):
        raise ValueError(
            f'layout must be "layers" or an array of positions, got {layout!r}.'
        )
    positions = np.array(layout, dtype=np.float64)
    if positions.shape != (len(edges), 2) or not np.isfinite(positions).all():
        raise ValueError(
            f"layout must be finite of shape ({len(edges)}, 2), got an array of shape "
            f"{positions.shape}."
        )
    return positions, direct_routes(positions, edges)


def _fitting_fontsize(ax, shown):
    """Return a font size in points with which the names fit between each other."""
    inches = ax.get_window_extent().width / ax.figure.dpi
    unit = 72 * inches / np.ptp(ax.get_xlim())  # points between neighbours
    letters = max(len(line) for name in shown for line in name.split("\n"))
    return float(np.clip(unit / (0.62 * letters + 2 * PAD + 0.4), 5, 10))


def _columns_of(ax):
    """Return how many entries of a legend fit side by side."""
    return int(ax.get_window_extent().width / ax.figure.dpi / 1.6)


def _order_like(graph, order):
    """Return the causal order of a graph that is most like a given order.

    Of the nodes whose parents are placed the one that stands first in ``order`` comes
    next.
    """
    left, result = list(order), []
    waiting = graph.sum(axis=0)
    while left:
        node = next(v for v in left if waiting[v] == 0)
        left.remove(node)
        result.append(node)
        waiting = waiting - graph[node]
    return np.array(result)


def _parse_graph(graph, names):
    """Return a known graph, given as matrix or pairs, as a boolean matrix."""
    d = len(names)
    if hasattr(graph, "columns"):
        known = [str(name) for name in graph.columns]
        if set(known) != set(names):
            raise ValueError(f"truth is over {known}, the graph over {names}.")
        where = [known.index(name) for name in names]
        graph = check_adjacency(graph, name="truth", acyclic=True)[np.ix_(where, where)]
    elif np.shape(graph) != (d, d) and all(np.shape(pair) == (2,) for pair in graph):
        pairs = [[_find_node(node, names) for node in pair] for pair in graph]
        graph = np.zeros((d, d), dtype=bool)
        for i, j in pairs:
            graph[i, j] = True
    graph = check_adjacency(graph, name="truth", acyclic=True)
    if graph.shape != (d, d):
        raise ValueError(f"truth must have shape ({d}, {d}), got {graph.shape}.")
    return graph != 0


def _find_node(node, names):
    """Return the index of a node that is given by name or index."""
    if isinstance(node, str) and node in names:
        return names.index(node)
    if isinstance(node, Integral) and 0 <= node < len(names):
        return int(node)
    raise ValueError(f"{node!r} is no node; known are {names} and their indices.")


def _learnt_names(estimator, learner):
    """Return the names of the nodes, for a selector with that of the target."""
    names = getattr(learner, "feature_names_in_", None)
    d = len(learner.adjacency_)
    if names is None:
        names = [f"x{j}" for j in range(d)]
        if hasattr(estimator, "target_index_"):
            names[estimator.target_index_] = estimator.target_name_
    return list(names)


def _selection(selector):
    """Return the nodes to highlight for a fitted selector."""
    target = selector.target_index_
    kind = {"parents": "parents", "markov_blanket": "Markov blanket"}[selector.kind]
    nodes = selector.get_support(indices=True).tolist()
    return {"target": [target], kind: nodes} if nodes else {"target": [target]}
