"""Settings of a segmentation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.oneshot import SegmentSettings
from napari_medssl.oneshot.propagation import PropagationSettings
from napari_medssl.oneshot.refine import refiners
from napari_medssl.oneshot.settings import DEFAULT_REFINE
from napari_medssl.settings import check, digest, from_dict, to_dict


def test_defaults_are_within_their_own_limits_and_name_steps_that_exist() -> None:
    check(SegmentSettings())
    assert all(name in refiners for name in DEFAULT_REFINE.split())


def test_through_json_and_back() -> None:
    changed = SegmentSettings(method="random-walker", threshold=0.3, propagation=PropagationSettings(patience=4))
    assert from_dict(SegmentSettings, json.loads(json.dumps(to_dict(changed)))) == changed
    assert digest(changed) != digest(SegmentSettings())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "magic"}, "method is 'magic'; choose one of 'auto', 'learned', 'random-walker', 'prototypes'"),
        ({"threshold": 1.0}, "threshold is 1; it must be at least 0.01 and at most 0.99"),
        ({"propagation": {"patience": 0}}, "patience is 0"),
        ({"propagation": {"step_mm": -1}}, "step_mm is -1"),
        ({"prototypes": {"window": 3}}, "window is 3"),
        ({"intensity": {"window": "brain"}}, "window is 'brain'"),
        ({"treshold": 0.5}, "unknown setting 'treshold'"),
    ],
)
def test_wrong_settings_are_told_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        from_dict(SegmentSettings, values)
