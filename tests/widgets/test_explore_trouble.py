"""Explore features under bad input and interruptions: a clear sentence, and a dock that goes on working."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot
from vispy.util.keys import Key

from napari_medssl.errors import OutOfMemoryError
from napari_medssl.volume import Volume
from napari_medssl.widgets._layers import role_of
from napari_medssl.widgets._overlays import COLOURS, SIMILAR, find_overlay
from napari_medssl.widgets._picking import REPLACE, Picker
from napari_medssl.widgets._probes import probes_of
from napari_medssl.widgets.explore import ExploreWidget
from tests.widgets.explore_scans import GridEngine, add_scan, scan_volume
from tests.widgets.test_explore import (
    ORGAN_AT,
    dock,
    engine,
    extracted,
    make,
    overlay,
    scan,
    two,
    wait,
    world,
)

__all__ = ["dock", "engine", "extracted", "make", "scan", "two", "wait"]  # fixtures

GREY = np.random.default_rng(0).normal(50, 9, (12, 32, 32)).astype(np.float32)


def test_no_scan(make: Callable[[], ExploreWidget], told: list[str]) -> None:
    empty = make()
    assert not empty.extract()
    assert "no scan is open" in told[-1]
    assert empty.panel.status.text() == told[-1]
    for press in (empty.save, empty.colours.show_colours, empty.regions.divide, empty.landmarks.search):
        told.clear()
        assert not press()
        assert "no scan is open" in told[-1]
    assert empty.landmarks.add_layer() is None


def test_no_features_yet(dock: ExploreWidget, told: list[str]) -> None:
    for press in (
        dock.save, dock.colours.show_colours, dock.colours.show_component, dock.alike.use_region, dock.regions.divide,
        dock.regions.show_boundaries, dock.landmarks.search, dock.table.show_plot, dock.table.export,
    ):  # fmt: skip
        told.clear()
        assert not press()
        assert "press Extract 3D features" in told[-1]
    dock.alike.pick(world(dock.image, ORGAN_AT), REPLACE)
    assert "press Extract 3D features" in told[-1]
    assert not dock.alike.make_labels()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (GREY[0], "has 2 axes"),
        (np.zeros((12, 32, 32, 3), np.uint8), "colour (RGB)"),
        (np.full((12, 32, 32), np.nan, np.float32), "no voxel of"),
        (np.zeros((2, 12, 32, 32), np.float32), "has 4 axes"),
    ],
)
def test_layers_that_are_no_scan(
    viewer: ViewerModel, make: Any, wait: Any, told: list[str], data: np.ndarray, sentence: str
) -> None:
    viewer.add_image(data, name="odd")
    dock = make()
    dock.extract()
    wait(dock)
    assert any(sentence in text for text in told)
    assert dock.features is None
    assert dock.panel.extract_button.isEnabled()


def test_nan_voxels_and_one_slice(viewer: ViewerModel, make: Any, wait: Any, told: list[str]) -> None:
    holed = scan_volume().data.copy()
    holed[0, :4] = np.nan
    viewer.add_image(holed, name="holed")
    dock = make()
    dock.extract()
    wait(dock)
    assert "voxels of 'holed' are not numbers" in told[-1]
    assert dock.features is not None
    told.clear()
    dock.panel.image.choose(viewer.add_image(scan_volume().data[5:6], name="one slice"))
    dock.extract()
    wait(dock)
    dock.colours.show_colours()
    wait(dock)
    dock.alike.pick(world(dock.image, (0, 12, 10)), REPLACE)
    wait(dock)
    assert overlay(dock, COLOURS).data.shape[0] == 1
    assert overlay(dock, SIMILAR).data.max() > 0.9
    assert told == []


def test_constant_scan(viewer: ViewerModel, make: Any, wait: Any, told: list[str]) -> None:
    viewer.add_image(np.ones((12, 32, 32), np.float32), name="flat")
    dock = make()
    dock.extract()
    wait(dock)
    assert "all feature vectors are equal" in told[-1]
    assert dock.panel.extract_button.isEnabled()


def hold(engine: GridEngine) -> tuple[threading.Event, threading.Event]:
    """Stop the engine at its second step: events for 'there' and 'go on'."""
    there, go_on = threading.Event(), threading.Event()

    def wait_there(step: int) -> None:
        if step == 1:
            there.set()
            assert go_on.wait(10)

    engine.before_step = wait_there
    return there, go_on


def test_layer_deleted_while_working(
    dock: ExploreWidget, engine: GridEngine, viewer: ViewerModel, qtbot: QtBot, wait: Any, told: list[str]
) -> None:
    other = add_scan(viewer, "other", scan_volume(1))
    dock.panel.image.choose(other)
    there, go_on = hold(engine)
    assert dock.extract()
    qtbot.waitUntil(there.is_set)
    viewer.layers.remove(other)
    go_on.set()
    wait(dock)
    assert "removed meanwhile" in told[-1]
    assert dock.features is None
    engine.before_step = lambda step: None
    dock.extract()
    wait(dock)
    assert dock.features is not None  # of the scan that is left


def test_last_layer_deleted_while_working(
    dock: ExploreWidget, engine: GridEngine, viewer: ViewerModel, qtbot: QtBot, wait: Any, told: list[str]
) -> None:
    there, go_on = hold(engine)
    dock.extract()
    qtbot.waitUntil(there.is_set)
    viewer.layers.clear()
    go_on.set()
    wait(dock)
    assert "was removed, so the work was stopped" in told[-1]
    assert engine.steps_done < 4


def test_cancel(dock: ExploreWidget, engine: GridEngine, qtbot: QtBot, wait: Any, told: list[str]) -> None:
    there, go_on = hold(engine)
    dock.extract()
    qtbot.waitUntil(there.is_set)
    assert not dock.panel.extract_button.isEnabled()
    dock.panel.work.cancel_button.click()
    go_on.set()
    wait(dock)
    assert dock.features is None
    assert dock.panel.extract_button.isEnabled()
    assert told == []


def test_engine_fails(dock: ExploreWidget, engine: GridEngine, wait: Any, told: list[str]) -> None:
    def fail(step: int) -> None:
        raise OutOfMemoryError("the scan does not fit; choose larger cells")

    engine.before_step = fail
    dock.extract()
    wait(dock)
    assert told == ["the scan does not fit; choose larger cells"]
    engine.before_step = lambda step: None
    dock.extract()
    wait(dock)
    assert dock.features is not None


def test_voxels_replaced(extracted: ExploreWidget, wait: Any, told: list[str]) -> None:
    extracted.image.data = np.asarray(extracted.image.data) + 1
    assert extracted.features is None  # they describe what is gone
    assert not extracted.colours.show_colours()
    assert "press Extract 3D features" in told[-1]


def test_scan_removed_takes_its_overlays(two: ExploreWidget, viewer: ViewerModel, wait: Any) -> None:
    two.colours.show_colours()
    wait(two)
    two.alike.pick(world(two.image, ORGAN_AT), REPLACE)
    wait(two)
    two.alike.make_labels()
    wait(two)
    gone, second = two.image, two.desk.others()[0]
    viewer.layers.remove(gone)
    wait(two)
    left = {role_of(layer)[0] for layer in viewer.layers if role_of(layer)[1] == gone.unique_id}
    assert left == {"similar voxels"}  # Labels stay
    assert two.features is second
    assert two.colours.fitted.count() == 1
    assert two.colours.show_colours()
    wait(two)
    assert overlay(two, COLOURS, second) is not None


def test_rename(extracted: ExploreWidget, wait: Any) -> None:
    extracted.image.name = "renamed"
    assert extracted.panel.image.currentText() == "renamed"
    extracted.colours.show_colours()
    wait(extracted)
    assert overlay(extracted, COLOURS).name == "renamed colours"


def test_overlay_deleted_by_the_user(extracted: ExploreWidget, viewer: ViewerModel, wait: Any) -> None:
    page = extracted.alike
    page.pick(world(extracted.image, ORGAN_AT), REPLACE)
    wait(extracted)
    viewer.layers.remove(overlay(extracted, SIMILAR))
    page.pick(world(extracted.image, ORGAN_AT), REPLACE)
    wait(extracted)
    assert overlay(extracted, SIMILAR) is not None
    viewer.layers.remove(probes_of(viewer, extracted.features))
    wait(extracted)
    assert overlay(extracted, SIMILAR) is None  # nothing is asked any more
    page.pick(world(extracted.image, ORGAN_AT), REPLACE)
    wait(extracted)
    assert len(probes_of(viewer, extracted.features).data) == 1


def test_click_beside_the_scan_and_in_3d(extracted: ExploreWidget, viewer: ViewerModel, told: list[str]) -> None:
    extracted.alike.pick((0.0, -500.0, 0.0), REPLACE)
    assert probes_of(viewer, extracted.features) is None
    extracted.alike.pick_button.setChecked(True)
    viewer.dims.ndisplay = 3
    callback = viewer.mouse_drag_callbacks[-1]

    class Click:
        pos, position, modifiers, button, type = (5, 5), (0.0, 0.0, 0.0), (), 1, "mouse_press"

    steps: Any = callback(viewer, Click)
    next(steps)
    Click.type = "mouse_release"
    with pytest.raises(StopIteration):
        next(steps)
    assert "2D view" in told[-1]


def test_second_work_is_refused(
    dock: ExploreWidget, engine: GridEngine, qtbot: QtBot, wait: Any, told: list[str]
) -> None:
    there, go_on = hold(engine)
    dock.extract()
    qtbot.waitUntil(there.is_set)
    assert not dock.extract()
    assert "Something is running" in told[-1]
    go_on.set()
    wait(dock)
    assert dock.features is not None


def test_closing_leaves_nothing_behind(
    extracted: ExploreWidget, viewer: ViewerModel, engine: GridEngine, wait: Any
) -> None:
    before = list(viewer.mouse_drag_callbacks), list(viewer.mouse_move_callbacks)
    extracted.alike.pick_button.setChecked(True)
    extracted.alike.follow.setChecked(True)
    extracted.alike.pick(world(extracted.image, ORGAN_AT), REPLACE)
    wait(extracted)
    assert len(viewer.mouse_drag_callbacks) == len(before[0]) + 1
    extracted.close()
    assert (viewer.mouse_drag_callbacks, viewer.mouse_move_callbacks) == before
    viewer.dims.ndisplay = 3
    add_scan(viewer, "later", scan_volume(2))
    viewer.layers.clear()  # nobody answers


def test_closed_while_working(
    dock: ExploreWidget, engine: GridEngine, viewer: ViewerModel, qtbot: QtBot, told: list[str]
) -> None:
    there, go_on = hold(engine)
    dock.extract()
    qtbot.waitUntil(there.is_set)
    dock.close()
    go_on.set()
    qtbot.waitUntil(lambda: not dock.panel.work.running)
    assert engine.steps_done < 4
    assert find_overlay_of_any(viewer) == []
    assert told == []


def find_overlay_of_any(viewer: ViewerModel) -> list[Image]:
    return [layer for layer in viewer.layers if role_of(layer)[0]]


def test_scans_of_different_spacing(extracted: ExploreWidget, viewer: ViewerModel, wait: Any) -> None:
    coarse = scan_volume(3)
    stretched = Volume(coarse.data, coarse.affine @ np.diag([1.5, 0.7, 0.7, 1.0]))
    first = extracted.image
    second = add_scan(viewer, "stretched", stretched)
    extracted.panel.image.choose(second)
    extracted.extract()
    wait(extracted)
    extracted.panel.image.choose(first)
    extracted.alike.pick(world(first, ORGAN_AT), REPLACE)
    wait(extracted)
    features = extracted.desk.store.of(second)
    layer = find_overlay(viewer, features, SIMILAR)
    index = np.rint(layer.world_to_data(second.data_to_world(ORGAN_AT))).astype(int)
    assert layer.data[tuple(index)] > 0.9


@pytest.mark.parametrize(
    ("keys", "button", "kind"),
    [((), 1, "replace"), (("Shift",), 1, "add"), (("Control",), 1, "against"), ((), 2, "against")],
)
def test_keys_of_the_window_choose_what_a_click_means(
    viewer: ViewerModel, qtbot: QtBot, keys: tuple[str, ...], button: int, kind: str
) -> None:
    class Press:
        pos, position, type = (5, 5), (0.0, 1.0, 2.0), "mouse_press"

    Press.button, Press.modifiers = button, tuple(Key(name) for name in keys)
    picker = Picker(viewer)
    picker.switch(True)
    steps: Any = viewer.mouse_drag_callbacks[-1](viewer, Press)
    next(steps)
    Press.type = "mouse_release"
    with qtbot.waitSignal(picker.picked) as picked, pytest.raises(StopIteration):
        next(steps)
    assert picked.args == [(0.0, 1.0, 2.0), kind]
    picker.stop()
