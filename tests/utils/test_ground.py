"""The small helpers of the ground floor."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from skpapers.utils._optional import import_optional
from skpapers.utils._threads import single_thread


def test_optional_import_names_the_extra():
    with pytest.raises(ImportError, match=r"thing needs nowhere.*skpapers\[plot\]"):
        import_optional("nowhere.module", extra="plot", needed_by="thing")


def test_optional_import_returns_the_module():
    assert import_optional("numpy.linalg", extra="x", needed_by="y") is np.linalg


def test_optional_import_does_not_hide_broken_packages(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        import_optional("broken_package", extra="plot", needed_by="thing")


def test_single_thread_limits_blas():
    with single_thread():
        blas = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
        assert blas
        assert {lib["num_threads"] for lib in blas} == {1}
