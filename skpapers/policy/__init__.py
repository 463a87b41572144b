# SPDX-License-Identifier: BSD-3-Clause
"""Decisions that are learnt from experts, from logs and from simulators."""

from skpapers.policy._environments import LinearSystem
from skpapers.policy._imitation import OnlineImitationLearner

__all__ = ["LinearSystem", "OnlineImitationLearner"]
