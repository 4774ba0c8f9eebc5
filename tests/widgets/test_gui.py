"""The real widget in a real window under Xvfb: open, click, segment, correct, undo, save, reload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from napari_medssl.io import read
from tests.widgets.under_xvfb import drive

pytestmark = [pytest.mark.gui, pytest.mark.timeout(600)]

_REAL = "chaos_t2_01.nii.gz"


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
    check(drive("drive_viewer", "phantom MR", tmp_path, timeout=580), tmp_path)


def test_a_real_scan(tmp_path: Path, shared_data: Path) -> None:
    scan, truth = (shared_data / "chaos_t2" / kind / _REAL for kind in ("images", "labels"))
    facts = drive("drive_viewer", scan, tmp_path, "--truth", truth, "--organs", 3, timeout=580)
    check(facts, tmp_path)
    source, saved = nibabel.load(scan), nibabel.load(tmp_path / "organs.nii.gz")
    assert saved.shape == source.shape
    np.testing.assert_allclose(saved.affine, source.affine, atol=1e-5)
