"""The demonstration, run as a user runs it."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from skpapers.demo import spread, verdict

PROGRAM = """
import sys
from skpapers.demo import main
main(["--output", sys.argv[1]])
missing = [name for name in ("torch", "skorch", "cupy", "dask") if name in sys.modules]
sys.exit(f"imported {missing}" if missing else 0)
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "pictures"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "agg", "PYTHONIOENCODING": "utf-8"},
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout, folder


def test_sachs_figures(demo):
    report, _ = demo
    rows = {
        match[1].strip(): tuple(map(int, match.group(2, 4, 5)))
        for match in re.finditer(
            r"^(\w[\w, ]+?) {2,}(\d+) +([-\d]+) +(\d+) +(\d+) +[-.\d]+$", report, re.M
        )
    }
    assert rows["no edges"] == (17, 53, 0)
    for name, shd, sid in [
        ("CoLiDE, unequal noise", 12, 46),
        ("CoLiDE, equal noise", 13, 47),
        ("topological swaps", 11, 44),
    ]:
        assert rows[name][0] <= shd
        assert rows[name][1] <= sid
    assert "sort by variance, regress" in rows
    assert "differences of 1 or 2 in SHD mean nothing" in report


def test_selection_is_reported_beside_all_columns(demo):
    report, _ = demo
    everything = float(re.search(r"all 10 columns +([\d.]+) ±", report)[1])
    selected = float(re.search(r"selected columns +([\d.]+) ±", report)[1])
    assert 0.4 < everything < 0.55
    assert 0.35 < selected < 0.55
    difference = re.search(r"difference +(-?[\d.]+) ± [\d.]+ +(\w.*)", report)
    assert float(difference[1]) == pytest.approx(selected - everything, abs=0.002)
    assert difference[2] in (
        "no clear difference",
        "all columns predict better",
        "the selected columns predict better",
    )
    kept = re.search(r"search keeps (.*), with", report)[1].split(", ")
    assert {"bmi", "s5"} <= set(kept)


def test_pictures_are_saved_and_named(demo):
    report, folder = demo
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) == 5
    for picture in pictures:
        assert str(picture) in report
        assert picture.stat().st_size > 10_000


def test_report_fits_a_terminal(demo):
    report, folder = demo
    lines = [line for line in report.splitlines() if str(folder) not in line]
    assert max(map(len, lines)) <= 80


def test_verdict():
    assert verdict(np.array([0.1, 0.11, 0.09])) == "the selected columns predict better"
    assert verdict(np.array([-0.1, -0.11, -0.09])) == "all columns predict better"
    assert verdict(np.array([-0.1, 0.2, -0.05])) == "no clear difference"
    assert spread(np.array([0.5, 0.7])) == " 0.600 ± 0.141"
