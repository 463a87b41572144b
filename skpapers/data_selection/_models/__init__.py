# SPDX-License-Identifier: BSD-3-Clause
"""What a fitted classifier looks like to the scores."""

from skpapers.data_selection._models._base import as_model

__all__ = ["as_model"]
