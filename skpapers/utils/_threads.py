# SPDX-License-Identifier: BSD-3-Clause
"""One BLAS thread inside our solvers.

The matrices of our inner loops are small: a second BLAS thread costs more than it
brings, and under joblib every worker would start its own. Parallel work is asked for
with ``n_jobs``, one floor up.
"""

from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller():
    return ThreadpoolController()  # looks through the loaded libraries: slow, so once


def single_thread():
    """Return a context manager that limits BLAS to one thread."""
    return _controller().limit(limits=1, user_api="blas")
