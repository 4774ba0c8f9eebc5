"""The segmentation widget with an engine that pretends, in a viewer without a window."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QDockWidget

from napari_medssl.errors import MedSSLError, OutOfMemoryError
from napari_medssl.io import read
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._labelling import REDRAWN_MS, SETTLE_MS
from napari_medssl.widgets.segment import OneShotWidget
from tests.widgets.conftest import N_STEPS, FakeEngine

Run = Callable[[OneShotWidget], None]


def assert_set(event: threading.Event) -> None:
    """Wait for an event in the worker, but not for ever."""
    assert event.wait(10)


def paint(widget: OneShotWidget, z: int, value: int = 1, corner: int = 2) -> Labels:
    """Label a 3 x 3 square."""
    support = widget.labelling.make_support()
    assert support is not None
    y, x = np.mgrid[corner : corner + 3, corner : corner + 3].reshape(2, -1)
    support.data_setitem((np.full_like(y, z), y, x), value)
    return support


def test_support_layer_lies_on_the_scan(widget: OneShotWidget, scan: Image) -> None:
    support = widget.labelling.make_support()
    assert support is not None
    assert support.data.shape == scan.data.shape
    np.testing.assert_allclose(support.data_to_world((5, 9, 11)), scan.data_to_world((5, 9, 11)))
    assert widget.labelling.make_support() is support


def test_segment_gives_a_labels_layer_in_place_with_provenance(
    widget: OneShotWidget, scan: Image, engine: FakeEngine, run: Run
) -> None:
    paint(widget, 2)
    run(widget)
    result = widget.result
    assert result is not None
    expected = np.zeros(scan.data.shape, np.uint8)
    expected[:, 2:5, 2:5] = 1
    np.testing.assert_array_equal(result.data, expected)
    np.testing.assert_allclose(result.extent.world, scan.extent.world)
    assert result.metadata["medssl"]["report"]["engine"] == "fake"
    assert engine.thread != threading.get_ident()
    query, supports, slice_range, settings = engine.calls[0]
    assert query is scan.metadata["medssl"]["volume"]
    assert supports[0].volume is query
    assert supports[0].slices == (2,)
    assert slice_range is None
    assert settings == SegmentSettings()


def test_painting_another_slice_makes_it_another_support(widget: OneShotWidget, engine: FakeEngine, run: Run) -> None:
    paint(widget, 1)
    run(widget)
    paint(widget, 4, corner=6)
    run(widget)
    assert engine.calls[1][1][0].slices == (1, 4)
    assert widget.result is not None
    assert widget.result.data[0, 7, 7] == 1
    assert [layer.name for layer in widget.viewer.layers] == ["scan", "scan organs", "scan support"]


def test_undo_and_redo_of_runs_keep_hand_made_edits(widget: OneShotWidget, run: Run) -> None:
    paint(widget, 1)
    run(widget)
    result = widget.result
    assert result is not None
    result.data_setitem((np.array([0]), np.array([0]), np.array([0])), 1)
    first = result.data.copy()
    paint(widget, 4, corner=6)
    run(widget)
    second = result.data.copy()
    assert not np.array_equal(first, second)
    widget.panel.undo_button.click()
    np.testing.assert_array_equal(result.data, first)
    assert result.data[0, 0, 0] == 1
    assert result.metadata["medssl"]["report"]["edited_by_hand"] is True
    assert not widget.panel.undo_button.isEnabled()
    widget.panel.redo_button.click()
    np.testing.assert_array_equal(result.data, second)


def test_table_counts_and_jumps(widget: OneShotWidget, run: Run) -> None:
    paint(widget, 2)
    widget.panel.range.only.setChecked(True)
    widget.panel.range.first.setValue(1)
    widget.panel.range.last.setValue(4)
    run(widget)
    (row,) = widget.panel.table.rows
    assert (row.voxels, row.first, row.last) == (4 * 9, 1, 4)
    assert row.volume_ml == pytest.approx(4 * 9 * 3 * 1.5 * 1.5 / 1000)
    widget.panel.table.cellClicked.emit(0, 4)
    assert widget.current_slice() == 4
    widget.panel.table.cellClicked.emit(0, 3)
    assert widget.current_slice() == 1


def test_the_table_tells_what_the_weights_recognised(widget: OneShotWidget, engine: FakeEngine, run: Run) -> None:
    table = widget.panel.table
    paint(widget, 2)
    run(widget)
    item = table.item(0, 0)
    assert item is not None
    assert item.toolTip() == ""
    known = {"group": "set", "structures": (1, 2), "names": ("one part", "another"), "overlap": 0.876}
    engine.report = {"recognised": {"1": known}}
    run(widget)
    item = table.item(0, 0)
    assert item is not None
    assert item.toolTip() == "Recognised as one part, another (overlap 0.88 where it was labelled)"


def test_dice_against_a_truth_layer(widget: OneShotWidget, qtbot: QtBot, run: Run) -> None:
    paint(widget, 2)
    run(widget)
    truth = np.zeros((6, 10, 12), np.uint8)
    truth[:3, 2:5, 2:5] = 1  # half of what the fake finds
    layer = widget.viewer.add_labels(truth, name="truth")
    with qtbot.waitSignal(widget.panel.table.counted):
        widget.panel.truth.choose(layer)
    assert widget.panel.table.rows[0].dice == pytest.approx(2 * 27 / (54 + 27))
    assert not widget.panel.table.isColumnHidden(5)


def test_truth_of_another_shape_is_refused(widget: OneShotWidget, run: Run, told: list[str]) -> None:
    paint(widget, 2)
    run(widget)
    widget.panel.truth.choose(widget.viewer.add_labels(np.zeros((2, 3, 4), np.uint8), name="truth"))
    assert "choose labels made on this scan" in told[-1]
    assert widget.panel.truth.layer is None


def test_probability_layers_appear_and_go(widget: OneShotWidget, run: Run) -> None:
    paint(widget, 2)
    widget.panel.probability.setChecked(True)
    run(widget)
    layer = widget.viewer.layers["scan organ 1 probability"]
    assert layer.data.max() == 1
    np.testing.assert_allclose(layer.extent.world, widget.viewer.layers["scan"].extent.world)
    assert widget.image is widget.viewer.layers["scan"]  # it is not offered as a scan
    widget.panel.probability.setChecked(False)
    assert "scan organ 1 probability" not in widget.viewer.layers
    widget.panel.probability.setChecked(True)  # no new run is needed
    assert "scan organ 1 probability" in widget.viewer.layers
    widget.panel.undo_button.click()
    widget.panel.probability.setChecked(False)
    assert "scan organ 1 probability" not in widget.viewer.layers


def test_example_from_another_scan(
    widget: OneShotWidget, scan: Image, engine: FakeEngine, run: Run, tiny_volume: object
) -> None:
    atlas = widget.viewer.add_image(np.ones((4, 10, 12), np.float32), name="atlas", scale=(2, 1, 1))
    mask = np.zeros((4, 10, 12), np.uint8)
    mask[1, 3:6, 3:6] = 2
    labels = widget.viewer.add_labels(mask, name="atlas labels")
    widget.panel.image.choose(scan)
    widget.panel.other.image.choose(atlas)
    widget.panel.other.labels.choose(labels)
    run(widget)
    (support,) = engine.calls[0][1]
    assert support.slices == (1,)
    assert support.volume.spacing_mm == pytest.approx((2, 1, 1))
    assert widget.result is not None
    assert set(np.unique(widget.result.data)) == {0, 2}


def test_cancel_stops_within_a_step_and_leaves_the_layers(
    widget: OneShotWidget, engine: FakeEngine, qtbot: QtBot
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(step: int) -> None:
        if step == 2:
            entered.set()
            assert go_on.wait(10)

    engine.before_step = hold
    paint(widget, 2)
    before = list(widget.viewer.layers)
    assert widget.segment()
    qtbot.waitUntil(entered.is_set)
    widget.panel.work.cancel_button.click()
    go_on.set()
    qtbot.waitUntil(lambda: not widget.panel.work.running)
    assert engine.steps_done == 3 < N_STEPS
    assert list(widget.viewer.layers) == before
    engine.before_step = lambda step: None
    with qtbot.waitSignal(widget.outcome.shown):
        assert widget.segment()


def test_second_request_while_running_is_refused_with_a_sentence(
    widget: OneShotWidget, engine: FakeEngine, qtbot: QtBot, told: list[str]
) -> None:
    go_on = threading.Event()
    engine.before_step = lambda step: assert_set(go_on)
    paint(widget, 2)
    assert widget.segment()
    assert not widget.panel.segment_button.isEnabled()
    assert not widget.segment()
    assert "is running" in told[-1]
    go_on.set()
    qtbot.waitUntil(lambda: not widget.panel.work.running)
    assert len(engine.calls) == 1


def test_update_while_painting_queues_one_run(
    widget: OneShotWidget, engine: FakeEngine, qtbot: QtBot, run: Run
) -> None:
    paint(widget, 1)
    run(widget)
    go_on = threading.Event()
    engine.before_step = lambda step: assert_set(go_on)
    widget.panel.live.setChecked(True)
    paint(widget, 2, corner=5)
    qtbot.waitUntil(lambda: len(engine.calls) == 2)
    paint(widget, 3, corner=6)
    qtbot.waitUntil(lambda: "waiting" in widget.panel.support_text.text())
    go_on.set()
    qtbot.waitUntil(lambda: len(engine.calls) == 3 and not widget.panel.work.running)
    assert engine.calls[2][1][0].slices == (1, 2, 3)


def test_undoing_a_stroke_is_an_edit_and_scrolling_is_none(
    widget: OneShotWidget, engine: FakeEngine, qtbot: QtBot, run: Run
) -> None:
    paint(widget, 1)
    run(widget)
    support = paint(widget, 3, corner=6)
    qtbot.waitUntil(lambda: widget.panel.support_text.text() == "Labelled slices: 1, 3", timeout=SETTLE_MS)
    qtbot.waitSignal(widget.labelling.edited).wait()
    widget.panel.live.setChecked(True)
    with qtbot.assertNotEmitted(widget.labelling.edited, wait=REDRAWN_MS + SETTLE_MS + 200):
        widget.go_to_slice(3)
    with qtbot.waitSignal(widget.outcome.shown):
        support.undo()
    assert widget.panel.support_text.text() == "Labelled slice: 1"
    assert [call[1][0].slices for call in engine.calls] == [(1,), (1,)]
    with qtbot.waitSignal(widget.outcome.shown):
        support.redo()
    assert engine.calls[-1][1][0].slices == (1, 3)
    qtbot.waitUntil(lambda: not widget.panel.work.running)


def test_correct_this_slice_copies_the_result(widget: OneShotWidget, run: Run) -> None:
    support = paint(widget, 1)
    run(widget)
    widget.go_to_slice(4)
    assert widget.correct_slice()
    np.testing.assert_array_equal(support.data[4], widget.result.data[4])
    assert support.mode == "paint"
    support.undo()
    assert not support.data[4].any()


def test_slice_of_existing_labels_becomes_a_support(
    widget: OneShotWidget, engine: FakeEngine, run: Run, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_medssl.widgets.segment.tell", told.append)
    assert not widget.use_slice()
    assert "Choose a Labels layer" in told[-1]
    mask = np.zeros((6, 10, 12), np.uint8)
    mask[3, 4:7, 4:7] = 4
    widget.panel.source.choose(widget.viewer.add_labels(mask, name="mine"))
    widget.go_to_slice(1)
    widget.panel.use_button.click()
    assert "has no label on slice 1" in told[-1]
    widget.go_to_slice(3)
    widget.panel.use_button.click()
    np.testing.assert_array_equal(widget.support.data, mask)
    assert [label.value for label in widget.panel.organs.organs] == [1, 4]
    run(widget)
    assert engine.calls[0][1][0].slices == (3,)


def test_organ_names_and_colours_reach_layers_and_engine(widget: OneShotWidget, engine: FakeEngine, run: Run) -> None:
    widget.panel.organs.rename(1, "liver")
    widget.panel.organs.recolor(1, (10, 200, 30))
    spleen = widget.panel.organs.add()
    widget.panel.organs.rename(spleen.value, "spleen")
    support = paint(widget, 2)
    paint(widget, 2, value=spleen.value, corner=6)
    assert [label.name for label in support.metadata["medssl"]["labels"]] == ["liver", "spleen"]
    np.testing.assert_allclose(support.get_color(1)[:3], np.array([10, 200, 30]) / 255, atol=1e-6)
    run(widget)
    assert [label.name for label in engine.calls[0][1][0].organs] == ["liver", "spleen"]
    assert [row.label.name for row in widget.panel.table.rows] == ["liver", "spleen"]
    widget.panel.organs.rename(1, "Leber")
    assert widget.result.metadata["medssl"]["labels"][0].name == "Leber"


def test_choosing_an_organ_chooses_the_brush_and_back(widget: OneShotWidget) -> None:
    support = widget.labelling.make_support()
    second = widget.panel.organs.add()
    assert support.selected_label == second.value
    support.selected_label = 1
    assert widget.panel.organs.current.value == 1


def test_removing_an_organ_wipes_it_and_can_be_undone(widget: OneShotWidget) -> None:
    widget.panel.organs.add()
    support = paint(widget, 2, value=2)
    widget.panel.organs.select(2)
    widget.panel.organs.remove()
    assert not (support.data == 2).any()
    support.undo()
    assert (support.data == 2).sum() == 9


@pytest.mark.parametrize(
    "error", [MedSSLError("the bundle is damaged; install again"), OutOfMemoryError("crop the scan")]
)
def test_own_errors_show_their_sentence(
    widget: OneShotWidget, engine: FakeEngine, qtbot: QtBot, told: list[str], error: MedSSLError, run: Run
) -> None:
    _fails_once(widget, engine, qtbot, error)
    assert told == [str(error)]
    run(widget)


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: device lost"), MemoryError("no room"), ValueError("bad")])
def test_unexpected_errors_get_a_sentence_and_the_session_goes_on(
    widget: OneShotWidget, engine: FakeEngine, qtbot: QtBot, told: list[str], error: Exception, run: Run
) -> None:
    before = list(widget.viewer.layers)
    _fails_once(widget, engine, qtbot, error)
    assert str(error) in told[0]
    assert "Your layers are unchanged" in told[0]
    assert ("device 'cpu'" in told[0]) == ("CUDA" in str(error))
    assert [layer for layer in widget.viewer.layers if layer in before] == before
    run(widget)


def _fails_once(widget: OneShotWidget, engine: FakeEngine, qtbot: QtBot, error: Exception) -> None:
    def fail(step: int) -> None:
        if step == 1:
            raise error

    engine.before_step = fail
    paint(widget, 2)
    assert widget.segment()
    qtbot.waitUntil(lambda: not widget.panel.work.running)
    assert widget.result is None
    engine.before_step = lambda step: None


def test_scan_deleted_during_a_run(widget: OneShotWidget, engine: FakeEngine, qtbot: QtBot, told: list[str]) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(step: int) -> None:
        entered.set()
        assert go_on.wait(10)

    engine.before_step = hold
    paint(widget, 2)
    assert widget.segment()
    qtbot.waitUntil(entered.is_set)
    widget.viewer.layers.remove("scan")
    go_on.set()
    qtbot.waitUntil(lambda: not widget.panel.work.running)
    assert "was removed while it was being segmented" in told[-1]
    assert [layer.name for layer in widget.viewer.layers] == ["scan support"]


@pytest.mark.parametrize("name", ["scan support", "scan organs"])
def test_other_layers_deleted_during_a_run(
    widget: OneShotWidget, engine: FakeEngine, qtbot: QtBot, run: Run, name: str
) -> None:
    paint(widget, 2)
    run(widget)
    entered, go_on = threading.Event(), threading.Event()

    def hold(step: int) -> None:
        entered.set()
        assert go_on.wait(10)

    engine.before_step = hold
    assert widget.segment()
    qtbot.waitUntil(entered.is_set)
    widget.viewer.layers.remove(name)
    with qtbot.waitSignal(widget.outcome.shown):
        go_on.set()
    assert widget.result is not None
    assert widget.result.data.any()


def test_nothing_labelled_is_a_sentence(widget: OneShotWidget, engine: FakeEngine, told: list[str]) -> None:
    assert not widget.segment()
    assert "no organ is labelled" in told[-1]
    widget.labelling.make_support()
    assert not widget.segment()
    assert "no organ is labelled in 'scan support'" in told[-1]
    assert not engine.calls


@pytest.mark.parametrize(
    ("data", "rgb", "words"),
    [
        (np.zeros((8, 9)), False, "2 axes"),
        (np.zeros((2, 3, 8, 9)), False, "4 axes"),
        (np.zeros((4, 8, 9, 3), np.uint8), True, "colour (RGB)"),
        pytest.param(
            np.zeros((0, 8, 9)),
            False,
            "is empty",
            # napari divides by the layer's own zero size, whoever adds it
            marks=pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning"),
        ),
    ],
)
def test_what_is_no_scan_is_a_sentence(
    widget: OneShotWidget, told: list[str], data: np.ndarray, rgb: bool, words: str, run: Run, scan: Image
) -> None:
    layer = Image(data, rgb=rgb, name="odd", contrast_limits=(0, 1))
    widget.viewer.layers.append(layer)
    widget.panel.image.choose(layer)
    assert words in widget.panel.summary.text()
    assert not widget.segment()
    assert words in told[-1]
    widget.panel.tools.buttons["click"].click()
    assert widget.panel.tools.tool == "move"
    widget.panel.image.choose(scan)
    widget.viewer.layers.remove(layer)
    paint(widget, 2)
    run(widget)


def test_no_scan_at_all(viewer: ViewerModel, qtbot: QtBot, told: list[str]) -> None:
    widget = OneShotWidget(viewer)
    qtbot.addWidget(widget)
    assert "open a CT or MR" in widget.panel.summary.text()
    assert not widget.segment()
    assert "open a CT or MR" in told[-1]
    assert not widget.correct_slice()
    assert not widget.export()


def test_nan_voxels_count_as_black_with_a_note(
    widget: OneShotWidget, engine: FakeEngine, scan: Image, run: Run, told: list[str]
) -> None:
    scan.data[3, 4, 5] = np.nan
    paint(widget, 2)
    run(widget)
    query = engine.calls[0][0]
    assert np.isfinite(query.data).all()
    assert query.data[3, 4, 5] == np.nanmin(scan.data)
    assert "1 voxels of 'scan' are not numbers" in told[-1]


def test_only_nan_voxels_is_a_sentence(
    widget: OneShotWidget, engine: FakeEngine, scan: Image, qtbot: QtBot, told: list[str]
) -> None:
    scan.data[:] = np.nan
    paint(widget, 2)
    assert widget.segment()
    qtbot.waitUntil(lambda: not widget.panel.work.running)
    assert "no voxel of 'scan' is a number" in told[-1]


def test_labels_of_another_shape_are_a_sentence(widget: OneShotWidget, told: list[str]) -> None:
    support = widget.labelling.make_support()
    support.data = np.ones((2, 3, 4), np.uint8)
    assert not widget.segment()
    assert "has shape (2, 3, 4) but the scan 'scan' has (6, 10, 12)" in told[-1]


def test_export_through_the_widget(
    widget: OneShotWidget, qtbot: QtBot, run: Run, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_medssl.widgets._outcome.tell", told.append)
    paint(widget, 2)
    run(widget)
    widget.result.data_setitem((np.array([0]), np.array([0]), np.array([0])), 1)
    assert widget.export(tmp_path / "out.nii.gz")
    qtbot.waitUntil(lambda: not widget.panel.work.running)
    assert told[-1] == f"Saved {tmp_path / 'out.nii.gz'}"
    back = read(tmp_path / "out.nii.gz", labels=True)
    np.testing.assert_array_equal(back.data, widget.result.data)
    np.testing.assert_allclose(back.affine, widget.image.metadata["medssl"]["volume"].affine, atol=1e-5)
    assert widget.export(tmp_path / "missing" / "out.nii.gz")
    qtbot.waitUntil(lambda: not widget.panel.work.running)
    assert "the folder" in told[-1]
    assert widget.result is not None


@pytest.mark.parametrize("end", ["closed", "deleted", "dock taken away"])
def test_closing_the_widget_cancels_and_stops_listening(
    viewer: ViewerModel, scan: Image, engine: FakeEngine, qtbot: QtBot, end: str
) -> None:
    widget = OneShotWidget(viewer, EngineHandle(lambda device, weights: engine))
    go_on = threading.Event()
    engine.before_step = lambda step: assert_set(go_on)
    callbacks = len(viewer.mouse_drag_callbacks)
    widget.panel.tools.buttons["click"].click()
    support = paint(widget, 2)
    assert widget.segment()
    qtbot.waitUntil(lambda: bool(engine.calls))
    if end == "dock taken away":
        dock = QDockWidget()
        qtbot.addWidget(dock)
        dock.setWidget(widget)
        widget.setParent(None)  # as napari does when the dock's x is clicked
    else:
        if end == "closed":
            widget.close()
        widget.deleteLater()
    qtbot.wait(50)
    go_on.set()
    qtbot.waitUntil(lambda: engine.closed)
    assert engine.steps_done <= 2
    assert len(viewer.mouse_drag_callbacks) == callbacks
    # Nothing of the dead widget answers, although Python still holds it.
    support.mode = "paint"
    support.selected_label = 7
    support.data_setitem((np.array([0]), np.array([0]), np.array([0])), 7)
    viewer.add_image(np.zeros((2, 3, 4)), name="new").name = "newer"
    viewer.layers.clear()
    assert widget.engine.closed
