"""The slice classification: marks that survive, learning off the window's thread, scores where they belong."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QMouseEvent

from napari_medssl import Engine, Volume
from napari_medssl.classify.slices.findings import Finding
from napari_medssl.volume import SoftRange
from napari_medssl.widgets._class_list import ClassList
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._findings_table import FindingsTable
from napari_medssl.widgets._layers import image_layer, role_of
from napari_medssl.widgets._options import SliceRange
from napari_medssl.widgets._score_curve import ScoreCurve, ScoreLine
from napari_medssl.widgets._slice_marks import NOTHING, marks_layer, read_marks
from napari_medssl.widgets.classify import SliceClassificationWidget

DEPTH = 12
RED = (255, 0, 0)


def scan_volume(seed: int, depth: int = DEPTH) -> Volume:
    """A body with a bright square on slices 3 to 6."""
    rng = np.random.default_rng(seed)
    data = rng.normal(20, 2, (depth, 24, 24)).astype(np.float32)
    data[:, 3:21, 3:21] += 60
    data[3:7, 8:16, 6:14] += 90
    return Volume(data, np.array([[0, 0, -2.0, 30], [0, -2.0, 0, 30], [6.0, 0, 0, 0], [0, 0, 0, 1]]))


def add_scan(viewer: ViewerModel, name: str, seed: int, depth: int = DEPTH) -> Image:
    layer = viewer.add_layer(Layer.create(*image_layer(scan_volume(seed, depth), name)))
    assert isinstance(layer, Image)
    return layer


@pytest.fixture(scope="module")
def real_engine() -> Iterator[Engine]:
    with Engine("cpu", "none") as engine:
        yield engine


@pytest.fixture
def scans(viewer: ViewerModel) -> list[Image]:
    return [add_scan(viewer, f"person {i}", i) for i in range(2)]


@pytest.fixture
def dock(
    qtbot: QtBot, viewer: ViewerModel, scans: list[Image], real_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> SliceClassificationWidget:
    """The widget on two scans, looking at the first; the engine outlives it."""
    monkeypatch.setattr(real_engine, "close", lambda: None)
    made = SliceClassificationWidget(viewer, EngineHandle(lambda device, weights: real_engine))
    qtbot.addWidget(made)
    qtbot.waitUntil(lambda: made.panel.form is not None and not made.panel.work.running)
    made.panel.image.choose(scans[0])
    return made


def mark_all(dock: SliceClassificationWidget, slices: dict[int, bool]) -> None:
    for z, shown in slices.items():
        dock.go_to_slice(z)
        assert dock.marking.mark("finding") if shown else dock.marking.mark_nothing()


@pytest.fixture
def learn(qtbot: QtBot) -> Callable[[SliceClassificationWidget], None]:
    def press(dock: SliceClassificationWidget) -> None:
        assert dock.learn()
        qtbot.waitUntil(lambda: not dock.panel.work.running, timeout=60_000)

    return press


SOME = {0: False, 1: False, 3: True, 4: True, 6: True, 9: False, 11: False}


def test_mark_learn_look(dock: SliceClassificationWidget, scans: list[Image], learn: Any, told: list[str]) -> None:
    mark_all(dock, SOME)
    learn(dock)
    assert dock.outcome is not None
    assert set(dock.outcome.scores) == {str(s.unique_id) for s in scans}
    (line,) = dock.panel.curve.lines
    assert line.name == "finding"
    assert len(line.probability) == len(line.spread) == DEPTH
    for scan in scans:  # also the one without a mark
        scores = dock.outcome.scores[str(scan.unique_id)].probability[:, 0]
        assert scores[3:7].min() > np.delete(scores, range(3, 7)).max()
    (found,) = dock.panel.findings.rows
    assert (found.first, found.last) == (3, 6)
    dock.panel.findings.cellDoubleClicked.emit(0, 1)
    assert dock.current_slice() == found.peak == dock.panel.curve.current
    assert [(r.name, r.marked, r.findings) for r in dock.panel.worklist.rows] == [
        ("person 0", 7, 1),
        ("person 1", 0, 1),
    ]
    assert "Learned finding from 7 slices of 1 scan in" in dock.panel.learned_text.text()
    dock.panel.worklist.opened.emit(1)
    assert dock.image is scans[1]
    assert not scans[0].visible
    layer = marks_layer(dock.viewer, scans[0])
    assert layer is not None
    assert not layer.visible  # its names would stand over the other scan
    assert 3 <= dock.current_slice() <= 6
    assert told == []


def test_marks_live_in_a_layer_and_can_be_undone(dock: SliceClassificationWidget, scans: list[Image]) -> None:
    viewer = dock.viewer
    viewer.layers.selection.active = scans[0]
    mark_all(dock, {2: True, 5: False})
    layer = marks_layer(viewer, scans[0])
    assert layer is not None
    assert layer.features["class"].tolist() == ["finding", NOTHING]
    assert layer.data[:, 0].tolist() == [2, 5]
    assert viewer.layers.selection.active is scans[0]
    assert layer.face_color[0].tolist() != layer.face_color[1].tolist()
    dock.go_to_slice(2)
    assert dock.marking.mark("finding")  # again: taken back
    assert dock.marking.book.of(scans[0]) == {5: ()}
    for _ in range(3):
        dock.panel.undo_button.click()
    assert dock.marking.book.of(scans[0]) == {}
    assert not dock.panel.undo_button.isEnabled()
    dock.panel.redo_button.click()
    dock.panel.redo_button.click()
    assert dock.marking.book.of(scans[0]) == {2: ("finding",), 5: ()}
    dock.go_to_slice(5)
    assert "Slice 5: none of these · 2 marked" in dock.panel.slice_text.text()
    dock.panel.clear_button.click()
    assert dock.marking.book.of(scans[0]) == {2: ("finding",)}


def test_marks_outlive_the_dock_and_a_saved_layer(
    dock: SliceClassificationWidget, scans: list[Image], viewer: ViewerModel
) -> None:
    dock.panel.classes.add("vessel")
    dock.go_to_slice(4)
    dock.marking.mark("vessel")
    layer = marks_layer(viewer, scans[0])
    assert layer is not None
    data, features = layer.data.copy(), layer.features.copy()
    viewer.layers.remove(layer)
    assert dock.marking.book.of(scans[0]) == {}
    dock.panel.classes.show_names(("finding",))
    viewer.add_points(data, features=features, name="opened again")  # as napari opens a saved layer
    assert dock.marking.book.of(scans[0]) == {4: ("vessel",)}
    assert dock.panel.classes.names == ("vessel",)


def test_points_deleted_in_the_layer_are_gone(dock: SliceClassificationWidget, scans: list[Image]) -> None:
    mark_all(dock, {2: True, 5: True})
    layer = marks_layer(dock.viewer, scans[0])
    assert layer is not None
    layer.selected_data = {0}
    layer.remove_selected()
    assert dock.marking.book.of(scans[0]) == {5: ("finding",)}
    assert dock.panel.worklist.rows[0].marked == 1


def test_one_class_or_several(dock: SliceClassificationWidget, scans: list[Image], told: list[str]) -> None:
    dock.panel.classes.add("vessel")
    dock.go_to_slice(1)
    dock.marking.mark("finding")
    dock.marking.mark("vessel")
    assert dock.marking.book.of(scans[0]) == {1: ("finding", "vessel")}
    dock.panel.several.setChecked(False)
    assert not dock.learn()
    assert "exactly one class" in told[-1]
    dock.marking.mark("vessel")
    assert dock.marking.book.of(scans[0]) == {}
    dock.marking.mark("vessel")
    assert dock.marking.book.of(scans[0]) == {1: ("vessel",)}
    assert not dock.marking.mark_nothing()


def test_keys(dock: SliceClassificationWidget, scans: list[Image], qtbot: QtBot, told: list[str]) -> None:
    dock.show()
    qtbot.waitExposed(dock)
    dock.activateWindow()
    dock.go_to_slice(7)
    for shortcut, wanted in ((1, {7: ("finding",)}), (0, {7: ()})):
        dock.marking._on_key(shortcut)
        assert dock.marking.book.of(scans[0]) == wanted
    dock.marking._on_key(5)
    assert "no class for the key 5" in told[-1]
    dock.panel.keys.setChecked(False)
    assert not any(s.isEnabled() for s in dock.marking._shortcuts)


def test_renaming_and_removing_a_class_takes_its_marks_along(
    dock: SliceClassificationWidget, scans: list[Image]
) -> None:
    mark_all(dock, {2: True, 5: False})
    item = dock.panel.classes.item(0, 1)
    assert item is not None
    item.setText("cyst")
    assert dock.marking.book.of(scans[0]) == {2: ("cyst",), 5: ()}
    dock.panel.undo_button.click()
    assert dock.marking.book.of(scans[0]) == {2: ("cyst",)}
    dock.panel.classes.selectRow(0)
    dock.panel.remove_button.click()
    assert dock.marking.book.of(scans[0]) == {}
    assert dock.panel.classes.names == ()


def test_marks_from_labels(dock: SliceClassificationWidget, scans: list[Image], viewer: ViewerModel) -> None:
    mask = np.zeros(scans[0].data.shape, np.uint8)
    mask[3:7, 8:16, 6:14] = 1
    dock.panel.labels.choose(viewer.add_labels(mask, name="truth"))
    dock.panel.every.setValue(3)
    dock.panel.labels_button.click()
    assert dock.marking.book.of(scans[0]) == {0: (), 3: ("organ 1",), 6: ("organ 1",), 9: ()}
    assert dock.panel.classes.names == ("organ 1",)


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        ({}, "no slice is marked yet"),
        ({3: True, 4: True}, "'finding' is on every marked slice"),
        ({0: False}, "on no marked"),
    ],
)
def test_what_cannot_be_learned_is_said_and_the_dock_goes_on(
    dock: SliceClassificationWidget, learn: Any, told: list[str], slices: dict[int, bool], words: str
) -> None:
    mark_all(dock, slices)
    learn(dock)
    assert words in told[-1]
    assert dock.panel.learn_button.isEnabled()
    mark_all(dock, {z: s for z, s in SOME.items() if z not in slices})
    learn(dock)
    assert dock.panel.findings.rows


def test_no_scan_and_odd_scans(dock: SliceClassificationWidget, viewer: ViewerModel, told: list[str]) -> None:
    viewer.layers.clear()
    assert not dock.learn()
    assert "no scan is open" in told[-1]
    assert not dock.marking.mark("finding")
    viewer.add_image(np.zeros((5, 6)), name="flat")
    assert not dock.learn()
    assert "'flat' has 2 axes" in told[-1]
    assert dock.panel.worklist.rows == ()


@pytest.mark.parametrize("depth", [1, 2])
def test_a_short_scan_beside_a_long_one(
    dock: SliceClassificationWidget, viewer: ViewerModel, scans: list[Image], learn: Any, depth: int
) -> None:
    short = add_scan(viewer, "short", 5, depth)
    dock.panel.image.choose(scans[0])
    mark_all(dock, SOME)
    learn(dock)
    dock.panel.image.choose(short)
    assert len(dock.panel.curve.lines[0].probability) == depth
    dock.panel.curve.grab()


def test_a_scan_removed_while_learning(
    dock: SliceClassificationWidget, viewer: ViewerModel, scans: list[Image], qtbot: QtBot, told: list[str]
) -> None:
    mark_all(dock, SOME)
    assert dock.learn()
    viewer.layers.remove(scans[1])
    qtbot.waitUntil(lambda: not dock.panel.work.running, timeout=60_000)
    assert "'person 1' was removed; the work goes on" in told[0]
    assert dock.outcome is not None
    assert set(dock.outcome.scores) == {str(scans[0].unique_id)}
    assert dock.learn()
    viewer.layers.remove(scans[0])
    qtbot.waitUntil(lambda: not dock.panel.work.running, timeout=60_000)
    assert "so the work was stopped" in told[-1]
    assert dock.panel.curve.lines == ()


def test_cancel(dock: SliceClassificationWidget, qtbot: QtBot) -> None:
    mark_all(dock, SOME)
    assert dock.learn()
    dock.panel.work.cancel_button.click()
    qtbot.waitUntil(lambda: not dock.panel.work.running, timeout=60_000)
    assert dock.outcome is None
    assert dock.panel.learn_button.isEnabled()


def test_update_while_marking(dock: SliceClassificationWidget, learn: Any, qtbot: QtBot) -> None:
    mark_all(dock, SOME)
    learn(dock)
    before = dock.outcome
    dock.panel.live.setChecked(True)
    mark_all(dock, {5: True})
    qtbot.waitUntil(lambda: not dock.panel.work.running and dock.outcome is not before, timeout=60_000)
    assert dock.outcome is not None
    assert dock.outcome.head.card["marked_slices"] == len(SOME) + 1


def test_files(
    dock: SliceClassificationWidget, learn: Any, qtbot: QtBot, tmp_path: Path, told: list[str], scans: list[Image]
) -> None:
    assert not dock.export(tmp_path / "early.csv")
    assert not dock.save_head(tmp_path / "early")
    mark_all(dock, SOME)
    learn(dock)
    for name in ("scores.csv", "scores.json"):
        assert dock.export(tmp_path / name)
        qtbot.waitUntil(lambda: not dock.panel.work.running)
    with (tmp_path / "scores.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 2 * DEPTH
    assert [r["finding marked"] for r in rows[:4]] == ["0", "0", "", "1"]
    assert json.loads((tmp_path / "scores.json").read_text())["scans"]["person 1"]["findings"][0]["first"] == 3
    assert dock.save_head(tmp_path / "mine.safetensors")
    before = dock.outcome
    dock.panel.classes.show_names(("other",))
    assert dock.load_head(tmp_path / "mine.safetensors")
    qtbot.waitUntil(lambda: not dock.panel.work.running, timeout=60_000)
    assert dock.outcome is not before
    assert dock.panel.classes.names == ("other", "finding")
    assert dock.panel.findings.rows[0].first == 3
    (tmp_path / "no.safetensors").write_text("nothing")
    assert dock.load_head(tmp_path / "no.safetensors")
    qtbot.waitUntil(lambda: not dock.panel.work.running, timeout=60_000)
    assert "not a readable safetensors file" in told[-1]
    assert dock.panel.findings.rows  # what was there is still there


def test_slice_range_and_evidence(
    dock: SliceClassificationWidget, learn: Any, qtbot: QtBot, told: list[str], viewer: ViewerModel, scans: list[Image]
) -> None:
    assert dock.looking.use_as_range() is None
    mark_all(dock, SOME)
    learn(dock)
    found = dock.looking.use_as_range()
    assert found is not None
    assert found[0] <= 3 < 7 <= found[1]
    assert found[1] - found[0] < DEPTH
    assert f"lies on the slices {found[0]} to {found[1] - 1}" in told[-1]
    dock.panel.findings.selectRow(0)
    dock.panel.evidence_button.click()
    qtbot.waitUntil(lambda: not dock.panel.work.running, timeout=60_000)
    maps = [layer for layer in viewer.layers if role_of(layer) == ("evidence", scans[0].unique_id)]
    assert [layer.data.shape for layer in maps] == [scans[0].data.shape]
    assert maps[0].data[3:7].max() > 0 == maps[0].data[8:].max()
    assert dock.images == scans  # a map of evidence is no scan


def test_closing_while_learning_ends_the_work(dock: SliceClassificationWidget, qtbot: QtBot) -> None:
    mark_all(dock, SOME)
    assert dock.learn()
    dock.close()
    qtbot.waitUntil(lambda: not dock.panel.work.running, timeout=60_000)
    assert dock.outcome is None


def test_a_click_on_the_curve_jumps(qtbot: QtBot) -> None:
    curve = ScoreCurve()
    qtbot.addWidget(curve)
    curve.resize(300, 170)
    jumps: list[int] = []
    curve.jump.connect(jumps.append)
    line = ScoreLine("a", RED, [0.1] * 5 + [0.9] * 6, [0.05] * 11, 0.5)
    curve.show_scores(11, [line])
    curve.show_marks({2: [], 7: [RED]})
    curve.show_current(7)
    middle = QPointF(curve._area().center().x(), 60)
    left = Qt.MouseButton.LeftButton
    press = QMouseEvent(QMouseEvent.Type.MouseButtonPress, middle, middle, left, left, Qt.KeyboardModifier.NoModifier)
    curve.mousePressEvent(press)
    assert jumps == [5]
    assert (curve.slice_at(-50), curve.slice_at(999)) == (0, 10)
    picture = curve.grab().toImage()
    colors = {picture.pixelColor(x, y).name() for x in range(0, 300, 1) for y in range(20, 140, 1)}
    assert "#ff0000" in colors


def test_findings_table(qtbot: QtBot) -> None:
    table = FindingsTable()
    qtbot.addWidget(table)
    chosen: list[Finding] = []
    table.chosen.connect(chosen.append)
    rows = [Finding("a", 2, 4, 3, 0.9, 0.1), Finding("b", 7, 7, 7, 0.6, 0.2)]
    table.show_rows(rows, {"a": RED})
    table.selectRow(1)
    assert chosen == [rows[1]] == [table.finding]
    item = table.item(0, 1)
    assert item is not None
    assert item.text() == "2–4"
    table.show_rows((), {})
    assert table.finding is None


def test_class_list(qtbot: QtBot, told: list[str]) -> None:
    classes = ClassList()
    qtbot.addWidget(classes)
    for _ in range(9):
        assert classes.add()
    assert not classes.add()
    assert "9 classes already" in told[-1]
    item = classes.item(1, 1)
    assert item is not None
    item.setText("class 1")
    assert item.text() == "class 2"
    assert "a name of its own" in told[-1]
    pressed: list[str] = []
    classes.pressed.connect(pressed.append)
    classes.cellClicked.emit(2, 0)
    assert pressed == ["class 3"]


def test_slice_range_can_be_chosen(qtbot: QtBot) -> None:
    chosen = SliceRange()
    qtbot.addWidget(chosen)
    chosen.set_depth(30)
    chosen.choose(4, 9)
    assert chosen.value() == (4, 9)
    assert not isinstance(chosen.value(), SoftRange)
    chosen.choose(5, 9, about=True)
    assert isinstance(chosen.value(), SoftRange)
    chosen.set_depth(30)
    chosen.only.setChecked(True)
    assert not isinstance(chosen.value(), SoftRange)  # of another scan


def test_points_of_others_say_nothing(viewer: ViewerModel) -> None:
    points = viewer.add_points(np.array([[1, 2, 3], [99, 0, 0], [2, 0, 0]]), features={"class": ["a", "b", ""]})
    assert read_marks(points, 10) == {1: ("a",)}
    assert read_marks(viewer.add_points(np.zeros((1, 3))), 10) == {}
    assert read_marks(None, 10) == {}
