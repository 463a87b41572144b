# SPDX-License-Identifier: BSD-3-Clause
"""Which rows to train on: influence scores, pruning, wrong labels."""

from skpapers.data_selection._bank import ScoreBank
from skpapers.data_selection._curve import pruning_curve
from skpapers.data_selection._display import InfluenceDisplay
from skpapers.data_selection._gradients import (
    gradient_norms,
    input_gradients,
    tracin_influence,
)
from skpapers.data_selection._label_noise import (
    label_noise_matrix,
    wrong_label_scores,
)
from skpapers.data_selection._noisy_labels import NoisyLabelDetector
from skpapers.data_selection._pruned import PrunedClassifier
from skpapers.data_selection._rows import score_rows
from skpapers.data_selection._sampler import InfluenceSampler
from skpapers.data_selection._scorers import (
    EL2NScorer,
    EnsembleScorer,
    ForgettingScorer,
    GraNdScorer,
    PVIScorer,
    TracInScorer,
    VoGScorer,
)
from skpapers.data_selection._scores import (
    el2n_scores,
    forgetting_scores,
    margin_scores,
    pvi_scores,
    tracin_self_influence,
    vog_scores,
)
from skpapers.data_selection._selection import select_samples
from skpapers.data_selection._subgroups import subgroup_report
from skpapers.data_selection._weights import data_efficiency, sampling_weights

__all__ = [
    "EL2NScorer",
    "EnsembleScorer",
    "ForgettingScorer",
    "GraNdScorer",
    "InfluenceDisplay",
    "InfluenceSampler",
    "NoisyLabelDetector",
    "PVIScorer",
    "PrunedClassifier",
    "ScoreBank",
    "TracInScorer",
    "VoGScorer",
    "data_efficiency",
    "el2n_scores",
    "forgetting_scores",
    "gradient_norms",
    "input_gradients",
    "label_noise_matrix",
    "margin_scores",
    "pruning_curve",
    "pvi_scores",
    "sampling_weights",
    "score_rows",
    "select_samples",
    "subgroup_report",
    "tracin_influence",
    "tracin_self_influence",
    "vog_scores",
    "wrong_label_scores",
]
