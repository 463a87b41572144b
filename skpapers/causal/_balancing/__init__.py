# SPDX-License-Identifier: BSD-3-Clause
"""Groups made alike by entropy balancing."""

from skpapers.causal._balancing._display import BalanceDisplay
from skpapers.causal._balancing._estimator import EntropyBalancing
from skpapers.causal._balancing._weights import balance_weights

__all__ = ["BalanceDisplay", "EntropyBalancing", "balance_weights"]
