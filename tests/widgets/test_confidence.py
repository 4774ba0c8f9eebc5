"""The confidence layer and the suggested slice in the widget."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot

from napari_medssl.widgets._layers import role_of
from napari_medssl.widgets.segment import OneShotWidget

Run = Callable[[OneShotWidget], None]


@pytest.fixture
def found(widget: OneShotWidget, run: Run) -> OneShotWidget:
    """The widget with a result of one organ."""
    support = widget.labelling.make_support()
    assert support is not None
    support.data_setitem((np.full(16, 2), np.repeat([3, 4, 5, 6], 4), np.tile([4, 5, 6, 7], 4)), 1)
    run(widget)
    return widget


def _layer(viewer: ViewerModel) -> Image | None:
    return next((one for one in viewer.layers if role_of(one)[0] == "confidence"), None)


def test_the_layer_comes_follows_the_result_and_goes(
    found: OneShotWidget, viewer: ViewerModel, run: Run, qtbot: QtBot
) -> None:
    found.panel.confidence.setChecked(True)
    qtbot.waitUntil(lambda: _layer(viewer) is not None)
    layer = _layer(viewer)
    assert layer is not None
    assert layer.data.shape == found.result.data.shape  # type: ignore[union-attr]
    assert (layer.data[2] == 1).all()  # the labelled slice is sure
    assert layer.data.min() < 1
    first = layer.data
    found.support.data_setitem((np.array([4]), np.array([4]), np.array([5])), 1)  # type: ignore[union-attr]
    run(found)
    qtbot.waitUntil(lambda: layer.data is not first)
    assert _layer(viewer) is layer
    assert (layer.data[4] == 1).all()
    found.panel.confidence.setChecked(False)
    assert _layer(viewer) is None


def test_a_suggestion_goes_to_the_slice_and_says_why_and_the_next_press_to_another(
    found: OneShotWidget, qtbot: QtBot
) -> None:
    found.panel.suggest_button.click()
    qtbot.waitUntil(lambda: found.panel.suggestion.text().startswith("1. Slice"))
    first = found.current_slice()
    assert f"Slice {first}: organ 1" in found.panel.suggestion.text()
    assert first != 2
    found.panel.suggest_button.click()
    assert found.panel.suggestion.text().startswith("2. Slice")
    assert found.current_slice() not in (first, 2)


def test_a_slice_said_to_be_without_the_organ_is_not_suggested_again(found: OneShotWidget, qtbot: QtBot) -> None:
    seen: list[int] = []
    for _ in range(6):
        found.trust.suggest()
        qtbot.waitUntil(lambda: "Dice may" in (said := found.panel.suggestion.text()) or "Every slice" in said)
        if "Every slice" in found.panel.suggestion.text():
            break
        seen.append(found.current_slice())
        assert found.not_here()
    assert "Every slice" in found.panel.suggestion.text()
    assert len(seen) == len(set(seen)) >= 2  # at least one on either side of the label, beyond which it ends
    assert 2 not in seen


def test_without_a_result_there_is_nothing_to_suggest(widget: OneShotWidget, told: list[str]) -> None:
    assert not widget.panel.suggest_button.isEnabled()
    assert not widget.trust.suggest()
    assert "label one slice" in told[-1]
