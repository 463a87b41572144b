# SPDX-License-Identifier: BSD-3-Clause
"""From the points of a search to designs: valid, distinct, as many as asked for.

Designs are judged by the score of what they decode to, not of the point that the search
has found: rounding and the choice of categories may cost some of it.
"""

import numpy as np
from scipy.spatial import cKDTree

SAME = 1e-9  # designs nearer in all coordinates differ by rounding only
SIZES = 0.05 * 2.0 ** np.arange(9)  # of the moves around designs, in turn
N_VARIED = 256  # neighbours that are looked at in a turn, at least
LARGEST_LIST = 2**16  # designs of a space that is searched to its end
CHUNK = 4096  # designs that are scored at once


class Chooser:
    """Collects designs, the best first.

    Parameters
    ----------
    space : DesignSpace
        The designs that are allowed.
    objective : Objective
        Their score.
    is_distinct : bool
        Whether to refuse training rows and designs that are there already.

    Attributes
    ----------
    code : ndarray of shape (k, n_parts)
        The designs so far.
    scores : ndarray of shape (k,)
        Their scores.
    """

    def __init__(self, space, objective, is_distinct):
        self.space, self.objective = space, objective
        self.is_distinct = is_distinct
        self.known = cKDTree(space.encode(space.training))
        self.code, self.scores = np.empty((0, space.n_parts)), np.empty(0)

    def offer(self, code, n_designs):
        """Add the best of some designs until there are ``n_designs``."""
        if self.is_distinct:
            code = self._new(code)
        n_missing = n_designs - len(self.code)
        if n_missing <= 0 or len(code) == 0:
            return
        scores = self._score(code)
        order = np.argsort(-scores, kind="stable")
        if self.is_distinct:
            order = self._apart(code, order)
        order = order[:n_missing]
        self.code = np.vstack([self.code, code[order]])
        self.scores = np.concatenate([self.scores, scores[order]])
        order = np.argsort(-self.scores, kind="stable")
        self.code, self.scores = self.code[order], self.scores[order]

    def fill(self, parents, n_designs, rng):
        """Add neighbours of the best designs, from ever larger distances.

        What remains of a space that is small enough is looked through: at once where
        that is less work, or in the end.
        """
        is_short = self.is_distinct and len(self.code) < n_designs
        if is_short and self.space.n_designs <= N_VARIED * len(SIZES):
            self.offer(self.space.every_design(), n_designs)
            return
        for size in SIZES:
            n_missing = n_designs - len(self.code)
            if n_missing == 0:
                return
            around = np.vstack([self.code, parents])[:n_designs]
            rows = rng.randint(len(around), size=max(N_VARIED, 4 * n_missing))
            self.offer(self.space.vary(around[rows], size, rng), n_designs)
        if len(self.code) < n_designs and self.space.n_designs <= LARGEST_LIST:
            self.offer(self.space.every_design(), n_designs)

    def distances(self):
        """Return the Euclidean distance (k,) of each to the nearest training row."""
        return self.known.query(self.space.encode(self.code))[0]

    def _score(self, code):
        parts = np.array_split(code, -(-len(code) // CHUNK))
        return np.concatenate(
            [self.objective.values(self.space.encode(part)) for part in parts]
        )

    def _new(self, code):
        """Return designs that are neither training rows nor chosen, each once."""
        code = np.unique(code, axis=0)
        points = self.space.encode(code)
        is_new = _is_far(self.known, points)
        if len(self.code):
            chosen = cKDTree(self.space.encode(self.code))
            is_new &= _is_far(chosen, points)
        return code[is_new]

    def _apart(self, code, kept):
        """Return the first of an order of designs that differ by more than rounding."""
        points = self.space.encode(code[kept])
        is_kept = np.ones(len(kept), dtype=bool)
        pairs = cKDTree(points).query_pairs(SAME, p=np.inf, output_type="ndarray")
        for first, second in pairs[np.lexsort(pairs.T[::-1])]:
            if is_kept[first]:
                is_kept[second] = False
        return kept[is_kept]


def _is_far(tree, points):
    """Tell which points differ from all of a tree by more than rounding."""
    distance, _ = tree.query(points, p=np.inf, distance_upper_bound=SAME)
    return np.isinf(distance)
