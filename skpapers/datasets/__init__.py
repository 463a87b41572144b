# SPDX-License-Identifier: BSD-3-Clause
"""Loaders of real data and generators of simulated data."""

from skpapers.datasets._design_tasks import (
    DesignTask,
    list_design_tasks,
    make_design_task,
    make_offline_design,
    make_table_task,
)
from skpapers.datasets._graphs import random_dag, random_weights
from skpapers.datasets._linear_sem import make_linear_sem, simulate_linear_sem
from skpapers.datasets._nonlinear_sem import make_logistic_sem, make_nonlinear_sem
from skpapers.datasets._sachs import SACHS_EDGES, load_sachs

__all__ = [
    "SACHS_EDGES",
    "DesignTask",
    "list_design_tasks",
    "load_sachs",
    "make_design_task",
    "make_linear_sem",
    "make_logistic_sem",
    "make_nonlinear_sem",
    "make_offline_design",
    "make_table_task",
    "random_dag",
    "random_weights",
    "simulate_linear_sem",
]
