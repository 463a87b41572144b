# SPDX-License-Identifier: BSD-3-Clause
"""What an import costs, in a fresh process."""

import subprocess
import sys

IMPORT = """
import time
{before}
start = time.process_time()
import {module}
print(time.process_time() - start)
"""


def cpu_of_import(module, before=""):
    """Return the CPU seconds of an import after other imports."""
    code = IMPORT.format(module=module, before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


class Import:
    """CPU seconds above what is imported before."""

    params = [["skpapers", "skpapers.causal", "skpapers.metrics", "skpapers.datasets"]]
    param_names = ["module"]

    def track_above_numpy_and_scipy(self, module):
        return cpu_of_import(module, "import numpy, scipy")

    track_above_numpy_and_scipy.unit = "s"

    def track_above_sklearn_and_numba(self, module):
        before = "import numba, sklearn.linear_model, sklearn.model_selection"
        return cpu_of_import(module, before)

    track_above_sklearn_and_numba.unit = "s"
