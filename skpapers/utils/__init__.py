# SPDX-License-Identifier: BSD-3-Clause
"""The ground that all families stand on."""

from skpapers.utils._warnings import DataConditionWarning

__all__ = ["DataConditionWarning"]
