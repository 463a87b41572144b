# SPDX-License-Identifier: BSD-3-Clause
"""Design problems with a hidden true score."""

from skpapers.datasets._design_tasks._base import DesignTask
from skpapers.datasets._design_tasks._registry import (
    list_design_tasks,
    make_design_task,
    make_offline_design,
)
from skpapers.datasets._design_tasks._tables import make_table_task

__all__ = [
    "DesignTask",
    "list_design_tasks",
    "make_design_task",
    "make_offline_design",
    "make_table_task",
]
