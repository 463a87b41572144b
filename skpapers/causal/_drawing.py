# SPDX-License-Identifier: BSD-3-Clause
"""Colours, widths and arrows in the pictures of causal graphs."""

import numpy as np

from skpapers.utils._optional import import_optional

# Okabe and Ito's colours, told apart with every kind of colour vision
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
ORANGE, GREY = "#E69F00", "#8C8C8C"
HIGHLIGHTS = ("#F0E442", "#A9D8F4", "#BFE3D3", "#F4CFE2")
NODE_FACE, NODE_LINE = "#F7F7F7", "#4D4D4D"
# How an edge stands to the known graph: colour, line style, what the legend says
STATUS = {
    "found": (BLUE, "-", "found"),
    "reversed": (ORANGE, "-", "reversed"),
    "extra": (PURPLE, "-", "extra"),
    "missing": (GREY, (0, (3, 2)), "missed"),
}
PAD = 0.3  # of a node's box around its name, in font sizes
ROUNDING = 0.5  # radius of its corners
GAP = 1.0  # points between a box and a line
N_STEPS = 60  # points on a curve


def matplotlib_module(name):
    """Import a module of matplotlib, for example ``"pyplot"``."""
    return import_optional(f"matplotlib.{name}", extra="plot", needed_by="DAGDisplay")


def edge_colour(weight, status):
    """Return colour and line style of an edge."""
    if status is None:
        return (BLUE if weight >= 0 else VERMILION), "-"
    return STATUS[status][:2]


def line_width(share, n_nodes):
    """Return the width in points of an edge with a share of the largest weight."""
    return 0.8 + 3.2 * share / max(1.0, n_nodes / 25)


def box_half_size(text):
    """Return half the width and height, and the corner radius, of a box in points."""
    extent = text.get_window_extent()
    points = 72 / text.figure.dpi
    fontsize = text.get_fontsize()
    half = np.array([extent.width, extent.height]) * points / 2 + PAD * fontsize
    return half, ROUNDING * fontsize


class EdgeShape:
    """Connection style of an arrow: a curve from the rim of a node to that of another.

    The nodes are boxes of a fixed size in points, so that the ends of the curve in
    data coordinates depend on the size and the limits of the axes; matplotlib asks for
    the path whenever it draws.

    Parameters
    ----------
    ax : matplotlib Axes
        The axes.
    curve : ndarray of shape (k, 2)
        Points from centre to centre, in data coordinates.
    start, end : tuple of (ndarray of shape (2,), float)
        Half size and corner radius of the boxes, in points.
    """

    def __init__(self, ax, curve, start, end):
        self.ax = ax
        self.curve = curve
        self.start = start
        self.end = end

    def __call__(self, start, end, **kwargs):
        """Return the path in display coordinates."""
        scale = self.ax.figure.dpi / 72
        curve = resample(self.ax.transData.transform(self.curve))
        outside = ~(
            inside_box(curve, curve[0], self.start, scale)
            | inside_box(curve, curve[-1], self.end, scale)
        )
        if outside.sum() >= 2:  # else the boxes overlap
            curve = curve[np.flatnonzero(outside)[0] : np.flatnonzero(outside)[-1] + 1]
        # a straight end gives the arrow's head its direction
        to_tip = np.linalg.norm(curve - curve[-1], axis=1)
        far = np.flatnonzero(to_tip > 7 * scale)
        if len(far):
            curve = np.concatenate([curve[: far[-1] + 1], curve[-1:]])
        return matplotlib_module("path").Path(curve)


def resample(curve):
    """Return a polyline with many points at equal distances."""
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    n_steps = max(N_STEPS, int(length[-1] / 3))
    at = np.linspace(0, length[-1], n_steps)
    return np.column_stack([np.interp(at, length, curve[:, k]) for k in (0, 1)])


def inside_box(points, centre, box, scale):
    """Return which points lie inside a box with round corners, or too near to it."""
    half, radius = box
    half, radius = (half + GAP) * scale, (radius + GAP) * scale
    radius = min(radius, *half)
    beyond = np.maximum(np.abs(points - centre) - (half - radius), 0)
    return np.hypot(*beyond.T) <= radius
