"""The slice classification in a real window under Xvfb: keys over the canvas, learn, jump, evidence, range, files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.gui, pytest.mark.timeout(300)]


def test_mark_learn_look(tmp_path: Path) -> None:
    xvfb = shutil.which("xvfb-run")
    if xvfb is None:
        pytest.skip("xvfb-run is not installed (Debian: apt-get install xvfb), so there is no screen to test on")
    surroundings = {key: value for key, value in os.environ.items() if key != "QT_QPA_PLATFORM"}
    command = [xvfb, "-a", "-s", "-screen 0 1400x1000x24", sys.executable, "-m", "tests.widgets.drive_classify"]
    done = subprocess.run(
        [*command, str(tmp_path), "phantom MR", "-"], capture_output=True, text=True, env=surroundings, timeout=280,
        check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    facts = json.loads(done.stdout.strip().splitlines()[-1])
    assert len(facts["marked"]) == 10
    assert {len(names) for names in facts["marked"].values()} == {0, 1}
    assert facts["active_layer_kept"]
    assert min(facts["auc"].values()) > 0.9
    assert facts["peak_shown"]
    assert facts["evidence_inside_share"] > facts["organ_share"]
    assert facts["fits"]  # nothing is cut off at the right
    assert facts["range"] == facts["range_in_one_shot"]
    assert {"head.json", "head.safetensors", "scores.csv"} <= set(facts["files"])
    assert facts["undo"] == 1
    assert facts["redo_restores"]
    assert facts["learn"]["longest_freeze_s"] < 2.0
    assert facts["engine_closed"]
    for picture in facts["pictures"]:
        assert Path(picture).stat().st_size > 10_000
