# SPDX-License-Identifier: BSD-3-Clause
"""Graph metrics, the structural intervention distance beside gadjid's."""

from benchmarks.common import cpu_seconds, random_pair
from skpapers.metrics import (
    dag_to_cpdag,
    structural_hamming_distance,
    structural_intervention_distance,
)


def gadjid_sid(true, est):
    """Return the distance as counted by gadjid."""
    import gadjid

    return gadjid.sid(true, est, edge_direction="from row to column")[1]


class InterventionDistance:
    """SID of two random graphs with four edges a node."""

    params = [["skpapers", "gadjid"], [20, 100, 500]]
    param_names = ["library", "n_features"]
    libraries = {"skpapers": structural_intervention_distance, "gadjid": gadjid_sid}

    def setup(self, library, n_features):
        self.pair = random_pair(n_features, 4 * n_features)
        self.distance = self.libraries[library]
        self.distance(*self.pair)

    def time_sid(self, library, n_features):
        self.distance(*self.pair)

    def track_sid(self, library, n_features):
        return int(self.distance(*self.pair))

    track_sid.unit = "pairs"


class SpeedUpInterventionDistance:
    """CPU time of gadjid over ours, in the same process."""

    params = [[20, 100, 500]]
    param_names = ["n_features"]

    def setup(self, n_features):
        self.pair = random_pair(n_features, 4 * n_features)

    def track_ratio(self, n_features):
        peer = cpu_seconds(lambda: gadjid_sid(*self.pair))
        return peer / cpu_seconds(lambda: structural_intervention_distance(*self.pair))

    track_ratio.unit = "times"


class OtherDistances:
    """SHD and the equivalence class."""

    params = [[100, 500]]
    param_names = ["n_features"]

    def setup(self, n_features):
        self.pair = random_pair(n_features, 4 * n_features)
        dag_to_cpdag(self.pair[0])

    def time_shd(self, n_features):
        structural_hamming_distance(*self.pair)

    def time_cpdag(self, n_features):
        dag_to_cpdag(self.pair[0])
