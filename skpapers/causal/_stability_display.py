# SPDX-License-Identifier: BSD-3-Clause
"""Picture of how sure the edges of a causal graph are."""

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skpapers.causal._drawing import BLUE, GREY, matplotlib_module
from skpapers.utils._array_api import to_numpy

KINDS = ("both", "heatmap", "edges")


class EdgeStabilityDisplay:
    """Picture of the probabilities of edges.

    Make one with `from_estimator` or `from_probabilities`; `plot` draws again.

    Parameters
    ----------
    edge_probabilities : array-like of shape (n_nodes, n_nodes)
        Entry (i, j) is the probability of i -> j; no pair may exceed 1 in sum.
    names : list of str, default=None
        Names of the nodes; None stands for x0, x1, ...
    order : array-like of shape (n_nodes,), default=None
        Order of the nodes in the heat map; None keeps that of the matrix.

    Attributes
    ----------
    axes_ : list of matplotlib.axes.Axes
        Axes with the pictures.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.
    im_ : matplotlib.image.AxesImage
        The heat map, if drawn.
    edges_ : list of tuple of (str, str)
        The edges in the list, the most probable pair first, if drawn.

    See Also
    --------
    bootstrap_edges : The probabilities.
    DAGDisplay : Picture of one graph.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skpapers.causal import EdgeStabilityDisplay
    >>> probabilities = [[0, 0.9, 0.4], [0.1, 0, 0], [0.2, 0, 0]]
    >>> display = EdgeStabilityDisplay.from_probabilities(
    ...     probabilities, names=["rain", "grass", "mud"]
    ... )
    >>> display.edges_
    [('rain', 'grass'), ('rain', 'mud')]
    """

    def __init__(self, edge_probabilities, *, names=None, order=None):
        P = check_array(
            edge_probabilities, dtype=np.float64, input_name="edge_probabilities"
        )
        d = len(P)
        if P.shape != (d, d) or (P < 0).any() or (P + P.T > 1 + 1e-6).any():
            raise ValueError(
                "edge_probabilities must be a square matrix of numbers >= 0 with "
                "P[i, j] + P[j, i] <= 1."
            )
        self.edge_probabilities = P
        self.label = "share of the resamples"
        self.names = [f"x{j}" for j in range(d)] if names is None else list(names)
        if len(self.names) != d:
            raise ValueError(f"names must be {d} names, got {len(self.names)}.")
        self.order = np.arange(d) if order is None else np.asarray(order)
        if not np.array_equal(np.sort(self.order), np.arange(d)):
            raise ValueError(f"order must be a permutation of 0 to {d - 1}.")

    @classmethod
    def from_estimator(
        cls, estimator, *, calibrated=False, kind="both", n_edges=20, ax=None
    ):
        """Draw what a `StabilityDAG` has found.

        Parameters
        ----------
        estimator : StabilityDAG
            A fitted estimator with ``edge_probabilities_``.
        calibrated : bool, default=False
            Whether to draw ``calibrated_probabilities_`` instead; they need an
            estimator with ``n_calibrations > 0``.
        kind : {"both", "heatmap", "edges"}, default="both"
            Which picture; see `plot`.
        n_edges : int, default=20
            Largest number of listed edges.
        ax : matplotlib Axes or pair of them, default=None
            Axes to draw into; None makes a figure of a fitting size.

        Returns
        -------
        EdgeStabilityDisplay
            The display, drawn.
        """
        check_is_fitted(estimator, "edge_probabilities_")
        P = estimator.edge_probabilities_
        if calibrated:
            if not hasattr(estimator, "calibrated_probabilities_"):
                raise ValueError(
                    "calibrated=True needs an estimator fitted with n_calibrations > 0."
                )
            P = estimator.calibrated_probabilities_
        display = cls(
            to_numpy(P),
            names=estimator.get_feature_names_out(),
            order=to_numpy(estimator.causal_order_),
        )
        display.label = "probability" if calibrated else "share of the resamples"
        return display.plot(ax, kind=kind, n_edges=n_edges)

    @classmethod
    def from_probabilities(
        cls,
        edge_probabilities,
        *,
        names=None,
        order=None,
        kind="both",
        n_edges=20,
        ax=None,
    ):
        """Draw a matrix of probabilities, for example of `bootstrap_edges`.

        Parameters
        ----------
        edge_probabilities : array-like of shape (n_nodes, n_nodes)
            Entry (i, j) is the probability of i -> j.
        names : list of str, default=None
            Names of the nodes; None stands for x0, x1, ...
        order : array-like of shape (n_nodes,), default=None
            Order of the nodes in the heat map.
        kind : {"both", "heatmap", "edges"}, default="both"
            Which picture; see `plot`.
        n_edges : int, default=20
            Largest number of listed edges.
        ax : matplotlib Axes or pair of them, default=None
            Axes to draw into; None makes a figure of a fitting size.

        Returns
        -------
        EdgeStabilityDisplay
            The display, drawn.
        """
        display = cls(edge_probabilities, names=names, order=order)
        return display.plot(ax, kind=kind, n_edges=n_edges)

    def plot(self, ax=None, *, kind="both", n_edges=20, cmap="Blues"):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes or pair of them, default=None
            Axes to draw into, two for "both"; None makes a figure.
        kind : {"both", "heatmap", "edges"}, default="both"
            "heatmap": the matrix, causes in rows. "edges": the most probable pairs;
            the bar reaches to the probability that the pair is connected, its dark
            part to that of the direction that is named, so that the light part is doubt
            about the direction.
        n_edges : int, default=20
            Largest number of listed edges.
        cmap : str or matplotlib Colormap, default="Blues"
            Sequential colours of the heat map.

        Returns
        -------
        EdgeStabilityDisplay
            Itself.

        Raises
        ------
        ValueError
            If ``kind`` is unknown, or if the number of axes does not fit it.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
        n_axes = 2 if kind == "both" else 1
        listed = self._listed(n_edges)
        if ax is None:
            height = max(3.2, 0.34 * len(self.names) + 1.2, 0.24 * len(listed) + 1.2)
            _, ax = matplotlib_module("pyplot").subplots(
                ncols=n_axes, figsize=(5.6 * n_axes, height), layout="constrained"
            )
        self.axes_ = list(np.ravel(ax))
        if len(self.axes_) != n_axes:
            raise ValueError(f"kind={kind!r} needs {n_axes} axes.")
        self.figure_ = self.axes_[0].figure
        if kind != "edges":
            self._plot_heatmap(self.axes_[0], cmap)
        if kind != "heatmap":
            self._plot_edges(self.axes_[-1], listed)
        return self

    def _listed(self, n_edges):
        """Return the pairs that are found at all, the surest ones first."""
        P = self.edge_probabilities
        forward = np.triu(P >= P.T, 1) | np.tril(P > P.T, -1)
        pairs = np.argwhere(forward & (P + P.T > 0))
        sure = [(P[i, j] + P[j, i], P[i, j]) for i, j in pairs]
        ranks = sorted(range(len(pairs)), key=lambda k: sure[k], reverse=True)
        return [tuple(pairs[k]) for k in ranks[:n_edges]]

    def _plot_heatmap(self, ax, cmap):
        P = self.edge_probabilities[np.ix_(self.order, self.order)]
        names = [self.names[j] for j in self.order]
        d = len(names)
        self.im_ = ax.imshow(P, cmap=cmap, vmin=0, vmax=1)
        ax.set_xticks(np.arange(d), names, rotation=90, parse_math=False)
        ax.set_yticks(np.arange(d), names, parse_math=False)
        ax.set(xlabel="effect", ylabel="cause")
        if d <= 15:
            for i, j in np.argwhere(P >= 0.005):
                colour = "white" if P[i, j] > 0.6 else "black"
                style = {"ha": "center", "va": "center", "fontsize": 7}
                ax.text(j, i, f"{P[i, j]:.2f}".lstrip("0"), color=colour, **style)
        self.figure_.colorbar(
            self.im_, ax=ax, label="probability of the edge", shrink=0.7
        )

    def _plot_edges(self, ax, listed):
        P = self.edge_probabilities
        self.edges_ = [(self.names[i], self.names[j]) for i, j in listed]
        at = np.arange(len(listed))
        connected = [P[i, j] + P[j, i] for i, j in listed]
        directed = [P[i, j] for i, j in listed]
        ax.barh(at, connected, color=BLUE, alpha=0.3, label="connected at all")
        ax.barh(at, directed, color=BLUE, label="in this direction")
        ax.axvline(0.5, color=GREY, linewidth=1, linestyle=":")
        labels = [f"{cause} → {effect}" for cause, effect in self.edges_]
        ax.set_yticks(at, labels, parse_math=False)
        ax.set(xlim=(0, 1), xlabel=self.label)
        ax.invert_yaxis()
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.12),
            ncols=2,
            frameon=False,
            fontsize="small",
        )
