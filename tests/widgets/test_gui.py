"""The real widget in a real window under Xvfb: open, click, segment, correct, undo, save, reload."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from napari_medssl.io import read

pytestmark = [pytest.mark.gui, pytest.mark.timeout(600)]

_DRIVER = Path(__file__).with_name("drive_viewer.py")
_REAL = "chaos_t2_01.nii.gz"


def drive(out: Path, *arguments: str) -> dict[str, Any]:
    """Run the driver under a virtual screen; what it found."""
    xvfb = shutil.which("xvfb-run")
    if xvfb is None:
        pytest.skip("xvfb-run is not installed (Debian: apt-get install xvfb), so there is no screen to test on")
    command = [xvfb, "-a", "-s", "-screen 0 1400x900x24", sys.executable, str(_DRIVER), arguments[0], str(out)]
    surroundings = {key: value for key, value in os.environ.items() if key != "QT_QPA_PLATFORM"}
    done = subprocess.run(
        [*command, *arguments[1:]], capture_output=True, text=True, env=surroundings, timeout=580, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return facts


def check(facts: dict[str, Any], out: Path) -> None:
    """What must hold for every scan."""
    assert facts["click_iou"] > 0.8
    assert facts["first"]["dice"] > 0.7
    assert facts["second"]["dice"] >= facts["first"]["dice"] - 0.02
    assert facts["changed_voxels"] > 0
    assert len(facts["support_slices"]) == 2
    assert facts["undo_restores"]
    assert facts["engine_closed"]
    assert facts["orientation"] == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert max(facts["first"]["longest_freeze_s"], facts["second"]["longest_freeze_s"]) < 2.0
    for picture in facts["pictures"]:
        assert Path(picture).stat().st_size > 10_000
    saved = read(out / "organs.nii.gz", labels=True)
    assert list(saved.shape) == facts["result_shape"]
    assert int((saved.data > 0).sum()) == facts["result_voxels"]
    assert saved.labels[0].name == facts["organ"]


def test_a_phantom_from_the_sample_menu(tmp_path: Path) -> None:
    check(drive(tmp_path, "phantom MR"), tmp_path)


def test_a_real_scan(tmp_path: Path, shared_data: Path) -> None:
    scan, truth = (shared_data / "chaos_t2" / kind / _REAL for kind in ("images", "labels"))
    check(drive(tmp_path, str(scan), "--truth", str(truth), "--organs", "3"), tmp_path)
    source, saved = nibabel.load(scan), nibabel.load(tmp_path / "organs.nii.gz")
    assert saved.shape == source.shape
    np.testing.assert_allclose(saved.affine, source.affine, atol=1e-5)
