"""The refinement toolbox in a real window under Xvfb: apply, Ctrl-Z, buttons, export."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.widgets.under_xvfb import drive

pytestmark = [pytest.mark.gui, pytest.mark.timeout(600)]


def test_edits_are_taken_back_by_key_and_button(tmp_path: Path) -> None:
    facts = drive("drive_toolbox", "phantom MR", tmp_path, timeout=580)
    assert facts["steps"]["smooth"]["changed"] > 0
    assert facts["steps"]["grow"]["changed"] > 0
    assert len(facts["steps"]["every_step_exact"]) >= 4
    assert all(facts["steps"]["every_step_exact"])
    assert facts["edits"][0] == "smooth mm=3 keep_volume=true slice_by_slice=false"
    assert facts["saved"]
    assert facts["dock_width"] >= facts["least_width"], "nothing is cut off at the right"
    assert all(Path(picture).stat().st_size > 10_000 for picture in facts["pictures"])
