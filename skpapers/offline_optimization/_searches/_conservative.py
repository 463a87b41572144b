# SPDX-License-Identifier: BSD-3-Clause
"""The ascent that conservative surrogates are trained against: fewer, larger steps."""

from functools import partial

from skpapers.offline_optimization._searches._gradient import search as climb

search = partial(climb, n_steps=50, step_size=0.05)
