"""Confidence, suggestion and strokes in a real window under Xvfb."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.widgets.under_xvfb import drive

pytestmark = [pytest.mark.gui, pytest.mark.timeout(600)]


def test_a_user_is_told_what_to_label_and_corrects_by_strokes(tmp_path: Path) -> None:
    facts = drive("drive_corrections", "phantom MR", tmp_path, "--organs", 1, 4, timeout=580)
    assert facts["suggestions"][0].startswith("1. Slice")
    assert facts["suggestions"][1].startswith("2. Slice")
    # On a single phantom a further slice may cost a little; what it brings on scans is measured by `medssl simulate`.
    assert facts["dice"][1] >= facts["dice"][0] - 0.03
    assert facts["stroke"]["changed"] > facts["stroke"]["painted"]
    assert facts["stroke"]["holds"]
    assert "not on" in facts["support"]
    assert facts["strokes_kept"] == 1
    assert all(Path(picture).stat().st_size > 10_000 for picture in facts["pictures"])
