"""Explore features in a real window under Xvfb: extract, colours in 2D and 3D, clicks, regions, a lasso, landmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.widgets.under_xvfb import drive

pytestmark = [pytest.mark.gui, pytest.mark.timeout(600)]


def test_extract_and_explore(tmp_path: Path) -> None:
    facts = drive("drive_explore", tmp_path, "phantom MR", "phantom CT", "--spacing", 6, timeout=560, height=1000)
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
