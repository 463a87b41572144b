# SPDX-License-Identifier: BSD-3-Clause
"""Which rows to train on: influence scores, pruning, wrong labels."""

__all__: list[str] = []
