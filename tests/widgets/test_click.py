"""Clicks on organs, with the real superpixels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from pytestqt.qtbot import QtBot
from scipy.ndimage import distance_transform_edt
from vispy.util.keys import ALT, CONTROL, Key

from napari_medssl.labels import Label
from napari_medssl.samples.phantom import phantom
from napari_medssl.volume import Volume
from napari_medssl.widgets._click import ClickTool, paint_region
from napari_medssl.widgets._layers import image_layer
from napari_medssl.widgets._support import add_support

ORGAN = Label(1, "organ", (1, 2, 3))


@pytest.fixture
def tool(viewer: ViewerModel) -> ClickTool:
    """A click tool that is on."""
    made = ClickTool(viewer)
    made.switch(True)
    return made


def aim(viewer: ViewerModel, tool: ClickTool, volume: Volume) -> tuple[Image, Labels]:
    """Put a scan into the viewer and aim the tool at it."""
    image = viewer.add_layer(Layer.create(*image_layer(volume, "scan")))
    support = add_support(viewer, image, (ORGAN, Label(2, "other", (4, 5, 6))))
    tool.aim(image, support)
    return image, support


def mouse(viewer: ViewerModel, world: tuple[float, ...], *, button: int = 1, modifiers: tuple[Key, ...] = (),
          drag_px: float = 0.0) -> None:  # fmt: skip
    """What napari does with a press, an optional move, and a release."""
    event = SimpleNamespace(type="mouse_press", pos=(100, 100), position=world, button=button, modifiers=modifiers)
    running = [callback(viewer, event) for callback in viewer.mouse_drag_callbacks if callback.__name__ == "_on_mouse"]
    for generator in running:
        next(generator)
    if drag_px:
        event.type, event.pos = "mouse_move", (100 + drag_px, 100)
        for generator in running:
            next(generator)
    event.type = "mouse_release"
    for generator in running:
        assert next(generator, "ended") == "ended"


def middle(mask: np.ndarray) -> tuple[int, int]:
    """The pixel farthest from the border."""
    y, x = np.unravel_index(int(distance_transform_edt(mask).argmax()), mask.shape)
    return int(y), int(x)


@pytest.mark.parametrize(
    ("modality", "organ", "clicks"), [("CT", "right kidney", 1), ("MR", "spleen", 1), ("MR", "liver", 10)]
)
def test_clicks_on_a_phantom_organ_cover_it(
    viewer: ViewerModel, tool: ClickTool, qtbot: QtBot, modality: Literal["CT", "MR"], organ: str, clicks: int
) -> None:
    scan, truth = phantom(modality)
    value = next(label.value for label in truth.labels if label.name == organ)
    z = int((truth.data == value).sum(axis=(1, 2)).argmax())
    true = truth.data[z] == value
    image, support = aim(viewer, tool, scan)
    for _ in range(clicks):
        missing = true & (support.data[z] == 0)
        if missing.sum() < 0.1 * true.sum():
            break
        with qtbot.waitSignal(tool.applied, timeout=10_000):
            mouse(viewer, tuple(image.data_to_world((z, *middle(missing)))))
    found = support.data[z] == 1
    assert (found & true).sum() / (found | true).sum() >= 0.8
    assert not np.delete(support.data, z, axis=0).any()


@pytest.fixture
def halves() -> Volume:
    """Two slices, dark on the left and bright on the right."""
    data = np.zeros((2, 40, 40), np.float32)
    data[:, :, 20:] = 100.0
    return Volume(data + np.random.default_rng(0).normal(0, 1, data.shape), np.diag([3.0, 1.0, 1.0, 1.0]))


@pytest.mark.parametrize(("button", "modifiers"), [(2, ()), (1, (CONTROL,)), (1, (ALT,))])
def test_modifier_or_right_click_takes_away_and_undo_works(
    viewer: ViewerModel, tool: ClickTool, qtbot: QtBot, halves: Volume, button: int, modifiers: tuple[Key, ...]
) -> None:
    image, support = aim(viewer, tool, halves)
    world = tuple(image.data_to_world((1, 20, 30)))
    with qtbot.waitSignal(tool.applied) as added:
        mouse(viewer, world)
    clicked = support.data.copy()
    assert added.args == [int(clicked.sum())]
    assert clicked[1, 20, 30] == 1
    assert not clicked[0].any()
    assert not clicked[1, :, :18].any()
    with qtbot.waitSignal(tool.applied):
        mouse(viewer, world, button=button, modifiers=modifiers)
    assert not support.data.any()
    support.undo()
    np.testing.assert_array_equal(support.data, clicked)
    support.undo()
    assert not support.data.any()


def test_a_drag_is_no_click_but_a_trembling_hand_is(
    viewer: ViewerModel, tool: ClickTool, qtbot: QtBot, halves: Volume
) -> None:
    image, support = aim(viewer, tool, halves)
    world = tuple(image.data_to_world((1, 20, 30)))
    with qtbot.assertNotEmitted(tool.applied, wait=300):
        mouse(viewer, world, drag_px=30)
    with qtbot.waitSignal(tool.applied):
        mouse(viewer, world, drag_px=2)
    assert support.data.any()


def test_clicks_outside_or_in_another_view_do_nothing(
    viewer: ViewerModel, tool: ClickTool, qtbot: QtBot, halves: Volume, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_medssl.widgets._click.tell", told.append)
    image, _ = aim(viewer, tool, halves)
    with qtbot.assertNotEmitted(tool.applied, wait=300):
        mouse(viewer, tuple(image.data_to_world((1, 20, 400))))
        viewer.dims.order = (1, 0, 2)
        mouse(viewer, tuple(image.data_to_world((1, 20, 30))))
    assert "roll the axes back" in told[-1]


def test_switched_off_it_does_not_listen(viewer: ViewerModel, tool: ClickTool) -> None:
    before = len(viewer.mouse_drag_callbacks)
    tool.switch(False)
    tool.switch(False)
    assert len(viewer.mouse_drag_callbacks) == before - 1


def test_other_organs_are_left_alone(viewer: ViewerModel, tool: ClickTool, halves: Volume) -> None:
    _, support = aim(viewer, tool, halves)
    support.data[1, :, 30:] = 2
    assert paint_region(support, halves.data[1] > 50, 1, 1) == 40 * 10
    assert (support.data[1, :, 30:] == 2).all()
    assert paint_region(support, halves.data[1] > 50, 1, 1, remove=True) == 40 * 10
    assert (support.data == 2).sum() == 40 * 10
