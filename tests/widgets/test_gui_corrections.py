"""Confidence, suggestion and strokes in a real window under Xvfb."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.gui, pytest.mark.timeout(600)]


def test_a_user_is_told_what_to_label_and_corrects_by_strokes(tmp_path: Path) -> None:
    xvfb = shutil.which("xvfb-run")
    if xvfb is None:
        pytest.skip("xvfb-run is not installed (Debian: apt-get install xvfb), so there is no screen to test on")
    screen = [xvfb, "-a", "-s", "-screen 0 1400x900x24"]
    drive = [sys.executable, "-m", "tests.widgets.drive_corrections", "phantom MR", str(tmp_path), "--organs", "1", "4"]
    surroundings = {key: value for key, value in os.environ.items() if key != "QT_QPA_PLATFORM"}
    done = subprocess.run(
        [*screen, *drive], capture_output=True, text=True, env=surroundings, timeout=580, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert facts["suggestions"][0].startswith("1. Slice")
    assert facts["suggestions"][1].startswith("2. Slice")
    # On a single phantom a further slice may cost a little; what it brings on scans is measured by `medssl simulate`.
    assert facts["dice"][1] >= facts["dice"][0] - 0.03
    assert facts["stroke"]["changed"] > facts["stroke"]["painted"]
    assert facts["stroke"]["holds"]
    assert "not on" in facts["support"]
    assert facts["strokes_kept"] == 1
    assert all(Path(picture).stat().st_size > 10_000 for picture in facts["pictures"])
