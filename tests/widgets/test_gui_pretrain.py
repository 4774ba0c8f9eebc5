"""The pretraining dock in a real window under Xvfb: search a method, train, stop, go on, use, close while it trains."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.gui, pytest.mark.timeout(300)]


def drive(out: Path, *arguments: str) -> dict[str, Any]:
    """Run the driver under a virtual screen; what it found."""
    xvfb = shutil.which("xvfb-run")
    if xvfb is None:
        pytest.skip("xvfb-run is not installed (Debian: apt-get install xvfb), so there is no screen to test on")
    screen = [xvfb, "-a", "-s", "-screen 0 1400x900x24"]
    surroundings = {key: value for key, value in os.environ.items() if key != "QT_QPA_PLATFORM"}
    done = subprocess.run(
        [*screen, sys.executable, "-m", "tests.widgets.drive_pretrain", str(out), *arguments],
        capture_output=True, text=True, env=surroundings, timeout=280, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return facts


def test_train_stop_go_on_and_close(tmp_path: Path) -> None:
    facts = drive(tmp_path, "phantom MR", "phantom CT", "--method", "rotation", "--steps", "160")
    assert facts["methods"] > 40
    assert facts["method"] == "rotation"
    assert facts["fits"]  # nothing is cut off at the right
    assert 40 <= facts["stopped_at"] < 160
    assert facts["button_after_stop"] == "Go on training"
    assert facts["label_after_stop"] == "Stopped. The state is saved in the run folder."
    assert facts["drawn"] == facts["logged"]
    assert facts["logged"][-1] == 160
    assert set(facts["curves"]) >= {"loss", "accuracy"}
    assert facts["weights_in_use"] == facts["weights"] == str(tmp_path / "run" / "encoder.safetensors")
    assert facts["freeze_s"] < 2.0
    for picture in facts["pictures"]:
        assert Path(picture).stat().st_size > 10_000
