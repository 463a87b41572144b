# SPDX-License-Identifier: BSD-3-Clause
"""Scorers of labelled rows."""

from skpapers.data_selection._scorers._el2n import EL2NScorer
from skpapers.data_selection._scorers._ensemble import EnsembleScorer
from skpapers.data_selection._scorers._forgetting import ForgettingScorer
from skpapers.data_selection._scorers._grand import GraNdScorer
from skpapers.data_selection._scorers._pvi import PVIScorer
from skpapers.data_selection._scorers._tracin import TracInScorer
from skpapers.data_selection._scorers._vog import VoGScorer

__all__ = [
    "EL2NScorer",
    "EnsembleScorer",
    "ForgettingScorer",
    "GraNdScorer",
    "PVIScorer",
    "TracInScorer",
    "VoGScorer",
]
