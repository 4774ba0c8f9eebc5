"""The slice classification in a real window under Xvfb: keys over the canvas, learn, jump, evidence, range, files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.widgets.under_xvfb import drive

pytestmark = [pytest.mark.gui, pytest.mark.timeout(300)]


def test_mark_learn_look(tmp_path: Path) -> None:
    facts = drive("drive_classify", tmp_path, "phantom MR", "-", timeout=280, height=1000)
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
