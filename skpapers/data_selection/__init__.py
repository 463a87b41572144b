# SPDX-License-Identifier: BSD-3-Clause
"""Which rows to train on: influence scores, pruning, wrong labels."""

from skpapers.data_selection._label_noise import (
    label_noise_matrix,
    wrong_label_scores,
)

__all__ = [
    "label_noise_matrix",
    "wrong_label_scores",
]
