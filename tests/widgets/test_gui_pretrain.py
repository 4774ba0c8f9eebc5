"""The pretraining dock in a real window under Xvfb: search a method, train, stop, go on, use, close while it trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.widgets.under_xvfb import drive

pytestmark = [pytest.mark.gui, pytest.mark.timeout(300)]


def test_train_stop_go_on_and_close(tmp_path: Path) -> None:
    facts = drive(
        "drive_pretrain", tmp_path, "phantom MR", "phantom CT", "--method", "rotation", "--steps", 160, timeout=280
    )
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
