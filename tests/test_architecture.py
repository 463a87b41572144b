"""The rules that keep the house in order."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skpapers

ROOT = Path(skpapers.__file__).parent
FLOOR = {"solvers", "optim", "datasets", "metrics", "utils"}
OPTIONAL = ("torch", "skorch", "cupy", "dask", "matplotlib", "pandas", "networkx")
FILES = sorted(ROOT.rglob("*.py"))
each_file = pytest.mark.parametrize(
    "file", FILES, ids=lambda f: str(f.relative_to(ROOT))
)


def _imports(file):
    """Yield the dotted names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _part(file):
    first = file.relative_to(ROOT).parts[0]
    return None if first.endswith(".py") else first


@each_file
def test_floors(file):
    """Families import from the floor below, never from each other."""
    part = _part(file)
    if part is None:
        return  # the root loads lazily; the demo is a user of everything
    allowed = {part, "utils"}
    if part not in FLOOR:
        allowed |= FLOOR
    used = {
        name.split(".")[1] for name in _imports(file) if name.startswith("skpapers.")
    }
    assert used <= allowed


@each_file
def test_one_door_to_private_names_of_scikit_learn(file):
    if file.name == "_sklearn.py":
        return
    private = [
        name for name in _imports(file) if name.startswith("sklearn.") and "._" in name
    ]
    assert not private


def _cpu_seconds(code):
    script = f"""
import time
import numpy, scipy.sparse, scipy.linalg
start = time.process_time()
{code}
print(time.process_time() - start)
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return float(run.stdout.split()[-1])


def test_import_is_cheap():
    assert min(_cpu_seconds("import skpapers") for _ in range(3)) <= 0.3


def test_optional_packages_stay_out():
    families = "; ".join(
        f"import skpapers.{n}" for n in skpapers.__all__ if n[0] != "_"
    )
    script = f"""
import sys
import sklearn.utils.fixes  # loads pandas itself where it is installed
before = set(sys.modules)
{families}
print([name for name in {OPTIONAL!r} if name in set(sys.modules) - before])
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_subpackages_load_lazily():
    assert set(skpapers.__all__) <= set(dir(skpapers))
    with pytest.raises(AttributeError, match="no_such_family"):
        skpapers.no_such_family


@each_file
def test_license_line(file):
    assert file.read_text().startswith("# SPDX-License-Identifier: BSD-3-Clause\n")
