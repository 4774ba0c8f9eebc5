"""Explore features in a real window under Xvfb: extract, colours in 2D and 3D, clicks, regions, a lasso, landmarks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.gui, pytest.mark.timeout(600)]


def test_extract_and_explore(tmp_path: Path) -> None:
    xvfb = shutil.which("xvfb-run")
    if xvfb is None:
        pytest.skip("xvfb-run is not installed (Debian: apt-get install xvfb), so there is no screen to test on")
    surroundings = {key: value for key, value in os.environ.items() if key != "QT_QPA_PLATFORM"}
    command = [xvfb, "-a", "-s", "-screen 0 1400x1000x24", sys.executable, "-m", "tests.widgets.drive_explore"]
    done = subprocess.run(
        [*command, str(tmp_path), "phantom MR", "phantom CT", "--spacing", "6"], capture_output=True, text=True,
        env=surroundings, timeout=560, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    facts = json.loads(done.stdout.strip().splitlines()[-1])
    assert all("channels" in extracted["says"] for extracted in facts["extract"])
    assert set(facts["misplaced_mm"]) == {
        "feature colours", "similarity", "similar voxels", "feature regions", "feature boundaries",
    }  # fmt: skip
    assert max(facts["misplaced_mm"].values()) < 0.01
    assert facts["probes"] == ["like", "unlike"]  # a plain click replaces, Ctrl adds one against
    assert "unlike 1" in facts["says"]
    assert facts["selected_voxels"] > 0
    assert "Linked: likeness" in facts["linked_says"]
    assert facts["landmarks_found"] == len(facts["table"]) == 3
    assert facts["fits"]  # nothing is cut off at the right
    assert facts["callbacks_left"] == []
    assert facts["engine_closed"]
    assert len(facts["pictures"]) == 9
    for picture in facts["pictures"]:
        assert Path(picture).stat().st_size > 10_000
