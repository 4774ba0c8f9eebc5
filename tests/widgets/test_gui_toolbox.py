"""The refinement toolbox in a real window under Xvfb: apply, Ctrl-Z, buttons, export."""

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


def test_edits_are_taken_back_by_key_and_button(tmp_path: Path) -> None:
    xvfb = shutil.which("xvfb-run")
    if xvfb is None:
        pytest.skip("xvfb-run is not installed (Debian: apt-get install xvfb), so there is no screen to test on")
    screen = [xvfb, "-a", "-s", "-screen 0 1400x900x24"]
    surroundings = {key: value for key, value in os.environ.items() if key != "QT_QPA_PLATFORM"}
    done = subprocess.run(
        [*screen, sys.executable, "-m", "tests.widgets.drive_toolbox", "phantom MR", str(tmp_path)],
        capture_output=True, text=True, env=surroundings, timeout=580, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert facts["steps"]["smooth"]["changed"] > 0
    assert facts["steps"]["grow"]["changed"] > 0
    assert len(facts["steps"]["every_step_exact"]) >= 4
    assert all(facts["steps"]["every_step_exact"])
    assert facts["edits"][0] == "smooth mm=3 keep_volume=true slice_by_slice=false"
    assert facts["saved"]
    assert facts["dock_width"] >= facts["least_width"], "nothing is cut off at the right"
    assert all(Path(picture).stat().st_size > 10_000 for picture in facts["pictures"])
